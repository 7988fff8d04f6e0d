/* net: see net.h.
 *
 * SPDX-License-Identifier: MIT */
#include "models/train/net.h"

#include <stdio.h>

#include "engine/base/mem.h"
#include "engine/base/rng.h"
#include "models/train/trainable.h"

int net_add(struct net *n, const char *name, int d0, int d1, int packed)
{
    struct net_tensor *t = &n->t[n->n_tensors];
    n->full |= n->n_tensors == NET_MAX_TENSORS;
    if (n->full)
        return NET_MAX_TENSORS - 1;
    memset(t, 0, sizeof *t);
    snprintf(t->name, sizeof t->name, "%s", name);
    t->n_dims = d1 > 0 ? 2 : 1;
    t->dim[0] = d0;
    t->dim[1] = d1;
    t->parts[0] = t->parts[1] = 1;
    t->at = n->n;
    t->n = (size_t)d0 * (size_t)(d1 > 0 ? d1 : 1);
    t->layer = n->layer;
    t->rate = t->lr_mult = (real)1;
    n->n += packed ? t->n : (t->n + 15) / 16 * 16;
    return n->n_tensors++;
}

int net_find(const struct net *n, const char *name)
{
    for (int i = 0; i < n->n_tensors; i++)
        if (strcmp(n->t[i].name, name) == 0)
            return i;
    return -1;
}

int net_plan(struct net *n, const struct options *o, int labels, struct err *e)
{
    memset(n, 0, sizeof *n);
    n->family = trainables[o->arch];
    n->shape = mem_zalloc(n->family->shape_bytes);
    n->name = n->family->name;
    n->V = o->vocab_size;
    n->C = labels;
    n->I = o->inputs;
    n->values = o->task == TASK_REGRESSION;
    n->K = labels > 0 ? labels : n->V;
    n->embedding = n->out_w = n->out_b = -1;
    if (n->shape == NULL)
        return err_nomem(e);
    if (o->layers < 1 || o->layers > NET_MAX_LAYERS)
        return err_set(e, ERR_INVALID, "layers must be 1 to %d",
                       NET_MAX_LAYERS);
    if (n->family->plan(n, o, e) != 0)
        return -1;
    if (n->full)
        return err_set(e, ERR_INTERNAL, "more than %d tensors",
                       NET_MAX_TENSORS);
    n->t[n->out_w].rows = labels > 0 ? ROWS_LABELS : ROWS_ENTRIES;
    if (n->out_b >= 0)
        n->t[n->out_b].rows = n->t[n->out_w].rows;
    if (n->embedding >= 0)
        n->t[n->embedding].rows = ROWS_ENTRIES;
    return 0;
}

void net_fini(struct net *n)
{
    mem_free(n->shape);
    n->shape = NULL;
}

void net_initialise(const struct net *n, uint64_t seed, real *p)
{
    struct rng r;
    rng_init(&r, seed);
    memset(p, 0, n->n * sizeof(real));
    n->family->initialise(n, &r, p);
}
