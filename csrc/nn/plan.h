/* plan.h: every buffer of a step, carved from one arena: activations and deltas of each layer, the
 * transposed copies of W, and scratch.
 *
 * Rows of a, z and δ are an odd number of cache lines apart, so that a column of any width walks
 * through all L1 sets; a stride of 4 KiB would alias them. W itself is dense, in theta. */
#ifndef FASTBP_NN_PLAN_H
#define FASTBP_NN_PLAN_H

#include "../base/arena.h"
#include "net.h"
#include "profile.h"

typedef enum {
    FBP_PLAN_TRAIN,   /* a and δ of every layer; z of the output and where σ' or a norm needs it */
    FBP_PLAN_INSPECT, /* and z of every layer, W^1ᵀ for the input gradient */
    FBP_PLAN_PREDICT, /* one block of rows, two alternating activation buffers */
} fbp_plan_kind_t;

/* capacity × width elements, with a list of pointers to the rows. */
typedef struct {
    void *at; /* NULL when the plan has no such buffer */
    long ld;
    const void **row;
} fbp_rows_t;

/* What one worker may write to while it runs a task. */
typedef struct {
    void *pack;             /* for fbp_gemm_t.pack */
    void *tile_sums;        /* raw sums of a weight tile */
    void *turned;           /* the same, of the last few outputs, output by output */
    fbp_rows_t input;       /* a tile's units of x; at is NULL where x is read as it lies */
    void *column;           /* Σ_i δ_i of a layer; gradients of its gain and shift */
    fbp_profile_t *profile; /* the worker's clock, or NULL */
} fbp_scratch_t;

typedef struct {
    const fastbp_net_t *net;
    fbp_plan_kind_t kind;
    long capacity;
    fbp_arena_t arena, scaled_arena, input_arena, sparse_arena;

    /* indexed by layer l = 0 … L; a[0].row is the list of the batch's input rows */
    fbp_rows_t *a, *z, *delta;
    fbp_rows_t *scaled;       /* s_i δ_i; at is NULL until fbp_plan_add_scaled */
    fbp_sparse_row_t *sparse; /* compressed rows of x; NULL until fbp_plan_add_sparse */
    fbp_rows_t input; /* rows of x that had to be converted; NULL until fbp_plan_add_input */
    /* Of layers that are not plain; a[l] is their out. act: σ(n), at is NULL where a[l] holds it.
     * With a norm, dn: ∂J_i/∂n; n where σ' needs it; stats: (mean, 1/√…) of each row. skip:
     * ∂J_i/∂out of the last residual layer that the recursion met; dropped: inputs. */
    fbp_rows_t *act, *dn, *n;
    void **stats;
    fbp_rows_t skip, dropped;
    /* by i = 0 … L − 1: copies of W^{i+1} in panels, as it is and transposed, or NULL */
    void **wp, **wt;

    bool state_is_cold; /* θ and its twins do not stay in L2 from step to step */

    const void **target; /* rows of dense targets */
    int32_t *label;
    void *weight; /* elements of the net's dtype */
    double *row_loss;

    double *tile_penalty; /* by tile of the net */
    double *tile_square;  /* Σ g² of the FBP_PARTS, by tile; for clipping by norms */

    int n_workers;
    fbp_scratch_t *scratch; /* by worker */
    fbp_arena_t scratch_arena;
} fbp_plan_t;

fastbp_status_t fbp_plan_init(fbp_plan_t *plan, const fastbp_net_t *net, fbp_plan_kind_t kind,
                              long capacity, int n_workers);
void fbp_plan_free(fbp_plan_t *plan);

/* Outputs of layer[i] beyond the last whole vector, if they may be summed turned round. */
FBP_INLINE long fbp_odd_outputs(const fastbp_net_t *net, int i) {
    const long rest = net->layer[i].n_out % net->kernels->lanes;
    return rest <= FBP_TURNED_MAX ? rest : 0;
}

/* Where σ(n) of layer l = 1 … L is; in a plain layer it is all of a[l]. */
FBP_INLINE const fbp_rows_t *fbp_activated(const fbp_plan_t *plan, int l) {
    return plan->act[l].at != NULL ? &plan->act[l] : &plan->a[l];
}

/* What σ' of layer l is made from: n (without a norm z) if fbp_act_by_z, else σ(n). */
const fbp_rows_t *fbp_plan_slope_rows(const fbp_plan_t *plan, int l);

/* Makes room for s_i δ_i beside δ_i; a second call is free. */
fastbp_status_t fbp_plan_add_scaled(fbp_plan_t *plan);

/* Makes room for the rows of x in the net's dtype; a second call is free. */
fastbp_status_t fbp_plan_add_input(fbp_plan_t *plan);

/* Makes room for a list of compressed rows; a second call is free. */
fastbp_status_t fbp_plan_add_sparse(fbp_plan_t *plan);

/* Scratch for at least n workers; free when it is there already. */
fastbp_status_t fbp_plan_add_workers(fbp_plan_t *plan, int n);

/* Arithmetic of a call for each parameter, in floating-point operations: `per_row` times the rows,
 * and `once`, the updates' divisions and traffic put in units of the products' speed. */
typedef struct {
    double per_row, once;
} fbp_work_t;

#define FBP_FORWARD_WORK ((fbp_work_t){2, 0})
#define FBP_BACKWARD_WORK ((fbp_work_t){4, 8})
#define FBP_TRAIN_WORK                                                                             \
    ((fbp_work_t){6, 30}) /* Adam: 0.25 ns a parameter against 0.0085 an operation */

/* Workers that `rows` samples are worth, at most `wanted` (0: fbp_thread_limit): each gets enough
 * arithmetic to pay for waking it and for two barriers. */
int fbp_workers_for(const fastbp_net_t *net, long rows, fbp_work_t work, int wanted);

/* Operations of such work, how many of them a worker has to get, and from how many rows on so many
 * workers are worth it. */
double fbp_work_of(const fastbp_net_t *net, long rows, fbp_work_t work);
double fbp_work_per_worker(void);
long fbp_rows_for(const fastbp_net_t *net, int workers, fbp_work_t work);

/* Address of a row, and n rows from there on as a matrix. */
FBP_INLINE void *fbp_row_at(const fbp_plan_t *plan, const fbp_rows_t *rows, long row) {
    return fbp_at(plan->net, rows->at, (size_t)row * (size_t)rows->ld);
}
FBP_INLINE fbp_mat_t fbp_block_of(const fbp_plan_t *plan, const fbp_rows_t *rows, long row0, long n,
                                  long cols) {
    return (fbp_mat_t){fbp_row_at(plan, rows, row0), n, cols, rows->ld};
}

/* How many blocks the row sweep cuts a batch into for a team, and the row that block t of them
 * begins at: whole samples, t·rows/blocks where a sample is a row. */
long fbp_plan_blocks(const fbp_plan_t *plan, long rows, int team_size);
long fbp_block_row(const fbp_plan_t *plan, long rows, long t, long blocks);

#endif
