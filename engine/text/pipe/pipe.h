/* pipe: a tokenizer.json taken as the pipeline that it is: any sequence of
 * normalizers over a text, of pre-tokenizers that cut it, one of the models on
 * each piece, any of the decoders. The published pipelines have faster ways of
 * their own (kinds/); this is what all other files are read by.
 *
 * A text under way is bytes, for each of them the bytes of the input that its
 * character comes from, and the places where pieces begin. Each step reads one
 * text and writes the next, or only adds cuts: O(n) a step, and a text grows to
 * 32 times of what it was at most. Expressions are counted (regex.h).
 *
 * Source: Hugging Face tokenizers 0.23.3, tokenizer/normalizer.rs (which
 * character takes whose place), normalizers/, pre_tokenizers/, decoders/.
 *
 * A pipe is immutable; a work belongs to one thread.
 *
 * SPDX-License-Identifier: MIT */
#ifndef SEQD_PIPE_H
#define SEQD_PIPE_H

#include "engine/text/kinds/alphabet.h"
#include "engine/text/kinds/spm_norm.h"
#include "engine/text/kinds/wordnorm.h"
#include "engine/text/pretok/pretok.h"

#define PIPE_MAX_STEPS 24
#define PIPE_MAX_TEXT 256 /* bytes of a pattern, of what replaces it */

struct pipe_text {
    char *p;
    uint32_t *from, *to; /* [n] of the input */
    uint8_t *cut;        /* [n + 1] CUT_PIECE, CUT_DROP; the end is a cut */
    size_t n, cap, max;
};

enum pipe_op {
    PIPE_FORM,    /* NFC to NFKD: arg */
    PIPE_LOWER,   /* the full mapping */
    PIPE_ACCENTS, /* marks go */
    PIPE_STRIP,   /* white space at the ends goes: arg 1 left, 2 right */
    PIPE_NMT,     /* control characters go, rare spaces are spaces */
    PIPE_REPLACE, /* pattern, which is literal or regex, becomes text */
    PIPE_PREPEND, /* text in front of each piece; arg 1: unless it is there,
                     2: and only where the input begins */
    PIPE_CLEAN,
    PIPE_CHARS, /* sentencepiece's table */
    PIPE_BYTES, /* each byte becomes a character of GPT-2's alphabet */
    PIPE_SPLIT, /* at matches of pattern or regex */
    PIPE_CLASS, /* at characters of a class: arg, enum pipe_class */
    PIPE_WORDS  /* runs of word characters, of others; white space goes */
};

enum pipe_class { PIPE_SPACE, PIPE_PUNCT, PIPE_NUMBER };

/* Where a match and what lies between matches begin pieces. */
enum pipe_join { JOIN_NOT, JOIN_DROP, JOIN_ALIKE, JOIN_BEFORE, JOIN_NEXT };

struct pipe_step {
    enum pipe_op op;
    int arg, invert;
    enum pipe_join join;
    struct wordnorm clean;
    struct regex *regex;
    char pattern[PIPE_MAX_TEXT + 1], text[PIPE_MAX_TEXT + 1];
    size_t n_pattern, n_text;
};

enum pipe_dec {
    DEC_BYTES,     /* GPT-2's alphabet */
    DEC_MARKS,     /* pattern is a space; arg 1: goes from the first token */
    DEC_WORDPIECE, /* pattern marks a continuation; arg 1: tidy */
    DEC_SUFFIX,    /* pattern ends a word */
    DEC_FALLBACK,  /* "<0x0A>" */
    DEC_STRIP,     /* up to arg times text in front, arg_end behind */
    DEC_FIRST,     /* the same in front of the whole text */
    DEC_REPLACE,   /* pattern becomes text */
    DEC_CTC        /* tokens once, pattern goes; arg 1: tidy, text is a space */
};

struct pipe_decoder {
    enum pipe_dec op;
    int arg, arg_end;
    char pattern[PIPE_MAX_TEXT + 1], text[PIPE_MAX_TEXT + 1];
    size_t n_pattern, n_text;
};

struct pipe {
    struct pipe_step step[PIPE_MAX_STEPS];
    int n;
    int n_norm; /* the first of them are normalizers */
    struct pipe_decoder dec[PIPE_MAX_STEPS];
    int n_dec;
    int joins; /* no decoder: a space between tokens */
    int once;  /* a token after itself stands for nothing */
    int marks; /* the step for marks that bytes spell, 0: none */
    struct spm_norm chars;
    struct alphabet alphabet;
    struct tok_index added;  /* TOK_NORMAL ones, as the normalizers make them */
    struct tok_entry *by_id; /* [added.n] the same, by their ids */
    char *added_text;
};

/* pipe_open: the normalizer, pre_tokenizer and decoder of s->root. ERR_FORMAT,
 * ERR_UNSUPPORTED (which of them), ERR_NOMEM. */
int pipe_open(const struct tok_source *s, struct pipe **out);
void pipe_close(struct pipe *p);
/* pipe_read_decoder: of pipe_open. */
int pipe_read_decoder(struct pipe *p, const struct tok_source *s);
/* pipe_string: a string of obj into out [PIPE_MAX_TEXT + 1] and its length. */
int pipe_string(const struct tok_source *s, const struct json *obj,
                const char *key, char *out, size_t *n);

/* pipe_added_index: the added tokens that are looked for behind the
 * normalizers, once t has its vocabulary. ERR_UNSUPPORTED, ERR_NOMEM. */
int pipe_added_index(struct tokenizer *t, const struct tok_source *s);
/* pipe_added_text: such a token as it is there, NULL for others. */
const struct tok_entry *pipe_added_text(const struct pipe *p, int32_t id);

/* pipe_encode: ops->pieces on the pieces of the segment s [n]. */
int pipe_encode(struct tok_encoder *c, const char *s, size_t n);

/* pipe_pieces: what each token stands for (tok_pieces). */
int pipe_pieces(struct tokenizer *t, const struct tok_source *s);
/* pipe_detok: as tok_ops.detok. */
int pipe_detok(const struct tokenizer *t, struct detok *d, int32_t id,
               struct buf *out);

/* ------------------------------------------------------- between its files */

struct pipe_work {
    const struct pipe *pipe;
    struct pipe_text in, out;
    struct regex_work regex;
    const char *shown; /* in.p as PCRE2 sees it (pre_show) */
    char *stand_ins;
    int begins; /* the segment begins the input */
    int64_t *steps;
    struct err *e;
};

/* pipe_begin: w->in is the text s [n]; pipe_steps: steps [from, to) on it. */
int pipe_begin(struct pipe_work *w, const char *s, size_t n);
int pipe_steps(struct pipe_work *w, int from, int to);
void pipe_work_fini(struct pipe_work *w);

/* pipe_put: n bytes, all of one character or more with one origin; the first
 * of them has cut. ERR_INVALID beyond max, ERR_NOMEM. */
int pipe_put(struct pipe_text *x, const char *s, size_t n, uint32_t from,
             uint32_t to, unsigned cut, struct err *e);
/* pipe_copy: bytes [i, j) of w->in as they are. */
int pipe_copy(struct pipe_work *w, size_t i, size_t j);
/* The character at byte i of valid UTF-8 s [n]; returns its length. */
size_t pipe_char(const char *s, size_t n, size_t i, uint32_t *cp);
/* The end of the piece that begins at byte i. */
size_t pipe_end(const uint8_t *cut, size_t i);

/* A match, or what lies between: fn on each part of a piece, in order. */
typedef int pipe_part_fn(void *arg, size_t from, size_t to, int is_match);
int pipe_matches(struct pipe_work *w, const struct pipe_step *st, size_t from,
                 size_t to, pipe_part_fn *fn, void *arg);
/* pipe_show: before pipe_matches of expressions. */
int pipe_show(struct pipe_work *w, const struct pipe_step *st);

/* Rewrite w->in into w->out; 0 or -1. */
int pipe_normalize(struct pipe_work *w, const struct pipe_step *st);
/* Add cuts to w->in. */
int pipe_cut(struct pipe_work *w, const struct pipe_step *st);

#endif
