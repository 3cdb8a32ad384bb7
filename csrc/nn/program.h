/* program.h: checks programs of the caller and copies them for the kernels. */
#ifndef FASTBP_NN_PROGRAM_H
#define FASTBP_NN_PROGRAM_H

#include "../dispatch.h"

/* Copies a program, with its constants in the dtype. FASTBP_ERR_ARGUMENT if it is not as fastbp.h
 * demands, FASTBP_ERR_MEMORY if there is no memory; *program is then NULL. */
fastbp_status_t fbp_program_new(fbp_program_t **program, const fastbp_program_t *from,
                                fastbp_dtype_t dtype);
void fbp_program_free(fbp_program_t *program);

/* Whether the inputs and the outputs of a program have these kinds (FASTBP_SLOT_*). */
bool fbp_program_fits(const fbp_program_t *program, const uint8_t *inputs, int n_inputs,
                      const uint8_t *outputs, int n_outputs);

#endif
