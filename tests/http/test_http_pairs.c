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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_pairs_answer_64_clients_as_one),
    };
    return cmocka_run_group_tests(tests, up, down);
}
