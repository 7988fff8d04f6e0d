/* target_rules: what a checkpoint says of its targets: how they begin and end,
 * what may not be in them, and how they are searched for where a request does
 * not say it. It stands in generation_config.json, where there is one, else in
 * config.json, as transformers' generate reads them:
 *
 *   decoder_start_token_id   else that of config.json, else bos_token_id
 *   forced_bos_token_id, forced_eos_token_id
 *       (force_bos_token_to_be_generated of old files: bos_token_id)
 *   bad_words_ids            of one token each; an end is none
 *   min_new_tokens, min_length, no_repeat_ngram_size, renormalize_logits
 *   num_beams, length_penalty, early_stopping, max_new_tokens, max_length
 *       (lengths are with the start; a max_length of 20 says nothing: it is
 *       what transformers takes where nothing is said)
 *
 * Of any model that makes texts, how they are drawn (sample_read):
 *
 *   do_sample        false: greedy, unless a request has a temperature
 *   temperature, top_p, top_k
 *   max_new_tokens
 *
 * Unlike transformers, which is greedy and has a top_k of 50 where these say
 * nothing, nothing is taken for said.
 *
 * Other keys that would change what generate makes are listed by their names.
 *
 * SPDX-License-Identifier: MIT */
#ifndef SEQD_TARGET_RULES_H
#define SEQD_TARGET_RULES_H

#include "engine/checkpoint/checkpoint.h"
#include "engine/run/arch.h"

/* target_no_rules: what is true where nothing is said. */
struct target_rules target_no_rules(void);
/* sample_read: ERR_FORMAT (names file and key). */
int sample_read(struct checkpoint *c, struct sample_rules *out, struct err *e);
/* target_read: tokens are below n_vocab. ERR_FORMAT (names file and key),
 * ERR_UNSUPPORTED for bad words of several tokens. */
int target_read(struct checkpoint *c, int n_vocab, struct target_rules *out,
                struct err *e);

#endif
