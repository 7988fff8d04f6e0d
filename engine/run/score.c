/* score: the negative log-likelihood of a token stream, in chunks through the
 * same step() as everything else, on the caller's thread. The state is carried
 * from chunk to chunk; a window empties it.
 *
 * SPDX-License-Identifier: MIT */
#include <math.h>
#include <string.h>
#include <time.h>

#include "engine/base/clock.h"
#include "engine/base/mem.h"
#include "engine/run/engine.h"
#include "engine/run/model.h"
#include "engine/run/runner.h"
#include "engine/run/threads.h"

#define CHUNK 64        /* rows of logits at a time: 13 MB for 50,000 words */
#define WAIT_US 5000000 /* for memory that requests in flight hold */

struct scorer {
    struct model *m;
    struct run_shared *s;
    struct seq_store store;
    struct seq *seq;
    float *rows; /* [chunk][ld] */
    size_t ld;
    void *scratch;
    int chunk, V;
};

static void scorer_fini(struct scorer *c)
{
    if (c->seq)
        seq_give(&c->store, c->seq);
    seq_store_fini(&c->store);
    mem_aligned_free(c->rows);
    mem_aligned_free(c->scratch);
}

static int scorer_init(struct scorer *c, struct model *m, struct err *e)
{
    memset(c, 0, sizeof *c);
    c->m = m;
    c->s = runner_shared(m->runner);
    c->V = m->info.n_vocab;
    c->chunk = m->info.max_chain > 0 && m->info.max_chain < CHUNK
                   ? m->info.max_chain
                   : CHUNK;
    c->ld = ((size_t)c->V + 15) & ~(size_t)15;
    if (seq_store_init(&c->store, &m->layout, &c->s->budget, e))
        return -1;
    int rc = seq_take(&c->store, &c->seq, e);
    if (rc == SEQ_WAIT)
        return err_set(e, ERR_BUSY, "the state budget is used up");
    if (rc)
        return -1;
    c->rows = mem_floats((size_t)c->chunk * c->ld);
    c->scratch = mem_aligned(m->arch->scratch_bytes(
        m->self, 1, c->chunk, c->chunk, pool_threads(c->s->pool)));
    return c->rows && c->scratch ? 0 : err_nomem(e);
}

/* Pages for n more tokens; others may have to make room. */
static int reserve(struct scorer *c, int n, struct err *e)
{
    struct timespec pause = {.tv_nsec = 1000000};
    int64_t until = clock_now_us() + WAIT_US;
    int rc;

    while ((rc = seq_reserve(&c->store, c->seq, 0, n, e)) == SEQ_WAIT) {
        if (clock_now_us() > until)
            return err_set(e, ERR_BUSY, "the state budget is used up");
        run_ask_for_memory(c->s, NULL);
        nanosleep(&pause, NULL);
    }
    return rc;
}

static int run_chunk(struct scorer *c, const int32_t *ids, int n, struct err *e)
{
    struct seq *s = c->seq;
    struct want w = {.kind = WANT_LOGITS, .n = n, .dst = c->rows, .ld = c->ld};
    struct batch_item it = {.seq = &s->s,
                            .fixed_in = s->buf[s->cur],
                            .fixed_out = s->buf[s->cur ^ 1],
                            .in = {.kind = IN_TOKENS, .p = ids, .n = n},
                            .w = &w,
                            .n_w = 1};
    struct batch b = {.item = &it, .n_item = 1, .n_tokens = n, .n_rows = n};
    struct exec x = {.k = c->s->k,
                     .pool = c->s->pool,
                     .scratch = c->scratch,
                     .n_threads = threads_most(threads_work(&c->m->info, n, n),
                                               pool_threads(c->s->pool))};
    int rc = reserve(c, n, e);
    if (rc)
        return -1;
    pool_acquire(c->s->pool);
    rc = c->m->arch->step(c->m->self, &x, &b, e);
    pool_release(c->s->pool);
    if (rc || it.status) {
        return err_set(e, it.fail == ERR_NOMEM ? ERR_NOMEM : ERR_INTERNAL,
                       "the model failed on this input");
    }
    seq_commit(&c->store, s, 0, NULL, n);
    return 0;
}

/* -log softmax(row)[id] */
static int row_nats(struct scorer *c, const float *row, int32_t id, double *out,
                    struct err *e)
{
    const struct kernels *k = c->s->k;
    if (!k->all_finite(c->V, row)) {
        return err_set(e, ERR_INTERNAL,
                       "the model gave a number that is not finite");
    }
    float max = k->row_max(c->V, row);
    float sum = k->sum_exp(c->V, row, max);
    *out = log((double)sum) - ((double)row[id] - (double)max);
    return 0;
}

/* One window: an empty state, then ids[1..n-1] given all before. */
static int score_window(struct scorer *c, const int32_t *ids, int64_t n,
                        struct score *out, struct err *e)
{
    seq_reset(&c->store, c->seq);
    for (int64_t at = 0; at + 1 < n;) {
        int64_t left = n - 1 - at;
        int len = left < c->chunk ? (int)left : c->chunk;
        if (run_chunk(c, ids + at, len, e))
            return -1;
        for (int i = 0; i < len; i++) {
            double nats = 0;
            if (row_nats(c, c->rows + (size_t)i * c->ld, ids[at + i + 1], &nats,
                         e))
                return -1;
            out->nats += nats;
            out->tokens++;
        }
        at += len;
    }
    return 0;
}

int engine_score(struct engine *g, struct model *m, const int32_t *ids,
                 int64_t n, int64_t window, struct score *out, struct err *e)
{
    struct scorer c;
    int rc = 0;

    (void)g;
    *out = (struct score){0};
    if (!(m->info.tasks & TASK_NEXT) || (m->info.flags & ARCH_WHOLE_INPUT)) {
        return err_set_at(e, ERR_UNSUPPORTED, "task_not_supported", "model",
                          "model '%s' does not predict tokens", m->name);
    }
    for (int64_t i = 0; i < n; i++) {
        if (ids[i] < 0 || ids[i] >= m->n_ids) {
            return err_set(e, ERR_INVALID, "token %lld is %d, expected 0..%d",
                           (long long)i, (int)ids[i], m->n_ids - 1);
        }
    }
    kernels_enter_thread();
    if (scorer_init(&c, m, e)) {
        scorer_fini(&c);
        return -1;
    }
    int64_t step = window > 0 ? window : n;
    for (int64_t at = 0; at < n && rc == 0; at += step)
        rc = score_window(&c, ids + at, n - at < step ? n - at : step, out, e);
    scorer_fini(&c);
    return rc;
}
