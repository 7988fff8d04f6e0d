/* weights: see weights.h. A checkpoint is one or more parts: mapped files with
 * their parsed descriptions. Names are looked up by binary search in an array
 * sorted by name. The digest is computed at the first request: hashing all
 * checkpoints would be the longest part of a start.
 *
 * SPDX-License-Identifier: MIT */
#include "engine/checkpoint/weights.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <nettle/base16.h>
#include <nettle/sha2.h>

#include "engine/base/log.h"
#include "engine/base/mem.h"
#include "engine/checkpoint/gguf.h"
#include "engine/checkpoint/mapped.h"
#include "engine/checkpoint/marian_bin.h"
#include "engine/checkpoint/place.h"
#include "engine/checkpoint/safetensors.h"
#include "engine/checkpoint/scales.h"
#include "engine/checkpoint/shards.h"
#include "engine/checkpoint/torch_state.h"

#define DIGEST_BYTES 72
#define MIN_BYTES 4 /* of a file: enough to say what is wrong with it */

/* The weights of a folder: a file, or the index of files that end so. The first
 * of these that is there is taken. */
enum container { SAFETENSORS, TORCH, MARIAN };

struct form {
    const char *file;
    const char *shards; /* NULL: the file itself */
    enum container container;
};

static const struct form forms[] = {
    {"model.safetensors", NULL, SAFETENSORS},
    {"model.safetensors.index.json", ".safetensors", SAFETENSORS},
    {"model.pt", NULL, TORCH},
    {"pytorch_model.bin", NULL, TORCH},
    {"pytorch_model.bin.index.json", ".bin", TORCH},
};

/* One mapped file: the index of a safetensors file, a state dict of torch, the
 * tensors of Marian's, or a GGUF file, which is the checkpoint's and holds its
 * own mapping. */
struct part {
    struct mapped own; /* not of GGUF */
    struct safetensors_index *index;
    struct torch_state *state;
    struct marian_bin *marian;
    const struct gguf *gguf;
    struct mapped *file;   /* &own or the GGUF file's; NULL: not open */
    enum mapped_news news; /* the watcher's */
};

struct weights {
    char *label;       /* in messages: "name/model.safetensors" */
    struct part *part; /* [n_parts], in the order of their names */
    int n_parts;
    const struct tensor **list;    /* [n] by part, in the file's order */
    const struct tensor **by_name; /* [n] */
    int n;
    uint64_t parameters;
    size_t held;          /* bytes outside the files */
    atomic_uchar *finite; /* [n] as by_name: known to be */
    struct tensor *own;   /* [n] in the list's place, where they differ from
                             the files': names, scales; or NULL */
    char wrapped[32];     /* what wrappers put in front of all names */
    pthread_mutex_t digest_lock;
    char digest[DIGEST_BYTES]; /* "" until the first request */
};

static int part_count(const struct part *p)
{
    return p->gguf     ? gguf_n_tensors(p->gguf)
           : p->marian ? marian_bin_count(p->marian)
           : p->state  ? torch_state_count(p->state)
                       : safetensors_index_count(p->index);
}

static const struct tensor *part_at(const struct part *p, int i)
{
    return p->gguf     ? gguf_tensor(p->gguf, i)
           : p->marian ? marian_bin_at(p->marian, i)
           : p->state  ? torch_state_at(p->state, i)
                       : safetensors_index_at(p->index, i);
}

/* Of one file, or of shards: what messages call all of it. */
static int make_parts(struct weights *w, const char *label, int n,
                      struct err *e)
{
    w->label = mem_strdup(label);
    w->part = mem_zarray((size_t)n, sizeof *w->part);
    if (!w->label || !w->part)
        return err_nomem(e);
    w->n_parts = n;
    return 0;
}

static int open_part(struct part *p, const struct place *at,
                     enum container container, struct err *e)
{
    struct mapped *m = p->file = &p->own;
    if (mapped_open(m, at->path, MIN_BYTES, at->name, e))
        return -1;
    if (container == MARIAN)
        return marian_bin_parse(m->p, m->bytes, at->name, &p->marian, e);
    return container == TORCH
               ? torch_state_parse(m->p, m->bytes, at->name, &p->state, e)
               : safetensors_parse(m->p, m->bytes, at->name, &p->index, e);
}

/* The form that the folder has; what is not there is missing as the first. */
static const struct form *find_form(const char *dir)
{
    for (size_t i = 0; i < sizeof forms / sizeof *forms; i++)
        if (place_exists(dir, forms[i].file))
            return &forms[i];
    return forms;
}

/* A message about one of several shards names it; w->label is the index. */
static int open_form(struct weights *w, const char *dir, const char *label,
                     const struct form *f, struct err *e)
{
    struct shards *s = NULL;
    struct place p;
    if (f->shards && shards_open(dir, label, f->file, f->shards, &s, e))
        return -1;
    place_name(label, f->file, p.name);
    int rc = make_parts(w, p.name, s ? shards_count(s) : 1, e);
    for (int i = 0; i < w->n_parts && rc == 0; i++) {
        rc = place_set(&p, dir, label, s ? shards_name(s, i) : f->file, e) ||
             open_part(&w->part[i], &p, f->container, e);
        for (int k = 0; rc == 0 && s && k < part_count(&w->part[i]); k++)
            rc = shards_seen(s, i, part_at(&w->part[i], k)->name, e);
    }
    if (rc == 0 && s)
        rc = shards_check(s, e);
    shards_close(s);
    return rc;
}

static int take_gguf(struct weights *w, struct gguf *g, struct err *e)
{
    int64_t n_files = 1;
    int i = gguf_find(g, "split.count");
    if (i >= 0 && gguf_int(g, i, 0, &n_files) == 0 && n_files > 1) {
        return err_set(e, ERR_UNSUPPORTED,
                       "%s: metadata 'split.count' is %lld: one of several "
                       "files, expected a whole one",
                       gguf_label(g), (long long)n_files);
    }
    if (make_parts(w, gguf_label(g), 1, e))
        return -1;
    w->part[0].gguf = g;
    w->part[0].file = gguf_file(g);
    return 0;
}

static int by_name(const void *a, const void *b)
{
    const struct tensor *const *x = a, *const *y = b;
    return strcmp((*x)->name, (*y)->name);
}

static int by_data(const void *a, const void *b)
{
    const struct tensor *const *x = a, *const *y = b;
    uintptr_t p = (uintptr_t)(*x)->data, q = (uintptr_t)(*y)->data;
    return p == q ? ((*x)->bytes > (*y)->bytes) - ((*x)->bytes < (*y)->bytes)
                  : (p > q) - (p < q);
}

static int in_files(const struct weights *w, const uint8_t *p)
{
    for (int i = 0; i < w->n_parts; i++) {
        const struct mapped *m = w->part[i].file;
        if (p >= m->p && p < m->p + m->bytes)
            return 1;
    }
    return 0;
}

/* Elements of all, tied ones once: in a file of torch two names may stand for
 * the same bytes. Sorts by_name otherwise. */
static void count_parameters(struct weights *w)
{
    qsort((void *)w->by_name, (size_t)w->n, sizeof(struct tensor *), by_data);
    for (int i = 0; i < w->n; i++) {
        const struct tensor *t = w->by_name[i];
        if (i && by_data(&w->by_name[i - 1], &w->by_name[i]) == 0)
            continue;
        w->parameters += t->bytes / dtype_block_bytes(t->dtype) *
                         (uint64_t)dtype_block(t->dtype);
        w->held += in_files(w, t->data) ? 0 : t->bytes;
    }
}

/* Prefixes of modules that wrap a whole net, and do not change it. */
static const char *const WRAPPERS[] = {"module.", "_orig_mod.", NULL};

static int all_begin(const struct weights *w, size_t skip, const char *prefix)
{
    for (int i = 0; i < w->n; i++)
        if (strncmp(w->list[i]->name + skip, prefix, strlen(prefix)) != 0)
            return 0;
    return w->n > 0;
}

/* The list as copies that may be changed. */
static int own_tensors(struct weights *w, struct err *e)
{
    if (w->own)
        return 0;
    w->own = mem_array((size_t)w->n, sizeof *w->own);
    if (!w->own)
        return err_nomem(e);
    for (int i = 0; i < w->n; i++) {
        w->own[i] = *w->list[i];
        w->list[i] = &w->own[i];
    }
    return 0;
}

/* Names that all begin like a wrapper's lose that beginning. */
static int unwrap_names(struct weights *w, struct err *e)
{
    size_t skip = 0;
    for (int i = 0; WRAPPERS[i]; i++) {
        size_t n = strlen(WRAPPERS[i]);
        if (skip + n >= sizeof w->wrapped || !all_begin(w, skip, WRAPPERS[i]))
            continue;
        memcpy(w->wrapped + skip, WRAPPERS[i], n);
        skip += n;
        i = -1; /* one wrapper in another */
    }
    if (!skip)
        return 0;
    if (own_tensors(w, e))
        return -1;
    for (int i = 0; i < w->n; i++)
        w->own[i].name += skip;
    return 0;
}

/* Matrices of 8 bits get their scales (scales.h). */
static int join_scales(struct weights *w, struct err *e)
{
    int i = 0;
    while (i < w->n && (w->list[i]->dtype != DT_I8 || w->list[i]->scale > 0))
        i++;
    if (i == w->n)
        return 0;
    return own_tensors(w, e) || scales_join(w->own, &w->n, w->label, e) ? -1
                                                                        : 0;
}

static int build_names(struct weights *w, struct err *e)
{
    size_t total = 0;
    for (int i = 0; i < w->n_parts; i++)
        total += (size_t)part_count(&w->part[i]);
    w->list = mem_array(total + 1, sizeof(struct tensor *));
    w->by_name = mem_array(total + 1, sizeof(struct tensor *));
    w->finite = mem_zarray(total + 1, sizeof *w->finite);
    if (!w->list || !w->by_name || !w->finite)
        return err_nomem(e);
    for (int i = 0; i < w->n_parts; i++)
        for (int k = 0; k < part_count(&w->part[i]); k++)
            w->list[w->n++] = part_at(&w->part[i], k);
    if (join_scales(w, e) || unwrap_names(w, e))
        return -1;
    total = (size_t)w->n; /* without the scales */
    memcpy((void *)w->by_name, (void *)w->list, total * sizeof *w->list);
    count_parameters(w);
    qsort((void *)w->by_name, total, sizeof(struct tensor *), by_name);
    return 0;
}

/* Of a GGUF file, or (g NULL) of a folder: f NULL: of the form that it has. */
static int open_any(struct gguf *g, const char *dir, const char *label,
                    const struct form *f, struct weights **out, struct err *e)
{
    *out = NULL;
    struct weights *w = mem_zalloc(sizeof *w);
    if (!w)
        return err_nomem(e);
    pthread_mutex_init(&w->digest_lock, NULL);
    if ((g ? take_gguf(w, g, e)
           : open_form(w, dir, label, f ? f : find_form(dir), e)) ||
        build_names(w, e)) {
        weights_close(w);
        return -1;
    }
    *out = w;
    return 0;
}

int weights_open(const char *dir, const char *label, struct weights **out,
                 struct err *e)
{
    return open_any(NULL, dir, label, NULL, out, e);
}

int weights_open_torch(const char *dir, const char *label, const char *file,
                       struct weights **out, struct err *e)
{
    const struct form f = {file, NULL, TORCH};
    return open_any(NULL, dir, label, &f, out, e);
}

int weights_open_marian(const char *dir, const char *label, const char *file,
                        struct weights **out, struct err *e)
{
    const struct form f = {file, NULL, MARIAN};
    return open_any(NULL, dir, label, &f, out, e);
}

int weights_gguf(struct gguf *g, struct weights **out, struct err *e)
{
    return open_any(g, NULL, NULL, NULL, out, e);
}

void weights_close(struct weights *w)
{
    if (!w)
        return;
    for (int i = 0; i < w->n_parts; i++) {
        if (w->part[i].file == &w->part[i].own)
            mapped_close(&w->part[i].own);
        torch_state_free(w->part[i].state);
        marian_bin_free(w->part[i].marian);
        safetensors_index_free(w->part[i].index);
    }
    pthread_mutex_destroy(&w->digest_lock);
    mem_free(w->part);
    mem_free((void *)w->list);
    mem_free((void *)w->by_name);
    mem_free(w->own);
    mem_free(w->finite);
    mem_free(w->label);
    mem_free(w);
}

int weights_count(const struct weights *w)
{
    return w->n;
}

const struct tensor *weights_at(const struct weights *w, int i)
{
    return i >= 0 && i < w->n ? w->list[i] : NULL;
}

static int compare_name(const void *name, const void *at)
{
    const struct tensor *const *t = at;
    return strcmp(name, (*t)->name);
}

static const struct tensor *const *search(const struct weights *w,
                                          const char *name)
{
    return bsearch(name, (const void *)w->by_name, (size_t)w->n,
                   sizeof *w->by_name, compare_name);
}

/* The place in by_name, or -1. */
static int find_at(const struct weights *w, const char *name)
{
    size_t skip = strlen(w->wrapped);
    const struct tensor *const *t = search(w, name);
    if (!t && skip && strncmp(name, w->wrapped, skip) == 0)
        t = search(w, name + skip);
    return t ? (int)(t - w->by_name) : -1;
}

const struct tensor *weights_find(const struct weights *w, const char *name)
{
    int at = find_at(w, name);
    return at < 0 ? NULL : w->by_name[at];
}

/* What is known of a tensor of w; one that is large and needed twice is looked
 * through once. */
static atomic_uchar *known_finite(const struct weights *w,
                                  const struct tensor *t)
{
    return &w->finite[find_at(w, t->name)];
}

int weights_check(const struct weights *w, const struct tensor *t,
                  struct err *e)
{
    atomic_uchar *known = known_finite(w, t);
    const char *fault = atomic_load(known) ? NULL : tensor_fault(t);
    if (fault)
        return err_set(e, ERR_FORMAT, "%s: tensor '%s' %s", w->label, t->name,
                       fault);
    atomic_store(known, 1);
    return 0;
}

uint64_t weights_parameters(const struct weights *w)
{
    return w->parameters;
}

size_t weights_held(const struct weights *w)
{
    return w->held;
}

int weights_damaged(const struct weights *w)
{
    for (int i = 0; i < w->n_parts; i++)
        if (atomic_load(&w->part[i].file->damaged))
            return 1;
    return 0;
}

void weights_drop_pages(const struct weights *w, const struct tensor *t)
{
    for (int i = 0; i < w->n_parts; i++) {
        const struct mapped *m = w->part[i].file;
        const uint8_t *p = t ? t->data : m->p;
        if (p >= m->p && p < m->p + m->bytes)
            mapped_drop(m, p, t ? t->bytes : m->bytes);
    }
}

/* -1: stopped; out is as it was. */
static int hash_parts(const struct weights *w, char out[DIGEST_BYTES],
                      const atomic_int *stop)
{
    struct sha256_ctx c;
    uint8_t raw[SHA256_DIGEST_SIZE];
    sha256_init(&c);
    for (int i = 0; i < w->n_parts; i++)
        if (mapped_hash(w->part[i].file, &c, stop))
            return -1;
    sha256_digest(&c, sizeof raw, raw);
    memcpy(out, "sha256:", 7);
    base16_encode_update(out + 7, sizeof raw, raw);
    out[7 + 2 * sizeof raw] = 0;
    return 0;
}

/* 1 when the bytes are those of the first digest: somebody touched the file,
 * or put the same bytes there. A digest that was made of changed bytes marked
 * the file as damaged, so it is not asked. -1: stopped. */
static int same_digest(struct weights *w, const atomic_int *stop)
{
    char now[DIGEST_BYTES];
    pthread_mutex_lock(&w->digest_lock);
    int known = w->digest[0] != 0;
    pthread_mutex_unlock(&w->digest_lock);
    if (!known || weights_damaged(w))
        return 0;
    if (hash_parts(w, now, stop))
        return -1;
    return strcmp(now, w->digest) == 0;
}

/* same: a suspect's bytes are what they were. */
static void take_news(struct mapped *m, enum mapped_news news, int same)
{
    if (news == MAPPED_SUSPECT && same) {
        mapped_accept(m);
    } else if (news == MAPPED_SUSPECT || news == MAPPED_CHANGED) {
        atomic_store(&m->damaged, 1);
        if (mapped_tell(m, MAPPED_CHANGED))
            log_event(LOG_ERROR, "checkpoint", "file_changed", "file=\"%s\"",
                      m->name);
    } else if (news == MAPPED_REPLACED && mapped_tell(m, news)) {
        log_event(LOG_WARN, "checkpoint", "file_replaced",
                  "file=\"%s\" served=old", m->name);
    }
}

/* All are looked at before any is read: the digest is of all shards, so that
 * one reading of them answers for all that were touched. */
void weights_watch(struct weights *w, const atomic_int *stop)
{
    int suspects = 0;
    for (int i = 0; i < w->n_parts; i++) {
        w->part[i].news = mapped_look(w->part[i].file);
        suspects += w->part[i].news == MAPPED_SUSPECT;
    }
    int same = suspects ? same_digest(w, stop) : 0;
    for (int i = 0; same >= 0 && i < w->n_parts; i++)
        take_news(w->part[i].file, w->part[i].news, same);
}

const char *weights_digest(const struct weights *w, const atomic_int *stop)
{
    /* Filled once under its lock: immutable as far as callers can see. */
    struct weights *m = (struct weights *)(uintptr_t)w;
    pthread_mutex_lock(&m->digest_lock);
    if (!m->digest[0] && hash_parts(w, m->digest, stop) == 0) {
        for (int i = 0; i < m->n_parts; i++)
            if (mapped_is_other(m->part[i].file))
                atomic_store(&m->part[i].file->damaged, 1);
    }
    const char *made = m->digest[0] ? m->digest : NULL;
    pthread_mutex_unlock(&m->digest_lock);
    return made;
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

/* There is no `name`. One of the same name in a module is told: then it is the
 * module's name that is too much. */
static void is_missing(const struct weights *w, const char *name, struct err *e)
{
    size_t n = strlen(name);
    for (int i = 0; i < w->n; i++) {
        const char *other = w->list[i]->name;
        size_t len = strlen(other);
        if (len > n + 1 && other[len - n - 1] == '.' &&
            strcmp(other + len - n, name) == 0) {
            err_set(e, ERR_FORMAT,
                    "%s: tensor '%s' is missing, but '%.200s' is there",
                    w->label, name, other);
            return;
        }
    }
    err_set(e, ERR_FORMAT, "%s: tensor '%s' is missing", w->label, name);
}

const struct tensor *weights_expect(const struct weights *w, const char *name,
                                    int n_dims, int64_t d0, int64_t d1,
                                    struct err *e)
{
    const struct tensor *t = weights_find(w, name);
    const int64_t want[2] = {d0, d1};
    if (!t) {
        is_missing(w, name, e);
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
    if (t->dtype > DT_F64 && t->dtype < DT_I8) {
        err_set(e, ERR_FORMAT,
                "%s: tensor '%s' is %s, expected F32, F16, BF16, F64, "
                "I8 or blocks",
                w->label, name, dtype_name(t->dtype));
        return NULL;
    }
    return t;
}

const struct tensor *weights_need(const struct weights *w, const char *name,
                                  int n_dims, int64_t d0, int64_t d1,
                                  struct err *e)
{
    const struct tensor *t = weights_expect(w, name, n_dims, d0, d1, e);
    return t && weights_check(w, t, e) == 0 ? t : NULL;
}
