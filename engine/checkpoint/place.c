/* place: see place.h.
 *
 * SPDX-License-Identifier: MIT */
#include "engine/checkpoint/place.h"

#include <stdio.h>
#include <string.h>

#include "engine/base/file.h"

/* From the root, or a part of it is "..". */
static int leads_out(const char *file)
{
    const char *at = strstr(file, "..");
    while (at && ((at != file && at[-1] != '/') || (at[2] && at[2] != '/')))
        at = strstr(at + 1, "..");
    return at || file[0] == '/';
}

void place_name(const char *label, const char *file, char out[PLACE_NAME_BYTES])
{
    int named = label && label[0];
    snprintf(out, PLACE_NAME_BYTES, "%s%s%.128s", named ? label : "",
             named ? "/" : "", file);
}

int place_set(struct place *p, const char *dir, const char *label,
              const char *file, struct err *e)
{
    place_name(label, file, p->name);
    if (leads_out(file))
        return err_set(e, ERR_FORMAT, "%s: is not inside the checkpoint",
                       p->name);
    int n = snprintf(p->path, sizeof p->path, "%s/%s", dir, file);
    return n < 0 || (size_t)n >= sizeof p->path
               ? err_set(e, ERR_INVALID, "%s: path too long", p->name)
               : 0;
}

int place_exists(const char *dir, const char *file)
{
    struct place p;
    return place_set(&p, dir, NULL, file, NULL) == 0 && file_exists(p.path);
}
