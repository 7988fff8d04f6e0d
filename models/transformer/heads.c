/* heads: see heads.h.
 *
 * SPDX-License-Identifier: MIT */
#include "models/transformer/heads.h"

#include <stdio.h>
#include <string.h>

#include "engine/base/mem.h"

const char *const heads_ignored[] = {
    "embeddings.position_ids", "embeddings.token_type_ids",
    /* BertForPreTraining, and what was made from it */
    "pooler.dense.weight", "pooler.dense.bias", "cls.seq_relationship.weight",
    "cls.seq_relationship.bias",
    /* heads for masked words: BERT, DistilBERT, RoBERTa */
    "cls.predictions.bias", "cls.predictions.transform.dense.weight",
    "cls.predictions.transform.dense.bias",
    "cls.predictions.transform.LayerNorm.weight",
    "cls.predictions.transform.LayerNorm.bias",
    "cls.predictions.transform.LayerNorm.gamma",
    "cls.predictions.transform.LayerNorm.beta",
    "cls.predictions.decoder.weight", "cls.predictions.decoder.bias",
    "vocab_transform.weight", "vocab_transform.bias", "vocab_layer_norm.weight",
    "vocab_layer_norm.bias", "vocab_projector.weight", "vocab_projector.bias",
    "lm_head.bias", "lm_head.dense.weight", "lm_head.dense.bias",
    "lm_head.layer_norm.weight", "lm_head.layer_norm.bias",
    "lm_head.decoder.weight", "lm_head.decoder.bias",
    /* ALBERT, ELECTRA */
    "pooler.weight", "pooler.bias", "sop_classifier.classifier.weight",
    "sop_classifier.classifier.bias", "predictions.bias",
    "predictions.LayerNorm.weight", "predictions.LayerNorm.bias",
    "predictions.dense.weight", "predictions.dense.bias",
    "predictions.decoder.weight", "predictions.decoder.bias",
    "generator_lm_head.weight", "generator_lm_head.bias",
    "dense_prediction.weight", "dense_prediction.bias", NULL};

static int ends_with(const char *s, const char *end)
{
    size_t n = strlen(s), k = strlen(end);

    return n >= k && !strcmp(s + n - k, end);
}

/* config.json's first `architectures`, or NULL. */
static const char *class_of(const struct names *n)
{
    const struct json *list = hparams_json(n->h, "architectures");
    const struct json *first = list ? json_child(list) : NULL;

    return first && !n->gguf ? json_string(first) : NULL;
}

static int refuse(const struct names *n, const char *name, const char *expected,
                  struct err *e)
{
    return err_set(e, ERR_UNSUPPORTED,
                   "%s: config.json: 'architectures' is \"%.60s\", expected a "
                   "model for %s",
                   n->label, name, expected);
}

int heads_find(const struct names *n, const struct tensor_row *labels,
               const char *words, enum tf_output *out, struct err *e)
{
    const char *name = class_of(n);

    *out = POOLED;
    if (n->gguf)
        return 0;
    if (!name)
        *out = names_exists(n, -1, labels, "weight") ? CLASS
               : weights_find(n->w, words)           ? LOGITS
                                                     : POOLED;
    else if (ends_with(name, "ForMaskedLM") ||
             (ends_with(name, "ForPreTraining") &&
              strcmp(name, "ElectraForPreTraining") != 0)) /* finds fakes */
        *out = LOGITS;
    else if (ends_with(name, "ForSequenceClassification"))
        *out = CLASS;
    else if (!ends_with(name, "Model") || ends_with(name, "LMHeadModel"))
        return refuse(n, name,
                      "masked words, sequence classification or embeddings", e);
    return 0;
}

static const struct tensor_row SCORE[] = {
    {OUTPUT, "score", .n = LABELS, .k = WIDTH, .how = BARE}, TENSORS_END};

/* The matrix of a decoder's words; NULL: it is the embedding's. */
static const struct tensor_row *words_of(const struct stack *s)
{
    const struct tensor_row *row = s->top_rows;

    while (row->hf && row->part != OUTPUT)
        row++;
    return row->hf && !s->tied ? row : NULL;
}

/* A decoder for next words, by name (NULL: it has none). */
static int check_words(const struct stack *s, const struct names *n,
                       const char *name, struct err *e)
{
    const struct tensor_row *words = words_of(s);
    int base = name && ends_with(name, "Model") &&
               !ends_with(name, "LMHeadModel") &&
               !ends_with(name, "DoubleHeadsModel");

    if (base && words && !names_exists(n, -1, words, "weight"))
        return err_set(e, ERR_UNSUPPORTED,
                       "%s: config.json: 'architectures' is \"%.60s\", which "
                       "has no head, and there is no tensor '%s.weight'",
                       n->label, name, words->hf);
    if (!name || base || ends_with(name, "LMHeadModel") ||
        ends_with(name, "ForCausalLM") ||
        ends_with(name, "ForConditionalGeneration"))
        return 0;
    return refuse(n, name,
                  s->kind->source ? "next words of a target"
                                  : "next words or sequence classification",
                  e);
}

int heads_read_decoder(struct stack *s, const struct names *n, struct err *e)
{
    const char *name = class_of(n);
    const struct tensor_row *words = words_of(s);
    const struct json *pad;
    int64_t padding;

    if (n->gguf)
        return 0;
    if (s->kind->source)
        return check_words(s, n, name, e);
    if (name ? !ends_with(name, "ForSequenceClassification")
             : (words && names_exists(n, -1, words, "weight")) ||
                   !names_exists(n, -1, SCORE, "weight"))
        return check_words(s, n, name, e);
    s->output = CLASS;
    s->tied = 0;
    s->head_rows = SCORE;
    pad = hparams_json(n->h, "pad_token_id");
    if (pad && json_type(pad) == JSON_NULL) /* stated: none */
        s->padding = 0;
    if (hparams_int_or(n->h, "pad_token_id", -1, INT32_MAX - 1, s->padding - 1,
                       &padding, e))
        return -1;
    s->padding = (int)padding + 1;
    return heads_read_labels(s, n, SCORE, e);
}

/* "LABEL_0" and so on where config.json has none: transformers writes it only
 * when it is not the default. */
static int read_labels(struct stack *s, const struct names *n, struct err *e)
{
    const struct json *map = hparams_json(n->h, "id2label"), *v;
    int N = s->dim[LABELS];
    char key[16];

    if (map && json_type(map) != JSON_OBJECT)
        map = NULL;
    if (map && json_size(map) != N)
        return err_set(e, ERR_FORMAT,
                       "%s: config.json: 'id2label' has %d entries, the "
                       "classifier %d",
                       n->label, json_size(map), N);
    s->label = mem_zarray((size_t)N, sizeof *s->label);
    if (!s->label)
        return err_nomem(e);
    for (int i = 0; i < N; i++) {
        snprintf(key, sizeof key, "%d", i);
        snprintf(s->label[i].own, sizeof s->label[i].own, "LABEL_%d", i);
        v = map ? json_get(map, key) : NULL;
        if (map && (!v || json_type(v) != JSON_STRING))
            return err_set(e, ERR_FORMAT,
                           "%s: config.json: 'id2label' of %d entries has no "
                           "string \"%d\"",
                           n->label, N, i);
        s->label[i].name = v ? json_string(v) : s->label[i].own;
    }
    return 0;
}

/* As transformers' pipeline chooses: one label among others, labels that do
 * not exclude each other (one alone is of that kind), or a number. */
int heads_read_labels(struct stack *s, const struct names *n,
                      const struct tensor_row *out, struct err *e)
{
    static const char *const kinds[] = {"", "single_label_classification",
                                        "multi_label_classification",
                                        "regression", NULL};
    int kind;

    s->dim[LABELS] = names_rows(n, out);
    if (s->dim[LABELS] < 1 || s->dim[LABELS] > HEADS_MAX_LABELS)
        return err_set(e, ERR_FORMAT,
                       "%s: no tensor '%s.weight' with 1..%d rows, the labels' "
                       "scores",
                       n->label, out->hf, HEADS_MAX_LABELS);
    if (read_labels(s, n, e) ||
        hparams_choice(n->h, "problem_type", kinds, "", &kind, e))
        return -1;
    s->scores = kind == 3                          ? NUMBERS
                : kind == 2 || s->dim[LABELS] == 1 ? ANY_OF
                                                   : ONE_OF;
    return 0;
}
