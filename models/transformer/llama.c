/* llama: decoders with RMSNorm, rotary positions, grouped-query attention and
 * a gated feed-forward layer (SwiGLU): Llama 1 to 3, Mistral (sliding window),
 * Qwen2 (biases on query, key and value), SmolLM2, and the stories of llama2.c.
 *
 * A block, x the residual stream:
 *
 *   h = rms(x) w1;  q, k, v = h Wq, h Wk, h Wv (+ b);  q, k turned by position
 *   x = x + attention(q, k, v) Wo
 *   h = rms(x) w2;  x = x + (silu(h Wgate) * (h Wup)) Wdown
 *
 * and logits = rms(x) w Wout, Wout often the embedding. GGUF files of
 * architecture "llama" hold the rows of Wq and Wk permuted, so that rotary
 * pairs are neighbours (2i, 2i+1); all others pair i with i + d/2.
 *
 * Immutable after load; step runs on the threads of the pool. Its phases are
 * those of transformer.h.
 *
 * Source: Touvron et al. 2023 (Llama), Jiang et al. 2023 (Mistral), Yang et
 * al. 2024 (Qwen2), Shazeer 2020 (SwiGLU), Ainslie et al. 2023 (grouped
 * queries).
 *
 * SPDX-License-Identifier: MIT */
#include "models/transformer/llama.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "engine/base/mem.h"
#include "models/transformer/names.h"

enum { Q, K, V, QKV };
enum { GATE, UP, GATE_UP };

struct block {
    struct tf_norm attn_norm, ffn_norm;
    struct tf_linear qkv, out, gate_up, down;
};

struct llama {
    struct tf_spec spec;
    struct names_dims dim;
    const struct tensor *embedding;
    struct block *block;
    struct tf_norm norm;
    struct tf_linear output;
    struct tf_rope rope;
    int window[TF_MAX_LAYERS];
    int qkv_bias, out_bias, mlp_bias, tied;
    int fast;
    char summary[96];
};

static const struct name EMBEDDING = {"embed_tokens", "token_embd"},
                         NORM = {"norm", "output_norm"},
                         HEAD = {"lm_head", "output"},
                         ATTN_NORM = {"input_layernorm", "attn_norm"},
                         PROJ[QKV] = {{"self_attn.q_proj", "attn_q"},
                                      {"self_attn.k_proj", "attn_k"},
                                      {"self_attn.v_proj", "attn_v"}},
                         OUT = {"self_attn.o_proj", "attn_output"},
                         FFN_NORM = {"post_attention_layernorm", "ffn_norm"},
                         GATED[GATE_UP] = {{"mlp.gate_proj", "ffn_gate"},
                                           {"mlp.up_proj", "ffn_up"}},
                         DOWN = {"mlp.down_proj", "ffn_down"};

/* Tensors of files that no step needs: tables made again at load. */
static const char *const IGNORED[] = {"rotary_emb.inv_freq", NULL};
static const char *const REFUSED[] = {"quantization_config", NULL};
static const char *const ACTS[] = {"silu", "swish", NULL};

/* --- config.json, or the metadata of a GGUF file --- */

static int refuse_gguf(const struct names *n, struct err *e)
{
    static const char *const keys[] = {"expert_count",   "attention.scale",
                                       "logit_scale",    "embedding_scale",
                                       "residual_scale", NULL};

    for (int i = 0; keys[i] && n->gguf; i++) {
        double v;

        if (names_float(n, (struct name){NULL, keys[i]}, -1e9, 1e9, 0, &v, e))
            return -1;
        if (v < 0 || v > 0)
            return err_set(e, ERR_UNSUPPORTED,
                           "%s: '%s.%s' is %g, which this program does not "
                           "have",
                           n->label, n->type, keys[i], v);
    }
    return 0;
}

/* Mistral: all layers; Qwen2: those from max_window_layers on, when
 * use_sliding_window says so. */
static int read_windows(struct llama *m, const struct names *n, struct err *e)
{
    static const struct name K_WINDOW = {"sliding_window",
                                         "attention.sliding_window"};
    int mistral = strcmp(n->type, "mistral") == 0;
    int qwen2 = strcmp(n->type, "qwen2") == 0 && !n->gguf;
    int width = 0, use = 1, from = 0, rc;

    if (!mistral && !qwen2 && !n->gguf)
        return 0;
    /* A config.json that leaves the key out means the class's default; one
     * that says null means none. */
    if (names_int(n, K_WINDOW, 0, NAMES_MAX_LENGTH,
                  n->gguf || hparams_json(n->h, K_WINDOW.hf) ? 0 : 4096, &width,
                  e))
        return -1;
    if (qwen2 && (hparams_bool_or(n->h, "use_sliding_window", 0, &use, e) ||
                  names_int(n, (struct name){"max_window_layers", NULL}, 0,
                            NAMES_MAX_LENGTH, 28, &from, e)))
        return -1;
    if (!use)
        width = 0;
    rc = names_layer_types(n, m->dim.layers, width, m->window, e);
    for (int i = 0; i < m->dim.layers && !rc; i++)
        m->window[i] = i >= from ? width : 0;
    return rc < 0 ? -1 : 0;
}

static int read_biases(struct llama *m, const struct names *n, struct err *e)
{
    char name[NAMES_BYTES];

    if (strcmp(n->type, "qwen2") == 0) {
        m->qkv_bias = 1;
        return 0;
    }
    if (n->gguf) {
        m->qkv_bias = names_exists(n, "blk.0.attn_q.bias");
        m->out_bias = names_exists(n, "blk.0.attn_output.bias");
        snprintf(name, sizeof name, "blk.0.%s.bias", DOWN.gguf);
        m->mlp_bias = names_exists(n, name);
        return 0;
    }
    if (hparams_bool_or(n->h, "attention_bias", 0, &m->qkv_bias, e) ||
        hparams_bool_or(n->h, "mlp_bias", 0, &m->mlp_bias, e))
        return -1;
    m->out_bias = m->qkv_bias;
    return 0;
}

/* GGUF's factors for Llama 3's scaling, one for each pair. */
static int read_divide(struct names *n, struct tf_rope_spec *s, float **out,
                       struct err *e)
{
    char name[NAMES_BYTES];

    *out = NULL;
    if (!n->gguf || !weights_find(n->w, "rope_freqs.weight"))
        return 0;
    names_tensor(n, (struct name){NULL, "rope_freqs"}, "weight", name);
    if (tf_vector(n->w, name, s->n_rot / 2, out, e))
        return -1;
    for (int i = 0; i < s->n_rot / 2; i++) {
        if (!((*out)[i] > 0))
            return err_set(e, ERR_FORMAT,
                           "%s: tensor '%s' has a factor of %g at %d, expected "
                           "one over 0",
                           n->label, name, (double)(*out)[i], i);
    }
    s->divide = *out;
    return 0;
}

static int read_rope(struct llama *m, struct names *n, struct err *e)
{
    struct tf_rope_spec s;
    const char *object = hparams_has(n->h, "rope_parameters")
                             ? "rope_parameters"
                             : "rope_scaling";
    float *divide = NULL;
    double part;
    int rc;

    if (hparams_float_or(n->h, "partial_rotary_factor", 0, 1, 1, &part, e) ||
        names_read_rope(n, object, "rope_theta", 10000, m->dim.d, &s, e))
        return -1;
    if (part < 1)
        return err_set(e, ERR_UNSUPPORTED,
                       "%s: config.json: 'partial_rotary_factor' is %g, "
                       "expected 1",
                       n->label, part);
    s.adjacent = n->gguf && strcmp(n->type, "llama") == 0;
    rc = read_divide(n, &s, &divide, e);
    if (!rc)
        rc = tf_rope_init(&m->rope, &s, e);
    mem_aligned_free(divide);
    return rc;
}

static int read_config(struct llama *m, struct names *n, struct err *e)
{
    int act, heads_default = strcmp(n->type, "llama") == 0 ? 0 : -1;

    if (names_refuse(n, REFUSED, e) || refuse_gguf(n, e) ||
        (!n->gguf &&
         hparams_choice(n->h, "hidden_act", ACTS, "silu", &act, e)) ||
        names_read_dims(n, heads_default, 0, &m->dim, e) ||
        names_read_tied(n, 0, &m->tied, e) || read_biases(m, n, e) ||
        read_windows(m, n, e) || read_rope(m, n, e))
        return -1;
    return 0;
}

/* --- tensors --- */

static int load_norm(struct llama *m, struct names *n, const char *name,
                     struct tf_norm *out, struct err *e)
{
    return tf_norm_load(n->w, name, NULL, m->dim.width, 1, m->dim.eps, 0, out,
                        e);
}

static int load_attention(struct llama *m, struct names *n,
                          const struct load_opts *o, int i, struct err *e)
{
    struct block *b = &m->block[i];
    char name[QKV + 1][NAMES_BYTES], bias[QKV + 1][NAMES_BYTES];
    struct tf_part part[QKV] = {{0}}, out = {0};
    int heads[QKV] = {m->dim.heads, m->dim.kv, m->dim.kv};

    for (int p = 0; p < QKV; p++) {
        part[p].N = heads[p] * m->dim.d;
        part[p].name = names_block(n, i, PROJ[p], "weight", name[p]);
        if (m->qkv_bias)
            part[p].bias = names_block(n, i, PROJ[p], "bias", bias[p]);
    }
    out.N = m->dim.width;
    out.name = names_block(n, i, OUT, "weight", name[QKV]);
    if (m->out_bias)
        out.bias = names_block(n, i, OUT, "bias", bias[QKV]);
    return tf_linear_load(n->w, o, part, QKV, m->dim.width, &b->qkv, e) ||
           tf_linear_load(n->w, o, &out, 1, m->dim.heads * m->dim.d, &b->out,
                          e);
}

static int load_block(struct llama *m, struct names *n,
                      const struct load_opts *o, int i, struct err *e)
{
    struct block *b = &m->block[i];
    char name[GATE_UP + 1][NAMES_BYTES], bias[GATE_UP + 1][NAMES_BYTES];
    struct tf_part part[GATE_UP] = {{0}}, down = {0};

    if (load_norm(m, n, names_block(n, i, ATTN_NORM, "weight", name[0]),
                  &b->attn_norm, e) ||
        load_norm(m, n, names_block(n, i, FFN_NORM, "weight", name[0]),
                  &b->ffn_norm, e) ||
        load_attention(m, n, o, i, e))
        return -1;
    for (int p = 0; p < GATE_UP; p++) {
        part[p].N = m->dim.inner;
        part[p].name = names_block(n, i, GATED[p], "weight", name[p]);
        if (m->mlp_bias)
            part[p].bias = names_block(n, i, GATED[p], "bias", bias[p]);
    }
    down.N = m->dim.width;
    down.name = names_block(n, i, DOWN, "weight", name[GATE_UP]);
    if (m->mlp_bias)
        down.bias = names_block(n, i, DOWN, "bias", bias[GATE_UP]);
    if (tf_linear_load(n->w, o, part, GATE_UP, m->dim.width, &b->gate_up, e) ||
        tf_linear_load(n->w, o, &down, 1, m->dim.inner, &b->down, e))
        return -1;
    m->fast |= b->qkv.fast | b->out.fast | b->gate_up.fast | b->down.fast;
    return 0;
}

static int load_tensors(struct llama *m, struct names *n,
                        const struct load_opts *o, struct err *e)
{
    char name[NAMES_BYTES];
    struct tf_part out = {.N = m->dim.vocab};

    m->embedding = names_embedding(n, EMBEDDING, m->dim.vocab, m->dim.width, e);
    if (!m->embedding)
        return -1;
    m->block = mem_zarray((size_t)m->dim.layers, sizeof *m->block);
    if (!m->block)
        return err_nomem(e);
    for (int i = 0; i < m->dim.layers; i++)
        if (load_block(m, n, o, i, e))
            return -1;
    if (load_norm(m, n, names_tensor(n, NORM, "weight", name), &m->norm, e))
        return -1;
    out.name = names_head(n, HEAD, EMBEDDING, m->tied, name);
    if (tf_linear_load(n->w, o, &out, 1, m->dim.width, &m->output, e))
        return -1;
    m->fast |= m->output.fast;
    return names_all_read(n, IGNORED, e);
}

/* --- what the engine is told --- */

static void fill_spec(struct llama *m)
{
    const struct names_dims *d = &m->dim;
    double attn = 2.0 * (d->heads + d->kv) * d->d, inner = 3.0 * d->inner;

    m->spec = (struct tf_spec){
        .n_vocab = d->vocab,
        .max_len = d->context,
        .wants = 1u << OUT_LOGITS | 1u << OUT_HIDDEN | 1u << OUT_ATTENTION,
        .width = d->width,
        .n_layers = d->layers,
        .n_phases = 9 * d->layers + 3,
        .token_macs = (attn + inner) * d->width * d->layers,
        .row_macs = (double)d->vocab * d->width,
        .n_heads = d->heads,
        .n_kv = d->kv,
        .d = d->d,
        .n_logits = d->vocab,
    };
}

static size_t held_bytes(const struct llama *m)
{
    size_t n = sizeof *m + tf_linear_bytes(&m->output);

    n += (size_t)m->dim.layers *
         (sizeof *m->block + 2 * tf_pad(m->dim.width) * sizeof(float));
    for (int i = 0; i < m->dim.layers; i++) {
        const struct block *b = &m->block[i];

        n += tf_linear_bytes(&b->qkv) + tf_linear_bytes(&b->out) +
             tf_linear_bytes(&b->gate_up) + tf_linear_bytes(&b->down);
    }
    return n;
}

static void llama_layout(const struct llama *m, struct state_layout *out);

static void fill_info(struct llama *m, const struct names *n,
                      struct model_info *info)
{
    snprintf(m->summary, sizeof m->summary, "%.20s %dx%d, %d heads, %d kv",
             n->type, m->dim.width, m->dim.layers, m->dim.heads, m->dim.kv);
    llama_layout(m, &info->state);
    info->cols[OUT_LOGITS] = m->dim.vocab;
    info->cols[OUT_HIDDEN] = m->dim.width;
    info->cols[OUT_ATTENTION] = 1;
    info->n_layers = m->dim.layers;
    info->n_heads = m->dim.heads;
    info->fast = m->fast;
    info->state.port[0].context_length = m->dim.context;
    info->max_chain = TF_CHUNK;
    info->parameters = weights_parameters(n->w);
    info->token_flops = (uint64_t)(2 * m->spec.token_macs);
    info->row_flops = (uint64_t)(2 * m->spec.row_macs);
    info->memory_bytes = held_bytes(m);
    info->summary = m->summary;
}

static void llama_unload(void *self)
{
    struct llama *m = self;

    for (int i = 0; m->block && i < m->dim.layers; i++) {
        struct block *b = &m->block[i];

        tf_norm_fini(&b->attn_norm);
        tf_norm_fini(&b->ffn_norm);
        tf_linear_fini(&b->qkv);
        tf_linear_fini(&b->out);
        tf_linear_fini(&b->gate_up);
        tf_linear_fini(&b->down);
    }
    mem_free(m->block);
    tf_norm_fini(&m->norm);
    tf_linear_fini(&m->output);
    tf_rope_fini(&m->rope);
    mem_free(m);
}

static int llama_load(const struct load_opts *o, struct checkpoint *c,
                      struct model_info *info, void **self, struct err *e)
{
    struct weights *w = checkpoint_weights(c, e);
    const struct hparams *h = checkpoint_hparams(c, e);
    struct llama *m = mem_zalloc(sizeof *m);
    struct names n = {0};
    int rc;

    *self = NULL;
    if (!m)
        return err_nomem(e);
    rc = !w || !h ||
         names_open(&n, o, w, h, "model.", "layers.", &EMBEDDING, e) ||
         read_config(m, &n, e) || load_tensors(m, &n, o, e);
    if (!rc) {
        fill_spec(m);
        fill_info(m, &n, info);
        *self = m;
    } else {
        llama_unload(m);
    }
    names_close(&n);
    return rc ? -1 : 0;
}

/* Pages that no layer looks at any more may go when all have a window. */
static void llama_layout(const struct llama *m, struct state_layout *out)
{
    int widest = 0;

    for (int i = 0; i < m->dim.layers; i++) {
        if (!m->window[i]) {
            widest = 0;
            break;
        }
        if (m->window[i] > widest)
            widest = m->window[i];
    }
    tf_attn_layout(&m->spec, widest, out);
}

/* --- a step --- */

struct run {
    struct tf_run t;
    const struct llama *m;
    size_t ld;  /* of x, tmp */
    float *x;   /* [rows][ld] residual stream */
    float *tmp; /* [rows][ld] */
    float *qkv; /* [rows][ldq] */
    size_t ldq;
    float *gate; /* [rows][ldg]: gate and up */
    size_t ldg;
    float *cs; /* [rows][n_rot] */
    struct tf_input in, att, ffn, out;
};

/* All arrays of a step, in scratch. */
static void map(struct run *s, struct tf_arena *a, int items, int tokens,
                int rows, int threads)
{
    const struct llama *m = s->m;
    const struct block *b = &m->block[0];

    tf_map(&s->t, a, items, tokens, rows, threads);
    s->ld = tf_pad(m->dim.width);
    s->ldq = tf_pad(b->qkv.N);
    s->ldg = tf_pad(b->gate_up.N);
    s->x = tf_take_rows(a, tokens, m->dim.width);
    s->tmp = tf_take_rows(a, tokens, m->dim.width);
    s->qkv = tf_take_rows(a, tokens, b->qkv.N);
    s->gate = tf_take_rows(a, tokens, b->gate_up.N);
    s->cs = tf_take_rows(a, tokens, m->rope.n_rot);
    tf_input_map(&s->in, a, tokens, m->dim.width, m->fast);
    tf_input_map(&s->att, a, tokens, m->dim.heads * m->dim.d, m->fast);
    tf_input_map(&s->ffn, a, tokens, m->dim.inner, m->fast);
    tf_input_map(&s->out, a, rows, m->dim.width, m->output.fast);
}

static size_t llama_scratch_bytes(const void *self,
                                  const struct step_size *most)
{
    const struct llama *m = self;
    struct run s = {.m = m};
    struct tf_arena a = {0};

    s.t.spec = &m->spec;
    map(&s, &a, most->items, most->tokens[0], most->rows, most->threads);
    return a.at;
}

/* Rotary positions on the queries and keys of rows r0 .. r1-1. */
static void turn(struct run *s, const struct tf_linear *qkv, int r0, int r1)
{
    const struct llama *m = s->m;

    for (int r = r0; r < r1; r++) {
        float *row = s->qkv + (size_t)r * s->ldq;
        const float *cs = s->cs + (size_t)r * (size_t)m->rope.n_rot;

        tf_rope_row(&s->t, &m->rope, cs, m->dim.heads, m->dim.d,
                    row + qkv->at[Q]);
        tf_rope_row(&s->t, &m->rope, cs, m->dim.kv, m->dim.d, row + qkv->at[K]);
    }
}

/* x += attention(rms(x)) */
static void attend(struct run *s, int layer, int tid, int r0, int r1)
{
    const struct llama *m = s->m;
    const struct block *b = &m->block[layer];
    struct tf_attn a = {
        .layer = layer,
        .causal = 1,
        .window = m->window[layer],
        .scale = (float)(1.0 / sqrt((double)m->dim.d)),
        .q = s->qkv + b->qkv.at[Q],
        .k = s->qkv + b->qkv.at[K],
        .v = s->qkv + b->qkv.at[V],
        .ldq = s->ldq,
        .ldkv = s->ldq,
        .y = s->att.x,
        .ldy = s->att.ld,
    };

    tf_norm_rows(&s->t, &b->attn_norm, s->x, s->ld, s->in.x, s->in.ld, r0, r1);
    tf_input_ready(&s->t, &s->in, r0, r1);
    tf_sync(&s->t);
    tf_linear_run(&s->t, tid, &b->qkv, &s->in, s->qkv, s->ldq);
    tf_sync(&s->t);
    turn(s, &b->qkv, r0, r1);
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

/* x += (silu(h Wgate) * (h Wup)) Wdown, h = rms(x) */
static void feed(struct run *s, int layer, int tid, int r0, int r1)
{
    const struct block *b = &s->m->block[layer];

    tf_norm_rows(&s->t, &b->ffn_norm, s->x, s->ld, s->in.x, s->in.ld, r0, r1);
    tf_input_ready(&s->t, &s->in, r0, r1);
    tf_sync(&s->t);
    tf_linear_run(&s->t, tid, &b->gate_up, &s->in, s->gate, s->ldg);
    tf_sync(&s->t);
    for (int r = r0; r < r1; r++) {
        const float *row = s->gate + (size_t)r * s->ldg;

        s->t.k->silu_mul(s->m->dim.inner, row + b->gate_up.at[GATE],
                         row + b->gate_up.at[UP],
                         s->ffn.x + (size_t)r * s->ffn.ld);
    }
    tf_input_ready(&s->t, &s->ffn, r0, r1);
    tf_sync(&s->t);
    tf_linear_add(&s->t, tid, &b->down, &s->ffn, s->tmp, s->x, s->ld);
    tf_sync(&s->t);
}

static void run_thread(void *arg, int tid, int n)
{
    struct run *s = arg;
    const struct llama *m = s->m;
    int r0, r1;

    (void)n;
    tf_own_rows(&s->t, tid, &r0, &r1);
    for (int r = r0; r < r1; r++)
        tensor_read(m->embedding, (size_t)s->t.token[r] * (size_t)m->dim.width,
                    (size_t)m->dim.width, s->x + (size_t)r * s->ld);
    tf_rope_table(&s->t, &m->rope, s->cs, r0, r1);
    for (int i = 0; i < m->dim.layers; i++) {
        attend(s, i, tid, r0, r1);
        feed(s, i, tid, r0, r1);
    }
    tf_gather(&s->t, tid, s->t.logits, s->t.n_logits, s->x, s->ld, &m->norm,
              &s->out);
    tf_hidden(&s->t, tid, s->x, s->ld, &m->norm);
    tf_sync(&s->t);
    tf_logits(&s->t, tid, &m->output, &s->out, 0);
}

static int llama_step(const void *self, const struct exec *x, struct batch *b,
                      struct err *e)
{
    const struct llama *m = self;
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

static const char *const ALIASES[] = {"mistral", "qwen2", NULL};

const struct model_arch llama_arch = {
    .name = "llama",
    .aliases = ALIASES,
    .load = llama_load,
    .unload = llama_unload,
    .scratch_bytes = llama_scratch_bytes,
    .step = llama_step,
};
