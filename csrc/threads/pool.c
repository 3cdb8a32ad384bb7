/* pool.c: see pool.h. Workers wait for jobs as they wait at barriers, see wait.h. */
#if defined(__linux__)
#define _GNU_SOURCE /* pthread_sigmask */
#endif
#include "pool.h"

#include "count.h"
#include "team_state.h"

#include <fenv.h>

enum { MAX_THREADS = 1024 };

typedef struct {
    fbp_region_fn region; /* NULL tells the workers to end */
    void *context;
    fenv_t modes;    /* the caller's, such as its rounding; otherwise bits depend on the worker */
    unsigned number; /* counts jobs */
} job_t;

static struct {
    atomic_flag busy; /* a region runs, or the pool is being closed; guards the next four */
    int n_started;    /* threads, without the caller */
    int n_cpus;
    unsigned born[MAX_THREADS]; /* number of the last job before a worker was started */
    fbp_thread_t threads[MAX_THREADS];
    atomic_int sessions;
    atomic_int callers; /* inside of fbp_pool_run, those alone included */
    fbp_mutex_t lock;   /* guards job and the team's size, which change together */
    fbp_cond_t wake;
    atomic_int sleepers;
    job_t job;
    atomic_uint posted; /* a copy of job.number, on which workers wait */
    fbp_team_t team;
} pool = {
    .busy = ATOMIC_FLAG_INIT,
    .lock = FBP_MUTEX_INIT,
    .wake = FBP_COND_INIT,
    .team = {.lock = FBP_MUTEX_INIT, .wake = FBP_COND_INIT},
};

/* Runs jobs until one tells it to end. A worker that is not in the team waits for the next job. A
 * member cannot miss a job, because the caller waits for it at the end of the job. */
FBP_THREAD_ENTRY(worker_main, arg) {
    const int worker = (int)(intptr_t)arg;
    unsigned seen = pool.born[worker];
    for (;;) {
        const int spin = atomic_load(&pool.sessions) > 0 ? FBP_SPIN_TURNS : 0;
        fbp_wait_until_changed(&pool.posted, seen, spin, &pool.lock, &pool.wake, &pool.sleepers);
        fbp_lock(&pool.lock);
        const job_t job = pool.job;
        const bool member = worker < pool.team.size;
        fbp_unlock(&pool.lock);
        seen = job.number;
        if (job.region == NULL) break;
        if (!member) continue;
        fesetenv(&job.modes);
        (void)fbp_flush_subnormals();
        job.region(job.context, &pool.team, worker);
        fbp_team_barrier(&pool.team); /* the end of the region */
    }
    FBP_THREAD_RETURN;
}

#if !defined(_WIN32)
/* Resets the pool in the child of a fork, which has only one thread. The locks may have been held
 * by other threads at the time of the fork. */
static void forget_threads(void) {
    atomic_flag_clear(&pool.busy);
    pool.n_started = 0;
    atomic_store(&pool.callers, 0);
    atomic_store(&pool.posted, pool.job.number); /* a fork can happen between the two */
    atomic_store(&pool.sleepers, 0);
    atomic_store(&pool.team.sleepers, 0);
    atomic_store(&pool.team.arrived, 0);
    pthread_mutex_init(&pool.lock, NULL);
    pthread_cond_init(&pool.wake, NULL);
    pthread_mutex_init(&pool.team.lock, NULL);
    pthread_cond_init(&pool.team.wake, NULL);
}

/* Must be called before `busy` or `callers` first change; otherwise a child could keep them. */
static void watch_forks(void) {
    static atomic_flag watching = ATOMIC_FLAG_INIT;
    if (!atomic_flag_test_and_set(&watching)) (void)pthread_atfork(NULL, NULL, forget_threads);
}
#else
static void watch_forks(void) {}
#endif

/* Starts threads until there are `wanted`, without the caller, or until the system refuses. */
static void start_threads(int wanted) {
    pool.n_cpus = fbp_usable_cpus();
    while (pool.n_started < wanted) {
        const int worker = pool.n_started + 1;
        pool.born[worker] = pool.job.number;
        if (!fbp_spawn(&pool.threads[worker], worker_main, (void *)(intptr_t)worker)) return;
        pool.n_started = worker;
    }
}

static void post(const job_t *job, int size, fbp_fpmode_t callers_mode) {
    fbp_lock(&pool.lock);
    pool.job = (job_t){job->region, job->context, job->modes, pool.job.number + 1};
    pool.team.size = size;
    pool.team.callers_mode = callers_mode;
    pool.team.spin = size <= pool.n_cpus ? FBP_SPIN_TURNS : 0;
    atomic_store_explicit(&pool.team.next, 0, memory_order_relaxed);
    atomic_store(&pool.posted, pool.job.number);
    fbp_unlock(&pool.lock);
    fbp_notify(&pool.lock, &pool.wake, &pool.sleepers);
}

static void run_alone(const job_t *job) {
    fbp_team_t alone = {.size = 1, .callers_mode = fbp_flush_subnormals()};
    job->region(job->context, &alone, 0);
    fbp_set_fpmode(alone.callers_mode);
}

/* The team of a caller beside `others`: all of them together have the threads that one may have. */
static int share_of(int n_threads, int others) {
    const int limit = fbp_thread_limit(), all = n_threads > limit ? n_threads : limit;
    const int left = others < all ? all - others : 1;
    return n_threads < left ? n_threads : left;
}

static void run(int n_threads, job_t *job) {
    if (n_threads <= 1 || atomic_flag_test_and_set(&pool.busy)) {
        run_alone(job);
        return;
    }
    const int wanted = (n_threads < MAX_THREADS ? n_threads : MAX_THREADS) - 1;
    if (pool.n_started < wanted) start_threads(wanted);
    const int size = 1 + (wanted < pool.n_started ? wanted : pool.n_started);
    if (size == 1) {
        run_alone(job);
    } else {
        fegetenv(&job->modes);
        const fbp_fpmode_t callers_mode = fbp_flush_subnormals();
        post(job, size, callers_mode);
        job->region(job->context, &pool.team, 0);
        fbp_team_barrier(&pool.team);
        fbp_set_fpmode(callers_mode);
    }
    atomic_flag_clear(&pool.busy);
}

void fbp_pool_run(int n_threads, fbp_region_fn region, void *context) {
    job_t job = {.region = region, .context = context};
    watch_forks();
    const int others = atomic_fetch_add(&pool.callers, 1);
    run(share_of(n_threads, others), &job);
    atomic_fetch_sub(&pool.callers, 1);
}

bool fbp_pool_close(void) {
    watch_forks();
    if (atomic_flag_test_and_set(&pool.busy)) return false;
    if (pool.n_started > 0) {
        const job_t end = {.region = NULL};
        post(&end, 1 + pool.n_started, fbp_fpmode());
        for (int worker = 1; worker <= pool.n_started; ++worker) fbp_join(pool.threads[worker]);
        pool.n_started = 0;
    }
    atomic_flag_clear(&pool.busy);
    return true;
}

void fbp_pool_open_session(void) { atomic_fetch_add(&pool.sessions, 1); }

void fbp_pool_close_session(void) { atomic_fetch_sub(&pool.sessions, 1); }
