/* fuzz_main: libFuzzer's entry to the target that the Makefile names.
 *
 * SPDX-License-Identifier: MIT */
#include "tests/support/fuzz_targets.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    FUZZ_TARGET(data, n);
    return 0;
}
