/* arch_rig: see arch_rig.h.
 *
 * SPDX-License-Identifier: MIT */
#include "tests/support/arch_rig.h"

#include <string.h>

#include "engine/base/mem.h"

int rig_open(struct rig *g, const struct model_arch *arch, const char *dir,
             const char *kernels, int n_threads, size_t fold_bytes,
             struct err *e)
{
    struct load_opts o = {.options = &(struct engine_options){0},
                          .tables = mem_budget_new(fold_bytes)};
    if (!o.tables)
        return err_nomem(e);
    int rc = rig_open_with(g, arch, dir, kernels, n_threads, &o, e);
    mem_budget_drop(o.tables);
    return rc;
}

int rig_open_with(struct rig *g, const struct model_arch *arch,
                  const char *path, const char *kernels, int n_threads,
                  const struct load_opts *opts, struct err *e)
{
    struct checkpoint *c;
    memset(g, 0, sizeof *g);
    if (checkpoint_open(path, "test", &c, e))
        return -1;
    return rig_take(g, arch, c, kernels, n_threads, opts, e);
}

int rig_take(struct rig *g, const struct model_arch *arch, struct checkpoint *c,
             const char *kernels, int n_threads, const struct load_opts *opts,
             struct err *e)
{
    struct load_opts o = *opts;
    memset(g, 0, sizeof *g);
    o.label = "test";
    g->arch = arch;
    g->c = c;
    g->n_threads = n_threads;
    g->tables = o.tables;
    if (g->tables)
        mem_budget_keep(g->tables);
    if (kernels_pick(kernels, &g->k, e) ||
        (n_threads > 1 && pool_open(n_threads, 50, &g->pool, e))) {
        rig_close(g);
        return -1;
    }
    o.k = g->k;
    if (arch->load(&o, g->c, &g->info, &g->self, e)) {
        rig_close(g);
        return -1;
    }
    kernels_enter_thread();
    return 0;
}

void rig_close(struct rig *g)
{
    if (g->self)
        g->arch->unload(g->self);
    checkpoint_close(g->c);
    if (g->pool)
        pool_close(g->pool);
    mem_aligned_free(g->scratch);
    mem_budget_drop(g->tables);
    memset(g, 0, sizeof *g);
}

int rig_seq_open(const struct rig *g, struct rig_seq *s)
{
    memset(s, 0, sizeof *s);
    s->fixed[0] = mem_aligned(g->info.state.fixed_bytes);
    s->fixed[1] = mem_aligned(g->info.state.fixed_bytes);
    for (int i = 0; i < MAX_PORTS; i++) {
        s->page[i] = mem_zarray(RIG_MAX_PAGES, sizeof *s->page[i]);
        s->state.pages[i] = s->page[i];
    }
    return s->fixed[0] && s->fixed[1] && s->page[0] && s->page[1] ? 0 : -1;
}

/* Pages for the tokens that a step appends; their bytes are NaN. */
static int need_pages(const struct rig *g, struct rig_seq *s, int port, int n)
{
    const struct port *l = &g->info.state.port[port];
    int64_t want;
    if (!l->page_tokens)
        return 0;
    want = (s->state.len[port] + n + l->page_tokens - 1) / l->page_tokens;
    if (want > RIG_MAX_PAGES)
        return -1;
    while (s->n_pages[port] < want) {
        void *p = mem_aligned(l->page_bytes);
        if (!p)
            return -1;
        memset(p, 0xff, l->page_bytes);
        s->page[port][s->n_pages[port]++] = p;
    }
    return 0;
}

void rig_seq_close(struct rig_seq *s)
{
    mem_aligned_free(s->fixed[0]);
    mem_aligned_free(s->fixed[1]);
    for (int p = 0; p < MAX_PORTS; p++) {
        for (int i = 0; i < s->n_pages[p]; i++)
            mem_aligned_free(s->page[p][i]);
        mem_free(s->page[p]);
    }
    memset(s, 0, sizeof *s);
}

void rig_seq_clear(const struct rig *g, struct rig_seq *s)
{
    memset(&s->state, 0, sizeof s->state);
    for (int p = 0; p < MAX_PORTS; p++) {
        for (int i = 0; i < s->n_pages[p]; i++)
            memset(s->page[p][i], 0xff, g->info.state.port[p].page_bytes);
        s->state.pages[p] = s->page[p];
    }
    memset(s->fixed[0], 0, g->info.state.fixed_bytes);
}

static int need_scratch(struct rig *g, const struct step_size *most)
{
    size_t bytes = g->arch->scratch_bytes(g->self, most);
    if (bytes == g->scratch_bytes)
        return 0;
    mem_aligned_free(g->scratch);
    g->scratch = mem_aligned(bytes);
    g->scratch_bytes = g->scratch ? bytes : 0;
    return g->scratch ? 0 : -1;
}

int rig_step(struct rig *g, struct rig_item *item, int n, struct err *e)
{
    struct batch_item it[RIG_MAX_ITEMS];
    struct batch b = {.item = it, .n_item = n};
    struct exec x = {.k = g->k, .pool = g->pool, .n_threads = g->n_threads};
    struct step_size most = {.items = n, .threads = g->n_threads};
    int rc;
    memset(it, 0, (size_t)n * sizeof *it);
    for (int i = 0; i < n; i++) {
        if (need_pages(g, item[i].seq, item[i].port, item[i].n))
            return err_nomem(e);
        it[i].seq = &item[i].seq->state;
        it[i].fixed_in = item[i].seq->fixed[0];
        it[i].fixed_out = item[i].seq->fixed[1];
        it[i].port = item[i].port;
        it[i].in.unit = UNIT_TOKENS;
        it[i].in.p = item[i].ids;
        it[i].in.n = item[i].n;
        it[i].w = item[i].want;
        it[i].n_w = item[i].n_want;
        b.n_tokens += item[i].n;
        most.tokens[item[i].port] += item[i].n;
        for (int k = 0; k < item[i].n_want; k++) {
            enum out kind = item[i].want[k].kind;
            b.n_rows += kind == OUT_ATTENTION ? 0
                        : kind == OUT_CLASS || kind == OUT_POOLED
                            ? 1
                            : item[i].want[k].n;
        }
    }
    most.rows = b.n_rows;
    if (need_scratch(g, &most))
        return err_nomem(e);
    x.scratch = g->scratch;
    if (g->pool)
        pool_acquire(g->pool);
    rc = g->arch->step(g->self, &x, &b, e);
    if (g->pool)
        pool_release(g->pool);
    for (int i = 0; i < n && !rc; i++) {
        item[i].status = it[i].status;
        item[i].fail = it[i].fail;
        if (it[i].status == 0) {
            float *t = item[i].seq->fixed[0];
            item[i].seq->fixed[0] = item[i].seq->fixed[1];
            item[i].seq->fixed[1] = t;
            item[i].seq->state.len[item[i].port] += item[i].n;
        }
    }
    return rc;
}
