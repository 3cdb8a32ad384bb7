/* overrun.c: writes behind a buffer of an arena, into bytes that belong to the arena's allocation.
 * sanitizer_planted.py expects a report from AddressSanitizer. */
#include "base/arena.h"

#include <stdio.h>

static char *carve(fbp_arena_t *arena) {
    char *first = fbp_arena_take(arena, 20, 1);
    (void)fbp_arena_take(arena, 20, 1);
    return first;
}

int main(void) {
    fbp_arena_t arena = {0};
    (void)carve(&arena);
    if (!fbp_arena_commit(&arena)) return 2;
    char *first = carve(&arena);
    for (volatile int i = 0; i < 20; ++i) first[i] = 1;
    printf("20 bytes written\n");
    fflush(stdout);
    first[FBP_CACHE_LINE] = 1; /* where the second buffer would be without a red zone */
    printf("one byte too far written\n");
    fbp_arena_free(&arena);
    return 0;
}
