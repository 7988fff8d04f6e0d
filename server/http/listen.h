/* listen: the listening socket.
 *
 * SPDX-License-Identifier: MIT */
#ifndef SEQD_LISTEN_H
#define SEQD_LISTEN_H

#include "engine/base/err.h"

/* listen_open: a non-blocking socket bound to host (name or address) and port
 * (0: any; *got is the one it has). The limit of open files is raised as far
 * as it goes. Returns the descriptor, or -1: ERR_INVALID, ERR_IO. */
int listen_open(const char *host, int port, int *got, struct err *e);

#endif
