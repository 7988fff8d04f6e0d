/* options: each kind, its range and its message, from each source, and which
 * source wins.
 *
 * SPDX-License-Identifier: MIT */
#include <unistd.h>

#include "engine/base/options.h"
#include "tests/support/unit.h"

struct inner {
    int rows, exact;
    size_t bytes;
};

struct values {
    const char *host, *level, *secret, *command;
    int yes;
    int64_t big;
    double rate;
    struct string_list models, files;
    struct option_file file;
    struct inner inner;
};

#define AT(field) OPTION_AT(struct values, field)

static const struct option rows[] = {
    {"COMMAND", OPTION_TEXT, AT(command), "help", 0, 0, NULL, "what to do"},
    {"FILES", OPTION_LIST, AT(files), NULL, 0, 0, NULL, "with what"},
    {.kind = OPTION_SECTION, .help = "Section"},
    {"--host", OPTION_TEXT, AT(host), "here", 0, 0, "ADDR", "a text"},
    {"--level", OPTION_WORD, AT(level), NULL, 0, 0, "low|high", "a word"},
    {"--secret", OPTION_ENV_ONLY | OPT_TEXT(secret, "KEY"), "a secret"},
    {"--yes", OPTION_ARG_ONLY | OPT_BOOL(yes), "yes"},
    {"--big-number", OPTION_INT, AT(big), "5", -1, (double)(1LL << 40), NULL,
     "an integer"},
    {"--rate", OPTION_REAL, AT(rate), "0.5", 0, 0.95, NULL, "a real"},
    {"--model", OPTION_LIST | OPTION_HIDDEN, AT(models), NULL, 0, 0, "NAME",
     "a list"},
    {"--config", OPTION_FILE | OPTION_NOT << FROM_FILE, AT(file), NULL, 0, 0,
     NULL, "a file"},
    {.kind = OPTION_END},
};

#undef AT
#define AT(field) OPTION_AT(struct inner, field)

static const struct option inner_rows[] = {
    {"--rows", OPTION_INT, AT(rows), "64", 1, 1024, NULL, "an int"},
    {"--path", OPTION_CHOICE, AT(exact), "fast", 0, 0, "fast|exact",
     "a choice"},
    {"--state-mb", OPTION_MIB, AT(bytes), "3", 0, 1 << 20, NULL, "mebibytes"},
    {.kind = OPTION_END},
};

static const struct option_group groups[] = {
    {rows, 0}, {inner_rows, offsetof(struct values, inner)}, {NULL, 0}};
static const struct option_table table = {
    .name = "t", .usage = "usage: t\n", .groups = groups, .env = "OPT_TEST_"};

/* Arguments in one text, blanks between them; argv has to outlive the values.
 */
static int parse(struct values *v, const char *line, struct err *e)
{
    static char text[512];
    static char *argv[32];
    char *save = NULL;
    int n = 1;
    snprintf(text, sizeof text, "%s", line);
    for (char *w = strtok_r(text, " ", &save); w;
         w = strtok_r(NULL, " ", &save))
        argv[n++] = w;
    memset(v, 0, sizeof *v);
    err_clear(e);
    return options_parse(&table, v, n, argv, e);
}

/* What options_write makes of a command line. */
static void written(const char *line, char *out, size_t size)
{
    struct values v;
    struct err e = ERR_INIT;
    struct buf b;
    buf_init(&b, size);
    if (parse(&v, line, &e) < 0)
        fail_msg("%s: %s", line, e.msg);
    assert_int_equal(options_write(&table, &v, &b), 0);
    snprintf(out, size, "%s", b.p);
    buf_fini(&b);
    options_fini(&table, &v);
}

static void test_options_each_kind_is_read_and_written(void **state)
{
    static const char *const cases[][2] = {
        {"", "{\"host\":\"here\",\"level\":\"\",\"big_number\":5,\"rate\":0.5,"
             "\"rows\":64,\"path\":\"fast\",\"state_mb\":3}"},
        {"--host=a=b --level high --big-number -1 --rate 0 --rows=1024 --path "
         "exact --state-mb 1048576",
         "{\"host\":\"a=b\",\"level\":\"high\",\"big_number\":-1,\"rate\":0,"
         "\"rows\":1024,\"path\":\"exact\",\"state_mb\":1048576}"},
        {"--host --rows --big-number=1099511627776 --host=",
         "{\"host\":\"\",\"level\":\"\",\"big_number\":1099511627776,"
         "\"rate\":0.5,\"rows\":64,\"path\":\"fast\",\"state_mb\":3}"},
        {"--big-number=1e12 --rows 1e2 --state-mb 64.0 --rate 5e-1",
         "{\"host\":\"here\",\"level\":\"\",\"big_number\":1000000000000,"
         "\"rate\":0.5,\"rows\":100,\"path\":\"fast\",\"state_mb\":64}"},
    };
    char out[1024];
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        written(cases[i][0], out, sizeof out);
        assert_string_equal(out, cases[i][1]);
    }
}

static void test_options_are_written_where_they_are_used(void **state)
{
    struct values v;
    struct err e = ERR_INIT;
    assert_int_equal(parse(&v,
                           "--state-mb 2 --path exact --rows 7 --model a=b "
                           "--model=c,d",
                           &e),
                     0);
    assert_int_equal(v.inner.bytes, 2 << 20);
    assert_int_equal(v.inner.exact, 1);
    assert_int_equal(v.inner.rows, 7);
    assert_int_equal(v.models.n, 2);
    assert_string_equal(v.models.v[0], "a=b");
    assert_string_equal(v.models.v[1], "c,d");
    options_fini(&table, &v);
}

static void test_options_switches(void **state)
{
    static const struct {
        const char *line;
        int yes, n_files;
    } cases[] = {
        {"--yes", 1, 0},       {"--yes --rows 1", 1, 0}, {"--yes=true", 1, 0},
        {"--yes=1", 1, 0},     {"--yes 1", 1, 0},        {"--yes 0", 0, 0},
        {"--yes=false", 0, 0}, {"--yes --yes=0", 0, 0},  {"--yes a b c", 1, 2}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct values v;
        struct err e = ERR_INIT;
        assert_int_equal(parse(&v, cases[i].line, &e), 0);
        assert_int_equal(v.yes, cases[i].yes);
        assert_int_equal(v.files.n, cases[i].n_files);
        assert_string_equal(v.command, v.files.n ? "a" : "help");
        options_fini(&table, &v);
    }
}

static void test_options_refuse_and_say_what_is_expected(void **state)
{
    static const char *const cases[][2] = {
        {"--rows 0", "--rows is '0', expected a whole number 1..1024"},
        {"--rows=1025", "--rows is '1025', expected a whole number 1..1024"},
        {"--rows 1e4", "--rows is '1e4', expected a whole number 1..1024"},
        {"--rows 2.5", "--rows is '2.5', expected a whole number 1..1024"},
        {"--rows inf", "--rows is 'inf', expected a whole number 1..1024"},
        {"--rows nan", "--rows is 'nan', expected a whole number 1..1024"},
        {"--rows 7x", "--rows is '7x', expected a whole number 1..1024"},
        {"--rows=", "--rows is '', expected a whole number 1..1024"},
        {"--big-number 99999999999999999999",
         "--big-number is '99999999999999999999', expected a whole number "
         "-1..1099511627776"},
        {"--rate 1", "--rate is '1', expected 0..0.95"},
        {"--rate nan", "--rate is 'nan', expected 0..0.95"},
        {"--level mid", "--level is 'mid', expected low|high"},
        {"--level low|high", "--level is 'low|high', expected low|high"},
        {"--path=", "--path is '', expected fast|exact"},
        {"--yes=2", "--yes is '2', expected false|true|0|1"},
        {"--rows", "--rows needs a value"},
        {"--secret x", "unknown option '--secret' (see --help)"},
        {"--row 1",
         "unknown option '--row', did you mean --rows? (see --help)"},
        {"--big_number=1", "unknown option '--big_number=1', did you mean "
                           "--big-number? (see --help)"},
        {"--colour", "unknown option '--colour' (see --help)"},
        {"-x", "unknown option '-x' (see --help)"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct values v;
        struct err e = ERR_INIT;
        assert_int_equal(parse(&v, cases[i][0], &e), -1);
        assert_string_equal(e.msg, cases[i][1]);
        assert_int_equal(e.code, ERR_INVALID);
        options_fini(&table, &v);
    }
}

static char config[64];

static void write_config(const char *text)
{
    snprintf(config, sizeof config, "/tmp/seqd-options-%d.json", (int)getpid());
    FILE *f = fopen(config, "we");
    assert_non_null(f);
    fputs(text, f);
    fclose(f);
}

/* The file, a variable, arguments: what rows, models, host are then. */
static void test_options_the_stronger_source_wins(void **state)
{
    static const struct {
        const char *file, *rows_env, *model_env, *args;
        int rows;
        const char *models;
    } cases[] = {
        {"{}", "", "", "", 64, ""},
        {"{\"rows\":2,\"model\":\"a\"}", "", "", "", 2, "a"},
        {"{\"rows\":\"2\",\"model\":[\"a\",\"b\"]}", "", "", "", 2, "a b"},
        {"{\"rows\":2,\"model\":[\"a\"]}", "3", "c,d,,e", "", 3, "c d e"},
        {"{\"rows\":2,\"model\":[\"a\"]}", "3", ",", "", 3, ""},
        {"{\"rows\":2,\"model\":[\"a\"]}", "3", "c,d",
         "--rows 4 --model f --model g --rows 5", 5, "f g"},
        {"{\"model\":[\"a\"]}", "", "", "--model f", 64, "f"},
    };
    for (size_t i = 0; i < 2 * (sizeof cases / sizeof *cases); i++) {
        char line[256], all[64] = "";
        struct values v;
        struct err e = ERR_INIT;
        int k = (int)i / 2;
        write_config(cases[k].file);
        setenv("OPT_TEST_ROWS", cases[k].rows_env, 1);
        setenv("OPT_TEST_MODEL", cases[k].model_env, 1);
        setenv("OPT_TEST_CONFIG", i % 2 ? config : "/nonexistent", 1);
        snprintf(line, sizeof line, "%s %s%s", cases[k].args,
                 i % 2 ? "" : "--config ", i % 2 ? "" : config);
        if (parse(&v, line, &e) < 0)
            fail_msg("%s: %s", line, e.msg);
        assert_int_equal(v.inner.rows, cases[k].rows);
        for (int m = 0; m < v.models.n; m++)
            snprintf(all + strlen(all), 16, "%s%s", m ? " " : "",
                     v.models.v[m]);
        assert_string_equal(all, cases[k].models);
        options_fini(&table, &v);
    }
    unsetenv("OPT_TEST_ROWS");
    unsetenv("OPT_TEST_MODEL");
    unsetenv("OPT_TEST_CONFIG");
    unlink(config);
}

static void test_options_of_the_file_live_with_the_values(void **state)
{
    struct values v;
    struct err e = ERR_INIT;
    char line[128];
    write_config("{\"host\":\"there\",\"rate\":0.25,\"big_number\":1e12}");
    snprintf(line, sizeof line, "--config=%s", config);
    assert_int_equal(parse(&v, line, &e), 0);
    unlink(config);
    assert_string_equal(v.host, "there");
    assert_true(v.rate == 0.25);
    assert_int_equal(v.big, 1000000000000);
    options_fini(&table, &v);
}

static void test_options_refuse_what_the_file_says_wrong(void **state)
{
    static const char *const cases[][2] = {
        {"{\"row\":1}",
         "unknown configuration key 'row', did you mean rows? (see --help)"},
        {"{\"yes\":true}", "unknown configuration key 'yes' (see --help)"},
        {"{\"secret\":\"a\"}",
         "unknown configuration key 'secret' (see --help)"},
        {"{\"config\":\"a\"}",
         "unknown configuration key 'config' (see --help)"},
        {"{\"rows\":1.5}", "rows is '1.5', expected a whole number 1..1024"},
        {"{\"rows\":[1]}", "configuration key 'rows' takes one value"},
        {"{\"rows\":null}", "configuration key 'rows': null does not fit"},
        {"{\"host\":1}", "configuration key 'host': a number does not fit"},
        {"{\"level\":\"x\"}", "level is 'x', expected low|high"},
        {"[]", "the configuration file is not an object"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct values v;
        struct err e = ERR_INIT;
        char line[128];
        write_config(cases[i][0]);
        snprintf(line, sizeof line, "--config %s", config);
        assert_int_equal(parse(&v, line, &e), -1);
        assert_string_equal(e.msg, cases[i][1]);
        options_fini(&table, &v);
    }
    unlink(config);
}

/* A table may let the file name another: as a text, which outlives the row. */
static void test_options_a_number_in_the_file_is_no_path(void **state)
{
    static const struct option own[] = {
        {"--config", OPTION_FILE, OPTION_AT(struct values, file), NULL, 0, 0,
         NULL, "a file"},
        {.kind = OPTION_END},
    };
    static const struct option_group group[] = {{own, 0}, {NULL, 0}};
    static const struct option_table one = {
        .name = "t", .usage = "usage: t\n", .groups = group};
    struct values v = {0};
    struct err e = ERR_INIT;
    char *argv[] = {"t", "--config", (char *)(uintptr_t)config, NULL};
    write_config("{\"config\":1}");
    assert_int_equal(options_parse(&one, &v, 3, argv, &e), -1);
    assert_string_equal(e.msg,
                        "configuration key 'config': a number does not fit");
    options_fini(&one, &v);
    unlink(config);
}

static void test_options_a_variable_is_named_as_it_is_written(void **state)
{
    struct values v;
    struct err e = ERR_INIT;
    setenv("OPT_TEST_BIG_NUMBER", "x", 1);
    assert_int_equal(parse(&v, "", &e), -1);
    assert_non_null(strstr(e.msg, "OPT_TEST_BIG_NUMBER is 'x', expected"));
    options_fini(&table, &v);
    setenv("OPT_TEST_BIG_NUMBER", "", 1); /* as if it were not there */
    setenv("OPT_TEST_SECRET", "s", 1);
    setenv("OPT_TEST_YES", "1", 1); /* an argument only */
    assert_int_equal(parse(&v, "", &e), 0);
    assert_string_equal(v.secret, "s");
    assert_int_equal(v.yes, 0);
    options_fini(&table, &v);
    unsetenv("OPT_TEST_BIG_NUMBER");
    unsetenv("OPT_TEST_SECRET");
    unsetenv("OPT_TEST_YES");
}

static void test_options_help_shows_the_table(void **state)
{
    static const char *const shown[] = {"usage: t\n",
                                        "\nSection\n",
                                        "--host ADDR",
                                        "a text [here] {OPT_TEST_HOST}",
                                        "--level low|high",
                                        "OPT_TEST_SECRET=KEY",
                                        "an int (1..1024) [64] {OPT_TEST_ROWS}",
                                        "a list (repeatable) {OPT_TEST_MODEL}",
                                        "  --yes  "};
    char *text = NULL;
    size_t size;
    struct values v;
    struct err e = ERR_INIT;
    FILE *f = open_memstream(&text, &size);
    options_help(&table, f);
    fclose(f);
    for (size_t i = 0; i < sizeof shown / sizeof *shown; i++)
        assert_non_null(strstr(text, shown[i]));
    assert_null(strstr(text, "COMMAND"));
    free(text);
    assert_int_equal(parse(&v, "a --rows 1 --help --odd", &e), 1);
    options_fini(&table, &v);
    assert_int_equal(parse(&v, "--host -h", &e), 0); /* a value */
    assert_string_equal(v.host, "-h");
    options_fini(&table, &v);
}

static void test_options_of_a_command_end_it(void **state)
{
    static const struct option needed[] = {
        {"--host", OPTION_TEXT | OPTION_NEEDED, OPTION_AT(struct values, host),
         NULL, 0, 0, NULL, "a text"},
        {.kind = OPTION_END}};
    static const struct option wrong[] = {
        {"--yes", OPTION_BOOL, OPTION_AT(struct values, big), NULL, 0, 0, NULL,
         "a switch that is 8 bytes wide"},
        {.kind = OPTION_END}};
    static const struct {
        const struct option *rows;
        char *arg;
        int status;
        const char *say;
    } cases[] = {{needed, "--host=a", -1, ""},
                 {needed, "--help", 0, "usage"},
                 {needed, "--host", 2, "t: --host needs a value\n"},
                 {needed, "--host=", -1, ""},
                 {needed, NULL, 2, "t: --host is missing (see --help)\n"},
                 {wrong, NULL, 2, "t: --yes has a field of 8 bytes\n"}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const struct option_group g[] = {{cases[i].rows, 0}, {NULL, 0}};
        const struct option_table t = {"t", "usage", g, NULL};
        char *argv[] = {"t", cases[i].arg, NULL}, *text = NULL;
        struct values v = {.host = NULL};
        size_t size;
        FILE *f = open_memstream(&text, &size);
        assert_int_equal(
            options_main(&t, &v, 1 + (argv[1] != NULL), argv, f, f),
            cases[i].status);
        fclose(f);
        assert_int_equal(strncmp(text, cases[i].say, strlen(cases[i].say)), 0);
        free(text);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_options_each_kind_is_read_and_written),
        cmocka_unit_test(test_options_are_written_where_they_are_used),
        cmocka_unit_test(test_options_switches),
        cmocka_unit_test(test_options_refuse_and_say_what_is_expected),
        cmocka_unit_test(test_options_the_stronger_source_wins),
        cmocka_unit_test(test_options_of_the_file_live_with_the_values),
        cmocka_unit_test(test_options_refuse_what_the_file_says_wrong),
        cmocka_unit_test(test_options_a_number_in_the_file_is_no_path),
        cmocka_unit_test(test_options_a_variable_is_named_as_it_is_written),
        cmocka_unit_test(test_options_help_shows_the_table),
        cmocka_unit_test(test_options_of_a_command_end_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
