/* eval_labels: see eval_labels.h.
 *
 * SPDX-License-Identifier: MIT */
#include "engine/run/eval_labels.h"

#include <string.h>

#include "engine/base/mem.h"
#include "engine/run/eval_jobs.h"
#include "engine/run/label_figures.h"

/* Texts first .. first + n - 1. */
static int answer_group(struct engine *g, struct model *m,
                        const struct eval_texts *t,
                        const struct classify_params *p, int first, int n,
                        struct job **job, struct err *e)
{
    struct job_spec spec[EVAL_GROUP];

    for (int i = 0; i < n; i++) {
        int64_t from = t->start[first + i], to = t->start[first + i + 1];
        spec[i] =
            (struct job_spec){.model = m, .task = &task_classify, .params = p};
        spec[i].in[0] =
            (struct span){.n = (int)(to - from), .p = t->ids + from};
    }
    return eval_jobs(g, spec, n, job, e);
}

int eval_answers(struct engine *g, struct model *m, const struct eval_texts *t,
                 const struct eval_choice *c, const struct eval_options *o,
                 eval_answer_fn *fn, void *arg, struct err *e)
{
    const struct classify_params p = {.labels = c->id,
                                      .n_labels = c->n,
                                      .before = t->before,
                                      .after = t->after};
    struct job *job[EVAL_GROUP];
    int rc = 0;

    for (int at = 0; at < t->n_items && rc == 0; at += EVAL_GROUP) {
        int n = t->n_items - at < EVAL_GROUP ? t->n_items - at : EVAL_GROUP;
        rc = answer_group(g, m, t, &p, at, n, job, e);
        for (int i = 0; i < n && job[i]; i++) {
            rc = rc ? rc : eval_failed(job[i], e);
            rc = rc ? rc : fn(arg, at + i, classify_result(job[i]), e);
            job_release(job[i]);
        }
        if (rc == 0 && o->progress)
            o->progress(o->ctx, at + n, t->n_items);
    }
    return rc;
}

int eval_has_labels(const struct model *m, struct err *e)
{
    const struct model_info *info = model_get_info(m);

    if (info->scores != SCORE_RAW && info->cols[OUT_CLASS] > 1)
        return 0;
    return err_set(e, ERR_UNSUPPORTED,
                   "the model gives %s, there is no accuracy of that",
                   info->scores == SCORE_RAW ? "numbers" : "a single label");
}

/* --- figures --- */

struct counting {
    const struct eval_texts *texts;
    struct label_figures *figures;
};

/* Figures are of the chosen labels, in the model's order. */
static int count_answer(void *arg, int i, const struct classify_result *r,
                        struct err *e)
{
    struct counting *c = arg;
    int at = 0;

    while (at < r->n && r->label[at] != c->texts->label[i])
        at++;
    if (at == r->n)
        return err_set(e, ERR_INTERNAL, "a label that was not asked for");
    label_figures_add(c->figures, at, r->best, (double)r->scores[at],
                      (double)r->scores[r->best]);
    return 0;
}

static int score_file(struct engine *g, struct model *m, const char *path,
                      const struct eval_choice *c, const struct eval_options *o,
                      struct label_figures *f, struct err *e)
{
    struct eval_texts t;
    struct counting arg = {&t, f};
    int rc = eval_texts_read(&t, m, &path, 1, c, o, e);

    rc = rc ? rc : eval_answers(g, m, &t, c, o, count_answer, &arg, e);
    eval_texts_fini(&t);
    return rc;
}

/* The names of the chosen labels in the model's order. */
static void sort_names(const struct model *m, const struct eval_choice *c,
                       const char *names[MODEL_MAX_LABELS])
{
    const struct model_info *info = model_get_info(m);
    int n = 0;

    for (int l = 0; l < info->cols[OUT_CLASS]; l++)
        for (int i = 0; i < c->n; i++)
            if (c->id[i] == l)
                names[n++] = info->labels[l];
}

static void add_file(const char *path, const struct label_figures *f,
                     const char *const *names, int brief, struct buf *out)
{
    buf_add_str(out, out->len ? ", {\"file\": " : "{\"file\": ");
    buf_add_json_string(out, path, strlen(path));
    buf_add_str(out, ", ");
    label_figures_write(f, names, brief, out);
    buf_add_char(out, '}');
}

static int score_files(struct engine *g, struct model *m,
                       const char *const *paths, int n,
                       const struct eval_choice *c,
                       const struct eval_options *o, struct buf *out,
                       struct err *e)
{
    const char *names[MODEL_MAX_LABELS];
    struct label_figures all = {0}, one = {0};
    struct buf files;
    int rc = label_figures_init(&all, c->n, e);

    buf_init(&files, out->max);
    sort_names(m, c, names);
    for (int i = 0; i < n && rc == 0; i++) {
        rc = label_figures_init(&one, c->n, e);
        rc = rc ? rc : score_file(g, m, paths[i], c, o, &one, e);
        if (rc == 0) {
            label_figures_join(&all, &one);
            add_file(paths[i], &one, names, o->brief, &files);
        }
        label_figures_fini(&one);
    }
    if (rc == 0) {
        buf_add_char(out, '{');
        label_figures_write(&all, names, o->brief, out);
        if (n > 1 && !o->brief)
            buf_addf(out, ", \"files\": [%s]", files.failed ? "" : files.p);
        rc = buf_add_str(out, "}\n") || files.failed ? err_nomem(e) : 0;
    }
    buf_fini(&files);
    label_figures_fini(&all);
    return rc;
}

int eval_labels(struct engine *g, struct model *m, const char *const *paths,
                int n, const struct eval_options *o, struct buf *out,
                struct err *e)
{
    struct eval_choice *c = mem_zalloc(sizeof *c);
    int rc = c ? 0 : err_nomem(e);

    rc = rc ? rc : eval_has_labels(m, e);
    rc = rc ? rc : eval_choose(m, o->labels, c, e);
    rc = rc ? rc : score_files(g, m, paths, n, c, o, out, e);
    mem_free(c);
    return rc;
}
