/* session.c: see session.h. */
#include "session.h"

void fbp_session_carve(fastbp_fit_t *fit, fbp_arena_t *arena) {
    const fastbp_net_t *net = fit->plan.net;
    fit->order = NULL;
    if (fit->order_capacity > 0)
        fit->order = fbp_arena_take(arena, (size_t)fit->order_capacity, sizeof *fit->order);
    fit->sums =
        fit->in_parts ? fbp_arena_take(arena, net->n_params, net->kernels->elem_size) : NULL;
}

size_t fbp_session_bytes(const fastbp_fit_t *fit) {
    size_t bytes;
    return fbp_size_add(fbp_plan_bytes(&fit->plan), fit->arena.size, &bytes) ? bytes : SIZE_MAX;
}

void fbp_session_lend(fastbp_fit_t *fit, void *memory) {
    fbp_plan_lend(&fit->plan, memory);
    fbp_arena_lend(&fit->arena, (unsigned char *)memory + fbp_plan_bytes(&fit->plan), true);
    fbp_session_carve(fit, &fit->arena);
    fit->prepared = false;
}
