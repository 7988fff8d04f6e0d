/* batch: one step's worth of work. Decode rows (one token each) come first,
 * then chunks of prompts up to a token budget; jobs that found no room come
 * first the next time, so prompts take turns. A model that must see whole
 * inputs gets them uncut: one that is over the budget runs alone.
 *
 * A job may have several items in a step, each of its own sequence. Pages for
 * the new tokens are reserved here; an item that gets none waits.
 *
 * All arrays are made once; rows (the wanted outputs) grow in admission only,
 * so building a step allocates nothing but pages. Runner's thread.
 *
 * SPDX-License-Identifier: MIT */
#ifndef SEQD_BATCH_H
#define SEQD_BATCH_H

#include "engine/run/arch.h"
#include "engine/run/state.h"

struct job;

struct batch_plan {
    struct batch b;     /* what step() gets */
    struct want *want;  /* [max_items][2] */
    struct job **owner; /* [max_items] */
    struct seq **seq;   /* [max_items] */
    struct job **order; /* [max_items], for turns */
    int n_starved;      /* items that found no memory for their pages */
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
 * want_kind or -1. Returns n, or 0 when there is no room (the job is starved
 * when it lacks pages, and failed when there is no memory for them). */
int batch_add(struct batch_plan *p, struct job *j, const int32_t *ids, int n,
              int want);
/* batch_add_to: the same for another sequence of the job. */
int batch_add_to(struct batch_plan *p, struct job *j, struct seq *s,
                 const int32_t *ids, int n, int want);
/* batch_share: take what is known of the job's next tokens into its state, but
 * for the last one, whose row is wanted. */
void batch_share(struct batch_plan *p, struct job *j);
/* batch_starve: note what seq_reserve or seq_fork said (not SEQ_OK). */
void batch_starve(struct batch_plan *p, struct job *j, int rc);

/* batch_build: plan a step over jobs[n]; the array is put into the order of
 * the next step's turns (those without an item first). budget >= 1 tokens. */
void batch_build(struct batch_plan *p, struct job **jobs, int n, int budget);

#endif
