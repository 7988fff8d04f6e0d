/* branches: texts that go on from one input side by side, each on a fork of the
 * job's sequence, from step to step: beams, several samples. The input is read
 * once, into the job's own sequence, which then stays as it is; branches share
 * its pages, the source's too, and copy those that they write.
 *
 * A branch goes on from the input or from another branch. All forks of a step
 * are made before any of its rows is read, so that a branch may take over the
 * sequence that others are forked from. Where the states are lost, each one is
 * read again from its ids: the same bits.
 *
 * SPDX-License-Identifier: MIT */
#ifndef SEQD_BRANCHES_H
#define SEQD_BRANCHES_H

#include "engine/run/task/task_impl.h"

#define MOST_BRANCHES 16

struct branch {
    struct seq *seq;    /* its fork, or NULL: to be made */
    struct seq *from;   /* of this one; NULL: of the job's */
    const int32_t *ids; /* [n] behind the input, until the next plan */
    int n, fed;         /* ids; those that are in seq, or in from */
    int open;           /* the row behind its last id is to come */
};

struct branches {
    struct branch b[MOST_BRANCHES];
    int n;
    int rooted; /* the row behind the input has come */
    int planned[MOST_BRANCHES], n_planned;
};

/* branches_begin: from init: at most n of them. */
void branches_begin(struct job *j, int n);
/* branches_plan: the input, then all open branches: plan(). Some may come in
 * this step, others in the next ones. */
int branches_plan(struct job *j, struct branches *s, int budget,
                  struct batch_plan *p);
/* branches_take: from take(): what the n items of the step were. Returns how
 * many of them gave rows, and in item[] and at[] which, and of what branch (-1:
 * of the input). */
int branches_take(struct branches *s, struct batch_item *first, int n,
                  const struct batch_item *item[MOST_BRANCHES],
                  int at[MOST_BRANCHES]);
/* branches_replace: from take(): the n branches of the next step; from[i] is
 * the one that i goes on from (-1: the input). Their ids are the caller's to
 * set before the next plan. */
void branches_replace(struct job *j, struct branches *s, const int *from,
                      int n);
/* branches_end: from take(): a branch is done; its state goes. */
void branches_end(struct job *j, struct branch *b);
/* branches_lost: for lost(). */
void branches_lost(struct branches *s);

#endif
