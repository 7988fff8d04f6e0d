/* SPDX-License-Identifier: MIT */
#include <math.h>
#include "engine/base/mem.h"
#include "models/train/data.h"
#include "tests/support/unit.h"

static char dir[64];
static char path_a[96], path_b[96];

static void write_text(const char *path, const char *text)
{
    FILE *f = fopen(path, "wb");
    assert_non_null(f);
    fputs(text, f);
    fclose(f);
}

static struct tokenizer *vocabulary(const char *files, int kind, int size,
                                    int min_count, struct data_format *f)
{
    struct options o = {.data = files,
                        .tokenizer = kind,
                        .vocab_size = size,
                        .min_count = min_count};
    struct err e = ERR_INIT;
    struct tokenizer *t;
    struct buf b;
    buf_init(&b, 1 << 20);
    if (vocab_build(&o, f, &b, &e) != 0 ||
        tokenizer_parse(b.p, b.len, "test", &t, &e) != 0)
        fail_msg("%s", e.msg);
    buf_fini(&b);
    return t;
}

static void test_vocabulary_is_by_frequency_and_then_by_bytes(void **state)
{
    static const char *const want[] = {"<unk>", "</s>", "c", "a", "b"};
    struct data_format f = {.record = RECORD_LINE};
    write_text(path_a, "d c b\nc a b\nc a e\n");
    struct tokenizer *t = vocabulary(path_a, TOKENIZER_WHITESPACE, 100, 2, &f);
    assert_int_equal(tokenizer_size(t), 5);
    for (int i = 0; i < 5; i++)
        assert_string_equal(tokenizer_text(t, i), want[i]);
    tokenizer_close(t);
    t = vocabulary(path_a, TOKENIZER_WHITESPACE, 4, 1, &f);
    assert_int_equal(tokenizer_size(t), 4);
    tokenizer_close(t);
}

static void test_characters_need_no_unknown_when_none_is_left_out(void **state)
{
    struct data_format f = {.record = RECORD_LINE};
    write_text(path_a, "abca\n");
    struct tokenizer *t = vocabulary(path_a, TOKENIZER_CHARACTERS, 100, 1, &f);
    assert_int_equal(tokenizer_size(t), 4); /* </s> a b c */
    assert_int_equal(tokenizer_unk(t), -1);
    tokenizer_close(t);
    t = vocabulary(path_a, TOKENIZER_CHARACTERS, 100, 2, &f);
    assert_true(tokenizer_unk(t) >= 0);
    tokenizer_close(t);
}

static void expect_stream(const struct corpus *c, const struct tokenizer *t,
                          const char *want)
{
    int32_t order[16], *ids;
    int64_t n;
    char got[256] = "";
    struct err e = ERR_INIT;
    assert_true(c->n_records <= 16);
    for (int i = 0; i < c->n_records; i++)
        order[i] = i;
    assert_int_equal(
        corpus_stream(c, order, c->n_records, tokenizer_eos(t), &ids, &n, &e),
        0);
    for (int64_t i = 0; i < n; i++) {
        const char *s = tokenizer_text(t, ids[i]);
        size_t k = strlen(got);
        snprintf(got + k, sizeof got - k, "%s%s", i > 0 ? " " : "",
                 ids[i] == tokenizer_eos(t) ? "|"
                 : s[0] == '\n'             ? "LF"
                                            : s);
    }
    mem_free(ids);
    assert_string_equal(got, want);
}

static void test_records_are_lines_blocks_or_files(void **state)
{
    static const struct {
        int record, kind;
        const char *text, *want;
    } rows[] = {
        {RECORD_LINE, TOKENIZER_WHITESPACE, "a b\nc\n", "| a b | c |"},
        {RECORD_LINE, TOKENIZER_WHITESPACE, "a b\n\n\nc", "| a b | c |"},
        {RECORD_LINE, TOKENIZER_CHARACTERS, "ab\nc\n", "| a b | c |"},
        {RECORD_BLANK, TOKENIZER_CHARACTERS, "a\nb\n\nc\n", "| a LF b | c |"},
        {RECORD_BLANK, TOKENIZER_CHARACTERS, "\n\na\n\n\n\nb\n\n", "| a | b |"},
        {RECORD_WHOLE, TOKENIZER_CHARACTERS, "a\n\nb", "| a LF LF b |"},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct data_format f = {.record = rows[i].record};
        struct err e = ERR_INIT;
        struct corpus c;
        write_text(path_a, rows[i].text);
        struct tokenizer *t = vocabulary(path_a, rows[i].kind, 100, 1, &f);
        assert_int_equal(corpus_read(&c, path_a, &f, t, &e), 0);
        expect_stream(&c, t, rows[i].want);
        corpus_fini(&c);
        tokenizer_close(t);
    }
}

static void test_labels_are_numbers_or_names(void **state)
{
    struct labels labels = {.n = 0};
    struct data_format f = {.labelled = 1, .max_len = 2, .labels = &labels};
    struct err e = ERR_INIT;
    struct corpus c;
    assert_int_equal(labels_parse(&labels, "bad,so,bad", &e), -1);
    assert_non_null(strstr(e.msg, "'bad' twice"));
    labels_fini(&labels);
    err_clear(&e);
    assert_int_equal(labels_parse(&labels, "bad,good", &e), 0);
    write_text(path_a, "1 a b c\ngood\ta\n0 b\nbad a b\n");
    struct tokenizer *t = vocabulary(path_a, TOKENIZER_WHITESPACE, 100, 1, &f);
    assert_int_equal(tokenizer_size(t), 5); /* labels are not text */
    assert_int_equal(corpus_read(&c, path_a, &f, t, &e), 0);
    static const int want[] = {1, 1, 0, 0}, length[] = {2, 1, 1, 2};
    assert_int_equal(c.n_records, 4);
    for (int i = 0; i < 4; i++) {
        assert_int_equal(c.label[i], want[i]);
        assert_int_equal(c.start[i + 1] - c.start[i], length[i]);
    }
    corpus_fini(&c);
    write_text(path_a, "0 a\nugly b\n");
    assert_int_equal(corpus_read(&c, path_a, &f, t, &e), -1);
    assert_non_null(strstr(e.msg, "a.txt: line 2: 'ugly' is no label, expected "
                                  "bad, good"));
    tokenizer_close(t);
    labels_fini(&labels);
}

static void test_a_label_may_be_a_share_for_each(void **state)
{
    static const char *const bad[] = {"0.5,0.6 a\n", "0.2,0.3,0.5 a\n",
                                      "1, a\n", "0.5,nan a\n", "-0.5,1.5 a\n"};
    struct labels labels = {.n = 0};
    struct data_format f = {.labelled = 1, .max_len = 9, .labels = &labels};
    struct err e = ERR_INIT;
    struct corpus c;
    assert_int_equal(labels_parse(&labels, "bad,good", &e), 0);
    write_text(path_a, "good a\n0.25,0.75 b\n0.6,0.395 a b\nbad a\n");
    struct tokenizer *t = vocabulary(path_a, TOKENIZER_WHITESPACE, 100, 1, &f);
    if (corpus_read(&c, path_a, &f, t, &e) != 0)
        fail_msg("%s", e.msg);
    static const int label[] = {1, 1, 0, 0};
    static const double share[] = {0, 0.25, 0.6 / 0.995, 1};
    for (int i = 0; i < 4; i++) {
        assert_int_equal(c.label[i], label[i]);
        assert_true(fabs((double)c.soft[2 * i] - share[i]) < 1e-6);
        assert_true(fabs((double)c.soft[2 * i + 1] - 1 + share[i]) < 1e-6);
    }
    corpus_fini(&c);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        write_text(path_a, bad[i]);
        err_clear(&e);
        assert_int_equal(corpus_read(&c, path_a, &f, t, &e), -1);
        assert_non_null(strstr(e.msg, "neither a label nor a share"));
    }
    tokenizer_close(t);
    labels_fini(&labels);
}

static void test_text_that_is_not_utf8_is_refused_with_its_line(void **state)
{
    struct data_format f = {.record = RECORD_LINE};
    struct options o = {.data = path_a, .vocab_size = 9, .min_count = 1};
    struct err e = ERR_INIT;
    struct buf b;
    buf_init(&b, 1 << 20);
    write_text(path_a, "a\nb\n\xff\n");
    assert_int_equal(vocab_build(&o, &f, &b, &e), -1);
    assert_non_null(strstr(e.msg, "line 3"));
    buf_fini(&b);
}

static void test_a_share_of_a_file_is_a_new_one_in_each_epoch(void **state)
{
    struct data_format f = {.record = RECORD_LINE};
    struct err e = ERR_INIT;
    struct corpus c;
    char files[256], text[512] = "";
    int32_t order[120], again[120];
    int from_b[2][40] = {{0}};
    for (int i = 0; i < 40; i++)
        strncat(text, "x y\n", sizeof text - strlen(text) - 1);
    write_text(path_a, text);
    write_text(path_b, text);
    snprintf(files, sizeof files, "%s,%s:0.25", path_a, path_b);
    struct tokenizer *t = vocabulary(files, TOKENIZER_WHITESPACE, 9, 1, &f);
    if (corpus_read(&c, files, &f, t, &e) != 0)
        fail_msg("%s", e.msg);
    for (int epoch = 0; epoch < 2; epoch++) {
        struct rng r;
        rng_init(&r, (uint64_t)epoch);
        assert_int_equal(corpus_order(&c, 0, -1, &r, order), 50);
        for (int i = 0; i < 50; i++) {
            assert_true(i == 0 || order[i] > order[i - 1]);
            if (order[i] >= 40)
                from_b[epoch][order[i] - 40] = 1;
        }
    }
    assert_true(memcmp(from_b[0], from_b[1], sizeof from_b[0]) != 0);
    struct rng r;
    rng_init(&r, 5);
    corpus_order(&c, 1, -1, &r, order);
    rng_init(&r, 5);
    corpus_order(&c, 1, -1, &r, again);
    assert_memory_equal(order, again, 50 * sizeof *order);
    assert_int_equal(corpus_order(&c, 0, 1, NULL, order), 40);
    assert_int_equal(order[0], 40);
    c.share[1] = 1.5; /* all of them and a new half */
    assert_int_equal(corpus_most(&c), 40 + 80);
    assert_int_equal(corpus_order(&c, 0, -1, &r, order), 100);
    for (int i = 0; i < 80; i++)
        assert_int_equal(order[i], i);
    corpus_fini(&c);
    tokenizer_close(t);
}

/* No test has so many: what counts them is set. */
static void test_more_records_than_an_int_orders_are_refused(void **state)
{
    struct corpus c = {.n_records = DATA_MAX_RECORDS,
                       .cap_records = DATA_MAX_RECORDS + 1};
    struct err e = ERR_INIT;
    assert_int_equal(corpus_reserve(&c, 1, &e), -1);
    assert_int_equal(e.code, ERR_TOO_LARGE);
    assert_string_equal(e.msg, "more than 1073741824 records");
    assert_null(c.ids);
    /* The last one has its room, and no other is made. */
    err_clear(&e);
    c.n_records--;
    c.cap = 1;
    assert_int_equal(corpus_reserve(&c, 1, &e), 0);
    assert_int_equal(c.cap_records, DATA_MAX_RECORDS + 1);
}

static int make_dir(void **state)
{
    snprintf(dir, sizeof dir, "/tmp/seqd-data-XXXXXX");
    if (mkdtemp(dir) == NULL)
        return -1;
    snprintf(path_a, sizeof path_a, "%s/a.txt", dir);
    snprintf(path_b, sizeof path_b, "%s/b.txt", dir);
    return 0;
}

static int remove_dir(void **state)
{
    unlink(path_a);
    unlink(path_b);
    return rmdir(dir);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_vocabulary_is_by_frequency_and_then_by_bytes),
        cmocka_unit_test(test_characters_need_no_unknown_when_none_is_left_out),
        cmocka_unit_test(test_records_are_lines_blocks_or_files),
        cmocka_unit_test(test_labels_are_numbers_or_names),
        cmocka_unit_test(test_a_label_may_be_a_share_for_each),
        cmocka_unit_test(test_text_that_is_not_utf8_is_refused_with_its_line),
        cmocka_unit_test(test_a_share_of_a_file_is_a_new_one_in_each_epoch),
        cmocka_unit_test(test_more_records_than_an_int_orders_are_refused),
    };
    return cmocka_run_group_tests(tests, make_dir, remove_dir);
}
