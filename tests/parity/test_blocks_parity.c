/* blocks: real rows of every quantised type, encoded by ggml, decode bit for
 * bit as ggml's own decoders do (shared models/quantized/blocks.json.gz).
 *
 * SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "engine/base/json.h"
#include "engine/checkpoint/weights.h"
#include "tests/support/shared_file.h"

#define FILE_NAME "models/quantized/blocks.json.gz"
#define MAX_ROW 256

static void check_row(enum dtype d, int row, const struct json *j)
{
    uint8_t raw[512];
    float got[MAX_ROW];
    const char *hex = json_string(json_get(j, "hex"));
    const struct json *v = json_child(json_get(j, "values"));
    int n = json_size(json_get(j, "values"));
    assert_true(hex && strlen(hex) / 2 <= sizeof(raw) && n <= MAX_ROW);
    for (size_t i = 0; hex[2 * i]; i++) {
        char two[3] = {hex[2 * i], hex[2 * i + 1], 0};
        raw[i] = (uint8_t)strtoul(two, NULL, 16);
    }
    struct tensor t = {.dtype = d, .data = raw, .bytes = strlen(hex) / 2};
    assert_int_equal(t.bytes / dtype_block_bytes(d) * (size_t)dtype_block(d),
                     n);
    tensor_read(&t, 0, (size_t)n, got);
    for (int i = 0; i < n; i++, v = json_next(v)) {
        float want = (float)json_number(v);
        if (memcmp(&got[i], &want, sizeof(want)) != 0) {
            fail_msg("%s row %d [%d] is %.9g, expected %.9g", dtype_name(d),
                     row, i, (double)got[i], (double)want);
        }
    }
}

static void test_blocks_equal_ggml(void **state)
{
    (void)state;
    static const enum dtype types[] = {
        DT_F16,  DT_BF16, DT_Q8_0, DT_Q4_0, DT_Q4_1, DT_Q5_0,  DT_Q5_1,
        DT_Q2_K, DT_Q3_K, DT_Q4_K, DT_Q5_K, DT_Q6_K, DT_IQ4_NL};
    const struct json_limits lim = {(size_t)64 << 20, 8, 1 << 20};
    struct json *all = NULL;
    struct err e = ERR_INIT;
    size_t n;
    char *text = shared_read(FILE_NAME, &n);
    if (!text) {
        print_message("skipped: no shared data\n");
        skip();
    }
    if (json_parse(text, n, &lim, &all, &e))
        fail_msg("%s", e.msg);
    for (size_t k = 0; k < sizeof(types) / sizeof(types[0]); k++) {
        const struct json *rows =
            json_get(json_get(all, dtype_name(types[k])), "rows");
        assert_int_equal(json_size(rows), 20);
        int row = 0;
        for (const struct json *j = json_child(rows); j; j = json_next(j))
            check_row(types[k], row++, j);
    }
    json_free(all);
    free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_blocks_equal_ggml),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
