/* program.h: checked programs, and the contract of the slots that run them, run_elements and
 * run_rows. fastbp.h says what a program is, lists.h has its operations. */
#ifndef FASTBP_KERNELS_PROGRAM_H
#define FASTBP_KERNELS_PROGRAM_H

#include "../base/common.h"
#include "../fastbp.h"

/* An instruction, decoded. Operands that the operation lacks are equal to `out`. */
typedef struct {
    uint16_t operation, out, in[3];
    uint8_t fixed; /* bit k: operand k is the same for every output of a FULL result */
    bool full;     /* the result is FULL */
    bool by_rows;  /* it is a reduction, or a fixed operand is a number per row */
} fbp_step_t;

typedef struct {
    uint16_t slot;
    /* It may be written into a matrix that is also read: only one instruction writes the slot, and
     * none after it reads a FULL input. */
    bool late;
} fbp_output_t;

/* A program that nn/program.c has checked and copied. Slots are numbered as in fastbp_program_t. */
typedef struct {
    int n_inputs, n_constants, n_slots, n_code, n_outputs;
    ptrdiff_t n_full, n_row, n_one; /* slots of each kind */
    uint8_t *kinds;                 /* n_slots of FASTBP_SLOT_* */
    bool *used;                     /* n_inputs: whether an instruction reads it */
    void *constants;                /* n_constants elements of the dtype */
    fbp_step_t *code;
    fbp_output_t *outputs;
} fbp_program_t;

/* What an input is read from.
 *   FULL  row i is at + i·ld. ld = 0: all rows are the same. For run_rows it may also be rows[i],
 * if `rows` is not NULL, or be 1 at labels[i] and 0 elsewhere, if `labels` is not NULL. ROW   one
 * element per row, at `at` ONE   one element, at `at` */
typedef struct {
    const void *at;
    ptrdiff_t ld;
    const void *const *rows;
    const int32_t *labels; /* 0 … cols - 1 */
} fbp_source_t;

/* Where an output goes: FULL, a matrix; ROW, one double per row. NULL: it is not wanted. */
typedef struct {
    void *at;
    ptrdiff_t ld;
} fbp_target_t;

/* One run of a program on `rows` rows with `cols` >= 1 columns. A FULL target may be the same
 * matrix as a source, and then row for row, or it does not overlap the sources. Padding is neither
 * read nor written. Each row, and in run_elements each element, is computed by itself. */
typedef struct {
    const fbp_program_t *program;
    ptrdiff_t rows, cols;
    const fbp_source_t *source; /* n_inputs */
    const fbp_target_t *target; /* n_outputs */
    const void *scale;          /* run_rows: a factor per row for FULL outputs, or NULL */
    void *scratch;              /* fbp_program_scratch elements, on a cache line */
} fbp_run_t;

/* FBP_STRIP_BYTES: the most bytes of a strip, that is, of a FULL slot in run_elements.
 * FBP_BLOCK_BYTES: what the FULL slots of run_rows take together, unless that is less than a vector
 * of rows. FBP_BLOCK_VECTORS: the most vectors of rows in a block. */
#ifndef FBP_STRIP_BYTES
#define FBP_STRIP_BYTES 2048
#endif
#ifndef FBP_BLOCK_BYTES
#define FBP_BLOCK_BYTES 24576
#endif
#ifndef FBP_BLOCK_VECTORS
#define FBP_BLOCK_VECTORS 8
#endif

/* The most vectors of rows in a block of run_rows. */
FBP_INLINE ptrdiff_t fbp_block_vectors(const fbp_program_t *program, ptrdiff_t vector_bytes,
                                       ptrdiff_t cols) {
    const ptrdiff_t vectors = FBP_BLOCK_BYTES / vector_bytes / fbp_max(1, program->n_full) / cols;
    return fbp_max(1, fbp_min(vectors, FBP_BLOCK_VECTORS));
}

/* Scratch begins with tables: two addresses and a stride per slot, and a flag per output. Then come
 * the slots. In run_elements, FULL slots are a strip and ONE slots a vector; in run_rows, FULL
 * slots are cols × the rows of a block, the others the rows of a block. */
FBP_INLINE size_t fbp_table_bytes(const fbp_program_t *program) {
    const size_t slots = (size_t)program->n_slots * (2 * sizeof(void *) + sizeof(ptrdiff_t));
    const size_t bytes = slots + (size_t)program->n_outputs * sizeof(bool);
    return (bytes + FBP_CACHE_LINE - 1) / FBP_CACHE_LINE * FBP_CACHE_LINE;
}

#endif
