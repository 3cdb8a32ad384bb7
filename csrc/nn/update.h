/* update.h: what becomes of the raw sums of a weight tile: a gradient for the user, or an optimiser
 * step on the tile while it is in L1. */
#ifndef FASTBP_NN_UPDATE_H
#define FASTBP_NN_UPDATE_H

#include "clip.h"
#include "tiles.h"

/* True when the rule is known, its hyper-parameters are in range and its moments are there. */
bool fbp_optimizer_valid(const fastbp_optimizer_t *optimizer);

/* The constants of step t (>= 1) of an optimiser. */
fbp_update_t fbp_update_of(const fastbp_optimizer_t *optimizer, uint64_t t);

/* grad of one tile = (sums · grad_scale, with penalties). */
void fbp_gradient_tile(const fbp_batch_t *batch, const fbp_scratch_t *scratch,
                       const fbp_tile_t *tile, double grad_scale, void *grad);

/* grad of one tile, 0 in the `first` batch, += its raw sums. */
void fbp_gather_tile(const fbp_batch_t *batch, const fbp_scratch_t *scratch, const fbp_tile_t *tile,
                     bool first, void *grad);

/* Raw sums of one tile that were gathered become its gradient, in place: · grad_scale, with
 * penalties of theta. */
void fbp_close_tile(const fastbp_net_t *net, const fbp_tile_t *tile, double grad_scale,
                    const void *theta, void *grad);

/* One tile of theta and of its moments brought to the next step, while its sums are in L1 and L2.
 * The penalties in `update` are set on the way: a copy of it for every strip would cost the
 * smallest nets 2 % of a step. */
void fbp_update_tile(const fbp_batch_t *batch, const fbp_scratch_t *scratch, const fbp_tile_t *tile,
                     fbp_update_t *update, const fastbp_optimizer_t *optimizer, void *theta);

/* The same from a gradient that is written down, penalties included, by the factors of `clipping`.
 */
void fbp_update_written(const fastbp_net_t *net, const fbp_tile_t *tile, const fbp_update_t *update,
                        const fastbp_optimizer_t *optimizer, fbp_clipping_t *clipping,
                        const void *grad, void *theta);

#endif
