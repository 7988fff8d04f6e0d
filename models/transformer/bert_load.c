/* bert_load: the tensors of an encoder and what the engine is told about it.
 * Hugging Face's folders hold the names of BERT (LayerNorm's parts as `weight`
 * and `bias` or, in files from before 2019, `gamma` and `beta`), of DistilBERT
 * or of RoBERTa, each with or without the prefix of the base model; GGUF files
 * those of ggml.
 *
 * SPDX-License-Identifier: MIT */
#include <stdio.h>
#include <string.h>

#include "engine/base/mem.h"
#include "models/transformer/bert_load.h"

/* --- tensors --- */

/* A norm under either pair of names. */
static int load_norm(struct bert_loader *l, const char *full,
                     struct tf_norm *out, struct err *e)
{
    char weight[BERT_NAME_BYTES + 16], bias[BERT_NAME_BYTES + 16];
    int old;

    snprintf(weight, sizeof weight, "%s.gamma", full);
    old = bert_has(l, weight);
    snprintf(weight, sizeof weight, "%s.%s", full, old ? "gamma" : "weight");
    snprintf(bias, sizeof bias, "%s.%s", full, old ? "beta" : "bias");
    return tf_norm_load(l->w, weight, bias, l->m->H, 0, l->m->eps, 0, out, e);
}

/* N outputs of K inputs under each of `part`, one below the other. */
static int load_linear(struct bert_loader *l, int i, const char *const *part,
                       int n_part, int N, int K, struct tf_linear *out,
                       struct err *e)
{
    char weight[3][BERT_NAME_BYTES], bias[3][BERT_NAME_BYTES],
        name[BERT_PART_BYTES];
    struct tf_part p[3];

    for (int k = 0; k < n_part; k++) {
        bert_layer_part(l, i, part[k], name);
        bert_base_name(l, name, "weight", weight[k]);
        bert_base_name(l, name, "bias", bias[k]);
        p[k] = (struct tf_part){.name = weight[k], .bias = bias[k], .N = N};
    }
    return tf_linear_load(l->w, l->o, p, n_part, K, out, e);
}

static int load_layer(struct bert_loader *l, int i, struct err *e)
{
    const struct bert_names *n = l->names;
    const char *const qkv[] = {n->q, n->k, n->v};
    struct bert *m = l->m;
    struct bert_layer *y = &m->layer[i];
    char part[BERT_PART_BYTES], norm1[BERT_NAME_BYTES], norm2[BERT_NAME_BYTES];

    bert_layer_part(l, i, n->norm1, part);
    snprintf(norm1, sizeof norm1, "%s%s", l->prefix, part);
    bert_layer_part(l, i, n->norm2, part);
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

static int load_embedding(struct bert_loader *l, struct err *e)
{
    struct bert *m = l->m;
    char name[BERT_NAME_BYTES];
    size_t pad = tf_pad(m->H);
    const struct tensor *t;

    bert_base_name(l, l->names->word, "weight", name);
    m->word = weights_need(l->w, name, 2, m->V, m->H, e);
    bert_base_name(l, l->names->position, "weight", name);
    m->position = m->word ? weights_need(l->w, name, 2, m->P, m->H, e) : NULL;
    if (!m->position)
        return -1;
    if (m->n_types) {
        bert_base_name(l, l->names->type, "weight", name);
        t = weights_need(l->w, name, 2, m->n_types, m->H, e);
        m->type = t ? mem_floats((size_t)m->n_types * pad) : NULL;
        if (!m->type)
            return t ? err_nomem(e) : -1;
        for (int i = 0; i < m->n_types; i++)
            tensor_read(t, (size_t)i * (size_t)m->H, (size_t)m->H,
                        m->type + (size_t)i * pad);
    }
    snprintf(name, sizeof name, "%s%s", l->prefix, l->names->norm);
    return load_norm(l, name, &m->norm, e);
}

/* A dense layer of a head: its name is whole, or one of the base model. */
static int load_dense(struct bert_loader *l, const char *part, int N,
                      struct tf_linear *out, struct err *e)
{
    char weight[BERT_NAME_BYTES], bias[BERT_NAME_BYTES];
    struct tf_part p = {.name = weight, .bias = bias, .N = N};

    snprintf(weight, sizeof weight, "%s.weight", part);
    snprintf(bias, sizeof bias, "%s.bias", part);
    if (!bert_has(l, weight)) {
        bert_base_name(l, part, "weight", weight);
        bert_base_name(l, part, "bias", bias);
    }
    return tf_linear_load(l->w, l->o, &p, 1, l->m->H, out, e);
}

/* The words' matrix, which is the embedding's unless config.json says no. */
static int load_fill(struct bert_loader *l, struct err *e)
{
    const struct bert_head_names *n = &l->f->fill;
    struct bert *m = l->m;
    char weight[BERT_NAME_BYTES], bias[BERT_NAME_BYTES];
    struct tf_part p = {.name = weight, .N = m->V};
    int tied;

    m->head_act = n->own_act ? n->act : m->act;
    if (hparams_bool_or(l->h, "tie_word_embeddings", 1, &tied, e) ||
        load_dense(l, n->dense, m->H, &m->dense, e) ||
        load_norm(l, n->norm, &m->head_norm, e))
        return -1;
    if (tied)
        bert_base_name(l, l->names->word, "weight", weight);
    else
        snprintf(weight, sizeof weight, "%s.weight", n->out);
    snprintf(bias, sizeof bias, "%s.bias", n->out);
    if (bert_has(l, n->out_bias))
        snprintf(bias, sizeof bias, "%s", n->out_bias);
    p.bias = bias;
    return tf_linear_load(l->w, l->o, &p, 1, m->H, &m->out, e);
}

/* id2label, or "LABEL_0" and so on where config.json has none: transformers
 * writes it only when it is not the default. */
static int read_labels(struct bert_loader *l, int n, struct err *e)
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
    l->info->cols[OUT_CLASS] = n;
    return 0;
}

/* As transformers' pipeline chooses: one label among others, labels that do
 * not exclude each other (one alone is of that kind), or a number. */
static int read_problem(struct bert_loader *l, struct err *e)
{
    static const char *const kinds[] = {"", "single_label_classification",
                                        "multi_label_classification",
                                        "regression", NULL};
    int kind;

    if (hparams_choice(l->h, "problem_type", kinds, "", &kind, e))
        return -1;
    l->info->scores = kind == 3 ? SCORE_RAW
                      : kind == 2 || l->info->cols[OUT_CLASS] == 1
                          ? SCORE_SIGMOID
                          : SCORE_SOFTMAX;
    return 0;
}

static int load_class(struct bert_loader *l, struct err *e)
{
    const struct bert_head_names *n = &l->f->cls;
    struct bert *m = l->m;
    char weight[BERT_NAME_BYTES];
    const struct tensor *t;

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

static int load_tensors(struct bert_loader *l, struct err *e)
{
    struct bert *m = l->m;
    char more[BERT_PART_BYTES];

    m->layer = mem_zarray((size_t)m->L, sizeof *m->layer);
    if (!m->layer)
        return err_nomem(e);
    if (load_embedding(l, e))
        return -1;
    for (int i = 0; i < m->L; i++)
        if (load_layer(l, i, e))
            return -1;
    bert_layer_part(l, m->L, l->names->q, more);
    if (bert_has_base(l, more,
                      "weight")) /* answers without it would be wrong */
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
    s->wants = 1u << OUT_HIDDEN | 1u << OUT_ATTENTION;
    s->width = m->H;
    s->n_layers = m->L;
    s->n_phases = 10 * m->L + 5;
    s->token_macs = m->L * (4.0 * H * H + 2.0 * H * m->F);
    if (m->head == HEAD_FILL) {
        s->wants |= 1u << OUT_LOGITS;
        s->n_logits = m->V;
        s->row_macs = H * H + H * m->V;
    } else if (m->head == HEAD_CLASS) {
        s->wants |= 1u << OUT_CLASS;
    } else {
        s->wants |= 1u << OUT_POOLED;
    }
}

static void fill_info(const struct bert_loader *l)
{
    static const char *const pools[] = {"mean", "cls", "max", "mean-sqrt"};
    struct bert *m = l->m;
    struct model_info *info = l->info;
    char top[48] = "";

    info->state.n_ports = 1;
    info->state.port[0] = (struct port){
        .name = "text", .whole = 1, .context_length = m->spec.max_len};
    info->cols[OUT_LOGITS] = m->head == HEAD_FILL ? m->V : 0;
    info->cols[OUT_POOLED] = m->head == HEAD_EMBED ? m->H : 0;
    info->cols[OUT_HIDDEN] = m->H;
    info->cols[OUT_ATTENTION] = 1;
    info->n_layers = m->L;
    info->n_heads = m->spec.n_heads;
    info->fast = m->layer[0].qkv.fast;
    if (m->head == HEAD_EMBED && m->sentence.max_length > 0 &&
        m->sentence.max_length < info->state.port[0].context_length)
        info->state.port[0].context_length = m->sentence.max_length;
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

static int load_all(struct bert_loader *l, struct err *e)
{
    if (bert_config_read(l, e) || load_tensors(l, e))
        return -1;
    fill_spec(l->m);
    fill_info(l);
    return 0;
}

int bert_load(const struct load_opts *o, struct checkpoint *c,
              struct model_info *info, void **self, struct err *e)
{
    struct bert_loader l = {.o = o,
                            .c = c,
                            .w = checkpoint_weights(c, e),
                            .h = checkpoint_hparams(c, e),
                            .info = info};

    memset(info, 0, sizeof *info);
    if (!l.w || !l.h)
        return -1;
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
