/* fpmode.h: how a thread's floating-point unit treats subnormal numbers. Arithmetic on them takes
 * 100 cycles or more on Intel, and the moments of gradients that have become zero decay into them
 * and stay there. So the engine reads and writes zeros of the same sign instead. x86: FTZ and DAZ
 * of MXCSR (Intel SDM vol. 1, §11.6.3 and §10.2.3.3), which every x86-64 has; AArch64: FZ of FPCR
 * (Arm ARM, C5.2.8). On other machines nothing is changed. */
#ifndef FASTBP_BASE_FPMODE_H
#define FASTBP_BASE_FPMODE_H

#include "common.h"

#if defined(__x86_64__) || defined(_M_X64)
#include <xmmintrin.h>

typedef unsigned fbp_fpmode_t; /* MXCSR: the modes, and flags of past exceptions */
enum { FBP_FLUSH_BITS = 0x8040 };

FBP_INLINE fbp_fpmode_t fbp_fpmode(void) { return _mm_getcsr(); }
FBP_INLINE void fbp_set_fpmode(fbp_fpmode_t mode) { _mm_setcsr(mode); }
#elif defined(__aarch64__)
typedef uint64_t fbp_fpmode_t; /* FPCR */
enum { FBP_FLUSH_BITS = 1 << 24 };

FBP_INLINE fbp_fpmode_t fbp_fpmode(void) {
    fbp_fpmode_t mode;
    __asm__ volatile("mrs %0, fpcr" : "=r"(mode)::"memory");
    return mode;
}
FBP_INLINE void fbp_set_fpmode(fbp_fpmode_t mode) {
    __asm__ volatile("msr fpcr, %0" ::"r"(mode) : "memory");
}
#else
typedef unsigned fbp_fpmode_t;
enum { FBP_FLUSH_BITS = 0 };

FBP_INLINE fbp_fpmode_t fbp_fpmode(void) { return 0; }
FBP_INLINE void fbp_set_fpmode(fbp_fpmode_t mode) { (void)mode; }
#endif

/* Treats subnormals as zeros on this thread from now on. Returns the previous mode, to be given to
 * fbp_set_fpmode. */
FBP_INLINE fbp_fpmode_t fbp_flush_subnormals(void) {
    const fbp_fpmode_t before = fbp_fpmode();
    fbp_set_fpmode(before | FBP_FLUSH_BITS);
    return before;
}

#endif
