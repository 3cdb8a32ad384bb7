/* pieces.c: see pieces.h. */
#include "pieces.h"

#include <math.h>

/* About so many pieces, so that shares differ by little, but none below a cache line. */
enum { PIECES = 2048, LEAST_ELEMS = 16 };

/* Where part `part` of layer[i] is in theta, and how many elements its rows have. */
static fbp_part_t part_of(const fastbp_net_t *net, int i, int part, ptrdiff_t *cols) {
    const fbp_layer_t *layer = &net->layer[i];
    const fbp_tile_t all = {i, 0, layer->n_in};
    const fbp_part_t at = fbp_tile_part(net, &all, part);
    *cols = part == FBP_PART_W ? layer->n_out : at.count;
    return at;
}

/* Lists the pieces; returns their number. piece and largest, the most elements of one, may be NULL.
 */
static ptrdiff_t list_pieces(const fastbp_net_t *net, fbp_piece_t *piece, ptrdiff_t *largest) {
    const ptrdiff_t most = fbp_max(LEAST_ELEMS, (ptrdiff_t)net->n_params / PIECES);
    ptrdiff_t n = 0;
    for (int i = 0; i < net->n_layers; ++i)
        for (int part = 0; part < FBP_PARTS; ++part) {
            ptrdiff_t cols;
            const fbp_part_t all = part_of(net, i, part, &cols);
            const ptrdiff_t step = cols > 0 ? fbp_max(1, most / cols) * cols : 1;
            if (largest != NULL) *largest = fbp_max(*largest, fbp_min(step, all.count));
            for (ptrdiff_t at = 0; at < all.count; at += step, ++n)
                if (piece != NULL)
                    piece[n] = (fbp_piece_t){all.offset + (size_t)at, fbp_min(step, all.count - at),
                                             i, part};
        }
    return n;
}

void fbp_pieces_carve(fbp_pieces_t *pieces, const fastbp_net_t *net, int n_ranks,
                      fbp_arena_t *arena) {
    pieces->n = list_pieces(net, NULL, NULL);
    pieces->piece = fbp_arena_take(arena, (size_t)pieces->n, sizeof *pieces->piece);
    pieces->square = fbp_arena_take(arena, (size_t)pieces->n, sizeof *pieces->square);
    pieces->first = fbp_arena_take(arena, (size_t)n_ranks + 1, sizeof *pieces->first);
}

size_t fbp_pieces_most(const fastbp_net_t *net, int n_ranks) {
    ptrdiff_t largest = 0;
    list_pieces(net, NULL, &largest);
    return net->n_params / (size_t)n_ranks + 2 * (size_t)largest;
}

void fbp_pieces_cut(fbp_pieces_t *pieces, const fastbp_net_t *net, int rank, int n_ranks) {
    list_pieces(net, pieces->piece, NULL);
    ptrdiff_t i = 0;
    for (int r = 0; r <= n_ranks; ++r) {
        const double goal = (double)net->n_params * r / n_ranks;
        while (i < pieces->n &&
               (double)pieces->piece[i].offset + (double)pieces->piece[i].count / 2 < goal)
            ++i;
        pieces->first[r] = r == n_ranks ? pieces->n : i;
    }
    pieces->own_first = pieces->first[rank];
    pieces->own = pieces->first[rank + 1] - pieces->own_first;
    pieces->begin = fbp_pieces_begin(pieces, net, rank);
    pieces->elems = fbp_pieces_begin(pieces, net, rank + 1) - pieces->begin;
}

size_t fbp_pieces_begin(const fbp_pieces_t *pieces, const fastbp_net_t *net, int rank) {
    const ptrdiff_t i = pieces->first[rank];
    return i < pieces->n ? pieces->piece[i].offset : net->n_params;
}

fastbp_status_t fastbp_shares(const fastbp_net_t *net, int n_ranks, size_t *first) {
    fbp_pieces_t pieces = {0};
    fbp_arena_t arena = {0};
    if (n_ranks < 1 || n_ranks > FASTBP_MOST_PARTS) return FASTBP_ERR_ARGUMENT;
    fbp_pieces_carve(&pieces, net, n_ranks, &arena);
    if (!fbp_arena_commit(&arena)) return FASTBP_ERR_MEMORY;
    fbp_pieces_carve(&pieces, net, n_ranks, &arena);
    fbp_pieces_cut(&pieces, net, 0, n_ranks);
    for (int rank = 0; rank <= n_ranks; ++rank) first[rank] = fbp_pieces_begin(&pieces, net, rank);
    fbp_arena_free(&arena);
    return FASTBP_OK;
}

/* ---- tasks ---- */

static void *sums_at(const fbp_shares_t *shares, ptrdiff_t node, size_t offset) {
    return fbp_at(shares->net, shares->sums[node], offset - shares->pieces->begin);
}

static const fbp_piece_t *own_piece(const fbp_shares_t *shares, ptrdiff_t i) {
    return &shares->pieces->piece[shares->pieces->own_first + i];
}

/* Pieces i … of one part of a layer as one, as far as they go before `end`; moves i behind them. */
static fbp_piece_t run_of(const fbp_shares_t *shares, ptrdiff_t *i, ptrdiff_t end) {
    fbp_piece_t run = *own_piece(shares, *i);
    for (++*i; *i < end; ++*i) {
        const fbp_piece_t *next = own_piece(shares, *i);
        if (next->layer != run.layer || next->part != run.part) break;
        run.count += next->count;
    }
    return run;
}

static void add_run(const fbp_shares_t *shares, size_t offset, ptrdiff_t count) {
    const fastbp_net_t *net = shares->net;
    const fbp_portion_t *portion = shares->portion;
    ptrdiff_t stack[FBP_TREE_DEPTH];
    int depth = 0;
    for (ptrdiff_t k = 0; k < portion->n_nodes; ++k) {
        ptrdiff_t above = k;
        for (int pops = portion->node[k].pops; pops > 0; --pops) {
            const ptrdiff_t below = stack[--depth];
            void *to = sums_at(shares, below, offset);
            const void *more = sums_at(shares, above, offset);
            const fbp_mat_t sums = {to, 1, count, count};
            net->kernels->add_rows(&sums, &more, to, count);
            above = below;
        }
        stack[depth++] = above;
    }
}

void fbp_share_add(const fbp_shares_t *shares, ptrdiff_t i, ptrdiff_t end) {
    if (i >= end) return;
    const fbp_piece_t *first = own_piece(shares, i), *last = own_piece(shares, end - 1);
    add_run(shares, first->offset, (ptrdiff_t)(last->offset - first->offset) + last->count);
}

void fbp_share_close(const fbp_shares_t *shares, ptrdiff_t i, ptrdiff_t end) {
    const fastbp_net_t *net = shares->net;
    for (; i < end; ++i) {
        const fbp_piece_t *piece = own_piece(shares, i);
        const fbp_layer_t *layer = &net->layer[piece->layer];
        const bool penal = piece->part == FBP_PART_W;
        void *at = sums_at(shares, 0, piece->offset);
        const fbp_mat_t sums = {at, 1, piece->count, piece->count};
        const fbp_update_t update = {
            .grad_scale = shares->grad_scale,
            .l1 = penal ? net->l1 : 0,
            .l2 = penal ? net->l2 : 0,
            .weights = fbp_at(net, shares->theta, piece->offset),
            .ldw = piece->count,
        };
        const ptrdiff_t cols = penal ? layer->n_out : piece->count;
        const fbp_mat_t rows = {at, piece->count / cols, cols, cols};
        net->kernels->write_gradient(&update, &sums, at, piece->count);
        shares->pieces->square[piece - shares->pieces->piece] =
            layer->frozen ? 0 : net->kernels->penalty(&rows, 0, 2);
    }
}

void fbp_share_update(const fbp_shares_t *shares, ptrdiff_t i, ptrdiff_t end) {
    const fastbp_net_t *net = shares->net;
    while (i < end) {
        const fbp_piece_t run = run_of(shares, &i, end);
        const bool penal = run.part == FBP_PART_W && shares->clipping == NULL;
        fbp_update_t update = *shares->update;
        update.l1 = penal ? net->l1 : 0;
        update.l2 = penal ? net->l2 : 0;
        update.grad_scale = shares->clipping == NULL
                                ? shares->grad_scale
                                : fbp_clip_factor(shares->clipping, run.layer, run.part);
        fbp_update_run(net, run.layer, run.part, &update, shares->optimizer,
                       sums_at(shares, 0, run.offset), shares->theta, run.offset, run.count);
    }
}

/* ---- norms ---- */

static void add_squares(const void *context, int layer, double sum[FBP_PARTS]) {
    const fbp_pieces_t *pieces = context;
    for (ptrdiff_t i = 0; i < pieces->n; ++i)
        if (pieces->piece[i].layer == layer) sum[pieces->piece[i].part] += pieces->square[i];
}

fbp_clipping_t fbp_clipping_of_pieces(const fastbp_net_t *net, const fastbp_optimizer_t *optimizer,
                                      const fbp_pieces_t *pieces) {
    fbp_clipping_t clipping = {.net = net,
                               .clip = optimizer->clip,
                               .limit = optimizer->limit,
                               .whole_factor = 1,
                               .layer = -1,
                               .add_squares = add_squares,
                               .context = pieces};
    double sum = 0;
    for (ptrdiff_t i = 0; i < pieces->n; ++i) sum += pieces->square[i];
    if (clipping.clip == FASTBP_CLIP_GLOBAL_NORM)
        clipping.whole_factor = fbp_norm_factor(clipping.limit, sum);
    return clipping;
}
