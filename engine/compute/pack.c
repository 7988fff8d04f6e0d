/* pack: weights from PyTorch's row-major [N, K] to panels of 16 outputs, so
 * that a kernel reads one aligned cache line per inner index and panel.
 *
 * SPDX-License-Identifier: MIT */
#include <stdint.h>
#include <string.h>

#include "engine/base/mem.h"
#include "engine/compute/kernels.h"

/* One panel: cols rows of W (perm as in pack_new, n the first column) to
 * d [K][16]; the other columns stay zero. */
static void pack_panel(const float *W, size_t ldw, const int *perm, int n,
                       int cols, int K, float *d)
{
    for (int c = 0; c < cols; c++) {
        size_t row = (size_t)(perm ? perm[n + c] : n + c);
        const float *w = W + row * ldw;

        for (int k = 0; k < K; k++)
            d[(size_t)k * PACK_COLS + c] = w[k];
    }
}

int pack_new(const float *W, size_t ldw, int N, int K, const int *perm,
             struct packed *out, struct err *e)
{
    size_t panels, floats;

    memset(out, 0, sizeof *out);
    if (N < 1 || K < 1 || ldw < (size_t)K)
        return err_set(e, ERR_INVALID,
                       "weights of %d outputs and %d inputs cannot be packed",
                       N, K);
    panels = ((size_t)N + PACK_COLS - 1) / PACK_COLS;
    if ((size_t)K > SIZE_MAX / sizeof(float) / PACK_COLS / panels)
        return err_nomem(e);
    floats = panels * (size_t)K * PACK_COLS;
    out->data = mem_floats(floats);
    if (!out->data)
        return err_nomem(e);
    out->N = N;
    out->K = K;
    out->bytes = floats * sizeof(float);
    for (size_t p = 0; p < panels; p++) {
        int n = (int)p * PACK_COLS;
        int cols = N - n < PACK_COLS ? N - n : PACK_COLS;

        pack_panel(W, ldw, perm, n, cols, K,
                   out->data + p * (size_t)K * PACK_COLS);
    }
    return 0;
}

void pack_fini(struct packed *p)
{
    mem_aligned_free(p->data);
    memset(p, 0, sizeof *p);
}
