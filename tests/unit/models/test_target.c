/* What a checkpoint says of its targets, from its two files.
 *
 * SPDX-License-Identifier: MIT */
#include "models/target.h"
#include "tests/support/temp_dir.h"
#include "tests/support/unit.h"

#define V 50

static int read_files(const char *config, const char *generation,
                      struct target_rules *r, struct err *e)
{
    struct checkpoint *c;
    char dir[64];
    int rc;

    temp_dir_make(dir);
    temp_file_text(dir, "config.json", config);
    if (generation)
        temp_file_text(dir, "generation_config.json", generation);
    assert_int_equal(checkpoint_open(dir, "test", &c, e), 0);
    rc = target_read(c, V, r, e);
    checkpoint_close(c);
    temp_dir_drop(dir);
    return rc;
}

static void test_target_generation_comes_before_config(void **state)
{
    static const struct {
        const char *config, *generation;
        int start, bos, eos, never; /* the first, or -1 */
    } cases[] = {
        {"{}", NULL, -1, -1, -1, -1},
        {"{\"bos_token_id\": 3}", NULL, 3, -1, -1, -1},
        {"{\"bos_token_id\": 3, \"decoder_start_token_id\": 4}", NULL, 4, -1,
         -1, -1},
        {"{\"bos_token_id\": 99, \"decoder_start_token_id\": 4}", NULL, 4, -1,
         -1, -1},
        {"{\"decoder_start_token_id\": 4}", "{\"decoder_start_token_id\": 0}",
         0, -1, -1, -1},
        {"{\"decoder_start_token_id\": 4}",
         "{\"decoder_start_token_id\": null, \"bos_token_id\": 7}", 4, -1, -1,
         -1},
        {"{\"forced_eos_token_id\": 2, \"forced_bos_token_id\": 49}", NULL, -1,
         49, 2, -1},
        {"{\"forced_eos_token_id\": 2, \"forced_bos_token_id\": 49}", "{}", -1,
         -1, -1, -1},
        {"{}", "{\"forced_eos_token_id\": [5], \"bad_words_ids\": [[8], [9]]}",
         -1, -1, 5, 8},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct err e = ERR_INIT;
        struct target_rules r;
        if (read_files(cases[i].config, cases[i].generation, &r, &e))
            fail_msg("%s: %s", cases[i].config, e.msg);
        assert_int_equal(r.start, cases[i].start);
        assert_int_equal(r.forced_bos, cases[i].bos);
        assert_int_equal(r.forced_eos, cases[i].eos);
        assert_int_equal(r.n_never, cases[i].never < 0 ? 0 : 2);
        if (r.n_never)
            assert_int_equal(r.never[0], cases[i].never);
    }
}

static void test_target_says_what_is_wrong(void **state)
{
    static const struct {
        const char *config, *generation, *says;
    } cases[] = {
        {"{\"decoder_start_token_id\": 50}", NULL,
         "config.json: 'decoder_start_token_id' is no token, expected 0..49"},
        {"{\"decoder_start_token_id\": -1}", NULL, "decoder_start_token_id"},
        {"{\"decoder_start_token_id\": \"a\"}", NULL, "decoder_start_token_id"},
        {"{\"decoder_start_token_id\": 1.5}", NULL, "decoder_start_token_id"},
        {"{}", "{\"forced_eos_token_id\": [1, 2]}",
         "generation_config.json: 'forced_eos_token_id' is no token"},
        {"{}", "{\"forced_bos_token_id\": {}}", "forced_bos_token_id"},
        {"{}", "{\"bad_words_ids\": 7}", "bad_words_ids"},
        {"{}", "{\"bad_words_ids\": [7]}", "bad_words_ids"},
        {"{}", "{\"bad_words_ids\": [[50]]}", "bad_words_ids"},
        {"{}", "{\"bad_words_ids\": [[1, 2]]}", "words of several tokens"},
        {"{}", "{\"bad_words_ids\": [[1],[1],[1],[1],[1],[1],[1],[1],[1]]}",
         "more than 8 words"},
        {"{}", "{\"bad_words_ids\": [[1", "generation_config.json"},
        {"{}", "[1, 2]", NULL},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct err e = ERR_INIT;
        struct target_rules r;
        int rc = read_files(cases[i].config, cases[i].generation, &r, &e);
        assert_int_equal(rc, cases[i].says ? -1 : 0);
        if (cases[i].says && !strstr(e.msg, cases[i].says))
            fail_msg("'%s' does not say '%s'", e.msg, cases[i].says);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_target_generation_comes_before_config),
        cmocka_unit_test(test_target_says_what_is_wrong),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
