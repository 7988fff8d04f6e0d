/* seq2seq_step: one step of a recurrent encoder-decoder. Sources are one batch
 * of the encoder, targets one of the decoder; where the context goes into the
 * decoder's first layer, a batch for each time step, since the next context is
 * made from the state before. Their bits are rnn_step.c's; what is made here is
 * made row by row, each row by one thread.
 *
 * SPDX-License-Identifier: MIT */
#include <string.h>

#include "models/rnn/rnn_step.h"
#include "models/rnn/seq2seq_rnn.h"

/* Below this many multiply-adds a second thread costs more than it brings. */
#define MIN_WORK 1.0e6

/* A step, and where its scratch is. i: of a list of items, those of one port,
 * of them in a time step those that have so many rows. */
struct run {
    const struct seq2seq *m;
    const struct exec *x;
    struct batch *b;
    int *list;               /* [items] item of b */
    struct batch_item *item; /* [items] what the net inside gets */
    struct want *want;       /* [items][SEQ2SEQ_MAX_WANTS] */
    int n;                   /* of these three */
    float *zeros;            /* an empty encoder's state */
    float *state;            /* [items] encoder states after the sources */
    int32_t *ids;            /* [rows of sources] from their ends */
    float *e;                /* [rows of sources][C] as they were read */
    float *ahead[2];         /* [items] decoder states between time steps */
    float *input;            /* [items][dec.I] */
    float *context;          /* [items][C] */
    float *top;              /* [rows of targets][H] for ATTENTION */
    struct seq2seq_lane *lane;
    void *inner; /* scratch of the net inside */
    int t;       /* time step */
};

/* --- scratch --- */

static void *place(char *base, size_t *at, size_t n, size_t bytes)
{
    size_t here = *at;

    *at = (here + n * bytes + 63) / 64 * 64;
    return base ? base + here : NULL;
}

static void map_lane(const struct seq2seq *m, struct seq2seq_lane *l,
                     char *base, size_t *at)
{
    size_t blocks = ((size_t)m->max_source + ATTN_KEYS - 1) / ATTN_KEYS;
    size_t Ap = (size_t)m->Ap;
    struct seq2seq_lane to;

    to.q = place(base, at, Ap, sizeof(float));
    to.tile = place(base, at, ATTN_KEYS * Ap, sizeof(float));
    to.kept = place(base, at, ATTN_KEYS * (size_t)m->C, sizeof(float));
    to.scores = place(base, at, ATTN_KEYS * blocks, sizeof(float));
    to.mixed = place(base, at, (size_t)m->Cp, sizeof(float));
    to.e = place(base, at, blocks, sizeof *to.e);
    to.rows = place(base, at, ATTN_KEYS, sizeof *to.rows);
    if (l)
        *l = to;
}

/* Places of all arrays from base (NULL: none); the bytes. Grows with each
 * number of `most`. */
static size_t map_scratch(struct run *r, char *base,
                          const struct step_size *most)
{
    const struct seq2seq *m = r->m;
    size_t items = (size_t)most->items, S = (size_t)most->tokens[PORT_SOURCE];
    size_t T = (size_t)most->tokens[PORT_TARGET], C = (size_t)m->C, at = 0;
    size_t F = rnn_state_floats(m->enc), G = rnn_state_floats(m->dec);
    int attends = m->attention != ATTEND_NONE;

    r->list = place(base, &at, items, sizeof *r->list);
    r->item = place(base, &at, items, sizeof *r->item);
    r->want = place(base, &at, items * SEQ2SEQ_MAX_WANTS, sizeof *r->want);
    r->zeros = place(base, &at, F, sizeof(float));
    r->state = place(base, &at, items * F, sizeof(float));
    r->ids = place(base, &at, m->backwards ? S : 0, sizeof *r->ids);
    r->e = place(base, &at, attends ? S * C : 0, sizeof(float));
    for (int i = 0; i < 2; i++)
        r->ahead[i] = place(base, &at, m->early ? items * G : 0, sizeof(float));
    r->input = place(base, &at, m->early ? items * (size_t)m->dec->I : 0,
                     sizeof(float));
    r->context = place(base, &at, m->early ? items * C : 0, sizeof(float));
    r->top = place(base, &at, attends && !m->early ? T * (size_t)m->dec->H : 0,
                   sizeof(float));
    r->lane = place(base, &at, (size_t)most->threads, sizeof *r->lane);
    for (int i = 0; i < most->threads; i++)
        map_lane(m, r->lane ? &r->lane[i] : NULL, base, &at);
    r->inner = base ? base + at : NULL;
    return at;
}

size_t seq2seq_scratch_bytes(const void *self, const struct step_size *most)
{
    struct run r = {.m = self};
    struct step_size enc = *most, dec = *most;
    size_t a, b;

    enc.tokens[PORT_TARGET] = most->tokens[PORT_SOURCE];
    enc.rows = most->tokens[PORT_SOURCE];
    dec.rows += most->tokens[PORT_TARGET];
    a = rnn_scratch_bytes(r.m->enc, &enc);
    b = rnn_scratch_bytes(r.m->dec, &dec);
    return map_scratch(&r, NULL, most) + (a > b ? a : b);
}

/* --- checks --- */

static int ids_are_valid(const struct span *in, int V)
{
    const int32_t *id = in->p;

    if (in->unit != UNIT_TOKENS || in->n < 0)
        return 0;
    for (int i = 0; i < in->n; i++)
        if (id[i] < 0 || id[i] >= V)
            return 0;
    return 1;
}

/* A whole source, of a sequence that has none yet. */
static int source_is_valid(const struct seq2seq *m, const struct batch_item *it)
{
    const int64_t *len = it->seq->len;

    return it->in.n > 0 && !len[PORT_TARGET] && !len[PORT_SOURCE] &&
           (!m->max_source || it->in.n <= m->max_source) && it->n_w == 0 &&
           ids_are_valid(&it->in, m->enc->V);
}

static int target_is_valid(const struct seq2seq *m, const struct batch_item *it)
{
    if (it->seq->len[PORT_SOURCE] < 1 || it->n_w > SEQ2SEQ_MAX_WANTS ||
        !ids_are_valid(&it->in, m->dec->V))
        return 0;
    for (int i = 0; i < it->n_w; i++) {
        const struct want *w = &it->w[i];

        if (w->kind == OUT_ATTENTION) {
            if (m->attention == ATTEND_NONE || it->in.n > MODEL_MAX_SHOWN)
                return 0;
        } else if ((w->kind != OUT_LOGITS && w->kind != OUT_HIDDEN) ||
                   w->from < 0 || w->n < 0 || w->from > it->in.n ||
                   w->n > it->in.n - w->from) {
            return 0;
        }
    }
    return 1;
}

/* Statuses, and what a step of this size holds. */
static int check_batch(const struct seq2seq *m, struct batch *b,
                       struct step_size *size, struct err *e)
{
    int64_t tokens[MAX_PORTS] = {0}, rows = 0;

    for (int i = 0; i < b->n_item; i++) {
        struct batch_item *it = &b->item[i];
        int ok = it->port == PORT_SOURCE ? source_is_valid(m, it)
                                         : target_is_valid(m, it);

        it->status = ok ? 0 : -1;
        it->fail = ok ? ERR_NONE : ERR_INVALID;
        tokens[it->port == PORT_SOURCE] += ok ? it->in.n : 0;
        for (int k = 0; k < it->n_w && ok; k++)
            rows += it->w[k].kind == OUT_ATTENTION ? 0 : it->w[k].n;
    }
    if (tokens[0] + tokens[1] > b->n_tokens || rows > b->n_rows)
        return err_set(e, ERR_INTERNAL,
                       "the batch holds more than the %d tokens and %d rows "
                       "that it states",
                       b->n_tokens, b->n_rows);
    for (int i = 0; i < MAX_PORTS; i++)
        size->tokens[i] = (int)tokens[i];
    size->items = b->n_item;
    size->rows = b->n_rows;
    return 0;
}

/* --- the nets inside --- */

static void run_threads(struct run *r, double work, pool_fn *fn)
{
    int n = work < MIN_WORK ? 1 : r->x->n_threads;

    if (n == 1)
        fn(r, 0, 1);
    else
        pool_run(r->x->pool, n, fn, r);
}

/* The list's items through a net; their statuses become those of the batch. */
static int run_net(struct run *r, const struct rnn *m,
                   const struct rnn_around *around, int tokens, int rows,
                   struct err *e)
{
    struct batch b = {
        .item = r->item, .n_item = r->n, .n_tokens = tokens, .n_rows = rows};
    struct exec x = *r->x;

    x.scratch = r->inner;
    if (rnn_step_around(m, around, &x, &b, e))
        return -1;
    for (int i = 0; i < r->n; i++) {
        struct batch_item *it = &r->b->item[r->list[i]];

        it->status = r->item[i].status;
        it->fail = r->item[i].fail;
    }
    return 0;
}

/* Items of a port that have more than t rows and have not failed. */
static int list_items(struct run *r, int port, int t)
{
    r->n = 0;
    for (int i = 0; i < r->b->n_item; i++) {
        const struct batch_item *it = &r->b->item[i];

        if (!it->status && it->port == port && it->in.n > t) {
            r->item[r->n] = *it;
            r->item[r->n].port = PORT_TARGET;
            r->item[r->n].w = r->want + r->n * SEQ2SEQ_MAX_WANTS;
            r->item[r->n].n_w = 0;
            r->list[r->n++] = i;
        }
    }
    return r->n;
}

static void add_want(struct batch_item *it, enum out kind, int from, int n,
                     float *dst, size_t ld)
{
    it->w[it->n_w++] =
        (struct want){.kind = kind, .from = from, .n = n, .dst = dst, .ld = ld};
}

/* --- sources --- */

/* The decoder's first state, from the encoder's last. */
static void cross_bridge(const struct run *r, int i, float *to)
{
    const struct seq2seq *m = r->m;
    const struct rnn *enc = m->enc, *dec = m->dec;
    const float *from = r->state + (size_t)i * rnn_state_floats(enc);

    memset(to, 0, rnn_state_floats(dec) * sizeof *to);
    for (int layer = 0; layer < dec->L; layer++) {
        for (int part = 0; part <= m->pass_cell; part++) {
            const float *x = from + (part ? rnn_state_c(enc, layer)
                                          : rnn_state_h(enc, layer));
            float *y =
                to + (part ? rnn_state_c(dec, layer) : rnn_state_h(dec, layer));
            const float *bias = m->pass_bias[layer][part];

            if (m->bridge == BRIDGE_COPY) {
                memcpy(y, x, (size_t)dec->Hp * sizeof *y);
                continue;
            }
            r->x->k->gemm_rows(&m->pass[layer][part], 0, dec->H, 1, x, 0, &bias,
                               y, (size_t)dec->Hp);
            if (m->bridge == BRIDGE_TANH)
                r->x->k->act_tanh(1, 0, dec->H, y, (size_t)dec->Hp, y,
                                  (size_t)dec->Hp);
        }
    }
}

/* Outputs of the rows at .. at + n of a source whose first one read is e. */
static const float *outputs_at(const struct seq2seq *m,
                               const struct seq2seq_lane *l, int n_source,
                               int at, int n, const float *e)
{
    size_t C = (size_t)m->C;

    if (!m->backwards)
        return e + (size_t)at * C;
    for (int k = 0; k < n; k++)
        memcpy(l->kept + (size_t)k * C, e + (size_t)(n_source - 1 - at - k) * C,
               C * sizeof *e);
    return l->kept;
}

/* Each thread takes every n-th of the bridges, then of the pages. */
static void finish_sources(void *arg, int tid, int n)
{
    struct run *r = arg;
    const struct seq2seq *m = r->m;
    const float *e = r->e;
    int turn = 0;

    for (int i = tid; i < r->n; i += n) {
        struct batch_item *it = &r->b->item[r->list[i]];

        if (it->status)
            continue;
        cross_bridge(r, i, it->fixed_out);
        if (!r->x->k->all_finite((int)rnn_state_floats(m->dec),
                                 it->fixed_out)) {
            it->status = -1;
            it->fail = ERR_INTERNAL;
        }
    }
    for (int i = 0; i < r->n && m->attention != ATTEND_NONE; i++) {
        const struct batch_item *it = &r->item[i];

        for (int at = 0; at < it->in.n; at += ATTN_KEYS) {
            int rows = it->in.n - at < ATTN_KEYS ? it->in.n - at : ATTN_KEYS;

            if (turn++ % n == tid)
                seq2seq_keep(
                    m, r->x->k, &r->lane[tid], rows,
                    outputs_at(m, &r->lane[tid], it->in.n, at, rows, e),
                    it->seq->pages[PORT_SOURCE][at / ATTN_KEYS]);
        }
        e += (size_t)it->in.n * (size_t)m->C;
    }
}

static void turn_sources(struct run *r)
{
    int32_t *to = r->ids;

    for (int i = 0; i < r->n && r->m->backwards; i++) {
        struct span *in = &r->item[i].in;
        const int32_t *from = in->p;

        for (int k = 0; k < in->n; k++)
            to[k] = from[in->n - 1 - k];
        in->p = to;
        to += in->n;
    }
}

static int read_sources(struct run *r, int tokens, struct err *e)
{
    const struct seq2seq *m = r->m;
    size_t F = rnn_state_floats(m->enc), C = (size_t)m->C;
    int attends = m->attention != ATTEND_NONE;
    double work = (double)tokens * m->A * m->C * (m->attention > ATTEND_NONE);
    float *rows = r->e;

    if (!list_items(r, PORT_SOURCE, 0))
        return 0;
    turn_sources(r);
    memset(r->zeros, 0, F * sizeof *r->zeros);
    for (int i = 0; i < r->n; i++) {
        struct batch_item *it = &r->item[i];

        it->fixed_in = r->zeros;
        it->fixed_out = r->state + (size_t)i * F;
        if (attends)
            add_want(it, OUT_HIDDEN, 0, it->in.n, rows, C);
        rows += attends ? (size_t)it->in.n * C : 0;
    }
    if (run_net(r, m->enc, NULL, tokens, tokens, e))
        return -1;
    if (m->bridge != BRIDGE_COPY)
        work += (double)r->n * m->dec->L * m->dec->H * m->C;
    run_threads(r, work, finish_sources);
    return 0;
}

/* --- targets, the context late --- */

static double attention_work(const struct run *r)
{
    const struct seq2seq *m = r->m;
    double rows = 0;

    for (int i = 0; i < r->n; i++)
        rows +=
            (double)r->item[i].in.n * (double)r->item[i].seq->len[PORT_SOURCE];
    return rows * (m->A + m->C);
}

/* rnn_around.extend */
static void attend_late(void *arg, int tid, const struct batch_item *it,
                        int row, const float *x, float *more)
{
    const struct run *r = arg;

    (void)row;
    seq2seq_attend(r->m, r->x->k, &r->lane[tid], it->seq, x, more, NULL);
}

static const struct want *shown(const struct batch_item *it)
{
    for (int k = 0; k < it->n_w; k++)
        if (it->w[k].kind == OUT_ATTENTION)
            return &it->w[k];
    return NULL;
}

/* The weights of the targets that are looked at, from their top states. */
static void show_weights(void *arg, int tid, int n)
{
    const struct run *r = arg;
    const struct seq2seq *m = r->m;
    const struct seq2seq_lane *l = &r->lane[tid];
    const float *h = r->top;
    int turn = 0;

    for (int i = 0; i < r->n; i++) {
        const struct batch_item *it = &r->b->item[r->list[i]];
        const struct want *w = shown(it);
        int64_t S = it->seq->len[PORT_SOURCE];

        for (int t = 0; t < it->in.n && w; t++, h += m->dec->H)
            if (turn++ % n == tid && !it->status)
                seq2seq_attend(m, r->x->k, l, it->seq, h, l->mixed,
                               w->dst + t * S);
    }
}

static int read_targets(struct run *r, int tokens, int rows, struct err *e)
{
    const struct seq2seq *m = r->m;
    const struct rnn_around around = {.extend = attend_late, .arg = r};
    size_t H = (size_t)m->dec->H;
    float *top = r->top;
    int looked_at = 0;

    if (!list_items(r, PORT_TARGET, -1))
        return 0;
    for (int i = 0; i < r->n; i++) {
        const struct batch_item *it = &r->b->item[r->list[i]];

        for (int k = 0; k < it->n_w; k++)
            if (it->w[k].kind != OUT_ATTENTION)
                r->item[i].w[r->item[i].n_w++] = it->w[k];
        if (!shown(it) || it->in.n < 1)
            continue;
        add_want(&r->item[i], OUT_HIDDEN, 0, it->in.n, top, H);
        top += (size_t)it->in.n * H;
        looked_at = 1;
    }
    if (run_net(r, m->dec, &around, tokens, rows + tokens, e))
        return -1;
    if (looked_at)
        run_threads(r, attention_work(r), show_weights);
    return 0;
}

/* --- targets, the context early --- */

/* What enters the decoder at this time step: embedding and context. */
static void make_inputs(void *arg, int tid, int n)
{
    const struct run *r = arg;
    const struct seq2seq *m = r->m;
    const struct rnn *dec = m->dec;
    size_t E = (size_t)dec->E, C = (size_t)m->C;
    size_t at = rnn_state_h(dec, dec->L - 1);

    for (int i = tid; i < r->n; i += n) {
        const struct batch_item *it = &r->b->item[r->list[i]];
        const struct want *w = shown(it);
        int64_t S = it->seq->len[PORT_SOURCE];
        size_t id = (size_t)((const int32_t *)it->in.p)[r->t];
        float *x = r->input + (size_t)i * (E + C);

        seq2seq_attend(m, r->x->k, &r->lane[tid], it->seq,
                       (const float *)r->item[i].fixed_in + at,
                       r->context + (size_t)i * C,
                       w ? w->dst + r->t * S : NULL);
        tensor_read(dec->embedding, id * E, E, x);
        memcpy(x + E, r->context + (size_t)i * C, C * sizeof *x);
    }
}

/* rnn_around.extend */
static void give_context(void *arg, int tid, const struct batch_item *it,
                         int row, const float *x, float *more)
{
    const struct run *r = arg;
    size_t C = (size_t)r->m->C;

    (void)tid;
    (void)row;
    (void)x;
    memcpy(more, r->context + (size_t)(it - r->item) * C, C * sizeof *more);
}

/* The list's items as one row each. States between the first and the last row
 * of an item are in two arrays, by its place in the batch. */
static void set_row(struct run *r, int i)
{
    const struct rnn *dec = r->m->dec;
    const struct batch_item *it = &r->b->item[r->list[i]];
    size_t at = (size_t)r->list[i] * rnn_state_floats(dec);
    struct batch_item *row = &r->item[i];
    int t = r->t;

    row->in = (struct span){.unit = UNIT_VECTORS,
                            .n = 1,
                            .p = r->input + (size_t)i * (size_t)dec->I};
    if (t > 0)
        row->fixed_in = r->ahead[(t - 1) % 2] + at;
    if (t < it->in.n - 1)
        row->fixed_out = r->ahead[t % 2] + at;
    for (int k = 0; k < it->n_w; k++) {
        const struct want *w = &it->w[k];

        if (w->kind != OUT_ATTENTION && t >= w->from && t < w->from + w->n)
            add_want(row, w->kind, 0, 1, w->dst + (size_t)(t - w->from) * w->ld,
                     w->ld);
    }
}

static int read_targets_by_time(struct run *r, int rows, struct err *e)
{
    const struct rnn_around around = {.extend = give_context, .arg = r};

    for (int i = 0; i < r->b->n_item; i++) {
        const struct batch_item *it = &r->b->item[i];

        if (!it->status && it->port == PORT_TARGET && it->in.n == 0)
            memcpy(it->fixed_out, it->fixed_in,
                   rnn_state_floats(r->m->dec) * sizeof(float));
    }
    for (r->t = 0; list_items(r, PORT_TARGET, r->t); r->t++) {
        for (int i = 0; i < r->n; i++)
            set_row(r, i);
        run_threads(r, attention_work(r), make_inputs);
        if (run_net(r, r->m->dec, &around, r->n, rows, e))
            return -1;
    }
    return 0;
}

int seq2seq_step(const void *self, const struct exec *x, struct batch *b,
                 struct err *e)
{
    struct run r = {.m = self, .x = x, .b = b};
    struct step_size size = {.threads = x->n_threads};

    if (check_batch(r.m, b, &size, e))
        return -1;
    map_scratch(&r, x->scratch, &size);
    if (read_sources(&r, size.tokens[PORT_SOURCE], e))
        return -1;
    return r.m->early
               ? read_targets_by_time(&r, size.rows, e)
               : read_targets(&r, size.tokens[PORT_TARGET], size.rows, e);
}
