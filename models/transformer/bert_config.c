/* bert_config: what an encoder's checkpoint is: families and their names, the
 * hyperparameters, and what it is for, in this order: modules.json (sentence
 * embeddings), the name in `architectures`, else the tensors that are there.
 *
 * SPDX-License-Identifier: MIT */
#include <stdio.h>
#include <string.h>

#include "models/transformer/bert_load.h"

#define MAX_DIM 65536
#define MAX_VOCAB (1 << 24)

static const struct bert_names bert_names = {
    .word = "embeddings.word_embeddings",
    .position = "embeddings.position_embeddings",
    .type = "embeddings.token_type_embeddings",
    .norm = "embeddings.LayerNorm",
    .layer = "encoder.layer.",
    .q = "attention.self.query",
    .k = "attention.self.key",
    .v = "attention.self.value",
    .o = "attention.output.dense",
    .norm1 = "attention.output.LayerNorm",
    .up = "intermediate.dense",
    .down = "output.dense",
    .norm2 = "output.LayerNorm",
};

static const struct bert_names distil_names = {
    .word = "embeddings.word_embeddings",
    .position = "embeddings.position_embeddings",
    .norm = "embeddings.LayerNorm",
    .layer = "transformer.layer.",
    .q = "attention.q_lin",
    .k = "attention.k_lin",
    .v = "attention.v_lin",
    .o = "attention.out_lin",
    .norm1 = "sa_layer_norm",
    .up = "ffn.lin1",
    .down = "ffn.lin2",
    .norm2 = "output_layer_norm",
};

static const struct bert_names gguf_names = {
    .word = "token_embd",
    .position = "position_embd",
    .type = "token_types",
    .norm = "token_embd_norm",
    .layer = "blk.",
    .q = "attn_q",
    .k = "attn_k",
    .v = "attn_v",
    .o = "attn_output",
    .norm1 = "attn_output_norm",
    .up = "ffn_up",
    .down = "ffn_down",
    .norm2 = "layer_output_norm",
};

/* Keys of the hyperparameters. */
static const struct bert_keys bert_keys = {"hidden_size",
                                           "num_hidden_layers",
                                           "num_attention_heads",
                                           "intermediate_size",
                                           "hidden_act",
                                           "layer_norm_eps",
                                           "max_position_embeddings"};
static const struct bert_keys distil_keys = {"dim",
                                             "n_layers",
                                             "n_heads",
                                             "hidden_dim",
                                             "activation",
                                             NULL,
                                             "max_position_embeddings"};
static const struct bert_keys gguf_keys = {"bert.embedding_length",
                                           "bert.block_count",
                                           "bert.attention.head_count",
                                           "bert.feed_forward_length",
                                           NULL,
                                           "bert.attention.layer_norm_epsilon",
                                           "bert.context_length"};

static const struct bert_family families[] = {
    {"bert",
     "bert.",
     &bert_names,
     &bert_keys,
     {"cls.predictions.transform.dense", "cls.predictions.transform.LayerNorm",
      "cls.predictions.decoder", "cls.predictions.bias", 0, 0},
     {"pooler.dense", NULL, "classifier", NULL, ACT_TANH, 1},
     0},
    {"distilbert",
     "distilbert.",
     &distil_names,
     &distil_keys,
     {"vocab_transform", "vocab_layer_norm", "vocab_projector",
      "vocab_projector.bias", 0, 0},
     {"pre_classifier", NULL, "classifier", NULL, ACT_RELU, 1},
     0},
    {"roberta",
     "roberta.",
     &bert_names,
     &bert_keys,
     {"lm_head.dense", "lm_head.layer_norm", "lm_head.decoder", "lm_head.bias",
      ACT_GELU, 1},
     {"classifier.dense", NULL, "classifier.out_proj", NULL, ACT_TANH, 1},
     1},
};

/* --- names --- */

/* "<prefix><part>.<kind>" of a tensor of the base model. */
void bert_base_name(const struct bert_loader *l, const char *part,
                    const char *kind, char out[BERT_NAME_BYTES])
{
    snprintf(out, BERT_NAME_BYTES, "%s%s.%s", l->prefix, part, kind);
}

void bert_layer_part(const struct bert_loader *l, int i, const char *part,
                     char out[BERT_PART_BYTES])
{
    snprintf(out, BERT_PART_BYTES, "%s%d.%s", l->names->layer, i, part);
}

int bert_has(const struct bert_loader *l, const char *name)
{
    return weights_find(l->w, name) != NULL;
}

int bert_has_base(const struct bert_loader *l, const char *part,
                  const char *kind)
{
    char name[BERT_NAME_BYTES];

    bert_base_name(l, part, kind, name);
    return bert_has(l, name);
}

static int find_prefix(struct bert_loader *l, struct err *e)
{
    char name[BERT_NAME_BYTES];

    l->prefix = "";
    if (bert_has_base(l, l->names->word, "weight"))
        return 0;
    l->prefix = l->f->prefix;
    if (!l->gguf && bert_has_base(l, l->names->word, "weight"))
        return 0;
    l->prefix = "";
    bert_base_name(l, l->names->word, "weight", name);
    return err_set(e, ERR_FORMAT, "%s: no tensor '%s', with or without '%s'",
                   l->o->label, name, l->gguf ? "" : l->f->prefix);
}

/* --- hyperparameters --- */

static int unsupported(const struct bert_loader *l, const char *key,
                       const char *value, const char *want, struct err *e)
{
    return err_set(e, ERR_UNSUPPORTED,
                   "%s: config.json: '%s' is \"%.40s\", expected %s",
                   l->o->label, key, value, want);
}

static int read_act(struct bert_loader *l, struct err *e)
{
    static const struct {
        const char *name;
        enum bert_act act;
    } acts[] = {{"gelu", ACT_GELU},
                {"gelu_new", ACT_GELU_TANH},
                {"gelu_pytorch_tanh", ACT_GELU_TANH},
                {"relu", ACT_RELU}};
    const char *name = "gelu";

    if (l->keys->act && hparams_string_or(l->h, l->keys->act, name, &name, e))
        return -1;
    for (size_t i = 0; i < sizeof acts / sizeof *acts; i++) {
        if (!strcmp(acts[i].name, name)) {
            l->m->act = acts[i].act;
            return 0;
        }
    }
    return unsupported(l, l->keys->act, name,
                       "gelu, gelu_new, gelu_pytorch_tanh or relu", e);
}

/* Keys that change the equations. */
static int check_variants(const struct bert_loader *l, struct err *e)
{
    const char *kind;
    int decoder, cross;

    if (l->gguf)
        return 0;
    if (hparams_string_or(l->h, "position_embedding_type", "absolute", &kind,
                          e) ||
        hparams_bool_or(l->h, "is_decoder", 0, &decoder, e) ||
        hparams_bool_or(l->h, "add_cross_attention", 0, &cross, e))
        return -1;
    if (strcmp(kind, "absolute"))
        return unsupported(l, "position_embedding_type", kind, "\"absolute\"",
                           e);
    return decoder || cross
               ? unsupported(l, decoder ? "is_decoder" : "add_cross_attention",
                             "true", "false", e)
               : 0;
}

static int read_dim(const struct bert_loader *l, const char *key, int64_t max,
                    int *out, struct err *e)
{
    int64_t v = 0;

    if (hparams_int(l->h, key, 1, max, &v, e))
        return -1;
    *out = (int)v;
    return 0;
}

/* Rows of a table of the embedding, 0 when it is not there. */
static int table_rows(const struct bert_loader *l, const char *part)
{
    char name[BERT_NAME_BYTES];
    const struct tensor *t;

    if (!part)
        return 0;
    bert_base_name(l, part, "weight", name);
    t = weights_find(l->w, name);
    return t && t->n_dims == 2 && t->dim[0] <= MAX_VOCAB ? (int)t->dim[0] : 0;
}

/* Sizes that config.json states; GGUF leaves them to the tensors. */
static int read_tables(struct bert_loader *l, struct err *e)
{
    struct bert *m = l->m;
    int64_t pad = -1, types = 0;

    m->pad = -1;
    if (l->gguf) {
        m->V = table_rows(l, l->names->word);
        m->P = table_rows(l, l->names->position);
        m->n_types = table_rows(l, l->names->type);
        return 0;
    }
    if (read_dim(l, "vocab_size", MAX_VOCAB, &m->V, e) ||
        read_dim(l, l->keys->length, MAX_VOCAB, &m->P, e) ||
        (l->names->type &&
         hparams_int_or(l->h, "type_vocab_size", 0, 255, 2, &types, e)) ||
        (l->f->roberta &&
         hparams_int_or(l->h, "pad_token_id", 0, m->P - 2, 1, &pad, e)))
        return -1;
    m->n_types = (int)types;
    m->pad = (int)pad;
    return 0;
}

static int read_config(struct bert_loader *l, struct err *e)
{
    struct bert *m = l->m;
    int heads = 0;

    if (read_dim(l, l->keys->width, MAX_DIM, &m->H, e) ||
        read_dim(l, l->keys->layers, TF_MAX_LAYERS, &m->L, e) ||
        read_dim(l, l->keys->heads, MAX_DIM, &heads, e) ||
        read_dim(l, l->keys->inner, MAX_DIM * 4, &m->F, e) ||
        read_tables(l, e) || read_act(l, e) || check_variants(l, e))
        return -1;
    m->eps = 1e-12; /* BERT's own, where a file says nothing */
    if (l->keys->eps &&
        hparams_float_or(l->h, l->keys->eps, 0.0, 1.0, m->eps, &m->eps, e))
        return -1;
    if (m->H % heads)
        return err_set(e, ERR_FORMAT,
                       "%s: config.json: '%s' %d is not a multiple of '%s' %d",
                       l->o->label, l->keys->width, m->H, l->keys->heads,
                       heads);
    if (l->o->n_vocab_tokenizer > m->V)
        return err_set(e, ERR_FORMAT,
                       "%s: the tokenizer has %d entries, the model %d",
                       l->o->label, l->o->n_vocab_tokenizer, m->V);
    m->spec.n_heads = m->spec.n_kv = heads;
    m->spec.d = m->H / heads;
    return 0;
}

/* --- what it is for --- */

static int ends_with(const char *s, const char *end)
{
    size_t n = strlen(s), k = strlen(end);

    return n >= k && !strcmp(s + n - k, end);
}

static int find_head(struct bert_loader *l, struct err *e)
{
    const struct json *list = hparams_json(l->h, "architectures");
    const struct json *first = list ? json_child(list) : NULL;
    const char *name = first ? json_string(first) : NULL;
    char out[BERT_NAME_BYTES];

    l->m->head = HEAD_EMBED;
    if (l->gguf || l->m->sentence.stated)
        return 0;
    if (!name) {
        snprintf(out, sizeof out, "%s.weight", l->f->cls.out);
        l->m->head = bert_has(l, out)                   ? HEAD_CLASS
                     : bert_has(l, l->f->fill.out_bias) ? HEAD_FILL
                                                        : HEAD_EMBED;
        return 0;
    }
    if (ends_with(name, "ForMaskedLM") || ends_with(name, "ForPreTraining"))
        l->m->head = HEAD_FILL;
    else if (ends_with(name, "ForSequenceClassification"))
        l->m->head = HEAD_CLASS;
    else if (!ends_with(name, "Model"))
        return unsupported(l, "architectures", name,
                           "a model for masked words, sequence "
                           "classification or embeddings",
                           e);
    return 0;
}

static int gguf_pooling(struct bert_loader *l, struct err *e)
{
    int64_t kind = 0;

    /* LLAMA_POOLING_TYPE_*: 0 none, 1 mean, 2 first token. Nothing says
     * whether vectors are normalised; programs that read such files do it. */
    if (hparams_int_or(l->h, "bert.pooling_type", 0, 4, 1, &kind, e))
        return -1;
    if (kind > 2)
        return err_set(e, ERR_UNSUPPORTED,
                       "%s: 'bert.pooling_type' is %d, expected 0, 1 or 2",
                       l->o->label, (int)kind);
    l->m->sentence.pooling = kind == 2 ? BERT_POOL_CLS : BERT_POOL_MEAN;
    l->m->sentence.normalise = 1;
    return 0;
}

/* The family that model_type names; what is left (xlm-roberta) is RoBERTa's
 * shape. */
static int find_family(struct bert_loader *l, struct err *e)
{
    const char *type;
    size_t i = 0;

    if (hparams_string(l->h, "model_type", &type, e))
        return -1;
    while (i < 2 && strcmp(families[i].type, type))
        i++;
    l->f = &families[i];
    l->gguf = hparams_form(l->h) == HPARAMS_GGUF;
    l->names = l->gguf ? &gguf_names : l->f->names;
    l->keys = l->gguf ? &gguf_keys : l->f->keys;
    return 0;
}

int bert_config_read(struct bert_loader *l, struct err *e)
{
    struct bert *m = l->m;

    if (find_family(l, e) || find_prefix(l, e) || read_config(l, e))
        return -1;
    if (l->gguf ? gguf_pooling(l, e)
                : bert_sentence_read(l->c, l->o->label, &m->sentence, e))
        return -1;
    return find_head(l, e);
}
