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

/* ---- the sweep; the rows have been loaded ---- */

/* A layer that is normed by the batch interrupts the sweep, forward and backward: the sums of all
 * rows have to be made before any row goes on. So the next two functions stop within such a layer,
 * and are called again to go on from it (stages.h). */

/* Computes a of the layers above `from`, from the inputs on if that is 0, and z where the plan has
 * a buffer for it: up to a^L, or to z of the next layer that is normed by the batch. If `from` is
 * not 0, it is such a layer, whose moments are there: its a comes first. */
void fbp_forward_rows(const fbp_batch_t *batch, const fbp_scratch_t *scratch, int from,
                      ptrdiff_t row0, ptrdiff_t rows);

/* Calls the caller's own loss for all rows of the batch, after their forward: fills plan->row_loss
 * and, if batch->backward, ∂J_i/∂a in plan->delta[L]. The function runs in callers_mode. Returns
 * false if it fails. */
bool fbp_custom_loss(const fbp_batch_t *batch, fbp_fpmode_t callers_mode);

/* Fills plan->row_loss of the rows and, if batch->backward, their δ^L, after their forward and, if
 * the network has a loss of the caller's own, fbp_custom_loss. */
void fbp_loss_rows(const fbp_batch_t *batch, const fbp_scratch_t *scratch, ptrdiff_t row0,
                   ptrdiff_t rows);

/* δ^{from−1} … δ^to of the rows from their δ^from, by fbp_delta_rows: down to δ^to, or to ∂J/∂n of
 * the next layer that is normed by the batch. The factors of δ^from are made, too. */
void fbp_recursion_rows(const fbp_batch_t *batch, const fbp_scratch_t *scratch, int from, int to,
                        ptrdiff_t row0, ptrdiff_t rows);

/* δ^{l−1} of the rows from their δ^l and its factors (fbp_factor_delta), for l = 2 … L. Makes the
 * factors of δ^{l−1}, too. If layer l − 1 is normed by the batch: ∂J/∂n^{l−1}, without factors. */
void fbp_delta_rows(const fbp_batch_t *batch, const fbp_scratch_t *scratch, int l, ptrdiff_t row0,
                    ptrdiff_t rows);

/* s_i δ_i of every layer and its factors; nothing if the batch has no weights or folds them into
 * δ^L. */
void fbp_weigh_rows(const fbp_batch_t *batch, ptrdiff_t row0, ptrdiff_t rows);

/* ---- pieces, for derivatives ---- */

/* Turns delta[rows,n_l] = ∂J_i/∂a^l into ∂J_i/∂z^l, in place: ⊙ σ'_l, or the product with the
 * Jacobian of softmax, and back through the norm if the layer has one. If that is batch norm by the
 * batch, the rows are all of the batch. kept: see fbp_act_pull_back. */
void fbp_pull_back_rows(const fbp_batch_t *batch, const fbp_scratch_t *scratch, int l,
                        ptrdiff_t row0, ptrdiff_t rows, void *delta, ptrdiff_t ldd,
                        const fbp_rows_t *kept);

/* out[rows,n_{l−1}] = δ^l W^lᵀ = ∂J_i/∂a^{l−1}, for l = 1 … L. A batch that uses copies of W needs
 * the one of W^l. */
void fbp_slope_rows(const fbp_batch_t *batch, const fbp_scratch_t *scratch, int l, ptrdiff_t row0,
                    ptrdiff_t rows, void *out, ptrdiff_t ldo);

/* out[rows,n_L] = ∂J_i/∂a^L, even if loss and output are a pair. */
void fbp_loss_slope_rows(const fbp_batch_t *batch, const fbp_scratch_t *scratch, ptrdiff_t row0,
                         ptrdiff_t rows, void *out, ptrdiff_t ldo);

/* out[rows,n_L] = R{∂J_i/∂a^L}, or R{δ^L} if loss and output are a pair, from rz = R{z^L} and
 * ra = R{a^L}; tangent.c explains R. */
void fbp_loss_curve_rows(const fbp_batch_t *batch, const fbp_scratch_t *scratch, ptrdiff_t row0,
                         const fbp_mat_t *rz, const fbp_mat_t *ra, void *out, ptrdiff_t ldo);

#endif
