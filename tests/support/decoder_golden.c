/* decoder_golden: see decoder_golden.h.
 *
 * SPDX-License-Identifier: MIT */
#include "tests/support/decoder_golden.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "engine/base/buf.h"
#include "engine/base/json.h"
#include "engine/base/mem.h"
#include "tests/support/model_dir.h"

#define SHOWN 1 /* the sequence whose attention is in the fixture */
#define MAX_LEN 64
#define PATH_BYTES 256

struct expected {
    struct weights *w;
    int n, V, width;
    int32_t ids[MAX_LEN];
    float *logits, *hidden;
};

struct golden {
    char what[PATH_BYTES];
    struct weights *w;
    struct expected seq[GOLDEN_SEQS];
    float *attention;
    int n_attention;
    struct rig g;
};

static float *read_floats(struct golden *t, const char *name, int *rows,
                          int *cols)
{
    const struct tensor *x = weights_find(t->w, name);
    float *v;

    if (!x || x->n_dims != 2)
        fail_msg("%s: no tensor %s", t->what, name);
    *rows = (int)x->dim[0];
    *cols = (int)x->dim[1];
    v = mem_floats((size_t)*rows * (size_t)*cols);
    assert_non_null(v);
    tensor_read(x, 0, (size_t)*rows * (size_t)*cols, v);
    return v;
}

static void read_expected(struct golden *t, int i)
{
    struct expected *s = &t->seq[i];
    char name[32];
    const struct tensor *x;
    int rows;

    snprintf(name, sizeof name, "ids.%d", i);
    x = weights_find(t->w, name);
    assert_non_null(x);
    assert_int_equal(x->dtype, DT_I32);
    s->n = (int)x->dim[0];
    assert_true(s->n > 0 && s->n <= MAX_LEN);
    memcpy(s->ids, x->data, (size_t)s->n * sizeof *s->ids);
    snprintf(name, sizeof name, "logits.%d", i);
    s->logits = read_floats(t, name, &rows, &s->V);
    assert_int_equal(rows, s->n);
    snprintf(name, sizeof name, "hidden.%d", i);
    s->hidden = read_floats(t, name, &rows, &s->width);
    assert_int_equal(rows, s->n);
}

static void golden_open(struct golden *t, const struct model_arch *arch,
                        const char *name, const char *file)
{
    struct err e = ERR_INIT;
    char path[PATH_BYTES];
    int cols;

    memset(t, 0, sizeof *t);
    snprintf(t->what, sizeof t->what, "%s/%s", name, file);
    snprintf(path, sizeof path, "tests/golden/%s/%s/expected", arch->name,
             name);
    if (weights_open(path, "expected", &t->w, &e))
        fail_msg("%s: %s", path, e.msg);
    for (int i = 0; i < GOLDEN_SEQS; i++)
        read_expected(t, i);
    t->attention = read_floats(t, "attention", &t->n_attention, &cols);
    assert_int_equal(cols, t->seq[SHOWN].n);
    t->n_attention *= cols;
}

static void golden_close(struct golden *t)
{
    for (int i = 0; i < GOLDEN_SEQS; i++) {
        mem_aligned_free(t->seq[i].logits);
        mem_aligned_free(t->seq[i].hidden);
    }
    mem_aligned_free(t->attention);
    weights_close(t->w);
}

static void open_rig(struct golden *t, const struct model_arch *arch,
                     const char *name, const char *file, const char *kernels,
                     int exact)
{
    struct err e = ERR_INIT;
    struct load_opts o = {.options = &(struct engine_options){.exact = exact}};
    char path[PATH_BYTES];

    snprintf(path, sizeof path, "tests/golden/%s/%s/%s", arch->name, name,
             file);
    if (rig_open_with(&t->g, arch, path, kernels, 1, &o, &e))
        fail_msg("%s: %s", t->what, e.msg);
    assert_int_equal(t->g.info.cols[OUT_LOGITS], t->seq[0].V);
    assert_int_equal(t->g.info.cols[OUT_HIDDEN], t->seq[0].width);
}

static void expect_close(const struct golden *t, const char *what,
                         const float *got, const float *want, int n,
                         double tolerance)
{
    for (int i = 0; i < n; i++) {
        double d = fabs((double)got[i] - (double)want[i]);

        if (!(d <= tolerance * fmax(1.0, fabs((double)want[i]))))
            fail_msg("%s (%s): %s[%d] is %.9g, transformers says %.9g", t->what,
                     t->g.k->name, what, i, (double)got[i], (double)want[i]);
    }
}

static void expect_same(const struct golden *t, const char *what,
                        const float *a, const float *b, int n)
{
    for (int i = 0; i < n; i++) {
        if (memcmp(a + i, b + i, sizeof *a))
            fail_msg("%s (%s): %s: element %d is %.9g here, %.9g there",
                     t->what, t->g.k->name, what, i, (double)a[i],
                     (double)b[i]);
    }
}

static void step(struct golden *t, struct rig_item *item, int n)
{
    struct err e = ERR_INIT;

    if (rig_step(&t->g, item, n, &e))
        fail_msg("%s: %s", t->what, e.msg);
    for (int i = 0; i < n; i++)
        assert_int_equal(item[i].status, 0);
}

/* Logits and hidden states of n tokens from `from` on. */
static void set_item(const struct expected *x, struct rig_item *it,
                     struct rig_seq *seq, int from, int n, float *logits,
                     float *hidden)
{
    struct want want[2] = {
        {OUT_LOGITS, 0, n, logits + (size_t)from * (size_t)x->V, (size_t)x->V},
        {OUT_HIDDEN, 0, n, hidden + (size_t)from * (size_t)x->width,
         (size_t)x->width},
    };

    memset(it, 0, sizeof *it);
    it->seq = seq;
    it->ids = x->ids + from;
    it->n = n;
    memcpy(it->want, want, sizeof want);
    it->n_want = 2;
}

struct answer {
    float *logits, *hidden;
};

static struct answer new_answer(const struct expected *x)
{
    struct answer a = {mem_floats((size_t)x->n * (size_t)x->V),
                       mem_floats((size_t)x->n * (size_t)x->width)};

    assert_non_null(a.logits);
    assert_non_null(a.hidden);
    return a;
}

static void free_answer(struct answer *a)
{
    mem_aligned_free(a->logits);
    mem_aligned_free(a->hidden);
}

/* One sequence alone, `chunk` tokens at a time. */
static struct answer run_alone(struct golden *t, int i, int chunk)
{
    const struct expected *x = &t->seq[i];
    struct answer a = new_answer(x);
    struct rig_seq seq;

    assert_int_equal(rig_seq_open(&t->g, &seq), 0);
    for (int at = 0; at < x->n; at += chunk) {
        int n = x->n - at < chunk ? x->n - at : chunk;
        struct rig_item it;

        set_item(x, &it, &seq, at, n, a.logits, a.hidden);
        step(t, &it, 1);
    }
    rig_seq_close(&seq);
    return a;
}

static void expect_answer(const struct golden *t, const char *what, int i,
                          const struct answer *a, const struct answer *b)
{
    const struct expected *x = &t->seq[i];

    expect_same(t, what, a->logits, b->logits, x->n * x->V);
    expect_same(t, what, a->hidden, b->hidden, x->n * x->width);
}

/* All sequences in one step, then in chunks of different sizes. */
static void check_company(struct golden *t, const struct answer *alone)
{
    static const int sizes[2][GOLDEN_SEQS] = {{64, 64, 64}, {1, 5, 16}};

    for (int pass = 0; pass < 2; pass++) {
        struct answer a[GOLDEN_SEQS];
        struct rig_seq seq[GOLDEN_SEQS];
        int at[GOLDEN_SEQS] = {0}, more = 1;

        for (int i = 0; i < GOLDEN_SEQS; i++) {
            a[i] = new_answer(&t->seq[i]);
            assert_int_equal(rig_seq_open(&t->g, &seq[i]), 0);
        }
        while (more) {
            struct rig_item it[GOLDEN_SEQS];
            int n_it = 0;

            for (int i = GOLDEN_SEQS - 1; i >= 0; i--) {
                int left = t->seq[i].n - at[i];
                int n = left < sizes[pass][i] ? left : sizes[pass][i];

                if (n) {
                    set_item(&t->seq[i], &it[n_it++], &seq[i], at[i], n,
                             a[i].logits, a[i].hidden);
                    at[i] += n;
                }
            }
            more = n_it > 0;
            if (more)
                step(t, it, n_it);
        }
        for (int i = 0; i < GOLDEN_SEQS; i++) {
            expect_answer(t, "in company", i, &alone[i], &a[i]);
            rig_seq_close(&seq[i]);
            free_answer(&a[i]);
        }
    }
}

static void check_attention(struct golden *t, double tolerance)
{
    const struct expected *x = &t->seq[SHOWN];
    int n = t->g.info.n_layers * t->g.info.n_heads * x->n * x->n;
    float *got = mem_floats((size_t)n);
    struct rig_seq seq;
    struct rig_item it = {.seq = &seq, .ids = x->ids, .n = x->n};

    assert_non_null(got);
    assert_int_equal(n, t->n_attention);
    assert_int_equal(rig_seq_open(&t->g, &seq), 0);
    it.n_want = 1;
    it.want[0] = (struct want){OUT_ATTENTION, 0, x->n, got, 0};
    step(t, &it, 1);
    if (tolerance > 0)
        expect_close(t, "attention", got, t->attention, n, tolerance);
    rig_seq_close(&seq);
    mem_aligned_free(got);
}

/* Alone, in chunks and in company with the loaded family. The answers of the
 * sequences alone stay in `alone`. */
static void check_bits(struct golden *t, struct answer *alone)
{
    static const int chunks[] = {1, 7, 16};

    for (int i = 0; i < GOLDEN_SEQS; i++) {
        alone[i] = run_alone(t, i, MAX_LEN);
        for (int c = 0; c < 3; c++) {
            struct answer a = run_alone(t, i, chunks[c]);

            expect_answer(t, "in chunks", i, &alone[i], &a);
            free_answer(&a);
        }
    }
    check_company(t, alone);
}

static void measure(const struct golden *t, const struct answer *a, double mean,
                    double most)
{
    double sum = 0, largest = 0, square = 0, total = 0;
    size_t n = 0;

    for (int i = 0; i < GOLDEN_SEQS; i++) {
        const struct expected *x = &t->seq[i];

        for (size_t k = 0; k < (size_t)x->n * (size_t)x->V; k++, n++) {
            double d = fabs((double)a[i].logits[k] - (double)x->logits[k]);

            sum += d;
            largest = d > largest ? d : largest;
            total += (double)x->logits[k];
            square += (double)x->logits[k] * (double)x->logits[k];
        }
    }
    total /= (double)n;
    square = sqrt(square / (double)n - total * total);
    if (!(sum / (double)n <= mean * square) || !(largest <= most * square))
        fail_msg("%s (%s): logits differ by %.4g on average, %.4g at most, in "
                 "standard deviations",
                 t->what, t->g.k->name, sum / (double)n / square,
                 largest / square);
}

static void check(const struct model_arch *arch, const char *name,
                  const char *file, const double *tolerance, int exact)
{
    struct answer first[GOLDEN_SEQS] = {{0}};
    struct golden t;
    const struct kernels *k;

    golden_open(&t, arch, name, file);
    for (int f = 0; (k = kernels_available(f)) != NULL; f++) {
        struct answer a[GOLDEN_SEQS];

        open_rig(&t, arch, name, file, k->name, exact);
        if (!exact)
            assert_int_equal(t.g.info.fast, 1);
        check_bits(&t, a);
        check_attention(&t, exact ? tolerance[0] : 0);
        if (!exact)
            measure(&t, a, tolerance[0], tolerance[1]);
        for (int i = 0; i < GOLDEN_SEQS; i++) {
            const struct expected *x = &t.seq[i];

            if (exact) {
                expect_close(&t, "logits", a[i].logits, x->logits, x->n * x->V,
                             tolerance[0]);
                expect_close(&t, "hidden", a[i].hidden, x->hidden,
                             x->n * x->width, tolerance[0]);
            }
            if (f > 1) /* 0 is portable C */
                expect_answer(&t, "another family", i, &first[i], &a[i]);
            if (f == 1)
                first[i] = a[i];
            else
                free_answer(&a[i]);
        }
        rig_close(&t.g);
    }
    for (int i = 0; i < GOLDEN_SEQS; i++)
        free_answer(&first[i]);
    golden_close(&t);
}

void golden_check(const struct model_arch *arch, const char *name,
                  const char *file, double tolerance)
{
    const double v[2] = {tolerance, 0};

    check(arch, name, file, v, 1);
}

void golden_check_fast(const struct model_arch *arch, const char *name,
                       const char *file, double mean, double most)
{
    const double v[2] = {mean, most};

    check(arch, name, file, v, 0);
}

/* --- refusals --- */

static char *file_text(const char *path)
{
    FILE *f = fopen(path, "rb");
    char *text = mem_zalloc(1 << 14);
    size_t n;

    assert_non_null(f);
    assert_non_null(text);
    n = fread(text, 1, (1 << 14) - 1, f);
    assert_true(n > 2);
    fclose(f);
    return text;
}

/* The end of the value that begins at `c`: its comma or closing brace. */
static const char *value_end(const char *c)
{
    int depth = 0;

    for (; *c && (depth || (*c != ',' && *c != '}')); c++)
        depth += (*c == '{' || *c == '[') - (*c == '}' || *c == ']');
    while (c[-1] == '\n' || c[-1] == ' ')
        c--;
    return c;
}

/* Changes a key of config.json's top level, which transformers writes with two
 * spaces in front of each. A key that goes becomes one that nobody reads. */
static void change(const char *text, const char *key, const char *value,
                   struct buf *out)
{
    char start[80];
    const char *at;

    snprintf(start, sizeof start, "\n  \"%s\": ", key);
    at = strstr(text, start);
    buf_init(out, 1 << 15);
    if (!at) {
        buf_addf(out, "{\"%s\": %s,%s", key, value, strchr(text, '{') + 1);
        return;
    }
    buf_add(out, text, (size_t)(at - text));
    buf_addf(out, "\"%s\": %s%s", value ? key : "x-gone", value ? value : "0",
             value_end(at + strlen(start)));
}

void golden_refused(const struct model_arch *arch, const char *name,
                    const char *key, const char *value, const char *part)
{
    struct err e = ERR_INIT;
    struct load_opts o = {.label = "test",
                          .options = &(struct engine_options){.exact = 1}};
    struct model_info info;
    struct checkpoint *c;
    struct buf b;
    char path[PATH_BYTES], dir[64], *text;
    void *self = NULL;

    memset(&info, 0, sizeof info);
    snprintf(path, sizeof path, "tests/golden/%s/%s/hf/config.json", arch->name,
             name);
    text = file_text(path);
    change(text, key, value, &b);
    snprintf(path, sizeof path, "tests/golden/%s/%s/hf", arch->name, name);
    assert_int_equal(kernels_pick("generic", &o.k, &e), 0);
    if (model_dir_config(path, &b, dir) || checkpoint_open(dir, "test", &c, &e))
        fail_msg("%s with %s: %s", name, key, e.msg);
    if (arch->load(&o, c, &info, &self, &e) == 0)
        fail_msg("%s with %s %s was loaded", name, key, value ? value : "-");
    assert_null(self);
    if (!strstr(e.msg, part))
        fail_msg("%s with %s: the message '%s' does not hold '%s'", name, key,
                 e.msg, part);
    checkpoint_close(c);
    model_dir_remove(dir);
    mem_free(text);
    buf_fini(&b);
}
