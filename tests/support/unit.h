/* unit: cmocka, with the headers that it wants to find before it and those
 * that nearly every test needs. Each test takes cmocka's state; most have no
 * use for it, and need not say so.
 *
 * SPDX-License-Identifier: MIT */
#ifndef SEQD_TESTS_UNIT_H
#define SEQD_TESTS_UNIT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#pragma GCC diagnostic ignored "-Wunused-parameter"

#endif
