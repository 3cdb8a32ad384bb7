/* plan.c: see plan.h. One function carves the arena; it runs twice, first to count the bytes and
 * then to hand out the buffers. */
#include "plan.h"

#include "../threads/count.h"

#include <math.h>
#include <stdlib.h>

/* Whether the backward step through a hidden layer needs its z. */
static bool keeps_z(const fbp_layer_t *layer) {
    return fbp_act_by_z(layer->act) || layer->has.norm != FASTBP_NORM_NONE;
}

/* Room for a matrix with a row for each row of a batch. */
static void take_rows(fbp_plan_t *plan, fbp_arena_t *arena, fbp_rows_t *rows, ptrdiff_t width) {
    fbp_take_rows(plan->net, arena, rows, plan->capacity, width);
}

/* Room for plan->dc: per unit, a row for each sample; per layer, a row for each constant. */
static void take_constants(fbp_plan_t *plan, fbp_arena_t *arena, int l) {
    const fbp_layer_t *layer = &plan->net->layer[l - 1];
    if (layer->formula->per_unit) take_rows(plan, arena, &plan->dc[l], layer->n_constants);
    else fbp_take_rows(plan->net, arena, &plan->dc[l], layer->n_constants, plan->capacity);
}

/* The buffers of a layer besides z, a and δ: of its options, and of its constants. Those of dropout
 * in an inspection come later (fbp_plan_set_dropout). */
static void carve_options(fbp_plan_t *plan, fbp_arena_t *arena, int l) {
    const fbp_layer_t *layer = &plan->net->layer[l - 1];
    const fastbp_layer_options_t *has = &layer->has;
    const bool train = plan->kind == FBP_PLAN_TRAIN;
    if (has->residual || (train && has->dropout > 0))
        take_rows(plan, arena, &plan->act[l], layer->n_out);
    if (layer->n_constants > 0) take_constants(plan, arena, l);
    if (has->norm == FASTBP_NORM_NONE) return;
    take_rows(plan, arena, &plan->dn[l], layer->n_out);
    if (fbp_act_by_z(layer->act)) take_rows(plan, arena, &plan->n[l], layer->n_out);
    const size_t of_rows = 2 * (size_t)plan->capacity;
    const size_t of_units = FBP_BATCH_STATS * (size_t)layer->n_out;
    plan->stats[l] = fbp_arena_take(arena, has->norm == FASTBP_NORM_BATCH ? of_units : of_rows,
                                    plan->net->kernels->elem_size);
}

/* Whether z and a of the output layer are one buffer, because they are equal. Callers may write
 * into the buffers of an inspection, so there they are two. */
static bool output_is_z(const fbp_plan_t *plan) {
    const int act = plan->net->layer[plan->net->n_layers - 1].act;
    return act == FASTBP_ACT_IDENTITY && plan->kind != FBP_PLAN_INSPECT;
}

static void carve_scaled_weights(fbp_plan_t *plan, fbp_arena_t *arena) {
    const fastbp_net_t *net = plan->net;
    for (int i = 0; i < net->n_layers; ++i) {
        const fbp_layer_t *layer = &net->layer[i];
        if (!layer->has.scale) continue;
        const size_t elems = (size_t)layer->n_in * (size_t)layer->n_out; /* as in theta */
        plan->scaled_w[i] = fbp_arena_take(arena, elems, net->kernels->elem_size);
    }
}

/* The buffers of a pass forward and backward, for training or for inspection. */
static void carve_passes(fbp_plan_t *plan, fbp_arena_t *arena) {
    const fastbp_net_t *net = plan->net;
    const fbp_kernels_t *kernels = net->kernels;
    const bool inspect = plan->kind == FBP_PLAN_INSPECT;
    const fbp_factors_kind_t products = plan->factors.kind;
    ptrdiff_t skip_width = 0;
    for (int l = 1; l <= net->n_layers; ++l) {
        const fbp_layer_t *layer = &net->layer[l - 1];
        take_rows(plan, arena, &plan->a[l], layer->n_out);
        take_rows(plan, arena, &plan->delta[l], layer->n_out);
        if (l == net->n_layers && output_is_z(plan)) plan->z[l] = plan->a[l];
        else if (inspect || l == net->n_layers || keeps_z(layer))
            take_rows(plan, arena, &plan->z[l], layer->n_out);
        if ((l > 1 || inspect || net->has_embedding) && products != FBP_FACTORS_TILES)
            plan->wt[l - 1] = fbp_take_panels(net, arena, layer->n_in, layer->n_out);
        const bool long_rows =
            layer->n_out * (ptrdiff_t)kernels->elem_size >= net->machine->panels_min_bytes;
        if (products == FBP_FACTORS_ROUNDED ||
            (products == FBP_FACTORS_OWN && !inspect && long_rows))
            plan->wp[l - 1] = fbp_take_panels(net, arena, layer->n_out, layer->n_in);
        carve_options(plan, arena, l);
        if (layer->has.residual) skip_width = fbp_max(skip_width, layer->n_out);
    }
    if (skip_width > 0) take_rows(plan, arena, &plan->skip, skip_width);
    carve_scaled_weights(plan, arena);
    if (net->has_embedding) take_rows(plan, arena, &plan->delta[0], fbp_width(net, 0));
    if (!inspect && net->input_dropout > 0)
        take_rows(plan, arena, &plan->dropped, fbp_width(net, 0));
    plan->tile_penalty = fbp_arena_take(arena, (size_t)net->n_tiles, sizeof *plan->tile_penalty);
    plan->tile_square =
        fbp_arena_take(arena, FBP_PARTS * (size_t)net->n_tiles, sizeof *plan->tile_square);
}

/* The layers use two buffers in turn; z of the output layer has its own, unless it is a. */
static void carve_prediction(fbp_plan_t *plan, fbp_arena_t *arena) {
    const fastbp_net_t *net = plan->net;
    fbp_rows_t turn[2] = {{0}, {0}};
    take_rows(plan, arena, &turn[0], net->max_width);
    take_rows(plan, arena, &turn[1], net->max_width);
    for (int l = 1; l <= net->n_layers; ++l) plan->a[l] = turn[l % 2];
    const int l = net->n_layers;
    if (output_is_z(plan)) plan->z[l] = plan->a[l];
    else take_rows(plan, arena, &plan->z[l], fbp_width(net, l));
}

static void carve(fbp_plan_t *plan, fbp_arena_t *arena) {
    const size_t capacity = (size_t)plan->capacity;
    const fbp_kernels_t *kernels = plan->net->kernels;
    if (plan->net->has_embedding) {
        plan->x_row = fbp_arena_take(arena, capacity, sizeof *plan->x_row);
        take_rows(plan, arena, &plan->a[0], fbp_width(plan->net, 0));
    } else {
        plan->a[0].row = fbp_arena_take(arena, capacity, sizeof *plan->a[0].row);
    }
    plan->target = fbp_arena_take(arena, capacity, sizeof *plan->target);
    plan->label = fbp_arena_take(arena, capacity, sizeof *plan->label);
    plan->weight = fbp_arena_take(arena, capacity, kernels->elem_size);
    plan->row_loss = fbp_arena_take(arena, capacity, sizeof *plan->row_loss);
    if (plan->net->loss.masked) plan->known = fbp_arena_take(arena, capacity, sizeof *plan->known);
    if (plan->kind == FBP_PLAN_PREDICT) carve_prediction(plan, arena);
    else carve_passes(plan, arena);
    fbp_factors_carve_rows(&plan->factors, plan->net, arena, plan->capacity);
    if (plan->kind != FBP_PLAN_PREDICT) fbp_factors_carve_weights(&plan->factors, plan->net, arena);
}

/* Runs carver to count, allocates, and runs it again to hand out the buffers. */
static fastbp_status_t allocate(fbp_plan_t *plan, fbp_arena_t *arena,
                                void (*carver)(fbp_plan_t *, fbp_arena_t *)) {
    *arena = (fbp_arena_t){0};
    carver(plan, arena);
    if (plan->borrows) return fbp_arena_count(arena) ? FASTBP_OK : FASTBP_ERR_MEMORY;
    if (!fbp_arena_commit(arena)) return FASTBP_ERR_MEMORY;
    carver(plan, arena);
    return FASTBP_OK;
}

static bool is_there(const fbp_arena_t *arena) { return arena->base != NULL || arena->borrows; }

/* Whether layer 1 has outputs to be summed as δᵀa, and L2 can hold a tile's units of x. */
static bool gathers_input(const fbp_plan_t *plan) {
    const size_t row = FBP_TILE_UNITS * plan->net->kernels->elem_size;
    return plan->kind == FBP_PLAN_TRAIN && fbp_odd_outputs(plan->net, 0) > 0 &&
           (size_t)plan->capacity * row <= plan->net->machine->l2 / 2;
}

/* The most elements of the vectors of a layer that are summed together. */
static size_t column_elems(const fastbp_net_t *net) {
    size_t most = 2 * (size_t)net->max_width;
    for (int i = 0; i < net->n_layers; ++i)
        if ((size_t)net->layer[i].n_constants > most) most = (size_t)net->layer[i].n_constants;
    return most;
}

/* The most terms of constants that are summed over the units of a layer; SIZE_MAX if their number
 * does not fit, which no arena can hold. */
static size_t term_elems(const fastbp_net_t *net) {
    size_t most = 0;
    for (int i = 0; i < net->n_layers; ++i) {
        const fbp_layer_t *layer = &net->layer[i];
        if (layer->formula == NULL || layer->formula->per_unit) continue;
        const size_t each = (size_t)fbp_term_rows(layer->n_out) * (size_t)layer->n_out;
        size_t elems;
        if (!fbp_size_mul((size_t)layer->n_constants, each, &elems)) return SIZE_MAX;
        if (elems > most) most = elems;
    }
    return most;
}

/* Scratch for the sums of an embedding: of as many numbers as can begin in a tile. */
static size_t embedding_elems(const fastbp_net_t *net) {
    const fastbp_layer_options_t *has = &net->layer[0].has;
    const size_t numbers = (size_t)fbp_ceil_div(FBP_TILE_UNITS, has->width) + 1;
    size_t each[4];
    fbp_embedding_sizes(has, each);
    return fbp_periodic_elems(net->kernels, has->n_frequencies, fbp_embedding_outputs(has)) +
           numbers * (each[0] + each[1] + each[2] + each[3]);
}

enum { STRIP_ELEMS = 2048 }; /* that an update gathers at a time: they stay in L1 */

ptrdiff_t fbp_table_strip(const fbp_table_t *table) {
    return fbp_max(1, STRIP_ELEMS / table->width);
}

int fbp_slot_bits(const fbp_table_t *table, ptrdiff_t rows) {
    const size_t groups = (size_t)fbp_min(table->levels, rows);
    int bits = 1;
    while ((size_t)1 << bits < 2 * groups) ++bits;
    return bits;
}

static size_t most(size_t a, size_t b) { return a > b ? a : b; }

static void carve_categories(fbp_category_scratch_t *scratch, const fastbp_net_t *net,
                             fbp_arena_t *arena, ptrdiff_t capacity) {
    const size_t elem = net->kernels->elem_size;
    size_t sums = 0, state = 0, slots = 0;
    for (int c = 0; c < net->n_tables; ++c) {
        const fbp_table_t *table = &net->table[c];
        const size_t width = (size_t)table->width;
        size_t own;
        if (!fbp_size_mul((size_t)fbp_min(table->levels, capacity), width, &own)) own = SIZE_MAX;
        sums = most(sums, own);
        state = most(state, (size_t)fbp_table_strip(table) * width);
        slots = most(slots, (size_t)1 << fbp_slot_bits(table, capacity));
    }
    scratch->slot = fbp_arena_take(arena, slots, sizeof *scratch->slot);
    scratch->group = fbp_arena_take(arena, (size_t)capacity, sizeof *scratch->group);
    scratch->code = fbp_arena_take(arena, (size_t)capacity, sizeof *scratch->code);
    scratch->sums = fbp_arena_take(arena, sums, elem);
    for (int i = 0; i <= FASTBP_MOMENTS; ++i)
        scratch->state[i] = fbp_arena_take(arena, state, elem);
}

static void carve_worker(fbp_plan_t *plan, fbp_arena_t *arena, fbp_scratch_t *scratch) {
    const fastbp_net_t *net = plan->net;
    const fbp_kernels_t *kernels = net->kernels;
    const size_t elem = kernels->elem_size;
    const size_t pack = (size_t)fbp_pack_elems(kernels, net->blocking);
    const size_t sums = FBP_TILE_UNITS * (size_t)net->machine->tile_outputs;
    scratch->profile = NULL;
    scratch->pack = fbp_arena_take(arena, pack, elem);
    scratch->run = fbp_arena_take(arena, net->run_scratch, elem);
    if (plan->kind == FBP_PLAN_PREDICT) return;
    scratch->tile_sums = fbp_arena_take(arena, sums, elem);
    if (net->layer[0].has.numbers > 0)
        scratch->embedding = fbp_arena_take(arena, embedding_elems(net), elem);
    if (net->n_tables > 0) carve_categories(&scratch->categories, net, arena, plan->capacity);
    if (net->has_scale)
        scratch->slopes = fbp_arena_take(arena, FBP_TILE_UNITS * (size_t)kernels->lanes, elem);
    scratch->turned = fbp_arena_take(arena, FBP_TURNED_MAX * FBP_TILE_UNITS, elem);
    scratch->column = fbp_arena_take(arena, column_elems(net), elem);
    scratch->terms = fbp_arena_take(arena, term_elems(net), elem);
    if (gathers_input(plan))
        take_rows(plan, arena, &scratch->input, fbp_min(fbp_width(net, 0), FBP_TILE_UNITS));
}

/* Of all workers; of one if each lends its own. */
static void carve_scratch(fbp_plan_t *plan, fbp_arena_t *arena) {
    const int n = plan->borrows ? 1 : plan->n_workers;
    for (int w = 0; w < n; ++w) carve_worker(plan, arena, &plan->scratch[w]);
}

/* The old scratch stays valid if the new one cannot be allocated. */
fastbp_status_t fbp_plan_add_workers(fbp_plan_t *plan, int n) {
    if (n <= plan->n_workers) return FASTBP_OK;
    fbp_plan_t more = *plan;
    more.n_workers = n;
    more.scratch = calloc((size_t)n, sizeof *more.scratch);
    if (more.scratch == NULL) return FASTBP_ERR_MEMORY;
    if (allocate(&more, &more.scratch_arena, carve_scratch) != FASTBP_OK) {
        free(more.scratch);
        return FASTBP_ERR_MEMORY;
    }
    fbp_arena_free(&plan->scratch_arena);
    free(plan->scratch);
    *plan = more;
    return FASTBP_OK;
}

static fastbp_status_t init(fbp_plan_t *plan, const fastbp_net_t *net, fbp_plan_kind_t kind,
                            ptrdiff_t capacity, ptrdiff_t batch_rows, int n_workers, bool borrows) {
    /* Arrays with one slot per l = 0 … L; those of one type share an allocation. */
    fbp_rows_t **const rows[] = {
        &plan->a,  &plan->z, &plan->delta, &plan->scaled,    &plan->act,
        &plan->dn, &plan->n, &plan->dc,    &plan->factors.a, &plan->factors.delta};
    void ***const pointers[] = {&plan->wt, &plan->wp, &plan->stats, &plan->scaled_w};
    const size_t n_rows = sizeof rows / sizeof *rows,
                 n_pointers = sizeof pointers / sizeof *pointers;
    fbp_bf16_forms_t **const forms[] = {&plan->factors.a_tiles, &plan->factors.delta_tiles,
                                        &plan->factors.w_tiles};
    static const fbp_factors_use_t factors_for[] = {[FBP_PLAN_TRAIN] = FBP_FOR_TRAINING,
                                                    [FBP_PLAN_INSPECT] = FBP_FOR_PASSES,
                                                    [FBP_PLAN_PREDICT] = FBP_FOR_PREDICTION};
    const size_t slots = (size_t)net->n_layers + 1, n_forms = sizeof forms / sizeof *forms;
    const size_t state_vectors = 3; /* theta and, with most rules, two moments */
    *plan = (fbp_plan_t){.net = net,
                         .kind = kind,
                         .capacity = capacity,
                         .borrows = borrows,
                         .drops = kind == FBP_PLAN_TRAIN};
    plan->factors = fbp_factors_of(net, batch_rows, factors_for[kind]);
    plan->a = calloc(n_rows * slots, sizeof *plan->a);
    plan->wt = calloc(n_pointers * slots, sizeof *plan->wt);
    plan->factors.a_tiles = calloc(n_forms * slots, sizeof *plan->factors.a_tiles);
    plan->by_batch = calloc(slots, sizeof *plan->by_batch);
    plan->state_is_cold = state_vectors * net->n_read * net->kernels->elem_size > net->machine->l2;
    fastbp_status_t status = FASTBP_ERR_MEMORY;
    if (plan->a != NULL && plan->wt != NULL && plan->factors.a_tiles != NULL &&
        plan->by_batch != NULL) {
        for (size_t i = 1; i < n_rows; ++i) *rows[i] = plan->a + i * slots;
        for (size_t i = 1; i < n_pointers; ++i) *pointers[i] = plan->wt + i * slots;
        for (size_t i = 1; i < n_forms; ++i) *forms[i] = plan->factors.a_tiles + i * slots;
        status = allocate(plan, &plan->arena, carve);
        if (status == FASTBP_OK) status = fbp_plan_add_workers(plan, n_workers);
    }
    if (status != FASTBP_OK) fbp_plan_free(plan);
    return status;
}

fastbp_status_t fbp_plan_init(fbp_plan_t *plan, const fastbp_net_t *net, fbp_plan_kind_t kind,
                              ptrdiff_t capacity, ptrdiff_t batch_rows, int n_workers) {
    return init(plan, net, kind, capacity, batch_rows, n_workers, false);
}

fastbp_status_t fbp_plan_init_borrower(fbp_plan_t *plan, const fastbp_net_t *net,
                                       ptrdiff_t capacity, ptrdiff_t batch_rows, int n_workers) {
    return init(plan, net, FBP_PLAN_TRAIN, capacity, batch_rows, n_workers, true);
}

void fbp_plan_free(fbp_plan_t *plan) {
    fbp_arena_free(&plan->arena);
    fbp_arena_free(&plan->scaled_arena);
    fbp_arena_free(&plan->sparse_arena);
    fbp_arena_free(&plan->input_arena);
    fbp_arena_free(&plan->factor_arena);
    fbp_arena_free(&plan->copies_arena);
    fbp_arena_free(&plan->dropout_arena);
    fbp_arena_free(&plan->scratch_arena);
    fbp_arena_free(&plan->stack_arena);
    free(plan->scratch);
    free(plan->a);
    free(plan->wt);
    free(plan->factors.a_tiles);
    free(plan->by_batch);
    *plan = (fbp_plan_t){0};
}

int fbp_next_by_batch(const fbp_plan_t *plan, int l) {
    if (!plan->net->has_batch_norm) return plan->net->n_layers + 1;
    do ++l;
    while (l <= plan->net->n_layers && !plan->by_batch[l]);
    return l;
}

int fbp_last_by_batch(const fbp_plan_t *plan, int l) {
    if (!plan->net->has_batch_norm) return 0;
    do --l;
    while (l > 0 && !plan->by_batch[l]);
    return l;
}

const fbp_rows_t *fbp_plan_slope_rows(const fbp_plan_t *plan, int l) {
    if (!fbp_act_by_z(plan->net->layer[l - 1].act)) return fbp_activated(plan, l);
    return plan->n[l].at != NULL ? &plan->n[l] : &plan->z[l];
}

static void carve_scaled(fbp_plan_t *plan, fbp_arena_t *arena) {
    for (int l = 1; l <= plan->net->n_layers; ++l)
        take_rows(plan, arena, &plan->scaled[l], fbp_width(plan->net, l));
}

fastbp_status_t fbp_plan_add_scaled(fbp_plan_t *plan) {
    if (is_there(&plan->scaled_arena)) return FASTBP_OK;
    return allocate(plan, &plan->scaled_arena, carve_scaled);
}

static void carve_input(fbp_plan_t *plan, fbp_arena_t *arena) {
    take_rows(plan, arena, &plan->input, plan->net->n_x);
}

fastbp_status_t fbp_plan_add_input(fbp_plan_t *plan) {
    if (is_there(&plan->input_arena)) return FASTBP_OK;
    return allocate(plan, &plan->input_arena, carve_input);
}

static void carve_factors(fbp_plan_t *plan, fbp_arena_t *arena) {
    fbp_factors_carve_input(&plan->factors, plan->net, arena, plan->capacity);
}

fastbp_status_t fbp_plan_add_factors(fbp_plan_t *plan) {
    const bool shared = plan->kind == FBP_PLAN_PREDICT;
    if (!fbp_factors_copied(&plan->factors) || shared || is_there(&plan->factor_arena))
        return FASTBP_OK;
    return allocate(plan, &plan->factor_arena, carve_factors);
}

static void carve_sparse(fbp_plan_t *plan, fbp_arena_t *arena) {
    plan->sparse = fbp_arena_take(arena, (size_t)plan->capacity, sizeof *plan->sparse);
}

fastbp_status_t fbp_plan_add_sparse(fbp_plan_t *plan) {
    if (is_there(&plan->sparse_arena)) return FASTBP_OK;
    return allocate(plan, &plan->sparse_arena, carve_sparse);
}

static void carve_copies(fbp_plan_t *plan, fbp_arena_t *arena) {
    const fastbp_net_t *net = plan->net;
    carve_scaled_weights(plan, arena);
    fbp_factors_carve_weights(&plan->factors, net, arena);
    for (int i = 0; i < net->n_layers && plan->factors.kind == FBP_FACTORS_ROUNDED; ++i)
        plan->wp[i] = fbp_take_panels(net, arena, net->layer[i].n_out, net->layer[i].n_in);
}

fastbp_status_t fbp_plan_add_copies(fbp_plan_t *plan) {
    if (is_there(&plan->copies_arena)) return FASTBP_OK;
    return allocate(plan, &plan->copies_arena, carve_copies);
}

/* All vectors of a layer have a stack each, side by side; a tile of W uses the same memory. */
static void carve_stack(fbp_plan_t *plan, fbp_arena_t *arena) {
    const fastbp_net_t *net = plan->net;
    const size_t depth = (size_t)plan->stack_depth;
    for (int w = 0; w < plan->n_workers; ++w)
        plan->scratch[w].stack =
            fbp_arena_take(arena, depth * plan->stack_elems, net->kernels->elem_size);
}

fastbp_status_t fbp_plan_add_stack(fbp_plan_t *plan, int depth) {
    const fastbp_net_t *net = plan->net;
    const ptrdiff_t tile = FBP_TILE_UNITS * net->machine->tile_outputs;
    const ptrdiff_t vectors = 3 * net->max_width + (ptrdiff_t)column_elems(net);
    plan->stack_depth = depth;
    plan->stack_elems = (size_t)fbp_max(tile + net->kernels->tile_elems, vectors);
    return allocate(plan, &plan->stack_arena, carve_stack);
}

/* The buffers that a plan for training can have. */
static const struct {
    size_t arena; /* its place in fbp_plan_t */
    void (*carver)(fbp_plan_t *, fbp_arena_t *);
} of_training[] = {
    {offsetof(fbp_plan_t, arena), carve},
    {offsetof(fbp_plan_t, input_arena), carve_input},
    {offsetof(fbp_plan_t, factor_arena), carve_factors},
    {offsetof(fbp_plan_t, sparse_arena), carve_sparse},
};
enum { N_OF_TRAINING = sizeof of_training / sizeof *of_training };

size_t fbp_plan_bytes(const fbp_plan_t *plan) {
    size_t bytes = 0;
    for (int i = 0; i < N_OF_TRAINING; ++i) {
        const fbp_arena_t *arena = (const fbp_arena_t *)((const char *)plan + of_training[i].arena);
        if (!fbp_size_add(bytes, arena->size, &bytes)) return SIZE_MAX;
    }
    return bytes;
}

size_t fbp_scratch_bytes(const fbp_plan_t *plan) { return plan->scratch_arena.size; }

void fbp_plan_lend(fbp_plan_t *plan, void *memory) {
    unsigned char *at = memory;
    for (int i = 0; i < N_OF_TRAINING; ++i) {
        fbp_arena_t *arena = (fbp_arena_t *)((char *)plan + of_training[i].arena);
        if (!is_there(arena)) continue;
        fbp_arena_lend(arena, at, true);
        of_training[i].carver(plan, arena);
        at += arena->size;
    }
}

void fbp_plan_lend_scratch(fbp_plan_t *plan, int worker, void *memory) {
    fbp_arena_lend(&plan->scratch_arena, memory, false);
    carve_worker(plan, &plan->scratch_arena, &plan->scratch[worker]);
}

static bool has_dropout(const fastbp_net_t *net) {
    for (int i = 0; i < net->n_layers; ++i)
        if (net->layer[i].has.dropout > 0) return true;
    return net->input_dropout > 0;
}

static void carve_dropout(fbp_plan_t *plan, fbp_arena_t *arena) {
    const fastbp_net_t *net = plan->net;
    if (net->input_dropout > 0) take_rows(plan, arena, &plan->dropped, fbp_width(net, 0));
    for (int l = 1; l <= net->n_layers; ++l) {
        const fastbp_layer_options_t *has = &net->layer[l - 1].has;
        if (has->dropout > 0 && !has->residual)
            take_rows(plan, arena, &plan->act[l], fbp_width(net, l));
    }
}

fastbp_status_t fbp_plan_set_dropout(fbp_plan_t *plan, bool on) {
    plan->drops = false;
    if (!on || !has_dropout(plan->net)) return FASTBP_OK;
    fastbp_status_t status = FASTBP_OK;
    if (!is_there(&plan->dropout_arena))
        status = allocate(plan, &plan->dropout_arena, carve_dropout);
    plan->drops = status == FASTBP_OK;
    return status;
}

double fbp_work_of(const fastbp_net_t *net, ptrdiff_t rows, fbp_work_t work) {
    return (double)net->n_read * (work.per_row * (double)rows + work.once);
}

double fbp_work_per_worker(const fastbp_net_t *net) { return net->machine->min_work; }

ptrdiff_t fbp_rows_for(const fastbp_net_t *net, int workers, fbp_work_t work) {
    const double each = workers * net->machine->min_work / (double)net->n_read;
    return fbp_max(1, (ptrdiff_t)ceil((each - work.once) / work.per_row));
}

int fbp_workers_for(const fastbp_net_t *net, ptrdiff_t rows, fbp_work_t work, int wanted) {
    const double worth = fbp_work_of(net, rows, work) / net->machine->min_work;
    if (wanted == 0) wanted = fbp_thread_limit();
    return worth < 2 ? 1 : worth < wanted ? (int)worth : wanted;
}

/* The z, a and δ of a block should fit into half of L2. But each block reads all of W, so it has at
 * least block_rows of the machine: with 256×9-10, one block of 256 rows takes 2 % less time than
 * two of 128. */
ptrdiff_t fbp_plan_blocks(const fbp_plan_t *plan, ptrdiff_t rows, int team_size) {
    const fastbp_net_t *net = plan->net;
    ptrdiff_t row_elems = net->layer[0].n_in;
    for (int l = 1; l <= net->n_layers; ++l) {
        row_elems += plan->a[l].ld + plan->delta[l].ld;
        row_elems += plan->act[l].ld + plan->dn[l].ld + plan->n[l].ld;
        row_elems += net->layer[l - 1].n_constants;
        if (keeps_z(&net->layer[l - 1])) row_elems += plan->z[l].ld;
    }
    const ptrdiff_t row_bytes = row_elems * (ptrdiff_t)net->kernels->elem_size;
    const ptrdiff_t fit =
        fbp_max((ptrdiff_t)(net->machine->l2 / 2) / row_bytes, net->machine->block_rows);
    const ptrdiff_t blocks = fbp_round_up(fbp_max(1, rows / fit), team_size);
    const ptrdiff_t least = fbp_max(net->kernels->tile_rows, fbp_factors_rows(&plan->factors));
    return fbp_min(blocks, fbp_ceil_div(rows, least));
}

/* Blocks hold whole samples, and whole blocks of products in bfloat16 if those make the products.
 */
ptrdiff_t fbp_block_row(const fbp_plan_t *plan, ptrdiff_t rows, ptrdiff_t t, ptrdiff_t blocks) {
    const ptrdiff_t unit = fbp_max(plan->net->loss.group, fbp_factors_rows(&plan->factors));
    return fbp_min(rows, t * fbp_ceil_div(rows, unit) / blocks * unit);
}
