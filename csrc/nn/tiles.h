/* tiles.h: the weight sweep of a training step. One task takes a tile of one W, sums aᵀδ over the
 * whole batch in a fixed order and hands the sums on while they are in L1 and L2. As in rows.h,
 * each output is computed by exactly one task, in a fixed order. */
#ifndef FASTBP_NN_TILES_H
#define FASTBP_NN_TILES_H

#include "batch.h"

/* The copies of a tile of theta that the plan has room for: plan->wp and plan->wt. */
void fbp_copy_tile(const fbp_plan_t *plan, const void *theta, const fbp_tile_t *tile);

/* In place of a row of W: these are the sums of b, or of what a norm has. */
enum { FBP_ROW_BIAS = -FBP_PART_B, FBP_ROW_GAIN = -FBP_PART_GAIN, FBP_ROW_SHIFT = -FBP_PART_SHIFT };

/* Takes raw sums of a run of outputs with their place in W, whole rows of W in one long one; or one
 * of the rows above. */
typedef void (*fbp_finish_fn)(void *context, const fbp_tile_t *tile, const fbp_mat_t *sums,
                              long row, long column);

/* Sums aᵀδ of a tile over the batch and hands them to `finish`, run by run. warm: flat vectors laid
 * out as theta that finish will touch, NULL after the last. */
void fbp_weight_tile(const fbp_batch_t *batch, const fbp_scratch_t *scratch, const fbp_tile_t *tile,
                     fbp_finish_fn finish, void *context, const void *const warm[FBP_MAX_WARM]);

/* The same with Σ_i δ_i of a layer, and the sums of its norm, for the tile of it that starts at
 * unit 0; else nothing. */
void fbp_vector_tile(const fbp_batch_t *batch, const fbp_scratch_t *scratch, const fbp_tile_t *tile,
                     fbp_finish_fn finish, void *context);

/* ---- l1 ‖W‖₁ + (l2/2) ‖W‖² ---- */

double fbp_tile_penalty(const fastbp_net_t *net, const void *theta, const fbp_tile_t *tile);
double fbp_penalty(const fastbp_net_t *net, const void *theta); /* tile by tile, in order */

#endif
