/* bf16.h: compiles the products in bfloat16 for one ISA. Each isa/<name>.c that has them includes
 * it last, after the vectors of simd/ for the epilogues and the rows, and defines before:
 *   FBP_ISA               the name of the ISA
 *   FBP_BF16_PLANES       the most planes with which products are faster than in f32. It chooses
 *                         between two sums, so it belongs to the ISA and not to base/machine.c
 *   FBP_BF16_SUMS         the file of kernels/ that has block_sums
 *   FBP_BF16_DEPTH        tiles of k in one part of a sum: the strip of B that stays in L1 or L2
 *   FBP_BF16_SHARED_ROWS  rows of A that one strip of B serves, a multiple of 32 */

#include "../kernels/bf16.h"

#include <float.h>
#include <math.h>
#include <string.h>

#include "../simd/rows.h"
#include "../simd/simd.h"

#define FBP_ISA_NAME(x) FBP_PASTE(x, FBP_ISA)
#define FBP_TEXT_(x) #x
#define FBP_TEXT(x) FBP_TEXT_(x)

extern const fbp_bf16_t FBP_ISA_NAME(fbp_bf16);

#define FBP_SFX f32
#define FBP_IS_F64 0
#define FBP_EPSILON FLT_EPSILON
#define FBP_LARGEST FLT_MAX
#define FBP_SMALLEST FLT_MIN
#include "../kernels/vmath.inc"

#include "../kernels/activation.inc"

#include FBP_BF16_SUMS

#include "../kernels/bf16.inc"
