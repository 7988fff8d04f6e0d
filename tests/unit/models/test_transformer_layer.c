/* Linear layers and norms of Transformers out of a checkpoint: fused tensors of
 * one type and of several, ranges of rows, GPT-2's transposed matrices, biases;
 * wrong shapes by name; every allocation fails once. All numbers are small
 * integers, so that products are exact in any order.
 *
 * SPDX-License-Identifier: MIT */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "engine/base/mem.h"
#include "engine/checkpoint/safetensors.h"
#include "models/transformer/transformer_impl.h"
#include "tests/support/tf_fake.h"
#include "tests/support/oom_sweep.h"

#define COLS 20
#define M 5 /* rows of input */

static char dir[] = "/tmp/seqd-tf-XXXXXX";
static char path[64];
static float values[64 * COLS], not_finite[36 * COLS];
static float by_row[36 * COLS], by_column[36 * COLS]; /* exact in 8 bits */
static struct weights *w;

static const struct save_tensor TENSORS[] = {
    {"q", DT_F32, 2, {18, COLS}, .data = values},
    {"k", DT_F32, 2, {6, COLS}, .data = values + 7},
    {"v", DT_BF16, 2, {6, COLS}, .data = values + 100},
    {"all", DT_F16, 2, {40, COLS}, .data = values + 3},
    {"grouped", DT_BF16, 2, {36, COLS}, .data = values + 5},
    {"grouped.bias", DT_F32, 1, {36}, .data = values + 70},
    {"conv", DT_F32, 2, {COLS, 33}, .data = values + 11},
    {"by_row", DT_I8, 2, {36, COLS}, .data = by_row},
    {"by_column", DT_I8, 2, {36, COLS}, .data = by_column, .by_column = 1},
    {"q.bias", DT_F32, 1, {18}, .data = values + 50},
    {"all.bias", DT_F32, 1, {40}, .data = values + 60},
    {"norm", DT_BF16, 1, {COLS}, .data = values + 1},
    {"norm.bias", DT_F32, 1, {COLS}, .data = values + 2},
    {"bad.q", DT_F32, 2, {18, COLS}, .data = not_finite},
    {"bad.v", DT_BF16, 2, {18, COLS}, .data = not_finite},
    {"bad.conv", DT_F16, 2, {COLS, 18}, .data = not_finite},
    {"bad.grouped", DT_F32, 2, {36, COLS}, .data = not_finite},
};

static int open_file(void **state)
{
    struct err e = ERR_INIT;
    (void)state;
    for (int i = 0; i < 64 * COLS; i++)
        values[i] = (float)(i * 7 % 23 - 11);
    for (int i = 0; i < 36 * COLS; i++) { /* scales of a half, a quarter ... */
        int r = i / COLS, c = i % COLS, most = r % COLS == c;
        by_row[i] = ldexpf(most ? -127 : values[i], -r % 5);
        by_column[i] = ldexpf(most ? 127 : values[i], -c % 5);
    }
    not_finite[18 * COLS - 1] = -INFINITY; /* the last, of 18 rows */
    if (!mkdtemp(dir))
        return -1;
    snprintf(path, sizeof path, "%s/model.safetensors", dir);
    if (safetensors_save(path, TENSORS, (int)(sizeof TENSORS / sizeof *TENSORS),
                         NULL, 0, &e))
        return -1;
    return weights_open(dir, "m", &w, &e);
}

static int close_file(void **state)
{
    (void)state;
    weights_close(w);
    unlink(path);
    return rmdir(dir);
}

/* --- products --- */

struct work {
    float *y, *res;
    size_t ld;
};

/* One layer: IN has the rows of one table, X of another. */
static void make_rows(struct tf *t)
{
    lookup(t, EMBEDDING, IN);
    lookup(t, EMBED_POSITION, X);
}

static void multiply(struct tf *t, const struct weight *layer, int i)
{
    (void)i;
    linear(t, layer, 0, IN, QKV_ROWS);
    linear_add(t, layer, 0, IN, X);
}

static void answer_y(struct tf *t)
{
    answer_hidden(t, -1, QKV_ROWS);
}

static void answer_res(struct tf *t)
{
    answer_hidden(t, -1, X);
}

static void step(struct stack *s, struct pool *pool, int n, float *out,
                 size_t ld)
{
    static const int32_t ids[M] = {0, 1, 2, 3, 4};
    struct exec x = {.k = kernels_available(0), .pool = pool, .n_threads = n};
    struct seq_state seq = {.len = {0}};
    struct want want = {OUT_HIDDEN, 0, M, out, ld};
    struct batch_item it = {.seq = &seq, .w = &want, .n_w = 1};
    struct batch b = {.item = &it, .n_item = 1, .n_tokens = M, .n_rows = M};
    it.in.p = ids;
    it.in.n = M;
    tf_measure(s);
    s->token_macs = 1e9; /* threads, please */
    x.scratch = mem_aligned(tf_fake_scratch(s, &b, n, M));
    assert_non_null(x.scratch);
    assert_int_equal(tf_step(s, &x, &b, NULL), 0);
    assert_int_equal(it.status, 0);
    mem_aligned_free(x.scratch);
}

/* y and res (of ones) after the layer over x[r][k] = (r + k) % 5 - 2, on n
 * threads. */
static void run(const struct tf_linear *l, struct work *s, struct pool *pool,
                int n)
{
    static float rows[M * COLS], ones[M * 128];
    struct tensor in = {.dtype = DT_F32, .n_dims = 2, .dim = {M, COLS}};
    struct tensor res = {.dtype = DT_F32, .n_dims = 2, .dim = {M, l->N}};
    struct stack_kind kind = {.whole = 1, .embed = make_rows, .run = multiply};
    struct weight layer = {.linear = *l}, top[TF_TOP] = {0};
    struct stack stack = {.kind = &kind,
                          .output = POOLED,
                          .max_len = M,
                          .top = top,
                          .layer = &layer,
                          .dim = {[VOCAB] = M,
                                  [LAYERS] = 1,
                                  [HEADS] = 1,
                                  [KV_HEADS] = 1,
                                  [HEAD_DIM] = 1}};
    for (int i = 0; i < M * COLS; i++)
        rows[i] = (float)((i / COLS + i % COLS) % 5 - 2);
    for (int i = 0; i < M * 128; i++)
        ones[i] = 1.0f;
    in.data = rows;
    in.bytes = sizeof rows;
    res.data = ones;
    res.bytes = (size_t)l->N * M * sizeof *ones;
    top[EMBEDDING].table = &in;
    top[EMBED_POSITION].table = &res;
    s->ld = tf_pad(l->N);
    s->y = mem_floats(M * s->ld);
    s->res = mem_floats(M * s->ld);
    kind.head = answer_y;
    step(&stack, pool, n, s->y, s->ld);
    kind.head = answer_res;
    step(&stack, pool, n, s->res, s->ld);
}

static void drop(struct work *s)
{
    mem_aligned_free(s->y);
    mem_aligned_free(s->res);
}

/* Columns at .. at+N-1 are those of the matrix W, W[n][k] at
 * from[n * row + k * col]. */
static void check(const struct work *s, int at, int N, const float *from,
                  int row, int col, const float *bias)
{
    for (int r = 0; r < M; r++) {
        for (int n = 0; n < N; n++) {
            float want = bias ? bias[n] : 0.0f;
            size_t i = (size_t)r * s->ld + (size_t)(at + n);
            for (int k = 0; k < COLS; k++)
                want += from[n * row + k * col] * (float)((r + k) % 5 - 2);
            if (s->y[i] != want || s->res[i] != want + 1.0f)
                fail_msg("row %d column %d: %g and %g, expected %g and %g", r,
                         at + n, (double)s->y[i], (double)s->res[i],
                         (double)want, (double)want + 1.0);
        }
    }
}

static void load(const struct tf_part *part, int n, struct tf_linear *l)
{
    struct load_opts o = {.label = "m", .options = &(struct engine_options){0}};
    struct err e = ERR_INIT;
    if (tf_linear_load(w, &o, part, n, COLS, l, &e))
        fail_msg("%s", e.msg);
}

static void test_fused_tensors_of_any_types_are_one_product(void **state)
{
    static const struct tf_part parts[] = {
        {.name = "q", .bias = "q.bias", .N = 18},
        {.name = "k", .N = 6},
        {.name = "v", .N = 6}};
    struct tf_linear l;
    struct pool *pool;
    struct work s;
    (void)state;
    assert_int_equal(pool_open(3, 0, &pool, NULL), 0);
    pool_acquire(pool);
    for (int n = 2; n <= 3; n++) { /* with v: two types */
        load(parts, n, &l);
        assert_int_equal(l.n_w, n == 2 ? 1 : 3);
        assert_int_equal(l.at[1], 32);
        assert_int_equal(l.N, n == 2 ? 38 : 54);
        assert_true(tf_linear_bytes(&l) >= (size_t)(24 * COLS) * sizeof(float));
        for (int threads = 1; threads <= 3; threads++) {
            run(&l, &s, threads > 1 ? pool : NULL, threads);
            check(&s, 0, 18, values, COLS, 1, values + 50);
            check(&s, 32, 6, values + 7, COLS, 1, NULL);
            if (n == 3)
                check(&s, l.at[2], 6, values + 100, COLS, 1, NULL);
            drop(&s);
        }
        tf_linear_fini(&l);
    }
    pool_release(pool);
    pool_close(pool);
}

static void test_a_range_of_rows_brings_its_part_of_the_bias(void **state)
{
    static const struct tf_part part = {
        .name = "all", .bias = "all.bias", .N = 11, .rows = 40, .row0 = 13};
    struct tf_linear l;
    struct work s;
    (void)state;
    load(&part, 1, &l);
    run(&l, &s, NULL, 1);
    check(&s, 0, 11, values + 3 + 13 * COLS, COLS, 1, values + 60 + 13);
    drop(&s);
    tf_linear_fini(&l);
}

/* NeoX's query, key and value: three groups of rows for each head. */
static void check_grouped(const char *name, const float *from)
{
    struct tf_part parts[3];
    struct tf_linear l;
    struct work s;
    for (int i = 0; i < 3; i++) /* 4 heads of 3, 36 of the 40 rows' layout */
        parts[i] = (struct tf_part){.name = name,
                                    .bias = "grouped.bias",
                                    .N = 12,
                                    .rows = 36,
                                    .row0 = 3 * i,
                                    .heads = 4};
    load(parts, 3, &l);
    run(&l, &s, NULL, 1);
    for (int h = 0; h < 12; h++) /* head h / 3, part h % 3 */
        check(&s, l.at[h % 3] + h / 3 * 3, 3, from + 3 * h * COLS, COLS, 1,
              values + 70 + 3 * h);
    drop(&s);
    tf_linear_fini(&l);
}

static void test_groups_of_heads_are_put_in_order(void **state)
{
    (void)state;
    check_grouped("grouped", values + 5);
    check_grouped("by_row", by_row);
    check_grouped("by_column", by_column);
}

static void test_transposed_tensors_are_turned(void **state)
{
    static const struct tf_part whole = {
        .name = "conv", .N = 33, .transposed = 1};
    static const struct tf_part range = {
        .name = "conv", .N = 9, .rows = 33, .row0 = 20, .transposed = 1};
    struct tf_linear l;
    struct work s;
    (void)state;
    load(&whole, 1, &l);
    run(&l, &s, NULL, 1);
    check(&s, 0, 33, values + 11, 1, 33, NULL);
    drop(&s);
    tf_linear_fini(&l);
    load(&range, 1, &l);
    run(&l, &s, NULL, 1);
    check(&s, 0, 9, values + 11 + 20, 1, 33, NULL);
    drop(&s);
    tf_linear_fini(&l);
}

/* --- errors --- */

static void refused(const struct tf_part *part, int n, const char *message)
{
    struct load_opts o = {.label = "m", .options = &(struct engine_options){0}};
    struct err e = ERR_INIT;
    struct tf_linear l;
    assert_int_equal(tf_linear_load(w, &o, part, n, COLS, &l, &e), -1);
    assert_int_equal(e.code, ERR_FORMAT);
    if (!strstr(e.msg, message))
        fail_msg("'%s' lacks '%s'", e.msg, message);
    tf_linear_fini(&l); /* harmless after a failure */
}

static void test_wrong_shapes_are_refused_by_name(void **state)
{
    static const struct tf_part rows = {.name = "q", .N = 17};
    static const struct tf_part turned = {
        .name = "q", .N = 18, .transposed = 1};
    static const struct tf_part bias = {.name = "q", .bias = "norm", .N = 18};
    static const struct tf_part missing[] = {{.name = "q", .N = 18},
                                             {.name = "up", .N = 18}};
    (void)state;
    refused(&rows, 1, "tensor 'q' is [18,20], expected [17,20]");
    refused(&turned, 1, "tensor 'q' is [18,20], expected [20,18]");
    refused(&bias, 1, "tensor 'norm' is [20], expected [18]");
    refused(missing, 2, "'up'");
}

/* Seen while they are packed, and told by the name in the file. */
static void test_numbers_that_are_not_finite_are_refused_by_name(void **state)
{
    static const struct tf_part parts[][3] = {
        {{.name = "bad.q", .N = 18}},
        {{.name = "q", .N = 18}, {.name = "bad.q", .N = 18}},
        {{.name = "q", .N = 18}, {.name = "bad.v", .N = 18}},
        {{.name = "bad.conv", .N = 18, .transposed = 1}},
        {{.name = "bad.grouped", .N = 12, .rows = 36, .heads = 4},
         {.name = "bad.grouped", .N = 12, .rows = 36, .row0 = 3, .heads = 4},
         {.name = "bad.grouped", .N = 12, .rows = 36, .row0 = 6, .heads = 4}}};
    static const int n[] = {1, 2, 2, 1, 3};
    char message[120];
    (void)state;
    for (int i = 0; i < 5; i++) {
        snprintf(message, sizeof message,
                 "m/model.safetensors: tensor '%s' holds a number that is not "
                 "finite",
                 parts[i][n[i] == 2].name);
        refused(parts[i], n[i], message);
    }
}

static int load_all(void *arg, struct err *e)
{
    static const struct tf_part parts[] = {
        {.name = "q", .bias = "q.bias", .N = 18},
        {.name = "k", .N = 6},
        {.name = "v", .N = 6}};
    struct tf_rope_spec spec = {.n_rot = 8, .base = 100.0};
    struct load_opts o = {.label = "m", .options = &(struct engine_options){0}};
    struct tf_linear one = {0}, many = {0};
    struct tf_norm norm = {0};
    struct tf_rope rope = {0};
    int rc;
    (void)arg;
    rc = tf_linear_load(w, &o, parts, 2, COLS, &one, e) ||
         tf_linear_load(w, &o, parts, 3, COLS, &many, e) ||
         tf_norm_load(w, "norm", "norm.bias", COLS, 0, 1e-5, 0, &norm, e) ||
         tf_rope_init(&rope, &spec, e);
    tf_linear_fini(&one);
    tf_linear_fini(&many);
    tf_norm_fini(&norm);
    tf_rope_fini(&rope);
    return rc ? -1 : 0;
}

static void test_oom_every_allocation_of_loading_fails_once(void **state)
{
    (void)state;
    assert_true(oom_sweep(load_all, NULL) >= 8);
}

static void test_norms_can_store_one_plus_the_weight(void **state)
{
    struct err e = ERR_INIT;
    struct tf_norm n;
    (void)state;
    assert_int_equal(tf_norm_load(w, "norm", NULL, COLS, 1, 1e-6, 1, &n, &e),
                     0);
    for (int i = 0; i < COLS; i++)
        assert_true(n.w[i] == values[1 + i] + 1.0f);
    assert_null(n.b);
    tf_norm_fini(&n);
}

/* --- positions --- */

/* Vaswani et al. 2017, section 3.5, as Hugging Face lays it out: sines in front
 * of cosines. An odd width has a sine more. */
static float wave_at(int width, int pos, int i)
{
    int sines = (width + 1) / 2, pair = i < sines ? i : i - sines;
    double angle = pos / pow(10000.0, 2.0 * pair / width);

    return (float)(i < sines ? sin(angle) : cos(angle));
}

/* The first rows are kept, the others are made each time: the same formula. */
static void test_waves_are_those_of_the_formula_kept_or_not(void **state)
{
    static const int widths[] = {2, 21, 24}, lengths[] = {40, TF_WAVES, 5000};
    float row[24];

    (void)state;
    for (int k = 0; k < 9; k++) {
        int width = widths[k / 3], most = lengths[k % 3], kept;
        struct stack s = {.max_len = most};
        struct err e = ERR_INIT;

        s.dim[WIDTH] = width;
        assert_int_equal(tf_wave(&s, &e), 0);
        assert_int_equal(tf_wave_rows(&s, &e), 0);
        kept = most < TF_WAVES ? most : TF_WAVES;
        assert_int_equal(s.n_waves, kept);
        for (int pos = 0; pos < most; pos++) {
            tf_wave_row(&s, pos, row);
            for (int i = 0; i < width; i++) {
                float want = wave_at(width, pos, i);
                if (row[i] != want ||
                    (pos < kept && s.waves[pos * width + i] != want))
                    fail_msg("width %d position %d: %d is not %.9g", width, pos,
                             i, (double)want);
            }
        }
        mem_free(s.wave);
        mem_free(s.waves);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_fused_tensors_of_any_types_are_one_product),
        cmocka_unit_test(test_a_range_of_rows_brings_its_part_of_the_bias),
        cmocka_unit_test(test_groups_of_heads_are_put_in_order),
        cmocka_unit_test(test_transposed_tensors_are_turned),
        cmocka_unit_test(test_wrong_shapes_are_refused_by_name),
        cmocka_unit_test(test_numbers_that_are_not_finite_are_refused_by_name),
        cmocka_unit_test(test_oom_every_allocation_of_loading_fails_once),
        cmocka_unit_test(test_norms_can_store_one_plus_the_weight),
        cmocka_unit_test(test_waves_are_those_of_the_formula_kept_or_not),
    };
    return cmocka_run_group_tests(tests, open_file, close_file);
}
