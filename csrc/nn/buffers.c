/* buffers.c: see buffers.h. */
#include "buffers.h"

/* The leading dimension of rows of `width` elements: an odd number of cache lines, so that the same
 * column of successive rows is in different sets of L1. */
static ptrdiff_t row_stride(ptrdiff_t width, size_t elem_size) {
    const ptrdiff_t per_line = FBP_CACHE_LINE / (ptrdiff_t)elem_size;
    return (fbp_ceil_div(width, per_line) | 1) * per_line;
}

void fbp_take_rows(const fastbp_net_t *net, fbp_arena_t *arena, fbp_rows_t *rows,
                   ptrdiff_t capacity, ptrdiff_t width) {
    const size_t elem_size = net->kernels->elem_size, count = (size_t)capacity;
    rows->ld = row_stride(width, elem_size);
    size_t row_bytes = 0;
    if (!fbp_size_mul((size_t)rows->ld, elem_size, &row_bytes)) arena->overflow = true;
    rows->at = fbp_arena_take(arena, count, row_bytes);
    rows->row = fbp_arena_take(arena, count, sizeof *rows->row);
    if (rows->at == NULL) return;
    for (size_t i = 0; i < count; ++i)
        rows->row[i] = (const unsigned char *)rows->at + i * row_bytes;
}

void *fbp_take_panels(const fastbp_net_t *net, fbp_arena_t *arena, ptrdiff_t across,
                      ptrdiff_t depth) {
    const ptrdiff_t padded = fbp_round_up(across, net->kernels->panel_cols);
    size_t elements;
    if (!fbp_size_mul((size_t)padded, (size_t)depth, &elements)) arena->overflow = true;
    return arena->overflow ? NULL : fbp_arena_take(arena, elements, net->kernels->elem_size);
}
