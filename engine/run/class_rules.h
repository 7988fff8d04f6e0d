/* class_rules: what a classifier's config.json says beside its net.
 *
 *   seqd_temperature  T > 0, or a list of one for each label
 *   seqd_bias         a list of one number for each label
 *       Scores are made of z_l / T_l + b_l in place of the logits z_l. One T
 *       for all is temperature scaling, which changes no label; lists are
 *       vector scaling, which may (Guo et al. 2017, sections 4.1 and 4.2). z is
 *       the row as the net gives it: with several T the answer depends on what
 *       is added to all of its numbers alike, which a net's weights fix.
 *   seqd_windows      {"length": n, "stride": m}
 *       A text of more than n tokens, those around it counted, is read in parts
 *       of n tokens (task/windows.h), of which each begins m tokens after the
 *       one before; m left out: side by side.
 *
 * Models without labels have none of these keys.
 *
 * SPDX-License-Identifier: MIT */
#ifndef SEQD_CLASS_RULES_H
#define SEQD_CLASS_RULES_H

#include "engine/run/arch.h"

#define CLASS_LEAST_TEMPERATURE 0.01
#define CLASS_MOST_TEMPERATURE 100.0
#define CLASS_MOST_BIAS 100.0

struct class_rules {
    double *temperature; /* [labels], or NULL: all 1 */
    double *bias;        /* [labels], or NULL: all 0 */
    int window, stride;  /* tokens; window 0: texts are read whole */
};

/* class_rules_read: of a model that load() has described; n_around: the tokens
 * that its tokenizer puts around a text. ERR_FORMAT with key, found and
 * expected; ERR_NOMEM. class_rules_fini after either. */
int class_rules_read(const struct hparams *h, const struct model_info *info,
                     int n_around, const char *label, struct class_rules *out,
                     struct err *e);
void class_rules_fini(struct class_rules *r);

/* class_rules_scale: z_l / T_l + b_l of a row [n] into out [n]. Numbers that no
 * float holds become infinite. */
void class_rules_scale(const struct class_rules *r, int n, const float *row,
                       float *out);

#endif
