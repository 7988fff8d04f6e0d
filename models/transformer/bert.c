/* bert: the encoder of Devlin et al. 2019 and its kin: DistilBERT (Sanh et al.
 * 2019: no token types) and RoBERTa (Liu et al. 2019: positions begin behind
 * the padding token's). Whole inputs, every token sees every other one; a
 * norm behind each sum:
 *
 *   x = norm(word + type + position)
 *   x = norm(x + attention(x Wq + b, x Wk + b, x Wv + b) Wo + b)   each layer
 *   x = norm(x + act(x Wup + b) Wdown + b)
 *
 * and on top of the last layer, as the checkpoint is for:
 *   masked words       norm(act(x W + b)) Wout + b, Wout often the embedding
 *   labels             act(x W + b) Wout + b of the first token
 *   sentences          a pool over all tokens (sentence.h)
 *
 * What it is for is told by modules.json (sentences), else as heads.h says.
 *
 * SPDX-License-Identifier: MIT */
#include <math.h>
#include <string.h>

#include "models/transformer/heads.h"
#include "models/transformer/sentence.h"

enum { QKV, OUT, NORM_1, UP, DOWN, NORM_2 };
enum { DENSE = TF_TOP, DENSE_NORM };
#define SCORES MORE_ROWS

static const struct tensor_row TOP_ROWS[] = {
    {EMBEDDING, "embeddings.word_embeddings", "token_embd", .n = VOCAB,
     .k = WIDTH, .how = TABLE},
    {EMBED_POSITION, "embeddings.position_embeddings", "position_embd",
     .n = POSITIONS, .k = WIDTH, .how = TABLE},
    {EMBED_TYPE, "embeddings.token_type_embeddings", "token_types", .n = TYPES,
     .k = WIDTH, .how = TABLE},
    {EMBED_NORM, "embeddings.LayerNorm", "token_embd_norm", .n = WIDTH,
     .bias = ALWAYS},
    TENSORS_END};

static const struct tensor_row BLOCK[] = {
    {QKV, "attention.self.query", "attn_q", HEADS_DIM, WIDTH, .bias = ALWAYS},
    {QKV, "attention.self.key", "attn_k", HEADS_DIM, WIDTH, .bias = ALWAYS},
    {QKV, "attention.self.value", "attn_v", HEADS_DIM, WIDTH, .bias = ALWAYS},
    {OUT, "attention.output.dense", "attn_output", WIDTH, HEADS_DIM,
     .bias = ALWAYS},
    {NORM_1, "attention.output.LayerNorm", "attn_output_norm", WIDTH,
     .bias = ALWAYS},
    {UP, "intermediate.dense", "ffn_up", INNER, WIDTH, .bias = ALWAYS},
    {DOWN, "output.dense", "ffn_down", WIDTH, INNER, .bias = ALWAYS},
    {NORM_2, "output.LayerNorm", "layer_output_norm", WIDTH, .bias = ALWAYS},
    TENSORS_END};

static const struct tensor_row DISTIL_BLOCK[] = {
    {QKV, "attention.q_lin", NULL, HEADS_DIM, WIDTH, .bias = ALWAYS},
    {QKV, "attention.k_lin", NULL, HEADS_DIM, WIDTH, .bias = ALWAYS},
    {QKV, "attention.v_lin", NULL, HEADS_DIM, WIDTH, .bias = ALWAYS},
    {OUT, "attention.out_lin", NULL, WIDTH, HEADS_DIM, .bias = ALWAYS},
    {NORM_1, "sa_layer_norm", NULL, WIDTH, .bias = ALWAYS},
    {UP, "ffn.lin1", NULL, INNER, WIDTH, .bias = ALWAYS},
    {DOWN, "ffn.lin2", NULL, WIDTH, INNER, .bias = ALWAYS},
    {NORM_2, "output_layer_norm", NULL, WIDTH, .bias = ALWAYS},
    TENSORS_END};

static const struct names_key DISTIL_KEYS[] = {
    {VOCAB, "vocab_size", NULL},
    {WIDTH, "dim", NULL},
    {LAYERS, "n_layers", NULL},
    {HEADS, "n_heads", NULL},
    {INNER, "hidden_dim", NULL},
    {POSITIONS, "max_position_embeddings", NULL},
    KEYS_END};

/* A head: two products, for masked words with a norm between them. */
struct head {
    const char *dense, *norm, *out, *out_bias;
    unsigned dense_how;
    enum tf_act act;
    int own_act; /* `act` is not the model's own */
};

static const struct family {
    const char *type, *prefix, *layers;
    const struct tensor_row *block;
    const struct names_key *keys;
    const char *act, *eps; /* keys; NULL: none */
    struct head words, labels;
} FAMILIES[] = {
    {"bert",
     "bert.",
     "encoder.layer.",
     BLOCK,
     names_keys,
     "hidden_act",
     "layer_norm_eps",
     {"cls.predictions.transform.dense", "cls.predictions.transform.LayerNorm",
      "cls.predictions.decoder", "cls.predictions.bias", BARE, GELU, 0},
     {"pooler.dense", NULL, "classifier", NULL, 0, TANH, 1}},
    {"distilbert",
     "distilbert.",
     "transformer.layer.",
     DISTIL_BLOCK,
     DISTIL_KEYS,
     "activation",
     NULL,
     {"vocab_transform", "vocab_layer_norm", "vocab_projector",
      "vocab_projector.bias", BARE, GELU, 0},
     {"pre_classifier", NULL, "classifier", NULL, BARE, RELU, 1}},
    {"roberta", /* and xlm-roberta */
     "roberta.",
     "encoder.layer.",
     BLOCK,
     names_keys,
     "hidden_act",
     "layer_norm_eps",
     {"lm_head.dense", "lm_head.layer_norm", "lm_head.decoder", "lm_head.bias",
      BARE, GELU, 1},
     {"classifier.dense", NULL, "classifier.out_proj", NULL, BARE, TANH, 1}}};

struct bert {
    const struct family *f;
    enum tf_act act, head_act;
    struct tensor_row head[4];
    struct sentence sentence;
};

/* --- config.json, or the metadata of a GGUF file --- */

static int read_act(struct bert *m, const struct names *n, struct err *e)
{
    static const char *const names[] = {"gelu", "gelu_new", "gelu_pytorch_tanh",
                                        "relu", NULL};
    static const enum tf_act acts[] = {GELU, GELU_TANH, GELU_TANH, RELU};
    int act, rc = names_choice(n, m->f->act, names, "gelu", &act, e);

    m->act = acts[act];
    return rc;
}

/* Sizes that GGUF leaves to the tensors, and where positions begin. */
static int read_tables(struct stack *s, const struct names *n, struct err *e)
{
    const struct bert *m = s->own;
    int pad = -1;

    if (n->gguf) {
        s->dim[POSITIONS] = names_rows(n, &TOP_ROWS[EMBED_POSITION]);
        s->dim[TYPES] = names_rows(n, &TOP_ROWS[EMBED_TYPE]);
    } else if (m->f->block == BLOCK &&
               names_int(n, (struct name){"type_vocab_size", NULL}, 0, 255, 2,
                         &s->dim[TYPES], e)) {
        return -1;
    }
    if (m->f == &FAMILIES[2] && !n->gguf &&
        names_int(n, (struct name){"pad_token_id", NULL}, 0,
                  s->dim[POSITIONS] - 2, 1, &pad, e))
        return -1;
    s->first_place = pad + 1;
    s->max_len = s->dim[POSITIONS] - s->first_place;
    return s->max_len > 0 ? 0
                          : err_set(e, ERR_FORMAT, "%s: %d positions", n->label,
                                    s->dim[POSITIONS]);
}

static int read_shape(struct stack *s, const struct names *n, struct err *e)
{
    static const char *const refused[] = {"is_decoder", "add_cross_attention",
                                          NULL};
    static const char *const places[] = {"absolute", NULL};
    struct bert *m = s->own;
    struct name eps = {m->f->eps, "attention.layer_norm_epsilon"};
    int only;

    s->dim[KV_HEADS] = -1;
    /* where no key says it: GGUF's tensors, BERT's own */
    s->dim[POSITIONS] = n->gguf ? names_rows(n, &TOP_ROWS[EMBED_POSITION]) : 0;
    s->eps = 1e-12;
    if (names_dims(n, m->f->keys, s, e) || read_tables(s, n, e) ||
        read_act(m, n, e) ||
        names_choice(n, "position_embedding_type", places, "absolute", &only,
                     e) ||
        names_refuse(n, refused, e) ||
        ((n->gguf || eps.hf) && names_float(n, eps, 0, 1, s->eps, &s->eps, e)))
        return -1;
    if (s->dim[KV_HEADS] != s->dim[HEADS] || (n->gguf && m->f != FAMILIES))
        return err_set(e, ERR_UNSUPPORTED, "%s: '%.40s' with %d heads of keys",
                       n->label, n->type, s->dim[KV_HEADS]);
    if (n->n_tokenizer > s->dim[VOCAB])
        return err_set(e, ERR_FORMAT,
                       "%s: the tokenizer has %d entries, the model %d",
                       n->label, n->n_tokenizer, s->dim[VOCAB]);
    s->scale = (double)(1.0f / sqrtf((float)s->dim[HEAD_DIM]));
    return 0;
}

static int read_head(struct stack *s, const struct names *n, struct err *e)
{
    struct bert *m = s->own;
    const struct head *h = s->output == LOGITS ? &m->f->words : &m->f->labels;
    struct tensor_row *row = m->head;

    *row++ = (struct tensor_row){
        DENSE,          h->dense,           NULL, WIDTH, WIDTH,
        .bias = ALWAYS, .how = h->dense_how};
    if (h->norm)
        *row++ = (struct tensor_row){DENSE_NORM, h->norm, .n = WIDTH,
                                     .bias = ALWAYS, .how = BARE};
    *row = (struct tensor_row){.part = OUTPUT,
                               .hf = h->out,
                               .n = s->output == LOGITS ? VOCAB : LABELS,
                               .k = WIDTH,
                               .bias = ALWAYS,
                               .how = BARE,
                               .hf_bias = h->out_bias};
    s->head_rows = m->head;
    m->head_act = h->own_act ? h->act : m->act;
    return s->output == LOGITS ? names_read_tied(n, 1, &s->tied, e)
                               : heads_read_labels(s, n, row, e);
}

static int read_config(struct stack *s, struct names *n, struct err *e)
{
    struct bert *m = s->own;
    struct tensor_row labels = {.how = BARE};
    int family = 0;

    while (family < 2 && strcmp(FAMILIES[family].type, n->type))
        family++;
    m->f = &FAMILIES[family];
    labels.hf = m->f->labels.out;
    s->block_rows = m->f->block;
    names_set_prefix(n, m->f->prefix, m->f->layers, TOP_ROWS);
    s->output = POOLED;
    if (read_shape(s, n, e) || sentence_read(n, &m->sentence, e) ||
        (!m->sentence.stated &&
         heads_find(n, &labels, m->f->words.out_bias, &s->output, e)))
        return -1;
    if (s->output != POOLED)
        return read_head(s, n, e);
    s->note = m->sentence.note;
    if (m->sentence.max_length > 0 && m->sentence.max_length < s->max_len)
        s->context = (int)m->sentence.max_length;
    return 0;
}

/* --- a step --- */

static void embed(struct tf *t)
{
    lookup(t, EMBEDDING, X);
    lookup_add(t, EMBED_TYPE, X);
    lookup_add(t, EMBED_POSITION, X);
    norm(t, tf_stack(t)->top, EMBED_NORM, X, X);
}

static void block(struct tf *t, const struct weight *w, int i)
{
    const struct bert *m = tf_stack(t)->own;

    linear(t, w, QKV, X, QKV_ROWS);
    attend(t, &(struct attend){.layer = i}, QKV_ROWS, ATT);
    linear_add(t, w, OUT, ATT, X);
    norm(t, w, NORM_1, X, X);
    linear(t, w, UP, X, FFN);
    activate(t, m->act, FFN);
    linear_add(t, w, DOWN, FFN, X);
    norm(t, w, NORM_2, X, X);
}

static void head(struct tf *t)
{
    const struct stack *s = tf_stack(t);
    const struct bert *m = s->own;

    answer_hidden(t, -1, X);
    if (s->output == POOLED) {
        answer_pooled(t, &m->sentence, X);
        return;
    }
    gather(t, s->output, -1, X, TOP);
    linear(t, s->top, DENSE, TOP, MID);
    activate(t, m->head_act, MID);
    if (s->output == LOGITS) {
        norm(t, s->top, DENSE_NORM, MID, MID);
        answer_logits(t, OUTPUT, MID, 0);
    } else {
        linear(t, s->top, OUTPUT, MID, SCORES);
        answer_class(t, SCORES);
    }
}

const struct stack_kind bert_kind = {.prefix = "bert.",
                                     .layers = "encoder.layer.",
                                     .top = TOP_ROWS,
                                     .block = BLOCK,
                                     .ignored = heads_ignored,
                                     .whole = 1,
                                     .own_bytes = sizeof(struct bert),
                                     .read_config = read_config,
                                     .embed = embed,
                                     .run = block,
                                     .head = head};
