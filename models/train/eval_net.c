/* eval_net: see eval_net.h.
 *
 * SPDX-License-Identifier: MIT */
#include "models/train/eval_net.h"

#include "engine/base/mem.h"
#include "engine/checkpoint/checkpoint.h"
#include "models/train/data.h"
#include "models/train/load.h"
#include "models/train/objective.h"
#include "models/train/pass.h"
#include "models/train/trainable.h"
#include "models/train/vectors.h"

#define CHUNK 128 /* tokens of a forward pass */
#define BATCH 32  /* sequences of one */

struct bench {
    const struct options *o;
    struct net net;
    real *w;
    struct blas blas;
    struct tokenizer *tokenizer;
    struct corpus corpus;
    int32_t *stream;
    int64_t n_stream;
    int apart; /* each record is a text of its own (seqd_apart) */
    struct pass pass;
    struct feed feed;
    struct region mem;
    real *h;     /* [cache, Q] a ring */
    int32_t *id; /* [cache] the word after each */
    real *score; /* [cache] */
    int64_t seen;
    double nats, plain;
};

/* ---- what is read ---- */

/* As `seqd eval` cuts files (eval.h). */
static int read_kind(struct bench *b, struct checkpoint *from,
                     enum record_kind *kind, struct err *e)
{
    const struct options *o = b->o;
    const struct hparams *h = checkpoint_hparams(from, e);
    const char *name;
    *kind = (enum record_kind)o->record;
    if (h == NULL ||
        hparams_string_or(h, "seqd_record", "auto", &name, e) != 0 ||
        hparams_bool_or(h, "seqd_apart", 0, &b->apart, e) != 0)
        return -1;
    b->apart = b->apart && tokenizer_eos(b->tokenizer) >= 0;
    if (*kind == RECORD_AUTO && records_kind_find(name) > RECORD_AUTO)
        *kind = (enum record_kind)records_kind_find(name);
    return data_kind(o->data, kind, e);
}

static int read_text(struct bench *b, struct err *e)
{
    struct checkpoint *from;
    struct data_format f = {0};
    const char *dir = b->o->model;
    int32_t *order;
    if (checkpoint_open(dir, dir, &from, e) != 0)
        return -1;
    int rc = tokenizer_open(from, &b->tokenizer, e);
    if (rc == 0)
        rc = read_kind(b, from, &f.record, e);
    checkpoint_close(from);
    if (rc != 0 ||
        corpus_read(&b->corpus, b->o->data, &f, b->tokenizer, e) != 0)
        return -1;
    order = mem_array((size_t)b->corpus.n_records, sizeof *order);
    if (order == NULL)
        return err_nomem(e);
    int n = corpus_order(&b->corpus, 0, -1, NULL, order);
    rc = corpus_stream(&b->corpus, order, n, tokenizer_eos(b->tokenizer),
                       &b->stream, &b->n_stream, e);
    mem_free(order);
    return rc;
}

static int open_bench(struct bench *b, struct err *e)
{
    const struct feed_size most = {.T = CHUNK, .N = CHUNK, .B = 1};
    size_t n = (size_t)b->o->cache_size;
    if (load_net(b->o->model, &b->net, &b->w, e) != 0)
        return -1;
    if (b->net.C > 0 || b->net.family != &rnn_trainable)
        return err_set(e, ERR_UNSUPPORTED,
                       "--cache-size is for recurrent language models");
    if (read_text(b, e) != 0 || blas_open(&b->blas, e) != 0 ||
        feed_init(&b->feed, &most, e) != 0 ||
        pass_init(&b->pass, &b->net, &b->blas, CHUNK, 1, 0, e) != 0)
        return -1;
    if (tokenizer_size(b->tokenizer) > b->net.V)
        return err_set(e, ERR_FORMAT,
                       "%s: its vocabulary has %d entries, its net %d",
                       b->o->model, tokenizer_size(b->tokenizer), b->net.V);
    b->pass.prob = pass_reals(&b->pass, (size_t)CHUNK * (size_t)b->net.K);
    b->h = region_take(&b->mem, n * (size_t)b->net.Q, sizeof *b->h);
    b->id = region_take(&b->mem, n, sizeof *b->id);
    b->score = region_take(&b->mem, n, sizeof *b->score);
    return region_check(&b->pass.mem, e) != 0 ? -1 : region_check(&b->mem, e);
}

static void close_bench(struct bench *b)
{
    pass_fini(&b->pass);
    feed_fini(&b->feed);
    region_fini(&b->mem);
    blas_close(&b->blas);
    net_fini(&b->net);
    mem_aligned_free(b->w);
    corpus_fini(&b->corpus);
    mem_free(b->stream);
    if (b->tokenizer != NULL)
        tokenizer_close(b->tokenizer);
}

/* ---- the cache ---- */

static int n_cached(const struct bench *b)
{
    return (int)(b->seen < b->o->cache_size ? b->seen : b->o->cache_size);
}

static double cache_share(const struct bench *b, const real *h, int32_t id)
{
    int n = n_cached(b), Q = b->net.Q;
    real max = (real)-1e30;
    double all = 0, of_id = 0;
    for (int i = 0; i < n; i++) {
        real s = (real)b->o->cache_theta *
                 vec_dot(Q, h, b->h + (size_t)i * (size_t)Q);
        b->score[i] = s;
        max = s > max ? s : max;
    }
    for (int i = 0; i < n; i++) {
        double x = exp((double)b->score[i] - (double)max);
        all += x;
        of_id += b->id[i] == id ? x : 0;
    }
    return of_id / all;
}

static void remember(struct bench *b, const real *h, int32_t id)
{
    size_t at = (size_t)(b->seen++ % b->o->cache_size), Q = (size_t)b->net.Q;
    memcpy(b->h + at * Q, h, Q * sizeof *h);
    b->id[at] = id;
}

static void score_row(struct bench *b, int row)
{
    size_t Q = (size_t)b->net.Q, K = (size_t)b->net.K;
    const real *h = b->pass.y + (size_t)row * Q;
    int32_t id = b->feed.batch.target[row];
    double p = (double)b->pass.prob[(size_t)row * K + (size_t)id], mixed = p;
    if (n_cached(b) > 0)
        mixed = (1 - b->o->cache_lambda) * p +
                b->o->cache_lambda * cache_share(b, h, id);
    b->nats -= log(mixed > 1e-30 ? mixed : 1e-30);
    remember(b, h, id);
}

/* Predictions [at, end) of the stream. */
static void run_span(struct bench *b, int64_t at, int64_t end)
{
    const struct pass_opts o = {.scale = (real)1};
    for (; at < end; at += CHUNK) {
        b->feed.text[0] =
            (struct text){.ids = b->stream + at,
                          .next = b->stream + at + 1,
                          .n = (int)(end - at < CHUNK ? end - at : CHUNK)};
        b->feed.n_text = 1;
        b->net.family->pack(&b->feed);
        b->plain += pass_run(&b->pass, &b->feed.batch, b->w, &o, NULL);
        for (int r = 0; r < b->feed.batch.N; r++)
            score_row(b, r);
    }
}

/* Records apart begin with an empty state and an empty cache. */
static void run(struct bench *b)
{
    int64_t at = 0;
    if (!b->apart) {
        run_span(b, 0, b->n_stream - 1);
        return;
    }
    for (int i = 0; i < b->corpus.n_records; i++) {
        int64_t n = b->corpus.start[i + 1] - b->corpus.start[i] + 1;
        pass_reset_state(&b->pass);
        b->seen = 0;
        run_span(b, at, at + n);
        at += n;
    }
}

int eval_with_cache(const struct options *o, struct buf *out, struct err *e)
{
    struct bench b = {.o = o};
    int rc = open_bench(&b, e);
    if (rc == 0) {
        double n = b.n_stream > 1 ? (double)(b.n_stream - 1) : 1;
        run(&b);
        rc =
            buf_addf(out,
                     "{\"tokens\": %.0f, \"nats\": %.3f, \"perplexity\": %.4f, "
                     "\"nats_without\": %.3f, \"perplexity_without\": %.4f, "
                     "\"cache_size\": %d, \"cache_theta\": %g, "
                     "\"cache_lambda\": %g}\n",
                     n, b.nats, exp(b.nats / n), b.plain, exp(b.plain / n),
                     o->cache_size, o->cache_theta, o->cache_lambda);
    }
    close_bench(&b);
    return rc;
}

/* ---- values from vectors ---- */

int eval_is_of_vectors(const char *dir)
{
    struct checkpoint *from;
    struct err e = ERR_INIT;
    int is = 0;
    if (checkpoint_open(dir, dir, &from, &e) != 0)
        return 0;
    const struct hparams *h = checkpoint_hparams(from, &e);
    is = h != NULL && hparams_has(h, "input_size");
    checkpoint_close(from);
    return is;
}

static int open_values(struct bench *b, struct err *e)
{
    struct corpus *c = &b->corpus;
    struct feed_size most = {.T = 1, .B = BATCH};
    if (load_net(b->o->model, &b->net, &b->w, e) != 0 ||
        vectors_read(c, b->o->data, e) != 0)
        return -1;
    if (b->net.I != c->width || b->net.C != c->n_values)
        return err_set(e, ERR_INVALID,
                       "%s: vectors of %d with %d values, the net is of %d "
                       "and %d",
                       b->o->data, c->width, c->n_values, b->net.I, b->net.C);
    for (int i = 0; i < c->n_records; i++) {
        int n = (int)(c->start[i + 1] - c->start[i]);
        most.T = n > most.T ? n : most.T;
    }
    if (b->net.context > 0 && most.T > b->net.context)
        return err_set(e, ERR_INVALID, "%s: %d vectors, the net takes %d",
                       b->o->data, most.T, b->net.context);
    most.N = most.T * BATCH;
    most.inputs = b->net.I;
    most.values = b->net.C;
    return blas_open(&b->blas, e) != 0 || feed_init(&b->feed, &most, e) != 0
               ? -1
               : pass_init(&b->pass, &b->net, &b->blas, most.N, BATCH, 0, e);
}

static double values_error(struct bench *b, struct err *e)
{
    const struct pass_opts o = {.scale = (real)1};
    const struct corpus *c = &b->corpus;
    size_t I = (size_t)c->width, K = (size_t)c->n_values;
    int32_t item[BATCH];
    double sum = 0;
    for (int at = 0; at < c->n_records; at += BATCH) {
        int n = c->n_records - at < BATCH ? c->n_records - at : BATCH;
        for (int i = 0; i < n; i++)
            item[i] = at + i;
        if (objective_sort(c, item, n, e) != 0)
            return -1;
        b->feed.n_text = n;
        for (int i = 0; i < n; i++) {
            int64_t first = c->start[item[i]];
            b->feed.text[i] =
                (struct text){.x = c->vectors + (size_t)first * I,
                              .values = c->values + (size_t)item[i] * K,
                              .n = (int)(c->start[item[i] + 1] - first)};
        }
        b->net.family->pack(&b->feed);
        sum += pass_run(&b->pass, &b->feed.batch, b->w, &o, NULL);
    }
    return sum / c->n_records;
}

/* Of who says the mean. */
static double variance(const struct corpus *c)
{
    double all = 0;
    for (int k = 0; k < c->n_values; k++) {
        double mean = 0, sum = 0;
        for (int i = 0; i < c->n_records; i++)
            mean +=
                (double)c->values[(size_t)i * (size_t)c->n_values + (size_t)k] /
                c->n_records;
        for (int i = 0; i < c->n_records; i++) {
            double d =
                (double)c->values[(size_t)i * (size_t)c->n_values + (size_t)k] -
                mean;
            sum += d * d;
        }
        all += sum / c->n_records / c->n_values;
    }
    return all;
}

int eval_values(const struct options *o, struct buf *out, struct err *e)
{
    struct bench b = {.o = o};
    int rc = open_values(&b, e);
    double error = rc == 0 ? values_error(&b, e) : 0;
    rc = error < 0 ? -1 : rc;
    if (rc == 0)
        rc = buf_addf(out,
                      "{\"items\": %d, \"squared_error\": %.6g, \"of_mean\": "
                      "%.6g}\n",
                      b.corpus.n_records, error, variance(&b.corpus));
    close_bench(&b);
    return rc;
}
