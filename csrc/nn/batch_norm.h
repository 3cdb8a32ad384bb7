/* batch_norm.h: what batch normalisation needs beside the work on blocks of rows, which options.h
 * has: sums over all rows of a batch, between two barriers, and running statistics.
 *
 * plan->stats[l] of a layer with batch norm holds four vectors. The first two are mean and
 * variance. If the layer is normed by the batch (plan->by_batch), they are those of z over the
 * batch, and with g = ∂J/∂n the others are Σ_i g_i ⊙ x̂_i and Σ_i g_i. Otherwise they are copies of
 * the running ones. One task sums a strip of units over all rows, in a fixed order, so the bits do
 * not depend on the team. A prediction has no stats and reads theta. */
#ifndef FASTBP_NN_BATCH_NORM_H
#define FASTBP_NN_BATCH_NORM_H

#include "../threads/team.h"
#include "batch.h"

/* Lets layers with batch norm use the statistics of the batch, if they are trained, or the running
 * ones in batch->theta, until the next call. */
void fbp_choose_statistics(const fbp_batch_t *batch, bool of_batch);

/* Sets mean and var of the norm of layer l, and the sums of its gradient if they are those of the
 * batch. */
void fbp_set_statistics(const fbp_batch_t *batch, int l, fbp_norm_t *norm);

/* The sums of a layer that is normed by the batch, made by all workers of a team: the moments of z,
 * which the forward step has left there; and those of ∂J/∂n, which are in plan->delta[l]. A barrier
 * comes before the tasks and another one after them. */
void fbp_sum_moments(const fbp_batch_t *batch, int l, fbp_team_t *team, fbp_profile_t *profile);
void fbp_sum_slopes(const fbp_batch_t *batch, int l, fbp_team_t *team, fbp_profile_t *profile);

/* The vectors of plan->stats[l], once they are there. */
const void *fbp_stats_mean(const fbp_plan_t *plan, int l);
const void *fbp_stats_var(const fbp_plan_t *plan, int l);
const void *fbp_gain_sums(const fbp_plan_t *plan, int l);
const void *fbp_shift_sums(const fbp_plan_t *plan, int l);

/* A batch of one row, in which the variance is 0 for every unit, makes no step. */
FBP_INLINE bool fbp_leaves_out(const fbp_batch_t *batch) {
    return batch->rows == 1 && fbp_is_by_batch(batch->plan);
}

/* ---- running statistics; all do nothing for layers without batch norm ---- */

/* to = (1 − momentum) from + momentum · those of the batch, for the statistics of layer l, if it is
 * normed by the batch. from and to are laid out as theta and may be the same. */
void fbp_move_statistics(const fbp_batch_t *batch, int l, const void *from, void *to);

/* Whether no running variance in theta is negative; NaN and infinity are not. */
bool fbp_variances_fit(const fastbp_net_t *net, const void *theta);

/* Copies them from one such vector to another, or makes them 0. */
void fbp_copy_statistics(const fastbp_net_t *net, int l, const void *from, void *to);
void fbp_clear_statistics(const fastbp_net_t *net, int l, void *to);

#endif
