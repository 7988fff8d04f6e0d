/* pickle: see pickle.h. A machine with a stack of value numbers and a memo of
 * them; values, elements of tuples and pairs of dicts lie in three arrays that
 * grow as opcodes are read, none by more than a few entries for each byte.
 *
 * SPDX-License-Identifier: MIT */
#include "engine/checkpoint/pickle.h"

#include <stdio.h>
#include <string.h>

#include "engine/base/mem.h"

#define MAX_VALUES ((uint32_t)1 << 21)
#define MAX_NAME 200
#define MARK UINT32_MAX /* on the stack: no value */
#define FIRST_ROOM 64

struct ids {
    uint32_t *v;
    uint32_t n, cap;
};

struct pickle {
    const uint8_t *p;
    size_t n;
    const struct pickle_name *names;
    struct pickle_value *value;
    uint32_t n_values, cap_values;
    struct pickle_pair *pair; /* 0 is none */
    uint32_t n_pairs, cap_pairs;
    struct ids items;
    uint32_t root;
};

/* What reading hands around. */
struct machine {
    struct pickle *k;
    size_t at, op_at; /* the next byte; the opcode that is run */
    struct ids stack, memo;
    int stopped;
    const char *label;
    struct err *e;
};

static int bad(const struct machine *m, const char *what)
{
    return err_set(m->e, ERR_FORMAT, "%s: pickle: %s at byte %zu", m->label,
                   what, m->op_at);
}

/* Room for one more of an array; 0, or -1. */
static int grow(void **p, uint32_t n, uint32_t *cap, size_t bytes,
                const struct machine *m)
{
    if (n < *cap)
        return 0;
    if (n >= 8 * MAX_VALUES)
        return err_set(m->e, ERR_TOO_LARGE, "%s: pickle: too large", m->label);
    uint32_t more = *cap ? *cap * 2 : FIRST_ROOM;
    void *q = mem_grow(*p, more, bytes);
    if (!q)
        return err_nomem(m->e);
    *p = q;
    *cap = more;
    return 0;
}

static int add_id(const struct machine *m, struct ids *l, uint32_t id)
{
    void *p = l->v;
    int rc = grow(&p, l->n, &l->cap, sizeof *l->v, m);
    l->v = p;
    if (rc == 0)
        l->v[l->n++] = id;
    return rc;
}

static int push(struct machine *m, const struct pickle_value *v)
{
    struct pickle *k = m->k;
    void *p = k->value;
    if (k->n_values >= MAX_VALUES)
        return err_set(m->e, ERR_TOO_LARGE, "%s: pickle: more than %u values",
                       m->label, MAX_VALUES);
    int rc = grow(&p, k->n_values, &k->cap_values, sizeof *v, m);
    k->value = p;
    if (rc)
        return rc;
    k->value[k->n_values] = *v;
    return add_id(m, &m->stack, k->n_values++);
}

static int push_kind(struct machine *m, enum pickle_kind kind)
{
    return push(m, &(struct pickle_value){.kind = (uint8_t)kind});
}

static int push_int(struct machine *m, enum pickle_kind kind, int64_t i)
{
    return push(m, &(struct pickle_value){.kind = (uint8_t)kind, .i = i});
}

/* The next n bytes, or NULL: the pickle ends before. */
static const uint8_t *take(struct machine *m, size_t n)
{
    if (n > m->k->n - m->at) {
        bad(m, "cut short");
        return NULL;
    }
    m->at += n;
    return m->k->p + m->at - n;
}

static int take_number(struct machine *m, int bytes, uint64_t *out)
{
    const uint8_t *p = take(m, (size_t)bytes);
    uint64_t v = 0;
    if (!p)
        return -1;
    for (int i = bytes - 1; i >= 0; i--)
        v = v << 8 | p[i];
    *out = v;
    return 0;
}

/* The top of the stack: no mark. NULL with the message. */
static struct pickle_value *top(struct machine *m)
{
    uint32_t id = m->stack.n ? m->stack.v[m->stack.n - 1] : MARK;
    if (id != MARK)
        return &m->k->value[id];
    bad(m, "nothing on the stack");
    return NULL;
}

static int pop(struct machine *m, uint32_t *id)
{
    if (!top(m))
        return -1;
    *id = m->stack.v[--m->stack.n];
    return 0;
}

/* Takes the mark and what is above it off the stack, and leaves it in the
 * array: ids [first, first + n). */
static int pop_to_mark(struct machine *m, uint32_t *first, uint32_t *n)
{
    uint32_t i = m->stack.n;
    while (i > 0 && m->stack.v[i - 1] != MARK)
        i--;
    if (i == 0)
        return bad(m, "no mark");
    *first = i;
    *n = m->stack.n - i;
    m->stack.n = i - 1;
    return 0;
}

/* --- names --- */

/* A line without its end; 0 or -1. */
static int take_line(struct machine *m, const char **text, size_t *n)
{
    const uint8_t *p = m->k->p + m->at;
    size_t left = m->k->n - m->at;
    const uint8_t *end = memchr(p, '\n', left < MAX_NAME ? left : MAX_NAME);
    if (!end)
        return bad(m, "a name without end");
    *text = (const char *)p;
    *n = (size_t)(end - p);
    m->at += *n + 1;
    return 0;
}

static int refuse_name(const struct machine *m, char *name)
{
    for (char *c = name; *c; c++)
        if (*c <= ' ' || *c >= 127)
            *c = '?';
    return err_set(m->e, ERR_UNSUPPORTED,
                   "%s: pickle: needs '%.100s', which is not read: only what "
                   "torch.save(model.state_dict()) writes",
                   m->label, name);
}

static int op_name(struct machine *m)
{
    const char *module = "", *name = "";
    size_t nm = 0, nn = 0;
    char full[2 * MAX_NAME + 2];
    if (take_line(m, &module, &nm) || take_line(m, &name, &nn))
        return -1;
    snprintf(full, sizeof full, "%.*s.%.*s", (int)nm, module, (int)nn, name);
    for (int i = 0; m->k->names[i].name; i++)
        if (strcmp(m->k->names[i].name, full) == 0)
            return push(m, &(struct pickle_value){.kind = PICKLE_NAME,
                                                  .name = (uint8_t)i});
    return refuse_name(m, full);
}

/* --- what is made of others --- */

/* n ids of the stack, from `first`, which is off it already, as elements. */
static int push_tuple(struct machine *m, uint32_t first, uint32_t n)
{
    struct ids *items = &m->k->items;
    const struct pickle_value v = {
        .kind = PICKLE_TUPLE, .n = n, .at = items->n};
    for (uint32_t i = 0; i < n; i++)
        if (add_id(m, items, m->stack.v[first + i]))
            return -1;
    return push(m, &v);
}

static int op_tuple(struct machine *m, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++)
        if (m->stack.n < n || m->stack.v[m->stack.n - 1 - i] == MARK)
            return bad(m, "nothing on the stack");
    m->stack.n -= n;
    return push_tuple(m, m->stack.n, n);
}

static int op_mark_tuple(struct machine *m)
{
    uint32_t first = 0, n = 0;
    return pop_to_mark(m, &first, &n) ? -1 : push_tuple(m, first, n);
}

static int add_pair(struct machine *m, uint32_t dict, uint32_t key,
                    uint32_t value)
{
    struct pickle *k = m->k;
    struct pickle_value *d = &k->value[dict];
    void *p = k->pair;
    int rc = grow(&p, k->n_pairs, &k->cap_pairs, sizeof *k->pair, m);
    k->pair = p;
    if (rc)
        return rc;
    k->pair[k->n_pairs] = (struct pickle_pair){key, value, 0};
    if (d->n++)
        k->pair[d->last].next = k->n_pairs;
    else
        d->at = k->n_pairs;
    d->last = k->n_pairs++;
    return 0;
}

/* Keys and values, ids [first, first + n) of the stack, off it already. */
static int set_items(struct machine *m, uint32_t first, uint32_t n)
{
    const struct pickle_value *d = top(m);
    if (!d || d->kind != PICKLE_DICT || n % 2)
        return bad(m, "pairs for what is no dict");
    uint32_t dict = m->stack.v[m->stack.n - 1];
    for (uint32_t i = 0; i < n; i += 2)
        if (add_pair(m, dict, m->stack.v[first + i], m->stack.v[first + i + 1]))
            return -1;
    return 0;
}

static int op_set_item(struct machine *m)
{
    uint32_t key = 0, value = 0;
    return pop(m, &value) || pop(m, &key) || set_items(m, m->stack.n, 2) ? -1
                                                                         : 0;
}

static int op_set_items(struct machine *m)
{
    uint32_t first = 0, n = 0;
    return pop_to_mark(m, &first, &n) || set_items(m, first, n) ? -1 : 0;
}

static int op_append(struct machine *m, int many)
{
    uint32_t first = 0, n = 0;
    if (many ? pop_to_mark(m, &first, &n) : pop(m, &first))
        return -1;
    const struct pickle_value *l = top(m);
    return l && l->kind == PICKLE_LIST ? 0
                                       : bad(m, "elements for what is no list");
}

static int op_call(struct machine *m)
{
    uint32_t id = 0, callee = 0;
    if (pop(m, &id) || pop(m, &callee))
        return -1;
    struct pickle_value args = m->k->value[id];
    const struct pickle_value *f = &m->k->value[callee];
    if (args.kind != PICKLE_TUPLE || f->kind != PICKLE_NAME)
        return bad(m, "a call of what is no name");
    if (m->k->names[f->name].makes_dict)
        return args.n ? bad(m, "a dict with arguments")
                      : push_kind(m, PICKLE_DICT);
    args.kind = PICKLE_CALL;
    args.name = f->name;
    return push(m, &args);
}

static int op_persist(struct machine *m)
{
    uint32_t id = 0;
    if (pop(m, &id))
        return -1;
    struct pickle_value v = m->k->value[id];
    if (v.kind != PICKLE_TUPLE)
        return bad(m, "a persistent id that is no tuple");
    v.kind = PICKLE_PERSIST;
    return push(m, &v);
}

/* Attributes of an ordered dict (its _metadata): dropped. */
static int op_build(struct machine *m)
{
    uint32_t state = 0;
    if (pop(m, &state))
        return -1;
    const struct pickle_value *d = top(m);
    return d && d->kind == PICKLE_DICT && m->k->value[state].kind == PICKLE_DICT
               ? 0
               : bad(m, "attributes for what is no dict");
}

/* --- the memo --- */

static int op_put(struct machine *m, int bytes)
{
    uint64_t i = 0;
    if (take_number(m, bytes, &i) || !top(m))
        return -1;
    uint32_t id = m->stack.v[m->stack.n - 1];
    if (i > m->memo.n)
        return bad(m, "a memo with a hole");
    if (i == m->memo.n)
        return add_id(m, &m->memo, id);
    m->memo.v[i] = id;
    return 0;
}

static int op_get(struct machine *m, int bytes)
{
    uint64_t i = 0;
    if (take_number(m, bytes, &i))
        return -1;
    return i < m->memo.n ? add_id(m, &m->stack, m->memo.v[i])
                         : bad(m, "nothing in the memo");
}

/* --- numbers and strings --- */

static int op_int(struct machine *m, int bytes)
{
    uint64_t v = 0;
    if (take_number(m, bytes, &v))
        return -1;
    return push_int(m, PICKLE_INT,
                    bytes == 4 ? (int64_t)(int32_t)(uint32_t)v : (int64_t)v);
}

/* Little-endian two's complement of up to 8 bytes. */
static int op_long(struct machine *m)
{
    uint64_t n = 0, v = 0;
    if (take_number(m, 1, &n))
        return -1;
    if (n > 8)
        return bad(m, "an integer of more than 64 bits");
    if (take_number(m, (int)n, &v))
        return -1;
    int shift = 64 - 8 * (int)n;
    return push_int(m, PICKLE_INT, n ? (int64_t)(v << shift) >> shift : 0);
}

static int op_string(struct machine *m)
{
    uint64_t n = 0;
    if (take_number(m, 4, &n) || !take(m, (size_t)n))
        return -1;
    if (m->at > UINT32_MAX)
        return bad(m, "a string too far away");
    return push(m, &(struct pickle_value){.kind = PICKLE_STRING,
                                          .n = (uint32_t)n,
                                          .at = (uint32_t)(m->at - n)});
}

static int op_stop(struct machine *m)
{
    if (m->stack.n != 1 || pop(m, &m->k->root))
        return bad(m, "ends with other than one value");
    m->stopped = 1;
    return m->at == m->k->n ? 0 : bad(m, "bytes after the end");
}

/* The opcodes, by their characters in pickletools.py. */
static int run(struct machine *m, uint8_t op)
{
    switch (op) {
    case 'N':
        return push_kind(m, PICKLE_NONE);
    case 0x88:
    case 0x89:
        return push_int(m, PICKLE_BOOL, op == 0x88);
    case 'K':
        return op_int(m, 1);
    case 'M':
        return op_int(m, 2);
    case 'J':
        return op_int(m, 4);
    case 0x8a:
        return op_long(m);
    case 'G':
        return take(m, 8) ? push_kind(m, PICKLE_FLOAT) : -1;
    case 'X':
        return op_string(m);
    case '(':
        return add_id(m, &m->stack, MARK);
    case ')':
        return push_tuple(m, 0, 0);
    case 't':
        return op_mark_tuple(m);
    case 0x85:
    case 0x86:
    case 0x87:
        return op_tuple(m, op - 0x84u);
    case ']':
        return push_kind(m, PICKLE_LIST);
    case 'a':
    case 'e':
        return op_append(m, op == 'e');
    case '}':
        return push_kind(m, PICKLE_DICT);
    case 's':
        return op_set_item(m);
    case 'u':
        return op_set_items(m);
    case 'q':
        return op_put(m, 1);
    case 'r':
        return op_put(m, 4);
    case 'h':
        return op_get(m, 1);
    case 'j':
        return op_get(m, 4);
    case 'c':
        return op_name(m);
    case 'R':
        return op_call(m);
    case 'Q':
        return op_persist(m);
    case 'b':
        return op_build(m);
    case '.':
        return op_stop(m);
    default:
        return err_set(m->e, ERR_UNSUPPORTED,
                       "%s: pickle: opcode 0x%02x at byte %zu is not read",
                       m->label, op, m->op_at);
    }
}

static int read_all(struct machine *m)
{
    const uint8_t *head = take(m, 2);
    if (!head || head[0] != 0x80)
        return bad(m, "no protocol");
    if (head[1] != 2)
        return err_set(m->e, ERR_UNSUPPORTED,
                       "%s: pickle: protocol %d, expected 2", m->label,
                       head[1]);
    m->k->n_pairs = 1; /* so that 0 is none; the row itself is not used */
    while (!m->stopped) {
        m->op_at = m->at;
        const uint8_t *op = take(m, 1);
        if (!op || run(m, *op))
            return -1;
    }
    return 0;
}

int pickle_parse(const uint8_t *p, size_t n, const char *label,
                 const struct pickle_name *names, struct pickle **out,
                 struct err *e)
{
    struct machine m = {.label = label, .e = e};
    *out = NULL;
    m.k = mem_zalloc(sizeof *m.k);
    if (!m.k)
        return err_nomem(e);
    m.k->p = p;
    m.k->n = n;
    m.k->names = names;
    int rc = read_all(&m);
    mem_free(m.stack.v);
    mem_free(m.memo.v);
    if (rc) {
        pickle_free(m.k);
        return -1;
    }
    *out = m.k;
    return 0;
}

void pickle_free(struct pickle *k)
{
    if (!k)
        return;
    mem_free(k->value);
    mem_free(k->pair);
    mem_free(k->items.v);
    mem_free(k);
}

const struct pickle_value *pickle_root(const struct pickle *k)
{
    return &k->value[k->root];
}

const struct pickle_value *pickle_item(const struct pickle *k,
                                       const struct pickle_value *v, size_t i)
{
    int has = v->kind == PICKLE_TUPLE || v->kind == PICKLE_CALL ||
              v->kind == PICKLE_PERSIST;
    return has && i < v->n ? &k->value[k->items.v[v->at + i]] : NULL;
}

const struct pickle_pair *pickle_first(const struct pickle *k,
                                       const struct pickle_value *v)
{
    return v->kind == PICKLE_DICT && v->n ? &k->pair[v->at] : NULL;
}

const struct pickle_pair *pickle_next(const struct pickle *k,
                                      const struct pickle_pair *p)
{
    return p->next ? &k->pair[p->next] : NULL;
}

const struct pickle_value *pickle_at(const struct pickle *k, uint32_t id)
{
    return &k->value[id];
}

const char *pickle_text(const struct pickle *k, const struct pickle_value *v)
{
    return (const char *)k->p + v->at;
}

int pickle_is(const struct pickle *k, const struct pickle_value *v,
              const char *text)
{
    return v->kind == PICKLE_STRING && v->n == strlen(text) &&
           memcmp(pickle_text(k, v), text, v->n) == 0;
}
