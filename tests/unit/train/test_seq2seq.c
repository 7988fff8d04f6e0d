/* Whole trainings of small encoder-decoders on generated pairs: they learn to
 * turn strings round, which no decoder can that does not look at its source;
 * they stop and go on as one run; batches hold what they should.
 *
 * SPDX-License-Identifier: MIT */
#include "tests/support/train_rig.h"

static const char small[] =
    "--arch seq2seq-transformer --tokenizer characters --embedding 32 "
    "--heads 4 --inner 64 --layers 1 --context 16 --max-len 16 "
    "--hold-out 0.05 --batch-tokens 256 --optimizer adam --beta2 0.98 "
    "--lr 0.003 --precision f32 --threads 1";

static void test_a_transformer_learns_to_turn_strings_round(void **state)
{
    char out[128];
    struct options o =
        train_rig_pair_options("--epochs 16 --warmup 100 --label-smoothing "
                               "0.1 --schedule inverse-sqrt",
                               out, "round");
    double loss = train_rig_train(&o).valid;
    /* what is not looked up is guessed: 2.08 nats a letter */
    if (!(loss < 0.15))
        fail_msg("%.4f nats", loss);
}

static void test_a_training_in_pieces_ends_like_one_in_one_go(void **state)
{
    char out[128];
    train_rig_expect_resumable(train_rig_pair_options(
        "--epochs 3 --dropout 0.1 --dropout-embedding 0.1 "
        "--dropout-attention 0.1 --warmup 20 --schedule "
        "inverse-sqrt --eval-every 20 --average last "
        "--average-last 3 --threads 2 --language fr",
        out, "-"));
}

/* Two epochs and then two more: the mean of the last checkpoints has those of
 * the first run, too. */
static void test_the_last_checkpoints_are_in_the_state(void **state)
{
    char a[128], b[128];
    const char *more = "--epochs 4 --schedule inverse-sqrt --average last";
    struct options o = train_rig_pair_options(more, a, "four");
    train_rig_train(&o);
    o = train_rig_pair_options(more, b, "two");
    o.epochs = 2;
    train_rig_train(&o);
    assert_false(train_rig_same(a, b));
    o.epochs = 4;
    o.resume = 1;
    train_rig_train(&o);
    assert_true(train_rig_same(a, b));
    o.average_last = 4;
    train_rig_refuse(&o, "state.bin is of another net, data, batch");
}

static void test_the_mean_of_one_checkpoint_is_itself(void **state)
{
    char a[128], b[128];
    struct options o = train_rig_pair_options("--epochs 2", a, "plain");
    train_rig_train(&o);
    o = train_rig_pair_options("--epochs 2 --average last --average-last 1", b,
                               "one");
    train_rig_train(&o);
    assert_true(train_rig_same(a, b));
}

static void test_the_rate_falls_by_the_root_of_the_steps(void **state)
{
    char out[128];
    struct options o = train_rig_pair_options(
        "--epochs 1 --warmup 16 --schedule inverse-sqrt", out, "rate");
    struct curve_point p = train_rig_train(&o);
    assert_true(p.step > 32);
    double want = 0.003 * sqrt(16.0 / (double)p.step);
    assert_true(fabs(p.lr - want) < 1e-9);
    o.eval_every = 8;
    o.epochs = 1;
    struct trainer *t = train_rig_trainer(&o);
    struct err e = ERR_INIT;
    t->stop = &train_rig.never;
    assert_int_equal(trainer_run(t, &e), 0);
    assert_true(fabs(t->curve.v[0].lr - 0.003 * 8 / 16) < 1e-9);
    assert_true(fabs(t->curve.v[1].lr - 0.003) < 1e-9);
    assert_true(fabs(t->curve.v[3].lr - 0.003 * sqrt(0.5)) < 1e-9);
    train_rig_free(t);
}

/* Each pair once in an epoch, no worker with more rows than its share on either
 * side, and what is predicted is what is read a step later. */
static void test_an_epoch_has_each_pair_once_in_batches_of_tokens(void **state)
{
    char out[128];
    struct err e = ERR_INIT;
    struct options o = train_rig_pair_options("--threads 3", out, "batches");
    struct trainer *t = train_rig_trainer(&o);
    int texts = 0, full = 0;
    int32_t pad = tokenizer_id(t->tokenizer, "<pad>");
    int32_t eos = tokenizer_eos(t->tokenizer);
    assert_int_equal(trainer_begin_epoch(t, &e), 0);
    for (; t->at.in_epoch < t->epoch.steps; t->at.step++) {
        double loss;
        int64_t rows, sum = 0;
        trainer_step(t, 0, &loss, &rows);
        for (int w = 0; w < t->n_workers; w++) {
            const struct pass_batch *b = &t->worker[w].feed.batch;
            assert_true(b->N <= 256 / 3 && b->source.N <= 256 / 3);
            full += b->N > 256 / 3 - 16;
            for (int r = 0; r < b->B; r++) {
                int from = b->start[r], to = b->start[r + 1];
                assert_int_equal(b->ids[from], pad);
                assert_int_equal(b->target[to - 1], eos);
                assert_int_equal(b->source.ids[b->source.start[r + 1] - 1],
                                 eos);
                /* a string is as long as itself from its end */
                assert_int_equal(to - from, b->source.length[r]);
                for (int i = from + 1; i < to; i++)
                    assert_int_equal(b->ids[i], b->target[i - 1]);
                for (int i = 0; i < to - from - 1; i++)
                    assert_int_equal(
                        b->target[from + i],
                        b->source.ids[b->source.start[r + 1] - 2 - i]);
            }
            texts += b->B;
            sum += b->N;
        }
        assert_int_equal(rows, sum);
    }
    assert_int_equal(texts, t->train.n_records);
    assert_true(full > 2 * t->epoch.steps);
    train_rig_free(t);
}

/* What stands for no word is there however many words are not. */
static void test_what_begins_and_ends_texts_stays_known(void **state)
{
    char out[128];
    struct err e = ERR_INIT;
    struct options o =
        train_rig_pair_options("--tokenizer english --language fr "
                               "--unk-rate 0.95",
                               out, "unknown");
    struct trainer *t = train_rig_trainer(&o);
    int32_t fr = tokenizer_id(t->tokenizer, ">>fr<<");
    int32_t pad = tokenizer_id(t->tokenizer, "<pad>");
    int32_t unk = tokenizer_unk(t->tokenizer);
    const struct pass_batch *b = &t->worker[0].feed.batch;
    double loss;
    int64_t rows;
    int known = 0;
    assert_true(fr >= 0 && unk >= 0);
    assert_int_equal(trainer_begin_epoch(t, &e), 0);
    trainer_step(t, 0, &loss, &rows);
    assert_true(b->B > 20);
    for (int r = 0; r < b->B; r++) {
        const int32_t *s = b->source.ids + b->source.start[r];
        assert_int_equal(s[0], fr);
        assert_int_equal(s[b->source.length[r] - 1],
                         tokenizer_eos(t->tokenizer));
        assert_int_equal(b->ids[b->start[r]], pad);
        known += s[1] != unk;
    }
    assert_true(known < b->B / 2);
    train_rig_free(t);
}

/* The order of an epoch is the seed's and the epoch's. */
static void test_batches_come_in_another_order_in_each_epoch(void **state)
{
    char out[128];
    struct err e = ERR_INIT;
    int32_t first[3][8];
    struct options o = train_rig_pair_options("", out, "order");
    struct trainer *t = train_rig_trainer(&o);
    for (int i = 0; i < 3; i++) {
        t->at.epoch = i % 2;
        assert_int_equal(trainer_begin_epoch(t, &e), 0);
        t->objective->aim(&t->epoch, t, 0);
        memcpy(first[i], t->epoch.items, sizeof first[i]);
    }
    assert_memory_equal(first[0], first[2], sizeof first[0]);
    assert_true(memcmp(first[0], first[1], sizeof first[0]) != 0);
    train_rig_free(t);
}

static void test_options_that_make_no_sense_are_refused(void **state)
{
    static const struct train_rig_refusal rows[] = {
        {"--task classifier", "learns from pairs of texts"},
        {"--heads 5", "not divisible by 5 heads"},
        {"--context 4", "do not fit --context 4"},
        {"--source a", "pairs are in --data, or in --source and --target"},
        {"--valid-source a", "in --valid-source and --valid-target"},
        {"--valid-source a --valid-target b", "--hold-out is for trainings"},
        {"--softmax sampled --label-smoothing 0.1",
         "--label-smoothing has no part in --softmax sampled"},
        {"--language fr --language-column", "a column (--language-column), or"},
        {"--language f.r", "--language has 'f.r', expected letters"},
        {"--language fr,de", "--language has 2 names, expected one for all"},
    };
    char out[128];
    train_rig_refuse_pairs(rows, COUNT(rows));
    struct options o =
        train_rig_options("--tokenizer characters --language-column", "",
                          train_rig_pairs.path, train_rig_path(out, "refused"));
    train_rig_refuse(&o, "pairs of texts are for --arch seq2seq");
    o = train_rig_pair_options("--tokenizer characters", out, "refused");
    o.vocab_from = NULL;
    o.valid = o.data;
    o.hold_out_given = 0;
    o.language_column = 1;
    train_rig_refuse(&o, "line 1: expected a language, a tab, source, a tab "
                         "and target");
    o = train_rig_pair_options("--max-len 2 --batch-tokens 9", out, "refused");
    train_rig_refuse(&o, "pairs has a side of more than 2 tokens: a larger");
    o = train_rig_pair_options("", out, "refused");
    o.hold_out = 1e-9;
    train_rig_refuse(&o, "pairs.tsv: no pairs are held out: a larger");
}

/* A share that comes to no pair at all would train nothing, and say nothing. */
static void test_an_epoch_of_no_pairs_is_an_error(void **state)
{
    char out[128], data[160];
    struct err e = ERR_INIT;
    struct options o = train_rig_pair_options("--epochs 1", out, "nothing");
    snprintf(data, sizeof data, "%s:0.0001", train_rig_pairs.path);
    o.data = data;
    struct trainer *t = train_rig_trainer(&o);
    t->stop = &train_rig.never;
    assert_int_equal(trainer_run(t, &e), -1);
    assert_non_null(strstr(e.msg, "an epoch has no records: take more of"));
    train_rig_free(t);
}

/* What is written is a Marian, which starts with the pad token, and is read
 * back as the net that it was. */
static void test_what_is_written_is_read_back(void **state)
{
    static const char *const keys[] = {
        "\"model_type\": \"marian\"",  "\"decoder_start_token_id\": 1,",
        "\"pad_token_id\": 1,",        "\"eos_token_id\": 0,",
        "\"forced_eos_token_id\": 0,", "\"encoder_layers\": 1,",
        "\"decoder_layers\": 2,",      "\"encoder_ffn_dim\": 64,",
        "\"scale_embedding\": true,",  "\"activation_function\": \"swish\",",
        "\"bad_words_ids\": [[1]]",
    };
    char out[128], path[160], *text;
    size_t n;
    struct net net;
    real *w;
    struct err e = ERR_INIT;
    struct options o = train_rig_pair_options(
        "--epochs 1 --decoder-layers 2 --activation swish", out, "written");
    train_rig_written(&o, &net, &w);
    snprintf(path, sizeof path, "%s/config.json", out);
    assert_int_equal(file_read(path, path, 1 << 20, &text, &n, &e), 0);
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++)
        if (strstr(text, keys[i]) == NULL)
            fail_msg("config.json has no %s", keys[i]);
    mem_free(text);
    assert_true(net_find(&net, "model.decoder.layers.1.encoder_attn_layer_norm"
                               ".bias") > 0);
    const struct net_tensor *bias = &net.t[net_find(&net, "final_logits_bias")];
    assert_int_equal(bias->dim[0], 1);
    for (size_t i = 0; i < bias->n; i++)
        assert_true(w[bias->at + i] == 0);
    train_rig_drop(&net, w);
}

/* The bias of Marian's output is no parameter, though --init brings one. */
static void test_the_bias_of_the_output_does_not_learn(void **state)
{
    char from[128], to[128], more[200];
    struct net net;
    real *w;
    struct err e = ERR_INIT;
    struct options o = train_rig_pair_options("--epochs 1", from, "from");
    train_rig_train(&o);
    snprintf(more, sizeof more, "--epochs 1 --init %s", from);
    o = train_rig_pair_options(more, to, "to");
    train_rig_train(&o);
    if (load_net(to, &net, &w, &e) != 0)
        fail_msg("%s", e.msg);
    const struct net_tensor *bias = &net.t[net_find(&net, "final_logits_bias")];
    for (size_t i = 0; i < bias->n; i++)
        assert_true(w[bias->at + i] == 0);
    net_fini(&net);
    mem_aligned_free(w);
}

static int setup(void **state)
{
    int rc = train_rig_open(state);
    train_rig_pairs.base = small;
    train_rig_turned(3000, 6, 8, NULL);
    return rc;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_transformer_learns_to_turn_strings_round),
        cmocka_unit_test(test_a_training_in_pieces_ends_like_one_in_one_go),
        cmocka_unit_test(test_the_last_checkpoints_are_in_the_state),
        cmocka_unit_test(test_the_mean_of_one_checkpoint_is_itself),
        cmocka_unit_test(test_the_rate_falls_by_the_root_of_the_steps),
        cmocka_unit_test(test_an_epoch_has_each_pair_once_in_batches_of_tokens),
        cmocka_unit_test(test_what_begins_and_ends_texts_stays_known),
        cmocka_unit_test(test_batches_come_in_another_order_in_each_epoch),
        cmocka_unit_test(test_options_that_make_no_sense_are_refused),
        cmocka_unit_test(test_an_epoch_of_no_pairs_is_an_error),
        cmocka_unit_test(test_what_is_written_is_read_back),
        cmocka_unit_test(test_the_bias_of_the_output_does_not_learn),
    };
    return cmocka_run_group_tests(tests, setup, train_rig_close);
}
