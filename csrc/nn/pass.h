/* pass.h: what the files on passes share: the pass itself, and regions over its batch. */
#ifndef FASTBP_NN_PASS_H
#define FASTBP_NN_PASS_H

#include "../threads/pool.h"
#include "rows.h"

struct fastbp_pass {
    fbp_plan_t plan;
    fbp_batch_t batch;  /* of the last forward; rows = 0 before it */
    bool has_delta;     /* a backward pass has filled δ since */
    bool has_targets;   /* … from targets, which are still in the plan */
    fbp_plan_t tangent; /* what moves along a direction; all zero until it is needed */
};

/* Runs a region on as many threads as so much work on the batch is worth. */
fastbp_status_t fbp_pass_run(fastbp_pass_t *pass, fbp_work_t work, fbp_region_fn body,
                             void *context);

/* The copies of W^l that the batch uses, l = first … last, as tasks; a barrier has to follow. */
void fbp_pass_copy(const fbp_batch_t *batch, fbp_team_t *team, int first, int last);

/* A block of the batch's rows, as a task. */
typedef struct {
    long row0, rows;
} fbp_block_t;

/* The next block of the batch that nobody has taken since the last barrier; false past the end. */
bool fbp_pass_next(const fbp_batch_t *batch, fbp_team_t *team, fbp_block_t *block);

#endif
