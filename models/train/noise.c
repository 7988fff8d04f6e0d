/* noise: the words that sampled softmax compares a target with (loss.h). Draws
 * are made until `cap` different words are found; the chance that a word is
 * among them is then close to 1 - (1 - p)^tries, which is what the score is
 * corrected by (as in TensorFlow's sampled softmax).
 *
 * SPDX-License-Identifier: MIT */
#include "engine/base/mem.h"
#include "models/train/loss.h"

static void fill_weights(struct noise *s, const int64_t *counts, double power)
{
    double sum = 0;
    for (int i = 0; i < s->n; i++) {
        if (counts == NULL)
            s->p[i] = log((i + 2.0) / (i + 1.0));
        else
            s->p[i] = pow(counts[i] > 0 ? (double)counts[i] : 0.5, power);
        sum += s->p[i];
    }
    for (int i = 0; i < s->n; i++)
        s->p[i] /= sum;
}

/* Vose's form of the alias method: small and large entries are paired. `other`
 * first serves as the two stacks, small from the front, large from the back. */
static void fill_alias(struct noise *s, int32_t *stack)
{
    int small = 0, large = s->n;
    for (int i = 0; i < s->n; i++) {
        s->alias[i] = s->p[i] * s->n;
        s->other[i] = i;
        if (s->alias[i] < 1)
            stack[small++] = i;
        else
            stack[--large] = i;
    }
    while (small > 0 && large < s->n) {
        int32_t a = stack[--small], b = stack[large];
        s->other[a] = b;
        s->alias[b] -= 1 - s->alias[a];
        if (s->alias[b] < 1) {
            large++;
            stack[small++] = b;
        }
    }
}

int noise_init(struct noise *s, const int64_t *counts, int n, double power,
               struct err *e)
{
    memset(s, 0, sizeof *s);
    s->n = n;
    s->p = mem_array((size_t)n, sizeof *s->p);
    s->alias = mem_array((size_t)n, sizeof *s->alias);
    s->other = mem_array((size_t)n, sizeof *s->other);
    int32_t *stack = mem_array((size_t)n, sizeof *stack);
    if (s->p == NULL || s->alias == NULL || s->other == NULL || stack == NULL) {
        mem_free(stack);
        noise_fini(s);
        return err_nomem(e);
    }
    fill_weights(s, counts, power);
    fill_alias(s, stack);
    mem_free(stack);
    return 0;
}

void noise_fini(struct noise *s)
{
    mem_free(s->p);
    mem_free(s->alias);
    mem_free(s->other);
    memset(s, 0, sizeof *s);
}

int noise_set_init(struct noise_set *s, int cap, int n_vocab, struct err *e)
{
    memset(s, 0, sizeof *s);
    s->cap = cap;
    s->ids = mem_array((size_t)cap, sizeof *s->ids);
    s->log_q = mem_array((size_t)cap, sizeof *s->log_q);
    s->place = mem_array((size_t)n_vocab, sizeof *s->place);
    if (s->ids == NULL || s->log_q == NULL || s->place == NULL)
        return err_nomem(e);
    for (int i = 0; i < n_vocab; i++)
        s->place[i] = -1;
    return 0;
}

void noise_set_fini(struct noise_set *s)
{
    mem_free(s->ids);
    mem_free(s->log_q);
    mem_free(s->place);
    memset(s, 0, sizeof *s);
}

real noise_log_q(const struct noise_set *s, const struct noise *from,
                 int32_t id)
{
    return (real)log(-expm1(s->tries * log1p(-from->p[id])));
}

void noise_set_draw(struct noise_set *s, const struct noise *from,
                    struct rng *r)
{
    for (int i = 0; i < s->n; i++)
        s->place[s->ids[i]] = -1;
    s->n = 0;
    s->tries = 0;
    /* the bound ends the search where the noise has too few likely words */
    double max_tries = 64.0 * s->cap;
    while (s->n < s->cap && s->tries < max_tries) {
        int32_t id = (int32_t)rng_below(r, (uint32_t)from->n);
        if (rng_uniform(r) >= from->alias[id])
            id = from->other[id];
        s->tries++;
        if (s->place[id] < 0) {
            s->place[id] = s->n;
            s->ids[s->n++] = id;
        }
    }
    for (int i = 0; i < s->n; i++)
        s->log_q[i] = noise_log_q(s, from, s->ids[i]);
}
