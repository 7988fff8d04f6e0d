/* eval_net: values from vectors, and language models with a neural cache.
 *
 * SPDX-License-Identifier: MIT */
#include <math.h>

#include "engine/base/json.h"
#include "engine/checkpoint/checkpoint.h"
#include "models/train/train_eval.h"
#include "tests/support/train_memory.h"

static double figure(const struct options *o, const char *key)
{
    struct err e = ERR_INIT;
    struct buf b;
    struct json *j;
    buf_init(&b, 4096);
    if (eval_run(o, &b, &e) != 0)
        fail_msg("%s", e.msg);
    if (json_parse(b.p, b.len, NULL, &j, &e) != 0)
        fail_msg("%s", e.msg);
    double v = json_number(json_get(j, key));
    assert_non_null(json_get(j, key));
    json_free(j);
    buf_fini(&b);
    return v;
}

static void test_values_are_scored_as_they_were_validated(void **state)
{
    static const char *const nets[] = {
        "--cell gru --hidden 8 --epochs 2 --lr 0",
        "--arch bert --embedding 8 --heads 2 --context 6 --epochs 2"};
    char out[128];
    for (size_t i = 0; i < COUNT(nets); i++) {
        struct options o = values(nets[i], out, "scored");
        double best = train_rig_train(&o).valid;
        o.model = out;
        assert_true(fabs(figure(&o, "squared_error") - best) < 1e-5);
        assert_int_equal((int)figure(&o, "items"), SEQUENCES);
        double of_mean = figure(&o, "of_mean"); /* of a number of [0, 1) */
        assert_true(fabs(of_mean - 1.0 / 12) < 0.008);
    }
}

static void refuse_eval(struct options o, const char *message)
{
    struct err e = ERR_INIT;
    struct buf b;
    buf_init(&b, 4096);
    assert_int_equal(eval_run(&o, &b, &e), -1);
    if (strstr(e.msg, message) == NULL)
        fail_msg("'%s' does not say '%s'", e.msg, message);
    buf_fini(&b);
}

static void test_values_of_other_vectors_are_not_scored(void **state)
{
    char out[128], other[128];
    static const float zeros[28];
    struct save_tensor t[] = {
        {.name = "x", .n_dims = 3, .dim = {2, 2, 3}, .data = zeros},
        {.name = "y", .n_dims = 1, .dim = {2}, .data = zeros}};
    struct err e = ERR_INIT;
    struct options o =
        values("--arch bert --embedding 8 --heads 2 --context 6 --epochs 1",
               out, "scored");
    train_rig_train(&o);
    o.model = out;
    o.data = train_rig_path(other, "other.safetensors");
    assert_int_equal(safetensors_save(other, t, 2, NULL, 0, &e), 0);
    refuse_eval(o, "vectors of 3 with 1 values, the net is of 2 and 1");
    t[0] = (struct save_tensor){
        .name = "x", .n_dims = 3, .dim = {2, 7, 2}, .data = zeros};
    assert_int_equal(safetensors_save(other, t, 2, NULL, 0, &e), 0);
    refuse_eval(o, "7 vectors, the net takes 6");
    o.cache_size = 3;
    refuse_eval(o, "is scored with --model and --data alone");
    o.cache_size = 0;
    o.labels = "a,b";
    refuse_eval(o, "is scored with --model and --data alone");
}

/* The words of a text with an end after each line, as numbers. */
static int read_numbers(int *id, int cap)
{
    FILE *f = fopen(words, "rb");
    int a, b, c, n = 0;
    assert_non_null(f);
    while (fscanf(f, "w%d w%d w%d\n", &a, &b, &c) == 3) {
        assert_true(n + 4 <= cap);
        id[n++] = a;
        id[n++] = b;
        id[n++] = c;
        id[n++] = -1;
    }
    fclose(f);
    return n;
}

/* Without closeness (theta 0) and without the net (lambda 1) a word's
 * probability is its share of the last `size` words; the first word has no
 * cache, and is the net's. */
static double shares(const int *id, int n, int size)
{
    double nats = 0;
    for (int t = 1; t < n; t++) {
        int from = t > size ? t - size : 0, same = 0;
        for (int i = from; i < t; i++)
            same += id[i] == id[t];
        double p = (double)same / (t - from);
        nats -= log(p > 1e-30 ? p : 1e-30);
    }
    return nats;
}

static void test_a_cache_counts_what_came_before(void **state)
{
    static int id[2000];
    char out[128];
    int n = read_numbers(id, 2000);
    struct options o = texts("--epochs 1 --record line", words, out, "cache");
    train_rig_train(&o);
    o.model = out;
    double plain = figure(&o, "nats");
    o.cache_size = 100;
    o.cache_theta = 0.5;
    o.cache_lambda = 0; /* nothing is the cache's */
    assert_true(fabs(figure(&o, "nats") - plain) < 0.01);
    assert_true(fabs(figure(&o, "nats_without") - plain) < 0.01);
    assert_int_equal((int)figure(&o, "tokens"), n);
    o.cache_theta = 0;
    o.cache_lambda = 1;
    double first = figure(&o, "nats") - shares(id, n, 100);
    assert_true(first > 0 && first < 5);
    o.cache_size = 7;
    assert_true(fabs(figure(&o, "nats") - shares(id, n, 7) - first) < 0.01);
}

/* An Elman net of one layer, step by step, and the mixture with its cache, by
 * the formulas of eval_net.h. ids [n] with the end token first; apart: what
 * comes after an end begins anew. */
struct plain {
    const struct net *net;
    real *w;
    int H, E, V;
    double h[32], seen[600][32];
    int32_t next[600];
    int from, n; /* of seen */
};

static double weight(const struct plain *p, const char *name, int i)
{
    return (double)net_at(p->net, net_find(p->net, name), p->w)[i];
}

static void step_plain(struct plain *p, int32_t id)
{
    double h[32];
    for (int j = 0; j < p->H; j++) {
        double sum =
            weight(p, "rnn.bias_ih_l0", j) + weight(p, "rnn.bias_hh_l0", j);
        for (int k = 0; k < p->E; k++)
            sum += weight(p, "rnn.weight_ih_l0", j * p->E + k) *
                   weight(p, "embedding.weight", id * p->E + k);
        for (int k = 0; k < p->H; k++)
            sum += weight(p, "rnn.weight_hh_l0", j * p->H + k) * p->h[k];
        h[j] = tanh(sum);
    }
    memcpy(p->h, h, sizeof h);
}

static double net_share(const struct plain *p, int32_t id)
{
    double all = 0, of_id = 0;
    for (int v = 0; v < p->V; v++) {
        double sum = weight(p, "output.bias", v);
        for (int k = 0; k < p->H; k++)
            sum += weight(p, "output.weight", v * p->H + k) * p->h[k];
        all += exp(sum);
        of_id = v == id ? exp(sum) : of_id;
    }
    return of_id / all;
}

static double plain_cache_share(const struct plain *p, int32_t id, int size,
                                double theta)
{
    double all = 0, of_id = 0;
    for (int i = p->n - size > p->from ? p->n - size : p->from; i < p->n; i++) {
        double dot = 0;
        for (int k = 0; k < p->H; k++)
            dot += p->h[k] * p->seen[i][k];
        all += exp(theta * dot);
        of_id += p->next[i] == id ? exp(theta * dot) : 0;
    }
    return of_id / all;
}

static double plain_nats(struct plain *p, const int32_t *ids, int n, int apart,
                         const struct options *o)
{
    double nats = 0;
    for (int t = 0; t + 1 < n; t++) {
        if (apart && ids[t] == ids[0]) {
            memset(p->h, 0, sizeof p->h);
            p->from = p->n;
        }
        step_plain(p, ids[t]);
        double share = net_share(p, ids[t + 1]);
        if (p->n > p->from)
            share = (1 - o->cache_lambda) * share +
                    o->cache_lambda * plain_cache_share(p, ids[t + 1],
                                                        o->cache_size,
                                                        o->cache_theta);
        nats -= log(share);
        memcpy(p->seen[p->n], p->h, sizeof p->h);
        p->next[p->n++] = ids[t + 1];
    }
    return nats;
}

static int encode_words(const char *dir, int most, int32_t *ids)
{
    struct err e = ERR_INIT;
    struct checkpoint *from;
    struct tokenizer *t;
    char word[32];
    int n = 0, in_line = 0;
    FILE *f = fopen(words, "rb");
    assert_int_equal(checkpoint_open(dir, dir, &from, &e), 0);
    assert_int_equal(tokenizer_open(from, &t, &e), 0);
    ids[n++] = tokenizer_eos(t);
    while (n + 1 < most && fscanf(f, "%31s", word) == 1) {
        ids[n++] = tokenizer_id(t, word);
        if (++in_line % 3 == 0)
            ids[n++] = tokenizer_eos(t);
    }
    fclose(f);
    tokenizer_close(t);
    checkpoint_close(from);
    return n;
}

/* 241 tokens: more than a forward pass of eval_net.c takes. */
static void test_a_cache_is_what_its_formula_says(void **state)
{
    static const char *const nets[] = {"", "--apart"};
    char out[128], part[128], line[64];
    for (int apart = 0; apart < 2; apart++) {
        static struct plain p;
        int32_t ids[300];
        struct err e = ERR_INIT;
        char more[128];
        struct net net;
        snprintf(more, sizeof more,
                 "--cell elman --hidden 10 --epochs 3 --record line %s",
                 nets[apart]);
        struct options o = texts(more, words, out, "formula");
        train_rig_train(&o);
        FILE *from = fopen(words, "rb"), *to = train_rig_file(part, "60.txt");
        for (int i = 0; i < 60; i++)
            assert_true(fgets(line, sizeof line, from) != NULL &&
                        fputs(line, to) >= 0);
        fclose(from);
        fclose(to);
        o.model = out;
        o.data = part;
        o.cache_size = 50;
        o.cache_theta = 0.7;
        o.cache_lambda = 0.4;
        p = (struct plain){.net = &net, .H = 10, .E = 16};
        assert_int_equal(load_net(out, &net, &p.w, &e), 0);
        p.V = net.V;
        double want =
            plain_nats(&p, ids, encode_words(out, 242, ids), apart, &o);
        assert_true(fabs(figure(&o, "nats") - want) < 1e-3 * want);
        train_rig_drop(&net, p.w);
        /* without it the engine says the same */
        double without = figure(&o, "nats_without");
        o.cache_size = 0;
        assert_true(fabs(figure(&o, "nats") - without) < 1e-3 * without);
    }
}

static void test_a_cache_has_a_size(void **state)
{
    static const char *const given[] = {"--cache-theta=0.3",
                                        "--cache-lambda=0.1"};
    for (size_t i = 0; i < COUNT(given); i++) {
        char *argv[] = {"seqd-train", "eval",           "--model",
                        "m",          (char *)given[i], "--cache-size=5"};
        struct options o;
        struct err e = ERR_INIT;
        assert_int_equal(train_options_parse(6, argv, &o, &e), 0);
        assert_int_equal(train_options_parse(5, argv, &o, &e), -1);
        assert_non_null(strstr(e.msg, "--cache-size says"));
        argv[1] = "train";
        e = (struct err)ERR_INIT;
        assert_int_equal(train_options_parse(5, argv, &o, &e), -1);
        assert_non_null(strstr(e.msg, "is no option of train"));
    }
}

static void test_a_cache_is_for_language_models(void **state)
{
    static const char *const nets[][2] = {
        {"--arch gpt2 --heads 2 --context 40 --epochs 1", "is for recurrent"},
        {"--task classifier --epochs 1", "is for recurrent"}};
    char out[128];
    for (size_t i = 0; i < COUNT(nets); i++) {
        struct options o = texts(nets[i][0], words, out, "no-cache");
        train_rig_train(&o);
        o.model = out;
        o.cache_size = 10;
        refuse_eval(o, nets[i][1]);
        o.cut = 1;
        refuse_eval(o, "of the other options it reads");
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_values_are_scored_as_they_were_validated),
        cmocka_unit_test(test_values_of_other_vectors_are_not_scored),
        cmocka_unit_test(test_a_cache_counts_what_came_before),
        cmocka_unit_test(test_a_cache_is_what_its_formula_says),
        cmocka_unit_test(test_a_cache_has_a_size),
        cmocka_unit_test(test_a_cache_is_for_language_models),
    };
    return cmocka_run_group_tests(tests, train_memory_open, train_rig_close);
}
