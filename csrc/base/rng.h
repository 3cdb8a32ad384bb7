/* rng.h: random numbers as a function, value = philox(seed, stream, step, index). Shuffles and
 * masks therefore do not depend on threads, on how a batch is divided, or on whether a fit was
 * resumed. Philox4x32-10: Salmon, Moraes, Dror, Shaw, "Parallel random numbers: as easy as 1, 2,
 * 3", SC 2011. kernels/random.inc computes it. */
#ifndef FASTBP_BASE_RNG_H
#define FASTBP_BASE_RNG_H

#include "common.h"

enum {
    FBP_STREAM_SHUFFLE = 0,
    FBP_STREAM_BLOCKS = 16,       /* the order of blocks; computed in Python */
    FBP_STREAM_DROPOUT = 0x10000, /* + layer, 0 for the inputs */
};

/* The multipliers of a round, and the increments of the key. */
#define FBP_PHILOX_M0 0xD2511F53u
#define FBP_PHILOX_M1 0xCD9E8D57u
#define FBP_PHILOX_W0 0x9E3779B9u
#define FBP_PHILOX_W1 0xBB67AE85u

/* floor(r · n / 2^64), r = low + 2^32 high, 0 < n < 2^32: the top word of a 96-bit product. */
FBP_INLINE uint64_t fbp_random_below(uint32_t low, uint32_t high, uint64_t n) {
    return (high * n + (low * n >> 32)) >> 32;
}

#endif
