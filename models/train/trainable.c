/* trainable: the families, and what they share (trainable.h).
 *
 * SPDX-License-Identifier: MIT */
#include "models/train/trainable.h"

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
