/* beam: see beam.h. What is searched is beam_search.c's business, where the
 * states are branches.c's; here rows go from the one to the other, and
 * hypotheses become texts.
 *
 * SPDX-License-Identifier: MIT */
#include "engine/run/task/beam.h"

#include <math.h>
#include <string.h>

#include "engine/base/mem.h"
#include "engine/run/model.h"
#include "engine/run/task/alignment.h"
#include "engine/run/task/branches.h"

#define MAX_NEW_TOKENS (1 << 20)
#define MAX_TEXT_BYTES ((size_t)64 << 20)
#define MOST_PENALTY 10.0

_Static_assert(MOST_BEAMS <= MOST_BRANCHES, "each beam is a branch");

struct beam_job {
    struct beam_search search;
    struct branches branches;
    struct alignment alignment;
    int n_best, stream;
    struct detok detok; /* of what is streamed */
    struct buf said;
    int n_said; /* tokens in it */
    struct buf text[MOST_BEAMS];
    struct beam_text best[MOST_BEAMS];
    struct beam_result res;
};

static int wrong(struct err *e, const char *param, const char *expected)
{
    return err_set_at(e, ERR_INVALID, "invalid_value", param, "%s must be %s",
                      param, expected);
}

static int check(const struct beam_params *p, int V, struct err *e)
{
    if (p->beams < 1 || p->beams > MOST_BEAMS)
        return wrong(e, "beams", "from 1 to 16");
    if (p->n_best < 1 || p->n_best > p->beams)
        return wrong(e, "n_best", "from 1 to beams");
    if (!(fabs(p->length_penalty) <= MOST_PENALTY))
        return wrong(e, "length_penalty", "from -10 to 10");
    if (p->max_tokens < 1 || p->max_tokens > MAX_NEW_TOKENS)
        return wrong(e, "max_tokens", "from 1 to 1048576");
    if (p->forced_first >= V)
        return wrong(e, "target", "a token of the vocabulary");
    return 0;
}

/* Tokens that there is room for, the end included: the last one is not read. */
static int room_for(const struct job *j, int max_tokens)
{
    int64_t context = j->model->info.state.port[PORT_TARGET].context_length;
    int64_t room = context - j->n_tokens + 1;
    return context > 0 && room < max_tokens ? (int)room : max_tokens;
}

static int beam_init(struct job *j, const void *params, struct err *e)
{
    const struct beam_params *p = params;
    const struct model *m = j->model;
    const struct target_rules *target = &m->info.target;
    int V = m->info.cols[OUT_LOGITS], source = m->info.state.n_ports > 1;
    struct beam_job *s = mem_zalloc(sizeof *s);

    j->own = s;
    if (!s)
        return err_nomem(e);
    for (int i = 0; i < MOST_BEAMS; i++)
        buf_init(&s->text[i], MAX_TEXT_BYTES);
    buf_init(&s->said, MAX_TEXT_BYTES);
    if (check(p, V, e))
        return -1;
    struct beam_rules r = {.beams = p->beams,
                           .max_new = room_for(j, p->max_tokens),
                           .length_penalty = p->length_penalty,
                           .stop = p->stop,
                           .n_vocab = V,
                           .forbid = m->forbid,
                           .n_forbid = m->n_forbid,
                           .end = m->end,
                           .n_end = m->n_end,
                           .forced_first = target->forced_first,
                           .forced_last = target->forced_last,
                           .min_new = target->min_new,
                           .no_repeat = target->no_repeat,
                           .renormalize = target->renormalize,
                           .prefix = j->tokens,
                           .n_prefix = j->n_tokens};
    if (p->forced_first >= 0)
        r.forced_first = p->forced_first;
    s->n_best = p->n_best;
    s->stream = p->stream;
    detok_init(&s->detok);
    if (!source)
        detok_seed(m->tokenizer, &s->detok, j->tokens, j->n_tokens);
    if (p->attention && alignment_init(&s->alignment, j, e))
        return -1;
    branches_begin(j, p->beams + s->alignment.on);
    return beam_search_init(&s->search, &r, e);
}

static void beam_fini(struct job *j)
{
    struct beam_job *s = j->own;
    if (s) {
        beam_search_fini(&s->search);
        for (int i = 0; i < MOST_BEAMS; i++)
            buf_fini(&s->text[i]);
        buf_fini(&s->said);
        alignment_fini(&s->alignment);
        mem_free(s);
    }
}

static void beam_most(const struct job *j, int64_t n[MAX_PORTS])
{
    const struct beam_job *s = j->own;
    n[PORT_TARGET] += s->search.r.max_new - 1;
}

static int beam_plan(struct job *j, int budget, struct batch_plan *p)
{
    struct beam_job *s = j->own;

    if (alignment_begun(&s->alignment))
        return alignment_plan(&s->alignment, j, budget, p);
    if (alignment_hold(&s->alignment, j, p))
        return 0;
    for (int i = 0; i < s->branches.n; i++) {
        s->branches.b[i].ids = s->search.beam[i].ids.v;
        s->branches.b[i].n = s->search.n_made;
    }
    return branches_plan(j, &s->branches, budget, p);
}

/* --- texts --- */

static int no_text(struct job *j, const struct buf *text)
{
    return text->full ? job_fail(j, ERR_TOO_LARGE, "context_length_exceeded",
                                 "the text has more than 64 MiB")
                      : task_out_of_memory(j);
}

static int stream_agreed(struct job *j, struct beam_job *s)
{
    const int32_t *ids;
    int n = s->stream ? beam_search_agreed(&s->search, &ids) : 0;
    size_t before = s->said.len;

    for (; s->n_said < n; s->n_said++)
        if (detok_next(j->model->tokenizer, &s->detok, ids[s->n_said],
                       &s->said) ||
            s->said.failed)
            return no_text(j, &s->said);
    j->text = s->said.p + before;
    j->text_len = s->said.len - before;
    return TASK_MORE;
}

static int write_text(struct job *j, const struct hypothesis *h,
                      struct buf *text, struct beam_text *out)
{
    const struct tokenizer *t = j->model->tokenizer;
    struct detok d;

    detok_init(&d);
    if (j->model->info.state.n_ports == 1)
        detok_seed(t, &d, j->tokens, j->n_tokens);
    for (int i = 0; i < h->n; i++)
        if (detok_next(t, &d, h->ids.v[i], text))
            return no_text(j, text);
    if (detok_finish(t, &d, text) || text->failed)
        return no_text(j, text);
    *out = (struct beam_text){.text = text->p ? text->p : "",
                              .text_len = text->len,
                              .tokens = h->ids.v,
                              .n_tokens = h->n,
                              .score = h->score,
                              .finish = h->ended ? FINISH_STOP : FINISH_LENGTH};
    return 0;
}

static int finish(struct job *j, struct beam_job *s)
{
    const struct beam_search *b = &s->search;
    int n = b->n_done < s->n_best ? b->n_done : s->n_best;

    if (n == 0) {
        return job_fail(j, ERR_INTERNAL, "internal_error",
                        "the model offers no token");
    }
    for (int i = 0; i < n; i++) {
        if (write_text(j, &b->done[i], &s->text[i], &s->best[i]))
            return -1;
        j->res.completion_tokens += b->done[i].n;
    }
    if (s->stream) {
        j->text = s->best[0].text + s->said.len;
        j->text_len = s->best[0].text_len - s->said.len;
    }
    s->res = (struct beam_result){.best = s->best,
                                  .n = n,
                                  .attention = s->alignment.weights,
                                  .n_source = s->alignment.m};
    j->answer = &s->res;
    return TASK_DONE;
}

/* --- steps --- */

/* The search is over: the best text may have to be read once more. */
static int end_search(struct job *j, struct beam_job *s)
{
    const struct hypothesis *h = &s->search.done[0];

    if (!s->alignment.on || s->search.n_done == 0)
        return finish(j, s);
    for (int i = 0; i < s->branches.n; i++)
        branches_end(j, &s->branches.b[i]);
    if (alignment_begin(&s->alignment, j, h->ids.v, h->n))
        return -1;
    return h->n > 0 ? TASK_MORE : finish(j, s);
}

/* All live beams have their rows: the next ones. */
static int next_beams(struct job *j, struct beam_job *s)
{
    struct beam_search *b = &s->search;
    int from[MOST_BEAMS], over = beam_search_next(b), first = b->n_made == 1;

    if (over < 0)
        return task_out_of_memory(j);
    j->fresh_tokens = 1;
    if (over)
        return end_search(j, s);
    for (int i = 0; i < b->n_beams; i++)
        from[i] = first ? -1 : b->beam[i].from;
    branches_replace(j, &s->branches, from, b->n_beams);
    j->branch_rows = b->n_made;
    return stream_agreed(j, s);
}

static int beam_take(struct job *j, const struct task_ctx *x,
                     struct batch_item *first, int n)
{
    struct beam_job *s = j->own;
    const struct batch_item *item[MOST_BRANCHES];
    int at[MOST_BRANCHES], V = x->model->info.cols[OUT_LOGITS];

    if (alignment_begun(&s->alignment)) {
        int rc = alignment_take(&s->alignment, j, x, first);
        return rc == TASK_DONE ? finish(j, s) : rc;
    }
    int found = branches_take(&s->branches, first, n, item, at);

    for (int k = 0; k < found; k++) {
        float *row = task_row(j, x, item[k], 0, V);
        if (!row)
            return -1;
        beam_search_row(&s->search, at[k] < 0 ? 0 : at[k], x->k, row);
    }
    for (int i = 0; i < s->search.n_beams; i++)
        if (!s->search.beam[i].read)
            return TASK_MORE;
    return next_beams(j, s);
}

static void beam_lost(struct job *j)
{
    struct beam_job *s = j->own;
    branches_lost(&s->branches);
    alignment_lost(&s->alignment);
}

const struct task task_beam = {.name = "beam",
                               .output = OUT_LOGITS,
                               .needs =
                                   TASK_TOKENS | TASK_APPEND | TASK_ANY_SOURCE,
                               .init = beam_init,
                               .fini = beam_fini,
                               .most = beam_most,
                               .plan = beam_plan,
                               .take = beam_take,
                               .lost = beam_lost};

const struct task task_translate = {.name = "translate",
                                    .output = OUT_LOGITS,
                                    .needs = TASK_TOKENS | TASK_APPEND |
                                             TASK_SOURCE | TASK_SOURCE_TEXT,
                                    .init = beam_init,
                                    .fini = beam_fini,
                                    .most = beam_most,
                                    .plan = beam_plan,
                                    .take = beam_take,
                                    .lost = beam_lost};
