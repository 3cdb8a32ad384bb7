/* amx.c: products in bfloat16 by AMX tiles; every other kernel is that of avx512.c. */
#define FBP_ISA amx
#define FBP_BF16_PLANES 2
#define FBP_BF16_DEPTH 32 /* a strip of B takes 64 KiB of L2 */
#define FBP_BF16_SHARED_ROWS 256
#define FBP_BF16_SUMS "../kernels/bf16_tiles.inc"
#include "../simd/avx512.h"
#include "../simd/rows_avx512.h"
#include "../simd/tiles_amx.h"
#include "bf16.h"
