/* avx2.h: AVX2 and FMA, 8 floats or 4 doubles. The bits of a mask lane are all 1 or all 0. */
#ifndef FBP_SIMD_ISA
#define FBP_SIMD_ISA "avx2"

#include <immintrin.h>

#include "../base/common.h"

typedef __m256 v_t_f32;
typedef __m256d v_t_f64;
typedef __m256 m_t_f32;
typedef __m256d m_t_f64;
enum { V_LANES_f32 = 8, V_LANES_f64 = 4 };

#define V_INT_F32(x) _mm256_castps_si256(x)
#define V_INT_F64(x) _mm256_castpd_si256(x)

/* ---- constants and memory ---- */
FBP_INLINE v_t_f32 v_zero_f32(void) { return _mm256_setzero_ps(); }
FBP_INLINE v_t_f64 v_zero_f64(void) { return _mm256_setzero_pd(); }
FBP_INLINE v_t_f32 v_set1_f32(float x) { return _mm256_set1_ps(x); }
FBP_INLINE v_t_f64 v_set1_f64(double x) { return _mm256_set1_pd(x); }
FBP_INLINE v_t_f32 v_load_f32(const float *p) { return _mm256_loadu_ps(p); }
FBP_INLINE v_t_f64 v_load_f64(const double *p) { return _mm256_loadu_pd(p); }
FBP_INLINE void v_store_f32(float *p, v_t_f32 v) { _mm256_storeu_ps(p, v); }
FBP_INLINE void v_store_f64(double *p, v_t_f64 v) { _mm256_storeu_pd(p, v); }

FBP_INLINE m_t_f32 v_first_f32(ptrdiff_t n) {
    const __m256i lane = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
    return _mm256_castsi256_ps(_mm256_cmpgt_epi32(_mm256_set1_epi32((int)n), lane));
}
FBP_INLINE m_t_f64 v_first_f64(ptrdiff_t n) {
    const __m256i lane = _mm256_setr_epi64x(0, 1, 2, 3);
    return _mm256_castsi256_pd(_mm256_cmpgt_epi64(_mm256_set1_epi64x(n), lane));
}
FBP_INLINE v_t_f32 v_load_m_f32(const float *p, m_t_f32 m) {
    return _mm256_maskload_ps(p, V_INT_F32(m));
}
FBP_INLINE v_t_f64 v_load_m_f64(const double *p, m_t_f64 m) {
    return _mm256_maskload_pd(p, V_INT_F64(m));
}
FBP_INLINE void v_store_m_f32(float *p, v_t_f32 v, m_t_f32 m) {
    _mm256_maskstore_ps(p, V_INT_F32(m), v);
}
FBP_INLINE void v_store_m_f64(double *p, v_t_f64 v, m_t_f64 m) {
    _mm256_maskstore_pd(p, V_INT_F64(m), v);
}
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
FBP_INLINE v_t_f32 v_add_f32(v_t_f32 a, v_t_f32 b) { return _mm256_add_ps(a, b); }
FBP_INLINE v_t_f64 v_add_f64(v_t_f64 a, v_t_f64 b) { return _mm256_add_pd(a, b); }
FBP_INLINE v_t_f32 v_sub_f32(v_t_f32 a, v_t_f32 b) { return _mm256_sub_ps(a, b); }
FBP_INLINE v_t_f64 v_sub_f64(v_t_f64 a, v_t_f64 b) { return _mm256_sub_pd(a, b); }
FBP_INLINE v_t_f32 v_mul_f32(v_t_f32 a, v_t_f32 b) { return _mm256_mul_ps(a, b); }
FBP_INLINE v_t_f64 v_mul_f64(v_t_f64 a, v_t_f64 b) { return _mm256_mul_pd(a, b); }
FBP_INLINE v_t_f32 v_div_f32(v_t_f32 a, v_t_f32 b) { return _mm256_div_ps(a, b); }
FBP_INLINE v_t_f64 v_div_f64(v_t_f64 a, v_t_f64 b) { return _mm256_div_pd(a, b); }
FBP_INLINE v_t_f32 v_quotient_f32(v_t_f32 a, v_t_f32 b) { return _mm256_div_ps(a, b); }
FBP_INLINE v_t_f64 v_quotient_f64(v_t_f64 a, v_t_f64 b) { return _mm256_div_pd(a, b); }
FBP_INLINE v_t_f32 v_fma_f32(v_t_f32 a, v_t_f32 b, v_t_f32 c) { return _mm256_fmadd_ps(a, b, c); }
FBP_INLINE v_t_f64 v_fma_f64(v_t_f64 a, v_t_f64 b, v_t_f64 c) { return _mm256_fmadd_pd(a, b, c); }
FBP_INLINE v_t_f32 v_fnma_f32(v_t_f32 a, v_t_f32 b, v_t_f32 c) { return _mm256_fnmadd_ps(a, b, c); }
FBP_INLINE v_t_f64 v_fnma_f64(v_t_f64 a, v_t_f64 b, v_t_f64 c) { return _mm256_fnmadd_pd(a, b, c); }
FBP_INLINE v_t_f32 v_sqrt_f32(v_t_f32 a) { return _mm256_sqrt_ps(a); }
FBP_INLINE v_t_f64 v_sqrt_f64(v_t_f64 a) { return _mm256_sqrt_pd(a); }
FBP_INLINE v_t_f32 v_neg_f32(v_t_f32 a) { return _mm256_xor_ps(a, _mm256_set1_ps(-0.0f)); }
FBP_INLINE v_t_f64 v_neg_f64(v_t_f64 a) { return _mm256_xor_pd(a, _mm256_set1_pd(-0.0)); }
FBP_INLINE v_t_f32 v_abs_f32(v_t_f32 a) { return _mm256_andnot_ps(_mm256_set1_ps(-0.0f), a); }
FBP_INLINE v_t_f64 v_abs_f64(v_t_f64 a) { return _mm256_andnot_pd(_mm256_set1_pd(-0.0), a); }
FBP_INLINE v_t_f32 v_copysign_f32(v_t_f32 a, v_t_f32 s) {
    const __m256 sign = _mm256_set1_ps(-0.0f);
    return _mm256_or_ps(_mm256_andnot_ps(sign, a), _mm256_and_ps(sign, s));
}
FBP_INLINE v_t_f64 v_copysign_f64(v_t_f64 a, v_t_f64 s) {
    const __m256d sign = _mm256_set1_pd(-0.0);
    return _mm256_or_pd(_mm256_andnot_pd(sign, a), _mm256_and_pd(sign, s));
}
FBP_INLINE v_t_f32 v_min_f32(v_t_f32 a, v_t_f32 b) { return _mm256_min_ps(a, b); }
FBP_INLINE v_t_f64 v_min_f64(v_t_f64 a, v_t_f64 b) { return _mm256_min_pd(a, b); }
FBP_INLINE v_t_f32 v_max_f32(v_t_f32 a, v_t_f32 b) { return _mm256_max_ps(a, b); }
FBP_INLINE v_t_f64 v_max_f64(v_t_f64 a, v_t_f64 b) { return _mm256_max_pd(a, b); }
FBP_INLINE v_t_f32 v_round_f32(v_t_f32 x) { return _mm256_round_ps(x, 8); }
FBP_INLINE v_t_f64 v_round_f64(v_t_f64 x) { return _mm256_round_pd(x, 8); }
/* Adds half a unit of the last bit kept, less one if that bit is 0, and cuts off the rest. */
FBP_INLINE v_t_f32 v_round8_f32(v_t_f32 x) {
    const __m256i bits = V_INT_F32(x), last = _mm256_srli_epi32(bits, 16);
    const __m256i odd = _mm256_and_si256(last, _mm256_set1_epi32(1));
    const __m256i half = _mm256_add_epi32(_mm256_set1_epi32(0x7fff), odd);
    const __m256i up = _mm256_add_epi32(bits, half);
    const __m256i cut = _mm256_and_si256(up, _mm256_set1_epi32(-0x10000));
    return _mm256_blendv_ps(_mm256_castsi256_ps(cut), x, _mm256_cmp_ps(x, x, _CMP_UNORD_Q));
}
FBP_INLINE v_t_f64 v_round8_f64(v_t_f64 x) {
    const __m256i bits = V_INT_F64(x), last = _mm256_srli_epi64(bits, 45);
    const __m256i odd = _mm256_and_si256(last, _mm256_set1_epi64x(1));
    const __m256i half = _mm256_add_epi64(_mm256_set1_epi64x((1LL << 44) - 1), odd);
    const __m256i up = _mm256_add_epi64(bits, half);
    const __m256i cut = _mm256_and_si256(up, _mm256_set1_epi64x(-(1LL << 45)));
    return _mm256_blendv_pd(_mm256_castsi256_pd(cut), x, _mm256_cmp_pd(x, x, _CMP_UNORD_Q));
}

/* ---- comparison and selection ---- */
FBP_INLINE m_t_f32 v_lt_f32(v_t_f32 a, v_t_f32 b) { return _mm256_cmp_ps(a, b, _CMP_LT_OQ); }
FBP_INLINE m_t_f64 v_lt_f64(v_t_f64 a, v_t_f64 b) { return _mm256_cmp_pd(a, b, _CMP_LT_OQ); }
FBP_INLINE m_t_f32 v_gt_f32(v_t_f32 a, v_t_f32 b) { return _mm256_cmp_ps(a, b, _CMP_GT_OQ); }
FBP_INLINE m_t_f64 v_gt_f64(v_t_f64 a, v_t_f64 b) { return _mm256_cmp_pd(a, b, _CMP_GT_OQ); }
FBP_INLINE m_t_f32 v_eq_f32(v_t_f32 a, v_t_f32 b) { return _mm256_cmp_ps(a, b, _CMP_EQ_OQ); }
FBP_INLINE m_t_f64 v_eq_f64(v_t_f64 a, v_t_f64 b) { return _mm256_cmp_pd(a, b, _CMP_EQ_OQ); }
FBP_INLINE m_t_f32 v_ne_f32(v_t_f32 a, v_t_f32 b) { return _mm256_cmp_ps(a, b, _CMP_NEQ_UQ); }
FBP_INLINE m_t_f64 v_ne_f64(v_t_f64 a, v_t_f64 b) { return _mm256_cmp_pd(a, b, _CMP_NEQ_UQ); }
FBP_INLINE m_t_f32 m_and_f32(m_t_f32 a, m_t_f32 b) { return _mm256_and_ps(a, b); }
FBP_INLINE m_t_f64 m_and_f64(m_t_f64 a, m_t_f64 b) { return _mm256_and_pd(a, b); }
FBP_INLINE v_t_f32 v_select_f32(m_t_f32 m, v_t_f32 a, v_t_f32 b) {
    return _mm256_blendv_ps(b, a, m);
}
FBP_INLINE v_t_f64 v_select_f64(m_t_f64 m, v_t_f64 a, v_t_f64 b) {
    return _mm256_blendv_pd(b, a, m);
}
FBP_INLINE v_t_f32 v_keep_f32(m_t_f32 m, v_t_f32 a) { return _mm256_and_ps(m, a); }
FBP_INLINE v_t_f64 v_keep_f64(m_t_f64 m, v_t_f64 a) { return _mm256_and_pd(m, a); }

/* ---- powers of two ---- */
/* Adding 1.5·2^23 (1.5·2^52) puts n + bias into the low bits; the shift drops the others. */
FBP_INLINE v_t_f32 v_pow2_f32(v_t_f32 n) {
    const __m256 biased = _mm256_add_ps(n, _mm256_set1_ps(0x1.8p23f + 127.0f));
    return _mm256_castsi256_ps(_mm256_slli_epi32(V_INT_F32(biased), 23));
}
FBP_INLINE v_t_f64 v_pow2_f64(v_t_f64 n) {
    const __m256d biased = _mm256_add_pd(n, _mm256_set1_pd(0x1.8p52 + 1023.0));
    return _mm256_castsi256_pd(_mm256_slli_epi64(V_INT_F64(biased), 52));
}
/* An earlier product can be subnormal only if the last factor is the smallest normal number, and
 * then the result is 0. So the result is rounded once. */
FBP_INLINE v_t_f32 v_scale_f32(v_t_f32 x, v_t_f32 n) {
    const v_t_f32 lo = _mm256_set1_ps(-126.0f), hi = _mm256_set1_ps(127.0f);
    const v_t_f32 last = _mm256_max_ps(_mm256_min_ps(n, hi), lo);
    const v_t_f32 first = v_pow2_f32(_mm256_sub_ps(n, last));
    return _mm256_mul_ps(_mm256_mul_ps(x, first), v_pow2_f32(last));
}
FBP_INLINE v_t_f64 v_scale_f64(v_t_f64 x, v_t_f64 n) {
    const v_t_f64 lo = _mm256_set1_pd(-1022.0), hi = _mm256_set1_pd(1023.0);
    const v_t_f64 last = _mm256_max_pd(_mm256_min_pd(n, hi), lo);
    const v_t_f64 first = v_pow2_f64(_mm256_sub_pd(n, last));
    return _mm256_mul_pd(_mm256_mul_pd(x, first), v_pow2_f64(last));
}
FBP_INLINE v_t_f32 v_exponent_f32(v_t_f32 x) {
    const m_t_f32 tiny = v_lt_f32(x, _mm256_set1_ps(0x1p-126f));
    const v_t_f32 y = v_select_f32(tiny, _mm256_mul_ps(x, _mm256_set1_ps(0x1p24f)), x);
    const v_t_f32 bias = v_select_f32(tiny, _mm256_set1_ps(127 + 24), _mm256_set1_ps(127));
    return _mm256_sub_ps(_mm256_cvtepi32_ps(_mm256_srli_epi32(V_INT_F32(y), 23)), bias);
}
/* Putting a small integer e into the low bits of 2^52 gives the number 2^52 + e. */
FBP_INLINE v_t_f64 v_exponent_f64(v_t_f64 x) {
    const m_t_f64 tiny = v_lt_f64(x, _mm256_set1_pd(0x1p-1022));
    const v_t_f64 y = v_select_f64(tiny, _mm256_mul_pd(x, _mm256_set1_pd(0x1p53)), x);
    const v_t_f64 bias =
        v_select_f64(tiny, _mm256_set1_pd(0x1p52 + 1023 + 53), _mm256_set1_pd(0x1p52 + 1023));
    const __m256d e = _mm256_castsi256_pd(_mm256_srli_epi64(V_INT_F64(y), 52));
    return _mm256_sub_pd(_mm256_or_pd(e, _mm256_set1_pd(0x1p52)), bias);
}
FBP_INLINE v_t_f32 v_mantissa_f32(v_t_f32 x) {
    const m_t_f32 tiny = v_lt_f32(x, _mm256_set1_ps(0x1p-126f));
    const v_t_f32 y = v_select_f32(tiny, _mm256_mul_ps(x, _mm256_set1_ps(0x1p24f)), x);
    const __m256 fraction = _mm256_castsi256_ps(_mm256_set1_epi32(0x007fffff));
    return _mm256_or_ps(_mm256_and_ps(y, fraction), _mm256_set1_ps(1.0f));
}
FBP_INLINE v_t_f64 v_mantissa_f64(v_t_f64 x) {
    const m_t_f64 tiny = v_lt_f64(x, _mm256_set1_pd(0x1p-1022));
    const v_t_f64 y = v_select_f64(tiny, _mm256_mul_pd(x, _mm256_set1_pd(0x1p53)), x);
    const __m256d fraction = _mm256_castsi256_pd(_mm256_set1_epi64x(0x000fffffffffffff));
    return _mm256_or_pd(_mm256_and_pd(y, fraction), _mm256_set1_pd(1.0));
}

/* ---- random words ---- */
typedef __m256i w_t;
enum { W_LANES = 4 };
FBP_INLINE w_t w_set1(uint64_t x) { return _mm256_set1_epi64x((long long)x); }
FBP_INLINE w_t w_count(uint64_t first) {
    return _mm256_add_epi64(w_set1(first), _mm256_setr_epi64x(0, 1, 2, 3));
}
FBP_INLINE w_t w_mul(w_t a, w_t b) { return _mm256_mul_epu32(a, b); }
FBP_INLINE w_t w_high(w_t a) { return _mm256_srli_epi64(a, 32); }
FBP_INLINE w_t w_xor(w_t a, w_t b) { return _mm256_xor_si256(a, b); }
FBP_INLINE void w_store_pairs(uint32_t *p, w_t even, w_t odd) {
    _mm256_storeu_si256((__m256i *)(void *)p,
                        _mm256_blend_epi32(even, _mm256_slli_epi64(odd, 32), 0xaa));
}
/* The comparison is signed, so 2^31 is subtracted from both sides. */
FBP_INLINE m_t_f32 v_below_f32(const uint32_t *p, uint32_t limit) {
    const __m256i sign = _mm256_set1_epi32(INT32_MIN);
    const __m256i words = _mm256_loadu_si256((const __m256i *)(const void *)p);
    return _mm256_castsi256_ps(_mm256_cmpgt_epi32(
        _mm256_xor_si256(_mm256_set1_epi32((int)limit), sign), _mm256_xor_si256(words, sign)));
}
FBP_INLINE m_t_f64 v_below_f64(const uint32_t *p, uint32_t limit) {
    const __m256i words = _mm256_cvtepu32_epi64(_mm_loadu_si128((const __m128i *)(const void *)p));
    return _mm256_castsi256_pd(_mm256_cmpgt_epi64(w_set1(limit), words));
}

/* ---- across lanes ---- */
FBP_INLINE float v_sum_f32(v_t_f32 v) {
    const __m128 q = _mm_add_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
    const __m128 d = _mm_add_ps(q, _mm_movehl_ps(q, q));
    return _mm_cvtss_f32(_mm_add_ss(d, _mm_movehdup_ps(d)));
}
FBP_INLINE double v_sum_f64(v_t_f64 v) {
    const __m128d q = _mm_add_pd(_mm256_castpd256_pd128(v), _mm256_extractf128_pd(v, 1));
    return _mm_cvtsd_f64(_mm_add_sd(q, _mm_unpackhi_pd(q, q)));
}
/* The four sums share each step. */
FBP_INLINE void v_sums_f32(const v_t_f32 r[4], float out[4]) {
    const __m256 ac = _mm256_add_ps(_mm256_permute2f128_ps(r[0], r[2], 0x20),
                                    _mm256_permute2f128_ps(r[0], r[2], 0x31));
    const __m256 bd = _mm256_add_ps(_mm256_permute2f128_ps(r[1], r[3], 0x20),
                                    _mm256_permute2f128_ps(r[1], r[3], 0x31));
    const __m256 d =
        _mm256_add_ps(_mm256_shuffle_ps(ac, bd, 0x44), _mm256_shuffle_ps(ac, bd, 0xee));
    const __m256 s = _mm256_add_ps(d, _mm256_movehdup_ps(d)); /* a . b . c . d . */
    _mm_storeu_ps(out,
                  _mm_shuffle_ps(_mm256_castps256_ps128(s), _mm256_extractf128_ps(s, 1), 0x88));
}
FBP_INLINE void v_sums_f64(const v_t_f64 r[4], double out[4]) {
    const __m256d ac = _mm256_add_pd(_mm256_permute2f128_pd(r[0], r[2], 0x20),
                                     _mm256_permute2f128_pd(r[0], r[2], 0x31));
    const __m256d bd = _mm256_add_pd(_mm256_permute2f128_pd(r[1], r[3], 0x20),
                                     _mm256_permute2f128_pd(r[1], r[3], 0x31));
    _mm256_storeu_pd(out, _mm256_add_pd(_mm256_unpacklo_pd(ac, bd), _mm256_unpackhi_pd(ac, bd)));
}
FBP_INLINE float v_hmax_f32(v_t_f32 v) {
    const __m128 q = _mm_max_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
    const __m128 d = _mm_max_ps(q, _mm_movehl_ps(q, q));
    return _mm_cvtss_f32(_mm_max_ss(d, _mm_movehdup_ps(d)));
}
FBP_INLINE double v_hmax_f64(v_t_f64 v) {
    const __m128d q = _mm_max_pd(_mm256_castpd256_pd128(v), _mm256_extractf128_pd(v, 1));
    return _mm_cvtsd_f64(_mm_max_sd(q, _mm_unpackhi_pd(q, q)));
}

/* Transposes 4×4 blocks inside the 128-bit lanes. */
FBP_INLINE void v_turn_f32(v_t_f32 r[4]) {
    const __m256d ab_lo = _mm256_castps_pd(_mm256_unpacklo_ps(r[0], r[1]));
    const __m256d ab_hi = _mm256_castps_pd(_mm256_unpackhi_ps(r[0], r[1]));
    const __m256d cd_lo = _mm256_castps_pd(_mm256_unpacklo_ps(r[2], r[3]));
    const __m256d cd_hi = _mm256_castps_pd(_mm256_unpackhi_ps(r[2], r[3]));
    r[0] = _mm256_castpd_ps(_mm256_unpacklo_pd(ab_lo, cd_lo));
    r[1] = _mm256_castpd_ps(_mm256_unpackhi_pd(ab_lo, cd_lo));
    r[2] = _mm256_castpd_ps(_mm256_unpacklo_pd(ab_hi, cd_hi));
    r[3] = _mm256_castpd_ps(_mm256_unpackhi_pd(ab_hi, cd_hi));
}
FBP_INLINE void v_transpose_f32(v_t_f32 r[8]) {
    v_turn_f32(r);
    v_turn_f32(r + 4);
    FBP_UNROLL(4)
    for (int i = 0; i < 4; i++) {
        const __m256 lo = r[i], hi = r[i + 4];
        r[i] = _mm256_permute2f128_ps(lo, hi, 0x20);
        r[i + 4] = _mm256_permute2f128_ps(lo, hi, 0x31);
    }
}
FBP_INLINE void v_transpose_f64(v_t_f64 r[4]) {
    const __m256d ab_lo = _mm256_unpacklo_pd(r[0], r[1]), ab_hi = _mm256_unpackhi_pd(r[0], r[1]);
    const __m256d cd_lo = _mm256_unpacklo_pd(r[2], r[3]), cd_hi = _mm256_unpackhi_pd(r[2], r[3]);
    r[0] = _mm256_permute2f128_pd(ab_lo, cd_lo, 0x20);
    r[1] = _mm256_permute2f128_pd(ab_hi, cd_hi, 0x20);
    r[2] = _mm256_permute2f128_pd(ab_lo, cd_lo, 0x31);
    r[3] = _mm256_permute2f128_pd(ab_hi, cd_hi, 0x31);
}

/* The 128 bits at column j of row i, then those of row i + rows, where `rows` fill 128 bits. */
FBP_INLINE v_t_f32 v_load_parts_f32(const float *const *from, ptrdiff_t j) {
    return _mm256_insertf128_ps(_mm256_castps128_ps256(_mm_loadu_ps(from[0] + j)),
                                _mm_loadu_ps(from[4] + j), 1);
}
FBP_INLINE v_t_f64 v_load_parts_f64(const double *const *from, ptrdiff_t j) {
    return _mm256_insertf128_pd(_mm256_castpd128_pd256(_mm_loadu_pd(from[0] + j)),
                                _mm_loadu_pd(from[2] + j), 1);
}
FBP_INLINE void v_store_parts_f32(float *const *to, ptrdiff_t j, v_t_f32 v) {
    _mm_storeu_ps(to[0] + j, _mm256_castps256_ps128(v));
    _mm_storeu_ps(to[4] + j, _mm256_extractf128_ps(v, 1));
}
FBP_INLINE void v_store_parts_f64(double *const *to, ptrdiff_t j, v_t_f64 v) {
    _mm_storeu_pd(to[0] + j, _mm256_castpd256_pd128(v));
    _mm_storeu_pd(to[2] + j, _mm256_extractf128_pd(v, 1));
}
enum { V_COLUMNS_f32 = 4, V_COLUMNS_f64 = 2 };
FBP_INLINE void v_load_columns_f32(const float *const *from, ptrdiff_t j, v_t_f32 c[4]) {
    FBP_UNROLL(4)
    for (int i = 0; i < 4; i++) c[i] = v_load_parts_f32(from + i, j);
    v_turn_f32(c);
}
FBP_INLINE void v_load_columns_f64(const double *const *from, ptrdiff_t j, v_t_f64 c[2]) {
    const v_t_f64 a = v_load_parts_f64(from, j), b = v_load_parts_f64(from + 1, j);
    c[0] = _mm256_unpacklo_pd(a, b);
    c[1] = _mm256_unpackhi_pd(a, b);
}
FBP_INLINE void v_store_columns_f32(float *const *to, ptrdiff_t j, const v_t_f32 c[4]) {
    v_t_f32 r[4] = {c[0], c[1], c[2], c[3]};
    v_turn_f32(r);
    FBP_UNROLL(4)
    for (int i = 0; i < 4; i++) v_store_parts_f32(to + i, j, r[i]);
}
FBP_INLINE void v_store_columns_f64(double *const *to, ptrdiff_t j, const v_t_f64 c[2]) {
    v_store_parts_f64(to, j, _mm256_unpacklo_pd(c[0], c[1]));
    v_store_parts_f64(to + 1, j, _mm256_unpackhi_pd(c[0], c[1]));
}
#undef V_INT_F32
#undef V_INT_F64

#endif
