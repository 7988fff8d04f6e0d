/* reload: what a running server reads or opens again when it is told to
 * (SIGHUP): the log file and the API keys. What cannot be had stays as it was,
 * with an error in the log and in seqd_reloads_total.
 *
 * SPDX-License-Identifier: MIT */
#ifndef SEQD_RELOAD_H
#define SEQD_RELOAD_H

#include "server/server.h"

/* reload_open: the series of the metric are there from the start. */
void reload_open(void);
/* reload_run: pid is who told so, 0 when it is not of our namespace. Reads and
 * opens small files: for the main thread, which has nothing else to do. */
void reload_run(struct server *sv, int pid);

#endif
