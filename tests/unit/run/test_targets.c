/* How a target begins and ends, and its languages (targets.h), as files say it:
 * generation_config.json before config.json before the tokenizer, and what is
 * refused by name.
 *
 * SPDX-License-Identifier: MIT */
#include "engine/run/targets.h"

#include "engine/base/log.h"
#include "engine/run/engine.h"
#include "tests/support/fake_arch.h"
#include "tests/support/ports_arch.h"
#include "tests/support/temp_dir.h"
#include "tests/support/unit.h"

static const char *const words[] = {"a",    ">>fr<<", ">>pt_BR<<",
                                    ">><<", "x<<",    "b"};

struct loaded {
    struct engine *g;
    struct model *m;
    char dir[64];
};

/* 0, or -1 with the message. */
static int load(struct loaded *l, const char *config, const char *generation,
                struct err *e)
{
    const struct fake_config c = {.words = words,
                                  .n_words = sizeof words / sizeof *words,
                                  .no_add_bos = 1};
    const struct engine_options o = {.n_threads = 1};
    char text[400];

    log_configure(LOG_ERROR, 0);
    snprintf(text, sizeof text,
             "{\"model_type\":\"ports\",\"kind\":\"pair\",\"max_chain\":0,"
             "\"eos_token_id\":2%s}",
             config);
    fake_files(&c, text, l->dir);
    if (generation)
        temp_file_text(l->dir, "generation_config.json", generation);
    assert_int_equal(engine_open(&o, ports_archs, &l->g, e), 0);
    if (engine_load(l->g, "m", l->dir, e))
        return -1;
    return engine_model(l->g, NULL, NULL, &l->m, e);
}

static void unload(struct loaded *l)
{
    model_release(l->m);
    engine_close(l->g);
    temp_dir_drop(l->dir);
}

static void test_targets_of_files_in_their_order(void **state)
{
    static const struct {
        const char *config, *generation;
        int start, first, last;
    } cases[] = {
        {"", NULL, FAKE_BOS, -1, -1},
        {",\"decoder_start_token_id\":9,\"forced_eos_token_id\":2", NULL, 9, -1,
         2},
        {",\"decoder_start_token_id\":9,\"forced_bos_token_id\":null",
         "{\"decoder_start_token_id\":10,\"forced_bos_token_id\":11}", 10, 11,
         -1},
        {",\"forced_bos_token_id\":12", "{\"decoder_start_token_id\":null}",
         FAKE_BOS, 12, -1},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct err e = ERR_INIT;
        struct loaded l = {0};
        if (load(&l, cases[i].config, cases[i].generation, &e))
            fail_msg("%s", e.msg);
        const struct model_info *info = model_get_info(l.m);
        assert_int_equal(info->target.start, cases[i].start);
        assert_int_equal(info->target.forced_bos, cases[i].first);
        assert_int_equal(info->target.forced_eos, cases[i].last);
        unload(&l);
    }
}

static void check_language(const struct target_language *l, const char *name,
                           int32_t id)
{
    assert_int_equal(l->n, strlen(name));
    assert_memory_equal(l->name, name, strlen(name));
    assert_int_equal(l->id, id);
}

static void test_targets_have_languages(void **state)
{
    const struct target_language *list;
    struct err e = ERR_INIT;
    struct loaded l = {0};
    int forced;

    assert_int_equal(load(&l, "", NULL, &e), 0);
    assert_int_equal(model_languages(l.m, &list, &forced), 2);
    assert_int_equal(forced, 0);
    check_language(&list[0], "fr", FAKE_WORD + 1);
    check_language(&list[1], "pt_BR", FAKE_WORD + 2);
    unload(&l);
    memset(&l, 0, sizeof l);
    assert_int_equal(load(&l, ",\"seqd_languages\":[\"b\",\"a\"]", NULL, &e),
                     0);
    assert_int_equal(model_languages(l.m, &list, &forced), 2);
    assert_int_equal(forced, 1);
    check_language(&list[0], "b", FAKE_WORD + 5);
    check_language(&list[1], "a", FAKE_WORD);
    unload(&l);
}

static void test_targets_that_are_wrong_are_named(void **state)
{
    static const struct {
        const char *config, *generation;
        enum err_code code;
        const char *says;
    } cases[] = {
        {",\"decoder_start_token_id\":15", NULL, ERR_FORMAT,
         "'decoder_start_token_id' is no id of 0..14"},
        {",\"decoder_start_token_id\":-1", NULL, ERR_FORMAT, "is no id"},
        {",\"forced_bos_token_id\":\"x\"", NULL, ERR_FORMAT,
         "'forced_bos_token_id' is no id"},
        {"", "{\"forced_eos_token_id\":[2]}", ERR_UNSUPPORTED,
         "'forced_eos_token_id' is a list"},
        {",\"seqd_languages\":{}", NULL, ERR_FORMAT, "is no list"},
        {",\"seqd_languages\":[\"a\",\"fr\"]", NULL, ERR_FORMAT,
         "holds 'fr', which is no token"},
        {",\"seqd_languages\":[3]", NULL, ERR_FORMAT, "(no string)"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct err e = ERR_INIT;
        struct loaded l = {0};
        assert_int_equal(load(&l, cases[i].config, cases[i].generation, &e),
                         -1);
        assert_int_equal(e.code, cases[i].code);
        if (!strstr(e.msg, cases[i].says))
            fail_msg("'%s' does not say '%s'", e.msg, cases[i].says);
        unload(&l);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_targets_of_files_in_their_order),
        cmocka_unit_test(test_targets_have_languages),
        cmocka_unit_test(test_targets_that_are_wrong_are_named),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
