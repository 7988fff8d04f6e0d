/* gru: gated recurrent unit (Cho et al. 2014) in PyTorch's form, with the
 * reset gate applied after the recurrent product:
 *
 *     r = s(W_ir x + b_ir + W_hr h + b_hr)
 *     z = s(W_iz x + b_iz + W_hz h + b_hz)
 *     n = tanh(W_in x + b_in + r (W_hn h + b_hn))
 *     h <- (1 - z) n + z h
 *
 * Gate order r, z, n. The two parts stay apart because r multiplies only the
 * recurrent one, so b_hh starts the recurrent sum.
 *
 * SPDX-License-Identifier: MIT */
#include <string.h>

#include "models/rnn/cell.h"

#define GATES 3

/* gru_forward: one time step for m rows and units j0..j1. a [m][3Hp] the input
 * part (b_ih included); h_in [m][H]; h_out [m][Hp].
 * Cannot fail. Thread-safe. 2*m*3*(j1-j0)*H flop. */
static void gru_forward(const struct kernels *k, const struct cell *w,
                        const struct cell_step *s)
{
    int step = cell_blocks(s->m) * UNIT_BLOCK;
    size_t ld = (size_t)(GATES * step);
    float *a = s->gates, *b = s->gates + (size_t)s->m * ld;

    for (int r = 0; r < s->m; r++)
        memcpy(s->h_out + (size_t)r * s->ld_out + s->j0,
               s->h_in + (size_t)r * s->ld_in + s->j0,
               (size_t)(s->j1 - s->j0) * sizeof(float));
    for (int j = s->j0; j < s->j1; j += step) {
        int end = j + step < s->j1 ? j + step : s->j1;
        struct packed W = cell_view(&w->hh, GATES * j, GATES * end);

        for (int r = 0; r < s->m; r++) {
            s->rows[r] = w->bias_h + GATES * j;
            memcpy(a + (size_t)r * ld, s->a[r] + GATES * j,
                   (size_t)W.N * sizeof(float));
        }
        k->gemm_rows(&W, 0, W.N, s->m, s->h_in, s->ld_in, s->rows, b, ld);
        for (int u = j; u < end; u += UNIT_BLOCK)
            k->gates3(s->m, UNIT_BLOCK, 0, UNIT_BLOCK, a + GATES * (u - j), ld,
                      b + GATES * (u - j), ld, s->h_out + u, s->ld_out);
    }
}

const struct cell_kind cell_gru = {
    .name = "gru",
    .G = GATES,
    .own_bias_h = 1,
    .forward = gru_forward,
};
