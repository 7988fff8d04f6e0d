/* keys: see keys.h.
 *
 * SPDX-License-Identifier: MIT */
#include "server/http/keys.h"

#include <ctype.h>
#include <pthread.h>
#include <string.h>
#include <strings.h>

#include "engine/base/file.h"
#include "engine/base/mem.h"

#define MAX_FILE ((size_t)1 << 20)
#define MAX_KEY 1024 /* longer lines are refused: no key is that long */

static int add_line(const char *line, size_t len, struct string_list *l,
                    struct err *e)
{
    if (len > MAX_KEY)
        return err_set(e, ERR_INVALID,
                       "the API key file has a line of more than %d bytes",
                       MAX_KEY);
    while (len && isspace((unsigned char)line[len - 1]))
        len--;
    while (len && isspace((unsigned char)*line)) {
        line++;
        len--;
    }
    return len ? string_list_add(l, line, len, e) : 0;
}

int keys_read(const char *path, struct string_list *l, struct err *e)
{
    char *text = NULL;
    size_t n = 0;
    int before = l->n;
    if (file_read(path, "the file of --api-key-file", MAX_FILE, &text, &n, e))
        return -1;
    int rc = n && memchr(text, 0, n)
                 ? err_set(e, ERR_INVALID, "the API key file holds a NUL byte")
                 : 0;
    for (size_t at = 0; rc == 0 && at < n;) {
        const char *end = memchr(text + at, '\n', n - at);
        size_t len = end ? (size_t)(end - text) - at : n - at;
        rc = add_line(text + at, len, l, e);
        at += len + 1;
    }
    mem_free(text);
    if (rc == 0 && l->n == before)
        rc = err_set(e, ERR_INVALID, "the API key file holds no key");
    return rc;
}

/* Equal or not, in time that depends on the lengths alone. */
static unsigned differs(const char *key, const char *given)
{
    size_t nk = strlen(key), ng = strlen(given);
    unsigned diff = nk != ng;
    for (size_t i = 0; i < ng; i++)
        diff |= (unsigned char)given[i] ^ (unsigned char)key[i % (nk + 1)];
    return diff;
}

const char *keys_text(const char *authorization)
{
    if (!authorization || strncasecmp(authorization, "Bearer ", 7))
        return NULL;
    authorization += 7;
    while (*authorization == ' ')
        authorization++;
    return authorization;
}

int keys_match(const struct string_list *l, const char *authorization)
{
    unsigned ok = 0;
    const char *key = keys_text(authorization);
    for (int i = 0; key && i < l->n; i++)
        ok |= differs(l->v[i], key) == 0;
    return (int)ok;
}

/* --- keys that may be read again --- */

struct key_set {
    struct string_list list;
    int refs; /* under the ring's mu: the ring's, and of those who compare */
};

struct keyring {
    pthread_mutex_t mu;
    struct key_set *now; /* under mu */
};

static void free_set(struct key_set *s)
{
    if (s)
        string_list_fini(&s->list);
    mem_free(s);
}

static struct key_set *take(struct keyring *k)
{
    pthread_mutex_lock(&k->mu);
    struct key_set *s = k->now;
    s->refs++;
    pthread_mutex_unlock(&k->mu);
    return s;
}

static void drop(struct keyring *k, struct key_set *s)
{
    pthread_mutex_lock(&k->mu);
    int last = --s->refs == 0;
    pthread_mutex_unlock(&k->mu);
    if (last)
        free_set(s);
}

int keyring_open(const struct string_list *l, struct keyring **out,
                 struct err *e)
{
    struct keyring *k = mem_zalloc(sizeof *k);
    struct key_set *s = mem_zalloc(sizeof *s);
    int rc = k && s ? 0 : err_nomem(e);
    for (int i = 0; rc == 0 && i < l->n; i++)
        rc = string_list_add(&s->list, l->v[i], strlen(l->v[i]), e);
    if (rc < 0) {
        free_set(s);
        mem_free(k);
        return -1;
    }
    s->refs = 1;
    k->now = s;
    pthread_mutex_init(&k->mu, NULL);
    *out = k;
    return 0;
}

void keyring_close(struct keyring *k)
{
    if (!k)
        return;
    free_set(k->now);
    pthread_mutex_destroy(&k->mu);
    mem_free(k);
}

int keyring_read(struct keyring *k, const char *path, const char *one,
                 struct err *e)
{
    struct key_set *s = mem_zalloc(sizeof *s);
    if (!s)
        return err_nomem(e);
    int rc = keys_read(path, &s->list, e);
    if (rc == 0 && one)
        rc = string_list_add(&s->list, one, strlen(one), e);
    if (rc < 0) {
        free_set(s);
        return -1;
    }
    int n = s->list.n;
    s->refs = 1;
    pthread_mutex_lock(&k->mu);
    struct key_set *old = k->now;
    k->now = s;
    pthread_mutex_unlock(&k->mu);
    drop(k, old);
    return n;
}

int keyring_match(struct keyring *k, const char *authorization)
{
    struct key_set *s = take(k);
    int ok = keys_match(&s->list, authorization);
    drop(k, s);
    return ok;
}
