/* transformer_layer: linear layers, norms, rotary positions and wanted rows.
 *
 * SPDX-License-Identifier: MIT */
#include <math.h>
#include <string.h>

#include "engine/base/mem.h"
#include "models/transformer/transformer_impl.h"

#define TWO_PI 6.283185307179586

/* --- linear: load --- */

/* The tensor of a part and the rows of it that are wanted. */
static int find_part(struct weights *w, const struct tf_part *p, int K,
                     struct matrix_rows_of *from, struct err *e)
{
    int rows = p->rows ? p->rows : p->N;

    from->t = weights_need(w, p->name, 2, p->transposed ? K : rows,
                           p->transposed ? rows : K, e);
    from->row0 = p->row0;
    from->N = p->N;
    from->K = K;
    from->transposed = p->transposed;
    return from->t ? 0 : -1;
}

static int load_bias(struct weights *w, const struct tf_part *part, int n_part,
                     struct tf_linear *l, struct err *e)
{
    int any = 0;

    for (int i = 0; i < n_part; i++)
        any |= part[i].bias != NULL;
    if (!any)
        return 0;
    l->bias = mem_floats(tf_pad(l->N));
    if (!l->bias)
        return err_nomem(e);
    for (int i = 0; i < n_part; i++) {
        const struct tf_part *p = &part[i];
        const struct tensor *t;

        if (!p->bias)
            continue;
        t = weights_need(w, p->bias, 1, p->rows ? p->rows : p->N, 0, e);
        if (!t)
            return -1;
        tensor_read(t, (size_t)p->row0, (size_t)p->N, l->bias + l->at[i]);
    }
    return 0;
}

static int pack_parts(const struct matrix_rows_of *from, int n_part,
                      struct tf_linear *l, struct err *e)
{
    int same = 1, at[TF_MAX_PARTS];

    for (int i = 1; i < n_part; i++)
        same &= from[i].t->dtype == from[0].t->dtype;
    if (same) {
        l->n_w = 1;
        return n_part > 1 ? matrix_pack_all(from, n_part, at, &l->w[0], e)
                          : matrix_pack(from, &l->w[0], e);
    }
    for (; l->n_w < n_part; l->n_w++) {
        l->first[l->n_w] = l->at[l->n_w];
        if (matrix_pack(&from[l->n_w], &l->w[l->n_w], e))
            return -1;
    }
    return 0;
}

int tf_linear_load(struct weights *w, const struct load_opts *o,
                   const struct tf_part *part, int n_part, int K,
                   struct tf_linear *out, struct err *e)
{
    struct matrix_rows_of from[TF_MAX_PARTS];

    memset(out, 0, sizeof *out);
    out->K = K;
    if (n_part < 1 || n_part > TF_MAX_PARTS)
        return err_set(e, ERR_INTERNAL, "a linear layer of %d tensors", n_part);
    for (int i = 0; i < n_part; i++) {
        if (find_part(w, &part[i], K, &from[i], e))
            return -1;
        out->at[i] = (int)tf_pad(out->N);
        out->N = out->at[i] + part[i].N;
    }
    if (pack_parts(from, n_part, out, e) ||
        load_bias(w, part, n_part, out, e)) {
        tf_linear_fini(out);
        return -1;
    }
    for (int i = 0; i < n_part; i++)
        weights_drop_pages(w, from[i].t);
    out->bf16 = o->bf16;
    for (int i = 0; i < out->n_w && !o->exact; i++)
        out->fast |= matrix_quantised(&out->w[i]);
    return 0;
}

void tf_linear_fini(struct tf_linear *l)
{
    for (int i = 0; i < l->n_w; i++)
        matrix_fini(&l->w[i]);
    mem_aligned_free(l->bias);
    memset(l, 0, sizeof *l);
}

size_t tf_linear_bytes(const struct tf_linear *l)
{
    size_t bytes = l->bias ? tf_pad(l->N) * sizeof *l->bias : 0;

    for (int i = 0; i < l->n_w; i++)
        bytes += l->w[i].bytes;
    return bytes;
}

/* --- linear: run --- */

void tf_input_map(struct tf_input *in, struct tf_arena *a, int rows, int K,
                  int fast)
{
    void *q;

    memset(in, 0, sizeof *in);
    in->ld = tf_pad(K);
    in->K = K;
    in->fast = fast;
    in->x = tf_take_rows(a, rows, K);
    if (!fast)
        return;
    q = tf_take(a, qrows_bytes(rows, K), 1);
    if (q)
        qrows_bind(&in->q, q, rows, K);
}

void tf_input_ready(const struct tf_run *t, struct tf_input *in, int r0, int r1)
{
    if (in->fast && r1 > r0)
        matrix_quantise(t->k, in->x, in->ld, r0, r1, &in->q);
}

/* Columns c0 .. c1-1 (multiples of 16, c1 may be N) of rows 0 .. m-1; y is
 * row 0 of the outputs and belongs to row r0 of the input. */
static void linear_part(const struct tf_run *t, int tid,
                        const struct tf_linear *l, const struct tf_input *in,
                        const int range[4], float *y, size_t ldy)
{
    const float **init = l->bias ? t->lane[tid].init : NULL;
    int r0 = range[0], m = range[1], c0 = range[2], c1 = range[3];
    struct qrows q = in->q;

    if (in->fast)
        q.b += r0; /* row r0 of every block is row 0 here */
    for (int i = 0; i < l->n_w; i++) {
        const struct matrix *w = &l->w[i];
        int n0 = c0 - l->first[i], n1 = c1 - l->first[i];

        n0 = n0 > 0 ? n0 : 0;
        n1 = n1 < w->N ? n1 : w->N;
        if (n0 >= n1 || m < 1)
            continue;
        for (int r = 0; r < m && init; r++)
            init[r] = l->bias + l->first[i];
        if (l->fast && matrix_quantised(w))
            matrix_rows_q(t->k, w, n0, n1, 0, m, &q, init, y + l->first[i],
                          ldy);
        else if (l->bf16)
            matrix_rows_bf16(t->k, w, n0, n1, m, in->x + (size_t)r0 * in->ld,
                             in->ld, init, y + l->first[i], ldy);
        else
            matrix_rows(t->k, w, n0, n1, m, in->x + (size_t)r0 * in->ld, in->ld,
                        init, y + l->first[i], ldy);
    }
}

void tf_linear_run(const struct tf_run *t, int tid, const struct tf_linear *l,
                   const struct tf_input *in, float *y, size_t ldy)
{
    int range[4] = {0, in->m, 0, 0};

    tf_share(l->N, PACK_COLS, tid, t->n, &range[2], &range[3]);
    linear_part(t, tid, l, in, range, y, ldy);
}

void tf_linear_add(const struct tf_run *t, int tid, const struct tf_linear *l,
                   const struct tf_input *in, float *tmp, float *res, size_t ld)
{
    int range[4] = {0, in->m, 0, 0};

    tf_share(l->N, PACK_COLS, tid, t->n, &range[2], &range[3]);
    linear_part(t, tid, l, in, range, tmp, ld);
    for (int r = 0; r < in->m; r++) {
        size_t at = (size_t)r * ld + (size_t)range[2];

        t->k->add_to(range[3] - range[2], tmp + at, res + at);
    }
}

/* --- vectors and norms --- */

int tf_vector(struct weights *w, const char *name, int n, float **out,
              struct err *e)
{
    const struct tensor *t;

    *out = NULL;
    if (!name)
        return 0;
    t = weights_need(w, name, 1, n, 0, e);
    if (!t)
        return -1;
    *out = mem_floats(tf_pad(n));
    if (!*out)
        return err_nomem(e);
    tensor_read(t, 0, (size_t)n, *out);
    return 0;
}

int tf_norm_load(struct weights *w, const char *name, const char *bias, int n,
                 int rms, double eps, int plus_one, struct tf_norm *out,
                 struct err *e)
{
    memset(out, 0, sizeof *out);
    out->n = n;
    out->rms = rms;
    out->eps = (float)eps;
    if (tf_vector(w, name, n, &out->w, e) ||
        tf_vector(w, bias, n, &out->b, e)) {
        tf_norm_fini(out);
        return -1;
    }
    for (int i = 0; i < n && plus_one; i++)
        out->w[i] += 1.0f;
    return 0;
}

void tf_norm_fini(struct tf_norm *n)
{
    mem_aligned_free(n->w);
    mem_aligned_free(n->b);
    memset(n, 0, sizeof *n);
}

static void norm_row(const struct tf_run *t, const struct tf_norm *n,
                     const float *x, float *y)
{
    if (n->rms)
        t->k->rms_norm(n->n, x, n->w, n->eps, y);
    else
        t->k->layer_norm(n->n, x, n->w, n->b, n->eps, y);
}

void tf_norm_rows(const struct tf_run *t, const struct tf_norm *n,
                  const float *x, size_t ldx, float *y, size_t ldy, int r0,
                  int r1)
{
    for (int r = r0; r < r1; r++)
        norm_row(t, n, x + (size_t)r * ldx, y + (size_t)r * ldy);
}

/* --- rotary positions --- */

/* Llama 3.1's scaling: long waves are slowed down by `factor`, short ones stay,
 * those between are mixed. */
static double llama3_freq(const struct tf_rope_spec *s, double freq)
{
    double waves = s->original_length * freq / TWO_PI, mix;

    if (waves > s->high_freq_factor)
        return freq;
    if (waves < s->low_freq_factor)
        return freq / s->factor;
    mix = (waves - s->low_freq_factor) /
          (s->high_freq_factor - s->low_freq_factor);
    return (1.0 - mix) * freq / s->factor + mix * freq;
}

int tf_rope_init(struct tf_rope *r, const struct tf_rope_spec *s, struct err *e)
{
    int half = s->n_rot / 2;

    r->n_rot = s->n_rot;
    r->adjacent = s->adjacent;
    r->freq = mem_array((size_t)half, sizeof *r->freq);
    if (!r->freq)
        return err_nomem(e);
    for (int i = 0; i < half; i++) {
        double freq = pow(s->base, -2.0 * i / s->n_rot);

        if (s->scaling == ROPE_LINEAR)
            freq /= s->factor;
        else if (s->scaling == ROPE_LLAMA3)
            freq = llama3_freq(s, freq);
        if (s->divide)
            freq /= (double)s->divide[i];
        r->freq[i] = freq;
    }
    return 0;
}

void tf_rope_fini(struct tf_rope *r)
{
    mem_free(r->freq);
    memset(r, 0, sizeof *r);
}

void tf_rope_table(const struct tf_run *t, const struct tf_rope *r, float *cs,
                   int r0, int r1)
{
    int half = r->n_rot / 2;

    for (int row = r0; row < r1; row++) {
        float *at = cs + (size_t)row * (size_t)r->n_rot;

        for (int i = 0; i < half; i++) {
            double angle = (double)t->pos[row] * r->freq[i];

            at[i] = (float)cos(angle);
            at[half + i] = (float)sin(angle);
        }
    }
}

void tf_rope_row(const struct tf_run *t, const struct tf_rope *r,
                 const float *cs, int n_heads, int d, float *x)
{
    for (int h = 0; h < n_heads; h++, x += d)
        t->k->rope(r->n_rot, r->adjacent, cs, x);
}

/* --- wanted rows --- */

void tf_gather(const struct tf_run *t, int tid, const struct tf_out *out,
               int n_out, const float *x, size_t ldx,
               const struct tf_norm *norm, struct tf_input *in)
{
    int r0, r1;

    tf_share(n_out, 1, tid, t->n, &r0, &r1);
    for (int r = r0; r < r1; r++) {
        const float *row = x + (size_t)out[r].row * ldx;
        float *to = in->x + (size_t)r * in->ld;

        if (norm)
            norm_row(t, norm, row, to);
        else
            memcpy(to, row, (size_t)in->K * sizeof *to);
    }
    tf_input_ready(t, in, r0, r1);
}

/* Wanted rows from i on that lie `ld` apart in the caller's memory, with room
 * for whole panels. 0: not even one. */
static int run_in_place(const struct tf_run *t, int i, size_t columns)
{
    const struct tf_out *o = t->logits;
    int n = 1;

    if (o[i].ld < columns)
        return 0;
    while (i + n < t->n_logits && o[i + n].ld == o[i].ld &&
           (uintptr_t)o[i + n].dst - (uintptr_t)o[i + n - 1].dst ==
               o[i].ld * sizeof(float))
        n++;
    return n;
}

static void cap_columns(const struct tf_run *t, float *y, int n, float cap)
{
    t->k->divide(n, cap, y);
    t->k->vtanh(n, y, y);
    t->k->scale(n, cap, y);
}

void tf_logits(struct tf_run *t, int tid, const struct tf_linear *l,
               const struct tf_input *in, float cap)
{
    size_t columns = tf_pad(l->N);
    int range[4] = {0}, c0, c1, n;

    tf_share(l->N, PACK_COLS, tid, t->n, &c0, &c1);
    range[2] = c0;
    range[3] = c1;
    for (int i = 0; i < t->n_logits; i += n) {
        int spare, left = t->n_logits - i;

        n = run_in_place(t, i, columns);
        spare = n == 0;
        if (spare)
            n = left < SPARE_ROWS ? left : SPARE_ROWS;
        range[0] = i;
        range[1] = n;
        linear_part(t, tid, l, in, range, spare ? t->spare : t->logits[i].dst,
                    spare ? columns : t->logits[i].ld);
        for (int r = 0; r < n; r++) {
            const struct tf_out *o = &t->logits[i + r];

            if (spare && c1 > c0)
                memcpy(o->dst + c0, t->spare + (size_t)r * columns + c0,
                       (size_t)(c1 - c0) * sizeof(float));
            if (cap > 0.0f)
                cap_columns(t, o->dst + c0, c1 - c0, cap);
            if (!t->k->all_finite(c1 - c0, o->dst + c0))
                tf_fail_slot(t, o->slot);
        }
    }
}

void tf_hidden(struct tf_run *t, int tid, const float *x, size_t ldx,
               const struct tf_norm *norm)
{
    int r0, r1, n = t->spec->width;

    tf_share(t->n_hidden, 1, tid, t->n, &r0, &r1);
    for (int r = r0; r < r1; r++) {
        const struct tf_out *o = &t->hidden[r];
        const float *row = x + (size_t)o->row * ldx;

        if (norm)
            norm_row(t, norm, row, o->dst);
        else
            memcpy(o->dst, row, (size_t)n * sizeof *row);
        if (!t->k->all_finite(n, o->dst))
            tf_fail_slot(t, o->slot);
    }
}
