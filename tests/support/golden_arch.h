/* golden_arch: what parity tests of Transformers share: a fixture of
 * tests/golden/ARCHITECTURE/CASE/, the architecture loaded from it, and answers
 * to its texts, which are held against the fixture and, bit for bit, against
 * each other. All fail the running test with the fixture's name.
 *
 * expected/model.safetensors has, of text i, ids [n] (int32), logits.i [n, V]
 * and hidden.i [n, width], and `attention` of one text.
 *
 * SPDX-License-Identifier: MIT */
#ifndef SEQD_GOLDEN_ARCH_H
#define SEQD_GOLDEN_ARCH_H

#include "tests/support/arch_rig.h"

#define GOLDEN_TEXTS 3
#define GOLDEN_SHOWN 1 /* the text whose attention is in the fixture */
#define GOLDEN_LEN 64  /* tokens of a text at most */

struct golden_text {
    int32_t ids[GOLDEN_LEN];
    int n, V, width;
    float *logits, *hidden; /* [n][V], [n][width] */
};

/* What a rig gives for a text. */
struct golden_answer {
    float *logits, *hidden;
};

struct golden_arch {
    char what[256]; /* "CASE/FILE" */
    const struct model_arch *arch;
    const char *name, *file;
    struct weights *w; /* expected */
    struct golden_text text[GOLDEN_TEXTS];
    float *attention;
    int n_attention, shown_cols; /* all of it, and of a row */
    struct golden_answer first[GOLDEN_TEXTS];
    struct rig g;
};

/* golden_arch_open: what is expected of a case, in its folder "expected"; `ids`
 * names the tensors of the texts' ids. file: that the architecture is loaded
 * from ("hf"). */
void golden_arch_open(struct golden_arch *t, const struct model_arch *arch,
                      const char *name, const char *file, const char *ids);
/* golden_arch_open_in: the same from another folder of the case. */
void golden_arch_open_in(struct golden_arch *t, const struct model_arch *arch,
                         const char *name, const char *file, const char *ids,
                         const char *folder);
void golden_arch_close(struct golden_arch *t);
/* golden_arch_ids: of a tensor "name.i"; how many. */
int golden_arch_ids(const struct golden_arch *t, const char *name, int i,
                    int32_t ids[GOLDEN_LEN]);

/* golden_arch_load: t->g, which is the caller's to close, with a kernel
 * family. */
void golden_arch_load(struct golden_arch *t, const char *kernels, int threads,
                      int exact);
/* golden_arch_step: no item may fail. */
void golden_arch_step(struct golden_arch *t, struct rig_item *item, int n);

void golden_answer_new(const struct golden_text *x, struct golden_answer *a);
void golden_answer_free(struct golden_answer *a);
/* golden_answer_item: n tokens from `at` on, with their logits and hidden
 * states. */
struct rig_item golden_answer_item(const struct golden_text *x,
                                   struct rig_seq *seq, int at, int n,
                                   const struct golden_answer *a);
/* golden_answer_same: of text i, bit for bit. */
void golden_answer_same(const struct golden_arch *t, const char *what, int i,
                        const struct golden_answer *a,
                        const struct golden_answer *b);
/* golden_answer_close: against what is expected. */
void golden_answer_close(const struct golden_arch *t, int i,
                         const struct golden_answer *a, double tolerance);
/* golden_arch_across: the answers of kernel family number f, which are taken
 * over: all but the first, plain C, have the same bits. */
void golden_arch_across(struct golden_arch *t, int f,
                        struct golden_answer a[GOLDEN_TEXTS]);

#endif
