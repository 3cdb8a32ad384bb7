/* rows.c: see rows.h. Forward z = aW + b, and the recursion δ^l = (δ^{l+1} W^{l+1}ᵀ) ⊙ σ'_l
 * (Rumelhart, Hinton, Williams, Nature 323, 1986). */
#include "rows.h"

#include "activate.h"
#include "embed.h"
#include "options.h"
#include "products.h"

/* ---- forward ---- */

/* The first layer for sparse rows: the product, and what the epilogue does for dense rows. */
static void forward_sparse(const fbp_batch_t *batch, const fbp_gemm_t *product, ptrdiff_t row0) {
    const fbp_plan_t *plan = batch->plan;
    const fbp_layer_t *layer = &plan->net->layer[0];
    void *const z = product->z != NULL ? product->z : product->c;
    const ptrdiff_t ldz = product->z != NULL ? product->ldz : product->ldc;
    fbp_multiply_sparse(batch, row0, product, z, ldz);
    if (product->epi == FBP_EPI_NONE) return;
    const fbp_mat_t from = {z, product->m, layer->n_out, ldz};
    plan->net->kernels->act_forward(layer->act, layer->alpha, &from, product->c, product->ldc);
}

/* What follows the product, in a layer that is not plain: the options, and the factors of a. */
static void finish_layer(const fbp_batch_t *batch, const fbp_scratch_t *scratch, int l,
                         ptrdiff_t row0, ptrdiff_t rows) {
    fbp_options_forward(batch, scratch, l, row0, rows);
    if (l < batch->plan->net->n_layers) fbp_factor_a(batch, l, row0, rows);
}

/* a[rows,n_out] = σ(a_in[rows,n_in] · W[n_in,n_out] + b). The product of the output layer is stored
 * as z first, because the loss may need z and softmax needs whole rows; so is that of a layer with
 * a norm or a formula. A layer that is normed by the batch ends with its z. */
static void forward_layer(const fbp_batch_t *batch, const fbp_scratch_t *scratch, int l,
                          ptrdiff_t row0, ptrdiff_t rows) {
    const fbp_plan_t *plan = batch->plan;
    const fastbp_net_t *net = plan->net;
    const fbp_layer_t *layer = &net->layer[l - 1];
    const bool output = l == net->n_layers, keep = plan->z[l].at != NULL;
    const bool norm = layer->has.norm != FASTBP_NORM_NONE;
    const bool raw = output || norm || layer->formula != NULL;
    const fbp_rows_t *into = raw && keep ? &plan->z[l] : fbp_activated(plan, l);
    fbp_gemm_t product = {
        .c = fbp_row_at(plan, into, row0),
        .ldc = into->ld,
        .m = rows,
        .n = layer->n_out,
        .k = layer->n_in,
        .bias = layer->has.no_bias ? NULL : fbp_at(net, batch->theta, layer->b),
        .epi = raw ? FBP_EPI_NONE : FBP_EPI_FORWARD,
        .act = layer->act,
        .alpha = layer->alpha,
        .z = keep && !raw ? fbp_row_at(plan, &plan->z[l], row0) : NULL,
        .ldz = plan->z[l].ld,
    };
    const bool sparse = batch->sparse && l == 1, final = layer->plain && !output && !sparse;
    if (sparse) forward_sparse(batch, &product, row0);
    else fbp_multiply_weights(batch, scratch, l, row0, final, &product);
    if (plan->by_batch[l]) return;
    if (!layer->plain) finish_layer(batch, scratch, l, row0, rows);
    else if (!output && !final) fbp_factor_a(batch, l, row0, rows);
    if (!output || !layer->plain || plan->z[l].at == plan->a[l].at) return;
    const fbp_mat_t z = fbp_block_of(plan, &plan->z[l], row0, rows, layer->n_out);
    net->kernels->act_forward(layer->act, layer->alpha, &z, fbp_row_at(plan, &plan->a[l], row0),
                              plan->a[l].ld);
}

/* The inputs of the rows, as the first product reads them. */
static void begin_rows(const fbp_batch_t *batch, ptrdiff_t row0, ptrdiff_t rows) {
    const fbp_plan_t *plan = batch->plan;
    if (plan->drops && plan->net->input_dropout > 0) fbp_drop_input(batch, row0, rows);
    if (plan->net->has_embedding) fbp_embed_rows(batch, row0, rows);
    fbp_factor_a(batch, 0, row0, rows);
}

void fbp_forward_rows(const fbp_batch_t *batch, const fbp_scratch_t *scratch, int from,
                      ptrdiff_t row0, ptrdiff_t rows) {
    const fbp_plan_t *plan = batch->plan;
    const int end = (int)fbp_min(fbp_next_by_batch(plan, from), plan->net->n_layers);
    if (from == 0) begin_rows(batch, row0, rows);
    else finish_layer(batch, scratch, from, row0, rows);
    for (int l = from + 1; l <= end; ++l) {
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
    const ptrdiff_t from = batch->from;
    const fastbp_status_t status = net->loss.fn(
        net->loss.context, batch->rows, fbp_row_at(plan, &plan->a[l], from), plan->a[l].ld,
        plan->target + from, plan->row_loss + from,
        batch->backward ? fbp_row_at(plan, &plan->delta[l], from) : NULL, plan->delta[l].ld);
    fbp_set_fpmode(ours);
    return status == FASTBP_OK;
}

/* Multiplies ∂J_i/∂a from fbp_custom_loss by s_i. The loss kernels do that themselves. */
static void weigh_rows(const fbp_batch_t *batch, ptrdiff_t row0, ptrdiff_t rows) {
    const fbp_plan_t *plan = batch->plan;
    const fastbp_net_t *net = plan->net;
    const fbp_rows_t *delta = &plan->delta[net->n_layers];
    const fbp_mat_t slope =
        fbp_block_of(plan, delta, row0, rows, net->layer[net->n_layers - 1].n_out);
    net->kernels->scale_rows(&slope, fbp_at(net, plan->weight, (size_t)row0),
                             fbp_row_at(plan, delta, row0), delta->ld);
}

/* The arguments of the loss kernel for a block of rows. */
static fbp_loss_t loss_of(const fbp_batch_t *batch, ptrdiff_t row0, ptrdiff_t rows) {
    const fbp_plan_t *plan = batch->plan;
    const fastbp_net_t *net = plan->net;
    const int l = net->n_layers;
    return (fbp_loss_t){
        .loss = (int)net->loss.code,
        .fused = net->loss.fused,
        .rows = rows,
        .cols = net->layer[l - 1].n_out,
        .z = fbp_row_at(plan, &plan->z[l], row0),
        .a = fbp_row_at(plan, &plan->a[l], row0),
        .ldz = plan->z[l].ld,
        .lda = plan->a[l].ld,
        .labels = batch->labels ? plan->label + row0 : NULL,
        .targets = batch->labels ? NULL : plan->target + row0,
        .n_targets = net->loss.n_targets,
        .params = net->loss.params,
        .n_params = net->loss.n_params,
        .smoothing = batch->smoothing,
        .masked = net->loss.masked,
        .row_loss = plan->row_loss + row0,
    };
}

/* Runs a program of the loss on a, the targets and, if the program has a third input, `third`. */
static void run_formula(const fastbp_net_t *net, const fbp_scratch_t *scratch,
                        const fbp_loss_t *loss, const fbp_program_t *program, fbp_source_t third,
                        const fbp_target_t *target) {
    const fbp_source_t source[] = {
        {.at = loss->a, .ld = loss->lda}, {.rows = loss->targets, .labels = loss->labels}, third};
    net->kernels->run_rows(&(fbp_run_t){
        .program = program,
        .rows = loss->rows,
        .cols = loss->cols,
        .source = source,
        .target = target,
        .scale = loss->scale,
        .scratch = scratch->run,
    });
}

/* Computes J_i and ∂J_i/∂a, or δ^L of a pair, by the kernel or by the programs of the loss. */
static void run_loss(const fastbp_net_t *net, const fbp_scratch_t *scratch,
                     const fbp_loss_t *loss) {
    const fbp_loss_formula_t *formula = net->loss.formula;
    const fbp_target_t target[] = {{.at = loss->row_loss}, {loss->delta, loss->ldd}};
    if (formula == NULL) net->kernels->loss_rows(loss);
    else
        run_formula(net, scratch, loss, loss->delta != NULL ? formula->slope : formula->value,
                    (fbp_source_t){0}, target);
}

void fbp_pull_back_rows(const fbp_batch_t *batch, const fbp_scratch_t *scratch, int l,
                        ptrdiff_t row0, ptrdiff_t rows, void *delta, ptrdiff_t ldd,
                        const fbp_rows_t *kept) {
    const fbp_layer_t *layer = &batch->plan->net->layer[l - 1];
    fbp_act_pull_back(batch, scratch, l, row0, rows, delta, ldd, kept);
    if (batch->plan->by_batch[l]) fbp_norm_pull_back_batch(batch, scratch, l, delta, ldd);
    else if (layer->has.norm != FASTBP_NORM_NONE)
        fbp_norm_pull_back(batch, l, row0, rows, delta, ldd, delta, ldd);
}

void fbp_loss_rows(const fbp_batch_t *batch, const fbp_scratch_t *scratch, ptrdiff_t row0,
                   ptrdiff_t rows) {
    const fbp_plan_t *plan = batch->plan;
    const fastbp_net_t *net = plan->net;
    const int l = net->n_layers;
    const bool fold = batch->weighted && batch->fold_weights;
    fbp_loss_t loss = loss_of(batch, row0, rows);
    loss.scale = fold ? fbp_at(net, plan->weight, (size_t)row0) : NULL;
    loss.delta = batch->backward ? fbp_row_at(plan, &plan->delta[l], row0) : NULL;
    loss.ldd = plan->delta[l].ld;
    if (net->loss.fn == NULL) run_loss(net, scratch, &loss);
    else if (loss.delta != NULL && fold) weigh_rows(batch, row0, rows);
    if (loss.delta == NULL || net->loss.fused) return;
    fbp_pull_back_rows(batch, scratch, l, row0, rows, loss.delta, loss.ldd, &plan->dc[l]);
}

void fbp_loss_slope_rows(const fbp_batch_t *batch, const fbp_scratch_t *scratch, ptrdiff_t row0,
                         ptrdiff_t rows, void *out, ptrdiff_t ldo) {
    fbp_loss_t loss = loss_of(batch, row0, rows);
    loss.fused = false;
    loss.delta = out;
    loss.ldd = ldo;
    run_loss(batch->plan->net, scratch, &loss);
}

void fbp_loss_curve_rows(const fbp_batch_t *batch, const fbp_scratch_t *scratch, ptrdiff_t row0,
                         const fbp_mat_t *rz, const fbp_mat_t *ra, void *out, ptrdiff_t ldo) {
    const fastbp_net_t *net = batch->plan->net;
    fbp_loss_t loss = loss_of(batch, row0, ra->rows);
    loss.delta = out;
    loss.ldd = ldo;
    if (net->loss.formula == NULL) net->kernels->loss_curve(&loss, rz, ra);
    else
        run_formula(net, scratch, &loss, net->loss.formula->curve,
                    (fbp_source_t){.at = ra->at, .ld = ra->ld}, &(fbp_target_t){out, ldo});
}

/* The product δ^l[rows,n_out] · W^lᵀ into `out`, still without factors and epilogue. */
static fbp_gemm_t delta_product(const fbp_layer_t *layer, ptrdiff_t rows, void *out,
                                ptrdiff_t ldo) {
    return (fbp_gemm_t){
        .c = out, .ldc = ldo, .m = rows, .n = layer->n_in, .k = layer->n_out, .epi = FBP_EPI_NONE};
}

/* δ^{l−1}[rows,n_in] = (δ^l[rows,n_out] · W^lᵀ) ⊙ σ'_{l−1}, in one product if both layers allow it.
 * If not, the product comes first and the options of the layers follow row by row. */
void fbp_delta_rows(const fbp_batch_t *batch, const fbp_scratch_t *scratch, int l, ptrdiff_t row0,
                    ptrdiff_t rows) {
    const fbp_plan_t *plan = batch->plan;
    const fbp_layer_t *layer = &plan->net->layer[l - 1], *below = &plan->net->layer[l - 2];
    const fbp_rows_t *aux = fbp_plan_slope_rows(plan, l - 1);
    const bool fused = below->plain && !layer->has.residual;
    const fbp_rows_t *out = &plan->delta[l - 1];
    fbp_gemm_t product = delta_product(layer, rows, fbp_row_at(plan, out, row0), out->ld);
    product.epi = fused ? FBP_EPI_BACKWARD : FBP_EPI_NONE;
    product.act = below->act;
    product.alpha = below->alpha;
    product.aux = fbp_row_at(plan, aux, row0);
    product.ldaux = aux->ld;
    fbp_multiply_transposed(batch, scratch, l, row0, 0, fused, &product);
    if (fused) return;
    fbp_options_backward(batch, scratch, l - 1, row0, rows);
    if (!plan->by_batch[l - 1]) fbp_factor_delta(batch, l - 1, row0, rows);
}

void fbp_slope_rows(const fbp_batch_t *batch, const fbp_scratch_t *scratch, int l, ptrdiff_t row0,
                    ptrdiff_t rows, void *out, ptrdiff_t ldo) {
    fbp_gemm_t product = delta_product(&batch->plan->net->layer[l - 1], rows, out, ldo);
    fbp_multiply_transposed(batch, scratch, l, row0, 0, false, &product);
}

/* ∂J_i/∂a^0 of the units that are embedded: all of them, or the last ones, whole panels of W^1ᵀ. */
static void slope_embedded(const fbp_batch_t *batch, const fbp_scratch_t *scratch, ptrdiff_t row0,
                           ptrdiff_t rows) {
    const fbp_plan_t *plan = batch->plan;
    const fastbp_net_t *net = plan->net;
    const fbp_rows_t *out = &plan->delta[0];
    const bool all = net->layer[0].has.numbers > 0 || fbp_sums_from_tiles(batch);
    const ptrdiff_t panel = net->kernels->panel_cols;
    const ptrdiff_t unit0 = all ? 0 : net->table[0].unit / panel * panel;
    void *to = fbp_at(net, fbp_row_at(plan, out, row0), (size_t)unit0);
    fbp_gemm_t product = delta_product(&net->layer[0], rows, to, out->ld);
    product.n -= unit0;
    fbp_multiply_transposed(batch, scratch, 1, row0, unit0, false, &product);
}

void fbp_weigh_rows(const fbp_batch_t *batch, ptrdiff_t row0, ptrdiff_t rows) {
    const fbp_plan_t *plan = batch->plan;
    const fastbp_net_t *net = plan->net;
    if (!batch->weighted || batch->fold_weights) return;
    for (int l = 1; l <= net->n_layers; ++l) {
        const fbp_mat_t delta =
            fbp_block_of(plan, &plan->delta[l], row0, rows, net->layer[l - 1].n_out);
        net->kernels->scale_rows(&delta, fbp_at(net, plan->weight, (size_t)row0),
                                 fbp_row_at(plan, &plan->scaled[l], row0), plan->scaled[l].ld);
        fbp_factor_scaled(batch, l, row0, rows);
    }
}

void fbp_recursion_rows(const fbp_batch_t *batch, const fbp_scratch_t *scratch, int from, int to,
                        ptrdiff_t row0, ptrdiff_t rows) {
    const int end = (int)fbp_max(to, fbp_last_by_batch(batch->plan, from));
    fbp_factor_delta(batch, from, row0, rows);
    for (int l = from; l > end; --l) {
        fbp_delta_rows(batch, scratch, l, row0, rows);
        fbp_lap(scratch->profile, l, FASTBP_PHASE_DELTA);
    }
    const fbp_plan_t *plan = batch->plan;
    if (!plan->net->has_embedding || to > 1 || fbp_last_by_batch(plan, from) >= 1) return;
    slope_embedded(batch, scratch, row0, rows);
    fbp_lap(scratch->profile, 1, FASTBP_PHASE_DELTA);
}
