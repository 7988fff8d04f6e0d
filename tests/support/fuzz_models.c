/* fuzz_models: small checkpoints of every architecture, damaged (fuzz_targets.h
 * and mutate.h): refused with a message, or a model whose steps keep their
 * promises (model_use.h).
 *
 * SPDX-License-Identifier: MIT */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "engine/base/mem.h"
#include "tests/support/fuzz_check.h"
#include "tests/support/fuzz_targets.h"
#include "tests/support/gguf_make.h"
#include "tests/support/model_use.h"
#include "tests/support/mutate.h"

/* Seeds name their checkpoint by its place: new ones come last. */
#define GOLDEN "tests/golden/"
static const char *const folders[] = {GOLDEN "rnn/lstm",
                                      GOLDEN "rnn/class-bi-gru-last",
                                      GOLDEN "rnn/class-lstm-proj-mean-2",
                                      GOLDEN "rnn/elman-relu-2-bf16",
                                      GOLDEN "gpt2/gpt2-bare-f16/hf",
                                      GOLDEN "llama/llama-yarn/hf",
                                      GOLDEN "llama/mistral/hf",
                                      GOLDEN "llama/qwen2-yarn/hf",
                                      GOLDEN "llama/smollm3-window/hf",
                                      GOLDEN "gemma3/gemma3-yarn/hf",
                                      GOLDEN "gpt_neox/gpt_neox-yarn/hf",
                                      GOLDEN "qwen3/qwen3-yarn/hf",
                                      GOLDEN "phi3/phi3-partial/hf",
                                      GOLDEN "bert/bert-class",
                                      GOLDEN "bert/distilbert-class",
                                      GOLDEN "bert/roberta-embed-mean",
                                      GOLDEN "bert/xlmr-fill",
                                      GOLDEN "bert/camembert-class",
                                      GOLDEN "bert/electra-class-narrow",
                                      GOLDEN "bert/albert-fill",
                                      GOLDEN "bert/mpnet-fill",
                                      GOLDEN "decoder_class/"
                                             "mistral-class-one-bf16",
                                      GOLDEN "marian/marian/hf",
                                      GOLDEN "marian/"
                                             "marian-two-untied-bf16/hf",
                                      GOLDEN "bart/mbart-f16/hf",
                                      GOLDEN "t5/t5-silu-bf16/hf",
                                      GOLDEN "gpt2/gpt2-i8/hf",
                                      GOLDEN "llama/llama-i8/hf"};
static const char *const ggufs[] = {GOLDEN "gpt2/gpt2-bare-f16",
                                    GOLDEN "llama/llama-yarn",
                                    GOLDEN "llama/smollm3",
                                    GOLDEN "gemma3/gemma3-scaled-bf16",
                                    GOLDEN "gpt_neox/gpt_neox-yarn",
                                    GOLDEN "qwen3/qwen3-yarn",
                                    GOLDEN "phi3/phi3",
                                    GOLDEN "bert/bert-gguf",
                                    GOLDEN "gpt_neox/gpt_neox-q",
                                    GOLDEN "phi3/phi3-q"};

#define COUNT_OF(array) ((int)(sizeof(array) / sizeof *(array)))
#define N_FOLDERS COUNT_OF(folders)
#define N_GGUFS COUNT_OF(ggufs)

/* Copies, made when they are needed. */
static struct mutate configs[N_FOLDERS], keyed[N_GGUFS];
static struct mutate damaged[N_FOLDERS + N_GGUFS];

static void close_all(struct mutate *m, int n)
{
    for (int i = 0; i < n; i++)
        if (m[i].dir[0])
            mutate_close(&m[i]);
}

static void clear_away(void)
{
    close_all(configs, N_FOLDERS);
    close_all(keyed, N_GGUFS);
    close_all(damaged, N_FOLDERS + N_GGUFS);
}

static void open_copy(struct mutate *m, const char *dir, const char *name)
{
    static int told;
    if (m->dir[0])
        return;
    if (!told)
        must(atexit(clear_away) == 0);
    told = 1;
    must(mutate_open(m, dir, name) == 0);
}

/* Its pages stay: to cut it to nothing first would give them back. */
static void write_whole(const struct mutate *m, const void *p, size_t n)
{
    must(pwrite(m->fd, p, n, 0) == (ssize_t)n);
    must(ftruncate(m->fd, (off_t)n) == 0);
}

static void use(const char *path)
{
    struct err e = ERR_INIT;
    int rc = model_use_net(path, &e);
    must(rc >= 0);
    fuzz_taken += rc == USE_NET;
}

void fuzz_config(const uint8_t *data, size_t n)
{
    if (n == 0)
        return;
    int i = data[0] % N_FOLDERS;
    open_copy(&configs[i], folders[i], "config.json");
    write_whole(&configs[i], data + 1, n - 1);
    use(configs[i].dir);
}

/* --- GGUF's metadata --- */

/* The parts of a file that is known to be good. */
struct parts {
    size_t keys, tensors, data; /* where they begin */
};

static uint64_t number_at(const uint8_t *p, int bytes)
{
    uint64_t v = 0;
    for (int i = bytes - 1; i >= 0; i--)
        v = v << 8 | p[i];
    return v;
}

static size_t value_bytes(const uint8_t *p, uint32_t type)
{
    static const uint8_t sizes[] = {
        [GGUF_U8] = 1,  [GGUF_I8] = 1,  [GGUF_U16] = 2, [GGUF_I16] = 2,
        [GGUF_U32] = 4, [GGUF_I32] = 4, [GGUF_F32] = 4, [GGUF_BOOL] = 1,
        [GGUF_U64] = 8, [GGUF_I64] = 8, [GGUF_F64] = 8,
    };
    return type == GGUF_STRING ? 8 + number_at(p, 8) : sizes[type];
}

/* Of a key, its type and its value. */
static size_t entry_bytes(const uint8_t *p)
{
    size_t at = 8 + number_at(p, 8);
    uint32_t type = (uint32_t)number_at(p + at, 4);
    at += 4;
    if (type != GGUF_ARRAY)
        return at + value_bytes(p + at, type);
    uint32_t elem = (uint32_t)number_at(p + at, 4);
    uint64_t n = number_at(p + at + 4, 8);
    at += 12;
    for (uint64_t i = 0; i < n; i++)
        at += value_bytes(p + at, elem);
    return at;
}

static size_t tensor_bytes(const uint8_t *p)
{
    size_t at = 8 + number_at(p, 8);
    return at + 4 + 8 * number_at(p + at, 4) + 12;
}

static struct parts find_parts(const struct mutate *m)
{
    struct parts x = {.keys = 24, .tensors = 24, .data = m->head};
    for (uint64_t n = number_at(m->orig + 16, 8); n > 0; n--)
        x.tensors += entry_bytes(m->orig + x.tensors);
    return x;
}

static int is_list_of(const char *v, size_t n, const char *chars)
{
    for (size_t i = 0; i < n; i++)
        if (!strchr(chars, v[i]) || !v[i])
            return 0;
    return n > 0;
}

/* A number: 7, -7, 7L (64 bits), 0.5, 0.5L. */
static enum gguf_type number_type(const char *v, size_t n)
{
    int wide = n > 1 && v[n - 1] == 'L';
    if (!is_list_of(v, n - (size_t)wide, "-0123456789"))
        return wide ? GGUF_F64 : GGUF_F32;
    if (v[0] == '-')
        return wide ? GGUF_I64 : GGUF_I32;
    return wide ? GGUF_U64 : GGUF_U32;
}

static void put_number(struct buf *b, enum gguf_type type, const char *v)
{
    double d = strtod(v, NULL);
    float f = (float)(d > 1e38 ? 1e38 : d < -1e38 ? -1e38 : d);
    uint64_t u = strtoull(v, NULL, 10);
    if (type == GGUF_F64)
        memcpy(&u, &d, 8);
    if (type == GGUF_F32) {
        u = 0;
        memcpy(&u, &f, 4);
    }
    gm_int(b, value_bytes(NULL, type) == 8 ? 8 : 4, u);
}

/* "text", true, a number, or [7 8 9: numbers of the first one's type. v ends
 * with a 0. */
static void put_value(struct buf *b, const char *v, size_t n)
{
    if (n == 0 || *v == '"') {
        gm_int(b, 4, GGUF_STRING);
        gm_int(b, 8, n ? n - 1 : 0);
        buf_add(b, v + 1, n ? n - 1 : 0);
    } else if (*v == 't' || *v == 'f') {
        gm_int(b, 4, GGUF_BOOL);
        gm_int(b, 1, *v == 't');
    } else if (*v != '[') {
        enum gguf_type type = number_type(v, n);
        gm_int(b, 4, type);
        put_number(b, type, v);
    } else {
        enum gguf_type type = number_type(v + 1, strcspn(v + 1, " "));
        uint64_t count = 1;
        for (size_t i = 1; i < n; i++)
            count += v[i] == ' ';
        gm_int(b, 4, GGUF_ARRAY);
        gm_int(b, 4, type);
        gm_int(b, 8, count);
        for (v++; count > 0; count--) {
            put_number(b, type, v);
            v += strcspn(v, " ");
            v += *v == ' ';
        }
    }
}

/* 1 when a line of text is about this key. */
static int is_said(const char *text, const uint8_t *key, size_t n)
{
    for (const char *p = text; *p;) {
        if (strncmp(p, (const char *)key, n) == 0 && p[n] == '=')
            return 1;
        p += strcspn(p, "\n");
        p += *p == '\n';
    }
    return 0;
}

/* The original's keys that no line names, then the lines; KEY=~ has none. */
static uint64_t put_keys(struct buf *b, const struct mutate *m,
                         const struct parts *x, char *text)
{
    uint64_t n = 0;
    for (size_t at = x->keys; at < x->tensors;) {
        const uint8_t *p = m->orig + at;
        size_t bytes = entry_bytes(p);
        if (!is_said(text, p + 8, number_at(p, 8))) {
            buf_add(b, p, bytes);
            n++;
        }
        at += bytes;
    }
    for (char *line = text, *end; line && *line; line = end) {
        end = strchr(line, '\n');
        if (end)
            *end++ = 0;
        char *is = strchr(line, '=');
        if (!is || strcmp(is, "=~") == 0)
            continue;
        *is = 0;
        gm_string(b, line);
        put_value(b, is + 1, strlen(is + 1));
        n++;
    }
    return n;
}

void fuzz_keys(const uint8_t *data, size_t n)
{
    struct buf head, b;
    if (n == 0)
        return;
    struct mutate *m = &keyed[data[0] % N_GGUFS];
    open_copy(m, ggufs[data[0] % N_GGUFS], "model.gguf");
    struct parts x = find_parts(m);
    char *text = mem_alloc(n);
    must(text != NULL);
    memcpy(text, data + 1, n - 1);
    text[n - 1] = 0;
    buf_init(&head, FUZZ_MAX_OUT);
    buf_init(&b, FUZZ_MAX_OUT);
    uint64_t n_keys = put_keys(&b, m, &x, text);
    gm_head(&head, 3, number_at(m->orig + 8, 8), n_keys);
    buf_add(&head, b.p, b.len);
    size_t at = x.tensors;
    for (uint64_t i = number_at(m->orig + 8, 8); i > 0; i--)
        at += tensor_bytes(m->orig + at);
    buf_add(&head, m->orig + x.tensors, at - x.tensors);
    gm_align(&head, 32);
    buf_add(&head, m->orig + x.data, m->bytes - x.data);
    must(!head.failed && !b.failed);
    write_whole(m, head.p, head.len);
    use(m->file);
    buf_fini(&head);
    buf_fini(&b);
    mem_free(text);
}

/* --- any byte --- */

#define PATCH_HEAD 4

static void put_at(const struct mutate *m, const uint8_t *p, size_t n,
                   size_t at)
{
    must(pwrite(m->fd, p, n, (off_t)at) == (ssize_t)n);
}

/* Patches: 3 bytes where (of the file's bytes, round again), one with how many
 * bytes follow in their place; none: the file ends there. back: what was there
 * takes their place. */
static void patch(const struct mutate *m, const uint8_t *p, size_t n, int back)
{
    while (n >= PATCH_HEAD) {
        size_t at = (size_t)number_at(p, 3) % m->bytes, len = p[3];
        p += PATCH_HEAD;
        n -= PATCH_HEAD;
        len = len < n ? len : n;
        len = len < m->bytes - at ? len : m->bytes - at;
        if (len == 0 && !back)
            must(ftruncate(m->fd, (off_t)at) == 0);
        else if (len == 0)
            put_at(m, m->orig + at, m->bytes - at, at);
        else
            put_at(m, back ? m->orig + at : p, len, at);
        p += len;
        n -= len;
    }
}

void fuzz_checkpoint(const uint8_t *data, size_t n)
{
    if (n == 0)
        return;
    int i = data[0] % (N_FOLDERS + N_GGUFS), folder = i < N_FOLDERS;
    const char *dir = folder ? folders[i] : ggufs[i - N_FOLDERS];
    const char *name = !folder                         ? "model.gguf"
                       : strstr(dir, "llama/mistral/") ? "model-00001-of-00005"
                                                         ".safetensors"
                                                       : "model.safetensors";
    struct mutate *m = &damaged[i];
    open_copy(m, dir, name);
    patch(m, data + 1, n - 1, 0);
    use(folder ? m->dir : m->file);
    patch(m, data + 1, n - 1, 1);
}
