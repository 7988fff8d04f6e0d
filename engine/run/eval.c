/* eval: see eval.h.
 *
 * SPDX-License-Identifier: MIT */
#include "engine/run/eval.h"

#include <math.h>
#include <pthread.h>
#include <string.h>

#include "engine/base/file.h"
#include "engine/base/mem.h"
#include "engine/base/utf8.h"
#include "engine/run/task/classify.h"
#include "engine/run/task/score.h"

#define GROUP 256 /* items handed to the engine together */
#define BINS 15
#define MAX_FILE_BYTES ((size_t)4 << 30)
#define PART 4096 /* tokens between two reports of progress, about */

/* --- jobs --- */

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

/* Submit the jobs, wait for all of them. They are the caller's to release; NULL
 * when they were refused. */
static int run_jobs(struct engine *g, struct job_spec *spec, int n,
                    struct job **job, struct err *e)
{
    struct waiter w = {.left = n};

    memset(job, 0, (size_t)n * sizeof(struct job *));
    pthread_mutex_init(&w.mu, NULL);
    pthread_cond_init(&w.done, NULL);
    for (int i = 0; i < n; i++) {
        spec[i].on_event = on_event;
        spec[i].user = &w;
    }
    int rc = engine_submit(g, spec, n, job, e);
    if (rc == 0) {
        pthread_mutex_lock(&w.mu);
        while (w.left > 0)
            pthread_cond_wait(&w.done, &w.mu);
        pthread_mutex_unlock(&w.mu);
    }
    pthread_cond_destroy(&w.done);
    pthread_mutex_destroy(&w.mu);
    return rc;
}

/* --- language models --- */

static int add_score(const struct job *j, struct eval_score *sum, struct err *e)
{
    const struct err *failed = job_error(j);

    if (failed->code != ERR_NONE)
        return err_set(e, failed->code, "%s", failed->msg);
    sum->tokens += score_result(j)->tokens;
    sum->nats += score_result(j)->nats;
    return 0;
}

int eval_score(struct engine *g, struct model *m, const int32_t *ids, int64_t n,
               int64_t window, struct eval_score *out, struct err *e)
{
    struct job_spec spec[GROUP];
    struct job *job[GROUP];
    int64_t step = window > 0 && window < n ? window : n;
    int rc = 0;

    *out = (struct eval_score){0};
    if (n > INT32_MAX)
        return err_set(e, ERR_TOO_LARGE, "a text of over 2^31 tokens");
    for (int64_t at = 0; at < n && rc == 0;) {
        int k = 0;
        for (; k < GROUP && at < n; k++, at += step) {
            int64_t len = n - at < step ? n - at : step;
            spec[k] = (struct job_spec){.model = m, .task = &task_score};
            spec[k].in[0] = (struct span){.n = (int)len, .p = ids + at};
        }
        rc = run_jobs(g, spec, k, job, e);
        for (int i = 0; i < k && job[i]; i++) {
            rc = rc ? rc : add_score(job[i], out, e);
            job_release(job[i]);
        }
    }
    return rc;
}

int eval_stream(struct engine *g, struct model *m, const int32_t *ids,
                int64_t n, const struct eval_options *o, struct buf *out,
                struct err *e)
{
    int32_t unk = tokenizer_unk(model_tokenizer(m));
    int64_t window = o->window, unknown = 0, part;
    struct eval_score sum = {0, 0}, s;

    n = o->max_tokens > 0 && n > o->max_tokens ? o->max_tokens : n;
    if (window <= 0) {
        const struct port *p = &model_get_info(m)->state.port[PORT_TARGET];
        window = p->context_length;
    }
    /* Whole windows at a time, so that progress can be told. */
    part = window > 0 ? (PART / window + 1) * window : n;
    for (int64_t at = 0; at < n; at += part) {
        int64_t len = n - at < part ? n - at : part;
        if (eval_score(g, m, ids + at, len, window, &s, e))
            return -1;
        sum.tokens += s.tokens;
        sum.nats += s.nats;
        if (o->progress)
            o->progress(o->ctx, at + len, n);
    }
    for (int64_t i = 0; i < n; i++) {
        int first = window > 0 ? i % window == 0 : i == 0;
        unknown += !first && ids[i] == unk;
    }
    double tokens = sum.tokens > 0 ? (double)sum.tokens : 1;
    return buf_addf(out,
                    "{\"tokens\": %lld, \"nats\": %.3f, \"perplexity\": %.4f, "
                    "\"unk_share\": %.6f}\n",
                    (long long)sum.tokens, sum.nats, exp(sum.nats / tokens),
                    (double)unknown / tokens);
}

/* --- classifiers --- */

struct tally {
    int64_t items, right;
    double nll;
    double sure[BINS], correct[BINS];
};

static int count_item(struct tally *t, const struct job *j, int32_t label,
                      struct err *e)
{
    const struct classify_result *r = classify_result(j);
    const struct err *failed = job_error(j);

    if (failed->code != ERR_NONE)
        return err_set(e, failed->code, "%s", failed->msg);
    if (label < 0 || label >= r->n) {
        return err_set(e, ERR_FORMAT, "label %d is not one of the model's",
                       (int)label);
    }
    double p = (double)r->scores[label];
    double sure = (double)r->scores[r->best];
    int bin = sure > 0 ? (int)(fmin(sure, 1) * BINS) : 0; /* or a number */
    bin = bin < BINS ? bin : BINS - 1;
    t->items++;
    t->right += r->best == label;
    t->nll -= log(p > 1e-30 ? p : 1e-30);
    t->sure[bin] += sure;
    t->correct[bin] += r->best == label;
    return 0;
}

static int run_group(struct engine *g, struct model *m,
                     const struct eval_items *d, int first, int n,
                     struct tally *t, struct err *e)
{
    struct job_spec spec[GROUP];
    struct job *job[GROUP];

    for (int i = 0; i < n; i++) {
        int64_t from = d->start[first + i], to = d->start[first + i + 1];
        spec[i] = (struct job_spec){.model = m, .task = &task_classify};
        spec[i].in[0] =
            (struct span){.n = (int)(to - from), .p = d->ids + from};
    }
    int rc = run_jobs(g, spec, n, job, e);
    for (int i = 0; i < n && job[i]; i++) {
        rc = rc ? rc : count_item(t, job[i], d->label[first + i], e);
        job_release(job[i]);
    }
    return rc;
}

int eval_items(struct engine *g, struct model *m, const struct eval_items *d,
               const struct eval_options *o, struct buf *out, struct err *e)
{
    struct tally t;
    double ece = 0;

    memset(&t, 0, sizeof(t));
    for (int i = 0; i < d->n; i += GROUP) {
        int n = d->n - i < GROUP ? d->n - i : GROUP;
        if (run_group(g, m, d, i, n, &t, e))
            return -1;
        if (o->progress)
            o->progress(o->ctx, i + n, d->n);
    }
    double items = t.items > 0 ? (double)t.items : 1;
    for (int i = 0; i < BINS; i++)
        ece += fabs(t.sure[i] - t.correct[i]) / items;
    return buf_addf(out,
                    "{\"items\": %lld, \"accuracy\": %.6f, \"nll\": %.6f, "
                    "\"ece\": %.6f}\n",
                    (long long)t.items, (double)t.right / items, t.nll / items,
                    ece);
}

/* --- files --- */

struct corpus_ids {
    int32_t *ids;
    int64_t n, cap;
    int64_t *start; /* [n_items + 1] */
    int32_t *label;
    int n_items, cap_items;
};

static int read_text(const char *path, struct buf *b, struct err *e)
{
    if (file_read_piped(path, "the data file", b->max, FILE_WAIT_FOREVER, &b->p,
                        &b->len, e))
        return -1;
    b->cap = b->len + 1;
    return 0;
}

static int grow(struct corpus_ids *c, int64_t more, struct err *e)
{
    if (c->n + more > c->cap) {
        int64_t cap = (c->n + more) * 2;
        int32_t *ids = mem_grow(c->ids, (size_t)cap, sizeof *ids);
        if (!ids)
            return err_nomem(e);
        c->ids = ids;
        c->cap = cap;
    }
    if (c->n_items + 1 < c->cap_items)
        return 0;
    int cap = c->cap_items * 2 + 1024;
    int64_t *start = mem_grow(c->start, (size_t)cap, sizeof *start);
    c->start = start ? start : c->start;
    int32_t *label = mem_grow(c->label, (size_t)cap, sizeof *label);
    c->label = label ? label : c->label;
    if (!start || !label)
        return err_nomem(e);
    c->cap_items = cap;
    return 0;
}

/* The label that begins the line, as the model names it or as its number; *n
 * is its length. -1: none. */
static int label_of(const struct model_info *info, const char *s, size_t len,
                    size_t *n)
{
    size_t k = 0;
    int v = 0;

    while (k < len && s[k] != ' ' && s[k] != '\t')
        k++;
    *n = k;
    for (int i = 0; i < info->cols[OUT_CLASS]; i++)
        if (strlen(info->labels[i]) == k && !memcmp(info->labels[i], s, k))
            return i;
    if (k < 1 || k > 4 || k == len)
        return -1;
    for (size_t i = 0; i < k; i++) {
        if (s[i] < '0' || s[i] > '9')
            return -1;
        v = v * 10 + (s[i] - '0');
    }
    return v < info->cols[OUT_CLASS] ? v : -1;
}

/* Keep the first tokens of a long text, and what ends it. */
static void cut_item(const struct tokenizer *t, struct token_list *l, int max)
{
    int before, after;
    tokenizer_around(t, &before, &after);
    if (l->n > max && max > after) {
        for (int i = 0; i < after; i++)
            l->v[max - after + i] = l->v[l->n - after + i];
        l->n = max;
    }
}

/* One text: behind the others, with `frame` (-1: none) after it. */
static int add_text(struct corpus_ids *c, struct model *m, const char *s,
                    size_t n, int label, int32_t frame, struct err *e)
{
    const struct tokenizer *t = model_tokenizer(m);
    struct token_list list = {0};
    int rc = tokenizer_encode(t, s, n, label >= 0 ? TOK_ADD_SPECIAL : 0,
                              INT32_MAX, &list, e);
    rc = rc ? rc : grow(c, (int64_t)list.n + 1, e);
    if (rc == 0 && label >= 0)
        cut_item(t, &list, model_max_tokens(m, PORT_TARGET));
    for (int i = 0; i < list.n && rc == 0; i++)
        c->ids[c->n++] = list.v[i].id;
    if (rc == 0 && list.n > 0) {
        if (frame >= 0)
            c->ids[c->n++] = frame;
        c->label[c->n_items++] = label;
        c->start[c->n_items] = c->n;
    }
    token_list_fini(&list);
    return rc;
}

static int add_lines(struct corpus_ids *c, struct model *m,
                     const struct buf *text, int labelled, struct err *e)
{
    const struct model_info *info = model_get_info(m);
    int32_t frame = labelled ? -1 : tokenizer_eos(model_tokenizer(m));
    const char *p = text->p, *end = text->p + text->len;

    if (frame >= 0)
        c->ids[c->n++] = frame;
    for (long long line = 1; p < end; line++) {
        const char *lf = memchr(p, '\n', (size_t)(end - p));
        size_t len = (size_t)((lf ? lf : end) - p), skip = 0;
        int label = labelled ? label_of(info, p, len, &skip) : -1;
        if (!utf8_valid(p, len))
            return err_set(e, ERR_FORMAT, "line %lld is not UTF-8", line);
        if (labelled && len > 0 && label < 0) {
            return err_set(e, ERR_FORMAT,
                           "line %lld: no label of the model before the text",
                           line);
        }
        skip += skip > 0 && skip < len;
        if (len > skip && add_text(c, m, p + skip, len - skip, label, frame, e))
            return -1;
        p += len + 1;
    }
    return 0;
}

static int read_corpus(struct corpus_ids *c, struct model *m,
                       const struct buf *text, struct err *e)
{
    int labelled = model_can(m, &task_classify);
    int words = tokenizer_level(model_tokenizer(m)) != TOK_LEVEL_SUBWORD;

    if (grow(c, 1, e))
        return -1;
    c->start[0] = 0;
    if (labelled || words)
        return add_lines(c, m, text, labelled, e);
    if (!utf8_valid(text->p, text->len))
        return err_set(e, ERR_FORMAT, "the data file is not UTF-8");
    return add_text(c, m, text->p, text->len, -1, -1, e);
}

int eval_file(struct engine *g, struct model *m, const char *path,
              const struct eval_options *o, struct buf *out, struct err *e)
{
    struct corpus_ids c = {0};
    struct buf text;

    buf_init(&text, MAX_FILE_BYTES);
    int rc = model_tokenizer(m)
                 ? read_text(path, &text, e)
                 : err_set(e, ERR_UNSUPPORTED, "the model reads no text");
    if (rc == 0 && text.len == 0)
        rc = err_set(e, ERR_FORMAT, "the data file is empty");
    rc = rc ? rc : read_corpus(&c, m, &text, e);
    buf_fini(&text);
    if (rc == 0 && model_can(m, &task_classify)) {
        struct eval_items d = {c.ids, c.start, c.label, c.n_items};
        rc = eval_items(g, m, &d, o, out, e);
    } else if (rc == 0) {
        rc = eval_stream(g, m, c.ids, c.n, o, out, e);
    }
    mem_free(c.ids);
    mem_free(c.start);
    mem_free(c.label);
    return rc;
}
