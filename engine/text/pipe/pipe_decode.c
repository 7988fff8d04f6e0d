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

static int read_strip(struct pipe *p, const struct tok_source *s,
                      const struct json *j, int whole)
{
    struct pipe_decoder *d = add(p, s, whole ? DEC_FIRST : DEC_STRIP);
    if (!d || pipe_string(s, j, "content", d->text, &d->n_text))
        return -1;
    d->arg = count(j, "start");
    d->arg_end = count(j, "stop");
    return whole && d->arg_end ? tok_refuse(s, "decoder Strip", "stop") : 0;
}

static int read_replace(struct pipe *p, const struct tok_source *s,
                        const struct json *j, int whole)
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
    return whole && utf8_count(d->pattern, d->n_pattern) > 1
               ? tok_refuse(s, "decoder Replace after Fuse of", d->pattern)
               : 0;
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
    return d ? pipe_string(s, j, "suffix", d->pattern, &d->n_pattern) : -1;
}

/* whole: a decoder before has made one text of the tokens. */
static int read_one(struct pipe *p, const struct tok_source *s,
                    const struct json *j, int *whole)
{
    const char *type = json_string(json_get(j, "type"));
    type = type ? type : "";
    if (strcmp(type, "Fuse") == 0) {
        *whole = 1;
        return 0;
    }
    if (strcmp(type, "Strip") == 0)
        return read_strip(p, s, j, *whole);
    if (strcmp(type, "Replace") == 0)
        return read_replace(p, s, j, *whole);
    if (*whole)
        return tok_refuse(s, "decoder after Fuse", type);
    if (strcmp(type, "ByteLevel") == 0) {
        *whole = 1;
        return add(p, s, DEC_BYTES) ? 0 : -1;
    }
    if (strcmp(type, "ByteFallback") == 0)
        return add(p, s, DEC_FALLBACK) ? 0 : -1;
    if (strcmp(type, "Metaspace") == 0)
        return read_marks(p, s, j);
    if (strcmp(type, "WordPiece") == 0)
        return read_pieces(p, s, j);
    if (strcmp(type, "BPEDecoder") == 0)
        return read_suffix(p, s, j);
    return tok_refuse(s, "decoder", type);
}

int pipe_read_decoder(struct pipe *p, const struct tok_source *s)
{
    const struct json *j = json_get(s->root, "decoder");
    const char *type = json_string(json_get(j, "type"));
    int whole = 0;
    p->joins = !type;
    if (!type)
        return 0;
    if (strcmp(type, "Sequence") != 0)
        return read_one(p, s, j, &whole);
    j = json_child(json_get(j, "decoders"));
    for (; j; j = json_next(j))
        if (read_one(p, s, j, &whole))
            return -1;
    return 0;
}

/* ---------------------------------------------------------------- decoding */

static void replace(struct buf *b, const char *what, size_t n, const char *with,
                    size_t n_with)
{
    struct buf out;
    buf_init(&out, b->max);
    buf_add_str(&out, "");
    for (size_t i = 0; i < b->len;) {
        int hit = n > 0 && n <= b->len - i && memcmp(b->p + i, what, n) == 0;
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
    if (!first && n && b->len >= n && !memcmp(b->p, d->pattern, n)) {
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

static void fallback(struct buf *b)
{
    if (b->len == 6 && !memcmp(b->p, "<0x", 3) && b->p[5] == '>' &&
        hex(b->p[3]) >= 0 && hex(b->p[4]) >= 0) {
        b->p[0] = (char)(16 * hex(b->p[3]) + hex(b->p[4]));
        b->p[1] = 0;
        b->len = 1;
    }
}

/* A word's end is a space before the next token: *ends. */
static void suffix(struct buf *b, const struct pipe_decoder *d, int *ends)
{
    size_t n = d->n_pattern;
    if (n && b->len >= n && !memcmp(b->p + b->len - n, d->pattern, n)) {
        drop(b, b->len - n, n);
        *ends = 1;
    }
    replace(b, d->pattern, n, " ", 1);
}

static void apply(const struct pipe *p, const struct pipe_decoder *d, int first,
                  struct buf *b, int *ends)
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
        suffix(b, d, ends);
        break;
    case DEC_FALLBACK:
        fallback(b);
        break;
    case DEC_STRIP:
        strip(b, d, d->arg, d->arg_end);
        break;
    case DEC_FIRST:
        strip(b, d, first ? d->arg : 0, 0);
        break;
    case DEC_REPLACE:
        replace(b, d->pattern, d->n_pattern, d->text, d->n_text);
        break;
    }
}

/* A token as bytes, into b, which is empty; no more than MAX_GROWTH times its
 * length: b->full. */
static void decode(const struct tokenizer *t, int32_t id, int first,
                   struct buf *b, int *ends)
{
    const struct pipe *p = t->pipe;
    const struct tok_entry *normal = pipe_added_text(p, id);
    size_t n = normal ? normal->len : t->len[id];
    *ends = 0;
    b->max = n * MAX_GROWTH + PIPE_MAX_TEXT;
    buf_add(b, normal ? normal->key : t->text[id], n);
    for (int i = 0; i < p->n_dec && !b->failed; i++)
        apply(p, &p->dec[i], first, b, ends);
}

int pipe_detok(const struct tokenizer *t, struct detok *d, int32_t id,
               struct buf *out)
{
    struct buf b;
    int ends, rc = 0, first = !d->begun;
    buf_init(&b, SIZE_MAX / 2);
    decode(t, id, first, &b, &ends);
    if ((t->pipe->joins && !first) || d->glue)
        rc = detok_bytes(d, " ", 1, out);
    rc = rc || (b.failed && !b.full) || detok_bytes(d, b.p, b.len, out);
    d->glue = (uint8_t)ends;
    buf_fini(&b);
    return rc ? -1 : 0;
}

int pipe_pieces(struct tokenizer *t, const struct tok_source *s)
{
    struct buf all, b;
    int ends, failed = 0, full = 0;
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
            decode(t, id, 0, &b, &ends);
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
