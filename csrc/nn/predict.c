/* predict.c: outputs and losses of any number of rows. Blocks of rows are shared out among the
 * workers, each of which takes them through two buffers of its own and keeps nothing. */
#include "predict.h"

#include "../threads/pool.h"

#include <stdatomic.h>
#include <stdlib.h>

/* Rows that go through the network at a time: tall enough to pay for reading W. */
#ifndef FBP_INFER_ROWS
#define FBP_INFER_ROWS 256
#endif

/* Rows that the network's own buffers hold: up to here a call's overhead is what counts. */
enum { CACHED_ROWS = 8 };

struct fbp_infer_cache {
    atomic_flag busy; /* a call is using it; another one allocates */
    bool made;
    fbp_plan_t plan;
};

struct fbp_infer_cache *fbp_infer_cache_new(void) {
    struct fbp_infer_cache *cache = calloc(1, sizeof *cache);
    if (cache != NULL) atomic_flag_clear(&cache->busy);
    return cache;
}

void fbp_infer_cache_free(struct fbp_infer_cache *cache) {
    if (cache == NULL) return;
    if (cache->made) fbp_plan_free(&cache->plan);
    free(cache);
}

typedef struct {
    const fastbp_net_t *net;
    const void *theta;
    const fastbp_data_t *data;
    void *out;            /* or NULL */
    double *block_sum;    /* Σ s_i J_i and Σ s_i by block, or NULL */
    atomic_bool *gave_up; /* a loss of the caller's */
    fbp_plan_t *plan;     /* by worker */
    long block_rows;
} infer_t;

static void infer_block(const infer_t *infer, fbp_plan_t *plan, long block,
                        fbp_fpmode_t callers_mode) {
    const fastbp_net_t *net = infer->net;
    const int l = net->n_layers;
    const long n_out = net->layer[l - 1].n_out, row0 = block * infer->block_rows;
    fbp_batch_t batch = {.plan = plan, .theta = infer->theta};
    fbp_batch_describe(&batch, infer->data);
    batch.rows = fbp_min_long(infer->block_rows, infer->data->rows - row0);
    fbp_batch_load(&batch, infer->data, NULL, row0, 0, batch.rows);
    fbp_forward_rows(&batch, &plan->scratch[0], 0, batch.rows);
    if (infer->out != NULL) {
        const fbp_mat_t a = {plan->a[l].at, batch.rows, n_out, plan->a[l].ld};
        net->kernels->act_forward(FASTBP_ACT_IDENTITY, 0, &a,
                                  fbp_at(net, infer->out, (size_t)row0 * (size_t)n_out), n_out);
    }
    if (infer->block_sum == NULL) return;
    if (net->loss_fn != NULL && !fbp_custom_loss(&batch, callers_mode))
        atomic_store(infer->gave_up, true);
    fbp_loss_rows(&batch, 0, batch.rows);
    infer->block_sum[2 * block] = fbp_loss_sum(&batch);
    infer->block_sum[2 * block + 1] = fbp_weight_sum(&batch);
}

static void run_blocks(void *context, fbp_team_t *team, int worker) {
    const infer_t *infer = context;
    const long blocks = fbp_ceil_div(infer->data->rows, infer->block_rows);
    for (long b = fbp_team_next(team); b < blocks; b = fbp_team_next(team))
        infer_block(infer, &infer->plan[worker], b, fbp_team_callers_mode(team));
}

static double cost_of(const infer_t *infer) {
    const fbp_fpmode_t callers_mode = fbp_flush_subnormals();
    double loss = 0, weight = 0;
    for (long row0 = 0, b = 0; row0 < infer->data->rows; row0 += infer->block_rows, ++b) {
        loss += infer->block_sum[2 * b];
        weight += infer->block_sum[2 * b + 1];
    }
    const double cost = loss / weight + fbp_penalty(infer->net, infer->theta);
    fbp_set_fpmode(callers_mode);
    return cost;
}

/* The few rows of a call through the cached plan; false when it is in use or cannot be made. */
static bool predict_cached(const fastbp_net_t *net, infer_t *infer) {
    struct fbp_infer_cache *cache = net->infer_cache;
    if (cache == NULL || infer->data->rows > CACHED_ROWS) return false;
    if (atomic_flag_test_and_set_explicit(&cache->busy, memory_order_acquire)) return false;
    if (!cache->made)
        cache->made = fbp_plan_init(&cache->plan, net, FBP_PLAN_INFER, CACHED_ROWS, 1) == FASTBP_OK;
    const bool done = cache->made && fbp_batch_accept(&cache->plan, infer->data) == FASTBP_OK;
    if (done) {
        const fbp_fpmode_t callers_mode = fbp_flush_subnormals();
        infer_block(infer, &cache->plan, 0, callers_mode);
        fbp_set_fpmode(callers_mode);
    }
    atomic_flag_clear_explicit(&cache->busy, memory_order_release);
    return done;
}

static fastbp_status_t predict_shared(const fastbp_net_t *net, infer_t *infer) {
    const long blocks = fbp_ceil_div(infer->data->rows, infer->block_rows);
    const int worth = fbp_workers_for(net, infer->data->rows, FBP_INFER_WORK, 0);
    const int workers = (int)fbp_min_long(blocks, worth);
    infer->plan = calloc((size_t)workers, sizeof *infer->plan);
    fastbp_status_t status = infer->plan != NULL ? FASTBP_OK : FASTBP_ERR_MEMORY;
    for (int w = 0; status == FASTBP_OK && w < workers; ++w) {
        status = fbp_plan_init(&infer->plan[w], net, FBP_PLAN_INFER, infer->block_rows, 1);
        if (status == FASTBP_OK) status = fbp_batch_accept(&infer->plan[w], infer->data);
    }
    if (status == FASTBP_OK) fbp_pool_run(workers, run_blocks, infer);
    for (int w = 0; infer->plan != NULL && w < workers; ++w) fbp_plan_free(&infer->plan[w]);
    free(infer->plan);
    return status;
}

fastbp_status_t fastbp_predict(const fastbp_net_t *net, const void *theta,
                               const fastbp_data_t *data, void *out, double *cost) {
    if (data->rows < 1) return FASTBP_ERR_ARGUMENT;
    if (cost != NULL && !fbp_targets_fit(net, data)) return FASTBP_ERR_ARGUMENT;
    const long block_rows = fbp_min_long(data->rows, FBP_INFER_ROWS);
    double one_block[2];
    atomic_bool gave_up = false;
    infer_t infer = {net, theta, data, out, NULL, &gave_up, NULL, block_rows};
    if (cost != NULL && block_rows == data->rows) {
        infer.block_sum = one_block;
    } else if (cost != NULL) {
        const size_t blocks = (size_t)fbp_ceil_div(data->rows, block_rows);
        infer.block_sum = calloc(blocks, 2 * sizeof *infer.block_sum);
        if (infer.block_sum == NULL) return FASTBP_ERR_MEMORY;
    }
    fastbp_status_t status = FASTBP_OK;
    if (!predict_cached(net, &infer)) status = predict_shared(net, &infer);
    if (status == FASTBP_OK && atomic_load(&gave_up)) status = FASTBP_ERR_CALL;
    if (status == FASTBP_OK && cost != NULL) *cost = cost_of(&infer);
    if (infer.block_sum != one_block) free(infer.block_sum);
    return status;
}
