/* oom: every allocation of checkpoint fails once.
 *
 * SPDX-License-Identifier: MIT */
#include <unistd.h>

#include "engine/checkpoint/checkpoint.h"
#include "engine/checkpoint/safetensors.h"
#include "tests/support/gguf_make.h"
#include "tests/support/oom_sweep.h"
#include "tests/support/temp_dir.h"
#include "tests/support/unit.h"

static char dir[64], path[96];
static float values[600];

static int save(void *arg, struct err *e)
{
    (void)arg;
    const struct save_tensor t[] = {
        {"a", DT_F32, 2, {20, 30}, .data = values},
        {"b", DT_BF16, 1, {600}, .data = values},
        {"c", DT_F16, 1, {3}, .data = values},
        {"d", DT_I8, 2, {20, 30}, .data = values},
    };
    const char *const meta[][2] = {{"format", "pt"}};
    return safetensors_save(path, t, 4, meta, 1, e);
}

static int open_weights(void *arg, struct err *e)
{
    (void)arg;
    struct checkpoint *c;
    if (checkpoint_open(dir, "m", &c, e))
        return -1;
    int rc = checkpoint_weights(c, e) ? 0 : -1;
    if (rc == 0)
        checkpoint_digest(c, NULL);
    checkpoint_close(c);
    return rc;
}

static void test_oom_safetensors_save_and_open(void **state)
{
    temp_dir_make(dir);
    snprintf(path, sizeof(path), "%s/model.safetensors", dir);
    assert_true(oom_sweep(save, NULL) >= 3);
    assert_true(oom_sweep(open_weights, NULL) >= 13);
    unlink(path);
    assert_int_equal(rmdir(dir), 0); /* failed saves left nothing behind */
}

static int parse_hparams(void *arg, struct err *e)
{
    struct hparams *h;
    const char *text = arg;
    if (hparams_parse(text, strlen(text), "config.json", &h, e))
        return -1;
    hparams_close(h);
    return 0;
}

static void test_oom_hparams_parse(void **state)
{
    char text[] = "{\"a\":1,\"b\":{\"c\":\"d\"},\"l\":[1,2]}";
    assert_true(oom_sweep(parse_hparams, text) >= 2);
}

static int open_hparams(void *arg, struct err *e)
{
    struct checkpoint *c;
    (void)arg;
    if (checkpoint_open(dir, "m", &c, e))
        return -1;
    int rc = checkpoint_hparams(c, e) ? 0 : -1;
    checkpoint_close(c);
    return rc;
}

static void test_oom_gguf(void **state)
{
    static const uint64_t ne[] = {32};
    struct buf b;
    temp_dir_make(dir);
    snprintf(path, sizeof(path), "%s/m.gguf", dir);
    buf_init(&b, 1 << 20);
    gm_head(&b, 3, 1, 3);
    gm_kv_string(&b, "general.architecture", "llama");
    gm_kv_array(&b, "words", GGUF_STRING, 1);
    gm_string(&b, "one");
    gm_kv_int(&b, "n", GGUF_U32, 7);
    gm_tensor(&b, "t", GM_F32, 1, ne, 0);
    gm_align(&b, 32);
    gm_fill(&b, 128, 0);
    assert_int_equal(gm_write(&b, path), 0);
    buf_fini(&b);
    assert_true(oom_sweep(open_weights, NULL) >= 12);
    assert_true(oom_sweep(open_hparams, NULL) >= 15);
    unlink(path);
    assert_int_equal(rmdir(dir), 0);
}

static void test_oom_shards(void **state)
{
    const struct save_tensor t = {"a", DT_F32, 1, {4}, .data = values};
    struct err e = ERR_INIT;
    temp_dir_make(dir);
    snprintf(path, sizeof(path), "%s/x.safetensors", dir);
    assert_int_equal(safetensors_save(path, &t, 1, NULL, 0, &e), 0);
    temp_file_text(dir, "model.safetensors.index.json",
                   "{\"weight_map\":{\"a\":\"x.safetensors\"}}");
    assert_true(oom_sweep(open_weights, NULL) >= 15);
    temp_dir_drop(dir);
}

static int open_torch(void *arg, struct err *e)
{
    struct checkpoint *c;
    (void)arg;
    if (checkpoint_open("tests/golden/torch/every.pt", "m", &c, e))
        return -1;
    int rc = checkpoint_weights(c, e) ? 0 : -1;
    checkpoint_close(c);
    return rc;
}

static void test_oom_torch_state(void **state)
{
    assert_true(oom_sweep(open_torch, NULL) >= 20);
}

/* With 8-bit numbers, and with others, whose matrices are copied. */
static int open_marian(void *arg, struct err *e)
{
    struct weights *w = NULL;
    struct checkpoint *c;
    (void)arg;
    if (checkpoint_open("tests/golden/marian_nmt/tiny/hf", "m", &c, e))
        return -1;
    int rc = checkpoint_hparams(c, e) && checkpoint_weights(c, e) ? 0 : -1;
    checkpoint_close(c);
    if (rc == 0)
        rc = weights_open_marian("tests/golden/marian_nmt", "m", "float.dat",
                                 &w, e);
    weights_close(w);
    return rc;
}

static void test_oom_marian_bin(void **state)
{
    assert_true(oom_sweep(open_marian, NULL) >= 40);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_oom_safetensors_save_and_open),
        cmocka_unit_test(test_oom_hparams_parse),
        cmocka_unit_test(test_oom_gguf),
        cmocka_unit_test(test_oom_shards),
        cmocka_unit_test(test_oom_torch_state),
        cmocka_unit_test(test_oom_marian_bin),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
