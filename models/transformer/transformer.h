/* transformer: the frame of all Transformers. An architecture is one file: its
 * equations, tables of tensors and keys, what it reads of a configuration (and
 * refuses), and its block, written out in verbs. All else is here, once for
 * all: loading, memory, the plan of a step (ragged rows, no padding), threads.
 *
 * A step is one pool_run: every thread runs the same verbs from the embedding
 * to the last product. A verb works on row sets (X, IN ...: one row for each
 * token of the step, or for each wanted row) and knows who touches what: a
 * thread its own rows, its own columns, or anything. Where one verb touches
 * what another wrote under another kind of ownership, the threads meet first;
 * an input that a product reads in 8 bits is quantised before that. So no
 * architecture places a barrier, and none can forget one.
 *
 * An encoder-decoder is two stacks: the decoder's `source` reads port 1 and
 * keeps, for each layer of the decoder, keys and values of the source in pages
 * of that port, once; the decoder looks at them as often as it goes on. A step
 * runs the sources of some texts first, then the targets of others.
 *
 * A stack that was loaded is measured: its verbs run once without numbers and
 * say how wide each row set is, which are quantised, how often threads meet and
 * how many multiply-adds a token takes.
 *
 * transformer.c is the plan of a step, transformer_load.c what a stack is made
 * of, transformer_verbs.c and transformer_product.c the verbs,
 * transformer_layer.c linear layers, norms and rotary positions,
 * transformer_attn.c attention. names.h holds how files call things.
 *
 * SPDX-License-Identifier: MIT */
#ifndef SEQD_TRANSFORMER_H
#define SEQD_TRANSFORMER_H

#include <stddef.h>
#include <stdint.h>

#include "engine/compute/kernels.h"
#include "engine/compute/matrix.h"

#define TF_MAX_PARTS 4 /* tensors of one linear layer */
#define TF_MAX_LAYERS 512
#define TF_MAX_ROPES 2
#define TF_MAX_POSITIONS (1 << 24)
#define TWO_PI 6.283185307179586 /* of a turn */

struct names;
struct tf;

/* --- what an architecture states --- */

/* Sizes of a stack. HEADS_DIM and KV_DIM are columns of queries and keys. */
enum tf_dim {
    NO_DIM,
    VOCAB,
    WIDTH,
    LAYERS,
    HEADS,
    KV_HEADS,
    HEAD_DIM,
    INNER,
    POSITIONS,
    TYPES,
    LABELS,
    HEADS_DIM,
    KV_DIM,
    EMBED_WIDTH, /* of tables that are narrower than the layers */
    EMBED_ROWS,  /* of an EMBEDDING that may have more than VOCAB */
    N_DIMS
};

/* A tensor by its names in Hugging Face's files and in GGUF, without ".weight":
 * a matrix [n, k] or, k left out, the weights of a norm [n]. Rows that follow
 * each other with the same `part` are one product (query, key and value), whose
 * columns begin at multiples of 16. A table ends with TENSORS_END. */
#define TENSORS_END                                                            \
    {                                                                          \
        .hf = NULL                                                             \
    }
struct tensor_row {
    int part; /* its place in the weights of a layer: the verbs' `part` */
    const char *hf, *gguf;
    enum tf_dim n, k;
    unsigned bias; /* it has one: ALWAYS, or when any bit of stack.has is set */
    unsigned when; /* it is there: always, or by a bit of stack.has */
    unsigned how;
    const char *hf_bias; /* whole name of the bias, if there is such a tensor */
};
#define ALWAYS 1u /* bit of stack.has: others are the architecture's */
enum tensor_how {
    TABLE = 1,      /* of a stack: rows are read where they lie in the file */
    BARE = 2,       /* HF: no prefix in front of the name */
    TRANSPOSED = 4, /* HF: [k, n] (GPT-2's Conv1D) */
    THREE = 8,      /* one tensor [3 n, k]: query, key and value */
    BY_HEAD = 16,   /* HF, with THREE: head after head, each q, k, v */
    FUSED = 32,     /* the rows of a part are one tensor, one after the other */
    WHOLE_NAME = 64 /* HF: hf is all of the tensor's name and hf_bias of its
                       bias's, '#' in them the layer, counted from 1 */
};

/* Parts of a stack's own table; an architecture may go on from TF_TOP. */
enum {
    EMBEDDING, /* rows by token */
    EMBED_POSITION,
    EMBED_TYPE,
    EMBED_NORM,
    FINAL_NORM,
    OUTPUT, /* to logits: the embedding's matrix when the stack is tied */
    TF_TOP
};

enum tf_output { LOGITS, HIDDEN, POOLED, CLASS, TF_OUTPUTS };

struct tf_norm {
    float *w, *b; /* b NULL: none */
    int n;
    int rms; /* 1: RMSNorm, 0: LayerNorm */
    float eps;
};

/* How activations are quantised for a product: not, with a scale per block, or
 * per row (matrix.h). tf_faster: for both of two products. */
enum tf_fast { FAST_NONE, FAST_BLOCKS, FAST_ROWS };
static inline enum tf_fast tf_faster(enum tf_fast a, enum tf_fast b)
{
    return !a || (b && b < a) ? b : a;
}

/* Several tensors over one input (query, key, value) are one layer: part i's
 * columns begin at at[i], a multiple of 16. Tensors of different types become
 * matrices of their own behind this. */
struct tf_linear {
    struct matrix w[TF_MAX_PARTS];
    int first[TF_MAX_PARTS]; /* column where w[i] begins */
    int n_w;
    int at[TF_MAX_PARTS];
    int N, K;          /* all columns, the last part's padding not counted */
    int outputs;       /* columns without any padding */
    float *bias;       /* [tf_pad(N)], or NULL */
    enum tf_fast fast; /* as some matrix is multiplied */
    int bf16;          /* 1: BF16 matrices by the CPU's products of bf16 */
};

/* One of the three, by the table's row. */
struct weight {
    struct tf_linear linear;
    struct tf_norm norm;
    const struct tensor *table;
};

enum tf_rope_scaling {
    ROPE_PLAIN,
    ROPE_LINEAR,
    ROPE_LLAMA3,
    ROPE_YARN,
    ROPE_DYNAMIC /* as ROPE_PLAIN, and no positions from original_length on */
};

struct tf_rope_spec {
    int n_rot;    /* dimensions of a head that turn: even, <= its size */
    int adjacent; /* pairs (2i, 2i+1), else (i, i + n_rot/2) */
    double base;  /* 10000 ... */
    enum tf_rope_scaling scaling;
    double factor;                            /* LINEAR, LLAMA3 and YARN */
    double low_freq_factor, high_freq_factor; /* LLAMA3 */
    double original_length;                   /* LLAMA3, YARN and DYNAMIC */
    double ramp[2];   /* YARN: pairs up to the first keep their frequency, those
                         from the second on are slowed down by `factor` */
    double magnitude; /* YARN: of queries and keys once turned */
    const float *divide; /* [n_rot/2] frequencies are divided by these (GGUF's
                            rope_freqs.weight), or NULL */
};
struct tf_rope {
    int n_rot, adjacent;
    double *freq; /* [n_rot / 2] */
    double magnitude;
    int stretched; /* YARN: positions that it is made for, else 0 */
    int most;      /* DYNAMIC: positions that there are, else 0 */
};
int tf_rope_init(struct tf_rope *r, const struct tf_rope_spec *s,
                 struct err *e);

/* Row sets. Those from TOP on have a row for each wanted row, as `gather`
 * says; an architecture names more of its own from MORE_ROWS on. */
enum {
    X,  /* the residual stream */
    IN, /* what a product reads */
    QKV_ROWS,
    ATT,
    GATE,
    FFN,
    AFTER, /* what a product gives that is normed before it is added */
    TOP,
    MID,
    SCORES, /* of labels */
    MORE_ROWS,
    TF_TMP = 14,   /* the verbs' own */
    TF_PAGES = 15, /* keys and values */
    TF_SETS
};

struct tf_set {           /* as measured */
    int width;            /* columns; rows lie tf_pad(width) apart */
    int wanted;           /* a row for each wanted row, not for each token */
    enum tf_fast fast;    /* read in 8 bits, too */
    int at[TF_MAX_PARTS]; /* columns where the parts begin */
};

/* A stack of layers. */
struct stack {
    const struct stack_kind *kind;
    struct stack *source;       /* kind->source's, or NULL */
    const struct stack *target; /* of a source: the decoder that looks at it */
    /* read_config states: */
    int dim[N_DIMS];
    double eps;
    int plus_one; /* weights of norms are 1 + w */
    int tied;     /* OUTPUT is the embedding's matrix */
    unsigned has; /* ALWAYS and bits of the architecture's own */
    double scale; /* of attention scores; 0: 1 / sqrt(HEAD_DIM) */
    struct {
        float *add; /* [HEADS][2 reach + 1] what is added to the score of a key
                       that is so far from the query, from -reach on; farther
                       ones count as that far. NULL: none; the frame frees it */
        int reach;
    } near;
    float cap;                 /* 0, or scores are cap * tanh(score / cap) */
    float out_cap;             /* the same of logits */
    int window[TF_MAX_LAYERS]; /* 0: none */
    struct tf_rope rope[TF_MAX_ROPES];
    enum tf_output output; /* besides HIDDEN */
    int blocks;            /* sets of weights, each of LAYERS / blocks layers
                              in a row; 0: LAYERS, one for each */
    int max_len;           /* positions: longer items fail; 0: POSITIONS */
    int context;           /* advertised limit, 0: max_len */
    struct {
        const char *name; /* `own`, or borrowed from config.json */
        char own[24];
    } * label; /* CLASS: [LABELS]; the frame frees it */
    enum { ONE_OF, ANY_OF, NUMBERS } scores; /* of CLASS */
    int padding;      /* CLASS of decoders: 1 + the id of the token that does
                         not count at the end of a text, 0: none */
    const char *note; /* ends the summary, or NULL */
    int cells; /* numbers of a layer that `cells_add` carries from token to
                  token; the decoder then keeps no keys and values of its own */
    int blank; /* 1: a target begins with the token VOCAB, whose row of
                  EMBEDDING is zero */
    int free_places; /* BART: so many rows of EMBED_POSITION come before that
                         of position 0 */
    double *wave;    /* [(WIDTH + 1) / 2] what positions are divided by for
                         `wave_add`, or NULL; the frame frees it */
    float *waves;    /* [n_waves][WIDTH] rows of the first positions, made by
                         the frame where there is a `wave` */
    int n_waves;
    int first_place; /* RoBERTa: positions begin here, behind that of the
                        padding token (first_place - 1), which keeps its own */
    const struct tensor_row *top_rows, *block_rows; /* kind's, or others */
    const struct tensor_row *head_rows; /* more of the stack's own, or NULL */
    void *own;                          /* kind->own_bytes, zero */
    /* the frame's */
    struct weight *top, *layer; /* [n_top], [blocks][n_parts] */
    int n_top, n_parts;
    struct tf_set set[TF_SETS];
    int syncs; /* of a step */
    double token_macs, row_macs;
    const char *wrong; /* measured: what a verb was asked for and cannot do */
    char summary[96];
};

/* What an architecture is: `const struct stack_kind NAME_kind` of its file, and
 * a line in archs.h. */
struct stack_kind {
    const char *prefix; /* HF: in front of all names but BARE ones, or not */
    const char *layers; /* HF: "layers." of "model.layers.0.mlp..." */
    const struct tensor_row *top, *block;
    const char *const *ignored; /* ends of names of tensors that no step needs;
                                   NULL: there are none */
    int rms;                    /* norms are RMSNorm, else LayerNorm */
    int whole; /* encoders: whole inputs, no pages; else a decoder's pages */
    /* Encoder-decoders: the encoder, whose head calls `keep`. Its read_config
     * comes after the decoder's and finds it in stack.target. */
    const struct stack_kind *source;
    size_t own_bytes;
    int (*read_config)(struct stack *s, struct names *n, struct err *e);
    void (*embed)(struct tf *t); /* NULL: rows of EMBEDDING */
    void (*run)(struct tf *t, const struct weight *w, int layer);
    void (*head)(struct tf *t); /* NULL: logits, or scores of labels, of
                                   FINAL_NORM, OUTPUT */
};

/* --- verbs: for embed, block and head --- */

/* The view of one thread. */
const struct stack *tf_stack(const struct tf *t);

/* `to` = the tokens' rows of a TABLE (EMBEDDING, EMBED_POSITION, EMBED_TYPE);
 * lookup_add: to += them, where there is such a table and row. */
void lookup(struct tf *t, int table, int to);
void lookup_add(struct tf *t, int table, int to);
void scale(struct tf *t, float by, int rows);
/* to += sines and cosines of the position (Vaswani et al. 2017, section 3.5),
 * the sines first, by stack.wave. */
void wave_add(struct tf *t, int to);
/* tf_wave: sets it for a stack's WIDTH. */
int tf_wave(struct stack *s, struct err *e);

/* `w` are the weights of a layer, or tf_stack(t)->top. norm_add: to +=
 * norm(from), whose rows it may change. norm_heads: the heads of queries
 * (which 0) or keys (1), in place. */
void norm(struct tf *t, const struct weight *w, int part, int from, int to);
void norm_add(struct tf *t, const struct weight *w, int part, int from, int to);
void norm_heads(struct tf *t, const struct weight *w, int part, int rows,
                int which);

/* to = W from + b, never in place; linear_add: to += W from + b. */
void linear(struct tf *t, const struct weight *w, int part, int from, int to);
void linear_add(struct tf *t, const struct weight *w, int part, int from,
                int to);

/* Rotary positions by stack.rope[rope] on queries and keys. */
void rotate(struct tf *t, int rope, int rows);

/* Attention of a layer: `rows` hold queries, keys and values (a product of
 * three parts), `to` gets heads one after the other. The query at position p
 * sees keys j <= p (causal) or all of its item, and j > p - window. */
struct attend {
    int layer, causal, window;
    int source;   /* keys and values are those that the source keeps for this
                     layer: `rows` hold queries alone; near is not added */
    double scale; /* 0: the stack's */
};
void attend(struct tf *t, const struct attend *a, int rows, int to);

/* For the head of a source. tf_reader: the weights of a layer of the decoder;
 * keep: `rows` (a product of two parts) are the keys and values of the source
 * for that layer. */
const struct weight *tf_reader(const struct tf *t, int layer);
void keep(struct tf *t, int layer, int rows);

/* In place; gate: to = act(first part) * (second part). */
enum tf_act { GELU, GELU_TANH, RELU, TANH, SILU };
void activate(struct tf *t, enum tf_act act, int rows);
/* gate: SILU and GELU_TANH alone. */
void gate(struct tf *t, enum tf_act act, int from, int to);

/* The recurrence of a layer (SSRU, Kim et al. 2019), of each item's rows in
 * their order: `rows` are a product of two parts, a and b, of `cells` columns:
 * c <- s(a) c + (1 - s(a)) b, from zero, and `to` += max(c, 0). */
void cells_add(struct tf *t, int layer, int rows, int to);

struct sentence;

/* Wanted rows: gather copies those of `out` from the tokens' rows, normed by a
 * part of the stack (or -1). The others write into the callers' memory, and
 * rows with a NaN or infinity fail their item: answer_hidden from the tokens'
 * rows, normed or not; answer_pooled those of an item as one; answer_logits a
 * product, cap > 0: cap * tanh(y / cap); answer_class `from` as it is. */
void gather(struct tf *t, enum tf_output out, int part, int from, int to);
void answer_hidden(struct tf *t, int part, int from);
void answer_pooled(struct tf *t, const struct sentence *p, int from);
void answer_logits(struct tf *t, int part, int from, float cap);
void answer_class(struct tf *t, int from);

#endif
