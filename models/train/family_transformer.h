/* family_transformer: what the families of Transformers share: tables of
 * tensors, the embedding with its positions, the blocks. Which blocks, and what
 * comes before and after them, is in family_gpt2.c, family_bert.c and
 * family_seq2seq_transformer.c, which has two stacks of them.
 *
 * Dimensions: E width, A heads, F width of the perceptron, L layers, T
 * positions; Q = E.
 *
 * SPDX-License-Identifier: MIT */
#ifndef SEQD_FAMILY_TRANSFORMER_H
#define SEQD_FAMILY_TRANSFORMER_H

#include "models/train/trainable.h"
#include "models/transformer/transformer_grad.h"

/* A row of a table of tensors. Sizes are letters above, '3' (3E), 'C', 'V' or
 * '1', one for a vector and two for a matrix; '+' after them: the next tensor
 * follows without a gap. */
struct tf_row {
    const char *name, *sizes;
};

/* What sets one kind of block apart. */
struct tf_kind {
    struct block_shape block;  /* E, A, F by the options */
    const char *prefix;        /* of a block's tensors, without the number */
    const struct tf_row *rows; /* [n_rows] of a block */
    int n_rows;
    int places[BLOCK_PARTS]; /* the rows that are its parts */
};

struct tf_shape {
    struct block_shape block;
    const struct tf_kind *kind;
    int L, T;
    int position, type; /* tensors; type -1: none */
    int input; /* vectors: weight and bias of the layer that reads them */
    int norm;  /* a weight and its bias: the last or the first */
    int layer[NET_MAX_LAYERS]; /* first tensor of each */
    int head; /* first tensor between blocks and output; -1: none */
};

/* The arrays of a pass of a stack; a family's own begin with them. */
struct tf_work {
    struct block_run layer[NET_MAX_LAYERS];
    struct block_scratch scratch;
    real *x, *dx;     /* [N, E] the residual stream and its gradient */
    real *unit, *inv; /* of the norm */
};

/* tf_read: vocabulary and sizes by their names in config.json: E, F, L, A, T.
 */
int tf_read(const struct hparams *h, const char *const key[5],
            struct options *o, struct err *e);

/* tf_shape_init: checks the options and fills n->shape but for the tensors. */
int tf_shape_init(struct net *n, const struct tf_kind *k,
                  const struct options *o, struct err *e);
/* tf_add: the tensors of a table; the first one's number. tf_add_blocks: those
 * of all blocks of a stack. */
int tf_add(struct net *n, const char *prefix, const struct tf_row *rows,
           int n_rows);
void tf_add_blocks(struct net *n, struct tf_shape *s);
void tf_initialise(const struct net *n, struct rng *r, real *p);

void tf_open(struct pass *p, const struct tf_shape *s, struct tf_work *k);
/* tf_open_layers: its part for the blocks alone, with a scratch that is there.
 */
void tf_open_layers(struct pass *p, const struct tf_shape *s,
                    struct tf_work *k);

/* x = embedded tokens plus positions (and type), and the other way. */
void tf_embed(const struct pass *p);
void tf_embed_grad(struct pass *p);
/* x through all blocks; dx back through them. */
void tf_blocks(const struct pass *p);
void tf_blocks_grad(const struct pass *p);

/* tf_run: block l of a stack, over these rows with the weights of this pass.
 * site: of the stack's masks, SITES_LAYER for a block, of which a block takes
 * the first three. */
struct tf_rows {
    int B, N;
    const int *start; /* [B + 1] */
};
const struct block_run *tf_run(const struct pass *p, const struct tf_shape *s,
                               int l, const struct tf_rows *rows, int site,
                               struct block_run *r);

/* tf_norm: the norm of tensors i and i + 1 over N rows. */
struct norm_at tf_norm(const struct pass *p, int i, int N, real *unit,
                       real *inv);

/* tf_grad_case: each of n cases with one layer and with two. */
int tf_grad_case(const struct grad_case *cases, int n, int i,
                 struct grad_case *c);

#endif
