/* test_task_generate: text, stop strings and streaming of continuations. The
 * toy model is a chain: after word i comes word i + 1, then the end, so the
 * whole text of a continuation is known beforehand.
 *
 * SPDX-License-Identifier: MIT */
#include "engine/base/rng.h"
#include "engine/base/utf8.h"
#include "tests/support/engine_fix.h"
#include "tests/support/unit.h"

#define N_WORDS 40
#define N_STOPS 4

/* Words of one to four letters, some of several bytes, each one once. */
static void make_words(struct rng *r, char words[N_WORDS][32],
                       const char **list)
{
    static const char *const letters[] = {
        "a", "b", "c", "\xc3\xa9", "\xe2\x82\xac", "\xf0\x9f\x98\x80"};
    for (int i = 0; i < N_WORDS; i++) {
        int again = 1;
        while (again) {
            int n = 1 + (int)rng_below(r, 4);
            size_t at = 0;
            for (int k = 0; k < n; k++) {
                at += (size_t)snprintf(words[i] + at, 32 - at, "%s",
                                       letters[rng_below(r, 6)]);
            }
            again = 0;
            for (int k = 0; k < i; k++)
                again |= strcmp(words[i], words[k]) == 0;
        }
        list[i] = words[i];
    }
}

/* The text after the words before `from`, cut as the rules say: token by
 * token; within it byte by byte, the stop that ends first, then the longest. */
static int reference(const char *const *words, int from, int max_tokens,
                     const char *const *stop, int n_stop, char *text,
                     enum finish_reason *why)
{
    size_t len = 0, seen = 0;
    int n = 0;
    *why = FINISH_LENGTH;
    text[0] = 0;
    while (n < max_tokens) {
        if (from + n >= N_WORDS) {
            *why = FINISH_STOP; /* the end token */
            return n;
        }
        len += (size_t)snprintf(text + len, 64, " %s", words[from + n]);
        n++;
        for (seen++; seen <= len; seen++) {
            size_t longest = 0;
            for (int i = 0; i < n_stop; i++) {
                size_t k = strlen(stop[i]);
                if (k <= seen && k > longest &&
                    memcmp(text + seen - k, stop[i], k) == 0)
                    longest = k;
            }
            if (longest) {
                text[seen - longest] = 0;
                *why = FINISH_STOP;
                return n;
            }
        }
        seen = len;
    }
    return n;
}

/* A piece of `text` at code point borders, or something that is not there. */
static void make_stop(struct rng *r, const char *text, char *stop)
{
    size_t n = strlen(text), from = rng_below(r, (uint32_t)n);
    size_t len = 1 + rng_below(r, 9);
    while (from > 0 && ((unsigned char)text[from] & 0xc0) == 0x80)
        from--;
    len = from + len > n ? n - from : len;
    while (from + len < n && ((unsigned char)text[from + len] & 0xc0) == 0x80)
        len++;
    memcpy(stop, text + from, len);
    stop[len] = 0;
    if (rng_below(r, 4) == 0)
        snprintf(stop, 16, "ab c%c", 'a' + (int)rng_below(r, 3));
}

static void one_case(struct fix *f, struct rng *r, const char *const *words)
{
    char all[2048], expected[2048], stop_text[N_STOPS][64];
    const char *stop[N_STOPS];
    enum finish_reason why;
    struct watched j = {0};
    int from = 1 + (int)rng_below(r, N_WORDS - 2);
    int32_t prompt[2] = {FAKE_BOS, FAKE_WORD + from - 1};
    struct flat_spec s = fix_spec(f, &task_generate, prompt, 2);

    reference(words, from, N_WORDS, NULL, 0, all, &why);
    s.n_stop = (int)rng_below(r, N_STOPS + 1);
    for (int i = 0; i < s.n_stop; i++) {
        make_stop(r, all, stop_text[i]);
        stop[i] = stop_text[i];
    }
    s.stop = stop;
    s.max_tokens = (int)rng_below(r, N_WORDS);
    s.stream = (int)rng_below(r, 2);
    int n =
        reference(words, from, s.max_tokens, stop, s.n_stop, expected, &why);
    fix_run(f, &s, 1, &j);
    const struct flat_result flat = flat_result(j.job), *res = &flat;
    assert_int_equal(j.final, JOB_DONE);
    assert_string_equal(res->text, expected);
    assert_int_equal(res->text_len, strlen(expected));
    assert_int_equal(res->finish, why);
    assert_int_equal(res->n_tokens, n);
    if (s.stream) {
        j.text[j.text_len] = 0;
        assert_string_equal(j.text, expected);
    } else {
        assert_int_equal(j.n_text, 0);
    }
    watch_release(&j, 1);
}

static void test_generate_cuts_at_stops_wherever_tokens_end(void **state)
{
    struct rng r;
    rng_init(&r, 11);
    for (int round = 0; round < 6; round++) {
        char words[N_WORDS][32];
        const char *list[N_WORDS];
        struct fix f;
        make_words(&r, words, list);
        fix_open(
            &f,
            &(struct fake_config){
                .chain = 1, .max_chain = 8, .words = list, .n_words = N_WORDS},
            NULL);
        for (int i = 0; i < 80; i++)
            one_case(&f, &r, list);
        fix_close(&f);
    }
}

static void test_generate_streams_as_soon_as_text_is_certain(void **state)
{
    /* " w11 w12 ..."; the stop of five bytes holds four back. */
    struct fix f;
    struct watched j[2] = {{0}};
    int32_t prompt[2] = {FAKE_BOS, 10};
    const char *stop[1] = {"w50ab"};
    struct flat_spec s[2];
    fix_open(&f, &(struct fake_config){.chain = 1, .max_chain = 8}, NULL);
    atomic_store(&fake_stats.hold, 1);
    for (int i = 0; i < 2; i++) {
        s[i] = fix_spec(&f, &task_generate, prompt, 2);
        s[i].stream = 1;
    }
    s[1].stop = stop;
    s[1].n_stop = 1;
    fix_submit(&f, s, 2, j);
    fake_pass(3); /* the events of two steps at least are out */
    pthread_mutex_lock(&f.w.mu);
    assert_true(j[0].text_len >= 8 && j[0].n_text >= 2);
    assert_int_equal(j[1].text_len, j[0].text_len - 4);
    pthread_mutex_unlock(&f.w.mu);
    fix_go(&f, 2);
    assert_int_equal(j[0].n_text, 8); /* one event for each token */
    assert_string_equal(j[0].text, " w11 w12 w13 w14 w15 w16 w17 w18");
    assert_string_equal(j[1].text, j[0].text);
    fix_end(&f, j, 2);
}

static void test_generate_of_no_tokens_reads_the_prompt(void **state)
{
    struct fix f;
    struct watched j = {0};
    int32_t prompt[30];
    for (int i = 0; i < 30; i++)
        prompt[i] = FAKE_WORD + i;
    fix_open(&f, &(struct fake_config){.chain = 1, .max_chain = 8}, NULL);
    struct flat_spec s = fix_spec(&f, &task_generate, prompt, 30);
    s.max_tokens = 0;
    s.stream = 1;
    fix_run(&f, &s, 1, &j);
    const struct flat_result flat = flat_result(j.job), *r = &flat;
    assert_int_equal(j.final, JOB_DONE);
    assert_string_equal(r->text, "");
    assert_int_equal(r->finish, FINISH_LENGTH);
    assert_int_equal(r->n_tokens, 0);
    assert_int_equal(j.n_text, 0);
    assert_int_equal(atomic_load(&fake_stats.tokens), 30);
    fix_end(&f, &j, 1);
}

static void test_generate_ends_where_the_context_is_full(void **state)
{
    struct fix f;
    struct watched j = {0};
    int32_t prompt[13] = {FAKE_BOS, 10, 11, 12, 13, 14, 15, 16};
    fix_open(&f, &(struct fake_config){.chain = 1, .context = 12}, NULL);
    struct flat_spec s = fix_spec(&f, &task_generate, prompt, 8);
    s.max_tokens = 20;
    fix_run(&f, &s, 1, &j);
    const struct flat_result flat = flat_result(j.job), *r = &flat;
    /* Five tokens are drawn: from 8, 9, 10, 11 and 12 tokens of context. */
    assert_int_equal(r->n_tokens, 5);
    assert_int_equal(r->finish, FINISH_LENGTH);
    assert_int_equal(atomic_load(&fake_stats.tokens), 12);
    watch_release(&j, 1);
    s.n_tokens = 13;
    fix_refused(&f, &s, 1, &j, ERR_TOO_LARGE, "context_length_exceeded",
                "input[0]");
    fix_close(&f);
}

static void test_generate_same_seed_same_text_wherever_it_stands(void **state)
{
    enum { N = 24 };
    struct fix f;
    struct watched j[N] = {{0}};
    struct flat_spec s[N];
    int32_t prompt[5] = {FAKE_BOS, 10, 11, 12, 13};
    int differ = 0;
    fix_open(&f, &(struct fake_config){.max_chain = 2}, NULL);
    for (int i = 0; i < N; i++) {
        s[i] = fix_spec(&f, &task_generate, prompt, 5);
        s[i].sample.temperature = 1;
        s[i].sample.seed = (uint64_t)(i % 2);
        s[i].max_tokens = 12;
    }
    fix_run(&f, s, N, j);
    for (int i = 2; i < N; i++) {
        assert_string_equal(flat_result(j[i].job).text,
                            flat_result(j[i % 2].job).text);
    }
    differ = strcmp(flat_result(j[0].job).text, flat_result(j[1].job).text);
    assert_true(differ != 0);
    fix_end(&f, j, N);
}

static void test_generate_refuses_wrong_parameters(void **state)
{
    struct fix f;
    struct watched j = {0};
    int32_t prompt[2] = {FAKE_BOS, 10};
    char longest[1100];
    const char *stop[17];
    memset(longest, 'x', sizeof(longest));
    longest[1025] = 0;
    fix_open(&f, &(struct fake_config){0}, NULL);
    for (int k = 0; k < 10; k++) {
        static const char *const param[] = {
            "stop",       "stop",  "stop", "stop", "max_tokens",
            "max_tokens", "top_p", "n",    "n",    "n"};
        struct flat_spec s = fix_spec(&f, &task_generate, prompt, 2);
        for (int i = 0; i < 17; i++)
            stop[i] = "x";
        stop[0] = k == 0 ? "" : k == 1 ? longest : k == 2 ? "\xc3" : "x";
        s.stop = stop;
        s.n_stop = k == 3 ? 17 : k < 3 ? 1 : 0;
        s.max_tokens = k == 4 ? -1 : k == 5 ? 1 << 30 : 1;
        s.sample.top_p = k == 6 ? 2 : 1;
        s.choices = k == 7 ? -1 : k == 8 ? MOST_CHOICES + 1 : 2;
        s.stream = k == 9;
        fix_refused(&f, &s, 1, &j, ERR_INVALID, NULL, param[k]);
    }
    fix_close(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_generate_cuts_at_stops_wherever_tokens_end),
        cmocka_unit_test(test_generate_streams_as_soon_as_text_is_certain),
        cmocka_unit_test(test_generate_of_no_tokens_reads_the_prompt),
        cmocka_unit_test(test_generate_ends_where_the_context_is_full),
        cmocka_unit_test(test_generate_same_seed_same_text_wherever_it_stands),
        cmocka_unit_test(test_generate_refuses_wrong_parameters),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
