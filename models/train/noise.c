/* noise: the words that sampled softmax compares a target with (loss.h). Draws
 * are made until `cap` different words are found; the chance that a word is
 * among them is then close to 1 - (1 - p)^tries, which is what the score is
 * corrected by (as in TensorFlow's sampled softmax).
 *
 * SPDX-License-Identifier: MIT */
#include "models/train/loss.h"

static void fill_weights(struct noise *s, const int64_t *counts, double power)
{
    double sum = 0;
    for (int i = 0; i < s->V; i++) {
        if (counts == NULL)
            s->p[i] = log((i + 2.0) / (i + 1.0));
        else
            s->p[i] = pow(counts[i] > 0 ? (double)counts[i] : 0.5, power);
        sum += s->p[i];
    }
    for (int i = 0; i < s->V; i++)
        s->p[i] /= sum;
}

/* Vose's form of the alias method: small and large entries are paired. `other`
 * first serves as the two stacks, small from the front, large from the back. */
static void fill_alias(struct noise *s, int32_t *stack)
{
    int small = 0, large = s->V;
    for (int i = 0; i < s->V; i++) {
        s->alias[i] = s->p[i] * s->V;
        s->other[i] = i;
        if (s->alias[i] < 1)
            stack[small++] = i;
        else
            stack[--large] = i;
    }
    while (small > 0 && large < s->V) {
        int32_t a = stack[--small], b = stack[large];
        s->other[a] = b;
        s->alias[b] -= 1 - s->alias[a];
        if (s->alias[b] < 1) {
            large++;
            stack[small++] = b;
        }
    }
}

int noise_init(struct noise *s, struct region *mem, int V, int cap,
               const int64_t *counts, double power, struct err *e)
{
    size_t n = (size_t)V, m = (size_t)cap;
    *s = (struct noise){.V = V,
                        .cap = cap,
                        .p = region_take(mem, n, sizeof *s->p),
                        .alias = region_take(mem, n, sizeof *s->alias),
                        .other = region_take(mem, n, sizeof *s->other),
                        .ids = region_take(mem, m, sizeof *s->ids),
                        .log_q = region_take(mem, m, sizeof *s->log_q),
                        .place = region_take(mem, n, sizeof *s->place)};
    if (region_check(mem, e) != 0)
        return -1;
    fill_weights(s, counts, power);
    fill_alias(s, s->place);
    for (int i = 0; i < V; i++)
        s->place[i] = -1;
    return 0;
}

real noise_log_q(const struct noise *s, int32_t id)
{
    return (real)log(-expm1(s->tries * log1p(-s->p[id])));
}

void noise_draw(struct noise *s, struct rng *r)
{
    for (int i = 0; i < s->n; i++)
        s->place[s->ids[i]] = -1;
    s->n = 0;
    s->tries = 0;
    /* the bound ends the search where the noise has too few likely words */
    double max_tries = 64.0 * s->cap;
    while (s->n < s->cap && s->tries < max_tries) {
        int32_t id = (int32_t)rng_below(r, (uint32_t)s->V);
        if (rng_uniform(r) >= s->alias[id])
            id = s->other[id];
        s->tries++;
        if (s->place[id] < 0) {
            s->place[id] = s->n;
            s->ids[s->n++] = id;
        }
    }
    for (int i = 0; i < s->n; i++)
        s->log_q[i] = noise_log_q(s, s->ids[i]);
}
