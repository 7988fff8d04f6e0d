/* lane: see lane.h.
 *
 * SPDX-License-Identifier: MIT */
#include "engine/run/lane.h"

#include "engine/base/mem.h"
#include "engine/run/model.h"
#include "engine/run/runner.h"

int lane_open(struct model *m, struct run_shared *s, struct lane **out,
              struct err *e)
{
    struct lane *l = mem_zalloc(sizeof *l);

    *out = NULL;
    if (!l) {
        model_release(m);
        return err_nomem(e);
    }
    atomic_store(&l->refs, 1);
    l->model = m;
    if (runner_new(m, s, &l->runner, e) || runner_start(l->runner, e)) {
        lane_release(l);
        return -1;
    }
    *out = l;
    return 0;
}

void lane_stop(struct lane *l)
{
    runner_stop(l->runner);
}

void lane_retain(struct lane *l)
{
    atomic_fetch_add(&l->refs, 1);
}

void lane_release(struct lane *l)
{
    if (l && atomic_fetch_sub(&l->refs, 1) == 1) {
        runner_free(l->runner);
        model_release(l->model);
        mem_free(l);
    }
}
