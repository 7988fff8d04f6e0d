/* threadpool: one pool for the whole process, the caller included. A runner
 * holds it for one step at a time (pool_acquire/pool_release, first come first
 * served), so runners never compute at the same time and thread pools never
 * meet. Workers spin for a bounded time after their last work (`spin_us`),
 * then park on a futex: an unbounded spin collapses as soon as another process
 * wants the core, and waking a parked core costs some 22 us.
 *
 * SPDX-License-Identifier: MIT */
#ifndef SEQD_THREADPOOL_H
#define SEQD_THREADPOOL_H

#include "engine/base/err.h"

struct pool;

/* pool_fn: runs on every thread, tid 0 .. n_threads-1 (0 is the caller). */
typedef void pool_fn(void *arg, int tid, int n_threads);

/* n_threads 1..64; 1 starts no thread. spin_us: 0 parks at once. */
int pool_open(int n_threads, int spin_us, struct pool **out, struct err *e);
void pool_close(struct pool *p);
int pool_threads(const struct pool *p);

void pool_acquire(struct pool *p); /* FIFO lock; not recursive */
void pool_release(struct pool *p);

/* pool_run: fn on the first n threads (n <= pool_threads; n == 1 is a plain
 * call), returns when all are done. Only while the pool is held. */
void pool_run(struct pool *p, int n, pool_fn *fn, void *arg);

/* pool_barrier: for use inside fn: waits for all n threads of this run. */
void pool_barrier(struct pool *p);

/* pool_default_threads: the smallest of cgroup CPU quota (v2 and v1, rounded
 * up), affinity mask and online cores; at least 1. */
int pool_default_threads(void);

#endif
