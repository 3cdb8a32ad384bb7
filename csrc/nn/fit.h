/* fit.h: what a run of a session consists of besides its steps. */
#ifndef FASTBP_NN_FIT_H
#define FASTBP_NN_FIT_H

#include "step.h"

/* Makes the order of the epoch's samples, if it is not that of the data. */
void fbp_fit_order(fastbp_fit_t *fit);

/* The same, and copies W. The caller may have changed W between epochs or before
 * a run of a single step. */
void fbp_fit_prepare(fastbp_fit_t *fit, bool single);

/* Whether the optimiser is valid, and one that the session was opened for. */
bool fbp_fit_can_run(const fastbp_fit_t *fit);

/* Reports a run, and goes on to the next epoch at the end of one. */
fastbp_status_t fbp_fit_end_run(fastbp_fit_t *fit, const fbp_slice_t *slice,
                                fastbp_progress_t *progress);

#endif
