/* neon.h: AArch64 Advanced SIMD, 4 floats or 2 doubles. The bits of a mask lane are all 1 or all 0.
 */
#ifndef FBP_SIMD_ISA
#define FBP_SIMD_ISA "neon"

#include <arm_neon.h>

#include "../base/common.h"

typedef float32x4_t v_t_f32;
typedef float64x2_t v_t_f64;
typedef uint32x4_t m_t_f32;
typedef uint64x2_t m_t_f64;
enum { V_LANES_f32 = 4, V_LANES_f64 = 2 };

/* ---- constants and memory ---- */
FBP_INLINE v_t_f32 v_zero_f32(void) { return vdupq_n_f32(0.0f); }
FBP_INLINE v_t_f64 v_zero_f64(void) { return vdupq_n_f64(0.0); }
FBP_INLINE v_t_f32 v_set1_f32(float x) { return vdupq_n_f32(x); }
FBP_INLINE v_t_f64 v_set1_f64(double x) { return vdupq_n_f64(x); }
FBP_INLINE v_t_f32 v_load_f32(const float *p) { return vld1q_f32(p); }
FBP_INLINE v_t_f64 v_load_f64(const double *p) { return vld1q_f64(p); }
FBP_INLINE void v_store_f32(float *p, v_t_f32 v) { vst1q_f32(p, v); }
FBP_INLINE void v_store_f64(double *p, v_t_f64 v) { vst1q_f64(p, v); }

FBP_INLINE m_t_f32 v_first_f32(ptrdiff_t n) {
    const uint32_t lane[4] = {0, 1, 2, 3};
    return vcltq_u32(vld1q_u32(lane), vdupq_n_u32((uint32_t)n));
}
FBP_INLINE m_t_f64 v_first_f64(ptrdiff_t n) {
    const uint64_t lane[2] = {0, 1};
    return vcltq_u64(vld1q_u64(lane), vdupq_n_u64((uint64_t)n));
}
/* NEON has no masked memory access, so these go lane by lane. */
FBP_INLINE v_t_f32 v_load_m_f32(const float *p, m_t_f32 m) {
    v_t_f32 v = v_zero_f32();
    if (vgetq_lane_u32(m, 0)) v = vld1q_lane_f32(p, v, 0);
    if (vgetq_lane_u32(m, 1)) v = vld1q_lane_f32(p + 1, v, 1);
    if (vgetq_lane_u32(m, 2)) v = vld1q_lane_f32(p + 2, v, 2);
    if (vgetq_lane_u32(m, 3)) v = vld1q_lane_f32(p + 3, v, 3);
    return v;
}
FBP_INLINE v_t_f64 v_load_m_f64(const double *p, m_t_f64 m) {
    v_t_f64 v = v_zero_f64();
    if (vgetq_lane_u64(m, 0)) v = vld1q_lane_f64(p, v, 0);
    if (vgetq_lane_u64(m, 1)) v = vld1q_lane_f64(p + 1, v, 1);
    return v;
}
FBP_INLINE void v_store_m_f32(float *p, v_t_f32 v, m_t_f32 m) {
    if (vgetq_lane_u32(m, 0)) vst1q_lane_f32(p, v, 0);
    if (vgetq_lane_u32(m, 1)) vst1q_lane_f32(p + 1, v, 1);
    if (vgetq_lane_u32(m, 2)) vst1q_lane_f32(p + 2, v, 2);
    if (vgetq_lane_u32(m, 3)) vst1q_lane_f32(p + 3, v, 3);
}
FBP_INLINE void v_store_m_f64(double *p, v_t_f64 v, m_t_f64 m) {
    if (vgetq_lane_u64(m, 0)) vst1q_lane_f64(p, v, 0);
    if (vgetq_lane_u64(m, 1)) vst1q_lane_f64(p + 1, v, 1);
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
FBP_INLINE v_t_f32 v_add_f32(v_t_f32 a, v_t_f32 b) { return vaddq_f32(a, b); }
FBP_INLINE v_t_f64 v_add_f64(v_t_f64 a, v_t_f64 b) { return vaddq_f64(a, b); }
FBP_INLINE v_t_f32 v_sub_f32(v_t_f32 a, v_t_f32 b) { return vsubq_f32(a, b); }
FBP_INLINE v_t_f64 v_sub_f64(v_t_f64 a, v_t_f64 b) { return vsubq_f64(a, b); }
FBP_INLINE v_t_f32 v_mul_f32(v_t_f32 a, v_t_f32 b) { return vmulq_f32(a, b); }
FBP_INLINE v_t_f64 v_mul_f64(v_t_f64 a, v_t_f64 b) { return vmulq_f64(a, b); }
FBP_INLINE v_t_f32 v_div_f32(v_t_f32 a, v_t_f32 b) { return vdivq_f32(a, b); }
FBP_INLINE v_t_f64 v_div_f64(v_t_f64 a, v_t_f64 b) { return vdivq_f64(a, b); }
FBP_INLINE v_t_f32 v_quotient_f32(v_t_f32 a, v_t_f32 b) { return vdivq_f32(a, b); }
FBP_INLINE v_t_f64 v_quotient_f64(v_t_f64 a, v_t_f64 b) { return vdivq_f64(a, b); }
FBP_INLINE v_t_f32 v_fma_f32(v_t_f32 a, v_t_f32 b, v_t_f32 c) { return vfmaq_f32(c, a, b); }
FBP_INLINE v_t_f64 v_fma_f64(v_t_f64 a, v_t_f64 b, v_t_f64 c) { return vfmaq_f64(c, a, b); }
FBP_INLINE v_t_f32 v_fnma_f32(v_t_f32 a, v_t_f32 b, v_t_f32 c) { return vfmsq_f32(c, a, b); }
FBP_INLINE v_t_f64 v_fnma_f64(v_t_f64 a, v_t_f64 b, v_t_f64 c) { return vfmsq_f64(c, a, b); }
FBP_INLINE v_t_f32 v_sqrt_f32(v_t_f32 a) { return vsqrtq_f32(a); }
FBP_INLINE v_t_f64 v_sqrt_f64(v_t_f64 a) { return vsqrtq_f64(a); }
FBP_INLINE v_t_f32 v_neg_f32(v_t_f32 a) { return vnegq_f32(a); }
FBP_INLINE v_t_f64 v_neg_f64(v_t_f64 a) { return vnegq_f64(a); }
FBP_INLINE v_t_f32 v_abs_f32(v_t_f32 a) { return vabsq_f32(a); }
FBP_INLINE v_t_f64 v_abs_f64(v_t_f64 a) { return vabsq_f64(a); }
FBP_INLINE v_t_f32 v_copysign_f32(v_t_f32 a, v_t_f32 s) {
    return vbslq_f32(vdupq_n_u32(0x80000000u), s, a);
}
FBP_INLINE v_t_f64 v_copysign_f64(v_t_f64 a, v_t_f64 s) {
    return vbslq_f64(vdupq_n_u64(0x8000000000000000u), s, a);
}
FBP_INLINE v_t_f32 v_min_f32(v_t_f32 a, v_t_f32 b) { return vbslq_f32(vcltq_f32(a, b), a, b); }
FBP_INLINE v_t_f64 v_min_f64(v_t_f64 a, v_t_f64 b) { return vbslq_f64(vcltq_f64(a, b), a, b); }
FBP_INLINE v_t_f32 v_max_f32(v_t_f32 a, v_t_f32 b) { return vbslq_f32(vcgtq_f32(a, b), a, b); }
FBP_INLINE v_t_f64 v_max_f64(v_t_f64 a, v_t_f64 b) { return vbslq_f64(vcgtq_f64(a, b), a, b); }
FBP_INLINE v_t_f32 v_round_f32(v_t_f32 x) { return vrndnq_f32(x); }
FBP_INLINE v_t_f64 v_round_f64(v_t_f64 x) { return vrndnq_f64(x); }
/* Adds half a unit of the last bit kept, less one if that bit is 0, and cuts off the rest. */
FBP_INLINE v_t_f32 v_round8_f32(v_t_f32 x) {
    const uint32x4_t bits = vreinterpretq_u32_f32(x), last = vshrq_n_u32(bits, 16);
    const uint32x4_t odd = vandq_u32(last, vdupq_n_u32(1));
    const uint32x4_t up = vaddq_u32(bits, vaddq_u32(vdupq_n_u32(0x7fff), odd));
    const uint32x4_t cut = vandq_u32(up, vdupq_n_u32(0xffff0000u));
    return vbslq_f32(vceqq_f32(x, x), vreinterpretq_f32_u32(cut), x);
}
FBP_INLINE v_t_f64 v_round8_f64(v_t_f64 x) {
    const uint64x2_t bits = vreinterpretq_u64_f64(x), last = vshrq_n_u64(bits, 45);
    const uint64x2_t odd = vandq_u64(last, vdupq_n_u64(1));
    const uint64x2_t up = vaddq_u64(bits, vaddq_u64(vdupq_n_u64((1ull << 44) - 1), odd));
    const uint64x2_t cut = vandq_u64(up, vdupq_n_u64(~((1ull << 45) - 1)));
    return vbslq_f64(vceqq_f64(x, x), vreinterpretq_f64_u64(cut), x);
}

/* ---- comparison and selection ---- */
FBP_INLINE m_t_f32 m_and_f32(m_t_f32 a, m_t_f32 b) { return vandq_u32(a, b); }
FBP_INLINE m_t_f64 m_and_f64(m_t_f64 a, m_t_f64 b) { return vandq_u64(a, b); }
FBP_INLINE m_t_f32 v_lt_f32(v_t_f32 a, v_t_f32 b) { return vcltq_f32(a, b); }
FBP_INLINE m_t_f64 v_lt_f64(v_t_f64 a, v_t_f64 b) { return vcltq_f64(a, b); }
FBP_INLINE m_t_f32 v_gt_f32(v_t_f32 a, v_t_f32 b) { return vcgtq_f32(a, b); }
FBP_INLINE m_t_f64 v_gt_f64(v_t_f64 a, v_t_f64 b) { return vcgtq_f64(a, b); }
FBP_INLINE m_t_f32 v_eq_f32(v_t_f32 a, v_t_f32 b) { return vceqq_f32(a, b); }
FBP_INLINE m_t_f64 v_eq_f64(v_t_f64 a, v_t_f64 b) { return vceqq_f64(a, b); }
FBP_INLINE m_t_f32 v_ne_f32(v_t_f32 a, v_t_f32 b) { return vmvnq_u32(vceqq_f32(a, b)); }
FBP_INLINE m_t_f64 v_ne_f64(v_t_f64 a, v_t_f64 b) {
    return vreinterpretq_u64_u32(vmvnq_u32(vreinterpretq_u32_u64(vceqq_f64(a, b))));
}
FBP_INLINE v_t_f32 v_select_f32(m_t_f32 m, v_t_f32 a, v_t_f32 b) { return vbslq_f32(m, a, b); }
FBP_INLINE v_t_f64 v_select_f64(m_t_f64 m, v_t_f64 a, v_t_f64 b) { return vbslq_f64(m, a, b); }
FBP_INLINE v_t_f32 v_keep_f32(m_t_f32 m, v_t_f32 a) { return vbslq_f32(m, a, v_zero_f32()); }
FBP_INLINE v_t_f64 v_keep_f64(m_t_f64 m, v_t_f64 a) { return vbslq_f64(m, a, v_zero_f64()); }

/* ---- powers of two ---- */
FBP_INLINE v_t_f32 v_pow2_f32(v_t_f32 n) {
    return vreinterpretq_f32_s32(vshlq_n_s32(vaddq_s32(vcvtq_s32_f32(n), vdupq_n_s32(127)), 23));
}
FBP_INLINE v_t_f64 v_pow2_f64(v_t_f64 n) {
    return vreinterpretq_f64_s64(vshlq_n_s64(vaddq_s64(vcvtq_s64_f64(n), vdupq_n_s64(1023)), 52));
}
/* An earlier product can be subnormal only if the last factor is the smallest normal number, and
 * then the result is 0. So the result is rounded once. */
FBP_INLINE v_t_f32 v_scale_f32(v_t_f32 x, v_t_f32 n) {
    const v_t_f32 lo = vdupq_n_f32(-126.0f), hi = vdupq_n_f32(127.0f);
    const v_t_f32 last = vmaxq_f32(vminq_f32(n, hi), lo);
    return vmulq_f32(vmulq_f32(x, v_pow2_f32(vsubq_f32(n, last))), v_pow2_f32(last));
}
FBP_INLINE v_t_f64 v_scale_f64(v_t_f64 x, v_t_f64 n) {
    const v_t_f64 lo = vdupq_n_f64(-1022.0), hi = vdupq_n_f64(1023.0);
    const v_t_f64 last = vmaxq_f64(vminq_f64(n, hi), lo);
    return vmulq_f64(vmulq_f64(x, v_pow2_f64(vsubq_f64(n, last))), v_pow2_f64(last));
}
FBP_INLINE v_t_f32 v_exponent_f32(v_t_f32 x) {
    const m_t_f32 tiny = vcltq_f32(x, vdupq_n_f32(0x1p-126f));
    const v_t_f32 y = vbslq_f32(tiny, vmulq_n_f32(x, 0x1p24f), x);
    const v_t_f32 bias = vbslq_f32(tiny, vdupq_n_f32(127 + 24), vdupq_n_f32(127));
    return vsubq_f32(vcvtq_f32_u32(vshrq_n_u32(vreinterpretq_u32_f32(y), 23)), bias);
}
FBP_INLINE v_t_f64 v_exponent_f64(v_t_f64 x) {
    const m_t_f64 tiny = vcltq_f64(x, vdupq_n_f64(0x1p-1022));
    const v_t_f64 y = vbslq_f64(tiny, vmulq_n_f64(x, 0x1p53), x);
    const v_t_f64 bias = vbslq_f64(tiny, vdupq_n_f64(1023 + 53), vdupq_n_f64(1023));
    return vsubq_f64(vcvtq_f64_u64(vshrq_n_u64(vreinterpretq_u64_f64(y), 52)), bias);
}
FBP_INLINE v_t_f32 v_mantissa_f32(v_t_f32 x) {
    const m_t_f32 tiny = vcltq_f32(x, vdupq_n_f32(0x1p-126f));
    const v_t_f32 y = vbslq_f32(tiny, vmulq_n_f32(x, 0x1p24f), x);
    return vbslq_f32(vdupq_n_u32(0x007fffffu), y, vdupq_n_f32(1.0f));
}
FBP_INLINE v_t_f64 v_mantissa_f64(v_t_f64 x) {
    const m_t_f64 tiny = vcltq_f64(x, vdupq_n_f64(0x1p-1022));
    const v_t_f64 y = vbslq_f64(tiny, vmulq_n_f64(x, 0x1p53), x);
    return vbslq_f64(vdupq_n_u64(0x000fffffffffffffu), y, vdupq_n_f64(1.0));
}

/* ---- random words ---- */
typedef uint64x2_t w_t;
enum { W_LANES = 2 };
FBP_INLINE w_t w_set1(uint64_t x) { return vdupq_n_u64(x); }
FBP_INLINE w_t w_count(uint64_t first) {
    return vaddq_u64(vdupq_n_u64(first), vcombine_u64(vcreate_u64(0), vcreate_u64(1)));
}
FBP_INLINE w_t w_mul(w_t a, w_t b) { return vmull_u32(vmovn_u64(a), vmovn_u64(b)); }
FBP_INLINE w_t w_high(w_t a) { return vshrq_n_u64(a, 32); }
FBP_INLINE w_t w_xor(w_t a, w_t b) { return veorq_u64(a, b); }
FBP_INLINE void w_store_pairs(uint32_t *p, w_t even, w_t odd) {
    vst1q_u32(p, vreinterpretq_u32_u64(vsliq_n_u64(even, odd, 32)));
}
FBP_INLINE m_t_f32 v_below_f32(const uint32_t *p, uint32_t limit) {
    return vcltq_u32(vld1q_u32(p), vdupq_n_u32(limit));
}
FBP_INLINE m_t_f64 v_below_f64(const uint32_t *p, uint32_t limit) {
    return vcltq_u64(vmovl_u32(vld1_u32(p)), vdupq_n_u64(limit));
}

/* ---- across lanes ---- */
FBP_INLINE float v_sum_f32(v_t_f32 v) {
    const float32x2_t d = vadd_f32(vget_low_f32(v), vget_high_f32(v));
    return vget_lane_f32(d, 0) + vget_lane_f32(d, 1);
}
FBP_INLINE double v_sum_f64(v_t_f64 v) { return vgetq_lane_f64(v, 0) + vgetq_lane_f64(v, 1); }
FBP_INLINE void v_sums_f32(const v_t_f32 r[4], float out[4]) {
    for (int i = 0; i < 4; i++) out[i] = v_sum_f32(r[i]);
}
FBP_INLINE void v_sums_f64(const v_t_f64 r[4], double out[4]) {
    for (int i = 0; i < 4; i++) out[i] = v_sum_f64(r[i]);
}
FBP_INLINE float v_hmax_f32(v_t_f32 v) { return vmaxvq_f32(v); }
FBP_INLINE double v_hmax_f64(v_t_f64 v) { return vmaxvq_f64(v); }
FBP_INLINE void v_transpose_f32(v_t_f32 r[4]) {
    const float64x2_t ab_lo = vreinterpretq_f64_f32(vtrn1q_f32(r[0], r[1]));
    const float64x2_t ab_hi = vreinterpretq_f64_f32(vtrn2q_f32(r[0], r[1]));
    const float64x2_t cd_lo = vreinterpretq_f64_f32(vtrn1q_f32(r[2], r[3]));
    const float64x2_t cd_hi = vreinterpretq_f64_f32(vtrn2q_f32(r[2], r[3]));
    r[0] = vreinterpretq_f32_f64(vtrn1q_f64(ab_lo, cd_lo));
    r[1] = vreinterpretq_f32_f64(vtrn1q_f64(ab_hi, cd_hi));
    r[2] = vreinterpretq_f32_f64(vtrn2q_f64(ab_lo, cd_lo));
    r[3] = vreinterpretq_f32_f64(vtrn2q_f64(ab_hi, cd_hi));
}
FBP_INLINE void v_transpose_f64(v_t_f64 r[2]) {
    const v_t_f64 row = vtrn1q_f64(r[0], r[1]);
    r[1] = vtrn2q_f64(r[0], r[1]);
    r[0] = row;
}

enum { V_COLUMNS_f32 = 4, V_COLUMNS_f64 = 2 };
FBP_INLINE void v_load_columns_f32(const float *const *from, ptrdiff_t j, v_t_f32 c[4]) {
    FBP_UNROLL(4)
    for (int i = 0; i < 4; i++) c[i] = vld1q_f32(from[i] + j);
    v_transpose_f32(c);
}
FBP_INLINE void v_load_columns_f64(const double *const *from, ptrdiff_t j, v_t_f64 c[2]) {
    FBP_UNROLL(2)
    for (int i = 0; i < 2; i++) c[i] = vld1q_f64(from[i] + j);
    v_transpose_f64(c);
}
FBP_INLINE void v_store_columns_f32(float *const *to, ptrdiff_t j, const v_t_f32 c[4]) {
    v_t_f32 r[4] = {c[0], c[1], c[2], c[3]};
    v_transpose_f32(r);
    FBP_UNROLL(4)
    for (int i = 0; i < 4; i++) vst1q_f32(to[i] + j, r[i]);
}
FBP_INLINE void v_store_columns_f64(double *const *to, ptrdiff_t j, const v_t_f64 c[2]) {
    v_t_f64 r[2] = {c[0], c[1]};
    v_transpose_f64(r);
    FBP_UNROLL(2)
    for (int i = 0; i < 2; i++) vst1q_f64(to[i] + j, r[i]);
}

#endif
