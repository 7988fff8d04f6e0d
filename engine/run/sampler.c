/* sampler: see sampler.h. Source of the filters: sampler.h, struct
 * sample_params.
 *
 * SPDX-License-Identifier: MIT */
#include "engine/run/sampler.h"

#include <float.h>
#include <math.h>
#include <string.h>

#include "engine/base/mem.h"
#include "engine/base/rng.h"

#define BLOCK 64      /* of the search for what is better than a bound */
#define SUM_BLOCK 512 /* of the draw over a dense row */
#define LANES 16
#define MOST_PENALTY 100.0f
#define FIRST_COUNTS 256

int sampler_scratch_grow(struct sampler_scratch *s, int n_vocab, struct err *e)
{
    if (n_vocab <= s->cap)
        return 0;
    struct candidate *v = mem_array((size_t)n_vocab, sizeof *v);
    float *x = mem_floats((size_t)n_vocab);
    if (!v || !x) {
        mem_free(v);
        mem_aligned_free(x);
        return err_nomem(e);
    }
    sampler_scratch_fini(s);
    s->v = v;
    s->e = x;
    s->cap = n_vocab;
    return 0;
}

void sampler_scratch_fini(struct sampler_scratch *s)
{
    mem_free(s->v);
    mem_aligned_free(s->e);
    memset(s, 0, sizeof *s);
}

/* --- order: larger logit first, then lower id --- */

static int better(const struct candidate *a, const struct candidate *b)
{
    return a->x > b->x || (a->x == b->x && a->id < b->id);
}

/* A binary heap; `sign` 1 has the best at the root, 0 the worst. */
static void sift_down(struct candidate *v, int n, int i, int sign)
{
    struct candidate it = v[i];
    for (;;) {
        int c = 2 * i + 1;
        if (c >= n)
            break;
        if (c + 1 < n && better(&v[c + 1], &v[c]) == sign)
            c++;
        if (better(&v[c], &it) != sign)
            break;
        v[i] = v[c];
        i = c;
    }
    v[i] = it;
}

static void heapify(struct candidate *v, int n, int sign)
{
    for (int i = n / 2 - 1; i >= 0; i--)
        sift_down(v, n, i, sign);
}

static void swap(struct candidate *a, struct candidate *b)
{
    struct candidate t = *a;
    *a = *b;
    *b = t;
}

int sampler_top(const struct kernels *k, const float *x, int n, int want,
                struct candidate *v)
{
    int have = 0, i = 0;
    for (; i < n && have < want; i++)
        if (x[i] > -INFINITY)
            v[have++] = (struct candidate){.x = x[i], .id = i};
    heapify(v, have, 0);
    while (i < n && have > 0) {
        int end = i + BLOCK < n ? i + BLOCK : n;
        if (!(k->row_max(end - i, x + i) > v[0].x)) {
            i = end; /* later ids lose ties */
            continue;
        }
        for (; i < end; i++) {
            if (x[i] > v[0].x) {
                v[0] = (struct candidate){.x = x[i], .id = i};
                sift_down(v, have, 0, 0);
            }
        }
    }
    for (int m = have - 1; m > 0; m--) { /* worst to the end */
        swap(&v[0], &v[m]);
        sift_down(v, m, 0, 0);
    }
    return have;
}

/* --- filters --- */

/* Keskar et al. 2019, in the common form that divides positive logits and
 * multiplies negative ones. */
static int filter_repetition(const struct sampler *s, struct candidates *c)
{
    float r = s->p.repetition_penalty;
    for (int i = 0; i < s->n_seen; i++) {
        float *x = &c->row[s->seen[i]];
        float y = *x > 0.0f ? *x / r : *x * r;
        *x = y > FLT_MAX ? FLT_MAX : y < -FLT_MAX ? -FLT_MAX : y;
    }
    return 0;
}

/* mu_i - n_i frequency - (n_i > 0) presence, n_i of the output alone. */
static int filter_counts(const struct sampler *s, struct candidates *c)
{
    for (int i = 0; i < s->n_made; i++)
        c->row[s->made[i].id] -= (float)s->made[i].n * s->p.frequency_penalty +
                                 s->p.presence_penalty;
    return 0;
}

static int filter_bias(const struct sampler *s, struct candidates *c)
{
    for (int i = 0; i < s->p.n_bias; i++)
        c->row[s->p.bias[i].id] += s->p.bias[i].x;
    return 0;
}

static int filter_forbid(const struct sampler *s, struct candidates *c)
{
    for (int i = 0; i < s->n_forbid; i++)
        c->row[s->forbid[i]] = -INFINITY;
    c->max = c->k->row_max(c->V, c->row);
    return c->max > -INFINITY ? 0 : -1;
}

/* Shifted by the maximum first, so that a tiny temperature cannot overflow. */
static int filter_temperature(const struct sampler *s, struct candidates *c)
{
    float t = s->p.temperature, max = c->max;
    for (int i = 0; i < c->V; i++)
        c->row[i] = (c->row[i] - max) / t;
    c->max = 0.0f;
    return 0;
}

static int filter_top_k(const struct sampler *s, struct candidates *c)
{
    if (s->p.top_k < c->V) {
        c->n = sampler_top(c->k, c->row, c->V, s->p.top_k, c->v);
        c->dense = 0;
        c->sorted = 1;
    }
    return 0;
}

/* Exponentials of all candidates. */
static void need_exp(struct candidates *c)
{
    if (c->have_e)
        return;
    c->have_e = 1;
    if (c->dense) {
        c->k->vexp(c->V, c->row, c->e);
        return;
    }
    for (int i = 0; i < c->n; i++)
        c->e[i] = c->v[i].x;
    c->k->vexp(c->n, c->e, c->e);
    for (int i = 0; i < c->n; i++)
        c->v[i].e = c->e[i];
}

/* Sum in a fixed order: lanes inside a block, doubles over blocks. */
static double block_sum(int n, const float *e)
{
    float lane[LANES] = {0};
    double sum = 0;
    int i = 0;
    for (; i + LANES <= n; i += LANES)
        for (int l = 0; l < LANES; l++)
            lane[l] += e[i + l];
    for (int l = 0; i < n; i++, l++)
        lane[l] += e[i];
    for (int l = 0; l < LANES; l++)
        sum += (double)lane[l];
    return sum;
}

static double dense_mass(const struct candidates *c)
{
    double sum = 0;
    for (int i = 0; i < c->V; i += SUM_BLOCK) {
        int n = c->V - i < SUM_BLOCK ? c->V - i : SUM_BLOCK;
        sum += block_sum(n, c->e + i);
    }
    return sum;
}

/* Dense to list: those with e >= least, in id order. */
static void gather(struct candidates *c, float least)
{
    int n = 0;
    for (int b = 0; b < c->V; b += BLOCK) {
        int end = b + BLOCK < c->V ? b + BLOCK : c->V;
        if (c->k->row_max(end - b, c->e + b) < least)
            continue;
        for (int i = b; i < end; i++)
            if (c->e[i] >= least && c->e[i] > 0.0f)
                c->v[n++] = (struct candidate){c->row[i], c->e[i], i};
    }
    c->n = n;
    c->dense = 0;
    c->sorted = 0;
}

/* Order the best until they hold `mass`, drop the others. */
static void keep_nucleus(struct candidates *c, double mass)
{
    int left = c->n, kept = 0;
    double sum = 0;
    if (c->sorted) {
        while (kept < c->n && (kept == 0 || sum < mass))
            sum += (double)c->v[kept++].e;
        c->n = kept;
        return;
    }
    heapify(c->v, left, 1);
    while (left > 0 && (kept == 0 || sum < mass)) {
        sum += (double)c->v[0].e;
        kept++;
        left--;
        swap(&c->v[0], &c->v[left]); /* the best gather at the end */
        sift_down(c->v, left, 0, 1);
    }
    for (int i = 0, k = c->n - 1; i < k; i++, k--)
        swap(&c->v[i], &c->v[k]);
    c->n = kept;
    c->sorted = 1;
}

/* Holtzman et al. 2020: the fewest best tokens that hold top_p of the mass.
 * What is dropped holds less than 1 - top_p, and tokens below (1 - top_p) / V
 * of the mass hold less than that together: they cannot be in the nucleus. */
static int filter_top_p(const struct sampler *s, struct candidates *c)
{
    double p = (double)s->p.top_p, mass = 0;
    need_exp(c);
    if (c->dense) {
        mass = dense_mass(c);
        /* a little lower, for the rounding of the sum */
        gather(c, (float)(0.99 * (1.0 - p) * mass / c->V));
    } else {
        for (int i = 0; i < c->n; i++)
            mass += (double)c->v[i].e;
    }
    keep_nucleus(c, p * mass);
    return c->n > 0 ? 0 : -1;
}

/* Nguyen et al. 2024: at least min_p of the best token's probability. */
static int filter_min_p(const struct sampler *s, struct candidates *c)
{
    float best = 0.0f;
    int n = 0;
    need_exp(c);
    if (c->dense) {
        gather(c, s->p.min_p * c->k->row_max(c->V, c->e));
        return c->n > 0 ? 0 : -1;
    }
    for (int i = 0; i < c->n; i++)
        best = c->v[i].e > best ? c->v[i].e : best;
    for (int i = 0; i < c->n; i++)
        if (c->v[i].e >= s->p.min_p * best)
            c->v[n++] = c->v[i];
    c->n = n;
    return n > 0 ? 0 : -1;
}

/* --- the choice --- */

static int32_t first_best(const struct candidates *c)
{
    for (int i = 0; i < c->V; i++)
        if (c->row[i] == c->max)
            return i;
    return -1;
}

static int32_t draw_list(struct candidates *c, double u)
{
    double sum = 0, at = 0;
    int last = -1;
    need_exp(c);
    for (int i = 0; i < c->n; i++)
        sum += (double)c->v[i].e;
    for (int i = 0; i < c->n; i++) {
        if (c->v[i].e > 0.0f) {
            last = i;
            at += (double)c->v[i].e;
            if (at > u * sum)
                break;
        }
    }
    return last < 0 ? -1 : c->v[last].id;
}

static int32_t draw_dense(struct candidates *c, double u)
{
    double target, at = 0;
    int32_t last = -1;
    need_exp(c);
    target = u * dense_mass(c);
    for (int b = 0; b < c->V; b += SUM_BLOCK) {
        int end = c->V - b < SUM_BLOCK ? c->V : b + SUM_BLOCK;
        double sum = block_sum(end - b, c->e + b);
        if (at + sum <= target && end < c->V) {
            at += sum;
            continue;
        }
        for (int i = b; i < end; i++) {
            if (c->e[i] > 0.0f) {
                last = i;
                at += (double)c->e[i];
                if (at > target)
                    return i;
            }
        }
        if (last >= 0)
            return last; /* the rounding of the block's sum */
    }
    for (int i = c->V - 1; i >= 0 && last < 0; i--) /* that of u * mass */
        last = c->e[i] > 0.0f ? i : -1;
    return last;
}

/* --- a job's sampler --- */

static int wrong(struct err *e, const char *param, const char *expected)
{
    return err_set_at(e, ERR_INVALID, "invalid_value", param, "%s must be %s",
                      param, expected);
}

int sampler_check(const struct sample_params *p, struct err *e)
{
    if (!(p->temperature >= 0.0f) || !isfinite(p->temperature))
        return wrong(e, "temperature", "a number from 0");
    if (p->top_k < 0)
        return wrong(e, "top_k", "an integer from 0");
    if (!(p->top_p > 0.0f) || p->top_p > 1.0f)
        return wrong(e, "top_p", "over 0 and at most 1");
    if (!(p->min_p >= 0.0f) || p->min_p > 1.0f)
        return wrong(e, "min_p", "from 0 to 1");
    if (!(p->repetition_penalty > 0.0f) || !isfinite(p->repetition_penalty))
        return wrong(e, "repetition_penalty", "a number over 0");
    if (!(fabsf(p->presence_penalty) <= MOST_PENALTY))
        return wrong(e, "presence_penalty", "from -100 to 100");
    if (!(fabsf(p->frequency_penalty) <= MOST_PENALTY))
        return wrong(e, "frequency_penalty", "from -100 to 100");
    return 0;
}

static int counts(const struct sampler *s)
{
    return s->p.presence_penalty < 0.0f || s->p.presence_penalty > 0.0f ||
           s->p.frequency_penalty < 0.0f || s->p.frequency_penalty > 0.0f;
}

static void add_filter(struct sampler *s, logit_filter_fn *f)
{
    s->filter[s->n_filters++] = f;
}

int sampler_init(struct sampler *s, const struct sample_params *p, int n_vocab,
                 const int32_t *forbid, int n_forbid, int max_seen,
                 struct err *e)
{
    memset(s, 0, sizeof *s);
    if (sampler_check(p, e))
        return -1;
    s->p = *p;
    s->n_vocab = n_vocab;
    s->forbid = forbid;
    s->n_forbid = n_forbid;
    if (p->repetition_penalty != 1.0f) {
        int most = max_seen < n_vocab ? max_seen : n_vocab;
        s->seen_bits = mem_zarray(((size_t)n_vocab + 63) / 64, 8);
        s->seen = mem_array((size_t)most, sizeof *s->seen);
        if (!s->seen_bits || !s->seen) {
            sampler_fini(s);
            return err_nomem(e);
        }
        add_filter(s, filter_repetition);
    }
    if (counts(s))
        add_filter(s, filter_counts);
    if (p->n_bias > 0)
        add_filter(s, filter_bias);
    add_filter(s, filter_forbid);
    if (p->temperature == 0.0f)
        return 0;
    add_filter(s, filter_temperature);
    if (p->top_k > 0)
        add_filter(s, filter_top_k);
    if (p->top_p < 1.0f)
        add_filter(s, filter_top_p);
    if (p->min_p > 0.0f)
        add_filter(s, filter_min_p);
    return 0;
}

void sampler_fini(struct sampler *s)
{
    mem_free(s->seen_bits);
    mem_free(s->seen);
    mem_free(s->made);
    s->seen_bits = NULL;
    s->seen = NULL;
    s->made = NULL;
}

void sampler_see(struct sampler *s, int32_t id)
{
    if (!s->seen_bits || id < 0 || id >= s->n_vocab)
        return;
    uint64_t bit = (uint64_t)1 << (id % 64);
    if (!(s->seen_bits[id / 64] & bit)) {
        s->seen_bits[id / 64] |= bit;
        s->seen[s->n_seen++] = id;
    }
}

/* The filter walks over as many in each step. */
int sampler_made(struct sampler *s, int32_t id)
{
    int i = 0;
    if (!counts(s))
        return 0;
    while (i < s->n_made && s->made[i].id != id)
        i++;
    if (i < s->n_made) {
        s->made[i].n++;
        return 0;
    }
    if (s->n_made == s->cap_made) {
        int cap = s->cap_made ? 2 * s->cap_made : FIRST_COUNTS;
        struct token_count *v = mem_grow(s->made, (size_t)cap, sizeof *v);
        if (!v)
            return -1;
        s->made = v;
        s->cap_made = cap;
    }
    s->made[s->n_made++] = (struct token_count){id, 1};
    return 0;
}

int32_t sampler_pick(struct sampler *s, const struct kernels *k, float *row,
                     struct sampler_scratch *x)
{
    struct candidates c = {
        .k = k, .row = row, .V = s->n_vocab, .dense = 1, .v = x->v, .e = x->e};
    for (int i = 0; i < s->n_filters; i++)
        if (s->filter[i](s, &c))
            return -1;
    uint64_t index = s->n_drawn++;
    if (s->p.temperature == 0.0f)
        return first_best(&c);
    double u = rng_uniform_at(s->p.seed, index);
    return c.dense ? draw_dense(&c, u) : draw_list(&c, u);
}
