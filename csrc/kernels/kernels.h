/* kernels.h: the kernel table and the contract of each slot.
 *
 * Matrices are row-major; leading dimensions count elements. Pointers are void because f32 and f64
 * have the same type of table; its elem_size tells them apart. A kernel accepts every size >= 0,
 * reads and writes only the elements named, and needs no alignment beyond that of the element. It
 * never allocates, starts a thread or calls a higher room. An output element is computed by the
 * same operations in the same order no matter which other rows are computed in the same call, so
 * results do not depend on how the caller divides the work. For gemm_tn this is true of columns as
 * well. */
#ifndef FASTBP_KERNELS_H
#define FASTBP_KERNELS_H

#include "../base/common.h"
#include "../base/machine.h"
#include "../base/rng.h"
#include "../base/tree.h"
#include "../fastbp.h"
#include "activations.h"
#include "program.h"
#include "vmath.h"

/* A read-only matrix. */
typedef struct {
    const void *at;
    ptrdiff_t rows, cols, ld;
} fbp_mat_t;

/* The most matrices that a product prefetches for what follows it: fbp_gemm_t.warm. */
enum { FBP_MAX_WARM = 3 };

/* The epilogue of a product: what is done to AB before it is stored. */
typedef enum {
    FBP_EPI_NONE,     /* C = AB + bias */
    FBP_EPI_FORWARD,  /* C = σ(AB + bias), and z = AB + bias unless z is NULL */
    FBP_EPI_BACKWARD, /* C = (AB) ⊙ σ', where σ' is computed from aux: the layer's a or z */
} fbp_epi_t;

/* The rows of a product's k in parts, whose sums are added along a binary tree: each part has its
 * own sum, and after part i the latest pops[i] sums on a stack are taken off it and added, one
 * after another, before the result is put on it. In the end one sum is left. */
typedef struct {
    ptrdiff_t n;           /* at least 1 */
    const ptrdiff_t *rows; /* of each part, at least 1; k of them together */
    const int *pops;
    void *stack; /* scratch of FBP_TREE_DEPTH · (tile_elems + m · n rounded up to whole vectors) */
} fbp_gemm_parts_t;

/* One product. A is given by pointers to its rows, so that a shuffled batch needs no copy:
 *   gemm_nn  C[m,n] = epi(A[m,k] · B[k,n] + bias)   a: m pointers to rows of k elements
 *   gemm_tn  C[m,n] = A[k,m]ᵀ · B[k,n]              a: k pointers to rows, columns a_offset … + m
 *   gemm_nt  C[m,n] = epi(A[m,k] · B[n,k]ᵀ)         as nn; B dense, epi NONE or BACKWARD
 * B is dense (b_panel = 0) or in panels of the table's panel_cols columns: row k of panel p is at
 * b + p·b_panel + k·panel_cols, and the last panel is padded with zeros. Sums run over k in order,
 * except those of nt and of the last few columns of nn, which run in the lanes of a vector first,
 * and those of tn with parts. */
typedef struct {
    void *c;
    ptrdiff_t ldc;
    const void *const *a;
    ptrdiff_t a_offset; /* elements added to every row pointer */
    const void *b;
    ptrdiff_t ldb;
    ptrdiff_t b_panel;
    ptrdiff_t m, n, k;
    const void *bias; /* n elements, or NULL for 0; nn only */
    fbp_epi_t epi;    /* tn: FBP_EPI_NONE */
    int act;          /* FORWARD and BACKWARD: FASTBP_ACT_*, not softmax */
    double alpha;
    void *z; /* FORWARD: receives AB + bias; or NULL */
    ptrdiff_t ldz;
    const void *aux; /* BACKWARD: a[m,n] of the layer of the δ computed, or z if fbp_act_by_z */
    ptrdiff_t ldaux;
    const fbp_blocking_t *blocking; /* NULL: k in one block, and no copies */
    void *pack; /* nn and tn: scratch of fbp_pack_elems; or NULL: A and B are read in place */
    /* tn: up to FBP_MAX_WARM more m × n matrices, with leading dimension ldwarm, that the caller
     * uses next. They are prefetched into L2 during the product. NULL ends the list. */
    const void *warm[FBP_MAX_WARM];
    ptrdiff_t ldwarm;
    bool spread;                   /* warm: over the loop of a tile, instead of before it */
    const fbp_gemm_parts_t *parts; /* tn: or NULL */
} fbp_gemm_t;

/* n = (z − mean) · r · gain + shift, row by row, r = 1/√(var + eps); RMS: mean = 0, no shift.
 * BATCH: mean and var are given, unit by unit. */
typedef struct {
    int kind; /* FASTBP_NORM_*, not NONE */
    double eps;
    const void *gain, *shift; /* cols elements each; shift NULL for RMS */
    const void *mean, *var;   /* BATCH: cols elements each */
    /* BATCH, norm_backward: the results of norm_gradient for the whole batch, whose rows they are
     * the sums of, if mean and var are those of the batch; NULL if they are constants. */
    const void *gain_sums, *shift_sums;
    ptrdiff_t batch_rows;
} fbp_norm_t;

/* Numbers first … first + numbers − 1 of rows of x, and the parameters of the first of them:
 * frequency and phase [numbers, frequencies], weight [numbers, frequencies, outputs], bias
 * [numbers, outputs]. Each number becomes itself, if `keeps`, and `outputs` more. */
typedef struct {
    ptrdiff_t frequencies, outputs; /* outputs <= FBP_PERIODIC_OUTPUTS */
    bool rectified, keeps;
    const void *frequency, *phase, *weight, *bias;
    const void *const *x;
    ptrdiff_t rows, first, numbers;
} fbp_periodic_t;

enum { FBP_PERIODIC_OUTPUTS = 64 };

/* Codes of categories in one column of rows of x, and the vectors of the categories:
 * table[levels, width]. A code that is none of 0 … levels − 1 stands for no category. */
typedef struct {
    const void *const *x;
    ptrdiff_t rows, column;
    const void *table;
    ptrdiff_t levels, width; /* levels <= INT32_MAX */
} fbp_category_t;

/* Random words: philox(seed, number, step, ·) of base/rng.h. */
typedef struct {
    uint64_t seed;
    uint32_t number, step;
} fbp_stream_t;

/* The mask of `rows` rows of a batch from row0 on, with `cols` units. Unit j of row i is dropped if
 * its word of the stream is below drop_below, else multiplied by scale. Words 0
 * and 1 of index (i << 32) + 8 g + c, c < 8, belong to units 32 g + 2 c and 32 g + 2 c + 1, words 2
 * and 3 to the units 16 further. So a vector of up to 8 counters stores whole vectors of units. */
typedef struct {
    fbp_stream_t stream;
    ptrdiff_t row0, rows, cols;
    uint32_t drop_below; /* p · 2^32 */
    double scale;        /* 1/(1 − p) */
} fbp_dropout_t;

/* One block of output rows. delta receives ∂J_i/∂a, or ∂J_i/∂z for a fused pair, times scale[i]
 * unless scale is NULL. row_loss[i] receives J_i. labels and targets are not both given;
 * margin_ranking has neither. */
typedef struct {
    int loss;   /* FASTBP_LOSS_* */
    bool fused; /* the output activation and the loss are a pair: use z */
    ptrdiff_t rows, cols;
    const void *z, *a;
    ptrdiff_t ldz, lda;
    const int32_t *labels;      /* a class index per row, or NULL */
    const void *const *targets; /* a pointer per row to n_targets elements, or NULL */
    ptrdiff_t n_targets;        /* cols, except for quantile, gaussian_nll and margin_ranking (0) */
    const void *params;         /* n_params elements, see fastbp_spec_t */
    ptrdiff_t n_params;
    bool masked;             /* NaN in targets: no part of the loss, and no slope */
    const double *smoothing; /* of cross_entropy with parameters: ε instead of the first; or NULL */
    const void *scale;       /* a factor per row, or NULL */
    void *delta;             /* NULL: only the loss is computed */
    ptrdiff_t ldd;
    double *row_loss;
} fbp_loss_t;

/* The part of R{δ} that comes from σ'': rz = R{z}, ra = R{a}, g = ∂J_i/∂a. curve.inc explains R. */
typedef struct {
    int act;
    double alpha;
    ptrdiff_t rows, cols;
    const void *z, *a, *rz, *ra, *g;
    ptrdiff_t ldz, lda, ldrz, ldra, ldg;
    void *delta;
    ptrdiff_t ldd;
} fbp_curve_t;

/* The R-operator through a norm (norm_curve.inc). z, stats and gain are those of norm_forward;
 * stats has (mean, r) of each row. norm_push replaces R{z} by R{x̂}, which norm_curve needs. */
typedef struct {
    int kind;                                    /* FASTBP_NORM_*, not NONE */
    const void *gain, *moved_gain, *moved_shift; /* cols elements; R{gain}, R{shift}: NULL for 0 */
    double eps;
    const void *mean, *var; /* BATCH: constants, instead of stats and moved_r; with eps */
    ptrdiff_t rows, cols;
    const void *z, *stats;
    ptrdiff_t ldz;
    void *moved, *moved_r; /* R{z}, later R{x̂}; R{r}, one element per row */
    ptrdiff_t ldm;
    const void *g; /* ∂J/∂n; norm_curve only */
    ptrdiff_t ldg;
} fbp_norm_curve_t;

/* The rules that update and update_outer can apply, if no option is set. */
#define FBP_FUSED_RULES(X)                                                                         \
    X(FASTBP_RULE_SGD) X(FASTBP_RULE_MOMENTUM) X(FASTBP_RULE_NESTEROV) X(FASTBP_RULE_ADAM)

FBP_INLINE bool fbp_rule_is_fused(int rule) {
    switch (rule) {
#define CASE(rule) case rule:
        FBP_FUSED_RULES(CASE)
#undef CASE
        return true;
    default: return false;
    }
}

/* The constants of a step that rules.inc uses besides the hyper-parameters, X(name):
 *   sign, decay     g ← clamp(g, ±clip)·sign + decay·θ
 *   keep            then θ ← keep·θ
 *   gain            momentum: factor of g
 *   ahead           NAdam: factor of m relative to that of g; Muon: the weight of m against g
 *   step_size       Adam: lr / (1 − β1^t); FREE_ADAM: lr
 *   pull            FREE_ADAM: lr·weight_decay, a factor of y
 *   share           FREE_SGD, FREE_ADAM: the weight of z in x
 *   average_weight  average ← average + average_weight (θ − average) */
#define FBP_STEP_CONSTANTS(X)                                                                      \
    X(sign) X(decay) X(keep) X(gain) X(ahead) X(step_size) X(pull) X(share) X(average_weight)

/* One update. From the raw sums G = aᵀδ, g = G·grad_scale + l2·θ + l1·sign(θ); then the rule. */
typedef struct {
    int rule; /* a FASTBP_RULE_* that has a kernel */
    double grad_scale, l1, l2;
    const void *weights; /* write_gradient only: θ for the penalties, with the shape of the sums */
    ptrdiff_t ldw;
    bool options;           /* needs update_rule: update and update_outer do not suffice */
    double clip;            /* update_rule only */
    double root_correction; /* Adam: 1 / sqrt(1 − β2^t) */
    void *direction; /* Muon: receives the direction of every W, laid out as theta; or NULL */
#define FBP_FIELD(name) double name;
    FASTBP_HYPERS(FBP_FIELD)
    FBP_STEP_CONSTANTS(FBP_FIELD)
#undef FBP_FIELD
} fbp_update_t;

/* What a step changes: a tile of θ, and the elements that belong to it of each moment (NULL if the
 * rule has fewer) and of the average (or NULL). All of them have the leading dimension ld. */
typedef struct {
    void *theta, *moment[FASTBP_MOMENTS], *average;
    ptrdiff_t ld;
} fbp_state_tile_t;

enum { FBP_OUTER_MAX = 8 };

/* The factors of the raw sums of a batch of few rows: Σ_k a[k][unit0 … unit0 + units − 1]ᵀ δ_k. */
typedef struct {
    const void *const *a; /* delta.rows pointers to rows of units */
    ptrdiff_t unit0, units;
    fbp_mat_t delta; /* at most FBP_OUTER_MAX rows */
} fbp_outer_t;

/* A sparse row of X: x[index[k]] = value[k] for k = 0 … count − 1, every other element is 0. The
 * indices ascend. */
typedef struct {
    const void *value;
    const int32_t *index;
    ptrdiff_t count;
} fbp_sparse_row_t;

enum { FBP_SPARSE_VECTORS = 4 }; /* vectors of z that are in registers at a time */

/* How a factor of products is rounded: 0 not at all, 1 to 8 significant bits, 2 to the sum of two
 * such numbers (round.inc). In the order of fastbp_precision_t, 0 for HIGHEST, 2 for HIGH and 1 for
 * MEDIUM. */
FBP_INLINE int fbp_planes(fastbp_precision_t precision) {
    return precision == FASTBP_HIGHEST ? 0 : precision == FASTBP_HIGH ? 2 : 1;
}

/* ---- networks side by side ----
 *
 * In an interleaved matrix a vector stands where an ordinary one has an element: its lane q is the
 * element of network q. Strides and leading dimensions count such vectors. */

/* Which product of one network alone has the same bits. */
typedef enum {
    FBP_AS_NN, /* gemm_nn with scratch, so that its last columns may be dot products */
    FBP_AS_TN,
    FBP_AS_NT
} fbp_as_t;

/* C[m,n] = A[m,k] · B[k,n] + bias: element (i,k) of A is vector i·a_row + k·a_k, element (k,j) of B
 * vector k·b_k + j·b_col. */
typedef struct {
    void *c;
    ptrdiff_t ldc;
    const void *a;
    ptrdiff_t a_row, a_k;
    const void *b;
    ptrdiff_t b_k, b_col;
    ptrdiff_t m, n, k;
    const void *bias; /* n vectors, or NULL for 0 */
    bool accumulate;  /* C holds the sum over earlier k; TN only */
    fbp_as_t as;
} fbp_interleaved_gemm_t;

/* A loss that is a sum of terms of single outputs, against dense targets. */
typedef struct {
    int loss;   /* FASTBP_LOSS_*: one whose terms alone are listed, or BINARY_CROSS_ENTROPY */
    bool fused; /* as in fbp_loss_t */
    ptrdiff_t rows, cols;
    const void *z, *a, *y; /* with one leading dimension; z is read only if fused */
    ptrdiff_t ld;
    const void *params; /* as in fbp_loss_t, the same for all networks */
    ptrdiff_t n_params;
    const void *scale; /* a vector per row, or NULL */
    void *delta;
    ptrdiff_t ldd;
    double *const *row_loss; /* of each network */
} fbp_interleaved_loss_t;

/* The step of one layer: the product aᵀδ as by gemm_tn, and the rule. Row i of the product is input
 * unit i; b is one more row, whose unit is 1 in every sample. θ and the moments have the layout of
 * the product, without gaps. */
typedef struct {
    fbp_interleaved_gemm_t product; /* c: room for FBP_SIDE_ROWS_MAX rows of n vectors; ldc = n */
    ptrdiff_t units;                /* rows of W, the others are b */
    const fbp_update_t *each;       /* the update of each network, alike but for their constants */
    fbp_state_tile_t state;
} fbp_interleaved_update_t;

enum { FBP_SIDE_ROWS_MAX = 8, FBP_MOST_LANES = 16 };

/* The remaining slots; P = panel_cols, and `planes` is that of fbp_planes:
 * pack_transposed  transposes the tile w, rows row0 … of W, into panels of P input units: unit i,
 *                  output j goes to panels[(i/P)·panel_stride + j·P + i%P]. row0 is a multiple of
 *                  the lanes. Lanes after the tile's last row are set to 0 up to the next multiple
 *                  of the lanes.
 * pack_panels      copies the tile w, rows row0 … of W, into panels of P outputs: row i, output j
 *                  goes to panels[(j/P)·panel_stride + i·P + j%P]; 0 after the last output.
 * round_rows       out[i,j] = x[i][j] rounded to 1 or 2 planes, where x points to rows.
 * transpose        out[j,i] = x[i,j]; for small matrices.
 * column_sums      sums[j] = Σ_i f_i x[i,j], i ascending, with f_i as in norm_gradient.
 * row_sums         sums[i·lds] = Σ_j x[i,j], each lane of a vector in order, then the lanes.
 * scale_rows       out[i,j] = x[i,j] · factors[i].
 * scale_sums       slopes[i·lanes + q] += Σ_j w[i,j] sums[i,j] over the j of lane q, j ascending;
 *                  then sums[i,j] *= factors[i].
 * convert          out[i] = x[i], rounded once; x has n elements of the type FASTBP_X_*, not OWN.
 * periodic_forward  writes what the numbers become to columns (outputs + keeps)·first … of out.
 * periodic_sums    sums of the gradients of frequency, phase, weight and bias from rows of
 *                  ∂J_i/∂out, times factors[i] unless it is NULL; scratch: fbp_periodic_elems.
 * category_codes   code[i] = the code of row i, −1 for none.
 * category_rows    own[i,:] = table[code[i],:], or the reverse if `back`; rows of both have `width`
 *                  elements.
 * category_forward  the vector of row i, 0 without a category, goes to out + i·ldo.
 * category_sums    sums[group[i],:] += f_i delta[i][column:column + width] for the rows with a
 *                  group >= 0, i ascending, with f_i as in norm_gradient; sums[·, width].
 * sparse_forward   z[i] = x_i W + bias for `rows` sparse rows x_i and a dense W; bias may be NULL.
 * sparse_sums      sums[u − unit0,:] = Σ_i x_iu δ_i for units unit0 … unit1 − 1, i ascending. x and
 *                  delta have the same number of rows.
 * multiply_rows    out[i,j] *= x[i][j], where x points to rows.
 * add_rows         out[i,j] = x[i,j] + y[i][j], where y points to rows; out may be x.
 * limit_columns    multiplies each column of W whose norm exceeds `most` by most/(norm + 1e-7), as
 *                  torch.renorm does.
 * norm_forward     out = n, and stats[i] = (mean, r) of row i unless stats is NULL; out may be z.
 *                  BATCH does not use stats.
 * norm_backward    replaces delta = ∂J/∂n by ∂J/∂z; kept receives ∂J/∂n, and may be delta if nobody
 *                  needs that.
 * norm_moments     mean[j] = Σ_i z[i,j]/rows, var[j] = Σ_i (z[i,j] − mean[j])²/rows; the sums go
 *                  over 64 rows at a time, i ascending, and then over those sums in order.
 * norm_gradient    gain[j] = Σ_i f_i g[i,j] x̂[i,j], shift[j] = Σ_i f_i g[i,j], i ascending; BATCH:
 *                  in the order of norm_moments;
 *                  x̂ = (z − mean) r; f_i = factors[i], or 1 if factors is NULL.
 * norm_push        out = R{n}; replaces moved = R{z} by R{x̂}; moved_r = R{r}.
 * norm_curve       replaces delta = R{∂J/∂n} by R{∂J/∂z}; kept receives R{∂J/∂n}.
 * shuffle          swaps order[i] with order[floor(r (i + 1) / 2^64)] for i = n − 1 … 1, where r
 *                  has words 0 and 1 of index (high << 32) + i of the stream.
 * dropout          out[i,j] = from[i][j] · (dropped ? 0 : scale); from may point to rows of out.
 * act_forward      a = σ(z), softmax by rows; a may be z.
 * act_backward     delta ⊙= σ', computed from aux = a, or z if fbp_act_by_z;
 *                  softmax, with p = aux: delta = p ⊙ (delta − Σ_j delta_j p_j).
 * act_curve        delta += g ⊙ σ''(z) ⊙ rz; softmax: R{its Jacobian} g, computed from ra.
 * loss_curve       loss->delta = R{∂J_i/∂a} from rz = R{z} and ra = R{a}, or R{δ} for a pair;
 *                  does not use row_loss and scale.
 * run_elements     runs a program without ROW slots on a matrix; program.h has the contract.
 * run_rows         runs any program, row by row.
 * write_gradient   grad = the final gradient of the tile of raw sums.
 * update           applies the rule to the tile of θ and of its moments; all three have ld = ldt.
 * update_outer     the same from the factors of the raw sums; the bits are the same.
 * update_rule      every rule with every option, see rules.inc. Without options it gives the same
 *                  bits as update, except for Adam, where update folds grad_scale into constants.
 * penalty          l1·Σ|w| + (l2/2)·Σw². A row is summed in the dtype; rows are added in double.
 * interleave       to[i,j] = element j of row i of each network, to which lists[q][i] points; ld
 *                  counts vectors.
 * deinterleave     the reverse; a network whose list is NULL is left out.
 * interleaved_penalty  total[q] = penalty of the q-th W, with its own l1 and l2.
 * vmath            out[i] = f(x[i]), f given by FBP_VMATH_*; vmath.inc states the errors. */
typedef struct {
#define FBP_KERNEL(type, name, params) type(*name) params;
#include "kernels.def"
#undef FBP_KERNEL
    size_t elem_size;
    int lanes;              /* elements of a vector */
    int tile_rows;          /* rows of the register tile of gemm_nn */
    int panel_cols;         /* columns of a panel, a multiple of lanes */
    int tile_elems;         /* the most elements of a register tile */
    ptrdiff_t narrow_elems; /* elements of scratch for the last few columns of gemm_nn */
    int side_rows;          /* rows of the register tile of interleaved products */
} fbp_kernels_t;

/* The elements of scratch of periodic_sums. */
FBP_INLINE size_t fbp_periodic_elems(const fbp_kernels_t *kernels, ptrdiff_t frequencies,
                                     ptrdiff_t outputs) {
    return (size_t)kernels->lanes * (size_t)(frequencies * (outputs + 3) + outputs);
}

/* The blocking of these kernels on a machine. */
FBP_INLINE const fbp_blocking_t *fbp_blocking(const fbp_kernels_t *kernels,
                                              const fbp_machine_t *machine) {
    return fbp_blocking_of(machine, (size_t)kernels->lanes * kernels->elem_size);
}

/* gemm_tn copies A if its rows, divided into register tiles, have at most this many elements. */
enum { FBP_PACK_A_ROW = 128 };

/* The elements of scratch that fbp_gemm_t.pack points to: the last few columns of B, a strip of B,
 * or a block of A with a pointer per row. */
FBP_INLINE ptrdiff_t fbp_pack_elems(const fbp_kernels_t *kernels, const fbp_blocking_t *blocking) {
    const ptrdiff_t pointers = (ptrdiff_t)(sizeof(void *) / kernels->elem_size);
    const ptrdiff_t a = blocking->pack_a_outputs > 0 ? FBP_PACK_A_ROW + pointers : 0;
    return fbp_max(fbp_max(kernels->narrow_elems, blocking->kc * kernels->panel_cols),
                   blocking->kc_tn * a);
}

/* The elements of scratch that fbp_run_t.scratch points to, for matrices with `cols` columns;
 * SIZE_MAX if their number does not fit. by_rows: for run_rows. */
FBP_INLINE size_t fbp_program_scratch(const fbp_kernels_t *kernels, const fbp_program_t *program,
                                      bool by_rows, ptrdiff_t cols) {
    const size_t lanes = (size_t)kernels->lanes, elem_size = kernels->elem_size;
    size_t full = FBP_STRIP_BYTES / elem_size, narrow = lanes, sum, total;
    if (by_rows) {
        const ptrdiff_t vector_bytes = (ptrdiff_t)(lanes * elem_size);
        narrow = lanes * (size_t)fbp_block_vectors(program, vector_bytes, cols);
        if (!fbp_size_mul(narrow, (size_t)cols, &full)) return SIZE_MAX;
    }
    if (!fbp_size_mul(full, (size_t)program->n_full, &sum)) return SIZE_MAX;
    const size_t tables = fbp_table_bytes(program) / elem_size;
    const size_t rest = tables + narrow * (size_t)(program->n_row + program->n_one);
    return fbp_size_add(sum, rest, &total) ? total : SIZE_MAX;
}

#endif
