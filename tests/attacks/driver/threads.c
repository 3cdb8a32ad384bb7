/* threads.c: sessions and predictions of several threads at once, threads that end meanwhile, and
 * forks. Each thread of the caller must find the bits that it finds alone. */
#if !defined(_WIN32)
#define _POSIX_C_SOURCE 200809L /* fork, waitpid */
#endif
#include "driver.h"

#include "threads/sys.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#if !defined(_WIN32)
#include <sys/wait.h>
#include <unistd.h>
#endif

enum { ROWS = 150, BATCH = 64, CALLERS = 3 };

/* ---- what a caller does ---- */

/* Two epochs on `threads` threads from the parameters of the setup; the caller frees theta. */
static void *trained(const setup_t *s, int threads, uint64_t seed) {
    const fastbp_fit_options_t options = {
        .batch_size = BATCH, .shuffle = true, .seed = seed, .n_threads = threads};
    optimizer_t optimizer;
    fastbp_progress_t progress;
    fastbp_fit_t *fit;
    new_optimizer(&optimizer, s, FASTBP_RULE_MOMENTUM);
    void *theta = vector_of(s, s->theta);
    if (CHECK_STATUS(fastbp_fit_new(&fit, s->net, theta, &s->data, &optimizer.o, &options),
                     FASTBP_OK)) {
        for (int epoch = 0; epoch < 2; ++epoch)
            CHECK_STATUS(fastbp_fit_run(fit, 1e9, &progress), FASTBP_OK);
        fastbp_fit_free(fit);
    }
    free_optimizer(&optimizer);
    return theta;
}

static double *predicted(const setup_t *s) {
    double *out = driver_new((size_t)(s->rows * s->n_out), size_of(s->dtype));
    CHECK_STATUS(fastbp_predict(s->net, s->theta, &s->data, out, NULL), FASTBP_OK);
    return out;
}

typedef struct {
    const setup_t *s;
    uint64_t seed;
    const void *theta, *out; /* what it finds alone */
    int turns;
} caller_t;

FBP_THREAD_ENTRY(call, arg) {
    const caller_t *caller = arg;
    const setup_t *s = caller->s;
    for (int turn = 0; turn < caller->turns; ++turn) {
        void *theta = trained(s, 1 + (int)((caller->seed + (unsigned)turn) % 3), caller->seed);
        double *out = predicted(s);
        CHECK(memcmp(theta, caller->theta, s->n_params * size_of(s->dtype)) == 0, "beside others");
        CHECK(memcmp(out, caller->out, (size_t)(s->rows * s->n_out) * size_of(s->dtype)) == 0,
              "beside others");
        free(theta);
        free(out);
        if (turn % 2 == 1) (void)fastbp_stop_threads(); /* it may be refused: another one works */
    }
    FBP_THREAD_RETURN;
}

/* All callers share the network, and with it the buffers of its predictions. */
static void check_callers(void) {
    setup_t s;
    caller_t caller[CALLERS];
    fbp_thread_t thread[CALLERS];
    set_up(&s, &wide_case, FASTBP_F32, ROWS);
    CHECK_STATUS(fastbp_set_num_threads(3), FASTBP_OK);
    void *out = predicted(&s), *theta[CALLERS];
    for (int i = 0; i < CALLERS; ++i) {
        theta[i] = trained(&s, 1, (uint64_t)i);
        caller[i] = (caller_t){&s, (uint64_t)i, theta[i], out, driver_small ? 2 : 6};
    }
    CHECK(memcmp(theta[0], theta[1], s.n_params * sizeof(float)) != 0, "seeds");
    int started = 0;
    while (started < CALLERS && fbp_spawn(&thread[started], call, &caller[started])) ++started;
    CHECK(started == CALLERS, "%d threads started", started);
    for (int i = 0; i < started; ++i) fbp_join(thread[i]);
    for (int i = 0; i < CALLERS; ++i) free(theta[i]);
    free(out);
    CHECK_STATUS(fastbp_set_num_threads(0), FASTBP_OK);
    tear_down(&s);
}

/* ---- ends and limits ---- */

static void check_ends(void) {
    setup_t s;
    set_up(&s, &wide_case, FASTBP_F64, ROWS);
    const size_t bytes = s.n_params * size_of(s.dtype);
    void *alone = trained(&s, 1, 1);
    for (int threads = 4; threads >= 1; --threads) {
        void *theta = trained(&s, threads, 1);
        CHECK(memcmp(theta, alone, bytes) == 0, "%d threads after an end", threads);
        CHECK_STATUS(fastbp_stop_threads(), FASTBP_OK);
        CHECK_STATUS(fastbp_stop_threads(), FASTBP_OK);
        free(theta);
    }
    free(alone);
    tear_down(&s);
}

static void check_limits(void) {
    const int before = fastbp_get_num_threads();
    CHECK(before >= 1, "%d threads", before);
    CHECK_STATUS(fastbp_set_num_threads(-1), FASTBP_ERR_ARGUMENT);
    CHECK_STATUS(fastbp_set_num_threads(3), FASTBP_OK);
    CHECK(fastbp_get_num_threads() == 3, "%d threads", fastbp_get_num_threads());
    CHECK_STATUS(fastbp_set_num_threads(0), FASTBP_OK);
    CHECK(fastbp_get_num_threads() == before, "%d threads", fastbp_get_num_threads());
}

/* ---- stacks ---- */

/* A loss that needs 512 KiB of stack, more than threads have by default on musl or macOS. */
static fastbp_status_t deep_loss(void *context, ptrdiff_t rows, const void *a, ptrdiff_t lda,
                                 const void *const *targets, double *row_loss, void *slope,
                                 ptrdiff_t ld_slope) {
    enum { BYTES = 512 << 10, PAGE = 4096 };
    volatile char deep[BYTES];
    (void)a, (void)lda, (void)targets, (void)slope, (void)ld_slope;
    for (int at = BYTES - 1; at >= 0; at -= PAGE) deep[at] = 1; /* from the caller's frame down */
    atomic_fetch_add((atomic_int *)context, (int)rows);
    for (ptrdiff_t i = 0; i < rows; ++i) row_loss[i] = deep[BYTES - 1];
    return FASTBP_OK;
}

/* A cost of many rows, which is computed on several threads. */
static void check_stacks(void) {
    enum { MANY = 4000 };
    static const case_t many = {"stacks",
                                {20, 300, 200, 4},
                                {FASTBP_ACT_TANH, FASTBP_ACT_TANH},
                                FASTBP_LOSS_MSE,
                                .n_targets = 4};
    atomic_int rows = 0;
    double cost = 0;
    setup_t s;
    fastbp_net_t *net;
    fastbp_spec_t spec = spec_of(&many, FASTBP_F32);
    spec.loss = FASTBP_LOSS_CUSTOM;
    spec.loss_fn = deep_loss;
    spec.loss_context = &rows;
    set_up(&s, &many, FASTBP_F32, MANY);
    CHECK_STATUS(fastbp_set_num_threads(4), FASTBP_OK);
    CHECK_STATUS(fastbp_net_new(&net, &spec), FASTBP_OK);
    CHECK_STATUS(fastbp_predict(net, s.theta, &s.data, NULL, &cost), FASTBP_OK);
    CHECK(atomic_load(&rows) == MANY && cost == 1, "%d rows", atomic_load(&rows));
    CHECK_STATUS(fastbp_set_num_threads(0), FASTBP_OK);
    fastbp_net_free(net);
    tear_down(&s);
}

/* ---- forks ---- */

#if !defined(_WIN32)
/* The child trains on threads of its own and ends them; its exit status says whether it found the
 * same bits. */
static void check_child(const setup_t *s, const void *alone, int threads) {
    fflush(NULL);
    const pid_t child = fork();
    if (!CHECK(child >= 0, "fork")) return;
    if (child == 0) {
        void *theta = trained(s, threads, 1);
        const bool good = memcmp(theta, alone, s->n_params * size_of(s->dtype)) == 0;
        free(theta);
        _exit(good && fastbp_stop_threads() == FASTBP_OK ? 0 : 1);
    }
    int status = -1;
    CHECK(waitpid(child, &status, 0) == child, "waitpid");
    CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0, "a child on %d threads: status %d",
          threads, status);
}

/* ThreadSanitizer cannot follow a child that starts threads if its parent had some. */
#if defined(__SANITIZE_THREAD__)
enum { FIRST_TURN = 1 };
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
enum { FIRST_TURN = 1 };
#else
enum { FIRST_TURN = 0 };
#endif
#else
enum { FIRST_TURN = 0 };
#endif

/* Forks while threads wait for work, and after their end. */
static void check_forks(void) {
    setup_t s;
    set_up(&s, &wide_case, FASTBP_F32, ROWS);
    void *alone = trained(&s, 1, 1);
    for (int turn = FIRST_TURN; turn < 2; ++turn) {
        if (turn == 0) free(trained(&s, 3, 1));
        else CHECK_STATUS(fastbp_stop_threads(), FASTBP_OK);
        for (int threads = 1; threads <= 3; ++threads) check_child(&s, alone, threads);
    }
    void *theta = trained(&s, 3, 1); /* the parent's threads still work */
    CHECK(memcmp(theta, alone, s.n_params * size_of(s.dtype)) == 0, "after the forks");
    free(theta);
    free(alone);
    tear_down(&s);
}
#else
static void check_forks(void) {}
#endif

void check_threads(void) {
    check_limits();
    check_callers();
    check_ends();
    check_stacks();
    check_forks();
}
