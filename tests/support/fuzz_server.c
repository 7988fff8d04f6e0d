/* fuzz_server: whole connections in process (fuzz_targets.h): a loop without a
 * thread is turned here, a socket pair is the network, small checkpoints of
 * tests/golden answer. What comes back is read as strictly as what went in.
 *
 * A 500 is a fault: nothing that a client sends may lead to one.
 *
 * SPDX-License-Identifier: MIT */
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "engine/base/clock.h"
#include "engine/base/json.h"
#include "engine/base/log.h"
#include "engine/base/rng.h"
#include "engine/base/utf8.h"
#include "models/registry.h"
#include "server/http/http_impl.h"
#include "server/http/worker.h"
#include "tests/support/fuzz_check.h"
#include "tests/support/fuzz_targets.h"

#define SLOWEST_US 20000000 /* of one conversation, on a busy machine */
#define ROUND_US 1000
#define MAX_SAID 4096 /* of the statuses of one conversation */

static struct {
    struct config plain, keyed; /* keyed borrows all but its lists */
    struct server sv;
    struct http http;
    struct loop loop;
    int up;
} rig;

static void flush_events(void *ctx)
{
    http_flush(ctx);
}

static void go_down(void)
{
    worker_close(rig.sv.worker);
    worker_close(rig.sv.waiter);
    rig.sv.worker = rig.sv.waiter = NULL;
    loop_end(&rig.loop);
    engine_close(rig.sv.engine);
    loop_close(&rig.loop);
    string_list_fini(&rig.keyed.keys);
    string_list_fini(&rig.keyed.cors_origins);
    config_fini(&rig.plain);
}

static void read_configs(void)
{
    static char *argv[] = {
        "seqd",       "--max-batch",    "8",
        "--max-body", "16384",          "--max-output-tokens",
        "8",          "--http-threads", "1"};
    struct err e = ERR_INIT;
    must(config_load(&rig.plain, 9, argv, &e) == 0);
    rig.keyed = rig.plain;
    rig.keyed.keys = rig.keyed.cors_origins = (struct string_list){0};
    must(string_list_add(&rig.keyed.keys, "one", 3, &e) == 0);
    must(string_list_add(&rig.keyed.cors_origins, "https://a", 9, &e) == 0);
}

static void go_up(void)
{
    static const struct model_place models[] = {
        {"lm", "tests/golden/rnn/lstm"},
        {"class", "tests/golden/rnn/class-lstm-last"},
        {"words", "tests/golden/qwen3/qwen3-served/hf"},
        {"embed", "tests/golden/bert/bert-embed-mean"},
        {"fill", "tests/golden/bert/bert-fill"}};
    struct engine_options o = {.n_threads = 1,
                               .runner_spin_us = -1,
                               .state_bytes = (size_t)8 << 20,
                               .flush = flush_events,
                               .ctx = &rig.http};
    struct err e = ERR_INIT;
    rig.up = 1;
    log_configure(LOG_ERROR, 0);
    read_configs();
    rig.sv.cfg = &rig.plain;
    rig.sv.http = &rig.http;
    rig.http.sv = &rig.sv;
    rig.http.listen_fd = -1;
    rig.http.loop = &rig.loop;
    rig.http.n_loops = 1;
    must(loop_open(&rig.http, &rig.loop, &e) == 0);
    rig.loop.listening = 1; /* nobody knocks */
    access_init(&rig.loop.access);
    must(worker_open(&rig.sv.worker, &e) == 0);
    must(worker_open(&rig.sv.waiter, &e) == 0);
    must(engine_open(&o, registry_archs, &rig.sv.engine, &e) == 0);
    must(engine_load_all(rig.sv.engine, models, 5, NULL, &e) == 0);
    atomic_store(&rig.sv.phase, PHASE_READY);
    must(atexit(go_down) == 0);
}

/* --- a conversation --- */

/* What has come back; 1 at its end. */
static int listen_to(int fd, struct buf *out)
{
    char block[16384];
    for (;;) {
        ssize_t n = recv(fd, block, sizeof block, 0);
        if (n <= 0)
            return n == 0;
        must(buf_add(out, block, (size_t)n) == 0);
    }
}

/* `in` [n] in pieces of lengths that follow from `seed` (0: at once), then the
 * client's side is shut, and it listens until the other is, too. */
static void talk(const char *in, size_t n, uint64_t seed, struct buf *out)
{
    int fd[2];
    int64_t begin = clock_now_us();
    must(!socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0,
                     fd));
    must(conn_open(&rig.loop, fd[0], 0) != NULL);
    for (size_t at = 0; at < n;) {
        seed = seed ? rng_hash(seed, 1) | 1 : 0;
        size_t k = seed ? (size_t)(seed >> 8) % (seed & 4 ? 3 : 40) + 1 : n;
        k = k < n - at ? k : n - at;
        ssize_t sent = send(fd[1], in + at, k, MSG_NOSIGNAL);
        if (sent < 0)
            break; /* it does not listen any more */
        at += (size_t)sent;
        loop_round(&rig.loop, clock_now_us());
    }
    listen_to(fd[1], out);
    shutdown(fd[1], SHUT_WR);
    while (rig.loop.idle.n + rig.loop.busy.n > 0) {
        loop_round(&rig.loop, clock_now_us() + ROUND_US);
        listen_to(fd[1], out);
        must(clock_now_us() - begin < SLOWEST_US);
    }
    listen_to(fd[1], out);
    close(fd[1]);
    must(atomic_load(&rig.loop.n_live) == 0);
}

/* --- what came back --- */

struct answer {
    int status, minor;
    size_t length; /* SIZE_MAX: it is not said */
    int chunked, is_json;
    struct buf body;
};

static const char *value_of(const char *line, const char *end, const char *name)
{
    size_t n = strlen(name);
    return (size_t)(end - line) > n + 2 && memcmp(line, name, n) == 0 &&
                   line[n] == ':' && line[n + 1] == ' '
               ? line + n + 2
               : NULL;
}

/* The head at p, up to `end`; where its body begins. */
static const char *read_answer_head(const char *p, const char *end,
                                    struct answer *a)
{
    int first = 1, has_id = 0;
    a->length = SIZE_MAX;
    for (;; first = 0) {
        const char *lf = memchr(p, '\n', (size_t)(end - p)), *v;
        must(lf && lf > p && lf[-1] == '\r');
        for (const char *c = p; c < lf - 1; c++)
            must(*c >= 0x20 && *c < 0x7f);
        if (first) {
            must(lf - p > 13 && !memcmp(p, "HTTP/1.1 ", 9) && p[12] == ' ');
            a->status = (int)strtol(p + 9, NULL, 10);
            must(a->status >= 100 && a->status < 600);
        } else if (lf - p == 1) {
            must(has_id || a->status == 100);
            return lf + 1;
        } else if ((v = value_of(p, lf, "Content-Length"))) {
            must(a->length == SIZE_MAX && !a->chunked);
            a->length = strtoull(v, NULL, 10);
        } else if ((v = value_of(p, lf, "Content-Type"))) {
            a->is_json = !memcmp(v, "application/json", 16);
        } else {
            a->chunked |= value_of(p, lf, "Transfer-Encoding") != NULL;
            has_id |= value_of(p, lf, "X-Request-Id") != NULL;
        }
        p = lf + 1;
    }
}

static const char *read_chunks(const char *p, const char *end, struct answer *a)
{
    struct chunks c = {0};
    const char *wrong;
    size_t part;
    int done = 0;
    while (!done) {
        must(p < end);
        long got = chunks_read(&c, p, (size_t)(end - p), &part, &done, &wrong);
        must(got > 0 && buf_add(&a->body, p + got - part, part) == 0);
        p += got;
    }
    return p;
}

/* The next answer at p; what is behind it. A body may only be missing where a
 * HEAD was asked for. */
static const char *read_answer(const char *p, const char *end, int may_lack,
                               struct answer *a)
{
    buf_clear(&a->body);
    a->chunked = a->is_json = 0;
    p = read_answer_head(p, end, a);
    if (a->status == 100 || a->status == 204)
        return p;
    if (a->chunked)
        return read_chunks(p, end, a);
    if (may_lack && (p == end || !strncmp(p, "HTTP/1.1 ", 9))) {
        a->is_json = 0;
        return p;
    }
    size_t n = a->length != SIZE_MAX ? a->length : (size_t)(end - p);
    must(n <= (size_t)(end - p) && buf_add(&a->body, p, n) == 0);
    return p + n;
}

static void say_status(const struct answer *a, struct buf *said)
{
    struct json *j = NULL;
    if (a->status == 100)
        return;
    must(a->status != 500);
    fuzz_taken += a->status == 200;
    if (a->is_json) {
        must(json_parse_nul(a->body.p, a->body.len, NULL, &j, NULL) == 0);
        must((json_get(j, "error") != NULL) == (a->status >= 400));
    }
    const char *code = json_string(json_get(json_get(j, "error"), "code"));
    must(buf_addf(said, "%d %s\n", a->status, code ? code : "") == 0);
    json_free(j);
}

/* The statuses of all answers. */
static void read_answers(const struct buf *out, int may_lack, struct buf *said)
{
    struct answer a = {.status = 0};
    const char *p = out->p, *end = p ? p + out->len : p;
    buf_init(&a.body, FUZZ_MAX_OUT);
    while (p < end) {
        p = read_answer(p, end, may_lack, &a);
        say_status(&a, said);
    }
    buf_fini(&a.body);
}

/* --- the targets --- */

static void converse(const char *in, size_t n, uint64_t seed, struct buf *said)
{
    struct buf out;
    int may_lack = n > 5 && memmem(in, n, "HEAD ", 5) != NULL;
    buf_init(&out, FUZZ_MAX_OUT);
    buf_init(said, MAX_SAID);
    buf_add_str(said, "");
    talk(in, n, seed, &out);
    read_answers(&out, may_lack, said);
    buf_fini(&out);
}

void fuzz_conn(const uint8_t *data, size_t n)
{
    struct buf whole, parts;
    if (n == 0)
        return;
    if (!rig.up)
        go_up();
    rig.sv.cfg = data[0] & 1 ? &rig.keyed : &rig.plain;
    const char *in = (const char *)data + 1;
    converse(in, n - 1, 0, &whole);
    converse(in, n - 1, 1 + data[0] / 2u, &parts);
    /* a deadline that the client sets is a matter of luck */
    if (!strstr(whole.p, "504 ") && !strstr(parts.p, "504 "))
        must(strcmp(whole.p, parts.p) == 0);
    buf_fini(&whole);
    buf_fini(&parts);
}

static const char *const routes[] = {"/predict",    "/sentiment",
                                     "/generate",   "/tokenize",
                                     "/detokenize", "/v1/embeddings"};
enum { PREDICT, SENTIMENT, GENERATE, TOKENIZE, DETOKENIZE, EMBEDDINGS };

/* One request, one answer. */
static void ask(int route, const char *body, size_t n, struct answer *a)
{
    struct buf in, out;
    buf_init(&in, FUZZ_MAX_OUT);
    buf_init(&out, FUZZ_MAX_OUT);
    buf_addf(&in,
             "POST %s HTTP/1.1\r\nHost: localhost\r\nContent-Type: "
             "application/json\r\nContent-Length: %zu\r\n\r\n",
             routes[route], n);
    buf_add(&in, body, n);
    talk(in.p, in.len, 0, &out);
    must(out.len > 0);
    must(read_answer(out.p, out.p + out.len, 0, a) == out.p + out.len);
    buf_fini(&in);
    buf_fini(&out);
}

/* Places of tokens: inside the text of `points` code points. */
static void check_tokens(const struct json *item, int64_t points)
{
    int64_t start, end;
    const struct json *k = json_child(json_get(item, "tokens"));
    for (; k; k = json_next(k)) {
        must(json_int(json_get(k, "start"), &start) == 0);
        must(json_int(json_get(k, "end"), &end) == 0);
        must(start >= 0 && start <= end && end <= points);
    }
}

static void check_distribution(const struct json *item, const char *list,
                               const char *number)
{
    double sum = 0, last = 2;
    const struct json *v = json_child(json_get(item, list));
    for (; v; v = json_next(v)) {
        double p = json_number(json_get(v, number));
        must(p >= 0 && p <= 1.0001 && p <= last + 1e-6);
        last = p;
        sum += p;
    }
    must(sum <= 1.001);
}

static void check_item(int route, const struct json *item,
                       const struct json *in)
{
    const char *s = json_string(in);
    if (route == PREDICT)
        check_distribution(item, "predictions", "prob");
    if (route == TOKENIZE && s && !memchr(s, 0xc0, strlen(s)))
        check_tokens(item, (int64_t)utf8_count(s, strlen(s)));
    if (route == GENERATE)
        must(json_string(json_get(item, "text")) != NULL);
    if (route == EMBEDDINGS)
        must(json_get(item, "embedding") != NULL);
    if (route == SENTIMENT)
        must(json_size(json_get(item, "scores")) > 0);
}

/* As many items as were asked for, each as its route has them. */
static void check_answer(int route, const char *body, size_t n,
                         const struct answer *a)
{
    struct json *j = NULL, *q = NULL;
    must(a->is_json && a->status != 500);
    must(json_parse_nul(a->body.p, a->body.len, NULL, &j, NULL) == 0);
    must((json_get(j, "error") != NULL) == (a->status >= 400));
    must(a->status == 200 || a->status >= 400);
    fuzz_taken += a->status == 200;
    if (a->status == 200 && json_parse_nul(body, n, NULL, &q, NULL) == 0) {
        const struct json *in = json_get(q, "input");
        const struct json *item = json_child(json_get(j, "data"));
        int single = json_type(in) == JSON_STRING ||
                     json_type(json_child(in)) == JSON_NUMBER;
        if (in)
            must(json_size(json_get(j, "data")) ==
                 (single ? 1 : json_size(in)));
        in = in && !single ? json_child(in) : in;
        for (; item && in; item = json_next(item)) {
            check_item(route, item, in);
            in = json_next(in);
        }
    }
    json_free(j);
    json_free(q);
}

/* What an answer says apart from its id and the time. */
static const char *tail_of(const struct answer *a, size_t *n)
{
    static const char data[] = "\"data\":", id[] = ",\"request_id\":";
    const char *p = memmem(a->body.p, a->body.len, data, sizeof data - 1);
    const char *q = memmem(a->body.p, a->body.len, id, sizeof id - 1);
    p = p ? p : a->body.p;
    *n = (size_t)((q && q > p ? q : a->body.p + a->body.len) - p);
    return p;
}

/* Were both texts drawn from a seed that the request names? One of our own is
 * another each time. */
static int same_seed(const struct answer *a, const struct answer *b)
{
    static const char name[] = "\"seed\":";
    size_t k = sizeof name - 1;
    const char *p = a->is_json ? memmem(a->body.p, a->body.len, name, k) : NULL;
    const char *q = b->is_json ? memmem(b->body.p, b->body.len, name, k) : NULL;
    return p && q && strtoull(p + k, NULL, 10) == strtoull(q + k, NULL, 10);
}

void fuzz_api(const uint8_t *data, size_t n)
{
    struct answer a = {.status = 0}, b = {.status = 0};
    if (n == 0)
        return;
    if (!rig.up)
        go_up();
    rig.sv.cfg = &rig.plain;
    int route = data[0] % (int)(sizeof routes / sizeof *routes);
    const char *body = (const char *)data + 1;
    buf_init(&a.body, FUZZ_MAX_OUT);
    buf_init(&b.body, FUZZ_MAX_OUT);
    ask(route, body, n - 1, &a);
    if (a.is_json) /* not a stream */
        check_answer(route, body, n - 1, &a);
    ask(route, body, n - 1, &b);
    size_t n_a, n_b;
    const char *p = tail_of(&a, &n_a), *q = tail_of(&b, &n_b);
    int same = a.status == b.status && n_a == n_b && !memcmp(p, q, n_a);
    int drawn = route == GENERATE && a.status == 200 && !same_seed(&a, &b);
    must(same || drawn || a.status == 504 || b.status == 504);
    buf_fini(&a.body);
    buf_fini(&b.body);
}
