/* test_task_words: whole words from sub-words, against trying every path.
 *
 * SPDX-License-Identifier: MIT */
#include <math.h>

#include "engine/base/mem.h"
#include "engine/run/subwords.h"
#include "tests/support/engine_fix.h"
#include "tests/support/unit.h"

/* The bounds of the search that small vocabularies can meet (task_words.c). */
#define DEPTH 8
#define LEAST 1e-7
#define ROWS 256
/* Probabilities are given in single precision. */
#define TOLERANCE 1e-6

/* A vocabulary in GPT-2's alphabet, and what each entry is by hand. */
struct entry {
    const char *text;  /* as the vocabulary writes it */
    const char *bytes; /* that it stands for */
    char kind;         /* s space, l letter, m mark, r rest of a code point */
};

static const struct entry small[] = {
    {"\xc4\xa0"
     "a",
     " a", 's'},
    {"b", "b", 'l'},
    {"\xc4\xa0", " ", 's'},
    {"\xc4\x8a", "\n", 's'},
    {".", ".", 'm'},
};
static const struct entry mixed[] = {
    {"\xc4\xa0"
     "a",
     " a", 's'},
    {"\xc4\xa0"
     "the",
     " the", 's'},
    {"b", "b", 'l'},
    {"the", "the", 'l'},
    {"\xc4\xa0", " ", 's'},
    {"\xc4\x8a", "\n", 's'},
    {".", ".", 'm'},
    {"'", "'", 'm'},
    {"'s", "'s", 'l'},
    {"7", "7", 'l'},
    {"\xc3\x83", "\xc3", 'l'}, /* the first byte of e acute ... */
    {"\xc2\xa9", "\xa9", 'r'}, /* ... and the second */
    {"\xc3\xa2\xc4\xa2\xc4\xb5", "\xe2\x80\x93", 'm'}, /* en dash */
};

static const struct entry cased[] = {
    {"\xc4\xa0"
     "The",
     " The", 's'},
    {"\xc4\xa0"
     "t",
     " t", 's'},
    {"The", "The", 'l'},
    {"T", "T", 'l'},
    {"he", "he", 'l'},
    {"\xc4\xa0", " ", 's'},
    {".", ".", 'm'},
};

static struct fake_config config(const struct entry *v, int n,
                                 const char **words)
{
    struct fake_config c = {
        .max_chain = 8, .bpe = 1, .words = words, .n_words = n, .page = 4};
    for (int i = 0; i < n; i++)
        words[i] = v[i].text;
    return c;
}

/* --- the definition, by hand --- */

struct brute_how {
    double temperature;
    double least; /* of a path */
    int apart;    /* no letter comes first */
};

struct brute {
    const struct entry *v;
    int n, V;
    struct brute_how how;
    double covered;
    struct {
        char text[64];
        double p;
    } word[4096];
    int n_words, n_rows;
};

/* What a word's bytes end in: o only a space, l, m, p part of a code point, w
 * nothing may follow. */
static char state_of(const char *s, size_t n)
{
    unsigned char c = (unsigned char)s[n - 1];
    if (n == 1 && c == ' ')
        return 'o';
    if (c == 0xc3)
        return 'p';
    if (c == 0xa9) /* behind 0xc3 a letter, else no code point */
        return n > 1 && (unsigned char)s[n - 2] == 0xc3 ? 'l' : 'm';
    if (c == ' ' || c == '\n')
        return 'w';
    return c >= 0x80 || c == '.' || c == '\'' ? 'm' : 'l';
}

static int goes_on(char state, char kind)
{
    return state == 'o'   ? kind == 'l' || kind == 'm'
           : state == 'p' ? kind == 'r'
                          : state == kind;
}

static void add(struct brute *b, const char *text, size_t n, double p)
{
    char word[64];
    size_t k = 0;
    b->covered += p;
    for (size_t i = n > 1 && text[0] == ' '; i < n; i++) {
        unsigned char c = (unsigned char)text[i];
        int whole =
            c < 0x80 || (c == 0xc3 && i + 1 < n) ||
            (c == 0xa9 && i > 0 && (unsigned char)text[i - 1] == 0xc3) ||
            c == 0xe2 || c == 0x80 || c == 0x93;
        whole =
            c == 0xc3 && i + 1 < n ? (unsigned char)text[i + 1] == 0xa9 : whole;
        if (whole) {
            word[k++] = text[i];
        } else {
            memcpy(word + k, "\xef\xbf\xbd", 3);
            k += 3;
        }
    }
    word[k] = 0;
    for (int i = 0; i < b->n_words; i++) {
        if (strcmp(b->word[i].text, word) == 0) {
            b->word[i].p += p;
            return;
        }
    }
    assert_true(b->n_words < 4096);
    memcpy(b->word[b->n_words].text, word, k + 1);
    b->word[b->n_words++].p = p;
}

static void softmax(const struct brute *b, uint32_t h, double *p)
{
    double sum = 0, max = -1e9;
    for (int i = 0; i < b->V; i++) {
        p[i] = (double)fake_logit(h, i, 0, 0, b->V) / b->how.temperature;
        max = p[i] > max ? p[i] : max;
    }
    for (int i = 0; i < b->V; i++) {
        p[i] = exp(p[i] - max);
        sum += p[i];
    }
    for (int i = 0; i < b->V; i++)
        p[i] /= sum;
}

/* Every path that begins with text [n], of depth tokens so far. */
static void try_all(struct brute *b, uint32_t h, const char *text, size_t n,
                    int depth, double p)
{
    double q[64], end = 0;
    char next[64];
    char state = depth > 0 ? state_of(text, n) : 'o';

    b->n_rows += depth > 0;
    softmax(b, h, q);
    end += q[FAKE_EOS];
    for (int i = 0; i < b->n; i++) {
        int id = FAKE_WORD + i;
        if (depth == 0 && b->how.apart && strchr("lr", b->v[i].kind))
            continue;
        if (depth > 0 && !goes_on(state, b->v[i].kind)) {
            end += q[id];
            continue;
        }
        double pp = p * q[id];
        size_t len = strlen(b->v[i].bytes);
        if (depth == DEPTH || pp < b->how.least || n + len > sizeof(next))
            continue;
        memcpy(next, text, n);
        memcpy(next + n, b->v[i].bytes, len);
        if (state_of(next, n + len) == 'w')
            add(b, next, n + len, pp);
        else
            try_all(b, fake_fold(h, id), next, n + len, depth + 1, pp);
    }
    if (depth > 0)
        add(b, text, n, p * end);
}

static void brute_force(struct brute *b, const struct entry *v, int n,
                        const int32_t *ids, int n_ids, struct brute_how how)
{
    memset(b, 0, sizeof *b);
    b->how = how;
    b->v = v;
    b->n = n;
    b->V = FAKE_WORD + n;
    try_all(b, fake_state(ids, n_ids), "", 0, 0, 1.0);
}

static double brute_find(const struct brute *b, const char *text)
{
    for (int i = 0; i < b->n_words; i++)
        if (strcmp(b->word[i].text, text) == 0)
            return b->word[i].p;
    return -1;
}

static struct flat_spec words_spec(const struct fix *f, const int32_t *ids,
                                   int n, int top_k, float temperature)
{
    struct flat_spec s = fix_spec(f, &task_words, ids, n);
    s.top_k = top_k;
    s.temperature = temperature;
    return s;
}

/* --- tests --- */

static void test_words_equal_trying_everything(void **state)
{
    static const struct {
        const struct entry *v;
        int n;
        float temperature;
    } cases[] = {{small, 5, 1.0f}, {small, 5, 2.0f}, {mixed, 13, 0.3f}};
    static struct brute b;
    int whole = 0;
    for (int c = 0; c < 3; c++) {
        const char *words[16];
        struct fake_config fc = config(cases[c].v, cases[c].n, words);
        struct fix f;
        fix_open(&f, &fc, NULL);
        for (int i = 0; i < 20; i++) {
            int32_t ids[6];
            struct watched j = {0};
            for (int k = 0; k < 6; k++)
                ids[k] = FAKE_WORD + (i * 7 + k * k) % cases[c].n;
            brute_force(&b, cases[c].v, cases[c].n, ids, 1 + i % 6,
                        (struct brute_how){(double)cases[c].temperature,
                                           .least = LEAST});
            if (b.n_rows > ROWS)
                continue; /* the search may leave some of it */
            whole++;
            struct flat_spec s =
                words_spec(&f, ids, 1 + i % 6, 1000, cases[c].temperature);
            fix_run(&f, &s, 1, &j);
            const struct flat_result flat = flat_result(j.job), *r = &flat;
            assert_int_equal(j.final, JOB_DONE);
            assert_int_equal(r->n_predictions, b.n_words);
            assert_true(fabs(r->covered_mass - b.covered) < TOLERANCE);
            for (int k = 0; k < r->n_predictions; k++) {
                const struct prediction *p = &r->predictions[k];
                double want = brute_find(&b, p->text);
                if (fabs((double)p->prob - want) > TOLERANCE * (want + 1e-3)) {
                    fail_msg("'%s' %g, expected %g", p->text, (double)p->prob,
                             want);
                }
                assert_true(fabs((double)p->logprob - log(want)) < 1e-4);
                assert_true(k == 0 || p->prob <= p[-1].prob);
            }
            watch_release(&j, 1);
        }
        fix_close(&f);
    }
    print_message("%d whole trees\n", whole);
    assert_true(whole > 30);
}

/* --- with a prefix --- */

/* What is behind the prefix of a word that begins with it, or with its first
 * letter small; NULL: it begins otherwise. */
static const char *behind(const char *word, const char *prefix)
{
    char lower[16];
    size_t n = strlen(prefix);
    memcpy(lower, prefix, n + 1);
    lower[0] = (char)(lower[0] | 0x20);
    return strncmp(word, prefix, n) == 0 || strncmp(word, lower, n) == 0
               ? word + n
               : NULL;
}

/* The words of b that begin so, as the answer has them; their sum. */
static double begin_so(const struct brute *b, const char *prefix,
                       struct brute *out)
{
    out->n_words = 0;
    out->covered = 0;
    for (int i = 0; i < b->n_words; i++) {
        const char *rest = behind(b->word[i].text, prefix);
        int k = 0;
        if (!rest)
            continue;
        while (k < out->n_words && strcmp(out->word[k].text, rest))
            k++;
        if (k == out->n_words) {
            memcpy(out->word[k].text, rest, strlen(rest) + 1);
            out->word[out->n_words++].p = 0;
        }
        out->word[k].p += b->word[i].p;
        out->covered += b->word[i].p;
    }
    return out->covered;
}

/* All that is left out of the search is less than this part of what begins so,
 * as every path that is left is less than 0.05 / 1000 of it. */
#define LEFT 0.03

static void check_prefix(struct fix *f, const struct entry *v, int n,
                         const char *prefix, int apart, int *n_checked)
{
    static struct brute all, want;
    for (int i = 0; i < 12; i++) {
        int32_t ids[4];
        struct watched j = {0};
        for (int k = 0; k < 4; k++)
            ids[k] = FAKE_WORD + (i * 7 + k * k) % n;
        brute_force(
            &all, v, n, ids, 4,
            (struct brute_how){(double)0.5f, .least = 1e-11, .apart = apart});
        double mass = begin_so(&all, prefix, &want);
        struct flat_spec s = words_spec(f, ids, 4, 1000, 0.5f);
        s.prefix = prefix;
        s.apart = apart;
        fix_run(f, &s, 1, &j);
        const struct flat_result flat = flat_result(j.job), *r = &flat;
        assert_int_equal(j.final, JOB_DONE);
        assert_string_equal(r->typed, prefix);
        if (r->covered_mass > mass * (1 + TOLERANCE) ||
            r->covered_mass < mass * (1 - LEFT))
            fail_msg("'%s' covers %g of %g", prefix, r->covered_mass, mass);
        for (int k = 0; k < r->n_predictions; k++) {
            const struct prediction *p = &r->predictions[k];
            double most = brute_find(&want, p->text);
            if ((double)p->prob > most * (1 + 1e-5) ||
                (double)p->prob < most - LEFT * mass)
                fail_msg("'%s|%s' %g, expected %g", prefix, p->text,
                         (double)p->prob, most);
            assert_true(k == 0 || p->prob <= p[-1].prob);
            ++*n_checked;
        }
        watch_release(&j, 1);
    }
}

static void test_words_begin_as_was_typed(void **state)
{
    static const struct {
        const char *prefix;
        int apart;
    } cases[] = {{"t", 0},  {"t", 1},  {"th", 1},  {"T", 0},  {"T", 1},
                 {"Th", 1}, {"Th", 0}, {"the", 1}, {"heT", 0}};
    const char *words[16];
    struct fake_config fc = config(cased, 7, words);
    struct fix f;
    int n = 0;
    fix_open(&f, &fc, NULL);
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
        check_prefix(&f, cased, 7, cases[i].prefix, cases[i].apart, &n);
    fix_close(&f);
    print_message("%d words\n", n);
    assert_true(n > 500);
}

/* Another word than the one that the text ends in, without anything typed. */
static void test_words_stand_apart(void **state)
{
    static struct brute b;
    const char *words[16];
    struct fake_config fc = config(small, 5, words);
    struct fix f;
    int whole = 0;
    fix_open(&f, &fc, NULL);
    for (int i = 0; i < 20; i++) {
        int32_t ids[3] = {FAKE_WORD + i % 5, FAKE_WORD + i / 5, FAKE_WORD + 1};
        struct watched j = {0};
        struct flat_spec s = words_spec(&f, ids, 3, 1000, 0.7f);
        s.apart = 1;
        brute_force(
            &b, small, 5, ids, 3,
            (struct brute_how){(double)0.7f, .least = LEAST, .apart = 1});
        fix_run(&f, &s, 1, &j);
        const struct flat_result r = flat_result(j.job);
        if (b.n_rows <= ROWS) {
            whole++;
            assert_int_equal(r.n_predictions, b.n_words);
            assert_true(fabs(r.covered_mass - b.covered) < TOLERANCE);
        }
        watch_release(&j, 1);
    }
    assert_true(whole > 5);
    fix_close(&f);
}

/* A word goes on behind a mark that was typed. */
static void test_words_go_on_behind_a_typed_mark(void **state)
{
    const char *words[16];
    struct fake_config fc = config(cased, 7, words);
    int32_t ids[3] = {FAKE_WORD, FAKE_WORD + 1, FAKE_WORD + 3};
    struct watched j = {0};
    struct fix f;
    int letters = 0, marks = 0, spaces = 0;
    fix_open(&f, &fc, NULL);
    struct flat_spec s = words_spec(&f, ids, 3, 1000, 1.0f);
    s.prefix = "T.";
    s.apart = 1;
    fix_run(&f, &s, 1, &j);
    const struct flat_result r = flat_result(j.job);
    for (int k = 0; k < r.n_predictions; k++) {
        const char *text = r.predictions[k].text;
        letters += text[0] == 'h' || text[0] == 'T';
        marks += text[0] == '.';
        spaces += strchr(text, ' ') != NULL;
    }
    assert_true(letters > 2 && marks > 0 && spaces == 0);
    watch_release(&j, 1);
    s.prefix = "qqq"; /* no token spells it */
    fix_run(&f, &s, 1, &j);
    assert_int_equal(j.final, JOB_DONE);
    assert_int_equal(flat_result(j.job).n_predictions, 0);
    fix_end(&f, &j, 1);
}

static void test_words_wanted_are_the_best_ones(void **state)
{
    static struct brute b;
    const char *words[16];
    struct fake_config fc = config(mixed, 13, words);
    struct fix f;
    fix_open(&f, &fc, NULL);
    for (int i = 0; i < 12; i++) {
        int32_t ids[9];
        struct watched j = {0};
        for (int k = 0; k < 9; k++)
            ids[k] = FAKE_WORD + (i * 5 + k * 3) % 13;
        brute_force(&b, mixed, 13, ids, 9,
                    (struct brute_how){(double)0.5f, .least = LEAST});
        struct flat_spec s = words_spec(&f, ids, 9, 5, 0.5f);
        fix_run(&f, &s, 1, &j);
        const struct flat_result flat = flat_result(j.job), *r = &flat;
        assert_int_equal(j.final, JOB_DONE);
        assert_int_equal(r->n_predictions, 5);
        assert_true(r->covered_mass > 0.3 && r->covered_mass < 1.0);
        for (int k = 0; k < 5; k++) { /* few paths to them are left out */
            double want = brute_find(&b, r->predictions[k].text);
            double got = (double)r->predictions[k].prob;
            assert_true(got <= want + TOLERANCE && got > 0.97 * want);
        }
        for (int w = 0; w < b.n_words; w++) { /* no other one is far better */
            int listed = 0;
            for (int k = 0; k < 5; k++)
                listed |= !strcmp(b.word[w].text, r->predictions[k].text);
            assert_true(listed ||
                        b.word[w].p < 1.1 * (double)r->predictions[4].prob);
        }
        watch_release(&j, 1);
    }
    fix_close(&f);
}

/* The same bits however the rounds were cut and whoever else is there. */
static void test_words_do_not_depend_on_steps_or_company(void **state)
{
    enum { N = 8 };
    static const struct engine_options ways[] = {
        {.max_rows = 64},
        {.max_rows = 3, .step_tokens = 200},
        {.max_rows = 1},
        {.step_tokens = 1},
        {.max_rows = 64, .step_tokens = 9, .n_threads = 3},
        {.max_rows = 64, .state_bytes = 6000}, /* some 30 pages */
        {.max_rows = 64, .state_bytes = 1000}, /* states are lost, too */
    };
    static float first[N][200];
    int n_first[N] = {0};
    for (size_t w = 0; w < sizeof(ways) / sizeof(ways[0]); w++) {
        for (int page = 0; page < 8; page += 5) {
            const char *words[16];
            struct fake_config fc = config(mixed, 13, words);
            struct fix f;
            struct watched j[N] = {{0}};
            struct flat_spec s[N];
            int32_t ids[N][20];
            fc.page = page;
            fc.attention = 2;
            fix_open(&f, &fc, &ways[w]);
            for (int i = 0; i < N; i++) {
                for (int k = 0; k < 20; k++)
                    ids[i][k] = FAKE_WORD + (i * 11 + k * k) % 13;
                s[i] = words_spec(&f, ids[i], 5 + i, 20, 0.8f);
                s[i].attention = w > 4; /* shown once, not read as a row */
            }
            for (int i = 0; i < N; i++)
                if (w == 0 && page == 0)
                    fix_run(&f, &s[i], 1, &j[i]);
                else if (i == 0)
                    fix_run(&f, s, N, j);
            for (int i = 0; i < N; i++) {
                const struct flat_result flat = flat_result(j[i].job),
                                         *r = &flat;
                float got[200];
                int n = 0;
                if (j[i].final != JOB_DONE)
                    fail_msg("%s", job_error(j[i].job)->msg);
                for (int k = 0; k < r->n_predictions; k++) {
                    got[n++] = r->predictions[k].prob;
                    got[n++] = (float)r->predictions[k].text[0];
                }
                got[n++] = (float)r->covered_mass;
                if (n_first[i] == 0) {
                    n_first[i] = n;
                    memcpy(first[i], got, sizeof(got));
                }
                assert_int_equal(n, n_first[i]);
                assert_memory_equal(first[i], got, (size_t)n * sizeof(float));
            }
            fix_end(&f, j, N);
        }
    }
}

static void test_words_stop_when_told_and_fail_alone(void **state)
{
    enum { N = 30 };
    const char *words[16];
    struct fake_config fc = config(mixed, 13, words);
    struct fix f;
    struct watched j[N] = {{0}};
    struct flat_spec s[N];
    int32_t ids[N][12];
    fix_open(&f, &fc, &(struct engine_options){.state_bytes = 8000});
    for (int i = 0; i < N; i++) {
        for (int k = 0; k < 12; k++)
            ids[i][k] = FAKE_WORD + (i + k) % 13;
        if (i % 5 == 0)
            ids[i][4] = i % 2 ? FAKE_NAN : FAKE_ITEM;
        s[i] = words_spec(&f, ids[i], 12, 1000, 2.0f);
    }
    fix_submit(&f, s, N, j);
    for (int i = 1; i < N; i += 3)
        job_cancel(j[i].job);
    assert_int_equal(watch_wait(&f.w, N), 0);
    for (int i = 0; i < N; i++) {
        int bad = i % 5 == 0;
        assert_int_equal(j[i].n_final, 1);
        assert_true(j[i].final == (bad ? JOB_FAILED : JOB_DONE) || i % 3 == 1);
    }
    watch_release(j, N);
    /* A search forks its state: a budget of one is not enough. */
    fix_close(&f);
    fc.page = 0;
    fix_open(&f, &fc, &(struct engine_options){.state_bytes = 128});
    s[0] = words_spec(&f, ids[1], 3, 5, 1.0f);
    fix_refused(&f, s, 1, j, ERR_TOO_LARGE, NULL, NULL);
    /* Words of a model of words need no search. */
    fix_close(&f);
    fix_open(&f, &(struct fake_config){.max_chain = 8}, NULL);
    s[0] = words_spec(&f, ids[1], 3, 5, 1.0f);
    fix_refused(&f, s, 1, j, ERR_UNSUPPORTED, NULL, NULL);
    fix_close(&f);
}

static void test_words_survive_each_failed_allocation(void **state)
{
    int failed = 0, refused = 0, reached = 1;
    for (long n = 1; reached; n++) {
        const char *words[16];
        struct fake_config fc = config(mixed, 13, words);
        struct fix f;
        struct watched j[3] = {{0}}, after = {0};
        struct flat_spec s[3];
        struct err e = ERR_INIT;
        int32_t ids[120];
        assert_true(n < 600);
        for (int i = 0; i < 120; i++)
            ids[i] = FAKE_WORD + (i * 5) % 13;
        fc.attention = 2;
        fix_open(&f, &fc, NULL);
        s[0] = words_spec(&f, ids, 9, 200, 1.0f);
        s[1] = fix_spec(&f, &task_classify, ids, 20);
        s[1].attention = 1;
        s[2] = fix_spec(&f, &task_generate, ids, 120);
        mem_fail_at(n);
        int rc = watch_submit(&f.w, f.g, s, 3, j, &e);
        if (rc) {
            assert_int_equal(e.code, ERR_NOMEM);
            refused++;
        } else {
            assert_int_equal(watch_wait(&f.w, 3), 0);
            reached = 0;
            for (int i = 0; i < 3; i++) {
                assert_int_equal(j[i].n_final, 1);
                if (j[i].final == JOB_FAILED) {
                    assert_int_equal(job_error(j[i].job)->code, ERR_NOMEM);
                    failed++;
                    reached = 1;
                }
            }
            /* What was not reached was not reached later either, but for
             * memory that only speeds things up. */
            reached |= n < 60;
            watch_release(j, 3);
        }
        mem_fail_at(0);
        fix_run(&f, s, 1, &after); /* it goes on */
        assert_int_equal(after.final, JOB_DONE);
        assert_true(flat_result(after.job).n_predictions > 50);
        fix_end(&f, &after, 1);
    }
    print_message("%d refused, %d failed\n", refused, failed);
    assert_true(refused >= 10 && failed >= 20);
}

static void test_words_end_where_their_run_ends(void **state)
{
    static const struct {
        const char *text;
        enum word_state state;
        const char *word;
    } cases[] = {
        {" the", WORD_LETTERS, "the"},
        {"don't", WORD_LETTERS, "don't"},
        {" 12", WORD_LETTERS, "12"},
        {" ", WORD_OPEN, " "},
        {"  ", WORD_WHOLE, " "},
        {"\n\n", WORD_WHOLE, "\n\n"},
        {" ...", WORD_MARKS, "..."},
        {"\xd0\xbc\xd0\xb8", WORD_LETTERS, "\xd0\xbc\xd0\xb8"},
        {"e\xcc\x81", WORD_LETTERS, "e\xcc\x81"}, /* combining acute */
        {"\xd0", WORD_PART, "\xef\xbf\xbd"},
        {" \xe4\xb8", WORD_PART, "\xef\xbf\xbd\xef\xbf\xbd"},
        {"\xe2\x80\x9c", WORD_MARKS, "\xe2\x80\x9c"},
        {"\xa9", WORD_MARKS, "\xef\xbf\xbd"},
    };
    char out[64];
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        size_t n = strlen(cases[i].text);
        assert_int_equal(subwords_state(cases[i].text, n), cases[i].state);
        subwords_text(cases[i].text, n, out, sizeof(out));
        assert_string_equal(out, cases[i].word);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_words_equal_trying_everything),
        cmocka_unit_test(test_words_begin_as_was_typed),
        cmocka_unit_test(test_words_stand_apart),
        cmocka_unit_test(test_words_go_on_behind_a_typed_mark),
        cmocka_unit_test(test_words_wanted_are_the_best_ones),
        cmocka_unit_test(test_words_do_not_depend_on_steps_or_company),
        cmocka_unit_test(test_words_stop_when_told_and_fail_alone),
        cmocka_unit_test(test_words_survive_each_failed_allocation),
        cmocka_unit_test(test_words_end_where_their_run_ends),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
