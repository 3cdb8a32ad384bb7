/* avx2.c: the kernels for AVX2 and FMA. A tile of 6×2 vectors uses 12 of the 16 registers for C,
 * two for B and one for A. */
#define FBP_ISA avx2
/* clang-format off */
#define FBP_TILES(X) \
    X(1, 1) X(2, 1) X(3, 1) X(4, 1) X(5, 1) X(6, 1) X(7, 1) X(8, 1) X(9, 1) X(10, 1) X(11, 1) X(1, 2) \
    X(2, 2) X(3, 2) X(4, 2) X(5, 2) X(6, 2) X(1, 4) X(2, 4) X(3, 4) X(1, 8)
#define FBP_TALL_TILES(X) X(12, 1)
/* clang-format on */
#define FBP_MR_1 12
#define FBP_MR_2 6
#define FBP_MR_4 3
#define FBP_MR_8 1
#define FBP_SIDE_ROWS 3
#define FBP_SIDE_HEIGHTS(X) X(1) X(2) X(3)
#define FBP_NN_ROWS 11
#include "../simd/avx2.h"
#include "isa.h"
