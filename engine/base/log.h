/* log: one line per event on standard error: `ts level module event k=v ...`,
 * or one JSON object with the same fields. The level and the format are the
 * process-wide globals that style.md allows. Prompts are never logged above
 * debug. Thread-safe: a line is one write(2). Where the reader has fallen
 * behind (a full pipe), lines are lost, counted, and said when it reads again:
 * no log stops who writes it.
 *
 * SPDX-License-Identifier: MIT */
#ifndef SEQD_LOG_H
#define SEQD_LOG_H

#include <stdint.h>

enum log_level { LOG_ERROR, LOG_WARN, LOG_INFO, LOG_DEBUG };

void log_configure(enum log_level level, int as_json);
int log_enabled(enum log_level level);

/* log_event: `fields` is a printf format that yields `k=v k=v`; a value with
 * spaces is written as k="..." by the caller. In JSON form the fields are
 * split at these pairs, and numbers are numbers. */
void log_event(enum log_level level, const char *module, const char *event,
               const char *fields, ...) __attribute__((format(printf, 4, 5)));

/* log_lost: lines that found no room so far. */
uint64_t log_lost(void);

#endif
