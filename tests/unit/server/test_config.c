/* config: the option table is whole and its sources obey one order.
 *
 * SPDX-License-Identifier: MIT */
#include <ctype.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>
#include <stdlib.h>

#include "server/config.h"

static void test_config_every_option_is_in_the_help(void **state)
{
    const char *flag, *env;
    struct buf b;
    int n = 0;
    (void)state;
    buf_init(&b, 1 << 20);
    assert_int_equal(config_help(&b), 0);
    for (; config_option(n, &flag, &env); n++) {
        assert_true(flag || env);
        if (flag)
            assert_non_null(strstr(b.p, flag));
        assert_non_null(strstr(b.p, env));
        assert_int_equal(strncmp(env, "SEQD_", 5), 0);
    }
    assert_true(n > 25);
    buf_fini(&b);
}

static void test_config_names_are_unique_and_alike(void **state)
{
    const char *f[2], *e[2];
    (void)state;
    for (int i = 0; config_option(i, &f[0], &e[0]); i++) {
        char name[64] = "SEQD_";
        for (int k = 2; f[0] && f[0][k] && k < 50; k++) {
            char c = f[0][k];
            name[3 + k] = (char)(c == '-'     ? '_'
                                 : islower(c) ? c - 'a' + 'A'
                                              : c);
            name[4 + k] = '\0';
        }
        if (f[0])
            assert_string_equal(name, e[0]);
        for (int k = 0; k < i; k++) {
            config_option(k, &f[1], &e[1]);
            assert_string_not_equal(e[0], e[1]);
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
    (void)state;
    assert_int_equal(load(&c, argv, &e), 0);
    assert_string_equal(c.host, "127.0.0.1");
    assert_int_equal(c.port, 8080);
    assert_int_equal(c.max_body, 2097152);
    assert_int_equal(c.max_batch, 256);
    assert_int_equal(c.max_item_tokens, 8192);
    assert_int_equal(c.max_queue, 4096);
    assert_int_equal(c.drain_ms, 30000);
    assert_int_equal(c.http_threads, 1);
    assert_int_equal(c.command, COMMAND_SERVE);
    config_fini(&c);
}

static void test_config_flags_win_and_the_last_one_counts(void **state)
{
    char *argv[] = {"seqd", "--port=1",    "--port",    "2", "--model",
                    "a=x",  "--model=b=y", "--no-auth", NULL};
    struct config c;
    struct err e = ERR_INIT;
    (void)state;
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
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
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
    (void)state;
    for (size_t i = 0; i < sizeof hosts / sizeof *hosts; i++) {
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
