/* rows_avx512.h: the operations of rows.h, one row per register, by AVX-512 F, BW and BF16. */
#ifndef FBP_SIMD_ROWS
#define FBP_SIMD_ROWS "avx512"

#include <immintrin.h>
#include <math.h>

#include "avx512.h"

typedef __m512i h_t;

FBP_INLINE h_t h_of_halves(__m512 low, __m512 high) {
    return (__m512i)_mm512_cvtne2ps_pbh(high, low);
}
FBP_INLINE __m512 h_value(__m256i half) {
    return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(half), 16));
}
FBP_INLINE __m512 h_rest_half(const float *x, __m256i half) {
    const __m512 hi = h_value(half);
    const __mmask16 finite =
        _mm512_cmp_ps_mask(_mm512_abs_ps(hi), _mm512_set1_ps(INFINITY), _CMP_LT_OQ);
    return _mm512_maskz_sub_ps(finite, _mm512_loadu_ps(x), hi);
}

FBP_INLINE h_t h_round(const float *x) {
    return h_of_halves(_mm512_loadu_ps(x), _mm512_loadu_ps(x + 16));
}
FBP_INLINE h_t h_rest(const float *x, h_t hi) {
    return h_of_halves(h_rest_half(x, _mm512_castsi512_si256(hi)),
                       h_rest_half(x + 16, _mm512_extracti64x4_epi64(hi, 1)));
}
FBP_INLINE void h_store(uint16_t *p, h_t h) { _mm512_storeu_si512(p, h); }

FBP_INLINE void h_pairs(h_t even, h_t odd, h_t *first, h_t *second) {
    const __m512i count = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
    /* the words i and 32 + i, of which the latter means element i of odd */
    const __m512i at = _mm512_or_si512(
        count, _mm512_slli_epi32(_mm512_add_epi32(count, _mm512_set1_epi32(32)), 16));
    *first = _mm512_permutex2var_epi16(even, at, odd);
    *second = _mm512_permutex2var_epi16(even, _mm512_add_epi16(at, _mm512_set1_epi16(16)), odd);
}

FBP_INLINE void h_transpose(h_t r[16]) {
    __m512 t[16];
    FBP_UNROLL(16)
    for (int i = 0; i < 16; ++i) t[i] = _mm512_castsi512_ps(r[i]);
    v_transpose_f32(t);
    FBP_UNROLL(16)
    for (int i = 0; i < 16; ++i) r[i] = _mm512_castps_si512(t[i]);
}

#endif
