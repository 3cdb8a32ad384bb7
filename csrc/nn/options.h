/* options.h: what a layer may have besides σ(uW + b), where u is the output of the layer below:
 * norm, dropout and residual, and σ as a formula, by rows; constraints of W.
 *   z = uW + b      n = norm(z)      a = σ(n)      out = a ⊙ m/(1 − p) + u
 * Ba, Kiros, Hinton, arXiv:1607.06450; Zhang, Sennrich, NeurIPS 2019; Srivastava et al., JMLR 15,
 * 2014. Formulas and PyTorch's names: docs/layers.md. */
#ifndef FASTBP_NN_OPTIONS_H
#define FASTBP_NN_OPTIONS_H

#include "batch.h"

/* Dropout of the inputs: a[0] = x ⊙ m/(1 − p) of the rows, in a buffer of the plan. */
void fbp_drop_input(const fbp_batch_t *batch, ptrdiff_t row0, ptrdiff_t rows);

/* Multiplies g[rows, n_l] = ∂J_i/∂(the output of dropout) of the whole batch by the mask of layer
 * l, or of the inputs if l = 0, and by 1/(1 − p). Does nothing if that layer drops nothing. */
void fbp_drop_slopes(const fbp_batch_t *batch, int l, void *g, ptrdiff_t ldg);

/* Completes the forward step of a layer that is not plain. Its product has left z, if it has a norm
 * or a formula, or σ(z); the result is `out` in plan->a[l]. Batch norm by the batch needs its
 * moments (batch_norm.h). */
void fbp_options_forward(const fbp_batch_t *batch, const fbp_scratch_t *scratch, int l,
                         ptrdiff_t row0, ptrdiff_t rows);

/* Turns δ^{l+1} W^{l+1}ᵀ in plan->delta[l] into δ^l, if layer l or l + 1 is not plain. If layer l
 * is normed by the batch, into ∂J/∂n; fbp_norm_pull_back makes δ^l of it, when the sums of the
 * batch are there. */
void fbp_options_backward(const fbp_batch_t *batch, const fbp_scratch_t *scratch, int l,
                          ptrdiff_t row0, ptrdiff_t rows);

/* Turns delta[rows,n_l] = ∂J_i/∂n into ∂J_i/∂z, in a layer with a norm. kept receives ∂J_i/∂n; it
 * may be delta if nobody needs that. */
void fbp_norm_pull_back(const fbp_batch_t *batch, int l, ptrdiff_t row0, ptrdiff_t rows,
                        void *delta, ptrdiff_t ldd, void *kept, ptrdiff_t ldk);

/* The same for all rows of a batch by which layer l is normed, with the sums of this delta. */
void fbp_norm_pull_back_batch(const fbp_batch_t *batch, const fbp_scratch_t *scratch, int l,
                              void *delta, ptrdiff_t ldd);

/* The gradients of a norm, with g = ∂J_i/∂n: writes Σ_i s_i g_i ⊙ x̂_i (gain) to scratch->column
 * and returns the address of Σ_i s_i g_i (shift). */
const void *fbp_norm_sums(const fbp_batch_t *batch, const fbp_scratch_t *scratch, int l);

/* The same for one row of the batch, without its weight, into gain[n_l] and shift[n_l]. */
void fbp_sample_norm_sums(const fbp_batch_t *batch, int l, ptrdiff_t row, void *gain, void *shift);

/* Whether an update must limit every ‖W[:,k]‖ of the layer. */
FBP_INLINE bool fbp_limits_columns(const fbp_layer_t *layer) {
    return layer->has.max_norm > 0 && !layer->frozen;
}

/* The constraints of a layer, after an update: W >= 0 for a tile; ‖W[:,k]‖ <= max_norm for `cols`
 * columns of layer[i] from column0 on. */
void fbp_constrain_tile(const fastbp_net_t *net, void *theta, const fbp_tile_t *tile);
void fbp_constrain_columns(const fastbp_net_t *net, void *theta, int i, ptrdiff_t column0,
                           ptrdiff_t cols);

#endif
