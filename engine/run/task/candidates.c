/* candidates: see candidates.h. A row gives the next token of each candidate
 * that is there; the first row, behind the prompt, is read by all.
 *
 * SPDX-License-Identifier: MIT */
#include "engine/run/task/candidates.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/mem.h"
#include "engine/run/beam_search.h"
#include "engine/run/model.h"
#include "engine/run/task/branches.h"
#include "engine/run/task/task_impl.h"

struct one {
    const int32_t *ids;
    int n, read; /* tokens; those that have their probability */
    double logprob;
};

struct candidates_job {
    struct one *c; /* [n] */
    int n, next;   /* the first that has not begun */
    int longest, top_k;
    float temperature;
    int32_t *ids;
    char *text;
    float *row; /* [V] with a temperature */
    struct branches branches;
    int of[MOST_BRANCHES];   /* the candidate of a branch */
    struct prediction *best; /* [n] */
    struct next_result res;
};

static int check(const struct candidates_params *p, int V, struct err *e)
{
    if (p->n < 1 || p->n > MOST_CANDIDATES)
        return err_set_at(e, ERR_INVALID, "invalid_value", "candidates",
                          "%d candidates, expected 1 to %d", p->n,
                          MOST_CANDIDATES);
    for (int i = 0; i < p->n; i++) {
        int bad = p->given[i].n < 1;
        for (int k = 0; k < p->given[i].n; k++)
            bad |= p->given[i].ids[k] < 0 || p->given[i].ids[k] >= V;
        if (bad)
            return err_set_at(e, ERR_INVALID, "invalid_value", "candidates",
                              "candidate %d has no tokens of the model", i);
    }
    return 0;
}

static int copy(struct candidates_job *s, const struct candidates_params *p,
                struct err *e)
{
    size_t ids = 0, bytes = 0;
    for (int i = 0; i < p->n; i++) {
        ids += (size_t)p->given[i].n;
        bytes += strlen(p->given[i].text) + 1;
    }
    s->ids = mem_array(ids, sizeof *s->ids);
    s->text = mem_alloc(bytes);
    s->c = mem_zarray((size_t)p->n, sizeof *s->c);
    s->best = mem_zarray((size_t)p->n, sizeof *s->best);
    if (!s->ids || !s->text || !s->c || !s->best)
        return err_nomem(e);
    int32_t *id = s->ids;
    char *text = s->text;
    for (int i = 0; i < p->n; i++) {
        const struct given *g = &p->given[i];
        size_t n = strlen(g->text) + 1;
        memcpy(id, g->ids, (size_t)g->n * sizeof *id);
        memcpy(text, g->text, n);
        s->c[i] = (struct one){.ids = id, .n = g->n};
        s->best[i].text = text;
        s->best[i].id = *id;
        s->longest = g->n > s->longest ? g->n : s->longest;
        id += g->n;
        text += n;
    }
    s->n = p->n;
    return 0;
}

static int candidates_init(struct job *j, const void *params, struct err *e)
{
    const struct candidates_params *p = params;
    int V = j->model->info.cols[OUT_LOGITS];
    struct candidates_job *s = mem_zalloc(sizeof *s);
    int64_t context = j->model->info.state.port[PORT_TARGET].context_length;

    j->own = s;
    if (!s)
        return err_nomem(e);
    if (check(p, V, e) || copy(s, p, e))
        return -1;
    if (context > 0 && (int64_t)j->n_tokens + s->longest - 1 > context)
        return err_set_at(
            e, ERR_TOO_LARGE, "context_length_exceeded", "candidates",
            "the text and its longest candidate have %lld "
            "tokens, the model takes %lld",
            (long long)j->n_tokens + s->longest, (long long)context + 1);
    s->top_k = p->top_k < p->n ? p->top_k : p->n;
    s->temperature = p->temperature;
    if (s->temperature < 1.0f || s->temperature > 1.0f) {
        s->row = mem_floats((size_t)V);
        if (!s->row)
            return err_nomem(e);
    }
    branches_begin(j, s->n < MOST_BRANCHES ? s->n : MOST_BRANCHES);
    return 0;
}

static void candidates_fini(struct job *j)
{
    struct candidates_job *s = j->own;
    if (s) {
        mem_free(s->c);
        mem_free(s->best);
        mem_free(s->ids);
        mem_free(s->text);
        mem_aligned_free(s->row);
        mem_free(s);
    }
}

static void candidates_most(const struct job *j, int64_t n[MAX_PORTS])
{
    const struct candidates_job *s = j->own;
    n[PORT_TARGET] = (int64_t)j->n_tokens + s->longest - 1;
}

static int candidates_plan(struct job *j, int budget, struct batch_plan *p)
{
    struct candidates_job *s = j->own;
    for (int i = 0; i < s->branches.n; i++) {
        s->branches.b[i].ids = s->c[s->of[i]].ids;
        s->branches.b[i].n = s->c[s->of[i]].read;
    }
    return branches_plan(j, &s->branches, budget, p);
}

/* The next token of candidates from .. to - 1, all behind the same tokens. */
static void read_row(struct candidates_job *s, const struct task_ctx *x,
                     const float *row, int from, int to)
{
    int V = x->model->info.cols[OUT_LOGITS];
    float max;
    if (s->row) {
        for (int i = 0; i < V; i++)
            s->row[i] = row[i] / s->temperature;
        row = s->row;
    }
    double base = log_softmax_base(x->k, V, row, &max);
    for (int i = from; i < to; i++) {
        struct one *c = &s->c[i];
        c->logprob += (double)row[c->ids[c->read++]] - (double)max - base;
    }
}

/* So many as there is room for begin behind the prompt. */
static int begin_some(struct job *j, struct candidates_job *s)
{
    int from[MOST_BRANCHES], n = 0;
    for (; s->next < s->n && n < MOST_BRANCHES; s->next++) {
        if (s->c[s->next].n == 1)
            continue;
        s->of[n] = s->next;
        from[n++] = -1;
    }
    branches_replace(j, &s->branches, from, n);
    return n;
}

static int by_rank(const void *a, const void *b)
{
    const struct prediction *x = a, *y = b;
    if (x->logprob > y->logprob || x->logprob < y->logprob)
        return x->logprob > y->logprob ? -1 : 1;
    return x->text < y->text ? -1 : 1; /* texts lie in the order given */
}

static int finish(struct job *j, struct candidates_job *s)
{
    for (int i = 0; i < s->n; i++) {
        double p = exp(s->c[i].logprob);
        s->best[i].logprob = (float)s->c[i].logprob;
        s->best[i].prob = (float)p;
        s->res.covered_mass += p;
    }
    qsort(s->best, (size_t)s->n, sizeof *s->best, by_rank);
    s->res.prediction = s->best;
    s->res.n = s->top_k;
    s->res.typed = "";
    j->answer = &s->res;
    return TASK_DONE;
}

static int candidates_take(struct job *j, const struct task_ctx *x,
                           struct batch_item *first, int n)
{
    struct candidates_job *s = j->own;
    const struct batch_item *item[MOST_BRANCHES];
    int at[MOST_BRANCHES], V = x->model->info.cols[OUT_LOGITS], open = 0;
    int found = branches_take(&s->branches, first, n, item, at);

    for (int k = 0; k < found; k++) {
        const float *row = task_row(j, x, item[k], 0, V);
        if (!row)
            return -1;
        if (at[k] < 0) {
            read_row(s, x, row, 0, s->n);
            return begin_some(j, s) > 0 ? TASK_MORE : finish(j, s);
        }
        int i = s->of[at[k]];
        read_row(s, x, row, i, i + 1);
        if (s->c[i].read < s->c[i].n)
            s->branches.b[at[k]].open = 1;
        else
            branches_end(j, &s->branches.b[at[k]]);
        if (s->c[i].read > j->branch_rows)
            j->branch_rows = s->c[i].read;
    }
    for (int i = 0; i < s->branches.n; i++)
        open |= s->branches.b[i].open;
    if (open || !s->branches.rooted)
        return TASK_MORE;
    return begin_some(j, s) > 0 ? TASK_MORE : finish(j, s);
}

static void candidates_lost(struct job *j)
{
    struct candidates_job *s = j->own;
    branches_lost(&s->branches);
}

const struct task task_candidates = {.name = "candidates",
                                     .output = OUT_LOGITS,
                                     .needs = TASK_TOKENS | TASK_APPEND,
                                     .init = candidates_init,
                                     .fini = candidates_fini,
                                     .most = candidates_most,
                                     .plan = candidates_plan,
                                     .take = candidates_take,
                                     .lost = candidates_lost};
