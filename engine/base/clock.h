/* clock: time in microseconds. Deadlines and durations use the monotonic
 * clock, `created` fields the wall clock.
 *
 * SPDX-License-Identifier: MIT */
#ifndef SEQD_CLOCK_H
#define SEQD_CLOCK_H

#include <stdint.h>

int64_t clock_now_us(void);  /* monotonic */
int64_t clock_wall_us(void); /* since 1970 */

#endif
