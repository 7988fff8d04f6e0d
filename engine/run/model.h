/* model: a loaded checkpoint behind a reference count: weights, hyper-
 * parameters, tokenizer and the architecture's own data. Immutable after
 * model_open but for the tables that an architecture fills by itself, so any
 * thread may read. Lanes and callers hold references; the last one frees
 * the model, engine or no engine.
 *
 * A model knows no runner: the engine puts both into a lane (lane.h).
 *
 * SPDX-License-Identifier: MIT */
#ifndef SEQD_MODEL_H
#define SEQD_MODEL_H

#include <stdatomic.h>

#include "engine/run/class_rules.h"
#include "engine/run/engine.h"
#include "engine/run/token_mask.h"
#include "engine/run/targets.h"

#define MODEL_NAME_BYTES 65

struct model {
    atomic_int refs;
    char name[MODEL_NAME_BYTES];
    const struct model_arch *arch;
    struct checkpoint *checkpoint;
    struct tokenizer *tokenizer;        /* NULL: no port takes tokens */
    struct tokenizer *source_tokenizer; /* NULL: the same */
    struct model_info info;
    struct mem_budget *tables; /* a reference */
    void *self;
    struct targets targets;     /* of models with a source */
    struct class_rules classes; /* of models with labels */
    const char *dtype;
    size_t held;     /* weights_held */
    int64_t created; /* wall clock, seconds */
    double load_seconds;
    int max_tokens[MAX_PORTS]; /* input limits of an item */
    int max_text;              /* of port 0 where a text may be read in parts */
    int n_ids[MAX_PORTS];      /* ids 0..n-1 may be input of the port; of
                                  the target target.start, too */
    int32_t *forbid; /* [n_unseen] ids that are never shown; the first n_forbid
                        are never drawn, the rest are special ends of text */
    int n_forbid, n_unseen;
    int32_t *end; /* [n_end] ids of the output that end a text */
    int n_end;
    struct token_mask
        *token_mask; /* for constraints; NULL: they cannot be served */
    const struct constraint *constraint; /* where a request says none; NULL */
    uint8_t *word_kind; /* [n_vocab] of sub-words (subwords.h), or NULL */
    int no_capitals;    /* in the entries of the vocabulary (typed.h) */
};

struct model_open_opts {
    const char *name, *dir;
    const struct model_arch *const *archs;
    const struct kernels *k;
    const struct engine_options *options; /* resolved */
    struct mem_budget *tables;            /* NULL: none */
};

/* model_open: one reference. ERR_INVALID (name), ERR_NOT_FOUND, ERR_FORMAT,
 * ERR_UNSUPPORTED (an architecture that is not linked), ERR_IO, ERR_NOMEM. */
int model_open(const struct model_open_opts *o, struct model **out,
               struct err *e);

#endif
