/* vocab: see vocab.h.
 *
 * SPDX-License-Identifier: MIT */
#include "models/train/vocab.h"

#include <stdlib.h>
#include <string.h>

#include "engine/base/clock.h"
#include "engine/base/mem.h"
#include "engine/base/utf8.h"
#include "engine/text/kinds/alphabet.h"
#include "engine/text/pretok/pretok.h"
#include "models/train/bpe_learn.h"
#include "models/train/pieces.h"

#define MAX_SPECIAL (DATA_MAX_LABELS + 256)
/* Bytes of a sub-word: in the alphabet up to two each, which an entry of a
 * vocabulary has 65535 of at most. */
#define MAX_SUB_WORD 32767

struct vocab {
    const struct options *o;
    struct tokenizer_spec spec;
    const char *control[MAX_SPECIAL];
    char *special; /* --special with NUL for commas */
    struct pieces pieces;
    int failed;
    /* sub-words */
    struct pretok pre;
    struct pre_work work;
    struct alphabet alphabet;
    int64_t said_us; /* when progress was told */
};

/* ---------------------------------------------------------- special tokens */

static int is_special(const struct tokenizer_spec *s, const char *text)
{
    const char *const roles[] = {s->unk, s->eos, s->mask};
    for (int i = 0; i < 3; i++)
        if (roles[i] != NULL && strcmp(text, roles[i]) == 0)
            return 1;
    for (int i = 0; i < s->n_control; i++)
        if (strcmp(text, s->control[i]) == 0)
            return 1;
    return 0;
}

/* A token more. One character could be the entry of a byte. */
static int add_special(struct vocab *v, const char *text, struct err *e)
{
    size_t n = strlen(text);
    if (!utf8_valid(text, n) || utf8_count(text, n) < 2)
        return err_set(e, ERR_INVALID,
                       "--special has '%.60s', expected tokens of two "
                       "characters or more, commas between",
                       text);
    if (is_special(&v->spec, text))
        return err_set(e, ERR_INVALID,
                       "the special token '%.60s' is there "
                       "twice",
                       text);
    if (v->spec.n_control == MAX_SPECIAL)
        return err_set(e, ERR_INVALID, "more than %d special tokens",
                       MAX_SPECIAL);
    v->control[v->spec.n_control++] = text;
    return 0;
}

static int add_specials(struct vocab *v, const struct data_format *f,
                        struct err *e)
{
    for (int i = 0; f->controls != NULL && i < f->controls->n; i++)
        if (add_special(v, f->controls->name[i], e) != 0)
            return -1;
    if (v->o->special == NULL)
        return 0;
    v->special = mem_strdup(v->o->special);
    if (v->special == NULL)
        return err_nomem(e);
    for (char *at = v->special, *next = at; next != NULL; at = next) {
        next = strchr(at, ',');
        if (next != NULL)
            *next++ = '\0';
        if (add_special(v, at, e) != 0)
            return -1;
    }
    return 0;
}

static int n_special(const struct tokenizer_spec *s)
{
    return (s->unk != NULL) + 1 + (s->mask != NULL) + s->n_control;
}

static int put_special(const struct tokenizer_spec *s, const char **entry)
{
    int n = 0;
    if (s->unk != NULL)
        entry[n++] = s->unk;
    entry[n++] = s->eos;
    if (s->mask != NULL)
        entry[n++] = s->mask;
    for (int i = 0; i < s->n_control; i++)
        entry[n++] = s->control[i];
    return n;
}

/* ------------------------------------------------------------------ pieces */

static int count_piece(void *arg, const char *s, size_t n, uint32_t start,
                       uint32_t end)
{
    struct vocab *v = arg;
    (void)start;
    (void)end;
    return v->failed = pieces_add(&v->pieces, s, n) != 0;
}

/* The words inside which sub-words are merged. */
static int count_words(struct vocab *v, const char *s, size_t n, struct err *e)
{
    int64_t steps = regex_steps(n);
    if (pretok_run(&v->pre, s, n, &steps, &v->work, e) != 0)
        return -1;
    for (size_t i = 0; i < n && !v->failed;) {
        size_t j = i + 1;
        while (!(v->work.cut[j] & CUT_PIECE)) /* the end is a cut */
            j++;
        v->failed = pieces_add(&v->pieces, s + i, j - i) != 0;
        i = j;
    }
    return 0;
}

int vocab_add(struct vocab *v, const char *text, size_t n, struct err *e)
{
    int rc = v->o->tokenizer == TOKENIZER_BPE
                 ? count_words(v, text, n, e)
                 : tokenizer_split(&v->spec, text, n, count_piece, v, e);
    return rc != 0 ? -1 : v->failed ? err_nomem(e) : 0;
}

/* ---------------------------------------------------- words and characters */

struct ranked {
    const char *text;
    int64_t count;
};

static int by_count(const void *a, const void *b)
{
    const struct ranked *x = a, *y = b;
    if (x->count != y->count)
        return x->count < y->count ? 1 : -1;
    return strcmp(x->text, y->text);
}

static int write_ranked(struct vocab *v, struct ranked *r, const char **entry,
                        struct buf *out, struct err *e)
{
    const struct options *o = v->o;
    int left = 0, most = o->vocab_size - n_special(&v->spec);
    const struct pieces *p = &v->pieces;
    for (int i = 0; i < p->n; i++)
        r[i] = (struct ranked){pieces_text(p, i), p->v[i].count};
    qsort(r, (size_t)p->n, sizeof *r, by_count);
    if (o->tokenizer == TOKENIZER_CHARACTERS) {
        for (int i = 0; i < p->n; i++)
            left |= r[i].count < o->min_count || i >= most;
        if (!left)
            v->spec.unk = NULL; /* nothing to stand in for */
    }
    int n = put_special(&v->spec, entry);
    for (int i = 0; i < p->n && n < o->vocab_size; i++)
        if (r[i].count >= o->min_count && !is_special(&v->spec, r[i].text))
            entry[n++] = r[i].text;
    return tokenizer_build(&v->spec, entry, n, out, e);
}

static int write_pieces(struct vocab *v, struct buf *out, struct err *e)
{
    size_t n = (size_t)v->pieces.n;
    struct ranked *r = mem_array(n + 1, sizeof *r);
    const char **entry =
        mem_array(n + (size_t)n_special(&v->spec), sizeof *entry);
    int rc = r == NULL || entry == NULL ? err_nomem(e)
                                        : write_ranked(v, r, entry, out, e);
    mem_free(r);
    mem_free(entry);
    return rc;
}

/* --------------------------------------------------------------- sub-words */

/* Bytes in GPT-2's alphabet, appended to out with a NUL behind. */
static void put_alphabet(const struct alphabet *a, const char *s, size_t n,
                         struct buf *out)
{
    char c[4];
    for (size_t i = 0; i < n; i++) {
        int len = utf8_put(a->char_of[(unsigned char)s[i]], c);
        buf_add(out, c, (size_t)len);
    }
    buf_add_char(out, '\0');
}

/* No text makes a special token, nor an entry that is too long: a line of one
 * letter would. */
static int is_barred(void *arg, const char *s, size_t n)
{
    struct vocab *v = arg;
    struct buf b;
    if (n > MAX_SUB_WORD)
        return 1;
    buf_init(&b, 4 * n + 16);
    put_alphabet(&v->alphabet, s, n, &b);
    int barred = !b.failed && is_special(&v->spec, b.p);
    v->failed |= b.failed;
    buf_fini(&b);
    return barred;
}

static void said(void *arg, int symbols)
{
    struct vocab *v = arg;
    int64_t now = clock_now_us();
    if (v->o->log == NULL ||
        (double)(now - v->said_us) < 1e6 * v->o->report_seconds)
        return;
    v->said_us = now;
    fprintf(v->o->log, "vocabulary: %d of %d entries\n",
            symbols + n_special(&v->spec), v->o->sub_words);
}

/* The entry of each symbol: special tokens, bytes in the alphabet's order, what
 * merges made. */
static void number_symbols(const struct vocab *v, int n, int32_t *id)
{
    int32_t at = n_special(&v->spec);
    for (int c = 0; c < 512; c++)
        for (int b = 0; b < 256; b++)
            if (v->alphabet.char_of[b] == c)
                id[b] = at++;
    for (int i = 256; i < n; i++)
        id[i] = at++;
}

struct bpe_texts {
    struct buf text;
    size_t *at;         /* [n] of a symbol's text */
    int32_t *id;        /* [n] */
    const char **entry; /* [n + special tokens] */
    int32_t (*merge)[2];
};

static int write_learned(struct vocab *v, const struct bpe_learned *l,
                         struct bpe_texts *x, struct buf *out, struct err *e)
{
    const struct pieces *p = &l->symbols;
    int n = put_special(&v->spec, x->entry) + p->n;
    for (int i = 0; i < p->n; i++) {
        x->at[i] = x->text.len;
        put_alphabet(&v->alphabet, pieces_text(p, i), p->v[i].n, &x->text);
    }
    if (x->text.failed)
        return err_nomem(e);
    number_symbols(v, p->n, x->id);
    for (int i = 0; i < p->n; i++)
        x->entry[x->id[i]] = x->text.p + x->at[i];
    for (int i = 0; i < l->n_merges; i++) {
        x->merge[i][0] = x->id[l->merge[i].left];
        x->merge[i][1] = x->id[l->merge[i].right];
    }
    const struct tokenizer_bpe b = {x->entry, n, (const int32_t(*)[2])x->merge,
                                    l->n_merges};
    return tokenizer_build_bpe(&v->spec, &b, out, e);
}

static int write_symbols(struct vocab *v, const struct bpe_learned *l,
                         struct buf *out, struct err *e)
{
    size_t n = (size_t)l->symbols.n, m = (size_t)l->n_merges + 1;
    struct bpe_texts x = {
        .at = mem_array(n, sizeof *x.at),
        .id = mem_array(n, sizeof *x.id),
        .entry = mem_array(n + (size_t)n_special(&v->spec), sizeof *x.entry),
        .merge = mem_array(m, sizeof *x.merge)};
    buf_init(&x.text, (size_t)1 << 30);
    int rc = x.at == NULL || x.id == NULL || x.entry == NULL || x.merge == NULL
                 ? err_nomem(e)
                 : write_learned(v, l, &x, out, e);
    buf_fini(&x.text);
    mem_free(x.at);
    mem_free(x.id);
    mem_free(x.entry);
    mem_free(x.merge);
    return rc;
}

static int write_bpe(struct vocab *v, struct buf *out, struct err *e)
{
    const struct options *o = v->o;
    struct bpe_learned l;
    struct bpe_goal g = {.symbols = o->sub_words - n_special(&v->spec),
                         .min_count = o->min_count > 2 ? o->min_count : 2,
                         .is_barred = is_barred,
                         .said = said,
                         .arg = v};
    v->said_us = clock_now_us();
    int rc = bpe_learn(&v->pieces, &g, &l, e);
    if (rc == 0 && v->failed)
        rc = err_nomem(e);
    if (rc == 0 && l.symbols.n < g.symbols && o->log != NULL)
        fprintf(o->log,
                "vocabulary: no pair is left that stands %lld times: it ends "
                "early\n",
                (long long)g.min_count);
    if (rc == 0)
        rc = write_symbols(v, &l, out, e);
    bpe_learned_fini(&l);
    return rc;
}

/* -------------------------------------------------------------------- all */

static int open_bpe(struct vocab *v, struct err *e)
{
    int least = 256 + n_special(&v->spec);
    if (v->o->sub_words < least)
        return err_set(e, ERR_INVALID,
                       "--tokenizer bpe:%d has too few entries: 256 bytes and "
                       "%d special tokens are %d",
                       v->o->sub_words, least - 256, least);
    alphabet_init(&v->alphabet);
    return pretok_add(&v->pre, PRE_BYTES, strlen(PRE_BYTES), PRE_ISOLATED, e);
}

int vocab_open(const struct options *o, const struct data_format *f,
               struct vocab **out, struct err *e)
{
    static const char *const normalizer[] = {"seqd-english", "seqd-whitespace",
                                             "seqd-characters", NULL};
    int bpe = o->tokenizer == TOKENIZER_BPE;
    struct vocab *v = *out = mem_zalloc(sizeof *v);
    if (v == NULL)
        return err_nomem(e);
    v->o = o;
    v->spec = (struct tokenizer_spec){.normalizer = normalizer[o->tokenizer],
                                      .lowercase = o->lowercase,
                                      .unk = bpe ? NULL : "<unk>",
                                      .bos = f->add_eos ? NULL : "</s>",
                                      .eos = "</s>",
                                      .mask = f->masked ? "<mask>" : NULL,
                                      .control = v->control,
                                      .add_bos = !f->labelled && !f->add_eos,
                                      .add_eos = f->add_eos};
    pieces_init(&v->pieces);
    if (add_specials(v, f, e) == 0 && (!bpe || open_bpe(v, e) == 0))
        return 0;
    vocab_close(v);
    *out = NULL;
    return -1;
}

int vocab_write(struct vocab *v, struct buf *out, struct err *e)
{
    return v->o->tokenizer == TOKENIZER_BPE ? write_bpe(v, out, e)
                                            : write_pieces(v, out, e);
}

int vocab_write_setup(struct vocab *v, struct buf *out, struct err *e)
{
    return v->o->tokenizer == TOKENIZER_BPE
               ? tokenizer_build_setup(&v->spec, out, e)
               : 0;
}

void vocab_close(struct vocab *v)
{
    if (v == NULL)
        return;
    pieces_fini(&v->pieces);
    pretok_fini(&v->pre);
    pre_work_fini(&v->work);
    mem_free(v->special);
    mem_free(v);
}

static int count_record(void *arg, int file, const struct record *r,
                        struct err *e)
{
    (void)file;
    return vocab_add(arg, r->text, r->n, e);
}

int vocab_files(const struct options *o, const struct data_format *f,
                struct buf *out, struct buf *setup, struct err *e)
{
    double share[DATA_MAX_FILES];
    struct vocab *v;
    int n_files;
    if (vocab_open(o, f, &v, e) != 0)
        return -1;
    int rc = data_each(o->data, f, share, &n_files, count_record, v, e);
    if (rc == 0)
        rc = vocab_write(v, out, e);
    if (rc == 0)
        rc = vocab_write_setup(v, setup, e);
    vocab_close(v);
    return rc;
}

int vocab_build(const struct options *o, const struct data_format *f,
                struct buf *out, struct err *e)
{
    struct buf setup;
    buf_init(&setup, (size_t)1 << 20);
    int rc = vocab_files(o, f, out, &setup, e);
    buf_fini(&setup);
    return rc;
}
