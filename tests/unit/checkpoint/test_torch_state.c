/* torch_state: files of torch.save against safetensors files of the same
 * tensors, what is refused and in which words, and hostile files. The fixtures
 * come from tests/golden/make_torch_fixtures.py.
 *
 * SPDX-License-Identifier: MIT */
#include "engine/checkpoint/torch_state.h"

#include <sys/stat.h>

#include "engine/base/file.h"
#include "engine/base/mem.h"
#include "engine/checkpoint/checkpoint.h"
#include "tests/support/fuzz_targets.h"
#include "tests/support/temp_dir.h"
#include "tests/support/unit.h"

#define DIR "tests/golden/torch"

static char *bytes_of(const char *path, size_t *n)
{
    char *p = NULL;
    struct err e = ERR_INIT;
    if (file_read(path, path, 1 << 22, &p, n, &e))
        fail_msg("%s", e.msg);
    return p;
}

/* The same bits under the same names. */
static void same_tensors(const char *name, const struct weights *pt,
                         const struct weights *want)
{
    assert_int_equal(weights_count(pt), weights_count(want));
    for (int i = 0; i < weights_count(want); i++) {
        const struct tensor *b = weights_at(want, i);
        const struct tensor *a = weights_find(pt, b->name);
        if (!a || a->dtype != b->dtype || a->n_dims != b->n_dims ||
            memcmp(a->dim, b->dim, sizeof a->dim) != 0 || a->bytes != b->bytes)
            fail_msg("%s: '%s' has another shape or type", name, b->name);
        assert_memory_equal(a->data, b->data, b->bytes);
    }
    assert_int_equal(weights_parameters(pt), weights_parameters(want));
}

/* dir/name.pt and of.safetensors are the same. */
static void same_as(const char *name, const char *of)
{
    char dir[64];
    size_t n;
    struct weights *pt, *want;
    struct err e = ERR_INIT;
    temp_dir_make(dir);
    char *data = bytes_of(of, &n);
    temp_file_put(dir, "model.safetensors", data, n);
    mem_free(data);
    if (weights_open_torch(DIR, "m", name, &pt, &e) ||
        weights_open(dir, "m", &want, &e))
        fail_msg("%s: %s", name, e.msg);
    same_tensors(name, pt, want);
    weights_close(pt);
    weights_close(want);
    temp_dir_drop(dir);
}

static void test_torch_state_holds_the_bits_of_its_safetensors(void **state)
{
    same_as("every.pt", DIR "/every.safetensors");
    same_as("parameters.pt", DIR "/parameters.safetensors");
    same_as("lstm.pt", "tests/golden/rnn/lstm/model.safetensors");
    same_as("training.pt", "tests/golden/rnn/lstm/model.safetensors");
    same_as("training-model.pt", DIR "/parameters.safetensors");
}

/* torch.nn.Linear(3, 2).weight under two names is one matrix of 6. */
static void test_weights_count_tied_tensors_once(void **state)
{
    struct weights *w = NULL;
    struct err e = ERR_INIT;
    if (weights_open_torch(DIR, "m", "tied.pt", &w, &e))
        fail_msg("%s", e.msg);
    assert_int_equal(weights_count(w), 2);
    assert_ptr_equal(weights_find(w, "a")->data, weights_find(w, "b")->data);
    assert_int_equal(weights_parameters(w), 6);
    weights_close(w);
}

static void test_torch_state_reads_zip64(void **state)
{
    struct weights *a, *b;
    struct err e = ERR_INIT;
    if (weights_open_torch(DIR, "m", "small.pt", &a, &e) ||
        weights_open_torch(DIR, "m", "zip64.pt", &b, &e))
        fail_msg("%s", e.msg);
    assert_int_equal(weights_count(a), 2);
    for (int i = 0; i < 2; i++)
        assert_memory_equal(weights_at(a, i)->data, weights_at(b, i)->data,
                            weights_at(a, i)->bytes);
    weights_close(a);
    weights_close(b);
}

static void test_torch_state_refuses_by_name(void **state)
{
    static const struct {
        const char *file;
        enum err_code code;
        const char *words;
    } rows[] = {
        {"refused-module.pt", ERR_UNSUPPORTED, "needs '__main__.Whole'"},
        {"refused-call.pt", ERR_UNSUPPORTED, "needs 'posix.system'"},
        {"refused-number.pt", ERR_UNSUPPORTED, "tensor 'b' is no tensor"},
        {"refused-int8.pt", ERR_UNSUPPORTED, "needs 'torch.CharStorage'"},
        {"refused-repeats.pt", ERR_TOO_LARGE, "'a' is a view that repeats"},
        {"refused-list.pt", ERR_UNSUPPORTED, "holds no dict"},
        {"refused-two.pt", ERR_UNSUPPORTED, "holds two state dicts"},
        {"refused-protocol.pt", ERR_UNSUPPORTED, "protocol 4, expected 2"},
        {"refused-legacy.pt", ERR_UNSUPPORTED, "form of torch before 1.6"},
        {"refused-big.pt", ERR_UNSUPPORTED, "byteorder is 'big'"},
        {"refused-compressed.pt", ERR_UNSUPPORTED, "is compressed"},
        {"refused-length.pt", ERR_FORMAT, "a storage of another length"},
        {"refused-script.pt", ERR_UNSUPPORTED, "is a TorchScript program"},
        {"refused-past.pt", ERR_FORMAT, "'a' reaches past its storage"},
        {"refused-start.pt", ERR_UNSUPPORTED, "'a' is not rebuilt in the"},
        {"refused-sum.pt", ERR_FORMAT, "'a' is too large"},
        {"refused-product.pt", ERR_FORMAT, "'a' is too large"},
        {"refused-empty.pt", ERR_FORMAT, "'a' reaches past its storage"},
        {"refused-backwards.pt", ERR_FORMAT, "a bad dimension or stride"},
        {"refused-nine.pt", ERR_FORMAT, "has more than 8 dimensions"},
        {"refused-again.pt", ERR_FORMAT, "tensor 'a' is there twice"},
        {"refused-hole.pt", ERR_FORMAT, "a memo with a hole"},
        {"refused-longer.pt", ERR_FORMAT, "reaches past the end of the file"},
        {"refused-entry.pt", ERR_FORMAT, "data/0' is there twice"},
        {"versions.json", ERR_FORMAT, "not a file of torch.save"},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct weights *w = NULL;
        struct err e = ERR_INIT;
        assert_int_equal(weights_open_torch(DIR, "m", rows[i].file, &w, &e),
                         -1);
        if (e.code != rows[i].code || !strstr(e.msg, rows[i].words) ||
            !strstr(e.msg, rows[i].file))
            fail_msg("%s: %d %s", rows[i].file, e.code, e.msg);
    }
}

static void test_torch_state_refuses_a_tar(void **state)
{
    uint8_t tar[512] = "model.pt";
    struct torch_state *t = NULL;
    struct err e = ERR_INIT;
    memcpy(tar + 257, "ustar", 5);
    assert_int_equal(torch_state_parse(tar, sizeof tar, "m", &t, &e), -1);
    assert_non_null(strstr(e.msg, "is a tar"));
}

/* A copy of exactly n bytes, so that the sanitizer sees what is read past it.
 */
static void parse_exact(const char *data, size_t n)
{
    uint8_t *exact = test_malloc(n ? n : 1);
    memcpy(exact, data, n);
    fuzz_torch(exact, n); /* checks what must hold */
    test_free(exact);
}

static void test_torch_state_survives_every_cut(void **state)
{
    size_t n;
    char *data = bytes_of(DIR "/small.pt", &n);
    for (size_t i = 0; i < n; i++) {
        struct torch_state *t = NULL;
        struct err e = ERR_INIT;
        assert_int_equal(torch_state_parse((uint8_t *)data, i, "m", &t, &e),
                         -1);
        parse_exact(data, i);
    }
    mem_free(data);
}

/* Each byte with each bit turned, and all of them; SEQD_EVERY_BYTE: each byte
 * with every value. */
static void test_torch_state_survives_every_changed_byte(void **state)
{
    static const char *const files[] = {DIR "/small.pt", DIR "/zip64.pt"};
    static const uint8_t flips[] = {1, 2, 4, 8, 16, 32, 64, 128, 255};
    int all = getenv("SEQD_EVERY_BYTE") != NULL;
    for (size_t k = 0; k < COUNT(files); k++) {
        size_t n;
        char *data = bytes_of(files[k], &n);
        for (size_t i = 0; i < n; i++) {
            for (int j = 0; j < (all ? 255 : (int)COUNT(flips)); j++) {
                char was = data[i];
                data[i] = (char)(was ^ (all ? j + 1 : flips[j]));
                parse_exact(data, n);
                data[i] = was;
            }
        }
        mem_free(data);
    }
}

/* As a file, and by the folder that it is alone in. */
static void test_checkpoint_takes_a_file_of_torch(void **state)
{
    char dir[64], path[128];
    static const char *const names[] = {"model.pt", "pytorch_model.bin",
                                        "other.pth", "without-suffix"};
    size_t n;
    char *data = bytes_of(DIR "/small.pt", &n);
    for (size_t i = 0; i < COUNT(names); i++) {
        temp_dir_make(dir);
        temp_file_put(dir, names[i], data, n);
        temp_file_text(dir, "config.json", "{\"model_type\":\"x\"}");
        snprintf(path, sizeof path, "%s/%s", dir, names[i]);
        for (int by_dir = 0; by_dir < (i < 2 ? 2 : 1); by_dir++) {
            struct checkpoint *c = NULL;
            struct err e = ERR_INIT;
            const char *type = NULL;
            char want[72];
            size_t bytes;
            if (checkpoint_open(by_dir ? dir : path, "m", &c, &e) ||
                !checkpoint_hparams(c, &e) ||
                hparams_string(checkpoint_hparams(c, &e), "model_type", &type,
                               &e) ||
                !checkpoint_weights(c, &e))
                fail_msg("%s: %s", names[i], e.msg);
            assert_string_equal(type, "x");
            assert_non_null(weights_find(checkpoint_weights(c, &e), "bias"));
            temp_file_digest(dir, (const char *const[]){names[i], NULL}, want,
                             &bytes);
            assert_string_equal(checkpoint_digest(c, NULL), want);
            checkpoint_close(c);
        }
        temp_dir_drop(dir);
    }
    mem_free(data);
}

#define INDEX "pytorch_model.bin.index.json"

/* As transformers wrote them: an index beside the files that it names. */
static void test_weights_open_shards_of_torch_as_one(void **state)
{
    static const char one[] = "pytorch_model-00001-of-00002.bin";
    static const char two[] = "pytorch_model-00002-of-00002.bin";
    struct weights *w = NULL, *want = NULL;
    struct err e = ERR_INIT;
    char digest[72];
    size_t n;
    if (weights_open(DIR "/shards", "m", &w, &e) ||
        weights_open("tests/golden/rnn/lstm", "m", &want, &e))
        fail_msg("%s", e.msg);
    same_tensors("shards", w, want);
    assert_null(weights_need(w, "x", 1, 1, 1, &e));
    assert_string_equal(e.msg, "m/" INDEX ": tensor 'x' is missing");
    temp_file_digest(DIR "/shards", (const char *const[]){one, two, NULL},
                     digest, &n);
    assert_string_equal(weights_digest(w, NULL), digest);
    weights_close(w);
    weights_close(want);
}

static void test_weights_refuse_untrue_shards_of_torch(void **state)
{
    static const struct {
        const char *index, *says;
    } rows[] = {
        {"{\"weight_map\":{\"bias\":\"x.bin\"}}",
         "tensor 'weight' is in x.bin, but listed nowhere"},
        {"{\"weight_map\":{\"bias\":\"x.bin\",\"weight\":\"x.bin\","
         "\"more\":\"x.bin\"}}",
         "tensor 'more' is listed for x.bin, which has no such tensor"},
        {"{\"weight_map\":{\"bias\":\"x.safetensors\"}}",
         "is in 'x.safetensors', expected the name of a .bin file beside it"},
        {"{\"weight_map\":{\"bias\":\"../x.bin\"}}", "is in '../x.bin'"},
        {"{\"weight_map\":{\"bias\":\"y.bin\"}}", "m/y.bin: no such file"},
        {"{\"weight_map\":{\"bias\":\"z.bin\"}}",
         "m/z.bin: does not begin as a zip"},
    };
    char dir[64];
    size_t n;
    struct weights *w = NULL;
    struct err e = ERR_INIT;
    char *data = bytes_of(DIR "/small.pt", &n);
    temp_dir_make(dir);
    temp_file_put(dir, "x.bin", data, n);
    temp_file_text(dir, "z.bin", "{\"a\":1}");
    for (size_t i = 0; i < COUNT(rows); i++) {
        err_clear(&e);
        temp_file_text(dir, INDEX, rows[i].index);
        assert_int_equal(weights_open(dir, "m", &w, &e), -1);
        if (!strstr(e.msg, rows[i].says))
            fail_msg("'%s', expected '%s'", e.msg, rows[i].says);
    }
    /* The whole file comes before an index, which is not read then. */
    temp_file_put(dir, "pytorch_model.bin", data, n);
    if (weights_open(dir, "m", &w, &e))
        fail_msg("%s", e.msg);
    weights_close(w);
    mem_free(data);
    temp_dir_drop(dir);
}

static void test_torch_state_cut_while_open_is_damaged(void **state)
{
    char dir[64], path[128];
    size_t n;
    struct weights *w = NULL;
    struct err e = ERR_INIT;
    float v[1];
    char *data = bytes_of(DIR "/lstm.pt", &n);
    temp_dir_make(dir);
    temp_file_put(dir, "model.pt", data, n);
    mem_free(data);
    snprintf(path, sizeof path, "%s/model.pt", dir);
    assert_int_equal(weights_open(dir, "m", &w, &e), 0);
    assert_int_equal(weights_damaged(w), 0);
    assert_int_equal(truncate(path, 0), 0);
    tensor_read(weights_at(w, 0), 0, 1, v);
    assert_int_equal(weights_damaged(w), 1);
    weights_close(w);
    temp_dir_drop(dir);
}

/* Safetensors come first where both are there. */
static void test_weights_prefer_safetensors(void **state)
{
    char dir[64];
    size_t n;
    struct weights *w = NULL;
    struct err e = ERR_INIT;
    temp_dir_make(dir);
    char *data = bytes_of(DIR "/parameters.safetensors", &n);
    temp_file_put(dir, "model.safetensors", data, n);
    mem_free(data);
    temp_file_text(dir, "model.pt", "not looked at");
    assert_int_equal(weights_open(dir, "m", &w, &e), 0);
    weights_close(w);
    temp_dir_drop(dir);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_torch_state_holds_the_bits_of_its_safetensors),
        cmocka_unit_test(test_weights_count_tied_tensors_once),
        cmocka_unit_test(test_torch_state_reads_zip64),
        cmocka_unit_test(test_torch_state_refuses_by_name),
        cmocka_unit_test(test_torch_state_refuses_a_tar),
        cmocka_unit_test(test_torch_state_survives_every_cut),
        cmocka_unit_test(test_torch_state_survives_every_changed_byte),
        cmocka_unit_test(test_checkpoint_takes_a_file_of_torch),
        cmocka_unit_test(test_weights_open_shards_of_torch_as_one),
        cmocka_unit_test(test_weights_refuse_untrue_shards_of_torch),
        cmocka_unit_test(test_torch_state_cut_while_open_is_damaged),
        cmocka_unit_test(test_weights_prefer_safetensors),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
