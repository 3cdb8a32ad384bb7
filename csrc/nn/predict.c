/* predict.c: outputs and losses of any number of rows. Workers share the blocks of rows; each takes
 * its blocks through two buffers of its own and keeps no intermediate results. */
#include "../base/fpmode.h"
#include "../threads/pool.h"
#include "batch_norm.h"
#include "products.h"
#include "rows.h"
#include "tiles.h"

#include <stdatomic.h>
#include <stdlib.h>

/* Rows that go through the network at a time: enough to repay reading W. */
#ifndef FBP_PREDICT_ROWS
#define FBP_PREDICT_ROWS 256
#endif

/* Rows that the network's own buffers hold: the overhead of a call matters up to that many. */
enum { KEPT_ROWS = 8 };
_Static_assert(KEPT_ROWS <= FBP_ROUNDED_MAX_ROWS,
               "calls with fewer rows make products as these do");

typedef struct {
    const fastbp_net_t *net;
    const void *theta;
    const fastbp_data_t *data;
    void *out;                /* or NULL */
    double *block_sum;        /* Σ s_i J_i and Σ s_i of each block, or NULL */
    atomic_bool *loss_failed; /* the caller's own loss */
    fbp_plan_t *plan;         /* one per worker; copies of W belong to the first and are shared */
    ptrdiff_t block_rows;
} prediction_t;

static fbp_batch_t batch_of(const prediction_t *prediction, fbp_plan_t *plan) {
    fbp_batch_t batch = {.plan = plan, .theta = prediction->theta};
    fbp_batch_describe(&batch, prediction->data);
    return batch;
}

static void predict_block(const prediction_t *prediction, fbp_plan_t *plan, ptrdiff_t block,
                          fbp_fpmode_t callers_mode) {
    const fastbp_net_t *net = prediction->net;
    const int l = net->n_layers;
    const ptrdiff_t n_out = net->layer[l - 1].n_out, row0 = block * prediction->block_rows;
    fbp_batch_t batch = batch_of(prediction, plan);
    batch.rows = fbp_min(prediction->block_rows, prediction->data->rows - row0);
    fbp_batch_load(&batch, prediction->data, NULL, row0, 0, batch.rows);
    fbp_forward_rows(&batch, &plan->scratch[0], 0, 0, batch.rows);
    if (prediction->out != NULL) {
        const fbp_mat_t a = {plan->a[l].at, batch.rows, n_out, plan->a[l].ld};
        net->kernels->act_forward(FASTBP_ACT_IDENTITY, 0, &a,
                                  fbp_at(net, prediction->out, (size_t)row0 * (size_t)n_out),
                                  n_out);
    }
    if (prediction->block_sum == NULL) return;
    if (net->loss.fn != NULL) {
        fbp_end_products(plan);
        if (!fbp_custom_loss(&batch, callers_mode)) atomic_store(prediction->loss_failed, true);
        fbp_begin_products(plan);
    }
    fbp_loss_rows(&batch, &plan->scratch[0], 0, batch.rows);
    prediction->block_sum[2 * block] = fbp_loss_sum(&batch);
    prediction->block_sum[2 * block + 1] = fbp_weight_sum(&batch);
}

static void run_blocks(void *context, fbp_team_t *team, int worker) {
    const prediction_t *prediction = context;
    const fastbp_net_t *net = prediction->net;
    const ptrdiff_t blocks = fbp_ceil_div(prediction->data->rows, prediction->block_rows);
    if (fbp_plan_reads_copies(prediction->plan)) {
        const fbp_batch_t batch = batch_of(prediction, prediction->plan);
        for (ptrdiff_t t = fbp_team_next(team); t < net->n_tiles; t = fbp_team_next(team))
            fbp_copy_tile(&batch, &net->tile[t], FBP_COPY_FORWARD);
        fbp_team_barrier(team);
    }
    fbp_plan_t *plan = &prediction->plan[worker];
    fbp_begin_products(plan);
    for (ptrdiff_t b = fbp_team_next(team); b < blocks; b = fbp_team_next(team))
        predict_block(prediction, plan, b, fbp_team_callers_mode(team));
    fbp_end_products(plan);
}

static double cost_of(const prediction_t *prediction) {
    const fbp_fpmode_t callers_mode = fbp_flush_subnormals();
    double loss = 0, weight = 0;
    for (ptrdiff_t row0 = 0, b = 0; row0 < prediction->data->rows;
         row0 += prediction->block_rows, ++b) {
        loss += prediction->block_sum[2 * b];
        weight += prediction->block_sum[2 * b + 1];
    }
    const double cost = loss / weight + fbp_penalty(prediction->net, prediction->theta);
    fbp_set_fpmode(callers_mode);
    return cost;
}

static void free_plan(void *plan) {
    fbp_plan_free(plan);
    free(plan);
}

/* The plan in the network's slot, made when first needed; NULL if there is no memory. */
static fbp_plan_t *kept_plan(const fastbp_net_t *net) {
    fbp_slot_t *slot = net->predict;
    if (slot->buffers != NULL) return slot->buffers;
    fbp_plan_t *plan = malloc(sizeof *plan);
    if (plan == NULL) return NULL;
    fastbp_status_t status = fbp_plan_init(plan, net, FBP_PLAN_PREDICT, KEPT_ROWS, KEPT_ROWS, 1);
    if (status == FASTBP_OK && fbp_plan_reads_copies(plan)) status = fbp_plan_add_copies(plan);
    if (status != FASTBP_OK) {
        free_plan(plan);
        return NULL;
    }
    slot->free_buffers = free_plan;
    slot->buffers = plan;
    return plan;
}

/* Predicts few rows on the plan in the slot; false if that is in use or cannot be made. */
static bool predict_few(const fastbp_net_t *net, prediction_t *prediction) {
    fbp_slot_t *slot = net->predict;
    if (slot == NULL || prediction->data->rows > KEPT_ROWS) return false;
    if (atomic_flag_test_and_set_explicit(&slot->busy, memory_order_acquire)) return false;
    fbp_plan_t *plan = kept_plan(net);
    const bool ready = plan != NULL && fbp_batch_accept(plan, prediction->data) == FASTBP_OK;
    if (ready) {
        const fbp_fpmode_t callers_mode = fbp_flush_subnormals();
        const fbp_batch_t batch = batch_of(prediction, plan);
        const ptrdiff_t tiles = fbp_plan_reads_copies(plan) ? net->n_tiles : 0;
        for (ptrdiff_t t = 0; t < tiles; ++t)
            fbp_copy_tile(&batch, &net->tile[t], FBP_COPY_FORWARD);
        predict_block(prediction, plan, 0, callers_mode);
        fbp_set_fpmode(callers_mode);
    }
    atomic_flag_clear_explicit(&slot->busy, memory_order_release);
    return ready;
}

/* Lets a plan read the copies of W that another one owns. */
static void share_copies(fbp_plan_t *plan, const fbp_plan_t *owner) {
    plan->wp = owner->wp;
    plan->scaled_w = owner->scaled_w;
    plan->factors.w_tiles = owner->factors.w_tiles;
}

static fastbp_status_t predict_shared(const fastbp_net_t *net, prediction_t *prediction) {
    const ptrdiff_t blocks = fbp_ceil_div(prediction->data->rows, prediction->block_rows);
    const int worth = fbp_workers_for(net, prediction->data->rows, FBP_FORWARD_WORK, 0);
    const int workers = (int)fbp_min(blocks, worth);
    prediction->plan = calloc((size_t)workers, sizeof *prediction->plan);
    fastbp_status_t status = prediction->plan != NULL ? FASTBP_OK : FASTBP_ERR_MEMORY;
    for (int w = 0; status == FASTBP_OK && w < workers; ++w) {
        fbp_plan_t *plan = &prediction->plan[w];
        status = fbp_plan_init(plan, net, FBP_PLAN_PREDICT, prediction->block_rows,
                               prediction->data->rows, 1);
        if (status == FASTBP_OK) status = fbp_batch_accept(plan, prediction->data);
        if (w > 0) share_copies(plan, prediction->plan);
        else if (status == FASTBP_OK && fbp_plan_reads_copies(plan))
            status = fbp_plan_add_copies(plan);
    }
    if (status == FASTBP_OK) fbp_pool_run(workers, run_blocks, prediction);
    for (int w = 0; prediction->plan != NULL && w < workers; ++w)
        fbp_plan_free(&prediction->plan[w]);
    free(prediction->plan);
    return status;
}

fastbp_status_t fastbp_predict(const fastbp_net_t *net, const void *theta,
                               const fastbp_data_t *data, void *out, double *cost) {
    if (data->rows < 1) return FASTBP_ERR_ARGUMENT;
    if (cost != NULL && !fbp_targets_fit(net, data)) return FASTBP_ERR_ARGUMENT;
    if (!fbp_variances_fit(net, theta)) return FASTBP_ERR_VARIANCE;
    const ptrdiff_t block_rows = fbp_min(data->rows, FBP_PREDICT_ROWS);
    double one_block[2];
    atomic_bool loss_failed = false;
    prediction_t prediction = {net, theta, data, out, NULL, &loss_failed, NULL, block_rows};
    if (cost != NULL && block_rows == data->rows) {
        prediction.block_sum = one_block;
    } else if (cost != NULL) {
        const size_t blocks = (size_t)fbp_ceil_div(data->rows, block_rows);
        prediction.block_sum = calloc(blocks, 2 * sizeof *prediction.block_sum);
        if (prediction.block_sum == NULL) return FASTBP_ERR_MEMORY;
    }
    fastbp_status_t status = FASTBP_OK;
    if (!predict_few(net, &prediction)) status = predict_shared(net, &prediction);
    if (status == FASTBP_OK && atomic_load(&loss_failed)) status = FASTBP_ERR_CALL;
    if (status == FASTBP_OK && cost != NULL) *cost = cost_of(&prediction);
    if (prediction.block_sum != one_block) free(prediction.block_sum);
    return status;
}
