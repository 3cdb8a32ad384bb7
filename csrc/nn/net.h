/* net.h: an architecture, its offsets into theta, and the tiles into which its weights are cut. */
#ifndef FASTBP_NN_NET_H
#define FASTBP_NN_NET_H

#include "formula.h"
#include "loss.h"

#include <stdatomic.h>

typedef struct {
    ptrdiff_t n_in, n_out;
    int act;
    double alpha;
    size_t w, b; /* offsets of W[n_in,n_out] and b[n_out] in theta, in elements */
    fastbp_layer_options_t has;
    size_t gain, shift;     /* offsets of the gain and the shift of its norm, [n_out] each */
    size_t mean, var;       /* offsets of the running statistics of batch norm, [n_out] each */
    fbp_formula_t *formula; /* σ, if act is FASTBP_ACT_FORMULA; otherwise NULL */
    size_t constants;       /* offset of the trained constants of the formula, one after another */
    ptrdiff_t n_constants;  /* elements of all of them */
    size_t embedding[4];    /* offsets of the arrays of its embedding, in the order of FBP_PART_* */
    size_t scale;           /* offset of the factors of the inputs, [n_in], if it has them */
    bool plain;             /* out = σ(uW + b), σ built in: no norm, dropout or residual */
    bool frozen;            /* updates do not change its parameters */
} fbp_layer_t;

/* The vectors of the categories of one input: [levels, width], from `at` in theta; they are inputs
 * unit … unit + width − 1 of W. */
typedef struct {
    ptrdiff_t levels, width, unit;
    size_t at;
} fbp_table_t;

/* One task of the weight sweep: input units unit0 … unit1 − 1 and all outputs of layer[layer]. */
typedef struct {
    int layer;
    ptrdiff_t unit0, unit1;
} fbp_tile_t;

/* FBP_TILE_UNITS: the most input units of a tile. It is a multiple of the lanes of every ISA, so
 * that transposed blocks are whole, and of the 14 rows of a register tile on AVX-512. Penalties and
 * norms are sums over tiles, so it must not depend on the machine.
 * FBP_TURNED_MAX: the most outputs past the last whole vector that are summed as δᵀa. */
#ifndef FBP_TILE_UNITS
#define FBP_TILE_UNITS 112
#endif
enum { FBP_TURNED_MAX = 12 };

/* A place for buffers that a file of a higher floor keeps with the network. That file fills the
 * slot when it first needs them, together with the function that frees them. */
typedef struct {
    atomic_flag busy; /* held by the one call that uses the slot */
    void *buffers;    /* NULL until they are made */
    void (*free_buffers)(void *buffers);
} fbp_slot_t;

struct fastbp_net {
    fbp_slot_t
        *predict; /* for predicting few rows without allocating; NULL if there was no memory */
    const fbp_kernels_t *kernels;
    const fbp_machine_t *machine;
    const fbp_blocking_t *blocking; /* of the kernels, on that machine */
    fastbp_dtype_t dtype;
    fastbp_precision_t precision;
    const fbp_bf16_t *bf16; /* products in bfloat16; NULL if the ISA or the precision has none */
    int n_layers;
    fbp_layer_t *layer; /* n_layers of them; layer[i] is layer l = i + 1 */
    fbp_tile_t *tile;   /* the tiles of every W, layer by layer, units ascending */
    ptrdiff_t n_tiles;
    size_t n_params;
    size_t n_read; /* parameters that a row reads: all but the other rows of tables */
    ptrdiff_t max_width;
    fbp_net_loss_t loss;
    double l1, l2;
    double input_dropout;
    bool has_max_norm;   /* some layer has this constraint */
    bool has_batch_norm; /* some layer has FASTBP_NORM_BATCH */
    bool has_embedding;  /* layer 1 has one, of numbers or of categories */
    ptrdiff_t n_x;       /* columns of X; those of a^0 are layer[0].n_in */
    int n_tables;
    fbp_table_t *table; /* of the categories, which are the last columns of X */
    bool has_scale;     /* some layer has factors of its inputs */
    size_t run_scratch; /* elements for fbp_run_t.scratch of every program; 0: there are none */
};

/* The parts of a layer in theta: W and scale, divided into tiles, and vectors, which belong to the
 * tile of unit 0. */
enum {
    FBP_PART_W,
    FBP_PART_B,
    FBP_PART_GAIN,
    FBP_PART_SHIFT,
    FBP_PART_CONSTANTS, /* all of a layer together */
    FBP_PART_SCALE,
    FBP_PART_FREQUENCIES, /* of an embedding: numbers that begin in the tile */
    FBP_PART_PHASES,
    FBP_PART_PROJECTIONS,
    FBP_PART_OFFSETS,
    FBP_PART_VECTORS, /* of categories: tables whose first unit is in the tile */
    FBP_PARTS         /* running statistics are none of them: no gradient changes them */
};

/* Whether the norm of a layer has a shift. */
FBP_INLINE bool fbp_norm_shifts(const fbp_layer_t *layer) {
    return layer->has.norm == FASTBP_NORM_LAYER || layer->has.norm == FASTBP_NORM_BATCH;
}

typedef struct {
    size_t offset;   /* in theta, in elements */
    ptrdiff_t count; /* elements; 0 if the layer or the tile has no such part */
} fbp_part_t;

/* The outputs of each number of an embedding. */
FBP_INLINE ptrdiff_t fbp_embedding_outputs(const fastbp_layer_options_t *has) {
    return has->width - (has->keeps ? 1 : 0);
}

/* Elements per number of the arrays of an embedding. */
FBP_INLINE void fbp_embedding_sizes(const fastbp_layer_options_t *has, size_t size[4]) {
    const size_t k = (size_t)has->n_frequencies, outputs = (size_t)fbp_embedding_outputs(has);
    size[0] = size[1] = k;
    size[2] = k * outputs;
    size[3] = outputs;
}

/* The numbers of an embedding whose first unit is in a tile: numbers first … first + count − 1. */
ptrdiff_t fbp_tile_numbers(const fastbp_net_t *net, const fbp_tile_t *tile, ptrdiff_t *first);

/* The tables of categories whose first unit is in a tile: tables first … first + count − 1. */
int fbp_tile_tables(const fastbp_net_t *net, const fbp_tile_t *tile, int *first);

/* The rows of W in a tile. */
fbp_mat_t fbp_tile_weights(const fastbp_net_t *net, const void *theta, const fbp_tile_t *tile);

fbp_part_t fbp_tile_part(const fastbp_net_t *net, const fbp_tile_t *tile, int part);

/* The lowest layer l that updates change; L + 1 if there is none. */
int fbp_lowest_trained(const fastbp_net_t *net);

/* The address of element `offset` of a vector of the network's dtype, and the element. */
FBP_INLINE void *fbp_at(const fastbp_net_t *net, const void *base, size_t offset) {
    return (void *)((uintptr_t)base + offset * net->kernels->elem_size);
}
FBP_INLINE double fbp_element(const fastbp_net_t *net, const void *base, size_t offset) {
    return net->dtype == FASTBP_F32 ? ((const float *)base)[offset]
                                    : ((const double *)base)[offset];
}

#endif
