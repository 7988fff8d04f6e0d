/* hparams_gguf: the metadata of a GGUF file as the text of one JSON object,
 * which hparams.c parses like a config.json. Internal to hparams.c.
 *
 * SPDX-License-Identifier: MIT */
#ifndef SEQD_HPARAMS_GGUF_H
#define SEQD_HPARAMS_GGUF_H

#include <stddef.h>

#include "engine/base/buf.h"
#include "engine/base/err.h"
#include "engine/checkpoint/gguf.h"

#define HPARAMS_GGUF_BYTES ((size_t)8 << 20) /* of the text */

/* ERR_FORMAT (no general.architecture), ERR_TOO_LARGE, ERR_NOMEM. */
int hparams_gguf_write(const struct gguf *g, const char *label, struct buf *out,
                       struct err *e);

#endif
