/* seq2seq_attend: attention of a recurrent decoder over the source's pages. See
 * seq2seq_rnn.h for the equations and the layout of a page.
 *
 * Dot and general scores are products of one head, so they and the softmax and
 * the mix are the kernels that Transformers have (kernels.h); a key that goes
 * through a tanh with the query is its own row instead of a column.
 *
 * SPDX-License-Identifier: MIT */
#include <string.h>

#include "models/rnn/seq2seq_rnn.h"

static size_t key_floats(const struct seq2seq *m)
{
    return (size_t)ATTN_KEYS * (size_t)m->Ap;
}

size_t seq2seq_page_bytes(const struct seq2seq *m)
{
    return (key_floats(m) + (size_t)ATTN_KEYS * (size_t)m->Cp) * sizeof(float);
}

/* Keys of n rows, row by row. key [n][Ap] */
static void make_keys(const struct seq2seq *m, const struct kernels *k,
                      const struct seq2seq_lane *l, int n, const float *e,
                      float *key)
{
    size_t C = (size_t)m->C, Ap = (size_t)m->Ap;

    if (m->attention == ATTEND_DOT) {
        for (int r = 0; r < n; r++)
            memcpy(key + (size_t)r * Ap, e + (size_t)r * C, C * sizeof *e);
        return;
    }
    for (int r = 0; r < n; r++)
        l->rows[r] = m->key_bias;
    k->gemm_rows(&m->key, 0, m->A, n, e, C, l->rows, key, Ap);
}

void seq2seq_keep(const struct seq2seq *m, const struct kernels *k,
                  const struct seq2seq_lane *l, int n, const float *e,
                  float *page)
{
    size_t C = (size_t)m->C, Cp = (size_t)m->Cp, Ap = (size_t)m->Ap;
    float *kept = page + key_floats(m);

    memset(page, 0, seq2seq_page_bytes(m));
    for (int r = 0; r < n; r++)
        memcpy(kept + (size_t)r * Cp, e + (size_t)r * C, C * sizeof *e);
    if (m->attention == ATTEND_ADDITIVE) {
        make_keys(m, k, l, n, e, page);
        return;
    }
    make_keys(m, k, l, n, e, l->tile);
    for (int r = 0; r < n; r++)
        for (int d = 0; d < m->A; d++)
            page[d * ATTN_KEYS + r] = l->tile[(size_t)r * Ap + (size_t)d];
}

/* v' tanh(q + key) for the rows of all pages. */
static void additive_scores(const struct seq2seq *m, const struct kernels *k,
                            const struct seq2seq_lane *l,
                            const struct seq_state *s, const float *h)
{
    const float *init = m->query_bias;
    int n = (int)s->len[PORT_SOURCE];
    size_t Ap = (size_t)m->Ap;

    k->gemm_rows(&m->query, 0, m->A, 1, h, (size_t)m->dec->H, &init, l->q, Ap);
    for (int at = 0; at < n; at += ATTN_KEYS) {
        int rows = n - at < ATTN_KEYS ? n - at : ATTN_KEYS;
        const float *key = s->pages[PORT_SOURCE][at / ATTN_KEYS];

        memcpy(l->tile, key, (size_t)rows * Ap * sizeof *key);
        for (int r = 0; r < rows; r++) {
            float *x = l->tile + (size_t)r * Ap;

            k->add_to(m->A, l->q, x);
            k->vtanh(m->A, x, x);
        }
        k->gemm_rows(&m->score, 0, 1, rows, l->tile, Ap, NULL, l->scores + at,
                     1);
    }
}

void seq2seq_attend(const struct seq2seq *m, const struct kernels *k,
                    const struct seq2seq_lane *l, const struct seq_state *s,
                    const float *h, float *context, float *weights)
{
    int n = (int)s->len[PORT_SOURCE], lo = 0;
    int n_blocks = (n + ATTN_KEYS - 1) / ATTN_KEYS;
    size_t ld = (size_t)n_blocks * ATTN_KEYS;

    for (int i = 0; i < n_blocks; i++)
        l->e[i] = s->pages[PORT_SOURCE][i];
    if (m->attention == ATTEND_ADDITIVE)
        additive_scores(m, k, l, s, h);
    else
        k->attn_scores(1, m->A, h, (size_t)m->A, l->e, n_blocks, 1.0f,
                       l->scores, ld);
    k->attn_softmax(0, n, 0.0f, l->scores);
    for (int i = 0; i < n_blocks; i++)
        l->e[i] += key_floats(m);
    k->attn_mix(1, m->C, l->scores, ld, &lo, &n, l->e, l->mixed, (size_t)m->Cp);
    memcpy(context, l->mixed, (size_t)m->C * sizeof *context);
    if (weights)
        memcpy(weights, l->scores, (size_t)n * sizeof *weights);
}
