/* oom_sweep: makes every allocation of a piece of work fail once and sees that
 * each failure is reported; under the address sanitizer, that nothing is leaked
 * (SQLite and curl test their out-of-memory paths like this). Single-threaded.
 *
 * SPDX-License-Identifier: MIT */
#ifndef SEQD_OOM_SWEEP_H
#define SEQD_OOM_SWEEP_H

#include "engine/base/err.h"

/* The work: 0, or -1 with e set. Frees all it made, in both cases. */
typedef int oom_fn(void *arg, struct err *e);

/* oom_sweep: run fn with its 1st, 2nd, ... allocation failing, until it makes
 * fewer. A failure that is not reported as ERR_NOMEM fails the
 * cmocka test. Returns the number of allocations that were made to fail. */
int oom_sweep(oom_fn *fn, void *arg);

#endif
