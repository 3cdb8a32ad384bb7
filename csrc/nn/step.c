/* step.c: a training session: shuffle, batches, steps and the running loss, without a word from
 * the caller until the epoch or the time slice ends. Nothing allocates after fastbp_fit_new.
 *
 * One region of the pool runs all steps of a slice. Every worker walks through the same batches
 * with a description of its own and decides alike; worker 0 alone keeps the books. A step has two
 * barriers: after the row sweep, and after the weight sweep. */
#include "options.h"
#include "update.h"

#include "../base/clock.h"
#include "../threads/count.h"
#include "../threads/pool.h"

#include <math.h>
#include <stdlib.h>

/* A rate of 0 would make the constants that Adam folds infinite; one this small moves no parameter
 * that is not itself as small. */
#define LEAST_RATE 1e-30

struct fastbp_fit {
    fbp_plan_t plan;
    fbp_batch_t batch; /* what all batches have in common */
    fastbp_data_t data;
    fastbp_optimizer_t *optimizer;
    const double *rates, *momenta; /* by step of the epoch, in place of the optimizer's; or NULL */
    fastbp_fit_options_t options;
    void *theta;
    void *sums;               /* a twin of theta for the gradients of a batch's parts, or NULL */
    uint32_t *order;          /* this epoch's permutation, or NULL without shuffling */
    long order_room, n_rates; /* samples that it can hold; elements of rates */
    bool keep_copies;         /* batches are large enough for copies of W */
    int n_workers;
    bool session;         /* open at the pool */
    fastbp_place_t place; /* of the next step */
    bool in_place;        /* order and copies of W are made for it */
    double last_loss;
    int team_size; /* the largest so far */
    fbp_clocks_t clocks;
    bool clocked;                   /* they run */
    fastbp_fit_runs_t timed, plain; /* with clocks and, since their first start, without */
};

static bool valid_data(const fastbp_net_t *net, const fastbp_data_t *data) {
    return data->rows >= 1 && data->rows <= (long)INT32_MAX && fbp_targets_fit(net, data);
}

fastbp_status_t fastbp_fit_new(fastbp_fit_t **out, const fastbp_net_t *net, void *theta,
                               const fastbp_data_t *data, fastbp_optimizer_t *optimizer,
                               const fastbp_fit_options_t *options) {
    *out = NULL;
    if (!valid_data(net, data) || !fbp_optimizer_valid(optimizer) || options->batch_size < 1 ||
        options->batch_size % net->group != 0 || options->part_rows % net->group != 0 ||
        options->n_threads < 0 || options->part_rows < 0)
        return FASTBP_ERR_ARGUMENT;
    fastbp_fit_t *fit = calloc(1, sizeof *fit);
    if (fit == NULL) return FASTBP_ERR_MEMORY;
    const long batch_rows = fbp_min_long(options->batch_size, data->rows);
    const bool parts = options->part_rows > 0 && options->part_rows < batch_rows;
    const long capacity = parts ? options->part_rows : batch_rows;
    fit->data = *data;
    fit->optimizer = optimizer;
    fit->options = *options;
    fit->theta = theta;
    fit->n_workers = fbp_workers_for(net, capacity, FBP_TRAIN_WORK, options->n_threads);
    fastbp_status_t status =
        fbp_plan_init(&fit->plan, net, FBP_PLAN_TRAIN, capacity, fit->n_workers);
    if (status == FASTBP_OK) status = fbp_batch_accept(&fit->plan, data);
    if (status == FASTBP_OK && options->shuffle) {
        fit->order = malloc((size_t)data->rows * sizeof *fit->order);
        if (fit->order == NULL) status = FASTBP_ERR_MEMORY;
        else fit->order_room = data->rows;
    }
    if (status == FASTBP_OK && parts) {
        fit->sums = calloc(net->n_params, net->kernels->elem_size);
        if (fit->sums == NULL) status = FASTBP_ERR_MEMORY;
    }
    if (status != FASTBP_OK) {
        fastbp_fit_free(fit);
        return status;
    }
    fbp_batch_describe(&fit->batch, data);
    if (fit->batch.sparse) fit->plan.wp[0] = NULL; /* compressed rows read W as it lies */
    fit->batch.plan = &fit->plan;
    fit->batch.theta = theta;
    fit->batch.fold_weights = fit->batch.backward = true;
    fit->batch.rows = capacity;
    fit->batch.drop = true;
    fit->batch.seed = options->seed;
    fit->keep_copies = fbp_uses_copies(&fit->batch);
    fit->session = fit->n_workers > 1;
    if (fit->session) fbp_pool_open_session();
    *out = fit;
    return FASTBP_OK;
}

fastbp_status_t fastbp_fit_rebind(fastbp_fit_t *fit, const fastbp_data_t *data) {
    const long batch = fbp_min_long(fit->options.batch_size, data->rows);
    if (!valid_data(fit->plan.net, data) || (fit->sums == NULL && batch > fit->plan.capacity) ||
        (fit->order != NULL && data->rows > fit->order_room))
        return FASTBP_ERR_ARGUMENT;
    const fastbp_status_t status = fbp_batch_accept(&fit->plan, data);
    if (status != FASTBP_OK) return status;
    fit->data = *data;
    fbp_batch_describe(&fit->batch, data);
    fit->place = (fastbp_place_t){.epoch = fit->place.epoch};
    fit->in_place = false;
    return FASTBP_OK;
}

fastbp_status_t fastbp_fit_set_rates(fastbp_fit_t *fit, const double *rates, const double *momenta,
                                     long n) {
    if (rates != NULL && n < 1) return FASTBP_ERR_ARGUMENT;
    for (long i = 0; rates != NULL && i < n; ++i)
        if (!(rates[i] >= 0 && isfinite(rates[i]))) return FASTBP_ERR_ARGUMENT;
    for (long i = 0; momenta != NULL && i < n; ++i)
        if (!(momenta[i] >= 0 && momenta[i] < 1)) return FASTBP_ERR_ARGUMENT;
    fit->rates = rates;
    fit->n_rates = n;
    fit->momenta = rates != NULL ? momenta : NULL;
    return FASTBP_OK;
}

void fastbp_fit_free(fastbp_fit_t *fit) {
    if (fit == NULL) return;
    if (fit->session) fbp_pool_close_session();
    fbp_plan_free(&fit->plan);
    fbp_clocks_free(&fit->clocks);
    free(fit->order);
    free(fit->sums);
    free(fit);
}

/* The order of the epoch, and copies of W, which the caller may have changed: between epochs, or
 * between single steps. */
static void get_in_place(fastbp_fit_t *fit, bool single) {
    const fastbp_net_t *net = fit->plan.net;
    const bool copy = fit->keep_copies && (single || !fit->in_place);
    if (fit->order != NULL && !fit->in_place)
        fbp_shuffle(fit->order, fit->data.rows, net->group, fit->options.seed, fit->place.epoch,
                    fit->place.block);
    for (long i = 0; copy && i < net->n_tiles; ++i)
        fbp_copy_tile(&fit->plan, fit->theta, &net->tile[i]);
    fit->in_place = true;
}

fastbp_status_t fastbp_fit_seek(fastbp_fit_t *fit, const fastbp_place_t *place) {
    if (place->epoch < 0 || place->step < 0 || place->block < 0 || place->first < 0 ||
        place->block > (long)INT32_MAX || place->first > fit->data.rows)
        return FASTBP_ERR_ARGUMENT;
    fit->place = *place;
    fit->in_place = false;
    return FASTBP_OK;
}

/* ---- a slice of steps ---- */

typedef struct {
    fastbp_fit_t *fit;
    double deadline;
    bool diverged, gave_up, stop; /* written by worker 0, read by all after a barrier */
} slice_t;

typedef enum { FORWARD = 1, BACKWARD = 2, BOTH = 3 } stage_t;

/* Rows of a batch through the network, forward to a^L, or from there back, or all the way; and on
 * the way back, where there are penalties, tiles of W through those; once a step. */
static void row_sweep(const fastbp_fit_t *fit, const fbp_batch_t *batch, long first, stage_t stage,
                      fbp_team_t *team, int worker) {
    const fbp_plan_t *plan = &fit->plan;
    const fastbp_net_t *net = plan->net;
    const fbp_scratch_t *scratch = &plan->scratch[worker];
    const uint32_t *order = fit->order != NULL ? fit->order + first : NULL;
    const long blocks = fbp_plan_blocks(plan, batch->rows, fbp_team_size(team));
    const bool penalised = stage != FORWARD && batch->offset == 0 && (net->l1 != 0 || net->l2 != 0);
    const long tiles = penalised ? net->n_tiles : 0;
    for (long t = fbp_team_next(team); t < blocks + tiles; t = fbp_team_next(team)) {
        if (t >= blocks) {
            const fbp_tile_t *tile = &net->tile[t - blocks];
            plan->tile_penalty[t - blocks] = fbp_tile_penalty(net, fit->theta, tile);
            fbp_lap(scratch->profile, tile->layer + 1, FASTBP_PHASE_LOSS);
            continue;
        }
        const long row0 = fbp_block_row(plan, batch->rows, t, blocks);
        const long rows = fbp_block_row(plan, batch->rows, t + 1, blocks) - row0;
        if (stage & FORWARD) {
            fbp_batch_load(batch, &fit->data, order, first, row0, rows);
            fbp_lap(scratch->profile, 0, FASTBP_PHASE_OTHER);
            fbp_forward_rows(batch, scratch, row0, rows);
        }
        if (!(stage & BACKWARD)) continue;
        fbp_loss_rows(batch, row0, rows);
        fbp_lap(scratch->profile, net->n_layers, FASTBP_PHASE_LOSS);
        fbp_recursion_rows(batch, scratch, row0, rows);
    }
}

/* All the way, around a loss of the caller's, which worker 0 calls for the whole batch. */
static void whole_sweep(slice_t *slice, const fbp_batch_t *batch, long first, fbp_team_t *team,
                        int worker) {
    fbp_profile_t *profile = slice->fit->plan.scratch[worker].profile;
    if (batch->plan->net->loss_fn == NULL) {
        row_sweep(slice->fit, batch, first, BOTH, team, worker);
        return;
    }
    row_sweep(slice->fit, batch, first, FORWARD, team, worker);
    fbp_team_barrier(team);
    fbp_lap(profile, 0, FASTBP_PHASE_WAITING);
    if (worker == 0) {
        slice->gave_up = !fbp_custom_loss(batch, fbp_team_callers_mode(team));
        fbp_lap(profile, batch->plan->net->n_layers, FASTBP_PHASE_LOSS);
    }
    fbp_team_barrier(team);
    fbp_lap(profile, 0, FASTBP_PHASE_WAITING);
    if (!slice->gave_up) row_sweep(slice->fit, batch, first, BACKWARD, team, worker);
}

/* What a schedule says for a step of the epoch. */
static void set_rates(const fastbp_fit_t *fit, long step, fastbp_optimizer_t *now) {
    const long at = fbp_min_long(step, fit->n_rates - 1);
    if (fit->rates != NULL) now->lr = fmax(fit->rates[at], LEAST_RATE);
    if (fit->momenta != NULL) now->momentum = now->beta1 = fit->momenta[at];
}

/* The copies of a tile whose update is done; columns that are limited are not done yet. */
static void copy_updated(const fastbp_fit_t *fit, const fbp_tile_t *tile) {
    const fbp_layer_t *layer = &fit->plan.net->layer[tile->layer];
    if (fit->keep_copies && !layer->frozen && !fbp_limits_columns(layer))
        fbp_copy_tile(&fit->plan, fit->theta, tile);
}

/* Tiles of every W; each also asks for its share of the rows of the next batch. */
static void weight_sweep(const fastbp_fit_t *fit, const fbp_batch_t *batch, long next,
                         const fastbp_optimizer_t *now, double weight, uint64_t t, fbp_team_t *team,
                         int worker) {
    const fbp_plan_t *plan = &fit->plan;
    const fastbp_net_t *net = plan->net;
    const fbp_scratch_t *scratch = &plan->scratch[worker];
    fbp_update_t update = fbp_update_of(now, t);
    update.grad_scale = 1 / weight;
    const uint32_t *order = fit->order != NULL ? fit->order + next : NULL;
    const long coming = fbp_min_long(fit->options.batch_size, fit->data.rows - next);
    for (long i = fbp_team_next(team); i < net->n_tiles; i = fbp_team_next(team)) {
        const fbp_tile_t *tile = &net->tile[i];
        const long row0 = i * coming / net->n_tiles, end = (i + 1) * coming / net->n_tiles;
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

/* The same with the gradient written down, as the parts of a batch want it, and norms, for which
 * there are two rounds: tiles of the gradient with their sums of squares, and, behind a barrier,
 * tiles of θ. */
static void written_sweep(const fastbp_fit_t *fit, const fbp_batch_t *batch,
                          const fastbp_optimizer_t *now, double weight, uint64_t t,
                          fbp_team_t *team, int worker) {
    const fbp_plan_t *plan = &fit->plan;
    const fastbp_net_t *net = plan->net;
    const fbp_scratch_t *scratch = &plan->scratch[worker];
    const fbp_update_t update = fbp_update_of(now, t);
    const bool norms = fbp_clips_norms(now);
    fbp_clipping_t free_of_it = {.all = 1};
    void *grad = fit->sums != NULL ? fit->sums : now->grad;
    for (long i = fbp_team_next(team); i < net->n_tiles; i = fbp_team_next(team)) {
        const fbp_tile_t *tile = &net->tile[i];
        const bool frozen = net->layer[tile->layer].frozen;
        if (fit->sums != NULL) fbp_close_tile(net, tile, 1 / weight, fit->theta, grad);
        else if (!frozen) fbp_gradient_tile(batch, scratch, tile, 1 / weight, grad);
        fbp_lap(scratch->profile, tile->layer + 1, FASTBP_PHASE_GRADIENT);
        if (!norms) update_written(fit, tile, &update, now, &free_of_it, grad, scratch);
        for (int part = 0; norms && part < FBP_PARTS; ++part)
            plan->tile_square[FBP_PARTS * i + part] = fbp_tile_square(net, grad, tile, part);
        fbp_lap(scratch->profile, tile->layer + 1, FASTBP_PHASE_GRADIENT);
    }
    if (!norms) return;
    fbp_team_barrier(team);
    fbp_lap(scratch->profile, 0, FASTBP_PHASE_WAITING);
    fbp_clipping_t clipping = fbp_clipping_of(net, now, grad, plan->tile_square);
    for (long i = fbp_team_next(team); i < net->n_tiles; i = fbp_team_next(team))
        update_written(fit, &net->tile[i], &update, now, &clipping, grad, scratch);
}

/* The batch from `first` on, of `rows` rows, part by part: their gradients into fit->sums. The
 * weight of it all is left in *weight. Returns Σ s_i J_i, not finite as soon as that of a part is
 * not, with all workers behind a barrier. */
static double gather_parts(slice_t *slice, fbp_batch_t *batch, long first, long rows,
                           double *weight, fbp_team_t *team, int worker) {
    const fastbp_fit_t *fit = slice->fit;
    const fastbp_net_t *net = fit->plan.net;
    const fbp_scratch_t *scratch = &fit->plan.scratch[worker];
    double losses = 0;
    *weight = 0;
    for (long row = 0; row < rows; row += batch->rows) {
        batch->rows = fbp_min_long(fit->plan.capacity, rows - row);
        batch->offset = row;
        whole_sweep(slice, batch, first + row, team, worker);
        fbp_team_barrier(team);
        fbp_lap(scratch->profile, 0, FASTBP_PHASE_WAITING);
        if (slice->gave_up) return losses;
        const double own = fbp_weight_sum(batch);
        const bool is_first = *weight == 0;
        *weight += own;
        if (own > 0) losses += fbp_loss_sum(batch);
        if (!isfinite(losses)) return losses;
        const long tiles = own > 0 ? net->n_tiles : 0;
        for (long i = fbp_team_next(team); i < tiles; i = fbp_team_next(team)) {
            fbp_gather_tile(batch, scratch, &net->tile[i], is_first, fit->sums);
            fbp_lap(scratch->profile, net->tile[i].layer + 1, FASTBP_PHASE_GRADIENT);
        }
        fbp_team_barrier(team);
        fbp_lap(scratch->profile, 0, FASTBP_PHASE_WAITING);
    }
    return losses;
}

/* A column's norm takes all of its tiles: strips of whole columns, then the copies of their W. */
static void constraint_sweep(const fastbp_fit_t *fit, fbp_team_t *team, int worker) {
    const fbp_plan_t *plan = &fit->plan;
    const fastbp_net_t *net = plan->net;
    fbp_profile_t *profile = plan->scratch[worker].profile;
    fbp_team_barrier(team);
    fbp_lap(profile, 0, FASTBP_PHASE_WAITING);
    long next = fbp_team_next(team), strip = 0;
    for (int i = 0; i < net->n_layers; ++i) {
        const long n_out = net->layer[i].n_out;
        for (long j = 0; fbp_limits_columns(&net->layer[i]) && j < n_out;
             j += FBP_TILE_OUTPUTS, ++strip) {
            if (strip != next) continue;
            const long cols = fbp_min_long(FBP_TILE_OUTPUTS, n_out - j);
            fbp_constrain_columns(net, fit->theta, i, j, cols);
            fbp_lap(profile, i + 1, FASTBP_PHASE_UPDATE);
            next = fbp_team_next(team);
        }
    }
    fbp_team_barrier(team);
    fbp_lap(profile, 0, FASTBP_PHASE_WAITING);
    if (!fit->keep_copies) return;
    for (long t = fbp_team_next(team); t < net->n_tiles; t = fbp_team_next(team)) {
        if (!fbp_limits_columns(&net->layer[net->tile[t].layer])) continue;
        fbp_copy_tile(plan, fit->theta, &net->tile[t]);
        fbp_lap(profile, net->tile[t].layer + 1, FASTBP_PHASE_UPDATE);
    }
}

/* J of a batch whose row sweep is done. */
static double objective(const fastbp_fit_t *fit, double losses, double weight) {
    double J = losses / weight;
    for (long i = 0; i < fit->plan.net->n_tiles; ++i) J += fit->plan.tile_penalty[i];
    return J;
}

static void keep_books(slice_t *slice, long rows, double weight, double J) {
    fastbp_fit_t *fit = slice->fit;
    fit->place.first += rows;
    fit->place.step += 1;
    if (weight > 0) {
        fit->last_loss = J;
        fit->place.loss_sum += J * weight;
        fit->place.weight_sum += weight;
        fit->optimizer->t += 1;
    }
    slice->stop = fit->place.first >= fit->data.rows || fbp_seconds() >= slice->deadline;
}

/* Whole steps only: a J that is not finite is found between the sweeps, before any parameter has
 * changed. A batch whose weights are all 0 has no gradient and is passed over. */
static void run_steps(void *context, fbp_team_t *team, int worker) {
    slice_t *slice = context;
    fastbp_fit_t *fit = slice->fit;
    fbp_batch_t batch = fit->batch;
    fastbp_optimizer_t now = *fit->optimizer;
    long first = fit->place.first, step = fit->place.step;
    uint64_t t = fit->optimizer->t;
    batch.lowest = fbp_lowest_trained(fit->plan.net);
    fbp_profile_t *profile = fit->plan.scratch[worker].profile;
    if (worker == 0) fit->team_size = (int)fbp_max_long(fit->team_size, fbp_team_size(team));
    else fbp_lap_begin(profile);
    fbp_team_barrier(team); /* all have read where to begin before worker 0 moves on */
    fbp_lap(profile, 0, FASTBP_PHASE_WAITING);
    do {
        const long rows = fbp_min_long(fit->options.batch_size, fit->data.rows - first);
        double weight, losses;
        batch.step = t;
        if (fit->sums != NULL) {
            losses = gather_parts(slice, &batch, first, rows, &weight, team, worker);
        } else {
            batch.rows = rows;
            whole_sweep(slice, &batch, first, team, worker);
            fbp_team_barrier(team);
            fbp_lap(profile, 0, FASTBP_PHASE_WAITING);
            weight = fbp_weight_sum(&batch);
            losses = fbp_loss_sum(&batch);
        }
        if (slice->gave_up) return;
        const double J = weight > 0 ? objective(fit, losses, weight) : 0;
        if (!isfinite(J)) {
            if (worker == 0) fit->last_loss = J;
            if (worker == 0) slice->diverged = true;
            return;
        }
        fbp_lap(profile, 0, FASTBP_PHASE_OTHER);
        set_rates(fit, step++, &now);
        if (weight > 0 && (fit->sums != NULL || fbp_clips_norms(&now)))
            written_sweep(fit, &batch, &now, weight, ++t, team, worker);
        else if (weight > 0)
            weight_sweep(fit, &batch, first + rows, &now, weight, ++t, team, worker);
        if (weight > 0 && fit->plan.net->max_norm) constraint_sweep(fit, team, worker);
        if (worker == 0) keep_books(slice, rows, weight, J);
        fbp_lap(profile, 0, FASTBP_PHASE_OTHER);
        first += rows;
        fbp_team_barrier(team);
        fbp_lap(profile, 0, FASTBP_PHASE_WAITING);
    } while (!slice->stop);
}

fastbp_status_t fastbp_fit_run(fastbp_fit_t *fit, double seconds, fastbp_progress_t *progress) {
    if (!fbp_optimizer_valid(fit->optimizer)) return FASTBP_ERR_ARGUMENT;
    const double begin = fbp_seconds();
    slice_t slice = {.fit = fit, .deadline = begin + seconds};
    fbp_lap_begin(fit->plan.scratch[0].profile);
    get_in_place(fit, seconds <= 0);
    fbp_lap(fit->plan.scratch[0].profile, 0, FASTBP_PHASE_OTHER);
    const long step = fit->place.step;
    if (fit->place.first < fit->data.rows) fbp_pool_run(fit->n_workers, run_steps, &slice);
    fastbp_fit_runs_t *runs = fit->clocked ? &fit->timed : &fit->plain;
    if (fit->clocks.worker != NULL) {
        runs->steps += fit->place.step - step;
        runs->seconds += fbp_seconds() - begin;
    }
    const bool done = !slice.diverged && !slice.gave_up && fit->place.first >= fit->data.rows;
    *progress = (fastbp_progress_t){
        .epoch_done = done,
        .epoch = fit->place.epoch,
        .step = fit->place.step,
        .loss = fit->place.loss_sum / fit->place.weight_sum,
        .last_loss = fit->last_loss,
        .place = fit->place,
    };
    if (done) fit->place = (fastbp_place_t){.epoch = fit->place.epoch + 1};
    if (done || slice.diverged || slice.gave_up) fit->in_place = false;
    if (slice.gave_up) return FASTBP_ERR_CALL;
    return slice.diverged ? FASTBP_ERR_DIVERGED : FASTBP_OK;
}

fastbp_status_t fastbp_fit_set_clocks(fastbp_fit_t *fit, bool on) {
    if (on && fit->clocks.worker == NULL) {
        const fastbp_status_t status =
            fbp_clocks_init(&fit->clocks, fit->n_workers, fit->plan.net->n_layers);
        if (status != FASTBP_OK) return status;
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
    const size_t order = (size_t)fit->order_room * sizeof *fit->order;
    const bool outer = plan->capacity <= FBP_OUTER_MAX && fit->sums == NULL &&
                       !fbp_clips_norms(fit->optimizer) &&
                       !fbp_update_of(fit->optimizer, fit->optimizer->t + 1).options;
    const size_t sums = fit->sums != NULL ? net->n_params * net->kernels->elem_size : 0;
    *report = (fastbp_fit_report_t){
        .threads = team_size,
        .threads_planned = fit->n_workers,
        .threads_allowed = wanted > 0 ? wanted : fbp_thread_limit(),
        .step_work = fbp_work_of(net, plan->capacity, FBP_TRAIN_WORK),
        .thread_work = fbp_work_per_worker(),
        .next_rows = fbp_rows_for(net, fit->n_workers + 1, FBP_TRAIN_WORK),
        .copies_above = FBP_DOT_MAX_ROWS,
        .row_blocks = fbp_plan_blocks(plan, plan->capacity, team_size + (team_size == 0)),
        .tiles = net->n_tiles,
        .bytes = plan->arena.size + plan->scratch_arena.size + plan->input_arena.size +
                 plan->sparse_arena.size + order + sums,
        .clocked = fit->timed,
        .plain = fit->plain,
    };
    for (int l = 0; l <= net->n_layers; ++l) {
        fbp_clocks_sum(&fit->clocks, l, layer[l].seconds);
        layer[l].outer = outer && !(fit->batch.sparse && l == 1);
        layer[l].panels = l > 0 && fit->keep_copies && plan->wp[l - 1] != NULL;
        layer[l].transposed = l > 0 && fit->keep_copies && plan->wt[l - 1] != NULL;
    }
}
