/* tokenize_command: see tokenize_command.h.
 *
 * SPDX-License-Identifier: MIT */
#include "server/command/tokenize_command.h"

#include <limits.h>
#include <string.h>

#include "engine/base/buf.h"
#include "engine/base/json.h"
#include "engine/base/options.h"
#include "engine/base/utf8.h"
#include "engine/checkpoint/checkpoint.h"
#include "engine/text/tokenizer.h"

#define MAX_LINE ((size_t)256 << 20)

struct tokenize {
    const char *model;
    int json, add_special, parse_special;
    struct tokenizer *t;
    struct token_list tokens;
    struct buf line, text, reply;
    long number; /* of the line, from 1 */
    FILE *out, *errors;
    int refused;
};

#define AT(field) OPTION_AT(struct tokenize, field)

static const struct option rows[] = {
    {"--model", OPTION_NEEDED | OPT_TEXT(model, "PATH"),
     "directory of a checkpoint, or a .gguf file"},
    {"--json", OPT_BOOL(json), "each line is a JSON string"},
    {"--add-special", OPT_BOOL(add_special),
     "with the tokens that the model wants around a text"},
    {"--parse-special", OPT_BOOL(parse_special),
     "the names of special tokens stand for them"},
    {.kind = OPTION_END},
};

static const struct option_table table = {
    .name = "seqd tokenize",
    .usage = "usage: seqd tokenize --model PATH [options] <TEXT\n\n"
             "For each line of standard input, a line of token ids.\n\n",
    .groups = (const struct option_group[]){{rows, 0}, {NULL, 0}}};

static int encode_text(struct tokenize *k, const char *text, size_t n,
                       struct err *e)
{
    k->tokens.n = 0;
    if (!utf8_valid(text, n))
        return err_set(e, ERR_INVALID, "not valid UTF-8");
    unsigned flags = (k->add_special ? TOK_ADD_SPECIAL : 0) |
                     (k->parse_special ? TOK_PARSE_SPECIAL : 0);
    return tokenizer_encode(k->t, text, n, flags, INT_MAX, &k->tokens, e);
}

static int encode_line(struct tokenize *k, struct err *e)
{
    const char *text = k->line.p ? k->line.p : "";
    const struct json_limits limits = {.max_bytes = MAX_LINE};
    struct json *j = NULL;
    if (!k->json)
        return encode_text(k, text, k->line.len, e);
    if (json_parse_nul(text, k->line.len, &limits, &j, e) < 0)
        return -1;
    int is_string = json_type(j) == JSON_STRING;
    buf_clear(&k->text);
    buf_add_str(&k->text, "");
    int rc = json_text(j, &k->text);
    json_free(j);
    if (!is_string)
        return err_set(e, ERR_INVALID, "not a JSON string");
    return rc < 0 ? err_nomem(e) : encode_text(k, k->text.p, k->text.len, e);
}

static int do_line(struct tokenize *k)
{
    struct err e = ERR_INIT;
    buf_clear(&k->reply);
    k->number++;
    if (encode_line(k, &e) < 0) {
        fprintf(k->errors, "seqd: line %ld: %s\n", k->number, e.msg);
        k->refused = 1;
        k->tokens.n = 0;
    }
    for (int i = 0; i < k->tokens.n; i++) {
        if (i)
            buf_add_char(&k->reply, ' ');
        buf_add_int(&k->reply, k->tokens.v[i].id);
    }
    buf_add_char(&k->reply, '\n');
    buf_clear(&k->line);
    if (k->reply.failed)
        return -1;
    return fwrite(k->reply.p, 1, k->reply.len, k->out) == k->reply.len ? 0 : -1;
}

/* All lines of `in`; the last may lack its LF. */
static int do_lines(struct tokenize *k, FILE *in)
{
    char part[65536];
    size_t n;
    while ((n = fread(part, 1, sizeof part, in)) > 0) {
        const char *p = part, *end = part + n;
        while (p < end) {
            const char *lf = memchr(p, '\n', (size_t)(end - p));
            size_t len = (size_t)((lf ? lf : end) - p);
            if (buf_add(&k->line, p, len) < 0 || (lf && do_line(k) < 0))
                return -1;
            p += len + (lf != NULL);
        }
    }
    return k->line.len > 0 ? do_line(k) : 0;
}

int tokenize_command(int argc, char *const *argv, FILE *in, FILE *out,
                     FILE *errors)
{
    struct tokenize k = {.out = out, .errors = errors};
    struct checkpoint *c = NULL;
    struct err e = ERR_INIT;
    int rc = options_main(&table, &k, argc, argv, out, errors);
    if (rc >= 0)
        return rc;
    const char *slash = strrchr(k.model, '/');
    const char *label = slash && slash[1] ? slash + 1 : k.model;
    if (checkpoint_open(k.model, label, &c, &e) == 0)
        tokenizer_open(c, &k.t, &e);
    checkpoint_close(c);
    if (!k.t) {
        fprintf(errors, "seqd tokenize: %s\n", e.msg);
        return 1;
    }
    buf_init(&k.line, MAX_LINE);
    buf_init(&k.text, MAX_LINE);
    buf_init(&k.reply, (size_t)4 << 30);
    if (do_lines(&k, in) < 0 || fflush(out) != 0 || ferror(in)) {
        fprintf(errors, "seqd tokenize: line %ld cannot be read or written\n",
                k.number + 1);
        k.refused = 1;
    }
    buf_fini(&k.line);
    buf_fini(&k.text);
    buf_fini(&k.reply);
    token_list_fini(&k.tokens);
    tokenizer_close(k.t);
    return k.refused;
}
