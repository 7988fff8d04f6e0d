/* metrics_process: the process_* metrics that Prometheus clients share, read
 * from /proc/self at the time of the call.
 *
 * SPDX-License-Identifier: MIT */
#ifndef SEQD_METRICS_PROCESS_H
#define SEQD_METRICS_PROCESS_H

#include "engine/base/buf.h"

/* A value that cannot be read is left out. */
void metrics_write_process(struct buf *out);

#endif
