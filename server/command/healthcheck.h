/* healthcheck: `seqd healthcheck`: ask a running server whether it is ready,
 * for containers without curl.
 *
 * SPDX-License-Identifier: MIT */
#ifndef SEQD_HEALTHCHECK_H
#define SEQD_HEALTHCHECK_H

#include "server/config.h"

/* healthcheck: --url, or /readyz at the configured host and port. 0 when the
 * answer is 200 within three seconds; ERR_IO, ERR_INVALID else. */
int healthcheck(const struct config *c, struct err *e);

#endif
