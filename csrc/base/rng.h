/* rng.h: random numbers as a function, value = philox(seed, stream, step, index). Shuffles and
 * masks therefore do not depend on threads, on how a batch is divided, or on whether a fit was
 * resumed. Philox4x32-10: Salmon, Moraes, Dror, Shaw, "Parallel random numbers: as easy as 1, 2,
 * 3", SC 2011. */
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

typedef struct {
    uint32_t word[4];
} fbp_random_t;

FBP_INLINE fbp_random_t fbp_philox(uint64_t seed, uint32_t stream, uint32_t step, uint64_t index) {
    uint32_t c0 = (uint32_t)index, c1 = (uint32_t)(index >> 32), c2 = step, c3 = stream;
    uint32_t k0 = (uint32_t)seed, k1 = (uint32_t)(seed >> 32);
    for (int round = 0; round < 10; ++round) {
        const uint64_t p0 = (uint64_t)FBP_PHILOX_M0 * c0, p1 = (uint64_t)FBP_PHILOX_M1 * c2;
        c0 = (uint32_t)(p1 >> 32) ^ c1 ^ k0;
        c2 = (uint32_t)(p0 >> 32) ^ c3 ^ k1;
        c1 = (uint32_t)p1;
        c3 = (uint32_t)p0;
        k0 += FBP_PHILOX_W0;
        k1 += FBP_PHILOX_W1;
    }
    return (fbp_random_t){{c0, c1, c2, c3}};
}

/* floor(r · n / 2^64) for 64 bits of r and 0 < n < 2^32: the top word of a 96-bit product. */
FBP_INLINE uint64_t fbp_random_below(fbp_random_t r, uint64_t n) {
    const uint64_t low = (uint64_t)r.word[0] * n;
    const uint64_t high = (uint64_t)r.word[1] * n;
    return (high + (low >> 32)) >> 32;
}

#endif
