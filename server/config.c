/* config: the option table and its three sources. Every value goes through
 * one parser (option_set), whether it comes from a flag, a variable or the
 * file, so that ranges and messages are the same. A list that a stronger
 * source names replaces the whole list of a weaker one.
 *
 * SPDX-License-Identifier: MIT */
#include "server/config.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/json.h"
#include "engine/base/mem.h"
#include "server/http/keys.h"

enum option_kind { OPT_TEXT, OPT_INT, OPT_BOOL, OPT_LIST };

/* Who may see a value in /info. */
enum option_show { SHOWN, HIDDEN };

struct option {
    const char *flag; /* NULL: environment only */
    const char *env;
    enum option_kind kind;
    enum option_show show;
    int64_t min, max;  /* OPT_INT */
    const char *def;   /* NULL: unset */
    const char *words; /* OPT_TEXT: "a|b|c" allowed, NULL: any text */
    const char *meta;
    const char *help;
    size_t offset;
};

#define AT(field) offsetof(struct config, field)

static const struct option options[] = {
    {"--host", "SEQD_HOST", OPT_TEXT, SHOWN, 0, 0, "127.0.0.1", NULL, "ADDR",
     "address to listen on; others than loopback need a key or --no-auth",
     AT(host)},
    {"--port", "SEQD_PORT", OPT_INT, SHOWN, 0, 65535, "8080", NULL, "N",
     "port; 0 takes a free one (see --port-file)", AT(port)},
    {"--port-file", "SEQD_PORT_FILE", OPT_TEXT, HIDDEN, 0, 0, NULL, NULL,
     "FILE", "write the port here once the server listens", AT(port_file)},
    {"--model", "SEQD_MODEL", OPT_LIST, HIDDEN, 0, 0, NULL, NULL, "NAME=DIR",
     "serve this checkpoint; the order is the order of defaults; without it "
     "the bundled checkpoints",
     AT(models)},
    {"--data-dir", "SEQD_DATA_DIR", OPT_TEXT, HIDDEN, 0, 0, NULL, NULL, "DIR",
     "folder of the bundled checkpoints (the one with seqd.json)",
     AT(data_dir)},
    {"--threads", "SEQD_THREADS", OPT_INT, SHOWN, 0, 64, "0", NULL, "N",
     "compute threads; 0: the smallest of cgroup quota, affinity, cores",
     AT(threads)},
    {"--kernels", "SEQD_KERNELS", OPT_TEXT, SHOWN, 0, 0, "auto",
     "auto|generic|avx2|avx512", "NAME", "instruction set of the kernels",
     AT(kernels)},
    {"--path", "SEQD_PATH", OPT_TEXT, SHOWN, 0, 0, "fast", "fast|exact", "NAME",
     "products with quantised weights: activations in 8 bits, or in fp32",
     AT(path)},
    {"--bf16", "SEQD_BF16", OPT_BOOL, SHOWN, 0, 0, "0", NULL, NULL,
     "bf16 products with BF16 weights, where the CPU has them", AT(bf16)},
    {"--spin-us", "SEQD_SPIN_US", OPT_INT, SHOWN, -1, 100000, "-1", NULL, "N",
     "time that idle compute threads spin before they sleep; -1: built-in",
     AT(spin_us)},
    {"--max-body", "SEQD_MAX_BODY", OPT_INT, SHOWN, 64, 1 << 30, "2097152",
     NULL, "BYTES", "largest request body", AT(max_body)},
    {"--max-batch", "SEQD_MAX_BATCH", OPT_INT, SHOWN, 1, 65536, "256", NULL,
     "N", "most items in one request", AT(max_batch)},
    {"--max-queue", "SEQD_MAX_QUEUE", OPT_INT, SHOWN, 1, 1 << 20, "4096", NULL,
     "N", "most items that wait for a model", AT(max_queue)},
    {"--max-item-tokens", "SEQD_MAX_ITEM_TOKENS", OPT_INT, SHOWN, 1, 1 << 24,
     "8192", NULL, "N",
     "longest item, for models without a context length of their own",
     AT(max_item_tokens)},
    {"--max-output-tokens", "SEQD_MAX_OUTPUT_TOKENS", OPT_INT, SHOWN, 1,
     1 << 20, "8192", NULL, "N", "largest max_tokens of /generate",
     AT(max_output_tokens)},
    {"--max-rows", "SEQD_MAX_ROWS", OPT_INT, SHOWN, 1, 1024, "64", NULL, "N",
     "most sequences in one step", AT(max_rows)},
    {"--fold-mb", "SEQD_FOLD_MB", OPT_INT, SHOWN, 0, 1 << 16, "64", NULL, "N",
     "most MiB of precomputed tables a model; 0: none", AT(fold_mb)},
    {"--state-mb", "SEQD_STATE_MB", OPT_INT, SHOWN, 1, 1 << 20, "256", NULL,
     "N", "most MiB of sequence states", AT(state_mb)},
    {"--http-threads", "SEQD_HTTP_THREADS", OPT_INT, SHOWN, 1, 16, "1", NULL,
     "N", "event loops; more than one helps on machines with many cores",
     AT(http_threads)},
    {"--max-connections", "SEQD_MAX_CONNECTIONS", OPT_INT, SHOWN, 1, 1 << 16,
     "1000", NULL, "N", "connections open at a time", AT(max_connections)},
    {"--api-key-file", "SEQD_API_KEY_FILE", OPT_TEXT, HIDDEN, 0, 0, NULL, NULL,
     "FILE", "accepted keys, one a line (Authorization: Bearer KEY)",
     AT(api_key_file)},
    {NULL, "SEQD_API_KEY", OPT_TEXT, HIDDEN, 0, 0, NULL, NULL, "KEY",
     "one accepted key (a flag would show it to other users)", AT(api_key)},
    {"--no-auth", "SEQD_NO_AUTH", OPT_BOOL, SHOWN, 0, 0, "0", NULL, NULL,
     "allow an address other than loopback without a key", AT(no_auth)},
    {"--cors-origin", "SEQD_CORS_ORIGIN", OPT_LIST, SHOWN, 0, 0, NULL, NULL,
     "ORIGIN", "web origin that may read answers (https://host[:port] or *)",
     AT(cors_origins)},
    {"--timeout-ms", "SEQD_TIMEOUT_MS", OPT_INT, SHOWN, 0, 86400000, "60000",
     NULL, "N", "deadline of a request that names none; 0: none",
     AT(timeout_ms)},
    {"--body-timeout-ms", "SEQD_BODY_TIMEOUT_MS", OPT_INT, SHOWN, 1, 86400000,
     "30000", NULL, "N", "a body must have arrived by then",
     AT(body_timeout_ms)},
    {"--idle-timeout-s", "SEQD_IDLE_TIMEOUT_S", OPT_INT, SHOWN, 1, 86400, "75",
     NULL, "N", "close connections that are silent this long",
     AT(idle_timeout_s)},
    {"--ping-ms", "SEQD_PING_MS", OPT_INT, SHOWN, 1, 86400000, "15000", NULL,
     "N", "a stream that is silent this long sends a comment", AT(ping_ms)},
    {"--drain-ms", "SEQD_DRAIN_MS", OPT_INT, SHOWN, 0, 86400000, "30000", NULL,
     "N", "time for running work after SIGTERM or SIGINT", AT(drain_ms)},
    {"--janitor-ms", "SEQD_JANITOR_MS", OPT_INT, SHOWN, 1, 10000, "250", NULL,
     "N", "how often deadlines and clients that left are looked for",
     AT(janitor_ms)},
    {"--log-level", "SEQD_LOG_LEVEL", OPT_TEXT, SHOWN, 0, 0, "info",
     "error|warn|info|debug", "NAME", "how much to log", AT(log_level)},
    {"--log-format", "SEQD_LOG_FORMAT", OPT_TEXT, SHOWN, 0, 0, "text",
     "text|json", "NAME", "one line an event, as text or JSON", AT(log_format)},
    {"--config", "SEQD_CONFIG", OPT_TEXT, HIDDEN, 0, 0, NULL, NULL, "FILE",
     "JSON object with these options ({\"max_body\": 65536, \"model\": "
     "[\"a=dir\"]})",
     AT(file)},
};

#define N_OPTIONS ((int)(sizeof options / sizeof options[0]))

int config_option(int i, const char **flag, const char **env)
{
    if (i < 0 || i >= N_OPTIONS)
        return 0;
    *flag = options[i].flag;
    *env = options[i].env;
    return 1;
}

static void *slot(struct config *c, const struct option *o)
{
    return (char *)c + o->offset;
}

static void list_clear(struct string_list *l)
{
    for (int i = 0; i < l->n; i++)
        mem_free(l->v[i]);
    mem_free(l->v);
    l->v = NULL;
    l->n = 0;
}

int string_list_add(struct string_list *l, const char *s, struct err *e)
{
    char **v = mem_grow(l->v, (size_t)l->n + 1, sizeof *v);
    if (!v)
        return err_nomem(e);
    l->v = v;
    v[l->n] = mem_strdup(s);
    if (!v[l->n])
        return err_nomem(e);
    l->n++;
    return 0;
}

static int is_word_of(const char *words, const char *s)
{
    size_t n = strlen(s);
    if (strchr(s, '|'))
        return 0;
    for (const char *p = words; p; p = strchr(p, '|')) {
        if (*p == '|')
            p++;
        if (n && strncmp(p, s, n) == 0 && (p[n] == '|' || p[n] == '\0'))
            return 1;
    }
    return 0;
}

static int set_int(struct config *c, const struct option *o, const char *from,
                   const char *text, struct err *e)
{
    char *end = NULL;
    errno = 0;
    long long v = strtoll(text, &end, 10);
    if (errno || end == text || *end || v < o->min || v > o->max)
        return err_set(e, ERR_INVALID,
                       "%s is \"%.40s\", expected a whole number from %lld to "
                       "%lld",
                       from, text, (long long)o->min, (long long)o->max);
    *(int64_t *)slot(c, o) = v;
    return 0;
}

static int set_bool(struct config *c, const struct option *o, const char *from,
                    const char *text, struct err *e)
{
    int yes = !strcmp(text, "1") || !strcmp(text, "true");
    if (!yes && strcmp(text, "0") && strcmp(text, "false"))
        return err_set(e, ERR_INVALID,
                       "%s is \"%.40s\", expected true or false", from, text);
    *(int64_t *)slot(c, o) = yes;
    return 0;
}

/* option_set: the one parser; `from` is the flag, variable or key as the user
 * wrote it. A list grows: the caller has cleared what a weaker source left. */
static int option_set(struct config *c, const struct option *o,
                      const char *from, const char *text, struct err *e)
{
    switch (o->kind) {
    case OPT_INT:
        return set_int(c, o, from, text, e);
    case OPT_BOOL:
        return set_bool(c, o, from, text, e);
    case OPT_LIST:
        return string_list_add(slot(c, o), text, e);
    case OPT_TEXT:
        break;
    }
    if (o->words && !is_word_of(o->words, text))
        return err_set(e, ERR_INVALID, "%s is \"%.40s\", expected %s", from,
                       text, o->words);
    char *copy = mem_strdup(text);
    if (!copy)
        return err_nomem(e);
    char **p = slot(c, o);
    mem_free(*p);
    *p = copy;
    return 0;
}

static void option_clear_list(struct config *c, const struct option *o)
{
    if (o->kind == OPT_LIST)
        list_clear(slot(c, o));
}

static int set_defaults(struct config *c, struct err *e)
{
    for (int i = 0; i < N_OPTIONS; i++)
        if (options[i].def &&
            option_set(c, &options[i], options[i].env, options[i].def, e) < 0)
            return -1;
    return 0;
}

/* The key of an option in the file: the flag without dashes, '_' for '-'. */
static void file_key(const struct option *o, char out[64])
{
    size_t n = 0;
    for (const char *p = o->flag + 2; *p && n < 63; p++)
        out[n++] = (char)(*p == '-' ? '_' : *p);
    out[n] = '\0';
}

static const struct option *find_key(const char *key)
{
    char name[64];
    for (int i = 0; i < N_OPTIONS; i++) {
        if (!options[i].flag || options[i].offset == AT(file))
            continue;
        file_key(&options[i], name);
        if (!strcmp(name, key))
            return &options[i];
    }
    return NULL;
}

/* One value of the file as the text that a flag would carry. */
static int value_text(const struct json *v, char *tmp, size_t size,
                      const char **text, const char *key, struct err *e)
{
    int64_t n;
    *text = tmp;
    if (json_type(v) == JSON_STRING)
        *text = json_string(v);
    else if (json_type(v) == JSON_BOOL)
        *text = json_bool(v) ? "true" : "false";
    else if (json_int(v, &n) == 0)
        snprintf(tmp, size, "%lld", (long long)n);
    else
        return err_set(e, ERR_INVALID,
                       "configuration key \"%.40s\": %s does "
                       "not fit",
                       key, json_type_name(json_type(v)));
    return 0;
}

static int file_member(struct config *c, const struct json *v, struct err *e)
{
    char tmp[32];
    const char *text, *key = json_key(v);
    const struct option *o = find_key(key);
    if (!o)
        return err_set(e, ERR_INVALID, "unknown configuration key \"%.40s\"",
                       key);
    option_clear_list(c, o);
    if (json_type(v) != JSON_ARRAY) {
        if (value_text(v, tmp, sizeof tmp, &text, key, e) < 0)
            return -1;
        return option_set(c, o, key, text, e);
    }
    if (o->kind != OPT_LIST)
        return err_set(e, ERR_INVALID,
                       "configuration key \"%.40s\" takes one "
                       "value",
                       key);
    for (const struct json *i = json_child(v); i; i = json_next(i))
        if (value_text(i, tmp, sizeof tmp, &text, key, e) < 0 ||
            option_set(c, o, key, text, e) < 0)
            return -1;
    return 0;
}

static int apply_file(struct config *c, const char *path, struct err *e)
{
    struct json *j = NULL;
    int rc = 0;
    if (json_load(path, "the configuration file", NULL, &j, e) < 0)
        return -1;
    if (json_type(j) != JSON_OBJECT)
        rc = err_set(e, ERR_INVALID, "the configuration file is not an object");
    for (const struct json *v = json_child(j); v && rc == 0; v = json_next(v))
        rc = file_member(c, v, e);
    json_free(j);
    return rc;
}

/* A list in a variable is separated by commas. */
static int apply_env_list(struct config *c, const struct option *o,
                          const char *text, struct err *e)
{
    option_clear_list(c, o);
    while (*text) {
        size_t n = strcspn(text, ",");
        char *one = mem_strndup(text, n);
        if (!one)
            return err_nomem(e);
        int rc = n ? option_set(c, o, o->env, one, e) : 0;
        mem_free(one);
        if (rc < 0)
            return -1;
        text += n + (text[n] == ',');
    }
    return 0;
}

static int apply_env(struct config *c, struct err *e)
{
    for (int i = 0; i < N_OPTIONS; i++) {
        const char *text = getenv(options[i].env);
        if (!text || !*text)
            continue;
        int rc = options[i].kind == OPT_LIST
                     ? apply_env_list(c, &options[i], text, e)
                     : option_set(c, &options[i], options[i].env, text, e);
        if (rc < 0)
            return -1;
    }
    return 0;
}

/* An argument cut into option and value: `--port 80`, `--port=80`. */
struct arg {
    const struct option *o;
    const char *value;
    int used; /* words of argv */
};

static int parse_arg(int argc, char *const *argv, int i, struct arg *out,
                     struct err *e)
{
    const char *word = argv[i], *eq = strchr(word, '=');
    size_t n = eq ? (size_t)(eq - word) : strlen(word);
    out->o = NULL;
    for (int k = 0; k < N_OPTIONS && !out->o; k++)
        if (options[k].flag && strlen(options[k].flag) == n &&
            !strncmp(options[k].flag, word, n))
            out->o = &options[k];
    if (!out->o)
        return err_set(e, ERR_INVALID,
                       "unknown argument \"%.60s\" (see --help)", word);
    out->used = 1;
    if (eq)
        out->value = eq + 1;
    else if (out->o->kind == OPT_BOOL)
        out->value = "true";
    else if (i + 1 < argc) {
        out->value = argv[i + 1];
        out->used = 2;
    } else
        return err_set(e, ERR_INVALID, "%s needs a value", out->o->flag);
    return 0;
}

/* Words that are commands, not options. 1 when argv[i] was one. */
static int parse_command(struct config *c, int argc, char *const *argv, int i,
                         int *used)
{
    *used = 1;
    if (!strcmp(argv[i], "--help") || !strcmp(argv[i], "-h"))
        c->command = COMMAND_HELP;
    else if (!strcmp(argv[i], "--version"))
        c->command = COMMAND_VERSION;
    else if (!strcmp(argv[i], "--check-config"))
        c->command = COMMAND_CHECK;
    else if (i == 1 && !strcmp(argv[i], "healthcheck"))
        c->command = COMMAND_HEALTH;
    else if (c->command == COMMAND_HEALTH && !strcmp(argv[i], "--url") &&
             i + 1 < argc) {
        mem_free(c->url);
        c->url = mem_strdup(argv[i + 1]);
        *used = 2;
    } else
        return 0;
    return 1;
}

/* apply_args: pass 0 only finds the commands and --config; pass 1 sets. */
static int apply_args(struct config *c, int argc, char *const *argv, int pass,
                      struct err *e)
{
    int seen[N_OPTIONS] = {0};
    for (int i = 1; i < argc;) {
        struct arg a = {NULL, NULL, 1};
        int used;
        if (parse_command(c, argc, argv, i, &used)) {
            i += used;
            continue;
        }
        if (parse_arg(argc, argv, i, &a, e) < 0)
            return -1;
        i += a.used;
        int k = (int)(a.o - options);
        if ((pass == 0) != (a.o->offset == AT(file)))
            continue;
        if (!seen[k]++)
            option_clear_list(c, a.o);
        if (option_set(c, a.o, a.o->flag, a.value, e) < 0)
            return -1;
    }
    return 0;
}

/* An address in digits, not a name: "127.0.0.1.example" may be anywhere. */
static int is_loopback(const char *host)
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
                           "--cors-origin is \"%.60s\", expected "
                           "scheme://host[:port] without a path, or *",
                           o);
    }
    return 0;
}

static int check_models(const struct config *c, struct err *e)
{
    for (int i = 0; i < c->models.n; i++) {
        const char *m = c->models.v[i], *eq = strchr(m, '=');
        if (!eq || eq == m || !eq[1])
            return err_set(e, ERR_INVALID,
                           "--model is \"%.60s\", expected NAME=DIR", m);
    }
    return 0;
}

static int check_rules(struct config *c, struct err *e)
{
    if (c->api_key_file &&
        keys_read(c->api_key_file, &c->keys.v, &c->keys.n, e) < 0)
        return -1;
    if (c->api_key && string_list_add(&c->keys, c->api_key, e) < 0)
        return -1;
    if (!is_loopback(c->host) && c->keys.n == 0 && !c->no_auth)
        return err_set(e, ERR_INVALID,
                       "--host %.60s is not loopback: give --api-key-file or "
                       "SEQD_API_KEY, or say --no-auth",
                       c->host);
    return check_origins(c, e) < 0 ? -1 : check_models(c, e);
}

int config_load(struct config *c, int argc, char *const *argv, struct err *e)
{
    memset(c, 0, sizeof *c);
    if (set_defaults(c, e) < 0 || apply_args(c, argc, argv, 0, e) < 0)
        return -1;
    const char *path = c->file ? c->file : getenv("SEQD_CONFIG");
    if (path && *path && apply_file(c, path, e) < 0)
        return -1;
    if (apply_env(c, e) < 0 || apply_args(c, argc, argv, 1, e) < 0)
        return -1;
    if (c->command != COMMAND_SERVE && c->command != COMMAND_CHECK)
        return 0;
    return check_rules(c, e);
}

void config_fini(struct config *c)
{
    for (int i = 0; i < N_OPTIONS; i++)
        if (options[i].kind == OPT_LIST)
            list_clear(slot(c, &options[i]));
        else if (options[i].kind == OPT_TEXT)
            mem_free(*(char **)slot(c, &options[i]));
    list_clear(&c->keys);
    mem_free(c->url);
}

/* --------------------------------------------------------------- writing */

static int help_option(const struct option *o, struct buf *out)
{
    char left[64];
    snprintf(left, sizeof left, "%s%s%s", o->flag ? o->flag : o->env,
             o->meta ? (o->flag ? " " : "=") : "", o->meta ? o->meta : "");
    buf_addf(out, "  %-30s %s", left, o->help);
    if (o->kind == OPT_LIST)
        buf_addf(out, " (repeatable)");
    if (o->words)
        buf_addf(out, " (%s)", o->words);
    if (o->kind == OPT_INT)
        buf_addf(out, " (%lld to %lld)", (long long)o->min, (long long)o->max);
    if (o->def && o->kind != OPT_BOOL)
        buf_addf(out, " [%s]", o->def);
    if (o->flag)
        buf_addf(out, " {%s}", o->env);
    return buf_add_char(out, '\n');
}

int config_help(struct buf *out)
{
    buf_add_str(out,
                "usage: seqd [options]\n"
                "       seqd --check-config [options]   read everything, "
                "load the models, then stop\n"
                "       seqd eval --model PATH --data FILE [--window N] "
                "[--max-tokens N]\n"
                "                 [--path exact|fast]   score a checkpoint on "
                "a text: a line of JSON\n"
                "       seqd healthcheck [--url URL]    0 when a server "
                "answers that it is ready\n"
                "       seqd tokenize --model PATH [--json] "
                "[--add-special] [--parse-special]\n"
                "                                       ids of the lines on "
                "standard input\n"
                "       seqd --version | --help\n\n"
                "Serves sequence models over HTTP. A flag wins over its "
                "variable {in braces}, that\nover the same key in the file "
                "of --config; [defaults] are in brackets.\n\n");
    for (int i = 0; i < N_OPTIONS; i++)
        help_option(&options[i], out);
    return out->failed ? -1 : 0;
}

static void write_value(const struct config *c, const struct option *o,
                        struct buf *out)
{
    const void *p = (const char *)c + o->offset;
    const struct string_list *l = p;
    switch (o->kind) {
    case OPT_INT:
        buf_add_int(out, *(const int64_t *)p);
        break;
    case OPT_BOOL:
        buf_add_str(out, *(const int64_t *)p ? "true" : "false");
        break;
    case OPT_TEXT: {
        const char *s = *(char *const *)p;
        buf_add_json_string(out, s ? s : "", s ? strlen(s) : 0);
        break;
    }
    case OPT_LIST:
        buf_add_char(out, '[');
        for (int i = 0; i < l->n; i++) {
            if (i)
                buf_add_char(out, ',');
            buf_add_json_string(out, l->v[i], strlen(l->v[i]));
        }
        buf_add_char(out, ']');
        break;
    }
}

int config_write(const struct config *c, struct buf *out)
{
    char key[64];
    int n = 0;
    buf_add_char(out, '{');
    for (int i = 0; i < N_OPTIONS; i++) {
        if (options[i].show != SHOWN)
            continue;
        if (n++)
            buf_add_char(out, ',');
        file_key(&options[i], key);
        buf_addf(out, "\"%s\":", key);
        write_value(c, &options[i], out);
    }
    buf_add_char(out, '}');
    return out->failed ? -1 : 0;
}
