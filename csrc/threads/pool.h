/* pool.h: one lazy, process-wide pool of threads. It knows nothing of networks: it runs a function
 * on several threads at once and lets them meet. The caller is worker 0. */
#ifndef FASTBP_THREADS_POOL_H
#define FASTBP_THREADS_POOL_H

#include "../base/fpmode.h"

/* The workers of one region. */
typedef struct fbp_team fbp_team_t;

typedef void (*fbp_region_fn)(void *context, fbp_team_t *team, int worker);

/* Runs region(context, team, worker) on up to n_threads threads and returns when all have returned.
 * Threads are started when first needed. The team is smaller than asked for if threads cannot be
 * started. It is the caller alone while another caller uses or closes the pool. Safe after fork:
 * the child starts its own threads. Every worker has the caller's modes of arithmetic, except that
 * subnormals are flushed; on return the caller has its own modes again. */
void fbp_pool_run(int n_threads, fbp_region_fn region, void *context);

/* Ends and joins all threads of the pool; the next fbp_pool_run starts new ones. Does nothing if
 * there are none. Returns false, and changes nothing, while a region runs on the threads, or while
 * another call closes the pool: it never waits for somebody else's work. */
bool fbp_pool_close(void);

int fbp_team_size(const fbp_team_t *team);

/* The mode that the caller of fbp_pool_run had, for what is called back in a region. */
fbp_fpmode_t fbp_team_callers_mode(const fbp_team_t *team);

/* Waits for all workers of the team. What any wrote before, all see after. */
void fbp_team_barrier(fbp_team_t *team);

/* The next of the tasks 0, 1, 2, … that nobody has taken since the last barrier. */
long fbp_team_next(fbp_team_t *team);

/* While a session is open, idle workers spin for some tens of microseconds before they sleep. */
void fbp_pool_open_session(void);
void fbp_pool_close_session(void);

#endif
