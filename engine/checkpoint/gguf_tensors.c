/* gguf_tensors: see gguf_tensors.h.
 *
 * SPDX-License-Identifier: MIT */
#include "engine/checkpoint/gguf_tensors.h"

#include <stdlib.h>
#include <string.h>

#include "engine/base/mem.h"

#define MAX_NAME 256
#define MAX_DIMS 4 /* of ggml */

/* ggml's numbers of types; `dtype` -1: we do not read it. */
static const struct {
    const char *name;
    int dtype;
} types[] = {
    [0] = {"F32", DT_F32},
    [1] = {"F16", DT_F16},
    [2] = {"Q4_0", DT_Q4_0},
    [3] = {"Q4_1", DT_Q4_1},
    [4] = {"Q4_2", -1},
    [5] = {"Q4_3", -1},
    [6] = {"Q5_0", DT_Q5_0},
    [7] = {"Q5_1", DT_Q5_1},
    [8] = {"Q8_0", DT_Q8_0},
    [9] = {"Q8_1", -1},
    [10] = {"Q2_K", DT_Q2_K},
    [11] = {"Q3_K", DT_Q3_K},
    [12] = {"Q4_K", DT_Q4_K},
    [13] = {"Q5_K", DT_Q5_K},
    [14] = {"Q6_K", DT_Q6_K},
    [15] = {"Q8_K", -1},
    [16] = {"IQ2_XXS", -1},
    [17] = {"IQ2_XS", -1},
    [18] = {"IQ3_XXS", -1},
    [19] = {"IQ1_S", -1},
    [20] = {"IQ4_NL", DT_IQ4_NL},
    [21] = {"IQ3_S", -1},
    [22] = {"IQ2_S", -1},
    [23] = {"IQ4_XS", -1},
    [24] = {"I8", -1},
    [25] = {"I16", -1},
    [26] = {"I32", DT_I32},
    [27] = {"I64", DT_I64},
    [28] = {"F64", DT_F64},
    [29] = {"IQ1_M", -1},
    [30] = {"BF16", DT_BF16},
    [31] = {"Q4_0_4_4", -1},
    [32] = {"Q4_0_4_8", -1},
    [33] = {"Q4_0_8_8", -1},
    [34] = {"TQ1_0", -1},
    [35] = {"TQ2_0", -1},
    [36] = {"IQ4_NL_4_4", -1},
    [37] = {"IQ4_NL_4_8", -1},
    [38] = {"IQ4_NL_8_8", -1},
    [39] = {"MXFP4", -1},
    [40] = {"NVFP4", -1},
};
#define N_TYPES (sizeof(types) / sizeof(types[0]))

/* Where a tensor's data is, for the walk over the data section. */
struct place {
    uint64_t offset;
    struct tensor *t;
};

static int bad_tensor(const struct gguf_cursor *c, const char *name,
                      const char *what)
{
    return err_set(c->e, ERR_FORMAT, "%s: tensor '%.80s' %s", c->label, name,
                   what);
}

static int take_dims(struct gguf_cursor *c, struct tensor *t)
{
    uint64_t n, d;
    if (gguf_take_int(c, 4, "a tensor's dimensions", &n))
        return -1;
    if (n > MAX_DIMS) {
        return err_set(c->e, ERR_FORMAT,
                       "%s: tensor '%.80s' has %llu dimensions, at most %d",
                       c->label, t->name, (unsigned long long)n, MAX_DIMS);
    }
    t->n_dims = (int)n;
    for (int i = t->n_dims - 1; i >= 0; i--) { /* the file has rows last */
        if (gguf_take_int(c, 8, "a tensor's dimensions", &d))
            return -1;
        if (d == 0 || d > INT64_MAX)
            return bad_tensor(c, t->name, "has a dimension outside 1..2^63-1");
        t->dim[i] = (int64_t)d;
    }
    return 0;
}

static int take_dtype(struct gguf_cursor *c, struct tensor *t)
{
    uint64_t v;
    if (gguf_take_int(c, 4, "a tensor's type", &v))
        return -1;
    if (v >= N_TYPES) {
        return err_set(c->e, ERR_FORMAT,
                       "%s: tensor '%.80s' has the unknown type %llu, expected "
                       "0..%zu",
                       c->label, t->name, (unsigned long long)v, N_TYPES - 1);
    }
    if (types[v].dtype < 0) {
        return err_set(c->e, ERR_UNSUPPORTED,
                       "%s: tensor '%.80s' has the unsupported type %s, "
                       "expected F32, F16, BF16, Q8_0, Q4_0, Q4_1, Q5_0, Q5_1, "
                       "Q2_K to Q6_K or IQ4_NL",
                       c->label, t->name, types[v].name);
    }
    t->dtype = (enum dtype)types[v].dtype;
    return 0;
}

/* bytes from dims and type; rows are whole blocks */
static int set_bytes(const struct gguf_cursor *c, struct tensor *t)
{
    const uint64_t block = (uint64_t)dtype_block(t->dtype);
    const uint64_t row = t->n_dims ? (uint64_t)t->dim[t->n_dims - 1] : 1;
    uint64_t bytes = dtype_block_bytes(t->dtype);
    if (row % block) {
        return err_set(c->e, ERR_FORMAT,
                       "%s: tensor '%.80s' has rows of %llu, expected a "
                       "multiple of %llu (%s)",
                       c->label, t->name, (unsigned long long)row,
                       (unsigned long long)block, dtype_name(t->dtype));
    }
    int over = __builtin_mul_overflow(bytes, row / block, &bytes);
    for (int i = 0; i < t->n_dims - 1 && !over; i++)
        over = __builtin_mul_overflow(bytes, (uint64_t)t->dim[i], &bytes);
    if (over || bytes > c->bytes)
        return bad_tensor(c, t->name, "is larger than the file");
    t->bytes = (size_t)bytes;
    return 0;
}

static int take_tensor(struct gguf_cursor *c, struct tensor *t, size_t align,
                       uint64_t *offset)
{
    char *name = NULL;
    int rc = gguf_take_name(c, "a tensor", MAX_NAME, &name);
    t->name = name;
    if (rc || take_dims(c, t) || take_dtype(c, t) || set_bytes(c, t) ||
        gguf_take_int(c, 8, "a tensor's offset", offset))
        return -1;
    if (*offset % align) {
        return err_set(c->e, ERR_FORMAT,
                       "%s: tensor '%.80s' is at offset %llu, expected a "
                       "multiple of %zu",
                       c->label, t->name, (unsigned long long)*offset, align);
    }
    return 0;
}

static int by_offset(const void *a, const void *b)
{
    const struct place *x = a, *y = b;
    if (x->offset != y->offset)
        return x->offset < y->offset ? -1 : 1;
    return strcmp(x->t->name, y->t->name);
}

static int by_name(const void *a, const void *b)
{
    const struct place *x = a, *y = b;
    return strcmp(x->t->name, y->t->name);
}

static int check_names(const struct gguf_cursor *c, struct place *p, int n)
{
    qsort(p, (size_t)n, sizeof *p, by_name);
    for (int i = 1; i < n; i++)
        if (strcmp(p[i].t->name, p[i - 1].t->name) == 0)
            return bad_tensor(c, p[i].t->name, "appears twice");
    return 0;
}

static uint64_t pad(uint64_t n, uint64_t align)
{
    return (n + align - 1) / align * align; /* n is at most a file's size */
}

/* The tensors lie side by side from the section's begin to the file's end,
 * with nothing but padding between and behind them. */
static int place_data(const struct gguf_cursor *c, struct place *p, int n,
                      size_t align)
{
    const uint64_t begin = pad(c->at, align);
    uint64_t at = 0, end = c->at;
    qsort(p, (size_t)n, sizeof *p, by_offset);
    for (int i = 0; i < n; i++) {
        if (p[i].offset != at) {
            return bad_tensor(c, p[i].t->name,
                              p[i].offset < at ? "overlaps another"
                                               : "follows a hole");
        }
        if (begin > c->bytes || p[i].t->bytes > c->bytes - begin ||
            at > c->bytes - begin - p[i].t->bytes) {
            return err_set(c->e, ERR_FORMAT,
                           "%s: the data of tensor '%.80s' ends behind the "
                           "file's %zu bytes",
                           c->label, p[i].t->name, c->bytes);
        }
        p[i].t->data = c->p + begin + at;
        end = begin + at + p[i].t->bytes;
        at = pad(at + p[i].t->bytes, align);
    }
    if (c->bytes > pad(end, align)) {
        return err_set(c->e, ERR_FORMAT, "%s: %llu bytes after the last tensor",
                       c->label, (unsigned long long)(c->bytes - end));
    }
    return 0;
}

int gguf_take_tensors(struct gguf_cursor *c, struct tensor *t, int n,
                      size_t align)
{
    struct place *p = mem_array((size_t)n + 1, sizeof *p);
    if (!p)
        return err_nomem(c->e);
    int rc = 0;
    for (int i = 0; i < n && rc == 0; i++) {
        p[i].t = &t[i];
        rc = take_tensor(c, &t[i], align, &p[i].offset);
    }
    if (rc == 0)
        rc = check_names(c, p, n) || place_data(c, p, n, align) ? -1 : 0;
    mem_free(p);
    return rc;
}
