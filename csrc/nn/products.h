/* products.h: the matrix products of a batch, a^{l−1} W^l, δ^l W^lᵀ and aᵀδ, at the precision of
 * the network. The files of this floor ask here for factors and kernels; none of them knows how a
 * plan makes its products (factors.h). */
#ifndef FASTBP_NN_PRODUCTS_H
#define FASTBP_NN_PRODUCTS_H

#include "batch.h"

/* Batches with more rows than this use copies of W. Smaller ones read W itself, also for δ·Wᵀ,
 * unless the factors are rounded. */
#ifndef FBP_DOT_MAX_ROWS
#define FBP_DOT_MAX_ROWS 8
#endif

bool fbp_uses_copies(const fbp_batch_t *batch);

/* Copies a tile of the batch's W into those of plan->wp and plan->wt that the plan has. */
void fbp_copy_tile(const fbp_batch_t *batch, const fbp_tile_t *tile);

/* ---- factors of rows, to be made when the rows are final and before a product reads them ---- */

/* a^l (x for l = 0) of the rows, for l < L. */
void fbp_factor_a(const fbp_batch_t *batch, int l, long row0, long rows);

/* δ^l of the rows, for the recursion and the gradient. */
void fbp_factor_delta(const fbp_batch_t *batch, int l, long row0, long rows);

/* s_i δ_i^l of the rows, in place of δ^l, for a gradient with weights that are not folded. */
void fbp_factor_scaled(const fbp_batch_t *batch, int l, long row0, long rows);

/* ---- products ---- */

/* A `product` comes with its result, sizes and epilogue; these functions add the factors. */

/* c = epi(a^{l−1} W^l + bias), for rows row0 … */
void fbp_multiply_weights(const fbp_batch_t *batch, const fbp_scratch_t *scratch, int l, long row0,
                          fbp_gemm_t *product);

/* z = x W^1 + bias, for sparse rows row0 … of x. */
void fbp_multiply_sparse(const fbp_batch_t *batch, long row0, const fbp_gemm_t *product, void *z,
                         long ldz);

/* c = epi(δ^l W^lᵀ), for rows row0 … */
void fbp_multiply_transposed(const fbp_batch_t *batch, const fbp_scratch_t *scratch, int l,
                             long row0, fbp_gemm_t *product);

/* The same from the copy of W^lᵀ, for any number of rows; the caller sets product->pack. */
void fbp_multiply_copy(const fbp_batch_t *batch, int l, long row0, fbp_gemm_t *product);

/* sums[units, cols] = xᵀδ^1 for sparse rows of x: the units of a tile of W^1, outputs column … */
void fbp_sum_sparse(const fbp_batch_t *batch, const fbp_tile_t *tile, long column, long cols,
                    void *sums, long lds);

/* The factors of aᵀδ of a layer: a^{l−1} and δ^l, or s_i δ_i^l. */
const fbp_rows_t *fbp_gradient_a(const fbp_batch_t *batch, int l);
const fbp_rows_t *fbp_gradient_delta(const fbp_batch_t *batch, int l);

/* δ^l from which sums that are no product are made: s_i δ_i, or δ if the weights are in it. */
const fbp_rows_t *fbp_weighted_delta(const fbp_batch_t *batch, int l);

#endif
