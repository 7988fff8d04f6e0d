/* json_scan: the strict pre-scan in front of cJSON (json.h says what it
 * refuses). Iterative: the only stack is an array of max_depth entries.
 *
 * SPDX-License-Identifier: MIT */
#ifndef SEQD_JSON_SCAN_H
#define SEQD_JSON_SCAN_H

#include "engine/base/json.h"

/* All limits set (no zeros); nul: \u0000 may stand in a string. ERR_INVALID,
 * ERR_TOO_LARGE, ERR_NOMEM. */
int json_scan(const char *text, size_t n, const struct json_limits *lim,
              int nul, struct err *e);

#endif
