/* log: one line per event on standard error or in a file: `ts level module
 * event k=v ...`, or one JSON object with the same fields. The level, the
 * format and the place are the process-wide globals that style.md allows.
 * Prompts are never logged above debug. Thread-safe: a line is one write(2).
 * Where the reader has fallen behind (a full pipe) or the place takes none (a
 * full disk, a terminal that was closed), lines are lost, counted, and said
 * when there is room again: no log stops who writes it.
 *
 * SPDX-License-Identifier: MIT */
#ifndef SEQD_LOG_H
#define SEQD_LOG_H

#include <stdint.h>

#include "engine/base/err.h"

enum log_level { LOG_ERROR, LOG_WARN, LOG_INFO, LOG_DEBUG };

void log_configure(enum log_level level, int as_json);
int log_enabled(enum log_level level);
/* log_open: from now on lines are appended to this regular file, which is made
 * with mode 0640 if need be. Once more: to the file that has the name now, and
 * the one before is closed. ERR_IO: they go where they went. */
int log_open(const char *path, struct err *e);

/* log_event: `fields` is a printf format that yields `k=v k=v`; a value with
 * spaces is written as k="..." by the caller. In JSON form the fields are
 * split at these pairs, and numbers are numbers. */
void log_event(enum log_level level, const char *module, const char *event,
               const char *fields, ...) __attribute__((format(printf, 4, 5)));

/* log_lost: lines so far that found no room. */
uint64_t log_lost(void);

#endif
