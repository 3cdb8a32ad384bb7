/* fuzz.c: see fuzz.h. It also has the entry that libFuzzer calls. The link option
 * --wrap=fbp_machine gives the engine the machines of this file. */
#include "fuzz.h"

#include <base/machine.h>

#include <float.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
const char *__asan_default_options(void);
const char *__ubsan_default_options(void);

#define FOR_SANITIZERS __attribute__((visibility("default"), used))

/* Sizes that no machine has give NULL, as without AddressSanitizer. */
FOR_SANITIZERS const char *__asan_default_options(void) {
    return "allocator_may_return_null=1:max_allocation_size_mb=64";
}

FOR_SANITIZERS const char *__ubsan_default_options(void) { return "print_stacktrace=1"; }

/* ---- numbers from bytes ---- */

unsigned take_byte(input_t *in) { return in->at < in->end ? *in->at++ : 0; }

int64_t take_word(input_t *in) {
    uint64_t word = 0;
    for (int i = 0; i < 8; ++i) word |= (uint64_t)take_byte(in) << (8 * i);
    int64_t number;
    memcpy(&number, &word, sizeof number);
    return number;
}

int take_below(input_t *in, int limit) {
    unsigned number = take_byte(in);
    if (limit > 256) number |= take_byte(in) << 8;
    return (int)(number % (unsigned)limit);
}

int take_in(input_t *in, int low, int high) { return low + take_below(in, high - low + 1); }

bool take_flag(input_t *in) { return take_byte(in) & 1; }

bool take_rarely(input_t *in) { return (take_byte(in) & 15) == 15; }

int take_code(input_t *in, int count) {
    const unsigned byte = take_byte(in);
    if (byte < 240) return (int)(byte % (unsigned)count);
    return byte < 248 ? (int)byte - 244 + (byte < 244 ? 0 : count) : (int)take_word(in);
}

ptrdiff_t take_size(input_t *in, int low, int high) {
    const unsigned byte = take_byte(in);
    if (byte < 244) return low + (ptrdiff_t)(byte % (unsigned)(high - low + 1));
    switch (byte) {
    case 244: return 0;
    case 245: return -1;
    case 246: return PTRDIFF_MAX;
    case 247: return PTRDIFF_MIN;
    case 248: return (ptrdiff_t)1 << take_below(in, 63);
    case 249: return PTRDIFF_MAX - take_below(in, 256);
    case 250: return INT32_MAX;
    default: return (ptrdiff_t)take_word(in);
    }
}

double take_number(input_t *in) {
    static const double special[] = {0.0,    -0.0,   1.0,     -1.0,  INFINITY, -INFINITY, NAN,
                                     5e-324, 2e-308, 1.7e308, 1e-40, 3.4e38,   -3.5e38,   1e-8,
                                     0.5,    88.0,   -104.0,  710.0, -746.0,   1e-30};
    const unsigned byte = take_byte(in);
    if (byte < 128) return ((double)byte - 64) / 8;
    if (byte < 224) return special[byte % (sizeof special / sizeof special[0])];
    const int64_t word = take_word(in);
    double number;
    memcpy(&number, &word, sizeof number);
    return number;
}

double take_tame(input_t *in) { return ((double)take_byte(in) - 128) / 16; }

double take_fraction(input_t *in) {
    const unsigned byte = take_byte(in);
    return byte < 240 ? byte / 240.0 : take_number(in);
}

uint64_t next_random(uint64_t *state) {
    *state ^= *state >> 12;
    *state ^= *state << 25;
    *state ^= *state >> 27;
    return *state * UINT64_C(0x2545F4914F6CDD1D);
}

/* ---- memory ---- */

enum { MOST_BLOCKS = 1 << 12 };
static void *blocks[MOST_BLOCKS];
static int n_blocks;

static void *keep(void *block) {
    REQUIRE(block != NULL && n_blocks < MOST_BLOCKS, "the target takes too much memory");
    return blocks[n_blocks++] = block;
}

void *exact(size_t count, size_t size) { return keep(calloc(count > 0 ? count : 1, size)); }

void *exact_on_line(size_t bytes) { return keep(aligned_alloc(64, bytes)); }

void drop(void *block) {
    for (int i = n_blocks; i-- > 0;)
        if (blocks[i] == block) {
            blocks[i] = blocks[--n_blocks];
            free(block);
            return;
        }
}

size_t size_of(fastbp_dtype_t dtype) {
    return dtype == FASTBP_F32 ? sizeof(float) : sizeof(double);
}

double get(fastbp_dtype_t dtype, const void *array, size_t i) {
    return dtype == FASTBP_F32 ? (double)((const float *)array)[i] : ((const double *)array)[i];
}

void put(fastbp_dtype_t dtype, void *array, size_t i, double value) {
    if (dtype == FASTBP_F64) ((double *)array)[i] = value;
    else if (fabs(value) <= (double)FLT_MAX || !isfinite(value)) ((float *)array)[i] = (float)value;
    else ((float *)array)[i] = value > 0 ? INFINITY : -INFINITY;
}

static void fill(input_t *in, fastbp_dtype_t dtype, void *array, size_t n,
                 double (*take)(input_t *)) {
    const size_t own = n < 64 ? n : 64;
    for (size_t i = 0; i < own; ++i) put(dtype, array, i, take(in));
    for (size_t i = own; i < n; ++i)
        put(dtype, array, i, get(dtype, array, (i * 7 + i / 64) % own));
}

void fill_any(input_t *in, fastbp_dtype_t dtype, void *array, size_t n) {
    fill(in, dtype, array, n, take_number);
}

void fill_tame(input_t *in, fastbp_dtype_t dtype, void *array, size_t n) {
    fill(in, dtype, array, n, take_tame);
}

bool same_bits(fastbp_dtype_t dtype, const void *x, const void *y, size_t n) {
    const size_t size = size_of(dtype);
    for (size_t i = 0; i < n; ++i) {
        if (isnan(get(dtype, x, i)) && isnan(get(dtype, y, i))) continue;
        if (memcmp((const char *)x + i * size, (const char *)y + i * size, size) != 0) return false;
    }
    return true;
}

bool all_finite(fastbp_dtype_t dtype, const void *x, size_t n) {
    for (size_t i = 0; i < n; ++i)
        if (!isfinite(get(dtype, x, i))) return false;
    return true;
}

/* ---- checks ---- */

void fault(const char *file, int line, const char *text, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    fprintf(stderr, "%s:%d: the check %s failed: ", file, line, text);
    vfprintf(stderr, format, arguments);
    fputc('\n', stderr);
    va_end(arguments);
    abort();
}

bool succeeded(fastbp_status_t status) {
    REQUIRE(status <= FASTBP_ERR_VARIANCE, "unknown status %u", (unsigned)status);
    return status == FASTBP_OK;
}

/* ---- transcripts ---- */

static void note(transcript_t *to, const char *call, uint64_t hash) {
    if (to->n == (int)(sizeof to->hash / sizeof to->hash[0])) return;
    to->call[to->n] = call;
    to->hash[to->n++] = hash;
}

bool note_status(transcript_t *to, const char *call, fastbp_status_t status) {
    note(to, call, (uint64_t)status);
    return succeeded(status);
}

void note_values(transcript_t *to, const char *call, fastbp_dtype_t dtype, const void *x,
                 size_t n) {
    uint64_t hash = UINT64_C(14695981039346656037);
    for (size_t i = 0; i < n; ++i) {
        const double value = get(dtype, x, i);
        uint64_t bits = UINT64_MAX;
        if (!isnan(value)) memcpy(&bits, &value, sizeof bits);
        hash = (hash ^ bits ^ bits >> 32) * UINT64_C(1099511628211);
    }
    note(to, call, hash);
}

void require_same(const transcript_t *x, const transcript_t *y, const char *what) {
    for (int i = 0; i < x->n && i < y->n; ++i)
        REQUIRE(strcmp(x->call[i], y->call[i]) == 0 && x->hash[i] == y->hash[i],
                "%s: call %d, %s, has other results", what, i, x->call[i]);
    REQUIRE(x->n == y->n, "%s: %d calls, %d calls", what, x->n, y->n);
}

/* ---- the engine ---- */

const fbp_machine_t *__real_fbp_machine(void);
const fbp_machine_t *__wrap_fbp_machine(void);

static fbp_machine_t tiny;
static bool use_tiny;

const fbp_machine_t *__wrap_fbp_machine(void) { return use_tiny ? &tiny : __real_fbp_machine(); }

void use_tiny_machine(unsigned variant) {
    static const ptrdiff_t outputs[] = {16, 32, 64, 512};
    tiny = *__real_fbp_machine();
    tiny.l2 = (size_t)4096 << (variant & 3);
    tiny.block_rows = 1 + (ptrdiff_t)(variant >> 2 & 7);
    tiny.tile_outputs = outputs[variant >> 5 & 3];
    tiny.panels_min_bytes = variant & 128 ? 64 : tiny.panels_min_bytes;
    tiny.min_work = 1;
    use_tiny = true;
}

void use_own_machine(void) { use_tiny = false; }

void take_isa(input_t *in) {
    int count = 0;
    while (fastbp_isa_available(count) != NULL) ++count;
    const char *name = fastbp_isa_available(take_below(in, count));
    REQUIRE(fastbp_isa_select(name) == FASTBP_OK, "%s is listed as available", name);
    use_own_machine();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    input_t in = {data, data + size};
    target(&in);
    while (n_blocks > 0) free(blocks[--n_blocks]);
    return 0;
}
