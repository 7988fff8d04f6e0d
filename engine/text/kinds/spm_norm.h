/* spm_norm: what SentencePiece tokenizers do to a text before they cut it: a
 * mark (U+2581) stands for a space, and usually for one in front of the text.
 * The steps come from tokenizer.json's normalizer and pre_tokenizer, or from
 * GGUF metadata; what is not known is refused by its name.
 * Source: Kudo and Richardson 2018; sentencepiece's normalizer.cc; Hugging
 * Face tokenizers (Prepend, Replace, Strip, Precompiled, Metaspace).
 *
 * SPDX-License-Identifier: MIT */
#ifndef SEQD_SPM_NORM_H
#define SEQD_SPM_NORM_H

#include "engine/text/tokenizer_impl.h"
#include "engine/text/unicode/unicode.h"

#define SPM_MARK 0x2581u
#define SPM_MARK_UTF8 "\xe2\x96\x81"
#define SPM_MARK_BYTES 3
#define SPM_MAX_STEPS 12

enum spm_kind {
    SPM_PREPEND,  /* arg in front of a text that is not empty */
    SPM_SPACES,   /* each space becomes the mark */
    SPM_COLLAPSE, /* two and more spaces become arg */
    SPM_WORDS,    /* white space but between words goes; that becomes arg */
    SPM_LSTRIP,   /* white space at the ends goes */
    SPM_RSTRIP,
    SPM_CHARS,   /* what the table of characters says */
    SPM_SENTENCE /* spaces as sentencepiece lays them out; arg: SPM_DUMMY ... */
};

/* add_dummy_prefix, remove_extra_whitespaces; spaces stay spaces. */
#define SPM_DUMMY 1u
#define SPM_SQUEEZE 2u
#define SPM_BARE 4u

struct spm_step {
    enum spm_kind kind;
    uint32_t arg;
};

/* A double-array trie over bytes, and what its leaves stand for. */
struct spm_chars {
    uint32_t *unit; /* [n_units] */
    size_t n_units;
    char *text; /* [n_text], NUL-terminated strings */
    size_t n_text;
};

enum spm_prefix { SPM_NEVER, SPM_FIRST, SPM_ALWAYS };

/* What decoding leaves out of a text's first token: the mark or space that it
 * begins with; the same of bytes and added tokens, too; all marks; one of each
 * token in front of the text's first character. */
enum spm_strips {
    SPM_STRIP_NOT,
    SPM_STRIP_ONE,
    SPM_STRIP_SPACE,
    SPM_STRIP_ALL,
    SPM_STRIP_LEAD
};

struct spm_norm {
    struct spm_step step[SPM_MAX_STEPS];
    int n;
    enum spm_prefix prefix; /* a mark in front, but where there is one */
    int split;              /* words begin at marks and are cut alone */
    int strips;             /* enum spm_strips */
    int by_cluster; /* the table is used as Hugging Face tokenizers does it */
    struct spm_chars chars;
    /* Entries that the table does not touch, user-defined ones: of `of`. */
    struct tok_index user;
    const struct tokenizer *of;
};

/* spm_norm_json: ERR_FORMAT, ERR_UNSUPPORTED, ERR_NOMEM. */
int spm_norm_json(struct spm_norm *m, const struct tok_source *s);
/* spm_norm_chars: one more step, of a Precompiled normalizer. */
int spm_norm_chars(struct spm_norm *m, const struct tok_source *s,
                   const struct json *j);
/* spm_norm_add: another step. */
int spm_norm_add(struct spm_norm *m, const struct tok_source *s,
                 enum spm_kind kind, uint32_t arg);
void spm_norm_fini(struct spm_norm *m);

/* spm_norm_run: valid UTF-8 s [n], n > 0, into out (zeros at first); `first`:
 * the segment begins the text. O(n) whatever the table. */
int spm_norm_run(const struct spm_norm *m, const char *s, size_t n, int first,
                 struct uni_text *out, struct err *e);

/* spm_chars_read: the table as sentencepiece writes it: bytes of the trie,
 * trie, strings. ERR_FORMAT, ERR_NOMEM. */
int spm_chars_read(struct spm_chars *c, const struct tok_source *s,
                   const uint8_t *p, size_t n);

/* What SentencePiece's kinds of tokenizer share (spm_vocab.c). */
struct spm_bytes {
    int32_t id[256]; /* of "<0x00>" ...; -1: the vocabulary lacks it */
    int all;         /* 1: none is lacking */
};
/* What the private part of each kind begins with. */
struct spm {
    struct spm_norm norm;
    struct spm_bytes bytes;
    double *score; /* [t->n], or NULL */
    int fallback;  /* bytes of characters that the vocabulary lacks */
};

/* A text under way: what the coder of each kind begins with. */
struct spm_coder {
    struct tok_encoder *c;
    const struct spm *m;
    const char *s;       /* normalised */
    size_t unknown_from; /* SIZE_MAX, or where a run of them begins */
};

/* spm_encode: `word` on each of the words of the normalised text. k is set but
 * for what is the kind's own. */
int spm_encode(struct spm_coder *k, struct tok_encoder *c, const char *s,
               size_t n, int (*word)(struct spm_coder *, size_t, size_t));
/* spm_push: a token, after the unknown one that ends before it, if any. */
int spm_push(struct spm_coder *k, int32_t id, size_t from, size_t to);
int spm_push_bytes(struct spm_coder *k, size_t from, size_t to);
int spm_flush_unknown(struct spm_coder *k, size_t end);

/* spm_load: what follows the vocabulary: bytes, and what tokens stand for. */
int spm_load(struct tokenizer *t, const struct tok_source *s);
void spm_fini(struct spm *m);
/* spm_detok: pieces joined; the prefix's space is left out. */
int spm_detok(const struct tokenizer *t, struct detok *d, int32_t id,
              struct buf *out);
/* spm_scores: [t->n] of tokenizer.ggml.scores; ERR_FORMAT, ERR_NOMEM. */
int spm_scores(const struct tokenizer *t, const struct tok_source *s,
               double **out);
/* spm_pieces: vocabulary, scores and normalizer of a model file (s->proto) and
 * of the added tokens beside it. ERR_FORMAT, ERR_UNSUPPORTED (names what),
 * ERR_TOO_LARGE, ERR_NOMEM. */
int spm_pieces(struct tokenizer *t, const struct tok_source *s);
/* spm_plain: 1 for entries that plain text may become. */
int spm_plain(const struct tokenizer *t, int32_t id);

#endif
