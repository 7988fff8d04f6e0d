/* scaling: temperatures, and biases, that make a classifier's probabilities
 * mean what they say (engine/run/class_rules.h). Of texts with logits z [C],
 * label y and weight w, which add up to 1:
 *
 *   f(a, b) = sum w (log sum_l exp(a_l z_l + b_l) - a_y z_y - b_y),  a = 1 / T
 *
 * is least (Guo et al. 2017, section 4.2). f is convex in a and b, so there is
 * one minimum: Newton's steps, shortened until f falls, within the bounds of
 * class_rules.h. Where no text is wrong T falls until f is next to nothing.
 *
 * SPDX-License-Identifier: MIT */
#ifndef SEQD_SCALING_H
#define SEQD_SCALING_H

#include "engine/base/err.h"

enum scaling_kind {
    SCALING_ONE,    /* one temperature */
    SCALING_LABELS, /* one for each label */
    SCALING_VECTOR  /* and a bias for each label */
};
#define SCALING_KINDS "one|labels|vector"
#define SCALING_MOST_LABELS 32 /* of the last two */

struct scaling_texts {
    int n_labels, n;
    const float *z;       /* [n][n_labels] */
    const int *label;     /* [n] */
    const double *weight; /* [n] */
};

/* scaling_fit: T and b [n_labels] each; b is 0 but for SCALING_VECTOR, where
 * its sum is. *at_bound: the texts do not say it: some T is at its least or
 * most, or no text is wrong. ERR_INVALID (no texts, too many labels),
 * ERR_NOMEM. */
int scaling_fit(enum scaling_kind kind, const struct scaling_texts *t,
                double *temperature, double *bias, int *at_bound,
                struct err *e);
/* scaling_loss: f. */
double scaling_loss(const struct scaling_texts *t, const double *temperature,
                    const double *bias);

#endif
