/* batch_norm.c: see batch_norm.h. Ioffe, Szegedy, "Batch normalization", ICML 2015. */
#include "batch_norm.h"

#include <string.h>

/* The vectors of plan->stats[l]. */
enum { MEAN, VAR, GAIN_SUMS, SHIFT_SUMS };
_Static_assert(SHIFT_SUMS + 1 == (int)FBP_BATCH_STATS, "a plan has room for all vectors");

/* Vectors of a strip: as many as norm_moments sums at once. */
enum { STRIP_VECTORS = 4 };

static void *vector_of(const fbp_plan_t *plan, int l, int which, ptrdiff_t unit) {
    const ptrdiff_t n = plan->net->layer[l - 1].n_out;
    return fbp_at(plan->net, plan->stats[l], (size_t)(which * n + unit));
}

void fbp_choose_statistics(const fbp_batch_t *batch, bool of_batch) {
    const fbp_plan_t *plan = batch->plan;
    const fastbp_net_t *net = plan->net;
    for (int l = 1; l <= net->n_layers; ++l) {
        const fbp_layer_t *layer = &net->layer[l - 1];
        const bool normed = layer->has.norm == FASTBP_NORM_BATCH;
        const size_t bytes = (size_t)layer->n_out * net->kernels->elem_size;
        plan->by_batch[l] = normed && of_batch && !layer->frozen;
        if (!normed || plan->by_batch[l]) continue;
        memcpy(vector_of(plan, l, MEAN, 0), fbp_at(net, batch->theta, layer->mean), bytes);
        memcpy(vector_of(plan, l, VAR, 0), fbp_at(net, batch->theta, layer->var), bytes);
    }
}

void fbp_set_statistics(const fbp_batch_t *batch, int l, fbp_norm_t *norm) {
    const fbp_plan_t *plan = batch->plan;
    const fbp_layer_t *layer = &plan->net->layer[l - 1];
    const bool kept = plan->stats[l] != NULL;
    norm->mean = kept ? vector_of(plan, l, MEAN, 0) : fbp_at(plan->net, batch->theta, layer->mean);
    norm->var = kept ? vector_of(plan, l, VAR, 0) : fbp_at(plan->net, batch->theta, layer->var);
    if (!plan->by_batch[l]) return;
    norm->gain_sums = vector_of(plan, l, GAIN_SUMS, 0);
    norm->shift_sums = vector_of(plan, l, SHIFT_SUMS, 0);
    norm->batch_rows = batch->rows;
}

/* ---- sums over a batch ---- */

/* Units unit … unit + cols − 1 of a matrix with all rows of the batch. */
static fbp_mat_t strip_of(const fbp_batch_t *batch, const fbp_rows_t *rows, ptrdiff_t unit,
                          ptrdiff_t cols) {
    return (fbp_mat_t){fbp_at(batch->plan->net, rows->at, (size_t)unit), batch->rows, cols,
                       rows->ld};
}

static void sum_moments(const fbp_batch_t *batch, int l, ptrdiff_t unit, ptrdiff_t cols) {
    const fbp_plan_t *plan = batch->plan;
    const fbp_mat_t z = strip_of(batch, &plan->z[l], unit, cols);
    plan->net->kernels->norm_moments(&z, vector_of(plan, l, MEAN, unit),
                                     vector_of(plan, l, VAR, unit));
}

static void sum_slopes(const fbp_batch_t *batch, int l, ptrdiff_t unit, ptrdiff_t cols) {
    const fbp_plan_t *plan = batch->plan;
    const fbp_mat_t z = strip_of(batch, &plan->z[l], unit, cols);
    const fbp_mat_t g = strip_of(batch, &plan->delta[l], unit, cols);
    const fbp_norm_t norm = {
        .kind = FASTBP_NORM_BATCH,
        .eps = plan->net->layer[l - 1].has.norm_eps,
        .mean = vector_of(plan, l, MEAN, unit),
        .var = vector_of(plan, l, VAR, unit),
    };
    plan->net->kernels->norm_gradient(&norm, &z, NULL, &g, NULL,
                                      vector_of(plan, l, GAIN_SUMS, unit),
                                      vector_of(plan, l, SHIFT_SUMS, unit));
}

static void sum_strips(const fbp_batch_t *batch, int l, fbp_team_t *team, fbp_profile_t *profile,
                       fastbp_phase_t phase,
                       void (*sum)(const fbp_batch_t *, int, ptrdiff_t, ptrdiff_t)) {
    const fastbp_net_t *net = batch->plan->net;
    const ptrdiff_t n = net->layer[l - 1].n_out, width = STRIP_VECTORS * net->kernels->lanes;
    fbp_team_barrier(team);
    fbp_lap(profile, 0, FASTBP_PHASE_WAITING);
    for (ptrdiff_t unit; (unit = width * fbp_team_next(team)) < n;) {
        sum(batch, l, unit, fbp_min(width, n - unit));
        fbp_lap(profile, l, phase);
    }
    fbp_team_barrier(team);
    fbp_lap(profile, 0, FASTBP_PHASE_WAITING);
}

void fbp_sum_moments(const fbp_batch_t *batch, int l, fbp_team_t *team, fbp_profile_t *profile) {
    sum_strips(batch, l, team, profile, FASTBP_PHASE_FORWARD, sum_moments);
}

void fbp_sum_slopes(const fbp_batch_t *batch, int l, fbp_team_t *team, fbp_profile_t *profile) {
    sum_strips(batch, l, team, profile, FASTBP_PHASE_GRADIENT, sum_slopes);
}

const void *fbp_stats_mean(const fbp_plan_t *plan, int l) { return vector_of(plan, l, MEAN, 0); }

const void *fbp_stats_var(const fbp_plan_t *plan, int l) { return vector_of(plan, l, VAR, 0); }

const void *fbp_gain_sums(const fbp_plan_t *plan, int l) {
    return vector_of(plan, l, GAIN_SUMS, 0);
}

const void *fbp_shift_sums(const fbp_plan_t *plan, int l) {
    return vector_of(plan, l, SHIFT_SUMS, 0);
}

/* ---- running statistics ---- */

/* to = keep · from + share · x, by the kernel that adds a penalty to a gradient. */
static void mix(const fastbp_net_t *net, ptrdiff_t n, double keep, const void *from, double share,
                const void *x, void *to) {
    const fbp_mat_t row = {x, 1, n, n};
    const fbp_update_t update = {.grad_scale = share, .l2 = keep, .weights = from, .ldw = n};
    net->kernels->write_gradient(&update, &row, to, n);
}

void fbp_move_statistics(const fbp_batch_t *batch, int l, const void *from, void *to) {
    const fbp_plan_t *plan = batch->plan;
    const fastbp_net_t *net = plan->net;
    const fbp_layer_t *layer = &net->layer[l - 1];
    if (!plan->by_batch[l]) return;
    const double share = layer->has.norm_momentum, rows = (double)batch->rows;
    mix(net, layer->n_out, 1 - share, fbp_at(net, from, layer->mean), share,
        vector_of(plan, l, MEAN, 0), fbp_at(net, to, layer->mean));
    mix(net, layer->n_out, 1 - share, fbp_at(net, from, layer->var), share * rows / (rows - 1),
        vector_of(plan, l, VAR, 0), fbp_at(net, to, layer->var));
}

bool fbp_variances_fit(const fastbp_net_t *net, const void *theta) {
    const bool f64 = net->dtype == FASTBP_F64;
    bool negative = false;
    for (const fbp_layer_t *layer = net->layer; layer < net->layer + net->n_layers; ++layer) {
        if (layer->has.norm != FASTBP_NORM_BATCH) continue;
        const void *var = fbp_at(net, theta, layer->var);
        for (ptrdiff_t k = 0; k < layer->n_out; ++k)
            negative |= f64 ? ((const double *)var)[k] < 0 : ((const float *)var)[k] < 0;
    }
    return !negative;
}

static size_t bytes_of(const fastbp_net_t *net, int l) {
    const fbp_layer_t *layer = &net->layer[l - 1];
    if (layer->has.norm != FASTBP_NORM_BATCH) return 0;
    return 2 * (size_t)layer->n_out * net->kernels->elem_size; /* var follows mean */
}

void fbp_copy_statistics(const fastbp_net_t *net, int l, const void *from, void *to) {
    const size_t bytes = bytes_of(net, l), at = net->layer[l - 1].mean;
    if (bytes > 0) memcpy(fbp_at(net, to, at), fbp_at(net, from, at), bytes);
}

void fbp_clear_statistics(const fastbp_net_t *net, int l, void *to) {
    const size_t bytes = bytes_of(net, l);
    if (bytes > 0) memset(fbp_at(net, to, net->layer[l - 1].mean), 0, bytes);
}
