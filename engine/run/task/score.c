/* score: see score.h. All rows of a chunk are wanted, so that a chunk is as
 * long as a block of rows: 13 MB for 50,000 words.
 *
 * SPDX-License-Identifier: MIT */
#include "engine/run/task/score.h"

#include <math.h>

#include "engine/base/mem.h"
#include "engine/run/model.h"
#include "engine/run/task/task_impl.h"

#define CHUNK 64 /* rows of logits at a time */

static int score_init(struct job *j, const void *params, struct err *e)
{
    (void)params;
    j->own = mem_zalloc(sizeof(struct score_result));
    if (!j->own)
        return err_nomem(e);
    j->answer = j->own;
    /* The last token is scored, not read; of a single one nothing is. */
    j->unshared = 1;
    j->n_all = j->n_tokens > 1 ? j->n_tokens - 1 : 1;
    j->most_rows = j->n_all < CHUNK ? j->n_all : CHUNK;
    return 0;
}

static void score_fini(struct job *j)
{
    mem_free(j->own);
}

static int score_plan(struct job *j, int budget, struct batch_plan *p)
{
    int port, left = batch_rows_left(p);
    int most = left < CHUNK ? left : CHUNK;
    struct span in = task_span(j, budget < most ? budget : most, p, &port);
    struct want w = {.kind = OUT_LOGITS, .n = in.n};

    return in.n > 0 ? batch_add(p, j, j->seq, port, &in, &w, 1) : 0;
}

/* -log softmax(row)[id] */
static double nats_of(const struct kernels *k, int V, const float *row,
                      int32_t id)
{
    float max = k->row_max(V, row);
    float sum = k->sum_exp(V, row, max);
    return log((double)sum) - ((double)row[id] - (double)max);
}

static int score_take(struct job *j, const struct task_ctx *x,
                      struct batch_item *first, int n)
{
    struct score_result *s = j->own;
    int V = x->model->info.cols[OUT_LOGITS], rows = first[n - 1].in.n;
    int at = j->pos[PORT_TARGET] - rows; /* of the first row */

    for (int i = 0; i < rows && at + i + 1 < j->n_tokens; i++) {
        if (at + i < s->tokens)
            continue; /* read again, after the state was lost */
        const float *row = task_row(j, x, &first[n - 1], i, V);
        if (!row)
            return -1;
        s->nats += nats_of(x->k, V, row, j->tokens[at + i + 1]);
        s->tokens++;
    }
    return j->pos[PORT_TARGET] < j->n_all ? TASK_MORE : TASK_DONE;
}

const struct task task_score = {.name = "score",
                                .output = OUT_LOGITS,
                                .needs =
                                    TASK_TOKENS | TASK_APPEND | TASK_STREAM,
                                .init = score_init,
                                .fini = score_fini,
                                .plan = score_plan,
                                .take = score_take};
