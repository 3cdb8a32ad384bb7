/* parts.h: a data set in parts, for sums that do not depend on who has which part.
 *
 * Every batch takes its share of each part. Up to sample T of an epoch or block, part p of P has
 * given ⌊(T·n_p + o_p)/n⌋ of its n_p samples, where n = Σ n_p and o_p = ⌊n·r_p/P⌋, r_p being the
 * bits of p in reverse. If all parts have the same size, a batch has exactly its size; otherwise it
 * may have up to P samples more or less. */
#ifndef FASTBP_NN_PARTS_H
#define FASTBP_NN_PARTS_H

#include "../base/tree.h"
#include "batch.h"

/* A whole subtree of the parts of one rank that has rows in the batch. */
typedef struct {
    int rank, slot;       /* slot: which of the largest subtrees among the parts of its rank */
    int pops;             /* of the tree over the nodes of all ranks */
    ptrdiff_t start;      /* its first part with rows */
    ptrdiff_t from, rows; /* of this session's nodes: its rows of the batch */
    ptrdiff_t segment, n; /* … and its segments */
} fbp_node_t;

/* What the parts give to one batch. */
typedef struct fbp_portion {
    ptrdiff_t at;     /* its first place in the order of the session's rows */
    ptrdiff_t rows;   /* of this session */
    ptrdiff_t whole;  /* of all sessions */
    ptrdiff_t offset; /* of the parts before those of this session */
    ptrdiff_t *segment_rows;
    int *pops;
    fbp_node_t *node; /* of all ranks, parts ascending */
    ptrdiff_t n_nodes, first_node, own_nodes;
} fbp_portion_t;

typedef struct {
    fastbp_parts_t options;
    ptrdiff_t first, own; /* the parts of this session */
    int slots;            /* the largest subtrees among them */
    int most_slots;       /* … of any rank */
    bool apart;           /* each rank trains by itself between two averages */
    ptrdiff_t group;      /* rows of a sample */
    ptrdiff_t samples;    /* of all parts */
    ptrdiff_t *size;      /* samples of each part */
    uint32_t *shuffled;   /* the samples of the session's parts, each in its order, as rows */
    /* Of the batch of step i: portion[i % 2], because worker 0 finds the next one while others
     * still use this one. */
    fbp_portion_t portion[2];
} fbp_parts_t;

/* Whether the options are valid, and whether data are those of such parts. */
bool fbp_parts_valid(const fastbp_parts_t *options);
bool fbp_parts_fit(const fastbp_net_t *net, const fastbp_parts_t *options,
                   const fastbp_data_t *data);

/* Sets what follows from the options, and hands out the buffers. */
void fbp_parts_init(fbp_parts_t *parts, const fastbp_net_t *net, const fastbp_parts_t *options);
void fbp_parts_carve(fbp_parts_t *parts, fbp_arena_t *arena, ptrdiff_t capacity);

/* The parts of a rank: rank·n / n_ranks … (rank + 1)·n / n_ranks − 1. */
ptrdiff_t fbp_parts_begin(const fastbp_parts_t *options, int rank);

/* How many of the largest subtrees lie in a rank's parts. */
int fbp_parts_slots(const fastbp_parts_t *options, int rank);

void fbp_parts_bind(fbp_parts_t *parts, const ptrdiff_t *part_rows);

/* The most rows of a session in a batch of data that fit. */
ptrdiff_t fbp_parts_capacity(const fastbp_net_t *net, const fastbp_parts_t *options,
                             const fastbp_data_t *data, ptrdiff_t batch_size);

/* Writes the rows of this session in the order in which the batches take them. */
void fbp_parts_order(const fbp_parts_t *parts, const fastbp_net_t *net, bool shuffle, uint64_t seed,
                     ptrdiff_t epoch, ptrdiff_t block, ptrdiff_t batch_size, uint32_t *order);

/* Finds the portions of the batch of a step, which begins with row `first` of the epoch or block,
 * counted over all parts. */
void fbp_parts_locate(fbp_parts_t *parts, ptrdiff_t step, ptrdiff_t first, ptrdiff_t batch_size);

#endif
