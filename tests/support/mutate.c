/* mutate: see mutate.h. The kinds of damage: a bit, a byte, or a number of 2,
 * 4 or 8 bytes that is 0, huge, or off by one, in the header, near the end of
 * the descriptions (tensors' shapes, types and offsets), anywhere in them, and
 * in the data; digits and marks of JSON; and cut ends.
 *
 * SPDX-License-Identifier: MIT */
#include "tests/support/mutate.h"

#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "engine/base/rng.h"
#include "engine/checkpoint/gguf.h"

#define CHUNK ((size_t)1 << 20)
#define MAX_TMP 40 /* bytes of TMPDIR that the names of copies have room for */
#define DESCRIPTIONS 24576 /* of the tensors: the end of the head */

static int write_at(int fd, const uint8_t *p, size_t n, size_t at)
{
    while (n) {
        size_t part = n < CHUNK ? n : CHUNK;
        if (pwrite(fd, p, part, (off_t)at) != (ssize_t)part)
            return -1;
        p += part;
        at += part;
        n -= part;
    }
    return 0;
}

/* Where the data begins. */
static size_t head_of(const struct mutate *m, const char *name)
{
    const char *dot = strrchr(name, '.');
    size_t head = m->bytes;
    if (dot && strcmp(dot, ".gguf") == 0) {
        struct gguf *g;
        if (gguf_parse(m->orig, m->bytes, name, &g, NULL))
            return head;
        for (int i = 0; i < gguf_n_tensors(g); i++) {
            size_t at =
                (size_t)((const uint8_t *)gguf_tensor(g, i)->data - m->orig);
            head = at < head ? at : head;
        }
        gguf_close(g);
    } else if (dot && strcmp(dot, ".safetensors") == 0 && m->bytes > 8) {
        head = 8 + (size_t)m->orig[0] + ((size_t)m->orig[1] << 8) +
               ((size_t)m->orig[2] << 16);
        head = head < m->bytes ? head : m->bytes;
    }
    return head;
}

static int map_original(struct mutate *m, const char *path)
{
    struct stat st;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &st) || st.st_size < 16)
        return -1;
    m->bytes = (size_t)st.st_size;
    void *p = mmap(NULL, m->bytes, PROT_READ, MAP_PRIVATE, fd, 0);
    close(fd);
    m->orig = p == MAP_FAILED ? NULL : p;
    return m->orig ? 0 : -1;
}

/* Links to the files beside it. */
static int link_others(const struct mutate *m, const char *dir,
                       const char *name)
{
    char from[600], to[400], whole[PATH_MAX];
    DIR *d = opendir(dir);
    int rc = d ? 0 : -1;
    for (struct dirent *f = d ? readdir(d) : NULL; f; f = readdir(d)) {
        if (f->d_name[0] == '.' || strcmp(f->d_name, name) == 0)
            continue;
        snprintf(from, sizeof(from), "%s/%s", dir, f->d_name);
        snprintf(to, sizeof(to), "%s/%s", m->dir, f->d_name);
        rc |= realpath(from, whole) && symlink(whole, to) == 0 ? 0 : -1;
    }
    if (d)
        closedir(d);
    return rc;
}

int mutate_open(struct mutate *m, const char *dir, const char *name)
{
    char path[600];
    const char *tmp = getenv("TMPDIR");
    memset(m, 0, sizeof *m);
    m->fd = -1;
    snprintf(m->dir, sizeof(m->dir), "%s/seqd-mutate-XXXXXX",
             tmp && strlen(tmp) < MAX_TMP ? tmp : "/tmp");
    if (!mkdtemp(m->dir)) {
        m->dir[0] = 0;
        return -1;
    }
    snprintf(path, sizeof(path), "%s/%s", dir, name);
    snprintf(m->file, sizeof(m->file), "%s/%s", m->dir, name);
    if (map_original(m, path) || link_others(m, dir, name))
        return -1;
    m->fd = open(m->file, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    m->head = head_of(m, name);
    m->is_text = strstr(name, ".json") != NULL;
    return m->fd < 0 ? -1 : write_at(m->fd, m->orig, m->bytes, 0);
}

void mutate_close(struct mutate *m)
{
    DIR *d = m->dir[0] ? opendir(m->dir) : NULL;
    for (struct dirent *f = d ? readdir(d) : NULL; f; f = readdir(d))
        if (strcmp(f->d_name, ".") != 0 && strcmp(f->d_name, "..") != 0)
            unlinkat(dirfd(d), f->d_name, 0);
    if (d) {
        closedir(d);
        rmdir(m->dir);
    }
    if (m->orig)
        munmap((void *)(uintptr_t)m->orig, m->bytes);
    if (m->fd >= 0)
        close(m->fd);
}

static size_t between(struct rng *r, size_t lo, size_t hi)
{
    return hi > lo ? lo + (size_t)(rng_next(r) % (hi - lo)) : lo;
}

/* Where to change something. */
static size_t place(const struct mutate *m, struct rng *r)
{
    size_t late = m->head > DESCRIPTIONS ? m->head - DESCRIPTIONS : 0;
    switch (m->is_text ? 3 : rng_below(r, 8)) {
    case 0:
        return between(r, 0, m->head < 24 ? m->head : 24);
    case 1:
        return between(r, 0, m->head < 2048 ? m->head : 2048);
    case 2:
        return between(r, m->head, m->bytes);
    case 3:
        return between(r, 0, m->head);
    default:
        return between(r, late, m->head);
    }
}

/* A number of n bytes, little endian, in place of the one at p. */
static void odd_number(struct rng *r, const uint8_t *p, size_t n, uint8_t *out)
{
    uint64_t v = 0;
    for (size_t i = 0; i < n; i++)
        v |= (uint64_t)p[i] << (8 * i);
    switch (rng_below(r, 6)) {
    case 0:
        v = 0;
        break;
    case 1:
        v = UINT64_MAX;
        break;
    case 2:
        v = (uint64_t)1 << rng_below(r, 64);
        break;
    case 3:
        v -= 1;
        break;
    case 4:
        v = rng_below(r, 70);
        break;
    default:
        v += 1;
    }
    for (size_t i = 0; i < n; i++)
        out[i] = (uint8_t)(v >> (8 * i));
}

/* Another digit for the next one, or a mark in place of any byte. */
static void odd_text(const struct mutate *m, struct rng *r, size_t *at,
                     uint8_t *out)
{
    static const char marks[] = "{}[],:\"\\-.9e \n\xff";
    if (rng_below(r, 2)) {
        size_t k = *at;
        while (k < m->bytes && (m->orig[k] < '0' || m->orig[k] > '9'))
            k++;
        *at = k < m->bytes ? k : *at;
        *out = (uint8_t)('0' + rng_below(r, 10));
        return;
    }
    *out = (uint8_t)marks[rng_below(r, sizeof(marks) - 1)];
}

static int apply_cut(struct mutate *m, struct rng *r)
{
    size_t to = m->bytes - 1;
    switch (rng_below(r, 3)) {
    case 0:
        to = between(r, 0, m->head);
        break;
    case 1:
        to = between(r, m->bytes - m->bytes / 50, m->bytes);
        break;
    default:
        break;
    }
    m->is_cut = 1;
    m->at = to;
    m->n = m->bytes - to;
    snprintf(m->what, sizeof(m->what), "cut to %zu of %zu bytes", to, m->bytes);
    return ftruncate(m->fd, (off_t)to);
}

int mutate_apply(struct mutate *m, uint64_t seed, int i)
{
    static const size_t sizes[] = {1, 2, 4, 8, 8, 8};
    struct rng r;
    uint8_t bytes[8];
    rng_init(&r, rng_hash(seed, (uint64_t)i));
    m->is_cut = 0;
    if (rng_below(&r, 6) == 0)
        return apply_cut(m, &r);
    m->at = place(m, &r);
    m->n = m->is_text ? 1 : sizes[rng_below(&r, 6)];
    m->n = m->n < m->bytes - m->at ? m->n : m->bytes - m->at;
    if (m->is_text)
        odd_text(m, &r, &m->at, bytes);
    else if (m->n == 1)
        bytes[0] = (uint8_t)(m->orig[m->at] ^ 1u << rng_below(&r, 8));
    else
        odd_number(&r, m->orig + m->at, m->n, bytes);
    snprintf(m->what, sizeof(m->what), "%zu bytes at %zu of %zu are %02x..",
             m->n, m->at, m->bytes, bytes[0]);
    return write_at(m->fd, bytes, m->n, m->at);
}

int mutate_undo(struct mutate *m)
{
    return write_at(m->fd, m->orig + m->at, m->n, m->at);
}
