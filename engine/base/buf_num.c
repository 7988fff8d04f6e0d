/* buf_num: numbers as the shortest text that reads back as the same value,
 * without the locale. Floats, which every answer is full of, use Schubfach
 * (Giulietti 2020, "The Schubfach way to render doubles", in its 32-bit form):
 * integer arithmetic and one table. Doubles are rare; short decimals are found
 * by exact division, the rest by the C library with a read-back.
 *
 * SPDX-License-Identifier: MIT */
#include "engine/base/buf.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define POW10_MIN (-31)

/* ceil(10^k * 2^(63 - floor(log2 10^k))) for k = -31 .. 45, made with exact
 * rationals. */
static const uint64_t pow10_table[] = {
    0x81ceb32c4b43fcf5, 0xa2425ff75e14fc32, 0xcad2f7f5359a3b3f,
    0xfd87b5f28300ca0e, 0x9e74d1b791e07e49, 0xc612062576589ddb,
    0xf79687aed3eec552, 0x9abe14cd44753b53, 0xc16d9a0095928a28,
    0xf1c90080baf72cb2, 0x971da05074da7bef, 0xbce5086492111aeb,
    0xec1e4a7db69561a6, 0x9392ee8e921d5d08, 0xb877aa3236a4b44a,
    0xe69594bec44de15c, 0x901d7cf73ab0acda, 0xb424dc35095cd810,
    0xe12e13424bb40e14, 0x8cbccc096f5088cc, 0xafebff0bcb24aaff,
    0xdbe6fecebdedd5bf, 0x89705f4136b4a598, 0xabcc77118461cefd,
    0xd6bf94d5e57a42bd, 0x8637bd05af6c69b6, 0xa7c5ac471b478424,
    0xd1b71758e219652c, 0x83126e978d4fdf3c, 0xa3d70a3d70a3d70b,
    0xcccccccccccccccd, 0x8000000000000000, 0xa000000000000000,
    0xc800000000000000, 0xfa00000000000000, 0x9c40000000000000,
    0xc350000000000000, 0xf424000000000000, 0x9896800000000000,
    0xbebc200000000000, 0xee6b280000000000, 0x9502f90000000000,
    0xba43b74000000000, 0xe8d4a51000000000, 0x9184e72a00000000,
    0xb5e620f480000000, 0xe35fa931a0000000, 0x8e1bc9bf04000000,
    0xb1a2bc2ec5000000, 0xde0b6b3a76400000, 0x8ac7230489e80000,
    0xad78ebc5ac620000, 0xd8d726b7177a8000, 0x878678326eac9000,
    0xa968163f0a57b400, 0xd3c21bcecceda100, 0x84595161401484a0,
    0xa56fa5b99019a5c8, 0xcecb8f27f4200f3a, 0x813f3978f8940985,
    0xa18f07d736b90be6, 0xc9f2c9cd04674edf, 0xfc6f7c4045812297,
    0x9dc5ada82b70b59e, 0xc5371912364ce306, 0xf684df56c3e01bc7,
    0x9a130b963a6c115d, 0xc097ce7bc90715b4, 0xf0bdc21abb48db21,
    0x96769950b50d88f5, 0xbc143fa4e250eb32, 0xeb194f8e1ae525fe,
    0x92efd1b8d0cf37bf, 0xb7abc627050305ae, 0xe596b7b0c643c71a,
    0x8f7e32ce7bea5c70, 0xb35dbf821ae4f38c,
};

/* A decimal: digits * 10^exp. */
struct decimal {
    uint64_t digits;
    int exp;
};

/* Text of a decimal as JavaScript prints it: plain from 1e-6 up to 1e21,
 * else with an exponent. out: at least 32 bytes. */
static size_t put_decimal(char *out, int negative, struct decimal d)
{
    char dig[24];
    int n = 0;
    while (d.digits && d.digits % 10 == 0) {
        d.digits /= 10;
        d.exp++;
    }
    for (uint64_t v = d.digits; v || n == 0; v /= 10)
        dig[n++] = (char)('0' + v % 10); /* least significant first */
    char *p = out;
    int point = n + (d.digits ? d.exp : 0); /* digits before the point */
    int sci = point < -5 || point > 21;
    int whole = sci ? 1 : point;
    if (negative)
        *p++ = '-';
    if (whole <= 0) {
        *p++ = '0';
        *p++ = '.';
        for (int i = whole; i < 0; i++)
            *p++ = '0';
    }
    for (int i = 0; i < n; i++) {
        if (i == whole && i > 0)
            *p++ = '.';
        *p++ = dig[n - 1 - i];
    }
    for (int i = n; i < whole; i++)
        *p++ = '0';
    if (sci)
        p += snprintf(p, 8, "e%d", point - 1);
    return (size_t)(p - out);
}

/* floor(g * cp / 2^64) with the lowest bit set when something was cut off. */
static uint32_t round_to_odd(uint64_t g, uint32_t cp)
{
    uint64_t low = (g & 0xffffffffu) * cp;
    uint64_t high = (g >> 32) * cp + (low >> 32);
    uint32_t y1 = (uint32_t)(high >> 32);
    uint32_t y0 = (uint32_t)high;
    return y1 | (y0 > 1);
}

/* Schubfach for a finite float > 0 with significand field m and exponent field
 * x. The names are the paper's. */
static struct decimal float_decimal(uint32_t m, int x)
{
    uint32_t c = x ? m | 0x800000u : m;
    int q = x ? x - 150 : -149;
    if (q <= 0 && q > -24 && (c & ((1u << -q) - 1)) == 0)
        return (struct decimal){c >> -q, 0}; /* a small integer */
    uint32_t odd = c & 1;
    uint32_t closer =
        m == 0 && x > 1; /* a power of two: the gap below halves */
    int k = (q * 1262611 - (closer ? 524031 : 0)) >> 22; /* floor log10 */
    int h = q + ((-k * 1741647) >> 19) + 1;
    uint64_t g = pow10_table[-k - POW10_MIN];
    uint32_t vbl = round_to_odd(g, (4 * c - 2 + closer) << h);
    uint32_t vb = round_to_odd(g, (4 * c) << h);
    uint32_t vbr = round_to_odd(g, (4 * c + 2) << h);
    uint32_t lower = vbl + odd;
    uint32_t upper = vbr - odd;
    uint32_t s = vb / 4;
    if (s >= 10) {
        uint32_t sp = s / 10;
        uint32_t up = lower <= 40 * sp;
        uint32_t wp = 40 * sp + 40 <= upper;
        if (up != wp)
            return (struct decimal){sp + wp, k + 1};
    }
    uint32_t u = lower <= 4 * s;
    uint32_t w = 4 * s + 4 <= upper;
    if (u != w)
        return (struct decimal){s + w, k};
    uint32_t mid = 4 * s + 2;
    uint32_t up = vb > mid || (vb == mid && (s & 1));
    return (struct decimal){s + up, k};
}

int buf_add_float(struct buf *b, float v)
{
    uint32_t bits;
    memcpy(&bits, &v, sizeof(bits));
    int x = (int)(bits >> 23 & 0xff);
    uint32_t m = bits & 0x7fffffu;
    if (x == 0xff)
        return buf_add(b, "null", 4);
    struct decimal d = {0, 0};
    if (x || m)
        d = float_decimal(m, x);
    char text[40];
    return buf_add(b, text, put_decimal(text, bits >> 31 != 0, d));
}

/* r / 10^k is correctly rounded when r < 2^53 and k <= 22; at most 15 digits
 * that read back are the only such decimal, hence the shortest. */
static int short_decimal(double a, struct decimal *d)
{
    double scale = 1;
    for (int k = 0; k <= 6; k++, scale *= 10) {
        double r = nearbyint(a * scale);
        if (r >= 1e15)
            return 0;
        if (r > 0 && r / scale == a) {
            *d = (struct decimal){(uint64_t)r, -k};
            return 1;
        }
    }
    return 0;
}

static int reads_back(struct decimal d, double a)
{
    char text[48];
    snprintf(text, sizeof(text), "%llue%d", (unsigned long long)d.digits,
             d.exp);
    return strtod(text, NULL) == a;
}

/* n significant digits of a, whatever the locale's decimal point is. */
static struct decimal digits_of(double a, int n)
{
    char text[48];
    snprintf(text, sizeof(text), "%.*e", n - 1, a);
    struct decimal d = {0, 1 - n};
    const char *p = text;
    for (; *p && *p != 'e'; p++)
        if (*p >= '0' && *p <= '9')
            d.digits = d.digits * 10 + (uint64_t)(*p - '0');
    d.exp += *p ? (int)strtol(p + 1, NULL, 10) : 0;
    return d;
}

static struct decimal double_decimal(double a)
{
    struct decimal d;
    if (short_decimal(a, &d))
        return d;
    int n = a < 2.2250738585072014e-308 ? 1 : 15; /* subnormals have fewer */
    for (; n < 17; n++) {
        d = digits_of(a, n);
        if (reads_back(d, a))
            return d;
        d.digits++; /* at a power of two the wider gap is above */
        if (reads_back(d, a))
            return d;
    }
    return digits_of(a, 17);
}

int buf_add_double(struct buf *b, double v)
{
    if (!isfinite(v))
        return buf_add(b, "null", 4);
    struct decimal d = {0, 0};
    if (v != 0)
        d = double_decimal(fabs(v));
    char text[40];
    return buf_add(b, text, put_decimal(text, signbit(v) != 0, d));
}

int buf_add_int(struct buf *b, int64_t v)
{
    char text[24];
    char *p = text + sizeof(text);
    uint64_t u = v < 0 ? 0 - (uint64_t)v : (uint64_t)v;
    do {
        *--p = (char)('0' + u % 10);
        u /= 10;
    } while (u);
    if (v < 0)
        *--p = '-';
    return buf_add(b, p, (size_t)(text + sizeof(text) - p));
}
