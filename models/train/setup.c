/* setup: opens what lasts for a whole training (train.h).
 *
 * SPDX-License-Identifier: MIT */
#include <errno.h>
#include <sys/stat.h>

#include "engine/base/clock.h"
#include "engine/base/mem.h"
#include "engine/checkpoint/checkpoint.h"
#include "models/train/train.h"

#define SPIN_US 200 /* steps follow each other closely */

static const struct cell_grad *const cells[] = {&lstm_grad, &gru_grad,
                                                &elman_grad};

static int copy_tokenizer(struct trainer *t, const char *dir, struct err *e)
{
    struct checkpoint *from;
    char *text = NULL;
    size_t n;
    if (checkpoint_open(dir, dir, &from, e) != 0)
        return -1;
    int rc = checkpoint_file(from, "tokenizer.json", (size_t)1 << 28, &text, &n,
                             e) != 0
                 ? -1
                 : write_file(t->o.out, "tokenizer.json", text, n, e);
    mem_free(text);
    checkpoint_close(from);
    return rc;
}

static int open_tokenizer(struct trainer *t, const struct data_format *f,
                          struct err *e)
{
    struct checkpoint *out;
    struct buf b;
    int rc = 0;
    buf_init(&b, (size_t)1 << 28);
    if (!t->o.resume && t->o.vocab_from != NULL)
        rc = copy_tokenizer(t, t->o.vocab_from, e);
    else if (!t->o.resume)
        rc = vocab_build(&t->o, f, &b, e) == 0
                 ? write_file(t->o.out, "tokenizer.json", b.p, b.len, e)
                 : -1;
    buf_fini(&b);
    if (rc != 0 || checkpoint_open(t->o.out, "tokenizer", &out, e) != 0)
        return -1;
    rc = tokenizer_open(out, &t->tokenizer, e);
    checkpoint_close(out);
    return rc;
}

static void say_corpus(const struct trainer *t, const char *name,
                       const struct corpus *c)
{
    trainer_say(t, "%s: %d records, %lld tokens, %.2f %% unknown\n", name,
                c->n_records, (long long)c->n,
                100 * (double)c->unknown / (double)(c->n > 0 ? c->n : 1));
    (void)t;
}

static int open_data(struct trainer *t, struct err *e)
{
    struct data_format f = {.labelled = t->o.task == TASK_CLASSIFIER,
                            .record = t->o.record,
                            .max_len = t->o.max_len,
                            .reverse = t->o.reverse,
                            .labels = &t->labels,
                            .grow = t->o.id2label == NULL};
    if (labels_parse(&t->labels, t->o.id2label, e) != 0 ||
        open_tokenizer(t, &f, e) != 0 ||
        corpus_read(&t->train, t->o.data, &f, t->tokenizer, e) != 0)
        return -1;
    f.grow = 0;
    if (corpus_read(&t->valid, t->o.valid, &f, t->tokenizer, e) != 0)
        return -1;
    trainer_say(t, "vocabulary: %d entries\n", tokenizer_size(t->tokenizer));
    say_corpus(t, "training", &t->train);
    say_corpus(t, "validation", &t->valid);
    if (f.labelled && t->labels.n < 2)
        return err_set(e, ERR_FORMAT,
                       "the training data has fewer than two "
                       "labels");
    return 0;
}

static int plan(struct trainer *t, struct err *e)
{
    const struct options *o = &t->o;
    struct net_config c = {.kind = (enum net_kind)o->arch,
                           .cell = cells[o->cell],
                           .relu = o->cell == CELL_ELMAN && o->relu,
                           .V = tokenizer_size(t->tokenizer),
                           .E = o->embedding,
                           .H = o->hidden,
                           .L = o->layers,
                           .D = o->bidirectional ? 2 : 1,
                           .A = o->heads,
                           .F = o->inner > 0 ? o->inner : 4 * o->embedding,
                           .T = o->context,
                           .causal = o->causal,
                           .P = o->projection,
                           .tie = o->tie,
                           .C = t->labels.n,
                           .pooling = (enum net_pooling)o->pooling};
    if (o->task == TASK_LM)
        c.C = 0;
    if (c.kind != NET_RNN && c.C == 0 && o->bptt > c.T)
        return err_set(e, ERR_INVALID, "--bptt %d is longer than --context %d",
                       o->bptt, c.T);
    if (c.kind == NET_BERT && c.C == 0 && tokenizer_unk(t->tokenizer) < 0)
        return err_set(e, ERR_INVALID,
                       "masked tokens need a vocabulary with an unknown entry");
    return net_plan(&c, &t->net, e);
}

static int open_optim(struct trainer *t, struct err *e)
{
    static const enum optim_kind kinds[] = {OPTIM_SGD, OPTIM_ADAM, OPTIM_ADAMW};
    const struct options *o = &t->o;
    t->optim = (struct optim){.kind = kinds[o->optimizer],
                              .beta1 = (real)o->beta1,
                              .beta2 = (real)o->beta2,
                              .eps = (real)1e-8, /* PyTorch's */
                              .weight_decay = (real)o->weight_decay,
                              .momentum = (real)o->momentum,
                              .lazy = o->lazy};
    t->optim.sampled = o->softmax == SOFTMAX_SAMPLED && o->task == TASK_LM &&
                       o->samples < t->net.c.V;
    return optim_init(&t->optim, &t->net, e);
}

/* Log-uniform noise needs entries in order of frequency; counts do not. */
static int open_noise(struct trainer *t, struct err *e)
{
    int V = t->net.c.V;
    if (!t->optim.sampled)
        return 0;
    int64_t *count = mem_zarray((size_t)V, sizeof *count);
    if (count == NULL)
        return err_nomem(e);
    for (int64_t i = 0; i < t->train.n; i++)
        count[t->train.ids[i]]++;
    if (tokenizer_eos(t->tokenizer) >= 0)
        count[tokenizer_eos(t->tokenizer)] += t->train.n_records;
    int rc =
        noise_init(&t->noise, t->o.noise == NOISE_LOG_UNIFORM ? NULL : count, V,
                   t->o.noise_power, e);
    mem_free(count);
    if (rc != 0)
        return -1;
    return noise_set_init(&t->set, t->o.samples, V, e);
}

static int longest_of(const struct corpus *c)
{
    int64_t m = 1;
    for (int i = 0; i < c->n_records; i++) {
        int64_t n = c->start[i + 1] - c->start[i];
        m = n > m ? n : m;
    }
    return (int)m;
}

static int open_worker(struct trainer *t, struct worker *w, struct err *e)
{
    const struct options *o = &t->o;
    int B = (o->batch + t->n_workers - 1) / t->n_workers, T = o->bptt;
    if (t->net.c.C > 0) {
        int a = longest_of(&t->train), b = longest_of(&t->valid);
        T = a > b ? a : b;
    }
    if (t->net.c.kind != NET_RNN && T > t->net.c.T)
        return err_set(e, ERR_INVALID,
                       "texts of %d tokens do not fit --context %d: lower "
                       "--max-len",
                       T, t->net.c.T);
    if ((int64_t)T * B > 1 << 24)
        return err_set(e, ERR_TOO_LARGE,
                       "%d sequences of %d tokens are too "
                       "many for one step",
                       B, T);
    w->grad = mem_aligned(t->net.n * sizeof(real));
    if (w->grad == NULL)
        return err_nomem(e);
    if (feed_init(&w->feed, T, T * B, B, e) != 0 ||
        pass_init(&w->pass, &t->net, &t->blas, T * B, B,
                  t->optim.sampled ? o->samples : 0, e) != 0 ||
        pass_init(&w->eval, &t->net, &t->blas, T * B, B, 0, e) != 0)
        return -1;
    w->pass.drop = (struct dropout){.word = (real)o->drop_word,
                                    .embedding = (real)o->drop_embedding,
                                    .between = (real)o->drop_between,
                                    .output = (real)o->drop_output,
                                    .recurrent = (real)o->drop_recurrent,
                                    .variational = o->variational};
    return 0;
}

static int open_workers(struct trainer *t, struct err *e)
{
    int n = t->o.threads > 0 ? t->o.threads : pool_default_threads();
    n = n < TRAIN_MAX_WORKERS ? n : TRAIN_MAX_WORKERS;
    n = n < t->o.batch ? n : t->o.batch;
    t->n_workers = n;
    if (pool_open(n, SPIN_US, &t->pool, e) != 0)
        return -1;
    t->job = (struct optim_job){.o = &t->optim,
                                .net = &t->net,
                                .n_workers = n,
                                .w = t->w,
                                .grad = t->grads,
                                .pass = t->passes};
    for (int i = 0; i < n; i++) {
        if (open_worker(t, &t->worker[i], e) != 0)
            return -1;
        t->grads[i] = t->worker[i].grad;
        t->passes[i] = &t->worker[i].pass;
    }
    return 0;
}

static int open_weights(struct trainer *t, struct err *e)
{
    t->w = mem_aligned(t->net.n * sizeof(real));
    if (t->o.average != AVERAGE_NONE)
        t->average = mem_aligned(t->net.n * sizeof(real));
    if (t->w == NULL || (t->o.average != AVERAGE_NONE && t->average == NULL))
        return err_nomem(e);
    net_initialise(&t->net, (uint64_t)t->o.seed, t->w);
    if (!t->o.resume)
        return init_from(t, e);
    return 0;
}

int trainer_open(struct trainer *t, const struct options *o, struct err *e)
{
    memset(t, 0, sizeof *t);
    t->o = *o;
    t->at.best = 1e30;
    t->at.plateau = 1;
    t->started_us = clock_now_us();
    if (o->data == NULL || o->valid == NULL || o->out == NULL)
        return err_set(e, ERR_INVALID, "train needs --data, --valid and --out");
    if (mkdir(o->out, 0777) != 0 && errno != EEXIST)
        return err_set(e, ERR_IO, "%s cannot be made", o->out);
    if (blas_open(&t->blas, e) != 0 || open_data(t, e) != 0 ||
        plan(t, e) != 0 || open_weights(t, e) != 0 || open_optim(t, e) != 0 ||
        open_noise(t, e) != 0 || open_workers(t, e) != 0)
        return -1;
    trainer_say(t, "%s, %zu parameters; %d threads, OpenBLAS %s, %s\n",
                net_name(&t->net), t->net.n, t->n_workers, t->blas.core,
                REAL_NAME);
    if (o->resume)
        return state_load(t, e);
    return save_config(t, o->out, e);
}

void trainer_close(struct trainer *t)
{
    trainer_end_epoch(t);
    for (int i = 0; i < TRAIN_MAX_WORKERS; i++) {
        pass_fini(&t->worker[i].pass);
        pass_fini(&t->worker[i].eval);
        feed_fini(&t->worker[i].feed);
        mem_aligned_free(t->worker[i].grad);
    }
    if (t->pool != NULL)
        pool_close(t->pool);
    mem_aligned_free(t->w);
    mem_aligned_free(t->average);
    optim_fini(&t->optim);
    noise_fini(&t->noise);
    noise_set_fini(&t->set);
    corpus_fini(&t->train);
    corpus_fini(&t->valid);
    labels_fini(&t->labels);
    mem_free(t->curve.v);
    if (t->tokenizer != NULL)
        tokenizer_close(t->tokenizer);
    blas_close(&t->blas);
}
