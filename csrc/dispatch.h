/* dispatch.h: which kernels run. A table is filled with the scalar kernels first and then
 * overridden by the chosen ISA's, so that every slot is callable. */
#ifndef FASTBP_DISPATCH_H
#define FASTBP_DISPATCH_H

#include "kernels/kernels.h"

/* The table of the chosen ISA, constant until the next fastbp_isa_select. */
const fbp_kernels_t *fbp_kernels(fastbp_dtype_t dtype);

#endif
