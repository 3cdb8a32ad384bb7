/* batch.h: one batch on its way through a plan: its rows, and what has to be computed for them. */
#ifndef FASTBP_NN_BATCH_H
#define FASTBP_NN_BATCH_H

#include "plan.h"

/* The rows of a batch by the parts of the data that they are from: sums over the batch are those of
 * fbp_gemm_parts_t. */
typedef struct {
    ptrdiff_t n;
    const ptrdiff_t *rows; /* at least 1 each */
    const int *pops;
} fbp_segments_t;

typedef struct {
    fbp_plan_t *plan;
    const void *theta;
    const void *around; /* if theta is a direction: the parameters that move along it; or NULL */
    ptrdiff_t rows;
    bool labels;         /* the targets are in plan->label, otherwise in plan->target */
    bool weighted;       /* plan->weight has a weight for every row */
    bool fold_weights;   /* δ^L is multiplied by s_i; otherwise s_i δ_i is kept in plan->scaled */
    bool sparse;         /* the rows of x are in plan->sparse, otherwise in plan->a[0].row */
    bool backward;       /* the loss also computes δ^L, for the recursion */
    uint64_t seed, step; /* of the masks, if plan->drops */
    ptrdiff_t offset; /* place of the first row in the whole batch, of which this may be a part */
    ptrdiff_t whole_rows; /* those of the whole batch, if it chooses the kernels, otherwise 0 */
    bool first;           /* penalties are computed with these rows, once per step */
    ptrdiff_t from;       /* sums over the batch begin with this row of the plan */
    const struct fbp_portion *portion; /* of data in parts, see parts.h */
    const fbp_segments_t *segments;    /* or NULL: sums go over the rows in their order */
    /* Of this step: the label smoothing of the loss, and the dropout of the inputs and of each
     * layer, instead of those of the network; or NULL. */
    const double *smoothing, *dropout;
    int lowest; /* the recursion may stop at δ of this layer; 0 or 1: it goes down to layer 1 */
} fbp_batch_t;

/* Sets the fields that depend on data. The rows are loaded later. */
void fbp_batch_describe(fbp_batch_t *batch, const fastbp_data_t *data);

/* FASTBP_ERR_ARGUMENT if the rows of x cannot be read. Allocates room in the plan for rows that
 * must be converted, or are sparse, and for the factors of dense rows, unless it is there. */
fastbp_status_t fbp_batch_accept(fbp_plan_t *plan, const fastbp_data_t *data);

/* Whether the targets of data are what the loss takes: labels, dense rows, or none. */
bool fbp_targets_fit(const fastbp_net_t *net, const fastbp_data_t *data);

/* Loads samples order[row0], … into rows row0 … row0 + rows − 1 of the plan's lists; if order is
 * NULL, samples first + row0, …. The lists point to the rows of x and of dense targets, without
 * copying them. Rows of x that have another type are converted into the plan. */
void fbp_batch_load(const fbp_batch_t *batch, const fastbp_data_t *data, const uint32_t *order,
                    ptrdiff_t first, ptrdiff_t row0, ptrdiff_t rows);

/* Prefetches x and dense targets of such rows into L2, because no hardware prefetcher can foresee
 * shuffled rows. 6-50-50-50-3 at batch 1000: 500 → 465 µs per step. */
void fbp_batch_prefetch(const fastbp_net_t *net, const fastbp_data_t *data, const uint32_t *order,
                        ptrdiff_t first, ptrdiff_t row0, ptrdiff_t rows);

/* The order of an epoch: a Fisher-Yates shuffle whose random number for place i depends only on
 * seed, epoch, block and i. Samples of
 * net->loss.group rows stay together; rows is a multiple of that. */
void fbp_shuffle(const fastbp_net_t *net, uint32_t *order, ptrdiff_t rows, uint64_t seed,
                 ptrdiff_t epoch, ptrdiff_t block);

/* S = Σ s_i over the rows from `from` on, with the class weights of labels, and Σ s_i J_i from
 * plan->row_loss. Both add up in a fixed order. */
double fbp_weight_sum(const fbp_batch_t *batch);
double fbp_loss_sum(const fbp_batch_t *batch);

#endif
