/* activate.c: see activate.h. The gradient of a constant c is Σ_i ∂J_i/∂c, with
 * ∂J_i/∂c = Σ_j ∂J_i/∂a_j · ∂f/∂c (He, Zhang, Ren, Sun, "Delving deep into rectifiers",
 * arXiv:1502.01852, 2015, for the slope of a rectifier). */
#include "activate.h"

#include <string.h>

/* The inputs of a program, in their order. */
typedef struct {
    const fastbp_net_t *net;
    const fbp_layer_t *layer;
    fbp_source_t source[2 * FASTBP_MAX_CONSTANTS + 4];
    int count;
} inputs_t;

static void add_rows(inputs_t *in, const void *at, long ld) {
    in->source[in->count++] = (fbp_source_t){.at = at, .ld = ld};
}

/* The constants of the layer, or their R{c}, from the place of the first: the same for all rows. */
static void add_constants(inputs_t *in, const void *first) {
    const fbp_formula_t *formula = in->layer->formula;
    const long each = formula->per_unit ? in->layer->n_out : 1;
    for (long k = 0; k < formula->n_constants; ++k)
        add_rows(in, fbp_at(in->net, first, (size_t)(k * each)), 0);
}

static inputs_t inputs_of(const fbp_batch_t *batch, int l, const void *n, long ldn) {
    const fastbp_net_t *net = batch->plan->net;
    const fbp_layer_t *layer = &net->layer[l - 1];
    inputs_t in = {.net = net, .layer = layer};
    add_rows(&in, n, ldn);
    add_constants(&in, fbp_at(net, batch->theta, layer->constants));
    return in;
}

/* The same, with the batch's own n from row0 on. */
static inputs_t inputs_at(const fbp_batch_t *batch, int l, long row0) {
    const fbp_rows_t *n = fbp_plan_slope_rows(batch->plan, l);
    return inputs_of(batch, l, fbp_row_at(batch->plan, n, row0), n->ld);
}

/* R{c}; zeros, which are in scratch->column, if theta does not move. */
static void add_moved(inputs_t *in, const void *moved, const fbp_scratch_t *scratch) {
    const size_t bytes = (size_t)in->layer->n_constants * in->net->kernels->elem_size;
    if (moved == NULL) memset(scratch->column, 0, bytes);
    add_constants(in,
                  moved != NULL ? fbp_at(in->net, moved, in->layer->constants) : scratch->column);
}

static void run(const inputs_t *in, const fbp_scratch_t *scratch, const fbp_program_t *program,
                long rows, const fbp_target_t *target) {
    in->net->kernels->run_elements(&(fbp_run_t){
        .program = program,
        .rows = rows,
        .cols = in->layer->n_out,
        .source = in->source,
        .target = target,
        .scratch = scratch->run,
    });
}

/* The first output goes to delta. The others, one per constant, are a number per unit in
 * kept[row,·]: the gradients of the constants of a sample. */
static void run_by_units(const inputs_t *in, const fbp_scratch_t *scratch,
                         const fbp_program_t *program, long rows, fbp_target_t delta, void *kept,
                         long ldk) {
    fbp_target_t target[1 + FASTBP_MAX_CONSTANTS] = {delta};
    for (long k = 0; kept != NULL && k < in->layer->formula->n_constants; ++k)
        target[1 + k] = (fbp_target_t){fbp_at(in->net, kept, (size_t)(k * in->layer->n_out)), ldk};
    run(in, scratch, program, rows, target);
}

/* The same for constants of a whole layer: a few rows at a time, whose terms are added up over the
 * units. */
static void run_by_layer(inputs_t *in, const fbp_scratch_t *scratch, const fbp_program_t *program,
                         long rows, fbp_target_t delta, void *kept, long ldk) {
    const fastbp_net_t *net = in->net;
    const long n_out = in->layer->n_out, n = in->layer->formula->n_constants;
    const long most = fbp_term_rows(n_out);
    for (long row = 0; row < rows; row += most) {
        const long now = fbp_min_long(most, rows - row);
        run_by_units(in, scratch, program, now, delta, scratch->terms, n * n_out);
        for (long k = 0; k < n; ++k) {
            const fbp_mat_t terms = {fbp_at(net, scratch->terms, (size_t)(k * n_out)), now, n_out,
                                     n * n_out};
            net->kernels->row_sums(&terms, fbp_at(net, kept, (size_t)(row * ldk + k)), ldk);
        }
        for (int i = 0; i < in->count; ++i)
            in->source[i].at = fbp_at(net, in->source[i].at, (size_t)(now * in->source[i].ld));
        delta.at = fbp_at(net, delta.at, (size_t)(now * delta.ld));
    }
}

static void run_slopes(inputs_t *in, const fbp_scratch_t *scratch, const fbp_program_t *program,
                       long rows, fbp_target_t delta, void *kept, long ldk) {
    const bool sums = kept != NULL && !in->layer->formula->per_unit;
    if (sums) run_by_layer(in, scratch, program, rows, delta, kept, ldk);
    else run_by_units(in, scratch, program, rows, delta, kept, ldk);
}

/* The part of `kept` from row0 on, or NULL if there are no constants to keep anything of. */
static void *kept_at(const fbp_batch_t *batch, const fbp_rows_t *kept, long row0) {
    return kept != NULL && kept->at != NULL ? fbp_row_at(batch->plan, kept, row0) : NULL;
}

void fbp_activate(const fbp_batch_t *batch, const fbp_scratch_t *scratch, int l, const fbp_mat_t *n,
                  void *a, long lda) {
    const fbp_layer_t *layer = &batch->plan->net->layer[l - 1];
    if (layer->formula == NULL) {
        batch->plan->net->kernels->act_forward(layer->act, layer->alpha, n, a, lda);
        return;
    }
    const inputs_t in = inputs_of(batch, l, n->at, n->ld);
    run(&in, scratch, layer->formula->value, n->rows, &(fbp_target_t){a, lda});
}

void fbp_act_pull_back(const fbp_batch_t *batch, const fbp_scratch_t *scratch, int l, long row0,
                       long rows, void *delta, long ldd, const fbp_rows_t *kept) {
    const fbp_plan_t *plan = batch->plan;
    const fbp_layer_t *layer = &plan->net->layer[l - 1];
    if (layer->formula == NULL) {
        const fbp_mat_t aux =
            fbp_block_of(plan, fbp_plan_slope_rows(plan, l), row0, rows, layer->n_out);
        plan->net->kernels->act_backward(layer->act, layer->alpha, &aux, delta, ldd);
        return;
    }
    inputs_t in = inputs_at(batch, l, row0);
    add_rows(&in, delta, ldd);
    run_slopes(&in, scratch, layer->formula->slope, rows, (fbp_target_t){delta, ldd},
               kept_at(batch, kept, row0), kept != NULL ? kept->ld : 0);
}

void fbp_formula_push(const fbp_batch_t *batch, const fbp_scratch_t *scratch, int l, long row0,
                      const void *moved, const fbp_mat_t *rn, void *ra, long ldra) {
    inputs_t in = inputs_at(batch, l, row0);
    add_rows(&in, rn->at, rn->ld);
    add_moved(&in, moved, scratch);
    run(&in, scratch, in.layer->formula->push, rn->rows, &(fbp_target_t){ra, ldra});
}

void fbp_formula_curve(const fbp_batch_t *batch, const fbp_scratch_t *scratch, int l, long row0,
                       const void *moved, const fbp_mat_t *rn, const fbp_mat_t *g, void *delta,
                       long ldd, const fbp_rows_t *kept) {
    inputs_t in = inputs_at(batch, l, row0);
    add_rows(&in, g->at, g->ld);
    add_rows(&in, rn->at, rn->ld);
    add_moved(&in, moved, scratch);
    add_rows(&in, delta, ldd);
    run_slopes(&in, scratch, in.layer->formula->curve, rn->rows, (fbp_target_t){delta, ldd},
               kept_at(batch, kept, row0), kept->ld);
}
