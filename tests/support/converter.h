/* converter: runs the programs of tests/golden/ that bring checkpoints of
 * others into our layout.
 *
 * SPDX-License-Identifier: MIT */
#ifndef SEQD_CONVERTER_H
#define SEQD_CONVERTER_H

/* converter_run: python3 tests/golden/SCRIPT with these arguments, up to NULL,
 * at most 3. 0, or -1 when it fails. */
int converter_run(const char *script, const char *const *args);

#endif
