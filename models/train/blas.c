/* blas: see blas.h. The constants are those of the CBLAS interface.
 *
 * SPDX-License-Identifier: MIT */
#include "models/train/blas.h"

#include <dlfcn.h>
#include <stdlib.h>

#include "engine/compute/kernels.h"

#define CBLAS_ROW_MAJOR 101
#define CBLAS_NO_TRANS 111
#define CBLAS_TRANS 112

#ifdef REAL_DOUBLE
#define GEMM_SYMBOL "cblas_dgemm"
#else
#define GEMM_SYMBOL "cblas_sgemm"
#endif

int blas_open(struct blas *b, struct err *e)
{
    const struct kernels *avx512;
    memset(b, 0, sizeof *b);
    if (kernels_pick("avx512", &avx512, NULL) == 0)
        setenv("OPENBLAS_CORETYPE", "SKYLAKEX", 0);
    setenv("OPENBLAS_NUM_THREADS", "1", 1);
    b->library = dlopen("libopenblas.so.0", RTLD_NOW | RTLD_LOCAL);
    if (b->library == NULL)
        return err_set(e, ERR_NOT_FOUND,
                       "libopenblas.so.0 cannot be loaded: "
                       "install libopenblas0");
    void *gemm = dlsym(b->library, GEMM_SYMBOL);
    void *core = dlsym(b->library, "openblas_get_corename");
    if (gemm == NULL || core == NULL) {
        blas_close(b);
        return err_set(e, ERR_UNSUPPORTED, "libopenblas.so.0 has no %s",
                       GEMM_SYMBOL);
    }
    char *(*corename)(void);
    memcpy(&b->gemm, &gemm, sizeof gemm);
    memcpy(&corename, &core, sizeof core);
    b->core = corename();
    return 0;
}

void blas_close(struct blas *b)
{
    if (b->library != NULL)
        dlclose(b->library);
    b->library = NULL;
}

int blas_use_bf16(struct blas *b, struct err *e)
{
    b->bf16 = bf16_unit_open();
    if (b->bf16 == BF16_NONE)
        return err_set(e, ERR_UNSUPPORTED,
                       "--products bf16 wants a CPU with AMX or AVX-512 BF16");
    return 0;
}

void blas_product(const struct blas *s, int ta, int tb, struct mat a,
                  struct mat b, real beta, struct mat c)
{
    int k = ta ? a.r : a.c;
    if (s->bf16 && (beta == 0 || beta == 1) &&
        bf16_product(s->bf16, ta, tb, a, b, beta == 1, c))
        return;
    if (c.r > 0 && c.c > 0 && k > 0)
        s->gemm(CBLAS_ROW_MAJOR, ta ? CBLAS_TRANS : CBLAS_NO_TRANS,
                tb ? CBLAS_TRANS : CBLAS_NO_TRANS, c.r, c.c, k, (real)1, a.p,
                (int)a.ld, b.p, (int)b.ld, beta, c.p, (int)c.ld);
}
