/* programs.h: programs decoded from bytes: most are valid, some have a forged number. */
#ifndef PROGRAMS_H
#define PROGRAMS_H

#include "fuzz.h"

/* What a program must have to be an activation's or a loss's. */
typedef struct {
    int n_inputs, n_outputs;
    const uint8_t *inputs, *outputs; /* kinds of slots */
} shape_t;

/* A program for a shape, or any if `shape` is NULL. Its memory is that of `exact`. */
fastbp_program_t take_program(input_t *in, const shape_t *shape);

/* An activation and a loss of programs; some do not have the inputs and outputs that they need. */
fastbp_formula_t *take_formula(input_t *in);
fastbp_loss_formula_t *take_loss_formula(input_t *in);

#endif
