/* all-MiniLM-L6-v2 as its reference has it (../shared/models): ids, hidden
 * states, sentence embeddings. SEQD_MODELS names the folder that get.sh has
 * filled.
 *
 * SPDX-License-Identifier: MIT */
#include <limits.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "engine/base/buf.h"
#include "engine/base/json.h"
#include "engine/base/mem.h"
#include "models/transformer/archs.h"
#include "tests/support/arch_rig.h"
#include "tests/support/shared_file.h"
#include "tests/support/tokenizer_at.h"

/* The reference is rounded to 6 decimals and is 2e-7 from float64 itself. */
#define VALUE_TOLERANCE 2e-6
#define HIDDEN_TOLERANCE 1e-5
#define LEAST_COSINE 0.99999
#define WIDTH 384
#define LIMIT 256 /* tokens, [CLS] and [SEP] included */
#define STEP 8    /* texts of a batch */

static struct tokenizer *open_tokenizer(const char *path)
{
    struct tokenizer *t;
    struct err e = ERR_INIT;
    if (tokenizer_at(path, "m", &t, &e))
        fail_msg("%s", e.msg);
    return t;
}

/* The folder of MiniLM, or the test is skipped. */
static const char *minilm(void)
{
    static char dir[PATH_MAX];
    const char *models = getenv("SEQD_MODELS");
    if (!models) {
        print_message("skipped: SEQD_MODELS is not set\n");
        skip();
    }
    snprintf(dir, sizeof dir, "%s/all-minilm-l6-v2", models);
    return dir;
}

static char *read_shared(const char *name, size_t *n)
{
    char *s = shared_read(name, n);
    if (!s) {
        print_message("skipped: no shared data\n");
        skip();
    }
    return s;
}

struct text {
    int32_t ids[LIMIT];
    int n;
    const struct json *ref;
    float got[WIDTH];
};

static struct {
    struct json *j;
    struct text text[256];
    int n;
} r;

/* As /v1/embeddings cuts: the first 254 pieces and [SEP]. */
static void encode(const struct tokenizer *t, const struct json *ref,
                   struct text *x)
{
    struct token_list l = {0};
    struct err e = ERR_INIT;
    struct buf s;
    buf_init(&s, 1 << 20);
    assert_int_equal(json_text(json_get(ref, "text"), &s), 0);
    if (tokenizer_encode(t, s.p ? s.p : "", s.len,
                         TOK_ADD_SPECIAL | TOK_PARSE_SPECIAL, INT_MAX, &l, &e))
        fail_msg("%s", e.msg);
    assert_int_equal(l.n, (int)json_number(json_get(ref, "n_ids_untruncated")));
    x->n = l.n < LIMIT ? l.n : LIMIT;
    for (int i = 0; i < x->n; i++)
        x->ids[i] = l.v[i].id;
    x->ids[x->n - 1] = l.v[l.n - 1].id;
    x->ref = ref;
    token_list_fini(&l);
    buf_fini(&s);
}

static void check_ids(const struct text *x, int i)
{
    const struct json *id = json_child(json_get(x->ref, "ids"));
    int k = 0;
    for (; id && k < x->n; id = json_next(id), k++)
        if (x->ids[k] != (int32_t)json_number(id))
            fail_msg("text %d: token %d is %d", i, k, (int)x->ids[k]);
    assert_true(!id && k == x->n);
}

static void load_reference(void)
{
    struct json_limits lim = {.max_bytes = 1 << 24};
    struct err e = ERR_INIT;
    size_t n;
    struct tokenizer *t = open_tokenizer(minilm());
    char *s = read_shared("models/all-minilm-l6-v2/reference.json.gz", &n);
    if (json_parse_nul(s, n, &lim, &r.j, &e))
        fail_msg("%s", e.msg);
    free(s);
    const struct json *x = json_child(json_get(r.j, "texts"));
    for (r.n = 0; x; x = json_next(x), r.n++) {
        assert_true(r.n < 256);
        encode(t, x, &r.text[r.n]);
    }
    tokenizer_close(t);
}

static void step(struct rig *g, struct text *x, int n)
{
    struct rig_item it[STEP];
    struct rig_seq q[STEP];
    struct err e = ERR_INIT;
    memset(it, 0, sizeof it);
    for (int i = 0; i < n; i++) {
        assert_int_equal(rig_seq_open(g, &q[i]), 0);
        it[i] = (struct rig_item){
            .seq = &q[i],
            .ids = x[i].ids,
            .n = x[i].n,
            .n_want = 1,
            .want = {{.kind = OUT_POOLED, .dst = x[i].got, .ld = WIDTH}}};
    }
    if (rig_step(g, it, n, &e))
        fail_msg("%s", e.msg);
    for (int i = 0; i < n; i++) {
        assert_int_equal(it[i].status, 0);
        rig_seq_close(&q[i]);
    }
}

static void check_embedding(const struct text *x, int number)
{
    const struct json *v = json_child(json_get(x->ref, "embedding"));
    double dot = 0, a = 0, b = 0;
    for (int i = 0; i < WIDTH; i++, v = json_next(v)) {
        double want = json_number(v), got = (double)x->got[i];
        if (!(fabs(got - want) <= VALUE_TOLERANCE))
            fail_msg("text %d: value %d is %.9g, expected %.9g", number, i, got,
                     want);
        dot += want * got;
        a += want * want;
        b += got * got;
    }
    assert_true(dot / sqrt(a * b) > LEAST_COSINE);
}

static void test_minilm_embeddings_equal_the_reference(void **state)
{
    struct rig g;
    struct err e = ERR_INIT;
    (void)state;
    load_reference();
    assert_int_equal(r.n, 200);
    if (rig_open(&g, &bert_arch, minilm(), "auto", 2, 0, &e))
        fail_msg("%s", e.msg);
    assert_int_equal(g.info.state.port[0].context_length, LIMIT);
    assert_int_equal(g.info.cols[OUT_HIDDEN], WIDTH);
    for (int i = 0; i < r.n; i += STEP)
        step(&g, &r.text[i], r.n - i < STEP ? r.n - i : STEP);
    for (int i = 0; i < r.n; i++) {
        check_ids(&r.text[i], i);
        check_embedding(&r.text[i], i);
    }
    rig_close(&g);
    json_free(r.j);
}

static void test_minilm_hidden_states_equal_the_reference(void **state)
{
    static const int32_t ids[] = {101, 7592, 2088, 102}; /* "hello world" */
    float got[4][WIDTH];
    struct rig_seq q;
    struct rig_item it = {
        .seq = &q,
        .ids = ids,
        .n = 4,
        .n_want = 1,
        .want = {{.kind = OUT_HIDDEN, .n = 4, .dst = got[0], .ld = WIDTH}}};
    const struct kernels *k;
    (void)state;
    load_reference();
    const struct json *h = json_get(r.j, "last_hidden_state");
    for (int f = 0; (k = kernels_available(f)) != NULL; f++) {
        struct rig g;
        struct err e = ERR_INIT;
        if (rig_open(&g, &bert_arch, minilm(), k->name, 1, 0, &e) ||
            rig_seq_open(&g, &q) || rig_step(&g, &it, 1, &e))
            fail_msg("%s", e.msg);
        assert_int_equal(it.status, 0);
        const struct json *row = json_child(json_get(h, "rows"));
        for (int i = 0; i < 4; i++, row = json_next(row)) {
            const struct json *v = json_child(row);
            assert_int_equal(json_size(row), WIDTH);
            for (int c = 0; c < WIDTH; c++, v = json_next(v))
                if (!(fabs((double)got[i][c] - json_number(v)) <=
                      HIDDEN_TOLERANCE))
                    fail_msg("%s: row %d, value %d is %.9g, expected %.9g",
                             k->name, i, c, (double)got[i][c], json_number(v));
        }
        rig_seq_close(&q);
        rig_close(&g);
    }
    json_free(r.j);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_minilm_embeddings_equal_the_reference),
        cmocka_unit_test(test_minilm_hidden_states_equal_the_reference),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
