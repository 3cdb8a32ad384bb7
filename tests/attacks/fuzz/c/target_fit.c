/* target_fit.c: training sessions with forged data, optimisers, options, rates, teams and places:
 * on one thread, then on several with other divisions of the work. Both must return the same
 * statuses and train to the same bits. A step that fails must leave the parameters as they were.
 *
 * Input: the ISA, the threads, the specification, data, the optimiser, options, then calls. */
#include "specs.h"

#include <math.h>
#include <string.h>

enum { MOST_ROWS = 24, MOST_CALLS = 12, N_DATA = 2 };

typedef struct {
    made_t *made;
    fastbp_net_t *net;
    fastbp_fit_t *fit;
    fastbp_dtype_t dtype;
    size_t n_params;
    void *theta, *before;
    fastbp_optimizer_t optimizer;
    fastbp_data_t data[N_DATA];
    bool failed; /* a step has failed, whose J stays the last one while no sample has a weight */
    transcript_t *to;
} run_t;

static void *take_state(input_t *in, const run_t *run) {
    void *state = exact(run->n_params, size_of(run->dtype));
    if (take_rarely(in)) fill_any(in, run->dtype, state, run->n_params);
    return state;
}

static void take_hypers(input_t *in, fastbp_optimizer_t *o) {
    o->lr = take_byte(in) / 256.0 + 0.001;
    o->momentum = take_byte(in) / 256.0;
    o->beta1 = take_byte(in) / 256.0;
    o->beta2 = take_byte(in) / 256.0;
    o->eps = 1e-8;
    o->shrink = 0.5;
    o->grow = 1.2;
    o->least = 1e-6;
    o->most = 50;
    o->warmup = take_byte(in) % 8;
    o->iterations = take_byte(in) % 4;
    o->linear = 3.4445;
    o->cubic = -4.775;
    o->quintic = 2.0315;
    if (o->rule == FASTBP_RULE_MOMENTUM) o->dampening = take_byte(in) / 256.0;
    if (o->rule == FASTBP_RULE_ADAGRAD) o->lr_decay = take_byte(in) / 256.0;
    if (o->rule == FASTBP_RULE_NADAM) o->momentum_decay = take_byte(in) / 1024.0;
}

static void take_optimizer(input_t *in, run_t *run) {
    fastbp_optimizer_t *o = &run->optimizer;
    o->rule = (fastbp_rule_t)take_code(in, FASTBP_RULE_COUNT);
    take_hypers(in, o);
    const unsigned flags = take_byte(in);
    for (int i = 0; i < FASTBP_MOMENTS; ++i)
        if (!take_rarely(in)) o->moment[i] = take_state(in, run);
    if (flags & 1) o->weight_decay = take_byte(in) / 256.0;
    o->decoupled = flags & 2;
    o->maximize = flags & 4;
    if (flags & 8) o->clip = (fastbp_clip_t)take_code(in, FASTBP_CLIP_GLOBAL_NORM + 1);
    o->limit = o->clip != FASTBP_CLIP_NONE ? take_byte(in) / 16.0 : 0;
    if (!take_rarely(in)) o->grad = take_state(in, run);
    if (flags & 16) {
        const size_t n = (size_t)run->made->spec.n_layers * FASTBP_GROUPS;
        double *factors = exact(n, sizeof *factors);
        for (size_t i = 0; i < n; ++i) factors[i] = (1 + take_byte(in)) / 64.0;
        o->lr_factors = o->decay_factors = factors;
    }
    if (flags & 32) {
        o->average = take_state(in, run);
        o->average_decay = take_fraction(in);
        o->average_start = take_byte(in) % 4;
    }
    if (flags & 64) o->t = take_flag(in) ? (uint64_t)take_byte(in) : (uint64_t)take_word(in);
    if (flags & 128) { /* one number of any value */
        double *hyper = fastbp_hyper_at(o, take_code(in, 18));
        if (hyper != NULL) *hyper = take_number(in);
    }
}

static fastbp_fit_options_t take_options(input_t *in, int threads) {
    fastbp_fit_options_t options = {
        .batch_size = take_size(in, 1, MOST_ROWS),
        .shuffle = take_flag(in),
        .seed = take_byte(in),
        .n_threads = threads,
    };
    if (take_byte(in) % 4 == 3) options.part_rows = take_size(in, 0, MOST_ROWS);
    if (take_rarely(in)) options.n_threads = -1;
    return options;
}

/* ---- calls ---- */

static void note_state(run_t *run) {
    const fastbp_optimizer_t *o = &run->optimizer;
    note_values(run->to, "theta", run->dtype, run->theta, run->n_params);
    for (int i = 0; i < FASTBP_MOMENTS; ++i)
        if (o->moment[i] != NULL)
            note_values(run->to, "moment", run->dtype, o->moment[i], run->n_params);
    if (o->average != NULL) note_values(run->to, "average", run->dtype, o->average, run->n_params);
}

static void call_run(input_t *in, run_t *run) {
    const bool single = take_flag(in);
    fastbp_progress_t progress = {0};
    memcpy(run->before, run->theta, run->n_params * size_of(run->dtype));
    const fastbp_status_t status = fastbp_fit_run(run->fit, single ? 0 : 1e9, &progress);
    note_status(run->to, "run", status);
    if (status == FASTBP_ERR_ARGUMENT) return; /* the optimiser */
    if (single && status != FASTBP_OK)
        REQUIRE(same_bits(run->dtype, run->theta, run->before, run->n_params),
                "a step that failed has changed theta");
    const fastbp_place_t *place = &progress.place;
    const double numbers[] = {
        progress.loss,          progress.last_loss,    (double)progress.epoch_done,
        (double)progress.epoch, (double)progress.step, (double)place->first,
        (double)place->block,   place->loss_sum,       place->weight_sum};
    note_values(run->to, "run", FASTBP_F64, numbers, sizeof numbers / sizeof numbers[0]);
    run->failed |= status != FASTBP_OK;
    REQUIRE(run->failed || isfinite(progress.last_loss), "J of a step is not finite");
    note_state(run);
}

static void call_seek(input_t *in, run_t *run) {
    fastbp_place_t place = {
        .epoch = take_size(in, 0, 9),
        .step = take_size(in, 0, 99),
        .block = take_size(in, 0, 9),
        .first = take_size(in, 0, MOST_ROWS),
        .loss_sum = take_byte(in),
        .weight_sum = take_byte(in),
    };
    if (take_rarely(in)) place.loss_sum = take_number(in);
    if (take_rarely(in)) place.weight_sum = take_number(in);
    note_status(run->to, "seek", fastbp_fit_seek(run->fit, &place));
}

static void call_rates(input_t *in, run_t *run) {
    const int n = take_in(in, 0, 5);
    double *rates = exact((size_t)n, sizeof *rates), *momenta = exact((size_t)n, sizeof *momenta);
    for (int i = 0; i < n; ++i) {
        rates[i] = take_rarely(in) ? take_number(in) : take_byte(in) / 256.0;
        momenta[i] = take_fraction(in);
    }
    note_status(run->to, "rates",
                fastbp_fit_set_rates(run->fit, take_rarely(in) ? NULL : rates,
                                     take_flag(in) ? momenta : NULL, n));
}

/* Sizes of teams differ between the runs, so their status is not noted. */
static void call_teams(input_t *in, run_t *run) {
    const int n = take_in(in, 0, 4);
    int *sizes = exact((size_t)n, sizeof *sizes);
    for (int i = 0; i < n; ++i) sizes[i] = take_rarely(in) ? take_code(in, 4) : take_in(in, 1, 3);
    (void)succeeded(fastbp_fit_set_teams(run->fit, take_rarely(in) ? NULL : sizes, n));
}

static void call_report(run_t *run) {
    fastbp_fit_report_t report;
    fastbp_layer_report_t layers[MOST_LAYERS + 1];
    fastbp_fit_report(run->fit, &report, layers);
    REQUIRE(report.threads_now >= 1 && report.threads_now <= report.threads_planned,
            "%d of %d threads", report.threads_now, report.threads_planned);
    REQUIRE(report.products != NULL && report.row_blocks >= 1 && report.tiles >= 1,
            "%td blocks, %td tiles", report.row_blocks, report.tiles);
}

/* One update outside a session, from a gradient of any numbers. */
static void call_step(input_t *in, run_t *run) {
    void *grad = exact(run->n_params, size_of(run->dtype));
    if (take_flag(in)) fill_tame(in, run->dtype, grad, run->n_params);
    else fill_any(in, run->dtype, grad, run->n_params);
    if (note_status(run->to, "step", fastbp_step(run->net, run->theta, grad, &run->optimizer)))
        note_state(run);
}

static void call(input_t *in, run_t *run) {
    switch (take_below(in, 12)) {
    default: call_run(in, run); break;
    case 4: call_seek(in, run); break;
    case 5: call_rates(in, run); break;
    case 6: call_teams(in, run); break;
    case 7:
        note_status(run->to, "rebind",
                    fastbp_fit_rebind(run->fit, &run->data[take_below(in, N_DATA)]));
        break;
    case 8: (void)succeeded(fastbp_fit_set_clocks(run->fit, take_flag(in))); break;
    case 9: call_report(run); break;
    case 10:
        fastbp_net_set_trainable(run->net, take_code(in, MOST_LAYERS + 1), take_flag(in));
        break;
    case 11: call_step(in, run); break;
    }
}

/* Plays the calls of the input; false if there is no network to play with. */
static bool play(input_t in, int threads, transcript_t *to) {
    run_t run = {.to = to};
    run.net = take_network(&in, &run.made);
    if (run.net == NULL) return false;
    run.dtype = run.made->spec.dtype;
    run.n_params = fastbp_net_n_params(run.net);
    run.theta = exact(run.n_params, size_of(run.dtype));
    run.before = exact(run.n_params, size_of(run.dtype));
    for (int i = 0; i < N_DATA; ++i)
        run.data[i] = take_data(&in, run.made, take_in(&in, 1, MOST_ROWS));
    if (run.made->tame) fill_tame(&in, run.dtype, run.theta, run.n_params);
    else fill_any(&in, run.dtype, run.theta, run.n_params);
    take_optimizer(&in, &run);
    const fastbp_fit_options_t options = take_options(&in, threads);
    fastbp_data_t first = run.data[0];
    if (take_rarely(&in)) first.rows = take_below(&in, 2) - 1;
    if (take_rarely(&in)) first.rows = PTRDIFF_MAX;
    const fastbp_status_t status =
        fastbp_fit_new(&run.fit, run.net, run.theta, &first, &run.optimizer, &options);
    REQUIRE((status == FASTBP_OK) == (run.fit != NULL), "a session without success");
    if (note_status(to, "fit_new", status)) {
        call_run(&in, &run);
        for (int i = 0; i < MOST_CALLS && in.at < in.end; ++i) call(&in, &run);
        fastbp_fit_free(run.fit);
    }
    fastbp_net_free(run.net);
    return true;
}

void target(input_t *in) {
    static transcript_t alone, together;
    take_isa(in);
    const unsigned machine = take_byte(in);
    const int threads = take_in(in, 1, 3);
    alone.n = together.n = 0;
    if (!play(*in, 1, &alone)) return;
    use_tiny_machine(machine);
    play(*in, threads, &together);
    require_same(&alone, &together, "other threads and machine");
}
