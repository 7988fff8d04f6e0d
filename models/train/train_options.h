/* train_options: the command line of seqd-train. One table (train_options.c
 * and the engine's rows, for eval) says flag, kind, range, default and help of
 * every option; --help is made from it (engine/base/options.h). Which of them a
 * command reads stands beside it; the others are refused.
 *
 * SPDX-License-Identifier: MIT */
#ifndef SEQD_TRAIN_OPTIONS_H
#define SEQD_TRAIN_OPTIONS_H

#include <stdio.h>

#include "engine/base/err.h"
#include "engine/run/engine_options.h"
#include "engine/text/records.h"

enum { TASK_LM, TASK_CLASSIFIER, TASK_REGRESSION };
enum {
    ARCH_RNN,
    ARCH_GPT2,
    ARCH_BERT,
    ARCH_SEQ2SEQ_TRANSFORMER,
    ARCH_SEQ2SEQ_RNN
};
enum { ACTIVATION_RELU, ACTIVATION_SWISH };
enum { CELL_LSTM, CELL_GRU, CELL_ELMAN };
enum { INIT_AUTO, INIT_ORTHOGONAL, INIT_IDENTITY, INIT_GLOROT };
enum {
    SCHEDULE_CONSTANT,
    SCHEDULE_COSINE,
    SCHEDULE_LINEAR,
    SCHEDULE_PLATEAU,
    SCHEDULE_INVERSE_SQRT
};
enum { SOFTMAX_FULL, SOFTMAX_SAMPLED };
enum { NOISE_UNIGRAM, NOISE_LOG_UNIFORM };
enum { AVERAGE_NONE, AVERAGE_EMA, AVERAGE_TAIL, AVERAGE_LAST, AVERAGE_TRIGGER };
enum {
    TOKENIZER_ENGLISH,
    TOKENIZER_WHITESPACE,
    TOKENIZER_CHARACTERS,
    TOKENIZER_BPE
};
enum { PRECISION_F32, PRECISION_BF16, PRECISION_F16, PRECISION_INT8 };
enum { KEEP_ACCURACY, KEEP_NLL };

struct options {
    const char *command; /* train, eval, calibrate, convert ... */
    const char *hypotheses, *references, *sources; /* bleu */
    /* data */
    const char *data, *valid, *out, *model, *id2label, *vocab_from, *init;
    const char *init_reverse;
    const char *source, *target, *valid_source, *valid_target; /* pairs */
    const char *language;
    int language_column, batch_tokens, decoder_layers, activation, attention;
    double hold_out;
    int beams, max_target; /* eval of pairs */
    double length_penalty;
    const char *output;
    const char *labels; /* eval: those that may be the answer */
    int scaling;        /* calibrate: enum scaling_kind */
    int cache_size;     /* eval of language models */
    double cache_theta, cache_lambda;
    const char *cut_by, *special;
    int tokenizer, sub_words; /* what cut_by says: TOKENIZER_*, N of bpe:N */
    int task, lowercase, vocab_size, min_count, record, max_len;
    int shuffle, reverse, init_parts;
    /* net */
    int cell, relu, embedding, hidden, layers, bidirectional, projection, tie;
    int pooling, arch, heads, inner, context, causal;
    double mask_rate;
    int inputs; /* not an option: columns of vectors, 0 for tokens */
    int predict_last;
    int init_recurrent;
    double init_recurrent_scale, init_input, forget_bias, lr_scale_recurrent;
    /* optimiser */
    int optimizer, schedule, warmup, batch, bptt, epochs, patience;
    int eval_every, freeze_epochs, lazy, keep;
    double lr, lr_end, weight_decay, momentum, beta1, beta2, clip;
    double max_minutes, lr_scale_init, lr_layer, unfreeze;
    int accumulate, apart;
    /* regularisation */
    double drop_word, drop_embedding, drop_between, drop_output;
    double drop_attention, drop_recurrent, unk_rate, smoothing;
    int variational;
    double ar, tar; /* penalties (pass.h) */
    /* softmax, averaging */
    int softmax, samples, noise, average, average_from, average_last;
    int average_patience, bptt_random;
    double noise_power, average_decay;
    /* run */
    int seed, precision, products, resume, overwrite;
    int threads; /* the engine's: workers of a training, too */
    double save_minutes, report_seconds;
    const char *gradient_norms; /* file */
    struct engine_options engine;
    int cut;            /* not an option: --max-len was given */
    int brief;          /* nor this: eval's line for a CARD.md */
    int hold_out_given; /* nor this */
    int precision_given;
    FILE *log; /* not an option: where progress goes, NULL for nowhere */
};

extern const struct option_table train_table;

/* train_options_parse: options_parse's errors; ERR_INVALID for an option that
 * the command does not read, or words without a command; none is "help". Texts
 * are borrowed from argv. */
int train_options_parse(int argc, char *const *argv, struct options *o,
                        struct err *e);

#endif
