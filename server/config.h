/* config: everything an operator can set, in ONE table (config.c): flag,
 * environment variable, type, range, default, help. Help text, the JSON
 * configuration file, /info and the tests are made from it. Flags win over
 * SEQD_* variables, those over the file named by --config.
 * Read-only after config_load: any thread.
 *
 * SPDX-License-Identifier: MIT */
#ifndef SEQD_CONFIG_H
#define SEQD_CONFIG_H

#include <stddef.h>
#include <stdint.h>

#include "engine/base/buf.h"
#include "engine/base/err.h"

struct string_list {
    char **v;
    int n;
};

enum config_command {
    COMMAND_SERVE,
    COMMAND_CHECK,   /* --check-config */
    COMMAND_VERSION, /* --version */
    COMMAND_HELP,    /* --help */
    COMMAND_HEALTH   /* healthcheck */
};

struct config {
    enum config_command command;
    char *url; /* healthcheck --url */
    char *host, *port_file, *data_dir, *kernels, *api_key_file, *api_key;
    char *log_level, *log_format, *file;
    struct string_list models; /* NAME=DIR */
    struct string_list cors_origins;
    int64_t port, threads, spin_us, max_rows, max_queue, fold_mb, state_mb;
    int64_t max_body, max_batch, max_item_tokens, max_output_tokens;
    int64_t http_threads, max_connections;
    int64_t timeout_ms, body_timeout_ms, idle_timeout_s, ping_ms, drain_ms;
    int64_t janitor_ms;
    int64_t no_auth, bf16;
    char *path;              /* fast or exact */
    struct string_list keys; /* of api_key_file and api_key */
};

/* config_load: defaults, file, environment, arguments, in this order; then
 * the rules that need more than one option. ERR_INVALID, ERR_NOT_FOUND,
 * ERR_IO, ERR_NOMEM; the message names the option and where it came from. */
int config_load(struct config *c, int argc, char *const *argv, struct err *e);
void config_fini(struct config *c);

/* string_list_add: a copy of s at the end. ERR_NOMEM. */
int string_list_add(struct string_list *l, const char *s, struct err *e);

/* config_models: when no --model is given, the bundled checkpoints listed in
 * seqd.json of the data directory: --data-dir, or beside the build tree, or
 * under the installed prefix. ERR_NOT_FOUND when there is none. */
int config_models(struct config *c, struct err *e);

int config_help(struct buf *out);
/* config_write: {"port":8080,...}: all options but keys and file names. */
int config_write(const struct config *c, struct buf *out);

/* The table, for the tests: i-th flag ("--port"; NULL: environment only), or
 * 0 past the end. */
int config_option(int i, const char **flag, const char **env);

#endif
