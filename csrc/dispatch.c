/* dispatch.c: the implementations that were built, slowest first, and the choice among them. */
#include "dispatch.h"

#include "base/cpu.h"

#include <string.h>

/* The build says for which ISAs it compiles isa/<name>.c, slowest first: ISA(name, NAME), where
 * FBP_CPU_NAME is the feature that the ISA needs. */
#ifndef FBP_ISAS
#define FBP_ISAS ISA(scalar, SCALAR)
#endif

typedef struct {
    const char *name;
    unsigned needs;                /* FBP_CPU_* */
    const fbp_kernels_t *table[2]; /* by fastbp_dtype_t */
} implementation_t;

#define ISA(name, NAME) extern const fbp_kernels_t fbp_kernels_f32_##name, fbp_kernels_f64_##name;
FBP_ISAS
#undef ISA

static const implementation_t implementations[] = {
#define ISA(name, NAME) {#name, FBP_CPU_##NAME, {&fbp_kernels_f32_##name, &fbp_kernels_f64_##name}},
    FBP_ISAS
#undef ISA
};

enum { N_IMPLEMENTATIONS = sizeof implementations / sizeof implementations[0] };

static const implementation_t *active = NULL; /* the chosen one; NULL before any choice */

static bool supported(const implementation_t *impl) {
    return (fbp_cpu()->features & impl->needs) == impl->needs;
}

/* The i-th implementation that this machine supports, or NULL. */
static const implementation_t *nth_supported(int i) {
    for (int at = 0; at < N_IMPLEMENTATIONS; ++at)
        if (supported(&implementations[at]) && i-- == 0) return &implementations[at];
    return NULL;
}

static const implementation_t *fastest(void) {
    const implementation_t *best = &implementations[0];
    for (int i = 0; nth_supported(i) != NULL; ++i) best = nth_supported(i);
    return best;
}

const char *fastbp_isa_available(int i) {
    const implementation_t *impl = i < 0 ? NULL : nth_supported(i);
    return impl != NULL ? impl->name : NULL;
}

fastbp_status_t fastbp_isa_select(const char *name) {
    if (name == NULL) {
        active = fastest();
        return FASTBP_OK;
    }
    for (int i = 0; nth_supported(i) != NULL; ++i)
        if (strcmp(nth_supported(i)->name, name) == 0) {
            active = nth_supported(i);
            return FASTBP_OK;
        }
    return FASTBP_ERR_ISA;
}

const char *fastbp_isa(void) { return fbp_kernels(FASTBP_F32)->isa; }

const fbp_kernels_t *fbp_kernels(fastbp_dtype_t dtype) {
    if (active == NULL) active = fastest();
    return active->table[dtype];
}
