/* engine_fix: an engine with one toy model, for tests.
 *
 * SPDX-License-Identifier: MIT */
#ifndef SEQD_ENGINE_FIX_H
#define SEQD_ENGINE_FIX_H

#include "tests/support/fake_arch.h"
#include "tests/support/job_watch.h"

struct fix {
    struct engine *g;
    struct model *m;
    struct watch w;
    char dir[64];
};

/* fix_open: model "fake"; NULL options are all 0; n_threads 0 becomes 2. Fails
 * the test on error. */
void fix_open(struct fix *f, const struct fake_config *c,
              const struct engine_options *o);
/* fix_close: closes the engine and checks that the toy saw no violation and
 * no event came late, unflushed or cut inside a code point. fix_end releases
 * n jobs before. */
void fix_close(struct fix *f);
void fix_end(struct fix *f, struct watched *j, int n);
/* Its two halves. */
void fix_shut(struct fix *f);
void fix_check(struct fix *f);

extern const struct task *const fix_tasks[3]; /* next, classify, generate */
/* fix_spec: a job with plain parameters: 5 predictions, 8 new tokens, greedy.
 */
struct flat_spec fix_spec(const struct fix *f, const struct task *task,
                          const int32_t *ids, int n);
/* fix_specs: n of them, of the first `len` plain words, each `more` longer than
 * the one before. */
void fix_specs(const struct fix *f, struct flat_spec *s, int n,
               const struct task *task, int len, int more);
/* Ordinary words, from the first fix_open on. */
extern int32_t fix_words[8000];
/* fix_run: submit n jobs and wait for all. Fails the test when refused. */
void fix_run(struct fix *f, struct flat_spec *s, int n, struct watched *j);
/* fix_submit: without waiting. */
void fix_submit(struct fix *f, struct flat_spec *s, int n, struct watched *j);
/* fix_hold: with the steps held, of which `pass` go by before it returns;
 * fix_go lets go and waits for n final events in all. */
void fix_hold(struct fix *f, struct flat_spec *s, int n, struct watched *j,
              int pass);
void fix_go(struct fix *f, int n);
/* fix_refused: all of them are, with this error. */
void fix_refused(struct fix *f, struct flat_spec *s, int n, struct watched *j,
                 enum err_code code, const char *reason, const char *param);

#endif
