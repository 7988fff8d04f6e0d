/* bert_load: encoders from Hugging Face's folders (the names of BERT, with
 * LayerNorm's parts as `weight` and `bias` or, in files from before 2019,
 * `gamma` and `beta`; of DistilBERT; of RoBERTa; each with or without the
 * prefix of the base model) and from GGUF files of architecture "bert".
 *
 * What a checkpoint is for, in this order: modules.json (sentence embeddings),
 * the name in `architectures`, else the tensors that are there.
 *
 * SPDX-License-Identifier: MIT */
#include <stdio.h>
#include <string.h>

#include "engine/base/mem.h"
#include "models/bert.h"

#define NAME_BYTES 160
#define PART_BYTES 96
#define MAX_DIM 65536
#define MAX_VOCAB (1 << 24)

/* Names of tensors: of the embedding, and of a layer behind "<layer><i>.". */
struct part_names {
    const char *word, *position, *type, *norm;
    const char *layer;
    const char *q, *k, *v, *o, *norm1, *up, *down, *norm2;
};

static const struct part_names bert_names = {
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

static const struct part_names distil_names = {
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

static const struct part_names gguf_names = {
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
struct keys {
    const char *width, *layers, *heads, *inner, *act, *eps, *length;
};

static const struct keys bert_keys = {"hidden_size",
                                      "num_hidden_layers",
                                      "num_attention_heads",
                                      "intermediate_size",
                                      "hidden_act",
                                      "layer_norm_eps",
                                      "max_position_embeddings"};
static const struct keys distil_keys = {"dim",
                                        "n_layers",
                                        "n_heads",
                                        "hidden_dim",
                                        "activation",
                                        NULL,
                                        "max_position_embeddings"};
static const struct keys gguf_keys = {"bert.embedding_length",
                                      "bert.block_count",
                                      "bert.attention.head_count",
                                      "bert.feed_forward_length",
                                      NULL,
                                      "bert.attention.layer_norm_epsilon",
                                      "bert.context_length"};

/* The two layers of a head and the norm between them. */
struct head_names {
    const char *dense, *norm, *out, *out_bias;
    enum bert_act act;
    int own_act; /* `act` is not the model's own */
};

static const struct family {
    const char *type; /* model_type */
    const char *prefix;
    const struct part_names *names;
    const struct keys *keys;
    struct head_names fill, cls;
    int roberta; /* positions behind the padding token's */
} families[] = {
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

struct loader {
    struct bert *m;
    const struct load_opts *o;
    struct weights *w;
    const struct hparams *h;
    struct model_info *info;
    const struct family *f;
    const struct part_names *names;
    const struct keys *keys;
    const char *prefix; /* of the base model's tensors: "" or the family's */
    int gguf;
};

/* --- names --- */

/* "<prefix><part>.<kind>" of a tensor of the base model. */
static void base_name(const struct loader *l, const char *part,
                      const char *kind, char out[NAME_BYTES])
{
    snprintf(out, NAME_BYTES, "%s%s.%s", l->prefix, part, kind);
}

static void layer_part(const struct loader *l, int i, const char *part,
                       char out[PART_BYTES])
{
    snprintf(out, PART_BYTES, "%s%d.%s", l->names->layer, i, part);
}

static int has(const struct loader *l, const char *name)
{
    return weights_find(l->w, name) != NULL;
}

static int has_base(const struct loader *l, const char *part, const char *kind)
{
    char name[NAME_BYTES];

    base_name(l, part, kind, name);
    return has(l, name);
}

static int find_prefix(struct loader *l, struct err *e)
{
    char name[NAME_BYTES];

    l->prefix = "";
    if (has_base(l, l->names->word, "weight"))
        return 0;
    l->prefix = l->f->prefix;
    if (!l->gguf && has_base(l, l->names->word, "weight"))
        return 0;
    l->prefix = "";
    base_name(l, l->names->word, "weight", name);
    return err_set(e, ERR_FORMAT, "%s: no tensor '%s', with or without '%s'",
                   l->o->label, name, l->gguf ? "" : l->f->prefix);
}

/* --- hyperparameters --- */

static int unsupported(const struct loader *l, const char *key,
                       const char *value, const char *want, struct err *e)
{
    return err_set(e, ERR_UNSUPPORTED,
                   "%s: config.json: '%s' is \"%.40s\", expected %s",
                   l->o->label, key, value, want);
}

static int read_act(struct loader *l, struct err *e)
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
static int check_variants(const struct loader *l, struct err *e)
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

static int read_dim(const struct loader *l, const char *key, int64_t max,
                    int *out, struct err *e)
{
    int64_t v = 0;

    if (hparams_int(l->h, key, 1, max, &v, e))
        return -1;
    *out = (int)v;
    return 0;
}

/* Rows of a table of the embedding, 0 when it is not there. */
static int table_rows(const struct loader *l, const char *part)
{
    char name[NAME_BYTES];
    const struct weight *t;

    if (!part)
        return 0;
    base_name(l, part, "weight", name);
    t = weights_find(l->w, name);
    return t && t->n_dims == 2 && t->dim[0] <= MAX_VOCAB ? (int)t->dim[0] : 0;
}

/* Sizes that config.json states; GGUF leaves them to the tensors. */
static int read_tables(struct loader *l, struct err *e)
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

static int read_config(struct loader *l, struct err *e)
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

static int find_head(struct loader *l, struct err *e)
{
    const struct json *list = hparams_json(l->h, "architectures");
    const struct json *first = list ? json_child(list) : NULL;
    const char *name = first ? json_string(first) : NULL;
    char out[NAME_BYTES];

    l->m->head = HEAD_EMBED;
    if (l->gguf || l->m->sentence.stated)
        return 0;
    if (!name) {
        snprintf(out, sizeof out, "%s.weight", l->f->cls.out);
        l->m->head = has(l, out)                   ? HEAD_CLASS
                     : has(l, l->f->fill.out_bias) ? HEAD_FILL
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

static int gguf_pooling(struct loader *l, struct err *e)
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

/* --- tensors --- */

/* A norm under either pair of names. */
static int load_norm(struct loader *l, const char *full, struct tf_norm *out,
                     struct err *e)
{
    char weight[NAME_BYTES + 16], bias[NAME_BYTES + 16];
    int old;

    snprintf(weight, sizeof weight, "%s.gamma", full);
    old = has(l, weight);
    snprintf(weight, sizeof weight, "%s.%s", full, old ? "gamma" : "weight");
    snprintf(bias, sizeof bias, "%s.%s", full, old ? "beta" : "bias");
    return tf_norm_load(l->w, weight, bias, l->m->H, 0, l->m->eps, 0, out, e);
}

/* N outputs of K inputs under each of `part`, one below the other. */
static int load_linear(struct loader *l, int i, const char *const *part,
                       int n_part, int N, int K, struct tf_linear *out,
                       struct err *e)
{
    char weight[3][NAME_BYTES], bias[3][NAME_BYTES], name[PART_BYTES];
    struct tf_part p[3];

    for (int k = 0; k < n_part; k++) {
        layer_part(l, i, part[k], name);
        base_name(l, name, "weight", weight[k]);
        base_name(l, name, "bias", bias[k]);
        p[k] = (struct tf_part){.name = weight[k], .bias = bias[k], .N = N};
    }
    return tf_linear_load(l->w, l->o, p, n_part, K, out, e);
}

static int load_layer(struct loader *l, int i, struct err *e)
{
    const struct part_names *n = l->names;
    const char *const qkv[] = {n->q, n->k, n->v};
    struct bert *m = l->m;
    struct bert_layer *y = &m->layer[i];
    char part[PART_BYTES], norm1[NAME_BYTES], norm2[NAME_BYTES];

    layer_part(l, i, n->norm1, part);
    snprintf(norm1, sizeof norm1, "%s%s", l->prefix, part);
    layer_part(l, i, n->norm2, part);
    snprintf(norm2, sizeof norm2, "%s%s", l->prefix, part);
    return load_linear(l, i, qkv, 3, m->H, m->H, &y->qkv, e) ||
                   load_linear(l, i, &n->o, 1, m->H, m->H, &y->o, e) ||
                   load_norm(l, norm1, &y->norm1, e) ||
                   load_linear(l, i, &n->up, 1, m->F, m->H, &y->up, e) ||
                   load_linear(l, i, &n->down, 1, m->H, m->F, &y->down, e) ||
                   load_norm(l, norm2, &y->norm2, e)
               ? -1
               : 0;
}

static int load_embedding(struct loader *l, struct err *e)
{
    struct bert *m = l->m;
    char name[NAME_BYTES];
    size_t pad = tf_pad(m->H);
    const struct weight *t;

    base_name(l, l->names->word, "weight", name);
    m->word = weights_need(l->w, name, 2, m->V, m->H, e);
    base_name(l, l->names->position, "weight", name);
    m->position = m->word ? weights_need(l->w, name, 2, m->P, m->H, e) : NULL;
    if (!m->position)
        return -1;
    if (m->n_types) {
        base_name(l, l->names->type, "weight", name);
        t = weights_need(l->w, name, 2, m->n_types, m->H, e);
        m->type = t ? mem_floats((size_t)m->n_types * pad) : NULL;
        if (!m->type)
            return t ? err_nomem(e) : -1;
        for (int i = 0; i < m->n_types; i++)
            weight_read(t, (size_t)i * (size_t)m->H, (size_t)m->H,
                        m->type + (size_t)i * pad);
    }
    snprintf(name, sizeof name, "%s%s", l->prefix, l->names->norm);
    return load_norm(l, name, &m->norm, e);
}

/* A dense layer of a head: its name is whole, or one of the base model. */
static int load_dense(struct loader *l, const char *part, int N,
                      struct tf_linear *out, struct err *e)
{
    char weight[NAME_BYTES], bias[NAME_BYTES];
    struct tf_part p = {.name = weight, .bias = bias, .N = N};

    snprintf(weight, sizeof weight, "%s.weight", part);
    snprintf(bias, sizeof bias, "%s.bias", part);
    if (!has(l, weight)) {
        base_name(l, part, "weight", weight);
        base_name(l, part, "bias", bias);
    }
    return tf_linear_load(l->w, l->o, &p, 1, l->m->H, out, e);
}

/* The words' matrix, which is the embedding's unless config.json says no. */
static int load_fill(struct loader *l, struct err *e)
{
    const struct head_names *n = &l->f->fill;
    struct bert *m = l->m;
    char weight[NAME_BYTES], bias[NAME_BYTES];
    struct tf_part p = {.name = weight, .N = m->V};
    int tied;

    m->head_act = n->own_act ? n->act : m->act;
    if (hparams_bool_or(l->h, "tie_word_embeddings", 1, &tied, e) ||
        load_dense(l, n->dense, m->H, &m->dense, e) ||
        load_norm(l, n->norm, &m->head_norm, e))
        return -1;
    if (tied)
        base_name(l, l->names->word, "weight", weight);
    else
        snprintf(weight, sizeof weight, "%s.weight", n->out);
    snprintf(bias, sizeof bias, "%s.bias", n->out);
    if (has(l, n->out_bias))
        snprintf(bias, sizeof bias, "%s", n->out_bias);
    p.bias = bias;
    return tf_linear_load(l->w, l->o, &p, 1, m->H, &m->out, e);
}

/* id2label, or "LABEL_0" and so on where config.json has none: transformers
 * writes it only when it is not the default. */
static int read_labels(struct loader *l, int n, struct err *e)
{
    const struct json *map = hparams_json(l->h, "id2label");

    if (map && json_type(map) != JSON_OBJECT)
        map = NULL;
    if (map && json_size(map) != n)
        return err_set(e, ERR_FORMAT,
                       "%s: config.json: 'id2label' has %d entries, the "
                       "classifier %d",
                       l->o->label, json_size(map), n);
    l->m->label = mem_zarray((size_t)n, sizeof *l->m->label);
    if (!l->m->label)
        return err_nomem(e);
    for (int i = 0; i < n; i++) {
        char key[16];
        const struct json *v;

        snprintf(key, sizeof key, "%d", i);
        snprintf(l->m->label[i], sizeof *l->m->label, "LABEL_%d", i);
        l->info->labels[i] = l->m->label[i];
        v = map ? json_get(map, key) : NULL;
        if (map && (!v || json_type(v) != JSON_STRING))
            return err_set(e, ERR_FORMAT,
                           "%s: config.json: 'id2label' of %d entries has no "
                           "string \"%d\"",
                           l->o->label, n, i);
        if (v)
            l->info->labels[i] = json_string(v);
    }
    l->info->n_labels = n;
    return 0;
}

/* As transformers' pipeline chooses: one label among others, labels that do
 * not exclude each other (one alone is of that kind), or a number. */
static int read_problem(struct loader *l, struct err *e)
{
    static const char *const kinds[] = {"", "single_label_classification",
                                        "multi_label_classification",
                                        "regression", NULL};
    int kind;

    if (hparams_choice(l->h, "problem_type", kinds, "", &kind, e))
        return -1;
    l->info->scores = kind == 3                             ? SCORE_RAW
                      : kind == 2 || l->info->n_labels == 1 ? SCORE_SIGMOID
                                                            : SCORE_SOFTMAX;
    return 0;
}

static int load_class(struct loader *l, struct err *e)
{
    const struct head_names *n = &l->f->cls;
    struct bert *m = l->m;
    char weight[NAME_BYTES];
    const struct weight *t;

    snprintf(weight, sizeof weight, "%s.weight", n->out);
    t = weights_find(l->w, weight);
    if (!t || t->n_dims != 2 || t->dim[0] < 1 || t->dim[0] > MODEL_MAX_LABELS)
        return err_set(e, ERR_FORMAT,
                       "%s: no tensor '%s' with 1..%d rows, the labels' scores",
                       l->o->label, weight, MODEL_MAX_LABELS);
    m->head_act = n->act;
    return read_labels(l, (int)t->dim[0], e) || read_problem(l, e) ||
                   load_dense(l, n->dense, m->H, &m->dense, e) ||
                   load_dense(l, n->out, (int)t->dim[0], &m->out, e)
               ? -1
               : 0;
}

static int load_tensors(struct loader *l, struct err *e)
{
    struct bert *m = l->m;
    char more[PART_BYTES];

    m->layer = mem_zarray((size_t)m->L, sizeof *m->layer);
    if (!m->layer)
        return err_nomem(e);
    if (load_embedding(l, e))
        return -1;
    for (int i = 0; i < m->L; i++) {
        if (load_layer(l, i, e))
            return -1;
    }
    layer_part(l, m->L, l->names->q, more);
    if (has_base(l, more, "weight")) /* answers without it would be wrong */
        return err_set(e, ERR_FORMAT,
                       "%s: '%s' is %d, but the file has a layer %d",
                       l->o->label, l->keys->layers, m->L, m->L);
    if (m->head == HEAD_FILL)
        return load_fill(l, e);
    return m->head == HEAD_CLASS ? load_class(l, e) : 0;
}

/* --- info --- */

static size_t held_bytes(const struct bert *m)
{
    size_t pad = tf_pad(m->H) * sizeof(float), n = sizeof *m;

    for (int i = 0; i < m->L; i++) {
        const struct bert_layer *y = &m->layer[i];

        n += tf_linear_bytes(&y->qkv) + tf_linear_bytes(&y->o) +
             tf_linear_bytes(&y->up) + tf_linear_bytes(&y->down) + 4 * pad;
    }
    n += tf_linear_bytes(&m->dense) + tf_linear_bytes(&m->out);
    return n + ((size_t)m->n_types + 4) * pad;
}

static void fill_spec(struct bert *m)
{
    double H = m->H;
    struct tf_spec *s = &m->spec;

    s->n_vocab = m->V;
    s->max_len = m->P - (m->pad + 1);
    s->whole = 1;
    s->wants = 1u << WANT_HIDDEN | 1u << WANT_ATTENTION;
    s->width = m->H;
    s->n_layers = m->L;
    s->n_phases = 10 * m->L + 5;
    s->token_macs = m->L * (4.0 * H * H + 2.0 * H * m->F);
    if (m->head == HEAD_FILL) {
        s->wants |= 1u << WANT_LOGITS;
        s->n_logits = m->V;
        s->row_macs = H * H + H * m->V;
    } else if (m->head == HEAD_CLASS) {
        s->wants |= 1u << WANT_CLASS;
    } else {
        s->wants |= 1u << WANT_POOLED;
    }
}

static void fill_info(const struct loader *l)
{
    static const unsigned tasks[] = {TASK_FILL, TASK_CLASSIFY, TASK_EMBED};
    static const char *const pools[] = {"mean", "cls", "max", "mean-sqrt"};
    struct bert *m = l->m;
    struct model_info *info = l->info;
    char top[48] = "";

    info->tasks = tasks[m->head];
    info->flags = ARCH_WHOLE_INPUT;
    info->n_vocab = m->head == HEAD_FILL ? m->V : 0;
    info->width = m->H;
    info->n_layers = m->L;
    info->n_heads = m->spec.n_heads;
    info->fast = m->layer[0].qkv.fast;
    info->context_length = m->spec.max_len;
    if (m->head == HEAD_EMBED && m->sentence.max_length > 0 &&
        m->sentence.max_length < info->context_length)
        info->context_length = m->sentence.max_length;
    info->parameters = weights_parameters(l->w);
    info->token_flops = (uint64_t)(2.0 * m->spec.token_macs);
    info->row_flops = (uint64_t)(2.0 * m->spec.row_macs);
    info->memory_bytes = held_bytes(m);
    if (m->head == HEAD_EMBED)
        snprintf(top, sizeof top, ", %s%s", pools[m->sentence.pooling],
                 m->sentence.normalise ? ", length 1" : "");
    snprintf(m->summary, sizeof m->summary, "%s %dx%d, %d heads, ffn %d%s",
             l->f->type, m->L, m->H, m->spec.n_heads, m->F, top);
    info->summary = m->summary;
}

void bert_unload(void *self)
{
    struct bert *m = self;

    if (!m)
        return;
    for (int i = 0; m->layer && i < m->L; i++) {
        struct bert_layer *y = &m->layer[i];

        tf_linear_fini(&y->qkv);
        tf_linear_fini(&y->o);
        tf_linear_fini(&y->up);
        tf_linear_fini(&y->down);
        tf_norm_fini(&y->norm1);
        tf_norm_fini(&y->norm2);
    }
    tf_linear_fini(&m->dense);
    tf_linear_fini(&m->out);
    tf_norm_fini(&m->norm);
    tf_norm_fini(&m->head_norm);
    mem_aligned_free(m->type);
    mem_free(m->label);
    mem_free(m->layer);
    mem_free(m);
}

/* The family that model_type names; what is left (xlm-roberta) is RoBERTa's
 * shape. */
static int find_family(struct loader *l, struct err *e)
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

static int load_all(struct loader *l, struct err *e)
{
    struct bert *m = l->m;

    if (find_family(l, e) || find_prefix(l, e) || read_config(l, e))
        return -1;
    if (l->gguf ? gguf_pooling(l, e)
                : l->o->path && bert_sentence_read(l->o->path, l->o->label,
                                                   &m->sentence, e))
        return -1;
    if (find_head(l, e) || load_tensors(l, e))
        return -1;
    fill_spec(m);
    fill_info(l);
    return 0;
}

int bert_load(const struct load_opts *o, struct weights *w,
              const struct hparams *h, struct model_info *info, void **self,
              struct err *e)
{
    struct loader l = {.o = o, .w = w, .h = h, .info = info};

    memset(info, 0, sizeof *info);
    l.m = mem_zalloc(sizeof *l.m);
    if (!l.m)
        return err_nomem(e);
    if (load_all(&l, e)) {
        bert_unload(l.m);
        return -1;
    }
    *self = l.m;
    return 0;
}
