/* tokenizer_impl: what the files of engine/text share behind tokenizer.h.
 *
 * A kind of tokenizer is a struct tok_ops and its private `self`; a loader
 * fills the vocabulary, self and ops from a struct tok_source. tokenizer.c does
 * the rest alike for all kinds: it cuts added tokens out of a text, hands the
 * segments between them to ops->encode and puts the tokens around. A new kind
 * is one file and a line in the tables of tok_open.c.
 *
 * SPDX-License-Identifier: MIT */
#ifndef SEQD_TOKENIZER_IMPL_H
#define SEQD_TOKENIZER_IMPL_H

#include "engine/base/json.h"
#include "engine/text/kinds/tok_split.h"

struct gguf;
struct spm_proto;
struct tok_family;

struct vocab_slot {
    uint32_t tag; /* upper half of the hash */
    uint32_t id1; /* id + 1; 0: empty */
};

/* Entries sorted by their bytes (tok_index.c). */
struct tok_entry {
    const char *key; /* in the vocabulary's arena */
    uint32_t len;
    int32_t id;
};
struct tok_index {
    struct tok_entry *v; /* [n] */
    int n;
    int first[257]; /* those that begin with byte b: first[b] to first[b + 1] */
};

/* tokenizer.attr: what is true of an entry. */
#define TOK_CONTROL 1u /* only from TOK_PARSE_SPECIAL; decodes to nothing */
#define TOK_ADDED 2u   /* cut out of every text first */
#define TOK_UNUSED 4u  /* a hole: no entry has this id */
#define TOK_LSTRIP 8u  /* takes the white space before it along */
#define TOK_RSTRIP 16u /* and that after it */
#define TOK_WHOLE 32u  /* only where no word character is beside it */
#define TOK_BYTE 64u   /* one byte ("<0x0A>") */
#define TOK_UNKNOWN 128u
#define TOK_NORMAL 256u /* looked for in the normalised text of a pipeline */
#define TOK_BESIDE 512u /* an added token that the model does not know */
/* What the model does not make of plain text. */
#define TOK_NOT_PLAIN (TOK_CONTROL | TOK_UNUSED | TOK_BESIDE)

#define TOK_MAX_ENDS 32
#define TOK_MAX_AROUND 8
#define TOK_MAX_TURN 32
#define TOK_MAX_TRIM 4

struct tok_ops;
struct pipe;

/* Places go without the white space at the ends of a token's text, as Hugging
 * Face's ByteLevel has it: one space of a text's first token stays where
 * `prefix` says that it was put there; the first is the one with `before`
 * tokens in front. */
struct tok_trim {
    uint8_t prefix, before;
};

struct tokenizer {
    const struct tok_ops *ops;
    void *self;        /* of the kind, or NULL */
    struct pipe *pipe; /* a pipeline before the model (pipe.h), or NULL */
    int covers_all;    /* no text holds what the vocabulary lacks */
    /* of words and characters (tok_rule.c) */
    int rule; /* enum tok_rule */
    int lowercase;
    int32_t newline;
    /* the vocabulary */
    int n;
    const char **text; /* [n], in arena; "" for a hole */
    uint32_t *len;     /* [n] */
    uint16_t *attr;    /* [n] TOK_* bits */
    char *arena;
    size_t arena_used, arena_cap;
    size_t max_len; /* of an entry */
    uint64_t hkey[2];
    struct vocab_slot *slots; /* [n_slots], a power of two */
    size_t n_slots;
    /* what tokens stand for, where it is not their text: [n + 1] offsets */
    char *pieces;
    uint32_t *piece_at;
    struct tok_index added; /* and control tokens (tok_added.c) */
    int32_t unk, bos, eos, mask;
    int32_t end[TOK_MAX_ENDS];
    int n_end;
    int32_t before[TOK_MAX_AROUND], after[TOK_MAX_AROUND];
    int n_before, n_after;
    struct tok_trim trim[TOK_MAX_TRIM]; /* [n_trim] one after the other */
    int n_trim;
    int has_chat;               /* tok_chat.c */
    int32_t turn[TOK_MAX_TURN]; /* [n_turn] tokens that its template names */
    int n_turn;
    int add_bos;
    int add_eos, add_sep; /* GGUF: defaults of the kind, set by its loader */
};

/* What a loader reads. All of it is borrowed; parts that a checkpoint does not
 * have are NULL. */
struct tok_source {
    const char *label; /* of the file, for messages */
    struct err *e;
    const struct json *root;  /* tokenizer.json */
    const struct json *model; /* its "model", or NULL */
    const struct json *vocab; /* the vocabulary: model.vocab or vocab.json */
    const struct json *added; /* its "added_tokens", a list or NULL */
    const struct json *setup; /* tokenizer_config.json */
    const struct json *ends;  /* eos_token_id of generation_config.json */
    const struct json *model_ends; /* and of config.json */
    const struct json *model_size; /* vocab_size of config.json */
    const char *chat;              /* chat_template.jinja [n_chat] */
    size_t n_chat;
    const char *merges; /* merges.txt [n_merges] */
    size_t n_merges;
    const char *lines; /* vocab.txt [n_lines bytes] */
    size_t n_lines;
    const struct gguf *gguf;
    const struct spm_proto *proto;   /* a SentencePiece model file */
    const struct tok_family *family; /* with proto: whose it is */
};

typedef int tok_load_fn(struct tokenizer *t, const struct tok_source *s);

/* The state of one tokenizer_encode. */
struct tok_encoder {
    const struct tokenizer *t;
    struct token_list *out;
    int max_tokens;
    unsigned flags;
    const char *text; /* the whole [n_text] */
    size_t n_text;
    uint32_t base;       /* where the segment begins in it */
    const uint32_t *map; /* byte of the segment for each byte of what the kind
                            encodes instead (after a normalizer); NULL: the
                            same. tok_push goes through it */
    const uint32_t *map_end; /* with map: where the byte's character ends in the
                                segment; NULL: where the next one begins */
    const char *surface;     /* the text of an added token that is pushed, as
                                it was found [n_surface]; NULL: its entry */
    size_t n_surface;
    /* NULL, or another vocabulary, whose id ~id is pushed for what t does not
       know and it does (tok_mapped.c). */
    const struct tokenizer *list;
    int first;     /* of the text's tokens in out; before that: -1 */
    int64_t steps; /* left of regex_steps, for all of the text */
    struct err *e;
};

struct tok_ops {
    const char *name; /* "BPE" ... */
    enum tokenizer_level level;
    /* encode: the segment s [n], valid UTF-8, no added tokens in it; calls
     * tok_push with offsets in s. 0 or -1 (what tok_push returned). */
    int (*encode)(struct tok_encoder *c, const char *s, size_t n);
    /* pieces: instead of encode where there is a pipeline, which has made the
     * text s [n] and cut it (pipe_end, CUT_DROP). */
    int (*pieces)(struct tok_encoder *c, const char *s, size_t n,
                  const uint8_t *cut);
    /* detok: the text of token id (not a control token) after d->last; out
     * may be NULL. NULL: tokenizer_piece, held back to whole code points. */
    int (*detok)(const struct tokenizer *t, struct detok *d, int32_t id,
                 struct buf *out);
    void (*close)(void *self); /* NULL: nothing */
};

/* ------------------------------------------------ for loaders and encoders */

/* tok_bad: ERR_FORMAT "label: what"; tok_refuse: ERR_UNSUPPORTED "label: part
 * 'name' is not supported". Always -1. */
int tok_bad(const struct tok_source *s, const char *what);
int tok_refuse(const struct tok_source *s, const char *part, const char *name);

/* The vocabulary: begin with the number of ids and the bytes of all entries
 * (without terminators), set each id once, end. Ids that were not set are
 * refused, or with holes become unused entries. */
int tok_vocab_begin(struct tokenizer *t, const struct tok_source *s,
                    int64_t n_ids, size_t bytes);
int tok_vocab_set(struct tokenizer *t, const struct tok_source *s, int64_t id,
                  const char *text, size_t len);
int tok_vocab_end(struct tokenizer *t, const struct tok_source *s, int holes);
/* tok_vocab_json: all of that from s->vocab {entry: id} and s->added, whose
 * attributes are set too. */
int tok_vocab_json(struct tokenizer *t, const struct tok_source *s, int holes);
/* tok_vocab_gguf: the same from tokenizer.ggml.tokens and token_type; empty
 * entries are unused ones. */
int tok_vocab_gguf(struct tokenizer *t, const struct tok_source *s);
/* tok_added_json: attributes and, where the vocabulary lacks them, entries of
 * s->added; called between begin and end. tok_added_size: the ids and bytes
 * they may need. */
int tok_added_json(struct tokenizer *t, const struct tok_source *s);
void tok_added_size(const struct tok_source *s, int64_t *n_ids, size_t *bytes);

/* tok_pieces: what each token stands for, made by fn (bytes into out, no more
 * than its entry has; returns their number). */
typedef size_t tok_piece_fn(const struct tokenizer *t, int32_t id, char *out);
int tok_pieces(struct tokenizer *t, const struct tok_source *s,
               tok_piece_fn *fn);

/* tokenizer_lookup: the id of an entry of n bytes, or -1. */
int32_t tokenizer_lookup(const struct tokenizer *t, const char *s, size_t n);

/* An index: begin, add at most `most` entries of t without their first `skip`
 * bytes, none empty, end: ERR_UNSUPPORTED for one that is too long. */
int tok_index_begin(struct tok_index *x, int most, struct err *e);
void tok_index_add(struct tok_index *x, const struct tokenizer *t, int id,
                   uint32_t skip);
int tok_index_end(struct tok_index *x, const struct tok_source *s);
void tok_index_fini(struct tok_index *x);
/* tok_index_longest: the longest entry that s [n] begins with, n > 0, and that
 * has none of the attributes `but`; or NULL. */
const struct tok_entry *tok_index_longest(const struct tok_index *x,
                                          const struct tokenizer *t,
                                          unsigned but, const char *s,
                                          size_t n);
/* The first of v[lo..hi), which agree on `depth` bytes, whose byte there is at
 * least b; one that ends there comes before all others. Here, because a call of
 * it takes 7 % of the encoder of Unigram. */
static inline int tok_index_narrow(const struct tok_entry *v, int lo, int hi,
                                   uint32_t depth, unsigned b)
{
    while (lo < hi) {
        int mid = lo + (hi - lo) / 2;
        if (v[mid].len <= depth || (unsigned char)v[mid].key[depth] < b)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo;
}

/* tok_push: append a token, bytes [start, end) of what encode was given. -1
 * and ERR_TOO_LARGE beyond max_tokens. */
int tok_push(struct tok_encoder *c, int32_t id, size_t start, size_t end);

/* The entry that an optional string of obj names, -1 without it. */
int tok_named(const struct tok_source *s, const struct tokenizer *t,
              const struct json *obj, const char *key, int32_t *id);
/* An optional boolean. */
int tok_flag(const struct tok_source *s, const struct json *obj,
             const char *key, int dflt, int *v);

/* --------------------------------------------------- the parts of the frame */

/* tok_added.c: index the added and control tokens. */
int tok_added_index(struct tokenizer *t, const struct tok_source *s);
/* tok_added_one_pass: Hugging Face looks for normalized added tokens in a
 * second pass, in the normalised text between the others. ERR_UNSUPPORTED
 * (which one) where one pass over the text may find other tokens, or so many
 * are to be looked at that it takes long to tell; after the index. */
int tok_added_one_pass(const struct tokenizer *t, const struct tok_source *s);
/* tok_added_next: the first token of x in s (without TOK_PARSE_SPECIAL no
 * control token) that begins at or after hit->resume, with the span that it
 * takes, white space included, but nothing before `from`; 0 when there is none.
 * All begin as 0. The search goes on where the token's own text ends: the
 * reference finds a token in the white space that one before has taken, too. */
struct tok_hit {
    int32_t id;
    size_t start, end, resume;
    size_t space; /* where the last white space that was taken ends: a token
                     inside of it need not look for that again */
};
int tok_added_next(const struct tokenizer *t, const struct tok_index *x,
                   const char *s, size_t n, size_t from, unsigned flags,
                   struct tok_hit *hit);

/* tok_chat.c: what the chat template says, if there is one; after the index. */
void tok_chat_read(struct tokenizer *t, const struct tok_source *s);

/* tok_trim.c: t->trim on the last token of c->out. tok_push_added: tok_push of
 * an added token that was found as s [n]. */
void tok_trim_place(const struct tok_encoder *c);
int tok_push_added(struct tok_encoder *c, int32_t id, size_t start, size_t end,
                   const char *s, size_t n);

/* tok_special.c: begin, end, mask and unknown token, the tokens around a text
 * and the ends of generation, from tokenizer.json's post_processor and the
 * files beside it, or GGUF. */
int tok_special_json(struct tokenizer *t, const struct tok_source *s);
int tok_special_gguf(struct tokenizer *t, const struct tok_source *s);
/* Metadata of s->gguf by key; missing or of another type: dflt. */
int64_t tok_gguf_int(const struct tok_source *s, const char *key, int64_t dflt);
int tok_gguf_string(const struct tok_source *s, const char *key,
                    const char **text, size_t *n); /* 1 found, 0 not */
int tok_add_end(struct tokenizer *t, int64_t id);  /* ids out of range: no-op */

/* detok.c: words and characters joined by their rules (tok_ops.detok). */
int tok_rule_detok(const struct tokenizer *t, struct detok *d, int32_t id,
                   struct buf *out);
/* detok_bytes: append bytes of unknown alignment to a text: whole code points
 * go to out (may be NULL), a beginning is held back in d->pend, what can be
 * none becomes U+FFFD. -1 when out failed. */
int detok_bytes(struct detok *d, const char *s, size_t n, struct buf *out);

/* tok_family.c: what a class of tokenizer has beside its SentencePiece file
 * (s->proto): special tokens around a text, and ids of its own. */
tok_load_fn tok_family_load;
/* tok_family_find: by the class that tokenizer_config.json names, else by the
 * file. ERR_UNSUPPORTED. */
int tok_family_find(struct tok_source *s, const char *file);
const struct tok_family *tok_family_none(void);
/* tok_proto_load: the kind that a model file asks for, and nothing beside. */
tok_load_fn tok_proto_load;

/* The kinds. */
tok_load_fn tok_rule_load;      /* WordLevel of our own */
tok_load_fn tok_bpe_load;       /* byte-level BPE, from any source */
tok_load_fn tok_wordpiece_load; /* WordPiece, from any source */
tok_load_fn tok_spm_load;       /* SentencePiece's BPE */
tok_load_fn tok_unigram_load;   /* SentencePiece's unigram model */
tok_load_fn tok_mapped_load;    /* SentencePiece with ids of another list */
tok_load_fn tok_chars_load;     /* BPE of a pipeline */
tok_load_fn tok_lookup_load;    /* WordLevel of a pipeline */

#endif
