/* spm_norm_json: the steps that a tokenizer.json asks for (spm_norm.h): its
 * normalizer, its pre_tokenizer, and whether its decoder takes the space of
 * the prefix away again.
 *
 * SPDX-License-Identifier: MIT */
#include <string.h>

#include "engine/base/mem.h"
#include "engine/base/utf8.h"
#include "engine/text/kinds/spm_norm.h"

static const char *type_of(const struct json *j)
{
    const char *type = json_string(json_get(j, "type"));
    return type ? type : "";
}

static int is_null(const struct json *j)
{
    return !j || json_type(j) == JSON_NULL;
}

/* The one code point of a string, 0 when it is not one. */
static uint32_t one_char(const struct json *j)
{
    const char *s = json_string(j);
    uint32_t cp;
    size_t n = s ? strlen(s) : 0;
    return n > 0 && (size_t)utf8_next(s, n, &cp) == n ? cp : 0;
}

int spm_norm_add(struct spm_norm *m, const struct tok_source *s,
                 enum spm_kind kind, uint32_t arg)
{
    if (m->n == SPM_MAX_STEPS)
        return tok_refuse(s, "normalizer", "Sequence of many");
    m->step[m->n++] = (struct spm_step){kind, arg};
    return 0;
}

/* ------------------------------------------------------------------ base64 */

static int digit64(char c)
{
    if (c >= 'A' && c <= 'Z')
        return c - 'A';
    if (c >= 'a' && c <= 'z')
        return c - 'a' + 26;
    return c >= '0' && c <= '9' ? c - '0' + 52
           : c == '+'           ? 62
           : c == '/'           ? 63
                                : -1;
}

/* RFC 4648; returns the number of bytes in out (3/4 of n), -1: not base64. */
static int64_t decode64(const char *s, size_t n, uint8_t *out)
{
    uint32_t bits = 0;
    int have = 0;
    int64_t len = 0;
    while (n > 0 && s[n - 1] == '=')
        n--;
    for (size_t i = 0; i < n; i++) {
        int d = digit64(s[i]);
        if (d < 0)
            return -1;
        bits = bits << 6 | (uint32_t)d;
        have += 6;
        if (have >= 8) {
            have -= 8;
            out[len++] = (uint8_t)(bits >> have & 255);
        }
    }
    return len;
}

int spm_norm_chars(struct spm_norm *m, const struct tok_source *s,
                   const struct json *j)
{
    const struct json *text = json_get(j, "precompiled_charsmap");
    size_t n = json_string_len(text);
    if (is_null(text) || n == 0)
        return 0; /* the identity */
    if (m->chars.unit)
        return tok_refuse(s, "normalizer", "two Precompiled");
    m->by_cluster = 1;
    uint8_t *raw = mem_alloc(n + 4);
    if (!raw)
        return err_nomem(s->e);
    int64_t len = decode64(json_string(text), n, raw);
    int rc = len < 0 ? tok_bad(s, "precompiled_charsmap is not base64")
                     : spm_chars_read(&m->chars, s, raw, (size_t)len) ||
                           spm_norm_add(m, s, SPM_CHARS, 0);
    mem_free(raw);
    return rc ? -1 : 0;
}

/* -------------------------------------------------------------- normalizer */

static int read_replace(struct spm_norm *m, const struct tok_source *s,
                        const struct json *j)
{
    const struct json *pattern = json_get(j, "pattern");
    const char *text = json_string(json_get(pattern, "String"));
    const char *regex = json_string(json_get(pattern, "Regex"));
    uint32_t to = one_char(json_get(j, "content"));
    if (text && strcmp(text, " ") == 0 && to == SPM_MARK)
        return spm_norm_add(m, s, SPM_SPACES, 0);
    if (regex && strcmp(regex, " {2,}") == 0 && (to == ' ' || to == SPM_MARK))
        return spm_norm_add(m, s, SPM_COLLAPSE, to);
    return tok_refuse(s, "normalizer Replace of", text ? text : regex);
}

static int read_strip(struct spm_norm *m, const struct tok_source *s,
                      const struct json *j)
{
    int left, right;
    if (tok_flag(s, j, "strip_left", 1, &left) ||
        tok_flag(s, j, "strip_right", 1, &right))
        return -1;
    return (left && spm_norm_add(m, s, SPM_LSTRIP, 0)) ||
                   (right && spm_norm_add(m, s, SPM_RSTRIP, 0))
               ? -1
               : 0;
}

static int read_normalizer(struct spm_norm *m, const struct tok_source *s,
                           const struct json *j)
{
    const char *type = type_of(j);
    uint32_t cp = one_char(json_get(j, "prepend"));
    if (strcmp(type, "Prepend") == 0 && cp) {
        m->strips = 1;
        return spm_norm_add(m, s, SPM_PREPEND, cp);
    }
    if (strcmp(type, "Replace") == 0)
        return read_replace(m, s, j);
    if (strcmp(type, "Strip") == 0)
        return read_strip(m, s, j);
    if (strcmp(type, "Precompiled") == 0)
        return spm_norm_chars(m, s, j);
    return tok_refuse(s, "normalizer", type);
}

/* ----------------------------------------------------------- pre_tokenizer */

static int read_prefix(struct spm_norm *m, const struct tok_source *s,
                       const struct json *j)
{
    const char *scheme = json_string(json_get(j, "prepend_scheme"));
    int old;
    if (tok_flag(s, j, "add_prefix_space", 1, &old))
        return -1;
    scheme = scheme ? scheme : old ? "always" : "never";
    if (strcmp(scheme, "always") == 0)
        m->prefix = SPM_ALWAYS;
    else if (strcmp(scheme, "first") == 0)
        m->prefix = SPM_FIRST;
    else if (strcmp(scheme, "never") != 0)
        return tok_refuse(s, "Metaspace prepend_scheme", scheme);
    m->strips |= m->prefix != SPM_NEVER;
    return 0;
}

static int read_metaspace(struct spm_norm *m, const struct tok_source *s,
                          const struct json *j)
{
    if (one_char(json_get(j, "replacement")) != SPM_MARK) {
        return tok_refuse(s, "Metaspace replacement",
                          json_string(json_get(j, "replacement")));
    }
    return read_prefix(m, s, j) || tok_flag(s, j, "split", 1, &m->split) ||
                   spm_norm_add(m, s, SPM_SPACES, 0)
               ? -1
               : 0;
}

/* Split at " " does nothing once marks stand for spaces (Gemma). */
static int is_idle_split(const struct spm_norm *m, const struct json *j)
{
    const char *at = json_string(json_get(json_get(j, "pattern"), "String"));
    int marked = 0;
    for (int i = 0; i < m->n; i++)
        marked |= m->step[i].kind == SPM_SPACES;
    return strcmp(type_of(j), "Split") == 0 && at && strcmp(at, " ") == 0 &&
           marked;
}

/* WhitespaceSplit and Metaspace: words, each with a mark in front. */
static int read_words(struct spm_norm *m, const struct tok_source *s,
                      const struct json *j)
{
    const struct json *a = json_child(json_get(j, "pretokenizers"));
    const struct json *b = json_next(a);
    if (!b || json_next(b) || strcmp(type_of(a), "WhitespaceSplit") != 0 ||
        strcmp(type_of(b), "Metaspace") != 0)
        return tok_refuse(s, "pre_tokenizer", "Sequence");
    if (spm_norm_add(m, s, SPM_WORDS, SPM_MARK) || read_metaspace(m, s, b))
        return -1;
    return m->prefix == SPM_ALWAYS
               ? 0
               : tok_refuse(s, "pre_tokenizer",
                            "WhitespaceSplit without a prefix");
}

static int read_pre(struct spm_norm *m, const struct tok_source *s,
                    const struct json *j)
{
    if (is_null(j) || is_idle_split(m, j))
        return 0;
    if (strcmp(type_of(j), "Metaspace") == 0)
        return read_metaspace(m, s, j);
    if (strcmp(type_of(j), "Sequence") == 0)
        return read_words(m, s, j);
    return tok_refuse(s, "pre_tokenizer", type_of(j));
}

/* ----------------------------------------------------------------- decoder */

static int is_marks_to_spaces(const struct json *j)
{
    const char *what = json_string(json_get(json_get(j, "pattern"), "String"));
    const char *with = json_string(json_get(j, "content"));
    return what && with && strcmp(what, SPM_MARK_UTF8) == 0 &&
           strcmp(with, " ") == 0;
}

/* Metaspace: whether the first token's marks go. */
static int read_meta_decoder(struct spm_norm *m, const struct tok_source *s,
                             const struct json *j)
{
    const char *scheme = json_string(json_get(j, "prepend_scheme"));
    int old;
    if (tok_flag(s, j, "add_prefix_space", 1, &old))
        return -1;
    if (one_char(json_get(j, "replacement")) != SPM_MARK)
        return tok_refuse(s, "decoder", "Metaspace of another mark");
    m->strips =
        (scheme ? strcmp(scheme, "never") != 0 : old) ? SPM_STRIP_ALL : 0;
    return 0;
}

/* Strip of one space in front of the whole text. */
static int is_one_space(const struct json *j)
{
    int64_t start = 0, stop = 0;
    return one_char(json_get(j, "content")) == ' ' &&
           json_int(json_get(j, "start"), &start) == 0 && start == 1 &&
           json_int(json_get(j, "stop"), &stop) == 0 && stop == 0;
}

/* A Sequence in the usual order: Replace, ByteFallback, Fuse, Strip; or
 * Metaspace. Bytes that spell a mark which a Metaspace then sees are left to a
 * pipeline. */
static int read_parts(struct spm_norm *m, const struct tok_source *s,
                      const struct json *j)
{
    static const char *const names[] = {"Replace", "ByteFallback", "Fuse",
                                        "Strip", "Metaspace"};
    int seen = 0, last = -1, fallback;
    m->strips = 0;
    if (tok_flag(s, s->model, "byte_fallback", 0, &fallback))
        return -1;
    for (; j; j = json_next(j)) {
        int k = 0;
        while (k < 5 && strcmp(type_of(j), names[k]) != 0)
            k++;
        if (k == 5 || k <= last || (k == 0 && !is_marks_to_spaces(j)) ||
            (k == 3 && (!(seen & 4) || !is_one_space(j))) || (k == 4 && seen))
            return tok_refuse(s, "decoder Sequence with", type_of(j));
        if (k == 4 && read_meta_decoder(m, s, j))
            return -1;
        m->strips = k == 3 ? SPM_STRIP_SPACE : m->strips;
        seen |= 1 << k;
        last = k;
    }
    return (seen & 1 || seen & 16) && ((seen & 2) != 0) == fallback
               ? 0
               : tok_refuse(s, "decoder", "Sequence");
}

static int read_decoder(struct spm_norm *m, const struct tok_source *s,
                        const struct json *j)
{
    int fallback;
    if (is_null(j))
        return 0;
    if (tok_flag(s, s->model, "byte_fallback", 0, &fallback))
        return -1;
    if (strcmp(type_of(j), "Metaspace") == 0 && !fallback)
        return read_meta_decoder(m, s, j);
    if (strcmp(type_of(j), "Sequence") != 0)
        return tok_refuse(s, "decoder", type_of(j));
    return read_parts(m, s, json_child(json_get(j, "decoders")));
}

int spm_norm_json(struct spm_norm *m, const struct tok_source *s)
{
    const struct json *j = json_get(s->root, "normalizer");
    if (strcmp(type_of(j), "Sequence") == 0) {
        j = json_child(json_get(j, "normalizers"));
        for (; j; j = json_next(j))
            if (read_normalizer(m, s, j))
                return -1;
    } else if (!is_null(j) && read_normalizer(m, s, j)) {
        return -1;
    }
    if (read_pre(m, s, json_get(s->root, "pre_tokenizer")))
        return -1;
    return read_decoder(m, s, json_get(s->root, "decoder"));
}
