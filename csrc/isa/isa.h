/* isa.h: the rest of every isa/<name>.c, which has named itself (FBP_ISA) and its register tiles
 * (FBP_TILES, FBP_MR_<vectors>): the operations of that ISA, then the kernels twice. Included once
 * a translation unit, hence no guard. */

#include "../kernels/kernels.h"

#include <float.h>
#include <math.h>

#include "../simd/simd.h"

#define FBP_ISA_NAME(x) FBP_PASTE(x, FBP_ISA)

/* Tuning, each overridable from the command line of the compiler.
 * FBP_KC: rows of B that one strip holds at a time. A strip of two vectors by FBP_KC is read once a
 * row tile, from L1 or a near L2; see csrc/README.md for the sweep that chose it.
 * FBP_PACK_MIN_ROWS: rows of A from which copying a strip of B once is repaid. */
#ifndef FBP_KC
#define FBP_KC 384
#endif
#ifndef FBP_PACK_MIN_ROWS
#define FBP_PACK_MIN_ROWS (4 * FBP_MR_2)
#endif
#define FBP_PANEL_VECTORS 2
#define FBP_MR_MAX 14
#define FBP_NV_MAX 8

extern const fbp_kernels_t FBP_ISA_NAME(fbp_kernels_f32), FBP_ISA_NAME(fbp_kernels_f64);

#define FBP_SFX f32
#define FBP_IS_F64 0
#define FBP_EPSILON FLT_EPSILON
#include "../kernels/all.inc"
#undef FBP_SFX
#undef FBP_IS_F64
#undef FBP_EPSILON

#define FBP_SFX f64
#define FBP_IS_F64 1
#define FBP_EPSILON DBL_EPSILON
#include "../kernels/all.inc"
