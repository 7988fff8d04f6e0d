/* rnn_config: what config.json says of a recurrent net, and what it leaves to
 * the tensors: the width of h (proj_size), whether a classifier has one output.
 *
 * SPDX-License-Identifier: MIT */
#include <stdio.h>
#include <string.h>

#include "models/rnn/rnn_load.h"

#define MAX_V (1 << 24)
#define MAX_DIM 65536

static const char *const CELLS[] = {"elman", "lstm", "gru", NULL};
static const char *const NONLINEARITIES[] = {"tanh", "relu", NULL};
static const char *const HEADS[] = {"lm", "classifier", NULL};
static const char *const POOLINGS[] = {"last", "mean", "max", "concat", NULL};
/* transformers' names; one output has no other way to be read. */
static const char *const PROBLEMS[] = {"single_label_classification",
                                       "multi_label_classification", NULL};

static int read_dim(const struct hparams *h, const char *key, int max, int *v,
                    struct err *e)
{
    int64_t x;

    if (hparams_int(h, key, 1, max, &x, e))
        return -1;
    *v = (int)x;
    return 0;
}

static int read_cell(struct rnn_loader *l, struct err *e)
{
    static const struct cell_kind *const kinds[] = {&cell_elman_tanh,
                                                    &cell_lstm, &cell_gru};
    int cell, act;

    if (hparams_choice(l->h, "cell", CELLS, NULL, &cell, e) ||
        hparams_choice(l->h, "nonlinearity", NONLINEARITIES, "tanh", &act, e))
        return -1;
    l->m->kind = kinds[cell];
    if (act == 0)
        return 0;
    if (cell != 0)
        return err_set(e, ERR_FORMAT,
                       "%s: config.json: 'nonlinearity' \"relu\" is for cell "
                       "\"elman\", found \"%s\"",
                       l->o->label, CELLS[cell]);
    l->m->kind = &cell_elman_relu;
    return 0;
}

/* Of one output there are two labels: a sigmoid of it is what the second one
 * has. The first one may be left out, or both. */
static int name_two(struct rnn_loader *l, const struct json *map, int n,
                    struct err *e)
{
    static const char *const defaults[] = {"LABEL_0", "LABEL_1"};
    const struct json *v = json_get(map, "0");
    const char *only = v ? json_string(v) : NULL;

    l->info->labels[0] = defaults[0];
    l->info->labels[1] = defaults[1];
    if (n == 0)
        return 0;
    if (!only)
        return err_set(e, ERR_FORMAT,
                       "%s: config.json: 'id2label' of 1 entry has no string "
                       "\"0\"",
                       l->o->label);
    if ((size_t)snprintf(l->m->no_name, sizeof l->m->no_name, "not %s", only) >=
        sizeof l->m->no_name)
        return err_set(
            e, ERR_FORMAT,
            "%s: config.json: 'id2label' has a name of over %d bytes",
            l->o->label, RNN_NAME_BYTES - 5);
    l->info->labels[0] = l->m->no_name;
    l->info->labels[1] = only;
    return 0;
}

/* How many entries id2label has; 0: it is not there, -1: it is no object. */
static int count_labels(const struct rnn_loader *l, const struct json *map,
                        struct err *e)
{
    if (!map || json_type(map) == JSON_NULL)
        return 0;
    if (json_type(map) == JSON_OBJECT)
        return json_size(map);
    return err_set(e, ERR_FORMAT,
                   "%s: config.json: 'id2label' is %s, expected an object",
                   l->o->label, json_type_name(json_type(map)));
}

/* id2label: {"0": "negative", ...}, every id from 0 to C - 1 once. */
static int read_labels(struct rnn_loader *l, struct err *e)
{
    const struct json *map = hparams_json(l->h, "id2label");
    int n = count_labels(l, map, e), problem;

    if (n < 0 || hparams_choice(l->h, "problem_type", PROBLEMS, PROBLEMS[0],
                                &problem, e))
        return -1;
    l->info->cols[OUT_CLASS] = l->m->n_out = l->one && n < 2 ? 2 : n;
    l->info->scores = l->one || problem ? SCORE_SIGMOID : SCORE_SOFTMAX;
    if (l->one && n < 2)
        return name_two(l, map, n, e);
    if (n < 1 || n > MODEL_MAX_LABELS)
        return err_set(e, ERR_FORMAT,
                       "%s: config.json: 'id2label' has %d entries, expected "
                       "1..%d",
                       l->o->label, n, MODEL_MAX_LABELS);
    if (l->one && n > 2)
        return err_set(e, ERR_FORMAT,
                       "%s: config.json: 'id2label' has %d entries, expected 2 "
                       "for a classifier of one output",
                       l->o->label, n);
    for (int i = 0; i < n; i++) {
        char key[16];
        const struct json *v;

        snprintf(key, sizeof key, "%d", i);
        v = json_get(map, key);
        if (!v || json_type(v) != JSON_STRING)
            return err_set(e, ERR_FORMAT,
                           "%s: config.json: 'id2label' of %d entries has no "
                           "string \"%d\"",
                           l->o->label, n, i);
        l->info->labels[i] = json_string(v);
    }
    return 0;
}

/* Rows of a matrix, where the file has it: 0 where not. */
static int rows_of(const struct rnn_loader *l, const char *prefix,
                   const char *name)
{
    char full[RNN_TENSOR_BYTES];
    const struct tensor *t;

    snprintf(full, sizeof full, "%s%s", prefix, name);
    t = weights_find(l->w, full);
    return t && t->n_dims == 2 && t->dim[0] <= MAX_DIM ? (int)t->dim[0] : 0;
}

/* nn.LSTM's default is true; a file without any says false by itself. */
static int read_bias(struct rnn_loader *l, struct err *e)
{
    char full[RNN_TENSOR_BYTES];

    snprintf(full, sizeof full, "%sbias_ih_l0", l->p_rnn);
    return hparams_bool_or(l->h, "bias", weights_find(l->w, full) != NULL,
                           &l->bias, e);
}

static int read_head(struct rnn_loader *l, struct err *e)
{
    struct rnn *m = l->m;
    int head, pooling, bidirectional;

    if (hparams_choice(l->h, "head", HEADS, NULL, &head, e) ||
        hparams_choice(l->h, "pooling", POOLINGS, "last", &pooling, e) ||
        hparams_bool_or(l->h, "bidirectional", 0, &bidirectional, e) ||
        hparams_bool_or(l->h, "tie_word_embeddings", 0, &l->tied, e))
        return -1;
    m->classifier = head;
    m->pooling = (enum rnn_pooling)pooling;
    m->D = bidirectional ? 2 : 1;
    m->n_out = m->V;
    if (!head && bidirectional)
        return err_set(e, ERR_FORMAT,
                       "%s: config.json: 'bidirectional' is true, expected "
                       "false for head \"lm\"",
                       l->o->label);
    if (head && l->tied)
        return err_set(e, ERR_FORMAT,
                       "%s: config.json: 'tie_word_embeddings' is true, "
                       "expected false for head \"classifier\"",
                       l->o->label);
    l->one = head && rows_of(l, l->p_output, "weight") == 1;
    return head ? read_labels(l, e) : 0;
}

/* A key that nobody reads would leave the default in force, unseen. */
static int check_prefixes(const struct rnn_loader *l, struct err *e)
{
    static const char *const parts[] = {"embedding", "rnn", "projection",
                                        "output"};
    const struct json *map = hparams_json(l->h, "tensor_prefix");

    if (!map || json_type(map) == JSON_NULL)
        return 0;
    if (json_type(map) != JSON_OBJECT)
        return err_set(e, ERR_FORMAT,
                       "%s: config.json: 'tensor_prefix' is %s, expected an "
                       "object",
                       l->o->label, json_type_name(json_type(map)));
    for (const struct json *v = json_child(map); v; v = json_next(v)) {
        int i = 0;

        while (i < 4 && strcmp(parts[i], json_key(v)) != 0)
            i++;
        if (i == 4)
            return err_set(e, ERR_FORMAT,
                           "%s: config.json: 'tensor_prefix.%.40s', expected "
                           "embedding, rnn, projection or output",
                           l->o->label, json_key(v));
    }
    return 0;
}

static int read_prefixes(struct rnn_loader *l, struct err *e)
{
    return check_prefixes(l, e) ||
           hparams_string_or(l->h, "tensor_prefix.embedding", "embedding.",
                             &l->p_embedding, e) ||
           hparams_string_or(l->h, "tensor_prefix.rnn", "rnn.", &l->p_rnn, e) ||
           hparams_string_or(l->h, "tensor_prefix.projection", "projection.",
                             &l->p_projection, e) ||
           hparams_string_or(l->h, "tensor_prefix.output", "output.",
                             &l->p_output, e);
}

/* R: what `proj_size` says, or the file's tensors where it is not there. */
static int read_proj_size(struct rnn_loader *l, struct err *e)
{
    struct rnn *m = l->m;
    int64_t stated;

    if (hparams_int_or(l->h, "proj_size", 0, MAX_DIM, 0, &stated, e))
        return -1;
    m->R = (int)stated;
    if (!m->R && m->kind == &cell_lstm)
        m->R = rows_of(l, l->p_rnn, "weight_hr_l0");
    if (stated && m->kind != &cell_lstm)
        return err_set(e, ERR_FORMAT,
                       "%s: config.json: 'proj_size' is %d, expected 0 for "
                       "cell \"%s\"",
                       l->o->label, m->R, m->kind->name);
    if (m->R && m->R >= m->H)
        return err_set(e, ERR_FORMAT,
                       "%s: 'proj_size' is %d, expected less than hidden_size "
                       "%d",
                       l->o->label, m->R, m->H);
    m->R = m->R ? m->R : m->H;
    m->Rp = cell_pad(m->R);
    return 0;
}

int rnn_read_config(struct rnn_loader *l, struct err *e)
{
    struct rnn *m = l->m;
    int64_t layers, projection;
    int width;

    if (hparams_has(l->h, "input_size"))
        return err_set(e, ERR_UNSUPPORTED,
                       "%s: config.json: 'input_size': the net reads vectors, "
                       "which are not served",
                       l->o->label);
    if (read_cell(l, e) || read_prefixes(l, e) ||
        read_dim(l->h, "vocab_size", MAX_V, &m->V, e) ||
        read_dim(l->h, "embedding_dim", MAX_DIM, &m->E, e) ||
        read_dim(l->h, "hidden_size", MAX_DIM, &m->H, e) ||
        hparams_int_or(l->h, "num_layers", 1, RNN_MAX_LAYERS, 1, &layers, e) ||
        hparams_int_or(l->h, "projection_dim", 1, MAX_DIM, 0, &projection, e) ||
        read_bias(l, e) || read_proj_size(l, e) || read_head(l, e))
        return -1;
    m->L = (int)layers;
    m->P = (int)projection;
    m->I = m->E;
    m->Hp = cell_pad(m->H);
    width = m->P ? m->P : m->D * m->R;
    if (l->tied && width != m->E)
        return err_set(e, ERR_FORMAT,
                       "%s: config.json: tied output needs embedding_dim %d, "
                       "found %d",
                       l->o->label, width, m->E);
    if (l->o->n_vocab_tokenizer && l->o->n_vocab_tokenizer != m->V)
        return err_set(e, ERR_FORMAT,
                       "%s: tokenizer.json has %d entries, config.json's "
                       "'vocab_size' is %d",
                       l->o->label, l->o->n_vocab_tokenizer, m->V);
    return 0;
}
