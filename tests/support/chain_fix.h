/* chain_fix: engine_fix with a toy whose answer to any text is plain: after
 * word i comes word i + 1.
 *
 * SPDX-License-Identifier: MIT */
#ifndef SEQD_CHAIN_FIX_H
#define SEQD_CHAIN_FIX_H

#include "tests/support/engine_fix.h"

#define CHAIN_VOCAB 2000
#define CHAIN_PAGE 16  /* tokens, where the states are in pages */
#define CHAIN_PAGES 40 /* that there is memory for */

extern const struct fake_config chain; /* states of one size; 8 tokens a step */

/* chain_open_paged: fix_open with states in pages, and for max_rows jobs at a
 * time (0: as many as usual). */
void chain_open_paged(struct fix *f, int max_rows);
/* check_chain: the job has made `tokens` tokens after the first len words. */
void check_chain(const struct watched *j, int len, int tokens);

#endif
