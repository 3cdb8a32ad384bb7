/* products.c: single products, vector functions and roundings against loops in double, and the
 * measurements of the machine. */
#include "driver.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static void *random_matrix(fastbp_dtype_t dtype, size_t n, uint64_t *random) {
    void *x = driver_new(n, size_of(dtype));
    for (size_t i = 0; i < n; ++i) put(dtype, x, i, (double)(float)normal(random));
    return x;
}

/* ---- products ---- */

/* Σ_p A[i,p] B[p,j], with A or B transposed as the form says. */
static double sum_of(const fastbp_gemm_call_t *call, ptrdiff_t i, ptrdiff_t j, double *size) {
    double sum = 0;
    *size = 0;
    for (ptrdiff_t p = 0; p < call->k; ++p) {
        const ptrdiff_t a = call->form == FASTBP_GEMM_TN ? p * call->lda + i : i * call->lda + p;
        const ptrdiff_t b = call->form == FASTBP_GEMM_NT ? j * call->ldb + p : p * call->ldb + j;
        const double term =
            get(call->dtype, call->a, (size_t)a) * get(call->dtype, call->b, (size_t)b);
        sum += term;
        *size += fabs(term);
    }
    return sum;
}

static void check_product(fastbp_gemm_form_t form, fastbp_dtype_t dtype, ptrdiff_t m, ptrdiff_t n,
                          ptrdiff_t k, bool panels) {
    uint64_t random = (uint64_t)(m + 100 * n + 10000 * k);
    const bool tn = form == FASTBP_GEMM_TN, nt = form == FASTBP_GEMM_NT;
    fastbp_gemm_call_t call = {.form = form,
                               .dtype = dtype,
                               .m = m,
                               .n = n,
                               .k = k,
                               .lda = tn ? m : k,
                               .ldb = nt ? k : n,
                               .activation = 0,
                               .panels = panels,
                               .repeats = 1,
                               .ldc = n};
    void *a = random_matrix(dtype, (size_t)(m * k), &random);
    void *b = random_matrix(dtype, (size_t)(k * n), &random);
    void *c = random_matrix(dtype, (size_t)(m * n), &random);
    call.a = a;
    call.b = b;
    call.c = c;
    CHECK_STATUS(fastbp_gemm(&call), FASTBP_OK);
    const double eps = dtype == FASTBP_F32 ? 1.2e-7 : 2.3e-16;
    for (ptrdiff_t i = 0; i < m; ++i)
        for (ptrdiff_t j = 0; j < n; ++j) {
            double size;
            const double sum = sum_of(&call, i, j, &size);
            const double error = fabs(get(dtype, c, (size_t)(i * n + j)) - sum);
            CHECK(error <= (double)(k + 1) * eps * size, "%d × %d × %d: %g", (int)m, (int)n, (int)k,
                  error);
        }
    free(a);
    free(b);
    free(c);
}

static void check_gemm(void) {
    const ptrdiff_t sizes[] = {1, 3, 16, 17, 33};
    const int n = driver_small ? 4 : 5;
    for (fastbp_dtype_t dtype = FASTBP_F32; dtype <= FASTBP_F64; ++dtype)
        for (int i = 0; i < n; ++i)
            for (int j = 0; j < n; ++j)
                for (int k = 0; k < n; ++k) {
                    check_product(FASTBP_GEMM_NN, dtype, sizes[i], sizes[j], sizes[k], false);
                    check_product(FASTBP_GEMM_NN, dtype, sizes[i], sizes[j], sizes[k], true);
                    check_product(FASTBP_GEMM_TN, dtype, sizes[i], sizes[j], sizes[k], false);
                    check_product(FASTBP_GEMM_NT, dtype, sizes[i], sizes[j], sizes[k], false);
                }
}

/* ---- products in bfloat16 ---- */

/* A float rounded to its upper 16 bits, ties to even. */
static float upper_half(float x) {
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    bits = (bits + 0x7FFF + (bits >> 16 & 1)) & 0xFFFF0000u;
    memcpy(&x, &bits, sizeof bits);
    return x;
}

/* x rounded for a product with so many planes. */
static double rounded(float x, int planes) {
    const float high = upper_half(x);
    return planes == 1 ? (double)high : (double)high + (double)upper_half(x - high);
}

static void check_rounding(void) {
    enum { N = 100 };
    uint64_t random = 5;
    float *x = random_matrix(FASTBP_F32, N, &random), *out = driver_new(N, sizeof *out);
    for (int planes = 1; planes <= 2; ++planes) {
        const fastbp_precision_t precision = planes == 1 ? FASTBP_MEDIUM : FASTBP_HIGH;
        CHECK_STATUS(fastbp_round(FASTBP_F32, precision, 4, N / 4, x, N / 4, out, N / 4),
                     FASTBP_OK);
        for (int i = 0; i < N; ++i)
            CHECK((double)out[i] == rounded(x[i], planes), "%g: %g", (double)x[i], (double)out[i]);
    }
    CHECK_STATUS(fastbp_round(FASTBP_F32, FASTBP_HIGHEST, 1, 1, x, 1, out, 1), FASTBP_ERR_ARGUMENT);
    CHECK_STATUS(fastbp_round(FASTBP_F32, FASTBP_HIGH, -1, 1, x, 1, out, 1), FASTBP_ERR_ARGUMENT);
    double wide[4] = {1, -0.1, 1e-40, 0}, to[4];
    CHECK_STATUS(fastbp_round(FASTBP_F64, FASTBP_MEDIUM, 2, 2, wide, 2, to, 2), FASTBP_OK);
    CHECK(to[0] == 1 && fabs(to[1] + 0.1) < 1e-3 && to[3] == 0, "%g, %g", to[0], to[1]);
    free(x);
    free(out);
}

/* A block of factors on a cache line: posix_memalign is not everywhere. */
static uint16_t *new_factor(size_t elems, void **block) {
    char *made = *block = driver_new(elems * sizeof(uint16_t) + 64, 1);
    return (uint16_t *)(made + (64 - (uintptr_t)made % 64) % 64);
}

static void check_packing(int planes) {
    enum { ROWS = 19, COLS = 35 };
    uint64_t random = 6;
    float *x = random_matrix(FASTBP_F32, ROWS * COLS, &random);
    const size_t elems = fastbp_bf16_elems(ROWS, COLS, planes);
    fastbp_bf16_forms_t forms[2];
    void *blocks[8];
    CHECK(elems >= (size_t)(ROWS * COLS * planes), "%.0f elements", (double)elems);
    for (int i = 0; i < 8; ++i) forms[i / 4].form[i % 4] = new_factor(elems, &blocks[i]);
    for (int listed = 0; listed < 2; ++listed)
        CHECK_STATUS(fastbp_bf16_pack(x, COLS, ROWS, COLS, planes, listed, 1, &forms[listed]),
                     FASTBP_OK);
    for (int i = 0; i < 4; ++i)
        CHECK(memcmp(forms[0].form[i], forms[1].form[i], elems * sizeof(uint16_t)) == 0, "form %d",
              i);
    for (int i = 0; i < 8; ++i) free(blocks[i]);
    free(x);
}

static void check_bf16_product(int planes, ptrdiff_t m, ptrdiff_t n, ptrdiff_t k) {
    uint64_t random = 7;
    float *a = random_matrix(FASTBP_F32, (size_t)(m * k), &random);
    float *b = random_matrix(FASTBP_F32, (size_t)(k * n), &random);
    float *c = driver_new((size_t)(m * n), sizeof *c);
    const fastbp_bf16_call_t call = {.m = m,
                                     .n = n,
                                     .k = k,
                                     .planes = planes,
                                     .a = a,
                                     .b = b,
                                     .lda = k,
                                     .ldb = n,
                                     .c = c,
                                     .ldc = n,
                                     .repeats = 2};
    CHECK_STATUS(fastbp_bf16_product(&call), FASTBP_OK);
    for (ptrdiff_t i = 0; i < m; ++i)
        for (ptrdiff_t j = 0; j < n; ++j) {
            double sum = 0, size = 0;
            for (ptrdiff_t p = 0; p < k; ++p) {
                const double term = rounded(a[i * k + p], planes) * rounded(b[p * n + j], planes);
                sum += term;
                size += fabs(term);
            }
            const double error = fabs((double)c[i * n + j] - sum);
            const double eps = planes == 1 ? 1.2e-7 : 2e-5; /* lo · lo is left out */
            CHECK(error <= (double)(k + 2) * eps * size, "%d × %d × %d: %g", (int)m, (int)n, (int)k,
                  error);
        }
    free(a);
    free(b);
    free(c);
}

static void check_bf16(void) {
    fastbp_bf16_call_t call = {.m = 1, .n = 1, .k = 1, .planes = 1, .repeats = 1};
    fastbp_bf16_forms_t forms = {{NULL}};
    const float one = 1;
    CHECK(fastbp_bf16_elems(-1, 1, 1) == 0 && fastbp_bf16_elems(1, 1, 3) == 0, "bad sizes");
    CHECK(fastbp_bf16_elems(PTRDIFF_MAX, PTRDIFF_MAX, 2) == 0, "sizes that do not fit");
    CHECK(fastbp_bf16_peak(3, 0) == 0, "planes");
    if (strcmp(fastbp_isa(), fastbp_isa_base(fastbp_isa())) == 0) { /* it has no such products */
        CHECK_STATUS(fastbp_bf16_product(&call), FASTBP_ERR_ISA);
        CHECK_STATUS(fastbp_bf16_pack(&one, 1, 1, 1, 1, false, 1, &forms), FASTBP_ERR_ISA);
        CHECK(fastbp_bf16_peak(1, 0.001) == 0, "no peak");
        return;
    }
    for (int planes = 1; planes <= 2; ++planes) {
        check_packing(planes);
        check_bf16_product(planes, 1, 1, 1);
        check_bf16_product(planes, 17, 33, 65);
        check_bf16_product(planes, 32, 16, 64);
        CHECK(fastbp_bf16_peak(planes, 0.001) > 0, "the peak");
    }
    call.planes = 3;
    CHECK_STATUS(fastbp_bf16_product(&call), FASTBP_ERR_ARGUMENT);
    CHECK_STATUS(fastbp_bf16_pack(&one, 1, 0, 1, 1, false, 1, &forms), FASTBP_ERR_ARGUMENT);
    call =
        (fastbp_bf16_call_t){.m = PTRDIFF_MAX, .n = 1, .k = PTRDIFF_MAX, .planes = 1, .repeats = 1};
    CHECK_STATUS(fastbp_bf16_product(&call), FASTBP_ERR_MEMORY);
}

/* ---- vector functions ---- */

/* NaN: this function is not known here. */
static double right_value(const char *name, double x) {
    if (strcmp(name, "exp") == 0) return exp(x);
    if (strcmp(name, "expm1") == 0) return expm1(x);
    if (strcmp(name, "log") == 0) return log(x);
    if (strcmp(name, "log1p") == 0) return log1p(x);
    if (strcmp(name, "tanh") == 0) return tanh(x);
    if (strcmp(name, "sigmoid") == 0) return 1 / (1 + exp(-x));
    if (strcmp(name, "softplus") == 0) return log1p(exp(x));
    if (strcmp(name, "silu") == 0) return x / (1 + exp(-x));
    if (strcmp(name, "mish") == 0) return x * tanh(log1p(exp(x)));
    if (strcmp(name, "gelu") == 0) return x / 2 * erfc(-x / sqrt(2));
    if (strcmp(name, "gelu_tanh") == 0)
        return x / 2 * (1 + tanh(sqrt(2 / 3.141592653589793) * (x + 0.044715 * x * x * x)));
    if (strcmp(name, "sin") == 0) return sin(x);
    if (strcmp(name, "cos") == 0) return cos(x);
    return NAN;
}

static void check_vmath(void) {
    enum { N = 103 };
    int op = 0;
    for (const char *name; (name = fastbp_vmath_name(op)) != NULL; ++op)
        for (fastbp_dtype_t dtype = FASTBP_F32; dtype <= FASTBP_F64; ++dtype) {
            void *x = driver_new(N, size_of(dtype)), *out = driver_new(N, size_of(dtype));
            for (size_t i = 0; i < N; ++i)
                put(dtype, x, i, (double)(float)(0.01 + 0.03 * (double)i));
            CHECK_STATUS(fastbp_vmath(op, dtype, N, x, out), FASTBP_OK);
            CHECK_STATUS(fastbp_vmath(op, dtype, 0, NULL, NULL), FASTBP_OK);
            CHECK_STATUS(fastbp_vmath(op, dtype, -1, x, out), FASTBP_ERR_ARGUMENT);
            for (size_t i = 0; i < N; ++i) {
                const double right = right_value(name, get(dtype, x, i));
                const double found = get(dtype, out, i);
                const double eps = dtype == FASTBP_F32 ? 6e-7 : 1.2e-15;
                CHECK(fabs(found - right) <= eps * (0.1 + fabs(right)), "%s(%g) = %.17g, not %.17g",
                      name, get(dtype, x, i), found, right);
            }
            free(x);
            free(out);
        }
    CHECK(op > 0, "fastbp_vmath_name lists no function");
    CHECK_STATUS(fastbp_vmath(op, FASTBP_F32, 0, NULL, NULL), FASTBP_ERR_ARGUMENT);
    CHECK_STATUS(fastbp_vmath(-1, FASTBP_F32, 0, NULL, NULL), FASTBP_ERR_ARGUMENT);
}

/* ---- measurements ---- */

static void check_measurements(void) {
    CHECK(fastbp_fma_peak(FASTBP_F32, 1e-3) > 0 && fastbp_fma_peak(FASTBP_F64, 1e-3) > 0, "FMA");
    for (int threads = 1; threads <= 3; ++threads) {
        CHECK(fastbp_memory_rate(FASTBP_F32, 1 << 16, threads, 1e-3) > 0, "%d threads", threads);
        CHECK(fastbp_pool_latency(threads, 10) > 0, "%d threads", threads);
    }
    CHECK(fastbp_memory_rate(FASTBP_F64, 0, 1, 1e-3) == 0, "no memory");
    CHECK(fastbp_memory_rate(FASTBP_F64, SIZE_MAX, 1, 1e-3) == 0, "too much memory");
    CHECK(fastbp_memory_rate(FASTBP_F64, 1 << 10, -1, 1e-3) == 0, "−1 threads");
    CHECK(fastbp_pool_latency(0, 10) == 0 && fastbp_pool_latency(2, 0) == 0, "nothing to measure");
}

void check_products(void) {
    check_gemm();
    check_rounding();
    check_bf16();
    check_vmath();
    check_measurements();
}
