/* mutations: a checkpoint with a damaged file is refused with a message, or
 * loads and makes a step; it never crashes, hangs or reads beside the file
 * (run it under the address sanitizer). Each file is damaged in many ways, one
 * at a time.
 *
 * The small checkpoints are in the repository. SEQD_MODELS names a folder that
 * ../shared/models/get.sh filled: the large ones are tried then, too.
 * SEQD_MUTATIONS: how many of each file (100).
 *
 * SPDX-License-Identifier: MIT */
#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h>

#include "engine/base/clock.h"
#include "engine/base/mem.h"
#include "models/registry.h"
#include "tests/support/arch_rig.h"
#include "tests/support/mutate.h"
#include "tests/support/tokenizer_at.h"

#define SEED 4
#define SLOWEST_US 60000000 /* of one mutation, on a busy machine, sanitized */
#define MAX_TEXT_TOKENS 64
#define SPARE_BYTES 64 /* padding, or a line feed: may be missing at the end */

static int n_mutations(void)
{
    const char *s = getenv("SEQD_MUTATIONS");
    return s ? (int)strtol(s, NULL, 10) : 100;
}

static const struct model_arch *find_arch(const char *name)
{
    for (int i = 0; registry_archs[i]; i++) {
        const struct model_arch *a = registry_archs[i];
        if (strcmp(a->name, name) == 0)
            return a;
        for (int k = 0; a->aliases && a->aliases[k]; k++)
            if (strcmp(a->aliases[k], name) == 0)
                return a;
    }
    return NULL;
}

/* What the folder's config asks for; NULL with a message. */
static const struct model_arch *arch_of(const char *dir, struct err *e)
{
    struct checkpoint *c;
    const char *type;
    const struct model_arch *a = NULL;
    if (checkpoint_open(dir, "test", &c, e))
        return NULL;
    const struct hparams *h = checkpoint_hparams(c, e);
    if (h && hparams_string(h, "model_type", &type, e) == 0) {
        a = find_arch(type);
        if (!a)
            err_set(e, ERR_UNSUPPORTED, "no architecture");
    }
    checkpoint_close(c);
    return a;
}

/* One step of three tokens, with what the model can give. */
static void step(struct rig *g)
{
    static const int32_t ids[] = {0, 1, 0};
    struct rig_seq s;
    struct err e = ERR_INIT;
    const int *c = g->info.cols;
    int kind = c[OUT_LOGITS]  ? OUT_LOGITS
               : c[OUT_CLASS] ? OUT_CLASS
                              : OUT_POOLED;
    int cols = c[kind];
    size_t ld = ((size_t)cols + 15) / 16 * 16;
    float *out = mem_aligned(ld * sizeof(float));
    assert_int_equal(rig_seq_open(g, &s), 0);
    assert_non_null(out);
    struct rig_item item = {.seq = &s, .ids = ids, .n = 3, .n_want = 1};
    item.want[0] = (struct want){
        .kind = (enum out)kind, .from = 2, .n = 1, .dst = out, .ld = ld};
    rig_step(g, &item, 1, &e);
    mem_aligned_free(out);
    rig_seq_close(&s);
}

/* What came up of a checkpoint. */
#define USE_NET 1
#define USE_TOKENIZER 2

static int use_tokenizer(const char *dir, struct err *e)
{
    static const char text[] = "Hello, w\xc3\xb6rld 12\n  \xf0\x9f\x98\x80";
    struct tokenizer *t;
    struct token_list l = {0};
    if (tokenizer_at(dir, "test", &t, e)) {
        assert_true(e->msg[0] && !strstr(e->msg, "/tmp"));
        return 0;
    }
    tokenizer_encode(t, text, sizeof(text) - 1, TOK_ADD_SPECIAL,
                     MAX_TEXT_TOKENS, &l, NULL);
    for (int i = 0; i < l.n; i++)
        assert_true(l.v[i].id >= 0 && l.v[i].id < tokenizer_size(t));
    token_list_fini(&l);
    tokenizer_close(t);
    return USE_TOKENIZER;
}

static int use(const char *dir, struct err *e)
{
    struct rig g;
    int got = use_tokenizer(dir, e);
    err_clear(e);
    const struct model_arch *a = arch_of(dir, e);
    struct load_opts o = {.options = &(struct engine_options){0}};
    if (!a || rig_open_with(&g, a, dir, "auto", 1, &o, e)) {
        assert_true(e->code != ERR_NONE && e->code != ERR_INTERNAL);
        assert_true(e->msg[0] && !strstr(e->msg, "/tmp"));
        return got;
    }
    step(&g);
    rig_close(&g);
    return got | USE_NET;
}

static void try_file(const char *dir, const char *name)
{
    static struct mutate m;
    struct err e = ERR_INIT;
    int n = n_mutations(), n_loaded = 0;
    if (mutate_open(&m, dir, name))
        fail_msg("%s/%s cannot be copied", dir, name);
    int whole = use(m.dir, &e); /* some of the small ones have no tokenizer */
    if (!(whole & USE_NET))
        fail_msg("%s/%s as it is: %s", dir, name, e.msg);
    if (strstr(name, "tokenizer") && !(whole & USE_TOKENIZER))
        fail_msg("%s/%s is not read", dir, name);
    for (int i = 0; i < n; i++) {
        int64_t begin = clock_now_us();
        assert_int_equal(mutate_apply(&m, SEED, i), 0);
        print_message("%s/%s %d: %s: ", dir, name, i, m.what);
        err_clear(&e);
        int loaded = use(m.dir, &e) == whole;
        print_message("%s\n", loaded ? "loaded" : e.msg);
        n_loaded += loaded;
        assert_false(loaded && m.is_cut && m.n > SPARE_BYTES);
        assert_true(clock_now_us() - begin < SLOWEST_US);
        assert_int_equal(mutate_undo(&m), 0);
    }
    err_clear(&e);
    assert_int_equal(use(m.dir, &e), whole); /* restored */
    mutate_close(&m);
    print_message("%s/%s: %d of %d loaded\n", dir, name, n_loaded, n);
}

static void test_mutations_of_small_gguf(void **state)
{
    (void)state;
    try_file("tests/golden/llama/llama-q", "model.gguf");
    try_file("tests/golden/gpt2/gpt2-q", "model.gguf");
    try_file("tests/golden/gemma3/gemma3", "model.gguf");
}

static void test_mutations_of_small_folders(void **state)
{
    (void)state;
    static const char *const dirs[] = {
        "tests/golden/llama/llama/hf", "tests/golden/bert/bert-fill",
        "tests/golden/bert/bert-class", "tests/golden/rnn/lstm"};
    for (size_t i = 0; i < sizeof(dirs) / sizeof(dirs[0]); i++) {
        try_file(dirs[i], "model.safetensors");
        try_file(dirs[i], "config.json");
    }
    try_file("tests/golden/bert/bert-fill", "tokenizer.json");
    try_file("tests/golden/rnn/lstm", "tokenizer.json");
    try_file("tests/golden/llama/mistral/hf", "model.safetensors.index.json");
}

static void test_mutations_of_large_checkpoints(void **state)
{
    (void)state;
    static const char *const files[][2] = {
        {"smollm2-135m-instruct", "SmolLM2-135M-Instruct.Q4_1.gguf"},
        {"all-minilm-l6-v2", "model.safetensors"},
        {"all-minilm-l6-v2", "config.json"},
        {"all-minilm-l6-v2", "tokenizer.json"}};
    const char *models = getenv("SEQD_MODELS");
    if (!models) {
        print_message("skipped: SEQD_MODELS is not set\n");
        skip();
    }
    for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++) {
        char dir[PATH_MAX];
        snprintf(dir, sizeof(dir), "%s/%s", models, files[i][0]);
        try_file(dir, files[i][1]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_mutations_of_small_gguf),
        cmocka_unit_test(test_mutations_of_small_folders),
        cmocka_unit_test(test_mutations_of_large_checkpoints),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
