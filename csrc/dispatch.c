/* dispatch.c: the ordered list of implementations, slowest first, and the choice among them.
 * FBP_HAVE_<ISA> is defined by the build for each isa/<name>.c that it compiles. */
#include "dispatch.h"

#include "base/cpu.h"

#include <string.h>

typedef struct {
    const char *name;
    unsigned needs;                /* FBP_CPU_* */
    const fbp_kernels_t *table[2]; /* by fastbp_dtype_t */
} implementation_t;

#define DECLARE(isa) extern const fbp_kernels_t fbp_kernels_f32_##isa, fbp_kernels_f64_##isa
#define ENTRY(isa, needs)                                                                          \
    {                                                                                              \
        #isa, needs, { &fbp_kernels_f32_##isa, &fbp_kernels_f64_##isa }                            \
    }

DECLARE(scalar);
#ifdef FBP_HAVE_NEON
DECLARE(neon);
#endif
#ifdef FBP_HAVE_AVX2
DECLARE(avx2);
#endif
#ifdef FBP_HAVE_AVX512
DECLARE(avx512);
#endif

static const implementation_t implementations[] = {
    ENTRY(scalar, 0),
#ifdef FBP_HAVE_NEON
    ENTRY(neon, FBP_CPU_NEON),
#endif
#ifdef FBP_HAVE_AVX2
    ENTRY(avx2, FBP_CPU_AVX2),
#endif
#ifdef FBP_HAVE_AVX512
    ENTRY(avx512, FBP_CPU_AVX512),
#endif
};

enum { N_IMPLEMENTATIONS = sizeof implementations / sizeof implementations[0] };

/* By implementation and dtype; an entry is made when first chosen and never changes, so that what
 * holds on to a table keeps its ISA. */
static fbp_kernels_t tables[N_IMPLEMENTATIONS][2];
static const fbp_kernels_t *active = NULL; /* the row of the chosen one */

static bool supported(const implementation_t *impl) {
    return (fbp_cpu()->features & impl->needs) == impl->needs;
}

/* The i-th implementation that this machine supports, or NULL. */
static const implementation_t *nth_supported(int i) {
    for (int at = 0; at < N_IMPLEMENTATIONS; ++at)
        if (supported(&implementations[at]) && i-- == 0) return &implementations[at];
    return NULL;
}

/* Every slot that an ISA leaves empty is the scalar one's; today all of them fill all. */
static fbp_kernels_t overridden(const fbp_kernels_t *base, const fbp_kernels_t *by) {
    fbp_kernels_t table = *by;
#define FBP_KERNEL(type, name, params)                                                             \
    if (table.name == NULL) table.name = base->name;
#include "kernels/kernels.def"
#undef FBP_KERNEL
    return table;
}

static void choose(const implementation_t *impl) {
    fbp_kernels_t *row = tables[impl - implementations];
    for (int dtype = 0; dtype < 2; ++dtype)
        if (row[dtype].isa == NULL)
            row[dtype] = overridden(implementations[0].table[dtype], impl->table[dtype]);
    active = row;
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
        choose(fastest());
        return FASTBP_OK;
    }
    for (int i = 0; nth_supported(i) != NULL; ++i)
        if (strcmp(nth_supported(i)->name, name) == 0) {
            choose(nth_supported(i));
            return FASTBP_OK;
        }
    return FASTBP_ERR_ISA;
}

const char *fastbp_isa(void) { return fbp_kernels(FASTBP_F32)->isa; }

const fbp_kernels_t *fbp_kernels(fastbp_dtype_t dtype) {
    if (active == NULL) choose(fastest());
    return &active[dtype];
}

fastbp_machine_t fastbp_machine(void) {
    const fbp_cpu_t *cpu = fbp_cpu();
    return (fastbp_machine_t){cpu->name, cpu->l1d, cpu->l2, cpu->l3};
}
