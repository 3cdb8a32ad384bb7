/* net.c: checks a specification and lays out theta as W^1, b^1, W^2, b^2, …, with the gain and the
 * shift of a norm, its running statistics, the trained constants of an activation and the scale of
 * the inputs after the b of their layer. */
#include "net.h"

#include <float.h>
#include <math.h>
#include <stdlib.h>

/* Sizes beyond this many bytes could not be indexed by a signed 64-bit stride. */
#define MAX_BYTES ((size_t)PTRDIFF_MAX / 4)

enum { MOST_FREQUENCIES = 4096, MOST_VECTOR = 4096 };

static bool valid_layer(const fastbp_spec_t *spec, int i) {
    const int act = spec->activations[i];
    const double alpha = spec->alphas[i];
    const bool last = i == spec->n_layers - 1;
    const bool formula = spec->formulas != NULL && spec->formulas[i] != NULL;
    if (!fbp_act_takes(act, alpha) || (act == FASTBP_ACT_SOFTMAX && !last)) return false;
    if (formula != (act == FASTBP_ACT_FORMULA)) return false;
    return spec->widths[i] >= 1 && spec->widths[i + 1] >= 1;
}

static bool valid_dropout(double p) { return p >= 0 && p < 1; }

static bool valid_numbers(const fastbp_layer_options_t *has) {
    const ptrdiff_t outputs = fbp_embedding_outputs(has);
    return has->numbers == 0 ||
           (has->n_frequencies >= 1 && outputs >= 1 && outputs <= FBP_PERIODIC_OUTPUTS &&
            has->n_frequencies <= MOST_FREQUENCIES);
}

static bool valid_categories(const fastbp_layer_options_t *has) {
    if (has->n_categories > 0 && (has->levels == NULL || has->level_widths == NULL)) return false;
    for (int c = 0; c < has->n_categories; ++c)
        if (has->levels[c] < 1 || has->levels[c] > INT32_MAX || has->level_widths[c] < 1 ||
            has->level_widths[c] > MOST_VECTOR)
            return false;
    return true;
}

static bool valid_embedding(const fastbp_spec_t *spec, int i) {
    const fastbp_layer_options_t *has = &spec->options[i];
    const ptrdiff_t n_x = spec->widths[0];
    if (has->numbers == 0 && has->n_categories == 0) return true;
    return i == 0 && has->numbers >= 0 && has->n_categories >= 0 && !has->residual &&
           spec->input_dropout == 0 && n_x <= PTRDIFF_MAX / (2 * MOST_VECTOR) &&
           has->numbers <= n_x && has->n_categories <= n_x - has->numbers && valid_numbers(has) &&
           valid_categories(has);
}

/* A loss may be computed from z of the last layer, so that layer must be plain. */
static bool valid_options(const fastbp_spec_t *spec, int i) {
    const fastbp_layer_options_t *has = &spec->options[i];
    const bool last = i == spec->n_layers - 1;
    if ((unsigned)has->norm >= FASTBP_NORM_COUNT || !valid_dropout(has->dropout) ||
        !(has->max_norm >= 0))
        return false;
    if (has->norm != FASTBP_NORM_NONE && !(has->norm_eps > 0)) return false;
    if (has->norm == FASTBP_NORM_BATCH && !(has->norm_momentum > 0 && has->norm_momentum <= 1))
        return false;
    if (has->residual && spec->widths[i] != spec->widths[i + 1]) return false;
    if (!valid_embedding(spec, i)) return false;
    return !last || (has->norm == FASTBP_NORM_NONE && has->dropout == 0 && !has->residual);
}

static bool valid(const fastbp_spec_t *spec) {
    if (spec->n_layers < 1 || (unsigned)spec->dtype > FASTBP_F64 ||
        (unsigned)spec->loss >= FASTBP_LOSS_COUNT)
        return false;
    if ((unsigned)spec->precision >= FASTBP_PRECISION_COUNT) return false;
    if (spec->dtype == FASTBP_F64 && spec->precision != FASTBP_HIGHEST) return false;
    if (!(spec->l1 >= 0) || !(spec->l2 >= 0) || !valid_dropout(spec->input_dropout)) return false;
    for (int i = 0; i < spec->n_layers; ++i)
        if (!valid_layer(spec, i) || (spec->options != NULL && !valid_options(spec, i)))
            return false;
    return fbp_loss_valid(spec);
}

/* Gives a block of `count` elements the next place in theta; false if a size does not fit. */
static bool place(const fastbp_net_t *net, size_t *at, size_t count, size_t *offset) {
    size_t bytes;
    *offset = *at;
    return fbp_size_add(*at, count, at) && fbp_size_mul(*at, net->kernels->elem_size, &bytes) &&
           bytes <= MAX_BYTES;
}

static bool lay_out_numbers(const fastbp_net_t *net, fbp_layer_t *layer, size_t *at) {
    size_t each[4];
    if (layer->has.numbers == 0) return true;
    fbp_embedding_sizes(&layer->has, each);
    for (int i = 0; i < 4; ++i) {
        size_t count;
        if (!fbp_size_mul((size_t)layer->has.numbers, each[i], &count) ||
            !place(net, at, count, &layer->embedding[i]))
            return false;
    }
    return true;
}

/* The tables follow the numbers and the other inputs, in theta and among the inputs of W. */
static bool lay_out_tables(fastbp_net_t *net, const fbp_layer_t *layer, size_t *at) {
    if (layer->has.n_categories == 0) return true;
    ptrdiff_t unit = layer->n_in;
    for (int c = net->n_tables - 1; c >= 0; --c) {
        unit -= net->table[c].width;
        net->table[c].unit = unit;
    }
    for (int c = 0; c < net->n_tables; ++c) {
        fbp_table_t *table = &net->table[c];
        size_t count;
        if (!fbp_size_mul((size_t)table->levels, (size_t)table->width, &count) ||
            !place(net, at, count, &table->at))
            return false;
    }
    return true;
}

static bool lay_out_layer(fastbp_net_t *net, fbp_layer_t *layer, size_t *at) {
    const fastbp_layer_options_t *has = &layer->has;
    const size_t n_out = (size_t)layer->n_out;
    const size_t gains = has->norm != FASTBP_NORM_NONE ? n_out : 0;
    const size_t shifts = fbp_norm_shifts(layer) ? n_out : 0;
    const size_t statistics = has->norm == FASTBP_NORM_BATCH ? n_out : 0;
    const fbp_formula_t *formula = layer->formula;
    const size_t each = formula != NULL && formula->per_unit ? n_out : 1;
    size_t weights, constants;
    if (!fbp_size_mul(formula != NULL ? (size_t)formula->n_constants : 0, each, &constants) ||
        constants > PTRDIFF_MAX / 2) /* they may be a row of a matrix, whose stride is longer */
        return false;
    layer->n_constants = (ptrdiff_t)constants;
    return fbp_size_mul((size_t)layer->n_in, n_out, &weights) &&
           place(net, at, weights, &layer->w) &&
           place(net, at, has->no_bias ? 0 : n_out, &layer->b) &&
           place(net, at, gains, &layer->gain) && place(net, at, shifts, &layer->shift) &&
           place(net, at, statistics, &layer->mean) && place(net, at, statistics, &layer->var) &&
           place(net, at, constants, &layer->constants) &&
           place(net, at, has->scale ? (size_t)layer->n_in : 0, &layer->scale) &&
           lay_out_numbers(net, layer, at) && lay_out_tables(net, layer, at);
}

/* Copies the lists of the categories, so that nothing of the caller's is kept. */
static bool copy_categories(fastbp_net_t *net, const fastbp_spec_t *spec) {
    if (spec->options == NULL || spec->options[0].n_categories == 0) return true;
    const fastbp_layer_options_t *has = &spec->options[0];
    net->n_tables = has->n_categories;
    net->table = calloc((size_t)net->n_tables, sizeof *net->table);
    for (int c = 0; net->table != NULL && c < net->n_tables; ++c)
        net->table[c] = (fbp_table_t){has->levels[c], has->level_widths[c], 0, 0};
    return net->table != NULL;
}

static void need_scratch(fastbp_net_t *net, size_t elems) {
    if (elems > net->run_scratch) net->run_scratch = elems;
}

/* Copies the formulas of the layers, and finds the scratch that they and that of the loss need. */
static fastbp_status_t copy_formulas(fastbp_net_t *net, const fastbp_spec_t *spec) {
    for (int i = 0; spec->formulas != NULL && i < net->n_layers; ++i) {
        fbp_layer_t *layer = &net->layer[i];
        if (spec->formulas[i] == NULL) continue;
        const fastbp_status_t status =
            fbp_formula_new(&layer->formula, spec->formulas[i], net->dtype);
        if (status != FASTBP_OK) return status;
        need_scratch(net, fbp_formula_scratch(layer->formula, net->kernels, spec->widths[i + 1]));
    }
    if (net->loss.formula != NULL)
        need_scratch(net, fbp_loss_formula_scratch(net->loss.formula, net->kernels,
                                                   spec->widths[net->n_layers]));
    return FASTBP_OK;
}

/* Fills the layers and n_params; false if a size does not fit. */
static bool lay_out(fastbp_net_t *net, const fastbp_spec_t *spec) {
    const double smallest = net->dtype == FASTBP_F32 ? (double)FLT_MIN : DBL_MIN;
    size_t at = 0;
    for (int i = 0; i < net->n_layers; ++i) {
        fbp_layer_t *layer = &net->layer[i];
        layer->n_in = spec->widths[i];
        if (i == 0) net->n_x = layer->n_in;
        layer->n_out = spec->widths[i + 1];
        layer->act = spec->activations[i];
        layer->alpha = spec->alphas[i];
        if (spec->options != NULL) layer->has = spec->options[i];
        fastbp_layer_options_t *has = &layer->has;
        has->levels = has->level_widths = NULL; /* net->table has them */
        if (has->numbers > 0) layer->n_in += has->numbers * (has->width - 1);
        for (int c = 0; has->n_categories > 0 && c < net->n_tables; ++c)
            layer->n_in += net->table[c].width - 1;
        has->norm_eps = fmax(has->norm_eps, smallest); /* a subnormal eps would be read as 0 */
        layer->plain = has->norm == FASTBP_NORM_NONE && has->dropout == 0 && !has->residual &&
                       layer->formula == NULL;
        if (!lay_out_layer(net, layer, &at)) return false;
        net->max_width = fbp_max(net->max_width, layer->n_in);
        net->max_width = fbp_max(net->max_width, layer->n_out);
        net->has_max_norm |= has->max_norm > 0;
        net->has_batch_norm |= has->norm == FASTBP_NORM_BATCH;
        net->has_scale |= has->scale;
        net->has_embedding |= has->numbers > 0 || has->n_categories > 0;
    }
    net->n_params = net->n_read = at;
    for (int c = 0; c < net->n_tables; ++c)
        net->n_read -= (size_t)(net->table[c].levels - 1) * (size_t)net->table[c].width;
    return true;
}

_Static_assert(FBP_TILE_UNITS >= FBP_BF16_BLOCK, "a tile of W has whole blocks in bfloat16");

/* Cuts every W into tiles of nearly equal height, in whole vectors of units or, if factors are
 * rounded, in whole blocks of products in bfloat16. Returns the number of tiles; with tile == NULL
 * it only counts them, which must not take a time that grows with the widths. */
static ptrdiff_t cut_tiles(const fastbp_net_t *net, fbp_tile_t *tile) {
    const bool exact = net->precision == FASTBP_HIGHEST;
    const ptrdiff_t whole = exact ? net->kernels->lanes : FBP_BF16_BLOCK;
    const ptrdiff_t most = FBP_TILE_UNITS / whole * whole;
    ptrdiff_t n = 0;
    for (int i = 0; i < net->n_layers; ++i) {
        const ptrdiff_t units = net->layer[i].n_in, parts = fbp_ceil_div(units, most);
        const ptrdiff_t height = fbp_round_up(fbp_ceil_div(units, parts), whole);
        for (ptrdiff_t unit = 0; tile != NULL && unit < units; unit += height)
            *tile++ = (fbp_tile_t){i, unit, fbp_min(units, unit + height)};
        n += fbp_ceil_div(units, height);
    }
    return n;
}

/* Makes the layers, the loss and the tiles. */
static fastbp_status_t fill(fastbp_net_t *net, const fastbp_spec_t *spec) {
    net->layer = calloc((size_t)spec->n_layers, sizeof *net->layer);
    if (net->layer == NULL) return FASTBP_ERR_MEMORY;
    fastbp_status_t status = fbp_loss_init(&net->loss, spec);
    if (status == FASTBP_OK) status = copy_formulas(net, spec);
    if (status != FASTBP_OK) return status;
    if (!copy_categories(net, spec) || !lay_out(net, spec)) return FASTBP_ERR_MEMORY;
    net->n_tiles = cut_tiles(net, NULL);
    net->tile = calloc((size_t)net->n_tiles, sizeof *net->tile);
    if (net->tile == NULL) return FASTBP_ERR_MEMORY;
    cut_tiles(net, net->tile);
    return FASTBP_OK;
}

fastbp_status_t fastbp_net_new(fastbp_net_t **out, const fastbp_spec_t *spec) {
    *out = NULL;
    if (!valid(spec)) return FASTBP_ERR_ARGUMENT;
    fastbp_net_t *net = calloc(1, sizeof *net);
    if (net == NULL) return FASTBP_ERR_MEMORY;
    net->kernels = fbp_kernels(spec->dtype);
    net->machine = fbp_machine();
    net->blocking = fbp_blocking(net->kernels, net->machine);
    net->dtype = spec->dtype;
    net->precision = spec->precision;
    net->bf16 = spec->precision != FASTBP_HIGHEST ? fbp_bf16_kernels() : NULL;
    net->n_layers = spec->n_layers;
    net->l1 = spec->l1;
    net->l2 = spec->l2;
    net->input_dropout = spec->input_dropout;
    const fastbp_status_t status = fill(net, spec);
    if (status != FASTBP_OK) {
        fastbp_net_free(net);
        return status;
    }
    net->predict = calloc(1, sizeof *net->predict);
    if (net->predict != NULL) atomic_flag_clear(&net->predict->busy);
    *out = net;
    return FASTBP_OK;
}

void fastbp_net_free(fastbp_net_t *net) {
    if (net == NULL) return;
    if (net->predict != NULL && net->predict->buffers != NULL)
        net->predict->free_buffers(net->predict->buffers);
    free(net->predict);
    for (int i = 0; net->layer != NULL && i < net->n_layers; ++i)
        fbp_formula_free(net->layer[i].formula);
    fbp_loss_free(&net->loss);
    free(net->tile);
    free(net->table);
    free(net->layer);
    free(net);
}

size_t fastbp_net_n_params(const fastbp_net_t *net) { return net->n_params; }

void fastbp_net_set_trainable(fastbp_net_t *net, int layer, bool trainable) {
    if (layer >= 1 && layer <= net->n_layers) net->layer[layer - 1].frozen = !trainable;
}

fbp_mat_t fbp_tile_weights(const fastbp_net_t *net, const void *theta, const fbp_tile_t *tile) {
    const fbp_layer_t *layer = &net->layer[tile->layer];
    const size_t offset = layer->w + (size_t)tile->unit0 * (size_t)layer->n_out;
    return (fbp_mat_t){fbp_at(net, theta, offset), tile->unit1 - tile->unit0, layer->n_out,
                       layer->n_out};
}

ptrdiff_t fbp_tile_numbers(const fastbp_net_t *net, const fbp_tile_t *tile, ptrdiff_t *first) {
    const fastbp_layer_options_t *has = &net->layer[tile->layer].has;
    if (has->numbers == 0) return 0;
    *first = fbp_min(has->numbers, fbp_ceil_div(tile->unit0, has->width));
    return fbp_min(has->numbers, fbp_ceil_div(tile->unit1, has->width)) - *first;
}

int fbp_tile_tables(const fastbp_net_t *net, const fbp_tile_t *tile, int *first) {
    int begin = 0;
    if (tile->layer > 0) return 0;
    while (begin < net->n_tables && net->table[begin].unit < tile->unit0) ++begin;
    int end = begin;
    while (end < net->n_tables && net->table[end].unit < tile->unit1) ++end;
    *first = begin;
    return end - begin;
}

static fbp_part_t part_of_tables(const fastbp_net_t *net, const fbp_tile_t *tile) {
    int first = 0;
    const int count = fbp_tile_tables(net, tile, &first);
    if (count == 0) return (fbp_part_t){0};
    const fbp_table_t *last = &net->table[first + count - 1];
    const size_t begin = net->table[first].at;
    return (fbp_part_t){begin, (ptrdiff_t)(last->at - begin) + last->levels * last->width};
}

static fbp_part_t part_of_embedding(const fastbp_net_t *net, const fbp_tile_t *tile, int part) {
    const fbp_layer_t *layer = &net->layer[tile->layer];
    const int i = part - FBP_PART_FREQUENCIES;
    ptrdiff_t first = 0;
    size_t each[4];
    const ptrdiff_t count = fbp_tile_numbers(net, tile, &first);
    if (count == 0) return (fbp_part_t){0};
    fbp_embedding_sizes(&layer->has, each);
    return (fbp_part_t){layer->embedding[i] + (size_t)first * each[i], count * (ptrdiff_t)each[i]};
}

fbp_part_t fbp_tile_part(const fastbp_net_t *net, const fbp_tile_t *tile, int part) {
    const fbp_layer_t *layer = &net->layer[tile->layer];
    const ptrdiff_t n_out = layer->n_out, vector = tile->unit0 == 0 ? n_out : 0;
    const bool norm = layer->has.norm != FASTBP_NORM_NONE;
    switch (part) {
    case FBP_PART_W:
        return (fbp_part_t){layer->w + (size_t)tile->unit0 * (size_t)n_out,
                            (tile->unit1 - tile->unit0) * n_out};
    case FBP_PART_B: return (fbp_part_t){layer->b, layer->has.no_bias ? 0 : vector};
    case FBP_PART_GAIN: return (fbp_part_t){layer->gain, norm ? vector : 0};
    case FBP_PART_SHIFT: return (fbp_part_t){layer->shift, fbp_norm_shifts(layer) ? vector : 0};
    case FBP_PART_SCALE:
        return (fbp_part_t){layer->scale + (size_t)tile->unit0,
                            layer->has.scale ? tile->unit1 - tile->unit0 : 0};
    case FBP_PART_FREQUENCIES:
    case FBP_PART_PHASES:
    case FBP_PART_PROJECTIONS:
    case FBP_PART_OFFSETS: return part_of_embedding(net, tile, part);
    case FBP_PART_VECTORS: return part_of_tables(net, tile);
    default: return (fbp_part_t){layer->constants, vector > 0 ? layer->n_constants : 0};
    }
}

int fbp_lowest_trained(const fastbp_net_t *net) {
    int l = 1;
    while (l <= net->n_layers && net->layer[l - 1].frozen) ++l;
    return l;
}
