/* unit: what a test program includes first: cmocka with the headers that it
 * wants before it, and the usual ones of the library. Each test takes cmocka's
 * state; most have no use for it, and need not say so.
 *
 * SPDX-License-Identifier: MIT */
#ifndef SEQD_UNIT_H
#define SEQD_UNIT_H

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#pragma GCC diagnostic ignored "-Wunused-parameter"

#define COUNT(array) (sizeof(array) / sizeof *(array))

#if defined(__SANITIZE_THREAD__) || defined(__SANITIZE_ADDRESS__)
#define UNIT_SANITIZED 1
#else
#define UNIT_SANITIZED 0
#endif

/* unit_is_slow: under a sanitizer or an emulator (tests/run.sh), where what
 * shows that time is linear can do with less. */
static inline int unit_is_slow(void)
{
    return UNIT_SANITIZED || getenv("TEST_RUNNER") != NULL;
}

#endif
