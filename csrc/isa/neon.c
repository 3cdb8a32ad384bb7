/* neon.c: the kernels for AArch64 Advanced SIMD. A tile of 12×2 vectors uses 24 of the 32 registers
 * for C, two for B and one for A. */
#define FBP_ISA neon
/* clang-format off */
#define FBP_TILES(X) \
    X(1, 1) X(2, 1) X(3, 1) X(4, 1) X(5, 1) X(6, 1) X(7, 1) X(8, 1) X(9, 1) X(10, 1) X(11, 1) X(12, 1) \
    X(1, 2) X(2, 2) X(3, 2) X(4, 2) X(5, 2) X(6, 2) X(7, 2) X(8, 2) X(9, 2) X(10, 2) X(11, 2) X(12, 2) \
    X(1, 4) X(2, 4) X(3, 4) X(4, 4) X(5, 4) X(6, 4) X(1, 8) X(2, 8) X(3, 8)
#define FBP_TALL_TILES(X)
/* clang-format on */
#define FBP_MR_1 12
#define FBP_MR_2 12
#define FBP_MR_4 6
#define FBP_MR_8 3
#define FBP_SIDE_ROWS 6
#define FBP_SIDE_HEIGHTS(X) X(1) X(2) X(3) X(4) X(5) X(6)
#define FBP_NN_ROWS 12
#include "../simd/neon.h"
#include "isa.h"
