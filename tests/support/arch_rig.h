/* arch_rig: drives a struct model_arch without the engine, for parity tests and
 * benches: opens a checkpoint, keeps states of sequences (with pages of their
 * own, which begin as NaN), makes batches. Single-threaded but for the pool
 * that it opens.
 *
 * SPDX-License-Identifier: MIT */
#ifndef SEQD_ARCH_RIG_H
#define SEQD_ARCH_RIG_H

#include "engine/run/arch.h"

struct rig {
    const struct model_arch *arch;
    struct checkpoint *c;
    struct model_info info;
    const struct kernels *k;
    struct pool *pool; /* NULL with one thread */
    int n_threads;
    struct mem_budget *tables; /* a reference, or NULL */
    void *self;
    void *scratch;
    size_t scratch_bytes;
};

#define RIG_MAX_PAGES 1024

struct rig_seq {
    struct seq_state state;
    void **page[MAX_PORTS]; /* [RIG_MAX_PAGES], those in use come first */
    int n_pages[MAX_PORTS];
    float *fixed[2]; /* before and after; swapped when a step succeeds */
};

/* One item of a step: n tokens for a port of seq, and what is wanted. */
struct rig_item {
    struct rig_seq *seq;
    int port;
    const int32_t *ids;
    int n;
    struct want want[2];
    int n_want;
    int status; /* out */
    enum err_code fail;
};

/* rig_open: 0, or -1 with the message in e. kernels: a family's name.
 * fold_bytes: the budget of tables. */
int rig_open(struct rig *g, const struct model_arch *arch, const char *dir,
             const char *kernels, int n_threads, size_t fold_bytes,
             struct err *e);
/* rig_open_with: the same with load options; label and k are filled in. */
int rig_open_with(struct rig *g, const struct model_arch *arch,
                  const char *path, const char *kernels, int n_threads,
                  const struct load_opts *opts, struct err *e);
/* rig_take: the same of an open checkpoint, which is the rig's from now on; it
 * is closed after an error, too. */
int rig_take(struct rig *g, const struct model_arch *arch, struct checkpoint *c,
             const char *kernels, int n_threads, const struct load_opts *opts,
             struct err *e);
void rig_close(struct rig *g);

int rig_seq_open(const struct rig *g, struct rig_seq *s);
void rig_seq_close(struct rig_seq *s);
void rig_seq_clear(const struct rig *g, struct rig_seq *s);

#define RIG_MAX_ITEMS 256
/* rig_step: one step; states of items that succeeded advance. The scratch has
 * exactly the bytes that the architecture asked for, so that a sanitizer sees
 * every byte beyond. */
int rig_step(struct rig *g, struct rig_item *item, int n, struct err *e);

#endif
