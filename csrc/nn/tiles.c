/* tiles.c: see tiles.h. For the gradient aᵀδ: Rumelhart, Hinton, Williams, Nature 323, 1986. */
#include "tiles.h"

#include "batch_norm.h"
#include "embed.h"
#include "options.h"
#include "products.h"

#include <string.h>

/* ---- raw sums ---- */

/* How many outputs past the last whole vector are cheaper to sum as δᵀa: a column of δ times
 * vectors of units, instead of a unit times a vector of δ that is mostly empty. In layer 1, the
 * tile's units of x have to be gathered first, if there is room; that costs as much as some 16
 * products per row. The sums are transposed at the end, once for all rows, which costs as much as
 * some three products per unit. */
static ptrdiff_t turned_outputs(const fbp_batch_t *batch, const fbp_scratch_t *scratch,
                                const fbp_tile_t *tile) {
    const fastbp_net_t *net = batch->plan->net;
    if (tile->layer == 0 && scratch->input.at == NULL) return 0;
    const ptrdiff_t units = tile->unit1 - tile->unit0, rest = fbp_odd_outputs(net, tile->layer);
    const ptrdiff_t cost = rest * fbp_ceil_div(units, net->kernels->lanes);
    const ptrdiff_t saved = units - cost - (tile->layer == 0 ? 16 : 0);
    return saved * batch->rows > 3 * units ? rest : 0;
}

/* Copies the tile's units of x into scratch->input, because shuffled rows have no fixed stride. */
static void gather_input(const fbp_batch_t *batch, const fbp_scratch_t *scratch,
                         const fbp_tile_t *tile) {
    const fbp_plan_t *plan = batch->plan;
    const size_t bytes = (size_t)(tile->unit1 - tile->unit0) * plan->net->kernels->elem_size;
    for (ptrdiff_t i = 0; i < batch->rows; ++i)
        memcpy(fbp_row_at(plan, &scratch->input, i),
               fbp_at(plan->net, plan->a[0].row[batch->from + i], (size_t)tile->unit0), bytes);
}

/* Raw sums of whole rows of W are contiguous, as those rows are in W. An update then goes over one
 * long row, without short vectors and without strides that are a power of two. A step of 30-64-32-1
 * at batch 32 takes 7 % less time, one of 784-128-10 at batch 64 3 % less. */
static ptrdiff_t sums_ld(const fastbp_net_t *net, int layer) {
    return fbp_min(net->layer[layer].n_out, net->machine->tile_outputs);
}

static fbp_mat_t sums_of(const fastbp_net_t *net, int layer, const fbp_scratch_t *scratch,
                         ptrdiff_t units, ptrdiff_t cols) {
    if (cols == net->layer[layer].n_out)
        return (fbp_mat_t){scratch->tile_sums, 1, units * cols, units * cols};
    return (fbp_mat_t){scratch->tile_sums, units, cols, sums_ld(net, layer)};
}

/* tile_sums[units, cols] = aᵀδ for outputs column … of a tile. The last `turned` of them are
 * computed as δᵀa; each sum over the batch has the same bits either way. */
static void tile_sums(const fbp_batch_t *batch, const fbp_scratch_t *scratch,
                      const fbp_tile_t *tile, ptrdiff_t column, ptrdiff_t cols, ptrdiff_t turned,
                      const void *const warm[FBP_MAX_WARM]) {
    const fbp_plan_t *plan = batch->plan;
    const fastbp_net_t *net = plan->net;
    const fbp_layer_t *layer = &net->layer[tile->layer];
    const ptrdiff_t units = tile->unit1 - tile->unit0, wide = cols - turned;
    const size_t first = layer->w + (size_t)tile->unit0 * (size_t)layer->n_out + (size_t)column;
    const fbp_rows_t *delta = fbp_gradient_delta(batch, tile->layer + 1);
    const fbp_rows_t *a = fbp_gradient_a(batch, tile->layer + 1);
    const bool gathered = turned > 0 && a->at == NULL;
    if (gathered) gather_input(batch, scratch, tile);
    if (gathered) a = &scratch->input;
    const ptrdiff_t unit0 = gathered ? 0 : tile->unit0, row0 = gathered ? 0 : batch->from;
    const fbp_segments_t *segments = batch->segments;
    fbp_gemm_parts_t parts = {.stack = scratch->stack};
    if (segments != NULL)
        parts = (fbp_gemm_parts_t){segments->n, segments->rows, segments->pops, scratch->stack};
    fbp_gemm_t product = {
        .c = scratch->tile_sums,
        .ldc = sums_ld(net, tile->layer),
        .a = a->row + row0,
        .a_offset = unit0,
        .b = fbp_at(net, fbp_row_at(plan, delta, batch->from), (size_t)column),
        .ldb = delta->ld,
        .m = units,
        .n = wide,
        .k = batch->rows,
        .blocking = net->blocking,
        .pack = scratch->pack,
        .ldwarm = layer->n_out,
        .spread = net->machine->prefetch == FBP_PREFETCH_SPREAD,
        .parts = segments != NULL ? &parts : NULL,
    };
    for (int w = 0; w < FBP_MAX_WARM && warm[w] != NULL; ++w)
        product.warm[w] = fbp_at(net, warm[w], first);
    net->kernels->gemm_tn(&product);
    if (turned == 0) return;
    const fbp_gemm_t across = {
        .c = scratch->turned,
        .ldc = FBP_TILE_UNITS,
        .a = delta->row + batch->from,
        .a_offset = column + wide,
        .b = fbp_at(net, fbp_row_at(plan, a, row0), (size_t)unit0),
        .ldb = a->ld,
        .m = turned,
        .n = units,
        .k = batch->rows,
        .blocking = net->blocking,
        .parts = segments != NULL ? &parts : NULL,
    };
    net->kernels->gemm_tn(&across);
    const fbp_mat_t sums = {scratch->turned, turned, units, FBP_TILE_UNITS};
    net->kernels->transpose(&sums, fbp_at(net, scratch->tile_sums, (size_t)wide),
                            sums_ld(net, tile->layer));
}

/* ---- sums of segments, which are not summed by gemm_tn ---- */

/* Adds `sums` of one segment to those on a stack that belong to it, and puts the result on the
 * stack, unless it is the last: then it stays in `sums`. */
static void fold(const fastbp_net_t *net, const fbp_mat_t *sums, void *stack, size_t level,
                 int *depth, int pops, bool last) {
    const fbp_mat_t to = {.rows = sums->rows, .cols = sums->cols, .ld = sums->cols};
    void *own = (void *)(uintptr_t)sums->at; /* which its owner lets us change */
    for (; pops > 0; --pops) {
        const unsigned char *below = fbp_at(net, stack, (size_t)--*depth * level);
        for (ptrdiff_t i = 0; i < sums->rows; ++i) {
            const size_t at = (size_t)(i * sums->ld);
            const void *row = fbp_at(net, below, (size_t)(i * to.ld));
            const fbp_mat_t each = {fbp_at(net, own, at), 1, sums->cols, sums->cols};
            net->kernels->add_rows(&each, &row, fbp_at(net, own, at), sums->cols);
        }
    }
    if (last) return;
    void *top = fbp_at(net, stack, (size_t)(*depth)++ * level);
    net->kernels->act_forward(FASTBP_ACT_IDENTITY, 0, sums, top, to.ld);
}

/* The rows of segment i of a batch, as a batch without segments. */
static fbp_batch_t segment_of(const fbp_batch_t *batch, ptrdiff_t i, ptrdiff_t from) {
    fbp_batch_t segment = *batch;
    segment.segments = NULL;
    segment.from = from;
    segment.rows = batch->segments->rows[i];
    return segment;
}

static void sum_sparse(const fbp_batch_t *batch, const fbp_scratch_t *scratch,
                       const fbp_tile_t *tile, ptrdiff_t column, ptrdiff_t cols) {
    const fbp_plan_t *plan = batch->plan;
    const ptrdiff_t ld = sums_ld(plan->net, 0);
    if (batch->segments == NULL) {
        fbp_sum_sparse(batch, tile, column, cols, scratch->tile_sums, ld);
        return;
    }
    const fbp_mat_t sums = {scratch->tile_sums, tile->unit1 - tile->unit0, cols, ld};
    int depth = 0;
    for (ptrdiff_t i = 0, from = batch->from; i < batch->segments->n; ++i) {
        const fbp_batch_t segment = segment_of(batch, i, from);
        fbp_sum_sparse(&segment, tile, column, cols, scratch->tile_sums, ld);
        fold(plan->net, &sums, scratch->stack, plan->stack_elems, &depth, batch->segments->pops[i],
             i == batch->segments->n - 1);
        from += segment.rows;
    }
}

/* Turns the sums G of outputs column … of a tile, whose layer is (u ⊙ scale) W, into those of W,
 * scale_j G_jk, and adds up those of scale, Σ_k W_jk G_jk, in scratch->slopes. */
static void scale_sums(const fbp_batch_t *batch, const fbp_scratch_t *scratch,
                       const fbp_tile_t *tile, ptrdiff_t column, ptrdiff_t cols) {
    const fastbp_net_t *net = batch->plan->net;
    const void *theta = batch->around != NULL ? batch->around : batch->theta;
    const size_t bytes = (size_t)net->kernels->lanes * net->kernels->elem_size;
    fbp_mat_t w = fbp_tile_weights(net, theta, tile);
    w.at = fbp_at(net, w.at, (size_t)column);
    w.cols = cols;
    if (column == 0) memset(scratch->slopes, 0, (size_t)w.rows * bytes);
    net->kernels->scale_sums(&w,
                             fbp_at(net, theta, fbp_tile_part(net, tile, FBP_PART_SCALE).offset),
                             scratch->tile_sums, sums_ld(net, tile->layer), scratch->slopes);
}

/* Hands on the sums of scale that are in scratch->slopes, lane by lane. */
static void finish_scale(const fbp_batch_t *batch, const fbp_scratch_t *scratch,
                         const fbp_tile_t *tile, fbp_finish_fn finish, void *context) {
    const fbp_kernels_t *kernels = batch->plan->net->kernels;
    const ptrdiff_t units = tile->unit1 - tile->unit0;
    const fbp_mat_t slopes = {scratch->slopes, units, kernels->lanes, kernels->lanes};
    kernels->row_sums(&slopes, scratch->column, 1);
    const fbp_mat_t sums = {scratch->column, 1, units, units};
    finish(context, tile, &sums, FBP_ROW_SCALE, 0);
}

static void finish_embedding(const fbp_batch_t *batch, const fbp_scratch_t *scratch,
                             const fbp_tile_t *tile, fbp_finish_fn finish, void *context) {
    const fastbp_net_t *net = batch->plan->net;
    void *sums[4];
    if (fbp_embedding_sums(batch, scratch, tile, sums) == 0) return;
    for (int i = 0; i < 4; ++i) {
        const ptrdiff_t n = fbp_tile_part(net, tile, FBP_PART_FREQUENCIES + i).count;
        const fbp_mat_t all = {sums[i], 1, n, n};
        finish(context, tile, &all, FBP_ROW_FREQUENCIES - i, 0);
    }
}

void fbp_weight_tile(const fbp_batch_t *batch, const fbp_scratch_t *scratch, const fbp_tile_t *tile,
                     fbp_finish_fn finish, void *context, const void *const warm[FBP_MAX_WARM]) {
    const fastbp_net_t *net = batch->plan->net;
    const ptrdiff_t n_out = net->layer[tile->layer].n_out, units = tile->unit1 - tile->unit0;
    const ptrdiff_t turned = turned_outputs(batch, scratch, tile);
    const ptrdiff_t most = net->machine->tile_outputs;
    for (ptrdiff_t j = 0; j < n_out; j += most) {
        const ptrdiff_t cols = fbp_min(most, n_out - j);
        if (batch->sparse && tile->layer == 0) sum_sparse(batch, scratch, tile, j, cols);
        else if (fbp_sums_from_tiles(batch))
            fbp_sum_tiles(batch, tile, j, cols, scratch->tile_sums, sums_ld(net, tile->layer));
        else tile_sums(batch, scratch, tile, j, cols, j + cols == n_out ? turned : 0, warm);
        if (net->layer[tile->layer].has.scale) scale_sums(batch, scratch, tile, j, cols);
        fbp_lap(scratch->profile, tile->layer + 1, FASTBP_PHASE_GRADIENT);
        const fbp_mat_t sums = sums_of(net, tile->layer, scratch, units, cols);
        finish(context, tile, &sums, tile->unit0, j);
        fbp_lap(scratch->profile, tile->layer + 1, FASTBP_PHASE_UPDATE);
    }
    if (net->layer[tile->layer].has.scale) finish_scale(batch, scratch, tile, finish, context);
    if (net->layer[tile->layer].has.numbers > 0)
        finish_embedding(batch, scratch, tile, finish, context);
}

/* A tile whose vectors are summed and handed on. */
typedef struct {
    const fbp_batch_t *batch;
    const fbp_scratch_t *scratch;
    const fbp_tile_t *tile;
    fbp_finish_fn finish;
    void *context;
} vectors_t;

static void finish_vector(const vectors_t *to, const void *sums, ptrdiff_t n, ptrdiff_t row) {
    const fbp_mat_t all = {sums, 1, n, n};
    fbp_lap(to->scratch->profile, to->tile->layer + 1, FASTBP_PHASE_GRADIENT);
    to->finish(to->context, to->tile, &all, row, 0);
}

/* Sums the columns of a matrix of the batch's rows and hands the sums on. */
static void finish_columns(const vectors_t *to, const fbp_rows_t *rows, ptrdiff_t cols,
                           const void *factors, ptrdiff_t row) {
    const fbp_plan_t *plan = to->batch->plan;
    const fbp_mat_t all = fbp_block_of(plan, rows, to->batch->from, to->batch->rows, cols);
    plan->net->kernels->column_sums(&all, factors, to->scratch->column);
    finish_vector(to, to->scratch->column, cols, row);
}

/* The recursion has already summed them if the layer is normed by the batch. */
static void finish_norm(const vectors_t *to) {
    const fbp_plan_t *plan = to->batch->plan;
    const int l = to->tile->layer + 1;
    const fbp_layer_t *layer = &plan->net->layer[l - 1];
    const void *gains = to->scratch->column, *shifts;
    if (plan->by_batch[l]) {
        gains = fbp_gain_sums(plan, l);
        shifts = fbp_shift_sums(plan, l);
    } else {
        shifts = fbp_norm_sums(to->batch, to->scratch, l);
    }
    finish_vector(to, gains, layer->n_out, FBP_ROW_GAIN);
    if (fbp_norm_shifts(layer)) finish_vector(to, shifts, layer->n_out, FBP_ROW_SHIFT);
}

/* Batch norm subtracts b with the mean, so its gradient is 0 then; the sums of δ would be rounding
 * errors, which rules such as Adam turn into whole steps. */
static void finish_bias(const vectors_t *to) {
    const fbp_batch_t *batch = to->batch;
    const fastbp_net_t *net = batch->plan->net;
    const int l = to->tile->layer + 1;
    const ptrdiff_t n = net->layer[l - 1].n_out;
    if (!batch->plan->by_batch[l]) {
        finish_columns(to, fbp_weighted_delta(batch, l), n, NULL, FBP_ROW_BIAS);
        return;
    }
    memset(to->scratch->column, 0, (size_t)n * net->kernels->elem_size);
    finish_vector(to, to->scratch->column, n, FBP_ROW_BIAS);
}

/* The sums of plan->dc; factors: a weight per sample, or NULL. Those of the constants of a whole
 * layer run in the lanes of vectors first, as row_sums and gemm_nt promise. */
static void finish_constants(const vectors_t *to, const void *factors) {
    const fbp_plan_t *plan = to->batch->plan;
    const fastbp_net_t *net = plan->net;
    const fbp_layer_t *layer = &net->layer[to->tile->layer];
    const fbp_rows_t *dc = &plan->dc[to->tile->layer + 1];
    const ptrdiff_t n = layer->n_constants, rows = to->batch->rows;
    const void *terms = dc->at != NULL ? fbp_at(net, dc->at, (size_t)to->batch->from) : NULL;
    if (layer->formula->per_unit) {
        finish_columns(to, dc, n, factors, FBP_ROW_CONSTANTS);
        return;
    }
    if (factors == NULL) {
        const fbp_mat_t all = {terms, n, rows, dc->ld};
        net->kernels->row_sums(&all, to->scratch->column, 1);
    } else {
        net->kernels->gemm_nt(&(fbp_gemm_t){
            .c = to->scratch->column,
            .ldc = n,
            .a = &factors,
            .b = terms,
            .ldb = dc->ld,
            .m = 1,
            .n = n,
            .k = rows,
            .epi = FBP_EPI_NONE,
        });
    }
    finish_vector(to, to->scratch->column, n, FBP_ROW_CONSTANTS);
}

static void finish_vectors(const vectors_t *to) {
    const fbp_batch_t *batch = to->batch;
    const fbp_plan_t *plan = batch->plan;
    const fbp_tile_t *tile = to->tile;
    const fbp_layer_t *layer = &plan->net->layer[tile->layer];
    const bool unfolded = batch->weighted && !batch->fold_weights;
    if (!layer->has.no_bias) finish_bias(to);
    if (layer->has.norm != FASTBP_NORM_NONE) finish_norm(to);
    if (layer->n_constants > 0) finish_constants(to, unfolded ? plan->weight : NULL);
}

/* The vectors of one segment on their way to those of the batch. */
typedef struct {
    const vectors_t *whole;
    int depth, pops; /* of every stack */
    bool last;
} folding_t;

static void finish_fold(void *context, const fbp_tile_t *tile, const fbp_mat_t *sums, ptrdiff_t row,
                        ptrdiff_t column) {
    const folding_t *to = context;
    const fbp_plan_t *plan = to->whole->batch->plan;
    const size_t kind = (size_t)(-row - FBP_PART_B), width = (size_t)plan->net->max_width;
    void *stack = fbp_at(plan->net, to->whole->scratch->stack, kind * width);
    int depth = to->depth;
    fold(plan->net, sums, stack, plan->stack_elems, &depth, to->pops, to->last);
    if (to->last) to->whole->finish(to->whole->context, tile, sums, row, column);
}

void fbp_vector_tile(const fbp_batch_t *batch, const fbp_scratch_t *scratch, const fbp_tile_t *tile,
                     fbp_finish_fn finish, void *context) {
    const vectors_t to = {batch, scratch, tile, finish, context};
    if (tile->unit0 != 0) return;
    if (batch->segments == NULL) {
        finish_vectors(&to);
        return;
    }
    folding_t folding = {.whole = &to};
    for (ptrdiff_t i = 0, from = batch->from; i < batch->segments->n; ++i) {
        const fbp_batch_t segment = segment_of(batch, i, from);
        const vectors_t part = {&segment, scratch, tile, finish_fold, &folding};
        folding.pops = batch->segments->pops[i];
        folding.last = i == batch->segments->n - 1;
        finish_vectors(&part);
        folding.depth += 1 - folding.pops;
        from += segment.rows;
    }
}

/* ---- penalties ---- */

double fbp_tile_penalty(const fastbp_net_t *net, const void *theta, const fbp_tile_t *tile) {
    const fbp_mat_t w = fbp_tile_weights(net, theta, tile);
    return net->kernels->penalty(&w, net->l1, net->l2);
}

double fbp_penalty(const fastbp_net_t *net, const void *theta) {
    double sum = 0;
    if (net->l1 == 0 && net->l2 == 0) return 0;
    for (ptrdiff_t i = 0; i < net->n_tiles; ++i) sum += fbp_tile_penalty(net, theta, &net->tile[i]);
    return sum;
}
