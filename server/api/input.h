/* input: what the endpoints that run a model have in common: the body, the
 * model, `input` as tokens, the jobs.
 *
 * SPDX-License-Identifier: MIT */
#ifndef SEQD_INPUT_H
#define SEQD_INPUT_H

#include "server/api/fields.h"
#include "server/http/request.h"

/* What every endpoint that runs a model takes. An endpoint's own parameters are
 * a struct that begins with this one. */
struct input_params {
    const char *model;
    const struct json *input;
    int truncate;
    int64_t timeout_ms;
    int64_t room; /* no field: tokens that the answer adds to the text */
    int lead;     /* no field: 1 + a token in front of the text; 0: none */
    int most;     /* no field: tokens that a text may have; 0: as many as an
                     item of the port */
};

#define MAX_TIMEOUT_MS 3600000.0
#define MAX_SEED 9007199254740991.0 /* 2^53 - 1: whole in every JSON reader */

#define INPUT_AT(field) offsetof(struct input_params, field)
/* The rows that every endpoint has. */
#define INPUT_FIELDS                                                           \
    {"model", FIELD_TEXT, 0, 0, INPUT_AT(model)},                              \
        {"input", FIELD_ANY, 0, 0, INPUT_AT(input)},                           \
        {"truncate", FIELD_BOOL, 0, 0, INPUT_AT(truncate)},                    \
    {                                                                          \
        "timeout_ms", FIELD_INT, 1, MAX_TIMEOUT_MS, INPUT_AT(timeout_ms)       \
    }

/* input_body: the body as an object into r->json. U+0000 may stand in strings
 * (json_parse_nul): no name that we know has the bytes C0 80. invalid_json,
 * body_too_large. */
int input_body(struct request *r);
/* input_params: body and fields; p holds the defaults before, and is the
 * beginning of what the fields are written to. */
int input_params(struct request *r, const struct field *f, int n,
                 struct input_params *p);
/* input_params_open: the same under /v1: members of other names are ignored. */
int input_params_open(struct request *r, const struct field *f, int n,
                      struct input_params *p);
/* input_model: by name or by task into r->model. */
int input_model(struct request *r, const char *name, const struct task *task);
/* input_default_tokens: of a text where the request does not say how many: what
 * the model's files say, else `otherwise`; at most --max-output-tokens. */
int64_t input_default_tokens(const struct request *r, int64_t otherwise);

/* input_reads_text: -1 when the request's model has no tokenizer. */
int input_reads_text(struct request *r);

/* input_read: count and check `input` (a string or a list of strings) and
 * make r->items. */
int input_read(struct request *r, const struct json *input);
const struct json *input_at(const struct request *r, const struct json *input,
                            int i, const struct json *before);
/* input_param: "input" or "input[i]". */
void input_param(const struct request *r, int i, char out[32]);

/* input_trimmed: bytes of a text without the spaces at its end. */
size_t input_trimmed(const struct json *text);

#define KEEP_FIRST 0 /* truncate keeps the head: /sentiment, a source */
#define KEEP_LAST 1  /* truncate keeps the tail: what is continued */

#define ENCODE_EMPTY 1u /* "" is the start of a text where it has tokens */
#define ENCODE_PARSE 2u /* the texts of special tokens are those tokens */
/* A model that wants a language in front of a source (targets.h) gets the one
 * that the text begins with, ">>fr<< text"; of one language it need not. */
#define ENCODE_LANGUAGE 4u
/* Spaces at the end of a text are not read: to sub-words one is the beginning
 * of the next token. Where there is no token for a text's start, spaces alone
 * are. */
#define ENCODE_TRIM 8u

/* input_port: the one that texts enter: the source, where a model has one. */
int input_port(const struct request *r);
/* input_tokenizer: of the texts that enter. */
const struct tokenizer *input_tokenizer(const struct request *r);
/* input_encode: the inputs into r->ids, cut to the model's limit where that is
 * allowed, and then by p->room more where that is a context's, though by no
 * more than half of it; tokens that the tokenizer puts around a text stay.
 * Models that take whole inputs get those on both sides, others those in front.
 * `how`: ENCODE_*. */
int input_encode(struct request *r, const struct input_params *p, int keep,
                 unsigned how);
/* input_take_ids: `input` is a list of tokens, or a list of such lists, that
 * the client made itself: nothing is put around them. */
int input_take_ids(struct request *r, const struct input_params *p);

/* input_submit: one job per item, all like `spec`; of models with a source the
 * target begins with what the model states. Returns 1 or -1. */
int input_submit(struct request *r, const struct job_spec *spec);
/* input_submit_each: the same, with the parameters of item i at
 * spec->params + i * step. */
int input_submit_each(struct request *r, const struct job_spec *spec,
                      size_t step);

#endif
