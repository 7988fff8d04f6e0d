/* config: the option table is whole and its sources obey one order.
 *
 * SPDX-License-Identifier: MIT */
#include <ctype.h>

#include "server/config.h"
#include "tests/support/unit.h"

static void test_config_every_option_is_in_the_help(void **state)
{
    const struct option *o;
    char name[OPTION_NAME], *help = NULL;
    size_t size, at;
    int n = 0;
    FILE *f = open_memstream(&help, &size);
    options_help(&config_table, f);
    fclose(f);
    for (int i = 0; (o = options_row(&config_table, i, &at)); i++) {
        for (int source = FROM_FILE; source <= FROM_ARGS; source++)
            if (options_name(&config_table, o, source, name) &&
                source != FROM_FILE)
                assert_non_null(strstr(help, name));
        n += o->kind != OPTION_SECTION;
    }
    assert_true(n > 25);
    free(help);
}

/* Unique in every source; the variable is the flag, the key is it, too. */
static void test_config_names_are_unique_and_alike(void **state)
{
    const struct option *o, *p;
    char a[OPTION_NAME], b[OPTION_NAME];
    size_t at;
    for (int i = 0; (o = options_row(&config_table, i, &at)); i++) {
        if (o->kind == OPTION_SECTION)
            continue;
        char name[OPTION_NAME] = "SEQD_";
        for (int k = 2; o->flag[k]; k++) {
            char c = o->flag[k];
            name[3 + k] = (char)(c == '-'     ? '_'
                                 : islower(c) ? c - 'a' + 'A'
                                              : c);
        }
        if (options_name(&config_table, o, FROM_ENV, a))
            assert_string_equal(a, name);
        for (int source = FROM_FILE; source <= FROM_ARGS; source++)
            for (int k = 0; k < i; k++) {
                p = options_row(&config_table, k, &at);
                if (options_name(&config_table, o, source, a) &&
                    options_name(&config_table, p, source, b))
                    assert_string_not_equal(a, b);
            }
    }
}

static int load(struct config *c, char *const *argv, struct err *e)
{
    int argc = 0;
    while (argv[argc])
        argc++;
    err_clear(e);
    return config_load(c, argc, argv, e);
}

static void test_config_defaults(void **state)
{
    char *argv[] = {"seqd", NULL};
    struct config c;
    struct err e = ERR_INIT;
    assert_int_equal(load(&c, argv, &e), 0);
    assert_string_equal(c.host, "127.0.0.1");
    assert_int_equal(c.port, 8080);
    assert_int_equal(c.max_body, 2097152);
    assert_int_equal(c.max_batch, 256);
    assert_int_equal(c.engine.max_item_tokens, 8192);
    assert_int_equal(c.engine.max_queue, 4096);
    assert_int_equal(c.engine.state_bytes, 256 << 20);
    assert_int_equal(c.drain_ms, 30000);
    assert_int_equal(c.http_threads, 1);
    assert_int_equal(c.check, 0);
    assert_int_equal(c.version, 0);
    config_fini(&c);
}

static void test_config_flags_win_and_the_last_one_counts(void **state)
{
    char *argv[] = {"seqd", "--port=1",    "--port",    "2", "--model",
                    "a=x",  "--model=b=y", "--no-auth", NULL};
    struct config c;
    struct err e = ERR_INIT;
    setenv("SEQD_PORT", "3", 1);
    setenv("SEQD_MODEL", "c=z,d=w", 1);
    int rc = load(&c, argv, &e);
    unsetenv("SEQD_PORT");
    unsetenv("SEQD_MODEL");
    assert_int_equal(rc, 0);
    assert_int_equal(c.port, 2);
    assert_int_equal(c.models.n, 2);
    assert_string_equal(c.models.v[0], "a=x");
    assert_string_equal(c.models.v[1], "b=y");
    assert_int_equal(c.no_auth, 1);
    config_fini(&c);
}

static void test_config_refuses_what_is_out_of_range(void **state)
{
    static char *rows[][2] = {{"--port", "-1"},
                              {"--port", "65536"},
                              {"--port", ""},
                              {"--port", "1x"},
                              {"--threads", "65"},
                              {"--kernels", "av"},
                              {"--kernels", ""},
                              {"--kernels", "auto|generic"},
                              {"--log-format", "xml"},
                              {"--max-batch", "99999999999999999999"},
                              {"--host", "0.0.0.0"},
                              {"--host", "192.168.1.1"},
                              {"--host", "127.0.0.1.example"},
                              {"--host", "127.example"},
                              {"--cors-origin", ""},
                              {"--cors-origin", "app.example"},
                              {"--cors-origin", "https://app.example/"},
                              {"--cors-origin", "https://"},
                              {"--no-auth=2", NULL},
                              {"--por", "1"}};
    for (size_t i = 0; i < COUNT(rows); i++) {
        char *argv[] = {"seqd", rows[i][0], rows[i][1], NULL};
        struct config c;
        struct err e = ERR_INIT;
        int rc = load(&c, argv, &e);
        if (rc == 0)
            print_error("%s %s was taken\n", rows[i][0], rows[i][1]);
        assert_int_equal(rc, -1);
        assert_int_equal(e.code, ERR_INVALID);
        config_fini(&c);
    }
}

static void test_config_loopback_needs_no_key(void **state)
{
    static char *hosts[] = {"127.0.0.1", "127.1.2.3", "127.1", "localhost",
                            "::1"};
    for (size_t i = 0; i < COUNT(hosts); i++) {
        char *argv[] = {"seqd", "--host", hosts[i], NULL};
        struct config c;
        struct err e = ERR_INIT;
        assert_int_equal(load(&c, argv, &e), 0);
        config_fini(&c);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_config_every_option_is_in_the_help),
        cmocka_unit_test(test_config_names_are_unique_and_alike),
        cmocka_unit_test(test_config_defaults),
        cmocka_unit_test(test_config_flags_win_and_the_last_one_counts),
        cmocka_unit_test(test_config_refuses_what_is_out_of_range),
        cmocka_unit_test(test_config_loopback_needs_no_key),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
