/* team.c: see team.h. The barrier is central and counts generations: Mellor-Crummey & Scott, ACM
 * TOCS 9(1), 1991, §3. */
#if defined(__linux__)
#define _GNU_SOURCE /* pthread_sigmask */
#endif
#include "team.h"

#include "team_state.h"

size_t fbp_team_bytes(void) { return sizeof(fbp_team_t); }

fbp_team_t *fbp_team_init(void *memory, const fbp_team_t *whole, int size) {
    fbp_team_t *team = memory;
    *team = (fbp_team_t){.size = size,
                         .spin = whole->spin,
                         .callers_mode = whole->callers_mode,
                         .lock = FBP_MUTEX_INIT,
                         .wake = FBP_COND_INIT};
    return team;
}

int fbp_team_size(const fbp_team_t *team) { return team->size; }

fbp_fpmode_t fbp_team_callers_mode(const fbp_team_t *team) { return team->callers_mode; }

ptrdiff_t fbp_team_next(fbp_team_t *team) {
    return atomic_fetch_add_explicit(&team->next, 1, memory_order_relaxed);
}

void fbp_team_barrier(fbp_team_t *team) {
    if (team->size == 1) {
        atomic_store_explicit(&team->next, 0, memory_order_relaxed);
        return;
    }
    const unsigned generation = atomic_load(&team->generation);
    const int size = team->size, spin = team->spin; /* must not be read after all have arrived */
    if (atomic_fetch_add(&team->arrived, 1) + 1 < size) {
        fbp_wait_until_changed(&team->generation, generation, spin, &team->lock, &team->wake,
                               &team->sleepers);
        return;
    }
    atomic_store(&team->arrived, 0);
    atomic_store_explicit(&team->next, 0, memory_order_relaxed);
    atomic_store(&team->generation, generation + 1);
    fbp_notify(&team->lock, &team->wake, &team->sleepers);
}
