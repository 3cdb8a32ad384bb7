/* alike.h: which sessions may run side by side, one in each lane of the vectors, and whether that
 * pays. */
#ifndef FASTBP_NN_ALIKE_H
#define FASTBP_NN_ALIKE_H

#include "session.h"

/* Whether a session can be in a group: its layers are plain, its rows dense, its products those of
 * its dtype, and nothing needs its whole gradient. */
bool fbp_can_interleave(const fastbp_fit_t *fit);

/* Orders sessions that can be in a group; 0 if both may be in the same one. */
int fbp_compare_shapes(const fastbp_fit_t *a, const fastbp_fit_t *b);

/* Whether the loss of both is the same sum of terms against dense targets, which has a kernel for
 * groups. */
bool fbp_same_terms(const fastbp_fit_t *a, const fastbp_fit_t *b);

/* Estimates, in seconds: of a step of the session alone, and of a step of so many of them side by
 * side, on one worker. Only their ratio is used. */
double fbp_alone_seconds(const fastbp_fit_t *fit);
double fbp_group_seconds(const fastbp_fit_t *fit, ptrdiff_t members);

#endif
