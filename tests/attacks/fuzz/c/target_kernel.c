/* target_kernel.c: single kernels with any sizes and strides. The factors of products are multiples
 * of 1/16 below 8, so every sum is exact in float32, and must be equal to that of three loops; they
 * also fit bfloat16. vmath must give the same bits alone, and rounding must be that of the bits.
 *
 * Input: the ISA, the kernel, sizes, strides and options, then numbers. */
#include "fuzz.h"

#include <float.h>
#include <math.h>
#include <string.h>

enum { MOST = 70 };

static ptrdiff_t take_ld(input_t *in, ptrdiff_t cols) {
    const ptrdiff_t apart = cols + take_below(in, 4);
    return take_rarely(in) ? -apart : apart;
}

/* A matrix whose memory ends with its last element; *at is its first row. */
static void *new_matrix(fastbp_dtype_t dtype, ptrdiff_t rows, ptrdiff_t cols, ptrdiff_t ld) {
    const size_t apart = (size_t)(ld < 0 ? -ld : ld), size = size_of(dtype);
    char *block = exact((size_t)(rows - 1) * apart + (size_t)cols, size);
    return ld < 0 ? block + (size_t)(rows - 1) * apart * size : block;
}

static void *take_matrix(input_t *in, fastbp_dtype_t dtype, ptrdiff_t rows, ptrdiff_t cols,
                         ptrdiff_t ld) {
    void *at = new_matrix(dtype, rows, cols, ld);
    uint64_t random = 1 + take_byte(in);
    for (ptrdiff_t i = 0; i < rows; ++i)
        for (ptrdiff_t j = 0; j < cols; ++j) {
            const double value = ((double)(next_random(&random) >> 56) - 128) / 16;
            put(dtype, (char *)at + i * ld * (ptrdiff_t)size_of(dtype), (size_t)j, value);
        }
    return at;
}

static double element(fastbp_dtype_t dtype, const void *at, ptrdiff_t ld, ptrdiff_t i,
                      ptrdiff_t j) {
    return get(dtype, (const char *)at + i * ld * (ptrdiff_t)size_of(dtype), (size_t)j);
}

/* ---- products ---- */

static double exact_sum(const fastbp_gemm_call_t *call, ptrdiff_t i, ptrdiff_t j) {
    double sum = call->bias != NULL ? get(call->dtype, call->bias, (size_t)j) : 0;
    for (ptrdiff_t p = 0; p < call->k; ++p) {
        const double a = call->form == FASTBP_GEMM_TN
                             ? element(call->dtype, call->a, call->lda, p, i)
                             : element(call->dtype, call->a, call->lda, i, p);
        const double b = call->form == FASTBP_GEMM_NT
                             ? element(call->dtype, call->b, call->ldb, j, p)
                             : element(call->dtype, call->b, call->ldb, p, j);
        sum += a * b;
    }
    return sum;
}

static void check_product(const fastbp_gemm_call_t *call) {
    for (ptrdiff_t i = 0; i < call->m; ++i)
        for (ptrdiff_t j = 0; j < call->n; ++j) {
            const double sum = exact_sum(call, i, j);
            if (call->activation == FASTBP_ACT_IDENTITY)
                REQUIRE(element(call->dtype, call->c, call->ldc, i, j) == sum,
                        "c[%td, %td] of %td × %td × %td", i, j, call->m, call->n, call->k);
            if (call->z != NULL && call->aux == NULL)
                REQUIRE(element(call->dtype, call->z, call->ldz, i, j) == sum, "z[%td, %td]", i, j);
        }
}

static void take_options(input_t *in, fastbp_gemm_call_t *call) {
    const unsigned byte = take_byte(in);
    if (byte & 1) call->bias = take_matrix(in, call->dtype, 1, call->n, call->n);
    if (byte & 2)
        call->z = new_matrix(call->dtype, call->m, call->n, call->ldz = take_ld(in, call->n));
    if (byte & 4) {
        call->ldaux = take_ld(in, call->n);
        call->aux = take_matrix(in, call->dtype, call->m, call->n, call->ldaux);
        call->bias = call->z = NULL;
    }
    if (byte & 8) call->activation = take_code(in, FASTBP_ACT_SOFTMAX);
    call->panels = byte & 16;
    call->alpha = 0.25;
    call->repeats = take_rarely(in) ? take_in(in, 0, 2) - 1 : 1;
}

static void run_gemm(input_t *in) {
    fastbp_gemm_call_t call = {.form = (fastbp_gemm_form_t)take_below(in, 3)};
    call.dtype = take_flag(in) ? FASTBP_F64 : FASTBP_F32;
    call.m = take_in(in, 1, MOST);
    call.n = take_in(in, 1, MOST);
    call.k = take_in(in, 1, MOST);
    const bool tn = call.form == FASTBP_GEMM_TN, nt = call.form == FASTBP_GEMM_NT;
    const ptrdiff_t a_rows = tn ? call.k : call.m, a_cols = tn ? call.m : call.k;
    const ptrdiff_t b_rows = nt ? call.n : call.k, b_cols = nt ? call.k : call.n;
    call.lda = take_ld(in, a_cols);
    call.ldb = b_cols + take_below(in, 4);
    call.ldc = call.n + take_below(in, 4);
    call.a = take_matrix(in, call.dtype, a_rows, a_cols, call.lda);
    call.b = take_matrix(in, call.dtype, b_rows, b_cols, call.ldb);
    call.c = new_matrix(call.dtype, call.m, call.n, call.ldc);
    take_options(in, &call);
    if (call.ldz < 0) call.z = NULL;
    if (call.ldaux < 0) call.aux = NULL;
    if (take_rarely(in)) call.k = take_below(in, 2) - 1; /* refused */
    if (take_rarely(in)) call.dtype = (fastbp_dtype_t)(2 + take_below(in, 9));
    if (succeeded(fastbp_gemm(&call))) check_product(&call);
}

/* Room for a factor: whole tiles on a cache line. */
static uint16_t *new_factor(ptrdiff_t rows, ptrdiff_t cols, int planes) {
    return exact_on_line(fastbp_bf16_elems(rows, cols, planes) * sizeof(uint16_t));
}

static fastbp_bf16_forms_t take_forms(input_t *in, ptrdiff_t rows, ptrdiff_t cols, int planes) {
    fastbp_bf16_forms_t forms = {{NULL}};
    const unsigned wanted = take_byte(in);
    for (int i = 0; i < 4; ++i)
        if (wanted >> i & 1) forms.form[i] = new_factor(rows, cols, planes);
    return forms;
}

static void run_bf16(input_t *in) {
    const ptrdiff_t m = take_in(in, 1, MOST), n = take_in(in, 1, MOST), k = take_in(in, 1, MOST);
    const int planes = take_in(in, 1, 2);
    const ptrdiff_t lda = take_ld(in, k), ldb = take_ld(in, n);
    const float *a = take_matrix(in, FASTBP_F32, m, k, lda);
    const float *b = take_matrix(in, FASTBP_F32, k, n, ldb);
    const fastbp_bf16_forms_t packed = take_forms(in, m, k, planes);
    (void)succeeded(fastbp_bf16_pack(a, lda, m, k, planes, take_flag(in), 1, &packed));
    fastbp_bf16_call_t call = {.m = m,
                               .n = n,
                               .k = k,
                               .planes = planes,
                               .a = a,
                               .b = b,
                               .lda = lda,
                               .ldb = ldb,
                               .alpha = 0.25,
                               .repeats = 1};
    fastbp_gemm_call_t same = {
        .form = FASTBP_GEMM_NN, .m = m, .n = n, .k = k, .a = a, .b = b, .lda = lda, .ldb = ldb};
    call.ldc = same.ldc = n + take_below(in, 4);
    call.c = same.c = new_matrix(FASTBP_F32, m, n, call.ldc);
    if (take_flag(in)) call.bias = same.bias = take_matrix(in, FASTBP_F32, 1, n, n);
    if (take_flag(in)) call.z = same.z = new_matrix(FASTBP_F32, m, n, call.ldz = same.ldz = n);
    if (take_flag(in)) call.activation = same.activation = take_code(in, FASTBP_ACT_SOFTMAX);
    call.to = take_forms(in, m, n, planes);
    if (take_rarely(in)) call.planes = 3 * take_below(in, 2); /* refused */
    if (take_rarely(in)) call.m = take_below(in, 2) - 1;
    if (succeeded(fastbp_bf16_product(&call))) check_product(&same);
}

static void run_elems(input_t *in) {
    const ptrdiff_t rows = take_size(in, 0, 100), cols = take_size(in, 0, 100);
    const int planes = take_code(in, 3);
    const size_t elems = fastbp_bf16_elems(rows, cols, planes);
    const bool valid = rows >= 0 && cols >= 0 && (planes == 1 || planes == 2);
    REQUIRE(valid || elems == 0, "%zu elements", elems);
    if (!valid || rows > 1 << 20 || cols > 1 << 20) return;
    REQUIRE(elems >= (size_t)rows * (size_t)cols * (size_t)planes, "%zu elements", elems);
}

/* ---- elements ---- */

static void run_vmath(input_t *in) {
    const fastbp_dtype_t dtype = take_flag(in) ? FASTBP_F64 : FASTBP_F32;
    const int op = take_code(in, 18);
    const ptrdiff_t n = take_in(in, 0, MOST);
    void *x = exact((size_t)n, size_of(dtype)), *out = exact((size_t)n, size_of(dtype));
    fill_any(in, dtype, x, (size_t)n);
    const fastbp_status_t status = fastbp_vmath(op, dtype, take_rarely(in) ? -1 : n, x, out);
    REQUIRE(fastbp_vmath_name(op) != NULL || !succeeded(status), "vmath %d has no name", op);
    if (!succeeded(status)) return;
    double alone;
    for (ptrdiff_t i = 0; i < n; ++i) {
        const size_t at = (size_t)i * size_of(dtype);
        REQUIRE(succeeded(fastbp_vmath(op, dtype, 1, (const char *)x + at, &alone)), "alone");
        REQUIRE(same_bits(dtype, &alone, (const char *)out + at, 1), "%s of element %td of %td",
                fastbp_vmath_name(op), i, n);
    }
}

static float as_bf16(float x) {
    uint32_t bits;
    if (isnan(x) || fabsf(x) < FLT_MIN) return isnan(x) ? x : 0;
    memcpy(&bits, &x, sizeof bits);
    bits = (bits + 0x7fff + (bits >> 16 & 1)) & 0xffff0000;
    memcpy(&x, &bits, sizeof x);
    return x;
}

static float rounded(float x, fastbp_precision_t precision) {
    const float high = as_bf16(x);
    if (precision == FASTBP_MEDIUM || !isfinite(high)) return high;
    return high + as_bf16(x - high);
}

static void run_round(input_t *in) {
    const ptrdiff_t rows = take_in(in, 1, 5), cols = take_in(in, 1, MOST);
    const ptrdiff_t ldx = take_ld(in, cols), ldo = cols + take_below(in, 3);
    const fastbp_precision_t precision = (fastbp_precision_t)take_code(in, FASTBP_PRECISION_COUNT);
    float *x = new_matrix(FASTBP_F32, rows, cols, ldx);
    float *out = new_matrix(FASTBP_F32, rows, cols, ldo);
    for (ptrdiff_t i = 0; i < rows; ++i) fill_any(in, FASTBP_F32, x + i * ldx, (size_t)cols);
    if (!succeeded(fastbp_round(FASTBP_F32, precision, rows, cols, x, ldx, out, ldo))) return;
    for (ptrdiff_t i = 0; i < rows; ++i)
        for (ptrdiff_t j = 0; j < cols; ++j) {
            const float want = rounded(x[i * ldx + j], precision), raw = out[i * ldo + j];
            const float got = fabsf(raw) < FLT_MIN ? 0 : raw; /* products read it as 0 */
            REQUIRE(want == got || (isnan(want) && isnan(got)), "%a becomes %a, not %a",
                    (double)x[i * ldx + j], (double)got, (double)want);
        }
}

void target(input_t *in) {
    take_isa(in);
    switch (take_below(in, 6)) {
    case 0:
    case 1: run_gemm(in); break;
    case 2: run_bf16(in); break;
    case 3: run_elems(in); break;
    case 4: run_vmath(in); break;
    default: run_round(in);
    }
}
