/* marian_bin, marian_yml: a file of Marian's with numbers of 8 bits beside one
 * with plain numbers of the same net (tests/golden/make_marian_nmt.py), its
 * configuration, and what is wrong with others.
 *
 * SPDX-License-Identifier: MIT */
#include "engine/checkpoint/marian_bin.h"

#include <math.h>

#include "engine/base/buf.h"
#include "engine/base/file.h"
#include "engine/base/json.h"
#include "engine/base/mem.h"
#include "engine/checkpoint/checkpoint.h"
#include "engine/checkpoint/marian_yml.h"
#include "tests/support/unit.h"

#define DIR "tests/golden/marian_nmt/tiny/hf"
#define PLAIN "tests/golden/marian_nmt/float.dat"

static struct checkpoint *open_or_fail(const char *path)
{
    struct checkpoint *c = NULL;
    struct err e = ERR_INIT;
    if (checkpoint_open(path, "m", &c, &e))
        fail_msg("%s", e.msg);
    return c;
}

static char *bytes_of(const char *path, size_t *n)
{
    char *p = NULL;
    struct err e = ERR_INIT;
    if (file_read(path, path, 1 << 22, &p, n, &e))
        fail_msg("%s", e.msg);
    return p;
}

static void test_marian_bin_is_a_form_of_checkpoint(void **state)
{
    static const char *const paths[] = {DIR, DIR "/model.bin"};
    (void)state;
    for (int i = 0; i < 2; i++) {
        struct checkpoint *c = open_or_fail(paths[i]);
        struct err e = ERR_INIT;
        const char *type;
        int64_t n = 0;
        assert_int_equal(checkpoint_form(c), CHECKPOINT_MARIAN);
        const struct hparams *h = checkpoint_hparams(c, &e);
        assert_non_null(h);
        assert_int_equal(hparams_string(h, "model_type", &type, &e), 0);
        assert_string_equal(type, "marian-transformer");
        assert_int_equal(hparams_int(h, "dim-emb", 1, 99, &n, &e), 0);
        assert_int_equal(n, 24);
        assert_int_equal(json_size(hparams_json(h, "dim-vocabs")), 2);
        assert_int_equal(json_size(hparams_json(h, "input-types")), 0);
        assert_string_equal(
            json_string(hparams_json(h, "transformer-preprocess")), "");
        const struct weights *w = checkpoint_weights(c, &e);
        assert_non_null(w);
        assert_non_null(weights_need(w, "encoder_l1_ffn_W1", 2, 41, 24, &e));
        assert_non_null(weights_need(w, "encoder_l1_ffn_b1", 1, 41, 0, &e));
        checkpoint_close(c);
    }
}

/* An 8-bit number is the nearest to the plain one, of the same place: matrices
 * [in, out] of either file are [out, in] here. Those of 8 bits stay in it. */
static void test_marian_bin_scales_and_turns(void **state)
{
    struct marian_bin *f = NULL;
    struct err e = ERR_INIT;
    struct checkpoint *c = open_or_fail(DIR);
    const struct weights *w = checkpoint_weights(c, &e);
    size_t n;
    int matrices = 0;
    char *bytes = bytes_of(PLAIN, &n);
    (void)state;
    assert_non_null(w);
    assert_true(marian_bin_is((const uint8_t *)bytes, n));
    assert_int_equal(marian_bin_parse((const uint8_t *)bytes, n, "f", &f, &e),
                     0);
    for (int i = 0; i < marian_bin_count(f); i++) {
        const struct tensor *a = marian_bin_at(f, i);
        const struct tensor *b = weights_find(w, a->name);
        float most = 0, far = 0, x, y;
        assert_non_null(b);
        assert_int_equal(a->n_dims, b->n_dims);
        assert_memory_equal(a->dim, b->dim, sizeof a->dim);
        assert_int_equal(b->dtype, a->n_dims == 2 ? DT_I8 : DT_F32);
        assert_int_equal(b->bytes, a->n_dims == 2 ? a->bytes / 4 : a->bytes);
        for (size_t k = 0; k < a->bytes / 4; k++) {
            tensor_read(a, k, 1, &x);
            tensor_read(b, k, 1, &y);
            most = fmaxf(most, fabsf(x));
            far = fmaxf(far, fabsf(x - y));
        }
        matrices += a->n_dims == 2;
        /* 127 steps to the largest; half of one, and rounding */
        assert_true(far <= (a->n_dims == 2 ? most / 253 : 0));
        assert_true(a->n_dims == 1 || far > 0);
    }
    assert_int_equal(matrices, 1 + 2 * 6 + 2 * 8);
    marian_bin_free(f);
    mem_free(bytes);
    checkpoint_close(c);
}

/* Only matrices of plain numbers are copied. */
static void test_marian_bin_says_what_it_holds(void **state)
{
    struct weights *w = NULL;
    struct err e = ERR_INIT;
    size_t turned = 0;
    (void)state;
    struct checkpoint *c = open_or_fail(DIR);
    assert_int_equal(weights_held(checkpoint_weights(c, &e)), 0);
    checkpoint_close(c);
    if (weights_open_marian("tests/golden/marian_nmt", "m", "float.dat", &w,
                            &e))
        fail_msg("%s", e.msg);
    for (int i = 0; i < weights_count(w); i++) {
        const struct tensor *t = weights_at(w, i);
        turned += t->n_dims == 2 && strcmp(t->name, "Wemb") ? t->bytes : 0;
    }
    assert_true(turned > 0);
    assert_int_equal(weights_held(w), turned);
    weights_close(w);
}

static void refuse(const uint8_t *p, size_t n, enum err_code code,
                   const char *says)
{
    struct marian_bin *m = NULL;
    struct err e = ERR_INIT;
    if (marian_bin_parse(p, n, "m", &m, &e) == 0)
        fail_msg("taken, expected: %s", says);
    assert_null(m);
    if (e.code != code || !strstr(e.msg, says))
        fail_msg("'%s' (%d), expected '%s' (%d)", e.msg, e.code, says, code);
}

/* Bytes of the header: item i has its lengths at 16 + 32 i. */
static void test_marian_bin_refuses_by_name(void **state)
{
    static const struct {
        size_t at;
        uint8_t byte;
        enum err_code code;
        const char *says;
    } cases[] = {
        {0, 2, ERR_FORMAT, "m: is not a binary file of Marian, version 1"},
        {10, 1, ERR_FORMAT, "more than the file has room for"},
        {16, 1, ERR_FORMAT, "a name is not of 1 to 255 bytes"},
        {18, 1, ERR_FORMAT, "a name is not of 1 to 255 bytes"},
        {24, 2, ERR_UNSUPPORTED,
         "tensor 'Wemb' has the unsupported type 0x4102, expected float32"},
        {32, 5, ERR_FORMAT, "a tensor has more than 4 dimensions"},
        {41, 0, ERR_FORMAT, "tensor 'Wemb' is shorter than its shape asks"},
        {43, 1, ERR_FORMAT, "tensor 'Wemb' ends behind the file"},
    };
    size_t n;
    char *bytes = bytes_of(DIR "/model.bin", &n);
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        uint8_t *p = (uint8_t *)bytes + cases[i].at, was = *p;
        *p = cases[i].byte;
        refuse((const uint8_t *)bytes, n, cases[i].code, cases[i].says);
        *p = was;
    }
    refuse((const uint8_t *)bytes, n - 1, ERR_FORMAT, "ends behind the file");
    mem_free(bytes);
}

/* The factor of a matrix stands behind its numbers. */
static void test_marian_bin_refuses_damaged_factors(void **state)
{
    static const char *const no = "has a factor that is no positive normal";
    const struct {
        float factor;
        const char *says;
    } cases[] = {
        {NAN, no},
        {0.0f, no},
        {-0.0f, no},
        {INFINITY, no},
        {-INFINITY, no},
        {-93.0f, no},
        {1e-40f, no},
        {0x1p-125f, "has a factor that is too small"},
        {3e38f, "has a factor that is too large"},
    };
    struct marian_bin *m = NULL;
    struct err e = ERR_INIT;
    char says[128];
    size_t n;
    char *bytes = bytes_of(DIR "/model.bin", &n);
    const struct tensor *t = NULL;
    (void)state;
    if (marian_bin_parse((const uint8_t *)bytes, n, "m", &m, &e))
        fail_msg("%s", e.msg);
    for (int i = 0; i < marian_bin_count(m); i++)
        if (strcmp(marian_bin_at(m, i)->name, "decoder_l1_rnn_Wf") == 0)
            t = marian_bin_at(m, i);
    assert_non_null(t);
    uint8_t *at = (uint8_t *)(uintptr_t)t->data + t->bytes;
    marian_bin_free(m);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        memcpy(at, &cases[i].factor, sizeof cases[i].factor);
        snprintf(says, sizeof says, "m: tensor 'decoder_l1_rnn_Wf' %s",
                 cases[i].says);
        refuse((const uint8_t *)bytes, n, ERR_FORMAT, says);
    }
    mem_free(bytes);
}

static void test_marian_bin_takes_no_half_of_a_file(void **state)
{
    size_t n;
    char *bytes = bytes_of(DIR "/model.bin", &n);
    (void)state;
    for (size_t k = 0; k < n; k += k < 8000 ? 1 : 997) {
        struct marian_bin *m = NULL;
        struct err e = ERR_INIT;
        assert_int_equal(
            marian_bin_parse((const uint8_t *)bytes, k, "m", &m, &e), -1);
        assert_true(e.code == ERR_FORMAT && e.msg[0] && !m);
    }
    mem_free(bytes);
}

/* --- the configuration --- */

static void expect_yml(const char *yml, const char *json)
{
    struct err e = ERR_INIT;
    struct buf out;
    buf_init(&out, 4096);
    if (marian_yml_json(yml, strlen(yml), "m", &out, &e))
        fail_msg("%s", e.msg);
    buf_add_char(&out, 0);
    assert_string_equal(out.p, json);
    buf_fini(&out);
}

static void refuse_yml(const char *yml, const char *says)
{
    struct err e = ERR_INIT;
    struct buf out;
    buf_init(&out, 4096);
    assert_int_equal(marian_yml_json(yml, strlen(yml), "m", &out, &e), -1);
    if (e.code != ERR_FORMAT || !strstr(e.msg, says))
        fail_msg("'%s', expected '%s'", e.msg, says);
    buf_fini(&out);
}

static void test_marian_yml_is_json(void **state)
{
    (void)state;
    expect_yml("type: s2s\na-b: 12\nc: -0.5e3\nd: \"\"\ne: \"x y\"\nf: no way\n"
               "# words\n\ng:\n  - 1\n  - two\nh: []\ni: true\nj: ~\nk:\n",
               "{\"type\":\"s2s\",\"model_type\":\"marian-s2s\",\"a-b\":12,"
               "\"c\":-0.5e3,\"d\":\"\",\"e\":\"x y\",\"f\":\"no way\",\"g\":"
               "[1,\"two\"],\"h\":[],\"i\":true,\"j\":null,\"k\":null}");
    expect_yml("type: x\nv: v1.9\nn: 007\nm: 1.\n",
               "{\"type\":\"x\",\"model_type\":\"marian-x\",\"v\":\"v1.9\","
               "\"n\":\"007\",\"m\":\"1.\"}");
    refuse_yml("a: 1\n", "m: its configuration has no 'type'");
    refuse_yml("type: x\n- 1\n", "m: line 2 of its configuration has an item");
    refuse_yml("type: x\na: 1\n  - 1\n", "line 3 of its configuration has an");
    refuse_yml("type: x\na:\n  b: 1\n", "line 3 of its configuration is not");
    refuse_yml("type: x\na: {b: 1}\n", "has a value of a form that is not");
    refuse_yml("type: x\na: \"\\n\"\n", "has a value of a form that is not");
    refuse_yml("type: x\na:1\n", "is not a key with a value");
    refuse_yml("type: x\na: \xff\n", "has a value of a form that is not");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_marian_bin_is_a_form_of_checkpoint),
        cmocka_unit_test(test_marian_bin_scales_and_turns),
        cmocka_unit_test(test_marian_bin_refuses_damaged_factors),
        cmocka_unit_test(test_marian_bin_says_what_it_holds),
        cmocka_unit_test(test_marian_bin_refuses_by_name),
        cmocka_unit_test(test_marian_bin_takes_no_half_of_a_file),
        cmocka_unit_test(test_marian_yml_is_json),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
