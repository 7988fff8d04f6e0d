/* gpt2: decoders with learned positions, LayerNorm in front of each part and a
 * GELU feed-forward layer. A block, x the residual stream:
 *
 *   h = ln(x);  q, k, v = h Wqkv + b;  x = x + attention(q, k, v) Wo + b
 *   h = ln(x);  x = x + gelu(h Wup + b) Wdown + b
 *
 * and logits = ln(x) Wout, Wout the embedding unless the file says otherwise.
 * Hugging Face's files keep the matrices of a block as [in, out] (Conv1D),
 * with or without "transformer." in front of the names; GGUF as [out, in].
 *
 * Immutable after load; step runs on the threads of the pool. Its phases are
 * those of transformer.h.
 *
 * Source: Radford et al. 2019; Hendrycks and Gimpel 2016 (GELU, the tanh
 * form).
 *
 * SPDX-License-Identifier: MIT */
#include "models/transformer/gpt2.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "engine/base/mem.h"
#include "models/transformer/names.h"

enum { Q, K, V, QKV };

struct block {
    struct tf_norm ln_1, ln_2;
    struct tf_linear qkv, out, up, down;
};

struct gpt2 {
    struct tf_spec spec;
    int vocab, width, layers, heads, inner, context;
    double eps;
    const struct tensor *embedding, *positions;
    struct block *block;
    struct tf_norm norm;
    struct tf_linear output;
    int scaled, by_layer; /* attention scores: / sqrt(d), / (layer + 1) */
    int tied, fast;
    char summary[96];
};

static const struct name EMBEDDING = {"wte", "token_embd"},
                         POSITIONS = {"wpe", "position_embd"},
                         NORM = {"ln_f", "output_norm"},
                         HEAD = {"lm_head", "output"},
                         LN_1 = {"ln_1", "attn_norm"},
                         ATTN = {"attn.c_attn", "attn_qkv"},
                         OUT = {"attn.c_proj", "attn_output"},
                         LN_2 = {"ln_2", "ffn_norm"},
                         UP = {"mlp.c_fc", "ffn_up"},
                         DOWN = {"mlp.c_proj", "ffn_down"};

/* Old files carry the causal mask of each layer. */
static const char *const IGNORED[] = {".attn.bias", ".attn.masked_bias", NULL};
static const char *const REFUSED[] = {"quantization_config",
                                      "add_cross_attention", NULL};
static const char *const ACTS[] = {"gelu_new", "gelu_pytorch_tanh", NULL};

/* --- config.json, or the metadata of a GGUF file --- */

static int read_vocab(struct gpt2 *m, const struct names *n, struct err *e)
{
    static const struct name K_VOCAB = {"vocab_size", "vocab_size"};
    const struct tensor *t = weights_find(n->w, "token_embd.weight");
    int64_t rows = t && n->gguf && t->n_dims == 2 ? t->dim[0] : -1;

    if (rows < 1 || rows > NAMES_MAX_VOCAB)
        rows = -1;
    return names_int(n, K_VOCAB, 1, NAMES_MAX_VOCAB, rows, &m->vocab, e);
}

static int read_config(struct gpt2 *m, const struct names *n, struct err *e)
{
    static const struct name width = {"n_embd", "embedding_length"},
                             layers = {"n_layer", "block_count"},
                             heads = {"n_head", "attention.head_count"},
                             inner = {"n_inner", "feed_forward_length"},
                             length = {"n_positions", "context_length"},
                             eps = {"layer_norm_epsilon",
                                    "attention.layer_norm_epsilon"};
    int act;

    if (names_refuse(n, REFUSED, e) || read_vocab(m, n, e) ||
        names_int(n, width, 1, NAMES_MAX_WIDTH, -1, &m->width, e) ||
        names_int(n, layers, 1, TF_MAX_LAYERS, -1, &m->layers, e) ||
        names_int(n, heads, 1, NAMES_MAX_HEADS, -1, &m->heads, e) ||
        names_int(n, inner, 1, NAMES_MAX_INNER, 4 * (int64_t)m->width,
                  &m->inner, e) ||
        names_int(n, length, 1, NAMES_MAX_LENGTH, -1, &m->context, e) ||
        names_float(n, eps, 0, 1, 1e-5, &m->eps, e) ||
        names_read_tied(n, 1, &m->tied, e))
        return -1;
    if (m->width % m->heads)
        return err_set(e, ERR_FORMAT,
                       "%s: width %d is no multiple of %d attention heads",
                       n->label, m->width, m->heads);
    if (m->width / m->heads > NAMES_MAX_HEAD)
        return err_set(e, ERR_UNSUPPORTED,
                       "%s: heads of size %d, expected at most %d", n->label,
                       m->width / m->heads, NAMES_MAX_HEAD);
    m->scaled = 1;
    if (n->gguf)
        return 0;
    if (hparams_choice(n->h, "activation_function", ACTS, "gelu_new", &act,
                       e) ||
        hparams_bool_or(n->h, "scale_attn_weights", 1, &m->scaled, e) ||
        hparams_bool_or(n->h, "scale_attn_by_inverse_layer_idx", 0,
                        &m->by_layer, e))
        return -1;
    return 0;
}

/* --- tensors --- */

static int load_norm(struct gpt2 *m, struct names *n, const char *name,
                     const char *bias, struct tf_norm *out, struct err *e)
{
    return tf_norm_load(n->w, name, bias, m->width, 0, m->eps, 0, out, e);
}

static int load_block(struct gpt2 *m, struct names *n,
                      const struct load_opts *o, int i, struct err *e)
{
    static const struct name *const plain[] = {&OUT, &UP, &DOWN};
    struct block *b = &m->block[i];
    struct tf_linear *to[] = {&b->out, &b->up, &b->down};
    int K_of[] = {m->width, m->width, m->inner};
    int N_of[] = {m->width, m->inner, m->width};
    char name[NAMES_BYTES], bias[NAMES_BYTES];
    struct tf_part part[QKV] = {{0}};

    if (load_norm(m, n, names_block(n, i, LN_1, "weight", name),
                  names_block(n, i, LN_1, "bias", bias), &b->ln_1, e) ||
        load_norm(m, n, names_block(n, i, LN_2, "weight", name),
                  names_block(n, i, LN_2, "bias", bias), &b->ln_2, e))
        return -1;
    names_block(n, i, ATTN, "weight", name);
    names_block(n, i, ATTN, "bias", bias);
    for (int p = 0; p < QKV; p++)
        part[p] = (struct tf_part){.name = name,
                                   .bias = bias,
                                   .N = m->width,
                                   .rows = 3 * m->width,
                                   .row0 = p * m->width,
                                   .transposed = !n->gguf};
    if (tf_linear_load(n->w, o, part, QKV, m->width, &b->qkv, e))
        return -1;
    m->fast |= b->qkv.fast;
    for (int p = 0; p < 3; p++) {
        struct tf_part one = {.N = N_of[p], .transposed = !n->gguf};

        one.name = names_block(n, i, *plain[p], "weight", name);
        one.bias = names_block(n, i, *plain[p], "bias", bias);
        if (tf_linear_load(n->w, o, &one, 1, K_of[p], to[p], e))
            return -1;
        m->fast |= to[p]->fast;
    }
    return 0;
}

static int load_tensors(struct gpt2 *m, struct names *n,
                        const struct load_opts *o, struct err *e)
{
    char name[NAMES_BYTES], bias[NAMES_BYTES];
    struct tf_part out = {.N = m->vocab};

    m->embedding = names_embedding(n, EMBEDDING, m->vocab, m->width, e);
    if (!m->embedding)
        return -1;
    m->positions = names_embedding(n, POSITIONS, m->context, m->width, e);
    if (!m->positions)
        return -1;
    m->block = mem_zarray((size_t)m->layers, sizeof *m->block);
    if (!m->block)
        return err_nomem(e);
    for (int i = 0; i < m->layers; i++)
        if (load_block(m, n, o, i, e))
            return -1;
    if (load_norm(m, n, names_tensor(n, NORM, "weight", name),
                  names_tensor(n, NORM, "bias", bias), &m->norm, e))
        return -1;
    out.name = names_head(n, HEAD, EMBEDDING, m->tied, name);
    if (tf_linear_load(n->w, o, &out, 1, m->width, &m->output, e))
        return -1;
    m->fast |= m->output.fast;
    return names_all_read(n, IGNORED, e);
}

/* --- what the engine is told --- */

static void fill_spec(struct gpt2 *m)
{
    double block = 4.0 * m->width + 2.0 * m->inner;

    m->spec = (struct tf_spec){
        .n_vocab = m->vocab,
        .max_len = m->context,
        .wants = 1u << OUT_LOGITS | 1u << OUT_HIDDEN | 1u << OUT_ATTENTION,
        .width = m->width,
        .n_layers = m->layers,
        .n_phases = 9 * m->layers + 3,
        .token_macs = block * m->width * m->layers,
        .row_macs = (double)m->vocab * m->width,
        .n_heads = m->heads,
        .n_kv = m->heads,
        .d = m->width / m->heads,
        .n_logits = m->vocab,
    };
}

static size_t held_bytes(const struct gpt2 *m)
{
    size_t n = sizeof *m + tf_linear_bytes(&m->output);

    n += (size_t)m->layers *
         (sizeof *m->block + 4 * tf_pad(m->width) * sizeof(float));
    for (int i = 0; i < m->layers; i++) {
        const struct block *b = &m->block[i];

        n += tf_linear_bytes(&b->qkv) + tf_linear_bytes(&b->out) +
             tf_linear_bytes(&b->up) + tf_linear_bytes(&b->down);
    }
    return n;
}

static void gpt2_layout(const struct gpt2 *m, struct state_layout *out);

static void fill_info(struct gpt2 *m, const struct names *n,
                      struct model_info *info)
{
    snprintf(m->summary, sizeof m->summary, "gpt2 %dx%d, %d heads", m->width,
             m->layers, m->heads);
    gpt2_layout(m, &info->state);
    info->cols[OUT_LOGITS] = m->vocab;
    info->cols[OUT_HIDDEN] = m->width;
    info->cols[OUT_ATTENTION] = 1;
    info->n_layers = m->layers;
    info->n_heads = m->heads;
    info->fast = m->fast;
    info->state.port[0].context_length = m->context;
    info->max_chain = TF_CHUNK;
    info->parameters = weights_parameters(n->w);
    info->token_flops = (uint64_t)(2 * m->spec.token_macs);
    info->row_flops = (uint64_t)(2 * m->spec.row_macs);
    info->memory_bytes = held_bytes(m);
    info->summary = m->summary;
}

static void gpt2_unload(void *self)
{
    struct gpt2 *m = self;

    for (int i = 0; m->block && i < m->layers; i++) {
        struct block *b = &m->block[i];

        tf_norm_fini(&b->ln_1);
        tf_norm_fini(&b->ln_2);
        tf_linear_fini(&b->qkv);
        tf_linear_fini(&b->out);
        tf_linear_fini(&b->up);
        tf_linear_fini(&b->down);
    }
    mem_free(m->block);
    tf_norm_fini(&m->norm);
    tf_linear_fini(&m->output);
    mem_free(m);
}

static int gpt2_load(const struct load_opts *o, struct checkpoint *c,
                     struct model_info *info, void **self, struct err *e)
{
    struct weights *w = checkpoint_weights(c, e);
    const struct hparams *h = checkpoint_hparams(c, e);
    struct gpt2 *m = mem_zalloc(sizeof *m);
    struct names n = {0};
    int rc;

    *self = NULL;
    if (!m)
        return err_nomem(e);
    rc = !w || !h ||
         names_open(&n, o, w, h, "transformer.", "h.", &EMBEDDING, e) ||
         read_config(m, &n, e) || load_tensors(m, &n, o, e);
    if (!rc) {
        fill_spec(m);
        fill_info(m, &n, info);
        *self = m;
    } else {
        gpt2_unload(m);
    }
    names_close(&n);
    return rc ? -1 : 0;
}

static void gpt2_layout(const struct gpt2 *m, struct state_layout *out)
{
    tf_attn_layout(&m->spec, 0, out);
}

/* --- a step --- */

struct run {
    struct tf_run t;
    const struct gpt2 *m;
    size_t ld;  /* of x, tmp */
    float *x;   /* [rows][ld] residual stream */
    float *tmp; /* [rows][ld] */
    float *qkv; /* [rows][ldq] */
    size_t ldq;
    struct tf_input in, att, ffn, out;
};

/* All arrays of a step, in scratch. */
static void map(struct run *s, struct tf_arena *a, int items, int tokens,
                int rows, int threads)
{
    const struct gpt2 *m = s->m;
    const struct block *b = &m->block[0];

    tf_map(&s->t, a, items, tokens, rows, threads);
    s->ld = tf_pad(m->width);
    s->ldq = tf_pad(b->qkv.N);
    s->x = tf_take_rows(a, tokens, m->width);
    s->tmp = tf_take_rows(a, tokens, m->width);
    s->qkv = tf_take_rows(a, tokens, b->qkv.N);
    tf_input_map(&s->in, a, tokens, m->width, m->fast);
    tf_input_map(&s->att, a, tokens, m->width, m->fast);
    tf_input_map(&s->ffn, a, tokens, m->inner, m->fast);
    tf_input_map(&s->out, a, rows, m->width, m->output.fast);
}

static size_t gpt2_scratch_bytes(const void *self, const struct step_size *most)
{
    const struct gpt2 *m = self;
    struct run s = {.m = m};
    struct tf_arena a = {0};

    s.t.spec = &m->spec;
    map(&s, &a, most->items, most->tokens[0], most->rows, most->threads);
    return a.at;
}

/* x = embedding of the token + embedding of the position; the latter goes
 * through `tmp`. */
static void embed(struct run *s, int r0, int r1)
{
    const struct gpt2 *m = s->m;
    size_t E = (size_t)m->width;

    for (int r = r0; r < r1; r++) {
        float *x = s->x + (size_t)r * s->ld, *p = s->tmp + (size_t)r * s->ld;

        tensor_read(m->embedding, (size_t)s->t.token[r] * E, E, x);
        tensor_read(m->positions, (size_t)s->t.pos[r] * E, E, p);
        s->t.k->add_to(m->width, p, x);
    }
}

/* x += attention(ln(x)) Wo + b */
static void attend(struct run *s, int layer, int tid, int r0, int r1)
{
    const struct gpt2 *m = s->m;
    const struct block *b = &m->block[layer];
    double scale = m->scaled ? 1.0 / sqrt((double)m->spec.d) : 1.0;
    struct tf_attn a = {
        .layer = layer,
        .causal = 1,
        .scale = (float)(m->by_layer ? scale / (layer + 1) : scale),
        .q = s->qkv + b->qkv.at[Q],
        .k = s->qkv + b->qkv.at[K],
        .v = s->qkv + b->qkv.at[V],
        .ldq = s->ldq,
        .ldkv = s->ldq,
        .y = s->att.x,
        .ldy = s->att.ld,
    };

    tf_norm_rows(&s->t, &b->ln_1, s->x, s->ld, s->in.x, s->in.ld, r0, r1);
    tf_input_ready(&s->t, &s->in, r0, r1);
    tf_sync(&s->t);
    tf_linear_run(&s->t, tid, &b->qkv, &s->in, s->qkv, s->ldq);
    tf_sync(&s->t);
    tf_attn_store(&s->t, &a, r0, r1);
    tf_sync(&s->t);
    tf_attn_run(&s->t, tid, &a);
    tf_sync(&s->t);
    if (s->att.fast) {
        tf_input_ready(&s->t, &s->att, r0, r1);
        tf_sync(&s->t);
    }
    tf_linear_add(&s->t, tid, &b->out, &s->att, s->tmp, s->x, s->ld);
    tf_sync(&s->t);
}

/* x += gelu(ln(x) Wup + b) Wdown + b */
static void feed(struct run *s, int layer, int tid, int r0, int r1)
{
    const struct gpt2 *m = s->m;
    const struct block *b = &m->block[layer];

    tf_norm_rows(&s->t, &b->ln_2, s->x, s->ld, s->in.x, s->in.ld, r0, r1);
    tf_input_ready(&s->t, &s->in, r0, r1);
    tf_sync(&s->t);
    tf_linear_run(&s->t, tid, &b->up, &s->in, s->ffn.x, s->ffn.ld);
    tf_sync(&s->t);
    for (int r = r0; r < r1; r++) {
        float *row = s->ffn.x + (size_t)r * s->ffn.ld;

        s->t.k->gelu_tanh(m->inner, row, row);
    }
    tf_input_ready(&s->t, &s->ffn, r0, r1);
    tf_sync(&s->t);
    tf_linear_add(&s->t, tid, &b->down, &s->ffn, s->tmp, s->x, s->ld);
    tf_sync(&s->t);
}

static void run_thread(void *arg, int tid, int n)
{
    struct run *s = arg;
    const struct gpt2 *m = s->m;
    int r0, r1;

    (void)n;
    tf_own_rows(&s->t, tid, &r0, &r1);
    embed(s, r0, r1);
    for (int i = 0; i < m->layers; i++) {
        attend(s, i, tid, r0, r1);
        feed(s, i, tid, r0, r1);
    }
    tf_gather(&s->t, tid, s->t.logits, s->t.n_logits, s->x, s->ld, &m->norm,
              &s->out);
    tf_hidden(&s->t, tid, s->x, s->ld, &m->norm);
    tf_sync(&s->t);
    tf_logits(&s->t, tid, &m->output, &s->out, 0);
}

static int gpt2_step(const void *self, const struct exec *x, struct batch *b,
                     struct err *e)
{
    const struct gpt2 *m = self;
    struct run s = {.m = m};
    struct tf_arena a = {.base = x->scratch};

    s.t.spec = &m->spec;
    s.t.x = x;
    s.t.k = x->k;
    s.t.b = b;
    map(&s, &a, b->n_item, b->n_tokens, b->n_rows, x->n_threads);
    if (tf_plan(&s.t, e))
        return -1;
    s.in.m = s.att.m = s.ffn.m = s.t.n_rows;
    s.out.m = s.t.n_logits;
    tf_go(&s.t, run_thread, &s);
    return 0;
}

static const char *const ALIASES[] = {NULL};

const struct model_arch gpt2_arch = {
    .name = "gpt2",
    .aliases = ALIASES,
    .load = gpt2_load,
    .unload = gpt2_unload,
    .scratch_bytes = gpt2_scratch_bytes,
    .step = gpt2_step,
};
