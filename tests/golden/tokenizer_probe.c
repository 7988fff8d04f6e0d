/* tokenizer_probe: what seqd makes of the tokenizers and texts on standard
 * input, for search_pipelines.py. A line in is [tokenizer.json as a string,
 * [text ...], [[id ...] ...], whether texts get what the file puts around
 * them]; a line out is a string that says why it is refused, or [[[id ...],
 * [start, end ...], text that they decode to] ...] of the texts, in code
 * points, and then the texts of the lists of ids. A text that is refused is
 * null.
 *
 * SPDX-License-Identifier: MIT */
#include <limits.h>
#include <stdio.h>
#include <string.h>

#include "engine/base/json.h"
#include "engine/base/mem.h"
#include "engine/base/utf8.h"
#include "engine/text/tokenizer.h"

#define MAX_LINE ((size_t)64 << 20)

/* Code points before byte i; one that it lies in counts where `whole`. */
static int64_t points(const char *s, size_t n, size_t i, int whole)
{
    while (whole && i < n && ((unsigned char)s[i] & 0xc0) == 0x80)
        i++;
    while (!whole && i > 0 && i < n && ((unsigned char)s[i] & 0xc0) == 0x80)
        i--;
    return (int64_t)utf8_count(s, i);
}

static void decode(const struct tokenizer *t, const int32_t *ids, int n,
                   struct buf *out)
{
    struct detok d;
    struct buf b;
    detok_init(&d);
    buf_init(&b, MAX_LINE);
    buf_add_str(&b, "");
    for (int i = 0; i < n; i++)
        detok_next(t, &d, ids[i], &b);
    detok_finish(t, &d, &b);
    buf_add_json_string(out, b.p, b.len);
    buf_fini(&b);
}

static void encode(const struct tokenizer *t, const char *s, size_t n,
                   unsigned flags, struct buf *out)
{
    struct token_list l = {0};
    struct err e = ERR_INIT;
    if (tokenizer_encode(t, s, n, flags, INT_MAX, &l, &e)) {
        buf_add_str(out, "null");
        token_list_fini(&l);
        return;
    }
    int32_t *ids = mem_array((size_t)l.n + 1, sizeof *ids);
    buf_add_str(out, "[[");
    for (int i = 0; i < l.n; i++) {
        ids[i] = l.v[i].id;
        buf_addf(out, "%s%d", i ? "," : "", ids[i]);
    }
    buf_add_str(out, "],[");
    for (int i = 0; i < l.n; i++) {
        buf_addf(out, "%s%lld,%lld", i ? "," : "",
                 (long long)points(s, n, l.v[i].start, 0),
                 (long long)points(s, n, l.v[i].end, 1));
    }
    buf_add_str(out, "],");
    decode(t, ids, l.n, out);
    buf_add_str(out, "]");
    mem_free(ids);
    token_list_fini(&l);
}

static void decode_list(const struct tokenizer *t, const struct json *list,
                        struct buf *out)
{
    int32_t *ids = mem_array((size_t)json_size(list) + 1, sizeof *ids);
    int n = 0;
    for (const struct json *j = json_child(list); j; j = json_next(j))
        ids[n++] = (int32_t)json_number(j);
    decode(t, ids, n, out);
    mem_free(ids);
}

static void answer(const struct json *line, struct buf *out)
{
    const struct json *file = json_child(line), *texts = json_next(file);
    const struct json *lists = json_next(texts);
    unsigned flags =
        TOK_PARSE_SPECIAL | (json_bool(json_next(lists)) ? TOK_ADD_SPECIAL : 0);
    struct tokenizer *t = NULL;
    struct err e = ERR_INIT;
    int n = 0;
    if (tokenizer_parse(json_string(file), json_string_len(file), "file", &t,
                        &e)) {
        buf_add_json_string(out, e.msg, strlen(e.msg));
        return;
    }
    buf_add_str(out, "[");
    for (const struct json *j = json_child(texts); j; j = json_next(j)) {
        struct buf s;
        buf_init(&s, MAX_LINE);
        buf_add_str(&s, "");
        json_text(j, &s);
        buf_add_str(out, n++ ? "," : "");
        encode(t, s.p, s.len, flags, out);
        buf_fini(&s);
    }
    for (const struct json *j = json_child(lists); j; j = json_next(j)) {
        buf_add_str(out, n++ ? "," : "");
        decode_list(t, j, out);
    }
    buf_add_str(out, "]");
    tokenizer_close(t);
}

int main(void)
{
    const struct json_limits limits = {MAX_LINE, 16, (size_t)4 << 20};
    char *line = mem_alloc(MAX_LINE);
    while (line && fgets(line, (int)MAX_LINE, stdin)) {
        struct json *j = NULL;
        struct err e = ERR_INIT;
        struct buf out;
        buf_init(&out, (size_t)1 << 30);
        if (json_parse_nul(line, strlen(line), &limits, &j, &e)) {
            fprintf(stderr, "%s\n", e.msg);
            return 1;
        }
        answer(j, &out);
        json_free(j);
        puts(out.p);
        fflush(stdout);
        buf_fini(&out);
    }
    mem_free(line);
    return 0;
}
