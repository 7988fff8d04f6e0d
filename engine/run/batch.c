/* batch: see batch.h.
 *
 * SPDX-License-Identifier: MIT */
#include "engine/run/batch.h"

#include <string.h>

#include "engine/base/mem.h"
#include "engine/run/job.h"
#include "engine/run/task.h"

#define ROW_ALIGN 16 /* floats: one AVX-512 register, one cache line */

int batch_plan_init(struct batch_plan *p, const struct model_info *info,
                    struct seq_store *store, int max_items, struct err *e)
{
    size_t n = (size_t)max_items;
    int cols = info->n_vocab > info->n_labels ? info->n_vocab : info->n_labels;
    if ((info->tasks & TASK_EMBED) && info->width > cols) {
        cols = info->width;
    }
    memset(p, 0, sizeof(*p));
    p->max_items = max_items;
    p->max_chain = info->max_chain;
    p->whole = (info->flags & ARCH_WHOLE_INPUT) != 0;
    p->ld = ((size_t)cols + ROW_ALIGN - 1) / ROW_ALIGN * ROW_ALIGN;
    p->store = store;
    p->b.item = mem_zarray(n, sizeof(*p->b.item));
    p->want = mem_zarray(n, sizeof(*p->want));
    p->owner = mem_zarray(n, sizeof(struct job *));
    p->order = mem_zarray(n, sizeof(struct job *));
    if (!p->b.item || !p->want || !p->owner || !p->order) {
        batch_plan_fini(p);
        return err_nomem(e);
    }
    return 0;
}

void batch_plan_fini(struct batch_plan *p)
{
    mem_free(p->b.item);
    mem_free(p->want);
    mem_free(p->owner);
    mem_free(p->order);
    mem_aligned_free(p->rows);
    memset(p, 0, sizeof(*p));
}

int batch_plan_rows(struct batch_plan *p, int n, struct err *e)
{
    if (n <= p->cap_rows) {
        return 0;
    }
    int cap = p->cap_rows ? p->cap_rows : 1;
    while (cap < n) {
        cap *= 2;
    }
    size_t floats;
    if (__builtin_mul_overflow((size_t)cap, p->ld, &floats)) {
        return err_nomem(e);
    }
    float *rows = mem_floats(floats);
    if (!rows) {
        return err_nomem(e);
    }
    mem_aligned_free(p->rows);
    p->rows = rows;
    p->cap_rows = cap;
    return 0;
}

int batch_add(struct batch_plan *p, struct job *j, const int32_t *ids, int n,
              int want)
{
    struct batch *b = &p->b;
    int i = b->n_item;

    if (n <= 0 || i >= p->max_items ||
        (want >= 0 && b->n_rows >= p->cap_rows)) {
        return 0;
    }
    if (seq_reserve(p->store, j->seq, 0, n, NULL)) {
        return 0;
    }
    struct seq *s = j->seq;
    b->item[i] =
        (struct batch_item){.seq = &s->s,
                            .fixed_in = s->buf[s->cur],
                            .fixed_out = s->buf[s->cur ^ 1],
                            .in = {.kind = IN_TOKENS, .p = ids, .n = n},
                            .w = &p->want[i]};
    if (want >= 0) {
        p->want[i] = (struct want){.kind = (enum want_kind)want,
                                   .from = n - 1,
                                   .n = 1,
                                   .dst = p->rows + p->ld * (size_t)b->n_rows,
                                   .ld = p->ld};
        b->item[i].n_w = 1;
        b->n_rows++;
    }
    p->owner[i] = j;
    if (j->n_planned++ == 0) {
        j->first = i;
    }
    b->n_item++;
    b->n_tokens += n;
    return n;
}

/* One pass over the jobs that decode (or over those that do not). */
static int plan_some(struct batch_plan *p, struct job **jobs, int n, int budget,
                     int decode)
{
    for (int i = 0; i < n && p->b.n_item < p->max_items; i++) {
        struct job *j = jobs[i];
        int decodes = j->pos == j->n_tokens;
        if (decodes == decode && (budget > 0 || p->b.n_item == 0)) {
            budget -= j->ops->plan(j, budget, p);
        }
    }
    return budget;
}

/* The job that got only what the others left of the budget: it has not had its
 * turn. (The first of the prompts has, whatever it got.) */
static struct job *cut_short(const struct batch_plan *p, int n_decode)
{
    int last = p->b.n_item - 1;
    if (last <= n_decode) {
        return NULL;
    }
    struct job *j = p->owner[last];
    int full = j->n_tokens - j->pos;
    full = p->max_chain > 0 && full > p->max_chain ? p->max_chain : full;
    return p->b.item[last].in.n < full ? j : NULL;
}

void batch_build(struct batch_plan *p, struct job **jobs, int n, int budget)
{
    p->b.n_item = p->b.n_tokens = p->b.n_rows = 0;
    for (int i = 0; i < n; i++) {
        jobs[i]->n_planned = 0;
    }
    budget = plan_some(p, jobs, n, budget, 1);
    int n_decode = p->b.n_item;
    plan_some(p, jobs, n, budget, 0);

    struct job *cut = cut_short(p, n_decode);
    int k = 0;
    for (int served = 0; served < 2; served++) {
        for (int i = 0; i < n; i++) {
            if ((jobs[i]->n_planned > 0 && jobs[i] != cut) == served) {
                p->order[k++] = jobs[i];
            }
        }
    }
    memcpy(jobs, p->order, (size_t)n * sizeof(struct job *));
}
