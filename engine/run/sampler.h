/* sampler: a row of logits to one token. The filters of a request are a list,
 * run in order over the candidates: at first a dense row (every token of the
 * vocabulary), later a short list. Nothing sorts the vocabulary: top-k keeps a
 * heap of k and skips blocks that hold nothing better, top-p gathers what can
 * be in the nucleus and takes from a heap until the mass is reached.
 *
 * Bits: exponentials and maxima come from the kernels (same bits in every
 * family that promises it), the rest is elementwise or summed in one fixed
 * order; equal logits go to the lowest id; the draw is a pure function of
 * (seed, index of the choice). Same logits, same token.
 *
 * A sampler belongs to one job, a scratch to one thread.
 *
 * SPDX-License-Identifier: MIT */
#ifndef SEQD_SAMPLER_H
#define SEQD_SAMPLER_H

#include <stddef.h>
#include <stdint.h>

#include "engine/base/err.h"
#include "engine/compute/kernels.h"

struct logit_bias {
    int32_t id;
    float x; /* added to the token's logit */
};

/* Sampling (Holtzman et al. 2020 for top-p; min-p: Nguyen et al. 2024;
 * repetition penalty: Keskar et al. 2019; presence and frequency penalty, bias:
 * OpenAI's API reference). Applied in this order: repetition penalty, presence
 * and frequency penalty, bias, temperature, top-k, top-p, min-p, then one draw.
 */
struct sample_params {
    float temperature;        /* 0: greedy (ties: lowest id) */
    int top_k;                /* 0: off */
    float top_p;              /* 1: off */
    float min_p;              /* 0: off */
    float repetition_penalty; /* 1: off; over prompt and output */
    float presence_penalty;  /* 0: off; off each logit of the output's tokens */
    float frequency_penalty; /* 0: off; the same for each time it is there */
    const struct logit_bias *bias; /* [n_bias] borrowed; ids that are there */
    int n_bias;
    uint64_t seed;
};

struct candidate {
    float x; /* logit */
    float e; /* exp(x - max), when a filter needed it */
    int32_t id;
};

struct sampler_scratch {
    struct candidate *v; /* [cap] */
    float *e;            /* [cap] */
    int cap;
};
int sampler_scratch_grow(struct sampler_scratch *s, int n_vocab, struct err *e);
void sampler_scratch_fini(struct sampler_scratch *s);

/* What the filters work on. dense: row [V], -inf for tokens that are out.
 * Otherwise v [n], best first when sorted. */
struct candidates {
    const struct kernels *k;
    float *row;
    int V;
    int dense, sorted;
    struct candidate *v;
    int n;
    float *e; /* dense: exp of the row; scratch otherwise */
    int have_e;
    float max;
};

struct token_count {
    int32_t id, n;
};

struct sampler;
/* logit_filter_fn: 0, or -1 when no candidate is left. */
typedef int logit_filter_fn(const struct sampler *s, struct candidates *c);

#define SAMPLER_MAX_FILTERS 8

struct sampler {
    struct sample_params p;
    logit_filter_fn *filter[SAMPLER_MAX_FILTERS];
    int n_filters;
    int n_vocab;
    const int32_t *forbid; /* [n_forbid] never offered; borrowed */
    int n_forbid;
    uint64_t *seen_bits; /* [(n_vocab+63)/64] with a repetition penalty */
    int32_t *seen;       /* [n_seen] distinct ids so far */
    int n_seen;
    struct token_count *made; /* [n_made] of the output, with such a penalty */
    int n_made, cap_made;
    uint64_t n_drawn; /* index of the next choice */
};

/* sampler_check: ERR_INVALID with the parameter's name. */
int sampler_check(const struct sample_params *p, struct err *e);
/* sampler_init: max_seen bounds the distinct ids that sampler_see is told. */
int sampler_init(struct sampler *s, const struct sample_params *p, int n_vocab,
                 const int32_t *forbid, int n_forbid, int max_seen,
                 struct err *e);
void sampler_fini(struct sampler *s);
/* sampler_see: id is part of the prompt or of the output. */
void sampler_see(struct sampler *s, int32_t id);
/* sampler_made: id is part of the output, which sampler_see is told as well.
 * -1: no memory. */
int sampler_made(struct sampler *s, int32_t id);
/* sampler_pick: the next token, or -1 when none is eligible. row [n_vocab] is
 * finite and is overwritten; x has room for n_vocab. */
int32_t sampler_pick(struct sampler *s, const struct kernels *k, float *row,
                     struct sampler_scratch *x);

/* sampler_top: the `want` best of x[n], best first, equal ones lowest id
 * first, without those that are -inf; v has room for `want`. Returns how many.
 */
int sampler_top(const struct kernels *k, const float *x, int n, int want,
                struct candidate *v);

#endif
