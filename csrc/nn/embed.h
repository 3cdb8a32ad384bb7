/* embed.h: embeddings make a^0 from rows of x: periodic ones of numbers, whose gradients are here,
 * and those of categories. */
#ifndef FASTBP_NN_EMBED_H
#define FASTBP_NN_EMBED_H

#include "batch.h"

/* a^0 of the rows from plan->x_row. */
void fbp_embed_rows(const fbp_batch_t *batch, ptrdiff_t row0, ptrdiff_t rows);

/* The sums over the batch for the numbers that begin in a tile of layer 1, from plan->delta[0].
 * Sets sums[i] to those of part FBP_PART_FREQUENCIES + i, in scratch->embedding; returns how many
 * numbers there are. */
ptrdiff_t fbp_embedding_sums(const fbp_batch_t *batch, const fbp_scratch_t *scratch,
                             const fbp_tile_t *tile, void *sums[4]);

#endif
