/* program.c: see program.h. */
#include "program.h"

#include "../base/arena.h"
#include "../base/fpmode.h"

#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

static const struct {
    int operands;
    bool reduces;
} facts[FASTBP_OP_COUNT] = {
#define ELEMENTWISE false
#define REDUCES true
#define FACTS(CODE, name, operands, KIND) [FASTBP_OP_##CODE] = {operands, KIND},
    FASTBP_OPERATIONS(FACTS)
#undef FACTS
#undef REDUCES
#undef ELEMENTWISE
};

/* Whether the numbers of slots and instructions are in range. */
static bool sizes_valid(const fastbp_program_t *from) {
    const int counts[] = {from->n_inputs, from->n_constants, from->n_temporaries};
    int slots = 0;
    for (int i = 0; i < 3; ++i) {
        if (counts[i] < 0 || counts[i] > FASTBP_MAX_SLOTS - slots) return false;
        slots += counts[i];
    }
    return from->n_code >= 1 && from->n_code <= FASTBP_MAX_CODE && from->n_outputs >= 1 &&
           from->n_outputs <= FASTBP_MAX_OUTPUTS;
}

/* A constant in the dtype, a subnormal one as 0 of its sign. */
static double rounded(double constant, fastbp_dtype_t dtype) {
    const double smallest = dtype == FASTBP_F32 ? (double)FLT_MIN : DBL_MIN;
    const double own = dtype == FASTBP_F32 ? (double)(float)constant : constant;
    return fabs(own) < smallest ? copysign(0, own) : own;
}

static bool values_valid(const fastbp_program_t *from, fastbp_dtype_t dtype) {
    for (int k = 0; k < from->n_inputs; ++k)
        if (from->kinds[k] >= FASTBP_SLOT_COUNT) return false;
    for (int k = from->n_inputs; k < from->n_inputs + from->n_temporaries; ++k)
        if (from->kinds[k] > FASTBP_SLOT_ROW) return false;
    for (int k = 0; k < from->n_constants; ++k)
        if (!isfinite(rounded(from->constants[k], dtype))) return false;
    return true;
}

/* The kind of the result of an instruction whose operands have these kinds, or FASTBP_SLOT_COUNT if
 * they do not fit the operation. `copy` takes the kind of its slot, `out`. */
static int kind_of_result(int operation, const int *kinds, int out) {
    bool full = false, row = false;
    for (int i = 0; i < facts[operation].operands; ++i) {
        full |= kinds[i] == FASTBP_SLOT_FULL;
        row |= kinds[i] == FASTBP_SLOT_ROW;
    }
    if (facts[operation].reduces)
        return full || facts[operation].operands == 0 ? FASTBP_SLOT_ROW : FASTBP_SLOT_COUNT;
    if (operation == FASTBP_OP_COPY) return out <= kinds[0] ? out : FASTBP_SLOT_COUNT;
    return full ? FASTBP_SLOT_FULL : row ? FASTBP_SLOT_ROW : FASTBP_SLOT_COUNT;
}

/* Checks one instruction and decodes it. written: whether a slot has a value; updated. */
static bool decode(const fbp_program_t *program, const fastbp_instruction_t *from, bool *written,
                   fbp_step_t *step) {
    const int first = program->n_inputs + program->n_constants;
    if (from->operation >= FASTBP_OP_COUNT || from->out < first || from->out >= program->n_slots)
        return false;
    const int operands = facts[from->operation].operands, out = program->kinds[from->out];
    const bool full = out == FASTBP_SLOT_FULL;
    int kinds[3];
    *step = (fbp_step_t){
        .operation = from->operation,
        .out = from->out,
        .in = {from->out, from->out, from->out},
        .full = full,
        .by_rows = facts[from->operation].reduces,
    };
    for (int i = 0; i < 3; ++i) {
        const int in = from->in[i];
        if (i >= operands && in == -1) continue;
        if (i >= operands || in < 0 || in >= program->n_slots || !written[in]) return false;
        kinds[i] = program->kinds[in];
        step->in[i] = (uint16_t)in;
        if (full && kinds[i] != FASTBP_SLOT_FULL) step->fixed |= (uint8_t)(1 << i);
        step->by_rows |= full && kinds[i] == FASTBP_SLOT_ROW;
        if (in < program->n_inputs) program->used[in] = true;
    }
    if (kind_of_result(from->operation, kinds, out) != out) return false;
    written[from->out] = true;
    return true;
}

static bool decode_all(const fbp_program_t *program, const fastbp_program_t *from, bool *written) {
    const int known = program->n_inputs + program->n_constants;
    for (int k = 0; k < program->n_slots; ++k) written[k] = k < known;
    for (int i = 0; i < from->n_code; ++i)
        if (!decode(program, &from->code[i], written, &program->code[i])) return false;
    for (int k = 0; k < from->n_outputs; ++k) {
        const int slot = from->outputs[k];
        if (slot < known || slot >= program->n_slots || !written[slot]) return false;
        program->outputs[k].slot = (uint16_t)slot;
    }
    return true;
}

static bool reads_full_input(const fbp_program_t *program, const fbp_step_t *step) {
    for (int i = 0; i < facts[step->operation].operands; ++i)
        if (step->in[i] < program->n_inputs && program->kinds[step->in[i]] == FASTBP_SLOT_FULL)
            return true;
    return false;
}

/* Finds the outputs that are late: one instruction writes the slot, the last that reads a FULL
 * input or a later one. */
static void find_late(const fbp_program_t *program) {
    int last_read = -1, writes[FASTBP_MAX_OUTPUTS] = {0}, written[FASTBP_MAX_OUTPUTS] = {0};
    for (int i = 0; i < program->n_code; ++i) {
        if (reads_full_input(program, &program->code[i])) last_read = i;
        for (int k = 0; k < program->n_outputs; ++k)
            if (program->code[i].out == program->outputs[k].slot) {
                writes[k] += 1;
                written[k] = i;
            }
    }
    for (int k = 0; k < program->n_outputs; ++k)
        program->outputs[k].late = writes[k] == 1 && written[k] >= last_read;
}

static void copy_constants(const fbp_program_t *program, const fastbp_program_t *from,
                           fastbp_dtype_t dtype) {
    for (int k = 0; k < from->n_constants; ++k) {
        const double own = rounded(from->constants[k], dtype);
        if (dtype == FASTBP_F32) ((float *)program->constants)[k] = (float)own;
        else ((double *)program->constants)[k] = own;
    }
}

/* Allocates a program with the sizes of `from`; NULL if there is no memory. */
static fbp_program_t *allocate(const fastbp_program_t *from, fastbp_dtype_t dtype) {
    const size_t elem = dtype == FASTBP_F32 ? sizeof(float) : sizeof(double);
    fbp_program_t *program = calloc(1, sizeof *program);
    if (program == NULL) return NULL;
    program->n_inputs = from->n_inputs;
    program->n_constants = from->n_constants;
    program->n_slots = from->n_inputs + from->n_constants + from->n_temporaries;
    program->n_code = from->n_code;
    program->n_outputs = from->n_outputs;
    program->kinds = calloc((size_t)program->n_slots, sizeof *program->kinds);
    program->used = calloc((size_t)from->n_inputs + 1, sizeof *program->used);
    program->constants = calloc((size_t)from->n_constants + 1, elem);
    program->code = calloc((size_t)from->n_code, sizeof *program->code);
    program->outputs = calloc((size_t)from->n_outputs, sizeof *program->outputs);
    if (program->kinds != NULL && program->used != NULL && program->constants != NULL &&
        program->code != NULL && program->outputs != NULL)
        return program;
    fbp_program_free(program);
    return NULL;
}

static void count_slots(fbp_program_t *program) {
    ptrdiff_t count[FASTBP_SLOT_COUNT] = {0};
    for (int k = 0; k < program->n_slots; ++k) ++count[program->kinds[k]];
    program->n_full = count[FASTBP_SLOT_FULL];
    program->n_row = count[FASTBP_SLOT_ROW];
    program->n_one = count[FASTBP_SLOT_ONE];
}

fastbp_status_t fbp_program_new(fbp_program_t **program, const fastbp_program_t *from,
                                fastbp_dtype_t dtype) {
    *program = NULL;
    if (!sizes_valid(from) || !values_valid(from, dtype)) return FASTBP_ERR_ARGUMENT;
    fbp_program_t *made = allocate(from, dtype);
    if (made == NULL) return FASTBP_ERR_MEMORY;
    bool *written = calloc((size_t)made->n_slots, sizeof *written);
    fastbp_status_t status = FASTBP_ERR_MEMORY;
    if (written != NULL) {
        const int known = from->n_inputs + from->n_constants;
        memcpy(made->kinds, from->kinds, (size_t)from->n_inputs);
        memset(made->kinds + from->n_inputs, FASTBP_SLOT_ONE, (size_t)from->n_constants);
        memcpy(made->kinds + known, from->kinds + from->n_inputs, (size_t)from->n_temporaries);
        status = decode_all(made, from, written) ? FASTBP_OK : FASTBP_ERR_ARGUMENT;
    }
    free(written);
    if (status != FASTBP_OK) {
        fbp_program_free(made);
        return status;
    }
    find_late(made);
    copy_constants(made, from, dtype);
    count_slots(made);
    *program = made;
    return FASTBP_OK;
}

void fbp_program_free(fbp_program_t *program) {
    if (program == NULL) return;
    free(program->kinds);
    free(program->used);
    free(program->constants);
    free(program->code);
    free(program->outputs);
    free(program);
}

bool fbp_program_fits(const fbp_program_t *program, const uint8_t *inputs, int n_inputs,
                      const uint8_t *outputs, int n_outputs) {
    if (program->n_inputs != n_inputs || program->n_outputs != n_outputs) return false;
    for (int k = 0; k < n_outputs; ++k)
        if (program->kinds[program->outputs[k].slot] != outputs[k]) return false;
    return n_inputs == 0 || memcmp(program->kinds, inputs, (size_t)n_inputs) == 0;
}

/* ---- one program, for tests and benchmarks ---- */

static bool call_valid(const fastbp_program_call_t *call, const fbp_program_t *program) {
    const int last = program->n_inputs - 1;
    if (call->rows < 0 || call->cols < 1 || call->repeats < 1) return false;
    if (!call->by_rows && (program->n_row > 0 || call->labels != NULL)) return false;
    if (call->labels == NULL) return true;
    if (last < 0 || program->kinds[last] != FASTBP_SLOT_FULL) return false;
    for (ptrdiff_t i = 0; i < call->rows; ++i)
        if (call->labels[i] < 0 || call->labels[i] >= call->cols) return false;
    return true;
}

/* Takes the descriptions of the inputs and outputs, and the scratch, out of an arena. */
static void carve(fbp_arena_t *arena, const fastbp_program_call_t *call, fbp_run_t *run,
                  fbp_source_t **source, fbp_target_t **target) {
    const fbp_kernels_t *kernels = fbp_kernels(call->dtype);
    const size_t elems = fbp_program_scratch(kernels, run->program, call->by_rows, call->cols);
    run->source = *source = fbp_arena_take(arena, (size_t)run->program->n_inputs, sizeof **source);
    run->target = *target = fbp_arena_take(arena, (size_t)run->program->n_outputs, sizeof **target);
    run->scratch = fbp_arena_take(arena, elems, kernels->elem_size);
}

static fastbp_status_t run_checked(const fastbp_program_call_t *call,
                                   const fbp_program_t *program) {
    const fbp_kernels_t *kernels = fbp_kernels(call->dtype);
    fbp_run_t run = {.program = program, call->rows, call->cols, .scale = call->scale};
    fbp_source_t *source;
    fbp_target_t *target;
    fbp_arena_t arena = {0};
    carve(&arena, call, &run, &source, &target);
    if (!fbp_arena_commit(&arena)) return FASTBP_ERR_MEMORY;
    carve(&arena, call, &run, &source, &target);
    for (int k = 0; k < program->n_inputs; ++k)
        source[k] = (fbp_source_t){.at = call->in[k], .ld = call->ld_in[k]};
    if (call->labels != NULL) source[program->n_inputs - 1].labels = call->labels;
    for (int k = 0; k < program->n_outputs; ++k)
        target[k] = (fbp_target_t){call->out[k], call->ld_out[k]};
    const fbp_fpmode_t callers_mode = fbp_flush_subnormals();
    for (int i = 0; i < call->repeats; ++i)
        if (call->by_rows) kernels->run_rows(&run);
        else kernels->run_elements(&run);
    fbp_set_fpmode(callers_mode);
    fbp_arena_free(&arena);
    return FASTBP_OK;
}

fastbp_status_t fastbp_run_program(const fastbp_program_call_t *call) {
    fbp_program_t *program;
    if ((unsigned)call->dtype > FASTBP_F64) return FASTBP_ERR_ARGUMENT;
    fastbp_status_t status = fbp_program_new(&program, call->program, call->dtype);
    if (status != FASTBP_OK) return status;
    status = call_valid(call, program) ? run_checked(call, program) : FASTBP_ERR_ARGUMENT;
    fbp_program_free(program);
    return status;
}
