/* Fair shares over HTTP, with bundled checkpoints: a client beside another that
 * has taken all places with long generations is answered soon, with the same
 * bits; clients are keys where there are keys, else addresses.
 *
 * SPDX-License-Identifier: MIT */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "engine/base/buf.h"
#include "engine/base/mem.h"
#include "tests/support/http_rig.h"

#define ITEMS 256 /* of a request: --max-batch */
#define TOKENS 4000
#define LOADS 2
#define PROBES 60
/* A lone client's median beside the load, over its median alone: 5 is the
 * promise, and what other programs take of the machine comes on top. */
#define MOST_TIMES 5.0
#define SPARE_S 0.05
/* Of one answer: the load itself takes several seconds. */
#define MOST_S 2.0

static const char heavy_key[] = "heavy-key", light_key[] = "light-key";

static int start(struct seqd *s, int keys)
{
    char file[64];
    snprintf(file, sizeof file, "/tmp/seqd-fair-%d", (int)getpid());
    FILE *f = fopen(file, "we");
    if (!f)
        return -1;
    fprintf(f, "%s\n%s\n", heavy_key, light_key);
    fclose(f);
    int rc = seqd_start(s, "--data-dir models/checkpoints --timeout-ms 0 %s %s",
                        keys ? "--api-key-file" : "", keys ? file : "");
    unlink(file);
    return rc;
}

/* A connection from an address of 127/8. */
static int open_from(int port, const char *address)
{
    struct sockaddr_in from = {.sin_family = AF_INET};
    const struct sockaddr_in to = {.sin_family = AF_INET,
                                   .sin_port = htons((uint16_t)port),
                                   .sin_addr = {htonl(INADDR_LOOPBACK)}};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    inet_pton(AF_INET, address, &from.sin_addr);
    assert_true(fd >= 0);
    assert_int_equal(bind(fd, (const struct sockaddr *)&from, sizeof from), 0);
    assert_int_equal(connect(fd, (const struct sockaddr *)&to, sizeof to), 0);
    return fd;
}

/* A request of ITEMS long generations, from this address, with this key. */
static int load(int port, const char *address, const char *key,
                const char *model)
{
    struct buf json, all;
    int fd = open_from(port, address);
    buf_init(&json, 1 << 20);
    buf_init(&all, 1 << 20);
    buf_addf(&json, "{\"model\":\"%s\",\"max_tokens\":%d,\"input\":[", model,
             TOKENS);
    for (int i = 0; i < ITEMS; i++)
        buf_addf(&json, "%s\"the end of the story %d\"", i ? "," : "", i);
    buf_add_str(&json, "]}");
    buf_addf(&all,
             "POST /generate HTTP/1.1\r\nHost: localhost\r\n"
             "Authorization: Bearer %s\r\nContent-Type: application/json\r\n"
             "Content-Length: %zu\r\n\r\n%s",
             key, json.len, json.p);
    raw_say(fd, all.p);
    buf_fini(&json);
    buf_fini(&all);
    return fd;
}

static int by_size(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

struct times {
    double median, most;
    char *payload; /* of the last answer */
};

static struct times ask(struct client *c, const char *path, const char *json)
{
    static const char *const headers[] = {"Authorization: Bearer light-key",
                                          "Content-Type: application/json",
                                          NULL};
    struct times t = {.payload = NULL};
    double s[PROBES];
    for (int i = 0; i < PROBES; i++) {
        struct answer a;
        double begin = now_s();
        client_send(c, "POST", path, headers, json, strlen(json), &a);
        s[i] = now_s() - begin;
        if (a.status != 200)
            fail_msg("%s: %ld %s", path, a.status, a.body);
        mem_free(t.payload);
        t.payload = mem_array(a.n + 1, 1);
        snprintf(t.payload, a.n + 1, "%s", http_payload(&a));
        answer_free(&a);
    }
    qsort(s, PROBES, sizeof s[0], by_size);
    t.median = s[PROBES / 2];
    t.most = s[PROBES - 1];
    return t;
}

static void wait_busy(int port, double most)
{
    static const char *const headers[] = {"Authorization: Bearer light-key",
                                          NULL};
    for (double end = now_s() + 10; now_s() < end;) {
        struct answer a;
        http_send(port, "GET", "/metrics", headers, NULL, 0, &a);
        const char *p = strstr(a.body, "seqd_queue_depth{model=");
        double v = 0;
        for (; p; p = strstr(p + 1, "seqd_queue_depth{model="))
            v += strtod(strchr(p, ' '), NULL);
        answer_free(&a);
        if (v >= most)
            return;
    }
    fail_msg("the load did not arrive");
}

static const struct probe {
    const char *path, *json, *model; /* that the load is for */
} probes[] = {
    {"/predict", "{\"model\":\"next-word-lstm\",\"input\":\"it was a\"}",
     "next-word-lstm"},
    {"/predict", "{\"model\":\"stories-gpt\",\"input\":\"it was a\"}",
     "stories-gpt"},
    {"/sentiment", "{\"input\":\"what a day this was for all of us\"}",
     "stories-gpt"},
};

static void check_beside(int keys)
{
    for (size_t k = 0; k < COUNT(probes); k++) {
        const struct probe *p = &probes[k];
        struct seqd s;
        int fd[LOADS];
        assert_int_equal(start(&s, keys), 0);
        struct client *c = client_open(s.port);
        struct times alone = ask(c, p->path, p->json);
        for (int i = 0; i < LOADS; i++)
            fd[i] = load(s.port, keys ? "127.0.0.1" : "127.0.0.2", heavy_key,
                         p->model);
        /* both are there: one alone has no more than ITEMS - 64 that wait */
        wait_busy(s.port, LOADS * ITEMS / 2);
        struct times beside = ask(c, p->path, p->json);
        print_message("%s beside %s: median %.2f ms, alone %.2f; most %.2f, "
                      "alone %.2f\n",
                      p->path, p->model, beside.median * 1e3,
                      alone.median * 1e3, beside.most * 1e3, alone.most * 1e3);
        assert_string_equal(beside.payload, alone.payload);
        if (beside.median > MOST_TIMES * alone.median + SPARE_S ||
            beside.most > MOST_S)
            fail_msg("%g s, at most %g, alone %g s", beside.median, beside.most,
                     alone.median);
        wait_busy(s.port, 1); /* the load is still there */
        mem_free(alone.payload);
        mem_free(beside.payload);
        for (int i = 0; i < LOADS; i++)
            raw_close(fd[i]);
        client_close(c);
        assert_int_equal(seqd_stop(&s), 0);
    }
}

static void test_a_key_is_answered_beside_anothers_load(void **state)
{
    check_beside(1);
}

static void test_an_address_is_answered_beside_anothers_load(void **state)
{
    check_beside(0);
}

/* Two addresses with one key are one client, two keys of one address two. */
static void test_clients_are_keys_where_there_are_keys(void **state)
{
    static const char *const headers[] = {"Authorization: Bearer light-key",
                                          NULL};
    static const struct {
        const char *address, *key;
        double clients;
    } rows[] = {{"127.0.0.1", heavy_key, 1},
                {"127.0.0.2", heavy_key, 1},
                {"127.0.0.2", light_key, 2}};
    struct seqd s;
    int fd[COUNT(rows)];
    assert_int_equal(start(&s, 1), 0);
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct answer a;
        fd[i] = load(s.port, rows[i].address, rows[i].key, "stories-gpt");
        wait_busy(s.port, (double)(i + 1) * ITEMS - 128);
        double v = -1;
        for (double end = now_s() + 5; now_s() < end && v != rows[i].clients;) {
            http_send(s.port, "GET", "/metrics", headers, NULL, 0, &a);
            const char *p =
                strstr(a.body, "seqd_clients{model=\"stories-gpt\"} ");
            v = p ? strtod(strchr(p, ' '), NULL) : -1;
            answer_free(&a);
        }
        assert_true(v == rows[i].clients);
    }
    for (size_t i = 0; i < COUNT(rows); i++)
        raw_close(fd[i]);
    assert_int_equal(seqd_stop(&s), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_key_is_answered_beside_anothers_load),
        cmocka_unit_test(test_an_address_is_answered_beside_anothers_load),
        cmocka_unit_test(test_clients_are_keys_where_there_are_keys),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
