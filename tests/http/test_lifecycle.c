/* From start to end: options and their three sources, the port file, loading,
 * draining, the subcommands.
 *
 * SPDX-License-Identifier: MIT */
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <sys/stat.h>

#include "engine/base/mem.h"
#include "tests/support/http_rig.h"

/* Reading so many numbers so many times takes a second. */
#define SLOW_NUMBERS 1500000
#define SLOW_MODELS 6

static struct http_rig rig; /* models only; each test has its own server */

/* What is to take long takes this much longer with a sanitizer, about. */
static int slowdown(void)
{
    const char *flavour = getenv("FLAVOUR");
    return !flavour                   ? 1
           : !strcmp(flavour, "tsan") ? 10
           : !strcmp(flavour, "asan") ? 3
                                      : 1;
}

static int up(void **state)
{
    return http_rig_models(&rig);
}

static int down(void **state)
{
    http_rig_remove(&rig);
    return 0;
}

static char *temp_file(const char *name, const char *text)
{
    static char path[96];
    snprintf(path, sizeof path, "%s/%s", rig.dir, name);
    FILE *f = fopen(path, "we");
    assert_non_null(f);
    fputs(text, f);
    fclose(f);
    return path;
}

/* A request that runs for seconds, on a socket of its own: a million tokens of
 * one text as a stream, else of eight texts (one alone can end within the drain
 * on a fast machine). */
static int long_request(int port, int stream)
{
    char body[256];
    snprintf(body, sizeof body,
             "{\"input\":%s,\"max_tokens\":1048576,\"stream\":%s}",
             stream ? "\"a\""
                    : "[\"a\",\"a\",\"a\",\"a\",\"a\",\"a\",\"a\",\"a\"]",
             stream ? "true" : "false");
    return raw_post(port, "/generate", body);
}

/* ----------------------------------------------------------------- options */

static void test_help_lists_every_option(void **state)
{
    static const char *const flags[] = {
        "--host",         "--port",         "--port-file", "--model",
        "--data-dir",     "--threads",      "--kernels",   "--spin-us",
        "--max-body",     "--max-batch",    "--max-queue", "--max-item-tokens",
        "--max-rows",     "--fold-mb",      "--state-mb",  "--http-threads",
        "--api-key-file", "SEQD_API_KEY",   "--no-auth",   "--cors-origin",
        "--timeout-ms",   "--drain-ms",     "--log-level", "--log-format",
        "--config",       "--check-config", "healthcheck", "--body-timeout-ms"};
    static char out[16384];
    assert_int_equal(seqd_run(out, NULL, sizeof out, "--help"), 0);
    for (size_t i = 0; i < COUNT(flags); i++)
        assert_non_null(strstr(out, flags[i]));
}

static void test_version_is_printed(void **state)
{
    char out[256];
    assert_int_equal(seqd_run(out, NULL, sizeof out, "help"), 0);
    assert_non_null(strstr(out, "usage: seqd [options]"));
    assert_int_equal(seqd_run(out, NULL, sizeof out, "--version"), 0);
    assert_int_equal(strncmp(out, "seqd ", 5), 0);
}

static void test_flags_win_over_variables_over_the_file(void **state)
{
    char *file = temp_file("config.json", "{\"max_batch\":11,\"max_body\":2222,"
                                          "\"max_queue\":33,\"no_auth\":true}");
    char more[128];
    snprintf(more, sizeof more, "--config %s --max-batch 44", file);
    struct seqd s;
    struct answer a;
    setenv("SEQD_MAX_BODY", "5555", 1);
    setenv("SEQD_MAX_BATCH", "66", 1);
    int rc = http_rig_spawn(&rig, &s, more);
    unsetenv("SEQD_MAX_BODY");
    unsetenv("SEQD_MAX_BATCH");
    assert_int_equal(rc, 0);
    http_get(s.port, "/info", &a);
    assert_true(answer_number(&a, "options.max_batch") == 44);
    assert_true(answer_number(&a, "options.max_body") == 5555);
    assert_true(answer_number(&a, "options.max_queue") == 33);
    assert_true(json_bool(answer_at(&a, "options.no_auth")));
    answer_free(&a);
    assert_int_equal(seqd_stop(&s), 0);
    unlink(file);
}

static void test_models_come_from_file_and_variable_too(void **state)
{
    char text[256];
    snprintf(text, sizeof text, "{\"model\":[\"%s\",\"%s\"]}", rig.labels,
             rig.words);
    char *file = temp_file("config.json", text);
    struct seqd s;
    struct answer a;
    assert_int_equal(seqd_start(&s, "--config %s", file), 0);
    http_get(s.port, "/v1/models", &a);
    assert_string_equal(answer_text(&a, "data.0.id"), "labels");
    assert_string_equal(answer_text(&a, "data.1.id"), "words");
    answer_free(&a);
    assert_int_equal(seqd_stop(&s), 0);
    unlink(file);

    snprintf(text, sizeof text, "%s,%s", rig.words, rig.labels);
    setenv("SEQD_MODEL", text, 1);
    int rc = seqd_start(&s, " ");
    unsetenv("SEQD_MODEL");
    assert_int_equal(rc, 0);
    http_get(s.port, "/v1/models", &a);
    assert_string_equal(answer_text(&a, "data.0.id"), "words");
    assert_int_equal(json_size(answer_at(&a, "data")), 2);
    answer_free(&a);
    assert_int_equal(seqd_stop(&s), 0);
}

static void test_a_data_directory_names_the_default_models(void **state)
{
    char *file = temp_file("seqd.json",
                           "{\"models\":[{\"name\":\"w\",\"dir\":\"words\"},"
                           "{\"name\":\"l\",\"dir\":\"labels\"}]}");
    struct seqd s;
    struct answer a;
    assert_int_equal(seqd_start(&s, "--data-dir %s", rig.dir), 0);
    http_get(s.port, "/v1/models", &a);
    assert_string_equal(answer_text(&a, "data.0.id"), "w");
    assert_string_equal(answer_text(&a, "data.1.id"), "l");
    answer_free(&a);
    assert_int_equal(seqd_stop(&s), 0);
    unlink(file);
}

static void test_wrong_options_are_named(void **state)
{
    static const char *const rows[][2] = {
        {"--port 70000", "--port"},
        {"--port 8o", "--port"},
        {"--port", "--port"},
        {"--prt 80", "--prt"},
        {"--kernels sse9", "--kernels"},
        {"--log-level in", "--log-level"},
        {"--model =dir", "NAME=PATH"},
        {"--model dir=", "NAME=PATH"},
        {"--model ..", "NAME=PATH"},
        {"--config /nonexistent.json", "configuration file"},
        {"--api-key-file /nonexistent", "--api-key-file"},
        {"--max-body 1e-6", "--max-body"},
        {"stray", "stray"}};
    char err[2048];
    for (size_t i = 0; i < COUNT(rows); i++) {
        assert_int_equal(seqd_run(NULL, err, sizeof err, "%s", rows[i][0]), 2);
        assert_int_equal(strncmp(err, "seqd: ", 6), 0);
        if (!strstr(err, rows[i][1]))
            fail_msg("%s: %s", rows[i][0], err);
    }
}

static void test_wrong_keys_of_the_file_are_named(void **state)
{
    static const char *const rows[][2] = {
        {"{\"max_bdy\":1}", "max_bdy"},       {"{\"port\":\"x\"}", "port"},
        {"{\"port\":1.5}", "port"},           {"{\"port\":[1]}", "port"},
        {"{\"config\":\"x\"}", "config"},     {"[1]", "not an object"},
        {"{\"port\":1", "configuration file"}};
    char err[2048];
    for (size_t i = 0; i < COUNT(rows); i++) {
        char *file = temp_file("bad.json", rows[i][0]);
        assert_int_equal(seqd_run(NULL, err, sizeof err, "--config %s", file),
                         2);
        if (!strstr(err, rows[i][1]))
            fail_msg("%s: %s", rows[i][0], err);
        unlink(file);
    }
}

static void test_wrong_options_of_commands_are_named(void **state)
{
    static const struct {
        const char *words;
        int status;
        const char *say;
    } rows[] = {
        {"eval --model x", 2, "seqd eval: --data is missing"},
        {"eval --model x --source y", 2, "--source and --target go together"},
        {"eval --windw=5", 2, "did you mean --window?"},
        {"eval --path=slow", 2, "--path is 'slow', expected fast|exact"},
        {"eval --model=/nonexistent --data=x", 1, "seqd eval: "},
        {"tokenize --json", 2, "seqd tokenize: --model is missing"},
        {"healthcheck --prt 1", 2, "did you mean --port?"},
        {"healthcheck --url x", 1, "must begin with http://"},
        {"--url http://x", 2, "--url is an option of healthcheck"},
        {"eval --help", 0, ""},
        {"tokenize -h", 0, ""},
    };
    char err[2048];
    for (size_t i = 0; i < COUNT(rows); i++) {
        assert_int_equal(seqd_run(NULL, err, sizeof err, "%s", rows[i].words),
                         rows[i].status);
        if (!strstr(err, rows[i].say))
            fail_msg("%s: %s", rows[i].words, err);
    }
}

static void test_check_config_loads_the_models(void **state)
{
    char out[1024], err[4096];
    assert_int_equal(seqd_run(out, err, sizeof out,
                              "--check-config --log-level warn --model %s",
                              rig.words),
                     0);
    assert_non_null(strstr(out, "good"));
    assert_string_equal(err, ""); /* the log's options count here, too */
    assert_int_equal(
        seqd_run(out, err, sizeof out, "--check-config --model x=/nonexistent"),
        1);
    assert_non_null(strstr(err, "seqd: "));
}

static void test_a_model_that_cannot_be_read_ends_the_start(void **state)
{
    char err[4096];
    assert_int_equal(seqd_run(NULL, err, sizeof err,
                              "--port 0 --model %s --model x=/nonexistent",
                              rig.words),
                     1);
    assert_non_null(strstr(err, "seqd: "));
}

static void test_a_port_in_use_is_said(void **state)
{
    struct seqd s;
    char port[16], err[1024];
    assert_int_equal(http_rig_spawn(&rig, &s, NULL), 0);
    snprintf(port, sizeof port, "%d", s.port);
    assert_int_equal(seqd_run(NULL, err, sizeof err, "--port %s --model %s",
                              port, rig.words),
                     1);
    assert_non_null(strstr(err, port));
    assert_int_equal(seqd_stop(&s), 0);
}

/* -------------------------------------------------------------- the phases */

/* A tokenizer.json that takes long to read, and has what it had: a member that
 * nothing looks at holds many numbers. */
static void make_slow(const char *dir)
{
    static char json[65536];
    char path[128];
    int numbers = SLOW_NUMBERS / slowdown();
    snprintf(path, sizeof path, "%s/tokenizer.json", dir);
    FILE *f = fopen(path, "r+e");
    assert_non_null(f);
    size_t n = fread(json, 1, sizeof json, f);
    while (n > 0 && json[n - 1] != '}')
        n--;
    assert_true(n > 1);
    assert_int_equal(fseek(f, (long)n - 1, SEEK_SET), 0);
    fputs(",\"padding\":[0", f);
    for (int i = 0; i < numbers; i++)
        fputs(",0", f);
    fputs("]}", f);
    assert_int_equal(fclose(f), 0);
}

/* A server that loads for a while; dir is for http_model_remove. */
static void start_slowly(struct seqd *s, char dir[96])
{
    char models[1024] = "";
    snprintf(dir, 96, "%s/slow", rig.dir);
    const struct http_model m = {.hidden = 16};
    assert_int_equal(http_model_make(dir, &m), 0);
    make_slow(dir);
    for (int i = 0; i < SLOW_MODELS; i++) {
        size_t n = strlen(models);
        snprintf(models + n, sizeof models - n, " --model slow%d=%s", i, dir);
    }
    assert_int_equal(seqd_spawn(s, "%s", models), 0);
}

/* What is not loaded when the signal comes is not loaded any more, and nobody
 * says that the server is ready. */
static void test_a_signal_while_loading_says_what_is_loaded(void **state)
{
    char dir[96];
    struct seqd s;
    start_slowly(&s, dir);
    http_answered(s.port, "/livez", NULL, NULL);
    kill(s.pid, SIGTERM);
    char *text = NULL;
    for (double end = now_s() + 20; now_s() < end; sleep_ms(2)) {
        mem_free(text);
        text = seqd_log_text(&s);
        if (strstr(text, "server drained"))
            break;
    }
    assert_null(strstr(text, "server ready"));
    const char *stopped = strstr(text, "server loading_stopped models=");
    assert_non_null(stopped);
    int n = -1, of = -1;
    assert_int_equal(sscanf(strchr(stopped, '='), "=%d of=%d", &n, &of), 2);
    assert_true(n >= 0 && n < of && of == SLOW_MODELS);
    mem_free(text);
    assert_int_equal(seqd_join(&s, 20000), 0);
    http_model_remove(dir);
}

static void test_loading_is_503_with_live_probes(void **state)
{
    char dir[96];
    struct seqd s;
    struct answer a;
    start_slowly(&s, dir);
    http_answered(s.port, "/livez", NULL, NULL);
    http_get(s.port, "/readyz", &a);
    assert_true(http_check_error(&a, 503, "loading", ""));
    assert_string_equal(answer_header(&a, "Retry-After"), "1");
    answer_free(&a);
    http_refused(s.port, "/predict", "{\"input\":\"the\"}", 503, "loading", "");
    http_get(s.port, "/info", &a);
    assert_string_equal(answer_text(&a, "status"), "loading");
    answer_free(&a);

    assert_int_equal(seqd_wait_ready(&s), 0);
    http_answered(s.port, "/predict", "{\"input\":\"the\"}", NULL);
    assert_int_equal(seqd_stop(&s), 0);
    http_model_remove(dir);
}

/* --model PATH is served by its own name, and named where it is not there. */
static void test_a_model_has_the_name_of_its_path(void **state)
{
    struct seqd s;
    struct answer a;
    char err[1024], link[128], name[160];
    const char *dir = strchr(rig.words, '/');
    snprintf(link, sizeof link, "%s/plain.gguf", rig.dir);
    snprintf(name, sizeof name, "%s", dir);
    assert_int_equal(symlink(name, link), 0);
    assert_int_equal(seqd_start(&s, "--model %s/", link), 0);
    http_get(s.port, "/v1/models", &a);
    assert_string_equal(answer_text(&a, "data.0.id"), "plain");
    answer_free(&a);
    assert_int_equal(seqd_stop(&s), 0);
    unlink(link);
    for (const char *form = "w="; form; form = *form ? "" : NULL) {
        assert_int_equal(seqd_run(NULL, err, sizeof err,
                                  "--port 0 --model %s/nonexistent/words",
                                  form),
                         1);
        if (!strstr(err, "seqd: /nonexistent/words/config.json: no such file"))
            fail_msg("%s", err);
    }
}

/* A pipe or a device in place of a file ends the start, by name. */
static void test_what_is_no_file_ends_the_start(void **state)
{
    char fifo[96], err[1024], dir[96], part[128];
    const struct {
        const char *words, *at, *said;
    } rows[] = {
        {"--api-key-file", fifo, "--api-key-file: is not a regular file"},
        {"--api-key-file", "/dev/zero",
         "--api-key-file: is not a regular file"},
        {"--config", "/dev/zero", "configuration file: is not a regular file"},
        {"--model", "x=/dev/zero",
         "/dev/zero: is not a regular file or a directory"},
        {"--port-file", fifo, "/fifo is not a file"},
    };
    /* The first three are options: 2. */
    snprintf(fifo, sizeof fifo, "%s/fifo", rig.dir);
    assert_int_equal(mkfifo(fifo, 0600), 0);
    int fd = open(fifo, O_RDWR | O_CLOEXEC); /* a writer that never writes */
    assert_true(fd >= 0);
    for (size_t i = 0; i < COUNT(rows); i++) {
        assert_int_equal(seqd_run(NULL, err, sizeof err,
                                  "--port 0 --model %s %s %s", rig.words,
                                  rows[i].words, rows[i].at),
                         i < 3 ? 2 : 1);
        if (!strstr(err, rows[i].said))
            fail_msg("%s", err);
    }
    struct stat st; /* the last one is still what it was */
    assert_int_equal(stat(fifo, &st), 0);
    assert_true(S_ISFIFO(st.st_mode));
    close(fd);
    unlink(fifo);

    static const char *const files[] = {"tokenizer.json", "config.json",
                                        "model.safetensors"};
    const struct http_model m = {.hidden = 16};
    snprintf(dir, sizeof dir, "%s/pipes", rig.dir);
    for (size_t i = 0; i < COUNT(files); i++) {
        assert_int_equal(http_model_make(dir, &m), 0);
        snprintf(part, sizeof part, "%s/%s", dir, files[i]);
        assert_int_equal(unlink(part), 0);
        assert_int_equal(mkfifo(part, 0600), 0);
        fd = open(part, O_RDWR | O_CLOEXEC);
        assert_int_equal(
            seqd_run(NULL, err, sizeof err, "--port 0 --model x=%s", dir), 1);
        if (!strstr(err, files[i]) || !strstr(err, "is not a regular file"))
            fail_msg("%s", err);
        close(fd);
        http_model_remove(dir);
    }
}

static void wait_for_status(int port, const char *path, long status)
{
    double end = now_s() + 10;
    struct answer a;
    long got = -1;
    while (got != status && now_s() < end) {
        http_get(port, path, &a);
        got = a.status;
        answer_free(&a);
        sleep_ms(2);
    }
    assert_int_equal(got, status);
}

static void test_a_drain_lets_running_work_end(void **state)
{
    /* The generation takes some 250 ms (a deadline bounds it). */
    static const char more[] = "--max-output-tokens 1048576";
    struct seqd s;
    int tokens = 100000 / slowdown();
    assert_int_equal(http_rig_spawn(&rig, &s, more), 0);
    int fd = http_begin_long(s.port, tokens);
    kill(s.pid, SIGTERM);
    wait_for_status(s.port, "/readyz", 503);
    struct answer a;
    http_get(s.port, "/readyz", &a);
    /* Once the work has ended nobody answers any more. */
    if (a.status)
        assert_true(http_check_error(&a, 503, "draining", ""));
    answer_free(&a);
    http_end_long(fd, tokens);
    assert_int_equal(seqd_join(&s, 20000), 0);
}

static void test_a_drain_refuses_new_work(void **state)
{
    static char out[65536];
    struct seqd s;
    assert_int_equal(
        http_rig_spawn(&rig, &s, "--max-output-tokens 1048576 --drain-ms 600"),
        0);
    int fd = long_request(s.port, 0), closed;
    http_wait_begun(s.port);
    kill(s.pid, SIGTERM);
    wait_for_status(s.port, "/readyz", 503);
    http_refused(s.port, "/sentiment", "{\"input\":\"good\"}", 503, "draining",
                 "");
    /* What runs at the end of the drain is cut, with an answer. */
    raw_hear(fd, out, sizeof out, NULL, 20000, &closed);
    assert_int_equal(strncmp(out, "HTTP/1.1 503", 12), 0);
    assert_non_null(strstr(out, "\"code\":\"draining\""));
    raw_close(fd);
    assert_int_equal(seqd_join(&s, 20000), 0);
}

static void test_a_drain_cuts_a_stream_with_an_error_event(void **state)
{
    static char out[1 << 24];
    struct seqd s;
    int closed;
    assert_int_equal(
        http_rig_spawn(&rig, &s, "--max-output-tokens 1048576 --drain-ms 100"),
        0);
    int fd = long_request(s.port, 1);
    raw_hear(fd, out, 65536, "data: ", 10000, NULL);
    kill(s.pid, SIGINT);
    raw_hear(fd, out, sizeof out, NULL, 20000, &closed);
    assert_true(closed);
    assert_non_null(strstr(out, "data: {\"error\":{"));
    assert_null(strstr(out, "[DONE]"));
    raw_close(fd);
    assert_int_equal(seqd_join(&s, 20000), 0);
}

static void test_a_second_signal_ends_at_once(void **state)
{
    static const char more[] = "--max-output-tokens 1048576";
    struct seqd s;
    assert_int_equal(http_rig_spawn(&rig, &s, more), 0);
    int fd = long_request(s.port, 0);
    http_wait_begun(s.port);
    kill(s.pid, SIGTERM);
    wait_for_status(s.port, "/readyz", 503);
    double start = now_s();
    kill(s.pid, SIGTERM);
    assert_int_equal(seqd_join(&s, 20000), 0);
    assert_true(now_s() - start < 8);
    raw_close(fd);
}

/* Asks until nobody answers any more. */
static void *ask_until_the_end(void *arg)
{
    static const char *const asks[][2] = {
        {"/predict", "{\"input\":\"the\"}"},
        {"/generate", "{\"input\":\"the\",\"max_tokens\":20}"},
        {"/generate", "{\"input\":\"a\",\"max_tokens\":9,\"stream\":true}"},
        {"/v1/models", NULL}};
    const int *port = arg;
    struct client *c = client_open(*port);
    long status = 1;
    for (int i = 0; status; i++) {
        const char *body = asks[i % 4][1];
        struct answer a;
        client_send(c, body ? "POST" : "GET", asks[i % 4][0], NULL, body,
                    body ? strlen(body) : 0, &a);
        status = a.status;
        answer_free(&a);
    }
    client_close(c);
    return NULL;
}

static void test_a_drain_under_load_ends_well(void **state)
{
    enum { N = 16 };
    for (int k = 0; k < 2; k++) {
        pthread_t t[N];
        struct seqd s;
        assert_int_equal(http_rig_spawn(&rig, &s, "--http-threads 2"), 0);
        for (int i = 0; i < N; i++)
            assert_int_equal(
                pthread_create(&t[i], NULL, ask_until_the_end, &s.port), 0);
        sleep_ms(100);
        kill(s.pid, SIGTERM);
        sleep_ms(20);
        if (k == 1)
            kill(s.pid, SIGTERM);
        assert_int_equal(seqd_join(&s, 40000), 0);
        for (int i = 0; i < N; i++)
            pthread_join(t[i], NULL);
    }
}

static void test_an_idle_server_ends_quickly(void **state)
{
    struct seqd s;
    assert_int_equal(http_rig_spawn(&rig, &s, NULL), 0);
    int idle = raw_open(s.port); /* a keep-alive connection holds nothing up */
    double start = now_s();
    assert_int_equal(seqd_stop(&s), 0);
    assert_true(now_s() - start < 5);
    raw_close(idle);
}

static void test_healthcheck_tells_ready_from_not(void **state)
{
    struct seqd s;
    char err[512];
    assert_int_equal(http_rig_spawn(&rig, &s, NULL), 0);
#define BY_URL "healthcheck --url http://127.0.0.1:%d/readyz"
#define BY_PORT "healthcheck --port %d"
    assert_int_equal(seqd_run(NULL, err, sizeof err, BY_URL "x", s.port), 1);
    assert_non_null(strstr(err, "404"));
    assert_int_equal(seqd_run(NULL, err, sizeof err, BY_URL, s.port), 0);
    assert_int_equal(seqd_run(NULL, err, sizeof err, BY_PORT, s.port), 0);
    assert_int_equal(seqd_stop(&s), 0);
    assert_int_equal(seqd_run(NULL, err, sizeof err, BY_PORT, s.port), 1);
}

static void test_the_log_has_a_line_per_request_without_its_text(void **state)
{
    static const char json[] = "--log-format json";
    struct seqd s;
    struct answer a;
    for (int i = 0; i < 2; i++) {
        static const char *const headers[] = {
            "X-Request-Id: my-own-id", "Content-Type: application/json", NULL};
        static const char body[] = "{\"input\":\"secretword the\"}";
        assert_int_equal(http_rig_spawn(&rig, &s, i ? json : NULL), 0);
        http_send(s.port, "POST", "/sentiment", headers, body, strlen(body),
                  &a);
        assert_int_equal(a.status, 200);
        answer_free(&a);
        kill(s.pid, SIGTERM);
        char *log = NULL;
        double end = now_s() + 10;
        do {
            mem_free(log);
            sleep_ms(5);
            log = seqd_log_text(&s);
        } while (!strstr(log, "drained") && now_s() < end);
        char *line = strstr(log, "my-own-id");
        assert_non_null(line);
        line[strcspn(line, "\n")] = '\0';
        assert_non_null(strstr(line, "/sentiment"));
        assert_non_null(strstr(line, "status"));
        assert_non_null(strstr(line, "queue_us"));
        assert_non_null(strstr(line, "run_us"));
        assert_null(strstr(log, "secretword"));
        mem_free(log);
        assert_int_equal(seqd_join(&s, 20000), 0);
    }
}

static void test_several_event_loops_serve_the_same(void **state)
{
    struct seqd s;
    assert_int_equal(http_rig_spawn(&rig, &s, "--http-threads 3"), 0);
    for (int i = 0; i < 10; i++)
        assert_true(http_healthy(s.port));
    assert_int_equal(seqd_stop(&s), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_help_lists_every_option),
        cmocka_unit_test(test_version_is_printed),
        cmocka_unit_test(test_flags_win_over_variables_over_the_file),
        cmocka_unit_test(test_models_come_from_file_and_variable_too),
        cmocka_unit_test(test_a_data_directory_names_the_default_models),
        cmocka_unit_test(test_wrong_options_are_named),
        cmocka_unit_test(test_wrong_keys_of_the_file_are_named),
        cmocka_unit_test(test_wrong_options_of_commands_are_named),
        cmocka_unit_test(test_check_config_loads_the_models),
        cmocka_unit_test(test_a_model_that_cannot_be_read_ends_the_start),
        cmocka_unit_test(test_a_port_in_use_is_said),
        cmocka_unit_test(test_loading_is_503_with_live_probes),
        cmocka_unit_test(test_a_signal_while_loading_says_what_is_loaded),
        cmocka_unit_test(test_what_is_no_file_ends_the_start),
        cmocka_unit_test(test_a_model_has_the_name_of_its_path),
        cmocka_unit_test(test_a_drain_lets_running_work_end),
        cmocka_unit_test(test_a_drain_refuses_new_work),
        cmocka_unit_test(test_a_drain_cuts_a_stream_with_an_error_event),
        cmocka_unit_test(test_a_second_signal_ends_at_once),
        cmocka_unit_test(test_a_drain_under_load_ends_well),
        cmocka_unit_test(test_an_idle_server_ends_quickly),
        cmocka_unit_test(test_healthcheck_tells_ready_from_not),
        cmocka_unit_test(test_the_log_has_a_line_per_request_without_its_text),
        cmocka_unit_test(test_several_event_loops_serve_the_same),
    };
    return cmocka_run_group_tests(tests, up, down);
}
