/* blas: see blas.h. The constants are those of the CBLAS interface.
 *
 * SPDX-License-Identifier: MIT */
#include "models/train/blas.h"

#include <dlfcn.h>
#include <stdlib.h>

#define CBLAS_ROW_MAJOR 101
#define CBLAS_NO_TRANS 111
#define CBLAS_TRANS 112

#ifdef REAL_DOUBLE
#define GEMM_SYMBOL "cblas_dgemm"
#else
#define GEMM_SYMBOL "cblas_sgemm"
#endif

#ifdef __x86_64__
static int has_avx512(void)
{
    __builtin_cpu_init();
    return __builtin_cpu_supports("avx512f") &&
           __builtin_cpu_supports("avx512bw") &&
           __builtin_cpu_supports("avx512vl") &&
           __builtin_cpu_supports("avx512dq");
}
#else
static int has_avx512(void)
{
    return 0;
}
#endif

int blas_open(struct blas *b, struct err *e)
{
    memset(b, 0, sizeof *b);
    if (has_avx512())
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

/* c = op(a) op(b) + beta c over k: an empty product does nothing. */
static void product(const struct blas *s, int ta, int tb, int k, struct mat a,
                    struct mat b, real beta, struct mat c)
{
    if (c.r > 0 && c.c > 0 && k > 0)
        s->gemm(CBLAS_ROW_MAJOR, ta, tb, c.r, c.c, k, (real)1, a.p, (int)a.ld,
                b.p, (int)b.ld, beta, c.p, (int)c.ld);
}

void blas_nt(const struct blas *s, struct mat a, struct mat b, real beta,
             struct mat c)
{
    product(s, CBLAS_NO_TRANS, CBLAS_TRANS, a.c, a, b, beta, c);
}

void blas_nn(const struct blas *s, struct mat a, struct mat b, real beta,
             struct mat c)
{
    product(s, CBLAS_NO_TRANS, CBLAS_NO_TRANS, a.c, a, b, beta, c);
}

void blas_tn(const struct blas *s, struct mat a, struct mat b, real beta,
             struct mat c)
{
    product(s, CBLAS_TRANS, CBLAS_NO_TRANS, a.r, a, b, beta, c);
}
