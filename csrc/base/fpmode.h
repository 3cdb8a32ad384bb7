/* fpmode.h: what a thread's floating-point unit does with subnormal numbers. Arithmetic on them
 * takes 100 cycles and more on Intel, and moments of gradients that have died stay among them, so
 * the engine reads and writes zeros of the same sign instead. x86: FTZ and DAZ of MXCSR (Intel SDM
 * vol. 1 §11.6.3, 10.2.3.3), of which every x86-64 has both; AArch64: FZ of FPCR (Arm ARM, C5.2.8).
 * Elsewhere nothing is changed. */
#ifndef FASTBP_BASE_FPMODE_H
#define FASTBP_BASE_FPMODE_H

#include "common.h"

#if defined(__x86_64__) || defined(_M_X64)
#include <xmmintrin.h>

typedef unsigned fbp_fpmode_t; /* MXCSR: modes, and which exceptions there have been */
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

/* Flushes subnormals on this thread from now on; returns the mode before, for fbp_set_fpmode. */
FBP_INLINE fbp_fpmode_t fbp_flush_subnormals(void) {
    const fbp_fpmode_t before = fbp_fpmode();
    fbp_set_fpmode(before | FBP_FLUSH_BITS);
    return before;
}

#endif
