/* net.c: checks a specification and lays out theta as W^1, b^1, W^2, b^2, … */
#include "net.h"

#include "infer.h"
#include "loss.h"

#include <stdlib.h>

/* Sizes beyond this many bytes could not be indexed by a signed 64-bit stride. */
#define MAX_BYTES ((size_t)PTRDIFF_MAX / 4)

static bool valid_layer(const fastbp_spec_t *spec, int i) {
    const int act = spec->activations[i];
    const double alpha = spec->alphas[i];
    const bool last = i == spec->n_layers - 1;
    if (act < 0 || act >= FASTBP_ACT_COUNT || (act == FASTBP_ACT_SOFTMAX && !last)) return false;
    if (act == FASTBP_ACT_LEAKY_RELU && !(alpha >= 0)) return false;
    if (act == FASTBP_ACT_ELU && !(alpha > 0)) return false;
    return spec->widths[i] >= 1 && spec->widths[i + 1] >= 1;
}

static bool valid(const fastbp_spec_t *spec) {
    if (spec->n_layers < 1 || spec->dtype > FASTBP_F64 || spec->loss >= FASTBP_LOSS_COUNT)
        return false;
    if (!(spec->l1 >= 0) || !(spec->l2 >= 0)) return false;
    for (int i = 0; i < spec->n_layers; ++i)
        if (!valid_layer(spec, i)) return false;
    return fbp_loss_valid(spec);
}

/* Fills the layers and n_params; false when a size does not fit. */
static bool lay_out(fastbp_net_t *net, const fastbp_spec_t *spec) {
    size_t at = 0;
    net->max_width = spec->widths[0];
    for (int i = 0; i < net->n_layers; ++i) {
        const long n_in = spec->widths[i], n_out = spec->widths[i + 1];
        fbp_layer_t *layer = &net->layer[i];
        *layer = (fbp_layer_t){n_in, n_out, spec->activations[i], spec->alphas[i], at, 0};
        size_t weights, bytes;
        if (!fbp_size_mul((size_t)n_in, (size_t)n_out, &weights)) return false;
        if (!fbp_size_add(at, weights, &layer->b)) return false;
        if (!fbp_size_add(layer->b, (size_t)n_out, &at)) return false;
        if (!fbp_size_mul(at, net->kernels->elem_size, &bytes) || bytes > MAX_BYTES) return false;
        net->max_width = fbp_max_long(net->max_width, n_out);
    }
    net->n_params = at;
    return true;
}

/* Cuts every W into tiles of nearly equal height, whole vectors of units each; with tile == NULL
 * it only counts them. */
static long cut_tiles(const fastbp_net_t *net, fbp_tile_t *tile) {
    long n = 0;
    for (int i = 0; i < net->n_layers; ++i) {
        const long units = net->layer[i].n_in, parts = fbp_ceil_div(units, FBP_TILE_UNITS);
        const long height = fbp_round_up(fbp_ceil_div(units, parts), net->kernels->lanes);
        for (long unit = 0; unit < units; unit += height, ++n)
            if (tile != NULL) tile[n] = (fbp_tile_t){i, unit, fbp_min_long(units, unit + height)};
    }
    return n;
}

fastbp_status_t fastbp_net_new(fastbp_net_t **out, const fastbp_spec_t *spec) {
    *out = NULL;
    if (!valid(spec)) return FASTBP_ERR_ARGUMENT;
    fastbp_net_t *net = calloc(1, sizeof *net);
    if (net == NULL) return FASTBP_ERR_MEMORY;
    net->layer = calloc((size_t)spec->n_layers, sizeof *net->layer);
    net->kernels = fbp_kernels(spec->dtype);
    net->dtype = spec->dtype;
    net->n_layers = spec->n_layers;
    net->l1 = spec->l1;
    net->l2 = spec->l2;
    bool ready = net->layer != NULL && fbp_loss_init(net, spec) && lay_out(net, spec);
    if (ready) {
        net->n_tiles = cut_tiles(net, NULL);
        net->tile = calloc((size_t)net->n_tiles, sizeof *net->tile);
        ready = net->tile != NULL;
    }
    if (!ready) {
        fastbp_net_free(net);
        return FASTBP_ERR_MEMORY;
    }
    cut_tiles(net, net->tile);
    net->infer_cache = fbp_infer_cache_new();
    *out = net;
    return FASTBP_OK;
}

void fastbp_net_free(fastbp_net_t *net) {
    if (net == NULL) return;
    fbp_infer_cache_free(net->infer_cache);
    free(net->loss_params);
    free(net->tile);
    free(net->layer);
    free(net);
}

size_t fastbp_net_n_params(const fastbp_net_t *net) { return net->n_params; }
