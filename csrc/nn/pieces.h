/* pieces.h: theta cut into small pieces, runs of which belong to the ranks of a session with parts.
 * A rank adds up the sums of the gradient of its run along the tree of the parts, and updates it.
 * The cut depends on the network alone, and so do norms, which are sums over pieces. */
#ifndef FASTBP_NN_PIECES_H
#define FASTBP_NN_PIECES_H

#include "../base/arena.h"
#include "clip.h"
#include "parts.h"
#include "update.h"

/* Whole rows of a W, or vectors of a layer. Pieces follow one another as in theta. */
typedef struct {
    size_t offset;
    ptrdiff_t count;
    int layer, part;
} fbp_piece_t;

typedef struct {
    fbp_piece_t *piece;
    ptrdiff_t n;
    ptrdiff_t *first;         /* of each rank, and n */
    double *square;           /* Σ g² of each, for clipping by norms */
    ptrdiff_t own_first, own; /* pieces of this rank */
    size_t begin, elems;      /* their place in theta */
} fbp_pieces_t;

void fbp_pieces_carve(fbp_pieces_t *pieces, const fastbp_net_t *net, int n_ranks,
                      fbp_arena_t *arena);

/* At least the elements that any rank can get. */
size_t fbp_pieces_most(const fastbp_net_t *net, int n_ranks);

/* Cuts theta and shares the pieces out. */
void fbp_pieces_cut(fbp_pieces_t *pieces, const fastbp_net_t *net, int rank, int n_ranks);

/* The place in theta where the pieces of a rank begin; that of n_ranks is the end. */
size_t fbp_pieces_begin(const fbp_pieces_t *pieces, const fastbp_net_t *net, int rank);

/* What an update of pieces needs. sums[i] are those of portion->node[i], from pieces->begin on. */
typedef struct {
    const fastbp_net_t *net;
    fbp_pieces_t *pieces;
    const fbp_portion_t *portion;
    void *const *sums;
    const fbp_update_t *update;
    const fastbp_optimizer_t *optimizer;
    fbp_clipping_t *clipping; /* by norms, when the squares of all pieces are known; or NULL */
    double grad_scale;
    void *theta;
} fbp_shares_t;

/* One task: pieces i … end − 1 of this rank. Adds up the sums of the nodes, in sums[0]. */
void fbp_share_add(const fbp_shares_t *shares, ptrdiff_t i, ptrdiff_t end);

/* Turns sums[0] into the gradient, and computes the squares of the pieces. */
void fbp_share_close(const fbp_shares_t *shares, ptrdiff_t i, ptrdiff_t end);

/* The step, from the sums or, with clipping, from the gradient. */
void fbp_share_update(const fbp_shares_t *shares, ptrdiff_t i, ptrdiff_t end);

/* The factors of clipping by norms, from the squares of all pieces. */
fbp_clipping_t fbp_clipping_of_pieces(const fastbp_net_t *net, const fastbp_optimizer_t *optimizer,
                                      const fbp_pieces_t *pieces);

#endif
