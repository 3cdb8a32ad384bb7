/* tiles_emulated.h: the tile operations of tiles_amx.h in plain C, so that layouts, edges and sums
 * can be tested on machines without AMX.
 *
 * t_dot follows the pseudocode of TDPBF16PS (Intel SDM vol. 2): the products of even and of odd
 * elements are summed apart by fused multiply-adds that begin at 0, q ascending; the two sums are
 * added, and the result is added to c. Each of these operations rounds to nearest, ties to even,
 * and treats subnormals as zeros, whatever the mode of the thread. Tiles that are used without
 * t_configure are NaN; the processor would raise an exception. */
#ifndef FBP_SIMD_TILES
#define FBP_SIMD_TILES "emulated"

#include <float.h>
#include <math.h>
#include <stdint.h>
#include <string.h>

#include "../base/common.h"

typedef struct {
    unsigned char tile[8][16][64];
} tiles_t;

static _Thread_local bool tiles_configured;

FBP_INLINE void t_configure(void) { tiles_configured = true; }
FBP_INLINE void t_release(void) { tiles_configured = false; }
FBP_INLINE void t_begin(tiles_t *t) { memset(t, 0xff, sizeof *t); }
FBP_INLINE void t_end(void) {}

FBP_INLINE void t_zero(tiles_t *t, int c) {
    if (tiles_configured) memset(t->tile[c], 0, sizeof t->tile[c]);
}
FBP_INLINE void t_load(tiles_t *t, int c, const void *p, ptrdiff_t stride) {
    if (!tiles_configured) return;
    for (ptrdiff_t r = 0; r < 16; ++r) memcpy(t->tile[c][r], (const char *)p + r * stride, 64);
}
FBP_INLINE void t_store(const tiles_t *t, int c, void *p, ptrdiff_t stride) {
    for (ptrdiff_t r = 0; r < 16; ++r) memcpy((char *)p + r * stride, t->tile[c][r], 64);
}

/* A tile of a factor as floats. even and odd: the elements 2j and 2j + 1 of row q. */
typedef struct {
    float even[16][16], odd[16][16];
    int smallest, largest; /* exponents of the finite elements that are not 0 */
} tile_values_t;

FBP_INLINE float t_value(uint32_t bits, tile_values_t *v) {
    const int exponent = (int)(bits >> 23 & 0xffu) - 127;
    if (exponent == -127) bits &= 0x80000000u; /* a subnormal */
    else if (exponent < 128) {
        v->smallest = exponent < v->smallest ? exponent : v->smallest;
        v->largest = exponent > v->largest ? exponent : v->largest;
    }
    float x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

static void t_expand(const unsigned char tile[16][64], tile_values_t *v) {
    v->smallest = 127;
    v->largest = -126;
    for (int q = 0; q < 16; ++q)
        for (int j = 0; j < 16; ++j) {
            uint16_t pair[2];
            memcpy(pair, tile[q] + 4 * j, sizeof pair);
            v->even[q][j] = t_value((uint32_t)pair[0] << 16, v);
            v->odd[q][j] = t_value((uint32_t)pair[1] << 16, v);
        }
}

FBP_INLINE float t_flush(float x) { return fabsf(x) < FLT_MIN ? copysignf(0.0f, x) : x; }

/* exact: no product and no sum of products can overflow or be subnormal. Then the product of two
 * numbers with 8 bits is exact, and a multiplication and an addition round as a fused one. */
FBP_INLINE void t_dot_row(const bool exact, const float a_even[16], const float a_odd[16],
                          const tile_values_t *b, float c[16]) {
    float even[16] = {0}, odd[16] = {0};
    for (int q = 0; q < 16; ++q)
        for (int j = 0; j < 16; ++j) {
            if (exact) {
                even[j] += a_even[q] * b->even[q][j];
                odd[j] += a_odd[q] * b->odd[q][j];
            } else {
                even[j] = t_flush(fmaf(a_even[q], b->even[q][j], even[j]));
                odd[j] = t_flush(fmaf(a_odd[q], b->odd[q][j], odd[j]));
            }
        }
    for (int j = 0; j < 16; ++j) c[j] = t_flush(t_flush(c[j]) + t_flush(even[j] + odd[j]));
}

/* Products are multiples of 2^(smallest a − 7 + smallest b − 7), and so are their sums; they are
 * below 2^(largest a + largest b + 2), and sums of 16 of them below 2^4 times as much. */
static void t_dot(tiles_t *t, int c, int a, int b) {
    tile_values_t left, right;
    t_expand(t->tile[a], &left);
    t_expand(t->tile[b], &right);
    const bool exact =
        left.smallest + right.smallest - 14 >= -126 && left.largest + right.largest + 6 <= 127;
    for (int i = 0; i < 16; ++i) {
        float sums[16];
        memcpy(sums, t->tile[c][i], sizeof sums);
        if (exact) t_dot_row(true, left.even[i], left.odd[i], &right, sums);
        else t_dot_row(false, left.even[i], left.odd[i], &right, sums);
        memcpy(t->tile[c][i], sums, sizeof sums);
    }
}

#endif
