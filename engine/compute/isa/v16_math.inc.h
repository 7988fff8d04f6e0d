/* v16_math.inc.h: exp, sigmoid and tanh over 16 lanes (kernels_isa.h has the
 * formulas), for the kernel files of the FMA families, which include it after
 * the operations of their registers (v16_*.inc.h).
 *
 * v_max and v_min return the second operand when one is NaN, so NaN passes
 * through the clamps below.
 *
 * SPDX-License-Identifier: MIT */

static inline struct v16 v_get(const float *p, int n)
{
    return n >= 16 ? v_load(p) : v_load_part(p, n, 0.0f);
}

static inline void v_put(float *p, struct v16 v, int n)
{
    if (n >= 16)
        v_store(p, v);
    else
        v_store_part(p, v, n);
}

/* --- exp, sigmoid, tanh: see kernels_isa.h --- */

/* expm1(r) for |r| <= ln(2)/2 */
static inline struct v16 v_expm1(struct v16 r)
{
    struct v16 q = v_fma(v_set1(EXP_C6), r, v_set1(EXP_C5));

    q = v_fma(q, r, v_set1(EXP_C4));
    q = v_fma(q, r, v_set1(EXP_C3));
    q = v_fma(q, r, v_set1(EXP_C2));
    return v_fma(q, v_mul(r, r), r);
}

/* expm1(-r): the sign goes into the coefficients. */
static inline struct v16 v_expm1_neg(struct v16 r)
{
    struct v16 q = v_fma(v_set1(EXP_C6), r, v_set1(-EXP_C5));

    q = v_fma(q, r, v_set1(EXP_C4));
    q = v_fma(q, r, v_set1(-EXP_C3));
    q = v_fma(q, r, v_set1(EXP_C2));
    return v_fms(q, v_mul(r, r), r);
}

/* x + n * ln 2 */
static inline struct v16 v_add_ln2(struct v16 x, struct v16 n)
{
    return v_fma(n, v_set1(LN2_LO), v_fma(n, v_set1(LN2_HI), x));
}

/* x - n * ln 2 */
static inline struct v16 v_sub_ln2(struct v16 x, struct v16 n)
{
    return v_fma(n, v_set1(-LN2_LO), v_fma(n, v_set1(-LN2_HI), x));
}

static inline struct v16 v_exp(struct v16 x)
{
    struct v16 y = v_min(v_set1(EXP_MAX), x);
    struct v16 t = v_fma(y, v_set1(LOG2E), v_set1(ROUND_MAGIC));
    struct v16 n = v_sub(t, v_set1(ROUND_MAGIC));
    struct v16 p = v_add(v_set1(1.0f), v_expm1(v_sub_ln2(y, n)));

    return v_exp_scale(p, t, n, x);
}

/* 1 + exp(-x) */
static inline struct v16 v_sigmoid_den(struct v16 x)
{
    struct v16 y = v_min(v_set1(SIGMOID_MAX), v_max(v_set1(SIGMOID_MIN), x));
    struct v16 t = v_fma(y, v_set1(-LOG2E), v_set1(BIAS_MAGIC));
    struct v16 n = v_sub(t, v_set1(BIAS_MAGIC));
    struct v16 p = v_add(v_set1(1.0f), v_expm1_neg(v_add_ln2(y, n)));

    return v_fma(v_power2(t), p, v_set1(1.0f));
}

/* e = expm1(2x); tanh(x) = e / (e + 2) */
static inline struct v16 v_tanh_num(struct v16 x)
{
    struct v16 y =
        v_max(v_set1(-TANH2_MAX), v_min(v_set1(TANH2_MAX), v_add(x, x)));
    struct v16 t = v_fma(y, v_set1(LOG2E), v_set1(BIAS_MAGIC));
    struct v16 n = v_sub(t, v_set1(BIAS_MAGIC));
    struct v16 s = v_power2(t);

    return v_fma(s, v_expm1(v_sub_ln2(y, n)), v_sub(s, v_set1(1.0f)));
}

static inline struct v16 v_tanh(struct v16 x)
{
    struct v16 e = v_tanh_num(x);

    return v_div(e, v_add(e, v_set1(2.0f)));
}
