/* SPDX-License-Identifier: MIT */
#include "engine/base/buf.h"
#include "engine/text/records.h"
#include "tests/support/unit.h"

/* "line:label|text;" of each record. */
static int note(void *arg, const struct record *r, struct err *e)
{
    struct buf *b = arg;
    if (r->n_label == 4 && memcmp(r->label, "ugly", 4) == 0)
        return records_no_label((const char *const[]){"bad", "good"}, 2, r, e);
    buf_addf(b, "%d:", (int)r->line);
    if (r->n_label > 0)
        buf_addf(b, "%.*s|", (int)r->n_label, r->label);
    buf_addf(b, "%.*s;", (int)r->n, r->text);
    return 0;
}

static void expect(const char *text, enum record_kind kind, int labelled,
                   const char *want)
{
    struct err e = ERR_INIT;
    struct buf b;
    buf_init(&b, 1 << 16);
    buf_add_str(&b, "");
    int rc =
        records_each("f", text, strlen(text), kind, labelled, note, &b, &e);
    assert_string_equal(rc == 0 ? b.len > 0 ? b.p : "" : e.msg, want);
    buf_fini(&b);
}

static void test_records_of_each_kind(void **state)
{
    expect("a b\n\nc", RECORD_LINE, 0, "1:a b;3:c;");
    expect("\xef\xbb\xbf"
           "a\n",
           RECORD_LINE, 0, "1:a;");
    expect("a b \r\n  c\r\n\r\n\r\nd\n", RECORD_PARAGRAPH, 0, "1:a b c;5:d;");
    expect("\n \na\nb", RECORD_PARAGRAPH, 0, "3:a b;");
    expect("\n\na\nb\n\n\nc\n", RECORD_BLANK, 0, "3:a\nb;7:c;");
    expect("a\n\nb", RECORD_WHOLE, 0, "1:a\n\nb;");
    expect("a b\r\n\r\nc\r", RECORD_LINE, 0, "1:a b;3:c;");
    expect("\r\n\na\r\nb\r\n\r\nc\r\n", RECORD_BLANK, 0, "3:a\nb;6:c;");
    expect("a\n \nb", RECORD_BLANK, 0, "1:a\n \nb;");
    expect("a\r\n", RECORD_WHOLE, 0, "1:a\r\n;");
    expect("", RECORD_AUTO, 0, "");
    expect("a\nb\xff\n", RECORD_PARAGRAPH, 0, "f: line 1 is not UTF-8");
    expect("a\n\nb\xff\n", RECORD_LINE, 0, "f: line 3 is not UTF-8");
}

static void test_labelled_lines(void **state)
{
    expect("1 a b\n\ngood\tc\n", RECORD_AUTO, 1, "1:1|a b;3:good|c;");
    expect("1 a b\r\n\r\ngood\tc\r\n", RECORD_AUTO, 1, "1:1|a b;3:good|c;");
    expect("good a\nbad\n", RECORD_AUTO, 1,
           "f: line 2: expected a label, a space or tab, and a text, or in the "
           "first line the names of both columns (text, label), with commas, "
           "semicolons or tabs");
    /* where each line has a tab, labels end there */
    expect("very good\ta b\n\nso so\tc\n", RECORD_AUTO, 1,
           "1:very good|a b;3:so so|c;");
    expect("{\"text\": \"a\", \"label\": 1}\n", RECORD_AUTO, 1,
           "f: line 1 is JSON, expected a label, a tab or space, and a text, "
           "or CSV or TSV with a header");
    expect("\xff\xfe"
           "a",
           RECORD_LINE, 0, "f: is UTF-16, expected UTF-8: save it as that");
    expect("good a\nugly b\n", RECORD_AUTO, 1,
           "f: line 2: 'ugly' is no label, expected bad, good");
}

static int label(const char *a, const char *b, const char *c, const char *s)
{
    return records_label((const char *const[]){a, b, c}, 3, s, strlen(s));
}

static void test_a_label_is_a_name_or_a_place(void **state)
{
    assert_int_equal(label("no", "so", "yes", "yes"), 2);
    assert_int_equal(label("no", "so", "yes", "1"), 1);
    assert_int_equal(label("no", "so", "yes", "3"), -1);
    assert_int_equal(label("no", "so", "yes", ""), -1);
    assert_int_equal(label("0", "1", "2", "02"), 2);
    /* stars: 0 is none of them, and 1 is not the second */
    assert_int_equal(label("1", "2", "3", "3"), 2);
    assert_int_equal(label("1", "2", "3", "0"), -1);
    assert_int_equal(label("1", "10", "x", "2"), -1);
}

static void test_tables_by_their_header(void **state)
{
    expect("Label,id,Text\ngood,1,a b\n", RECORD_AUTO, 1, "2:good|a b;");
    expect("review,sentiment\r\n\"a, \"\"b\"\"\r\nc\",good\r\nd,bad\r\n",
           RECORD_AUTO, 1, "2:good|a, \"b\"\r\nc;4:bad|d;");
    expect("sentence\tlabel\n\"good\" he said\t1\n\"a\tb\"\t0\nc \"d\t1\n",
           RECORD_AUTO, 1, "2:1|\"good\" he said;3:0|a\tb;4:1|c \"d;");
    expect("content\tclass\n\"open\t1\nb\t0\n", RECORD_AUTO, 1,
           "2:1|\"open;3:0|b;");
    /* two quotes in two rows are no field */
    expect("text\tlabel\n\"so it is\t1\nhe said no\"\t0\n", RECORD_AUTO, 1,
           "2:1|\"so it is;3:0|he said no\";");
    expect("label\ttext\n1\t\"so it is\n0\the said no\"\n", RECORD_AUTO, 1,
           "2:1|\"so it is;3:0|he said no\";");
    expect("text\tlabel\n\"two\nlines\"\t1\nb\t0\n", RECORD_AUTO, 1,
           "2:1|two\nlines;4:0|b;");
    expect("text,label\n\"open,1\nb,0\n", RECORD_AUTO, 1,
           "f: line 2: a quote is not closed where its field ends");
    expect("text,target\na,1\nb, c,0\n", RECORD_AUTO, 1,
           "f: line 3 has 3 columns, the header has 2");
    expect("text,label\na,\n", RECORD_AUTO, 1, "f: line 2: no label");
    expect("text,label\na,good", RECORD_AUTO, 1, "2:good|a;");
    expect("id;Text;Label\r\n1;\"a, \"\"b\"\"; c\";good\r\n2;d;bad\r\n",
           RECORD_AUTO, 1, "2:good|a, \"b\"; c;3:bad|d;");
    expect("text;label\n\"open;1\n", RECORD_AUTO, 1,
           "f: line 2: a quote is not closed where its field ends");
    /* the names decide, not how many of a character there are */
    expect("text,a;b,label\nc;d,e;f,1\n", RECORD_AUTO, 1, "2:1|c;d;");
    expect("text,label\na,\"x\ny\"\nb,ugly\n", RECORD_AUTO, 1,
           "f: line 4: 'ugly' is no label, expected bad, good");
}

/* Paragraphs of n words each, wrapped at `width` columns; 0: not at all. */
static void prose(struct buf *b, int width, int paragraphs, int words,
                  const char *end)
{
    uint32_t x = 5;
    for (int p = 0; p < paragraphs; p++) {
        int column = 0;
        for (int i = 0; i < words; i++) {
            x = x * 1664525u + 1013904223u;
            int n = 1 + (int)(x >> 24) % 9;
            if (column > 0 && width > 0 && column + 1 + n > width) {
                buf_add_str(b, end);
                column = 0;
            } else if (i > 0) {
                buf_add_char(b, ' ');
                column++;
            }
            buf_addf(b, "%.*s", n, "abcdefghi");
            column += n;
        }
        buf_addf(b, "%s%s", end, end);
    }
}

static void test_wrapped_text_is_found(void **state)
{
    static const struct {
        int width, paragraphs, words, want;
        const char *end;
    } rows[] = {
        {72, 10, 80, 1, "\n"}, {65, 10, 80, 1, "\r\n"},
        {72, 40, 18, 1, "\n"}, {0, 40, 80, 0, "\n"}, /* a paragraph a line */
        {30, 20, 80, 0, "\n"},                       /* verse, a column */
        {72, 2, 400, 0, "\n"}, /* no paragraphs to speak of */
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct buf b;
        buf_init(&b, 1 << 20);
        prose(&b, rows[i].width, rows[i].paragraphs, rows[i].words,
              rows[i].end);
        if (records_wrapped(b.p, b.len) != rows[i].want)
            fail_msg("row %d", (int)i);
        buf_fini(&b);
    }
    /* a sentence a line, of any length, in blocks */
    struct buf b;
    uint32_t x = 3;
    buf_init(&b, 1 << 20);
    for (int i = 0; i < 400; i++) {
        x = x * 1664525u + 1013904223u;
        for (int k = 0; k < 3 + (int)(x >> 24) % 16; k++)
            buf_add_str(&b, "word ");
        buf_add_str(&b, i % 8 == 7 ? "\n\n" : "\n");
    }
    assert_int_equal(records_wrapped(b.p, b.len), 0);
    buf_fini(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_records_of_each_kind),
        cmocka_unit_test(test_labelled_lines),
        cmocka_unit_test(test_a_label_is_a_name_or_a_place),
        cmocka_unit_test(test_tables_by_their_header),
        cmocka_unit_test(test_wrapped_text_is_found),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
