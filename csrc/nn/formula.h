/* formula.h: the activations and losses of the caller that a network holds, as checked programs. */
#ifndef FASTBP_NN_FORMULA_H
#define FASTBP_NN_FORMULA_H

#include "program.h"

/* An activation; see fastbp_formula_t. */
typedef struct {
    int n_constants;
    bool per_unit;
    fbp_program_t *value, *slope, *push, *curve;
} fbp_formula_t;

/* A loss; see fastbp_loss_formula_t. */
typedef struct {
    fbp_program_t *value, *slope, *curve;
} fbp_loss_formula_t;

/* Copy a formula. FASTBP_ERR_ARGUMENT if a program is not valid or does not have the inputs and
 * outputs that its formula needs, FASTBP_ERR_MEMORY if there is no memory; *formula is then NULL.
 */
fastbp_status_t fbp_formula_new(fbp_formula_t **formula, const fastbp_formula_t *from,
                                fastbp_dtype_t dtype);
fastbp_status_t fbp_loss_formula_new(fbp_loss_formula_t **formula,
                                     const fastbp_loss_formula_t *from, fastbp_dtype_t dtype);
void fbp_formula_free(fbp_formula_t *formula);
void fbp_loss_formula_free(fbp_loss_formula_t *formula);

/* The elements of scratch that any of its programs needs for matrices with `cols` columns; SIZE_MAX
 * if their number does not fit. */
size_t fbp_formula_scratch(const fbp_formula_t *formula, const fbp_kernels_t *kernels,
                           ptrdiff_t cols);
size_t fbp_loss_formula_scratch(const fbp_loss_formula_t *formula, const fbp_kernels_t *kernels,
                                ptrdiff_t cols);

#endif
