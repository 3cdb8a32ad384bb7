/* activations.h: the properties of activations that the engine needs, from the rows of lists.h.
 * Softmax has no row there: its σ' is computed from a, and its σ'' is not 0. A formula has none
 * either: its programs compute from z, and its σ'' may be anything. */
#ifndef FASTBP_ACTIVATIONS_H
#define FASTBP_ACTIVATIONS_H

#include "../base/common.h"
#include "../fastbp.h"

enum { FBP_BY_A, FBP_BY_Z };
enum { FBP_BENDS, FBP_STRAIGHT };

/* Whether σ' is computed from z, which training then keeps, and not from a. */
FBP_INLINE bool fbp_act_by_z(int act) {
    switch (act) {
#define CASE(CODE, name, slope, curve, of_alpha, fused)                                            \
    case FASTBP_ACT_##CODE: return FBP_BY_##slope == FBP_BY_Z;
        FASTBP_ACTIVATIONS(CASE)
#undef CASE
    default: return act == FASTBP_ACT_FORMULA;
    }
}

/* Whether σ'' is 0 everywhere except at kinks; act_curve then does nothing. */
FBP_INLINE bool fbp_act_is_straight(int act) {
    switch (act) {
#define CASE(CODE, name, slope, curve, of_alpha, fused)                                            \
    case FASTBP_ACT_##CODE: return FBP_##curve == FBP_STRAIGHT;
        FASTBP_ACTIVATIONS(CASE)
#undef CASE
    default: return false;
    }
}

/* Whether this alpha is valid for the activation. */
FBP_INLINE bool fbp_act_takes(int act, double value) {
    switch (act) {
#define FBP_NO_ALPHA true
#define FBP_ALPHA_FROM_0 value >= 0
#define FBP_ALPHA_ABOVE_0 value > 0
#define CASE(CODE, name, slope, curve, of_alpha, fused)                                            \
    case FASTBP_ACT_##CODE: return FBP_##of_alpha;
        FASTBP_ACTIVATIONS(CASE)
#undef CASE
#undef FBP_NO_ALPHA
#undef FBP_ALPHA_FROM_0
#undef FBP_ALPHA_ABOVE_0
    default: return act == FASTBP_ACT_SOFTMAX || act == FASTBP_ACT_FORMULA;
    }
}

/* The epilogues of a product (fbp_epi_t) that are cheap enough to run on its accumulators, as the
 * column `fused` of lists.h says; the others run over the stored tile, in L1. X(epi, act) for each
 * of an activation, and a code for `switch`. */
#define FBP_EPI_CODE(epi, act) ((epi) * FASTBP_ACT_COUNT + (act))
#define FBP_FUSED_NONE(X, act)
#define FBP_FUSED_SLOPE(X, act) X(FBP_EPI_BACKWARD, act)
#define FBP_FUSED_BOTH(X, act) X(FBP_EPI_FORWARD, act) X(FBP_EPI_BACKWARD, act)

#endif
