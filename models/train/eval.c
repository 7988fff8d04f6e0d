/* eval: see eval.h.
 *
 * SPDX-License-Identifier: MIT */
#include "models/train/eval.h"

#include <math.h>
#include <pthread.h>
#include <string.h>

#include "engine/base/mem.h"
#include "engine/run/engine.h"
#include "models/registry.h"
#include "models/train/data.h"

#define GROUP 256 /* items handed to the engine together */
#define BINS 15

struct tally {
    int64_t items, right;
    double nll;
    double count[BINS], sure[BINS], correct[BINS];
};

struct waiter {
    pthread_mutex_t mu;
    pthread_cond_t done;
    int left;
};

static void on_event(void *user, const struct job_event *ev)
{
    struct waiter *w = user;
    if (ev->kind == JOB_TEXT)
        return;
    pthread_mutex_lock(&w->mu);
    if (--w->left == 0)
        pthread_cond_signal(&w->done);
    pthread_mutex_unlock(&w->mu);
}

static int count_item(struct tally *t, const struct job *j, int32_t label,
                      struct err *e)
{
    const struct job_result *r = job_result(j);
    const struct err *failed = job_error(j);
    if (failed != NULL && failed->code != ERR_NONE)
        return err_set(e, failed->code, "%s", failed->msg);
    if (label < 0 || label >= r->n_scores)
        return err_set(e, ERR_FORMAT, "label %d is not one of the model's",
                       (int)label);
    double p = (double)r->scores[label];
    double sure = (double)r->scores[r->best];
    int bin = (int)(sure * BINS);
    bin = bin < BINS ? bin : BINS - 1;
    t->items++;
    t->right += r->best == label;
    t->nll -= log(p > 1e-30 ? p : 1e-30);
    t->count[bin]++;
    t->sure[bin] += sure;
    t->correct[bin] += r->best == label;
    return 0;
}

static int run_group(struct engine *g, struct model *m, const struct corpus *c,
                     int first, int n, struct tally *t, struct err *e)
{
    struct waiter w = {.left = n};
    struct job_spec spec[GROUP];
    struct job *job[GROUP];
    memset(spec, 0, sizeof spec);
    pthread_mutex_init(&w.mu, NULL);
    pthread_cond_init(&w.done, NULL);
    for (int i = 0; i < n; i++) {
        int64_t from = c->start[first + i];
        spec[i].model = m;
        spec[i].task = TASK_CLASSIFY;
        spec[i].tokens = c->ids + from;
        spec[i].n_tokens = (int)(c->start[first + i + 1] - from);
        spec[i].on_event = on_event;
        spec[i].user = &w;
    }
    int rc = engine_submit(g, spec, n, job, e);
    if (rc == 0) {
        pthread_mutex_lock(&w.mu);
        while (w.left > 0)
            pthread_cond_wait(&w.done, &w.mu);
        pthread_mutex_unlock(&w.mu);
        for (int i = 0; i < n; i++) {
            rc |= count_item(t, job[i], c->label[first + i], e);
            job_release(job[i]);
        }
    }
    pthread_cond_destroy(&w.done);
    pthread_mutex_destroy(&w.mu);
    return rc;
}

static int eval_classifier(struct engine *g, struct model *m,
                           const struct corpus *c, struct buf *out,
                           struct err *e)
{
    struct tally t;
    double ece = 0;
    memset(&t, 0, sizeof t);
    for (int i = 0; i < c->n_records; i += GROUP) {
        int n = c->n_records - i < GROUP ? c->n_records - i : GROUP;
        if (run_group(g, m, c, i, n, &t, e) != 0)
            return -1;
    }
    for (int i = 0; i < BINS; i++)
        ece += fabs(t.sure[i] - t.correct[i]) / (double)t.items;
    return buf_addf(out,
                    "{\"items\": %lld, \"accuracy\": %.6f, \"nll\": %.6f, "
                    "\"ece\": %.6f}\n",
                    (long long)t.items, (double)t.right / (double)t.items,
                    t.nll / (double)t.items, ece);
}

static int eval_lm(struct engine *g, struct model *m, const struct corpus *c,
                   struct buf *out, struct err *e)
{
    const struct tokenizer *tok = model_tokenizer(m);
    int32_t *order = mem_array((size_t)c->n_records, sizeof *order);
    int32_t *stream = NULL, unk = tokenizer_unk(tok);
    int64_t n = 0, unknown = 0;
    struct score s = {0, 0};
    if (order == NULL)
        return err_nomem(e);
    for (int i = 0; i < c->n_records; i++)
        order[i] = i;
    int rc = corpus_stream(c, order, c->n_records, tokenizer_eos(tok), &stream,
                           &n, e);
    mem_free(order);
    if (rc == 0)
        rc = engine_score(g, m, stream, n, 0, &s, e);
    for (int64_t i = 1; i < n && rc == 0; i++)
        unknown += stream[i] == unk;
    mem_free(stream);
    if (rc != 0)
        return -1;
    double tokens = s.tokens > 0 ? (double)s.tokens : 1;
    return buf_addf(out,
                    "{\"tokens\": %lld, \"nats\": %.3f, \"perplexity\": %.4f, "
                    "\"unk_share\": %.6f}\n",
                    (long long)s.tokens, s.nats, exp(s.nats / tokens),
                    (double)unknown / tokens);
}

static int eval_model(struct engine *g, struct model *m,
                      const struct options *o, struct buf *out, struct err *e)
{
    const struct model_info *info = model_get_info(m);
    struct labels labels = {.n = 0};
    struct corpus c;
    struct data_format f = {.labelled = (info->tasks & TASK_CLASSIFY) != 0,
                            .record = o->record,
                            .max_len = o->max_len,
                            .labels = &labels};
    int rc = 0;
    if (model_tokenizer(m) == NULL)
        return err_set(e, ERR_UNSUPPORTED, "the checkpoint has no tokenizer");
    for (int i = 0; i < info->n_labels && rc == 0; i++) {
        labels.name[i] = mem_strdup(info->labels[i]);
        rc = labels.name[i] != NULL ? 0 : err_nomem(e);
        labels.n += rc == 0;
    }
    if (rc == 0)
        rc = corpus_read(&c, o->data, &f, model_tokenizer(m), e);
    if (rc == 0) {
        rc = f.labelled ? eval_classifier(g, m, &c, out, e)
                        : eval_lm(g, m, &c, out, e);
        corpus_fini(&c);
    }
    labels_fini(&labels);
    return rc;
}

int eval_run(const struct options *o, struct buf *out, struct err *e)
{
    struct engine_options eo = {.n_threads = o->threads,
                                .spin_us = -1,
                                .kernels = "auto",
                                .max_item_tokens = 1 << 20};
    struct engine *g = NULL;
    struct model *m = NULL;
    if (o->model == NULL || o->data == NULL)
        return err_set(e, ERR_INVALID, "eval needs --model and --data");
    int rc = engine_open(&eo, registry_archs, &g, e);
    if (rc == 0)
        rc = engine_load(g, "eval", o->model, e);
    if (rc == 0)
        rc = engine_model(g, "eval", 0, &m, e);
    if (rc == 0)
        rc = eval_model(g, m, o, out, e);
    if (m != NULL)
        model_release(m);
    if (g != NULL)
        engine_close(g);
    return rc;
}
