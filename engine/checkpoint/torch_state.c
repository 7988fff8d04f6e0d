/* torch_state: see torch_state.h. The pickle is read into a tree, the tree's
 * calls are then understood here: what _rebuild_tensor_v2(storage, offset,
 * size, stride, requires_grad, hooks) describes becomes a view of the mapping.
 * Source: torch/serialization.py and torch/_utils.py of PyTorch 2.5.
 *
 * SPDX-License-Identifier: MIT */
#include "engine/checkpoint/torch_state.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/mem.h"
#include "engine/base/utf8.h"
#include "engine/checkpoint/pickle.h"
#include "engine/checkpoint/zip_file.h"

#define MAX_PICKLE ((size_t)16 << 20)
#define MAX_TENSORS 65536
#define MAX_NAME 256
#define MAX_PREFIX 128
#define MAX_KEY 64
#define MAX_PATH (MAX_PREFIX + MAX_KEY + 16)
#define TAR_MAGIC 257 /* offset of "ustar" (POSIX.1 ustar) */

struct torch_state {
    struct tensor *t; /* [n] */
    int n;
    char *names;   /* of all, each with its NUL */
    void **copies; /* [n_copies] of tensors that are not contiguous */
    int n_copies;
};

/* Rows of the table of names, and the type of a storage. */
enum { DICT, TENSOR, PARAMETER, FIRST_STORAGE };

static const struct pickle_name names[] = {
    {"collections.OrderedDict", 1},
    {"torch._utils._rebuild_tensor_v2", 0},
    {"torch._utils._rebuild_parameter", 0},
    {"torch.FloatStorage", 0},
    {"torch.HalfStorage", 0},
    {"torch.BFloat16Storage", 0},
    {"torch.DoubleStorage", 0},
    {"torch.LongStorage", 0},
    {"torch.IntStorage", 0},
    {"torch.ByteStorage", 0},
    {"torch.BoolStorage", 0},
    {NULL, 0},
};

static const enum dtype storage_dtype[] = {DT_F32, DT_F16, DT_BF16, DT_F64,
                                           DT_I64, DT_I32, DT_U8,   DT_U8};

/* What parsing one file hands around. */
struct parse {
    const char *label;
    struct err *e;
    size_t bytes; /* of the file: what copies may take */
    size_t copied;
    char prefix[MAX_PREFIX + 1]; /* of the entries */
    struct zip_file *zip;
    struct pickle *k;
    struct torch_state *s;
};

static int bad(const struct parse *p, const struct tensor *t,
               enum err_code code, const char *what)
{
    return err_set(p->e, code, "%s: tensor '%.64s' %s", p->label, t->name,
                   what);
}

/* --- forms --- */

static int ends_with(const char *s, const char *suffix)
{
    size_t n = strlen(s), m = strlen(suffix);
    return n > m && strcmp(s + n - m, suffix) == 0;
}

static int starts_with(const uint8_t *p, size_t n, const char *s, size_t len)
{
    return n >= len && memcmp(p, s, len) == 0;
}

int torch_state_is(const char *name, const uint8_t *head, size_t n)
{
    if (starts_with(head, n, "GGUF", 4))
        return 0;
    return ends_with(name, ".pt") || ends_with(name, ".pth") ||
           ends_with(name, ".bin") || starts_with(head, n, "PK\3\4", 4) ||
           starts_with(head, n, "\x80\2", 2);
}

static int refuse_form(const struct parse *p, const uint8_t *map, size_t n)
{
    if (starts_with(map, n, "\x80\2", 2))
        return err_set(p->e, ERR_UNSUPPORTED,
                       "%s: is a bare pickle, the form of torch before 1.6, "
                       "expected its zip: load it and torch.save it again",
                       p->label);
    if (n > TAR_MAGIC &&
        starts_with(map + TAR_MAGIC, n - TAR_MAGIC, "ustar", 5))
        return err_set(p->e, ERR_UNSUPPORTED,
                       "%s: is a tar, the form of torch before 0.2, expected "
                       "its zip: load it and torch.save it again",
                       p->label);
    return err_set(p->e, ERR_FORMAT,
                   "%s: does not begin as a zip: not a file of torch.save",
                   p->label);
}

/* The bytes of an entry; NULL: none of that name. */
static const uint8_t *entry(const struct parse *p, const char *folder,
                            const char *name, size_t len, size_t *n)
{
    char path[MAX_PATH];
    snprintf(path, sizeof path, "%s/%s%.*s", p->prefix, folder, (int)len, name);
    return zip_file_find(p->zip, path, n);
}

static const uint8_t *own_entry(const struct parse *p, const char *name,
                                size_t *n)
{
    return entry(p, "", name, strlen(name), n);
}

/* All entries lie in a folder that is named after the file. */
static int find_prefix(struct parse *p)
{
    size_t n;
    const char *first = zip_file_first(p->zip, &n);
    const char *slash = n ? memchr(first, '/', n) : NULL;
    size_t len = slash ? (size_t)(slash - first) : 0;
    if (len == 0 || len > MAX_PREFIX)
        return err_set(p->e, ERR_FORMAT,
                       "%s: zip: no folder of torch in it (data.pkl)",
                       p->label);
    memcpy(p->prefix, first, len);
    p->prefix[len] = 0;
    return 0;
}

static int check_archive(const struct parse *p)
{
    size_t n;
    char program[MAX_PATH];
    snprintf(program, sizeof program, "%s/constants.pkl", p->prefix);
    if (zip_file_has(p->zip, program))
        return err_set(p->e, ERR_UNSUPPORTED,
                       "%s: is a TorchScript program, expected what "
                       "torch.save(model.state_dict()) writes",
                       p->label);
    if (zip_file_stored(p->zip, p->label, p->e))
        return -1;
    const uint8_t *order = own_entry(p, "byteorder", &n);
    if (order && (n != 6 || memcmp(order, "little", 6) != 0))
        return err_set(p->e, ERR_UNSUPPORTED,
                       "%s: byteorder is '%.8s', expected 'little'", p->label,
                       n == 3 && memcmp(order, "big", 3) == 0 ? "big" : "?");
    return 0;
}

static int read_pickle(struct parse *p)
{
    size_t n;
    const uint8_t *data = own_entry(p, "data.pkl", &n);
    if (!data)
        return err_set(p->e, ERR_FORMAT, "%s: zip: entry 'data.pkl' is missing",
                       p->label);
    if (n > MAX_PICKLE)
        return err_set(p->e, ERR_TOO_LARGE,
                       "%s: data.pkl of %zu bytes, at most %zu", p->label, n,
                       MAX_PICKLE);
    return pickle_parse(data, n, p->label, names, &p->k, p->e);
}

/* --- one tensor --- */

static int is_int(const struct pickle_value *v)
{
    return v && v->kind == PICKLE_INT;
}

/* ("storage", type, key, place, elements): its bytes and how many there are. */
static int read_storage(const struct parse *p, const struct pickle_value *v,
                        struct tensor *t, const uint8_t **data,
                        uint64_t *elements)
{
    if (!v || v->kind != PICKLE_PERSIST || v->n != 5 ||
        !pickle_is(p->k, pickle_item(p->k, v, 0), "storage"))
        return bad(p, t, ERR_FORMAT, "has no storage");
    const struct pickle_value *type = pickle_item(p->k, v, 1);
    const struct pickle_value *key = pickle_item(p->k, v, 2);
    const struct pickle_value *n = pickle_item(p->k, v, 4);
    size_t bytes = 0;
    if (type->kind != PICKLE_NAME || type->name < FIRST_STORAGE ||
        key->kind != PICKLE_STRING || key->n > MAX_KEY || !is_int(n) ||
        n->i < 0)
        return bad(p, t, ERR_FORMAT, "has no proper storage");
    t->dtype = storage_dtype[type->name - FIRST_STORAGE];
    *data = entry(p, "data/", pickle_text(p->k, key), key->n, &bytes);
    if (!*data)
        return bad(p, t, ERR_FORMAT, "has a storage that is not in the file");
    *elements = (uint64_t)n->i;
    if (bytes % dtype_bytes(t->dtype) ||
        *elements != bytes / dtype_bytes(t->dtype))
        return bad(p, t, ERR_FORMAT, "has a storage of another length");
    return 0;
}

/* Where the elements are. */
struct layout {
    int64_t stride[TENSOR_MAX_DIMS];
    uint64_t n, last; /* elements; place of the last one */
    int contiguous;
};

/* Sizes and strides of l, which begins as that of one element; no overflow. */
static int read_layout(const struct parse *p, const struct pickle_value *size,
                       const struct pickle_value *stride, struct tensor *t,
                       struct layout *l)
{
    if (!size || !stride || size->kind != PICKLE_TUPLE ||
        stride->kind != PICKLE_TUPLE || size->n != stride->n)
        return bad(p, t, ERR_FORMAT, "has no size and stride");
    if (size->n > TENSOR_MAX_DIMS)
        return bad(p, t, ERR_FORMAT, "has more than 8 dimensions");
    t->n_dims = (int)size->n;
    for (int i = t->n_dims - 1; i >= 0; i--) {
        const struct pickle_value *d = pickle_item(p->k, size, (size_t)i);
        const struct pickle_value *s = pickle_item(p->k, stride, (size_t)i);
        int64_t far = 0;
        if (!is_int(d) || !is_int(s) || d->i < 0 || s->i < 0)
            return bad(p, t, ERR_FORMAT, "has a bad dimension or stride");
        t->dim[i] = d->i;
        l->stride[i] = s->i;
        if (d->i != 1 && (uint64_t)s->i != l->n)
            l->contiguous = 0;
        if ((d->i > 1 && __builtin_mul_overflow(d->i - 1, s->i, &far)) ||
            __builtin_add_overflow(l->last, (uint64_t)far, &l->last) ||
            __builtin_mul_overflow(l->n, (uint64_t)d->i, &l->n))
            return bad(p, t, ERR_FORMAT, "is too large");
    }
    return 0;
}

/* The elements in the order of their indices. */
static void gather(const struct tensor *t, const struct layout *l,
                   const uint8_t *from, uint8_t *to)
{
    int64_t index[TENSOR_MAX_DIMS] = {0};
    const size_t size = dtype_bytes(t->dtype);
    uint64_t at = 0;
    for (uint64_t i = 0; i < l->n; i++) {
        memcpy(to + i * size, from + at * size, size);
        for (int d = t->n_dims - 1; d >= 0; d--) {
            at += (uint64_t)l->stride[d];
            if (++index[d] < t->dim[d])
                break;
            at -= (uint64_t)(l->stride[d] * t->dim[d]);
            index[d] = 0;
        }
    }
}

static int copy(struct parse *p, const struct layout *l, const uint8_t *from,
                struct tensor *t)
{
    if (t->bytes > p->bytes - p->copied)
        return bad(p, t, ERR_TOO_LARGE,
                   "is a view that repeats its elements: save it with "
                   ".contiguous()");
    uint8_t *to = mem_alloc(t->bytes);
    if (!to)
        return err_nomem(p->e);
    p->copied += t->bytes;
    p->s->copies[p->s->n_copies++] = to;
    gather(t, l, from, to);
    t->data = to;
    return 0;
}

/* _rebuild_tensor_v2's arguments. */
static int read_tensor(struct parse *p, const struct pickle_value *v,
                       struct tensor *t)
{
    const struct pickle_value *more = pickle_item(p->k, v, 6);
    const struct pickle_value *offset = pickle_item(p->k, v, 1);
    const uint8_t *data = NULL;
    uint64_t room = 0, at = 0;
    struct layout l = {.n = 1, .contiguous = 1};
    if (v->n < 6 || v->n > 7 || !is_int(offset) || offset->i < 0 ||
        (more && more->kind != PICKLE_NONE))
        return bad(p, t, ERR_UNSUPPORTED, "is not rebuilt in the usual way");
    if (read_storage(p, pickle_item(p->k, v, 0), t, &data, &room) ||
        read_layout(p, pickle_item(p->k, v, 2), pickle_item(p->k, v, 3), t, &l))
        return -1;
    if (__builtin_add_overflow((uint64_t)offset->i, l.last, &at) ||
        (l.n ? at >= room : (uint64_t)offset->i > room))
        return bad(p, t, ERR_FORMAT, "reaches past its storage");
    const size_t size = dtype_bytes(t->dtype);
    if (__builtin_mul_overflow(l.n, size, &t->bytes))
        return bad(p, t, ERR_FORMAT, "is too large");
    data += (size_t)offset->i * size;
    t->data = data;
    return l.contiguous || l.n == 0 ? 0 : copy(p, &l, data, t);
}

/* --- the dict --- */

static int is_call(const struct pickle_value *v, int name)
{
    return v && v->kind == PICKLE_CALL && v->name == name;
}

/* A parameter is the tensor in it. */
static int read_value(struct parse *p, const struct pickle_value *v,
                      struct tensor *t)
{
    if (is_call(v, PARAMETER))
        v = pickle_item(p->k, v, 0);
    if (!is_call(v, TENSOR))
        return bad(p, t, ERR_UNSUPPORTED,
                   "is no tensor, expected nothing else in a state dict");
    return read_tensor(p, v, t);
}

/* The names, and room for the tensors; *bytes of names are used. */
static int read_name(struct parse *p, const struct pickle_value *key, char *to)
{
    if (key->kind != PICKLE_STRING || key->n == 0 || key->n > MAX_NAME ||
        !utf8_valid(pickle_text(p->k, key), key->n) ||
        memchr(pickle_text(p->k, key), 0, key->n))
        return err_set(p->e, ERR_FORMAT,
                       "%s: a key of the state dict is no name of 1..%d bytes",
                       p->label, MAX_NAME);
    memcpy(to, pickle_text(p->k, key), key->n);
    to[key->n] = 0;
    return 0;
}

static int by_name(const void *a, const void *b)
{
    const char *const *x = a, *const *y = b;
    return strcmp(*x, *y);
}

static int check_unique(const struct parse *p)
{
    int n = p->s->n, twice = -1;
    const char **name = mem_array((size_t)n + 1, sizeof *name);
    if (!name)
        return err_nomem(p->e);
    for (int i = 0; i < n; i++)
        name[i] = p->s->t[i].name;
    qsort((void *)name, (size_t)n, sizeof *name, by_name);
    for (int i = 1; i < n; i++)
        if (strcmp(name[i - 1], name[i]) == 0)
            twice = i;
    if (twice >= 0)
        err_set(p->e, ERR_FORMAT, "%s: tensor '%.64s' is there twice", p->label,
                name[twice]);
    mem_free((void *)name);
    return twice >= 0 ? -1 : 0;
}

static int read_dict(struct parse *p, const struct pickle_value *dict)
{
    struct torch_state *s = p->s;
    size_t text = 0;
    if (dict->n > MAX_TENSORS)
        return err_set(p->e, ERR_FORMAT, "%s: %u tensors, at most %d", p->label,
                       dict->n, MAX_TENSORS);
    const struct pickle_pair *a = pickle_first(p->k, dict);
    for (; a; a = pickle_next(p->k, a))
        text += (size_t)(pickle_at(p->k, a->key)->n < MAX_NAME
                             ? pickle_at(p->k, a->key)->n
                             : MAX_NAME) +
                1;
    s->t = mem_zarray((size_t)dict->n + 1, sizeof *s->t);
    s->copies = mem_zarray((size_t)dict->n + 1, sizeof *s->copies);
    s->names = mem_alloc(text + 1);
    if (!s->t || !s->copies || !s->names)
        return err_nomem(p->e);
    char *to = s->names;
    for (a = pickle_first(p->k, dict); a; a = pickle_next(p->k, a)) {
        struct tensor *t = &s->t[s->n];
        if (read_name(p, pickle_at(p->k, a->key), to))
            return -1;
        t->name = to;
        to += strlen(to) + 1;
        if (read_value(p, pickle_at(p->k, a->value), t))
            return -1;
        s->n++;
    }
    return check_unique(p);
}

/* What training loops call the state dict beside their other things: PyTorch's
 * tutorials, its example of ImageNet (Lightning, too), torchvision's and
 * nanoGPT's trainers. */
static int is_dict_name(const struct parse *p, const struct pickle_value *key)
{
    return pickle_is(p->k, key, "model_state_dict") ||
           pickle_is(p->k, key, "state_dict") || pickle_is(p->k, key, "model");
}

/* The dict itself, or the one in it that is named as a state dict. */
static int find_dict(const struct parse *p, const struct pickle_value **out)
{
    const struct pickle_value *root = pickle_root(p->k), *found = NULL;
    if (root->kind != PICKLE_DICT)
        return err_set(p->e, ERR_UNSUPPORTED,
                       "%s: holds no dict, expected a state dict", p->label);
    const struct pickle_pair *a = pickle_first(p->k, root);
    for (; a; a = pickle_next(p->k, a)) {
        const struct pickle_value *key = pickle_at(p->k, a->key);
        const struct pickle_value *v = pickle_at(p->k, a->value);
        if (v->kind != PICKLE_DICT || !is_dict_name(p, key))
            continue;
        if (found)
            return err_set(p->e, ERR_UNSUPPORTED,
                           "%s: holds two state dicts, expected one", p->label);
        found = v;
    }
    *out = found ? found : root;
    return 0;
}

static int read_all(struct parse *p, const uint8_t *map)
{
    const struct pickle_value *dict = NULL;
    if (!starts_with(map, p->bytes, "PK\3\4", 4))
        return refuse_form(p, map, p->bytes);
    if (zip_file_parse(map, p->bytes, p->label, &p->zip, p->e) ||
        find_prefix(p) || check_archive(p) || read_pickle(p) ||
        find_dict(p, &dict))
        return -1;
    return read_dict(p, dict);
}

int torch_state_parse(const uint8_t *map, size_t bytes, const char *label,
                      struct torch_state **out, struct err *e)
{
    struct parse p = {.label = label, .e = e, .bytes = bytes};
    *out = NULL;
    p.s = mem_zalloc(sizeof *p.s);
    if (!p.s)
        return err_nomem(e);
    int rc = read_all(&p, map);
    pickle_free(p.k);
    zip_file_free(p.zip);
    if (rc) {
        torch_state_free(p.s);
        return -1;
    }
    *out = p.s;
    return 0;
}

void torch_state_free(struct torch_state *t)
{
    if (!t)
        return;
    for (int i = 0; i < t->n_copies; i++)
        mem_free(t->copies[i]);
    mem_free(t->copies);
    mem_free(t->names);
    mem_free(t->t);
    mem_free(t);
}

int torch_state_count(const struct torch_state *t)
{
    return t->n;
}

const struct tensor *torch_state_at(const struct torch_state *t, int i)
{
    return i >= 0 && i < t->n ? &t->t[i] : NULL;
}
