/* plan.h: every buffer of a step, carved from one arena: z, a and δ of each layer, copies of W in
 * panels, factors in a lower precision, and scratch; and how a step is divided among workers. W
 * itself is dense, in theta. */
#ifndef FASTBP_NN_PLAN_H
#define FASTBP_NN_PLAN_H

#include "factors.h"
#include "profile.h"

/* Vectors of n_l elements in the stats of a layer with batch norm: batch_norm.h. */
enum { FBP_BATCH_STATS = 4 };

typedef enum {
    FBP_PLAN_TRAIN, /* a and δ of every layer; z of the output and wherever σ' or a norm needs it */
    FBP_PLAN_INSPECT, /* also z of every layer, and W^1ᵀ for the input gradient */
    FBP_PLAN_PREDICT, /* two buffers of a, which layers use in turn */
} fbp_plan_kind_t;

/* For the rows of a table of categories: see categories.c. */
typedef struct {
    int32_t *slot;         /* of a hash table of codes */
    int32_t *group, *code; /* of each row of the batch, and of each group of rows with one code */
    void *sums;
    void *state[1 + FASTBP_MOMENTS]; /* rows of theta and the moments, gathered for an update */
} fbp_category_scratch_t;

/* The rows of a table that an update gathers at a time. */
ptrdiff_t fbp_table_strip(const fbp_table_t *table);

/* b for batches of `rows` rows, where 2^b is the number of slots: at least twice that of the
 * groups, so that a search ends after few. */
int fbp_slot_bits(const fbp_table_t *table, ptrdiff_t rows);

/* Memory that one worker alone writes to while it runs a task. */
typedef struct {
    void *pack;       /* for fbp_gemm_t.pack */
    void *tile_sums;  /* raw sums of a weight tile */
    void *turned;     /* raw sums of the last few outputs of a tile, output by output */
    fbp_rows_t input; /* a tile's units of x; at is NULL if x is read in place */
    void *embedding;  /* sums of the numbers of a tile, and scratch for them; or NULL */
    fbp_category_scratch_t categories;
    void *slopes;           /* of the scale of a tile, by lane of its sums; or NULL */
    void *column;           /* sums of the vectors of a layer: of b, of gain and shift, … */
    void *stack;            /* sums of parts of the rows, see fbp_plan_add_stack */
    void *run;              /* for fbp_run_t.scratch */
    void *terms;            /* ∂J_i/∂c by unit, of fbp_term_rows rows, one c after another */
    fbp_profile_t *profile; /* the worker's clock, or NULL */
} fbp_scratch_t;

typedef struct {
    const fastbp_net_t *net;
    fbp_plan_kind_t kind;
    ptrdiff_t capacity;
    fbp_factors_t factors;
    fbp_arena_t arena, scaled_arena, input_arena, factor_arena, sparse_arena, copies_arena;
    fbp_arena_t dropout_arena;
    bool borrows; /* its buffers are in memory that fbp_plan_lend gives */
    bool drops;   /* dropout is on: in training, and in an inspection by fbp_plan_set_dropout */
    /* By l = 0 … L: the layer is normed by the batch, see fbp_choose_statistics. */
    bool *by_batch;

    /* Indexed by layer l = 0 … L. a[0].row lists the input rows of the batch. */
    fbp_rows_t *a, *z, *delta;
    fbp_rows_t *scaled;       /* s_i δ_i; at is NULL until fbp_plan_add_scaled */
    fbp_sparse_row_t *sparse; /* sparse rows of x; NULL until fbp_plan_add_sparse */
    const void **x_row;       /* rows of x that are embedded into a[0]; NULL without an embedding */
    fbp_rows_t input;         /* converted rows of x; at is NULL until fbp_plan_add_input */
    /* For layers that are not plain, whose a[l] is their `out`. */
    fbp_rows_t *act; /* σ(n), see fbp_activated; at is NULL if a[l] always holds it */
    fbp_rows_t *dn;  /* ∂J_i/∂n, in layers with a norm */
    fbp_rows_t *n;   /* norm(z), if σ' is computed from it */
    void **stats; /* (mean, 1/√…) of each row, in layers with a norm; of batch norm: batch_norm.h */
    /* ∂J_i/∂c for the trained constants. Per unit: a row for each i, laid out as in theta. Per
     * layer: a row for each c, with a number for each i, so that whole vectors add up. */
    fbp_rows_t *dc;
    fbp_rows_t skip;    /* ∂J_i/∂out of the last residual layer that the recursion went through */
    fbp_rows_t dropped; /* the inputs after dropout */
    /* Indexed by i = 0 … L − 1: copies of W^{i+1} in panels, row by row and transposed; or NULL. */
    void **wp, **wt;
    /* Likewise: scale ⊙ W^{i+1}, which products read instead of W; NULL without a scale. */
    void **scaled_w;

    bool state_is_cold; /* theta and the moments do not fit L2, so each step reads them again */

    const void **target; /* rows of dense targets */
    int32_t *label;
    void *weight; /* elements of the net's dtype */
    double *row_loss;
    double *known; /* the share of each row's targets that are known; NULL if all are */

    double *tile_penalty; /* one per tile of the network */
    double *tile_square;  /* FBP_PARTS sums Σ g² per tile, for clipping by norms */

    int n_workers;
    fbp_scratch_t *scratch; /* one per worker */
    fbp_arena_t scratch_arena, stack_arena;
    size_t stack_elems; /* of one sum of every kind on scratch->stack */
    int stack_depth;
} fbp_plan_t;

/* Buffers for batches of up to `capacity` rows. They make their products as batches of `batch_rows`
 * rows do (fbp_factors_of), so that number must not depend on what was computed before. */
fastbp_status_t fbp_plan_init(fbp_plan_t *plan, const fastbp_net_t *net, fbp_plan_kind_t kind,
                              ptrdiff_t capacity, ptrdiff_t batch_rows, int n_workers);
void fbp_plan_free(fbp_plan_t *plan);

/* A plan for training whose buffers are in memory that others use too, one after another. Before a
 * run it needs fbp_plan_bytes for the rows and, for each worker that takes part,
 * fbp_scratch_bytes; all of it may hold anything. These numbers may grow when data are accepted;
 * SIZE_MAX if one does not fit. */
fastbp_status_t fbp_plan_init_borrower(fbp_plan_t *plan, const fastbp_net_t *net,
                                       ptrdiff_t capacity, ptrdiff_t batch_rows, int n_workers);
size_t fbp_plan_bytes(const fbp_plan_t *plan);
size_t fbp_scratch_bytes(const fbp_plan_t *plan);
void fbp_plan_lend(fbp_plan_t *plan, void *memory);
void fbp_plan_lend_scratch(fbp_plan_t *plan, int worker, void *memory);

/* FBP_TERM_ELEMS: gradients of the constants of a whole layer are first computed by unit, and then
 * summed over the units: so many numbers of each constant at a time, which stay in L1. */
#ifndef FBP_TERM_ELEMS
#define FBP_TERM_ELEMS 2048
#endif

/* The rows of a layer with n_out units that make up that many, at least one. */
FBP_INLINE ptrdiff_t fbp_term_rows(ptrdiff_t n_out) { return fbp_max(1, FBP_TERM_ELEMS / n_out); }

/* Outputs of layer[i] past the last whole vector, if they are few enough to be summed as δᵀa. */
FBP_INLINE ptrdiff_t fbp_odd_outputs(const fastbp_net_t *net, int i) {
    const ptrdiff_t rest = net->layer[i].n_out % net->kernels->lanes;
    return rest <= FBP_TURNED_MAX ? rest : 0;
}

/* The buffer with σ(n) of layer l = 1 … L. It is a[l], unless something follows σ in the layer: a
 * residual connection, or dropout if it is on. */
FBP_INLINE const fbp_rows_t *fbp_activated(const fbp_plan_t *plan, int l) {
    const bool apart = plan->drops || plan->net->layer[l - 1].has.residual;
    return apart && plan->act[l].at != NULL ? &plan->act[l] : &plan->a[l];
}

/* The buffer from which σ' of layer l is computed: n (z, without a norm) if fbp_act_by_z, otherwise
 * σ(n). */
const fbp_rows_t *fbp_plan_slope_rows(const fbp_plan_t *plan, int l);

/* Whether forward products read copies of W or of scale ⊙ W, even those of few rows. */
FBP_INLINE bool fbp_plan_reads_copies(const fbp_plan_t *plan) {
    return fbp_factors_copied(&plan->factors) || plan->net->has_scale;
}

/* ---- buffers that only some calls need; a second call does nothing ---- */

/* For s_i δ_i of every layer. */
fastbp_status_t fbp_plan_add_scaled(fbp_plan_t *plan);

/* Scratch for batches with segments: room for `depth` sums on each stack. */
fastbp_status_t fbp_plan_add_stack(fbp_plan_t *plan, int depth);

/* For rows of x that must be converted to the network's dtype. */
fastbp_status_t fbp_plan_add_input(fbp_plan_t *plan);

/* For sparse rows of x. */
fastbp_status_t fbp_plan_add_sparse(fbp_plan_t *plan);

/* For the factors of dense rows of x, if the plan has rounded factors. */
fastbp_status_t fbp_plan_add_factors(fbp_plan_t *plan);

/* For predictions from rounded copies of W, or with the scale of a layer. */
fastbp_status_t fbp_plan_add_copies(fbp_plan_t *plan);

/* Turns dropout on or off in an inspection, until the next call. Only the first call that turns it
 * on needs buffers. In a network without dropout, it stays off. */
fastbp_status_t fbp_plan_set_dropout(fbp_plan_t *plan, bool on);

/* The lowest layer above l whose batch norm uses the statistics of the batch, L + 1 if there is
 * none; and the highest one below l, 0 if there is none. */
int fbp_next_by_batch(const fbp_plan_t *plan, int l);
int fbp_last_by_batch(const fbp_plan_t *plan, int l);
FBP_INLINE bool fbp_is_by_batch(const fbp_plan_t *plan) {
    return fbp_next_by_batch(plan, 0) <= plan->net->n_layers;
}

/* For the scratch of n workers. */
fastbp_status_t fbp_plan_add_workers(fbp_plan_t *plan, int n);

/* ---- how much work, and for how many workers ---- */

/* The work of a call, in floating-point operations per parameter: `per_row` for every row and
 * `once` for the update, whose divisions and memory traffic count as the operations that products
 * do meanwhile. */
typedef struct {
    double per_row, once;
} fbp_work_t;

#define FBP_FORWARD_WORK ((fbp_work_t){2, 0})
#define FBP_BACKWARD_WORK ((fbp_work_t){4, 8})
/* Adam takes 0.25 ns per parameter, a product 0.0085 ns per operation. */
#define FBP_TRAIN_WORK ((fbp_work_t){6, 30})

/* How many workers to use for `rows` samples, at most `wanted` (0: fbp_thread_limit). Each gets
 * enough work to repay the time of waking it and of two barriers. */
int fbp_workers_for(const fastbp_net_t *net, ptrdiff_t rows, fbp_work_t work, int wanted);

/* The operations of such work; how many of them each worker must get; and the fewest rows that are
 * enough work for `workers` workers. */
double fbp_work_of(const fastbp_net_t *net, ptrdiff_t rows, fbp_work_t work);
double fbp_work_per_worker(const fastbp_net_t *net);
ptrdiff_t fbp_rows_for(const fastbp_net_t *net, int workers, fbp_work_t work);

/* ---- rows and blocks ---- */

/* The address of a row, and n rows from row0 on as a matrix. */
FBP_INLINE void *fbp_row_at(const fbp_plan_t *plan, const fbp_rows_t *rows, ptrdiff_t row) {
    return fbp_at(plan->net, rows->at, (size_t)row * (size_t)rows->ld);
}
FBP_INLINE fbp_mat_t fbp_block_of(const fbp_plan_t *plan, const fbp_rows_t *rows, ptrdiff_t row0,
                                  ptrdiff_t n, ptrdiff_t cols) {
    return (fbp_mat_t){fbp_row_at(plan, rows, row0), n, cols, rows->ld};
}

/* The number of blocks into which the row sweep divides a batch for a team, and the first row of
 * block t. Blocks hold whole samples: a pair of rows is not divided. */
ptrdiff_t fbp_plan_blocks(const fbp_plan_t *plan, ptrdiff_t rows, int team_size);
ptrdiff_t fbp_block_row(const fbp_plan_t *plan, ptrdiff_t rows, ptrdiff_t t, ptrdiff_t blocks);

#endif
