/* pack: weights from PyTorch's row-major [N, K] to panels of 16 outputs, so
 * that a kernel reads one aligned cache line per inner index and panel. The
 * room is not cleared first: a panel is when it is its turn, while it is in the
 * cache, or its last columns are written as zeros.
 *
 * SPDX-License-Identifier: MIT */
#include <stdint.h>
#include <string.h>

#include "engine/base/mem.h"
#include "engine/compute/kernels.h"
#include "engine/compute/tensor.h"

/* Room for the panels; what is in it is undefined. */
static int pack_room(int N, int K, size_t ldw, struct packed *out,
                     struct err *e)
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
    out->data = mem_lasting(floats);
    if (!out->data)
        return err_nomem(e);
    out->N = N;
    out->K = K;
    out->bytes = floats * sizeof(float);
    return 0;
}

static float *panel_of(const struct packed *p, int n)
{
    return p->data + (size_t)(n / PACK_COLS) * (size_t)p->K * PACK_COLS;
}

static void clear_panel(const struct packed *p, int n)
{
    memset(panel_of(p, n), 0, (size_t)p->K * PACK_COLS * sizeof *p->data);
}

int pack_new(const float *W, size_t ldw, int N, int K, const int *perm,
             struct packed *out, struct err *e)
{
    if (pack_room(N, K, ldw, out, e))
        return -1;
    for (int n = 0; n < N; n++) {
        const float *w = W + (size_t)(perm ? perm[n] : n) * ldw;
        float *to = panel_of(out, n) + n % PACK_COLS;

        if (n % PACK_COLS == 0)
            clear_panel(out, n);
        for (int k = 0; k < K; k++)
            to[(size_t)k * PACK_COLS] = w[k];
    }
    return 0;
}

/* The numbers of output n, zeros behind the last. */
static void read_row(const struct pack_rows *from, int n, size_t cols,
                     float *to)
{
    int r = n >= from->N ? -1 : from->row ? from->row[n] : n;

    if (r < 0)
        memset(to, 0, cols * sizeof *to);
    else
        tensor_read(from->t, (size_t)r * cols, cols, to);
}

/* n inputs of four outputs, whose rows lie ld apart. */
static void place_four(const float *restrict w, size_t ld, int n,
                       float *restrict to)
{
    for (int k = 0; k < n; k++, to += PACK_COLS) {
        to[0] = w[k];
        to[1] = w[ld + (size_t)k];
        to[2] = w[2 * ld + (size_t)k];
        to[3] = w[3 * ld + (size_t)k];
    }
}

int pack_tensor(const struct pack_rows *from, struct packed *out, struct err *e)
{
    int K = (from->n_parts - 1) * from->part_stride + from->part;
    size_t cols = (size_t)from->n_parts * (size_t)from->part;
    float *rows;

    if (pack_room(from->N, K, (size_t)K, out, e))
        return -1;
    rows = mem_array(4 * cols, sizeof *rows);
    if (!rows) {
        pack_fini(out);
        return err_nomem(e);
    }
    for (int n = 0; n < from->N || n % PACK_COLS; n += 4) {
        float *to = panel_of(out, n) + n % PACK_COLS;

        if (n % PACK_COLS == 0 && from->part < from->part_stride)
            clear_panel(out, n); /* the gaps */
        for (int i = 0; i < 4; i++)
            read_row(from, n + i, cols, rows + (size_t)i * cols);
        for (int i = 0; i < from->n_parts; i++)
            place_four(rows + (size_t)i * (size_t)from->part, cols, from->part,
                       to + (size_t)i * (size_t)from->part_stride * PACK_COLS);
    }
    mem_free(rows);
    return 0;
}

void pack_fini(struct packed *p)
{
    mem_lasting_free(p->data);
    memset(p, 0, sizeof *p);
}
