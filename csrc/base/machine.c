/* machine.c: see machine.h. The table of machines, and how cpuid tells them apart. Decisions were
 * measured on zen4 and golden_cove, on two cores of each; the comments give the figures. Rows that
 * say "not measured" follow the one of the two that is nearer. */
#include "machine.h"

#include "cpu.h"
#include "once.h"

#include <string.h>

/* The blocking that was measured on Zen 4. Rows of B that are 4 KiB apart all fall into the same
 * set of L1. A strip of AVX2 is only 64 bytes wide, so L1 has to hold more of its rows: 2 KiB. */
#define BLOCKING_ZEN4                                                                              \
    {[FBP_VECTORS_16] = {.kc = 384, .kc_tn = 384, .pack_min_bytes = 4096},                         \
     [FBP_VECTORS_32] = {.kc = 384, .kc_tn = 160, .pack_min_bytes = 2048},                         \
     [FBP_VECTORS_64] = {.kc = 384, .kc_tn = 384, .pack_min_bytes = 4096}}

/* Intel's L1 prefetcher does not follow rows of A that are 4 KiB apart: 1024 × 1024 × 512 of
 * gemm_tn runs at 70 % of peak with vectors of 64 bytes, and at 91 with A copied. With vectors of
 * 32 bytes, which were not measured, the copy takes as long and the sums take twice as long, so
 * half as many outputs repay it. */
#define BLOCKING_INTEL                                                                             \
    {[FBP_VECTORS_16] = {.kc = 384, .kc_tn = 384, .pack_min_bytes = 4096},                         \
     [FBP_VECTORS_32] = {.kc = 384, .kc_tn = 160, .pack_min_bytes = 2048, .pack_a_outputs = 100},  \
     [FBP_VECTORS_64] = {.kc = 384, .kc_tn = 256, .pack_min_bytes = 4096, .pack_a_outputs = 200}}

/* What all rows but golden_cove share.
 * panels_min_bytes: rows of 4 KiB are on different pages. 504 × 784 × 1024 runs at 89 % of peak
 * from W in place, at 92 copied strip by strip, at 94 to 97 from panels. tile_outputs: in runs of
 * 32 outputs, the update reads theta and the moments in pieces too short for the prefetchers: Adam
 * on 784 × 512 takes 0.50 ns per parameter, in runs of 64 or more 0.29. 784-512-512-10 at batch 128
 * takes 2 % less in runs of 512 than in runs of 256. block_rows: each block reads all of W.
 * 784-1024×3-10 runs at 73, 87, 92 and 96 GFLOP/s with blocks of 28, 112, 252 and 512 rows.
 * min_work: 17 µs at 118 GFLOP/s. Waking a worker and two barriers take 2.5 to 4.5 µs if all
 * workers are running. If one has lost its processor they take a time slice of the system, which is
 * a poor risk for a shorter step. */
#define DECISIONS_ZEN4                                                                             \
    .panels_min_bytes = 4096, .tile_outputs = 512, .warm_outputs = 512,                            \
    .prefetch = FBP_PREFETCH_BURST, .block_rows = 252, .min_work = 2e6

/* generic, haswell, zen3 and golden_cove_client differ in their caches only. */
static const fbp_machine_t machines[] = {
    /* Unknown processors, and other architectures. */
    {.name = "generic",
     .l1d = 32 << 10,
     .l2 = 512 << 10,
     .blocking = BLOCKING_ZEN4,
     DECISIONS_ZEN4,
     .bf16 = FBP_BF16_BY_F32},
    /* Haswell to Comet Lake: AVX2, two FMAs per cycle. Not measured. */
    {.name = "haswell",
     .l1d = 32 << 10,
     .l2 = 256 << 10,
     .blocking = BLOCKING_ZEN4,
     DECISIONS_ZEN4,
     .bf16 = FBP_BF16_BY_F32},
    /* Zen 2 and 3: AVX2, two FMAs per cycle. Not measured. */
    {.name = "zen3",
     .l1d = 32 << 10,
     .l2 = 512 << 10,
     .blocking = BLOCKING_ZEN4,
     DECISIONS_ZEN4,
     .bf16 = FBP_BF16_BY_F32},
    /* AVX-512 in halves: one FMA of 512 bits per cycle, and one vdpbf16ps, which is twice the work.
     */
    {.name = "zen4",
     .l1d = 32 << 10,
     .l2 = 1 << 20,
     .blocking = BLOCKING_ZEN4,
     DECISIONS_ZEN4,
     .bf16 = FBP_BF16_BY_DOT},
    /* Two FMAs of 512 bits per cycle. Not measured. Even at one vdpbf16ps per cycle, products in
     * bfloat16 would be as fast as float32 and read half the bytes; float32 with rounded factors is
     * slower than either. */
    {.name = "zen5",
     .l1d = 48 << 10,
     .l2 = 1 << 20,
     .blocking = BLOCKING_ZEN4,
     DECISIONS_ZEN4,
     .bf16 = FBP_BF16_BY_DOT},
    /* Skylake-SP to Ice Lake-SP: two FMAs of 512 bits per cycle. Ice Lake, Tiger Lake and Rocket
     * Lake: one. Not measured; they have the L1 prefetcher of golden_cove. vdpbf16ps of Cooper Lake
     * is no faster than float32. */
    {.name = "skylake_x",
     .l1d = 32 << 10,
     .l2 = 1 << 20,
     .blocking = BLOCKING_INTEL,
     DECISIONS_ZEN4,
     .bf16 = FBP_BF16_BY_F32},
    /* Sapphire, Emerald and Granite Rapids, with AMX. Two FMAs of 512 bits per cycle, and a slow L3
     * (160 ns): bursts of prefetches stall, spread ones help. Panels make forward 12 to 40 % faster
     * from rows of 1 KiB on, and the update 10 % slower. With these decisions, 784-1024×3-10 at
     * batch 512 takes 68 instead of 76 ms. */
    {.name = "golden_cove",
     .l1d = 48 << 10,
     .l2 = 2 << 20,
     .blocking = BLOCKING_INTEL,
     .panels_min_bytes = 1024,
     .tile_outputs = 1024,
     .warm_outputs = 512,
     .prefetch = FBP_PREFETCH_SPREAD,
     .block_rows = 252,
     .min_work = 2e6,
     .bf16 = FBP_BF16_BY_TILES},
    /* Alder Lake and later clients: AVX2, two FMAs per cycle, a fast L3, and most have cores of two
     * kinds. The L2 is the smallest of a large core. Not measured. */
    {.name = "golden_cove_client",
     .l1d = 48 << 10,
     .l2 = 1280 << 10,
     .blocking = BLOCKING_ZEN4,
     DECISIONS_ZEN4,
     .bf16 = FBP_BF16_BY_F32},
};

enum { N_MACHINES = sizeof machines / sizeof machines[0] };

/* Families and models: for AMD, from its "Processor Programming Reference" of each family; for
 * Intel, from arch/x86/include/asm/intel-family.h of Linux. */
static const struct {
    fbp_vendor_t vendor;
    int family, first, last; /* models first … last */
    const char *name;
} models[] = {
    {FBP_VENDOR_AMD, 0x17, 0x30, 0xFF, "zen3"},
    {FBP_VENDOR_AMD, 0x19, 0x00, 0x0F, "zen3"},
    {FBP_VENDOR_AMD, 0x19, 0x10, 0x1F, "zen4"}, /* Genoa */
    {FBP_VENDOR_AMD, 0x19, 0x20, 0x5F, "zen3"},
    {FBP_VENDOR_AMD, 0x19, 0x60, 0xAF, "zen4"},       /* Raphael, Phoenix, Bergamo */
    {FBP_VENDOR_INTEL, 6, 0x55, 0x55, "skylake_x"},   /* Skylake-SP, Cascade Lake, Cooper Lake */
    {FBP_VENDOR_INTEL, 6, 0x6A, 0x6C, "skylake_x"},   /* Ice Lake-SP and -D */
    {FBP_VENDOR_INTEL, 6, 0x7D, 0x7E, "skylake_x"},   /* Ice Lake */
    {FBP_VENDOR_INTEL, 6, 0x8C, 0x8D, "skylake_x"},   /* Tiger Lake */
    {FBP_VENDOR_INTEL, 6, 0x8F, 0x8F, "golden_cove"}, /* Sapphire Rapids */
    {FBP_VENDOR_INTEL, 6, 0x97, 0x97, "golden_cove_client"}, /* Alder Lake */
    {FBP_VENDOR_INTEL, 6, 0x9A, 0x9A, "golden_cove_client"},
    {FBP_VENDOR_INTEL, 6, 0xA7, 0xA7, "skylake_x"},          /* Rocket Lake */
    {FBP_VENDOR_INTEL, 6, 0xAA, 0xAA, "golden_cove_client"}, /* Meteor Lake */
    {FBP_VENDOR_INTEL, 6, 0xAC, 0xAC, "golden_cove_client"},
    {FBP_VENDOR_INTEL, 6, 0xAD, 0xAE, "golden_cove"},        /* Granite Rapids */
    {FBP_VENDOR_INTEL, 6, 0xB5, 0xB5, "golden_cove_client"}, /* Arrow Lake */
    {FBP_VENDOR_INTEL, 6, 0xB7, 0xB7, "golden_cove_client"}, /* Raptor Lake */
    {FBP_VENDOR_INTEL, 6, 0xBA, 0xBA, "golden_cove_client"},
    {FBP_VENDOR_INTEL, 6, 0xBD, 0xBD, "golden_cove_client"}, /* Lunar Lake */
    {FBP_VENDOR_INTEL, 6, 0xBF, 0xBF, "golden_cove_client"}, /* Raptor Lake */
    {FBP_VENDOR_INTEL, 6, 0xC5, 0xC6, "golden_cove_client"}, /* Arrow Lake */
    {FBP_VENDOR_INTEL, 6, 0xCF, 0xCF, "golden_cove"},        /* Emerald Rapids */
};

/* All other processors of these vendors, by their features, the rarest first. Older ones are all
 * that have AVX2 only; newer ones are taken for the newest machine with their features. */
static const struct {
    fbp_vendor_t vendor;
    unsigned features; /* FBP_CPU_* */
    const char *name;
} others[] = {
    {FBP_VENDOR_AMD, FBP_CPU_AVX512, "zen5"},       {FBP_VENDOR_AMD, FBP_CPU_AVX2, "zen3"},
    {FBP_VENDOR_INTEL, FBP_CPU_AMX, "golden_cove"}, {FBP_VENDOR_INTEL, FBP_CPU_AVX512, "skylake_x"},
    {FBP_VENDOR_INTEL, FBP_CPU_AVX2, "haswell"},
};

static atomic_int chosen = -1; /* a row; −1: the machine found */

/* The row with this name, or −1. */
static int row_named(const char *name) {
    for (int i = 0; i < N_MACHINES; ++i)
        if (strcmp(machines[i].name, name) == 0) return i;
    return -1;
}

static const fbp_machine_t *row_of(const fbp_cpu_t *cpu) {
    for (size_t i = 0; i < sizeof models / sizeof models[0]; ++i)
        if (cpu->vendor == models[i].vendor && cpu->family == models[i].family &&
            cpu->model >= models[i].first && cpu->model <= models[i].last)
            return &machines[row_named(models[i].name)];
    for (size_t i = 0; i < sizeof others / sizeof others[0]; ++i)
        if (cpu->vendor == others[i].vendor && (cpu->features & others[i].features) != 0)
            return &machines[row_named(others[i].name)];
    return &machines[0];
}

const fbp_machine_t *fbp_machine_found(void) {
    static fbp_machine_t machine;
    static fbp_once_t once;
    if (!fbp_once_begin(&once)) return &machine;
    const fbp_cpu_t *cpu = fbp_cpu();
    machine = *row_of(cpu);
    if (!cpu->hybrid) {
        machine.l1d = cpu->l1d;
        machine.l2 = cpu->l2;
    }
    fbp_once_end(&once);
    return &machine;
}

const fbp_machine_t *fbp_machine(void) {
    const int row = atomic_load(&chosen);
    return row >= 0 ? &machines[row] : fbp_machine_found();
}

bool fbp_machine_select(const char *name) {
    const int row = name != NULL ? row_named(name) : -1;
    if (name != NULL && row < 0) return false;
    atomic_store(&chosen, row);
    return true;
}

const char *fbp_machine_name(int i) { return i >= 0 && i < N_MACHINES ? machines[i].name : NULL; }
