/* rows.h: the row sweep of a training step, and the pieces of it that derivatives need. The rows of
 * a batch are independent of one another, so one task takes a block of rows through forward, loss
 * and the whole δ recursion while they are in L2.
 *
 * Each output is computed by exactly one task, in a fixed order. Results therefore do not depend on
 * how tasks are shared out, and the tasks of one sweep may run in any order or at the same time. */
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

#endif
