/* weights: see weights.h. Names are looked up by binary search in an array
 * sorted by name. The digest is computed at the first request: hashing all
 * checkpoints would be the longest part of a start.
 *
 * SPDX-License-Identifier: MIT */
#include "engine/checkpoint/weights.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "engine/base/mem.h"
#include "engine/base/sha256.h"
#include "engine/checkpoint/dtype.h"
#include "engine/checkpoint/guard.h"
#include "engine/checkpoint/safetensors.h"

#define FILE_NAME "model.safetensors"

struct weights {
    char *label; /* in messages: "name/model.safetensors" */
    void *map;
    size_t bytes;
    int slot; /* of the guard */
    atomic_int damaged;
    struct safetensors_index *index;
    const struct weight **by_name; /* [n] */
    int n;
    pthread_mutex_t digest_lock;
    char digest[72]; /* "" until the first request */
};

static const struct {
    const char *name;
    size_t bytes;
} dtypes[N_DTYPES] = {
    [DT_F32] = {"F32", 4}, [DT_F16] = {"F16", 2}, [DT_BF16] = {"BF16", 2},
    [DT_F64] = {"F64", 8}, [DT_I64] = {"I64", 8}, [DT_I32] = {"I32", 4},
    [DT_U8] = {"U8", 1},
};

const char *dtype_name(enum dtype d)
{
    return (unsigned)d < N_DTYPES ? dtypes[d].name : "?";
}

size_t dtype_bytes(enum dtype d)
{
    return (unsigned)d < N_DTYPES ? dtypes[d].bytes : 0;
}

static char *make_label(const char *label)
{
    char text[256];
    int named = label && label[0];
    snprintf(text, sizeof(text), "%s%s%s", named ? label : "", named ? "/" : "",
             FILE_NAME);
    return mem_strdup(text);
}

static int map_fd(struct weights *w, int fd, struct err *e)
{
    struct stat st;
    if (fstat(fd, &st) || !S_ISREG(st.st_mode)) {
        return err_set(e, ERR_IO, "%s: not a regular file", w->label);
    }
    if (st.st_size < 8) {
        return err_set(e, ERR_FORMAT, "%s: shorter than 8 bytes", w->label);
    }
    if ((uint64_t)st.st_size > PTRDIFF_MAX) {
        return err_set(e, ERR_TOO_LARGE, "%s: too large", w->label);
    }
    void *p = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
    if (p == MAP_FAILED) {
        return err_set(e, ERR_IO, "%s: cannot be mapped", w->label);
    }
    w->map = p;
    w->bytes = (size_t)st.st_size;
    w->slot = guard_add(p, w->bytes, &w->damaged);
    if (w->slot < 0) {
        return err_set(e, ERR_INTERNAL, "%s: too many mapped files", w->label);
    }
    return 0;
}

static int map_file(struct weights *w, const char *dir, struct err *e)
{
    char path[PATH_MAX];
    int len = snprintf(path, sizeof(path), "%s/%s", dir, FILE_NAME);
    if (len < 0 || (size_t)len >= sizeof(path)) {
        return err_set(e, ERR_INVALID, "%s: path too long", w->label);
    }
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0) {
        return errno == ENOENT || errno == ENOTDIR
                   ? err_set(e, ERR_NOT_FOUND, "%s: no such file", w->label)
                   : err_set(e, ERR_IO, "%s: cannot be opened", w->label);
    }
    int rc = map_fd(w, fd, e);
    close(fd);
    return rc;
}

static int by_name(const void *a, const void *b)
{
    const struct weight *const *x = a, *const *y = b;
    return strcmp((*x)->name, (*y)->name);
}

static int build_names(struct weights *w, struct err *e)
{
    w->n = safetensors_index_count(w->index);
    w->by_name = mem_array((size_t)w->n + 1, sizeof(struct weight *));
    if (!w->by_name) {
        return err_nomem(e);
    }
    for (int i = 0; i < w->n; i++) {
        w->by_name[i] = safetensors_index_at(w->index, i);
    }
    qsort((void *)w->by_name, (size_t)w->n, sizeof(struct weight *), by_name);
    return 0;
}

int weights_open(const char *dir, const char *label, struct weights **out,
                 struct err *e)
{
    *out = NULL;
    struct weights *w = mem_zalloc(sizeof(*w));
    if (!w) {
        return err_nomem(e);
    }
    w->slot = -1;
    pthread_mutex_init(&w->digest_lock, NULL);
    w->label = make_label(label);
    int rc = w->label ? map_file(w, dir, e) : err_nomem(e);
    if (rc == 0) {
        rc = safetensors_parse(w->map, w->bytes, w->label, &w->index, e);
    }
    if (rc == 0) {
        rc = build_names(w, e);
    }
    if (rc) {
        weights_close(w);
        return -1;
    }
    *out = w;
    return 0;
}

void weights_close(struct weights *w)
{
    if (!w) {
        return;
    }
    guard_remove(w->slot);
    if (w->map) {
        munmap(w->map, w->bytes);
    }
    safetensors_index_free(w->index);
    pthread_mutex_destroy(&w->digest_lock);
    mem_free((void *)w->by_name);
    mem_free(w->label);
    mem_free(w);
}

int weights_count(const struct weights *w)
{
    return w->n;
}

const struct weight *weights_at(const struct weights *w, int i)
{
    return safetensors_index_at(w->index, i);
}

const struct weight *weights_find(const struct weights *w, const char *name)
{
    int lo = 0, hi = w->n - 1;
    while (lo <= hi) {
        int mid = (lo + hi) / 2;
        int c = strcmp(name, w->by_name[mid]->name);
        if (c == 0) {
            return w->by_name[mid];
        }
        if (c < 0) {
            hi = mid - 1;
        } else {
            lo = mid + 1;
        }
    }
    return NULL;
}

const char *weights_metadata(const struct weights *w, const char *key)
{
    return safetensors_index_metadata(w->index, key);
}

uint64_t weights_parameters(const struct weights *w)
{
    uint64_t sum = 0;
    for (int i = 0; i < w->n; i++) {
        sum += w->by_name[i]->bytes / dtype_bytes(w->by_name[i]->dtype);
    }
    return sum;
}

size_t weights_bytes(const struct weights *w)
{
    return w->bytes;
}

int weights_damaged(const struct weights *w)
{
    return atomic_load(&w->damaged);
}

const char *weights_digest(const struct weights *w)
{
    /* Filled once under its lock: immutable as far as callers can see. */
    struct weights *m = (struct weights *)(uintptr_t)w;
    pthread_mutex_lock(&m->digest_lock);
    if (!m->digest[0]) {
        struct sha256 c;
        uint8_t raw[32];
        sha256_init(&c);
        sha256_add(&c, w->map, w->bytes);
        sha256_finish(&c, raw);
        memcpy(m->digest, "sha256:", 7);
        sha256_hex(raw, m->digest + 7);
    }
    pthread_mutex_unlock(&m->digest_lock);
    return m->digest;
}

/* "[512,65]" */
static const char *shape_text(int n_dims, const int64_t *dim, char *out,
                              size_t max)
{
    size_t at = 0;
    out[0] = 0;
    for (int i = 0; i < n_dims && at < max; i++) {
        at += (size_t)snprintf(out + at, max - at, "%s%lld", i ? "," : "[",
                               (long long)dim[i]);
    }
    snprintf(out + (at < max ? at : max - 1), at < max ? max - at : 1, "%s",
             n_dims ? "]" : "[]");
    return out;
}

const struct weight *weights_need(const struct weights *w, const char *name,
                                  int n_dims, int64_t d0, int64_t d1,
                                  struct err *e)
{
    const struct weight *t = weights_find(w, name);
    const int64_t want[2] = {d0, d1};
    if (!t) {
        err_set(e, ERR_FORMAT, "%s: tensor '%s' is missing", w->label, name);
        return NULL;
    }
    if (t->n_dims != n_dims || t->dim[0] != d0 ||
        (n_dims == 2 && t->dim[1] != d1)) {
        char found[96], expected[64];
        shape_text(t->n_dims, t->dim, found, sizeof(found));
        shape_text(n_dims, want, expected, sizeof(expected));
        err_set(e, ERR_FORMAT, "%s: tensor '%s' is %s, expected %s", w->label,
                name, found, expected);
        return NULL;
    }
    if (t->dtype > DT_F64) {
        err_set(e, ERR_FORMAT,
                "%s: tensor '%s' is %s, expected F32, F16, BF16 or F64",
                w->label, name, dtype_name(t->dtype));
        return NULL;
    }
    return t;
}

static void read_f64(const uint8_t *p, size_t n, float *dst)
{
    for (size_t i = 0; i < n; i++) {
        double v;
        memcpy(&v, p + 8 * i, sizeof(v));
        dst[i] = (float)v;
    }
}

static void read_i64(const uint8_t *p, size_t n, float *dst)
{
    for (size_t i = 0; i < n; i++) {
        int64_t v;
        memcpy(&v, p + 8 * i, sizeof(v));
        dst[i] = (float)v;
    }
}

static void read_i32(const uint8_t *p, size_t n, float *dst)
{
    for (size_t i = 0; i < n; i++) {
        int32_t v;
        memcpy(&v, p + 4 * i, sizeof(v));
        dst[i] = (float)v;
    }
}

static void read_half(const uint8_t *p, size_t n, int bf16, float *dst)
{
    for (size_t i = 0; i < n; i++) {
        uint16_t v;
        memcpy(&v, p + 2 * i, sizeof(v));
        dst[i] = bf16 ? dtype_from_bf16(v) : dtype_from_f16(v);
    }
}

void weight_read(const struct weight *t, size_t first, size_t n, float *dst)
{
    const uint8_t *p = (const uint8_t *)t->data + first * dtype_bytes(t->dtype);
    switch (t->dtype) {
    case DT_F32:
        memcpy(dst, p, n * sizeof(float));
        break;
    case DT_F16:
    case DT_BF16:
        read_half(p, n, t->dtype == DT_BF16, dst);
        break;
    case DT_F64:
        read_f64(p, n, dst);
        break;
    case DT_I64:
        read_i64(p, n, dst);
        break;
    case DT_I32:
        read_i32(p, n, dst);
        break;
    case DT_U8:
    case N_DTYPES:
        for (size_t i = 0; i < n; i++) {
            dst[i] = (float)p[i];
        }
        break;
    }
}
