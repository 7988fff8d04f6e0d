/* thread: threads that no signal interrupts: the main thread reads them.
 *
 * SPDX-License-Identifier: MIT */
#ifndef SEQD_THREAD_H
#define SEQD_THREAD_H

#include <pthread.h>

/* thread_start: a thread with all signals blocked but those that tell of its
 * own fault. pthread_create's result. */
int thread_start(pthread_t *t, void *(*fn)(void *), void *arg);

#endif
