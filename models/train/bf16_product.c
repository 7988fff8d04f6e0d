/* bf16_product: see bf16_product.h. Both sides are packed into tiles of 16 by
 * 32 numbers, as AMX reads them: of a side's 16 rows (columns on the right) and
 * 32 steps of k, either a line for each row, its pairs of k one after another
 * (left), or a line for each pair of k, that of all columns (right).
 *
 * Source: Intel SDM vol. 1, chapter 18; vol. 2, TDPBF16PS and VDPBF16PS.
 *
 * SPDX-License-Identifier: MIT */
#include "models/train/bf16_product.h"

#if defined(__x86_64__) && !defined(REAL_DOUBLE)

#include <cpuid.h>
#include <immintrin.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "engine/compute/kernels.h"

#define LANES __attribute__((target("avx512f,avx512bw,avx512vl,avx512bf16")))
#define TILES __attribute__((target("amx-tile,amx-bf16")))
#define INLINE static inline __attribute__((always_inline)) LANES

#define EDGE 16                 /* rows of a tile */
#define DEPTH 32                /* k of a tile */
#define TILE (EDGE * DEPTH / 2) /* its pairs */

/* Of one pack. The right side's 512 KB stay in a second-level cache while the
 * left side's parts go by. */
#define PACK_K 512
#define PACK_M 128
#define PACK_N 512

#define ARCH_REQ_XCOMP_PERM 0x1023
#define XFEATURE_XTILEDATA 18
#define XCR0_TILES 0x60000u
#define AMX_BF16 (1u << 22)
#define AMX_TILE (1u << 24)

/* One side of a product, as op() leaves it: i is a row of the left one, a
 * column of the right one. */
struct side {
    const float *p;
    size_t ld;
    int k_rows; /* in memory a row is a step of k */
};

/* ---------------------------------------------------------------- pack --- */

/* The first n of 16 lanes */
INLINE __mmask16 first(int n)
{
    return (__mmask16)(n >= 16 ? 0xffffu : n > 0 ? (1u << n) - 1u : 0u);
}

INLINE __m512i line_of_row(const float *p, int k)
{
    const __mmask16 low = first(k), high = first(k - 16);

    return (__m512i)_mm512_cvtne2ps_pbh(
        high ? _mm512_maskz_loadu_ps(high, p + 16) : _mm512_setzero_ps(),
        _mm512_maskz_loadu_ps(low, p));
}

/* Steps k and k + 1 (none: only the first) of 16 columns. */
INLINE __m512i line_of_pair(const float *p, size_t ld, int k, __mmask16 mask)
{
    __m512 first = k > 0 ? _mm512_maskz_loadu_ps(mask, p) : _mm512_setzero_ps();
    __m512 second =
        k > 1 ? _mm512_maskz_loadu_ps(mask, p + ld) : _mm512_setzero_ps();
    __m512i x = _mm512_cvtepu16_epi32((__m256i)_mm512_cvtneps_pbh(first));
    __m512i y = _mm512_cvtepu16_epi32((__m256i)_mm512_cvtneps_pbh(second));
    return _mm512_or_si512(x, _mm512_slli_epi32(y, 16));
}

/* 16 by 16 of 32 bits: pairs, then fours, then lanes of 128 bits. */
INLINE void transpose(__m512i v[16])
{
    __m512i t[16];

#pragma GCC unroll 8
    for (int i = 0; i < 16; i += 2) {
        t[i] = _mm512_unpacklo_epi32(v[i], v[i + 1]);
        t[i + 1] = _mm512_unpackhi_epi32(v[i], v[i + 1]);
    }
#pragma GCC unroll 4
    for (int i = 0; i < 16; i += 4) {
        v[i] = _mm512_unpacklo_epi64(t[i], t[i + 2]);
        v[i + 1] = _mm512_unpackhi_epi64(t[i], t[i + 2]);
        v[i + 2] = _mm512_unpacklo_epi64(t[i + 1], t[i + 3]);
        v[i + 3] = _mm512_unpackhi_epi64(t[i + 1], t[i + 3]);
    }
#pragma GCC unroll 4
    for (int i = 0; i < 4; i++) {
        __m512i a = _mm512_shuffle_i32x4(v[i], v[i + 4], 0x88);
        __m512i b = _mm512_shuffle_i32x4(v[i], v[i + 4], 0xdd);
        __m512i c = _mm512_shuffle_i32x4(v[i + 8], v[i + 12], 0x88);
        __m512i d = _mm512_shuffle_i32x4(v[i + 8], v[i + 12], 0xdd);

        t[i] = _mm512_shuffle_i32x4(a, c, 0x88);
        t[i + 4] = _mm512_shuffle_i32x4(b, d, 0x88);
        t[i + 8] = _mm512_shuffle_i32x4(a, c, 0xdd);
        t[i + 12] = _mm512_shuffle_i32x4(b, d, 0xdd);
    }
#pragma GCC unroll 16
    for (int i = 0; i < 16; i++)
        v[i] = t[i];
}

/* n rows (columns) and k steps of a side, from p on; beyond them zero. */
LANES static void pack_tile(const struct side *s, const float *p, int n, int k,
                            int pairs, uint32_t *to)
{
    const __mmask16 mask = first(n);
    __m512i v[EDGE];

#pragma GCC unroll 16
    for (int i = 0; i < EDGE; i++)
        if (s->k_rows)
            v[i] = line_of_pair(p + (size_t)(2 * i) * s->ld, s->ld, k - 2 * i,
                                mask);
        else
            v[i] = i < n ? line_of_row(p + (size_t)i * s->ld, k)
                         : _mm512_setzero_si512();
    if (s->k_rows != pairs)
        transpose(v);
#pragma GCC unroll 16
    for (int i = 0; i < EDGE; i++)
        _mm512_store_si512(to + i * EDGE, v[i]);
}

/* Of rows from i0 to i0 + n and steps from k0 to k0 + k; n is rounded up to 32
 * rows. pairs: as the right side is read. */
static void pack(const struct side *s, int i0, int n, int k0, int k, int pairs,
                 uint32_t *to)
{
    const int end = (n + 2 * EDGE - 1) / (2 * EDGE) * (2 * EDGE);

    for (int i = 0; i < end; i += EDGE)
        for (int at = 0; at < k; at += DEPTH, to += TILE) {
            if (i >= n) {
                memset(to, 0, TILE * sizeof *to);
                continue;
            }
            const size_t row = (size_t)(i0 + i), col = (size_t)(k0 + at);
            pack_tile(
                s, s->p + (s->k_rows ? col * s->ld + row : row * s->ld + col),
                n - i, k - at, pairs, to);
        }
}

/* ------------------------------------------------------------- product --- */

/* c [32][ld] = (with `add`: +=) two tiles of rows times two of columns, over
 * `depth` tiles; those of a side lie depth tiles apart. */
typedef void block_fn(const uint32_t *a, const uint32_t *b, int depth, int add,
                      float *c, size_t ld);

TILES static void block_tiles(const uint32_t *a, const uint32_t *b, int depth,
                              int add, float *c, size_t ld)
{
    const uint32_t *a1 = a + (size_t)depth * TILE;
    const uint32_t *b1 = b + (size_t)depth * TILE;
    const size_t row = ld * sizeof *c;

    if (add) {
        _tile_loadd(0, c, row);
        _tile_loadd(1, c + EDGE, row);
        _tile_loadd(2, c + EDGE * ld, row);
        _tile_loadd(3, c + EDGE * ld + EDGE, row);
    } else {
        _tile_zero(0);
        _tile_zero(1);
        _tile_zero(2);
        _tile_zero(3);
    }
    for (int i = 0; i < depth; i++) {
        const size_t at = (size_t)i * TILE;

        _tile_loadd(4, a + at, 64);
        _tile_loadd(6, b + at, 64);
        _tile_loadd(7, b1 + at, 64);
        _tile_loadd(5, a1 + at, 64);
        _tile_dpbf16ps(0, 4, 6);
        _tile_dpbf16ps(1, 4, 7);
        _tile_dpbf16ps(2, 5, 6);
        _tile_dpbf16ps(3, 5, 7);
    }
    _tile_stored(0, c, row);
    _tile_stored(1, c + EDGE, row);
    _tile_stored(2, c + EDGE * ld, row);
    _tile_stored(3, c + EDGE * ld + EDGE, row);
}

/* Eight rows of them. */
LANES static void block_rows(const uint32_t *a, const uint32_t *b, int depth,
                             int add, float *c, size_t ld)
{
    const uint32_t *b1 = b + (size_t)depth * TILE;
    __m512 sum[8][2];

#pragma GCC unroll 8
    for (int r = 0; r < 8; r++)
        for (int j = 0; j < 2; j++)
            sum[r][j] = add ? _mm512_loadu_ps(c + (size_t)r * ld + j * EDGE)
                            : _mm512_setzero_ps();
    for (int i = 0; i < depth; i++)
        for (int k = 0; k < DEPTH / 2; k++) {
            const size_t at = (size_t)i * TILE;
            const __m512i x = _mm512_load_si512(b + at + k * EDGE);
            const __m512i y = _mm512_load_si512(b1 + at + k * EDGE);

#pragma GCC unroll 8
            for (int r = 0; r < 8; r++) {
                __m512i v = _mm512_set1_epi32(
                    (int)a[at + (size_t)r * EDGE + (size_t)k]);

                sum[r][0] =
                    _mm512_dpbf16_ps(sum[r][0], (__m512bh)v, (__m512bh)x);
                sum[r][1] =
                    _mm512_dpbf16_ps(sum[r][1], (__m512bh)v, (__m512bh)y);
            }
        }
#pragma GCC unroll 8
    for (int r = 0; r < 8; r++)
        for (int j = 0; j < 2; j++)
            _mm512_storeu_ps(c + (size_t)r * ld + j * EDGE, sum[r][j]);
}

static void block_vectors(const uint32_t *a, const uint32_t *b, int depth,
                          int add, float *c, size_t ld)
{
    for (int r = 0; r < 2 * EDGE; r += 8)
        block_rows(a + (size_t)(r / EDGE * depth) * TILE + r % EDGE * EDGE, b,
                   depth, add, c + (size_t)r * ld, ld);
}

/* A block of m by n at the edge of c, by way of a whole one. */
static void block_at_edge(block_fn *block, const uint32_t *a, const uint32_t *b,
                          int depth, int add, struct mat c)
{
    _Alignas(64) float whole[4 * EDGE * EDGE] = {0};
    const size_t bytes = (size_t)c.c * sizeof *whole;

    for (int r = 0; add && r < c.r; r++)
        memcpy(whole + r * 2 * EDGE, c.p + (size_t)r * c.ld, bytes);
    block(a, b, depth, add, whole, 2 * EDGE);
    for (int r = 0; r < c.r; r++)
        memcpy(c.p + (size_t)r * c.ld, whole + r * 2 * EDGE, bytes);
}

static void blocks(block_fn *block, const uint32_t *a, const uint32_t *b,
                   int depth, int add, struct mat c)
{
    const int edge = 2 * EDGE;

    for (int n = 0; n < c.c; n += edge)
        for (int m = 0; m < c.r; m += edge) {
            struct mat part = {c.p + (size_t)m * c.ld + n,
                               c.r - m < edge ? c.r - m : edge,
                               c.c - n < edge ? c.c - n : edge, c.ld};
            const uint32_t *left = a + (size_t)(m / EDGE * depth) * TILE;
            const uint32_t *right = b + (size_t)(n / EDGE * depth) * TILE;

            if (part.r == edge && part.c == edge)
                block(left, right, depth, add, part.p, c.ld);
            else
                block_at_edge(block, left, right, depth, add, part);
        }
}

/* Palette 1: eight tiles of 16 rows, 64 bytes each. Constant, for gcc 12 takes
 * what _tile_loadconfig reads for unread. */
struct tile_config {
    uint8_t palette, start, reserved[14];
    uint16_t bytes[16];
    uint8_t rows[16];
};

TILES static void configure_tiles(void)
{
    static const _Alignas(64) struct tile_config set = {
        .palette = 1,
        .bytes = {64, 64, 64, 64, 64, 64, 64, 64},
        .rows = {16, 16, 16, 16, 16, 16, 16, 16}};

    _tile_loadconfig(&set);
}

TILES static void release_tiles(void)
{
    _tile_release();
}

static int least(int a, int b)
{
    return a < b ? a : b;
}

int bf16_product(enum bf16_unit u, int ta, int tb, struct mat a, struct mat b,
                 int add, struct mat c)
{
    _Alignas(64) uint32_t left[PACK_M * PACK_K / 2], right[PACK_N * PACK_K / 2];
    const struct side l = {a.p, a.ld, ta}, r = {b.p, b.ld, !tb};
    const int K = ta ? a.r : a.c;
    block_fn *block = u == BF16_TILES ? block_tiles : block_vectors;

    if (c.r < EDGE || c.c < EDGE || K < DEPTH ||
        (double)c.r * c.c * K < 4.0 * 32 * 32 * 32)
        return 0;
    if (u == BF16_TILES)
        configure_tiles();
    for (int k0 = 0, k; k0 < K; k0 += k) {
        k = least(K - k0, PACK_K);
        for (int n0 = 0, n; n0 < c.c; n0 += n) {
            n = least(c.c - n0, PACK_N);
            pack(&r, n0, n, k0, k, 1, right);
            for (int m0 = 0, m; m0 < c.r; m0 += m) {
                m = least(c.r - m0, PACK_M);
                pack(&l, m0, m, k0, k, 0, left);
                blocks(block, left, right, (k + DEPTH - 1) / DEPTH,
                       add || k0 > 0,
                       (struct mat){c.p + (size_t)m0 * c.ld + n0, m, n, c.ld});
            }
        }
    }
    if (u == BF16_TILES)
        release_tiles();
    return 1;
}

/* Packed, the right side is the parts of PACK_K by PACK_N that a product goes
 * through, behind each other. */
static size_t part_size(int n, int k)
{
    return (size_t)((n + 2 * EDGE - 1) / (2 * EDGE) * 2) *
           (size_t)((k + DEPTH - 1) / DEPTH) * TILE;
}

size_t bf16_packed_bytes(int K, int N)
{
    size_t size = 0;

    for (int k0 = 0; k0 < K; k0 += PACK_K)
        for (int n0 = 0; n0 < N; n0 += PACK_N)
            size += part_size(least(N - n0, PACK_N), least(K - k0, PACK_K));
    return size * sizeof(uint32_t);
}

void bf16_pack(int tb, struct mat b, void *packed)
{
    const struct side r = {b.p, b.ld, !tb};
    const int K = tb ? b.c : b.r, N = tb ? b.r : b.c;
    uint32_t *to = packed;

    for (int k0 = 0; k0 < K; k0 += PACK_K)
        for (int n0 = 0; n0 < N; n0 += PACK_N) {
            int n = least(N - n0, PACK_N), k = least(K - k0, PACK_K);

            pack(&r, n0, n, k0, k, 1, to);
            to += part_size(n, k);
        }
}

void bf16_product_packed(enum bf16_unit u, struct mat a, const void *packed,
                         int add, struct mat c)
{
    _Alignas(64) uint32_t left[PACK_M * PACK_K / 2];
    const struct side l = {a.p, a.ld, 0};
    const uint32_t *part = packed, *right;
    block_fn *block = u == BF16_TILES ? block_tiles : block_vectors;

    if (u == BF16_TILES)
        configure_tiles();
    for (int k0 = 0, k; k0 < a.c; k0 += k, part = right) {
        k = least(a.c - k0, PACK_K);
        right = part;
        for (int m0 = 0, m; m0 < c.r; m0 += m) {
            m = least(c.r - m0, PACK_M);
            pack(&l, m0, m, k0, k, 0, left);
            right = part;
            for (int n0 = 0, n; n0 < c.c; n0 += n) {
                n = least(c.c - n0, PACK_N);
                blocks(block, left, right, (k + DEPTH - 1) / DEPTH,
                       add || k0 > 0,
                       (struct mat){c.p + (size_t)m0 * c.ld + n0, m, n, c.ld});
                right += part_size(n, k);
            }
        }
    }
    if (u == BF16_TILES)
        release_tiles();
}

/* ---------------------------------------------------------------- units --- */

enum bf16_unit bf16_unit_open(void)
{
    const struct kernels *k;
    unsigned a, b, c, d, xcr0, high;

    if (kernels_pick("auto", &k, NULL) < 0 || !k->matrix_rows_bf16)
        return BF16_NONE;
    __asm__ volatile("xgetbv" : "=a"(xcr0), "=d"(high) : "c"(0));
    if (!__get_cpuid_count(7, 0, &a, &b, &c, &d) || !(d & AMX_TILE) ||
        !(d & AMX_BF16) || (xcr0 & XCR0_TILES) != XCR0_TILES ||
        syscall(SYS_arch_prctl, ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA) != 0)
        return BF16_VECTORS;
    return BF16_TILES;
}

#else

enum bf16_unit bf16_unit_open(void)
{
    return BF16_NONE;
}

int bf16_product(enum bf16_unit u, int ta, int tb, struct mat a, struct mat b,
                 int add, struct mat c)
{
    (void)u, (void)ta, (void)tb, (void)a, (void)b, (void)add, (void)c;
    return 0;
}

size_t bf16_packed_bytes(int K, int N)
{
    (void)K, (void)N;
    return 0;
}

void bf16_pack(int tb, struct mat b, void *packed)
{
    (void)tb, (void)b, (void)packed;
}

void bf16_product_packed(enum bf16_unit u, struct mat a, const void *packed,
                         int add, struct mat c)
{
    (void)u, (void)a, (void)packed, (void)add, (void)c;
}

#endif

const char *bf16_unit_name(enum bf16_unit u)
{
    return u == BF16_TILES ? "AMX" : u == BF16_VECTORS ? "AVX-512" : "none";
}
