/* factors.h: the copies of x, a, δ and W from which a plan makes its matrix products, if the
 * precision of the network asks for rounded factors. Sums stay f32.
 *
 * Every factor of a product is rounded: a^{l−1} and W^l forward, δ^l and W^lᵀ in the recursion,
 * a^{l−1} and δ^l in the gradient. What is not a product reads the numbers themselves: biases and
 * their gradients, σ and σ', norms, losses and updates. */
#ifndef FASTBP_NN_FACTORS_H
#define FASTBP_NN_FACTORS_H

#include "buffers.h"

/* FBP_DOT_MAX_ROWS: batches with more rows than this use exact copies of W. Smaller ones read W
 *   itself, also for δ·Wᵀ. Rounded factors are always copies.
 * FBP_ROUNDED_MAX_ROWS: batches with more rows than this multiply in bfloat16; for smaller ones,
 *   copying W into tiles costs more than their products save. A step at "medium" takes, from tiles
 *   and from rounded factors in f32 (Zen 4, one thread):
 *                       9 rows           12 rows          16 rows
 *     784-128-10        105 and 80 µs    106 and 91 µs    106 and 107 µs
 *     784-512-512-10    705 and 580 µs   705 and 664 µs   708 and 779 µs */
#ifndef FBP_DOT_MAX_ROWS
#define FBP_DOT_MAX_ROWS 8
#endif
#ifndef FBP_ROUNDED_MAX_ROWS
#define FBP_ROUNDED_MAX_ROWS 12
#endif

typedef enum {
    FBP_FACTORS_OWN,     /* products read x, a, δ and W themselves, or exact copies of W */
    FBP_FACTORS_ROUNDED, /* they read rounded copies in f32, by the same kernels */
    FBP_FACTORS_TILES,   /* they read tiles in bfloat16, by the kernels of net->bf16 */
} fbp_factors_kind_t;

/* What the copies are for: training sessions; passes, which also take δ^1 through W^1; or forward
 * passes alone, whose layers share the buffers of a. */
typedef enum { FBP_FOR_TRAINING, FBP_FOR_PASSES, FBP_FOR_PREDICTION } fbp_factors_use_t;

typedef struct {
    fbp_factors_kind_t kind;
    fbp_factors_use_t use;
    int planes; /* of the copies, see fbp_planes; 0 for OWN */
    /* By layer: x and a^l for l = 0 … L − 1; δ^l, or s_i δ_i^l for a gradient, for l = 1 … L. */
    fbp_rows_t *a, *delta;                   /* ROUNDED */
    fbp_bf16_forms_t *a_tiles, *delta_tiles; /* TILES: left and left_t; left and right */
    fbp_bf16_forms_t *w_tiles; /* TILES, by i = 0 … L − 1: right and right_t of W^{i+1} */
} fbp_factors_t;

/* Chooses how batches of `rows` rows make their products. */
fbp_factors_t fbp_factors_of(const fastbp_net_t *net, ptrdiff_t rows, fbp_factors_use_t use);

/* See fastbp_products. */
const char *fbp_factors_name(const fbp_factors_t *factors, const fastbp_net_t *net);

/* Whether products always read copies of W. */
FBP_INLINE bool fbp_factors_copied(const fbp_factors_t *factors) {
    return factors->kind != FBP_FACTORS_OWN;
}

/* Blocks of rows begin at multiples of this many rows. */
FBP_INLINE ptrdiff_t fbp_factors_rows(const fbp_factors_t *factors) {
    return factors->kind == FBP_FACTORS_TILES ? FBP_BF16_BLOCK : 1;
}

/* Carve the factors of a and δ; of x, which predictions keep in the buffers of a; of every W.
 * Copies of W that are not TILES are the plan's panels. */
void fbp_factors_carve_rows(fbp_factors_t *factors, const fastbp_net_t *net, fbp_arena_t *arena,
                            ptrdiff_t capacity);
void fbp_factors_carve_input(fbp_factors_t *factors, const fastbp_net_t *net, fbp_arena_t *arena,
                             ptrdiff_t capacity);
void fbp_factors_carve_weights(fbp_factors_t *factors, const fastbp_net_t *net, fbp_arena_t *arena);

/* The part of the forms of a matrix that begins at its row `row`, a multiple of FBP_BF16_BLOCK. */
fbp_bf16_forms_t fbp_forms_from(const fbp_bf16_forms_t *forms, ptrdiff_t row, int planes);

#endif
