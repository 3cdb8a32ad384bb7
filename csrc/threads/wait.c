/* wait.c: see wait.h. */
#if defined(__linux__)
#define _GNU_SOURCE /* pthread_sigmask */
#endif
#include "wait.h"

void fbp_wait_until_changed(const atomic_uint *word, unsigned old, int spin, fbp_mutex_t *lock,
                            fbp_cond_t *wake, atomic_int *sleepers) {
    for (int turn = 0; turn < spin; ++turn) {
        if (atomic_load_explicit(word, memory_order_acquire) != old) return;
        fbp_pause();
    }
    fbp_lock(lock);
    atomic_fetch_add(sleepers, 1);
    while (atomic_load(word) == old) fbp_wait(wake, lock);
    atomic_fetch_sub(sleepers, 1);
    fbp_unlock(lock);
}

void fbp_notify(fbp_mutex_t *lock, fbp_cond_t *wake, atomic_int *sleepers) {
    if (atomic_load(sleepers) == 0) return;
    fbp_lock(lock);
    fbp_wake_all(wake);
    fbp_unlock(lock);
}
