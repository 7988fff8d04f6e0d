/* branches: see branches.h.
 *
 * SPDX-License-Identifier: MIT */
#include "engine/run/task/branches.h"

#include <string.h>

#include "engine/run/model.h"

void branches_begin(struct job *j, int n)
{
    j->n_branches = n;
    j->most_rows = n;
}

static int input_is_read(const struct job *j)
{
    for (int i = 0; i < j->model->info.state.n_ports; i++)
        if (j->pos[i] < (i == PORT_TARGET ? j->n_all : j->in[i].n))
            return 0;
    return 1;
}

/* 0 when all that have rows to come have their forks. */
static int make_forks(struct job *j, struct branches *s, struct batch_plan *p)
{
    for (int i = 0; i < s->n; i++) {
        struct branch *b = &s->b[i];
        if (!b->open || b->seq)
            continue;
        int rc = job_fork(j, p->store, b->from ? b->from : j->seq, &b->seq);
        if (rc) {
            batch_starve(p, j, rc);
            return -1;
        }
        b->from = NULL;
    }
    return 0;
}

int branches_plan(struct job *j, struct branches *s, int budget,
                  struct batch_plan *p)
{
    int chain = j->model->info.max_chain, rows = 0;

    s->n_planned = 0;
    if (!input_is_read(j))
        return budget > 0 || p->b.n_item == 0
                   ? task_plan_input(j, budget, p, s->rooted ? -1 : OUT_LOGITS)
                   : 0;
    if (make_forks(j, s, p))
        return 0;
    for (int i = 0; i < s->n; i++) {
        struct branch *b = &s->b[i];
        int n = b->n - b->fed, room = budget - rows;
        if (!b->open)
            continue;
        if (room < 1 && p->b.n_item > 0)
            break;
        room = room < 1 ? 1 : room;
        n = chain > 0 && n > chain ? chain : n;
        n = n > room ? room : n;
        struct span in = {.unit = UNIT_TOKENS, .n = n, .p = b->ids + b->fed};
        struct want w = {.kind = OUT_LOGITS, .from = n - 1, .n = 1};
        int wants = b->fed + n == b->n;
        if (batch_add(p, j, b->seq, PORT_TARGET, &in, &w, wants) == 0)
            break;
        s->planned[s->n_planned++] = i;
        rows += n;
    }
    return rows;
}

int branches_take(struct branches *s, struct batch_item *first, int n,
                  const struct batch_item *item[MOST_BRANCHES],
                  int at[MOST_BRANCHES])
{
    int found = 0;

    if (s->n_planned == 0) { /* a part of the input */
        if (s->rooted || first[n - 1].n_w == 0)
            return 0;
        s->rooted = 1;
        item[0] = &first[n - 1];
        at[0] = -1;
        return 1;
    }
    for (int k = 0; k < n; k++) {
        struct branch *b = &s->b[s->planned[k]];
        b->fed += first[k].in.n;
        if (first[k].n_w == 0)
            continue;
        b->open = 0;
        item[found] = &first[k];
        at[found++] = s->planned[k];
    }
    return found;
}

void branches_replace(struct job *j, struct branches *s, const int *from, int n)
{
    struct branch old[MOST_BRANCHES];
    int heirs[MOST_BRANCHES] = {0};

    memcpy(old, s->b, sizeof old);
    for (int i = 0; i < n; i++) {
        struct branch *b = &s->b[i];
        *b = (struct branch){.open = 1};
        if (from[i] < 0)
            continue;
        const struct branch *was = &old[from[i]];
        b->fed = was->fed;
        if (heirs[from[i]]++ == 0)
            b->seq = was->seq;
        else
            b->from = was->seq;
    }
    for (int i = 0; i < s->n; i++)
        if (heirs[i] == 0)
            branches_end(j, &old[i]);
    s->n = n;
}

void branches_end(struct job *j, struct branch *b)
{
    if (b->seq)
        job_drop(j, b->seq);
    b->seq = NULL;
    b->open = 0;
}

void branches_lost(struct branches *s)
{
    for (int i = 0; i < s->n; i++) {
        s->b[i].seq = s->b[i].from = NULL;
        s->b[i].fed = 0;
    }
}
