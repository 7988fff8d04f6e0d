/* json: see json.h. Reading: the strict pre-scan (json_scan.c), then cJSON,
 * whose recursion the pre-scan has bounded by max_depth. A node is a cJSON
 * node by another name, so that no tree has to be copied.
 *
 * SPDX-License-Identifier: MIT */
#include "engine/base/json.h"

#include <cjson/cJSON.h>
#include <math.h>
#include <pthread.h>
#include <stddef.h>
#include <string.h>

#include "engine/base/buf.h"
#include "engine/base/file.h"
#include "engine/base/json_scan.h"
#include "engine/base/mem.h"

/* --- memory: all nodes and strings of a tree lie in a few blocks --- */

#define FIRST_BLOCK 2048 /* most requests need no second one */
#define MOST_BLOCK ((size_t)256 << 10)
#define ALIGN ((size_t)16)

/* A vocabulary is tens of thousands of values, and cJSON asks for two or three
 * pieces for each: to ask the heap for each of them costs more than reading
 * them. A tree is given back whole, so that no piece is. */
struct block {
    struct block *next; /* filled after this one */
    size_t used, size;  /* bytes of room */
    _Alignas(ALIGN) char room[];
};

/* Of the tree that this thread is reading. */
static _Thread_local struct {
    struct block *first, *last;
} blocks;

static struct block *add_block(size_t at_least)
{
    struct block *last = blocks.last;
    size_t size = last ? 2 * last->size : FIRST_BLOCK;
    size = size < MOST_BLOCK ? size : MOST_BLOCK;
    size = size > at_least ? size : at_least;
    struct block *b = mem_alloc(sizeof *b + size);
    if (!b)
        return NULL;
    *b = (struct block){.size = size};
    if (last)
        last->next = b;
    else
        blocks.first = b;
    blocks.last = b;
    return b;
}

static void *take_piece(size_t bytes)
{
    struct block *b = blocks.last;
    if (bytes > SIZE_MAX / 4)
        return NULL;
    bytes = (bytes + ALIGN - 1) / ALIGN * ALIGN;
    if ((!b || b->size - b->used < bytes) && !(b = add_block(bytes)))
        return NULL;
    b->used += bytes;
    return b->room + b->used - bytes;
}

static void keep_piece(void *p)
{
    (void)p;
}

static void free_blocks(struct block *b)
{
    while (b) {
        struct block *next = b->next;
        mem_free(b);
        b = next;
    }
}

/* The tree of a text that the pre-scan let through, or NULL without memory. Its
 * root is what cJSON asks for first, so that the blocks are found by it. */
static cJSON *read_tree(const char *text, size_t n)
{
    blocks.first = blocks.last = NULL;
    cJSON *root = cJSON_ParseWithLength(text, n);
    struct block *first = blocks.first;
    if (root && (char *)root == first->room)
        return root;
    free_blocks(first);
    return NULL;
}

static void install_hooks(void)
{
    cJSON_Hooks hooks = {take_piece, keep_piece};
    cJSON_InitHooks(&hooks);
}

static const cJSON *node(const struct json *j)
{
    return (const cJSON *)(const void *)j;
}

static const struct json *face(const cJSON *c)
{
    return (const struct json *)(const void *)c;
}

static struct json_limits limits_or_default(const struct json_limits *lim)
{
    struct json_limits l = lim ? *lim : (struct json_limits){0, 0, 0};
    if (l.max_bytes == 0)
        l.max_bytes = (size_t)2 << 20;
    if (l.max_depth <= 0)
        l.max_depth = 32;
    if (l.max_depth > CJSON_NESTING_LIMIT)
        l.max_depth = CJSON_NESTING_LIMIT;
    if (l.max_nodes == 0)
        l.max_nodes = (size_t)1 << 20;
    return l;
}

/* A copy in which each escape of U+0000 is the bytes C0 80. The text is known
 * to be JSON: a backslash stands in strings alone. */
static char *without_nul(const char *text, size_t *n)
{
    char *p = mem_alloc(*n + 1);
    size_t k = 0;
    for (size_t i = 0; p && i < *n; i++) {
        if (*n - i >= 6 && memcmp(text + i, "\\u0000", 6) == 0) {
            p[k++] = '\xc0';
            p[k++] = '\x80';
            i += 5;
            continue;
        }
        p[k++] = text[i];
        if (text[i] == '\\')
            p[k++] = text[++i];
    }
    *n = k;
    return p;
}

static int has_nul(const char *text, size_t n)
{
    return memmem(text, n, "\\u0000", 6) != NULL;
}

static int parse(const char *text, size_t n, const struct json_limits *lim,
                 int nul, struct json **out, struct err *e)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    struct json_limits l = limits_or_default(lim);
    char *copy = NULL;
    *out = NULL;
    if (n > l.max_bytes) {
        return err_set(e, ERR_TOO_LARGE, "%zu bytes of JSON, at most %zu", n,
                       l.max_bytes);
    }
    if (json_scan(text, n, &l, nul, e))
        return -1;
    if (nul && has_nul(text, n) && !(copy = without_nul(text, &n)))
        return err_nomem(e);
    pthread_once(&once, install_hooks);
    cJSON *c = read_tree(copy ? copy : text, n);
    mem_free(copy);
    if (!c)
        return err_nomem(e); /* all else the pre-scan has seen */
    *out = (struct json *)(void *)c;
    return 0;
}

int json_parse(const char *text, size_t n, const struct json_limits *lim,
               struct json **out, struct err *e)
{
    return parse(text, n, lim, 0, out, e);
}

int json_parse_nul(const char *text, size_t n, const struct json_limits *lim,
                   struct json **out, struct err *e)
{
    return parse(text, n, lim, 1, out, e);
}

int json_text(const struct json *j, struct buf *out)
{
    const char *s = json_string(j);
    while (s) {
        const char *at = strstr(s, "\xc0\x80");
        buf_add(out, s, at ? (size_t)(at - s) : strlen(s));
        if (at)
            buf_add(out, "", 1);
        s = at ? at + 2 : NULL;
    }
    return out->failed ? -1 : 0;
}

int json_parse_file(const char *text, size_t n, const char *label,
                    const struct json_limits *lim, struct json **out,
                    struct err *e)
{
    struct err inner = ERR_INIT;
    if (json_parse(text, n, lim, out, &inner) == 0)
        return 0;
    enum err_code code = inner.code == ERR_INVALID ? ERR_FORMAT : inner.code;
    return err_set(e, code, "%.120s: %.120s", label, inner.msg);
}

int json_load(const char *path, const char *label,
              const struct json_limits *lim, struct json **out, struct err *e)
{
    struct json_limits l = limits_or_default(lim);
    char *text = NULL;
    size_t n = 0;
    *out = NULL;
    if (file_read(path, label, l.max_bytes, &text, &n, e))
        return -1;
    int rc = json_parse_file(text, n, label, &l, out, e);
    mem_free(text);
    return rc;
}

void json_free(struct json *j)
{
    if (j)
        free_blocks(
            (struct block *)(void *)((char *)j - offsetof(struct block, room)));
}

enum json_type json_type(const struct json *j)
{
    const cJSON *c = node(j);
    if (cJSON_IsString(c))
        return JSON_STRING;
    if (cJSON_IsNumber(c))
        return JSON_NUMBER;
    if (cJSON_IsObject(c))
        return JSON_OBJECT;
    if (cJSON_IsArray(c))
        return JSON_ARRAY;
    return cJSON_IsBool(c) ? JSON_BOOL : JSON_NULL;
}

const char *json_type_name(enum json_type t)
{
    static const char *const names[] = {"null",     "a boolean", "a number",
                                        "a string", "an array",  "an object"};
    return (unsigned)t < sizeof(names) / sizeof(names[0]) ? names[t] : "?";
}

const struct json *json_get(const struct json *obj, const char *key)
{
    if (!obj || !cJSON_IsObject(node(obj)))
        return NULL;
    return face(cJSON_GetObjectItemCaseSensitive(node(obj), key));
}

const struct json *json_child(const struct json *j)
{
    return j ? face(node(j)->child) : NULL;
}

const struct json *json_next(const struct json *j)
{
    return j ? face(node(j)->next) : NULL;
}

const char *json_key(const struct json *j)
{
    return j ? node(j)->string : NULL;
}

int json_size(const struct json *j)
{
    int n = 0;
    for (const struct json *c = json_child(j); c; c = json_next(c))
        n++;
    return n;
}

const char *json_string(const struct json *j)
{
    return j && cJSON_IsString(node(j)) ? node(j)->valuestring : NULL;
}

size_t json_string_len(const struct json *j)
{
    const char *s = json_string(j);
    return s ? strlen(s) : 0;
}

double json_number(const struct json *j)
{
    return j && cJSON_IsNumber(node(j)) ? node(j)->valuedouble : 0;
}

int json_int(const struct json *j, int64_t *v)
{
    if (!j || !cJSON_IsNumber(node(j)))
        return -1;
    double d = node(j)->valuedouble;
    if (!(fabs(d) <= 0x1p53) || d != trunc(d))
        return -1;
    *v = (int64_t)d;
    return 0;
}

int json_bool(const struct json *j)
{
    return j && cJSON_IsTrue(node(j));
}
