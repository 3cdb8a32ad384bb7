/* training.c: training sessions of every network and every rule. A step is compared with the
 * gradient of a pass, a resumed session with one that was never interrupted, and J has to fall. */
#include "driver.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { ROWS = 22, BATCH = 8 };

static fastbp_fit_t *open_fit(const setup_t *s, void *theta, optimizer_t *optimizer,
                              const fastbp_fit_options_t *options) {
    fastbp_fit_t *fit;
    if (!CHECK_STATUS(fastbp_fit_new(&fit, s->net, theta, &s->data, &optimizer->o, options),
                      FASTBP_OK))
        abort();
    return fit;
}

/* ---- interrupted and resumed ---- */

typedef struct {
    void *theta;
    optimizer_t optimizer;
} state_t;

static void new_state(state_t *state, const setup_t *s, fastbp_rule_t rule) {
    state->theta = vector_of(s, s->theta);
    new_optimizer(&state->optimizer, s, rule);
}

static void free_state(state_t *state) {
    free(state->theta);
    free_optimizer(&state->optimizer);
}

static bool same_state(const setup_t *s, const state_t *x, const state_t *y) {
    const size_t bytes = s->n_params * size_of(s->dtype);
    bool same = memcmp(x->theta, y->theta, bytes) == 0 && x->optimizer.o.t == y->optimizer.o.t;
    for (int i = 0; i < FASTBP_MOMENTS + 2; ++i)
        same = same && memcmp(x->optimizer.vectors[i], y->optimizer.vectors[i], bytes) == 0;
    return same;
}

/* Two epochs in one session, step by step or at once. */
static void train(const setup_t *s, state_t *state, const fastbp_fit_options_t *options,
                  double seconds) {
    fastbp_fit_t *fit = open_fit(s, state->theta, &state->optimizer, options);
    fastbp_progress_t at = {0};
    for (int epoch = 0; epoch < 2; epoch += at.epoch_done) {
        if (!CHECK_STATUS(fastbp_fit_run(fit, seconds, &at), FASTBP_OK)) break;
        CHECK(isfinite(at.loss) && isfinite(at.last_loss), "%s", s->of->name);
    }
    CHECK(at.epoch == 1 && at.epoch_done, "%s: epoch %d", s->of->name, (int)at.epoch);
    fastbp_fit_free(fit);
}

/* The same two epochs with a new session for every step. */
static void train_interrupted(const setup_t *s, state_t *state,
                              const fastbp_fit_options_t *options) {
    fastbp_place_t place = {0};
    for (int epoch = 0; epoch < 2;) {
        fastbp_progress_t at;
        fastbp_fit_t *fit = open_fit(s, state->theta, &state->optimizer, options);
        CHECK_STATUS(fastbp_fit_seek(fit, &place), FASTBP_OK);
        if (!CHECK_STATUS(fastbp_fit_run(fit, 0, &at), FASTBP_OK)) epoch = 2;
        place = at.place;
        if (at.epoch_done) place = (fastbp_place_t){.epoch = ++epoch};
        fastbp_fit_free(fit);
    }
}

static void check_resumed(const case_t *of) {
    for (fastbp_dtype_t dtype = FASTBP_F32; dtype <= FASTBP_F64; ++dtype) {
        if (dtype == FASTBP_F64 && of->precision != FASTBP_HIGHEST) continue;
        const fastbp_fit_options_t options = {
            .batch_size = BATCH, .shuffle = true, .seed = 11, .n_threads = 2};
        setup_t s;
        state_t at_once, by_step, resumed;
        set_up(&s, of, dtype, ROWS);
        new_state(&at_once, &s, FASTBP_RULE_ADAM);
        new_state(&by_step, &s, FASTBP_RULE_ADAM);
        new_state(&resumed, &s, FASTBP_RULE_ADAM);
        train(&s, &at_once, &options, 1e9);
        train(&s, &by_step, &options, 0);
        train_interrupted(&s, &resumed, &options);
        CHECK(same_state(&s, &at_once, &by_step), "%s: step by step", of->name);
        CHECK(same_state(&s, &at_once, &resumed), "%s: resumed", of->name);
        CHECK(at_once.optimizer.o.t == 2 * ((ROWS + BATCH - 1) / BATCH), "%s", of->name);
        CHECK(all_finite(dtype, at_once.theta, s.n_params), "%s", of->name);
        free_state(&at_once);
        free_state(&by_step);
        free_state(&resumed);
        tear_down(&s);
    }
}

/* ---- J falls ---- */

static double trained_cost(const setup_t *s, fastbp_rule_t rule, ptrdiff_t batch, int epochs) {
    const fastbp_fit_options_t options = {.batch_size = batch, .shuffle = true, .n_threads = 1};
    state_t state;
    new_state(&state, s, rule);
    fastbp_fit_t *fit = open_fit(s, state.theta, &state.optimizer, &options);
    fastbp_progress_t at;
    for (int epoch = 0; epoch < epochs; ++epoch)
        CHECK_STATUS(fastbp_fit_run(fit, 1e9, &at), FASTBP_OK);
    fastbp_fit_free(fit);
    const double cost = cost_at(s, state.theta);
    free_state(&state);
    return cost;
}

static void check_falls(const case_t *of) {
    setup_t s;
    set_up(&s, of, FASTBP_F32, ROWS);
    const double before = cost_at(&s, s.theta);
    const double after = trained_cost(&s, FASTBP_RULE_ADAM, BATCH, driver_small ? 20 : 60);
    CHECK(after < before, "%s: J rose from %g to %g", of->name, before, after);
    tear_down(&s);
}

/* ---- a step by hand ---- */

/* Where the rule takes its gradients: theta or, if it is schedule-free, y. */
static const void *point_of(const state_t *state) {
    const fastbp_optimizer_t *o = &state->optimizer.o;
    const bool is_free = o->rule == FASTBP_RULE_FREE_SGD || o->rule == FASTBP_RULE_FREE_ADAM;
    return is_free && o->t > 0 ? o->moment[1] : state->theta;
}

static void take_step(const setup_t *s, state_t *state) {
    fastbp_pass_t *pass;
    const void *point = point_of(state);
    double cost;
    void *grad = vector_of(s, NULL);
    if (!CHECK_STATUS(fastbp_pass_new(&pass, s->net, s->rows), FASTBP_OK)) abort();
    CHECK_STATUS(fastbp_forward(pass, point, &s->data), FASTBP_OK);
    CHECK_STATUS(fastbp_backward(pass, point, &s->data, grad, &cost), FASTBP_OK);
    CHECK_STATUS(fastbp_step(s->net, state->theta, grad, &state->optimizer.o), FASTBP_OK);
    fastbp_pass_free(pass);
    free(grad);
}

typedef void (*change_t)(optimizer_t *optimizer);

static void no_change(optimizer_t *optimizer) { (void)optimizer; }
static void clip_values(optimizer_t *optimizer) {
    optimizer->o.clip = FASTBP_CLIP_VALUE;
    optimizer->o.limit = 0.05;
}
static void clip_norms(optimizer_t *optimizer) {
    optimizer->o.clip = FASTBP_CLIP_NORM;
    optimizer->o.limit = 0.1;
    optimizer->o.grad = optimizer->vectors[FASTBP_MOMENTS];
}
static void clip_the_norm(optimizer_t *optimizer) {
    clip_norms(optimizer);
    optimizer->o.clip = FASTBP_CLIP_GLOBAL_NORM;
}
static void decay_weights(optimizer_t *optimizer) { optimizer->o.weight_decay = 0.01; }
static void decay_apart(optimizer_t *optimizer) {
    decay_weights(optimizer);
    optimizer->o.decoupled = true;
}
static void vary_rates(optimizer_t *optimizer) {
    optimizer->o.lr_factors = optimizer->o.decay_factors = optimizer->factors;
}
static void take_average(optimizer_t *optimizer) {
    optimizer->o.average = optimizer->vectors[FASTBP_MOMENTS + 1];
    optimizer->o.average_decay = 0.5;
    optimizer->o.average_start = 1;
}
static void climb(optimizer_t *optimizer) { optimizer->o.maximize = true; }

static const change_t changes[] = {no_change,     clip_values, clip_norms, clip_the_norm, climb,
                                   decay_weights, decay_apart, vary_rates, take_average};

/* Three steps of a session over the whole batch, and the same by passes and fastbp_step. */
static void check_steps(const setup_t *s, fastbp_rule_t rule, change_t change) {
    const fastbp_fit_options_t options = {.batch_size = ROWS, .n_threads = 1};
    state_t session, by_hand;
    fastbp_progress_t at;
    new_state(&session, s, rule);
    new_state(&by_hand, s, rule);
    change(&session.optimizer);
    change(&by_hand.optimizer);
    fastbp_fit_t *fit = open_fit(s, session.theta, &session.optimizer, &options);
    for (int step = 0; step < 3; ++step) {
        CHECK_STATUS(fastbp_fit_run(fit, 1e9, &at), FASTBP_OK);
        take_step(s, &by_hand);
    }
    fastbp_fit_free(fit);
    const double error = distance(s->dtype, session.theta, by_hand.theta, s->n_params);
    const double moved = distance(s->dtype, session.theta, s->theta, s->n_params);
    CHECK(error <= 1e-9 * moved && moved > 0, "%s: %g of %g", fastbp_rule_name((int)rule), error,
          moved);
    CHECK(session.optimizer.o.t == 3 && by_hand.optimizer.o.t == 3, "three steps");
    const void *mean = session.optimizer.o.average;
    CHECK(mean == NULL || all_finite(s->dtype, mean, s->n_params), "the average");
    free_state(&session);
    free_state(&by_hand);
}

void check_rules(void) {
    const case_t of = {"rules",         {5, 17, 6, 4},  {FASTBP_ACT_TANH, FASTBP_ACT_SILU},
                       FASTBP_LOSS_MSE, .n_targets = 4, .l1 = 1e-3,
                       .l2 = 1e-2};
    setup_t s;
    set_up(&s, &of, FASTBP_F64, ROWS);
    const double before = cost_at(&s, s.theta);
    for (int rule = 0; rule < FASTBP_RULE_COUNT; ++rule) {
        for (size_t i = 0; i < sizeof changes / sizeof *changes; ++i)
            check_steps(&s, (fastbp_rule_t)rule, changes[i]);
        const double after = trained_cost(&s, (fastbp_rule_t)rule, ROWS, 40);
        CHECK(after < before, "%s: J rose from %g to %g", fastbp_rule_name(rule), before, after);
    }
    tear_down(&s);
}

/* ---- what updates must respect ---- */

static void check_constraints(void) {
    const fastbp_layer_options_t options[MAX_LAYERS] = {{.max_norm = 0.5}, {.non_negative = true}};
    case_t of = {"constraints", {5, 7, 4}, {FASTBP_ACT_TANH}, FASTBP_LOSS_MSE, .n_targets = 4};
    setup_t s;
    memcpy(of.options, options, sizeof options);
    set_up(&s, &of, FASTBP_F64, ROWS);
    state_t state;
    new_state(&state, &s, FASTBP_RULE_SGD);
    fastbp_net_set_trainable(s.net, 2, true);
    take_step(&s, &state);
    const double *W1 = state.theta, *W2 = W1 + 5 * 7 + 7;
    for (int k = 0; k < 7; ++k) {
        double square = 0;
        for (int j = 0; j < 5; ++j) square += W1[j * 7 + k] * W1[j * 7 + k];
        CHECK(square <= 0.25 * (1 + 1e-12), "the norm of column %d is %g", k, sqrt(square));
    }
    for (int i = 0; i < 7 * 4; ++i) CHECK(W2[i] >= 0, "W2[%d] = %g", i, W2[i]);
    free_state(&state);
    tear_down(&s);
}

static void check_frozen(void) {
    setup_t s;
    set_up(&s, &wide_case, FASTBP_F32, ROWS);
    const fastbp_fit_options_t options = {.batch_size = BATCH, .n_threads = 1};
    const size_t first = (size_t)(40 * 130 + 130) * sizeof(float);
    state_t state;
    new_state(&state, &s, FASTBP_RULE_ADAM);
    fastbp_net_set_trainable(s.net, 1, false);
    fastbp_net_set_trainable(s.net, 99, false); /* no such layer: nothing happens */
    train(&s, &state, &options, 1e9);
    CHECK(memcmp(state.theta, s.theta, first) == 0, "a frozen layer");
    CHECK(memcmp((char *)state.theta + first, (char *)s.theta + first, 130 * 129 * 4) != 0,
          "the layer above it");
    free_state(&state);
    tear_down(&s);
}

void check_training(void) {
    for_each_case(check_resumed);
    for_each_case(check_falls);
    check_constraints();
    check_frozen();
}
