/* tok_bpe: byte-level BPE (Sennrich et al. 2016; Radford et al. 2019). A text
 * is normalised, cut into words (pretok.h), and each word, as bytes, merged by
 * rank. The bytes are symbols through a table; the alphabet that vocabularies
 * write them in matters only while a file is read. Work is O(n log n) in the
 * text whatever it holds, or the text is refused (regex.h): there is no cache,
 * and merging searches by the heap alone.
 *
 * SPDX-License-Identifier: MIT */
#include "engine/text/kinds/tok_bpe.h"

#include <string.h>

#include "engine/base/mem.h"
#include "engine/base/utf8.h"
#include "engine/text/unicode/unicode.h"

/* What an entry stands for; added tokens are written as they are. */
static size_t piece_of(const struct tokenizer *t, int32_t id, char *out)
{
    const struct bpe *self = t->self;
    if (!(t->attr[id] & (TOK_CONTROL | TOK_ADDED)))
        return alphabet_read(&self->alphabet, t->text[id], t->len[id], out);
    memcpy(out, t->text[id], t->len[id]);
    return t->len[id];
}

static int find_bytes(struct bpe *b, const struct tokenizer *t)
{
    int n_missing = 0;
    for (int k = 0; k < 256; k++) {
        char one[4];
        int len = utf8_put(b->alphabet.char_of[k], one);
        b->byte_id[k] = tokenizer_lookup(t, one, (size_t)len);
        n_missing += b->byte_id[k] < 0;
    }
    return n_missing;
}

/* --------------------------------------------------------------- encoding */

/* Lay the bytes of a word out as a chain; returns its first node, or -1. */
static int32_t lay_out(const struct bpe *b, struct bpe_work *w, const char *s,
                       size_t n)
{
    int32_t first = -1, last = -1;
    for (size_t i = 0; i < n; i++) {
        int32_t id = b->byte_id[(unsigned char)s[i]];
        if (id < 0 && b->missing >= 0)
            id = b->missing;
        if (id < 0 && b->closes_gaps)
            continue;
        int32_t at = (int32_t)i;
        w->node[at] = (struct bpe_node){id, last, -1, UINT32_MAX};
        if (last >= 0)
            w->node[last].next = at;
        else
            first = at;
        last = at;
    }
    return first;
}

/* Is the whole word a token? Words longer than any entry are none. */
static int32_t whole_word(const struct tokenizer *t, const char *s, size_t n,
                          char *scratch)
{
    const struct bpe *b = t->self;
    size_t len = 0;
    if (n > t->max_len)
        return -1;
    for (size_t i = 0; i < n; i++) {
        uint32_t cp = b->alphabet.char_of[(unsigned char)s[i]];
        len += (size_t)utf8_put(cp, scratch + len);
    }
    int32_t id = tokenizer_lookup(t, scratch, len);
    return id >= 0 && (t->attr[id] & TOK_NOT_PLAIN) ? -1 : id;
}

/* One call of encode: what it works with. */
struct coder {
    struct tok_encoder *c;
    const struct bpe *b;
    struct bpe_work w;
    struct pre_work pre;
    struct uni_text text;
    char *scratch; /* of whole_word */
};

static int emit(struct coder *k, int32_t first, size_t at, size_t n)
{
    for (int32_t i = first; i >= 0;) {
        const struct bpe_node *node = &k->w.node[i];
        size_t end = node->next >= 0 ? (size_t)node->next : n;
        if (node->id >= 0 && tok_push(k->c, node->id, at + (size_t)i, at + end))
            return -1;
        i = node->next;
    }
    return 0;
}

static void count_missing(struct coder *k, const char *s, size_t n)
{
    for (size_t i = 0; i < n; i++)
        k->c->out->n_unknown += k->b->byte_id[(unsigned char)s[i]] < 0;
}

/* The word s[at, at + n). */
static int encode_word(struct coder *k, const char *s, size_t at, size_t n)
{
    int32_t id = -1;
    if (k->b->ignore_merges)
        id = whole_word(k->c->t, s + at, n, k->scratch);
    else if (n == 1)
        id = k->b->byte_id[(unsigned char)s[at]];
    if (id >= 0)
        return tok_push(k->c, id, at, at + n);
    if (bpe_reserve(&k->w, n, k->c->e))
        return -1;
    int32_t first = lay_out(k->b, &k->w, s + at, n);
    bpe_run(&k->b->merges, &k->w, first);
    return emit(k, first, at, n);
}

/* What the words are cut from: the text after its normalizer and with a space
 * in front, where the file says so. */
static int prepare(struct coder *k, const char **s, size_t *n)
{
    const struct bpe *b = k->b;
    struct uni_text *u = &k->text;
    int space = b->prefix_space && (*s)[0] != ' ';
    int form = uni_is_plain(*s, *n) ? 0 : b->form;
    if (!space && !form)
        return 0;
    if (space && uni_text_put(u, ' ', 0, 0, k->c->e))
        return -1;
    int rc = form ? uni_normalize((enum uni_form)(form - 1), *s, *n, u, k->c->e)
                  : uni_text_copy(u, *s, *n, k->c->e);
    if (rc)
        return -1;
    if (space && u->n > 1) /* it comes from the character that it precedes */
        u->end[0] = u->end[1];
    *s = u->p;
    *n = u->n;
    k->c->map = u->at;
    k->c->map_end = u->end;
    return 0;
}

static int encode_words(struct coder *k, const char *s, size_t n)
{
    if (prepare(k, &s, &n) ||
        pretok_run(&k->b->pre, s, n, &k->c->steps, &k->pre, k->c->e))
        return -1;
    count_missing(k, s, n);
    for (size_t i = 0; i < n;) {
        size_t j = i + 1;
        while (!(k->pre.cut[j] & CUT_PIECE)) /* the end is a cut */
            j++;
        if (!(k->pre.cut[i] & CUT_DROP) && encode_word(k, s, i, j - i))
            return -1;
        i = j;
    }
    return 0;
}

static int encode(struct tok_encoder *c, const char *s, size_t n)
{
    struct coder k = {.c = c, .b = c->t->self};
    int rc = -1;
    if (n > INT32_MAX / 2)
        return err_set(c->e, ERR_TOO_LARGE, "text of %zu bytes", n);
    k.scratch = mem_alloc(2 * c->t->max_len + 4);
    if (!k.scratch)
        err_nomem(c->e);
    else
        rc = encode_words(&k, s, n);
    bpe_work_fini(&k.w);
    pre_work_fini(&k.pre);
    uni_text_fini(&k.text);
    mem_free(k.scratch);
    return rc;
}

/* ---------------------------------------------------------------- loading */

static void close_bpe(void *self)
{
    struct bpe *b = self;
    pretok_fini(&b->pre);
    bpe_merges_fini(&b->merges);
    mem_free(b);
}

static const struct tok_ops ops = {.name = "BPE",
                                   .level = TOK_LEVEL_SUBWORD,
                                   .encode = encode,
                                   .close = close_bpe};

int tok_bpe_load(struct tokenizer *t, const struct tok_source *s)
{
    struct bpe *b = mem_zalloc(sizeof *b);
    if (!b)
        return err_nomem(s->e);
    t->self = b;
    t->ops = &ops;
    b->missing = -1;
    alphabet_init(&b->alphabet);
    int rc = s->gguf   ? bpe_read_gguf(b, t, s)
             : s->root ? bpe_read_json(b, t, s)
                       : bpe_read_files(b, t, s);
    if (rc)
        return -1;
    int n_missing = find_bytes(b, t);
    if (n_missing == 256)
        return tok_bad(s, "the vocabulary of byte-level BPE holds no byte");
    if (n_missing && b->fuses && b->missing >= 0)
        return tok_refuse(s, "model", "BPE with fuse_unk");
    t->covers_all = n_missing == 0;
    return tok_pieces(t, s, piece_of);
}
