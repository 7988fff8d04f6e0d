/* feed: see feed.h.
 *
 * SPDX-License-Identifier: MIT */
#include "models/train/feed.h"

int feed_init(struct feed *f, int max_T, int max_N, int max_B, struct err *e)
{
    size_t T = (size_t)max_T, N = (size_t)max_N, B = (size_t)max_B;
    struct pass_batch *b = &f->batch;
    memset(f, 0, sizeof *f);
    f->text = region_take(&f->mem, B, sizeof *f->text);
    f->pick = region_take(&f->mem, N, sizeof *f->pick);
    b->steps.n = region_take(&f->mem, T, sizeof(int));
    b->steps.off = region_take(&f->mem, T + 1, sizeof(int));
    b->start = region_take(&f->mem, B + 1, sizeof *b->start);
    b->length = region_take(&f->mem, B, sizeof *b->length);
    b->ids = region_take(&f->mem, N, sizeof *b->ids);
    b->target = region_take(&f->mem, N, sizeof *b->target);
    return region_check(&f->mem, e);
}

void feed_fini(struct feed *f)
{
    region_fini(&f->mem);
    memset(f, 0, sizeof *f);
}

void feed_example(struct feed *f, struct rng *r, int V, int labels)
{
    int n = EXAMPLE_TEXTS * EXAMPLE_LENGTH;
    int32_t *ids = region_take(&f->mem, (size_t)n + 1, sizeof *ids);
    for (int i = 0; ids != NULL && i <= n; i++)
        ids[i] = (int32_t)rng_below(r, (uint32_t)V);
    f->n_text = ids != NULL ? EXAMPLE_TEXTS : 0;
    for (int i = 0; i < f->n_text; i++)
        f->text[i] = (struct text){
            .ids = ids + i * EXAMPLE_LENGTH,
            .next = labels > 0 ? NULL : ids + i * EXAMPLE_LENGTH + 1,
            .n = EXAMPLE_LENGTH - i - (i > 0),
            .label = labels > 0 ? i % labels : 0};
}

static void put_token(struct pass_batch *b, const struct text *x, int i,
                      int row)
{
    b->ids[row] = x->ids[i];
    if (x->next != NULL)
        b->target[row] = x->next[i];
}

/* What both ways have in common, once N rows are in their places. */
static void finish(struct feed *f, int N)
{
    struct pass_batch *b = &f->batch;
    int by_row = f->n_text > 0 && f->text[0].next != NULL;
    for (int r = 0; r < f->n_text; r++) {
        b->length[r] = f->text[r].n;
        if (!by_row)
            b->target[r] = f->text[r].label;
    }
    b->B = f->n_text;
    b->N = N;
    b->n_target = by_row ? N : f->n_text;
    b->pick = NULL;
}

void feed_pack_by_time(struct feed *f)
{
    struct steps *s = &f->batch.steps;
    int N = 0;
    s->T = f->n_text > 0 ? f->text[0].n : 0;
    for (int t = 0; t < s->T; t++) {
        s->off[t] = N;
        for (int r = 0; r < f->n_text && f->text[r].n > t; r++)
            put_token(&f->batch, &f->text[r], t, N++);
        s->n[t] = N - s->off[t];
    }
    s->off[s->T] = s->N = N;
    finish(f, N);
}

void feed_pack_by_text(struct feed *f)
{
    int N = 0;
    for (int r = 0; r < f->n_text; r++) {
        f->batch.start[r] = N;
        for (int i = 0; i < f->text[r].n; i++)
            put_token(&f->batch, &f->text[r], i, N++);
    }
    f->batch.start[f->n_text] = N;
    finish(f, N);
}
