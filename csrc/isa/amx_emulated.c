/* amx_emulated.c: the products of amx.c, with its tile operations in plain C, for tests only. */
#define FBP_ISA amx_emulated
#define FBP_BF16_PLANES 2
#define FBP_BF16_DEPTH 2 /* so that small products have several parts */
#define FBP_BF16_SHARED_ROWS 64
#define FBP_BF16_SUMS "../kernels/bf16_tiles.inc"
#include "../simd/scalar.h"
#include "../simd/rows_scalar.h"
#include "../simd/tiles_emulated.h"
#include "bf16.h"
