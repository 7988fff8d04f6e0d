/* http_server: a real seqd as a child process, for the HTTP tests. The binary
 * is $SEQD (default build/release/seqd). Every wait is bounded; only the
 * child's own pid is ever signalled.
 *
 * SPDX-License-Identifier: MIT */
#ifndef SEQD_HTTP_SERVER_H
#define SEQD_HTTP_SERVER_H

#include <stddef.h>
#include <sys/types.h>

#define SEQD_MAX_ARGS 80

struct seqd {
    pid_t pid;
    int port;
    char log[128]; /* file with its standard error */
    char port_file[64];
};

#define SEQD_WORDS(n) __attribute__((format(printf, n, n + 1)))

/* seqd_spawn: start with these arguments (as printf makes them, separated by
 * spaces; --port 0 and --port-file are added) and wait for the port. 0, or -1
 * with the log on standard error. */
SEQD_WORDS(2) int seqd_spawn(struct seqd *s, const char *words, ...);
/* seqd_start: seqd_spawn, then wait until /readyz answers 200. */
SEQD_WORDS(2) int seqd_start(struct seqd *s, const char *words, ...);
int seqd_wait_ready(const struct seqd *s);
/* seqd_join: wait for the end (at most ms); the exit status, 1000 + signal, or
 * -1 when it had to be killed. */
int seqd_join(struct seqd *s, int ms);
/* seqd_stop: SIGTERM, then seqd_join. */
int seqd_stop(struct seqd *s);
/* seqd_log_text: the log so far; the caller frees it with mem_free. */
char *seqd_log_text(const struct seqd *s);

/* seqd_run: run to its end with these arguments: exit status, and what it
 * wrote on standard output and error (size bytes each at most). */
SEQD_WORDS(4)
int seqd_run(char *out, char *err, size_t size, const char *words, ...);

/* Seconds of monotonic time, and a sleep. */
double now_s(void);
void sleep_ms(int ms);

#endif
