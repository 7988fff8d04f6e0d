/* scales: see scales.h.
 *
 * SPDX-License-Identifier: MIT */
#include "engine/checkpoint/scales.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/mem.h"

#define MAX_NAME 320 /* 256 bytes of a name in the file, and the end */

/* What joining hands around. */
struct join {
    const char *label;
    const struct tensor **by_name; /* [n] */
    int n;
    struct err *e;
};

static int needs_scales(const struct tensor *t)
{
    return t->dtype == DT_I8 && t->scale == 0.0f && !t->scales;
}

static int by_name(const void *a, const void *b)
{
    const struct tensor *const *x = a, *const *y = b;

    return strcmp((*x)->name, (*y)->name);
}

static int compare_name(const void *name, const void *at)
{
    const struct tensor *const *t = at;

    return strcmp(name, (*t)->name);
}

static const struct tensor *find(const struct join *j, const char *name)
{
    const struct tensor *const *t =
        bsearch(name, (const void *)j->by_name, (size_t)j->n,
                sizeof *j->by_name, compare_name);

    return t ? *t : NULL;
}

/* Each of n scales, with its place in the message. */
static int check_numbers(const struct join *j, const struct tensor *s, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        float v;

        memcpy(&v, (const uint8_t *)s->data + i * sizeof v, sizeof v);
        if (isfinite(v * 127.0f) && v >= 0.0f)
            continue;
        return err_set(j->e, ERR_FORMAT,
                       "%s: tensor '%s' holds %g at %zu, expected scales that "
                       "are finite, 127 times, and not below 0",
                       j->label, s->name, (double)v, i);
    }
    return 0;
}

static int take(const struct join *j, struct tensor *t, const struct tensor *s)
{
    int by_row = s->n_dims == 1 && s->dim[0] == t->dim[0];
    int by_column = s->n_dims == 2 && s->dim[0] == 1 && s->dim[1] == t->dim[1];

    if (s->dtype != DT_F32)
        return err_set(j->e, ERR_FORMAT,
                       "%s: tensor '%s' is %s, expected F32: scales of I8",
                       j->label, s->name, dtype_name(s->dtype));
    if (!by_row && !by_column)
        return err_set(j->e, ERR_FORMAT,
                       "%s: tensor '%s' is not [%lld] or [1,%lld], a scale for "
                       "each row or column of '%s'",
                       j->label, s->name, (long long)t->dim[0],
                       (long long)t->dim[1], t->name);
    if (check_numbers(j, s, (size_t)t->dim[by_column]))
        return -1;
    t->scales = s->data;
    t->by_column = by_column;
    return 0;
}

/* One matrix gets its scales: their tensor, or NULL. */
static const struct tensor *join_one(const struct join *j, struct tensor *t)
{
    const struct tensor *s;
    char name[MAX_NAME];

    if (t->n_dims != 2) {
        err_set(j->e, ERR_FORMAT,
                "%s: tensor '%s' is I8 with %d dimensions, expected a matrix",
                j->label, t->name, t->n_dims);
        return NULL;
    }
    snprintf(name, sizeof name, "%s" SCALES_END, t->name);
    s = find(j, name);
    if (!s)
        err_set(j->e, ERR_FORMAT,
                "%s: tensor '%s' is I8, but there is no '%s' with its scales",
                j->label, t->name, name);
    return s && take(j, t, s) == 0 ? s : NULL;
}

static int join_all(const struct join *j, struct tensor *t,
                    unsigned char *is_scale)
{
    for (int i = 0; i < j->n; i++) {
        const struct tensor *s = NULL;

        if (!needs_scales(&t[i]))
            continue;
        s = join_one(j, &t[i]);
        if (!s)
            return -1;
        is_scale[s - t] = 1;
    }
    return 0;
}

int scales_join(struct tensor *t, int *n, const char *label, struct err *e)
{
    struct join j = {.label = label, .n = *n, .e = e};
    unsigned char *is_scale = mem_zalloc((size_t)*n + 1);
    int rc = 0, left = 0;

    j.by_name = mem_array((size_t)*n + 1, sizeof *j.by_name);
    if (!is_scale || !j.by_name) {
        rc = err_nomem(e);
    } else {
        for (int i = 0; i < *n; i++)
            j.by_name[i] = &t[i];
        qsort((void *)j.by_name, (size_t)*n, sizeof *j.by_name, by_name);
        rc = join_all(&j, t, is_scale);
    }
    for (int i = 0; i < *n && rc == 0; i++)
        if (!is_scale[i])
            t[left++] = t[i];
    if (rc == 0)
        *n = left;
    mem_free(is_scale);
    mem_free((void *)j.by_name);
    return rc;
}
