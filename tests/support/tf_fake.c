/* tf_fake: see tf_fake.h.
 *
 * SPDX-License-Identifier: MIT */
#include "tests/support/tf_fake.h"

#include <math.h>
#include <string.h>

#include "engine/base/mem.h"
#include "engine/base/rng.h"

enum { NORM, QKV, OUT, PARTS };

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
    struct weight *w = f->s.layer + i * PARTS;
    struct tf_linear *qkv = &w[QKV].linear;
    f->wqkv[i] = random_floats(r, (size_t)FAKE_QKV * FAKE_WIDTH, 0.3);
    f->wo[i] = random_floats(r, (size_t)FAKE_WIDTH * FAKE_HEADS * FAKE_D, 0.2);
    if (!f->wqkv[i] || !f->wo[i] ||
        pack(f->wqkv[i], FAKE_QKV, FAKE_WIDTH, qkv) ||
        pack(f->wo[i], FAKE_WIDTH, FAKE_HEADS * FAKE_D, &w[OUT].linear))
        return -1;
    qkv->at[1] = FAKE_HEADS * FAKE_D;
    qkv->at[2] = (FAKE_HEADS + FAKE_KV) * FAKE_D;
    qkv->bias = random_floats(r, tf_pad(FAKE_QKV), 0.2);
    return qkv->bias ? random_norm(r, i % 2, &w[NORM].norm) : -1;
}

static void layer(struct tf *t, const struct weight *w, int i)
{
    const struct stack *s = tf_stack(t);
    const struct tf_fake *f = s->own;
    struct attend a = {.layer = i, .causal = f->causal, .window = s->window[i]};
    norm(t, w, NORM, X, IN);
    linear(t, w, QKV, IN, QKV_ROWS);
    rotate(t, 0, QKV_ROWS);
    attend(t, &a, QKV_ROWS, ATT);
    linear_add(t, w, OUT, ATT, X);
}

static void set_shape(struct tf_fake *f, int whole, int causal, int window,
                      float cap)
{
    struct stack *s = &f->s;
    int dim[N_DIMS] = {[VOCAB] = FAKE_VOCAB,
                       [WIDTH] = FAKE_WIDTH,
                       [LAYERS] = FAKE_LAYERS,
                       [HEADS] = FAKE_HEADS,
                       [KV_HEADS] = FAKE_KV,
                       [HEAD_DIM] = FAKE_D,
                       [HEADS_DIM] = FAKE_HEADS * FAKE_D};
    memcpy(s->dim, dim, sizeof dim);
    f->kind = (struct stack_kind){.whole = whole, .run = layer};
    f->causal = causal;
    s->kind = &f->kind;
    s->own = f;
    s->max_len = FAKE_MAX;
    s->scale = 0.3;
    s->cap = s->out_cap = cap;
    s->n_top = TF_TOP;
    s->n_parts = PARTS;
    for (int i = 0; i < FAKE_LAYERS; i++)
        s->window[i] = window;
}

static void measure(struct tf_fake *f)
{
    tf_measure(&f->s);
    f->s.token_macs = f->s.row_macs = 1e7; /* threads, please */
}

int tf_fake_open(struct tf_fake *f, int whole, int causal, int window,
                 float cap)
{
    struct tf_rope_spec rope = {.n_rot = 8, .adjacent = causal, .base = 100.0};
    struct stack *s = &f->s;
    struct rng r;
    memset(f, 0, sizeof *f);
    rng_init(&r, 2026);
    set_shape(f, whole, causal, window, cap);
    f->embedding = random_floats(&r, (size_t)FAKE_VOCAB * FAKE_WIDTH, 1.0);
    f->wout = random_floats(&r, (size_t)FAKE_VOCAB * FAKE_WIDTH, 0.3);
    s->top = mem_zarray(TF_TOP, sizeof *s->top);
    s->layer = mem_zarray(FAKE_LAYERS * PARTS, sizeof *s->layer);
    if (!s->top || !s->layer)
        return -1;
    for (int i = 0; i < FAKE_LAYERS; i++)
        if (random_layer(f, &r, i))
            return -1;
    if (!f->embedding || !f->wout || tf_rope_init(&s->rope[0], &rope, NULL) ||
        random_norm(&r, 1, &s->top[FINAL_NORM].norm) ||
        pack_q8(f->wout, FAKE_VOCAB, FAKE_WIDTH, &s->top[OUTPUT].linear))
        return -1;
    f->table =
        (struct tensor){.dtype = DT_F32,
                        .n_dims = 2,
                        .dim = {FAKE_VOCAB, FAKE_WIDTH},
                        .data = f->embedding,
                        .bytes = FAKE_VOCAB * FAKE_WIDTH * sizeof(float)};
    s->top[EMBEDDING].table = &f->table;
    measure(f);
    return 0;
}

void tf_fake_set_fast(struct tf_fake *f, int fast)
{
    f->s.top[OUTPUT].linear.fast = fast;
    f->s.set[TOP].fast = 0;
    measure(f);
}

void tf_fake_close(struct tf_fake *f)
{
    for (int i = 0; i < FAKE_LAYERS; i++) {
        struct weight *w = f->s.layer + i * PARTS;
        mem_aligned_free(f->wqkv[i]);
        mem_aligned_free(f->wo[i]);
        tf_linear_fini(&w[QKV].linear);
        tf_linear_fini(&w[OUT].linear);
        tf_norm_fini(&w[NORM].norm);
    }
    tf_norm_fini(&f->s.top[FINAL_NORM].norm);
    tf_linear_fini(&f->s.top[OUTPUT].linear);
    tf_rope_fini(&f->s.rope[0]);
    mem_free(f->s.top);
    mem_free(f->s.layer);
    mem_aligned_free(f->embedding);
    mem_aligned_free(f->wout);
    memset(f, 0, sizeof *f);
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
        if ((f->causal && j > i) || (f->s.window[0] && j <= i - f->s.window[0]))
            continue;
        for (int c = 0; c < FAKE_D; c++)
            s += q[c] * k[c];
        s *= 0.3;
        if (f->s.cap > 0.0f)
            s = (double)f->s.cap * tanh(s / (double)f->s.cap);
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
        ref_norm(&f->s.layer[l * PARTS + NORM].norm, x + (size_t)i * FAKE_WIDTH,
                 h);
        ref_product(f->wqkv[l], f->s.layer[l * PARTS + QKV].linear.bias,
                    FAKE_QKV, FAKE_WIDTH, h, row);
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
        ref_norm(&f->s.top[FINAL_NORM].norm, x + (size_t)i * FAKE_WIDTH, h);
        if (hidden)
            memcpy(hidden + (size_t)i * FAKE_WIDTH, h, sizeof h);
        if (!logits)
            continue;
        ref_product(f->wout, NULL, FAKE_VOCAB, FAKE_WIDTH, h,
                    logits + (size_t)i * FAKE_VOCAB);
        for (int c = 0; c < FAKE_VOCAB && f->s.cap > 0.0f; c++) {
            double *s = &logits[(size_t)i * FAKE_VOCAB + (size_t)c];
            *s = (double)f->s.cap * tanh(*s / (double)f->s.cap);
        }
    }
}

size_t tf_fake_scratch(const struct stack *s, const struct batch *b,
                       int threads, int64_t longest)
{
    return tf_scratch_bytes(s, &(struct step_size){.items = b->n_item,
                                                   .tokens = {b->n_tokens},
                                                   .rows = b->n_rows,
                                                   .threads = threads,
                                                   .longest = longest});
}
