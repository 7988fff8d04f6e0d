/* train_options: see train_options.h.
 *
 * SPDX-License-Identifier: MIT */
#include "models/train/train_options.h"

#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

enum type { TYPE_INT, TYPE_REAL, TYPE_TEXT, TYPE_CHOICE, TYPE_FLAG };

struct row {
    const char *name;
    enum type type;
    size_t at;
    const char *dflt; /* NULL: none */
    double min, max;
    const char *choices; /* "a|b|c" */
    const char *help;
};

#define AT(field) offsetof(struct options, field)

static const struct row table[] = {
    {NULL, 0, 0, NULL, 0, 0, NULL, "Data"},
    {"task", TYPE_CHOICE, AT(task), "lm", 0, 0, "lm|classifier",
     "what to train"},
    {"data", TYPE_TEXT, AT(data), NULL, 0, 0, NULL,
     "training files, comma-separated; FILE:0.3 takes a new 30 % of its "
     "records in each epoch"},
    {"valid", TYPE_TEXT, AT(valid), NULL, 0, 0, NULL, "validation file"},
    {"out", TYPE_TEXT, AT(out), NULL, 0, 0, NULL,
     "directory of the checkpoint, the learning curve and the training state"},
    {"model", TYPE_TEXT, AT(model), NULL, 0, 0, NULL,
     "eval: directory of the checkpoint"},
    {"id2label", TYPE_TEXT, AT(id2label), NULL, 0, 0, NULL,
     "classifier: names of the labels, in order: negative,positive"},
    {"tokenizer", TYPE_CHOICE, AT(tokenizer), "english", 0, 0,
     "english|whitespace|characters", "how text is cut into entries"},
    {"lowercase", TYPE_INT, AT(lowercase), "1", 0, 1, NULL,
     "english: fold to lower case"},
    {"vocab-size", TYPE_INT, AT(vocab_size), "10000", 2, 1000000, NULL,
     "most entries of the vocabulary"},
    {"min-count", TYPE_INT, AT(min_count), "1", 1, 1000000, NULL,
     "entries rarer than this are left out"},
    {"vocab-from", TYPE_TEXT, AT(vocab_from), NULL, 0, 0, NULL,
     "take the tokenizer.json of this directory"},
    {"record", TYPE_CHOICE, AT(record), "line", 0, 0, "line|blank|whole",
     "lm: a record is a line, what stands between blank lines, or the file"},
    {"shuffle", TYPE_INT, AT(shuffle), "0", 0, 1, NULL,
     "lm: new order of the records in each epoch"},
    {"reverse", TYPE_FLAG, AT(reverse), "0", 0, 1, NULL,
     "lm: read each record from its end, to start a second direction from"},
    {"max-len", TYPE_INT, AT(max_len), "256", 1, 100000, NULL,
     "classifier: cut texts to this many tokens"},
    {NULL, 0, 0, NULL, 0, 0, NULL, "Net"},
    {"arch", TYPE_CHOICE, AT(arch), "rnn", 0, 0, "rnn|gpt2|bert",
     "recurrent; Transformer decoder (lm); Transformer encoder (classifier; "
     "lm: "
     "masked words); both lm are tied"},
    {"heads", TYPE_INT, AT(heads), "4", 1, 256, NULL,
     "gpt2, bert: heads of a layer"},
    {"inner", TYPE_INT, AT(inner), "0", 0, 65536, NULL,
     "gpt2, bert: width of the perceptron; 0: four times --embedding"},
    {"context", TYPE_INT, AT(context), "256", 1, 65536, NULL,
     "gpt2, bert: positions"},
    {"mask-rate", TYPE_REAL, AT(mask_rate), "0.15", 0.01, 0.9, NULL,
     "bert as lm: share of the tokens that are masked and predicted"},
    {"causal", TYPE_FLAG, AT(causal), "0", 0, 1, NULL,
     "bert as lm: predict the next word, not masked ones"},
    {"cell", TYPE_CHOICE, AT(cell), "lstm", 0, 0, "lstm|gru|elman", "cell"},
    {"nonlinearity", TYPE_CHOICE, AT(relu), "tanh", 0, 0, "tanh|relu",
     "elman: activation"},
    {"embedding", TYPE_INT, AT(embedding), "128", 1, 8192, NULL,
     "columns of the embedding; gpt2, bert: width of all layers"},
    {"hidden", TYPE_INT, AT(hidden), "256", 1, 8192, NULL,
     "units of a layer and direction"},
    {"layers", TYPE_INT, AT(layers), "1", 1, 8, NULL, "layers"},
    {"bidirectional", TYPE_FLAG, AT(bidirectional), "0", 0, 1, NULL,
     "classifier: a second direction"},
    {"projection", TYPE_INT, AT(projection), "0", 0, 8192, NULL,
     "width of a linear layer before the output; 0: none"},
    {"tie", TYPE_FLAG, AT(tie), "0", 0, 1, NULL,
     "lm: the output weights are the embedding"},
    {"pooling", TYPE_CHOICE, AT(pooling), "last", 0, 0, "last|mean|max",
     "classifier: which state is classified"},
    {"init", TYPE_TEXT, AT(init), NULL, 0, 0, NULL,
     "start from this checkpoint: tensors by name, vocabulary rows by entry"},
    {"init-parts", TYPE_CHOICE, AT(init_parts), "all", 0, 0, "all|vocabulary",
     "all, or only the rows that stand for entries"},
    {"init-reverse", TYPE_TEXT, AT(init_reverse), NULL, 0, 0, NULL,
     "start the second direction from the layers of this checkpoint"},
    {NULL, 0, 0, NULL, 0, 0, NULL, "Optimiser"},
    {"optimizer", TYPE_CHOICE, AT(optimizer), "adamw", 0, 0, "sgd|adam|adamw",
     "rule"},
    {"lr", TYPE_REAL, AT(lr), "0.002", 0, 1000, NULL, "learning rate"},
    {"lr-end", TYPE_REAL, AT(lr_end), "0.01", 0, 1, NULL,
     "cosine, linear: share of the rate that is left at the end"},
    {"schedule", TYPE_CHOICE, AT(schedule), "cosine", 0, 0,
     "constant|cosine|linear|plateau",
     "plateau: halve when validation does not improve"},
    {"warmup", TYPE_INT, AT(warmup), "0", 0, 1000000, NULL,
     "steps of linear warm-up"},
    {"weight-decay", TYPE_REAL, AT(weight_decay), "0", 0, 10, NULL,
     "weight decay of all parameters, as in PyTorch"},
    {"momentum", TYPE_REAL, AT(momentum), "0", 0, 1, NULL, "sgd: momentum"},
    {"beta1", TYPE_REAL, AT(beta1), "0.9", 0, 0.99999, NULL, "adam, adamw"},
    {"beta2", TYPE_REAL, AT(beta2), "0.999", 0, 0.999999, NULL, "adam, adamw"},
    {"lazy", TYPE_INT, AT(lazy), "1", 0, 1, NULL,
     "vocabulary rows without a gradient keep their weights and moments"},
    {"clip", TYPE_REAL, AT(clip), "1", 0, 1e9, NULL,
     "clip to this global norm; 0: off"},
    {"batch", TYPE_INT, AT(batch), "64", 1, 4096, NULL,
     "sequences of a step, over all threads"},
    {"bptt", TYPE_INT, AT(bptt), "35", 1, 4096, NULL,
     "lm: time steps of a step; gpt2: each starts with an empty context"},
    {"epochs", TYPE_INT, AT(epochs), "10", 1, 100000, NULL, "epochs"},
    {"max-minutes", TYPE_REAL, AT(max_minutes), "0", 0, 1e6, NULL,
     "end after this time, schedules too; 0: no limit"},
    {"patience", TYPE_INT, AT(patience), "0", 0, 100000, NULL,
     "end after so many validations without a gain; 0: never"},
    {"eval-every", TYPE_INT, AT(eval_every), "0", 0, 10000000, NULL,
     "validate every so many steps; 0: at the end of an epoch"},
    {"keep", TYPE_CHOICE, AT(keep), "accuracy", 0, 0, "accuracy|nll",
     "classifier: what makes a checkpoint the best"},
    {"freeze-epochs", TYPE_INT, AT(freeze_epochs), "0", 0, 1000, NULL,
     "epochs in which what came from --init does not change"},
    {"lr-scale-init", TYPE_REAL, AT(lr_scale_init), "1", 0, 10, NULL,
     "factor on the learning rate of what came from --init"},
    {NULL, 0, 0, NULL, 0, 0, NULL, "Regularisation"},
    {"dropout-embedding", TYPE_REAL, AT(drop_embedding), "0", 0, 0.95, NULL,
     "on the inputs of the first layer"},
    {"dropout", TYPE_REAL, AT(drop_between), "0", 0, 0.95, NULL,
     "between layers; gpt2, bert: on what a layer adds"},
    {"dropout-output", TYPE_REAL, AT(drop_output), "0", 0, 0.95, NULL,
     "on the top states, or the pooled state"},
    {"dropout-recurrent", TYPE_REAL, AT(drop_recurrent), "0", 0, 0.95, NULL,
     "on the elements of the recurrent matrices, one mask a step"},
    {"dropout-word", TYPE_REAL, AT(drop_word), "0", 0, 0.95, NULL,
     "whole vocabulary entries out of the embedding, one choice a step"},
    {"dropout-variational", TYPE_FLAG, AT(variational), "0", 0, 1, NULL,
     "the same mask at all time steps"},
    {"unk-rate", TYPE_REAL, AT(unk_rate), "0", 0, 0.95, NULL,
     "share of the input tokens that become the unknown entry"},
    {"label-smoothing", TYPE_REAL, AT(smoothing), "0", 0, 0.95, NULL,
     "share of the target that goes to all labels alike"},
    {NULL, 0, 0, NULL, 0, 0, NULL, "Large vocabularies, averaging"},
    {"softmax", TYPE_CHOICE, AT(softmax), "full", 0, 0, "full|sampled",
     "lm: training loss; validation is always full"},
    {"samples", TYPE_INT, AT(samples), "2048", 1, 1000000, NULL,
     "sampled: different noise words of a step"},
    {"noise", TYPE_CHOICE, AT(noise), "unigram", 0, 0, "unigram|log-uniform",
     "sampled: where noise comes from"},
    {"noise-power", TYPE_REAL, AT(noise_power), "0.75", 0, 1, NULL,
     "unigram: exponent of the counts"},
    {"average", TYPE_CHOICE, AT(average), "none", 0, 0, "none|ema|tail",
     "validate and keep averaged weights"},
    {"average-decay", TYPE_REAL, AT(average_decay), "0.999", 0, 1, NULL,
     "ema: decay per step"},
    {"average-from", TYPE_INT, AT(average_from), "1", 1, 100000, NULL,
     "tail: first epoch of the average"},
    {NULL, 0, 0, NULL, 0, 0, NULL, "Run"},
    {"seed", TYPE_INT, AT(seed), "1", 0, 2147483647, NULL, "seed"},
    {"threads", TYPE_INT, AT(threads), "0", 0, 64, NULL,
     "workers; 0: one for each core"},
    {"precision", TYPE_CHOICE, AT(precision), "bf16", 0, 0, "f32|bf16|f16",
     "of the saved checkpoint"},
    {"resume", TYPE_FLAG, AT(resume), "0", 0, 1, NULL,
     "go on from the state in --out"},
    {"save-minutes", TYPE_REAL, AT(save_minutes), "5", 0.01, 1e6, NULL,
     "write the training state this often"},
    {"report-seconds", TYPE_REAL, AT(report_seconds), "10", 0.1, 1e6, NULL,
     "a progress line this often"},
};

#define N_ROWS (sizeof table / sizeof *table)

static void *field_of(struct options *o, const struct row *r)
{
    return (char *)o + r->at;
}

/* Position of `text` in "a|b|c", or -1. */
static int choice_of(const char *choices, const char *text)
{
    size_t n = strlen(text);
    for (int i = 0; *choices != '\0'; i++) {
        size_t k = strcspn(choices, "|");
        if (k == n && memcmp(choices, text, n) == 0)
            return i;
        choices += k + (choices[k] == '|');
    }
    return -1;
}

static int set_number(struct options *o, const struct row *r, const char *text,
                      struct err *e)
{
    char *end;
    errno = 0;
    double v = strtod(text, &end);
    int whole = r->type == TYPE_REAL || v == (double)(long long)v;
    if (errno != 0 || end == text || *end != '\0' || !whole ||
        !(v >= r->min && v <= r->max))
        return err_set(e, ERR_INVALID, "--%s is '%s', expected %s%.15g..%.15g",
                       r->name, text,
                       r->type == TYPE_REAL ? "" : "a whole number ", r->min,
                       r->max);
    if (r->type == TYPE_REAL)
        *(double *)field_of(o, r) = v;
    else
        *(int *)field_of(o, r) = (int)v;
    return 0;
}

static int set_value(struct options *o, const struct row *r, const char *text,
                     struct err *e)
{
    if (r->type == TYPE_TEXT) {
        *(const char **)field_of(o, r) = text;
        return 0;
    }
    if (r->type != TYPE_CHOICE)
        return set_number(o, r, text, e);
    int i = choice_of(r->choices, text);
    if (i < 0)
        return err_set(e, ERR_INVALID, "--%s is '%s', expected %s", r->name,
                       text, r->choices);
    *(int *)field_of(o, r) = i;
    return 0;
}

static const struct row *find_row(const char *name)
{
    for (size_t i = 0; i < N_ROWS; i++)
        if (table[i].name != NULL && strcmp(table[i].name, name) == 0)
            return &table[i];
    return NULL;
}

static int parse_one(int argc, char **argv, int *i, struct options *o,
                     struct err *e)
{
    const char *word = argv[*i];
    const struct row *r =
        strncmp(word, "--", 2) == 0 ? find_row(word + 2) : NULL;
    if (r == NULL)
        return err_set(e, ERR_INVALID, "unknown option '%s' (see --help)",
                       word);
    const char *next = *i + 1 < argc ? argv[*i + 1] : NULL;
    if (r->type == TYPE_FLAG) {
        int has =
            next != NULL && (strcmp(next, "0") == 0 || strcmp(next, "1") == 0);
        *i += has;
        return set_number(o, r, has ? next : "1", e);
    }
    if (next == NULL)
        return err_set(e, ERR_INVALID, "--%s needs a value", r->name);
    *i += 1;
    return set_value(o, r, next, e);
}

int train_options_parse(int argc, char **argv, struct options *o, struct err *e)
{
    memset(o, 0, sizeof *o);
    for (size_t i = 0; i < N_ROWS; i++)
        if (table[i].name != NULL && table[i].dflt != NULL &&
            set_value(o, &table[i], table[i].dflt, e) != 0)
            return -1;
    o->command = argc > 1 ? argv[1] : "help";
    if (strcmp(o->command, "--help") == 0 || strcmp(o->command, "-h") == 0)
        o->command = "help";
    for (int i = 2; i < argc; i++) {
        if (strcmp(argv[i], "--help") == 0) {
            o->command = "help";
            return 0;
        }
        if (parse_one(argc, argv, &i, o, e) != 0)
            return -1;
    }
    return 0;
}

static void print_row(FILE *out, const struct row *r)
{
    char left[80];
    const char *value = r->type == TYPE_TEXT   ? " TEXT"
                        : r->type == TYPE_REAL ? " X"
                        : r->type == TYPE_INT  ? " N"
                                               : "";
    snprintf(left, sizeof left, "--%s%s%s", r->name,
             r->type == TYPE_CHOICE ? " " : "",
             r->type == TYPE_CHOICE ? r->choices : value);
    fprintf(out, "  %-38s %s", left, r->help);
    if (r->dflt != NULL && r->type != TYPE_FLAG)
        fprintf(out, " [%s]", r->dflt);
    fputc('\n', out);
}

void train_options_help(FILE *out)
{
    fputs("seqd-train: trains recurrent nets and Transformers for seqd\n\n"
          "  seqd-train train --task lm --data FILE --valid FILE --out DIR\n"
          "  seqd-train train --task classifier --data FILE --valid FILE "
          "--out DIR\n"
          "  seqd-train eval --model DIR --data FILE\n"
          "  seqd-train gradcheck\n\n"
          "A classifier's files have a label, a space or tab, and a text in "
          "each line.\n",
          out);
    for (size_t i = 0; i < N_ROWS; i++)
        if (table[i].name == NULL)
            fprintf(out, "\n%s\n", table[i].help);
        else
            print_row(out, &table[i]);
}
