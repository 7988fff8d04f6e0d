/* checkpoint: which form a path has, files beside that stay inside, and each
 * file opened once, whoever asks for views of it.
 *
 * SPDX-License-Identifier: MIT */
#include <limits.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <unistd.h>

#include "engine/base/file.h"
#include "engine/base/mem.h"
#include "engine/checkpoint/checkpoint.h"
#include "engine/checkpoint/gguf.h"
#include "engine/checkpoint/safetensors.h"
#include "engine/text/tokenizer.h"
#include "tests/support/gguf_make.h"
#include "tests/support/temp_dir.h"
#include "tests/support/unit.h"

static char dir[64];

static int setup(void **state)
{
    temp_dir_make(dir);
    return 0;
}

static const char *at(const char *name)
{
    static char path[128];
    snprintf(path, sizeof path, "%s/%s", dir, name);
    return path;
}

static int teardown(void **state)
{
    unlink(at("sub/x.json"));
    rmdir(at("sub"));
    temp_dir_drop(dir);
    return access(dir, F_OK) == 0;
}

static struct checkpoint *open_or_fail(const char *path, const char *label)
{
    struct checkpoint *c = NULL;
    struct err e = ERR_INIT;
    if (checkpoint_open(path, label, &c, &e))
        fail_msg("%s: %s", path, e.msg);
    return c;
}

static void test_checkpoint_names_the_model_not_the_path(void **state)
{
    struct err e = ERR_INIT;
    int64_t v = 0;
    struct checkpoint *c = open_or_fail(dir, "m1");
    assert_null(checkpoint_hparams(c, &e));
    assert_int_equal(e.code, ERR_NOT_FOUND);
    assert_string_equal(e.msg, "m1/config.json: no such file");
    temp_file_text(dir, "config.json", "{\"n\":2}");
    err_clear(&e);
    const struct hparams *h = checkpoint_hparams(c, &e);
    assert_non_null(h);
    assert_int_equal(hparams_int(h, "n", 3, 9, &v, &e), -1);
    assert_string_equal(e.msg, "m1/config.json: 'n' is 2, expected 3..9");
    assert_ptr_equal(checkpoint_hparams(c, &e), h);
    checkpoint_close(c);
    checkpoint_close(NULL);
}

/* What messages call the GGUF file that the path stands for, or "". */
static void expect_form(const char *path, const char *label, const char *want)
{
    struct checkpoint *c = open_or_fail(path, label);
    const struct gguf *g = checkpoint_gguf(c);
    assert_string_equal(g ? gguf_label(g) : "", want);
    checkpoint_close(c);
}

static void test_checkpoint_takes_the_only_gguf(void **state)
{
    struct buf b;
    char here[PATH_MAX];
    buf_init(&b, 1 << 12);
    gm_head(&b, 3, 0, 1);
    gm_kv_string(&b, "general.architecture", "llama");
    expect_form("/nowhere", "m", "");
    expect_form(dir, "m", "");
    temp_file_put(dir, "a.gguf", b.p, b.len);
    temp_file_text(dir, ".gguf", ""); /* a hidden file, no suffix */
    expect_form(dir, "m", "m/a.gguf");
    expect_form(dir, NULL, "a.gguf");
    expect_form(at("a.gguf"), "m", "m/a.gguf");
    assert_non_null(getcwd(here, sizeof here));
    assert_int_equal(chdir(dir), 0);
    expect_form("a.gguf", "m", "m/a.gguf");
    assert_int_equal(chdir(here), 0);
    temp_file_put(dir, "b.gguf", b.p, b.len);
    expect_form(dir, "m", "");
    unlink(at("b.gguf"));
    temp_file_text(dir, "config.json", "{}");
    expect_form(dir, "m", "");
    expect_form(at("a.gguf"), "m", "m/a.gguf");
    buf_fini(&b);
}

static void test_checkpoint_files_beside_are_inside(void **state)
{
    static const char *const out[] = {"../x", "..", "sub/../../x", "sub/..",
                                      "/etc/passwd"};
    struct checkpoint *c = open_or_fail(dir, "m");
    struct err e = ERR_INIT;
    struct json *j = NULL;
    char *text = NULL;
    size_t n = 0;
    assert_int_equal(mkdir(at("sub"), 0755), 0);
    temp_file_text(dir, "sub/x.json", "[1]");
    assert_int_equal(checkpoint_json(c, "sub/x.json", NULL, &j, &e), 0);
    assert_int_equal(json_size(j), 1);
    json_free(j);
    assert_int_equal(checkpoint_json(c, "y..json", NULL, &j, &e), 0);
    assert_null(j); /* not there */
    assert_int_equal(checkpoint_file(c, "sub/x.json", 3, &text, &n, &e), 0);
    assert_int_equal(n, 3);
    mem_free(text);
    assert_int_equal(checkpoint_file(c, "sub/x.json", 2, &text, &n, &e), -1);
    assert_int_equal(e.code, ERR_TOO_LARGE);
    err_clear(&e);
    assert_int_equal(checkpoint_file(c, "y", 9, &text, &n, &e), -1);
    assert_int_equal(e.code, ERR_NOT_FOUND);
    assert_string_equal(e.msg, "m/y: no such file");
    for (size_t i = 0; i < sizeof out / sizeof *out; i++) {
        err_clear(&e);
        assert_int_equal(checkpoint_file(c, out[i], 9, &text, &n, &e), -1);
        assert_int_equal(e.code, ERR_FORMAT);
        assert_non_null(strstr(e.msg, "is not inside the checkpoint"));
        assert_int_equal(checkpoint_json(c, out[i], NULL, &j, NULL), -1);
        assert_int_equal(checkpoint_has(c, out[i]), 0);
    }
    checkpoint_close(c);
}

/* Asks for everything; n_files of dir were opened since `watch` began, each
 * once. A GGUF file serves two tokenizers, too. */
static void expect_opened_once(int watch, struct checkpoint *c, int n_files)
{
    struct err e = ERR_INIT;
    struct tokenizer *t = NULL;
    char block[4096] __attribute__((aligned(8)));
    char seen[1024] = "/"; /* "/name/name/" */
    for (int i = 0; i < (checkpoint_gguf(c) ? 2 : 1); i++) {
        if (!checkpoint_hparams(c, &e) || tokenizer_open(c, &t, &e) ||
            !checkpoint_weights(c, &e))
            fail_msg("%s", e.msg);
        tokenizer_close(t);
    }
    assert_memory_equal(checkpoint_digest(c, NULL), "sha256:", 7);
    assert_int_equal(checkpoint_damaged(c), 0);
    checkpoint_close(c);
    ssize_t got = read(watch, block, sizeof block), step;
    for (ssize_t k = 0; k < got; k += step) {
        const struct inotify_event *v = (const void *)(block + k);
        char name[300];
        step = (ssize_t)(sizeof *v + v->len);
        if (v->len == 0 || (v->mask & IN_ISDIR))
            continue;
        snprintf(name, sizeof name, "/%s/", v->name);
        if (strstr(seen, name))
            fail_msg("%s was opened twice", v->name);
        strncat(seen, name + 1, sizeof seen - strlen(seen) - 1);
        n_files--;
    }
    assert_int_equal(n_files, 0);
    close(watch);
}

static int start_watch(void)
{
    int watch = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
    assert_true(watch >= 0 && inotify_add_watch(watch, dir, IN_OPEN) >= 0);
    return watch;
}

static void test_checkpoint_opens_a_gguf_file_once(void **state)
{
    struct err e = ERR_INIT;
    char *text = NULL;
    size_t n = 0;
    assert_int_equal(file_read("tests/golden/spm/gguf-llama/model.gguf", "f",
                               1 << 20, &text, &n, &e),
                     0);
    temp_file_put(dir, "a.gguf", text, n);
    mem_free(text);
    int watch = start_watch();
    struct checkpoint *c = open_or_fail(dir, "m");
    unlink(at("a.gguf")); /* what is open stays */
    expect_opened_once(watch, c, 1);
}

static void test_checkpoint_opens_the_files_of_a_folder_once(void **state)
{
    static const float one[] = {1};
    const struct save_tensor t = {"a", DT_F32, 1, {1}, .data = one};
    struct err e = ERR_INIT;
    temp_file_text(dir, "config.json", "{\"eos_token_id\":1}");
    temp_file_text(
        dir, "tokenizer.json",
        "{\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":0,\"b\":1},"
        "\"merges\":[]},\"pre_tokenizer\":{\"type\":\"ByteLevel\"}}");
    assert_int_equal(
        safetensors_save(at("model.safetensors"), &t, 1, NULL, 0, &e), 0);
    int watch = start_watch();
    expect_opened_once(watch, open_or_fail(dir, "m"), 3);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(
            test_checkpoint_names_the_model_not_the_path, setup, teardown),
        cmocka_unit_test_setup_teardown(test_checkpoint_takes_the_only_gguf,
                                        setup, teardown),
        cmocka_unit_test_setup_teardown(test_checkpoint_files_beside_are_inside,
                                        setup, teardown),
        cmocka_unit_test_setup_teardown(test_checkpoint_opens_a_gguf_file_once,
                                        setup, teardown),
        cmocka_unit_test_setup_teardown(
            test_checkpoint_opens_the_files_of_a_folder_once, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
