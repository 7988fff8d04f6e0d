/* tok_bpe: byte-level BPE (placeholder of the frame: refused).
 *
 * SPDX-License-Identifier: MIT */
#include "engine/text/tokenizer_impl.h"

int tok_bpe_load(struct tokenizer *t, const struct tok_source *s)
{
    (void)t;
    return tok_refuse(s, "model type", "BPE");
}
