/* next: the distribution of the next token. Probabilities are those of
 * the whole softmax of logits / temperature; unknown and special tokens, the
 * end of text too, are left out of the list and of the covered mass, not of the
 * sum.
 *
 * SPDX-License-Identifier: MIT */
#include "engine/run/task/next.h"

#include <math.h>
#include <string.h>

#include "engine/base/mem.h"
#include "engine/run/model.h"
#include "engine/run/sampler.h"
#include "engine/run/task/next_impl.h"

#define MAX_TOP_K 1000
#define PART 64 /* of the sum over tokens that are not offered */
/* Below this exp() is 0 in fp32 by far; it keeps tiny temperatures finite. */
#define MIN_SCALED (-1e4f)

struct next {
    int top_k;
    float temperature;
    struct candidate *best;  /* [top_k] */
    struct prediction *pred; /* [top_k] */
    float *x;                /* [top_k] */
    struct next_result res;
};

int next_check(const struct next_params *p, struct err *e)
{
    if (p->top_k < 1 || p->top_k > MAX_TOP_K) {
        return err_set_at(e, ERR_INVALID, "invalid_value", "top_k",
                          "top_k is %d, expected 1..%d", p->top_k, MAX_TOP_K);
    }
    if (!(p->temperature > 0.0f) || !isfinite(p->temperature)) {
        return err_set_at(e, ERR_INVALID, "invalid_value", "temperature",
                          "temperature must be a number over 0");
    }
    return 0;
}

int next_init(struct job *j, const void *params, struct err *e)
{
    const struct next_params *p = params;
    int V = j->model->info.cols[OUT_LOGITS];
    struct next *t = mem_zalloc(sizeof *t);

    j->own = t;
    if (!t)
        return err_nomem(e);
    if (next_check(p, e))
        return -1;
    t->top_k = p->top_k < V ? p->top_k : V;
    t->temperature = p->temperature;
    size_t n = (size_t)t->top_k;
    t->best = mem_array(n, sizeof *t->best);
    t->pred = mem_array(n, sizeof *t->pred);
    t->x = mem_array(n, sizeof *t->x);
    if (!t->best || !t->pred || !t->x)
        return err_nomem(e);
    return p->attention ? task_show_attention(j, e) : 0;
}

void next_fini(struct job *j)
{
    struct next *t = j->own;
    if (t) {
        mem_free(t->best);
        mem_free(t->pred);
        mem_free(t->x);
        mem_free(t);
    }
}

static int next_plan(struct job *j, int budget, struct batch_plan *p)
{
    return task_plan_input(j, budget, p, OUT_LOGITS);
}

static float scaled(float x, float max, float temperature)
{
    float s = (x - max) / temperature;
    return s < MIN_SCALED ? MIN_SCALED : s;
}

/* Take the tokens that are not offered out of the row; returns their part of
 * the sum of exponentials. */
static double take_out(const struct next *t, const struct task_ctx *x,
                       float *row, float max)
{
    const struct model *m = x->model;
    float part[PART];
    double sum = 0;

    for (int i = 0; i < m->n_unseen; i += PART) {
        int n = m->n_unseen - i < PART ? m->n_unseen - i : PART;
        for (int k = 0; k < n; k++) {
            float *p = &row[m->forbid[i + k]];
            part[k] = scaled(*p, max, t->temperature);
            *p = -INFINITY;
        }
        x->k->vexp(n, part, part);
        for (int k = 0; k < n; k++)
            sum += (double)part[k];
    }
    return sum;
}

int next_take(struct job *j, const struct task_ctx *x, struct batch_item *first,
              int n)
{
    struct next *t = j->own;
    int V = x->model->info.cols[OUT_LOGITS];

    if (first[n - 1].n_w == 0)
        return TASK_MORE;
    float *row = task_row(j, x, &first[n - 1], 0, V);
    if (!row)
        return -1;
    float max = x->k->row_max(V, row);
    double out = take_out(t, x, row, max);
    int found = sampler_top(x->k, row, V, t->top_k, t->best);
    for (int i = 0; i < V; i++)
        row[i] = scaled(row[i], max, t->temperature);
    double in = (double)x->k->sum_exp(V, row, 0.0f);
    double sum = in + out;
    for (int i = 0; i < found; i++)
        t->x[i] = scaled(t->best[i].x, max, t->temperature);
    x->k->vexp(found, t->x, t->x);
    for (int i = 0; i < found; i++) {
        float rel = t->best[i].x - max;
        double lp = (double)rel / (double)t->temperature - log(sum);
        t->pred[i] = (struct prediction){.id = t->best[i].id,
                                         .prob = (float)((double)t->x[i] / sum),
                                         .logprob = (float)lp};
    }
    t->res = (struct next_result){t->pred, found, in / sum};
    j->answer = &t->res;
    return TASK_DONE;
}

const struct task task_next = {.name = "next",
                               .output = OUT_LOGITS,
                               .needs = TASK_TOKENS | TASK_APPEND,
                               .init = next_init,
                               .fini = next_fini,
                               .plan = next_plan,
                               .take = next_take};
