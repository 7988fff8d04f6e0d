/* What all Transformers share, on a small random one (tf_fake): the figures
 * are those of plain C in double; chunked, token by token, in company, on any
 * number of threads: the same bits; bad items harm nobody.
 *
 * SPDX-License-Identifier: MIT */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "engine/base/mem.h"
#include "engine/base/rng.h"
#include "models/transformer/archs.h"
#include "tests/support/oom_sweep.h"
#include "tests/support/tf_fake.h"

#define MAX_ITEMS 12
#define MAX_PAGES (FAKE_MAX / ATTN_KEYS)
#define LD 48 /* of wanted logits: FAKE_VOCAB in whole panels */
/* fp32 through two layers; logits are of size 10. */
#define TOL 2e-4
/* Eight bits of activations of size 2, 64 of them: some 0.01 x 0.3 x 8, and
 * room for the largest of many. */
#define TOL_FAST 0.2

struct text {
    struct seq_state state;
    void *pages[MAX_PAGES];
    int32_t ids[FAKE_MAX];
    int n;
};

/* Pages are full of NaN: nobody may use what nobody wrote. */
static void text_open(const struct tf_fake *f, struct text *s, int n,
                      uint64_t seed)
{
    struct state_layout layout;
    struct rng r;
    memset(s, 0, sizeof *s);
    rng_init(&r, seed);
    s->n = n;
    for (int i = 0; i < n; i++)
        s->ids[i] = (int32_t)rng_below(&r, FAKE_VOCAB);
    s->state.pages[0] = s->pages;
    if (f->kind.whole)
        return;
    tf_layout(&f->s, &layout);
    assert_int_equal(layout.port[0].page_tokens, ATTN_KEYS);
    assert_int_equal(layout.port[0].page_bytes % 64, 0);
    for (int i = 0; i < (n + ATTN_KEYS - 1) / ATTN_KEYS; i++) {
        size_t floats = layout.port[0].page_bytes / sizeof(float);
        float *p = mem_floats(floats);
        assert_non_null(p);
        for (size_t k = 0; k < floats; k++)
            p[k] = NAN;
        s->pages[i] = p;
    }
}

static void text_close(struct text *s)
{
    for (int i = 0; i < MAX_PAGES; i++)
        mem_aligned_free(s->pages[i]);
}

/* One step: n tokens of each text from where it is, all their logits into
 * out[i] [n][LD] (NULL: none). Scratch has exactly the bytes asked for. */
struct part {
    struct text *s;
    int n;
    float *out;
    struct want *w; /* instead of out */
    int n_w;
    int status;
    enum err_code fail;
};

static void step(const struct tf_fake *f, const struct kernels *k,
                 struct pool *pool, int n_threads, struct part *p, int n)
{
    struct batch_item it[MAX_ITEMS];
    struct want w[MAX_ITEMS];
    struct batch b = {.item = it, .n_item = n};
    struct exec x = {.k = k, .pool = pool, .n_threads = n_threads};
    struct err e = ERR_INIT;
    int64_t longest = 0;
    memset(it, 0, sizeof it);
    for (int i = 0; i < n; i++) {
        const struct text *s = p[i].s;
        int64_t end = s->state.len[0] + p[i].n;
        longest = end > longest ? end : longest;
        w[i] = (struct want){OUT_LOGITS, 0, p[i].n, p[i].out, LD};
        it[i].seq = &p[i].s->state;
        it[i].in.p = s->ids + s->state.len[0];
        it[i].in.n = p[i].n;
        it[i].w = p[i].w ? p[i].w : &w[i];
        it[i].n_w = p[i].w ? p[i].n_w : p[i].out != NULL;
        b.n_tokens += p[i].n;
        for (int j = 0; j < it[i].n_w; j++)
            b.n_rows += it[i].w[j].kind == OUT_ATTENTION ? 0 : it[i].w[j].n;
    }
    x.scratch = mem_aligned(tf_fake_scratch(&f->s, &b, n_threads, longest));
    assert_non_null(x.scratch);
    if (tf_step(&f->s, &x, &b, &e))
        fail_msg("step: %s", e.msg);
    mem_aligned_free(x.scratch);
    for (int i = 0; i < n; i++) {
        p[i].status = it[i].status;
        p[i].fail = it[i].fail;
        if (it[i].status == 0)
            p[i].s->state.len[0] += p[i].n;
    }
}

static void all_at_once(const struct tf_fake *f, const struct kernels *k,
                        struct text *s, float *out)
{
    struct part p = {.s = s, .n = s->n, .out = out};
    step(f, k, NULL, 1, &p, 1);
    assert_int_equal(p.status, 0);
}

static void same(const float *a, const float *b, int rows)
{
    for (int i = 0; i < rows * LD; i++)
        if (i % LD < FAKE_VOCAB && memcmp(&a[i], &b[i], sizeof *a) != 0)
            fail_msg("row %d column %d: %a and %a", i / LD, i % LD,
                     (double)a[i], (double)b[i]);
}

static void near(const float *got, size_t ld, const double *want, int rows,
                 int cols, double tol)
{
    for (int r = 0; r < rows; r++)
        for (int c = 0; c < cols; c++) {
            double g = (double)got[(size_t)r * ld + (size_t)c];
            if (!(fabs(g - want[r * cols + c]) <= tol))
                fail_msg("row %d column %d is %.7g, expected %.7g", r, c, g,
                         want[r * cols + c]);
        }
}

/* Kinds of attention: whole, causal, window, cap. The wider window has tiles
 * over 9 of 10 blocks: one pointer to a block too few would meet others. */
static const struct kind {
    int whole, causal, window;
    float cap;
} KINDS[] = {{0, 1, 0, 0.0f},
             {0, 1, 21, 0.0f},
             {0, 1, 0, 3.0f},
             {1, 0, 0, 0.0f},
             {0, 1, 110, 0.0f}};
#define N_KINDS (int)(sizeof KINDS / sizeof *KINDS)

static void open_kind(struct tf_fake *f, int i)
{
    assert_int_equal(tf_fake_open(f, KINDS[i].whole, KINDS[i].causal,
                                  KINDS[i].window, KINDS[i].cap),
                     0);
}

static void test_logits_are_those_of_the_formula(void **state)
{
    static double want[FAKE_MAX * FAKE_VOCAB];
    static float got[FAKE_MAX * LD];
    const struct kernels *k;
    (void)state;
    for (int kind = 0; kind < N_KINDS; kind++) {
        static const int lengths[] = {1, 15, 16, 17, 75, FAKE_MAX};
        struct tf_fake f;
        open_kind(&f, kind);
        for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++) {
            for (int j = 0; (k = kernels_available(j)); j++) {
                struct text s;
                text_open(&f, &s, lengths[i], i);
                all_at_once(&f, k, &s, got);
                tf_fake_reference(&f, s.ids, s.n, want, NULL, NULL);
                near(got, LD, want, s.n, FAKE_VOCAB, TOL);
                text_close(&s);
            }
        }
        tf_fake_close(&f);
    }
}

static void test_any_cut_of_a_text_gives_the_same_bits(void **state)
{
    static float whole[FAKE_MAX * LD], cut[FAKE_MAX * LD];
    static const int size[] = {1, 3, 16, 40, 100};
    const struct kernels *k;
    (void)state;
    for (int kind = 0; kind < N_KINDS; kind++) {
        struct tf_fake f;
        open_kind(&f, kind);
        for (int j = 0; (k = kernels_available(j)) && !f.kind.whole; j++) {
            struct text s;
            text_open(&f, &s, 140, 9);
            all_at_once(&f, k, &s, whole);
            for (size_t i = 0; i < sizeof size / sizeof *size; i++) {
                s.state.len[0] = 0;
                for (int at = 0; at < s.n; at += size[i]) {
                    int left = s.n - at;
                    struct part p = {.s = &s, .out = cut + at * LD};
                    p.n = left < size[i] ? left : size[i];
                    step(&f, k, NULL, 1, &p, 1);
                }
                same(whole, cut, s.n);
            }
            text_close(&s);
        }
        tf_fake_close(&f);
    }
}

/* Twelve texts of different lengths, at different positions, in one step. */
static void check_company(const struct tf_fake *f, const struct kernels *k,
                          struct pool *pool, int n_threads)
{
    static float alone[MAX_ITEMS][FAKE_MAX * LD], got[MAX_ITEMS][FAKE_MAX * LD];
    struct text s[MAX_ITEMS];
    struct part p[MAX_ITEMS];
    for (int i = 0; i < MAX_ITEMS; i++) {
        text_open(f, &s[i], 1 + i * 13, (uint64_t)(50 + i));
        all_at_once(f, k, &s[i], alone[i]);
        s[i].state.len[0] = f->kind.whole ? 0 : s[i].n / 2;
        p[i] = (struct part){.s = &s[i], .n = s[i].n, .out = got[i]};
        p[i].n -= (int)s[i].state.len[0];
    }
    step(f, k, pool, n_threads, p, MAX_ITEMS);
    for (int i = 0; i < MAX_ITEMS; i++) {
        int first = s[i].n - p[i].n;
        assert_int_equal(p[i].status, 0);
        same(alone[i] + first * LD, got[i], p[i].n);
        text_close(&s[i]);
    }
}

static void test_company_and_threads_do_not_change_the_bits(void **state)
{
    const struct kernels *k;
    struct pool *pool;
    (void)state;
    assert_int_equal(pool_open(3, 20, &pool, NULL), 0);
    pool_acquire(pool);
    for (int kind = 0; kind < N_KINDS; kind++) {
        struct tf_fake f;
        open_kind(&f, kind);
        for (int j = 0; (k = kernels_available(j)); j++) {
            check_company(&f, k, NULL, 1);
            check_company(&f, k, pool, 2);
            check_company(&f, k, pool, 3);
        }
        tf_fake_close(&f);
    }
    pool_release(pool);
    pool_close(pool);
}

static void test_attention_to_look_at_is_the_formula(void **state)
{
    static double want[FAKE_LAYERS * FAKE_HEADS * 64 * 64];
    static float got[FAKE_LAYERS * FAKE_HEADS * 64 * 64];
    (void)state;
    for (int kind = 0; kind < N_KINDS; kind++) {
        struct tf_fake f;
        struct text s, other;
        struct want w = {.kind = OUT_ATTENTION, .dst = got};
        struct part p[2] = {{.s = &other, .n = 30}, {.s = &s, .w = &w}};
        open_kind(&f, kind);
        text_open(&f, &s, 64, 4);
        text_open(&f, &other, 30, 5);
        p[1].n = s.n;
        p[1].n_w = 1;
        step(&f, kernels_available(0), NULL, 1, p, 2);
        assert_int_equal(p[1].status, 0);
        tf_fake_reference(&f, s.ids, s.n, NULL, NULL, want);
        near(got, 64, want, FAKE_LAYERS * FAKE_HEADS * 64, 64, 1e-5);
        for (int i = 0; i < FAKE_LAYERS * FAKE_HEADS * 64; i++)
            for (int j = i % 64 + 1; j < 64 && f.causal; j++)
                assert_true(got[i * 64 + j] == 0.0f);
        text_close(&s);
        text_close(&other);
        tf_fake_close(&f);
    }
}

/* Rows in the middle, states, several wants, and rows that cannot be written
 * in place (no room for whole panels, not evenly spaced). */
static void check_wants(struct tf_fake *f, const struct kernels *k, int fast)
{
    static float all[FAKE_MAX * LD], tight[9 * FAKE_VOCAB + 1], row[LD];
    static float hidden[5 * FAKE_WIDTH];
    static double states[FAKE_MAX * FAKE_WIDTH], want[FAKE_MAX * FAKE_VOCAB];
    struct want w[3] = {
        {OUT_LOGITS, 7, 9, tight, FAKE_VOCAB},
        {OUT_HIDDEN, 45, 5, hidden, FAKE_WIDTH},
        {OUT_LOGITS, 49, 1, row, LD},
    };
    struct text s;
    struct part p = {.s = &s, .n = 50, .w = w, .n_w = 3};
    tf_fake_set_fast(f, fast);
    text_open(f, &s, 50, 3);
    all_at_once(f, k, &s, all);
    tf_fake_reference(f, s.ids, s.n, want, states, NULL);
    near(all, LD, want, s.n, FAKE_VOCAB, fast ? TOL_FAST : TOL);
    s.state.len[0] = 0;
    tight[9 * FAKE_VOCAB] = 123.0f;
    step(f, k, NULL, 1, &p, 1);
    assert_int_equal(p.status, 0);
    for (int r = 0; r < 9; r++)
        assert_memory_equal(tight + r * FAKE_VOCAB, all + (7 + r) * LD,
                            FAKE_VOCAB * sizeof(float));
    assert_true(tight[9 * FAKE_VOCAB] == 123.0f);
    assert_memory_equal(row, all + 49 * LD, FAKE_VOCAB * sizeof(float));
    near(hidden, FAKE_WIDTH, states + 45 * FAKE_WIDTH, 5, FAKE_WIDTH, TOL);
    text_close(&s);
}

static void test_wanted_rows_go_where_they_are_wanted(void **state)
{
    const struct kernels *k;
    struct tf_fake f;
    (void)state;
    open_kind(&f, 0);
    for (int i = 0; (k = kernels_available(i)); i++) {
        check_wants(&f, k, 0);
        check_wants(&f, k, 1);
    }
    tf_fake_close(&f);
}

static void test_bad_items_fail_alone(void **state)
{
    static float alone[FAKE_MAX * LD], got[4][FAKE_MAX * LD];
    struct tf_fake f;
    struct text s[4];
    struct part p[4];
    const struct kernels *k = kernels_available(0);
    (void)state;
    open_kind(&f, 0);
    for (int i = 0; i < 4; i++) {
        text_open(&f, &s[i], 40, (uint64_t)i);
        p[i] = (struct part){.s = &s[i], .n = 40, .out = got[i]};
    }
    s[0].ids[3] = FAKE_VOCAB;
    s[1].state.len[0] = FAKE_MAX - 39;
    s[2].ids[39] = 5;
    for (int i = 0; i < 40; i++)
        s[3].ids[i] = 6;
    f.embedding[5 * FAKE_WIDTH] = NAN;
    step(&f, k, NULL, 1, p, 4);
    assert_int_equal(p[0].fail, ERR_INVALID);
    assert_int_equal(p[1].fail, ERR_TOO_LARGE);
    assert_int_equal(p[2].status, -1);
    assert_int_equal(p[2].fail, ERR_INTERNAL);
    assert_int_equal(p[3].status, 0);
    s[3].state.len[0] = 0;
    all_at_once(&f, k, &s[3], alone);
    same(alone, got[3], 40);
    for (int i = 0; i < 4; i++)
        text_close(&s[i]);
    tf_fake_close(&f);
}

static void test_an_encoder_takes_whole_texts_only(void **state)
{
    static float out[FAKE_MAX * LD];
    struct tf_fake f;
    struct text s;
    struct part p = {.s = &s, .n = 4, .out = out};
    (void)state;
    open_kind(&f, 3);
    text_open(&f, &s, 8, 1);
    s.state.len[0] = 4;
    step(&f, kernels_available(0), NULL, 1, &p, 1);
    assert_int_equal(p.fail, ERR_INVALID);
    text_close(&s);
    tf_fake_close(&f);
}

static void test_a_batch_that_lies_about_its_size_is_refused(void **state)
{
    static float out[8 * LD];
    struct tf_fake f;
    struct text s;
    struct want w = {OUT_LOGITS, 0, 8, out, LD};
    struct batch_item it = {.seq = &s.state, .w = &w, .n_w = 1};
    struct batch b = {.item = &it, .n_item = 1, .n_tokens = 8, .n_rows = 7};
    struct exec x = {.k = kernels_available(0), .n_threads = 1};
    struct err e = ERR_INIT;
    (void)state;
    open_kind(&f, 0);
    text_open(&f, &s, 8, 1);
    it.in.p = s.ids;
    it.in.n = 8;
    x.scratch = mem_aligned(tf_fake_scratch(&f.s, &b, 1, 8));
    assert_int_equal(tf_step(&f.s, &x, &b, &e), -1);
    assert_int_equal(e.code, ERR_INTERNAL);
    mem_aligned_free(x.scratch);
    text_close(&s);
    tf_fake_close(&f);
}

/* A file may state any context, and nobody sends a text of 2^24 tokens: scratch
 * is for the sequences there are. `step` has exactly as much. */
static void test_scratch_is_for_sequences_not_for_the_context(void **state)
{
    const struct batch b = {.n_item = 4, .n_tokens = 64, .n_rows = 4};
    struct tf_fake f;
    (void)state;
    open_kind(&f, 0);
    f.s.max_len = 1 << 24;
    assert_true(tf_fake_scratch(&f.s, &b, 64, 100) < (size_t)4 << 20);
    assert_true(tf_fake_scratch(&f.s, &b, 64, 4000) < (size_t)32 << 20);
    f.s.max_len = FAKE_MAX;
    assert_int_equal(tf_fake_scratch(&f.s, &b, 2, FAKE_MAX),
                     tf_fake_scratch(&f.s, &b, 2, 1 << 20));
    tf_fake_close(&f);
}

/* A window bounds what a row sees, and so the scratch of the longest sequence;
 * one layer without a window sees all of it. */
static void test_scratch_is_for_what_windows_show(void **state)
{
    const struct batch b = {.n_item = 4, .n_tokens = 64, .n_rows = 4};
    struct tf_fake f;
    (void)state;
    open_kind(&f, 0);
    f.s.max_len = 1 << 24;
    for (int i = 0; i < FAKE_LAYERS; i++)
        f.s.window[i] = 100 + i;
    assert_int_equal(tf_fake_scratch(&f.s, &b, 2, 1 << 24),
                     tf_fake_scratch(&f.s, &b, 2, 1000));
    f.s.window[0] = 4000;
    assert_true(tf_fake_scratch(&f.s, &b, 2, 1 << 24) >
                tf_fake_scratch(&f.s, &b, 2, 1000));
    f.s.window[0] = 0;
    assert_true(tf_fake_scratch(&f.s, &b, 2, 1 << 20) > (size_t)32 << 20);
    tf_fake_close(&f);
}

/* Threads meet where a product reads what others wrote, and where others read
 * what it wrote: 5 times in a layer (before norm, query-key-value, rotation,
 * attention, output; the first norm reads own rows), and before the wanted rows
 * are gathered and multiplied. */
static void test_threads_meet_no_more_than_they_must(void **state)
{
    struct tf_fake f;
    (void)state;
    open_kind(&f, 0);
    assert_int_equal(f.s.syncs, 5 * FAKE_LAYERS - 1 + 2);
    f.s.layer[1].linear.fast = 1;
    tf_measure(&f.s);
    assert_int_equal(f.s.syncs, 5 * FAKE_LAYERS - 1 + 2);
    f.s.layer[2].linear.fast = 1; /* what attention gives is quantised first */
    tf_measure(&f.s);
    assert_int_equal(f.s.syncs, 5 * FAKE_LAYERS + 2);
    assert_true(f.s.set[IN].fast && f.s.set[ATT].fast && !f.s.set[TOP].fast);
    assert_true(f.s.set[TOP].wanted && !f.s.set[X].wanted);
    tf_fake_close(&f);
}

/* --- loading --- */

static int load_golden(void *arg, struct err *e)
{
    static const struct engine_options options = {.exact = 1};
    const struct model_arch *arch =
        strstr(arg, "/bert/") ? &bert_arch : &gpt2_arch;
    struct load_opts o = {
        .label = "m", .k = kernels_available(0), .options = &options};
    struct model_info info;
    struct checkpoint *c;
    void *self = NULL;
    int rc;
    if (checkpoint_open(arg, "m", &c, e))
        return -1;
    rc = arch->load(&o, c, &info, &self, e);
    if (self)
        arch->unload(self);
    checkpoint_close(c);
    return rc;
}

static void
test_oom_every_allocation_of_loading_a_stack_fails_once(void **state)
{
    char decoder[] = "tests/golden/gpt2/gpt2/hf",
         encoder[] = "tests/golden/bert/bert-class";
    (void)state;
    assert_true(oom_sweep(load_golden, decoder) > 20);
    assert_true(oom_sweep(load_golden, encoder) > 20);
}

/* --- rotary positions --- */

/* Llama 3.1's scaling, factor 8, low 1, high 4, 8192 positions, base 500000,
 * 128 dimensions. A pair that turns more than 4 times in 8192 positions stays,
 * one that turns less than once is 8 times slower; the others are mixed by
 * (turns - 1) / 3. Pair i has 8192 * 500000^(-i/64) / (2 pi) turns: pair 28 has
 * 4.19, pair 29 has 3.41, pair 34 1.22, pair 35 0.997. */
static void test_llama3_scaling_slows_long_waves_only(void **state)
{
    struct tf_rope_spec s = {.n_rot = 128,
                             .base = 500000.0,
                             .scaling = ROPE_LLAMA3,
                             .factor = 8.0,
                             .low_freq_factor = 1.0,
                             .high_freq_factor = 4.0,
                             .original_length = 8192.0};
    struct tf_rope r;
    (void)state;
    assert_int_equal(tf_rope_init(&r, &s, NULL), 0);
    for (int i = 0; i < 64; i++) {
        double f = pow(500000.0, -i / 64.0), turns = 8192.0 * f / 6.2831853072;
        double want = f;
        if (i >= 35)
            want = f / 8.0;
        else if (i >= 29)
            want = f * ((turns - 1.0) / 3.0 + (4.0 - turns) / 24.0);
        if (fabs(r.freq[i] - want) > 1e-9 * want)
            fail_msg("pair %d: %.12g, expected %.12g", i, r.freq[i], want);
    }
    tf_rope_fini(&r);
}

/* Qwen2.5 for 131072 positions: factor 4, 32768 positions of the training, base
 * 1e6, 128 dimensions: pairs up to 23 stay, those from 40 on are 4 times
 * slower, one in between is mixed by its number. */
static void test_yarn_slows_long_waves_and_reaches_further(void **state)
{
    struct tf_rope_spec s = {.n_rot = 128,
                             .base = 1e6,
                             .scaling = ROPE_YARN,
                             .factor = 4.0,
                             .original_length = 32768.0,
                             .ramp = {23, 40},
                             .magnitude = 1.1386};
    struct tf_rope r;
    (void)state;
    assert_int_equal(tf_rope_init(&r, &s, NULL), 0);
    for (int i = 0; i < 64; i++) {
        double f = pow(1e6, -i / 64.0), slow = (i - 23) / 17.0;
        if (i <= 23)
            slow = 0.0;
        else if (i >= 40)
            slow = 1.0;
        if (fabs(r.freq[i] / f - (1.0 - 0.75 * slow)) > 1e-9)
            fail_msg("pair %d: %.12g of the frequency", i, r.freq[i] / f);
    }
    assert_true(fabs(r.magnitude - 1.1386) < 1e-12);
    assert_int_equal(r.stretched, 131072);
    assert_int_equal(r.most, 0);
    tf_rope_fini(&r);
    s.factor = 1e6; /* 3e10 positions */
    assert_int_equal(tf_rope_init(&r, &s, NULL), 0);
    assert_int_equal(r.stretched, TF_MAX_POSITIONS);
    tf_rope_fini(&r);
}

static void test_linear_scaling_and_factors_divide_the_frequency(void **state)
{
    static const float divide[4] = {1.0f, 2.0f, 4.0f, 0.5f};
    struct tf_rope_spec s = {.n_rot = 8,
                             .base = 10000.0,
                             .scaling = ROPE_LINEAR,
                             .factor = 4.0,
                             .divide = divide};
    static const double want[4] = {0.25, 0.0125, 0.000625, 0.0005};
    struct tf_rope r;
    (void)state;
    assert_int_equal(tf_rope_init(&r, &s, NULL), 0);
    for (int i = 0; i < 4; i++)
        assert_true(fabs(r.freq[i] - want[i]) < 1e-15);
    tf_rope_fini(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_logits_are_those_of_the_formula),
        cmocka_unit_test(test_any_cut_of_a_text_gives_the_same_bits),
        cmocka_unit_test(test_company_and_threads_do_not_change_the_bits),
        cmocka_unit_test(test_attention_to_look_at_is_the_formula),
        cmocka_unit_test(test_wanted_rows_go_where_they_are_wanted),
        cmocka_unit_test(test_bad_items_fail_alone),
        cmocka_unit_test(test_an_encoder_takes_whole_texts_only),
        cmocka_unit_test(test_a_batch_that_lies_about_its_size_is_refused),
        cmocka_unit_test(test_scratch_is_for_sequences_not_for_the_context),
        cmocka_unit_test(test_scratch_is_for_what_windows_show),
        cmocka_unit_test(test_threads_meet_no_more_than_they_must),
        cmocka_unit_test(
            test_oom_every_allocation_of_loading_a_stack_fails_once),
        cmocka_unit_test(test_llama3_scaling_slows_long_waves_only),
        cmocka_unit_test(test_yarn_slows_long_waves_and_reaches_further),
        cmocka_unit_test(test_linear_scaling_and_factors_divide_the_frequency),
    };
    kernels_enter_thread();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
