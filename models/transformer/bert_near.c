/* bert_near: MPNet's relative positions: each head adds a number to the score
 * of a key by how far it is from the query. Distances fall into 32 buckets:
 * keys behind the query or at it, then those after it; the first 8 of each
 * half hold one distance, the rest ever more (Raffel et al. 2020, T5).
 *
 * SPDX-License-Identifier: MIT */
#include "engine/base/mem.h"
#include "models/transformer/bert.h"

#define HALF 16
#define REACH 128 /* the last bucket holds all from 91 on */

/* The bucket of a distance, in its half. */
static int bucket_of(int distance)
{
    static const int from[HALF] = {0, 1,  2,  3,  4,  5,  6,  7,
                                   8, 12, 16, 23, 32, 46, 64, 91};
    int i = HALF - 1;

    while (from[i] > distance)
        i--;
    return i;
}

int bert_read_near(struct stack *s, struct names *n, const char *table,
                   struct err *e)
{
    static const struct name BUCKETS = {"relative_attention_num_buckets", NULL};
    const struct tensor_row row = {.hf = table};
    int buckets, heads = s->dim[HEADS], span = 2 * REACH + 1;
    char name[NAMES_BYTES];
    const struct tensor *x;
    float *all;

    if (names_int(n, BUCKETS, 2 * HALF, 2 * HALF, 2 * HALF, &buckets, e))
        return -1;
    names_tensor(n, -1, &row, "weight", name);
    x = weights_need(n->w, name, 2, buckets, heads, e);
    if (!x)
        return -1;
    s->near.reach = REACH;
    s->near.add = mem_array((size_t)heads * (size_t)span, sizeof(float));
    all = mem_array((size_t)heads * (size_t)buckets, sizeof(float));
    if (!s->near.add || !all) {
        mem_free(all);
        return err_nomem(e);
    }
    tensor_read(x, 0, (size_t)heads * (size_t)buckets, all);
    for (int i = 0; i < heads * span; i++) {
        int away = i % span - REACH;
        int bucket = away > 0 ? HALF + bucket_of(away) : bucket_of(-away);

        s->near.add[i] = all[bucket * heads + i / span];
    }
    mem_free(all);
    return 0;
}
