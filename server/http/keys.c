/* keys: see keys.h.
 *
 * SPDX-License-Identifier: MIT */
#include "server/http/keys.h"

#include <ctype.h>
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
