/* interleave.c: see interleave.h. Rows are loaded, and losses without a kernel of their own are
 * computed, by the functions of a session alone, in buffers of each session; everything between is
 * interleaved (kernels/interleaved.inc). */
#include "interleave.h"

#include "../base/clock.h"
#include "fit.h"
#include "rows.h"
#include "update.h"

#include <math.h>

/* ---- rows ---- */

/* Interleaves `rows` rows of `width` elements, which a list of each session points to; lanes
 * without a session get those of the first. */
static void enter_rows(const fbp_group_t *group, const void *const *(*list)(const fbp_member_t *),
                       ptrdiff_t rows, ptrdiff_t width, const fbp_side_rows_t *to) {
    const void *const *lists[FBP_MOST_LANES];
    for (int q = 0; q < group->lanes; ++q) lists[q] = list(&group->member[q < group->n ? q : 0]);
    group->net->kernels->interleave(lists, rows, width, to->at, to->ld);
}

static const void *const *x_rows(const fbp_member_t *m) { return m->fit->plan.a[0].row; }
static const void *const *y_rows(const fbp_member_t *m) { return m->fit->plan.target; }

static const void *const *delta_rows(const fbp_member_t *m) {
    return m->fit->plan.delta[m->fit->plan.net->n_layers].row;
}

static bool weighted(const fbp_group_t *group) {
    for (int q = 0; q < group->n; ++q)
        if (group->member[q].batch.weighted) return true;
    return false;
}

static void load_rows(fbp_group_t *group, ptrdiff_t first, ptrdiff_t rows) {
    const fastbp_net_t *net = group->net;
    for (int q = 0; q < group->n; ++q) {
        fbp_member_t *member = &group->member[q];
        const fastbp_fit_t *fit = member->fit;
        const uint32_t *order = fit->order != NULL ? fit->order + first : NULL;
        member->batch.rows = rows;
        member->batch.step = member->t;
        fbp_set_smoothing(fit, fit->place.step, &member->batch);
        fbp_batch_load(&member->batch, &fit->data, order, first, 0, rows);
    }
    enter_rows(group, x_rows, rows, fbp_width(net, 0), &group->a[0]);
    if (group->terms) enter_rows(group, y_rows, rows, fbp_width(net, net->n_layers), &group->y);
}

static void *layer_theta(const fbp_group_t *group, size_t offset) {
    return (unsigned char *)group->theta + offset * fbp_side_bytes(group->net);
}

/* `rows` rows of an interleaved matrix as one of numbers. */
static fbp_mat_t numbers_of(const fbp_group_t *group, const fbp_side_rows_t *from, ptrdiff_t row0,
                            ptrdiff_t rows, ptrdiff_t width) {
    return (fbp_mat_t){fbp_side_row(group, from, row0), rows, width * group->lanes,
                       from->ld * group->lanes};
}

static void activate(const fbp_group_t *group, int l, ptrdiff_t row0, ptrdiff_t rows) {
    const fbp_layer_t *layer = &group->net->layer[l - 1];
    const fbp_mat_t z = numbers_of(group, &group->z[l], row0, rows, layer->n_out);
    if (layer->act == FASTBP_ACT_IDENTITY && group->z[l].at == group->a[l].at) return;
    group->net->kernels->act_forward(layer->act, layer->alpha, &z,
                                     fbp_side_row(group, &group->a[l], row0),
                                     group->a[l].ld * group->lanes);
}

static void forward(const fbp_group_t *group, ptrdiff_t row0, ptrdiff_t rows) {
    const fastbp_net_t *net = group->net;
    for (int l = 1; l <= net->n_layers; ++l) {
        const fbp_layer_t *layer = &net->layer[l - 1];
        net->kernels->interleaved_gemm(&(fbp_interleaved_gemm_t){
            .c = fbp_side_row(group, &group->z[l], row0),
            .ldc = group->z[l].ld,
            .a = fbp_side_row(group, &group->a[l - 1], row0),
            .a_row = group->a[l - 1].ld,
            .a_k = 1,
            .b = layer_theta(group, layer->w),
            .b_k = layer->n_out,
            .b_col = 1,
            .m = rows,
            .n = layer->n_out,
            .k = layer->n_in,
            .bias = layer->has.no_bias ? NULL : layer_theta(group, layer->b),
            .as = FBP_AS_NN,
        });
        if (l < net->n_layers || group->terms) activate(group, l, row0, rows);
    }
}

static void recursion(const fbp_group_t *group, ptrdiff_t row0, ptrdiff_t rows, bool copies) {
    const fastbp_net_t *net = group->net;
    for (int l = net->n_layers; l > 1; --l) {
        const fbp_layer_t *layer = &net->layer[l - 1], *below = &net->layer[l - 2];
        const fbp_side_rows_t *out = &group->delta[l - 1];
        const fbp_side_rows_t *from =
            fbp_act_by_z(below->act) ? &group->z[l - 1] : &group->a[l - 1];
        net->kernels->interleaved_gemm(&(fbp_interleaved_gemm_t){
            .c = fbp_side_row(group, out, row0),
            .ldc = out->ld,
            .a = fbp_side_row(group, &group->delta[l], row0),
            .a_row = group->delta[l].ld,
            .a_k = 1,
            .b = layer_theta(group, layer->w),
            .b_k = 1,
            .b_col = layer->n_out,
            .m = rows,
            .n = layer->n_in,
            .k = layer->n_out,
            .as = copies ? FBP_AS_NN : FBP_AS_NT,
        });
        const fbp_mat_t slope = numbers_of(group, from, row0, rows, layer->n_in);
        net->kernels->act_backward(below->act, below->alpha, &slope, fbp_side_row(group, out, row0),
                                   out->ld * group->lanes);
    }
}

/* ---- losses ---- */

/* The weights of rows 0 … rows − 1 of all sessions, 1 for those that have none. */
static const void *scale_of(const fbp_group_t *group, ptrdiff_t rows) {
    const fastbp_net_t *net = group->net;
    if (!weighted(group)) return NULL;
    for (int q = 0; q < group->lanes; ++q) {
        const fbp_member_t *member = &group->member[q < group->n ? q : 0];
        const void *weight = member->batch.weighted ? member->fit->plan.weight : NULL;
        for (ptrdiff_t i = 0; i < rows; ++i) {
            const ptrdiff_t at = i * group->lanes + q;
            if (net->dtype == FASTBP_F32)
                ((float *)group->scale)[at] = weight != NULL ? ((const float *)weight)[i] : 1;
            else ((double *)group->scale)[at] = weight != NULL ? ((const double *)weight)[i] : 1;
        }
    }
    return group->scale;
}

static void loss_by_terms(const fbp_group_t *group, ptrdiff_t rows) {
    const fastbp_net_t *net = group->net;
    const int last = net->n_layers;
    const fbp_layer_t *layer = &net->layer[last - 1];
    double *row_loss[FBP_MOST_LANES];
    for (int q = 0; q < group->lanes; ++q)
        row_loss[q] = q < group->n && group->member[q].active ? group->member[q].fit->plan.row_loss
                                                              : group->loss;
    net->kernels->interleaved_loss(&(fbp_interleaved_loss_t){
        .loss = (int)net->loss.code,
        .fused = net->loss.fused,
        .rows = rows,
        .cols = layer->n_out,
        .z = group->z[last].at,
        .a = group->a[last].at,
        .y = group->y.at,
        .ld = group->y.ld,
        .params = net->loss.params,
        .n_params = net->loss.n_params,
        .scale = scale_of(group, rows),
        .delta = group->delta[last].at,
        .ldd = group->delta[last].ld,
        .row_loss = row_loss,
    });
    if (net->loss.fused) return;
    const fbp_side_rows_t *from = fbp_act_by_z(layer->act) ? &group->z[last] : &group->a[last];
    const fbp_mat_t slope = numbers_of(group, from, 0, rows, layer->n_out);
    net->kernels->act_backward(layer->act, layer->alpha, &slope, group->delta[last].at,
                               group->delta[last].ld * group->lanes);
}

static const void *const *z_rows(const fbp_member_t *m) {
    return m->fit->plan.z[m->fit->plan.net->n_layers].row;
}

/* z^L of each session out of the lanes, its loss as alone, and δ^L into the lanes. */
static void loss_by_sessions(const fbp_group_t *group, ptrdiff_t rows) {
    const fastbp_net_t *net = group->net;
    const fbp_kernels_t *kernels = net->kernels;
    const int last = net->n_layers;
    const ptrdiff_t n_out = fbp_width(net, last);
    void *const *lists[FBP_MOST_LANES];
    for (int q = 0; q < group->lanes; ++q)
        lists[q] = q < group->n ? (void *const *)z_rows(&group->member[q]) : group->idle;
    kernels->deinterleave(group->z[last].at, group->z[last].ld, rows, n_out, lists);
    for (int q = 0; q < group->n; ++q) {
        const fbp_member_t *member = &group->member[q];
        const fbp_plan_t *plan = &member->fit->plan;
        const fbp_layer_t *layer = &plan->net->layer[last - 1];
        if (!member->active) continue;
        if (plan->z[last].at != plan->a[last].at) {
            const fbp_mat_t z = fbp_block_of(plan, &plan->z[last], 0, rows, n_out);
            kernels->act_forward(layer->act, layer->alpha, &z, plan->a[last].at, plan->a[last].ld);
        }
        fbp_loss_rows(&member->batch, &plan->scratch[0], 0, rows);
    }
    enter_rows(group, delta_rows, rows, n_out, &group->delta[last]);
}

/* The penalties of every W, tile by tile, for the objectives. */
static void penalties(const fbp_group_t *group) {
    const fastbp_net_t *net = group->net;
    double l1[FBP_MOST_LANES], l2[FBP_MOST_LANES], total[FBP_MOST_LANES];
    if (net->l1 == 0 && net->l2 == 0) return;
    for (int q = 0; q < group->lanes; ++q) {
        l1[q] = group->member[q].l1;
        l2[q] = group->member[q].l2;
    }
    for (ptrdiff_t i = 0; i < net->n_tiles; ++i) {
        const fbp_tile_t *tile = &net->tile[i];
        const fbp_layer_t *layer = &net->layer[tile->layer];
        const void *w = layer_theta(group, layer->w + (size_t)(tile->unit0 * layer->n_out));
        net->kernels->interleaved_penalty(w, tile->unit1 - tile->unit0, layer->n_out, l1, l2,
                                          total);
        for (int q = 0; q < group->n; ++q)
            if (group->member[q].active) group->member[q].fit->plan.tile_penalty[i] = total[q];
    }
}

/* J of every session. One that is not finite ends here, with the parameters that it has. */
static void objectives(fbp_group_t *group) {
    for (int q = 0; q < group->n; ++q) {
        fbp_member_t *member = &group->member[q];
        if (!member->active) continue;
        const double losses = fbp_loss_sum(&member->batch);
        member->weight = fbp_weight_sum(&member->batch);
        member->steps = member->weight > 0;
        member->J = member->steps ? fbp_objective(member->fit, losses, member->weight) : 0;
        if (isfinite(member->J)) continue;
        member->fit->last_loss = member->J;
        member->slice.diverged = true;
        fbp_copy_lane(group, q, false);
        member->active = false;
    }
}

/* ---- updates ---- */

/* Whether there is a session a, and the step of b has the constants of its step. The options that
 * are on or off are those of the whole group. */
static bool same_constants(const fbp_member_t *a, const fbp_member_t *b) {
    if (a == NULL || a->t != b->t) return false;
    const fastbp_optimizer_t *x = &a->now, *y = &b->now;
#define DIFFER(name) || x->name != y->name
    return !(x->rule != y->rule FASTBP_HYPERS(DIFFER) DIFFER(weight_decay) DIFFER(decoupled)
                            DIFFER(limit) DIFFER(average_decay) DIFFER(average_start));
#undef DIFFER
}

/* The constants of the step of every lane. A lane that makes none has those of another one. */
static void set_updates(fbp_group_t *group) {
    fbp_update_t any = {0};
    const fbp_member_t *last = NULL;
    bool options = false;
    for (int q = 0; q < group->n; ++q) {
        fbp_member_t *member = &group->member[q];
        if (!member->active) continue;
        fbp_set_rates(member->fit, member->fit->place.step, &member->now);
        if (!member->steps) continue;
        member->t += 1;
        if (!same_constants(last, member)) any = fbp_step_constants(&member->now, member->t);
        last = member;
        any.grad_scale = 1 / member->weight;
        any.l1 = member->l1;
        any.l2 = member->l2;
        options |= any.options;
        group->update[q] = any;
    }
    for (int q = 0; q < group->lanes; ++q) {
        const bool own = q < group->n && group->member[q].active && group->member[q].steps;
        if (!own) group->update[q] = any;
        group->update[q].options = options;
    }
}

static void *state_at(const fbp_group_t *group, void *vector, size_t offset) {
    return vector == NULL ? NULL : (unsigned char *)vector + offset * fbp_side_bytes(group->net);
}

static void update_layer(const fbp_group_t *group, int l, ptrdiff_t rows) {
    const fastbp_net_t *net = group->net;
    const fbp_layer_t *layer = &net->layer[l - 1];
    fbp_interleaved_update_t update = {
        .product = {.c = group->sums,
                    .ldc = layer->n_out,
                    .a = group->a[l - 1].at,
                    .a_row = 1,
                    .a_k = group->a[l - 1].ld,
                    .b = group->delta[l].at,
                    .b_k = group->delta[l].ld,
                    .b_col = 1,
                    .m = layer->n_in + !layer->has.no_bias,
                    .n = layer->n_out,
                    .k = rows,
                    .as = FBP_AS_TN},
        .units = layer->n_in,
        .each = group->update,
        .state = {.theta = layer_theta(group, layer->w),
                  .average = state_at(group, group->average, layer->w),
                  .ld = layer->n_out},
    };
    for (int i = 0; i < FASTBP_MOMENTS; ++i)
        update.state.moment[i] = state_at(group, group->moment[i], layer->w);
    net->kernels->interleaved_update(&update);
}

static bool any_steps(const fbp_group_t *group) {
    for (int q = 0; q < group->n; ++q)
        if (group->member[q].active && group->member[q].steps) return true;
    return false;
}

/* A session whose batch has no weight keeps its parameters: it gets them, and puts them back. */
static void update_all(fbp_group_t *group, ptrdiff_t rows) {
    if (!any_steps(group)) return;
    for (int q = 0; q < group->n; ++q)
        if (group->member[q].active && !group->member[q].steps) fbp_copy_lane(group, q, false);
    set_updates(group);
    for (int l = 1; l <= group->net->n_layers; ++l) update_layer(group, l, rows);
    for (int q = 0; q < group->n; ++q)
        if (group->member[q].active && !group->member[q].steps) fbp_copy_lane(group, q, true);
}

/* Rows that go through the network together: so many that a layer of them stays in L1. */
static ptrdiff_t block_rows(const fbp_group_t *group) {
    const ptrdiff_t tile = group->net->kernels->side_rows;
    const size_t row = fbp_side_bytes(group->net) * (size_t)group->net->max_width;
    return fbp_max(1, (ptrdiff_t)(group->net->machine->l1d / 2 / row) / tile) * tile;
}

/* One step of all sessions; false if it was the last one of this epoch or of the run. */
static bool step(fbp_group_t *group, ptrdiff_t first, ptrdiff_t rows) {
    const ptrdiff_t block = block_rows(group);
    const bool copies = rows > FBP_DOT_MAX_ROWS;
    bool stop = false;
    load_rows(group, first, rows);
    for (ptrdiff_t i = 0; i < rows; i += block) forward(group, i, fbp_min(block, rows - i));
    if (group->terms) loss_by_terms(group, rows);
    else loss_by_sessions(group, rows);
    for (ptrdiff_t i = 0; i < rows; i += block)
        recursion(group, i, fbp_min(block, rows - i), copies);
    penalties(group);
    objectives(group);
    update_all(group, rows);
    const double now = fbp_seconds();
    for (int q = 0; q < group->n; ++q) {
        fbp_member_t *member = &group->member[q];
        if (!member->active) continue;
        fbp_record_step(&member->slice, rows, member->weight, member->J, now);
        stop |= member->slice.stop;
    }
    return !stop && fbp_any_active(group);
}

/* ---- a run ---- */

/* Ends an epoch of every session, or this part of it; whether all go on with the next one. */
static bool end_epoch(fbp_group_t *group) {
    bool again = true;
    for (int q = 0; q < group->n; ++q) {
        fbp_member_t *member = &group->member[q];
        fastbp_turn_t *turn = member->turn;
        if (turn->status != FASTBP_OK) continue; /* it has diverged before */
        turn->status = fbp_fit_end_run(member->fit, &member->slice, &turn->progress);
        if (!turn->progress.epoch_done) {
            again = again && !member->active;
            continue;
        }
        const double now = fbp_seconds();
        turn->loss[turn->ended] = turn->progress.loss;
        turn->took[turn->ended] = (now - member->begun) / group->n;
        turn->ended += 1;
        again = again && turn->ended < turn->epochs && now < member->slice.deadline;
    }
    return again && fbp_any_active(group);
}

void fbp_run_group(fastbp_turn_t *const *turn, int n, double begin, void *memory, void *scratch) {
    const fastbp_fit_t *fit = turn[0]->fit;
    const ptrdiff_t batch = fit->options.batch_size, total = fit->data.rows;
    ptrdiff_t first = fit->place.first;
    for (int q = 0; q < n; ++q)
        fbp_enter_steps(turn[q]->fit->plan.net, turn[q]->fit->optimizer, turn[q]->fit->theta);
    fbp_group_t group = fbp_group_open(turn, n, begin, memory, scratch);
    for (bool again = true; again; first = 0) {
        for (bool goes_on = first < total; goes_on;) {
            const ptrdiff_t rows = fbp_min(batch, total - first);
            goes_on = step(&group, first, rows);
            first += rows;
        }
        again = end_epoch(&group);
        for (int q = 0; again && q < n; ++q)
            if (group.member[q].active) fbp_begin_epoch(&group, &group.member[q]);
    }
    fbp_leave_lanes(&group);
    for (int q = 0; q < n; ++q)
        fbp_leave_steps(turn[q]->fit->plan.net, turn[q]->fit->optimizer, turn[q]->fit->theta);
}
