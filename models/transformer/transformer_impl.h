/* transformer_impl: what the files of transformer.h share among themselves,
 * and what tests of them use.
 *
 * Rows of a step: all items of the batch that run ("slots") stand one after the
 * other: slot s has rows row0 .. row0+n-1 at positions pos0 and on. Row strides
 * are tf_pad(width): multiples of 16 floats.
 *
 * A page holds 16 positions of all layers: for each layer, for each key/value
 * head, keys [dp][16] (d-major) and then values [16][dp], dp = tf_pad(d).
 * Encoders keep the same blocks of one layer in scratch. Pages of a source are
 * of the same form, those of the decoder's layers and heads. Nothing depends on
 * how a text was cut into steps: chunked, with a shared prefix and token by
 * token give the same bits.
 *
 * SPDX-License-Identifier: MIT */
#ifndef SEQD_TRANSFORMER_IMPL_H
#define SEQD_TRANSFORMER_IMPL_H

#include <stdatomic.h>

#include "engine/run/arch.h"
#include "models/transformer/transformer.h"

#define TF_MAX_THREADS 64
#define TF_TILE_ROWS 32 /* queries that share a block of keys */
#define TF_CHUNK 256    /* model_info.max_chain of decoders */
#define TF_WAVES 256    /* positions whose sines and cosines are kept */
#define SPARE_ROWS 4    /* rows of logits that go through tf_run.spare */
#define N_INDEX 3       /* tables that `lookup` reads: EMBEDDING and on */

/* tf_pad: n rounded up to 16. */
size_t tf_pad(int64_t n);

/* Scratch: one function takes all arrays of a step from an arena; with base
 * NULL it only counts. tf_take: n elements, 64-byte aligned. */
struct tf_arena {
    char *base;
    size_t at;
};
void *tf_take(struct tf_arena *a, size_t n, size_t bytes);
float *tf_take_rows(struct tf_arena *a, int rows, int64_t width);

/* An item that runs. */
struct tf_slot {
    int item;     /* of the batch */
    int row0, n;  /* rows */
    int64_t pos0; /* position of row0 */
    float *show;  /* attention: [layers][heads][n][shown], or NULL */
    int shown;    /* n, or of a decoder with a source its rows */
    int block0;   /* encoders: its first block in scratch */
};

/* A wanted row. `row`: of the step; POOLED the last one of its slot, CLASS the
 * first. */
struct tf_out {
    float *dst;
    size_t ld; /* to the next row of the same want */
    int slot, row;
};

/* Scratch of one thread. */
struct tf_lane {
    const float **init; /* [max(rows, wanted rows)] */
    float *q, *y;       /* [TF_TILE_ROWS][dp] */
    float *s;           /* n_scores floats */
    size_t n_scores;
    const float **kb, **vb; /* blocks of keys and values */
    int lo[TF_TILE_ROWS], hi[TF_TILE_ROWS];
};

/* Rows r0 .. r0+n-1 of a slot, counted from its first, for one kv head. */
struct tf_unit {
    int slot, r0, n;
};

/* A row set in a step, and its 8-bit form where it is `fast`. */
struct tf_rows {
    float *x; /* [m][ld] */
    size_t ld;
    int m;
    struct qrows q;
};

/* A step of a stack. */
struct tf_run {
    const struct stack *s;
    const struct exec *x;
    const struct kernels *k; /* x->k */
    struct batch *b;
    int port;    /* whose items it runs */
    int n;       /* threads of this step */
    int n_rows;  /* token rows */
    int n_slots; /* items that run */
    struct tf_slot *slot;
    int32_t *slot_of;               /* [n_rows] */
    int32_t *pos;                   /* [n_rows] */
    int32_t *index[N_INDEX];        /* [n_rows] tokens, positions, types */
    struct tf_out *out[TF_OUTPUTS]; /* in item order */
    int n_out[TF_OUTPUTS];
    struct tf_rows rows[TF_SETS];
    float *cs[TF_MAX_ROPES]; /* [n_rows][n_rot] cosines and sines */
    struct tf_lane *lane;    /* [n] */
    float *spare;            /* rows of logits that cannot be in place */
    float *blocks;           /* encoders: keys and values of a layer */
    struct tf_unit *unit;
    int n_units;
    atomic_int *next;  /* [layers][2] units taken; of the source last */
    atomic_uchar *bad; /* [n_slots] */
};

/* Who touches a row set: its rows' owner (BY_ROWS), the owner of columns (their
 * number, > 0), or anybody. */
enum { BY_ROWS = -1, BY_ANY = -2 };
struct tf_touch {
    int read, wrote; /* since the threads met; 0: nobody */
    int stale;       /* the 8-bit form is not that of the rows */
};

struct tf {
    const struct stack *s;
    struct stack *measured; /* the stack that is measured, and no step */
    struct tf_run *r;
    int tid, n;
    int r0[2], r1[2]; /* own rows of tokens, own wanted rows */
    int syncs;
    struct tf_touch touch[TF_SETS];
};

/* --- transformer.c: the functions of struct model_arch, but for load --- */

void tf_layout(const struct stack *s, struct state_layout *out);
/* tf_reach: positions up to its own that a row sees in any layer; 0: in some
 * layer it sees all. */
int tf_reach(const struct stack *s);
size_t tf_scratch_bytes(const void *self, const struct step_size *most);
int tf_step(const void *self, const struct exec *x, struct batch *b,
            struct err *e);
void tf_fail_slot(struct tf_run *t, int slot);
/* tf_share: part tid of n of 0 .. total-1 in multiples of unit. */
void tf_share(int total, int unit, int tid, int n, int *from, int *to);
/* tf_weights: those of a layer. */
const struct weight *tf_weights(const struct stack *s, int layer);
/* tf_compute: all verbs of a stack on one thread: tid of r->n. */
void tf_compute(struct tf *t);

/* --- transformer_load.c --- */

int tf_load(const struct stack_kind *kind, const struct load_opts *o,
            struct checkpoint *c, struct model_info *info, void **self,
            struct err *e);
void tf_unload(void *self);
/* tf_measure: fills s->set, syncs, token_macs and row_macs. */
void tf_measure(struct stack *s);

/* --- transformer_layer.c --- */

/* One tensor of a linear layer: rows row0 .. row0+N-1 of `name` [rows, K], or
 * of [K, rows] when transposed (GPT-2's Conv1D); rows 0 means N. heads > 0: the
 * tensor's rows are `heads` times three groups, and part i takes group i of
 * each. bias: a vector of `rows` elements, or NULL. */
struct tf_part {
    const char *name, *bias;
    int N, rows, row0;
    int transposed, heads;
};

/* tf_linear_load: checks shapes, packs, drops the tensors' pages. `out` may be
 * given to tf_linear_fini in any case. the options decide on `fast`
 * and `bf16`. */
int tf_linear_load(struct weights *w, const struct load_opts *o,
                   const struct tf_part *part, int n_part, int K,
                   struct tf_linear *out, struct err *e);
void tf_linear_fini(struct tf_linear *l);
size_t tf_linear_bytes(const struct tf_linear *l);

/* tf_vector: a tensor [n] as fp32, padded with zeros to tf_pad(n); name NULL:
 * *out is NULL. Free with mem_aligned_free. */
int tf_vector(struct weights *w, const char *name, int n, float **out,
              struct err *e);
/* tf_norm_load: `plus_one`: the weights are 1 + w (Gemma in HF's files). bias
 * may be NULL. */
int tf_norm_load(struct weights *w, const char *name, const char *bias, int n,
                 int rms, double eps, int plus_one, struct tf_norm *out,
                 struct err *e);
void tf_norm_fini(struct tf_norm *n);
void tf_rope_fini(struct tf_rope *r);
/* tf_wave_row: y [WIDTH] = what wave_add adds at a position. tf_wave_rows:
 * fills s->waves, for the first TF_WAVES positions at most. */
void tf_wave_row(const struct stack *s, int pos, float *y);
int tf_wave_rows(struct stack *s, struct err *e);

/* --- transformer_attn.c --- */

/* tf_attn_map: scratch of attention. tf_attn_plan: units of this step. */
void tf_attn_map(struct tf_run *t, struct tf_arena *a,
                 const struct step_size *step);
void tf_attn_plan(struct tf_run *t);
size_t tf_page_bytes(const struct stack *s);

/* Attention of one layer over all rows of the step. `of`: whose layers and
 * heads the blocks have; port: that has their pages, -1: in scratch. q
 * [n_rows][ld]: heads of d one after the other, k and v likewise with their
 * heads. y [n_rows][ldy]. */
struct tf_attn {
    const struct stack *of;
    int port;
    int layer, causal, window, source;
    float scale, cap;
    const float *q, *k, *v;
    size_t ld;
    float *y;
    size_t ldy;
};
/* tf_attn_store: own rows' keys and values into pages (or blocks). */
void tf_attn_store(const struct tf_run *t, const struct tf_attn *a, int r0,
                   int r1);
/* tf_attn_run: when all are stored; threads take (slot, rows, kv head) units.
 * Captures the weights of slots with `show`. */
void tf_attn_run(struct tf_run *t, int tid, const struct tf_attn *a);

#endif
