/* clip.h: the factors that keep the norm of a gradient within a limit: the norm of each W, b, gain
 * and shift and of the constants of each layer, or the norm of everything that is trained. As in
 * PyTorch's clip_grad_norm_, the factor is min(1, limit/(norm + 1e-6)).
 *
 * Squares are summed per tile and the tiles are added in order, so the bits do not depend on which
 * worker summed which tile. */
#ifndef FASTBP_NN_CLIP_H
#define FASTBP_NN_CLIP_H

#include "net.h"

/* Whether the optimiser clips by norms, so that the whole gradient must be in memory before the
 * first update. */
bool fbp_clips_norms(const fastbp_optimizer_t *optimizer);

/* Σ g² of one part (FBP_PART_*) of a tile; 0 if its layer is frozen. */
double fbp_tile_sum_squares(const fastbp_net_t *net, const void *grad, const fbp_tile_t *tile,
                            int part);

typedef struct {
    const fastbp_net_t *net;
    fastbp_clip_t clip;
    double limit;
    double whole_factor; /* the factor of every part, unless clip is FASTBP_CLIP_NORM */
    const void *grad;
    const double *squares; /* FBP_PARTS sums Σ g² per tile; NULL: computed from grad */
    /* Instead of both: adds up Σ g² of each part of a layer. */
    void (*add_squares)(const void *context, int layer, double sum[FBP_PARTS]);
    const void *context;
    int layer; /* the layer whose factors are in `own`; -1: none yet */
    double own[FBP_PARTS];
} fbp_clipping_t;

/* The factor for a gradient with this Σ g². If the square is NaN, so is the factor. */
double fbp_norm_factor(double limit, double square);

fbp_clipping_t fbp_clipping_of(const fastbp_net_t *net, const fastbp_optimizer_t *optimizer,
                               const void *grad, const double *squares);

/* The factor for the gradient of one part of layer[layer]. It costs nothing if the last call was
 * for the same layer. */
double fbp_clip_factor(fbp_clipping_t *clipping, int layer, int part);

#endif
