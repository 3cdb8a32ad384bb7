/* avx512_bf16.c: products in bfloat16 by VDPBF16PS; every other kernel is that of avx512.c. */
#define FBP_ISA avx512_bf16
/* Three products, each half as long as one in f32, take 1.5 times as long. */
#define FBP_BF16_PLANES 1
#define FBP_BF16_DEPTH 16 /* a strip of B takes 32 KiB; 8 to 16 differ by 2 % on Zen 4 */
#define FBP_BF16_SHARED_ROWS 256
#define FBP_BF16_SUMS "../kernels/bf16_vectors.inc"
#include "../simd/avx512.h"
#include "../simd/rows_avx512.h"
#include "bf16.h"
