/* fit.c: opens and closes training sessions, binds data to them, moves them, runs their steps and
 * reports on them. The steps themselves are in step.c. */
#include "fit.h"

#include "../base/clock.h"
#include "../base/fpmode.h"
#include "../threads/count.h"
#include "../threads/pool.h"
#include "batch_norm.h"
#include "products.h"
#include "rooms.h"
#include "rows.h"
#include "share.h"
#include "step.h"
#include "tiles.h"
#include "update.h"

#include <math.h>
#include <stdlib.h>

static bool valid_data(const fastbp_net_t *net, const fastbp_data_t *data) {
    const bool pairs_stay = data->chosen == NULL || net->loss.group == 1;
    const ptrdiff_t least = data->part_rows != NULL ? 0 : 1;
    return data->rows >= least && data->rows <= (ptrdiff_t)INT32_MAX &&
           fbp_targets_fit(net, data) && pairs_stay;
}

static bool valid_options(const fastbp_net_t *net, const fastbp_data_t *data,
                          const fastbp_fit_options_t *options) {
    const fastbp_parts_t *parts = options->parts;
    if ((parts == NULL) != (data->part_rows == NULL)) return false;
    if (parts != NULL && net->has_batch_norm) return false; /* a rank sees a share of a batch */
    if (parts != NULL &&
        (options->part_rows > 0 || options->population != NULL || net->has_scale ||
         net->has_embedding || !fbp_parts_valid(parts) || !fbp_parts_fit(net, parts, data)))
        return false;
    return options->batch_size >= 1 && options->batch_size % net->loss.group == 0 &&
           options->part_rows >= 0 && options->part_rows % net->loss.group == 0 &&
           options->n_threads >= 0;
}

/* Muon and the schedule-free rules need all of theta and of their state. */
static bool valid_rule(const fastbp_optimizer_t *optimizer, const fastbp_parts_t *parts) {
    const bool whole = fbp_is_muon(optimizer) || fbp_is_free(optimizer);
    return parts == NULL || parts->n_ranks == 1 || !whole;
}

/* The buffers of a session: its own, or places in the memory of its population. */
static fastbp_status_t plan_buffers(fastbp_fit_t *fit, const fastbp_net_t *net, ptrdiff_t capacity,
                                    ptrdiff_t asked) {
    fastbp_status_t status =
        fit->population != NULL
            ? fbp_plan_init_borrower(&fit->plan, net, capacity, asked, fit->n_workers)
            : fbp_plan_init(&fit->plan, net, FBP_PLAN_TRAIN, capacity, asked, fit->n_workers);
    if (status == FASTBP_OK && fit->divided)
        status = fbp_plan_add_stack(&fit->plan, FBP_TREE_DEPTH);
    if (status == FASTBP_OK) status = fbp_batch_accept(&fit->plan, &fit->data);
    if (status != FASTBP_OK) return status;
    fbp_session_carve(fit, &fit->arena);
    if (fit->population != NULL) {
        if (!fbp_arena_count(&fit->arena)) return FASTBP_ERR_MEMORY;
        fbp_rooms_note(fit->population, fit);
        return FASTBP_OK;
    }
    if (!fbp_arena_commit(&fit->arena)) return FASTBP_ERR_MEMORY;
    fbp_session_carve(fit, &fit->arena);
    return FASTBP_OK;
}

/* What follows from the options of a session with parts, before it has memory. */
static void divide(fastbp_fit_t *fit, const fastbp_net_t *net, const fastbp_parts_t *options) {
    fit->divided = options != NULL;
    if (!fit->divided) return;
    fbp_parts_init(&fit->parts, net, options);
    fit->shared = options->n_ranks > 1 && !fit->parts.apart;
    fit->order_capacity = fbp_max(1, fit->data.rows);
}

/* … and once it has. */
static void describe_share(fastbp_fit_t *fit) {
    const fastbp_net_t *net = fit->plan.net;
    const fastbp_parts_t *options = &fit->parts.options;
    fastbp_share_t *share = &fit->share;
    fbp_parts_bind(&fit->parts, fit->data.part_rows);
    fbp_pieces_cut(&fit->pieces, net, fit->shared ? options->rank : 0,
                   fit->shared ? options->n_ranks : 1);
    for (int rank = 0; rank < options->n_ranks; ++rank) {
        fit->first[rank] = fit->shared ? fbp_pieces_begin(&fit->pieces, net, rank) : 0;
        fit->rank_slots[rank] = fit->shared ? fbp_parts_slots(options, rank) : 0;
    }
    fit->first[options->n_ranks] = net->n_params;
    share->n_params = net->n_params;
    share->first = fit->first;
    share->slots = fit->parts.slots;
    share->most_slots = fit->parts.most_slots;
    share->rank_slots = fit->rank_slots;
    share->head_size = 1 + 2 * fit->parts.most_slots;
    share->squares = fit->pieces.square;
    share->piece = fit->pieces.first;
}

fastbp_status_t fastbp_fit_new(fastbp_fit_t **out, const fastbp_net_t *net, void *theta,
                               const fastbp_data_t *data, fastbp_optimizer_t *optimizer,
                               const fastbp_fit_options_t *options) {
    *out = NULL;
    if (!valid_data(net, data) || !fbp_optimizer_valid(optimizer) ||
        !valid_options(net, data, options) || !valid_rule(optimizer, options->parts))
        return FASTBP_ERR_ARGUMENT;
    fastbp_fit_t *fit = calloc(1, sizeof *fit);
    if (fit == NULL) return FASTBP_ERR_MEMORY;
    const bool in_parts = options->part_rows > 0 && options->part_rows < options->batch_size;
    const ptrdiff_t asked = in_parts ? options->part_rows : options->batch_size;
    const ptrdiff_t capacity = options->parts != NULL
                                   ? fbp_parts_capacity(net, options->parts, data, asked)
                                   : fbp_min(asked, data->rows);
    fit->data = *data;
    fit->optimizer = optimizer;
    fit->options = *options;
    fit->options.parts = NULL; /* fit->parts has a copy */
    fit->theta = theta;
    fit->population = options->population;
    fit->in_parts = in_parts && asked < data->rows;
    fit->turns = fbp_is_muon(optimizer);
    fit->order_capacity = options->shuffle || data->chosen != NULL ? data->rows : 0;
    divide(fit, net, options->parts);
    fit->n_workers = fbp_workers_for(net, capacity, FBP_TRAIN_WORK, options->n_threads);
    /* Parts of a batch do not begin at whole tiles of bfloat16. */
    const ptrdiff_t like = fit->divided ? fbp_min(asked, FBP_ROUNDED_MAX_ROWS) : asked;
    const fastbp_status_t status = plan_buffers(fit, net, capacity, like);
    if (status != FASTBP_OK) {
        fastbp_fit_free(fit);
        return status;
    }
    fbp_batch_describe(&fit->batch, data);
    fit->batch.plan = &fit->plan;
    fit->batch.theta = theta;
    fit->batch.fold_weights = fit->batch.backward = true;
    fit->batch.first = true;
    fit->batch.rows = capacity;
    if (fit->divided) describe_share(fit);
    /* The largest batch of all ranks, in any block, for which copies of W may be needed. */
    if (fit->divided)
        fit->batch.whole_rows = fbp_min(asked, INT32_MAX) + fit->parts.options.n * fit->parts.group;
    fit->batch.seed = options->seed;
    fit->keep_copies = fbp_uses_copies(&fit->batch) || net->has_scale;
    fbp_sizing_init(&fit->sizing, fit->n_workers);
    fit->pool_session = fit->n_workers > 1 && fit->population == NULL;
    if (fit->pool_session) fbp_pool_open_session();
    *out = fit;
    return FASTBP_OK;
}

fastbp_status_t fastbp_fit_rebind(fastbp_fit_t *fit, const fastbp_data_t *data) {
    const fastbp_net_t *net = fit->plan.net;
    const fastbp_parts_t *options = fit->divided ? &fit->parts.options : NULL;
    const ptrdiff_t asked = fit->options.batch_size;
    const bool ordered = fit->options.shuffle || data->chosen != NULL || fit->divided;
    if (fit->divided != (data->part_rows != NULL) || !valid_data(net, data) ||
        (fit->divided && !fbp_parts_fit(net, options, data)) ||
        (ordered && data->rows > fit->order_capacity))
        return FASTBP_ERR_ARGUMENT;
    const ptrdiff_t batch =
        fit->divided ? fbp_parts_capacity(net, options, data, asked) : fbp_min(asked, data->rows);
    if (!fit->in_parts && batch > fit->plan.capacity) return FASTBP_ERR_ARGUMENT;
    const fastbp_status_t status = fbp_batch_accept(&fit->plan, data);
    if (status != FASTBP_OK) return status;
    if (fit->population != NULL) fbp_rooms_note(fit->population, fit);
    fit->data = *data;
    fbp_batch_describe(&fit->batch, data);
    if (fit->divided) fbp_parts_bind(&fit->parts, data->part_rows);
    fit->place = (fastbp_place_t){.epoch = fit->place.epoch};
    fit->prepared = false;
    return FASTBP_OK;
}

fastbp_status_t fastbp_fit_set_rates(fastbp_fit_t *fit, const double *rates, const double *momenta,
                                     ptrdiff_t n) {
    if (rates != NULL && n < 1) return FASTBP_ERR_ARGUMENT;
    for (ptrdiff_t i = 0; rates != NULL && i < n; ++i)
        if (!(rates[i] >= 0 && isfinite(rates[i]))) return FASTBP_ERR_ARGUMENT;
    for (ptrdiff_t i = 0; momenta != NULL && i < n; ++i)
        if (!(momenta[i] >= 0 && momenta[i] < 1)) return FASTBP_ERR_ARGUMENT;
    fit->rates = rates;
    fit->n_rates = n;
    fit->momenta = rates != NULL ? momenta : NULL;
    return FASTBP_OK;
}

bool fbp_fit_can_run(const fastbp_fit_t *fit) {
    return fbp_optimizer_valid(fit->optimizer) && fbp_is_muon(fit->optimizer) == fit->turns;
}

/* Whether p[n_layers + 1] are shares of units to drop, 0 where the network has no dropout. */
static bool valid_dropout(const fastbp_net_t *net, const double *p) {
    for (int l = 0; l <= net->n_layers; ++l) {
        const double own = l == 0 ? net->input_dropout : net->layer[l - 1].has.dropout;
        if (!(p[l] >= 0 && p[l] < 1) || (own == 0 && p[l] != 0)) return false;
    }
    return true;
}

fastbp_status_t fastbp_fit_set_smoothing(fastbp_fit_t *fit, const double *smoothing,
                                         const double *dropout, ptrdiff_t n) {
    const fastbp_net_t *net = fit->plan.net;
    if ((smoothing != NULL || dropout != NULL) && n < 1) return FASTBP_ERR_ARGUMENT;
    if (smoothing != NULL && !fbp_loss_weighs_classes(&net->loss)) return FASTBP_ERR_ARGUMENT;
    for (ptrdiff_t i = 0; smoothing != NULL && i < n; ++i)
        if (!(smoothing[i] >= 0 && smoothing[i] <= 1)) return FASTBP_ERR_ARGUMENT;
    for (ptrdiff_t i = 0; dropout != NULL && i < n; ++i)
        if (!valid_dropout(net, dropout + i * (net->n_layers + 1))) return FASTBP_ERR_ARGUMENT;
    fit->smoothing = smoothing;
    fit->dropout = dropout;
    fit->n_smoothing = n;
    return FASTBP_OK;
}

void fastbp_fit_free(fastbp_fit_t *fit) {
    if (fit == NULL) return;
    if (fit->pool_session) fbp_pool_close_session();
    if (fit->population != NULL) fbp_rooms_forget(fit->population, fit);
    fbp_plan_free(&fit->plan);
    fbp_clocks_free(&fit->clocks);
    fbp_arena_free(&fit->arena);
    free(fit);
}

void fbp_fit_order(fastbp_fit_t *fit) {
    const fastbp_data_t *data = &fit->data;
    if (fit->order == NULL) return;
    if (fit->divided)
        fbp_parts_order(&fit->parts, fit->plan.net, fit->options.shuffle, fit->options.seed,
                        fit->place.epoch, fit->place.block, fit->options.batch_size, fit->order);
    else if (fit->options.shuffle)
        fbp_shuffle(fit->plan.net, fit->order, data->rows, fit->options.seed, fit->place.epoch,
                    fit->place.block);
    for (ptrdiff_t i = 0; data->chosen != NULL && i < data->rows; ++i)
        fit->order[i] = (uint32_t)data->chosen[fit->options.shuffle ? (ptrdiff_t)fit->order[i] : i];
}

void fbp_fit_prepare(fastbp_fit_t *fit, bool single) {
    const fastbp_net_t *net = fit->plan.net;
    const bool copy = fit->keep_copies && (single || !fit->prepared);
    fbp_choose_statistics(&fit->batch, true); /* layers may have been frozen since the last run */
    if (!fit->prepared) fbp_fit_order(fit);
    if (fit->divided && fit->place.first < fbp_session_rows(fit))
        fbp_parts_locate(&fit->parts, fit->place.step, fit->place.first, fit->options.batch_size);
    const fbp_fpmode_t callers_mode = fbp_flush_subnormals(); /* copies may round x − hi */
    for (ptrdiff_t i = 0; copy && i < net->n_tiles; ++i)
        fbp_renew_tile(&fit->batch, &net->tile[i], FBP_COPY_BOTH);
    fbp_set_fpmode(callers_mode);
    fit->prepared = true;
}

/* No epoch has PTRDIFF_MAX / 2 steps, so those after an accepted place stay in range. */
fastbp_status_t fastbp_fit_seek(fastbp_fit_t *fit, const fastbp_place_t *place) {
    if (place->epoch < 0 || place->epoch == PTRDIFF_MAX || place->step < 0 ||
        place->step > PTRDIFF_MAX / 2 || place->block < 0 || place->block > (ptrdiff_t)INT32_MAX ||
        place->first < 0 || place->first > fbp_session_rows(fit) ||
        place->first % fit->plan.net->loss.group != 0)
        return FASTBP_ERR_ARGUMENT;
    if (fit->divided &&
        (place->block > INT32_MAX / fit->parts.options.n ||
         (place->first % fit->options.batch_size != 0 && place->first != fbp_session_rows(fit))))
        return FASTBP_ERR_ARGUMENT;
    fit->place = *place;
    fit->prepared = false;
    return FASTBP_OK;
}

fastbp_status_t fastbp_fit_set_teams(fastbp_fit_t *fit, const int *sizes, ptrdiff_t n) {
    if (sizes != NULL && n < 1) return FASTBP_ERR_ARGUMENT;
    for (ptrdiff_t i = 0; sizes != NULL && i < n; ++i)
        if (sizes[i] < 1 || sizes[i] > fit->n_workers) return FASTBP_ERR_ARGUMENT;
    fbp_sizing_init(&fit->sizing, fit->n_workers);
    fit->teams = sizes;
    fit->n_teams = n;
    fit->team_step = 0;
    if (sizes != NULL) fit->sizing.size = sizes[0];
    return FASTBP_OK;
}

/* ---- runs ---- */

/* One region of the pool after another, as long as only the number of workers changes. The time in
 * which the workers end a region counts as part of the next step. A session of one worker measures
 * nothing. */
static void run_regions(fbp_slice_t *slice) {
    fastbp_fit_t *fit = slice->fit;
    const bool measures = fit->n_workers > 1;
    if (measures) slice->last = fbp_seconds() - fit->lag;
    do {
        slice->resized = false;
        fbp_pool_run(fit->sizing.size, fbp_run_steps, slice);
    } while (slice->resized && !slice->diverged && !slice->loss_failed && slice->flags == 0);
    if (measures) fit->lag = fbp_seconds() - slice->last;
}

/* The number after that of an epoch; the last one has itself. */
static ptrdiff_t next_epoch(ptrdiff_t epoch) {
    return epoch < PTRDIFF_MAX ? epoch + 1 : PTRDIFF_MAX;
}

fastbp_status_t fbp_fit_end_run(fastbp_fit_t *fit, const fbp_slice_t *slice,
                                fastbp_progress_t *progress) {
    const bool failed = slice->diverged || slice->loss_failed;
    const bool done = !failed && fit->place.first >= fbp_session_rows(fit);
    *progress = (fastbp_progress_t){
        .epoch_done = done,
        .epoch = fit->place.epoch,
        .step = fit->place.step,
        .loss = fit->place.loss_sum / fit->place.weight_sum,
        .last_loss = fit->last_loss,
        .place = fit->place,
        .flags = slice->flags,
    };
    if (slice->flags != 0) fit->flags = 0;
    if (done) fit->place = (fastbp_place_t){.epoch = next_epoch(fit->place.epoch)};
    if (done || failed || slice->flags != 0) fit->prepared = false; /* theta may be changed now */
    if (slice->loss_failed) return FASTBP_ERR_CALL;
    return slice->diverged ? FASTBP_ERR_DIVERGED : FASTBP_OK;
}

fastbp_status_t fastbp_fit_run(fastbp_fit_t *fit, double seconds, fastbp_progress_t *progress) {
    if (!fbp_fit_can_run(fit) || fit->population != NULL) return FASTBP_ERR_ARGUMENT;
    const double begin = fbp_seconds();
    fbp_slice_t slice = {.fit = fit, .deadline = begin + seconds};
    fbp_lap_begin(fit->plan.scratch[0].profile);
    fbp_enter_steps(fit->plan.net, fit->optimizer, fit->theta);
    fbp_fit_prepare(fit, seconds <= 0);
    fbp_lap(fit->plan.scratch[0].profile, 0, FASTBP_PHASE_OTHER);
    const ptrdiff_t step = fit->place.step;
    if (fit->place.first < fbp_session_rows(fit)) run_regions(&slice);
    fastbp_fit_runs_t *runs = fit->clocked ? &fit->timed : &fit->plain;
    if (fit->clocks.worker != NULL) {
        runs->steps += fit->place.step - step;
        runs->seconds += fbp_seconds() - begin;
    }
    fbp_leave_steps(fit->plan.net, fit->optimizer, fit->theta);
    return fbp_fit_end_run(fit, &slice, progress);
}

fastbp_status_t fastbp_fit_share(const fastbp_fit_t *fit, fastbp_share_t *share) {
    if (!fit->divided) return FASTBP_ERR_ARGUMENT;
    *share = fit->share;
    return FASTBP_OK;
}

fastbp_status_t fastbp_fit_raise(fastbp_fit_t *fit, unsigned flags) {
    if (!fit->divided || (flags & (FBP_FLAG_FAILED | FBP_FLAG_DIVERGED)) != 0)
        return FASTBP_ERR_ARGUMENT;
    fit->flags |= flags;
    return FASTBP_OK;
}

fastbp_status_t fastbp_fit_set_clocks(fastbp_fit_t *fit, bool on) {
    if (fit->population != NULL) return FASTBP_ERR_ARGUMENT;
    if (on && fit->clocks.worker == NULL) {
        const fastbp_status_t status =
            fbp_clocks_init(&fit->clocks, fit->n_workers, fit->plan.net->n_layers);
        if (status != FASTBP_OK) return status;
        fbp_sizing_init(&fit->sizing, fit->n_workers);
    }
    for (int w = 0; w < fit->n_workers; ++w)
        fit->plan.scratch[w].profile = on ? &fit->clocks.worker[w] : NULL;
    fit->clocked = on;
    return FASTBP_OK;
}

void fastbp_fit_report(const fastbp_fit_t *fit, fastbp_fit_report_t *report,
                       fastbp_layer_report_t *layer) {
    const fbp_plan_t *plan = &fit->plan;
    const fastbp_net_t *net = plan->net;
    const int wanted = fit->options.n_threads, team_size = fit->team_size;
    const fbp_update_t update = fbp_step_constants(fit->optimizer, fit->optimizer->t + 1);
    fbp_batch_t batch = fit->batch;
    batch.rows = plan->capacity;
    const bool at_once = !fit->in_parts && !fit->divided && !fbp_needs_gradient(fit->optimizer);
    *report = (fastbp_fit_report_t){
        .threads = team_size,
        .threads_planned = fit->n_workers,
        .threads_now = fit->sizing.size,
        .threads_changes = fit->sizing.changes,
        .threads_allowed = wanted > 0 ? wanted : fbp_thread_limit(),
        .step_work = fbp_work_of(net, plan->capacity, FBP_TRAIN_WORK),
        .thread_work = fbp_work_per_worker(fit->plan.net),
        .next_rows = fbp_rows_for(net, fit->n_workers + 1, FBP_TRAIN_WORK),
        .copies_above = FBP_DOT_MAX_ROWS,
        .products = fbp_factors_name(&plan->factors, net),
        .row_blocks = fbp_plan_blocks(plan, plan->capacity, team_size > 1 ? team_size : 1),
        .tiles = net->n_tiles,
        .bytes = plan->arena.size + plan->scratch_arena.size + plan->input_arena.size +
                 plan->factor_arena.size + plan->sparse_arena.size + fit->arena.size +
                 plan->stack_arena.size,
        .clocked = fit->timed,
        .plain = fit->plain,
    };
    for (int l = 0; l <= net->n_layers; ++l) {
        fbp_clocks_sum(&fit->clocks, l, layer[l].seconds);
        layer[l].outer = l > 0 && at_once && fbp_updates_from_rows(&batch, &update, l - 1);
        layer[l].panels = layer[l].transposed = false;
        if (l == 0 || !fbp_uses_copies(&fit->batch)) continue;
        const fbp_bf16_forms_t *tiles = &plan->factors.w_tiles[l - 1];
        const bool sparse = fit->batch.sparse && l == 1;
        layer[l].panels = !sparse && (plan->wp[l - 1] != NULL || tiles->right.at != NULL);
        layer[l].transposed = plan->wt[l - 1] != NULL || tiles->right_t.at != NULL;
    }
}
