/* marian_nmt: translators in Marian NMT's own form (Junczys-Dowmunt et al.
 * 2018): a Transformer reads the source, and an SSRU (Kim et al. 2019), a
 * recurrence without a product of its state, with attention over the source
 * writes the target. Norms behind each sum, one table of embeddings E for both
 * sides and the logits; sources and targets have sines and cosines:
 *
 *   x = E[source] sqrt(width) + position
 *   x = norm(x + attention(x Wq, x Wk, x Wv) Wo)     each layer, with biases
 *   x = norm(x + max(x W1, 0) W2)
 *
 *   y = E[target] sqrt(width) + position             0 + position at first
 *   f = s(y Wf + bf)    c <- f c + (1 - f) (y W)     from c = 0
 *   y = norm(y + max(c, 0))
 *   y = norm(y + attention(y Wq', x Wk', x Wv') Wo')
 *   y = norm(y + max(y W1', 0) W2')
 *
 * and logits = y E' + b. A target has no first token: the token n_vocab, which
 * is none, stands for it.
 * Source: Marian 1.9 (its Transformer and its SSRU cell).
 *
 * SPDX-License-Identifier: MIT */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "engine/base/mem.h"
#include "models/transformer/names.h"

enum {
    CELL, /* a target's */
    NORM_CELL,
    QKV, /* a source's */
    OUT,
    NORM_SELF,
    UP,
    DOWN,
    NORM_FFN,
    CROSS_KV,
    CROSS_Q,
    CROSS_OUT,
    NORM_CROSS
};
#define MORE MORE_ROWS  /* queries of a target, keys and values of a source */
#define MAX_TOKENS 1024 /* the file states no limit; sentences are short */
#define LAYER_NORM_EPS 1e-6 /* of Marian, which no file states */

#define MATRIX(part, name, b, n, k)                                            \
    {                                                                          \
        part, name, NULL, n, k, .bias = ALWAYS, .how = WHOLE_NAME,             \
                                .hf_bias = b                                   \
    }
#define NORM(part, name)                                                       \
    {                                                                          \
        part, name "_ln_scale", NULL, WIDTH,                                   \
            .bias = ALWAYS, .how = WHOLE_NAME, .hf_bias = name "_ln_bias"      \
    }
#define FEED(side)                                                             \
    MATRIX(UP, side "_ffn_W1", side "_ffn_b1", INNER, WIDTH),                  \
        MATRIX(DOWN, side "_ffn_W2", side "_ffn_b2", WIDTH, INNER),            \
        NORM(NORM_FFN, side "_ffn_ffn")
#define ATTENTION(part, p, c) MATRIX(part, p "_W" c, p "_b" c, WIDTH, WIDTH)

static const struct tensor_row source_top[] = {
    {EMBEDDING, "Wemb", NULL, VOCAB, WIDTH, .how = TABLE | WHOLE_NAME},
    TENSORS_END};
static const struct tensor_row source_block[] = {
    ATTENTION(QKV, "encoder_l#_self", "q"),
    ATTENTION(QKV, "encoder_l#_self", "k"),
    ATTENTION(QKV, "encoder_l#_self", "v"),
    ATTENTION(OUT, "encoder_l#_self", "o"),
    NORM(NORM_SELF, "encoder_l#_self_Wo"),
    FEED("encoder_l#"),
    TENSORS_END};
static const struct tensor_row target_top[] = {
    {EMBEDDING, "Wemb", NULL, VOCAB, WIDTH, .how = TABLE | WHOLE_NAME},
    MATRIX(OUTPUT, "Wemb", "decoder_ff_logit_out_b", VOCAB, WIDTH),
    TENSORS_END};
static const struct tensor_row target_block[] = {
    MATRIX(CELL, "decoder_l#_rnn_Wf", "decoder_l#_rnn_bf", WIDTH, WIDTH),
    {CELL, "decoder_l#_rnn_W", NULL, WIDTH, WIDTH, .how = WHOLE_NAME},
    NORM(NORM_CELL, "decoder_l#_rnn_ffn"),
    ATTENTION(CROSS_KV, "decoder_l#_context", "k"),
    ATTENTION(CROSS_KV, "decoder_l#_context", "v"),
    ATTENTION(CROSS_Q, "decoder_l#_context", "q"),
    ATTENTION(CROSS_OUT, "decoder_l#_context", "o"),
    NORM(NORM_CROSS, "decoder_l#_context_Wo"),
    FEED("decoder_l#"),
    TENSORS_END};

/* --- the configuration --- */

/* What it may hold, and nothing else; no `value`: nothing or an empty list. */
static const struct rule {
    const char *key, *value;
} rules[] = {
    {"transformer-decoder-autoreg", "rnn"},
    {"dec-cell", "ssru"},
    {"transformer-ffn-activation", "relu"},
    {"transformer-postprocess", "dan"},
    {"transformer-preprocess", ""},
    {"transformer-postprocess-top", ""},
    {"transformer-postprocess-emb", "d"},
    {"tied-embeddings-all", "true"},
    {"transformer-train-position-embeddings", "false"},
    {"transformer-no-projection", "false"},
    {"transformer-pool", "false"},
    {"output-omit-bias", "false"},
    {"right-left", "false"},
    {"ulr", "false"},
    {"transformer-ffn-depth", "2"},
    {"dec-cell-base-depth", "2"},
    {"lemma-dim-emb", "0"},
    {"transformer-tied-layers", NULL},
    {"input-types", NULL},
};

static int follows(const struct json *j, const struct rule *r)
{
    char text[24] = "?";
    int64_t v;

    if (!j || json_type(j) == JSON_NULL)
        return 1;
    if (!r->value)
        return json_type(j) == JSON_ARRAY && json_size(j) == 0;
    if (json_type(j) == JSON_BOOL)
        snprintf(text, sizeof text, "%s", json_bool(j) ? "true" : "false");
    else if (json_int(j, &v) == 0)
        snprintf(text, sizeof text, "%lld", (long long)v);
    else if (json_string(j))
        return strcmp(json_string(j), r->value) == 0;
    return strcmp(text, r->value) == 0;
}

static int check_rules(const struct names *n, struct err *e)
{
    for (size_t i = 0; i < sizeof rules / sizeof *rules; i++) {
        const struct rule *r = &rules[i];
        /* Two say what it is; Marian's own activation is swish. */
        int needed = i < 3;

        if (needed && !hparams_has(n->h, r->key))
            return err_set(e, ERR_FORMAT, "%s: '%s' is missing", n->label,
                           r->key);
        if (!follows(hparams_json(n->h, r->key), r))
            return err_set(e, ERR_UNSUPPORTED,
                           "%s: '%s' of its configuration is not supported "
                           "but as '%s'",
                           n->label, r->key, r->value ? r->value : "[]");
    }
    return 0;
}

/* "dim-vocabs": of source and target; one table serves both. */
static int read_vocabularies(const struct names *n, int *v, struct err *e)
{
    const struct json *a = json_child(hparams_json(n->h, "dim-vocabs"));
    const struct json *b = json_next(a);
    int64_t x = 0, y = 0;

    if (!a || !b || json_next(b) || json_int(a, &x) || json_int(b, &y) ||
        x != y || x < 1 || x > 1 << 24)
        return err_set(e, ERR_FORMAT,
                       "%s: 'dim-vocabs' is no list of two equal sizes",
                       n->label);
    *v = (int)x;
    return 0;
}

/* The first half of a row are sines, of frequencies 1 to 1/10000 both
 * included, other than those of tf_wave. */
static int set_wave(struct stack *s, struct err *e)
{
    int half = s->dim[WIDTH] / 2;

    s->wave = mem_array((size_t)half + 1, sizeof *s->wave);
    if (!s->wave)
        return err_nomem(e);
    for (int i = 0; i < half; i++)
        s->wave[i] = exp(i * log(10000.0) / (half - 1));
    return 0;
}

static int read_config(struct stack *s, struct names *n, struct err *e)
{
    static const struct name HEADS_KEY = {"transformer-heads", NULL},
                             WIDTH_KEY = {"dim-emb", NULL},
                             INNER_KEY = {"transformer-dim-ffn", NULL};
    const struct name layers = {s->target ? "enc-depth" : "dec-depth", NULL};
    int *dim = s->dim;

    if (check_rules(n, e) || read_vocabularies(n, &dim[VOCAB], e) ||
        names_int(n, WIDTH_KEY, 4, 1 << 16, -1, &dim[WIDTH], e) ||
        names_int(n, layers, 1, TF_MAX_LAYERS, -1, &dim[LAYERS], e) ||
        names_int(n, HEADS_KEY, 1, 1024, -1, &dim[HEADS], e) ||
        names_int(n, INNER_KEY, 1, 1 << 20, -1, &dim[INNER], e))
        return -1;
    if (dim[WIDTH] % dim[HEADS] || dim[WIDTH] % 2)
        return err_set(e, ERR_FORMAT,
                       "%s: 'dim-emb' is %d, expected an even multiple of "
                       "%d heads",
                       n->label, dim[WIDTH], dim[HEADS]);
    dim[KV_HEADS] = dim[HEADS];
    dim[HEAD_DIM] = dim[WIDTH] / dim[HEADS];
    dim[HEADS_DIM] = dim[KV_DIM] = dim[WIDTH];
    dim[POSITIONS] = MAX_TOKENS;
    s->eps = LAYER_NORM_EPS;
    s->cells = s->target ? 0 : dim[WIDTH];
    s->blank = !s->target;
    return set_wave(s, e);
}

/* --- a step --- */

static void embed(struct tf *t)
{
    lookup(t, EMBEDDING, X);
    scale(t, (float)sqrt((double)tf_stack(t)->dim[WIDTH]), X);
    wave_add(t, X);
}

static void feed(struct tf *t, const struct weight *w)
{
    linear(t, w, UP, X, FFN);
    activate(t, RELU, FFN);
    linear_add(t, w, DOWN, FFN, X);
    norm(t, w, NORM_FFN, X, X);
}

static void source_run(struct tf *t, const struct weight *w, int layer)
{
    linear(t, w, QKV, X, QKV_ROWS);
    attend(t, &(struct attend){.layer = layer}, QKV_ROWS, ATT);
    linear_add(t, w, OUT, ATT, X);
    norm(t, w, NORM_SELF, X, X);
    feed(t, w);
}

static void source_head(struct tf *t)
{
    for (int i = 0; i < tf_stack(t)->target->dim[LAYERS]; i++) {
        linear(t, tf_reader(t, i), CROSS_KV, X, MORE);
        keep(t, i, MORE);
    }
}

static void run(struct tf *t, const struct weight *w, int layer)
{
    linear(t, w, CELL, X, GATE);
    cells_add(t, layer, GATE, X);
    norm(t, w, NORM_CELL, X, X);
    linear(t, w, CROSS_Q, X, MORE);
    attend(t, &(struct attend){.layer = layer, .source = 1}, MORE, ATT);
    linear_add(t, w, CROSS_OUT, ATT, X);
    norm(t, w, NORM_CROSS, X, X);
    feed(t, w);
}

static void head(struct tf *t)
{
    gather(t, LOGITS, -1, X, TOP);
    answer_hidden(t, -1, X);
    answer_logits(t, OUTPUT, TOP, 0);
}

/* Scales of 8-bit activations. */
static const char *const IGNORED[] = {"_QuantMultA", NULL};

static const struct stack_kind source_kind = {.prefix = "",
                                              .layers = "",
                                              .top = source_top,
                                              .block = source_block,
                                              .whole = 1,
                                              .read_config = read_config,
                                              .embed = embed,
                                              .run = source_run,
                                              .head = source_head};

const struct stack_kind marian_nmt_kind = {.prefix = "",
                                           .layers = "",
                                           .top = target_top,
                                           .block = target_block,
                                           .ignored = IGNORED,
                                           .source = &source_kind,
                                           .read_config = read_config,
                                           .embed = embed,
                                           .run = run,
                                           .head = head};
