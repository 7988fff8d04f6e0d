/* The files of models that change under a running server: overwritten in place,
 * with its times set back, touched, replaced by rename.
 *
 * SPDX-License-Identifier: MIT */
#include <fcntl.h>
#include <sys/stat.h>

#include "engine/base/mem.h"
#include "tests/support/http_rig.h"

#define WAIT_S 10
#define ASK_WORDS "{\"model\":\"words\",\"input\":\"the\"}"
#define ASK_OTHER "{\"model\":\"other\",\"input\":\"the\"}"
#define ASK_LABELS "{\"model\":\"labels\",\"input\":\"good\"}"

static struct http_rig rig;
static char dir[96]; /* of the model "other" */

static void weights_of(const char *name, char path[128])
{
    snprintf(path, 128, "%s/%s/model.safetensors", rig.dir, name);
}

/* How often the log has this. */
static int in_log(const char *words)
{
    char *log = seqd_log_text(&rig.s);
    int n = 0;
    for (const char *at = log; at && (at = strstr(at, words)); at++)
        n++;
    mem_free(log);
    return n;
}

static void wait_for_log(const char *words)
{
    double end = now_s() + WAIT_S;
    while (!in_log(words) && now_s() < end)
        sleep_ms(20);
    assert_int_equal(in_log(words), 1);
}

/* The last weights get other bits, and the file its old times. */
static void overwrite(const char *path)
{
    struct stat st;
    unsigned char bytes[64];
    int fd = open(path, O_RDWR | O_CLOEXEC);
    assert_true(fd >= 0);
    assert_int_equal(fstat(fd, &st), 0);
    off_t at = st.st_size - (off_t)sizeof bytes;
    assert_int_equal(pread(fd, bytes, sizeof bytes, at), sizeof bytes);
    for (size_t i = 0; i < sizeof bytes; i++)
        bytes[i] ^= 1;
    assert_int_equal(pwrite(fd, bytes, sizeof bytes, at), sizeof bytes);
    const struct timespec times[2] = {st.st_atim, st.st_mtim};
    assert_int_equal(futimens(fd, times), 0);
    close(fd);
}

static void replace(const char *path)
{
    char other[160];
    snprintf(other, sizeof other, "%s.new", path);
    FILE *f = fopen(other, "we");
    assert_non_null(f);
    fputs("another file", f);
    fclose(f);
    assert_int_equal(rename(other, path), 0);
}

static void wait_until_not_ready(void)
{
    double end = now_s() + WAIT_S;
    struct answer a;
    long got = 200;
    while (got == 200 && now_s() < end) {
        http_get(rig.s.port, "/readyz", &a);
        got = a.status;
        answer_free(&a);
        sleep_ms(20);
    }
    assert_int_equal(got, 500);
}

static void test_files_that_change_while_they_are_served(void **state)
{
    char words[128], labels[128], other[128];
    struct answer before, after;
    struct stat st;
    weights_of("words", words);
    weights_of("labels", labels);
    weights_of("other", other);
    http_answered(rig.s.port, "/v1/models", NULL, NULL); /* has the digests */
    http_answered(rig.s.port, "/sentiment", ASK_LABELS, &before);

    /* The bytes are what they were, or another file has the name. */
    assert_int_equal(utimensat(AT_FDCWD, words, NULL, 0), 0);
    replace(labels);
    wait_for_log("file_replaced");
    assert_int_equal(in_log("file_changed"), 0);
    http_answered(rig.s.port, "/readyz", NULL, NULL);
    http_answered(rig.s.port, "/predict", ASK_WORDS, NULL);
    http_answered(rig.s.port, "/sentiment", ASK_LABELS, &after);
    assert_string_equal(http_payload(&before), http_payload(&after));
    answer_free(&before);
    answer_free(&after);

    overwrite(other);
    wait_until_not_ready();
    wait_for_log("file_changed"); /* a look later: only this one */
    http_refused(rig.s.port, "/predict", ASK_OTHER, 500, "internal_error", "");
    http_answered(rig.s.port, "/predict", ASK_WORDS, NULL);
    wait_for_log("file_changed file=\"other/model.safetensors\"");

    assert_int_equal(stat(words, &st), 0);
    assert_int_equal(truncate(words, st.st_size - 1), 0);
    wait_for_log("file_changed file=\"words/model.safetensors\"");
    http_refused(rig.s.port, "/predict", ASK_WORDS, 500, "internal_error", "");
    /* Another look later nothing is said twice. */
    assert_int_equal(in_log("file_changed"), 2);
    assert_int_equal(in_log("file_replaced"), 1);
    http_answered(rig.s.port, "/livez", NULL, NULL);
}

/* The rig's models, which are made for it, and one more of these. */
static int up(void **state)
{
    const struct http_model m = {.hidden = 16};
    char more[128];
    if (http_rig_models(&rig))
        return -1;
    snprintf(dir, sizeof dir, "%s/other", rig.dir);
    snprintf(more, sizeof more, "--model other=%s", dir);
    return http_model_make(dir, &m) || http_rig_spawn(&rig, &rig.s, more) ||
                   seqd_wait_ready(&rig.s)
               ? -1
               : 0;
}

static int down(void **state)
{
    http_model_remove(dir);
    return http_rig_down(&rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_files_that_change_while_they_are_served),
    };
    return cmocka_run_group_tests(tests, up, down);
}
