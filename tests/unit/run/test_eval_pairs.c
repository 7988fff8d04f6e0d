/* Scores of translations, by the toy of ports_arch.h with one beam: what it
 * translates is followed here by its own logits, so files are made of which the
 * right figures are known.
 *
 * SPDX-License-Identifier: MIT */
#include <math.h>

#include "engine/base/file.h"
#include "engine/base/json.h"
#include "engine/base/mem.h"
#include "engine/run/eval_jobs.h"
#include "engine/run/eval_pairs.h"
#include "engine/run/model.h"
#include "engine/run/task/beam.h"
#include "tests/support/fake_arch.h"
#include "tests/support/ports_arch.h"
#include "tests/support/temp_dir.h"
#include "tests/support/unit.h"

#define MOST 6 /* tokens of a translation */
#define MANY 600

static struct rig {
    struct engine *g;
    struct model *m;
    char dir[64], files[64], data[96], output[96];
    struct buf table, want, out;
    struct json *j;
    struct err e;
} rig;

static void open_rig(const char *languages)
{
    const struct engine_options o = {.n_threads = 2};
    static const struct fake_config words = {.n_vocab = PORTS_VOCAB};
    char config[200];
    rig.e = (struct err)ERR_INIT;
    snprintf(config, sizeof config,
             "{\"model_type\":\"ports\",\"kind\":\"pair\",\"max_chain\":0,"
             "\"eos_token_id\":2%s}",
             languages);
    fake_files(&words, config, rig.dir);
    temp_dir_make(rig.files);
    snprintf(rig.data, sizeof rig.data, "%s/pairs.tsv", rig.files);
    snprintf(rig.output, sizeof rig.output, "%s/out.txt", rig.files);
    if (engine_open(&o, ports_archs, &rig.g, &rig.e) ||
        engine_load(rig.g, "toy", rig.dir, &rig.e) ||
        engine_model(rig.g, NULL, NULL, &rig.m, &rig.e))
        fail_msg("%s", rig.e.msg);
    buf_init(&rig.table, 1 << 20);
    buf_init(&rig.want, 1 << 20);
    buf_init(&rig.out, 1 << 20);
    rig.j = NULL;
}

static void close_rig(void)
{
    model_release(rig.m);
    engine_close(rig.g);
    temp_dir_drop(rig.dir);
    temp_dir_drop(rig.files);
    buf_fini(&rig.table);
    buf_fini(&rig.want);
    buf_fini(&rig.out);
    json_free(rig.j);
    assert_int_equal(ports_stats.violations, 0);
}

/* Scores rig.table; 0 or -1. */
static const char *languages; /* of the next files, or NULL */

static int score(struct eval_pair_options o, int language)
{
    const char *path = rig.data;
    const struct eval_pair_files f = {
        .source = &path, .n = 1, .language = language, .languages = languages};
    buf_add_str(&rig.table, "");
    temp_file_text(rig.files, "pairs.tsv", rig.table.p);
    buf_clear(&rig.out);
    o.beams = 1;
    o.max_target = MOST;
    rig.e = (struct err)ERR_INIT;
    if (eval_pairs(rig.g, rig.m, &f, &o, &rig.out, &rig.e))
        return -1;
    assert_true(strchr(rig.out.p, '\n') == rig.out.p + rig.out.len - 1);
    json_free(rig.j);
    return json_parse(rig.out.p, rig.out.len, NULL, &rig.j, &rig.e);
}

static double number(const char *key)
{
    assert_non_null(json_get(rig.j, key));
    return json_number(json_get(rig.j, key));
}

static void expect(const char *key, double want)
{
    double is = number(key);
    if (!(fabs(is - want) < 1e-6))
        fail_msg("%s is %.6f, not %.6f", key, is, want);
}

/* Source number k: the words of three ids. */
static void source_of(int k, int32_t ids[4], char *text)
{
    int span = PORTS_VOCAB - FAKE_WORD;
    ids[0] = FAKE_BOS; /* this tokenizer's prompts have one */
    ids[1] = FAKE_WORD + k % span;
    ids[2] = FAKE_WORD + k / span % span;
    ids[3] = FAKE_WORD + k * 7 % span;
    snprintf(text, 64, "w%d w%d w%d", ids[1], ids[2], ids[3]);
}

/* Greedy: its words into text, with the end in *made and *ended; forced: the
 * first, or -1. */
static int follow(int k, int forced, char *text, int *made, int *ended)
{
    int32_t source[4], target[MOST + 1];
    char ignored[64];
    int n = 0, at = 0;
    source_of(k, source, ignored);
    target[0] = model_get_info(rig.m)->target.start;
    text[0] = '\0';
    for (*ended = 0; n < MOST && !*ended; n++) {
        int best = FAKE_EOS;
        for (int v = FAKE_WORD; v < PORTS_VOCAB; v++)
            if (ports_logit(source, 4, target, n + 1, v) >
                ports_logit(source, 4, target, n + 1, best))
                best = v;
        best = n == 0 && forced >= 0 ? forced : best;
        *ended = best == FAKE_EOS;
        target[n + 1] = best;
        if (!*ended)
            at += snprintf(text + at, 96 - (size_t)at, "%sw%d", n ? " " : "",
                           best);
    }
    *made = n;
    return n - *ended;
}

static void add(const char *language, int k, const char *target)
{
    int32_t ids[4];
    char text[64];
    source_of(k, ids, text);
    buf_addf(&rig.table, "%s%s%s\t%s\n", language, *language ? "\t" : "", text,
             target);
}

/* More than the engine is handed together: the first, the last and every third
 * are right, others have a word more behind. */
static void test_translations_are_counted_and_written_in_order(void **state)
{
    int made = 0, exact = 0, words = 0, edits = 0, unfinished = 0;
    open_rig("");
    for (int k = 0; k < MANY; k++) {
        char text[96], line[128];
        int n, ended;
        words += follow(k, -1, text, &n, &ended);
        made += n;
        unfinished += !ended;
        int right = k % 3 == 0 && *text;
        snprintf(line, sizeof line, "%s%s", text, right ? "" : " more");
        exact += right;
        edits += !right;
        add("", k, line);
        buf_addf(&rig.want, "%s\n", text);
    }
    assert_int_equal(score((struct eval_pair_options){.length_penalty = 1,
                                                      .output = rig.output},
                           0),
                     0);
    expect("sentences", MANY);
    expect("target_tokens", made);
    expect("unfinished", unfinished);
    assert_true(unfinished > 0 && unfinished < MANY && exact > 0);
    expect("truncated", 0);
    assert_true(fabs(number("exact") - (double)exact / MANY) < 1e-6);
    assert_true(fabs(number("token_error_rate") -
                     (double)edits / (words + edits)) < 1e-6);
    const struct json *row =
        json_child(json_get(rig.j, "errors_by_source_length"));
    assert_int_equal((int)json_number(json_get(row, "sentences")), MANY);
    assert_true(json_number(json_get(row, "exact")) == number("exact"));
    assert_true(number("bleu") > 50 && number("bleu") < 100);
    assert_null(json_get(rig.j, "all_references"));
    char *text;
    size_t n;
    assert_int_equal(file_read(rig.output, "out", 1 << 20, &text, &n, &rig.e),
                     0);
    assert_string_equal(text, rig.want.p);
    mem_free(text);
    close_rig();
}

/* One translation, held against all that the source has. */
static void test_a_source_with_several_targets_is_one(void **state)
{
    char a[96], b[96];
    int n[2], ended;
    open_rig("");
    int words = follow(1, -1, a, &n[0], &ended);
    follow(2, -1, b, &n[1], &ended);
    assert_true(words >= 2);
    add("", 1, "w9");
    add("", 2, b);
    add("", 1, a);
    add("", 1, "w8");
    assert_int_equal(score((struct eval_pair_options){.length_penalty = 1}, 0),
                     0);
    expect("sentences", 2);
    expect("target_tokens", n[0] + n[1]);
    expect("exact", 1);
    expect("token_error_rate", 0);
    assert_true(number("chrf2") < 99);
    const struct json *all = json_get(rig.j, "all_references");
    assert_true(json_number(json_get(all, "chrf2")) > 99.99);
    assert_ptr_equal(strstr(json_string(json_get(all, "signature")), "nrefs:"),
                     json_string(json_get(all, "signature")));
    assert_non_null(strstr(rig.out.p, "\"nrefs:var|case:mixed|eff:no"));
    assert_non_null(strstr(rig.out.p, "\"nrefs:1|case:mixed|eff:no"));
    /* the first one is what BLEU and chrF look at */
    buf_clear(&rig.table);
    add("", 1, a);
    add("", 2, b);
    add("", 1, "w9");
    assert_int_equal(score((struct eval_pair_options){.length_penalty = 1}, 0),
                     0);
    assert_true(number("chrf2") > 99);
    close_rig();
}

/* The engine is handed whole groups, behind which only such targets come. */
static void test_a_last_line_may_be_a_further_target(void **state)
{
    char text[96];
    int n, ended;
    open_rig("");
    for (int k = 0; k < EVAL_GROUP; k++)
        add("", k, "w9");
    follow(1, -1, text, &n, &ended);
    add("", 1, text);
    assert_true(*text);
    if (score((struct eval_pair_options){.length_penalty = 1}, 0))
        fail_msg("%s", rig.e.msg);
    expect("sentences", EVAL_GROUP);
    assert_true(number("exact") > 0);
    close_rig();
}

static void test_languages_are_told_apart(void **state)
{
    static const char *const name[] = {"w20", "w21"};
    open_rig(",\"seqd_languages\":[\"w20\",\"w21\"]");
    for (int i = 0; i < 2; i++) {
        char text[96];
        int n, ended;
        follow(5, 20 + i, text, &n, &ended);
        assert_true(strstr(text, name[i]) == text);
        add(name[i], 5, i == 0 ? text : "w7 w7");
    }
    assert_int_equal(score((struct eval_pair_options){.length_penalty = 1}, 1),
                     0);
    expect("sentences", 2);
    expect("exact", 0.5);
    for (int i = 0; i < 2; i++) {
        const struct json *x = json_get(json_get(rig.j, "languages"), name[i]);
        assert_true(json_number(json_get(x, "sentences")) == 1);
        assert_true(json_number(json_get(x, "exact")) == 1 - i);
    }
    buf_clear(&rig.table);
    add("w22", 5, "w7");
    assert_int_equal(score((struct eval_pair_options){.length_penalty = 1}, 1),
                     -1);
    assert_non_null(strstr(rig.e.msg, "'w22' is no language of the model"));
    buf_clear(&rig.table);
    add("", 5, "w7");
    assert_int_equal(score((struct eval_pair_options){.length_penalty = 1}, 0),
                     -1);
    assert_non_null(strstr(rig.e.msg, "translates into 2 languages"));
    /* no column, but a name for all */
    languages = "w21";
    assert_int_equal(score((struct eval_pair_options){.length_penalty = 1}, 0),
                     0);
    const struct json *x = json_get(json_get(rig.j, "languages"), "w21");
    assert_true(json_number(json_get(x, "sentences")) == 1);
    languages = "w22";
    assert_int_equal(score((struct eval_pair_options){.length_penalty = 1}, 0),
                     -1);
    assert_non_null(strstr(rig.e.msg, "'w22' is no language of the model"));
    languages = "w20,w21";
    assert_int_equal(score((struct eval_pair_options){.length_penalty = 1}, 0),
                     -1);
    assert_non_null(strstr(rig.e.msg, "--language has 2 names"));
    languages = NULL;
    close_rig();
}

static void test_files_that_cannot_be_scored_are_refused(void **state)
{
    static const struct {
        const char *table, *output, *says;
        int language;
    } rows[] = {
        {"", NULL, "no pairs", 0},
        {"\n\n", NULL, "no pairs", 0},
        {"w9\tw9\nw9\n", NULL, "line 2: expected source, a tab", 0},
        {"fr\tw9\tw9\n", NULL, "'fr' is no language", 1},
        {"w9\tw9\n", "/nowhere/at/all", "/nowhere/at/all", 0},
        {"w9\t\xff\n", NULL, "UTF-8", 0},
    };
    open_rig("");
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct eval_pair_options o = {.length_penalty = 1,
                                      .output = rows[i].output};
        buf_clear(&rig.table);
        buf_add_str(&rig.table, rows[i].table);
        assert_int_equal(score(o, rows[i].language), -1);
        if (!strstr(rig.e.msg, rows[i].says))
            fail_msg("'%s' does not say '%s'", rig.e.msg, rows[i].says);
    }
    buf_clear(&rig.table);
    buf_add_str(&rig.table, "w9\tw9\n");
    assert_int_equal(score((struct eval_pair_options){.length_penalty = 11}, 0),
                     -1);
    assert_non_null(strstr(rig.e.msg, "length_penalty must be"));
    close_rig();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_translations_are_counted_and_written_in_order),
        cmocka_unit_test(test_a_source_with_several_targets_is_one),
        cmocka_unit_test(test_a_last_line_may_be_a_further_target),
        cmocka_unit_test(test_languages_are_told_apart),
        cmocka_unit_test(test_files_that_cannot_be_scored_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
