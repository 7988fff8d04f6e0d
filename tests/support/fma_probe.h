/* fma_probe: what this core's multiply-add units do at best, as the yardstick
 * of benches: independent chains in registers, nothing else.
 *
 * SPDX-License-Identifier: MIT */
#ifndef SEQD_FMA_PROBE_H
#define SEQD_FMA_PROBE_H

/* GFLOP/s of one thread with the registers of kernel family `family`, measured
 * now for some tens of microseconds; 0 where there is no probe for it. */
double fma_probe(const char *family);

#endif
