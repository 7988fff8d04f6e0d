/* tokenizer: text to ids and back, behind one interface for words, characters
 * and sub-words. tokenizer_open finds the files of a checkpoint by itself:
 *
 *   a GGUF file:       its tokenizer.* metadata
 *   tokenizer.json     as Hugging Face tokenizers writes it, with what
 *                      tokenizer_config.json, generation_config.json and
 *                      config.json beside it say about special tokens
 *   source.spm, target.spm and vocab.json (target_vocab.json), as Marian's
 *   vocab.json and merges.txt
 *   spiece.model, tokenizer.model, sentencepiece.bpe.model, or the only *.spm:
 *                      a SentencePiece model, with what tokenizer_config.json's
 *                      class puts around a text (tok_family.c)
 *   vocab.txt
 *
 * A model that reads one text and writes another may have two of them:
 * tokenizer_open's is the one of the text that is written.
 *
 * Models: "WordLevel" (our own checkpoints, below), "BPE" over bytes
 * (tok_bpe.c) and the kinds of the table in tok_open.c. Of tokenizer.json's
 * other parts (normalizer, pre_tokenizer, post_processor, flags of added
 * tokens) what is not supported is refused by its name, never skipped.
 *
 * Our own "WordLevel" files have `vocab` and `unk_token`; `normalizer.type`
 * names the rule that cuts text into vocabulary entries:
 *
 *   "seqd-english"     words and marks, PTB-like (tok_word.c); option
 *                      "lowercase" (default true)
 *   "seqd-whitespace"  words as they stand between white space; option
 *                      "newline": the token that a line feed stands for
 *   "seqd-characters"  one entry per code point (tok_char.c)
 *
 * `added_tokens` [{id, content, special}] marks special tokens; `seqd.bos`,
 * `seqd.eos` (strings, vocabulary entries) name the begin- and end-of-text
 * tokens, `seqd.add_bos` (bool) says that prompts get the begin token,
 * `seqd.add_eos` that the end token follows a text (of an encoder-decoder).
 *
 * Special (control) tokens are never produced from plain text. Added tokens
 * that are not special are cut out of every text before anything else.
 * Immutable after open: any thread may encode.
 *
 * SPDX-License-Identifier: MIT */
#ifndef SEQD_TOKENIZER_H
#define SEQD_TOKENIZER_H

#include <stddef.h>
#include <stdint.h>

#include "engine/base/buf.h"
#include "engine/base/err.h"

enum tokenizer_level { TOK_LEVEL_WORD, TOK_LEVEL_CHAR, TOK_LEVEL_SUBWORD };

/* One token of an encoded text: bytes [start, end) of the input. */
struct token {
    int32_t id;
    uint32_t start, end;
};

struct token_list {
    struct token *v;
    int n, cap;
    int n_unknown; /* pieces that the vocabulary lacks */
};
void token_list_fini(struct token_list *l);

struct tokenizer;
struct checkpoint;

/* tokenizer_open: of the checkpoint (see above), which it does not need any
 * more afterwards. ERR_NOT_FOUND, ERR_IO, ERR_FORMAT, ERR_UNSUPPORTED (names
 * the part), ERR_NOMEM. */
int tokenizer_open(struct checkpoint *c, struct tokenizer **out, struct err *e);
/* tokenizer_open_source: of the texts that are read, where it is another:
 * source_tokenizer.json, source.spm with vocab.json, srcvocab.*.spm. *out NULL:
 * tokenizer_open's is used for both. Errors as above. */
int tokenizer_open_source(struct checkpoint *c, struct tokenizer **out,
                          struct err *e);
/* tokenizer_parse: the text of a tokenizer.json, nothing beside it. */
int tokenizer_parse(const char *text, size_t n, const char *label,
                    struct tokenizer **out, struct err *e);
/* tokenizer_parse_model: of a SentencePiece model file, nothing beside it and
 * nothing around a text. */
int tokenizer_parse_model(const char *file, size_t n, const char *label,
                          struct tokenizer **out, struct err *e);
/* tokenizer_parse_both: with the text of the tokenizer_config.json beside it;
 * n_setup 0: none. */
int tokenizer_parse_both(const char *text, size_t n, const char *setup,
                         size_t n_setup, struct tokenizer **out, struct err *e);
void tokenizer_close(struct tokenizer *t);

int tokenizer_size(const struct tokenizer *t); /* ids are 0 .. size-1 */
enum tokenizer_level tokenizer_level(const struct tokenizer *t);
int32_t tokenizer_bos(const struct tokenizer *t);  /* -1: none */
int32_t tokenizer_eos(const struct tokenizer *t);  /* -1: none */
int32_t tokenizer_unk(const struct tokenizer *t);  /* -1: none */
int32_t tokenizer_mask(const struct tokenizer *t); /* -1: none */
int tokenizer_add_bos(const struct tokenizer *t);  /* prompts get bos */
/* tokenizer_around: how many tokens TOK_ADD_SPECIAL puts before and after a
 * text ([CLS] and [SEP], say); a text that is cut keeps them. */
void tokenizer_around(const struct tokenizer *t, int *n_before, int *n_after);
/* tokenizer_frame: those of a text that a model is asked about: words and
 * characters have a begin token only where prompts get it. Both 0: it is
 * encoded without TOK_ADD_SPECIAL. */
void tokenizer_frame(const struct tokenizer *t, int *n_before, int *n_after);
/* tokenizer_is_end: 1 when generation ends at this token; there may be several
 * (the end of a text and the end of a turn), eos is one of them. */
int tokenizer_is_end(const struct tokenizer *t, int32_t id);
/* tokenizer_is_special: control tokens, and ids without an entry. */
int tokenizer_is_special(const struct tokenizer *t, int32_t id);
/* tokenizer_has_chat: 1 when the checkpoint has a chat template: its model was
 * trained on turns with control tokens around them. tokenizer_is_turn: 1 for a
 * token that the template names. */
int tokenizer_has_chat(const struct tokenizer *t);
int tokenizer_is_turn(const struct tokenizer *t, int32_t id);
/* tokenizer_can_miss: 1 when a text can hold pieces that are not in the
 * vocabulary (so that answers report `unknown`). */
int tokenizer_can_miss(const struct tokenizer *t);
/* tokenizer_text: the entry as the vocabulary writes it (for byte-level BPE in
 * GPT-2's alphabet: a space is U+0120); NULL when id is not one. */
const char *tokenizer_text(const struct tokenizer *t, int32_t id);
int32_t tokenizer_id(const struct tokenizer *t, const char *entry); /* or -1 */
/* tokenizer_piece: the bytes [*n] that a token stands for in a text; they need
 * not be whole code points. Of control tokens: their text. NULL as above. */
const char *tokenizer_piece(const struct tokenizer *t, int32_t id, size_t *n);

/* Put the tokens around a text that the checkpoint states: the begin token of
 * our own files, else none, one or several before and after. */
#define TOK_ADD_SPECIAL 1u
#define TOK_PARSE_SPECIAL 2u /* the text of a special token is that token */

/* tokenizer_encode: valid UTF-8 text [n bytes]; tokens are appended to out.
 * A piece that the vocabulary lacks becomes unk (where there is none it is
 * left out) and counts in n_unknown. At most max_tokens (ERR_TOO_LARGE with
 * reason "context_length_exceeded"; out then holds the first max_tokens).
 * Offsets are bytes of `text` and ascend, but where a file has places trimmed
 * or an added token lies in the white space that the one before has taken.
 * O(n), sub-words O(n log n); a text that takes a file's own regular expression
 * longer, or of which its normalizer makes many times more bytes, is refused
 * (ERR_INVALID). */
int tokenizer_encode(const struct tokenizer *t, const char *text, size_t n,
                     unsigned flags, int max_tokens, struct token_list *out,
                     struct err *e);

/* Decoding one token after the other. The spacing rule of the normalizer joins
 * words: no space before closing marks and contraction parts, none after
 * opening marks; quotes alternate. The state is plain bytes. */
struct detok {
    int32_t last;     /* previous id, -1 at the start of a text */
    uint8_t in_quote; /* inside "..."; pipelines: what was taken in front */
    uint8_t glue;     /* no space before the next word */
    uint8_t pend[4];  /* bytes of an unfinished code point (sub-words) */
    uint8_t n_pend;
    uint8_t begun; /* a token with a text has come */
    uint8_t run;   /* pipelines: 1 while all tokens were bytes, then 2;
                      SentencePiece: a character has come */
};
void detok_init(struct detok *d);
/* detok_seed: the state after a prompt, so that the continuation is joined to
 * it properly. */
void detok_seed(const struct tokenizer *t, struct detok *d, const int32_t *ids,
                int n);
/* detok_next: append the text of id to out (special tokens: nothing). Only
 * whole code points are written. */
int detok_next(const struct tokenizer *t, struct detok *d, int32_t id,
               struct buf *out);
/* detok_finish: flush what is held back (as U+FFFD). */
int detok_finish(const struct tokenizer *t, struct detok *d, struct buf *out);

/* tokenizer_build: write a tokenizer.json into out: entries [n] in id order.
 * unk, bos and eos become special tokens, but for a single character that ends
 * a text of a character model (a line feed), which texts may hold. ERR_INVALID
 * when a named entry is missing or an entry is empty or not UTF-8. Used by the
 * trainer. */
struct tokenizer_spec {
    const char *normalizer; /* "seqd-english" ... */
    int lowercase;
    const char *newline; /* seqd-whitespace: token of a line feed, or NULL */
    const char *unk, *bos, *eos, *mask; /* NULL: none */
    int add_bos, add_eos;
    const char *const *control; /* [n_control] more special tokens */
    int n_control;
};
int tokenizer_build(const struct tokenizer_spec *s, const char *const *entries,
                    int n, struct buf *out, struct err *e);

/* tokenizer_build_bpe: write the tokenizer.json of a byte-level BPE vocabulary
 * with GPT-2's pre-splitting, as Hugging Face tokenizers reads it. Of the spec
 * the special tokens count. tokenizer_build_setup: the tokenizer_config.json
 * beside it, which names what they are for (<pad> among the control tokens is
 * the padding). ERR_INVALID as tokenizer_build, ERR_NOMEM. */
struct tokenizer_bpe {
    const char *const *entries; /* [n], in GPT-2's alphabet but for specials */
    int n;
    const int32_t (*merges)[2]; /* [n_merges] entries left, right; in order */
    int n_merges;
};
int tokenizer_build_bpe(const struct tokenizer_spec *s,
                        const struct tokenizer_bpe *b, struct buf *out,
                        struct err *e);
int tokenizer_build_setup(const struct tokenizer_spec *s, struct buf *out,
                          struct err *e);

/* tokenizer_split: the pieces (normalised text, byte span) that a normalizer
 * cuts a text into, before any vocabulary: the trainer counts them. `piece` is
 * NUL-terminated and valid during the call only. fn returns non-zero to stop.
 */
typedef int split_fn(void *arg, const char *piece, size_t len, uint32_t start,
                     uint32_t end);
int tokenizer_split(const struct tokenizer_spec *s, const char *text, size_t n,
                    split_fn *fn, void *arg, struct err *e);

#endif
