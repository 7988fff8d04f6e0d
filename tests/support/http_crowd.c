/* http_crowd: see http_crowd.h.
 *
 * SPDX-License-Identifier: MIT */
#include "tests/support/http_crowd.h"

#include "engine/base/buf.h"
#include "engine/base/mem.h"
#include "engine/base/rng.h"
#include "tests/support/http_rig.h"

#define MOST_CLIENTS 64
#define MOST_ITEMS 16 /* of a stream */
#define MOST_BYTES ((size_t)1 << 24)
#define HURRY_MS 12u

static const char data[] = "\"data\":[{\"index\":", use[] = ",\"usage\":";

/* One event: what it says of its item behind the item's others, the usage into
 * *usage. -1: it is no such event. */
static int sort_event(const char *p, size_t n, struct buf item[MOST_ITEMS],
                      struct buf *usage)
{
    const char *end = p + n, *at = memmem(p, n, data, sizeof data - 1), *u;
    long i = at ? strtol(at + sizeof data - 1, NULL, 10) : -1;

    if (i < 0 || i >= MOST_ITEMS)
        return -1;
    u = memmem(at, (size_t)(end - at), use, sizeof use - 1);
    if (u)
        buf_add(usage, u, (size_t)(end - u));
    return buf_add(&item[i], at, (size_t)((u ? u : end - 1) - at));
}

/* A whole stream item by item; "" when it is no whole one. */
static char *sort_stream(const char *p)
{
    struct buf item[MOST_ITEMS], usage, all;
    int bad = 0, done = 0;

    for (int i = 0; i < MOST_ITEMS; i++)
        buf_init(&item[i], MOST_BYTES);
    buf_init(&usage, MOST_BYTES);
    buf_init(&all, MOST_BYTES);
    for (; *p && !done; p += strcspn(p, "\n"), p += strspn(p, "\n")) {
        done = !strncmp(p, "data: [DONE]", 12);
        if (!done && *p != ':') /* a ping */
            bad |= sort_event(p, strcspn(p, "\n"), item, &usage) < 0;
    }
    for (int i = 0; i < MOST_ITEMS; i++) {
        if (item[i].len > 0)
            buf_add(&all, item[i].p, item[i].len);
        buf_fini(&item[i]);
    }
    if (usage.len > 0)
        buf_add(&all, usage.p, usage.len);
    buf_fini(&usage);
    if (bad || !done)
        buf_clear(&all);
    char *got = all.len ? buf_take(&all) : mem_strdup("");
    buf_fini(&all);
    return got;
}

static char *take_payload(const struct answer *a)
{
    return a->status == 200 && a->body[0] != '{' ? sort_stream(a->body)
                                                 : mem_strdup(http_payload(a));
}

int http_crowd_alone(int port, struct http_ask *ask, int n)
{
    struct client *c = client_open(port);
    int bad = 0;

    for (int i = 0; i < n; i++) {
        struct answer a;
        client_send(c, "POST", ask[i].path, NULL, ask[i].body,
                    strlen(ask[i].body), &a);
        char *got = take_payload(&a);
        int wrong = !*got || (ask[i].alone && strcmp(got, ask[i].alone));
        if (wrong)
            fprintf(stderr, "%s %.300s: %ld %.300s\n", ask[i].path, ask[i].body,
                    a.status, a.body);
        bad += wrong;
        if (ask[i].alone)
            mem_free(got);
        else
            ask[i].alone = got;
        answer_free(&a);
    }
    client_close(c);
    return bad;
}

void http_asks_free(struct http_ask *ask, int n)
{
    for (int i = 0; i < n; i++) {
        mem_free(ask[i].body);
        mem_free(ask[i].alone);
        ask[i] = (struct http_ask){0};
    }
}

/* --- the crowd --- */

struct member {
    struct http_crowd *crowd;
    pthread_t thread;
    int index;
};

/* Ask and leave: before the answer, or with the first of a stream. */
static void ask_and_leave(int port, const struct http_ask *k, struct rng *r)
{
    char some[512];
    int fd = raw_post(port, k->path, k->body);

    if (strstr(k->body, "\"stream\":true") && rng_below(r, 2)) {
        raw_hear(fd, some, sizeof some, "data:", 2000, NULL);
        raw_reset(fd);
        return;
    }
    sleep_ms((int)rng_below(r, 4));
    raw_close(fd);
}

static void ask_one(struct http_crowd *w, struct client *c,
                    const struct http_ask *k, int hurry_ms)
{
    struct answer a;
    struct buf b;

    buf_init(&b, MOST_BYTES);
    if (hurry_ms > 0)
        buf_addf(&b, "{\"timeout_ms\":%d,%s", hurry_ms, k->body + 1);
    else
        buf_add_str(&b, k->body);
    client_send(c, "POST", k->path, NULL, b.p, b.len, &a);
    atomic_fetch_add(&w->answers, 1);
    char *got = take_payload(&a);
    if (strcmp(got, k->alone)) {
        if (hurry_ms > 0 && strstr(a.body, "\"deadline_exceeded\""))
            atomic_fetch_add(&w->late, 1);
        else if (atomic_fetch_add(&w->bad, 1) == 0)
            fprintf(stderr, "%s %.200s\n  status %ld %.300s\n  alone %.300s\n",
                    k->path, b.p, a.status, *got ? got : a.body, k->alone);
    }
    mem_free(got);
    answer_free(&a);
    buf_fini(&b);
}

static void *be_one_of_many(void *arg)
{
    struct member *m = arg;
    struct http_crowd *w = m->crowd;
    char address[32];
    struct rng r;

    snprintf(address, sizeof address, "127.0.0.%d",
             1 + (w->hosts ? m->index % w->hosts : 0));
    struct client *c = client_open_from(w->port, address);
    rng_init(&r, w->seed + (uint64_t)m->index);
    pthread_barrier_wait(&w->start);
    for (int i = 0; i < w->rounds; i++) {
        const struct http_ask *k = &w->ask[rng_below(&r, (uint32_t)w->n)];
        int hurry = w->hurried && !rng_below(&r, (uint32_t)w->hurried);
        if (rng_below(&r, 6) == 0) {
            ask_and_leave(w->port, k, &r);
            atomic_fetch_add(&w->left, 1);
        } else {
            ask_one(w, c, k, hurry ? 1 + (int)rng_below(&r, HURRY_MS) : 0);
        }
    }
    client_close(c);
    return NULL;
}

void http_crowd_run(struct http_crowd *w)
{
    struct member member[MOST_CLIENTS];

    assert_in_range(w->clients, 1, MOST_CLIENTS);
    pthread_barrier_init(&w->start, NULL, (unsigned)w->clients);
    for (int i = 0; i < w->clients; i++) {
        member[i] = (struct member){.crowd = w, .index = i};
        assert_int_equal(
            pthread_create(&member[i].thread, NULL, be_one_of_many, &member[i]),
            0);
    }
    for (int i = 0; i < w->clients; i++)
        pthread_join(member[i].thread, NULL);
    pthread_barrier_destroy(&w->start);
}
