/* team_sizes.c: a session's choice of its workers, on simulated machines; `test_threads_teams`
 * builds it with a sanitizer. It prints the case that fails, and exits with 1. */
#include "threads/sizing.h"

#include <stdio.h>

/* Seconds of the i-th step of work 1 on `size` workers. */
typedef double (*machine_t)(ptrdiff_t i, int size);

enum { FULL = 8 };
static const double SHORT = 1e-4; /* a step of one worker */

static double quiet(ptrdiff_t i, int size) { return SHORT / size * (1 + 0.1 * (double)(i % 3)); }

/* One processor of two is taken in every other 3 ms or so: each barrier waits for it. */
static double crowded(ptrdiff_t i, int size) {
    if (size == 1) return SHORT;
    return i % 20 == 0 ? 3e-3 : SHORT / size;
}

/* The same, but the steps are so long that two threads gain nevertheless. */
static double crowded_and_large(ptrdiff_t i, int size) {
    return size == 1 ? 0.1 : 0.1 / size + (i % 2 == 0 ? 0.02 : 0.0);
}

/* A number of processors is free, and a team that needs more waits for those that are not. */
static double five_free(ptrdiff_t i, int size) {
    return size <= 5 ? SHORT / size : SHORT / 5 + (i % 4 == 0 ? 2e-3 : 0.0);
}

/* On every number of workers some steps are late, as with rows of different lengths. */
static double uneven(ptrdiff_t i, int size) { return SHORT / size * (i % 4 == 0 ? 4 : 1); }

/* So many programs run that a worker waits for half a second to get its processor back. */
static double overloaded(ptrdiff_t i, int size) {
    return size == 1 ? SHORT : SHORT / size + (i % 5 == 0 ? 0.5 : 0.0);
}

/* The process stands still for five seconds, or in every tenth step. */
static double stopped_once(ptrdiff_t i, int size) {
    return quiet(i, size) + (i == 5000 ? 5.0 : 0.0);
}
static double stopped_often(ptrdiff_t i, int size) {
    return quiet(i, size) + (i % 10 == 0 ? 0.5 : 0.0);
}

/* Runs `steps` steps; the seconds that they took. *changes counts how often the size changed. */
static double run(fbp_sizing_t *sizing, machine_t machine, ptrdiff_t steps, ptrdiff_t *changes) {
    double seconds = 0;
    *changes = 0;
    for (ptrdiff_t i = 0; i < steps; ++i) {
        const double taken = machine(i, sizing->size);
        seconds += taken;
        const int before = sizing->size;
        const bool changed = fbp_sizing_note(sizing, 1, taken);
        if (changed != (sizing->size != before) || sizing->size < 1 || sizing->size > sizing->most)
            return -1;
        *changes += changed;
    }
    return seconds;
}

static bool bad;

static void demand(bool holds, const char *what) {
    if (!holds) printf("%s\n", what);
    bad = bad || !holds;
}

/* One size all the time. */
static double alone(machine_t machine, int size, ptrdiff_t steps) {
    double seconds = 0;
    for (ptrdiff_t i = 0; i < steps; ++i) seconds += machine(i, size);
    return seconds;
}

static void check_quiet(void) {
    fbp_sizing_t sizing;
    ptrdiff_t changes;
    for (int most = 1; most <= FULL; ++most) {
        fbp_sizing_init(&sizing, most);
        (void)run(&sizing, quiet, 100000, &changes);
        demand(changes == 0 && sizing.size == most, "a quiet machine changes the size");
    }
}

static void check_crowded(void) {
    fbp_sizing_t sizing;
    ptrdiff_t changes;
    fbp_sizing_init(&sizing, 2);
    const double seconds = run(&sizing, crowded, 300000, &changes);
    demand(sizing.home == 1, "a crowded machine keeps two workers");
    demand(seconds < 1.03 * alone(crowded, 1, 300000), "trials take more than 3 % of the time");
    (void)run(&sizing, quiet, 40000, &changes);
    demand(sizing.size == 2, "the second worker does not come back");
    (void)run(&sizing, crowded, 2000, &changes);
    demand(sizing.home == 1, "the second loss of a processor is not noticed");
}

static void check_large(void) {
    fbp_sizing_t sizing;
    ptrdiff_t changes;
    fbp_sizing_init(&sizing, 2);
    const double seconds = run(&sizing, crowded_and_large, 10000, &changes);
    demand(sizing.home == 2, "two workers that gain do not stay");
    demand(seconds < 1.03 * alone(crowded_and_large, 2, 10000), "trials of one are too frequent");
}

static void check_many(void) {
    fbp_sizing_t sizing;
    ptrdiff_t changes;
    fbp_sizing_init(&sizing, FULL);
    (void)run(&sizing, five_free, 300000, &changes);
    demand(sizing.home == 5, "not as many workers as processors are free");
    (void)run(&sizing, uneven, 500000, &changes);
    demand(sizing.home == FULL, "late steps on every size keep workers away");
    (void)run(&sizing, five_free, 300000, &changes);
    (void)run(&sizing, quiet, 500000, &changes);
    demand(sizing.home == FULL, "not all workers come back");
}

static void check_gaps(void) {
    fbp_sizing_t sizing;
    ptrdiff_t changes;
    fbp_sizing_init(&sizing, 2);
    (void)run(&sizing, stopped_once, 50000, &changes);
    demand(changes == 0, "one gap changes the size");
    (void)run(&sizing, stopped_often, 5000, &changes);
    (void)run(&sizing, quiet, 50000, &changes);
    demand(sizing.size == 2, "many gaps have a lasting effect");
    (void)run(&sizing, overloaded, 5000, &changes);
    demand(sizing.home == 1, "gaps in every window prevent a decision");
}

/* Failures lead farther away; the next search after a success begins nearby, in both directions. */
static void check_reach(void) {
    fbp_sizing_t sizing;
    fbp_sizing_init(&sizing, FULL);
    sizing.reach_down = sizing.reach_up = 4;
    for (ptrdiff_t i = 0; i < 100000 && sizing.home == FULL; ++i)
        (void)fbp_sizing_note(&sizing, 1, five_free(i, sizing.size));
    demand(sizing.home == FULL - 4, "the first trial is not as far away as failures led");
    demand(sizing.reach_down == 1 && sizing.reach_up == 1, "a success does not reset the reach");
}

/* Each failure doubles the windows until the next trial, from 4 to 64. */
static void check_pauses(void) {
    static const int windows[] = {4, 8, 16, 32, 64, 64};
    fbp_sizing_t sizing;
    fbp_sizing_init(&sizing, 2);
    int trials = 0;
    for (ptrdiff_t i = 0; i < 100000 && trials < 6; ++i)
        if (fbp_sizing_note(&sizing, 1, uneven(i, sizing.size)) && sizing.size == sizing.home)
            demand(sizing.pause == windows[trials++], "a failure does not double the pause");
    demand(trials == 6, "too few trials");
}

int main(void) {
    check_quiet();
    check_crowded();
    check_large();
    check_many();
    check_gaps();
    check_reach();
    check_pauses();
    puts(bad ? "bad" : "good");
    return bad ? 1 : 0;
}
