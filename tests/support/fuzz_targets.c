/* fuzz_targets: see fuzz_targets.h. Besides crashes, each target checks what
 * must hold for any input.
 *
 * SPDX-License-Identifier: MIT */
#include "tests/support/fuzz_targets.h"

#include <string.h>

#include "engine/base/buf.h"
#include "engine/base/json.h"
#include "engine/base/utf8.h"
#include "engine/checkpoint/gguf.h"
#include "engine/checkpoint/hparams.h"
#include "engine/checkpoint/marian_bin.h"
#include "engine/checkpoint/safetensors.h"
#include "engine/checkpoint/torch_state.h"
#include "engine/text/pretok/pretok.h"
#include "tests/support/fuzz_check.h"
#include "tests/support/tokenizer_at.h"

#define MAX_OUT FUZZ_MAX_OUT

/* Write the scalar members of the tree one level at a time. */
static void walk_level(const struct json *j, struct buf *out)
{
    for (const struct json *c = json_child(j); c; c = json_next(c)) {
        const char *key = json_key(c), *s = json_string(c);
        must(!key || utf8_valid(key, strlen(key)));
        if (s) {
            must(utf8_valid(s, strlen(s)));
            buf_add_json_string(out, s, strlen(s));
        }
        if (json_type(c) == JSON_NUMBER) {
            buf_add_double(out, json_number(c));
            must(!strstr(out->p, "null")); /* finite */
        }
        buf_clear(out);
        must(!key || json_get(j, key) == c);
    }
}

void fuzz_json(const uint8_t *data, size_t n)
{
    struct json *j;
    struct err e = ERR_INIT;
    struct buf out;
    if (json_parse((const char *)data, n, NULL, &j, &e)) {
        must(e.code != ERR_NONE && j == NULL && e.msg[0]);
        return;
    }
    must(utf8_valid((const char *)data, n));
    buf_init(&out, MAX_OUT);
    buf_add_str(&out, "");
    const struct json *level = j;
    for (int depth = 0; level && depth < 40; depth++) {
        walk_level(level, &out);
        level = json_child(level);
    }
    buf_fini(&out);
    json_free(j);
}

void fuzz_safetensors(const uint8_t *data, size_t n)
{
    struct safetensors_index *x;
    struct err e = ERR_INIT;
    if (safetensors_parse(data, n, "f", &x, &e)) {
        must(e.code != ERR_NONE && x == NULL && e.msg[0]);
        return;
    }
    const uint8_t *last = NULL;
    for (int i = 0; i < safetensors_index_count(x); i++) {
        const struct tensor *w = safetensors_index_at(x, i);
        const uint8_t *d = w->data;
        size_t count = w->bytes / dtype_bytes(w->dtype);
        must(d >= data && d + w->bytes <= data + n && (!last || d >= last));
        last = d + w->bytes;
        if (count) {
            float v[2];
            tensor_read(w, 0, 1, v);
            tensor_read(w, count - 1, 1, v);
        }
    }
    must(!last || last == data + n);
    safetensors_index_free(x);
}

/* Views lie inside the input; copies are no longer than it. */
void fuzz_torch(const uint8_t *data, size_t n)
{
    struct torch_state *x;
    struct err e = ERR_INIT;
    size_t copied = 0;
    if (torch_state_parse(data, n, "f", &x, &e)) {
        must(e.code != ERR_NONE && x == NULL && e.msg[0]);
        return;
    }
    for (int i = 0; i < torch_state_count(x); i++) {
        const struct tensor *w = torch_state_at(x, i);
        const uint8_t *d = w->data;
        size_t count = w->bytes / dtype_bytes(w->dtype);
        int inside = d >= data && d <= data + n;
        must(w->name[0] && utf8_valid(w->name, strlen(w->name)));
        must(inside ? w->bytes <= (size_t)(data + n - d) : w->bytes <= n);
        copied += inside ? 0 : w->bytes;
        if (count) {
            float v[2];
            tensor_read(w, 0, 1, v);
            tensor_read(w, count - 1, 1, v);
        }
    }
    must(copied <= n);
    torch_state_free(x);
}

/* Every value of a key reads, inside the input. */
static void walk_gguf_key(const struct gguf *g, int i, const uint8_t *data,
                          size_t n)
{
    must(gguf_find(g, gguf_key(g, i)) == i);
    must(utf8_valid(gguf_key(g, i), strlen(gguf_key(g, i))));
    for (size_t at = 0; at <= gguf_len(g, i); at++) {
        const char *s;
        size_t len;
        int64_t v;
        double d;
        int inside = at < gguf_len(g, i);
        if (gguf_string(g, i, at, &s, &len) == 0) {
            must(inside && gguf_elem(g, i) == GGUF_STRING);
            must((const uint8_t *)s >= data && len <= n &&
                 (const uint8_t *)s + len <= data + n);
        } else {
            must(!inside || gguf_elem(g, i) != GGUF_STRING);
        }
        must(inside || gguf_float(g, i, at, &d));
        must(gguf_int(g, i, at, &v) || gguf_float(g, i, at, &d) == 0);
    }
}

static void walk_gguf_hparams(const struct gguf *g)
{
    struct err e = ERR_INIT;
    struct hparams *h;
    must(hparams_gguf(g, &h, &e) == 0 || e.code == ERR_FORMAT ||
         e.code == ERR_TOO_LARGE);
    hparams_close(h);
}

void fuzz_gguf(const uint8_t *data, size_t n)
{
    struct gguf *g;
    struct err e = ERR_INIT;
    if (gguf_parse(data, n, "f", &g, &e)) {
        must(e.code != ERR_NONE && g == NULL && e.msg[0]);
        return;
    }
    for (int i = 0; i < gguf_n_keys(g); i++)
        walk_gguf_key(g, i, data, n);
    for (int i = 0; i < gguf_n_tensors(g); i++) {
        const struct tensor *w = gguf_tensor(g, i);
        const uint8_t *d = w->data;
        size_t count =
            w->bytes / dtype_block_bytes(w->dtype) * dtype_block(w->dtype);
        float v[2];
        must(count > 0 && d >= data && w->bytes <= n &&
             d + w->bytes <= data + n);
        tensor_read(w, 0, 1, v);
        tensor_read(w, count - 1, 1, v);
    }
    walk_gguf_hparams(g);
    gguf_close(g);
}

void fuzz_marian(const uint8_t *data, size_t n)
{
    struct marian_bin *m;
    struct hparams *h;
    struct err e = ERR_INIT;
    if (marian_bin_parse(data, n, "f", &m, &e)) {
        must(e.code != ERR_NONE && m == NULL && e.msg[0]);
    } else {
        fuzz_taken++;
        for (int i = 0; i < marian_bin_count(m); i++) {
            const struct tensor *w = marian_bin_at(m, i);
            float v[2];
            size_t one = dtype_bytes(w->dtype);
            must(w->dtype == DT_F32 || w->dtype == DT_I8);
            must(w->bytes >= one && w->bytes <= n);
            tensor_read(w, 0, 1, v);
            tensor_read(w, w->bytes / one - 1, 1, v);
            must(w->dtype == DT_F32 || !tensor_fault(w));
        }
        marian_bin_free(m);
    }
    err_clear(&e);
    if (marian_bin_hparams(data, n, "f", &h, &e))
        must(e.code != ERR_NONE && h == NULL && e.msg[0]);
    else
        must(hparams_has(h, "model_type"));
    hparams_close(h);
}

void fuzz_hparams(const uint8_t *data, size_t n)
{
    static const char *const keys[] = {"hidden_size", "a.b", "cell", "x"};
    static const char *const list[] = {"one", "two", NULL};
    struct hparams *h;
    struct err e = ERR_INIT;
    if (hparams_parse((const char *)data, n, "c", &h, &e)) {
        must(e.code != ERR_NONE && h == NULL);
        return;
    }
    for (int k = 0; k < 4; k++) {
        int64_t i = 1;
        double f = 0.5;
        int b = 0, c = 0;
        const char *s = "";
        must(hparams_int_or(h, keys[k], 1, 9, 1, &i, NULL) ||
             (i > 0 && i < 10));
        must(hparams_float_or(h, keys[k], 0, 1, 0.5, &f, NULL) ||
             (f >= 0 && f <= 1));
        hparams_bool_or(h, keys[k], 0, &b, NULL);
        must(hparams_string(h, keys[k], &s, NULL) || strlen(s) <= n);
        hparams_choice(h, keys[k], list, "one", &c, NULL);
        must(c >= 0 && c < 2);
    }
    hparams_close(h);
}

struct pieces {
    struct buf joined;
    uint32_t last, n;
};

static int on_piece(void *arg, const char *piece, size_t len, uint32_t start,
                    uint32_t end)
{
    struct pieces *p = arg;
    must(len > 0 && strlen(piece) == len && utf8_valid(piece, len));
    must(start < end && end <= p->n && start >= p->last);
    p->last = start;
    if (p->joined.len)
        buf_add_char(&p->joined, ' ');
    buf_add(&p->joined, piece, len);
    return 0;
}

static void split(const struct tokenizer_spec *spec, const char *text, size_t n,
                  struct pieces *p)
{
    buf_init(&p->joined, MAX_OUT);
    buf_add_str(&p->joined, "");
    p->last = 0;
    p->n = (uint32_t)n;
    must(tokenizer_split(spec, text, n, on_piece, p, NULL) == 0);
}

static struct tokenizer *make(const struct tokenizer_spec *spec)
{
    static const char *const entries[] = {
        "<unk>", "<s>", "a",   "b", "n't", "'s",  "\"", "'", ".", "do",
        "...",   "--",  "can", "(", ")",   "not", "\n", " ", "$"};
    struct tokenizer *t = NULL;
    struct buf out;
    buf_init(&out, MAX_OUT);
    must(tokenizer_build(spec, entries, 19, &out, NULL) == 0);
    must(tokenizer_parse(out.p, out.len, "t", &t, NULL) == 0);
    buf_fini(&out);
    return t;
}

void fuzz_tokenizer(const uint8_t *data, size_t n)
{
    static const char *const rules[] = {"seqd-english", "seqd-whitespace",
                                        "seqd-characters"};
    static struct tokenizer *made[4]; /* kept: building is slow */
    if (n == 0)
        return;
    unsigned k = data[0] & 3u;
    const char *text = (const char *)data + 1;
    struct tokenizer_spec spec = {.normalizer = rules[k % 3],
                                  .lowercase = k == 0,
                                  .unk = "<unk>",
                                  .bos = "<s>"};
    if (k == 1)
        spec.newline = "\n";
    struct pieces once, twice;
    split(&spec, text, n - 1, &once);
    if (k % 3 == 0) { /* cutting what was cut changes nothing */
        split(&spec, once.joined.p, once.joined.len, &twice);
        must(strcmp(once.joined.p, twice.joined.p) == 0);
        buf_fini(&twice.joined);
    }
    buf_fini(&once.joined);
    if (!made[k])
        made[k] = make(&spec);
    fuzz_encode(made[k], text, n - 1, (n - 1) & 3u, NULL);
}

#define MOST_CHAINS 64

struct cutting {
    const char *text;
    size_t n;
    int which, k; /* k counts the chains */
    struct pre_work w;
};

/* A chain cuts between code points, and covers the text. */
static int cut_with(void *arg, const char *names)
{
    static struct pretok
        made[MOST_CHAINS]; /* kept: machine code takes its time */
    struct cutting *c = arg;
    unsigned flags;
    if (c->k++ != c->which)
        return 0;
    struct pretok *p = &made[c->which];
    must(p->n || !pretok_named(p, names, strcspn(names, " "), &flags, NULL));
    int64_t steps = regex_steps(c->n);
    must(pretok_run(p, c->text, c->n, &steps, &c->w, NULL) == 0);
    must(c->w.cut[0] == CUT_PIECE && c->w.cut[c->n] == CUT_PIECE);
    for (size_t i = 0; i < c->n;) {
        uint32_t cp;
        int len = utf8_next(c->text + i, c->n - i, &cp);
        for (i++; len > 1; len--, i++)
            must(!c->w.cut[i]);
    }
    return 0;
}

static int count_chains(void)
{
    static struct cutting none = {.which = -1};
    if (!none.k)
        pretok_all_named(cut_with, &none);
    must(none.k > 0 && none.k <= MOST_CHAINS);
    return none.k;
}

/* A vocabulary with all bytes and no normalizer gives every text back. */
static void round_trip(const struct tokenizer *t, const char *text, size_t n)
{
    struct token_list l = {0};
    struct detok d;
    struct buf out;
    must(tokenizer_encode(t, text, n, 0, 1 << 20, &l, NULL) == 0);
    buf_init(&out, MAX_OUT);
    buf_add_str(&out, "");
    detok_init(&d);
    for (int i = 0; i < l.n; i++) {
        size_t from = out.len;
        must(detok_next(t, &d, l.v[i].id, &out) == 0);
        must(utf8_valid(out.p + from, out.len - from));
    }
    must(detok_finish(t, &d, &out) == 0);
    must(!utf8_valid(text, n) || (out.len == n && memcmp(out.p, text, n) == 0));
    buf_fini(&out);
    token_list_fini(&l);
}

void fuzz_bpe(const uint8_t *data, size_t n)
{
    static const char *const dirs[] = {
        "tests/golden/tokenizer/llama3", "tests/golden/tokenizer/qwen2",
        "tests/golden/tokenizer/roberta", "tests/golden/tokenizer/deepseek"};
    static struct tokenizer *made[4]; /* kept: reading is slow */
    if (n == 0)
        return;
    unsigned k = data[0] & 3u;
    struct cutting c = {.text = (const char *)data + 1, .n = n - 1};
    must(made[k] || tokenizer_at(dirs[k], "t", &made[k], NULL) == 0);
    c.which = (data[0] >> 2) % count_chains();
    pretok_all_named(cut_with, &c);
    pre_work_fini(&c.w);
    fuzz_encode(made[k], c.text, c.n, c.n & 3u, NULL);
    if (k == 0)
        round_trip(made[k], c.text, c.n);
}

void fuzz_vocabulary(const uint8_t *data, size_t n)
{
    struct tokenizer *t;
    struct err e = ERR_INIT;
    if (tokenizer_parse((const char *)data, n, "t", &t, &e)) {
        must(e.code != ERR_NONE && t == NULL && e.msg[0]);
        return;
    }
    int size = tokenizer_size(t);
    must(size > 0);
    for (int i = 0; i < size; i++) {
        size_t len;
        const char *text = tokenizer_text(t, i);
        must(text && (!*text || tokenizer_id(t, text) == i));
        must(tokenizer_piece(t, i, &len) != NULL && len <= 4 * n + 4);
    }
    must(tokenizer_unk(t) < size && tokenizer_bos(t) < size);
    fuzz_encode(t, "a b\n<s> don't", 13, 1, NULL);
    tokenizer_close(t);
}
