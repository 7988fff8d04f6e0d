/* language: which of its languages (targets.h) a model writes in, as a request
 * says it: /translate by a name, /generate at the beginning of a text.
 *
 * SPDX-License-Identifier: MIT */
#ifndef SEQD_LANGUAGE_H
#define SEQD_LANGUAGE_H

#include "server/http/request.h"

struct language {
    int lead;  /* 1 + the token in front of the source; 0: none */
    int first; /* 1 + the target's first token; 0: what the model says */
};

/* language_named: by `target` of a request, or NULL. "invalid_value" with a
 * list where it is none of them, or is missing and the model has several and
 * states none. */
int language_named(struct request *r, const char *name, struct language *out);

/* language_unsaid: without a name, where languages begin a target: the only
 * one, or none said. "invalid_value" where a name is needed. */
int language_unsaid(struct request *r, struct language *out);

/* language_in_text: of a model that wants one in front of a source: the one
 * that the text begins with, as in ">>fr<< text", and in *skip the bytes before
 * the text; of one language it need not. "invalid_value" of `param`. */
int language_in_text(struct request *r, const struct json *text,
                     const char *param, size_t *skip, int *lead);

#endif
