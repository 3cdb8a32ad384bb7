/* share.h: what the steps of a session with parts do besides those of others: the books of its
 * parts, sums in memory that are exchanged with the other ranks, and the update of its pieces. */
#ifndef FASTBP_NN_SHARE_H
#define FASTBP_NN_SHARE_H

#include "../threads/team.h"
#include "session.h"

/* Flags that sessions themselves raise, besides those of the caller. */
#define FBP_FLAG_FAILED 0x80000000U   /* the loss of the caller has failed on a rank */
#define FBP_FLAG_DIVERGED 0x40000000U /* J of a rank is not finite; only with sync_every */

/* Describes the batch of a step, whose portion has been found. */
void fbp_share_batch(const fastbp_fit_t *fit, ptrdiff_t step, fbp_batch_t *batch);

/* The rows of one of the session's nodes, with their segments. */
fbp_batch_t fbp_node_batch(const fbp_batch_t *batch, ptrdiff_t node, fbp_segments_t *segments);

/* Σ s_i and Σ s_i J_i over the batch: of this rank, by node, along the tree of its parts; and of
 * all ranks, from their heads. A rank that trains by itself has one node, or none without rows. */
typedef struct {
    double weight, losses;
} fbp_books_t;

fbp_books_t fbp_share_books(const fastbp_fit_t *fit, const fbp_batch_t *batch);

/* Writes this rank's head. */
void fbp_share_head(fastbp_fit_t *fit, const fbp_batch_t *batch, unsigned flags);

/* The flags of all ranks together. */
unsigned fbp_share_flags(const fastbp_fit_t *fit);

/* One task: the sums of a tile for each of the session's nodes, written to its vectors of sums. */
void fbp_share_tile(const fastbp_fit_t *fit, const fbp_batch_t *batch, const fbp_scratch_t *scratch,
                    const fbp_tile_t *tile, void *sums);

/* Where the sums of each node are, from the session's first piece on, into at[n_nodes]. */
void fbp_share_places(const fastbp_fit_t *fit, const fbp_batch_t *batch, void *sums, void **at);

#endif
