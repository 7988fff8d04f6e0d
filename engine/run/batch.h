/* batch: one step's worth of work. Decode rows (one token each) come first,
 * then chunks of prompts and sources up to a token budget, of which a part is
 * kept for them; jobs that found no room come first the next time, so prompts
 * take turns. A port that must see whole inputs gets them uncut: one that is
 * over the budget runs alone.
 *
 * Of several clients (flow.h) the one that was served least comes first, a
 * client's own jobs as before. When some client has many times the jobs of
 * another that is there (flow.heavy), a step is bounded, since it takes longer
 * the more rows it has: first the others' rows, then of the heavy ones so many
 * that the step may take twice that time (pace_beside), and one item at least;
 * after a source that took more, none until the light ones have had as much.
 * So the light ones see steps of about their own length, and the heavy ones
 * still share readings of the weights.
 *
 * A job may have several items in a step, each of its own sequence. Pages for
 * the new rows are reserved here; an item that gets none waits.
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
struct pace;

#define BATCH_MAX_WANTS 4 /* of an item */

struct batch_plan {
    struct batch b;          /* what step() gets */
    struct want *want;       /* [max_items][BATCH_MAX_WANTS] */
    struct job **owner;      /* [max_items] */
    struct seq **seq;        /* [max_items] */
    struct job **order;      /* [max_items], whose place in line comes next */
    uint64_t *key;           /* [max_items] while the clients' order is made */
    const struct pace *pace; /* what steps cost; NULL: not known */
    int bounded;             /* this step is, since light clients are there */
    int heavy_first;         /* the last step had no room for heavy ones */
    double owed;             /* work of theirs that is to be made up for */
    int n_starved;           /* items that found no memory for their pages */
    int max_items;
    float *rows;     /* [cap_rows][ld], 64-byte aligned */
    size_t ld;       /* floats, a multiple of 16 */
    size_t n_floats; /* wanted in this step */
    int cap_rows;
    struct seq_store *store;
};

/* batch_plan_init: for a model's outputs and at most max_items sequences. */
int batch_plan_init(struct batch_plan *p, const struct model_info *info,
                    struct seq_store *store, int max_items, struct err *e);
void batch_plan_fini(struct batch_plan *p);

/* batch_plan_rows: make sure that n rows can be wanted. ERR_NOMEM leaves what
 * there was. */
int batch_plan_rows(struct batch_plan *p, int n, struct err *e);
/* batch_rows_left: rows that this step can still give. */
int batch_rows_left(const struct batch_plan *p);

/* batch_add: used by plan(): the rows `in` for a port of one of the job's
 * sequences, with n_w wants (their dst and ld are filled in here, but the dst
 * of OUT_ATTENTION is the task's). Returns
 * in->n, or 0 when there is no room (the job is starved when it lacks pages,
 * and failed when there is no memory for them). */
int batch_add(struct batch_plan *p, struct job *j, struct seq *s, int port,
              const struct span *in, const struct want *w, int n_w);
/* batch_share: take what is known of the job's next tokens into its state, but
 * for the last one, whose row is wanted. */
void batch_share(struct batch_plan *p, struct job *j);
/* batch_starve: note what seq_reserve or seq_fork said (not SEQ_OK). */
void batch_starve(struct batch_plan *p, struct job *j, int rc);

/* batch_build: plan a step over jobs[n]; the array is put into the order of
 * the next step's turns (those without an item first). budget >= 1 tokens. */
void batch_build(struct batch_plan *p, struct job **jobs, int n, int budget);

#endif
