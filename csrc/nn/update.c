/* update.c: see update.h. */
#include "update.h"

#include "../base/fpmode.h"
#include "batch_norm.h"
#include "categories.h"
#include "muon.h"
#include "options.h"
#include "products.h"

#include <math.h>
#include <string.h>

/* A larger t could wrap to 0, for which Adam divides by 0. */
#define MOST_STEPS ((uint64_t)INT64_MAX)

/* Of Newton and Schulz: far more than any use. */
#define MOST_ITERATIONS 1000

/* Steps of a warm-up, whose square must not overflow. */
#define MOST_WARMUP 0x1p53

static bool is_fraction(double x) { return x >= 0 && x < 1; }
static bool is_positive(double x) { return x > 0 && isfinite(x); }

static bool valid_options(const fastbp_optimizer_t *o) {
    if (!(o->weight_decay >= 0) || !isfinite(o->weight_decay)) return false;
    if ((unsigned)o->clip > FASTBP_CLIP_GLOBAL_NORM ||
        (o->clip != FASTBP_CLIP_NONE && !(o->limit > 0)))
        return false;
    if (fbp_needs_gradient(o) && o->grad == NULL) return false;
    if (!(o->warmup >= 0 && o->warmup <= MOST_WARMUP)) return false;
    if (!(o->iterations >= 0 && o->iterations <= MOST_ITERATIONS && o->rms >= 0)) return false;
    return o->average == NULL || is_fraction(o->average_decay);
}

bool fbp_is_muon(const fastbp_optimizer_t *o) {
    return o->rule == FASTBP_RULE_MUON || o->rule == FASTBP_RULE_MUON_NESTEROV;
}

bool fbp_needs_gradient(const fastbp_optimizer_t *o) {
    return fbp_clips_norms(o) || fbp_is_muon(o);
}

bool fbp_is_free(const fastbp_optimizer_t *o) {
    return o->rule == FASTBP_RULE_FREE_SGD || o->rule == FASTBP_RULE_FREE_ADAM;
}

/* The number of moments of each rule, and the rule whose kernel makes its steps. */
static const struct {
    int n_moments, kernel;
} rules[] = {
#define RULE(CODE, name, n_moments, KERNEL)                                                        \
    [FASTBP_RULE_##CODE] = {n_moments, FASTBP_RULE_##KERNEL},
    FASTBP_RULES(RULE)
#undef RULE
};

/* Whether a rule divides by a number that needs eps so that it is not 0. */
static bool divides(fastbp_rule_t rule) {
    switch (rule) {
    case FASTBP_RULE_SGD:
    case FASTBP_RULE_MOMENTUM:
    case FASTBP_RULE_NESTEROV:
    case FASTBP_RULE_LION:
    case FASTBP_RULE_FREE_SGD:
    case FASTBP_RULE_RPROP: return false;
    default: return true;
    }
}

bool fbp_optimizer_valid(const fastbp_optimizer_t *o) {
    if ((o->lr_factors == NULL) != (o->decay_factors == NULL)) return false;
    if (o->t > MOST_STEPS) return false;
    if ((unsigned)o->rule >= FASTBP_RULE_COUNT || !is_positive(o->lr) || !valid_options(o))
        return false;
    for (int i = 0; i < rules[o->rule].n_moments; ++i)
        if (o->moment[i] == NULL) return false;
    if (divides(o->rule) && !(o->eps > 0)) return false;
    if (o->rule == FASTBP_RULE_RPROP &&
        !(o->shrink > 0 && o->shrink < 1 && o->grow > 1 && o->least > 0 && o->most >= o->least))
        return false;
    return is_fraction(o->momentum) && is_fraction(o->beta1) && is_fraction(o->beta2) &&
           is_fraction(o->dampening) && o->lr_decay >= 0 && o->momentum_decay >= 0;
}

/* ---- the constants of a step ---- */

/* The product μ_1 … μ_t of NAdam, μ_i = β1 (1 − q^i/2). It is computed from t, so it needs no
 * state. The loop ends early if the rest has no effect: 1 − product is 1, or all further factors
 * are β1. */
static double nadam_product(double beta1, double q, uint64_t t) {
    double product = 1, power = 1;
    for (uint64_t i = 1; i <= t && product > 1e-20; ++i) {
        power *= q;
        if (power < 0x1p-54) return product * pow(beta1, (double)(t - i + 1));
        product *= beta1 * (1 - 0.5 * power);
    }
    return product;
}

static void set_nadam(fbp_update_t *update, const fastbp_optimizer_t *o, double t) {
    const double mu = o->beta1 * (1 - 0.5 * pow(0.96, t * o->momentum_decay));
    const double next = o->beta1 * (1 - 0.5 * pow(0.96, (t + 1) * o->momentum_decay));
    const double product = nadam_product(o->beta1, pow(0.96, o->momentum_decay), (uint64_t)t);
    update->step_size = o->lr * (1 - mu) / (1 - product);
    update->ahead = o->lr * next / (1 - product * next) / update->step_size;
}

/* RAdam (Liu et al., 2020): Adam with a rectified step. In the first steps, when the variance of v
 * is not known yet, it does not divide by √v. */
static void set_radam(fbp_update_t *update, const fastbp_optimizer_t *o, double t) {
    const double power = pow(o->beta2, t), most = 2 / (1 - o->beta2) - 1;
    const double length = most - 2 * t * power / (1 - power);
    update->root_correction = length > 5;
    if (length > 5)
        update->step_size *= sqrt((1 - power) * (length - 4) * (length - 2) * most /
                                  ((most - 4) * (most - 2) * length));
    else update->eps = 1;
}

/* The schedule-free rules (Defazio et al., 2024): lr rises linearly to step `warmup`, and z_t has
 * the weight w_t = min(1, t/warmup)², over the sum of the weights so far, in x. */
static void set_free(fbp_update_t *update, const fastbp_optimizer_t *o, double t) {
    const double rising = fmin(t, o->warmup), rise = t < o->warmup ? t / o->warmup : 1;
    double sum = t - rising;
    if (rising > 0) sum += rising * (rising + 1) * (2 * rising + 1) / (6 * o->warmup * o->warmup);
    update->lr = update->step_size = o->lr * rise;
    update->share = rise * rise / sum;
    update->keep = 1;
    update->pull = o->decoupled ? update->lr * o->weight_decay : 0;
}

/* 1 − β^t. */
static double gathered(double beta, double t) { return beta > 0 ? 1 - pow(beta, t) : 1; }

fbp_update_t fbp_step_constants(const fastbp_optimizer_t *o, uint64_t t) {
    const double steps = (double)t;
    const bool dampened = o->rule == FASTBP_RULE_MOMENTUM && t > 1;
    fbp_update_t update = {
        .rule = rules[o->rule].kernel,
        .grad_scale = 1,
#define COPY(name) .name = o->name,
        FASTBP_HYPERS(COPY)
#undef COPY
            .clip = o->clip == FASTBP_CLIP_VALUE ? o->limit : INFINITY,
        .sign = o->maximize ? -1 : 1,
        .decay = o->decoupled ? 0 : o->weight_decay,
        .keep = o->decoupled ? 1 - o->lr * o->weight_decay : 1,
        .gain = dampened ? 1 - o->dampening : 1,
        .step_size = o->lr / gathered(o->beta1, steps),
        .root_correction = 1 / sqrt(gathered(o->beta2, steps)),
        .average_weight = t == o->average_start + 1 ? 1 : 1 - o->average_decay,
    };
    if (o->rule == FASTBP_RULE_NADAM) set_nadam(&update, o, steps);
    if (o->rule == FASTBP_RULE_RADAM) set_radam(&update, o, steps);
    if (fbp_is_free(o)) set_free(&update, o, steps);
    if (fbp_is_muon(o)) update.ahead = o->rule == FASTBP_RULE_MUON ? 1 : o->momentum;
    if (o->rule == FASTBP_RULE_ADAGRAD) update.step_size = o->lr / (1 + (steps - 1) * o->lr_decay);
    update.options = !fbp_rule_is_fused(update.rule) || o->weight_decay != 0 || o->maximize ||
                     o->clip == FASTBP_CLIP_VALUE || update.gain != 1 || o->average != NULL;
    return update;
}

/* The constants for a part of a layer, whose group may have its own rate and decay. Of Muon, only W
 * has its own rule; the rest has that of Adam. */
static fbp_update_t update_of(const fbp_update_t *update, const fastbp_optimizer_t *o, int layer,
                              int part) {
    static const int group[FBP_PARTS] = {
        [FBP_PART_W] = FASTBP_GROUP_WEIGHTS,
        [FBP_PART_B] = FASTBP_GROUP_BIAS,
        [FBP_PART_GAIN] = FASTBP_GROUP_NORM,
        [FBP_PART_SHIFT] = FASTBP_GROUP_NORM,
        [FBP_PART_CONSTANTS] = FASTBP_GROUP_CONSTANTS,
        [FBP_PART_SCALE] = FASTBP_GROUP_SCALE,
        [FBP_PART_FREQUENCIES] = FASTBP_GROUP_EMBEDDING,
        [FBP_PART_PHASES] = FASTBP_GROUP_EMBEDDING,
        [FBP_PART_PROJECTIONS] = FASTBP_GROUP_EMBEDDING,
        [FBP_PART_OFFSETS] = FASTBP_GROUP_EMBEDDING,
        [FBP_PART_VECTORS] = FASTBP_GROUP_EMBEDDING,
    };
    fbp_update_t own = *update;
    if (fbp_is_muon(o) && part != FBP_PART_W) own.rule = FASTBP_RULE_ADAM;
    if (o->lr_factors == NULL) return own;
    const int i = layer * FASTBP_GROUPS + group[part];
    const double decay = o->weight_decay * o->decay_factors[i];
    own.lr *= o->lr_factors[i];
    own.step_size *= o->lr_factors[i];
    if (fbp_is_free(o) && o->decoupled) own.pull = update->lr * decay;
    else if (o->decoupled) own.keep = 1 - update->lr * decay;
    else own.decay = decay;
    return own;
}

/* The place in theta of a strip of raw sums: its offset, and the distance between its rows. */
typedef struct {
    size_t offset;
    ptrdiff_t ld;
    bool penal; /* l1 and l2 apply: in W only */
} place_t;

static place_t place_of(const fastbp_net_t *net, const fbp_tile_t *tile, ptrdiff_t row,
                        ptrdiff_t column) {
    const fbp_layer_t *layer = &net->layer[tile->layer];
    if (row < 0) return (place_t){fbp_tile_part(net, tile, (int)-row).offset, layer->n_out, false};
    const size_t offset = layer->w + (size_t)row * (size_t)layer->n_out + (size_t)column;
    return (place_t){offset, layer->n_out, true};
}

/* ---- from sums to a gradient ---- */

typedef struct {
    const fbp_batch_t *batch;
    double scale;
    void *grad;
} gradient_t;

static void finish_gradient(void *context, const fbp_tile_t *tile, const fbp_mat_t *sums,
                            ptrdiff_t row, ptrdiff_t column) {
    const gradient_t *to = context;
    const fastbp_net_t *net = to->batch->plan->net;
    const place_t place = place_of(net, tile, row, column);
    const fbp_update_t update = {
        .grad_scale = to->scale,
        .l1 = place.penal ? net->l1 : 0,
        .l2 = place.penal ? net->l2 : 0,
        .weights = fbp_at(net, to->batch->theta, place.offset),
        .ldw = place.ld,
    };
    net->kernels->write_gradient(&update, sums, fbp_at(net, to->grad, place.offset), place.ld);
}

/* Writes the raw sums of rows of the tables of a tile to a gradient, or adds them; the gradient of
 * other rows is 0. */
static void write_tables(const fbp_batch_t *batch, const fbp_scratch_t *scratch,
                         const fbp_tile_t *tile, double scale, bool first, void *grad) {
    const fastbp_net_t *net = batch->plan->net;
    const fbp_part_t all = fbp_tile_part(net, tile, FBP_PART_VECTORS);
    int from = 0;
    const int n = fbp_tile_tables(net, tile, &from);
    if (first && n > 0)
        memset(fbp_at(net, grad, all.offset), 0, (size_t)all.count * net->kernels->elem_size);
    for (int c = from; c < from + n; ++c) {
        const fbp_table_t *table = &net->table[c];
        const fbp_table_rows_t rows = fbp_table_sums(batch, scratch, c);
        const size_t width = (size_t)table->width;
        for (ptrdiff_t i = 0; i < rows.n; ++i) {
            void *to = fbp_at(net, grad, table->at + (size_t)rows.code[i] * width);
            const fbp_mat_t sums = {fbp_at(net, rows.sums, (size_t)i * width), 1, table->width,
                                    table->width};
            /* to = scale·sums + l2·to: with l2 = 1 it adds */
            const fbp_update_t write = {
                .grad_scale = scale, .l2 = first ? 0 : 1, .weights = to, .ldw = table->width};
            net->kernels->write_gradient(&write, &sums, to, table->width);
        }
    }
}

void fbp_gradient_tile(const fbp_batch_t *batch, const fbp_scratch_t *scratch,
                       const fbp_tile_t *tile, double grad_scale, void *grad) {
    gradient_t to = {batch, grad_scale, grad};
    const void *const warm[FBP_MAX_WARM] = {batch->plan->state_is_cold ? grad : NULL};
    fbp_weight_tile(batch, scratch, tile, finish_gradient, &to, warm);
    fbp_vector_tile(batch, scratch, tile, finish_gradient, &to);
    write_tables(batch, scratch, tile, grad_scale, true, grad);
    if (tile->unit0 == 0) fbp_clear_statistics(batch->plan->net, tile->layer + 1, grad);
}

/* ---- from sums to the gradient of a batch in parts ---- */

typedef struct {
    const fastbp_net_t *net;
    bool first;
    void *grad;
} gather_t;

static void finish_gather(void *context, const fbp_tile_t *tile, const fbp_mat_t *sums,
                          ptrdiff_t row, ptrdiff_t column) {
    const gather_t *to = context;
    const place_t place = place_of(to->net, tile, row, column);
    void *grad = fbp_at(to->net, to->grad, place.offset);
    const fbp_update_t add = {
        .grad_scale = 1, .l2 = to->first ? 0 : 1, .weights = grad, .ldw = place.ld};
    to->net->kernels->write_gradient(&add, sums, grad, place.ld);
}

/* grad has no gradient of running statistics, but the statistics themselves, as the parts move
 * them. */
void fbp_gather_tile(const fbp_batch_t *batch, const fbp_scratch_t *scratch, const fbp_tile_t *tile,
                     bool first, void *grad) {
    gather_t to = {batch->plan->net, first, grad};
    if (to.net->layer[tile->layer].frozen) return;
    const void *const warm[FBP_MAX_WARM] = {batch->plan->state_is_cold ? grad : NULL};
    fbp_weight_tile(batch, scratch, tile, finish_gather, &to, warm);
    fbp_vector_tile(batch, scratch, tile, finish_gather, &to);
    write_tables(batch, scratch, tile, 1, first, grad);
    if (tile->unit0 == 0)
        fbp_move_statistics(batch, tile->layer + 1, first ? batch->theta : grad, grad);
}

void fbp_close_tile(const fastbp_net_t *net, const fbp_tile_t *tile, double grad_scale,
                    const void *theta, void *grad) {
    if (net->layer[tile->layer].frozen) return;
    for (int part = 0; part < FBP_PARTS; ++part) {
        const fbp_part_t at = fbp_tile_part(net, tile, part);
        if (at.count == 0) continue;
        const fbp_mat_t sums = {fbp_at(net, grad, at.offset), 1, at.count, at.count};
        const fbp_update_t update = {
            .grad_scale = grad_scale,
            .l1 = part == FBP_PART_W ? net->l1 : 0,
            .l2 = part == FBP_PART_W ? net->l2 : 0,
            .weights = fbp_at(net, theta, at.offset),
            .ldw = at.count,
        };
        net->kernels->write_gradient(&update, &sums, fbp_at(net, grad, at.offset), at.count);
    }
}

/* ---- from sums to new parameters ---- */

typedef struct {
    const fbp_batch_t *batch;
    fbp_update_t *update; /* of W; of every part, if there are no factors */
    const fastbp_optimizer_t *optimizer;
    void *theta;
    const fbp_update_t *shared; /* without factors; NULL if there are none */
} step_t;

/* The place of element `offset` of theta in a moment or the average. */
static void *vector_at(const fastbp_net_t *net, const fastbp_optimizer_t *o, void *vector,
                       size_t offset) {
    return vector != NULL ? fbp_at(net, vector, offset - o->state_first) : NULL;
}

/* The step of one tile of sums and of the state that belongs to them. */
static void make_step(const fastbp_net_t *net, const fbp_update_t *update, const fbp_mat_t *sums,
                      const fbp_state_tile_t *state) {
    if (update->options) net->kernels->update_rule(update, sums, state);
    else
        net->kernels->update(update, sums, state->theta, state->moment[0], state->moment[1],
                             state->ld);
}

/* Makes the step of `sums` on theta, moments and average, from `offset` on; rows are `ld` apart.
 * For W of Muon, whose sums are one run, it writes the direction to a copy of theta. */
static void apply(const fastbp_net_t *net, const fbp_update_t *update, const fastbp_optimizer_t *o,
                  void *theta, const fbp_mat_t *sums, size_t offset, ptrdiff_t ld) {
    fbp_state_tile_t state = {.theta = fbp_at(net, theta, offset), .ld = ld};
    for (int i = 0; i < FASTBP_MOMENTS; ++i)
        state.moment[i] = vector_at(net, o, o->moment[i], offset);
    state.average = vector_at(net, o, o->average, offset);
    if (update->rule == FASTBP_RULE_MUON) {
        state.theta = fbp_at(net, update->direction, offset);
        state.average = NULL;
        memcpy(state.theta, fbp_at(net, theta, offset),
               (size_t)sums->cols * net->kernels->elem_size);
    }
    make_step(net, update, sums, &state);
}

/* Handles elements of a frozen layer: theta does not change, so its average is theta. */
static void skip_run(const fastbp_net_t *net, const fastbp_optimizer_t *o, const void *theta,
                     size_t offset, ptrdiff_t count) {
    const fbp_mat_t own = {fbp_at(net, theta, offset), 1, count, count};
    if (o->average != NULL)
        net->kernels->act_forward(FASTBP_ACT_IDENTITY, 0, &own,
                                  vector_at(net, o, o->average, offset), count);
}

/* The average of running statistics is they themselves, as in PyTorch's AveragedModel. */
static void average_statistics(const fastbp_net_t *net, const fbp_tile_t *tile,
                               const fastbp_optimizer_t *o, const void *theta) {
    if (o->average != NULL && tile->unit0 == 0)
        fbp_copy_statistics(net, tile->layer + 1, theta, o->average);
}

static void skip_tile(const fastbp_net_t *net, const fbp_tile_t *tile, const fastbp_optimizer_t *o,
                      const void *theta) {
    average_statistics(net, tile, o, theta);
    for (int part = 0; part < FBP_PARTS; ++part) {
        const fbp_part_t at = fbp_tile_part(net, tile, part);
        if (at.count > 0) skip_run(net, o, theta, at.offset, at.count);
    }
}

static void finish_update(void *context, const fbp_tile_t *tile, const fbp_mat_t *sums,
                          ptrdiff_t row, ptrdiff_t column) {
    const step_t *step = context;
    const fastbp_net_t *net = step->batch->plan->net;
    const place_t place = place_of(net, tile, row, column);
    fbp_update_t *update = step->update, own;
    if (row < 0 && step->shared != NULL) {
        own = update_of(step->shared, step->optimizer, tile->layer, (int)-row);
        update = &own;
    }
    update->l1 = place.penal ? net->l1 : 0;
    update->l2 = place.penal ? net->l2 : 0;
    apply(net, update, step->optimizer, step->theta, sums, place.offset, place.ld);
}

/* ---- rows of tables: one whose gradient is 0 stays as it is ---- */

static bool is_zero(const fastbp_net_t *net, const void *sums, ptrdiff_t n) {
    const float *f = sums;
    const double *d = sums;
    ptrdiff_t i = 0;
    if (net->dtype == FASTBP_F32)
        while (i < n && f[i] == 0) ++i;
    else
        while (i < n && d[i] == 0) ++i;
    return i == n;
}

/* Moves the average of tables, whose rows may not have been in the step, to theta: a step of
 * gradient descent by 0. */
static void average_tables(const fastbp_net_t *net, const fbp_tile_t *tile,
                           const fbp_update_t *update, const fastbp_optimizer_t *o, void *theta) {
    static const double zeros[512];
    const fbp_part_t all = fbp_tile_part(net, tile, FBP_PART_VECTORS);
    const ptrdiff_t most = (ptrdiff_t)(sizeof zeros / net->kernels->elem_size);
    if (o->average == NULL) return;
    fbp_update_t stay = *update;
    stay.rule = FASTBP_RULE_SGD;
    stay.l1 = stay.l2 = stay.decay = 0;
    stay.keep = stay.grad_scale = 1;
    for (ptrdiff_t i = 0; i < all.count; i += most) {
        const ptrdiff_t n = fbp_min(most, all.count - i);
        const size_t at = all.offset + (size_t)i;
        const fbp_mat_t sums = {zeros, 1, n, n};
        const fbp_state_tile_t state = {
            .theta = fbp_at(net, theta, at), .average = vector_at(net, o, o->average, at), .ld = n};
        make_step(net, &stay, &sums, &state);
    }
}

typedef struct {
    const fbp_category_scratch_t *scratch;
    const fbp_update_t *update;
    const fastbp_optimizer_t *optimizer;
    void *theta;
    const fbp_table_t *table;
} table_step_t;

/* Copies rows of theta and of the moments into scratch, or back. */
static void move_rows(const table_step_t *step, const fastbp_net_t *net, const int32_t *code,
                      ptrdiff_t n, bool back) {
    const fbp_table_t *table = step->table;
    const fastbp_optimizer_t *o = step->optimizer;
    for (int i = 0; i <= FASTBP_MOMENTS; ++i) {
        void *rows = i == 0 ? fbp_at(net, step->theta, table->at)
                            : vector_at(net, o, o->moment[i - 1], table->at);
        if (rows != NULL)
            net->kernels->category_rows(code, n, table->width, rows, step->scratch->state[i], back);
    }
}

/* The step of rows of a table, a strip of them at a time, which is one run in scratch. */
static void update_rows(const table_step_t *step, const fastbp_net_t *net, const int32_t *code,
                        void *sums, ptrdiff_t n) {
    const ptrdiff_t width = step->table->width, most = fbp_table_strip(step->table);
    fbp_state_tile_t state = {.theta = step->scratch->state[0]};
    for (int i = 0; i < FASTBP_MOMENTS; ++i)
        state.moment[i] = step->optimizer->moment[i] != NULL ? step->scratch->state[i + 1] : NULL;
    for (ptrdiff_t from = 0; from < n; from += most) {
        const ptrdiff_t rows = fbp_min(most, n - from), elems = rows * width;
        const fbp_mat_t run = {fbp_at(net, sums, (size_t)(from * width)), 1, elems, elems};
        state.ld = elems;
        move_rows(step, net, code + from, rows, false);
        make_step(net, step->update, &run, &state);
        move_rows(step, net, code + from, rows, true);
    }
}

/* Moves the rows with a gradient to the front; returns how many there are. */
static ptrdiff_t keep_rows(const fastbp_net_t *net, const fbp_table_rows_t *rows, ptrdiff_t width,
                           int32_t *code) {
    const size_t bytes = (size_t)width * net->kernels->elem_size;
    ptrdiff_t n = 0;
    for (ptrdiff_t i = 0; i < rows->n; ++i) {
        const void *from = fbp_at(net, rows->sums, (size_t)(i * width));
        if (is_zero(net, from, width)) continue;
        if (i > n) memcpy(fbp_at(net, rows->sums, (size_t)(n * width)), from, bytes);
        code[n++] = rows->code[i];
    }
    return n;
}

static void update_tables(const step_t *step, const fbp_scratch_t *scratch,
                          const fbp_tile_t *tile) {
    const fastbp_net_t *net = step->batch->plan->net;
    int from = 0;
    const int n = fbp_tile_tables(net, tile, &from);
    if (n == 0) return;
    const fbp_update_t *shared = step->shared != NULL ? step->shared : step->update;
    fbp_update_t update = update_of(shared, step->optimizer, tile->layer, FBP_PART_VECTORS);
    update.l1 = update.l2 = 0;
    for (int c = from; c < from + n; ++c) {
        const table_step_t own = {&scratch->categories, &update, step->optimizer, step->theta,
                                  &net->table[c]};
        const fbp_table_rows_t rows = fbp_table_sums(step->batch, scratch, c);
        const ptrdiff_t kept = keep_rows(net, &rows, own.table->width, scratch->categories.code);
        update_rows(&own, net, rows.code, rows.sums, kept);
    }
    average_tables(net, tile, &update, step->optimizer, step->theta);
    fbp_lap(scratch->profile, tile->layer + 1, FASTBP_PHASE_UPDATE);
}

/* The same from a gradient in memory. */
static void update_written_tables(const fastbp_net_t *net, const fbp_tile_t *tile,
                                  const fbp_update_t *update, const fastbp_optimizer_t *o,
                                  const void *grad, void *theta) {
    int from = 0;
    const int n = fbp_tile_tables(net, tile, &from);
    fastbp_optimizer_t rows = *o;
    rows.average = NULL;
    for (int c = from; c < from + n; ++c) {
        const fbp_table_t *table = &net->table[c];
        const size_t width = (size_t)table->width;
        for (ptrdiff_t i = 0; i < table->levels; ++i) {
            const size_t at = table->at + (size_t)i * width;
            const fbp_mat_t sums = {fbp_at(net, grad, at), 1, table->width, table->width};
            if (!is_zero(net, sums.at, table->width))
                apply(net, update, &rows, theta, &sums, at, table->width);
        }
    }
    average_tables(net, tile, update, o, theta);
}

bool fbp_updates_from_rows(const fbp_batch_t *batch, const fbp_update_t *update, int layer) {
    const fastbp_net_t *net = batch->plan->net;
    const fastbp_layer_options_t *has = &net->layer[layer].has;
    const bool whole = (batch->sparse && layer == 0) || has->scale || has->numbers > 0;
    const bool wide = net->layer[layer].n_out >= net->kernels->lanes;
    const bool few = batch->rows <= FBP_OUTER_MAX && !fbp_sums_from_tiles(batch);
    return few && !update->options && !whole && wide && batch->segments == NULL;
}

/* Updates a tile of W from the few rows of a batch directly, without raw sums in memory. */
static void update_from_rows(const step_t *step, const fbp_tile_t *tile) {
    const fbp_plan_t *plan = step->batch->plan;
    const fastbp_net_t *net = plan->net;
    const fastbp_optimizer_t *o = step->optimizer;
    const place_t place = place_of(net, tile, tile->unit0, 0);
    const fbp_rows_t *delta = fbp_gradient_delta(step->batch, tile->layer + 1);
    const fbp_outer_t outer = {
        .a = fbp_gradient_a(step->batch, tile->layer + 1)->row,
        .unit0 = tile->unit0,
        .units = tile->unit1 - tile->unit0,
        .delta = {delta->at, step->batch->rows, place.ld, delta->ld},
    };
    step->update->l1 = net->l1;
    step->update->l2 = net->l2;
    net->kernels->update_outer(step->update, &outer, fbp_at(net, step->theta, place.offset),
                               vector_at(net, o, o->moment[0], place.offset),
                               vector_at(net, o, o->moment[1], place.offset), place.ld);
}

/* What remains of a tile after its update: the running statistics and the constraints. */
static void finish_tile(const step_t *step, const fbp_tile_t *tile) {
    const fastbp_net_t *net = step->batch->plan->net;
    if (net->has_batch_norm && tile->unit0 == 0) {
        fbp_move_statistics(step->batch, tile->layer + 1, step->theta, step->theta);
        average_statistics(net, tile, step->optimizer, step->theta);
    }
    fbp_constrain_tile(net, step->theta, tile);
}

/* If a tile takes several runs of outputs, which no hardware prefetcher follows, the products
 * prefetch theta and the moments. A tile of whole rows is one contiguous piece of each and needs
 * none. */
void fbp_update_tile(const fbp_batch_t *batch, const fbp_scratch_t *scratch, const fbp_tile_t *tile,
                     fbp_update_t *update, const fastbp_optimizer_t *optimizer, void *theta) {
    static const void *const none[FBP_MAX_WARM] = {NULL};
    step_t step = {batch, update, optimizer, theta, NULL};
    fbp_update_t own;
    if (optimizer->lr_factors != NULL) {
        own = update_of(update, optimizer, tile->layer, FBP_PART_W);
        step.update = &own;
        step.shared = update;
    }
    const fbp_plan_t *plan = batch->plan;
    if (plan->net->layer[tile->layer].frozen) {
        skip_tile(plan->net, tile, optimizer, theta);
        return;
    }
    if (fbp_updates_from_rows(batch, update, tile->layer)) {
        update_from_rows(&step, tile);
        fbp_lap(scratch->profile, tile->layer + 1, FASTBP_PHASE_UPDATE);
        fbp_vector_tile(batch, scratch, tile, finish_update, &step);
        update_tables(&step, scratch, tile);
        finish_tile(&step, tile);
        return;
    }
    const bool runs = plan->net->layer[tile->layer].n_out > plan->net->machine->warm_outputs;
    const void *const warm[FBP_MAX_WARM] = {
        plan->state_is_cold ? theta : NULL,
        optimizer->moment[0],
        optimizer->moment[1],
    };
    fbp_weight_tile(batch, scratch, tile, finish_update, &step, runs ? warm : none);
    fbp_vector_tile(batch, scratch, tile, finish_update, &step);
    update_tables(&step, scratch, tile);
    finish_tile(&step, tile);
}

/* ---- from sums or a gradient in memory to new parameters ---- */

void fbp_update_run(const fastbp_net_t *net, int i, int part, const fbp_update_t *update,
                    const fastbp_optimizer_t *o, const void *sums, void *theta, size_t offset,
                    ptrdiff_t count) {
    if (net->layer[i].frozen) {
        skip_run(net, o, theta, offset, count);
        return;
    }
    const fbp_update_t own = update_of(update, o, i, part);
    const fbp_mat_t all = {sums, 1, count, count};
    apply(net, &own, o, theta, &all, offset, count);
}

void fbp_update_written(const fastbp_net_t *net, const fbp_tile_t *tile, const fbp_update_t *update,
                        const fastbp_optimizer_t *o, fbp_clipping_t *clipping, const void *grad,
                        void *theta) {
    if (net->layer[tile->layer].frozen) {
        skip_tile(net, tile, o, theta);
        return;
    }
    average_statistics(net, tile, o, theta);
    for (int part = 0; part < FBP_PARTS; ++part) {
        const fbp_part_t at = fbp_tile_part(net, tile, part);
        if (at.count == 0) continue;
        const fbp_mat_t sums = {fbp_at(net, grad, at.offset), 1, at.count, at.count};
        fbp_update_t own = update_of(update, o, tile->layer, part);
        own.grad_scale = fbp_clip_factor(clipping, tile->layer, part);
        if (part == FBP_PART_VECTORS) update_written_tables(net, tile, &own, o, grad, theta);
        else apply(net, &own, o, theta, &sums, at.offset, at.count);
    }
    if (update->direction == NULL) fbp_constrain_tile(net, theta, tile);
}

void fbp_update_along(const fastbp_net_t *net, const fbp_tile_t *tile, const fbp_update_t *update,
                      const fastbp_optimizer_t *o, const void *direction, void *theta) {
    const fbp_layer_t *layer = &net->layer[tile->layer];
    if (layer->frozen) return;
    const fbp_part_t at = fbp_tile_part(net, tile, FBP_PART_W);
    const fbp_mat_t along = {fbp_at(net, direction, at.offset), 1, at.count, at.count};
    const double n_in = (double)layer->n_in, n_out = (double)layer->n_out;
    fbp_update_t own = update_of(update, o, tile->layer, FBP_PART_W);
    own.rule = FASTBP_RULE_SGD;
    own.lr *= o->rms > 0 ? o->rms * sqrt(fmax(n_in, n_out)) : sqrt(fmax(1, n_out / n_in));
    own.clip = INFINITY;
    own.grad_scale = own.sign = 1;
    own.l1 = own.l2 = own.decay = 0;
    apply(net, &own, o, theta, &along, at.offset, at.count);
    fbp_constrain_tile(net, theta, tile);
}

/* ---- schedule-free rules: theta is x outside steps, and y in them ---- */

/* Exchanges two runs of bytes. */
static void exchange_bytes(unsigned char *a, unsigned char *b, size_t bytes) {
    unsigned char held[4096];
    for (size_t at = 0, n; at < bytes; at += n) {
        n = bytes - at < sizeof held ? bytes - at : sizeof held;
        memcpy(held, a + at, n);
        memcpy(a + at, b + at, n);
        memcpy(b + at, held, n);
    }
}

static void exchange_layers(const fastbp_net_t *net, void *theta, void *other) {
    for (int i = 0; i < net->n_layers; ++i) {
        const size_t begin = net->layer[i].w;
        const size_t end = i + 1 < net->n_layers ? net->layer[i + 1].w : net->n_params;
        if (!net->layer[i].frozen)
            exchange_bytes(fbp_at(net, theta, begin), fbp_at(net, other, begin),
                           (end - begin) * net->kernels->elem_size);
    }
}

void fbp_enter_steps(const fastbp_net_t *net, const fastbp_optimizer_t *o, void *theta) {
    if (!fbp_is_free(o)) return;
    for (int i = 0; o->t == 0 && i < 2; ++i)
        memcpy(o->moment[i], theta, net->n_params * net->kernels->elem_size);
    exchange_layers(net, theta, o->moment[1]);
}

void fbp_leave_steps(const fastbp_net_t *net, const fastbp_optimizer_t *o, void *theta) {
    if (fbp_is_free(o)) exchange_layers(net, theta, o->moment[1]);
}

/* ---- a step from a gradient ---- */

static void constrain_columns(const fastbp_net_t *net, void *theta) {
    for (int i = 0; i < net->n_layers; ++i) {
        const fbp_layer_t *layer = &net->layer[i];
        if (fbp_limits_columns(layer)) fbp_constrain_columns(net, theta, i, 0, layer->n_out);
    }
}

/* Muon's buffers for one step; FASTBP_ERR_MEMORY if there is no memory. */
static fastbp_status_t open_muon(const fastbp_net_t *net, fbp_muon_t *muon, void **pack,
                                 fbp_arena_t *arena) {
    const size_t elems = (size_t)fbp_pack_elems(net->kernels, net->blocking);
    fbp_muon_carve(muon, net, arena);
    *pack = fbp_arena_take(arena, elems, net->kernels->elem_size);
    if (!fbp_arena_commit(arena)) return FASTBP_ERR_MEMORY;
    fbp_muon_carve(muon, net, arena);
    *pack = fbp_arena_take(arena, elems, net->kernels->elem_size);
    return FASTBP_OK;
}

static void step_along(const fastbp_net_t *net, const fbp_muon_t *muon, const fbp_update_t *update,
                       const fastbp_optimizer_t *o, void *theta, void *pack) {
    const int iterations = (int)o->iterations;
    for (int phase = 0; phase < fbp_muon_phases(iterations); ++phase)
        for (ptrdiff_t i = 0; i < fbp_muon_tasks(muon, phase, iterations); ++i)
            fbp_muon_task(muon, phase, i, o, pack);
    for (ptrdiff_t i = 0; i < net->n_tiles; ++i)
        fbp_update_along(net, &net->tile[i], update, o,
                         fbp_muon_result(muon, net->tile[i].layer, iterations), theta);
}

fastbp_status_t fastbp_step(const fastbp_net_t *net, void *theta, const void *grad,
                            fastbp_optimizer_t *optimizer) {
    const bool is_muon = fbp_is_muon(optimizer);
    fbp_arena_t arena = {0};
    fbp_muon_t muon = {0};
    void *pack = NULL;
    if (!fbp_optimizer_valid(optimizer)) return FASTBP_ERR_ARGUMENT;
    if (is_muon && open_muon(net, &muon, &pack, &arena) != FASTBP_OK) return FASTBP_ERR_MEMORY;
    const fbp_fpmode_t callers_mode = fbp_flush_subnormals();
    fbp_update_t update = fbp_step_constants(optimizer, optimizer->t + 1);
    update.direction = muon.direction;
    bool by_layer =
        optimizer->lr_factors != NULL || fbp_needs_gradient(optimizer) || net->has_batch_norm;
    by_layer |= net->n_tables > 0;
    fbp_enter_steps(net, optimizer, theta);
    for (int i = 0; i < net->n_layers; ++i)
        by_layer |= net->layer[i].frozen || net->layer[i].has.non_negative;
    if (!by_layer) {
        const fbp_mat_t sums = {grad, 1, (ptrdiff_t)net->n_params, (ptrdiff_t)net->n_params};
        apply(net, &update, optimizer, theta, &sums, 0, (ptrdiff_t)net->n_params);
    } else {
        fbp_clipping_t clipping = fbp_clipping_of(net, optimizer, grad, NULL);
        for (ptrdiff_t i = 0; i < net->n_tiles; ++i)
            fbp_update_written(net, &net->tile[i], &update, optimizer, &clipping, grad, theta);
    }
    if (is_muon) step_along(net, &muon, &update, optimizer, theta, pack);
    constrain_columns(net, theta);
    fbp_leave_steps(net, optimizer, theta);
    fbp_set_fpmode(callers_mode);
    if (is_muon) fbp_arena_free(&arena);
    optimizer->t += 1;
    return FASTBP_OK;
}
