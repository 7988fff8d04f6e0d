/* What a checkpoint says of its targets, from its two files.
 *
 * SPDX-License-Identifier: MIT */
#include "engine/run/target_rules.h"
#include "tests/support/temp_dir.h"
#include "tests/support/unit.h"

#define V 50

/* A checkpoint of these two files in a new directory, which is read later, too;
 * generation NULL: it has one alone. */
static struct checkpoint *open_files(char dir[64], const char *config,
                                     const char *generation)
{
    struct checkpoint *c;
    struct err e = ERR_INIT;

    temp_dir_make(dir);
    temp_file_text(dir, "config.json", config);
    if (generation)
        temp_file_text(dir, "generation_config.json", generation);
    assert_int_equal(checkpoint_open(dir, "test", &c, &e), 0);
    return c;
}

static int read_files(const char *config, const char *generation,
                      struct target_rules *r, struct err *e)
{
    char dir[64];
    struct checkpoint *c = open_files(dir, config, generation);
    int rc = target_read(c, V, r, e);
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
        assert_int_equal(r.forced_first, cases[i].bos);
        assert_int_equal(r.forced_last, cases[i].eos);
        assert_int_equal(r.n_never, cases[i].never < 0 ? 0 : 2);
        if (r.n_never)
            assert_int_equal(r.never[0], cases[i].never);
    }
}

/* As bart-large-cnn and opus-mt have them, and what says nothing. */
static void test_target_search_is_the_checkpoints(void **state)
{
    static const struct {
        const char *config, *generation;
        int beams, max_new, min_new, no_repeat, renormalize;
        double length_penalty;
        enum beam_stop stop;
    } cases[] = {
        {"{}", NULL, 0, 0, 0, 0, 0, 1, BEAM_STOP_ESTIMATE},
        {"{\"num_beams\": 4, \"max_length\": 142, \"min_length\": 36,"
         "\"no_repeat_ngram_size\": 3, \"length_penalty\": 2.0,"
         "\"early_stopping\": true}",
         NULL, 4, 141, 35, 3, 0, 2, BEAM_STOP_FULL},
        {"{\"num_beams\": 4, \"length_penalty\": 2.0}",
         "{\"renormalize_logits\": true, \"max_length\": 512}", 0, 511, 0, 0, 1,
         1, BEAM_STOP_ESTIMATE},
        {"{}",
         "{\"max_length\": 512, \"max_new_tokens\": 9, \"min_length\": 7,"
         "\"min_new_tokens\": 2, \"early_stopping\": \"never\","
         "\"length_penalty\": -1}",
         0, 9, 2, 0, 0, -1, BEAM_STOP_NEVER},
        {"{\"max_length\": 20, \"min_length\": 0, \"num_beams\": 1}", NULL, 1,
         0, 0, 0, 0, 1, BEAM_STOP_ESTIMATE},
        {"{}", "{\"num_beams\": null, \"early_stopping\": null}", 0, 0, 0, 0, 0,
         1, BEAM_STOP_ESTIMATE},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct err e = ERR_INIT;
        struct target_rules r;
        if (read_files(cases[i].config, cases[i].generation, &r, &e))
            fail_msg("%s: %s", cases[i].config, e.msg);
        assert_int_equal(r.beams, cases[i].beams);
        assert_int_equal(r.max_new, cases[i].max_new);
        assert_int_equal(r.min_new, cases[i].min_new);
        assert_int_equal(r.no_repeat, cases[i].no_repeat);
        assert_int_equal(r.renormalize, cases[i].renormalize);
        assert_true(r.length_penalty == cases[i].length_penalty);
        assert_int_equal(r.stop, cases[i].stop);
        assert_string_equal(r.unheeded, "");
    }
}

/* BART's of old: true only where no generation_config.json stands beside. */
static void test_target_old_files_force_the_begin_token(void **state)
{
    static const char config[] = "{\"force_bos_token_to_be_generated\": true,"
                                 "\"bos_token_id\": 6}";
    struct target_rules r;
    struct err e = ERR_INIT;
    assert_int_equal(read_files(config, NULL, &r, &e), 0);
    assert_int_equal(r.forced_first, 6);
    assert_int_equal(read_files(config, "{}", &r, &e), 0);
    assert_int_equal(r.forced_first, -1);
}

static void test_target_lists_what_is_not_done(void **state)
{
    static const struct {
        const char *generation, *keys;
    } cases[] = {
        {"{\"repetition_penalty\": 1.0, \"top_k\": 50, \"do_sample\": false,"
         "\"num_beam_groups\": 1, \"diversity_penalty\": 0.0,"
         "\"suppress_tokens\": [], \"guidance_scale\": null}",
         ""},
        {"{\"repetition_penalty\": 1.2, \"suppress_tokens\": [3],"
         "\"do_sample\": true}",
         "do_sample, repetition_penalty, suppress_tokens"},
        {"{\"num_beams\": 20}", "num_beams"},
        {"{\"do_sample\":1,\"repetition_penalty\":2,"
         "\"encoder_repetition_penalty\":2,\"encoder_no_repeat_ngram_size\":2,"
         "\"num_beam_groups\":2,\"diversity_penalty\":1,\"penalty_alpha\":1,"
         "\"exponential_decay_length_penalty\":[1,2],\"suppress_tokens\":[1],"
         "\"begin_suppress_tokens\":[1],\"forced_decoder_ids\":[[1,2]],"
         "\"sequence_bias\":[[[1],2]],\"constraints\":[1],"
         "\"force_words_ids\":[[1]],\"guidance_scale\":2,"
         "\"stop_strings\":\"a\",\"num_return_sequences\":2}",
         NULL},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct err e = ERR_INIT;
        struct target_rules r;
        if (read_files("{}", cases[i].generation, &r, &e))
            fail_msg("%s", e.msg);
        if (cases[i].keys)
            assert_string_equal(r.unheeded, cases[i].keys);
        else /* there is room for what a list may be */
            assert_in_range(strlen(r.unheeded), 200, MODEL_UNHEEDED_BYTES - 1);
        assert_in_range(r.beams, 0, MOST_BEAMS);
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
        {"{}", "{\"num_beams\": 0}",
         "generation_config.json: 'num_beams' is no number from 1 to"},
        {"{}", "{\"num_beams\": \"4\"}", "num_beams"},
        {"{\"max_length\": 1}", NULL, "config.json: 'max_length'"},
        {"{}", "{\"max_new_tokens\": 1e30}", "max_new_tokens"},
        {"{}", "{\"min_length\": -1}", "min_length"},
        {"{}", "{\"min_new_tokens\": 1.5}", "min_new_tokens"},
        {"{}", "{\"no_repeat_ngram_size\": -3}", "no_repeat_ngram_size"},
        {"{}", "{\"length_penalty\": 11}", "length_penalty"},
        {"{}", "{\"length_penalty\": true}", "length_penalty"},
        {"{}", "{\"early_stopping\": \"ever\"}", "early_stopping"},
        {"{}", "{\"early_stopping\": 1}", "early_stopping"},
        {"{}", "{\"renormalize_logits\": 1}", "renormalize_logits"},
        {"{\"force_bos_token_to_be_generated\": 2}", NULL, "force_bos_token"},
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

/* --- how texts are drawn --- */

static int read_sample(const char *config, const char *generation,
                       struct sample_rules *r, struct err *e)
{
    char dir[64];
    struct checkpoint *c = open_files(dir, config, generation);
    int rc = sample_read(c, r, e);
    checkpoint_close(c);
    temp_dir_drop(dir);
    return rc;
}

static void test_sample_what_is_not_said_is_not_taken_for_said(void **state)
{
    static const struct {
        const char *config, *generation;
        double temperature, top_p;
        int top_k, max_new;
    } cases[] = {
        {"{}", NULL, -1, -1, -1, 0},
        {"{}", "{}", -1, -1, -1, 0},
        {"{\"temperature\": 0.5, \"top_k\": 3}", NULL, 0.5, -1, 3, 0},
        {"{\"temperature\": 0.5, \"top_k\": 3}", "{\"top_p\": 0.9}", -1, 0.9,
         -1, 0},
        {"{}",
         "{\"do_sample\": true, \"temperature\": 0.7, \"top_p\": 0.95,"
         "\"top_k\": 0, \"max_new_tokens\": 900, \"max_length\": 20}",
         0.7, 0.95, 0, 900},
        {"{}", "{\"do_sample\": false, \"temperature\": 0.7, \"top_p\": 1.0}",
         0, 1, -1, 0},
        {"{}", "{\"do_sample\": null, \"temperature\": null}", -1, -1, -1, 0},
        {"{}", "{\"temperature\": 0}", 0, -1, -1, 0},
        {"{}", "{\"temperature\": 100, \"top_k\": 50}", 100, -1, 50, 0},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct err e = ERR_INIT;
        struct sample_rules r;
        if (read_sample(cases[i].config, cases[i].generation, &r, &e))
            fail_msg("case %zu: %s", i, e.msg);
        if (r.temperature != cases[i].temperature ||
            r.top_p != cases[i].top_p || r.top_k != cases[i].top_k ||
            r.max_new != cases[i].max_new)
            fail_msg("case %zu: %g %g %d %d", i, r.temperature, r.top_p,
                     r.top_k, r.max_new);
    }
}

static void test_sample_says_what_is_wrong(void **state)
{
    static const struct {
        const char *generation, *says;
    } cases[] = {
        {"{\"temperature\": -1}",
         "generation_config.json: 'temperature' is no number from 0.01 to 100"},
        {"{\"temperature\": 0.001}", "temperature"},
        {"{\"temperature\": 101}", "temperature"},
        {"{\"temperature\": \"hot\"}", "temperature"},
        {"{\"temperature\": 1e400}", "generation_config.json"},
        {"{\"top_p\": 0}", "'top_p' is no number from 1e-06 to 1"},
        {"{\"top_p\": 1.5}", "top_p"},
        {"{\"top_p\": []}", "top_p"},
        {"{\"top_k\": -1}", "'top_k' is no number from 1 to"},
        {"{\"top_k\": 1e9}", "top_k"},
        {"{\"do_sample\": 1}", "'do_sample' is not true or false"},
        {"{\"max_new_tokens\": 0}", "max_new_tokens"},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct err e = ERR_INIT;
        struct sample_rules r;
        assert_int_equal(read_sample("{}", cases[i].generation, &r, &e), -1);
        assert_int_equal(e.code, ERR_FORMAT);
        if (!strstr(e.msg, cases[i].says))
            fail_msg("'%s' does not say '%s'", e.msg, cases[i].says);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_target_generation_comes_before_config),
        cmocka_unit_test(test_target_search_is_the_checkpoints),
        cmocka_unit_test(test_target_old_files_force_the_begin_token),
        cmocka_unit_test(test_target_lists_what_is_not_done),
        cmocka_unit_test(test_target_says_what_is_wrong),
        cmocka_unit_test(test_sample_what_is_not_said_is_not_taken_for_said),
        cmocka_unit_test(test_sample_says_what_is_wrong),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
