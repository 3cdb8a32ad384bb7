/* programs.c: formulas as programs: the two that the networks of the driver use, each operation
 * alone, and programs that must be refused. */
#include "driver.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define F FASTBP_SLOT_FULL
#define R FASTBP_SLOT_ROW
#define ONE FASTBP_SLOT_ONE
#define OP(NAME, out, a, b) {FASTBP_OP_##NAME, out, {a, b, -1}}
#define LENGTH(array) ((int)(sizeof(array) / sizeof *(array)))
#define PROGRAM(inputs, constants, temporaries, kinds, values, code, outputs)                      \
    {inputs, constants, temporaries, LENGTH(code), LENGTH(outputs), kinds, values, code, outputs}

/* ---- a = c z² ---- */

/* value: z, c → t2 = z², t3 = t2 c */
static const uint8_t value_kinds[] = {F, ONE, F, F}, value_kinds_u[] = {F, F, F, F};
static const fastbp_instruction_t value_code[] = {OP(SQUARE, 2, 0, -1), OP(MUL, 3, 2, 1)};
static const uint16_t value_out[] = {3};

/* slope: z, c, g → t4 = z c, t5 = 2 t4, t6 = g t5; t7 = z², t8 = g t7. The constant 2 is slot 3. */
static const double two[] = {2};
static const uint8_t slope_kinds[] = {F, ONE, F, F, F, F, F, F};
static const uint8_t slope_kinds_u[] = {F, F, F, F, F, F, F, F};
static const fastbp_instruction_t slope_code[] = {
    OP(MUL, 4, 0, 1), OP(MUL, 5, 4, 3), OP(MUL, 6, 2, 5), OP(SQUARE, 7, 0, -1), OP(MUL, 8, 2, 7)};
static const uint16_t slope_out[] = {6, 8};

/* push: z, c, R{z}, R{c} → 2 c z R{z} + z² R{c}. The constant 2 is slot 4. */
static const uint8_t push_kinds[] = {F, ONE, F, ONE, F, F, F, F, F, F};
static const uint8_t push_kinds_u[] = {F, F, F, F, F, F, F, F, F, F};
static const fastbp_instruction_t push_code[] = {OP(MUL, 5, 0, 1), OP(MUL, 6, 5, 4),
                                                 OP(MUL, 7, 6, 2), OP(SQUARE, 8, 0, -1),
                                                 OP(MUL, 9, 8, 3), OP(ADD, 10, 7, 9)};
static const uint16_t push_out[] = {10};

/* curve: z, c, g, R{z}, R{c}, R{g} → R{g 2 c z} = 2 (R{g} c z + g R{c} z + g c R{z}) and
 * R{g z²} = R{g} z² + 2 g z R{z}. The constant 2 is slot 6. */
static const uint8_t curve_kinds[] = {F, ONE, F, F, ONE, F, F, F, F, F, F, F, F, F, F, F, F};
static const uint8_t curve_kinds_u[] = {F, F, F, F, F, F, F, F, F, F, F, F, F, F, F, F, F};
static const fastbp_instruction_t curve_code[] = {
    OP(MUL, 7, 0, 1),   OP(MUL, 8, 5, 7),      OP(MUL, 9, 0, 4),   OP(MUL, 10, 2, 9),
    OP(MUL, 11, 3, 1),  OP(MUL, 12, 2, 11),    OP(ADD, 8, 8, 10),  OP(ADD, 8, 8, 12),
    OP(MUL, 8, 8, 6),   OP(SQUARE, 13, 0, -1), OP(MUL, 14, 5, 13), OP(MUL, 15, 2, 0),
    OP(MUL, 15, 15, 3), OP(MUL, 15, 15, 6),    OP(ADD, 16, 14, 15)};
static const uint16_t curve_out[] = {8, 16};

const fastbp_formula_t square_formula = {
    1,
    false,
    PROGRAM(2, 0, 2, value_kinds, NULL, value_code, value_out),
    PROGRAM(3, 1, 5, slope_kinds, two, slope_code, slope_out),
    PROGRAM(4, 1, 6, push_kinds, two, push_code, push_out),
    PROGRAM(6, 1, 10, curve_kinds, two, curve_code, curve_out)};
const fastbp_formula_t square_formula_per_unit = {
    1,
    true,
    PROGRAM(2, 0, 2, value_kinds_u, NULL, value_code, value_out),
    PROGRAM(3, 1, 5, slope_kinds_u, two, slope_code, slope_out),
    PROGRAM(4, 1, 6, push_kinds_u, two, push_code, push_out),
    PROGRAM(6, 1, 10, curve_kinds_u, two, curve_code, curve_out)};

/* ---- J_i = ½ Σ (a − y)² ---- */

static const double half[] = {0.5};
static const uint8_t loss_kinds[] = {F, F, F, F, R, R};
static const fastbp_instruction_t loss_code[] = {OP(SUB, 3, 0, 1), OP(SQUARE, 4, 3, -1),
                                                 OP(ROW_SUM, 5, 4, -1), OP(MUL, 6, 5, 2)};
static const uint16_t loss_value[] = {6}, loss_slope[] = {6, 3};
static const uint8_t bend_kinds[] = {F, F, F, F};
static const fastbp_instruction_t bend_code[] = {OP(COPY, 3, 2, -1)};
static const uint16_t bend_out[] = {3};

const fastbp_loss_formula_t squared_error_formula = {
    PROGRAM(2, 1, 4, loss_kinds, half, loss_code, loss_value),
    PROGRAM(2, 1, 4, loss_kinds, half, loss_code, loss_slope),
    PROGRAM(3, 0, 1, bend_kinds, NULL, bend_code, bend_out)};

/* ---- each operation ---- */

enum { ROWS = 3, COLS = 37 };

static int operands_of(int operation) {
    static const int operands[] = {
#define CASE(CODE, name, operands, KIND) operands,
        FASTBP_OPERATIONS(CASE)
#undef CASE
    };
    return operands[operation];
}

static bool reduces(int operation) {
    return operation == FASTBP_OP_ROW_SUM || operation == FASTBP_OP_ROW_MAX ||
           operation == FASTBP_OP_ROW_LENGTH;
}

/* The elementary functions, in double. NaN: not checked here. */
static double expected(int operation, double x, double y, double z) {
    switch (operation) {
    case FASTBP_OP_COPY: return x;
    case FASTBP_OP_ADD: return x + y;
    case FASTBP_OP_SUB: return x - y;
    case FASTBP_OP_MUL: return x * y;
    case FASTBP_OP_DIV: return x / y;
    case FASTBP_OP_FMA: return x * y + z;
    case FASTBP_OP_FMS: return x * y - z;
    case FASTBP_OP_FNMA: return z - x * y;
    case FASTBP_OP_MIN: return x < y ? x : y;
    case FASTBP_OP_MAX: return x > y ? x : y;
    case FASTBP_OP_POW: return pow(x, y);
    case FASTBP_OP_NEG: return -x;
    case FASTBP_OP_ABS: return fabs(x);
    case FASTBP_OP_SQRT: return sqrt(x);
    case FASTBP_OP_SQUARE: return x * x;
    case FASTBP_OP_RECIPROCAL: return 1 / x;
    case FASTBP_OP_EXP: return exp(x);
    case FASTBP_OP_EXPM1: return expm1(x);
    case FASTBP_OP_LOG: return log(x);
    case FASTBP_OP_LOG1P: return log1p(x);
    case FASTBP_OP_SIN: return sin(x);
    case FASTBP_OP_COS: return cos(x);
    case FASTBP_OP_ARCSIN: return asin(x);
    case FASTBP_OP_ARCCOS: return acos(x);
    case FASTBP_OP_ARCTAN: return atan(x);
    case FASTBP_OP_SINH: return sinh(x);
    case FASTBP_OP_COSH: return cosh(x);
    case FASTBP_OP_TANH: return tanh(x);
    case FASTBP_OP_SIGMOID: return 1 / (1 + exp(-x));
    case FASTBP_OP_SOFTPLUS: return log1p(exp(x));
    case FASTBP_OP_SILU: return x / (1 + exp(-x));
    case FASTBP_OP_MISH: return x * tanh(log1p(exp(x)));
    case FASTBP_OP_LESS: return x < y;
    case FASTBP_OP_LESS_EQUAL: return x <= y;
    case FASTBP_OP_EQUAL: return x == y;
    case FASTBP_OP_SELECT: return x != 0 ? y : z;
    case FASTBP_OP_SELECT_POSITIVE: return x > 0 ? y : z;
    case FASTBP_OP_SIGN: return x > 0 ? 1 : x < 0 ? -1 : x;
    default: return NAN;
    }
}

/* One operation on matrices of numbers in (0, 1). */
static void check_operation(int operation, fastbp_dtype_t dtype) {
    const int n = operands_of(operation);
    const bool row = reduces(operation);
    uint8_t kinds[4] = {F, F, F, row ? R : F};
    const uint16_t outputs[] = {3};
    const fastbp_instruction_t code[] = {
        {(uint16_t)operation,
         3,
         {(int16_t)(n > 0 ? 0 : -1), (int16_t)(n > 1 ? 1 : -1), (int16_t)(n > 2 ? 2 : -1)}}};
    const fastbp_program_t program = {3, 0, 1, 1, 1, kinds, NULL, code, outputs};
    void *in[3], *out = driver_new(ROWS * COLS, row ? sizeof(double) : size_of(dtype));
    const ptrdiff_t ld[] = {COLS, COLS, COLS};
    uint64_t random = (uint64_t)operation;
    for (int k = 0; k < 3; ++k) {
        in[k] = driver_new(ROWS * COLS, size_of(dtype));
        for (size_t i = 0; i < ROWS * COLS; ++i)
            put(dtype, in[k], i, (double)(float)(0.01 + 0.98 * uniform(&random)));
    }
    const fastbp_program_call_t call = {.program = &program,
                                        .dtype = dtype,
                                        .rows = ROWS,
                                        .cols = COLS,
                                        .by_rows = row,
                                        .in = (const void *const *)in,
                                        .ld_in = ld,
                                        .out = &out,
                                        .ld_out = ld,
                                        .repeats = 2};
    CHECK_STATUS(fastbp_run_program(&call), FASTBP_OK);
    const double eps = dtype == FASTBP_F32 ? 2e-6 : 4e-15;
    for (size_t i = 0; i < (row ? (size_t)ROWS : (size_t)(ROWS * COLS)); ++i) {
        const double found = row ? ((const double *)out)[i] : get(dtype, out, i);
        const double right =
            expected(operation, get(dtype, in[0], i), get(dtype, in[1], i), get(dtype, in[2], i));
        CHECK(isnan(right) ? isfinite(found) : fabs(found - right) <= eps * (1 + fabs(right)),
              "%s: %.17g, not %.17g", fastbp_operation_name(operation), found, right);
    }
    for (int k = 0; k < 3; ++k) free(in[k]);
    free(out);
}

/* ---- programs that must be refused ---- */

static void refuse(const fastbp_program_t *program) {
    float x[4] = {1, 2, 3, 4}, y[4] = {0};
    const void *const in[] = {x, x, x};
    void *const out[] = {y};
    const ptrdiff_t ld[] = {2, 2, 2};
    const fastbp_program_call_t call = {.program = program,
                                        .rows = 2,
                                        .cols = 2,
                                        .in = in,
                                        .ld_in = ld,
                                        .out = out,
                                        .ld_out = ld,
                                        .repeats = 1};
    CHECK_STATUS(fastbp_run_program(&call), FASTBP_ERR_ARGUMENT);
}

static void check_refusals(void) {
    const fastbp_instruction_t codes[][1] = {
        {OP(ADD, 1, 0, 3)},                  /* a slot that does not exist */
        {OP(ADD, 1, 0, 2)},                  /* a slot that was not written */
        {OP(ADD, 0, 0, 0)},                  /* the result is an input */
        {OP(ADD, 9, 0, 0)},                  /* the result is nowhere */
        {OP(ADD, 1, 0, -1)},                 /* an operand is missing */
        {OP(NEG, 1, 0, 0)},                  /* one too many */
        {OP(ROW_SUM, 1, 0, -1)},             /* the kind of the result is another one */
        {{FASTBP_OP_COUNT, 1, {0, -1, -1}}}, /* no such operation */
        {{FASTBP_OP_ADD, 1, {0, -2, -1}}},
        {{FASTBP_OP_ADD, 1, {INT16_MAX, INT16_MIN, -1}}},
    };
    const uint8_t kinds[] = {F, F, F}, unknown[] = {F, 7, F};
    const uint16_t outputs[] = {1}, unwritten[] = {2}, input[] = {0}, nowhere[] = {999};
    const fastbp_instruction_t good[] = {OP(NEG, 1, 0, -1)};
    const double infinite[] = {INFINITY};
    for (size_t i = 0; i < sizeof codes / sizeof *codes; ++i)
        refuse(&(fastbp_program_t){1, 0, 2, 1, 1, kinds, NULL, codes[i], outputs});
    refuse(&(fastbp_program_t){1, 0, 2, 1, 1, unknown, NULL, good, outputs});
    refuse(&(fastbp_program_t){1, 0, 2, 1, 1, kinds, NULL, good, unwritten});
    refuse(&(fastbp_program_t){1, 0, 2, 1, 1, kinds, NULL, good, input});
    refuse(&(fastbp_program_t){1, 0, 2, 1, 1, kinds, NULL, good, nowhere});
    refuse(&(fastbp_program_t){1, 1, 2, 1, 1, kinds, infinite, good, outputs});
    const int bad[] = {-1, INT32_MIN, INT32_MAX, FASTBP_MAX_SLOTS};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; ++i) {
        refuse(&(fastbp_program_t){bad[i], 0, 2, 1, 1, kinds, NULL, good, outputs});
        refuse(&(fastbp_program_t){1, bad[i], 2, 1, 1, kinds, infinite, good, outputs});
        refuse(&(fastbp_program_t){1, 0, bad[i], 1, 1, kinds, NULL, good, outputs});
    }
    refuse(&(fastbp_program_t){1, 0, 2, 0, 1, kinds, NULL, good, outputs});
    refuse(&(fastbp_program_t){1, 0, 2, -5, 1, kinds, NULL, good, outputs});
    refuse(&(fastbp_program_t){1, 0, 2, FASTBP_MAX_CODE + 1, 1, kinds, NULL, good, outputs});
    refuse(&(fastbp_program_t){1, 0, 2, 1, 0, kinds, NULL, good, outputs});
    refuse(&(fastbp_program_t){1, 0, 2, 1, FASTBP_MAX_OUTPUTS + 1, kinds, NULL, good, outputs});
}

void check_programs(void) {
    for (int operation = 0; operation < FASTBP_OP_COUNT; ++operation)
        for (fastbp_dtype_t dtype = FASTBP_F32; dtype <= FASTBP_F64; ++dtype)
            check_operation(operation, dtype);
    check_refusals();
}
