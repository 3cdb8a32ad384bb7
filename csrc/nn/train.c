/* train.c: a training session: shuffle, batches, steps and the running loss, without a word from
 * the caller until the epoch or the time slice ends. Nothing allocates after fastbp_fit_new. */
#include "update.h"

#include "../base/clock.h"
#include "../base/rng.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

struct fastbp_fit {
    fbp_plan_t plan;
    fbp_batch_t batch;
    fastbp_data_t data;
    fastbp_optimizer_t *optimizer;
    fastbp_fit_options_t options;
    void *theta;
    uint32_t *order;         /* this epoch's permutation, or NULL without shuffling */
    bool keep_wt;            /* batches are large enough for transposed copies */
    long epoch, step, first; /* of the next step; `first` is its first sample */
    double loss_sum, weight_sum, last_loss;
};

static bool valid_data(const fastbp_data_t *data) {
    return data->rows >= 1 && data->rows <= (long)INT32_MAX && data->x != NULL &&
           (data->labels != NULL) != (data->targets != NULL);
}

fastbp_status_t fastbp_fit_new(fastbp_fit_t **out, const fastbp_net_t *net, void *theta,
                               const fastbp_data_t *data, fastbp_optimizer_t *optimizer,
                               const fastbp_fit_options_t *options) {
    *out = NULL;
    if (!valid_data(data) || !fbp_optimizer_valid(optimizer) || options->batch_size < 1)
        return FASTBP_ERR_ARGUMENT;
    fastbp_fit_t *fit = calloc(1, sizeof *fit);
    if (fit == NULL) return FASTBP_ERR_MEMORY;
    const long capacity = fbp_min_long(options->batch_size, data->rows);
    fit->data = *data;
    fit->optimizer = optimizer;
    fit->options = *options;
    fit->theta = theta;
    fastbp_status_t status = fbp_plan_init(&fit->plan, net, FBP_PLAN_TRAIN, capacity);
    if (status == FASTBP_OK && options->shuffle) {
        fit->order = malloc((size_t)data->rows * sizeof *fit->order);
        if (fit->order == NULL) status = FASTBP_ERR_MEMORY;
    }
    if (status != FASTBP_OK) {
        fastbp_fit_free(fit);
        return status;
    }
    fit->batch = (fbp_batch_t){.plan = &fit->plan,
                               .theta = theta,
                               .rows = capacity,
                               .fold_weights = true,
                               .backward = true};
    fit->keep_wt = fbp_uses_transpose(&fit->batch);
    for (long i = 0; fit->keep_wt && i < fit->plan.net->n_tiles; ++i)
        fbp_transpose_tile(&fit->plan, theta, &fit->plan.net->tile[i]);
    *out = fit;
    return FASTBP_OK;
}

void fastbp_fit_free(fastbp_fit_t *fit) {
    if (fit == NULL) return;
    fbp_plan_free(&fit->plan);
    free(fit->order);
    free(fit);
}

/* Fisher-Yates from the identity; the value for place i depends on (seed, epoch, i) alone. */
static void shuffle(fastbp_fit_t *fit) {
    for (long i = 0; i < fit->data.rows; ++i) fit->order[i] = (uint32_t)i;
    for (long i = fit->data.rows - 1; i > 0; --i) {
        const fbp_random_t r =
            fbp_philox(fit->options.seed, FBP_STREAM_SHUFFLE, (uint32_t)fit->epoch, (uint64_t)i);
        const uint64_t j = fbp_random_below(r, (uint64_t)i + 1);
        const uint32_t held = fit->order[i];
        fit->order[i] = fit->order[j];
        fit->order[j] = held;
    }
}

static void begin_epoch(fastbp_fit_t *fit) {
    fit->loss_sum = fit->weight_sum = 0;
    fit->step = 0;
    if (fit->order != NULL) shuffle(fit);
}

/* One whole step, or none: a loss that is not finite is found between the sweeps, before any
 * parameter has changed. A batch whose weights are all 0 has no gradient and is passed over. */
static fastbp_status_t train_step(fastbp_fit_t *fit) {
    fbp_batch_t *batch = &fit->batch;
    const long rows = fbp_min_long(fit->options.batch_size, fit->data.rows - fit->first);
    const uint32_t *order = fit->order != NULL ? fit->order + fit->first : NULL;
    fbp_batch_load(batch, &fit->data, order, fit->first, rows);
    const double weight = fbp_weight_sum(batch);
    if (weight > 0) {
        fbp_row_sweep(batch);
        const double loss = fbp_loss_sum(batch) / weight;
        fit->last_loss = loss;
        if (!isfinite(loss)) return FASTBP_ERR_DIVERGED;
        fbp_update_t update = fbp_update_of(fit->optimizer, fit->optimizer->t + 1);
        update.grad_scale = 1 / weight;
        fbp_update_sweep(batch, &update, fit->optimizer, fit->theta, fit->keep_wt);
        fit->optimizer->t += 1;
        for (long i = 0; i < fit->plan.net->n_tiles; ++i)
            fit->last_loss += fit->plan.tile_penalty[i];
        fit->loss_sum += fit->last_loss * weight;
        fit->weight_sum += weight;
    }
    fit->first += rows;
    fit->step += 1;
    return FASTBP_OK;
}

fastbp_status_t fastbp_fit_run(fastbp_fit_t *fit, double seconds, fastbp_progress_t *progress) {
    const double deadline = fbp_seconds() + seconds;
    fastbp_status_t status = FASTBP_OK;
    if (fit->first == 0) begin_epoch(fit);
    do {
        status = train_step(fit);
    } while (status == FASTBP_OK && fit->first < fit->data.rows && fbp_seconds() < deadline);
    const bool done = fit->first >= fit->data.rows;
    *progress = (fastbp_progress_t){
        .epoch_done = done,
        .epoch = fit->epoch,
        .step = fit->step,
        .loss = fit->loss_sum / fit->weight_sum,
        .last_loss = fit->last_loss,
    };
    if (done) {
        fit->epoch += 1;
        fit->first = 0;
    }
    return status;
}
