/* networks.c: the networks of the driver, with parameters, data and optimisers. */
#include "driver.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ---- the networks ---- */

#define ID FASTBP_ACT_IDENTITY
#define TANH FASTBP_ACT_TANH
#define HIDDEN {5, 7, 6, 4}
#define WITH(OUTPUT) {TANH, FASTBP_ACT_SILU, OUTPUT}
#define MEAN_LOSS FASTBP_LOSS_MSE, .n_targets = 4

/* clang-format off */
static const case_t losses[] = {
    {"squared_error", HIDDEN, WITH(ID), FASTBP_LOSS_SQUARED_ERROR, .n_targets = 4},
    {"mse", HIDDEN, WITH(ID), FASTBP_LOSS_MSE, .n_targets = 4},
    {"binary_cross_entropy", HIDDEN, WITH(FASTBP_ACT_SIGMOID), FASTBP_LOSS_BINARY_CROSS_ENTROPY,
     .n_targets = 4, .targets = FRACTIONS},
    {"binary_cross_entropy, weights", HIDDEN, WITH(FASTBP_ACT_SIGMOID),
     FASTBP_LOSS_BINARY_CROSS_ENTROPY, .params = {1, 2, 0.5, 3}, .n_params = 4, .n_targets = 4,
     .targets = FRACTIONS},
    {"cross_entropy", HIDDEN, WITH(FASTBP_ACT_SOFTMAX), FASTBP_LOSS_CROSS_ENTROPY, .n_targets = 4,
     .targets = LABELS},
    {"cross_entropy, classes", HIDDEN, WITH(FASTBP_ACT_SOFTMAX), FASTBP_LOSS_CROSS_ENTROPY,
     .n_targets = 4, .targets = CLASSES},
    {"cross_entropy, class weights", HIDDEN, WITH(FASTBP_ACT_SOFTMAX), FASTBP_LOSS_CROSS_ENTROPY,
     .params = {0.1, 1, 2, 0.5, 3}, .n_params = 5, .n_targets = 4, .targets = LABELS,
     .weighted = true},
    {"mae", HIDDEN, WITH(ID), FASTBP_LOSS_MAE, .n_targets = 4, .kinks = true},
    {"huber", HIDDEN, WITH(ID), FASTBP_LOSS_HUBER, .params = {0.5}, .n_params = 1, .n_targets = 4,
     .kinks = true},
    {"log_cosh", HIDDEN, WITH(ID), FASTBP_LOSS_LOG_COSH, .n_targets = 4},
    {"poisson", HIDDEN, WITH(ID), FASTBP_LOSS_POISSON, .params = {1}, .n_params = 1, .n_targets = 4,
     .targets = COUNTS},
    {"poisson, rates", HIDDEN, WITH(FASTBP_ACT_SOFTPLUS), FASTBP_LOSS_POISSON, .params = {0},
     .n_params = 1, .n_targets = 4, .targets = COUNTS},
    {"hinge", HIDDEN, WITH(ID), FASTBP_LOSS_HINGE, .n_targets = 4, .targets = SIGNS, .kinks = true},
    {"squared_hinge", HIDDEN, WITH(ID), FASTBP_LOSS_SQUARED_HINGE, .n_targets = 4, .targets = SIGNS,
     .kinks = true},
    {"kl_divergence", HIDDEN, WITH(FASTBP_ACT_SOFTMAX), FASTBP_LOSS_KL_DIVERGENCE, .n_targets = 4,
     .targets = CLASSES},
    {"focal", HIDDEN, WITH(FASTBP_ACT_SOFTMAX), FASTBP_LOSS_FOCAL, .params = {2, 1, 0.5, 2, 1},
     .n_params = 5, .n_targets = 4, .targets = LABELS},
    {"binary_focal", HIDDEN, WITH(FASTBP_ACT_SIGMOID), FASTBP_LOSS_BINARY_FOCAL, 
     .params = {2, 0.25, 0.75}, .n_params = 3, .n_targets = 4, .targets = FRACTIONS},
    {"multi_margin", HIDDEN, WITH(ID), FASTBP_LOSS_MULTI_MARGIN, .params = {1}, .n_params = 1, .n_targets = 4,
     .targets = LABELS, .kinks = true},
    {"quantile", HIDDEN, WITH(ID), FASTBP_LOSS_QUANTILE, .params = {0.1, 0.9}, .n_params = 2, .n_targets = 2,
     .kinks = true},
    {"gaussian_nll", HIDDEN, WITH(ID), FASTBP_LOSS_GAUSSIAN_NLL, .n_targets = 2},
    {"margin_ranking", HIDDEN, WITH(ID), FASTBP_LOSS_MARGIN_RANKING, .params = {0.5}, .n_params = 1,
     .targets = NO_TARGETS,
     .kinks = true, .weighted = true},
    {"custom", HIDDEN, WITH(ID), FASTBP_LOSS_CUSTOM, .n_targets = 4, .weighted = true},
    {"formula", HIDDEN, WITH(ID), FASTBP_LOSS_FORMULA, .n_targets = 4, .weighted = true},
};

static const case_t options[] = {
    {"one layer", {6, 3}, {ID}, FASTBP_LOSS_MSE, .n_targets = 3},
    {"one unit", {1, 1, 1}, {TANH, ID}, FASTBP_LOSS_SQUARED_ERROR, .n_targets = 1},
    {"penalties", HIDDEN, WITH(ID), MEAN_LOSS, .l1 = 1e-3, .l2 = 0.1, .weighted = true},
    {"no biases", HIDDEN, WITH(ID), MEAN_LOSS, .options = {{.no_bias = true}, {.no_bias = true}}},
    {"norms", HIDDEN, WITH(ID), MEAN_LOSS, .weighted = true,
     .options = {{.norm = FASTBP_NORM_LAYER, .norm_eps = 1e-5},
                 {.norm = FASTBP_NORM_RMS, .norm_eps = 1e-5}}},
    {"residual", {5, 6, 6, 4}, WITH(ID), MEAN_LOSS, .options = {{0}, {.residual = true}}},
    {"residual from the inputs", {6, 6, 6, 4}, WITH(ID), MEAN_LOSS,
     .options = {{.residual = true, .norm = FASTBP_NORM_LAYER, .norm_eps = 1e-3},
                 {.residual = true, .dropout = 0.25}}},
    {"dropout", HIDDEN, WITH(ID), MEAN_LOSS, .options = {{.dropout = 0.5}, {.dropout = 0.1}},
     .input_dropout = 0.2},
    {"constraints", HIDDEN, WITH(ID), MEAN_LOSS,
     .options = {{.max_norm = 0.7}, {.non_negative = true}, {.max_norm = 0.3}}},
    {"sparse rows", {30, 7, 6, 4}, WITH(ID), MEAN_LOSS, .sparse = true},
    {"scales", HIDDEN, WITH(ID), MEAN_LOSS, .weighted = true,
     .options = {{.scale = true}, {.scale = true, .norm = FASTBP_NORM_RMS, .norm_eps = 1e-5}}},
    {"a scale of sparse rows", {30, 7, 6, 4}, WITH(ID), MEAN_LOSS, .sparse = true,
     .options = {{.scale = true}}},
    {"a formula", HIDDEN, {TANH, FASTBP_ACT_FORMULA, ID}, MEAN_LOSS, .weighted = true},
    {"a formula per unit", HIDDEN, {FASTBP_ACT_FORMULA, FASTBP_ACT_FORMULA, ID},
     FASTBP_LOSS_FORMULA, .n_targets = 4, .per_unit = true},
    {"rows of uint8", HIDDEN, WITH(ID), MEAN_LOSS, .x_type = FASTBP_X_U8},
    {"rows of float16", HIDDEN, WITH(ID), MEAN_LOSS, .x_type = FASTBP_X_F16},
    {"rows of int64", HIDDEN, WITH(ID), MEAN_LOSS, .x_type = FASTBP_X_I64},
    {"rows of float32", HIDDEN, WITH(ID), MEAN_LOSS, .x_type = FASTBP_X_F32},
    {"products of 16 bits", {40, 33, 34, 4}, WITH(ID), MEAN_LOSS, .precision = FASTBP_HIGH},
    {"products of 8 bits", {40, 33, 34, 4}, WITH(ID), MEAN_LOSS, .precision = FASTBP_MEDIUM},
};
/* clang-format on */

const case_t wide_case = {"wide", {40, 130, 129, 9}, WITH(ID), FASTBP_LOSS_MSE, .n_targets = 9};

static bool bends(int activation) {
    switch (activation) {
#define STRAIGHT false
#define BENDS true
#define CASE(CODE, name, slope, curve, ...)                                                        \
    case FASTBP_ACT_##CODE: return curve;
        FASTBP_ACTIVATIONS(CASE)
#undef CASE
#undef STRAIGHT
#undef BENDS
    default: return true;
    }
}

void for_each_case(void (*body)(const case_t *of)) {
    for (int act = 0; act < FASTBP_ACT_SOFTMAX; ++act) {
        const case_t of = {fastbp_activation_name(act), {5, 7, 6, 3},   {act, act, ID},
                           FASTBP_LOSS_SQUARED_ERROR,   .n_targets = 3, .kinks = !bends(act)};
        body(&of);
    }
    bool seen[FASTBP_LOSS_COUNT] = {false};
    for (size_t i = 0; i < sizeof losses / sizeof *losses; ++i) {
        body(&losses[i]);
        seen[losses[i].loss] = true;
    }
    for (int loss = 0; loss < FASTBP_LOSS_COUNT; ++loss)
        CHECK(seen[loss], "networks.c has no case for loss %d", loss);
    for (size_t i = 0; i < sizeof options / sizeof *options; ++i) body(&options[i]);
}

/* ---- specifications ---- */

static int count_layers(const case_t *of) {
    int n = 0;
    while (of->widths[n + 1] > 0) ++n;
    return n;
}

fastbp_spec_t spec_of(const case_t *of, fastbp_dtype_t dtype) {
    static const double alphas[MAX_LAYERS] = {0.5, 0.5, 0.5, 0.5, 0.5};
    static const fastbp_formula_t *const shared[MAX_LAYERS] = {NULL, &square_formula};
    static const fastbp_formula_t *const by_unit[MAX_LAYERS] = {&square_formula_per_unit,
                                                                &square_formula_per_unit};
    static fastbp_dtype_t contexts[] = {FASTBP_F32, FASTBP_F64};
    const bool custom = of->loss == FASTBP_LOSS_CUSTOM;
    const bool formula = of->activations[1] == FASTBP_ACT_FORMULA;
    return (fastbp_spec_t){
        .n_layers = count_layers(of),
        .widths = of->widths,
        .activations = of->activations,
        .alphas = alphas,
        .loss = of->loss,
        .dtype = dtype,
        .l1 = of->l1,
        .l2 = of->l2,
        .loss_params = of->params,
        .n_loss_params = of->n_params,
        .n_targets = of->n_targets,
        .loss_fn = custom ? own_loss : NULL,
        .loss_context = custom ? &contexts[dtype] : NULL,
        .options = of->options,
        .input_dropout = of->input_dropout,
        .precision = of->precision,
        .formulas = !formula       ? NULL
                    : of->per_unit ? by_unit
                                   : shared,
        .loss_formula = of->loss == FASTBP_LOSS_FORMULA ? &squared_error_formula : NULL,
    };
}

fastbp_status_t own_loss(void *context, ptrdiff_t rows, const void *a, ptrdiff_t lda,
                         const void *const *targets, double *row_loss, void *slope,
                         ptrdiff_t ld_slope) {
    const fastbp_dtype_t dtype = *(const fastbp_dtype_t *)context;
    enum { OUTPUTS = 4 };
    for (ptrdiff_t i = 0; i < rows; ++i) {
        row_loss[i] = 0;
        for (ptrdiff_t k = 0; k < OUTPUTS; ++k) {
            const double e =
                get(dtype, a, (size_t)(i * lda + k)) - get(dtype, targets[i], (size_t)k);
            row_loss[i] += e * e / 2;
            if (slope != NULL) put(dtype, slope, (size_t)(i * ld_slope + k), e);
        }
    }
    return FASTBP_OK;
}

/* ---- data ---- */

/* binary16 of a number that is normal there. */
static uint16_t half_of(double value) {
    int exponent;
    const double fraction = frexp(fabs(value), &exponent);
    if (value == 0) return 0;
    return (uint16_t)((value < 0 ? 0x8000 : 0) | (exponent + 14) << 10 |
                      (int)((2 * fraction - 1) * 1024));
}

/* Writes element i of x, a multiple of 1/8 or, for integers, a small number. */
static void put_element(const setup_t *s, size_t i, uint64_t *random) {
    const double eighths = floor(8 * uniform(random)) / 8;
    switch (s->of->x_type) {
    case FASTBP_X_U8: ((uint8_t *)s->x)[i] = (uint8_t)(8 * eighths); break;
    case FASTBP_X_I64: ((int64_t *)s->x)[i] = (int64_t)(8 * eighths) - 4; break;
    case FASTBP_X_F16: ((uint16_t *)s->x)[i] = half_of(eighths - 0.5); break;
    case FASTBP_X_F32: ((float *)s->x)[i] = (float)normal(random); break;
    default: put(s->dtype, s->x, i, (double)(float)normal(random)); break;
    }
}

static size_t x_size(const setup_t *s) {
    switch (s->of->x_type) {
    case FASTBP_X_U8: return 1;
    case FASTBP_X_F16: return 2;
    case FASTBP_X_F32: return 4;
    case FASTBP_X_I64: return 8;
    default: return size_of(s->dtype);
    }
}

static void make_dense(setup_t *s, uint64_t *random) {
    s->data.ldx = s->n_in + 3;
    const size_t n = (size_t)((s->rows - 1) * s->data.ldx + s->n_in);
    s->x = driver_new(n, x_size(s));
    for (size_t i = 0; i < n; ++i) put_element(s, i, random);
}

/* About a third of the columns of each row; the last row is empty. */
static void make_sparse(setup_t *s, uint64_t *random) {
    s->indptr = driver_new((size_t)s->rows + 1, sizeof *s->indptr);
    s->indices = driver_new((size_t)(s->rows * s->n_in), sizeof *s->indices);
    s->x = driver_new((size_t)(s->rows * s->n_in), size_of(s->dtype));
    int64_t n = 0;
    for (ptrdiff_t i = 0; i < s->rows; ++i) {
        for (ptrdiff_t j = 0; j < s->n_in; ++j)
            if (i < s->rows - 1 && uniform(random) < 0.3) {
                s->indices[n] = (int32_t)j;
                put(s->dtype, s->x, (size_t)n++, (double)(float)normal(random));
            }
        s->indptr[i + 1] = n;
    }
    s->data.indptr = s->indptr;
    s->data.indices = s->indices;
}

static double target_of(targets_t kind, uint64_t *random) {
    switch (kind) {
    case FRACTIONS: return floor(2 * uniform(random));
    case SIGNS: return uniform(random) < 0.5 ? -1 : 1;
    case COUNTS: return floor(4 * uniform(random));
    default: return (double)(float)normal(random);
    }
}

static void make_targets(setup_t *s, uint64_t *random) {
    const targets_t kind = s->of->targets;
    const ptrdiff_t n = s->of->n_targets;
    if (kind == NO_TARGETS) return;
    if (kind == LABELS) {
        s->data.labels = s->labels = driver_new((size_t)s->rows, sizeof *s->labels);
        for (ptrdiff_t i = 0; i < s->rows; ++i)
            s->labels[i] = (int32_t)((double)s->n_out * uniform(random));
        return;
    }
    s->data.ldy = n + 1;
    s->targets = driver_new((size_t)((s->rows - 1) * s->data.ldy + n), size_of(s->dtype));
    s->data.targets = s->targets;
    for (ptrdiff_t i = 0; i < s->rows; ++i) {
        const ptrdiff_t one = (ptrdiff_t)((double)n * uniform(random));
        for (ptrdiff_t k = 0; k < n; ++k)
            put(s->dtype, s->targets, (size_t)(i * s->data.ldy + k),
                kind == CLASSES ? (k == one ? 0.75 : 0.25 / (double)(n - 1))
                                : target_of(kind, random));
    }
}

void set_up(setup_t *s, const case_t *of, fastbp_dtype_t dtype, ptrdiff_t rows) {
    const fastbp_spec_t spec = spec_of(of, dtype);
    uint64_t random = 12345;
    *s = (setup_t){.of = of, .dtype = dtype, .rows = rows, .n_layers = spec.n_layers};
    s->n_in = of->widths[0];
    s->n_out = of->widths[spec.n_layers];
    s->data.rows = rows;
    if (!CHECK_STATUS(fastbp_net_new(&s->net, &spec), FASTBP_OK)) abort();
    s->n_params = fastbp_net_n_params(s->net);
    s->theta = driver_new(s->n_params, size_of(dtype));
    /* so that the sums of a layer have about the size of its inputs */
    const double scale = 1 / sqrt((double)of->widths[spec.n_layers - 1]);
    for (size_t i = 0; i < s->n_params; ++i)
        put(dtype, s->theta, i, (double)(float)(scale * normal(&random)));
    if (of->sparse) make_sparse(s, &random);
    else make_dense(s, &random);
    s->data.x = s->x;
    s->data.x_type = of->x_type;
    make_targets(s, &random);
    if (!of->weighted) return;
    s->weights = driver_new((size_t)rows, size_of(dtype));
    for (ptrdiff_t i = 0; i < rows; ++i)
        put(dtype, s->weights, (size_t)i, floor(1 + 4 * uniform(&random)) / 2);
    s->data.weights = s->weights;
}

void tear_down(setup_t *s) {
    fastbp_net_free(s->net);
    free(s->theta);
    free(s->x);
    free(s->targets);
    free(s->weights);
    free(s->labels);
    free(s->indptr);
    free(s->indices);
    *s = (setup_t){0};
}

void *vector_of(const setup_t *s, const void *from) {
    void *made = driver_new(s->n_params, size_of(s->dtype));
    if (from != NULL) memcpy(made, from, s->n_params * size_of(s->dtype));
    return made;
}

double cost_at(const setup_t *s, const void *theta) {
    double cost = 0;
    CHECK_STATUS(fastbp_predict(s->net, theta, &s->data, NULL, &cost), FASTBP_OK);
    return cost;
}

/* ---- optimisers ---- */

void new_optimizer(optimizer_t *made, const setup_t *s, fastbp_rule_t rule) {
    *made = (optimizer_t){0};
    made->o = (fastbp_optimizer_t){.rule = rule,
                                   .lr = 0.01,
                                   .momentum = 0.9,
                                   .beta1 = 0.9,
                                   .beta2 = 0.99,
                                   .eps = 1e-8,
                                   .momentum_decay = 0.004,
                                   .shrink = 0.5,
                                   .grow = 1.2,
                                   .least = 1e-6,
                                   .most = 50,
                                   .warmup = 3,
                                   .iterations = 5,
                                   .linear = 3.4445,
                                   .cubic = -4.775,
                                   .quintic = 2.0315};
    for (int i = 0; i < FASTBP_MOMENTS + 2; ++i) made->vectors[i] = vector_of(s, NULL);
    for (int i = 0; i < FASTBP_MOMENTS; ++i) made->o.moment[i] = made->vectors[i];
    if (rule == FASTBP_RULE_MUON || rule == FASTBP_RULE_MUON_NESTEROV)
        made->o.grad = made->vectors[FASTBP_MOMENTS];
    for (int i = 0; i < MAX_LAYERS * FASTBP_GROUPS; ++i) made->factors[i] = 1 + 0.0625 * i;
}

void free_optimizer(optimizer_t *made) {
    for (int i = 0; i < FASTBP_MOMENTS + 2; ++i) free(made->vectors[i]);
}
