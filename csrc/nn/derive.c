/* derive.c: first derivatives other than the gradient of J, from a pass: products with the Jacobian
 * ∂a^L/∂x, the gradient of every J_i and its norm, and a^l ⊙ ∂J_i/∂a^l. The gradient of a sample is
 * a_i^{l−1ᵀ} δ_i^l, so its norm is ‖a_i^{l−1}‖ ‖δ_i^l‖ and needs no gradient (Goodfellow,
 * "Efficient per-example gradient computations", arXiv 1510.01799, 2015). */
#include "batch_norm.h"
#include "options.h"
#include "pass.h"

#include <math.h>
#include <string.h>

/* ---- out = vᵀ ∂a^L/∂x ---- */

typedef struct {
    const fbp_batch_t *batch;
    const void *v; /* rows of n_L elements, ldv apart; NULL: each unit vector in turn */
    ptrdiff_t ldv;
    void *out; /* [rows, vectors, n_0] */
} pull_t;

/* δ^L of the rows = v, or the unit vector of output k if v is NULL. */
static void seed_rows(const pull_t *pull, const fbp_block_t *block, ptrdiff_t k) {
    const fbp_plan_t *plan = pull->batch->plan;
    const fastbp_net_t *net = plan->net;
    const int l = net->n_layers;
    const ptrdiff_t n_out = net->layer[l - 1].n_out, ld = plan->delta[l].ld;
    void *delta = fbp_at(net, plan->delta[l].at, (size_t)(block->row0 * ld));
    if (pull->v != NULL) {
        const ptrdiff_t from = (ptrdiff_t)block->row0 * pull->ldv;
        const fbp_mat_t v = {fbp_at(net, pull->v, (size_t)from), block->rows, n_out, pull->ldv};
        net->kernels->act_forward(FASTBP_ACT_IDENTITY, 0, &v, delta, ld);
        return;
    }
    for (ptrdiff_t i = 0; i < block->rows; ++i) {
        void *row = fbp_at(net, delta, (size_t)(i * ld));
        memset(row, 0, (size_t)n_out * net->kernels->elem_size);
        if (net->dtype == FASTBP_F32) ((float *)row)[k] = 1;
        else ((double *)row)[k] = 1;
    }
}

static void run_pull(void *context, fbp_team_t *team, int worker) {
    const pull_t *pull = context;
    const fbp_batch_t *batch = pull->batch;
    const fbp_plan_t *plan = batch->plan;
    const fastbp_net_t *net = plan->net;
    const fbp_scratch_t *scratch = &plan->scratch[worker];
    const fbp_rows_t *top = &plan->delta[net->n_layers];
    const ptrdiff_t n_in = net->layer[0].n_in;
    const ptrdiff_t vectors = pull->v != NULL ? 1 : net->layer[net->n_layers - 1].n_out;
    fbp_pass_copy(batch, team, 1, net->n_layers, FBP_COPY_TRANSPOSED);
    fbp_team_barrier(team);
    for (fbp_block_t block; fbp_next_block(batch, team, &block);)
        for (ptrdiff_t k = 0; k < vectors; ++k) {
            seed_rows(pull, &block, k);
            fbp_pull_back_rows(batch, scratch, net->n_layers, block.row0, block.rows,
                               fbp_row_at(plan, top, block.row0), top->ld, NULL);
            fbp_recursion_rows(batch, scratch, net->n_layers, 1, block.row0, block.rows);
            const size_t first = (size_t)(block.row0 * vectors + k) * (size_t)n_in;
            void *out = fbp_at(net, pull->out, first);
            fbp_slope_rows(batch, scratch, 1, block.row0, block.rows, out, vectors * n_in);
            if (!net->layer[0].has.residual) continue;
            const fbp_mat_t slope = {out, block.rows, n_in, vectors * n_in};
            net->kernels->add_rows(&slope, plan->skip.row + block.row0, out, vectors * n_in);
        }
}

static fastbp_status_t pull_back(fastbp_pass_t *pass, const void *theta, pull_t *pull) {
    const ptrdiff_t outputs = pass->plan.net->layer[pass->plan.net->n_layers - 1].n_out;
    if (!fbp_pass_is_exact(pass)) return FASTBP_ERR_ARGUMENT;
    if (pass->batch.rows == 0) return FASTBP_ERR_STATE;
    fbp_pass_drop_delta(pass);
    pass->batch.theta = theta;
    pass->batch.weighted = false;
    pull->batch = &pass->batch;
    const double vectors = pull->v != NULL ? 1 : (double)outputs;
    return fbp_pass_run(pass, (fbp_work_t){2 * vectors, 0}, run_pull, pull);
}

fastbp_status_t fastbp_vjp(fastbp_pass_t *pass, const void *theta, const void *v, ptrdiff_t ldv,
                           void *out) {
    if (v == NULL) return FASTBP_ERR_ARGUMENT;
    pull_t pull = {.v = v, .ldv = ldv, .out = out};
    return pull_back(pass, theta, &pull);
}

fastbp_status_t fastbp_jacobian(fastbp_pass_t *pass, const void *theta, void *out) {
    pull_t pull = {.out = out};
    return pull_back(pass, theta, &pull);
}

fastbp_status_t fastbp_pull_back(fastbp_pass_t *pass, int layer, void *g, ptrdiff_t ldg) {
    if (layer < 1 || layer > pass->plan.net->n_layers) return FASTBP_ERR_ARGUMENT;
    if (pass->batch.rows == 0) return FASTBP_ERR_STATE;
    const fbp_fpmode_t callers_mode = fbp_flush_subnormals();
    fbp_drop_slopes(&pass->batch, layer, g, ldg);
    fbp_pull_back_rows(&pass->batch, &pass->plan.scratch[0], layer, 0, pass->batch.rows, g, ldg,
                       NULL);
    fbp_set_fpmode(callers_mode);
    return FASTBP_OK;
}

/* ---- the gradient of each sample ---- */

typedef struct {
    const fbp_batch_t *batch;
    void *out;
} samples_t;

/* The gradient of sample i for the constants of a formula, as they are in theta. */
static void constants_gradient(const fbp_plan_t *plan, int l, ptrdiff_t i, void *out) {
    const fastbp_net_t *net = plan->net;
    const fbp_layer_t *layer = &net->layer[l - 1];
    const fbp_rows_t *dc = &plan->dc[l];
    const size_t elem = net->kernels->elem_size;
    if (layer->formula->per_unit) memcpy(out, dc->row[i], (size_t)layer->n_constants * elem);
    else
        for (ptrdiff_t k = 0; k < layer->n_constants; ++k)
            memcpy(fbp_at(net, out, (size_t)k), fbp_at(net, dc->row[k], (size_t)i), elem);
}

/* Turns a_i^{l−1ᵀ} δ_i^l, which is in w, into the gradient of W of a layer with a scale, and
 * computes that of the scale. */
static void scale_gradient(const fbp_batch_t *batch, const fbp_scratch_t *scratch, int l, void *w,
                           void *out) {
    const fastbp_net_t *net = batch->plan->net;
    const fbp_kernels_t *kernels = net->kernels;
    const ptrdiff_t n_out = net->layer[l - 1].n_out, lanes = kernels->lanes;
    const size_t bytes = (size_t)lanes * kernels->elem_size;
    for (ptrdiff_t i = 0; i < net->n_tiles; ++i) {
        const fbp_tile_t *tile = &net->tile[i];
        if (tile->layer != l - 1) continue;
        const fbp_mat_t weights = fbp_tile_weights(net, batch->theta, tile);
        const size_t unit0 = (size_t)tile->unit0;
        const fbp_mat_t slopes = {scratch->slopes, weights.rows, lanes, lanes};
        memset(scratch->slopes, 0, (size_t)weights.rows * bytes);
        kernels->scale_sums(&weights, fbp_at(net, batch->theta, net->layer[l - 1].scale + unit0),
                            fbp_at(net, w, unit0 * (size_t)n_out), n_out, scratch->slopes);
        kernels->row_sums(&slopes, fbp_at(net, out, unit0), 1);
    }
}

/* One row of the result, laid out as theta: a_i^{l−1ᵀ} δ_i^l, δ_i^l, the vectors of a norm and the
 * constants of a formula, for every layer. If a norm has no shift, that part goes to
 * scratch->column. */
static void sample_gradient(const fbp_batch_t *batch, const fbp_scratch_t *scratch, ptrdiff_t i,
                            void *row) {
    const fbp_plan_t *plan = batch->plan;
    const fastbp_net_t *net = plan->net;
    const size_t elem = net->kernels->elem_size;
    for (int l = 1; l <= net->n_layers; ++l) {
        const fbp_layer_t *layer = &net->layer[l - 1];
        const fbp_gemm_t outer = {
            .c = fbp_at(net, row, layer->w),
            .ldc = layer->n_out,
            .a = plan->a[l - 1].row + i,
            .b = plan->delta[l].row[i],
            .ldb = plan->delta[l].ld,
            .m = layer->n_in,
            .n = layer->n_out,
            .k = 1,
        };
        net->kernels->gemm_tn(&outer);
        if (layer->has.scale)
            scale_gradient(batch, scratch, l, fbp_at(net, row, layer->w),
                           fbp_at(net, row, layer->scale));
        if (!layer->has.no_bias)
            memcpy(fbp_at(net, row, layer->b), plan->delta[l].row[i], (size_t)layer->n_out * elem);
        if (layer->n_constants > 0)
            constants_gradient(plan, l, i, fbp_at(net, row, layer->constants));
        const bool shifts = fbp_norm_shifts(layer);
        if (layer->has.norm != FASTBP_NORM_NONE)
            fbp_sample_norm_sums(batch, l, i, fbp_at(net, row, layer->gain),
                                 shifts ? fbp_at(net, row, layer->shift) : scratch->column);
        fbp_clear_statistics(net, l, row);
    }
}

static void run_sample_gradients(void *context, fbp_team_t *team, int worker) {
    const samples_t *samples = context;
    const fbp_plan_t *plan = samples->batch->plan;
    for (fbp_block_t block; fbp_next_block(samples->batch, team, &block);)
        for (ptrdiff_t i = block.row0; i < block.row0 + block.rows; ++i)
            sample_gradient(samples->batch, &plan->scratch[worker], i,
                            fbp_at(plan->net, samples->out, (size_t)i * plan->net->n_params));
}

fastbp_status_t fastbp_sample_gradients(fastbp_pass_t *pass, void *out) {
    if (!fbp_pass_has_delta(pass)) return FASTBP_ERR_STATE;
    if (pass->batch.sparse || !fbp_pass_is_exact(pass)) return FASTBP_ERR_ARGUMENT;
    samples_t samples = {&pass->batch, out};
    return fbp_pass_run(pass, FBP_FORWARD_WORK, run_sample_gradients, &samples);
}

static double square_of(const fastbp_net_t *net, const void *row, ptrdiff_t n) {
    const fbp_mat_t x = {row, 1, n, n};
    return net->kernels->penalty(&x, 0, 2);
}

/* ‖a_i^{l−1} ⊙ scale‖² */
static double scaled_square(const fbp_batch_t *batch, const fbp_scratch_t *scratch, int l,
                            ptrdiff_t i) {
    const fastbp_net_t *net = batch->plan->net;
    const ptrdiff_t n_in = net->layer[l - 1].n_in;
    const void *a = batch->plan->a[l - 1].row[i];
    memcpy(scratch->column, fbp_at(net, batch->theta, net->layer[l - 1].scale),
           (size_t)n_in * net->kernels->elem_size);
    net->kernels->multiply_rows(&a, 1, n_in, scratch->column, n_in);
    return square_of(net, scratch->column, n_in);
}

/* ‖∂J_i/∂scale‖² = ‖a_i^{l−1} ⊙ (δ_i^l Wᵀ)‖² */
static double slope_square(const fbp_batch_t *batch, const fbp_scratch_t *scratch, int l,
                           ptrdiff_t i) {
    const fastbp_net_t *net = batch->plan->net;
    const fbp_layer_t *layer = &net->layer[l - 1];
    const void *a = batch->plan->a[l - 1].row[i];
    net->kernels->gemm_nt(&(fbp_gemm_t){
        .c = scratch->column,
        .ldc = layer->n_in,
        .a = batch->plan->delta[l].row + i,
        .b = fbp_at(net, batch->theta, layer->w),
        .ldb = layer->n_out,
        .m = 1,
        .n = layer->n_in,
        .k = layer->n_out,
        .epi = FBP_EPI_NONE,
    });
    net->kernels->multiply_rows(&a, 1, layer->n_in, scratch->column, layer->n_in);
    return square_of(net, scratch->column, layer->n_in);
}

/* ‖∂J_i/∂(parameters of layer l)‖ */
static double sample_norm(const fbp_batch_t *batch, const fbp_scratch_t *scratch, int l,
                          ptrdiff_t i) {
    const fbp_plan_t *plan = batch->plan;
    const fastbp_net_t *net = plan->net;
    const fbp_layer_t *layer = &net->layer[l - 1];
    const bool scaled = layer->has.scale;
    const double a2 = scaled ? scaled_square(batch, scratch, l, i)
                             : square_of(net, plan->a[l - 1].row[i], layer->n_in);
    const double delta2 = square_of(net, plan->delta[l].row[i], layer->n_out);
    const double bias = layer->has.no_bias ? 0 : 1;
    const bool norm = layer->has.norm != FASTBP_NORM_NONE;
    if (!norm && !scaled && layer->n_constants == 0) return sqrt(delta2) * sqrt(a2 + bias);
    double rest = scaled ? slope_square(batch, scratch, l, i) : 0;
    if (layer->n_constants > 0) {
        constants_gradient(plan, l, i, scratch->column);
        rest += square_of(net, scratch->column, layer->n_constants);
    }
    if (!norm) return sqrt(delta2 * (a2 + bias) + rest);
    void *gain = scratch->column, *shift = fbp_at(net, gain, (size_t)net->max_width);
    fbp_sample_norm_sums(batch, l, i, gain, shift);
    rest += square_of(net, gain, layer->n_out);
    if (fbp_norm_shifts(layer)) rest += square_of(net, shift, layer->n_out);
    return sqrt(delta2 * (a2 + bias) + rest);
}

static void run_norms(void *context, fbp_team_t *team, int worker) {
    const samples_t *samples = context;
    const fbp_plan_t *plan = samples->batch->plan;
    const int n_layers = plan->net->n_layers;
    double *out = samples->out;
    for (fbp_block_t block; fbp_next_block(samples->batch, team, &block);)
        for (ptrdiff_t i = block.row0; i < block.row0 + block.rows; ++i)
            for (int l = 1; l <= n_layers; ++l)
                out[i * n_layers + l - 1] =
                    sample_norm(samples->batch, &plan->scratch[worker], l, i);
}

fastbp_status_t fastbp_gradient_norms(fastbp_pass_t *pass, double *out) {
    if (!fbp_pass_has_delta(pass)) return FASTBP_ERR_STATE;
    if (pass->batch.sparse || !fbp_pass_is_exact(pass)) return FASTBP_ERR_ARGUMENT;
    samples_t samples = {&pass->batch, out};
    return fbp_pass_run(pass, FBP_FORWARD_WORK, run_norms, &samples);
}

/* ---- a^l ⊙ ∂J_i/∂a^l ---- */

typedef struct {
    const fbp_batch_t *batch;
    void *const *out; /* by l = 0 … L: [rows, n_l], dense */
} relevance_t;

/* x += y; both are dense. */
static void add_to(const fastbp_net_t *net, void *x, const void *y, ptrdiff_t rows,
                   ptrdiff_t cols) {
    for (ptrdiff_t i = 0; i < rows; ++i) {
        const void *from = fbp_at(net, y, (size_t)(i * cols));
        void *to = fbp_at(net, x, (size_t)(i * cols));
        const fbp_mat_t row = {to, 1, cols, cols};
        net->kernels->add_rows(&row, &from, to, cols);
    }
}

static void run_relevance(void *context, fbp_team_t *team, int worker) {
    const relevance_t *relevance = context;
    const fbp_batch_t *batch = relevance->batch;
    const fbp_plan_t *plan = batch->plan;
    const fastbp_net_t *net = plan->net;
    const fbp_scratch_t *scratch = &plan->scratch[worker];
    const int top = net->n_layers;
    fbp_pass_copy(batch, team, 1, top, FBP_COPY_TRANSPOSED);
    fbp_team_barrier(team);
    for (fbp_block_t block; fbp_next_block(batch, team, &block);) {
        const ptrdiff_t row0 = block.row0, rows = block.rows;
        ptrdiff_t units = net->layer[top - 1].n_out;
        void *above = fbp_at(net, relevance->out[top], (size_t)(row0 * units));
        if (net->loss.fn == NULL) fbp_loss_slope_rows(batch, scratch, row0, rows, above, units);
        for (int l = top; l >= 1; --l) {
            const ptrdiff_t below = net->layer[l - 1].n_in;
            void *slope = fbp_at(net, relevance->out[l - 1], (size_t)(row0 * below));
            fbp_slope_rows(batch, scratch, l, row0, rows, slope, below);
            if (net->layer[l - 1].has.residual) add_to(net, slope, above, rows, below);
            net->kernels->multiply_rows(plan->a[l].row + row0, rows, units, above, units);
            above = slope;
            units = below;
        }
        net->kernels->multiply_rows(plan->a[0].row + row0, rows, units, above, units);
    }
}

/* out = ∂J_i/∂a^L of the caller's own loss, by way of δ^L; false if the loss fails. */
static bool own_slopes(fastbp_pass_t *pass, void *out) {
    const fastbp_net_t *net = pass->plan.net;
    const int l = net->n_layers;
    const ptrdiff_t rows = pass->batch.rows, n_out = net->layer[l - 1].n_out;
    const fbp_rows_t *delta = &pass->plan.delta[l];
    if (!fbp_custom_loss(&pass->batch, fbp_fpmode())) return false;
    const fbp_mat_t slopes = {delta->at, rows, n_out, delta->ld};
    net->kernels->act_forward(FASTBP_ACT_IDENTITY, 0, &slopes, out, n_out);
    return fastbp_pull_back(pass, l, delta->at, delta->ld) == FASTBP_OK;
}

fastbp_status_t fastbp_relevance(fastbp_pass_t *pass, const void *theta, void *const *out) {
    if (!fbp_pass_has_delta(pass) || !pass->has_targets) return FASTBP_ERR_STATE;
    if (pass->batch.sparse || !fbp_pass_is_exact(pass)) return FASTBP_ERR_ARGUMENT;
    if (pass->plan.net->loss.fn != NULL && !own_slopes(pass, out[pass->plan.net->n_layers]))
        return FASTBP_ERR_CALL;
    pass->batch.theta = theta;
    relevance_t relevance = {&pass->batch, out};
    return fbp_pass_run(pass, FBP_FORWARD_WORK, run_relevance, &relevance);
}
