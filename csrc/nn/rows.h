/* rows.h: the two sweeps of a training step. Rows of a batch are independent, so a task of the row
 * sweep takes a block of rows through forward, loss and the whole δ recursion while they sit in L2.
 * A task of the weight sweep takes a tile of one W and sums aᵀδ over the full batch in a fixed
 * order. Each number is made by exactly one task in one order, so results do not depend on how
 * tasks are shared out; tasks of one sweep may run in any order or at once. */
#ifndef FASTBP_NN_ROWS_H
#define FASTBP_NN_ROWS_H

#include "../base/fpmode.h"
#include "batch.h"

/* Batches up to this many rows use W itself, also for δ·Wᵀ; larger ones its copies. */
#ifndef FBP_DOT_MAX_ROWS
#define FBP_DOT_MAX_ROWS 8
#endif

bool fbp_uses_copies(const fbp_batch_t *batch);

/* ---- row sweep: a block of rows, loaded before ---- */

/* Every layer's a, and z where the plan keeps it. */
void fbp_forward_rows(const fbp_batch_t *batch, const fbp_scratch_t *scratch, long row0, long rows);

/* A loss of the caller's: plan->row_loss and, where batch->backward, ∂J_i/∂a of all rows of the
 * batch, whose forward is done. It is called in the mode of arithmetic that the caller of the
 * engine has. False when it gives up. */
bool fbp_custom_loss(const fbp_batch_t *batch, fbp_fpmode_t callers_mode);

/* plan->row_loss of the rows and, where batch->backward, their δ^L. Needs their forward, and
 * fbp_custom_loss where the network has one. */
void fbp_loss_rows(const fbp_batch_t *batch, long row0, long rows);

/* δ^{L−1} … δ^1 of the rows from their δ^L, and s_i δ_i where the batch asks for it: what the next
 * two do. */
void fbp_recursion_rows(const fbp_batch_t *batch, const fbp_scratch_t *scratch, long row0,
                        long rows);

/* δ^{l−1} of the rows from their δ^l, l = 2 … L. */
void fbp_delta_rows(const fbp_batch_t *batch, const fbp_scratch_t *scratch, int l, long row0,
                    long rows);

/* s_i δ_i of every layer, where the batch is weighted and does not fold its weights. */
void fbp_weigh_rows(const fbp_batch_t *batch, long row0, long rows);

/* ---- pieces of it, for derivatives ---- */

/* delta[rows,n_l] ⊙= σ'_l, or softmax's Jacobian product; delta: ∂J_i/∂a^l, then ∂J_i/∂z^l. */
void fbp_pull_back_rows(const fbp_batch_t *batch, int l, long row0, long rows, void *delta,
                        long ldd);

/* out[rows,n_{l−1}] = δ^l W^lᵀ = ∂J_i/∂a^{l−1}, l = 1 … L; batches that use copies need theirs. */
void fbp_slope_rows(const fbp_batch_t *batch, const fbp_scratch_t *scratch, int l, long row0,
                    long rows, void *out, long ldo);

/* out[rows,n_L] = ∂J_i/∂a^L, also where loss and output are a pair. */
void fbp_loss_slope_rows(const fbp_batch_t *batch, long row0, long rows, void *out, long ldo);

/* out[rows,n_L] = R{∂J_i/∂a^L} from rz = R{z^L} and ra = R{a^L}; of a pair R{δ^L}. */
void fbp_loss_curve_rows(const fbp_batch_t *batch, long row0, const fbp_mat_t *rz,
                         const fbp_mat_t *ra, void *out, long ldo);

/* ---- weight sweep: a tile of one W ---- */

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
