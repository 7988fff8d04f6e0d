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
    if ((info->tasks & TASK_EMBED) && info->width > cols)
        cols = info->width;
    memset(p, 0, sizeof *p);
    p->max_items = max_items;
    p->max_chain = info->max_chain;
    p->whole = (info->flags & ARCH_WHOLE_INPUT) != 0;
    p->ld = ((size_t)cols + ROW_ALIGN - 1) / ROW_ALIGN * ROW_ALIGN;
    p->store = store;
    p->b.item = mem_zarray(n, sizeof *p->b.item);
    p->want = mem_zarray(2 * n, sizeof *p->want);
    p->seq = mem_zarray(n, sizeof(struct seq *));
    p->owner = mem_zarray(n, sizeof(struct job *));
    p->order = mem_zarray(n, sizeof(struct job *));
    if (!p->b.item || !p->want || !p->owner || !p->order || !p->seq) {
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
    mem_free(p->seq);
    mem_aligned_free(p->rows);
    memset(p, 0, sizeof *p);
}

int batch_plan_rows(struct batch_plan *p, int n, struct err *e)
{
    if (n <= p->cap_rows)
        return 0;
    int cap = p->cap_rows ? p->cap_rows : 1;
    while (cap < n)
        cap *= 2;
    size_t floats;
    if (__builtin_mul_overflow((size_t)cap, p->ld, &floats))
        return err_nomem(e);
    float *rows = mem_floats(floats);
    if (!rows)
        return err_nomem(e);
    mem_aligned_free(p->rows);
    p->rows = rows;
    p->cap_rows = cap;
    return 0;
}

void batch_starve(struct batch_plan *p, struct job *j, int rc)
{
    if (rc == SEQ_WAIT) {
        j->starved = 1;
        p->n_starved++;
    } else {
        job_fail(j, ERR_NOMEM, "out_of_memory", "out of memory");
    }
}

void batch_share(struct batch_plan *p, struct job *j)
{
    int got =
        seq_share(p->store, j->seq, j->tokens + j->pos, j->n_all - 1 - j->pos);
    /* What the job itself has computed before is nothing that it was given. */
    int fresh = j->pos + got < j->n_tokens ? j->pos + got : j->n_tokens;
    fresh -= j->pos > j->seen ? j->pos : j->seen;
    j->res.cached_tokens += fresh > 0 ? fresh : 0;
    j->pos += got;
}

int batch_add(struct batch_plan *p, struct job *j, const int32_t *ids, int n,
              int want)
{
    return batch_add_to(p, j, j->seq, ids, n, want);
}

/* The wants of item i: a row of the common block, and the job's own memory. */
static void add_wants(struct batch_plan *p, const struct job *j, int i, int n,
                      int want)
{
    struct batch_item *it = &p->b.item[i];
    it->w[0] = (struct want){.kind = (enum want_kind)want,
                             .from = n - 1,
                             .n = 1,
                             .dst = p->rows + p->ld * (size_t)p->b.n_rows,
                             .ld = p->ld};
    it->n_w = 1;
    p->b.n_rows++;
    if (j->attention && it->seq->len[0] == 0) {
        it->w[1] = (struct want){
            .kind = WANT_ATTENTION, .n = n, .dst = j->attention, .ld = 0};
        it->n_w = 2;
    }
}

int batch_add_to(struct batch_plan *p, struct job *j, struct seq *s,
                 const int32_t *ids, int n, int want)
{
    struct batch *b = &p->b;
    int i = b->n_item;

    if (n <= 0 || i >= p->max_items || (want >= 0 && b->n_rows >= p->cap_rows))
        return 0;
    int rc = seq_reserve(p->store, s, 0, n, NULL);
    if (rc) {
        batch_starve(p, j, rc);
        return 0;
    }
    b->item[i] =
        (struct batch_item){.seq = &s->s,
                            .fixed_in = s->buf[s->cur],
                            .fixed_out = s->buf[s->cur ^ 1],
                            .in = {.kind = IN_TOKENS, .p = ids, .n = n},
                            .w = &p->want[2 * i]};
    if (want >= 0)
        add_wants(p, j, i, n, want);
    p->owner[i] = j;
    p->seq[i] = s;
    if (j->n_planned++ == 0)
        j->first = i;
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
        int decodes = j->pos >= j->n_tokens && j->n_all - j->pos <= 1;
        if (decodes == decode && j->end == JOB_OPEN &&
            (budget > 0 || p->b.n_item == 0))
            budget -= j->ops->plan(j, budget, p);
    }
    return budget;
}

/* The job that got only what the others left of the budget: it has not had its
 * turn. (The first of the prompts has, whatever it got.) */
static struct job *cut_short(const struct batch_plan *p, int n_decode)
{
    int last = p->b.n_item - 1;
    if (last <= n_decode)
        return NULL;
    struct job *j = p->owner[last];
    int full = j->n_all - j->pos;
    full = p->max_chain > 0 && full > p->max_chain ? p->max_chain : full;
    return p->b.item[last].in.n < full ? j : NULL;
}

void batch_build(struct batch_plan *p, struct job **jobs, int n, int budget)
{
    p->b.n_item = p->b.n_tokens = p->b.n_rows = p->n_starved = 0;
    for (int i = 0; i < n; i++)
        jobs[i]->n_planned = jobs[i]->starved = 0;
    budget = plan_some(p, jobs, n, budget, 1);
    int n_decode = p->b.n_item;
    plan_some(p, jobs, n, budget, 0);

    struct job *cut = cut_short(p, n_decode);
    int k = 0;
    for (int served = 0; served < 2; served++) {
        for (int i = 0; i < n; i++)
            if ((jobs[i]->n_planned > 0 && jobs[i] != cut) == served)
                p->order[k++] = jobs[i];
    }
    memcpy(jobs, p->order, (size_t)n * sizeof(struct job *));
}
