/* rnn: loading a stacked recurrent net, and its state layout.
 *
 * All weight matrices are widened and packed once, but for the output of words
 * in 8 bits; the embedding is not: a step widens the few rows that it needs
 * from the mapped file (exact, so a folded row made from it gives the same
 * bits). A tied output is a packed copy, since a product needs panels and a
 * look-up needs rows.
 *
 * load and unload: the loader's thread. Afterwards everything but the folded
 * rows is immutable.
 *
 * SPDX-License-Identifier: MIT */
#include <stdio.h>
#include <string.h>

#include "models/rnn/rnn_load.h"

#include "engine/base/mem.h"

/* --- tensors --- */

static size_t elements(const struct tensor *t)
{
    size_t n = 1;

    for (int i = 0; i < t->n_dims; i++)
        n *= (size_t)t->dim[i];
    return n;
}

const struct tensor *rnn_find_tensor(struct rnn_loader *l, const char *prefix,
                                     const char *name, int d0, int d1,
                                     struct err *e)
{
    char full[RNN_TENSOR_BYTES];
    const struct tensor *t;

    if ((size_t)snprintf(full, sizeof full, "%s%s", prefix, name) >=
        sizeof full) {
        err_set(e, ERR_FORMAT, "%s: config.json: a tensor prefix is too long",
                l->o->label);
        return NULL;
    }
    t = weights_need(l->w, full, d1 ? 2 : 1, d0, d1, e);
    if (t)
        tally_mark(&l->read, full);
    return t;
}

float *rnn_read_tensor(struct rnn_loader *l, const char *prefix,
                       const char *name, int d0, int d1, struct err *e)
{
    const struct tensor *t = rnn_find_tensor(l, prefix, name, d0, d1, e);
    float *data = t ? mem_room(elements(t)) : NULL;

    if (data)
        tensor_read(t, 0, elements(t), data);
    else if (t)
        err_nomem(e);
    return data;
}

int rnn_load_matrix(struct rnn_loader *l, const char *prefix, const char *name,
                    int N, int K, struct packed *out, struct err *e)
{
    const struct tensor *t = rnn_find_tensor(l, prefix, name, N, K, e);
    const struct pack_rows from = {
        .t = t, .N = N, .n_parts = 1, .part = K, .part_stride = K};

    return t ? pack_tensor(&from, out, e) : -1;
}

int rnn_has_tensor(const struct rnn_loader *l, const char *prefix,
                   const char *name)
{
    char full[RNN_TENSOR_BYTES];

    snprintf(full, sizeof full, "%s%s", prefix, name);
    return weights_find(l->w, full) != NULL;
}

float *rnn_read_bias(struct rnn_loader *l, const char *prefix, int n,
                     struct err *e)
{
    float *b;

    if (rnn_has_tensor(l, prefix, "bias"))
        return rnn_read_tensor(l, prefix, "bias", n, 0, e);
    b = mem_floats((size_t)n);
    if (!b)
        err_nomem(e);
    return b;
}

/* PyTorch's names of the parts of a layer; the last is an LSTM's with
 * proj_size. */
static const char *const PARTS[] = {"weight_ih", "weight_hh", "bias_ih",
                                    "bias_hh", "weight_hr"};
enum { IH, HH, BIAS_IH, BIAS_HH, HR, N_PARTS };

static void part_name(int part, int layer, int d, char out[64])
{
    snprintf(out, 64, "%s_l%d%s", PARTS[part], layer, d ? "_reverse" : "");
}

static int has_part(const struct rnn_loader *l, int part)
{
    return part == HR ? rnn_shrinks(l->m) : l->bias || part < BIAS_IH;
}

static int load_cell(struct rnn_loader *l, int layer, int d, struct err *e)
{
    struct rnn *m = l->m;
    int GH = m->kind->G * m->H;
    int I = layer ? m->D * m->R : m->I;
    struct cell_params p = {.H = m->H, .R = m->R, .n_parts = 1, .part = I};
    const int rows[N_PARTS] = {GH, GH, GH, GH, m->R};
    const int cols[N_PARTS] = {I, m->R, 0, 0, m->H};
    const struct tensor *t[N_PARTS] = {NULL};
    float *bias[2] = {NULL};
    int rc = 0;

    p.part_stride = I;
    if (layer) { /* rows of the layer below: D pieces of Rp floats */
        p.n_parts = m->D;
        p.part = m->R;
        p.part_stride = m->Rp;
    }
    for (int i = 0; i < N_PARTS && !rc; i++) {
        char name[64];

        if (!has_part(l, i))
            continue;
        part_name(i, layer, d, name);
        if (cols[i]) {
            t[i] = rnn_find_tensor(l, l->p_rnn, name, rows[i], cols[i], e);
            rc = t[i] ? 0 : -1;
        } else {
            bias[i - BIAS_IH] =
                rnn_read_tensor(l, l->p_rnn, name, rows[i], 0, e);
            rc = bias[i - BIAS_IH] ? 0 : -1;
        }
    }
    p.W_ih = t[IH];
    p.W_hh = t[HH];
    p.W_hr = t[HR];
    p.b_ih = bias[0];
    p.b_hh = bias[1];
    if (!rc)
        rc = cell_pack(m->kind, &p, &m->cell[layer][d], e);
    mem_aligned_free(bias[0]);
    mem_aligned_free(bias[1]);
    return rc;
}

static int is_recurrent(const struct rnn_loader *l, const char *full)
{
    size_t skip = strlen(l->p_rnn);
    int found = 0;

    if (strncmp(full, l->p_rnn, skip) != 0)
        return 0;
    for (int k = 0; k < N_PARTS; k++) {
        size_t n = strlen(PARTS[k]);

        found |= !strncmp(full + skip, PARTS[k], n) && full[skip + n] == '_';
    }
    return found;
}

/* A layer, direction or bias that the file has and config.json does not know
 * of, and any layer of another kind, would be dropped in silence, and the
 * answers would be wrong. */
static int check_all_read(const struct rnn_loader *l, struct err *e)
{
    /* counters, and the weights of classes in losses */
    static const char *const ignored[] = {
        "num_batches_tracked", "criterion.weight",   "criterion.pos_weight",
        "loss_fn.weight",      "loss_fn.pos_weight", NULL};
    const struct tensor *t =
        tally_unread(&l->read, ignored, l->o->options->ignore_tensors);

    if (!t)
        return 0;
    if (is_recurrent(l, t->name))
        return err_set(e, ERR_FORMAT,
                       "%s: tensor '%.100s' is not part of what config.json "
                       "describes: num_layers %d, bidirectional %s, bias %s",
                       l->o->label, t->name, l->m->L,
                       l->m->D == 2 ? "true" : "false",
                       l->bias ? "true" : "false");
    return err_set(e, ERR_UNSUPPORTED,
                   "%s: tensor '%.100s' is not part of what config.json "
                   "describes",
                   l->o->label, t->name);
}

/* What load_output is going to ask for: a layer too many is named before its
 * width is missed in a shape. A tied output may have a copy in the file
 * (check_copy). */
static void mark_head(struct rnn_loader *l)
{
    static const char *const ends[] = {"weight", "bias"};
    char name[RNN_TENSOR_BYTES];

    for (int i = 0; i < 2; i++) {
        snprintf(name, sizeof name, "%s%s", l->p_output, ends[i]);
        tally_mark(&l->read, name);
        snprintf(name, sizeof name, "%s%s", l->p_projection, ends[i]);
        if (l->m->P)
            tally_mark(&l->read, name);
    }
}

/* The tensor [1, K] of one output z, or [1] when K is 0, as the rows of -z and
 * z: what a sigmoid makes of them are the chances of the two labels. */
static float *read_one(struct rnn_loader *l, const char *name, int K,
                       struct err *e)
{
    size_t n = K ? (size_t)K : 1;
    float *one = rnn_read_tensor(l, l->p_output, name, 1, K, e), *two;

    if (!one)
        return NULL;
    two = mem_floats(2 * n);
    for (size_t i = 0; two && i < n; i++) {
        two[i] = -one[i];
        two[n + i] = one[i];
    }
    mem_aligned_free(one);
    if (!two)
        err_nomem(e);
    return two;
}

static int load_projection(struct rnn_loader *l, struct err *e)
{
    struct rnn *m = l->m;

    if (!m->P)
        return 0;
    if (rnn_load_matrix(l, l->p_projection, "weight", m->P, rnn_top_width(m),
                        &m->projection, e))
        return -1;
    m->projection_bias = rnn_read_bias(l, l->p_projection, m->P, e);
    return m->projection_bias ? 0 : -1;
}

/* A tied output's own matrix is the embedding once more, or config.json does
 * not tell the truth about this file. */
static int check_copy(const struct rnn_loader *l, struct err *e)
{
    const struct tensor *x = l->m->embedding, *t;
    char name[RNN_TENSOR_BYTES];

    snprintf(name, sizeof name, "%sweight", l->p_output);
    t = weights_find(l->w, name);
    if (!t || tensor_same(t, x))
        return 0;
    return err_set(e, ERR_FORMAT,
                   "%s: tensor '%.100s' is not the embedding, but "
                   "config.json's 'tie_word_embeddings' is true",
                   l->o->label, name);
}

/* The words' matrix is most of many nets, and read for each of them: in 8 bits
 * it stays what it is. All others are widened. */
static int load_words_i8(struct rnn_loader *l, const struct tensor *t, int K,
                         struct err *e)
{
    struct rnn *m = l->m;
    const struct matrix_rows_of from = {.t = t, .N = m->n_out, .K = K};

    if (matrix_pack(&from, &m->output, e))
        return -1;
    m->fast = matrix_quantised(&m->output) && !l->o->options->exact;
    return 0;
}

static int load_output_matrix(struct rnn_loader *l, int K, struct err *e)
{
    const char *prefix = l->tied ? l->p_embedding : l->p_output;
    struct rnn *m = l->m;
    struct packed wide = {0};
    const struct tensor *t;
    float *W;
    int rc;

    if (l->one) {
        W = read_one(l, "weight", K, e);
        rc = W ? pack_new(W, (size_t)K, m->n_out, K, NULL, &wide, e) : -1;
        mem_aligned_free(W);
    } else {
        t = rnn_find_tensor(l, prefix, "weight", m->n_out, K, e);
        if (t && t->dtype == DT_I8 && !m->classifier)
            return load_words_i8(l, t, K, e);
        rc = t ? rnn_load_matrix(l, prefix, "weight", m->n_out, K, &wide, e)
               : -1;
    }
    m->output = matrix_of(&wide);
    return rc;
}

int rnn_load_output(struct rnn_loader *l, struct err *e)
{
    struct rnn *m = l->m;
    int K = m->P ? m->P : rnn_top_width(m);

    if (load_projection(l, e) || (l->tied && check_copy(l, e)) ||
        load_output_matrix(l, K, e))
        return -1;
    m->output_bias = l->one && rnn_has_tensor(l, l->p_output, "bias")
                         ? read_one(l, "bias", 0, e)
                         : rnn_read_bias(l, l->p_output, m->n_out, e);
    return m->output_bias ? 0 : -1;
}

int rnn_load_layers(struct rnn_loader *l, struct err *e)
{
    struct rnn *m = l->m;

    m->embedding = rnn_find_tensor(l, l->p_embedding, "weight", m->V, m->E, e);
    if (!m->embedding)
        return -1;
    for (int i = 0; i < m->L; i++) {
        for (int d = 0; d < m->D; d++)
            if (load_cell(l, i, d, e))
                return -1;
    }
    return 0;
}

static int load_tensors(struct rnn_loader *l, struct err *e)
{
    if (rnn_load_layers(l, e))
        return -1;
    mark_head(l);
    return check_all_read(l, e) || rnn_load_output(l, e) ? -1 : 0;
}

size_t rnn_held_bytes(const struct rnn *m)
{
    size_t n = m->projection.bytes + m->output.bytes;

    n += ((size_t)m->P + (size_t)m->n_out) * sizeof(float) + sizeof *m;
    for (int i = 0; i < m->L; i++)
        for (int d = 0; d < m->D; d++)
            n += cell_bytes(&m->cell[i][d]);
    return n;
}

uint64_t rnn_token_work(const struct rnn *m)
{
    uint64_t n = 0;

    for (int i = 0; i < m->L; i++) {
        const struct cell *w = &m->cell[i][0];

        n += (uint64_t)(w->I + w->R) * (uint64_t)(w->G * w->H) * (uint64_t)m->D;
        if (rnn_shrinks(m))
            n += (uint64_t)w->R * (uint64_t)w->H * (uint64_t)m->D;
    }
    return n;
}

static void fill_info(struct rnn_loader *l)
{
    struct rnn *m = l->m;
    struct model_info *info = l->info;
    char shrunk[16] = "";

    if (rnn_shrinks(m))
        snprintf(shrunk, sizeof shrunk, "(%d)", m->R);
    snprintf(m->summary, sizeof m->summary, "%s %d-%d%sx%d%s", m->kind->name,
             m->E, m->H, shrunk, m->L, m->D == 2 ? " bidirectional" : "");
    info->state = (struct state_layout){
        .fixed_bytes = rnn_state_floats(m) * sizeof(float),
        .n_ports = 1,
        .port = {{.name = "text", .whole = m->D == 2}}};
    info->cols[OUT_LOGITS] = m->classifier ? 0 : m->V;
    info->cols[OUT_HIDDEN] = m->D * m->R;
    info->max_chain = m->D == 2 ? 0 : RNN_MAX_CHAIN;
    info->parameters = weights_parameters(l->w);
    info->token_flops = 2 * rnn_token_work(m);
    info->row_flops = 2 * ((uint64_t)m->n_out * (uint64_t)m->output.K +
                           (uint64_t)m->P * (uint64_t)m->projection.K);
    info->fast = m->fast;
    info->memory_bytes = rnn_held_bytes(m);
    info->summary = m->summary;
}

void rnn_unload(void *self)
{
    struct rnn *m = self;

    if (!m)
        return;
    for (int i = 0; i < RNN_MAX_LAYERS; i++) {
        cell_fini(&m->cell[i][0]);
        cell_fini(&m->cell[i][1]);
    }
    pack_fini(&m->projection);
    matrix_fini(&m->output);
    mem_aligned_free(m->projection_bias);
    mem_aligned_free(m->output_bias);
    if (m->fold)
        rnn_fold_close(m->fold);
    mem_free(m->fold);
    mem_free(m);
}

int rnn_open_fold(struct rnn_loader *l, struct err *e)
{
    l->m->fold = mem_zalloc(sizeof *l->m->fold);
    return l->m->fold ? rnn_fold_open(l->m->fold, l->m, l->o->tables, e)
                      : err_nomem(e);
}

/* ERR_FORMAT names the key or the tensor; ERR_NOMEM. */
static int rnn_load(const struct load_opts *o, struct checkpoint *c,
                    struct model_info *info, void **self, struct err *e)
{
    struct rnn_loader l = {.o = o,
                           .w = checkpoint_weights(c, e),
                           .h = checkpoint_hparams(c, e),
                           .info = info};
    int rc;

    memset(info, 0, sizeof *info);
    if (!l.w || !l.h)
        return -1;
    l.m = mem_zalloc(sizeof *l.m);
    if (!l.m)
        return err_nomem(e);
    rc = tally_open(&l.read, l.w, e) || rnn_read_config(&l, e) ||
         load_tensors(&l, e) || rnn_open_fold(&l, e);
    tally_close(&l.read);
    if (rc) {
        rnn_unload(l.m);
        return -1;
    }
    weights_drop_pages(l.w, NULL); /* a step touches a few rows of one */
    fill_info(&l);
    *self = l.m;
    return 0;
}

static size_t rnn_table_bytes(const void *self)
{
    const struct rnn *m = self;

    return atomic_load(&m->fold->taken);
}

/* --- state --- */

int rnn_shrinks(const struct rnn *m)
{
    return m->R != m->H;
}

int rnn_takes_vectors(const struct rnn *m)
{
    return m->I != m->E;
}

int rnn_top_width(const struct rnn *m)
{
    int parts = m->classifier && m->pooling == POOL_CONCAT ? 3 : 1;

    return parts * m->D * m->R + m->more;
}

static size_t state_stride(const struct rnn *m)
{
    size_t D = (size_t)m->D;

    return D * (size_t)m->Rp + (m->kind->has_c ? D * (size_t)m->Hp : 0);
}

size_t rnn_state_h(const struct rnn *m, int layer)
{
    return (size_t)layer * state_stride(m);
}

size_t rnn_state_c(const struct rnn *m, int layer)
{
    return rnn_state_h(m, layer) + (size_t)m->D * (size_t)m->Rp;
}

int rnn_pools_max(const struct rnn *m)
{
    return m->classifier &&
           (m->pooling == POOL_MAX || m->pooling == POOL_CONCAT);
}

int rnn_pools_sum(const struct rnn *m)
{
    return m->classifier &&
           (m->pooling == POOL_MEAN || m->pooling == POOL_CONCAT);
}

size_t rnn_state_max(const struct rnn *m)
{
    return (size_t)m->L * state_stride(m);
}

size_t rnn_state_sum(const struct rnn *m)
{
    size_t W = (size_t)m->D * (size_t)m->Rp;

    return rnn_state_max(m) + (rnn_pools_max(m) ? W : 0);
}

size_t rnn_state_floats(const struct rnn *m)
{
    size_t W = (size_t)m->D * (size_t)m->Rp;

    return rnn_state_sum(m) + (rnn_pools_sum(m) ? W : 0);
}

static const char *const ALIASES[] = {NULL};

const struct model_arch rnn_arch = {
    .name = "rnn",
    .aliases = ALIASES,
    .load = rnn_load,
    .unload = rnn_unload,
    .table_bytes = rnn_table_bytes,
    .scratch_bytes = rnn_scratch_bytes,
    .step = rnn_step,
};
