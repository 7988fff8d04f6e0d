/* elman: the plain recurrence (Elman 1990) in PyTorch's form:
 *
 *     h <- act(W_ih x + b_ih + W_hh h + b_hh)      act: tanh or max(., 0)
 *
 * See cell.h for the order of additions.
 *
 * SPDX-License-Identifier: MIT */
#include "models/rnn/cell.h"

/* One time step for m rows and units j0..j1: a [m][Hp] the input part (bias
 * included), pre-activations to s->gates [m][step]. Then act.
 * Cannot fail. Thread-safe. 2*m*(j1-j0)*H flop. */
static void forward(const struct kernels *k, const struct cell *w,
                    const struct cell_step *s,
                    void (*act)(int m, int j0, int j1, const float *a,
                                size_t lda, float *h, size_t ldh))
{
    /* One gate only, so four times the units make the same stretch. */
    int step = 4 * cell_blocks(s->m) * UNIT_BLOCK;

    for (int j = s->j0; j < s->j1; j += step) {
        int end = j + step < s->j1 ? j + step : s->j1;
        struct packed W = cell_view(&w->hh, j, end);

        for (int r = 0; r < s->m; r++)
            s->rows[r] = s->a[r] + j;
        k->gemm_rows(&W, 0, W.N, s->m, s->h_in, s->ld_in, s->rows, s->gates,
                     (size_t)step);
        act(s->m, 0, W.N, s->gates, (size_t)step, s->h_out + j, s->ld_out);
    }
}

static void elman_tanh_forward(const struct kernels *k, const struct cell *w,
                               const struct cell_step *s)
{
    forward(k, w, s, k->act_tanh);
}

static void elman_relu_forward(const struct kernels *k, const struct cell *w,
                               const struct cell_step *s)
{
    forward(k, w, s, k->act_relu);
}

const struct cell_kind cell_elman_tanh = {
    .name = "elman",
    .G = 1,
    .forward = elman_tanh_forward,
};

const struct cell_kind cell_elman_relu = {
    .name = "elman-relu",
    .G = 1,
    .forward = elman_relu_forward,
};
