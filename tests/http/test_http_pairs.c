/* Encoder-decoders under load: 64 clients from four addresses ask six of them,
 * Transformers and recurrent nets, and two models of other tasks at once, for
 * beams, choices, attention, streams and lists, of sources of one token up to
 * the context and beyond; some leave, some have no time. Pages are so few that
 * jobs wait, give their memory up and are read again. Each answer is byte for
 * byte the lone one, and in the end nothing is held. With CROWD_ROUNDS=100 each
 * client asks so often.
 *
 * SPDX-License-Identifier: MIT */
#include <stdlib.h>

#include "engine/base/buf.h"
#include "engine/base/mem.h"
#include "engine/base/rng.h"
#include "tests/support/http_crowd.h"
#include "tests/support/http_rig.h"
#include "tests/support/model_dir.h"

#define N_CLIENTS 64
#define N_ASKS (UNIT_SANITIZED ? 40 : 80)
#define ROUNDS (UNIT_SANITIZED ? 4 : 12)
#define MOST_ASKS 80
#define HOSTS 4
#define WAIT_S 20.0

/* The pairs, by the tokens that a source of theirs has room for beside its
 * end, and letters that all their tokens are made of. */
static struct pair {
    const char *name, *path;
    int room, letters;
    int shown; /* its attention can be looked at */
    int ends;  /* and more is over its context */
    char dir[64];
} pairs[] = {
    {"marian", "tests/golden/marian/marian/hf", 47, 26, 1, 1, ""},
    {"t5", "tests/golden/t5/t5/hf", 60, 26, 1, 0, ""},
    {"bart", "tests/golden/bart/bart/hf", 47, 26, 1, 1, ""},
    {"nmt", "tests/golden/marian_nmt/tiny/hf", 60, 26, 1, 0, ""},
    {"dot", "tests/golden/seq2seq-rnn/lstm-dot", 63, 18, 1, 1, ""},
    {"none", "tests/golden/seq2seq-rnn/gru-none-bi-4", 99, 18, 0, 0, ""}};

static struct http_ask asks[MOST_ASKS];
static char models[2048];

/* --- requests --- */

static void add_source(struct buf *b, struct rng *r, const struct pair *p,
                       int n)
{
    buf_add_char(b, '"');
    for (int i = 0; i < n; i++)
        buf_add_char(b, (char)('a' + rng_below(r, (uint32_t)p->letters)));
    buf_add_char(b, '"');
}

/* A text, or a list of some; one in eight is too long and is cut. */
static void add_input(struct buf *b, struct rng *r, const struct pair *p)
{
    int items = rng_below(r, 3) ? 1 : 2 + (int)rng_below(r, 3);
    int over = rng_below(r, 8) == 0 && p->ends;

    buf_addf(b, "{\"model\":\"%s\",\"truncate\":true,\"input\":%s", p->name,
             items > 1 ? "[" : "");
    for (int i = 0; i < items; i++) {
        int n = over ? 2 * p->room : 1 + (int)rng_below(r, (uint32_t)p->room);
        buf_add_str(b, i ? "," : "");
        add_source(b, r, p, n);
    }
    buf_add_str(b, items > 1 ? "]" : "");
}

static const char *add_translate(struct buf *b, struct rng *r,
                                 const struct pair *p, int i)
{
    static const char *const penalty[] = {"0", "0.6", "1", "2", "-1"};
    int beams = 1 + (int)rng_below(r, 8), drawn = rng_below(r, 4) == 0;
    int stream = rng_below(r, 3) == 0;
    int best = 1 + (int)rng_below(r, (uint32_t)beams);

    buf_addf(b, ",\"max_tokens\":%u,\"length_penalty\":%s,\"stream\":%s",
             1 + rng_below(r, 40), penalty[rng_below(r, 5)],
             stream ? "true" : "false");
    if (drawn)
        buf_addf(b, ",\"temperature\":0.9,\"seed\":%d,\"n_best\":%d", i,
                 stream ? 1 : best);
    else
        buf_addf(b, ",\"beams\":%d,\"n_best\":%d", beams, best);
    if (p->shown && rng_below(r, 3) == 0)
        buf_add_str(b, ",\"attention\":true");
    return "/translate";
}

static const char *add_generate(struct buf *b, struct rng *r, int i)
{
    int stream = rng_below(r, 2);

    buf_addf(b,
             ",\"max_tokens\":%u,\"seed\":%d,\"temperature\":%s,\"top_p\":0.95,"
             "\"stream\":%s,\"n\":%u",
             rng_below(r, 40), i, i % 2 ? "0" : "0.8",
             stream ? "true" : "false", stream ? 1 : 1 + rng_below(r, 4));
    return "/generate";
}

/* Of the models beside the pairs. */
static const char *add_other(struct buf *b, int i)
{
    if (i % 2) {
        buf_addf(b, "{\"model\":\"labels\",\"input\":\"the day %d was good\"",
                 i);
        return "/sentiment";
    }
    if (i % 4) {
        buf_add_str(b, "{\"model\":\"words\",\"input\":\"the old man\","
                       "\"candidates\":[\"was\",\"and the sea\",\"went "
                       "home to his wife\",\"did not know what to say\"]");
        return "/predict";
    }
    buf_addf(b,
             "{\"model\":\"words\",\"input\":\"the old man\",\"seed\":%d,"
             "\"max_tokens\":%d,\"n\":2",
             i, 3 + i);
    return "/generate";
}

static void make_asks(void)
{
    struct rng r;

    rng_init(&r, 11);
    for (int i = 0; i < N_ASKS; i++) {
        const struct pair *p = &pairs[i % (int)COUNT(pairs)];
        struct buf b;
        buf_init(&b, 1 << 20);
        if (i % 10 == 9) {
            asks[i].path = add_other(&b, i / 10);
        } else {
            add_input(&b, &r, p);
            asks[i].path = i % 3 == 2 ? add_generate(&b, &r, i)
                                      : add_translate(&b, &r, p, i);
        }
        buf_add_char(&b, '}');
        asks[i].body = buf_take(&b);
        assert_non_null(asks[i].body);
    }
}

static int up(void **state)
{
    size_t at = 0;

    for (size_t i = 0; i < COUNT(pairs); i++) {
        struct pair *p = &pairs[i];
        const char *path = p->path;
        if (i < 3) {
            if (model_dir_letters(path, p->dir) < 0)
                return -1;
            path = p->dir;
        }
        at += (size_t)snprintf(models + at, sizeof models - at,
                               "--model %s=%s ", p->name, path);
    }
    make_asks();
    return 0;
}

static int down(void **state)
{
    for (size_t i = 0; i < COUNT(pairs); i++)
        model_dir_remove(pairs[i].dir);
    http_asks_free(asks, N_ASKS);
    return 0;
}

/* --- what is left --- */

/* Over the pairs; kind: a further label, or "". */
static double sum_of(int port, const char *metric, const char *kind)
{
    double sum = 0;

    for (size_t i = 0; i < COUNT(pairs); i++) {
        char line[96];
        snprintf(line, sizeof line, "seqd_%s{model=\"%s\"%s}", metric,
                 pairs[i].name, kind);
        sum += metric_value(port, line);
    }
    return sum;
}

static void wait_zero(int port, const char *metric, const char *kind)
{
    double end = now_s() + WAIT_S, v;

    while ((v = sum_of(port, metric, kind)) > 0 && now_s() < end)
        sleep_ms(5);
    if (v > 0)
        fail_msg("%s: %.0f", metric, v);
}

static void test_pairs_answer_64_clients_as_one(void **state)
{
    const char *said = getenv("CROWD_ROUNDS");
    int rounds = said ? (int)strtol(said, NULL, 10) : ROUNDS;
    struct seqd s;

    assert_int_equal(
        seqd_start(&s,
                   "%s --model words=models/checkpoints/next-word-lstm "
                   "--model labels=models/checkpoints/sentiment-lstm "
                   "--threads 2 --log-level warn --state-mb 1 --timeout-ms 0 "
                   "--janitor-ms 5",
                   models),
        0);
    assert_int_equal(http_crowd_alone(s.port, asks, N_ASKS), 0);
    struct http_crowd w = {.port = s.port,
                           .clients = N_CLIENTS,
                           .rounds = rounds,
                           .ask = asks,
                           .n = N_ASKS,
                           .hurried = 6,
                           .hosts = HOSTS};
    double begin = now_s();
    http_crowd_run(&w);
    double lost = sum_of(s.port, "preempted_total", "");
    printf("%d answers, %d late, %d left early, %.0f states lost, %.1f s\n",
           atomic_load(&w.answers), atomic_load(&w.late), atomic_load(&w.left),
           lost, now_s() - begin);
    assert_int_equal(atomic_load(&w.bad), 0);
    assert_true(atomic_load(&w.left) > w.clients * w.rounds / 20);
    assert_true(atomic_load(&w.late) > 0);
    assert_true(lost > 0);
    wait_zero(s.port, "queue_depth", "");
    wait_zero(s.port, "state_pages", ",kind=\"used\"");
    assert_int_equal(http_crowd_alone(s.port, asks, N_ASKS), 0);
    assert_int_equal(seqd_stop(&s), 0);
}

/* --- what nobody should send --- */

static const struct http_refusal refused[] = {
    {"/translate", "{\"model\":\"t5\",\"input\":\"\"}", "input"},
    {"/translate", "{\"model\":\"t5\",\"input\":[]}", "input"},
    {"/translate", "{\"model\":\"t5\",\"input\":[\"a\",\"\"]}", "input[1]"},
    {"/translate", "{\"model\":\"t5\",\"input\":[[\"a\"]]}", "input[0]"},
    {"/translate", "{\"model\":\"t5\",\"input\":[1]}", "input[0]"},
    {"/translate", "{\"model\":\"t5\",\"input\":{\"a\":\"b\"}}", "input"},
    {"/translate", "{\"model\":\"t5\",\"input\":null}", "input"},
    {"/translate", "{\"model\":\"t5\"}", "input"},
    {"/translate", "{\"model\":\"t5\",\"input\":\"a\",\"target\":\"fr\"}",
     "target"},
    {"/translate", "{\"model\":\"t5\",\"input\":\"a\",\"beams\":0}", "beams"},
    {"/translate", "{\"model\":\"t5\",\"input\":\"a\",\"beams\":17}", "beams"},
    {"/translate", "{\"model\":\"t5\",\"input\":\"a\",\"beams\":1e9}", "beams"},
    {"/translate", "{\"model\":\"t5\",\"input\":\"a\",\"beams\":2.5}", "beams"},
    {"/translate", "{\"model\":\"t5\",\"input\":\"a\",\"beams\":\"4\"}",
     "beams"},
    {"/translate", "{\"model\":\"t5\",\"input\":\"a\",\"beams\":[4]}", "beams"},
    {"/translate",
     "{\"model\":\"t5\",\"input\":\"a\",\"beams\":2,\"n_best\":3}", "n_best"},
    {"/translate",
     "{\"model\":\"t5\",\"input\":\"a\",\"beams\":2,\"temperature\":1}",
     "beams"},
    {"/translate", "{\"model\":\"t5\",\"input\":\"a\",\"length_penalty\":1e9}",
     "length_penalty"},
    {"/translate",
     "{\"model\":\"t5\",\"input\":\"a\",\"length_penalty\":-10.5}",
     "length_penalty"},
    {"/translate",
     "{\"model\":\"t5\",\"input\":\"a\",\"length_penalty\":\"1\"}",
     "length_penalty"},
    {"/translate", "{\"model\":\"t5\",\"input\":\"a\",\"max_tokens\":0}",
     "max_tokens"},
    {"/translate", "{\"model\":\"t5\",\"input\":\"a\",\"max_tokens\":9000}",
     "max_tokens"},
    {"/translate", "{\"model\":\"t5\",\"input\":\"a\",\"timeout_ms\":0}",
     "timeout_ms"},
    {"/translate", "{\"model\":\"dot\",\"input\":\"at\"}", "input"},
    {"/generate", "{\"model\":\"dot\",\"input\":[\"a\",\"at\"]}", "input[1]"},
    {"/generate", "{\"model\":\"none\",\"input\":\"\"}", "input"},
    {"/generate", "{\"model\":\"t5\",\"input\":\"a\",\"n\":17}", "n"},
    {"/generate", "{\"model\":\"t5\",\"input\":\"a\",\"n\":2,\"stream\":true}",
     "n"},
};

static const struct http_refusal unknown[] = {
    {"/translate", "{\"model\":\"t5\",\"input\":\"a\",\"inputs\":\"a\"}",
     "inputs"},
    {"/translate", "{\"model\":\"t5\",\"input\":\"a\",\"n\":2}", "n"},
    {"/generate", "{\"model\":\"t5\",\"input\":\"a\",\"beams\":2}", "beams"},
};

static const struct http_refusal no_json[] = {
    {"/translate", "{\"model\":\"t5\",\"input\":\"a\",\"input\":\"b\"}", ""},
    {"/translate", "{\"model\":\"t5\",\"input\":\"\\ud800\"}", ""},
    {"/translate", "{\"model\":\"t5\",\"input\":\"\xff\"}", ""},
    {"/translate", "{\"model\":\"t5\",\"input\":\"\xed\xa0\x80\"}", ""},
    {"/translate", "{\"model\":\"t5\",\"input\":\"\xc0\x80\"}", ""},
    {"/translate", "{\"model\":\"t5\",\"input\":\"a\",\"beams\":1e999}", ""},
    {"/translate", "{\"model\":\"t5\",\"input\":\"a\",\"length_penalty\":NaN}",
     ""},
};

/* A body whose input is n sources of so many letters. */
static char *long_body(const char *model, int n, int letters, const char *more)
{
    struct buf b;

    buf_init(&b, (size_t)1 << 22);
    buf_addf(&b, "{\"model\":\"%s\",\"input\":[", model);
    for (int i = 0; i < n; i++) {
        buf_add_str(&b, i ? ",\"" : "\"");
        for (int k = 0; k < letters; k++)
            buf_add_char(&b, (char)('a' + (i + k) % 18));
        buf_add_char(&b, '"');
    }
    buf_addf(&b, "]%s}", more);
    return buf_take(&b);
}

/* Its one text is as long as it may be. */
static void check_endless(int port, const char *json, int tokens)
{
    struct answer a;

    http_answered(port, "/translate", json, &a);
    assert_string_equal(answer_text(&a, "data.0.finish_reason"), "length");
    assert_int_equal(answer_number(&a, "usage.completion_tokens"), tokens);
    assert_int_equal(answer_number(&a, "usage.prompt_tokens"), 3);
    answer_free(&a);
}

static void check_edges(int port)
{
    struct answer a;

    check_endless(port,
                  "{\"model\":\"dot\",\"input\":\"abc\",\"max_tokens\":1}", 1);
    check_endless(
        port, "{\"model\":\"dot\",\"input\":\"abc\",\"max_tokens\":900}", 900);
    http_refused(port, "/translate",
                 "{\"model\":\"dot\",\"input\":\"abc\",\"beams\":16,"
                 "\"max_tokens\":8192,\"timeout_ms\":30}",
                 504, "deadline_exceeded", "");
    char *json = long_body("marian", 1, 10000, "");
    http_refused(port, "/translate", json, 400, "context_length_exceeded",
                 "input[0]");
    mem_free(json);
    json = long_body("marian", 2, 10000, ",\"truncate\":true");
    http_answered(port, "/translate", json, &a);
    assert_int_equal(json_bool(answer_at(&a, "data.1.truncated")), 1);
    answer_free(&a);
    mem_free(json);
    json = long_body("marian", 257, 1, "");
    http_refused(port, "/translate", json, 413, "batch_too_large", "input");
    mem_free(json);
    http_answered(port, "/translate",
                  "{\"model\":\"t5\",\"input\":\"\\u0000a\\u0001\\u202e\","
                  "\"max_tokens\":3}",
                  NULL);
}

/* 200 sources of 8,000 letters are read for seconds. */
static void check_while_reading(int port)
{
    char *json = long_body("none", 200, 8000, ",\"timeout_ms\":40");

    http_refused(port, "/translate", json, 504, "deadline_exceeded", "");
    mem_free(json);
    wait_zero(port, "queue_depth", "");
    json = long_body("none", 200, 8000, "");
    double gone = metric_value(port, HTTP_GONE);
    int fd = raw_post(port, "/translate", json);
    sleep_ms(60);
    raw_reset(fd);
    for (double end = now_s() + WAIT_S; now_s() < end;)
        if (metric_value(port, HTTP_GONE) > gone)
            break;
    assert_true(metric_value(port, HTTP_GONE) > gone);
    wait_zero(port, "queue_depth", "");
    wait_zero(port, "state_pages", ",kind=\"used\"");
    mem_free(json);
}

static void test_pairs_say_what_is_wrong_and_always_end(void **state)
{
    struct seqd s;

    assert_int_equal(
        seqd_start(&s, "%s --log-level error --janitor-ms 5", models), 0);
    http_refused_all(s.port, 400, "invalid_value", refused, COUNT(refused));
    http_refused_all(s.port, 400, "unknown_field", unknown, COUNT(unknown));
    http_refused_all(s.port, 400, "invalid_json", no_json, COUNT(no_json));
    check_edges(s.port);
    check_while_reading(s.port);
    assert_int_equal(seqd_stop(&s), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_pairs_answer_64_clients_as_one),
        cmocka_unit_test(test_pairs_say_what_is_wrong_and_always_end),
    };
    return cmocka_run_group_tests(tests, up, down);
}
