/* programs.c: see programs.h. */
#include "programs.h"

#include <string.h>

enum { FULL = FASTBP_SLOT_FULL, ROW = FASTBP_SLOT_ROW, ONE = FASTBP_SLOT_ONE, MOST_KINDS = 24 };

/* Counts, some of them forged. A forged count that is in range still gets arrays of that size. */
static void take_counts(input_t *in, const shape_t *shape, fastbp_program_t *program) {
    program->n_inputs = shape != NULL ? shape->n_inputs : take_below(in, 6);
    program->n_constants = take_below(in, 4);
    program->n_temporaries = take_in(in, 1, 12);
    program->n_code = take_in(in, 1, 24);
    program->n_outputs = shape != NULL ? shape->n_outputs : take_in(in, 1, 4);
    if (!take_rarely(in)) return;
    int *const counts[] = {&program->n_inputs, &program->n_constants, &program->n_temporaries,
                           &program->n_code, &program->n_outputs};
    *counts[take_below(in, 5)] = (int)take_size(in, 0, 40);
}

static bool counts_valid(const fastbp_program_t *program) {
    const int64_t slots =
        (int64_t)program->n_inputs + program->n_constants + program->n_temporaries;
    return program->n_inputs >= 0 && program->n_constants >= 0 && program->n_temporaries >= 0 &&
           slots <= FASTBP_MAX_SLOTS && program->n_code >= 1 &&
           program->n_code <= FASTBP_MAX_CODE && program->n_outputs >= 1 &&
           program->n_outputs <= FASTBP_MAX_OUTPUTS;
}

static int operands_of(int operation) {
    static const int operands[] = {
#define OPERANDS(CODE, name, operands, KIND) operands,
        FASTBP_OPERATIONS(OPERANDS)
#undef OPERANDS
    };
    return operands[operation];
}

static bool reduces(int operation) {
    return operation == FASTBP_OP_ROW_SUM || operation == FASTBP_OP_ROW_MAX ||
           operation == FASTBP_OP_ROW_LENGTH;
}

/* A slot that has a value, of a kind that is not above `kind` (FULL is the lowest); −1 if none. */
static int pick(input_t *in, const fastbp_program_t *program, const int *kinds, int kind) {
    const int slots = program->n_inputs + program->n_constants + program->n_temporaries;
    const int start = slots > 0 ? take_below(in, slots) : 0;
    for (int i = 0; i < slots; ++i) {
        const int slot = (start + i) % slots;
        if (kinds[slot] >= 0 && kinds[slot] <= kind) return slot;
    }
    return -1;
}

/* An instruction that fits the program so far. kinds: of each slot that has a value, else −1. */
static fastbp_instruction_t take_valid(input_t *in, const fastbp_program_t *program, int *kinds) {
    const int known = program->n_inputs + program->n_constants;
    int operation = take_below(in, FASTBP_OP_COUNT);
    fastbp_instruction_t made = {.in = {-1, -1, -1}};
    if (program->n_temporaries < 1) return made;
    const int out = known + take_below(in, program->n_temporaries);
    const int kind = program->kinds[program->n_inputs + out - known];
    if (kind == FULL && reduces(operation)) operation = FASTBP_OP_COPY;
    if (kind == ROW && operation == FASTBP_OP_COPY) operation = FASTBP_OP_ROW_LENGTH;
    for (int i = 0; i < operands_of(operation); ++i) {
        const bool wide = operation == FASTBP_OP_COPY || i > 0;
        int slot = -1;
        if (kind == FULL) slot = pick(in, program, kinds, wide ? ONE : FULL);
        else if (reduces(operation)) slot = pick(in, program, kinds, FULL);
        else /* ROW, with ROW and ONE only */
            for (int tries = 0; tries < 3 && (slot < 0 || kinds[slot] == FULL); ++tries)
                slot = pick(in, program, kinds, i == 0 ? ROW : ONE);
        made.in[i] = (int16_t)slot;
    }
    made.operation = (uint16_t)operation;
    made.out = (uint16_t)out;
    kinds[out] = kind;
    return made;
}

static void forge(input_t *in, fastbp_instruction_t *code) {
    const int number = take_flag(in) ? take_in(in, 0, 60) - 2 : (int)take_word(in);
    switch (take_below(in, 5)) {
    case 0: code->operation = (uint16_t)number; break;
    case 1: code->out = (uint16_t)number; break;
    default: code->in[take_below(in, 3)] = (int16_t)number;
    }
}

static void take_code_of(input_t *in, const fastbp_program_t *program, fastbp_instruction_t *code,
                         uint16_t *outputs, const shape_t *shape) {
    const int known = program->n_inputs + program->n_constants;
    const int slots = known + program->n_temporaries;
    int *kinds = exact((size_t)slots, sizeof *kinds);
    for (int k = 0; k < slots; ++k)
        kinds[k] = k < program->n_inputs ? program->kinds[k] : k < known ? ONE : -1;
    for (int i = 0; i < program->n_code; ++i) {
        code[i] = take_valid(in, program, kinds);
        if (take_rarely(in)) forge(in, &code[i]);
    }
    for (int k = 0; k < program->n_outputs; ++k) {
        const bool any = shape == NULL || k >= shape->n_outputs;
        const int want = any ? FULL : shape->outputs[k];
        int slot = known;
        if (program->n_temporaries > 0) slot += take_below(in, program->n_temporaries);
        for (int i = 0; i < program->n_temporaries; ++i) { /* the next that fits */
            if (kinds[slot] >= 0 && (any || kinds[slot] == want)) break;
            slot = slot + 1 < slots ? slot + 1 : known;
        }
        outputs[k] = (uint16_t)(take_rarely(in) ? (int)take_word(in) : slot);
    }
    drop(kinds);
}

fastbp_program_t take_program(input_t *in, const shape_t *shape) {
    fastbp_program_t program = {0};
    take_counts(in, shape, &program);
    if (!counts_valid(&program)) return program; /* the engine must not read the arrays */
    const size_t n_kinds = (size_t)(program.n_inputs + program.n_temporaries);
    uint8_t *kinds = exact(n_kinds, 1);
    for (size_t k = 0; k < n_kinds; ++k) {
        const bool input = k < (size_t)program.n_inputs;
        const unsigned byte = take_byte(in);
        kinds[k] = byte > 250 ? (uint8_t)byte : (uint8_t)(input ? byte % 3 : byte % 5 == 4);
        if (shape != NULL && k < (size_t)shape->n_inputs && byte <= 250)
            kinds[k] = shape->inputs[k];
    }
    double *constants = exact((size_t)program.n_constants, sizeof *constants);
    for (int k = 0; k < program.n_constants; ++k) constants[k] = take_number(in);
    fastbp_instruction_t *code = exact((size_t)program.n_code, sizeof *code);
    uint16_t *outputs = exact((size_t)program.n_outputs, sizeof *outputs);
    program.kinds = kinds;
    take_code_of(in, &program, code, outputs, shape);
    program.constants = constants;
    program.code = code;
    program.outputs = outputs;
    return program;
}

/* ---- formulas ---- */

/* Adds kinds to a list. */
static int with(uint8_t *kinds, int n, int kind, int count) {
    for (int i = 0; i < count && n < MOST_KINDS; ++i) kinds[n++] = (uint8_t)kind;
    return n;
}

fastbp_formula_t *take_formula(input_t *in) {
    fastbp_formula_t *formula = exact(1, sizeof *formula);
    const int c = take_below(in, 3), more = take_rarely(in) ? take_in(in, 0, 12) - 3 : 0;
    formula->per_unit = take_flag(in);
    formula->n_constants = c + more;
    const int kind = formula->per_unit ? FULL : ONE;
    uint8_t kinds[MOST_KINDS], outputs[MOST_KINDS] = {0}; /* FULL */
    int n = with(kinds, with(kinds, 0, FULL, 1), kind, c);
    const shape_t value = {n, 1, kinds, outputs};
    formula->value = take_program(in, &value);
    const shape_t slope = {with(kinds, n, FULL, 1), 1 + c, kinds, outputs};
    formula->slope = take_program(in, &slope);
    n = with(kinds, with(kinds, n, FULL, 1), kind, c);
    const shape_t push = {n, 1, kinds, outputs};
    formula->push = take_program(in, &push);
    n = with(kinds, with(kinds, 0, FULL, 1), kind, c);
    n = with(kinds, with(kinds, with(kinds, n, FULL, 2), kind, c), FULL, 1);
    const shape_t curve = {n, 1 + c, kinds, outputs};
    formula->curve = take_program(in, &curve);
    return formula;
}

fastbp_loss_formula_t *take_loss_formula(input_t *in) {
    static const uint8_t full[] = {FULL, FULL, FULL}, row_full[] = {ROW, FULL};
    fastbp_loss_formula_t *formula = exact(1, sizeof *formula);
    formula->value = take_program(in, &(shape_t){2, 1, full, row_full});
    formula->slope = take_program(in, &(shape_t){2, 2, full, row_full});
    formula->curve = take_program(in, &(shape_t){3, 1, full, full});
    return formula;
}
