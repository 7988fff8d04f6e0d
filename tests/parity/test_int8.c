/* Checkpoints in 8 bits (convert.h), of every architecture that reads
 * safetensors: on the exact path each answers, bit for bit, what a checkpoint
 * with the numbers answers that its bytes and scales stand for, in fp32; those
 * are worked out here. What is rounded, and which way, is looked at. On the
 * fast path the bundled ones answer nearly the same.
 *
 * SPDX-License-Identifier: MIT */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "engine/base/mem.h"
#include "engine/checkpoint/safetensors.h"
#include "models/registry.h"
#include "models/train/convert.h"
#include "tests/support/arch_rig.h"
#include "tests/support/temp_dir.h"

#define MAX_TENSORS 256
#define TOKENS 5
#define GOLDEN "tests/golden/"
#define BUNDLED "models/checkpoints/"
/* Activations off by up to 1/254 of the largest of 32, in units of the standard
 * deviation of the logits. */
#define FAST_MEAN 0.02

static char dir[64], eight[80], again[80];

static int up(void **state)
{
    (void)state;
    temp_dir_make(dir);
    snprintf(eight, sizeof eight, "%s/eight", dir);
    snprintf(again, sizeof again, "%s/again", dir);
    return 0;
}

static int down(void **state)
{
    (void)state;
    temp_dir_drop(eight);
    temp_dir_drop(again);
    temp_dir_drop(dir);
    return 0;
}

static void convert(const char *from, const char *to, int precision)
{
    struct options o = {.model = from,
                        .out = to,
                        .precision = precision,
                        .precision_given = 1,
                        .overwrite = 1};
    struct err e = ERR_INIT;
    struct buf b;
    buf_init(&b, 1024);
    if (convert_run(&o, &b, &e) != 0)
        fail_msg("%s: %s", from, e.msg);
    buf_fini(&b);
}

/* --- the numbers of an 8-bit file, in fp32 --- */

static float *numbers_of(const struct tensor *t, size_t n)
{
    float *v = mem_array(n + 1, sizeof *v);
    assert_non_null(v);
    if (t->dtype != DT_I8) {
        assert_int_equal(t->dtype, DT_F32);
        memcpy(v, t->data, n * sizeof *v);
        return v;
    }
    for (size_t i = 0; i < n; i++) {
        size_t cols = (size_t)t->dim[1];
        float scale;
        memcpy(&scale,
               (const char *)t->scales +
                   sizeof scale * (t->by_column ? i % cols : i / cols),
               sizeof scale);
        v[i] = (float)((const int8_t *)t->data)[i] * scale;
    }
    return v;
}

static size_t elements(const struct tensor *t)
{
    size_t n = 1;
    for (int i = 0; i < t->n_dims; i++)
        n *= (size_t)t->dim[i];
    return n;
}

/* The weights of `eight` become numbers of fp32. */
static void widen(void)
{
    struct save_tensor s[MAX_TENSORS];
    struct weights *w;
    struct err e = ERR_INIT;
    char path[128];
    if (weights_open(eight, "eight", &w, &e))
        fail_msg("%s", e.msg);
    int n = weights_count(w);
    assert_in_range(n, 1, MAX_TENSORS);
    for (int i = 0; i < n; i++) {
        const struct tensor *t = weights_at(w, i);
        s[i] = (struct save_tensor){.name = t->name,
                                    .dtype = DT_F32,
                                    .n_dims = t->n_dims,
                                    .data = numbers_of(t, elements(t))};
        memcpy(s[i].dim, t->dim, sizeof s[i].dim);
    }
    snprintf(path, sizeof path, "%s/model.safetensors", eight);
    assert_int_equal(safetensors_save(path, s, n, NULL, 0, &e), 0);
    for (int i = 0; i < n; i++)
        mem_free((void *)(uintptr_t)s[i].data);
    weights_close(w);
}

/* Matrices of more than one row are I8, near what they were; all else is F32
 * and what it was. How many are I8, and how many of them have scales by
 * column. */
static void check_rounding(const char *from, int *n_i8, int *n_columns)
{
    struct weights *a, *b;
    struct err e = ERR_INIT;
    *n_i8 = *n_columns = 0;
    if (weights_open(from, "from", &a, &e) ||
        weights_open(eight, "eight", &b, &e))
        fail_msg("%s: %s", from, e.msg);
    assert_int_equal(weights_count(a), weights_count(b));
    assert_true(weights_parameters(a) == weights_parameters(b));
    for (int i = 0; i < weights_count(a); i++) {
        const struct tensor *x = weights_at(a, i);
        const struct tensor *y = weights_find(b, x->name);
        size_t n = elements(x);
        float *v = mem_array(n, sizeof *v), *got = numbers_of(y, n);
        int i8 = x->n_dims == 2 && x->dim[0] > 1;
        assert_non_null(v);
        assert_int_equal(y->dtype, i8 ? DT_I8 : DT_F32);
        tensor_read(x, 0, n, v);
        for (size_t k = 0; k < n; k++) {
            size_t cols = (size_t)(i8 ? x->dim[1] : 1);
            float step =
                i8 ? tensor_scale(y, y->by_column ? k % cols : k / cols) : 0;
            if (!(fabsf(v[k] - got[k]) <= 0.5001f * step))
                fail_msg("%s: %s[%zu] is %g, was %g", from, x->name, k,
                         (double)got[k], (double)v[k]);
        }
        *n_i8 += i8;
        *n_columns += i8 && y->by_column;
        mem_free(v);
        mem_free(got);
    }
    weights_close(a);
    weights_close(b);
}

/* --- answers --- */

static const struct model_arch *arch_of(const char *from)
{
    struct checkpoint *c;
    struct err e = ERR_INIT;
    const char *type;
    const struct model_arch *found = NULL;
    if (checkpoint_open(from, "from", &c, &e) ||
        hparams_string(checkpoint_hparams(c, &e), "model_type", &type, &e))
        fail_msg("%s: %s", from, e.msg);
    for (int i = 0; registry_archs[i] && !found; i++) {
        const struct model_arch *a = registry_archs[i];
        found = strcmp(a->name, type) == 0 ? a : NULL;
        for (int k = 0; a->aliases && a->aliases[k] && !found; k++)
            found = strcmp(a->aliases[k], type) == 0 ? a : NULL;
    }
    assert_non_null(found);
    checkpoint_close(c);
    return found;
}

/* A row of what it answers after some tokens (and a source); its columns.
 * fast: 1 where another path than the exact one is asked for and taken. */
static int answer(const struct model_arch *arch, const char *path, int *fast,
                  float **out)
{
    static const int32_t ids[TOKENS] = {3, 1, 4, 1, 5};
    struct load_opts o = {.options = &(struct engine_options){.exact = !*fast}};
    struct err e = ERR_INIT;
    struct rig g;
    struct rig_seq seq;
    if (rig_open_with(&g, arch, path, "auto", 1, &o, &e))
        fail_msg("%s: %s", path, e.msg);
    const int *c = g.info.cols;
    enum out kind = c[OUT_LOGITS]  ? OUT_LOGITS
                    : c[OUT_CLASS] ? OUT_CLASS
                                   : OUT_POOLED;
    size_t ld = ((size_t)c[kind] + 15) / 16 * 16;
    *out = mem_floats(ld);
    assert_non_null(*out);
    assert_int_equal(rig_seq_open(&g, &seq), 0);
    struct rig_item source = {
        .seq = &seq, .port = PORT_SOURCE, .ids = ids, .n = TOKENS};
    struct rig_item it = {.seq = &seq, .ids = ids, .n = TOKENS, .n_want = 1};
    it.want[0] = (struct want){kind, TOKENS - 1, 1, *out, ld};
    if (g.info.state.n_ports > PORT_SOURCE)
        assert_int_equal(rig_step(&g, &source, 1, &e) || source.status, 0);
    assert_int_equal(rig_step(&g, &it, 1, &e) || it.status, 0);
    int cols = c[kind];
    assert_true(*fast || !g.info.fast);
    *fast = g.info.fast;
    rig_seq_close(&seq);
    rig_close(&g);
    return cols;
}

/* How far b is from a on average. */
static double distance(const float *a, const float *b, int n)
{
    double off = 0, sum = 0, square = 0;
    for (int i = 0; i < n; i++) {
        off += fabs((double)a[i] - (double)b[i]) / n;
        sum += (double)a[i] / n;
        square += (double)a[i] * (double)a[i] / n;
    }
    return off / sqrt(square - sum * sum);
}

static const struct kind {
    const char *from;
    int by_column; /* of its matrices */
    int fast;      /* whether there is another way than the exact one */
    int starts;    /* it is only to start others from */
} kinds[] = {
    {BUNDLED "next-word-lstm", 0, 1, 0},
    {BUNDLED "sentiment-lstm", 0, 0, 0},
    {BUNDLED "stories-gpt", 16, 1, 0},
    {BUNDLED "sentiment-transformer", 0, 1, 0},
    {BUNDLED "translate-en", 0, 1, 0},
    {GOLDEN "rnn/gru-2-bf16", 0, 0, 0},
    {GOLDEN "rnn/class-bi-lstm-proj-last-2", 0, 0, 0},
    {GOLDEN "rnn/class-lstm-one", 0, 0, 0},
    {GOLDEN "train/lm-lstm-2-tied", 0, 0, 0},
    {GOLDEN "train/gpt2-2", 8, 0, 0},
    {GOLDEN "train/bert-masked-2", 0, 0, 0},
    {GOLDEN "train/bert-causal-2", 0, 0, 1},
    {GOLDEN "train/marian-2-1", 0, 0, 0},
    {GOLDEN "train/pairs-gru-general-bi-combine", 0, 0, 0},
    {GOLDEN "gpt2/gpt2-untied-bf16/hf", 8, 0, 0},
    {GOLDEN "llama/llama/hf", 0, 0, 0},
    {GOLDEN "gpt_neox/gpt_neox/hf", 0, 1, 0},
    {GOLDEN "gemma3/gemma3/hf", 0, 1, 0},
    {GOLDEN "phi3/phi3/hf", 0, 1, 0},
    {GOLDEN "bert/albert-fill", 0, 0, 0},
    {GOLDEN "bert/mpnet-fill", 0, 0, 0},
    {GOLDEN "bart/mbart-f16/hf", 0, 0, 0},
    {GOLDEN "t5/t5-silu-bf16/hf", 0, 0, 0},
    {GOLDEN "marian/marian-two-untied-bf16/hf", 0, 0, 0},
    {GOLDEN "decoder_class/gpt2-class", 8, 1, 0},
};

static void test_int8_answers_with_what_its_bytes_stand_for(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        const struct kind *k = &kinds[i];
        const struct model_arch *arch = arch_of(k->from);
        float *a = NULL, *b = NULL, *near = NULL;
        int n_i8, n_columns, exact = 0, fast = 1;
        convert(k->from, eight, PRECISION_INT8);
        check_rounding(k->from, &n_i8, &n_columns);
        if (n_i8 < 2 || n_columns != k->by_column)
            fail_msg("%s: %d matrices in 8 bits, %d by column", k->from, n_i8,
                     n_columns);
        print_message("%s: %d matrices\n", k->from, n_i8);
        if (k->starts)
            continue;
        int n = answer(arch, eight, &exact, &a);
        assert_int_equal(answer(arch, eight, &fast, &near), n);
        widen();
        assert_int_equal(answer(arch, eight, &exact, &b), n);
        if (memcmp(a, b, (size_t)n * sizeof *a) != 0)
            fail_msg("%s: answers differ", k->from);
        assert_int_equal(fast, k->fast);
        if (strncmp(k->from, BUNDLED, sizeof BUNDLED - 1) == 0 &&
            !(distance(a, near, n) <= FAST_MEAN * k->fast))
            fail_msg("%s: fast answers are %g away", k->from,
                     distance(a, near, n));
        mem_aligned_free(a);
        mem_aligned_free(b);
        mem_aligned_free(near);
    }
}

/* A copy in 8 bits of a file in 8 bits is that file. */
static void test_int8_of_int8_is_the_same(void **state)
{
    struct weights *a, *b;
    struct err e = ERR_INIT;
    (void)state;
    convert(GOLDEN "gpt2/gpt2/hf", eight, PRECISION_INT8);
    convert(eight, again, PRECISION_INT8);
    assert_int_equal(weights_open(eight, "a", &a, &e), 0);
    assert_int_equal(weights_open(again, "b", &b, &e), 0);
    for (int i = 0; i < weights_count(a); i++) {
        const struct tensor *t = weights_at(a, i);
        assert_int_equal(tensor_same(t, weights_find(b, t->name)), 1);
    }
    weights_close(a);
    weights_close(b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_int8_answers_with_what_its_bytes_stand_for),
        cmocka_unit_test(test_int8_of_int8_is_the_same),
    };
    return cmocka_run_group_tests(tests, up, down);
}
