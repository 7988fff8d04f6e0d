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

#define MAX_BYTES ((size_t)1 << 30)

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

static int score(struct lines *l, int n, struct mt_report *r, struct err *e)
{
    struct mt_text t[3] = {{NULL, 0}, {NULL, 0}, {NULL, 0}};
    for (;;) {
        for (int i = 0; i < n; i++) {
            int rc = take_line(&l[i], &t[i], e);
            if (rc <= 0)
                return rc;
        }
        if (mt_report_add(r, t[0], t[1], t[2], e) != 0)
            return -1;
    }
}

int bleu_run(const struct options *o, struct buf *out, struct err *e)
{
    struct lines l[3] = {
        {.path = o->hypotheses}, {.path = o->references}, {.path = o->sources}};
    struct mt_report *r = mem_zalloc(sizeof *r);
    int n = o->sources != NULL ? 3 : 2, rc = r == NULL ? err_nomem(e) : 0;
    if (rc == 0 && (o->hypotheses == NULL || o->references == NULL))
        rc = err_set(e, ERR_INVALID,
                     "bleu needs two files: translations and references");
    for (int i = 0; i < n && rc == 0; i++)
        rc = file_read_piped(l[i].path, l[i].path, MAX_BYTES, FILE_WAIT_FOREVER,
                             &l[i].text, &l[i].n, e);
    if (rc == 0)
        rc = check_lines(l, n, e);
    if (rc == 0)
        rc = score(l, n, r, e);
    if (rc == 0)
        rc = mt_report_write(r, out, e);
    for (int i = 0; i < 3; i++)
        mem_free(l[i].text);
    mem_free(r);
    return rc;
}
