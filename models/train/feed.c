/* feed: see feed.h.
 *
 * SPDX-License-Identifier: MIT */
#include "models/train/feed.h"

static void take_source(struct feed *f, size_t T, size_t N, size_t B)
{
    struct pass_source *s = &f->batch.source;
    s->steps.n = region_take(&f->mem, T, sizeof(int));
    s->steps.off = region_take(&f->mem, T + 1, sizeof(int));
    s->start = region_take(&f->mem, B + 1, sizeof *s->start);
    s->length = region_take(&f->mem, B, sizeof *s->length);
    s->text = region_take(&f->mem, B, sizeof *s->text);
    s->ids = region_take(&f->mem, N, sizeof *s->ids);
    f->count = region_take(&f->mem, T + 2, sizeof *f->count);
}

int feed_init(struct feed *f, const struct feed_size *most, struct err *e)
{
    size_t T = (size_t)most->T, N = (size_t)most->N, B = (size_t)most->B;
    struct pass_batch *b = &f->batch;
    memset(f, 0, sizeof *f);
    if (most->pairs)
        take_source(f, T, N, B);
    f->text = region_take(&f->mem, B, sizeof *f->text);
    f->pick = region_take(&f->mem, N, sizeof *f->pick);
    f->soft = region_take(&f->mem, B, sizeof *f->soft);
    b->steps.n = region_take(&f->mem, T, sizeof(int));
    b->steps.off = region_take(&f->mem, T + 1, sizeof(int));
    b->start = region_take(&f->mem, B + 1, sizeof *b->start);
    b->length = region_take(&f->mem, B, sizeof *b->length);
    b->ids = region_take(&f->mem, N, sizeof *b->ids);
    b->target = region_take(&f->mem, N, sizeof *b->target);
    b->inputs = most->inputs;
    b->values = most->values;
    b->x = region_take(&f->mem, N * (size_t)most->inputs, sizeof *b->x);
    b->value = region_take(&f->mem, B * (size_t)most->values, sizeof *b->value);
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

#define EXAMPLE_SOURCE(i) ((i) == 1 ? EXAMPLE_LENGTH : EXAMPLE_LENGTH - 2)

void feed_example_pairs(struct feed *f, struct rng *r, int V)
{
    int n = EXAMPLE_TEXTS * EXAMPLE_LENGTH;
    int32_t *ids = region_take(&f->mem, (size_t)n, sizeof *ids);
    feed_example(f, r, V, 0);
    for (int i = 0; ids != NULL && i < n; i++)
        ids[i] = (int32_t)rng_below(r, (uint32_t)V);
    for (int i = 0; ids != NULL && i < f->n_text; i++) {
        f->text[i].source = ids + i * EXAMPLE_LENGTH;
        f->text[i].n_source = EXAMPLE_SOURCE(i);
    }
}

void feed_example_vectors(struct feed *f, struct rng *r)
{
    size_t D = (size_t)f->batch.inputs, K = (size_t)f->batch.values;
    size_t each = EXAMPLE_LENGTH * D + K, n = EXAMPLE_TEXTS * each;
    float *v = region_take(&f->mem, n, sizeof *v);
    for (size_t i = 0; v != NULL && i < n; i++)
        v[i] = (float)(2 * rng_uniform(r) - 1);
    f->n_text = v != NULL ? EXAMPLE_TEXTS : 0;
    for (int i = 0; i < f->n_text; i++, v += each)
        f->text[i] = (struct text){
            .x = v + K, .values = v, .n = EXAMPLE_LENGTH - i - (i > 0)};
}

static void put_numbers(int n, const float *from, real *to)
{
    for (int i = 0; i < n; i++)
        to[i] = (real)from[i];
}

static void put_token(struct pass_batch *b, const struct text *x, int i,
                      int row)
{
    if (x->x != NULL) {
        size_t D = (size_t)b->inputs;
        put_numbers(b->inputs, x->x + (size_t)i * D, b->x + (size_t)row * D);
        return;
    }
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
        f->soft[r] = f->text[r].soft;
        if (f->text[r].values != NULL)
            put_numbers(b->values, f->text[r].values,
                        b->value + (size_t)r * (size_t)b->values);
        else if (!by_row)
            b->target[r] = f->text[r].label;
    }
    b->soft = f->n_text > 0 && f->text[0].soft != NULL ? f->soft : NULL;
    b->B = f->n_text;
    b->N = N;
    b->n_target = by_row ? N : f->n_text;
    b->pick = NULL;
    b->source.N = 0;
}

static int has_sources(const struct feed *f)
{
    return f->n_text > 0 && f->text[0].source != NULL;
}

/* source.text: the texts by falling length of their sources; those of one
 * length stay in their order. */
static void order_sources(struct feed *f)
{
    struct pass_source *s = &f->batch.source;
    int longest = 0, *at = f->count; /* [longest + 2] */
    for (int r = 0; r < f->n_text; r++)
        longest = f->text[r].n_source > longest ? f->text[r].n_source : longest;
    memset(at, 0, ((size_t)longest + 2) * sizeof *at);
    for (int r = 0; r < f->n_text; r++)
        at[f->text[r].n_source]++;
    for (int n = longest, sum = 0; n >= 0; n--) {
        int here = at[n];
        at[n] = sum;
        sum += here;
    }
    for (int r = 0; r < f->n_text; r++) {
        int k = at[f->text[r].n_source]++;
        s->text[k] = r;
        s->length[k] = f->text[r].n_source;
    }
    s->steps.T = longest;
}

static void pack_sources_by_time(struct feed *f)
{
    struct pass_source *s = &f->batch.source;
    int N = 0;
    order_sources(f);
    for (int t = 0; t < s->steps.T; t++) {
        s->steps.off[t] = N;
        for (int k = 0; k < f->n_text && s->length[k] > t; k++)
            s->ids[N++] = f->text[s->text[k]].source[t];
        s->steps.n[t] = N - s->steps.off[t];
    }
    s->steps.off[s->steps.T] = s->steps.N = s->N = N;
}

static void pack_sources_by_text(struct feed *f)
{
    struct pass_source *s = &f->batch.source;
    int N = 0;
    for (int r = 0; r < f->n_text; r++) {
        const struct text *x = &f->text[r];
        s->start[r] = N;
        s->length[r] = x->n_source;
        s->text[r] = r;
        memcpy(s->ids + N, x->source, (size_t)x->n_source * sizeof *s->ids);
        N += x->n_source;
    }
    s->start[f->n_text] = s->N = N;
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
    if (has_sources(f))
        pack_sources_by_time(f);
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
    if (has_sources(f))
        pack_sources_by_text(f);
}
