/* vmath.h: the list of vector functions f of the slot vmath, X(CODE, name). */
#ifndef FASTBP_VMATH_H
#define FASTBP_VMATH_H

#define FBP_VMATH(X)                                                                               \
    X(EXP, exp)                                                                                    \
    X(EXPM1, expm1)                                                                                \
    X(LOG, log)                                                                                    \
    X(LOG1P, log1p)                                                                                \
    X(TANH, tanh)                                                                                  \
    X(SIGMOID, sigmoid)                                                                            \
    X(SOFTPLUS, softplus)                                                                          \
    X(SILU, silu)                                                                                  \
    X(MISH, mish)                                                                                  \
    X(GELU, gelu)                                                                                  \
    X(GELU_TANH, gelu_tanh)                                                                        \
    X(SIN, sin)                                                                                    \
    X(COS, cos)

typedef enum {
#define CODE_OF(CODE, name) FBP_VMATH_##CODE,
    FBP_VMATH(CODE_OF)
#undef CODE_OF
        FBP_VMATH_COUNT
} fbp_vmath_op_t;

#endif
