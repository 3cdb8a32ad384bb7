/* update.c: see update.h. */
#include "update.h"

#include <math.h>

bool fbp_optimizer_valid(const fastbp_optimizer_t *o) {
    static const int n_moments[FASTBP_RULE_COUNT] = {0, 1, 1, 2};
    if (o->rule >= FASTBP_RULE_COUNT || !(o->lr > 0) || !isfinite(o->lr)) return false;
    for (int i = 0; i < n_moments[o->rule]; ++i)
        if (o->moment[i] == NULL) return false;
    const bool adam = o->rule == FASTBP_RULE_ADAM;
    const double decay1 = adam ? o->beta1 : o->momentum, decay2 = adam ? o->beta2 : 0;
    return decay1 >= 0 && decay1 < 1 && decay2 >= 0 && decay2 < 1 && (!adam || o->eps > 0);
}

fbp_update_t fbp_update_of(const fastbp_optimizer_t *o, uint64_t t) {
    fbp_update_t update = {
        .rule = (int)o->rule,
        .grad_scale = 1,
        .lr = o->lr,
        .momentum = o->momentum,
        .beta1 = o->beta1,
        .beta2 = o->beta2,
        .eps = o->eps,
    };
    if (o->rule == FASTBP_RULE_ADAM) {
        update.step_size = o->lr / (1 - pow(o->beta1, (double)t));
        update.root_correction = 1 / sqrt(1 - pow(o->beta2, (double)t));
    }
    return update;
}

/* Where a strip of raw sums belongs: its offset in theta, and the distance between its rows. */
typedef struct {
    size_t offset;
    long ld;
    bool bias;
} place_t;

static place_t place_of(const fastbp_net_t *net, const fbp_tile_t *tile, long row, long column) {
    const fbp_layer_t *layer = &net->layer[tile->layer];
    if (row < 0) return (place_t){layer->b, layer->n_out, true};
    const size_t offset = layer->w + (size_t)row * (size_t)layer->n_out + (size_t)column;
    return (place_t){offset, layer->n_out, false};
}

/* ---- to a gradient ---- */

typedef struct {
    const fbp_batch_t *batch;
    double scale;
    void *grad;
} gradient_t;

static void finish_gradient(void *context, const fbp_tile_t *tile, const fbp_mat_t *sums, long row,
                            long column) {
    const gradient_t *to = context;
    const fastbp_net_t *net = to->batch->plan->net;
    const place_t place = place_of(net, tile, row, column);
    const fbp_update_t update = {
        .grad_scale = to->scale,
        .l1 = place.bias ? 0 : net->l1,
        .l2 = place.bias ? 0 : net->l2,
        .weights = fbp_at(net, to->batch->theta, place.offset),
        .ldw = place.ld,
    };
    net->kernels->write_gradient(&update, sums, fbp_at(net, to->grad, place.offset), place.ld);
}

void fbp_gradient_tile(const fbp_batch_t *batch, const fbp_scratch_t *scratch,
                       const fbp_tile_t *tile, double grad_scale, void *grad) {
    gradient_t to = {batch, grad_scale, grad};
    const void *const warm[FBP_MAX_WARM] = {batch->plan->state_is_cold ? grad : NULL};
    fbp_weight_tile(batch, scratch, tile, finish_gradient, &to, warm);
    fbp_bias_tile(batch, scratch, tile, finish_gradient, &to);
}

/* ---- to new parameters ---- */

typedef struct {
    const fbp_batch_t *batch;
    const fbp_update_t *update;
    const fastbp_optimizer_t *optimizer;
    void *theta;
} step_t;

static void *moment_at(const fastbp_net_t *net, const fastbp_optimizer_t *o, int i, size_t offset) {
    return o->moment[i] != NULL ? fbp_at(net, o->moment[i], offset) : NULL;
}

static void finish_update(void *context, const fbp_tile_t *tile, const fbp_mat_t *sums, long row,
                          long column) {
    const step_t *step = context;
    const fastbp_net_t *net = step->batch->plan->net;
    const place_t place = place_of(net, tile, row, column);
    fbp_update_t update = *step->update;
    update.l1 = place.bias ? 0 : net->l1;
    update.l2 = place.bias ? 0 : net->l2;
    net->kernels->update(&update, sums, fbp_at(net, step->theta, place.offset),
                         moment_at(net, step->optimizer, 0, place.offset),
                         moment_at(net, step->optimizer, 1, place.offset), place.ld);
}

/* A tile of W straight from the few rows of the batch; its biases as always. */
static void update_from_rows(const step_t *step, const fbp_tile_t *tile, const fbp_rows_t *delta) {
    const fbp_plan_t *plan = step->batch->plan;
    const fastbp_net_t *net = plan->net;
    const place_t place = place_of(net, tile, tile->unit0, 0);
    const fbp_outer_t outer = {
        .a = plan->a[tile->layer].row,
        .unit0 = tile->unit0,
        .units = tile->unit1 - tile->unit0,
        .delta = {delta->at, step->batch->rows, place.ld, delta->ld},
    };
    fbp_update_t update = *step->update;
    update.l1 = net->l1;
    update.l2 = net->l2;
    net->kernels->update_outer(&update, &outer, fbp_at(net, step->theta, place.offset),
                               moment_at(net, step->optimizer, 0, place.offset),
                               moment_at(net, step->optimizer, 1, place.offset), place.ld);
}

/* Where a tile's rows come in runs of outputs, which no prefetcher follows, the products ask for θ
 * and its moments ahead; a tile of whole rows is one stretch of each. */
void fbp_update_tile(const fbp_batch_t *batch, const fbp_scratch_t *scratch, const fbp_tile_t *tile,
                     const fbp_update_t *update, const fastbp_optimizer_t *optimizer, void *theta) {
    static const void *const none[FBP_MAX_WARM] = {NULL};
    step_t step = {batch, update, optimizer, theta};
    const fbp_rows_t *delta = &batch->plan->delta[tile->layer + 1];
    if (batch->rows <= FBP_OUTER_MAX) {
        update_from_rows(&step, tile, delta);
        fbp_lap(scratch->profile, tile->layer + 1, FASTBP_PHASE_UPDATE);
        fbp_bias_tile(batch, scratch, tile, finish_update, &step);
        return;
    }
    const fbp_plan_t *plan = batch->plan;
    const bool runs = plan->net->layer[tile->layer].n_out > FBP_TILE_OUTPUTS;
    const void *const warm[FBP_MAX_WARM] = {
        plan->state_is_cold ? theta : NULL,
        optimizer->moment[0],
        optimizer->moment[1],
    };
    fbp_weight_tile(batch, scratch, tile, finish_update, &step, runs ? warm : none);
    fbp_bias_tile(batch, scratch, tile, finish_update, &step);
}
