/* session.h: what a training session consists of. fit.c opens it and moves it from place to place;
 * step.c runs steps on it. Nothing is allocated once it is open, except by fastbp_fit_rebind and
 * fastbp_fit_set_clocks. */
#ifndef FASTBP_NN_SESSION_H
#define FASTBP_NN_SESSION_H

#include "batch.h"

struct fastbp_fit {
    fbp_plan_t plan;
    fbp_batch_t batch; /* what all batches have in common */
    fastbp_data_t data;
    fastbp_optimizer_t *optimizer;
    const double *rates, *momenta; /* by step of the epoch, in place of the optimizer's; or NULL */
    fastbp_fit_options_t options;
    void *theta;
    void *sums;               /* a twin of theta for the gradients of a batch's parts, or NULL */
    uint32_t *order;          /* this epoch's permutation, or NULL without shuffling */
    long order_room, n_rates; /* samples that it can hold; elements of rates */
    bool keep_copies;         /* batches are large enough for copies of W */
    int n_workers;
    bool session;         /* open at the pool */
    fastbp_place_t place; /* of the next step */
    bool in_place;        /* order and copies of W are made for it */
    double last_loss;
    int team_size; /* the largest so far */
    fbp_clocks_t clocks;
    bool clocked;                   /* they run */
    fastbp_fit_runs_t timed, plain; /* with clocks and, since their first start, without */
};

#endif
