/* population.c: runs many sessions in one region of the pool. A worker takes one session after
 * another and runs it alone, so there is no barrier between them. If there are fewer sessions than
 * workers, the workers form a team for each session. */
#include "../base/clock.h"
#include "fit.h"
#include "rooms.h"
#include "update.h"

#include <stdlib.h>

/* One run: the turns in the order in which they begin. */
typedef struct {
    fastbp_population_t *population;
    fastbp_turn_t *turn;
    const fbp_rank_t *rank;
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
    fbp_fit_prepare(fit, turn->seconds <= 0);
}

static void end_epoch(fastbp_turn_t *turn, fbp_room_t *room) {
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

/* More sessions than workers: each worker takes one after another. The time of those that come
 * late is over before they begin, but each worker makes progress with at least one. */
static void take_turns(const run_t *run, fbp_team_t *team, int worker) {
    fbp_room_t *room = &run->population->room[worker];
    fbp_team_t *alone = fbp_team_init(room->team, team, 1);
    bool first = true;
    for (ptrdiff_t k = fbp_team_next(team); k < run->n; k = fbp_team_next(team)) {
        fastbp_turn_t *turn = &run->turn[run->rank[k].turn];
        const bool late = turn->seconds > 0 && fbp_seconds() >= run->begin + turn->seconds;
        if (late && !first) continue;
        run_turn(run, turn, room, alone, 0);
        first = false;
    }
}

/* The first worker of the team of session k of the sequence: all teams get the same number of
 * workers, and the first ones, which have the most work, one of the rest each. */
static int first_of(const run_t *run, ptrdiff_t k, int workers) {
    const int each = workers / (int)run->n, rest = workers % (int)run->n;
    return (int)k * each + (int)fbp_min(k, rest);
}

/* At least as many workers as sessions: each session has a team. */
static void form_teams(const run_t *run, fbp_team_t *team, int worker) {
    const int workers = fbp_team_size(team);
    ptrdiff_t k = 0;
    while (first_of(run, k + 1, workers) <= worker) ++k;
    const int first = first_of(run, k, workers);
    fbp_room_t *room = &run->population->room[first];
    fastbp_turn_t *turn = &run->turn[run->rank[k].turn];
    const int most = first_of(run, k + 1, workers) - first;
    const int size = (int)fbp_min(most, turn->fit->n_workers);
    if (worker == first) (void)fbp_team_init(room->team, team, size);
    fbp_team_barrier(team);
    if (worker - first < size) run_turn(run, turn, room, room->team, worker - first);
}

static void run_region(void *context, fbp_team_t *team, int worker) {
    const run_t *run = context;
    if (run->n >= fbp_team_size(team)) take_turns(run, team, worker);
    else form_teams(run, team, worker);
}

/* ---- the order of the turns ---- */

/* The operations of the epochs that a turn is for, and of the rest of this one. */
static double work_of(const fastbp_turn_t *turn) {
    const fastbp_fit_t *fit = turn->fit;
    const fastbp_net_t *net = fit->plan.net;
    const double rows = (double)(turn->epochs * fit->data.rows - fit->place.first);
    const ptrdiff_t batch = fbp_min(fit->options.batch_size, fit->data.rows);
    return rows / (double)batch * fbp_work_of(net, batch, FBP_TRAIN_WORK);
}

static int by_work(const void *left, const void *right) {
    const fbp_rank_t *a = left, *b = right;
    if (a->work != b->work) return a->work > b->work ? -1 : 1;
    return a->turn < b->turn ? -1 : a->turn > b->turn;
}

static bool valid_turn(const fastbp_population_t *population, const fastbp_turn_t *turn) {
    return turn->fit != NULL && turn->fit->population == population && turn->epochs >= 1 &&
           fbp_optimizer_valid(turn->fit->optimizer);
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
    fbp_rank_t *rank = population->rank;
    ptrdiff_t workers = 0;
    for (ptrdiff_t i = 0; i < n; ++i) {
        begin_turn(&turn[i]);
        rank[i] = (fbp_rank_t){work_of(&turn[i]), i};
        workers += turn[i].fit->n_workers;
    }
    qsort(rank, (size_t)n, sizeof *rank, by_work);
    run_t run = {population, turn, rank, n, fbp_seconds()};
    fbp_pool_run((int)fbp_min(workers, population->n_rooms), run_region, &run);
    return FASTBP_OK;
}
