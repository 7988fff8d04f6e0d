/* bert: one step of the encoder, see bert.h for the equations. All rows of
 * all items go through the layers at once; attention looks at each item
 * alone. A phase owns rows or columns; between them the threads meet.
 *
 * SPDX-License-Identifier: MIT */
#include "models/transformer/bert.h"

#include <math.h>
#include <string.h>

struct bert_run {
    struct tf_run t;
    const struct bert *m;
    int32_t *place;      /* [rows] rows of the positions' table */
    float *qkv;          /* [rows][3 H] */
    float *tmp;          /* [rows][H] */
    struct tf_input x;   /* the stream itself: residual and input */
    struct tf_input att; /* what attention gives */
    struct tf_input ffn; /* [rows][F] */
    struct tf_input top; /* rows that the head reads, [wanted][H] */
    struct tf_input mid; /* inside the head */
    float *scores;       /* CLASS: [wanted][labels] */
};

static void map(struct bert_run *s, struct tf_arena *a, int items, int tokens,
                int rows, int n_threads)
{
    const struct bert *m = s->m;
    const struct bert_layer *l = &m->layer[0];

    s->t.spec = &m->spec;
    tf_map(&s->t, a, items, tokens, rows, n_threads);
    s->place = tf_take(a, (size_t)tokens, sizeof *s->place);
    s->qkv = tf_take_rows(a, tokens, l->qkv.at[2] + (int64_t)tf_pad(m->H));
    s->tmp = tf_take_rows(a, tokens, m->H);
    tf_input_map(&s->x, a, tokens, m->H, l->qkv.fast || l->up.fast);
    tf_input_map(&s->att, a, tokens, m->H, l->o.fast);
    tf_input_map(&s->ffn, a, tokens, m->F, l->down.fast);
    if (m->head == HEAD_EMBED)
        return;
    tf_input_map(&s->top, a, rows, m->H, m->dense.fast);
    tf_input_map(&s->mid, a, rows, m->H, m->out.fast);
    if (m->head == HEAD_CLASS)
        s->scores = tf_take_rows(a, rows, m->out.N);
}

static size_t bert_scratch_bytes(const void *self, const struct step_size *most)
{
    struct bert_run s = {.m = self};
    struct tf_arena a = {NULL, 0};

    map(&s, &a, most->items, most->tokens[0], most->rows, most->threads);
    return a.at;
}

static void activate(const struct kernels *k, enum bert_act act, int n,
                     float *x)
{
    switch (act) {
    case ACT_GELU:
        k->gelu_erf(n, x, x);
        break;
    case ACT_GELU_TANH:
        k->gelu_tanh(n, x, x);
        break;
    case ACT_RELU:
        k->act_relu(1, 0, n, x, (size_t)n, x, (size_t)n);
        break;
    case ACT_TANH:
        k->vtanh(n, x, x);
        break;
    }
}

/* The rows of the positions' table. RoBERTa's begin behind the padding token's
 * own, which keeps it, wherever it stands. */
static void find_places(struct bert_run *s)
{
    const struct tf_run *t = &s->t;

    for (int i = 0; i < t->n_slots; i++) {
        const struct tf_slot *slot = &t->slot[i];
        int next = s->m->pad + 1;

        for (int r = slot->row0; r < slot->row0 + slot->n; r++) {
            int padding = s->m->pad >= 0 && t->token[r] == s->m->pad;

            s->place[r] = padding ? s->m->pad : next++;
        }
    }
}

/* Own rows: norm((word + type) + position). */
static void embed(struct bert_run *s, int r0, int r1)
{
    const struct bert *m = s->m;
    const struct tf_run *t = &s->t;
    size_t H = (size_t)m->H, pad = tf_pad(m->H);

    for (int r = r0; r < r1; r++) {
        float *x = s->x.x + (size_t)r * s->x.ld;
        float *place = s->tmp + (size_t)r * pad;

        tensor_read(m->word, (size_t)t->token[r] * H, H, x);
        tensor_read(m->position, (size_t)s->place[r] * H, H, place);
        if (m->n_types > t->type[r])
            t->k->add_to(m->H, m->type + (size_t)t->type[r] * pad, x);
        t->k->add_to(m->H, place, x);
    }
    tf_norm_rows(t, &m->norm, s->x.x, s->x.ld, s->x.x, s->x.ld, r0, r1);
    tf_input_ready(t, &s->x, r0, r1);
}

static void attention(struct bert_run *s, int layer, int tid)
{
    const struct bert *m = s->m;
    const struct bert_layer *l = &m->layer[layer];
    struct tf_run *t = &s->t;
    size_t ld = (size_t)l->qkv.at[2] + tf_pad(m->H);
    struct tf_attn a = {.layer = layer,
                        .scale = 1.0f / sqrtf((float)m->spec.d),
                        .q = s->qkv + l->qkv.at[0],
                        .k = s->qkv + l->qkv.at[1],
                        .v = s->qkv + l->qkv.at[2],
                        .ldq = ld,
                        .ldkv = ld,
                        .y = s->att.x,
                        .ldy = s->att.ld};
    int r0, r1;

    tf_own_rows(t, tid, &r0, &r1);
    tf_linear_run(t, tid, &l->qkv, &s->x, s->qkv, ld);
    tf_sync(t);
    tf_attn_store(t, &a, r0, r1);
    tf_sync(t);
    tf_attn_run(t, tid, &a);
    tf_sync(t);
    tf_input_ready(t, &s->att, r0, r1);
    tf_sync(t);
    tf_linear_add(t, tid, &l->o, &s->att, s->tmp, s->x.x, s->x.ld);
    tf_sync(t);
    tf_norm_rows(t, &l->norm1, s->x.x, s->x.ld, s->x.x, s->x.ld, r0, r1);
    tf_input_ready(t, &s->x, r0, r1);
    tf_sync(t);
}

static void feed_forward(struct bert_run *s, const struct bert_layer *l,
                         int tid)
{
    const struct bert *m = s->m;
    struct tf_run *t = &s->t;
    int r0, r1;

    tf_own_rows(t, tid, &r0, &r1);
    tf_linear_run(t, tid, &l->up, &s->x, s->ffn.x, s->ffn.ld);
    tf_sync(t);
    for (int r = r0; r < r1; r++)
        activate(t->k, m->act, m->F, s->ffn.x + (size_t)r * s->ffn.ld);
    tf_input_ready(t, &s->ffn, r0, r1);
    tf_sync(t);
    tf_linear_add(t, tid, &l->down, &s->ffn, s->tmp, s->x.x, s->x.ld);
    tf_sync(t);
    tf_norm_rows(t, &l->norm2, s->x.x, s->x.ld, s->x.x, s->x.ld, r0, r1);
    tf_input_ready(t, &s->x, r0, r1);
    tf_sync(t);
}

/* The head's inner layer over the wanted rows: mid = act(W top), and its norm.
 */
static void head_dense(struct bert_run *s, int tid, const struct tf_out *out,
                       int n)
{
    const struct bert *m = s->m;
    struct tf_run *t = &s->t;
    int r0, r1;

    tf_gather(t, tid, out, n, s->x.x, s->x.ld, NULL, &s->top);
    tf_sync(t);
    tf_linear_run(t, tid, &m->dense, &s->top, s->mid.x, s->mid.ld);
    tf_sync(t);
    tf_share(n, 1, tid, t->n, &r0, &r1);
    for (int r = r0; r < r1; r++)
        activate(t->k, m->head_act, m->H, s->mid.x + (size_t)r * s->mid.ld);
    if (m->head == HEAD_FILL)
        tf_norm_rows(t, &m->head_norm, s->mid.x, s->mid.ld, s->mid.x, s->mid.ld,
                     r0, r1);
    tf_input_ready(t, &s->mid, r0, r1);
    tf_sync(t);
}

static void classify(struct bert_run *s, int tid)
{
    const struct bert *m = s->m;
    struct tf_run *t = &s->t;
    size_t ld = tf_pad(m->out.N);

    tf_linear_run(t, tid, &m->out, &s->mid, s->scores, ld);
    tf_sync(t);
    for (int i = 0; tid == 0 && i < t->n_cls; i++) {
        const float *y = s->scores + (size_t)i * ld;

        memcpy(t->cls[i].dst, y, (size_t)m->out.N * sizeof *y);
        if (!t->k->all_finite(m->out.N, y))
            tf_fail_slot(t, t->cls[i].slot);
    }
}

static void pool_rows(struct bert_run *s, int tid)
{
    const struct bert *m = s->m;
    struct tf_run *t = &s->t;
    int from, to;

    tf_share(t->n_pooled, 1, tid, t->n, &from, &to);
    for (int i = from; i < to; i++) {
        const struct tf_slot *slot = &t->slot[t->pooled[i].slot];
        float *y = t->pooled[i].dst;

        bert_pool(&m->sentence, t->k, m->H,
                  s->x.x + (size_t)slot->row0 * s->x.ld, s->x.ld, slot->n, y);
        if (!t->k->all_finite(m->H, y))
            tf_fail_slot(t, t->pooled[i].slot);
    }
}

static void run(void *arg, int tid, int n_threads)
{
    struct bert_run *s = arg;
    const struct bert *m = s->m;
    struct tf_run *t = &s->t;
    int r0, r1;

    (void)n_threads;
    tf_own_rows(t, tid, &r0, &r1);
    embed(s, r0, r1);
    tf_sync(t);
    for (int i = 0; i < m->L; i++) {
        attention(s, i, tid);
        feed_forward(s, &m->layer[i], tid);
    }
    if (t->n_hidden)
        tf_hidden(t, tid, s->x.x, s->x.ld, NULL);
    if (t->n_pooled)
        pool_rows(s, tid);
    if (t->n_logits) {
        head_dense(s, tid, t->logits, t->n_logits);
        tf_logits(t, tid, &m->out, &s->mid, 0.0f);
    }
    if (t->n_cls) {
        head_dense(s, tid, t->cls, t->n_cls);
        classify(s, tid);
    }
}

static int bert_step(const void *self, const struct exec *x, struct batch *b,
                     struct err *e)
{
    struct bert_run s = {.m = self, .t = {.x = x, .k = x->k, .b = b}};
    struct tf_arena a = {x->scratch, 0};
    struct tf_run *t = &s.t;

    map(&s, &a, b->n_item, b->n_tokens, b->n_rows, x->n_threads);
    if (tf_plan(t, e))
        return -1;
    find_places(&s);
    for (int i = 0; i < t->n_cls; i++) /* the first token stands for all */
        t->cls[i].row = t->slot[t->cls[i].slot].row0;
    s.x.m = s.att.m = s.ffn.m = t->n_rows;
    s.top.m = s.mid.m = t->n_logits ? t->n_logits : t->n_cls;
    tf_go(t, run, &s);
    return 0;
}

static const char *const aliases[] = {"distilbert", "roberta", "xlm-roberta",
                                      NULL};

const struct model_arch bert_arch = {
    .name = "bert",
    .aliases = aliases,
    .load = bert_load,
    .unload = bert_unload,
    .scratch_bytes = bert_scratch_bytes,
    .step = bert_step,
};
