/* simd.h: generic names for the vector operations of one ISA and one dtype.
 *
 * A file of isa/ includes scalar.h, avx2.h, avx512.h or neon.h, then this header. FBP_SFX is f32
 * or f64 while kernels are included, so that v_add means v_add_f32 or v_add_f64.
 * What the names do not say:
 *   v_min(a, b)    a < b ? a : b, and v_max likewise. If a or b is NaN the result is b, so
 *                  v_min(limit, x) keeps a NaN of x.
 *   v_fma(a, b, c) a b + c, and v_fnma(a, b, c) = c - a b, with one rounding; on scalar, with two
 *   v_scale(x, n), v_pow2(n)  n has integer values; the result is rounded once
 *   masks          Lanes that are off are neither read nor written; v_load_m and v_load_n set them
 *                  to 0. */
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
#define v_quotient FBP_NAME(v_quotient) /* a / b to 2 ulp, or maybe 0 unless b, 1/b are normal */
#define v_fma FBP_NAME(v_fma)
#define v_fnma FBP_NAME(v_fnma)
#define v_sqrt FBP_NAME(v_sqrt)
#define v_neg FBP_NAME(v_neg)
#define v_abs FBP_NAME(v_abs)
#define v_copysign FBP_NAME(v_copysign) /* (magnitude, sign) */
#define v_min FBP_NAME(v_min)
#define v_max FBP_NAME(v_max)
#define v_round FBP_NAME(v_round)   /* nearest integer, ties to even, |x| <= 2^22 (f64: 2^51) */
#define v_round8 FBP_NAME(v_round8) /* 8 significant bits (f32: bf16), ties to even; NaN stays */

/* Comparison and selection. Comparisons with NaN are false, except v_ne, which is true.
 * v_select(m, a, b) = m ? a : b. */
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
 * x = v_mantissa(x) 2^v_exponent(x) with 1 <= v_mantissa(x) < 2 for finite x > 0, also for
 * subnormal x unless the thread flushes them to zero. */
#define v_pow2 FBP_NAME(v_pow2)
#define v_scale FBP_NAME(v_scale)
#define v_exponent FBP_NAME(v_exponent)
#define v_mantissa FBP_NAME(v_mantissa)

/* Random words, the same for f32 and f64. w_t has W_LANES lanes of 64 bits; only the lower 32 bits
 * of a lane matter, except in a result of w_mul.
 *   w_count(n)                   n, n + 1, …
 *   w_mul(a, b)                  products of the lower 32 bits, with 64 bits
 *   w_high(a)                    the upper 32 bits of each lane
 *   w_store_pairs(p, even, odd)  p[2q] = lane q of even, p[2q + 1] = lane q of odd
 *   v_below(p, limit)            the mask of the lanes of a v_t with p[lane] < limit, unsigned */
#define v_below FBP_NAME(v_below)

/* Across lanes. v_sum and v_hmax combine lane i with lane i + n/2, then i + n/4, and so on; v_hmax
 * is unspecified if a lane is NaN. v_sums(r, out): out[i] = v_sum(r[i]), i < 4, with the same bits.
 * v_transpose(r) transposes the V_LANES × V_LANES block with rows r[0], r[1], … in place.
 * Columns of a matrix whose V_LANES rows are given by pointers, V_COLUMNS at a time:
 *   v_load_columns(from, j, c)  lane i of c[k] = from[i][j + k], k < V_COLUMNS
 *   v_store_columns(to, j, c)   the reverse */
#define v_sum FBP_NAME(v_sum)
#define v_sums FBP_NAME(v_sums)
#define v_hmax FBP_NAME(v_hmax)
#define v_transpose FBP_NAME(v_transpose)
#define V_COLUMNS FBP_NAME(V_COLUMNS)
#define v_load_columns FBP_NAME(v_load_columns)
#define v_store_columns FBP_NAME(v_store_columns)

#endif
