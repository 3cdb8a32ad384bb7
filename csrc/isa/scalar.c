/* scalar.c: the kernels in plain C, for any machine; a vector is one element. */
#define FBP_ISA scalar
/* clang-format off */
#define FBP_TILES(X) \
    X(1, 1) X(2, 1) X(3, 1) X(4, 1) X(1, 2) X(2, 2) X(3, 2) X(4, 2) X(1, 4) X(2, 4) X(1, 8)
#define FBP_TALL_TILES(X)
/* clang-format on */
#define FBP_MR_1 4
#define FBP_MR_2 4
#define FBP_MR_4 2
#define FBP_MR_8 1
#define FBP_SIDE_ROWS 2
#define FBP_SIDE_HEIGHTS(X) X(1) X(2)
#define FBP_NN_ROWS 4
#include "../simd/scalar.h"
#include "isa.h"
