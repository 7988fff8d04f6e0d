/* wordnorm: the normalisation in front of WordPiece, step for step as
 * Hugging Face tokenizers' BertNormalizer does it, and what its pre-tokenizer
 * takes for white space and punctuation.
 *
 * SPDX-License-Identifier: MIT */
#ifndef SEQD_WORDNORM_H
#define SEQD_WORDNORM_H

#include "engine/text/tokenizer_impl.h"
#include "engine/text/unicode/unicode.h"

struct wordnorm {
    int clean;     /* drop control characters, white space becomes a space */
    int chinese;   /* spaces around each CJK ideograph */
    int strip;     /* NFD, then drop nonspacing marks */
    int lowercase; /* the full mapping */
};

/* wordnorm_json: from tokenizer.json's normalizer; wordnorm_setup: from
 * tokenizer_config.json, for files without one. ERR_FORMAT, ERR_UNSUPPORTED. */
int wordnorm_json(struct wordnorm *b, const struct tok_source *s,
                  const struct json *normalizer);
int wordnorm_setup(struct wordnorm *b, const struct tok_source *s);

/* wordnorm_run: valid UTF-8 s [n] into out (initialised to zeros), with the
 * byte of s that each byte of it comes from. O(n). ERR_NOMEM. */
int wordnorm_run(const struct wordnorm *b, const char *s, size_t n,
                 struct uni_text *out, struct err *e);

int wordnorm_is_punct(uint32_t cp);

#endif
