/* hparams_gguf: a GGUF file's metadata reads like a config.json with whole
 * keys; what JSON cannot hold is left out and breaks nothing.
 *
 * SPDX-License-Identifier: MIT */
#include <math.h>
#include <unistd.h>

#include "engine/checkpoint/checkpoint.h"
#include "tests/support/gguf_make.h"
#include "tests/support/temp_dir.h"
#include "tests/support/unit.h"

static char dir[64], path[96];

static int setup(void **state)
{
    temp_dir_make(dir);
    snprintf(path, sizeof(path), "%s/m.gguf", dir);
    return 0;
}

static int teardown(void **state)
{
    temp_dir_drop(dir);
    return access(dir, F_OK) == 0;
}

static struct checkpoint *open_or_fail(struct buf *b, const char *at,
                                       const struct hparams **h)
{
    struct checkpoint *c = NULL;
    struct err e = ERR_INIT;
    assert_int_equal(gm_write(b, path), 0);
    buf_fini(b);
    if (checkpoint_open(at, "m", &c, &e) || !(*h = checkpoint_hparams(c, &e)))
        fail_msg("%s", e.msg);
    assert_int_equal(hparams_form(*h), HPARAMS_GGUF);
    return c;
}

static void test_hparams_gguf_keys_are_whole(void **state)
{
    struct buf b;
    struct err e = ERR_INIT;
    int64_t v = 0;
    double f = 0;
    int flag = 0;
    const char *s = "";
    buf_init(&b, 1 << 20);
    gm_head(&b, 3, 0, 8);
    gm_kv_string(&b, "general.architecture", "llama");
    gm_kv_int(&b, "llama.block_count", GGUF_U32, 30);
    gm_kv_f32(&b, "llama.attention.layer_norm_rms_epsilon", 1e-5f);
    gm_kv_int(&b, "tokenizer.ggml.add_bos_token", GGUF_BOOL, 0);
    gm_kv_int(&b, "a", GGUF_I16, (uint64_t)-5);
    gm_kv_int(&b, "a.b", GGUF_U64, 7); /* and yet there is an "a" */
    gm_kv_int(&b, "big", GGUF_U64, UINT64_MAX);
    gm_kv_array(&b, "list", GGUF_F32, 2);
    gm_int(&b, 4, 0x3f800000);
    gm_int(&b, 4, 0x40000000);
    const struct hparams *h;
    struct checkpoint *c = open_or_fail(&b, dir, &h);
    assert_int_equal(hparams_string(h, "model_type", &s, &e), 0);
    assert_string_equal(s, "llama");
    assert_int_equal(hparams_string(h, "general.architecture", &s, &e), 0);
    assert_string_equal(s, "llama");
    assert_int_equal(hparams_int(h, "llama.block_count", 1, 99, &v, &e), 0);
    assert_int_equal(v, 30);
    assert_int_equal(hparams_float_or(h,
                                      "llama.attention.layer_norm_rms_epsilon",
                                      0, 1, 0, &f, &e),
                     0);
    assert_true((float)f == 1e-5f);
    assert_int_equal(
        hparams_bool_or(h, "tokenizer.ggml.add_bos_token", 1, &flag, &e), 0);
    assert_int_equal(flag, 0);
    assert_int_equal(hparams_int(h, "a", -9, 9, &v, &e), 0);
    assert_int_equal(v, -5);
    assert_int_equal(hparams_int(h, "a.b", -9, 9, &v, &e), 0);
    assert_int_equal(v, 7);
    assert_int_equal(json_size(hparams_json(h, "list")), 2);
    assert_false(hparams_has(h, "llama"));
    assert_int_equal(hparams_int(h, "big", 0, 9, &v, &e), -1);
    assert_non_null(strstr(e.msg, "m/m.gguf: 'big' is 1.84467440737096e+19, "
                                  "expected 0..9"));
    checkpoint_close(c);
}

static void test_hparams_gguf_leaves_out_what_json_cannot_hold(void **state)
{
    struct buf b;
    struct err e = ERR_INIT;
    const char *s = "";
    int64_t whole;
    double v;
    buf_init(&b, 4 << 20);
    gm_head(&b, 3, 0, 10);
    gm_kv_string(&b, "model_type", "not this");
    gm_kv_string(&b, "general.architecture", "gpt2");
    gm_kv_f32(&b, "nan", NAN);
    gm_kv_int(&b, "inf", GGUF_F64, (uint64_t)0x7ff << 52);
    gm_key(&b, "nul", GGUF_STRING);
    gm_int(&b, 8, 3);
    buf_add(&b, "a\0b", 3);
    gm_kv_string(&b, "bytes", "a\xff\xfe\"b");
    gm_key(&b, "long", GGUF_STRING);
    gm_int(&b, 8, (128 << 10) + 1);
    gm_fill(&b, (128 << 10) + 1, 'x');
    gm_kv_array(&b, "vocabulary", GGUF_U8, 4097);
    gm_fill(&b, 4097, 1);
    gm_kv_array(&b, "full", GGUF_U8, 4096);
    gm_fill(&b, 4096, 1);
    gm_kv_array(&b, "mixed", GGUF_STRING, 2);
    gm_string(&b, "good");
    gm_int(&b, 8, 1);
    gm_int(&b, 1, 0);
    const struct hparams *h;
    struct checkpoint *c = open_or_fail(&b, path, &h);
    assert_int_equal(hparams_string(h, "model_type", &s, &e), 0);
    assert_string_equal(s, "gpt2");
    assert_int_equal(hparams_float_or(h, "nan", -1, 1, 0, &v, &e), -1);
    assert_non_null(strstr(e.msg, "'nan' is not a finite number, expected"));
    e = (struct err)ERR_INIT;
    assert_int_equal(hparams_int_or(h, "inf", -1, 1, 0, &whole, &e), -1);
    assert_non_null(strstr(e.msg, "'inf' is not a finite number, expected"));
    e = (struct err)ERR_INIT;
    assert_null(hparams_json(h, "nul"));
    assert_null(hparams_json(h, "long"));
    assert_null(hparams_json(h, "vocabulary"));
    assert_int_equal(json_size(hparams_json(h, "full")), 4096);
    const struct json *mixed = json_child(hparams_json(h, "mixed"));
    assert_string_equal(json_string(mixed), "good");
    assert_int_equal(json_type(json_next(mixed)), JSON_NULL);
    assert_int_equal(hparams_string(h, "bytes", &s, &e), 0);
    assert_string_equal(s, "a\xef\xbf\xbd\xef\xbf\xbd\"b");
    checkpoint_close(c);
}

static void refuse(struct buf *b, enum err_code code, const char *says)
{
    struct checkpoint *c;
    struct err e = ERR_INIT;
    assert_int_equal(gm_write(b, path), 0);
    buf_fini(b);
    if (checkpoint_open(dir, "m", &c, &e) == 0)
        assert_null(checkpoint_hparams(c, &e));
    checkpoint_close(c);
    if (e.code != code || !strstr(e.msg, says))
        fail_msg("'%s', expected '%s'", e.msg, says);
}

static void test_hparams_gguf_refuses(void **state)
{
    struct buf b;
    buf_init(&b, 64 << 20);
    gm_head(&b, 3, 0, 1);
    gm_kv_int(&b, "general.architecture", GGUF_U32, 1);
    refuse(&b, ERR_FORMAT, "m/m.gguf: metadata 'general.architecture' is");
    buf_init(&b, 64 << 20);
    gm_head(&b, 3, 0, 81);
    gm_kv_string(&b, "general.architecture", "llama");
    for (int i = 0; i < 80; i++) { /* of 128 KiB each */
        char key[20];
        snprintf(key, sizeof(key), "k%d", i);
        gm_key(&b, key, GGUF_STRING);
        gm_int(&b, 8, 128 << 10);
        gm_fill(&b, 128 << 10, 'x');
    }
    refuse(&b, ERR_TOO_LARGE, "metadata of more than 8388608 bytes");
    buf_init(&b, 64 << 20);
    gm_head(&b, 1, 0, 1);
    gm_kv_string(&b, "general.architecture", "llama");
    refuse(&b, ERR_UNSUPPORTED, "m/m.gguf: header: version 1");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_hparams_gguf_keys_are_whole),
        cmocka_unit_test(test_hparams_gguf_leaves_out_what_json_cannot_hold),
        cmocka_unit_test(test_hparams_gguf_refuses),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
