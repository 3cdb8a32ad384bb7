/* net.h: an architecture with its offsets into theta and the tiles its weights are cut into. */
#ifndef FASTBP_NN_NET_H
#define FASTBP_NN_NET_H

#include "../dispatch.h"
#include "loss.h"

#include <stdatomic.h>

typedef struct {
    long n_in, n_out;
    int act;
    double alpha;
    size_t w, b; /* offsets of W[n_in,n_out] and b[n_out] in theta, in elements */
    fastbp_layer_options_t has;
    size_t gain, shift; /* offsets of what the norm has, [n_out] each */
    bool plain;         /* out = σ(uW + b): no norm, dropout or residual */
    bool frozen;        /* updates leave its parameters */
} fbp_layer_t;

/* One task of the weight sweep: input units unit0 … unit1 − 1 of layer[layer], all its outputs. */
typedef struct {
    int layer;
    long unit0, unit1;
} fbp_tile_t;

/* FBP_TILE_UNITS: input units of a tile at most: a multiple of all lanes in use, so that transposed
 * blocks come out whole, and of the 14 rows of a register tile on AVX-512.
 * FBP_TILE_OUTPUTS: outputs whose raw sums are made before the update goes over them; with 32 at a
 * time, θ and its moments are visited in runs too short for the prefetchers, and Adam on 784 × 512
 * parameters costs 0.50 ns each, in runs of 64 or more 0.29; with whole rows of 512 in one long run
 * 784-512-512-10 at batch 128 takes 2 % less than in two runs of 256 (AVX-512, one core). */
#ifndef FBP_TILE_UNITS
#define FBP_TILE_UNITS 112
#endif
#ifndef FBP_TILE_OUTPUTS
#define FBP_TILE_OUTPUTS 512
#endif
enum {
    FBP_TURNED_MAX = 12
}; /* outputs beyond the last whole vector that are summed turned round */

/* Buffers that a network keeps for a file above this one, which alone knows what they are: it fills
 * the slot when it first needs them, and leaves the function that frees them here. */
typedef struct {
    atomic_flag busy; /* held by the one call that uses the slot */
    void *buffers;    /* NULL until they are made */
    void (*free_buffers)(void *buffers);
} fbp_slot_t;

struct fastbp_net {
    fbp_slot_t *predict; /* for predicting a few rows without an allocation; NULL: no memory */
    const fbp_kernels_t *kernels;
    fastbp_dtype_t dtype;
    int n_layers;
    fbp_layer_t *layer; /* n_layers of them; layer[i] is layer l = i + 1 */
    fbp_tile_t *tile;   /* every W cut into tiles, layer by layer, units ascending */
    long n_tiles;
    size_t n_params;
    long max_width;
    fbp_net_loss_t loss;
    double l1, l2;
    double input_dropout;
    bool max_norm; /* a layer has that constraint */
};

/* What a layer has in theta: W, cut by tiles, and vectors that go with the tile of unit 0. */
enum { FBP_PART_W, FBP_PART_B, FBP_PART_GAIN, FBP_PART_SHIFT, FBP_PARTS };

typedef struct {
    size_t offset; /* in theta, in elements */
    long count;    /* 0 where the layer, or the tile, has no such part */
} fbp_part_t;

fbp_part_t fbp_tile_part(const fastbp_net_t *net, const fbp_tile_t *tile, int part);

/* The lowest layer l that updates change; L + 1 when there is none. */
int fbp_lowest_trained(const fastbp_net_t *net);

/* Address of element `offset` of a flat vector of the network's dtype. */
FBP_INLINE void *fbp_at(const fastbp_net_t *net, const void *base, size_t offset) {
    return (void *)((uintptr_t)base + offset * net->kernels->elem_size);
}

#endif
