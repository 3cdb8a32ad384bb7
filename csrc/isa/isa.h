/* isa.h: the rest of every isa/<name>.c, which has named itself (FBP_ISA) and its register tiles:
 * FBP_TILES(X) lists X(rows, vectors), FBP_TALL_TILES those for gemm_tn alone, FBP_MR_<vectors> the
 * tallest of each width. gemm_nn walks one pointer a row and so goes up to FBP_NN_ROWS only, as
 * many as the general registers hold: on Zen 4 with 14 rows, three of them reloaded in each turn,
 * it runs at 90 to 95 % of peak; with 11 at 98. Included once a translation unit, hence no guard.
 */

#include "../kernels/kernels.h"

#include <float.h>
#include <math.h>
#include <string.h>

#include "../simd/simd.h"

#define FBP_ISA_NAME(x) FBP_PASTE(x, FBP_ISA)

/* Tuning, each overridable from the command line of the compiler.
 * FBP_KC, FBP_KC_TN: rows of B that one strip holds at a time; the strip is read once a row tile.
 * FBP_PACK_MIN_ROWS, FBP_PACK_MIN_BYTES: rows of A, and bytes between rows of B, from which copying
 * a strip of B is repaid: rows 4 KiB apart share one L1 set and one L2 set in sixteen. */
#ifndef FBP_KC
#define FBP_KC 384
#endif
#ifndef FBP_KC_TN
#define FBP_KC_TN 384
#endif
#ifndef FBP_PACK_MIN_ROWS
#define FBP_PACK_MIN_ROWS (4 * FBP_MR_2)
#endif
#ifndef FBP_PACK_MIN_BYTES
#define FBP_PACK_MIN_BYTES 4096
#endif
#define FBP_PANEL_VECTORS 2
#define FBP_MR_MAX 14
#define FBP_NV_MAX 8

extern const fbp_kernels_t FBP_ISA_NAME(fbp_kernels_f32), FBP_ISA_NAME(fbp_kernels_f64);

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

#define FBP_SFX f64
#define FBP_IS_F64 1
#define FBP_EPSILON DBL_EPSILON
#define FBP_LARGEST DBL_MAX
#define FBP_SMALLEST DBL_MIN
#include "../kernels/all.inc"
