/* POST /tokenize of sub-word models: the ids of 3,000 lines of mixed text as
 * other programs give them, places in code points, the tokens around a text,
 * and control tokens in it. The vocabulary is GPT-2's, from the data beside the
 * repository; the model around it is made here.
 *
 * SPDX-License-Identifier: MIT */
#include <limits.h>
#include <sys/stat.h>

#include "engine/base/buf.h"
#include "engine/base/mem.h"
#include "engine/base/utf8.h"
#include "engine/checkpoint/safetensors.h"
#include "tests/support/http_rig.h"
#include "tests/support/shared_file.h"
#include "tests/support/token_vectors.h"

#define WIDTH 16
#define POSITIONS 64
#define VOCAB 50257
#define BATCH 250

static char dir[64];
static struct seqd server;
static struct token_vectors vectors;

static const char config[] =
    "{\"model_type\":\"gpt2\",\"n_embd\":16,\"n_head\":2,\"n_layer\":1,"
    "\"n_positions\":64,\"vocab_size\":50257}";

/* All tensors are zero: nothing is generated here. */
static int write_weights(const char *path)
{
    static float zeros[VOCAB * WIDTH];
    static const struct {
        const char *name;
        int rows, columns;
    } shapes[] = {
        {"wte.weight", VOCAB, WIDTH},
        {"wpe.weight", POSITIONS, WIDTH},
        {"h.0.ln_1.weight", WIDTH, 0},
        {"h.0.ln_1.bias", WIDTH, 0},
        {"h.0.attn.c_attn.weight", WIDTH, 3 * WIDTH},
        {"h.0.attn.c_attn.bias", 3 * WIDTH, 0},
        {"h.0.attn.c_proj.weight", WIDTH, WIDTH},
        {"h.0.attn.c_proj.bias", WIDTH, 0},
        {"h.0.ln_2.weight", WIDTH, 0},
        {"h.0.ln_2.bias", WIDTH, 0},
        {"h.0.mlp.c_fc.weight", WIDTH, 4 * WIDTH},
        {"h.0.mlp.c_fc.bias", 4 * WIDTH, 0},
        {"h.0.mlp.c_proj.weight", 4 * WIDTH, WIDTH},
        {"h.0.mlp.c_proj.bias", WIDTH, 0},
        {"ln_f.weight", WIDTH, 0},
        {"ln_f.bias", WIDTH, 0},
    };
    struct save_tensor t[COUNT(shapes)] = {0};
    int n = (int)COUNT(shapes);
    for (int i = 0; i < n; i++)
        t[i] = (struct save_tensor){.name = shapes[i].name,
                                    .dtype = DT_F32,
                                    .n_dims = shapes[i].columns ? 2 : 1,
                                    .dim = {shapes[i].rows, shapes[i].columns},
                                    .data = zeros};
    return safetensors_save(path, t, n, NULL, 0, NULL);
}

static void at(char *out, size_t cap, const char *name)
{
    snprintf(out, cap, "%s/%s", dir, name);
}

static int link_shared(const char *name)
{
    char from[PATH_MAX], real[PATH_MAX], to[128], shared[128];
    snprintf(shared, sizeof(shared), "data/tokenizers/gpt2-hf/%s", name);
    at(to, sizeof(to), name);
    return shared_path(shared, from, sizeof(from)) && realpath(from, real) &&
                   symlink(real, to) == 0
               ? 0
               : -1;
}

static int make_model(void)
{
    char path[128];
    snprintf(dir, sizeof(dir), "/tmp/seqd-tok-XXXXXX");
    if (!mkdtemp(dir))
        return -1;
    at(path, sizeof(path), "config.json");
    FILE *f = fopen(path, "w");
    if (!f || fputs(config, f) < 0 || fclose(f) != 0)
        return -1;
    at(path, sizeof(path), "model.safetensors");
    return link_shared("vocab.json") || link_shared("merges.txt") ||
                   write_weights(path)
               ? -1
               : 0;
}

static int up(void **state)
{
    char path[PATH_MAX];
    if (!shared_path("models/tokenizer-vectors", path, sizeof(path)))
        return 0; /* each test says so */
    if (make_model())
        return -1;
    return token_vectors_lines(&vectors, "gpt2") ||
           seqd_start(&server, "--model gpt2=%s", dir);
}

static int down(void **state)
{
    static const char *const names[] = {"config.json", "vocab.json",
                                        "merges.txt", "model.safetensors"};
    char path[128];
    int rc = server.pid > 0 ? seqd_stop(&server) : 0;
    for (int i = 0; i < 4 && dir[0]; i++) {
        at(path, sizeof(path), names[i]);
        unlink(path);
    }
    rmdir(dir);
    token_vectors_free(&vectors);
    return rc;
}

static void need_server(void)
{
    if (server.pid <= 0) {
        print_message("skipped: no shared data\n");
        skip();
    }
}

/* POST body; the answer's tree, in which texts may hold U+0000. */
static struct json *ask(const char *body)
{
    struct answer a;
    struct json *j = NULL;
    const struct json_limits lim = {.max_bytes = (size_t)64 << 20};
    http_answered(server.port, "/tokenize", body, &a);
    assert_int_equal(json_parse_nul(a.body, a.n, &lim, &j, NULL), 0);
    answer_free(&a);
    return j;
}

/* One item: ids, and places that ascend up to the end of the text. */
static void check_item(const struct json *item, int i)
{
    int32_t ids[4096];
    int n = 0;
    int64_t id, start, end = 0, last = 0;
    int64_t points = (int64_t)utf8_count(vectors.text[i], vectors.len[i]);
    const struct json *t = json_child(json_get(item, "tokens"));
    for (; t; t = json_next(t)) {
        assert_int_equal(json_int(json_get(t, "id"), &id), 0);
        assert_int_equal(json_int(json_get(t, "start"), &start), 0);
        assert_int_equal(json_int(json_get(t, "end"), &end), 0);
        assert_true(start >= last && end >= start && end <= points);
        last = start;
        ids[n++] = (int32_t)id;
    }
    if (!token_vectors_same(&vectors, i, ids, n))
        fail_msg("line %d: other ids than %s", i + 1, vectors.ids[i]);
    assert_int_equal(end, points);
}

static void test_tokenize_gives_the_reference_ids(void **state)
{
    struct buf body;
    need_server();
    buf_init(&body, (size_t)2 << 20);
    for (int from = 0; from < vectors.n; from += BATCH) {
        int to = from + BATCH < vectors.n ? from + BATCH : vectors.n;
        buf_clear(&body);
        buf_add_str(&body, "{\"input\":[");
        for (int i = from; i < to; i++) {
            buf_add_str(&body, i > from ? "," : "");
            buf_add_json_string(&body, vectors.text[i], vectors.len[i]);
        }
        buf_add_str(&body, "]}");
        assert_false(body.failed);
        struct json *j = ask(body.p);
        const struct json *item = json_child(json_get(j, "data"));
        for (int i = from; i < to; i++, item = json_next(item))
            check_item(item, i);
        assert_null(item);
        json_free(j);
    }
    buf_fini(&body);
}

static int64_t first_id(const char *body, int *n)
{
    struct json *j = ask(body);
    const struct json *tokens = json_at(j, "data.0.tokens");
    int64_t id = -1;
    *n = json_size(tokens);
    json_int(json_get(json_child(tokens), "id"), &id);
    json_free(j);
    return id;
}

static void test_tokenize_parses_control_tokens_on_request(void **state)
{
    int n;
    need_server();
    assert_int_not_equal(first_id("{\"input\":\"<|endoftext|>\"}", &n), 50256);
    assert_true(n > 1);
    assert_int_equal(first_id("{\"input\":\"<|endoftext|>\","
                              "\"parse_special\":true}",
                              &n),
                     50256);
    assert_int_equal(n, 1);
    /* GPT-2's checkpoint adds nothing. */
    first_id("{\"input\":\"a\",\"add_special\":true}", &n);
    assert_int_equal(n, 1);
}

/* Texts are what the tokens stand for, with U+FFFD for parts of code points,
 * and /detokenize gives the text again. */
static void test_tokenize_shows_what_tokens_stand_for(void **state)
{
    struct answer a;
    struct buf body;
    need_server();
    struct json *j = ask("{\"input\":\" the \xf0\x9f\xa6\x99\"}");
    assert_string_equal(json_string(json_at(j, "data.0.tokens.0.text")),
                        " the");
    const char *part = json_string(json_at(j, "data.0.tokens.1.text"));
    assert_memory_equal(part, " \xef\xbf\xbd", 4);
    buf_init(&body, 1000);
    buf_add_str(&body, "{\"tokens\":[");
    const struct json *t = json_child(json_at(j, "data.0.tokens"));
    for (int64_t id; t; t = json_next(t)) {
        assert_int_equal(json_int(json_get(t, "id"), &id), 0);
        buf_add_int(&body, id);
        buf_add_str(&body, json_next(t) ? "," : "]}");
    }
    json_free(j);
    http_answered(server.port, "/detokenize", body.p, &a);
    assert_string_equal(answer_text(&a, "data.0.text"),
                        " the \xf0\x9f\xa6\x99");
    answer_free(&a);
    buf_fini(&body);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_tokenize_gives_the_reference_ids),
        cmocka_unit_test(test_tokenize_parses_control_tokens_on_request),
        cmocka_unit_test(test_tokenize_shows_what_tokens_stand_for),
    };
    return cmocka_run_group_tests(tests, up, down);
}
