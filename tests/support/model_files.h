/* model_files: real checkpoints that `make parity-models` brings, and the
 * reference values for them in the shared data. Both are outside of the
 * repository.
 *
 * SPDX-License-Identifier: MIT */
#ifndef SEQD_MODEL_FILES_H
#define SEQD_MODEL_FILES_H

#include <stddef.h>

#include "engine/base/json.h"

/* model_file: "$SEQD_MODELS/<name>" into out; 0 when it is not there (the
 * caller then skips: a line with the reason has been printed). */
int model_file(const char *name, char *out, size_t cap);
/* model_reference: a JSON file of the reference values ("../shared/models/",
 * or $SEQD_SHARED); fails the running test when it is not there. */
struct json *model_reference(const char *name);
/* model_full: 1 when the long cases are wanted (SEQD_MODELS_FULL). */
int model_full(void);

#endif
