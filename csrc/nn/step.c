/* step.c: see step.h. */
#include "step.h"

#include "../base/clock.h"
#include "batch_norm.h"
#include "options.h"
#include "products.h"
#include "share.h"
#include "stages.h"
#include "update.h"

#include <math.h>

/* A rate of 0 would make folded constants of Adam infinite. A rate this small changes no parameter,
 * unless the parameter is as small itself. */
#define LEAST_RATE 1e-30

/* Elements of theta that one task of a rank updates: sums, theta and moments of them fit into L2.
 */
enum { TASK_ELEMS = 8192 };

static void wait_for_all(fbp_team_t *team, fbp_profile_t *profile) {
    fbp_team_barrier(team);
    fbp_lap(profile, 0, FASTBP_PHASE_WAITING);
}

typedef enum { FORWARD = 1, BACKWARD = 2, BOTH = 3 } stage_t;

/* Takes the rows of a batch through the network: forward to a^L, backward from a^L, or both. A
 * backward stage also computes the penalties, tile by tile of W, once per step. Layers that are
 * normed by the batch divide the sweep by barriers; without them it is one loop. */
static void row_sweep(const fastbp_fit_t *fit, const fbp_batch_t *batch, ptrdiff_t first,
                      stage_t stage, fbp_team_t *team, int worker) {
    const fbp_plan_t *plan = &fit->plan;
    const fastbp_net_t *net = plan->net;
    const fbp_scratch_t *scratch = &plan->scratch[worker];
    const uint32_t *order = fit->order != NULL ? fit->order + first : NULL;
    const fbp_source_rows_t source = {&fit->data, order, first};
    const ptrdiff_t blocks = fbp_plan_blocks(plan, batch->rows, fbp_team_size(team));
    const bool penalised = stage != FORWARD && batch->first && (net->l1 != 0 || net->l2 != 0);
    const ptrdiff_t tiles = penalised ? net->n_tiles : 0;
    const int lowest = (int)fbp_max(1, batch->lowest);
    int from = 0;
    if (stage & FORWARD) from = fbp_forward_stages(batch, scratch, &source, team);
    for (ptrdiff_t t = fbp_team_next(team); t < blocks + tiles; t = fbp_team_next(team)) {
        if (t >= blocks) {
            const fbp_tile_t *tile = &net->tile[t - blocks];
            plan->tile_penalty[t - blocks] = fbp_tile_penalty(net, fit->theta, tile);
            fbp_lap(scratch->profile, tile->layer + 1, FASTBP_PHASE_LOSS);
            continue;
        }
        const fbp_block_t block = fbp_block_at(batch, t, blocks);
        if (stage & FORWARD) fbp_forward_block(batch, scratch, &source, from, &block);
        if (!(stage & BACKWARD)) continue;
        fbp_loss_rows(batch, scratch, block.row0, block.rows);
        fbp_lap(scratch->profile, net->n_layers, FASTBP_PHASE_LOSS);
        fbp_recursion_rows(batch, scratch, net->n_layers, lowest, block.row0, block.rows);
    }
    if (stage & BACKWARD) fbp_backward_stages(batch, scratch, net->n_layers, lowest, team);
}

/* Calls the caller's own loss for the whole batch, or for each part of the data in it. */
static bool call_loss(const fastbp_fit_t *fit, const fbp_batch_t *batch, fbp_fpmode_t mode) {
    if (!fit->divided) return fbp_custom_loss(batch, mode);
    for (ptrdiff_t k = 0; k < batch->portion->own_nodes; ++k) {
        fbp_segments_t segments;
        fbp_batch_t rows = fbp_node_batch(batch, k, &segments);
        for (ptrdiff_t i = 0; i < segments.n; ++i) {
            rows.rows = segments.rows[i];
            if (!fbp_custom_loss(&rows, mode)) return false;
            rows.from += rows.rows;
        }
    }
    return true;
}

/* Both stages. Between them worker 0 calls the caller's own loss, if any. */
static void whole_sweep(fbp_slice_t *slice, const fbp_batch_t *batch, ptrdiff_t first,
                        fbp_team_t *team, int worker) {
    fbp_profile_t *profile = slice->fit->plan.scratch[worker].profile;
    if (batch->plan->net->loss.fn == NULL) {
        row_sweep(slice->fit, batch, first, BOTH, team, worker);
        return;
    }
    row_sweep(slice->fit, batch, first, FORWARD, team, worker);
    wait_for_all(team, profile);
    if (worker == 0) {
        fbp_end_products(batch->plan);
        slice->loss_failed = !call_loss(slice->fit, batch, fbp_team_callers_mode(team));
        fbp_begin_products(batch->plan);
        fbp_lap(profile, batch->plan->net->n_layers, FASTBP_PHASE_LOSS);
    }
    wait_for_all(team, profile);
    if (!slice->loss_failed) row_sweep(slice->fit, batch, first, BACKWARD, team, worker);
}

void fbp_set_rates(const fastbp_fit_t *fit, ptrdiff_t step, fastbp_optimizer_t *now) {
    const ptrdiff_t at = fbp_min(step, fit->n_rates - 1);
    if (fit->rates != NULL) now->lr = fmax(fit->rates[at], LEAST_RATE);
    if (fit->momenta != NULL) now->momentum = now->beta1 = fit->momenta[at];
}

void fbp_set_smoothing(const fastbp_fit_t *fit, ptrdiff_t step, fbp_batch_t *batch) {
    const ptrdiff_t at = fbp_min(step, fit->n_smoothing - 1), n = fit->plan.net->n_layers + 1;
    batch->smoothing = fit->smoothing != NULL ? fit->smoothing + at : NULL;
    batch->dropout = fit->dropout != NULL ? fit->dropout + at * n : NULL;
}

/* Copies a tile of W after its update, unless constraint_sweep has still to limit its columns. */
static void copy_updated(const fastbp_fit_t *fit, const fbp_tile_t *tile) {
    const fbp_layer_t *layer = &fit->plan.net->layer[tile->layer];
    if (fit->keep_copies && !layer->frozen && !fbp_limits_columns(layer))
        fbp_renew_tile(&fit->batch, tile, FBP_COPY_BOTH);
}

/* Updates every W, tile by tile. Each task also prefetches a share of the next batch's rows. */
static void weight_sweep(const fastbp_fit_t *fit, const fbp_batch_t *batch, ptrdiff_t next,
                         const fastbp_optimizer_t *now, double weight, uint64_t t, fbp_team_t *team,
                         int worker) {
    const fbp_plan_t *plan = &fit->plan;
    const fastbp_net_t *net = plan->net;
    const fbp_scratch_t *scratch = &plan->scratch[worker];
    fbp_update_t update = fbp_step_constants(now, t);
    update.grad_scale = 1 / weight;
    const uint32_t *order = fit->order != NULL ? fit->order + next : NULL;
    const ptrdiff_t most = fit->divided ? batch->rows : fit->options.batch_size;
    const ptrdiff_t coming = fbp_min(most, fit->data.rows - next);
    for (ptrdiff_t i = fbp_team_next(team); i < net->n_tiles; i = fbp_team_next(team)) {
        const fbp_tile_t *tile = &net->tile[i];
        const ptrdiff_t row0 = i * coming / net->n_tiles, end = (i + 1) * coming / net->n_tiles;
        fbp_batch_prefetch(net, &fit->data, order, next, row0, end - row0);
        fbp_update_tile(batch, scratch, tile, &update, fit->optimizer, fit->theta);
        copy_updated(fit, tile);
        fbp_lap(scratch->profile, tile->layer + 1, FASTBP_PHASE_UPDATE);
    }
}

static void update_written(const fastbp_fit_t *fit, const fbp_tile_t *tile,
                           const fbp_update_t *update, const fastbp_optimizer_t *optimizer,
                           fbp_clipping_t *clipping, const void *grad,
                           const fbp_scratch_t *scratch) {
    const fbp_plan_t *plan = &fit->plan;
    fbp_update_written(plan->net, tile, update, optimizer, clipping, grad, fit->theta);
    if (!fit->turns) copy_updated(fit, tile);
    fbp_lap(scratch->profile, tile->layer + 1, FASTBP_PHASE_UPDATE);
}

/* The new running statistics of layer l: those of this batch, or those to which its parts have led.
 */
static void take_statistics(const fastbp_fit_t *fit, const fbp_batch_t *batch, int l) {
    if (!batch->plan->by_batch[l]) return;
    if (fit->sums == NULL) fbp_move_statistics(batch, l, fit->theta, fit->theta);
    else fbp_copy_statistics(batch->plan->net, l, fit->sums, fit->theta);
}

/* The constants of a step, with Muon's directions if it is one of Muon. */
static fbp_update_t constants_of(const fastbp_fit_t *fit, const fastbp_optimizer_t *now,
                                 uint64_t t) {
    fbp_update_t update = fbp_step_constants(now, t);
    if (fit->turns) update.direction = fit->muon.direction;
    return update;
}

/* Muon: when all directions are written, makes them orthogonal, and updates every W. */
static void turn_sweep(const fastbp_fit_t *fit, const fastbp_optimizer_t *now,
                       const fbp_update_t *update, fbp_team_t *team, int worker) {
    const fbp_plan_t *plan = &fit->plan;
    const fastbp_net_t *net = plan->net;
    const fbp_scratch_t *scratch = &plan->scratch[worker];
    const int iterations = (int)now->iterations;
    for (int phase = 0; phase < fbp_muon_phases(iterations); ++phase) {
        wait_for_all(team, scratch->profile);
        const ptrdiff_t tasks = fbp_muon_tasks(&fit->muon, phase, iterations);
        for (ptrdiff_t i = fbp_team_next(team); i < tasks; i = fbp_team_next(team))
            fbp_muon_task(&fit->muon, phase, i, now, scratch->pack);
        fbp_lap(scratch->profile, 0, FASTBP_PHASE_UPDATE);
    }
    wait_for_all(team, scratch->profile);
    for (ptrdiff_t i = fbp_team_next(team); i < net->n_tiles; i = fbp_team_next(team)) {
        const fbp_tile_t *tile = &net->tile[i];
        fbp_update_along(net, tile, update, now,
                         fbp_muon_result(&fit->muon, tile->layer, iterations), fit->theta);
        copy_updated(fit, tile);
        fbp_lap(scratch->profile, tile->layer + 1, FASTBP_PHASE_UPDATE);
    }
}

/* The same, but the gradient is written to memory first, which batches in parts, clipping by norms
 * and Muon need. Clipping takes two rounds: tiles of the gradient with their sums of squares and,
 * after a barrier, tiles of θ. */
static void written_sweep(const fastbp_fit_t *fit, const fbp_batch_t *batch,
                          const fastbp_optimizer_t *now, double weight, uint64_t t,
                          fbp_team_t *team, int worker) {
    const fbp_plan_t *plan = &fit->plan;
    const fastbp_net_t *net = plan->net;
    const fbp_scratch_t *scratch = &plan->scratch[worker];
    const fbp_update_t update = constants_of(fit, now, t);
    const bool norms = fbp_clips_norms(now);
    fbp_clipping_t unclipped = {.whole_factor = 1};
    void *grad = fit->sums != NULL ? fit->sums : now->grad;
    for (ptrdiff_t i = fbp_team_next(team); i < net->n_tiles; i = fbp_team_next(team)) {
        const fbp_tile_t *tile = &net->tile[i];
        const bool frozen = net->layer[tile->layer].frozen;
        if (fit->sums != NULL) fbp_close_tile(net, tile, 1 / weight, fit->theta, grad);
        else if (!frozen) fbp_gradient_tile(batch, scratch, tile, 1 / weight, grad);
        if (tile->unit0 == 0) take_statistics(fit, batch, tile->layer + 1);
        fbp_lap(scratch->profile, tile->layer + 1, FASTBP_PHASE_GRADIENT);
        if (!norms) update_written(fit, tile, &update, now, &unclipped, grad, scratch);
        for (int part = 0; norms && part < FBP_PARTS; ++part)
            plan->tile_square[FBP_PARTS * i + part] = fbp_tile_sum_squares(net, grad, tile, part);
        fbp_lap(scratch->profile, tile->layer + 1, FASTBP_PHASE_GRADIENT);
    }
    if (norms) {
        wait_for_all(team, scratch->profile);
        fbp_clipping_t clipping = fbp_clipping_of(net, now, grad, plan->tile_square);
        for (ptrdiff_t i = fbp_team_next(team); i < net->n_tiles; i = fbp_team_next(team))
            update_written(fit, &net->tile[i], &update, now, &clipping, grad, scratch);
    }
    if (fit->turns) turn_sweep(fit, now, &update, team, worker);
}

/* Processes a batch of `rows` rows from sample `first` on, part by part, and adds up the gradients
 * in fit->sums. Returns Σ s_i J_i and sets *weight to Σ s_i. If the loss of a part fails or is not
 * finite, it stops there, on all workers. */
static double gather_parts(fbp_slice_t *slice, fbp_batch_t *batch, ptrdiff_t first, ptrdiff_t rows,
                           double *weight, fbp_team_t *team, int worker) {
    const fastbp_fit_t *fit = slice->fit;
    const fastbp_net_t *net = fit->plan.net;
    const fbp_scratch_t *scratch = &fit->plan.scratch[worker];
    double losses = 0;
    *weight = 0;
    for (ptrdiff_t row = 0; row < rows; row += batch->rows) {
        batch->rows = fbp_min(fit->plan.capacity, rows - row);
        batch->offset = row;
        batch->first = row == 0;
        whole_sweep(slice, batch, first + row, team, worker);
        wait_for_all(team, scratch->profile);
        if (slice->loss_failed) return losses;
        const double own = fbp_leaves_out(batch) ? 0 : fbp_weight_sum(batch);
        const bool is_first = *weight == 0;
        *weight += own;
        if (own > 0) losses += fbp_loss_sum(batch);
        if (!isfinite(losses)) return losses;
        const ptrdiff_t tiles = own > 0 ? net->n_tiles : 0;
        for (ptrdiff_t i = fbp_team_next(team); i < tiles; i = fbp_team_next(team)) {
            fbp_gather_tile(batch, scratch, &net->tile[i], is_first, fit->sums);
            fbp_lap(scratch->profile, net->tile[i].layer + 1, FASTBP_PHASE_GRADIENT);
        }
        wait_for_all(team, scratch->profile);
    }
    return losses;
}

/* Limits the norms of columns of W. A column crosses all tiles of its layer, so the tasks are
 * strips of whole columns; after a barrier come the copies of W, by tile. */
static void constraint_sweep(const fastbp_fit_t *fit, fbp_team_t *team, int worker) {
    const fbp_plan_t *plan = &fit->plan;
    const fastbp_net_t *net = plan->net;
    fbp_profile_t *profile = plan->scratch[worker].profile;
    wait_for_all(team, profile);
    ptrdiff_t next = fbp_team_next(team), strip = 0;
    for (int i = 0; i < net->n_layers; ++i) {
        const ptrdiff_t n_out = net->layer[i].n_out;
        for (ptrdiff_t j = 0; fbp_limits_columns(&net->layer[i]) && j < n_out;
             j += net->machine->tile_outputs, ++strip) {
            if (strip != next) continue;
            const ptrdiff_t cols = fbp_min(net->machine->tile_outputs, n_out - j);
            fbp_constrain_columns(net, fit->theta, i, j, cols);
            fbp_lap(profile, i + 1, FASTBP_PHASE_UPDATE);
            next = fbp_team_next(team);
        }
    }
    wait_for_all(team, profile);
    if (!fit->keep_copies) return;
    for (ptrdiff_t t = fbp_team_next(team); t < net->n_tiles; t = fbp_team_next(team)) {
        if (!fbp_limits_columns(&net->layer[net->tile[t].layer])) continue;
        fbp_renew_tile(&fit->batch, &net->tile[t], FBP_COPY_BOTH);
        fbp_lap(profile, net->tile[t].layer + 1, FASTBP_PHASE_UPDATE);
    }
}

double fbp_objective(const fastbp_fit_t *fit, double losses, double weight) {
    double J = losses / weight;
    for (ptrdiff_t i = 0; i < fit->plan.net->n_tiles; ++i) J += fit->plan.tile_penalty[i];
    return J;
}

/* Whether the next step is to have another number of workers than this one, which took `seconds`
 * for `rows` rows. With clocks, the number stays the same, because they are to be compared. */
static bool resize(fastbp_fit_t *fit, ptrdiff_t rows, double seconds) {
    fbp_sizing_t *sizing = &fit->sizing;
    if (fit->clocks.worker != NULL) return false;
    if (fit->teams == NULL) {
        const double work = fbp_work_of(fit->plan.net, rows, FBP_TRAIN_WORK);
        return seconds > 0 && fbp_sizing_note(sizing, work, seconds);
    }
    const int before = sizing->size;
    sizing->size = fit->teams[++fit->team_step % fit->n_teams];
    sizing->changes += sizing->size != before;
    return sizing->size != before;
}

void fbp_record_step(fbp_slice_t *slice, ptrdiff_t rows, double weight, double J, double now) {
    fastbp_fit_t *fit = slice->fit;
    fit->place.first += rows;
    fit->place.step += 1;
    if (weight > 0) {
        fit->last_loss = J;
        fit->place.loss_sum += J * weight;
        fit->place.weight_sum += weight;
        fit->optimizer->t += 1;
    }
    const bool over = fit->place.first >= fbp_session_rows(fit);
    const bool ended = over || now >= slice->deadline || slice->flags != 0;
    if (fit->divided && !over)
        fbp_parts_locate(&fit->parts, fit->place.step, fit->place.first, fit->options.batch_size);
    const bool measures = fit->n_workers > 1 && !slice->fixed;
    slice->resized = measures && resize(fit, rows, now - slice->last) && !ended;
    slice->stop = ended || slice->resized;
    slice->last = now;
}

/* ---- steps with parts ---- */

/* Worker 0 asks the caller to exchange something with the other ranks. */
static void exchange(fbp_slice_t *slice, fastbp_exchange_t what, fbp_team_t *team) {
    fastbp_fit_t *fit = slice->fit;
    const fastbp_parts_t *options = &fit->parts.options;
    const fbp_fpmode_t ours = fbp_fpmode();
    fbp_end_products(&fit->plan);
    fbp_set_fpmode(fbp_team_callers_mode(team));
    slice->loss_failed |= options->exchange(options->context, what) != FASTBP_OK;
    fbp_set_fpmode(ours);
    fbp_begin_products(&fit->plan);
}

/* The sums of the batch of this rank, by node. */
static void sums_sweep(const fastbp_fit_t *fit, const fbp_batch_t *batch, void *sums,
                       fbp_team_t *team, int worker) {
    const fastbp_net_t *net = fit->plan.net;
    const fbp_scratch_t *scratch = &fit->plan.scratch[worker];
    for (ptrdiff_t i = fbp_team_next(team); i < net->n_tiles; i = fbp_team_next(team)) {
        fbp_share_tile(fit, batch, scratch, &net->tile[i], sums);
        fbp_lap(scratch->profile, net->tile[i].layer + 1, FASTBP_PHASE_GRADIENT);
    }
}

/* Takes a batch through the network and tells the other ranks of it. Afterwards the books are those
 * of all ranks. False, on all workers, if this step is not to be made. */
static bool sweep_parts(fbp_slice_t *slice, ptrdiff_t step, fbp_batch_t *batch, fbp_books_t *books,
                        fbp_team_t *team, int worker) {
    fastbp_fit_t *fit = slice->fit;
    fbp_profile_t *profile = fit->plan.scratch[worker].profile;
    const bool asked = fit->shared && fit->flags != 0;
    fbp_share_batch(fit, step, batch);
    if (!asked) whole_sweep(slice, batch, batch->portion->at, team, worker);
    wait_for_all(team, profile);
    if (fit->shared) {
        if (!asked && !slice->loss_failed) sums_sweep(fit, batch, fit->share.sums, team, worker);
        if (worker == 0)
            fbp_share_head(fit, batch, fit->flags | (slice->loss_failed ? FBP_FLAG_FAILED : 0));
        wait_for_all(team, profile);
        if (worker == 0) {
            exchange(slice, FASTBP_EXCHANGE_SUMS, team);
            slice->flags = slice->loss_failed ? 0 : fbp_share_flags(fit);
        }
        wait_for_all(team, profile);
    }
    if (slice->flags != 0 || slice->loss_failed) return false;
    *books = fbp_share_books(fit, batch);
    return true;
}

/* Copies all of W, after the constraints of single weights, when others have changed theta. */
static void copy_sweep(const fastbp_fit_t *fit, fbp_team_t *team, int worker) {
    const fastbp_net_t *net = fit->plan.net;
    fbp_profile_t *profile = fit->plan.scratch[worker].profile;
    for (ptrdiff_t i = fbp_team_next(team); i < net->n_tiles; i = fbp_team_next(team)) {
        fbp_constrain_tile(net, fit->theta, &net->tile[i]);
        copy_updated(fit, &net->tile[i]);
        fbp_lap(profile, net->tile[i].layer + 1, FASTBP_PHASE_UPDATE);
    }
}

typedef void (*share_fn)(const fbp_shares_t *, ptrdiff_t, ptrdiff_t);

/* Runs functions of pieces.h on all pieces of this rank, some at a time. */
static void pieces_sweep(const fbp_shares_t *shares, share_fn first, share_fn second,
                         fbp_team_t *team) {
    const ptrdiff_t n = shares->pieces->own, elems = (ptrdiff_t)shares->pieces->elems;
    const ptrdiff_t each = fbp_max(1, TASK_ELEMS * n / fbp_max(1, elems));
    for (ptrdiff_t t = fbp_team_next(team); t * each < n; t = fbp_team_next(team)) {
        const ptrdiff_t end = fbp_min(n, (t + 1) * each);
        first(shares, t * each, end);
        if (second != NULL) second(shares, t * each, end);
    }
}

/* The update from sums in memory: of several ranks, or of one that clips by norms or is Muon's. */
static void share_sweep(fbp_slice_t *slice, const fbp_batch_t *batch, const fastbp_optimizer_t *now,
                        double weight, uint64_t t, fbp_team_t *team, int worker) {
    fastbp_fit_t *fit = slice->fit;
    fbp_profile_t *profile = fit->plan.scratch[worker].profile;
    const fbp_update_t update = constants_of(fit, now, t);
    fbp_clipping_t clipping;
    fbp_shares_t shares = {.net = fit->plan.net,
                           .pieces = &fit->pieces,
                           .portion = batch->portion,
                           .sums = fit->sums_at,
                           .update = &update,
                           .optimizer = now,
                           .grad_scale = 1 / weight,
                           .theta = fit->theta};
    if (!fit->shared) sums_sweep(fit, batch, now->grad, team, worker);
    if (worker == 0)
        fbp_share_places(fit, batch, fit->shared ? fit->share.sums : now->grad, fit->sums_at);
    wait_for_all(team, profile);
    if (!fbp_clips_norms(now)) {
        pieces_sweep(&shares, fbp_share_add, fbp_share_update, team);
    } else {
        pieces_sweep(&shares, fbp_share_add, fbp_share_close, team);
        wait_for_all(team, profile);
        if (fit->shared && worker == 0) exchange(slice, FASTBP_EXCHANGE_SQUARES, team);
        if (fit->shared) wait_for_all(team, profile);
        if (slice->loss_failed) return;
        clipping = fbp_clipping_of_pieces(fit->plan.net, now, &fit->pieces);
        shares.clipping = &clipping;
        pieces_sweep(&shares, fbp_share_update, NULL, team);
    }
    fbp_lap(profile, 0, FASTBP_PHASE_UPDATE);
    if (fit->turns) turn_sweep(fit, now, &update, team, worker);
    wait_for_all(team, profile);
    if (fit->shared && worker == 0) exchange(slice, FASTBP_EXCHANGE_PARAMETERS, team);
    if (fit->shared) wait_for_all(team, profile);
    if (!slice->loss_failed) copy_sweep(fit, team, worker);
}

/* With sync_every: the average over the ranks, if it is time for one or this rank has failed. */
static void average_sweep(fbp_slice_t *slice, ptrdiff_t first, unsigned failure, fbp_team_t *team,
                          int worker) {
    fastbp_fit_t *fit = slice->fit;
    fbp_profile_t *profile = fit->plan.scratch[worker].profile;
    const bool due = fit->since + 1 >= fit->parts.options.sync_every;
    if (!due && failure == 0 && first < fbp_session_rows(fit)) {
        wait_for_all(team, profile);
        if (worker == 0) fit->since += 1;
        return;
    }
    wait_for_all(team, profile);
    if (worker == 0) {
        fit->since = 0;
        fbp_share_head(fit, &fit->batch, fit->flags | failure);
        exchange(slice, FASTBP_EXCHANGE_AVERAGE, team);
        slice->flags = slice->loss_failed ? 0 : fbp_share_flags(fit);
    }
    wait_for_all(team, profile);
    if (failure != 0 || slice->loss_failed) return;
    copy_sweep(fit, team, worker);
    if (fit->plan.net->has_max_norm) constraint_sweep(fit, team, worker);
}

/* ---- steps ---- */

/* Takes a batch through the network; books: S and Σ s_i J_i of all of it. False, on all workers, if
 * there is no step to be made of it. */
static bool sweep_batch(fbp_slice_t *slice, ptrdiff_t step, fbp_batch_t *batch, ptrdiff_t first,
                        ptrdiff_t rows, fbp_books_t *books, fbp_team_t *team, int worker) {
    fastbp_fit_t *fit = slice->fit;
    if (fit->divided) return sweep_parts(slice, step, batch, books, team, worker);
    if (fit->sums != NULL) {
        books->losses = gather_parts(slice, batch, first, rows, &books->weight, team, worker);
        return !slice->loss_failed;
    }
    batch->rows = rows;
    whole_sweep(slice, batch, first, team, worker);
    wait_for_all(team, fit->plan.scratch[worker].profile);
    *books = (fbp_books_t){fbp_leaves_out(batch) ? 0 : fbp_weight_sum(batch), fbp_loss_sum(batch)};
    return !slice->loss_failed;
}

/* Updates theta; `next` is the first row of the next batch. */
static void update_sweep(fbp_slice_t *slice, const fbp_batch_t *batch, ptrdiff_t next,
                         const fastbp_optimizer_t *now, double weight, uint64_t t, fbp_team_t *team,
                         int worker) {
    fastbp_fit_t *fit = slice->fit;
    const bool written = fbp_needs_gradient(now);
    fbp_segments_t segments;
    if (fit->divided && (fit->shared || written)) {
        share_sweep(slice, batch, now, weight, t, team, worker);
    } else if (fit->divided) {
        const fbp_batch_t whole = fbp_node_batch(batch, 0, &segments);
        weight_sweep(fit, &whole, batch->portion->at + batch->rows, now, weight, t, team, worker);
    } else if (fit->sums != NULL || written) {
        written_sweep(fit, batch, now, weight, t, team, worker);
    } else {
        weight_sweep(fit, batch, next, now, weight, t, team, worker);
    }
    if (fit->plan.net->has_max_norm && !slice->loss_failed) constraint_sweep(fit, team, worker);
}

/* A batch whose weights are all 0 has no gradient: it changes no parameter and no sum. */
static void run_steps(fbp_slice_t *slice, fbp_team_t *team, int worker) {
    fastbp_fit_t *fit = slice->fit;
    fbp_batch_t batch = fit->batch;
    fastbp_optimizer_t now = *fit->optimizer;
    ptrdiff_t first = fit->place.first, step = fit->place.step;
    uint64_t t = fit->optimizer->t;
    const bool averages = fit->divided && fit->parts.apart && fit->parts.options.n_ranks > 1;
    batch.lowest = fbp_lowest_trained(fit->plan.net);
    fbp_profile_t *profile = fit->plan.scratch[worker].profile;
    if (worker == 0) fit->team_size = (int)fbp_max(fit->team_size, fbp_team_size(team));
    else fbp_lap_begin(profile);
    wait_for_all(team, profile); /* worker 0 changes the place only after all have read it */
    do {
        const ptrdiff_t rows = fbp_min(fit->options.batch_size, fbp_session_rows(fit) - first);
        fbp_books_t books;
        batch.step = t;
        fbp_set_smoothing(fit, step, &batch);
        if (!sweep_batch(slice, step, &batch, first, rows, &books, team, worker)) {
            if (averages && slice->loss_failed)
                average_sweep(slice, first, FBP_FLAG_FAILED, team, worker);
            return;
        }
        const double J = books.weight > 0 ? fbp_objective(fit, books.losses, books.weight) : 0;
        if (!isfinite(J)) {
            if (worker == 0) fit->last_loss = J;
            if (worker == 0) slice->diverged = true;
            if (averages) average_sweep(slice, first, FBP_FLAG_DIVERGED, team, worker);
            return;
        }
        fbp_lap(profile, 0, FASTBP_PHASE_OTHER);
        fbp_set_rates(fit, step++, &now);
        if (books.weight > 0)
            update_sweep(slice, &batch, first + rows, &now, books.weight, ++t, team, worker);
        if (slice->loss_failed) return;
        first += rows;
        if (averages) average_sweep(slice, first, 0, team, worker);
        if (slice->loss_failed) return;
        if (worker == 0) fbp_record_step(slice, rows, books.weight, J, fbp_seconds());
        fbp_lap(profile, 0, FASTBP_PHASE_OTHER);
        wait_for_all(team, profile);
    } while (!slice->stop);
}

void fbp_run_steps(void *context, fbp_team_t *team, int worker) {
    fbp_slice_t *slice = context;
    fbp_begin_products(&slice->fit->plan);
    run_steps(slice, team, worker);
    fbp_end_products(&slice->fit->plan);
}
