/* seq2seq_rnn: recurrent encoder-decoders (Cho et al. 2014, Sutskever et al.
 * 2014), with attention or without; models/README.md has the checkpoint's
 * layout. Both nets are struct rnn and run by rnn_step.c; what is here stands
 * between them: the bridge from the encoder's last states to the decoder's
 * first, and the attention.
 *
 *     e_1 .. e_n = encoder(source)            h_0 = bridge(last states)
 *     score(q, e) = q' e                      dot (Luong et al. 2015)
 *                 | q' (W_k e + b_k)          general (the same)
 *                 | v' tanh(W_q q + b_q + W_k e + b_k)
 *                                             additive (Bahdanau et al. 2014)
 *     context(q)  = sum_j softmax_j(score(q, e_j)) e_j
 *
 * The context goes into the first layer of the decoder, beside the embedding,
 * made from the top state before (q = h_{t-1}), or behind the top state before
 * the output (q = h_t); that of the first kind may be read by the output, too.
 *
 * Files: seq2seq_rnn.c loads, seq2seq_config.c reads config.json,
 * seq2seq_step.c is the step, seq2seq_attend.c the attention.
 *
 * Dimensions: V target vocabulary, H units of the decoder, C numbers of an
 * encoder's output (D times its units), A of a key, S rows of a source; Ap and
 * Cp: whole blocks of 16.
 *
 * Row j of a source is e_j in pages and weights also where the encoder reads it
 * from its end (Sutskever et al. 2014).
 *
 * State of a sequence: that of the decoder (rnn.h), which the source's item
 * begins with the bridge. Pages of the source, where there is attention: the
 * keys of ATTN_KEYS rows (d-major [Ap][16]; additive: [16][Ap]), then their
 * outputs e [16][Cp].
 *
 * SPDX-License-Identifier: MIT */
#ifndef SEQD_SEQ2SEQ_RNN_H
#define SEQD_SEQ2SEQ_RNN_H

#include "models/rnn/rnn_load.h"

#define SEQ2SEQ_MAX_LAYERS 4
#define SEQ2SEQ_MAX_WANTS 8 /* of an item */

enum seq2seq_attention {
    ATTEND_NONE,
    ATTEND_ADDITIVE,
    ATTEND_DOT,
    ATTEND_GENERAL
};

enum seq2seq_bridge { BRIDGE_COPY, BRIDGE_LINEAR, BRIDGE_TANH };

struct seq2seq {
    struct rnn *enc, *dec;
    enum seq2seq_attention attention;
    int early; /* the context goes into the decoder's first layer */
    int C, Cp, A, Ap;
    int backwards;       /* the encoder reads sources from their end */
    int max_source;      /* with attention */
    struct packed query; /* [A, H], additive */
    struct packed key;   /* [A, C], additive and general */
    struct packed score; /* [1, A], additive */
    float *query_bias;   /* [A], zeros where the file has none */
    float *key_bias;     /* [A], the same */
    enum seq2seq_bridge bridge;
    int pass_cell; /* the LSTM's c is passed on, too; else it begins as 0 */
    struct packed pass[SEQ2SEQ_MAX_LAYERS][2]; /* [H, C]: of h, of c */
    float *pass_bias[SEQ2SEQ_MAX_LAYERS][2];   /* [H] */
    char summary[96];
};

extern const struct model_arch seq2seq_rnn_arch;

/* seq2seq_read_config: sizes of m->enc and m->dec, the rest of m. ERR_FORMAT
 * names the key. */
int seq2seq_read_config(struct seq2seq *m, const struct load_opts *o,
                        const struct hparams *h, struct err *e);

/* seq2seq_step.c */
size_t seq2seq_scratch_bytes(const void *self, const struct step_size *most);
int seq2seq_step(const void *self, const struct exec *x, struct batch *b,
                 struct err *e);

/* --- seq2seq_attend.c --- */

/* Scratch of one thread. */
struct seq2seq_lane {
    float *q;           /* [Ap] */
    float *tile;        /* [ATTN_KEYS][Ap] */
    float *kept;        /* [ATTN_KEYS][C] */
    float *scores;      /* [max_source, in whole blocks] */
    float *mixed;       /* [Cp] */
    const float **e;    /* [blocks of max_source] */
    const float **rows; /* [ATTN_KEYS] */
};

size_t seq2seq_page_bytes(const struct seq2seq *m);

/* seq2seq_keep: n rows of the encoder's output e [n][C], at most ATTN_KEYS,
 * into a page, with their keys. Any thread. */
void seq2seq_keep(const struct seq2seq *m, const struct kernels *k,
                  const struct seq2seq_lane *l, int n, const float *e,
                  float *page);

/* seq2seq_attend: context [C] of a query h [H] over the source of s. weights
 * [S], or NULL. Any thread; the sums of a row are one thread's. */
void seq2seq_attend(const struct seq2seq *m, const struct kernels *k,
                    const struct seq2seq_lane *l, const struct seq_state *s,
                    const float *h, float *context, float *weights);

#endif
