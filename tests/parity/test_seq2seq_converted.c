/* Encoder-decoders of other programs, brought into our layout by the converters
 * in tests/golden/: their stated ids and answers, in fp32. Text goes through
 * our own tokenizers, both ways.
 *
 * g2p-en-gru is in the folder that SEQD_MODELS names (get.sh has filled it),
 * the dates are shared data beside the repository; skipped where they are not
 * there.
 *
 * SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "engine/base/buf.h"
#include "engine/base/file.h"
#include "engine/base/json.h"
#include "engine/base/mem.h"
#include "models/rnn/seq2seq_rnn.h"
#include "tests/support/arch_rig.h"
#include "tests/support/converter.h"
#include "tests/support/golden.h"
#include "tests/support/shared_file.h"
#include "tests/support/temp_dir.h"
#include "tests/support/tokenizer_at.h"

#define TOLERANCE 1e-4 /* of the stated logits */
#define MAX_IDS 64
#define MAX_V 128
#define DATES 300
#define DATE_SOURCE 29
#define DATE_TARGET 10

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
enum { MAX_DATES = 10 };
#else
enum { MAX_DATES = DATES };
#endif

static struct {
    char dir[64];
    struct rig g;
    struct rig_seq seq;
    struct tokenizer *source, *target;
} c;

static struct tokenizer *parse(const char *file)
{
    struct err e = ERR_INIT;
    struct tokenizer *t;
    char path[100], *text;
    size_t n;
    snprintf(path, sizeof path, "%s/%s", c.dir, file);
    if (file_read(path, file, 1 << 20, &text, &n, &e) ||
        tokenizer_parse(text, n, file, &t, &e))
        fail_msg("%s: %s", file, e.msg);
    mem_free(text);
    return t;
}

static void open_converted(const char *script, const char *const *args,
                           const char *source)
{
    struct err e = ERR_INIT;
    if (converter_run(script, args))
        fail_msg("tests/golden/%s failed", script);
    if (rig_open(&c.g, &seq2seq_rnn_arch, c.dir, "auto", 1, 0, &e))
        fail_msg("%s: %s", script, e.msg);
    c.source = parse(source);
    c.target = parse("tokenizer.json");
    assert_int_equal(tokenizer_size(c.target), c.g.info.cols[OUT_LOGITS]);
    assert_int_equal(rig_seq_open(&c.g, &c.seq), 0);
}

static void close_converted(void)
{
    rig_seq_close(&c.seq);
    tokenizer_close(c.source);
    tokenizer_close(c.target);
    rig_close(&c.g);
    temp_dir_drop(c.dir);
}

static void step(int port, const int32_t *ids, int n, float *row)
{
    struct err e = ERR_INIT;
    struct rig_item it = {.seq = &c.seq, .port = port, .ids = ids, .n = n};
    it.n_want = row != NULL;
    it.want[0] = (struct want){.from = n - 1, .n = 1, .dst = row, .ld = MAX_V};
    if (rig_step(&c.g, &it, 1, &e) || it.status)
        fail_msg("step failed: %s", e.msg);
}

/* The likeliest tokens after the start, up to `end` or `most` of them; the
 * first row of logits goes to `first`. */
static int greedy(const char *text, size_t n_text, int end, int most,
                  int32_t *ids, float *first)
{
    struct token_list l = {0};
    struct err e = ERR_INIT;
    int32_t source[MAX_IDS], id = c.g.info.target.start;
    float row[MAX_V];
    int n = 0;
    if (tokenizer_encode(c.source, text, n_text, TOK_ADD_SPECIAL, MAX_IDS, &l,
                         &e))
        fail_msg("%s", e.msg);
    for (int i = 0; i < l.n; i++)
        source[i] = l.v[i].id;
    rig_seq_clear(&c.g, &c.seq);
    step(PORT_SOURCE, source, l.n, NULL);
    token_list_fini(&l);
    while (n < most && (n == 0 || id != end)) {
        step(PORT_TARGET, &id, 1, row);
        if (n == 0)
            memcpy(first, row, sizeof row);
        id = 0;
        for (int v = 1; v < c.g.info.cols[OUT_LOGITS]; v++)
            id = row[v] > row[id] ? v : id;
        ids[n++] = id;
    }
    return n;
}

static void expect_text(const int32_t *ids, int n, const char *want)
{
    struct detok d;
    struct buf out;
    buf_init(&out, 1 << 12);
    detok_init(&d);
    for (int i = 0; i < n; i++)
        detok_next(c.target, &d, ids[i], &out);
    detok_finish(c.target, &d, &out);
    assert_non_null(out.p);
    assert_string_equal(out.p, want);
    buf_fini(&out);
}

static void check_word(const struct json *j, int end, int most)
{
    const char *word = json_string(json_get(j, "word"));
    float first[MAX_V], logits[MAX_V];
    int32_t ids[MAX_IDS], want[MAX_IDS];
    char text[300] = "";
    int n = greedy(word, strlen(word), end, most, ids, first);
    int n_want = golden_ids(json_get(j, "ids"), want, MAX_IDS);
    assert_int_equal(n, n_want);
    for (int i = 0; i < n; i++)
        if (ids[i] != want[i])
            fail_msg("%s: id %d is %d, expected %d", word, i, ids[i], want[i]);
    n_want = golden_floats(json_get(j, "first_logits"), logits, MAX_V);
    golden_close(first, logits, n_want, TOLERANCE, "%s: logits", word);
    for (const struct json *p = json_child(json_get(j, "phonemes")); p;
         p = json_next(p))
        snprintf(text + strlen(text), sizeof text - strlen(text), "%s%s",
                 text[0] ? " " : "", json_string(p));
    expect_text(ids, ids[n - 1] == end ? n - 1 : n, text);
}

static void test_g2p_gru_gives_the_stated_phonemes(void **state)
{
    const char *models = getenv("SEQD_MODELS");
    char path[600];
    struct json *j;
    struct err e = ERR_INIT;
    size_t n;
    int words = 0;
    (void)state;
    snprintf(path, sizeof path, "%s/g2p-en-gru/model.safetensors",
             models ? models : "");
    char *text = shared_read("models/g2p-en-gru/reference.json", &n);
    if (!text || !models || access(path, R_OK)) {
        print_message("skipped: SEQD_MODELS has no g2p-en-gru\n");
        free(text);
        skip();
    }
    temp_dir_make(c.dir);
    open_converted("convert_g2p.py",
                   (const char *const[]){shared_dir(), models, c.dir, NULL},
                   "source_tokenizer.json");
    if (json_parse(text, n, NULL, &j, &e))
        fail_msg("%s", e.msg);
    free(text);
    int end = (int)json_number(json_get(j, "end"));
    int most = (int)json_number(json_get(j, "longest_output"));
    for (const struct json *x = json_child(json_get(j, "entries")); x;
         x = json_next(x), words++)
        check_word(x, end, most);
    assert_int_equal(words, 30);
    json_free(j);
    close_converted();
}

static void test_date_lstm_with_attention_is_right(void **state)
{
    size_t n;
    char *text = shared_read("data/seq2seq-synthetic/date.txt.gz", &n);
    (void)state;
    if (!text) {
        print_message("skipped: no dates in the shared data\n");
        skip();
    }
    temp_dir_make(c.dir);
    open_converted("convert_date.py",
                   (const char *const[]){shared_dir(), c.dir, NULL},
                   "tokenizer.json");
    const char *line = text;
    for (int i = 0; i < MAX_DATES; i++, line = strchr(line, '\n') + 1) {
        float first[MAX_V];
        int32_t ids[MAX_IDS];
        char want[DATE_TARGET + 1];
        assert_true(line + DATE_SOURCE + 1 + DATE_TARGET < text + n);
        assert_int_equal(line[DATE_SOURCE], '_');
        memcpy(want, line + DATE_SOURCE + 1, DATE_TARGET);
        want[DATE_TARGET] = '\0';
        greedy(line, DATE_SOURCE, -1, DATE_TARGET, ids, first);
        expect_text(ids, DATE_TARGET, want);
    }
    free(text);
    close_converted();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_g2p_gru_gives_the_stated_phonemes),
        cmocka_unit_test(test_date_lstm_with_attention_is_right),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
