/* SPDX-License-Identifier: MIT */
#include "models/train/train_options.h"
#include "tests/support/unit.h"

static int parse(struct options *o, struct err *e, int n, char **words)
{
    return train_options_parse(n, words, o, e);
}

static void test_options_have_their_defaults(void **state)
{
    char *words[] = {"seqd-train", "train"};
    struct options o;
    struct err e = ERR_INIT;
    assert_int_equal(parse(&o, &e, 2, words), 0);
    assert_string_equal(o.command, "train");
    assert_int_equal(o.task, TASK_LM);
    assert_int_equal(o.precision, PRECISION_BF16);
    assert_int_equal(o.tie, 0);
    assert_null(o.data);
}

static void test_options_are_read_by_type(void **state)
{
    char *words[] = {"seqd-train", "train",    "--cell", "gru",
                     "--lr",       "0.5",      "--tie",  "--data",
                     "a,b:.3",     "--layers", "2",      "--bidirectional",
                     "0",          "--resume"};
    struct options o;
    struct err e = ERR_INIT;
    assert_int_equal(parse(&o, &e, 14, words), 0);
    assert_int_equal(o.cell, CELL_GRU);
    assert_true(o.lr == 0.5);
    assert_int_equal(o.tie, 1);
    assert_string_equal(o.data, "a,b:.3");
    assert_int_equal(o.layers, 2);
    assert_int_equal(o.bidirectional, 0);
    assert_int_equal(o.resume, 1);
}

static void test_options_know_whether_a_precision_was_given(void **state)
{
    char *words[] = {"seqd-train", "convert", "--precision=int8"};
    struct options o;
    struct err e = ERR_INIT;
    assert_int_equal(parse(&o, &e, 3, words), 0);
    assert_int_equal(o.precision, PRECISION_INT8);
    assert_int_equal(o.precision_given, 1);
    assert_int_equal(parse(&o, &e, 2, words), 0);
    assert_int_equal(o.precision_given, 0);
}

static void test_tokenizer_is_a_word_or_says_its_size(void **state)
{
    static const struct {
        char *value;
        int tokenizer, size; /* -1: refused */
    } rows[] = {
        {"english", TOKENIZER_ENGLISH, 0},
        {"characters", TOKENIZER_CHARACTERS, 0},
        {"bpe:8000", TOKENIZER_BPE, 8000},
        {"bpe:1000000", TOKENIZER_BPE, 1000000},
        {"bpe:1000001", -1, 0},
        {"bpe:99999999999999999999", -1, 0},
        {"bpe:-300", -1, 0},
        {"bpe: 300", -1, 0},
        {"bpe:300x", -1, 0},
        {"bpe:", -1, 0},
        {"bpe", -1, 0},
        {"", -1, 0},
        {"word", -1, 0},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        char *words[] = {"seqd-train", "train", "--tokenizer", rows[i].value};
        struct options o;
        struct err e = ERR_INIT;
        int refused = rows[i].tokenizer < 0;
        assert_int_equal(parse(&o, &e, 4, words), refused ? -1 : 0);
        if (refused)
            assert_non_null(strstr(e.msg, "characters or bpe:N"));
        else
            assert_true(o.tokenizer == rows[i].tokenizer &&
                        o.sub_words == rows[i].size);
    }
}

static void test_options_that_a_command_does_not_read_are_refused(void **state)
{
    static const struct {
        char *words[4];
        const char *message; /* NULL: taken */
    } rows[] = {
        {{"train", "--threads", "2"}, NULL},
        {{"eval", "--threads", "2", "--bf16"}, NULL},
        {{"eval", "--kernels=avx2", "--model", "m"}, NULL},
        {{"eval", "--data=d", "--record=blank", "--max-len=9"}, NULL},
        {{"train", "--kernels", "avx2"}, "--kernels is no option of train"},
        {{"train", "--path=fast"}, "--path is no option of train"},
        {{"train", "--bf16"}, "--bf16 is no option of train"},
        {{"train", "--tie", "--spin-us", "-1"},
         "--spin-us is no option of train"},
        {{"train", "--model", "m"}, "--model is no option of train"},
        {{"eval", "--lr", "0.1"}, "--lr is no option of eval"},
        {{"convert", "--model=m", "--precision", "int8"}, NULL},
        {{"convert", "--data", "d"}, "--data is no option of convert"},
        {{"convert", "--threads=1"}, "--threads is no option of convert"},
        {{"eval", "--precision", "int8"}, "--precision is no option of eval"},
        {{"eval", "--out", "o"}, "--out is no option of eval"},
        {{"train", "--beams", "2"}, "--beams is no option of train"},
        {{"gradcheck", "--threads", "1"},
         "--threads is no option of gradcheck"},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        char *words[5] = {"seqd-train"};
        struct options o;
        struct err e = ERR_INIT;
        int n = 1;
        for (; n < 5 && rows[i].words[n - 1] != NULL; n++)
            words[n] = rows[i].words[n - 1];
        assert_int_equal(parse(&o, &e, n, words), rows[i].message ? -1 : 0);
        assert_string_equal(e.msg, rows[i].message ? rows[i].message : "");
    }
}

static void test_options_that_a_net_does_not_read_are_refused(void **state)
{
    static const struct {
        char *words[5];
        const char *message; /* NULL: taken */
    } rows[] = {
        {{"--arch", "seq2seq-rnn", "--cell", "gru", "--tie"}, NULL},
        {{"--arch", "seq2seq-transformer", "--heads", "2", "--tie"}, NULL},
        {{"--arch", "seq2seq-rnn", "--decoder-layers", "2"},
         "--decoder-layers is no option of a seq2seq-rnn"},
        {{"--arch=seq2seq-rnn", "--context=9"},
         "--context is no option of a seq2seq-rnn"},
        {{"--arch=seq2seq-transformer", "--attention=dot"},
         "--attention is no option of a seq2seq-transformer"},
        {{"--arch=seq2seq-transformer", "--dropout-recurrent=0.1"},
         "--dropout-recurrent is no option of a seq2seq-transformer"},
        {{"--arch=seq2seq-transformer", "--batch=9"},
         "--batch is no option of a seq2seq-transformer"},
        {{"--batch-tokens", "9"},
         "--batch-tokens is no option of a net of single texts"},
        {{"--vocab-from", "d", "--epochs", "2"}, NULL},
        {{"--vocab-from", "d", "--tokenizer", "bpe:300"},
         "--vocab-from brings the vocabulary: --tokenizer is one too many"},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        char *words[7] = {"seqd-train", "train"};
        struct options o;
        struct err e = ERR_INIT;
        int n = 2;
        for (; n < 7 && rows[i].words[n - 2] != NULL; n++)
            words[n] = rows[i].words[n - 2];
        assert_int_equal(parse(&o, &e, n, words), rows[i].message ? -1 : 0);
        assert_string_equal(e.msg, rows[i].message ? rows[i].message : "");
    }
}

static void test_no_word_is_help_and_a_forgotten_command_is_none(void **state)
{
    char *words[] = {"seqd-train", "--task", "lm"};
    struct options o;
    struct err e = ERR_INIT;
    assert_int_equal(parse(&o, &e, 1, words), 0);
    assert_string_equal(o.command, "help");
    assert_int_equal(parse(&o, &e, 3, words), -1);
    assert_string_equal(e.msg,
                        "the command is missing, expected "
                        "train|eval|calibrate|convert|bleu|gradcheck|help");
}

static void test_wrong_options_are_named_with_what_is_expected(void **state)
{
    static const struct {
        char *name, *value;
        const char *message;
    } rows[] = {
        {"--cell", "lstn", "--cell is 'lstn', expected lstm|gru|elman"},
        {"--layers", "9", "--layers is '9', expected a whole number 1..8"},
        {"--layers", "1.5", "--layers is '1.5', expected a whole number 1..8"},
        {"--dropout", "x", "--dropout is 'x', expected 0..0.95"},
        {"--dropout", "nan", "--dropout is 'nan', expected 0..0.95"},
        {"--seed", "", "--seed is '', expected a whole number 0..2147483647"},
        {"--colour", "1", "unknown option '--colour' (see --help)"},
        {"data", "x", "unknown option 'data' (see --help)"},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        char *words[] = {"seqd-train", "train", rows[i].name, rows[i].value};
        struct options o;
        struct err e = ERR_INIT;
        assert_int_equal(parse(&o, &e, 4, words), -1);
        assert_string_equal(e.msg, rows[i].message);
    }
    char *last[] = {"seqd-train", "train", "--data"};
    struct options o;
    struct err e = ERR_INIT;
    assert_int_equal(parse(&o, &e, 3, last), -1);
    assert_string_equal(e.msg, "--data needs a value");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_options_have_their_defaults),
        cmocka_unit_test(test_tokenizer_is_a_word_or_says_its_size),
        cmocka_unit_test(test_options_are_read_by_type),
        cmocka_unit_test(test_options_know_whether_a_precision_was_given),
        cmocka_unit_test(test_options_that_a_command_does_not_read_are_refused),
        cmocka_unit_test(test_options_that_a_net_does_not_read_are_refused),
        cmocka_unit_test(test_no_word_is_help_and_a_forgotten_command_is_none),
        cmocka_unit_test(test_wrong_options_are_named_with_what_is_expected),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
