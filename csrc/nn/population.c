/* population.c: runs many sessions in one region of the pool. A worker takes one task after another
 * and runs it alone, so there is no barrier between them. A task is a session, or several side by
 * side. If there are fewer tasks than workers, the workers form a team for each session. */
#include "../base/clock.h"
#include "alike.h"
#include "fit.h"
#include "interleave.h"
#include "rooms.h"
#include "update.h"

#include <math.h>
#include <stdlib.h>

/* One run: the tasks in the order in which they begin. */
typedef struct {
    fastbp_population_t *population;
    const fbp_task_t *task;
    ptrdiff_t n;
    double begin;
} run_t;

/* ---- turns ---- */

static void begin_epoch(const run_t *run, const fastbp_turn_t *turn, fbp_room_t *room,
                        int team_size) {
    fastbp_fit_t *fit = turn->fit;
    room->slice = (fbp_slice_t){.fit = fit, .deadline = run->begin + turn->seconds, .fixed = true};
    room->begun = fbp_seconds();
    fbp_room_enter(room, fit, team_size);
    fbp_enter_steps(fit->plan.net, fit->optimizer, fit->theta);
    fbp_fit_prepare(fit, turn->seconds <= 0);
}

static void end_epoch(fastbp_turn_t *turn, fbp_room_t *room) {
    fbp_leave_steps(turn->fit->plan.net, turn->fit->optimizer, turn->fit->theta);
    turn->status = fbp_fit_end_run(turn->fit, &room->slice, &turn->progress);
    room->again = false;
    if (!turn->progress.epoch_done) return;
    turn->loss[turn->ended] = turn->progress.loss;
    turn->took[turn->ended] = fbp_seconds() - room->begun;
    turn->ended += 1;
    room->again = turn->ended < turn->epochs && fbp_seconds() < room->slice.deadline;
}

/* Every worker of the team that has the rooms from `room` on calls it. */
static void run_turn(const run_t *run, fastbp_turn_t *turn, fbp_room_t *room, fbp_team_t *team,
                     int worker) {
    do {
        if (worker == 0) begin_epoch(run, turn, room, fbp_team_size(team));
        fbp_team_barrier(team);
        const fastbp_fit_t *fit = turn->fit;
        if (fit->place.first < fit->data.rows) fbp_run_steps(&room->slice, team, worker);
        fbp_team_barrier(team);
        if (worker == 0) end_epoch(turn, room);
        fbp_team_barrier(team);
    } while (room->again);
}

static void run_group(const run_t *run, const fbp_task_t *task, fbp_room_t *room) {
    fbp_run_group(task->turn, task->n, run->begin, room->group.base, room->scratch.base);
    room->occupant = NULL; /* its scratch is that of the group now */
}

/* At least as many tasks as workers: each worker takes one after another. The time of those that
 * come late is over before they begin, but each worker makes progress with at least one. */
static void take_tasks(const run_t *run, fbp_team_t *team, int worker) {
    fbp_room_t *room = &run->population->room[worker];
    fbp_team_t *alone = fbp_team_init(room->team, team, 1);
    bool first = true;
    for (ptrdiff_t k = fbp_team_next(team); k < run->n; k = fbp_team_next(team)) {
        const fbp_task_t *task = &run->task[k];
        const double seconds = task->turn[0]->seconds;
        const bool late = seconds > 0 && fbp_seconds() >= run->begin + seconds;
        if (late && !first) continue;
        if (task->n > 1) run_group(run, task, room);
        else run_turn(run, task->turn[0], room, alone, 0);
        first = false;
    }
}

/* The first worker of the team of task k of the sequence: all teams get the same number of workers,
 * and the first ones, which have the most work, one of the rest each. */
static int first_of(const run_t *run, ptrdiff_t k, int workers) {
    const int each = workers / (int)run->n, rest = workers % (int)run->n;
    return (int)k * each + (int)fbp_min(k, rest);
}

/* More workers than tasks: each session has a team. A group is on one worker. */
static void form_teams(const run_t *run, fbp_team_t *team, int worker) {
    const int workers = fbp_team_size(team);
    ptrdiff_t k = 0;
    while (first_of(run, k + 1, workers) <= worker) ++k;
    const int first = first_of(run, k, workers);
    const fbp_task_t *task = &run->task[k];
    fbp_room_t *room = &run->population->room[first];
    fastbp_turn_t *turn = task->turn[0];
    const int most = task->n > 1 ? 1 : first_of(run, k + 1, workers) - first;
    const int size = (int)fbp_min(most, turn->fit->n_workers);
    if (worker == first) (void)fbp_team_init(room->team, team, size);
    fbp_team_barrier(team);
    if (worker - first >= size) return;
    if (task->n > 1) run_group(run, task, room);
    else run_turn(run, turn, room, room->team, worker - first);
}

static void run_region(void *context, fbp_team_t *team, int worker) {
    const run_t *run = context;
    if (run->n >= fbp_team_size(team)) take_tasks(run, team, worker);
    else form_teams(run, team, worker);
}

/* ---- tasks ---- */

/* The operations of the epochs that a turn is for, and of the rest of this one. */
static double work_of(const fastbp_turn_t *turn) {
    const fastbp_fit_t *fit = turn->fit;
    const fastbp_net_t *net = fit->plan.net;
    const double rows = (double)(turn->epochs * fit->data.rows - fit->place.first);
    const ptrdiff_t batch = fbp_min(fit->options.batch_size, fit->data.rows);
    return rows / (double)batch * fbp_work_of(net, batch, FBP_TRAIN_WORK);
}

static int order_of(double a, double b) { return (a > b) - (a < b); }

/* A turn of a single step is one that the caller looks at. */
static bool can_interleave(const fastbp_turn_t *turn) {
    return turn->seconds > 0 && fbp_can_interleave(turn->fit);
}

/* Those that can be side by side first, by shape; then those with the most work. */
static int by_shape(const void *left, const void *right) {
    const fastbp_turn_t *a = *(fastbp_turn_t *const *)left, *b = *(fastbp_turn_t *const *)right;
    const bool side = can_interleave(a);
    if (side != can_interleave(b)) return side ? -1 : 1;
    const int shape = side ? fbp_compare_shapes(a->fit, b->fit) : 0;
    if (shape != 0) return shape;
    const int work = order_of(work_of(b), work_of(a));
    return work != 0 ? work : order_of((double)(a - b), 0);
}

static int by_work(const void *left, const void *right) {
    const fbp_task_t *a = left, *b = right;
    const int work = order_of(b->work, a->work);
    return work != 0 ? work : order_of((double)(a->turn - b->turn), 0);
}

/* In how many groups n sessions like this one should run; 0: each alone. The last thread to end
 * counts: a group is on one thread, and however few it has, it takes as long. */
static ptrdiff_t groups_for(const fastbp_population_t *population, const fastbp_fit_t *fit,
                            ptrdiff_t n, fastbp_interleaving_t choice) {
    const ptrdiff_t groups = fbp_ceil_div(n, fit->plan.net->kernels->lanes);
    const double alone = fbp_alone_seconds(fit);
    const double group = fbp_group_seconds(fit, fbp_ceil_div(n, groups));
    const double workers = population->n_rooms;
    const double all_alone = fmax((double)n / workers, 1) * alone;
    const double all_groups = fmax((double)groups / workers, 1) * group;
    if (choice == FASTBP_INTERLEAVE_ALWAYS) return groups;
    if (choice == FASTBP_INTERLEAVE_NEVER) return 0;
    return n > 1 && all_groups < all_alone ? groups : 0;
}

static fbp_task_t task_of(fastbp_turn_t *const *turn, ptrdiff_t n) {
    const fastbp_fit_t *fit = turn[0]->fit;
    const double ratio = n > 1 ? fbp_group_seconds(fit, n) / fbp_alone_seconds(fit) : 1;
    for (ptrdiff_t i = 0; i < n; ++i) turn[i]->beside = (int)(n - 1);
    return (fbp_task_t){turn, (int)n, work_of(turn[0]) * ratio};
}

/* Puts the turns of a run in order and makes its tasks; how many. *bytes: what a group needs. */
static ptrdiff_t make_tasks(fastbp_population_t *population, fastbp_turn_t *turn, ptrdiff_t n,
                            fastbp_interleaving_t choice, size_t *bytes) {
    fastbp_turn_t **order = population->order;
    fbp_task_t *task = population->task;
    ptrdiff_t n_tasks = 0;
    *bytes = 0;
    for (ptrdiff_t i = 0; i < n; ++i) order[i] = &turn[i];
    qsort(order, (size_t)n, sizeof *order, by_shape);
    for (ptrdiff_t i = 0, end; i < n; i = end) {
        end = i + 1;
        while (can_interleave(order[i]) && end < n && can_interleave(order[end]) &&
               fbp_compare_shapes(order[i]->fit, order[end]->fit) == 0)
            ++end;
        const ptrdiff_t groups =
            end > i + 1 ? groups_for(population, order[i]->fit, end - i, choice) : 0;
        const ptrdiff_t tasks = groups > 0 ? groups : end - i;
        for (ptrdiff_t left = tasks, k = i; left > 0; --left) {
            const ptrdiff_t size = fbp_ceil_div(end - k, left);
            const size_t group = size > 1 ? fbp_group_bytes(&order[k], (int)size) : 0;
            task[n_tasks++] = task_of(&order[k], size);
            if (group > *bytes) *bytes = group;
            k += size;
        }
    }
    qsort(task, (size_t)n_tasks, sizeof *task, by_work);
    return n_tasks;
}

static bool valid_turn(const fastbp_population_t *population, const fastbp_turn_t *turn) {
    return turn->fit != NULL && turn->fit->population == population && turn->epochs >= 1 &&
           fbp_fit_can_run(turn->fit);
}

/* The result of a turn that has not begun. */
static void begin_turn(fastbp_turn_t *turn) {
    const fastbp_fit_t *fit = turn->fit;
    turn->ended = 0;
    turn->status = FASTBP_OK;
    turn->progress = (fastbp_progress_t){.epoch = fit->place.epoch,
                                         .step = fit->place.step,
                                         .loss = fit->place.loss_sum / fit->place.weight_sum,
                                         .last_loss = fit->last_loss,
                                         .place = fit->place};
}

fastbp_status_t fastbp_population_run(fastbp_population_t *population, fastbp_turn_t *turn,
                                      ptrdiff_t n) {
    if (n < 1) return FASTBP_ERR_ARGUMENT;
    for (ptrdiff_t i = 0; i < n; ++i)
        if (!valid_turn(population, &turn[i])) return FASTBP_ERR_ARGUMENT;
    if (!fbp_rooms_furnish(population, n)) return FASTBP_ERR_MEMORY;
    ptrdiff_t workers = 0;
    for (ptrdiff_t i = 0; i < n; ++i) {
        begin_turn(&turn[i]);
        workers += turn[i].fit->n_workers;
    }
    size_t bytes;
    ptrdiff_t n_tasks = make_tasks(population, turn, n, population->interleaving, &bytes);
    if (!fbp_rooms_furnish_groups(population, bytes)) /* without that memory, each runs alone */
        n_tasks = make_tasks(population, turn, n, FASTBP_INTERLEAVE_NEVER, &bytes);
    run_t run = {population, population->task, n_tasks, fbp_seconds()};
    fbp_pool_run((int)fbp_min(workers, population->n_rooms), run_region, &run);
    return FASTBP_OK;
}
