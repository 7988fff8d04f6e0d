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
    return buf_add_str(out, "}\n");
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
        rc = eval_stream(g, m, t.ids, t.n, &own, out, e);
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
