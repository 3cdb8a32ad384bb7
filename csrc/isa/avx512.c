/* avx512.c: the kernels for AVX-512 F, DQ, BW and VL. A tile of 14×2 vectors uses 28 of the 32
 * registers for C, two for B and one for A. */
#define FBP_ISA avx512
/* clang-format off */
#define FBP_TILES(X) \
    X(1, 1) X(2, 1) X(3, 1) X(4, 1) X(5, 1) X(6, 1) X(7, 1) X(8, 1) X(9, 1) X(10, 1) X(11, 1) X(1, 2) \
    X(2, 2) X(3, 2) X(4, 2) X(5, 2) X(6, 2) X(7, 2) X(8, 2) X(9, 2) X(10, 2) X(11, 2) X(1, 4) X(2, 4) \
    X(3, 4) X(4, 4) X(5, 4) X(6, 4) X(1, 8) X(2, 8) X(3, 8)
#define FBP_TALL_TILES(X) X(12, 1) X(13, 1) X(14, 1) \
    X(12, 2) X(13, 2) X(14, 2)
/* clang-format on */
#define FBP_MR_1 14
#define FBP_MR_2 14
#define FBP_MR_4 6
#define FBP_MR_8 3
#define FBP_SIDE_ROWS 6
#define FBP_SIDE_HEIGHTS(X) X(1) X(2) X(3) X(4) X(5) X(6)
#define FBP_NN_ROWS 11
#include "../simd/avx512.h"
#include "isa.h"
