/* isa.h: compiles all kernels for one ISA. Each isa/<name>.c includes it last, and defines before:
 *   FBP_ISA            the name of the ISA
 *   FBP_TILES(X)       X(rows, vectors) for every register tile
 *   FBP_TALL_TILES(X)  the same for the tiles that only gemm_tn uses
 *   FBP_MR_<vectors>   the rows of the tallest tile of that width
 *   FBP_NN_ROWS        the rows of the tallest tile of gemm_nn
 *   FBP_SIDE_HEIGHTS(X)  X(rows) for every tile of interleaved products, which has up to
 *                      FBP_SIDE_COLS columns of vectors
 *   FBP_SIDE_ROWS      the rows of the tallest of them
 * gemm_nn reads each row of A through a pointer of its own, and FBP_NN_ROWS pointers fit into the
 * general registers. On Zen 4, 14 rows reload three pointers per iteration and reach 90 to 95 % of
 * peak; 11 rows reach 98 %. Included once per translation unit, so it has no include guard.
 * FBP_ONLY_F32 or FBP_ONLY_F64 leaves out the other dtype, so that two compilers share a file. */

#include "../kernels/kernels.h"

#include <float.h>
#include <math.h>
#include <string.h>

#include "../simd/simd.h"

#define FBP_ISA_NAME(x) FBP_PASTE(x, FBP_ISA)

/* Tuning constants of the tiles; those of a machine are in base/machine.c.
 * FBP_PACK_MIN_ROWS: a strip of B is copied only if A has at least this many rows.
 * FBP_PREFETCH_MIN_K: from this k on, a tile of gemm_nn takes long enough to hide a prefetch of
 * what it needs after its sum. With 50, prefetching made 6-50-50-50-3 at batch 1000 2 % slower.
 * FBP_NARROW_ELEMS: the last few columns of B are dot products if they have at most so many
 * elements. It decides which of two sums an output is, so it must not depend on the machine. */
#ifndef FBP_PACK_MIN_ROWS
#define FBP_PACK_MIN_ROWS (4 * FBP_MR_2)
#endif
#ifndef FBP_PREFETCH_MIN_K
#define FBP_PREFETCH_MIN_K 128
#endif
#define FBP_PANEL_VECTORS 2
#define FBP_NARROW_ELEMS (384 * FBP_PANEL_VECTORS * V_LANES)
#define FBP_MR_MAX 14
#define FBP_SIDE_COLS 4
#define FBP_SIDE_SAMPLES 32
#define FBP_NV_MAX 8

extern const fbp_kernels_t FBP_ISA_NAME(fbp_kernels_f32), FBP_ISA_NAME(fbp_kernels_f64);

#if !defined(FBP_ONLY_F64)
#define FBP_SFX f32
#define FBP_IS_F64 0
#define FBP_EPSILON FLT_EPSILON
#define FBP_LARGEST FLT_MAX
#define FBP_SMALLEST FLT_MIN
#include "../kernels/all.inc"
#undef FBP_SFX
#undef FBP_IS_F64
#undef FBP_EPSILON
#undef FBP_LARGEST
#undef FBP_SMALLEST
#endif

#if !defined(FBP_ONLY_F32)
#define FBP_SFX f64
#define FBP_IS_F64 1
#define FBP_EPSILON DBL_EPSILON
#define FBP_LARGEST DBL_MAX
#define FBP_SMALLEST DBL_MIN
#include "../kernels/all.inc"
#endif
