/* formula.c: see formula.h. */
#include "formula.h"

#include <stdlib.h>

enum { FULL = FASTBP_SLOT_FULL, ROW = FASTBP_SLOT_ROW, ONE = FASTBP_SLOT_ONE };
enum { MOST_SLOTS = 2 * FASTBP_MAX_CONSTANTS + 4 }; /* inputs of `curve` */

/* The kinds of some inputs or outputs, in their order. */
typedef struct {
    uint8_t kind[MOST_SLOTS];
    int count;
} kinds_t;

static kinds_t with(kinds_t kinds, int kind, int count) {
    for (int i = 0; i < count; ++i) kinds.kind[kinds.count++] = (uint8_t)kind;
    return kinds;
}

static const kinds_t none = {{0}, 0};

/* Copies a program that must have these inputs and outputs. */
static fastbp_status_t copy(fbp_program_t **program, const fastbp_program_t *from,
                            fastbp_dtype_t dtype, kinds_t in, kinds_t out) {
    const fastbp_status_t status = fbp_program_new(program, from, dtype);
    if (status != FASTBP_OK) return status;
    return fbp_program_fits(*program, in.kind, in.count, out.kind, out.count) ? FASTBP_OK
                                                                              : FASTBP_ERR_ARGUMENT;
}

/* Activations run by elements, without numbers per row. */
static bool has_rows(const fbp_formula_t *formula) {
    return formula->value->n_row + formula->slope->n_row + formula->push->n_row +
               formula->curve->n_row >
           0;
}

static fastbp_status_t fill(fbp_formula_t *formula, const fastbp_formula_t *from,
                            fastbp_dtype_t dtype) {
    const int n = from->n_constants, kind = from->per_unit ? FULL : ONE;
    const kinds_t z_c = with(with(none, FULL, 1), kind, n), slopes = with(none, FULL, 1 + n);
    const kinds_t moved = with(with(z_c, FULL, 1), kind, n); /* z, c…, R{z}, R{c}… */
    const kinds_t bent = with(with(with(with(z_c, FULL, 1), FULL, 1), kind, n), FULL, 1);
    formula->n_constants = n;
    formula->per_unit = from->per_unit;
    fastbp_status_t status = copy(&formula->value, &from->value, dtype, z_c, with(none, FULL, 1));
    if (status == FASTBP_OK)
        status = copy(&formula->slope, &from->slope, dtype, with(z_c, FULL, 1), slopes);
    if (status == FASTBP_OK)
        status = copy(&formula->push, &from->push, dtype, moved, with(none, FULL, 1));
    if (status == FASTBP_OK) status = copy(&formula->curve, &from->curve, dtype, bent, slopes);
    if (status == FASTBP_OK && has_rows(formula)) status = FASTBP_ERR_ARGUMENT;
    return status;
}

fastbp_status_t fbp_formula_new(fbp_formula_t **out, const fastbp_formula_t *from,
                                fastbp_dtype_t dtype) {
    *out = NULL;
    if (from->n_constants < 0 || from->n_constants > FASTBP_MAX_CONSTANTS)
        return FASTBP_ERR_ARGUMENT;
    fbp_formula_t *formula = calloc(1, sizeof *formula);
    if (formula == NULL) return FASTBP_ERR_MEMORY;
    const fastbp_status_t status = fill(formula, from, dtype);
    if (status == FASTBP_OK) *out = formula;
    else fbp_formula_free(formula);
    return status;
}

fastbp_status_t fbp_loss_formula_new(fbp_loss_formula_t **out, const fastbp_loss_formula_t *from,
                                     fastbp_dtype_t dtype) {
    const kinds_t a_y = with(none, FULL, 2), J = with(none, ROW, 1);
    *out = NULL;
    fbp_loss_formula_t *formula = calloc(1, sizeof *formula);
    if (formula == NULL) return FASTBP_ERR_MEMORY;
    fastbp_status_t status = copy(&formula->value, &from->value, dtype, a_y, J);
    if (status == FASTBP_OK)
        status = copy(&formula->slope, &from->slope, dtype, a_y, with(J, FULL, 1));
    if (status == FASTBP_OK)
        status =
            copy(&formula->curve, &from->curve, dtype, with(a_y, FULL, 1), with(none, FULL, 1));
    if (status == FASTBP_OK) *out = formula;
    else fbp_loss_formula_free(formula);
    return status;
}

void fbp_formula_free(fbp_formula_t *formula) {
    if (formula == NULL) return;
    fbp_program_free(formula->value);
    fbp_program_free(formula->slope);
    fbp_program_free(formula->push);
    fbp_program_free(formula->curve);
    free(formula);
}

void fbp_loss_formula_free(fbp_loss_formula_t *formula) {
    if (formula == NULL) return;
    fbp_program_free(formula->value);
    fbp_program_free(formula->slope);
    fbp_program_free(formula->curve);
    free(formula);
}

static size_t most(size_t x, size_t y) { return x > y ? x : y; }

size_t fbp_formula_scratch(const fbp_formula_t *formula, const fbp_kernels_t *kernels,
                           ptrdiff_t cols) {
    return most(most(fbp_program_scratch(kernels, formula->value, false, cols),
                     fbp_program_scratch(kernels, formula->slope, false, cols)),
                most(fbp_program_scratch(kernels, formula->push, false, cols),
                     fbp_program_scratch(kernels, formula->curve, false, cols)));
}

size_t fbp_loss_formula_scratch(const fbp_loss_formula_t *formula, const fbp_kernels_t *kernels,
                                ptrdiff_t cols) {
    return most(fbp_program_scratch(kernels, formula->value, true, cols),
                most(fbp_program_scratch(kernels, formula->slope, true, cols),
                     fbp_program_scratch(kernels, formula->curve, true, cols)));
}
