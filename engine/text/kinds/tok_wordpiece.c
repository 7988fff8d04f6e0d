/* tok_wordpiece: WordPiece as BERT uses it (Schuster and Nakajima 2012; Devlin
 * et al. 2019). A text is normalised (wordnorm.c), cut at white space and
 * around punctuation, and each word becomes the longest entry that it begins
 * with, then the longest continuation entry, and so on; a word that cannot be
 * finished, or of more than 100 characters, is the unknown token as a whole.
 *
 * Continuations are written "##ing" in Hugging Face's files; GGUF writes the
 * others with U+2581 in front instead. Both become two lists of what
 * follows the mark (tok_index.c).
 *
 * Source: Hugging Face tokenizers, BertNormalizer, BertPreTokenizer, WordPiece.
 *
 * SPDX-License-Identifier: MIT */
#include <string.h>

#include "engine/base/mem.h"
#include "engine/base/utf8.h"
#include "engine/text/kinds/wordnorm.h"
#include "engine/text/pipe/pipe.h"
#include "engine/text/tokenizer_impl.h"
#include "engine/text/unicode/unicode.h"

#define MAX_PREFIX 16
#define MAX_WORD 1000 /* characters; files say 100 */
#define GGUF_MARK "\xe2\x96\x81"

struct wordpiece {
    struct wordnorm norm;
    char mark[MAX_PREFIX + 1];
    size_t n_mark;
    int mark_starts; /* GGUF: the mark is on entries that begin a word */
    int max_chars;
    struct tok_index start, more; /* what stands behind the mark */
};

/* --- lists --- */

/* Does the entry carry the mark, and is there anything behind it? */
static int has_mark(const struct wordpiece *w, const char *text, size_t len)
{
    return len > w->n_mark && memcmp(text, w->mark, w->n_mark) == 0;
}

/* Control tokens are not to be had from plain text. In GGUF an entry without
 * the mark is a continuation, but for those. */
static void add_piece(struct wordpiece *w, const struct tokenizer *t, int id)
{
    int marked = has_mark(w, t->text[id], t->len[id]);
    struct tok_index *l = marked == w->mark_starts ? &w->start : &w->more;
    if (t->len[id] == 0 || (t->attr[id] & TOK_NOT_PLAIN))
        return;
    tok_index_add(l, t, id, marked ? (uint32_t)w->n_mark : 0);
    if (t->pipe && l == &w->more) /* what a word may begin with, mark and all */
        tok_index_add(&w->start, t, id, 0);
}

static int make_lists(struct wordpiece *w, const struct tokenizer *t,
                      const struct tok_source *s)
{
    if (tok_index_begin(&w->start, t->n, s->e) ||
        tok_index_begin(&w->more, t->n, s->e))
        return -1;
    for (int id = 0; id < t->n; id++)
        add_piece(w, t, id);
    return tok_index_end(&w->start, s) || tok_index_end(&w->more, s) ? -1 : 0;
}

/* --- encoding --- */

static int push_unknown(struct tok_encoder *c, size_t from, size_t to)
{
    c->out->n_unknown++;
    return c->t->unk < 0 ? 0 : tok_push(c, c->t->unk, from, to);
}

/* The word s[from..to) of `chars` characters. */
static int encode_word(struct tok_encoder *c, const char *s, size_t from,
                       size_t to, int chars)
{
    const struct wordpiece *w = c->t->self;
    const struct tok_entry *found[MAX_WORD];
    size_t at = from;
    int n = 0;
    if (chars > w->max_chars)
        return push_unknown(c, from, to);
    while (at < to) {
        const struct tok_entry *p = tok_index_longest(n ? &w->more : &w->start,
                                                      c->t, 0, s + at, to - at);
        if (!p)
            return push_unknown(c, from, to);
        found[n++] = p; /* one character at the least */
        at += p->len;
    }
    at = from;
    for (int i = 0; i < n; i++) {
        if (tok_push(c, found[i]->id, at, at + found[i]->len))
            return -1;
        at += found[i]->len;
    }
    return 0;
}

/* Words are what stands between white space; each punctuation mark is one. */
static int encode_words(struct tok_encoder *c, const char *s, size_t n)
{
    size_t from = 0;
    int chars = 0;
    for (size_t i = 0; i < n;) {
        uint32_t cp;
        size_t used = tok_decode(s, n, i, &cp);
        int space = utf8_is_space(cp), mark = wordnorm_is_punct(cp);
        if ((space || mark) && i > from && encode_word(c, s, from, i, chars))
            return -1;
        if (mark && encode_word(c, s, i, i + used, 1))
            return -1;
        i += used;
        chars = space || mark ? 0 : chars + 1;
        from = space || mark ? i : from;
    }
    return n > from ? encode_word(c, s, from, n, chars) : 0;
}

static int encode(struct tok_encoder *c, const char *s, size_t n)
{
    const struct wordpiece *w = c->t->self;
    struct uni_text u = {0};
    int rc = wordnorm_run(&w->norm, s, n, &u, c->e);
    if (rc == 0) {
        c->map = u.at;
        c->map_end = u.end;
        rc = encode_words(c, u.p, u.n);
        c->map = c->map_end = NULL;
    }
    uni_text_fini(&u);
    return rc;
}

static int pieces(struct tok_encoder *c, const char *s, size_t n,
                  const uint8_t *cut)
{
    for (size_t i = 0; i < n;) {
        size_t j = pipe_end(cut, i);
        int chars = 0;
        for (size_t k = i; k < j && chars <= MAX_WORD; k++)
            chars += ((unsigned char)s[k] & 0xc0) != 0x80;
        if (!(cut[i] & CUT_DROP) && encode_word(c, s, i, j, chars))
            return -1;
        i = j;
    }
    return 0;
}

/* Words are joined by spaces, but for closing marks; a continuation that
 * begins a text keeps its mark, so that it is seen as one. */
static int detok(const struct tokenizer *t, struct detok *d, int32_t id,
                 struct buf *out)
{
    const struct wordpiece *w = t->self;
    const char *text = t->text[id];
    size_t n = t->len[id];
    int marked = has_mark(w, text, n), more = marked != w->mark_starts;
    size_t skip = marked && (w->mark_starts || d->begun) ? w->n_mark : 0;
    if (!out)
        return 0;
    if (d->begun && !more && !strchr(".,?!", text[skip]))
        buf_add_char(out, ' ');
    if (!d->begun && more && w->mark_starts)
        buf_add_str(out, "##");
    buf_add(out, text + skip, n - skip);
    return out->failed ? -1 : 0;
}

static void close_self(void *self)
{
    struct wordpiece *w = self;
    tok_index_fini(&w->start);
    tok_index_fini(&w->more);
    mem_free(w);
}

static const struct tok_ops ops = {.name = "WordPiece",
                                   .level = TOK_LEVEL_SUBWORD,
                                   .encode = encode,
                                   .pieces = pieces,
                                   .detok = detok,
                                   .close = close_self};

/* --- loading --- */

static int set_mark(struct wordpiece *w, const struct tok_source *s,
                    const char *mark)
{
    size_t n = strlen(mark);
    if (n < 1 || n > MAX_PREFIX)
        return tok_bad(s, "'continuing_subword_prefix' is not 1 to 16 bytes");
    memcpy(w->mark, mark, n);
    w->n_mark = n;
    return 0;
}

static int read_model(struct wordpiece *w, const struct tok_source *s)
{
    const struct json *max = json_get(s->model, "max_input_chars_per_word");
    const char *mark =
        json_string(json_get(s->model, "continuing_subword_prefix"));
    int64_t chars = 100;
    if (max && (json_int(max, &chars) || chars < 1 || chars > MAX_WORD))
        return tok_bad(s, "'max_input_chars_per_word' is not in 1..1000");
    w->max_chars = (int)chars;
    return set_mark(w, s, mark ? mark : "##");
}

/* A decoder must be WordPiece's own, with this mark. */
static int check_decoder(const struct wordpiece *w, const struct tok_source *s)
{
    const struct json *j = json_get(s->root, "decoder");
    const char *type = json_string(json_get(j, "type"));
    const char *mark = json_string(json_get(j, "prefix"));
    int tidy = 1;
    if (!type)
        return 0;
    if (tok_flag(s, j, "cleanup", 1, &tidy))
        return -1;
    return strcmp(type, "WordPiece") == 0 && mark &&
                   strcmp(mark, w->mark) == 0 && tidy
               ? 0
               : tok_refuse(s, "decoder", type);
}

/* tokenizer.json: its normalizer and pre_tokenizer must be BERT's. */
static int read_parts(struct wordpiece *w, const struct tok_source *s)
{
    const struct json *pre = json_get(s->root, "pre_tokenizer");
    const char *type = json_string(json_get(pre, "type"));
    if (!type || strcmp(type, "BertPreTokenizer") != 0)
        return tok_refuse(s, "pre_tokenizer", type);
    return check_decoder(w, s) ||
                   wordnorm_json(&w->norm, s, json_get(s->root, "normalizer"))
               ? -1
               : 0;
}

/* vocab.txt: an entry a line; the usual special tokens are control tokens. */
static int read_lines(struct tokenizer *t, const struct tok_source *s)
{
    static const char *const names[] = {"[PAD]", "[UNK]",  "[CLS]",
                                        "[SEP]", "[MASK]", NULL};
    const char *p = s->lines, *end = p + s->n_lines;
    int64_t n = 0;
    for (const char *q = p; q < end; q++)
        n += *q == '\n' || q + 1 == end;
    if (tok_vocab_begin(t, s, n, s->n_lines))
        return -1;
    for (int64_t id = 0; p < end; id++) {
        const char *lf = memchr(p, '\n', (size_t)(end - p));
        const char *next = lf ? lf + 1 : end;
        size_t len = (size_t)((lf ? lf : end) - p);
        len -= len > 0 && p[len - 1] == '\r';
        if (!utf8_valid(p, len))
            return tok_bad(s, "a line is not UTF-8");
        if (len > 0 && tok_vocab_set(t, s, id, p, len))
            return -1;
        p = next;
    }
    if (tok_vocab_end(t, s, 1))
        return -1;
    for (int i = 0; names[i]; i++) {
        int32_t id = tokenizer_lookup(t, names[i], strlen(names[i]));
        if (id >= 0)
            t->attr[id] |= TOK_CONTROL;
    }
    return 0;
}

static void put_around(struct tokenizer *t)
{
    int32_t cls = tokenizer_lookup(t, "[CLS]", 5);
    int32_t sep = tokenizer_lookup(t, "[SEP]", 5);
    if (cls >= 0 && sep >= 0) {
        t->before[t->n_before++] = cls;
        t->after[t->n_after++] = sep;
    }
}

static int load_json(struct tokenizer *t, struct wordpiece *w,
                     const struct tok_source *s)
{
    return read_model(w, s) || (!t->pipe && read_parts(w, s)) ||
                   tok_vocab_json(t, s, t->pipe != NULL)
               ? -1
               : 0;
}

static int load_lines(struct tokenizer *t, struct wordpiece *w,
                      const struct tok_source *s)
{
    if (read_model(w, s) || wordnorm_setup(&w->norm, s) || read_lines(t, s))
        return -1;
    put_around(t);
    return 0;
}

static int load_gguf(struct tokenizer *t, struct wordpiece *w,
                     const struct tok_source *s)
{
    w->max_chars = 100;
    w->mark_starts = 1;
    w->norm = (struct wordnorm){1, 1, 1, 1};
    t->bos = (int32_t)tok_gguf_int(s, "tokenizer.ggml.cls_token_id", 101);
    t->unk = 100; /* BERT's own ids, where the file says nothing */
    t->eos = 102;
    t->mask = 103;
    t->add_bos = t->add_sep = 1;
    return set_mark(w, s, GGUF_MARK) || tok_vocab_gguf(t, s) ? -1 : 0;
}

int tok_wordpiece_load(struct tokenizer *t, const struct tok_source *s)
{
    struct wordpiece *w = mem_zalloc(sizeof *w);
    if (!w)
        return err_nomem(s->e);
    t->self = w;
    t->ops = &ops;
    if (s->gguf    ? load_gguf(t, w, s)
        : s->model ? load_json(t, w, s)
                   : load_lines(t, w, s))
        return -1;
    return make_lists(w, t, s);
}
