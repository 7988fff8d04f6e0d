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
int http_rig_spawn(struct http_rig *r, struct seqd *s, const char *more);
/* http_rig_up / http_rig_down: models and r->s; http_rig_down is 0 when it
 * drained and exited with 0. */
int http_rig_up(struct http_rig *r, const char *more);
int http_rig_down(struct http_rig *r);

/* http_answered: POST json to path, or GET it when json is NULL; the test fails
 * when the status is not 200. a may be NULL. */
void http_answered(int port, const char *path, const char *json,
                   struct answer *a);
/* http_payload: "data":... to the end of a good answer: what may not depend on
 * other requests. */
const char *http_payload(const struct answer *a);
/* http_refused: the same request, for an error body with this status, code and
 * param ("" for null). */
void http_refused(int port, const char *path, const char *json, int status,
                  const char *code, const char *param);
struct http_refusal {
    const char *path, *json, *param;
};
void http_refused_all(int port, int status, const char *code,
                      const struct http_refusal *rows, size_t n);
/* http_check_error: 1 when an answer is such an error; else it says why not. */
int http_check_error(const struct answer *a, int status, const char *code,
                     const char *param);
#define HTTP_GONE "seqd_requests_cancelled_total{reason=\"client_gone\""
/* http_wait_metric: until a sum of series that grows has this value; 10 s. */
void http_wait_metric(int port, const char *series, double value);
/* http_wait_begun: until this server has made a token; 10 s. */
#define HTTP_MADE "seqd_tokens_total{model=\"words\",kind=\"completion\""
void http_wait_begun(int port);
/* http_begin_long: a generation of so many tokens that runs by now, on a socket
 * of its own. http_end_long: its whole answer has come, 30 s; closes. */
int http_begin_long(int port, int tokens);
void http_end_long(int fd, int tokens);
/* http_healthy: a small request of each kind is answered with 200. */
int http_healthy(int port);

#endif
