/* transformer_touch: which thread's rows a verb works on, and when the threads
 * have to meet before it: what the files of verbs share.
 *
 * SPDX-License-Identifier: MIT */
#ifndef SEQD_TRANSFORMER_TOUCH_H
#define SEQD_TRANSFORMER_TOUCH_H

#include "models/transformer/transformer_impl.h"

/* A row set that a verb reads or writes, and whose rows: BY_ROWS, each owner
 * his own, BY_ANY others' too. */
struct access {
    int set, by, writes;
};

/* tf_meet: notes what a verb touches; before that, the threads meet when some
 * of it is not yet theirs. */
void tf_meet(struct tf *t, const struct access *a, int n);

/* tf_expect: noted while a stack is measured: its load fails. */
void tf_expect(const struct tf *t, int right, const char *wrong);

/* tf_widen: `to` has so many columns, and a row for each row of `from` (-1:
 * tokens); TF_TMP serves both. */
void tf_widen(struct tf *t, int from, int to, int width);

/* tf_by_rows: a verb in which each row's owner makes a row of `to` [width] from
 * one of `from` (-1: from no set); `tmp`: through one of TF_TMP. 1: rows own[0]
 * .. own[1]-1 are this thread's. */
int tf_by_rows(struct tf *t, int from, int to, int tmp, int width, int own[2]);

/* Whether this thread has anything to do with the rows of a set. */
static inline int any_rows(const struct tf *t, int set)
{
    return t->measured || t->r->rows[set].m > 0;
}

static inline float *row_at(const struct tf *t, int set, int r)
{
    return t->r->rows[set].x + (size_t)r * t->r->rows[set].ld;
}

/* An answer that is there: fails its item when it holds no number. */
static inline void tf_check(const struct tf *t, const struct tf_out *o,
                            const float *y, int n)
{
    if (!t->r->k->all_finite(n, y))
        tf_fail_slot(t->r, o->slot);
}

#endif
