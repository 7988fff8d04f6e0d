/* transformer_touch: see transformer_touch.h.
 *
 * SPDX-License-Identifier: MIT */
#include "models/transformer/transformer_touch.h"

/* The same owner touches his own in order; all else is a matter of luck. */
static int clash(int before, int by)
{
    return before && (before != by || by == BY_ANY);
}

static void note(int *seen, int by)
{
    *seen = *seen && *seen != by ? BY_ANY : by;
}

void tf_meet(struct tf *t, const struct access *a, int n)
{
    int wait = 0;

    for (int i = 0; i < n; i++) {
        const struct tf_touch *x = &t->touch[a[i].set];

        wait |= clash(x->wrote, a[i].by) ||
                (a[i].writes && clash(x->read, a[i].by));
    }
    if (wait) {
        t->syncs++;
        for (int i = 0; i < TF_SETS; i++)
            t->touch[i].read = t->touch[i].wrote = 0;
        if (t->n > 1)
            pool_barrier(t->r->x->pool);
    }
    for (int i = 0; i < n; i++) {
        struct tf_touch *x = &t->touch[a[i].set];

        note(a[i].writes ? &x->wrote : &x->read, a[i].by);
        x->stale |= a[i].writes;
    }
}

void tf_expect(const struct tf *t, int right, const char *wrong)
{
    if (t->measured && !right)
        t->measured->wrong = wrong;
}

void tf_widen(struct tf *t, int from, int to, int width)
{
    struct tf_set *s = &t->measured->set[to];

    if (s->width < width)
        s->width = width;
    s->wanted = from >= 0 && to != TF_TMP && t->s->set[from].wanted;
}

int tf_by_rows(struct tf *t, int from, int to, int tmp, int width, int own[2])
{
    const struct access a[] = {{to, BY_ROWS, 1},
                               {from < 0 ? to : from, BY_ROWS, 0},
                               {TF_TMP, BY_ROWS, 1}};
    int space;

    if (!any_rows(t, from < 0 ? to : from))
        return 0;
    if (t->measured) {
        tf_widen(t, from, to, width);
        if (tmp)
            tf_widen(t, -1, TF_TMP, width);
    }
    tf_meet(t, a, tmp ? 3 : 2);
    space = t->s->set[to].wanted;
    own[0] = t->r0[space];
    own[1] = t->r1[space];
    return !t->measured;
}
