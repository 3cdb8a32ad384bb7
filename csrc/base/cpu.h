/* cpu.h: what this processor and its operating system let a program use. */
#ifndef FASTBP_BASE_CPU_H
#define FASTBP_BASE_CPU_H

#include "common.h"

/* Feature groups as the ISA files need them, each a superset of what their flags allow. */
enum {
    FBP_CPU_AVX2 = 1,   /* AVX2 + FMA, ymm state saved by the system */
    FBP_CPU_AVX512 = 2, /* F + DQ + BW + VL, zmm and mask state saved by the system */
    FBP_CPU_NEON = 4,
};

typedef struct {
    unsigned features; /* FBP_CPU_* */
    char name[64];     /* brand string, "" when unknown */
    size_t l1d, l2,
        l3; /* bytes of the data caches seen by one core; documented guesses if unknown */
} fbp_cpu_t;

/* Detected at the first call, constant from then on. */
const fbp_cpu_t *fbp_cpu(void);

#endif
