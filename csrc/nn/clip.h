/* clip.h: by how much gradients are scaled so that a norm stays within a limit: that of every W,
 * b, gain and shift, or of all that are trained. PyTorch's clip_grad_norm_: limit/(norm + 1e-6)
 * where that is below 1.
 *
 * Squares are added up by tile, the tiles in order, so that no bit depends on who summed which. */
#ifndef FASTBP_NN_CLIP_H
#define FASTBP_NN_CLIP_H

#include "net.h"

/* Whether the rule needs norms, and so the gradient written down before the first update. */
bool fbp_clips_norms(const fastbp_optimizer_t *optimizer);

/* Σ g² of one of the FBP_PARTS of a tile; 0 where its layer is frozen. */
double fbp_tile_square(const fastbp_net_t *net, const void *grad, const fbp_tile_t *tile, int part);

typedef struct {
    const fastbp_net_t *net;
    fastbp_clip_t clip;
    double limit, all; /* all: the factor of every gradient, for the global norm */
    const void *grad;
    const double *squares; /* of the FBP_PARTS, tile by tile, or NULL: made from grad when needed */
    int layer;             /* whose factors are in `own`; -1: none yet */
    double own[FBP_PARTS];
} fbp_clipping_t;

fbp_clipping_t fbp_clipping_of(const fastbp_net_t *net, const fastbp_optimizer_t *optimizer,
                               const void *grad, const double *squares);

/* The factor of the gradient of one part of layer[layer]; free where the last call was for the same
 * layer. */
double fbp_clip_factor(fbp_clipping_t *clipping, int layer, int part);

#endif
