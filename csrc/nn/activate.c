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

static void add_rows(inputs_t *in, const void *at, ptrdiff_t ld) {
    in->source[in->count++] = (fbp_source_t){.at = at, .ld = ld};
}

/* The constants of the layer, or their R{c}, from the place of the first: the same for all rows. */
static void add_constants(inputs_t *in, const void *first) {
    const fbp_formula_t *formula = in->layer->formula;
    const size_t each = formula->per_unit ? (size_t)in->layer->n_out : 1;
    for (int k = 0; k < formula->n_constants; ++k)
        add_rows(in, fbp_at(in->net, first, (size_t)k * each), 0);
}

static inputs_t inputs_of(const fbp_batch_t *batch, int l, const void *n, ptrdiff_t ldn) {
    const fastbp_net_t *net = batch->plan->net;
    const fbp_layer_t *layer = &net->layer[l - 1];
    inputs_t in = {.net = net, .layer = layer};
    add_rows(&in, n, ldn);
    add_constants(&in, fbp_at(net, batch->theta, layer->constants));
    return in;
}

/* The same, with the batch's own n from row0 on. */
static inputs_t inputs_at(const fbp_batch_t *batch, int l, ptrdiff_t row0) {
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
                ptrdiff_t rows, const fbp_target_t *target) {
    in->net->kernels->run_elements(&(fbp_run_t){
        .program = program,
        .rows = rows,
        .cols = in->layer->n_out,
        .source = in->source,
        .target = target,
        .scratch = scratch->run,
    });
}

/* Where the results of `slope` and `curve` go: the first to delta, in place; those of the constants
 * to the batch's rows row0 … of `kept`, laid out as plan->dc, or nowhere if it is NULL. */
typedef struct {
    fbp_target_t delta;
    const fbp_rows_t *kept;
    ptrdiff_t row0;
} slopes_t;

static slopes_t slopes_to(const inputs_t *in, void *delta, ptrdiff_t ldd, const fbp_rows_t *kept,
                          ptrdiff_t row0) {
    const bool keeps = kept != NULL && in->layer->n_constants > 0;
    return (slopes_t){{delta, ldd}, keeps ? kept : NULL, row0};
}

/* One matrix per constant, `each` elements apart from `first` on: a number per row and unit. first
 * NULL: they are not wanted. */
static void run_by_units(const inputs_t *in, const fbp_scratch_t *scratch,
                         const fbp_program_t *program, ptrdiff_t rows, fbp_target_t delta,
                         void *first, size_t each, ptrdiff_t ld) {
    fbp_target_t target[1 + FASTBP_MAX_CONSTANTS] = {delta};
    for (int k = 0; first != NULL && k < in->layer->formula->n_constants; ++k)
        target[1 + k] = (fbp_target_t){fbp_at(in->net, first, (size_t)k * each), ld};
    run(in, scratch, program, rows, target);
}

/* For constants of a whole layer: a few rows at a time, whose numbers are added up over the units.
 */
static void run_by_layer(inputs_t *in, const fbp_scratch_t *scratch, const fbp_program_t *program,
                         ptrdiff_t rows, slopes_t to) {
    const fastbp_net_t *net = in->net;
    const ptrdiff_t n_out = in->layer->n_out, most = fbp_term_rows(n_out);
    const size_t each = (size_t)most * (size_t)n_out;
    for (ptrdiff_t row = 0; row < rows; row += most) {
        const ptrdiff_t now = fbp_min(most, rows - row);
        run_by_units(in, scratch, program, now, to.delta, scratch->terms, each, n_out);
        for (int k = 0; k < in->layer->formula->n_constants; ++k) {
            const fbp_mat_t terms = {fbp_at(net, scratch->terms, (size_t)k * each), now, n_out,
                                     n_out};
            net->kernels->row_sums(&terms, fbp_at(net, to.kept->row[k], (size_t)(to.row0 + row)),
                                   1);
        }
        for (int i = 0; i < in->count; ++i)
            in->source[i].at =
                fbp_at(net, in->source[i].at, (size_t)now * (size_t)in->source[i].ld);
        to.delta.at = fbp_at(net, to.delta.at, (size_t)now * (size_t)to.delta.ld);
    }
}

static void run_slopes(inputs_t *in, const fbp_scratch_t *scratch, const fbp_program_t *program,
                       ptrdiff_t rows, slopes_t to) {
    const size_t n_out = (size_t)in->layer->n_out;
    if (to.kept == NULL) run_by_units(in, scratch, program, rows, to.delta, NULL, 0, 0);
    else if (!in->layer->formula->per_unit) run_by_layer(in, scratch, program, rows, to);
    else
        run_by_units(in, scratch, program, rows, to.delta,
                     fbp_at(in->net, to.kept->row[to.row0], 0), n_out, to.kept->ld);
}

void fbp_activate(const fbp_batch_t *batch, const fbp_scratch_t *scratch, int l, const fbp_mat_t *n,
                  void *a, ptrdiff_t lda) {
    const fbp_layer_t *layer = &batch->plan->net->layer[l - 1];
    if (layer->formula == NULL) {
        batch->plan->net->kernels->act_forward(layer->act, layer->alpha, n, a, lda);
        return;
    }
    const inputs_t in = inputs_of(batch, l, n->at, n->ld);
    run(&in, scratch, layer->formula->value, n->rows, &(fbp_target_t){a, lda});
}

void fbp_act_pull_back(const fbp_batch_t *batch, const fbp_scratch_t *scratch, int l,
                       ptrdiff_t row0, ptrdiff_t rows, void *delta, ptrdiff_t ldd,
                       const fbp_rows_t *kept) {
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
    /* training neither updates a frozen layer nor shows its gradient */
    const bool unused = plan->kind == FBP_PLAN_TRAIN && layer->frozen;
    run_slopes(&in, scratch, layer->formula->slope, rows,
               slopes_to(&in, delta, ldd, unused ? NULL : kept, row0));
}

void fbp_formula_push(const fbp_batch_t *batch, const fbp_scratch_t *scratch, int l, ptrdiff_t row0,
                      const void *moved, const fbp_mat_t *rn, void *ra, ptrdiff_t ldra) {
    inputs_t in = inputs_at(batch, l, row0);
    add_rows(&in, rn->at, rn->ld);
    add_moved(&in, moved, scratch);
    run(&in, scratch, in.layer->formula->push, rn->rows, &(fbp_target_t){ra, ldra});
}

void fbp_formula_curve(const fbp_batch_t *batch, const fbp_scratch_t *scratch, int l,
                       ptrdiff_t row0, const void *moved, const fbp_mat_t *rn, const fbp_mat_t *g,
                       void *delta, ptrdiff_t ldd, const fbp_rows_t *kept) {
    inputs_t in = inputs_at(batch, l, row0);
    add_rows(&in, g->at, g->ld);
    add_rows(&in, rn->at, rn->ld);
    add_moved(&in, moved, scratch);
    add_rows(&in, delta, ldd);
    run_slopes(&in, scratch, in.layer->formula->curve, rn->rows,
               slopes_to(&in, delta, ldd, kept, row0));
}
