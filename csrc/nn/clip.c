/* clip.c: see clip.h. */
#include "clip.h"

#include <math.h>

bool fbp_clips_norms(const fastbp_optimizer_t *optimizer) {
    return optimizer->clip == FASTBP_CLIP_NORM || optimizer->clip == FASTBP_CLIP_GLOBAL_NORM;
}

double fbp_tile_square(const fastbp_net_t *net, const void *grad, const fbp_tile_t *tile,
                       bool bias) {
    const fbp_layer_t *layer = &net->layer[tile->layer];
    const long n_out = layer->n_out;
    const size_t offset = bias ? layer->b : layer->w + (size_t)tile->unit0 * (size_t)n_out;
    const long rows = bias ? 1 : tile->unit1 - tile->unit0;
    const fbp_mat_t part = {fbp_at(net, grad, offset), rows, n_out, n_out};
    return net->kernels->penalty(&part, 0, 2);
}

static double square_of(const fbp_clipping_t *c, long tile, bool bias) {
    if (c->squares != NULL) return c->squares[2 * tile + bias];
    return fbp_tile_square(c->net, c->grad, &c->net->tile[tile], bias);
}

/* A factor that is NaN stays so. */
static double factor_of(double limit, double square) {
    const double factor = limit / (sqrt(square) + 1e-6);
    return factor > 1 ? 1 : factor;
}

fbp_clipping_t fbp_clipping_of(const fastbp_net_t *net, const fastbp_optimizer_t *optimizer,
                               const void *grad, const double *squares) {
    fbp_clipping_t c = {net, optimizer->clip, optimizer->limit, 1, grad, squares};
    if (c.clip != FASTBP_CLIP_GLOBAL_NORM) return c;
    double sum = 0;
    for (long i = 0; i < net->n_tiles; ++i) {
        sum += square_of(&c, i, false);
        if (net->tile[i].unit0 == 0) sum += square_of(&c, i, true);
    }
    c.all = factor_of(c.limit, sum);
    return c;
}

double fbp_clip_factor(const fbp_clipping_t *c, int layer, bool bias) {
    if (c->clip != FASTBP_CLIP_NORM) return c->all;
    double sum = 0;
    for (long i = 0; i < c->net->n_tiles; ++i) {
        const fbp_tile_t *tile = &c->net->tile[i];
        if (tile->layer == layer && (!bias || tile->unit0 == 0)) sum += square_of(c, i, bias);
    }
    return factor_of(c->limit, sum);
}
