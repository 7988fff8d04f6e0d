/* transformer_layer: what linear layers, norms and rotary positions are made
 * of: tensors of a checkpoint.
 *
 * SPDX-License-Identifier: MIT */
#include <math.h>
#include <string.h>

#include "engine/base/mem.h"
#include "models/transformer/transformer_impl.h"

/* --- linear layers --- */

/* The tensor of a part and the rows of it that are wanted. */
static int find_part(struct weights *w, const struct tf_part *p, int K,
                     struct matrix_rows_of *from, struct err *e)
{
    int rows = p->rows ? p->rows : p->N;

    from->t = weights_expect(w, p->name, 2, p->transposed ? K : rows,
                             p->transposed ? rows : K, e);
    from->row0 = p->row0;
    from->N = p->N;
    from->K = K;
    from->transposed = p->transposed;
    return from->t ? 0 : -1;
}

/* A part that lies in groups, one for each head, as rows one after the other:
 * a copy in *room. */
static int ungroup(const struct tf_part *p, struct matrix_rows_of *from,
                   struct tensor *copy, void **room, struct err *e)
{
    const struct tensor *t = from->t;
    size_t bytes = t->bytes / (size_t)p->rows, N = (size_t)p->N;
    size_t each = t->scales && !t->by_column ? sizeof(float) : 0;
    size_t d = N / (size_t)p->heads;
    uint8_t *to = *room = mem_alloc(N * (bytes + each)), *scales = to;

    if (!to)
        return err_nomem(e);
    scales += N * bytes;
    *copy = *t;
    copy->data = to;
    copy->dim[0] = p->N;
    copy->bytes = N * bytes;
    for (size_t i = 0; i < N; i += d, to += d * bytes, scales += d * each) {
        size_t row = (size_t)p->row0 + i * (size_t)p->rows / N;

        memcpy(to, (const uint8_t *)t->data + row * bytes, d * bytes);
        if (each)
            memcpy(scales, (const uint8_t *)t->scales + row * each, d * each);
    }
    if (each)
        copy->scales = (const uint8_t *)copy->data + copy->bytes;
    from->t = copy;
    from->row0 = 0;
    return 0;
}

static void read_bias(const struct tensor *t, const struct tf_part *p,
                      float *to)
{
    int d = p->heads ? p->N / p->heads : p->N;

    for (int i = 0; i < p->N; i += d)
        tensor_read(t, (size_t)p->row0 + (size_t)i * (size_t)(p->rows / p->N),
                    (size_t)d, to + i);
}

static int load_bias(struct weights *w, const struct tf_part *part, int n_part,
                     struct tf_linear *l, struct err *e)
{
    int any = 0, rows;

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
        t = weights_find(w, p->bias);
        rows = p->rows ? p->rows : p->N;
        if (t && t->n_dims == 2 && t->dim[0] == 1) /* Marian's, of logits */
            t = weights_need(w, p->bias, 2, 1, rows, e);
        else
            t = weights_need(w, p->bias, 1, rows, 0, e);
        if (!t)
            return -1;
        read_bias(t, p, l->bias + l->at[i]);
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

/* pack_parts of tensors `file` of w, whose name goes in front of what is said
 * about numbers that are not finite. */
static int pack_file(const struct weights *w, const struct tensor *const *file,
                     const struct matrix_rows_of *from, int n_part,
                     struct tf_linear *l, struct err *e)
{
    struct err own = ERR_INIT;

    if (pack_parts(from, n_part, l, &own) == 0)
        return 0;
    for (int i = 0; i < n_part && own.code == ERR_FORMAT; i++)
        if (weights_check(w, file[i], e))
            return -1;
    return err_set_at(e, own.code, own.reason, NULL, "%s", own.msg);
}

int tf_linear_load(struct weights *w, const struct load_opts *o,
                   const struct tf_part *part, int n_part, int K,
                   struct tf_linear *out, struct err *e)
{
    struct matrix_rows_of from[TF_MAX_PARTS] = {{0}};
    const struct tensor *file[TF_MAX_PARTS] = {NULL};
    struct tensor copy[TF_MAX_PARTS];
    void *room[TF_MAX_PARTS] = {NULL};
    int rc = 0;

    memset(out, 0, sizeof *out);
    out->K = K;
    if (n_part < 1 || n_part > TF_MAX_PARTS)
        return err_set(e, ERR_INTERNAL, "a linear layer of %d tensors", n_part);
    for (int i = 0; i < n_part && !rc; i++) {
        rc = find_part(w, &part[i], K, &from[i], e);
        file[i] = from[i].t;
        if (!rc && part[i].heads)
            rc = ungroup(&part[i], &from[i], &copy[i], &room[i], e);
        out->at[i] = (int)tf_pad(out->N);
        out->N = out->at[i] + part[i].N;
        out->outputs += part[i].N;
    }
    rc = rc || pack_file(w, file, from, n_part, out, e) ||
         load_bias(w, part, n_part, out, e);
    for (int i = 0; i < n_part; i++) {
        mem_free(room[i]);
        if (!rc)
            weights_drop_pages(w, file[i]);
    }
    if (rc) {
        tf_linear_fini(out);
        return -1;
    }
    out->bf16 = o->options->bf16;
    for (int i = 0; i < out->n_w && !o->options->exact; i++)
        if (matrix_quantised(&out->w[i]))
            out->fast = tf_faster(out->fast, matrix_takes_whole(&out->w[i])
                                                 ? FAST_ROWS
                                                 : FAST_BLOCKS);
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

/* --- positions --- */

int tf_wave(struct stack *s, struct err *e)
{
    int n = (s->dim[WIDTH] + 1) / 2;

    s->wave = mem_array((size_t)n, sizeof *s->wave);
    if (!s->wave)
        return err_nomem(e);
    for (int i = 0; i < n; i++)
        s->wave[i] = pow(10000.0, 2.0 * i / s->dim[WIDTH]);
    return 0;
}

void tf_wave_row(const struct stack *s, int pos, float *y)
{
    int n = s->dim[WIDTH], sines = (n + 1) / 2;

    for (int i = 0; i < sines; i++) {
        double angle = (double)pos / s->wave[i];

        y[i] = (float)sin(angle);
        if (sines + i < n)
            y[sines + i] = (float)cos(angle);
    }
}

int tf_wave_rows(struct stack *s, struct err *e)
{
    int n = s->max_len < TF_WAVES ? (int)s->max_len : TF_WAVES;
    size_t width = (size_t)s->dim[WIDTH];

    if (!s->wave)
        return 0;
    s->waves = mem_array((size_t)n * width, sizeof *s->waves);
    if (!s->waves)
        return err_nomem(e);
    for (s->n_waves = 0; s->n_waves < n; s->n_waves++)
        tf_wave_row(s, s->n_waves, s->waves + (size_t)s->n_waves * width);
    return 0;
}

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

/* YaRN (Peng et al. 2023, section 3.2): short waves stay, long ones are slowed
 * down by `factor`, those between are mixed by the pair's number. */
static double yarn_freq(const struct tf_rope_spec *s, int pair, double freq)
{
    double from = s->ramp[0], to = s->ramp[1], mix;

    if (to - from < 1e-3)
        to = from + 1e-3;
    mix = fmin(fmax((pair - from) / (to - from), 0.0), 1.0);
    return freq * (1.0 - mix) + freq / s->factor * mix;
}

int tf_rope_init(struct tf_rope *r, const struct tf_rope_spec *s, struct err *e)
{
    int half = s->n_rot / 2, yarn = s->scaling == ROPE_YARN;
    double most = TF_MAX_POSITIONS;

    *r = (struct tf_rope){.n_rot = s->n_rot,
                          .adjacent = s->adjacent,
                          .magnitude = yarn ? s->magnitude : 1.0};
    if (yarn)
        r->stretched = (int)fmin(s->original_length * s->factor, most);
    if (s->scaling == ROPE_DYNAMIC)
        r->most = (int)fmin(s->original_length, most);
    r->freq = mem_array((size_t)half, sizeof *r->freq);
    if (!r->freq)
        return err_nomem(e);
    for (int i = 0; i < half; i++) {
        double freq = pow(s->base, -2.0 * i / s->n_rot);

        if (s->scaling == ROPE_LINEAR)
            freq /= s->factor;
        else if (s->scaling == ROPE_LLAMA3)
            freq = llama3_freq(s, freq);
        else if (s->scaling == ROPE_YARN)
            freq = yarn_freq(s, i, freq);
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
