/* group.c: see group.h. */
#include "group.h"

#include "../base/clock.h"
#include "alike.h"
#include "fit.h"
#include "rooms.h"

#include <string.h>

/* Room for `count` vectors. */
static void *take_vectors(const fastbp_net_t *net, fbp_arena_t *arena, size_t count) {
    return fbp_arena_take(arena, count, fbp_side_bytes(net));
}

/* Rows are an odd number of cache lines apart, as in buffers.c. */
static fbp_side_rows_t take_rows(const fbp_group_t *group, fbp_arena_t *arena, ptrdiff_t width) {
    const ptrdiff_t bytes = (ptrdiff_t)fbp_side_bytes(group->net);
    const ptrdiff_t lines = fbp_ceil_div(width * bytes, FBP_CACHE_LINE) | 1;
    const ptrdiff_t ld = fbp_ceil_div(lines * FBP_CACHE_LINE, bytes);
    size_t count;
    if (!fbp_size_mul((size_t)group->capacity, (size_t)ld, &count)) arena->overflow = true;
    return (fbp_side_rows_t){arena->overflow ? NULL : take_vectors(group->net, arena, count), ld};
}

static void carve(fbp_group_t *group, const fastbp_fit_t *fit, fbp_arena_t *arena) {
    const fastbp_net_t *net = fit->plan.net;
    const size_t layers = (size_t)net->n_layers + 1, lanes = (size_t)group->lanes;
    const int last = net->n_layers;
    group->member = fbp_arena_take(arena, lanes, sizeof *group->member);
    group->update = fbp_arena_take(arena, lanes, sizeof *group->update);
    group->loss = fbp_arena_take(arena, (size_t)group->capacity, sizeof *group->loss);
    group->idle = fbp_arena_take(arena, (size_t)group->capacity, sizeof *group->idle);
    void *idle = fbp_arena_take(arena, (size_t)fbp_width(net, last), net->kernels->elem_size);
    for (ptrdiff_t i = 0; group->idle != NULL && i < group->capacity; ++i) group->idle[i] = idle;
    fbp_side_rows_t *a = fbp_arena_take(arena, layers, sizeof *a);
    fbp_side_rows_t *z = fbp_arena_take(arena, layers, sizeof *z);
    fbp_side_rows_t *delta = fbp_arena_take(arena, layers, sizeof *delta);
    group->theta = take_vectors(net, arena, net->n_params);
    for (int i = 0; i < FASTBP_MOMENTS; ++i)
        group->moment[i] =
            fit->optimizer->moment[i] != NULL ? take_vectors(net, arena, net->n_params) : NULL;
    group->average =
        fit->optimizer->average != NULL ? take_vectors(net, arena, net->n_params) : NULL;
    group->sums = take_vectors(net, arena, FBP_SIDE_ROWS_MAX * (size_t)net->max_width);
    group->scale = take_vectors(net, arena, (size_t)group->capacity);
    group->y = take_rows(group, arena, fbp_width(net, last));
    for (int l = 0; l <= last; ++l) {
        const fbp_side_rows_t of_a = take_rows(group, arena, fbp_width(net, l) + (l < last));
        const bool apart = l == last || (l > 0 && fbp_act_by_z(net->layer[l - 1].act));
        const fbp_side_rows_t of_z = apart ? take_rows(group, arena, fbp_width(net, l)) : of_a;
        const fbp_side_rows_t of_delta =
            l > 0 ? take_rows(group, arena, fbp_width(net, l)) : (fbp_side_rows_t){NULL, 0};
        if (a == NULL || z == NULL || delta == NULL) continue;
        a[l] = of_a;
        z[l] = of_z;
        delta[l] = of_delta;
    }
    group->a = a;
    group->z = z;
    group->delta = delta;
}

static fbp_group_t new_group(const fastbp_fit_t *fit, double begin) {
    return (fbp_group_t){.net = fit->plan.net,
                         .lanes = fit->plan.net->kernels->lanes,
                         .capacity = fit->plan.capacity,
                         .begin = begin};
}

/* The buffers of one session: as many bytes for each as the largest needs. */
static size_t session_bytes(fastbp_turn_t *const *turn, int n) {
    size_t most = 0;
    for (int q = 0; q < n; ++q) {
        const size_t bytes = fbp_session_bytes(turn[q]->fit);
        if (bytes > most) most = bytes;
    }
    return most;
}

/* First the buffers of each session, then those of the group. */
size_t fbp_group_bytes(fastbp_turn_t *const *turn, int n) {
    fbp_arena_t arena = {0};
    fbp_group_t group = new_group(turn[0]->fit, 0);
    size_t sessions, all;
    carve(&group, turn[0]->fit, &arena);
    if (!fbp_arena_count(&arena) || !fbp_size_mul(session_bytes(turn, n), (size_t)n, &sessions) ||
        !fbp_size_add(sessions, arena.size, &all))
        return SIZE_MAX;
    return all;
}

/* ---- into the lanes, and out of them ---- */

/* A vector of each session that is laid out as theta: theta itself, moment `which`, or the average.
 */
enum { THETA = -2, AVERAGE = -1 };

static void *vector_of(const fbp_member_t *member, int which) {
    if (which == THETA) return member->fit->theta;
    if (which == AVERAGE) return member->fit->optimizer->average;
    return member->fit->optimizer->moment[which];
}

static void *interleaved(const fbp_group_t *group, int which) {
    if (which == THETA) return group->theta;
    if (which == AVERAGE) return group->average;
    return group->moment[which];
}

static void enter_lanes(const fbp_group_t *group) {
    const ptrdiff_t n = (ptrdiff_t)group->net->n_params;
    for (int which = THETA; which < FASTBP_MOMENTS; ++which) {
        const void *own[FBP_MOST_LANES];
        const void *const *lists[FBP_MOST_LANES];
        if (interleaved(group, which) == NULL) continue;
        for (int q = 0; q < group->lanes; ++q) {
            own[q] = vector_of(&group->member[q], which);
            lists[q] = &own[q];
        }
        group->net->kernels->interleave(lists, 1, n, interleaved(group, which), n);
    }
}

void fbp_copy_lane(const fbp_group_t *group, int q, bool back) {
    const size_t size = group->net->kernels->elem_size, n = group->net->n_params;
    for (int which = THETA; which < FASTBP_MOMENTS; ++which) {
        unsigned char *lane = interleaved(group, which), *own = vector_of(&group->member[q], which);
        if (lane == NULL) continue;
        lane += (size_t)q * size;
        for (size_t i = 0; i < n; ++i, lane += (size_t)group->lanes * size, own += size)
            memcpy(back ? lane : own, back ? own : lane, size);
    }
}

void fbp_leave_lanes(const fbp_group_t *group) {
    const ptrdiff_t n = (ptrdiff_t)group->net->n_params;
    for (int which = THETA; which < FASTBP_MOMENTS; ++which) {
        void *own[FBP_MOST_LANES];
        void *const *lists[FBP_MOST_LANES];
        if (interleaved(group, which) == NULL) continue;
        for (int q = 0; q < group->lanes; ++q) {
            own[q] = vector_of(&group->member[q], which);
            lists[q] = group->member[q].active ? &own[q] : NULL;
        }
        group->net->kernels->deinterleave(interleaved(group, which), n, 1, n, lists);
    }
}

void fbp_begin_epoch(const fbp_group_t *group, fbp_member_t *member) {
    member->slice = (fbp_slice_t){
        .fit = member->fit, .deadline = group->begin + member->turn->seconds, .fixed = true};
    member->begun = fbp_seconds();
    fbp_fit_order(member->fit);
}

static void enter_member(fbp_group_t *group, int q, fastbp_turn_t *turn, void *memory,
                         void *scratch) {
    fbp_member_t *member = &group->member[q];
    fastbp_fit_t *fit = turn->fit;
    const fastbp_net_t *net = fit->plan.net;
    *member =
        (fbp_member_t){.turn = turn, .fit = fit, .active = true, .l1 = net->l1, .l2 = net->l2};
    fbp_session_lend(fit, memory);
    fbp_plan_lend_scratch(&fit->plan, 0, scratch);
    member->batch = fit->batch;
    fit->team_size = (int)fbp_max(fit->team_size, 1);
    member->now = *fit->optimizer;
    member->t = fit->optimizer->t;
    fbp_begin_epoch(group, member);
}

bool fbp_any_active(const fbp_group_t *group) {
    for (int q = 0; q < group->n; ++q)
        if (group->member[q].active) return true;
    return false;
}

/* The unit that stands for the bias in aᵀδ. */
static void set_ones(const fbp_group_t *group) {
    const fastbp_net_t *net = group->net;
    const size_t bytes = fbp_side_bytes(net);
    for (int l = 0; l < net->n_layers; ++l)
        for (ptrdiff_t i = 0; i < group->capacity; ++i) {
            void *one = (unsigned char *)group->a[l].at +
                        (size_t)(i * group->a[l].ld + fbp_width(net, l)) * bytes;
            for (int q = 0; q < group->lanes; ++q) {
                if (net->dtype == FASTBP_F32) ((float *)one)[q] = 1;
                else ((double *)one)[q] = 1;
            }
        }
}

fbp_group_t fbp_group_open(fastbp_turn_t *const *turn, int n, double begin, void *memory,
                           void *scratch) {
    const fastbp_fit_t *fit = turn[0]->fit;
    fbp_group_t group = new_group(fit, begin);
    fbp_arena_t arena = {0};
    const size_t each = session_bytes(turn, n);
    unsigned char *sessions = memory;
    carve(&group, fit, &arena);
    (void)fbp_arena_count(&arena); /* it fits: fbp_group_bytes has counted it */
    fbp_arena_lend(&arena, sessions + each * (size_t)n, false);
    carve(&group, fit, &arena);
    group.n = n;
    group.terms = true;
    for (int q = 0; q < n; ++q) {
        enter_member(&group, q, turn[q], sessions + each * (size_t)q, scratch);
        group.terms = group.terms && fbp_same_terms(fit, turn[q]->fit);
    }
    /* the sessions use the scratch in turn, and may divide it differently */
    fbp_arena_lend(&(fbp_arena_t){.size = fit->population->scratch_bytes}, scratch, false);
    for (int q = n; q < group.lanes; ++q) group.member[q] = (fbp_member_t){.fit = turn[0]->fit};
    enter_lanes(&group);
    set_ones(&group);
    return group;
}
