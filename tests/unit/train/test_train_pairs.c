/* Pairs of texts: how files are read, what is held out, how a batch lies.
 *
 * SPDX-License-Identifier: MIT */
#include "models/train/pairs.h"
#include "models/train/feed.h"
#include "tests/support/train_rig.h"

static char table[128], first[128], second[128];

static void write_text(char *path, const char *name, const char *text)
{
    FILE *f = train_rig_file(path, name);
    fputs(text, f);
    fclose(f);
}

/* What pairs_each hands on, one per line. */
static int note(void *arg, int file, const struct pair *p, struct err *e)
{
    struct buf *b = arg;
    buf_addf(b, "%d|%.*s|%.*s|%.*s\n", file, (int)p->n_language,
             p->n_language ? p->language : "", (int)p->n_source, p->source,
             (int)p->n_target, p->target);
    return 0;
}

static void expect_pairs(const struct pair_files *f, const char *want,
                         int64_t want_empty)
{
    double share[DATA_MAX_FILES];
    int n_files;
    int64_t empty;
    struct err e = ERR_INIT;
    struct buf b;
    buf_init(&b, 1 << 16);
    if (pairs_each(f, share, &n_files, &empty, note, &b, &e) != 0)
        fail_msg("%s", e.msg);
    buf_add_char(&b, '\0');
    assert_string_equal(b.p, want);
    assert_int_equal(empty, want_empty);
    buf_fini(&b);
}

static void expect_refused(const struct pair_files *f, const char *message)
{
    double share[DATA_MAX_FILES];
    int n_files;
    int64_t empty;
    struct err e = ERR_INIT;
    struct buf b;
    buf_init(&b, 1 << 16);
    assert_int_equal(pairs_each(f, share, &n_files, &empty, note, &b, &e), -1);
    if (strstr(e.msg, message) == NULL)
        fail_msg("'%s' does not say '%s'", e.msg, message);
    buf_fini(&b);
}

static void test_tables_are_read_line_by_line(void **state)
{
    write_text(table, "t",
               "\xef\xbb\xbf"
               "a b\tc d\r\n\n x \t y\tmore\tmore\nnone\t\n\tnone\nq\tr");
    expect_pairs(&(struct pair_files){.table = table},
                 "0||a b|c d\n0||x|y\n0||q|r\n", 3);
    write_text(table, "t", "fr\ta\tb\nzh-Hans\tc\td\te\n");
    expect_pairs(&(struct pair_files){.table = table, .language = 1},
                 "0|fr|a|b\n0|zh-Hans|c|d\n", 0);
}

static void test_two_files_go_line_by_line(void **state)
{
    write_text(first, "a", "a\nb\n\n c\nd\n\n");
    write_text(second, "b", "1\n\n3\n4\r\n5\n\n");
    expect_pairs(&(struct pair_files){.source = first, .target = second},
                 "0||a|1\n0||c|4\n0||d|5\n", 3);
}

static void test_files_have_a_language_each_or_one_for_all(void **state)
{
    char two[300], others[300];
    struct labels controls = {.n = 0};
    struct err e = ERR_INIT;
    write_text(first, "a", "a\nb\n");
    write_text(second, "b", "1\n2\n");
    snprintf(two, sizeof two, "%s,%s", first, second);
    snprintf(others, sizeof others, "%s,%s", second, first);
    struct pair_files f = {
        .source = two, .target = others, .languages = "fr,de-AT"};
    expect_pairs(&f,
                 "0|fr|a|1\n0|fr|b|2\n1|de-AT|1|a\n"
                 "1|de-AT|2|b\n",
                 0);
    assert_int_equal(pairs_controls(&f, &controls, &e), 0);
    assert_int_equal(controls.n, 3);
    assert_string_equal(controls.name[1], ">>de-AT<<");
    assert_string_equal(controls.name[2], ">>fr<<");
    labels_fini(&controls);
    f.languages = "fr,de,es";
    expect_refused(&f, "--language has 3 names, expected one for all");
    f.languages = "fr,";
    expect_refused(&f, "--language has '', expected letters");
    f.languages = "it";
    expect_pairs(&f, "0|it|a|1\n0|it|b|2\n1|it|1|a\n1|it|2|b\n", 0);
    write_text(table, "t", "x\ty\n");
    f = (struct pair_files){.table = table, .languages = "it"};
    expect_pairs(&f, "0|it|x|y\n", 0);
}

static void test_files_that_are_no_pairs_are_refused(void **state)
{
    static const struct {
        const char *text;
        int language;
        const char *message;
    } rows[] = {
        {"a\tb\nc\n", 0, "/t: line 2: expected source, a tab and target"},
        {"fr\ta\n", 1,
         "/t: line 1: expected a language, a tab, source, a tab and target"},
        {"f r\ta\tb\n", 1, "/t: line 1: the first column is no name of a"},
        {"\ta\tb\n", 1, "/t: line 1: the first column is no name of a"},
        {"a\tb\nc\t\xff\n", 0, "/t: line 2 is not UTF-8"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        write_text(table, "t", rows[i].text);
        expect_refused(
            &(struct pair_files){.table = table, .language = rows[i].language},
            rows[i].message);
    }
    write_text(first, "a", "a\nb\nc\n");
    write_text(second, "b", "1\n2");
    expect_refused(&(struct pair_files){.source = first, .target = second},
                   "a has 3 lines and ");
    char two[300];
    snprintf(two, sizeof two, "%s,%s", first, first);
    expect_refused(&(struct pair_files){.source = two, .target = first},
                   "--source has more files than --target");
    expect_refused(&(struct pair_files){.source = first, .target = two},
                   "--target has more files than --source");
}

static void test_a_column_of_texts_is_no_column_of_languages(void **state)
{
    struct labels controls = {.n = 0};
    struct err e = ERR_INIT;
    FILE *f = train_rig_file(table, "t");
    for (int i = 0; i < DATA_MAX_LABELS; i++)
        fprintf(f, "word%d\ta\tb\n", i);
    fclose(f);
    struct pair_files p = {.table = table, .language = 1};
    assert_int_equal(pairs_controls(&p, &controls, &e), -1);
    assert_non_null(strstr(e.msg, "line 1024: more than 1023 languages: is"));
    labels_fini(&controls);
}

/* Counts sources on a side, and marks those seen: 500 of them, in two
 * languages and with two spellings. */
struct sides {
    int now, n[2];
    char at[500];
};

static int mark(void *arg, int file, const struct pair *p, struct err *e)
{
    struct sides *s = arg;
    int k = (int)strtol(p->source + 4, NULL, 10);
    assert_true(k >= 0 && k < 500);
    s->at[k] |= (char)(1 << s->now);
    s->n[s->now]++;
    return 0;
}

static void test_no_source_is_on_both_sides(void **state)
{
    struct sides s = {0};
    struct err e = ERR_INIT;
    double share[DATA_MAX_FILES];
    int n_files, out = 0;
    int64_t empty;
    FILE *f = train_rig_file(table, "t");
    for (int i = 0; i < 500; i++)
        fprintf(f, "fr\tword%d.\tmot\nde\tWord%d!\tWort\n", i, i);
    fclose(f);
    struct pair_files p = {.table = table, .language = 1, .hold_out = 0.2};
    for (s.now = 0; s.now < 2; s.now++) {
        p.held_out = s.now;
        assert_int_equal(pairs_each(&p, share, &n_files, &empty, mark, &s, &e),
                         0);
    }
    assert_int_equal(s.n[0] + s.n[1], 1000);
    for (int i = 0; i < 500; i++) {
        assert_true(s.at[i] == 1 || s.at[i] == 2);
        out += s.at[i] == 2;
    }
    assert_true(out > 70 && out < 130);
}

/* A vocabulary of both sides, and the languages. */
static struct tokenizer *vocabulary(const struct data_format *f)
{
    struct options o = {
        .tokenizer = TOKENIZER_WHITESPACE, .vocab_size = 100, .min_count = 1};
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

static void expect_record(const struct corpus *c, const struct tokenizer *t,
                          int i, const char *want)
{
    char got[256] = "";
    for (int64_t k = c->start[i]; k < c->start[i + 1]; k++) {
        size_t n = strlen(got);
        snprintf(got + n, sizeof got - n, "%s%s%s", k > c->start[i] ? " " : "",
                 k == c->start[i] + c->n_source[i] ? "= " : "",
                 tokenizer_text(t, c->ids[k]));
    }
    assert_string_equal(got, want);
}

static void test_a_pair_is_source_and_target_with_their_ends(void **state)
{
    struct pair_files p = {.table = table, .language = 1};
    struct labels controls = {.n = 0};
    struct data_format f = {
        .max_len = 4, .pairs = &p, .controls = &controls, .add_eos = 1};
    struct corpus c;
    struct err e = ERR_INIT;
    write_text(table, "t",
               "fr\ta b\tA\nde\ta\t>>fr<< C\nde\ta b c d\tA\nfr\ta\tA A A A\n");
    assert_int_equal(pairs_controls(&p, &controls, &e), 0);
    struct tokenizer *t = vocabulary(&f);
    assert_int_equal(controls.n, 3);
    assert_string_equal(tokenizer_text(t, 2), "<pad>");
    assert_string_equal(tokenizer_text(t, 3), ">>de<<");
    assert_string_equal(tokenizer_text(t, 4), ">>fr<<");
    if (corpus_read(&c, NULL, &f, t, &e) != 0)
        fail_msg("%s", e.msg);
    assert_int_equal(c.n_records, 2);
    assert_int_equal(c.too_long, 2);
    expect_record(&c, t, 0, ">>fr<< a b </s> = <pad> A </s>");
    /* no text makes a control token */
    expect_record(&c, t, 1, ">>de<< a </s> = <pad> <unk> C </s>");
    corpus_fini(&c);
    write_text(table, "t", "it\ta\tb\n");
    assert_int_equal(corpus_read(&c, NULL, &f, t, &e), -1);
    assert_non_null(strstr(e.msg, "line 1: the vocabulary has no entry "
                                  "'>>it<<' for this language"));
    tokenizer_close(t);
    labels_fini(&controls);
}

/* The engine's side: such a tokenizer ends a source by itself. */
static void test_a_vocabulary_for_pairs_ends_a_text(void **state)
{
    struct pair_files p = {.table = table};
    struct labels controls = {.n = 0};
    struct data_format f = {
        .max_len = 9, .pairs = &p, .controls = &controls, .add_eos = 1};
    struct token_list l = {0};
    struct err e = ERR_INIT;
    int before, after;
    write_text(table, "t", "a\tb\n");
    assert_int_equal(pairs_controls(&p, &controls, &e), 0);
    struct tokenizer *t = vocabulary(&f);
    tokenizer_around(t, &before, &after);
    assert_int_equal(before, 0);
    assert_int_equal(after, 1);
    assert_int_equal(tokenizer_encode(t, "b a", 3, TOK_ADD_SPECIAL, 9, &l, &e),
                     0);
    assert_int_equal(l.n, 3);
    assert_int_equal(l.v[2].id, tokenizer_eos(t));
    token_list_fini(&l);
    tokenizer_close(t);
    labels_fini(&controls);
}

/* Three texts of 3, 2, 2 tokens with sources of 1, 3, 2. */
static const int32_t ids[] = {10, 11, 12, 20, 21, 30, 31};
static const int32_t sources[] = {1, 2, 3, 4, 5, 6};

static void open_three(struct feed *f)
{
    static const int n[] = {3, 2, 2}, m[] = {1, 3, 2};
    struct err e = ERR_INIT;
    const int32_t *x = ids, *s = sources;
    assert_int_equal(
        feed_init(f, &(struct feed_size){.T = 3, .N = 7, .B = 3, .pairs = 1},
                  &e),
        0);
    for (int i = 0; i < 3; i++) {
        f->text[i] = (struct text){
            .ids = x, .next = x, .n = n[i], .source = s, .n_source = m[i]};
        x += n[i];
        s += m[i];
    }
    f->n_text = 3;
}

static void expect_ints(const int *got, const int *want, int n)
{
    for (int i = 0; i < n; i++)
        assert_int_equal(got[i], want[i]);
}

static void test_sources_by_time_are_in_an_order_of_their_own(void **state)
{
    struct feed f;
    open_three(&f);
    feed_pack_by_time(&f);
    const struct pass_source *s = &f.batch.source;
    assert_int_equal(f.batch.N, 7);
    expect_ints(f.batch.ids, (int[]){10, 20, 30, 11, 21, 31, 12}, 7);
    assert_int_equal(s->N, 6);
    assert_int_equal(s->steps.T, 3);
    expect_ints(s->text, (int[]){1, 2, 0}, 3);
    expect_ints(s->length, (int[]){3, 2, 1}, 3);
    expect_ints(s->steps.n, (int[]){3, 2, 1}, 3);
    expect_ints(s->steps.off, (int[]){0, 3, 5, 6}, 4);
    expect_ints(s->ids, (int[]){2, 5, 1, 3, 6, 4}, 6);
    feed_fini(&f);
}

static void test_sources_by_text_are_in_the_order_of_the_texts(void **state)
{
    struct feed f;
    open_three(&f);
    feed_pack_by_text(&f);
    const struct pass_source *s = &f.batch.source;
    expect_ints(s->start, (int[]){0, 1, 4, 6}, 4);
    expect_ints(s->text, (int[]){0, 1, 2}, 3);
    expect_ints(s->ids, (int[]){1, 2, 3, 4, 5, 6}, 6);
    f.n_text = 0;
    feed_pack_by_text(&f);
    assert_int_equal(s->N, 0);
    feed_fini(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_tables_are_read_line_by_line),
        cmocka_unit_test(test_two_files_go_line_by_line),
        cmocka_unit_test(test_files_have_a_language_each_or_one_for_all),
        cmocka_unit_test(test_files_that_are_no_pairs_are_refused),
        cmocka_unit_test(test_a_column_of_texts_is_no_column_of_languages),
        cmocka_unit_test(test_no_source_is_on_both_sides),
        cmocka_unit_test(test_a_pair_is_source_and_target_with_their_ends),
        cmocka_unit_test(test_a_vocabulary_for_pairs_ends_a_text),
        cmocka_unit_test(test_sources_by_time_are_in_an_order_of_their_own),
        cmocka_unit_test(test_sources_by_text_are_in_the_order_of_the_texts),
    };
    return cmocka_run_group_tests(tests, train_rig_open, train_rig_close);
}
