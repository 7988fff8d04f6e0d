/* bert: the encoder of Devlin et al. 2019 and its kin: DistilBERT (Sanh et al.
 * 2019: no token types), RoBERTa (Liu et al. 2019: positions begin behind the
 * padding token's), ELECTRA (Clark et al. 2020), ALBERT (Lan et al. 2020:
 * layers share their weights) and MPNet (Song et al. 2020: scores of keys
 * depend on how far they are). Whole inputs, every token sees every other one;
 * a norm behind each sum:
 *
 *   x = norm(word + type + position), (x W + b where it is narrower)
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

#include "models/transformer/bert.h"
#include "models/transformer/heads.h"
#include "models/transformer/near.h"
#include "models/transformer/sentence.h"

enum { DENSE = TF_TOP, DENSE_NORM, PROJECT };
#define NARROW MORE_ROWS

static const struct tensor_row TOP_ROWS[] = {
    {EMBEDDING, "embeddings.word_embeddings", "token_embd", .n = VOCAB,
     .k = EMBED_WIDTH, .how = TABLE},
    {EMBED_POSITION, "embeddings.position_embeddings", "position_embd",
     .n = POSITIONS, .k = EMBED_WIDTH, .how = TABLE},
    {EMBED_TYPE, "embeddings.token_type_embeddings", "token_types", .n = TYPES,
     .k = EMBED_WIDTH, .how = TABLE},
    {EMBED_NORM, "embeddings.LayerNorm", "token_embd_norm", .n = EMBED_WIDTH,
     .bias = ALWAYS},
    TENSORS_END};

struct bert {
    const struct bert_family *f;
    enum tf_act act, head_act;
    int project; /* there is a product between the embedding and the layers */
    struct tensor_row head[5], block[BERT_ROWS + 1]; /* zeros end them */
    struct sentence sentence;
};

/* --- config.json, or the metadata of a GGUF file --- */

static int read_act(struct bert *m, const struct names *n, struct err *e)
{
    static const char *const names[] = {"gelu", "gelu_new", "gelu_pytorch_tanh",
                                        "relu", NULL};
    static const enum tf_act acts[] = {GELU, GELU_TANH, GELU_TANH, RELU};
    int act, rc = names_choice(n, m->f->act, names, m->f->act_dflt, &act, e);

    m->act = acts[act];
    return rc;
}

/* The embedding's width, sizes that GGUF leaves to the tensors, and where
 * positions begin. */
static int read_tables(struct stack *s, const struct names *n, struct err *e)
{
    struct bert *m = s->own;
    int pad = m->f->places == BEHIND_ONE ? 1 : -1;

    s->dim[EMBED_WIDTH] = s->dim[WIDTH];
    if (m->f->project &&
        names_int(n, (struct name){"embedding_size", NULL}, 1, 65536,
                  m->f->embedding_dflt, &s->dim[EMBED_WIDTH], e))
        return -1;
    m->project = m->f->project &&
                 (m->f->project_when || s->dim[EMBED_WIDTH] != s->dim[WIDTH]);
    if (n->gguf) {
        s->dim[POSITIONS] = names_rows(n, &TOP_ROWS[EMBED_POSITION]);
        s->dim[TYPES] = names_rows(n, &TOP_ROWS[EMBED_TYPE]);
    } else if (m->f->types &&
               names_int(n, (struct name){"type_vocab_size", NULL}, 0, 255, 2,
                         &s->dim[TYPES], e)) {
        return -1;
    }
    if (m->f->places == BEHIND_PAD && !n->gguf &&
        names_int(n, (struct name){"pad_token_id", NULL}, 0,
                  s->dim[POSITIONS] - 2, 1, &pad, e))
        return -1;
    s->first_place = pad + 1;
    s->max_len = s->dim[POSITIONS] - s->first_place;
    return s->max_len > 0 ? 0
                          : err_set(e, ERR_FORMAT, "%s: %d positions", n->label,
                                    s->dim[POSITIONS]);
}

/* ALBERT: layers in a row share a set of weights. */
static int read_groups(struct stack *s, const struct names *n, struct err *e)
{
    const struct bert *m = s->own;
    int inner;

    if (!m->f->groups)
        return 0;
    if (names_int(n, (struct name){m->f->groups, NULL}, 1, s->dim[LAYERS], 1,
                  &s->blocks, e) ||
        names_int(n, (struct name){"inner_group_num", NULL}, 1, 1, 1, &inner,
                  e))
        return -1;
    if (s->dim[LAYERS] % s->blocks)
        return err_set(e, ERR_UNSUPPORTED,
                       "%s: config.json: '%s' %d does not divide the %d layers",
                       n->label, m->f->groups, s->blocks, s->dim[LAYERS]);
    return 0;
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
        read_groups(s, n, e) || read_act(m, n, e) ||
        names_choice(n, "position_embedding_type", places, "absolute", &only,
                     e) ||
        names_refuse(n, refused, e) ||
        ((n->gguf || eps.hf) && names_float(n, eps, 0, 1, s->eps, &s->eps, e)))
        return -1;
    if (s->dim[KV_HEADS] != s->dim[HEADS] ||
        (n->gguf && strcmp(n->type, "bert")))
        return err_set(e, ERR_UNSUPPORTED, "%s: '%.40s' with %d heads of keys",
                       n->label, n->type, s->dim[KV_HEADS]);
    if (n->n_tokenizer > s->dim[VOCAB])
        return err_set(e, ERR_FORMAT,
                       "%s: the tokenizer has %d entries, the model %d",
                       n->label, n->n_tokenizer, s->dim[VOCAB]);
    s->scale = (double)(1.0f / sqrtf((float)s->dim[HEAD_DIM]));
    return 0;
}

/* The stack's tensors besides TOP_ROWS. */
static int read_head(struct stack *s, const struct names *n, struct err *e)
{
    struct bert *m = s->own;
    int words = s->output == LOGITS;
    const struct bert_head *h = words ? &m->f->words : &m->f->labels;
    enum tf_dim width = words ? EMBED_WIDTH : WIDTH;
    struct tensor_row *row = m->head;

    s->head_rows = m->head;
    if (m->project)
        *row++ = (struct tensor_row){PROJECT, m->f->project, NULL,
                                     WIDTH,   EMBED_WIDTH,   .bias = ALWAYS};
    if (s->output == POOLED)
        return 0;
    *row++ = (struct tensor_row){
        DENSE,          h->dense,           NULL, width, WIDTH,
        .bias = ALWAYS, .how = h->dense_how};
    if (h->norm)
        *row++ = (struct tensor_row){DENSE_NORM, h->norm, .n = width,
                                     .bias = ALWAYS, .how = BARE};
    *row = (struct tensor_row){.part = OUTPUT,
                               .hf = h->out,
                               .n = words ? VOCAB : LABELS,
                               .k = width,
                               .bias = ALWAYS,
                               .how = BARE,
                               .hf_bias = h->out_bias};
    m->head_act = h->own_act ? h->act : m->act;
    return words ? names_read_tied(n, 1, &s->tied, e)
                 : heads_read_labels(s, n, row, e);
}

/* MPNet: 32 buckets, all from 128 on alike, whatever config.json says. */
static int read_near(struct stack *s, struct names *n, struct err *e)
{
    static const struct name BUCKETS = {"relative_attention_num_buckets", NULL};
    const struct bert *m = s->own;
    struct near_form f = {.reach = 128, .both = 1};

    return names_int(n, BUCKETS, 32, 32, 32, &f.buckets, e) ||
                   near_read(s, n, &f, m->f->near, e)
               ? -1
               : 0;
}

static int read_config(struct stack *s, struct names *n, struct err *e)
{
    struct bert *m = s->own;
    struct tensor_row labels = {.how = BARE};

    m->f = bert_family_of(n->type);
    labels.hf = m->f->labels.out;
    bert_block(m->f, m->block);
    s->block_rows = m->block;
    names_set_prefix(n, m->f->prefix, m->f->layers, TOP_ROWS);
    s->output = POOLED;
    if (read_shape(s, n, e) || sentence_read(n, &m->sentence, e) ||
        (!m->sentence.stated &&
         heads_find(n, &labels, m->f->words.out_bias, &s->output, e)) ||
        read_head(s, n, e) || (m->f->near && read_near(s, n, e)))
        return -1;
    if (s->output != POOLED)
        return 0;
    s->note = m->sentence.note;
    if (m->sentence.max_length > 0 && m->sentence.max_length < s->max_len)
        s->context = (int)m->sentence.max_length;
    return 0;
}

/* --- a step --- */

static void embed(struct tf *t)
{
    const struct stack *s = tf_stack(t);
    const struct bert *m = s->own;
    int rows = m->project ? NARROW : X;

    lookup(t, EMBEDDING, rows);
    lookup_add(t, EMBED_TYPE, rows);
    lookup_add(t, EMBED_POSITION, rows);
    norm(t, s->top, EMBED_NORM, rows, rows);
    if (m->project)
        linear(t, s->top, PROJECT, NARROW, X);
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
                                     .ignored = heads_ignored,
                                     .whole = 1,
                                     .own_bytes = sizeof(struct bert),
                                     .read_config = read_config,
                                     .embed = embed,
                                     .run = block,
                                     .head = head};
