/* bad_arguments.c: arguments that must be refused with a status, before anything is read or
 * written, and sizes that do not fit. */
#include "driver.h"

#include <math.h>
#include <stdlib.h>

enum { ROWS = 8 };

/* ---- specifications ---- */

static const case_t plain = {
    "plain", {5, 7, 7, 4}, {FASTBP_ACT_TANH, FASTBP_ACT_TANH, 0}, FASTBP_LOSS_MSE, .n_targets = 4};

static void expect(const fastbp_spec_t *spec, fastbp_status_t status) {
    fastbp_net_t *net = (fastbp_net_t *)&net;
    CHECK_STATUS(fastbp_net_new(&net, spec), status);
    CHECK((net != NULL) == (status == FASTBP_OK), "the network");
    fastbp_net_free(net);
}

/* A specification in which one thing was changed. */
#define REFUSE(change)                                                                             \
    do {                                                                                           \
        fastbp_spec_t spec = spec_of(&plain, FASTBP_F32);                                          \
        change;                                                                                    \
        expect(&spec, FASTBP_ERR_ARGUMENT);                                                        \
    } while (0)

static void check_specs(void) {
    const ptrdiff_t none[] = {5, 0, 7, 4}, negative[] = {5, -7, 7, 4};
    const int unknown[] = {0, 99, 0}, minus[] = {-1, 0, 0}, softmax[] = {FASTBP_ACT_SOFTMAX, 0, 0};
    const int elu[] = {FASTBP_ACT_ELU, 0, 0}, formula[] = {FASTBP_ACT_FORMULA, 0, 0};
    const double zeros[3] = {0}, nans[] = {NAN, NAN, NAN};
    const fastbp_formula_t *const formulas[] = {&square_formula, NULL, NULL};
    REFUSE(spec.n_layers = 0);
    REFUSE(spec.n_layers = -1);
    REFUSE(spec.widths = none);
    REFUSE(spec.widths = negative);
    REFUSE(spec.activations = unknown);
    REFUSE(spec.activations = minus);
    REFUSE(spec.activations = softmax);
    REFUSE((spec.activations = elu, spec.alphas = zeros));
    REFUSE((spec.activations = elu, spec.alphas = nans));
    REFUSE(spec.activations = formula);
    REFUSE(spec.formulas = formulas);
    REFUSE(spec.loss = FASTBP_LOSS_COUNT);
    REFUSE(spec.loss = (fastbp_loss_t)-1);
    REFUSE(spec.loss = FASTBP_LOSS_CUSTOM);
    REFUSE(spec.loss = FASTBP_LOSS_FORMULA);
    REFUSE(spec.loss = FASTBP_LOSS_FOCAL);
    REFUSE(spec.loss_formula = &squared_error_formula);
    REFUSE(spec.dtype = (fastbp_dtype_t)2);
    REFUSE(spec.l1 = -1);
    REFUSE(spec.l2 = NAN);
    REFUSE(spec.n_targets = 3);
    REFUSE(spec.n_loss_params = 2);
    REFUSE(spec.n_loss_params = -1);
    REFUSE(spec.input_dropout = 1);
    REFUSE(spec.input_dropout = NAN);
    REFUSE(spec.precision = FASTBP_PRECISION_COUNT);
    REFUSE((spec.dtype = FASTBP_F64, spec.precision = FASTBP_HIGH));
}

static void check_options(void) {
    const fastbp_layer_options_t bad[] = {
        {.norm = FASTBP_NORM_COUNT, .norm_eps = 1},
        {.norm = FASTBP_NORM_RMS},
        {.norm = FASTBP_NORM_RMS, .norm_eps = NAN},
        {.norm = FASTBP_NORM_BATCH, .norm_eps = 1},
        {.norm = FASTBP_NORM_BATCH, .norm_eps = 1, .norm_momentum = 1.5},
        {.dropout = 1},
        {.dropout = -0.1},
        {.dropout = NAN},
        {.residual = true},
        {.numbers = -1, .n_frequencies = 2, .width = 2},
        {.numbers = 100, .n_frequencies = 2, .width = 2},
        {.numbers = 1, .n_frequencies = 0, .width = 2},
        {.numbers = 1, .n_frequencies = 2, .width = 1, .keeps = true},
        {.numbers = 1, .n_frequencies = 2, .width = 65},
        {.numbers = 1, .n_frequencies = 1 << 20, .width = 2},
        {.max_norm = -1},
        {.max_norm = NAN}};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; ++i) {
        const fastbp_layer_options_t first[] = {bad[i], {0}, {0}};
        REFUSE(spec.options = first);
    }
    const fastbp_layer_options_t last[] = {{.dropout = 0.1},
                                           {.numbers = 1, .n_frequencies = 2, .width = 2},
                                           {.norm = FASTBP_NORM_RMS, .norm_eps = 1}};
    for (size_t i = 0; i < sizeof last / sizeof *last; ++i) {
        const fastbp_layer_options_t options[] = {{0}, {0}, last[i]};
        REFUSE(spec.options = options);
    }
}

/* Networks whose theta, or whose tiles, no memory can hold. */
static void check_sizes(void) {
    const ptrdiff_t most = PTRDIFF_MAX, root = (ptrdiff_t)1 << 31;
    const ptrdiff_t widths[][4] = {{most, most, most, 4},
                                   {1, most, 1, 4},
                                   {root, root, root, 4},
                                   {most / 8, 1, 1, 4},
                                   {1, 1, most / 8, 4}};
    for (size_t i = 0; i < sizeof widths / sizeof *widths; ++i) {
        fastbp_spec_t spec = spec_of(&plain, FASTBP_F64);
        spec.widths = widths[i];
        expect(&spec, FASTBP_ERR_MEMORY);
    }
}

/* ---- data ---- */

static void check_data(void) {
    setup_t s;
    fastbp_pass_t *pass;
    double cost;
    float out[ROWS * 4];
    set_up(&s, &plain, FASTBP_F32, ROWS);
    CHECK_STATUS(fastbp_pass_new(&pass, s.net, 0), FASTBP_ERR_ARGUMENT);
    CHECK_STATUS(fastbp_pass_new(&pass, s.net, -1), FASTBP_ERR_ARGUMENT);
    CHECK_STATUS(fastbp_pass_new(&pass, s.net, PTRDIFF_MAX), FASTBP_ERR_MEMORY);
    CHECK(pass == NULL, "no pass");
    CHECK_STATUS(fastbp_pass_new(&pass, s.net, ROWS - 1), FASTBP_OK);
    CHECK_STATUS(fastbp_forward(pass, s.theta, &s.data), FASTBP_ERR_ARGUMENT); /* too many rows */
    fastbp_data_t data = s.data;
    const ptrdiff_t rows[] = {0, -1, PTRDIFF_MIN};
    for (int i = 0; i < 3; ++i) {
        data.rows = rows[i];
        CHECK_STATUS(fastbp_forward(pass, s.theta, &data), FASTBP_ERR_ARGUMENT);
        CHECK_STATUS(fastbp_predict(s.net, s.theta, &data, out, NULL), FASTBP_ERR_ARGUMENT);
    }
    data.rows = ROWS - 1;
    data.x_type = FASTBP_X_COUNT;
    CHECK_STATUS(fastbp_forward(pass, s.theta, &data), FASTBP_ERR_ARGUMENT);
    CHECK_STATUS(fastbp_predict(s.net, s.theta, &data, out, NULL), FASTBP_ERR_ARGUMENT);
    data.x_type = FASTBP_X_OWN;
    data.x = NULL;
    CHECK_STATUS(fastbp_forward(pass, s.theta, &data), FASTBP_ERR_ARGUMENT);
    data.x = s.x;
    CHECK_STATUS(fastbp_forward(pass, s.theta, &data), FASTBP_OK);
    data.targets = NULL;
    CHECK_STATUS(fastbp_backward(pass, s.theta, &data, NULL, &cost), FASTBP_ERR_ARGUMENT);
    CHECK_STATUS(fastbp_predict(s.net, s.theta, &data, NULL, &cost), FASTBP_ERR_ARGUMENT);
    CHECK_STATUS(fastbp_backward(pass, s.theta, &s.data, NULL, &cost), FASTBP_ERR_ARGUMENT);
    fastbp_pass_free(pass);
    fastbp_pass_free(NULL);
    fastbp_net_free(NULL);
    fastbp_fit_free(NULL);
    tear_down(&s);
}

/* Sparse rows have indices and elements of the network's dtype. Dropout of the inputs and a
 * residual connection around layer 1 need whole rows. */
static void check_sparse(void) {
    case_t of[3];
    for (int i = 0; i < 3; ++i)
        of[i] = (case_t){"sparse",        {6, 6, 4},      {FASTBP_ACT_TANH, 0},
                         FASTBP_LOSS_MSE, .n_targets = 4, .sparse = true};
    of[1].input_dropout = 0.2;
    of[2].options[0].residual = true;
    for (int i = 0; i < 3; ++i) {
        setup_t s;
        fastbp_pass_t *pass;
        set_up(&s, &of[i], FASTBP_F32, ROWS);
        CHECK_STATUS(fastbp_pass_new(&pass, s.net, ROWS), FASTBP_OK);
        CHECK_STATUS(fastbp_forward(pass, s.theta, &s.data),
                     i == 0 ? FASTBP_OK : FASTBP_ERR_ARGUMENT);
        fastbp_data_t data = s.data;
        data.x_type = FASTBP_X_U8;
        CHECK_STATUS(fastbp_forward(pass, s.theta, &data), FASTBP_ERR_ARGUMENT);
        data = s.data;
        data.indices = NULL;
        CHECK_STATUS(fastbp_forward(pass, s.theta, &data), FASTBP_ERR_ARGUMENT);
        fastbp_pass_free(pass);
        tear_down(&s);
    }
}

/* Labels outside 0 … n_L − 1 are read as 0. */
static void check_labels(void) {
    const case_t of = {
        "labels",       {5, 4},           {FASTBP_ACT_SOFTMAX}, FASTBP_LOSS_CROSS_ENTROPY,
        .n_targets = 4, .targets = LABELS};
    setup_t s;
    set_up(&s, &of, FASTBP_F64, ROWS);
    for (int i = 0; i < ROWS; ++i) s.labels[i] = 0;
    const double right = cost_at(&s, s.theta);
    const int32_t bad[] = {-1, 4, INT32_MIN, INT32_MAX};
    for (int i = 0; i < 4; ++i) s.labels[i] = bad[i];
    CHECK(cost_at(&s, s.theta) == right, "labels out of range");
    tear_down(&s);
}

/* ---- sessions and rules ---- */

static void check_fits(void) {
    setup_t s;
    optimizer_t optimizer;
    fastbp_fit_t *fit;
    set_up(&s, &plain, FASTBP_F32, ROWS);
    new_optimizer(&optimizer, &s, FASTBP_RULE_ADAM);
    const fastbp_fit_options_t bad[] = {{.batch_size = 0},
                                        {.batch_size = -1},
                                        {.batch_size = 1, .n_threads = -1},
                                        {.batch_size = 1, .part_rows = -1}};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; ++i) {
        CHECK_STATUS(fastbp_fit_new(&fit, s.net, s.theta, &s.data, &optimizer.o, &bad[i]),
                     FASTBP_ERR_ARGUMENT);
        CHECK(fit == NULL, "no session");
    }
    const fastbp_fit_options_t options = {.batch_size = 4};
    fastbp_data_t data = s.data;
    data.rows = (ptrdiff_t)INT32_MAX + 1;
    CHECK_STATUS(fastbp_fit_new(&fit, s.net, s.theta, &data, &optimizer.o, &options),
                 FASTBP_ERR_ARGUMENT);
    const double values[] = {0, -1, NAN, INFINITY};
    for (int i = 0; i < 4; ++i) {
        fastbp_optimizer_t o = optimizer.o;
        o.lr = values[i];
        CHECK_STATUS(fastbp_step(s.net, s.theta, s.theta, &o), FASTBP_ERR_ARGUMENT);
        CHECK_STATUS(fastbp_fit_new(&fit, s.net, s.theta, &s.data, &o, &options),
                     FASTBP_ERR_ARGUMENT);
    }
    for (int i = 0; i < 6; ++i) {
        fastbp_optimizer_t o = optimizer.o;
        if (i == 0) o.rule = FASTBP_RULE_COUNT;
        if (i == 1) o.moment[1] = NULL;
        if (i == 2) o.beta1 = 1;
        if (i == 3) o.eps = 0;
        if (i == 4) o.clip = FASTBP_CLIP_NORM; /* without a limit and scratch */
        if (i == 5) o.weight_decay = INFINITY;
        CHECK_STATUS(fastbp_step(s.net, s.theta, s.theta, &o), FASTBP_ERR_ARGUMENT);
    }
    CHECK(optimizer.o.t == 0, "no step was made");
    free_optimizer(&optimizer);
    tear_down(&s);
}

/* ---- single kernels ---- */

static void check_kernels(void) {
    float x[4] = {0};
    fastbp_gemm_call_t call = {
        .m = 2, .n = 2, .k = 2, .a = x, .b = x, .lda = 1, .ldb = 1, .repeats = 1, .c = x, .ldc = 1};
    for (int i = 0; i < 9; ++i) {
        fastbp_gemm_call_t bad = call;
        if (i == 0) bad.m = 0;
        if (i == 1) bad.n = -1;
        if (i == 2) bad.k = 0;
        if (i == 3) bad.repeats = 0;
        if (i == 4) bad.dtype = (fastbp_dtype_t)2;
        if (i == 5) bad.activation = -1;
        if (i == 6) bad.activation = FASTBP_ACT_SOFTMAX;
        if (i == 7) bad.form = (fastbp_gemm_form_t)3;
        if (i == 8)
            bad = (fastbp_gemm_call_t){
                .form = FASTBP_GEMM_TN, .m = 1, .n = 1, .k = 1, .bias = x, .repeats = 1};
        CHECK_STATUS(fastbp_gemm(&bad), FASTBP_ERR_ARGUMENT);
    }
    const ptrdiff_t most = PTRDIFF_MAX;
    for (int i = 0; i < 3; ++i) {
        fastbp_gemm_call_t large = call;
        large.panels = true;
        large.m = i == 0 ? most / 8 + 2 : 1;
        large.n = i == 1 ? most / 4 : 1;
        large.k = i > 0 ? most / 4 : 1;
        CHECK_STATUS(fastbp_gemm(&large), FASTBP_ERR_MEMORY);
    }
    CHECK_STATUS(fastbp_vmath(0, (fastbp_dtype_t)2, 1, x, x), FASTBP_ERR_ARGUMENT);
}

void check_bad_arguments(void) {
    check_specs();
    check_options();
    check_sizes();
    check_data();
    check_sparse();
    check_labels();
    check_fits();
    check_kernels();
}
