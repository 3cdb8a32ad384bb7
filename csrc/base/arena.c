/* arena.c: see arena.h. Large arenas ask for huge pages. A training step goes through tens of
 * megabytes with large strides; on 4 KiB pages it would spend its time on misses of the
 * second-level TLB. */
#if defined(__linux__)
#define _GNU_SOURCE /* posix_memalign, madvise */
#endif
#include "arena.h"

#include <stdlib.h>
#include <string.h>

#if defined(__linux__)
#include <sys/mman.h>
#endif
#if defined(_WIN32)
#include <malloc.h>
#endif

#define HUGE_PAGE ((size_t)2 << 20)

/* Under AddressSanitizer, bytes that nobody may touch follow each buffer; otherwise it would take
 * an overrun into the next buffer for a good access. */
#if defined(__has_feature) /* clang, and gcc from version 14 */
#if __has_feature(address_sanitizer)
#define HAS_ASAN
#endif
#elif defined(__SANITIZE_ADDRESS__)
#define HAS_ASAN
#endif
#if defined(HAS_ASAN)
#include <sanitizer/asan_interface.h>
enum { RED_ZONE = FBP_CACHE_LINE };
#define FORBID(at, bytes) ASAN_POISON_MEMORY_REGION(at, bytes)
#define ALLOW(at, bytes) ASAN_UNPOISON_MEMORY_REGION(at, bytes)
#else
enum { RED_ZONE = 0 };
#define FORBID(at, bytes) ((void)(at), (void)(bytes))
#define ALLOW(at, bytes) ((void)(at), (void)(bytes))
#endif

void *fbp_arena_take(fbp_arena_t *arena, size_t count, size_t elem_size) {
    size_t wanted, bytes, end;
    if (!fbp_size_mul(count, elem_size, &wanted) ||
        !fbp_size_add(wanted, FBP_CACHE_LINE - 1 + RED_ZONE, &bytes)) {
        arena->overflow = true;
        return NULL;
    }
    bytes &= ~(size_t)(FBP_CACHE_LINE - 1);
    if (!fbp_size_add(arena->used, bytes, &end) || (arena->base != NULL && end > arena->size)) {
        arena->overflow = true;
        return NULL;
    }
    unsigned char *taken = arena->base != NULL ? arena->base + arena->used : NULL;
    if (taken != NULL) FORBID(taken + wanted, bytes - wanted);
    arena->used = end;
    return taken;
}

bool fbp_arena_commit(fbp_arena_t *arena) {
    if (arena->overflow) return false;
    const bool huge = arena->used >= 2 * HUGE_PAGE;
    const size_t align = huge ? HUGE_PAGE : FBP_CACHE_LINE;
    size_t bytes;
    if (!fbp_size_add(arena->used, align - 1, &bytes)) return false;
    bytes &= ~(align - 1);
    void *memory = NULL;
#if defined(_WIN32)
    memory = _aligned_malloc(bytes, align);
#else
    if (posix_memalign(&memory, align, bytes) != 0) memory = NULL;
#endif
    if (memory == NULL) return false;
#if defined(__linux__) && defined(MADV_HUGEPAGE)
    if (huge) (void)madvise(memory, bytes, MADV_HUGEPAGE);
#endif
    memset(memory, 0, bytes);
    arena->base = memory;
    arena->size = arena->used;
    arena->used = 0;
    return true;
}

bool fbp_arena_count(fbp_arena_t *arena) {
    arena->borrows = true;
    arena->size = arena->used;
    arena->used = 0;
    return !arena->overflow;
}

void fbp_arena_lend(fbp_arena_t *arena, void *memory, bool zeros) {
    ALLOW(memory, arena->size);
    if (zeros) memset(memory, 0, arena->size);
    arena->base = memory;
    arena->used = 0;
}

void fbp_arena_free(fbp_arena_t *arena) {
    if (arena->borrows) arena->base = NULL;
#if defined(_WIN32)
    _aligned_free(arena->base);
#else
    free(arena->base);
#endif
    *arena = (fbp_arena_t){0};
}
