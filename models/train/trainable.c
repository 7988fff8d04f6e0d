/* trainable: the families, and what they share (trainable.h).
 *
 * SPDX-License-Identifier: MIT */
#include "models/train/trainable.h"

#include <string.h>

const struct trainable *const trainables[] = {
    [ARCH_RNN] = &rnn_trainable,
    [ARCH_GPT2] = &gpt2_trainable,
    [ARCH_BERT] = &bert_trainable,
    [ARCH_SEQ2SEQ_TRANSFORMER] = &seq2seq_transformer_trainable,
    [ARCH_SEQ2SEQ_RNN] = &seq2seq_rnn_trainable,
    NULL,
};

const char *trainable_type(const struct trainable *f)
{
    return f->model_type != NULL ? f->model_type : f->name;
}

static int ends_like(const char *name, const char *end)
{
    size_t n = strlen(name), k = strlen(end);
    return n >= k && strcmp(name + n - k, end) == 0;
}

int trainable_by_input(const char *model_type, const char *name)
{
    for (int i = 0; trainables[i] != NULL; i++) {
        const struct trainable *f = trainables[i];
        for (int k = 0; f->by_input != NULL && f->by_input[k] != NULL; k++)
            if (strcmp(trainable_type(f), model_type) == 0 &&
                ends_like(name, f->by_input[k]))
                return 1;
    }
    return 0;
}

int config_size(const struct hparams *h, const char *key, int max, int *v,
                struct err *e)
{
    int64_t x;
    if (hparams_int(h, key, 1, max, &x, e) != 0)
        return -1;
    *v = (int)x;
    return 0;
}

int config_labels(const struct hparams *h)
{
    const struct json *labels = hparams_json(h, "id2label");
    return labels != NULL ? json_size(labels) : 0;
}
