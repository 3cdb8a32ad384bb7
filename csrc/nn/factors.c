/* factors.c: see factors.h. */
#include "factors.h"

fbp_factors_t fbp_factors_of(const fastbp_net_t *net, long capacity) {
    (void)capacity;
    if (net->precision == FASTBP_HIGHEST) return (fbp_factors_t){.kind = FBP_FACTORS_OWN};
    return (fbp_factors_t){.kind = FBP_FACTORS_ROUNDED, .planes = fbp_planes(net->precision)};
}

const char *fbp_factors_name(const fbp_factors_t *factors, const fastbp_net_t *net) {
    if (factors->kind == FBP_FACTORS_ROUNDED) return "f32 of rounded factors";
    return net->dtype == FASTBP_F32 ? "f32" : "f64";
}

const char *fastbp_products(const fastbp_net_t *net, long rows) {
    const fbp_factors_t factors = fbp_factors_of(net, rows);
    return fbp_factors_name(&factors, net);
}

void fbp_factors_carve(fbp_factors_t *factors, const fastbp_net_t *net, fbp_arena_t *arena,
                       long capacity, bool forward) {
    const int top = net->n_layers;
    if (factors->kind == FBP_FACTORS_OWN) return;
    if (forward) {
        fbp_rows_t shared = {0};
        fbp_take_rows(net, arena, &shared, capacity, net->max_width);
        for (int l = 0; l < top; ++l) factors->a[l] = shared;
        return;
    }
    for (int l = 0; l < top; ++l) {
        fbp_take_rows(net, arena, &factors->a[l], capacity, fbp_width(net, l));
        fbp_take_rows(net, arena, &factors->delta[l + 1], capacity, fbp_width(net, l + 1));
    }
}
