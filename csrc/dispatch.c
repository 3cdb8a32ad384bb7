/* dispatch.c: the implementations that were built, slowest first, and the choice among them. */
#include "dispatch.h"

#include "base/cpu.h"
#include "base/machine.h"

#include <stdatomic.h>
#include <string.h>

/* The build says for which ISAs it compiles isa/<name>.c, slowest first, where FBP_CPU_NEEDS is the
 * feature that the ISA needs:
 *   ISA(name, NEEDS)         all kernels
 *   BF16(name, NEEDS, base)  products in bfloat16; the other kernels are those of `base` */
#ifndef FBP_ISAS
#define FBP_ISAS ISA(scalar, SCALAR)
#endif

typedef struct {
    const char *name;
    unsigned needs;                /* FBP_CPU_* */
    const fbp_kernels_t *table[2]; /* by fastbp_dtype_t */
    const char *base;              /* the ISA of these tables */
    const fbp_bf16_t *bf16;        /* or NULL */
} implementation_t;

#define ISA(name, NEEDS) extern const fbp_kernels_t fbp_kernels_f32_##name, fbp_kernels_f64_##name;
#define BF16(name, NEEDS, base) extern const fbp_bf16_t fbp_bf16_##name;
FBP_ISAS
#undef ISA
#undef BF16

static const implementation_t implementations[] = {
#define TABLES(name) {&fbp_kernels_f32_##name, &fbp_kernels_f64_##name}
#define ISA(name, NEEDS) {#name, FBP_CPU_##NEEDS, TABLES(name), #name, NULL},
#define BF16(name, NEEDS, base) {#name, FBP_CPU_##NEEDS, TABLES(base), #base, &fbp_bf16_##name},
    FBP_ISAS
#undef ISA
#undef BF16
#undef TABLES
};

enum { N_IMPLEMENTATIONS = sizeof implementations / sizeof implementations[0] };

static atomic_int active = -1; /* the chosen one; −1 before any choice */

static bool supported(const implementation_t *impl) {
    const bool refused = impl->needs == FBP_CPU_AMX && fbp_tiles() == FBP_TILES_REFUSED;
    return (fbp_cpu()->features & impl->needs) == impl->needs && !refused;
}

/* Whether a supported implementation may be chosen. Only this requests tiles. */
static bool permitted(const implementation_t *impl) {
    return impl->needs != FBP_CPU_AMX || fbp_request_tiles();
}

/* The i-th implementation that this machine supports, or NULL. */
static const implementation_t *nth_supported(int i) {
    for (int at = 0; at < N_IMPLEMENTATIONS; ++at)
        if (supported(&implementations[at]) && i-- == 0) return &implementations[at];
    return NULL;
}

/* Whether this machine gains from a supported implementation. ISAs differ in the order of sums, so
 * the answer must not depend on the tuning that was chosen. The emulation of tiles never pays. */
static bool pays(const implementation_t *impl) {
    const fbp_bf16_way_t way = fbp_machine_found()->bf16;
    if (impl->bf16 == NULL) return true;
    if (impl->needs == FBP_CPU_AMX) return way == FBP_BF16_BY_TILES;
    return impl->needs == FBP_CPU_AVX512_BF16 && way == FBP_BF16_BY_DOT;
}

static int fastest(void) {
    int best = 0;
    for (int i = 0; i < N_IMPLEMENTATIONS; ++i)
        if (supported(&implementations[i]) && pays(&implementations[i]) &&
            permitted(&implementations[i]))
            best = i;
    return best;
}

static const implementation_t *chosen(void) {
    int at = atomic_load(&active);
    if (at < 0) {
        const int best = fastest();
        if (atomic_compare_exchange_strong(&active, &at, best)) at = best;
    }
    return &implementations[at];
}

const char *fastbp_isa_available(int i) {
    const implementation_t *impl = i < 0 ? NULL : nth_supported(i);
    return impl != NULL ? impl->name : NULL;
}

/* The supported implementation of that name, or −1. */
static int named(const char *name) {
    for (int i = 0; i < N_IMPLEMENTATIONS; ++i)
        if (strcmp(implementations[i].name, name) == 0)
            return supported(&implementations[i]) ? i : -1;
    return -1;
}

fastbp_status_t fastbp_isa_select(const char *name) {
    const int at = name == NULL ? fastest() : named(name);
    if (at < 0 || !permitted(&implementations[at])) return FASTBP_ERR_ISA;
    atomic_store(&active, at);
    return FASTBP_OK;
}

const char *fastbp_isa_base(const char *name) {
    const int at = named(name);
    return at >= 0 ? implementations[at].base : NULL;
}

const char *fastbp_isa_fastest(void) { return implementations[fastest()].name; }

const char *fastbp_isa(void) { return chosen()->name; }

const fbp_kernels_t *fbp_kernels(fastbp_dtype_t dtype) { return chosen()->table[dtype]; }

const fbp_bf16_t *fbp_bf16_kernels(void) { return chosen()->bf16; }

const fbp_bf16_t *fbp_bf16_of(const char *isa) {
    const int at = named(isa);
    return at >= 0 ? implementations[at].bf16 : NULL;
}
