/* pass.c: forward and backward passes that keep every z, a and δ for the caller. */
#include "pass.h"

#include "batch_norm.h"
#include "options.h"
#include "update.h"

#include <stdlib.h>

fastbp_status_t fastbp_pass_new(fastbp_pass_t **out, const fastbp_net_t *net, ptrdiff_t capacity) {
    *out = NULL;
    if (capacity < 1) return FASTBP_ERR_ARGUMENT;
    fastbp_pass_t *pass = calloc(1, sizeof *pass);
    if (pass == NULL) return FASTBP_ERR_MEMORY;
    const fastbp_status_t status =
        fbp_plan_init(&pass->plan, net, FBP_PLAN_INSPECT, capacity, capacity, 1);
    if (status != FASTBP_OK) {
        free(pass);
        return status;
    }
    pass->batch.plan = &pass->plan;
    *out = pass;
    return FASTBP_OK;
}

void fastbp_pass_free(fastbp_pass_t *pass) {
    if (pass == NULL) return;
    fbp_plan_free(&pass->tangent);
    fbp_plan_free(&pass->plan);
    free(pass);
}

void *fastbp_pass_buffer(const fastbp_pass_t *pass, fastbp_buffer_t which, int layer,
                         ptrdiff_t *ld) {
    if (layer < 1 || layer > pass->plan.net->n_layers) return NULL;
    const fbp_rows_t *rows = which == FASTBP_BUFFER_Z   ? &pass->plan.z[layer]
                             : which == FASTBP_BUFFER_A ? &pass->plan.a[layer]
                                                        : &pass->plan.delta[layer];
    *ld = rows->ld;
    return rows->at;
}

bool fastbp_pass_overlaps(const fastbp_pass_t *pass, const void *at, size_t bytes) {
    const uintptr_t from = (uintptr_t)at, own = (uintptr_t)pass->plan.arena.base;
    return from < own + pass->plan.arena.size && own < from + bytes;
}

/* ---- regions ---- */

fastbp_status_t fbp_pass_run(fastbp_pass_t *pass, fbp_work_t work, fbp_region_fn body,
                             void *context) {
    const int workers = fbp_workers_for(pass->plan.net, pass->batch.rows, work, 0);
    const fastbp_status_t status = fbp_plan_add_workers(&pass->plan, workers);
    if (status == FASTBP_OK) fbp_pool_run(workers, body, context);
    return status;
}

void fbp_pass_copy(const fbp_batch_t *batch, fbp_team_t *team, int first, int last,
                   fbp_copies_t copies) {
    const fastbp_net_t *net = batch->plan->net;
    if (!fbp_uses_copies(batch) && !net->has_scale) return;
    for (ptrdiff_t t = fbp_team_next(team); t < net->n_tiles; t = fbp_team_next(team)) {
        const int l = net->tile[t].layer + 1;
        if (first <= l && l <= last) fbp_renew_tile(batch, &net->tile[t], copies);
    }
}

/* What the workers of a backward pass, or of a part of it, share. */
typedef struct {
    const fbp_batch_t *batch;
    bool loss;       /* δ^L is made from targets; otherwise it is in place */
    int top, bottom; /* δ^{top−1} … δ^bottom are made, from δ^top */
    void *grad;      /* NULL where it is not wanted */
    double grad_scale;
} backward_t;

static void run_forward(void *context, fbp_team_t *team, int worker) {
    const fbp_batch_t *batch = context;
    if (fbp_plan_reads_copies(batch->plan)) {
        fbp_pass_copy(batch, team, 1, batch->plan->net->n_layers, FBP_COPY_FORWARD);
        fbp_team_barrier(team);
    }
    const fbp_scratch_t *scratch = &batch->plan->scratch[worker];
    fbp_begin_products(batch->plan);
    const int from = fbp_forward_stages(batch, scratch, NULL, team);
    for (fbp_block_t block; fbp_next_block(batch, team, &block);)
        fbp_forward_block(batch, scratch, NULL, from, &block);
    fbp_end_products(batch->plan);
}

static void run_backward(void *context, fbp_team_t *team, int worker) {
    const backward_t *part = context;
    const fbp_batch_t *batch = part->batch;
    const fastbp_net_t *net = batch->plan->net;
    const fbp_scratch_t *scratch = &batch->plan->scratch[worker];
    fbp_begin_products(batch->plan);
    const bool whole = net->has_embedding && part->bottom == 1; /* down to a^0 */
    fbp_pass_copy(batch, team, whole ? 1 : part->bottom + 1, part->top, FBP_COPY_TRANSPOSED);
    fbp_team_barrier(team);
    for (fbp_block_t block; fbp_next_block(batch, team, &block);) {
        if (part->loss) fbp_loss_rows(batch, scratch, block.row0, block.rows);
        fbp_recursion_rows(batch, scratch, part->top, part->bottom, block.row0, block.rows);
        if (part->grad != NULL) fbp_weigh_rows(batch, block.row0, block.rows);
    }
    fbp_backward_stages(batch, scratch, part->top, part->bottom, team);
    fbp_team_barrier(team);
    const ptrdiff_t tiles = part->grad != NULL ? net->n_tiles : 0;
    for (ptrdiff_t t = fbp_team_next(team); t < tiles; t = fbp_team_next(team))
        fbp_gradient_tile(batch, scratch, &net->tile[t], part->grad_scale, part->grad);
    fbp_end_products(batch->plan);
}

/* ---- forward ---- */

static fastbp_status_t forward(fastbp_pass_t *pass, const void *theta, const fastbp_data_t *data,
                               bool training, uint64_t seed, uint64_t t) {
    if (data->rows < 1 || data->rows > pass->plan.capacity) return FASTBP_ERR_ARGUMENT;
    if (!training && !fbp_variances_fit(pass->plan.net, theta)) return FASTBP_ERR_VARIANCE;
    fastbp_status_t status = fbp_batch_accept(&pass->plan, data);
    if (status != FASTBP_OK) return status;
    pass->batch.rows = 0; /* until there is a forward pass to go back through */
    status = fbp_plan_set_dropout(&pass->plan, training);
    if (status != FASTBP_OK) return status;
    pass->batch.theta = theta;
    fbp_choose_statistics(&pass->batch, training);
    /* With statistics of the batch, δ of a row depends on the weights of all rows. */
    pass->batch.fold_weights = fbp_is_by_batch(&pass->plan);
    if (data->rows == 1 && fbp_is_by_batch(&pass->plan)) return FASTBP_ERR_ARGUMENT;
    pass->batch.seed = seed;
    pass->batch.step = t;
    fbp_batch_describe(&pass->batch, data);
    const fbp_fpmode_t callers_mode = fbp_flush_subnormals();
    fbp_batch_load(&pass->batch, data, NULL, 0, 0, data->rows);
    fbp_set_fpmode(callers_mode);
    fbp_pass_drop_delta(pass);
    pass->has_targets = false;
    status = fbp_pass_run(pass, FBP_FORWARD_WORK, run_forward, &pass->batch);
    if (status != FASTBP_OK) pass->batch.rows = 0;
    return status;
}

fastbp_status_t fastbp_forward(fastbp_pass_t *pass, const void *theta, const fastbp_data_t *data) {
    return forward(pass, theta, data, false, 0, 0);
}

fastbp_status_t fastbp_forward_training(fastbp_pass_t *pass, const void *theta,
                                        const fastbp_data_t *data, uint64_t seed, uint64_t t) {
    return forward(pass, theta, data, true, seed, t);
}

void fastbp_move_statistics(const fastbp_pass_t *pass, void *theta) {
    const fbp_fpmode_t callers_mode = fbp_flush_subnormals();
    for (int l = 1; pass->batch.rows > 0 && l <= pass->plan.net->n_layers; ++l)
        fbp_move_statistics(&pass->batch, l, theta, theta);
    fbp_set_fpmode(callers_mode);
}

/* ---- backward, as a whole or layer by layer ---- */

/* Computes δ^L from targets if `loss`, then δ^{top−1} … δ^bottom, then the gradient unless grad is
 * NULL. */
static fastbp_status_t recur(fastbp_pass_t *pass, const void *theta, bool loss, int top, int bottom,
                             void *grad) {
    fbp_batch_t *batch = &pass->batch;
    batch->theta = theta;
    batch->backward = true;
    if (batch->weighted && !batch->fold_weights && grad != NULL) {
        const fastbp_status_t status = fbp_plan_add_scaled(&pass->plan);
        if (status != FASTBP_OK) return status;
    }
    const fbp_fpmode_t callers_mode = fbp_flush_subnormals();
    backward_t part = {batch, loss, top, bottom, grad, 1 / fbp_weight_sum(batch)};
    fbp_set_fpmode(callers_mode);
    const fbp_work_t work = grad != NULL ? FBP_BACKWARD_WORK : FBP_FORWARD_WORK;
    return fbp_pass_run(pass, work, run_backward, &part);
}

/* Loads targets and weights for the batch of the last forward pass. */
static fastbp_status_t load_targets(fastbp_pass_t *pass, const fastbp_data_t *data) {
    if (pass->batch.rows == 0) return FASTBP_ERR_STATE;
    if (data->rows != pass->batch.rows) return FASTBP_ERR_ARGUMENT;
    pass->has_targets = false;
    fastbp_data_t targets = *data;
    targets.x = NULL;
    targets.x_type = FASTBP_X_OWN;
    targets.indptr = NULL;
    const bool sparse = pass->batch.sparse;
    fbp_batch_describe(&pass->batch, &targets);
    pass->batch.sparse = sparse;
    fbp_batch_load(&pass->batch, &targets, NULL, 0, 0, data->rows);
    return FASTBP_OK;
}

static fastbp_status_t from_targets(fastbp_pass_t *pass, const void *theta,
                                    const fastbp_data_t *data, int bottom, void *grad,
                                    double *cost) {
    const fastbp_net_t *net = pass->plan.net;
    fbp_pass_drop_delta(pass);
    if (!fbp_targets_fit(net, data)) return FASTBP_ERR_ARGUMENT;
    fastbp_status_t status = load_targets(pass, data);
    if (status != FASTBP_OK) return status;
    pass->batch.backward = true;
    if (net->loss.fn != NULL && !fbp_custom_loss(&pass->batch, fbp_fpmode()))
        return FASTBP_ERR_CALL;
    status = recur(pass, theta, true, net->n_layers, bottom, grad);
    if (status != FASTBP_OK) return status;
    const fbp_fpmode_t callers_mode = fbp_flush_subnormals();
    *cost = fbp_loss_sum(&pass->batch) / fbp_weight_sum(&pass->batch) + fbp_penalty(net, theta);
    fbp_set_fpmode(callers_mode);
    pass->lowest = bottom;
    pass->has_targets = bottom == 1;
    return FASTBP_OK;
}

fastbp_status_t fastbp_backward(fastbp_pass_t *pass, const void *theta, const fastbp_data_t *data,
                                void *grad, double *cost) {
    return from_targets(pass, theta, data, 1, grad, cost);
}

fastbp_status_t fastbp_backward_output(fastbp_pass_t *pass, const void *theta,
                                       const fastbp_data_t *data, double *cost) {
    return from_targets(pass, theta, data, pass->plan.net->n_layers, NULL, cost);
}

fastbp_status_t fastbp_backward_inject(fastbp_pass_t *pass, const void *delta, ptrdiff_t ldd,
                                       const void *weights) {
    const fastbp_data_t data = {.rows = pass->batch.rows, .weights = weights};
    fbp_pass_drop_delta(pass);
    const fastbp_net_t *net = pass->plan.net;
    if (net->layer[net->n_layers - 1].n_constants > 0) return FASTBP_ERR_ARGUMENT;
    const fastbp_status_t status = load_targets(pass, &data);
    if (status != FASTBP_OK) return status;
    const fbp_rows_t *into = &pass->plan.delta[net->n_layers];
    const fbp_mat_t from = {delta, data.rows, net->layer[net->n_layers - 1].n_out, ldd};
    net->kernels->act_forward(FASTBP_ACT_IDENTITY, 0, &from, into->at, into->ld);
    if (pass->batch.weighted && pass->batch.fold_weights) {
        const fbp_mat_t own = {into->at, from.rows, from.cols, into->ld};
        net->kernels->scale_rows(&own, pass->plan.weight, into->at, into->ld);
    }
    pass->lowest = net->n_layers;
    return FASTBP_OK;
}

fastbp_status_t fastbp_backward_layer(fastbp_pass_t *pass, const void *theta, int layer) {
    if (layer < 1 || layer >= pass->plan.net->n_layers) return FASTBP_ERR_ARGUMENT;
    if (pass->batch.rows == 0 || pass->lowest > layer + 1) return FASTBP_ERR_STATE;
    const fastbp_status_t status = recur(pass, theta, false, layer + 1, layer, NULL);
    if (status == FASTBP_OK) pass->lowest = layer;
    return status;
}

fastbp_status_t fastbp_backward_gradient(fastbp_pass_t *pass, const void *theta, void *grad) {
    if (!fbp_pass_has_delta(pass)) return FASTBP_ERR_STATE;
    return recur(pass, theta, false, 1, 1, grad);
}

fastbp_status_t fastbp_backward_from(fastbp_pass_t *pass, const void *theta, const void *delta,
                                     ptrdiff_t ldd, const void *weights, void *grad) {
    fastbp_status_t status = fastbp_backward_inject(pass, delta, ldd, weights);
    if (status != FASTBP_OK) return status;
    status = recur(pass, theta, false, pass->plan.net->n_layers, 1, grad);
    if (status == FASTBP_OK) pass->lowest = 1;
    return status;
}

fastbp_status_t fastbp_input_gradient(fastbp_pass_t *pass, const void *theta, void *out) {
    fbp_plan_t *plan = &pass->plan;
    const fastbp_net_t *net = plan->net;
    const fbp_layer_t *first = &net->layer[0];
    if (!fbp_pass_has_delta(pass)) return FASTBP_ERR_STATE;
    if (net->has_embedding) return FASTBP_ERR_ARGUMENT;
    const fbp_fpmode_t callers_mode = fbp_flush_subnormals();
    pass->batch.theta = theta;
    for (ptrdiff_t i = 0; i < net->n_tiles && net->tile[i].layer == 0; ++i)
        fbp_copy_tile(&pass->batch, &net->tile[i], FBP_COPY_TRANSPOSED);
    fbp_factor_delta(&pass->batch, 1, 0, pass->batch.rows);
    fbp_gemm_t product = {
        .c = out,
        .ldc = first->n_in,
        .m = pass->batch.rows,
        .n = first->n_in,
        .k = first->n_out,
        .epi = FBP_EPI_NONE,
    };
    fbp_begin_products(plan);
    fbp_multiply_copy(&pass->batch, 1, 0, 0, false, &product);
    fbp_end_products(plan);
    if (first->has.residual) {
        const fbp_mat_t g = {out, pass->batch.rows, first->n_in, first->n_in};
        net->kernels->add_rows(&g, plan->skip.row, out, first->n_in);
    }
    fbp_drop_slopes(&pass->batch, 0, out, first->n_in);
    fbp_set_fpmode(callers_mode);
    return FASTBP_OK;
}
