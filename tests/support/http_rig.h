/* http_rig: what most HTTP test programs begin with: a folder of small models
 * and a server that has them: `words` (predict, generate), `chars` (the same,
 * characters), `labels` (sentiment; the word "poison" gives NaN).
 *
 * SPDX-License-Identifier: MIT */
#ifndef SEQD_HTTP_RIG_H
#define SEQD_HTTP_RIG_H

#include "tests/support/http_client.h"
#include "tests/support/http_model.h"
#include "tests/support/http_server.h"
#include "tests/support/unit.h"

struct http_rig {
    char dir[64];
    char words[96], labels[96], chars[96]; /* "name=dir", for --model */
    struct seqd s;
};

int http_rig_models(struct http_rig *r);
void http_rig_remove(struct http_rig *r);
/* http_rig_spawn: a server with the three models and these further arguments.
 * */
int http_rig_spawn(struct http_rig *r, struct seqd *s, const char *const *more);
/* http_rig_up / http_rig_down: models and r->s; http_rig_down is 0 when it
 * drained and exited with 0. */
int http_rig_up(struct http_rig *r, const char *const *more);
int http_rig_down(struct http_rig *r);

/* http_error_is: POST json to path and check status, code and param ("" for
 * null) of the error body; 1 when all is as expected, else it says what is
 * not. */
int http_error_is(int port, const char *path, const char *json, int status,
                  const char *code, const char *param);
/* http_check_error: the same for an answer that is there. */
int http_check_error(const struct answer *a, int status, const char *code,
                     const char *param);
/* http_healthy: a small request of each kind is answered with 200. */
int http_healthy(int port);

#endif
