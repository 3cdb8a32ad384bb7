/* activate.h: σ of a layer and its derivatives, by rows: of the activations of lists.h by their
 * kernels, of formulas by their programs (fastbp_formula_t). n is what σ is applied to: norm(z), or
 * z in a layer without a norm. c are the trained constants of a formula. */
#ifndef FASTBP_NN_ACTIVATE_H
#define FASTBP_NN_ACTIVATE_H

#include "batch.h"

/* a = σ(n), for any rows of layer l; a may be n. */
void fbp_activate(const fbp_batch_t *batch, const fbp_scratch_t *scratch, int l, const fbp_mat_t *n,
                  void *a, ptrdiff_t lda);

/* Turns delta[rows,n_l] = ∂J_i/∂a of the batch's rows row0 … into ∂J_i/∂n, in place. kept: receives
 * ∂J_i/∂c of the rows, laid out as plan->dc; or NULL. */
void fbp_act_pull_back(const fbp_batch_t *batch, const fbp_scratch_t *scratch, int l,
                       ptrdiff_t row0, ptrdiff_t rows, void *delta, ptrdiff_t ldd,
                       const fbp_rows_t *kept);

/* ---- the R-operator through a formula, which tangent.c explains ---- */

/* ra = R{a} from rn = R{n}, for the batch's rows row0 …. moved: a vector like theta with R{c}, or
 * NULL for 0. */
void fbp_formula_push(const fbp_batch_t *batch, const fbp_scratch_t *scratch, int l, ptrdiff_t row0,
                      const void *moved, const fbp_mat_t *rn, void *ra, ptrdiff_t ldra);

/* Turns delta = R{∂J_i/∂a} into R{∂J_i/∂n}, in place, from g = ∂J_i/∂a and rn. kept: receives
 * R{∂J_i/∂c}, as above. */
void fbp_formula_curve(const fbp_batch_t *batch, const fbp_scratch_t *scratch, int l,
                       ptrdiff_t row0, const void *moved, const fbp_mat_t *rn, const fbp_mat_t *g,
                       void *delta, ptrdiff_t ldd, const fbp_rows_t *kept);

#endif
