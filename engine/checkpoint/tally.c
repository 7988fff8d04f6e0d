/* tally: see tally.h.
 *
 * SPDX-License-Identifier: MIT */
#include "engine/checkpoint/tally.h"

#include <string.h>

#include "engine/base/mem.h"

#define SPACE " \t"

int tally_open(struct tally *t, const struct weights *w, struct err *e)
{
    t->w = w;
    t->read = mem_zalloc((size_t)weights_count(w) + 1);
    return t->read ? 0 : err_nomem(e);
}

void tally_close(struct tally *t)
{
    mem_free(t->read);
    t->read = NULL;
}

void tally_mark(struct tally *t, const char *name)
{
    const struct tensor *x = weights_find(t->w, name);
    int i = 0, count = weights_count(t->w);
    while (x && i < count && weights_at(t->w, i) != x)
        i++;
    if (x && i < count)
        t->read[i] = 1;
}

/* Does `name` end with the n bytes of `end`? */
static int ends_like(const char *name, const char *end, size_t n)
{
    size_t m = strlen(name);
    return n > 0 && m >= n && memcmp(name + m - n, end, n) == 0;
}

static int is_listed(const char *name, const char *list)
{
    while (list && *list) {
        list += strspn(list, SPACE ",");
        size_t n = strcspn(list, ","), used = n;
        while (used > 0 && strchr(SPACE, list[used - 1]))
            used--;
        if (ends_like(name, list, used))
            return 1;
        list += n;
    }
    return 0;
}

const struct tensor *tally_unread(const struct tally *t,
                                  const char *const *ignored, const char *list)
{
    for (int i = 0; i < weights_count(t->w); i++) {
        const struct tensor *x = weights_at(t->w, i);
        int known = t->read[i];
        for (int k = 0; ignored && ignored[k] && !known; k++)
            known = ends_like(x->name, ignored[k], strlen(ignored[k]));
        if (!known && !is_listed(x->name, list))
            return x;
    }
    return NULL;
}
