/* bench_decode: prompt and decode tokens per second of a checkpoint through the
 * engine, in process, as llama-bench and llama-batched-bench count them:
 *
 *   pp   one sequence, a prompt of N tokens and one row of logits
 *   tg   one sequence, 64 greedy tokens after a prompt of one token
 *   bN   N sequences at once, each 64 greedy tokens after 64 of prompt; the
 *        rate counts generated tokens and the time after the first of them
 *
 * A classifier has the line pp and bN: N texts of 64 tokens at once. The line
 * "state" is the bytes of a sequence's state after 256 tokens.
 *
 * Prompts are random ids and differ from run to run, so that no page is found
 * in the cache. One TSV line each: median, least, most of the repeats, and the
 * median by CPU time of the process, of all tokens of a run (which others that
 * use the machine change less).
 *
 *     build/release/tests/bench/bench_decode PATH [threads [repeats]] [exact]
 * [single]
 *
 * exact: fp32 activations; single: without the lines of several sequences.
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
#include "tests/support/flat_job.h"
#include "engine/run/model.h"
#include "models/registry.h"

#define MAX_CLIENTS 64
#define MAX_PROMPT 512
#define MAX_REPEATS 99
#define MADE 64

struct bench {
    struct engine *g;
    struct model *m;
    const struct task *task; /* generate, or classify */
    struct rng rng;
    pthread_mutex_t mu;
    pthread_cond_t cv;
    int left; /* jobs without their final event */
    int32_t ids[MAX_CLIENTS][MAX_PROMPT];
    int64_t first_us; /* when the last sequence got its first token */
    int waiting;      /* sequences without a first token */
};

struct client {
    struct bench *b;
    int begun;
};

static void on_event(void *user, const struct job_event *ev)
{
    struct client *c = user;
    struct bench *b = c->b;

    pthread_mutex_lock(&b->mu);
    if (!c->begun) {
        c->begun = 1;
        if (--b->waiting == 0)
            b->first_us = clock_now_us();
    }
    if (ev->kind != JOB_TEXT && --b->left == 0)
        pthread_cond_signal(&b->cv);
    pthread_mutex_unlock(&b->mu);
}

static void random_prompt(struct bench *b, int32_t *ids, int n)
{
    const struct tokenizer *t = model_tokenizer(b->m);
    int size = model_get_info(b->m)->cols[OUT_LOGITS];
    if (size == 0)
        size = tokenizer_size(t);

    for (int i = 0; i < n;) {
        int32_t id = (int32_t)rng_below(&b->rng, (uint64_t)size);
        if (id < tokenizer_size(t) && !tokenizer_is_special(t, id))
            ids[i++] = id;
    }
}

static double cpu_seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* Seconds for n sequences; *made tokens came out, after_first of the time went
 * by after each had its first. -1 when one failed. */
static int run(struct bench *b, int n, int prompt, int make, double *seconds,
               double *after_first, long *made)
{
    const struct generate_params params = {
        .max_tokens = make,
        .sample = {.top_p = 1.0f, .repetition_penalty = 1.0f},
        .stream = 1};
    struct job_spec spec[MAX_CLIENTS];
    struct job *job[MAX_CLIENTS];
    struct client client[MAX_CLIENTS];
    struct err e = ERR_INIT;
    int rc = 0;

    for (int i = 0; i < n; i++) {
        random_prompt(b, b->ids[i], prompt);
        client[i] = (struct client){.b = b};
        spec[i] = (struct job_spec){
            .model = b->m,
            .task = b->task,
            .params = b->task == &task_generate ? &params : NULL,
            .in = {{.p = b->ids[i], .n = prompt}},
            .on_event = on_event,
            .user = &client[i]};
    }
    b->left = b->waiting = n;
    int64_t begin = clock_now_us();
    if (engine_submit(b->g, spec, n, job, &e)) {
        fprintf(stderr, "bench_decode: %s\n", e.msg);
        return -1;
    }
    pthread_mutex_lock(&b->mu);
    while (b->left > 0)
        pthread_cond_wait(&b->cv, &b->mu);
    pthread_mutex_unlock(&b->mu);
    int64_t end = clock_now_us();
    *seconds = (double)(end - begin) * 1e-6;
    *after_first = (double)(end - b->first_us) * 1e-6;
    *made = 0;
    for (int i = 0; i < n; i++) {
        const struct err *failed = job_error(job[i]);
        if (failed && failed->code) {
            fprintf(stderr, "bench_decode: %s\n", failed->msg);
            rc = -1;
        }
        *made += failed->code ? 0
                 : b->task == &task_classify
                     ? prompt
                     : generate_result(job[i])->n_tokens;
        job_release(job[i]);
    }
    return rc;
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* One line: `repeats` runs. A greedy run may end early at an end token: the
 * rate counts what was made. */
static int line(struct bench *b, const char *what, int n, int prompt, int make,
                int repeats)
{
    double rate[MAX_REPEATS], by_cpu[MAX_REPEATS];

    for (int i = -1; i < repeats; i++) { /* -1 warms up */
        double s, after, cpu = cpu_seconds();
        long made;
        if (run(b, n, prompt, make, &s, &after, &made))
            return -1;
        double r = make == 1                             ? (double)prompt / s
                   : n == 1 || b->task == &task_classify ? (double)made / s
                   : made > n ? (double)(made - n) / after
                              : 0;
        if (i < 0)
            continue;
        rate[i] = r;
        by_cpu[i] = (double)(make == 1 ? prompt : made) / (cpu_seconds() - cpu);
    }
    qsort(rate, (size_t)repeats, sizeof(rate[0]), by_value);
    qsort(by_cpu, (size_t)repeats, sizeof(by_cpu[0]), by_value);
    printf("%s\t%d\t%s\t%.1f\t%.1f\t%.1f\t%.1f\n", engine_kernels(b->g)->name,
           engine_threads(b->g), what, rate[repeats / 2], rate[0],
           rate[repeats - 1], by_cpu[repeats / 2]);
    fflush(stdout);
    return 0;
}

static int has(int argc, char **argv, const char *word)
{
    for (int i = 2; i < argc; i++)
        if (strcmp(argv[i], word) == 0)
            return 1;
    return 0;
}

static size_t state_bytes(const struct model *m, int tokens)
{
    size_t n = m->info.state.fixed_bytes;

    for (int i = 0; i < m->info.state.n_ports; i++) {
        const struct port *l = &m->info.state.port[i];
        n += l->page_tokens == 0
                 ? 0
                 : l->page_bytes *
                       (size_t)((tokens + l->page_tokens - 1) / l->page_tokens);
    }
    return n;
}

int main(int argc, char **argv)
{
    static struct bench b = {.mu = PTHREAD_MUTEX_INITIALIZER,
                             .cv = PTHREAD_COND_INITIALIZER};
    struct engine_options o = {
        .n_threads = argc > 2 ? (int)strtol(argv[2], NULL, 10) : 0,
        .spin_us = -1,
        .state_bytes = (size_t)2 << 30,
        .exact = has(argc, argv, "exact")};
    int single = has(argc, argv, "single");
    int repeats = argc > 3 ? (int)strtol(argv[3], NULL, 10) : 5;
    struct err e = ERR_INIT;

    if (argc < 2 || repeats < 1 || repeats > MAX_REPEATS) {
        fprintf(stderr, "usage: bench_decode PATH [threads [repeats]] [exact] "
                        "[single]\n");
        return 2;
    }
    log_configure(LOG_WARN, 0);
    rng_init(&b.rng, 1);
    if (engine_open(&o, registry_archs, &b.g, &e) ||
        engine_load(b.g, "bench", argv[1], &e) ||
        engine_model(b.g, NULL, NULL, &b.m, &e)) {
        fprintf(stderr, "bench_decode: %s\n", e.msg);
        return 1;
    }
    b.task = model_can(b.m, &task_generate) ? &task_generate : &task_classify;
    printf("kernels\tthreads\twhat\ttok/s\tleast\tmost\ttok/cpu_s\n");
    int rc = line(&b, "pp64", 1, 64, 1, repeats);
    if (b.task == &task_generate) {
        if (model_max_tokens(b.m, PORT_TARGET) > MAX_PROMPT)
            rc = rc || line(&b, "pp512", 1, MAX_PROMPT, 1, repeats);
        rc = rc || line(&b, "tg64", 1, 1, MADE, repeats) ||
             (!single && line(&b, "b4", 4, MADE, MADE, repeats));
    }
    if (!single) {
        rc = rc || line(&b, "b8", 8, MADE, MADE, repeats) ||
             line(&b, "b16", 16, MADE, MADE, repeats) ||
             line(&b, "b32", 32, MADE, MADE, repeats);
    }
    printf("%s\t%d\tstate\t%zu\n", engine_kernels(b.g)->name,
           engine_threads(b.g), state_bytes(b.m, 256));
    model_release(b.m);
    engine_close(b.g);
    return rc ? 1 : 0;
}
