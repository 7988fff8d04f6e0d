/* model_use: see model_use.h.
 *
 * SPDX-License-Identifier: MIT */
#include "tests/support/model_use.h"

#include <math.h>
#include <string.h>

#include "engine/base/mem.h"
#include "models/registry.h"
#include "tests/support/arch_rig.h"
#include "tests/support/tokenizer_at.h"

#define MAX_TEXT_TOKENS 64
#define MOST_TOKENS 3 /* of a step */

static const struct model_arch *find_arch(const char *name)
{
    for (int i = 0; registry_archs[i]; i++) {
        const struct model_arch *a = registry_archs[i];
        if (strcmp(a->name, name) == 0)
            return a;
        for (int k = 0; a->aliases && a->aliases[k]; k++)
            if (strcmp(a->aliases[k], name) == 0)
                return a;
    }
    return NULL;
}

/* What the checkpoint's config asks for; NULL with a message. */
static const struct model_arch *arch_of(struct checkpoint *c, struct err *e)
{
    const char *type;
    const struct model_arch *a = NULL;
    const struct hparams *h = checkpoint_hparams(c, e);
    if (h && hparams_string(h, "model_type", &type, e) == 0) {
        a = find_arch(type);
        if (!a)
            err_set(e, ERR_UNSUPPORTED, "no architecture");
    }
    return a;
}

static int broken(struct err *e, const char *what)
{
    err_clear(e);
    return err_set(e, ERR_INTERNAL, "%s", what);
}

/* Not strstr, in whose calls a fuzzer finds words: it would put the path into
 * the checkpoint. */
static int holds(const char *s, const char *word)
{
    size_t n = strlen(word), i;
    for (; *s; s++) {
        for (i = 0; i < n && s[i] == word[i];)
            i++;
        if (i == n)
            return 1;
    }
    return 0;
}

/* An error is one that a person can read, without a path. */
static int refused(const char *path, struct err *e)
{
    if (e->code == ERR_NONE || e->code == ERR_INTERNAL || !e->msg[0] ||
        holds(e->msg, path)) {
        struct err was = *e;
        err_clear(e);
        return err_set(e, ERR_INTERNAL, "error %d without a good message: '%s'",
                       (int)was.code, was.msg);
    }
    return 0;
}

/* --- steps --- */

struct row {
    enum out kind;
    int cols, n; /* n: tokens that make it */
    size_t ld;
};

static const int32_t ids[MOST_TOKENS] = {0, 1, 0};

static struct row row_of(const struct rig *g)
{
    const int *c = g->info.cols;
    int64_t context = g->info.state.port[0].context_length;
    struct row r = {.kind = c[OUT_LOGITS]  ? OUT_LOGITS
                            : c[OUT_CLASS] ? OUT_CLASS
                                           : OUT_POOLED,
                    .n = MOST_TOKENS};
    r.cols = c[r.kind];
    r.ld = ((size_t)r.cols + 15) / 16 * 16;
    if (context > 0 && context < r.n)
        r.n = (int)context;
    return r;
}

static struct rig_item item_of(const struct row *r, struct rig_seq *s, int from,
                               int n, float *out)
{
    struct rig_item it = {.seq = s, .ids = ids + from, .n = n};
    if (!out)
        return it;
    it.n_want = 1;
    it.want[0] = (struct want){
        .kind = r->kind, .from = n - 1, .n = 1, .dst = out, .ld = r->ld};
    return it;
}

/* What each sequence looks at, where the model has a source. -1: no memory. */
static int read_sources(struct rig *g, struct rig_seq *s, int n)
{
    const struct port *p = &g->info.state.port[PORT_SOURCE];
    struct err e = ERR_INIT;
    for (int i = 0; i < n && g->info.state.n_ports > PORT_SOURCE; i++) {
        struct rig_item it = {
            .seq = &s[i], .port = PORT_SOURCE, .ids = ids, .n = 2};
        if (p->context_length == 1)
            it.n = 1;
        if (rig_step(g, &it, 1, &e) || it.status)
            return -1;
    }
    return 0;
}

/* The row of the tokens alone, beside another sequence, and in two steps, into
 * out [4][ld], the second of which is the other's. Which of them failed: bits
 * 0 to 2. */
static int step_in_ways(struct rig *g, const struct row *r, float *out)
{
    struct rig_seq s[4];
    struct err e = ERR_INIT;
    int open = 0, fails = 0;
    while (open < 4 && rig_seq_open(g, &s[open]) == 0)
        open++;
    int ready = open == 4 && read_sources(g, s, 4) == 0;
    struct rig_item two[2] = {item_of(r, &s[1], 0, 1, out + r->ld),
                              item_of(r, &s[2], 0, r->n, out + 2 * r->ld)};
    struct rig_item one = item_of(r, &s[0], 0, r->n, out);
    if (ready) {
        fails |= rig_step(g, &one, 1, &e) || one.status ? 1 : 0;
        fails |= rig_step(g, two, 2, &e) || two[1].status ? 2 : 0;
    }
    if (ready && !g->info.state.port[0].whole && r->n > 1) {
        struct rig_item a = item_of(r, &s[3], 0, 1, NULL);
        struct rig_item b = item_of(r, &s[3], 1, r->n - 1, out + 3 * r->ld);
        fails |= rig_step(g, &a, 1, &e) || a.status || rig_step(g, &b, 1, &e) ||
                         b.status
                     ? 4
                     : 0;
    } else if (ready) {
        memcpy(out + 3 * r->ld, out, r->ld * sizeof *out);
        fails |= fails & 1 ? 4 : 0;
    }
    for (int i = 0; i < (open < 4 ? open + 1 : 4); i++)
        rig_seq_close(&s[i]);
    return ready ? fails : 7;
}

static int has_nan(const float *v, int n)
{
    int found = 0;
    for (int i = 0; i < n; i++)
        found |= isnan(v[i]) != 0;
    return found;
}

/* Numbers that are none may differ in their bits; they fail a job anyway. */
static int step(struct rig *g, struct err *e)
{
    struct row r = row_of(g);
    float *out = mem_aligned(4 * r.ld * sizeof(float));
    if (!out)
        return broken(e, "no memory for a row");
    int fails = step_in_ways(g, &r, out), rc = USE_NET;
    size_t bytes = (size_t)r.cols * sizeof *out;
    if (r.cols < 1)
        rc = broken(e, "no columns");
    else if (fails != 0 && fails != 7)
        rc = broken(e, "a row fails with its company");
    else if (fails == 0 && !has_nan(out, r.cols)) {
        if (memcmp(out, out + 2 * r.ld, bytes) != 0)
            rc = broken(e, "a row depends on its company");
        if (memcmp(out, out + 3 * r.ld, bytes) != 0)
            rc = broken(e, "a row depends on its steps");
    }
    mem_aligned_free(out);
    return rc;
}

int model_use_net(const char *path, struct err *e)
{
    struct rig g;
    struct load_opts o = {.options = &(struct engine_options){0}};
    struct checkpoint *c;
    if (checkpoint_open(path, "test", &c, e))
        return refused(path, e);
    const struct model_arch *a = arch_of(c, e);
    if (!a)
        checkpoint_close(c);
    if (!a || rig_take(&g, a, c, "auto", 1, &o, e))
        return refused(path, e);
    int rc = step(&g, e);
    rig_close(&g);
    return rc;
}

/* --- a text --- */

int model_use_tokenizer(const char *path, struct err *e)
{
    static const char text[] = "Hello, w\xc3\xb6rld 12\n  \xf0\x9f\x98\x80";
    struct tokenizer *t;
    struct token_list l = {0};
    int rc = USE_TOKENIZER;
    if (tokenizer_at(path, "test", &t, e))
        return refused(path, e);
    tokenizer_encode(t, text, sizeof(text) - 1, TOK_ADD_SPECIAL,
                     MAX_TEXT_TOKENS, &l, NULL);
    for (int i = 0; i < l.n; i++)
        if (l.v[i].id < 0 || l.v[i].id >= tokenizer_size(t))
            rc = broken(e, "a token is outside of the vocabulary");
    token_list_fini(&l);
    tokenizer_close(t);
    return rc;
}

int model_use(const char *path, struct err *e)
{
    int text = model_use_tokenizer(path, e);
    if (text < 0)
        return -1;
    err_clear(e);
    int net = model_use_net(path, e);
    return net < 0 ? -1 : net | text;
}
