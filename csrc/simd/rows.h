/* rows.h: operations on rows of 32 numbers in bfloat16. A file of isa/ includes rows_avx512.h or
 * rows_scalar.h, which define the type h_t and these operations, before this header.
 *
 *   h_round(x)      the row of x[0 … 31], rounded to nearest, ties to even. A subnormal becomes a
 *                   zero of its sign, a NaN a quiet NaN, as the instruction does it
 *   h_rest(x, hi)   the row of x − hi, rounded likewise; 0 where hi is not finite
 *   h_pairs(even, odd, first, second)  elements 0 … 15 of both rows side by side, then 16 … 31
 *   h_transpose(r)  transposes the 16 × 16 matrix of pairs whose rows are r[0 … 15], in place
 *   h_store(p, h)   p[0 … 31] = the bits of the row */
#ifndef FASTBP_SIMD_ROWS_H
#define FASTBP_SIMD_ROWS_H

#ifndef FBP_SIMD_ROWS
#error "include rows_avx512.h or rows_scalar.h before rows.h"
#endif

#endif
