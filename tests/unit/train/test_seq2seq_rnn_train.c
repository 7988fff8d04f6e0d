/* Whole trainings of small recurrent encoder-decoders on generated pairs: they
 * learn to turn strings round, what is written is served as it was trained, and
 * a training in pieces ends like one in one go.
 *
 * SPDX-License-Identifier: MIT */
#include "models/rnn/seq2seq_rnn.h"
#include "tests/support/arch_rig.h"
#include "tests/support/tokenizer_at.h"
#include "tests/support/train_rig.h"

#define STRINGS 1500
#define LETTERS 6
#define MOST 5 /* letters of a string */
#define TRIED 40
#define RIGHT 36 /* of them */

static char string[STRINGS][MOST + 1];

static const char small[] =
    "--arch seq2seq-rnn --tokenizer characters --embedding 16 --hidden 32 "
    "--max-len 16 --hold-out 0.05 --batch-tokens 192 --lr 0.01 --precision f32 "
    "--threads 1";

static int32_t one_step(struct rig *g, struct rig_seq *s, int port,
                        const int32_t *ids, int n)
{
    float row[32];
    struct err e = ERR_INIT;
    struct rig_item it = {.seq = s, .port = port, .ids = ids, .n = n};
    int V = g->info.cols[OUT_LOGITS];
    assert_true(V <= 32);
    it.n_want = port == PORT_TARGET;
    it.want[0] = (struct want){.from = n - 1, .n = 1, .dst = row, .ld = 32};
    assert_int_equal(rig_step(g, &it, 1, &e), 0);
    assert_int_equal(it.status, 0);
    int32_t best = 0;
    for (int v = 1; it.n_want && v < V; v++)
        best = row[v] > row[best] ? v : best;
    return best;
}

/* Greedy, from the start to the end token: is it the string from its end? */
static int turns(struct rig *g, const struct tokenizer *t, const char *text)
{
    int n = (int)strlen(text), right = 1;
    int32_t source[MOST + 1], id = g->info.target.start;
    struct rig_seq s;
    char letter[2] = "";
    for (int k = 0; k < n; k++) {
        letter[0] = text[k];
        source[k] = tokenizer_id(t, letter);
    }
    source[n] = tokenizer_eos(t);
    assert_int_equal(rig_seq_open(g, &s), 0);
    one_step(g, &s, PORT_SOURCE, source, n + 1);
    for (int k = n; k >= 0 && right; k--) {
        id = one_step(g, &s, PORT_TARGET, &id, 1);
        right = id == (k > 0 ? source[k - 1] : source[n]);
    }
    rig_seq_close(&s);
    return right;
}

static void check_learns(const char *more)
{
    char out[128];
    struct err e = ERR_INIT;
    struct options o = train_rig_pair_options(more, out, "round");
    struct tokenizer *t;
    struct rig g;
    double loss = train_rig_train(&o).valid;
    /* what is not looked up is guessed: 1.79 nats a letter */
    if (!(loss < 0.3))
        fail_msg("%s: %.4f nats", more, loss);
    if (rig_open(&g, &seq2seq_rnn_arch, out, "auto", 1, 0, &e) ||
        tokenizer_at(out, "round", &t, &e))
        fail_msg("%s: %s", more, e.msg);
    int right = 0;
    for (int i = 0; i < TRIED; i++)
        right += turns(&g, t, string[i]);
    if (right < RIGHT)
        fail_msg("%s: %d of %d are right", more, right, TRIED);
    tokenizer_close(t);
    rig_close(&g);
}

static void test_recurrent_nets_learn_to_turn_strings_round(void **state)
{
    check_learns("--cell gru --bidirectional --attention additive --epochs 8");
    check_learns("--cell lstm --attention dot --projection 16 --tie "
                 "--epochs 12");
}

static void test_a_training_in_pieces_ends_like_one_in_one_go(void **state)
{
    char out[128];
    train_rig_expect_resumable(train_rig_pair_options(
        "--cell lstm --bidirectional --layers 2 --epochs 3 "
        "--dropout 0.1 --dropout-embedding 0.1 --dropout-output 0.1 "
        "--dropout-recurrent 0.1 --eval-every 20 --threads 2",
        out, "-"));
}

static void test_options_that_make_no_sense_are_refused(void **state)
{
    static const struct train_rig_refusal rows[] = {
        {"--task classifier", "learns from pairs of texts"},
        {"--cell elman", "--cell lstm or --cell gru"},
        {"--layers 5", "layers must be 1 to 4"},
        {"--attention dot --bidirectional", "an encoder of one direction"},
        {"--attention none --projection 8", "needs an attention"},
        {"--tie", "output width 64 that equals the embedding's 16"},
    };
    train_rig_refuse_pairs(rows, COUNT(rows));
}

static void test_what_is_written_is_read_back(void **state)
{
    char out[128];
    struct net net;
    real *w;
    struct options o = train_rig_pair_options(
        "--cell lstm --bidirectional --layers 2 --attention general "
        "--projection 16 --tie --epochs 1",
        out, "written");
    train_rig_written(&o, &net, &w);
    assert_true(net_find(&net, "bridge.c.1.weight") > 0);
    assert_true(net_find(&net, "encoder.rnn.bias_hh_l1_reverse") > 0);
    assert_int_equal(net.out_w, net.embedding);
    train_rig_drop(&net, w);
}

static int setup(void **state)
{
    int rc = train_rig_open(state);
    train_rig_pairs.base = small;
    train_rig_turned(STRINGS, MOST, LETTERS, string[0]);
    return rc;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_recurrent_nets_learn_to_turn_strings_round),
        cmocka_unit_test(test_a_training_in_pieces_ends_like_one_in_one_go),
        cmocka_unit_test(test_options_that_make_no_sense_are_refused),
        cmocka_unit_test(test_what_is_written_is_read_back),
    };
    return cmocka_run_group_tests(tests, setup, train_rig_close);
}
