/* gemma3: decoders of the Gemma 3 family, text only. A block, x the residual
 * stream, n1 to n4 RMSNorms:
 *
 *   h = n1(x);  q, k, v = h Wq, h Wk, h Wv;  q and k normed per head, turned
 *   x = x + n2(attention(q, k, v) Wo)
 *   h = n3(x);  x = x + n4((gelu(h Wgate) * (h Wup)) Wdown)
 *
 * The embedding is scaled by sqrt(width) and is the output matrix, too. Five
 * layers look back over a window and turn by one rotary base, each sixth sees
 * all and turns by another. Norm weights are 1 + w in Hugging Face's files and
 * stored as such in GGUF. Scores are scaled by query_pre_attn_scalar, which
 * need not be the head's size.
 *
 * Immutable after load; step runs on the threads of the pool. Its phases are
 * those of transformer.h.
 *
 * Source: Gemma Team 2025 (Gemma 3).
 *
 * SPDX-License-Identifier: MIT */
#include "models/transformer/gemma3.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "engine/base/mem.h"
#include "models/transformer/names.h"

enum { Q, K, V, QKV };
enum { GATE, UP, GATE_UP };
enum { LOCAL, GLOBAL, KINDS };

struct block {
    struct tf_norm attn_norm, attn_post, ffn_norm, ffn_post, q_norm, k_norm;
    struct tf_linear qkv, out, gate_up, down;
};

struct gemma3 {
    struct tf_spec spec;
    struct names_dims dim;
    const struct tensor *embedding;
    struct block *block;
    struct tf_norm norm;
    struct tf_linear output;
    struct tf_rope rope[KINDS];
    int window[TF_MAX_LAYERS]; /* 0: a global layer */
    double query_scalar, attn_cap, final_cap;
    int tied, fast;
    char summary[96];
};

static const struct name EMBEDDING = {"embed_tokens", "token_embd"},
                         NORM = {"norm", "output_norm"},
                         HEAD = {"lm_head", "output"},
                         ATTN_NORM = {"input_layernorm", "attn_norm"},
                         ATTN_POST = {"post_attention_layernorm",
                                      "post_attention_norm"},
                         FFN_NORM = {"pre_feedforward_layernorm", "ffn_norm"},
                         FFN_POST = {"post_feedforward_layernorm",
                                     "post_ffw_norm"},
                         Q_NORM = {"self_attn.q_norm", "attn_q_norm"},
                         K_NORM = {"self_attn.k_norm", "attn_k_norm"},
                         PROJ[QKV] = {{"self_attn.q_proj", "attn_q"},
                                      {"self_attn.k_proj", "attn_k"},
                                      {"self_attn.v_proj", "attn_v"}},
                         OUT = {"self_attn.o_proj", "attn_output"},
                         GATED[GATE_UP] = {{"mlp.gate_proj", "ffn_gate"},
                                           {"mlp.up_proj", "ffn_up"}},
                         DOWN = {"mlp.down_proj", "ffn_down"};

static const char *const IGNORED[] = {"rotary_emb.inv_freq", NULL};
static const char *const REFUSED[] = {
    "quantization_config", "attention_bias", "use_bidirectional_attention",
    "vision_config",       "text_config",    NULL};
static const char *const ACTS[] = {"gelu_pytorch_tanh", "gelu_tanh", NULL};

/* --- config.json, or the metadata of a GGUF file --- */

static int read_windows(struct gemma3 *m, const struct names *n, struct err *e)
{
    static const struct name K_WINDOW = {"sliding_window",
                                         "attention.sliding_window"},
                             K_EVERY = {"sliding_window_pattern",
                                        "attention.sliding_window_pattern"},
                             K_OLD = {"_sliding_window_pattern", NULL};
    int width, every = 6, rc;

    if (names_int(n, K_WINDOW, 1, NAMES_MAX_LENGTH, n->gguf ? -1 : 4096, &width,
                  e))
        return -1;
    rc = names_layer_types(n, m->dim.layers, width, m->window, e);
    if (rc)
        return rc < 0 ? -1 : 0;
    if ((!n->gguf && names_int(n, K_OLD, 1, TF_MAX_LAYERS, 6, &every, e)) ||
        names_int(n, K_EVERY, 1, TF_MAX_LAYERS, every, &every, e))
        return -1;
    for (int i = 0; i < m->dim.layers; i++)
        m->window[i] = (i + 1) % every ? width : 0;
    return 0;
}

/* The largest model of the family is the one whose scores are not scaled by
 * the head's size; GGUF does not store the number. */
#define LARGEST_LAYERS 62

static int read_scores(struct gemma3 *m, const struct names *n, struct err *e)
{
    static const struct name SCALAR = {"query_pre_attn_scalar",
                                       "attention.query_pre_attn_scalar"},
                             CAP = {"attn_logit_softcapping",
                                    "attn_logit_softcapping"},
                             FINAL = {"final_logit_softcapping",
                                      "final_logit_softcapping"};
    double dflt = 256;

    if (n->gguf)
        dflt = m->dim.layers == LARGEST_LAYERS
                   ? (double)m->dim.width / m->dim.heads
                   : m->dim.d;
    return names_float(n, SCALAR, 1e-6, 1e9, dflt, &m->query_scalar, e) ||
           names_float(n, CAP, 0, 1e9, 0, &m->attn_cap, e) ||
           names_float(n, FINAL, 0, 1e9, 0, &m->final_cap, e);
}

/* Scaling is for the global layers, but where the file states both. */
static int read_ropes(struct gemma3 *m, const struct names *n, struct err *e)
{
    static const struct name LOCAL_BASE = {"rope_local_base_freq",
                                           "rope.freq_base_swa"};
    struct tf_rope_spec s[KINDS];
    int d = m->dim.d;

    if (hparams_has(n->h, "rope_parameters.full_attention")) {
        if (names_read_rope(n, "rope_parameters.full_attention", "rope_theta",
                            1e6, d, &s[GLOBAL], e) ||
            names_read_rope(n, "rope_parameters.sliding_attention",
                            "rope_local_base_freq", 1e4, d, &s[LOCAL], e))
            return -1;
    } else {
        if (names_read_rope(n, "rope_scaling", "rope_theta", 1e6, d, &s[GLOBAL],
                            e))
            return -1;
        s[LOCAL] = s[GLOBAL];
        s[LOCAL].scaling = ROPE_PLAIN;
        if (names_float(n, LOCAL_BASE, 1, 1e12, 1e4, &s[LOCAL].base, e))
            return -1;
    }
    return tf_rope_init(&m->rope[LOCAL], &s[LOCAL], e) ||
           tf_rope_init(&m->rope[GLOBAL], &s[GLOBAL], e);
}

static int read_config(struct gemma3 *m, const struct names *n, struct err *e)
{
    int act;

    if (names_refuse(n, REFUSED, e) ||
        (!n->gguf && hparams_choice(n->h, "hidden_activation", ACTS,
                                    "gelu_pytorch_tanh", &act, e)) ||
        names_read_dims(n, -1, 256, &m->dim, e) ||
        names_read_tied(n, 1, &m->tied, e) || read_windows(m, n, e) ||
        read_scores(m, n, e) || read_ropes(m, n, e))
        return -1;
    return 0;
}

/* --- tensors --- */

static int load_norm(struct gemma3 *m, const struct names *n, const char *name,
                     int size, struct tf_norm *out, struct err *e)
{
    return tf_norm_load(n->w, name, NULL, size, 1, m->dim.eps, !n->gguf, out,
                        e);
}

static int load_norms(struct gemma3 *m, struct names *n, int i, struct err *e)
{
    struct block *b = &m->block[i];
    struct {
        const struct name *part;
        int size;
        struct tf_norm *out;
    } list[] = {
        {&ATTN_NORM, m->dim.width, &b->attn_norm},
        {&ATTN_POST, m->dim.width, &b->attn_post},
        {&FFN_NORM, m->dim.width, &b->ffn_norm},
        {&FFN_POST, m->dim.width, &b->ffn_post},
        {&Q_NORM, m->dim.d, &b->q_norm},
        {&K_NORM, m->dim.d, &b->k_norm},
    };
    char name[NAMES_BYTES];

    for (size_t p = 0; p < sizeof list / sizeof list[0]; p++) {
        names_block(n, i, *list[p].part, "weight", name);
        if (load_norm(m, n, name, list[p].size, list[p].out, e))
            return -1;
    }
    return 0;
}

static int load_block(struct gemma3 *m, struct names *n,
                      const struct load_opts *o, int i, struct err *e)
{
    struct block *b = &m->block[i];
    char name[QKV][NAMES_BYTES];
    int heads[QKV] = {m->dim.heads, m->dim.kv, m->dim.kv};
    struct tf_part part[QKV] = {{0}}, one = {.N = m->dim.width};

    if (load_norms(m, n, i, e))
        return -1;
    for (int p = 0; p < QKV; p++) {
        part[p].N = heads[p] * m->dim.d;
        part[p].name = names_block(n, i, PROJ[p], "weight", name[p]);
    }
    if (tf_linear_load(n->w, o, part, QKV, m->dim.width, &b->qkv, e))
        return -1;
    for (int p = 0; p < GATE_UP; p++) {
        part[p].N = m->dim.inner;
        part[p].name = names_block(n, i, GATED[p], "weight", name[p]);
    }
    if (tf_linear_load(n->w, o, part, GATE_UP, m->dim.width, &b->gate_up, e))
        return -1;
    one.name = names_block(n, i, OUT, "weight", name[0]);
    if (tf_linear_load(n->w, o, &one, 1, m->dim.heads * m->dim.d, &b->out, e))
        return -1;
    one.name = names_block(n, i, DOWN, "weight", name[0]);
    if (tf_linear_load(n->w, o, &one, 1, m->dim.inner, &b->down, e))
        return -1;
    m->fast |= b->qkv.fast | b->out.fast | b->gate_up.fast | b->down.fast;
    return 0;
}

static int load_tensors(struct gemma3 *m, struct names *n,
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
    if (load_norm(m, n, names_tensor(n, NORM, "weight", name), m->dim.width,
                  &m->norm, e))
        return -1;
    out.name = names_head(n, HEAD, EMBEDDING, m->tied, name);
    if (tf_linear_load(n->w, o, &out, 1, m->dim.width, &m->output, e))
        return -1;
    m->fast |= m->output.fast;
    return names_all_read(n, IGNORED, e);
}

/* --- what the engine is told --- */

static void fill_spec(struct gemma3 *m)
{
    const struct names_dims *d = &m->dim;
    double attn = 2.0 * (d->heads + d->kv) * d->d, inner = 3.0 * d->inner;

    m->spec = (struct tf_spec){
        .n_vocab = d->vocab,
        .max_len = d->context,
        .wants = 1u << OUT_LOGITS | 1u << OUT_HIDDEN | 1u << OUT_ATTENTION,
        .width = d->width,
        .n_layers = d->layers,
        .n_phases = 11 * d->layers + 3,
        .token_macs = (attn + inner) * d->width * d->layers,
        .row_macs = (double)d->vocab * d->width,
        .n_heads = d->heads,
        .n_kv = d->kv,
        .d = d->d,
        .n_logits = d->vocab,
    };
}

static size_t held_bytes(const struct gemma3 *m)
{
    size_t n = sizeof *m + tf_linear_bytes(&m->output);

    n += (size_t)m->dim.layers *
         (sizeof *m->block + 5 * tf_pad(m->dim.width) * sizeof(float));
    for (int i = 0; i < m->dim.layers; i++) {
        const struct block *b = &m->block[i];

        n += tf_linear_bytes(&b->qkv) + tf_linear_bytes(&b->out) +
             tf_linear_bytes(&b->gate_up) + tf_linear_bytes(&b->down);
    }
    return n;
}

static void gemma3_layout(const struct gemma3 *m, struct state_layout *out);

static void fill_info(struct gemma3 *m, const struct names *n,
                      struct model_info *info)
{
    snprintf(m->summary, sizeof m->summary, "gemma3 %dx%d, %d heads, %d kv",
             m->dim.width, m->dim.layers, m->dim.heads, m->dim.kv);
    gemma3_layout(m, &info->state);
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

static void free_block(struct block *b)
{
    tf_norm_fini(&b->attn_norm);
    tf_norm_fini(&b->attn_post);
    tf_norm_fini(&b->ffn_norm);
    tf_norm_fini(&b->ffn_post);
    tf_norm_fini(&b->q_norm);
    tf_norm_fini(&b->k_norm);
    tf_linear_fini(&b->qkv);
    tf_linear_fini(&b->out);
    tf_linear_fini(&b->gate_up);
    tf_linear_fini(&b->down);
}

static void gemma3_unload(void *self)
{
    struct gemma3 *m = self;

    for (int i = 0; m->block && i < m->dim.layers; i++)
        free_block(&m->block[i]);
    mem_free(m->block);
    tf_norm_fini(&m->norm);
    tf_linear_fini(&m->output);
    tf_rope_fini(&m->rope[LOCAL]);
    tf_rope_fini(&m->rope[GLOBAL]);
    mem_free(m);
}

static int gemma3_load(const struct load_opts *o, struct checkpoint *c,
                       struct model_info *info, void **self, struct err *e)
{
    struct weights *w = checkpoint_weights(c, e);
    const struct hparams *h = checkpoint_hparams(c, e);
    struct gemma3 *m = mem_zalloc(sizeof *m);
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
        gemma3_unload(m);
    }
    names_close(&n);
    return rc ? -1 : 0;
}

static void gemma3_layout(const struct gemma3 *m, struct state_layout *out)
{
    int widest = 0;

    for (int i = 0; i < m->dim.layers; i++) {
        if (!m->window[i]) { /* a layer that sees all */
            widest = 0;
            break;
        }
        widest = m->window[i] > widest ? m->window[i] : widest;
    }
    tf_attn_layout(&m->spec, widest, out);
}

/* --- a step --- */

struct run {
    struct tf_run t;
    const struct gemma3 *m;
    size_t ld;  /* of x, tmp */
    float *x;   /* [rows][ld] residual stream */
    float *tmp; /* [rows][ld] */
    float *qkv; /* [rows][ldq] */
    size_t ldq;
    float *gate; /* [rows][ldg]: gate and up */
    size_t ldg;
    float *cs[KINDS]; /* [rows][n_rot] */
    struct tf_input in, att, ffn, out;
};

/* All arrays of a step, in scratch. */
static void map(struct run *s, struct tf_arena *a, int items, int tokens,
                int rows, int threads)
{
    const struct gemma3 *m = s->m;
    const struct block *b = &m->block[0];

    tf_map(&s->t, a, items, tokens, rows, threads);
    s->ld = tf_pad(m->dim.width);
    s->ldq = tf_pad(b->qkv.N);
    s->ldg = tf_pad(b->gate_up.N);
    s->x = tf_take_rows(a, tokens, m->dim.width);
    s->tmp = tf_take_rows(a, tokens, m->dim.width);
    s->qkv = tf_take_rows(a, tokens, b->qkv.N);
    s->gate = tf_take_rows(a, tokens, b->gate_up.N);
    for (int i = 0; i < KINDS; i++)
        s->cs[i] = tf_take_rows(a, tokens, m->rope[i].n_rot);
    tf_input_map(&s->in, a, tokens, m->dim.width, m->fast);
    tf_input_map(&s->att, a, tokens, m->dim.heads * m->dim.d, m->fast);
    tf_input_map(&s->ffn, a, tokens, m->dim.inner, m->fast);
    tf_input_map(&s->out, a, rows, m->dim.width, m->output.fast);
}

static size_t gemma3_scratch_bytes(const void *self,
                                   const struct step_size *most)
{
    const struct gemma3 *m = self;
    struct run s = {.m = m};
    struct tf_arena a = {0};

    s.t.spec = &m->spec;
    map(&s, &a, most->items, most->tokens[0], most->rows, most->threads);
    return a.at;
}

static void embed(struct run *s, int r0, int r1)
{
    const struct gemma3 *m = s->m;
    size_t E = (size_t)m->dim.width;
    float scale = sqrtf((float)m->dim.width);

    for (int r = r0; r < r1; r++) {
        float *x = s->x + (size_t)r * s->ld;

        tensor_read(m->embedding, (size_t)s->t.token[r] * E, E, x);
        s->t.k->scale(m->dim.width, scale, x);
    }
    for (int i = 0; i < KINDS; i++)
        tf_rope_table(&s->t, &m->rope[i], s->cs[i], r0, r1);
}

/* Norm and rotary positions of the heads of rows r0 .. r1-1, in place. */
static void turn(struct run *s, int layer, int r0, int r1)
{
    const struct gemma3 *m = s->m;
    const struct block *b = &m->block[layer];
    int kind = m->window[layer] ? LOCAL : GLOBAL, d = m->dim.d;
    const struct tf_rope *rope = &m->rope[kind];

    for (int r = r0; r < r1; r++) {
        const float *cs = s->cs[kind] + (size_t)r * (size_t)rope->n_rot;
        float *q = s->qkv + (size_t)r * s->ldq + b->qkv.at[Q];
        float *k = s->qkv + (size_t)r * s->ldq + b->qkv.at[K];

        for (int i = 0; i < m->dim.heads; i++)
            s->t.k->rms_norm(d, q + i * d, b->q_norm.w, b->q_norm.eps,
                             q + i * d);
        for (int i = 0; i < m->dim.kv; i++)
            s->t.k->rms_norm(d, k + i * d, b->k_norm.w, b->k_norm.eps,
                             k + i * d);
        tf_rope_row(&s->t, rope, cs, m->dim.heads, d, q);
        tf_rope_row(&s->t, rope, cs, m->dim.kv, d, k);
    }
}

/* x += norm(tmp), rows r0 .. r1-1. */
static void add_normed(struct run *s, const struct tf_norm *norm, int r0,
                       int r1)
{
    tf_norm_rows(&s->t, norm, s->tmp, s->ld, s->tmp, s->ld, r0, r1);
    for (int r = r0; r < r1; r++)
        s->t.k->add_to(s->m->dim.width, s->tmp + (size_t)r * s->ld,
                       s->x + (size_t)r * s->ld);
}

/* x += n2(attention(n1(x)) Wo) */
static void attend(struct run *s, int layer, int tid, int r0, int r1)
{
    const struct gemma3 *m = s->m;
    const struct block *b = &m->block[layer];
    struct tf_attn a = {
        .layer = layer,
        .causal = 1,
        .window = m->window[layer],
        .scale = (float)(1.0 / sqrt(m->query_scalar)),
        .cap = (float)m->attn_cap,
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
    turn(s, layer, r0, r1);
    tf_attn_store(&s->t, &a, r0, r1);
    tf_sync(&s->t);
    tf_attn_run(&s->t, tid, &a);
    tf_sync(&s->t);
    if (s->att.fast) {
        tf_input_ready(&s->t, &s->att, r0, r1);
        tf_sync(&s->t);
    }
    tf_linear_run(&s->t, tid, &b->out, &s->att, s->tmp, s->ld);
    tf_sync(&s->t);
    add_normed(s, &b->attn_post, r0, r1);
}

/* x += n4((gelu(h Wgate) * (h Wup)) Wdown), h = n3(x) */
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

        s->t.k->gelu_mul(s->m->dim.inner, row + b->gate_up.at[GATE],
                         row + b->gate_up.at[UP],
                         s->ffn.x + (size_t)r * s->ffn.ld);
    }
    tf_input_ready(&s->t, &s->ffn, r0, r1);
    tf_sync(&s->t);
    tf_linear_run(&s->t, tid, &b->down, &s->ffn, s->tmp, s->ld);
    tf_sync(&s->t);
    add_normed(s, &b->ffn_post, r0, r1);
}

static void run_thread(void *arg, int tid, int n)
{
    struct run *s = arg;
    const struct gemma3 *m = s->m;
    int r0, r1;

    (void)n;
    tf_own_rows(&s->t, tid, &r0, &r1);
    embed(s, r0, r1);
    for (int i = 0; i < m->dim.layers; i++) {
        attend(s, i, tid, r0, r1);
        feed(s, i, tid, r0, r1);
    }
    tf_sync(&s->t);
    tf_gather(&s->t, tid, s->t.logits, s->t.n_logits, s->x, s->ld, &m->norm,
              &s->out);
    tf_hidden(&s->t, tid, s->x, s->ld, &m->norm);
    tf_sync(&s->t);
    tf_logits(&s->t, tid, &m->output, &s->out, (float)m->final_cap);
}

static int gemma3_step(const void *self, const struct exec *x, struct batch *b,
                       struct err *e)
{
    const struct gemma3 *m = self;
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

static const char *const ALIASES[] = {"gemma3_text", NULL};

const struct model_arch gemma3_arch = {
    .name = "gemma3",
    .aliases = ALIASES,
    .load = gemma3_load,
    .unload = gemma3_unload,
    .scratch_bytes = gemma3_scratch_bytes,
    .step = gemma3_step,
};
