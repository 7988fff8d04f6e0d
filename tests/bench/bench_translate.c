/* bench_translate: an encoder-decoder through the engine, in process, for
 * translate.py. Each line "N BEAMS" of standard input submits N random sources
 * of 10 to 40 tokens at once and answers "wall cpu tokens": seconds of the
 * clock and of this process's threads, and tokens written (MADE of each source
 * where the checkpoint never ends by itself). Sources differ from line to line,
 * so that no page is found in the cache.
 *
 *     build/release/tests/bench/bench_translate PATH [threads] [exact]
 *
 * SPDX-License-Identifier: MIT */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "engine/base/clock.h"
#include "engine/base/log.h"
#include "engine/base/mem.h"
#include "engine/base/rng.h"
#include "engine/run/model.h"
#include "engine/run/task/beam.h"
#include "models/registry.h"

#define MOST 256
#define SHORTEST 10
#define LONGEST 40
#define MADE 32

struct bench {
    struct engine *g;
    struct model *m;
    struct rng rng;
    pthread_mutex_t mu;
    pthread_cond_t cv;
    int left; /* jobs without their final event */
    int32_t ids[MOST][LONGEST + 1];
};

static void on_event(void *user, const struct job_event *ev)
{
    struct bench *b = user;

    if (ev->kind == JOB_TEXT)
        return;
    pthread_mutex_lock(&b->mu);
    if (--b->left == 0)
        pthread_cond_signal(&b->cv);
    pthread_mutex_unlock(&b->mu);
}

/* A source as a text would become one, the end of Marian's behind it. */
static int random_source(struct bench *b, int32_t *ids)
{
    const struct tokenizer *t = b->m->tokenizer;
    int n = SHORTEST + (int)rng_below(&b->rng, LONGEST - SHORTEST + 1);

    for (int i = 0; i < n;) {
        uint32_t size = (uint32_t)tokenizer_size(t);
        int32_t id = (int32_t)rng_below(&b->rng, size);
        if (!tokenizer_is_special(t, id))
            ids[i++] = id;
    }
    ids[n] = 0;
    return n + 1;
}

static double cpu_seconds(void)
{
    struct timespec t;

    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static void wait_for_all(struct bench *b)
{
    pthread_mutex_lock(&b->mu);
    while (b->left > 0)
        pthread_cond_wait(&b->cv, &b->mu);
    pthread_mutex_unlock(&b->mu);
}

/* Tokens written; -1 when a job failed. */
static long made(struct job *const *job, int n)
{
    long sum = 0;

    for (int i = 0; i < n && sum >= 0; i++) {
        const struct err *failed = job_error(job[i]);
        if (failed->code) {
            fprintf(stderr, "bench_translate: %s\n", failed->msg);
            return -1;
        }
        sum += beam_result(job[i])->best[0].n_tokens;
    }
    return sum;
}

static int answer(struct bench *b, int n, int beams)
{
    const struct beam_params params = {.beams = beams,
                                       .n_best = 1,
                                       .length_penalty = 1,
                                       .max_tokens = MADE,
                                       .forced_first = -1};
    const int32_t start = model_get_info(b->m)->target.start;
    static struct job_spec spec[MOST];
    struct job *job[MOST];
    struct err e = ERR_INIT;

    for (int i = 0; i < n; i++)
        spec[i] = (struct job_spec){
            .model = b->m,
            .task = &task_beam,
            .params = &params,
            .in = {[PORT_TARGET] = {.p = &start, .n = 1},
                   [PORT_SOURCE] = {.p = b->ids[i],
                                    .n = random_source(b, b->ids[i])}},
            .on_event = on_event,
            .user = b};
    b->left = n;
    double cpu = cpu_seconds();
    int64_t begin = clock_now_us();
    if (engine_submit(b->g, spec, n, job, &e)) {
        fprintf(stderr, "bench_translate: %s\n", e.msg);
        return -1;
    }
    wait_for_all(b);
    double wall = (double)(clock_now_us() - begin) * 1e-6;
    cpu = cpu_seconds() - cpu;
    long tokens = made(job, n);
    printf("%.6f %.6f %ld\n", wall, cpu, tokens);
    fflush(stdout);
    for (int i = 0; i < n; i++)
        job_release(job[i]);
    return tokens < 0 ? -1 : 0;
}

int main(int argc, char **argv)
{
    static struct bench b = {.mu = PTHREAD_MUTEX_INITIALIZER,
                             .cv = PTHREAD_COND_INITIALIZER};
    struct engine_options o = {
        .n_threads = argc > 2 ? (int)strtol(argv[2], NULL, 10) : 1,
        .spin_us = -1,
        .exact = argc > 3 && strcmp(argv[3], "exact") == 0,
        .state_bytes = (size_t)2 << 30};
    struct err e = ERR_INIT;
    int n, beams, rc = 0;

    if (argc < 2) {
        fprintf(stderr, "usage: bench_translate PATH [threads] [exact]\n");
        return 2;
    }
    log_configure(LOG_WARN, 0);
    rng_init(&b.rng, 1);
    if (engine_open(&o, registry_archs, &b.g, &e) ||
        engine_load(b.g, "bench", argv[1], &e) ||
        engine_model(b.g, NULL, &task_translate, &b.m, &e)) {
        fprintf(stderr, "bench_translate: %s\n", e.msg);
        return 1;
    }
    while (!rc && scanf("%d %d", &n, &beams) == 2)
        rc = n < 1 || n > MOST ? -1 : answer(&b, n, beams);
    model_release(b.m);
    engine_close(b.g);
    return rc ? 1 : 0;
}
