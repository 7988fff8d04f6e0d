/* ports_arch: see ports_arch.h. A source slot holds the hash of the whole
 * source, which an item sees at once; a target slot its token.
 *
 * SPDX-License-Identifier: MIT */
#include "tests/support/ports_arch.h"

#include <stdio.h>
#include <string.h>

#include "engine/base/mem.h"
#include "engine/run/target_rules.h"
#include "tests/support/fake_arch.h"

struct ports {
    enum ports_kind kind;
};

struct slot {
    int32_t id, at;
    uint32_t whole; /* of the source */
    int32_t pad;
};

/* Of a series: 64 bytes of state. */
struct sums {
    float x[PORTS_WIDTH];
    int32_t n;
    char pad[48];
};

/* By enum ports_kind, as config.json calls them. */
static const char *const kinds[] = {"pair", "series", "shown", NULL};

struct ports_stats ports_stats;

static void require(int ok)
{
    if (!ok)
        atomic_fetch_add(&ports_stats.violations, 1);
}

/* Both ways, so that the last token changes the first slot too. */
static uint32_t whole_hash(const int32_t *ids, int n)
{
    uint32_t h = fake_state(ids, n);
    for (int i = n; i-- > 0;)
        h = fake_fold(h, ids[i]);
    return h;
}

static float logit(uint32_t source, uint32_t target, int v)
{
    if (v < FAKE_WORD && v != FAKE_EOS)
        return -1000.0f;
    return fake_logit(source ^ target * 31u, v, 0, 0, PORTS_VOCAB);
}

float ports_logit(const int32_t *source, int n_source, const int32_t *target,
                  int n, int v)
{
    return logit(whole_hash(source, n_source), fake_state(target, n), v);
}

static float weight(uint32_t source, uint32_t target, int head, int j)
{
    uint32_t h = fake_fold(fake_fold(source ^ target * 17u, head), j);
    return (float)(h % 1000u) / 1000.0f;
}

float ports_mean_weight(const int32_t *source, int n_source,
                        const int32_t *target, int n, int j)
{
    uint32_t whole = whole_hash(source, n_source), h = fake_state(target, n);
    float sum = 0;

    for (int k = PORTS_HEADS; k < 2 * PORTS_HEADS; k++)
        sum += weight(whole, h, k, j);
    return sum / PORTS_HEADS;
}

static void add_row(struct sums *s, const float *x)
{
    for (int k = 0; k < PORTS_WIDTH; k++)
        s->x[k] = s->x[k] * 0.75f + x[k];
    s->n++;
}

static void value_of(const struct sums *s, float value[PORTS_VALUES])
{
    value[0] = s->x[0] + 0.5f * s->x[1] - s->x[2];
    value[1] = (float)s->n;
}

void ports_value(const float *x, int n, float value[PORTS_VALUES])
{
    struct sums s;
    memset(&s, 0, sizeof s);
    for (int i = 0; i < n; i++)
        add_row(&s, x + (size_t)i * PORTS_WIDTH);
    value_of(&s, value);
}

/* --- the architecture --- */

static int load(const struct load_opts *o, struct checkpoint *c,
                struct model_info *info, void **self, struct err *e)
{
    struct weights *w = checkpoint_weights(c, e);
    const struct hparams *h = checkpoint_hparams(c, e);
    const struct port page = {.page_tokens = PORTS_PAGE,
                              .page_bytes = PORTS_PAGE * sizeof(struct slot)};
    struct ports *p = mem_zalloc(sizeof *p);
    int kind;
    int64_t chain;

    *self = p;
    if (!p)
        return err_nomem(e);
    if (!w || !h || !weights_need(w, "table", 1, 4096, 0, e) ||
        hparams_choice(h, "kind", kinds, NULL, &kind, e) ||
        hparams_int(h, "max_chain", 0, 1000, &chain, e)) {
        mem_free(p);
        return -1;
    }
    if (kind == PORTS_SHOWN) {
        info->cols[OUT_ATTENTION] = 1;
        info->n_layers = 2;
        info->n_heads = PORTS_HEADS;
        kind = PORTS_PAIR;
    }
    p->kind = (enum ports_kind)kind;
    info->max_chain = (int)chain;
    info->parameters = 1;
    info->summary = "ports";
    if (p->kind == PORTS_PAIR) {
        info->state.n_ports = 2;
        info->state.port[0] = info->state.port[1] = page;
        info->state.port[0].name = "target";
        info->state.port[1].name = "source";
        info->state.port[1].whole = 1;
        info->state.port[1].context_length = PORTS_SOURCE;
        info->cols[OUT_LOGITS] = o->n_vocab_tokenizer;
        if (target_read(c, o->n_vocab_tokenizer, &info->target, e)) {
            mem_free(p);
            *self = NULL;
            return -1;
        }
        return 0;
    }
    info->state.n_ports = 1;
    info->state.fixed_bytes = sizeof(struct sums);
    info->state.port[0] = (struct port){
        .name = "series", .unit = UNIT_VECTORS, .width = PORTS_WIDTH};
    info->cols[OUT_VALUE] = PORTS_VALUES;
    info->cols[OUT_HIDDEN] = 20; /* wider than one cache line */
    return 0;
}

static void unload(void *self)
{
    mem_free(self);
}

static size_t scratch_bytes(const void *self, const struct step_size *most)
{
    (void)self;
    if (most->longest > atomic_load(&ports_stats.longest))
        atomic_store(&ports_stats.longest, (int)most->longest);
    return (size_t)(most->items + most->tokens[0] + most->tokens[1] +
                    most->rows + most->threads);
}

static struct slot *slot(const struct batch_item *it, int port, int64_t at)
{
    return (struct slot *)it->seq->pages[port][at / PORTS_PAGE] +
           at % PORTS_PAGE;
}

static void read_source(struct batch_item *it)
{
    const int32_t *ids = it->in.p;
    uint32_t h = whole_hash(ids, it->in.n);

    require(it->seq->len[1] == 0 && it->seq->len[0] == 0 && it->n_w == 0);
    require(it->in.n <= atomic_load(&ports_stats.longest));
    for (int i = 0; i < it->in.n; i++)
        *slot(it, 1, i) = (struct slot){.id = ids[i], .at = i, .whole = h};
}

/* Row i of the item, of both layers. */
static void show_row(const struct batch_item *it, const struct want *w, int i,
                     uint32_t source, uint32_t target)
{
    int m = (int)it->seq->len[1];

    require(w->from == 0 && w->n == it->in.n && m <= MODEL_MAX_SHOWN);
    for (int h = 0; h < 2 * PORTS_HEADS; h++)
        for (int j = 0; j < m; j++)
            w->dst[(h * w->n + i) * m + j] = weight(source, target, h, j);
}

static void read_target(struct batch_item *it)
{
    const int32_t *ids = it->in.p;
    int64_t len = it->seq->len[0], n_source = it->seq->len[1];
    uint32_t source, h = 0;

    require(n_source > 0);
    source = slot(it, 1, 0)->whole;
    for (int64_t i = 0; i < n_source; i++)
        require(slot(it, 1, i)->at == i && slot(it, 1, i)->whole == source);
    for (int64_t i = 0; i < len; i++) {
        require(slot(it, 0, i)->at == i);
        h = fake_fold(h, slot(it, 0, i)->id);
    }
    for (int i = 0; i < it->in.n; i++) {
        *slot(it, 0, len + i) =
            (struct slot){.id = ids[i], .at = (int32_t)(len + i)};
        h = fake_fold(h, ids[i]);
        for (int k = 0; k < it->n_w; k++) {
            const struct want *w = &it->w[k];
            if (i < w->from || i >= w->from + w->n)
                continue;
            if (w->kind == OUT_ATTENTION)
                show_row(it, w, i, source, h);
            for (int v = 0; w->kind == OUT_LOGITS && v < PORTS_VOCAB; v++)
                w->dst[(size_t)(i - w->from) * w->ld + (size_t)v] =
                    logit(source, h, v);
        }
    }
}

static void read_series(struct batch_item *it)
{
    struct sums s;

    require(it->in.unit == UNIT_VECTORS);
    memcpy(&s, it->fixed_in, sizeof s);
    require(s.n == it->seq->len[0]);
    for (int i = 0; i < it->in.n; i++) {
        const float *x = (const float *)it->in.p + (size_t)i * PORTS_WIDTH;
        add_row(&s, x);
        for (int k = 0; k < it->n_w; k++) {
            const struct want *w = &it->w[k];
            float *y = w->dst + (size_t)(i - w->from) * w->ld;
            if (i < w->from || i >= w->from + w->n)
                continue;
            if (w->kind == OUT_VALUE)
                value_of(&s, y);
            for (int c = 0; w->kind == OUT_HIDDEN && c < 20; c++)
                y[c] = s.x[c % PORTS_WIDTH] + (float)c;
        }
    }
    memcpy(it->fixed_out, &s, sizeof s);
}

static void note_batch(const struct batch *b)
{
    int ports[MAX_PORTS] = {0}, rows;

    for (int i = 0; i < b->n_item; i++) {
        const struct batch_item *it = &b->item[i];
        rows = 0;
        ports[it->port]++;
        atomic_fetch_add(&ports_stats.sources, it->port == 1);
        for (int k = 0; k < it->n_w; k++)
            rows += it->w[k].n;
        if (rows > atomic_load(&ports_stats.rows))
            atomic_store(&ports_stats.rows, rows);
        for (int j = 0; j < i; j++)
            if (it->port == 0 && b->item[j].port == 0 && it->seq->pages[1] &&
                it->seq->pages[1][0] == b->item[j].seq->pages[1][0])
                atomic_fetch_add(&ports_stats.shared, 1);
    }
    if (ports[0] > 0 && ports[1] > 0)
        atomic_fetch_add(&ports_stats.both, 1);
}

struct work {
    const struct ports *p;
    struct batch *b;
};

static void run_part(void *arg, int tid, int n_threads)
{
    struct work *w = arg;
    for (int i = tid; i < w->b->n_item; i += n_threads) {
        struct batch_item *it = &w->b->item[i];
        if (w->p->kind == PORTS_SERIES)
            read_series(it);
        else if (it->port == 1)
            read_source(it);
        else
            read_target(it);
    }
}

static int step(const void *self, const struct exec *x, struct batch *b,
                struct err *e)
{
    struct work w = {.p = self, .b = b};

    (void)e;
    atomic_fetch_add(&ports_stats.steps, 1);
    note_batch(b);
    pool_run(x->pool, x->n_threads, run_part, &w);
    return 0;
}

const struct model_arch ports_arch = {.name = "ports",
                                      .load = load,
                                      .unload = unload,
                                      .scratch_bytes = scratch_bytes,
                                      .step = step};
const struct model_arch *const ports_archs[] = {&ports_arch, NULL};

void ports_dir(enum ports_kind kind, int max_chain, char *path)
{
    static const struct fake_config words = {.n_vocab = PORTS_VOCAB};
    char text[200];

    snprintf(text, sizeof text,
             "{\"model_type\":\"ports\",\"kind\":\"%s\",\"max_chain\":%d,"
             "\"eos_token_id\":2}",
             kinds[kind], max_chain);
    fake_files(kind == PORTS_SERIES ? NULL : &words, text, path);
}
