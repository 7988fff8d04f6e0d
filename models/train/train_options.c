/* train_options: see train_options.h.
 *
 * SPDX-License-Identifier: MIT */
#include "models/train/train_options.h"

#include <stdlib.h>
#include <string.h>

#include "engine/run/beam_search.h"
#include "models/train/scaling.h"

#define AT(field) OPTION_AT(struct options, field)
#define COMMANDS "train|eval|calibrate|convert|bleu|gradcheck|help"

static const struct option rows[] = {
    {"COMMAND", OPTION_WORD, AT(command), NULL, 0, 0, COMMANDS, "what to do"},
    {"HYPOTHESES", OPT_TEXT(hypotheses, "FILE"),
     "bleu: translations, one a line"},
    {"REFERENCES", OPT_TEXT(references, "FILE"),
     "bleu: what they should be; several files, commas between, are several "
     "references"},
    {"SOURCES", OPT_TEXT(sources, "FILE"),
     "bleu: what they are of, for scores by length; may be left out"},
    {.kind = OPTION_SECTION, .help = "Data"},
    {"--task", OPT_CHOICE(task, "lm", "lm|classifier|regression"),
     "what to train; regression: a value from a sequence of vectors"},
    {"--data", OPT_TEXT(data, NULL),
     "training files, comma-separated; FILE:0.3 takes a new 30 % of its "
     "records in each epoch"},
    {"--valid", OPT_TEXT(valid, NULL), "validation file"},
    {"--source", OPT_TEXT(source, NULL),
     "seq2seq: files of sources, a line each, in place of --data, whose lines "
     "are SOURCE TAB TARGET"},
    {"--target", OPT_TEXT(target, NULL), "seq2seq: as many files of targets"},
    {"--valid-source", OPT_TEXT(valid_source, NULL),
     "seq2seq: the same to validate on"},
    {"--valid-target", OPT_TEXT(valid_target, NULL), "seq2seq: their targets"},
    {"--hold-out", OPT_REAL(hold_out, "0.01", 0.0001, 0.5),
     "seq2seq, without --valid: share of the sources that is held out to "
     "validate on, by a hash of the source"},
    {"--language-column", OPT_BOOL(language_column),
     "seq2seq: lines are LANGUAGE TAB SOURCE TAB TARGET; the entry "
     ">>LANGUAGE<< begins the source"},
    {"--language", OPT_TEXT(language, NULL),
     "seq2seq: the target's language where no column says it: of all files, "
     "or, "
     "commas between, of each in turn"},
    {"--out", OPT_TEXT(out, NULL),
     "directory of the checkpoint, the learning curve and the training state"},
    {"--model", OPT_TEXT(model, NULL),
     "eval, calibrate, convert: directory of the checkpoint"},
    {"--beams", OPT_INT(beams, "4", 1, MOST_BEAMS),
     "eval of pairs: beams of the search"},
    {"--length-penalty", OPT_REAL(length_penalty, "1", -10, 10),
     "eval of pairs: above 0 favours long translations"},
    {"--max-target", OPT_INT(max_target, "256", 1, 1 << 20),
     "eval of pairs: tokens of a translation, at most"},
    {"--output", OPT_TEXT(output, NULL),
     "eval of pairs: write the translations to this file, one a line"},
    {"--cache-size", OPT_INT(cache_size, "0", 0, 1 << 20),
     "eval of recurrent language models: a neural cache of so many words of "
     "the text before (Grave et al. 2017); 0: none"},
    {"--cache-theta", OPT_REAL(cache_theta, "1", 0, 100),
     "how much closer states count more"},
    {"--cache-lambda", OPT_REAL(cache_lambda, "0.1", 0, 1),
     "share of the probability that is the cache's"},
    {"--labels", OPT_TEXT(labels, NULL),
     "eval of a classifier, calibrate: the labels that may be the answer, "
     "commas between; a file has their names, or their places in this list: "
     "0, 1 ..."},
    {"--scaling", OPT_CHOICE(scaling, "one", SCALING_KINDS),
     "calibrate: one temperature, one for each label, or these and biases"},
    {"--id2label", OPT_TEXT(id2label, NULL),
     "classifier: names of the labels, in order: negative,positive"},
    {"--tokenizer", OPTION_TEXT, AT(cut_by), "english", 0, 0,
     "english|whitespace|characters|bpe:N",
     "how text is cut into entries; bpe:N learns N sub-words of bytes, special "
     "tokens among them"},
    {"--special", OPT_TEXT(special, NULL),
     "entries that no text makes, commas between: \">>fr<<,>>de<<\""},
    {"--lowercase", OPT_INT(lowercase, "1", 0, 1),
     "english: fold to lower case"},
    {"--vocab-size", OPT_INT(vocab_size, "10000", 2, 1000000),
     "most entries of the vocabulary"},
    {"--min-count", OPT_INT(min_count, "1", 1, 1000000),
     "entries rarer than this are left out; bpe: pairs, at least 2"},
    {"--vocab-from", OPT_TEXT(vocab_from, NULL),
     "take the tokenizer.json of this directory"},
    {"--record", OPT_CHOICE(record, "auto", RECORD_KINDS),
     "lm: a record is a line, a paragraph whose lines are joined, what stands "
     "between blank lines as it is, or the file; auto: paragraphs where the "
     "training text is wrapped, else lines"},
    {"--apart", OPT_BOOL(apart),
     "lm: each record is a text of its own, with the end token around it, read "
     "from an empty state or context; those over --bptt tokens in parts"},
    {"--shuffle", OPT_INT(shuffle, "0", 0, 1),
     "lm: new order of the records in each epoch"},
    {"--reverse", OPT_BOOL(reverse),
     "lm: read each record from its end, to start a second direction from"},
    {"--max-len", OPT_INT(max_len, "256", 1, 100000),
     "classifier: cut texts to this many tokens; eval: only if it is given; "
     "seq2seq: pairs with a longer side are left out"},
    {.kind = OPTION_SECTION, .help = "Net"},
    {"--arch",
     OPT_CHOICE(arch, "rnn", "rnn|gpt2|bert|seq2seq-transformer|seq2seq-rnn"),
     "recurrent; Transformer decoder (lm); Transformer encoder (classifier; "
     "lm: masked words), both lm are tied; Transformer or recurrent net "
     "from one text into another, for pairs of texts"},
    {"--heads", OPT_INT(heads, "4", 1, 256), "Transformers: heads of a layer"},
    {"--inner", OPT_INT(inner, "0", 0, 65536),
     "Transformers: width of the perceptron; 0: four times --embedding"},
    {"--context", OPT_INT(context, "256", 1, 65536), "Transformers: positions"},
    {"--activation", OPT_CHOICE(activation, "relu", "relu|swish"),
     "seq2seq-transformer: in the perceptron"},
    {"--attention",
     OPT_CHOICE(attention, "additive", "none|additive|dot|general"),
     "seq2seq-rnn: what the decoder sees of the source beside its last state"},
    {"--decoder-layers", OPT_INT(decoder_layers, "0", 0, 8),
     "seq2seq-transformer: layers of the decoder; 0: --layers, those of the "
     "encoder"},
    {"--predict-last", OPT_INT(predict_last, "0", 0, 100000),
     "rnn, gpt2 as lm: each record is a text of its own, of which only the "
     "last tokens, so many, are predicted; 0: all, of one stream"},
    {"--mask-rate", OPT_REAL(mask_rate, "0.15", 0.01, 0.9),
     "bert as lm: share of the tokens that are masked and predicted"},
    {"--causal", OPT_BOOL(causal),
     "bert as lm: predict the next word, not masked ones"},
    {"--cell", OPT_CHOICE(cell, "lstm", "lstm|gru|elman"), "cell"},
    {"--init-recurrent",
     OPT_CHOICE(init_recurrent, "auto", "auto|orthogonal|identity|glorot"),
     "recurrent matrices at the start; auto: orthogonal, or the identity for "
     "relu in nets whose states begin with each text"},
    {"--init-recurrent-scale", OPT_REAL(init_recurrent_scale, "1", 1e-6, 100),
     "factor on these"},
    {"--init-input", OPT_REAL(init_input, "0", 0, 10),
     "deviation of the matrices that read a layer's input, normal; 0: uniform "
     "by their sizes (Glorot and Bengio 2010)"},
    {"--forget-bias", OPT_REAL(forget_bias, "1", -20, 20),
     "lstm: of the forget gates at the start"},
    {"--nonlinearity", OPT_CHOICE(relu, "tanh", "tanh|relu"),
     "elman: activation"},
    {"--embedding", OPT_INT(embedding, "128", 1, 8192),
     "columns of the embedding; Transformers: width of all layers"},
    {"--hidden", OPT_INT(hidden, "256", 1, 8192),
     "units of a layer and direction"},
    {"--layers", OPT_INT(layers, "1", 1, 8), "layers"},
    {"--bidirectional", OPT_BOOL(bidirectional),
     "classifier, seq2seq-rnn: a second direction, of the encoder"},
    {"--projection", OPT_INT(projection, "0", 0, 8192),
     "width of a linear layer before the output; 0: none"},
    {"--tie", OPT_BOOL(tie),
     "lm, seq2seq-rnn: the output weights are the embedding"},
    {"--pooling", OPT_CHOICE(pooling, "last", "last|mean|max|concat"),
     "classifier: which state is classified; concat: all three behind each "
     "other"},
    {"--init", OPT_TEXT(init, NULL),
     "start from this checkpoint: tensors by name, vocabulary rows by entry"},
    {"--init-parts", OPT_CHOICE(init_parts, "all", "all|vocabulary"),
     "all, or only the rows that stand for entries"},
    {"--init-reverse", OPT_TEXT(init_reverse, NULL),
     "start the second direction from the layers of this checkpoint"},
    {.kind = OPTION_SECTION, .help = "Optimiser"},
    {"--optimizer", OPT_CHOICE(optimizer, "adamw", "sgd|adam|adamw|muon"),
     "rule; muon: steps of one length in all directions for the matrices "
     "inside the net (Jordan et al. 2024), AdamW for the rest"},
    {"--lr", OPT_REAL(lr, "0.002", 0, 1000), "learning rate"},
    {"--lr-end", OPT_REAL(lr_end, "0.01", 0, 1),
     "cosine, linear: share of the rate that is left at the end"},
    {"--schedule",
     OPT_CHOICE(schedule, "cosine",
                "constant|cosine|linear|plateau|inverse-sqrt"),
     "plateau: halve when validation does not improve; inverse-sqrt: by the "
     "root of --warmup over the step"},
    {"--warmup", OPT_INT(warmup, "0", 0, 1000000), "steps of linear warm-up"},
    {"--weight-decay", OPT_REAL(weight_decay, "0", 0, 10),
     "weight decay of all parameters, as in PyTorch"},
    {"--momentum", OPT_REAL(momentum, "0", 0, 1), "sgd: momentum"},
    {"--beta1", OPT_REAL(beta1, "0.9", 0, 0.99999), "adam, adamw"},
    {"--beta2", OPT_REAL(beta2, "0.999", 0, 0.999999), "adam, adamw"},
    {"--lazy", OPT_INT(lazy, "1", 0, 1),
     "vocabulary rows without a gradient keep their weights and moments, but "
     "for those that the encoder of a seq2seq-rnn reads"},
    {"--clip", OPT_REAL(clip, "1", 0, 1e9), "clip to this global norm; 0: off"},
    {"--batch", OPT_INT(batch, "64", 1, 4096),
     "sequences of a step, over all threads"},
    {"--batch-tokens", OPT_INT(batch_tokens, "2048", 1, 1000000),
     "seq2seq: tokens of a step on either side, in place of --batch"},
    {"--bptt", OPT_INT(bptt, "35", 1, 4096),
     "lm: time steps of a step; gpt2: each starts with an empty context"},
    {"--bptt-random", OPT_BOOL(bptt_random),
     "lm: time steps of a training step by chance about --bptt, or about half "
     "of it in one of twenty; the rate goes by them (Merity et al. 2017)"},
    {"--epochs", OPT_INT(epochs, "10", 1, 100000), "epochs"},
    {"--max-minutes", OPT_REAL(max_minutes, "0", 0, 1e6),
     "end after this time, schedules too; 0: no limit"},
    {"--patience", OPT_INT(patience, "0", 0, 100000),
     "end after so many validations without a gain; 0: never"},
    {"--eval-every", OPT_INT(eval_every, "0", 0, 10000000),
     "validate every so many steps; 0: at the end of an epoch"},
    {"--keep", OPT_CHOICE(keep, "accuracy", "accuracy|nll"),
     "classifier: what makes a checkpoint the best"},
    {"--freeze-epochs", OPT_INT(freeze_epochs, "0", 0, 1000),
     "epochs in which what came from --init does not change"},
    {"--accumulate", OPT_INT(accumulate, "1", 1, 4096),
     "batches whose gradients are added up for one step"},
    {"--lr-layer", OPT_REAL(lr_layer, "1", 0.01, 1),
     "factor on the learning rate of what came from --init for each layer that "
     "it lies below the output (discriminative rates)"},
    {"--unfreeze", OPT_REAL(unfreeze, "0", 0, 1000),
     "what came from --init starts to learn from the top: one layer more each "
     "so many epochs (gradual unfreezing); 0: all at once"},
    {"--lr-scale-init", OPT_REAL(lr_scale_init, "1", 0, 10),
     "factor on the learning rate of what came from --init"},
    {"--lr-scale-recurrent", OPT_REAL(lr_scale_recurrent, "0", 0, 100),
     "factor on the learning rate of recurrent matrices; 0: 1, but for relu 16 "
     "over --hidden, since its states are all positive"},
    {.kind = OPTION_SECTION, .help = "Regularisation"},
    {"--dropout-embedding", OPT_REAL(drop_embedding, "0", 0, 0.95),
     "on the inputs of the first layer"},
    {"--dropout", OPT_REAL(drop_between, "0", 0, 0.95),
     "between layers; Transformers: on what a layer adds"},
    {"--dropout-output", OPT_REAL(drop_output, "0", 0, 0.95),
     "on the top states, or the pooled state"},
    {"--dropout-recurrent", OPT_REAL(drop_recurrent, "0", 0, 0.95),
     "on the elements of the recurrent matrices, one mask a step"},
    {"--dropout-attention", OPT_REAL(drop_attention, "0", 0, 0.95),
     "Transformers: on the weights of the attention"},
    {"--dropout-word", OPT_REAL(drop_word, "0", 0, 0.95),
     "whole vocabulary entries out of the embedding, one choice a step"},
    {"--dropout-variational", OPT_BOOL(variational),
     "the same mask at all time steps"},
    {"--ar", OPT_REAL(ar, "0", 0, 1000),
     "rnn as lm: penalty on the mean square of the top states after dropout"},
    {"--tar", OPT_REAL(tar, "0", 0, 1000),
     "rnn as lm: penalty on that of their changes from one time to the next"},
    {"--unk-rate", OPT_REAL(unk_rate, "0", 0, 0.95),
     "share of the input tokens that become the unknown entry"},
    {"--label-smoothing", OPT_REAL(smoothing, "0", 0, 0.95),
     "share of the target that goes to all labels alike"},
    {.kind = OPTION_SECTION, .help = "Large vocabularies, averaging"},
    {"--softmax", OPT_CHOICE(softmax, "full", "full|sampled"),
     "lm: training loss; validation is always full"},
    {"--samples", OPT_INT(samples, "2048", 1, 1000000),
     "sampled: different noise words of a step"},
    {"--noise", OPT_CHOICE(noise, "unigram", "unigram|log-uniform"),
     "sampled: where noise comes from"},
    {"--noise-power", OPT_REAL(noise_power, "0.75", 0, 1),
     "unigram: exponent of the counts"},
    {"--average", OPT_CHOICE(average, "none", "none|ema|tail|last|trigger"),
     "validate and keep averaged weights; last: those at the last "
     "--average-last validations; trigger: those since validation stopped "
     "getting better (with sgd: NT-ASGD, Merity et al. 2017)"},
    {"--average-decay", OPT_REAL(average_decay, "0.999", 0, 1),
     "ema: decay per step"},
    {"--average-from", OPT_INT(average_from, "1", 1, 100000),
     "tail: first epoch of the average"},
    {"--average-last", OPT_INT(average_last, "5", 1, 100),
     "last: how many validations"},
    {"--average-patience", OPT_INT(average_patience, "5", 1, 1000),
     "trigger: the average begins where a validation is worse than the best of "
     "those before it, the last ones, so many, apart"},
    {.kind = OPTION_SECTION, .help = "Run"},
    {"--seed", OPT_INT(seed, "1", 0, 2147483647), "seed"},
    {"--precision", OPT_CHOICE(precision, "bf16", "f32|bf16|f16|int8"),
     "of the saved checkpoint; int8: matrices in 8 bits with a scale for each "
     "output, vectors in f32"},
    {"--products", OPT_CHOICE(products, "f32", "f32|bf16"),
     "of large matrices; bf16: both sides are rounded, sums are f32: faster "
     "where the CPU has AMX or AVX-512 BF16"},
    {"--resume", OPT_BOOL(resume), "go on from the state in --out"},
    {"--overwrite", OPT_BOOL(overwrite),
     "replace the checkpoint that is in --out"},
    {"--save-minutes", OPT_REAL(save_minutes, "5", 0.01, 1e6),
     "write the training state this often"},
    {"--gradient-norms", OPT_TEXT(gradient_norms, "FILE"),
     "write how much of the last output's loss comes back to each time step, "
     "before the first step and at each validation: a line of JSON each"},
    {"--report-seconds", OPT_REAL(report_seconds, "10", 0.1, 1e6),
     "a progress line this often"},
    {.kind = OPTION_END},
};

const struct option_table train_table = {
    .name = "seqd-train",
    .usage =
        "seqd-train: trains recurrent nets and Transformers for seqd\n\n"
        "  seqd-train train --task lm --data FILE --valid FILE --out DIR\n"
        "  seqd-train train --task classifier --data FILE --valid FILE "
        "--out DIR\n"
        "  seqd-train train --task regression --data FILE --valid FILE "
        "--out DIR\n"
        "  seqd-train eval --model DIR --data FILE\n"
        "  seqd-train calibrate --model DIR --data FILE[,FILE ...]\n"
        "  seqd-train convert --model DIR --out DIR --precision int8\n"
        "  seqd-train bleu HYPOTHESES REFERENCES[,MORE] [SOURCES]\n"
        "  seqd-train gradcheck\n\n"
        "A classifier's files have a label, a space or tab, and a text in "
        "each line, or\nare CSV or TSV with a header; pairs have a source, "
        "a tab and its target.\n\ncalibrate finds the temperature of a "
        "classifier that makes its likelihood of the\nfiles' labels greatest, "
        "and writes it into DIR/config.json.\n\ntrain reads all options but "
        "--model, those of eval and calibrate and, under\nComputing, all but "
        "--threads; eval reads --model, --data, --record, --max-len,\n"
        "--labels, of pairs --source, --target, --language-column, --language, "
        "--beams,\n--length-penalty, --max-target and --output, of language "
        "models --cache-size,\n--cache-theta and --cache-lambda, and those "
        "under "
        "Computing;\ncalibrate --model, --data, --max-len, --labels, "
        "--scaling and those under\nComputing; convert --model, --out, "
        "--precision and --overwrite; bleu and gradcheck\nnone. Others are "
        "refused.\n",
    .groups = (const struct option_group[]){
        {rows, 0},
        {engine_option_rows, offsetof(struct options, engine)},
        {NULL, 0}}};

/* Who reads an option that not training alone reads. */
enum { BY_TRAIN = 1, BY_EVAL = 2, BY_CALIBRATE = 4, BY_CONVERT = 8 };
static const struct {
    const char *flag;
    int by;
} shared[] = {{"--model", BY_EVAL | BY_CALIBRATE | BY_CONVERT},
              {"--out", BY_TRAIN | BY_CONVERT},
              {"--precision", BY_TRAIN | BY_CONVERT},
              {"--overwrite", BY_TRAIN | BY_CONVERT},
              {"--beams", BY_EVAL},
              {"--length-penalty", BY_EVAL},
              {"--max-target", BY_EVAL},
              {"--output", BY_EVAL},
              {"--cache-size", BY_EVAL},
              {"--cache-theta", BY_EVAL},
              {"--cache-lambda", BY_EVAL},
              {"--labels", BY_EVAL | BY_CALIBRATE},
              {"--scaling", BY_CALIBRATE},
              {"--data", BY_TRAIN | BY_EVAL | BY_CALIBRATE},
              {"--record", BY_TRAIN | BY_EVAL},
              {"--max-len", BY_TRAIN | BY_EVAL | BY_CALIBRATE},
              {"--source", BY_TRAIN | BY_EVAL},
              {"--target", BY_TRAIN | BY_EVAL},
              {"--language-column", BY_TRAIN | BY_EVAL},
              {"--language", BY_TRAIN | BY_EVAL}};

/* Does the command read this option, which may be the engine's? */
static int is_read(const char *command, const char *flag, int of_engine)
{
    int by = strcmp(command, "train") == 0       ? BY_TRAIN
             : strcmp(command, "eval") == 0      ? BY_EVAL
             : strcmp(command, "calibrate") == 0 ? BY_CALIBRATE
             : strcmp(command, "convert") == 0   ? BY_CONVERT
                                                 : 0;
    if (of_engine)
        return by == BY_EVAL || by == BY_CALIBRATE ||
               (by == BY_TRAIN && strcmp(flag, "--threads") == 0);
    for (size_t i = 0; i < sizeof shared / sizeof *shared; i++)
        if (strcmp(shared[i].flag, flag) == 0)
            return (shared[i].by & by) != 0;
    return by == BY_TRAIN;
}

static int is_given(const char *flag, int argc, char *const *argv)
{
    for (int k = 1; k < argc; k++)
        if (strcspn(argv[k], "=") == strlen(flag) &&
            strncmp(argv[k], flag, strlen(flag)) == 0)
            return 1;
    return 0;
}

/* Which nets read an option: of single texts or vectors, of pairs. */
enum {
    OF_TEXTS = 1,
    OF_TRANSFORMER = 2,
    OF_RNN = 4,
    OF_VECTORS = 8,
    OF_TOKENS = OF_TEXTS | OF_TRANSFORMER | OF_RNN
};
static const struct {
    const char *flag;
    int read_by;
} some_read[] = {
    {"--id2label", OF_TEXTS},
    {"--record", OF_TEXTS},
    {"--apart", OF_TEXTS},
    {"--shuffle", OF_TEXTS},
    {"--lr-layer", OF_TEXTS},
    {"--unfreeze", OF_TEXTS},
    {"--reverse", OF_TEXTS},
    {"--mask-rate", OF_TEXTS},
    {"--init-reverse", OF_TEXTS},
    {"--bptt", OF_TEXTS},
    {"--keep", OF_TEXTS},
    {"--bptt-random", OF_TEXTS},
    {"--predict-last", OF_TEXTS},
    {"--ar", OF_TEXTS},
    {"--tar", OF_TEXTS},
    {"--nonlinearity", OF_TEXTS | OF_VECTORS},
    {"--pooling", OF_TEXTS | OF_VECTORS},
    {"--batch", OF_TEXTS | OF_VECTORS},
    {"--gradient-norms", OF_TEXTS | OF_VECTORS},
    {"--heads", OF_TEXTS | OF_VECTORS | OF_TRANSFORMER},
    {"--inner", OF_TEXTS | OF_VECTORS | OF_TRANSFORMER},
    {"--context", OF_TEXTS | OF_VECTORS | OF_TRANSFORMER},
    {"--dropout-attention", OF_TEXTS | OF_VECTORS | OF_TRANSFORMER},
    {"--cell", OF_TEXTS | OF_VECTORS | OF_RNN},
    {"--hidden", OF_TEXTS | OF_VECTORS | OF_RNN},
    {"--bidirectional", OF_TEXTS | OF_VECTORS | OF_RNN},
    {"--projection", OF_TEXTS | OF_VECTORS | OF_RNN},
    {"--dropout-recurrent", OF_TEXTS | OF_VECTORS | OF_RNN},
    {"--dropout-variational", OF_TEXTS | OF_VECTORS | OF_RNN},
    {"--init-recurrent", OF_TEXTS | OF_VECTORS | OF_RNN},
    {"--init-recurrent-scale", OF_TEXTS | OF_VECTORS | OF_RNN},
    {"--init-input", OF_TEXTS | OF_VECTORS | OF_RNN},
    {"--forget-bias", OF_TEXTS | OF_VECTORS | OF_RNN},
    {"--lr-scale-recurrent", OF_TEXTS | OF_VECTORS | OF_RNN},
    {"--activation", OF_TRANSFORMER},
    {"--decoder-layers", OF_TRANSFORMER},
    {"--attention", OF_RNN},
    {"--hold-out", OF_TRANSFORMER | OF_RNN},
    {"--batch-tokens", OF_TRANSFORMER | OF_RNN},
    {"--tokenizer", OF_TOKENS},
    {"--special", OF_TOKENS},
    {"--lowercase", OF_TOKENS},
    {"--vocab-size", OF_TOKENS},
    {"--min-count", OF_TOKENS},
    {"--vocab-from", OF_TOKENS},
    {"--max-len", OF_TOKENS},
    {"--tie", OF_TOKENS},
    {"--unk-rate", OF_TOKENS},
    {"--label-smoothing", OF_TOKENS},
    {"--softmax", OF_TOKENS},
    {"--samples", OF_TOKENS},
    {"--noise", OF_TOKENS},
    {"--noise-power", OF_TOKENS},
    {"--dropout-word", OF_TOKENS},
    {"--lazy", OF_TOKENS},
    {"--init-parts", OF_TOKENS},
    {"--causal", OF_TOKENS},
};

/* What a net does not read is refused where it is given, not ignored; of nets
 * of single texts they are not told apart. */
static int check_net(const struct options *o, int argc, char *const *argv,
                     struct err *e)
{
    static const char *const names[] = {"a net of single texts",
                                        "a seq2seq-transformer",
                                        "a seq2seq-rnn", "a net of vectors"};
    int net = o->arch == ARCH_SEQ2SEQ_TRANSFORMER ? 1
              : o->arch == ARCH_SEQ2SEQ_RNN       ? 2
              : o->task == TASK_REGRESSION        ? 3
                                                  : 0;
    for (size_t i = 0; i < sizeof some_read / sizeof *some_read; i++)
        if (!(some_read[i].read_by & 1 << net) &&
            is_given(some_read[i].flag, argc, argv))
            return err_set(e, ERR_INVALID, "%s is no option of %s",
                           some_read[i].flag, names[net]);
    return 0;
}

/* Options that only some of the nets with their kind of data have. */
static int check_kind(const struct options *o, struct err *e)
{
    int lm = o->task == TASK_LM, rnn = o->arch == ARCH_RNN;
    if (o->task == TASK_REGRESSION && !rnn && o->arch != ARCH_BERT)
        return err_set(e, ERR_INVALID,
                       "--task regression is for --arch rnn and bert");
    if (o->apart && o->predict_last > 0)
        return err_set(e, ERR_INVALID,
                       "with --predict-last records are apart: --apart is one "
                       "too many");
    if (o->predict_last > 0 &&
        (!lm || (!rnn && o->arch != ARCH_GPT2) || o->reverse))
        return err_set(e, ERR_INVALID,
                       "--predict-last is for --task lm of --arch rnn and "
                       "gpt2, read from the front");
    if ((o->ar > 0 || o->tar > 0) && (!lm || !rnn || o->predict_last > 0))
        return err_set(e, ERR_INVALID,
                       "--ar and --tar are for --task lm of --arch rnn, all of "
                       "whose tokens are predicted");
    if (o->gradient_norms != NULL && lm && o->arch == ARCH_BERT && !o->causal)
        return err_set(e, ERR_INVALID,
                       "--gradient-norms is for nets with a last output, which "
                       "masked words have not");
    if (o->bptt_random && (!lm || o->predict_last > 0 || o->apart))
        return err_set(e, ERR_INVALID,
                       "--bptt-random is for --task lm of one stream");
    return 0;
}

/* --vocab-from brings what these say. */
static int check_vocabulary(const struct options *o, int argc,
                            char *const *argv, struct err *e)
{
    static const char *const brought[] = {"--tokenizer", "--special",
                                          "--lowercase", "--vocab-size",
                                          "--min-count"};
    for (int i = 0; i < 5 && o->vocab_from != NULL; i++)
        if (is_given(brought[i], argc, argv))
            return err_set(e, ERR_INVALID,
                           "--vocab-from brings the vocabulary: %s is one too "
                           "many",
                           brought[i]);
    return 0;
}

static int check_cache(const struct options *o, int argc, char *const *argv,
                       struct err *e)
{
    return o->cache_size == 0 && (is_given("--cache-theta", argc, argv) ||
                                  is_given("--cache-lambda", argc, argv))
               ? err_set(e, ERR_INVALID,
                         "--cache-theta and --cache-lambda are of a cache: "
                         "--cache-size says of how many words")
               : 0;
}

/* What a command does not read is refused, not ignored, `more` words behind it,
 * too. The words are looked
 * at, not the values: a default that is written out is refused, too. */
static int check_read(const char *command, const char *more, int argc,
                      char *const *argv, struct err *e)
{
    const struct option *o;
    size_t at;
    if (more != NULL && strcmp(command, "bleu") != 0)
        return err_set(e, ERR_INVALID, "unknown option '%.60s' (see --help)",
                       more);
    for (int i = 0; (o = options_row(&train_table, i, &at)) != NULL; i++) {
        int of_engine = at >= offsetof(struct options, engine);
        if (o->flag == NULL || o->flag[0] != '-' ||
            is_read(command, o->flag, of_engine))
            continue;
        if (is_given(o->flag, argc, argv))
            return err_set(e, ERR_INVALID, "%s is no option of %s", o->flag,
                           command);
    }
    return 0;
}

/* --tokenizer: a word, or bpe:N, which says the size as well. */
static int find_tokenizer(struct options *o, int sized, struct err *e)
{
    static const char *const words[] = {"english", "whitespace", "characters"};
    char *end = NULL;
    for (int i = 0; i < 3; i++)
        if (strcmp(o->cut_by, words[i]) == 0) {
            o->tokenizer = i;
            return 0;
        }
    o->tokenizer = TOKENIZER_BPE;
    long n = strncmp(o->cut_by, "bpe:", 4) == 0 && o->cut_by[4] >= '0' &&
                     o->cut_by[4] <= '9'
                 ? strtol(o->cut_by + 4, &end, 10)
                 : 0;
    if (n < 1 || n > 1000000 || *end != '\0')
        return err_set(e, ERR_INVALID,
                       "--tokenizer is '%.60s', expected english, whitespace, "
                       "characters or bpe:N with N up to 1000000",
                       o->cut_by);
    if (sized)
        return err_set(e, ERR_INVALID,
                       "--tokenizer %.20s says the size: --vocab-size is one "
                       "too many",
                       o->cut_by);
    o->sub_words = (int)n;
    return 0;
}

int train_options_parse(int argc, char *const *argv, struct options *o,
                        struct err *e)
{
    memset(o, 0, sizeof *o);
    int rc = options_parse(&train_table, o, argc, argv, e);
    o->threads = o->engine.n_threads;
    int sized = 0;
    for (int i = 1; i < argc; i++) {
        o->cut |= strncmp(argv[i], "--max-len", 9) == 0;
        sized |= strncmp(argv[i], "--vocab-size", 12) == 0;
    }
    o->hold_out_given = is_given("--hold-out", argc, argv);
    o->precision_given = is_given("--precision", argc, argv);
    if (rc < 0 || (rc == 0 && find_tokenizer(o, sized, e) != 0))
        return -1;
    if (rc > 0 || argc < 2)
        o->command = "help";
    if (o->command == NULL)
        return err_set(e, ERR_INVALID,
                       "the command is missing, expected " COMMANDS);
    if (strcmp(o->command, "help") == 0)
        return 0;
    if (check_read(o->command, o->hypotheses, argc, argv, e) != 0 ||
        check_cache(o, argc, argv, e) != 0)
        return -1;
    return strcmp(o->command, "train") == 0 &&
                   (check_net(o, argc, argv, e) != 0 || check_kind(o, e) != 0 ||
                    check_vocabulary(o, argc, argv, e) != 0)
               ? -1
               : 0;
}
