/* test_eval: the score of a file, and its line of JSON, against the toy
 * model's own logits and scores.
 *
 * SPDX-License-Identifier: MIT */
#include <math.h>
#include <unistd.h>

#include "engine/base/json.h"
#include "engine/run/eval.h"
#include "engine/run/model.h"
#include "tests/support/engine_fix.h"
#include "tests/support/unit.h"

#define V 64
#define PATH_BYTES 96

static void write_data(char path[PATH_BYTES], const char *text)
{
    snprintf(path, PATH_BYTES, "/tmp/seqd_eval_XXXXXX");
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    size_t n = strlen(text);
    assert_int_equal(write(fd, text, n), (ssize_t)n);
    close(fd);
}

/* What eval_file prints, or its error. */
static int eval_text(struct fix *f, const char *text,
                     const struct eval_options *o, struct json **out,
                     struct err *e)
{
    char path[PATH_BYTES];
    struct buf b;
    const char *file = path;
    write_data(path, text);
    buf_init(&b, 4096);
    *out = NULL;
    int rc = eval_files(f->g, f->m, &file, 1, o, &b, e);
    if (rc == 0) {
        assert_true(b.len > 0 && strchr(b.p, '\n') == b.p + b.len - 1);
        assert_int_equal(json_parse(b.p, b.len, NULL, out, e), 0);
    }
    buf_fini(&b);
    unlink(path);
    return rc;
}

static double number(const struct json *j, const char *key)
{
    assert_non_null(json_get(j, key));
    return json_number(json_get(j, key));
}

/* -log softmax of ids[n] after the n before it, of n_vocab entries. */
static double nats_of(const int32_t *ids, int n, int n_vocab)
{
    uint32_t h = fake_state(ids, n);
    double sum = 0;
    for (int v = 0; v < n_vocab; v++)
        sum += exp((double)fake_logit(h, v, 0, 0, n_vocab));
    return log(sum) - (double)fake_logit(h, ids[n], 0, 0, n_vocab);
}

static void test_eval_frames_lines_and_cuts_windows(void **state)
{
    /* "</s> w10 w11 </s> w12 oov w14 </s>": 2 is the end, 0 unknown. */
    static const int32_t ids[] = {2, 10, 11, 2, 12, 0, 14, 2};
    static const int windows[] = {0, 3, 8, 1000};
    for (int page = 0; page < 20; page += 16) {
        struct fix f;
        fix_open(&f,
                 &(struct fake_config){
                     .max_chain = 8, .page = page, .outputs = FAKE_LOGITS},
                 NULL);
        for (int w = 0; w < 4; w++) {
            for (int most = 0; most <= 5; most += 5) {
                struct eval_options o = {.window = windows[w],
                                         .max_tokens = most};
                struct err e = ERR_INIT;
                struct json *j;
                int n = most ? most : 8, step = windows[w] ? windows[w] : 8;
                double nats = 0, unknown = 0;
                int tokens = 0;
                for (int i = 0; i < n; i++) {
                    if (i % step) {
                        int from = i / step * step;
                        nats += nats_of(ids + from, i - from, V);
                        unknown += ids[i] == 0;
                        tokens++;
                    }
                }
                assert_int_equal(
                    eval_text(&f, "w10 w11\n\nw12 oov w14\n", &o, &j, &e), 0);
                assert_true(number(j, "tokens") == tokens);
                assert_true(fabs(number(j, "nats") - nats) < 1e-3 + 1e-5);
                assert_true(fabs(number(j, "perplexity") - exp(nats / tokens)) <
                            1e-4 * exp(nats / tokens));
                assert_true(fabs(number(j, "unk_share") - unknown / tokens) <
                            1e-6);
                /* "w10 w11" and "w12 oov w14", an end of each: 20 bytes of 7
                 * tokens */
                double bits = nats / tokens * 7 / 20 / log(2);
                assert_int_equal(json_get(j, "bits_per_byte") != NULL, !most);
                assert_true(most ||
                            fabs(number(j, "bits_per_byte") - bits) < 1e-4);
                json_free(j);
            }
        }
        fix_close(&f);
    }
}

/* A text of sub-words against the nats of its ids [n], in windows; `scored` of
 * the ids are of its `bytes`. */
static void check_sub_words(const struct fake_config *c, const char *text,
                            const int32_t *ids, int n, int window, int scored,
                            int bytes)
{
    struct eval_options o = {0};
    struct err e = ERR_INIT;
    struct json *j;
    struct fix f;
    double nats = 0;
    int tokens = 0;
    fix_open(&f, c, NULL);
    for (int i = 0; i < n; i++) {
        int from = i / window * window;
        if (i > from)
            nats += nats_of(ids + from, i - from, FAKE_WORD + c->n_words);
        tokens += i > from;
    }
    assert_int_equal(eval_text(&f, text, &o, &j, &e), 0);
    assert_true(number(j, "tokens") == tokens);
    assert_true(fabs(number(j, "nats") - nats) < 1e-3 + 1e-5);
    double bits = nats / tokens * scored / log(2) / bytes;
    assert_true(fabs(number(j, "bits_per_byte") - bits) < 1e-4);
    json_free(j);
    fix_close(&f);
}

static void test_eval_of_sub_words_takes_the_file_as_it_is(void **state)
{
    static const char *const words[] = {"a", "b", "\xc4\xa0", "\xc4\x8a"};
    static const int32_t ids[] = {FAKE_WORD, FAKE_WORD + 1, FAKE_WORD + 3,
                                  FAKE_WORD, FAKE_WORD + 2, FAKE_WORD + 1};
    /* A context of 4: windows of 4 without being asked. */
    static const struct fake_config c = {.max_chain = 8,
                                         .bpe = 1,
                                         .words = words,
                                         .n_words = 4,
                                         .context = 4,
                                         .outputs = FAKE_LOGITS};
    check_sub_words(&c, "ab\na b", ids, 6, 4, 6, 6);
}

/* With its own cut and frame where seqd-train made the model. */
static void test_eval_of_sub_words_cuts_as_config_says(void **state)
{
    static const char *const words[] = {"a", "b"};
    static const int32_t ids[] = {FAKE_EOS, FAKE_WORD,     FAKE_WORD + 1,
                                  FAKE_EOS, FAKE_WORD + 1, FAKE_EOS};
    static const struct fake_config c = {.max_chain = 8,
                                         .bpe = 1,
                                         .words = words,
                                         .n_words = 2,
                                         .record = "line",
                                         .outputs = FAKE_LOGITS};
    /* "ab" and "b", and an end of each */
    check_sub_words(&c, "ab\r\n\nb", ids, 6, 6, 5, 5);
}

static void test_eval_of_labels_counts_right_ones(void **state)
{
    struct eval_options o = {0};
    struct err e = ERR_INIT;
    struct json *j;
    struct fix f;
    double nll = 0;
    int right = 0;
    fix_open(&f, &(struct fake_config){.max_chain = 8, .outputs = FAKE_CLASS},
             NULL);
    /* By name and by number; the begin token stands in front. */
    static const int32_t text[3][3] = {{1, 10, 11}, {1, 12, 13}, {1, 14, 15}};
    static const int label[3] = {0, 2, 1};
    for (int i = 0; i < 3; i++) {
        uint32_t h = fake_state(text[i], 3);
        double sum = 0;
        int best = 0;
        for (int k = 0; k < 3; k++) {
            sum += exp((double)fake_score(h, k));
            best = fake_score(h, k) > fake_score(h, best) ? k : best;
        }
        nll += log(sum) - (double)fake_score(h, label[i]);
        right += best == label[i];
    }
    assert_int_equal(
        eval_text(&f, "zero w10 w11\n2\tw12 w13\none w14 w15\n", &o, &j, &e),
        0);
    assert_true(number(j, "items") == 3);
    assert_true(fabs(number(j, "accuracy") - right / 3.0) < 1e-6);
    assert_true(fabs(number(j, "nll") - nll / 3) < 1e-5);
    json_free(j);
    assert_int_equal(eval_text(&f, "zero w10\nfive w11\n", &o, &j, &e), -1);
    assert_non_null(strstr(e.msg, "line 2: 'five' is no label, expected zero, "
                                  "one, two"));
    fix_close(&f);
}

/* Labels "zero", "one" and "two" of the toy for texts of two words. */
static int toy_answer(int a, int b, int n, const int *labels, double *p)
{
    const int32_t text[3] = {1, a, b};
    uint32_t h = fake_state(text, 3);
    double sum = 0;
    int best = 0;
    for (int i = 0; i < n; i++) {
        p[i] = exp((double)fake_score(h, labels[i]));
        sum += p[i];
        best = p[i] > p[best] ? i : best;
    }
    for (int i = 0; i < n; i++)
        p[i] /= sum;
    return best;
}

static const struct json *at(const struct json *list, int i)
{
    const struct json *v = json_child(list);
    while (v && i-- > 0)
        v = json_next(v);
    return v;
}

static void test_eval_of_labels_tells_what_was_taken_for_what(void **state)
{
    enum { N = 40 };
    static const int all[3] = {0, 1, 2};
    struct eval_options o = {0};
    struct err e = ERR_INIT;
    struct json *j;
    struct fix f;
    struct buf text;
    int confusion[3][3] = {{0}};
    fix_open(&f, &(struct fake_config){.max_chain = 8, .outputs = FAKE_CLASS},
             NULL);
    buf_init(&text, 1 << 16);
    for (int i = 0; i < N; i++) {
        double p[3];
        confusion[i % 3][toy_answer(10 + i, 11 + i / 2, 3, all, p)]++;
        buf_addf(&text, "%d w%d w%d\n", i % 3, 10 + i, 11 + i / 2);
    }
    assert_int_equal(eval_text(&f, text.p, &o, &j, &e), 0);
    for (int l = 0; l < 3; l++) {
        const struct json *label = at(json_get(j, "labels"), l);
        assert_string_equal(json_string(json_get(label, "label")),
                            f.m->info.labels[l]);
        assert_true(number(label, "support") == (N + 2 - l) / 3);
        for (int k = 0; k < 3; k++)
            assert_true(json_number(at(at(json_get(j, "confusion"), l), k)) ==
                        confusion[l][k]);
    }
    json_free(j);
    o.brief = 1; /* the four of old, nothing else */
    assert_int_equal(eval_text(&f, text.p, &o, &j, &e), 0);
    assert_int_equal(json_size(j), 4);
    json_free(j);
    buf_fini(&text);
    fix_close(&f);
}

/* By their names, or by their places in the list. */
static void test_eval_of_some_labels_is_a_test_of_these(void **state)
{
    static const char *const files[] = {
        "two w10 w11\nzero w12 w13\ntwo w14 w15\n",
        "0 w10 w11\n1 w12 w13\n0 w14 w15\n"};
    static const int right[3] = {1, 0, 1}; /* among these: */
    static const int chosen[2] = {0, 2};
    struct eval_options o = {.labels = "two,zero"};
    struct err e = ERR_INIT;
    struct json *j;
    struct fix f;
    double nll = 0;
    int hits = 0;
    for (int i = 0; i < 3; i++) {
        double p[2];
        hits += toy_answer(10 + 2 * i, 11 + 2 * i, 2, chosen, p) == right[i];
        nll -= log(p[right[i]]) / 3;
    }
    fix_open(&f, &(struct fake_config){.max_chain = 8, .outputs = FAKE_CLASS},
             NULL);
    for (int k = 0; k < 2; k++) {
        assert_int_equal(eval_text(&f, files[k], &o, &j, &e), 0);
        assert_true(fabs(number(j, "accuracy") - hits / 3.0) < 1e-6);
        assert_true(fabs(number(j, "nll") - nll) < 2e-6);
        assert_int_equal(json_size(json_get(j, "confusion")), 2);
        const struct json *label = at(json_get(j, "labels"), 0);
        assert_string_equal(json_string(json_get(label, "label")), "zero");
        assert_true(number(label, "support") == 1);
        json_free(j);
    }
    assert_int_equal(eval_text(&f, "one w10\n", &o, &j, &e), -1);
    assert_non_null(strstr(e.msg, "'one' is no label, expected two, zero"));
    static const char *const wrong[][2] = {
        {"zero,three", "'three' is no label of the model"},
        {"zero,two,zero", "label 'zero' is there twice"},
        {"zero", "at least two labels"},
        {"zero,", "'' is no label"},
        {"", "'' is no label"}};
    for (size_t i = 0; i < COUNT(wrong); i++) {
        err_clear(&e);
        o.labels = wrong[i][0];
        assert_int_equal(eval_text(&f, "0 w10\n", &o, &j, &e), -1);
        assert_int_equal(e.code, ERR_INVALID);
        assert_non_null(strstr(e.msg, wrong[i][1]));
    }
    fix_close(&f);
    err_clear(&e);
    fix_open(&f, &(struct fake_config){.max_chain = 8, .outputs = FAKE_LOGITS},
             NULL);
    assert_int_equal(eval_text(&f, "w10\n", &o, &j, &e), -1);
    assert_non_null(strstr(e.msg, "--labels is for classifiers"));
    fix_close(&f);
}

static void test_eval_of_several_files_tells_each_apart(void **state)
{
    static const char *const text[2] = {"zero w10 w11\n",
                                        "one w12 w13\ntwo w14 w15\n"};
    char path[2][PATH_BYTES];
    const char *files[2] = {path[0], path[1]};
    struct eval_options o = {0};
    struct err e = ERR_INIT;
    struct json *both, *one;
    struct buf b;
    struct fix f;
    double nll = 0;
    fix_open(&f, &(struct fake_config){.max_chain = 8, .outputs = FAKE_CLASS},
             NULL);
    buf_init(&b, 1 << 16);
    write_data(path[0], text[0]);
    write_data(path[1], text[1]);
    assert_int_equal(eval_files(f.g, f.m, files, 2, &o, &b, &e), 0);
    assert_int_equal(json_parse(b.p, b.len, NULL, &both, &e), 0);
    assert_true(number(both, "items") == 3);
    assert_int_equal(json_size(json_get(both, "files")), 2);
    for (int i = 0; i < 2; i++) {
        const struct json *mine = at(json_get(both, "files"), i);
        assert_string_equal(json_string(json_get(mine, "file")), path[i]);
        assert_int_equal(eval_text(&f, text[i], &o, &one, &e), 0);
        assert_null(json_get(one, "files"));
        static const char *const keys[] = {"items", "accuracy", "nll",
                                           "ece",   "macro_f1", "macro_recall"};
        for (size_t k = 0; k < COUNT(keys); k++)
            assert_true(number(mine, keys[k]) == number(one, keys[k]));
        nll += number(one, "nll") * number(one, "items") / 3;
        json_free(one);
        unlink(path[i]);
    }
    assert_true(fabs(number(both, "nll") - nll) < 2e-6);
    json_free(both);
    buf_fini(&b);
    fix_close(&f);
}

/* As a request has it: three words and the begin token are read in parts of
 * three tokens. */
static void test_eval_reads_long_texts_in_parts(void **state)
{
    static const int32_t part[2][3] = {{1, 10, 11}, {1, 11, 12}};
    struct eval_options o = {0};
    struct err e = ERR_INIT;
    struct json *j;
    struct fix f;
    double z[3] = {0}, sum = 0;
    for (int i = 0; i < 2; i++)
        for (int l = 0; l < 3; l++) /* two new tokens, then one */
            z[l] += (double)fake_score(fake_state(part[i], 3), l) *
                    (i == 0 ? 2 : 1) / 3;
    for (int l = 0; l < 3; l++)
        sum += exp(z[l]);
    fix_open(&f,
             &(struct fake_config){
                 .max_chain = 8,
                 .outputs = FAKE_CLASS,
                 .context = 3,
                 .more = ",\"seqd_windows\":{\"length\":3,\"stride\":1}"},
             NULL);
    assert_int_equal(eval_text(&f, "one w10 w11 w12\n", &o, &j, &e), 0);
    assert_true(fabs(number(j, "nll") - (log(sum) - z[1])) < 2e-6);
    json_free(j);
    o.max_len = 3; /* the first part alone */
    uint32_t h = fake_state(part[0], 3);
    for (int l = 0; l < 3; l++)
        z[l] = (double)fake_score(h, l);
    sum = exp(z[0]) + exp(z[1]) + exp(z[2]);
    assert_int_equal(eval_text(&f, "one w10 w11 w12\n", &o, &j, &e), 0);
    assert_true(fabs(number(j, "nll") - (log(sum) - z[1])) < 2e-6);
    json_free(j);
    fix_close(&f);
}

/* A trainer's own classifiers have a begin token that no text gets: neither
 * in training, nor in a request, nor here. */
static void
test_eval_of_labels_adds_no_token_that_texts_do_not_get(void **state)
{
    static const int32_t ids[] = {10, 11};
    struct eval_options o = {0};
    struct err e = ERR_INIT;
    struct json *j;
    struct fix f;
    uint32_t h = fake_state(ids, 2);
    double sum = 0;
    for (int k = 0; k < 3; k++)
        sum += exp((double)fake_score(h, k));
    fix_open(&f,
             &(struct fake_config){
                 .max_chain = 8, .outputs = FAKE_CLASS, .no_add_bos = 1},
             NULL);
    assert_int_equal(eval_text(&f, "zero w10 w11\n", &o, &j, &e), 0);
    assert_true(fabs(number(j, "nll") - (log(sum) - (double)fake_score(h, 0))) <
                1e-5);
    json_free(j);
    fix_close(&f);
}

static void count_calls(void *ctx, int64_t done, int64_t all)
{
    int64_t *seen = ctx;
    assert_true(done > seen[0] && done <= all);
    seen[0] = done;
    seen[1]++;
}

/* "accuracy": 1.0 of one label, or a likelihood of what is none, would be
 * numbers without a meaning. */
static void test_eval_counts_only_what_can_be_right(void **state)
{
    struct fix f;
    struct eval_options o = {0};
    struct err e = ERR_INIT;
    struct json *j;
    fix_open(&f,
             &(struct fake_config){
                 .max_chain = 8, .n_labels = 1, .outputs = FAKE_CLASS},
             NULL);
    assert_int_equal(eval_text(&f, "0 w10\n", &o, &j, &e), -1);
    assert_int_equal(e.code, ERR_UNSUPPORTED);
    assert_non_null(strstr(e.msg, "a single label"));
    fix_close(&f);
    err_clear(&e);
    fix_open(&f, &(struct fake_config){.max_chain = 8, .outputs = FAKE_CLASS},
             NULL);
    f.m->info.scores = SCORE_RAW;
    assert_int_equal(eval_text(&f, "0 w10\n", &o, &j, &e), -1);
    assert_int_equal(e.code, ERR_UNSUPPORTED);
    assert_non_null(strstr(e.msg, "gives numbers"));
    fix_close(&f);
}

static void test_eval_tells_progress_and_errors(void **state)
{
    int64_t seen[2] = {0, 0};
    struct eval_options o = {
        .window = 100, .progress = count_calls, .ctx = seen};
    struct err e = ERR_INIT;
    struct json *j;
    struct buf text, out;
    struct fix f;
    fix_open(&f, &(struct fake_config){.max_chain = 8, .outputs = FAKE_LOGITS},
             NULL);
    buf_init(&text, 1 << 20);
    for (int i = 0; i < 5000; i++)
        buf_add_str(&text, "w10 ");
    assert_int_equal(eval_text(&f, text.p, &o, &j, &e), 0);
    assert_true(seen[0] == 5002 && seen[1] == 2);
    json_free(j);
    buf_fini(&text);
    assert_int_equal(eval_text(&f, "", &o, &j, &e), -1);
    assert_int_equal(e.code, ERR_FORMAT);
    err_clear(&e);
    assert_int_equal(eval_text(&f, "w10\n\xff\xfe\n", &o, &j, &e), -1);
    assert_int_equal(e.code, ERR_FORMAT);
    err_clear(&e);
    const char *none = "/tmp/seqd_none";
    buf_init(&out, 4096);
    assert_int_equal(eval_files(f.g, f.m, &none, 1, &o, &out, &e), -1);
    assert_int_equal(e.code, ERR_NOT_FOUND);
    assert_string_equal(e.msg, "/tmp/seqd_none: no such file");
    buf_fini(&out);
    fix_close(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_eval_frames_lines_and_cuts_windows),
        cmocka_unit_test(test_eval_of_sub_words_takes_the_file_as_it_is),
        cmocka_unit_test(test_eval_of_sub_words_cuts_as_config_says),
        cmocka_unit_test(test_eval_of_labels_counts_right_ones),
        cmocka_unit_test(test_eval_of_labels_tells_what_was_taken_for_what),
        cmocka_unit_test(test_eval_of_some_labels_is_a_test_of_these),
        cmocka_unit_test(test_eval_of_several_files_tells_each_apart),
        cmocka_unit_test(test_eval_reads_long_texts_in_parts),
        cmocka_unit_test(
            test_eval_of_labels_adds_no_token_that_texts_do_not_get),
        cmocka_unit_test(test_eval_counts_only_what_can_be_right),
        cmocka_unit_test(test_eval_tells_progress_and_errors),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
