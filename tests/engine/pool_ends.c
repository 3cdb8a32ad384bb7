/* pool_ends.c: runs regions of the pool and ends it, in turns; `test_threads_end` builds it with
 * sanitizers. It exits with 1 if a result is wrong. */
#include "threads/count.h"
#include "threads/pool.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>

enum { THREADS = 4, TASKS = 100, TURNS = 20 };

typedef struct {
    ptrdiff_t done[THREADS];
    int size;
} work_t;

static void region(void *context, fbp_team_t *team, int worker) {
    work_t *work = context;
    if (worker == 0) work->size = fbp_team_size(team);
    while (fbp_team_next(team) < TASKS) ++work->done[worker];
    fbp_team_barrier(team);
    while (fbp_team_next(team) < TASKS) ++work->done[worker];
}

/* Whether every task has been done once; *size receives the number of workers. */
static bool run_on(int threads, int *size) {
    work_t work = {0};
    fbp_pool_run(threads, region, &work);
    ptrdiff_t sum = 0;
    for (int i = 0; i < THREADS; ++i) sum += work.done[i];
    *size = work.size;
    return sum == 2 * TASKS;
}

static bool run(int *size) { return run_on(THREADS, size); }

/* Teams that grow and shrink from region to region, as those of a session do. */
static bool run_on_changing_teams(void) {
    bool good = true;
    for (int turn = 0; turn < TURNS * THREADS; ++turn) {
        const int wanted = 1 + turn * 3 % THREADS;
        int size;
        good = run_on(wanted, &size) && size == wanted && good;
    }
    return good;
}

static void close_inside(void *context, fbp_team_t *team, int worker) {
    (void)team;
    if (worker == 0) *(bool *)context = fbp_pool_close();
}

static void *run_many(void *result) {
    int size;
    bool good = true;
    for (int turn = 0; turn < TURNS; ++turn) good = run(&size) && good;
    *(bool *)result = good;
    return NULL;
}

/* Another thread runs regions while this one closes the pool repeatedly. */
static bool run_beside_closing(void) {
    bool good = false;
    pthread_t other;
    if (pthread_create(&other, NULL, run_many, &good) != 0) return false;
    for (int turn = 0; turn < TURNS; ++turn) (void)fbp_pool_close();
    pthread_join(other, NULL);
    return good;
}

typedef struct {
    atomic_bool inside, leave;
} stay_t;

static void stay_inside(void *context, fbp_team_t *team, int worker) {
    (void)team, (void)worker;
    stay_t *stay = context;
    atomic_store(&stay->inside, true);
    while (!atomic_load(&stay->leave)) {
    }
}

static void *stay_alone(void *context) {
    fbp_pool_run(1, stay_inside, context);
    return NULL;
}

/* Beside callers that have a thread each, a team is smaller by so many, but at least the caller. */
static bool run_beside_others(void) {
    stay_t stay[THREADS] = {0};
    pthread_t others[THREADS];
    bool good = true;
    int size;
    fbp_set_thread_limit(THREADS);
    for (int i = 0; i < THREADS; ++i) {
        if (pthread_create(&others[i], NULL, stay_alone, &stay[i]) != 0) return false;
        while (!atomic_load(&stay[i].inside)) {
        }
        const int left = THREADS - 1 - i;
        good = run(&size) && size == (left > 1 ? left : 1) && good;
        good = run_on(2, &size) && size == (left > 1 ? 2 : 1) && good;
    }
    for (int i = 0; i < THREADS; ++i) {
        atomic_store(&stay[i].leave, true);
        pthread_join(others[i], NULL);
    }
    good = run(&size) && size == THREADS && good;
    fbp_set_thread_limit(0);
    return good;
}

int main(void) {
    int size;
    bool good = fbp_pool_close() && fbp_pool_close(); /* no thread has been started */
    for (int turn = 0; turn < TURNS; ++turn) {
        good = run(&size) && size == THREADS && good;
        if (turn % 2 == 0) good = fbp_pool_close() && fbp_pool_close() && good;
    }
    bool closed = true;
    fbp_pool_run(THREADS, close_inside, &closed);
    good = good && !closed && run_on_changing_teams() && run_beside_others() &&
           run_beside_closing() && run(&size) && size == THREADS;
    good = fbp_pool_close() && good;
    puts(good ? "good" : "bad");
    return good ? 0 : 1;
}
