/* lstm: long short-term memory (Hochreiter and Schmidhuber 1997; forget gate:
 * Gers, Schmidhuber and Cummins 2000), without peepholes, in PyTorch's form:
 *
 *     i, f, g, o = W_ih x + b_ih + W_hh h + b_hh
 *     c <- s(f) c + s(i) tanh(g)
 *     h <- s(o) tanh(c)             or, with proj_size, W_hr (s(o) tanh(c))
 *
 * Gate order i, f, g, o. See cell.h for the order of additions.
 *
 * SPDX-License-Identifier: MIT */
#include "models/rnn/cell.h"

#define GATES 4

/* lstm_forward: one time step for m rows and units j0..j1. a [m][4Hp] the
 * input part (bias included); h_in [m][R]; c [m][Hp] in place; h_out [m][Hp],
 * s(o) tanh(c): cell_shrink is the caller's, once all units are there. Cannot
 * fail. Thread-safe. 2*m*4*(j1-j0)*R flop. */
static void lstm_forward(const struct kernels *k, const struct cell *w,
                         const struct cell_step *s)
{
    int step = cell_blocks(s->m) * UNIT_BLOCK;
    size_t ld = (size_t)(GATES * step);

    for (int j = s->j0; j < s->j1; j += step) {
        int end = j + step < s->j1 ? j + step : s->j1;
        struct packed W = cell_view(&w->hh, GATES * j, GATES * end);

        for (int r = 0; r < s->m; r++)
            s->rows[r] = s->a[r] + GATES * j;
        k->gemm_rows(&W, 0, W.N, s->m, s->h_in, s->ld_in, s->rows, s->gates,
                     ld);
        if (end < s->j1)
            cell_fetch(s->a, s->m, GATES * end);
        for (int u = j; u < end; u += UNIT_BLOCK)
            k->gates4(s->m, UNIT_BLOCK, 0, UNIT_BLOCK,
                      s->gates + GATES * (u - j), ld, s->c + u, s->ldc,
                      s->h_out + u, s->ld_out);
    }
}

const struct cell_kind cell_lstm = {
    .name = "lstm",
    .G = GATES,
    .has_c = 1,
    .forward = lstm_forward,
};
