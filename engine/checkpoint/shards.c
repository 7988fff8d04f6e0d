/* shards: see shards.h. The index is copied into two sorted tables: names of
 * shards, and tensors with their shard.
 *
 * SPDX-License-Identifier: MIT */
#include "engine/checkpoint/shards.h"

#include <stdlib.h>
#include <string.h>

#include "engine/base/json.h"
#include "engine/base/mem.h"
#include "engine/checkpoint/place.h"

#define MAX_SHARDS 512
#define MAX_TENSORS 65536
#define MAX_NAME 128 /* of a shard */

struct entry {
    const char *tensor, *shard; /* in the tree */
    int seen;
};

struct shards {
    struct json *root;
    char label[PLACE_NAME_BYTES];
    const char *suffix;  /* of shards */
    struct entry *entry; /* [n_entries] by tensor */
    int n_entries;
    const char **name; /* [n] */
    int n;
};

/* A file beside the index: no path, no hidden file. */
static int is_file_name(const char *s, const char *suffix)
{
    size_t n = strlen(s), m = strlen(suffix);
    return n > m && n <= MAX_NAME && s[0] != '.' && !strchr(s, '/') &&
           strcmp(s + n - m, suffix) == 0;
}

static int by_tensor(const void *a, const void *b)
{
    const struct entry *x = a, *y = b;
    return strcmp(x->tensor, y->tensor);
}

static int by_text(const void *a, const void *b)
{
    const char *const *x = a, *const *y = b;
    return strcmp(*x, *y);
}

static int read_map(struct shards *s, struct err *e)
{
    const struct json *map = json_get(s->root, "weight_map");
    if (!map || json_type(map) != JSON_OBJECT) {
        return err_set(e, ERR_FORMAT, "%s: has no object 'weight_map'",
                       s->label);
    }
    int n = json_size(map);
    if (n < 1 || n > MAX_TENSORS) {
        return err_set(e, ERR_FORMAT, "%s: %d tensors, expected 1..%d",
                       s->label, n, MAX_TENSORS);
    }
    s->entry = mem_zarray((size_t)n, sizeof *s->entry);
    s->name = mem_array((size_t)n, sizeof(char *));
    if (!s->entry || !s->name)
        return err_nomem(e);
    for (const struct json *j = json_child(map); j; j = json_next(j)) {
        const char *shard = json_string(j);
        if (!shard || !is_file_name(shard, s->suffix)) {
            return err_set(e, ERR_FORMAT,
                           "%s: tensor '%.80s' is in '%.40s', expected the "
                           "name of a %s file beside it",
                           s->label, json_key(j), shard ? shard : "",
                           s->suffix);
        }
        s->name[s->n_entries] = shard;
        s->entry[s->n_entries++] = (struct entry){json_key(j), shard, 0};
    }
    return 0;
}

/* Sort both tables; each shard once. */
static int sort_tables(struct shards *s, struct err *e)
{
    qsort(s->entry, (size_t)s->n_entries, sizeof *s->entry, by_tensor);
    qsort((void *)s->name, (size_t)s->n_entries, sizeof(char *), by_text);
    for (int i = 0; i < s->n_entries; i++)
        if (s->n == 0 || strcmp(s->name[s->n - 1], s->name[i]) != 0)
            s->name[s->n++] = s->name[i];
    if (s->n > MAX_SHARDS) {
        return err_set(e, ERR_TOO_LARGE, "%s: %d shards, at most %d", s->label,
                       s->n, MAX_SHARDS);
    }
    return 0;
}

int shards_open(const char *dir, const char *label, const char *index,
                const char *suffix, struct shards **out, struct err *e)
{
    static const struct json_limits limits = {(size_t)32 << 20, 8,
                                              (size_t)2 * MAX_TENSORS};
    struct place p;
    *out = NULL;
    if (place_set(&p, dir, label, index, e))
        return -1;
    struct shards *s = mem_zalloc(sizeof *s);
    if (!s)
        return err_nomem(e);
    s->suffix = suffix;
    memcpy(s->label, p.name, sizeof s->label);
    if (json_load(p.path, p.name, &limits, &s->root, e) || read_map(s, e) ||
        sort_tables(s, e)) {
        shards_close(s);
        return -1;
    }
    *out = s;
    return 0;
}

void shards_close(struct shards *s)
{
    if (s) {
        json_free(s->root);
        mem_free(s->entry);
        mem_free((void *)s->name);
        mem_free(s);
    }
}

int shards_count(const struct shards *s)
{
    return s->n;
}

const char *shards_name(const struct shards *s, int i)
{
    return s->name[i];
}

int shards_seen(struct shards *s, int i, const char *tensor, struct err *e)
{
    const struct entry key = {tensor, NULL, 0};
    struct entry *found =
        bsearch(&key, s->entry, (size_t)s->n_entries, sizeof(key), by_tensor);
    if (!found || strcmp(found->shard, s->name[i]) != 0) {
        return err_set(e, ERR_FORMAT,
                       "%s: tensor '%.80s' is in %.40s, but listed %s%.40s",
                       s->label, tensor, s->name[i], found ? "for " : "nowhere",
                       found ? found->shard : "");
    }
    found->seen = 1;
    return 0;
}

int shards_check(const struct shards *s, struct err *e)
{
    for (int i = 0; i < s->n_entries; i++) {
        if (!s->entry[i].seen) {
            return err_set(e, ERR_FORMAT,
                           "%s: tensor '%.80s' is listed for %.40s, which has "
                           "no such tensor",
                           s->label, s->entry[i].tensor, s->entry[i].shard);
        }
    }
    return 0;
}
