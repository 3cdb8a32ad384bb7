/* profile.h: the clocks of a session. A lap adds the time since the worker's last lap to a phase,
 * so the laps of a worker add up to all of its time. Without clocks a lap costs one branch. */
#ifndef FASTBP_NN_PROFILE_H
#define FASTBP_NN_PROFILE_H

#include "../base/arena.h"
#include "../base/clock.h"
#include "../fastbp.h"

/* The clock of one worker, alone on its cache lines. */
typedef struct {
    _Alignas(FBP_CACHE_LINE) double last;  /* time at which the last lap ended */
    double (*seconds)[FASTBP_PHASE_COUNT]; /* by layer l = 1 … L; [0]: phases of no layer */
} fbp_profile_t;

typedef struct {
    fbp_profile_t *worker; /* NULL before fbp_clocks_init */
    int n_workers, n_layers;
    fbp_arena_t arena;
} fbp_clocks_t;

/* Makes the clocks, all at 0. */
fastbp_status_t fbp_clocks_init(fbp_clocks_t *clocks, int n_workers, int n_layers);
void fbp_clocks_free(fbp_clocks_t *clocks);

/* The seconds of a layer by phase, summed over the workers; zeros without clocks. */
void fbp_clocks_sum(const fbp_clocks_t *clocks, int layer, double seconds[FASTBP_PHASE_COUNT]);

FBP_INLINE void fbp_lap_begin(fbp_profile_t *profile) {
    if (profile != NULL) profile->last = fbp_seconds();
}

FBP_INLINE void fbp_lap(fbp_profile_t *profile, int layer, fastbp_phase_t phase) {
    if (profile == NULL) return;
    const double now = fbp_seconds();
    profile->seconds[layer][phase] += now - profile->last;
    profile->last = now;
}

#endif
