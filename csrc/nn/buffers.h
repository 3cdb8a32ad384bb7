/* buffers.h: matrices and panels carved from an arena.
 *
 * Rows are an odd number of cache lines apart, so that a column of any width uses all sets of L1.
 * With a stride of 4 KiB, it would use one. */
#ifndef FASTBP_NN_BUFFERS_H
#define FASTBP_NN_BUFFERS_H

#include "../base/arena.h"
#include "net.h"

/* A matrix of `capacity` rows, and pointers to its rows. */
typedef struct {
    void *at; /* NULL if there is no such buffer */
    ptrdiff_t ld;
    const void **row;
} fbp_rows_t;

/* Room for capacity × width elements. */
void fbp_take_rows(const fastbp_net_t *net, fbp_arena_t *arena, fbp_rows_t *rows,
                   ptrdiff_t capacity, ptrdiff_t width);

/* Room for a matrix of `across` columns in panels of `depth` rows. */
void *fbp_take_panels(const fastbp_net_t *net, fbp_arena_t *arena, ptrdiff_t across,
                      ptrdiff_t depth);

/* The number of outputs of layer l = 0 … L. */
FBP_INLINE ptrdiff_t fbp_width(const fastbp_net_t *net, int l) {
    return l == 0 ? net->layer[0].n_in : net->layer[l - 1].n_out;
}

#endif
