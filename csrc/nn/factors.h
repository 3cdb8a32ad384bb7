/* factors.h: the copies of x, a, δ and W from which a plan makes its matrix products, if the
 * precision of the network asks for rounded factors. Sums stay f32.
 *
 * Every factor of a product is rounded: a^{l−1} and W^l forward, δ^l and W^lᵀ in the recursion,
 * a^{l−1} and δ^l in the gradient. What is not a product reads the numbers themselves: biases and
 * their gradients, σ and σ', norms, losses and updates. */
#ifndef FASTBP_NN_FACTORS_H
#define FASTBP_NN_FACTORS_H

#include "buffers.h"

typedef enum {
    FBP_FACTORS_OWN,     /* products read x, a, δ and W themselves, or exact copies of W */
    FBP_FACTORS_ROUNDED, /* they read rounded copies in f32, by the same kernels */
} fbp_factors_kind_t;

typedef struct {
    fbp_factors_kind_t kind;
    int planes; /* of `round_rows` and the copies of W; 0 for OWN */
    /* ROUNDED: x and a^l for l = 0 … L − 1; δ^l, or s_i δ_i^l for a gradient, for l = 1 … L. */
    fbp_rows_t *a, *delta;
} fbp_factors_t;

/* Chooses how a plan for batches of up to `capacity` rows makes its products. */
fbp_factors_t fbp_factors_of(const fastbp_net_t *net, long capacity);

/* See fastbp_products. */
const char *fbp_factors_name(const fbp_factors_t *factors, const fastbp_net_t *net);

/* Whether products always read copies of W. */
FBP_INLINE bool fbp_factors_copied(const fbp_factors_t *factors) {
    return factors->kind != FBP_FACTORS_OWN;
}

/* Carves the factors of rows. `forward`: for predictions, whose layers share one buffer. */
void fbp_factors_carve(fbp_factors_t *factors, const fastbp_net_t *net, fbp_arena_t *arena,
                       long capacity, bool forward);

#endif
