/* target_pass.c: forged networks and, if one is accepted, passes, derivatives and predictions in
 * any order, on one thread, then on several with other divisions of the work. Both must return the
 * same statuses and the same bits.
 *
 * Input: the ISA, the threads, the specification, data, parameters, then one call after another. */
#include "specs.h"

#include <string.h>

enum { MOST_ROWS = 12, MOST_CALLS = 12, N_DATA = 2 };

/* What the calls of one run share. */
typedef struct {
    made_t *made;
    fastbp_net_t *net;
    fastbp_pass_t *pass;
    fastbp_dtype_t dtype;
    ptrdiff_t capacity, rows, n_in, n_out; /* rows: of the last forward pass; 0: none */
    size_t n_params;
    void *theta, *grad;
    fastbp_data_t data[N_DATA];
    transcript_t *to;
} run_t;

/* Room for `cols` numbers per row of the last forward pass. */
static void *room(const run_t *run, ptrdiff_t cols) {
    return exact((size_t)(run->rows * cols), size_of(run->dtype));
}

static void note_rows(const run_t *run, const char *call, const void *out, ptrdiff_t cols) {
    note_values(run->to, call, run->dtype, out, (size_t)(run->rows * cols));
}

static void note_grad(const run_t *run, const char *call, const void *grad) {
    if (grad != NULL) note_values(run->to, call, run->dtype, grad, run->n_params);
}

static void note_buffers(const run_t *run) {
    for (int which = FASTBP_BUFFER_Z; which <= FASTBP_BUFFER_DELTA; ++which)
        for (int l = 1; l <= run->made->spec.n_layers; ++l) {
            ptrdiff_t ld;
            const char *at = fastbp_pass_buffer(run->pass, (fastbp_buffer_t)which, l, &ld);
            for (ptrdiff_t i = 0; i < run->rows; ++i)
                note_values(run->to, "pass_buffer", run->dtype,
                            at + (size_t)(i * ld) * size_of(run->dtype),
                            (size_t)width_of(run->made, l));
        }
}

/* A row vector per row, such as δ^L, with rows any distance apart. */
static const void *take_rows(input_t *in, const run_t *run, ptrdiff_t cols, ptrdiff_t *ld) {
    *ld = cols + take_below(in, 3);
    const size_t rows = run->rows > 0 ? (size_t)run->rows : 1;
    const size_t elems = (rows - 1) * (size_t)*ld + (size_t)cols;
    void *at = exact(elems, size_of(run->dtype));
    fill_tame(in, run->dtype, at, elems);
    return at;
}

static const void *take_weights(input_t *in, const run_t *run) {
    return take_flag(in) ? run->data[take_below(in, N_DATA)].weights : NULL;
}

static void call_forward(input_t *in, run_t *run, bool training) {
    fastbp_data_t data = run->data[take_below(in, N_DATA)];
    if (take_rarely(in)) data.rows = run->capacity + 1;
    if (take_rarely(in)) data.rows = take_below(in, 2) - 1;
    const uint64_t seed = take_byte(in), t = take_rarely(in) ? (uint64_t)take_word(in) : 1;
    const fastbp_status_t status =
        training ? fastbp_forward_training(run->pass, run->theta, &data, seed, t)
                 : fastbp_forward(run->pass, run->theta, &data);
    if (!note_status(run->to, "forward", status)) return;
    run->rows = data.rows;
    note_buffers(run);
}

static void call_backward(input_t *in, run_t *run) {
    const fastbp_data_t *data = &run->data[take_below(in, N_DATA)];
    void *grad = take_flag(in) ? run->grad : NULL;
    double cost = 0;
    const fastbp_status_t status = fastbp_backward(run->pass, run->theta, data, grad, &cost);
    if (!note_status(run->to, "backward", status)) return;
    note_values(run->to, "backward", FASTBP_F64, &cost, 1);
    note_grad(run, "backward", grad);
}

static void call_backward_from(input_t *in, run_t *run) {
    ptrdiff_t ld;
    const void *delta = take_rows(in, run, run->n_out, &ld), *weights = take_weights(in, run);
    if (weights != NULL && run->data[0].rows != run->data[1].rows) weights = NULL;
    void *grad = take_flag(in) ? run->grad : NULL;
    const fastbp_status_t status =
        fastbp_backward_from(run->pass, run->theta, delta, ld, weights, grad);
    if (note_status(run->to, "backward_from", status)) note_grad(run, "backward_from", grad);
}

static void call_pieces(input_t *in, run_t *run) {
    double cost = 0;
    ptrdiff_t ld;
    switch (take_below(in, 5)) {
    case 0:
        if (note_status(run->to, "backward_output",
                        fastbp_backward_output(run->pass, run->theta,
                                               &run->data[take_below(in, N_DATA)], &cost)))
            note_values(run->to, "backward_output", FASTBP_F64, &cost, 1);
        break;
    case 1: {
        const void *delta = take_rows(in, run, run->n_out, &ld);
        note_status(run->to, "inject", fastbp_backward_inject(run->pass, delta, ld, NULL));
        break;
    }
    case 2:
        if (note_status(run->to, "gradient",
                        fastbp_backward_gradient(run->pass, run->theta, run->grad)))
            note_grad(run, "gradient", run->grad);
        break;
    default:
        note_status(run->to, "layer",
                    fastbp_backward_layer(run->pass, run->theta,
                                          take_code(in, run->made->spec.n_layers + 1)));
    }
}

/* All layers, from the top. */
static void call_recursion(run_t *run) {
    for (int l = run->made->spec.n_layers - 1; l >= 1; --l)
        note_status(run->to, "layer", fastbp_backward_layer(run->pass, run->theta, l));
}

static void call_pull_back(input_t *in, run_t *run) {
    const int n_layers = run->made->spec.n_layers, layer = take_code(in, n_layers + 1);
    const bool known = layer >= 1 && layer <= n_layers;
    ptrdiff_t ld;
    const ptrdiff_t cols = known ? width_of(run->made, layer) : 1;
    void *g = (void *)(uintptr_t)take_rows(in, run, cols, &ld);
    if (note_status(run->to, "pull_back", fastbp_pull_back(run->pass, layer, g, ld)))
        note_values(run->to, "pull_back", run->dtype, g, (size_t)((run->rows - 1) * ld + cols));
}

static void call_input_gradient(run_t *run) {
    void *out = room(run, run->n_in);
    if (note_status(run->to, "input_gradient", fastbp_input_gradient(run->pass, run->theta, out)))
        note_rows(run, "input_gradient", out, run->n_in);
}

static void call_vjp(input_t *in, run_t *run) {
    ptrdiff_t ld;
    const void *v = take_rows(in, run, run->n_out, &ld);
    void *out = room(run, run->n_in);
    if (take_rarely(in)) v = NULL;
    if (note_status(run->to, "vjp", fastbp_vjp(run->pass, run->theta, v, ld, out)))
        note_rows(run, "vjp", out, run->n_in);
}

static void call_jacobian(run_t *run) {
    void *out = room(run, run->n_in * run->n_out);
    if (note_status(run->to, "jacobian", fastbp_jacobian(run->pass, run->theta, out)))
        note_rows(run, "jacobian", out, run->n_in * run->n_out);
}

static void call_samples(run_t *run) {
    void *out = exact((size_t)run->rows * run->n_params, size_of(run->dtype));
    const ptrdiff_t n_layers = run->made->spec.n_layers;
    double *norms = exact((size_t)(run->rows * n_layers), sizeof *norms);
    if (note_status(run->to, "sample_gradients", fastbp_sample_gradients(run->pass, out)))
        note_values(run->to, "sample_gradients", run->dtype, out,
                    (size_t)run->rows * run->n_params);
    if (note_status(run->to, "norms", fastbp_gradient_norms(run->pass, norms)))
        note_values(run->to, "norms", FASTBP_F64, norms, (size_t)(run->rows * n_layers));
    drop(out);
}

static void call_relevance(run_t *run) {
    void *out[MOST_LAYERS + 1];
    for (int l = 0; l <= run->made->spec.n_layers; ++l) out[l] = room(run, width_of(run->made, l));
    if (!note_status(run->to, "relevance", fastbp_relevance(run->pass, run->theta, out))) return;
    for (int l = 0; l <= run->made->spec.n_layers; ++l)
        note_rows(run, "relevance", out[l], width_of(run->made, l));
}

static void *take_direction(input_t *in, const run_t *run) {
    void *v = exact(run->n_params, size_of(run->dtype));
    fill_tame(in, run->dtype, v, run->n_params);
    return v;
}

static void call_jvp(input_t *in, run_t *run) {
    ptrdiff_t ld;
    const void *dx = take_rows(in, run, run->n_in, &ld), *dtheta = take_direction(in, run);
    if (take_rarely(in)) dx = NULL;
    if (take_flag(in)) dtheta = NULL;
    void *out = room(run, run->n_out);
    if (note_status(run->to, "jvp", fastbp_jvp(run->pass, run->theta, dx, ld, dtheta, out)))
        note_rows(run, "jvp", out, run->n_out);
}

static void call_hvp(input_t *in, run_t *run) {
    const void *v = take_direction(in, run);
    void *out = exact(run->n_params, size_of(run->dtype));
    if (note_status(run->to, "hvp", fastbp_hvp(run->pass, run->theta, v, out)))
        note_values(run->to, "hvp", run->dtype, out, run->n_params);
}

static void call_predict(input_t *in, run_t *run) {
    fastbp_data_t data = run->data[take_below(in, N_DATA)];
    const bool wants_cost = take_flag(in);
    void *out = exact((size_t)(data.rows * run->n_out), size_of(run->dtype));
    double cost = 0;
    const size_t n = (size_t)(data.rows * run->n_out);
    if (take_rarely(in)) data.rows = take_below(in, 2) - 1;
    if (!note_status(run->to, "predict",
                     fastbp_predict(run->net, run->theta, &data, out, wants_cost ? &cost : NULL)))
        return;
    note_values(run->to, "predict", run->dtype, out, n);
    note_values(run->to, "predict", FASTBP_F64, &cost, 1);
}

/* The places and names that need no pass. */
static void call_others(input_t *in, run_t *run) {
    const int layer = take_code(in, run->made->spec.n_layers + 1);
    ptrdiff_t ld;
    void *at = fastbp_pass_buffer(run->pass, FASTBP_BUFFER_DELTA, layer, &ld);
    REQUIRE((at != NULL) == (layer >= 1 && layer <= run->made->spec.n_layers), "layer %d", layer);
    REQUIRE(fastbp_products(run->net, take_in(in, 1, 100)) != NULL, "products have a name");
    REQUIRE(at == NULL || fastbp_pass_overlaps(run->pass, at, 1), "δ belongs to the pass");
    REQUIRE(!fastbp_pass_overlaps(run->pass, run->theta, run->n_params), "theta does not");
    if (at == NULL) return;
    for (ptrdiff_t i = 0; i < run->capacity; ++i) /* a caller may write δ */
        for (ptrdiff_t k = 0; k < width_of(run->made, layer); ++k)
            put(run->dtype, at, (size_t)(i * ld + k), (double)(i - k) / 8);
}

static void call(input_t *in, run_t *run) {
    switch (take_below(in, 18)) {
    case 0:
    case 1: call_forward(in, run, false); break;
    case 2: call_forward(in, run, true); break;
    case 3:
    case 4: call_backward(in, run); break;
    case 5: call_backward_from(in, run); break;
    case 6:
    case 7: call_pieces(in, run); break;
    case 8: call_recursion(run); break;
    case 9: call_pull_back(in, run); break;
    case 10: call_input_gradient(run); break;
    case 11: call_vjp(in, run); break;
    case 12: call_jacobian(run); break;
    case 13: call_samples(run); break;
    case 14: call_relevance(run); break;
    case 15: call_jvp(in, run); break;
    case 16: call_hvp(in, run); break;
    default: call_predict(in, run); call_others(in, run);
    }
}

/* Plays the calls of the input; false if there is no network to play with. */
static bool play(input_t in, transcript_t *to) {
    run_t run = {.to = to};
    run.net = take_network(&in, &run.made);
    if (run.net == NULL) return false;
    run.dtype = run.made->spec.dtype;
    run.n_in = width_of(run.made, 0);
    run.n_out = width_of(run.made, run.made->spec.n_layers);
    run.n_params = fastbp_net_n_params(run.net);
    run.theta = exact(run.n_params, size_of(run.dtype));
    run.grad = exact(run.n_params, size_of(run.dtype));
    run.capacity = take_in(&in, 1, MOST_ROWS);
    for (int i = 0; i < N_DATA; ++i)
        run.data[i] = take_data(&in, run.made, take_in(&in, 1, (int)run.capacity));
    if (run.made->tame) fill_tame(&in, run.dtype, run.theta, run.n_params);
    else fill_any(&in, run.dtype, run.theta, run.n_params);
    if (note_status(to, "pass_new", fastbp_pass_new(&run.pass, run.net, run.capacity))) {
        call_forward(&in, &run, false);
        for (int i = 0; i < MOST_CALLS && in.at < in.end; ++i) call(&in, &run);
        fastbp_pass_free(run.pass);
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
    fastbp_set_num_threads(1);
    if (!play(*in, &alone)) return;
    use_tiny_machine(machine);
    fastbp_set_num_threads(threads);
    play(*in, &together);
    require_same(&alone, &together, "other threads and machine");
}
