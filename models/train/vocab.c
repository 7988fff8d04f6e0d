/* vocab: counts the pieces of the training text and keeps the most frequent.
 * A hash table with open addressing; the pieces lie in one growing block.
 *
 * SPDX-License-Identifier: MIT */
#include <stdlib.h>
#include <string.h>

#include "engine/base/mem.h"
#include "models/train/data.h"

struct piece {
    size_t at; /* in the text block, NUL-terminated */
    int64_t count;
};

struct counter {
    struct tokenizer_spec spec;
    struct buf text;
    struct piece *piece;
    int n, cap;
    int32_t *slot; /* [n_slots] index of a piece, or -1 */
    uint32_t n_slots;
    int failed;
};

static uint32_t hash_of(const char *s, size_t n)
{
    uint32_t h = 2166136261u; /* FNV-1a */
    for (size_t i = 0; i < n; i++)
        h = (h ^ (uint8_t)s[i]) * 16777619u;
    return h ^ (h >> 15);
}

static int rehash(struct counter *c)
{
    uint32_t n = c->n_slots == 0 ? 1u << 16 : c->n_slots * 2;
    int32_t *slot = mem_array(n, sizeof *slot);
    if (slot == NULL)
        return -1;
    for (uint32_t i = 0; i < n; i++)
        slot[i] = -1;
    for (int i = 0; i < c->n; i++) {
        const char *s = c->text.p + c->piece[i].at;
        uint32_t h = hash_of(s, strlen(s)) & (n - 1);
        while (slot[h] >= 0)
            h = (h + 1) & (n - 1);
        slot[h] = i;
    }
    mem_free(c->slot);
    c->slot = slot;
    c->n_slots = n;
    return 0;
}

static int add_piece(struct counter *c, const char *s, size_t n, uint32_t h)
{
    if (c->n == c->cap) {
        int cap = c->cap * 2 + 1024;
        struct piece *p = mem_grow(c->piece, (size_t)cap, sizeof *p);
        if (p == NULL)
            return -1;
        c->piece = p;
        c->cap = cap;
    }
    c->piece[c->n] = (struct piece){c->text.len, 1};
    c->slot[h] = c->n++;
    buf_add(&c->text, s, n);
    return buf_add_char(&c->text, '\0');
}

static int count_piece(void *arg, const char *s, size_t n, uint32_t start,
                       uint32_t end)
{
    struct counter *c = arg;
    (void)start;
    (void)end;
    if ((uint32_t)c->n * 2 >= c->n_slots && rehash(c) != 0)
        return c->failed = 1;
    uint32_t h = hash_of(s, n) & (c->n_slots - 1);
    for (; c->slot[h] >= 0; h = (h + 1) & (c->n_slots - 1)) {
        struct piece *p = &c->piece[c->slot[h]];
        const char *t = c->text.p + p->at;
        if (strncmp(t, s, n) == 0 && t[n] == '\0') {
            p->count++;
            return 0;
        }
    }
    if (add_piece(c, s, n, h) != 0)
        return c->failed = 1;
    return 0;
}

static int count_record(void *arg, int file, const struct record *r,
                        struct err *e)
{
    struct counter *c = arg;
    (void)file;
    if (tokenizer_split(&c->spec, r->text, r->n, count_piece, c, e) != 0)
        return -1;
    return c->failed ? err_nomem(e) : 0;
}

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

static int is_special(const struct tokenizer_spec *s, const char *text)
{
    for (int i = 0; i < s->n_control; i++)
        if (strcmp(text, s->control[i]) == 0)
            return 1;
    return (s->unk != NULL && strcmp(text, s->unk) == 0) ||
           (s->eos != NULL && strcmp(text, s->eos) == 0) ||
           (s->mask != NULL && strcmp(text, s->mask) == 0);
}

static int write_vocab(struct counter *c, const struct options *o,
                       struct ranked *r, const char **entry, struct buf *out,
                       struct err *e)
{
    int n = 0, left = 0, most = o->vocab_size - 2 - (c->spec.mask != NULL);
    most -= c->spec.n_control;
    for (int i = 0; i < c->n; i++)
        r[i] = (struct ranked){c->text.p + c->piece[i].at, c->piece[i].count};
    qsort(r, (size_t)c->n, sizeof *r, by_count);
    if (o->tokenizer == TOKENIZER_CHARACTERS) {
        for (int i = 0; i < c->n; i++)
            left |= r[i].count < o->min_count || i >= most;
        if (!left)
            c->spec.unk = NULL; /* nothing to stand in for */
    }
    if (c->spec.unk != NULL)
        entry[n++] = c->spec.unk;
    entry[n++] = c->spec.eos;
    if (c->spec.mask != NULL)
        entry[n++] = c->spec.mask;
    for (int i = 0; i < c->spec.n_control; i++)
        entry[n++] = c->spec.control[i];
    for (int i = 0; i < c->n && n < o->vocab_size; i++)
        if (r[i].count >= o->min_count && !is_special(&c->spec, r[i].text))
            entry[n++] = r[i].text;
    return tokenizer_build(&c->spec, entry, n, out, e);
}

int vocab_build(const struct options *o, const struct data_format *f,
                struct buf *out, struct err *e)
{
    static const char *const normalizer[] = {"seqd-english", "seqd-whitespace",
                                             "seqd-characters"};
    double share[DATA_MAX_FILES];
    int n_files;
    struct counter c = {.spec = {.normalizer = normalizer[o->tokenizer],
                                 .lowercase = o->lowercase,
                                 .unk = "<unk>",
                                 .bos = "</s>",
                                 .eos = "</s>",
                                 .mask = f->masked ? "<mask>" : NULL,
                                 .add_bos = !f->labelled}};
    if (f->add_eos) { /* an encoder-decoder's sources */
        c.spec.bos = NULL;
        c.spec.add_bos = 0;
        c.spec.add_eos = 1;
    }
    if (f->controls != NULL) {
        c.spec.control = (const char *const *)f->controls->name;
        c.spec.n_control = f->controls->n;
    }
    buf_init(&c.text, (size_t)1 << 30);
    int rc = data_each(o->data, f, share, &n_files, count_record, &c, e);
    if (rc == 0) {
        struct ranked *r = mem_array((size_t)c.n + 1, sizeof *r);
        const char **entry = mem_array(
            (size_t)c.n + 3 + (size_t)c.spec.n_control, sizeof *entry);
        rc = r == NULL || entry == NULL ? err_nomem(e)
                                        : write_vocab(&c, o, r, entry, out, e);
        mem_free(r);
        mem_free(entry);
    }
    buf_fini(&c.text);
    mem_free(c.piece);
    mem_free(c.slot);
    return rc;
}
