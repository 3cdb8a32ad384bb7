/* options.h: what a layer has besides σ(uW + b), by rows: norm, dropout, residual; u is the output
 * of the layer below.
 *   z = uW + b      n = norm(z)      a = σ(n)      out = a ⊙ m/(1 − p) + u
 * Ba, Kiros, Hinton, arXiv:1607.06450; Zhang, Sennrich, NeurIPS 2019; Srivastava et al., JMLR 15,
 * 2014. Formulas and PyTorch's names: docs/layers.md. */
#ifndef FASTBP_NN_OPTIONS_H
#define FASTBP_NN_OPTIONS_H

#include "batch.h"

/* a[0] = x ⊙ m/(1 − p) of the rows, in the plan's own buffer. */
void fbp_drop_input(const fbp_batch_t *batch, long row0, long rows);

/* From where the product of a layer that is not plain has ended (z before a norm, else σ(z)) to its
 * out, in plan->a[l]. */
void fbp_options_forward(const fbp_batch_t *batch, int l, long row0, long rows);

/* From δ^{l+1} W^{l+1}ᵀ in plan->delta[l] to δ^l, where one of the layers l and l + 1 has options.
 */
void fbp_options_backward(const fbp_batch_t *batch, int l, long row0, long rows);

/* delta[rows,n_l] from ∂J_i/∂n to ∂J_i/∂z, of a layer with a norm; kept receives ∂J_i/∂n, or is
 * delta. */
void fbp_norm_pull_back(const fbp_batch_t *batch, int l, long row0, long rows, void *delta,
                        long ldd, void *kept, long ldk);

/* Sums over the batch of s_i g_i ⊙ x̂_i (gain) into scratch->column, and of s_i g_i (shift) to where
 * the result points, g = ∂J_i/∂n. */
const void *fbp_norm_sums(const fbp_batch_t *batch, const fbp_scratch_t *scratch, int l);

/* Whether ‖W[:,k]‖ is to be held below a limit after an update. */
FBP_INLINE bool fbp_limits_columns(const fbp_layer_t *layer) {
    return layer->has.max_norm > 0 && !layer->frozen;
}

/* The constraints of layer[i] after an update: W >= 0 of a tile, ‖W[:,k]‖ <= max_norm of columns
 * column0 … + cols. */
void fbp_constrain_tile(const fastbp_net_t *net, void *theta, const fbp_tile_t *tile);
void fbp_constrain_columns(const fastbp_net_t *net, void *theta, int i, long column0, long cols);

#endif
