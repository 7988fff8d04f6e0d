/* The lecture's sentences, on the bundled checkpoints: order matters ("The food
 * was good, not bad at all" against "The food was bad, not good at all"), the
 * next word of "This morning I took my cat for a", and a state carried over
 * two calls equals one call with the whole text. The sentences were fixed in
 * tests/golden/lecture/ before any model was trained.
 *
 * SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "engine/run/engine.h"
#include "models/registry.h"
#include "tests/support/arch_rig.h"
#include "tests/support/job_watch.h"
#include "tests/support/tokenizer_at.h"

#define CHECKPOINTS "models/checkpoints/"
#define PAIRS "tests/golden/lecture/pairs.txt"
#define NEXT "tests/golden/lecture/next.txt"
#define N_PAIRS 20
#define MIN_RIGHT 18 /* of the pairs, both halves */
#define N_NEXT 10
#define MAX_LINE 512
#define SPACE "\xC4\xA0" /* in front of a sub-word that begins a word */

struct served {
    struct engine *g;
    struct model *m;
    struct watch w;
};

static void serve(struct served *s, const char *name)
{
    struct err e = ERR_INIT;
    struct engine_options o = {.n_threads = 1};
    char dir[128];
    watch_init(&s->w);
    o.flush = watch_flush;
    o.ctx = &s->w;
    snprintf(dir, sizeof dir, CHECKPOINTS "%s", name);
    if (engine_open(&o, registry_archs, &s->g, &e) ||
        engine_load(s->g, name, dir, &e) ||
        engine_model(s->g, name, NULL, &s->m, &e))
        fail_msg("%s: %s", name, e.msg);
}

static void serve_end(struct served *s)
{
    model_release(s->m);
    engine_close(s->g);
    watch_fini(&s->w);
}

/* The ids of a text as a request would have them, begin token included. */
static int32_t *encode(const struct tokenizer *t, const char *text, int *n)
{
    struct token_list l = {0};
    struct err e = ERR_INIT;
    unsigned flags = tokenizer_add_bos(t) ? TOK_ADD_SPECIAL : 0;
    int32_t *ids;
    assert_int_equal(
        tokenizer_encode(t, text, strlen(text), flags, 1 << 20, &l, &e), 0);
    ids = calloc((size_t)l.n + 1, sizeof *ids);
    assert_non_null(ids);
    for (int i = 0; i < l.n; i++)
        ids[i] = l.v[i].id;
    *n = l.n;
    token_list_fini(&l);
    return ids;
}

/* run_one: one job to its end; the result lives until watch_release. */
static struct flat_result run_one(struct served *s, const struct task *task,
                                  const char *text, struct watched *j)
{
    struct err e = ERR_INIT;
    struct flat_spec spec = {
        .model = s->m, .task = task, .top_k = N_NEXT, .temperature = 1.0f};
    int32_t *ids = encode(model_tokenizer(s->m), text, &spec.n_tokens);
    spec.tokens = ids;
    s->w.n_final = 0;
    if (watch_submit(&s->w, s->g, &spec, 1, j, &e))
        fail_msg("%s: %s", text, e.msg);
    assert_int_equal(watch_wait(&s->w, 1), 0);
    free(ids);
    assert_int_equal(j->final, JOB_DONE);
    return flat_result(j->job);
}

static int is_label(struct served *s, const char *text, const char *label)
{
    struct watched j = {0};
    struct flat_result r = run_one(s, &task_classify, text, &j);
    int right = strcmp(model_get_info(s->m)->labels[r.best], label) == 0;
    print_message("%s %-8s %.3f  %s\n", right ? "  " : "! ",
                  model_get_info(s->m)->labels[r.best],
                  (double)r.scores[r.best], text);
    watch_release(&j, 1);
    return right;
}

static void test_lecture_order_decides_the_sentiment(void **state)
{
    struct served s = {0};
    char line[MAX_LINE];
    int n = 0, right = 0, first = 0;
    FILE *f = fopen(PAIRS, "r");
    (void)state;
    assert_non_null(f);
    serve(&s, "sentiment-lstm");
    while (fgets(line, sizeof line, f)) {
        char *tab = strchr(line, '\t');
        int both;
        if (line[0] == '#' || !tab)
            continue;
        line[strcspn(line, "\n")] = '\0';
        *tab = '\0';
        both = is_label(&s, line, "positive");
        both &= is_label(&s, tab + 1, "negative");
        first = n++ ? first : both;
        right += both;
    }
    fclose(f);
    serve_end(&s);
    print_message("pairs with both halves right: %d of %d\n", right, n);
    assert_int_equal(n, N_PAIRS);
    assert_true(first); /* the lecture's own */
    assert_true(right >= MIN_RIGHT);
}

/* The value after the first tab of the line that starts with key. */
static void read_field(const char *key, char *out, size_t size)
{
    char line[MAX_LINE];
    size_t n = strlen(key);
    FILE *f = fopen(NEXT, "r");
    assert_non_null(f);
    out[0] = '\0';
    while (fgets(line, sizeof line, f)) {
        line[strcspn(line, "\n")] = '\0';
        if (strncmp(line, key, n) == 0 && line[n] == '\t')
            snprintf(out, size, "%s", line + n + 1);
    }
    fclose(f);
    assert_true(out[0]);
}

static int has_word(const char *list, const char *word)
{
    size_t n = strlen(word);
    for (const char *p = list; (p = strstr(p, word)); p += n)
        if ((p == list || p[-1] == ' ') && (p[n] == ' ' || p[n] == '\0'))
            return 1;
    return 0;
}

static void test_lecture_a_noun_follows(void **state)
{
    struct served s = {0};
    struct watched j = {0};
    char text[MAX_LINE], nouns[MAX_LINE];
    struct flat_result r;
    int found = 0;
    (void)state;
    read_field("text", text, sizeof text);
    read_field("nouns", nouns, sizeof nouns);
    serve(&s, "next-word-lstm");
    r = run_one(&s, &task_next, text, &j);
    assert_int_equal(r.n_predictions, N_NEXT);
    for (int i = 0; i < r.n_predictions; i++) {
        const struct prediction *p = &r.predictions[i];
        const char *word = tokenizer_text(model_tokenizer(s.m), p->id);
        word += strncmp(word, SPACE, strlen(SPACE)) == 0 ? strlen(SPACE) : 0;
        print_message("%s %.4f\n", word, (double)p->prob);
        found |= has_word(nouns, word);
    }
    watch_release(&j, 1);
    serve_end(&s);
    assert_true(found);
}

/* Logits after ids [n], in two calls of n0 and n - n0 tokens (n0 0: one). */
static void logits_after(struct rig *g, const int32_t *ids, int n0, int n,
                         float *out)
{
    struct rig_seq seq;
    struct err e = ERR_INIT;
    assert_int_equal(rig_seq_open(g, &seq), 0);
    if (n0) {
        struct rig_item a = {.seq = &seq, .ids = ids, .n = n0};
        assert_int_equal(rig_step(g, &a, 1, &e), 0);
        assert_int_equal(a.status, 0);
    }
    {
        struct rig_item b = {.seq = &seq, .ids = ids + n0, .n = n - n0};
        b.n_want = 1;
        b.want[0] = (struct want){.kind = OUT_LOGITS,
                                  .from = n - n0 - 1,
                                  .n = 1,
                                  .dst = out,
                                  .ld = (size_t)g->info.cols[OUT_LOGITS]};
        assert_int_equal(rig_step(g, &b, 1, &e), 0);
        assert_int_equal(b.status, 0);
    }
    rig_seq_close(&seq);
}

/* prediction, hidden_state = rnn(word, hidden_state): the state carries all
 * that the past has to say. */
static void check_carried_state(const char *name)
{
    struct rig g;
    struct err e = ERR_INIT;
    struct tokenizer *t = NULL;
    char dir[128];
    int32_t *ids;
    int n;
    float *whole, *parts;
    snprintf(dir, sizeof dir, CHECKPOINTS "%s", name);
    if (rig_open(&g, registry_archs[0], dir, "auto", 1, 0, &e) ||
        tokenizer_at(dir, name, &t, &e))
        fail_msg("%s: %s", name, e.msg);
    ids = encode(t, "This morning I took my cat for a walk in the garden", &n);
    whole = calloc((size_t)g.info.cols[OUT_LOGITS], sizeof *whole);
    parts = calloc((size_t)g.info.cols[OUT_LOGITS], sizeof *parts);
    assert_true(whole && parts);
    logits_after(&g, ids, 0, n, whole);
    for (int cut = 1; cut < n; cut++) {
        logits_after(&g, ids, cut, n, parts);
        assert_memory_equal(whole, parts,
                            (size_t)g.info.cols[OUT_LOGITS] * sizeof *whole);
    }
    free(whole);
    free(parts);
    free(ids);
    tokenizer_close(t);
    rig_close(&g);
}

static void test_lecture_state_is_carried_between_calls(void **state)
{
    (void)state;
    check_carried_state("next-word-lstm");
    check_carried_state("next-word-elman");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_lecture_order_decides_the_sentiment),
        cmocka_unit_test(test_lecture_a_noun_follows),
        cmocka_unit_test(test_lecture_state_is_carried_between_calls),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
