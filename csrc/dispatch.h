/* dispatch.h: which kernels run. Every ISA has one table per dtype with every slot filled, because
 * kernels/all.inc names each slot: an ISA that lacks a kernel does not compile. */
#ifndef FASTBP_DISPATCH_H
#define FASTBP_DISPATCH_H

#include "kernels/bf16.h"
#include "kernels/kernels.h"

/* The table of the chosen ISA. A later fastbp_isa_select chooses another table but changes none. */
const fbp_kernels_t *fbp_kernels(fastbp_dtype_t dtype);

/* The products in bfloat16 of the chosen ISA; NULL if it has none. */
const fbp_bf16_t *fbp_bf16_kernels(void);

/* Those of a named ISA; also NULL if this machine does not support it. */
const fbp_bf16_t *fbp_bf16_of(const char *isa);

#endif
