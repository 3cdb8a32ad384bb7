/* activations.h: the element-wise activations, X(code, name, what σ' is made from). The one place
 * that says whether a layer's z has to be kept for its δ: FBP_BY_Z where σ is not monotone, or
 * where a alone would lose the slope's digits. */
#ifndef FASTBP_ACTIVATIONS_H
#define FASTBP_ACTIVATIONS_H

#include "../base/common.h"
#include "../fastbp.h"

enum { FBP_BY_A, FBP_BY_Z };

#define FBP_ACTIVATIONS(X)                                                                         \
    X(FASTBP_ACT_IDENTITY, identity, FBP_BY_A)                                                     \
    X(FASTBP_ACT_SIGMOID, sigmoid, FBP_BY_A)                                                       \
    X(FASTBP_ACT_TANH, tanh, FBP_BY_A)                                                             \
    X(FASTBP_ACT_RELU, relu, FBP_BY_A)                                                             \
    X(FASTBP_ACT_LEAKY_RELU, leaky_relu, FBP_BY_A)                                                 \
    X(FASTBP_ACT_ELU, elu, FBP_BY_A)                                                               \
    X(FASTBP_ACT_SOFTPLUS, softplus, FBP_BY_A)                                                     \
    X(FASTBP_ACT_SELU, selu, FBP_BY_A)                                                             \
    X(FASTBP_ACT_RELU6, relu6, FBP_BY_A)                                                           \
    X(FASTBP_ACT_HARD_TANH, hard_tanh, FBP_BY_A)                                                   \
    X(FASTBP_ACT_HARD_SIGMOID, hard_sigmoid, FBP_BY_A)                                             \
    X(FASTBP_ACT_SOFTSIGN, softsign, FBP_BY_A)                                                     \
    X(FASTBP_ACT_EXP, exp, FBP_BY_A)                                                               \
    X(FASTBP_ACT_SILU, silu, FBP_BY_Z)                                                             \
    X(FASTBP_ACT_GELU, gelu, FBP_BY_Z)                                                             \
    X(FASTBP_ACT_GELU_TANH, gelu_tanh, FBP_BY_Z)                                                   \
    X(FASTBP_ACT_MISH, mish, FBP_BY_Z)                                                             \
    X(FASTBP_ACT_SIN, sin, FBP_BY_Z)

/* Whether σ' of an activation is made from z rather than from a; softmax: from a. */
FBP_INLINE bool fbp_act_by_z(int act) {
    switch (act) {
#define CASE(code, name, by)                                                                       \
    case code: return by == FBP_BY_Z;
        FBP_ACTIVATIONS(CASE)
#undef CASE
    default: return false;
    }
}

#endif
