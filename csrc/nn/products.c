/* products.c: see products.h. */
#include "products.h"

static bool rounds(const fbp_batch_t *batch) {
    return batch->plan->factors.kind == FBP_FACTORS_ROUNDED;
}

bool fbp_uses_copies(const fbp_batch_t *batch) {
    return batch->rows > FBP_DOT_MAX_ROWS || fbp_factors_copied(&batch->plan->factors);
}

/* Products of sparse rows read W in place. */
void fbp_copy_tile(const fbp_batch_t *batch, const fbp_tile_t *tile) {
    const fbp_plan_t *plan = batch->plan;
    const fbp_kernels_t *kernels = plan->net->kernels;
    const fbp_mat_t w = fbp_tile_weights(plan->net, batch->theta, tile);
    const long panel = kernels->panel_cols, n_in = plan->net->layer[tile->layer].n_in;
    const bool in_place = batch->sparse && tile->layer == 0;
    void *by_row = plan->wp[tile->layer], *transposed = plan->wt[tile->layer];
    if (by_row != NULL && !in_place)
        kernels->pack_panels(plan->factors.planes, &w, tile->unit0, n_in * panel, by_row);
    if (transposed != NULL)
        kernels->pack_transposed(plan->factors.planes, &w, tile->unit0, w.cols * panel, transposed);
}

/* ---- factors of rows ---- */

static void round_rows(const fbp_batch_t *batch, const fbp_rows_t *from, const fbp_rows_t *to,
                       long width, long row0, long rows) {
    const fbp_plan_t *plan = batch->plan;
    if (!rounds(batch)) return;
    plan->net->kernels->round_rows(plan->factors.planes, from->row + row0, rows, width,
                                   fbp_row_at(plan, to, row0), to->ld);
}

void fbp_factor_a(const fbp_batch_t *batch, int l, long row0, long rows) {
    const fbp_plan_t *plan = batch->plan;
    if (batch->sparse && l == 0) return;
    round_rows(batch, &plan->a[l], &plan->factors.a[l], fbp_width(plan->net, l), row0, rows);
}

void fbp_factor_delta(const fbp_batch_t *batch, int l, long row0, long rows) {
    const fbp_plan_t *plan = batch->plan;
    round_rows(batch, &plan->delta[l], &plan->factors.delta[l], fbp_width(plan->net, l), row0,
               rows);
}

void fbp_factor_scaled(const fbp_batch_t *batch, int l, long row0, long rows) {
    const fbp_plan_t *plan = batch->plan;
    round_rows(batch, &plan->scaled[l], &plan->factors.delta[l], fbp_width(plan->net, l), row0,
               rows);
}

/* ---- products ---- */

/* Where B is a copy of W in panels of `depth` rows. */
static void set_panels(fbp_gemm_t *product, const fastbp_net_t *net, const void *panels,
                       long depth) {
    product->b = panels;
    product->ldb = net->kernels->panel_cols;
    product->b_panel = depth * net->kernels->panel_cols;
}

void fbp_multiply_weights(const fbp_batch_t *batch, const fbp_scratch_t *scratch, int l, long row0,
                          fbp_gemm_t *product) {
    const fbp_plan_t *plan = batch->plan;
    const fastbp_net_t *net = plan->net;
    const fbp_layer_t *layer = &net->layer[l - 1];
    const void *panels = fbp_uses_copies(batch) ? plan->wp[l - 1] : NULL;
    product->a = fbp_gradient_a(batch, l)->row + row0;
    product->b = fbp_at(net, batch->theta, layer->w);
    product->ldb = layer->n_out;
    if (panels != NULL) set_panels(product, net, panels, layer->n_in);
    product->blocking = net->blocking;
    product->pack = scratch->pack;
    net->kernels->gemm_nn(product);
}

void fbp_multiply_transposed(const fbp_batch_t *batch, const fbp_scratch_t *scratch, int l,
                             long row0, fbp_gemm_t *product) {
    const fastbp_net_t *net = batch->plan->net;
    const fbp_layer_t *layer = &net->layer[l - 1];
    product->blocking = net->blocking;
    product->pack = scratch->pack;
    if (fbp_uses_copies(batch)) {
        fbp_multiply_copy(batch, l, row0, product);
        return;
    }
    product->a = batch->plan->delta[l].row + row0;
    product->b = fbp_at(net, batch->theta, layer->w);
    product->ldb = layer->n_out;
    net->kernels->gemm_nt(product);
}

void fbp_multiply_copy(const fbp_batch_t *batch, int l, long row0, fbp_gemm_t *product) {
    const fbp_plan_t *plan = batch->plan;
    product->blocking = plan->net->blocking;
    product->a = (rounds(batch) ? plan->factors.delta[l].row : plan->delta[l].row) + row0;
    set_panels(product, plan->net, plan->wt[l - 1], plan->net->layer[l - 1].n_out);
    plan->net->kernels->gemm_nn(product);
}

const fbp_rows_t *fbp_gradient_a(const fbp_batch_t *batch, int l) {
    return rounds(batch) ? &batch->plan->factors.a[l - 1] : &batch->plan->a[l - 1];
}

const fbp_rows_t *fbp_gradient_delta(const fbp_batch_t *batch, int l) {
    return rounds(batch) ? &batch->plan->factors.delta[l] : fbp_weighted_delta(batch, l);
}

const fbp_rows_t *fbp_weighted_delta(const fbp_batch_t *batch, int l) {
    const bool scaled = batch->weighted && !batch->fold_weights;
    return scaled ? &batch->plan->scaled[l] : &batch->plan->delta[l];
}

/* ---- sparse rows, whose factors are rounded as they are read ---- */

void fbp_multiply_sparse(const fbp_batch_t *batch, long row0, const fbp_gemm_t *product, void *z,
                         long ldz) {
    const fbp_plan_t *plan = batch->plan;
    const fbp_layer_t *layer = &plan->net->layer[0];
    const fbp_mat_t w = {fbp_at(plan->net, batch->theta, layer->w), layer->n_in, layer->n_out,
                         layer->n_out};
    plan->net->kernels->sparse_forward(plan->factors.planes, plan->sparse + row0, product->m, &w,
                                       product->bias, z, ldz);
}

void fbp_sum_sparse(const fbp_batch_t *batch, const fbp_tile_t *tile, long column, long cols,
                    void *sums, long lds) {
    const fbp_plan_t *plan = batch->plan;
    const fbp_rows_t *delta = fbp_weighted_delta(batch, 1);
    const fbp_mat_t part = {fbp_at(plan->net, delta->at, (size_t)column), batch->rows, cols,
                            delta->ld};
    plan->net->kernels->sparse_sums(plan->factors.planes, plan->sparse, &part, tile->unit0,
                                    tile->unit1, sums, lds);
}
