/* init: start from another checkpoint. Tensors are matched by name and shape;
 * rows of the embedding and of a language model's output are matched by the
 * vocabulary entry they stand for. What has no match keeps its fresh values: a
 * classifier made from a language model gets the embedding and the recurrent
 * layers and a new output. The second direction of a classifier can start from
 * the layers of a language model that read its text backwards.
 *
 * SPDX-License-Identifier: MIT */
#include <stdio.h>
#include <string.h>

#include "engine/checkpoint/checkpoint.h"
#include "models/train/load.h"
#include "models/train/train.h"

struct source {
    const struct weights *w;
    struct tokenizer *tok;
    int tensors, rows;
    enum { PARTS_ALL, PARTS_VOCABULARY, PARTS_REVERSE } parts;
};

#define SUFFIX "_reverse" /* PyTorch's name of the second direction */

/* The tensor of the source that tensor i starts from, or NULL. */
static const struct tensor *partner(const struct source *s, const char *name)
{
    char plain[128];
    size_t n = strlen(name), k = sizeof SUFFIX - 1;
    if (s->parts != PARTS_REVERSE)
        return weights_find(s->w, name);
    if (n <= k || n - k >= sizeof plain || strcmp(name + n - k, SUFFIX) != 0)
        return NULL;
    snprintf(plain, sizeof plain, "%.*s", (int)(n - k), name);
    return weights_find(s->w, plain);
}

/* The embedding may come from another family. */
static const struct tensor *embedding_of(const struct source *s)
{
    const struct tensor *w = NULL;
    for (int i = 0; trainables[i] != NULL && w == NULL; i++)
        if (trainables[i]->embedding != NULL)
            w = weights_find(s->w, trainables[i]->embedding);
    return s->parts != PARTS_REVERSE ? w : NULL;
}

static void copy_rows(struct trainer *t, int i, const struct tensor *from,
                      struct source *s)
{
    const struct net_tensor *x = &t->net.t[i];
    size_t c = x->n_dims == 2 ? (size_t)x->dim[1] : 1;
    int is_row = x->n_dims == 2 && x->dim[0] == 1; /* [1, entries] */
    int n = is_row ? x->dim[1] : x->dim[0];
    c = is_row ? 1 : c;
    for (int32_t id = 0; id < n; id++) {
        int32_t old = tokenizer_id(s->tok, tokenizer_text(t->tokenizer, id));
        if (old < 0 || old >= (is_row ? (int)from->dim[1] : (int)from->dim[0]))
            continue;
        load_reals(from, (size_t)old * c, c, t->w + x->at + (size_t)id * c);
        s->rows += i == t->net.embedding;
    }
}

static int fits(const struct source *s, const struct net_tensor *x,
                const struct tensor *from, const struct tensor *out)
{
    if (from == NULL || from->n_dims != x->n_dims ||
        (x->n_dims == 2 && from->dim[1] != x->dim[1]))
        return 0;
    if (x->rows == ROWS_ENTRIES)
        return 1;
    if (s->parts == PARTS_VOCABULARY || from->dim[0] != x->dim[0])
        return 0;
    /* a classifier made from a language model has another output */
    return x->rows != ROWS_LABELS || (out != NULL && out->dim[0] == x->dim[0]);
}

static void copy_tensors(struct trainer *t, struct source *s)
{
    const struct tensor *out = weights_find(s->w, t->net.t[t->net.out_w].name);
    for (int i = 0; i < t->net.n_tensors; i++) {
        struct net_tensor *x = &t->net.t[i];
        const struct tensor *from =
            i == t->net.embedding ? embedding_of(s) : partner(s, x->name);
        if (!fits(s, x, from, out))
            continue;
        if (x->rows == ROWS_ENTRIES)
            copy_rows(t, i, from, s);
        else
            load_reals(from, 0, x->n, t->w + x->at);
        x->from_start = 1;
        s->tensors++;
    }
}

static int start_from(struct trainer *t, const char *dir, int parts,
                      struct err *e)
{
    struct source s = {.parts = parts};
    struct checkpoint *from;
    if (checkpoint_open(dir, dir, &from, e) != 0)
        return -1;
    s.w = checkpoint_weights(from, e);
    int rc = s.w != NULL ? tokenizer_open(from, &s.tok, e) : -1;
    if (rc == 0)
        copy_tensors(t, &s);
    if (rc == 0 && s.tensors == 0)
        rc = err_set(e, ERR_INVALID, "%s: no tensor fits this net", dir);
    if (rc == 0)
        trainer_say(t, "init from %s: %d of %d tensors, %d of %d entries\n",
                    dir, s.tensors, t->net.n_tensors, s.rows, t->net.V);
    if (s.tok != NULL)
        tokenizer_close(s.tok);
    checkpoint_close(from);
    return rc;
}

int init_from(struct trainer *t, struct err *e)
{
    int parts = t->o.init_parts ? PARTS_VOCABULARY : PARTS_ALL;
    if (t->o.init != NULL && start_from(t, t->o.init, parts, e) != 0)
        return -1;
    if (t->o.init_reverse != NULL)
        return start_from(t, t->o.init_reverse, PARTS_REVERSE, e);
    return 0;
}
