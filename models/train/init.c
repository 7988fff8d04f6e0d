/* init: start from another checkpoint. Tensors are matched by name and shape;
 * rows of the embedding and of a language model's output are matched by the
 * vocabulary entry they stand for. What has no match keeps its fresh values: a
 * classifier made from a language model gets the embedding and the recurrent
 * layers and a new output.
 *
 * SPDX-License-Identifier: MIT */
#include <stdio.h>

#include "engine/base/mem.h"
#include "engine/checkpoint/weights.h"
#include "models/train/train.h"

struct source {
    struct weights *w;
    struct tokenizer *tok;
    float *row;
    size_t row_cap;
    int tensors, rows;
};

static int has_row_match(const struct trainer *t, int i)
{
    return i == t->net.embedding ||
           (t->net.c.C == 0 && (i == t->net.out_w || i == t->net.out_b));
}

static int copy_rows(struct trainer *t, int i, const struct weight *from,
                     struct source *s, struct err *e)
{
    const struct net_tensor *x = &t->net.t[i];
    size_t c = x->n_dims == 2 ? (size_t)x->dim[1] : 1;
    if (from->n_dims != x->n_dims ||
        (x->n_dims == 2 && from->dim[1] != x->dim[1]))
        return 0;
    if (c > s->row_cap) {
        float *row = mem_grow(s->row, c, sizeof *row);
        if (row == NULL)
            return err_nomem(e);
        s->row = row;
        s->row_cap = c;
    }
    for (int32_t id = 0; id < x->dim[0]; id++) {
        int32_t old = tokenizer_id(s->tok, tokenizer_text(t->tokenizer, id));
        if (old < 0 || old >= from->dim[0])
            continue;
        weight_read(from, (size_t)old * c, c, s->row);
        for (size_t k = 0; k < c; k++)
            t->w[x->at + (size_t)id * c + k] = (real)s->row[k];
        s->rows += i == t->net.embedding;
    }
    s->tensors++;
    return 1;
}

static int copy_whole(struct trainer *t, int i, const struct weight *from,
                      struct source *s, struct err *e)
{
    const struct net_tensor *x = &t->net.t[i];
    if (from->n_dims != x->n_dims || from->dim[0] != x->dim[0] ||
        (x->n_dims == 2 && from->dim[1] != x->dim[1]))
        return 0;
    if (x->n > s->row_cap) {
        float *row = mem_grow(s->row, x->n, sizeof *row);
        if (row == NULL)
            return err_nomem(e);
        s->row = row;
        s->row_cap = x->n;
    }
    weight_read(from, 0, x->n, s->row);
    for (size_t k = 0; k < x->n; k++)
        t->w[x->at + k] = (real)s->row[k];
    s->tensors++;
    return 1;
}

static int copy_tensors(struct trainer *t, struct source *s, struct err *e)
{
    /* a classifier made from a language model has another output */
    const struct weight *out = weights_find(s->w, "output.weight");
    for (int i = 0; i < t->net.n_tensors; i++) {
        struct net_tensor *x = &t->net.t[i];
        const struct weight *from = weights_find(s->w, x->name);
        int rc = 0;
        if (from == NULL)
            continue;
        if (t->net.c.C > 0 && i >= t->net.out_w &&
            (out == NULL || out->dim[0] != t->net.c.C))
            continue;
        if (has_row_match(t, i))
            rc = copy_rows(t, i, from, s, e);
        else
            rc = copy_whole(t, i, from, s, e);
        if (rc < 0)
            return -1;
        x->from_start = rc;
    }
    return 0;
}

int init_from(struct trainer *t, const char *dir, struct err *e)
{
    struct source s = {0};
    int rc = weights_open(dir, dir, &s.w, e);
    if (rc == 0)
        rc = tokenizer_open(dir, dir, &s.tok, e);
    if (rc == 0)
        rc = copy_tensors(t, &s, e);
    if (rc == 0 && s.tensors == 0)
        rc = err_set(e, ERR_INVALID, "%s: no tensor fits this net", dir);
    if (rc == 0)
        fprintf(stderr, "init: %d of %d tensors, %d of %d entries\n", s.tensors,
                t->net.n_tensors, s.rows, t->net.c.V);
    mem_free(s.row);
    if (s.tok != NULL)
        tokenizer_close(s.tok);
    if (s.w != NULL)
        weights_close(s.w);
    return rc;
}
