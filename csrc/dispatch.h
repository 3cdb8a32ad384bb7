/* dispatch.h: which kernels run. Every ISA has one table per dtype with every slot filled, because
 * kernels/all.inc names each slot: an ISA that lacks a kernel does not compile. */
#ifndef FASTBP_DISPATCH_H
#define FASTBP_DISPATCH_H

#include "kernels/kernels.h"

/* The table of the chosen ISA. A later fastbp_isa_select chooses another table but changes none. */
const fbp_kernels_t *fbp_kernels(fastbp_dtype_t dtype);

#endif
