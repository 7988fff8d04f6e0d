/* lifecycle: the main thread between start and end: loading models while the
 * server already listens, waiting for a signal, draining.
 *
 * SPDX-License-Identifier: MIT */
#ifndef SEQD_LIFECYCLE_H
#define SEQD_LIFECYCLE_H

#include "engine/base/err.h"
#include "server/server.h"

struct lifecycle;

/* lifecycle_open: block the signals that we read (before any thread exists).
 * ERR_IO, ERR_NOMEM. */
int lifecycle_open(struct server *sv, struct lifecycle **out, struct err *e);
/* lifecycle_announce: the server listens: write the port file, say so. ERR_IO.
 * */
int lifecycle_announce(struct lifecycle *l, struct err *e);
/* lifecycle_run: load the models, serve until SIGINT, SIGTERM or SIGHUP, drain;
 * a second signal ends the drain at once. -1 when a model cannot be loaded. */
int lifecycle_run(struct lifecycle *l, struct err *e);
void lifecycle_close(struct lifecycle *l); /* NULL is fine */

/* lifecycle_load_models: all of --model (engine_load_all, with its stop). */
int lifecycle_load_models(struct server *sv, const atomic_int *stop,
                          struct err *e);

#endif
