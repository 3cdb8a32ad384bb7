/* products.h: the matrix products of a batch, a^{l−1} W^l, δ^l W^lᵀ and aᵀδ, at the precision of
 * the network, and the factors they take. The other files of this floor do not know how a plan
 * makes its products (factors.h). */
#ifndef FASTBP_NN_PRODUCTS_H
#define FASTBP_NN_PRODUCTS_H

#include "batch.h"

/* Each thread calls these before and after the products of a region. Code of the caller, which may
 * use tiles of AMX itself, must not run between them. */
void fbp_begin_products(const fbp_plan_t *plan);
void fbp_end_products(const fbp_plan_t *plan);

bool fbp_uses_copies(const fbp_batch_t *batch);

/* The copies of W that forward passes read, and those of Wᵀ that recursions read. */
typedef enum { FBP_COPY_FORWARD = 1, FBP_COPY_TRANSPOSED = 2, FBP_COPY_BOTH = 3 } fbp_copies_t;

/* Copies a tile of the batch's W into these copies, if the plan has them. The caller has made the
 * thread flush subnormals, as every region does. */
void fbp_copy_tile(const fbp_batch_t *batch, const fbp_tile_t *tile, fbp_copies_t copies);

/* The same if products of the batch read copies; otherwise fbp_scale_tile alone. */
void fbp_renew_tile(const fbp_batch_t *batch, const fbp_tile_t *tile, fbp_copies_t copies);

/* Makes plan->scaled_w of a tile: scale ⊙ W, or its derivative along batch->theta. Nothing if the
 * layer has no scale. */
void fbp_scale_tile(const fbp_batch_t *batch, const fbp_tile_t *tile);

/* W^l as products read it, n_out apart: in theta, or multiplied by the scale of the layer. */
const void *fbp_weights_of(const fbp_batch_t *batch, int l);

/* ---- factors of rows, to be made when the rows are final and before a product reads them ---- */

/* a^l (x for l = 0) of the rows, for l < L. */
void fbp_factor_a(const fbp_batch_t *batch, int l, ptrdiff_t row0, ptrdiff_t rows);

/* δ^l of the rows, for the recursion and the gradient. */
void fbp_factor_delta(const fbp_batch_t *batch, int l, ptrdiff_t row0, ptrdiff_t rows);

/* s_i δ_i^l of the rows, in place of δ^l, for a gradient with weights that are not folded. */
void fbp_factor_scaled(const fbp_batch_t *batch, int l, ptrdiff_t row0, ptrdiff_t rows);

/* ---- products ---- */

/* A `product` comes with its result, sizes and epilogue; these functions add the factors. Rows are
 * row0 … of the batch. `final`: the result needs no more than the epilogue to be a^l or δ^{l−1}, so
 * its own factors are made, too. */

/* c = epi(a^{l−1} W^l + bias) */
void fbp_multiply_weights(const fbp_batch_t *batch, const fbp_scratch_t *scratch, int l,
                          ptrdiff_t row0, bool final, fbp_gemm_t *product);

/* z = x W^1 + bias, for sparse rows of x. */
void fbp_multiply_sparse(const fbp_batch_t *batch, ptrdiff_t row0, const fbp_gemm_t *product,
                         void *z, ptrdiff_t ldz);

/* c = epi(δ^l W^lᵀ), where rows of W^l begin with unit unit0, a multiple of the columns of a panel;
 * unit0 is 0 if fbp_sums_from_tiles. */
void fbp_multiply_transposed(const fbp_batch_t *batch, const fbp_scratch_t *scratch, int l,
                             ptrdiff_t row0, ptrdiff_t unit0, bool final, fbp_gemm_t *product);

/* The same from the copy of W^lᵀ, for any number of rows; the caller sets product->pack. */
void fbp_multiply_copy(const fbp_batch_t *batch, int l, ptrdiff_t row0, ptrdiff_t unit0, bool final,
                       fbp_gemm_t *product);

/* ---- gradients: sums over all rows of the batch ---- */

/* Whether sums of dense rows come from fbp_sum_tiles. Otherwise they are computed from rows of
 * fbp_gradient_a and fbp_gradient_delta. */
bool fbp_sums_from_tiles(const fbp_batch_t *batch);

/* sums[units, cols] = a^{l−1ᵀ}δ^l: the units of a tile of W^l, outputs column … */
void fbp_sum_tiles(const fbp_batch_t *batch, const fbp_tile_t *tile, ptrdiff_t column,
                   ptrdiff_t cols, void *sums, ptrdiff_t lds);

/* The same for sparse rows of x. */
void fbp_sum_sparse(const fbp_batch_t *batch, const fbp_tile_t *tile, ptrdiff_t column,
                    ptrdiff_t cols, void *sums, ptrdiff_t lds);

/* a^{l−1}, and δ^l or s_i δ_i^l, as factors. */
const fbp_rows_t *fbp_gradient_a(const fbp_batch_t *batch, int l);
const fbp_rows_t *fbp_gradient_delta(const fbp_batch_t *batch, int l);

/* δ^l from which sums that are no product are made: s_i δ_i, or δ if the weights are in it. */
const fbp_rows_t *fbp_weighted_delta(const fbp_batch_t *batch, int l);

#endif
