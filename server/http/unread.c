/* unread: see unread.h.
 *
 * SPDX-License-Identifier: MIT */
#include "server/http/unread.h"

#include "engine/base/mem.h"
#include "server/http/request.h"

static int too_large(struct request *r, size_t n, size_t most)
{
    return err_set_at(&r->err, ERR_TOO_LARGE, "batch_too_large", NULL,
                      "the answer would have some %zu bytes, at most %zu are "
                      "allowed",
                      n, most);
}

static int no_room(struct request *r, size_t n)
{
    return err_set_at(&r->err, ERR_BUSY, "answers_full", NULL,
                      "the answer would have some %zu bytes, and answers that "
                      "were not read yet fill the room of %zu",
                      n, r->sv->cfg->unread_bytes);
}

static int check_one(struct request *r, size_t n)
{
    const struct config *cfg = r->sv->cfg;
    size_t most = cfg->answer_bytes < cfg->unread_bytes ? cfg->answer_bytes
                                                        : cfg->unread_bytes;
    return n > most ? too_large(r, n, most) : 0;
}

int unread_fits(struct request *r, size_t n)
{
    size_t limit = r->sv->cfg->unread_bytes;

    if (n <= UNREAD_SMALL)
        return 0;
    if (check_one(r, n) < 0)
        return -1;
    size_t others = atomic_load(&r->sv->unread) - r->unread;
    return others > limit - n ? no_room(r, n) : 0;
}

int unread_take(struct request *r, size_t n)
{
    size_t limit = r->sv->cfg->unread_bytes;

    if (n <= r->unread)
        return 0;
    if (n <= UNREAD_SMALL) {
        unread_set(r, n);
        return 0;
    }
    if (check_one(r, n) < 0)
        return -1;
    if (mem_reserve(&r->sv->unread, limit, n - r->unread) < 0)
        return no_room(r, n);
    r->unread = n;
    return 0;
}

int unread_written(struct request *r, size_t n)
{
    if (r->unread > 0 && unread_take(r, n) < 0)
        return -1;
    unread_set(r, n);
    return 0;
}

void unread_set(struct request *r, size_t n)
{
    if (n > r->unread)
        atomic_fetch_add(&r->sv->unread, n - r->unread);
    else if (n < r->unread)
        atomic_fetch_sub(&r->sv->unread, r->unread - n);
    r->unread = n;
}
