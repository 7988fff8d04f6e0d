/* tok_bert_norm: the normalisation in front of WordPiece, step for step as
 * Hugging Face tokenizers' BertNormalizer does it, and what its pre-tokenizer
 * takes for white space and punctuation.
 *
 * SPDX-License-Identifier: MIT */
#ifndef SEQD_TOK_BERT_NORM_H
#define SEQD_TOK_BERT_NORM_H

#include "engine/text/tokenizer_impl.h"
#include "engine/text/unicode.h"

struct bert_norm {
    int clean;     /* drop control characters, white space becomes a space */
    int chinese;   /* spaces around each CJK ideograph */
    int strip;     /* NFD, then drop nonspacing marks */
    int lowercase; /* the full mapping */
};

/* bert_norm_json: from tokenizer.json's normalizer; bert_norm_setup: from
 * tokenizer_config.json, for files without one. ERR_FORMAT, ERR_UNSUPPORTED. */
int bert_norm_json(struct bert_norm *b, const struct tok_source *s,
                   const struct json *normalizer);
int bert_norm_setup(struct bert_norm *b, const struct tok_source *s);

/* bert_norm_run: valid UTF-8 s [n] into out (initialised to zeros), with the
 * byte of s that each byte of it comes from. O(n). ERR_NOMEM. */
int bert_norm_run(const struct bert_norm *b, const char *s, size_t n,
                  struct uni_text *out, struct err *e);

int bert_norm_is_space(uint32_t cp);
int bert_norm_is_punct(uint32_t cp);

#endif
