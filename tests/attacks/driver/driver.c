/* driver.c: the main function, checks and numbers of the driver.
 *   driver [--small] [ISA…]      all ISAs of this machine, if none is named
 * It prints one line of counts, and ends with 1 if there was a fault. */
#include "driver.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

atomic_int driver_called[DRIVER_FUNCTIONS];
bool driver_small;

static atomic_int n_checks, n_faults;

static void note(bool holds, const char *file, int line) {
    atomic_fetch_add_explicit(&n_checks, 1, memory_order_relaxed);
    if (holds) return;
    atomic_fetch_add_explicit(&n_faults, 1, memory_order_relaxed);
    fprintf(stderr, "%s:%d: on %s: ", file, line, fastbp_isa());
}

bool driver_check(bool holds, const char *file, int line, const char *text, const char *format,
                  ...) {
    va_list arguments;
    va_start(arguments, format);
    note(holds, file, line);
    if (!holds) {
        vfprintf(stderr, format, arguments);
        fprintf(stderr, ": %s does not hold\n", text);
    }
    va_end(arguments);
    return holds;
}

bool driver_check_status(fastbp_status_t got, fastbp_status_t expected, const char *file, int line,
                         const char *text) {
    note(got == expected, file, line);
    if (got != expected)
        fprintf(stderr, "%s returned %d, expected %d\n", text, (int)got, (int)expected);
    return got == expected;
}

void *driver_new(size_t count, size_t size) {
    void *block = calloc(count > 0 ? count : 1, size);
    if (block == NULL) {
        fprintf(stderr, "driver: out of memory\n");
        exit(2);
    }
    return block;
}

/* ---- numbers ---- */

size_t size_of(fastbp_dtype_t dtype) {
    return dtype == FASTBP_F32 ? sizeof(float) : sizeof(double);
}

double get(fastbp_dtype_t dtype, const void *array, size_t i) {
    return dtype == FASTBP_F32 ? (double)((const float *)array)[i] : ((const double *)array)[i];
}

void put(fastbp_dtype_t dtype, void *array, size_t i, double value) {
    if (dtype == FASTBP_F32) ((float *)array)[i] = (float)value;
    else ((double *)array)[i] = value;
}

double uniform(uint64_t *state) {
    uint64_t z = *state += 0x9E3779B97F4A7C15u;
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
    return (double)((z ^ (z >> 31)) >> 11) * 0x1p-53;
}

/* Box & Muller, 1958. */
double normal(uint64_t *state) {
    const double radius = sqrt(-2 * log(1 - uniform(state)));
    return radius * cos(6.283185307179586 * uniform(state));
}

double dot_of(fastbp_dtype_t dtype, const void *x, const void *y, size_t n) {
    double sum = 0;
    for (size_t i = 0; i < n; ++i) sum += get(dtype, x, i) * get(dtype, y, i);
    return sum;
}

double norm_of(fastbp_dtype_t dtype, const void *x, size_t n) {
    return sqrt(dot_of(dtype, x, x, n));
}

double distance(fastbp_dtype_t dtype, const void *x, const void *y, size_t n) {
    double sum = 0;
    for (size_t i = 0; i < n; ++i) {
        const double d = get(dtype, x, i) - get(dtype, y, i);
        sum += d * d;
    }
    return sqrt(sum);
}

bool all_finite(fastbp_dtype_t dtype, const void *x, size_t n) {
    for (size_t i = 0; i < n; ++i)
        if (!isfinite(get(dtype, x, i))) return false;
    return true;
}

/* ---- the main function ---- */

static void run_on(const char *isa) {
    if (!CHECK_STATUS(fastbp_isa_select(isa), FASTBP_OK)) return;
    CHECK(strcmp(fastbp_isa(), isa) == 0, "%s", isa);
    check_passes();
    check_derivatives();
    check_training();
    check_rules();
    check_sessions();
    check_threads();
    check_populations();
    check_ranks_of_parts();
    check_programs();
    check_products();
    check_bad_arguments();
}

/* How many functions of the headers were called; the others are faults. */
static int count_called(void) {
    int called = 0;
    for (int i = 0; i < DRIVER_FUNCTIONS; ++i) {
        const bool was_called = atomic_load_explicit(&driver_called[i], memory_order_relaxed) != 0;
        called += CHECK(was_called, "%s was not called", driver_names[i]);
    }
    return called;
}

int main(int argc, char **argv) {
    int named = 0;
    check_names();
    check_machine();
    check_csv();
    for (int i = 1; i < argc; ++i)
        if (strcmp(argv[i], "--small") == 0) driver_small = true;
        else ++named;
    for (int i = 1; i < argc; ++i)
        if (strcmp(argv[i], "--small") != 0) run_on(argv[i]);
    for (int i = 0; named == 0 && fastbp_isa_available(i) != NULL; ++i)
        run_on(fastbp_isa_available(i));
    CHECK_STATUS(fastbp_stop_threads(), FASTBP_OK);
    const int called = count_called();
    printf("driver: %d functions, %d checks, %d faults\n", called, atomic_load(&n_checks),
           atomic_load(&n_faults));
    return atomic_load(&n_faults) == 0 ? 0 : 1;
}
