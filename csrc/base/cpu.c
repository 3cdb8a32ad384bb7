/* cpu.c: see cpu.h. Features come from cpuid leaves 1 and 7 and, for what the system saves, XGETBV
 * (Intel SDM vol. 1, §13-15); cache sizes from leaf 4 (Intel) or 0x8000001D (AMD), which have the
 * same layout. */
#if !defined(_GNU_SOURCE)
#define _GNU_SOURCE /* syscall */
#endif
#include "cpu.h"

#include "once.h"

#include <stdio.h>
#include <string.h>

#if defined(__linux__) && defined(__x86_64__)
#include <sys/syscall.h>
#include <unistd.h>
#endif
#if defined(SYS_arch_prctl)
#define FBP_TILES_CALL 1 /* the system has a call that permits AMX tiles */
#else
#define FBP_TILES_CALL 0
#endif

#if defined(__x86_64__) || defined(_M_X64)
#define FBP_X86 1
#if defined(_MSC_VER)
#include <intrin.h>
#else
#include <cpuid.h>
#endif
#else
#define FBP_X86 0
#endif

enum { DEFAULT_L1D = 32 << 10, DEFAULT_L2 = 512 << 10, DEFAULT_L3 = 8 << 20 };

#if FBP_X86
typedef struct {
    unsigned a, b, c, d;
} regs_t;

static regs_t cpuid(unsigned leaf, unsigned subleaf) {
    regs_t r = {0, 0, 0, 0};
#if defined(_MSC_VER)
    int v[4];
    __cpuidex(v, (int)leaf, (int)subleaf);
    r = (regs_t){(unsigned)v[0], (unsigned)v[1], (unsigned)v[2], (unsigned)v[3]};
#else
    __cpuid_count(leaf, subleaf, r.a, r.b, r.c, r.d);
#endif
    return r;
}

static uint64_t xgetbv0(void) {
#if defined(_MSC_VER)
    return _xgetbv(0);
#else
    unsigned lo, hi;
    __asm__ volatile("xgetbv" : "=a"(lo), "=d"(hi) : "c"(0));
    return ((uint64_t)hi << 32) | lo;
#endif
}

static bool bit(unsigned reg, int n) { return (reg >> n) & 1u; }

/* Features beyond AVX-512: `saved` is what the system saves, bits 17 and 18 for tiles. */
static unsigned detect_bf16(const regs_t *seven, uint64_t saved) {
    if (seven->a < 1 || !bit(cpuid(7, 1).a, 5)) return 0;
    const bool tiles = bit(seven->d, 22) && bit(seven->d, 24) && (saved & 0x60000) == 0x60000;
    return FBP_CPU_AVX512_BF16 | (tiles && FBP_TILES_CALL ? FBP_CPU_AMX : 0);
}

static unsigned detect_features(unsigned max_leaf) {
    if (max_leaf < 7) return 0;
    const regs_t one = cpuid(1, 0), seven = cpuid(7, 0);
    if (!bit(one.c, 27)) return 0; /* OSXSAVE */
    const uint64_t saved = xgetbv0();
    unsigned features = 0;
    if ((saved & 0x6) == 0x6 && bit(one.c, 28) && bit(one.c, 12) && bit(seven.b, 5))
        features |= FBP_CPU_AVX2;
    if ((saved & 0xE6) == 0xE6 && (features & FBP_CPU_AVX2) && bit(seven.b, 16) &&
        bit(seven.b, 17) && bit(seven.b, 30) && bit(seven.b, 31))
        features |= FBP_CPU_AVX512 | detect_bf16(&seven, saved);
    return features;
}

/* Leaf 1: the extended family adds to a family of 15, the extended model is the upper half of the
 * model. */
static void detect_model(fbp_cpu_t *cpu, const regs_t *zero) {
    const unsigned signature = cpuid(1, 0).a, family = (signature >> 8) & 15u;
    if (zero->b == 0x68747541u) cpu->vendor = FBP_VENDOR_AMD;   /* "Auth" */
    if (zero->b == 0x756E6547u) cpu->vendor = FBP_VENDOR_INTEL; /* "Genu" */
    cpu->family = (int)(family + (family == 15 ? (signature >> 20) & 255u : 0));
    cpu->model = (int)(((signature >> 12) & 0xF0u) + ((signature >> 4) & 15u));
}

static void detect_caches(fbp_cpu_t *cpu, unsigned leaf) {
    for (unsigned i = 0; i < 8; ++i) {
        const regs_t r = cpuid(leaf, i);
        const unsigned type = r.a & 31u, level = (r.a >> 5) & 7u;
        if (type == 0) return;
        if (type == 2) continue; /* a cache of instructions */
        const size_t bytes = (size_t)((r.b >> 22) + 1) * (((r.b >> 12) & 0x3FFu) + 1) *
                             ((r.b & 0xFFFu) + 1) * ((size_t)r.c + 1);
        if (level == 1) cpu->l1d = bytes;
        if (level == 2) cpu->l2 = bytes;
        if (level == 3) cpu->l3 = bytes;
    }
}

static void detect_name(fbp_cpu_t *cpu, unsigned max_extended) {
    if (max_extended < 0x80000004u) return;
    char raw[49] = {0};
    for (unsigned i = 0; i < 3; ++i) {
        const regs_t r = cpuid(0x80000002u + i, 0);
        memcpy(raw + 16 * i, &r, 16);
    }
    const char *start = raw + strspn(raw, " ");
    size_t length = strlen(start);
    while (length > 0 && start[length - 1] == ' ') --length;
    memcpy(cpu->name, start, length);
    cpu->name[length] = '\0';
}

static void detect(fbp_cpu_t *cpu) {
    const regs_t zero = cpuid(0, 0);
    const unsigned max_leaf = zero.a, max_extended = cpuid(0x80000000u, 0).a;
    if (max_leaf >= 1) detect_model(cpu, &zero);
    cpu->features = detect_features(max_leaf);
    cpu->hybrid = max_leaf >= 7 && bit(cpuid(7, 0).d, 15);
    const bool amd_caches = max_extended >= 0x8000001Du && bit(cpuid(0x80000001u, 0).c, 22);
    if (amd_caches) detect_caches(cpu, 0x8000001Du);
    else if (max_leaf >= 4) detect_caches(cpu, 4);
    detect_name(cpu, max_extended);
}
#else
static size_t read_cache_file(int index) {
    char path[96], text[32] = {0};
    snprintf(path, sizeof path, "/sys/devices/system/cpu/cpu0/cache/index%d/size", index);
    FILE *file = fopen(path, "r");
    unsigned long kib = 0;
    if (file == NULL) return 0;
    if (fgets(text, sizeof text, file) != NULL && sscanf(text, "%luK", &kib) != 1) kib = 0;
    fclose(file);
    return (size_t)kib << 10;
}

static void detect(fbp_cpu_t *cpu) {
#if defined(__aarch64__) || defined(_M_ARM64)
    cpu->features = FBP_CPU_NEON;
#endif
    cpu->l1d = read_cache_file(0);
    cpu->l2 = read_cache_file(2);
    cpu->l3 = read_cache_file(3);
}
#endif

/* Linux 5.16 or newer (Documentation/arch/x86/xstate.rst) permits tiles for all threads of a
 * process; children made by fork inherit it. It refuses if a filter of system calls forbids the
 * call, or if a thread has a stack for signals that is too small for the larger frames. */
static bool system_offers_tiles(void) {
#if FBP_TILES_CALL
    enum { GET_SUPPORTED = 0x1021, TILE_DATA = 18 };
    uint64_t supported = 0;
    return syscall(SYS_arch_prctl, GET_SUPPORTED, &supported) == 0 && (supported >> TILE_DATA & 1);
#else
    return false;
#endif
}

static bool system_permits_tiles(void) {
#if FBP_TILES_CALL
    enum { REQUEST_PERMISSION = 0x1023, TILE_DATA = 18 };
    return syscall(SYS_arch_prctl, REQUEST_PERMISSION, TILE_DATA) == 0;
#else
    return false;
#endif
}

static atomic_int tiles; /* fbp_tiles_t; constant after a request */

const fbp_cpu_t *fbp_cpu(void) {
    static fbp_cpu_t cpu;
    static fbp_once_t once;
    if (!fbp_once_begin(&once)) return &cpu;
    detect(&cpu);
    if (cpu.l1d == 0) cpu.l1d = DEFAULT_L1D;
    if (cpu.l2 == 0) cpu.l2 = DEFAULT_L2;
    if (cpu.l3 == 0) cpu.l3 = DEFAULT_L3;
    if (cpu.features & FBP_CPU_AMX)
        atomic_store(&tiles, system_offers_tiles() ? FBP_TILES_UNREQUESTED : FBP_TILES_REFUSED);
    fbp_once_end(&once);
    return &cpu;
}

fbp_tiles_t fbp_tiles(void) {
    (void)fbp_cpu();
    return (fbp_tiles_t)atomic_load(&tiles);
}

bool fbp_request_tiles(void) {
    if (fbp_tiles() == FBP_TILES_UNREQUESTED)
        atomic_store(&tiles, system_permits_tiles() ? FBP_TILES_PERMITTED : FBP_TILES_REFUSED);
    return fbp_tiles() == FBP_TILES_PERMITTED;
}
