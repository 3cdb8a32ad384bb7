/* step.c: see step.h. */
#include "step.h"

#include "../base/clock.h"
#include "options.h"
#include "products.h"
#include "rows.h"
#include "update.h"

#include <math.h>

/* A rate of 0 would make folded constants of Adam infinite. A rate this small changes no parameter,
 * unless the parameter is as small itself. */
#define LEAST_RATE 1e-30

static void wait_for_all(fbp_team_t *team, fbp_profile_t *profile) {
    fbp_team_barrier(team);
    fbp_lap(profile, 0, FASTBP_PHASE_WAITING);
}

typedef enum { FORWARD = 1, BACKWARD = 2, BOTH = 3 } stage_t;

/* Takes the rows of a batch through the network: forward to a^L, backward from a^L, or both. A
 * backward stage also computes the penalties, tile by tile of W, once per step. */
static void row_sweep(const fastbp_fit_t *fit, const fbp_batch_t *batch, ptrdiff_t first,
                      stage_t stage, fbp_team_t *team, int worker) {
    const fbp_plan_t *plan = &fit->plan;
    const fastbp_net_t *net = plan->net;
    const fbp_scratch_t *scratch = &plan->scratch[worker];
    const uint32_t *order = fit->order != NULL ? fit->order + first : NULL;
    const ptrdiff_t blocks = fbp_plan_blocks(plan, batch->rows, fbp_team_size(team));
    const bool penalised = stage != FORWARD && batch->offset == 0 && (net->l1 != 0 || net->l2 != 0);
    const ptrdiff_t tiles = penalised ? net->n_tiles : 0;
    for (ptrdiff_t t = fbp_team_next(team); t < blocks + tiles; t = fbp_team_next(team)) {
        if (t >= blocks) {
            const fbp_tile_t *tile = &net->tile[t - blocks];
            plan->tile_penalty[t - blocks] = fbp_tile_penalty(net, fit->theta, tile);
            fbp_lap(scratch->profile, tile->layer + 1, FASTBP_PHASE_LOSS);
            continue;
        }
        const ptrdiff_t row0 = fbp_block_row(plan, batch->rows, t, blocks);
        const ptrdiff_t rows = fbp_block_row(plan, batch->rows, t + 1, blocks) - row0;
        if (stage & FORWARD) {
            fbp_batch_load(batch, &fit->data, order, first, row0, rows);
            fbp_lap(scratch->profile, 0, FASTBP_PHASE_OTHER);
            fbp_forward_rows(batch, scratch, row0, rows);
        }
        if (!(stage & BACKWARD)) continue;
        fbp_loss_rows(batch, scratch, row0, rows);
        fbp_lap(scratch->profile, net->n_layers, FASTBP_PHASE_LOSS);
        fbp_recursion_rows(batch, scratch, row0, rows);
    }
}

/* Both stages. Between them worker 0 calls the caller's own loss, if any, for the whole batch. */
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
        slice->loss_failed = !fbp_custom_loss(batch, fbp_team_callers_mode(team));
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

/* Copies a tile of W after its update, unless constraint_sweep has still to limit its columns. */
static void copy_updated(const fastbp_fit_t *fit, const fbp_tile_t *tile) {
    const fbp_layer_t *layer = &fit->plan.net->layer[tile->layer];
    if (fit->keep_copies && !layer->frozen && !fbp_limits_columns(layer))
        fbp_copy_tile(&fit->batch, tile, FBP_COPY_BOTH);
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
    const ptrdiff_t coming = fbp_min(fit->options.batch_size, fit->data.rows - next);
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
    copy_updated(fit, tile);
    fbp_lap(scratch->profile, tile->layer + 1, FASTBP_PHASE_UPDATE);
}

/* The same, but the gradient is written to memory first, which batches in parts and clipping by
 * norms need. Clipping takes two rounds: tiles of the gradient with their sums of squares and,
 * after a barrier, tiles of θ. */
static void written_sweep(const fastbp_fit_t *fit, const fbp_batch_t *batch,
                          const fastbp_optimizer_t *now, double weight, uint64_t t,
                          fbp_team_t *team, int worker) {
    const fbp_plan_t *plan = &fit->plan;
    const fastbp_net_t *net = plan->net;
    const fbp_scratch_t *scratch = &plan->scratch[worker];
    const fbp_update_t update = fbp_step_constants(now, t);
    const bool norms = fbp_clips_norms(now);
    fbp_clipping_t unclipped = {.whole_factor = 1};
    void *grad = fit->sums != NULL ? fit->sums : now->grad;
    for (ptrdiff_t i = fbp_team_next(team); i < net->n_tiles; i = fbp_team_next(team)) {
        const fbp_tile_t *tile = &net->tile[i];
        const bool frozen = net->layer[tile->layer].frozen;
        if (fit->sums != NULL) fbp_close_tile(net, tile, 1 / weight, fit->theta, grad);
        else if (!frozen) fbp_gradient_tile(batch, scratch, tile, 1 / weight, grad);
        fbp_lap(scratch->profile, tile->layer + 1, FASTBP_PHASE_GRADIENT);
        if (!norms) update_written(fit, tile, &update, now, &unclipped, grad, scratch);
        for (int part = 0; norms && part < FBP_PARTS; ++part)
            plan->tile_square[FBP_PARTS * i + part] = fbp_tile_sum_squares(net, grad, tile, part);
        fbp_lap(scratch->profile, tile->layer + 1, FASTBP_PHASE_GRADIENT);
    }
    if (!norms) return;
    wait_for_all(team, scratch->profile);
    fbp_clipping_t clipping = fbp_clipping_of(net, now, grad, plan->tile_square);
    for (ptrdiff_t i = fbp_team_next(team); i < net->n_tiles; i = fbp_team_next(team))
        update_written(fit, &net->tile[i], &update, now, &clipping, grad, scratch);
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
        whole_sweep(slice, batch, first + row, team, worker);
        wait_for_all(team, scratch->profile);
        if (slice->loss_failed) return losses;
        const double own = fbp_weight_sum(batch);
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
        fbp_copy_tile(&fit->batch, &net->tile[t], FBP_COPY_BOTH);
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
    const bool ended = fit->place.first >= fit->data.rows || now >= slice->deadline;
    const bool measures = fit->n_workers > 1 && !slice->fixed;
    slice->resized = measures && resize(fit, rows, now - slice->last) && !ended;
    slice->stop = ended || slice->resized;
    slice->last = now;
}

/* A batch whose weights are all 0 has no gradient: it changes no parameter and no sum. */
static void run_steps(fbp_slice_t *slice, fbp_team_t *team, int worker) {
    fastbp_fit_t *fit = slice->fit;
    fbp_batch_t batch = fit->batch;
    fastbp_optimizer_t now = *fit->optimizer;
    ptrdiff_t first = fit->place.first, step = fit->place.step;
    uint64_t t = fit->optimizer->t;
    batch.lowest = fbp_lowest_trained(fit->plan.net);
    fbp_profile_t *profile = fit->plan.scratch[worker].profile;
    if (worker == 0) fit->team_size = (int)fbp_max(fit->team_size, fbp_team_size(team));
    else fbp_lap_begin(profile);
    wait_for_all(team, profile); /* worker 0 changes the place only after all have read it */
    do {
        const ptrdiff_t rows = fbp_min(fit->options.batch_size, fit->data.rows - first);
        double weight, losses;
        batch.step = t;
        if (fit->sums != NULL) {
            losses = gather_parts(slice, &batch, first, rows, &weight, team, worker);
        } else {
            batch.rows = rows;
            whole_sweep(slice, &batch, first, team, worker);
            wait_for_all(team, profile);
            weight = fbp_weight_sum(&batch);
            losses = fbp_loss_sum(&batch);
        }
        if (slice->loss_failed) return;
        const double J = weight > 0 ? fbp_objective(fit, losses, weight) : 0;
        if (!isfinite(J)) {
            if (worker == 0) fit->last_loss = J;
            if (worker == 0) slice->diverged = true;
            return;
        }
        fbp_lap(profile, 0, FASTBP_PHASE_OTHER);
        fbp_set_rates(fit, step++, &now);
        if (weight > 0 && (fit->sums != NULL || fbp_clips_norms(&now)))
            written_sweep(fit, &batch, &now, weight, ++t, team, worker);
        else if (weight > 0)
            weight_sweep(fit, &batch, first + rows, &now, weight, ++t, team, worker);
        if (weight > 0 && fit->plan.net->has_max_norm) constraint_sweep(fit, team, worker);
        if (worker == 0) fbp_record_step(slice, rows, weight, J, fbp_seconds());
        fbp_lap(profile, 0, FASTBP_PHASE_OTHER);
        first += rows;
        wait_for_all(team, profile);
    } while (!slice->stop);
}

void fbp_run_steps(void *context, fbp_team_t *team, int worker) {
    fbp_slice_t *slice = context;
    fbp_begin_products(&slice->fit->plan);
    run_steps(slice, team, worker);
    fbp_end_products(&slice->fit->plan);
}
