/* team.h: the workers of a region of the pool: the tasks that they take, and the barrier at which
 * they wait for each other. */
#ifndef FASTBP_THREADS_TEAM_H
#define FASTBP_THREADS_TEAM_H

#include "../base/fpmode.h"

/* The workers of one region; the caller is worker 0. */
typedef struct fbp_team fbp_team_t;

int fbp_team_size(const fbp_team_t *team);

/* The floating-point mode of the caller of fbp_pool_run, for callbacks within a region. */
fbp_fpmode_t fbp_team_callers_mode(const fbp_team_t *team);

/* Waits for all workers of the team. After it, each worker sees what the others wrote before it. */
void fbp_team_barrier(fbp_team_t *team);

/* Takes a task: returns the first of 0, 1, 2, … that was not returned since the last barrier. */
ptrdiff_t fbp_team_next(fbp_team_t *team);

/* Makes a team of `size` workers out of those of another one, in fbp_team_bytes of memory that
 * begin on a cache line. It needs no end. */
size_t fbp_team_bytes(void);
fbp_team_t *fbp_team_init(void *memory, const fbp_team_t *whole, int size);

#endif
