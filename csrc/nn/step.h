/* step.h: training steps on an open session. One region of the pool runs all steps of a slice.
 * Every worker goes through the same batches, has its own description of them and makes the same
 * decisions; only worker 0 changes the session. A step has two barriers: one after the row sweep
 * and one after the weight sweep; with several ranks or norms of gradients there are more. */
#ifndef FASTBP_NN_STEP_H
#define FASTBP_NN_STEP_H

#include "../threads/pool.h"
#include "session.h"

/* The steps of one fastbp_fit_run, in one region or several. */
typedef struct {
    fastbp_fit_t *fit;
    double deadline, last; /* last: when the last step ended, or the run began */
    /* Written by worker 0, read by all after a barrier. */
    bool diverged, loss_failed;
    unsigned flags; /* of all ranks, when one has raised some */
    bool stop;      /* the region ends */
    bool resized;   /* … only because the next one is to have another number of workers */
    bool fixed;     /* that number stays as it is */
} fbp_slice_t;

/* The region of the pool; context is an fbp_slice_t. The session must be prepared and have samples
 * left. Runs at least one step, and whole steps only: it finds a J that is not finite between the
 * sweeps, before any parameter has changed. */
void fbp_run_steps(void *context, fbp_team_t *team, int worker);

/* What a step consists of besides its sweeps. The rate and the momentum, and the label smoothing
 * and the dropout, that a schedule has for a step of the epoch; J of a batch, from Σ s_i J_i, Σ s_i
 * and plan->tile_penalty; and the books of the session and its slice, at the time `now`. */
void fbp_set_rates(const fastbp_fit_t *fit, ptrdiff_t step, fastbp_optimizer_t *now);
void fbp_set_smoothing(const fastbp_fit_t *fit, ptrdiff_t step, fbp_batch_t *batch);
double fbp_objective(const fastbp_fit_t *fit, double losses, double weight);
void fbp_record_step(fbp_slice_t *slice, ptrdiff_t rows, double weight, double J, double now);

#endif
