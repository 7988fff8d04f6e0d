/* marian_nmt: what a configuration asks for in vain is refused by its name, and
 * the tokenizer of the files beside it. The figures are in
 * tests/parity/test_encdec.c.
 *
 * SPDX-License-Identifier: MIT */
#include "engine/base/file.h"
#include "engine/base/mem.h"
#include "models/transformer/archs.h"
#include "tests/support/arch_rig.h"
#include "tests/support/temp_dir.h"
#include "tests/support/tokenizer_at.h"
#include "tests/support/unit.h"

#define DIR "tests/golden/marian_nmt/tiny/hf"

/* The file with `to` in place of `from`, of the same length. */
static void write_changed(const char *dir, const char *from, const char *to)
{
    struct err e = ERR_INIT;
    char *bytes = NULL, *at;
    size_t n;

    if (file_read(DIR "/model.bin", "model.bin", 1 << 22, &bytes, &n, &e))
        fail_msg("%s", e.msg);
    assert_int_equal(strlen(from), strlen(to));
    at = memmem(bytes, n, from, strlen(from));
    if (!at)
        fail_msg("no '%s'", from);
    memcpy(at, to, strlen(to));
    temp_file_put(dir, "model.bin", bytes, n);
    mem_free(bytes);
}

static void test_marian_nmt_refuses_by_name(void **state)
{
    static const struct {
        const char *from, *to;
        enum err_code code;
        const char *says;
    } cases[] = {
        {"dec-cell: ssru", "dec-cell: gru ", ERR_UNSUPPORTED,
         "'dec-cell' of its configuration is not supported but as 'ssru'"},
        {"dec-cell: ssru", "dec-cull: ssru", ERR_FORMAT,
         "'dec-cell' is missing"},
        {"ffn-activation: relu", "ffn-activasion: relu", ERR_FORMAT,
         "'transformer-ffn-activation' is missing"},
        {"autoreg: rnn", "autoreg: aan", ERR_UNSUPPORTED,
         "'transformer-decoder-autoreg' of its configuration"},
        {"postprocess: dan", "postprocess: dn ", ERR_UNSUPPORTED,
         "'transformer-postprocess' of its configuration"},
        {"tied-embeddings-all: true", "tied-embeddings-all: ~   ", ERR_NONE,
         ""}, /* as if it were not there */
        {"tied-embeddings-all: true", "tied-embeddings-all: no  ",
         ERR_UNSUPPORTED, "'tied-embeddings-all' of its configuration"},
        {"tied-layers: []", "tied-layers: 1 ", ERR_UNSUPPORTED,
         "'transformer-tied-layers' of its configuration"},
        {"transformer-heads: 3", "transformer-heads: 5", ERR_FORMAT,
         "'dim-emb' is 24, expected an even multiple of 5 heads"},
        {"transformer-heads: 3", "transformer-heads: 0", ERR_FORMAT,
         "'transformer-heads' is 0, expected 1..1024"},
        {"dim-emb: 24", "dim-emb: 30", ERR_FORMAT, "tensor 'Wemb' is ["},
        {"enc-depth: 2", "enc-depth: 3", ERR_FORMAT,
         "tensor 'encoder_l3_self_Wq' is missing"},
        {"enc-depth: 2", "enc-depth: 1", ERR_UNSUPPORTED,
         "tensor 'encoder_l2_"},
        {"dec-depth: 2", "dec-depth: x", ERR_FORMAT,
         "'dec-depth' is a string, expected an integer"},
        {"dim-vocabs:\n  - ", "dim-vocabs:\n  - ", ERR_NONE, ""},
        {"dim-vocabs:\n  -", "dim-vocabs:\n# -", ERR_FORMAT,
         "'dim-vocabs' is no list of two equal sizes"},
    };
    char dir[64];

    (void)state;
    temp_dir_make(dir);
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct load_opts o = {.options = &(struct engine_options){.exact = 1}};
        struct err e = ERR_INIT;
        struct rig g;

        write_changed(dir, cases[i].from, cases[i].to);
        int rc = rig_open_with(&g, &marian_nmt_arch, dir, "generic", 1, &o, &e);
        if (rc == 0)
            rig_close(&g);
        if (rc ? e.code != cases[i].code || !strstr(e.msg, cases[i].says)
               : cases[i].code != ERR_NONE)
            fail_msg("'%s' (%d), expected '%s' (%d)", e.msg, e.code,
                     cases[i].says, cases[i].code);
    }
    temp_dir_drop(dir);
}

/* One model of pieces for both sides; an end behind a text. */
static void test_marian_nmt_has_the_tokenizer_beside_it(void **state)
{
    struct tokenizer *t = NULL;
    struct token_list l = {0};
    struct err e = ERR_INIT;
    int before, after;

    (void)state;
    if (tokenizer_at(DIR, "m", &t, &e))
        fail_msg("%s", e.msg);
    tokenizer_around(t, &before, &after);
    assert_int_equal(before, 0);
    assert_int_equal(after, 1);
    assert_int_equal(tokenizer_eos(t), 0);
    assert_int_equal(
        tokenizer_encode(t, "the house", 9, TOK_ADD_SPECIAL, 99, &l, &e), 0);
    assert_true(l.n > 1);
    assert_int_equal(l.v[l.n - 1].id, 0);
    token_list_fini(&l);
    tokenizer_close(t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_marian_nmt_refuses_by_name),
        cmocka_unit_test(test_marian_nmt_has_the_tokenizer_beside_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
