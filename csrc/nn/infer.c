/* infer.c: outputs and losses of any number of rows. Blocks of rows are shared out among the
 * workers, each of which takes them through two buffers of its own and keeps nothing. */
#include "sweep.h"

#include "../threads/pool.h"

#include <stdlib.h>

/* Rows that go through the network at a time: tall enough to pay for reading W. */
#ifndef FBP_INFER_ROWS
#define FBP_INFER_ROWS 256
#endif

typedef struct {
    const fastbp_net_t *net;
    const void *theta;
    const fastbp_data_t *data;
    void *out;         /* or NULL */
    double *block_sum; /* Σ s_i J_i and Σ s_i by block, or NULL */
    fbp_plan_t *plan;  /* by worker */
    long block_rows;
} infer_t;

static void infer_block(const infer_t *infer, fbp_plan_t *plan, long block) {
    const fastbp_net_t *net = infer->net;
    const int l = net->n_layers;
    const long n_out = net->layer[l - 1].n_out, row0 = block * infer->block_rows;
    fbp_batch_t batch = {.plan = plan, .theta = infer->theta};
    fbp_batch_describe(&batch, infer->data);
    batch.rows = fbp_min_long(infer->block_rows, infer->data->rows - row0);
    fbp_batch_load(&batch, infer->data, NULL, row0, 0, batch.rows);
    fbp_forward_rows(&batch, &plan->scratch[0], 0, batch.rows);
    if (infer->out != NULL) {
        const fbp_mat_t a = {plan->a[l].at, batch.rows, n_out, plan->a[l].ld};
        net->kernels->act_forward(FASTBP_ACT_IDENTITY, 0, &a,
                                  fbp_at(net, infer->out, (size_t)row0 * (size_t)n_out), n_out);
    }
    if (infer->block_sum == NULL) return;
    fbp_loss_rows(&batch, 0, batch.rows);
    infer->block_sum[2 * block] = fbp_loss_sum(&batch);
    infer->block_sum[2 * block + 1] = fbp_weight_sum(&batch);
}

static void run_blocks(void *context, fbp_team_t *team, int worker) {
    const infer_t *infer = context;
    const long blocks = fbp_ceil_div(infer->data->rows, infer->block_rows);
    for (long b = fbp_team_next(team); b < blocks; b = fbp_team_next(team))
        infer_block(infer, &infer->plan[worker], b);
}

static double cost_of(const infer_t *infer) {
    double loss = 0, weight = 0;
    for (long row0 = 0, b = 0; row0 < infer->data->rows; row0 += infer->block_rows, ++b) {
        loss += infer->block_sum[2 * b];
        weight += infer->block_sum[2 * b + 1];
    }
    return loss / weight + fbp_penalty(infer->net, infer->theta);
}

fastbp_status_t fastbp_predict(const fastbp_net_t *net, const void *theta,
                               const fastbp_data_t *data, void *out, double *cost) {
    if (data->rows < 1 || data->x == NULL) return FASTBP_ERR_ARGUMENT;
    if (cost != NULL && data->labels == NULL && data->targets == NULL) return FASTBP_ERR_ARGUMENT;
    const long block_rows = fbp_min_long(data->rows, FBP_INFER_ROWS);
    const long blocks = fbp_ceil_div(data->rows, block_rows);
    const int workers = (int)fbp_min_long(blocks, fbp_workers_for(net, data->rows, 1, 0));
    infer_t infer = {net, theta, data, out, NULL, NULL, block_rows};
    infer.plan = calloc((size_t)workers, sizeof *infer.plan);
    if (cost != NULL) infer.block_sum = calloc((size_t)blocks, 2 * sizeof *infer.block_sum);
    fastbp_status_t status = FASTBP_OK;
    if (infer.plan == NULL || (cost != NULL && infer.block_sum == NULL)) status = FASTBP_ERR_MEMORY;
    for (int w = 0; status == FASTBP_OK && w < workers; ++w)
        status = fbp_plan_init(&infer.plan[w], net, FBP_PLAN_INFER, block_rows, 1);
    if (status == FASTBP_OK) fbp_pool_run(workers, run_blocks, &infer);
    if (status == FASTBP_OK && cost != NULL) *cost = cost_of(&infer);
    for (int w = 0; infer.plan != NULL && w < workers; ++w) fbp_plan_free(&infer.plan[w]);
    free(infer.plan);
    free(infer.block_sum);
    return status;
}
