/* norms: --gradient-norms: how much of the loss of the last output comes back
 * to each time step, on the first batch of the validation data, without
 * dropout (struct trace of pass.h; the texts of the longest length only). A
 * line of JSON for the weights before the first step and for those of each
 * validation:
 *
 *   step, net
 *   x          [T] of what the first layer reads at each time
 *   h, c       [layers][T] of the states that each step hands on, where there
 *              are such
 *   steps, norm, largest, clipped
 *              steps since the line before; mean and maximum of the norm of
 *              all their gradients before --clip; how many it made smaller
 *
 * A number of x, h, c is the root of the mean over the texts of the squared
 * norm of the gradient of the text's own loss.
 *
 * SPDX-License-Identifier: MIT */
#include <errno.h>
#include <stdio.h>

#include "models/train/train.h"

/* The texts that are as long as the first one. */
static void keep_longest(struct feed *f)
{
    int n = 0;
    while (n < f->n_text && f->text[n].n == f->text[0].n)
        n++;
    f->n_text = n;
}

static void take_arrays(const struct pass *p, struct region *mem,
                        struct trace *t)
{
    size_t T = (size_t)t->T;
    t->x = region_take(mem, T, sizeof(double));
    if (p->net->family->states == NULL)
        return;
    for (int l = 0; l < NET_MAX_LAYERS; l++) {
        int states = p->net->family->states(p->net, l);
        t->h[l] = states > 0 ? region_take(mem, T, sizeof(double)) : NULL;
        t->c[l] = states > 1 ? region_take(mem, T, sizeof(double)) : NULL;
    }
}

/* The first worker's share of the first batch, forward and back. */
static int run_batch(struct trainer *t, real *w, struct region *mem,
                     struct trace *trace, int *texts, struct err *e)
{
    struct course c;
    struct worker *k = &t->worker[0];
    struct pass_opts o = {.train = 1,
                          .fresh = t->objective->fresh,
                          .scale = (real)1,
                          .trace = trace};
    int rc = trainer_course(&c, t, &t->valid, -1, NULL, e);
    if (rc == 0) {
        t->objective->aim(&c, t, 0);
        t->objective->fill(&c, t, 0, &k->feed);
        keep_longest(&k->feed);
        t->net.family->pack(&k->feed);
        if (t->objective->choose != NULL)
            t->objective->choose(t, &k->feed, 0);
        *texts = k->feed.n_text;
        trace->T = *texts > 0 ? k->feed.text[0].n : 0;
        take_arrays(&k->eval, mem, trace);
        rc = region_check(mem, e);
    }
    if (rc == 0) {
        pass_reset_state(&k->eval);
        pass_run(&k->eval, &k->feed.batch, w, &o, t->optim.grad[0]);
        memset(t->optim.grad[0], 0, t->net.n * sizeof(real));
        rows_forget(&k->eval.rows_in);
    }
    course_fini(&c);
    return rc;
}

static void add_numbers(struct buf *b, const double *squares, int T, int texts)
{
    for (int i = 0; i < T; i++)
        buf_addf(b, "%s%.6g", i == 0 ? "[" : ", ",
                 sqrt(squares[i] / (texts > 0 ? texts : 1)));
    buf_add_str(b, "]");
}

static void add_states(struct buf *b, const char *name, double *const *squares,
                       int T, int texts)
{
    for (int l = 0; l < NET_MAX_LAYERS && squares[l] != NULL; l++) {
        buf_addf(b, l == 0 ? ", \"%s\": [" : ", ", name);
        add_numbers(b, squares[l], T, texts);
    }
    buf_add_str(b, squares[0] != NULL ? "]" : "");
}

static int append(const struct trainer *t, const struct buf *b, struct err *e)
{
    const char *path = t->o.gradient_norms;
    FILE *f = fopen(path, t->at.step == 0 ? "w" : "a");
    int bad = f == NULL || fwrite(b->p, 1, b->len, f) != b->len;
    bad |= f != NULL && fclose(f) != 0;
    return bad ? err_set(e, ERR_IO, "%s cannot be written: %s", path,
                         strerror(errno))
               : 0;
}

int norms_write(struct trainer *t, real *w, struct err *e)
{
    struct norm_sum *s = &t->norms;
    struct region mem = {0};
    struct trace trace = {0};
    struct buf b;
    int texts = 0;
    if (t->o.gradient_norms == NULL)
        return 0;
    buf_init(&b, (size_t)64 << 20);
    int rc = run_batch(t, w, &mem, &trace, &texts, e);
    if (rc == 0) {
        buf_addf(&b, "{\"step\": %lld, \"net\": \"%s\", \"x\": ",
                 (long long)t->at.step, t->net.name);
        add_numbers(&b, trace.x, trace.T, texts);
        add_states(&b, "h", trace.h, trace.T, texts);
        add_states(&b, "c", trace.c, trace.T, texts);
        buf_addf(&b,
                 ", \"steps\": %lld, \"norm\": %.6g, \"largest\": %.6g, "
                 "\"clipped\": %lld}\n",
                 (long long)s->steps,
                 s->steps > 0 ? s->sum / (double)s->steps : 0, s->largest,
                 (long long)s->clipped);
        *s = (struct norm_sum){0};
        rc = b.failed ? err_nomem(e) : append(t, &b, e);
    }
    buf_fini(&b);
    region_fini(&mem);
    return rc;
}
