/* Whole trainings of small Transformers on generated text: they learn, stop and
 * go on as one run, and a masked or causal BERT starts a classifier; what is
 * written is Hugging Face's layout.
 *
 * SPDX-License-Identifier: MIT */
#include "engine/checkpoint/weights.h"
#include "tests/support/train_rig.h"

static char words[128], labelled[128];

/* Sentences whose third and fourth words repeat the first and the second: 4
 * choices two times of 5 predictions, then nothing. Without a memory: four
 * times, 1.11 nats. */
#define ENTROPY (2 * 1.386294361 / 5)

static void write_words(void)
{
    FILE *f = train_rig_file(words, "words.txt");
    uint32_t x = 1;
    for (int i = 0; i < 600; i++) {
        int w[2];
        for (int k = 0; k < 2; k++) {
            x = x * 1664525u + 1013904223u;
            w[k] = (int)(x >> 24) % 4;
        }
        fprintf(f, "a%d b%d c%d d%d\n", w[0], w[1], w[0], w[1]);
    }
    fclose(f);
}

/* The label is whether "good" comes before "bad". */
static void write_labelled(void)
{
    FILE *f = train_rig_file(labelled, "labelled.txt");
    uint32_t x = 7;
    for (int i = 0; i < 400; i++) {
        x = x * 1664525u + 1013904223u;
        int n = 2 + (int)(x >> 24) % 7, k = (int)(x >> 16 & 255) % (n - 1);
        int l = k + 1 + (int)(x >> 8 & 255) % (n - 1 - k);
        fprintf(f, "%s", i % 2 ? "1" : "0");
        for (int j = 0; j < n; j++)
            fprintf(f, " %s",
                    j == k   ? (i % 2 ? "good" : "bad")
                    : j == l ? (i % 2 ? "bad" : "good")
                             : "so");
        fputc('\n', f);
    }
    fclose(f);
}

static const char lm_words[] =
    "--tokenizer whitespace --embedding 24 --heads 3 --layers 2 --context 16 "
    "--bptt 16 --batch 4 --lr 0.005 --warmup 20 --precision f32 --threads 1";
static const char class_words[] =
    "--task classifier --arch bert --tokenizer whitespace --embedding 16 "
    "--heads 2 --context 12 --max-len 12 --batch 16 --lr 0.005 --warmup 20 "
    "--id2label no,yes --threads 1";

static struct options lm(const char *more, char *out, const char *name)
{
    return train_rig_options(lm_words, more, words, train_rig_path(out, name));
}

static struct options classes(const char *more, char *out, const char *name)
{
    return train_rig_options(class_words, more, labelled,
                             train_rig_path(out, name));
}

static void test_a_decoder_learns_what_two_words_ago_said(void **state)
{
    static const char *const kinds[] = {
        "--arch gpt2 --epochs 30",
        "--arch gpt2 --epochs 40 --softmax sampled --samples 10",
        "--arch bert --causal 1 --epochs 30",
    };
    char out[128];
    for (int i = 0; i < 3; i++) {
        struct options o = lm(kinds[i], out, "decoder");
        double loss = train_rig_train(&o).valid;
        /* a window's first words do not know what was before it */
        if (!(loss < ENTROPY + 0.25))
            fail_msg("kind %d: %.4f nats, the text has %.4f", i, loss, ENTROPY);
    }
}

static void test_an_encoder_learns_an_order_of_words(void **state)
{
    char out[128];
    struct options o = classes("--epochs 16", out, "encoder");
    double accuracy = train_rig_train(&o).accuracy;
    if (!(accuracy > 0.97))
        fail_msg("accuracy %.3f", accuracy);
}

/* What a step fed: 30 % of the tokens chosen, none of them special, 80 % of
 * those masked now, 10 % drawn anew (one in V as it was), 10 % as they were.
 * `own`: the vocabulary has an entry for masks, else the unknown one serves. */
static void expect_share_masked(const struct options *o, int own)
{
    struct err e = ERR_INIT;
    int special = 0, masked = 0, same = 0, steps = 0, tokens = 0, picks = 0;
    struct trainer *t = train_rig_trainer(o);
    int32_t mask = tokenizer_mask(t->tokenizer);
    assert_int_equal(mask >= 0, own);
    mask = own ? mask : tokenizer_unk(t->tokenizer);
    assert_int_equal(trainer_begin_epoch(t, &e), 0);
    for (; t->at.in_epoch < t->epoch.steps; t->at.step++) {
        const struct feed *f = &t->worker[0].feed;
        double loss;
        int64_t rows;
        trainer_step(t, 0, &loss, &rows);
        assert_int_equal(rows, f->batch.n_target);
        for (int i = 0; i < f->batch.n_target; i++) {
            int32_t now = f->batch.ids[f->batch.pick[i]];
            special += tokenizer_is_special(t->tokenizer, f->batch.target[i]);
            masked += now == mask;
            same += now == f->batch.target[i];
        }
        picks += f->batch.n_target;
        tokens += f->batch.N;
        steps++;
    }
    assert_true(steps > 4 && tokens > 2500);
    assert_int_equal(special, 0);
    /* a fifth of the text is ends of sentences; 4 deviations about each */
    assert_true(abs(picks - tokens * 24 / 100) < 100);
    assert_true(abs(masked - picks * 81 / 100) < picks * 7 / 100);
    assert_true(abs(same - picks * 11 / 100) < picks * 5 / 100);
    train_rig_free(t);
}

static void test_a_masked_model_is_asked_for_a_share_of_the_tokens(void **state)
{
    char out[128], from[128];
    struct options o =
        lm("--arch bert --batch 32 --mask-rate 0.3", out, "masked");
    expect_share_masked(&o, 1);
    o = lm("--arch gpt2 --epochs 1", from, "no-mask");
    train_rig_train(&o);
    o = lm("--arch bert --batch 32 --mask-rate 0.3", out, "masked-by-unk");
    o.vocab_from = from;
    expect_share_masked(&o, 0);
}

static void test_a_training_in_pieces_ends_like_one_in_one_go(void **state)
{
    char out[128];
    train_rig_expect_resumable(
        lm("--arch gpt2 --epochs 4 --dropout 0.1 --dropout-embedding 0.1 "
           "--dropout-output 0.1 --average ema --threads 2",
           out, "-"));
}

/* All of the encoder comes along, pooler and classifier are new. */
static void test_a_masked_model_starts_a_classifier(void **state)
{
    char a[128], b[128];
    struct err e = ERR_INIT;
    struct weights *w;
    struct options o =
        lm("--arch bert --epochs 1 --embedding 16 --heads 2 --layers 1 "
           "--context 12 --bptt 12",
           a, "start");
    o.data = o.valid = labelled;
    train_rig_train(&o);
    o = classes("--epochs 1", b, "started");
    o.init = o.vocab_from = a;
    struct trainer *t = train_rig_trainer(&o);
    int pooler = net_find(&t->net, "bert.pooler.dense.weight");
    assert_int_equal(weights_open(a, "start", &w, &e), 0);
    for (int i = 0; i < pooler; i++) {
        const struct net_tensor *x = &t->net.t[i];
        const struct tensor *from = weights_find(w, x->name);
        float first;
        assert_non_null(from);
        tensor_read(from, 0, 1, &first);
        assert_true(x->from_start && (float)t->w[x->at] == first);
    }
    assert_true(pooler > 0);
    assert_false(t->net.t[pooler].from_start);
    assert_false(t->net.t[t->net.out_w].from_start);
    weights_close(w);
    train_rig_free(t);
}

static void test_sizes_that_contradict_each_other_are_refused(void **state)
{
    static const char *const cases[][2] = {
        {"--arch gpt2 --heads 5", "not divisible by 5 heads"},
        {"--arch gpt2 --bptt 17", "--bptt 17 is longer than --context 16"},
    };
    char out[128];
    for (int i = 0; i < 2; i++) {
        struct options o = lm(cases[i][0], out, "refused");
        train_rig_refuse(&o, cases[i][1]);
    }
    struct options o = classes("--arch gpt2", out, "refused");
    train_rig_refuse(&o, "a gpt2 is a language model");
    o = classes("--context 4", out, "refused");
    train_rig_refuse(&o, "do not fit --context 4");
}

static int setup(void **state)
{
    int rc = train_rig_open(state);
    write_words();
    write_labelled();
    return rc;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_decoder_learns_what_two_words_ago_said),
        cmocka_unit_test(test_an_encoder_learns_an_order_of_words),
        cmocka_unit_test(
            test_a_masked_model_is_asked_for_a_share_of_the_tokens),
        cmocka_unit_test(test_a_training_in_pieces_ends_like_one_in_one_go),
        cmocka_unit_test(test_a_masked_model_starts_a_classifier),
        cmocka_unit_test(test_sizes_that_contradict_each_other_are_refused),
    };
    return cmocka_run_group_tests(tests, setup, train_rig_close);
}
