/* decoder_golden: a decoder against what transformers says about the same
 * weights (tests/golden/, make_decoder_fixtures.py): logits and last
 * hidden states of all positions, attention weights; and the bits are the same
 * whole, in chunks and in company, and for all families with FMA.
 *
 * SPDX-License-Identifier: MIT */
#ifndef SEQD_DECODER_GOLDEN_H
#define SEQD_DECODER_GOLDEN_H

#include "tests/support/arch_rig.h"

#define GOLDEN_SEQS 3

/* golden_check: fails the running cmocka test with a message. `file` is "hf"
 * or "model.gguf" of the case. */
void golden_check(const struct model_arch *arch, const char *name,
                  const char *file, double tolerance);
/* golden_check_fast: the way with 8-bit activations: mean and largest
 * difference of the logits to the reference, in units of their standard
 * deviation; and the bits as above. */
void golden_check_fast(const struct model_arch *arch, const char *name,
                       const char *file, double mean, double most);

/* golden_refused: loads the tensors of a case with another config.json: `key`
 * gets `value` (JSON text; NULL: the key goes). The load must fail, and the
 * message must hold `part`. */
void golden_refused(const struct model_arch *arch, const char *name,
                    const char *key, const char *value, const char *part);

#endif
