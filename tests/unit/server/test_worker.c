/* worker: what waits for whole files keeps no large body waiting.
 *
 * SPDX-License-Identifier: MIT */
#include <semaphore.h>

#include "engine/base/clock.h"
#include "engine/base/log.h"
#include "models/registry.h"
#include "server/api/route.h"
#include "server/http/http_impl.h"
#include "server/http/request.h"
#include "server/http/worker.h"
#include "tests/support/unit.h"

#define LARGE 70000 /* bytes of a body: more than a loop handles itself */
#define WAIT_US 20000000
#define LOOK_US 1000
#define STAYS_US 30000 /* what would be answered by then, if it could */

static struct config cfg;
static struct http http; /* no loop is awake */
static struct loop loop = {.http = &http};
static struct server sv = {.cfg = &cfg, .http = &http};
static struct request *pool;
static sem_t file_is_read;

static int up(void **state)
{
    static char *argv[] = {"seqd"};
    struct engine_options o = {.n_threads = 1};
    struct err e = ERR_INIT;
    log_configure(LOG_ERROR, 0);
    if (config_load(&cfg, 1, argv, &e) < 0 ||
        engine_open(&o, registry_archs, &sv.engine, &e) < 0 ||
        worker_open(&sv.worker, &e) < 0 || worker_open(&sv.waiter, &e) < 0)
        return -1;
    atomic_store(&sv.phase, PHASE_READY);
    return sem_init(&file_is_read, 0, 0) |
           engine_load(sv.engine, "lm", "tests/golden/rnn/lstm", &e);
}

static int down(void **state)
{
    sem_post(&file_is_read); /* a test that failed has not */
    worker_close(sv.worker);
    worker_close(sv.waiter);
    engine_close(sv.engine);
    config_fini(&cfg);
    return sem_destroy(&file_is_read);
}

static struct request *begin(const char *method, const char *path)
{
    struct request *r = request_new(&pool, &sv);
    assert_non_null(r);
    r->loop = &loop;
    r->head.content_type = "application/json";
    route_begin(r, method, path);
    assert_int_equal(r->err.code, ERR_NONE);
    return r;
}

/* 1 when its handler has ended within that time. */
static int is_done(struct request *r, int64_t within_us)
{
    int64_t end = clock_now_us() + within_us;
    while (request_is_held(r) && clock_now_us() < end)
        usleep(LOOK_US);
    return !request_is_held(r);
}

static void read_file(struct request *r)
{
    while (sem_wait(&file_is_read))
        continue;
    request_unhold(r);
}

static void test_large_bodies_do_not_wait_for_whole_files(void **state)
{
    static char body[LARGE];
    memset(body, ' ', sizeof body);
    memcpy(body, "{\"input\":\"the\"}", 15);
    struct request *reads = begin("GET", "/v1/models"),
                   *list = begin("GET", "/v1/models"),
                   *large = begin("POST", "/tokenize");
    request_hold(reads);
    worker_push(sv.waiter, reads, read_file);
    assert_int_equal(request_run(list), 1);
    assert_int_equal(request_body(large, body, sizeof body, sizeof body), 0);
    assert_int_equal(request_run(large), 1);
    assert_true(is_done(large, WAIT_US));
    assert_int_equal(large->status, 200);
    assert_false(is_done(list, STAYS_US)); /* it has its turn behind that */
    sem_post(&file_is_read);
    assert_true(is_done(reads, WAIT_US) && is_done(list, WAIT_US));
    assert_int_equal(list->status, 200);
    request_destroy(reads);
    request_destroy(list);
    request_destroy(large);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_large_bodies_do_not_wait_for_whole_files),
    };
    return cmocka_run_group_tests(tests, up, down);
}
