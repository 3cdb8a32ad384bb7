/* session.c: see session.h. */
#include "session.h"

ptrdiff_t fbp_session_rows(const fastbp_fit_t *fit) {
    return fit->divided ? fit->parts.samples * fit->parts.group : fit->data.rows;
}

/* What ranks exchange. With sync_every these are heads and theta alone. */
static void carve_share(fastbp_fit_t *fit, fbp_arena_t *arena) {
    const fastbp_net_t *net = fit->plan.net;
    const size_t elem = net->kernels->elem_size, n_ranks = (size_t)fit->parts.options.n_ranks;
    const size_t head = 1 + 2 * (size_t)fit->parts.most_slots;
    fastbp_share_t *share = &fit->share;
    size_t slots = 0;
    fbp_parts_carve(&fit->parts, arena, fit->order_capacity);
    fbp_pieces_carve(&fit->pieces, net, (int)n_ranks, arena);
    fit->first = fbp_arena_take(arena, n_ranks + 1, sizeof *fit->first);
    fit->rank_slots = fbp_arena_take(arena, n_ranks, sizeof *fit->rank_slots);
    fit->sums_at = fbp_arena_take(arena, (size_t)fit->parts.options.n, sizeof *fit->sums_at);
    share->head = fbp_arena_take(arena, head, sizeof *share->head);
    share->heads = fbp_arena_take(arena, n_ranks * head, sizeof *share->heads);
    if (!fit->shared) return;
    for (int rank = 0; rank < fit->parts.options.n_ranks; ++rank)
        slots += (size_t)fbp_parts_slots(&fit->parts.options, rank);
    share->sums = fbp_arena_take(arena, (size_t)fit->parts.slots * net->n_params, elem);
    share->received = fbp_arena_take(arena, slots * fbp_pieces_most(net, (int)n_ranks), elem);
}

void fbp_session_carve(fastbp_fit_t *fit, fbp_arena_t *arena) {
    const fastbp_net_t *net = fit->plan.net;
    fit->order = NULL;
    if (fit->order_capacity > 0)
        fit->order = fbp_arena_take(arena, (size_t)fit->order_capacity, sizeof *fit->order);
    fit->sums =
        fit->in_parts ? fbp_arena_take(arena, net->n_params, net->kernels->elem_size) : NULL;
    if (fit->turns) fbp_muon_carve(&fit->muon, net, arena);
    if (fit->divided) carve_share(fit, arena);
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
