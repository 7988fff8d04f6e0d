/* matrix_rig: what the tests of products share: activations and outputs with
 * room for whole panels, a packed tensor of any type, rows compared bit for
 * bit. In a header because only these programs need cmocka and the kernels.
 *
 * SPDX-License-Identifier: MIT */
#ifndef SEQD_MATRIX_RIG_H
#define SEQD_MATRIX_RIG_H

#include "engine/base/mem.h"
#include "engine/base/rng.h"
#include "engine/compute/dtype.h"
#include "engine/compute/kernels.h"
#include "engine/compute/matrix.h"
#include "tests/support/matrix_data.h"
#include "tests/support/unit.h"

#define M_MAX 70
#define N_MAX 150
#define K_MAX 768
#define LDX (K_MAX + 5)
#define LDY (N_MAX + 10 + 5) /* room for whole panels */
#define CANARY 12345.0f

struct matrix_rig {
    float wide[N_MAX * K_MAX], x[M_MAX * LDX], init[M_MAX * LDY];
    float y[M_MAX * LDY], z[M_MAX * LDY];
    const float *start[M_MAX], *self[M_MAX]; /* rows of init, of y */
    void *mem, *mem2;                        /* for qrows */
};

static inline int matrix_rig_open(void **state)
{
    struct matrix_rig *d = mem_zalloc(sizeof *d);
    struct rng r;

    if (!d)
        return -1;
    rng_init(&r, 21);
    for (int i = 0; i < M_MAX * LDX; i++)
        d->x[i] = (float)rng_normal(&r);
    for (int i = 0; i < M_MAX * LDY; i++)
        d->init[i] = (float)rng_normal(&r);
    for (int i = 0; i < M_MAX; i++) {
        d->start[i] = d->init + i * LDY;
        d->self[i] = d->y + i * LDY;
    }
    d->mem = mem_aligned(qrows_bytes(M_MAX, K_MAX));
    d->mem2 = mem_aligned(qrows_bytes(M_MAX, K_MAX));
    *state = d;
    return d->mem && d->mem2 ? 0 : -1;
}

static inline int matrix_rig_close(void **state)
{
    struct matrix_rig *d = *state;

    mem_aligned_free(d->mem);
    mem_aligned_free(d->mem2);
    mem_free(d);
    return 0;
}

/* Numbers of a row that are packed as they are, at least. */
static inline int whole_block(enum dtype type)
{
    return type == DT_I8 ? QBLOCK : dtype_block(type);
}

/* A tensor and its rows packed. */
struct packing {
    struct tensor t;
    struct matrix w;
};

static inline void make(enum dtype type, int rows, int K, struct tensor *t)
{
    if (matrix_data(type, rows, K, (uint64_t)type * 100 + (uint64_t)rows, t))
        fail_msg("no memory");
}

static inline void pack(const struct tensor *t, int row0, int N,
                        struct matrix *w)
{
    struct matrix_rows_of from = {t, row0, N, (int)t->dim[1], 0};
    struct err e = ERR_INIT;

    if (matrix_pack(&from, w, &e))
        fail_msg("%s", e.msg);
}

/* Also its weights, as tensor_read gives them, where d is not NULL. */
static inline struct packing packing_open(enum dtype type, int N, int K,
                                          struct matrix_rig *d)
{
    struct packing p;

    make(type, N, K, &p.t);
    pack(&p.t, 0, N, &p.w);
    if (d)
        tensor_read(&p.t, 0, (size_t)N * (size_t)K, d->wide);
    return p;
}

static inline void packing_close(struct packing *p)
{
    matrix_fini(&p->w);
    matrix_data_free(&p->t);
}

static inline void wipe(float *y)
{
    for (int i = 0; i < M_MAX * LDY; i++)
        y[i] = CANARY;
}

/* Nothing right of the last panel and below m rows was written. */
static inline void assert_edges(const float *y, int N, int m)
{
    assert_true(m == M_MAX || y[m * LDY] == CANARY);
    assert_true(y[(N + 15) / 16 * 16] == CANARY);
}

static inline void assert_rows(const float *a, const float *b, int N, int m,
                               enum dtype type, const char *family)
{
    for (int r = 0; r < m; r++)
        if (memcmp(a + r * LDY, b + r * LDY, (size_t)N * sizeof *a))
            fail_msg("%s, %s: row %d of %d differs", dtype_name(type), family,
                     r, m);
}

#endif
