/* bench_engine: what the engine adds to the step. An LSTM classifier (embedding
 * 128, hidden 256, random weights, 64 tokens an item) is driven by a closed
 * loop of 1, 8 and 64 clients, all of them in one thread as in the server; for
 * comparison the same items go through step() directly, in batches as large as
 * the clients are many. One TSV line each; only ratios in one run count.
 *
 *     build/release/tests/bench/bench_engine [seconds [threads [spin_us]]]
 *
 * SPDX-License-Identifier: MIT */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "engine/base/clock.h"
#include "engine/base/log.h"
#include "engine/base/mem.h"
#include "engine/base/rng.h"
#include "engine/checkpoint/safetensors.h"
#include "engine/run/engine.h"
#include "engine/run/model.h"
#include "engine/run/task/classify.h"
#include "engine/run/pace.h"
#include "models/registry.h"

#define V 2000
#define E 128
#define H 256
#define LEN 64
#define MAX_CLIENTS 64

/* --- a checkpoint --- */

static int write_text(const char *dir, const char *name, const char *text,
                      size_t n)
{
    char path[128];
    snprintf(path, sizeof(path), "%s/%s", dir, name);
    FILE *f = fopen(path, "wb");
    if (!f)
        return -1;
    size_t done = fwrite(text, 1, n, f);
    return fclose(f) || done != n ? -1 : 0;
}

static struct save_tensor tensor(const char *name, int64_t d0, int64_t d1,
                                 struct rng *r)
{
    size_t n = (size_t)(d0 * (d1 ? d1 : 1));
    float *p = mem_array(n, sizeof(float));
    for (size_t i = 0; p && i < n; i++)
        p[i] = (float)rng_normal(r) * 0.06f;
    return (struct save_tensor){.name = name,
                                .dtype = DT_F32,
                                .n_dims = d1 ? 2 : 1,
                                .dim = {d0, d1},
                                .data = p};
}

static int make_checkpoint(char *dir, struct err *e)
{
    static const char config[] =
        "{\"model_type\":\"rnn\",\"cell\":\"lstm\",\"head\":\"classifier\","
        "\"vocab_size\":2000,\"embedding_dim\":128,\"hidden_size\":256,"
        "\"num_layers\":1,\"pooling\":\"last\",\"id2label\":{\"0\":"
        "\"negative\",\"1\":\"positive\"}}";
    static char words[V][8];
    static const char *entry[V];
    struct tokenizer_spec ts = {.normalizer = "seqd-whitespace", .unk = "w0"};
    char path[128];
    struct buf b;
    struct rng r;
    rng_init(&r, 1);
    struct save_tensor t[] = {tensor("embedding.weight", V, E, &r),
                              tensor("rnn.weight_ih_l0", 4 * H, E, &r),
                              tensor("rnn.weight_hh_l0", 4 * H, H, &r),
                              tensor("rnn.bias_ih_l0", 4 * H, 0, &r),
                              tensor("rnn.bias_hh_l0", 4 * H, 0, &r),
                              tensor("output.weight", 2, H, &r),
                              tensor("output.bias", 2, 0, &r)};
    snprintf(dir, 64, "/tmp/seqd_bench_XXXXXX");
    if (!mkdtemp(dir))
        return err_set(e, ERR_IO, "no temporary directory");
    for (int i = 0; i < V; i++) {
        snprintf(words[i], sizeof(words[i]), "w%d", i);
        entry[i] = words[i];
    }
    buf_init(&b, (size_t)1 << 22);
    snprintf(path, sizeof(path), "%s/model.safetensors", dir);
    int rc = tokenizer_build(&ts, entry, V, &b, e) ||
             write_text(dir, "tokenizer.json", b.p, b.len) ||
             write_text(dir, "config.json", config, sizeof(config) - 1) ||
             safetensors_save(path, t, 7, NULL, 0, e);
    buf_fini(&b);
    for (int i = 0; i < 7; i++)
        mem_free((void *)t[i].data);
    return rc ? err_set(e, ERR_IO, "cannot write the checkpoint") : 0;
}

static void remove_checkpoint(const char *dir)
{
    static const char *const names[] = {"config.json", "tokenizer.json",
                                        "model.safetensors"};
    char path[128];
    for (int i = 0; i < 3; i++) {
        snprintf(path, sizeof(path), "%s/%s", dir, names[i]);
        unlink(path);
    }
    rmdir(dir);
}

/* --- the closed loop --- */

struct loop {
    pthread_mutex_t mu;
    pthread_cond_t cv;
    struct job *done[MAX_CLIENTS]; /* waiting for their next request */
    int n_done, flushed;
};

static void on_event(void *user, const struct job_event *ev)
{
    struct loop *l = user;
    pthread_mutex_lock(&l->mu);
    l->done[l->n_done++] = ev->job;
    pthread_mutex_unlock(&l->mu);
}

static void on_flush(void *ctx)
{
    struct loop *l = ctx;
    pthread_mutex_lock(&l->mu);
    l->flushed = 1;
    pthread_mutex_unlock(&l->mu);
    pthread_cond_signal(&l->cv);
}

static int submit(struct engine *g, struct model *m, struct loop *l,
                  const int32_t *ids)
{
    struct job_spec s = {.model = m,
                         .task = &task_classify,
                         .in = {{.p = ids, .n = LEN}},
                         .on_event = on_event,
                         .user = l};
    struct job *j;
    return engine_submit(g, &s, 1, &j, NULL);
}

static double run_loop(struct engine *g, struct model *m, struct loop *l,
                       const int32_t *ids, int clients, double seconds)
{
    int64_t begin = clock_now_us();
    int64_t until = begin + (int64_t)(seconds * 1e6);
    long n = 0;
    int open = 0;
    for (; open < clients; open++)
        submit(g, m, l, ids + open * LEN);
    while (open > 0) {
        struct job *done[MAX_CLIENTS];
        pthread_mutex_lock(&l->mu);
        while (!l->flushed)
            pthread_cond_wait(&l->cv, &l->mu);
        int k = l->n_done;
        memcpy(done, l->done, (size_t)k * sizeof(struct job *));
        l->n_done = l->flushed = 0;
        pthread_mutex_unlock(&l->mu);
        int more = clock_now_us() < until;
        for (int i = 0; i < k; i++) {
            job_release(done[i]);
            n++;
            open -= !more || submit(g, m, l, ids + i * LEN);
        }
    }
    return (double)n / ((double)(clock_now_us() - begin) * 1e-6);
}

/* --- step() itself --- */

static double run_steps(const struct model *m, struct pool *pool,
                        const struct kernels *k, const int32_t *ids,
                        int clients, double seconds)
{
    int threads = pool_threads(pool), chain = m->info.max_chain;
    size_t bytes = m->info.state.fixed_bytes;
    char *state = mem_aligned(bytes * 2 * (size_t)clients);
    float *rows = mem_floats((size_t)clients * 16);
    const struct step_size most = {.items = clients,
                                   .tokens = {clients * chain},
                                   .rows = clients,
                                   .threads = threads,
                                   .longest = LEN};
    void *scratch = mem_aligned(m->arch->scratch_bytes(m->self, &most));
    struct batch_item *it = mem_zarray((size_t)clients, sizeof *it);
    struct want *w = mem_zarray((size_t)clients, sizeof *w);
    struct seq_state *s = mem_zarray((size_t)clients, sizeof *s);
    long n = 0;
    int64_t begin = clock_now_us();
    int64_t until = begin + (int64_t)(seconds * 1e6);
    while (state && rows && scratch && it && w && s && clock_now_us() < until) {
        memset(s, 0, (size_t)clients * sizeof *s);
        memset(state, 0, bytes * 2 * (size_t)clients);
        for (int at = 0; at < LEN; at += chain) {
            int last = at + chain >= LEN, len = last ? LEN - at : chain;
            struct batch b = {it, clients, clients * len, last ? clients : 0};
            struct exec x = {
                k, pool, scratch,
                pace_most(pace_work(&m->info, b.n_tokens, b.n_rows), threads)};
            for (int i = 0; i < clients; i++) {
                char *p = state + bytes * 2 * (size_t)i;
                int odd = at / chain % 2;
                w[i] = (struct want){
                    .kind = OUT_CLASS, .n = 1, .dst = rows + i * 16, .ld = 16};
                it[i] = (struct batch_item){.seq = &s[i],
                                            .fixed_in = p + (odd ? bytes : 0),
                                            .fixed_out = p + (odd ? 0 : bytes),
                                            .in = {.unit = UNIT_TOKENS,
                                                   .p = ids + i * LEN + at,
                                                   .n = len},
                                            .w = &w[i],
                                            .n_w = last};
            }
            pool_acquire(pool);
            m->arch->step(m->self, &x, &b, NULL);
            pool_release(pool);
            for (int i = 0; i < clients; i++)
                s[i].len[0] += len;
        }
        n += clients;
    }
    double rate = (double)n / ((double)(clock_now_us() - begin) * 1e-6);
    mem_aligned_free(state);
    mem_aligned_free(rows);
    mem_aligned_free(scratch);
    mem_free(it);
    mem_free(w);
    mem_free(s);
    return rate;
}

int main(int argc, char **argv)
{
    static int32_t ids[MAX_CLIENTS * LEN];
    static const int clients[] = {1, 8, 64};
    double seconds = argc > 1 ? strtod(argv[1], NULL) : 1;
    struct loop l = {.mu = PTHREAD_MUTEX_INITIALIZER,
                     .cv = PTHREAD_COND_INITIALIZER};
    struct engine_options o = {
        .n_threads = argc > 2 ? (int)strtol(argv[2], NULL, 10) : 0,
        .runner_spin_us = argc > 3 ? (int)strtol(argv[3], NULL, 10) : 0,
        .spin_us = -1,
        .fold_bytes = (size_t)64 << 20,
        .flush = on_flush,
        .ctx = &l};
    struct engine *g = NULL;
    struct model *m = NULL;
    struct pool *pool = NULL;
    struct err e = ERR_INIT;
    char dir[64];
    struct rng r;

    log_configure(LOG_WARN, 0);
    rng_init(&r, 2);
    for (int i = 0; i < MAX_CLIENTS * LEN; i++)
        ids[i] = 1 + (int32_t)rng_below(&r, V - 1);
    if (make_checkpoint(dir, &e) || engine_open(&o, registry_archs, &g, &e) ||
        engine_load(g, "bench", dir, &e) ||
        engine_model(g, NULL, &task_classify, &m, &e)) {
        fprintf(stderr, "bench_engine: %s\n", e.msg);
        return 1;
    }
    remove_checkpoint(dir);
    printf("kernels\tthreads\tclients\tengine/s\tstep/s\tratio\n");
    for (int i = 0; i < 3; i++) {
        double a = run_loop(g, m, &l, ids, clients[i], seconds);
        if (pool_open(engine_threads(g), 50, &pool, &e))
            return 1;
        double b =
            run_steps(m, pool, engine_kernels(g), ids, clients[i], seconds);
        pool_close(pool);
        printf("%s\t%d\t%d\t%.0f\t%.0f\t%.3f\n", engine_kernels(g)->name,
               engine_threads(g), clients[i], a, b, a / b);
    }
    model_release(m);
    engine_close(g);
    return 0;
}
