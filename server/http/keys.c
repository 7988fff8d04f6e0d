/* keys: see keys.h.
 *
 * SPDX-License-Identifier: MIT */
#include "server/http/keys.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#define MAX_KEY 1024 /* longer lines are refused: no key is that long */

int keys_read(const char *path, struct string_list *l, struct err *e)
{
    char line[MAX_KEY + 2];
    int rc = 0, before = l->n;
    FILE *f = fopen(path, "re");
    if (!f)
        return err_set(e, errno == ENOENT ? ERR_NOT_FOUND : ERR_IO,
                       "the file of --api-key-file cannot be read: %s",
                       strerror(errno));
    while (rc == 0 && fgets(line, sizeof line, f)) {
        size_t len = strlen(line), from = 0;
        if (len == sizeof line - 1 && line[len - 1] != '\n')
            rc = err_set(e, ERR_INVALID,
                         "the API key file has a line of more "
                         "than %d bytes",
                         MAX_KEY);
        while (len && isspace((unsigned char)line[len - 1]))
            len--;
        while (from < len && isspace((unsigned char)line[from]))
            from++;
        if (rc == 0 && len > from)
            rc = string_list_add(l, line + from, len - from, e);
    }
    if (rc == 0 && ferror(f))
        rc = err_set(e, ERR_IO, "the API key file cannot be read");
    fclose(f);
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

int keys_match(const struct string_list *l, const char *authorization)
{
    unsigned ok = 0;
    if (!authorization || strncasecmp(authorization, "Bearer ", 7))
        return 0;
    authorization += 7;
    while (*authorization == ' ')
        authorization++;
    for (int i = 0; i < l->n; i++)
        ok |= differs(l->v[i], authorization) == 0;
    return (int)ok;
}
