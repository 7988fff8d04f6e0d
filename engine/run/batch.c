/* batch: see batch.h.
 *
 * SPDX-License-Identifier: MIT */
#include "engine/run/batch.h"

#include <math.h>
#include <string.h>

#include "engine/base/mem.h"
#include "engine/run/flow.h"
#include "engine/run/job.h"
#include "engine/run/model.h"
#include "engine/run/pace.h"
#include "engine/run/task/task.h"

#define ROW_ALIGN 16 /* floats: one AVX-512 register, one cache line */

int batch_plan_init(struct batch_plan *p, const struct model_info *info,
                    struct seq_store *store, int max_items, struct err *e)
{
    size_t n = (size_t)max_items;
    int cols = 1;
    memset(p, 0, sizeof *p);
    for (int i = 0; i < N_OUT; i++)
        if (i != OUT_ATTENTION && info->cols[i] > cols)
            cols = info->cols[i];
    p->ld = ((size_t)cols + ROW_ALIGN - 1) / ROW_ALIGN * ROW_ALIGN;
    p->max_items = max_items;
    p->store = store;
    p->b.item = mem_zarray(n, sizeof *p->b.item);
    p->want = mem_zarray(BATCH_MAX_WANTS * n, sizeof *p->want);
    p->seq = mem_zarray(n, sizeof(struct seq *));
    p->owner = mem_zarray(n, sizeof(struct job *));
    p->order = mem_zarray(n, sizeof(struct job *));
    p->key = mem_zarray(n, sizeof *p->key);
    if (!p->b.item || !p->want || !p->owner || !p->order || !p->seq ||
        !p->key) {
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
    mem_free(p->key);
    mem_free(p->seq);
    mem_aligned_free(p->rows);
    memset(p, 0, sizeof *p);
}

int batch_plan_rows(struct batch_plan *p, int n, struct err *e)
{
    int cap = n;

    if (n <= p->cap_rows)
        return 0;
    /* By doubling, but not past one row an item, which is the usual most. */
    if (cap < p->max_items) {
        cap = 2 * p->cap_rows > cap ? 2 * p->cap_rows : cap;
        cap = cap < p->max_items ? cap : p->max_items;
    }
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

int batch_rows_left(const struct batch_plan *p)
{
    return p->cap_rows - p->b.n_rows;
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
    int *pos = &j->pos[PORT_TARGET];

    if (!p->store->share || j->unshared)
        return;
    int got =
        seq_share(p->store, j->seq, j->tokens + *pos, j->n_all - 1 - *pos);
    /* What the job itself has computed before is nothing that it was given. */
    int fresh = *pos + got < j->n_tokens ? *pos + got : j->n_tokens;
    fresh -= *pos > j->seen[PORT_TARGET] ? *pos : j->seen[PORT_TARGET];
    j->res.cached_tokens += fresh > 0 ? fresh : 0;
    *pos += got;
}

/* The wants of an item: rows of the common block, but for attention. */
static void add_want(struct batch_plan *p, struct batch_item *it,
                     const struct want *w, float *own)
{
    struct want *to = &it->w[it->n_w++];

    *to = *w;
    to->ld = own ? 0 : p->ld;
    to->dst = own ? own : p->rows + p->ld * (size_t)p->b.n_rows;
    p->b.n_rows += own ? 0 : w->n;
}

/* Here and not where the job is made: a list of them touches more memory than
 * who submits has time for, and what waits holds none. */
static void clear_attention(struct job *j)
{
    const struct model_info *info = &j->model->info;
    size_t n = (size_t)j->n_tokens * (size_t)job_shown(j);
    memset(j->attention, 0,
           n * (size_t)info->n_layers * (size_t)info->n_heads *
               sizeof *j->attention);
}

int batch_add(struct batch_plan *p, struct job *j, struct seq *s, int port,
              const struct span *in, const struct want *w, int n_w)
{
    struct batch *b = &p->b;
    int i = b->n_item, rows = 0;

    for (int k = 0; k < n_w; k++)
        rows += w[k].kind == OUT_ATTENTION ? 0 : w[k].n;
    if (in->n <= 0 || i >= p->max_items || n_w >= BATCH_MAX_WANTS ||
        rows > batch_rows_left(p))
        return 0;
    int rc = seq_reserve(p->store, s, port, in->n, NULL);
    if (rc) {
        batch_starve(p, j, rc);
        return 0;
    }
    struct batch_item *it = &b->item[i];
    *it = (struct batch_item){.seq = &s->s,
                              .fixed_in = s->buf[s->cur],
                              .fixed_out = s->buf[s->cur ^ 1],
                              .port = port,
                              .in = *in,
                              .w = &p->want[BATCH_MAX_WANTS * i]};
    for (int k = 0; k < n_w; k++) {
        int shown = w[k].kind == OUT_ATTENTION;
        add_want(p, it, &w[k], shown ? w[k].dst : NULL);
        p->n_floats += (size_t)w[k].n * (size_t)j->model->info.cols[w[k].kind];
    }
    if (n_w > 0 && j->attention && s->s.len[port] == 0) {
        clear_attention(j);
        add_want(p, it, &(struct want){.kind = OUT_ATTENTION, .n = in->n},
                 j->attention);
    }
    p->owner[i] = j;
    p->seq[i] = s;
    if (j->n_planned++ == 0)
        j->first = i;
    b->n_item++;
    b->n_tokens += in->n;
    return in->n;
}

/* Has the job read its input, so that it goes on by single tokens? */
static int decodes(const struct job *j)
{
    for (int i = PORT_TARGET + 1; i < j->model->info.state.n_ports; i++)
        if (j->pos[i] < j->in[i].n)
            return 0;
    int pos = j->pos[PORT_TARGET];
    return pos >= j->n_tokens && j->n_all - pos <= 1;
}

/* Tokens of a step that are kept for inputs, if there are any: where as many
 * texts are written as a step has tokens, a newcomer would wait for their
 * ends. */
static int kept_for_inputs(struct job **jobs, int n, int budget)
{
    for (int i = 0; i < n; i++)
        if (jobs[i]->end == JOB_OPEN && !decodes(jobs[i]))
            return budget / 4;
    return 0;
}

/* One pass over the jobs that decode (or over those that do not); over all of
 * them, or when the step is bounded over those of light clients. */
static int plan_some(struct batch_plan *p, struct job **jobs, int n, int budget,
                     int decode, int bounded)
{
    for (int i = 0; i < n && p->b.n_item < p->max_items; i++) {
        struct job *j = jobs[i];
        if (bounded && j->flow->heavy)
            continue;
        if (decodes(j) == decode && j->end == JOB_OPEN &&
            (budget > 0 || p->b.n_item == 0))
            budget -= j->task->plan(j, budget, p);
    }
    return budget;
}

/* Heavy clients' jobs, while the step's work stays under `most`; of the first
 * one an item in any case. What reads whole inputs is never cut. */
static int plan_heavy(struct batch_plan *p, struct job **jobs, int n,
                      int budget, double most, int n_most)
{
    int begin = p->b.n_item;

    for (int i = 0; i < n && p->b.n_item - begin < n_most; i++) {
        struct job *j = jobs[i];
        const struct model_info *info = &j->model->info;
        int first = p->b.n_item == begin, room = budget;
        double left = most - pace_work(info, p->b.n_tokens, p->b.n_rows);
        double token = pace_work(info, 1, 0);

        if (!j->flow->heavy || j->end != JOB_OPEN || j->n_planned > 0)
            continue;
        if (p->b.n_item == p->max_items || (budget <= 0 && p->b.n_item > 0))
            break;
        if (!first && left < pace_work(info, 1, decodes(j)))
            break;
        int whole = info->state.port[PORT_TARGET].whole || j->uncut;
        if (!(first && whole) && left < token * room)
            room = left > token ? (int)(left / token) : 1;
        budget -= j->task->plan(j, room, p);
        if (first && p->b.n_item == begin && !j->starved)
            break; /* it needs a step of its own: it is the next one's first */
    }
    return budget;
}

/* A step in which heavy clients' rows are bounded by those of the others. A
 * source that is more than that is read all the same, but what it was too much
 * is taken off the next steps: a light job of many steps would meet one in
 * every second of them. */
static void plan_bounded(struct batch_plan *p, struct job **jobs, int n,
                         int budget)
{
    const struct model_info *info = &jobs[0]->model->info;
    double one = pace_work(info, 1, 1);
    int waits = p->heavy_first && p->owed > 0;

    if (p->heavy_first && !waits)
        budget = plan_heavy(p, jobs, n, budget, one, 1);
    double heavy = pace_work(info, p->b.n_tokens, p->b.n_rows);
    int kept = kept_for_inputs(jobs, n, budget);
    budget = plan_some(p, jobs, n, budget - kept, 1, 1);
    budget = plan_some(p, jobs, n, budget + kept, 0, 1);
    double light = pace_work(info, p->b.n_tokens, p->b.n_rows) - heavy;
    light = light > one ? light : one;
    double beside = p->pace ? pace_beside(p->pace, light) : light;
    int before = p->b.n_item;
    if (waits && before == 0) /* nobody is held up */
        p->heavy_first = waits = 0;
    plan_heavy(p, jobs, n, budget, light + beside,
               p->heavy_first ? 0 : p->max_items);
    if (p->heavy_first && info->state.n_ports > PORT_SOURCE)
        p->owed = fmax(0, p->owed + heavy - beside);
    p->heavy_first = waits || (!p->heavy_first && p->b.n_item == before);
}

/* --- the order of clients --- */

/* Rows that the job can take of a step. */
static int wants_of(const struct job *j, int budget)
{
    int left = 0, chain = j->model->info.max_chain;

    for (int i = 0; i < j->model->info.state.n_ports; i++)
        left += (i == PORT_TARGET ? j->n_all : j->in[i].n) - j->pos[i];
    left = chain > 0 && left > chain ? chain : left;
    if (left < 1) /* a part of a text, or a row of each of these */
        left = j->window > 0 ? j->window : j->n_branches;
    return left < 1 ? 1 : left < budget ? left : budget;
}

/* The jobs in the order of what their clients have been served, with the jobs
 * before them: the client with least comes first, and jobs of equal clients
 * take turns. Stable, by insertion: from step to step little changes. 1 when
 * the step has to be bounded. */
static int order_clients(struct batch_plan *p, struct job **jobs, int n,
                         int budget)
{
    int several = 0, heavy = 0;

    for (int i = 0; i < n; i++) {
        several |= jobs[i]->flow != jobs[0]->flow;
        heavy |= jobs[i]->flow->heavy;
        jobs[i]->flow->cost = 0;
    }
    for (int i = 0; several && i < n; i++) {
        struct job *j = jobs[i];
        uint64_t key = j->flow->served + j->flow->cost;
        int at = i;
        j->flow->cost += (uint64_t)wants_of(j, budget);
        for (; at > 0 && p->key[at - 1] > key; at--) {
            p->key[at] = p->key[at - 1];
            jobs[at] = jobs[at - 1];
        }
        p->key[at] = key;
        jobs[at] = j;
    }
    return heavy;
}

/* The job that got only what the others left of the budget: it has not been
 * served. (The first of the prompts has, whatever it got.) */
static struct job *cut_short(const struct batch_plan *p, int n_decode,
                             int budget)
{
    int last = p->b.n_item - 1;
    if (last <= n_decode || p->b.n_tokens < budget)
        return NULL;
    struct job *j = p->owner[last];
    int port = p->b.item[last].port, chain = j->model->info.max_chain;
    int full = (port == PORT_TARGET ? j->n_all : j->in[port].n) - j->pos[port];
    full = chain > 0 && full > chain ? chain : full;
    return p->b.item[last].in.n < full ? j : NULL;
}

void batch_build(struct batch_plan *p, struct job **jobs, int n, int budget)
{
    p->b.n_item = p->b.n_tokens = p->b.n_rows = p->n_starved = 0;
    p->n_floats = 0;
    for (int i = 0; i < n; i++)
        jobs[i]->n_planned = jobs[i]->starved = 0;
    struct job *cut = NULL;
    p->bounded = order_clients(p, jobs, n, budget);
    if (p->bounded) {
        plan_bounded(p, jobs, n, budget);
    } else {
        int kept = kept_for_inputs(jobs, n, budget);
        int left = plan_some(p, jobs, n, budget - kept, 1, 0);
        int n_decode = p->b.n_item;
        plan_some(p, jobs, n, left + kept, 0, 0);
        cut = cut_short(p, n_decode, budget);
    }
    int k = 0;
    for (int served = 0; served < 2; served++) {
        for (int i = 0; i < n; i++)
            if ((jobs[i]->n_planned > 0 && jobs[i] != cut) == served)
                p->order[k++] = jobs[i];
    }
    memcpy(jobs, p->order, (size_t)n * sizeof(struct job *));
}
