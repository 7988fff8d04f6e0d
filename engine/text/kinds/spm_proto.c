/* spm_proto: see spm_proto.h.
 *
 * SPDX-License-Identifier: MIT */
#include "engine/text/kinds/spm_proto.h"

#include <math.h>
#include <string.h>

#include "engine/base/mem.h"
#include "engine/base/utf8.h"

#define MAX_PIECES (1 << 22) /* as of any vocabulary (tok_vocab.c) */

/* Wire types. */
enum wire { WIRE_VARINT = 0, WIRE_64 = 1, WIRE_BYTES = 2, WIRE_32 = 5 };

/* A message under way: bytes at to end of the file. */
struct message {
    const uint8_t *at, *end;
    const char *name; /* in errors */
    const char *label;
    struct err *e;
};

/* A field: of bytes p [n], of other wire types v. */
struct field {
    uint64_t number, v;
    enum wire wire;
    const uint8_t *p;
    size_t n;
};

static int bad(const struct message *m, const char *what)
{
    return err_set(m->e, ERR_FORMAT, "%s: %s %s", m->label, m->name, what);
}

static int take_varint(struct message *m, uint64_t *v)
{
    *v = 0;
    for (unsigned shift = 0; m->at < m->end && shift < 70; shift += 7) {
        uint8_t b = *m->at++;
        if (shift == 63 && b > 1)
            return bad(m, "has a number of over 64 bits");
        *v |= (uint64_t)(b & 0x7f) << shift;
        if (!(b & 0x80))
            return 0;
    }
    return bad(m, "is cut short in a number");
}

static int take_fixed(struct message *m, size_t n, uint64_t *v)
{
    if ((size_t)(m->end - m->at) < n)
        return bad(m, "is cut short in a number");
    *v = 0;
    for (size_t i = 0; i < n; i++)
        *v |= (uint64_t)*m->at++ << 8 * i;
    return 0;
}

static int take_bytes(struct message *m, struct field *f)
{
    uint64_t n;
    if (take_varint(m, &n))
        return -1;
    if (n > (uint64_t)(m->end - m->at))
        return bad(m, "has a field that is longer than what is left of it");
    f->p = m->at;
    f->n = (size_t)n;
    m->at += n;
    return 0;
}

/* 1: a field; 0: the message is at its end. */
static int next_field(struct message *m, struct field *f)
{
    uint64_t key;
    if (m->at == m->end)
        return 0;
    if (take_varint(m, &key))
        return -1;
    *f = (struct field){.number = key >> 3, .wire = (enum wire)(key & 7)};
    if (f->number == 0 || f->number >= 1u << 29)
        return bad(m, "has a field whose number is not in 1..2^29-1");
    int rc = -1;
    switch (f->wire) {
    case WIRE_VARINT:
        rc = take_varint(m, &f->v);
        break;
    case WIRE_64:
        rc = take_fixed(m, 8, &f->v);
        break;
    case WIRE_32:
        rc = take_fixed(m, 4, &f->v);
        break;
    case WIRE_BYTES:
        rc = take_bytes(m, f);
        break;
    default: /* groups, which no version of the file has had */
        bad(m, "has a field of an unknown wire type");
    }
    return rc ? -1 : 1;
}

static int need_wire(const struct message *m, const struct field *f,
                     enum wire wire, const char *field)
{
    return f->wire == wire ? 0
                           : err_set(m->e, ERR_FORMAT,
                                     "%s: %s: '%s' has wire type %d, "
                                     "expected %d",
                                     m->label, m->name, field, f->wire, wire);
}

static int take_bool(const struct message *m, const struct field *f,
                     const char *field, int *v)
{
    *v = f->v != 0;
    return need_wire(m, f, WIRE_VARINT, field);
}

/* 1..most */
static int take_choice(const struct message *m, const struct field *f,
                       const char *field, uint64_t most, int *v)
{
    if (need_wire(m, f, WIRE_VARINT, field))
        return -1;
    if (f->v < 1 || f->v > most)
        return err_set(m->e, ERR_FORMAT,
                       "%s: %s: '%s' is %llu, expected 1..%llu", m->label,
                       m->name, field, (unsigned long long)f->v,
                       (unsigned long long)most);
    *v = (int)f->v;
    return 0;
}

static int take_float(const struct message *m, const struct field *f,
                      const char *field, float *v)
{
    uint32_t bits = (uint32_t)f->v;
    if (need_wire(m, f, WIRE_32, field))
        return -1;
    memcpy(v, &bits, sizeof *v);
    return isfinite(*v) ? 0 : bad(m, "has a score that is not finite");
}

/* ------------------------------------------------------------- the messages */

static int read_piece(struct message m, struct spm_piece *p)
{
    struct field f;
    int rc, type = SPM_PIECE_NORMAL;
    while ((rc = next_field(&m, &f)) > 0) {
        if (f.number == 1) {
            rc = need_wire(&m, &f, WIRE_BYTES, "piece");
            p->text = (const char *)f.p;
            p->len = (uint32_t)(f.n < UINT32_MAX ? f.n : UINT32_MAX);
        } else if (f.number == 2) {
            rc = take_float(&m, &f, "score", &p->score);
        } else if (f.number == 3) {
            rc = take_choice(&m, &f, "type", SPM_PIECE_BYTE, &type);
        }
        if (rc < 0)
            return -1;
    }
    p->type = (enum spm_piece_type)type;
    if (rc == 0 && p->len == 0)
        return bad(&m, "has no text");
    if (rc == 0 && !utf8_valid(p->text, p->len))
        return bad(&m, "is not UTF-8");
    return rc;
}

static int read_trainer(struct message m, struct spm_proto *out)
{
    struct field f;
    int rc, model = (int)out->model;
    while ((rc = next_field(&m, &f)) > 0) {
        if (f.number == 3)
            rc = take_choice(&m, &f, "model_type", SPM_MODEL_CHAR, &model);
        else if (f.number == 24)
            rc = take_bool(&m, &f, "treat_whitespace_as_suffix", &out->suffix);
        else if (f.number == 35)
            rc = take_bool(&m, &f, "byte_fallback", &out->fallback);
        if (rc < 0)
            return -1;
    }
    out->model = (enum spm_model_type)model;
    return rc;
}

static int read_normalizer(struct message m, struct spm_proto *out)
{
    struct field f;
    int rc;
    while ((rc = next_field(&m, &f)) > 0) {
        if (f.number == 2) {
            rc = need_wire(&m, &f, WIRE_BYTES, "precompiled_charsmap");
            out->chars = f.p;
            out->n_chars = f.n;
        } else if (f.number == 3) {
            rc = take_bool(&m, &f, "add_dummy_prefix", &out->prefix);
        } else if (f.number == 4) {
            rc = take_bool(&m, &f, "remove_extra_whitespaces", &out->squeeze);
        } else if (f.number == 5) {
            rc = take_bool(&m, &f, "escape_whitespaces", &out->escape);
        }
        if (rc < 0)
            return -1;
    }
    return rc;
}

static int read_denormalizer(struct message m, struct spm_proto *out)
{
    struct spm_proto own = {0};
    if (read_normalizer(m, &own))
        return -1;
    out->denormalize = own.n_chars > 0;
    return 0;
}

/* Room for one more. */
static int grow(struct spm_proto *out, int *cap, const struct message *m)
{
    if (out->n < *cap)
        return 0;
    if (out->n == MAX_PIECES)
        return err_set(m->e, ERR_TOO_LARGE, "%s: more than %d pieces", m->label,
                       MAX_PIECES);
    *cap = *cap ? 2 * *cap : 1024;
    struct spm_piece *v = mem_grow(out->piece, (size_t)*cap, sizeof *v);
    if (!v)
        return err_nomem(m->e);
    out->piece = v;
    return 0;
}

static int read_field(const struct message *m, const struct field *f,
                      struct spm_proto *out, int *cap)
{
    static const char *const names[] = {NULL,           "pieces",
                                        "trainer_spec", "normalizer_spec",
                                        NULL,           "denormalizer_spec"};
    struct message part = *m;
    if (f->number > 5 || !names[f->number])
        return 0;
    if (need_wire(m, f, WIRE_BYTES, names[f->number]))
        return -1;
    part.at = f->p;
    part.end = f->p + f->n;
    part.name = names[f->number];
    if (f->number == 2)
        return read_trainer(part, out);
    if (f->number == 3)
        return read_normalizer(part, out);
    if (f->number == 5)
        return read_denormalizer(part, out);
    if (grow(out, cap, m))
        return -1;
    struct err why = ERR_INIT;
    part.name = "it";
    part.e = &why;
    part.label = "";
    out->piece[out->n] = (struct spm_piece){0};
    if (read_piece(part, &out->piece[out->n]))
        return err_set(m->e, why.code, "%s: piece %d%.120s", m->label, out->n,
                       why.msg);
    out->n++;
    return 0;
}

/* There is exactly one unknown piece. */
static int find_unknown(const struct message *m, struct spm_proto *out)
{
    out->unk = -1;
    for (int i = 0; i < out->n; i++) {
        if (out->piece[i].type != SPM_PIECE_UNKNOWN)
            continue;
        if (out->unk >= 0)
            return err_set(m->e, ERR_FORMAT,
                           "%s: pieces %d and %d are both the unknown one",
                           m->label, out->unk, i);
        out->unk = i;
    }
    return out->unk >= 0 ? 0 : bad(m, "has no unknown piece");
}

int spm_proto_read(struct spm_proto *m, const char *file, size_t n,
                   const char *label, struct err *e)
{
    const uint8_t *p = (const uint8_t *)file;
    struct message all = {p, p + n, "the model", label, e};
    struct field f;
    int rc, cap = 0;
    *m = (struct spm_proto){
        .model = SPM_MODEL_UNIGRAM, .prefix = 1, .squeeze = 1, .escape = 1};
    while ((rc = next_field(&all, &f)) > 0)
        if (read_field(&all, &f, m, &cap))
            return -1;
    return rc ? -1 : find_unknown(&all, m);
}

void spm_proto_fini(struct spm_proto *m)
{
    mem_free(m->piece);
    m->piece = NULL;
    m->n = 0;
}
