/* pass.h: what the files about passes share: the pass itself, and regions over its batch. */
#ifndef FASTBP_NN_PASS_H
#define FASTBP_NN_PASS_H

#include "../threads/pool.h"
#include "products.h"
#include "stages.h"

struct fastbp_pass {
    fbp_plan_t plan;
    fbp_batch_t batch;  /* of the last forward pass; rows = 0 before it */
    int lowest;         /* since then, δ^L … δ^lowest have been made; L + 1: none */
    bool has_targets;   /* it started from targets, which are still in the plan */
    fbp_plan_t tangent; /* R{z}, R{a}, R{δ} of tangent.c; all zero until they are needed */
};

/* Whether the pass rounds no factors, has dropped nothing, is normed by no batch and embeds no
 * numbers, which derivatives other than the gradient need. */
FBP_INLINE bool fbp_pass_is_exact(const fastbp_pass_t *pass) {
    const fbp_plan_t *plan = &pass->plan;
    return plan->net->precision == FASTBP_HIGHEST && !plan->drops && !fbp_is_by_batch(plan) &&
           !plan->net->has_embedding;
}

/* Whether a backward pass has filled every δ since the last forward pass. */
FBP_INLINE bool fbp_pass_has_delta(const fastbp_pass_t *pass) {
    return pass->batch.rows > 0 && pass->lowest == 1;
}

/* Discards every δ, which are made again or overwritten. */
FBP_INLINE void fbp_pass_drop_delta(fastbp_pass_t *pass) {
    pass->lowest = pass->plan.net->n_layers + 1;
}

/* Runs a region on as many threads as pay off for so much work on the batch. */
fastbp_status_t fbp_pass_run(fastbp_pass_t *pass, fbp_work_t work, fbp_region_fn body,
                             void *context);

/* Makes the batch's copies of W^l, l = first … last, if it uses any, as tasks. A barrier must
 * follow, and before another call. */
void fbp_pass_copy(const fbp_batch_t *batch, fbp_team_t *team, int first, int last,
                   fbp_copies_t copies);

#endif
