/* tiles.h: the weight sweep of a training step. One task takes a tile of one W, sums aᵀδ over the
 * whole batch in a fixed order and hands the sums on while they are in L1 and L2. As in rows.h,
 * each output is computed by exactly one task, in a fixed order. */
#ifndef FASTBP_NN_TILES_H
#define FASTBP_NN_TILES_H

#include "batch.h"

/* Values of `row` below that stand for b, gain, shift, constants and scale instead of a row of W.
 */
enum {
    FBP_ROW_BIAS = -FBP_PART_B,
    FBP_ROW_GAIN = -FBP_PART_GAIN,
    FBP_ROW_SHIFT = -FBP_PART_SHIFT,
    FBP_ROW_CONSTANTS = -FBP_PART_CONSTANTS,
    FBP_ROW_SCALE = -FBP_PART_SCALE,
    FBP_ROW_FREQUENCIES = -FBP_PART_FREQUENCIES /* and the other parts of an embedding below it */
};

/* Receives the raw sums of a part of a tile: units row … of W and outputs column …, or a vector of
 * the layer. Whole rows of W come as one row with all their elements. */
typedef void (*fbp_finish_fn)(void *context, const fbp_tile_t *tile, const fbp_mat_t *sums,
                              ptrdiff_t row, ptrdiff_t column);

/* Sums aᵀδ of a tile over the batch and hands the sums to `finish`, tile_outputs columns of the
 * machine at a time; and those of the tile's part of scale, if the layer has one. warm: vectors
 * laid out as theta that `finish` will use, to be prefetched; NULL ends the list. */
void fbp_weight_tile(const fbp_batch_t *batch, const fbp_scratch_t *scratch, const fbp_tile_t *tile,
                     fbp_finish_fn finish, void *context, const void *const warm[FBP_MAX_WARM]);

/* The same for the vectors of a layer: Σ_i δ_i, the sums of its norm and those of its constants.
 * They belong to the tile that starts at unit 0; for other tiles it does nothing. */
void fbp_vector_tile(const fbp_batch_t *batch, const fbp_scratch_t *scratch, const fbp_tile_t *tile,
                     fbp_finish_fn finish, void *context);

/* ---- l1 ‖W‖₁ + (l2/2) ‖W‖² ---- */

/* The penalty of one tile of W, and of every W: the sum over tiles in order. */
double fbp_tile_penalty(const fastbp_net_t *net, const void *theta, const fbp_tile_t *tile);
double fbp_penalty(const fastbp_net_t *net, const void *theta);

#endif
