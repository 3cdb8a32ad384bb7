/* once.h: a value that is computed once per process, by the thread that needs it first. */
#ifndef FASTBP_BASE_ONCE_H
#define FASTBP_BASE_ONCE_H

#include "common.h"

#include <stdatomic.h>

typedef struct {
    atomic_int state; /* 0 in static storage */
} fbp_once_t;

enum { FBP_ONCE_BEGUN = 1, FBP_ONCE_DONE };

/* Whether the caller has to compute the value, and then to call fbp_once_end. Other threads wait in
 * this function until it has done so. The child of a fork in between would wait forever: let one
 * thread ask early. */
FBP_INLINE bool fbp_once_begin(fbp_once_t *once) {
    int state = 0;
    if (atomic_load_explicit(&once->state, memory_order_acquire) == FBP_ONCE_DONE) return false;
    if (atomic_compare_exchange_strong(&once->state, &state, FBP_ONCE_BEGUN)) return true;
    while (atomic_load_explicit(&once->state, memory_order_acquire) != FBP_ONCE_DONE) {
    }
    return false;
}

FBP_INLINE void fbp_once_end(fbp_once_t *once) {
    atomic_store_explicit(&once->state, FBP_ONCE_DONE, memory_order_release);
}

#endif
