/* step: batches, steps and validation (train.h).
 *
 * A language model reads one stream a epoch, cut into `batch` lanes that run
 * side by side with their states carried on; the stream is turned by a random
 * amount first, so that lanes and chunks fall elsewhere each time. A
 * classifier's items are shuffled, sorted by length within pools of batches
 * (so that little of a batch ends early), and the batches shuffled again.
 *
 * SPDX-License-Identifier: MIT */
#include <stdlib.h>

#include "engine/base/mem.h"
#include "models/train/train.h"

#define POOL_BATCHES 50 /* batches that are sorted together */

int feed_init(struct feed *f, int max_T, int max_N, int max_B, struct err *e)
{
    f->n = mem_array((size_t)max_T, sizeof *f->n);
    f->off = mem_array((size_t)max_T + 1, sizeof *f->off);
    f->pick = mem_array((size_t)max_N, sizeof *f->pick);
    f->start = mem_array((size_t)max_B + 1, sizeof *f->start);
    f->ids = mem_array((size_t)max_N, sizeof *f->ids);
    f->target = mem_array((size_t)max_N, sizeof *f->target);
    f->length = mem_array((size_t)max_B, sizeof *f->length);
    if (f->n == NULL || f->off == NULL || f->start == NULL || f->ids == NULL ||
        f->pick == NULL || f->target == NULL || f->length == NULL)
        return err_nomem(e);
    f->batch = (struct pass_batch){.steps = {.n = f->n, .off = f->off},
                                   .start = f->start,
                                   .pick = f->pick,
                                   .ids = f->ids,
                                   .target = f->target,
                                   .length = f->length};
    return 0;
}

void feed_fini(struct feed *f)
{
    mem_free(f->n);
    mem_free(f->off);
    mem_free(f->start);
    mem_free(f->pick);
    mem_free(f->ids);
    mem_free(f->target);
    mem_free(f->length);
    memset(f, 0, sizeof *f);
}

/* Lanes of the whole batch: lane r has [first, first + length) of the
 * predictions of a stream of n tokens. The last lanes are one shorter. */
static int64_t lane_first(int64_t predictions, int lanes, int r)
{
    int64_t each = predictions / lanes, more = predictions % lanes;
    return r * each + (r < more ? r : more);
}

/* The share of worker tid of a chunk of t->T steps at t->position. */
static void fill_stream(const struct trainer *t, struct feed *f, int tid)
{
    int B = t->o.batch, k = t->n_workers;
    int from = B * tid / k, to = B * (tid + 1) / k;
    int64_t all = t->n_stream - 1;
    int N = 0;
    for (int s = 0; s < t->T; s++) {
        f->off[s] = N;
        for (int r = from; r < to; r++) {
            int64_t at = lane_first(all, B, r) + t->position + s;
            if (at >= lane_first(all, B, r + 1))
                break; /* so are all lanes after it */
            f->ids[N] = t->stream[at];
            f->target[N++] = t->stream[at + 1];
        }
        f->n[s] = N - f->off[s];
    }
    f->off[t->T] = N;
    f->batch.steps.T = t->T;
    f->batch.steps.N = N;
    f->batch.B = to - from;
}

/* The same for a Transformer: the lanes' chunks one after the other. */
static void fill_windows(const struct trainer *t, struct feed *f, int tid)
{
    int lanes = t->o.batch, k = t->n_workers;
    int from = lanes * tid / k, to = lanes * (tid + 1) / k;
    int64_t all = t->n_stream - 1;
    int N = 0, B = 0;
    for (int r = from; r < to; r++) {
        int64_t at = lane_first(all, lanes, r) + t->position;
        int64_t left = lane_first(all, lanes, r + 1) - at;
        int n = (int)(left < t->T ? left : t->T);
        if (n <= 0)
            continue;
        f->start[B++] = N;
        for (int i = 0; i < n; i++, N++) {
            f->ids[N] = t->stream[at + i];
            f->target[N] = t->stream[at + i + 1];
        }
    }
    f->start[B] = N;
    f->batch.steps.N = N;
    f->batch.B = B;
}

/* Choose what a masked model predicts, as BERT does: of the chosen tokens 80 %
 * become the unknown entry, 10 % any entry, the rest stay. Special tokens are
 * not chosen. A causal one predicts what comes next, everywhere. */
static void mask_tokens(const struct trainer *t, struct feed *f, uint64_t key)
{
    int32_t unk = tokenizer_unk(t->tokenizer);
    int n = 0;
    f->batch.n_pick = f->batch.steps.N;
    for (int i = 0; i < f->batch.steps.N; i++)
        f->pick[i] = i;
    if (t->net.c.causal)
        return;
    for (int i = 0; i < f->batch.steps.N; i++) {
        int32_t id = f->ids[i];
        if (rng_uniform_at(key, (uint64_t)i) >= t->o.mask_rate ||
            tokenizer_is_special(t->tokenizer, id))
            continue;
        double way = rng_uniform_at(key ^ 1, (uint64_t)i);
        double any = rng_uniform_at(key ^ 2, (uint64_t)i);
        f->pick[n] = i;
        f->target[n++] = id;
        if (way < 0.8)
            f->ids[i] = unk;
        else if (way < 0.9)
            f->ids[i] = (int32_t)(any * t->net.c.V);
    }
    f->batch.n_pick = n;
}

static int64_t length_of(const struct corpus *c, int32_t item)
{
    return c->start[item + 1] - c->start[item];
}

/* Every n_workers-th item of the batch, which is sorted by falling length. */
static void fill_items(const struct trainer *t, struct feed *f, int tid)
{
    const struct corpus *c = t->corpus;
    int B = 0, N = 0, T = 0, k = t->n_workers;
    for (int i = tid; i < t->n_items; i += k) {
        f->target[B] = c->label[t->items[i]];
        f->length[B++] = (int)length_of(c, t->items[i]);
    }
    T = B > 0 ? f->length[0] : 0;
    for (int s = 0; s < T; s++) {
        int r = 0;
        f->off[s] = N;
        for (; r < B && f->length[r] > s; r++)
            f->ids[N++] = c->ids[c->start[t->items[tid + r * k]] + s];
        f->n[s] = r;
    }
    f->off[T] = N;
    f->batch.steps.T = T;
    f->batch.steps.N = N;
    f->batch.B = B;
}

/* The same for a Transformer: one item after the other. */
static void fill_texts(const struct trainer *t, struct feed *f, int tid)
{
    const struct corpus *c = t->corpus;
    int B = 0, N = 0;
    for (int i = tid; i < t->n_items; i += t->n_workers) {
        int n = (int)length_of(c, t->items[i]);
        f->target[B] = c->label[t->items[i]];
        f->start[B++] = N;
        memcpy(f->ids + N, c->ids + c->start[t->items[i]],
               (size_t)n * sizeof *f->ids);
        N += n;
    }
    f->start[B] = N;
    f->batch.steps.N = N;
    f->batch.B = B;
}

static void fill(const struct trainer *t, struct feed *f, int tid)
{
    if (t->net.c.kind != NET_RNN)
        (t->net.c.C > 0 ? fill_texts : fill_windows)(t, f, tid);
    else
        (t->net.c.C > 0 ? fill_items : fill_stream)(t, f, tid);
}

static void drop_to_unknown(const struct trainer *t, struct feed *f,
                            uint64_t key)
{
    int32_t unk = tokenizer_unk(t->tokenizer);
    if (t->o.unk_rate <= 0 || unk < 0)
        return;
    for (int i = 0; i < f->batch.steps.N; i++)
        if (rng_uniform_at(key, (uint64_t)i) < t->o.unk_rate)
            f->ids[i] = unk;
}

static void average_share(const struct trainer *t, int tid)
{
    size_t lines = t->net.n / 16, k = (size_t)t->n_workers;
    size_t from = lines * (size_t)tid / k * 16;
    size_t to = lines * (size_t)(tid + 1) / k * 16;
    double n = (double)t->at.n_average + 1, keep = 1 - 1 / n;
    if (t->o.average == AVERAGE_EMA) {
        double slow = pow(t->o.average_decay, AVERAGE_EVERY);
        keep = slow < n / (n + 9) ? slow : n / (n + 9);
    }
    vec_scale(to - from, (real)keep, t->average + from);
    vec_axpy(to - from, (real)(1 - keep), t->w + from, t->average + from);
}

static void run_step(void *arg, int tid, int n_threads)
{
    struct trainer *t = arg;
    struct worker *w = &t->worker[tid];
    struct pass_opts o = t->opts;
    (void)n_threads;
    fill(t, &w->feed, tid);
    if (net_is_masked(&t->net))
        mask_tokens(t, &w->feed, rng_hash(o.key, 1001));
    o.key = rng_hash(o.key, (uint64_t)tid);
    if (!t->update) {
        w->loss = pass_run(&w->eval, &w->feed.batch, t->weights, &o, NULL);
        return;
    }
    drop_to_unknown(t, &w->feed, rng_hash(o.key, 1000));
    w->loss = pass_run(&w->pass, &w->feed.batch, t->weights, &o, w->grad);
    pool_barrier(t->pool);
    w->squares = optim_reduce(&t->job, tid);
    pool_barrier(t->pool);
    double squares = 0;
    for (int i = 0; i < t->n_workers; i++)
        squares += t->worker[i].squares;
    struct optim_job j = t->job;
    j.factor = optim_clip_factor(squares, t->o.clip);
    optim_update(&j, tid);
    if (t->average != NULL && t->at.step % AVERAGE_EVERY == 0) {
        pool_barrier(t->pool); /* shares of the average are cut otherwise */
        average_share(t, tid);
    }
}

static void run_workers(struct trainer *t)
{
    pool_acquire(t->pool);
    pool_run(t->pool, t->n_workers, run_step, t);
    pool_release(t->pool);
}

static int by_length(const void *a, const void *b)
{
    const int64_t *x = a, *y = b; /* length, item */
    if (x[0] != y[0])
        return x[0] < y[0] ? 1 : -1;
    return (x[1] > y[1]) - (x[1] < y[1]);
}

/* Sort items [n] by falling length; pairs [2 n] is scratch. */
static void sort_items(const struct corpus *c, int32_t *items, int n,
                       int64_t *pairs)
{
    for (int i = 0; i < n; i++) {
        pairs[2 * i] = length_of(c, items[i]);
        pairs[2 * i + 1] = items[i];
    }
    qsort(pairs, (size_t)n, 2 * sizeof *pairs, by_length);
    for (int i = 0; i < n; i++)
        items[i] = (int32_t)pairs[2 * i + 1];
}

static int begin_items(struct trainer *t, struct rng *r, struct err *e)
{
    int B = t->o.batch, n = t->n_order, pool = B * POOL_BATCHES;
    int64_t *pairs = mem_array((size_t)n, 2 * sizeof *pairs);
    t->steps = (n + B - 1) / B;
    t->batch_first = mem_array((size_t)t->steps + 1, sizeof(int));
    if (pairs == NULL || t->batch_first == NULL) {
        mem_free(pairs);
        return err_nomem(e);
    }
    for (int i = 0; i < n; i += pool)
        sort_items(&t->train, t->order + i, n - i < pool ? n - i : pool, pairs);
    mem_free(pairs);
    for (int i = 0; i < t->steps; i++)
        t->batch_first[i] = i * B;
    for (int i = (int)t->steps - 1; i > 0; i--) {
        int k = (int)rng_below(r, (uint32_t)i + 1), x = t->batch_first[i];
        t->batch_first[i] = t->batch_first[k];
        t->batch_first[k] = x;
    }
    return 0;
}

/* Turn the stream left by k tokens. */
static int turn(int32_t *v, int64_t n, int64_t k, struct err *e)
{
    if (v == NULL || k <= 0)
        return 0;
    int32_t *head = mem_array((size_t)k + 1, sizeof *head);
    if (head == NULL)
        return err_nomem(e);
    memcpy(head, v, (size_t)k * sizeof *v);
    memmove(v, v + k, (size_t)(n - k) * sizeof *v);
    memcpy(v + n - k, head, (size_t)k * sizeof *v);
    mem_free(head);
    return 0;
}

static int begin_stream(struct trainer *t, struct rng *r, struct err *e)
{
    if (corpus_stream(&t->train, t->order, t->n_order,
                      tokenizer_eos(t->tokenizer), &t->stream, &t->n_stream,
                      e) != 0)
        return -1;
    int64_t k = (int64_t)(rng_uniform(r) * (double)t->n_stream);
    if (turn(t->stream, t->n_stream, k, e) != 0)
        return -1;
    /* whole lanes of one length */
    int64_t each = (t->n_stream - 1) / t->o.batch;
    if (each < 1)
        return err_set(e, ERR_INVALID,
                       "%lld training tokens are too few for %d lanes",
                       (long long)t->n_stream, t->o.batch);
    t->n_stream = each * t->o.batch + 1;
    t->steps = (each + t->o.bptt - 1) / t->o.bptt;
    return 0;
}

int trainer_begin_epoch(struct trainer *t, struct err *e)
{
    struct rng r;
    rng_init(&r,
             rng_hash((uint64_t)t->o.seed, 1000000 + (uint64_t)t->at.epoch));
    trainer_end_epoch(t);
    t->order = mem_array((size_t)t->train.n_records + 1, sizeof *t->order);
    if (t->order == NULL)
        return err_nomem(e);
    int shuffle = t->net.c.C > 0 || t->o.shuffle;
    t->n_order = corpus_order(&t->train, shuffle, &r, t->order);
    for (int i = 0; i < t->n_workers && t->at.in_epoch == 0; i++)
        pass_reset_state(&t->worker[i].pass);
    return t->net.c.C > 0 ? begin_items(t, &r, e) : begin_stream(t, &r, e);
}

void trainer_end_epoch(struct trainer *t)
{
    mem_free(t->order);
    mem_free(t->stream);
    mem_free(t->batch_first);
    t->order = t->stream = NULL;
    t->batch_first = NULL;
}

/* Point the step at batch i of the epoch. Returns its rows. */
static int64_t aim(struct trainer *t, int64_t i)
{
    if (t->net.c.C > 0) {
        int first = t->batch_first[i];
        t->corpus = &t->train;
        t->items = t->order + first;
        t->n_items = t->n_order - first;
        t->n_items = t->n_items < t->o.batch ? t->n_items : t->o.batch;
        return t->n_items;
    }
    int64_t each = (t->n_stream - 1) / t->o.batch;
    t->position = i * t->o.bptt;
    int64_t left = each - t->position;
    t->T = (int)(left < t->o.bptt ? left : t->o.bptt);
    return (int64_t)t->T * t->o.batch;
}

void trainer_step(struct trainer *t, double lr, double *loss, int64_t *rows)
{
    uint64_t key =
        rng_hash((uint64_t)t->o.seed ^ 0x5eedu, (uint64_t)t->at.step);
    *rows = aim(t, t->at.in_epoch);
    t->opts = (struct pass_opts){.train = 1,
                                 .key = key,
                                 .word_key = (uint32_t)rng_hash(key, 99),
                                 .scale = (real)(1.0 / (double)*rows),
                                 .smoothing = (real)t->o.smoothing};
    if (net_is_masked(&t->net) && !t->net.c.causal)
        t->opts.scale /= (real)t->o.mask_rate;
    if (t->optim.sampled) {
        struct rng r;
        rng_init(&r, rng_hash(key, 98));
        noise_set_draw(&t->set, &t->noise, &r);
        t->opts.noise = &t->noise;
        t->opts.set = &t->set;
    }
    t->weights = t->w;
    t->update = 1;
    t->optim.step++;
    t->job.lr = (real)lr;
    run_workers(t);
    optim_forget(&t->job);
    if (t->average != NULL && t->at.step % AVERAGE_EVERY == 0)
        t->at.n_average++;
    *loss = 0;
    *rows = net_is_masked(&t->net) ? 0 : *rows;
    for (int i = 0; i < t->n_workers; i++) {
        *loss += t->worker[i].loss;
        if (net_is_masked(&t->net))
            *rows += t->worker[i].feed.batch.n_pick;
        t->at.tokens += t->worker[i].feed.batch.steps.N;
    }
}

static void validate_batch(struct trainer *t, struct score_sum *s)
{
    run_workers(t);
    for (int i = 0; i < t->n_workers; i++) {
        const struct worker *w = &t->worker[i];
        s->nats += w->loss;
        s->rows += pass_rows(&t->net, &w->feed.batch);
        for (int r = 0; t->net.c.C > 0 && r < w->feed.batch.B; r++) {
            const real *p = w->eval.prob + (size_t)r * (size_t)t->net.c.C;
            int best = 0;
            for (int k = 1; k < t->net.c.C; k++)
                best = p[k] > p[best] ? k : best;
            s->right += best == w->feed.target[r];
        }
    }
}

static int validate_items(struct trainer *t, const struct corpus *c,
                          struct score_sum *s, struct err *e)
{
    int32_t *order = mem_array((size_t)c->n_records, sizeof *order);
    int64_t *pairs = mem_array((size_t)c->n_records, 2 * sizeof *pairs);
    if (order == NULL || pairs == NULL) {
        mem_free(order);
        mem_free(pairs);
        return err_nomem(e);
    }
    for (int i = 0; i < c->n_records; i++)
        order[i] = i;
    sort_items(c, order, c->n_records, pairs);
    t->corpus = c;
    for (int i = 0; i < c->n_records; i += t->o.batch) {
        int left = c->n_records - i;
        t->items = order + i;
        t->n_items = left < t->o.batch ? left : t->o.batch;
        validate_batch(t, s);
    }
    mem_free(order);
    mem_free(pairs);
    return 0;
}

static int validate_stream(struct trainer *t, const struct corpus *c,
                           struct score_sum *s, struct err *e)
{
    int32_t *order = mem_array((size_t)c->n_records, sizeof *order);
    int32_t *stream = t->stream;
    int64_t n_stream = t->n_stream;
    if (order == NULL)
        return err_nomem(e);
    for (int i = 0; i < c->n_records; i++)
        order[i] = i;
    int rc = corpus_stream(c, order, c->n_records, tokenizer_eos(t->tokenizer),
                           &t->stream, &t->n_stream, e);
    mem_free(order);
    if (rc == 0) {
        int64_t longest = lane_first(t->n_stream - 1, t->o.batch, 1);
        for (int i = 0; i < t->n_workers; i++)
            pass_reset_state(&t->worker[i].eval);
        for (t->position = 0; t->position < longest; t->position += t->o.bptt) {
            int64_t left = longest - t->position;
            t->T = (int)(left < t->o.bptt ? left : t->o.bptt);
            validate_batch(t, s);
        }
        mem_free(t->stream);
    }
    t->stream = stream;
    t->n_stream = n_stream;
    return rc;
}

int trainer_validate(struct trainer *t, const struct corpus *c, real *w,
                     struct score_sum *s, struct err *e)
{
    memset(s, 0, sizeof *s);
    t->opts = (struct pass_opts){.scale = (real)1};
    t->weights = w;
    t->update = 0;
    return t->net.c.C > 0 ? validate_items(t, c, s, e)
                          : validate_stream(t, c, s, e);
}
