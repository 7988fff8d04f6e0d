/* SmolLM2-135M-Instruct (GGUF, Q4_1) against the reference values that a numpy
 * forward pass and llama.cpp gave (../shared/models/README.md, which also
 * derives the tolerances): logits, the last hidden state, 128 greedy tokens and
 * perplexity, with fp32 activations and with 8-bit ones; the bits are the same
 * for one and two threads and for the families with FMA.
 *
 * Skipped without the file. SEQD_MODELS_FULL scores all 40 windows of the
 * perplexity, not the first two.
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

#include "engine/base/mem.h"
#include "models/transformer/archs.h"
#include "tests/support/arch_rig.h"
#include "tests/support/golden.h"
#include "tests/support/tokenizer_at.h"
#include "tests/support/model_files.h"

#define GGUF "smollm2-135m-instruct/SmolLM2-135M-Instruct.Q4_1.gguf"
#define REF "smollm2-135m-instruct/"

/* fp32 activations: README.md, "Tolerances that follow". */
#define EXACT_LOGIT 1e-3
#define EXACT_MARGIN 1e-3
#define EXACT_PERPLEXITY 1e-4
/* 8-bit activations, the same place. */
#define FAST_MARGIN 0.5
#define FAST_MOST 0.7
#define FAST_MEAN 0.25 /* over all prompts */
#define FAST_KL 0.02
#define FAST_PERPLEXITY 0.005

#define MAX_PROMPT 256
#define MAX_PROMPTS 16
#define N_GREEDY 128
#define WINDOW 512
#define CHUNK 128

static char path[600];

static int open_model(struct rig *g, const char *kernels, int threads,
                      int exact)
{
    struct load_opts o = {.options = &(struct engine_options){.exact = exact}};
    struct err e = ERR_INIT;
    if (!model_file(GGUF, path, sizeof path))
        return 0;
    if (rig_open_with(g, &llama_arch, path, kernels, threads, &o, &e))
        fail_msg("%s", e.msg);
    assert_int_equal(g->info.fast, !exact);
    return 1;
}

static void step(struct rig *g, struct rig_item *it, int n)
{
    struct err e = ERR_INIT;
    if (rig_step(g, it, n, &e))
        fail_msg("%s", e.msg);
    for (int i = 0; i < n; i++)
        assert_int_equal(it[i].status, 0);
}

/* All ids of a prompt, its last row of `kind` into dst. */
static void run_prompt(struct rig *g, struct rig_seq *seq, const int32_t *ids,
                       int n, enum out kind, float *dst)
{
    struct rig_item it = {.seq = seq, .ids = ids, .n = n, .n_want = 1};
    it.want[0] =
        (struct want){kind, n - 1, 1, dst, (size_t)g->info.cols[OUT_LOGITS]};
    step(g, &it, 1);
}

static double log_sum_exp(const float *x, int n)
{
    double max = -INFINITY, sum = 0;
    for (int i = 0; i < n; i++)
        max = (double)x[i] > max ? (double)x[i] : max;
    for (int i = 0; i < n; i++)
        sum += exp((double)x[i] - max);
    return max + log(sum);
}

static int arg_max(const float *x, int n)
{
    int best = 0;
    for (int i = 1; i < n; i++)
        best = x[i] > x[best] ? i : best;
    return best;
}

/* --- logits --- */

static void expect_exact(const char *name, const struct json *p,
                         const struct json *fixed_ids, const float *y, int V)
{
    const struct json *id = json_child(fixed_ids);
    double lse = log_sum_exp(y, V);
    if (!(fabs(lse - json_number(json_get(p, "logsumexp"))) <= EXACT_LOGIT))
        fail_msg("%s: log-sum-exp is %.7g", name, lse);
    for (const struct json *x = json_child(json_get(p, "top64")); x;
         x = json_next(x)) {
        int k = (int)json_number(json_child(x));
        double want = json_number(json_next(json_child(x)));
        if (!(fabs((double)y[k] - want) <= EXACT_LOGIT))
            fail_msg("%s: logit of %d is %.7g, expected %.7g", name, k,
                     (double)y[k], want);
    }
    for (const struct json *x = json_child(json_get(p, "fixed64")); x;
         x = json_next(x), id = json_next(id)) {
        int k = (int)json_number(id);
        if (!(fabs((double)y[k] - json_number(x)) <= EXACT_LOGIT))
            fail_msg("%s: logit of %d is %.7g, expected %.7g", name, k,
                     (double)y[k], json_number(x));
    }
}

struct spread {
    double sum; /* of the differences */
    int n;
};

/* Top 64 by the reference; all the others count as one in the divergence. */
static void expect_fast(const char *name, const struct json *p, const float *y,
                        int V, struct spread *all)
{
    const struct json *top = json_child(json_get(p, "top64"));
    double ref_lse = json_number(json_get(p, "logsumexp"));
    double lse = log_sum_exp(y, V), most = 0, kl = 0;
    double margin, p_left = 1, q_left = 1;
    struct spread own = {0};
    int best = (int)json_number(json_child(top));
    margin = json_number(json_next(json_child(top))) -
             json_number(json_next(json_child(json_next(top))));
    if (margin > FAST_MARGIN)
        assert_int_equal(arg_max(y, V), best);
    for (const struct json *x = top; x; x = json_next(x), own.n++) {
        int k = (int)json_number(json_child(x));
        double lp = json_number(json_next(json_child(x))) - ref_lse;
        double lq = (double)y[k] - lse, d = fabs(lp - lq);
        most = d > most ? d : most;
        own.sum += d;
        kl += exp(lp) * (lp - lq);
        p_left -= exp(lp);
        q_left -= exp(lq);
    }
    if (p_left > 0 && q_left > 0)
        kl += p_left * log(p_left / q_left);
    print_message("%s: top 64 differ by %.3f on average, %.3f at most, "
                  "divergence %.5f\n",
                  name, own.sum / own.n, most, kl);
    assert_true(most <= FAST_MOST);
    assert_true(kl < FAST_KL);
    all->sum += own.sum;
    all->n += own.n;
}

/* max_n: longer prompts are left out (portable C is slow). */
static void check_logits(const char *kernels, int exact, int max_n)
{
    struct rig g;
    struct json *ref;
    struct spread all = {0};
    float *y;
    int checked = 0;
    if (!open_model(&g, kernels, 1, exact))
        skip();
    ref = model_reference(REF "logits.json");
    y = mem_floats((size_t)g.info.cols[OUT_LOGITS]);
    assert_non_null(y);
    for (const struct json *p = json_child(json_get(ref, "prompts")); p;
         p = json_next(p)) {
        int32_t ids[MAX_PROMPT];
        int n = golden_ids(json_get(p, "ids"), ids, MAX_PROMPT);
        const char *name = json_string(json_get(p, "name"));
        struct rig_seq seq;
        if (n > max_n)
            continue;
        assert_int_equal(rig_seq_open(&g, &seq), 0);
        run_prompt(&g, &seq, ids, n, OUT_LOGITS, y);
        if (exact)
            expect_exact(name, p, json_get(ref, "fixed_ids"), y,
                         g.info.cols[OUT_LOGITS]);
        else
            expect_fast(name, p, y, g.info.cols[OUT_LOGITS], &all);
        rig_seq_close(&seq);
        checked++;
    }
    assert_true(checked > 0);
    if (all.n)
        assert_true(all.sum / all.n <= FAST_MEAN);
    mem_aligned_free(y);
    json_free(ref);
    rig_close(&g);
}

static void test_smollm2_logits_with_fp32_activations(void **state)
{
    (void)state;
    check_logits("auto", 1, MAX_PROMPT);
}

static void test_smollm2_logits_with_8_bit_activations(void **state)
{
    (void)state;
    check_logits("auto", 0, MAX_PROMPT);
}

static void test_smollm2_logits_in_portable_c(void **state)
{
    (void)state;
    check_logits("generic", 1, 5);
    check_logits("generic", 0, 5);
}

static void test_smollm2_last_hidden_state(void **state)
{
    struct rig g;
    struct json *ref;
    struct rig_seq seq;
    int32_t ids[MAX_PROMPT];
    float y[1024];
    const struct json *s = NULL;
    double square = 0;
    int n, i = 0;
    (void)state;
    if (!open_model(&g, "auto", 1, 1))
        skip();
    ref = model_reference(REF "trace.json");
    n = golden_ids(json_get(ref, "ids"), ids, MAX_PROMPT);
    assert_int_equal(rig_seq_open(&g, &seq), 0);
    run_prompt(&g, &seq, ids, n, OUT_HIDDEN, y);
    for (const struct json *x = json_child(json_get(ref, "steps")); x;
         x = json_next(x))
        s = x; /* the last step: after the last norm */
    assert_string_equal(json_string(json_get(s, "after")), "output_norm");
    for (int k = 0; k < g.info.cols[OUT_HIDDEN]; k++)
        square += (double)y[k] * (double)y[k];
    assert_true(fabs(sqrt(square) - json_number(json_get(s, "l2"))) <=
                EXACT_LOGIT);
    for (const struct json *x = json_child(json_get(s, "first8")); x;
         x = json_next(x), i++)
        assert_true(fabs((double)y[i] - json_number(x)) <= EXACT_LOGIT);
    assert_int_equal(i, 8);
    rig_seq_close(&seq);
    json_free(ref);
    rig_close(&g);
}

/* --- greedy --- */

struct path {
    const char *name;
    int32_t prompt[MAX_PROMPT], ids[N_GREEDY];
    double margin[N_GREEDY];
    int n, left; /* left: the path was left where two tokens were near */
    struct rig_seq seq;
};

static int read_paths(const struct json *ref, struct path *p)
{
    int n = 0;
    for (const struct json *x = json_child(json_get(ref, "prompts")); x;
         x = json_next(x), n++) {
        int i = 0;
        assert_true(n < MAX_PROMPTS);
        p[n].name = json_string(json_get(x, "name"));
        p[n].n = golden_ids(json_get(x, "prompt_ids"), p[n].prompt, MAX_PROMPT);
        assert_int_equal(golden_ids(json_get(x, "ids"), p[n].ids, N_GREEDY),
                         N_GREEDY);
        for (const struct json *m = json_child(json_get(x, "margins")); m;
             m = json_next(m))
            p[n].margin[i++] = json_number(m);
        assert_int_equal(i, N_GREEDY);
    }
    return n;
}

/* The reference's tokens are what all sequences continue with, so each step is
 * compared on its own. near: margins up to this may go the other way. */
static void check_greedy(int exact, double near)
{
    static struct path path_of[MAX_PROMPTS];
    struct rig g;
    struct json *ref;
    float *y;
    int n, V, others = 0;
    if (!open_model(&g, "auto", 2, exact))
        skip();
    ref = model_reference(REF "greedy.json");
    V = g.info.cols[OUT_LOGITS];
    n = read_paths(ref, path_of);
    assert_int_equal(n, 9);
    y = mem_floats((size_t)n * (size_t)V);
    assert_non_null(y);
    for (int i = 0; i < n; i++)
        assert_int_equal(rig_seq_open(&g, &path_of[i].seq), 0);
    for (int s = 0; s < N_GREEDY; s++) {
        struct rig_item it[MAX_PROMPTS];
        memset(it, 0, sizeof it);
        for (int i = 0; i < n; i++) {
            struct path *p = &path_of[i];
            it[i].seq = &p->seq;
            it[i].ids = s ? &p->ids[s - 1] : p->prompt;
            it[i].n = s ? 1 : p->n;
            it[i].n_want = 1;
            it[i].want[0] = (struct want){OUT_LOGITS, it[i].n - 1, 1,
                                          y + (size_t)i * (size_t)V, (size_t)V};
        }
        step(&g, it, n);
        for (int i = 0; i < n; i++) {
            int best = arg_max(y + (size_t)i * (size_t)V, V);
            if (best == path_of[i].ids[s])
                continue;
            others++;
            if (path_of[i].margin[s] > near)
                fail_msg("%s: step %d gives %d, expected %d with a margin of "
                         "%g",
                         path_of[i].name, s, best, path_of[i].ids[s],
                         path_of[i].margin[s]);
        }
    }
    print_message("%d of %d steps take another token, all at margins up to "
                  "%g\n",
                  others, n * N_GREEDY, near);
    for (int i = 0; i < n; i++)
        rig_seq_close(&path_of[i].seq);
    mem_aligned_free(y);
    json_free(ref);
    rig_close(&g);
}

static void test_smollm2_greedy_with_fp32_activations(void **state)
{
    (void)state;
    check_greedy(1, EXACT_MARGIN);
}

static void test_smollm2_greedy_with_8_bit_activations(void **state)
{
    (void)state;
    check_greedy(0, FAST_MARGIN);
}

/* By the reference " Spanish" comes first, " English" second, " French" third
 * (logits 10.34, 9.92, 9.54): the three are what it may go on with. */
static void test_smollm2_fluent_in_a_language(void **state)
{
    static const char text[] = "France is where I grew up, but I now live in "
                               "Boston. I speak fluent";
    static const char *const names[] = {" Spanish", " English", " French"};
    struct token_list list = {0};
    struct tokenizer *tok;
    struct err e = ERR_INIT;
    int32_t ids[MAX_PROMPT];
    (void)state;
    for (int exact = 0; exact < 2; exact++) {
        struct rig g;
        struct rig_seq seq;
        float *y;
        if (!open_model(&g, "auto", 1, exact))
            skip();
        if (tokenizer_at(path, "smollm2", &tok, &e) ||
            tokenizer_encode(tok, text, strlen(text), TOK_ADD_SPECIAL,
                             MAX_PROMPT, &list, &e))
            fail_msg("%s", e.msg);
        assert_int_equal(list.n, 17); /* no begin token is put in front */
        for (int i = 0; i < list.n; i++)
            ids[i] = list.v[i].id;
        y = mem_floats((size_t)g.info.cols[OUT_LOGITS]);
        assert_non_null(y);
        assert_int_equal(rig_seq_open(&g, &seq), 0);
        run_prompt(&g, &seq, ids, list.n, OUT_LOGITS, y);
        for (int i = 0; i < 3; i++) {
            int id = arg_max(y, g.info.cols[OUT_LOGITS]);
            assert_string_equal(tokenizer_text(tok, id) + 2, names[i] + 1);
            y[id] = -INFINITY;
        }
        rig_seq_close(&seq);
        token_list_fini(&list);
        list = (struct token_list){0};
        tokenizer_close(tok);
        mem_aligned_free(y);
        rig_close(&g);
    }
}

/* --- bits --- */

static void last_row(const char *kernels, int threads, int exact, float *y)
{
    struct rig g;
    struct json *ref;
    struct rig_seq seq;
    int32_t ids[MAX_PROMPT];
    const struct json *p;
    int n;
    assert_true(open_model(&g, kernels, threads, exact));
    ref = model_reference(REF "logits.json");
    p = json_child(json_get(ref, "prompts"));
    for (int i = 0; i < 6; i++) /* "story", 69 tokens */
        p = json_next(p);
    n = golden_ids(json_get(p, "ids"), ids, MAX_PROMPT);
    assert_int_equal(rig_seq_open(&g, &seq), 0);
    run_prompt(&g, &seq, ids, n, OUT_LOGITS, y);
    rig_seq_close(&seq);
    json_free(ref);
    rig_close(&g);
}

static void test_smollm2_same_bits_with_two_threads_and_any_fma(void **state)
{
    static const char *const names[] = {"auto", "avx2", "avx512"};
    const struct kernels *k;
    struct err e = ERR_INIT;
    size_t V = 49152;
    float *a = mem_floats(V), *b = mem_floats(V);
    (void)state;
    assert_non_null(a);
    assert_non_null(b);
    if (!model_file(GGUF, path, sizeof path)) {
        mem_aligned_free(a);
        mem_aligned_free(b);
        skip();
    }
    for (int exact = 0; exact < 2; exact++) {
        last_row("auto", 1, exact, a);
        for (int i = 0; i < 3; i++) {
            err_clear(&e);
            if (kernels_pick(names[i], &k, &e))
                continue;
            if (strcmp(k->name, "generic") == 0)
                continue;
            last_row(names[i], i ? 1 : 2, exact, b);
            assert_memory_equal(a, b, V * sizeof *a);
        }
    }
    mem_aligned_free(a);
    mem_aligned_free(b);
}

/* --- perplexity --- */

#define WIKI "data/wikitext-2/wiki.test.tokens.txt"

static char *read_text(size_t *n)
{
    const char *shared = getenv("SEQD_SHARED");
    char name[600], *text = mem_alloc(1 << 22);
    FILE *f;
    snprintf(name, sizeof name, "%s/" WIKI, shared ? shared : "../shared");
    f = fopen(name, "rb");
    if (!f || !text)
        fail_msg("cannot read %s", WIKI);
    *n = fread(text, 1, 1 << 22, f);
    fclose(f);
    return text;
}

/* Negative log-likelihood of a window from its second token on. */
static double window_nats(struct rig *g, const int32_t *ids, int n, float *y)
{
    size_t V = (size_t)g->info.cols[OUT_LOGITS];
    struct rig_seq seq;
    double nats = 0;
    assert_int_equal(rig_seq_open(g, &seq), 0);
    for (int at = 0; at < n; at += CHUNK) {
        int m = n - at < CHUNK ? n - at : CHUNK;
        struct rig_item it = {.seq = &seq, .ids = ids + at, .n = m};
        it.n_want = 1;
        it.want[0] = (struct want){OUT_LOGITS, 0, m, y, V};
        step(g, &it, 1);
        for (int i = 0; i < m && at + i + 1 < n; i++) {
            const float *row = y + (size_t)i * V;
            nats += log_sum_exp(row, (int)V) - (double)row[ids[at + i + 1]];
        }
    }
    rig_seq_close(&seq);
    return nats;
}

static void check_perplexity(int exact, double tolerance)
{
    static int32_t ids[20000];
    struct token_list list = {0};
    struct tokenizer *tok;
    struct err e = ERR_INIT;
    struct json *ref;
    struct rig g;
    double got = 0, want = 0;
    size_t n_text;
    char *text;
    float *y;
    int windows = model_full() ? 40 : 2, i = 0, scored = 0;
    if (!open_model(&g, "auto", 2, exact))
        skip();
    ref = model_reference(REF "perplexity.json");
    text = read_text(&n_text);
    if (tokenizer_at(path, "smollm2", &tok, &e))
        fail_msg("%s", e.msg);
    if (tokenizer_encode(tok, text, n_text, TOK_ADD_SPECIAL, 1 << 20, &list,
                         &e))
        fail_msg("%s", e.msg);
    assert_int_equal(list.n,
                     (int)json_number(json_get(ref, "total_ids_of_file")));
    for (int k = 0; k < 20000; k++)
        ids[k] = list.v[k].id;
    y = mem_floats((size_t)CHUNK * (size_t)g.info.cols[OUT_LOGITS]);
    assert_non_null(y);
    for (const struct json *x = json_child(json_get(ref, "per_window_nll_sum"));
         x && i < windows; x = json_next(x), i++) {
        int n = 20000 - i * WINDOW < WINDOW ? 20000 - i * WINDOW : WINDOW;
        got += window_nats(&g, ids + i * WINDOW, n, y);
        want += json_number(x);
        scored += n - 1;
    }
    print_message("perplexity over %d windows: %.5f, expected %.5f\n", i,
                  exp(got / scored), exp(want / scored));
    if (!(fabs(exp((got - want) / scored) - 1) <= tolerance))
        fail_msg("perplexity %.6f, expected %.6f", exp(got / scored),
                 exp(want / scored));
    mem_aligned_free(y);
    mem_free(text);
    token_list_fini(&list);
    tokenizer_close(tok);
    json_free(ref);
    rig_close(&g);
}

static void test_smollm2_perplexity_with_fp32_activations(void **state)
{
    (void)state;
    check_perplexity(1, EXACT_PERPLEXITY);
}

static void test_smollm2_perplexity_with_8_bit_activations(void **state)
{
    (void)state;
    check_perplexity(0, FAST_PERPLEXITY);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_smollm2_logits_with_fp32_activations),
        cmocka_unit_test(test_smollm2_logits_with_8_bit_activations),
        cmocka_unit_test(test_smollm2_logits_in_portable_c),
        cmocka_unit_test(test_smollm2_last_hidden_state),
        cmocka_unit_test(test_smollm2_greedy_with_fp32_activations),
        cmocka_unit_test(test_smollm2_greedy_with_8_bit_activations),
        cmocka_unit_test(test_smollm2_fluent_in_a_language),
        cmocka_unit_test(test_smollm2_same_bits_with_two_threads_and_any_fma),
        cmocka_unit_test(test_smollm2_perplexity_with_fp32_activations),
        cmocka_unit_test(test_smollm2_perplexity_with_8_bit_activations),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
