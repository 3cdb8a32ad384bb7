/* options.c: see options.h. */
#include "options.h"

#include "activate.h"
#include "batch_norm.h"

static bool drops(const fbp_batch_t *batch, int l) {
    return batch->plan->drops && batch->plan->net->layer[l - 1].has.dropout > 0;
}

/* The dropout mask of rows row0 … in layer l = 0 … L. It depends only on seed, step, p, l, the
 * place of the row in the batch and the unit, so the backward step can compute it again. */
static fbp_dropout_t mask_of(const fbp_batch_t *batch, int l, ptrdiff_t row0, ptrdiff_t rows,
                             ptrdiff_t cols) {
    const fastbp_net_t *net = batch->plan->net;
    const double own = l == 0 ? net->input_dropout : net->layer[l - 1].has.dropout;
    const double p = batch->dropout != NULL ? batch->dropout[l] : own;
    return (fbp_dropout_t){
        .stream = {batch->seed, FBP_STREAM_DROPOUT + (uint32_t)l, (uint32_t)batch->step},
        .row0 = batch->offset + row0,
        .rows = rows,
        .cols = cols,
        .drop_below = (uint32_t)(p * 0x1p32),
        .scale = 1 / (1 - p),
    };
}

void fbp_drop_input(const fbp_batch_t *batch, ptrdiff_t row0, ptrdiff_t rows) {
    const fbp_plan_t *plan = batch->plan;
    const fastbp_net_t *net = plan->net;
    const fbp_dropout_t mask = mask_of(batch, 0, row0, rows, net->layer[0].n_in);
    net->kernels->dropout(&mask, plan->a[0].row + row0, fbp_row_at(plan, &plan->dropped, row0),
                          plan->dropped.ld);
    for (ptrdiff_t i = row0; i < row0 + rows; ++i) plan->a[0].row[i] = plan->dropped.row[i];
}

void fbp_drop_slopes(const fbp_batch_t *batch, int l, void *g, ptrdiff_t ldg) {
    const fastbp_net_t *net = batch->plan->net;
    const double p = l == 0 ? net->input_dropout : net->layer[l - 1].has.dropout;
    if (!batch->plan->drops || p == 0) return;
    for (ptrdiff_t i = 0; i < batch->rows; ++i) {
        const fbp_dropout_t mask = mask_of(batch, l, i, 1, fbp_width(net, l));
        void *row = fbp_at(net, g, (size_t)((ptrdiff_t)i * ldg));
        const void *from = row;
        net->kernels->dropout(&mask, &from, row, ldg);
    }
}

static fbp_norm_t norm_of(const fbp_batch_t *batch, int l) {
    const fastbp_net_t *net = batch->plan->net;
    const fbp_layer_t *layer = &net->layer[l - 1];
    fbp_norm_t norm = {
        .kind = (int)layer->has.norm,
        .eps = layer->has.norm_eps,
        .gain = fbp_at(net, batch->theta, layer->gain),
        .shift = fbp_norm_shifts(layer) ? fbp_at(net, batch->theta, layer->shift) : NULL,
    };
    if (layer->has.norm == FASTBP_NORM_BATCH) fbp_set_statistics(batch, l, &norm);
    return norm;
}

/* (mean, r) of a row; batch norm has none. */
static void *stats_at(const fbp_plan_t *plan, int l, ptrdiff_t row) {
    const bool by_row = plan->net->layer[l - 1].has.norm != FASTBP_NORM_BATCH;
    void *stats = plan->stats[l];
    return stats != NULL && by_row ? fbp_at(plan->net, stats, 2 * (size_t)row) : NULL;
}

void fbp_options_forward(const fbp_batch_t *batch, const fbp_scratch_t *scratch, int l,
                         ptrdiff_t row0, ptrdiff_t rows) {
    const fbp_plan_t *plan = batch->plan;
    const fbp_kernels_t *kernels = plan->net->kernels;
    const fbp_layer_t *layer = &plan->net->layer[l - 1];
    const fbp_rows_t *out = &plan->a[l], *act = fbp_activated(plan, l);
    const ptrdiff_t n = layer->n_out;
    const fbp_mat_t a = fbp_block_of(plan, act, row0, rows, n);
    const bool normed = layer->has.norm != FASTBP_NORM_NONE;
    const fbp_rows_t *before = plan->z[l].at != NULL ? &plan->z[l] : act, *after = before;
    const fbp_mat_t z = fbp_block_of(plan, before, row0, rows, n);
    if (normed) {
        const fbp_norm_t norm = norm_of(batch, l);
        after = plan->n[l].at != NULL ? &plan->n[l] : act;
        kernels->norm_forward(&norm, &z, stats_at(plan, l, row0), fbp_row_at(plan, after, row0),
                              after->ld);
    }
    if (normed || layer->formula != NULL) {
        const fbp_mat_t from = fbp_block_of(plan, after, row0, rows, n);
        fbp_activate(batch, scratch, l, &from, fbp_row_at(plan, act, row0), act->ld);
    }
    const bool dropped = drops(batch, l);
    if (dropped) {
        const fbp_dropout_t mask = mask_of(batch, l, row0, rows, n);
        kernels->dropout(&mask, act->row + row0, fbp_row_at(plan, out, row0), out->ld);
    }
    if (layer->has.residual) {
        const fbp_mat_t d = dropped ? fbp_block_of(plan, out, row0, rows, n) : a;
        kernels->add_rows(&d, plan->a[l - 1].row + row0, fbp_row_at(plan, out, row0), out->ld);
    }
}

/* Turns ∂J_i/∂out in plan->delta[l] into δ^l. */
static void through_layer(const fbp_batch_t *batch, const fbp_scratch_t *scratch, int l,
                          ptrdiff_t row0, ptrdiff_t rows) {
    const fbp_plan_t *plan = batch->plan;
    const fbp_kernels_t *kernels = plan->net->kernels;
    const fbp_layer_t *layer = &plan->net->layer[l - 1];
    const fbp_rows_t *delta = &plan->delta[l];
    const ptrdiff_t n = layer->n_out;
    void *at = fbp_row_at(plan, delta, row0);
    if (layer->has.residual) {
        const fbp_mat_t g = fbp_block_of(plan, delta, row0, rows, n);
        kernels->act_forward(FASTBP_ACT_IDENTITY, 0, &g, fbp_row_at(plan, &plan->skip, row0),
                             plan->skip.ld);
    }
    if (drops(batch, l)) {
        const fbp_dropout_t mask = mask_of(batch, l, row0, rows, n);
        kernels->dropout(&mask, delta->row + row0, at, delta->ld);
    }
    fbp_act_pull_back(batch, scratch, l, row0, rows, at, delta->ld, &plan->dc[l]);
    if (layer->has.norm != FASTBP_NORM_NONE && !plan->by_batch[l])
        fbp_norm_pull_back(batch, l, row0, rows, at, delta->ld,
                           fbp_row_at(plan, &plan->dn[l], row0), plan->dn[l].ld);
}

void fbp_norm_pull_back(const fbp_batch_t *batch, int l, ptrdiff_t row0, ptrdiff_t rows,
                        void *delta, ptrdiff_t ldd, void *kept, ptrdiff_t ldk) {
    const fbp_plan_t *plan = batch->plan;
    const fbp_norm_t norm = norm_of(batch, l);
    const fbp_mat_t z = fbp_block_of(plan, &plan->z[l], row0, rows, plan->net->layer[l - 1].n_out);
    plan->net->kernels->norm_backward(&norm, &z, stats_at(plan, l, row0), delta, ldd, kept, ldk);
}

void fbp_norm_pull_back_batch(const fbp_batch_t *batch, const fbp_scratch_t *scratch, int l,
                              void *delta, ptrdiff_t ldd) {
    const fbp_plan_t *plan = batch->plan;
    const fastbp_net_t *net = plan->net;
    const ptrdiff_t n = net->layer[l - 1].n_out;
    const fbp_mat_t z = fbp_block_of(plan, &plan->z[l], 0, batch->rows, n);
    const fbp_mat_t g = {delta, batch->rows, n, ldd};
    void *gains = scratch->column, *shifts = fbp_at(net, scratch->column, (size_t)net->max_width);
    fbp_norm_t norm = norm_of(batch, l);
    net->kernels->norm_gradient(&norm, &z, NULL, &g, NULL, gains, shifts);
    norm.gain_sums = gains;
    norm.shift_sums = shifts;
    net->kernels->norm_backward(&norm, &z, NULL, delta, ldd, delta, ldd);
}

void fbp_options_backward(const fbp_batch_t *batch, const fbp_scratch_t *scratch, int l,
                          ptrdiff_t row0, ptrdiff_t rows) {
    const fbp_plan_t *plan = batch->plan;
    const fbp_kernels_t *kernels = plan->net->kernels;
    const fbp_rows_t *delta = &plan->delta[l];
    const fbp_mat_t g = fbp_block_of(plan, delta, row0, rows, plan->net->layer[l - 1].n_out);
    if (plan->net->layer[l].has.residual)
        kernels->add_rows(&g, plan->skip.row + row0, fbp_row_at(plan, delta, row0), delta->ld);
    through_layer(batch, scratch, l, row0, rows);
}

const void *fbp_norm_sums(const fbp_batch_t *batch, const fbp_scratch_t *scratch, int l) {
    const fbp_plan_t *plan = batch->plan;
    const fastbp_net_t *net = plan->net;
    const ptrdiff_t n = net->layer[l - 1].n_out;
    const bool weighted = batch->weighted && !batch->fold_weights;
    const fbp_mat_t z = fbp_block_of(plan, &plan->z[l], batch->from, batch->rows, n);
    const fbp_mat_t g = fbp_block_of(plan, &plan->dn[l], batch->from, batch->rows, n);
    const void *weight = fbp_at(net, plan->weight, (size_t)batch->from);
    const fbp_norm_t norm = norm_of(batch, l);
    void *shift = fbp_at(net, scratch->column, (size_t)net->max_width);
    net->kernels->norm_gradient(&norm, &z, stats_at(plan, l, batch->from), &g,
                                weighted ? weight : NULL, scratch->column, shift);
    return shift;
}

void fbp_sample_norm_sums(const fbp_batch_t *batch, int l, ptrdiff_t row, void *gain, void *shift) {
    const fbp_plan_t *plan = batch->plan;
    const ptrdiff_t n = plan->net->layer[l - 1].n_out;
    const fbp_norm_t norm = norm_of(batch, l);
    const fbp_mat_t z = fbp_block_of(plan, &plan->z[l], row, 1, n);
    const fbp_mat_t g = fbp_block_of(plan, &plan->dn[l], row, 1, n);
    plan->net->kernels->norm_gradient(&norm, &z, stats_at(plan, l, row), &g, NULL, gain, shift);
}

/* ---- constraints ---- */

void fbp_constrain_tile(const fastbp_net_t *net, void *theta, const fbp_tile_t *tile) {
    const fbp_layer_t *layer = &net->layer[tile->layer];
    if (!layer->has.non_negative) return;
    const size_t offset = layer->w + (size_t)tile->unit0 * (size_t)layer->n_out;
    void *at = fbp_at(net, theta, offset);
    const fbp_mat_t w = {at, tile->unit1 - tile->unit0, layer->n_out, layer->n_out};
    net->kernels->act_forward(FASTBP_ACT_RELU, 0, &w, at, layer->n_out);
}

void fbp_constrain_columns(const fastbp_net_t *net, void *theta, int i, ptrdiff_t column0,
                           ptrdiff_t cols) {
    const fbp_layer_t *layer = &net->layer[i];
    net->kernels->limit_columns(layer->has.max_norm, layer->n_in, cols,
                                fbp_at(net, theta, layer->w + (size_t)column0), layer->n_out);
}
