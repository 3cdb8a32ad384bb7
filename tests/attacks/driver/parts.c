/* parts.c: sessions on data in parts, alone and as the ranks of one job. The ranks are threads
 * here, which exchange by copies; each must end with the bits of the session that has all parts. */
#include "driver.h"

#include "threads/sys.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { ROWS = 75, BATCH = 20, PARTS = 8, MOST_RANKS = 5, STOP = 4 };

/* ---- a place where ranks meet ---- */

typedef struct {
    fbp_mutex_t mutex;
    fbp_cond_t all_here;
    int n, here, round;
} meeting_t;

static void meet(meeting_t *m) {
    fbp_lock(&m->mutex);
    const int round = m->round;
    if (++m->here == m->n) {
        m->here = 0;
        m->round += 1;
        fbp_wake_all(&m->all_here);
    }
    while (round == m->round) fbp_wait(&m->all_here, &m->mutex);
    fbp_unlock(&m->mutex);
}

/* ---- ranks ---- */

typedef struct job job_t;

typedef struct {
    job_t *job;
    int rank;
    fastbp_fit_t *fit;
    fastbp_share_t share;
    void *theta;
    int stop_after; /* slices of one step, or 0 */
} rank_t;

struct job {
    const setup_t *s;
    fastbp_clip_t clip;
    ptrdiff_t sync_every;
    int n;
    meeting_t meeting;
    rank_t rank[MOST_RANKS];
    fastbp_progress_t progress[MOST_RANKS];
    fastbp_status_t status[MOST_RANKS];
};

/* Rank `from` gives what rank `to` needs of its sums: that is copied by `to`. */
static void take_sums(rank_t *to) {
    const job_t *job = to->job;
    const size_t size = size_of(job->s->dtype);
    const size_t begin = to->share.first[to->rank], n = to->share.first[to->rank + 1] - begin;
    char *received = to->share.received;
    for (int r = 0; r < job->n; ++r) {
        const fastbp_share_t *from = &job->rank[r].share;
        memcpy(to->share.heads + r * from->head_size, from->head,
               (size_t)from->head_size * sizeof(double));
        for (int slot = 0; slot < from->slots && received != NULL; ++slot, received += n * size)
            if (r != to->rank)
                memcpy(received,
                       (char *)from->sums + ((size_t)slot * from->n_params + begin) * size,
                       n * size);
    }
}

static void take_squares(rank_t *to) {
    for (int r = 0; r < to->job->n; ++r) {
        const fastbp_share_t *from = &to->job->rank[r].share;
        const ptrdiff_t first = from->piece[r], n = from->piece[r + 1] - first;
        if (r != to->rank)
            memcpy(to->share.squares + first, from->squares + first, (size_t)n * sizeof(double));
    }
}

static void take_parameters(rank_t *to) {
    const size_t size = size_of(to->job->s->dtype);
    for (int r = 0; r < to->job->n; ++r) {
        const size_t first = to->share.first[r] * size, end = to->share.first[r + 1] * size;
        if (r != to->rank)
            memcpy((char *)to->theta + first, (char *)to->job->rank[r].theta + first, end - first);
    }
}

static void average(rank_t *to) {
    const job_t *job = to->job;
    const fastbp_dtype_t dtype = job->s->dtype;
    void *mean = vector_of(job->s, NULL);
    for (size_t i = 0; i < job->s->n_params; ++i) {
        double sum = 0;
        for (int r = 0; r < job->n; ++r) sum += get(dtype, job->rank[r].theta, i);
        put(dtype, mean, i, sum / job->n);
    }
    take_sums(to); /* the heads */
    meet(&to->job->meeting);
    memcpy(to->theta, mean, job->s->n_params * size_of(dtype));
    free(mean);
}

static fastbp_status_t exchange(void *context, fastbp_exchange_t what) {
    rank_t *rank = context;
    meet(&rank->job->meeting);
    switch (what) {
    case FASTBP_EXCHANGE_SUMS: take_sums(rank); break;
    case FASTBP_EXCHANGE_SQUARES: take_squares(rank); break;
    case FASTBP_EXCHANGE_PARAMETERS: take_parameters(rank); break;
    case FASTBP_EXCHANGE_AVERAGE: average(rank); break;
    }
    meet(&rank->job->meeting); /* nobody writes to what another one still reads */
    return FASTBP_OK;
}

/* Parts of different sizes, two of them empty. */
static void cut_rows(ptrdiff_t rows[PARTS]) {
    static const ptrdiff_t sizes[PARTS] = {10, 0, 21, 4, 8, 17, 0, 15};
    memcpy(rows, sizes, sizeof sizes);
}

static fastbp_data_t own_rows(const setup_t *s, const ptrdiff_t rows[PARTS], int rank, int n) {
    fastbp_data_t data = s->data;
    ptrdiff_t first = 0;
    data.rows = 0;
    for (ptrdiff_t p = 0; p < PARTS; ++p) {
        if (p < rank * PARTS / n) first += rows[p];
        else if (p < (rank + 1) * PARTS / n) data.rows += rows[p];
    }
    const ptrdiff_t size = (ptrdiff_t)size_of(s->dtype);
    if (data.indptr != NULL) data.indptr += first;
    else data.x = (const char *)data.x + first * data.ldx * size;
    if (data.targets != NULL) data.targets = (const char *)data.targets + first * data.ldy * size;
    if (data.labels != NULL) data.labels += first;
    if (data.weights != NULL) data.weights = (const char *)data.weights + first * size;
    data.part_rows = rows;
    return data;
}

/* The state of the optimiser is that of the rank's elements of theta alone. */
static void keep_share(optimizer_t *optimizer, const job_t *job, int rank) {
    size_t first[MOST_RANKS + 1];
    if (job->n == 1 || job->sync_every > 0) return;
    CHECK_STATUS(fastbp_shares(job->s->net, job->n, first), FASTBP_OK);
    CHECK(first[0] == 0 && first[job->n] == job->s->n_params, "the cut of theta");
    optimizer->o.state_first = first[rank];
}

FBP_THREAD_ENTRY(train, arg) {
    rank_t *rank = arg;
    job_t *job = rank->job;
    ptrdiff_t rows[PARTS];
    cut_rows(rows);
    const fastbp_data_t data = own_rows(job->s, rows, rank->rank, job->n);
    const fastbp_parts_t parts = {PARTS, rank->rank, job->n, job->sync_every, exchange, rank};
    const fastbp_fit_options_t options = {
        .batch_size = BATCH, .shuffle = true, .seed = 5, .n_threads = 2, .parts = &parts};
    optimizer_t optimizer;
    new_optimizer(&optimizer, job->s, FASTBP_RULE_ADAM);
    optimizer.o.grad = optimizer.vectors[FASTBP_MOMENTS];
    optimizer.o.clip = job->clip;
    optimizer.o.limit = 0.5;
    keep_share(&optimizer, job, rank->rank);
    if (!CHECK_STATUS(
            fastbp_fit_new(&rank->fit, job->s->net, rank->theta, &data, &optimizer.o, &options),
            FASTBP_OK))
        abort();
    CHECK_STATUS(fastbp_fit_share(rank->fit, &rank->share), FASTBP_OK);
    fastbp_progress_t *progress = &job->progress[rank->rank];
    for (int epoch = 0; epoch < 2;) {
        const bool stops = rank->stop_after > 0;
        job->status[rank->rank] = fastbp_fit_run(rank->fit, stops ? 0 : 1e9, progress);
        if (job->status[rank->rank] != FASTBP_OK || progress->flags != 0) break;
        epoch += progress->epoch_done;
        if (stops && --rank->stop_after == 0)
            CHECK_STATUS(fastbp_fit_raise(rank->fit, STOP), FASTBP_OK);
    }
    fastbp_fit_free(rank->fit);
    free_optimizer(&optimizer);
    FBP_THREAD_RETURN;
}

/* Runs a job; theta of each rank is the caller's. */
static void run_job(job_t *job, const setup_t *s, int n) {
    fbp_thread_t thread[MOST_RANKS];
    job->s = s;
    job->n = n;
    job->meeting.n = n;
    job->meeting.mutex = (fbp_mutex_t)FBP_MUTEX_INIT;
    job->meeting.all_here = (fbp_cond_t)FBP_COND_INIT;
    for (int r = 0; r < n; ++r) {
        job->rank[r].job = job;
        job->rank[r].rank = r;
        job->rank[r].theta = vector_of(s, s->theta);
    }
    for (int r = 1; r < n; ++r)
        if (!CHECK(fbp_spawn(&thread[r], train, &job->rank[r]), "a thread")) abort();
    train(&job->rank[0]);
    for (int r = 1; r < n; ++r) fbp_join(thread[r]);
}

static void free_job(job_t *job) {
    for (int r = 0; r < job->n; ++r) free(job->rank[r].theta);
}

/* ---- checks ---- */

static void check_ranks(const case_t *of, fastbp_dtype_t dtype, fastbp_clip_t clip) {
    setup_t s;
    set_up(&s, of, dtype, ROWS);
    const size_t bytes = s.n_params * size_of(dtype);
    job_t alone = {.clip = clip};
    run_job(&alone, &s, 1);
    CHECK(alone.status[0] == FASTBP_OK, "%s alone", of->name);
    CHECK(memcmp(alone.rank[0].theta, s.theta, bytes) != 0, "%s: nothing was trained", of->name);
    for (int n = 2; n <= MOST_RANKS; ++n) {
        job_t job = {.clip = clip};
        run_job(&job, &s, n);
        for (int r = 0; r < n; ++r) {
            CHECK(job.status[r] == FASTBP_OK, "%s, rank %d of %d", of->name, r, n);
            CHECK(memcmp(job.rank[r].theta, alone.rank[0].theta, bytes) == 0,
                  "%s, rank %d of %d: other bits", of->name, r, n);
            CHECK(job.progress[r].loss == alone.progress[0].loss, "%s, J of rank %d of %d",
                  of->name, r, n);
        }
        free_job(&job);
    }
    free_job(&alone);
    tear_down(&s);
}

static void check_stops(void) {
    setup_t s;
    set_up(&s, &wide_case, FASTBP_F32, ROWS);
    job_t job = {.rank[1].stop_after = 3};
    run_job(&job, &s, 3);
    for (int r = 0; r < 3; ++r) {
        CHECK(job.status[r] == FASTBP_OK && job.progress[r].flags == STOP, "flags of rank %d", r);
        CHECK(job.progress[r].place.step == 3, "step %d", (int)job.progress[r].place.step);
        CHECK(memcmp(job.rank[r].theta, job.rank[0].theta, s.n_params * sizeof(float)) == 0,
              "rank %d", r);
    }
    free_job(&job);
    tear_down(&s);
}

/* All ranks find a J that is not finite in the same step, or the average tells them of it. */
static void check_divergence(ptrdiff_t sync_every) {
    setup_t s;
    set_up(&s, &wide_case, FASTBP_F32, ROWS);
    ((float *)s.x)[(ROWS - 1) * s.data.ldx] = NAN;
    job_t job = {.sync_every = sync_every};
    run_job(&job, &s, 3);
    for (int r = 0; r < 3; ++r) {
        const bool diverged = job.status[r] == FASTBP_ERR_DIVERGED;
        CHECK(diverged || (sync_every > 0 && job.progress[r].flags != 0), "rank %d", r);
    }
    free_job(&job);
    tear_down(&s);
}

static void check_averages(fastbp_clip_t clip) {
    setup_t s;
    set_up(&s, &wide_case, FASTBP_F32, ROWS);
    job_t job = {.sync_every = 2, .clip = clip};
    run_job(&job, &s, 3);
    CHECK(memcmp(job.rank[0].theta, s.theta, s.n_params * sizeof(float)) != 0, "no training");
    for (int r = 1; r < 3; ++r)
        CHECK(memcmp(job.rank[r].theta, job.rank[0].theta, s.n_params * sizeof(float)) == 0,
              "the average of rank %d", r);
    free_job(&job);
    tear_down(&s);
}

static void check_refusals(void) {
    setup_t s;
    optimizer_t optimizer;
    fastbp_fit_t *fit;
    fastbp_share_t share;
    size_t first[2];
    ptrdiff_t rows[PARTS], wrong[PARTS];
    set_up(&s, &wide_case, FASTBP_F32, ROWS);
    new_optimizer(&optimizer, &s, FASTBP_RULE_ADAM);
    cut_rows(rows);
    cut_rows(wrong);
    wrong[0] += 1;
    fastbp_data_t data = own_rows(&s, rows, 0, 1), other = own_rows(&s, wrong, 0, 1);
    const fastbp_parts_t good = {PARTS, 0, 1, 0, NULL, NULL};
    const fastbp_parts_t bad[] = {{6, 0, 1, 0, NULL, NULL},     {0, 0, 1, 0, NULL, NULL},
                                  {2048, 0, 1, 0, NULL, NULL},  {PARTS, 1, 1, 0, NULL, NULL},
                                  {PARTS, 0, 2, 0, NULL, NULL}, {PARTS, 0, 9, 0, exchange, NULL},
                                  {PARTS, 0, 1, -1, NULL, NULL}};
    fastbp_fit_options_t options = {.batch_size = BATCH, .n_threads = 1, .parts = &good};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; ++i) {
        options.parts = &bad[i];
        CHECK_STATUS(fastbp_fit_new(&fit, s.net, s.theta, &data, &optimizer.o, &options),
                     FASTBP_ERR_ARGUMENT);
    }
    options.parts = &good;
    other.rows = ROWS;
    CHECK_STATUS(fastbp_fit_new(&fit, s.net, s.theta, &other, &optimizer.o, &options),
                 FASTBP_ERR_ARGUMENT);
    CHECK_STATUS(fastbp_fit_new(&fit, s.net, s.theta, &s.data, &optimizer.o, &options),
                 FASTBP_ERR_ARGUMENT);
    options.parts = NULL;
    if (CHECK_STATUS(fastbp_fit_new(&fit, s.net, s.theta, &s.data, &optimizer.o, &options),
                     FASTBP_OK)) {
        CHECK_STATUS(fastbp_fit_share(fit, &share), FASTBP_ERR_ARGUMENT);
        CHECK_STATUS(fastbp_fit_raise(fit, 1), FASTBP_ERR_ARGUMENT);
        CHECK_STATUS(fastbp_fit_rebind(fit, &data), FASTBP_ERR_ARGUMENT);
        fastbp_fit_free(fit);
    }
    CHECK_STATUS(fastbp_shares(s.net, 0, first), FASTBP_ERR_ARGUMENT);
    free_optimizer(&optimizer);
    tear_down(&s);
}

void check_ranks_of_parts(void) {
    case_t of = wide_case;
    check_ranks(&of, FASTBP_F32, FASTBP_CLIP_NONE);
    check_ranks(&of, FASTBP_F64, FASTBP_CLIP_GLOBAL_NORM);
    of.name = "options";
    of.weighted = true;
    of.input_dropout = 0.1;
    of.l1 = 1e-4;
    of.options[0] = (fastbp_layer_options_t){.norm = FASTBP_NORM_LAYER, .norm_eps = 1e-5};
    of.options[1] = (fastbp_layer_options_t){.dropout = 0.2, .max_norm = 1};
    check_ranks(&of, FASTBP_F32, FASTBP_CLIP_NORM);
    of = wide_case;
    of.name = "formulas";
    of.activations[1] = FASTBP_ACT_FORMULA;
    of.loss = FASTBP_LOSS_FORMULA;
    check_ranks(&of, FASTBP_F32, FASTBP_CLIP_NONE);
    of = wide_case;
    of.name = "sparse rows";
    of.sparse = true;
    check_ranks(&of, FASTBP_F32, FASTBP_CLIP_NONE);
    of = wide_case;
    of.name = "8 bits";
    of.precision = FASTBP_MEDIUM;
    check_ranks(&of, FASTBP_F32, FASTBP_CLIP_NONE);
    check_stops();
    check_divergence(0);
    check_divergence(1);
    check_averages(FASTBP_CLIP_NONE);
    check_averages(FASTBP_CLIP_GLOBAL_NORM);
    check_refusals();
}
