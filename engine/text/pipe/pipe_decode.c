/* pipe_decode: the decoders of a pipeline (pipe.h). They are applied to each
 * token by itself; what the reference does to the whole text is done at its
 * beginning, or refused by its name.
 *
 * SPDX-License-Identifier: MIT */
#include <string.h>

#include "engine/base/mem.h"
#include "engine/base/utf8.h"
#include "engine/text/pipe/pipe.h"

#define MAX_GROWTH 8                   /* of a token */
#define MAX_STRIP 200                  /* counted in a byte of struct detok */
#define MAX_PIECES ((size_t)256 << 20) /* of all; a file has at most 64 MiB */

/* ----------------------------------------------------------------- reading */

static struct pipe_decoder *add(struct pipe *p, const struct tok_source *s,
                                enum pipe_dec op)
{
    if (p->n_dec == PIPE_MAX_STEPS) {
        tok_refuse(s, "decoder", "Sequence of many");
        return NULL;
    }
    struct pipe_decoder *d = &p->dec[p->n_dec++];
    *d = (struct pipe_decoder){.op = op};
    return d;
}

static int count(const struct json *j, const char *key)
{
    int64_t n = 0;
    return json_int(json_get(j, key), &n) == 0 && n > 0
               ? (int)(n < 1000 ? n : 1000)
               : 0;
}

/* What the decoders before have made of the tokens. */
struct made {
    int whole; /* one text */
    int bytes; /* tokens of bytes: each is one here, a run of them there */
    int ended; /* ends of words: they are spaces before the next token */
    int begun; /* what is in front of the whole was taken away */
};

static int read_strip(struct pipe *p, const struct tok_source *s,
                      const struct json *j, struct made *m)
{
    struct pipe_decoder *d = add(p, s, m->whole ? DEC_FIRST : DEC_STRIP);
    if (!d || pipe_string(s, j, "content", d->text, &d->n_text))
        return -1;
    d->arg = count(j, "start");
    d->arg_end = count(j, "stop");
    if (m->whole && d->arg_end)
        return tok_refuse(s, "decoder Strip", "stop");
    if (d->arg > MAX_STRIP || (m->whole && m->begun++))
        return tok_refuse(s, "decoder Strip", "of much");
    return m->bytes && !m->whole
               ? tok_refuse(s, "decoder after ByteFallback", "Strip")
               : 0;
}

/* Once a text is whole, or bytes are, a pattern must lie in one token. */
static int is_safe(const struct made *m, const struct pipe_decoder *d)
{
    size_t n = m->bytes ? d->n_pattern : utf8_count(d->pattern, d->n_pattern);
    return !(m->whole || m->bytes) ||
           (n == 1 && !(m->bytes && d->pattern[0] & 0x80));
}

static int read_replace(struct pipe *p, const struct tok_source *s,
                        const struct json *j, const struct made *m)
{
    const struct json *pattern = json_get(j, "pattern");
    struct pipe_decoder *d = add(p, s, DEC_REPLACE);
    if (!d)
        return -1;
    if (json_get(pattern, "Regex"))
        return tok_refuse(s, "decoder Replace of",
                          json_string(json_get(pattern, "Regex")));
    if (pipe_string(s, pattern, "String", d->pattern, &d->n_pattern) ||
        pipe_string(s, j, "content", d->text, &d->n_text))
        return -1;
    if (d->n_pattern == 0)
        return tok_refuse(s, "decoder Replace of", "nothing");
    return is_safe(m, d)
               ? 0
               : tok_refuse(s, "decoder Replace of a whole text", d->pattern);
}

static int read_marks(struct pipe *p, const struct tok_source *s,
                      const struct json *j)
{
    struct pipe_decoder *d = add(p, s, DEC_MARKS);
    const char *scheme = json_string(json_get(j, "prepend_scheme"));
    int old;
    if (!d || pipe_string(s, j, "replacement", d->pattern, &d->n_pattern) ||
        tok_flag(s, j, "add_prefix_space", 1, &old))
        return -1;
    d->arg = scheme ? strcmp(scheme, "never") != 0 : old;
    return 0;
}

static int read_pieces(struct pipe *p, const struct tok_source *s,
                       const struct json *j)
{
    struct pipe_decoder *d = add(p, s, DEC_WORDPIECE);
    return !d || pipe_string(s, j, "prefix", d->pattern, &d->n_pattern) ||
                   tok_flag(s, j, "cleanup", 1, &d->arg)
               ? -1
               : 0;
}

static int read_suffix(struct pipe *p, const struct tok_source *s,
                       const struct json *j)
{
    struct pipe_decoder *d = add(p, s, DEC_SUFFIX);
    if (!d || pipe_string(s, j, "suffix", d->pattern, &d->n_pattern))
        return -1;
    return d->n_pattern ? 0 : tok_refuse(s, "decoder BPEDecoder of", "nothing");
}

static int read_ctc(struct pipe *p, const struct tok_source *s,
                    const struct json *j)
{
    struct pipe_decoder *d = add(p, s, DEC_CTC);
    if (!d || p->n_dec > 1)
        return d ? tok_refuse(s, "decoder after others", "CTC") : -1;
    p->once = 1;
    if (pipe_string(s, j, "pad_token", d->pattern, &d->n_pattern) ||
        pipe_string(s, j, "word_delimiter_token", d->text, &d->n_text) ||
        tok_flag(s, j, "cleanup", 1, &d->arg))
        return -1;
    return d->n_text ? 0 : tok_refuse(s, "decoder CTC without", "delimiter");
}

/* Those that tell the tokens apart. */
static int read_of_tokens(struct pipe *p, const struct tok_source *s,
                          const struct json *j, const char *type,
                          struct made *m)
{
    if (strcmp(type, "CTC") == 0)
        return read_ctc(p, s, j);
    if (p->once) /* tokens that are gone are none that come first */
        return tok_refuse(s, "decoder after CTC", type);
    if (strcmp(type, "Metaspace") == 0) {
        if (m->bytes && p->marks)
            return tok_refuse(s, "decoder after ByteFallback", "two Metaspace");
        p->marks = m->bytes ? p->n_dec : 0;
        return read_marks(p, s, j);
    }
    if (strcmp(type, "ByteFallback") == 0) {
        m->bytes = 1;
        return add(p, s, DEC_FALLBACK) ? 0 : -1;
    }
    if (strcmp(type, "BPEDecoder") == 0) {
        m->ended = 1;
        return read_suffix(p, s, j);
    }
    if (m->bytes)
        return tok_refuse(s, "decoder after ByteFallback", type);
    if (strcmp(type, "ByteLevel") == 0) {
        m->whole = m->bytes = 1;
        return add(p, s, DEC_BYTES) ? 0 : -1;
    }
    return strcmp(type, "WordPiece") == 0 ? read_pieces(p, s, j)
                                          : tok_refuse(s, "decoder", type);
}

static int read_one(struct pipe *p, const struct tok_source *s,
                    const struct json *j, struct made *m)
{
    const char *type = json_string(json_get(j, "type"));
    type = type ? type : "";
    if (strcmp(type, "Fuse") == 0) {
        m->whole = 1;
        return 0;
    }
    if (m->ended)
        return tok_refuse(s, "decoder after BPEDecoder", type);
    if (strcmp(type, "Strip") == 0)
        return read_strip(p, s, j, m);
    if (strcmp(type, "Replace") == 0)
        return read_replace(p, s, j, m);
    return m->whole ? tok_refuse(s, "decoder after Fuse", type)
                    : read_of_tokens(p, s, j, type, m);
}

int pipe_read_decoder(struct pipe *p, const struct tok_source *s)
{
    const struct json *j = json_get(s->root, "decoder");
    const char *type = json_string(json_get(j, "type"));
    struct made m = {0};
    p->joins = !type;
    if (!type)
        return 0;
    if (strcmp(type, "Sequence") != 0)
        return read_one(p, s, j, &m);
    j = json_child(json_get(j, "decoders"));
    for (; j; j = json_next(j))
        if (read_one(p, s, j, &m))
            return -1;
    return 0;
}

/* ---------------------------------------------------------------- decoding */

static int has(const struct buf *b, const char *what, size_t n)
{
    for (size_t i = 0; n > 0 && i + n <= b->len; i++)
        if (b->p[i] == what[0] && memcmp(b->p + i, what, n) == 0)
            return 1;
    return 0;
}

static void replace(struct buf *b, const char *what, size_t n, const char *with,
                    size_t n_with)
{
    struct buf out;
    if (!has(b, what, n)) /* as in most tokens, and all are read at the start */
        return;
    buf_init(&out, b->max);
    buf_add_str(&out, "");
    for (size_t i = 0; i < b->len;) {
        int hit = n <= b->len - i && memcmp(b->p + i, what, n) == 0;
        buf_add(&out, hit ? with : b->p + i, hit ? n_with : 1);
        i += hit ? n : 1;
    }
    b->failed |= out.failed;
    b->full |= out.full;
    if (!out.failed) {
        b->len = 0;
        buf_add(b, out.p, out.len);
    }
    buf_fini(&out);
}

static void drop(struct buf *b, size_t from, size_t n)
{
    memmove(b->p + from, b->p + from + n, b->len - from - n + 1);
    b->len -= n;
}

static void strip(struct buf *b, const struct pipe_decoder *d, int left,
                  int right)
{
    size_t n = d->n_text;
    for (; n && left > 0 && b->len >= n && !memcmp(b->p, d->text, n); left--)
        drop(b, 0, n);
    for (; n && right > 0 && b->len >= n &&
           !memcmp(b->p + b->len - n, d->text, n);
         right--)
        drop(b, b->len - n, n);
}

/* What transformers tidies up in English. */
static void tidy(struct buf *b)
{
    static const char *const list[][2] = {
        {" .", "."},   {" ?", "?"},     {" !", "!"},    {" ,", ","},
        {" ' ", "'"},  {" n't", "n't"}, {" 'm", "'m"},  {" do not", " don't"},
        {" 's", "'s"}, {" 've", "'ve"}, {" 're", "'re"}};
    for (size_t i = 0; i < sizeof list / sizeof list[0]; i++)
        replace(b, list[i][0], strlen(list[i][0]), list[i][1],
                strlen(list[i][1]));
}

static void word_piece(struct buf *b, const struct pipe_decoder *d, int first)
{
    size_t n = d->n_pattern;
    if (!first && b->len >= n && !memcmp(b->p, d->pattern, n)) {
        drop(b, 0, n);
    } else if (!first) {
        buf_add_char(b, ' ');
        if (!b->failed) {
            memmove(b->p + 1, b->p, b->len - 1);
            b->p[0] = ' ';
        }
    }
    if (d->arg)
        tidy(b);
}

static int hex(char c)
{
    return c >= '0' && c <= '9'                 ? c - '0'
           : (c | 32) >= 'a' && (c | 32) <= 'f' ? (c | 32) - 'a' + 10
                                                : -1;
}

/* What a token is: a word's end, a byte. */
#define IS_END 1
#define IS_BYTE 2

static void fallback(struct buf *b, int *is)
{
    if (b->len == 6 && !memcmp(b->p, "<0x", 3) && b->p[5] == '>' &&
        hex(b->p[3]) >= 0 && hex(b->p[4]) >= 0) {
        b->p[0] = (char)(16 * hex(b->p[3]) + hex(b->p[4]));
        b->p[1] = 0;
        b->len = 1;
        *is |= IS_BYTE;
    }
}

/* A word's end is a space before the next token. */
static void suffix(struct buf *b, const struct pipe_decoder *d, int *is)
{
    size_t n = d->n_pattern;
    if (n && b->len >= n && !memcmp(b->p + b->len - n, d->pattern, n)) {
        drop(b, b->len - n, n);
        *is |= IS_END;
    }
    replace(b, d->pattern, n, " ", 1);
}

/* In front of the whole text: *gone counts, and is MAX_STRIP once something
 * else has come. */
static void strip_first(struct buf *b, const struct pipe_decoder *d,
                        uint8_t *gone)
{
    size_t n = d->n_text;
    while (n && *gone < d->arg && b->len >= n && !memcmp(b->p, d->text, n)) {
        drop(b, 0, n);
        ++*gone;
    }
    if (b->len > 0)
        *gone = MAX_STRIP;
}

static void ctc(struct buf *b, const struct pipe_decoder *d)
{
    replace(b, d->pattern, d->n_pattern, "", 0);
    if (!d->arg)
        return;
    tidy(b);
    replace(b, d->text, d->n_text, " ", 1);
}

static void apply(const struct pipe *p, const struct pipe_decoder *d, int first,
                  struct buf *b, int *is, uint8_t *gone)
{
    switch (d->op) {
    case DEC_BYTES:
        b->len = alphabet_read(&p->alphabet, b->p, b->len, b->p);
        b->p[b->len] = 0;
        break;
    case DEC_MARKS:
        replace(b, d->pattern, d->n_pattern, " ", first && d->arg ? 0 : 1);
        break;
    case DEC_WORDPIECE:
        word_piece(b, d, first);
        break;
    case DEC_SUFFIX:
        suffix(b, d, is);
        break;
    case DEC_FALLBACK:
        fallback(b, is);
        break;
    case DEC_STRIP:
        strip(b, d, d->arg, d->arg_end);
        break;
    case DEC_FIRST:
        strip_first(b, d, gone);
        break;
    case DEC_CTC:
        ctc(b, d);
        break;
    case DEC_REPLACE:
        replace(b, d->pattern, d->n_pattern, d->text, d->n_text);
        break;
    }
}

/* A token as bytes, into b, which is empty; no more than MAX_GROWTH times its
 * length: b->full. */
static void decode(const struct tokenizer *t, int32_t id, int first,
                   struct buf *b, int *is, uint8_t *gone)
{
    const struct pipe *p = t->pipe;
    const struct tok_entry *normal = pipe_added_text(p, id);
    size_t n = normal ? normal->len : t->len[id];
    *is = 0;
    b->max = n * MAX_GROWTH + PIPE_MAX_TEXT;
    buf_add(b, normal ? normal->key : t->text[id], n);
    for (int i = 0; i < p->n_dec && !b->failed; i++)
        apply(p, &p->dec[i], first, b, is, gone);
}

/* Bytes may spell a mark, which is written once it is whole: out from `at` on;
 * `first`: all tokens so far were bytes, and are the first one together. */
static void replace_spelt(const struct pipe *p, struct buf *out, size_t at,
                          int first)
{
    const struct pipe_decoder *d = &p->dec[p->marks];
    struct buf b;
    if (!out || out->failed || out->len == at)
        return;
    buf_init(&b, SIZE_MAX / 2);
    buf_add(&b, out->p + at, out->len - at);
    replace(&b, d->pattern, d->n_pattern, " ", first && d->arg ? 0 : 1);
    out->failed |= b.failed;
    out->len = at;
    if (!b.failed)
        buf_add(out, b.p, b.len);
    buf_fini(&b);
}

int pipe_detok(const struct tokenizer *t, struct detok *d, int32_t id,
               struct buf *out)
{
    size_t at = out ? out->len : 0;
    struct buf b;
    int is, rc = 0, first = !d->begun;
    if (t->pipe->once && id == d->last)
        return 0;
    buf_init(&b, SIZE_MAX / 2);
    decode(t, id, first, &b, &is, &d->in_quote);
    if ((t->pipe->joins && !first) || d->glue)
        rc = detok_bytes(d, " ", 1, out);
    rc = rc || (b.failed && !b.full) || detok_bytes(d, b.p, b.len, out);
    if (t->pipe->marks) {
        d->run = is & IS_BYTE && d->run < 2 ? 1 : 2;
        if (is & IS_BYTE)
            replace_spelt(t->pipe, out, at, d->run == 1);
    }
    d->glue = (is & IS_END) != 0;
    buf_fini(&b);
    return rc ? -1 : 0;
}

/* A word's end inside of an entry is a space, but in the last token of all. */
static int check_ends(const struct tokenizer *t, const struct tok_source *s)
{
    for (int k = 0; k < t->pipe->n_dec; k++) {
        const struct pipe_decoder *d = &t->pipe->dec[k];
        for (int id = 0; id < t->n && d->op == DEC_SUFFIX; id++) {
            const char *at = strstr(t->text[id], d->pattern);
            if (at && at[d->n_pattern])
                return tok_refuse(s, "decoder BPEDecoder with the entry",
                                  t->text[id]);
        }
    }
    return 0;
}

int pipe_pieces(struct tokenizer *t, const struct tok_source *s)
{
    struct buf all, b;
    int is, failed = 0, full = 0;
    uint8_t gone = MAX_STRIP;
    if (check_ends(t, s))
        return -1;
    t->piece_at = mem_array((size_t)t->n + 1, sizeof *t->piece_at);
    if (!t->piece_at)
        return err_nomem(s->e);
    buf_init(&all, MAX_PIECES);
    buf_init(&b, SIZE_MAX / 2);
    buf_add_str(&all, "");
    for (int id = 0; id < t->n && !failed; id++) {
        t->piece_at[id] = (uint32_t)all.len;
        buf_clear(&b);
        if (t->attr[id] & (TOK_CONTROL | TOK_ADDED))
            buf_add(&all, t->text[id], t->len[id]);
        else
            decode(t, id, 0, &b, &is, &gone);
        buf_add(&all, b.p ? b.p : "", b.len);
        failed = b.failed | all.failed;
        full = b.full | all.full;
    }
    t->piece_at[t->n] = (uint32_t)all.len;
    buf_fini(&b);
    t->pieces = buf_take(&all);
    if (full)
        return tok_refuse(s, "decoder", "of long texts");
    return failed ? err_nomem(s->e) : 0;
}
