/* group.h: sessions side by side, one in each lane of the vectors: their parameters, rows and δ as
 * interleaved matrices. */
#ifndef FASTBP_NN_GROUP_H
#define FASTBP_NN_GROUP_H

#include "step.h"

/* An interleaved matrix with a row for each row of a batch. ld counts vectors. */
typedef struct {
    void *at;
    ptrdiff_t ld;
} fbp_side_rows_t;

/* One session of a group. */
typedef struct {
    fastbp_turn_t *turn;
    fastbp_fit_t *fit;
    fbp_slice_t slice;
    fbp_batch_t batch;
    fastbp_optimizer_t now; /* with the rates of this step */
    uint64_t t;
    double weight, J; /* of this step */
    double l1, l2;
    bool active; /* it goes on: it has not diverged */
    bool steps;  /* … and this batch has weights other than 0 */
    double begun;
} fbp_member_t;

/* The sessions of a group, and its buffers. */
typedef struct {
    const fastbp_net_t *net; /* of the first session; the others have the same shape */
    int n, lanes;
    ptrdiff_t capacity;
    double begin;
    fbp_member_t *member; /* one per lane; those after the n-th have the parameters of the first,
                             and are not active */
    void *theta, *moment[FASTBP_MOMENTS], *average; /* interleaved; NULL if there is none */
    fbp_side_rows_t *a, *z,
        *delta; /* by layer; a[l] has one more unit, which is 1, before layer l + 1 */
    fbp_side_rows_t y;
    void *scale, *sums;
    fbp_update_t *update; /* one per lane */
    double *loss;         /* for the lanes without a session: losses of the rows */
    void **idle;          /* … and for each row a place for its outputs */
    bool terms;           /* the loss has a kernel for the group */
} fbp_group_t;

/* The memory that a group of the sessions of these turns needs; SIZE_MAX if it does not fit. */
size_t fbp_group_bytes(fastbp_turn_t *const *turn, int n);

/* Opens a group in such memory: at most as many sessions as there are lanes, which may be in the
 * same group. begin: when the run began; scratch: that of the worker. */
fbp_group_t fbp_group_open(fastbp_turn_t *const *turn, int n, double begin, void *memory,
                           void *scratch);

/* Begins an epoch of a session, or goes on with one. */
void fbp_begin_epoch(const fbp_group_t *group, fbp_member_t *member);

bool fbp_any_active(const fbp_group_t *group);

/* Copies the parameters and moments of lane q to its session, or back; and all that are active, to
 * their sessions. */
void fbp_copy_lane(const fbp_group_t *group, int q, bool back);
void fbp_leave_lanes(const fbp_group_t *group);

FBP_INLINE size_t fbp_side_bytes(const fastbp_net_t *net) {
    return (size_t)net->kernels->lanes * net->kernels->elem_size;
}

FBP_INLINE void *fbp_side_row(const fbp_group_t *group, const fbp_side_rows_t *rows,
                              ptrdiff_t row) {
    return (unsigned char *)rows->at + (size_t)(row * rows->ld) * fbp_side_bytes(group->net);
}

#endif
