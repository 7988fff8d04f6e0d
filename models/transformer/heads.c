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
    "lm_head.decoder.weight", "lm_head.decoder.bias", NULL};

static int ends_with(const char *s, const char *end)
{
    size_t n = strlen(s), k = strlen(end);

    return n >= k && !strcmp(s + n - k, end);
}

int heads_find(const struct names *n, const struct tensor_row *labels,
               const char *words, enum tf_output *out, struct err *e)
{
    const struct json *list = hparams_json(n->h, "architectures");
    const struct json *first = list ? json_child(list) : NULL;
    const char *name = first ? json_string(first) : NULL;

    *out = POOLED;
    if (n->gguf)
        return 0;
    if (!name)
        *out = names_exists(n, -1, labels, "weight") ? CLASS
               : weights_find(n->w, words)           ? LOGITS
                                                     : POOLED;
    else if (ends_with(name, "ForMaskedLM") ||
             ends_with(name, "ForPreTraining"))
        *out = LOGITS;
    else if (ends_with(name, "ForSequenceClassification"))
        *out = CLASS;
    else if (!ends_with(name, "Model"))
        return err_set(e, ERR_UNSUPPORTED,
                       "%s: config.json: 'architectures' is \"%.40s\", "
                       "expected a model for masked words, sequence "
                       "classification or embeddings",
                       n->label, name);
    return 0;
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
