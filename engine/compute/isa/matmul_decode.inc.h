/* matmul_decode.inc.h: blocks of a panel in registers, over struct c64 and v16
 * (c64_*.inc.h); shared by matmul_fma.inc.h and matmul_widen.inc.h. All is
 * inlined with a constant layout, so that each type has straight code. The
 * layouts: matrix_layout.h; the readable form: matmul_generic.c.
 *
 * SPDX-License-Identifier: MIT */

/* Group g of a plane of `bits` bits, moved to start at bit `at`. */
static inline __attribute__((always_inline)) struct c64
plane_group(const int bits, const int at, const int g, const uint8_t *p)
{
    struct c64 c = c_load(p + (size_t)(g % bits) * GROUP_BYTES);
    const int shift = at - g / bits * bits;

    if (bits == 8)
        return c;
    if (shift)
        c = c_shift(c, shift);
    return c_and(c, ((1 << bits) - 1) << at);
}

static inline __attribute__((always_inline)) struct c64
block_group(const struct layout l, const int g, const uint8_t *p)
{
    struct c64 c = plane_group(l.low, 0, g, p);

    if (l.high)
        c = c_or(
            c, plane_group(l.high, l.low, g, p + (size_t)l.low * GROUP_BYTES));
    return l.lookup ? c_lookup(matrix_iq4nl, c) : c;
}

/* Scales and offsets of block b of a panel, whose scales begin at p. */
static inline __attribute__((always_inline)) void
block_scales(const struct layout l, const uint8_t *p, int b, struct v16 *s,
             struct v16 *o)
{
    const size_t unit = l.meta == META_F16 ? 1 : SUPER;
    const size_t head = l.has_o ? 64 : 32;
    const uint8_t *d = p + (size_t)b / unit * layout_meta_bytes(&l);
    const uint8_t *sc =
        d + head + (size_t)b % SUPER * (size_t)l.subs * PACK_COLS;
    const uint8_t *mn = sc + (size_t)SUPER * (size_t)l.subs * PACK_COLS;
    struct v16 scale, min;

    if (l.meta == META_PANEL) {
        s[0] = v_load((const void *)p);
        return;
    }
    scale = min = v_from_f16((const void *)d);

    if (l.has_o)
        min = v_from_f16((const void *)(d + 32));
    if (l.meta == META_F16) {
        s[0] = scale;
        o[0] = min;
        return;
    }
#pragma GCC unroll 2
    for (int h = 0; h < l.subs; h++, sc += PACK_COLS, mn += PACK_COLS) {
        if (l.meta == META_NIBBLES) {
            s[h] = v_mul(scale, v_from_nibbles(sc, 0));
            o[h] = v_neg(v_mul(min, v_from_nibbles(sc, 1)));
        } else {
            s[h] = v_mul(scale, v_from_i8(sc));
            if (l.has_o)
                o[h] = v_neg(v_mul(min, v_from_i8(mn)));
        }
    }
}

/* Byte i of a group as weights: s (code - off) + o, rounded one by one as
 * ggml's decoders do it (no FMA). zero: 2^23 + off. */
static inline __attribute__((always_inline)) struct v16
group_weights(const struct layout l, struct c64 c, const unsigned i,
              struct v16 zero, struct v16 s, struct v16 o)
{
    struct v16 v = v_mul(s, v_sub(c_byte(c, i), zero));

    return l.has_o ? v_add(v, o) : v;
}

/* Which bits a code of this layout can have set. */
static inline __attribute__((always_inline)) int
code_bits(const struct layout l)
{
    return l.lookup ? 8 : l.low + l.high;
}
