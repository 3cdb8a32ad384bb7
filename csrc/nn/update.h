/* update.h: turns the raw sums of a tile into a gradient for the caller, or into an optimiser step
 * while the tile is in L1. */
#ifndef FASTBP_NN_UPDATE_H
#define FASTBP_NN_UPDATE_H

#include "clip.h"
#include "tiles.h"

/* Whether the rule is known, its hyper-parameters are in range and its moments are not NULL. */
bool fbp_optimizer_valid(const fastbp_optimizer_t *optimizer);

/* Whether its rule is one of Muon, which needs the whole gradient of every W, or one of the
 * schedule-free rules; and whether the whole gradient must be in memory before the first update,
 * for that or for clipping by norms. */
bool fbp_is_muon(const fastbp_optimizer_t *optimizer);
bool fbp_is_free(const fastbp_optimizer_t *optimizer); /* schedule-free */
bool fbp_needs_gradient(const fastbp_optimizer_t *optimizer);

/* Exchanges theta and y of schedule-free rules in layers that are trained, before a step or a run
 * and after it. Does nothing for other rules. */
void fbp_enter_steps(const fastbp_net_t *net, const fastbp_optimizer_t *optimizer, void *theta);
void fbp_leave_steps(const fastbp_net_t *net, const fastbp_optimizer_t *optimizer, void *theta);

/* The constants of step t >= 1 of an optimiser. */
fbp_update_t fbp_step_constants(const fastbp_optimizer_t *optimizer, uint64_t t);

/* Whether the update of a layer (from 0) computes its gradient on the way, from the few rows of a
 * batch. If rows of W are shorter than a vector, it goes over raw sums instead, which are
 * contiguous: the layer 128 -> 10 of a step with one row takes 0.9 µs from rows and 0.4 from sums.
 */
bool fbp_updates_from_rows(const fbp_batch_t *batch, const fbp_update_t *update, int layer);

/* The gradient of one tile: raw sums · grad_scale, plus penalties. */
void fbp_gradient_tile(const fbp_batch_t *batch, const fbp_scratch_t *scratch,
                       const fbp_tile_t *tile, double grad_scale, void *grad);

/* Adds the raw sums of one tile to grad; in the `first` part of a batch, sets grad to them. */
void fbp_gather_tile(const fbp_batch_t *batch, const fbp_scratch_t *scratch, const fbp_tile_t *tile,
                     bool first, void *grad);

/* Turns gathered raw sums of one tile into its gradient, in place: · grad_scale, plus penalties of
 * theta. */
void fbp_close_tile(const fastbp_net_t *net, const fbp_tile_t *tile, double grad_scale,
                    const void *theta, void *grad);

/* Updates one tile of theta and of the moments while its sums are in L1 and L2. It sets the
 * penalties in `update`; a copy of `update` for every strip would cost the smallest networks 2 % of
 * a step. */
void fbp_update_tile(const fbp_batch_t *batch, const fbp_scratch_t *scratch, const fbp_tile_t *tile,
                     fbp_update_t *update, const fastbp_optimizer_t *optimizer, void *theta);

/* Updates `count` elements of theta from `offset` on, of one part (FBP_PART_*) of layer[i], from
 * raw sums (or a gradient) that begin there; the penalties are those in `update`. */
void fbp_update_run(const fastbp_net_t *net, int i, int part, const fbp_update_t *update,
                    const fastbp_optimizer_t *optimizer, const void *sums, void *theta,
                    size_t offset, ptrdiff_t count);

/* The same from a gradient in memory that includes the penalties, scaled as `clipping` says. */
void fbp_update_written(const fastbp_net_t *net, const fbp_tile_t *tile, const fbp_update_t *update,
                        const fastbp_optimizer_t *optimizer, fbp_clipping_t *clipping,
                        const void *grad, void *theta);

/* Muon: the step of one tile of W along `direction`, which is laid out as theta. The updates above
 * have only written the directions of all W to update->direction. */
void fbp_update_along(const fastbp_net_t *net, const fbp_tile_t *tile, const fbp_update_t *update,
                      const fastbp_optimizer_t *optimizer, const void *direction, void *theta);

#endif
