/* config: see config.h.
 *
 * SPDX-License-Identifier: MIT */
#include "server/config.h"

#include <arpa/inet.h>
#include <string.h>

#include "server/http/keys.h"

#define AT(field) OPTION_AT(struct config, field)
#define DAY_MS 86400000

static const struct option rows[] = {
    {.kind = OPTION_SECTION, .help = "Models"},
    {"--model", OPTION_LIST | OPTION_HIDDEN, AT(models), NULL, 0, 0,
     "NAME=PATH",
     "serve this checkpoint, a directory or a .gguf or .pt file, by the name "
     "of its path where none is given; the order is the order of defaults; "
     "without it the bundled checkpoints"},
    {"--data-dir", OPTION_HIDDEN | OPT_TEXT(data_dir, "DIR"),
     "folder of the bundled checkpoints (the one with seqd.json)"},
    {.kind = OPTION_SECTION, .help = "Listening"},
    {"--host", OPTION_TEXT, AT(host), "127.0.0.1", 0, 0, "ADDR",
     "address to listen on; others than loopback need a key or --no-auth"},
    {"--port", OPT_INT(port, "8080", 0, 65535),
     "port; 0 takes a free one (see --port-file)"},
    {"--port-file", OPTION_HIDDEN | OPT_TEXT(port_file, "FILE"),
     "write the port here once the server listens"},
    {"--http-threads", OPT_INT(http_threads, "1", 1, 16),
     "event loops; more than one helps on machines with many cores"},
    {"--max-connections", OPT_INT(max_connections, "1000", 1, 1 << 16),
     "connections open at a time"},
    {.kind = OPTION_SECTION, .help = "Access"},
    {"--api-key-file", OPTION_HIDDEN | OPT_TEXT(api_key_file, "FILE"),
     "accepted keys, one a line (Authorization: Bearer KEY); SIGHUP reads it "
     "again"},
    {"--api-key", OPTION_ENV_ONLY | OPT_TEXT(api_key, "KEY"),
     "one accepted key (a flag would show it to other users)"},
    {"--no-auth", OPT_BOOL(no_auth),
     "allow an address other than loopback without a key"},
    {"--host-name", OPTION_LIST, AT(host_names), NULL, 0, 0, "NAME",
     "name that a server on loopback without a key may be asked by, besides "
     "localhost and addresses (a proxy that hands `Host` on)"},
    {"--cors-origin", OPTION_LIST, AT(cors_origins), NULL, 0, 0, "ORIGIN",
     "web origin that may read answers (https://host[:port] or *)"},
    {.kind = OPTION_SECTION, .help = "Requests"},
    {"--max-body", OPTION_INT, AT(max_body), "2097152", 64, 1 << 30, "BYTES",
     "largest request body"},
    {"--max-batch", OPT_INT(max_batch, "256", 1, 65536),
     "most items in one request"},
    {"--rate-limit", OPT_INT(rate_limit, "0", 0, 1000000),
     "POST requests a minute of one client (a key, or without keys an "
     "address); 0: any"},
    {"--max-output-tokens", OPT_INT(max_output_tokens, "8192", 1, 1 << 20),
     "largest max_tokens of /generate"},
    {"--answer-mb", OPTION_MIB, AT(answer_bytes), "256", 1, 4096, NULL,
     "largest answer: what one connection may hold unread"},
    {"--unread-mb", OPTION_MIB, AT(unread_bytes), "512", 1, 1 << 20, NULL,
     "most MiB of answers that their clients have not read yet"},
    {"--timeout-ms", OPT_INT(timeout_ms, "60000", 0, DAY_MS),
     "deadline of a request that names none; 0: none"},
    {"--body-timeout-ms", OPT_INT(body_timeout_ms, "30000", 1, DAY_MS),
     "a body must have arrived by then"},
    {"--idle-timeout-s", OPT_INT(idle_timeout_s, "75", 1, 86400),
     "close connections that are silent this long"},
    {"--send-timeout-s", OPT_INT(send_timeout_s, "30", 1, 86400),
     "close connections whose client reads less than 1 KiB a second of an "
     "answer in this time, or nothing of a running stream"},
    {"--ping-ms", OPT_INT(ping_ms, "15000", 1, DAY_MS),
     "a stream that is silent this long sends a comment"},
    {"--drain-ms", OPT_INT(drain_ms, "30000", 0, DAY_MS),
     "time for running work after SIGTERM or SIGINT"},
    {"--janitor-ms", OPT_INT(janitor_ms, "250", 1, 10000),
     "how often deadlines and clients that left are looked for"},
    {.kind = OPTION_SECTION, .help = "Running"},
    {"--log-level", OPT_CHOICE(log_level, "info", "error|warn|info|debug"),
     "how much to log"},
    {"--log-format", OPT_CHOICE(log_json, "text", "text|json"),
     "one line an event, as text or JSON"},
    {"--log-file", OPTION_HIDDEN | OPT_TEXT(log_file, "FILE"),
     "append the log there, not to standard error; SIGHUP opens it anew"},
    {"--config", OPTION_FILE | OPTION_NOT << FROM_FILE, AT(file), NULL, 0, 0,
     NULL,
     "JSON object with these options ({\"max_body\": 65536, \"model\": "
     "[\"a=dir\"]})"},
    {"--check-config", OPTION_ARG_ONLY | OPT_BOOL(check),
     "read everything, load the models, then stop"},
    {"--version", OPTION_ARG_ONLY | OPT_BOOL(version), "print it, then stop"},
    {"--url", OPTION_ARG_ONLY | OPT_TEXT(url, "URL"),
     "healthcheck: ask there, not at --host and --port"},
    {.kind = OPTION_END},
};

const struct option_table config_table = {
    .name = "seqd",
    .usage = "usage: seqd [options]\n"
             "       seqd eval --model PATH --data FILE [options]\n"
             "                      score a checkpoint on a text: a line of "
             "JSON\n"
             "       seqd tokenize --model PATH [options]\n"
             "                      ids of the lines on standard input\n"
             "       seqd healthcheck [--url http://HOST[:PORT][/PATH]]\n"
             "                      0 when a server answers that it is ready\n"
             "       seqd eval --help, seqd tokenize --help\n\n"
             "Serves sequence models over HTTP. A flag wins over its variable "
             "{in braces}, that\nover the same key in the file of --config; "
             "[defaults] are in brackets.\n",
    .groups =
        (const struct option_group[]){
            {rows, 0},
            {engine_option_rows, offsetof(struct config, engine)},
            {engine_serving_rows, offsetof(struct config, engine)},
            {NULL, 0}},
    .env = "SEQD_"};

/* An address in digits, not a name: "127.0.0.1.example" may be anywhere. */
int config_is_loopback(const char *host)
{
    struct in_addr a;
    if (inet_aton(host, &a))
        return ntohl(a.s_addr) >> 24 == 127;
    return !strcmp(host, "::1") || !strcmp(host, "localhost");
}

/* What a browser sends as Origin is compared as text: anything that it cannot
 * send would be on the list for nothing. */
static int check_origins(const struct config *c, struct err *e)
{
    for (int i = 0; i < c->cors_origins.n; i++) {
        const char *o = c->cors_origins.v[i], *host = strstr(o, "://");
        if (!strcmp(o, "*") || !strcmp(o, "null"))
            continue;
        if (!host || host == o || !host[3] || strpbrk(host + 3, "/?#@ "))
            return err_set(e, ERR_INVALID,
                           "--cors-origin is '%.60s', expected "
                           "scheme://host[:port] without a path, or *",
                           o);
    }
    return 0;
}

size_t config_model(const char *spec, const char **name, const char **dir)
{
    const char *eq = strchr(spec, '=');
    size_t n = strlen(spec);
    *name = spec;
    *dir = eq ? eq + 1 : spec;
    if (eq)
        return (size_t)(eq - spec);
    while (n > 0 && spec[n - 1] == '/')
        n--;
    for (size_t i = 0; i < n; i++)
        if (spec[i] == '/')
            *name = spec + i + 1;
    n -= (size_t)(*name - spec);
    if (n > 5 && memcmp(*name + n - 5, ".gguf", 5) == 0)
        n -= 5;
    return strspn(*name, ".") < n ? n : 0; /* "." and ".." name nothing */
}

static int check_models(const struct config *c, struct err *e)
{
    for (int i = 0; i < c->models.n; i++) {
        const char *m = c->models.v[i], *name, *dir;
        if (config_model(m, &name, &dir) == 0 || !*dir)
            return err_set(e, ERR_INVALID,
                           "--model is '%.60s', expected NAME=PATH, or a PATH "
                           "that ends in a name",
                           m);
    }
    return 0;
}

int config_load(struct config *c, int argc, char *const *argv, struct err *e)
{
    memset(c, 0, sizeof *c);
    int rc = options_parse(&config_table, c, argc, argv, e);
    if (rc || c->version)
        return rc;
    if (c->url)
        return err_set(e, ERR_INVALID, "--url is an option of healthcheck");
    if (c->api_key_file && keys_read(c->api_key_file, &c->keys, e) < 0)
        return -1;
    if (c->api_key &&
        string_list_add(&c->keys, c->api_key, strlen(c->api_key), e) < 0)
        return -1;
    if (!config_is_loopback(c->host) && c->keys.n == 0 && !c->no_auth)
        return err_set(e, ERR_INVALID,
                       "--host %.60s is not loopback: give --api-key-file or "
                       "SEQD_API_KEY, or say --no-auth",
                       c->host);
    return check_origins(c, e) < 0 ? -1 : check_models(c, e);
}

void config_fini(struct config *c)
{
    options_fini(&config_table, c);
    string_list_fini(&c->keys);
}
