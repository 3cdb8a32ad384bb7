/* profile.c: see profile.h. */
#include "profile.h"

static void carve(fbp_clocks_t *clocks) {
    fbp_arena_t *arena = &clocks->arena;
    const size_t layers = (size_t)clocks->n_layers + 1;
    clocks->worker = fbp_arena_take(arena, (size_t)clocks->n_workers, sizeof *clocks->worker);
    for (int w = 0; w < clocks->n_workers; ++w) {
        void *seconds = fbp_arena_take(arena, layers, sizeof *clocks->worker->seconds);
        if (clocks->worker != NULL) clocks->worker[w].seconds = seconds;
    }
}

fastbp_status_t fbp_clocks_init(fbp_clocks_t *clocks, int n_workers, int n_layers) {
    *clocks = (fbp_clocks_t){.n_workers = n_workers, .n_layers = n_layers};
    carve(clocks);
    if (!fbp_arena_commit(&clocks->arena)) return FASTBP_ERR_MEMORY;
    carve(clocks);
    return FASTBP_OK;
}

void fbp_clocks_free(fbp_clocks_t *clocks) {
    fbp_arena_free(&clocks->arena);
    *clocks = (fbp_clocks_t){0};
}

void fbp_clocks_sum(const fbp_clocks_t *clocks, int layer, double seconds[FASTBP_PHASE_COUNT]) {
    const int n_workers = clocks->worker != NULL ? clocks->n_workers : 0;
    for (int phase = 0; phase < FASTBP_PHASE_COUNT; ++phase) {
        seconds[phase] = 0;
        for (int w = 0; w < n_workers; ++w)
            seconds[phase] += clocks->worker[w].seconds[layer][phase];
    }
}
