/* targets: how a target that is made from a source begins and ends, and the
 * languages that it may be in, as a checkpoint states them.
 *
 *   decoder_start_token_id, forced_bos_token_id, forced_eos_token_id
 *       of generation_config.json, else of config.json. A model that names no
 *       start begins with its tokenizer's begin token, as transformers has it.
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

/* targets_none: before load: nothing is stated. */
void targets_none(struct model_info *info);
/* targets_read: after load: what it left open, and the languages. Nothing for
 * models without a source of tokens. ERR_FORMAT (an id that is no token, a
 * language without one), ERR_UNSUPPORTED (several ids in place of one),
 * ERR_IO, ERR_NOMEM. */
int targets_read(struct checkpoint *c, const struct tokenizer *t,
                 const char *label, struct model_info *info,
                 struct targets *out, struct err *e);
void targets_fini(struct targets *t);

#endif
