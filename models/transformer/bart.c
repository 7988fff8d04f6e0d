/* bart: encoder-decoders of "Attention is all you need" (Vaswani et al. 2017)
 * as BART (Lewis et al. 2020) has them: learned positions from row 2 of their
 * table on, a norm behind the embedding, GELU, a norm behind each sum; and
 * mBART (Liu et al. 2020), with norms before each part. Of the source x, whole,
 * and of the target y, each token of which sees those before it:
 *
 *   x = norm(word + position)                            y likewise
 *   x = norm(x + attention(x Wq, x Wk, x Wv) Wo)         each layer, all with b
 *   x = norm(x + act(x Wup) Wdown)
 *
 *   y = norm(y + attention(y Wq, y Wk, y Wv) Wo)
 *   y = norm(y + attention(y Wq', x Wk', x Wv') Wo')     x of the last layer
 *   y = norm(y + act(y Wup) Wdown)
 *
 * and logits = y Wout + b, Wout mostly the embedding. What x Wk' and x Wv' are
 * does not depend on y: the source keeps them, for each layer of the target.
 *
 * SPDX-License-Identifier: MIT */
#include "models/transformer/bart.h"

#include <math.h>
#include <string.h>

enum {
    QKV,
    OUT,
    NORM_SELF,
    CROSS_KV,
    CROSS_Q,
    CROSS_OUT,
    NORM_CROSS,
    UP,
    DOWN,
    NORM_FFN
};
#define QUERIES MORE_ROWS   /* of a target */
#define SOURCE_KV MORE_ROWS /* of a source */
#define FREE_PLACES 2       /* rows of a table of positions that none has */

#define TOP_OF(side)                                                           \
    {EMBEDDING, "shared", NULL, VOCAB, WIDTH, .when = SHARED, .how = TABLE},   \
        {EMBEDDING, side ".embed_tokens", NULL,        EMBED_ROWS,             \
         WIDTH,     .when = SEPARATE,     .how = TABLE},                       \
        {EMBED_POSITION, side ".embed_positions", NULL,        POSITIONS,      \
         WIDTH,          .when = LEARNED,         .how = TABLE},               \
        {EMBED_NORM,     side ".layernorm_embedding", NULL, WIDTH,             \
         .bias = ALWAYS, .when = EMBED_BASE},                                  \
    {                                                                          \
        FINAL_NORM, side ".layer_norm", NULL, WIDTH, .bias = ALWAYS,           \
                                                     .when = BEFORE            \
    }

const struct tensor_row bart_source_top[] = {TOP_OF("encoder"), TENSORS_END};
const struct tensor_row bart_top[] = {TOP_OF("decoder"),
                                      {OUTPUT, "lm_head", NULL, VOCAB, WIDTH,
                                       .bias = LOGIT_BIAS, .how = BARE,
                                       .hf_bias = "final_logits_bias"},
                                      TENSORS_END};

#define LINEAR(part, name, n, k)                                               \
    {                                                                          \
        part, name, NULL, n, k, .bias = ALWAYS                                 \
    }
#define SELF_AND_FFN                                                           \
    LINEAR(QKV, "self_attn.q_proj", HEADS_DIM, WIDTH),                         \
        LINEAR(QKV, "self_attn.k_proj", HEADS_DIM, WIDTH),                     \
        LINEAR(QKV, "self_attn.v_proj", HEADS_DIM, WIDTH),                     \
        LINEAR(OUT, "self_attn.out_proj", WIDTH, HEADS_DIM),                   \
        LINEAR(NORM_SELF, "self_attn_layer_norm", WIDTH, NO_DIM),              \
        LINEAR(UP, "fc1", INNER, WIDTH), LINEAR(DOWN, "fc2", WIDTH, INNER),    \
        LINEAR(NORM_FFN, "final_layer_norm", WIDTH, NO_DIM)

const struct tensor_row bart_source_block[] = {SELF_AND_FFN, TENSORS_END};
const struct tensor_row bart_block[] = {
    SELF_AND_FFN,
    LINEAR(CROSS_KV, "encoder_attn.k_proj", HEADS_DIM, WIDTH),
    LINEAR(CROSS_KV, "encoder_attn.v_proj", HEADS_DIM, WIDTH),
    LINEAR(CROSS_Q, "encoder_attn.q_proj", HEADS_DIM, WIDTH),
    LINEAR(CROSS_OUT, "encoder_attn.out_proj", WIDTH, HEADS_DIM),
    LINEAR(NORM_CROSS, "encoder_attn_layer_norm", WIDTH, NO_DIM),
    TENSORS_END};

/* --- config.json --- */

struct bart {
    enum tf_act act;
    float times; /* 0, or the embedding is multiplied by it */
};
_Static_assert(sizeof(struct bart) <= BART_OWN, "BART_OWN");

static const struct names_key KEYS[] = {
    {VOCAB, "vocab_size", NULL},
    {WIDTH, "d_model", NULL},
    {LAYERS, "decoder_layers", NULL},
    {HEADS, "decoder_attention_heads", NULL},
    {INNER, "decoder_ffn_dim", NULL},
    {POSITIONS, "max_position_embeddings", NULL},
    KEYS_END};
static const struct names_key SOURCE_KEYS[] = {
    {VOCAB, "vocab_size", NULL},
    {WIDTH, "d_model", NULL},
    {LAYERS, "encoder_layers", NULL},
    {HEADS, "encoder_attention_heads", NULL},
    {INNER, "encoder_ffn_dim", NULL},
    {POSITIONS, "max_position_embeddings", NULL},
    KEYS_END};

static int read_act(struct bart *m, const struct names *n, struct err *e)
{
    static const char *const names[] = {
        "gelu", "gelu_new", "gelu_pytorch_tanh", "relu", "swish", "silu", NULL};
    static const enum tf_act acts[] = {GELU, GELU_TANH, GELU_TANH,
                                       RELU, SILU,      SILU};
    int act,
        rc = names_choice(n, "activation_function", names, "gelu", &act, e);

    m->act = acts[act];
    return rc;
}

/* Two vocabularies: VOCAB is a decoder's own. transformers makes its table as
 * long as the source's, and leaves it so unless it is resized. */
static int read_vocabulary(struct stack *s, const struct names *n,
                           struct err *e)
{
    static const struct name TARGETS = {"decoder_vocab_size", NULL};
    static const struct tensor_row TABLE_ROW = {.hf = "decoder.embed_tokens"};
    int *dim = s->dim, sources = dim[VOCAB];

    dim[EMBED_ROWS] = sources;
    if (!(s->has & SEPARATE) || s->target)
        return 0;
    if (names_int(n, TARGETS, 1, 1 << 24, sources, &dim[VOCAB], e))
        return -1;
    if (s->tied || sources < dim[VOCAB] || names_rows(n, &TABLE_ROW) != sources)
        dim[EMBED_ROWS] = dim[VOCAB];
    return 0;
}

int bart_read(struct stack *s, struct names *n, struct err *e)
{
    static const struct tensor_row ANY = {.hf = "decoder.layers.0.fc1"};
    struct bart *m = s->own;
    int scaled, both = 1;

    names_set_prefix(n, "model.", s->kind->layers, &ANY);
    s->eps = 1e-5; /* that of PyTorch's LayerNorm */
    if (names_dims(n, s->target ? SOURCE_KEYS : KEYS, s, e) ||
        read_act(m, n, e) ||
        hparams_bool_or(n->h, "scale_embedding", 0, &scaled, e) ||
        hparams_bool_or(n->h, "is_encoder_decoder", 1, &both, e) ||
        names_read_tied(n, 1, &s->tied, e))
        return -1;
    if (!both)
        return err_set(e, ERR_UNSUPPORTED,
                       "%s: config.json: 'is_encoder_decoder' is false, which "
                       "this program does not have of %.40s",
                       n->label, n->type);
    if (read_vocabulary(s, n, e))
        return -1;
    m->times = scaled ? (float)sqrt((double)s->dim[WIDTH]) : 0.0f;
    s->max_len = s->dim[POSITIONS];
    s->free_places = s->has & LEARNED ? FREE_PLACES : 0;
    s->dim[POSITIONS] += s->free_places;
    if (weights_find(n->w, "final_logits_bias"))
        s->has |= LOGIT_BIAS;
    return s->has & LEARNED ? 0 : tf_wave(s, e);
}

/* --- a step --- */

void bart_embed(struct tf *t)
{
    const struct stack *s = tf_stack(t);
    const struct bart *m = s->own;

    lookup(t, EMBEDDING, X);
    if (m->times > 0.0f)
        scale(t, m->times, X);
    if (s->has & LEARNED)
        lookup_add(t, EMBED_POSITION, X);
    else
        wave_add(t, X);
    if (s->has & EMBED_BASE)
        norm(t, s->top, EMBED_NORM, X, X);
}

/* A part reads X, or X normed; behind it X is normed, or stays. */
static int enter(struct tf *t, const struct weight *w, int part)
{
    if (!(tf_stack(t)->has & BEFORE))
        return X;
    norm(t, w, part, X, IN);
    return IN;
}

static void leave(struct tf *t, const struct weight *w, int part)
{
    if (!(tf_stack(t)->has & BEFORE))
        norm(t, w, part, X, X);
}

static void look(struct tf *t, const struct weight *w, const struct attend *a)
{
    linear(t, w, QKV, enter(t, w, NORM_SELF), QKV_ROWS);
    attend(t, a, QKV_ROWS, ATT);
    linear_add(t, w, OUT, ATT, X);
    leave(t, w, NORM_SELF);
}

static void feed(struct tf *t, const struct weight *w)
{
    const struct bart *m = tf_stack(t)->own;

    linear(t, w, UP, enter(t, w, NORM_FFN), FFN);
    activate(t, m->act, FFN);
    linear_add(t, w, DOWN, FFN, X);
    leave(t, w, NORM_FFN);
}

void bart_source_run(struct tf *t, const struct weight *w, int layer)
{
    look(t, w, &(struct attend){.layer = layer});
    feed(t, w);
}

void bart_source_head(struct tf *t)
{
    const struct stack *s = tf_stack(t);

    if (s->has & BEFORE)
        norm(t, s->top, FINAL_NORM, X, X);
    for (int i = 0; i < s->target->dim[LAYERS]; i++) {
        linear(t, tf_reader(t, i), CROSS_KV, X, SOURCE_KV);
        keep(t, i, SOURCE_KV);
    }
}

void bart_run(struct tf *t, const struct weight *w, int layer)
{
    look(t, w, &(struct attend){.layer = layer, .causal = 1});
    linear(t, w, CROSS_Q, enter(t, w, NORM_CROSS), QUERIES);
    attend(t, &(struct attend){.layer = layer, .source = 1}, QUERIES, ATT);
    linear_add(t, w, CROSS_OUT, ATT, X);
    leave(t, w, NORM_CROSS);
    feed(t, w);
}

void bart_head(struct tf *t)
{
    int norm = tf_stack(t)->has & BEFORE ? FINAL_NORM : -1;

    gather(t, LOGITS, norm, X, TOP);
    answer_hidden(t, norm, X);
    answer_logits(t, OUTPUT, TOP, 0);
}

/* --- BART and mBART --- */

/* Others that transformers knows, and drops in silence. */
static const char *const REFUSED[] = {"static_position_embeddings", NULL};
/* One matrix under several names. */
static const char *const IGNORED[] = {".embed_tokens.weight", "lm_head.weight",
                                      NULL};

static int read_config(struct stack *s, struct names *n, struct err *e)
{
    static const char *const before[] = {"normalize_before",
                                         "add_final_layer_norm", NULL};
    int mbart = strcmp(n->type, "mbart") == 0;

    s->has |= SHARED | LEARNED | EMBED_BASE | (mbart ? BEFORE : 0);
    if (names_refuse(n, REFUSED, e) || (!mbart && names_refuse(n, before, e)))
        return -1;
    return bart_read(s, n, e);
}

static const struct stack_kind source_kind = {.prefix = "model.",
                                              .layers = "encoder.layers.",
                                              .top = bart_source_top,
                                              .block = bart_source_block,
                                              .whole = 1,
                                              .own_bytes = BART_OWN,
                                              .read_config = read_config,
                                              .embed = bart_embed,
                                              .run = bart_source_run,
                                              .head = bart_source_head};

const struct stack_kind bart_kind = {.prefix = "model.",
                                     .layers = "decoder.layers.",
                                     .top = bart_top,
                                     .block = bart_block,
                                     .ignored = IGNORED,
                                     .source = &source_kind,
                                     .own_bytes = BART_OWN,
                                     .read_config = read_config,
                                     .embed = bart_embed,
                                     .run = bart_run,
                                     .head = bart_head};
