/* transformer: the plan of a step: from a batch to rows, wanted rows and
 * threads, on the runner's thread before the pool runs; no allocation.
 *
 * SPDX-License-Identifier: MIT */
#include <math.h>
#include <string.h>

#include "models/transformer/transformer_impl.h"

/* Below this many multiply-adds a second thread costs more than it brings:
 * waking a parked one takes some 22 us, and each barrier about a quarter. */
#define MIN_MACS 1.5e6
#define SYNC_MACS 2.0e4

/* --- what the engine is told of a stack's state --- */

int tf_reach(const struct stack *s)
{
    int widest = 0;

    if (s->kind->whole)
        return 0;
    for (int i = 0; i < s->dim[LAYERS]; i++) {
        if (!s->window[i])
            return 0;
        widest = s->window[i] > widest ? s->window[i] : widest;
    }
    return widest;
}

void tf_layout(const struct stack *s, struct state_layout *out)
{
    struct port *p = &out->port[PORT_TARGET];

    *out = (struct state_layout){.n_ports = 1};
    p->name = "text";
    p->context_length = s->context;
    p->whole = s->kind->whole;
    if (s->source) {
        p->name = "target";
        out->n_ports = 2;
        out->port[PORT_SOURCE] =
            (struct port){.name = "source",
                          .whole = 1,
                          .n_ids = s->source->dim[VOCAB],
                          .context_length = s->source->context,
                          .page_tokens = ATTN_KEYS,
                          .page_bytes = tf_page_bytes(s)};
    }
    if (s->cells)
        out->fixed_bytes = tf_pad((int64_t)s->cells * s->dim[LAYERS]) * 4;
    if (p->whole || s->cells)
        return;
    p->page_tokens = ATTN_KEYS;
    p->page_bytes = tf_page_bytes(s);
    p->window = tf_reach(s); /* older pages may go */
}

/* --- scratch --- */

size_t tf_pad(int64_t n)
{
    return ((size_t)n + 15) / 16 * 16;
}

void *tf_take(struct tf_arena *a, size_t n, size_t bytes)
{
    size_t here = a->at;

    a->at = (here + n * bytes + 63) / 64 * 64;
    return a->base ? a->base + here : NULL;
}

float *tf_take_rows(struct tf_arena *a, int rows, int64_t width)
{
    return tf_take(a, (size_t)rows * tf_pad(width), sizeof(float));
}

static void map_rows(struct tf_rows *r, const struct tf_set *s,
                     struct tf_arena *a, int rows)
{
    void *q;

    r->ld = tf_pad(s->width);
    r->x = tf_take_rows(a, rows, s->width);
    if (!s->fast)
        return;
    q = tf_take(a, qrows_bytes(rows, s->width), 1);
    if (q)
        (s->fast == FAST_ROWS ? qrows_bind_whole : qrows_bind)(&r->q, q, rows,
                                                               s->width);
}

static void map_plan(struct tf_run *t, struct tf_arena *a, size_t items,
                     size_t tokens, size_t rows)
{
    t->slot = tf_take(a, items, sizeof *t->slot);
    t->slot_of = tf_take(a, tokens, sizeof *t->slot_of);
    t->pos = tf_take(a, tokens, sizeof *t->pos);
    for (int i = 0; i < N_INDEX; i++)
        t->index[i] = tf_take(a, tokens, sizeof *t->index[i]);
    for (int i = 0; i < TF_OUTPUTS; i++)
        t->out[i] = tf_take(a, rows, sizeof *t->out[i]);
    t->bad = tf_take(a, items, sizeof *t->bad);
    t->next = tf_take(a, 2 * (size_t)t->s->dim[LAYERS], sizeof *t->next);
}

/* The port whose items a stack runs. */
static int port_of(const struct stack *s)
{
    return s->target ? PORT_SOURCE : PORT_TARGET;
}

/* All arrays of a step, in scratch. */
static void map(struct tf_run *t, struct tf_arena *a,
                const struct step_size *size)
{
    const struct stack *s = t->s;
    int tokens = size->tokens[port_of(s)], rows = s->target ? 0 : size->rows;
    int most = tokens > rows ? tokens : rows;

    t->port = port_of(s);
    t->n = size->threads < TF_MAX_THREADS ? size->threads : TF_MAX_THREADS;
    map_plan(t, a, (size_t)size->items, (size_t)tokens, (size_t)rows);
    t->lane = tf_take(a, (size_t)t->n, sizeof *t->lane);
    for (int i = 0; i < t->n; i++) {
        const float **init = tf_take(a, (size_t)most, sizeof *init);

        if (t->lane)
            t->lane[i].init = init;
    }
    tf_attn_map(t, a, size);
    if (s->output == LOGITS)
        t->spare = tf_take_rows(a, SPARE_ROWS, s->dim[VOCAB]);
    for (int i = 0; i < TF_SETS; i++)
        if (s->set[i].width)
            map_rows(&t->rows[i], &s->set[i], a,
                     i == TF_TMP        ? most
                     : s->set[i].wanted ? rows
                                        : tokens);
    for (int i = 0; i < TF_MAX_ROPES; i++)
        if (s->rope[i].n_rot)
            t->cs[i] = tf_take_rows(a, tokens, s->rope[i].n_rot);
}

/* A source and its targets use the same memory one after the other. */
size_t tf_scratch_bytes(const void *self, const struct step_size *most)
{
    const struct stack *s = self;
    size_t bytes = 0;

    for (; s; s = s->source) {
        struct tf_run t = {.s = s};
        struct tf_arena a = {0};

        map(&t, &a, most);
        bytes = a.at > bytes ? a.at : bytes;
    }
    return bytes;
}

/* Whether an item is this stack's. */
static int is_mine(const struct stack *s, const struct batch_item *it)
{
    if (s->target)
        return it->port == PORT_SOURCE;
    return !s->source || it->port != PORT_SOURCE;
}

/* What the step holds. Items that are too long will fail. */
static struct step_size size_of(const struct stack *s, const struct batch *b,
                                int threads)
{
    int port = port_of(s), paired = s->source || s->target;
    struct step_size size = {.items = b->n_item,
                             .rows = b->n_rows,
                             .threads = threads,
                             .longest = 1};

    size.tokens[port] = paired ? 0 : b->n_tokens;
    for (int i = 0; i < b->n_item; i++) {
        const struct batch_item *it = &b->item[i];
        int64_t len = it->seq->len[port], source = it->seq->len[PORT_SOURCE];

        if (!is_mine(s, it))
            continue;
        if (paired && it->in.n > 0)
            size.tokens[port] += it->in.n;
        if (len >= 0 && len <= s->max_len && it->in.n <= s->max_len - len &&
            len + it->in.n > size.longest)
            size.longest = len + it->in.n;
        if (s->source && source <= s->source->max_len && source > size.longest)
            size.longest = source;
    }
    return size;
}

/* --- checks --- */

/* What a want asks for; TF_OUTPUTS: none of the rows. */
static enum tf_output output_of(const struct want *w)
{
    switch (w->kind) {
    case OUT_LOGITS:
        return LOGITS;
    case OUT_HIDDEN:
        return HIDDEN;
    case OUT_POOLED:
        return POOLED;
    case OUT_CLASS:
        return CLASS;
    default:
        return TF_OUTPUTS;
    }
}

/* Rows of a want. */
static int rows_of(const struct want *w)
{
    enum tf_output o = output_of(w);

    if (o == LOGITS || o == HIDDEN)
        return w->n;
    return o != TF_OUTPUTS;
}

static int want_is_valid(const struct tf_run *t, const struct batch_item *it,
                         const struct want *w)
{
    enum tf_output o = output_of(w);

    if (!w->dst || (o != t->s->output && o != HIDDEN && o != TF_OUTPUTS))
        return 0;
    if (o == LOGITS || o == HIDDEN)
        return w->from >= 0 && w->n >= 0 && w->from <= it->in.n &&
               w->n <= it->in.n - w->from;
    if (o != TF_OUTPUTS)
        return it->in.n > 0;
    if (w->kind != OUT_ATTENTION || it->in.n < 1 || it->in.n > MODEL_MAX_SHOWN)
        return 0;
    return t->s->source ? it->seq->len[PORT_SOURCE] <= MODEL_MAX_SHOWN
                        : it->seq->len[PORT_TARGET] == 0;
}

/* A source is one item of some rows, of which nothing is wanted; a decoder
 * that looks at one has it. */
static int source_is_valid(const struct stack *s, const struct batch_item *it)
{
    int64_t len = it->seq->len[PORT_SOURCE];

    if (s->target)
        return it->in.n > 0 && it->n_w == 0 && it->seq->len[PORT_TARGET] == 0;
    return !s->source || (len > 0 && len <= s->source->max_len);
}

static enum err_code check_item(const struct tf_run *t,
                                const struct batch_item *it)
{
    const int32_t *id = it->in.p;
    int64_t len = it->seq->len[t->port];

    if (it->port != t->port || it->in.unit != UNIT_TOKENS || it->in.n < 0 ||
        len < 0 || (t->s->kind->whole && len > 0) || !source_is_valid(t->s, it))
        return ERR_INVALID;
    if (len > t->s->max_len || it->in.n > t->s->max_len - len)
        return ERR_TOO_LARGE;
    for (int i = 0; i < it->in.n; i++)
        if (id[i] < 0 || id[i] >= t->s->dim[VOCAB] + t->s->blank)
            return ERR_INVALID;
    for (int i = 0; i < it->n_w; i++)
        if (!want_is_valid(t, it, &it->w[i]))
            return ERR_INVALID;
    return ERR_NONE;
}

/* --- rows --- */

/* The row of a slot that stands for all: an encoder's first, a decoder's last
 * that is not padding. */
static int row_of_all(const struct tf_run *t, const struct tf_slot *s)
{
    const int32_t *id = t->b->item[s->item].in.p;
    int last = s->n - 1;

    if (t->s->kind->whole)
        return s->row0;
    while (last > 0 && id[last] == t->s->padding - 1)
        last--;
    return s->row0 + last; /* all padding: the first, as transformers does */
}

/* POOLED keeps the slot's last row. */
static void list_want(struct tf_run *t, struct tf_slot *s, int slot,
                      const struct want *w)
{
    enum tf_output o = output_of(w);
    int row;

    if (o == TF_OUTPUTS) {
        s->show = w->dst;
        return;
    }
    row = o == CLASS ? row_of_all(t, s)
                     : s->row0 + (o == POOLED ? s->n - 1 : w->from);
    for (int i = 0; i < rows_of(w); i++)
        t->out[o][t->n_out[o]++] =
            (struct tf_out){.dst = w->dst + (size_t)i * w->ld,
                            .ld = w->ld,
                            .slot = slot,
                            .row = row + i};
}

static void add_slot(struct tf_run *t, int item, int *block)
{
    const struct batch_item *it = &t->b->item[item];
    const int32_t *id = it->in.p;
    int slot = t->n_slots++, pad = t->s->first_place - 1, place = pad + 1;
    struct tf_slot *s = &t->slot[slot];

    *s = (struct tf_slot){.item = item,
                          .row0 = t->n_rows,
                          .n = it->in.n,
                          .pos0 = it->seq->len[t->port],
                          .shown = it->in.n,
                          .block0 = *block};
    if (t->s->source)
        s->shown = (int)it->seq->len[PORT_SOURCE];
    place += t->s->free_places + (int)s->pos0;
    for (int i = 0; i < s->n; i++) {
        int r = t->n_rows++, padding = pad >= 0 && id[i] == pad;

        t->slot_of[r] = slot;
        t->pos[r] = (int32_t)(s->pos0 + i);
        t->index[EMBEDDING][r] = id[i];
        t->index[EMBED_POSITION][r] = padding ? pad : place++;
        t->index[EMBED_TYPE][r] = it->in.type ? it->in.type[i] : 0;
    }
    *block += (s->n + ATTN_KEYS - 1) / ATTN_KEYS;
    atomic_init(&t->bad[slot], 0);
    for (int i = 0; i < it->n_w; i++)
        list_want(t, s, slot, &it->w[i]);
}

static void choose_threads(struct tf_run *t)
{
    const struct stack *s = t->s;
    double layer = 2.0 * s->dim[LAYERS] * s->dim[HEADS_DIM];
    double macs = t->n_rows * s->token_macs + t->n_out[LOGITS] * s->row_macs;

    for (int i = 0; i < t->n_slots; i++) {
        const struct tf_slot *o = &t->slot[i];
        int64_t keys = o->pos0 + o->n + (s->source ? o->shown : 0);

        macs += layer * o->n * (double)keys;
    }
    if (macs < MIN_MACS + SYNC_MACS * s->syncs)
        t->n = 1;
}

static int plan(struct tf_run *t, struct err *e)
{
    const struct stack *s = t->s;
    struct batch *b = t->b;
    int64_t tokens = 0, rows = 0;
    int block = 0;

    for (int i = 0; i < b->n_item; i++) {
        struct batch_item *it = &b->item[i];

        if (!is_mine(s, it))
            continue;
        it->fail = check_item(t, it);
        it->status = it->fail == ERR_NONE ? 0 : -1;
        tokens += it->status ? 0 : it->in.n;
        for (int k = 0; k < it->n_w && !it->status; k++)
            rows += rows_of(&it->w[k]);
    }
    if (tokens > b->n_tokens || rows > b->n_rows)
        return err_set(e, ERR_INTERNAL,
                       "the batch holds more than the %d tokens and %d rows "
                       "that it states",
                       b->n_tokens, b->n_rows);
    for (int i = 0; i < b->n_item; i++)
        if (is_mine(s, &b->item[i]) && !b->item[i].status)
            add_slot(t, i, &block);
    for (int i = 0; i < 2 * s->dim[LAYERS]; i++)
        atomic_init(&t->next[i], 0);
    for (int i = 0; i < TF_SETS; i++)
        t->rows[i].m = s->set[i].wanted ? t->n_out[s->output] : t->n_rows;
    choose_threads(t);
    tf_attn_plan(t);
    return 0;
}

/* --- threads --- */

/* Cosines and sines of the own rows' positions, times `magnitude`. */
static void rope_table(const struct tf *t, int rope)
{
    const struct tf_rope *p = &t->s->rope[rope];
    int half = p->n_rot / 2;

    for (int r = t->r0[0]; r < t->r1[0] && half; r++) {
        float *at = t->r->cs[rope] + (size_t)r * (size_t)p->n_rot;

        for (int i = 0; i < half; i++) {
            double angle = (double)t->r->pos[r] * p->freq[i];

            at[i] = (float)(cos(angle) * p->magnitude);
            at[half + i] = (float)(sin(angle) * p->magnitude);
        }
    }
}

const struct weight *tf_weights(const struct stack *s, int layer)
{
    int set = s->blocks ? layer / (s->dim[LAYERS] / s->blocks) : layer;

    return s->layer + set * s->n_parts;
}

static void decoder_head(struct tf *t)
{
    gather(t, t->s->output, FINAL_NORM, X, TOP);
    answer_hidden(t, FINAL_NORM, X);
    if (t->s->output == LOGITS) {
        answer_logits(t, OUTPUT, TOP, t->s->out_cap);
        return;
    }
    linear(t, t->s->top, OUTPUT, TOP, SCORES);
    answer_class(t, SCORES);
}

void tf_compute(struct tf *t)
{
    const struct stack *s = t->s;

    for (int i = 0; i < TF_MAX_ROPES && !t->measured; i++)
        rope_table(t, i);
    if (s->kind->embed)
        s->kind->embed(t);
    else
        lookup(t, EMBEDDING, X);
    for (int i = 0; i < s->dim[LAYERS]; i++)
        s->kind->run(t, tf_weights(s, i), i);
    if (s->kind->head)
        s->kind->head(t);
    else
        decoder_head(t);
}

static void run_thread(void *arg, int tid, int n)
{
    struct tf_run *r = arg;
    struct tf t = {.s = r->s, .r = r, .tid = tid, .n = r->n};

    (void)n;
    tf_share(r->n_rows, 1, tid, r->n, &t.r0[0], &t.r1[0]);
    tf_share(r->n_out[r->s->output], 1, tid, r->n, &t.r0[1], &t.r1[1]);
    tf_compute(&t);
}

/* A source leaves the numbers of its target's layers as they are. */
static void pass_cells(const struct tf_run *t)
{
    const struct stack *to = t->s->target;

    for (int i = 0; to && to->cells && i < t->n_slots; i++) {
        const struct batch_item *it = &t->b->item[t->slot[i].item];

        memcpy(it->fixed_out, it->fixed_in,
               (size_t)to->cells * (size_t)to->dim[LAYERS] * sizeof(float));
    }
}

/* A stack's items of a step. */
static int step_of(const struct stack *s, const struct exec *x, struct batch *b,
                   struct err *e)
{
    struct tf_run t = {.s = s, .x = x, .k = x->k, .b = b};
    struct tf_arena a = {.base = x->scratch};
    struct step_size size = size_of(t.s, b, x->n_threads);

    map(&t, &a, &size);
    if (plan(&t, e))
        return -1;
    pass_cells(&t);
    if (t.n_slots > 0 && t.n == 1)
        run_thread(&t, 0, 1);
    else if (t.n_slots > 0)
        pool_run(x->pool, t.n, run_thread, &t);
    for (int i = 0; i < t.n_slots; i++) {
        struct batch_item *it = &b->item[t.slot[i].item];

        if (!atomic_load_explicit(&t.bad[i], memory_order_relaxed))
            continue;
        it->status = -1;
        it->fail = ERR_INTERNAL;
    }
    return 0;
}

int tf_step(const void *self, const struct exec *x, struct batch *b,
            struct err *e)
{
    const struct stack *s = self;

    return (s->source && step_of(s->source, x, b, e)) || step_of(s, x, b, e)
               ? -1
               : 0;
}

void tf_fail_slot(struct tf_run *t, int slot)
{
    atomic_store_explicit(&t->bad[slot], 1, memory_order_relaxed);
}

void tf_share(int total, int unit, int tid, int n, int *from, int *to)
{
    int64_t units = ((int64_t)total + unit - 1) / unit;
    int a = (int)(units * tid / n) * unit;
    int b = (int)(units * (tid + 1) / n) * unit;

    *from = a < total ? a : total;
    *to = b < total ? b : total;
}
