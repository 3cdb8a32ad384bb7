/* sessions.c: what a training session offers besides its steps: threads, parts, rates, other data,
 * clocks and reports, and steps that fail. */
#include "driver.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { ROWS = 150, BATCH = 64, THREADS = 4 };

/* A session of the wide network. */
typedef struct {
    setup_t s;
    optimizer_t optimizer;
    void *theta;
    fastbp_fit_t *fit;
} session_t;

static void open_session(session_t *at, const case_t *of, fastbp_dtype_t dtype,
                         const fastbp_fit_options_t *options) {
    set_up(&at->s, of, dtype, ROWS);
    new_optimizer(&at->optimizer, &at->s, FASTBP_RULE_ADAM);
    at->theta = vector_of(&at->s, at->s.theta);
    if (!CHECK_STATUS(
            fastbp_fit_new(&at->fit, at->s.net, at->theta, &at->s.data, &at->optimizer.o, options),
            FASTBP_OK))
        abort();
}

static void close_session(session_t *at) {
    fastbp_fit_free(at->fit);
    free_optimizer(&at->optimizer);
    free(at->theta);
    tear_down(&at->s);
}

static void run_epoch(session_t *at) {
    fastbp_progress_t progress;
    CHECK_STATUS(fastbp_fit_run(at->fit, 1e9, &progress), FASTBP_OK);
    CHECK(progress.epoch_done, "an epoch");
}

/* ---- the same bits ---- */

/* theta after an epoch on so many threads, which the caller frees. */
static void *theta_of(const case_t *of, fastbp_dtype_t dtype, int threads, bool change,
                      ptrdiff_t parts) {
    static const int sizes[] = {1, 4, 2, 3};
    const fastbp_fit_options_t options = {
        .batch_size = BATCH, .shuffle = true, .seed = 3, .n_threads = threads, .part_rows = parts};
    fastbp_fit_report_t report;
    fastbp_layer_report_t layer[MAX_LAYERS + 1];
    session_t at;
    open_session(&at, of, dtype, &options);
    if (change) CHECK_STATUS(fastbp_fit_set_teams(at.fit, sizes, 4), FASTBP_OK);
    run_epoch(&at);
    fastbp_fit_report(at.fit, &report, layer);
    CHECK(report.threads_planned == threads, "%d of %d threads", report.threads_planned, threads);
    CHECK(report.threads >= 1 && report.threads <= threads, "%d threads", report.threads);
    if (change) CHECK_STATUS(fastbp_fit_set_teams(at.fit, NULL, 0), FASTBP_OK);
    void *theta = vector_of(&at.s, at.theta);
    close_session(&at);
    return theta;
}

static void check_bits(const case_t *of, fastbp_dtype_t dtype, ptrdiff_t parts) {
    setup_t s;
    set_up(&s, of, dtype, ROWS);
    const size_t bytes = s.n_params * size_of(dtype);
    void *alone = theta_of(of, dtype, 1, false, parts);
    CHECK(memcmp(alone, s.theta, bytes) != 0, "%s: nothing was trained", of->name);
    for (int threads = 2; threads <= THREADS; ++threads) {
        void *theta = theta_of(of, dtype, threads, false, parts);
        CHECK(memcmp(theta, alone, bytes) == 0, "%s on %d threads", of->name, threads);
        free(theta);
    }
    void *theta = theta_of(of, dtype, THREADS, true, parts);
    CHECK(memcmp(theta, alone, bytes) == 0, "%s on changing teams", of->name);
    free(theta);
    free(alone);
    tear_down(&s);
}

static void check_threads_of_sessions(void) {
    case_t of = wide_case;
    check_bits(&of, FASTBP_F32, 0);
    check_bits(&of, FASTBP_F64, 0);
    of.name = "options";
    of.weighted = true;
    of.input_dropout = 0.1;
    of.l1 = 1e-4;
    of.options[0] = (fastbp_layer_options_t){.norm = FASTBP_NORM_LAYER, .norm_eps = 1e-5};
    of.options[1] = (fastbp_layer_options_t){.dropout = 0.2, .max_norm = 1};
    check_bits(&of, FASTBP_F32, 0);
    of.name = "batch norms";
    for (int i = 0; i < 2; ++i) {
        of.options[i].norm = FASTBP_NORM_BATCH;
        of.options[i].norm_eps = 1e-5;
        of.options[i].norm_momentum = 0.1;
    }
    check_bits(&of, FASTBP_F32, 0);
    check_bits(&of, FASTBP_F64, 0);
    of = wide_case;
    of.name = "formulas";
    of.activations[1] = FASTBP_ACT_FORMULA;
    of.loss = FASTBP_LOSS_FORMULA;
    check_bits(&of, FASTBP_F32, 0);
    of = wide_case;
    of.name = "sparse rows";
    of.sparse = true;
    check_bits(&of, FASTBP_F32, 0);
    of = wide_case;
    of.name = "8 bits";
    of.precision = FASTBP_MEDIUM;
    check_bits(&of, FASTBP_F32, 0);
    /* Parts of a batch have less work each, so these are wider and four threads pay off. */
    of = (case_t){"parts",
                  {200, 300, 90, 9},
                  {FASTBP_ACT_TANH, FASTBP_ACT_RELU},
                  FASTBP_LOSS_MSE,
                  .n_targets = 9};
    check_bits(&of, FASTBP_F32, 48);
}

/* ---- rates, other data and places ---- */

static void check_smoothing(void) {
    const double none[2 * (MAX_LAYERS + 1)] = {0}, half[] = {0.5, 0.5};
    const double all[2 * (MAX_LAYERS + 1)] = {1}, some[2 * (MAX_LAYERS + 1)] = {0.1};
    const fastbp_fit_options_t options = {.batch_size = BATCH, .n_threads = 1};
    session_t at;
    open_session(&at, &wide_case, FASTBP_F32, &options);
    CHECK_STATUS(fastbp_fit_set_smoothing(at.fit, NULL, none, 0), FASTBP_ERR_ARGUMENT);
    CHECK_STATUS(fastbp_fit_set_smoothing(at.fit, NULL, all, 2), FASTBP_ERR_ARGUMENT);
    CHECK_STATUS(fastbp_fit_set_smoothing(at.fit, NULL, some, 2), FASTBP_ERR_ARGUMENT);
    CHECK_STATUS(fastbp_fit_set_smoothing(at.fit, half, NULL, 2), FASTBP_ERR_ARGUMENT);
    CHECK_STATUS(fastbp_fit_set_smoothing(at.fit, NULL, none, 2), FASTBP_OK);
    run_epoch(&at);
    CHECK_STATUS(fastbp_fit_set_smoothing(at.fit, NULL, NULL, 0), FASTBP_OK);
    close_session(&at);
}

static void check_rates(void) {
    const double none[] = {0, 0}, rates[] = {0.01, 0.02}, momenta[] = {0.5, 0.9};
    const double bad[] = {0.1, NAN};
    const fastbp_fit_options_t options = {.batch_size = BATCH, .n_threads = 1};
    session_t at;
    open_session(&at, &wide_case, FASTBP_F32, &options);
    const size_t bytes = at.s.n_params * sizeof(float);
    CHECK_STATUS(fastbp_fit_set_rates(at.fit, bad, NULL, 2), FASTBP_ERR_ARGUMENT);
    CHECK_STATUS(fastbp_fit_set_rates(at.fit, rates, rates, 0), FASTBP_ERR_ARGUMENT);
    CHECK_STATUS(fastbp_fit_set_rates(at.fit, none, NULL, 2), FASTBP_OK);
    run_epoch(&at);
    CHECK(memcmp(at.theta, at.s.theta, bytes) == 0, "steps with a rate of 0");
    CHECK_STATUS(fastbp_fit_set_rates(at.fit, rates, momenta, 2), FASTBP_OK);
    run_epoch(&at);
    CHECK(memcmp(at.theta, at.s.theta, bytes) != 0, "steps with rates");
    CHECK_STATUS(fastbp_fit_set_rates(at.fit, NULL, NULL, 0), FASTBP_OK);
    run_epoch(&at);
    close_session(&at);
}

/* A session of half the data to which the other half is bound as a second block of the epoch. */
static void check_blocks(void) {
    const fastbp_fit_options_t options = {.batch_size = 25, .shuffle = true, .n_threads = 2};
    session_t at;
    fastbp_progress_t progress;
    open_session(&at, &wide_case, FASTBP_F32, &options);
    fastbp_data_t half = at.s.data, all = at.s.data;
    half.rows = ROWS / 2;
    half.x = (const float *)half.x + half.rows * half.ldx;
    half.targets = (const float *)half.targets + half.rows * half.ldy;
    run_epoch(&at);
    CHECK_STATUS(fastbp_fit_rebind(at.fit, &half), FASTBP_OK);
    CHECK_STATUS(fastbp_fit_seek(at.fit, &(fastbp_place_t){.epoch = 1, .block = 1}), FASTBP_OK);
    CHECK_STATUS(fastbp_fit_run(at.fit, 1e9, &progress), FASTBP_OK);
    CHECK(progress.epoch_done && progress.place.block == 1 && progress.place.step == 3, "a block");
    all.rows = ROWS + 1;
    CHECK_STATUS(fastbp_fit_rebind(at.fit, &all), FASTBP_ERR_ARGUMENT);
    all.rows = 0;
    CHECK_STATUS(fastbp_fit_rebind(at.fit, &all), FASTBP_ERR_ARGUMENT);
    const fastbp_place_t bad[] = {{.epoch = -1}, {.step = -1},        {.block = -1},
                                  {.first = -1}, {.first = ROWS + 1}, {.block = PTRDIFF_MAX}};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; ++i)
        CHECK_STATUS(fastbp_fit_seek(at.fit, &bad[i]), FASTBP_ERR_ARGUMENT);
    close_session(&at);
}

static void check_clocks(void) {
    const fastbp_fit_options_t options = {.batch_size = BATCH, .n_threads = 3};
    fastbp_fit_report_t report;
    fastbp_layer_report_t layer[MAX_LAYERS + 1];
    session_t at;
    open_session(&at, &wide_case, FASTBP_F32, &options);
    CHECK_STATUS(fastbp_fit_set_clocks(at.fit, true), FASTBP_OK);
    run_epoch(&at);
    CHECK_STATUS(fastbp_fit_set_clocks(at.fit, false), FASTBP_OK);
    run_epoch(&at);
    fastbp_fit_report(at.fit, &report, layer);
    double seconds = 0;
    for (int l = 0; l <= at.s.n_layers; ++l)
        for (int phase = 0; phase < FASTBP_PHASE_COUNT; ++phase) seconds += layer[l].seconds[phase];
    CHECK(seconds > 0 && seconds <= 3 * report.clocked.seconds * 1.01, "%g of %g s", seconds,
          report.clocked.seconds);
    CHECK(report.clocked.steps == 3 && report.plain.steps == 3, "steps");
    CHECK(report.bytes > 0 && report.step_work > 0 && report.tiles > 0 && report.row_blocks > 0,
          "sizes");
    CHECK(strcmp(report.products, fastbp_products(at.s.net, BATCH)) == 0, "%s", report.products);
    close_session(&at);
}

/* ---- steps that fail ---- */

static void check_divergence(void) {
    const fastbp_fit_options_t options = {.batch_size = BATCH, .n_threads = 2};
    fastbp_progress_t progress;
    session_t at;
    open_session(&at, &wide_case, FASTBP_F32, &options);
    ((float *)at.s.x)[(BATCH + 3) * at.s.data.ldx] = NAN; /* in the second batch */
    CHECK_STATUS(fastbp_fit_run(at.fit, 0, &progress), FASTBP_OK);
    void *before = vector_of(&at.s, at.theta);
    CHECK_STATUS(fastbp_fit_run(at.fit, 1e9, &progress), FASTBP_ERR_DIVERGED);
    CHECK(progress.step == 1 && !progress.epoch_done, "step %d", (int)progress.step);
    CHECK(memcmp(before, at.theta, at.s.n_params * sizeof(float)) == 0, "theta has changed");
    free(before);
    close_session(&at);
}

static fastbp_status_t failing_loss(void *context, ptrdiff_t rows, const void *a, ptrdiff_t lda,
                                    const void *const *targets, double *row_loss, void *slope,
                                    ptrdiff_t ld_slope) {
    (void)a, (void)lda, (void)targets, (void)slope, (void)ld_slope;
    for (ptrdiff_t i = 0; i < rows; ++i) row_loss[i] = 0;
    *(fastbp_status_t *)context = fastbp_stop_threads();
    return FASTBP_ERR_STATE;
}

/* A loss that fails, and that tries to end the threads it runs beside. */
static void check_failing_loss(void) {
    fastbp_status_t stopped = FASTBP_OK;
    fastbp_spec_t spec = spec_of(&wide_case, FASTBP_F32);
    spec.loss = FASTBP_LOSS_CUSTOM;
    spec.loss_fn = failing_loss;
    spec.loss_context = &stopped;
    const fastbp_fit_options_t options = {.batch_size = BATCH, .n_threads = 2};
    fastbp_progress_t progress;
    session_t at;
    fastbp_net_t *net;
    fastbp_fit_t *fit;
    double cost;
    open_session(&at, &wide_case, FASTBP_F32, &options);
    CHECK_STATUS(fastbp_net_new(&net, &spec), FASTBP_OK);
    CHECK_STATUS(fastbp_fit_new(&fit, net, at.theta, &at.s.data, &at.optimizer.o, &options),
                 FASTBP_OK);
    CHECK_STATUS(fastbp_fit_run(fit, 1e9, &progress), FASTBP_ERR_CALL);
    CHECK(stopped == FASTBP_ERR_STATE, "stop_threads in a loss: %d", (int)stopped);
    CHECK(memcmp(at.theta, at.s.theta, at.s.n_params * sizeof(float)) == 0, "theta has changed");
    CHECK_STATUS(fastbp_predict(net, at.theta, &at.s.data, NULL, &cost), FASTBP_ERR_CALL);
    fastbp_fit_free(fit);
    fastbp_net_free(net);
    close_session(&at);
}

/* A pass for training moves the running statistics as a step does, and one for evaluation does not.
 */
static void check_statistics(fastbp_dtype_t dtype) {
    case_t of = wide_case;
    of.options[0] = (fastbp_layer_options_t){
        .norm = FASTBP_NORM_BATCH, .norm_eps = 1e-5, .norm_momentum = 0.25};
    const fastbp_fit_options_t options = {.batch_size = ROWS};
    const size_t width = (size_t)of.widths[1], size = size_of(dtype);
    const size_t first = ((size_t)of.widths[0] + 3) * width * size; /* after W, b, gain, shift */
    const size_t bytes = 2 * width * size;
    session_t at;
    fastbp_pass_t *pass;
    open_session(&at, &of, dtype, &options);
    if (!CHECK_STATUS(fastbp_pass_new(&pass, at.s.net, ROWS), FASTBP_OK)) abort();
    const size_t var = first / size + width;
    double cost = 0;
    put(dtype, at.s.theta, var, -1e-30);
    CHECK_STATUS(fastbp_forward(pass, at.s.theta, &at.s.data), FASTBP_ERR_VARIANCE);
    CHECK_STATUS(fastbp_predict(at.s.net, at.s.theta, &at.s.data, NULL, &cost),
                 FASTBP_ERR_VARIANCE);
    for (size_t k = 0; k < width; ++k) {
        put(dtype, at.s.theta, var + k, (double)k);
        put(dtype, at.theta, var + k, (double)k);
    }
    char *theta = vector_of(&at.s, at.s.theta);
    CHECK_STATUS(fastbp_predict(at.s.net, theta, &at.s.data, NULL, &cost), FASTBP_OK);
    CHECK_STATUS(fastbp_forward(pass, theta, &at.s.data), FASTBP_OK);
    fastbp_move_statistics(pass, theta);
    CHECK(memcmp(theta, at.s.theta, at.s.n_params * size) == 0, "after an evaluation");
    CHECK_STATUS(fastbp_forward_training(pass, theta, &at.s.data, 0, 0), FASTBP_OK);
    fastbp_move_statistics(pass, theta);
    run_epoch(&at);
    CHECK(memcmp(theta + first, (char *)at.theta + first, bytes) == 0, "by hand and by a step");
    CHECK(memcmp(theta + first, (char *)at.s.theta + first, bytes) != 0, "nothing has moved");
    fastbp_data_t one = at.s.data;
    one.rows = 1;
    CHECK_STATUS(fastbp_forward_training(pass, theta, &one, 0, 0), FASTBP_ERR_ARGUMENT);
    CHECK_STATUS(fastbp_forward(pass, theta, &one), FASTBP_OK);
    free(theta);
    fastbp_pass_free(pass);
    close_session(&at);
}

void check_sessions(void) {
    check_statistics(FASTBP_F32);
    check_statistics(FASTBP_F64);
    check_threads_of_sessions();
    check_rates();
    check_smoothing();
    check_blocks();
    check_clocks();
    check_divergence();
    check_failing_loss();
}
