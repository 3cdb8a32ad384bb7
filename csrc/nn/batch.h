/* batch.h: one batch on its way through a plan: which rows, and what is wanted of them. */
#ifndef FASTBP_NN_BATCH_H
#define FASTBP_NN_BATCH_H

#include "plan.h"

typedef struct {
    fbp_plan_t *plan;
    const void *theta;
    long rows;
    bool labels;       /* the targets are plan->label, otherwise plan->target */
    bool weighted;     /* rows carry plan->weight */
    bool fold_weights; /* δ^L is multiplied by s_i at the start; otherwise plan->scaled is filled */
    bool sparse;       /* the rows of x are plan->sparse, otherwise plan->a[0].row */
    bool backward;     /* after the loss, the recursion */
    bool drop;         /* dropout is on; the masks are a function of seed and step */
    uint64_t seed, step;
    long offset; /* of the first row within the batch that this is a part of; for the masks */
    int lowest;  /* the recursion may end with δ of this layer; 0 or 1: it goes all the way */
} fbp_batch_t;

/* Tells a batch what data it is made of; its rows are still to be loaded. */
void fbp_batch_describe(fbp_batch_t *batch, const fastbp_data_t *data);

/* Whether the rows of x can be read; makes room in the plan if they are to be converted. */
fastbp_status_t fbp_batch_accept(fbp_plan_t *plan, const fastbp_data_t *data);

/* Whether a loss can be made of the targets of data: labels for a loss of classes, none
 * for pairs, or dense rows. */
bool fbp_targets_fit(const fastbp_net_t *net, const fastbp_data_t *data);

/* Fills rows row0 … row0 + rows − 1 of the plan's lists with the samples order[row0], …, or
 * first + row0, … where order is NULL. Rows of x and of dense targets are pointed to, not copied;
 * rows of x of another type are converted, into the plan. */
void fbp_batch_load(const fbp_batch_t *batch, const fastbp_data_t *data, const uint32_t *order,
                    long first, long row0, long rows);

/* Asks for x and dense targets of those rows, of a batch that begins at order[0], or at first,
 * into L2: shuffled rows are where no prefetcher looks. 6-50-50-50-3 at batch 1000: 500 → 465 µs.
 */
void fbp_batch_prefetch(const fastbp_net_t *net, const fastbp_data_t *data, const uint32_t *order,
                        long first, long row0, long rows);

/* The order of an epoch: Fisher-Yates from the identity, whose value for place i depends on
 * (seed, epoch, block, i) alone. Samples of `group` rows move as a whole; rows is a multiple of it.
 */
void fbp_shuffle(uint32_t *order, long rows, long group, uint64_t seed, long epoch, long block);

/* S = Σ s_i over the batch, times the class weights of labels, and Σ s_i J_i from plan->row_loss;
 * both in a fixed order. */
double fbp_weight_sum(const fbp_batch_t *batch);
double fbp_loss_sum(const fbp_batch_t *batch);

#endif
