/* transformer: what all Transformers share: the plan of a step (ragged rows,
 * no padding), linear layers, norms, rotary positions, attention over pages
 * of keys and values, wanted rows. gpt2.c, llama.c, gemma3.c and bert.c write
 * their layers out in full on top of it.
 *
 * A step is one pool_run: every thread runs the same function over (tid, n)
 * from the embedding to the last product and meets the others in tf_sync
 * between phases. A phase either owns rows (tf_own_rows: norms, rotary
 * positions, activations, storing keys and values, quantising) or columns
 * (tf_linear_*) or takes units (tf_attn_run). Small steps run on one thread,
 * where tf_sync is nothing. Rule: put a tf_sync wherever a phase reads what
 * another phase wrote under another kind of ownership.
 *
 * Rows: all items of the batch that run ("slots") stand one after the other:
 * slot s has rows row0 .. row0+n-1 at positions pos0 and on. Row strides are
 * tf_pad(width): multiples of 16 floats.
 *
 * A page holds 16 positions of all layers: for each layer, for each key/value
 * head, keys [dp][16] (d-major) and then values [16][dp], dp = tf_pad(d).
 * Encoders keep the same blocks of one layer in scratch. Nothing depends on
 * how a text was cut into steps: chunked, with a shared prefix and token by
 * token give the same bits.
 *
 * SPDX-License-Identifier: MIT */
#ifndef SEQD_TRANSFORMER_H
#define SEQD_TRANSFORMER_H

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#include "engine/compute/matrix.h"
#include "engine/run/arch.h"

#define TF_MAX_THREADS 64
#define TF_MAX_PARTS 4  /* tensors of one linear layer */
#define TF_TILE_ROWS 32 /* queries that share a block of keys */
#define TF_MAX_LAYERS 512
#define TF_CHUNK 256 /* model_info.max_chain of decoders */

/* tf_pad: n rounded up to 16. */
size_t tf_pad(int64_t n);

/* --- scratch ---
 * One function of the architecture takes all arrays of a step from an arena;
 * scratch_bytes runs it with base NULL and gets the size. */
struct tf_arena {
    char *base; /* NULL: only count */
    size_t at;
};
/* tf_take: n elements, 64-byte aligned; NULL when only counting. */
void *tf_take(struct tf_arena *a, size_t n, size_t bytes);
float *tf_take_rows(struct tf_arena *a, int rows, int64_t width);

/* --- plan --- */

/* What a step of a model is: constant, made at load. */
struct tf_spec {
    int n_vocab;     /* ids are 0 .. n_vocab-1 */
    int64_t max_len; /* positions: longer items fail with ERR_TOO_LARGE */
    int whole;       /* 1: encoders: whole inputs only, no pages */
    unsigned wants;  /* bits 1u << OUT_* that it can answer */
    int width;       /* of HIDDEN and POOLED rows */
    int n_layers;
    int n_phases;      /* tf_syncs of a step, about: for the threads */
    double token_macs; /* multiply-adds of a token */
    double row_macs;   /* of a wanted row of logits */
    int n_heads, n_kv; /* n_heads is a multiple of n_kv */
    int d;             /* size of a head */
    int n_logits;      /* columns of LOGITS; 0: none */
};

/* An item that runs. */
struct tf_slot {
    int item;     /* of the batch */
    int row0, n;  /* rows */
    int64_t pos0; /* position of row0 */
    float *show;  /* OUT_ATTENTION: [layers][heads][n][n], or NULL */
    int block0;   /* encoders: its first block in scratch */
};

/* A wanted row. `row`: of the step, the last one of its slot for POOLED and
 * CLASS. */
struct tf_out {
    float *dst;
    size_t ld; /* to the next row of the same want */
    int slot, row;
};

struct tf_lane; /* scratch of one thread: transformer.c */
struct tf_unit; /* work of attention: transformer_attn.c */

struct tf_run {
    const struct tf_spec *spec;
    const struct exec *x;
    const struct kernels *k; /* x->k */
    struct batch *b;
    int n;       /* threads of this step */
    int n_rows;  /* token rows */
    int n_slots; /* items that run */
    struct tf_slot *slot;
    int32_t *token;   /* [n_rows] */
    int32_t *slot_of; /* [n_rows] */
    int32_t *pos;     /* [n_rows] */
    uint8_t *type;    /* [n_rows] token types, 0 where none were given */
    struct tf_out *logits, *hidden, *pooled, *cls; /* in item order */
    int n_logits, n_hidden, n_pooled, n_cls;
    /* inner parts */
    struct tf_lane *lane; /* [n] */
    float *spare;         /* rows of logits that cannot be written in place */
    float *blocks;        /* encoders: keys and values of a layer */
    struct tf_unit *unit;
    int n_units;
    atomic_int *next;  /* [n_layers] units taken */
    atomic_uchar *bad; /* [n_slots] */
};

/* tf_map: the plan's own arrays; the architecture then takes its own from the
 * same arena. t->spec must be set. The numbers are scratch_bytes'; n_threads
 * there, and x->n_threads in a step. */
void tf_map(struct tf_run *t, struct tf_arena *a, int max_items, int max_tokens,
            int max_rows, int n_threads);

/* tf_plan: checks the items (those that cannot run get their status), lists
 * rows and wanted rows and chooses the threads. Before it: set spec, x, k and
 * b, then tf_map over x->scratch with the batch's numbers. -1: the batch holds
 * more than it states. */
int tf_plan(struct tf_run *t, struct err *e);

/* tf_go: fn on the threads of the step (a plain call when n is 1), then the
 * items with a NaN or infinity in their rows fail (tf_logits and tf_hidden
 * look; tf_fail_slot is for the others). */
void tf_go(struct tf_run *t, pool_fn *fn, void *arg);
void tf_sync(struct tf_run *t);
void tf_fail_slot(struct tf_run *t, int slot);

/* tf_share: part tid of n of 0 .. total-1 in multiples of unit. */
void tf_share(int total, int unit, int tid, int n, int *from, int *to);
void tf_own_rows(const struct tf_run *t, int tid, int *r0, int *r1);

/* --- linear layers --- */

/* One tensor of a linear layer: rows row0 .. row0+N-1 of `name` [rows, K], or
 * of [K, rows] when transposed (GPT-2's Conv1D); rows 0 means N. bias: a
 * vector of `rows` elements, or NULL. */
struct tf_part {
    const char *name, *bias;
    int N, rows, row0;
    int transposed;
};

/* Several tensors over one input (query, key, value) are one layer: part i's
 * columns begin at at[i], a multiple of 16. Tensors of different types become
 * matrices of their own behind this. */
struct tf_linear {
    struct matrix w[TF_MAX_PARTS];
    int first[TF_MAX_PARTS]; /* column where w[i] begins */
    int n_w;
    int at[TF_MAX_PARTS];
    int N, K;    /* all columns, the last part's padding not counted */
    float *bias; /* [tf_pad(N)], or NULL */
    int fast;    /* 1: some matrix is multiplied the fast way */
    int bf16;    /* 1: BF16 matrices by the CPU's products of bf16 */
};

/* tf_linear_load: checks shapes, packs, drops the tensors' pages. `out` may be
 * given to tf_linear_fini in any case. o->exact decides on `fast`,
 * o->bf16 on `bf16`. */
int tf_linear_load(struct weights *w, const struct load_opts *o,
                   const struct tf_part *part, int n_part, int K,
                   struct tf_linear *out, struct err *e);
void tf_linear_fini(struct tf_linear *l);
size_t tf_linear_bytes(const struct tf_linear *l);

/* The rows that linear layers read, and their 8-bit form where one of these
 * layers is fast. */
struct tf_input {
    float *x; /* [m][ld] */
    size_t ld;
    int m, K;
    int fast;
    struct qrows q;
};
/* tf_input_map: room for so many rows; m is set to 0: set it before tf_go. */
void tf_input_map(struct tf_input *in, struct tf_arena *a, int rows, int K,
                  int fast);
/* tf_input_ready: rows r0 .. r1-1 of in->x are complete: quantises them when
 * `fast`. A row phase that fills in->x ends with it. */
void tf_input_ready(const struct tf_run *t, struct tf_input *in, int r0,
                    int r1);

/* tf_linear_run: y[r] = W x[r] + b for this thread's share of the columns, all
 * m rows; y [in->m][ldy] with tf_pad(N) columns. */
void tf_linear_run(const struct tf_run *t, int tid, const struct tf_linear *l,
                   const struct tf_input *in, float *y, size_t ldy);
/* tf_linear_add: res[r] += W x[r] + b; tmp is room of the same shape. */
void tf_linear_add(const struct tf_run *t, int tid, const struct tf_linear *l,
                   const struct tf_input *in, float *tmp, float *res,
                   size_t ld);

/* --- vectors and norms --- */

/* tf_vector: a tensor [n] as fp32, padded with zeros to tf_pad(n); name NULL:
 * *out is NULL. Free with mem_aligned_free. */
int tf_vector(struct weights *w, const char *name, int n, float **out,
              struct err *e);

struct tf_norm {
    float *w, *b; /* b NULL: none */
    int n;
    int rms; /* 1: RMSNorm, 0: LayerNorm */
    float eps;
};
/* tf_norm_load: `plus_one`: the weights are 1 + w (Gemma in HF's files). bias
 * may be NULL. */
int tf_norm_load(struct weights *w, const char *name, const char *bias, int n,
                 int rms, double eps, int plus_one, struct tf_norm *out,
                 struct err *e);
void tf_norm_fini(struct tf_norm *n);
/* tf_norm_rows: y[r] = norm(x[r]), rows r0 .. r1-1; y may be x. */
void tf_norm_rows(const struct tf_run *t, const struct tf_norm *n,
                  const float *x, size_t ldx, float *y, size_t ldy, int r0,
                  int r1);

/* --- rotary positions --- */

enum tf_rope_scaling { ROPE_PLAIN, ROPE_LINEAR, ROPE_LLAMA3 };

struct tf_rope_spec {
    int n_rot;    /* dimensions of a head that turn: even, <= d */
    int adjacent; /* pairs (2i, 2i+1), else (i, i + n_rot/2) */
    double base;  /* 10000 ... */
    enum tf_rope_scaling scaling;
    double factor;                            /* LINEAR and LLAMA3 */
    double low_freq_factor, high_freq_factor; /* LLAMA3 */
    double original_length;                   /* LLAMA3 */
    const float *divide; /* [n_rot/2] frequencies are divided by these (GGUF's
                            rope_freqs.weight), or NULL */
};
struct tf_rope {
    int n_rot, adjacent;
    double *freq; /* [n_rot / 2] */
};
int tf_rope_init(struct tf_rope *r, const struct tf_rope_spec *s,
                 struct err *e);
void tf_rope_fini(struct tf_rope *r);
/* tf_rope_table: cosines and sines of the rows' positions, once per step, own
 * rows: cs [n_rows][n_rot]. */
void tf_rope_table(const struct tf_run *t, const struct tf_rope *r, float *cs,
                   int r0, int r1);
/* tf_rope_row: turns n heads of size d, one after the other. cs: the table's
 * row. */
void tf_rope_row(const struct tf_run *t, const struct tf_rope *r,
                 const float *cs, int n_heads, int d, float *x);

/* --- attention --- */

/* tf_attn_layout: pages of a decoder. window: 0, or that of all layers when
 * every layer has one (older pages are then freed). */
void tf_attn_layout(const struct tf_spec *s, int window,
                    struct state_layout *out);

/* Attention of one layer over all rows of the step. q [n_rows][ldq]: heads of
 * d one after the other, k and v likewise with n_kv heads. y [n_rows][ldy]:
 * heads of d. Query at position p sees keys j <= p (causal) or all of its
 * item, and j > p - window. */
struct tf_attn {
    int layer;
    int causal;
    int window;  /* 0: none */
    float scale; /* of the scores: 1 / sqrt(d) */
    float cap;   /* 0, or cap * tanh(score / cap) */
    const float *q, *k, *v;
    size_t ldq, ldkv;
    float *y;
    size_t ldy;
};
/* tf_attn_store: own rows' keys and values into pages (or blocks). */
void tf_attn_store(const struct tf_run *t, const struct tf_attn *a, int r0,
                   int r1);
/* tf_attn_run: after a tf_sync; threads take (slot, rows, kv head) units.
 * Captures the weights of slots with `show`. */
void tf_attn_run(struct tf_run *t, int tid, const struct tf_attn *a);

/* --- wanted rows --- */

/* tf_gather: rows of `out` (t->logits, t->n_logits, say) of x, normed (norm
 * may be NULL), into in->x, this thread's share of them, and tf_input_ready.
 * in->m must be n_out. */
void tf_gather(const struct tf_run *t, int tid, const struct tf_out *out,
               int n_out, const float *x, size_t ldx,
               const struct tf_norm *norm, struct tf_input *in);
/* tf_logits: after a tf_sync: the product over t->logits into the callers'
 * rows, own columns; cap > 0: cap * tanh(y / cap). Marks slots with NaN. */
void tf_logits(struct tf_run *t, int tid, const struct tf_linear *l,
               const struct tf_input *in, float cap);
/* tf_hidden: t->hidden from x, normed (or NULL), this thread's share. */
void tf_hidden(struct tf_run *t, int tid, const float *x, size_t ldx,
               const struct tf_norm *norm);

#endif
