/* bleu_command: see bleu_command.h. Lines end in a line feed alone, as
 * sacreBLEU reads them: what else ends a line for others is white space.
 *
 * SPDX-License-Identifier: MIT */
#include "models/train/bleu_command.h"

#include <string.h>

#include "engine/base/file.h"
#include "engine/base/mem.h"
#include "engine/base/utf8.h"
#include "engine/text/mt_score.h"
#include "models/train/data.h"

#define MAX_BYTES ((size_t)1 << 30)
#define MAX_FILES (DATA_MAX_FILES + 2)

struct lines {
    const char *path;
    char *text;
    size_t n, at;
    long long line; /* how many were taken */
};

/* The next line; 0 when there is none, -1 when it is not UTF-8. */
static int take_line(struct lines *l, struct mt_text *out, struct err *e)
{
    if (l->at == l->n)
        return 0;
    const char *p = l->text + l->at;
    const char *end = memchr(p, '\n', l->n - l->at);
    size_t n = end != NULL ? (size_t)(end - p) : l->n - l->at;
    l->at += n + (end != NULL);
    l->line++;
    *out = (struct mt_text){p, n};
    if (!utf8_valid(p, n))
        return err_set(e, ERR_FORMAT, "%s: line %lld: not UTF-8", l->path,
                       l->line);
    return 1;
}

static long long count_lines(const struct lines *l)
{
    long long n = l->n > 0 && l->text[l->n - 1] != '\n';
    for (size_t i = 0; i < l->n; i++)
        n += l->text[i] == '\n';
    return n;
}

/* The files have as many lines as the first, and at least one. */
static int check_lines(const struct lines *l, int n, struct err *e)
{
    long long first = count_lines(&l[0]);
    for (int i = 1; i < n; i++)
        if (count_lines(&l[i]) != first)
            return err_set(e, ERR_INVALID, "%s has %lld lines, %s has %lld",
                           l[0].path, first, l[i].path, count_lines(&l[i]));
    return first > 0
               ? 0
               : err_set(e, ERR_FORMAT, "%s: the file is empty", l[0].path);
}

static int score(struct lines *l, int n_ref, int has_source,
                 struct mt_report *r, struct err *e)
{
    struct mt_text t[MAX_FILES] = {{NULL, 0}};
    int n = 1 + n_ref + has_source;
    for (;;) {
        for (int i = 0; i < n; i++) {
            int rc = take_line(&l[i], &t[i], e);
            if (rc <= 0)
                return rc;
        }
        if (mt_report_add(r, t[0], t + 1, n_ref,
                          has_source ? t[n - 1] : (struct mt_text){NULL, 0},
                          e) != 0)
            return -1;
    }
}

/* The names of several files, commas between, which become their ends. */
static int split_names(char *names, struct lines *l, int *n, struct err *e)
{
    for (char *next = names; next != NULL; names = next) {
        next = strchr(names, ',');
        if (next != NULL)
            *next++ = '\0';
        if (*names == '\0')
            return err_set(e, ERR_INVALID, "REFERENCES has an empty name");
        if (*n == DATA_MAX_FILES)
            return err_set(e, ERR_TOO_LARGE, "more than %d references",
                           DATA_MAX_FILES);
        l[(*n)++].path = names;
    }
    return 0;
}

static int score_files(const struct options *o, char *references,
                       struct lines *l, struct mt_report *r, struct err *e)
{
    int n_ref = 0, has_source = o->sources != NULL;
    l[0].path = o->hypotheses;
    if (split_names(references, l + 1, &n_ref, e) != 0)
        return -1;
    int n = 1 + n_ref + has_source, rc = 0;
    if (has_source)
        l[n - 1].path = o->sources;
    for (int i = 0; i < n && rc == 0; i++)
        rc = file_read_piped(l[i].path, l[i].path, MAX_BYTES, FILE_WAIT_FOREVER,
                             &l[i].text, &l[i].n, e);
    if (rc == 0)
        rc = check_lines(l, n, e);
    return rc == 0 ? score(l, n_ref, has_source, r, e) : rc;
}

int bleu_run(const struct options *o, struct buf *out, struct err *e)
{
    struct lines l[MAX_FILES] = {{.path = NULL}};
    if (o->hypotheses == NULL || o->references == NULL)
        return err_set(e, ERR_INVALID,
                       "bleu needs two files: translations and references");
    struct mt_report *r = mem_zalloc(sizeof *r);
    char *references = mem_strdup(o->references);
    int rc = r == NULL || references == NULL
                 ? err_nomem(e)
                 : score_files(o, references, l, r, e);
    if (rc == 0)
        rc = mt_report_write(r, out, e);
    for (int i = 0; i < MAX_FILES; i++)
        mem_free(l[i].text);
    mem_free(references);
    mem_free(r);
    return rc;
}
