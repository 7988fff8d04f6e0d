/* arch: the whole contract between engine/ and models/. An architecture is a
 * const struct model_arch; step() is the one operation: "append these tokens
 * to these sequences, give me these output rows". Recurrent nets and
 * Transformers alike: ragged batches, no padding.
 *
 * A sequence's state is `fixed_bytes` of pointer-free memory (may be 0) plus,
 * for architectures with streams, pages that the engine owns: page i of a
 * stream holds the tokens at positions i * page_tokens and on. Before step the
 * engine has reserved pages for len + n tokens and made those that step may
 * write private; full pages before them may be shared by several sequences
 * and are read-only. step writes only positions len .. len+n-1. A new page's
 * content is undefined. step() reads fixed_in and writes fixed_out; the runner
 * swaps them when the item's status is 0, so an item that fails (a NaN row,
 * scratch that cannot grow) leaves its sequence as it was and harms no
 * neighbour. fixed_in of an empty sequence (len 0) is all zero bytes.
 *
 * Everything here is read-only to architectures but what the comments say.
 *
 * SPDX-License-Identifier: MIT */
#ifndef SEQD_ARCH_H
#define SEQD_ARCH_H

#include <stddef.h>
#include <stdint.h>

#include "engine/base/err.h"
#include "engine/checkpoint/hparams.h"
#include "engine/checkpoint/weights.h"
#include "engine/compute/kernels.h"
#include "engine/compute/threadpool.h"

/* What a checkpoint can do; also the bits of a request's need. */
#define TASK_NEXT 1u     /* next token: /predict */
#define TASK_CLASSIFY 2u /* one label for a text: /sentiment */
#define TASK_GENERATE 4u /* continuation: /generate */
#define TASK_EMBED 8u    /* one vector for a text: /v1/embeddings */
#define TASK_FILL 16u    /* masked word: /predict with one mask token */

/* struct model_arch.flags */
#define ARCH_WHOLE_INPUT                                                       \
    1u /* whole spans only: never chunked (per load: see
                               model_info.flags) */
#define ARCH_CAN_TRUNCATE 2u

struct exec {
    const struct kernels *k;
    struct pool *pool; /* held by the runner for this step */
    void *scratch;     /* scratch_bytes(...) bytes, 64-byte aligned */
    int n_threads;     /* threads to use, <= pool_threads(pool) */
};

struct stream_layout {
    int page_tokens;
    size_t page_bytes;
    int window; /* local attention frees older pages; 0: none */
    unsigned flags;
};

/* page_tokens of all Transformers here: one block of keys (ATTN_KEYS). A page
 * is a multiple of 64 bytes and 64-byte aligned. */
#define MAX_STREAMS 2 /* 0 target, 1 source */
struct state_layout {
    size_t fixed_bytes; /* multiple of 64 */
    int n_streams;      /* 0 for recurrent nets */
    struct stream_layout stream[MAX_STREAMS];
};

/* A sequence as the architecture sees it. */
struct seq_state {
    int64_t len[MAX_STREAMS]; /* tokens already in the state; recurrent nets
                                 count in len[0] */
    void **pages[MAX_STREAMS];
};

struct span {
    enum span_kind { IN_TOKENS, IN_VECTORS } kind;
    const void *p; /* int32_t ids, or n rows of floats */
    int n;
    const uint8_t *type; /* token types, NULL for none */
};

/* A wanted output: rows from .. from+n-1 of the span (rows are positions of
 * this span). dst [n][ld] floats. CLASS and POOLED are of the whole sequence
 * so far: from and n are ignored, one row. LOGITS has V columns, CLASS
 * n_labels (raw scores before softmax), HIDDEN and POOLED the model's width
 * (POOLED: the sentence embedding as the checkpoint states it, normalised if
 * it says so). ATTENTION: the weights of all layers and heads, dst
 * [n_layers][n_heads][n][n] floats without padding (ld is ignored), element
 * [.][.][i][j] that of position i for j, 0 where it may not look; only for
 * spans that hold the whole sequence (len 0), n <= MODEL_MAX_SHOWN. Such an
 * item gets its own memory, not rows of the common block.
 * The runner lays the rows of one step out so that the wants of a batch, in
 * item order, follow each other ld apart in one 64-byte aligned block (ld a
 * multiple of 16): a product may write them in place. */
struct want {
    enum want_kind {
        WANT_LOGITS,
        WANT_HIDDEN,
        WANT_POOLED,
        WANT_CLASS,
        WANT_VALUE,
        WANT_ATTENTION
    } kind;
    int from, n;
    float *dst;
    size_t ld;
};

struct batch_item {
    struct seq_state *seq; /* read-only here */
    const void *fixed_in;
    void *fixed_out; /* never equal to fixed_in */
    struct span in;
    int stream;
    struct want *w;
    int n_w;
    int status; /* out: 0, or -1 with reason in `fail` */
    enum err_code fail;
};

struct batch {
    struct batch_item *item; /* at most one item per sequence */
    int n_item;
    int n_tokens; /* sum of in.n */
    int n_rows;   /* wanted rows in all */
};

#define MODEL_MAX_LABELS 1024
#define MODEL_MAX_SHOWN 64 /* tokens whose attention may be looked at */

/* What the raw scores of CLASS are turned into: one label of several, labels
 * that do not exclude each other, or numbers as they are (a regression). */
enum score_kind { SCORE_SOFTMAX, SCORE_SIGMOID, SCORE_RAW };

/* What load() tells the engine about a checkpoint. Strings are borrowed from
 * hparams (which the engine keeps open) or static. */
struct model_info {
    unsigned tasks; /* TASK_* */
    unsigned flags; /* ARCH_* as they apply to this checkpoint */
    int n_vocab;    /* columns of LOGITS, 0 when none */
    int n_labels;   /* columns of CLASS, 0 when none */
    const char *labels[MODEL_MAX_LABELS]; /* id2label */
    enum score_kind scores;               /* of TASK_CLASSIFY */
    int width;                            /* columns of HIDDEN, POOLED */
    int n_layers, n_heads;                /* of attention to look at; 0: none */
    int fast;               /* 1: block types are multiplied the fast way */
    int64_t context_length; /* 0: none of its own */
    int max_chain;          /* longest chunk of one item in one step: time steps
                            for recurrent nets (8-16); 0: no limit */
    uint64_t parameters;
    uint64_t token_flops; /* work of one input token without wanted rows, for
                             the choice of threads; 0: 2 x parameters */
    uint64_t row_flops;   /* work of one wanted row (LOGITS: 2 V width) */
    size_t memory_bytes;  /* packed weights and tables now held */
    const char *summary; /* "lstm 128-256x1" for logs and /info; static or owned
                            by self */
};

struct load_opts {
    const char *label; /* the model's name, for messages */
    const struct kernels *k;
    size_t fold_bytes;     /* most bytes a folded table may take; 0: none */
    int n_vocab_tokenizer; /* entries of tokenizer.json, 0: none */
    int exact; /* 1: fp32 activations also over block types (--path exact) */
    int bf16;  /* 1: bf16 products over BF16 weights, where the CPU has them */
    const char *path; /* of the checkpoint, for files beside it (pooling);
                         never in messages */
};

struct model_arch {
    const char *name;           /* "rnn": config.json's model_type */
    const char *const *aliases; /* NULL-terminated, or NULL */
    int (*load)(const struct load_opts *o, struct weights *w,
                const struct hparams *h, struct model_info *info, void **self,
                struct err *e);
    void (*unload)(void *self);
    /* warm: work that may follow after ready, in a background thread (folding
     * a table). Publishes its result atomically; answers have the same bits
     * before and after. *stop becomes 1 when the model is being unloaded: poll
     * it with __atomic_load_n. x has one thread and no scratch. May be NULL.
     * Adds to info's memory through *memory_bytes. */
    void (*warm)(void *self, const struct exec *x, const int *stop,
                 size_t *memory_bytes);
    void (*layout)(const void *self, struct state_layout *out);
    /* Upper bound for a step of at most max_tokens tokens in max_items items
     * with at most max_rows wanted rows. */
    size_t (*scratch_bytes)(const void *self, int max_items, int max_tokens,
                            int max_rows, int n_threads);
    /* step: 0 even when single items failed (their status says so); -1 when
     * the whole step could not run. */
    int (*step)(const void *self, const struct exec *x, struct batch *b,
                struct err *e);
};

#endif
