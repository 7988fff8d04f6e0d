/* config: everything an operator can set, in one table (config.c and the
 * engine's rows). Help text, the configuration file, /info and the tests are
 * made from it (engine/base/options.h). Flags win over SEQD_* variables, those
 * over the file named by --config. Read-only after config_load: any thread.
 *
 * SPDX-License-Identifier: MIT */
#ifndef SEQD_CONFIG_H
#define SEQD_CONFIG_H

#include <stdint.h>

#include "engine/base/options.h"
#include "engine/run/engine_options.h"

struct config {
    struct engine_options engine;
    const char *host, *port_file, *data_dir, *api_key_file, *api_key;
    const char *log_file;
    const char *url; /* of healthcheck */
    struct option_file file;
    struct string_list models; /* NAME=DIR */
    struct string_list cors_origins, host_names;
    int64_t port, max_body, max_batch, max_output_tokens, rate_limit;
    int64_t http_threads, max_connections;
    int64_t timeout_ms, body_timeout_ms, idle_timeout_s, ping_ms, drain_ms;
    int64_t janitor_ms, send_timeout_s;
    size_t answer_bytes, unread_bytes;
    int no_auth;
    int log_level; /* enum log_level */
    int log_json;
    int check, version;      /* what to do instead of serving */
    struct string_list keys; /* of api_key_file and api_key, at the start */
};

extern const struct option_table config_table;

/* config_load: options_parse, then the rules that need more than one option.
 * Its errors and keys_read's; 1 at --help. config_fini is due in any case. */
int config_load(struct config *c, int argc, char *const *argv, struct err *e);
void config_fini(struct config *c);

/* config_is_loopback: of the machine itself, whatever names say. */
int config_is_loopback(const char *host);

/* config_models: when no --model is given, the bundled checkpoints listed in
 * seqd.json of the data directory: --data-dir, or beside the build tree, or
 * under the installed prefix. ERR_NOT_FOUND when there is none. */
int config_models(struct config *c, struct err *e);
/* config_model: a value of --model, NAME=PATH or PATH alone: *dir is the path,
 * *name with the bytes that are returned what it is served as: of a path its
 * last part without .gguf. 0: it has no name. */
size_t config_model(const char *spec, const char **name, const char **dir);

#endif
