/* load: see load.h.
 *
 * SPDX-License-Identifier: MIT */
#include "models/train/load.h"

#include "engine/base/mem.h"
#include "engine/checkpoint/checkpoint.h"
#include "models/train/trainable.h"

#define MAX_FAMILIES 32

static int plan(const struct hparams *h, struct net *n, struct err *e)
{
    const char *types[MAX_FAMILIES + 1] = {NULL};
    struct options o = {.arch = ARCH_RNN};
    int labels = 0;
    for (int i = 0; i < MAX_FAMILIES && trainables[i] != NULL; i++)
        types[i] = trainable_type(trainables[i]);
    if (hparams_choice(h, "model_type", types, types[0], &o.arch, e) != 0 ||
        trainables[o.arch]->read(h, &o, &labels, e) != 0)
        return -1;
    return net_plan(n, &o, labels, e);
}

void load_reals(const struct tensor *from, size_t at, size_t n, real *to)
{
    float block[1024];
    for (size_t i = 0; i < n; i += 1024) {
        size_t m = n - i < 1024 ? n - i : 1024;
        tensor_read(from, at + i, m, block);
        for (size_t k = 0; k < m; k++)
            to[i + k] = (real)block[k];
    }
}

static int read_tensor(const struct weights *from, const struct net_tensor *t,
                       real *w, struct err *e)
{
    const struct tensor *x =
        weights_need(from, t->name, t->n_dims, t->dim[0], t->dim[1], e);
    if (x == NULL)
        return -1;
    load_reals(x, 0, t->n, w + t->at);
    return 0;
}

static int read_net(struct checkpoint *from, struct net *n, real **w,
                    struct err *e)
{
    const struct hparams *h = checkpoint_hparams(from, e);
    const struct weights *tensors = checkpoint_weights(from, e);
    if (h == NULL || tensors == NULL || plan(h, n, e) != 0)
        return -1;
    *w = mem_aligned(n->n * sizeof **w);
    int rc = *w != NULL ? 0 : err_nomem(e);
    for (int i = 0; i < n->n_tensors && rc == 0; i++)
        rc = read_tensor(tensors, &n->t[i], *w, e);
    return rc;
}

int load_net(const char *dir, struct net *n, real **w, struct err *e)
{
    struct checkpoint *from;
    memset(n, 0, sizeof *n);
    *w = NULL;
    if (checkpoint_open(dir, dir, &from, e) != 0)
        return -1;
    int rc = read_net(from, n, w, e);
    checkpoint_close(from);
    if (rc != 0) {
        mem_aligned_free(*w);
        *w = NULL;
        net_fini(n);
    }
    return rc;
}
