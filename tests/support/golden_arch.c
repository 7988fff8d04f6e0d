/* golden_arch: see golden_arch.h.
 *
 * SPDX-License-Identifier: MIT */
#include "tests/support/golden_arch.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "engine/base/mem.h"
#include "tests/support/golden.h"

#define PATH_BYTES 256

static const struct tensor *find(const struct golden_arch *t, const char *name,
                                 int i)
{
    char text[32];
    const struct tensor *x;

    snprintf(text, sizeof text, i < 0 ? "%s" : "%s.%d", name, i);
    x = weights_find(t->w, text);
    if (!x)
        fail_msg("%s: no tensor %s", t->what, text);
    return x;
}

int golden_arch_ids(const struct golden_arch *t, const char *name, int i,
                    int32_t ids[GOLDEN_LEN])
{
    const struct tensor *x = find(t, name, i);

    assert_int_equal(x->dtype, DT_I32);
    assert_in_range(x->dim[0], 1, GOLDEN_LEN);
    memcpy(ids, x->data, (size_t)x->dim[0] * sizeof *ids);
    return (int)x->dim[0];
}

static float *read_rows(const struct golden_arch *t, const char *name, int i,
                        int *rows, int *cols)
{
    const struct tensor *x = find(t, name, i);
    size_t n = (size_t)(x->dim[0] * x->dim[1]);
    float *v = mem_floats(n);

    assert_int_equal(x->n_dims, 2);
    assert_non_null(v);
    *rows = (int)x->dim[0];
    *cols = (int)x->dim[1];
    tensor_read(x, 0, n, v);
    return v;
}

void golden_arch_open(struct golden_arch *t, const struct model_arch *arch,
                      const char *name, const char *file, const char *ids)
{
    golden_arch_open_in(t, arch, name, file, ids, "expected");
}

void golden_arch_open_in(struct golden_arch *t, const struct model_arch *arch,
                         const char *name, const char *file, const char *ids,
                         const char *folder)
{
    struct err e = ERR_INIT;
    char path[PATH_BYTES];
    int rows;

    memset(t, 0, sizeof *t);
    t->arch = arch;
    t->name = name;
    t->file = file;
    snprintf(t->what, sizeof t->what, "%s/%s", name, file);
    snprintf(path, sizeof path, "tests/golden/%s/%s/%s", arch->name, name,
             folder);
    if (weights_open(path, "expected", &t->w, &e))
        fail_msg("%s: %s", path, e.msg);
    for (int i = 0; i < GOLDEN_TEXTS; i++) {
        struct golden_text *x = &t->text[i];

        x->n = golden_arch_ids(t, ids, i, x->ids);
        x->logits = read_rows(t, "logits", i, &rows, &x->V);
        assert_int_equal(rows, x->n);
        x->hidden = read_rows(t, "hidden", i, &rows, &x->width);
        assert_int_equal(rows, x->n);
    }
    t->attention = read_rows(t, "attention", -1, &rows, &t->shown_cols);
    t->n_attention = rows * t->shown_cols;
}

void golden_arch_close(struct golden_arch *t)
{
    for (int i = 0; i < GOLDEN_TEXTS; i++) {
        mem_aligned_free(t->text[i].logits);
        mem_aligned_free(t->text[i].hidden);
        golden_answer_free(&t->first[i]);
    }
    mem_aligned_free(t->attention);
    weights_close(t->w);
}

void golden_arch_load(struct golden_arch *t, const char *kernels, int threads,
                      int exact)
{
    struct err e = ERR_INIT;
    struct load_opts o = {.options = &(struct engine_options){.exact = exact}};
    char path[PATH_BYTES];

    snprintf(path, sizeof path, "tests/golden/%s/%s/%s", t->arch->name, t->name,
             t->file);
    if (rig_open_with(&t->g, t->arch, path, kernels, threads, &o, &e))
        fail_msg("%s: %s", t->what, e.msg);
    assert_int_equal(t->g.info.cols[OUT_LOGITS], t->text[0].V);
    assert_int_equal(t->g.info.cols[OUT_HIDDEN], t->text[0].width);
}

void golden_arch_step(struct golden_arch *t, struct rig_item *item, int n)
{
    struct err e = ERR_INIT;

    if (rig_step(&t->g, item, n, &e))
        fail_msg("%s: %s", t->what, e.msg);
    for (int i = 0; i < n; i++)
        assert_int_equal(item[i].status, 0);
}

/* --- answers --- */

void golden_answer_new(const struct golden_text *x, struct golden_answer *a)
{
    a->logits = mem_floats((size_t)x->n * (size_t)x->V);
    a->hidden = mem_floats((size_t)x->n * (size_t)x->width);
    assert_non_null(a->logits);
    assert_non_null(a->hidden);
}

void golden_answer_free(struct golden_answer *a)
{
    mem_aligned_free(a->logits);
    mem_aligned_free(a->hidden);
    *a = (struct golden_answer){NULL, NULL};
}

struct rig_item golden_answer_item(const struct golden_text *x,
                                   struct rig_seq *seq, int at, int n,
                                   const struct golden_answer *a)
{
    size_t row = (size_t)at, V = (size_t)x->V, width = (size_t)x->width;

    return (struct rig_item){
        .seq = seq,
        .ids = x->ids + at,
        .n = n,
        .n_want = 2,
        .want = {{OUT_LOGITS, 0, n, a->logits + row * V, V},
                 {OUT_HIDDEN, 0, n, a->hidden + row * width, width}}};
}

void golden_answer_same(const struct golden_arch *t, const char *what, int i,
                        const struct golden_answer *a,
                        const struct golden_answer *b)
{
    const struct golden_text *x = &t->text[i];

    golden_same(a->logits, b->logits, (size_t)(x->n * x->V),
                "%s (%s) %s: logits", t->what, t->g.k->name, what);
    golden_same(a->hidden, b->hidden, (size_t)(x->n * x->width),
                "%s (%s) %s: hidden", t->what, t->g.k->name, what);
}

void golden_answer_close(const struct golden_arch *t, int i,
                         const struct golden_answer *a, double tolerance)
{
    const struct golden_text *x = &t->text[i];

    golden_close(a->logits, x->logits, x->n * x->V, tolerance,
                 "%s (%s): logits", t->what, t->g.k->name);
    golden_close(a->hidden, x->hidden, x->n * x->width, tolerance,
                 "%s (%s): hidden", t->what, t->g.k->name);
}

void golden_arch_across(struct golden_arch *t, int f,
                        struct golden_answer a[GOLDEN_TEXTS])
{
    for (int i = 0; i < GOLDEN_TEXTS; i++) {
        if (f > 1) /* 0 is portable C */
            golden_answer_same(t, "another family", i, &t->first[i], &a[i]);
        if (f == 1)
            t->first[i] = a[i];
        else
            golden_answer_free(&a[i]);
    }
}
