/* lists.h: the activations, losses, update rules, element types of X and operations of programs,
 * one row each. From them follow the enums of fastbp.h, the dispatch of kernels/, the checks of nn/
 * and the names of the Python binding. To add one, begin here, with a row at the end of its list,
 * so that the codes of the other rows stay. README.md, "How to add", has the other steps. */
#ifndef FASTBP_LISTS_H
#define FASTBP_LISTS_H

/* Element-wise activations: X(CODE, name, slope, curve, of_alpha, fused).
 * slope: σ' is computed from A, the output, or from Z, which training then keeps. Z is necessary if
 *   σ is not monotone, or if σ' computed from a would lose digits.
 * curve: STRAIGHT if σ'' is 0 everywhere except at kinks, else BENDS.
 * of_alpha: NO_ALPHA, or the range of alpha: ALPHA_FROM_0, ALPHA_ABOVE_0.
 * fused: what is cheap enough to run on the accumulators of a product: BOTH σ and σ', only σ'
 *   (SLOPE), or NONE. The rest runs over the stored tile.
 * kernels/activation.inc has name_forward and name_backward, kernels/curve.inc name_bend. */
#define FASTBP_ACTIVATIONS(X)                                                                      \
    X(IDENTITY, identity, A, STRAIGHT, NO_ALPHA, BOTH)                                             \
    X(SIGMOID, sigmoid, A, BENDS, NO_ALPHA, SLOPE)                                                 \
    X(TANH, tanh, A, BENDS, NO_ALPHA, SLOPE)                                                       \
    X(RELU, relu, A, STRAIGHT, NO_ALPHA, BOTH)                                                     \
    X(LEAKY_RELU, leaky_relu, A, STRAIGHT, ALPHA_FROM_0, BOTH) /* slope alpha at and below 0 */    \
    X(ELU, elu, A, BENDS, ALPHA_ABOVE_0, SLOPE)                                                    \
    X(SOFTPLUS, softplus, A, BENDS, NO_ALPHA, NONE)                                                \
    X(SELU, selu, A, BENDS, NO_ALPHA, SLOPE)                                                       \
    X(RELU6, relu6, A, STRAIGHT, NO_ALPHA, BOTH)                                                   \
    X(HARD_TANH, hard_tanh, A, STRAIGHT, NO_ALPHA, BOTH)                                           \
    X(HARD_SIGMOID, hard_sigmoid, A, STRAIGHT, NO_ALPHA, SLOPE)                                    \
    X(SOFTSIGN, softsign, A, BENDS, NO_ALPHA, SLOPE)                                               \
    X(EXP, exp, A, BENDS, NO_ALPHA, SLOPE)                                                         \
    X(SILU, silu, Z, BENDS, NO_ALPHA, NONE)                                                        \
    X(GELU, gelu, Z, BENDS, NO_ALPHA, NONE)           /* z Φ(z), by erf */                         \
    X(GELU_TANH, gelu_tanh, Z, BENDS, NO_ALPHA, NONE) /* its approximation by tanh */              \
    X(MISH, mish, Z, BENDS, NO_ALPHA, NONE)                                                        \
    X(SIN, sin, Z, BENDS, NO_ALPHA, NONE)

/* Losses: X(CODE, name, value, curve, facts).
 * value: TERM, a sum of name_term over the outputs; ROWS, computed by name_rows; BOTH, name_rows
 *   chooses a form of name_term. kernels/loss_terms.inc has the terms, kernels/loss_rows.inc the
 *   rows.
 * curve, the second derivative: TERM, name_bend output by output; ROWS, name_curve; BOTH,
 *   name_curve chooses a form of name_bend; STRAIGHT, 0 everywhere but at kinks. All of them are in
 *   kernels/curve.inc.
 * facts: fields of fbp_loss_facts_t in nn/loss.h; the others are 0. */
#define FASTBP_LOSSES(X)                                                                           \
    /* ½ Σ_k (a_k − y_k)² */                                                                       \
    X(SQUARED_ERROR, squared_error, TERM, TERM, .masks = true, .outputs = 1)                       \
    /* mean over k of (a_k − y_k)² */                                                              \
    X(MSE, mse, TERM, TERM, .masks = true, .outputs = 1)                                           \
    /* −Σ_k w_k y_k log a_k + (1 − y_k) log(1 − a_k); parameters: none, or every w_k */            \
    X(BINARY_CROSS_ENTROPY, binary_cross_entropy, BOTH, BOTH, .masks = true, .outputs = 1,         \
      .pair = FASTBP_ACT_SIGMOID, .fused = FBP_MAY, .params_each = 1, .params_optional = true)     \
    /* −Σ_k w_k y_k log a_k; parameters: none, or label smoothing and every w_k */                 \
    X(CROSS_ENTROPY, cross_entropy, BOTH, BOTH, .outputs = 1, .pair = FASTBP_ACT_SOFTMAX,          \
      .fused = FBP_MAY, .labels = FBP_MAY, .params = 1, .params_each = 1, .params_optional = true, \
      .weighs_classes = true)                                                                      \
    /* mean over k of |e|, where e = a_k − y_k */                                                  \
    X(MAE, mae, TERM, STRAIGHT, .masks = true, .outputs = 1)                                       \
    /* mean over k of ½ e² to |e| = δ, then δ (|e| − ½ δ); e as for mae; parameter: δ */           \
    X(HUBER, huber, TERM, TERM, .masks = true, .outputs = 1, .params = 1, .positive = true)        \
    /* mean over k of log cosh e; e as for mae */                                                  \
    X(LOG_COSH, log_cosh, TERM, TERM, .masks = true, .outputs = 1)                                 \
    /* mean over k of e^{a_k} − y_k a_k (parameter 1) or a_k − y_k log(a_k + 1e-8) (0) */          \
    X(POISSON, poisson, BOTH, BOTH, .masks = true, .outputs = 1, .params = 1)                      \
    /* mean over k of max(0, 1 − y_k a_k) */                                                       \
    X(HINGE, hinge, TERM, STRAIGHT, .masks = true, .outputs = 1)                                   \
    /* mean over k of max(0, 1 − y_k a_k)² */                                                      \
    X(SQUARED_HINGE, squared_hinge, TERM, TERM, .masks = true, .outputs = 1)                       \
    /* Σ_k y_k (log y_k − log a_k) */                                                              \
    X(KL_DIVERGENCE, kl_divergence, BOTH, BOTH, .outputs = 1, .pair = FASTBP_ACT_SOFTMAX,          \
      .fused = FBP_MAY)                                                                            \
    /* −Σ_k α_k y_k (1 − a_k)^γ log a_k; parameters: γ and every α_k */                            \
    X(FOCAL, focal, ROWS, ROWS, .outputs = 1, .pair = FASTBP_ACT_SOFTMAX, .fused = FBP_MUST,       \
      .labels = FBP_MAY, .params = 1, .params_each = 1)                                            \
    /* mean over k of the focal loss of {a_k, 1 − a_k}; parameters: γ, α of y = 0, α of y = 1 */   \
    X(BINARY_FOCAL, binary_focal, BOTH, BOTH, .masks = true, .outputs = 1,                         \
      .pair = FASTBP_ACT_SIGMOID, .fused = FBP_MUST, .params = 3)                                  \
    /* mean over k of max(0, margin − a_label + a_k), k ≠ label; parameter: the margin */          \
    X(MULTI_MARGIN, multi_margin, ROWS, STRAIGHT, .outputs = 1, .labels = FBP_MUST, .params = 1)   \
    /* mean of max(τ (y − a), (τ − 1)(y − a)); y-major outputs; parameters: every τ */             \
    X(QUANTILE, quantile, ROWS, STRAIGHT, .masks = true, .outputs = FBP_SEVERAL,                   \
      .params = FBP_SEVERAL)                                                                       \
    /* mean of ½ (s + (y − m)² e^{−s}); outputs m…, then s… */                                     \
    X(GAUSSIAN_NLL, gaussian_nll, ROWS, ROWS, .masks = true, .outputs = 2)                         \
    /* mean over k of max(0, Δ + a'_k − a_k); a and a' are rows 2i, 2i + 1; parameter: Δ */        \
    X(MARGIN_RANKING, margin_ranking, ROWS, STRAIGHT, .outputs = 0, .params = 1, .group = 2)

/* Update rules: X(CODE, name, moments, KERNEL). moments: how many vectors of the size of theta the
 * rule keeps. KERNEL: the rule whose kernel it uses, which is another rule if only the constants of
 * a step differ. kernels/optimizer.inc and kernels/rules.inc have the formulas. */
#define FASTBP_RULES(X)                                                                            \
    X(SGD, sgd, 0, SGD)                                                                            \
    X(MOMENTUM, momentum, 1, MOMENTUM)                                                             \
    X(NESTEROV, nesterov, 1, NESTEROV)                                                             \
    X(ADAM, adam, 2, ADAM)                                                                         \
    X(AMSGRAD, amsgrad, 3, AMSGRAD)                                                                \
    X(RADAM, radam, 2, ADAM)                                                                       \
    X(NADAM, nadam, 2, NADAM)                                                                      \
    X(ADAMAX, adamax, 2, ADAMAX)                                                                   \
    X(ADAGRAD, adagrad, 1, ADAGRAD)                                                                \
    X(ADADELTA, adadelta, 2, ADADELTA)                                                             \
    X(RMSPROP, rmsprop, 1, RMSPROP)                                                                \
    X(RMSPROP_MOMENTUM, rmsprop_momentum, 2, RMSPROP_MOMENTUM)                                     \
    X(RMSPROP_CENTERED, rmsprop_centered, 2, RMSPROP_CENTERED)                                     \
    X(RMSPROP_CENTERED_MOMENTUM, rmsprop_centered_momentum, 3, RMSPROP_CENTERED_MOMENTUM)          \
    X(LION, lion, 1, LION)                                                                         \
    X(RPROP, rprop, 2, RPROP)                                                                      \
    X(FREE_SGD, free_sgd, 2, FREE_SGD)                                                             \
    X(FREE_ADAM, free_adam, 3, FREE_ADAM)                                                          \
    X(MUON, muon, 2, MUON)                                                                         \
    X(MUON_NESTEROV, muon_nesterov, 2, MUON)

/* Element types of X other than that of the network: X(CODE, name, ctype, value). name: the kind
 * and the number of bytes, as in NumPy. value: the element itself (AS_IS), or a HALF to convert. */
#define FASTBP_ELEMENTS(X)                                                                         \
    X(I8, i1, int8_t, AS_IS)                                                                       \
    X(U8, u1, uint8_t, AS_IS)                                                                      \
    X(I16, i2, int16_t, AS_IS)                                                                     \
    X(U16, u2, uint16_t, AS_IS)                                                                    \
    X(I32, i4, int32_t, AS_IS)                                                                     \
    X(U32, u4, uint32_t, AS_IS)                                                                    \
    X(I64, i8, int64_t, AS_IS)                                                                     \
    X(U64, u8, uint64_t, AS_IS)                                                                    \
    X(F16, f2, uint16_t, HALF) /* IEEE 754 binary16 */                                             \
    X(F32, f4, float, AS_IS)                                                                       \
    X(F64, f8, double, AS_IS)

/* Operations of programs, see fastbp_program_t: X(CODE, name, operands, KIND).
 * KIND: ELEMENTWISE, or REDUCES, from one number per output to one per row, outputs in order.
 * fma = x y + z, fms = x y - z and fnma = z - x y, each with one rounding (on scalar with two).
 * min, max and row_max are NaN if an operand is. less, less_equal and equal give 1 or 0.
 * select = x != 0 ? y : z, select_positive = x > 0 ? y : z. sign is 1, -1, or x if x is 0 or NaN.
 * row_length is the number of outputs of a row.
 * kernels/program.inc has the formulas. */
#define FASTBP_OPERATIONS(X)                                                                       \
    X(COPY, copy, 1, ELEMENTWISE)                                                                  \
    X(ADD, add, 2, ELEMENTWISE)                                                                    \
    X(SUB, sub, 2, ELEMENTWISE)                                                                    \
    X(MUL, mul, 2, ELEMENTWISE)                                                                    \
    X(DIV, div, 2, ELEMENTWISE)                                                                    \
    X(FMA, fma, 3, ELEMENTWISE)                                                                    \
    X(FMS, fms, 3, ELEMENTWISE)                                                                    \
    X(FNMA, fnma, 3, ELEMENTWISE)                                                                  \
    X(MIN, min, 2, ELEMENTWISE)                                                                    \
    X(MAX, max, 2, ELEMENTWISE)                                                                    \
    X(POW, pow, 2, ELEMENTWISE)                                                                    \
    X(NEG, neg, 1, ELEMENTWISE)                                                                    \
    X(ABS, abs, 1, ELEMENTWISE)                                                                    \
    X(SQRT, sqrt, 1, ELEMENTWISE)                                                                  \
    X(SQUARE, square, 1, ELEMENTWISE)                                                              \
    X(RECIPROCAL, reciprocal, 1, ELEMENTWISE)                                                      \
    X(EXP, exp, 1, ELEMENTWISE)                                                                    \
    X(EXPM1, expm1, 1, ELEMENTWISE)                                                                \
    X(LOG, log, 1, ELEMENTWISE)                                                                    \
    X(LOG1P, log1p, 1, ELEMENTWISE)                                                                \
    X(SIN, sin, 1, ELEMENTWISE)                                                                    \
    X(COS, cos, 1, ELEMENTWISE)                                                                    \
    X(ARCSIN, arcsin, 1, ELEMENTWISE)                                                              \
    X(ARCCOS, arccos, 1, ELEMENTWISE)                                                              \
    X(ARCTAN, arctan, 1, ELEMENTWISE)                                                              \
    X(SINH, sinh, 1, ELEMENTWISE)                                                                  \
    X(COSH, cosh, 1, ELEMENTWISE)                                                                  \
    X(TANH, tanh, 1, ELEMENTWISE)                                                                  \
    X(SIGMOID, sigmoid, 1, ELEMENTWISE)                                                            \
    X(SOFTPLUS, softplus, 1, ELEMENTWISE)                                                          \
    X(SILU, silu, 1, ELEMENTWISE)                                                                  \
    X(MISH, mish, 1, ELEMENTWISE)                                                                  \
    X(GELU_TANH, gelu_tanh, 1, ELEMENTWISE)                                                        \
    X(SILU_SLOPE, silu_slope, 1, ELEMENTWISE)                                                      \
    X(MISH_SLOPE, mish_slope, 1, ELEMENTWISE)                                                      \
    X(GELU_TANH_SLOPE, gelu_tanh_slope, 1, ELEMENTWISE)                                            \
    X(LESS, less, 2, ELEMENTWISE)                                                                  \
    X(LESS_EQUAL, less_equal, 2, ELEMENTWISE)                                                      \
    X(EQUAL, equal, 2, ELEMENTWISE)                                                                \
    X(SELECT, select, 3, ELEMENTWISE)                                                              \
    X(SELECT_POSITIVE, select_positive, 3, ELEMENTWISE)                                            \
    X(ROW_SUM, row_sum, 1, REDUCES)                                                                \
    X(ROW_MAX, row_max, 1, REDUCES)                                                                \
    X(SIGN, sign, 1, ELEMENTWISE)                                                                  \
    X(ROW_LENGTH, row_length, 0, REDUCES)

#endif
