/* arch: the whole contract between engine/ and models/. An architecture is a
 * const struct model_arch; step() is the one operation: "append these rows to
 * these sequences, give me these outputs". Recurrent nets and Transformers
 * alike: ragged batches, no padding.
 *
 * What goes in enters by a port: tokens, or vectors (patches of a picture, a
 * series, features). Port 0 is the one that is read and continued; an
 * encoder-decoder has port 1 besides, the source that port 0 looks at. What
 * comes out is of a few kinds (enum out), each with so many columns. Neither
 * side knows what for: a task (engine/run/task/) states what it needs.
 *
 * A sequence's state is `fixed_bytes` of pointer-free memory (may be 0) plus,
 * for ports that keep something, pages that the engine owns: page i of a port
 * holds the rows at positions i * page_tokens and on. Before step the engine
 * has reserved pages for len + n rows of the item's port and made those that
 * step may write private; all other pages may be shared by several sequences
 * and are read-only. step writes only positions len .. len+n-1 of that port. A
 * new page's content is undefined. step() reads fixed_in and writes fixed_out;
 * the runner swaps them when the item's status is 0, so an item that fails (a
 * NaN row, scratch that cannot grow) leaves its sequence as it was and harms no
 * neighbour. fixed_in of an empty sequence (all lengths 0) is all zero bytes.
 * A source is complete before the first item of port 0 is built.
 *
 * Everything here is read-only to architectures but what the comments say.
 *
 * SPDX-License-Identifier: MIT */
#ifndef SEQD_ARCH_H
#define SEQD_ARCH_H

#include <stddef.h>
#include <stdint.h>

#include "engine/base/err.h"
#include "engine/base/mem.h"
#include "engine/checkpoint/checkpoint.h"
#include "engine/compute/kernels.h"
#include "engine/compute/threadpool.h"
#include "engine/run/engine_options.h"

struct exec {
    const struct kernels *k;
    struct pool *pool; /* held by the runner for this step */
    void *scratch;     /* scratch_bytes(...) bytes, 64-byte aligned */
    int n_threads;     /* threads to use, <= pool_threads(pool) */
};

enum unit { UNIT_TOKENS, UNIT_VECTORS }; /* what a port takes */

#define MAX_PORTS 2
#define PORT_TARGET 0 /* read, and continued where the outputs are tokens */
#define PORT_SOURCE 1 /* encoder-decoders: what the target is made from */

struct port {
    const char *name; /* "text", "source", "pixels": static or self's */
    enum unit unit;
    int width; /* floats of a row of vectors; 0 for tokens */
    int n_ids; /* tokens that it knows, 0 .. n_ids - 1, where a tokenizer may
                  have more; 0: all of the tokenizer's */
    int whole; /* looks both ways: its rows come in one item, never cut and
                  never continued */
    int64_t context_length; /* rows that it can hold; 0: no limit of its own */
    /* Pages of what is kept of each row; page_tokens 0: nothing is. All
     * Transformers here have one block of keys (ATTN_KEYS) a page. */
    int page_tokens;
    size_t page_bytes; /* multiple of 64; pages are 64-byte aligned */
    int window;        /* local attention frees older pages; 0: none */
};

struct state_layout {
    size_t fixed_bytes; /* multiple of 64 */
    int n_ports;
    struct port port[MAX_PORTS];
};

/* A sequence as the architecture sees it. */
struct seq_state {
    int64_t len[MAX_PORTS]; /* rows of each port already in the state */
    void **pages[MAX_PORTS];
};

struct span {
    enum unit unit;
    int n;               /* rows */
    const void *p;       /* int32_t ids [n], or floats [n][width] */
    const uint8_t *type; /* token types [n], NULL for none */
};

enum out {
    OUT_LOGITS,
    OUT_HIDDEN,
    OUT_POOLED,
    OUT_CLASS,
    OUT_VALUE,
    OUT_ATTENTION,
    N_OUT
};

/* A wanted output: rows from .. from+n-1 of the span (rows are positions of
 * this span), dst [n][ld] floats, model_info.cols columns. CLASS and POOLED are
 * of the whole sequence so far: from and n are ignored, one row (but see
 * class_padding). LOGITS are of the row that follows (of the row itself where
 * the port is whole), CLASS raw scores before softmax, HIDDEN and POOLED the
 * model's width (POOLED: the sentence embedding as the checkpoint states it,
 * normalised if it says so), VALUE numbers in the units of the data. ATTENTION:
 * the weights of all layers and heads, dst [n_layers][n_heads][n][m] floats
 * without padding (ld is ignored), element [.][.][i][j] that of row i of the
 * span for j, 0 where it may not look; n, m <= MODEL_MAX_SHOWN. Of models with
 * a source j is a row of it (m: its length) and the span is any of port 0's;
 * of all others m is n and the span holds the whole sequence (len 0). Such a
 * want gets its own memory, not rows of the common block. The runner lays the
 * rows of one step out so that the wants of a batch, in item order, follow each
 * other ld apart in one 64-byte aligned block (ld a multiple of 16): a product
 * may write them in place. */
struct want {
    enum out kind;
    int from, n;
    float *dst;
    size_t ld;
};

struct batch_item {
    struct seq_state *seq; /* read-only here */
    const void *fixed_in;
    void *fixed_out; /* never equal to fixed_in */
    int port;        /* that `in` is appended to */
    struct span in;
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

/* The most that a step may hold. */
struct step_size {
    int items;
    int tokens[MAX_PORTS]; /* rows that enter, by port */
    int rows;              /* wanted ones */
    int threads;
    int64_t longest; /* rows of a port that one of its sequences has at its end:
                        what there is, not what a checkpoint would allow */
};

#define MODEL_MAX_LABELS 1024
#define MODEL_MAX_SHOWN 64 /* tokens whose attention may be looked at */

/* What the raw scores of CLASS are turned into: one label of several, labels
 * that do not exclude each other, or numbers as they are (a regression). */
enum score_kind { SCORE_SOFTMAX, SCORE_SIGMOID, SCORE_RAW };

#define MOST_BEAMS 16
/* When a beam search is over, once there are as many hypotheses as beams
 * (beam_search.h). */
enum beam_stop { BEAM_STOP_ESTIMATE, BEAM_STOP_FULL, BEAM_STOP_NEVER };

/* What a checkpoint with a source says of its targets (target_rules.h); tokens
 * are -1 where it says nothing. What ends a target is the tokenizer's. */
#define MODEL_MAX_NEVER 8
#define MODEL_UNHEEDED_BYTES 256
struct target_rules {
    int start;        /* the first of each; what is made of it follows */
    int forced_first; /* made first, whatever the row says */
    int forced_last;  /* made last where the most tokens are reached */
    int n_never;      /* never made: */
    int32_t never[MODEL_MAX_NEVER];
    int min_new;     /* tokens before the end may come */
    int no_repeat;   /* as many tokens in a row come once, the start among them;
                        0: any number of times */
    int renormalize; /* 1: the rest of a row without what is never made adds up
                        to 1 in a search's scores */
    /* Where a request says nothing: */
    int beams;   /* of a search; 0: nothing */
    int max_new; /* tokens, the end included; 0: nothing */
    double length_penalty;
    enum beam_stop stop;
    char unheeded[MODEL_UNHEEDED_BYTES]; /* "key, key": of what is said, and
                                            would change answers, that which
                                            is not done */
};

/* What a checkpoint says of texts that are drawn, where a request does not
 * (target_rules.h): -1 where it says nothing. */
struct sample_rules {
    double temperature; /* 0: greedy */
    double top_p;
    int top_k;   /* 0: off */
    int max_new; /* tokens; 0: nothing is said */
};

/* What load() tells the engine about a checkpoint. Strings are borrowed from
 * the checkpoint's hparams or static. */
struct model_info {
    struct state_layout state;
    int cols[N_OUT]; /* columns of each kind; 0: not answered. ATTENTION: 1 */
    const char *labels[MODEL_MAX_LABELS]; /* of CLASS: id2label */
    enum score_kind scores;               /* of CLASS */
    /* CLASS where tokens of the id class_padding - 1 end a sequence: that of
     * the last other token, else of the first one, from the item that holds
     * it. 0: no such tokens. */
    int class_padding;
    int n_layers, n_heads; /* of ATTENTION */
    struct target_rules target;
    struct sample_rules sample; /* read by the engine */
    int fast;                   /* 1: block types are multiplied the fast way */
    int max_chain; /* longest chunk of one item in one step: time steps
                            for recurrent nets (8-16); 0: no limit */
    uint64_t parameters;
    uint64_t token_flops; /* work of one input token without wanted rows, for
                             the choice of threads; 0: 2 x parameters */
    uint64_t row_flops;   /* work of one wanted row (LOGITS: 2 V width) */
    size_t memory_bytes;  /* packed weights held */
    const char *summary; /* "lstm 128-256x1" for logs and /info; static or owned
                            by self */
};

struct load_opts {
    const char *label; /* the model's name, for messages */
    const struct kernels *k;
    const struct engine_options *options; /* exact, bf16 ... */
    /* Bytes that the process has for tables that models make of their weights
     * while they serve; NULL: none. What is taken is given back in unload. */
    struct mem_budget *tables;
    int n_vocab_tokenizer; /* entries of the tokenizer, 0: none */
};

struct model_arch {
    const char *name;           /* "rnn": config.json's model_type */
    const char *const *aliases; /* NULL-terminated, or NULL */
    /* load: the engine keeps the checkpoint open until unload. */
    int (*load)(const struct load_opts *o, struct checkpoint *c,
                struct model_info *info, void **self, struct err *e);
    void (*unload)(void *self);
    /* table_bytes: what is held of load_opts.tables now; any thread. NULL for
     * architectures without tables. Steps fill them by need, and an answer has
     * the same bits whether a row was there or not. */
    size_t (*table_bytes)(const void *self);
    /* scratch_bytes: upper bound for steps up to this size. */
    size_t (*scratch_bytes)(const void *self, const struct step_size *most);
    /* step: 0 even when single items failed (their status says so); -1 when
     * the whole step could not run. */
    int (*step)(const void *self, const struct exec *x, struct batch *b,
                struct err *e);
};

#endif
