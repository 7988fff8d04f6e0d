/* rnn_step: one step over a ragged batch, layer by layer. See rnn_step.h for
 * the packing and the threads. No allocation, no lock, no failure inside:
 * rnn_plan has checked the batch.
 *
 * The input part of a block of time steps (up to RNN_BLOCK_ROWS rows) is made
 * by one product where no folded rows serve, so that few long sequences read
 * the input weights once per block and not once per token.
 *
 * SPDX-License-Identifier: MIT */
#include <string.h>

#include "models/rnn/rnn_step.h"

/* One thread's part of one layer and direction. */
struct lane {
    struct rnn_run *s;
    const struct lane_mem *mem;
    const struct group *g;
    int layer, d;
    int j0, j1;  /* units */
    int r0, r1;  /* numbers of h: the units' but for proj_size */
    int barrier; /* other threads own the other units of this direction */
};

/* Of rows of D * width floats, for each layer and slot. */
static size_t layer_at(const struct rnn_run *s, int layer, int slot, int width)
{
    size_t W = (size_t)s->m->D * (size_t)width;

    return ((size_t)layer * (size_t)s->n_slots + (size_t)slot) * W;
}

static float *h0_at(const struct rnn_run *s, int layer, int slot)
{
    return s->h0 + layer_at(s, layer, slot, s->m->Rp);
}

static float *c_at(const struct rnn_run *s, int layer, int slot)
{
    return s->c + layer_at(s, layer, slot, s->m->Hp);
}

float *rnn_states(const struct rnn_run *s, int layer, int d)
{
    size_t plane = (size_t)s->n_tokens * (size_t)s->m->Rp;

    return s->y + (size_t)(layer % 2 * s->m->D + d) * plane;
}

/* --- inputs --- */

/* Times that step t of this lane stands for: forward t, backward len - 1 - t.
 */
static int time_of(const struct lane *l, int slot, int t)
{
    return l->d ? l->s->len[slot] - 1 - t : t;
}

static int32_t token_at(const struct lane *l, int r, int t)
{
    int slot = l->g->first + r;
    const struct batch_item *it = &l->s->b->item[l->s->order[slot]];

    return ((const int32_t *)it->in.p)[time_of(l, slot, t)];
}

/* Both directions of the layer below at the time of step t, row r. x [2Rp] */
static void gather_pair(const struct lane *l, int r, int t, float *x)
{
    const struct rnn_run *s = l->s;
    const struct group *g = l->g;
    int slot = g->first + r, time = time_of(l, slot, t);
    size_t Rp = (size_t)s->m->Rp;
    int fwd = g->base + g->off[time] + r;
    int bwd = g->base + g->off[s->len[slot] - 1 - time] + r;

    memcpy(x, rnn_states(s, l->layer - 1, 0) + (size_t)fwd * Rp,
           Rp * sizeof *x);
    memcpy(x + Rp, rnn_states(s, l->layer - 1, 1) + (size_t)bwd * Rp,
           Rp * sizeof *x);
}

/* Input rows of steps t0..t1, not of layer 0: [rows][*ld]. */
static const float *gather(const struct lane *l, int t0, int t1, size_t *ld)
{
    const struct rnn_run *s = l->s;
    const struct rnn *m = s->m;
    const struct group *g = l->g;
    float *x = l->mem->x;

    if (m->D == 1) {
        *ld = (size_t)m->Rp;
        return rnn_states(s, l->layer - 1, 0) +
               (size_t)(g->base + g->off[t0]) * *ld;
    }
    *ld = (size_t)s->x_cols;
    for (int t = t0; t < t1; t++)
        for (int r = 0; r < g->off[t + 1] - g->off[t]; r++, x += *ld)
            gather_pair(l, r, t, x);
    return l->mem->x;
}

/* What enters layer 0 in row r, step t. x [I] */
static void read_input(const struct lane *l, int r, int t, float *x)
{
    const struct rnn *m = l->s->m;
    size_t E = (size_t)m->E, I = (size_t)m->I;
    int slot = l->g->first + r;
    const float *in = l->s->b->item[l->s->order[slot]].in.p;

    if (rnn_takes_vectors(m))
        memcpy(x, in + (size_t)time_of(l, slot, t) * I, I * sizeof *x);
    else
        tensor_read(m->embedding, (size_t)token_at(l, r, t) * E, E, x);
}

/* The input part of each row of steps t0..t1 of layer 0: folded rows where
 * there are, else a product of those that have none. */
static void make_first_inputs(const struct lane *l, int t0, int t1)
{
    const struct rnn_run *s = l->s;
    const struct rnn *m = s->m;
    const struct group *g = l->g;
    size_t width = m->fold->width, ld = (size_t)s->x_cols;
    int n = 0, made = 0, vectors = rnn_takes_vectors(m);

    for (int t = t0; t < t1; t++) {
        for (int r = 0; r < g->off[t + 1] - g->off[t]; r++) {
            const float *a = NULL;

            if (!vectors)
                a = rnn_fold_row(m->fold, l->d, token_at(l, r, t), s->n_fresh);
            if (!a) {
                read_input(l, r, t, l->mem->x + (size_t)made * ld);
                a = l->mem->a + (size_t)made++ * width;
            }
            l->mem->inputs[n++] = a;
        }
    }
    if (made)
        cell_project(s->x->k, &m->cell[0][l->d], made, l->j0, l->j1, l->mem->x,
                     ld, l->mem->a, l->mem->rows);
}

/* mem->inputs: the input part of each row of steps t0..t1. */
static void make_inputs(const struct lane *l, int t0, int t1)
{
    const struct rnn_run *s = l->s;
    const struct cell *w = &s->m->cell[l->layer][l->d];
    size_t width = (size_t)w->G * (size_t)w->Hp, ld;
    int n = l->g->off[t1] - l->g->off[t0];
    const float *x;

    if (!l->layer) {
        make_first_inputs(l, t0, t1);
        return;
    }
    x = gather(l, t0, t1, &ld);
    cell_project(s->x->k, w, n, l->j0, l->j1, x, ld, l->mem->a, l->mem->rows);
    for (int i = 0; i < n; i++)
        l->mem->inputs[i] = l->mem->a + (size_t)i * width;
}

/* --- states --- */

/* State of slot: h (and c) of all layers into the working arrays. */
static void load_state(struct rnn_run *s, int slot)
{
    const struct rnn *m = s->m;
    const float *in = s->b->item[s->order[slot]].fixed_in;
    size_t h = (size_t)m->D * (size_t)m->Rp * sizeof *in;
    size_t c = (size_t)m->D * (size_t)m->Hp * sizeof *in;

    for (int i = 0; i < m->L; i++) {
        memcpy(h0_at(s, i, slot), in + rnn_state_h(m, i), h);
        if (m->kind->has_c)
            memcpy(c_at(s, i, slot), in + rnn_state_c(m, i), c);
    }
}

/* h and c of this lane's units after the last step of each row. */
static void store_states(const struct lane *l)
{
    const struct rnn_run *s = l->s;
    const struct rnn *m = s->m;
    const struct group *g = l->g;
    size_t Rp = (size_t)m->Rp;
    size_t at_h = (size_t)l->d * Rp + (size_t)l->r0;
    size_t at_c = (size_t)l->d * (size_t)m->Hp + (size_t)l->j0;
    const float *y = rnn_states(s, l->layer, l->d);

    for (int r = 0; r < g->m; r++) {
        int slot = g->first + r, len = s->len[slot];
        float *out = s->b->item[s->order[slot]].fixed_out;
        const float *h = h0_at(s, l->layer, slot) + at_h;

        if (len)
            h = y + (size_t)(g->base + g->off[len - 1] + r) * Rp + l->r0;
        memcpy(out + rnn_state_h(m, l->layer) + at_h, h,
               (size_t)(l->r1 - l->r0) * sizeof *h);
        if (m->kind->has_c)
            memcpy(out + rnn_state_c(m, l->layer) + at_c,
                   c_at(s, l->layer, slot) + at_c,
                   (size_t)(l->j1 - l->j0) * sizeof *h);
    }
}

/* Running sum or maximum of the top states, in the order of the steps; `at`:
 * where the state keeps it. */
static void pool_states(const struct lane *l, size_t at, int sum)
{
    const struct rnn_run *s = l->s;
    const struct rnn *m = s->m;
    const struct kernels *k = s->x->k;
    const struct group *g = l->g;
    size_t Rp = (size_t)m->Rp;
    int n = l->r1 - l->r0;
    const float *y = rnn_states(s, l->layer, l->d) + l->r0;

    at += (size_t)l->d * Rp + (size_t)l->r0;
    for (int r = 0; r < g->m; r++) {
        int slot = g->first + r;
        const struct batch_item *it = &s->b->item[s->order[slot]];
        float *acc = (float *)it->fixed_out + at;

        memcpy(acc, (const float *)it->fixed_in + at,
               (size_t)n * sizeof(float));
        for (int t = 0; t < s->len[slot]; t++) {
            const float *h = y + (size_t)(g->base + g->off[t] + r) * Rp;

            if (sum)
                k->add_to(n, h, acc);
            else if (t || it->seq->len[0])
                k->max_to(n, h, acc);
            else
                memcpy(acc, h, (size_t)n * sizeof(float));
        }
    }
}

/* --- recurrence --- */

/* First step after t0 that does not fit the block any more. */
static int block_end(const struct lane *l, int t0)
{
    const int *off = l->g->off;
    int t = t0 + 1;

    while (t < l->g->T && off[t + 1] - off[t0] <= l->s->block_rows)
        t++;
    return t;
}

/* One time step of the lane's units, and of its numbers of h. h [m][Rp] */
static void run_step(const struct lane *l, struct cell_step *step, float *h)
{
    const struct rnn_run *s = l->s;
    const struct rnn *m = s->m;
    const struct cell *w = &m->cell[l->layer][l->d];

    step->h_out = h;
    step->ld_out = (size_t)m->Rp;
    if (rnn_shrinks(m)) {
        int row = l->d * s->n_slots + l->g->first;

        step->h_out = s->u + (size_t)row * (size_t)m->Hp;
        step->ld_out = (size_t)m->Hp;
    }
    m->kind->forward(s->x->k, w, step);
    if (rnn_shrinks(m)) {
        if (l->barrier)
            pool_barrier(s->x->pool);
        cell_shrink(s->x->k, w, step->m, l->r0, l->r1, step->h_out,
                    step->ld_out, h, (size_t)m->Rp);
    }
    step->h_in = h;
    step->ld_in = (size_t)m->Rp;
    if (l->barrier)
        pool_barrier(s->x->pool);
}

static void run_lane(const struct lane *l)
{
    struct rnn_run *s = l->s;
    const struct rnn *m = s->m;
    const struct group *g = l->g;
    size_t Rp = (size_t)m->Rp, Hp = (size_t)m->Hp, d = (size_t)l->d;
    float *y = rnn_states(s, l->layer, l->d) + (size_t)g->base * Rp;
    struct cell_step step = {.j0 = l->j0,
                             .j1 = l->j1,
                             .h_in = h0_at(s, l->layer, g->first) + d * Rp,
                             .ld_in = (size_t)m->D * Rp,
                             .ldc = (size_t)m->D * Hp,
                             .gates = l->mem->gates,
                             .rows = l->mem->rows};
    int end = 0, start = 0;

    if (m->kind->has_c)
        step.c = c_at(s, l->layer, g->first) + d * Hp;
    for (int t = 0; t < g->T; t++) {
        if (t == end) {
            start = t;
            end = block_end(l, t);
            make_inputs(l, start, end);
        }
        step.m = g->off[t + 1] - g->off[t];
        step.a = l->mem->inputs + (g->off[t] - g->off[start]);
        run_step(l, &step, y + (size_t)g->off[t] * Rp);
    }
    store_states(l);
    if (l->layer == m->L - 1 && rnn_pools_max(m))
        pool_states(l, rnn_state_max(m), 0);
    if (l->layer == m->L - 1 && rnn_pools_sum(m))
        pool_states(l, rnn_state_sum(m), 1);
}

static void run_layer(struct rnn_run *s, int layer, int tid)
{
    const struct rnn *m = s->m;
    struct lane l = {.s = s, .mem = &s->lane[tid], .layer = layer};

    if (!s->by_units) {
        l.g = &s->group[tid];
        l.j1 = m->Hp;
        l.r1 = m->Rp;
        for (l.d = 0; l.d < m->D; l.d++)
            run_lane(&l);
        return;
    }
    {
        int team = s->n / m->D;

        l.g = &s->group[0];
        l.d = tid / team;
        l.barrier = team > 1;
        rnn_share(m->Hp, UNIT_BLOCK, team, tid % team, &l.j0, &l.j1);
        rnn_share(m->Rp, UNIT_BLOCK, team, tid % team, &l.r0, &l.r1);
        run_lane(&l);
        if (!l.barrier) /* the next layer reads both directions */
            pool_barrier(s->x->pool);
    }
}

static void run_thread(void *arg, int tid, int n)
{
    struct rnn_run *s = arg;

    if (s->n_fresh) {
        rnn_fold_fill(s, tid, n);
        if (n > 1)
            pool_barrier(s->x->pool);
    }
    if (s->by_units) {
        for (int i = tid; i < s->n_slots; i += n)
            load_state(s, i);
        pool_barrier(s->x->pool);
    } else {
        const struct group *g = &s->group[tid];

        for (int i = 0; i < g->m; i++)
            load_state(s, g->first + i);
    }
    for (int i = 0; i < s->m->L; i++)
        run_layer(s, i, tid);
    if (n > 1)
        pool_barrier(s->x->pool);
    rnn_head_run(s, tid);
}

int rnn_step_around(const struct rnn *m, const struct rnn_around *around,
                    const struct exec *x, struct batch *b, struct err *e)
{
    struct rnn_run s = {.m = m, .around = around, .x = x, .b = b};

    if (rnn_plan(&s, e))
        return -1;
    if (s.n == 1)
        run_thread(&s, 0, 1);
    else
        pool_run(x->pool, s.n, run_thread, &s);
    rnn_fold_publish(&s);
    rnn_head_finish(&s);
    return 0;
}

int rnn_step(const void *self, const struct exec *x, struct batch *b,
             struct err *e)
{
    return rnn_step_around(self, NULL, x, b, e);
}
