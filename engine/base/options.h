/* options: one table for everything that can be set. A row says flag, kind,
 * range, default and help; arguments, environment and a JSON file are read by
 * it, --help and JSON are written from it. A table is a list of groups of
 * rows, each with the place of its struct among the values: programs share
 * rows, and a value is written where it is used.
 *
 * Sources, the strongest last: defaults, the file, the environment, arguments.
 * Each value goes through one parser, so that ranges and messages are the
 * same. A list that a stronger source names replaces that of a weaker one.
 *
 * Names are made from the flag: --max-body is the variable SEQD_MAX_BODY (with
 * the table's prefix) and the key "max_body" of the file. A row whose flag has
 * no dash is a positional argument.
 *
 * Texts are borrowed: from argv, the environment, the table, or the file, which
 * is kept until options_fini. What was parsed is read-only: any thread.
 *
 * SPDX-License-Identifier: MIT */
#ifndef SEQD_OPTIONS_H
#define SEQD_OPTIONS_H

#include <stddef.h>
#include <stdio.h>

#include "engine/base/buf.h"
#include "engine/base/err.h"

#define OPTION_NAME 64 /* bytes of a name, in any source */

enum option_source { FROM_TABLE, FROM_FILE, FROM_ENV, FROM_ARGS };

enum option_kind {
    OPTION_END,         /* after the last row */
    OPTION_SECTION,     /* of the help, titled `help` */
    OPTION_TEXT,        /* const char * */
    OPTION_WORD,        /* const char *: one of the words of `form` */
    OPTION_CHOICE,      /* int: the place among the words of `form` */
    OPTION_BOOL,        /* int: --flag, --flag=false, --flag 0 */
    OPTION_INT,         /* int or int64_t below 2^53; 1e3 is whole, too */
    OPTION_MIB,         /* size_t: read in MiB, kept in bytes */
    OPTION_REAL,        /* double */
    OPTION_LIST,        /* struct string_list: repeatable; in a variable
                             commas stand between */
    OPTION_FILE,        /* struct option_file: a JSON object of options */
    OPTION_KIND = 15,   /* the bits of the kind, to which may be added: */
    OPTION_HIDDEN = 16, /* not for options_write */
    OPTION_NEEDED = 32, /* a text without which there is nothing to do */
    OPTION_NOT = 64,    /* << the source that may not set it */
    OPTION_ARG_ONLY = OPTION_NOT << FROM_ENV | OPTION_NOT << FROM_FILE,
    OPTION_ENV_ONLY = OPTION_NOT << FROM_ARGS | OPTION_NOT << FROM_FILE
};

struct option {
    const char *flag; /* "--port"; "COMMAND": positional */
    unsigned kind;
    size_t at, size;  /* OPTION_AT(struct of the group, field) */
    const char *def;  /* NULL: what the caller left there */
    double min, max;  /* of numbers */
    const char *form; /* "a|b|c": the words allowed; else a name for the help,
                         NULL for one by kind */
    const char *help;
};

#define OPTION_AT(type, field)                                                 \
    offsetof(type, field), sizeof(((type *)NULL)->field)

/* The middle of a row of the commonest kinds; AT is the file's OPTION_AT. More
 * bits go before: OPTION_HIDDEN | OPT_TEXT(...). */
#define OPT_TEXT(field, form) OPTION_TEXT, AT(field), NULL, 0, 0, form
#define OPT_CHOICE(field, def, words) OPTION_CHOICE, AT(field), def, 0, 0, words
#define OPT_BOOL(field) OPTION_BOOL, AT(field), NULL, 0, 0, NULL
#define OPT_INT(field, def, min, max) OPTION_INT, AT(field), def, min, max, NULL
#define OPT_REAL(field, def, min, max)                                         \
    OPTION_REAL, AT(field), def, min, max, NULL

struct option_group {
    const struct option *rows; /* up to OPTION_END; NULL after the last group */
    size_t at;                 /* of the rows' struct among the values */
};

struct option_table {
    const char *name;  /* of the program: "seqd eval" */
    const char *usage; /* what --help says before the rows */
    const struct option_group *groups;
    const char *env; /* prefix of variables; NULL: none is read */
};

struct string_list {
    char **v;
    int n;
    enum option_source from;
};

struct option_file {
    const char *path;
    struct json *json;
};

/* string_list_add: a copy of s [n] at the end. ERR_NOMEM. */
int string_list_add(struct string_list *l, const char *s, size_t n,
                    struct err *e);
void string_list_fini(struct string_list *l);

/* options_parse: argv[0] is skipped; the caller has zeroed `values`. 1 when
 * --help is asked for. ERR_INVALID (the option as the user wrote it, what was
 * found, what is expected), ERR_NOMEM, and json_load's for the file. Lists and
 * the file are the caller's to free in any case. */
int options_parse(const struct option_table *t, void *values, int argc,
                  char *const *argv, struct err *e);
void options_fini(const struct option_table *t, void *values);
/* options_main: the same for a command. -1: go on; else its exit status: 0
 * when the help was printed, 2 when it was said what is wrong. */
int options_main(const struct option_table *t, void *values, int argc,
                 char *const *argv, FILE *out, FILE *errors);

void options_help(const struct option_table *t, FILE *out);
/* options_write: {"port":8080,...}: what the file may hold and is not hidden.
 * -1 when out failed. */
int options_write(const struct option_table *t, const void *values,
                  struct buf *out);

/* options_row: the i-th and its place among the values; NULL past the end. */
const struct option *options_row(const struct option_table *t, int i,
                                 size_t *at);
/* options_name: as a source writes it. 0 and "" when it cannot. */
int options_name(const struct option_table *t, const struct option *o,
                 enum option_source source, char out[OPTION_NAME]);

#endif
