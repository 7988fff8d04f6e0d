/* fake_arch: a toy recurrence for tests of the engine. Its state is one
 * 32-bit number that folds in every token, its outputs are hashes of that
 * number, so a test computes the right answer of any input by itself in a few
 * lines. Some token ids make it misbehave. Fake, but a full citizen: it checks
 * what the engine promises to architectures (spans, states, scratch, rows) and
 * counts violations.
 *
 * SPDX-License-Identifier: MIT */
#ifndef SEQD_FAKE_ARCH_H
#define SEQD_FAKE_ARCH_H

#include <stdatomic.h>

#include "engine/run/arch.h"

/* The vocabulary of fake_dir(): id 0 unknown, 1 begin, 2 end, then words. */
enum {
    FAKE_UNK,
    FAKE_BOS,
    FAKE_EOS,
    FAKE_NAN,      /* rows from here on are NaN */
    FAKE_INF,      /* ... or hold an infinity */
    FAKE_ITEM,     /* this item fails with ERR_INTERNAL */
    FAKE_ITEM_OOM, /* ... with ERR_NOMEM */
    FAKE_STEP,     /* the whole step fails */
    FAKE_SLOW,     /* the step takes a millisecond longer */
    FAKE_WORD      /* first ordinary word */
};

#define FAKE_TABLE_BYTES 1000

enum { FAKE_LOGITS = 1, FAKE_CLASS = 2 };

struct fake_config {
    int n_vocab;  /* 0: 64 */
    int n_labels; /* 0: 3 */
    int max_chain;
    int whole;      /* the port is whole */
    int chain;      /* greedy text after word i is word i + 1, then the end */
    int context;    /* context length, 0 none */
    int flops;      /* token_flops; 0: 1 */
    int page;       /* the state is in pages of so many tokens; 0: fixed */
    int page_bytes; /* 0: the least */
    int window;     /* of the pages: rows depend on so many last tokens */
    int attention;  /* heads (of 2 layers) to look at; 0: none */
    int outputs;    /* FAKE_LOGITS, FAKE_CLASS; 0: both */
    const char *record;       /* seqd_record; NULL: it is not said */
    const char *const *words; /* entries from FAKE_WORD on; NULL: "w9" ... */
    int n_words;
    const char *normalizer; /* NULL: "seqd-whitespace" */
    int no_add_bos;         /* there is a begin token, no text gets it */
    const char *more;       /* members of config.json: ",\"key\":1" */
    const char *constraint; /* seqd_constraint; NULL: it is not said */
    int bpe; /* words are those of a byte-level BPE, in GPT-2's alphabet */
};

/* fake_dir: a checkpoint directory (temp_dir.h) at path [64]; fake_files: one
 * of this config.json, with the tokenizer of c, if any. Failures fail the test.
 * */
void fake_dir(const struct fake_config *c, char *path);
void fake_files(const struct fake_config *c, const char *config, char *path);

extern const struct model_arch fake_arch;
extern const struct model_arch *const fake_archs[];

/* The mathematics, for expected values. */
uint32_t fake_fold(uint32_t h, int32_t id);
uint32_t fake_state(const int32_t *ids, int n);
/* The weight of position i for position j <= i. */
float fake_weight(int layer, int head, const int32_t *ids, int i, int j);
/* Logit of token v after state h whose last token was `last`. */
float fake_logit(uint32_t h, int v, int chain, int32_t last, int n_vocab);
float fake_score(uint32_t h, int label);

/* What the steps saw since fake_reset. */
struct fake_stats {
    atomic_int steps, max_items, max_tokens, violations, max_threads;
    atomic_int threads[5]; /* steps with so many */
    atomic_int longest;    /* sequence that scratch was asked for */
    atomic_int asked;      /* tokens of a step that it was asked for */
    atomic_long tokens;
    atomic_int hold;    /* while 1, a step waits at its start for a permit */
    atomic_int permits; /* steps that may pass */
    atomic_int at_hold; /* 1 when a step waits there */
    atomic_long allocs; /* mem_count() over the steps from the third on */
    /* From the end of a step to the start of the next one: */
    _Atomic int64_t ended_us, between_us; /* the sum */
    atomic_int n_between;
};
extern struct fake_stats fake_stats;
void fake_reset(void);
/* fake_pass: let n steps pass while held, wait until the next one waits (or,
 * when there is none, some seconds). */
void fake_pass(int n);

#endif
