/* matrix_pack: the tensors of a checkpoint as panels (matrix_layout.h). A
 * block of the file is first unpacked to one byte per code and its scales,
 * type by type, then placed in the planes of its column: the formats differ
 * only in the first half. Thread-safe.
 *
 * Sources: ggml's ggml-common.h and ggml-quants.c for the blocks.
 *
 * SPDX-License-Identifier: MIT */
#include <string.h>

#include "engine/base/mem.h"
#include "engine/compute/dtype.h"
#include "engine/compute/matrix_layout.h"

/* One block of a file, unpacked: 32 or 256 codes. */
struct block {
    uint8_t code[256];
    uint16_t s, o; /* f16 */
    uint8_t sc[16], mn[16];
};

static uint16_t le16(const uint8_t *p)
{
    return (uint16_t)(p[0] | p[1] << 8);
}

static void nibbles(const uint8_t *q, uint8_t *code)
{
    for (int i = 0; i < 16; i++) {
        code[i] = q[i] & 15;
        code[i + 16] = q[i] >> 4;
    }
}

/* Bit i of 32 becomes 0 or 16. */
static void add_fifth(const uint8_t *bits, uint8_t *code)
{
    for (int i = 0; i < 32; i++)
        code[i] |= (uint8_t)((bits[i / 8] >> (i % 8) & 1) << 4);
}

static void unpack_q8_0(const uint8_t *p, struct block *b)
{
    b->s = le16(p);
    for (int i = 0; i < 32; i++)
        b->code[i] = p[2 + i] ^ 0x80;
}

static void unpack_q4_0(const uint8_t *p, struct block *b)
{
    b->s = le16(p);
    nibbles(p + 2, b->code);
}

static void unpack_q4_1(const uint8_t *p, struct block *b)
{
    b->s = le16(p);
    b->o = le16(p + 2);
    nibbles(p + 4, b->code);
}

static void unpack_q5_0(const uint8_t *p, struct block *b)
{
    b->s = le16(p);
    nibbles(p + 6, b->code);
    add_fifth(p + 2, b->code);
}

static void unpack_q5_1(const uint8_t *p, struct block *b)
{
    b->s = le16(p);
    b->o = le16(p + 2);
    nibbles(p + 8, b->code);
    add_fifth(p + 4, b->code);
}

/* Two bits per code: byte i of 32 holds codes i, i + 32, i + 64, i + 96. */
static void unpack_twos(const uint8_t *q, uint8_t *code)
{
    for (int half = 0; half < 2; half++)
        for (int j = 0; j < 4; j++)
            for (int i = 0; i < 32; i++)
                code[128 * half + 32 * j + i] = q[32 * half + i] >> (2 * j) & 3;
}

static void unpack_q2_k(const uint8_t *p, struct block *b)
{
    memcpy(b->sc, p, 16);
    unpack_twos(p + 16, b->code);
    b->s = le16(p + 80);
    b->o = le16(p + 82);
}

/* The 16 scales of six bits: low nibbles in bytes 0 to 7, two high bits in
 * bytes 8 to 11. They are offset by 32. */
static void unpack_q3_k(const uint8_t *p, struct block *b)
{
    const uint8_t *s = p + 96;

    unpack_twos(p + 32, b->code);
    for (int j = 0; j < 8; j++)
        for (int i = 0; i < 32; i++)
            b->code[32 * j + i] |= (uint8_t)((p[i] >> j & 1) << 2);
    for (int i = 0; i < 16; i++) {
        int low = i < 8 ? s[i] & 15 : s[i - 8] >> 4;
        int high = s[8 + i % 4] >> (2 * (i / 4)) & 3;

        b->sc[i] = (uint8_t)((low | high << 4) - 32);
    }
    b->s = le16(p + 108);
}

/* Eight scales and eight minima of six bits in 12 bytes. */
static void unpack_scales_k4(const uint8_t *s, struct block *b)
{
    for (int i = 0; i < 4; i++) {
        b->sc[i] = s[i] & 63;
        b->mn[i] = s[i + 4] & 63;
        b->sc[i + 4] = (uint8_t)((s[i + 8] & 15) | s[i] >> 6 << 4);
        b->mn[i + 4] = (uint8_t)(s[i + 8] >> 4 | s[i + 4] >> 6 << 4);
    }
}

/* Byte i of 32 holds codes i and i + 32 of 64. */
static void unpack_fours(const uint8_t *q, uint8_t *code)
{
    for (int j = 0; j < 4; j++)
        for (int i = 0; i < 32; i++) {
            code[64 * j + i] = q[32 * j + i] & 15;
            code[64 * j + 32 + i] = q[32 * j + i] >> 4;
        }
}

static void unpack_q4_k(const uint8_t *p, struct block *b)
{
    b->s = le16(p);
    b->o = le16(p + 2);
    unpack_scales_k4(p + 4, b);
    unpack_fours(p + 16, b->code);
}

static void unpack_q5_k(const uint8_t *p, struct block *b)
{
    b->s = le16(p);
    b->o = le16(p + 2);
    unpack_scales_k4(p + 4, b);
    unpack_fours(p + 48, b->code);
    for (int j = 0; j < 8; j++)
        for (int i = 0; i < 32; i++)
            b->code[32 * j + i] |= (uint8_t)((p[16 + i] >> j & 1) << 4);
}

static void unpack_q6_k(const uint8_t *p, struct block *b)
{
    for (int half = 0; half < 2; half++) {
        const uint8_t *low = p + 64 * half, *high = p + 128 + 32 * half;
        uint8_t *code = b->code + 128 * half;

        for (int i = 0; i < 32; i++) {
            code[i] = (low[i] & 15) | (uint8_t)((high[i] & 3) << 4);
            code[i + 32] =
                (low[i + 32] & 15) | (uint8_t)((high[i] >> 2 & 3) << 4);
            code[i + 64] = low[i] >> 4 | (uint8_t)((high[i] >> 4 & 3) << 4);
            code[i + 96] = low[i + 32] >> 4 | (uint8_t)(high[i] >> 6 << 4);
        }
    }
    memcpy(b->sc, p + 192, 16);
    b->s = le16(p + 208);
}

/* In the file: elements and bytes of a block. */
struct format {
    int block, bytes;
    void (*unpack)(const uint8_t *p, struct block *b);
};

static const struct format formats[N_DTYPES] = {
    [DT_Q8_0] = {32, 34, unpack_q8_0},   [DT_Q4_0] = {32, 18, unpack_q4_0},
    [DT_Q4_1] = {32, 20, unpack_q4_1},   [DT_Q5_0] = {32, 22, unpack_q5_0},
    [DT_Q5_1] = {32, 24, unpack_q5_1},   [DT_Q2_K] = {256, 84, unpack_q2_k},
    [DT_Q3_K] = {256, 110, unpack_q3_k}, [DT_Q4_K] = {256, 144, unpack_q4_k},
    [DT_Q5_K] = {256, 176, unpack_q5_k}, [DT_Q6_K] = {256, 210, unpack_q6_k},
    [DT_IQ4_NL] = {32, 18, unpack_q4_0},
};

#define LAYOUT(name, l, h, off, subs, has_o, meta, lookup)                     \
    [DT_##name] = {l, h, off, subs, has_o, meta, lookup},
static const struct layout layouts[N_DTYPES] = {MATRIX_LAYOUTS(LAYOUT)};

const uint8_t matrix_iq4nl[16] = {1,   24,  45,  63,  79,  93,  106, 118,
                                  129, 141, 153, 166, 181, 197, 217, 241};

const struct layout *matrix_layout(enum dtype type)
{
    return layouts[type].low ? &layouts[type] : NULL;
}

/* --- placing --- */

/* Bits `from` to from + bits of 32 codes (eight groups of four) into the
 * plane at column c: `to` is the column's first group of the plane. */
static void place_plane(const uint8_t *code, int from, int bits, uint8_t *to)
{
    const uint32_t mask = ((1u << bits) - 1) * 0x01010101u;

    for (int v = 0; v < bits; v++, to += GROUP_BYTES) {
        uint32_t out = 0;

        for (int g = v, at = 0; g < GROUPS; g += bits, at += bits) {
            uint32_t four;

            memcpy(&four, code + 4 * g, sizeof four);
            out |= (four >> from & mask) << at;
        }
        memcpy(to, &out, sizeof out);
    }
}

static void place_codes(const struct layout *l, const uint8_t *code, int c,
                        uint8_t *to)
{
    to += 4 * c;
    if (l->low == 8)
        place_plane(code, 0, 8, to);
    else if (l->low == 4)
        place_plane(code, 0, 4, to);
    else
        place_plane(code, 0, 2, to);
    to += (size_t)l->low * GROUP_BYTES;
    if (l->high == 1)
        place_plane(code, l->low, 1, to);
    else if (l->high == 2)
        place_plane(code, l->low, 2, to);
}

static void place_meta(const struct layout *l, const struct block *b, int c,
                       uint8_t *to)
{
    const int n = SUPER * l->subs;

    memcpy(to + 2 * c, &b->s, 2);
    to += 32;
    if (l->has_o) {
        memcpy(to + 2 * c, &b->o, 2);
        to += 32;
    }
    if (l->meta == META_F16)
        return;
    for (int i = 0; i < n; i++)
        to[i * PACK_COLS + c] = b->sc[i];
    to += (size_t)n * PACK_COLS;
    for (int i = 0; i < n && l->meta == META_SUPER && l->has_o; i++)
        to[i * PACK_COLS + c] = b->mn[i];
}

/* --- I8 --- */

/* K bytes of output `row`, `step` bytes apart, to column c of a panel, and the
 * scale of that output. */
static void pack_row_i8(const struct tensor *t, size_t row, const uint8_t *p,
                        size_t step, int K, int c, uint8_t *panel)
{
    const struct layout *l = &layouts[DT_I8];
    const float scale = tensor_scale(t, row);
    uint8_t code[QBLOCK];

    memcpy(panel + layout_meta_at(l, K / QBLOCK) + (size_t)c * sizeof scale,
           &scale, sizeof scale);
    for (int k = 0; k < K; k += QBLOCK, panel += layout_code_bytes(l)) {
        for (int i = 0; i < QBLOCK; i++, p += step)
            code[i] = *p ^ 0x80;
        place_codes(l, code, c, panel);
    }
}

/* The same to a panel of fp32; the scales may be those of the inputs. */
static void widen_row_i8(const struct tensor *t, int by_input, size_t row,
                         const uint8_t *p, size_t step, int K, int c,
                         float *panel)
{
    for (int k = 0; k < K; k++, p += step)
        panel[(size_t)k * PACK_COLS + (size_t)c] =
            (float)(int8_t)*p * tensor_scale(t, by_input ? (size_t)k : row);
}

/* Scales that are one for all or one an output stay what they are. */
static int scales_by_input(const struct matrix_rows_of *from)
{
    return from->t->scales && !from->t->by_column != !from->transposed;
}

/* What none of them may be where the scales are in the file. */
static int has_below(const struct tensor *t, const uint8_t *p, size_t step,
                     int K)
{
    int found = 0;

    for (int k = 0; t->scales && k < K; k++, p += step)
        found |= *p == 0x80;
    return found;
}

/* Row `row` of the tensor to column c of a panel. */
static void pack_row(const struct tensor *t, int64_t row, int K, int c,
                     uint8_t *panel)
{
    const struct layout *l = &layouts[t->dtype];
    const struct format *f = &formats[t->dtype];
    const size_t code_bytes = layout_code_bytes(l);
    const int n = K / f->block, per = f->block / QBLOCK;
    const uint8_t *p =
        (const uint8_t *)t->data + (size_t)row * (size_t)n * (size_t)f->bytes;
    uint8_t *code = panel, *meta = panel + layout_meta_at(l, K / QBLOCK);
    struct block b;

    for (int i = 0; i < n; i++, p += f->bytes) {
        f->unpack(p, &b);
        for (int j = 0; j < per; j++, code += code_bytes)
            place_codes(l, b.code + QBLOCK * j, c, code);
        place_meta(l, &b, c, meta);
        meta += layout_meta_bytes(l);
    }
}

/* --- plain types --- */

static float read_plain(enum dtype type, const uint8_t *p)
{
    uint16_t h;
    float f;
    double d;

    switch (type) {
    case DT_F16:
        memcpy(&h, p, sizeof h);
        return dtype_from_f16(h);
    case DT_BF16:
        memcpy(&h, p, sizeof h);
        return dtype_from_bf16(h);
    case DT_F64:
        memcpy(&d, p, sizeof d);
        return (float)d;
    default:
        memcpy(&f, p, sizeof f);
        return f;
    }
}

/* Column c of a panel from K numbers of a tensor, `step` bytes apart. */
static void pack_plain(const struct tensor *t, enum dtype to, const uint8_t *p,
                       size_t step, int K, int c, void *panel)
{
    const enum dtype from = t->dtype;
    float *f = (float *)panel + c;
    uint16_t *h = (uint16_t *)panel + (to == DT_BF16 ? 2 * c : c);

    if (to == DT_F32 && from == DT_F32)
        for (int k = 0; k < K; k++, p += step)
            memcpy(f + (size_t)k * PACK_COLS, p, sizeof *f);
    else if (to == DT_F32)
        for (int k = 0; k < K; k++, p += step)
            f[(size_t)k * PACK_COLS] = read_plain(from, p);
    else if (to == DT_F16)
        for (int k = 0; k < K; k++, p += step)
            memcpy(h + (size_t)k * PACK_COLS, p, sizeof *h);
    else if (step == sizeof *h) /* pairs lie side by side in both */
        for (int k = 0; k < K; k += 2, p += 2 * step, h += 2 * PACK_COLS)
            memcpy(h, p, k + 1 < K ? 2 * sizeof *h : sizeof *h);
    else
        for (int k = 0; k < K; k++, p += step)
            memcpy(h + (size_t)(k / 2) * (2 * PACK_COLS) + k % 2, p, sizeof *h);
}

static int is_plain(enum dtype d)
{
    return d == DT_F32 || d == DT_F16 || d == DT_BF16 || d == DT_F64;
}

/* What stays I8: whole blocks, whose sums of products fit an int32 whatever
 * the activations, and that have one scale for all or one an output. All else
 * becomes fp32. */
#define I8_MOST (1 << 17)
static enum dtype type_of(const struct matrix_rows_of *from)
{
    enum dtype d = from->t->dtype;

    if (d == DT_F64 || (d == DT_I8 && (scales_by_input(from) ||
                                       from->K % QBLOCK || from->K > I8_MOST)))
        return DT_F32;
    return d;
}

/* --- the whole matrix --- */

static int check_part(const struct matrix_rows_of *from, struct err *e)
{
    const struct tensor *t = from->t;
    const struct format *f = &formats[t->dtype];
    uint64_t n = (uint64_t)(from->row0 + from->N) * (uint64_t)from->K, need;

    if (from->N < 1 || from->K < 1 || from->row0 < 0)
        return err_set(e, ERR_INVALID,
                       "weights of %d outputs and %d inputs cannot be packed",
                       from->N, from->K);
    if (is_plain(t->dtype) || t->dtype == DT_I8) {
        need = n * dtype_bytes(t->dtype);
    } else if (!f->block) {
        return err_set(e, ERR_UNSUPPORTED,
                       "tensor '%.80s' is %s, not a matrix "
                       "of weights",
                       t->name, dtype_name(t->dtype));
    } else if (from->transposed || from->K % f->block) {
        return err_set(e, ERR_UNSUPPORTED,
                       "tensor '%.80s' is %s with rows of %d, expected rows of "
                       "a multiple of %d",
                       t->name, dtype_name(t->dtype), from->K, f->block);
    } else {
        need = n / (uint64_t)f->block * (uint64_t)f->bytes;
    }
    if (need > t->bytes)
        return err_set(e, ERR_INVALID, "tensor '%.80s' is too small", t->name);
    return 0;
}

/* The packed type of parts of these types: the same, or F32. */
static enum dtype common_type(const struct matrix_rows_of *from, int n)
{
    enum dtype d = type_of(&from[0]);

    for (int i = 1; i < n; i++)
        if (type_of(&from[i]) != d)
            return DT_F32;
    return d;
}

static size_t panel_bytes(enum dtype type, int K)
{
    const struct layout *l = matrix_layout(type);
    size_t blocks = (size_t)K / QBLOCK, meta;

    if (type == DT_F32)
        return (size_t)K * PACK_COLS * sizeof(float);
    if (!l) /* BF16: whole pairs of k; F16 in whole lines */
        return ((size_t)K + 1) / 2 * 2 * PACK_COLS * sizeof(uint16_t);
    meta = layout_meta_bytes(l);
    if (l->meta != META_PANEL)
        meta *= blocks / (size_t)layout_unit(l);
    return blocks * layout_code_bytes(l) + (meta + 63) / 64 * 64;
}

/* Packed numbers, or the file's blocks, that are in the cache by now. */
static const char *fault_of(enum dtype type, const void *p, size_t bytes)
{
    const struct tensor t = {.dtype = type, .data = p, .bytes = bytes};

    return tensor_fault(&t);
}

/* The scales of row `row`. */
static const char *row_fault(const struct tensor *t, int64_t row, int K)
{
    size_t bytes =
        (size_t)K / (size_t)dtype_block(t->dtype) * dtype_block_bytes(t->dtype);

    return fault_of(t->dtype, (const uint8_t *)t->data + (size_t)row * bytes,
                    bytes);
}

/* Output `row` of a part as column c of a panel; what is wrong with it, or
 * NULL. `last`: nothing follows in this panel. */
static const char *pack_output(const struct matrix_rows_of *from, size_t row,
                               int c, int last, const struct matrix *out,
                               uint8_t *panel)
{
    const struct tensor *t = from->t;
    const size_t es = dtype_bytes(t->dtype);
    const size_t ldt =
        (size_t)(from->transposed ? t->dim[t->n_dims - 1] : from->K) * es;
    const size_t step = from->transposed ? ldt : es;
    const uint8_t *p =
        (const uint8_t *)t->data + row * (from->transposed ? es : ldt);

    if (dtype_quantised(t->dtype)) {
        pack_row(t, (int64_t)row, from->K, c, panel);
        return row_fault(t, (int64_t)row, from->K);
    }
    if (t->dtype == DT_I8 && has_below(t, p, step, from->K))
        return TENSOR_BELOW;
    if (out->type == DT_I8) {
        pack_row_i8(t, row, p, step, from->K, c, panel);
        return tensor_scale_fits(t, row) ? NULL : TENSOR_NOT_FINITE;
    }
    if (t->dtype == DT_I8)
        widen_row_i8(t, scales_by_input(from), row, p, step, from->K, c,
                     (void *)panel);
    else
        pack_plain(t, out->type, p, step, from->K, c, panel);
    return last ? fault_of(out->type, panel, out->panel) : NULL;
}

static int pack_part(const struct matrix_rows_of *from, int at,
                     struct matrix *out, struct err *e)
{
    const char *fault = NULL;

    for (int n = 0; n < from->N && !fault; n++) {
        uint8_t *panel =
            (uint8_t *)out->data + (size_t)((at + n) / PACK_COLS) * out->panel;
        int c = (at + n) % PACK_COLS;

        if (c == 0) /* while it is in the cache */
            memset(panel, 0, out->panel);
        fault = pack_output(from, (size_t)from->row0 + (size_t)n, c,
                            c == PACK_COLS - 1 || n == from->N - 1, out, panel);
    }
    return fault ? err_set(e, ERR_FORMAT, "tensor '%.80s' %s", from->t->name,
                           fault)
                 : 0;
}

struct matrix matrix_of(const struct packed *p)
{
    return (struct matrix){.type = DT_F32,
                           .N = p->N,
                           .K = p->K,
                           .bytes = p->bytes,
                           .panel = panel_bytes(DT_F32, p->K),
                           .data = p->data};
}

void matrix_fini(struct matrix *w)
{
    mem_lasting_free(w->data);
    memset(w, 0, sizeof *w);
}

int matrix_pack_all(const struct matrix_rows_of *from, int n_from, int *at,
                    struct matrix *out, struct err *e)
{
    size_t panels = 0;
    int last = 0;

    memset(out, 0, sizeof *out);
    out->type = common_type(from, n_from);
    out->K = from[0].K;
    out->whole = out->type == DT_I8;
    for (int i = 0; i < n_from; i++) {
        if (check_part(&from[i], e))
            return -1;
        if (from[i].K != out->K ||
            (type_of(&from[i]) != out->type && !is_plain(type_of(&from[i])) &&
             from[i].t->dtype != DT_I8))
            return err_set(e, ERR_UNSUPPORTED,
                           "tensors '%.80s' and '%.80s' cannot be multiplied "
                           "together",
                           from[0].t->name, from[i].t->name);
        out->whole &= from[i].t->scales == NULL;
        last = (int)panels * PACK_COLS;
        at[i] = last;
        panels += ((size_t)from[i].N + PACK_COLS - 1) / PACK_COLS;
        if (panels > INT32_MAX / PACK_COLS)
            return err_nomem(e);
    }
    out->N = last + from[n_from - 1].N;
    out->panel = panel_bytes(out->type, out->K);
    if (out->panel > SIZE_MAX / panels)
        return err_nomem(e);
    out->bytes = panels * out->panel;
    out->data = mem_lasting(out->bytes / sizeof(float)); /* whole lines */
    if (!out->data) {
        memset(out, 0, sizeof *out);
        return err_nomem(e);
    }
    for (int i = 0; i < n_from; i++) {
        if (pack_part(&from[i], at[i], out, e)) {
            matrix_fini(out);
            return -1;
        }
    }
    return 0;
}

int matrix_pack(const struct matrix_rows_of *from, struct matrix *out,
                struct err *e)
{
    int at;

    return matrix_pack_all(from, 1, &at, out, e);
}
