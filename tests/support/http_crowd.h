/* http_crowd: many clients at once, whose answers have to be byte for byte what
 * the same requests were answered alone (`data` and `usage`); some leave before
 * their answer or in the middle of it, some have a deadline that may pass. Of a
 * stream the parts of each item have to come as they came alone; how items take
 * turns is time's business.
 *
 * SPDX-License-Identifier: MIT */
#ifndef SEQD_HTTP_CROWD_H
#define SEQD_HTTP_CROWD_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>

struct http_ask {
    const char *path;
    char *body;  /* an object; mem_free */
    char *alone; /* what it was answered, or NULL: mem_free */
};

struct http_crowd {
    int port, clients, rounds;  /* requests of each client */
    const struct http_ask *ask; /* [n] of which each one is drawn */
    int n;
    int hurried; /* one of so many has a deadline of a few ms; 0: none */
    int hosts;   /* addresses that they come from; 0: one */
    uint64_t seed;
    pthread_barrier_t start;
    atomic_int answers, bad, left, late;
};

/* http_crowd_alone: each once, one after the other: fills `alone`, or compares
 * with it. The number of those that failed or were otherwise. */
int http_crowd_alone(int port, struct http_ask *ask, int n);
/* http_crowd_run: all clients, until each has made its rounds. It counts the
 * answers that came, of them bad and late (504) ones, and requests that were
 * left. */
void http_crowd_run(struct http_crowd *w);
void http_asks_free(struct http_ask *ask, int n);

#endif
