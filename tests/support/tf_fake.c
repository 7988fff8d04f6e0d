/* tf_fake: see tf_fake.h.
 *
 * SPDX-License-Identifier: MIT */
#include "tests/support/tf_fake.h"

#include <math.h>
#include <string.h>

#include "engine/base/mem.h"
#include "engine/base/rng.h"

/* --- weights --- */

static float *random_floats(struct rng *r, size_t n, double scale)
{
    float *p = mem_floats(n);

    for (size_t i = 0; i < n && p; i++)
        p[i] = (float)(rng_normal(r) * scale);
    return p;
}

static int pack(const float *w, int N, int K, struct tf_linear *l)
{
    struct tensor t = {.name = "w",
                       .dtype = DT_F32,
                       .n_dims = 2,
                       .dim = {N, K},
                       .data = w,
                       .bytes = (size_t)N * (size_t)K * sizeof *w};
    struct matrix_rows_of from = {.t = &t, .N = N, .K = K};

    memset(l, 0, sizeof *l);
    l->N = N;
    l->K = K;
    l->n_w = 1;
    return matrix_pack(&from, &l->w[0], NULL);
}

/* Blocks of 32: the scale 2^-6 as a half, then the codes. The values of w are
 * rounded to what the codes say. */
static int pack_q8(float *w, int N, int K, struct tf_linear *l)
{
    size_t n = (size_t)N * (size_t)K, bytes = n / 32 * 34;
    uint8_t *data = mem_alloc(bytes), *at = data;
    struct tensor t = {.name = "w",
                       .dtype = DT_Q8_0,
                       .n_dims = 2,
                       .dim = {N, K},
                       .data = data,
                       .bytes = bytes};
    struct matrix_rows_of from = {.t = &t, .N = N, .K = K};
    int rc;

    if (!data)
        return -1;
    for (size_t i = 0; i < n; i++) {
        int code = (int)lrintf(fminf(fmaxf(w[i] * 64.0f, -127.0f), 127.0f));

        if (i % 32 == 0) {
            *at++ = 0x00;
            *at++ = 0x24;
        }
        *at++ = (uint8_t)(int8_t)code;
        w[i] = (float)code / 64.0f;
    }
    memset(l, 0, sizeof *l);
    l->N = N;
    l->K = K;
    l->n_w = 1;
    rc = matrix_pack(&from, &l->w[0], NULL);
    mem_free(data);
    return rc;
}

static int random_norm(struct rng *r, int rms, struct tf_norm *n)
{
    n->n = FAKE_WIDTH;
    n->rms = rms;
    n->eps = 1e-5f;
    n->w = random_floats(r, FAKE_WIDTH, 1.0);
    n->b = rms ? NULL : random_floats(r, FAKE_WIDTH, 0.3);
    return n->w && (rms || n->b) ? 0 : -1;
}

static int random_layer(struct tf_fake *f, struct rng *r, int i)
{
    f->wqkv[i] = random_floats(r, (size_t)FAKE_QKV * FAKE_WIDTH, 0.3);
    f->wo[i] = random_floats(r, (size_t)FAKE_WIDTH * FAKE_HEADS * FAKE_D, 0.2);
    if (!f->wqkv[i] || !f->wo[i] ||
        pack(f->wqkv[i], FAKE_QKV, FAKE_WIDTH, &f->qkv[i]) ||
        pack(f->wo[i], FAKE_WIDTH, FAKE_HEADS * FAKE_D, &f->out[i]))
        return -1;
    f->qkv[i].bias = random_floats(r, tf_pad(FAKE_QKV), 0.2);
    return f->qkv[i].bias ? random_norm(r, i % 2, &f->norm[i]) : -1;
}

int tf_fake_open(struct tf_fake *f, int whole, int causal, int window,
                 float cap)
{
    struct tf_rope_spec rope = {.n_rot = 8, .adjacent = causal, .base = 100.0};
    struct rng r;

    memset(f, 0, sizeof *f);
    rng_init(&r, 2026);
    f->spec = (struct tf_spec){.n_vocab = FAKE_VOCAB,
                               .max_len = FAKE_MAX,
                               .whole = whole,
                               .wants = 1u << OUT_LOGITS | 1u << OUT_HIDDEN |
                                        1u << OUT_ATTENTION,
                               .width = FAKE_WIDTH,
                               .n_layers = FAKE_LAYERS,
                               .n_phases = 14,
                               .token_macs = 1e7, /* threads, please */
                               .row_macs = 1e7,
                               .n_heads = FAKE_HEADS,
                               .n_kv = FAKE_KV,
                               .d = FAKE_D,
                               .n_logits = FAKE_VOCAB};
    f->causal = causal;
    f->window = window;
    f->cap = cap;
    f->embedding = random_floats(&r, (size_t)FAKE_VOCAB * FAKE_WIDTH, 1.0);
    f->wout = random_floats(&r, (size_t)FAKE_VOCAB * FAKE_WIDTH, 0.3);
    for (int i = 0; i < FAKE_LAYERS; i++)
        if (random_layer(f, &r, i))
            return -1;
    if (!f->embedding || !f->wout || tf_rope_init(&f->rope, &rope, NULL) ||
        random_norm(&r, 1, &f->norm[FAKE_LAYERS]))
        return -1;
    return pack_q8(f->wout, FAKE_VOCAB, FAKE_WIDTH, &f->head);
}

void tf_fake_close(struct tf_fake *f)
{
    for (int i = 0; i < FAKE_LAYERS; i++) {
        mem_aligned_free(f->wqkv[i]);
        mem_aligned_free(f->wo[i]);
        tf_linear_fini(&f->qkv[i]);
        tf_linear_fini(&f->out[i]);
        tf_norm_fini(&f->norm[i]);
    }
    tf_norm_fini(&f->norm[FAKE_LAYERS]);
    tf_linear_fini(&f->head);
    tf_rope_fini(&f->rope);
    mem_aligned_free(f->embedding);
    mem_aligned_free(f->wout);
    memset(f, 0, sizeof *f);
}

/* --- step --- */

struct fake_run {
    struct tf_run t;
    const struct tf_fake *f;
    float *x, *tmp, *qkv, *cs;
    struct tf_input h, mix, top;
};

static void map(struct fake_run *s, struct tf_arena *a, const struct tf_fake *f,
                const int size[4])
{
    s->f = f;
    s->t.spec = &f->spec;
    tf_map(&s->t, a, size[0], size[1], size[2], size[3]);
    s->x = tf_take_rows(a, size[1], FAKE_WIDTH);
    s->tmp = tf_take_rows(a, size[1], FAKE_WIDTH);
    s->qkv = tf_take_rows(a, size[1], FAKE_QKV);
    s->cs = tf_take(a, (size_t)size[1] * 8, sizeof *s->cs);
    tf_input_map(&s->h, a, size[1], FAKE_WIDTH, 0);
    tf_input_map(&s->mix, a, size[1], FAKE_HEADS * FAKE_D, 0);
    tf_input_map(&s->top, a, size[2], FAKE_WIDTH, f->head.fast);
}

size_t tf_fake_scratch(const struct tf_fake *f, int items, int tokens, int rows,
                       int n_threads)
{
    struct fake_run s = {0};
    struct tf_arena a = {0};

    map(&s, &a, f, (const int[4]){items, tokens, rows, n_threads});
    return a.at;
}

static void layer(struct fake_run *s, int i, int tid, int r0, int r1)
{
    const struct tf_fake *f = s->f;
    struct tf_run *t = &s->t;
    size_t ldx = tf_pad(FAKE_WIDTH), ld = tf_pad(FAKE_QKV);
    struct tf_attn a = {.layer = i,
                        .causal = f->causal,
                        .window = f->window,
                        .scale = 0.3f,
                        .cap = f->cap,
                        .q = s->qkv,
                        .k = s->qkv + FAKE_HEADS * FAKE_D,
                        .v = s->qkv + (FAKE_HEADS + FAKE_KV) * FAKE_D,
                        .ldq = ld,
                        .ldkv = ld,
                        .y = s->mix.x,
                        .ldy = s->mix.ld};

    tf_norm_rows(t, &f->norm[i], s->x, ldx, s->h.x, s->h.ld, r0, r1);
    tf_input_ready(t, &s->h, r0, r1);
    tf_sync(t);
    tf_linear_run(t, tid, &f->qkv[i], &s->h, s->qkv, ld);
    tf_sync(t);
    for (int r = r0; r < r1; r++)
        tf_rope_row(t, &f->rope, s->cs + (size_t)r * 8, FAKE_HEADS + FAKE_KV,
                    FAKE_D, s->qkv + (size_t)r * ld);
    tf_attn_store(t, &a, r0, r1);
    tf_sync(t);
    tf_attn_run(t, tid, &a);
    tf_sync(t);
    tf_input_ready(t, &s->mix, r0, r1);
    tf_sync(t);
    tf_linear_add(t, tid, &f->out[i], &s->mix, s->tmp, s->x, ldx);
    tf_sync(t);
}

static void work(void *arg, int tid, int n)
{
    struct fake_run *s = arg;
    const struct tf_fake *f = s->f;
    struct tf_run *t = &s->t;
    size_t ldx = tf_pad(FAKE_WIDTH);
    int r0, r1;

    (void)n;
    tf_own_rows(t, tid, &r0, &r1);
    for (int r = r0; r < r1; r++)
        memcpy(s->x + (size_t)r * ldx,
               f->embedding + (size_t)t->token[r] * FAKE_WIDTH,
               FAKE_WIDTH * sizeof(float));
    tf_rope_table(t, &f->rope, s->cs, r0, r1);
    for (int i = 0; i < FAKE_LAYERS; i++)
        layer(s, i, tid, r0, r1);
    tf_hidden(t, tid, s->x, ldx, &f->norm[FAKE_LAYERS]);
    tf_gather(t, tid, t->logits, t->n_logits, s->x, ldx, &f->norm[FAKE_LAYERS],
              &s->top);
    tf_sync(t);
    tf_logits(t, tid, &f->head, &s->top, f->cap);
}

int tf_fake_step(const struct tf_fake *f, const struct exec *x, struct batch *b,
                 struct err *e)
{
    struct fake_run s = {.t = {.x = x, .k = x->k, .b = b}};
    struct tf_arena a = {.base = x->scratch};

    map(&s, &a, f,
        (const int[4]){b->n_item, b->n_tokens, b->n_rows, x->n_threads});
    if (tf_plan(&s.t, e))
        return -1;
    s.h.m = s.mix.m = s.t.n_rows;
    s.top.m = s.t.n_logits;
    tf_go(&s.t, work, &s);
    return 0;
}

/* --- the same in double --- */

static void ref_norm(const struct tf_norm *n, const double *x, double *y)
{
    double mean = 0.0, var = 0.0;

    for (int i = 0; i < FAKE_WIDTH && !n->rms; i++)
        mean += x[i] / FAKE_WIDTH;
    for (int i = 0; i < FAKE_WIDTH; i++)
        var += (x[i] - mean) * (x[i] - mean) / FAKE_WIDTH;
    for (int i = 0; i < FAKE_WIDTH; i++) {
        y[i] = (x[i] - mean) / sqrt(var + (double)n->eps) * (double)n->w[i];
        y[i] += n->b ? (double)n->b[i] : 0.0;
    }
}

static void ref_product(const float *w, const float *b, int N, int K,
                        const double *x, double *y)
{
    for (int i = 0; i < N; i++) {
        y[i] = b ? (double)b[i] : 0.0;
        for (int j = 0; j < K; j++)
            y[i] += (double)w[i * K + j] * x[j];
    }
}

/* 8 dimensions of a head turn by position * 100^(-2i/8). */
static void ref_rope(int adjacent, int pos, double *x)
{
    for (int i = 0; i < 4; i++) {
        int a = adjacent ? 2 * i : i, b = adjacent ? 2 * i + 1 : i + 4;
        double angle = pos * pow(100.0, -2.0 * i / 8.0);
        double u = x[a], v = x[b];

        x[a] = u * cos(angle) - v * sin(angle);
        x[b] = v * cos(angle) + u * sin(angle);
    }
}

/* Head h of query row i over all rows; p [n] gets the weights. */
static void ref_head(const struct tf_fake *f, const double *qkv, int n, int i,
                     int h, double *p, double *y)
{
    const double *q = qkv + (size_t)i * FAKE_QKV + h * FAKE_D;
    int kv = FAKE_HEADS + h / (FAKE_HEADS / FAKE_KV);
    double sum = 0.0;

    memset(y, 0, FAKE_D * sizeof *y);
    for (int j = 0; j < n; j++) {
        const double *k = qkv + (size_t)j * FAKE_QKV + kv * FAKE_D;
        double s = 0.0;

        p[j] = 0.0;
        if ((f->causal && j > i) || (f->window && j <= i - f->window))
            continue;
        for (int c = 0; c < FAKE_D; c++)
            s += q[c] * k[c];
        s *= 0.3;
        if (f->cap > 0.0f)
            s = (double)f->cap * tanh(s / (double)f->cap);
        p[j] = exp(s);
        sum += p[j];
    }
    for (int j = 0; j < n; j++) {
        const double *v = qkv + (size_t)j * FAKE_QKV + (kv + FAKE_KV) * FAKE_D;

        p[j] /= sum;
        for (int c = 0; c < FAKE_D; c++)
            y[c] += p[j] * v[c];
    }
}

static void ref_layer(const struct tf_fake *f, int l, int n, double *x,
                      double *qkv, double *weights)
{
    double h[FAKE_WIDTH], mix[FAKE_HEADS * FAKE_D], p[FAKE_MAX];

    for (int i = 0; i < n; i++) {
        double *row = qkv + (size_t)i * FAKE_QKV;

        ref_norm(&f->norm[l], x + (size_t)i * FAKE_WIDTH, h);
        ref_product(f->wqkv[l], f->qkv[l].bias, FAKE_QKV, FAKE_WIDTH, h, row);
        for (int c = 0; c < FAKE_HEADS + FAKE_KV; c++)
            ref_rope(f->causal, i, row + c * FAKE_D);
    }
    for (int i = 0; i < n; i++) {
        for (int c = 0; c < FAKE_HEADS; c++) {
            ref_head(f, qkv, n, i, c, p, mix + c * FAKE_D);
            if (weights)
                memcpy(weights +
                           (((size_t)l * FAKE_HEADS + (size_t)c) * (size_t)n +
                            (size_t)i) *
                               (size_t)n,
                       p, (size_t)n * sizeof *p);
        }
        ref_product(f->wo[l], NULL, FAKE_WIDTH, FAKE_HEADS * FAKE_D, mix, h);
        for (int c = 0; c < FAKE_WIDTH; c++)
            x[(size_t)i * FAKE_WIDTH + (size_t)c] += h[c];
    }
}

void tf_fake_reference(const struct tf_fake *f, const int32_t *ids, int n,
                       double *logits, double *hidden, double *weights)
{
    static double x[FAKE_MAX * FAKE_WIDTH], qkv[FAKE_MAX * FAKE_QKV];
    double h[FAKE_WIDTH];

    for (int i = 0; i < n * FAKE_WIDTH; i++)
        x[i] =
            (double)
                f->embedding[ids[i / FAKE_WIDTH] * FAKE_WIDTH + i % FAKE_WIDTH];
    for (int l = 0; l < FAKE_LAYERS; l++)
        ref_layer(f, l, n, x, qkv, weights);
    for (int i = 0; i < n; i++) {
        ref_norm(&f->norm[FAKE_LAYERS], x + (size_t)i * FAKE_WIDTH, h);
        if (hidden)
            memcpy(hidden + (size_t)i * FAKE_WIDTH, h, sizeof h);
        if (!logits)
            continue;
        ref_product(f->wout, NULL, FAKE_VOCAB, FAKE_WIDTH, h,
                    logits + (size_t)i * FAKE_VOCAB);
        for (int c = 0; c < FAKE_VOCAB && f->cap > 0.0f; c++) {
            double *s = &logits[(size_t)i * FAKE_VOCAB + (size_t)c];

            *s = (double)f->cap * tanh(*s / (double)f->cap);
        }
    }
}
