/* arena.h: one aligned allocation for many buffers. Run the same sequence of fbp_arena_take calls
 * twice: on an empty arena they only count the bytes; after fbp_arena_commit they hand out memory.
 * So the layout is written down in one place. */
#ifndef FASTBP_BASE_ARENA_H
#define FASTBP_BASE_ARENA_H

#include "common.h"

typedef struct {
    unsigned char *base; /* NULL while counting */
    size_t used;         /* bytes handed out so far, a multiple of FBP_CACHE_LINE */
    size_t size;         /* bytes owned; 0 while counting */
    bool overflow;       /* a size did not fit size_t, or more was taken than counted */
    bool borrows;        /* its memory belongs to somebody else */
} fbp_arena_t;

/* Hands out count * elem_size bytes that start on a cache line; NULL while counting or after an
 * overflow. */
void *fbp_arena_take(fbp_arena_t *arena, size_t count, size_t elem_size);

/* Allocates the bytes that were counted, filled with zeros; false if there is no memory. */
bool fbp_arena_commit(fbp_arena_t *arena);

/* Ends the counting of an arena that never has memory of its own: fbp_arena_lend gives it
 * arena->size bytes that begin on a cache line, as they are or filled with zeros, in which the same
 * calls hand out the buffers. false if a size did not fit. */
bool fbp_arena_count(fbp_arena_t *arena);
void fbp_arena_lend(fbp_arena_t *arena, void *memory, bool zeros);

void fbp_arena_free(fbp_arena_t *arena);

#endif
