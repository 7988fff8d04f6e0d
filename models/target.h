/* target: what a checkpoint says of how its targets begin and end.
 *
 * SPDX-License-Identifier: MIT */
#ifndef SEQD_TARGET_H
#define SEQD_TARGET_H

#include "engine/checkpoint/checkpoint.h"
#include "engine/run/arch.h"

/* target_read: from generation_config.json, where there is one, else from
 * config.json: decoder_start_token_id (else that of config.json, else
 * bos_token_id), forced_bos_token_id, forced_eos_token_id and bad_words_ids, as
 * transformers' generate reads them. Tokens are below n_vocab. ERR_FORMAT, and
 * ERR_UNSUPPORTED for bad words of several tokens. */
int target_read(struct checkpoint *c, int n_vocab, struct target_rules *out,
                struct err *e);

#endif
