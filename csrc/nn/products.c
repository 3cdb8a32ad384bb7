/* products.c: see products.h. */
#include "products.h"

static bool in_tiles(const fbp_plan_t *plan) { return plan->factors.kind == FBP_FACTORS_TILES; }

static bool in_rows(const fbp_plan_t *plan) { return plan->factors.kind == FBP_FACTORS_ROUNDED; }

void fbp_begin_products(const fbp_plan_t *plan) {
    if (in_tiles(plan)) plan->net->bf16->begin();
}

void fbp_end_products(const fbp_plan_t *plan) {
    if (in_tiles(plan)) plan->net->bf16->end();
}

/* ---- copies of W ---- */

bool fbp_uses_copies(const fbp_batch_t *batch) {
    return fbp_max(batch->rows, batch->whole_rows) > FBP_DOT_MAX_ROWS ||
           fbp_factors_copied(&batch->plan->factors);
}

/* The derivative of scale ⊙ W along a direction: dscale ⊙ W + scale ⊙ dW. */
static void scale_along(const fbp_batch_t *batch, const fbp_tile_t *tile, void *out) {
    const fastbp_net_t *net = batch->plan->net;
    const fbp_layer_t *layer = &net->layer[tile->layer];
    for (ptrdiff_t i = tile->unit0; i < tile->unit1; ++i) {
        const size_t in_w = (size_t)((i - tile->unit0) * layer->n_out);
        const fbp_tile_t unit = {tile->layer, i, i + 1};
        const fbp_mat_t w = fbp_tile_weights(net, batch->around, &unit);
        const fbp_update_t add = {
            .grad_scale = fbp_element(net, batch->theta, layer->scale + (size_t)i),
            .l2 = fbp_element(net, batch->around, layer->scale + (size_t)i),
            .weights = fbp_tile_weights(net, batch->theta, &unit).at,
            .ldw = layer->n_out,
        };
        net->kernels->write_gradient(&add, &w, fbp_at(net, out, in_w), layer->n_out);
    }
}

void fbp_scale_tile(const fbp_batch_t *batch, const fbp_tile_t *tile) {
    const fbp_plan_t *plan = batch->plan;
    const fastbp_net_t *net = plan->net;
    const fbp_layer_t *layer = &net->layer[tile->layer];
    if (!layer->has.scale) return;
    void *out =
        fbp_at(net, plan->scaled_w[tile->layer], (size_t)tile->unit0 * (size_t)layer->n_out);
    if (batch->around != NULL) {
        scale_along(batch, tile, out);
        return;
    }
    const fbp_mat_t w = fbp_tile_weights(net, batch->theta, tile);
    const void *scale = fbp_at(net, batch->theta, layer->scale + (size_t)tile->unit0);
    net->kernels->scale_rows(&w, scale, out, layer->n_out);
}

const void *fbp_weights_of(const fbp_batch_t *batch, int l) {
    const fbp_layer_t *layer = &batch->plan->net->layer[l - 1];
    return layer->has.scale ? batch->plan->scaled_w[l - 1]
                            : fbp_at(batch->plan->net, batch->theta, layer->w);
}

/* Products of sparse rows read W in place. */
void fbp_copy_tile(const fbp_batch_t *batch, const fbp_tile_t *tile, fbp_copies_t copies) {
    const fbp_plan_t *plan = batch->plan;
    const fbp_kernels_t *kernels = plan->net->kernels;
    const int planes = plan->factors.planes;
    fbp_mat_t w = fbp_tile_weights(plan->net, batch->theta, tile);
    fbp_scale_tile(batch, tile);
    w.at = fbp_at(plan->net, fbp_weights_of(batch, tile->layer + 1),
                  (size_t)tile->unit0 * (size_t)w.cols);
    const bool in_place = batch->sparse && tile->layer == 0;
    const bool forward = (copies & FBP_COPY_FORWARD) != 0 && !in_place;
    const bool recursion = (copies & FBP_COPY_TRANSPOSED) != 0;
    if (in_tiles(plan)) {
        fbp_bf16_forms_t to =
            fbp_forms_from(&plan->factors.w_tiles[tile->layer], tile->unit0, planes);
        if (!forward) to.right.at = NULL;
        if (!recursion) to.right_t.at = NULL;
        plan->net->bf16->pack(&(fbp_bf16_pack_t){
            .at = w.at, .ld = w.ld, .rows = w.rows, .cols = w.cols, .planes = planes, .to = to});
        return;
    }
    const ptrdiff_t panel = kernels->panel_cols, n_in = plan->net->layer[tile->layer].n_in;
    void *by_row = plan->wp[tile->layer], *transposed = plan->wt[tile->layer];
    if (by_row != NULL && forward)
        kernels->pack_panels(planes, &w, tile->unit0, n_in * panel, by_row);
    if (transposed != NULL && recursion)
        kernels->pack_transposed(planes, &w, tile->unit0, w.cols * panel, transposed);
}

void fbp_renew_tile(const fbp_batch_t *batch, const fbp_tile_t *tile, fbp_copies_t copies) {
    if (fbp_uses_copies(batch)) fbp_copy_tile(batch, tile, copies);
    else fbp_scale_tile(batch, tile);
}

/* ---- factors of rows ---- */

static void round_rows(const fbp_plan_t *plan, const fbp_rows_t *from, const fbp_rows_t *to,
                       ptrdiff_t width, ptrdiff_t row0, ptrdiff_t rows) {
    plan->net->kernels->round_rows(plan->factors.planes, from->row + row0, rows, width,
                                   fbp_row_at(plan, to, row0), to->ld);
}

static void pack_rows(const fbp_plan_t *plan, const fbp_rows_t *from, const fbp_bf16_forms_t *to,
                      ptrdiff_t width, ptrdiff_t row0, ptrdiff_t rows) {
    const int planes = plan->factors.planes;
    plan->net->bf16->pack(&(fbp_bf16_pack_t){
        .list = (const float *const *)(from->row + row0),
        .rows = rows,
        .cols = width,
        .planes = planes,
        .to = fbp_forms_from(to, row0, planes),
    });
}

/* The forms of a^l that the plan needs: those for the gradient of W^{l+1} only if there is one. */
static fbp_bf16_forms_t forms_of_a(const fbp_plan_t *plan, int l) {
    fbp_bf16_forms_t forms = plan->factors.a_tiles[l];
    if (plan->factors.use == FBP_FOR_TRAINING && l < plan->net->n_layers &&
        plan->net->layer[l].frozen)
        forms.left_t.at = NULL;
    return forms;
}

void fbp_factor_a(const fbp_batch_t *batch, int l, ptrdiff_t row0, ptrdiff_t rows) {
    const fbp_plan_t *plan = batch->plan;
    const fbp_factors_t *factors = &plan->factors;
    const ptrdiff_t width = fbp_width(plan->net, l);
    if (batch->sparse && l == 0) return;
    if (in_rows(plan)) round_rows(plan, &plan->a[l], &factors->a[l], width, row0, rows);
    if (!in_tiles(plan)) return;
    const fbp_bf16_forms_t forms = forms_of_a(plan, l);
    pack_rows(plan, &plan->a[l], &forms, width, row0, rows);
}

void fbp_factor_delta(const fbp_batch_t *batch, int l, ptrdiff_t row0, ptrdiff_t rows) {
    const fbp_plan_t *plan = batch->plan;
    const fbp_factors_t *factors = &plan->factors;
    const fbp_rows_t *delta = &plan->delta[l];
    const ptrdiff_t width = fbp_width(plan->net, l);
    if (in_rows(plan)) round_rows(plan, delta, &factors->delta[l], width, row0, rows);
    if (in_tiles(plan)) pack_rows(plan, delta, &factors->delta_tiles[l], width, row0, rows);
}

void fbp_factor_scaled(const fbp_batch_t *batch, int l, ptrdiff_t row0, ptrdiff_t rows) {
    const fbp_plan_t *plan = batch->plan;
    const fbp_factors_t *factors = &plan->factors;
    const fbp_rows_t *scaled = &plan->scaled[l];
    const ptrdiff_t width = fbp_width(plan->net, l);
    if (in_rows(plan)) round_rows(plan, scaled, &factors->delta[l], width, row0, rows);
    if (!in_tiles(plan)) return;
    const fbp_bf16_forms_t to = {.right = factors->delta_tiles[l].right};
    pack_rows(plan, scaled, &to, width, row0, rows);
}

/* ---- products of rows ---- */

/* The product of left rows row0 … and a right factor; `to` receives the result as factors. */
static void multiply_tiles(const fbp_plan_t *plan, const fbp_gemm_t *g,
                           const fbp_bf16_forms_t *left, ptrdiff_t row0, fbp_bf16_factor_t right,
                           const fbp_bf16_forms_t *to) {
    const int planes = plan->factors.planes;
    fbp_bf16_product_t product = {
        .c = g->c,
        .ldc = g->ldc,
        .a = fbp_forms_from(left, row0, planes).left,
        .b = right,
        .planes = planes,
        .m = g->m,
        .n = g->n,
        .k = g->k,
        .bias = g->bias,
        .epi = g->epi,
        .act = g->act,
        .alpha = g->alpha,
        .z = g->z,
        .ldz = g->ldz,
        .aux = g->aux,
        .ldaux = g->ldaux,
    };
    if (to != NULL) product.to = fbp_forms_from(to, row0, planes);
    plan->net->bf16->product(&product);
}

/* B is a copy of W in panels of `depth` rows. */
static void set_panels(fbp_gemm_t *product, const fastbp_net_t *net, const void *panels,
                       ptrdiff_t depth) {
    product->b = panels;
    product->ldb = net->kernels->panel_cols;
    product->b_panel = depth * net->kernels->panel_cols;
}

void fbp_multiply_weights(const fbp_batch_t *batch, const fbp_scratch_t *scratch, int l,
                          ptrdiff_t row0, bool final, fbp_gemm_t *product) {
    const fbp_plan_t *plan = batch->plan;
    const fastbp_net_t *net = plan->net;
    const fbp_factors_t *factors = &plan->factors;
    const fbp_layer_t *layer = &net->layer[l - 1];
    if (in_tiles(plan)) {
        const fbp_bf16_forms_t forms = forms_of_a(plan, l);
        multiply_tiles(plan, product, &factors->a_tiles[l - 1], row0, factors->w_tiles[l - 1].right,
                       final ? &forms : NULL);
        return;
    }
    const void *panels = fbp_uses_copies(batch) ? plan->wp[l - 1] : NULL;
    product->a = fbp_gradient_a(batch, l)->row + row0;
    product->b = fbp_weights_of(batch, l);
    product->ldb = layer->n_out;
    if (panels != NULL) set_panels(product, net, panels, layer->n_in);
    product->blocking = net->blocking;
    product->pack = scratch->pack;
    net->kernels->gemm_nn(product);
    if (final) fbp_factor_a(batch, l, row0, product->m);
}

void fbp_multiply_transposed(const fbp_batch_t *batch, const fbp_scratch_t *scratch, int l,
                             ptrdiff_t row0, ptrdiff_t unit0, bool final, fbp_gemm_t *product) {
    const fastbp_net_t *net = batch->plan->net;
    const fbp_layer_t *layer = &net->layer[l - 1];
    product->pack = scratch->pack;
    if (fbp_uses_copies(batch)) {
        fbp_multiply_copy(batch, l, row0, unit0, final, product);
        return;
    }
    product->a = batch->plan->delta[l].row + row0;
    product->b = fbp_at(net, fbp_weights_of(batch, l), (size_t)(unit0 * layer->n_out));
    product->ldb = layer->n_out;
    product->blocking = net->blocking;
    net->kernels->gemm_nt(product);
}

void fbp_multiply_copy(const fbp_batch_t *batch, int l, ptrdiff_t row0, ptrdiff_t unit0, bool final,
                       fbp_gemm_t *product) {
    const fbp_plan_t *plan = batch->plan;
    const fastbp_net_t *net = plan->net;
    const fbp_factors_t *factors = &plan->factors;
    const size_t before = (size_t)(unit0 * net->layer[l - 1].n_out); /* of whole panels */
    if (in_tiles(plan)) {
        multiply_tiles(plan, product, &factors->delta_tiles[l], row0,
                       factors->w_tiles[l - 1].right_t,
                       final ? &factors->delta_tiles[l - 1] : NULL);
        return;
    }
    product->a = (in_rows(plan) ? factors->delta[l].row : plan->delta[l].row) + row0;
    set_panels(product, net, fbp_at(net, plan->wt[l - 1], before), net->layer[l - 1].n_out);
    product->blocking = net->blocking;
    net->kernels->gemm_nn(product);
    if (final) fbp_factor_delta(batch, l - 1, row0, product->m);
}

/* ---- gradients ---- */

const fbp_rows_t *fbp_gradient_a(const fbp_batch_t *batch, int l) {
    const fbp_plan_t *plan = batch->plan;
    return in_rows(plan) ? &plan->factors.a[l - 1] : &plan->a[l - 1];
}

const fbp_rows_t *fbp_gradient_delta(const fbp_batch_t *batch, int l) {
    const fbp_plan_t *plan = batch->plan;
    return in_rows(plan) ? &plan->factors.delta[l] : fbp_weighted_delta(batch, l);
}

const fbp_rows_t *fbp_weighted_delta(const fbp_batch_t *batch, int l) {
    const bool scaled = batch->weighted && !batch->fold_weights;
    return scaled ? &batch->plan->scaled[l] : &batch->plan->delta[l];
}

bool fbp_sums_from_tiles(const fbp_batch_t *batch) { return in_tiles(batch->plan); }

void fbp_sum_tiles(const fbp_batch_t *batch, const fbp_tile_t *tile, ptrdiff_t column,
                   ptrdiff_t cols, void *sums, ptrdiff_t lds) {
    const fbp_plan_t *plan = batch->plan;
    const fbp_factors_t *factors = &plan->factors;
    const fbp_bf16_factor_t a = factors->a_tiles[tile->layer].left_t,
                            delta = factors->delta_tiles[tile->layer + 1].right;
    plan->net->bf16->product(&(fbp_bf16_product_t){
        .c = sums,
        .ldc = lds,
        .a = fbp_bf16_part(a, tile->unit0 / FBP_BF16_BLOCK, 0, factors->planes),
        .b = fbp_bf16_part(delta, column / FBP_BF16_BLOCK, 0, factors->planes),
        .planes = factors->planes,
        .m = tile->unit1 - tile->unit0,
        .n = cols,
        .k = batch->rows,
    });
}

/* ---- sparse rows, whose factors are rounded as they are read ---- */

void fbp_multiply_sparse(const fbp_batch_t *batch, ptrdiff_t row0, const fbp_gemm_t *product,
                         void *z, ptrdiff_t ldz) {
    const fbp_plan_t *plan = batch->plan;
    const fbp_layer_t *layer = &plan->net->layer[0];
    const fbp_mat_t w = {fbp_weights_of(batch, 1), layer->n_in, layer->n_out, layer->n_out};
    plan->net->kernels->sparse_forward(plan->factors.planes, plan->sparse + row0, product->m, &w,
                                       product->bias, z, ldz);
}

void fbp_sum_sparse(const fbp_batch_t *batch, const fbp_tile_t *tile, ptrdiff_t column,
                    ptrdiff_t cols, void *sums, ptrdiff_t lds) {
    const fbp_plan_t *plan = batch->plan;
    const fbp_rows_t *delta = fbp_weighted_delta(batch, 1);
    const fbp_mat_t part = {fbp_at(plan->net, fbp_row_at(plan, delta, batch->from), (size_t)column),
                            batch->rows, cols, delta->ld};
    plan->net->kernels->sparse_sums(plan->factors.planes, plan->sparse + batch->from, &part,
                                    tile->unit0, tile->unit1, sums, lds);
}
