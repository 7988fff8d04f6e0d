/* near: see near.h.
 *
 * SPDX-License-Identifier: MIT */
#include "models/transformer/near.h"

#include <math.h>

#include "engine/base/mem.h"

/* The bucket of a distance of one of n: in single precision, as it is
 * published. */
static int bucket_of(int distance, int n, int reach)
{
    int exact = n / 2, at;
    float far;

    if (distance < exact)
        return distance;
    far = logf((float)distance / (float)exact) /
          (float)log((double)reach / exact) * (float)(n - exact);
    at = exact + (int)far;
    return at < n ? at : n - 1;
}

/* That of a key so far behind (under 0) or after the query. */
static int bucket_at(const struct near_form *f, int away)
{
    int half = f->buckets / 2;

    if (!f->both)
        return bucket_of(away < 0 ? -away : 0, f->buckets, f->reach);
    return away > 0 ? half + bucket_of(away, half, f->reach)
                    : bucket_of(-away, half, f->reach);
}

int near_read_form(const struct names *n, struct near_form *f, struct err *e)
{
    static const struct name BUCKETS = {"relative_attention_num_buckets", NULL},
                             REACH = {"relative_attention_max_distance", NULL};

    return names_int(n, BUCKETS, 4, NEAR_MAX_BUCKETS, 32, &f->buckets, e) ||
                   names_int(n, REACH, f->buckets, NEAR_MAX_REACH, 128,
                             &f->reach, e)
               ? -1
               : 0;
}

int near_read(struct stack *s, struct names *n, const struct near_form *f,
              const char *table, struct err *e)
{
    const struct tensor_row row = {.hf = table};
    int heads = s->dim[HEADS], span = 2 * f->reach + 1;
    char name[NAMES_BYTES];
    const struct tensor *x;
    float *all;

    names_tensor(n, -1, &row, "weight", name);
    x = weights_need(n->w, name, 2, f->buckets, heads, e);
    if (!x)
        return -1;
    s->near.reach = f->reach;
    s->near.add = mem_array((size_t)heads * (size_t)span, sizeof(float));
    all = mem_array((size_t)heads * (size_t)f->buckets, sizeof(float));
    if (!s->near.add || !all) {
        mem_free(all);
        return err_nomem(e);
    }
    tensor_read(x, 0, (size_t)heads * (size_t)f->buckets, all);
    for (int i = 0; i < heads * span; i++)
        s->near.add[i] =
            all[bucket_at(f, i % span - f->reach) * heads + i / span];
    mem_free(all);
    return 0;
}
