/* stories260K, a Transformer of llama2.c, as a Hugging Face directory and as a
 * GGUF file (tests/golden/convert_stories260k.py): the 256 greedy tokens and
 * the first logits that come with it, then the same text through the engine
 * with the tokenizer of the GGUF file. Skipped without the shared data.
 *
 * SPDX-License-Identifier: MIT */
#include <math.h>
#include <setjmp.h>
#include <spawn.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "engine/base/json.h"
#include "engine/run/engine.h"
#include "models/transformer/archs.h"
#include "models/registry.h"
#include "tests/support/arch_rig.h"
#include "tests/support/golden.h"
#include "tests/support/job_watch.h"
#include "tests/support/shared_file.h"

#define N_IDS 256
#define V 512
/* fp32 there and here, in another order; logits up to 10. */
#define TOLERANCE 1e-4

extern char **environ;

static struct {
    char dir[128];
    struct json *expected;
    int32_t ids[N_IDS];
    float logits[V];
} t;

static int convert(void **state)
{
    char script[] = "tests/golden/convert_stories260k.py", python[] = "python3";
    char shared[500], path[600];
    char *argv[] = {python, script, shared, t.dir, NULL};
    struct stat st;
    struct err e = ERR_INIT;
    pid_t pid;
    int status = -1;
    (void)state;
    snprintf(shared, sizeof shared, "%s", shared_dir());
    snprintf(path, sizeof path, "%s/data/models/stories260K", shared);
    if (stat(path, &st))
        return 0;
    snprintf(t.dir, sizeof t.dir, "build/converted/stories260k-%d",
             (int)getpid());
    if (posix_spawnp(&pid, python, NULL, NULL, argv, environ) ||
        waitpid(pid, &status, 0) != pid || status != 0)
        return -1;
    snprintf(path, sizeof path,
             "%s/data/models/stories260K/expected-greedy.json", shared);
    if (json_load(path, "expected", NULL, &t.expected, &e))
        return -1;
    assert_int_equal(golden_ids(json_get(t.expected, "ids"), t.ids, N_IDS),
                     N_IDS);
    assert_int_equal(
        golden_floats(json_get(t.expected, "logits_pos0"), t.logits, V), V);
    return 0;
}

static int clean_up(void **state)
{
    static const char *const files[] = {
        "hf/config.json", "hf/model.safetensors", "hf", "stories260k.gguf", ""};
    char path[200];
    (void)state;
    json_free(t.expected);
    for (size_t i = 0; t.expected && i < sizeof files / sizeof *files; i++) {
        snprintf(path, sizeof path, "%s/%s", t.dir, files[i]);
        remove(path);
    }
    return 0;
}

static int arg_max(const float *x)
{
    int best = 0;
    for (int i = 1; i < V; i++)
        best = x[i] > x[best] ? i : best;
    return best;
}

static void check(const char *file, const char *kernels)
{
    struct load_opts o = {.options = &(struct engine_options){.exact = 1}};
    struct err e = ERR_INIT;
    struct rig g;
    struct rig_seq seq;
    float y[V];
    int32_t id = 1;
    char path[200];
    snprintf(path, sizeof path, "%s/%s", t.dir, file);
    if (rig_open_with(&g, &llama_arch, path, kernels, 1, &o, &e))
        fail_msg("%s: %s", file, e.msg);
    assert_int_equal(g.info.cols[OUT_LOGITS], V);
    assert_int_equal(g.info.state.port[0].context_length, 512);
    assert_int_equal(rig_seq_open(&g, &seq), 0);
    for (int i = 0; i < N_IDS; i++) {
        struct rig_item it = {.seq = &seq, .ids = &id, .n = 1, .n_want = 1};
        it.want[0] = (struct want){OUT_LOGITS, 0, 1, y, V};
        if (rig_step(&g, &it, 1, &e))
            fail_msg("%s", e.msg);
        for (int k = 0; k < V && i == 0; k++)
            if (!(fabs((double)y[k] - (double)t.logits[k]) <= TOLERANCE))
                fail_msg("%s: logit %d is %.7g, expected %.7g", file, k,
                         (double)y[k], (double)t.logits[k]);
        id = arg_max(y);
        if (id != t.ids[i])
            fail_msg("%s (%s): token %d is %d, expected %d", file, kernels, i,
                     id, t.ids[i]);
    }
    rig_seq_close(&seq);
    rig_close(&g);
}

static void test_stories260k_greedy_from_both_containers(void **state)
{
    const struct kernels *k;
    (void)state;
    if (!t.expected) {
        print_message("skipped: no shared data\n");
        skip();
    }
    for (int i = 0; (k = kernels_available(i)) != NULL; i++) {
        check("hf", k->name);
        check("stories260k.gguf", k->name);
    }
}

static void test_stories260k_text_through_the_engine(void **state)
{
    struct engine_options o = {.n_threads = 2};
    struct engine *g;
    struct model *m;
    struct watch w;
    static struct watched j[2];
    struct err e = ERR_INIT;
    int32_t begin = 1;
    struct flat_spec spec[2];
    char path[200];
    (void)state;
    if (!t.expected) {
        print_message("skipped: no shared data\n");
        skip();
    }
    watch_init(&w);
    o.flush = watch_flush;
    o.ctx = &w;
    snprintf(path, sizeof path, "%s/stories260k.gguf", t.dir);
    if (engine_open(&o, registry_archs, &g, &e) ||
        engine_load(g, "stories", path, &e) ||
        engine_model(g, "stories", &task_generate, &m, &e))
        fail_msg("%s", e.msg);
    spec[0] = (struct flat_spec){
        .model = m,
        .task = &task_generate,
        .tokens = &begin,
        .n_tokens = 1,
        .max_tokens = N_IDS,
        .sample = {.top_p = 1.0f, .repetition_penalty = 1.0f}};
    spec[1] = spec[0];
    if (watch_submit(&w, g, spec, 2, j, &e))
        fail_msg("%s", e.msg);
    assert_int_equal(watch_wait(&w, 2), 0);
    for (int i = 0; i < 2; i++) {
        struct flat_result r;
        assert_int_equal(j[i].final, JOB_DONE);
        r = flat_result(j[i].job);
        assert_int_equal(r.n_tokens, N_IDS);
        assert_memory_equal(r.tokens, t.ids, sizeof t.ids);
        assert_string_equal(r.text, json_string(json_get(t.expected, "text")));
    }
    watch_release(j, 2);
    model_release(m);
    engine_close(g);
    watch_fini(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_stories260k_greedy_from_both_containers),
        cmocka_unit_test(test_stories260k_text_through_the_engine),
    };
    return cmocka_run_group_tests(tests, convert, clean_up);
}
