/* tree.h: in which order the sums of parts are added: along one binary tree over parts 0, 1, 2, …,
 * whichever of them are there. The sum of parts s … s + 2^k − 1, s a multiple of 2^k, is that of
 * the first half plus that of the second; if one half has no part, it is that of the other. So the
 * sums do not depend on who adds them up, as long as each adds up whole subtrees. */
#ifndef FASTBP_BASE_TREE_H
#define FASTBP_BASE_TREE_H

#include "common.h"

/* The most parts of a tree, and sums on a stack for it, or for a range of its parts. */
enum { FBP_TREE_PARTS = 1024, FBP_TREE_DEPTH = 20 };

/* A stack of sums: the first part of each. */
typedef struct {
    ptrdiff_t start[FBP_TREE_DEPTH];
    int depth;
} fbp_tree_t;

/* Puts the sum of the parts from `start` on on the stack. `next`: the first part that is not on it
 * and comes later. Parts before `low` are never on this stack. Returns how many sums, the latest
 * first, have to be taken off and added to this one before. */
FBP_INLINE int fbp_tree_add(fbp_tree_t *tree, ptrdiff_t start, ptrdiff_t next, ptrdiff_t low) {
    int pops = 0;
    for (; tree->depth > 0; --tree->depth, ++pops) {
        const ptrdiff_t below = tree->start[tree->depth - 1];
        ptrdiff_t size = 1; /* of the smallest subtree with both */
        while (below / size != start / size) size *= 2;
        const ptrdiff_t first = below / size * size;
        if (first < low || first + size > next) break;
        start = below;
    }
    tree->start[tree->depth++] = start;
    return pops;
}

#endif
