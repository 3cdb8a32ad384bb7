/* rows.c: see rows.h. Formulas: forward z = aW + b; recursion δ^l = (δ^{l+1} W^{l+1}ᵀ) ⊙ σ'_l;
 * gradient aᵀδ (Rumelhart, Hinton, Williams, Nature 323, 1986). */
#include "options.h"
#include "rows.h"

#include <string.h>

bool fbp_uses_copies(const fbp_batch_t *batch) { return batch->rows > FBP_DOT_MAX_ROWS; }

/* ---- row sweep ---- */

/* The first layer's product of compressed rows, and what the epilogue does for dense ones. */
static void forward_sparse(const fbp_batch_t *batch, const fbp_gemm_t *product, long row0) {
    const fbp_plan_t *plan = batch->plan;
    const fbp_kernels_t *kernels = plan->net->kernels;
    const fbp_layer_t *layer = &plan->net->layer[0];
    const fbp_mat_t w = {fbp_at(plan->net, batch->theta, layer->w), layer->n_in, layer->n_out,
                         layer->n_out};
    void *const z = product->z != NULL ? product->z : product->c;
    const long ldz = product->z != NULL ? product->ldz : product->ldc;
    kernels->sparse_forward(plan->sparse + row0, product->m, &w, product->bias, z, ldz);
    if (product->epi == FBP_EPI_NONE) return;
    const fbp_mat_t from = {z, product->m, layer->n_out, ldz};
    kernels->act_forward(layer->act, layer->alpha, &from, product->c, product->ldc);
}

/* a[rows,n_out] = σ(a_in[rows,n_in] · W[n_in,n_out] + b); the output layer by way of its z, since a
 * loss may want the logits and softmax needs whole rows, and so a layer with a norm. */
static void forward_layer(const fbp_batch_t *batch, const fbp_scratch_t *scratch, int l, long row0,
                          long rows) {
    const fbp_plan_t *plan = batch->plan;
    const fastbp_net_t *net = plan->net;
    const fbp_layer_t *layer = &net->layer[l - 1];
    const bool output = l == net->n_layers, keep = plan->z[l].at != NULL;
    const bool norm = layer->has.norm != FASTBP_NORM_NONE, raw = output || norm;
    const fbp_rows_t *into = raw && keep ? &plan->z[l] : fbp_activated(plan, l);
    const void *panels = fbp_uses_copies(batch) ? plan->wp[l - 1] : NULL;
    const long panel = net->kernels->panel_cols;
    const fbp_gemm_t product = {
        .c = fbp_row_at(plan, into, row0),
        .ldc = into->ld,
        .a = plan->a[l - 1].row + row0,
        .b = panels != NULL ? panels : fbp_at(net, batch->theta, layer->w),
        .ldb = panels != NULL ? panel : layer->n_out,
        .b_panel = panels != NULL ? layer->n_in * panel : 0,
        .m = rows,
        .n = layer->n_out,
        .k = layer->n_in,
        .bias = layer->has.no_bias ? NULL : fbp_at(net, batch->theta, layer->b),
        .epi = raw ? FBP_EPI_NONE : FBP_EPI_FORWARD,
        .act = layer->act,
        .alpha = layer->alpha,
        .z = keep && !raw ? fbp_row_at(plan, &plan->z[l], row0) : NULL,
        .ldz = plan->z[l].ld,
        .pack = scratch->pack,
    };
    if (batch->sparse && l == 1) forward_sparse(batch, &product, row0);
    else net->kernels->gemm_nn(&product);
    if (!layer->plain) fbp_options_forward(batch, l, row0, rows);
    if (!output) return;
    const fbp_mat_t z = fbp_block_of(plan, &plan->z[l], row0, rows, layer->n_out);
    net->kernels->act_forward(layer->act, layer->alpha, &z, fbp_row_at(plan, &plan->a[l], row0),
                              plan->a[l].ld);
}

void fbp_forward_rows(const fbp_batch_t *batch, const fbp_scratch_t *scratch, long row0,
                      long rows) {
    if (batch->drop && batch->plan->net->input_dropout > 0) fbp_drop_input(batch, row0, rows);
    for (int l = 1; l <= batch->plan->net->n_layers; ++l) {
        forward_layer(batch, scratch, l, row0, rows);
        fbp_lap(scratch->profile, l, FASTBP_PHASE_FORWARD);
    }
}

bool fbp_custom_loss(const fbp_batch_t *batch, fbp_fpmode_t callers_mode) {
    const fbp_plan_t *plan = batch->plan;
    const fastbp_net_t *net = plan->net;
    const int l = net->n_layers;
    const fbp_fpmode_t ours = fbp_fpmode();
    fbp_set_fpmode(callers_mode);
    const fastbp_status_t status =
        net->loss_fn(net->loss_context, batch->rows, plan->a[l].at, plan->a[l].ld, plan->target,
                     plan->row_loss, batch->backward ? plan->delta[l].at : NULL, plan->delta[l].ld);
    fbp_set_fpmode(ours);
    return status == FASTBP_OK;
}

/* Multiplies the ∂J_i/∂a that fbp_custom_loss has left by s_i, as kernels do with their own. */
static void weigh_rows(const fbp_batch_t *batch, long row0, long rows) {
    const fbp_plan_t *plan = batch->plan;
    const fastbp_net_t *net = plan->net;
    const fbp_rows_t *delta = &plan->delta[net->n_layers];
    const fbp_mat_t slope =
        fbp_block_of(plan, delta, row0, rows, net->layer[net->n_layers - 1].n_out);
    net->kernels->scale_rows(&slope, fbp_at(net, plan->weight, (size_t)row0),
                             fbp_row_at(plan, delta, row0), delta->ld);
}

/* What the loss kernel is told of a block of rows, as the network pairs loss and output. */
static fbp_loss_t loss_of(const fbp_batch_t *batch, long row0, long rows) {
    const fbp_plan_t *plan = batch->plan;
    const fastbp_net_t *net = plan->net;
    const int l = net->n_layers;
    return (fbp_loss_t){
        .loss = (int)net->loss,
        .fused = net->fused,
        .rows = rows,
        .cols = net->layer[l - 1].n_out,
        .z = fbp_row_at(plan, &plan->z[l], row0),
        .a = fbp_row_at(plan, &plan->a[l], row0),
        .ldz = plan->z[l].ld,
        .lda = plan->a[l].ld,
        .labels = batch->labels ? plan->label + row0 : NULL,
        .targets = batch->labels ? NULL : plan->target + row0,
        .n_targets = net->n_targets,
        .params = net->loss_params,
        .n_params = net->n_loss_params,
        .row_loss = plan->row_loss + row0,
    };
}

void fbp_pull_back_rows(const fbp_batch_t *batch, int l, long row0, long rows, void *delta,
                        long ldd) {
    const fbp_plan_t *plan = batch->plan;
    const fbp_layer_t *layer = &plan->net->layer[l - 1];
    const fbp_mat_t aux =
        fbp_block_of(plan, fbp_plan_slope_rows(plan, l), row0, rows, layer->n_out);
    plan->net->kernels->act_backward(layer->act, layer->alpha, &aux, delta, ldd);
    if (layer->has.norm != FASTBP_NORM_NONE)
        fbp_norm_pull_back(batch, l, row0, rows, delta, ldd, delta, ldd);
}

void fbp_loss_rows(const fbp_batch_t *batch, long row0, long rows) {
    const fbp_plan_t *plan = batch->plan;
    const fastbp_net_t *net = plan->net;
    const int l = net->n_layers;
    const bool fold = batch->weighted && batch->fold_weights;
    fbp_loss_t loss = loss_of(batch, row0, rows);
    loss.scale = fold ? fbp_at(net, plan->weight, (size_t)row0) : NULL;
    loss.delta = batch->backward ? fbp_row_at(plan, &plan->delta[l], row0) : NULL;
    loss.ldd = plan->delta[l].ld;
    if (net->loss_fn == NULL) net->kernels->loss_rows(&loss);
    else if (loss.delta != NULL && fold) weigh_rows(batch, row0, rows);
    if (loss.delta == NULL || net->fused) return;
    fbp_pull_back_rows(batch, l, row0, rows, loss.delta, loss.ldd);
}

void fbp_loss_slope_rows(const fbp_batch_t *batch, long row0, long rows, void *out, long ldo) {
    fbp_loss_t loss = loss_of(batch, row0, rows);
    loss.fused = false;
    loss.delta = out;
    loss.ldd = ldo;
    batch->plan->net->kernels->loss_rows(&loss);
}

void fbp_loss_curve_rows(const fbp_batch_t *batch, long row0, const fbp_mat_t *rz,
                         const fbp_mat_t *ra, void *out, long ldo) {
    fbp_loss_t loss = loss_of(batch, row0, ra->rows);
    loss.delta = out;
    loss.ldd = ldo;
    batch->plan->net->kernels->loss_curve(&loss, rz, ra);
}

/* c[rows,n_in] = delta[rows,n_out] · W^lᵀ, without its epilogue */
static fbp_gemm_t delta_times_weights(const fbp_batch_t *batch, const fbp_scratch_t *scratch, int l,
                                      long row0, long rows) {
    const fbp_plan_t *plan = batch->plan;
    const fastbp_net_t *net = plan->net;
    const fbp_layer_t *layer = &net->layer[l - 1];
    const bool transposed = fbp_uses_copies(batch);
    const long panel = net->kernels->panel_cols;
    return (fbp_gemm_t){
        .a = plan->delta[l].row + row0,
        .b = transposed ? plan->wt[l - 1] : fbp_at(net, batch->theta, layer->w),
        .ldb = transposed ? panel : layer->n_out,
        .b_panel = transposed ? layer->n_out * panel : 0,
        .m = rows,
        .n = layer->n_in,
        .k = layer->n_out,
        .pack = scratch->pack,
    };
}

static void multiply(const fbp_batch_t *batch, const fbp_gemm_t *product) {
    const fbp_kernels_t *kernels = batch->plan->net->kernels;
    if (fbp_uses_copies(batch)) kernels->gemm_nn(product);
    else kernels->gemm_nt(product);
}

/* δ^{l−1}[rows,n_in] = (δ^l[rows,n_out] · W^lᵀ) ⊙ σ'_{l−1}; where either layer has more to it, the
 * product alone, and the rest by rows. */
void fbp_delta_rows(const fbp_batch_t *batch, const fbp_scratch_t *scratch, int l, long row0,
                    long rows) {
    const fbp_plan_t *plan = batch->plan;
    const fbp_layer_t *layer = &plan->net->layer[l - 1], *below = &plan->net->layer[l - 2];
    const fbp_rows_t *aux = fbp_plan_slope_rows(plan, l - 1);
    const bool fused = below->plain && !layer->has.residual;
    fbp_gemm_t product = delta_times_weights(batch, scratch, l, row0, rows);
    product.c = fbp_row_at(plan, &plan->delta[l - 1], row0);
    product.ldc = plan->delta[l - 1].ld;
    product.epi = fused ? FBP_EPI_BACKWARD : FBP_EPI_NONE;
    product.act = below->act;
    product.alpha = below->alpha;
    product.aux = fbp_row_at(plan, aux, row0);
    product.ldaux = aux->ld;
    multiply(batch, &product);
    if (!fused) fbp_options_backward(batch, l - 1, row0, rows);
}

void fbp_slope_rows(const fbp_batch_t *batch, const fbp_scratch_t *scratch, int l, long row0,
                    long rows, void *out, long ldo) {
    fbp_gemm_t product = delta_times_weights(batch, scratch, l, row0, rows);
    product.c = out;
    product.ldc = ldo;
    product.epi = FBP_EPI_NONE;
    multiply(batch, &product);
}

void fbp_weigh_rows(const fbp_batch_t *batch, long row0, long rows) {
    const fbp_plan_t *plan = batch->plan;
    const fastbp_net_t *net = plan->net;
    if (!batch->weighted || batch->fold_weights) return;
    for (int l = 1; l <= net->n_layers; ++l) {
        const fbp_mat_t delta =
            fbp_block_of(plan, &plan->delta[l], row0, rows, net->layer[l - 1].n_out);
        net->kernels->scale_rows(&delta, fbp_at(net, plan->weight, (size_t)row0),
                                 fbp_row_at(plan, &plan->scaled[l], row0), plan->scaled[l].ld);
    }
}

void fbp_recursion_rows(const fbp_batch_t *batch, const fbp_scratch_t *scratch, long row0,
                        long rows) {
    for (int l = batch->plan->net->n_layers; l > 1 && l > batch->lowest; --l) {
        fbp_delta_rows(batch, scratch, l, row0, rows);
        fbp_lap(scratch->profile, l, FASTBP_PHASE_DELTA);
    }
    fbp_weigh_rows(batch, row0, rows);
}

/* ---- weight sweep ---- */

/* The rows of W that a tile stands for. */
static fbp_mat_t tile_weights(const fastbp_net_t *net, const void *theta, const fbp_tile_t *tile) {
    const fbp_layer_t *layer = &net->layer[tile->layer];
    const size_t offset = layer->w + (size_t)tile->unit0 * (size_t)layer->n_out;
    return (fbp_mat_t){fbp_at(net, theta, offset), tile->unit1 - tile->unit0, layer->n_out,
                       layer->n_out};
}

void fbp_copy_tile(const fbp_plan_t *plan, const void *theta, const fbp_tile_t *tile) {
    const fbp_kernels_t *kernels = plan->net->kernels;
    const fbp_mat_t w = tile_weights(plan->net, theta, tile);
    const long panel = kernels->panel_cols, n_in = plan->net->layer[tile->layer].n_in;
    void *as_it_is = plan->wp[tile->layer], *transposed = plan->wt[tile->layer];
    if (as_it_is != NULL) kernels->pack_panels(&w, tile->unit0, n_in * panel, as_it_is);
    if (transposed != NULL) kernels->pack_transposed(&w, tile->unit0, w.cols * panel, transposed);
}

/* Outputs beyond the last whole vector, where the product is cheaper the other way round: a column
 * of δ by vectors of units, rather than a unit by a vector of δ that is mostly empty. Of x the
 * units have to be gathered first, if there is room, which takes some 16 products a row. */
static long turned_outputs(const fastbp_net_t *net, const fbp_scratch_t *scratch,
                           const fbp_tile_t *tile) {
    if (tile->layer == 0 && scratch->input.at == NULL) return 0;
    const long units = tile->unit1 - tile->unit0, rest = fbp_odd_outputs(net, tile->layer);
    const long cost = rest * fbp_ceil_div(units, net->kernels->lanes);
    return cost + (tile->layer == 0 ? 16 : 0) < units ? rest : 0;
}

/* The tile's units of x into scratch->input, at a fixed stride, which shuffled rows have not. */
static void gather_input(const fbp_batch_t *batch, const fbp_scratch_t *scratch,
                         const fbp_tile_t *tile) {
    const fbp_plan_t *plan = batch->plan;
    const size_t bytes = (size_t)(tile->unit1 - tile->unit0) * plan->net->kernels->elem_size;
    for (long i = 0; i < batch->rows; ++i)
        memcpy(fbp_row_at(plan, &scratch->input, i),
               fbp_at(plan->net, plan->a[0].row[i], (size_t)tile->unit0), bytes);
}

/* Raw sums of whole rows of W lie side by side, as the rows do: they are one stretch to an update,
 * which then has no short vectors and no strides of a power of two. 30-64-32-1 at batch 32 takes 7
 * % less a step, 784-128-10 at 64 3 %. */
static long sums_ld(const fbp_layer_t *layer) {
    return fbp_min_long(layer->n_out, FBP_TILE_OUTPUTS);
}

static fbp_mat_t sums_of(const fbp_layer_t *layer, const fbp_scratch_t *scratch, long units,
                         long cols) {
    if (cols == layer->n_out) return (fbp_mat_t){scratch->tile_sums, 1, units * cols, units * cols};
    return (fbp_mat_t){scratch->tile_sums, units, cols, FBP_TILE_OUTPUTS};
}

/* tile_sums[units, cols] = aᵀδ for outputs column … of a tile, of which the last `turned` by
 * δᵀa; an element's sum over the batch is the same either way, to the last bit. */
static void tile_sums(const fbp_batch_t *batch, const fbp_scratch_t *scratch,
                      const fbp_tile_t *tile, const fbp_rows_t *delta, long column, long cols,
                      long turned, const void *const warm[FBP_MAX_WARM]) {
    const fbp_plan_t *plan = batch->plan;
    const fastbp_net_t *net = plan->net;
    const fbp_layer_t *layer = &net->layer[tile->layer];
    const long units = tile->unit1 - tile->unit0, wide = cols - turned;
    const size_t first = layer->w + (size_t)tile->unit0 * (size_t)layer->n_out + (size_t)column;
    const bool gathered = turned > 0 && tile->layer == 0;
    if (gathered) gather_input(batch, scratch, tile);
    const fbp_rows_t *a = gathered ? &scratch->input : &plan->a[tile->layer];
    const long unit0 = gathered ? 0 : tile->unit0;
    fbp_gemm_t product = {
        .c = scratch->tile_sums,
        .ldc = sums_ld(layer),
        .a = a->row,
        .a_offset = unit0,
        .b = fbp_at(net, delta->at, (size_t)column),
        .ldb = delta->ld,
        .m = units,
        .n = wide,
        .k = batch->rows,
        .ldwarm = layer->n_out,
    };
    for (int w = 0; w < FBP_MAX_WARM && warm[w] != NULL; ++w)
        product.warm[w] = fbp_at(net, warm[w], first);
    net->kernels->gemm_tn(&product);
    if (turned == 0) return;
    const fbp_gemm_t across = {
        .c = scratch->turned,
        .ldc = FBP_TILE_UNITS,
        .a = delta->row,
        .a_offset = column + wide,
        .b = fbp_at(net, a->at, (size_t)unit0),
        .ldb = a->ld,
        .m = turned,
        .n = units,
        .k = batch->rows,
    };
    net->kernels->gemm_tn(&across);
    const fbp_mat_t sums = {scratch->turned, turned, units, FBP_TILE_UNITS};
    net->kernels->transpose(&sums, fbp_at(net, scratch->tile_sums, (size_t)wide), sums_ld(layer));
}

/* The same of the first layer where X is compressed. */
static void tile_sums_sparse(const fbp_batch_t *batch, const fbp_scratch_t *scratch,
                             const fbp_tile_t *tile, const fbp_rows_t *delta, long column,
                             long cols) {
    const fastbp_net_t *net = batch->plan->net;
    const fbp_mat_t part = {fbp_at(net, delta->at, (size_t)column), batch->rows, cols, delta->ld};
    net->kernels->sparse_sums(batch->plan->sparse, &part, tile->unit0, tile->unit1,
                              scratch->tile_sums, sums_ld(&net->layer[0]));
}

/* The δ that the gradients of a layer are made of. */
static const fbp_rows_t *weighted_delta(const fbp_batch_t *batch, const fbp_tile_t *tile) {
    const bool scaled = batch->weighted && !batch->fold_weights;
    return scaled ? &batch->plan->scaled[tile->layer + 1] : &batch->plan->delta[tile->layer + 1];
}

void fbp_weight_tile(const fbp_batch_t *batch, const fbp_scratch_t *scratch, const fbp_tile_t *tile,
                     fbp_finish_fn finish, void *context, const void *const warm[FBP_MAX_WARM]) {
    const fastbp_net_t *net = batch->plan->net;
    const long n_out = net->layer[tile->layer].n_out, units = tile->unit1 - tile->unit0;
    const long turned = turned_outputs(net, scratch, tile);
    for (long j = 0; j < n_out; j += FBP_TILE_OUTPUTS) {
        const long cols = fbp_min_long(FBP_TILE_OUTPUTS, n_out - j);
        const fbp_rows_t *delta = weighted_delta(batch, tile);
        if (batch->sparse && tile->layer == 0)
            tile_sums_sparse(batch, scratch, tile, delta, j, cols);
        else tile_sums(batch, scratch, tile, delta, j, cols, j + cols == n_out ? turned : 0, warm);
        fbp_lap(scratch->profile, tile->layer + 1, FASTBP_PHASE_GRADIENT);
        const fbp_mat_t sums = sums_of(&net->layer[tile->layer], scratch, units, cols);
        finish(context, tile, &sums, tile->unit0, j);
        fbp_lap(scratch->profile, tile->layer + 1, FASTBP_PHASE_UPDATE);
    }
}

void fbp_vector_tile(const fbp_batch_t *batch, const fbp_scratch_t *scratch, const fbp_tile_t *tile,
                     fbp_finish_fn finish, void *context) {
    const fbp_plan_t *plan = batch->plan;
    const fbp_layer_t *layer = &plan->net->layer[tile->layer];
    const long n_out = layer->n_out;
    if (tile->unit0 != 0) return;
    const fbp_mat_t sums = {scratch->column, 1, n_out, n_out};
    if (!layer->has.no_bias) {
        const fbp_mat_t all =
            fbp_block_of(plan, weighted_delta(batch, tile), 0, batch->rows, n_out);
        plan->net->kernels->column_sums(&all, scratch->column);
        fbp_lap(scratch->profile, tile->layer + 1, FASTBP_PHASE_GRADIENT);
        finish(context, tile, &sums, FBP_ROW_BIAS, 0);
    }
    if (layer->has.norm == FASTBP_NORM_NONE) return;
    const fbp_mat_t shift_sums = {fbp_norm_sums(batch, scratch, tile->layer + 1), 1, n_out, n_out};
    fbp_lap(scratch->profile, tile->layer + 1, FASTBP_PHASE_GRADIENT);
    finish(context, tile, &sums, FBP_ROW_GAIN, 0);
    if (layer->has.norm == FASTBP_NORM_LAYER) finish(context, tile, &shift_sums, FBP_ROW_SHIFT, 0);
}

/* ---- penalties ---- */

double fbp_tile_penalty(const fastbp_net_t *net, const void *theta, const fbp_tile_t *tile) {
    const fbp_mat_t w = tile_weights(net, theta, tile);
    return net->kernels->penalty(&w, net->l1, net->l2);
}

double fbp_penalty(const fastbp_net_t *net, const void *theta) {
    double sum = 0;
    if (net->l1 == 0 && net->l2 == 0) return 0;
    for (long i = 0; i < net->n_tiles; ++i) sum += fbp_tile_penalty(net, theta, &net->tile[i]);
    return sum;
}
