/* infer.c: outputs and losses of any number of rows, block by block through two buffers. */
#include "sweep.h"

/* Rows that go through the network at a time: as many as a data set has, up to a block tall enough
 * to pay for reading W. */
#define INFER_ROWS 504

static void store_outputs(const fbp_batch_t *batch, void *out, long row0) {
    const fbp_plan_t *plan = batch->plan;
    const fastbp_net_t *net = plan->net;
    const int l = net->n_layers;
    const long n_out = net->layer[l - 1].n_out;
    const fbp_mat_t a = {plan->a[l].at, batch->rows, n_out, plan->a[l].ld};
    net->kernels->act_forward(FASTBP_ACT_IDENTITY, 0, &a,
                              fbp_at(net, out, (size_t)row0 * (size_t)n_out), n_out);
}

fastbp_status_t fastbp_predict(const fastbp_net_t *net, const void *theta,
                               const fastbp_data_t *data, void *out, double *cost) {
    if (data->rows < 1 || data->x == NULL) return FASTBP_ERR_ARGUMENT;
    if (cost != NULL && data->labels == NULL && data->targets == NULL) return FASTBP_ERR_ARGUMENT;
    fbp_plan_t plan;
    const fastbp_status_t status =
        fbp_plan_init(&plan, net, FBP_PLAN_INFER, fbp_min_long(data->rows, INFER_ROWS));
    if (status != FASTBP_OK) return status;
    fbp_batch_t batch = {.plan = &plan, .theta = theta};
    double loss = 0, weight = 0;
    for (long row0 = 0; row0 < data->rows; row0 += plan.capacity) {
        fbp_batch_load(&batch, data, NULL, row0, fbp_min_long(plan.capacity, data->rows - row0));
        fbp_forward_rows(&batch, 0, batch.rows);
        if (out != NULL) store_outputs(&batch, out, row0);
        if (cost == NULL) continue;
        fbp_loss_of_rows(&batch, 0, batch.rows);
        loss += fbp_loss_sum(&batch);
        weight += fbp_weight_sum(&batch);
    }
    if (cost != NULL) *cost = loss / weight + fbp_penalty(net, theta);
    fbp_plan_free(&plan);
    return FASTBP_OK;
}
