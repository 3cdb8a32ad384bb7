/* tangent.c: derivatives along a direction, by the R-operator: R{x} is the derivative of x as theta
 * moves along V and the inputs move along dX (Pearlmutter, "Fast exact multiplication by the
 * Hessian", Neural Computation 6, 1994). With g^l = ∂J_i/∂a^l = δ^{l+1} W^{l+1}ᵀ:
 *   R{z^l} = R{a^{l−1}} W^l + a^{l−1} V^l + v^l      R{a^l} = σ' ⊙ R{z^l}
 *   R{g^l} = R{δ^{l+1}} W^{l+1}ᵀ + δ^{l+1} V^{l+1}ᵀ  R{δ^l} = σ' ⊙ R{g^l} + g^l ⊙ σ'' ⊙ R{z^l}
 *   H V for W^l: (1/S) Σ s_i (a^{l−1ᵀ} R{δ^l} + R{a^{l−1}}ᵀ δ^l) + l2 V^l
 *   H V for b^l: (1/S) Σ s_i R{δ^l}
 * R{z}, R{a} and R{δ} are in a plan like that of z, a and δ; its copies of weights are those of V.
 * A formula f has trained constants c, which move too: R{a} = ∂f/∂n R{n} + ∂f/∂c R{c}, and likewise
 * R{δ^l} and R{∂J_i/∂c}; all by its programs. H V for c is (1/S) Σ s_i R{∂J_i/∂c}.
 * With a scale s, W stands for s ⊙ W, whose derivative is v^s ⊙ W + s ⊙ V, and sums G of W are
 * s ⊙ G for W and Σ_k W_jk G_jk for s; so H V has the sums of G = aᵀδ with V instead of W, too.
 * A norm n = norm(z) comes between z and σ in both directions, by norm_curve.inc. With d = ∂J_i/∂n,
 * H V for its gain is (1/S) Σ s_i (R{d} ⊙ x̂ + d ⊙ R{x̂}), for its shift (1/S) Σ s_i R{d}. */
#include "activate.h"
#include "batch_norm.h"
#include "pass.h"
#include "products.h"
#include "update.h"

/* The pass, its tangent, and mixtures of both, which combine the δ of one with the weights of the
 * other. In a layer with a norm, the tangent's stats hold R{r}; its z holds R{z}, then R{x̂}, then
 * s_i d ⊙ R{x̂}; its dn holds R{n}, then R{d}. Its dc holds R{∂J_i/∂c}. */
typedef struct {
    const fbp_batch_t *batch;
    fbp_plan_t *tangent;
    const void *v; /* the direction of theta, or NULL */
    bool moved_x;  /* tangent->a[0] holds dX */
    fbp_plan_t moved_plan, crossed_plan;
    fbp_batch_t moved;   /* W with R{δ}: R{δ} Wᵀ */
    fbp_batch_t summed;  /* a with R{δ}, V for the penalty: aᵀ R{δ} + l2 V */
    fbp_batch_t crossed; /* R{a} and V with δ: δ Vᵀ and R{a}ᵀ δ */
    fbp_batch_t pulled;  /* a and δ with the scale and W of V, for layers with a scale */
    fastbp_net_t smooth; /* the network without l1, whose second derivative is 0 */
    double grad_scale;
    void *out;
} curve_t;

/* Makes pass->tangent, a plan like the pass's own for R{z}, R{a} and R{δ}, whose `scaled` is a
 * spare matrix per layer. A second call does nothing. */
static fastbp_status_t make_tangent(fastbp_pass_t *pass) {
    const fbp_plan_t *plan = &pass->plan;
    fbp_plan_t *tangent = &pass->tangent;
    if (tangent->net != NULL) return FASTBP_OK;
    fastbp_status_t status =
        fbp_plan_init(tangent, plan->net, FBP_PLAN_INSPECT, plan->capacity, plan->capacity, 1);
    if (status == FASTBP_OK) status = fbp_plan_add_scaled(tangent);
    if (status != FASTBP_OK) fbp_plan_free(tangent);
    return status;
}

/* x += y for a block. */
static void add_rows(const fbp_plan_t *t, const fbp_rows_t *x, const fbp_block_t *block,
                     ptrdiff_t cols, const fbp_rows_t *y) {
    const fbp_mat_t sum = fbp_block_of(t, x, block->row0, block->rows, cols);
    t->net->kernels->add_rows(&sum, y->row + block->row0, fbp_row_at(t, x, block->row0), x->ld);
}

static void copy_rows(const fbp_plan_t *t, const fbp_rows_t *from, const fbp_block_t *block,
                      ptrdiff_t cols, const fbp_rows_t *to) {
    const fbp_mat_t rows = fbp_block_of(t, from, block->row0, block->rows, cols);
    t->net->kernels->act_forward(FASTBP_ACT_IDENTITY, 0, &rows, fbp_row_at(t, to, block->row0),
                                 to->ld);
}

/* x ⊙= σ'(n) for a block, or the product with the Jacobian of softmax. */
static void times_slope(const curve_t *c, int l, const fbp_block_t *block, const fbp_rows_t *x) {
    const fbp_plan_t *plan = c->batch->plan;
    const fbp_layer_t *layer = &plan->net->layer[l - 1];
    const fbp_mat_t aux =
        fbp_block_of(plan, fbp_plan_slope_rows(plan, l), block->row0, block->rows, layer->n_out);
    plan->net->kernels->act_backward(layer->act, layer->alpha, &aux,
                                     fbp_row_at(c->tangent, x, block->row0), x->ld);
}

/* The buffer with R{n^l}; without a norm n = z. */
static const fbp_rows_t *moved_n(const fbp_plan_t *t, int l) {
    return t->dn[l].at != NULL ? &t->dn[l] : &t->z[l];
}

/* The arguments of the norm kernels for a block of layer l. */
static fbp_norm_curve_t norm_of(const curve_t *c, int l, const fbp_block_t *block) {
    const fbp_plan_t *t = c->tangent, *plan = c->batch->plan;
    const fastbp_net_t *net = t->net;
    const fbp_layer_t *layer = &net->layer[l - 1];
    const size_t row0 = (size_t)block->row0;
    const bool shifts = fbp_norm_shifts(layer), by_unit = layer->has.norm == FASTBP_NORM_BATCH;
    return (fbp_norm_curve_t){
        .eps = layer->has.norm_eps,
        .mean = by_unit ? fbp_stats_mean(plan, l) : NULL,
        .var = by_unit ? fbp_stats_var(plan, l) : NULL,
        .kind = (int)layer->has.norm,
        .gain = fbp_at(net, c->batch->theta, layer->gain),
        .moved_gain = c->v != NULL ? fbp_at(net, c->v, layer->gain) : NULL,
        .moved_shift = c->v != NULL && shifts ? fbp_at(net, c->v, layer->shift) : NULL,
        .rows = block->rows,
        .cols = layer->n_out,
        .z = fbp_row_at(plan, &plan->z[l], block->row0),
        .stats = by_unit ? NULL : fbp_at(net, plan->stats[l], 2 * row0),
        .ldz = plan->z[l].ld,
        .moved = fbp_row_at(t, &t->z[l], block->row0),
        .moved_r = by_unit ? NULL : fbp_at(net, t->stats[l], row0),
        .ldm = t->z[l].ld,
        .g = fbp_row_at(plan, &plan->dn[l], block->row0),
        .ldg = plan->dn[l].ld,
    };
}

/* ---- forward ---- */

/* out[rows,n_out] = a[rows,n_in] · W^l (+ bias), W^l as the products of a batch read it */
static void times_weights(const curve_t *c, const fbp_rows_t *a, const fbp_batch_t *from, bool bias,
                          int l, const fbp_block_t *block, const fbp_scratch_t *scratch,
                          const fbp_rows_t *out) {
    const fastbp_net_t *net = c->tangent->net;
    const fbp_layer_t *layer = &net->layer[l - 1];
    const fbp_gemm_t product = {
        .c = fbp_row_at(c->tangent, out, block->row0),
        .ldc = out->ld,
        .a = a->row + block->row0,
        .b = fbp_weights_of(from, l),
        .ldb = layer->n_out,
        .m = block->rows,
        .n = layer->n_out,
        .k = layer->n_in,
        .bias = bias && !layer->has.no_bias ? fbp_at(net, from->theta, layer->b) : NULL,
        .blocking = net->blocking,
        .pack = scratch->pack,
    };
    net->kernels->gemm_nn(&product);
}

/* R{z^l} and R{a^l} of a block. */
static void forward_layer(const curve_t *c, int l, const fbp_block_t *block,
                          const fbp_scratch_t *scratch) {
    fbp_plan_t *t = c->tangent;
    const fbp_layer_t *layer = &t->net->layer[l - 1];
    const ptrdiff_t n_out = layer->n_out;
    const bool carried = l > 1 || c->moved_x; /* R{a^{l−1}} is not 0 */
    const fbp_rows_t *rz = &t->z[l], *ra = &t->a[l];
    if (c->v != NULL)
        times_weights(c, &c->batch->plan->a[l - 1], &c->crossed, true, l, block, scratch, rz);
    if (carried)
        times_weights(c, &t->a[l - 1], c->batch, false, l, block, scratch, c->v != NULL ? ra : rz);
    if (carried && c->v != NULL) add_rows(t, rz, block, n_out, ra);
    if (layer->has.norm != FASTBP_NORM_NONE) {
        const fbp_norm_curve_t norm = norm_of(c, l, block);
        const fbp_rows_t *rn = moved_n(t, l);
        t->net->kernels->norm_push(&norm, fbp_row_at(t, rn, block->row0), rn->ld);
    }
    if (layer->formula != NULL) {
        const fbp_mat_t rn = fbp_block_of(t, moved_n(t, l), block->row0, block->rows, n_out);
        fbp_formula_push(c->batch, scratch, l, block->row0, c->v, &rn,
                         fbp_row_at(t, ra, block->row0), ra->ld);
    } else {
        copy_rows(t, moved_n(t, l), block, n_out, ra);
        times_slope(c, l, block, ra);
    }
    if (layer->has.residual && carried) add_rows(t, ra, block, n_out, &t->a[l - 1]);
}

/* ---- backward ---- */

/* bend_layer by the programs of a formula. */
static void bend_formula(const curve_t *c, int l, const fbp_block_t *block,
                         const fbp_scratch_t *scratch) {
    const fbp_plan_t *t = c->tangent;
    const ptrdiff_t row0 = block->row0, n_out = t->net->layer[l - 1].n_out;
    const fbp_rows_t *delta = &t->delta[l];
    const fbp_mat_t rn = fbp_block_of(t, moved_n(t, l), row0, block->rows, n_out);
    const fbp_mat_t g = fbp_block_of(t, &t->scaled[l], row0, block->rows, n_out);
    fbp_formula_curve(c->batch, scratch, l, row0, c->v, &rn, &g, fbp_row_at(t, delta, row0),
                      delta->ld, &t->dc[l]);
}

/* Turns delta[l] = R{g^l} into R{d} = σ' ⊙ R{g^l} + g^l ⊙ σ'' ⊙ R{n^l}, which is R{δ^l} without a
 * norm. g^l is in scaled[l], unless σ'' is 0. */
static void bend_layer(const curve_t *c, int l, const fbp_block_t *block,
                       const fbp_scratch_t *scratch) {
    const fbp_plan_t *t = c->tangent, *plan = c->batch->plan;
    const fbp_layer_t *layer = &t->net->layer[l - 1];
    if (layer->formula != NULL) {
        bend_formula(c, l, block, scratch);
        return;
    }
    times_slope(c, l, block, &t->delta[l]);
    if (fbp_act_is_straight(layer->act)) return;
    const ptrdiff_t row0 = block->row0;
    const fbp_rows_t *n = plan->n[l].at != NULL ? &plan->n[l] : &plan->z[l]; /* if fbp_act_by_z */
    const fbp_rows_t *rn = moved_n(t, l);
    const fbp_curve_t curve = {
        .act = layer->act,
        .alpha = layer->alpha,
        .rows = block->rows,
        .cols = layer->n_out,
        .z = fbp_row_at(plan, n, row0),
        .ldz = n->ld,
        .a = fbp_row_at(plan, fbp_activated(plan, l), row0),
        .lda = fbp_activated(plan, l)->ld,
        .rz = fbp_row_at(t, rn, row0),
        .ldrz = rn->ld,
        .ra = fbp_row_at(t, &t->a[l], row0),
        .ldra = t->a[l].ld,
        .g = fbp_row_at(t, &t->scaled[l], row0),
        .ldg = t->scaled[l].ld,
        .delta = fbp_row_at(t, &t->delta[l], row0),
        .ldd = t->delta[l].ld,
    };
    t->net->kernels->act_curve(&curve);
}

/* Turns R{d} in delta[l] into R{δ^l}, and R{x̂} into s_i d ⊙ R{x̂}. */
static void bend_norm(const curve_t *c, int l, const fbp_block_t *block) {
    const fbp_plan_t *t = c->tangent, *plan = c->batch->plan;
    const fbp_kernels_t *kernels = t->net->kernels;
    const ptrdiff_t row0 = block->row0, rows = block->rows, n_out = t->net->layer[l - 1].n_out;
    const fbp_rows_t *delta = &t->delta[l], *kept = &t->dn[l], *rx = &t->z[l];
    const fbp_norm_curve_t norm = norm_of(c, l, block);
    kernels->norm_curve(&norm, fbp_row_at(t, delta, row0), delta->ld, fbp_row_at(t, kept, row0),
                        kept->ld);
    void *at = fbp_row_at(t, rx, row0);
    kernels->multiply_rows(plan->dn[l].row + row0, rows, n_out, at, rx->ld);
    if (!c->batch->weighted) return;
    const fbp_mat_t all = fbp_block_of(t, rx, row0, rows, n_out);
    kernels->scale_rows(&all, fbp_at(t->net, plan->weight, (size_t)row0), at, rx->ld);
}

/* R{δ^L} of a block. */
static void output_layer(const curve_t *c, const fbp_block_t *block, const fbp_scratch_t *scratch) {
    const fbp_plan_t *t = c->tangent;
    const int l = t->net->n_layers;
    const fbp_rows_t *delta = &t->delta[l], *g = &t->scaled[l];
    const ptrdiff_t n_out = t->net->layer[l - 1].n_out;
    const fbp_mat_t rz = fbp_block_of(t, &t->z[l], block->row0, block->rows, n_out);
    const fbp_mat_t ra = fbp_block_of(t, &t->a[l], block->row0, block->rows, n_out);
    void *rows = fbp_row_at(t, delta, block->row0);
    fbp_loss_curve_rows(c->batch, scratch, block->row0, &rz, &ra, rows, delta->ld);
    if (t->net->loss.fused) return;
    fbp_loss_slope_rows(c->batch, scratch, block->row0, block->rows, fbp_row_at(t, g, block->row0),
                        g->ld);
    bend_layer(c, l, block, scratch);
}

/* R{δ^l} of a block from R{δ^{l+1}} and δ^{l+1}. If the layer above is residual, R{g^l} and g^l
 * also get t->skip = R{g^{l+1}} and t->scaled[l + 1] = g^{l+1}. */
static void recursion_layer(const curve_t *c, int l, const fbp_block_t *block,
                            const fbp_scratch_t *scratch) {
    fbp_plan_t *t = c->tangent;
    const fbp_layer_t *layer = &t->net->layer[l - 1];
    const fbp_rows_t *delta = &t->delta[l], *spare = &t->scaled[l];
    const bool above_skips = t->net->layer[l].has.residual;
    const ptrdiff_t n_out = layer->n_out;
    void *rows = fbp_row_at(t, delta, block->row0), *other = fbp_row_at(t, spare, block->row0);
    fbp_slope_rows(&c->moved, scratch, l + 1, block->row0, block->rows, rows, delta->ld);
    fbp_slope_rows(&c->crossed, scratch, l + 1, block->row0, block->rows, other, spare->ld);
    add_rows(t, delta, block, n_out, spare);
    if (above_skips) add_rows(t, delta, block, n_out, &t->skip);
    if (layer->has.residual) copy_rows(t, delta, block, n_out, &t->skip);
    if (!fbp_act_is_straight(layer->act) || t->skip.at != NULL) {
        fbp_slope_rows(c->batch, scratch, l + 1, block->row0, block->rows, other, spare->ld);
        if (above_skips) add_rows(t, spare, block, n_out, &t->scaled[l + 1]);
    }
    bend_layer(c, l, block, scratch);
    if (layer->has.norm != FASTBP_NORM_NONE) bend_norm(c, l, block);
}

/* Adds raw sums, for W, gain or scale, to H V. */
static void add_sums(void *context, const fbp_tile_t *tile, const fbp_mat_t *sums, ptrdiff_t row,
                     ptrdiff_t column) {
    const curve_t *c = context;
    const fastbp_net_t *net = c->tangent->net;
    const fbp_layer_t *layer = &net->layer[tile->layer];
    const size_t in_w = layer->w + (size_t)row * (size_t)layer->n_out + (size_t)column;
    const size_t at = row < 0 ? fbp_tile_part(net, tile, (int)-row).offset : in_w;
    void *out = fbp_at(net, c->out, at);
    const fbp_update_t add = {
        .grad_scale = c->grad_scale, .l2 = 1, .weights = out, .ldw = layer->n_out};
    net->kernels->write_gradient(&add, sums, out, layer->n_out);
}

/* Adds Σ_i s_i d ⊙ R{x̂} for the gain of a layer; a task of the tile of unit 0. */
static void add_norm_sums(curve_t *c, const fbp_scratch_t *scratch, const fbp_tile_t *tile) {
    const fbp_plan_t *t = c->tangent;
    const fbp_layer_t *layer = &t->net->layer[tile->layer];
    const ptrdiff_t n_out = layer->n_out;
    if (tile->unit0 != 0 || layer->has.norm == FASTBP_NORM_NONE) return;
    const fbp_mat_t all = fbp_block_of(t, &t->z[tile->layer + 1], 0, c->batch->rows, n_out);
    t->net->kernels->column_sums(&all, NULL, scratch->column);
    const fbp_mat_t sums = {scratch->column, 1, n_out, n_out};
    add_sums(c, tile, &sums, FBP_ROW_GAIN, 0);
}

/* scale ⊙ W and its derivative along V, which the products read in layers with a scale. */
static void scale_weights(const curve_t *c, fbp_team_t *team) {
    const fastbp_net_t *net = c->tangent->net;
    if (!net->has_scale) return;
    for (ptrdiff_t t = fbp_team_next(team); t < net->n_tiles; t = fbp_team_next(team)) {
        fbp_scale_tile(c->batch, &net->tile[t]);
        if (c->v != NULL) fbp_scale_tile(&c->crossed, &net->tile[t]);
    }
    fbp_team_barrier(team);
}

static void run_curve(void *context, fbp_team_t *team, int worker) {
    static const void *const none[FBP_MAX_WARM] = {NULL};
    curve_t *c = context;
    const fastbp_net_t *net = c->tangent->net;
    const int top = net->n_layers;
    const fbp_scratch_t *scratch = &c->batch->plan->scratch[worker];
    fbp_pass_copy(c->batch, team, 2, top, FBP_COPY_TRANSPOSED);
    fbp_team_barrier(team);
    fbp_pass_copy(&c->crossed, team, 2, top, FBP_COPY_TRANSPOSED);
    fbp_team_barrier(team);
    scale_weights(c, team);
    for (fbp_block_t block; fbp_next_block(c->batch, team, &block);) {
        for (int l = 1; l <= top; ++l) forward_layer(c, l, &block, scratch);
        output_layer(c, &block, scratch);
        for (int l = top - 1; l >= 1; --l) recursion_layer(c, l, &block, scratch);
        fbp_weigh_rows(c->batch, block.row0, block.rows);
        fbp_weigh_rows(&c->summed, block.row0, block.rows);
    }
    fbp_team_barrier(team);
    for (ptrdiff_t t = fbp_team_next(team); t < net->n_tiles; t = fbp_team_next(team)) {
        const fbp_tile_t *tile = &net->tile[t];
        fbp_gradient_tile(&c->summed, scratch, tile, c->grad_scale, c->out);
        if (tile->layer > 0) fbp_weight_tile(&c->crossed, scratch, tile, add_sums, c, none);
        if (net->layer[tile->layer].has.scale)
            fbp_weight_tile(&c->pulled, scratch, tile, add_sums, c, none);
        add_norm_sums(c, scratch, tile);
    }
}

static void run_tangent(void *context, fbp_team_t *team, int worker) {
    const curve_t *c = context;
    scale_weights(c, team);
    for (fbp_block_t block; fbp_next_block(c->batch, team, &block);)
        for (int l = 1; l <= c->tangent->net->n_layers; ++l)
            forward_layer(c, l, &block, &c->batch->plan->scratch[worker]);
}

/* ---- calls ---- */

fastbp_status_t fastbp_jvp(fastbp_pass_t *pass, const void *theta, const void *dx, ptrdiff_t lddx,
                           const void *dtheta, void *out) {
    const fastbp_net_t *net = pass->plan.net;
    if (pass->batch.rows == 0) return FASTBP_ERR_STATE;
    if ((dx == NULL && dtheta == NULL) || pass->batch.sparse || !fbp_pass_is_exact(pass))
        return FASTBP_ERR_ARGUMENT;
    fastbp_status_t status = make_tangent(pass);
    if (status != FASTBP_OK) return status;
    pass->batch.theta = theta;
    fbp_plan_t *tangent = &pass->tangent;
    curve_t c = {.batch = &pass->batch, .tangent = tangent, .v = dtheta, .moved_x = dx != NULL};
    c.crossed = pass->batch;
    c.crossed.plan = tangent;
    c.crossed.theta = dtheta;
    c.crossed.around = theta;
    for (ptrdiff_t i = 0; dx != NULL && i < pass->batch.rows; ++i)
        tangent->a[0].row[i] = fbp_at(net, dx, (size_t)((ptrdiff_t)i * lddx));
    status = fbp_pass_run(pass, (fbp_work_t){4, 0}, run_tangent, &c);
    if (status != FASTBP_OK) return status;
    const fbp_rows_t *ra = &tangent->a[net->n_layers];
    const ptrdiff_t n_out = net->layer[net->n_layers - 1].n_out;
    const fbp_mat_t moved = {ra->at, pass->batch.rows, n_out, ra->ld};
    net->kernels->act_forward(FASTBP_ACT_IDENTITY, 0, &moved, out, n_out);
    return FASTBP_OK;
}

fastbp_status_t fastbp_hvp(fastbp_pass_t *pass, const void *theta, const void *v, void *out) {
    const fastbp_net_t *net = pass->plan.net;
    fbp_plan_t *plan = &pass->plan;
    if (!fbp_pass_has_delta(pass) || !pass->has_targets) return FASTBP_ERR_STATE;
    if (pass->batch.sparse || net->loss.fn != NULL || !fbp_pass_is_exact(pass))
        return FASTBP_ERR_ARGUMENT;
    fastbp_status_t status = make_tangent(pass);
    if (status == FASTBP_OK && pass->batch.weighted) status = fbp_plan_add_scaled(plan);
    if (status != FASTBP_OK) return status;
    pass->batch.theta = theta;
    fbp_plan_t *tangent = &pass->tangent;
    curve_t c = {.batch = &pass->batch, .tangent = tangent, .v = v, .out = out};
    const fbp_fpmode_t callers_mode = fbp_flush_subnormals();
    c.grad_scale = 1 / fbp_weight_sum(&pass->batch);
    fbp_set_fpmode(callers_mode);
    c.smooth = *net;
    c.smooth.l1 = 0;
    c.moved_plan = *plan;
    c.moved_plan.net = &c.smooth;
    c.moved_plan.delta = tangent->delta;
    c.moved_plan.scaled = tangent->scaled;
    c.moved_plan.dn = tangent->dn;
    c.moved_plan.dc = tangent->dc;
    c.crossed_plan = *tangent;
    c.crossed_plan.delta = plan->delta;
    c.crossed_plan.scaled = plan->scaled;
    c.moved = c.summed = c.crossed = c.pulled = pass->batch;
    c.moved.plan = c.summed.plan = &c.moved_plan;
    c.crossed.plan = &c.crossed_plan;
    c.summed.theta = c.crossed.theta = c.pulled.theta = v;
    c.summed.around = c.crossed.around = theta;
    return fbp_pass_run(pass, (fbp_work_t){12, 8}, run_curve, &c);
}
