/* windows: a text in parts, for a classifier that reads no more at a time.
 *
 *   text   t_0 .. t_{N-1}, with the tokens around it in front and behind
 *   parts  n tokens each: those around and r = n - around of the text, part i
 *          from t_{s_i} on, s_i = min(i m, N - r), i = 0, 1 .. as long as
 *          text is left: the last one is as long as the others
 *   row    sum_i w_i z_i / N, where z_i is the row of logits of part i and w_i
 *          counts the tokens of the text that no part before it has: r, then
 *          s_i - s_{i-1}
 *
 * That is the mean of log-probabilities but for one number of all labels, which
 * a softmax does not see: the answer is the geometric mean of the parts'
 * answers, weighed (a logarithmic opinion pool; Genest and Zidek 1986).
 *
 * Parts are items of one job, each a fork of its empty sequence, several in a
 * step where that has room for them. Rows are added up in the order of the
 * parts, whenever they come, in double: no bit depends on steps or company.
 * What is lost is read again, but for parts whose rows are there.
 *
 * SPDX-License-Identifier: MIT */
#ifndef SEQD_WINDOWS_H
#define SEQD_WINDOWS_H

#include "engine/run/task/task_impl.h"

struct windows;

/* windows_count: parts of a text of n tokens, those around it counted, under
 * the model's rule (class_rules.h); 1 without one. */
int windows_count(const struct model *m, int n);

/* windows_new: from init, for a job of several parts: its input begins with
 * `before` tokens and ends with `after` that stand around the text. The job's
 * own sequence stays empty. NULL: ERR_NOMEM. */
struct windows *windows_new(struct job *j, int before, int after,
                            struct err *e);
void windows_free(struct windows *w); /* NULL is fine */

/* windows_plan: plan(). windows_lost: for lost(). */
int windows_plan(struct job *j, struct windows *w, int budget,
                 struct batch_plan *p);
void windows_lost(struct windows *w);
/* windows_take: take(): TASK_DONE when `row`, the model's labels wide, is
 * there; TASK_MORE, or -1 after job_fail. */
int windows_take(struct job *j, struct windows *w, const struct task_ctx *x,
                 struct batch_item *first, int n, float *row);

/* class_token: the place of the token whose row has the scores of ids [n]
 * (model_info.class_padding). */
int class_token(const struct model_info *info, const int32_t *ids, int n);

#endif
