/* clip.c: see clip.h. */
#include "clip.h"

#include <math.h>

bool fbp_clips_norms(const fastbp_optimizer_t *optimizer) {
    return optimizer->clip == FASTBP_CLIP_NORM || optimizer->clip == FASTBP_CLIP_GLOBAL_NORM;
}

double fbp_tile_sum_squares(const fastbp_net_t *net, const void *grad, const fbp_tile_t *tile,
                            int part) {
    const fbp_part_t at = fbp_tile_part(net, tile, part);
    const fbp_layer_t *layer = &net->layer[tile->layer];
    if (layer->frozen) return 0;
    const ptrdiff_t cols = part == FBP_PART_W ? layer->n_out : at.count;
    const fbp_mat_t rows = {fbp_at(net, grad, at.offset), cols > 0 ? at.count / cols : 0, cols,
                            cols};
    return net->kernels->penalty(&rows, 0, 2);
}

static double square_of(const fbp_clipping_t *c, ptrdiff_t tile, int part) {
    if (c->squares != NULL) return c->squares[FBP_PARTS * tile + part];
    return fbp_tile_sum_squares(c->net, c->grad, &c->net->tile[tile], part);
}

double fbp_norm_factor(double limit, double square) {
    const double factor = limit / (sqrt(square) + 1e-6);
    return factor > 1 ? 1 : factor;
}

fbp_clipping_t fbp_clipping_of(const fastbp_net_t *net, const fastbp_optimizer_t *optimizer,
                               const void *grad, const double *squares) {
    fbp_clipping_t c = {.net = net,
                        .clip = optimizer->clip,
                        .limit = optimizer->limit,
                        .whole_factor = 1,
                        .grad = grad,
                        .squares = squares,
                        .layer = -1};
    if (c.clip != FASTBP_CLIP_GLOBAL_NORM) return c;
    double sum = 0;
    for (ptrdiff_t i = 0; i < net->n_tiles; ++i)
        for (int part = 0; part < FBP_PARTS; ++part) sum += square_of(&c, i, part);
    c.whole_factor = fbp_norm_factor(c.limit, sum);
    return c;
}

double fbp_clip_factor(fbp_clipping_t *c, int layer, int part) {
    if (c->clip != FASTBP_CLIP_NORM) return c->whole_factor;
    if (c->layer == layer) return c->own[part];
    double sum[FBP_PARTS] = {0};
    if (c->add_squares != NULL) c->add_squares(c->context, layer, sum);
    for (ptrdiff_t i = 0; c->add_squares == NULL && i < c->net->n_tiles; ++i)
        for (int p = 0; c->net->tile[i].layer == layer && p < FBP_PARTS; ++p)
            sum[p] += square_of(c, i, p);
    for (int p = 0; p < FBP_PARTS; ++p) c->own[p] = fbp_norm_factor(c->limit, sum[p]);
    c->layer = layer;
    return c->own[part];
}
