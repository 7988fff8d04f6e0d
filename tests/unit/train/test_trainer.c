/* Whole trainings of small nets on generated text: they learn, one seed gives
 * one checkpoint, an interrupted training ends as an uninterrupted one, and a
 * language model starts a classifier.
 *
 * SPDX-License-Identifier: MIT */
#include <math.h>
#include <sys/stat.h>

#include "engine/base/json.h"
#include "engine/checkpoint/weights.h"
#include "models/train/train_eval.h"
#include "tests/support/train_rig.h"
#include "tests/support/tokenizer_at.h"

static char words[128], labelled[128];

/* Sentences with a rule: the fourth word repeats the first, so a net that
 * remembers three words back has two bits less to guess. */
static void write_words(void)
{
    FILE *f = train_rig_file(words, "words.txt");
    uint32_t x = 1;
    for (int i = 0; i < 600; i++) {
        int w[3];
        for (int k = 0; k < 3; k++) {
            x = x * 1664525u + 1013904223u;
            w[k] = (int)(x >> 24) % 4;
        }
        fprintf(f, "a%d b%d c%d a%d\n", w[0], w[1], w[2], w[0]);
    }
    fclose(f);
}

/* The label is whether "good" stands in a text of changing length. */
static void write_labelled(void)
{
    FILE *f = train_rig_file(labelled, "labelled.txt");
    uint32_t x = 7;
    for (int i = 0; i < 300; i++) {
        x = x * 1664525u + 1013904223u;
        int n = 1 + (int)(x >> 24) % 9, where = (int)(x >> 16 & 255) % n;
        fprintf(f, "%s", i % 2 ? "1" : "0");
        for (int k = 0; k < n; k++)
            fprintf(f, " %s", k == where ? (i % 2 ? "good" : "bad") : "so");
        fputc('\n', f);
    }
    fclose(f);
}

static const char lm_words[] =
    "--tokenizer whitespace --hidden 24 --embedding 16 --batch 8 --bptt 12 "
    "--lr 0.02 --threads 1 --precision f32";
static const char class_words[] =
    "--task classifier --tokenizer whitespace --hidden 12 --embedding 8 "
    "--batch 16 --lr 0.02 --threads 1 --pooling max";

static struct options lm(const char *more, char *out, const char *name)
{
    return train_rig_options(lm_words, more, words, train_rig_path(out, name));
}

static struct options classes(const char *more, char *out, const char *name)
{
    return train_rig_options(class_words, more, labelled,
                             train_rig_path(out, name));
}

/* Entropy of the text: 4 choices three times of 5 predictions, then nothing:
 * 0.832 nats; without memory of the first word a quarter of ln 4 more. */
static void test_language_models_learn_what_three_words_ago_said(void **state)
{
    static const char *const cells[] = {
        "--epochs 12 --cell lstm",
        "--epochs 12 --cell gru",
        "--epochs 14 --cell elman",
        "--epochs 14 --cell elman --nonlinearity relu --hidden 48",
    };
    char out[128];
    for (int i = 0; i < 4; i++) {
        struct options o = lm(cells[i], out, "learn");
        double loss = train_rig_train(&o).valid;
        if (!(loss < 0.87))
            fail_msg("cell %d: %.4f nats, the text has 0.832", i, loss);
    }
}

static void test_sampled_softmax_learns_the_same(void **state)
{
    char out[128];
    struct options o =
        lm("--epochs 14 --softmax sampled --samples 10", out, "sampled");
    double loss = train_rig_train(&o).valid;
    if (!(loss < 0.9))
        fail_msg("%.4f nats, the text has 0.832", loss);
}

static void test_classifiers_learn_to_find_a_word(void **state)
{
    static const char *const kinds[] = {
        "--epochs 6",
        "--epochs 6 --bidirectional --cell gru",
        "--epochs 8 --pooling mean --cell elman",
        "--epochs 10 --pooling last --layers 2",
    };
    char out[128];
    for (int i = 0; i < 4; i++) {
        struct options o = classes(kinds[i], out, "classes");
        double accuracy = train_rig_train(&o).accuracy;
        if (!(accuracy > 0.97))
            fail_msg("classifier %d: accuracy %.3f", i, accuracy);
    }
}

static const char rich[] =
    "--epochs 3 --tie 1 --embedding 24 --layers 2 --dropout 0.2 "
    "--dropout-embedding 0.1 --dropout-recurrent 0.1 --dropout-word 0.1 "
    "--dropout-variational 1 --average ema --unk-rate 0.05 --threads 2 "
    "--weight-decay 0.01";

static void test_one_seed_gives_one_checkpoint(void **state)
{
    char a[128], b[128];
    struct options o = lm(rich, a, "seed-a");
    train_rig_train(&o);
    o.out = train_rig_path(b, "seed-b");
    train_rig_train(&o);
    assert_true(train_rig_same(a, b));
    o.seed = 2;
    train_rig_train(&o);
    assert_false(train_rig_same(a, b));
}

static void test_a_training_in_pieces_ends_like_one_in_one_go(void **state)
{
    char out[128];
    train_rig_expect_resumable(lm(rich, out, "-"));
    train_rig_expect_resumable(classes("--epochs 4 --threads 2", out, "-"));
}

static void test_resuming_another_net_is_refused(void **state)
{
    char a[128];
    struct options o = lm("--epochs 1", a, "other");
    train_rig_train(&o);
    o.resume = 1;
    o.hidden = 20;
    train_rig_refuse(&o, "state.bin is of another net");
}

/* As many weights, another net: state.bin alone would not tell. */
static void test_resuming_with_another_configuration_is_refused(void **state)
{
    char out[128], rows[128];
    struct options o = classes("--epochs 1 --id2label bad,good", out, "labels");
    train_rig_train(&o);
    o.resume = 1;
    o.epochs = 2;
    o.id2label = "good,bad";
    train_rig_refuse(&o, "config.json says something else for 'id2label'");
    o.id2label = NULL; /* the data's: 0 and 1 */
    train_rig_refuse(&o, "config.json says something else for 'id2label'");
    o.id2label = "bad,good";
    o.pooling--;
    train_rig_refuse(&o, "config.json says something else for 'pooling'");
    o.pooling++;
    train_rig_train(&o);
    /* a file of an older version, which did not say it */
    o = lm("--arch gpt2 --heads 2 --context 12 --epochs 1", out, "records");
    train_rig_train(&o);
    o.resume = 1;
    o.heads = 4;
    train_rig_refuse(&o, "config.json says something else for 'n_head'");
    o.heads = 2;
    FILE *f = train_rig_file(rows, "records/config.json");
    fputs("{\"model_type\": \"gpt2\", \"n_head\": 2}\n", f);
    fclose(f);
    train_rig_train(&o);
}

/* The counts of a state are places in the data: steps before the first one
 * would be read from before it, those behind an epoch's end never end it. */
static void test_a_damaged_state_is_refused(void **state)
{
    char out[128], path[160];
    struct err e = ERR_INIT;
    struct options o = lm("--epochs 1", out, "damaged");
    train_rig_train(&o);
    o.resume = 1;
    o.epochs = 2;
    for (int i = 0; i < 5; i++) {
        struct trainer *t = train_rig_trainer(&o);
        t->at.in_epoch = i == 0 ? -1 : t->at.in_epoch;
        t->at.epoch = i == 1 ? -1 : t->at.epoch;
        t->at.step = i == 2 ? INT64_MAX : t->at.step;
        t->at.plateau = i == 3 ? (double)NAN : t->at.plateau;
        t->at.since_best = i == 4 ? -1 : t->at.since_best;
        assert_int_equal(resume_save(t, &e), 0);
        train_rig_free(t);
        train_rig_refuse(&o, "state.bin is damaged: its counts");
        o.resume = 0; /* a good one for the next */
        o.epochs = 1;
        train_rig_train(&o);
        o.resume = 1;
        o.epochs = 2;
    }
    struct trainer *t = train_rig_trainer(&o);
    t->at.in_epoch = t->at.step; /* of steps half as long */
    assert_int_equal(resume_save(t, &e), 0);
    train_rig_free(t);
    o.bptt *= 2;
    t = train_rig_trainer(&o);
    t->stop = &train_rig.never;
    assert_int_equal(trainer_run(t, &e), -1);
    assert_non_null(strstr(e.msg, "are done: it is damaged, or --bptt or"));
    train_rig_free(t);
    snprintf(path, sizeof path, "%s/state.bin", out);
    FILE *f = fopen(path, "ab");
    assert_non_null(f);
    fputc(0, f);
    fclose(f);
    train_rig_refuse(&o, "state.bin is damaged: something follows");
}

static void put_file(const char *dir, const char *name)
{
    char path[320];
    snprintf(path, sizeof path, "%s/%s", dir, name);
    FILE *f = fopen(path, "wb");
    assert_non_null(f);
    fclose(f);
}

static int is_there(const char *dir, const char *name)
{
    char path[320];
    snprintf(path, sizeof path, "%s/%s", dir, name);
    return file_exists(path);
}

static void test_a_checkpoint_is_replaced_only_when_asked(void **state)
{
    char a[128], b[128];
    struct options o = lm("--epochs 1", a, "first");
    train_rig_train(&o);
    o.out = train_rig_path(b, "kept");
    train_rig_train(&o);
    o.seed = 2;
    train_rig_refuse(&o, "kept holds a checkpoint (state.bin): --resume");
    assert_true(train_rig_same(a, b));
    o.resume = o.overwrite = 1;
    train_rig_refuse(&o, "one of them");
    /* what is wrong with the new one leaves the old one as it was */
    o.resume = 0;
    o.valid = "none.txt";
    train_rig_refuse(&o, "none.txt: no such file");
    assert_true(train_rig_same(a, b));
    o.valid = o.data;
    struct trainer *t = train_rig_trainer(&o);
    assert_false(is_there(b, "state.bin"));
    assert_false(is_there(b, "model.safetensors"));
    train_rig_free(t);
    /* another program's, of which nothing is left to be read with the new
     * config.json */
    static const char *const others[] = {"pytorch_model.bin", "model.pt",
                                         "model.safetensors.index.json",
                                         "any-name-Q4_1.gguf"};
    for (size_t i = 0; i < COUNT(others); i++) {
        char message[80];
        put_file(b, others[i]);
        o.overwrite = 0;
        snprintf(message, sizeof message, "holds a checkpoint (%s): --overw",
                 others[i]);
        train_rig_refuse(&o, message);
        train_rig_free(train_rig_trainer(&o));
        assert_false(is_there(b, others[i]));
    }
}

/* What stands in the place of a directory that was moved is another's. */
static void test_a_directory_in_its_place_is_left_alone(void **state)
{
    char a[128], b[128];
    struct err e = ERR_INIT;
    struct trainer *t = mem_zalloc(sizeof *t);
    assert_non_null(t);
    t->o = lm("--epochs 1", a, "moved");
    assert_int_equal(outdir_open(t, &e), 0);
    assert_int_equal(rename(a, train_rig_path(b, "moved-away")), 0);
    assert_int_equal(mkdir(a, 0777), 0);
    put_file(a, "other.gguf");
    assert_int_equal(outdir_clear(t, &e), 0);
    assert_true(is_there(a, "other.gguf"));
    outdir_close(t);
    mem_free(t);
}

static void test_what_killed_runs_left_goes_at_the_next_start(void **state)
{
    static const char *const stale[] = {"state.bin.tmp", "state.bin.tmp-17",
                                        "model.safetensors.tmp-4194303",
                                        "curve.svg.tmp-1"};
    static const char *const others[] = {"notes.tmp", "state.bin.tmp-old",
                                         "state.bin.tmpx"};
    char a[128];
    struct options o = lm("--epochs 1", a, "stale");
    struct trainer *t = train_rig_trainer(&o);
    for (size_t i = 0; i < COUNT(stale); i++)
        put_file(a, stale[i]);
    for (size_t i = 0; i < COUNT(others); i++)
        put_file(a, others[i]);
    /* while that run lives nobody else may clean up or write there */
    train_rig_refuse(&o, "stale: another training writes there");
    assert_true(is_there(a, stale[0]));
    train_rig_free(t);
    t = train_rig_trainer(&o);
    for (size_t i = 0; i < COUNT(stale); i++)
        assert_false(is_there(a, stale[i]));
    for (size_t i = 0; i < COUNT(others); i++)
        assert_true(is_there(a, others[i]));
    train_rig_free(t);
}

static void test_what_cannot_be_written_says_where_and_why(void **state)
{
    char a[128], path[160];
    struct err e = ERR_INIT;
    struct options o = lm("--epochs 1", a, "unwritable");
    struct trainer *t = train_rig_trainer(&o);
    snprintf(path, sizeof path, "%s/state.bin", a);
    assert_int_equal(mkdir(path, 0777), 0);
    assert_int_equal(resume_save(t, &e), -1);
    assert_non_null(strstr(e.msg, "unwritable/state.bin cannot be written: "
                                  "Is a directory"));
    snprintf(path, sizeof path, "state.bin.tmp-%ld", (long)getpid());
    assert_false(is_there(a, path));
    train_rig_free(t);
    o.out = train_rig_path(a, "none/deeper");
    train_rig_refuse(&o, "deeper cannot be made: No such file");
    o.out = words;
    train_rig_refuse(&o, "words.txt cannot be opened: Not a directory");
}

static char *card_of(const char *dir)
{
    struct err e = ERR_INIT;
    char path[160], *text;
    size_t n;
    snprintf(path, sizeof path, "%s/%s", dir, "CARD.md");
    if (file_read(path, path, 1 << 20, &text, &n, &e) != 0)
        fail_msg("%s", e.msg);
    return text;
}

static void expect_card(const char *dir, const char *has, const char *has_not)
{
    char *text = card_of(dir);
    if (strstr(text, has) == NULL || strstr(text, has_not) != NULL)
        fail_msg("'%s' and no '%s' in\n%s", has, has_not, text);
    mem_free(text);
}

/* Labels and names are anybody's: they end no cell and no code. */
static void test_a_card_keeps_its_form_whatever_things_are_called(void **state)
{
    char path[128], out[128];
    FILE *f = train_rig_file(path, "a`b|c.csv");
    fputs("text,label\n", f);
    for (int i = 0; i < 40; i++)
        fputs(i % 2 ? "so good,\"very|good\nindeed\"\n" : "so bad,<b>`\n", f);
    fclose(f);
    struct options o = train_rig_options(class_words, "--epochs 1", path,
                                         train_rig_path(out, "my`card"));
    train_rig_train(&o);
    expect_card(out, "| Labels | `<b>'`, `very\\|good indeed` |\n", "my`card");
    expect_card(out, "| Training data | `a'b\\|c.csv`: 40 records",
                "--id2label");
    char *text = card_of(out);
    for (char *p = text, *end; (end = strchr(p, '\n')) != NULL; p = end + 1)
        assert_true(p[0] != '|' || end[-1] == '|');
    mem_free(text);
}

static void test_a_card_says_what_the_net_is_for(void **state)
{
    static const struct {
        const char *options, *has, *has_not;
    } rows[] = {
        {"", "8080/predict -d '{\"input\": \"some words\"}'", "not to be"},
        {"--reverse", "`seqd-train train --init-reverse`", "my-model"},
        {"--arch bert --heads 2 --context 12", "\"some <mask>\"", "<unk>"},
        {"--arch bert --heads 2 --context 12 --causal",
         "`seqd-train train --init`", "my-model"},
    };
    char out[128];
    for (size_t i = 0; i < COUNT(rows); i++) {
        char more[128];
        snprintf(more, sizeof more, "--epochs 1 %s", rows[i].options);
        struct options o = lm(more, out, "card");
        train_rig_train(&o);
        expect_card(out, rows[i].has, rows[i].has_not);
    }
}

/* Rows of the embedding follow their words into another vocabulary, the
 * recurrent layer comes along, the output is new. */
static void test_a_language_model_starts_a_classifier(void **state)
{
    char a[128], b[128];
    struct err e = ERR_INIT;
    struct weights *w;
    struct tokenizer *old;
    struct options o = lm("--epochs 1 --hidden 12 --embedding 8", a, "lm");
    o.data = o.valid = labelled;
    train_rig_train(&o);
    o = classes("--epochs 1", b, "from-lm");
    o.init = a;
    struct trainer *t = train_rig_trainer(&o);
    assert_int_equal(weights_open(a, "lm", &w, &e), 0);
    assert_int_equal(tokenizer_at(a, "lm", &old, &e), 0);
    const struct tensor *emb = weights_find(w, "embedding.weight");
    for (int id = 0; id < t->net.V; id++) {
        float row[8];
        int k = tokenizer_id(old, tokenizer_text(t->tokenizer, id));
        assert_true(k >= 0);
        tensor_read(emb, (size_t)k * 8, 8, row);
        for (int j = 0; j < 8; j++)
            assert_true((float)t->w[t->net.t[t->net.embedding].at +
                                    (size_t)(id * 8 + j)] == row[j]);
    }
    const struct net_tensor *hh =
        &t->net.t[net_find(&t->net, "rnn.weight_hh_l0")];
    float first;
    tensor_read(weights_find(w, hh->name), 0, 1, &first);
    assert_true((float)t->w[hh->at] == first);
    assert_int_equal(t->net.t[t->net.out_w].from_start, 0);
    tokenizer_close(old);
    weights_close(w);
    train_rig_free(t);
}

/* Two batches of 8 added up are a batch of 16: the same texts in another order
 * of sums. */
static void test_batches_that_are_added_up_make_one_step(void **state)
{
    static const char *const how[] = {"--batch 16 --lr 0.001",
                                      "--batch 8 --accumulate 2 --lr 0.001"};
    real first[2];
    char out[128];
    for (int i = 0; i < 2; i++) {
        struct options o = classes(how[i], out, "parts");
        struct trainer *t = train_rig_trainer(&o);
        struct err e = ERR_INIT;
        double loss;
        int64_t rows;
        assert_int_equal(trainer_begin_epoch(t, &e), 0);
        for (int32_t k = 0; k < t->epoch.n_order; k++)
            t->epoch.order[k] = k;
        for (int64_t k = 0; k < t->epoch.steps; k++)
            t->epoch.first[k] = (int)k * t->o.batch;
        for (int k = 0; k < 16; k++) /* of one length: any order is sorted */
            t->train.start[k + 1] = t->train.start[k] + 1;
        trainer_step(t, 0.001, &loss, &rows);
        assert_int_equal(rows, 16);
        assert_int_equal(t->at.in_epoch, i + 1);
        first[i] = t->w[t->net.t[t->net.out_w].at];
        train_rig_free(t);
    }
    assert_true(fabs((double)(first[0] - first[1])) < 1e-6);
}

static double nats_of(struct trainer *t)
{
    struct score_sum s;
    struct err e = ERR_INIT;
    assert_int_equal(trainer_validate(t, &t->valid, t->w, &s, &e), 0);
    return s.all.nats;
}

/* --apart: each record once an epoch, with the end token around it, in parts
 * of --bptt; nothing of one is known in the next, whatever batch it is in. */
static void test_records_apart_are_texts_of_their_own(void **state)
{
    static const char *const nets[] = {
        "--apart", "--apart --arch gpt2 --heads 2 --context 12"};
    char out[128], path[128];
    for (int i = 0; i < 2; i++) {
        struct err e = ERR_INIT;
        double loss, nats[2];
        int64_t rows, all = 0, texts = 0;
        struct options o = lm(nets[i], out, "apart");
        o.bptt = 4; /* a record has five predictions */
        struct trainer *t = train_rig_trainer(&o);
        int32_t eos = tokenizer_eos(t->tokenizer);
        assert_int_equal(trainer_begin_epoch(t, &e), 0);
        while (t->at.in_epoch < t->epoch.steps) {
            trainer_step(t, 0, &loss, &rows);
            const struct feed *f = &t->worker[0].feed;
            for (int k = 0; k < f->n_text; k++) {
                int n = f->text[k].n;
                assert_true(n == 4 || n == 1);
                assert_true((f->text[k].ids[0] == eos) == (n == 4));
                assert_true((f->text[k].next[n - 1] == eos) == (n == 1));
            }
            all += rows;
            texts += f->n_text;
        }
        assert_int_equal(all, 600 * 5);
        assert_int_equal(texts, 600 * 2);
        train_rig_free(t);
        for (int k = 0; k < 2; k++) {
            FILE *f = train_rig_file(path, "apart.txt");
            for (int r = 0; r < (k == 0 ? 1 : 30); r++)
                fputs("a1 b2 c3 a1\n", f);
            fclose(f);
            o.valid = path;
            o.overwrite = 1;
            t = train_rig_trainer(&o);
            nats[k] = nats_of(t);
            train_rig_free(t);
        }
        assert_true(fabs(nats[1] - 30 * nats[0]) < 1e-3);
    }
}

/* What was taken from another net learns from the top, and slower below. */
static void test_layers_below_learn_later_and_slower(void **state)
{
    char a[128], b[128];
    struct err e = ERR_INIT;
    struct options o =
        lm("--epochs 1 --hidden 12 --embedding 8 --layers 2", a, "lm2");
    o.data = o.valid = labelled;
    train_rig_train(&o);
    o = classes("--epochs 2 --layers 2 --unfreeze 1 --lr-layer 0.5 --batch 300",
                b, "from-lm2");
    o.init = a;
    struct trainer *t = train_rig_trainer(&o);
    const struct net_tensor *l[3] = {
        &t->net.t[t->net.embedding],
        &t->net.t[net_find(&t->net, "rnn.weight_hh_l0")],
        &t->net.t[net_find(&t->net, "rnn.weight_hh_l1")]};
    real before[3];
    atomic_int stop = 0;
    t->stop = &stop;
    for (int i = 0; i < 3; i++)
        before[i] = t->w[l[i]->at];
    assert_int_equal(trainer_run(t, &e), 0); /* a step an epoch */
    assert_true(t->w[l[0]->at] == before[0]);
    assert_true(t->w[l[1]->at] == before[1]);
    assert_true(t->w[l[2]->at] != before[2]);
    assert_true(l[2]->lr_mult == (real)0.5 && l[1]->lr_mult == 0);
    assert_true(t->net.t[t->net.out_w].lr_mult == (real)1);
    train_rig_free(t);
}

static double number_of(const char *line, const char *key)
{
    struct json *j;
    struct err e = ERR_INIT;
    if (json_parse(line, strlen(line), NULL, &j, &e) != 0)
        fail_msg("%s: %s", line, e.msg);
    double v = json_number(json_get(j, key));
    json_free(j);
    return v;
}

/* The engine scores a saved checkpoint as the trainer did. */
static void test_eval_agrees_with_the_last_validation(void **state)
{
    char a[128];
    struct err e = ERR_INIT;
    struct buf b;
    struct options o = lm("--epochs 2 --batch 1", a, "eval");
    double nats = train_rig_train(&o).valid;
    buf_init(&b, 4096);
    o.model = a;
    if (eval_run(&o, &b, &e) != 0)
        fail_msg("%s", e.msg);
    assert_true(fabs(number_of(b.p, "nats") / number_of(b.p, "tokens") - nats) <
                1e-5);
    assert_int_equal((int)number_of(b.p, "tokens"), 3000);
    assert_true(number_of(b.p, "unk_share") == 0);
    buf_clear(&b);

    static const char *const apart[] = {
        "--epochs 2 --batch 7 --apart",
        "--epochs 2 --batch 7 --apart --arch gpt2 --heads 2 --context 12"};
    for (int i = 0; i < 2; i++) {
        o = lm(apart[i], a, i == 0 ? "eval-a" : "eval-g");
        nats = train_rig_train(&o).valid;
        o.model = a;
        if (eval_run(&o, &b, &e) != 0)
            fail_msg("%s", e.msg);
        assert_true(fabs(number_of(b.p, "nats") / number_of(b.p, "tokens") -
                         nats) < 1e-5);
        assert_int_equal((int)number_of(b.p, "tokens"), 3000);
        buf_clear(&b);
    }

    o = classes("--epochs 3 --precision f32", a, "eval-c");
    double accuracy = train_rig_train(&o).accuracy;
    o.model = a;
    if (eval_run(&o, &b, &e) != 0)
        fail_msg("%s", e.msg);
    assert_int_equal((int)number_of(b.p, "items"), 300);
    assert_true(number_of(b.p, "accuracy") >= accuracy - 1e-6);
    buf_fini(&b);
}

static void test_the_curve_is_written_as_csv_and_svg(void **state)
{
    char a[128], p[160], *text;
    struct err e = ERR_INIT;
    size_t n;
    int lines = 0;
    struct options o = lm("--epochs 3", a, "curve");
    train_rig_train(&o);
    snprintf(p, sizeof p, "%s/curve.csv", a);
    assert_int_equal(file_read(p, p, 1 << 20, &text, &n, &e), 0);
    for (size_t i = 0; i < n; i++)
        lines += text[i] == '\n';
    assert_int_equal(lines, 4);
    mem_free(text);
    snprintf(p, sizeof p, "%s/curve.svg", a);
    assert_int_equal(file_read(p, p, 1 << 20, &text, &n, &e), 0);
    assert_non_null(memmem(text, n, "<polyline", 9));
    assert_non_null(memmem(text, n, "</svg>", 6));
    mem_free(text);
}

/* The table of families and the choices of --arch are in one order. */
static void test_every_family_has_its_arch(void **state)
{
    for (int i = 0; trainables[i] != NULL; i++) {
        char more[64];
        snprintf(more, sizeof more, "--arch %s", trainables[i]->name);
        assert_int_equal(train_rig_options("", more, "-", "-").arch, i);
    }
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
        cmocka_unit_test(test_language_models_learn_what_three_words_ago_said),
        cmocka_unit_test(test_sampled_softmax_learns_the_same),
        cmocka_unit_test(test_classifiers_learn_to_find_a_word),
        cmocka_unit_test(test_one_seed_gives_one_checkpoint),
        cmocka_unit_test(test_a_training_in_pieces_ends_like_one_in_one_go),
        cmocka_unit_test(test_resuming_another_net_is_refused),
        cmocka_unit_test(test_resuming_with_another_configuration_is_refused),
        cmocka_unit_test(test_a_damaged_state_is_refused),
        cmocka_unit_test(test_a_checkpoint_is_replaced_only_when_asked),
        cmocka_unit_test(test_a_directory_in_its_place_is_left_alone),
        cmocka_unit_test(test_what_killed_runs_left_goes_at_the_next_start),
        cmocka_unit_test(test_what_cannot_be_written_says_where_and_why),
        cmocka_unit_test(test_a_card_keeps_its_form_whatever_things_are_called),
        cmocka_unit_test(test_a_card_says_what_the_net_is_for),
        cmocka_unit_test(test_a_language_model_starts_a_classifier),
        cmocka_unit_test(test_batches_that_are_added_up_make_one_step),
        cmocka_unit_test(test_records_apart_are_texts_of_their_own),
        cmocka_unit_test(test_layers_below_learn_later_and_slower),
        cmocka_unit_test(test_eval_agrees_with_the_last_validation),
        cmocka_unit_test(test_the_curve_is_written_as_csv_and_svg),
        cmocka_unit_test(test_every_family_has_its_arch),
    };
    return cmocka_run_group_tests(tests, setup, train_rig_close);
}
