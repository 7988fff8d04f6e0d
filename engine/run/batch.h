/* batch: one step's worth of work. Decode rows (one token each) come first,
 * then chunks of prompts up to a token budget; jobs that found no room come
 * first the next time, so prompts take turns. A model that must see whole
 * inputs gets them uncut: one that is over the budget runs alone.
 *
 * All arrays are made once; rows (the wanted outputs) grow in admission only,
 * so building a step allocates nothing. Runner's thread.
 *
 * SPDX-License-Identifier: MIT */
#ifndef SEQD_BATCH_H
#define SEQD_BATCH_H

#include "engine/run/arch.h"
#include "engine/run/state.h"

struct job;

struct batch_plan {
    struct batch b;     /* what step() gets */
    struct want *want;  /* [max_items] */
    struct job **owner; /* [max_items] */
    struct job **order; /* [max_items], for turns */
    int max_items, max_chain;
    int whole;   /* items are never cut */
    float *rows; /* [cap_rows][ld], 64-byte aligned */
    size_t ld;   /* floats, a multiple of 16 */
    int cap_rows;
    struct seq_store *store;
};

/* batch_plan_init: for a model's info and at most max_items sequences. */
int batch_plan_init(struct batch_plan *p, const struct model_info *info,
                    struct seq_store *store, int max_items, struct err *e);
void batch_plan_fini(struct batch_plan *p);

/* batch_plan_rows: make sure that n rows can be wanted. ERR_NOMEM leaves what
 * there was. */
int batch_plan_rows(struct batch_plan *p, int n, struct err *e);

/* batch_add: used by plan(): ids [n] for the job's sequence; want is a
 * want_kind or -1. Returns n, or 0 when there is no room. */
int batch_add(struct batch_plan *p, struct job *j, const int32_t *ids, int n,
              int want);

/* batch_build: plan a step over jobs[n]; the array is put into the order of
 * the next step's turns (those without an item first). budget >= 1 tokens. */
void batch_build(struct batch_plan *p, struct job **jobs, int n, int budget);

#endif
