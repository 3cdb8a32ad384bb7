/* interleave.h: training steps of several sessions side by side, one in each lane of the vectors.
 * Narrow networks leave most lanes of a vector empty, and their steps are too short for the calls
 * that they consist of; a step of a group does the same for all lanes at once. Each session ends
 * with the bits that it has alone. */
#ifndef FASTBP_NN_INTERLEAVE_H
#define FASTBP_NN_INTERLEAVE_H

#include "group.h"

/* Runs the turns of a group on one worker, until one of them has ended its epochs or its time is
 * over. */
void fbp_run_group(fastbp_turn_t *const *turn, int n, double begin, void *memory, void *scratch);

#endif
