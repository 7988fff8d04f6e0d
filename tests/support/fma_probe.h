/* fma_probe: what this core's multiply-add units do at best, as the yardstick
 * of benches: independent chains in registers, nothing else.
 *
 * SPDX-License-Identifier: MIT */
#ifndef SEQD_FMA_PROBE_H
#define SEQD_FMA_PROBE_H

#include <stddef.h>

/* GFLOP/s of one thread with the registers of kernel family `family`, measured
 * now for some tens of microseconds; 0 where there is no probe for it. */
double fma_probe(const char *family);

/* int8_probe: the same for products of 8 bits by 8, GOP/s (two per product):
 * vpdpbusd where the CPU has it, else vpmaddubsw and vpmaddwd. */
double int8_probe(const char *family);

/* read_probe: GB/s of reading `bytes` (a multiple of 512) of memory once. */
double read_probe(const void *mem, size_t bytes);

#endif
