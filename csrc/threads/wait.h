/* wait.h: how a thread waits for another one: it spins on one atomic word, and then sleeps on a
 * condition variable. If there are more threads than processors, it sleeps immediately. */
#ifndef FASTBP_THREADS_WAIT_H
#define FASTBP_THREADS_WAIT_H

#include "sys.h"

#include <stdatomic.h>

/* Iterations of the spin loop, each with a pause instruction: some tens of microseconds. That is
 * longer than most waits at a barrier, and too short to show up as load. The duration of a pause
 * depends on the processor. */
#ifndef FBP_SPIN_TURNS
#define FBP_SPIN_TURNS 2000
#endif

/* Waits until *word differs from `old`: spins, then sleeps. The thread that changes the word must
 * call fbp_notify afterwards. Both sides use sequentially consistent order, so either the waiter
 * sees the new word or fbp_notify sees the sleeper. */
void fbp_wait_until_changed(const atomic_uint *word, unsigned old, int spin, fbp_mutex_t *lock,
                            fbp_cond_t *wake, atomic_int *sleepers);
void fbp_notify(fbp_mutex_t *lock, fbp_cond_t *wake, atomic_int *sleepers);

#endif
