/* share.c: see share.h. */
#include "share.h"

#include <string.h>

void fbp_share_batch(const fastbp_fit_t *fit, ptrdiff_t step, fbp_batch_t *batch) {
    const fbp_portion_t *portion = &fit->parts.portion[step % 2];
    batch->portion = portion;
    batch->rows = portion->rows;
    batch->whole_rows = fit->parts.apart ? 0 : portion->whole;
    batch->offset = portion->offset;
    batch->first = true;
    batch->from = 0;
    batch->segments = NULL;
}

fbp_batch_t fbp_node_batch(const fbp_batch_t *batch, ptrdiff_t node, fbp_segments_t *segments) {
    const fbp_portion_t *portion = batch->portion;
    const fbp_node_t *own = &portion->node[portion->first_node + node];
    fbp_batch_t of_node = *batch;
    *segments = (fbp_segments_t){own->n, portion->segment_rows + own->segment,
                                 portion->pops + own->segment};
    of_node.from = own->from;
    of_node.rows = own->rows;
    of_node.segments = segments;
    return of_node;
}

/* ---- books ---- */

/* Books on a stack: those of a part or a node, after the `pops` latest ones were added to them. */
static void push(fbp_books_t *stack, int *depth, int pops, fbp_books_t books) {
    for (; pops > 0; --pops) {
        const fbp_books_t below = stack[--*depth];
        books = (fbp_books_t){below.weight + books.weight, below.losses + books.losses};
    }
    stack[(*depth)++] = books;
}

static fbp_books_t node_books(const fbp_batch_t *batch, ptrdiff_t node) {
    fbp_segments_t segments;
    fbp_batch_t rows = fbp_node_batch(batch, node, &segments);
    fbp_books_t stack[FBP_TREE_DEPTH];
    int depth = 0;
    for (ptrdiff_t i = 0; i < segments.n; ++i) {
        rows.rows = segments.rows[i];
        const fbp_books_t own = {fbp_weight_sum(&rows), fbp_loss_sum(&rows)};
        push(stack, &depth, segments.pops[i], own);
        rows.from += rows.rows;
    }
    return stack[0];
}

static const double *head_of(const fastbp_fit_t *fit, int rank) {
    return fit->share.heads + rank * fit->share.head_size;
}

fbp_books_t fbp_share_books(const fastbp_fit_t *fit, const fbp_batch_t *batch) {
    const fbp_portion_t *portion = batch->portion;
    fbp_books_t stack[FBP_TREE_DEPTH] = {{0, 0}};
    int depth = 0;
    if (!fit->shared) return portion->own_nodes > 0 ? node_books(batch, 0) : stack[0];
    for (ptrdiff_t i = 0; i < portion->n_nodes; ++i) {
        const fbp_node_t *node = &portion->node[i];
        const double *head = head_of(fit, node->rank) + 1 + 2 * node->slot;
        push(stack, &depth, node->pops, (fbp_books_t){head[0], head[1]});
    }
    return stack[0];
}

void fbp_share_head(fastbp_fit_t *fit, const fbp_batch_t *batch, unsigned flags) {
    const fbp_portion_t *portion = batch->portion;
    double *head = fit->share.head;
    memset(head, 0, (size_t)fit->share.head_size * sizeof *head);
    head[0] = flags;
    for (ptrdiff_t i = 0; flags == 0 && !fit->parts.apart && i < portion->own_nodes; ++i) {
        const fbp_books_t books = node_books(batch, i);
        double *at = head + 1 + 2 * portion->node[portion->first_node + i].slot;
        at[0] = books.weight;
        at[1] = books.losses;
    }
}

unsigned fbp_share_flags(const fastbp_fit_t *fit) {
    unsigned flags = 0;
    for (int rank = 0; rank < fit->parts.options.n_ranks; ++rank)
        flags |= (unsigned)head_of(fit, rank)[0];
    return flags;
}

/* ---- sums ---- */

void fbp_share_tile(const fastbp_fit_t *fit, const fbp_batch_t *batch, const fbp_scratch_t *scratch,
                    const fbp_tile_t *tile, void *sums) {
    const fbp_portion_t *portion = batch->portion;
    const fastbp_net_t *net = fit->plan.net;
    for (ptrdiff_t i = 0; i < portion->own_nodes; ++i) {
        fbp_segments_t segments;
        const fbp_batch_t rows = fbp_node_batch(batch, i, &segments);
        const int slot = portion->node[portion->first_node + i].slot;
        fbp_gather_tile(&rows, scratch, tile, true,
                        fbp_at(net, sums, (size_t)slot * net->n_params));
    }
}

void fbp_share_places(const fastbp_fit_t *fit, const fbp_batch_t *batch, void *sums, void **at) {
    const fbp_portion_t *portion = batch->portion;
    const fastbp_net_t *net = fit->plan.net;
    size_t before = 0; /* slots of earlier ranks */
    int rank = 0;
    for (ptrdiff_t i = 0; i < portion->n_nodes; ++i) {
        const fbp_node_t *node = &portion->node[i];
        for (; rank < node->rank; ++rank) before += (size_t)fit->share.rank_slots[rank];
        const size_t slot = before + (size_t)node->slot;
        const bool own = node->rank == fit->parts.options.rank; /* these are not sent */
        at[i] = own ? fbp_at(net, sums, (size_t)node->slot * net->n_params + fit->pieces.begin)
                    : fbp_at(net, fit->share.received, slot * fit->pieces.elems);
    }
}
