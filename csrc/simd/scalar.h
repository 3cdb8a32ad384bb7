/* scalar.h: vectors of one lane in plain C, for every machine. v_fma rounds twice, because the fma
 * of libm is a slow call on hardware without one. */
#ifndef FBP_SIMD_ISA
#define FBP_SIMD_ISA "scalar"

#include <stdint.h>
#include <string.h>

#include "../base/common.h"

typedef float v_t_f32;
typedef double v_t_f64;
typedef int m_t_f32;
typedef int m_t_f64;
enum { V_LANES_f32 = 1, V_LANES_f64 = 1 };

/* ---- constants and memory ---- */
FBP_INLINE v_t_f32 v_zero_f32(void) { return 0.0f; }
FBP_INLINE v_t_f64 v_zero_f64(void) { return 0.0; }
FBP_INLINE v_t_f32 v_set1_f32(float x) { return x; }
FBP_INLINE v_t_f64 v_set1_f64(double x) { return x; }
FBP_INLINE v_t_f32 v_load_f32(const float *p) { return *p; }
FBP_INLINE v_t_f64 v_load_f64(const double *p) { return *p; }
FBP_INLINE void v_store_f32(float *p, v_t_f32 v) { *p = v; }
FBP_INLINE void v_store_f64(double *p, v_t_f64 v) { *p = v; }

FBP_INLINE m_t_f32 v_first_f32(ptrdiff_t n) { return n > 0; }
FBP_INLINE m_t_f64 v_first_f64(ptrdiff_t n) { return n > 0; }
FBP_INLINE v_t_f32 v_load_m_f32(const float *p, m_t_f32 m) { return m ? *p : 0.0f; }
FBP_INLINE v_t_f64 v_load_m_f64(const double *p, m_t_f64 m) { return m ? *p : 0.0; }
FBP_INLINE void v_store_m_f32(float *p, v_t_f32 v, m_t_f32 m) {
    if (m) *p = v;
}
FBP_INLINE void v_store_m_f64(double *p, v_t_f64 v, m_t_f64 m) {
    if (m) *p = v;
}
FBP_INLINE v_t_f32 v_load_n_f32(const float *p, ptrdiff_t n) { return v_load_m_f32(p, n > 0); }
FBP_INLINE v_t_f64 v_load_n_f64(const double *p, ptrdiff_t n) { return v_load_m_f64(p, n > 0); }
FBP_INLINE void v_store_n_f32(float *p, v_t_f32 v, ptrdiff_t n) { v_store_m_f32(p, v, n > 0); }
FBP_INLINE void v_store_n_f64(double *p, v_t_f64 v, ptrdiff_t n) { v_store_m_f64(p, v, n > 0); }

/* ---- arithmetic ---- */
FBP_INLINE v_t_f32 v_add_f32(v_t_f32 a, v_t_f32 b) { return a + b; }
FBP_INLINE v_t_f64 v_add_f64(v_t_f64 a, v_t_f64 b) { return a + b; }
FBP_INLINE v_t_f32 v_sub_f32(v_t_f32 a, v_t_f32 b) { return a - b; }
FBP_INLINE v_t_f64 v_sub_f64(v_t_f64 a, v_t_f64 b) { return a - b; }
FBP_INLINE v_t_f32 v_mul_f32(v_t_f32 a, v_t_f32 b) { return a * b; }
FBP_INLINE v_t_f64 v_mul_f64(v_t_f64 a, v_t_f64 b) { return a * b; }
FBP_INLINE v_t_f32 v_div_f32(v_t_f32 a, v_t_f32 b) { return a / b; }
FBP_INLINE v_t_f64 v_div_f64(v_t_f64 a, v_t_f64 b) { return a / b; }
FBP_INLINE v_t_f32 v_quotient_f32(v_t_f32 a, v_t_f32 b) { return a / b; }
FBP_INLINE v_t_f64 v_quotient_f64(v_t_f64 a, v_t_f64 b) { return a / b; }
FBP_INLINE v_t_f32 v_fma_f32(v_t_f32 a, v_t_f32 b, v_t_f32 c) { return a * b + c; }
FBP_INLINE v_t_f64 v_fma_f64(v_t_f64 a, v_t_f64 b, v_t_f64 c) { return a * b + c; }
FBP_INLINE v_t_f32 v_fnma_f32(v_t_f32 a, v_t_f32 b, v_t_f32 c) { return c - a * b; }
FBP_INLINE v_t_f64 v_fnma_f64(v_t_f64 a, v_t_f64 b, v_t_f64 c) { return c - a * b; }
FBP_INLINE v_t_f32 v_sqrt_f32(v_t_f32 a) { return __builtin_sqrtf(a); }
FBP_INLINE v_t_f64 v_sqrt_f64(v_t_f64 a) { return __builtin_sqrt(a); }
FBP_INLINE v_t_f32 v_neg_f32(v_t_f32 a) { return -a; }
FBP_INLINE v_t_f64 v_neg_f64(v_t_f64 a) { return -a; }
FBP_INLINE v_t_f32 v_abs_f32(v_t_f32 a) { return __builtin_fabsf(a); }
FBP_INLINE v_t_f64 v_abs_f64(v_t_f64 a) { return __builtin_fabs(a); }
FBP_INLINE v_t_f32 v_copysign_f32(v_t_f32 a, v_t_f32 s) { return __builtin_copysignf(a, s); }
FBP_INLINE v_t_f64 v_copysign_f64(v_t_f64 a, v_t_f64 s) { return __builtin_copysign(a, s); }
FBP_INLINE v_t_f32 v_min_f32(v_t_f32 a, v_t_f32 b) { return a < b ? a : b; }
FBP_INLINE v_t_f64 v_min_f64(v_t_f64 a, v_t_f64 b) { return a < b ? a : b; }
FBP_INLINE v_t_f32 v_max_f32(v_t_f32 a, v_t_f32 b) { return a > b ? a : b; }
FBP_INLINE v_t_f64 v_max_f64(v_t_f64 a, v_t_f64 b) { return a > b ? a : b; }
/* After adding 1.5·2^23 (1.5·2^52), a number has no bits for a fraction. */
FBP_INLINE v_t_f32 v_round_f32(v_t_f32 x) { return (x + 0x1.8p23f) - 0x1.8p23f; }
FBP_INLINE v_t_f64 v_round_f64(v_t_f64 x) { return (x + 0x1.8p52) - 0x1.8p52; }
/* Adds half a unit of the last bit kept, less one if that bit is 0, and cuts off the rest. */
FBP_INLINE v_t_f32 v_round8_f32(v_t_f32 x) {
    uint32_t bits;
    if (x != x) return x;
    memcpy(&bits, &x, sizeof bits);
    bits = (bits + 0x7fffu + (bits >> 16 & 1)) & 0xffff0000u;
    memcpy(&x, &bits, sizeof bits);
    return x;
}
FBP_INLINE v_t_f64 v_round8_f64(v_t_f64 x) {
    const uint64_t half = (uint64_t)1 << 44;
    uint64_t bits;
    if (x != x) return x;
    memcpy(&bits, &x, sizeof bits);
    bits = (bits + (half - 1) + (bits >> 45 & 1)) & ~(2 * half - 1);
    memcpy(&x, &bits, sizeof bits);
    return x;
}

/* ---- comparison and selection ---- */
FBP_INLINE m_t_f32 v_lt_f32(v_t_f32 a, v_t_f32 b) { return a < b; }
FBP_INLINE m_t_f64 v_lt_f64(v_t_f64 a, v_t_f64 b) { return a < b; }
FBP_INLINE m_t_f32 v_gt_f32(v_t_f32 a, v_t_f32 b) { return a > b; }
FBP_INLINE m_t_f64 v_gt_f64(v_t_f64 a, v_t_f64 b) { return a > b; }
FBP_INLINE m_t_f32 v_eq_f32(v_t_f32 a, v_t_f32 b) { return a == b; }
FBP_INLINE m_t_f64 v_eq_f64(v_t_f64 a, v_t_f64 b) { return a == b; }
FBP_INLINE m_t_f32 v_ne_f32(v_t_f32 a, v_t_f32 b) { return a != b; }
FBP_INLINE m_t_f64 v_ne_f64(v_t_f64 a, v_t_f64 b) { return a != b; }
FBP_INLINE m_t_f32 m_and_f32(m_t_f32 a, m_t_f32 b) { return a & b; }
FBP_INLINE m_t_f64 m_and_f64(m_t_f64 a, m_t_f64 b) { return a & b; }
FBP_INLINE v_t_f32 v_select_f32(m_t_f32 m, v_t_f32 a, v_t_f32 b) { return m ? a : b; }
FBP_INLINE v_t_f64 v_select_f64(m_t_f64 m, v_t_f64 a, v_t_f64 b) { return m ? a : b; }
FBP_INLINE v_t_f32 v_keep_f32(m_t_f32 m, v_t_f32 a) { return m ? a : 0.0f; }
FBP_INLINE v_t_f64 v_keep_f64(m_t_f64 m, v_t_f64 a) { return m ? a : 0.0; }

/* ---- powers of two ---- */
FBP_INLINE uint32_t v_bits_f32(float x) {
    uint32_t u;
    memcpy(&u, &x, sizeof u);
    return u;
}
FBP_INLINE uint64_t v_bits_f64(double x) {
    uint64_t u;
    memcpy(&u, &x, sizeof u);
    return u;
}
FBP_INLINE float v_from_bits_f32(uint32_t u) {
    float x;
    memcpy(&x, &u, sizeof x);
    return x;
}
FBP_INLINE double v_from_bits_f64(uint64_t u) {
    double x;
    memcpy(&x, &u, sizeof x);
    return x;
}
/* Adding 1.5·2^23 (1.5·2^52) puts n + bias into the low bits; the shift drops the others. */
FBP_INLINE v_t_f32 v_pow2_f32(v_t_f32 n) {
    return v_from_bits_f32(v_bits_f32(n + (0x1.8p23f + 127.0f)) << 23);
}
FBP_INLINE v_t_f64 v_pow2_f64(v_t_f64 n) {
    return v_from_bits_f64(v_bits_f64(n + (0x1.8p52 + 1023.0)) << 52);
}
/* An earlier product can be subnormal only if the last factor is the smallest normal number, and
 * then the result is 0. So the result is rounded once. */
FBP_INLINE v_t_f32 v_scale_f32(v_t_f32 x, v_t_f32 n) {
    const v_t_f32 last = v_max_f32(v_min_f32(n, 127.0f), -126.0f);
    return x * v_pow2_f32(n - last) * v_pow2_f32(last);
}
FBP_INLINE v_t_f64 v_scale_f64(v_t_f64 x, v_t_f64 n) {
    const v_t_f64 last = v_max_f64(v_min_f64(n, 1023.0), -1022.0);
    return x * v_pow2_f64(n - last) * v_pow2_f64(last);
}
FBP_INLINE v_t_f32 v_exponent_f32(v_t_f32 x) {
    const int tiny = x < 0x1p-126f;
    return (float)((int)(v_bits_f32(tiny ? x * 0x1p24f : x) >> 23) - (tiny ? 127 + 24 : 127));
}
FBP_INLINE v_t_f64 v_exponent_f64(v_t_f64 x) {
    const int tiny = x < 0x1p-1022;
    return (double)((int)(v_bits_f64(tiny ? x * 0x1p53 : x) >> 52) - (tiny ? 1023 + 53 : 1023));
}
FBP_INLINE v_t_f32 v_mantissa_f32(v_t_f32 x) {
    const uint32_t u = v_bits_f32(x < 0x1p-126f ? x * 0x1p24f : x);
    return v_from_bits_f32((u & 0x007fffffu) | 0x3f800000u);
}
FBP_INLINE v_t_f64 v_mantissa_f64(v_t_f64 x) {
    const uint64_t u = v_bits_f64(x < 0x1p-1022 ? x * 0x1p53 : x);
    return v_from_bits_f64((u & 0x000fffffffffffffu) | 0x3ff0000000000000u);
}

/* ---- random words ---- */
typedef uint64_t w_t;
enum { W_LANES = 1 };
FBP_INLINE w_t w_set1(uint64_t x) { return x; }
FBP_INLINE w_t w_count(uint64_t first) { return first; }
FBP_INLINE w_t w_mul(w_t a, w_t b) { return (uint64_t)(uint32_t)a * (uint32_t)b; }
FBP_INLINE w_t w_high(w_t a) { return a >> 32; }
FBP_INLINE w_t w_xor(w_t a, w_t b) { return a ^ b; }
FBP_INLINE void w_store_pairs(uint32_t *p, w_t even, w_t odd) {
    p[0] = (uint32_t)even;
    p[1] = (uint32_t)odd;
}
FBP_INLINE m_t_f32 v_below_f32(const uint32_t *p, uint32_t limit) { return *p < limit; }
FBP_INLINE m_t_f64 v_below_f64(const uint32_t *p, uint32_t limit) { return *p < limit; }

/* ---- across lanes ---- */
FBP_INLINE float v_sum_f32(v_t_f32 v) { return v; }
FBP_INLINE double v_sum_f64(v_t_f64 v) { return v; }
FBP_INLINE void v_sums_f32(const v_t_f32 r[4], float out[4]) {
    for (int i = 0; i < 4; i++) out[i] = v_sum_f32(r[i]);
}
FBP_INLINE void v_sums_f64(const v_t_f64 r[4], double out[4]) {
    for (int i = 0; i < 4; i++) out[i] = v_sum_f64(r[i]);
}
FBP_INLINE float v_hmax_f32(v_t_f32 v) { return v; }
FBP_INLINE double v_hmax_f64(v_t_f64 v) { return v; }
FBP_INLINE void v_transpose_f32(v_t_f32 r[1]) { (void)r; }
FBP_INLINE void v_transpose_f64(v_t_f64 r[1]) { (void)r; }

enum { V_COLUMNS_f32 = 1, V_COLUMNS_f64 = 1 };
FBP_INLINE void v_load_columns_f32(const float *const *from, ptrdiff_t j, v_t_f32 *c) {
    *c = from[0][j];
}
FBP_INLINE void v_load_columns_f64(const double *const *from, ptrdiff_t j, v_t_f64 *c) {
    *c = from[0][j];
}
FBP_INLINE void v_store_columns_f32(float *const *to, ptrdiff_t j, const v_t_f32 *c) {
    to[0][j] = *c;
}
FBP_INLINE void v_store_columns_f64(double *const *to, ptrdiff_t j, const v_t_f64 *c) {
    to[0][j] = *c;
}

#endif
