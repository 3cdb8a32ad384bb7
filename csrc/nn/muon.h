/* muon.h: makes the directions of all W orthogonal, for a step of Muon (Jordan et al., 2024,
 * kellerjordan.github.io/posts/muon): X ← X/‖X‖, then some iterations of Newton and Schulz,
 *   G = XᵀX,  P = c₁ I + c₃ G + c₅ G²,  X ← X P
 * where X is W's direction, or its transpose if that has more rows. The work is phases of tasks,
 * with a barrier after each phase. Each element is computed by one task in a fixed order, so the
 * bits do not depend on which worker runs it. */
#ifndef FASTBP_NN_MUON_H
#define FASTBP_NN_MUON_H

#include "../base/arena.h"
#include "net.h"

typedef struct {
    ptrdiff_t rows, cols; /* of X: rows >= cols */
    bool turned;          /* X is transposed */
    void *x[2];           /* X[rows, cols] in turn; x[1] is W's part of `direction` */
    void *gram, *poly;    /* [cols, cols] */
    const void **row[2];  /* the rows of x[0] and x[1] */
    const void **of_gram; /* the rows of G */
    double *square;       /* Σ of each strip of rows of W */
} fbp_matrix_t;

typedef struct {
    const fastbp_net_t *net;
    fbp_matrix_t *matrix; /* of each layer */
    void *direction;      /* laid out as theta; only W is used */
    void *other;          /* the same, for X in turn */
} fbp_muon_t;

/* Hands out its buffers. */
void fbp_muon_carve(fbp_muon_t *muon, const fastbp_net_t *net, fbp_arena_t *arena);

/* The number of phases for so many iterations, and of tasks in one of them; and one task. pack: for
 * fbp_gemm_t.pack. */
int fbp_muon_phases(int iterations);
ptrdiff_t fbp_muon_tasks(const fbp_muon_t *muon, int phase, int iterations);
void fbp_muon_task(const fbp_muon_t *muon, int phase, ptrdiff_t task,
                   const fastbp_optimizer_t *optimizer, void *pack);

/* After so many iterations: where the orthogonal direction of W of layer[i] is, in a vector that is
 * laid out as theta. */
const void *fbp_muon_result(const fbp_muon_t *muon, int i, int iterations);

#endif
