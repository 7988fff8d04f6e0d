/* eval: see eval.h.
 *
 * SPDX-License-Identifier: MIT */
#include "engine/run/eval.h"

#include <math.h>

#include "engine/run/eval_jobs.h"
#include "engine/run/eval_labels.h"
#include "engine/run/model.h"
#include "engine/run/task/score.h"

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

/* A piece of a stream, whose first token is not scored. */
static int run_pieces(struct engine *g, struct job_spec *spec, int k,
                      struct eval_score *sum, struct err *e)
{
    struct job *job[EVAL_GROUP];
    int rc = eval_jobs(g, spec, k, job, e);

    for (int i = 0; i < k && job[i]; i++) {
        rc = rc ? rc : add_score(job[i], sum, e);
        job_release(job[i]);
    }
    return rc;
}

static struct job_spec piece(struct model *m, const int32_t *ids, int64_t n)
{
    struct job_spec s = {.model = m, .task = &task_score};

    s.in[0] = (struct span){.n = (int)n, .p = ids};
    return s;
}

int eval_score(struct engine *g, struct model *m, const int32_t *ids, int64_t n,
               int64_t window, struct eval_score *out, struct err *e)
{
    struct job_spec spec[EVAL_GROUP];
    int64_t step = window > 0 && window < n ? window : n;

    *out = (struct eval_score){0};
    if (n > INT32_MAX)
        return err_set(e, ERR_TOO_LARGE, "a text of over 2^31 tokens");
    for (int64_t at = 0; at < n;) {
        int k = 0;
        for (; k < EVAL_GROUP && at < n; k++, at += step)
            spec[k] = piece(m, ids + at, n - at < step ? n - at : step);
        if (run_pieces(g, spec, k, out, e))
            return -1;
    }
    return 0;
}

/* Of n tokens, of which `unknown` scored ones are not in the vocabulary. */
static int write_score(const struct eval_score *sum, int64_t n, int64_t unknown,
                       const struct eval_options *o, struct buf *out)
{
    double tokens = sum->tokens > 0 ? (double)sum->tokens : 1;

    buf_addf(out,
             "{\"tokens\": %lld, \"nats\": %.3f, \"perplexity\": %.4f, "
             "\"unk_share\": %.6f",
             (long long)sum->tokens, sum->nats, exp(sum->nats / tokens),
             (double)unknown / tokens);
    /* a window's first token counts as much as those that are scored */
    if (o->words > 0)
        buf_addf(out, ", \"word_perplexity\": %.4f",
                 exp(sum->nats / tokens * (double)(n - 1) / (double)o->words));
    if (o->bytes > 0)
        buf_addf(out, ", \"bits_per_byte\": %.4f",
                 sum->nats / tokens * (double)(n - (o->framed != 0)) /
                     (log(2) * (double)o->bytes));
    return buf_add_str(out, "}\n");
}

static int64_t window_of(const struct model *m, const struct eval_options *o)
{
    return o->window > 0
               ? o->window
               : model_get_info(m)->state.port[PORT_TARGET].context_length;
}

int eval_stream(struct engine *g, struct model *m, const int32_t *ids,
                int64_t n, const struct eval_options *o, struct buf *out,
                struct err *e)
{
    int32_t unk = tokenizer_unk(model_tokenizer(m));
    int64_t window = window_of(m, o), unknown = 0, part;
    struct eval_score sum = {0, 0}, s;

    n = o->max_tokens > 0 && n > o->max_tokens ? o->max_tokens : n;
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
    return write_score(&sum, n, unknown, o, out);
}

/* Pieces of texts, some of them together. */
struct apart {
    struct engine *g;
    struct model *m;
    struct job_spec spec[EVAL_GROUP];
    int k;
    struct eval_score sum;
};

static int add_piece(struct apart *a, const int32_t *ids, int64_t n,
                     struct err *e)
{
    int k = a->k;

    a->spec[a->k++] = piece(a->m, ids, n);
    if (k + 1 < EVAL_GROUP)
        return 0;
    a->k = 0;
    return run_pieces(a->g, a->spec, k + 1, &a->sum, e);
}

/* Each text by itself, with the frame before and behind it; what is over a
 * window of 2 or more goes on in another, and every token is scored once. */
static int eval_apart(struct engine *g, struct model *m,
                      const struct eval_texts *t, const struct eval_options *o,
                      struct buf *out, struct err *e)
{
    int32_t unk = tokenizer_unk(model_tokenizer(m));
    struct apart a = {.g = g, .m = m};
    int64_t window = window_of(m, o), unknown = 0, at = 0, len;

    for (int i = 0; i < t->n_items; i++) {
        int64_t end = t->start[i + 1];
        for (; at < end - 1; at += len - 1) {
            len = end - at;
            len = window > 1 && len > window ? window : len;
            for (int64_t j = 1; j < len; j++)
                unknown += t->ids[at + j] == unk;
            if (add_piece(&a, t->ids + at, len, e))
                return -1;
        }
        if (o->progress)
            o->progress(o->ctx, end, t->n);
        if (o->max_tokens > 0 && end >= o->max_tokens)
            break;
    }
    if (a.k > 0 && run_pieces(g, a.spec, a.k, &a.sum, e))
        return -1;
    return write_score(&a.sum, at + 1, unknown, o, out);
}

/* The trainer read each text from an empty state. */
static int are_apart(const struct model *m)
{
    const struct hparams *h = checkpoint_hparams(m->checkpoint, NULL);
    int apart = 0;

    return h && hparams_bool_or(h, "seqd_apart", 0, &apart, NULL) == 0 && apart;
}

/* --- files --- */

static int eval_language(struct engine *g, struct model *m,
                         const char *const *paths, int n,
                         const struct eval_options *o, struct buf *out,
                         struct err *e)
{
    struct eval_texts t;
    struct eval_options own = *o;
    int rc = eval_texts_read(&t, m, paths, n, NULL, o, e);

    if (rc == 0) {
        int whole = o->max_tokens <= 0 || o->max_tokens >= t.n;
        int parts = tokenizer_level(m->tokenizer) == TOK_LEVEL_SUBWORD;
        own.words = whole && parts && t.frame >= 0 ? t.words : 0;
        own.bytes = whole ? t.bytes : 0;
        own.framed = t.frame >= 0;
        rc = t.frame >= 0 && o->window <= 0 && are_apart(m)
                 ? eval_apart(g, m, &t, &own, out, e)
                 : eval_stream(g, m, t.ids, t.n, &own, out, e);
    }
    eval_texts_fini(&t);
    return rc;
}

int eval_files(struct engine *g, struct model *m, const char *const *paths,
               int n, const struct eval_options *o, struct buf *out,
               struct err *e)
{
    if (!model_tokenizer(m))
        return err_set(e, ERR_UNSUPPORTED, "the model reads no text");
    if (model_can(m, &task_classify))
        return eval_labels(g, m, paths, n, o, out, e);
    if (o->labels)
        return err_set(e, ERR_INVALID, "--labels is for classifiers");
    return eval_language(g, m, paths, n, o, out, e);
}
