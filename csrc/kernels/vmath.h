/* vmath.h: the codes of the vmath slot, f in out[i] = f(x[i]). */
#ifndef FASTBP_VMATH_H
#define FASTBP_VMATH_H

typedef enum {
    FBP_VMATH_EXP,
    FBP_VMATH_EXPM1,
    FBP_VMATH_LOG,
    FBP_VMATH_LOG1P,
    FBP_VMATH_TANH,
    FBP_VMATH_SIGMOID,
    FBP_VMATH_SOFTPLUS,
    FBP_VMATH_SILU,
    FBP_VMATH_MISH,
    FBP_VMATH_GELU,
    FBP_VMATH_GELU_TANH,
    FBP_VMATH_SIN,
    FBP_VMATH_COS,
    FBP_VMATH_COUNT
} fbp_vmath_op_t;

#endif
