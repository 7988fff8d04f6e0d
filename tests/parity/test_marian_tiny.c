/* Two published translators in Marian NMT's own form against what a numpy
 * forward pass gave (../shared/models/README.md, "Marian tiny"): ids of the
 * source, greedy ids, the scores of the first step, and the text.
 *
 * Skipped without the files or the reference values.
 *
 * SPDX-License-Identifier: MIT */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "engine/base/buf.h"
#include "engine/base/json.h"
#include "engine/base/mem.h"
#include "models/transformer/archs.h"
#include "tests/support/arch_rig.h"
#include "tests/support/model_files.h"
#include "tests/support/shared_file.h"
#include "tests/support/tokenizer_at.h"

#define LOGIT 1e-3 /* README.md, "Tolerances" */
#define LOGPROB 2e-3
#define MAX_TOKENS 512

struct tiny {
    struct rig g;
    struct tokenizer *t;
    struct json *root;
    float *row; /* [V] */
    int V;
};

static void open_tiny(struct tiny *m, const char *name)
{
    struct load_opts o = {.options = &(struct engine_options){.exact = 1}};
    struct err e = ERR_INIT;
    char file[128], path[600];
    size_t n;
    snprintf(file, sizeof file, "models/%s/reference.json.gz", name);
    char *text = shared_read(file, &n);
    if (!text) {
        print_message("skipped: no shared data\n");
        skip();
    }
    if (!model_file(name, path, sizeof path)) {
        free(text);
        skip();
    }
    int best = 0; /* family of this processor */
    while (kernels_available(best + 1))
        best++;
    if (json_parse(text, n, NULL, &m->root, &e) ||
        tokenizer_at(path, name, &m->t, &e) ||
        rig_open_with(&m->g, &marian_nmt_arch, path,
                      kernels_available(best)->name, 2, &o, &e))
        fail_msg("%s", e.msg);
    free(text);
    m->V = m->g.info.cols[OUT_LOGITS];
    m->row = mem_floats((size_t)m->V);
    assert_int_equal(tokenizer_size(m->t), m->V);
    assert_int_equal(m->g.info.target.start, m->V);
}

static void close_tiny(struct tiny *m)
{
    mem_aligned_free(m->row);
    tokenizer_close(m->t);
    rig_close(&m->g);
    json_free(m->root);
}

static void step(struct tiny *m, struct rig_item *it)
{
    struct err e = ERR_INIT;
    if (rig_step(&m->g, it, 1, &e))
        fail_msg("%s", e.msg);
    assert_int_equal(it->status, 0);
}

static int32_t best_of(const struct tiny *m, double *logprob)
{
    int32_t id = 0;
    double sum = 0;
    for (int v = 1; v < m->V; v++)
        id = m->row[v] > m->row[id] ? v : id;
    for (int v = 0; v < m->V; v++)
        sum += exp((double)m->row[v] - (double)m->row[id]);
    *logprob = -log(sum);
    return id;
}

static void check_first(const struct tiny *m, const struct json *top)
{
    for (const struct json *j = json_child(top); j; j = json_next(j)) {
        int64_t id = 0;
        assert_int_equal(json_int(json_child(j), &id), 0);
        double want = json_number(json_next(json_child(j)));
        if (!(fabs((double)m->row[id] - want) < LOGIT))
            fail_msg("logit %d is %g, expected %g", (int)id, (double)m->row[id],
                     want);
    }
}

static void check_source(const struct tiny *m, const struct json *r,
                         struct token_list *l)
{
    const char *text = json_string(json_get(r, "text"));
    const struct json *id = json_child(json_get(r, "source_ids"));
    struct err e = ERR_INIT;
    l->n = 0;
    if (tokenizer_encode(m->t, text, strlen(text), TOK_ADD_SPECIAL, MAX_TOKENS,
                         l, &e))
        fail_msg("%s", e.msg);
    for (int i = 0; i < l->n; i++, id = json_next(id))
        if (!id || l->v[i].id != (int32_t)json_number(id))
            fail_msg("'%s': token %d is %d", text, i, l->v[i].id);
    assert_null(id);
}

/* One sentence, greedy, to its end. */
static void check_entry(struct tiny *m, const struct json *r)
{
    const char *want = json_string(json_get(r, "translation"));
    const struct json *id = json_child(json_get(r, "ids"));
    const struct json *p = json_child(json_get(r, "logprobs"));
    struct token_list l = {0};
    struct rig_seq seq;
    struct detok d;
    struct buf out;
    int32_t ids[MAX_TOKENS], last = m->V;
    int steps = 0;
    check_source(m, r, &l);
    for (int i = 0; i < l.n; i++)
        ids[i] = l.v[i].id;
    buf_init(&out, 1 << 16);
    buf_add_str(&out, "");
    detok_init(&d);
    assert_int_equal(rig_seq_open(&m->g, &seq), 0);
    struct rig_item it = {
        .seq = &seq, .port = PORT_SOURCE, .ids = ids, .n = l.n};
    step(m, &it);
    for (; id; id = json_next(id), p = json_next(p)) {
        double logprob;
        it = (struct rig_item){.seq = &seq, .ids = &last, .n = 1, .n_want = 1};
        it.want[0] = (struct want){OUT_LOGITS, 0, 1, m->row, (size_t)m->V};
        step(m, &it);
        if (steps++ == 0)
            check_first(m, json_get(r, "first_logits_top"));
        last = best_of(m, &logprob);
        if (last != (int32_t)json_number(id))
            fail_msg("'%s': step %d gives %d, expected %d",
                     json_string(json_get(r, "text")), steps, last,
                     (int)json_number(id));
        assert_true(fabs(logprob - json_number(p)) < LOGPROB);
        detok_next(m->t, &d, last, &out);
    }
    assert_true(tokenizer_is_end(m->t, last));
    detok_finish(m->t, &d, &out);
    assert_string_equal(out.p, want);
    rig_seq_close(&seq);
    buf_fini(&out);
    token_list_fini(&l);
}

static void check(const char *name, int sentences)
{
    struct tiny m = {0};
    int n = 0;
    open_tiny(&m, name);
    const struct json *r = json_child(json_get(m.root, "entries"));
    for (; r; r = json_next(r), n++)
        check_entry(&m, r);
    assert_int_equal(n, sentences);
    close_tiny(&m);
}

static void test_marian_tiny_english_to_portuguese(void **state)
{
    (void)state;
    check("marian-tiny-enpt", 24);
}

static void test_marian_tiny_portuguese_to_english(void **state)
{
    (void)state;
    check("marian-tiny-pten", 18);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_marian_tiny_english_to_portuguese),
        cmocka_unit_test(test_marian_tiny_portuguese_to_english),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
