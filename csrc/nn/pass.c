/* pass.c: forward and backward in the open, with every z, a and δ kept for the caller to see. */
#include "options.h"
#include "update.h"

#include "../threads/pool.h"

#include <stdlib.h>

struct fastbp_pass {
    fbp_plan_t plan;
    fbp_batch_t batch; /* of the last forward; rows = 0 before it */
    bool has_delta;    /* a backward pass has filled δ since */
};

fastbp_status_t fastbp_pass_new(fastbp_pass_t **out, const fastbp_net_t *net, long capacity) {
    *out = NULL;
    if (capacity < 1) return FASTBP_ERR_ARGUMENT;
    fastbp_pass_t *pass = calloc(1, sizeof *pass);
    if (pass == NULL) return FASTBP_ERR_MEMORY;
    const fastbp_status_t status = fbp_plan_init(&pass->plan, net, FBP_PLAN_INSPECT, capacity, 1);
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
    fbp_plan_free(&pass->plan);
    free(pass);
}

void *fastbp_pass_buffer(const fastbp_pass_t *pass, fastbp_buffer_t which, int layer, long *ld) {
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

/* What the workers of a region share; each phase ends at a barrier. */
typedef struct {
    const fbp_batch_t *batch;
    void *grad;
    double grad_scale;
    bool loss; /* δ^L is made from targets; otherwise it is in place */
} region_t;

static void run_forward(void *context, fbp_team_t *team, int worker) {
    const fbp_batch_t *batch = ((const region_t *)context)->batch;
    const long blocks = fbp_plan_blocks(batch->plan, batch->rows, fbp_team_size(team));
    for (long t = fbp_team_next(team); t < blocks; t = fbp_team_next(team)) {
        const long row0 = fbp_block_row(batch->plan, batch->rows, t, blocks);
        const long end = fbp_block_row(batch->plan, batch->rows, t + 1, blocks);
        fbp_forward_rows(batch, &batch->plan->scratch[worker], row0, end - row0);
    }
}

static void run_backward(void *context, fbp_team_t *team, int worker) {
    const region_t *region = context;
    const fbp_batch_t *batch = region->batch;
    const fbp_plan_t *plan = batch->plan;
    const fastbp_net_t *net = plan->net;
    const long blocks = fbp_plan_blocks(plan, batch->rows, fbp_team_size(team));
    if (fbp_uses_copies(batch))
        for (long t = fbp_team_next(team); t < net->n_tiles; t = fbp_team_next(team))
            if (net->tile[t].layer > 0) fbp_copy_tile(plan, batch->theta, &net->tile[t]);
    fbp_team_barrier(team);
    for (long t = fbp_team_next(team); t < blocks; t = fbp_team_next(team)) {
        const long row0 = fbp_block_row(batch->plan, batch->rows, t, blocks);
        const long end = fbp_block_row(batch->plan, batch->rows, t + 1, blocks);
        if (region->loss) fbp_loss_rows(batch, row0, end - row0);
        fbp_recursion_rows(batch, &plan->scratch[worker], row0, end - row0);
    }
    fbp_team_barrier(team);
    for (long t = fbp_team_next(team); t < net->n_tiles; t = fbp_team_next(team))
        fbp_gradient_tile(batch, &plan->scratch[worker], &net->tile[t], region->grad_scale,
                          region->grad);
}

/* Runs a region on as many threads as the batch is worth. */
static fastbp_status_t run(fbp_batch_t *batch, fbp_work_t work, fbp_region_fn body,
                           region_t *region) {
    const int workers = fbp_workers_for(batch->plan->net, batch->rows, work, 0);
    const fastbp_status_t status = fbp_plan_add_workers(batch->plan, workers);
    if (status == FASTBP_OK) fbp_pool_run(workers, body, region);
    return status;
}

fastbp_status_t fastbp_forward(fastbp_pass_t *pass, const void *theta, const fastbp_data_t *data) {
    if (data->rows < 1 || data->rows > pass->plan.capacity) return FASTBP_ERR_ARGUMENT;
    const fastbp_status_t status = fbp_batch_accept(&pass->plan, data);
    if (status != FASTBP_OK) return status;
    fbp_batch_describe(&pass->batch, data);
    fbp_batch_load(&pass->batch, data, NULL, 0, 0, data->rows);
    pass->batch.theta = theta;
    pass->has_delta = false;
    region_t region = {.batch = &pass->batch};
    return run(&pass->batch, FBP_INFER_WORK, run_forward, &region);
}

/* Every δ and the gradient, from the targets or from a δ^L that is in place. */
static fastbp_status_t recur(fastbp_pass_t *pass, const void *theta, bool loss, void *grad) {
    fbp_batch_t *batch = &pass->batch;
    batch->theta = theta;
    batch->backward = true;
    if (batch->weighted) {
        const fastbp_status_t status = fbp_plan_add_scaled(&pass->plan);
        if (status != FASTBP_OK) return status;
    }
    region_t region = {batch, grad, 1 / fbp_weight_sum(batch), loss};
    const fastbp_status_t status = run(batch, FBP_BACKWARD_WORK, run_backward, &region);
    pass->has_delta = status == FASTBP_OK;
    return status;
}

/* Loads targets and weights of the batch whose forward pass has been made. */
static fastbp_status_t load_targets(fastbp_pass_t *pass, const fastbp_data_t *data) {
    if (pass->batch.rows == 0) return FASTBP_ERR_STATE;
    if (data->rows != pass->batch.rows) return FASTBP_ERR_ARGUMENT;
    fastbp_data_t targets = *data;
    targets.x = NULL;
    targets.x_type = FASTBP_X_OWN;
    fbp_batch_describe(&pass->batch, &targets);
    fbp_batch_load(&pass->batch, &targets, NULL, 0, 0, data->rows);
    return FASTBP_OK;
}

fastbp_status_t fastbp_backward(fastbp_pass_t *pass, const void *theta, const fastbp_data_t *data,
                                void *grad, double *cost) {
    if (!fbp_targets_fit(pass->plan.net, data)) return FASTBP_ERR_ARGUMENT;
    fastbp_status_t status = load_targets(pass, data);
    if (status != FASTBP_OK) return status;
    pass->batch.backward = true;
    if (pass->plan.net->loss_fn != NULL && !fbp_custom_loss(&pass->batch)) return FASTBP_ERR_CALL;
    status = recur(pass, theta, true, grad);
    if (status == FASTBP_OK)
        *cost = fbp_loss_sum(&pass->batch) / fbp_weight_sum(&pass->batch) +
                fbp_penalty(pass->plan.net, theta);
    return status;
}

fastbp_status_t fastbp_backward_from(fastbp_pass_t *pass, const void *theta, const void *delta,
                                     long ldd, const void *weights, void *grad) {
    const fastbp_data_t data = {.rows = pass->batch.rows, .weights = weights};
    const fastbp_status_t status = load_targets(pass, &data);
    if (status != FASTBP_OK) return status;
    const fastbp_net_t *net = pass->plan.net;
    const fbp_rows_t *into = &pass->plan.delta[net->n_layers];
    const fbp_mat_t from = {delta, data.rows, net->layer[net->n_layers - 1].n_out, ldd};
    net->kernels->act_forward(FASTBP_ACT_IDENTITY, 0, &from, into->at, into->ld);
    return recur(pass, theta, false, grad);
}

fastbp_status_t fastbp_input_gradient(fastbp_pass_t *pass, const void *theta, void *out) {
    fbp_plan_t *plan = &pass->plan;
    const fastbp_net_t *net = plan->net;
    const fbp_layer_t *first = &net->layer[0];
    if (!pass->has_delta) return FASTBP_ERR_STATE;
    for (long i = 0; i < net->n_tiles && net->tile[i].layer == 0; ++i)
        fbp_copy_tile(plan, theta, &net->tile[i]);
    const fbp_gemm_t product = {
        .c = out,
        .ldc = first->n_in,
        .a = plan->delta[1].row,
        .b = plan->wt[0],
        .b_panel = first->n_out * net->kernels->panel_cols,
        .m = pass->batch.rows,
        .n = first->n_in,
        .k = first->n_out,
        .epi = FBP_EPI_NONE,
    };
    net->kernels->gemm_nn(&product);
    if (first->has.residual) {
        const fbp_mat_t g = {out, pass->batch.rows, first->n_in, first->n_in};
        net->kernels->add_rows(&g, plan->skip.row, out, first->n_in);
    }
    return FASTBP_OK;
}
