/* Texts that are held to a constraint: the mask over a vocabulary, and the task
 * that uses it, by the toy whose rows are noise.
 *
 * SPDX-License-Identifier: MIT */
#include "engine/base/rng.h"
#include "engine/run/token_mask.h"
#include "tests/support/engine_fix.h"
#include "tests/support/metric_line.h"
#include "tests/support/unit.h"

#define N 12
#define CHOICES 3
#define MOST 300 /* tokens */

static const char letters[] =
    "XTRML:K12345678/\n|[]()\"'^_=,-<>{} .#+9ABCDEFGabcdefgzhijklmnopqrstuxyv";

struct chars {
    char text[96][8];
    const char *list[96];
    int n;
};

static void make_chars(struct chars *c, const char *from)
{
    c->n = 0;
    for (size_t i = 0; from[i]; i++, c->n++) {
        snprintf(c->text[c->n], 8, "%c", from[i]);
        c->list[c->n] = c->text[c->n];
    }
    snprintf(c->text[c->n], 8, "\xc3\xa9"); /* a letter of a title */
    c->list[c->n] = c->text[c->n];
    c->n++;
}

static struct fake_config config_of(const struct chars *c, int page)
{
    return (struct fake_config){.words = c->list,
                                .n_words = c->n,
                                .normalizer = "seqd-characters",
                                .max_chain = 3,
                                .page = page};
}

static int ids_of(const struct fix *f, const char *text, int32_t *ids)
{
    struct token_list l = {0};
    struct err e = ERR_INIT;
    int n;

    if (tokenizer_encode(model_tokenizer(f->m), text, strlen(text),
                         TOK_ADD_SPECIAL, 200, &l, &e))
        fail_msg("%s", e.msg);
    for (n = 0; n < l.n; n++)
        ids[n] = l.v[n].id;
    token_list_fini(&l);
    return n;
}

static struct flat_spec spec_of(const struct fix *f, const int32_t *ids, int n,
                                uint64_t seed)
{
    struct flat_spec s = fix_spec(f, &task_generate, ids, n);

    s.sample.temperature = 1;
    s.sample.seed = seed;
    s.max_tokens = MOST;
    s.constraint = constraint_find("abc");
    s.client = seed % 2;
    return s;
}

/* --- the mask --- */

/* A machine for the test: digits, of which each is the one before or the next
 * one, between a pair of x. Bytes 0x80 and on may not follow. */
struct toy {
    int at; /* -1: nothing; 0..9; 10: the last x */
};

static void toy_begin(void *s)
{
    ((struct toy *)s)->at = -1;
}

static int toy_next(void *state, unsigned char byte, int given)
{
    struct toy *s = state;
    int d = byte - '0';

    if (s->at == 10 || (s->at == -1 && byte != 'x'))
        return -1;
    if (byte == 'x')
        s->at = s->at == -1 ? 0 : 10;
    else if (d == s->at || d == s->at + 1)
        s->at = d;
    else
        return -1;
    return 0;
}

static int toy_end(const void *s)
{
    return ((const struct toy *)s)->at == 10;
}

static const struct constraint toy = {"toy",     "a toy",  sizeof(struct toy),
                                      toy_begin, toy_next, toy_end};

static void check_mask(const struct tokenizer *t, const struct token_mask *p,
                       int V, const char *text)
{
    char s[CONSTRAINT_STATE_BYTES];
    float row[256];
    int32_t end = tokenizer_eos(t);
    int count = 0;

    toy.begin(s);
    for (; *text; text++)
        assert_int_equal(toy.next(s, (unsigned char)*text, 1), 0);
    for (int i = 0; i < V; i++)
        row[i] = 1;
    int left = token_mask_apply(p, &toy, s, &end, 1, row);
    assert_int_equal(token_mask_apply(p, &toy, s, &end, 1, NULL), left);
    for (int32_t id = 0; id < V; id++) {
        char at[CONSTRAINT_STATE_BYTES];
        size_t n;
        const char *bytes = tokenizer_piece(t, id, &n);
        int may = 1;
        if (tokenizer_is_special(t, id) && id != end)
            continue;
        memcpy(at, s, sizeof at);
        for (size_t i = 0; id != end && i < n && may; i++)
            may = toy.next(at, (unsigned char)bytes[i], 0) == 0;
        may = id == end ? toy.may_end(s) : may;
        assert_int_equal(row[id] > 0, may);
        count += may;
    }
    assert_int_equal(left, count);
}

static void test_token_mask_is_each_token_tried_by_itself(void **state)
{
    char text[200][8];
    const char *list[200];
    struct rng r;
    struct fix f;

    rng_init(&r, 3);
    for (int i = 0; i < 200;) { /* pieces of one to five letters, each once */
        int n = 1 + (int)rng_below(&r, 5), again = 0;
        for (int k = 0; k < n; k++)
            text[i][k] = "0012x3"[rng_below(&r, 6)];
        text[i][n] = 0;
        for (int k = 0; k < i; k++)
            again |= strcmp(text[i], text[k]) == 0;
        list[i] = text[i];
        i += !again;
    }
    fix_open(&f,
             &(struct fake_config){.words = list,
                                   .n_words = 200,
                                   .normalizer = "seqd-characters"},
             NULL);
    const struct tokenizer *t = model_tokenizer(f.m);
    struct token_mask *p;
    struct err e = ERR_INIT;
    assert_int_equal(token_mask_open(t, tokenizer_size(t), &p, &e), 0);
    assert_non_null(p);
    static const char *const begun[] = {"",    "x",     "x0",   "x01",
                                        "x12", "x1122", "x12x", "xx"};
    for (size_t i = 0; i < COUNT(begun); i++)
        check_mask(t, p, tokenizer_size(t), begun[i]);
    token_mask_close(p);
    fix_close(&f);
}

/* --- the task --- */

struct answer {
    int32_t ids[MOST];
    int n;
    enum finish_reason why;
};

static void run(const struct fake_config *c, const struct engine_options *o,
                int company, struct answer got[N][CHOICES])
{
    static const char *const prompts[] = {"", "M:6/8\nK:D\n", "X:1\nT:\xc3\xa9",
                                          "X:1\nM:C|\nL:1/8\nK:Am\n|:A"};
    static struct watched j[N];
    static int32_t ids[N][200];
    struct flat_spec s[N];
    struct fix f;

    fix_open(&f, c, o);
    memset(j, 0, sizeof j);
    for (int i = 0; i < N; i++) {
        int n = ids_of(&f, prompts[i % 4], ids[i]);
        s[i] = spec_of(&f, ids[i], n, (uint64_t)i + 1);
        s[i].choices = CHOICES;
    }
    for (int i = 0; i < N; i += company)
        fix_run(&f, s + i, company, j + i);
    for (int i = 0; i < N; i++) {
        const struct generate_result *r = generate_result(j[i].job);
        if (job_error(j[i].job)->code)
            fail_msg("%s", job_error(j[i].job)->msg);
        for (int k = 0; k < CHOICES; k++) {
            assert_true(r[k].constrained);
            got[i][k] = (struct answer){.n = r[k].n_tokens, .why = r[k].finish};
            memcpy(got[i][k].ids, r[k].tokens,
                   (size_t)r[k].n_tokens * sizeof(int32_t));
        }
    }
    fix_end(&f, j, N);
}

static void test_constrained_texts_have_the_same_bits_in_company(void **state)
{
    static struct answer alone[N][CHOICES], got[N][CHOICES];
    const struct engine_options o[] = {
        {.n_threads = 1, .step_tokens = 1},
        {.n_threads = 2, .step_tokens = 7, .max_rows = 3},
        {.n_threads = 2, .state_bytes = 40000}};
    static const char lost[] = "seqd_preempted_total{model=\"fake\"} ";
    struct chars chars;

    make_chars(&chars, letters);
    const struct fake_config c = config_of(&chars, 4);
    run(&c, NULL, 1, alone);
    for (int i = 0; i < 3; i++) {
        double before = metric_line(lost);
        memset(got, 0, sizeof got);
        run(&c, &o[i], N, got);
        assert_memory_equal(got, alone, sizeof got);
        if (o[i].state_bytes)
            assert_true(metric_line(lost) > before + 10);
    }
}

/* Whatever the rows say, a text is one that the machine takes as its own. */
static void test_constrained_texts_are_what_the_machine_takes(void **state)
{
    const struct constraint *abc = constraint_find("abc");
    static int32_t ids[200];
    struct chars chars;
    struct fix f;
    int ended = 0;

    make_chars(&chars, letters);
    const struct fake_config c = config_of(&chars, 0);
    fix_open(&f, &c, NULL);
    for (uint64_t seed = 1; seed <= 30; seed++) {
        struct watched j = {0};
        char s[CONSTRAINT_STATE_BYTES];
        struct flat_spec spec = spec_of(&f, ids, ids_of(&f, "", ids), seed);
        spec.max_tokens = 1500;
        fix_run(&f, &spec, 1, &j);
        const struct flat_result r = flat_result(j.job);
        assert_int_equal(j.final, JOB_DONE);
        assert_true(r.constrained);
        abc->begin(s);
        for (size_t i = 0; i < r.text_len; i++)
            if (abc->next(s, (unsigned char)r.text[i], 0))
                fail_msg("%s", r.text);
        if (r.finish != FINISH_STOP && r.finish != FINISH_LENGTH)
            fail_msg("%d %s", r.finish, r.text);
        if (r.finish == FINISH_STOP)
            assert_true(abc->may_end(s));
        ended += r.finish == FINISH_STOP;
        watch_release(&j, 1);
    }
    assert_true(ended > 3);
    fix_close(&f);
}

static void test_constrained_prompt_that_is_none_is_not_held(void **state)
{
    static int32_t ids[200];
    struct watched j = {0};
    struct chars chars;
    struct fix f;

    make_chars(&chars, letters);
    const struct fake_config c = config_of(&chars, 0);
    fix_open(&f, &c, NULL);
    struct flat_spec s = spec_of(&f, ids, ids_of(&f, "hello", ids), 1);
    fix_run(&f, &s, 1, &j);
    assert_int_equal(j.final, JOB_DONE);
    assert_false(flat_result(j.job).constrained);
    watch_release(&j, 1);
    s.constraint_must = 1;
    memset(&j, 0, sizeof j);
    fix_refused(&f, &s, 1, &j, ERR_INVALID, "invalid_value", "input[0]");
    fix_close(&f);
}

/* "X:" and digits: behind four of them no token is left. */
static void test_constrained_text_ends_where_no_token_is_left(void **state)
{
    static int32_t ids[200];
    struct watched j = {0};
    struct chars chars;
    struct fix f;

    make_chars(&chars, "X:17");
    const struct fake_config c = config_of(&chars, 0);
    fix_open(&f, &c, NULL);
    struct flat_spec s = spec_of(&f, ids, ids_of(&f, "", ids), 1);
    fix_run(&f, &s, 1, &j);
    const struct flat_result r = flat_result(j.job);
    assert_int_equal(j.final, JOB_DONE);
    assert_int_equal(r.finish, FINISH_CONSTRAINT);
    if (r.text_len != 6)
        fail_msg("%s", r.text);
    assert_memory_equal(r.text, "X:", 2);
    watch_release(&j, 1);
    fix_close(&f);
}

static void test_constrained_words_cannot_serve_it(void **state)
{
    struct watched j = {0};
    struct fix f;

    fix_open(&f, &(struct fake_config){0}, NULL);
    assert_false(model_can_constrain(f.m));
    struct flat_spec s = spec_of(&f, fix_words, 3, 1);
    fix_refused(&f, &s, 1, &j, ERR_UNSUPPORTED, "task_not_supported",
                "constraint");
    fix_close(&f);
}

static int load_with(const struct fake_config *c, struct fix *f, struct err *e)
{
    struct engine_options o = {.n_threads = 1};
    int rc;

    fake_dir(c, f->dir);
    assert_int_equal(engine_open(&o, fake_archs, &f->g, e), 0);
    rc = engine_load(f->g, "fake", f->dir, e);
    f->m = NULL;
    if (rc == 0)
        assert_int_equal(engine_model(f->g, NULL, NULL, &f->m, e), 0);
    return rc;
}

static void test_constrained_checkpoints_name_their_own(void **state)
{
    static const struct {
        const char *name;
        int chars, ok;
        const char *held, *says;
    } cases[] = {
        {NULL, 1, 1, NULL, ""},
        {"none", 1, 1, NULL, ""},
        {"abc", 1, 1, "abc", ""},
        {"none", 0, 1, NULL, ""},
        {"abc", 0, 0, NULL,
         "config.json: 'seqd_constraint' is for models that write a text by "
         "its characters"},
        {"json", 1, 0, NULL,
         "config.json: 'seqd_constraint' is 'json', expected none or abc"},
    };
    struct chars chars;

    make_chars(&chars, letters);
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct fake_config c = config_of(&chars, 0);
        struct err e = ERR_INIT;
        struct fix f;
        c.normalizer = cases[i].chars ? c.normalizer : NULL;
        c.constraint = cases[i].name;
        int rc = load_with(&c, &f, &e);
        if ((rc == 0) != cases[i].ok || !strstr(e.msg, cases[i].says))
            fail_msg("case %zu: %s", i, e.msg);
        if (rc) {
            assert_int_equal(e.code, ERR_FORMAT);
        } else {
            const struct constraint *held = model_constraint(f.m);
            assert_true(held ==
                        (cases[i].held ? constraint_find("abc") : NULL));
        }
        fix_shut(&f);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_token_mask_is_each_token_tried_by_itself),
        cmocka_unit_test(test_constrained_texts_have_the_same_bits_in_company),
        cmocka_unit_test(test_constrained_texts_are_what_the_machine_takes),
        cmocka_unit_test(test_constrained_prompt_that_is_none_is_not_held),
        cmocka_unit_test(test_constrained_text_ends_where_no_token_is_left),
        cmocka_unit_test(test_constrained_words_cannot_serve_it),
        cmocka_unit_test(test_constrained_checkpoints_name_their_own),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
