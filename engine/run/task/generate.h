/* generate: a continuation, token by token.
 *
 * SPDX-License-Identifier: MIT */
#ifndef SEQD_GENERATE_H
#define SEQD_GENERATE_H

#include "engine/run/engine.h"
#include "engine/run/sampler.h"

struct generate_params {
    int max_tokens; /* >= 0 */
    struct sample_params sample;
    const char *const *stop; /* copied; n_stop strings, 1..1024 bytes */
    int n_stop;              /* <= 16 */
    int stream;              /* 1: JOB_TEXT events as text becomes certain */
};

enum finish_reason { FINISH_STOP, FINISH_LENGTH, FINISH_CANCELLED };

struct generate_result {
    const char *text; /* NUL-terminated UTF-8 */
    size_t text_len;
    const int32_t *tokens;
    int n_tokens;
    enum finish_reason finish;
};

extern const struct task task_generate;

static inline const struct generate_result *generate_result(const struct job *j)
{
    return job_answer(j, &task_generate);
}

#endif
