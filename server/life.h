/* life: the main thread between start and end: loading models while the
 * server already listens, waiting for a signal, draining.
 *
 * SPDX-License-Identifier: MIT */
#ifndef SEQD_LIFE_H
#define SEQD_LIFE_H

#include "engine/base/err.h"
#include "server/server.h"

struct life;

/* life_log: level and form of the log, from the options. */
void life_log(const struct config *c);
/* life_open: block the signals that we read (before any thread exists), set
 * up the log. ERR_IO, ERR_NOMEM. */
int life_open(struct server *sv, struct life **out, struct err *e);
/* life_announce: the server listens: write the port file, say so. ERR_IO. */
int life_announce(struct life *l, struct err *e);
/* life_run: load the models, serve until SIGINT or SIGTERM, drain; a second
 * signal ends the drain at once. -1 when a model cannot be loaded. */
int life_run(struct life *l, struct err *e);
void life_close(struct life *l); /* NULL is fine */

/* life_load_models: all of --model, in order. */
int life_load_models(struct server *sv, struct err *e);

#endif
