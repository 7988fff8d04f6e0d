/* oom: every allocation of text fails once.
 *
 * SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "engine/base/mem.h"
#include "engine/text/tokenizer.h"
#include "tests/support/oom_sweep.h"

static const char *const entries[] = {"<unk>", "<s>", "a", "b", "c"};
static const struct tokenizer_spec spec = {
    .normalizer = "seqd-english", .lowercase = 1, .unk = "<unk>", .bos = "<s>"};

static int build(void *arg, struct err *e)
{
    (void)arg;
    struct buf out;
    buf_init(&out, 1 << 20);
    int rc = tokenizer_build(&spec, entries, 5, &out, e);
    buf_fini(&out);
    return rc;
}

static int parse(void *arg, struct err *e)
{
    const struct buf *text = arg;
    struct tokenizer *t;
    if (tokenizer_parse(text->p, text->len, "t", &t, e)) {
        return -1;
    }
    tokenizer_close(t);
    return 0;
}

static int encode(void *arg, struct err *e)
{
    struct token_list l = {0};
    char text[1000];
    memset(text, ' ', sizeof(text));
    for (size_t i = 0; i < sizeof(text); i += 2) {
        text[i] = 'a';
    }
    int rc =
        tokenizer_encode(arg, text, sizeof(text), TOK_ADD_SPECIAL, 1000, &l, e);
    token_list_fini(&l);
    return rc;
}

static void test_oom_tokenizer(void **state)
{
    (void)state;
    struct buf text;
    struct tokenizer *t = NULL;
    struct err e = ERR_INIT;
    assert_true(oom_sweep(build, NULL) >= 2);
    buf_init(&text, 1 << 20);
    assert_int_equal(tokenizer_build(&spec, entries, 5, &text, &e), 0);
    assert_true(oom_sweep(parse, &text) >= 30);
    assert_int_equal(tokenizer_parse(text.p, text.len, "t", &t, &e), 0);
    assert_true(oom_sweep(encode, t) >= 4);
    tokenizer_close(t);
    buf_fini(&text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_oom_tokenizer),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
