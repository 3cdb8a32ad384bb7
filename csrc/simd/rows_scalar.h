/* rows_scalar.h: rows of 32 numbers in bfloat16, in plain C, for tests of the products that use
 * them. The contracts are in rows.h. */
#ifndef FBP_SIMD_ROWS
#define FBP_SIMD_ROWS "scalar"

#include <math.h>
#include <stdint.h>
#include <string.h>

#include "../base/common.h"

typedef struct {
    uint16_t at[32];
} h_t;

FBP_INLINE float h_value(uint16_t h) {
    const uint32_t bits = (uint32_t)h << 16;
    float x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

FBP_INLINE uint16_t h_round_one(float x) {
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    if ((bits & 0x7f800000u) == 0) return (uint16_t)(bits >> 16 & 0x8000u);
    if ((bits & 0x7fffffffu) > 0x7f800000u) return (uint16_t)(bits >> 16 | 0x40u);
    return (uint16_t)((bits + 0x7fffu + (bits >> 16 & 1u)) >> 16);
}

FBP_INLINE h_t h_round(const float *x) {
    h_t h;
    for (int i = 0; i < 32; ++i) h.at[i] = h_round_one(x[i]);
    return h;
}
FBP_INLINE h_t h_rest(const float *x, h_t hi) {
    for (int i = 0; i < 32; ++i) {
        const float value = h_value(hi.at[i]);
        hi.at[i] = isfinite(value) ? h_round_one(x[i] - value) : 0;
    }
    return hi;
}
FBP_INLINE void h_store(uint16_t *p, h_t h) { memcpy(p, &h, sizeof h); }

FBP_INLINE void h_pairs(h_t even, h_t odd, h_t *first, h_t *second) {
    for (int i = 0; i < 16; ++i) {
        first->at[2 * i] = even.at[i];
        first->at[2 * i + 1] = odd.at[i];
        second->at[2 * i] = even.at[16 + i];
        second->at[2 * i + 1] = odd.at[16 + i];
    }
}

FBP_INLINE void h_transpose(h_t r[16]) {
    h_t t[16];
    for (int i = 0; i < 16; ++i)
        for (int j = 0; j < 16; ++j) memcpy(t[j].at + 2 * i, r[i].at + 2 * j, 4);
    memcpy(r, t, sizeof t);
}

#endif
