/* pipe_added: the added tokens that are looked for in the normalised text: an
 * index of their contents as the normalizers make them (pipe.h).
 *
 * Source: Hugging Face tokenizers, tokenizer/added_vocabulary.rs.
 *
 * SPDX-License-Identifier: MIT */
#include <string.h>

#include "engine/base/buf.h"
#include "engine/base/mem.h"
#include "engine/text/pipe/pipe.h"

/* Append what the normalizers make of token id. */
static int add_one(struct tokenizer *t, const struct tok_source *s, int id,
                   int64_t *steps, struct buf *out)
{
    struct pipe *p = t->pipe;
    struct pipe_work w = {.pipe = p, .begins = 1, .steps = steps, .e = s->e};
    int rc =
        pipe_begin(&w, t->text[id], t->len[id]) || pipe_steps(&w, 0, p->n_norm);
    if (rc == 0 && w.in.n == 0)
        rc = tok_refuse(s, "normalized added token", t->text[id]);
    if (rc == 0) {
        p->added.v[p->added.n++] =
            (struct tok_entry){NULL, (uint32_t)w.in.n, id};
        buf_add(out, w.in.p, w.in.n);
        buf_add_char(out, 0);
    }
    pipe_work_fini(&w);
    return rc ? -1 : 0;
}

int pipe_added_index(struct tokenizer *t, const struct tok_source *s)
{
    struct pipe *p = t->pipe;
    struct buf b;
    int n = 0, rc = 0;
    size_t at = 0, bytes = 0;
    for (int id = 0; id < t->n; id++) {
        if (!(t->attr[id] & TOK_NORMAL))
            continue;
        n++;
        bytes += t->len[id];
    }
    int64_t steps = regex_steps(bytes); /* of all, as of one text */
    p->by_id = mem_array((size_t)n + 1, sizeof *p->by_id);
    if (!p->by_id)
        return err_nomem(s->e);
    if (tok_index_begin(&p->added, n, s->e))
        return -1;
    buf_init(&b, UINT32_MAX);
    for (int id = 0; id < t->n && rc == 0; id++)
        if (t->attr[id] & TOK_NORMAL)
            rc = add_one(t, s, id, &steps, &b);
    rc = rc == 0 && b.failed ? err_nomem(s->e) : rc;
    p->added_text = buf_take(&b);
    if (rc)
        return -1;
    for (int k = 0; k < n; k++) {
        p->added.v[k].key = p->added_text + at;
        at += p->added.v[k].len + 1;
    }
    memcpy(p->by_id, p->added.v, (size_t)n * sizeof *p->by_id);
    return tok_index_end(&p->added, s);
}

const struct tok_entry *pipe_added_text(const struct pipe *p, int32_t id)
{
    int lo = 0, hi = p->added.n;
    while (lo < hi) {
        int mid = lo + (hi - lo) / 2;
        if (p->by_id[mid].id < id)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo < p->added.n && p->by_id[lo].id == id ? &p->by_id[lo] : NULL;
}
