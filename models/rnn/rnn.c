/* rnn: loading a stacked recurrent net, its folded table and its state layout.
 *
 * All weight matrices are widened and packed once; the embedding is not: a
 * step widens the few rows that it needs from the mapped file (exact, so a
 * folded table made from the same rows gives the same bits). A tied output is
 * a packed copy, since a product needs panels and a look-up needs rows.
 *
 * load and unload: the loader's thread. warm: a background thread of its own.
 * Afterwards everything but the table is immutable.
 *
 * SPDX-License-Identifier: MIT */
#include <stdio.h>
#include <string.h>

#include "models/rnn/rnn.h"

#include "engine/base/mem.h"

#define MAX_V (1 << 24)
#define MAX_DIM 65536
#define FOLD_ROWS 64 /* tokens folded between two looks at *stop */
#define NAME_BYTES 300

static const char *const CELLS[] = {"elman", "lstm", "gru", NULL};
static const char *const NONLINEARITIES[] = {"tanh", "relu", NULL};
static const char *const HEADS[] = {"lm", "classifier", NULL};
static const char *const POOLINGS[] = {"last", "mean", "max", NULL};

/* What load() gathers besides the model itself. */
struct loader {
    struct rnn *m;
    const struct load_opts *o;
    struct weights *w;
    const struct hparams *h;
    struct model_info *info;
    int bias, tied;
    const char *p_embedding, *p_rnn, *p_projection, *p_output; /* prefixes */
};

/* --- config.json --- */

static int read_dim(const struct hparams *h, const char *key, int max, int *v,
                    struct err *e)
{
    int64_t x;

    if (hparams_int(h, key, 1, max, &x, e))
        return -1;
    *v = (int)x;
    return 0;
}

static int read_cell(struct loader *l, struct err *e)
{
    static const struct cell_kind *const kinds[] = {&cell_elman_tanh,
                                                    &cell_lstm, &cell_gru};
    int cell, act;

    if (hparams_choice(l->h, "cell", CELLS, NULL, &cell, e) ||
        hparams_choice(l->h, "nonlinearity", NONLINEARITIES, "tanh", &act, e))
        return -1;
    l->m->kind = kinds[cell];
    if (act == 0)
        return 0;
    if (cell != 0)
        return err_set(e, ERR_FORMAT,
                       "%s: config.json: 'nonlinearity' \"relu\" is for cell "
                       "\"elman\", found \"%s\"",
                       l->o->label, CELLS[cell]);
    l->m->kind = &cell_elman_relu;
    return 0;
}

/* id2label: {"0": "negative", ...}, every id from 0 to C - 1 once. */
static int read_labels(struct loader *l, struct err *e)
{
    const struct json *map = hparams_json(l->h, "id2label");
    int n = map && json_type(map) == JSON_OBJECT ? json_size(map) : 0;

    if (n < 1 || n > MODEL_MAX_LABELS)
        return err_set(e, ERR_FORMAT,
                       "%s: config.json: 'id2label' has %d entries, expected "
                       "1..%d",
                       l->o->label, n, MODEL_MAX_LABELS);
    for (int i = 0; i < n; i++) {
        char key[16];
        const struct json *v;

        snprintf(key, sizeof key, "%d", i);
        v = json_get(map, key);
        if (!v || json_type(v) != JSON_STRING)
            return err_set(e, ERR_FORMAT,
                           "%s: config.json: 'id2label' of %d entries has no "
                           "string \"%d\"",
                           l->o->label, n, i);
        l->info->labels[i] = json_string(v);
    }
    l->info->cols[OUT_CLASS] = n;
    l->m->n_out = n;
    return 0;
}

static int read_head(struct loader *l, struct err *e)
{
    struct rnn *m = l->m;
    int head, pooling, bidirectional;

    if (hparams_choice(l->h, "head", HEADS, NULL, &head, e) ||
        hparams_choice(l->h, "pooling", POOLINGS, "last", &pooling, e) ||
        hparams_bool_or(l->h, "bidirectional", 0, &bidirectional, e) ||
        hparams_bool_or(l->h, "tie_word_embeddings", 0, &l->tied, e))
        return -1;
    m->classifier = head;
    m->pooling = (enum rnn_pooling)pooling;
    m->D = bidirectional ? 2 : 1;
    m->n_out = m->V;
    if (!head && bidirectional)
        return err_set(e, ERR_FORMAT,
                       "%s: config.json: 'bidirectional' is true, expected "
                       "false for head \"lm\"",
                       l->o->label);
    if (head && l->tied)
        return err_set(e, ERR_FORMAT,
                       "%s: config.json: 'tie_word_embeddings' is true, "
                       "expected false for head \"classifier\"",
                       l->o->label);
    return head ? read_labels(l, e) : 0;
}

/* A key that nobody reads would leave the default in force, unseen. */
static int check_prefixes(const struct loader *l, struct err *e)
{
    static const char *const parts[] = {"embedding", "rnn", "projection",
                                        "output"};
    const struct json *map = hparams_json(l->h, "tensor_prefix");

    if (!map || json_type(map) == JSON_NULL)
        return 0;
    if (json_type(map) != JSON_OBJECT)
        return err_set(e, ERR_FORMAT,
                       "%s: config.json: 'tensor_prefix' is %s, expected an "
                       "object",
                       l->o->label, json_type_name(json_type(map)));
    for (const struct json *v = json_child(map); v; v = json_next(v)) {
        int i = 0;

        while (i < 4 && strcmp(parts[i], json_key(v)) != 0)
            i++;
        if (i == 4)
            return err_set(e, ERR_FORMAT,
                           "%s: config.json: 'tensor_prefix.%.40s', expected "
                           "embedding, rnn, projection or output",
                           l->o->label, json_key(v));
    }
    return 0;
}

static int read_prefixes(struct loader *l, struct err *e)
{
    return check_prefixes(l, e) ||
           hparams_string_or(l->h, "tensor_prefix.embedding", "embedding.",
                             &l->p_embedding, e) ||
           hparams_string_or(l->h, "tensor_prefix.rnn", "rnn.", &l->p_rnn, e) ||
           hparams_string_or(l->h, "tensor_prefix.projection", "projection.",
                             &l->p_projection, e) ||
           hparams_string_or(l->h, "tensor_prefix.output", "output.",
                             &l->p_output, e);
}

static int read_config(struct loader *l, struct err *e)
{
    struct rnn *m = l->m;
    int64_t layers, projection;
    int width;

    if (read_cell(l, e) || read_dim(l->h, "vocab_size", MAX_V, &m->V, e) ||
        read_dim(l->h, "embedding_dim", MAX_DIM, &m->E, e) ||
        read_dim(l->h, "hidden_size", MAX_DIM, &m->H, e) ||
        hparams_int_or(l->h, "num_layers", 1, RNN_MAX_LAYERS, 1, &layers, e) ||
        hparams_int_or(l->h, "projection_dim", 1, MAX_DIM, 0, &projection, e) ||
        hparams_bool_or(l->h, "bias", 1, &l->bias, e) || read_head(l, e) ||
        read_prefixes(l, e))
        return -1;
    m->L = (int)layers;
    m->P = (int)projection;
    m->Hp = cell_pad(m->H);
    width = m->P ? m->P : m->D * m->H;
    if (l->tied && width != m->E)
        return err_set(e, ERR_FORMAT,
                       "%s: config.json: tied output needs embedding_dim %d, "
                       "found %d",
                       l->o->label, width, m->E);
    if (l->o->n_vocab_tokenizer && l->o->n_vocab_tokenizer != m->V)
        return err_set(e, ERR_FORMAT,
                       "%s: tokenizer.json has %d entries, config.json's "
                       "'vocab_size' is %d",
                       l->o->label, l->o->n_vocab_tokenizer, m->V);
    return 0;
}

/* --- tensors --- */

static size_t elements(const struct tensor *t)
{
    size_t n = 1;

    for (int i = 0; i < t->n_dims; i++)
        n *= (size_t)t->dim[i];
    return n;
}

static int is_finite(const float *x, size_t n)
{
    uint32_t bad = 0;

    for (size_t i = 0; i < n; i++) {
        uint32_t u;

        memcpy(&u, &x[i], sizeof u);
        bad |= (u & 0x7f800000u) == 0x7f800000u; /* all exponent bits */
    }
    return !bad;
}

/* A tensor of shape [d0, d1] ([d0] when d1 is 0) as new fp32 memory, from
 * mem_floats. All of it takes part in every answer, so a NaN or an infinity
 * is refused here and not at each request. */
static float *read_tensor(struct loader *l, const char *prefix,
                          const char *name, int d0, int d1, struct err *e)
{
    char full[NAME_BYTES];
    const struct tensor *t;
    float *data;

    if ((size_t)snprintf(full, sizeof full, "%s%s", prefix, name) >=
        sizeof full) {
        err_set(e, ERR_FORMAT, "%s: config.json: a tensor prefix is too long",
                l->o->label);
        return NULL;
    }
    t = weights_need(l->w, full, d1 ? 2 : 1, d0, d1, e);
    if (!t)
        return NULL;
    data = mem_floats(elements(t));
    if (!data) {
        err_nomem(e);
        return NULL;
    }
    tensor_read(t, 0, elements(t), data);
    if (!is_finite(data, elements(t))) {
        err_set(e, ERR_FORMAT,
                "%s: tensor '%s' holds a number that is not finite",
                l->o->label, full);
        mem_aligned_free(data);
        return NULL;
    }
    return data;
}

/* A packed matrix [N, K]. */
static int load_matrix(struct loader *l, const char *prefix, const char *name,
                       int N, int K, struct packed *out, struct err *e)
{
    float *W = read_tensor(l, prefix, name, N, K, e);
    int rc;

    if (!W)
        return -1;
    rc = pack_new(W, (size_t)K, N, K, NULL, out, e);
    mem_aligned_free(W);
    return rc;
}

/* PyTorch's name of a part of a layer; the last one (LSTM with proj_size) is
 * not read. */
static const char *const PARTS[] = {"weight_ih", "weight_hh", "bias_ih",
                                    "bias_hh", "weight_hr"};
#define N_PARTS 5

static void part_name(int part, int layer, int d, char out[64])
{
    snprintf(out, 64, "%s_l%d%s", PARTS[part], layer, d ? "_reverse" : "");
}

static int load_cell(struct loader *l, int layer, int d, struct err *e)
{
    struct rnn *m = l->m;
    int GH = m->kind->G * m->H;
    int I = layer ? m->D * m->H : m->E;
    struct cell_params p = {.H = m->H, .n_parts = 1, .part = I};
    float *t[4] = {NULL, NULL, NULL, NULL};
    int n = l->bias ? 4 : 2, cols[4] = {I, m->H, 0, 0}, rc = 0;

    p.part_stride = I;
    if (layer) { /* rows of the layer below: D pieces of Hp floats */
        p.n_parts = m->D;
        p.part = m->H;
        p.part_stride = m->Hp;
    }
    for (int i = 0; i < n && !rc; i++) {
        char name[64];

        part_name(i, layer, d, name);
        t[i] = read_tensor(l, l->p_rnn, name, GH, cols[i], e);
        rc = t[i] ? 0 : -1;
    }
    p.W_ih = t[0];
    p.W_hh = t[1];
    p.b_ih = t[2];
    p.b_hh = t[3];
    if (!rc)
        rc = cell_pack(m->kind, &p, &m->cell[layer][d], e);
    for (int i = 0; i < 4; i++)
        mem_aligned_free(t[i]);
    return rc;
}

/* Is `name`, without the prefix, a tensor that load_cell reads? */
static int is_read(const struct loader *l, const char *name)
{
    char own[64];

    for (int i = 0; i < (l->bias ? 4 : 2); i++) {
        for (int layer = 0; layer < l->m->L; layer++) {
            for (int d = 0; d < l->m->D; d++) {
                part_name(i, layer, d, own);
                if (strcmp(own, name) == 0)
                    return 1;
            }
        }
    }
    return 0;
}

/* A layer, direction or bias that the file has and config.json does not know
 * of would be dropped in silence, and the answers would be wrong. */
static int check_all_read(const struct loader *l, struct err *e)
{
    size_t skip = strlen(l->p_rnn);

    for (int i = 0; i < weights_count(l->w); i++) {
        const char *full = weights_at(l->w, i)->name, *name = full + skip;
        int recurrent = 0;

        if (strncmp(full, l->p_rnn, skip) != 0)
            continue;
        for (int k = 0; k < N_PARTS; k++) {
            size_t n = strlen(PARTS[k]);

            recurrent |= !strncmp(name, PARTS[k], n) && name[n] == '_';
        }
        if (recurrent && !is_read(l, name))
            return err_set(e, ERR_FORMAT,
                           "%s: tensor '%.100s' is not part of what "
                           "config.json describes: num_layers %d, "
                           "bidirectional %s, bias %s",
                           l->o->label, full, l->m->L,
                           l->m->D == 2 ? "true" : "false",
                           l->bias ? "true" : "false");
    }
    return 0;
}

static int load_output(struct loader *l, struct err *e)
{
    struct rnn *m = l->m;
    int K = m->P ? m->P : m->D * m->H, rc;
    char bias[NAME_BYTES];

    if (m->P) {
        if (load_matrix(l, l->p_projection, "weight", m->P, m->D * m->H,
                        &m->projection, e))
            return -1;
        m->projection_bias =
            read_tensor(l, l->p_projection, "bias", m->P, 0, e);
        if (!m->projection_bias)
            return -1;
    }
    if (l->tied)
        rc = load_matrix(l, l->p_embedding, "weight", m->V, K, &m->output, e);
    else
        rc = load_matrix(l, l->p_output, "weight", m->n_out, K, &m->output, e);
    if (rc)
        return -1;
    snprintf(bias, sizeof bias, "%sbias", l->p_output);
    if (weights_find(l->w, bias)) {
        m->output_bias = read_tensor(l, l->p_output, "bias", m->n_out, 0, e);
        return m->output_bias ? 0 : -1;
    }
    m->output_bias = mem_floats((size_t)m->n_out);
    return m->output_bias ? 0 : err_nomem(e);
}

static int load_tensors(struct loader *l, struct err *e)
{
    struct rnn *m = l->m;
    char name[NAME_BYTES];

    if ((size_t)snprintf(name, sizeof name, "%sweight", l->p_embedding) >=
        sizeof name)
        return err_set(e, ERR_FORMAT,
                       "%s: config.json: a tensor prefix is too long",
                       l->o->label);
    m->embedding = weights_need(l->w, name, 2, m->V, m->E, e);
    if (!m->embedding)
        return -1;
    for (int i = 0; i < m->L; i++) {
        for (int d = 0; d < m->D; d++)
            if (load_cell(l, i, d, e))
                return -1;
    }
    return check_all_read(l, e) ? -1 : load_output(l, e);
}

static size_t held_bytes(const struct rnn *m)
{
    size_t n = m->projection.bytes + m->output.bytes;

    n += ((size_t)m->P + (size_t)m->n_out) * sizeof(float) + sizeof *m;
    for (int i = 0; i < m->L; i++)
        for (int d = 0; d < m->D; d++)
            n += cell_bytes(&m->cell[i][d]);
    return n;
}

/* Multiply-adds of one token in all layers, unfolded. */
static uint64_t token_work(const struct rnn *m)
{
    uint64_t n = 0;

    for (int i = 0; i < m->L; i++) {
        const struct cell *w = &m->cell[i][0];

        n += (uint64_t)(w->I + w->H) * (uint64_t)(w->G * w->H) * (uint64_t)m->D;
    }
    return n;
}

static void fill_info(struct loader *l)
{
    struct rnn *m = l->m;
    struct model_info *info = l->info;

    snprintf(m->summary, sizeof m->summary, "%s %d-%dx%d%s", m->kind->name,
             m->E, m->H, m->L, m->D == 2 ? " bidirectional" : "");
    info->state = (struct state_layout){
        .fixed_bytes = rnn_state_floats(m) * sizeof(float),
        .n_ports = 1,
        .port = {{.name = "text", .whole = m->D == 2}}};
    info->cols[OUT_LOGITS] = m->classifier ? 0 : m->V;
    info->cols[OUT_HIDDEN] = m->D * m->H;
    info->max_chain = m->D == 2 ? 0 : RNN_MAX_CHAIN;
    info->parameters = weights_parameters(l->w);
    info->token_flops = 2 * token_work(m);
    info->row_flops = 2 * ((uint64_t)m->n_out * (uint64_t)m->output.K +
                           (uint64_t)m->P * (uint64_t)m->projection.K);
    info->memory_bytes = held_bytes(m);
    info->summary = m->summary;
}

static void rnn_unload(void *self)
{
    struct rnn *m = self;

    if (!m)
        return;
    for (int i = 0; i < RNN_MAX_LAYERS; i++) {
        cell_fini(&m->cell[i][0]);
        cell_fini(&m->cell[i][1]);
    }
    pack_fini(&m->projection);
    pack_fini(&m->output);
    mem_aligned_free(m->projection_bias);
    mem_aligned_free(m->output_bias);
    mem_aligned_free(m->table[0]);
    mem_aligned_free(m->table[1]);
    mem_free(m);
}

/* ERR_FORMAT names the key or the tensor; ERR_NOMEM. */
static int rnn_load(const struct load_opts *o, struct checkpoint *c,
                    struct model_info *info, void **self, struct err *e)
{
    struct loader l = {.o = o,
                       .w = checkpoint_weights(c, e),
                       .h = checkpoint_hparams(c, e),
                       .info = info};

    memset(info, 0, sizeof *info);
    if (!l.w || !l.h)
        return -1;
    l.m = mem_zalloc(sizeof *l.m);
    if (!l.m)
        return err_nomem(e);
    l.m->fold_bytes = o->options->fold_bytes;
    if (read_config(&l, e) || load_tensors(&l, e)) {
        rnn_unload(l.m);
        return -1;
    }
    fill_info(&l);
    *self = l.m;
    return 0;
}

/* --- folded table --- */

size_t rnn_fold_bytes(const struct rnn *m)
{
    size_t row = (size_t)m->kind->G * (size_t)m->Hp * sizeof(float);

    return row * (size_t)m->V * (size_t)m->D; /* < 2^24 * 2^20 * 2 bytes */
}

/* fold_direction: table[d], FOLD_ROWS tokens at a time. x [FOLD_ROWS][E].
 * 0, or 1 when stopped. */
static int fold_direction(struct rnn *m, const struct kernels *k, int d,
                          float *x, const int *stop)
{
    const struct cell *w = &m->cell[0][d];
    size_t width = (size_t)w->G * (size_t)w->Hp, E = (size_t)m->E;
    const float *rows[FOLD_ROWS];

    for (int v = 0; v < m->V; v += FOLD_ROWS) {
        int n = m->V - v < FOLD_ROWS ? m->V - v : FOLD_ROWS;

        if (__atomic_load_n(stop, __ATOMIC_ACQUIRE))
            return 1;
        tensor_read(m->embedding, (size_t)v * E, (size_t)n * E, x);
        cell_project(k, w, n, 0, w->Hp, x, E, m->table[d] + (size_t)v * width,
                     rows);
    }
    return 0;
}

/* The order of additions is that of the unfolded path, by construction: both
 * call cell_project on the same rows. */
static void rnn_warm(void *self, const struct exec *x, const int *stop,
                     size_t *memory_bytes)
{
    struct rnn *m = self;
    size_t bytes = rnn_fold_bytes(m);
    float *rows = NULL;
    int stopped = 0;

    if (bytes > m->fold_bytes || atomic_load(&m->folded))
        return;
    rows = mem_floats(FOLD_ROWS * (size_t)m->E);
    for (int d = 0; d < m->D && rows; d++) {
        m->table[d] = mem_floats(bytes / sizeof(float) / (size_t)m->D);
        if (!m->table[d])
            stopped = 1; /* no memory: the unfolded path serves */
    }
    for (int d = 0; d < m->D && rows && !stopped; d++)
        stopped = fold_direction(m, x->k, d, rows, stop);
    if (rows && !stopped) {
        atomic_store_explicit(&m->folded, 1, memory_order_release);
        *memory_bytes += bytes;
    } else {
        mem_aligned_free(m->table[0]);
        mem_aligned_free(m->table[1]);
        m->table[0] = m->table[1] = NULL;
    }
    mem_aligned_free(rows);
}

/* --- state --- */

static size_t state_stride(const struct rnn *m)
{
    size_t W = (size_t)m->D * (size_t)m->Hp;

    return m->kind->has_c ? 2 * W : W;
}

size_t rnn_state_h(const struct rnn *m, int layer)
{
    return (size_t)layer * state_stride(m);
}

size_t rnn_state_c(const struct rnn *m, int layer)
{
    return rnn_state_h(m, layer) + (size_t)m->D * (size_t)m->Hp;
}

size_t rnn_state_pool(const struct rnn *m)
{
    return (size_t)m->L * state_stride(m);
}

size_t rnn_state_floats(const struct rnn *m)
{
    int pools = m->classifier && m->pooling != POOL_LAST;

    return rnn_state_pool(m) + (pools ? (size_t)m->D * (size_t)m->Hp : 0);
}

static const char *const ALIASES[] = {NULL};

const struct model_arch rnn_arch = {
    .name = "rnn",
    .aliases = ALIASES,
    .load = rnn_load,
    .unload = rnn_unload,
    .warm = rnn_warm,
    .scratch_bytes = rnn_scratch_bytes,
    .step = rnn_step,
};
