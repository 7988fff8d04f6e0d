/* task: see task_impl.h.
 *
 * SPDX-License-Identifier: MIT */
#include "engine/run/task/task_impl.h"

#include "engine/base/mem.h"
#include "engine/run/model.h"

/* Numbers of an attention that is shown: 256 MiB. */
#define MOST_WEIGHTS ((size_t)1 << 26)

/* Rows of a port that the job has, and is to feed. */
static int rows_of(const struct job *j, int port)
{
    return port == PORT_TARGET ? j->n_all : j->in[port].n;
}

struct span task_span(struct job *j, int budget, struct batch_plan *p,
                      int *port)
{
    const struct state_layout *l = &j->model->info.state;
    int at = l->n_ports - 1;

    while (at > PORT_TARGET && j->pos[at] >= j->in[at].n)
        at--;
    *port = at;
    int whole = l->port[at].whole || (at == PORT_TARGET && j->uncut);
    if (at == PORT_TARGET)
        batch_share(p, j);
    int n = rows_of(j, at) - j->pos[at], chain = j->model->info.max_chain;
    if (whole) {
        /* One that is over the budget runs alone, when its turn comes. */
        n = n > budget && p->b.n_item > 0 ? 0 : n;
    } else {
        n = chain > 0 && n > chain ? chain : n;
        n = n > budget ? budget : n;
    }
    return job_rows(j, at, j->pos[at], n > 0 ? n : 0);
}

int task_ends(const struct job *j, int port, const struct span *in)
{
    return port == PORT_TARGET && j->pos[port] + in->n == j->n_all;
}

int task_plan_input(struct job *j, int budget, struct batch_plan *p, int want)
{
    int port;
    struct span in = task_span(j, budget, p, &port);
    struct want w = {.kind = (enum out)want, .from = in.n - 1, .n = 1};
    int wants = want >= 0 && task_ends(j, port, &in);

    return in.n > 0 ? batch_add(p, j, j->seq, port, &in, &w, wants) : 0;
}

float *task_row(struct job *j, const struct task_ctx *x,
                const struct batch_item *item, int i, int n)
{
    float *row = item->w[0].dst + item->w[0].ld * (size_t)i;
    if (!x->k->all_finite(n, row)) {
        job_fail(j, ERR_INTERNAL, "internal_error",
                 "the model gave a number that is not finite");
        return NULL;
    }
    return row;
}

static size_t weights_of(const struct job *j, int rows)
{
    const struct model_info *info = &j->model->info;
    return (size_t)rows * (size_t)job_shown(j) * (size_t)info->n_layers *
           (size_t)info->n_heads;
}

int task_can_show(const struct job *j, int rows, struct err *e)
{
    const struct model_info *info = &j->model->info;
    int shown = job_shown(j), most = rows > shown ? rows : shown;

    if (info->cols[OUT_ATTENTION] < 1) {
        return err_set_at(e, ERR_UNSUPPORTED, "task_not_supported", "attention",
                          "model '%s' has no attention to look at",
                          j->model->name);
    }
    if (most > MODEL_MAX_SHOWN) {
        return err_set_at(e, ERR_INVALID, "invalid_value", "attention",
                          "input has %d tokens, attention is shown for at "
                          "most %d",
                          most, MODEL_MAX_SHOWN);
    }
    if (weights_of(j, rows) > MOST_WEIGHTS) {
        return err_set_at(e, ERR_INVALID, "invalid_value", "attention",
                          "the attention of %d tokens in %d layers of %d heads "
                          "is too much to be shown",
                          most, info->n_layers, info->n_heads);
    }
    return 0;
}

int task_show_attention(struct job *j, struct err *e)
{
    if (task_can_show(j, j->n_tokens, e))
        return -1;
    j->uncut = j->unshared = 1;
    j->attention =
        mem_room(weights_of(j, j->n_tokens)); /* the step's thread zeroes it */
    j->res.attention = j->attention;
    return j->attention ? 0 : err_nomem(e);
}

int task_out_of_memory(struct job *j)
{
    return job_fail(j, ERR_NOMEM, "out_of_memory", "out of memory");
}
