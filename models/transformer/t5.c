/* t5: T5 (Raffel et al. 2020), its version 1.1 and FLAN-T5 (Chung et al. 2022),
 * and mT5 (Xue et al. 2021): encoder-decoders without biases, RMSNorm in front
 * of each part, no positions but what each head adds to the score of a key by
 * how far it is (near.h; the same in all layers of a stack, and not in cross
 * attention), scores that are not scaled, ReLU, or a gate of GELU (Shazeer
 * 2020). Of the source x, and of the target y, each token of which sees those
 * before it:
 *
 *   h = rms(x) w;  x = x + attention(h Wq, h Wk, h Wv) Wo       y likewise
 *   h = rms(y) w;  y = y + attention(h Wq', s Wk', s Wv') Wo'   s the source's
 *                                                               rms(x) w
 *   h = rms(x) w;  x = x + relu(h Wup) Wdown                    y likewise
 *              or  x = x + (gelu(h Wgate) * (h Wup)) Wdown
 *
 * and logits = rms(y) w Wout, or over the embedding rms(y) w E / sqrt(width).
 *
 * SPDX-License-Identifier: MIT */
#include <math.h>
#include <string.h>

#include "models/transformer/near.h"

enum {
    NORM_SELF,
    QKV,
    OUT,
    NORM_CROSS,
    CROSS_Q,
    CROSS_KV,
    CROSS_OUT,
    NORM_FFN,
    UP,
    DOWN
};
enum { PLAIN = 2, GATED = 4 };
#define QUERIES MORE_ROWS   /* of a target */
#define SOURCE_KV MORE_ROWS /* of a source */

static const struct tensor_row TARGET_TOP[] = {
    {EMBEDDING, "shared", .n = VOCAB, .k = WIDTH, .how = TABLE},
    {FINAL_NORM, "decoder.final_layer_norm", .n = WIDTH},
    {OUTPUT, "lm_head", .n = VOCAB, .k = WIDTH},
    TENSORS_END};
static const struct tensor_row SOURCE_TOP[] = {
    {EMBEDDING, "shared", .n = VOCAB, .k = WIDTH, .how = TABLE},
    {FINAL_NORM, "encoder.final_layer_norm", .n = WIDTH},
    TENSORS_END};

#define SELF "layer.0.SelfAttention"
#define CROSS "layer.1.EncDecAttention"
#define SELF_ROWS                                                              \
    {NORM_SELF, "layer.0.layer_norm", .n = WIDTH},                             \
        {QKV, SELF ".q", .n = HEADS_DIM, .k = WIDTH},                          \
        {QKV, SELF ".k", .n = HEADS_DIM, .k = WIDTH},                          \
        {QKV, SELF ".v", .n = HEADS_DIM, .k = WIDTH},                          \
    {                                                                          \
        OUT, SELF ".o", .n = WIDTH, .k = HEADS_DIM                             \
    }
#define FFN_ROWS(layer)                                                        \
    {NORM_FFN, layer ".layer_norm", .n = WIDTH},                               \
        {UP, layer ".DenseReluDense.wi", .n = INNER, .k = WIDTH,               \
         .when = PLAIN},                                                       \
        {UP, layer ".DenseReluDense.wi_0", .n = INNER, .k = WIDTH,             \
         .when = GATED},                                                       \
        {UP, layer ".DenseReluDense.wi_1", .n = INNER, .k = WIDTH,             \
         .when = GATED},                                                       \
    {                                                                          \
        DOWN, layer ".DenseReluDense.wo", .n = WIDTH, .k = INNER               \
    }

static const struct tensor_row SOURCE_BLOCK[] = {SELF_ROWS, FFN_ROWS("layer.1"),
                                                 TENSORS_END};
static const struct tensor_row BLOCK[] = {
    SELF_ROWS,
    {NORM_CROSS, "layer.1.layer_norm", .n = WIDTH},
    {CROSS_Q, CROSS ".q", .n = HEADS_DIM, .k = WIDTH},
    {CROSS_KV, CROSS ".k", .n = HEADS_DIM, .k = WIDTH},
    {CROSS_KV, CROSS ".v", .n = HEADS_DIM, .k = WIDTH},
    {CROSS_OUT, CROSS ".o", .n = WIDTH, .k = HEADS_DIM},
    FFN_ROWS("layer.2"),
    TENSORS_END};

/* One matrix under several names, and a table of old files that no layer
 * reads. */
static const char *const IGNORED[] = {
    ".embed_tokens.weight", "lm_head.weight",
    "EncDecAttention.relative_attention_bias.weight", NULL};

/* --- config.json --- */

struct t5 {
    enum tf_act act;
    float scale; /* 0, or of what the tied head reads */
};

static const struct names_key KEYS[] = {
    {VOCAB, "vocab_size", NULL},      {WIDTH, "d_model", NULL},
    {LAYERS, "num_layers", NULL},     {HEADS, "num_heads", NULL},
    {HEAD_DIM, "d_kv", NULL},         {INNER, "d_ff", NULL},
    {POSITIONS, "n_positions", NULL}, KEYS_END};

/* Names of activations; "gated-" in front of feed_forward_proj's: a gate. */
static const char *const ACTS[] = {"relu", "gelu",  "gelu_new",
                                   "silu", "swish", NULL};
static const enum tf_act ACT_OF[] = {RELU, GELU, GELU_TANH, SILU, SILU};
enum { N_ACTS = sizeof ACT_OF / sizeof *ACT_OF };

/* What feed_forward_proj says; dense_act_fn and is_gated_act, which
 * transformers makes of it and writes, too, come before it as there. */
static int read_act(struct stack *s, const struct names *n, int mt5,
                    struct err *e)
{
    static const char *const projs[] = {
        "relu",       "gelu",        "gelu_new",   "silu",
        "swish",      "gated-relu",  "gated-gelu", "gated-gelu_new",
        "gated-silu", "gated-swish", NULL};
    struct t5 *m = s->own;
    int proj, act, gated;

    if (names_choice(n, "feed_forward_proj", projs, mt5 ? "gated-gelu" : "relu",
                     &proj, e))
        return -1;
    act = proj % N_ACTS;
    if (strcmp(projs[proj], "gated-gelu") == 0)
        act++; /* as old files mean it */
    if (names_choice(n, "dense_act_fn", ACTS, ACTS[act], &act, e) ||
        hparams_bool_or(n->h, "is_gated_act", proj >= N_ACTS, &gated, e))
        return -1;
    m->act = ACT_OF[act];
    s->has |= gated ? GATED : PLAIN;
    return 0;
}

/* Where config.json leaves them out: those of T5Config. Any position could be
 * computed, but the training knew so many. */
static void set_defaults(struct stack *s)
{
    s->dim[HEAD_DIM] = 64;
    s->dim[POSITIONS] = 512;
    s->scale = 1.0;
}

static int read_config(struct stack *s, struct names *n, struct err *e)
{
    static const struct name EPS = {"layer_norm_epsilon", NULL},
                             LAYERS_KEY = {"num_decoder_layers", NULL};
    struct near_form near = {.both = s->target != NULL};
    struct t5 *m = s->own;
    int both = 1, mt5 = strcmp(n->type, "mt5") == 0;

    set_defaults(s);
    if (names_dims(n, KEYS, s, e) || read_act(s, n, mt5, e) ||
        names_float(n, EPS, 0, 1, 1e-6, &s->eps, e) ||
        names_read_tied(n, !mt5, &s->tied, e) ||
        hparams_bool_or(n->h, "is_encoder_decoder", 1, &both, e) ||
        near_read_form(n, &near, e))
        return -1;
    if (!both)
        return err_set(e, ERR_UNSUPPORTED,
                       "%s: config.json: 'is_encoder_decoder' is false, which "
                       "this program does not have of %.40s",
                       n->label, n->type);
    if (!s->target && names_int(n, LAYERS_KEY, 1, TF_MAX_LAYERS, s->dim[LAYERS],
                                &s->dim[LAYERS], e))
        return -1;
    m->scale = s->tied ? (float)pow((double)s->dim[WIDTH], -0.5) : 0.0f;
    return near_read(s, n, &near,
                     s->target
                         ? "encoder.block.0." SELF ".relative_attention_bias"
                         : "decoder.block.0." SELF ".relative_attention_bias",
                     e);
}

/* --- a step --- */

static void look(struct tf *t, const struct weight *w, const struct attend *a)
{
    norm(t, w, NORM_SELF, X, IN);
    linear(t, w, QKV, IN, QKV_ROWS);
    attend(t, a, QKV_ROWS, ATT);
    linear_add(t, w, OUT, ATT, X);
}

static void feed(struct tf *t, const struct weight *w)
{
    const struct stack *s = tf_stack(t);
    const struct t5 *m = s->own;

    norm(t, w, NORM_FFN, X, IN);
    if (s->has & GATED) {
        linear(t, w, UP, IN, GATE);
        gate(t, m->act, GATE, FFN);
    } else {
        linear(t, w, UP, IN, FFN);
        activate(t, m->act, FFN);
    }
    linear_add(t, w, DOWN, FFN, X);
}

static void source_block(struct tf *t, const struct weight *w, int i)
{
    look(t, w, &(struct attend){.layer = i});
    feed(t, w);
}

static void source_head(struct tf *t)
{
    const struct stack *s = tf_stack(t);

    norm(t, s->top, FINAL_NORM, X, IN);
    for (int i = 0; i < s->target->dim[LAYERS]; i++) {
        linear(t, tf_reader(t, i), CROSS_KV, IN, SOURCE_KV);
        keep(t, i, SOURCE_KV);
    }
}

static void block(struct tf *t, const struct weight *w, int i)
{
    look(t, w, &(struct attend){.layer = i, .causal = 1});
    norm(t, w, NORM_CROSS, X, IN);
    linear(t, w, CROSS_Q, IN, QUERIES);
    attend(t, &(struct attend){.layer = i, .source = 1}, QUERIES, ATT);
    linear_add(t, w, CROSS_OUT, ATT, X);
    feed(t, w);
}

static void head(struct tf *t)
{
    const struct t5 *m = tf_stack(t)->own;

    gather(t, LOGITS, FINAL_NORM, X, TOP);
    answer_hidden(t, FINAL_NORM, X);
    if (m->scale > 0.0f)
        scale(t, m->scale, TOP);
    answer_logits(t, OUTPUT, TOP, 0);
}

static const struct stack_kind source_kind = {.prefix = "",
                                              .layers = "encoder.block.",
                                              .top = SOURCE_TOP,
                                              .block = SOURCE_BLOCK,
                                              .rms = 1,
                                              .whole = 1,
                                              .own_bytes = sizeof(struct t5),
                                              .read_config = read_config,
                                              .run = source_block,
                                              .head = source_head};

const struct stack_kind t5_kind = {.prefix = "",
                                   .layers = "decoder.block.",
                                   .top = TARGET_TOP,
                                   .block = BLOCK,
                                   .ignored = IGNORED,
                                   .rms = 1,
                                   .source = &source_kind,
                                   .own_bytes = sizeof(struct t5),
                                   .read_config = read_config,
                                   .run = block,
                                   .head = head};
