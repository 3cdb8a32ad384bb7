/* session.h: the fields of a training session. fit.c opens and closes it and moves it from place to
 * place; step.c runs steps on it. Once it is open, only fastbp_fit_rebind and fastbp_fit_set_clocks
 * allocate memory. */
#ifndef FASTBP_NN_SESSION_H
#define FASTBP_NN_SESSION_H

#include "../threads/sizing.h"
#include "muon.h"
#include "pieces.h"

struct fastbp_fit {
    fbp_plan_t plan;
    fbp_batch_t batch; /* what all batches have in common */
    fastbp_data_t data;
    fastbp_optimizer_t *optimizer;
    const double *rates, *momenta; /* by step of the epoch, instead of the optimizer's; or NULL */
    ptrdiff_t n_rates;
    const double *smoothing, *dropout; /* by step, instead of those of the network; or NULL */
    ptrdiff_t n_smoothing;             /* steps that both have */
    fastbp_fit_options_t options;
    void *theta;
    fbp_arena_t arena; /* for sums and order */
    bool in_parts;     /* batches go through the network in parts */
    bool turns;        /* the rule is Muon, whose buffers are in `muon` */
    fbp_muon_t muon;
    void *sums;      /* the gradients of the parts of a batch, laid out as theta; or NULL */
    uint32_t *order; /* the samples of this epoch in their order, or NULL for that of the data */
    ptrdiff_t order_capacity;        /* samples that it can hold; 0 without an order */
    fastbp_population_t *population; /* whose memory it uses, or NULL */
    bool keep_copies;                /* products read copies of W */
    int n_workers;
    bool pool_session;    /* a session of the pool is open, and has to be closed */
    fastbp_place_t place; /* of the next step */
    bool prepared;        /* order and copies of W are up to date for that place */
    double last_loss;
    int team_size; /* the largest team so far */
    fbp_sizing_t sizing;
    double lag;       /* seconds between the last step of a run and its end */
    const int *teams; /* by step, instead of what sizing says; or NULL */
    ptrdiff_t n_teams, team_step;
    fbp_clocks_t clocks;
    bool clocked;                   /* the clocks run */
    fastbp_fit_runs_t timed, plain; /* runs with clocks, and without since their first start */
    /* With parts. */
    bool divided; /* the data are in parts */
    bool shared;  /* … of several ranks that make their steps together */
    fbp_parts_t parts;
    fbp_pieces_t pieces;
    fastbp_share_t share;
    size_t *first; /* of share */
    int *rank_slots;
    void **sums_at;  /* of each node, for its update */
    unsigned flags;  /* for the other ranks */
    ptrdiff_t since; /* steps since the last average */
};

/* The rows of an epoch or block, those of other ranks included. */
ptrdiff_t fbp_session_rows(const fastbp_fit_t *fit);

/* Hands out the buffers of a session besides those of its plan. */
void fbp_session_carve(fastbp_fit_t *fit, fbp_arena_t *arena);

/* For a session of a population: what it needs besides scratch, and such memory for its next runs.
 */
size_t fbp_session_bytes(const fastbp_fit_t *fit);
void fbp_session_lend(fastbp_fit_t *fit, void *memory);

#endif
