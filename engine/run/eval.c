/* eval: see eval.h.
 *
 * SPDX-License-Identifier: MIT */
#include "engine/run/eval.h"

#include <math.h>
#include <string.h>

#include "engine/base/file.h"
#include "engine/base/mem.h"
#include "engine/base/utf8.h"
#include "engine/run/eval_jobs.h"
#include "engine/run/model.h"
#include "engine/run/task/classify.h"
#include "engine/run/task/score.h"

#define BINS 15
#define MAX_FILE_BYTES ((size_t)4 << 30)
#define PART 4096 /* tokens between two reports of progress, about */

/* --- language models --- */

static int add_score(const struct job *j, struct eval_score *sum, struct err *e)
{
    if (eval_failed(j, e))
        return -1;
    sum->tokens += score_result(j)->tokens;
    sum->nats += score_result(j)->nats;
    return 0;
}

int eval_score(struct engine *g, struct model *m, const int32_t *ids, int64_t n,
               int64_t window, struct eval_score *out, struct err *e)
{
    struct job_spec spec[EVAL_GROUP];
    struct job *job[EVAL_GROUP];
    int64_t step = window > 0 && window < n ? window : n;
    int rc = 0;

    *out = (struct eval_score){0};
    if (n > INT32_MAX)
        return err_set(e, ERR_TOO_LARGE, "a text of over 2^31 tokens");
    for (int64_t at = 0; at < n && rc == 0;) {
        int k = 0;
        for (; k < EVAL_GROUP && at < n; k++, at += step) {
            int64_t len = n - at < step ? n - at : step;
            spec[k] = (struct job_spec){.model = m, .task = &task_score};
            spec[k].in[0] = (struct span){.n = (int)len, .p = ids + at};
        }
        rc = eval_jobs(g, spec, k, job, e);
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
    buf_addf(out,
             "{\"tokens\": %lld, \"nats\": %.3f, \"perplexity\": %.4f, "
             "\"unk_share\": %.6f",
             (long long)sum.tokens, sum.nats, exp(sum.nats / tokens),
             (double)unknown / tokens);
    /* a window's first token counts as much as those that are scored */
    if (o->words > 0)
        buf_addf(out, ", \"word_perplexity\": %.4f",
                 exp(sum.nats / tokens * (double)(n - 1) / (double)o->words));
    if (o->bytes > 0)
        buf_addf(out, ", \"bits_per_byte\": %.4f",
                 sum.nats / tokens * (double)(n - (o->framed != 0)) /
                     (log(2) * (double)o->bytes));
    return buf_add_str(out, "}\n");
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

    if (eval_failed(j, e))
        return -1;
    if (label < 0 || label >= r->n) {
        return err_set(e, ERR_FORMAT, "label %d is not one of the model's",
                       (int)label);
    }
    double p = (double)r->scores[label];
    double sure = (double)r->scores[r->best];
    int bin = (int)(sure * BINS);
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
    struct job_spec spec[EVAL_GROUP];
    struct job *job[EVAL_GROUP];

    for (int i = 0; i < n; i++) {
        int64_t from = d->start[first + i], to = d->start[first + i + 1];
        spec[i] = (struct job_spec){.model = m, .task = &task_classify};
        spec[i].in[0] =
            (struct span){.n = (int)(to - from), .p = d->ids + from};
    }
    int rc = eval_jobs(g, spec, n, job, e);
    for (int i = 0; i < n && job[i]; i++) {
        rc = rc ? rc : count_item(t, job[i], d->label[first + i], e);
        job_release(job[i]);
    }
    return rc;
}

/* What can be right: a regression and a single label never are. */
static int check_scores(const struct model *m, struct err *e)
{
    const struct model_info *info = model_get_info(m);

    if (info->scores != SCORE_RAW && info->cols[OUT_CLASS] > 1)
        return 0;
    return err_set(e, ERR_UNSUPPORTED,
                   "the model gives %s, there is no accuracy of that",
                   info->scores == SCORE_RAW ? "numbers" : "a single label");
}

int eval_items(struct engine *g, struct model *m, const struct eval_items *d,
               const struct eval_options *o, struct buf *out, struct err *e)
{
    struct tally t;
    double ece = 0;

    memset(&t, 0, sizeof(t));
    if (check_scores(m, e))
        return -1;
    for (int i = 0; i < d->n; i += EVAL_GROUP) {
        int n = d->n - i < EVAL_GROUP ? d->n - i : EVAL_GROUP;
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

/* Keep the first tokens of a long text, and what ends it. */
static void cut_item(const struct tokenizer *t, unsigned flags,
                     struct token_list *l, int max)
{
    int before, after = 0;
    if (flags & TOK_ADD_SPECIAL)
        tokenizer_around(t, &before, &after);
    if (l->n > max && max > after) {
        for (int i = 0; i < after; i++)
            l->v[max - after + i] = l->v[l->n - after + i];
        l->n = max;
    }
}

struct reader {
    struct corpus_ids c;
    struct model *m;
    int labelled, max_len;
    int32_t frame; /* after each text, -1: none */
    int64_t words; /* of sub-words' texts, with the end of each */
    int64_t bytes; /* of texts; with one for each end */
};

static int64_t count_words(const char *s, size_t n)
{
    int64_t words = 0;
    int inside = 0, len;
    for (size_t i = 0; i < n; i += (size_t)(len > 0 ? len : 1)) {
        uint32_t cp = 0;
        len = utf8_next(s + i, n - i, &cp);
        int space = utf8_is_space(cp);
        words += !space && !inside;
        inside = !space;
    }
    return words;
}

/* A classifier's text, as requests and the trainer have it: words and
 * characters have a begin token only where prompts get it. */
static unsigned around(const struct reader *r)
{
    const struct tokenizer *t = r->m->tokenizer;
    int has =
        tokenizer_level(t) == TOK_LEVEL_SUBWORD || tokenizer_add_bos(t) != 0;

    return r->labelled && has ? TOK_ADD_SPECIAL : 0;
}

/* One text: behind the others, with the frame after it. */
static int add_text(void *arg, const struct record *x, struct err *e)
{
    struct reader *r = arg;
    struct corpus_ids *c = &r->c;
    const struct model_info *info = model_get_info(r->m);
    const struct tokenizer *t = model_tokenizer(r->m);
    struct token_list list = {0};
    int n_labels = info->cols[OUT_CLASS], label = -1;

    if (r->labelled) {
        label = records_label(info->labels, n_labels, x->label, x->n_label);
        if (label < 0)
            return records_no_label(info->labels, n_labels, x, e);
    }
    unsigned flags = around(r);
    int rc = tokenizer_encode(t, x->text, x->n, flags, INT32_MAX, &list, e);
    rc = rc ? rc : grow(c, (int64_t)list.n + 1, e);
    if (rc == 0 && r->labelled)
        cut_item(t, flags, &list, r->max_len);
    for (int i = 0; i < list.n && rc == 0; i++)
        c->ids[c->n++] = list.v[i].id;
    if (rc == 0 && list.n > 0) {
        if (r->frame >= 0)
            c->ids[c->n++] = r->frame;
        c->label[c->n_items++] = label;
        c->start[c->n_items] = c->n;
        r->words += count_words(x->text, x->n) + 1;
        r->bytes += (int64_t)x->n + (r->frame >= 0);
    }
    token_list_fini(&list);
    return rc;
}

/* What the checkpoint's trainer says that a text was; RECORD_AUTO: nothing. */
static enum record_kind said_kind(const struct model *m)
{
    const struct hparams *h = checkpoint_hparams(m->checkpoint, NULL);
    const char *name = NULL;
    int said = h && hparams_has(h, "seqd_record") &&
                       hparams_string(h, "seqd_record", &name, NULL) == 0
                   ? records_kind_find(name)
                   : -1;

    return said > RECORD_AUTO ? (enum record_kind)said : RECORD_AUTO;
}

/* A model of sub-words that another program trained, on texts as they are. */
static int reads_as_is(const struct model *m)
{
    return tokenizer_level(m->tokenizer) == TOK_LEVEL_SUBWORD &&
           said_kind(m) == RECORD_AUTO;
}

/* How the files are cut: as asked, as the checkpoint was trained, as the first
 * file looks. */
static enum record_kind kind_of(const struct model *m, const char *text,
                                size_t n, enum record_kind kind)
{
    kind = kind == RECORD_AUTO ? said_kind(m) : kind;
    if (kind == RECORD_AUTO && reads_as_is(m))
        return RECORD_WHOLE;
    return records_kind(kind, text, n);
}

static int read_file(struct reader *r, const char *path, enum record_kind *kind,
                     struct err *e)
{
    char *text = NULL;
    size_t n = 0;
    int rc = file_read_piped(path, path, MAX_FILE_BYTES, FILE_WAIT_FOREVER,
                             &text, &n, e);

    if (rc == 0 && n == 0)
        rc = err_set(e, ERR_FORMAT, "%s: the file is empty", path);
    if (rc == 0) {
        *kind = r->labelled ? RECORD_LINE : kind_of(r->m, text, n, *kind);
        rc = records_each(path, text, n, *kind, r->labelled, add_text, r, e);
    }
    mem_free(text);
    return rc;
}

static int read_files(struct reader *r, const char *const *paths, int n,
                      const struct eval_options *o, struct err *e)
{
    int most = model_max_tokens(r->m, PORT_TARGET);
    enum record_kind kind = o->record;
    int rc = grow(&r->c, 1, e);

    r->max_len = o->max_len > 0 && o->max_len < most ? o->max_len : most;
    r->labelled = model_can(r->m, &task_classify);
    r->frame =
        r->labelled || reads_as_is(r->m) ? -1 : tokenizer_eos(r->m->tokenizer);
    if (rc == 0) {
        r->c.start[0] = 0;
        if (r->frame >= 0)
            r->c.ids[r->c.n++] = r->frame;
    }
    for (int i = 0; i < n && rc == 0; i++)
        rc = read_file(r, paths[i], &kind, e);
    if (rc == 0 && r->c.n_items == 0)
        rc = err_set(e, ERR_FORMAT, "%s: no texts", paths[0]);
    if (o->used)
        *o->used = kind;
    return rc;
}

int eval_files(struct engine *g, struct model *m, const char *const *paths,
               int n, const struct eval_options *o, struct buf *out,
               struct err *e)
{
    struct reader r = {.m = m};

    if (!model_tokenizer(m))
        return err_set(e, ERR_UNSUPPORTED, "the model reads no text");
    int rc = read_files(&r, paths, n, o, e);
    if (rc == 0 && r.labelled) {
        struct eval_items d = {r.c.ids, r.c.start, r.c.label, r.c.n_items};
        rc = eval_items(g, m, &d, o, out, e);
    } else if (rc == 0) {
        struct eval_options own = *o;
        int whole = o->max_tokens <= 0 || o->max_tokens >= r.c.n;
        int parts = tokenizer_level(m->tokenizer) == TOK_LEVEL_SUBWORD;
        own.words = whole && parts && r.frame >= 0 ? r.words : 0;
        own.bytes = whole ? r.bytes : 0;
        own.framed = r.frame >= 0;
        rc = eval_stream(g, m, r.c.ids, r.c.n, &own, out, e);
    }
    mem_free(r.c.ids);
    mem_free(r.c.start);
    mem_free(r.c.label);
    return rc;
}
