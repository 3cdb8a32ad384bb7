/* update.h: what becomes of the raw sums of a weight tile: a gradient for the user, or an optimiser
 * step on the tile while it is in L1. */
#ifndef FASTBP_NN_UPDATE_H
#define FASTBP_NN_UPDATE_H

#include "sweep.h"

/* True when the rule is known, its hyper-parameters are in range and its moments are there. */
bool fbp_optimizer_valid(const fastbp_optimizer_t *optimizer);

/* The constants of step t (>= 1) of an optimiser. */
fbp_update_t fbp_update_of(const fastbp_optimizer_t *optimizer, uint64_t t);

/* grad = (sums · grad_scale, with penalties) for all tiles: the weight sweep to a flat gradient. */
void fbp_gradient_sweep(const fbp_batch_t *batch, double grad_scale, void *grad);

/* The weight sweep with the update applied tile by tile; theta is written, and with keep_wt so are
 * the transposed copies. plan->tile_penalty receives each tile's penalty before its update, where
 * the network has one. */
void fbp_update_sweep(const fbp_batch_t *batch, const fbp_update_t *update,
                      const fastbp_optimizer_t *optimizer, void *theta, bool keep_wt);

#endif
