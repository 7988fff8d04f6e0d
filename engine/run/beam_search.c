/* beam_search: see beam_search.h.
 *
 * SPDX-License-Identifier: MIT */
#include "engine/run/beam_search.h"

#include <float.h>
#include <math.h>
#include <string.h>

#include "engine/base/mem.h"

/* --- logarithms --- */

/* x = m 2^k with m around 1, and log m = 2 atanh((m - 1) / (m + 1)): eleven
 * terms of the series, for |t| <= 0.172. The C library's own logarithm has
 * other bits where it finds other instructions. */
double log_natural(double x)
{
    static const double ln2_high = 6.93147180369123816490e-01,
                        ln2_low = 1.90821492927058770002e-10;
    int k;
    double m = frexp(x, &k);

    if (m < 0.70710678118654752) {
        m *= 2;
        k--;
    }
    double t = (m - 1) / (m + 1), q = t * t, sum = 0;
    for (int i = 21; i >= 3; i -= 2)
        sum = (sum + 1.0 / i) * q;
    return k * ln2_high + (2 * (t + t * sum) + k * ln2_low);
}

double log_softmax_base(const struct kernels *k, int n, const float *row,
                        float *max)
{
    *max = k->row_max(n, row);
    return log_natural((double)k->sum_exp(n, row, *max));
}

float score_per_length(double sum, int n, double length_penalty)
{
    double by = (double)(float)pow((double)n, length_penalty);
    double score = by > 0 ? sum / by : sum < 0 ? -DBL_MAX : 0;

    return score < -(double)FLT_MAX ? -FLT_MAX : (float)score;
}

/* --- life --- */

static int most_offered(const struct beam_rules *r)
{
    int most = r->beams + r->n_end;
    return most < r->n_vocab ? most : r->n_vocab;
}

int beam_search_init(struct beam_search *s, const struct beam_rules *r,
                     struct err *e)
{
    memset(s, 0, sizeof *s);
    s->r = *r;
    s->n_beams = 1;
    size_t each = (size_t)most_offered(r);
    s->room = mem_array(2 * (size_t)r->beams * each, sizeof *s->room);
    if (!s->room)
        return err_nomem(e);
    for (int i = 0; i < r->beams; i++) {
        s->beam[i].best = s->room + 2 * (size_t)i * each;
        s->spare[i].best = s->beam[i].best + each;
    }
    return 0;
}

void beam_search_fini(struct beam_search *s)
{
    for (int i = 0; i < MOST_BEAMS; i++) {
        mem_free(s->beam[i].ids.v);
        mem_free(s->spare[i].ids.v);
        mem_free(s->done[i].ids.v);
    }
    mem_free(s->room);
    memset(s, 0, sizeof *s);
}

/* The n ids of `from` (NULL: none), and room for one more. */
static int copy_ids(struct beam_ids *to, const int32_t *from, int n)
{
    if (n + 1 > to->cap) {
        int cap = to->cap ? 2 * to->cap : 64;
        cap = cap > n + 1 ? cap : n + 1;
        int32_t *v = mem_grow(to->v, (size_t)cap, sizeof *v);
        if (!v)
            return -1;
        to->v = v;
        to->cap = cap;
    }
    if (n > 0)
        memcpy(to->v, from, (size_t)n * sizeof *to->v);
    return 0;
}

/* --- a row --- */

/* The id that the coming token is forced to be, or -1. */
static int forced_id(const struct beam_search *s)
{
    if (s->n_made == s->r.max_new - 1 && s->r.forced_last >= 0)
        return s->r.forced_last;
    return s->n_made == 0 ? s->r.forced_first : -1;
}

static void ban(const struct beam_search *s, const struct beam *b, float *row)
{
    const struct beam_rules *r = &s->r;
    const struct row_bans bans = {.n_vocab = r->n_vocab,
                                  .min_new = r->min_new,
                                  .end = r->end,
                                  .n_end = r->n_end,
                                  .no_repeat = r->no_repeat,
                                  .prefix = r->prefix,
                                  .n_prefix = r->n_prefix};
    for (int f = 0; f < r->n_forbid; f++)
        row[r->forbid[f]] = -INFINITY;
    row_bans_apply(&bans, b->ids.v, s->n_made, row);
}

void beam_search_row(struct beam_search *s, int i, const struct kernels *k,
                     float *row)
{
    const struct beam_rules *r = &s->r;
    struct beam *b = &s->beam[i];
    int forced = forced_id(s);
    float max = 0;

    b->read = 1;
    if (forced >= 0) { /* its probability is 1 then, as transformers has it */
        b->best[0] = (struct candidate){.x = b->score, .id = forced};
        b->n_best = 1;
        return;
    }
    double base = 0;
    if (!r->renormalize)
        base = log_softmax_base(k, r->n_vocab, row, &max);
    ban(s, b, row);
    if (r->renormalize)
        base = log_softmax_base(k, r->n_vocab, row, &max);
    b->n_best = sampler_top(k, row, r->n_vocab, most_offered(r), b->best);
    for (int c = 0; c < b->n_best; c++) {
        float lp = (float)((double)b->best[c].x - (double)max - base);
        b->best[c].x = b->score + lp;
    }
}

/* --- a step --- */

static int is_end(const struct beam_rules *r, int32_t id)
{
    for (int i = 0; i < r->n_end; i++)
        if (r->end[i] == id)
            return 1;
    return 0;
}

static float per_length(const struct beam_search *s, float score, int n)
{
    return score_per_length((double)score, n, s->r.length_penalty);
}

/* The best continuation that is left of all beams; at [i] counts those of beam
 * i that were taken. -1: none is left. */
static int best_left(const struct beam_search *s, const int at[MOST_BEAMS])
{
    int best = -1;
    for (int i = 0; i < s->n_beams; i++) {
        const struct beam *b = &s->beam[i];
        if (at[i] < b->n_best &&
            (best < 0 || b->best[at[i]].x > s->beam[best].best[at[best]].x))
            best = i;
    }
    return best;
}

/* Beam `from` ends with this token: among the hypotheses when it is better than
 * one of them, or when there are few. */
static int end_beam(struct beam_search *s, int from, const struct candidate *c)
{
    int n = s->n_made, at = s->n_done, ends = is_end(&s->r, c->id);
    float score = per_length(s, c->x, n + 1);

    while (at > 0 && score > s->done[at - 1].score)
        at--;
    if (at == s->r.beams)
        return 0;
    int last = s->n_done < s->r.beams ? s->n_done : s->r.beams - 1;
    if (copy_ids(&s->done[last].ids, s->beam[from].ids.v, n))
        return -1;
    struct hypothesis h = s->done[last];
    memmove(&s->done[at + 1], &s->done[at],
            (size_t)(last - at) * sizeof *s->done);
    s->n_done = last + 1;
    h.score = score;
    h.ended = ends && forced_id(s) < 0;
    h.n = n + !ends;
    if (!ends)
        h.ids.v[n] = c->id;
    s->done[at] = h;
    return 0;
}

static int go_on(struct beam_search *s, int to, int from,
                 const struct candidate *c)
{
    struct beam *b = &s->spare[to];

    if (copy_ids(&b->ids, s->beam[from].ids.v, s->n_made))
        return -1;
    b->ids.v[s->n_made] = c->id;
    b->score = c->x;
    b->from = from;
    b->read = 0;
    return 0;
}

/* 1 when no live beam can come in any more, as far as is estimated. */
static int is_over(const struct beam_search *s)
{
    const struct beam_rules *r = &s->r;
    int n = s->n_made;

    if (s->n_beams == 0)
        return 1;
    if (s->n_done < r->beams)
        return 0;
    if (r->beams == 1 || r->stop == BEAM_STOP_FULL)
        return 1;
    if (r->stop == BEAM_STOP_NEVER && r->length_penalty > 0)
        n = r->max_new;
    return !(per_length(s, s->beam[0].score, n) > s->done[r->beams - 1].score);
}

int beam_search_next(struct beam_search *s)
{
    int at[MOST_BEAMS] = {0}, n = 0, from;
    int last = s->n_made + 1 >= s->r.max_new;

    for (int rank = 0; (rank < s->r.beams || n < s->r.beams) &&
                       (from = best_left(s, at)) >= 0;
         rank++) {
        const struct candidate *c = &s->beam[from].best[at[from]++];
        int ends = last || is_end(&s->r, c->id);
        if (ends && rank < s->r.beams && end_beam(s, from, c))
            return -1;
        if (!ends && n < s->r.beams && go_on(s, n++, from, c))
            return -1;
    }
    for (int i = 0; i < s->r.beams; i++) {
        struct beam b = s->beam[i];
        s->beam[i] = s->spare[i];
        s->spare[i] = b;
    }
    s->n_beams = n;
    s->n_made++;
    return is_over(s);
}

int beam_search_agreed(const struct beam_search *s, const int32_t **ids)
{
    const int32_t *v = s->n_beams > 0  ? s->beam[0].ids.v
                       : s->n_done > 0 ? s->done[0].ids.v
                                       : NULL;
    int n = s->n_beams > 0 ? s->n_made : s->n_done > 0 ? s->done[0].n : 0;

    *ids = v;
    for (int i = 1; i < s->n_beams; i++)
        for (int k = 0; k < n; k++)
            if (s->beam[i].ids.v[k] != v[k])
                n = k;
    if (s->n_beams > 0 && s->n_done > 0) {
        n = n < s->done[0].n ? n : s->done[0].n;
        for (int k = 0; k < n; k++)
            if (s->done[0].ids.v[k] != v[k])
                n = k;
    }
    return n;
}
