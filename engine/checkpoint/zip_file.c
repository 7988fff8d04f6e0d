/* zip_file: see zip_file.h. The directory at the end of the file is what
 * counts; a local header only says where the data begins.
 *
 * SPDX-License-Identifier: MIT */
#include "engine/checkpoint/zip_file.h"

#include <stdlib.h>
#include <string.h>

#include "engine/base/mem.h"

#define MAX_ENTRIES 131072
#define MAX_COMMENT 65535
/* Bytes of the fixed parts of the records. */
#define END_BYTES 22
#define LOCATOR_BYTES 20
#define END64_BYTES 56
#define ENTRY_BYTES 46
#define LOCAL_BYTES 30
#define FULL16 0xffffu
#define FULL32 0xffffffffu
#define ZIP64_FIELD 1

struct entry {
    const char *name; /* [len], in the file */
    size_t len;
    const uint8_t *data; /* [bytes] */
    size_t bytes;
};

struct zip_file {
    struct entry *by_name; /* [n] */
    int n;
    struct entry first;
};

/* What parsing hands around. */
struct parse {
    const uint8_t *p;
    size_t n;
    const char *label;
    struct err *e;
};

static uint64_t number(const uint8_t *p, int bytes)
{
    uint64_t v = 0;
    for (int i = bytes - 1; i >= 0; i--)
        v = v << 8 | p[i];
    return v;
}

static int bad(const struct parse *p, const char *what)
{
    return err_set(p->e, ERR_FORMAT, "%s: zip: %s", p->label, what);
}

static int is_record(const uint8_t *p, char third, char fourth)
{
    return p[0] == 'P' && p[1] == 'K' && p[2] == third && p[3] == fourth;
}

/* The end record, whose comment reaches the end of the file. */
static const uint8_t *find_end(const struct parse *p)
{
    for (size_t k = 0; k <= MAX_COMMENT && k + END_BYTES <= p->n; k++) {
        const uint8_t *r = p->p + p->n - END_BYTES - k;
        if (is_record(r, 5, 6) && number(r + 20, 2) == k)
            return r;
    }
    return NULL;
}

/* Where the directory is: how many entries, bytes, offset. */
struct directory {
    uint64_t n, bytes, at;
};

static int read_end64(const struct parse *p, const uint8_t *end,
                      struct directory *d)
{
    size_t at = (size_t)(end - p->p);
    if (at < LOCATOR_BYTES || !is_record(end - LOCATOR_BYTES, 6, 7))
        return bad(p, "the zip64 locator is missing");
    uint64_t to = number(end - LOCATOR_BYTES + 8, 8);
    if (at < LOCATOR_BYTES + END64_BYTES ||
        to > at - LOCATOR_BYTES - END64_BYTES || !is_record(p->p + to, 6, 6))
        return bad(p, "the zip64 end record is missing");
    const uint8_t *r = p->p + to;
    if (number(r + 16, 4) || number(r + 20, 4) ||
        number(r + 24, 8) != number(r + 32, 8))
        return bad(p, "is of several disks");
    *d = (struct directory){number(r + 32, 8), number(r + 40, 8),
                            number(r + 48, 8)};
    return 0;
}

static int read_end(const struct parse *p, struct directory *d)
{
    const uint8_t *end = find_end(p);
    if (!end)
        return bad(p, "the end record is missing: cut short");
    if (number(end + 4, 2) || number(end + 6, 2) ||
        number(end + 8, 2) != number(end + 10, 2))
        return bad(p, "is of several disks");
    *d = (struct directory){number(end + 10, 2), number(end + 12, 4),
                            number(end + 16, 4)};
    if ((d->n == FULL16 || d->bytes == FULL32 || d->at == FULL32) &&
        read_end64(p, end, d))
        return -1;
    size_t room = (size_t)(end - p->p);
    if (d->at > room || d->bytes > room - d->at)
        return bad(p, "the directory is outside the file");
    if (d->n > MAX_ENTRIES)
        return err_set(p->e, ERR_TOO_LARGE, "%s: zip: %llu entries, at most %d",
                       p->label, (unsigned long long)d->n, MAX_ENTRIES);
    if (d->n > d->bytes / ENTRY_BYTES)
        return bad(p, "the directory is shorter than its entries");
    return 0;
}

/* The fields of an entry that a zip64 extra field replaces. */
struct sizes {
    uint64_t bytes, packed, at;
};

static int read_extra(const struct parse *p, const uint8_t *x, size_t n,
                      struct sizes *s)
{
    uint64_t *const field[] = {&s->bytes, &s->packed, &s->at};
    while (n >= 4) {
        size_t id = number(x, 2), len = number(x + 2, 2), at = 4;
        if (len > n - 4)
            return bad(p, "an extra field is longer than its entry");
        for (int i = 0; id == ZIP64_FIELD && i < 3; i++) {
            if (*field[i] != FULL32)
                continue;
            if (at + 8 > 4 + len)
                return bad(p, "a zip64 field is too short");
            *field[i] = number(x + at, 8);
            at += 8;
        }
        x += 4 + len;
        n -= 4 + len;
    }
    return 0;
}

static int bad_entry(const struct parse *p, const struct entry *t,
                     enum err_code code, const char *what)
{
    char name[65];
    size_t n = t->len < 64 ? t->len : 64;
    for (size_t i = 0; i < n; i++)
        name[i] = t->name[i] > ' ' && t->name[i] < 127 ? t->name[i] : '?';
    name[n] = 0;
    return err_set(p->e, code, "%s: zip: entry '%s' %s", p->label, name, what);
}

/* The data begins behind the local header, whose extra field is its own. */
static int find_data(const struct parse *p, const struct sizes *s,
                     struct entry *t)
{
    if (s->at > p->n || p->n - s->at < LOCAL_BYTES ||
        !is_record(p->p + s->at, 3, 4))
        return bad_entry(p, t, ERR_FORMAT, "has no local header");
    const uint8_t *l = p->p + s->at;
    size_t len = number(l + 26, 2);
    size_t skip = LOCAL_BYTES + len + number(l + 28, 2);
    size_t room = p->n - (size_t)s->at;
    if (skip > room || s->bytes > room - skip)
        return bad_entry(p, t, ERR_FORMAT, "reaches past the end of the file");
    if (len != t->len || memcmp(l + LOCAL_BYTES, t->name, len) != 0)
        return bad_entry(p, t, ERR_FORMAT, "has another name in its header");
    t->data = l + skip;
    t->bytes = (size_t)s->bytes;
    return 0;
}

/* One entry of the directory, of at most n bytes; *used is its length. */
static int read_entry(const struct parse *p, const uint8_t *r, size_t n,
                      struct entry *t, size_t *used)
{
    if (n < ENTRY_BYTES || !is_record(r, 1, 2))
        return bad(p, "an entry of the directory is missing");
    size_t len = number(r + 28, 2), extra = number(r + 30, 2);
    struct sizes s = {number(r + 24, 4), number(r + 20, 4), number(r + 42, 4)};
    *used = ENTRY_BYTES + len + extra + number(r + 32, 2);
    if (*used > n)
        return bad(p, "an entry is longer than the directory");
    t->name = (const char *)r + ENTRY_BYTES;
    t->len = len;
    if (len == 0 || memchr(t->name, 0, len))
        return bad_entry(p, t, ERR_FORMAT, "has no proper name");
    if (read_extra(p, r + ENTRY_BYTES + len, extra, &s))
        return -1;
    if (number(r + 8, 2) & 1)
        return bad_entry(p, t, ERR_UNSUPPORTED, "is encrypted");
    if (number(r + 10, 2))
        return 0; /* without data: zip_file_stored tells */
    if (s.bytes != s.packed)
        return bad_entry(p, t, ERR_FORMAT, "is stored but has two sizes");
    return find_data(p, &s, t);
}

static int compare(const char *a, size_t n, const char *b, size_t m)
{
    int c = memcmp(a, b, n < m ? n : m);
    return c ? c : (n > m) - (n < m);
}

static int by_name(const void *a, const void *b)
{
    const struct entry *x = a, *y = b;
    return compare(x->name, x->len, y->name, y->len);
}

static int read_directory(const struct parse *p, struct zip_file *z)
{
    struct directory d = {0, 0, 0};
    size_t used = 0;
    if (read_end(p, &d))
        return -1;
    z->by_name = mem_zarray((size_t)d.n + 1, sizeof *z->by_name);
    if (!z->by_name)
        return err_nomem(p->e);
    const uint8_t *r = p->p + d.at;
    for (size_t left = (size_t)d.bytes; z->n < (int)d.n; z->n++) {
        if (read_entry(p, r, left, &z->by_name[z->n], &used))
            return -1;
        r += used;
        left -= used;
    }
    z->first = z->by_name[0];
    qsort(z->by_name, (size_t)z->n, sizeof *z->by_name, by_name);
    for (int i = 1; i < z->n; i++)
        if (by_name(&z->by_name[i - 1], &z->by_name[i]) == 0)
            return bad_entry(p, &z->by_name[i], ERR_FORMAT, "is there twice");
    return 0;
}

int zip_file_parse(const uint8_t *p, size_t n, const char *label,
                   struct zip_file **out, struct err *e)
{
    const struct parse parse = {p, n, label, e};
    *out = NULL;
    struct zip_file *z = mem_zalloc(sizeof *z);
    if (!z)
        return err_nomem(e);
    if (read_directory(&parse, z)) {
        zip_file_free(z);
        return -1;
    }
    *out = z;
    return 0;
}

void zip_file_free(struct zip_file *z)
{
    if (z)
        mem_free(z->by_name);
    mem_free(z);
}

int zip_file_stored(const struct zip_file *z, const char *label, struct err *e)
{
    const struct parse p = {NULL, 0, label, e};
    for (int i = 0; i < z->n; i++)
        if (!z->by_name[i].data)
            return bad_entry(&p, &z->by_name[i], ERR_UNSUPPORTED,
                             "is compressed, expected a stored one");
    return 0;
}

int zip_file_has(const struct zip_file *z, const char *name)
{
    const struct entry key = {.name = name, .len = strlen(name)};
    return bsearch(&key, z->by_name, (size_t)z->n, sizeof key, by_name) != NULL;
}

const char *zip_file_first(const struct zip_file *z, size_t *n)
{
    *n = z->first.len;
    return z->first.name;
}

const uint8_t *zip_file_find(const struct zip_file *z, const char *name,
                             size_t *n)
{
    const struct entry key = {.name = name, .len = strlen(name)};
    const struct entry *t =
        bsearch(&key, z->by_name, (size_t)z->n, sizeof key, by_name);
    *n = t ? t->bytes : 0;
    return t ? t->data : NULL;
}
