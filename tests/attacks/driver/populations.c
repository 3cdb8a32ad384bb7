/* populations.c: many sessions in one call. Each must find the bits that it finds alone. */
#include "driver.h"

#include <stdlib.h>
#include <string.h>

enum { ROWS = 150, BATCH = 32, MEMBERS = 7, EPOCHS = 3, CHOSEN = 40 };

static const case_t shapes[] = {
    {"narrow", {5, 7, 2}, {FASTBP_ACT_TANH}, FASTBP_LOSS_MSE, .n_targets = 2},
    {"deep",
     {5, 40, 30, 20, 2},
     {FASTBP_ACT_RELU, FASTBP_ACT_TANH},
     FASTBP_LOSS_MSE,
     .n_targets = 2},
    {"wide",
     {20, 300, 200, 4},
     {FASTBP_ACT_TANH, FASTBP_ACT_TANH},
     FASTBP_LOSS_MSE,
     .n_targets = 4},
};

/* A network with its optimiser and, in a population, its session. */
typedef struct {
    setup_t s;
    optimizer_t optimizer;
    void *theta;
    fastbp_fit_t *fit;
    double loss[EPOCHS], took[EPOCHS];
    ptrdiff_t ended;
} member_t;

/* Member i trains on some rows, in parts, or on all of them. */
static void open_member(member_t *at, int i, fastbp_population_t *population) {
    static int32_t chosen[CHOSEN];
    const case_t *of = &shapes[i % 3];
    *at = (member_t){0};
    set_up(&at->s, of, i % 2 ? FASTBP_F64 : FASTBP_F32, ROWS);
    new_optimizer(&at->optimizer, &at->s, i % 2 ? FASTBP_RULE_ADAM : FASTBP_RULE_MOMENTUM);
    at->theta = vector_of(&at->s, at->s.theta);
    fastbp_data_t data = at->s.data;
    for (int row = 0; row < CHOSEN; ++row) chosen[row] = (7 * row) % ROWS;
    if (i % 3 == 1) data.chosen = chosen;
    if (i % 3 == 1) data.rows = CHOSEN;
    const fastbp_fit_options_t options = {.batch_size = BATCH,
                                          .shuffle = i != 4,
                                          .seed = (uint64_t)i,
                                          .n_threads = population == NULL ? 1 : 4,
                                          .part_rows = i == 2 ? 8 : 0,
                                          .population = population};
    if (!CHECK_STATUS(
            fastbp_fit_new(&at->fit, at->s.net, at->theta, &data, &at->optimizer.o, &options),
            FASTBP_OK))
        abort();
}

static void close_member(member_t *at) {
    fastbp_fit_free(at->fit);
    free_optimizer(&at->optimizer);
    free(at->theta);
    tear_down(&at->s);
}

/* Runs all members to their end, in slices of so many seconds. */
static void train_together(member_t *member, int n, fastbp_population_t *population,
                           double seconds) {
    for (;;) {
        fastbp_turn_t turn[MEMBERS];
        member_t *of[MEMBERS];
        ptrdiff_t open = 0;
        for (int i = 0; i < n; ++i) {
            member_t *at = &member[i];
            if (at->ended == EPOCHS) continue;
            of[open] = at;
            turn[open++] = (fastbp_turn_t){.fit = at->fit,
                                           .seconds = seconds,
                                           .epochs = EPOCHS - at->ended,
                                           .loss = at->loss + at->ended,
                                           .took = at->took + at->ended};
        }
        if (open == 0) return;
        if (!CHECK_STATUS(fastbp_population_run(population, turn, open), FASTBP_OK)) return;
        for (ptrdiff_t i = 0; i < open; ++i) {
            CHECK_STATUS(turn[i].status, FASTBP_OK);
            of[i]->ended += turn[i].ended;
        }
    }
}

static void train_alone(member_t *at) {
    fastbp_progress_t progress;
    for (int epoch = 0; epoch < EPOCHS; ++epoch) {
        CHECK_STATUS(fastbp_fit_run(at->fit, 1e9, &progress), FASTBP_OK);
        at->loss[epoch] = progress.loss;
    }
}

static void check_bits(int n, int threads, double seconds, fastbp_interleaving_t interleaving) {
    fastbp_population_t *population;
    member_t member[MEMBERS];
    if (!CHECK_STATUS(fastbp_population_new(&population, threads), FASTBP_OK)) return;
    fastbp_population_interleave(population, interleaving);
    for (int i = 0; i < n; ++i) open_member(&member[i], i, population);
    train_together(member, n, population, seconds);
    for (int i = 0; i < n; ++i) {
        member_t alone;
        open_member(&alone, i, NULL);
        train_alone(&alone);
        CHECK(memcmp(alone.theta, member[i].theta, alone.s.n_params * size_of(alone.s.dtype)) == 0,
              "member %d of %d on %d threads, %g s", i, n, threads, seconds);
        CHECK(memcmp(alone.loss, member[i].loss, sizeof alone.loss) == 0, "losses of member %d", i);
        close_member(&alone);
        close_member(&member[i]);
    }
    fastbp_population_free(population);
}

/* Side by side from the middle of an epoch, in batches that have as many rows as there can be. */
static void check_largest_batch(void) {
    enum { N = 2, FIRST = 10 };
    const fastbp_place_t place = {.step = 1, .first = FIRST};
    fastbp_population_t *population;
    setup_t s;
    set_up(&s, &shapes[0], FASTBP_F32, ROWS);
    if (!CHECK_STATUS(fastbp_population_new(&population, 1), FASTBP_OK)) return;
    fastbp_population_interleave(population, FASTBP_INTERLEAVE_ALWAYS);
    fastbp_turn_t turn[N];
    void *theta[N + 1];
    optimizer_t optimizer[N + 1];
    fastbp_fit_t *fit[N + 1];
    double loss[N], took[N];
    for (int i = 0; i <= N; ++i) {
        const fastbp_fit_options_t options = {.batch_size = PTRDIFF_MAX,
                                              .shuffle = true,
                                              .n_threads = 1,
                                              .population = i < N ? population : NULL};
        new_optimizer(&optimizer[i], &s, FASTBP_RULE_ADAM);
        theta[i] = vector_of(&s, s.theta);
        CHECK_STATUS(fastbp_fit_new(&fit[i], s.net, theta[i], &s.data, &optimizer[i].o, &options),
                     FASTBP_OK);
        CHECK_STATUS(fastbp_fit_seek(fit[i], &place), FASTBP_OK);
        if (i < N)
            turn[i] = (fastbp_turn_t){
                .fit = fit[i], .seconds = 1e9, .epochs = 1, .loss = &loss[i], .took = &took[i]};
    }
    fastbp_progress_t progress;
    CHECK_STATUS(fastbp_population_run(population, turn, N), FASTBP_OK);
    CHECK_STATUS(fastbp_fit_run(fit[N], 1e9, &progress), FASTBP_OK);
    for (int i = 0; i < N; ++i)
        CHECK(turn[i].ended == 1 && loss[i] == progress.loss &&
                  memcmp(theta[i], theta[N], s.n_params * size_of(s.dtype)) == 0,
              "member %d", i);
    for (int i = 0; i <= N; ++i) {
        fastbp_fit_free(fit[i]);
        free_optimizer(&optimizer[i]);
        free(theta[i]);
    }
    fastbp_population_free(population);
    tear_down(&s);
}

/* A step that diverges changes nothing, and stops its own session alone. */
static void check_divergence(void) {
    fastbp_population_t *population;
    member_t member[2];
    if (!CHECK_STATUS(fastbp_population_new(&population, 2), FASTBP_OK)) return;
    for (int i = 0; i < 2; ++i) open_member(&member[i], i, population);
    put(member[1].s.dtype, member[1].theta, 0, 1e300 * 1e300);
    fastbp_turn_t turn[2];
    for (int i = 0; i < 2; ++i)
        turn[i] = (fastbp_turn_t){.fit = member[i].fit,
                                  .seconds = 1e9,
                                  .epochs = 1,
                                  .loss = member[i].loss,
                                  .took = member[i].took};
    CHECK_STATUS(fastbp_population_run(population, turn, 2), FASTBP_OK);
    CHECK_STATUS(turn[0].status, FASTBP_OK);
    CHECK_STATUS(turn[1].status, FASTBP_ERR_DIVERGED);
    CHECK(turn[0].ended == 1 && turn[1].ended == 0, "epochs that ended");
    for (int i = 0; i < 2; ++i) close_member(&member[i]);
    fastbp_population_free(population);
}

static void check_bad_turns(void) {
    fastbp_population_t *population, *other;
    fastbp_progress_t progress;
    member_t member;
    CHECK_STATUS(fastbp_population_new(&population, -1), FASTBP_ERR_ARGUMENT);
    CHECK(population == NULL, "no population");
    if (!CHECK_STATUS(fastbp_population_new(&population, 2), FASTBP_OK)) return;
    if (!CHECK_STATUS(fastbp_population_new(&other, 0), FASTBP_OK)) return;
    open_member(&member, 0, population);
    fastbp_turn_t turn = {
        .fit = member.fit, .seconds = 1, .epochs = 1, .loss = member.loss, .took = member.took};
    CHECK_STATUS(fastbp_fit_run(member.fit, 1, &progress), FASTBP_ERR_ARGUMENT);
    CHECK_STATUS(fastbp_fit_set_clocks(member.fit, true), FASTBP_ERR_ARGUMENT);
    CHECK_STATUS(fastbp_population_run(other, &turn, 1), FASTBP_ERR_ARGUMENT);
    CHECK_STATUS(fastbp_population_run(population, &turn, 0), FASTBP_ERR_ARGUMENT);
    turn.epochs = 0;
    CHECK_STATUS(fastbp_population_run(population, &turn, 1), FASTBP_ERR_ARGUMENT);
    close_member(&member);
    fastbp_population_free(population);
    fastbp_population_free(other);
    fastbp_population_free(NULL);
}

void check_populations(void) {
    for (int threads = 1; threads <= 4; ++threads) {
        /* members 0 and 6 have one shape */
        const fastbp_interleaving_t all[] = {FASTBP_INTERLEAVE_ALWAYS, FASTBP_INTERLEAVE_NEVER};
        for (int i = 0; i < 2; ++i) {
            check_bits(MEMBERS, threads, 1e9, all[i]);
            check_bits(MEMBERS, threads, 1e-4, all[i]);
        }
        check_bits(MEMBERS, threads, 0, FASTBP_INTERLEAVE_ALWAYS);
        check_bits(2, threads, 1e-4, FASTBP_INTERLEAVE_AUTO);
    }
    check_largest_batch();
    check_divergence();
    check_bad_turns();
}
