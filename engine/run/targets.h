/* targets: the start of a target where its checkpoint names none, and the
 * languages that it may be in.
 *
 *   start
 *       target_rules.h has what files say. A model that names no start begins
 *       with its tokenizer's begin token, as transformers has it.
 *   languages
 *       tokens of the form >>fr<< (Marian's multilingual models; Tiedemann and
 *       Thottingal 2020): such a token begins the source. Or config.json's
 *       `seqd_languages`, a list of tokens (mBART's "fr_XX"; Liu et al. 2020):
 *       such a token is forced to be the target's first.
 *
 * SPDX-License-Identifier: MIT */
#ifndef SEQD_TARGETS_H
#define SEQD_TARGETS_H

#include "engine/run/arch.h"
#include "engine/text/tokenizer.h"

struct target_language {
    const char *name; /* n bytes, borrowed from the tokenizer, no NUL */
    int n;
    int32_t id;
};

struct targets {
    struct target_language *language; /* in the order of their ids, or NULL */
    int n_languages;
    int forced; /* 1: the id is the target's first, not the source's */
};

/* targets_read: by the tokenizers of target and source: what load has left open
 * of model_info.target, and the languages. Of a model without a source: no
 * rules. ERR_FORMAT (no start, a language that is no token), ERR_IO,
 * ERR_NOMEM. */
int targets_read(struct checkpoint *c, const struct tokenizer *t,
                 const struct tokenizer *source, const char *label,
                 struct model_info *info, struct targets *out, struct err *e);
void targets_fini(struct targets *t);

#endif
