/* eval_texts: what eval is told, and the texts of files as tokens, read as they
 * were in training and as requests have them.
 *
 * SPDX-License-Identifier: MIT */
#ifndef SEQD_EVAL_TEXTS_H
#define SEQD_EVAL_TEXTS_H

#include "engine/run/engine.h"
#include "engine/text/records.h"

/* done of all so far; may be NULL. */
typedef void eval_progress(void *ctx, int64_t done, int64_t all);

struct eval_options {
    int64_t window;     /* as eval_score's; 0: the model's context length, if
                           it has one */
    int64_t max_tokens; /* of the data, 0: all */
    int64_t words;      /* that the tokens are of, 0: not known */
    int64_t bytes;      /* the same */
    int framed;         /* the first token is no part of the text */
    enum record_kind record;
    enum record_kind *used; /* out: what RECORD_AUTO was; may be NULL */
    int max_len; /* tokens of a labelled text, 0: what the model takes */
    /* Labels that may be the answer, "negative,positive"; NULL: all. */
    const char *labels;
    int brief; /* classifiers: no more than four figures, of all files */
    eval_progress *progress;
    void *ctx;
};

/* The labels that may be the answer, as they are listed: a file may have their
 * names, or their places in this list as numbers. */
struct eval_choice {
    int n, id[MODEL_MAX_LABELS];
    const char *name[MODEL_MAX_LABELS]; /* the model's */
};

/* eval_choose: `list` as eval_options.labels; the model has labels. ERR_INVALID
 * (not the model's, one twice, fewer than two). */
int eval_choose(const struct model *m, const char *list,
                struct eval_choice *out, struct err *e);

/* Texts one after the other: text i is ids[start[i]] .. ids[start[i + 1] - 1],
 * its label, of labelled ones, a number of the model's. */
struct eval_texts {
    int32_t *ids; /* [n] */
    int64_t n, cap;
    int64_t *start; /* [n_items + 1] */
    int32_t *label; /* [n_items] */
    int n_items, cap_items;
    int labelled, before, after; /* tokens around each labelled text */
    int32_t frame;               /* around each that is not; -1: none */
    int64_t words;               /* of sub-words' texts, with the end of each */
    int64_t bytes;               /* of texts; with one for each end */
};

/* eval_texts_read: those of the files, in order; labelled ones where the model
 * classifies (c: NULL where it does not). The caller calls eval_texts_fini in
 * any case. ERR_NOT_FOUND, ERR_IO, ERR_NOMEM, ERR_FORMAT with file and line. */
int eval_texts_read(struct eval_texts *t, struct model *m,
                    const char *const *paths, int n,
                    const struct eval_choice *c, const struct eval_options *o,
                    struct err *e);
void eval_texts_fini(struct eval_texts *t);
/* eval_reads_as_is: a model of sub-words that another program trained, on texts
 * as they are. */
int eval_reads_as_is(const struct model *m);

#endif
