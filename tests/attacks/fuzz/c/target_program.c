/* target_program.c: programs with forged numbers, and runs of those that the engine accepts, with
 * any strides, in place, with rows side by side, and one row at a time. All of these must give the
 * same bits, and nothing may be read or written outside the matrices.
 *
 * Input: the ISA, the program, the call, then the numbers of the matrices. */
#include "programs.h"

#include <string.h>

enum { MOST_INPUTS = 64, MOST_OUTPUTS = FASTBP_MAX_OUTPUTS };

/* A matrix in memory that ends after its last element. */
typedef struct {
    void *block, *at;
    ptrdiff_t ld;
    size_t elems; /* of the block */
} matrix_t;

static matrix_t new_matrix(fastbp_dtype_t dtype, ptrdiff_t rows, ptrdiff_t cols, ptrdiff_t ld) {
    const size_t apart = (size_t)(ld < 0 ? -ld : ld);
    const size_t elems = rows > 0 ? (size_t)(rows - 1) * apart + (size_t)cols : 0;
    void *block = exact(elems, size_of(dtype));
    const size_t first = ld < 0 && rows > 0 ? (size_t)(rows - 1) * apart : 0;
    return (matrix_t){block, (char *)block + first * size_of(dtype), ld, elems};
}

static void *element(fastbp_dtype_t dtype, const matrix_t *m, ptrdiff_t i, ptrdiff_t j) {
    return (char *)m->at + (i * m->ld + j) * (ptrdiff_t)size_of(dtype);
}

static ptrdiff_t take_ld(input_t *in, ptrdiff_t cols, bool input) {
    const unsigned byte = take_byte(in);
    if (byte < 128) return cols;
    if (input && byte < 160) return 0;
    if (byte < 200) return -(cols + (ptrdiff_t)(byte % 3));
    return cols + (ptrdiff_t)(byte % 17);
}

/* The kind of the slot of output k. */
static int kind_of(const fastbp_program_t *program, int k) {
    return program->kinds[program->outputs[k] - program->n_constants];
}

/* A call and its matrices. */
typedef struct {
    fastbp_program_call_t call;
    matrix_t in[MOST_INPUTS], out[MOST_OUTPUTS];
    const void *in_at[MOST_INPUTS];
    ptrdiff_t in_ld[MOST_INPUTS], out_ld[MOST_OUTPUTS];
    void *out_at[MOST_OUTPUTS];
} run_t;

static void take_inputs(input_t *in, run_t *run) {
    const fastbp_program_t *program = run->call.program;
    const fastbp_dtype_t dtype = run->call.dtype;
    for (int k = 0; k < program->n_inputs; ++k) {
        const int kind = program->kinds[k];
        const ptrdiff_t rows = kind == FASTBP_SLOT_ONE ? 1 : run->call.rows;
        const ptrdiff_t cols = kind == FASTBP_SLOT_FULL ? run->call.cols : 1;
        run->in[k] =
            new_matrix(dtype, rows, cols, kind == FASTBP_SLOT_FULL ? take_ld(in, cols, true) : 1);
        fill_any(in, dtype, run->in[k].block, run->in[k].elems);
        run->in_at[k] = run->in[k].at;
        run->in_ld[k] = run->in[k].ld;
    }
}

static void take_outputs(input_t *in, run_t *run) {
    const fastbp_program_t *program = run->call.program;
    for (int k = 0; k < program->n_outputs; ++k) {
        const bool full = kind_of(program, k) == FASTBP_SLOT_FULL;
        const ptrdiff_t cols = full ? run->call.cols : 1;
        run->out[k] = new_matrix(full ? run->call.dtype : FASTBP_F64, run->call.rows, cols,
                                 full ? take_ld(in, cols, false) : 1);
        run->out_at[k] = take_rarely(in) ? NULL : run->out[k].at;
        run->out_ld[k] = run->out[k].ld;
    }
}

static void take_labels(input_t *in, run_t *run) {
    int32_t *labels = exact((size_t)run->call.rows, sizeof *labels);
    for (ptrdiff_t i = 0; i < run->call.rows; ++i)
        labels[i] = (int32_t)take_size(in, 0, (int)run->call.cols - 1);
    run->call.labels = labels;
}

static void take_call(input_t *in, run_t *run) {
    fastbp_program_call_t *call = &run->call;
    call->rows = take_below(in, 24);
    call->cols = take_flag(in) ? take_in(in, 1, 9) : take_in(in, 1, 300);
    call->by_rows = take_flag(in);
    call->repeats = take_rarely(in) ? take_in(in, 0, 2) - 1 : 1;
    take_inputs(in, run);
    take_outputs(in, run);
    if (take_byte(in) % 4 == 3) take_labels(in, run);
    if (take_flag(in)) {
        void *scale = exact((size_t)call->rows, size_of(call->dtype));
        fill_any(in, call->dtype, scale, (size_t)call->rows);
        call->scale = scale;
    }
    call->in = run->in_at;
    call->ld_in = run->in_ld;
    call->out = run->out_at;
    call->ld_out = run->out_ld;
}

/* The same program on one row, or one element, gives the same bits. */
static void check_part(const run_t *run, ptrdiff_t i, ptrdiff_t j, ptrdiff_t cols) {
    const fastbp_program_t *program = run->call.program;
    const fastbp_dtype_t dtype = run->call.dtype;
    fastbp_program_call_t part = run->call;
    const void *in_at[MOST_INPUTS];
    void *out_at[MOST_OUTPUTS];
    ptrdiff_t ld[MOST_INPUTS + MOST_OUTPUTS];
    for (int k = 0; k < program->n_inputs; ++k) {
        in_at[k] = program->kinds[k] == FASTBP_SLOT_FULL  ? element(dtype, &run->in[k], i, j)
                   : program->kinds[k] == FASTBP_SLOT_ROW ? element(dtype, &run->in[k], i, 0)
                                                          : run->in[k].at;
    }
    for (int k = 0; k < MOST_INPUTS + MOST_OUTPUTS; ++k) ld[k] = cols;
    for (int k = 0; k < program->n_outputs; ++k) out_at[k] = exact((size_t)cols, sizeof(double));
    part.rows = 1;
    part.cols = cols;
    part.in = in_at;
    part.ld_in = part.ld_out = ld;
    part.out = out_at;
    if (part.labels != NULL) part.labels += i;
    if (part.scale != NULL) part.scale = (const char *)part.scale + (size_t)i * size_of(dtype);
    const fastbp_status_t status = fastbp_run_program(&part);
    REQUIRE(status == FASTBP_OK, "status %d of one row", (int)status);
    for (int k = 0; k < program->n_outputs; ++k) {
        const bool full = kind_of(program, k) == FASTBP_SLOT_FULL;
        const fastbp_dtype_t own = full ? dtype : FASTBP_F64;
        if (run->out_at[k] != NULL)
            REQUIRE(same_bits(own, out_at[k], element(own, &run->out[k], i, full ? j : 0),
                              full ? (size_t)cols : 1),
                    "output %d of row %td, column %td, alone", k, i, j);
        drop(out_at[k]);
    }
}

/* An output may be the matrix of an input: the same call with output k in place. */
static void check_in_place(run_t *run, int k, int input) {
    const fastbp_program_t *program = run->call.program;
    const fastbp_dtype_t dtype = run->call.dtype;
    if (kind_of(program, k) != FASTBP_SLOT_FULL || program->kinds[input] != FASTBP_SLOT_FULL ||
        run->out_at[k] == NULL || run->in_ld[input] == 0)
        return;
    if (run->call.labels != NULL && input == program->n_inputs - 1) return;
    const ptrdiff_t rows = run->call.rows, cols = run->call.cols;
    matrix_t both = new_matrix(dtype, rows, cols, run->in_ld[input]);
    memcpy(both.block, run->in[input].block, both.elems * size_of(dtype));
    run->in_at[input] = run->out_at[k] = both.at;
    run->out_ld[k] = both.ld;
    const fastbp_status_t status = fastbp_run_program(&run->call);
    REQUIRE(status == FASTBP_OK, "status %d in place", (int)status);
    for (ptrdiff_t i = 0; i < rows; ++i)
        REQUIRE(same_bits(dtype, element(dtype, &both, i, 0), element(dtype, &run->out[k], i, 0),
                          (size_t)cols),
                "output %d in place of input %d, row %td", k, input, i);
    run->in_at[input] = run->in[input].at;
    run->out_at[k] = run->out[k].at;
    run->out_ld[k] = run->out[k].ld;
}

void target(input_t *in) {
    run_t run = {.call = {.dtype = FASTBP_F32}};
    take_isa(in);
    run.call.dtype = (fastbp_dtype_t)take_code(in, 2);
    const fastbp_program_t program = take_program(in, NULL);
    run.call.program = &program;
    /* Rejected programs are found by a call without rows. */
    static const double one = 0;
    for (int k = 0; k < MOST_INPUTS; ++k) run.in_at[k] = &one;
    fastbp_program_call_t none = {.program = &program,
                                  .dtype = run.call.dtype,
                                  .rows = 0,
                                  .cols = 1,
                                  .by_rows = true,
                                  .repeats = 1,
                                  .in = run.in_at,
                                  .ld_in = run.in_ld,
                                  .out = run.out_at,
                                  .ld_out = run.out_ld};
    if (program.n_inputs > MOST_INPUTS) return;
    if (!succeeded(fastbp_run_program(&none))) return;
    take_call(in, &run);
    if (!succeeded(fastbp_run_program(&run.call)) || run.call.rows == 0) return;
    for (ptrdiff_t i = 0; i < run.call.rows; i += 1 + run.call.rows / 4)
        check_part(&run, i, 0, run.call.cols);
    if (!run.call.by_rows)
        for (ptrdiff_t j = 0; j < run.call.cols; j += 1 + run.call.cols / 5)
            check_part(&run, run.call.rows - 1, j, 1);
    for (int k = 0; k < program.n_outputs; ++k)
        if (program.n_inputs > 0) check_in_place(&run, k, take_below(in, program.n_inputs));
}
