/* blas: matrix products of the trainer, by OpenBLAS. The library is opened
 * with dlopen, because it reads OPENBLAS_CORETYPE once, when it is loaded, and
 * Debian's build takes AVX-512 CPUs that it does not know for Haswell:
 * blas_open sets the variable first (unless the user did) and keeps OpenBLAS to
 * one thread, for the trainer's own workers call it side by side.
 * One of the two functions is used, by the type of `real`.
 *
 * SPDX-License-Identifier: MIT */
#ifndef SEQD_BLAS_H
#define SEQD_BLAS_H

#include "engine/base/err.h"
#include "models/train/bf16_product.h"
#include "models/train/real.h"

typedef void blas_gemm_fn(int order, int ta, int tb, int m, int n, int k,
                          real alpha, const real *a, int lda, const real *b,
                          int ldb, real beta, real *c, int ldc);

struct blas {
    blas_gemm_fn *gemm;
    void *library;
    const char *core;    /* "SkylakeX": what OpenBLAS chose */
    enum bf16_unit bf16; /* of large products; BF16_NONE: they are sgemm's */
};

/* blas_open: ERR_NOT_FOUND when libopenblas.so.0 is missing. */
int blas_open(struct blas *b, struct err *e);
void blas_close(struct blas *b);

/* blas_use_bf16: large products are bf16_product.h's from now on.
 * ERR_UNSUPPORTED: the CPU has no unit for them. */
int blas_use_bf16(struct blas *b, struct err *e);

/* blas_product: c = a b + beta c, with a or b transposed. An empty product does
 * nothing. */
void blas_product(const struct blas *s, int ta, int tb, struct mat a,
                  struct mat b, real beta, struct mat c);

/* a b', a b, a' b */
static inline void blas_nt(const struct blas *s, struct mat a, struct mat b,
                           real beta, struct mat c)
{
    blas_product(s, 0, 1, a, b, beta, c);
}

static inline void blas_nn(const struct blas *s, struct mat a, struct mat b,
                           real beta, struct mat c)
{
    blas_product(s, 0, 0, a, b, beta, c);
}

static inline void blas_tn(const struct blas *s, struct mat a, struct mat b,
                           real beta, struct mat c)
{
    blas_product(s, 1, 0, a, b, beta, c);
}

#endif
