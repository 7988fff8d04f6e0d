/* models_json: what clients may know about a loaded model.
 *
 * SPDX-License-Identifier: MIT */
#ifndef SEQD_MODELS_JSON_H
#define SEQD_MODELS_JSON_H

#include "engine/base/buf.h"
#include "engine/run/engine.h"
#include "server/server.h"

#define MAX_LISTED_MODELS 256

/* model_json: {"id":...} as in GET /v1/models/{m}. The first one of a model
 * reads its files, for their digest: ERR_DRAINING when sv->cut ended that. */
int model_json(const struct server *sv, const struct model *m, struct buf *out,
               struct err *e);
/* models_json_tasks: ["predict","generate"]. */
void models_json_tasks(const struct model *m, struct buf *out);

#endif
