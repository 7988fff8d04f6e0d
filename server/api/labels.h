/* labels: what the labels of a classifier are about, by their names.
 *
 * SPDX-License-Identifier: MIT */
#ifndef SEQD_LABELS_H
#define SEQD_LABELS_H

#include "engine/run/engine.h"

/* labels_are_sentiments: 1 when each label of the model is one (negative, good,
 * 4 stars ...), or none has a name (LABEL_0): /sentiment is theirs. */
int labels_are_sentiments(const struct model *m);

#endif
