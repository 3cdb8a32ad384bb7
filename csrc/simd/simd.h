/* The vector vocabulary of the kernels: generic names for the operations of one ISA and one dtype.
 *
 * An isa/ file includes one of scalar.h, avx2.h, avx512.h, neon.h and then this; each inclusion of
 * a kernel defines FBP_SFX as f32 or f64 first, so that v_add means v_add_f32 or v_add_f64.
 * Contracts that the names do not tell:
 *   v_min(a, b) = a < b ? a : b and v_max likewise: b when unordered, so v_min(limit, x) keeps NaN
 *   v_fma(a, b, c) = a b + c, v_fnma(a, b, c) = c - a b: one rounding, two on scalar
 *   v_scale, v_pow2: n holds integers; the result is rounded once
 *   masks: lanes off are neither read nor written; v_load_m and v_load_n give 0 there            */
#ifndef FASTBP_SIMD_H
#define FASTBP_SIMD_H

#ifndef FBP_SIMD_ISA
#error "include scalar.h, avx2.h, avx512.h or neon.h before simd.h"
#endif

#define FBP_PASTE_(name, sfx) name##_##sfx
#define FBP_PASTE(name, sfx) FBP_PASTE_(name, sfx)
#define FBP_NAME(name) FBP_PASTE(name, FBP_SFX)

typedef float real_t_f32;
typedef double real_t_f64;

/* Types: element, vector, mask; lanes of a vector. */
#define real_t FBP_NAME(real_t)
#define v_t FBP_NAME(v_t)
#define m_t FBP_NAME(m_t)
#define V_LANES FBP_NAME(V_LANES)

/* Constants and memory; pointers need no alignment. v_first(n): lanes < n, 0 <= n <= V_LANES. */
#define v_zero FBP_NAME(v_zero)
#define v_set1 FBP_NAME(v_set1)
#define v_load FBP_NAME(v_load)
#define v_store FBP_NAME(v_store)
#define v_first FBP_NAME(v_first)
#define v_load_m FBP_NAME(v_load_m)
#define v_store_m FBP_NAME(v_store_m)
#define v_load_n FBP_NAME(v_load_n)
#define v_store_n FBP_NAME(v_store_n)

/* Arithmetic. */
#define v_add FBP_NAME(v_add)
#define v_sub FBP_NAME(v_sub)
#define v_mul FBP_NAME(v_mul)
#define v_div FBP_NAME(v_div)
#define v_quotient FBP_NAME(v_quotient) /* a / b to 2 ulp, b and 1 / b normal; else 0 may be */
#define v_fma FBP_NAME(v_fma)
#define v_fnma FBP_NAME(v_fnma)
#define v_sqrt FBP_NAME(v_sqrt)
#define v_neg FBP_NAME(v_neg)
#define v_abs FBP_NAME(v_abs)
#define v_copysign FBP_NAME(v_copysign) /* (magnitude, sign) */
#define v_min FBP_NAME(v_min)
#define v_max FBP_NAME(v_max)
#define v_round FBP_NAME(v_round) /* nearest integer, ties to even, |x| <= 2^22 (f64: 2^51) */

/* Comparison and choice: ordered, but v_ne is true for NaN. v_select(m, a, b) = m ? a : b. */
#define v_lt FBP_NAME(v_lt)
#define v_gt FBP_NAME(v_gt)
#define v_eq FBP_NAME(v_eq)
#define v_ne FBP_NAME(v_ne)
#define m_and FBP_NAME(m_and)
#define v_select FBP_NAME(v_select)
#define v_keep FBP_NAME(v_keep) /* m ? a : 0 */

/* Powers of two.          f32                f64
 *   v_pow2(n)      2^n    -126 <= n <= 127   -1022 <= n <= 1023
 *   v_scale(x, n)  x 2^n  -252 <= n <= 254   -2044 <= n <= 2046
 *   finite x > 0 = v_mantissa(x) 2^v_exponent(x), 1 <= v_mantissa(x) < 2; subnormal x too,
 *   where the thread does not flush them */
#define v_pow2 FBP_NAME(v_pow2)
#define v_scale FBP_NAME(v_scale)
#define v_exponent FBP_NAME(v_exponent)
#define v_mantissa FBP_NAME(v_mantissa)

/* Random words, alike for f32 and f64: w_t has W_LANES lanes of 64 bits, of which only the lower 32
 * count but in what w_mul makes of them. w_count(n): n, n + 1, …; w_mul: 32 × 32 → 64;
 * w_store_pairs(p, even, odd): p[2q] = even lane q, p[2q + 1] = odd lane q.
 * v_below(p, limit): the lanes of a v_t whose p[lane] < limit, unsigned. */
#define v_below FBP_NAME(v_below)

/* Across lanes: lane i meets lane i + n/2, then n/4, ...; v_hmax with a NaN lane is unspecified.
 * v_transpose(r): the V_LANES x V_LANES block whose rows are r[0], r[1], ..., in place. */
#define v_sum FBP_NAME(v_sum)
#define v_hmax FBP_NAME(v_hmax)
#define v_transpose FBP_NAME(v_transpose)

#endif
