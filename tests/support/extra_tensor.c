/* extra_tensor: see extra_tensor.h.
 *
 * SPDX-License-Identifier: MIT */
#include "tests/support/extra_tensor.h"

#include <stdio.h>
#include <string.h>

#include "engine/base/mem.h"
#include "engine/checkpoint/safetensors.h"
#include "engine/checkpoint/weights.h"

#define MAX_TENSORS 100
#define NAME_BYTES 160

static const float TWO[2] = {1, 2};

struct copy {
    struct save_tensor t[MAX_TENSORS];
    char name[MAX_TENSORS][NAME_BYTES];
    float *data[MAX_TENSORS];
    int n;
};

static int copy_tensor(struct copy *c, const struct tensor *x,
                       const char *prefix)
{
    struct save_tensor *t = &c->t[c->n];
    size_t n = 1;
    if (c->n + 1 >= MAX_TENSORS || x->n_dims > 2)
        return -1;
    for (int i = 0; i < x->n_dims; i++)
        n *= (size_t)x->dim[i];
    snprintf(c->name[c->n], NAME_BYTES, "%s%s", prefix, x->name);
    c->data[c->n] = mem_floats(n);
    if (!c->data[c->n])
        return -1;
    tensor_read(x, 0, n, c->data[c->n]);
    *t = (struct save_tensor){.name = c->name[c->n],
                              .dtype = DT_F32,
                              .n_dims = x->n_dims,
                              .data = c->data[c->n]};
    memcpy(t->dim, x->dim, (size_t)x->n_dims * sizeof *t->dim);
    c->n++;
    return 0;
}

int extra_tensor_save(const char *from, const char *to, const char *prefix,
                      const char *extra)
{
    struct copy *c = mem_zalloc(sizeof *c);
    struct weights *w = NULL;
    struct err e = ERR_INIT;
    char path[256];
    int rc = !c || weights_open(from, "from", &w, &e) ? -1 : 0;
    for (int i = 0; !rc && i < weights_count(w); i++)
        rc = copy_tensor(c, weights_at(w, i), prefix);
    weights_close(w);
    if (!rc && extra)
        c->t[c->n++] = (struct save_tensor){.name = extra,
                                            .dtype = DT_F32,
                                            .n_dims = 1,
                                            .dim = {2},
                                            .data = TWO};
    snprintf(path, sizeof path, "%s/model.safetensors", to);
    if (!rc)
        rc = safetensors_save(path, c->t, c->n, NULL, 0, &e);
    for (int i = 0; c && i < c->n; i++)
        mem_aligned_free(c->data[i]);
    mem_free(c);
    return rc;
}
