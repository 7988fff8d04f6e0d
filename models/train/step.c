/* step: epochs, steps and validation (train.h).
 *
 * SPDX-License-Identifier: MIT */
#include "engine/base/mem.h"
#include "models/train/train.h"

/* Of pairs what is no word stays: the language, the start, the end. */
static void drop_ids(const struct trainer *t, int n, int32_t *ids, uint64_t key)
{
    for (int i = 0; i < n; i++)
        if (rng_uniform_at(key, (uint64_t)i) < t->o.unk_rate &&
            !(t->objective->pairs &&
              tokenizer_is_special(t->tokenizer, ids[i])))
            ids[i] = tokenizer_unk(t->tokenizer);
}

static void drop_to_unknown(const struct trainer *t, struct pass_batch *b,
                            uint64_t key)
{
    if (t->o.unk_rate <= 0 || t->tokenizer == NULL ||
        tokenizer_unk(t->tokenizer) < 0)
        return;
    drop_ids(t, b->N, b->ids, key);
    drop_ids(t, b->source.N, b->source.ids, key ^ 1);
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

/* That of a trigger begins with what loop.c puts there. */
static int average_is_due(const struct trainer *t)
{
    return t->average != NULL && t->o.average != AVERAGE_LAST &&
           (t->o.average != AVERAGE_TRIGGER || t->at.n_average > 0) &&
           t->at.step % AVERAGE_EVERY == 0;
}

static void update(struct trainer *t, int tid)
{
    double squares = 0;
    pool_barrier(t->pool);
    t->worker[tid].squares = optim_reduce(&t->optim, tid);
    pool_barrier(t->pool);
    for (int i = 0; i < t->n_workers; i++)
        squares += t->worker[i].squares;
    if (tid == 0)
        t->norm = sqrt(squares);
    optim_update(&t->optim, tid, optim_clip_factor(squares, t->o.clip));
    if (average_is_due(t)) {
        pool_barrier(t->pool); /* shares of the average are cut otherwise */
        average_share(t, tid);
    }
}

static void run_worker(void *arg, int tid, int n_threads)
{
    struct trainer *t = arg;
    struct worker *w = &t->worker[tid];
    struct pass_opts o = t->opts;
    (void)n_threads;
    t->objective->fill(t->course, t, tid, &w->feed);
    t->net.family->pack(&w->feed);
    if (t->objective->choose != NULL)
        t->objective->choose(t, &w->feed, rng_hash(o.key, 1001));
    o.key = rng_hash(o.key, (uint64_t)tid);
    if (o.train)
        drop_to_unknown(t, &w->feed.batch, rng_hash(o.key, 1000));
    w->loss = pass_run(o.train ? &w->pass : &w->eval, &w->feed.batch,
                       t->weights, &o, t->optim.grad[tid]);
    if (o.train && t->last_part)
        update(t, tid);
}

static void run_workers(struct trainer *t)
{
    pool_acquire(t->pool);
    pool_run(t->pool, t->n_workers, run_worker, t);
    pool_release(t->pool);
}

void course_fini(struct course *c)
{
    mem_free(c->order);
    mem_free(c->stream);
    mem_free(c->first);
    mem_free(c->turn);
    mem_free(c->text_at);
    mem_free(c->text_n);
    memset(c, 0, sizeof *c);
}

int trainer_course(struct course *c, const struct trainer *t,
                   const struct corpus *corpus, int only, struct rng *r,
                   struct err *e)
{
    int64_t most = corpus_most(corpus);
    memset(c, 0, sizeof *c);
    c->corpus = corpus;
    if (most > DATA_MAX_RECORDS)
        return err_set(e, ERR_TOO_LARGE, "an epoch has more than %d records",
                       DATA_MAX_RECORDS);
    c->order = mem_array((size_t)most, sizeof *c->order);
    if (c->order == NULL)
        return err_nomem(e);
    const struct objective *g = t->objective;
    int shuffle = g->labelled || g->pairs || g->alone || t->o.shuffle;
    c->n_order = corpus_order(corpus, shuffle, only, r, c->order);
    return t->objective->begin(c, t, r, e);
}

int trainer_begin_epoch(struct trainer *t, struct err *e)
{
    struct rng r;
    rng_init(&r,
             rng_hash((uint64_t)t->o.seed, 1000000 + (uint64_t)t->at.epoch));
    for (int i = 0; i < t->n_workers && t->at.in_epoch == 0; i++)
        pass_reset_state(&t->worker[i].pass);
    course_fini(&t->epoch);
    if (trainer_course(&t->epoch, t, &t->train, -1, &r, e) != 0)
        return -1;
    if (t->epoch.steps == 0)
        return err_set(e, ERR_INVALID,
                       "an epoch has no records: take more of each file than "
                       "--data FILE:SHARE says");
    return t->at.in_epoch <= t->epoch.steps
               ? 0
               : err_set(e, ERR_FORMAT,
                         "state.bin says that %lld steps of an epoch of %lld "
                         "are done: it is damaged, or --bptt or the data are "
                         "not those of the first run",
                         (long long)t->at.in_epoch, (long long)t->epoch.steps);
}

/* The sum of what the workers' losses are of. */
static int64_t count_targets(const struct trainer *t)
{
    int64_t n = 0;
    for (int i = 0; i < t->n_workers; i++)
        n += t->worker[i].feed.batch.n_target;
    return n;
}

static void count_norm(struct trainer *t)
{
    struct norm_sum *s = &t->norms;
    s->steps++;
    s->sum += t->norm;
    s->largest = t->norm > s->largest ? t->norm : s->largest;
    s->clipped += t->o.clip > 0 && t->norm > t->o.clip;
}

static void set_noise(struct trainer *t, uint64_t key)
{
    struct rng r;
    if (!t->optim.sampled)
        return;
    rng_init(&r, rng_hash(key, 98));
    noise_draw(&t->noise, &r);
    t->opts.noise = &t->noise;
}

void trainer_step(struct trainer *t, double lr, double *loss, int64_t *rows)
{
    uint64_t key =
        rng_hash((uint64_t)t->o.seed ^ 0x5eedu, (uint64_t)t->at.step);
    int64_t left = t->epoch.steps - t->at.in_epoch, targets = 0;
    int64_t parts = t->o.accumulate < left ? t->o.accumulate : left;
    for (int64_t i = 0; i < parts; i++)
        targets += t->objective->aim(&t->epoch, t, t->at.in_epoch + i);
    t->opts = (struct pass_opts){.train = 1,
                                 .fresh = t->objective->fresh,
                                 .word_key = (uint32_t)rng_hash(key, 99),
                                 .scale = (real)(1.0 / (double)targets),
                                 .smoothing = (real)t->o.smoothing};
    if (t->objective->masked)
        t->opts.scale /= (real)t->o.mask_rate;
    set_noise(t, key);
    t->course = &t->epoch;
    t->weights = t->w;
    t->optim.step++;
    if (t->o.bptt_random) /* a short chunk says less */
        lr *= (double)targets /
              ((double)parts * t->epoch.lanes * (double)t->o.bptt);
    t->optim.lr = (real)lr;
    *rows = 0;
    *loss = 0;
    for (int64_t i = 0; i < parts; i++) {
        t->objective->aim(&t->epoch, t, t->at.in_epoch++);
        t->opts.key = i == 0 ? key : rng_hash(key, 2000 + (uint64_t)i);
        t->last_part = i == parts - 1;
        run_workers(t);
        *rows += count_targets(t);
        for (int k = 0; k < t->n_workers; k++) {
            *loss += t->worker[k].loss;
            t->at.tokens += t->worker[k].feed.batch.N;
        }
    }
    optim_forget(&t->optim);
    count_norm(t);
    t->at.n_average += average_is_due(t);
}

static int count_right(const struct worker *w, int labels)
{
    int right = 0;
    for (int r = 0; r < w->feed.batch.B; r++) {
        const real *p = w->eval.prob + (size_t)r * (size_t)labels;
        int best = 0;
        for (int k = 1; k < labels; k++)
            best = p[k] > p[best] ? k : best;
        right += best == w->feed.batch.target[r];
    }
    return right;
}

static int validate_file(struct trainer *t, const struct corpus *corpus,
                         int file, struct score *s, struct err *e)
{
    struct course c;
    int rc = trainer_course(&c, t, corpus, file, NULL, e);
    memset(s, 0, sizeof *s);
    t->course = &c;
    for (int i = 0; i < t->n_workers; i++)
        pass_reset_state(&t->worker[i].eval);
    for (int64_t i = 0; rc == 0 && i < c.steps; i++) {
        t->objective->aim(&c, t, i);
        run_workers(t);
        s->rows += count_targets(t);
        for (int k = 0; k < t->n_workers; k++) {
            s->nats += t->worker[k].loss;
            if (t->objective->labelled)
                s->right += count_right(&t->worker[k], t->net.C);
        }
    }
    course_fini(&c);
    return rc;
}

int trainer_validate(struct trainer *t, const struct corpus *corpus, real *w,
                     struct score_sum *s, struct err *e)
{
    memset(s, 0, sizeof *s);
    t->opts =
        (struct pass_opts){.fresh = t->objective->fresh, .scale = (real)1};
    t->weights = w;
    s->n_files = corpus->n_files;
    for (int f = 0; f < s->n_files; f++) {
        if (corpus->first[f + 1] == corpus->first[f])
            continue;
        if (validate_file(t, corpus, f, &s->file[f], e) != 0)
            return -1;
        s->all.rows += s->file[f].rows;
        s->all.right += s->file[f].right;
        s->all.nats += s->file[f].nats;
    }
    return 0;
}
