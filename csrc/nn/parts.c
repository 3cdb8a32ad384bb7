/* parts.c: see parts.h. */
#include "parts.h"

bool fbp_parts_valid(const fastbp_parts_t *options) {
    const ptrdiff_t n = options->n;
    return n >= 1 && n <= FBP_TREE_PARTS && (n & (n - 1)) == 0 && options->n_ranks >= 1 &&
           options->n_ranks <= n && options->rank >= 0 && options->rank < options->n_ranks &&
           options->sync_every >= 0 && (options->n_ranks == 1 || options->exchange != NULL);
}

/* T·n_p must fit into 63 bits for every T up to n, with o_p < n added to it. */
bool fbp_parts_fit(const fastbp_net_t *net, const fastbp_parts_t *options,
                   const fastbp_data_t *data) {
    const ptrdiff_t begin = fbp_parts_begin(options, options->rank);
    const ptrdiff_t end = fbp_parts_begin(options, options->rank + 1);
    const ptrdiff_t group = net->loss.group;
    ptrdiff_t total = 0, own = 0, largest = 0;
    if (data->part_rows == NULL || data->chosen != NULL) return false;
    for (ptrdiff_t p = 0; p < options->n; ++p) {
        const ptrdiff_t rows = data->part_rows[p];
        if (rows < 0 || rows % group != 0 || rows > PTRDIFF_MAX - total) return false;
        total += rows;
        largest = fbp_max(largest, rows);
        if (p >= begin && p < end) own += rows;
    }
    return own == data->rows && total >= 1 && largest <= (PTRDIFF_MAX - total) / total;
}

ptrdiff_t fbp_parts_begin(const fastbp_parts_t *options, int rank) {
    return (ptrdiff_t)rank * options->n / options->n_ranks;
}

/* The end of the largest subtree that begins with part p and ends before `end`. */
static ptrdiff_t subtree_end(ptrdiff_t p, ptrdiff_t end) {
    ptrdiff_t size = 1;
    while (p % (2 * size) == 0 && p + 2 * size <= end) size *= 2;
    return p + size;
}

int fbp_parts_slots(const fastbp_parts_t *options, int rank) {
    const ptrdiff_t end = fbp_parts_begin(options, rank + 1);
    int slots = 0;
    for (ptrdiff_t p = fbp_parts_begin(options, rank); p < end; p = subtree_end(p, end)) ++slots;
    return slots;
}

void fbp_parts_init(fbp_parts_t *parts, const fastbp_net_t *net, const fastbp_parts_t *options) {
    *parts = (fbp_parts_t){.options = *options, .group = net->loss.group};
    parts->first = fbp_parts_begin(options, options->rank);
    parts->own = fbp_parts_begin(options, options->rank + 1) - parts->first;
    parts->apart = options->sync_every > 0;
    parts->slots = parts->apart ? 1 : fbp_parts_slots(options, options->rank);
    for (int rank = 0; rank < options->n_ranks; ++rank)
        parts->most_slots = (int)fbp_max(parts->most_slots, fbp_parts_slots(options, rank));
}

void fbp_parts_carve(fbp_parts_t *parts, fbp_arena_t *arena, ptrdiff_t capacity) {
    const size_t n = (size_t)parts->options.n;
    parts->size = fbp_arena_take(arena, n, sizeof *parts->size);
    for (int i = 0; i < 2; ++i) {
        fbp_portion_t *portion = &parts->portion[i];
        portion->segment_rows = fbp_arena_take(arena, n, sizeof *portion->segment_rows);
        portion->pops = fbp_arena_take(arena, n, sizeof *portion->pops);
        portion->node = fbp_arena_take(arena, n, sizeof *portion->node);
    }
    parts->shuffled = fbp_arena_take(arena, (size_t)capacity, sizeof *parts->shuffled);
}

void fbp_parts_bind(fbp_parts_t *parts, const ptrdiff_t *part_rows) {
    parts->samples = 0;
    for (ptrdiff_t p = 0; p < parts->options.n; ++p) {
        parts->size[p] = part_rows[p] / parts->group;
        parts->samples += parts->size[p];
    }
}

/* The bits of p in reverse, of log₂ n bits. */
static ptrdiff_t reversed(ptrdiff_t p, ptrdiff_t n) {
    ptrdiff_t r = 0;
    for (; n > 1; n /= 2, p /= 2) r = 2 * r + p % 2;
    return r;
}

/* How many samples part p has given up to sample T. */
static ptrdiff_t given(const fbp_parts_t *parts, ptrdiff_t p, ptrdiff_t T) {
    const ptrdiff_t n = parts->samples, all = parts->options.n, r = reversed(p, all);
    const ptrdiff_t offset = n / all * r + n % all * r / all;
    return (T * parts->size[p] + offset) / n;
}

ptrdiff_t fbp_parts_capacity(const fastbp_net_t *net, const fastbp_parts_t *options,
                             const fastbp_data_t *data, ptrdiff_t batch_size) {
    const ptrdiff_t group = net->loss.group;
    ptrdiff_t samples = 0, most = 0;
    for (ptrdiff_t p = 0; p < options->n; ++p) samples += data->part_rows[p] / group;
    const ptrdiff_t batch = fbp_min(batch_size / group, samples);
    for (ptrdiff_t p = fbp_parts_begin(options, options->rank);
         p < fbp_parts_begin(options, options->rank + 1); ++p) {
        const ptrdiff_t size = data->part_rows[p] / group;
        most += fbp_min(size, batch * size / samples + 1);
    }
    return fbp_max(group, most * group);
}

void fbp_parts_order(const fbp_parts_t *parts, const fastbp_net_t *net, bool shuffle, uint64_t seed,
                     ptrdiff_t epoch, ptrdiff_t block, ptrdiff_t batch_size, uint32_t *order) {
    const ptrdiff_t end = parts->first + parts->own, group = parts->group;
    const ptrdiff_t batch = batch_size / group;
    ptrdiff_t begin = 0; /* of a part, in rows */
    for (ptrdiff_t p = parts->first; p < end; ++p) {
        const ptrdiff_t rows = parts->size[p] * group;
        uint32_t *own = parts->shuffled + begin;
        for (ptrdiff_t i = 0; i < rows; ++i) own[i] = (uint32_t)i;
        if (shuffle && rows > 0)
            fbp_shuffle(net, own, rows, seed, epoch, block * parts->options.n + p);
        for (ptrdiff_t i = 0; i < rows; ++i) own[i] += (uint32_t)begin;
        begin += rows;
    }
    ptrdiff_t at = 0;
    for (ptrdiff_t T = 0; T < parts->samples; T += batch) {
        const ptrdiff_t next = fbp_min(T + batch, parts->samples);
        begin = 0;
        for (ptrdiff_t p = parts->first; p < end; ++p) {
            const ptrdiff_t from = given(parts, p, T) * group, to = given(parts, p, next) * group;
            for (ptrdiff_t i = from; i < to; ++i) order[at++] = parts->shuffled[begin + i];
            begin += parts->size[p] * group;
        }
    }
}

/* The first part from p on that has rows in the batch from sample T to `next`, or `end`. */
static ptrdiff_t next_part(const fbp_parts_t *parts, ptrdiff_t p, ptrdiff_t end, ptrdiff_t T,
                           ptrdiff_t next) {
    while (p < end && given(parts, p, next) == given(parts, p, T)) ++p;
    return p;
}

/* Lists the nodes of a rank. For the session's own rank it lists the segments, too. */
static void list_nodes(const fbp_parts_t *parts, fbp_portion_t *portion, int rank, ptrdiff_t T,
                       ptrdiff_t next) {
    const bool own = rank == parts->options.rank, apart = parts->apart;
    const ptrdiff_t begin = fbp_parts_begin(&parts->options, rank);
    const ptrdiff_t end = fbp_parts_begin(&parts->options, rank + 1);
    const ptrdiff_t from = portion->n_nodes;
    fbp_tree_t tree = {.depth = 0};
    ptrdiff_t row = 0, segment = 0, slot_end = begin;
    int slot = -1;
    for (ptrdiff_t p = next_part(parts, begin, end, T, next); p < end;) {
        const ptrdiff_t after = next_part(parts, p + 1, end, T, next);
        const ptrdiff_t rows = (given(parts, p, next) - given(parts, p, T)) * parts->group;
        const bool last = apart && after == end;
        const int pops = fbp_tree_add(&tree, p, last ? parts->options.n : after, apart ? 0 : begin);
        for (; slot_end <= p; ++slot) slot_end = subtree_end(slot_end, end);
        if (own) {
            portion->segment_rows[segment] = rows;
            portion->pops[segment] = pops;
        }
        fbp_node_t node = {.rank = rank,
                           .slot = apart ? 0 : slot,
                           .start = p,
                           .from = row,
                           .rows = rows,
                           .segment = segment,
                           .n = 1};
        for (int i = 0; i < pops; ++i) { /* the node grows to the left */
            const fbp_node_t *below = &portion->node[--portion->n_nodes];
            node.start = below->start;
            node.from = below->from;
            node.rows += below->rows;
            node.segment = below->segment;
            node.n += below->n;
        }
        portion->node[portion->n_nodes++] = node;
        row += rows;
        segment += 1;
        p = after;
    }
    if (!own) return;
    portion->first_node = from;
    portion->own_nodes = portion->n_nodes - from;
    portion->rows = row;
}

void fbp_parts_locate(fbp_parts_t *parts, ptrdiff_t step, ptrdiff_t first, ptrdiff_t batch_size) {
    fbp_portion_t *portion = &parts->portion[step % 2];
    const ptrdiff_t T = first / parts->group;
    const ptrdiff_t next = fbp_min(T + batch_size / parts->group, parts->samples);
    const fastbp_parts_t *options = &parts->options;
    portion->n_nodes = portion->at = portion->whole = portion->offset = 0;
    for (ptrdiff_t p = 0; p < options->n; ++p) {
        const ptrdiff_t before = given(parts, p, T), rows = given(parts, p, next) - before;
        portion->whole += rows * parts->group;
        if (p < parts->first) portion->offset += rows * parts->group;
        else if (p < parts->first + parts->own) portion->at += before * parts->group;
    }
    for (int rank = 0; rank < options->n_ranks; ++rank)
        if (!parts->apart || rank == options->rank) list_nodes(parts, portion, rank, T, next);
    fbp_tree_t tree = {.depth = 0};
    for (ptrdiff_t i = 0; i < portion->n_nodes; ++i) {
        const ptrdiff_t after = i + 1 < portion->n_nodes ? portion->node[i + 1].start : options->n;
        portion->node[i].pops = fbp_tree_add(&tree, portion->node[i].start, after, 0);
    }
}
