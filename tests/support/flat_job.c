/* flat_job: see flat_job.h.
 *
 * SPDX-License-Identifier: MIT */
#include "tests/support/flat_job.h"

#include "engine/base/mem.h"

union params {
    struct next_params next;
    struct classify_params classify;
    struct generate_params generate;
};

static void fill_params(const struct flat_spec *s, union params *p)
{
    if (s->task == &task_generate)
        p->generate =
            (struct generate_params){.max_tokens = s->max_tokens,
                                     .sample = s->sample,
                                     .stop = s->stop,
                                     .n_stop = s->n_stop,
                                     .stream = s->stream,
                                     .n = s->choices,
                                     .logprob = s->logprob,
                                     .constraint = s->constraint,
                                     .constraint_must = s->constraint_must};
    else if (s->task == &task_classify)
        p->classify = (struct classify_params){.attention = s->attention,
                                               .labels = s->labels,
                                               .n_labels = s->n_labels,
                                               .before = s->before,
                                               .after = s->after};
    else
        p->next = (struct next_params){.top_k = s->top_k,
                                       .temperature = s->temperature,
                                       .attention = s->attention,
                                       .prefix = s->prefix,
                                       .apart = s->apart};
}

int flat_submit(struct engine *g, const struct flat_spec *specs, int n,
                struct job **jobs, struct err *e)
{
    struct job_spec *s = mem_zarray((size_t)n, sizeof *s);
    union params *p = mem_zarray((size_t)n, sizeof *p);
    int rc = s && p ? 0 : err_nomem(e);

    for (int i = 0; i < n && rc == 0; i++) {
        fill_params(&specs[i], &p[i]);
        s[i] = (struct job_spec){.model = specs[i].model,
                                 .task = specs[i].task,
                                 .params = &p[i],
                                 .deadline_us = specs[i].deadline_us,
                                 .client = specs[i].client,
                                 .on_event = specs[i].on_event,
                                 .user = specs[i].user};
        s[i].in[0] =
            (struct span){.p = specs[i].tokens, .n = specs[i].n_tokens};
    }
    rc = rc ? rc : engine_submit(g, s, n, jobs, e);
    mem_free(s);
    mem_free(p);
    return rc;
}

struct flat_result flat_result(const struct job *j)
{
    const struct job_result *r = job_result(j);
    struct flat_result f = {.attention = r->attention,
                            .cached_tokens = r->cached_tokens,
                            .prompt_tokens = r->prompt_tokens,
                            .completion_tokens = r->completion_tokens,
                            .queue_us = r->queue_us,
                            .run_us = r->run_us};
    const struct next_result *next = next_result(j);
    const struct classify_result *c = classify_result(j);
    const struct generate_result *g = generate_result(j);

    next = next ? next : words_result(j);
    next = next ? next : fill_result(j);
    if (next) {
        f.predictions = next->prediction;
        f.n_predictions = next->n;
        f.covered_mass = next->covered_mass;
        f.typed = next->typed;
    }
    if (c) {
        f.scores = c->scores;
        f.n_scores = c->n;
        f.best = c->best;
        f.label = c->label;
        f.windows = c->windows;
        f.logits = c->logits;
    }
    if (g) {
        f.text = g->text;
        f.text_len = g->text_len;
        f.tokens = g->tokens;
        f.n_tokens = g->n_tokens;
        f.finish = g->finish;
        f.constrained = g->constrained;
    }
    return f;
}
