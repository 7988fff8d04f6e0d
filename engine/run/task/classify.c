/* classify: one label for a text. The wanted row is the raw score of each
 * label; the answer is its softmax, or what else the checkpoint states.
 *
 * SPDX-License-Identifier: MIT */
#include "engine/run/task/classify.h"

#include <string.h>

#include "engine/base/mem.h"
#include "engine/run/model.h"
#include "engine/run/task/windows.h"

struct classify {
    struct classify_result res;
    struct windows *windows; /* NULL: the text is read as it is */
    int last;                /* token whose row has the scores */
    int *label;              /* [res.n] */
    float *logits, *scores;  /* [all labels] */
    float *scaled;           /* [all labels], then the chosen ones */
};

/* The chosen labels in the model's order. */
static int choose(const struct job *j, struct classify *c,
                  const struct classify_params *p, struct err *e)
{
    int all = j->model->info.cols[OUT_CLASS], n = p->labels ? p->n_labels : 0;

    for (int i = 0; i < n; i++) {
        int l = p->labels[i];
        if (l < 0 || l >= all)
            return err_set_at(e, ERR_INVALID, "invalid_value", "labels",
                              "label %d is not one of the model's", l);
        if (c->label[l]++ > 0) /* so far they are marks */
            return err_set_at(e, ERR_INVALID, "invalid_value", "labels",
                              "'%.64s' is there twice",
                              j->model->info.labels[l]);
    }
    for (int l = 0; l < all; l++)
        if (!p->labels || c->label[l])
            c->label[c->res.n++] = l;
    return c->res.n > 0 ? 0
                        : err_set_at(e, ERR_INVALID, "invalid_value", "labels",
                                     "no label is left");
}

/* How the text is read: as it is, or in parts. */
static int begin(struct job *j, struct classify *c,
                 const struct classify_params *p, struct err *e)
{
    const struct class_rules *rules = &j->model->classes;
    int k = windows_count(j->model, j->n_tokens), around = p->before + p->after;

    if (k > 1 && p->attention)
        return err_set_at(e, ERR_INVALID, "invalid_value", "attention",
                          "the text is read in %d parts, attention is shown of "
                          "one",
                          k);
    /* Parts would not meet. */
    if (k > 1 && (p->before < 0 || p->after < 0 ||
                  around > rules->window - rules->stride))
        return err_set(e, ERR_INVALID,
                       "%d tokens around a text, which is read in parts of %d",
                       around, rules->window);
    if (k > 1) {
        c->windows = windows_new(j, p->before, p->after, e);
        return c->windows ? 0 : -1;
    }
    c->last = class_token(&j->model->info, j->tokens, j->n_tokens);
    /* A known prefix may reach past that token, whose row is wanted. */
    j->unshared |= c->last != j->n_tokens - 1;
    return p->attention ? task_show_attention(j, e) : 0;
}

static int classify_init(struct job *j, const void *params, struct err *e)
{
    static const struct classify_params plain;
    const struct classify_params *p = params ? params : &plain;
    size_t n = (size_t)j->model->info.cols[OUT_CLASS];
    struct classify *c =
        mem_zalloc(sizeof *c + 3 * n * sizeof(float) + n * sizeof(int));

    j->own = c;
    if (!c)
        return err_nomem(e);
    c->logits = (float *)(void *)(c + 1);
    c->scores = c->logits + n;
    c->scaled = c->scores + n;
    c->label = (int *)(void *)(c->scaled + n);
    return choose(j, c, p, e) || begin(j, c, p, e) ? -1 : 0;
}

static void classify_fini(struct job *j)
{
    struct classify *c = j->own;
    if (c)
        windows_free(c->windows);
    mem_free(c);
}

static void classify_most(const struct job *j, int64_t n[MAX_PORTS])
{
    if (j->window > 0)
        n[PORT_TARGET] = j->window;
}

static int classify_plan(struct job *j, int budget, struct batch_plan *p)
{
    const struct classify *c = j->own;
    int port;

    if (c->windows)
        return windows_plan(j, c->windows, budget, p);
    struct span in = task_span(j, budget, p, &port);
    struct want w = {.kind = OUT_CLASS, .from = in.n - 1, .n = 1};
    int wants = port == PORT_TARGET && j->pos[port] + in.n > c->last;

    return in.n > 0 ? batch_add(p, j, j->seq, port, &in, &w, wants) : 0;
}

static void to_scores(const struct task_ctx *x, const float *row, int n,
                      float *scores)
{
    float max;

    switch (x->model->info.scores) {
    case SCORE_SIGMOID:
        x->k->vsigmoid(n, row, scores);
        break;
    case SCORE_RAW:
        memcpy(scores, row, (size_t)n * sizeof(float));
        break;
    default:
        max = x->k->row_max(n, row);
        x->k->softmax(n, row, max, x->k->sum_exp(n, row, max), scores);
    }
}

/* The chosen labels' scores of the row of logits. */
static int finish(struct job *j, struct classify *c, const struct task_ctx *x)
{
    int all = x->model->info.cols[OUT_CLASS], n = c->res.n, best = 0;

    class_rules_scale(&x->model->classes, all, c->logits, c->scaled);
    if (!x->k->all_finite(all, c->scaled))
        return job_fail(j, ERR_INTERNAL, "internal_error",
                        "the checkpoint's temperature makes a number that is "
                        "not finite");
    for (int i = 0; i < n; i++)
        c->scaled[i] = c->scaled[c->label[i]];
    to_scores(x, c->scaled, n, c->scores);
    for (int i = 1; i < n; i++)
        best = c->scores[i] > c->scores[best] ? i : best;
    c->res = (struct classify_result){.scores = c->scores,
                                      .label = c->label,
                                      .n = n,
                                      .best = best,
                                      .logits = c->logits,
                                      .windows =
                                          windows_count(x->model, j->n_tokens)};
    j->answer = &c->res;
    return TASK_DONE;
}

static int classify_take(struct job *j, const struct task_ctx *x,
                         struct batch_item *first, int n)
{
    struct classify *c = j->own;
    int all = x->model->info.cols[OUT_CLASS];

    if (c->windows) {
        int rc = windows_take(j, c->windows, x, first, n, c->logits);
        return rc == TASK_DONE ? finish(j, c, x) : rc;
    }
    if (first[n - 1].n_w == 0)
        return TASK_MORE;
    const float *row = task_row(j, x, &first[n - 1], 0, all);
    if (!row)
        return -1;
    memcpy(c->logits, row, (size_t)all * sizeof *row);
    return finish(j, c, x);
}

static void classify_lost(struct job *j)
{
    struct classify *c = j->own;
    if (c->windows)
        windows_lost(c->windows);
}

int classify_most_tokens(const struct model *m)
{
    return m->max_text;
}

const struct task task_classify = {.name = "classify",
                                   .output = OUT_CLASS,
                                   .init = classify_init,
                                   .fini = classify_fini,
                                   .most = classify_most,
                                   .longest = classify_most_tokens,
                                   .plan = classify_plan,
                                   .take = classify_take,
                                   .lost = classify_lost};
