/* http_rig: see http_rig.h.
 *
 * SPDX-License-Identifier: MIT */
#include "tests/support/http_rig.h"

int http_rig_models(struct http_rig *r)
{
    const struct http_model words = {.hidden = 96}; /* slow enough to watch */
    const struct http_model labels = {
        .hidden = 16, .classifier = 1, .bad = "poison"};
    memset(r, 0, sizeof *r);
    if (http_models_dir(r->dir) < 0)
        return -1;
    snprintf(r->words, sizeof r->words, "words=%s/words", r->dir);
    snprintf(r->labels, sizeof r->labels, "labels=%s/labels", r->dir);
    snprintf(r->chars, sizeof r->chars, "chars=tests/golden/rnn/lstm-32");
    if (http_model_make(strchr(r->words, '/'), &words) < 0)
        return -1;
    return http_model_make(strchr(r->labels, '/'), &labels);
}

void http_rig_remove(struct http_rig *r)
{
    http_model_remove(strchr(r->words, '/'));
    http_model_remove(strchr(r->labels, '/'));
    rmdir(r->dir);
}

int http_rig_spawn(struct http_rig *r, struct seqd *s, const char *more)
{
    return seqd_start(s, "--model %s --model %s --model %s %s", r->words,
                      r->labels, r->chars, more ? more : "");
}

int http_rig_up(struct http_rig *r, const char *more)
{
    return http_rig_models(r) < 0 ? -1 : http_rig_spawn(r, &r->s, more);
}

int http_rig_down(struct http_rig *r)
{
    int rc = seqd_stop(&r->s);
    http_rig_remove(r);
    return rc;
}

static int differs(const char *what, const char *got, const char *want)
{
    if (!strcmp(got, want))
        return 0;
    fprintf(stderr, "%s is \"%s\", expected \"%s\"\n", what, got, want);
    return 1;
}

int http_check_error(const struct answer *a, int status, const char *code,
                     const char *param)
{
    int bad = a->status != status;
    const struct json *p = answer_at(a, "error.param");
    bad |= differs("code", answer_text(a, "error.code"), code);
    bad |= differs("param", answer_text(a, "error.param"), param);
    bad |= !p || (json_type(p) == JSON_NULL) != !*param;
    bad |= !*answer_text(a, "error.message") || !*answer_text(a, "error.type");
    bad |= differs("request_id", answer_text(a, "error.request_id"),
                   answer_header(a, "X-Request-Id"));
    if (bad)
        fprintf(stderr, "status %ld (expected %d): %.300s\n", a->status, status,
                a->body);
    return !bad;
}

static void ask(int port, const char *path, const char *json, struct answer *a)
{
    if (json)
        http_post(port, path, json, a);
    else
        http_get(port, path, a);
}

void http_refused(int port, const char *path, const char *json, int status,
                  const char *code, const char *param)
{
    struct answer a;
    ask(port, path, json, &a);
    if (!http_check_error(&a, status, code, param))
        fail_msg("  for %s %.200s", path, json ? json : "");
    answer_free(&a);
}

void http_refused_all(int port, int status, const char *code,
                      const struct http_refusal *rows, size_t n)
{
    for (size_t i = 0; i < n; i++)
        http_refused(port, rows[i].path, rows[i].json, status, code,
                     rows[i].param);
}

void http_answered(int port, const char *path, const char *json,
                   struct answer *a)
{
    struct answer own;
    struct answer *to = a ? a : &own;
    ask(port, path, json, to);
    if (to->status != 200)
        fail_msg("%s %.200s: %ld %.300s", path, json ? json : "", to->status,
                 to->body);
    if (!a)
        answer_free(to);
}

const char *http_payload(const struct answer *a)
{
    const char *p = a->status == 200 ? strstr(a->body, "\"data\":") : NULL;
    return p ? p : "";
}

void http_wait_metric(int port, const char *series, double value)
{
    double end = now_s() + 10;
    while (metric_value(port, series) < value && now_s() < end)
        sleep_ms(2);
    assert_true(metric_value(port, series) == value);
}

void http_wait_begun(int port)
{
    double end = now_s() + 10;
    while (metric_value(port, HTTP_MADE) <= 0 && now_s() < end)
        sleep_ms(2);
    assert_true(metric_value(port, HTTP_MADE) > 0);
}

int http_begin_long(int port, int tokens)
{
    char body[96];

    snprintf(body, sizeof body, "{\"input\":\"the\",\"max_tokens\":%d}",
             tokens);
    int fd = raw_post(port, "/generate", body);
    http_wait_begun(port);
    return fd;
}

void http_end_long(int fd, int tokens)
{
    static char out[1 << 22];
    char said[64];
    int closed;

    raw_hear(fd, out, sizeof out, NULL, 30000, &closed);
    snprintf(said, sizeof said, "\"completion_tokens\":%d,", tokens);
    assert_int_equal(strncmp(out, "HTTP/1.1 200", 12), 0);
    assert_non_null(strstr(out, said));
    raw_close(fd);
}

int http_healthy(int port)
{
    static const char *const ask[][2] = {
        {"/predict", "{\"input\":\"the old man\"}"},
        {"/sentiment", "{\"input\":\"the food was good\"}"},
        {"/generate", "{\"input\":\"the\",\"max_tokens\":2}"}};
    int ok = 1;
    for (int i = 0; i < 3; i++) {
        struct answer a;
        http_post(port, ask[i][0], ask[i][1], &a);
        if (a.status != 200)
            fprintf(stderr, "%s: %ld %.200s\n", ask[i][0], a.status, a.body);
        ok &= a.status == 200;
        answer_free(&a);
    }
    return ok;
}
