/* hparams: typed, bounded access to a checkpoint's config.json (opened by
 * checkpoint.h), or to the metadata of a GGUF file. A key may be a path with
 * dots ("tensor_prefix.rnn"). A wrong type or a value out of range
 * is ERR_FORMAT and names key, found and expected: "config.json: 'hidden_size'
 * is -3, expected 1..65536".
 *
 * SPDX-License-Identifier: MIT */
#ifndef SEQD_HPARAMS_H
#define SEQD_HPARAMS_H

#include <stddef.h>
#include <stdint.h>

#include "engine/base/err.h"
#include "engine/base/json.h"

struct hparams;
struct gguf;

#define HPARAMS_MAX_BYTES ((size_t)1 << 20) /* of a config.json */

/* hparams_parse: the text of a config.json. */
int hparams_parse(const char *text, size_t n, const char *label,
                  struct hparams **out, struct err *e);
/* hparams_gguf: the metadata of a GGUF file as the same kind of tree: the key
 * "llama.attention.head_count" is the path "llama.attention.head_count" (only
 * whole keys: there is no object "llama"), and "model_type" is added with the
 * value of general.architecture. Arrays of more than 4,096 elements
 * (vocabularies) and strings of more than 128 KiB are left out; numbers have
 * their nearest double, NaN and infinity are refused by who reads them. */
int hparams_gguf(const struct gguf *g, struct hparams **out, struct err *e);
void hparams_close(struct hparams *h);

enum hparams_form { HPARAMS_CONFIG, HPARAMS_GGUF };
enum hparams_form hparams_form(const struct hparams *h);
int hparams_has(const struct hparams *h, const char *key);
/* Required: -1 when the key is missing. */
int hparams_int(const struct hparams *h, const char *key, int64_t min,
                int64_t max, int64_t *v, struct err *e);
/* Optional (missing or null): *v is dflt. */
int hparams_int_or(const struct hparams *h, const char *key, int64_t min,
                   int64_t max, int64_t dflt, int64_t *v, struct err *e);
int hparams_float_or(const struct hparams *h, const char *key, double min,
                     double max, double dflt, double *v, struct err *e);
int hparams_bool_or(const struct hparams *h, const char *key, int dflt, int *v,
                    struct err *e);
/* Strings are borrowed until hparams_close. */
int hparams_string(const struct hparams *h, const char *key, const char **v,
                   struct err *e);
int hparams_string_or(const struct hparams *h, const char *key,
                      const char *dflt, const char **v, struct err *e);
/* One of a NULL-terminated list; *v is its index. dflt NULL: required. */
int hparams_choice(const struct hparams *h, const char *key,
                   const char *const *list, const char *dflt, int *v,
                   struct err *e);
const struct json *hparams_json(const struct hparams *h, const char *key);

#endif
