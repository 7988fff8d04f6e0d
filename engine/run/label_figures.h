/* label_figures: how good a classifier's answers to labelled texts are. Of n
 * labels, tp, fp and fn counted for each:
 *
 *   accuracy      texts whose label was given
 *   nll           mean of -log p of the right label, in nats
 *   ece           expected calibration error (Guo et al. 2017): texts in 15
 *                 bins of equal width by the probability of their answer,
 *                 sum over bins of |sum of it - right ones| / texts
 *   precision     tp / (tp + fp); recall tp / (tp + fn); f1 2 tp / (2 tp + fp +
 *                 fn); of a label where there is nothing to divide by: null
 *   macro_f1      mean of f1 over the labels that have one
 *   macro_recall  mean of recall over the labels that texts have ("average
 *                 recall", Rosenthal et al. 2017)
 *   confusion     texts by right label (row) and answer (column)
 *
 * SPDX-License-Identifier: MIT */
#ifndef SEQD_LABEL_FIGURES_H
#define SEQD_LABEL_FIGURES_H

#include <stdint.h>

#include "engine/base/buf.h"
#include "engine/base/err.h"

#define FIGURE_BINS 15
/* Labels up to which each of them is listed, and the confusion. */
#define FIGURE_MOST_LISTED 64

struct label_figures {
    int n; /* labels */
    int64_t items, right;
    double nll; /* sum */
    double sure[FIGURE_BINS], correct[FIGURE_BINS];
    int64_t *confusion; /* [n][n] */
};

/* label_figures_init: ERR_NOMEM. */
int label_figures_init(struct label_figures *f, int n, struct err *e);
void label_figures_fini(struct label_figures *f);
/* label_figures_add: a text of this label, answered with `best`, whose
 * probability is `sure`; the label's is p. Labels are 0 .. n - 1. */
void label_figures_add(struct label_figures *f, int label, int best, double p,
                       double sure);
/* label_figures_join: the texts of `from`, too; of as many labels. */
void label_figures_join(struct label_figures *f,
                        const struct label_figures *from);

/* label_figures_nll, label_figures_ece: as above; 0 without texts. */
double label_figures_nll(const struct label_figures *f);
double label_figures_ece(const struct label_figures *f);
/* label_figures_write: members of a JSON object, from "items" on, without
 * braces. brief: no more than "items", "accuracy", "nll", "ece". names [n]. */
void label_figures_write(const struct label_figures *f,
                         const char *const *names, int brief, struct buf *out);

#endif
