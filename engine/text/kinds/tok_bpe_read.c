/* tok_bpe_read: what byte-level BPE takes from each kind of file. All that a
 * file asks for and this does not do is refused by its name: a tokenizer that
 * is nearly right gives a model that is quietly worse.
 *
 * SPDX-License-Identifier: MIT */
#include <string.h>

#include "engine/base/mem.h"
#include "engine/checkpoint/gguf.h"
#include "engine/text/kinds/tok_bpe.h"
#include "engine/text/unicode/unicode.h"

/* ---------------------------------------------------------- tokenizer.json */

static const char *type_of(const struct json *j)
{
    const char *type = json_string(json_get(j, "type"));
    return type ? type : "";
}

static int is_null(const struct json *j)
{
    return !j || json_type(j) == JSON_NULL;
}

static int read_normalizer(struct bpe *b, const struct tok_source *s,
                           const struct json *j)
{
    const struct json *next = NULL;
    if (is_null(j))
        return 0;
    if (strcmp(type_of(j), "Sequence") == 0) {
        j = json_child(json_get(j, "normalizers"));
        next = json_next(j);
    }
    if (next || (j && b->form))
        return tok_refuse(s, "normalizer", "Sequence of several");
    if (!j || strcmp(type_of(j), "NFC") == 0) {
        b->form = j ? UNI_NFC + 1 : 0;
        return 0;
    }
    if (strcmp(type_of(j), "NFD") == 0) {
        b->form = UNI_NFD + 1;
        return 0;
    }
    return tok_refuse(s, "normalizer", type_of(j));
}

/* "behavior" (and "invert") of a Split or Punctuation. */
static int read_behavior(const struct tok_source *s, const struct json *j,
                         enum pre_behavior *behavior)
{
    const char *name = json_string(json_get(j, "behavior"));
    int invert = json_bool(json_get(j, "invert"));
    name = name ? name : "Isolated";
    if (strcmp(name, "Isolated") == 0) {
        *behavior = PRE_ISOLATED; /* either way round */
        return 0;
    }
    if (strcmp(name, "Removed") == 0) {
        *behavior = invert ? PRE_KEPT : PRE_REMOVED;
        return 0;
    }
    if (strcmp(name, "Contiguous") == 0 && !invert) {
        *behavior = PRE_CONTIGUOUS;
        return 0;
    }
    return tok_refuse(s, "pre_tokenizer behavior", name);
}

static int add_stage(struct bpe *b, const struct tok_source *s,
                     const char *regex, enum pre_behavior behavior)
{
    struct err why = ERR_INIT;
    if (pretok_add(&b->pre, regex, strlen(regex), behavior, &why) == 0)
        return 0;
    return err_set(s->e, why.code,
                   "%s: pre_tokenizer expression '%.100s' is not supported: %s",
                   s->label, regex, why.msg);
}

static int read_split(struct bpe *b, const struct tok_source *s,
                      const struct json *j, int after_bytes)
{
    const char *regex = json_string(json_get(json_get(j, "pattern"), "Regex"));
    enum pre_behavior behavior = PRE_ISOLATED;
    if (!regex)
        return tok_refuse(s, "pre_tokenizer", "Split of a string");
    if (read_behavior(s, j, &behavior))
        return -1;
    if (!after_bytes)
        return add_stage(b, s, regex, behavior);
    if (strcmp(regex, "[0-9][0-9][0-9]") != 0 || behavior != PRE_ISOLATED ||
        pretok_add_bytes(&b->pre, 3))
        return tok_refuse(s, "pre_tokenizer expression after ByteLevel", regex);
    return 0;
}

static int read_digits(struct bpe *b, const struct tok_source *s,
                       const struct json *j, int after_bytes)
{
    int each = json_bool(json_get(j, "individual_digits"));
    if (!after_bytes)
        return add_stage(b, s, each ? "\\p{N}" : "\\p{N}+", PRE_ISOLATED);
    if (each || pretok_add_bytes(&b->pre, 1))
        return tok_refuse(s, "pre_tokenizer", "Digits after ByteLevel");
    return 0;
}

static int read_bytes(struct bpe *b, const struct tok_source *s,
                      const struct json *j)
{
    int regex = 1;
    if (tok_flag(s, j, "use_regex", 1, &regex) ||
        tok_flag(s, j, "add_prefix_space", 1, &b->prefix_space))
        return -1;
    if (b->prefix_space && b->pre.n > 0) {
        return tok_refuse(s, "pre_tokenizer",
                          "ByteLevel with add_prefix_space after others");
    }
    return regex ? add_stage(b, s, PRE_BYTES, PRE_ISOLATED) : 0;
}

/* One pre-tokenizer; *bytes becomes 1 at ByteLevel. Punctuation is left to a
 * pipeline: what it is, is Unicode 8's, which no expression says. */
static int read_pre(struct bpe *b, const struct tok_source *s,
                    const struct json *j, int *bytes)
{
    const char *type = type_of(j);
    if (strcmp(type, "Split") == 0)
        return read_split(b, s, j, *bytes);
    if (strcmp(type, "Digits") == 0)
        return read_digits(b, s, j, *bytes);
    if (strcmp(type, "ByteLevel") == 0 && !*bytes) {
        *bytes = 1;
        return read_bytes(b, s, j);
    }
    return tok_refuse(s, "pre_tokenizer", type);
}

static int read_pre_all(struct bpe *b, const struct tok_source *s,
                        const struct json *j)
{
    int bytes = 0;
    if (strcmp(type_of(j), "Sequence") != 0) {
        if (!is_null(j) && read_pre(b, s, j, &bytes))
            return -1;
    } else {
        j = json_child(json_get(j, "pretokenizers"));
        for (; j; j = json_next(j))
            if (read_pre(b, s, j, &bytes))
                return -1;
    }
    return bytes ? 0 : tok_refuse(s, "model", "BPE without ByteLevel");
}

/* Options of the model that change its ids. */
static int check_model(const struct tok_source *s)
{
    static const char *const strings[] = {"continuing_subword_prefix",
                                          "end_of_word_suffix", NULL};
    int fallback = 0;
    for (int i = 0; strings[i]; i++) {
        const char *text = json_string(json_get(s->model, strings[i]));
        if (text && text[0])
            return tok_refuse(s, strings[i], text);
    }
    if (json_number(json_get(s->model, "dropout")) > 0)
        return tok_refuse(s, "model", "BPE with dropout");
    if (tok_flag(s, s->model, "byte_fallback", 0, &fallback))
        return -1;
    return fallback ? tok_refuse(s, "model", "BPE with byte_fallback") : 0;
}

static int check_decoder(const struct tok_source *s)
{
    const struct json *j = json_get(s->root, "decoder");
    if (is_null(j) || strcmp(type_of(j), "ByteLevel") == 0)
        return 0;
    return tok_refuse(s, "decoder", type_of(j));
}

/* One entry of "merges": "a b", or ["a", "b"] in newer files. */
static int read_merge(struct bpe_merges *m, const struct tokenizer *t,
                      const struct tok_source *s, const struct json *j,
                      size_t skip, uint32_t rank)
{
    const struct json *a = json_child(j);
    const char *text = json_string(j);
    const char *part[2] = {NULL, NULL};
    size_t len[2] = {0, 0};
    if (text) {
        const char *space = strchr(text, ' ');
        part[0] = text;
        part[1] = space ? space + 1 : NULL;
        len[0] = space ? (size_t)(space - text) : 0;
    } else if (a && json_next(a)) {
        part[0] = json_string(a);
        part[1] = json_string(json_next(a));
        len[0] = part[0] ? strlen(part[0]) : 0;
    }
    if (!part[0] || !part[1] || (text && strchr(part[1], ' '))) {
        return err_set(s->e, ERR_FORMAT, "%s: merge %u is not two entries",
                       s->label, rank);
    }
    len[1] = strlen(part[1]);
    return bpe_merges_text(m, t, s, part, len, skip, rank);
}

int bpe_read_json_merges(struct bpe_merges *m, const struct tokenizer *t,
                         const struct tok_source *s, size_t skip)
{
    const struct json *list = json_get(s->model, "merges");
    uint32_t rank = 0;
    if (!list || json_type(list) != JSON_ARRAY)
        return tok_bad(s, "'merges' is not a list");
    if (bpe_merges_open(m, (size_t)json_size(list), s->e))
        return -1;
    for (const struct json *j = json_child(list); j; j = json_next(j))
        if (read_merge(m, t, s, j, skip, rank++))
            return -1;
    return 0;
}

int bpe_read_json(struct bpe *b, struct tokenizer *t,
                  const struct tok_source *s)
{
    b->closes_gaps = 1;
    if (check_model(s) || check_decoder(s) ||
        read_normalizer(b, s, json_get(s->root, "normalizer")) ||
        read_pre_all(b, s, json_get(s->root, "pre_tokenizer")) ||
        tok_flag(s, s->model, "ignore_merges", 0, &b->ignore_merges) ||
        tok_flag(s, s->model, "fuse_unk", 0, &b->fuses) ||
        tok_vocab_json(t, s, 1) || bpe_read_json_merges(&b->merges, t, s, 0) ||
        tok_named(s, t, s->model, "unk_token", &b->missing))
        return -1;
    t->unk = b->missing;
    return 0;
}

/* ----------------------------------------------- vocab.json and merges.txt */

static int starts_with_one_of(const char *name, const char *const *list)
{
    for (; *list; list++)
        if (strncmp(name, *list, strlen(*list)) == 0)
            return 1;
    return 0;
}

/* Special tokens of RoBERTa's and BART's vocabularies. */
enum { PAIR_BOS, PAIR_PAD, PAIR_EOS, PAIR_UNK, PAIR_MASK, N_PAIR };
static const char *const pair_tokens[N_PAIR] = {"<s>", "<pad>", "</s>", "<unk>",
                                                "<mask>"};

static int find_pair_tokens(const struct tokenizer *t, int32_t id[N_PAIR])
{
    int found = 0;
    for (int i = 0; i < N_PAIR; i++) {
        id[i] = tokenizer_lookup(t, pair_tokens[i], strlen(pair_tokens[i]));
        found += id[i] >= 0;
    }
    return found;
}

/* These classes put <s> and </s> around a text, and need no file to say what
 * their special tokens are. */
static void set_pair(struct tokenizer *t, const int32_t id[N_PAIR])
{
    for (int i = 0; i < N_PAIR; i++)
        if (id[i] >= 0)
            t->attr[id[i]] |= TOK_CONTROL;
    if (id[PAIR_MASK] >= 0)
        t->attr[id[PAIR_MASK]] |= TOK_LSTRIP;
    t->bos = t->before[0] = id[PAIR_BOS];
    t->eos = t->after[0] = id[PAIR_EOS];
    t->unk = id[PAIR_UNK];
    t->mask = id[PAIR_MASK];
    t->n_before = t->bos >= 0;
    t->n_after = t->eos >= 0;
}

/* What tokenizer_config.json's class says about the words. Where there is none
 * the vocabulary tells: GPT-2's has none of the tokens that RoBERTa's and
 * BART's have, all five of them. */
static int read_class(struct bpe *b, struct tokenizer *t,
                      const struct tok_source *s)
{
    static const char *const byte_classes[] = {"GPT2", "CodeGen", "GPTNeoX",
                                               NULL};
    static const char *const pair_classes[] = {"Roberta", "Bart", "Longformer",
                                               NULL};
    const char *name = json_string(json_get(s->setup, "tokenizer_class"));
    int32_t id[N_PAIR];
    unsigned flags;
    int found = find_pair_tokens(t, id);
    if (name ? starts_with_one_of(name, pair_classes) : found == N_PAIR) {
        set_pair(t, id);
        return pretok_named(&b->pre, "gpt-2", 5, &flags, s->e);
    }
    if (!name || starts_with_one_of(name, byte_classes))
        return pretok_named(&b->pre, "gpt-2", 5, &flags, s->e);
    if (strncmp(name, "Qwen2", 5) == 0) {
        b->form = UNI_NFC + 1;
        return pretok_named(&b->pre, "qwen2", 5, &flags, s->e);
    }
    return tok_refuse(s, "tokenizer_class", name);
}

/* Without tokenizer.json nothing lists the special tokens but the roles they
 * have; GPT-2's own files do not even do that. */
static void mark_special(struct tokenizer *t, const struct tok_source *s)
{
    static const char *const roles[] = {"bos_token", "eos_token", "unk_token",
                                        "pad_token", "sep_token", "cls_token",
                                        "mask_token"};
    int32_t end = tokenizer_lookup(t, "<|endoftext|>", 13);
    if (end >= 0) {
        t->attr[end] |= TOK_CONTROL;
        t->bos = t->eos = end;
    }
    for (size_t i = 0; i < sizeof(roles) / sizeof(roles[0]); i++) {
        const struct json *j = json_get(s->setup, roles[i]);
        const char *text = json_string(j);
        text = text ? text : json_string(json_get(j, "content"));
        int32_t id = text ? tokenizer_lookup(t, text, strlen(text)) : -1;
        if (id >= 0)
            t->attr[id] |= TOK_CONTROL;
    }
}

static size_t count_lines(const char *s, size_t n)
{
    size_t lines = 1;
    for (size_t i = 0; i < n; i++)
        lines += s[i] == '\n';
    return lines;
}

/* One line "a b" [n]. */
static int merge_line(struct bpe *b, const struct tokenizer *t,
                      const struct tok_source *s, const char *line, size_t n,
                      uint32_t rank)
{
    const char *space = memchr(line, ' ', n);
    if (!space || memchr(space + 1, ' ', n - (size_t)(space + 1 - line))) {
        return err_set(s->e, ERR_FORMAT, "%s: merge %u is not two entries",
                       s->label, rank);
    }
    const char *part[2] = {line, space + 1};
    const size_t len[2] = {(size_t)(space - line),
                           n - (size_t)(space + 1 - line)};
    return bpe_merges_text(&b->merges, t, s, part, len, 0, rank);
}

static int read_lines(struct bpe *b, const struct tokenizer *t,
                      const struct tok_source *s)
{
    uint32_t rank = 0;
    if (bpe_merges_open(&b->merges, count_lines(s->merges, s->n_merges), s->e))
        return -1;
    for (size_t i = 0; i < s->n_merges;) {
        const char *line = s->merges + i;
        const char *end = memchr(line, '\n', s->n_merges - i);
        size_t n = end ? (size_t)(end - line) : s->n_merges - i;
        i += n + 1;
        n -= n > 0 && line[n - 1] == '\r';
        if (n == 0 || (n >= 8 && memcmp(line, "#version", 8) == 0))
            continue;
        if (merge_line(b, t, s, line, n, rank++))
            return -1;
    }
    return 0;
}

int bpe_read_files(struct bpe *b, struct tokenizer *t,
                   const struct tok_source *s)
{
    b->closes_gaps = 1;
    if (tok_vocab_json(t, s, 1) || read_class(b, t, s) ||
        tok_flag(s, s->setup, "add_prefix_space", 0, &b->prefix_space))
        return -1;
    mark_special(t, s);
    return read_lines(b, t, s);
}

/* ------------------------------------------------------------------- GGUF */

static int gguf_merges(struct bpe *b, const struct tokenizer *t,
                       const struct tok_source *s)
{
    int key = gguf_find(s->gguf, "tokenizer.ggml.merges");
    if (key < 0 || gguf_type(s->gguf, key) != GGUF_ARRAY ||
        gguf_elem(s->gguf, key) != GGUF_STRING)
        return tok_bad(s, "tokenizer.ggml.merges is not a list of strings");
    size_t n = gguf_len(s->gguf, key);
    if (n >= UINT32_MAX || bpe_merges_open(&b->merges, n, s->e))
        return n >= UINT32_MAX ? tok_bad(s, "too many merges") : -1;
    for (size_t i = 0; i < n; i++) {
        const char *text;
        size_t len;
        if (gguf_string(s->gguf, key, i, &text, &len) ||
            merge_line(b, t, s, text, len, (uint32_t)i))
            return tok_bad(s, "tokenizer.ggml.merges cannot be read");
    }
    return 0;
}

int bpe_read_gguf(struct bpe *b, struct tokenizer *t,
                  const struct tok_source *s)
{
    const char *pre = "default";
    char name[64];
    size_t n = strlen(pre);
    unsigned flags = 0;
    tok_gguf_string(s, "tokenizer.ggml.pre", &pre, &n);
    struct err why = ERR_INIT;
    if (pretok_named(&b->pre, pre, n, &flags, &why)) {
        if (why.code == ERR_NOMEM)
            return err_nomem(s->e);
        size_t k = n < sizeof(name) ? n : sizeof(name) - 1;
        memcpy(name, pre, k);
        name[k] = 0;
        return tok_refuse(s, "tokenizer.ggml.pre", name);
    }
    b->ignore_merges = (flags & PRE_IGNORE_MERGES) != 0;
    t->add_bos = (flags & PRE_ADD_BOS) != 0;
    if (tok_vocab_gguf(t, s))
        return -1;
    /* Falcon's files name neither: the token that both are. */
    if (t->n > 11 && (t->attr[11] & TOK_CONTROL))
        t->bos = t->eos = 11;
    return gguf_merges(b, t, s);
}
