/* Real checkpoints of other programs, brought into our layout by the
 * converters in tests/golden/: they reproduce the losses and continuations
 * that were measured with an independent implementation. The sources are
 * shared data beside the repository ($SEQD_SHARED, default ../shared); skipped
 * where they are not there. Text goes through our own tokenizers.
 *
 * Under a sanitizer the long texts are cut, and their perplexity is not
 * compared.
 *
 * SPDX-License-Identifier: MIT */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "engine/base/buf.h"
#include "engine/base/json.h"
#include "engine/base/mem.h"
#include "engine/run/eval.h"
#include "models/registry.h"
#include "models/rnn/rnn.h"
#include "tests/support/arch_rig.h"
#include "tests/support/converter.h"
#include "tests/support/shared_file.h"
#include "tests/support/tokenizer_at.h"

#define PTB_PERPLEXITY 135.844
#define PTB_TOKENS 82429
#define PERPLEXITY_TOLERANCE 0.005 /* digits of the stated value */
#define BITS_TOLERANCE 1e-4        /* fp32 there and here */
#define LOSS_TOLERANCE 1e-4        /* float64 there, fp32 here, nats */
#define CHUNK 256
#define MAX_TEXT (1 << 20)

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
enum { SLOW_BUILD = 1, MAX_SCORED = 2000 };
#else
enum { SLOW_BUILD = 0, MAX_SCORED = 1 << 30 };
#endif

struct converted {
    struct rig g;
    struct tokenizer *tok;
    struct json *expected;
    struct rig_seq seq;
    char dir[256];
};

/* Convert models/<source> to build/converted/<name> and open it; 0 when the
 * source is not there. */
static int open_converted(struct converted *c, const char *source,
                          const char *script, const char *name)
{
    struct err e = ERR_INIT;
    char path[700];
    struct stat st;
    int named = strcmp(script, "convert_ptb.py") != 0;
    const char *const args[] = {shared_dir(), named ? name : c->dir,
                                named ? c->dir : NULL, NULL};
    memset(c, 0, sizeof *c);
    snprintf(path, sizeof path, "%s/data/models/%s", shared_dir(), source);
    if (stat(path, &st))
        return 0;
    snprintf(c->dir, sizeof c->dir, "build/converted/%s-%d", name,
             (int)getpid());
    if (converter_run(script, args))
        fail_msg("tests/golden/%s failed", script);
    snprintf(path, sizeof path, "%s/expected.json", c->dir);
    if (rig_open(&c->g, &rnn_arch, c->dir, "auto", 1, 0, &e) ||
        tokenizer_at(c->dir, name, &c->tok, &e) ||
        json_load(path, "expected.json", NULL, &c->expected, &e))
        fail_msg("%s: %s", name, e.msg);
    assert_int_equal(tokenizer_size(c->tok), c->g.info.cols[OUT_LOGITS]);
    assert_int_equal(rig_seq_open(&c->g, &c->seq), 0);
    return 1;
}

static void close_converted(struct converted *c)
{
    static const char *const files[] = {"config.json", "tokenizer.json",
                                        "model.safetensors", "expected.json",
                                        "text.txt"};
    char path[400];
    rig_seq_close(&c->seq);
    tokenizer_close(c->tok);
    json_free(c->expected);
    rig_close(&c->g);
    for (int i = 0; i < 5; i++) {
        snprintf(path, sizeof path, "%s/%s", c->dir, files[i]);
        unlink(path);
    }
    rmdir(c->dir);
}

static size_t read_text(const char *path, char *text)
{
    FILE *f = fopen(path, "rb");
    size_t n;
    if (!f)
        fail_msg("%s cannot be read", path);
    n = fread(text, 1, MAX_TEXT, f);
    fclose(f);
    return n;
}

static void encode(const struct converted *c, const char *text, size_t n,
                   struct token_list *out)
{
    struct err e = ERR_INIT;
    memset(out, 0, sizeof *out);
    if (tokenizer_encode(c->tok, text, n, 0, MAX_TEXT, out, &e))
        fail_msg("%s", e.msg);
}

/* -ln softmax(row)[id] */
static double loss_of(const struct converted *c, const float *row, int32_t id)
{
    int V = c->g.info.cols[OUT_LOGITS];
    float max = c->g.k->row_max(V, row);
    return log((double)c->g.k->sum_exp(V, row, max)) -
           ((double)row[id] - (double)max);
}

/* Nats of tokens 1 .. n-1, each given all before it; per token in loss (may
 * be NULL). */
static double score(struct converted *c, const struct token_list *l, int n,
                    double *loss)
{
    static int32_t ids[CHUNK];
    int V = c->g.info.cols[OUT_LOGITS];
    float *logits = mem_floats((size_t)CHUNK * (size_t)V);
    struct err e = ERR_INIT;
    double sum = 0.0;
    assert_non_null(logits);
    rig_seq_clear(&c->g, &c->seq);
    for (int at = 0; at + 1 < n; at += CHUNK) {
        struct rig_item it = {.seq = &c->seq, .ids = ids, .n_want = 1};
        it.n = n - 1 - at < CHUNK ? n - 1 - at : CHUNK;
        for (int i = 0; i < it.n; i++)
            ids[i] = l->v[at + i].id;
        it.want[0] = (struct want){
            .kind = OUT_LOGITS, .n = it.n, .dst = logits, .ld = (size_t)V};
        if (rig_step(&c->g, &it, 1, &e) || it.status)
            fail_msg("step failed: %s", e.msg);
        for (int i = 0; i < it.n; i++) {
            double x =
                loss_of(c, logits + (size_t)i * (size_t)V, l->v[at + i + 1].id);
            if (loss)
                loss[at + i] = x;
            sum += x;
        }
    }
    mem_aligned_free(logits);
    return sum;
}

static char text[MAX_TEXT];

static void test_ptb_lstm_gives_the_stated_losses_per_token(void **state)
{
    struct converted c;
    struct token_list l;
    const struct json *j;
    double loss[32];
    int n = 0;
    (void)state;
    if (!open_converted(&c, "ptb-lstm100", "convert_ptb.py", "ptb")) {
        print_message("skipped: no ptb-lstm100 in the shared data\n");
        skip();
    }
    text[0] = '\0';
    for (j = json_child(json_get(c.expected, "tokens")); j; j = json_next(j)) {
        const char *word = json_string(j);
        size_t len = strlen(text);
        if (strcmp(word, "<eos>") == 0)
            word = "\n";
        snprintf(text + len, sizeof text - len, "%s ", word);
    }
    encode(&c, text, strlen(text), &l);
    for (j = json_child(json_get(c.expected, "ids")); j; j = json_next(j)) {
        assert_true(n < l.n && n < 32);
        assert_int_equal(l.v[n].id, (int)json_number(j));
        n++;
    }
    assert_int_equal(l.n, n);
    score(&c, &l, n, loss);
    n = 0;
    for (j = json_child(json_get(c.expected, "neg_log_prob_of_next")); j;
         j = json_next(j), n++) {
        if (!(fabs(loss[n] - json_number(j)) <= LOSS_TOLERANCE))
            fail_msg("token %d: %.9g nats, expected %.9g", n, loss[n],
                     json_number(j));
    }
    assert_int_equal(n, l.n - 1);
    token_list_fini(&l);
    close_converted(&c);
}

/* Through the engine's own scoring, as the trainer's eval does it. */
static void engine_perplexity(const struct converted *c,
                              const struct token_list *l, int n,
                              struct eval_score *out)
{
    struct engine_options o = {.kernels = "auto", .n_threads = 2};
    int32_t *ids = mem_array((size_t)n, sizeof *ids);
    struct err e = ERR_INIT;
    struct engine *g;
    struct model *m;
    assert_non_null(ids);
    for (int i = 0; i < n; i++)
        ids[i] = l->v[i].id;
    if (engine_open(&o, registry_archs, &g, &e) ||
        engine_load(g, "ptb", c->dir, &e) ||
        engine_model(g, "ptb", NULL, &m, &e) ||
        eval_score(g, m, ids, n, 0, out, &e))
        fail_msg("%s", e.msg);
    model_release(m);
    engine_close(g);
    mem_free(ids);
}

static void test_ptb_lstm_gives_the_stated_perplexity(void **state)
{
    struct converted c;
    struct token_list l;
    struct eval_score score;
    char path[600];
    double perplexity;
    int n;
    (void)state;
    if (!open_converted(&c, "ptb-lstm100", "convert_ptb.py", "ptb")) {
        print_message("skipped: no ptb-lstm100 in the shared data\n");
        skip();
    }
    snprintf(path, sizeof path, "%s/data/ptb/ptb.test.txt", shared_dir());
    encode(&c, text, read_text(path, text), &l);
    assert_int_equal(l.n, PTB_TOKENS + 1);
    n = l.n < MAX_SCORED ? l.n : MAX_SCORED;
    engine_perplexity(&c, &l, n, &score);
    assert_int_equal(score.tokens, n - 1);
    perplexity = exp(score.nats / (double)score.tokens);
    print_message("perplexity %.4f over %d tokens\n", perplexity, n - 1);
    if (!SLOW_BUILD &&
        !(fabs(perplexity - PTB_PERPLEXITY) <= PERPLEXITY_TOLERANCE))
        fail_msg("perplexity %.4f, expected %.3f", perplexity, PTB_PERPLEXITY);
    token_list_fini(&l);
    close_converted(&c);
}

static void check_bits(struct converted *c, int predictions)
{
    double want = json_number(json_get(c->expected, "bits_per_char")), bits;
    struct token_list l;
    char path[600];
    int n;
    snprintf(path, sizeof path, "%s/text.txt", c->dir);
    encode(c, text, read_text(path, text), &l);
    assert_int_equal(l.n, predictions + 1);
    assert_int_equal(l.n_unknown, 0);
    n = l.n < MAX_SCORED ? l.n : MAX_SCORED;
    bits = score(c, &l, n, NULL) / log(2.0) / (n - 1);
    print_message("%.5f bits per character, stated %.5f\n", bits, want);
    if (!SLOW_BUILD && !(fabs(bits - want) <= BITS_TOLERANCE))
        fail_msg("%.6f bits per character, expected %.6f", bits, want);
    token_list_fini(&l);
}

/* The likeliest token each time; equal ones: the lowest id. */
static void check_greedy(struct converted *c)
{
    const char *prompt = json_string(json_get(c->expected, "prompt"));
    const char *want =
        json_string(json_get(c->expected, "greedy_continuation"));
    int V = c->g.info.cols[OUT_LOGITS];
    struct err e = ERR_INIT;
    struct token_list l;
    struct detok d;
    struct buf out;
    int32_t ids[256];
    float logits[256];
    struct rig_item it = {.seq = &c->seq, .ids = ids, .n_want = 1};
    encode(c, prompt, strlen(prompt), &l);
    assert_true(l.n < 256 && V <= 256);
    for (int i = 0; i < l.n; i++)
        ids[i] = l.v[i].id;
    it.n = l.n;
    buf_init(&out, 1 << 16);
    detok_init(&d);
    detok_seed(c->tok, &d, ids, l.n);
    rig_seq_clear(&c->g, &c->seq);
    for (size_t k = 0; k < strlen(want); k++) {
        int best = 0;
        it.want[0] = (struct want){.kind = OUT_LOGITS,
                                   .from = it.n - 1,
                                   .n = 1,
                                   .dst = logits,
                                   .ld = 256};
        assert_int_equal(rig_step(&c->g, &it, 1, &e) | it.status, 0);
        for (int v = 1; v < V; v++)
            best = logits[v] > logits[best] ? v : best;
        detok_next(c->tok, &d, best, &out);
        ids[0] = best;
        it.n = 1;
    }
    detok_finish(c->tok, &d, &out);
    assert_non_null(out.p);
    assert_string_equal(out.p, want);
    buf_fini(&out);
    token_list_fini(&l);
}

static void check_charlstm(const char *source, const char *name)
{
    struct converted c;
    if (!open_converted(&c, source, "convert_charlstm.py", name)) {
        print_message("skipped: no %s in the shared data\n", source);
        skip();
    }
    check_bits(&c, 20000);
    check_greedy(&c);
    close_converted(&c);
}

static void test_bronte_lstm_gives_the_stated_bits_and_text(void **state)
{
    (void)state;
    check_charlstm("charlstm-charlotte-bronte", "charlotte-bronte");
}

static void test_shakespeare_lstm_gives_the_stated_bits_and_text(void **state)
{
    (void)state;
    check_charlstm("charlstm-shakespeare", "shakespeare");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_ptb_lstm_gives_the_stated_losses_per_token),
        cmocka_unit_test(test_ptb_lstm_gives_the_stated_perplexity),
        cmocka_unit_test(test_bronte_lstm_gives_the_stated_bits_and_text),
        cmocka_unit_test(test_shakespeare_lstm_gives_the_stated_bits_and_text),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
