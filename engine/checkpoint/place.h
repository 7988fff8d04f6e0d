/* place: a file of a checkpoint's folder: where it is, and the name that
 * stands for it in messages ("model/config.json"), which never hold a path.
 *
 * SPDX-License-Identifier: MIT */
#ifndef SEQD_PLACE_H
#define SEQD_PLACE_H

#include <limits.h>

#include "engine/base/err.h"

#define PLACE_NAME_BYTES 256

struct place {
    char path[PATH_MAX];
    char name[PLACE_NAME_BYTES];
};

/* place_name: "label/file", or "file" without a label. */
void place_name(const char *label, const char *file,
                char out[PLACE_NAME_BYTES]);
/* place_set: `file` may come from the checkpoint itself: ERR_FORMAT for one
 * that is not inside dir. ERR_INVALID (path too long). */
int place_set(struct place *p, const char *dir, const char *label,
              const char *file, struct err *e);
/* place_exists: 1 when dir has something of that name. */
int place_exists(const char *dir, const char *file);

#endif
