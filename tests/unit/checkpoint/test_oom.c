/* oom: every allocation of checkpoint fails once.
 *
 * SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "engine/checkpoint/hparams.h"
#include "engine/checkpoint/safetensors.h"
#include "tests/support/oom_sweep.h"

static char dir[] = "/tmp/seqd-oom-XXXXXX";
static char path[64];
static float values[600];

static int save(void *arg, struct err *e)
{
    (void)arg;
    const struct save_tensor t[] = {
        {"a", DT_F32, 2, {20, 30}, values},
        {"b", DT_BF16, 1, {600}, values},
        {"c", DT_F16, 1, {3}, values},
    };
    const char *const meta[][2] = {{"format", "pt"}};
    return safetensors_save(path, t, 3, meta, 1, e);
}

static int open_weights(void *arg, struct err *e)
{
    (void)arg;
    struct weights *w;
    if (weights_open(dir, "m", &w, e)) {
        return -1;
    }
    weights_digest(w);
    weights_close(w);
    return 0;
}

static void test_oom_safetensors_save_and_open(void **state)
{
    (void)state;
    assert_non_null(mkdtemp(dir));
    snprintf(path, sizeof(path), "%s/model.safetensors", dir);
    assert_true(oom_sweep(save, NULL) >= 1);
    assert_true(oom_sweep(open_weights, NULL) >= 10);
    unlink(path);
    assert_int_equal(rmdir(dir), 0); /* failed saves left nothing behind */
}

static int parse_hparams(void *arg, struct err *e)
{
    struct hparams *h;
    const char *text = arg;
    if (hparams_parse(text, strlen(text), "config.json", &h, e)) {
        return -1;
    }
    hparams_close(h);
    return 0;
}

static void test_oom_hparams_parse(void **state)
{
    (void)state;
    char text[] = "{\"a\":1,\"b\":{\"c\":\"d\"},\"l\":[1,2]}";
    assert_true(oom_sweep(parse_hparams, text) >= 8);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_oom_safetensors_save_and_open),
        cmocka_unit_test(test_oom_hparams_parse),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
