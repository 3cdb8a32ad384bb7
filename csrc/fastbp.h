/* fastbp.h: the public interface of the engine. Plain C11, without Python. The only global state is
 * the chosen ISA, the pool of threads and the limit on their number.
 *
 * Layer l = 1 … L maps a^{l-1} (n_{l-1} units) to a^l (n_l units):
 *   z^l = a^{l-1} W^l + b^l      a^l = σ_l(z^l)      δ^l = ∂J_i/∂z^l, one row per sample
 * The parameters are one flat vector theta: W^1 (row-major n_0 × n_1), b^1, W^2, b^2, …, and after
 * each b what else its layer has. Gradients and the moments of optimisers have the same layout.
 * They all belong to the caller.
 *
 * A `void *` buffer holds `double` or `float`, the dtype of the network, unless its contract says
 * otherwise. No function prints or exits. None keeps a pointer of the caller beyond the call unless
 * its contract says so. On x86-64 and AArch64 the engine treats subnormals as zeros; on return the
 * calling thread has its own floating-point modes again. */
#ifndef FASTBP_H
#define FASTBP_H

#include "lists.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef enum {
    FASTBP_OK = 0,
    FASTBP_ERR_ARGUMENT = 1, /* a value outside its range or an unknown code */
    FASTBP_ERR_MEMORY = 2,   /* no memory, or a size that does not fit size_t */
    FASTBP_ERR_ISA = 3,      /* an ISA that is unknown, not built, or not supported here */
    FASTBP_ERR_STATE = 4,    /* called in the wrong order, such as backward before forward */
    FASTBP_ERR_DIVERGED = 5, /* J is not finite; theta is as before that step */
    FASTBP_ERR_CALL = 6,     /* the caller's loss function failed; theta is as before that step */
    FASTBP_ERR_VARIANCE = 7, /* theta has a negative running variance of batch norm */
} fastbp_status_t;

typedef enum { FASTBP_F32 = 0, FASTBP_F64 = 1 } fastbp_dtype_t;

/* FASTBP_ACT_IDENTITY, FASTBP_ACT_SIGMOID, … for every activation of lists.h; softmax, which only
 * the output layer may have; and an activation of the caller's, which has no name. */
typedef enum {
#define FASTBP_CODE(CODE, ...) FASTBP_ACT_##CODE,
    FASTBP_ACTIVATIONS(FASTBP_CODE)
#undef FASTBP_CODE
        FASTBP_ACT_SOFTMAX,
    FASTBP_ACT_FORMULA, /* fastbp_formula_t */
    FASTBP_ACT_COUNT
} fastbp_activation_t;

/* FASTBP_LOSS_SQUARED_ERROR, FASTBP_LOSS_MSE, … for every loss of lists.h, which has the formulas
 * and parameters, and the caller's own loss, as a function or as a formula. */
typedef enum {
#define FASTBP_CODE(CODE, ...) FASTBP_LOSS_##CODE,
    FASTBP_LOSSES(FASTBP_CODE)
#undef FASTBP_CODE
        FASTBP_LOSS_CUSTOM, /* a function of the caller */
    FASTBP_LOSS_FORMULA,    /* fastbp_loss_formula_t; it has no name */
    FASTBP_LOSS_COUNT
} fastbp_loss_t;

/* FASTBP_RULE_SGD, FASTBP_RULE_MOMENTUM, … for every update rule of lists.h. */
typedef enum {
#define FASTBP_RULE_CODE(CODE, name, moments, KERNEL) FASTBP_RULE_##CODE,
    FASTBP_RULES(FASTBP_RULE_CODE)
#undef FASTBP_RULE_CODE
        FASTBP_RULE_COUNT
} fastbp_rule_t;

/* FASTBP_OP_COPY, FASTBP_OP_ADD, … for every operation of programs in lists.h. */
typedef enum {
#define FASTBP_CODE(CODE, ...) FASTBP_OP_##CODE,
    FASTBP_OPERATIONS(FASTBP_CODE)
#undef FASTBP_CODE
        FASTBP_OP_COUNT
} fastbp_operation_t;

/* ---- Names: "relu" of FASTBP_ACT_RELU; NULL if there is no such code ---- */

const char *fastbp_activation_name(int activation);
const char *fastbp_loss_name(int loss);
const char *fastbp_element_name(int element); /* "f4" of FASTBP_X_F32; NULL for FASTBP_X_OWN */
const char *fastbp_vmath_name(int op);
const char *fastbp_operation_name(int operation);

/* Whether σ' of an activation is computed from z rather than from a. */
bool fastbp_slope_from_z(int activation);

/* ---- ISA ---- */

/* The name of the i-th ISA that was built and that this machine supports, slowest first; NULL past
 * the end. The first is always "scalar". */
const char *fastbp_isa_available(int i);

/* Chooses the ISA of every network made from now on; NULL chooses the fastest. Call it before you
 * make the first network, because objects of different ISAs must not be mixed. FASTBP_ERR_ISA, for
 * a name that fastbp_isa_available does not list, or for amx if the system refuses it, leaves the
 * choice as it was. */
fastbp_status_t fastbp_isa_select(const char *name);

/* The name of the fastest ISA here. It need not be the last one available: amx_emulated is never
 * the fastest, and avx512_bf16 only where its products in bfloat16 are faster than float32. The
 * tuning that was chosen does not change it. */
const char *fastbp_isa_fastest(void);

/* The name of the chosen ISA; the fastest if none was chosen. */
const char *fastbp_isa(void);

/* The name of the ISA whose kernels an available ISA has, apart from products in bfloat16: its own,
 * or "avx512" for avx512_bf16. NULL for a name that fastbp_isa_available does not list. */
const char *fastbp_isa_base(const char *name);

typedef struct {
    const char *cpu;    /* brand string, "" if unknown */
    const char *amx;    /* see below */
    size_t l1d, l2, l3; /* bytes of the data caches of a core, of a large one if cores differ */
} fastbp_machine_t;

/* `amx` says whether this process may use the tiles of the ISA amx: "none" if the processor or the
 * system has none; "not requested"; "permitted"; "refused by the system". Linux has to permit them.
 * They are requested once per process, when amx is about to be chosen, by name or as the fastest
 * ISA. */
fastbp_machine_t fastbp_machine(void);

/* The name of the i-th machine that the engine has decisions for, such as "zen4"; NULL past the
 * end. The first is "generic". */
const char *fastbp_tune_available(int i);

/* Chooses the machine for which every network made from now on is tuned, such as how products are
 * divided; NULL chooses the one that this processor is. The results are bit-identical for all of
 * them. FASTBP_ERR_ARGUMENT, for a name that fastbp_tune_available does not list, leaves the choice
 * as it was. */
fastbp_status_t fastbp_tune_select(const char *name);

/* The name of the machine chosen; that of this processor if none was chosen. */
const char *fastbp_tune(void);

/* ---- Threads ---- */

/* Sets the most threads that a call uses from now on, including the caller's own; 0 restores the
 * default, which is the number of processors that this process may run on, or the quota of its
 * control group if that is lower. Small work runs on fewer threads. Results do not depend on the
 * number of threads. */
fastbp_status_t fastbp_set_num_threads(int n);
int fastbp_get_num_threads(void);

/* Ends and joins the threads that earlier calls have started. It is safe to call it when there are
 * none, and to call it twice. Later calls start new threads when they need them, and results do not
 * change. The child of a fork has no threads until it starts its own. Call it before this code is
 * unloaded, or at exit if every thread must have been joined; never from DllMain. It does not wait
 * for work: while a call uses or ends the threads, it returns FASTBP_ERR_STATE and changes nothing.
 * That call may be another thread's, or the one whose loss function calls this. */
fastbp_status_t fastbp_stop_threads(void);

/* ---- Programs: formulas as straight-line code ---- */

/* What a slot of a program holds. */
typedef enum {
    FASTBP_SLOT_FULL = 0, /* one number per output of every row */
    FASTBP_SLOT_ROW = 1,  /* one number per row */
    FASTBP_SLOT_ONE = 2,  /* a single number */
    FASTBP_SLOT_COUNT
} fastbp_slot_t;

/* One instruction: out = operation(in[0], …), on slots. Operands that the operation lacks are −1.
 */
typedef struct {
    uint16_t operation, out; /* FASTBP_OP_*; the slot of a temporary */
    int16_t in[3];
} fastbp_instruction_t;

/* A program computes its outputs from its inputs by n_code instructions, one after another. Its
 * slots are the inputs, the constants, which are ONE, and the temporaries, in this order. The
 * result of an elementwise instruction is FULL if an operand is FULL, otherwise ROW; at least one
 * operand is not ONE. `copy` may also widen: from ONE or ROW to its result's kind. Every slot that
 * is read, and every output, was written before. An instruction may write to a slot that it reads.
 */
typedef struct {
    int n_inputs, n_constants, n_temporaries, n_code, n_outputs;
    const uint8_t *kinds; /* FASTBP_SLOT_* of the inputs, then FULL or ROW of the temporaries */
    /* Finite, also when rounded to the dtype; a constant that is subnormal there becomes 0. */
    const double *constants;
    const fastbp_instruction_t *code;
    const uint16_t *outputs; /* the slots of temporaries that are the results */
} fastbp_program_t;

/* The most trained constants of an activation. */
enum { FASTBP_MAX_CONSTANTS = 8 };

/* The most slots, instructions and outputs of a program. A program with more is refused, with
 * FASTBP_ERR_ARGUMENT. */
enum {
    FASTBP_MAX_SLOTS = 1 << 12,
    FASTBP_MAX_CODE = 1 << 14,
    FASTBP_MAX_OUTPUTS = 1 + FASTBP_MAX_CONSTANTS
};

/* An activation by programs, a = f(z, c…). Each c is a trained constant: ONE (one number per layer)
 * or, per_unit, FULL (one number per unit, the same in every row). g = ∂J/∂a; R{x} is the
 * derivative of x along a direction.
 *   value  z, c…                → a
 *   slope  z, c…, g             → g ∂f/∂z, then g ∂f/∂c for every constant
 *   push   z, c…, R{z}, R{c}…   → R{a}
 *   curve  z, c…, g, R{z}, R{c}…, R{g} → R{g ∂f/∂z}, then R{g ∂f/∂c} for every constant
 * Outputs and all other inputs are FULL, and no slot is ROW. */
typedef struct {
    int n_constants; /* 0 … FASTBP_MAX_CONSTANTS */
    bool per_unit;
    fastbp_program_t value, slope, push, curve;
} fastbp_formula_t;

/* A loss by programs. a and the targets y are FULL.
 *   value  a, y       → J_i, ROW
 *   slope  a, y       → J_i, ROW, then ∂J_i/∂a
 *   curve  a, y, R{a} → R{∂J_i/∂a} */
typedef struct {
    fastbp_program_t value, slope, curve;
} fastbp_loss_formula_t;

/* ---- Network: an architecture; immutable, except for fastbp_net_set_trainable ---- */

typedef struct fastbp_net fastbp_net_t;

/* What a layer has besides σ(uW + b), where u is the output of the layer below. All zero is a plain
 * layer. The parameters of layer l in theta are W, then b unless no_bias, then the gain and the
 * shift of its norm, then the running mean and variance of FASTBP_NORM_BATCH, then the trained
 * constants of its formula, one after another: a number per layer each, or one per unit. With
 * options, a layer computes
 *   z = uW + b      n = norm(z)      a = σ(n)      out = a ⊙ m/(1 − p) + u
 * and its a^l is `out`. The mask m applies in training sessions and fastbp_forward_training only.
 * The last layer must have no norm, dropout or residual. docs/layers.md has the formulas.
 *
 * FASTBP_NORM_BATCH has two kinds of statistics. Training sessions and fastbp_forward_training take
 * the mean and the variance of the batch, unless the layer is not trainable; everything else takes
 * the running ones in theta. A training step moves those towards the statistics of its batch,
 *   running = (1 − norm_momentum) · running + norm_momentum · of the batch
 * with the variance divided by the rows − 1 there, and by the rows in z's norm. No gradient and no
 * optimiser changes them; their gradient is 0, their average of an optimiser is they themselves. A
 * batch of one row, or such a part of a batch, has no variance: a session leaves it out. */
typedef enum {
    FASTBP_NORM_NONE = 0,
    FASTBP_NORM_LAYER = 1, /* (z − mean)/√(var + eps) · gain + shift, per row; gain[n], shift[n] */
    FASTBP_NORM_RMS = 2,   /* z/√(mean z² + eps) · gain; gain[n] */
    /* (z − mean)/√(var + eps) · gain + shift, unit by unit; gain[n], shift[n], and the statistics
     * mean[n] and var[n], which are running means: see below */
    FASTBP_NORM_BATCH = 3,
    FASTBP_NORM_COUNT
} fastbp_norm_t;

typedef struct {
    bool no_bias;
    fastbp_norm_t norm;
    double norm_eps;      /* > 0 if the layer has a norm */
    double norm_momentum; /* of FASTBP_NORM_BATCH, 0 < norm_momentum <= 1 */
    double dropout;       /* p, 0 <= p < 1 */
    bool residual;        /* requires n_in = n_out */
    double max_norm;      /* > 0: limit of every ‖W[:,k]‖ after an update; 0: no limit */
    bool non_negative;    /* W >= 0 after an update */
    bool scale;           /* a trained factor for each input: z = (u ⊙ scale) W + b, scale[n_in] */
    /* Layer 1: its first inputs are `numbers` numbers x, each of which becomes `width` inputs of W:
     * x itself, if `keeps`, and y_o = offset_o + Σ_k cos(2π frequency_k x + phase_k) projection_ko,
     * or max(0, y_o) if `rectified`; the other inputs follow. 0: no embedding. Trained: frequencies
     * and phases [numbers, n_frequencies], projections [numbers, n_frequencies, outputs], offsets
     * [numbers, outputs]; outputs = width − keeps, 1 … 64. It takes neither sparse rows nor dropout
     * of the inputs, and only the gradient of J can be computed. */
    ptrdiff_t numbers;
    int n_frequencies, width;
    bool rectified, keeps;
    /* Layer 1: its last inputs are n_categories codes of categories, the code of input c one of
     * 0 … levels[c] − 1, and any other for no category. It becomes level_widths[c] inputs of W: the
     * row of vectors[c][levels[c], level_widths[c]], which are trained, or 0. The engine copies
     * both lists. An update leaves a row of vectors and its moments as they are if all of the
     * row's gradient is 0; only its running average still moves toward it. What is refused is as
     * for numbers.
     */
    int n_categories;
    const ptrdiff_t *levels, *level_widths; /* 1 … INT32_MAX, and 1 … 4096 */
} fastbp_layer_options_t;

/* How exact the factors of matrix products are: W, the a of the layer below (x in layer 1) and δ,
 * in forward, δ·Wᵀ and aᵀδ. A factor is rounded to the nearest, ties to even. NaN and infinities
 * stay; a number beyond the range of bfloat16 becomes infinite. Sums, biases and their gradients,
 * activations and their slopes, norms, losses, theta and the moments keep the network's dtype.
 * Training, passes, fastbp_input_gradient and fastbp_predict round; the other derivatives refuse
 * such a network. docs/numerics.md says what that means for a gradient. */
typedef enum {
    FASTBP_HIGHEST = 0, /* the network's dtype; the only choice for f64 */
    FASTBP_HIGH = 1,    /* 16 bits: the sum of two numbers in bfloat16 */
    FASTBP_MEDIUM = 2,  /* 8 bits: bfloat16 */
    FASTBP_PRECISION_COUNT
} fastbp_precision_t;

/* The caller's own loss. It writes J_i of `rows` samples to row_loss and, unless slope is NULL,
 * ∂J_i/∂a to slope. a: rows of n_L outputs, lda apart; targets: pointers to rows of n_targets
 * elements; slope: rows of n_L elements, ld_slope apart. J_i must depend on sample i alone.
 *
 * Training and backward call it once per batch (or part of one), on the caller's thread. A cost
 * that fastbp_predict computes calls it per block of rows, possibly on several threads at the same
 * time. It runs in the caller's floating-point modes. Any status but FASTBP_OK makes the call that
 * needed the loss fail with FASTBP_ERR_CALL. */
typedef fastbp_status_t (*fastbp_loss_fn)(void *context, ptrdiff_t rows, const void *a,
                                          ptrdiff_t lda, const void *const *targets,
                                          double *row_loss, void *slope, ptrdiff_t ld_slope);

typedef struct {
    int n_layers;            /* L >= 1 */
    const ptrdiff_t *widths; /* n_0 … n_L: L + 1 numbers of units, each >= 1 */
    const int *activations;  /* L values of fastbp_activation_t */
    const double *alphas;    /* L parameters of the activations */
    fastbp_loss_t loss;
    fastbp_dtype_t dtype;
    double l1, l2; /* >= 0 */
    /* the parameters that the row of the loss in lists.h names */
    const double *loss_params;
    int n_loss_params;
    /* columns of dense targets: n_L / number of τ, n_L / 2 for gaussian_nll, 0 for margin_ranking,
     * any number for custom, n_L for the rest; labels take the place of one-hot rows for some */
    ptrdiff_t n_targets;
    fastbp_loss_fn loss_fn; /* for FASTBP_LOSS_CUSTOM, and its context; otherwise NULL */
    void *loss_context;
    const fastbp_layer_options_t *options; /* one per layer, or NULL if all are plain */
    double input_dropout;                  /* p of the inputs, 0 <= p < 1 */
    fastbp_precision_t precision;
    /* L pointers, one for each FASTBP_ACT_FORMULA, the others NULL; NULL if there is none */
    const fastbp_formula_t *const *formulas;
    const fastbp_loss_formula_t *loss_formula; /* for FASTBP_LOSS_FORMULA, otherwise NULL */
    /* NaN in dense targets stands for a target that is not known: it has no loss and no gradient,
     * and a row counts in S with the share of its targets that are known. For losses that are sums
     * or means over the targets. */
    bool ignore_nan;
} fastbp_spec_t;

/* Makes a network from a copy of the spec. FASTBP_ERR_ARGUMENT if a value is out of range or a
 * program is not valid, FASTBP_ERR_MEMORY if there is no memory or a size overflows; *net is then
 * NULL. */
fastbp_status_t fastbp_net_new(fastbp_net_t **net, const fastbp_spec_t *spec);
void fastbp_net_free(fastbp_net_t *net);

/* The number of elements of theta. */
size_t fastbp_net_n_params(const fastbp_net_t *net);

/* How batches of `rows` rows make their matrix products: "f64"; "f32"; "f32 of rounded
 * factors", if the precision is lower and this machine or so few rows gain nothing from bfloat16;
 * or the name of the ISA whose products in bfloat16 are used. A constant string. */
const char *fastbp_products(const fastbp_net_t *net, ptrdiff_t rows);

/* The least number of rows from which an ISA makes the products of a batch in bfloat16 at that
 * precision; 0 if it never does. */
ptrdiff_t fastbp_bf16_rows(const char *isa, fastbp_precision_t precision);

/* Sets whether updates change the parameters of layer l = 1 … L; in a new network they do. Nothing
 * else about a network may change. Do not call it while another call trains the network. */
void fastbp_net_set_trainable(fastbp_net_t *net, int layer, bool trainable);

/* ---- Data: a batch or a data set ---- */

/* The type of the elements of x. Rows of the network's own dtype are read in place. Rows of any
 * other type are converted when they are needed; each element is rounded at most once. */
typedef enum {
    FASTBP_X_OWN = 0,
#define FASTBP_CODE(CODE, ...) FASTBP_X_##CODE,
    FASTBP_ELEMENTS(FASTBP_CODE)
#undef FASTBP_CODE
        FASTBP_X_COUNT
} fastbp_element_t;

typedef struct {
    ptrdiff_t rows;
    fastbp_element_t x_type;
    const void *x; /* rows of n_0 elements */
    ptrdiff_t ldx; /* distance between rows of x, in elements; may be negative or zero */
    /* Compressed sparse rows (CSR), or NULL for dense rows. Row i has the values x[indptr[i]] …
     * x[indptr[i + 1] − 1], of the network's dtype, in the columns `indices` at the same places. In
     * each row the columns ascend and are below n_0. Nothing may write to indptr and indices while
     * the engine uses them. Sparse rows are refused if the inputs have dropout or the first layer
     * is residual. */
    const int64_t *indptr;
    const int32_t *indices;
    /* Targets: labels, or rows of n_targets elements; both NULL if no targets are needed. */
    const int32_t *labels; /* class indices in 0 … n_L − 1; any other value is read as 0 */
    const void *targets;
    ptrdiff_t ldy;       /* distance between rows of targets, in elements */
    const void *weights; /* one weight >= 0 per row, with a positive sum; NULL: all are 1 */
    /* For sessions: sample i is row chosen[i] of these arrays, which may come several times or
     * never, and `rows` counts the samples. NULL: it is row i. Not for losses of pairs. */
    const int32_t *chosen;
    /* For sessions with parts: the rows of every part, those of other sessions included. The rows
     * of these arrays are those of the session's parts, one part after the other. */
    const ptrdiff_t *part_rows;
} fastbp_data_t;

/* ---- Passes: forward and backward with every intermediate result ---- */

/* The buffers z, a and δ of every layer for one batch at a time, in one block of memory. */
typedef struct fastbp_pass fastbp_pass_t;

/* Makes a pass for batches of up to `capacity` rows. The network must outlive it. At a lower
 * precision, all of them make their products as a batch of `capacity` rows does. */
fastbp_status_t fastbp_pass_new(fastbp_pass_t **pass, const fastbp_net_t *net, ptrdiff_t capacity);
void fastbp_pass_free(fastbp_pass_t *pass);

typedef enum { FASTBP_BUFFER_Z, FASTBP_BUFFER_A, FASTBP_BUFFER_DELTA } fastbp_buffer_t;

/* The matrix (capacity, n_l) of layer l = 1 … L, with its leading dimension in *ld; NULL if the
 * layer is out of range. */
void *fastbp_pass_buffer(const fastbp_pass_t *pass, fastbp_buffer_t which, int layer,
                         ptrdiff_t *ld);

/* Whether [at, at + bytes) overlaps the memory of the pass. The caller must copy such an input
 * before it hands it to the pass. */
bool fastbp_pass_overlaps(const fastbp_pass_t *pass, const void *at, size_t bytes);

/* Forward pass: fills z and a, without dropout. The pass keeps pointers to the rows of data->x,
 * which must not change until the backward pass and the derivatives are done. At a lower precision,
 * the factors of the gradient are x and a as this call left them, and δ^l as it is when the
 * recursion leaves layer l (fastbp_backward_layer for l − 1, fastbp_backward_gradient for l = 1):
 * what is written to a or δ^l later reaches σ' and gradients of b, but no product.
 * FASTBP_ERR_VARIANCE for a negative running variance. */
fastbp_status_t fastbp_forward(fastbp_pass_t *pass, const void *theta, const fastbp_data_t *data);

/* The forward pass of a training step: fastbp_forward with dropout and, in layers with
 * FASTBP_NORM_BATCH, with the statistics of the batch. The masks are those of a
 * session with this seed when optimizer->t is t, for a batch of these rows. a^l then is the output
 * of the layer after its dropout, and all that continues the pass goes through the masks and the
 * statistics:
 * fastbp_backward and its parts, fastbp_backward_from, fastbp_pull_back and fastbp_input_gradient.
 * The first call allocates buffers for it in the pass. The next fastbp_forward drops nothing.
 * FASTBP_ERR_ARGUMENT for one row, if it would need the variance of the batch.
 *
 * With statistics of the batch, J_i depends on every row. Then δ^l = ∂(Σ_k s_k J_k)/∂z^l, a row
 * per sample, with the weights in it, whatever is said about δ^l elsewhere. */
fastbp_status_t fastbp_forward_training(fastbp_pass_t *pass, const void *theta,
                                        const fastbp_data_t *data, uint64_t seed, uint64_t t);

/* Moves the running statistics in theta as a training step moves them, by those of the batch of
 * fastbp_forward_training. Nothing changes if it used none, or if another forward pass came after
 * it. */
void fastbp_move_statistics(const fastbp_pass_t *pass, void *theta);

/* Backward pass: fills every δ, grad (n_params elements, penalties included; NULL: only δ) and
 * *cost with J = (1/S) Σ s_i J_i + l1 ‖W‖₁ + (l2/2) ‖W‖². data gives the number of rows, the
 * targets and the weights; its x is not read. theta must be the one given to fastbp_forward. */
fastbp_status_t fastbp_backward(fastbp_pass_t *pass, const void *theta, const fastbp_data_t *data,
                                void *grad, double *cost);

/* The same recursion from a given δ^L = delta (rows of n_L elements, ldd apart), without a loss.
 * FASTBP_ERR_ARGUMENT if the output layer has trained constants, whose gradient δ^L does not
 * determine. */
fastbp_status_t fastbp_backward_from(fastbp_pass_t *pass, const void *theta, const void *delta,
                                     ptrdiff_t ldd, const void *weights, void *grad);

/* The backward pass in pieces, between which a caller may read or replace a δ through
 * fastbp_pass_buffer. Call them in this order; FASTBP_ERR_STATE if a δ that a call reads has not
 * been made since the last forward pass, or if fastbp_vjp or fastbp_jacobian has overwritten it:
 *   1. fastbp_backward_output: δ^L and J from targets; or fastbp_backward_inject: the caller's δ^L,
 *      with the exception of fastbp_backward_from.
 *   2. fastbp_backward_layer for l = L − 1 … 1: δ^l from what δ^{l+1} is now.
 *   3. fastbp_backward_gradient: grad from what every δ is now; at a lower precision, see
 *      fastbp_forward. The gradients of norms and of trained constants are those of the δ^l that
 *      steps 1 and 2 have computed, before anybody replaced it. */
fastbp_status_t fastbp_backward_output(fastbp_pass_t *pass, const void *theta,
                                       const fastbp_data_t *data, double *cost);
fastbp_status_t fastbp_backward_inject(fastbp_pass_t *pass, const void *delta, ptrdiff_t ldd,
                                       const void *weights);
fastbp_status_t fastbp_backward_layer(fastbp_pass_t *pass, const void *theta, int layer);
fastbp_status_t fastbp_backward_gradient(fastbp_pass_t *pass, const void *theta, void *grad);

/* Turns g[rows, n_l] = ∂J_i/∂a^l into ∂J_i/∂z^l = g ⊙ σ'(z^l), in place, with the z, a and masks of
 * the last forward pass. Rows of g are ldg apart. */
fastbp_status_t fastbp_pull_back(fastbp_pass_t *pass, int layer, void *g, ptrdiff_t ldg);

/* ∂J_i/∂x after a backward pass: out[rows, n_0] = δ^1 W^{1ᵀ}, plus the share that a residual first
 * layer passes on. out is dense. */
fastbp_status_t fastbp_input_gradient(fastbp_pass_t *pass, const void *theta, void *out);

/* ---- Derivatives; theta must be the one given to fastbp_forward ---- */

/* All of them need a network with FASTBP_HIGHEST and a forward pass that has dropped nothing and
 * used no statistics of its batch: FASTBP_ERR_ARGUMENT otherwise. A network with that precision and
 * the rest of the spec takes the same theta. */

/* Products with the Jacobian of the outputs, after a forward pass:
 *   fastbp_vjp       out[rows, n_0] = Σ_k v_k ∂a_k^L/∂x, from v[rows, n_L] with rows ldv apart
 *   fastbp_jacobian  out[rows, n_L, n_0] = ∂a^L/∂x, by n_L recursions
 * z and a stay as they are. δ is overwritten, so anything that needs a backward pass needs a new
 * one. */
fastbp_status_t fastbp_vjp(fastbp_pass_t *pass, const void *theta, const void *v, ptrdiff_t ldv,
                           void *out);
fastbp_status_t fastbp_jacobian(fastbp_pass_t *pass, const void *theta, void *out);

/* The gradient of every sample alone, without sample weights and penalties, after a backward pass
 * over dense rows:
 *   fastbp_sample_gradients  out[rows, n_params] = ∂J_i/∂theta
 *   fastbp_gradient_norms    out[rows, L] = ‖∂J_i/∂(parameters of layer l)‖, computed from a and δ
 *                            without the gradient itself */
fastbp_status_t fastbp_sample_gradients(fastbp_pass_t *pass, void *out);
fastbp_status_t fastbp_gradient_norms(fastbp_pass_t *pass, double *out);

/* out[l][rows, n_l] = a^l ⊙ ∂J_i/∂a^l for l = 0 … L, with a^0 = x, after fastbp_backward over dense
 * rows. The targets must not have changed since. */
fastbp_status_t fastbp_relevance(fastbp_pass_t *pass, const void *theta, void *const *out);

/* out[rows, n_L] = R{a^L}, the derivative of the outputs along a direction: the inputs move along
 * dx[rows, n_0], whose rows are lddx apart, and theta moves along dtheta. One of the two may be
 * NULL. To be called after a forward pass over dense rows, none of whose results it changes. The
 * first call on a pass allocates as much memory as the pass has. */
fastbp_status_t fastbp_jvp(fastbp_pass_t *pass, const void *theta, const void *dx, ptrdiff_t lddx,
                           const void *dtheta, void *out);

/* out = ∇²J · v, exactly, where out and v have the layout of theta. To be called after
 * fastbp_backward over dense rows; x and the targets must not have changed since. It covers every
 * activation, norm and loss except the caller's own (FASTBP_ERR_ARGUMENT); at a kink it takes σ''
 * as 0. Like fastbp_jvp, the first call on a pass allocates as much memory as the pass has. */
fastbp_status_t fastbp_hvp(fastbp_pass_t *pass, const void *theta, const void *v, void *out);

/* ---- Prediction ---- */

/* Writes a^L of data->rows rows to out (dense) and J, penalties included, to *cost. Either out or
 * cost may be NULL. Works through blocks of rows and keeps no intermediate results. May be called
 * from several threads at the same time. FASTBP_ERR_VARIANCE for a negative running variance. */
fastbp_status_t fastbp_predict(const fastbp_net_t *net, const void *theta,
                               const fastbp_data_t *data, void *out, double *cost);

/* ---- Updates and training ---- */

enum { FASTBP_MOMENTS = 3 };

/* How gradients are limited. The factor for a norm is min(1, limit/(norm + 1e-6)). */
typedef enum {
    FASTBP_CLIP_NONE = 0,
    FASTBP_CLIP_VALUE = 1, /* every element to [−limit, limit] */
    FASTBP_CLIP_NORM = 2,  /* the norm of each W, b, gain, shift and all constants of a layer */
    FASTBP_CLIP_GLOBAL_NORM = 3, /* the norm of the whole gradient of the trainable layers */
} fastbp_clip_t;

/* The groups of parameters of a layer, which may have rates and decays of their own. */
typedef enum {
    FASTBP_GROUP_WEIGHTS = 0,
    FASTBP_GROUP_BIAS = 1,
    FASTBP_GROUP_NORM = 2, /* gain and shift */
    FASTBP_GROUP_CONSTANTS = 3,
    FASTBP_GROUP_SCALE = 4,
    FASTBP_GROUP_EMBEDDING = 5,
    FASTBP_GROUPS
} fastbp_group_t;

/* Every hyper-parameter of a rule, X(name): a double of that name in fastbp_optimizer_t. */
#define FASTBP_HYPERS(X)                                                                           \
    X(lr)                                                                                          \
    X(momentum)                                                                                    \
    X(beta1)                                                                                       \
    X(beta2) /* also ρ of Adadelta and α of RMSprop */                                             \
    X(eps)                                                                                         \
    X(dampening)      /* of momentum */                                                            \
    X(lr_decay)       /* of Adagrad */                                                             \
    X(momentum_decay) /* of NAdam */                                                               \
    X(shrink)         /* of Rprop: factors and limits of a step */                                 \
    X(grow)                                                                                        \
    X(least)                                                                                       \
    X(most)                                                                                        \
    X(warmup)     /* of schedule-free rules: steps in which lr rises */                            \
    X(iterations) /* of Muon: of Newton and Schulz, and the coefficients of their polynomial */    \
    X(linear)                                                                                      \
    X(cubic)                                                                                       \
    X(quintic)                                                                                     \
    X(rms) /* of Muon: lr times rms·√max(n_in, n_out); 0: times √max(1, n_out/n_in) */

/* An update rule with its hyper-parameters, options and state. The schedule-free rules (FREE_SGD,
 * FREE_ADAM) take gradients at a point y and return a point x. theta is x, and moment[1] is y;
 * during a step or a run they are exchanged. The first step begins with x = y = z = theta. Their
 * sessions have no ranks that share a step; neither have those of Muon. Hyper-parameters that the
 * rule does not use are 0. An option that is 0 or NULL is off. */
typedef struct {
    fastbp_rule_t rule;
#define FASTBP_HYPER_FIELD(name) double name;
    FASTBP_HYPERS(FASTBP_HYPER_FIELD)
#undef FASTBP_HYPER_FIELD
    double weight_decay;
    bool decoupled; /* θ ← (1 − lr·weight_decay) θ instead of g ← g + weight_decay·θ */
    bool maximize;
    fastbp_clip_t clip;
    double limit; /* for clip */
    /* [n_layers, FASTBP_GROUPS]: factors > 0 of lr and factors >= 0 of weight_decay, each layer's
     * by group; both or neither. A decoupled decay is multiplied by lr itself, not by lr · its
     * factor.
     */
    const double *lr_factors, *decay_factors;
    double average_decay;
    uint64_t average_start; /* t at which the average begins: the next step sets it to θ */
    uint64_t t;             /* steps taken, below 2^63; advanced by the engine */
    /* Vectors with the layout of theta. In a session with parts, moments and average may hold only
     * the elements that fastbp_fit_share names: then state_first is the first of them, otherwise 0.
     */
    size_t state_first;
    void *moment[FASTBP_MOMENTS]; /* as many as the rule has; the others are NULL */
    void *grad;                   /* scratch for clipping by norms and for Muon, otherwise NULL */
    void *average;                /* the running mean of theta with average_decay, or NULL */
} fastbp_optimizer_t;

/* For bindings, which fill an optimiser by name: "adam" of FASTBP_RULE_ADAM; the name of the i-th
 * of FASTBP_HYPERS, and where an optimiser holds it. NULL past the end. */
const char *fastbp_rule_name(int rule);
const char *fastbp_hyper_name(int i);
double *fastbp_hyper_at(fastbp_optimizer_t *optimizer, int i);

/* One update of theta from a gradient. It changes trainable layers only, applies their constraints
 * and advances optimizer->t. */
fastbp_status_t fastbp_step(const fastbp_net_t *net, void *theta, const void *grad,
                            fastbp_optimizer_t *optimizer);

/* A training session over one data set. It keeps pointers to theta, to the arrays of data and to
 * the optimizer until it is freed. The caller may write to theta between epochs and before a run of
 * a single step (seconds = 0), because the session copies W again then; not at any other time. */
typedef struct fastbp_fit fastbp_fit_t;
typedef struct fastbp_population fastbp_population_t;

/* What a session with parts asks of the caller, who connects it with those of the other ranks. All
 * ranks ask the same in the same order. */
typedef enum {
    FASTBP_EXCHANGE_SUMS, /* heads and sums: fastbp_share_t.head and .sums to .heads and .received
                           */
    FASTBP_EXCHANGE_SQUARES,    /* each rank's own squares to .squares of all */
    FASTBP_EXCHANGE_PARAMETERS, /* each rank's own elements of theta to theta of all */
    FASTBP_EXCHANGE_AVERAGE,    /* heads, and theta becomes an average over the ranks */
} fastbp_exchange_t;

/* Called by worker 0, which is the caller's thread, in the caller's floating-point modes. Any
 * status but FASTBP_OK ends the run with FASTBP_ERR_CALL. */
typedef fastbp_status_t (*fastbp_exchange_fn)(void *context, fastbp_exchange_t what);

enum { FASTBP_MOST_PARTS = 1024 };

/* A data set in parts. Every batch takes its share of each part, and is shuffled within it. The
 * gradients of the parts are added up along one binary tree over the parts, so the parameters have
 * the same bits for any number of ranks. A caller's own loss is called once for each part of a
 * batch. At a lower precision, products are made in f32, of rounded factors. No layer may have a
 * scale, whose sums need all of those of W. */
typedef struct {
    ptrdiff_t n; /* parts of the whole data set: a power of two up to FASTBP_MOST_PARTS */
    int rank,
        n_ranks; /* this session has the parts rank·n / n_ranks … (rank + 1)·n / n_ranks − 1 */
    /* 0: a step is one of all ranks. Otherwise every rank makes steps by itself, on its share of a
     * batch, and after so many steps and at the end of an epoch or block the parameters become an
     * average over the ranks. */
    ptrdiff_t sync_every;
    fastbp_exchange_fn exchange; /* for n_ranks > 1 */
    void *context;
} fastbp_parts_t;

typedef struct {
    ptrdiff_t batch_size; /* rows, >= 1; the last batch of an epoch may be smaller */
    bool shuffle;
    uint64_t seed; /* of the permutations and, together with optimizer->t, of dropout's masks */
    int n_threads; /* the most threads; 0 for fastbp_get_num_threads */
    /* Rows that go through the network at once, or 0 for the whole batch. A larger batch is
     * processed in parts of that many rows, whose gradients are added up. Buffers hold part_rows
     * rows, so a large batch needs little memory. At a lower precision, the session makes its
     * products as a batch of min(batch_size, part_rows) rows does, however many rows it is given.
     * With FASTBP_NORM_BATCH, each part of a batch has its own statistics. */
    ptrdiff_t part_rows;
    /* The population that alone runs this session, with fastbp_population_run, and whose memory it
     * uses. It must outlive the session. NULL: the session has its own memory. */
    fastbp_population_t *population;
    /* NULL: the data are one set. Not with part_rows, a population or FASTBP_NORM_BATCH. */
    const fastbp_parts_t *parts;
} fastbp_fit_options_t;

fastbp_status_t fastbp_fit_new(fastbp_fit_t **fit, const fastbp_net_t *net, void *theta,
                               const fastbp_data_t *data, fastbp_optimizer_t *optimizer,
                               const fastbp_fit_options_t *options);
void fastbp_fit_free(fastbp_fit_t *fit);

/* The place of a session in its training. An epoch may consist of several blocks of samples, which
 * are bound one after another; a data set that is bound as a whole is block 0. */
typedef struct {
    ptrdiff_t epoch, step;       /* of the next step, from 0; steps count over all blocks */
    ptrdiff_t block, first;      /* the next sample, counted in the shuffled order of the block */
    double loss_sum, weight_sum; /* Σ S·J and Σ S over the steps of the epoch so far */
} fastbp_place_t;

typedef struct {
    bool epoch_done; /* the samples bound are used up: the epoch is done, or this block of it */
    ptrdiff_t epoch,
        step;         /* of the next step, from 0; after FASTBP_ERR_DIVERGED, of the failed one */
    double loss;      /* mean of J over the epoch so far, each batch weighted by its S */
    double last_loss; /* J of the last step */
    fastbp_place_t place; /* after the last step */
    unsigned flags;       /* of fastbp_fit_raise, if they ended the run; otherwise 0 */
} fastbp_progress_t;

/* Runs whole steps until the epoch ends or `seconds` have passed, whichever comes first. It runs at
 * least one step, and exactly one if seconds is 0. Allocates nothing. After FASTBP_ERR_DIVERGED or
 * FASTBP_ERR_CALL, theta is as before the step that failed. */
fastbp_status_t fastbp_fit_run(fastbp_fit_t *fit, double seconds, fastbp_progress_t *progress);

/* Sets a learning rate and, unless momenta is NULL, a momentum (or β1) for each step of an epoch,
 * in place of the optimizer's own. Step i of an epoch uses element i; steps past the end use the
 * last of the n elements. rates >= 0, momenta in [0, 1). They apply until the next call; rates =
 * NULL returns to the optimizer's own. The session keeps both pointers, so the caller keeps the
 * arrays. */
fastbp_status_t fastbp_fit_set_rates(fastbp_fit_t *fit, const double *rates, const double *momenta,
                                     ptrdiff_t n);

/* Sets a label smoothing and the shares p of units to drop for each step of an epoch, as
 * fastbp_fit_set_rates sets rates; NULL stands for those of the network. dropout has n_layers + 1
 * numbers for each step: of the inputs, and of each layer. smoothing in [0, 1] needs a
 * cross_entropy with parameters; dropout in [0, 1) must be 0 where the network has none. */
fastbp_status_t fastbp_fit_set_smoothing(fastbp_fit_t *fit, const double *smoothing,
                                         const double *dropout, ptrdiff_t n);

/* Binds other data to a session, for an epoch of its own or, with fastbp_fit_seek, as the next
 * block of an epoch. Batches must have no more rows than those that the session was made for and,
 * if it shuffles, neither must the data; otherwise FASTBP_ERR_ARGUMENT. Allocates only if x has to
 * be converted, is sparse or, at a lower precision, is dense for the first time. */
fastbp_status_t fastbp_fit_rebind(fastbp_fit_t *fit, const fastbp_data_t *data);

/* Moves a session to a place. The data bound is taken to be block place->block, and the next run
 * continues with sample place->first of it; if there is no such sample, the run makes no step and
 * ends the epoch. The order of the samples depends on seed, epoch and block only, so a new session
 * can continue from the place of another one. FASTBP_ERR_ARGUMENT, without a move, if a number is
 * negative or too large, or if the sample is the second of a pair of margin_ranking. */
fastbp_status_t fastbp_fit_seek(fastbp_fit_t *fit, const fastbp_place_t *place);

/* What the ranks of a session with parts exchange. Pointers are valid as long as the session. */
typedef struct {
    size_t n_params;
    const size_t
        *first; /* n_ranks + 1 places in theta: rank r updates first[r] … first[r + 1] − 1 */
    int slots, most_slots; /* vectors of sums of this rank, and the most of any rank */
    const int *rank_slots; /* … of each rank */
    /* head: 1 + 2·most_slots numbers of this rank: its flags, and Σ s_i and Σ s_i J_i of each slot.
     * heads: those of all ranks. */
    double *head, *heads;
    ptrdiff_t head_size;
    void *sums; /* slots vectors of n_params elements */
    /* One vector of this rank's elements for each slot of each rank, ranks ascending. Its own sums
     * stay where they are. */
    void *received;
    double *squares;        /* one for each piece of theta, in order */
    const ptrdiff_t *piece; /* n_ranks + 1: the pieces of each rank */
} fastbp_share_t;

/* Writes the n_ranks + 1 places of fastbp_share_t.first to `first`. */
fastbp_status_t fastbp_shares(const fastbp_net_t *net, int n_ranks, size_t *first);

/* FASTBP_ERR_ARGUMENT if the session has no parts. */
fastbp_status_t fastbp_fit_share(const fastbp_fit_t *fit, fastbp_share_t *share);

/* Flags for the other ranks. All runs end before the next step of all ranks, or with sync_every
 * after the next average, and fastbp_progress_t.flags has those of all ranks together. They are
 * cleared then. */
fastbp_status_t fastbp_fit_raise(fastbp_fit_t *fit, unsigned flags);

/* For tests: step i of the following runs uses sizes[i % n] threads, whatever the session measures.
 * Sizes are 1 … threads_planned. sizes = NULL returns to measuring. The session keeps the pointer.
 */
fastbp_status_t fastbp_fit_set_teams(fastbp_fit_t *fit, const int *sizes, ptrdiff_t n);

/* ---- Many sessions at the same time ---- */

/* Memory for sessions that take turns in it: as much as the largest needs, once per thread. */
fastbp_status_t fastbp_population_new(fastbp_population_t **population, int n_threads);
void fastbp_population_free(fastbp_population_t *population);

/* Whether sessions of one shape run side by side, one in each lane of the vectors, which does not
 * change a result: where that is faster by an estimate, wherever it is possible, or nowhere. */
typedef enum {
    FASTBP_INTERLEAVE_AUTO = 0,
    FASTBP_INTERLEAVE_ALWAYS = 1,
    FASTBP_INTERLEAVE_NEVER = 2
} fastbp_interleaving_t;
void fastbp_population_interleave(fastbp_population_t *population, fastbp_interleaving_t choice);

/* What a session is to do in a run of its population, and what it did. */
typedef struct {
    fastbp_fit_t *fit;
    double seconds;             /* from the beginning of the run; exactly one step if 0 */
    ptrdiff_t epochs;           /* the most epochs to end, >= 1 */
    double *loss;               /* for each of them: the mean of J, as in fastbp_progress_t */
    double *took;               /* … and the seconds that it took within this run */
    ptrdiff_t ended;            /* how many have ended */
    fastbp_progress_t progress; /* as after fastbp_fit_run, of the last epoch */
    fastbp_status_t status;
    int beside; /* how many other sessions ran side by side with it */
} fastbp_turn_t;

/* Runs n sessions of a population, each for `seconds` or `epochs`, whichever ends first. Each is on
 * one thread, unless there are more threads than sessions, and those with the most work left begin
 * first. Sessions that run side by side stop together: when one of them has ended its epochs, the
 * others may have ended fewer than they were asked for. One whose turn has not come when its
 * seconds are over has made no step. The results of a session are those of fastbp_fit_run. It
 * allocates only if a session needs more memory than all before. The status is that of the call;
 * each turn has its own. */
fastbp_status_t fastbp_population_run(fastbp_population_t *population, fastbp_turn_t *turn,
                                      ptrdiff_t n);

/* ---- Where the time of a session goes ---- */

typedef enum {
    FASTBP_PHASE_FORWARD = 0,  /* σ(a^{l−1} W^l + b^l) */
    FASTBP_PHASE_LOSS = 1,     /* J_i and δ^L, for layer L; penalties, for every layer */
    FASTBP_PHASE_DELTA = 2,    /* (δ^l W^lᵀ) ⊙ σ'_{l−1}, for layers 2 … L */
    FASTBP_PHASE_GRADIENT = 3, /* a^{l−1ᵀ} δ^l and Σ_i δ_i^l */
    FASTBP_PHASE_UPDATE = 4,   /* the optimiser, and the copies of W^l */
    FASTBP_PHASE_WAITING = 5,  /* at barriers; belongs to no layer, like the next phase */
    FASTBP_PHASE_OTHER = 6,    /* shuffling, finding and converting rows, bookkeeping */
    FASTBP_PHASE_COUNT
} fastbp_phase_t;

/* Starts or stops the clocks for the runs that follow. The first start allocates and may return
 * FASTBP_ERR_MEMORY. From then on the session uses all its threads, however busy the machine is.
 * Without clocks, a run pays one branch per layer and phase. Results do not depend on the clocks.
 */
fastbp_status_t fastbp_fit_set_clocks(fastbp_fit_t *fit, bool on);

/* The number of steps made and the time they took, including shuffling. */
typedef struct {
    ptrdiff_t steps;
    double seconds;
} fastbp_fit_runs_t;

typedef struct {
    double seconds[FASTBP_PHASE_COUNT]; /* summed over the threads; 0 without clocks */
    bool panels;     /* forward reads a copy of W, in panels or in tiles of bfloat16 */
    bool transposed; /* δ comes from a copy of Wᵀ, not from W */
    bool outer;      /* the update computes the gradient itself; otherwise gemm_tn does */
} fastbp_layer_report_t;

typedef struct {
    int threads;         /* the most threads that a run has used; 0 before the first run */
    int threads_planned; /* threads that the work is enough for; a run may have got fewer */
    int threads_allowed; /* the limit: options.n_threads, or fastbp_get_num_threads */
    int threads_now;     /* those of the next step: fewer where the threads hinder each other */
    ptrdiff_t threads_changes; /* how often that number has changed */
    double step_work;       /* cost of a full batch in floating-point operations, with the update */
    double thread_work;     /* operations that each thread must get before another one is used */
    ptrdiff_t next_rows;    /* rows of a batch that would use one thread more */
    ptrdiff_t copies_above; /* batches with more rows than this use copies of W */
    const char *products;   /* as fastbp_products says */
    ptrdiff_t row_blocks;   /* tasks of the row sweep for a full batch */
    ptrdiff_t tiles;        /* tasks of the weight sweep */
    size_t bytes;           /* memory of the session itself */
    fastbp_fit_runs_t clocked; /* runs with clocks */
    fastbp_fit_runs_t plain;   /* runs without, since the clocks were first started */
} fastbp_fit_report_t;

/* Reports what the session uses and where its time went. `layer` has L + 1 elements: layer[l] is
 * layer l = 1 … L, and layer[0] has the phases that belong to no layer. The seconds of one thread
 * add up to the time of its runs. */
void fastbp_fit_report(const fastbp_fit_t *fit, fastbp_fit_report_t *report,
                       fastbp_layer_report_t *layer);

/* ---- Single kernels, for tests and benchmarks ---- */

typedef enum { FASTBP_GEMM_NN, FASTBP_GEMM_TN, FASTBP_GEMM_NT } fastbp_gemm_form_t;

typedef struct {
    fastbp_gemm_form_t form;
    fastbp_dtype_t dtype;
    ptrdiff_t m, n, k;
    /* bias and aux may be NULL. aux is the z or the a from which σ' is computed; with it the
     * epilogue is ⊙ σ', without it σ. nt has the σ' epilogue only; tn has none. */
    const void *a, *b, *bias, *aux;
    ptrdiff_t lda, ldb, ldaux;
    int activation;
    double alpha;
    bool panels; /* nn: copy B into panels first, as the engine does with Wᵀ */
    /* tn: k in n_parts parts, a power of two, of part_rows[i] ≥ 0 rows, whose sums are added along
     * a binary tree; NULL: in one. */
    const ptrdiff_t *part_rows;
    ptrdiff_t n_parts;
    int repeats; /* how often the product is computed; the copy is made once */
    void *c, *z; /* z may be NULL */
    ptrdiff_t ldc, ldz;
} fastbp_gemm_call_t;

/* Computes one product, `repeats` times. FASTBP_ERR_ARGUMENT if the form lacks what the call asks
 * for; FASTBP_ERR_MEMORY if there is none for the pointers and copies. */
fastbp_status_t fastbp_gemm(const fastbp_gemm_call_t *call);

/* A matrix as factors of products in bfloat16: x as left factor, xᵀ as left factor, x as right
 * factor, xᵀ as right factor; kernels/bf16.h has the layouts. Each is on a cache line and has
 * fastbp_bf16_elems elements for its two sizes; NULL if it is not wanted. */
typedef struct {
    uint16_t *form[4];
} fastbp_bf16_forms_t;

/* If the chosen ISA is its own fastbp_isa_base, it has no products in bfloat16, and the functions
 * below return FASTBP_ERR_ISA. */

/* Elements of a factor of a matrix with these sizes, in either order; planes: 1 or 2. 0 if their
 * number does not fit. */
size_t fastbp_bf16_elems(ptrdiff_t rows, ptrdiff_t cols, int planes);

/* Packs x[rows, cols] into the forms wanted, `repeats` times. listed: through a list of pointers to
 * its rows, as a shuffled batch is given. */
fastbp_status_t fastbp_bf16_pack(const float *x, ptrdiff_t ld, ptrdiff_t rows, ptrdiff_t cols,
                                 int planes, bool listed, int repeats,
                                 const fastbp_bf16_forms_t *forms);

typedef struct {
    ptrdiff_t m, n, k;
    int planes; /* 1: factors have 8 bits; 2: 16 bits */
    const float *a, *b;
    ptrdiff_t lda, ldb;
    const float *bias, *aux; /* as in fastbp_gemm_call_t, for form nn */
    ptrdiff_t ldaux;
    int activation;
    double alpha;
    float *c, *z; /* each may be NULL */
    ptrdiff_t ldc, ldz;
    fastbp_bf16_forms_t to; /* receives c as factors */
    int repeats;            /* how often the product is computed; factors are packed once */
} fastbp_bf16_call_t;

fastbp_status_t fastbp_bf16_product(const fastbp_bf16_call_t *call);

/* out[rows, cols] = x, rounded as a factor of products is with that precision, not FASTBP_HIGHEST.
 * Rows are ldx and ldo apart. In f64, the numbers keep 8 or 16 significant bits as in f32. */
fastbp_status_t fastbp_round(fastbp_dtype_t dtype, fastbp_precision_t precision, ptrdiff_t rows,
                             ptrdiff_t cols, const void *x, ptrdiff_t ldx, void *out,
                             ptrdiff_t ldo);

/* out[i] = f(x[i]), f being the function of fastbp_vmath_name(op); op = 0, 1, … */
fastbp_status_t fastbp_vmath(int op, fastbp_dtype_t dtype, ptrdiff_t n, const void *x, void *out);

typedef struct {
    const fastbp_program_t *program;
    fastbp_dtype_t dtype;
    ptrdiff_t rows, cols; /* of the FULL slots; cols >= 1 */
    bool by_rows;         /* as losses are computed: needed if the program has ROW slots */
    /* One address and leading dimension per input. FULL: rows × cols, the same row for every row if
     * the leading dimension is 0; ROW: rows elements; ONE: one element. An input that no
     * instruction reads may be NULL. labels: NULL, or one class
     * 0 … cols - 1 per row, whose one-hot rows replace the last input; needs by_rows. */
    const void *const *in;
    const ptrdiff_t *ld_in;
    const int32_t *labels;
    const void *scale; /* by_rows: a factor per row for the FULL outputs, or NULL */
    /* One address per output, NULL if it is not wanted. ROW outputs are double. A FULL output may
     * be the same matrix as a FULL input; otherwise the matrices do not overlap, and no two outputs
     * are the same matrix. */
    void *const *out;
    const ptrdiff_t *ld_out;
    int repeats; /* how often the program runs */
} fastbp_program_call_t;

/* Checks and runs a program. FASTBP_ERR_ARGUMENT if the program or the call is not valid. */
fastbp_status_t fastbp_run_program(const fastbp_program_call_t *call);

/* GFLOP/s of independent fused multiply-adds in registers, measured for `seconds`: the peak that
 * products are compared with. */
double fastbp_fma_peak(fastbp_dtype_t dtype, double seconds);

/* GFLOP/s of the operations that products in bfloat16 consist of, in registers or tiles, on one
 * core, measured for `seconds`: the peak that products with one or two planes are compared with.
 * The operations are those of the product, so the peak for two planes is a third of that for one. 0
 * if the chosen ISA has no products in bfloat16, or planes is not 1 or 2. */
double fastbp_bf16_peak(int planes, double seconds);

/* GB/s, reads and writes together, of a += s·b over `bytes` of memory divided among up to n_threads
 * threads (0 for fastbp_get_num_threads), measured for `seconds`: what passes over that much memory
 * are compared with. 0 if the memory cannot be allocated. */
double fastbp_memory_rate(fastbp_dtype_t dtype, size_t bytes, int n_threads, double seconds);

/* Seconds that a region on n_threads threads takes if it has two barriers and no work, averaged
 * over `repeats` regions in an open session: what a step pays for its threads. Returns 0 if
 * n_threads or repeats is below 1. */
double fastbp_pool_latency(int n_threads, ptrdiff_t repeats);

#endif
