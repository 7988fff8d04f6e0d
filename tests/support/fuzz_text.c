/* fuzz_text: texts through the kinds of tokenizer that fuzz_targets.c does not
 * have, tables of characters, pipelines, and files of records (fuzz_targets.h).
 *
 * SPDX-License-Identifier: MIT */
#include <string.h>

#include "engine/base/mem.h"
#include "engine/base/utf8.h"
#include "engine/text/kinds/spm_norm.h"
#include "engine/text/constraint.h"
#include "engine/text/records.h"
#include "tests/support/fuzz_check.h"
#include "tests/support/fuzz_targets.h"
#include "tests/support/tokenizer_at.h"

#define COUNT_OF(array) ((int)(sizeof(array) / sizeof *(array)))
#define GOLDEN "tests/golden/"

static struct tokenizer *made_of(const char *path, struct tokenizer **made)
{
    must(*made || tokenizer_at(path, "t", made, NULL) == 0);
    return *made;
}

/* --- kinds --- */

void fuzz_wordpiece(const uint8_t *data, size_t n)
{
    static const char *const from[FUZZ_WORDPIECES] = {
        GOLDEN "bert/bert-fill", GOLDEN "bert/mpnet-fill",
        GOLDEN "bert/bert-gguf/model.gguf"};
    static struct tokenizer *made[FUZZ_WORDPIECES];
    if (n == 0)
        return;
    int k = data[0] % FUZZ_WORDPIECES;
    made_of(from[k], &made[k]);
    fuzz_encode(made[k], (const char *)data + 1, n - 1,
                data[0] / FUZZ_WORDPIECES % 4u, NULL);
}

/* Without a normalizer and with all bytes a text comes back: a mark stands for
 * a space. A space in front may be taken for the prefix's, which goes. */
static void encode_and_back(const struct tokenizer *t, const char *text,
                            size_t n, int has_all_bytes)
{
    struct buf out;
    buf_init(&out, FUZZ_MAX_OUT);
    buf_add_str(&out, "");
    if (fuzz_encode(t, text, n, 0, &out) == 0 && has_all_bytes && n < 200 &&
        (n == 0 || *text != ' ') && utf8_valid(text, n) &&
        !memmem(text, n, "\xe2\x96\x81", 3))
        must(out.len == n && memcmp(out.p, text, n) == 0);
    buf_fini(&out);
}

void fuzz_unigram(const uint8_t *data, size_t n)
{
    static const char *const from[FUZZ_UNIGRAMS] = {
        GOLDEN "spm/unigram",
        GOLDEN "spm/llama",
        GOLDEN "spm/mistral",
        GOLDEN "spm/gemma",
        GOLDEN "spm/t5",
        GOLDEN "spm/xlm-r",
        GOLDEN "spm/words",
        GOLDEN "spm/gguf-t5/model.gguf",
        GOLDEN "spm/gguf-llama/model.gguf"};
    enum { WITH_ALL_BYTES = 4 };
    static struct tokenizer *made[COUNT_OF(from)];
    if (n == 0)
        return;
    int k = data[0] % COUNT_OF(from);
    const char *text = (const char *)data + 1;
    made_of(from[k], &made[k]);
    if (data[0] / COUNT_OF(from) % 2)
        fuzz_encode(made[k], text, n - 1, TOK_ADD_SPECIAL | TOK_PARSE_SPECIAL,
                    NULL);
    else
        encode_and_back(made[k], text, n - 1, k < WITH_ALL_BYTES);
}

/* --- a model file --- */

void fuzz_model(const uint8_t *data, size_t n)
{
    static const char *const text = "the house [SEP] \xc3\xa9  \xe2\x91\xa0"
                                    "a\n";
    struct tokenizer *t;
    struct err e = ERR_INIT;
    if (tokenizer_parse_model((const char *)data, n, "m", &t, &e)) {
        must(e.code != ERR_NONE && e.code != ERR_INTERNAL && e.msg[0] && !t);
        return;
    }
    int size = tokenizer_size(t);
    fuzz_taken++;
    must(size > 0 && tokenizer_unk(t) >= 0 && tokenizer_unk(t) < size);
    for (int i = 0; i < size; i++) {
        size_t len;
        must(tokenizer_text(t, i) && tokenizer_piece(t, i, &len) && len <= n);
    }
    fuzz_encode(t, text, strlen(text), n & 3u, NULL);
    tokenizer_close(t);
}

/* --- a table of characters --- */

/* The text, from a table of any bytes: valid, of a bounded length, from places
 * that ascend. */
static void run_table(const struct spm_norm *m, const char *s, size_t n)
{
    struct uni_text out = {0};
    struct err e = ERR_INIT;
    if (n == 0 || !utf8_valid(s, n))
        return;
    must(spm_norm_run(m, s, n, 1, &out, &e) == 0);
    fuzz_taken++;
    must(out.n <= 256 * n && utf8_valid(out.p, out.n));
    for (size_t i = 0; i < out.n; i++)
        must(out.at[i] <= out.at[i + 1] && out.at[i] < n);
    must(out.at[out.n] == n);
    uni_text_fini(&out);
}

void fuzz_charsmap(const uint8_t *data, size_t n)
{
    struct spm_norm m = {.n = 0};
    struct err e = ERR_INIT;
    const struct tok_source s = {.label = "t", .e = &e};
    size_t bytes = n < 2 ? 0 : (size_t)data[0] | (size_t)data[1] << 8;
    if (n < 2)
        return;
    bytes = bytes < n - 2 ? bytes : n - 2;
    if (spm_chars_read(&m.chars, &s, data + 2, bytes))
        must(e.code == ERR_FORMAT && e.msg[0]);
    else if (spm_norm_add(&m, &s, SPM_CHARS, 0) == 0)
        run_table(&m, (const char *)data + 2 + bytes, n - 2 - bytes);
    spm_norm_fini(&m);
}

/* --- pipelines --- */

#define LETTERS                                                                \
    "\"<unk>\":0,\"<s>\":1,\"a\":2,\"b\":3,\"e\":4,\"l\":5,\"o\":6,\"w\":7,"   \
    "\"1\":8,\" \":9,\"lo\":10,\"##w\":11,\"low\":12,\"\xe2\x96\x81\":13,"     \
    "\"\xe2\x96\x81low\":14,\"\xc4\xa0\":15,\"<0x0A>\":16,\"\xc3\xa9\":17"
#define ADDED                                                                  \
    "\"added_tokens\":[{\"id\":0,\"content\":\"<unk>\",\"special\":true},"     \
    "{\"id\":1,\"content\":\"<s>\",\"special\":true},"                         \
    "{\"id\":12,\"content\":\"low\",\"normalized\":true,\"lstrip\":true}],"

static const char *const models[] = {
    "\"model\":{\"type\":\"WordLevel\",\"unk_token\":\"<unk>\","
    "\"vocab\":{" LETTERS "}}}",
    "\"model\":{\"type\":\"WordPiece\",\"unk_token\":\"<unk>\","
    "\"continuing_subword_prefix\":\"##\",\"max_input_chars_per_word\":100,"
    "\"vocab\":{" LETTERS "}}}",
    "\"model\":{\"type\":\"BPE\",\"unk_token\":\"<unk>\",\"vocab\":{" LETTERS
    "},\"merges\":[\"l o\",\"lo w\"]}}",
    "\"model\":{\"type\":\"Unigram\",\"unk_id\":0,\"byte_fallback\":true,"
    "\"vocab\":[[\"<unk>\",0],[\"<s>\",0],[\"a\",-1],[\"b\",-2],[\"e\",-1.5],"
    "[\"l\",-3],[\"o\",-1],[\"w\",-2],[\"low\",-2.5],[\" \",-1],"
    "[\"\xe2\x96\x81\",-1],[\"\xe2\x96\x81l\",-2],[\"<0x0A>\",-9]]}}"};

void fuzz_pipe(const uint8_t *data, size_t n)
{
    struct buf b;
    struct tokenizer *t;
    struct err e = ERR_INIT;
    const uint8_t *zero = n > 1 ? memchr(data + 1, 0, n - 1) : NULL;
    if (n == 0)
        return;
    const uint8_t *end = zero ? zero : data + n;
    size_t n_text = zero ? (size_t)(data + n - zero - 1) : 0;
    buf_init(&b, FUZZ_MAX_OUT);
    buf_add_str(&b, "{\"version\":\"1.0\"," ADDED);
    buf_add(&b, data + 1, (size_t)(end - data - 1));
    buf_addf(&b, "%s%s", end > data + 1 ? "," : "",
             models[data[0] % COUNT_OF(models)]);
    if (tokenizer_parse(b.p, b.len, "t", &t, &e)) {
        must(e.code != ERR_NONE && e.code != ERR_INTERNAL && e.msg[0] && !t);
    } else {
        const char *text = n_text ? (const char *)zero + 1 : "low \xc3\xa9";
        n_text = n_text ? n_text : 6;
        fuzz_taken++;
        fuzz_encode(t, text, n_text, n_text & 3u, NULL);
        tokenizer_close(t);
    }
    buf_fini(&b);
}

/* --- records --- */

struct records {
    struct buf again; /* the same records, written anew */
    struct buf all;   /* label, 0, text, 0 of each */
    const char *p;
    size_t n;
    int64_t line;
    int labelled;
};

static void quote(struct buf *b, const char *p, size_t n)
{
    buf_add_char(b, '"');
    for (size_t i = 0; i < n; i++) {
        if (p[i] == '"')
            buf_add_char(b, '"');
        buf_add_char(b, p[i]);
    }
    buf_add_char(b, '"');
}

static int on_record(void *arg, const struct record *r, struct err *e)
{
    struct records *x = arg;
    (void)e;
    must(r->line >= x->line && r->line <= (int64_t)x->n + 1);
    must(utf8_valid(r->text, r->n));
    must(r->n_label == 0 || utf8_valid(r->label, r->n_label));
    must((r->n_label > 0) == (x->labelled != 0) && (r->n > 0 || x->labelled));
    must(r->n <= x->n && r->n_label <= x->n);
    x->line = r->line;
    if (r->n_label > 0)
        buf_add(&x->all, r->label, r->n_label);
    buf_add_char(&x->all, 0);
    buf_add(&x->all, r->text, r->n);
    buf_add_char(&x->all, 0);
    if (x->labelled) {
        quote(&x->again, r->label, r->n_label);
        buf_add_char(&x->again, ',');
        quote(&x->again, r->text, r->n);
    } else {
        buf_add(&x->again, r->text, r->n);
    }
    buf_add_str(&x->again, "\r\n");
    return 0;
}

static int read_records(struct records *x, const char *p, size_t n,
                        enum record_kind kind, int labelled)
{
    struct err e = ERR_INIT;
    *x = (struct records){.p = p, .n = n, .labelled = labelled};
    buf_init(&x->again, FUZZ_MAX_OUT);
    buf_init(&x->all, FUZZ_MAX_OUT);
    buf_add_str(&x->again, labelled ? "label,text\r\n" : "\xef\xbb\xbf");
    int rc = records_each("f", p, n, kind, labelled, on_record, x, &e);
    must(rc == 0 || (e.code == ERR_FORMAT && e.msg[0]));
    must(!x->again.failed && !x->all.failed);
    return rc;
}

static void drop(struct records *x)
{
    buf_fini(&x->again);
    buf_fini(&x->all);
}

/* Labelled ones written as a table, and lines as lines, are the same again. */
void fuzz_records(const uint8_t *data, size_t n)
{
    struct records a, b;
    if (n == 0)
        return;
    enum record_kind kind = (enum record_kind)(data[0] % (RECORD_WHOLE + 1));
    int labelled = (data[0] & 8) != 0;
    const char *p = (const char *)data + 1;
    int rc = read_records(&a, p, n - 1, kind, labelled);
    fuzz_taken += rc == 0;
    if (rc == 0 && (labelled || kind == RECORD_LINE)) {
        must(read_records(&b, a.again.p, a.again.len, kind, labelled) == 0);
        must(a.all.len == b.all.len);
        must(!a.all.len || !memcmp(a.all.p, b.all.p, a.all.len));
        drop(&b);
    }
    drop(&a);
}

/* --- tunes --- */

/* The bytes that may follow; of those over 127 none is in a tune but in texts
 * that a prompt has begun. */
static int may_follow(const struct constraint *c, const void *state,
                      unsigned char may[256])
{
    int n = 0;

    for (int b = 0; b < 256; b++) {
        char at[CONSTRAINT_STATE_BYTES];
        memcpy(at, state, c->state_bytes);
        if (c->next(at, (unsigned char)b, 0) == 0)
            may[n++] = (unsigned char)b;
    }
    return n;
}

void fuzz_abc(const uint8_t *data, size_t n)
{
    const struct constraint *c = constraint_find("abc");
    char state[CONSTRAINT_STATE_BYTES];
    unsigned char may[256];
    size_t i = 0;

    c->begin(state);
    for (; i < n && data[i]; i++)
        if (c->next(state, data[i], 1))
            return;
    int left = may_follow(c, state, may);
    if (left == 0)
        return; /* no way on: the text is not held to it */
    fuzz_taken++;
    for (i++; i < n && left > 0; i++) {
        must(c->next(state, may[data[i] % left], 0) == 0);
        left = may_follow(c, state, may);
        must(left > 0 || c->may_end(state));
    }
}
