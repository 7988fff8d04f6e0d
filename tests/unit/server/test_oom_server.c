/* Every allocation of reading the configuration and of answering a request
 * fails once: the answer is 503 out_of_memory, nothing is lost.
 *
 * SPDX-License-Identifier: MIT */
#include "engine/base/clock.h"
#include "engine/base/mem.h"
#include "models/registry.h"
#include "server/api/reply.h"
#include "server/api/route.h"
#include "server/config.h"
#include "server/http/keys.h"
#include "server/http/request.h"
#include "tests/support/oom_sweep.h"
#include "tests/support/unit.h"

static char config_file[64], key_file[64];
static struct config cfg;
static struct server sv = {.cfg = &cfg};

static int write_text(const char *path, const char *text)
{
    FILE *f = fopen(path, "we");
    if (!f)
        return -1;
    fputs(text, f);
    return fclose(f);
}

static int up(void **state)
{
    static char *argv[] = {"seqd", "--max-batch", "4"};
    struct engine_options o = {.n_threads = 1};
    struct err e = ERR_INIT;
    snprintf(config_file, sizeof config_file, "/tmp/seqd-oom-%d.json",
             (int)getpid());
    snprintf(key_file, sizeof key_file, "/tmp/seqd-oom-%d.keys", (int)getpid());
    if (write_text(config_file, "{\"port\":1,\"model\":[\"a=b\",\"c=d\"]}") ||
        write_text(key_file, "one\ntwo\n") ||
        config_load(&cfg, 3, argv, &e) < 0 ||
        engine_open(&o, registry_archs, &sv.engine, &e) < 0)
        return -1;
    atomic_store(&sv.phase, PHASE_READY);
    return engine_load(sv.engine, "lm", "tests/golden/rnn/lstm", &e);
}

static int down(void **state)
{
    engine_close(sv.engine);
    config_fini(&cfg);
    unlink(config_file);
    return unlink(key_file);
}

static int load_config(void *arg, struct err *e)
{
    char *argv[] = {"seqd",           "--config",      config_file,
                    "--api-key-file", key_file,        "--cors-origin",
                    "https://a",      "--cors-origin", "https://b"};
    struct config c;
    (void)arg;
    int rc = config_load(&c, 9, argv, e);
    config_fini(&c);
    return rc;
}

static void test_oom_while_reading_the_configuration(void **state)
{
    assert_true(oom_sweep(load_config, NULL) > 12);
}

static int read_again(void *arg, struct err *e)
{
    char *v[] = {"one"};
    const struct string_list l = {.v = v, .n = 1};
    struct keyring *k = NULL;
    (void)arg;
    int rc = keyring_open(&l, &k, e);
    if (rc == 0 && keyring_read(k, key_file, "three", e) < 0) {
        rc = -1;
        assert_true(keyring_match(k, "Bearer one"));
        assert_false(keyring_match(k, "Bearer three"));
    }
    keyring_close(k);
    return rc;
}

static void test_oom_while_reading_keys_again(void **state)
{
    assert_true(oom_sweep(read_again, NULL) > 8);
}

struct ask {
    const char *method, *path, *body;
};

static int answer_one(void *arg, struct err *e)
{
    const struct ask *a = arg;
    struct request *pool = NULL, *r = request_new(&pool, &sv);
    struct header h[MAX_HEADERS];
    if (!r)
        return err_nomem(e);
    r->head.content_type = "application/json";
    r->head.content_length = -1;
    route_begin(r, a->method, a->path);
    int rc = a->body ? request_body(r, a->body, strlen(a->body), 1 << 20) : 0;
    if (rc < 0)
        reply_error(r);
    else if (r->route->handle(r) < 0)
        reply_error(r);
    assert_true(r->status == 200 || r->status == 503);
    assert_true(r->fixed || r->out.len > 0);
    assert_true(reply_headers(r, h) > 1);
    rc = r->status == 200 ? 0 : err_nomem(e);
    request_destroy(r);
    return rc;
}

static void test_oom_while_answering(void **state)
{
    static struct ask asks[] = {
        {"POST", "/tokenize", "{\"input\":[\"abc\",\"a b c d e f g h i j\"]}"},
        {"POST", "/detokenize", "{\"tokens\":[[1,2,3],[4,5,6,7,8,9,10,11]]}"},
        {"GET", "/v1/models", NULL},
        {"GET", "/v1/models/lm", NULL},
        {"GET", "/info", NULL},
        {"GET", "/metrics", NULL},
        {"GET", "/version", NULL},
    };
    for (size_t i = 0; i < COUNT(asks); i++)
        assert_true(oom_sweep(answer_one, &asks[i]) >= 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_oom_while_reading_the_configuration),
        cmocka_unit_test(test_oom_while_reading_keys_again),
        cmocka_unit_test(test_oom_while_answering),
    };
    return cmocka_run_group_tests(tests, up, down);
}
