/* arena.h: one aligned allocation, carved once. Usage: run the same sequence of fbp_arena_take
 * calls twice; on an arena without memory they only count, so the plan is stated in one place. */
#ifndef FASTBP_BASE_ARENA_H
#define FASTBP_BASE_ARENA_H

#include "common.h"

typedef struct {
    unsigned char *base; /* NULL while counting */
    size_t used;         /* bytes handed out so far, a multiple of FBP_CACHE_LINE */
    size_t size;         /* bytes owned; 0 while counting */
    bool overflow;       /* a size did not fit size_t, or more was taken than was counted */
} fbp_arena_t;

/* Hands out count * elem_size bytes on a cache line; NULL while counting or after an overflow. */
void *fbp_arena_take(fbp_arena_t *arena, size_t count, size_t elem_size);

/* Turns a counted arena into an owning one (zero-filled). False when memory is short. */
bool fbp_arena_commit(fbp_arena_t *arena);

void fbp_arena_free(fbp_arena_t *arena);

#endif
