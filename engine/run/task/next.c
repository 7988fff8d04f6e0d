/* next: the distribution of the next token. Probabilities are those of
 * the whole softmax of logits / temperature; unknown and special tokens, the
 * end of text too, are left out of the list and of the covered mass, not of the
 * sum. With a prefix so are the entries that do not begin with it; an entry
 * that begins as was typed and one with a small letter in front are one word.
 *
 * SPDX-License-Identifier: MIT */
#include "engine/run/task/next.h"

#include <math.h>
#include <string.h>

#include "engine/base/mem.h"
#include "engine/run/model.h"
#include "engine/run/sampler.h"
#include "engine/run/task/next_impl.h"
#include "engine/run/typed.h"

#define MAX_TOP_K 1000
#define PART 64         /* of the sum over tokens that are not offered */
#define MOST_JOINED 512 /* bytes of a word that is looked up */
/* Below this exp() is 0 in fp32 by far; it keeps tiny temperatures finite. */
#define MIN_SCALED (-1e4f)

struct next {
    int top_k;
    float temperature;
    struct candidate *best;  /* [top_k] */
    struct prediction *pred; /* [top_k] */
    float *x;                /* [top_k] */
    struct typed typed;
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
    return p->prefix ? typed_check(p->prefix, e) : 0;
}

/* Entries of the vocabulary are words, or nothing begins with a prefix. */
static int check_prefix(const struct job *j, const struct next_params *p,
                        struct err *e)
{
    if (!p->prefix || !*p->prefix ||
        tokenizer_level(j->model->tokenizer) == TOK_LEVEL_WORD)
        return 0;
    return err_set_at(e, ERR_UNSUPPORTED, "task_not_supported", "prefix",
                      "a prefix is of a word, and what is offered are tokens");
}

int next_init(struct job *j, const void *params, struct err *e)
{
    const struct next_params *p = params;
    int V = j->model->info.cols[OUT_LOGITS];
    struct next *t = mem_zalloc(sizeof *t);

    j->own = t;
    if (!t)
        return err_nomem(e);
    if (next_check(p, e) || check_prefix(j, p, e))
        return -1;
    typed_set(&t->typed, p->prefix, j->model->no_capitals, 0);
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

/* Both are one word: the probability of the sum at `to`. */
static void merge(const struct next *t, float *row, int to, int from)
{
    double a = (double)row[to], b = (double)row[from], T = t->temperature;
    double most = a > b ? a : b, least = a > b ? b : a;

    row[to] = (float)(most + T * log1p(exp((least - most) / T)));
    row[from] = -INFINITY;
}

/* Take the entries that do not begin as was typed out of the row; returns their
 * part of the sum of exponentials. */
static double take_other(const struct next *t, const struct task_ctx *x,
                         float *row, float max)
{
    const struct tokenizer *tok = x->model->tokenizer;
    int V = x->model->info.cols[OUT_LOGITS], n = 0;
    float part[PART];
    double sum = 0;

    for (int i = 0; i <= V; i++) {
        if (n == PART || i == V) {
            x->k->vexp(n, part, part);
            for (int k = 0; k < n; k++)
                sum += (double)part[k];
            n = 0;
        }
        if (i == V || !(row[i] > -INFINITY))
            continue;
        size_t len;
        int form;
        const char *word = tokenizer_piece(tok, i, &len);
        if (word && typed_word(&t->typed, word, len, &form))
            continue;
        part[n++] = scaled(row[i], max, t->temperature);
        row[i] = -INFINITY;
    }
    return sum;
}

/* An entry with a small letter in front goes to the one that is written as was
 * typed, where there is one: they are one word of the answer. */
static void join_small(const struct next *t, const struct task_ctx *x,
                       float *row)
{
    const struct tokenizer *tok = x->model->tokenizer;
    int V = x->model->info.cols[OUT_LOGITS];
    char other[MOST_JOINED];

    for (int i = 0; i < V; i++) {
        size_t len;
        int form;
        const char *word = tokenizer_piece(tok, i, &len);
        if (!(row[i] > -INFINITY) || !word)
            continue;
        size_t n = (size_t)typed_word(&t->typed, word, len, &form);
        size_t at = (size_t)t->typed.n;
        if (form == 0 || at + (len - n) >= sizeof other)
            continue;
        memcpy(other, t->typed.text, at);
        memcpy(other + at, word + n, len - n);
        other[at + len - n] = 0;
        int32_t to = tokenizer_id(tok, other);
        if (to >= 0 && to < V && row[to] > -INFINITY)
            merge(t, row, to, i);
    }
}

/* What stands behind what was typed of an entry. */
static const char *rest_of(const struct next *t, const struct task_ctx *x,
                           int32_t id)
{
    size_t len;
    int form;
    const char *word = tokenizer_piece(x->model->tokenizer, id, &len);

    return word + typed_word(&t->typed, word, len, &form);
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
    int typed = t->typed.n > 0;
    if (typed) {
        out += take_other(t, x, row, max);
        join_small(t, x, row);
    }
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
        const char *text = typed ? rest_of(t, x, t->best[i].id) : NULL;
        t->pred[i] = (struct prediction){.id = t->best[i].id,
                                         .prob = (float)((double)t->x[i] / sum),
                                         .logprob = (float)lp,
                                         .text = text};
    }
    t->res = (struct next_result){t->pred, found, in / sum, t->typed.text};
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
