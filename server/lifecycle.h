/* lifecycle: the main thread between start and end: loading models while the
 * server already listens, waiting for a signal, reloading, draining.
 *
 * SIGHUP has two meanings. From a program (kill, a supervisor) it says: reload.
 * From a terminal that is closed it says: end. Which one it is: a server that
 * was started on a terminal takes the kernel's own SIGHUP for the second, and
 * anybody's when the terminal has just gone or goes a little later (shells hand
 * their own on to their jobs). A server without a controlling terminal, or one
 * that has outlived it, always takes the first. Where SIGHUP was ignored at the
 * start (nohup) it stays so.
 *
 * SPDX-License-Identifier: MIT */
#ifndef SEQD_LIFECYCLE_H
#define SEQD_LIFECYCLE_H

#include "engine/base/err.h"
#include "server/server.h"

struct lifecycle;

/* lifecycle_defer: first of all: a SIGHUP waits from now on until somebody
 * reads it. A supervisor may send one as soon as the program runs. */
void lifecycle_defer(void);
/* lifecycle_open: block the signals that we read (before any thread exists).
 * ERR_IO, ERR_NOMEM. */
int lifecycle_open(struct server *sv, struct lifecycle **out, struct err *e);
/* lifecycle_announce: the server listens: write the port file, say so. ERR_IO.
 * */
int lifecycle_announce(struct lifecycle *l, struct err *e);
/* lifecycle_run: load the models, serve and reload (reload.h) until SIGINT,
 * SIGTERM or the terminal's end, drain; a second signal ends the drain at once,
 * SIGHUP is ignored by then. -1 when a model cannot be loaded. */
int lifecycle_run(struct lifecycle *l, struct err *e);
void lifecycle_close(struct lifecycle *l); /* NULL is fine */

/* lifecycle_load_models: all of --model (engine_load_all, with its stop). */
int lifecycle_load_models(struct server *sv, const atomic_int *stop,
                          struct err *e);

#endif
