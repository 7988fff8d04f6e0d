/* seqd tokenize: arguments, lines, JSON, and what is refused.
 *
 * SPDX-License-Identifier: MIT */
#include "server/command/tokenize_command.h"
#include "tests/support/unit.h"

#define MODEL "tests/golden/tokenizer/llama3"

struct result {
    int status;
    char out[4096], errors[4096];
};

static void read_back(FILE *f, char *out, size_t cap)
{
    rewind(f);
    out[fread(out, 1, cap - 1, f)] = 0;
    fclose(f);
}

static struct result run(const char *const *argv, const char *in, size_t n)
{
    struct result r = {0};
    int argc = 0;
    FILE *files[3] = {tmpfile(), tmpfile(), tmpfile()};
    while (argv[argc])
        argc++;
    fwrite(in, 1, n, files[0]);
    rewind(files[0]);
    r.status = tokenize_command(argc, (char *const *)(uintptr_t)argv, files[0],
                                files[1], files[2]);
    fclose(files[0]);
    read_back(files[1], r.out, sizeof(r.out));
    read_back(files[2], r.errors, sizeof(r.errors));
    return r;
}

/* One letter is one byte's token: the ids of the fixture's alphabet, which
 * Hugging Face's trainer sorts by code point after three special tokens: "!"
 * is the first. */
#define ID_OF(c) (3 + (c) - '!')

static void test_tokenize_a_line_of_ids_per_line(void **state)
{
    const char *const argv[] = {"tokenize", "--model", MODEL, NULL};
    char want[64];
    struct result r = run(argv, "Z\n\nQ", 4);
    snprintf(want, sizeof(want), "%d\n\n%d\n", ID_OF('Z'), ID_OF('Q'));
    assert_int_equal(r.status, 0);
    assert_string_equal(r.out, want);
    assert_string_equal(r.errors, "");
    /* Only LF separates: CR, VT, U+2028 and NUL are text. */
    r = run(argv, "Z\r\v\xe2\x80\xa8Z\0Z\n", 9);
    assert_int_equal(strspn(r.out, "0123456789 "), strlen(r.out) - 1);
    r = run(argv, "", 0);
    assert_string_equal(r.out, "");
    assert_int_equal(r.status, 0);
}

static void test_tokenize_special_tokens(void **state)
{
    const char *const plain[] = {"tokenize", "--model=" MODEL, NULL};
    const char *const parsed[] = {"tokenize", "--model=" MODEL,
                                  "--parse-special", NULL};
    const char *const both[] = {"tokenize", "--add-special", "--model=" MODEL,
                                "--parse-special", NULL};
    struct result r = run(plain, "<|eot_id|>", 10);
    assert_string_not_equal(r.out, "2\n");
    r = run(parsed, "<|eot_id|>", 10);
    assert_string_equal(r.out, "2\n");
    r = run(both, "<|eot_id|>\n\n", 12);
    assert_string_equal(r.out, "0 2\n0\n");
}

static void test_tokenize_json_lines(void **state)
{
    const char *const argv[] = {"tokenize", "--model", MODEL, "--json", NULL};
    char want[64];
    const char *in = "\"Z\"\n\"\\u005a\"\n7\n\"Z\n\"\\u0000\"\n";
    struct result r = run(argv, in, strlen(in));
    snprintf(want, sizeof(want), "%d\n%d\n\n\n", ID_OF('Z'), ID_OF('Z'));
    assert_int_equal(r.status, 1);
    assert_memory_equal(r.out, want, strlen(want));
    assert_true(strlen(r.out) > strlen(want) + 1); /* U+0000 has a token */
    assert_non_null(strstr(r.errors, "line 3: not a JSON string"));
    assert_non_null(strstr(r.errors, "line 4: invalid JSON"));
    assert_null(strstr(r.errors, "line 5"));
}

static void test_tokenize_refuses_a_line_by_its_number(void **state)
{
    const char *const argv[] = {"tokenize", "--model", MODEL, NULL};
    struct result r = run(argv, "Z\n\xff\nZ\n", 6);
    assert_int_equal(r.status, 1);
    assert_non_null(strstr(r.errors, "line 2: not valid UTF-8"));
    int lines = 0;
    for (const char *p = r.out; *p; p++)
        lines += *p == '\n';
    assert_int_equal(lines, 3);
}

static void test_tokenize_refuses_wrong_arguments(void **state)
{
    const char *const none[] = {"tokenize", NULL};
    const char *const odd[] = {"tokenize", "--model", MODEL, "--odd", NULL};
    const char *const cut[] = {"tokenize", "--model", NULL};
    const char *const missing[] = {"tokenize", "--model", "/nonexistent/x",
                                   NULL};
    assert_int_equal(run(none, "", 0).status, 2);
    assert_int_equal(run(odd, "", 0).status, 2);
    assert_int_equal(run(cut, "", 0).status, 2);
    struct result r = run(missing, "", 0);
    assert_int_equal(r.status, 1);
    assert_non_null(strstr(r.errors, "x/tokenizer.json: no such file"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_tokenize_a_line_of_ids_per_line),
        cmocka_unit_test(test_tokenize_special_tokens),
        cmocka_unit_test(test_tokenize_json_lines),
        cmocka_unit_test(test_tokenize_refuses_a_line_by_its_number),
        cmocka_unit_test(test_tokenize_refuses_wrong_arguments),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
