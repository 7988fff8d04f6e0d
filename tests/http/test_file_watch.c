/* The files of models that change under a running server: overwritten in place,
 * with its times set back, touched, replaced by rename. And the reading of a
 * large one, which no signal waits for.
 *
 * SPDX-License-Identifier: MIT */
#include <fcntl.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>

#include "engine/base/mem.h"
#include "tests/support/http_rig.h"

#define WAIT_S 10
#define LARGE ((off_t)3 << 28) /* half a second of SHA-256 at its fastest */
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
    wait_for_log("/other/model.safetensors\""); /* by its path */

    assert_int_equal(stat(words, &st), 0);
    assert_int_equal(truncate(words, st.st_size - 1), 0);
    wait_for_log("/words/model.safetensors\"");
    http_refused(rig.s.port, "/predict", ASK_WORDS, 500, "internal_error", "");
    /* Another look later nothing is said twice. */
    assert_int_equal(in_log("file_changed"), 2);
    assert_int_equal(in_log("file_replaced"), 1);
    http_answered(rig.s.port, "/livez", NULL, NULL);
}

/* A tensor more, of holes, which only a digest reads. */
static void make_large(const char *path)
{
    unsigned char head[8];
    char json[4096], more[4200];
    struct stat st;
    int fd = open(path, O_RDWR | O_CLOEXEC);
    assert_true(fd >= 0);
    assert_int_equal(fstat(fd, &st), 0);
    assert_int_equal(read(fd, head, sizeof head), sizeof head);
    size_t n = head[0] + 256u * head[1];
    assert_true(n < sizeof json && !head[2] && !head[3]);
    assert_int_equal(read(fd, json, n), n);
    json[n] = 0;
    size_t data = (size_t)st.st_size - sizeof head - n;
    char *rest = mem_zalloc(data);
    assert_non_null(rest);
    assert_int_equal(read(fd, rest, data), data);
    *strrchr(json, '}') = 0;
    int m = snprintf(more, sizeof more,
                     "%s,\"large\":{\"dtype\":\"U8\",\"shape\":[%lld],"
                     "\"data_offsets\":[%zu,%lld]}}",
                     json, (long long)LARGE, data, (long long)data + LARGE);
    for (; m % 8; m++)
        more[m] = ' ';
    head[0] = (unsigned char)(m % 256);
    head[1] = (unsigned char)(m / 256);
    assert_int_equal(pwrite(fd, head, sizeof head, 0), sizeof head);
    assert_int_equal(pwrite(fd, more, (size_t)m, 8), m);
    assert_int_equal(pwrite(fd, rest, data, 8 + m), data);
    assert_int_equal(ftruncate(fd, 8 + m + (off_t)data + LARGE), 0);
    close(fd);
    mem_free(rest);
}

/* Bytes that the server has read so far. */
static double bytes_read(const struct seqd *s)
{
    char path[64], line[64];
    snprintf(path, sizeof path, "/proc/%d/io", (int)s->pid);
    FILE *f = fopen(path, "re");
    double n = -1;
    if (f && fgets(line, sizeof line, f) && !strncmp(line, "rchar: ", 7))
        n = strtod(line + 7, NULL);
    if (f)
        fclose(f);
    return n;
}

static void wait_until_it_reads(const struct seqd *s, double from)
{
    double end = now_s() + WAIT_S;
    while (bytes_read(s) < from + (1 << 24) && now_s() < end)
        sleep_ms(2);
    assert_true(bytes_read(s) >= from + (1 << 24));
}

/* Seconds that a server has computed: other programs do not add to them. */
static double computed(const struct seqd *s)
{
    struct timespec t;
    clockid_t id;
    assert_int_equal(clock_getcpuclockid(s->pid, &id), 0);
    assert_int_equal(clock_gettime(id, &t), 0);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

/* And all that have ended. */
static double computed_by_the_dead(void)
{
    struct rusage u;
    assert_int_equal(getrusage(RUSAGE_CHILDREN, &u), 0);
    return (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) +
           (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec) * 1e-6;
}

/* What it computes from SIGTERM to its end. */
static double work_to_end(struct seqd *s)
{
    double before = computed_by_the_dead() + computed(s);
    assert_int_equal(seqd_stop(s), 0);
    return computed_by_the_dead() - before;
}

static void test_no_signal_waits_for_the_reading_of_a_large_file(void **state)
{
    const struct http_model m = {.hidden = 16};
    char large[96], path[128], more[200], out[4096];
    struct seqd s;
    snprintf(large, sizeof large, "%s/large", rig.dir);
    snprintf(path, sizeof path, "%s/model.safetensors", large);
    snprintf(more, sizeof more,
             "--model large=%s --ignore-tensors large --drain-ms 100", large);
    assert_int_equal(http_model_make(large, &m), 0);
    make_large(path);

    /* What one reading takes; then it is touched. */
    assert_int_equal(seqd_start(&s, "%s", more), 0);
    double start = now_s();
    http_answered(s.port, "/v1/models", NULL, NULL);
    double whole = now_s() - start, read = bytes_read(&s), work = computed(&s);
    assert_int_equal(utimensat(AT_FDCWD, path, NULL, 0), 0);
    wait_until_it_reads(&s, read);
    assert_true(work_to_end(&s) < work / 2);

    /* The first digest, which nobody asked for. */
    assert_int_equal(seqd_start(&s, "%s", more), 0);
    wait_until_it_reads(&s, 0);
    assert_true(work_to_end(&s) < work / 2);

    /* A client waits for it: it has its time, and an answer. */
    assert_int_equal(seqd_start(&s, "%s", more), 0);
    int fd = raw_open(s.port);
    raw_say(fd, "GET /v1/models HTTP/1.1\r\nHost: localhost\r\n\r\n");
    wait_until_it_reads(&s, 0);
    start = now_s();
    kill(s.pid, SIGTERM);
    raw_hear(fd, out, sizeof out, "\r\n\r\n", 20000, NULL);
    assert_true(now_s() - start >= 0.09 || !strncmp(out, "HTTP/1.1 200", 12));
    if (whole > 0.5)
        assert_int_equal(strncmp(out, "HTTP/1.1 503", 12), 0);
    assert_int_equal(seqd_join(&s, 20000), 0);
    raw_close(fd);
    http_model_remove(large);
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
        cmocka_unit_test(test_no_signal_waits_for_the_reading_of_a_large_file),
    };
    return cmocka_run_group_tests(tests, up, down);
}
