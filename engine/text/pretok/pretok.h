/* pretok: cutting a text into the words inside which byte-level BPE merges.
 * Checkpoints state this as a chain of regular expressions, each of which cuts
 * the pieces of the one before; GGUF files name their chain by one word
 * (`pre`), which the table of pretok_names.c spells out. PCRE2 searches
 * (regex.h); the published expressions by themselves, which are known to take
 * time linear in the text, all others with their steps counted.
 *
 * This took the place of a scanner by hand for each alternative that had been
 * published, with which all others were refused. MB/s at Llama 3's expression,
 * one core of a Xeon, by hand -> now (its steps counted; interpreted): English
 * 76 -> 99 (48; 31), C 49 -> 74 (29; 18), Russian 95 -> 163 (97; 67), Chinese
 * 158 -> 193 (159; 129). With the merges, which take four fifths: as before.
 *
 * A plan is immutable after it was made; a work belongs to one thread.
 *
 * SPDX-License-Identifier: MIT */
#ifndef SEQD_PRETOK_H
#define SEQD_PRETOK_H

#include <stddef.h>
#include <stdint.h>

#include "engine/base/err.h"
#include "engine/text/pretok/regex.h"

#define PRE_MAX_STAGES 8

/* GPT-2's expression. */
#define PRE_BYTES                                                              \
    "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|"       \
    "\\s+(?!\\S)|\\s+"
/* Punctuation of Hugging Face: all marks of ASCII. */
#define PRE_PUNCT "[!-/:-@\\[-`{-~\\p{P}]"

/* What becomes of the matches of a stage; what lies between them is a piece.
 */
enum pre_behavior {
    PRE_ISOLATED,   /* each match is a piece */
    PRE_CONTIGUOUS, /* matches that touch are one piece */
    PRE_REMOVED,    /* they are dropped */
    PRE_KEPT        /* what lies between them is dropped */
};

struct pre_stage {
    struct regex *regex;
    enum pre_behavior behavior;
    int bytes; /* runs over GPT-2's alphabet: 1 digits, 3 threes of them */
};

struct pretok {
    struct pre_stage stage[PRE_MAX_STAGES];
    int n;
    int counts_all; /* the steps of published expressions too, for tests */
};
void pretok_fini(struct pretok *p);

/* pretok_add: one more stage, the expression `regex` [n]. ERR_UNSUPPORTED (the
 * message says why, in a few words), ERR_NOMEM; p is as before then. */
int pretok_add(struct pretok *p, const char *regex, size_t n,
               enum pre_behavior behavior, struct err *e);
/* pretok_add_bytes: a stage over the bytes as GPT-2's alphabet writes them
 * (what stands after ByteLevel in tokenizer.json): runs of its digits (each
 * byte: 1), or the expression [0-9][0-9][0-9] (3). -1: too many stages. */
int pretok_add_bytes(struct pretok *p, int kind);

/* What a name of llama.cpp's table stands for. */
#define PRE_IGNORE_MERGES 1u /* a word that is a token needs no merges */
#define PRE_ADD_BOS 2u       /* unless the file says otherwise */
/* pretok_named: the chain of a GGUF file's tokenizer.ggml.pre [n], added to p.
 * ERR_UNSUPPORTED (a name that is not known), ERR_NOMEM. */
int pretok_named(struct pretok *p, const char *name, size_t n, unsigned *flags,
                 struct err *e);
/* pretok_linear: the published expression `regex` [n] in words that take time
 * linear in the text, NUL at the end; NULL when it is not a published one. */
const char *pretok_linear(const char *regex, size_t n);
/* pretok_all_named: fn for each group of names (space between) that share a
 * chain, until it returns non-zero; for tests. */
int pretok_all_named(int (*fn)(void *arg, const char *names), void *arg);

/* A text cut up: cut[i] says what begins at byte i. */
#define CUT_PIECE 1u /* a piece */
#define CUT_DROP 2u  /* with CUT_PIECE: one that is dropped */
struct pre_work {
    uint8_t *cut; /* [bytes + 1]; the end is a cut */
    char *text;   /* [bytes] with stand-ins, where any are needed */
    size_t cap;
    struct regex_work regex;
};
void pre_work_fini(struct pre_work *w);

/* pretok_run: s [n], all of a text or a part; `steps`: what is left of
 * regex_steps for the whole. Bytes that are not UTF-8 count as U+007F.
 * ERR_INVALID when there are no steps left, ERR_NOMEM. */
int pretok_run(const struct pretok *p, const char *s, size_t n, int64_t *steps,
               struct pre_work *w, struct err *e);
/* pre_show: *s [n] as PCRE2 has to see it: itself or, with stand-ins of the
 * same length, *own [room], which is allocated when it is NULL. ERR_NOMEM. */
int pre_show(const char **s, size_t n, char **own, size_t room, struct err *e);

#endif
