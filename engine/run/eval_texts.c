/* eval_texts: see eval_texts.h.
 *
 * SPDX-License-Identifier: MIT */
#include "engine/run/eval_texts.h"

#include <string.h>

#include "engine/base/file.h"
#include "engine/base/mem.h"
#include "engine/base/utf8.h"
#include "engine/run/model.h"
#include "engine/run/task/classify.h"

#define MAX_FILE_BYTES ((size_t)4 << 30)

/* --- the labels --- */

static int choose_one(const struct model_info *info, const char *name, size_t n,
                      struct eval_choice *c, struct err *e)
{
    int l = 0, all = info->cols[OUT_CLASS];

    while (l < all && (strlen(info->labels[l]) != n ||
                       memcmp(info->labels[l], name, n) != 0))
        l++;
    if (l == all)
        return err_set(e, ERR_INVALID, "'%.*s' is no label of the model",
                       n < 64 ? (int)n : 64, name);
    for (int i = 0; i < c->n; i++)
        if (c->id[i] == l)
            return err_set(e, ERR_INVALID, "label '%.64s' is there twice",
                           info->labels[l]);
    c->name[c->n] = info->labels[l];
    c->id[c->n++] = l;
    return 0;
}

int eval_choose(const struct model *m, const char *list,
                struct eval_choice *out, struct err *e)
{
    const struct model_info *info = model_get_info(m);

    out->n = 0;
    for (int l = 0; !list && l < info->cols[OUT_CLASS]; l++) {
        out->name[l] = info->labels[l];
        out->id[out->n++] = l;
    }
    for (const char *at = list, *next; at; at = next) {
        size_t n = strcspn(at, ",");
        next = at[n] ? at + n + 1 : NULL;
        if (choose_one(info, at, n, out, e))
            return -1;
    }
    if (list && out->n < 2)
        return err_set(e, ERR_INVALID, "at least two labels to choose from");
    return 0;
}

/* --- texts --- */

static int grow(struct eval_texts *c, int64_t more, struct err *e)
{
    if (c->n + more > c->cap) {
        int64_t cap = (c->n + more) * 2;
        int32_t *ids = mem_grow(c->ids, (size_t)cap, sizeof *ids);
        if (!ids)
            return err_nomem(e);
        c->ids = ids;
        c->cap = cap;
    }
    if (c->n_items + 1 < c->cap_items)
        return 0;
    int cap = c->cap_items * 2 + 1024;
    int64_t *start = mem_grow(c->start, (size_t)cap, sizeof *start);
    c->start = start ? start : c->start;
    int32_t *label = mem_grow(c->label, (size_t)cap, sizeof *label);
    c->label = label ? label : c->label;
    if (!start || !label)
        return err_nomem(e);
    c->cap_items = cap;
    return 0;
}

struct reader {
    struct eval_texts *c;
    struct model *m;
    const struct eval_choice *choice;
    int max_len;
};

/* Keep the first tokens of a long text, and what ends it. */
static void cut_item(const struct reader *r, struct token_list *l)
{
    int max = r->max_len, after = r->c->after;

    if (l->n > max && max > after) {
        for (int i = 0; i < after; i++)
            l->v[max - after + i] = l->v[l->n - after + i];
        l->n = max;
    }
}

static int64_t count_words(const char *s, size_t n)
{
    int64_t words = 0;
    int inside = 0, len;
    for (size_t i = 0; i < n; i += (size_t)(len > 0 ? len : 1)) {
        uint32_t cp = 0;
        len = utf8_next(s + i, n - i, &cp);
        int space = utf8_is_space(cp);
        words += !space && !inside;
        inside = !space;
    }
    return words;
}

/* The model's label of a record. */
static int read_label(const struct reader *r, const struct record *x,
                      int32_t *label, struct err *e)
{
    const struct eval_choice *c = r->choice;
    int i = records_label(c->name, c->n, x->label, x->n_label);

    if (i < 0)
        return records_no_label(c->name, c->n, x, e);
    *label = c->id[i];
    return 0;
}

/* One text: behind the others, with the frame after it. */
static int add_text(void *arg, const struct record *x, struct err *e)
{
    struct reader *r = arg;
    struct eval_texts *c = r->c;
    const struct tokenizer *t = model_tokenizer(r->m);
    struct token_list list = {0};
    int32_t label = -1;

    if (c->labelled && read_label(r, x, &label, e))
        return -1;
    unsigned flags = c->before + c->after > 0 ? TOK_ADD_SPECIAL : 0;
    int rc = tokenizer_encode(t, x->text, x->n, flags, INT32_MAX, &list, e);
    rc = rc ? rc : grow(c, (int64_t)list.n + 1, e);
    if (rc == 0 && c->labelled)
        cut_item(r, &list);
    for (int i = 0; i < list.n && rc == 0; i++)
        c->ids[c->n++] = list.v[i].id;
    if (rc == 0 && list.n > 0) {
        if (c->frame >= 0)
            c->ids[c->n++] = c->frame;
        c->label[c->n_items++] = label;
        c->start[c->n_items] = c->n;
        c->words += count_words(x->text, x->n) + 1;
        c->bytes += (int64_t)x->n + (c->frame >= 0);
    }
    token_list_fini(&list);
    return rc;
}

/* --- files --- */

/* What the checkpoint's trainer says that a text was; RECORD_AUTO: nothing. */
static enum record_kind said_kind(const struct model *m)
{
    const struct hparams *h = checkpoint_hparams(m->checkpoint, NULL);
    const char *name = NULL;
    int said = h && hparams_has(h, "seqd_record") &&
                       hparams_string(h, "seqd_record", &name, NULL) == 0
                   ? records_kind_find(name)
                   : -1;

    return said > RECORD_AUTO ? (enum record_kind)said : RECORD_AUTO;
}

int eval_reads_as_is(const struct model *m)
{
    return tokenizer_level(m->tokenizer) == TOK_LEVEL_SUBWORD &&
           said_kind(m) == RECORD_AUTO;
}

/* How the files are cut: as asked, as the checkpoint was trained, as the first
 * file looks. */
static enum record_kind kind_of(const struct model *m, const char *text,
                                size_t n, enum record_kind kind)
{
    kind = kind == RECORD_AUTO ? said_kind(m) : kind;
    if (kind == RECORD_AUTO && eval_reads_as_is(m))
        return RECORD_WHOLE;
    return records_kind(kind, text, n);
}

static int read_file(struct reader *r, const char *path, enum record_kind *kind,
                     struct err *e)
{
    char *text = NULL;
    size_t n = 0;
    int labelled = r->c->labelled;
    int rc = file_read_piped(path, path, MAX_FILE_BYTES, FILE_WAIT_FOREVER,
                             &text, &n, e);

    if (rc == 0 && n == 0)
        rc = err_set(e, ERR_FORMAT, "%s: the file is empty", path);
    if (rc == 0) {
        *kind = labelled ? RECORD_LINE : kind_of(r->m, text, n, *kind);
        rc = records_each(path, text, n, *kind, labelled, add_text, r, e);
    }
    mem_free(text);
    return rc;
}

int eval_texts_read(struct eval_texts *t, struct model *m,
                    const char *const *paths, int n,
                    const struct eval_choice *c, const struct eval_options *o,
                    struct err *e)
{
    struct reader r = {.c = t, .m = m, .choice = c};
    enum record_kind kind = o->record;

    *t = (struct eval_texts){.labelled = c != NULL, .frame = -1};
    if (t->labelled) {
        int most = classify_most_tokens(m);
        r.max_len = o->max_len > 0 && o->max_len < most ? o->max_len : most;
        tokenizer_frame(m->tokenizer, &t->before, &t->after);
    } else if (!eval_reads_as_is(m)) {
        t->frame = tokenizer_eos(m->tokenizer);
    }
    int rc = grow(t, 1, e);
    if (rc == 0) {
        t->start[0] = 0;
        if (t->frame >= 0)
            t->ids[t->n++] = t->frame;
    }
    for (int i = 0; i < n && rc == 0; i++)
        rc = read_file(&r, paths[i], &kind, e);
    if (rc == 0 && t->n_items == 0)
        rc = err_set(e, ERR_FORMAT, "%s: no texts", paths[0]);
    if (o->used)
        *o->used = kind;
    return rc;
}

void eval_texts_fini(struct eval_texts *t)
{
    mem_free(t->ids);
    mem_free(t->start);
    mem_free(t->label);
    *t = (struct eval_texts){0};
}
