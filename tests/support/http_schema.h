/* http_schema: a validator for the part of JSON Schema that
 * server/api/openapi.yaml uses: $ref, type, enum, const, required, properties,
 * additionalProperties, items, minItems, maxItems, minimum, maximum,
 * exclusiveMinimum, minLength, maxLength, pattern (as POSIX reads it), oneOf,
 * anyOf, allOf. A keyword that it does not know is an error, so that nothing in
 * the contract goes unchecked.
 *
 * SPDX-License-Identifier: MIT */
#ifndef SEQD_HTTP_SCHEMA_H
#define SEQD_HTTP_SCHEMA_H

#include <stddef.h>

#include "engine/base/json.h"

/* schema_check: 1 when v fits `schema` (refs point into `root`); else 0 with
 * the place and cause in why. */
int schema_check(const struct json *root, const struct json *schema,
                 const struct json *v, char *why, size_t size);
/* schema_named: components/schemas/NAME. */
const struct json *schema_named(const struct json *root, const char *name);
/* schema_resolve: follow $ref as far as it goes. */
const struct json *schema_resolve(const struct json *root,
                                  const struct json *schema);

#endif
