/* Trainings of nets that have to remember: values from vectors, last tokens
 * alone; and what language models of AWD-LSTM have besides (chunks by chance,
 * an average that a validation begins). Norms of gradients by time.
 *
 * SPDX-License-Identifier: MIT */
#include <math.h>

#include "engine/base/json.h"
#include "tests/support/train_memory.h"

static void test_a_value_is_learned_from_vectors(void **state)
{
    static const char *const nets[] = {
        "--hidden 16 --epochs 15", "--cell gru --hidden 16 --epochs 15",
        "--cell elman --nonlinearity relu --hidden 16 --epochs 25 --lr 0.003 "
        "--init-input 0.1",
        "--cell gru --bidirectional --pooling mean --hidden 12 --epochs 15",
        "--arch bert --embedding 16 --heads 2 --inner 24 --context 6 --epochs "
        "15 --lr 0.003"};
    char out[128];
    for (size_t i = 0; i < COUNT(nets); i++) {
        struct options o = values(nets[i], out, "values");
        double error = train_rig_train(&o).valid;
        if (!(error < 0.01))
            fail_msg("net %d: error %.4f, without memory 0.083", (int)i, error);
    }
}

static void test_a_net_of_vectors_is_written_and_read(void **state)
{
    static const char *const nets[] = {
        "--cell gru --layers 2 --hidden 5 --epochs 1 --projection 4",
        "--arch bert --embedding 8 --heads 2 --context 6 --epochs 1"};
    char out[128], path[160], *text;
    struct err e = ERR_INIT;
    for (size_t i = 0; i < COUNT(nets); i++) {
        struct options o = values(nets[i], out, "written");
        struct net net;
        size_t n;
        real *w;
        train_rig_train(&o);
        snprintf(path, sizeof path, "%s/%s", out, "CARD.md");
        assert_int_equal(file_read(path, path, 1 << 20, &text, &n, &e), 0);
        assert_non_null(strstr(text, "2 inputs, 1 outputs"));
        assert_non_null(strstr(text, "400 sequences"));
        assert_non_null(strstr(text, "mean squared error"));
        mem_free(text);
        snprintf(path, sizeof path, "%s/tokenizer.json", out);
        assert_false(file_exists(path));
        train_rig_written(&o, &net, &w);
        assert_true(net.I == 2 && net.C == 1 && net.values && net.V == 0);
        train_rig_drop(&net, w);
    }
}

static void test_a_training_of_vectors_can_be_resumed(void **state)
{
    char out[128];
    train_rig_expect_resumable(values("--hidden 8 --epochs 5", out, "-"));
}

static void test_vectors_start_from_a_net_of_vectors(void **state)
{
    char a[128], b[128];
    struct options o = values("--hidden 8 --epochs 2", a, "start");
    train_rig_train(&o);
    o = values("--hidden 8 --epochs 1 --lr 0", b, "from-start");
    o.init = a;
    train_rig_train(&o);
    assert_true(train_rig_same(a, b));
}

static void test_the_last_tokens_are_recalled(void **state)
{
    static const char *const nets[] = {
        "--epochs 25", "--cell gru --epochs 25 --threads 2",
        "--arch gpt2 --heads 2 --context 12 --epochs 60 --lr 0.005"};
    char out[128];
    for (size_t i = 0; i < COUNT(nets); i++) {
        struct options o = texts(nets[i], recall, out, "recall");
        o.predict_last = 2;
        double nats = train_rig_train(&o).valid;
        if (!(nats < 0.05))
            fail_msg("net %d: %.4f nats, without memory 1.386", (int)i, nats);
    }
}

static void test_what_comes_before_the_last_tokens_does_not_count(void **state)
{
    char out[128];
    struct options o =
        texts("--epochs 1 --predict-last 3", recall, out, "last");
    struct trainer *t = train_rig_trainer(&o);
    struct err e = ERR_INIT;
    double loss;
    int64_t rows;
    assert_int_equal(trainer_begin_epoch(t, &e), 0);
    trainer_step(t, 0.01, &loss, &rows);
    assert_int_equal(rows, 8 * 3);
    /* of a record of 6 or 7 tokens 3 are predicted, whatever else it has */
    o.predict_last = 100;
    train_rig_free(t);
    t = train_rig_trainer(&o);
    assert_int_equal(trainer_begin_epoch(t, &e), 0);
    trainer_step(t, 0.01, &loss, &rows);
    assert_true(rows >= 8 * 5 && rows <= 8 * 6);
    train_rig_free(t);
}

/* Lengths about 20, one in twenty about 10; all of the stream is read, and the
 * rate goes by them. */
static void test_chunks_are_cut_by_chance(void **state)
{
    char out[128];
    struct err e = ERR_INIT;
    struct options o = texts("--bptt 20 --bptt-random --batch 4 --epochs 1",
                             words, out, "chance");
    struct trainer *t = train_rig_trainer(&o);
    int64_t tokens = 0, lengths[2] = {0};
    int different = 0, before = 0;
    assert_int_equal(trainer_begin_epoch(t, &e), 0);
    int64_t lane = (t->epoch.n_stream - 1) / 4, steps = t->epoch.steps;
    for (int64_t i = 0; i < steps; i++) {
        double loss;
        int64_t rows;
        t->at.in_epoch = i;
        trainer_step(t, 0.01, &loss, &rows);
        int T1 = t->epoch.T;
        assert_true(rows == 4 * T1 && T1 >= 1 && T1 <= 45);
        assert_true(fabs((double)t->optim.lr - 0.01 * T1 / 20) < 1e-8);
        different += T1 != before;
        before = T1;
        tokens += T1;
        lengths[0] += T1;
        lengths[1]++;
    }
    assert_int_equal(tokens, lane);
    assert_true(different > steps / 2);
    double mean = (double)lengths[0] / (double)lengths[1];
    assert_true(mean > 16 && mean < 22);
    /* another epoch is cut elsewhere, the same one as before */
    int first[3];
    for (int k = 0; k < 3; k++) {
        t->at.in_epoch = 0;
        t->at.epoch = k % 2;
        assert_int_equal(trainer_begin_epoch(t, &e), 0);
        first[k] = t->epoch.first[1] * 1000 + t->epoch.first[2];
    }
    assert_true(first[0] == first[2] && first[0] != first[1]);
    /* of a step's batches the rate goes by the mean */
    t->o.accumulate = 3;
    t->at.in_epoch = 0;
    assert_int_equal(trainer_begin_epoch(t, &e), 0);
    for (int64_t i = 0; i + 3 <= t->epoch.steps; i += 3) {
        double loss;
        int64_t rows;
        trainer_step(t, 0.01, &loss, &rows);
        int n = t->epoch.first[i + 3] - t->epoch.first[i];
        assert_int_equal(rows, 4 * n);
        assert_true(fabs((double)t->optim.lr - 0.01 * n / 60) < 1e-8);
    }
    train_rig_free(t);
    train_rig_expect_resumable(texts(
        "--bptt 20 --bptt-random --epochs 3 --ar 2 --tar 1", words, out, "-"));
}

/* The average begins at the first validation that is worse than the best of
 * those before it but the last ones, with the weights of then. */
static void expect_trigger(const char *patience, int last)
{
    char out[128], more[256];
    struct err e = ERR_INIT;
    snprintf(more, sizeof more,
             "--optimizer sgd --lr 20 --schedule constant --epochs 12 "
             "--average trigger --average-patience %s --eval-every 3 --clip "
             "0.25",
             patience);
    struct options o = texts(more, words, out, "trigger");
    struct trainer *t = train_rig_trainer(&o);
    t->stop = &train_rig.never;
    assert_int_equal(trainer_run(t, &e), 0);
    int n = t->curve.n, begins = n;
    for (int i = last + 1; i < n && begins == n; i++) {
        double best = INFINITY;
        for (int k = 0; k + last < i; k++)
            best = fmin(best, t->curve.v[k].valid);
        begins = t->curve.v[i].valid > best ? i : n;
    }
    assert_true(begins < n - 3);
    /* one of the weights then, and one every AVERAGE_EVERY steps from there */
    int64_t from = t->curve.v[begins].step, updates = 0;
    for (int64_t s = from; s < t->at.step; s++)
        updates += s % AVERAGE_EVERY == 0;
    assert_int_equal(t->at.n_average, 1 + updates);
    /* which is what is validated: less noise, so better than before it began */
    assert_true(t->curve.v[n - 1].valid < t->curve.v[begins].valid);
    train_rig_free(t);
}

static void test_the_average_begins_where_validation_gets_worse(void **state)
{
    char out[128];
    expect_trigger("1", 1);
    expect_trigger("3", 3);
    expect_trigger("6", 6);
    expect_trigger("2", 2);
    expect_trigger("4", 4);
    train_rig_expect_resumable(
        texts("--optimizer sgd --lr 20 --epochs 8 --average trigger "
              "--average-patience 1 --eval-every 5",
              words, out, "-"));
}

static struct json *line_of(const char *path, int i)
{
    struct err e = ERR_INIT;
    struct json *j;
    char *text;
    size_t n;
    if (file_read(path, path, 1 << 20, &text, &n, &e) != 0)
        fail_msg("%s", e.msg);
    const char *p = text;
    while (i-- > 0 && p != NULL)
        p = strchr(p, '\n') != NULL ? strchr(p, '\n') + 1 : NULL;
    if (p == NULL || *p == '\0') {
        mem_free(text);
        return NULL;
    }
    if (json_parse(p, strcspn(p, "\n"), NULL, &j, &e) != 0)
        fail_msg("%s", e.msg);
    mem_free(text);
    return j;
}

static void test_norms_of_gradients_are_written(void **state)
{
    static const struct {
        const char *more;
        int layers, has_c;
    } rows[] = {
        {"--hidden 8 --layers 2 --epochs 2", 2, 1},
        {"--cell gru --hidden 8 --epochs 2", 1, 0},
        {"--arch bert --embedding 8 --heads 2 --context 6 --epochs 2", 0, 0}};
    char out[128], file[128];
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct options o = values(rows[i].more, out, "norms");
        o.gradient_norms = train_rig_path(file, "norms.json");
        train_rig_train(&o);
        for (int line = 0; line < 3; line++) {
            struct json *j = line_of(file, line);
            const struct json *h = json_get(j, "h"), *c = json_get(j, "c");
            assert_int_equal((int)json_number(json_get(j, "step")), 20 * line);
            assert_int_equal(json_size(json_get(j, "x")), T);
            assert_int_equal(h != NULL ? json_size(h) : 0, rows[i].layers);
            assert_int_equal(c != NULL ? json_size(c) : 0,
                             rows[i].has_c * rows[i].layers);
            if (h != NULL)
                assert_int_equal(json_size(json_child(h)), T);
            assert_int_equal((int)json_number(json_get(j, "steps")),
                             line > 0 ? 20 : 0);
            assert_true(json_number(json_get(j, "largest")) >=
                        json_number(json_get(j, "norm")));
            json_free(j);
        }
        assert_null(line_of(file, 3));
    }
}

/* Writing them changes nothing. */
static void test_norms_leave_a_training_as_it_is(void **state)
{
    char a[128], b[128], file[128];
    struct options o =
        texts("--epochs 2 --dropout-output 0.2 --threads 2", words, a, "plain");
    train_rig_train(&o);
    o.out = train_rig_path(b, "watched");
    o.gradient_norms = train_rig_path(file, "watched.json");
    train_rig_train(&o);
    assert_true(train_rig_same(a, b));
    o.gradient_norms = "/nowhere/norms.json";
    struct err e = ERR_INIT;
    struct trainer *t = train_rig_trainer(&o);
    t->stop = &train_rig.never;
    assert_int_equal(trainer_run(t, &e), -1);
    assert_non_null(strstr(e.msg, "norms.json cannot be written"));
    train_rig_free(t);
}

static void test_recurrent_matrices_begin_as_asked(void **state)
{
    static const struct {
        const char *more;
        double diagonal, other, forget; /* other: of the first row */
    } rows[] = {
        {"--cell elman --nonlinearity relu --predict-last 2", 1, 0, 0},
        {"--cell elman --nonlinearity relu --apart", 1, 0, 0},
        {"--cell elman --init-recurrent identity --init-recurrent-scale 0.5",
         0.5, 0, 0},
        {"--cell lstm --init-recurrent identity --forget-bias 3", 1, 0, 3},
    };
    char out[128];
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct options o = texts(rows[i].more, words, out, "begin");
        struct trainer *t = train_rig_trainer(&o);
        const real *w =
            net_at(&t->net, net_find(&t->net, "rnn.weight_hh_l0"), t->w);
        const real *b =
            net_at(&t->net, net_find(&t->net, "rnn.bias_ih_l0"), t->w);
        for (int k = 0; k < 24; k++)
            for (int j = 0; j < 24; j++)
                assert_true((double)w[k * 24 + j] ==
                            (k == j ? rows[i].diagonal : rows[i].other));
        if (o.cell == CELL_LSTM)
            assert_true((double)b[24] == rows[i].forget && b[0] == 0);
        train_rig_free(t);
    }
    struct options o = texts("--cell elman --init-recurrent-scale 0.5 "
                             "--init-input 0.01",
                             words, out, "begin");
    struct trainer *t = train_rig_trainer(&o);
    const real *w =
        net_at(&t->net, net_find(&t->net, "rnn.weight_hh_l0"), t->w);
    const real *in =
        net_at(&t->net, net_find(&t->net, "rnn.weight_ih_l0"), t->w);
    assert_true(fabs(vec_sum_squares(24, w) - 0.25) < 1e-5); /* orthogonal */
    double deviation = sqrt(vec_sum_squares(24 * 16, in) / (24 * 16));
    assert_true(deviation > 0.008 && deviation < 0.012);
    train_rig_free(t);
}

/* The largest loss of some steps over what knows nothing has. */
static double worst_loss(const char *more)
{
    char out[128], all[256];
    struct err e = ERR_INIT;
    double worst = 0;
    snprintf(all, sizeof all,
             "--cell elman --nonlinearity relu --hidden 200 --batch 4 --bptt "
             "20 --lr 0.002 %s",
             more);
    struct options o = texts(all, words, out, "relu");
    struct trainer *t = train_rig_trainer(&o);
    assert_int_equal(trainer_begin_epoch(t, &e), 0);
    for (int i = 0; i < 60; i++) {
        double loss;
        int64_t rows;
        t->at.in_epoch = i % t->epoch.steps;
        trainer_step(t, o.lr, &loss, &rows);
        t->at.step++;
        worst = fmax(worst, loss / (double)rows / log(t->net.V));
    }
    train_rig_free(t);
    return worst;
}

/* A state that is carried from chunk to chunk: a sum of all before it with the
 * identity, and a matrix whose rows Adam moves as one with the full rate. */
static void test_relu_states_of_one_stream_do_not_grow(void **state)
{
    assert_true(worst_loss("") < 1.1);
    assert_true(worst_loss("--lr-scale-recurrent 1") > 1.2);
    assert_true(worst_loss("--init-recurrent identity") > 10);
}

static void test_recurrent_matrices_have_a_rate_of_their_own(void **state)
{
    static const struct {
        const char *more;
        double rate;
    } rows[] = {{"--cell elman --nonlinearity relu --hidden 64", 0.25},
                {"--cell elman --nonlinearity relu --hidden 12", 1},
                {"--cell elman --hidden 64", 1},
                {"--cell lstm --lr-scale-recurrent 0.5", 0.5}};
    char a[128], b[128];
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct options o = texts(rows[i].more, words, a, "rates");
        struct trainer *t = train_rig_trainer(&o);
        int hh = net_find(&t->net, "rnn.weight_hh_l0");
        for (int k = 0; k < t->net.n_tensors; k++)
            assert_true(fabs((double)t->net.t[k].lr_mult -
                             (k == hh ? rows[i].rate : 1)) < 1e-6);
        train_rig_free(t);
    }
    /* those that come from another net, too */
    struct options o =
        texts("--lr-scale-recurrent 0.5 --epochs 1", words, a, "rates");
    train_rig_train(&o);
    o = texts("--lr-scale-recurrent 0.5 --epochs 1 --lr-scale-init 0.1", words,
              b, "rates-on");
    o.init = a;
    struct trainer *t = train_rig_trainer(&o);
    struct err e = ERR_INIT;
    t->stop = &train_rig.never;
    assert_int_equal(trainer_run(t, &e), 0);
    int hh = net_find(&t->net, "rnn.weight_hh_l0");
    assert_true(fabs((double)t->net.t[hh].lr_mult - 0.05) < 1e-6);
    assert_true(fabs((double)t->net.t[hh - 1].lr_mult - 0.1) < 1e-6);
    train_rig_free(t);
}

static void refuse_words(const char *text, const char *message)
{
    char copy[512], *argv[40] = {"seqd-train", "train"};
    struct options o;
    struct err e = ERR_INIT;
    int n = 2;
    snprintf(copy, sizeof copy, "%s", text);
    for (char *p = strtok_r(copy, " ", &argv[39]); p != NULL && n < 39;
         p = strtok_r(NULL, " ", &argv[39]))
        argv[n++] = p;
    assert_int_equal(train_options_parse(n, argv, &o, &e), -1);
    if (strstr(e.msg, message) == NULL)
        fail_msg("'%s' does not say '%s'", e.msg, message);
}

static void test_options_that_contradict_each_other_are_refused(void **state)
{
    static const char *const rows[][2] = {
        {"--task regression --arch gpt2", "is for --arch rnn and bert"},
        {"--task regression --tie", "--tie is no option of a net of vectors"},
        {"--task regression --bptt 3", "--bptt is no option of a net of vec"},
        {"--task regression --vocab-from x", "--vocab-from is no option of a"},
        {"--task classifier --predict-last 3", "--predict-last is for --task"},
        {"--arch bert --predict-last 3", "--predict-last is for --task"},
        {"--reverse --predict-last 3", "--predict-last is for --task"},
        {"--task classifier --ar 1", "--ar and --tar are for"},
        {"--arch gpt2 --tar 1", "--ar and --tar are for"},
        {"--predict-last 2 --ar 1", "--ar and --tar are for"},
        {"--task classifier --bptt-random", "--bptt-random is for"},
        {"--predict-last 2 --bptt-random", "--bptt-random is for"},
        {"--apart --bptt-random", "--bptt-random is for"},
        {"--apart --predict-last 2", "--apart is one too many"},
        {"--arch bert --gradient-norms x", "--gradient-norms is for nets"},
        {"--arch seq2seq-rnn --ar 1", "--ar is no option of a seq2seq-rnn"},
    };
    for (size_t i = 0; i < COUNT(rows); i++)
        refuse_words(rows[i][0], rows[i][1]);
}

static void test_data_that_do_not_fit_the_task_are_refused(void **state)
{
    char out[128], other[128];
    struct err e = ERR_INIT;
    static const float zeros[12];
    const struct save_tensor t[] = {
        {.name = "x", .n_dims = 3, .dim = {2, 2, 3}, .data = zeros},
        {.name = "y", .n_dims = 1, .dim = {2}, .data = zeros}};
    struct options o = values("--epochs 1", out, "refused");
    assert_int_equal(
        safetensors_save(train_rig_path(other, "other.st"), t, 2, NULL, 0, &e),
        0);
    o.valid = other;
    train_rig_refuse(&o, "--valid has vectors of 3 with 1 values, --data of 2");
    o.valid = vectors;
    o.arch = ARCH_BERT;
    o.context = 5;
    train_rig_refuse(&o, "texts of 6 tokens do not fit --context 5");
    FILE *f = train_rig_file(other, "one.txt");
    fputs("a b\na\n", f);
    fclose(f);
    o = texts("--epochs 1 --predict-last 1 --record line", other, out, "one");
    train_rig_refuse(&o, "record 2 of --data has one");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_value_is_learned_from_vectors),
        cmocka_unit_test(test_a_net_of_vectors_is_written_and_read),
        cmocka_unit_test(test_a_training_of_vectors_can_be_resumed),
        cmocka_unit_test(test_vectors_start_from_a_net_of_vectors),
        cmocka_unit_test(test_the_last_tokens_are_recalled),
        cmocka_unit_test(test_what_comes_before_the_last_tokens_does_not_count),
        cmocka_unit_test(test_chunks_are_cut_by_chance),
        cmocka_unit_test(test_the_average_begins_where_validation_gets_worse),
        cmocka_unit_test(test_norms_of_gradients_are_written),
        cmocka_unit_test(test_norms_leave_a_training_as_it_is),
        cmocka_unit_test(test_recurrent_matrices_begin_as_asked),
        cmocka_unit_test(test_relu_states_of_one_stream_do_not_grow),
        cmocka_unit_test(test_recurrent_matrices_have_a_rate_of_their_own),
        cmocka_unit_test(test_options_that_contradict_each_other_are_refused),
        cmocka_unit_test(test_data_that_do_not_fit_the_task_are_refused),
    };
    return cmocka_run_group_tests(tests, train_memory_open, train_rig_close);
}
