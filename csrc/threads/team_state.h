/* team_state.h: the fields of a team, for its own file and for the pool, whose team all workers
 * share. */
#ifndef FASTBP_THREADS_TEAM_STATE_H
#define FASTBP_THREADS_TEAM_STATE_H

#include "../base/fpmode.h"
#include "wait.h"

struct fbp_team {
    int size, spin;
    fbp_fpmode_t callers_mode;
    _Alignas(FBP_CACHE_LINE) atomic_int arrived;
    _Alignas(FBP_CACHE_LINE) atomic_uint generation;
    _Alignas(FBP_CACHE_LINE) atomic_ptrdiff_t next;
    atomic_int sleepers;
    fbp_mutex_t lock;
    fbp_cond_t wake;
};

#endif
