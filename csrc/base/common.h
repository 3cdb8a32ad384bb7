/* common.h: differences between compilers, integer helpers and checked sizes. It includes nothing
 * of the project and knows nothing of networks. */
#ifndef FASTBP_BASE_COMMON_H
#define FASTBP_BASE_COMMON_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#if defined(__GNUC__) || defined(__clang__)
#define FBP_INLINE static inline __attribute__((always_inline, unused))
#define FBP_NOINLINE __attribute__((noinline))
#define FBP_PREFETCH_L1(p) __builtin_prefetch((p), 0, 3)
#define FBP_PREFETCH_L2(p) __builtin_prefetch((p), 0, 2)
#define FBP_PREFETCH_WRITE(p) __builtin_prefetch((p), 1, 3)
#define FBP_OPAQUE(x) __asm__("" : "+r"(x)) /* hides from the compiler how x was computed */
#define FBP_PRAGMA(x) _Pragma(#x)
#if defined(__clang__)
#define FBP_UNROLL(n) FBP_PRAGMA(clang loop unroll_count(n))
#else
#define FBP_UNROLL(n) FBP_PRAGMA(GCC unroll n)
#endif
#else
#define FBP_INLINE static __forceinline
#define FBP_NOINLINE __declspec(noinline)
#define FBP_UNROLL(n)
#define FBP_PREFETCH_L1(p) ((void)0)
#define FBP_PREFETCH_L2(p) ((void)0)
#define FBP_PREFETCH_WRITE(p) ((void)0)
#define FBP_OPAQUE(x) ((void)0)
#endif

#define FBP_CACHE_LINE 64 /* bytes; every buffer of the engine starts on a cache line */

FBP_INLINE ptrdiff_t fbp_min(ptrdiff_t a, ptrdiff_t b) { return a < b ? a : b; }
FBP_INLINE ptrdiff_t fbp_max(ptrdiff_t a, ptrdiff_t b) { return a > b ? a : b; }
FBP_INLINE ptrdiff_t fbp_ceil_div(ptrdiff_t a, ptrdiff_t b) { return (a + b - 1) / b; }
FBP_INLINE ptrdiff_t fbp_round_up(ptrdiff_t a, ptrdiff_t b) { return fbp_ceil_div(a, b) * b; }

/* *out = a * b; false, without writing *out, if the product does not fit. */
FBP_INLINE bool fbp_size_mul(size_t a, size_t b, size_t *out) {
    if (b != 0 && a > SIZE_MAX / b) return false;
    *out = a * b;
    return true;
}

/* *out = a + b; false, without writing *out, if the sum does not fit. */
FBP_INLINE bool fbp_size_add(size_t a, size_t b, size_t *out) {
    if (a > SIZE_MAX - b) return false;
    *out = a + b;
    return true;
}

#endif
