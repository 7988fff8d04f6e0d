/* fake_arch: see fake_arch.h.
 *
 * SPDX-License-Identifier: MIT */
#include "tests/support/fake_arch.h"

#include <math.h>
#include <unistd.h>

#include "engine/base/clock.h"
#include "engine/base/mem.h"
#include "engine/checkpoint/safetensors.h"
#include "engine/text/tokenizer.h"
#include "tests/support/temp_dir.h"
#include "tests/support/unit.h"

struct fake {
    struct model_info info;
    int chain;
    int n_vocab, n_labels;
    int page, page_bytes, window;
    int64_t longest; /* sequence that scratch was asked for */
    const struct tensor *t;
};

/* What a page holds of a token. */
struct fake_slot {
    int32_t id, at;
};

/* 64 bytes of state. */
struct fake_fixed {
    uint32_t h;
    int32_t last;
    int64_t n;
    int32_t bad; /* FAKE_NAN or FAKE_INF once seen */
    char pad[44];
};

struct fake_stats fake_stats;

void fake_reset(void)
{
    memset(&fake_stats, 0, sizeof(fake_stats));
}

uint32_t fake_fold(uint32_t h, int32_t id)
{
    return h * 1664525u + (uint32_t)id + 1013904223u;
}

uint32_t fake_state(const int32_t *ids, int n)
{
    uint32_t h = 0;
    for (int i = 0; i < n; i++)
        h = fake_fold(h, ids[i]);
    return h;
}

static float hash_float(uint32_t h, uint32_t v)
{
    uint32_t x = (h ^ (v + 1) * 2654435761u) * 2246822519u;
    x = (x ^ (x >> 15)) * 3266489917u;
    x ^= x >> 13;
    return (float)(x >> 16) / 8192.0f - 4.0f; /* exact, -4 .. 4 */
}

float fake_logit(uint32_t h, int v, int chain, int32_t last, int n_vocab)
{
    if (v >= FAKE_NAN && v < FAKE_WORD)
        return -1000.0f;
    if (chain) {
        int next =
            last >= FAKE_WORD && last + 1 < n_vocab ? last + 1 : FAKE_EOS;
        return hash_float(h, (uint32_t)v) + (v == next ? 30.0f : 0.0f);
    }
    return hash_float(h, (uint32_t)v);
}

float fake_score(uint32_t h, int label)
{
    return hash_float(h ^ 0x5bd1e995u, (uint32_t)label);
}

float fake_weight(int layer, int head, const int32_t *ids, int i, int j)
{
    uint32_t h = fake_fold((uint32_t)(layer * 100 + head), ids[i]);
    return hash_float(h, (uint32_t)ids[j]);
}

static void require(int ok)
{
    if (!ok)
        atomic_fetch_add(&fake_stats.violations, 1);
}

static void note_max(atomic_int *a, int v)
{
    int old = atomic_load(a);
    while (v > old && !atomic_compare_exchange_weak(a, &old, v)) {
    }
}

/* --- the architecture --- */

static int get(const struct hparams *h, const char *key, int dflt,
               struct err *e)
{
    int64_t v;
    return hparams_int_or(h, key, 0, 1 << 20, dflt, &v, e) ? -1 : (int)v;
}

static void fake_layout(const struct fake *f, struct state_layout *out)
{
    size_t least = ((size_t)f->page * sizeof(struct fake_slot) + 63) / 64 * 64;
    size_t bytes = f->page_bytes ? (size_t)f->page_bytes : least;

    *out = (struct state_layout){.n_ports = 1};
    out->port[0].name = "text";
    if (f->page > 0) {
        out->port[0].page_tokens = f->page;
        out->port[0].page_bytes = bytes;
        out->port[0].window = f->window;
    } else {
        out->fixed_bytes = sizeof(struct fake_fixed);
    }
}

static int fake_load(const struct load_opts *o, struct checkpoint *c,
                     struct model_info *info, void **self, struct err *e)
{
    const struct weights *w = checkpoint_weights(c, e);
    const struct hparams *h = checkpoint_hparams(c, e);
    static const char *const names[] = {"zero", "one", "two", "three"};
    struct fake *f = mem_zalloc(sizeof *f);

    if (!f)
        return err_nomem(e);
    *self = f;
    f->t = h && w ? weights_need(w, "table", 1, 4096, 0, e) : NULL;
    if (!f->t) {
        mem_free(f);
        *self = NULL;
        return -1;
    }
    f->chain = get(h, "chain", 0, e);
    f->n_vocab = o->n_vocab_tokenizer;
    f->n_labels = get(h, "n_labels", 3, e);
    int outputs = get(h, "outputs", FAKE_LOGITS | FAKE_CLASS, e);
    info->cols[OUT_LOGITS] = outputs & FAKE_LOGITS ? f->n_vocab : 0;
    info->cols[OUT_CLASS] = outputs & FAKE_CLASS ? f->n_labels : 0;
    for (int i = 0; i < f->n_labels; i++)
        info->labels[i] = names[i % 4];
    info->max_chain = get(h, "max_chain", 8, e);
    info->token_flops = (uint64_t)get(h, "flops", 1, e);
    f->page = get(h, "page", 0, e);
    f->window = get(h, "window", 0, e);
    f->page_bytes = get(h, "page_bytes", 0, e);
    fake_layout(f, &info->state);
    info->state.port[0].whole = get(h, "whole", 0, e);
    info->state.port[0].context_length = get(h, "context", 0, e);
    info->n_heads = get(h, "attention", 0, e);
    info->n_layers = info->n_heads ? 2 : 0;
    info->parameters = 1;
    info->cols[OUT_HIDDEN] = 1;
    info->cols[OUT_ATTENTION] = info->n_heads > 0;
    info->memory_bytes = sizeof *f;
    info->summary = "fake";
    f->info = *info;
    return 0;
}

static void fake_unload(void *self)
{
    mem_free(self);
}

static size_t fake_tables(const void *self)
{
    (void)self;
    return FAKE_TABLE_BYTES;
}

/* What the engine asked scratch for; steps hold it to that. */
static size_t fake_scratch(const void *self, const struct step_size *most)
{
    struct fake *f = (struct fake *)self;

    if (most->longest > f->longest)
        f->longest = most->longest;
    note_max(&fake_stats.longest, (int)f->longest);
    note_max(&fake_stats.asked, most->tokens[0]);
    return (size_t)(most->items + most->tokens[0] + most->rows +
                    most->threads) *
           4;
}

static void fill_rows(const struct fake *f, const struct fake_fixed *s,
                      const struct want *w, int row, float zero)
{
    float *y = w->dst + (size_t)row * w->ld;
    int n = w->kind == OUT_CLASS ? f->n_labels : f->n_vocab;
    for (int v = 0; v < n; v++) {
        y[v] = w->kind == OUT_CLASS
                   ? fake_score(s->h, v)
                   : fake_logit(s->h, v, f->chain, s->last, f->n_vocab);
        y[v] += zero;
    }
    if (s->bad == FAKE_NAN)
        y[n / 2] = NAN;
    else if (s->bad == FAKE_INF)
        y[n - 1] = INFINITY;
}

static void take_token(struct fake_fixed *s, int32_t id)
{
    s->h = fake_fold(s->h, id);
    s->last = id;
    s->n++;
    s->bad = id == FAKE_NAN || id == FAKE_INF ? id : s->bad;
}

static struct fake_slot *slot(const struct fake *f, const struct seq_state *q,
                              int64_t at)
{
    return (struct fake_slot *)q->pages[0][at / f->page] + at % f->page;
}

/* The state after `n` tokens of a sequence in pages: what they hold. */
static struct fake_fixed read_pages(const struct fake *f,
                                    const struct seq_state *q, int64_t n)
{
    struct fake_fixed s = {0};
    int64_t from = f->window > 0 && n > f->window ? n - f->window : 0;
    for (int64_t at = from; at < n; at++) {
        const struct fake_slot *t = slot(f, q, at);
        require(t->at == (int32_t)at);
        take_token(&s, t->id);
    }
    s.n = n;
    return s;
}

static void show_attention(const struct fake *f, const struct batch_item *it,
                           const struct want *w)
{
    const int32_t *ids = it->in.p;
    float *y = w->dst;
    require(it->seq->len[0] == 0 && w->from == 0 && w->n == it->in.n);
    for (int l = 0; l < f->info.n_layers; l++) {
        for (int h = 0; h < f->info.n_heads; h++) {
            for (int i = 0; i < w->n; i++)
                for (int j = 0; j < w->n; j++)
                    *y++ = j <= i ? fake_weight(l, h, ids, i, j) : 0.0f;
        }
    }
}

static struct fake_fixed begin_state(const struct fake *f,
                                     const struct batch_item *it)
{
    struct fake_fixed s;
    if (f->page > 0)
        return read_pages(f, it->seq, it->seq->len[0]);
    memcpy(&s, it->fixed_in, sizeof(s));
    require(it->fixed_in != it->fixed_out);
    require(it->seq->len[0] == s.n);
    return s;
}

static void run_item(const struct fake *f, struct batch_item *it, float zero)
{
    const int32_t *ids = it->in.p;
    struct fake_fixed s = begin_state(f, it);
    int64_t len = it->seq->len[0];

    require(it->in.unit == UNIT_TOKENS && it->port == 0 && it->in.n >= 1 &&
            it->status == 0);
    require(f->longest == 0 || len + it->in.n <= f->longest);
    require(s.n > 0 || (s.h == 0 && s.last == 0 && s.bad == 0));
    require(f->info.max_chain == 0 || f->info.state.port[0].whole ||
            it->n_w > 1 || it->in.n <= f->info.max_chain);
    for (int i = 0; i < it->in.n; i++) {
        take_token(&s, ids[i]);
        if (f->page > 0) {
            *slot(f, it->seq, len + i) =
                (struct fake_slot){ids[i], (int32_t)(len + i)};
        }
        if (ids[i] == FAKE_ITEM || ids[i] == FAKE_ITEM_OOM) {
            it->status = -1;
            it->fail = ids[i] == FAKE_ITEM ? ERR_INTERNAL : ERR_NOMEM;
        }
        for (int k = 0; k < it->n_w; k++) {
            const struct want *w = &it->w[k];
            if (w->kind == OUT_LOGITS && i >= w->from && i < w->from + w->n) {
                if (f->window > 0)
                    s = read_pages(f, it->seq, len + i + 1);
                fill_rows(f, &s, w, i - w->from, zero);
            }
        }
    }
    for (int k = 0; k < it->n_w; k++)
        if (it->w[k].kind == OUT_CLASS)
            fill_rows(f, &s, &it->w[k], 0, zero);
        else if (it->w[k].kind == OUT_ATTENTION)
            show_attention(f, it, &it->w[k]);
    if (f->page == 0) {
        /* A failed item leaves rubbish behind: nobody may read it. */
        memcpy(it->fixed_out, &s, sizeof(s));
        if (it->status)
            memset(it->fixed_out, 0xa5, sizeof(s));
    }
}

struct fake_work {
    const struct fake *f;
    struct batch *b;
    float zero; /* read from the checkpoint, added to all rows */
};

static void run_part(void *arg, int tid, int n_threads)
{
    struct fake_work *w = arg;
    for (int i = tid; i < w->b->n_item; i += n_threads)
        run_item(w->f, &w->b->item[i], w->zero);
}

static int scan(const struct batch *b, struct err *e)
{
    int tokens = 0, rows = 0, failed = 0;
    const float *row = NULL;
    for (int i = 0; i < b->n_item; i++) {
        const struct batch_item *it = &b->item[i];
        const int32_t *ids = it->in.p;
        tokens += it->in.n;
        for (int k = 0; k < it->n_w; k++) {
            if (it->w[k].kind == OUT_ATTENTION)
                continue;
            rows += it->w[k].n;
            require((uintptr_t)it->w[k].dst % 64 == 0 && it->w[k].ld % 16 == 0);
            require(!row || it->w[k].dst == row + it->w[k].ld);
            row = it->w[k].dst + it->w[k].ld * (size_t)(it->w[k].n - 1);
        }
        for (int t = 0; t < it->in.n; t++) {
            failed |= ids[t] == FAKE_STEP;
            if (ids[t] == FAKE_SLOW)
                usleep(1000);
        }
    }
    require(tokens == b->n_tokens && rows == b->n_rows && b->n_item > 0);
    return failed ? err_set(e, ERR_INTERNAL, "fake step failed") : 0;
}

static void wait_for_permit(void)
{
    while (atomic_load(&fake_stats.hold)) {
        int n = atomic_load(&fake_stats.permits);
        if (n > 0 &&
            atomic_compare_exchange_strong(&fake_stats.permits, &n, n - 1))
            break;
        atomic_store(&fake_stats.at_hold, n == 0);
        usleep(50);
    }
    atomic_store(&fake_stats.at_hold, 0);
}

void fake_pass(int n)
{
    atomic_fetch_add(&fake_stats.permits, n);
    for (int i = 0; i < 40000; i++) { /* some 4 s on a busy machine */
        if (atomic_load(&fake_stats.permits) == 0 &&
            atomic_load(&fake_stats.at_hold))
            return;
        usleep(50);
    }
}

static void note_between(void)
{
    int64_t ended = atomic_load(&fake_stats.ended_us);
    if (ended) {
        atomic_fetch_add(&fake_stats.between_us, clock_now_us() - ended);
        atomic_fetch_add(&fake_stats.n_between, 1);
    }
}

static int fake_step(const void *self, const struct exec *x, struct batch *b,
                     struct err *e)
{
    const struct fake *f = self;
    struct fake_work w = {.f = f, .b = b};

    note_between();
    wait_for_permit();
    note_max(&fake_stats.max_items, b->n_item);
    note_max(&fake_stats.max_tokens, b->n_tokens);
    note_max(&fake_stats.max_threads, x->n_threads);
    if (x->n_threads < 5)
        atomic_fetch_add(&fake_stats.threads[x->n_threads], 1);
    atomic_fetch_add(&fake_stats.tokens, b->n_tokens);
    long allocs = mem_count();
    if (atomic_fetch_add(&fake_stats.steps, 1) >= 3)
        atomic_fetch_add(&fake_stats.allocs, allocs);
    memset(x->scratch, 0x5a,
           fake_scratch(self, &(struct step_size){.items = b->n_item,
                                                  .tokens = {b->n_tokens},
                                                  .rows = b->n_rows,
                                                  .threads = x->n_threads}));
    if (scan(b, e))
        return -1;
    tensor_read(f->t, 0, 1, &w.zero);
    pool_run(x->pool, x->n_threads, run_part, &w);
    atomic_store(&fake_stats.ended_us, clock_now_us());
    return 0;
}

const struct model_arch fake_arch = {.name = "fake",
                                     .load = fake_load,
                                     .unload = fake_unload,
                                     .table_bytes = fake_tables,
                                     .scratch_bytes = fake_scratch,
                                     .step = fake_step};
const struct model_arch *const fake_archs[] = {&fake_arch, NULL};

/* --- its checkpoint --- */

/* Sub-words without merges; what stands before them is special. */
static int write_bpe(const struct fake_config *c, const char *const *fixed,
                     struct buf *b)
{
    buf_add_str(b, "{\"version\":\"1.0\",\"added_tokens\":[");
    for (int i = 0; i < FAKE_WORD; i++) {
        buf_addf(b,
                 "%s{\"id\":%d,\"content\":\"%s\",\"special\":true,"
                 "\"single_word\":false,\"lstrip\":false,\"rstrip\":false,"
                 "\"normalized\":false}",
                 i ? "," : "", i, fixed[i]);
    }
    buf_add_str(b, "],\"normalizer\":null,\"pre_tokenizer\":{\"type\":"
                   "\"ByteLevel\",\"add_prefix_space\":false,"
                   "\"trim_offsets\":true,\"use_regex\":true},"
                   "\"post_processor\":null,\"decoder\":{\"type\":"
                   "\"ByteLevel\",\"add_prefix_space\":true,"
                   "\"trim_offsets\":true,\"use_regex\":true},\"model\":{"
                   "\"type\":\"BPE\",\"merges\":[],\"vocab\":{");
    for (int i = 0; i < FAKE_WORD + c->n_words; i++) {
        const char *w = i < FAKE_WORD ? fixed[i] : c->words[i - FAKE_WORD];
        buf_add_str(b, i ? "," : "");
        buf_add_json_string(b, w, strlen(w));
        buf_addf(b, ":%d", i);
    }
    buf_add_str(b, "}}}");
    return b->failed ? -1 : 0;
}

static void write_tokenizer(const char *dir, const struct fake_config *c)
{
    static const char *const fixed[FAKE_WORD] = {"<unk>", "<s>",    "</s>",
                                                 "*nan*", "*inf*",  "*item*",
                                                 "*oom*", "*step*", "*slow*"};
    int n = c->words ? FAKE_WORD + c->n_words : c->n_vocab ? c->n_vocab : 64;
    const char **entry = mem_array((size_t)n, sizeof *entry);
    char(*made)[16] = mem_array((size_t)n, sizeof *made);
    struct tokenizer_spec s = {.normalizer = c->normalizer ? c->normalizer
                                                           : "seqd-whitespace",
                               .unk = "<unk>",
                               .bos = "<s>",
                               .eos = "</s>",
                               .add_bos = !c->no_add_bos};
    struct buf b;
    struct err e = ERR_INIT;

    buf_init(&b, (size_t)16 << 20);
    for (int i = 0; i < n; i++) {
        snprintf(made[i], sizeof(made[i]), "w%d", i);
        entry[i] = i < FAKE_WORD ? fixed[i]
                   : c->words    ? c->words[i - FAKE_WORD]
                                 : made[i];
    }
    if (c->bpe ? write_bpe(c, fixed, &b)
               : tokenizer_build(&s, entry, n, &b, &e))
        fail_msg("fake tokenizer: %s", e.msg);
    temp_file_put(dir, "tokenizer.json", b.p, b.len);
    buf_fini(&b);
    mem_free(entry);
    mem_free(made);
}

void fake_files(const struct fake_config *c, const char *config, char *path)
{
    static float table[4096];
    char file[128];
    struct err e = ERR_INIT;
    struct save_tensor t = {.name = "table",
                            .dtype = DT_F32,
                            .n_dims = 1,
                            .dim = {4096},
                            .data = table};

    temp_dir_make(path);
    temp_file_text(path, "config.json", config);
    if (c)
        write_tokenizer(path, c);
    snprintf(file, sizeof(file), "%s/model.safetensors", path);
    if (safetensors_save(file, &t, 1, NULL, 0, &e))
        fail_msg("fake checkpoint: %s", e.msg);
}

void fake_dir(const struct fake_config *c, char *path)
{
    char text[1024];
    snprintf(text, sizeof(text),
             "{\"model_type\":\"fake\",\"n_labels\":%d,\"chain\":%d,"
             "\"max_chain\":%d,\"whole\":%d,\"context\":%d,"
             "\"flops\":%d,\"page\":%d,\"page_bytes\":%d,"
             "\"window\":%d,\"attention\":%d,\"outputs\":%d,"
             "\"seqd_record\":\"%s\",\"eos_token_id\":2%s%s%s%s}",
             c->n_labels ? c->n_labels : 3, c->chain, c->max_chain, c->whole,
             c->context, c->flops ? c->flops : 1, c->page, c->page_bytes,
             c->window, c->attention,
             c->outputs ? c->outputs : FAKE_LOGITS | FAKE_CLASS,
             c->record ? c->record : "", c->more ? c->more : "",
             c->constraint ? ",\"seqd_constraint\":\"" : "",
             c->constraint ? c->constraint : "", c->constraint ? "\"" : "");
    fake_files(c, text, path);
}
