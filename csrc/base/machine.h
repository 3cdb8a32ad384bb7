/* machine.h: what the engine decides by microarchitecture. One row per machine, in machine.c, holds
 * every constant that was measured on one machine and is wrong on another. No decision of the row
 * that fbp_machine() returns changes a result: the bits are the same for every row. */
#ifndef FASTBP_BASE_MACHINE_H
#define FASTBP_BASE_MACHINE_H

#include "common.h"

/* How products divide their work, for one width of vectors. */
typedef struct {
    int kc, kc_tn; /* rows of B in one strip of gemm_nn and of gemm_tn; each row tile reads it */
    int pack_min_bytes; /* gemm_nn copies strips of B if its rows are at least this far apart */
    int pack_a_outputs; /* gemm_tn copies A tile by tile from this many outputs on; 0: never */
} fbp_blocking_t;

enum { FBP_VECTORS_16, FBP_VECTORS_32, FBP_VECTORS_64, FBP_VECTOR_WIDTHS }; /* bytes */

/* How a product prefetches the matrices that its caller uses next. */
typedef enum {
    FBP_PREFETCH_BURST,  /* before each register tile, all that belong to it */
    FBP_PREFETCH_SPREAD, /* one line every few rows of k */
} fbp_prefetch_t;

/* The fastest way to multiply numbers in bfloat16. Where the system or the build does not have it,
 * float32 is the next best. */
typedef enum {
    FBP_BF16_BY_F32,   /* as float32 */
    FBP_BF16_BY_DOT,   /* vdpbf16ps */
    FBP_BF16_BY_TILES, /* AMX */
} fbp_bf16_way_t;

typedef struct {
    const char *name;
    size_t l1d, l2; /* bytes of the caches of a core; blocks of rows and prefetches follow l2 */
    fbp_blocking_t blocking[FBP_VECTOR_WIDTHS];
    ptrdiff_t
        panels_min_bytes; /* training keeps W in panels if its rows have this many bytes or more */
    ptrdiff_t
        tile_outputs; /* outputs whose raw sums are computed before the update goes over them */
    ptrdiff_t warm_outputs; /* with more outputs, products prefetch theta and the moments */
    fbp_prefetch_t prefetch;
    ptrdiff_t block_rows; /* the fewest rows of a block of the row sweep, if the batch has them */
    double min_work;      /* floating-point operations per step that each worker must get */
    fbp_bf16_way_t bf16;  /* it decides the default ISA, and only for the machine that was found */
} fbp_machine_t;

/* The machine found by cpuid, with the caches that cpuid reports, or those of the row if the cores
 * differ. What it points to never changes. */
const fbp_machine_t *fbp_machine_found(void);

/* The chosen machine; the one found if none was chosen. What it points to never changes. */
const fbp_machine_t *fbp_machine(void);

/* Chooses a machine by name, with the caches of its row; NULL: the one found. Returns false, and
 * changes nothing, if there is no such name. */
bool fbp_machine_select(const char *name);

/* The name of the i-th machine, or NULL. */
const char *fbp_machine_name(int i);

/* The blocking for vectors of this many bytes. */
FBP_INLINE const fbp_blocking_t *fbp_blocking_of(const fbp_machine_t *machine, size_t bytes) {
    return &machine->blocking[bytes >= 64   ? FBP_VECTORS_64
                              : bytes >= 32 ? FBP_VECTORS_32
                                            : FBP_VECTORS_16];
}

#endif
