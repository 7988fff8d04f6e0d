/* init: start from another checkpoint. Tensors are matched by name and shape;
 * rows of the embedding and of a language model's output are matched by the
 * vocabulary entry they stand for; one that the other vocabulary lacks starts
 * as the mean of the pieces into which that cuts its text (Gee et al. 2022,
 * "Fast Vocabulary Transfer"). What has no match keeps its fresh values: a
 * classifier made from a language model gets the embedding and the recurrent
 * layers and a new output. The second direction of a classifier can start from
 * the layers of a language model that read its text backwards. An encoder that
 * was saved without a head has the same names without their first part
 * ("bert."): they match, too.
 *
 * SPDX-License-Identifier: MIT */
#include <stdio.h>
#include <string.h>

#include "engine/base/utf8.h"
#include "engine/checkpoint/checkpoint.h"
#include "models/train/load.h"
#include "models/train/train.h"

struct source {
    const struct weights *w;
    struct tokenizer *tok;
    struct token_list pieces; /* scratch */
    int tensors, rows, means;
    enum { PARTS_ALL, PARTS_VOCABULARY, PARTS_REVERSE } parts;
};

#define SUFFIX "_reverse" /* PyTorch's name of the second direction */

/* By its name, or without the first part of that. */
static const struct tensor *find(const struct source *s, const char *name)
{
    const struct tensor *w = weights_find(s->w, name);
    const char *dot = strchr(name, '.');
    return w != NULL || dot == NULL ? w : weights_find(s->w, dot + 1);
}

/* The tensor of the source that tensor i starts from, or NULL. */
static const struct tensor *partner(const struct source *s, const char *name)
{
    char plain[128];
    size_t n = strlen(name), k = sizeof SUFFIX - 1;
    if (s->parts != PARTS_REVERSE)
        return find(s, name);
    if (n <= k || n - k >= sizeof plain || strcmp(name + n - k, SUFFIX) != 0)
        return NULL;
    snprintf(plain, sizeof plain, "%.*s", (int)(n - k), name);
    return weights_find(s->w, plain);
}

/* The embedding may come from another family. */
static const struct tensor *embedding_of(const struct source *s)
{
    const struct tensor *w = NULL;
    for (int i = 0; trainables[i] != NULL && w == NULL; i++)
        if (trainables[i]->embedding != NULL)
            w = find(s, trainables[i]->embedding);
    return s->parts != PARTS_REVERSE ? w : NULL;
}

/* The other vocabulary's entry for one of this: its own, or the form that
 * WordPiece has for it inside words. -1: none. */
static int32_t match(const struct tokenizer *mine, const struct source *s,
                     int32_t id)
{
    char text[64];
    size_t n = 0;
    int32_t same = tokenizer_id(s->tok, tokenizer_text(mine, id));
    const char *piece = tokenizer_piece(mine, id, &n);
    if (same >= 0 || piece == NULL || n == 0 || n + 3 > sizeof text)
        return same;
    snprintf(text, sizeof text, "##%.*s", (int)n, piece);
    for (char *c = text; *c != '\0'; c++)
        *c = *c >= 'A' && *c <= 'Z' ? (char)(*c - 'A' + 'a') : *c;
    return tokenizer_id(s->tok, text);
}

/* The pieces into which the other tokenizer cuts the text of an entry; none
 * where it has no text or some of it is unknown there. */
static int cut(const struct tokenizer *mine, struct source *s, int32_t id,
               struct err *e)
{
    size_t n = 0;
    const char *piece = tokenizer_piece(mine, id, &n);
    s->pieces.n = s->pieces.n_unknown = 0;
    if (piece == NULL || tokenizer_is_special(mine, id) ||
        !utf8_valid(piece, n))
        return 0;
    if (tokenizer_encode(s->tok, piece, n, 0, INT32_MAX, &s->pieces, e) != 0)
        return -1;
    if (s->pieces.n_unknown > 0)
        s->pieces.n = 0;
    return 0;
}

#define AT_ONCE 256

/* to += row `old` of the other tensor over k. */
static void add_row(const struct tensor *from, size_t c, int32_t old, int k,
                    real *to)
{
    real row[AT_ONCE];
    for (size_t i = 0; i < c; i += AT_ONCE) {
        size_t m = c - i < AT_ONCE ? c - i : AT_ONCE;
        load_reals(from, (size_t)old * c + i, m, row);
        for (size_t j = 0; j < m; j++)
            to[i + j] += row[j] / (real)k;
    }
}

static int copy_rows(struct trainer *t, int i, const struct tensor *from,
                     struct source *s, struct err *e)
{
    const struct net_tensor *x = &t->net.t[i];
    size_t c = x->n_dims == 2 ? (size_t)x->dim[1] : 1;
    int is_row = x->n_dims == 2 && x->dim[0] == 1; /* [1, entries] */
    int n = is_row ? x->dim[1] : x->dim[0];
    int32_t n_from = (int32_t)from->dim[is_row];
    c = is_row ? 1 : c;
    for (int32_t id = 0; id < n; id++) {
        int32_t old = match(t->tokenizer, s, id);
        real *to = t->w + x->at + (size_t)id * c;
        if (old >= 0 && old < n_from) {
            load_reals(from, (size_t)old * c, c, to);
            s->rows += i == t->net.embedding;
            continue;
        }
        if (cut(t->tokenizer, s, id, e) != 0)
            return -1;
        for (int k = 0; k < s->pieces.n; k++)
            if (s->pieces.v[k].id >= n_from)
                s->pieces.n = 0;
        if (s->pieces.n == 0)
            continue;
        memset(to, 0, c * sizeof *to);
        for (int k = 0; k < s->pieces.n; k++)
            add_row(from, c, s->pieces.v[k].id, s->pieces.n, to);
        s->means += i == t->net.embedding;
    }
    return 0;
}

static int fits(const struct source *s, const struct net_tensor *x,
                const struct tensor *from, const struct tensor *out)
{
    if (from == NULL || from->n_dims != x->n_dims ||
        (x->n_dims == 2 && from->dim[1] != x->dim[1]))
        return 0;
    if (x->rows == ROWS_ENTRIES)
        return 1;
    if (s->parts == PARTS_VOCABULARY || from->dim[0] != x->dim[0])
        return 0;
    /* a classifier made from a language model has another output */
    return x->rows != ROWS_LABELS || (out != NULL && out->dim[0] == x->dim[0]);
}

static int copy_tensors(struct trainer *t, struct source *s, struct err *e)
{
    const struct tensor *out = weights_find(s->w, t->net.t[t->net.out_w].name);
    for (int i = 0; i < t->net.n_tensors; i++) {
        struct net_tensor *x = &t->net.t[i];
        const struct tensor *from =
            i == t->net.embedding ? embedding_of(s) : partner(s, x->name);
        if (!fits(s, x, from, out))
            continue;
        if (x->rows == ROWS_ENTRIES) {
            if (copy_rows(t, i, from, s, e) != 0)
                return -1;
        } else
            load_reals(from, 0, x->n, t->w + x->at);
        x->from_start = 1;
        s->tensors++;
    }
    return 0;
}

static int start_from(struct trainer *t, const char *dir, int parts,
                      struct err *e)
{
    struct source s = {.parts = parts};
    struct checkpoint *from;
    if (checkpoint_open(dir, dir, &from, e) != 0)
        return -1;
    s.w = checkpoint_weights(from, e);
    int rc = s.w != NULL ? 0 : -1;
    if (rc == 0 && t->tokenizer != NULL) /* else there are no entries */
        rc = tokenizer_open(from, &s.tok, e);
    if (rc == 0)
        rc = copy_tensors(t, &s, e);
    if (rc == 0 && s.tensors == 0)
        rc = err_set(e, ERR_INVALID, "%s: no tensor fits this net", dir);
    if (rc == 0)
        trainer_say(t,
                    "init from %s: %d of %d tensors, %d of %d entries, %d "
                    "more from their pieces\n",
                    dir, s.tensors, t->net.n_tensors, s.rows, t->net.V,
                    s.means);
    token_list_fini(&s.pieces);
    if (s.tok != NULL)
        tokenizer_close(s.tok);
    checkpoint_close(from);
    return rc;
}

int init_from(struct trainer *t, struct err *e)
{
    int parts = t->o.init_parts ? PARTS_VOCABULARY : PARTS_ALL;
    if (t->o.init != NULL && start_from(t, t->o.init, parts, e) != 0)
        return -1;
    if (t->o.init_reverse != NULL)
        return start_from(t, t->o.init_reverse, PARTS_REVERSE, e);
    return 0;
}
