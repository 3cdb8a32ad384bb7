/* bf16_block.h: what bf16.inc asks of bf16_tiles.inc and bf16_vectors.inc:
 *   block_sums(f, sums)               the sums of one block of 32 × 32, over f->tiles tiles of k
 *   begin_products(), end_products()  begin and end of fbp_bf16_t
 *   dot_chains(), CHAIN_FLOPS         dot_chains and chain_flops of fbp_bf16_t */
#ifndef FASTBP_BF16_BLOCK_H
#define FASTBP_BF16_BLOCK_H

#include "bf16.h"

/* The parts of the factors of one block: two rows of tiles of each. */
typedef struct {
    const uint16_t *a[2], *b[2];
    ptrdiff_t tiles;
    int planes;
    ptrdiff_t rows, cols; /* of the block that are wanted, 1 … 32; the others may become anything */
    bool accumulate;      /* sums has the sum over earlier k; otherwise they begin at 0 */
} fbp_bf16_block_t;

#endif
