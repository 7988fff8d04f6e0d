/* row_bans: see row_bans.h.
 *
 * SPDX-License-Identifier: MIT */
#include "engine/run/row_bans.h"

#include <math.h>

static int32_t token_at(const struct row_bans *b, const int32_t *made, int i)
{
    return i < b->n_prefix ? b->prefix[i] : made[i - b->n_prefix];
}

/* The last no_repeat - 1 tokens have come before: not what followed them. */
static void ban_repeats(const struct row_bans *b, const int32_t *made, int n,
                        float *row)
{
    int all = b->n_prefix + n, size = b->no_repeat - 1;

    for (int i = 0; i + size < all; i++) {
        int same = 0;
        while (same < size && token_at(b, made, i + same) ==
                                  token_at(b, made, all - size + same))
            same++;
        int32_t next = token_at(b, made, i + size);
        if (same == size && next < b->n_vocab)
            row[next] = -INFINITY;
    }
}

void row_bans_apply(const struct row_bans *b, const int32_t *made, int n,
                    float *row)
{
    for (int i = 0; i < b->n_end && n < b->min_new; i++)
        row[b->end[i]] = -INFINITY;
    if (b->no_repeat > 0)
        ban_repeats(b, made, n, row);
}
