/* avx512.h: AVX-512 F, DQ, BW and VL, 16 floats or 8 doubles. Masks are in k registers. */
#ifndef FBP_SIMD_ISA
#define FBP_SIMD_ISA "avx512"

#include <immintrin.h>

#include "../base/common.h"

typedef __m512 v_t_f32;
typedef __m512d v_t_f64;
typedef __mmask16 m_t_f32;
typedef __mmask8 m_t_f64;
enum { V_LANES_f32 = 16, V_LANES_f64 = 8 };

/* ---- constants and memory ---- */
FBP_INLINE v_t_f32 v_zero_f32(void) { return _mm512_setzero_ps(); }
FBP_INLINE v_t_f64 v_zero_f64(void) { return _mm512_setzero_pd(); }
FBP_INLINE v_t_f32 v_set1_f32(float x) { return _mm512_set1_ps(x); }
FBP_INLINE v_t_f64 v_set1_f64(double x) { return _mm512_set1_pd(x); }
FBP_INLINE v_t_f32 v_load_f32(const float *p) { return _mm512_loadu_ps(p); }
FBP_INLINE v_t_f64 v_load_f64(const double *p) { return _mm512_loadu_pd(p); }
FBP_INLINE void v_store_f32(float *p, v_t_f32 v) { _mm512_storeu_ps(p, v); }
FBP_INLINE void v_store_f64(double *p, v_t_f64 v) { _mm512_storeu_pd(p, v); }

FBP_INLINE m_t_f32 v_first_f32(ptrdiff_t n) { return (m_t_f32)((1u << n) - 1u); }
FBP_INLINE m_t_f64 v_first_f64(ptrdiff_t n) { return (m_t_f64)((1u << n) - 1u); }
FBP_INLINE v_t_f32 v_load_m_f32(const float *p, m_t_f32 m) { return _mm512_maskz_loadu_ps(m, p); }
FBP_INLINE v_t_f64 v_load_m_f64(const double *p, m_t_f64 m) { return _mm512_maskz_loadu_pd(m, p); }
FBP_INLINE void v_store_m_f32(float *p, v_t_f32 v, m_t_f32 m) { _mm512_mask_storeu_ps(p, m, v); }
FBP_INLINE void v_store_m_f64(double *p, v_t_f64 v, m_t_f64 m) { _mm512_mask_storeu_pd(p, m, v); }
FBP_INLINE v_t_f32 v_load_n_f32(const float *p, ptrdiff_t n) {
    return v_load_m_f32(p, v_first_f32(n));
}
FBP_INLINE v_t_f64 v_load_n_f64(const double *p, ptrdiff_t n) {
    return v_load_m_f64(p, v_first_f64(n));
}
FBP_INLINE void v_store_n_f32(float *p, v_t_f32 v, ptrdiff_t n) {
    v_store_m_f32(p, v, v_first_f32(n));
}
FBP_INLINE void v_store_n_f64(double *p, v_t_f64 v, ptrdiff_t n) {
    v_store_m_f64(p, v, v_first_f64(n));
}

/* ---- arithmetic ---- */
FBP_INLINE v_t_f32 v_add_f32(v_t_f32 a, v_t_f32 b) { return _mm512_add_ps(a, b); }
FBP_INLINE v_t_f64 v_add_f64(v_t_f64 a, v_t_f64 b) { return _mm512_add_pd(a, b); }
FBP_INLINE v_t_f32 v_sub_f32(v_t_f32 a, v_t_f32 b) { return _mm512_sub_ps(a, b); }
FBP_INLINE v_t_f64 v_sub_f64(v_t_f64 a, v_t_f64 b) { return _mm512_sub_pd(a, b); }
FBP_INLINE v_t_f32 v_mul_f32(v_t_f32 a, v_t_f32 b) { return _mm512_mul_ps(a, b); }
FBP_INLINE v_t_f64 v_mul_f64(v_t_f64 a, v_t_f64 b) { return _mm512_mul_pd(a, b); }
FBP_INLINE v_t_f32 v_div_f32(v_t_f32 a, v_t_f32 b) { return _mm512_div_ps(a, b); }
FBP_INLINE v_t_f64 v_div_f64(v_t_f64 a, v_t_f64 b) { return _mm512_div_pd(a, b); }
/* q = a r, then q + r (a - b q), where r is 1/b to 14 bits, or to 56 bits after two Newton steps.
 * The FMA units do this faster than the divider divides. */
FBP_INLINE v_t_f32 v_quotient_f32(v_t_f32 a, v_t_f32 b) {
    const v_t_f32 r = _mm512_rcp14_ps(b), q = _mm512_mul_ps(a, r);
    return _mm512_fmadd_ps(_mm512_fnmadd_ps(b, q, a), r, q);
}
FBP_INLINE v_t_f64 v_quotient_f64(v_t_f64 a, v_t_f64 b) {
    const v_t_f64 one = _mm512_set1_pd(1.0), r0 = _mm512_rcp14_pd(b);
    const v_t_f64 r1 = _mm512_fmadd_pd(_mm512_fnmadd_pd(b, r0, one), r0, r0);
    const v_t_f64 r = _mm512_fmadd_pd(_mm512_fnmadd_pd(b, r1, one), r1, r1);
    const v_t_f64 q = _mm512_mul_pd(a, r);
    return _mm512_fmadd_pd(_mm512_fnmadd_pd(b, q, a), r, q);
}
FBP_INLINE v_t_f32 v_fma_f32(v_t_f32 a, v_t_f32 b, v_t_f32 c) { return _mm512_fmadd_ps(a, b, c); }
FBP_INLINE v_t_f64 v_fma_f64(v_t_f64 a, v_t_f64 b, v_t_f64 c) { return _mm512_fmadd_pd(a, b, c); }
FBP_INLINE v_t_f32 v_fnma_f32(v_t_f32 a, v_t_f32 b, v_t_f32 c) { return _mm512_fnmadd_ps(a, b, c); }
FBP_INLINE v_t_f64 v_fnma_f64(v_t_f64 a, v_t_f64 b, v_t_f64 c) { return _mm512_fnmadd_pd(a, b, c); }
FBP_INLINE v_t_f32 v_sqrt_f32(v_t_f32 a) { return _mm512_sqrt_ps(a); }
FBP_INLINE v_t_f64 v_sqrt_f64(v_t_f64 a) { return _mm512_sqrt_pd(a); }
FBP_INLINE v_t_f32 v_neg_f32(v_t_f32 a) { return _mm512_xor_ps(a, _mm512_set1_ps(-0.0f)); }
FBP_INLINE v_t_f64 v_neg_f64(v_t_f64 a) { return _mm512_xor_pd(a, _mm512_set1_pd(-0.0)); }
FBP_INLINE v_t_f32 v_abs_f32(v_t_f32 a) { return _mm512_andnot_ps(_mm512_set1_ps(-0.0f), a); }
FBP_INLINE v_t_f64 v_abs_f64(v_t_f64 a) { return _mm512_andnot_pd(_mm512_set1_pd(-0.0), a); }
/* Truth table 0xd8: the bit of s where the constant has a 1, else the bit of a. */
FBP_INLINE v_t_f32 v_copysign_f32(v_t_f32 a, v_t_f32 s) {
    return _mm512_castsi512_ps(_mm512_ternarylogic_epi32(
        _mm512_castps_si512(a), _mm512_castps_si512(s), _mm512_set1_epi32(INT32_MIN), 0xd8));
}
FBP_INLINE v_t_f64 v_copysign_f64(v_t_f64 a, v_t_f64 s) {
    return _mm512_castsi512_pd(_mm512_ternarylogic_epi64(
        _mm512_castpd_si512(a), _mm512_castpd_si512(s), _mm512_set1_epi64(INT64_MIN), 0xd8));
}
FBP_INLINE v_t_f32 v_min_f32(v_t_f32 a, v_t_f32 b) { return _mm512_min_ps(a, b); }
FBP_INLINE v_t_f64 v_min_f64(v_t_f64 a, v_t_f64 b) { return _mm512_min_pd(a, b); }
FBP_INLINE v_t_f32 v_max_f32(v_t_f32 a, v_t_f32 b) { return _mm512_max_ps(a, b); }
FBP_INLINE v_t_f64 v_max_f64(v_t_f64 a, v_t_f64 b) { return _mm512_max_pd(a, b); }
FBP_INLINE v_t_f32 v_round_f32(v_t_f32 x) { return _mm512_roundscale_ps(x, 8); }
FBP_INLINE v_t_f64 v_round_f64(v_t_f64 x) { return _mm512_roundscale_pd(x, 8); }
/* Adds half a unit of the last bit kept, less one if that bit is 0, and cuts off the rest. */
FBP_INLINE v_t_f32 v_round8_f32(v_t_f32 x) {
    const __m512i bits = _mm512_castps_si512(x), last = _mm512_srli_epi32(bits, 16);
    const __m512i odd = _mm512_and_si512(last, _mm512_set1_epi32(1));
    const __m512i half = _mm512_add_epi32(_mm512_set1_epi32(0x7fff), odd);
    const __m512i up = _mm512_add_epi32(bits, half);
    const __m512i cut = _mm512_and_si512(up, _mm512_set1_epi32(-0x10000));
    return _mm512_mask_mov_ps(_mm512_castsi512_ps(cut), _mm512_cmp_ps_mask(x, x, _CMP_UNORD_Q), x);
}
FBP_INLINE v_t_f64 v_round8_f64(v_t_f64 x) {
    const __m512i bits = _mm512_castpd_si512(x), last = _mm512_srli_epi64(bits, 45);
    const __m512i odd = _mm512_and_si512(last, _mm512_set1_epi64(1));
    const __m512i half = _mm512_add_epi64(_mm512_set1_epi64((1LL << 44) - 1), odd);
    const __m512i up = _mm512_add_epi64(bits, half);
    const __m512i cut = _mm512_and_si512(up, _mm512_set1_epi64(-(1LL << 45)));
    return _mm512_mask_mov_pd(_mm512_castsi512_pd(cut), _mm512_cmp_pd_mask(x, x, _CMP_UNORD_Q), x);
}

/* ---- comparison and selection ---- */
FBP_INLINE m_t_f32 v_lt_f32(v_t_f32 a, v_t_f32 b) { return _mm512_cmp_ps_mask(a, b, _CMP_LT_OQ); }
FBP_INLINE m_t_f64 v_lt_f64(v_t_f64 a, v_t_f64 b) { return _mm512_cmp_pd_mask(a, b, _CMP_LT_OQ); }
FBP_INLINE m_t_f32 v_gt_f32(v_t_f32 a, v_t_f32 b) { return _mm512_cmp_ps_mask(a, b, _CMP_GT_OQ); }
FBP_INLINE m_t_f64 v_gt_f64(v_t_f64 a, v_t_f64 b) { return _mm512_cmp_pd_mask(a, b, _CMP_GT_OQ); }
FBP_INLINE m_t_f32 v_eq_f32(v_t_f32 a, v_t_f32 b) { return _mm512_cmp_ps_mask(a, b, _CMP_EQ_OQ); }
FBP_INLINE m_t_f64 v_eq_f64(v_t_f64 a, v_t_f64 b) { return _mm512_cmp_pd_mask(a, b, _CMP_EQ_OQ); }
FBP_INLINE m_t_f32 v_ne_f32(v_t_f32 a, v_t_f32 b) { return _mm512_cmp_ps_mask(a, b, _CMP_NEQ_UQ); }
FBP_INLINE m_t_f64 v_ne_f64(v_t_f64 a, v_t_f64 b) { return _mm512_cmp_pd_mask(a, b, _CMP_NEQ_UQ); }
FBP_INLINE m_t_f32 m_and_f32(m_t_f32 a, m_t_f32 b) { return _kand_mask16(a, b); }
FBP_INLINE m_t_f64 m_and_f64(m_t_f64 a, m_t_f64 b) { return _kand_mask8(a, b); }
FBP_INLINE v_t_f32 v_select_f32(m_t_f32 m, v_t_f32 a, v_t_f32 b) {
    return _mm512_mask_blend_ps(m, b, a);
}
FBP_INLINE v_t_f64 v_select_f64(m_t_f64 m, v_t_f64 a, v_t_f64 b) {
    return _mm512_mask_blend_pd(m, b, a);
}
FBP_INLINE v_t_f32 v_keep_f32(m_t_f32 m, v_t_f32 a) { return _mm512_maskz_mov_ps(m, a); }
FBP_INLINE v_t_f64 v_keep_f64(m_t_f64 m, v_t_f64 a) { return _mm512_maskz_mov_pd(m, a); }

/* ---- powers of two ---- */
FBP_INLINE v_t_f32 v_scale_f32(v_t_f32 x, v_t_f32 n) { return _mm512_scalef_ps(x, n); }
FBP_INLINE v_t_f64 v_scale_f64(v_t_f64 x, v_t_f64 n) { return _mm512_scalef_pd(x, n); }
FBP_INLINE v_t_f32 v_pow2_f32(v_t_f32 n) { return _mm512_scalef_ps(_mm512_set1_ps(1.0f), n); }
FBP_INLINE v_t_f64 v_pow2_f64(v_t_f64 n) { return _mm512_scalef_pd(_mm512_set1_pd(1.0), n); }
FBP_INLINE v_t_f32 v_exponent_f32(v_t_f32 x) { return _mm512_getexp_ps(x); }
FBP_INLINE v_t_f64 v_exponent_f64(v_t_f64 x) { return _mm512_getexp_pd(x); }
FBP_INLINE v_t_f32 v_mantissa_f32(v_t_f32 x) {
    return _mm512_getmant_ps(x, _MM_MANT_NORM_1_2, _MM_MANT_SIGN_src);
}
FBP_INLINE v_t_f64 v_mantissa_f64(v_t_f64 x) {
    return _mm512_getmant_pd(x, _MM_MANT_NORM_1_2, _MM_MANT_SIGN_src);
}

/* ---- random words ---- */
typedef __m512i w_t;
enum { W_LANES = 8 };
FBP_INLINE w_t w_set1(uint64_t x) { return _mm512_set1_epi64((long long)x); }
FBP_INLINE w_t w_count(uint64_t first) {
    return _mm512_add_epi64(w_set1(first), _mm512_setr_epi64(0, 1, 2, 3, 4, 5, 6, 7));
}
FBP_INLINE w_t w_mul(w_t a, w_t b) { return _mm512_mul_epu32(a, b); }
FBP_INLINE w_t w_high(w_t a) { return _mm512_srli_epi64(a, 32); }
FBP_INLINE w_t w_xor(w_t a, w_t b) { return _mm512_xor_si512(a, b); }
FBP_INLINE void w_store_pairs(uint32_t *p, w_t even, w_t odd) {
    _mm512_storeu_si512(p, _mm512_mask_blend_epi32(0xaaaa, even, _mm512_slli_epi64(odd, 32)));
}
FBP_INLINE m_t_f32 v_below_f32(const uint32_t *p, uint32_t limit) {
    return _mm512_cmplt_epu32_mask(_mm512_loadu_si512(p), _mm512_set1_epi32((int)limit));
}
FBP_INLINE m_t_f64 v_below_f64(const uint32_t *p, uint32_t limit) {
    return _mm256_cmplt_epu32_mask(_mm256_loadu_si256((const __m256i *)(const void *)p),
                                   _mm256_set1_epi32((int)limit));
}

/* ---- across lanes ---- */
FBP_INLINE float v_sum_f32(v_t_f32 v) {
    const __m256 h = _mm256_add_ps(_mm512_castps512_ps256(v), _mm512_extractf32x8_ps(v, 1));
    const __m128 q = _mm_add_ps(_mm256_castps256_ps128(h), _mm256_extractf128_ps(h, 1));
    const __m128 d = _mm_add_ps(q, _mm_movehl_ps(q, q));
    return _mm_cvtss_f32(_mm_add_ss(d, _mm_movehdup_ps(d)));
}
FBP_INLINE double v_sum_f64(v_t_f64 v) {
    const __m256d h = _mm256_add_pd(_mm512_castpd512_pd256(v), _mm512_extractf64x4_pd(v, 1));
    const __m128d q = _mm_add_pd(_mm256_castpd256_pd128(h), _mm256_extractf128_pd(h, 1));
    return _mm_cvtsd_f64(_mm_add_sd(q, _mm_unpackhi_pd(q, q)));
}
/* The four sums share each step: 128-bit lane i ends up with the sums of r[i]. */
FBP_INLINE void v_sums_f32(const v_t_f32 r[4], float out[4]) {
    const __m512 ab = _mm512_add_ps(_mm512_shuffle_f32x4(r[0], r[1], 0x44),
                                    _mm512_shuffle_f32x4(r[0], r[1], 0xee));
    const __m512 cd = _mm512_add_ps(_mm512_shuffle_f32x4(r[2], r[3], 0x44),
                                    _mm512_shuffle_f32x4(r[2], r[3], 0xee));
    const __m512 q =
        _mm512_add_ps(_mm512_shuffle_f32x4(ab, cd, 0x88), _mm512_shuffle_f32x4(ab, cd, 0xdd));
    const __m512 d = _mm512_add_ps(q, _mm512_permute_ps(q, 0x4e));
    const __m512 s = _mm512_add_ps(d, _mm512_permute_ps(d, 0xb1));
    const __m512i firsts = _mm512_setr_epi32(0, 4, 8, 12, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0);
    _mm_storeu_ps(out, _mm512_castps512_ps128(_mm512_permutexvar_ps(firsts, s)));
}
FBP_INLINE void v_sums_f64(const v_t_f64 r[4], double out[4]) {
    const __m512d ab = _mm512_add_pd(_mm512_shuffle_f64x2(r[0], r[1], 0x44),
                                     _mm512_shuffle_f64x2(r[0], r[1], 0xee));
    const __m512d cd = _mm512_add_pd(_mm512_shuffle_f64x2(r[2], r[3], 0x44),
                                     _mm512_shuffle_f64x2(r[2], r[3], 0xee));
    const __m512d q =
        _mm512_add_pd(_mm512_shuffle_f64x2(ab, cd, 0x88), _mm512_shuffle_f64x2(ab, cd, 0xdd));
    const __m512d s = _mm512_add_pd(q, _mm512_permute_pd(q, 0x55));
    const __m512i firsts = _mm512_setr_epi64(0, 2, 4, 6, 0, 0, 0, 0);
    _mm256_storeu_pd(out, _mm512_castpd512_pd256(_mm512_permutexvar_pd(firsts, s)));
}
FBP_INLINE float v_hmax_f32(v_t_f32 v) {
    const __m256 h = _mm256_max_ps(_mm512_castps512_ps256(v), _mm512_extractf32x8_ps(v, 1));
    const __m128 q = _mm_max_ps(_mm256_castps256_ps128(h), _mm256_extractf128_ps(h, 1));
    const __m128 d = _mm_max_ps(q, _mm_movehl_ps(q, q));
    return _mm_cvtss_f32(_mm_max_ss(d, _mm_movehdup_ps(d)));
}
FBP_INLINE double v_hmax_f64(v_t_f64 v) {
    const __m256d h = _mm256_max_pd(_mm512_castpd512_pd256(v), _mm512_extractf64x4_pd(v, 1));
    const __m128d q = _mm_max_pd(_mm256_castpd256_pd128(h), _mm256_extractf128_pd(h, 1));
    return _mm_cvtsd_f64(_mm_max_sd(q, _mm_unpackhi_pd(q, q)));
}

/* Transposes 4×4 blocks inside the 128-bit lanes. */
FBP_INLINE void v_turn_f32(v_t_f32 r[4]) {
    const __m512d ab_lo = _mm512_castps_pd(_mm512_unpacklo_ps(r[0], r[1]));
    const __m512d ab_hi = _mm512_castps_pd(_mm512_unpackhi_ps(r[0], r[1]));
    const __m512d cd_lo = _mm512_castps_pd(_mm512_unpacklo_ps(r[2], r[3]));
    const __m512d cd_hi = _mm512_castps_pd(_mm512_unpackhi_ps(r[2], r[3]));
    r[0] = _mm512_castpd_ps(_mm512_unpacklo_pd(ab_lo, cd_lo));
    r[1] = _mm512_castpd_ps(_mm512_unpackhi_pd(ab_lo, cd_lo));
    r[2] = _mm512_castpd_ps(_mm512_unpacklo_pd(ab_hi, cd_hi));
    r[3] = _mm512_castpd_ps(_mm512_unpackhi_pd(ab_hi, cd_hi));
}
/* First the blocks, then the 4×4 lanes. */
FBP_INLINE void v_transpose_f32(v_t_f32 r[16]) {
    FBP_UNROLL(4)
    for (int i = 0; i < 16; i += 4) v_turn_f32(r + i);
    FBP_UNROLL(4)
    for (int i = 0; i < 4; i++) {
        const __m512 lo02 = _mm512_shuffle_f32x4(r[i], r[i + 4], 0x88);
        const __m512 lo13 = _mm512_shuffle_f32x4(r[i], r[i + 4], 0xdd);
        const __m512 hi02 = _mm512_shuffle_f32x4(r[i + 8], r[i + 12], 0x88);
        const __m512 hi13 = _mm512_shuffle_f32x4(r[i + 8], r[i + 12], 0xdd);
        r[i] = _mm512_shuffle_f32x4(lo02, hi02, 0x88);
        r[i + 4] = _mm512_shuffle_f32x4(lo13, hi13, 0x88);
        r[i + 8] = _mm512_shuffle_f32x4(lo02, hi02, 0xdd);
        r[i + 12] = _mm512_shuffle_f32x4(lo13, hi13, 0xdd);
    }
}
/* Transposes 2×2 blocks inside the 128-bit lanes, then the 4×4 lanes. */
FBP_INLINE void v_transpose_f64(v_t_f64 r[8]) {
    __m512d t[8];
    FBP_UNROLL(4)
    for (int i = 0; i < 8; i += 2) {
        t[i] = _mm512_unpacklo_pd(r[i], r[i + 1]);
        t[i + 1] = _mm512_unpackhi_pd(r[i], r[i + 1]);
    }
    FBP_UNROLL(2)
    for (int i = 0; i < 2; i++) {
        const __m512d lo02 = _mm512_shuffle_f64x2(t[i], t[i + 2], 0x88);
        const __m512d lo13 = _mm512_shuffle_f64x2(t[i], t[i + 2], 0xdd);
        const __m512d hi02 = _mm512_shuffle_f64x2(t[i + 4], t[i + 6], 0x88);
        const __m512d hi13 = _mm512_shuffle_f64x2(t[i + 4], t[i + 6], 0xdd);
        r[i] = _mm512_shuffle_f64x2(lo02, hi02, 0x88);
        r[i + 2] = _mm512_shuffle_f64x2(lo13, hi13, 0x88);
        r[i + 4] = _mm512_shuffle_f64x2(lo02, hi02, 0xdd);
        r[i + 6] = _mm512_shuffle_f64x2(lo13, hi13, 0xdd);
    }
}

/* The 128 bits at column j of rows i, i + n, i + 2n and i + 3n, where n elements are 128 bits. */
FBP_INLINE v_t_f32 v_load_parts_f32(const float *const *from, ptrdiff_t j) {
    const __m512 a = _mm512_castps128_ps512(_mm_loadu_ps(from[0] + j));
    const __m512 b = _mm512_insertf32x4(a, _mm_loadu_ps(from[4] + j), 1);
    const __m512 c = _mm512_insertf32x4(b, _mm_loadu_ps(from[8] + j), 2);
    return _mm512_insertf32x4(c, _mm_loadu_ps(from[12] + j), 3);
}
FBP_INLINE v_t_f64 v_load_parts_f64(const double *const *from, ptrdiff_t j) {
    const __m512d a = _mm512_castpd128_pd512(_mm_loadu_pd(from[0] + j));
    const __m512d b = _mm512_insertf64x2(a, _mm_loadu_pd(from[2] + j), 1);
    const __m512d c = _mm512_insertf64x2(b, _mm_loadu_pd(from[4] + j), 2);
    return _mm512_insertf64x2(c, _mm_loadu_pd(from[6] + j), 3);
}
/* Storing the upper half of a register of 512 bits takes a shuffle, of 256 bits it does not. */
FBP_INLINE void v_store_parts_f32(float *const *to, ptrdiff_t j, v_t_f32 v) {
    const __m256 lo = _mm512_castps512_ps256(v), hi = _mm512_extractf32x8_ps(v, 1);
    _mm_storeu_ps(to[0] + j, _mm256_castps256_ps128(lo));
    _mm_storeu_ps(to[4] + j, _mm256_extractf128_ps(lo, 1));
    _mm_storeu_ps(to[8] + j, _mm256_castps256_ps128(hi));
    _mm_storeu_ps(to[12] + j, _mm256_extractf128_ps(hi, 1));
}
FBP_INLINE void v_store_parts_f64(double *const *to, ptrdiff_t j, v_t_f64 v) {
    const __m256d lo = _mm512_castpd512_pd256(v), hi = _mm512_extractf64x4_pd(v, 1);
    _mm_storeu_pd(to[0] + j, _mm256_castpd256_pd128(lo));
    _mm_storeu_pd(to[2] + j, _mm256_extractf128_pd(lo, 1));
    _mm_storeu_pd(to[4] + j, _mm256_castpd256_pd128(hi));
    _mm_storeu_pd(to[6] + j, _mm256_extractf128_pd(hi, 1));
}
enum { V_COLUMNS_f32 = 4, V_COLUMNS_f64 = 2 };
FBP_INLINE void v_load_columns_f32(const float *const *from, ptrdiff_t j, v_t_f32 c[4]) {
    FBP_UNROLL(4)
    for (int i = 0; i < 4; i++) c[i] = v_load_parts_f32(from + i, j);
    v_turn_f32(c);
}
FBP_INLINE void v_load_columns_f64(const double *const *from, ptrdiff_t j, v_t_f64 c[2]) {
    const v_t_f64 a = v_load_parts_f64(from, j), b = v_load_parts_f64(from + 1, j);
    c[0] = _mm512_unpacklo_pd(a, b);
    c[1] = _mm512_unpackhi_pd(a, b);
}
FBP_INLINE void v_store_columns_f32(float *const *to, ptrdiff_t j, const v_t_f32 c[4]) {
    v_t_f32 r[4] = {c[0], c[1], c[2], c[3]};
    v_turn_f32(r);
    FBP_UNROLL(4)
    for (int i = 0; i < 4; i++) v_store_parts_f32(to + i, j, r[i]);
}
FBP_INLINE void v_store_columns_f64(double *const *to, ptrdiff_t j, const v_t_f64 c[2]) {
    v_store_parts_f64(to, j, _mm512_unpacklo_pd(c[0], c[1]));
    v_store_parts_f64(to + 1, j, _mm512_unpackhi_pd(c[0], c[1]));
}

#endif
