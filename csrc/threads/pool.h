/* pool.h: one lazy, process-wide pool of threads. It runs a function, a region, on several threads
 * at the same time, with barriers and tasks. It knows nothing of networks. */
#ifndef FASTBP_THREADS_POOL_H
#define FASTBP_THREADS_POOL_H

#include "team.h"

typedef void (*fbp_region_fn)(void *context, fbp_team_t *team, int worker);

/* Runs region(context, team, worker) on up to n_threads threads and returns when all have returned.
 * Threads are started when they are first needed. If they cannot be started, the team is smaller;
 * while another caller uses or closes the pool, the team is the caller alone. A caller that comes
 * while others are in regions gets as many threads less, so that all of them together have not much
 * more than fbp_thread_limit. Safe after fork: the child starts its own threads. Every worker has
 * the caller's floating-point modes, except that subnormals are treated as zeros; on return the
 * caller has its own modes again. */
void fbp_pool_run(int n_threads, fbp_region_fn region, void *context);

/* Ends and joins all threads of the pool, if there are any; the next fbp_pool_run starts new ones.
 * Returns false, and changes nothing, while a region runs on the threads or another call closes the
 * pool. It never waits for the work of another caller. */
bool fbp_pool_close(void);

/* While a session is open, idle workers spin for some tens of microseconds before they sleep. */
void fbp_pool_open_session(void);
void fbp_pool_close_session(void);

#endif
