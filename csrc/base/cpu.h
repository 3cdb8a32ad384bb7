/* cpu.h: the features of this processor that the operating system lets a program use, and its
 * caches. */
#ifndef FASTBP_BASE_CPU_H
#define FASTBP_BASE_CPU_H

#include "common.h"

/* Groups of features as the ISA files need them. Each covers everything that the compiler flags of
 * the ISA allow. */
enum {
    FBP_CPU_SCALAR = 0,
    FBP_CPU_AVX2 = 1,   /* AVX2 + FMA; the system saves ymm registers */
    FBP_CPU_AVX512 = 2, /* F + DQ + BW + VL; the system saves zmm and mask registers */
    FBP_CPU_NEON = 4,
    FBP_CPU_AVX512_BF16 = 8, /* AVX512 + AVX512_BF16 */
    FBP_CPU_AMX = 16,        /* AVX512_BF16 + AMX-TILE + AMX-BF16; a process may request tiles */
};

typedef enum { FBP_VENDOR_OTHER, FBP_VENDOR_AMD, FBP_VENDOR_INTEL } fbp_vendor_t;

typedef struct {
    unsigned features; /* FBP_CPU_* */
    fbp_vendor_t vendor;
    int family, model; /* as cpuid gives them, with the extended parts; 0 if it does not */
    bool hybrid;       /* the cores are of several kinds */
    char name[64];     /* brand string, "" if unknown */
    /* Bytes of the data caches that this core sees; the defaults of cpu.c if unknown. */
    size_t l1d, l2, l3;
} fbp_cpu_t;

/* Detected by the first call and constant from then on. */
const fbp_cpu_t *fbp_cpu(void);

/* Whether this process may use AMX tiles. */
typedef enum {
    FBP_TILES_NONE,        /* the processor has none, or the system does not save them */
    FBP_TILES_UNREQUESTED, /* it has not requested them */
    FBP_TILES_PERMITTED,
    FBP_TILES_REFUSED,
} fbp_tiles_t;

fbp_tiles_t fbp_tiles(void);

/* Requests tiles, unless there is an answer already, and returns whether the process may use them.
 * A permission cannot be given back, and makes the frames of signals larger. */
bool fbp_request_tiles(void);

#endif
