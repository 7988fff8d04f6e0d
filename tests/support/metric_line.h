/* metric_line: what this process's metrics say, for tests of the engine.
 *
 * SPDX-License-Identifier: MIT */
#ifndef SEQD_METRIC_LINE_H
#define SEQD_METRIC_LINE_H

/* metric_line: the value behind `line` ("seqd_clients{model=\"a\"} "), or -1.
 */
double metric_line(const char *line);

#endif
