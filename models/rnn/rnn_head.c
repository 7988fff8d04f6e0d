/* rnn_head: the wanted outputs of a step: states are copied; logits and class
 * scores of all items are one product over all wanted rows.
 *
 *     pooled = last state | sum / length | maximum      (classifiers)
 *              | last state, maximum, sum / length
 *     p = W_p s + b_p                                    (optional projection)
 *     p = tanh(p)                                (where a net around asks)
 *     y = W_o p + b_o
 *
 * A wide output is split over the threads by columns (each reads its share of
 * the weights once), a narrow one by rows. Where the caller's rows do not lie
 * at equal distances, the product goes through a small tile.
 *
 * SPDX-License-Identifier: MIT */
#include <string.h>

#include "models/rnn/rnn_step.h"

/* Output panels a thread must have before columns are split. */
#define MIN_PANELS 4

/* D vectors of a state, without padding. Returns the end of x [D*R]. */
static float *read_state(const struct rnn *m, const float *from, float *x)
{
    for (int d = 0; d < m->D; d++, x += m->R)
        memcpy(x, from + (size_t)d * (size_t)m->Rp, (size_t)m->R * sizeof *x);
    return x;
}

/* What is kept for the classifier, in the order of enum rnn_pooling's comment.
 */
static void read_pooled(const struct rnn_run *s, const struct batch_item *it,
                        float *x)
{
    const struct rnn *m = s->m;
    const float *state = it->fixed_out;
    float count = (float)(it->seq->len[0] + it->in.n);

    if (m->pooling == POOL_LAST || m->pooling == POOL_CONCAT)
        x = read_state(m, state + rnn_state_h(m, m->L - 1), x);
    if (rnn_pools_max(m))
        x = read_state(m, state + rnn_state_max(m), x);
    if (rnn_pools_sum(m)) {
        read_state(m, state + rnn_state_sum(m), x);
        s->x->k->divide(m->D * m->R, count, x);
    }
}

/* Top states of row r, directions one after the other, without padding, [D*R];
 * or the pooled ones. */
static void read_row(const struct rnn_run *s, const struct out_row *r, float *x)
{
    const struct rnn *m = s->m;

    if (r->pos[0] < 0) {
        read_pooled(s, &s->b->item[r->item], x);
        return;
    }
    for (int d = 0; d < m->D; d++, x += m->R)
        memcpy(x,
               rnn_states(s, m->L - 1, d) + (size_t)r->pos[d] * (size_t)m->Rp,
               (size_t)m->R * sizeof *x);
}

static void read_product_row(const struct rnn_run *s, int tid, int i)
{
    const struct rnn *m = s->m;
    const struct out_row *r = &s->product[i];
    float *x = s->ox + (size_t)i * (size_t)rnn_top_width(m);

    read_row(s, r, x);
    if (m->more)
        s->around->extend(s->around->arg, tid, &s->b->item[r->item], r->row, x,
                          x + m->D * m->R);
}

/* Of what enters the output, by columns of it; init and y are of the first row.
 * range: rows from, to, columns from, to. */
static void multiply(const struct rnn_run *s, const struct matrix *w,
                     const int range[4], const float **init, float *y,
                     size_t ldy)
{
    const struct kernels *k = s->x->k;
    int m = range[1] - range[0];
    size_t ldx = (size_t)w->K;
    const float *x = s->m->P ? s->op : s->ox;
    struct qrows q;

    if (!s->m->fast) {
        matrix_rows(k, w, range[2], range[3], m, x + (size_t)range[0] * ldx,
                    ldx, init, y, ldy);
        return;
    }
    q = qrows_from(&s->q, range[0]);
    matrix_rows_q(k, w, range[2], range[3], 0, m, &q, init, y, ldy);
}

/* The same through a tile into rows of the caller. */
static void product_tiled(const struct rnn_run *s, const struct lane_mem *mem,
                          const int range[4])
{
    const struct rnn *m = s->m;
    int r0 = range[0], r1 = range[1], n0 = range[2], n1 = range[3];

    for (int n = n0; n < n1; n += RNN_TILE_COLS) {
        int end = n + RNN_TILE_COLS < n1 ? n + RNN_TILE_COLS : n1;
        struct matrix W = m->output;

        W.N = end - n;
        W.data = (char *)W.data + (size_t)(n / PACK_COLS) * W.panel;
        for (int i = 0; i < RNN_TILE_ROWS; i++)
            mem->inputs[i] = m->output_bias + n;
        for (int r = r0; r < r1; r += RNN_TILE_ROWS) {
            int rows = r1 - r < RNN_TILE_ROWS ? r1 - r : RNN_TILE_ROWS;

            multiply(s, &W, (const int[4]){r, r + rows, 0, W.N}, mem->inputs,
                     mem->tile, RNN_TILE_COLS);
            for (int i = 0; i < rows; i++)
                memcpy(s->product[r + i].dst + n,
                       mem->tile + (size_t)i * RNN_TILE_COLS,
                       (size_t)W.N * sizeof(float));
        }
    }
}

static void run_product(const struct rnn_run *s, const struct lane_mem *mem,
                        const int range[4])
{
    const struct rnn *m = s->m;
    int r0 = range[0], r1 = range[1];

    if (s->uniform && r1 > r0) {
        for (int r = r0; r < r1; r++)
            mem->rows[r] = m->output_bias;
        multiply(s, &m->output, range, mem->rows + r0, s->product[r0].dst,
                 s->uniform_ld);
    } else {
        product_tiled(s, mem, range);
    }
    for (int r = r0; r < r1; r++)
        if (!s->x->k->all_finite(range[3] - range[2],
                                 s->product[r].dst + range[2]))
            mem->bad[r] = 1;
}

static void project(const struct rnn_run *s, const struct lane_mem *mem, int r0,
                    int r1)
{
    const struct rnn *m = s->m;
    size_t P = (size_t)m->P, K = (size_t)m->projection.K;

    for (int r = r0; r < r1; r++)
        mem->rows[r] = m->projection_bias;
    if (r1 > r0)
        s->x->k->gemm_rows(&m->projection, 0, m->P, r1 - r0,
                           s->ox + (size_t)r0 * K, K, mem->rows + r0,
                           s->op + (size_t)r0 * P, P);
    if (m->squash && r1 > r0)
        s->x->k->act_tanh(r1 - r0, 0, m->P, s->op + (size_t)r0 * P, P,
                          s->op + (size_t)r0 * P, P);
}

void rnn_head_run(struct rnn_run *s, int tid)
{
    const struct rnn *m = s->m;
    const struct lane_mem *mem = &s->lane[tid];
    int by_columns = m->n_out >= MIN_PANELS * PACK_COLS * s->n;
    int range[4] = {0, 0, 0, m->n_out};

    for (int i = tid; i < s->n_copy; i += s->n)
        read_row(s, &s->copy[i], s->copy[i].dst);
    if (!s->n_product)
        return;
    memset(mem->bad, 0, (size_t)s->n_product);
    rnn_share(s->n_product, 1, s->n, tid, &range[0], &range[1]);
    for (int r = range[0]; r < range[1]; r++)
        read_product_row(s, tid, r);
    if (m->P)
        project(s, mem, range[0], range[1]);
    if (m->fast)
        matrix_quantise(s->x->k, m->P ? s->op : s->ox, (size_t)m->output.K,
                        range[0], range[1], &s->q);
    if (by_columns && s->n > 1) {
        pool_barrier(s->x->pool);
        range[0] = 0;
        range[1] = s->n_product;
        rnn_share(m->n_out, PACK_COLS, s->n, tid, &range[2], &range[3]);
    }
    run_product(s, mem, range);
}

static void fail_item(struct rnn_run *s, int item)
{
    s->b->item[item].status = -1;
    s->b->item[item].fail = ERR_INTERNAL;
}

/* An item whose outputs or state are not finite fails, alone. */
void rnn_head_finish(struct rnn_run *s)
{
    const struct rnn *m = s->m;
    const struct kernels *k = s->x->k;

    for (int r = 0; r < s->n_product; r++) {
        for (int i = 0; i < s->n; i++)
            if (s->lane[i].bad[r])
                fail_item(s, s->product[r].item);
    }
    for (int i = 0; i < s->n_copy; i++)
        if (!k->all_finite(m->D * m->R, s->copy[i].dst))
            fail_item(s, s->copy[i].item);
    for (int i = 0; i < s->n_slots; i++) {
        const struct batch_item *it = &s->b->item[s->order[i]];

        if (!k->all_finite((int)rnn_state_floats(m), it->fixed_out))
            fail_item(s, s->order[i]);
    }
}
