/* kernels.h: the kernel table and the contract of each slot.
 *
 * Matrices are row-major with a leading dimension in elements. Pointers are void because one table
 * type serves f32 and f64; a table's elem_size says which. Every kernel accepts every size >= 0,
 * reads and writes only the elements named, needs no alignment beyond the element's own, never
 * allocates, starts a thread or calls upwards. Each output element is computed by the same
 * operations in the same order whatever rows it is asked for with, so results do not depend on how
 * callers cut their work; gemm_tn promises that of columns too. */
#ifndef FASTBP_KERNELS_H
#define FASTBP_KERNELS_H

#include "../base/common.h"
#include "../base/rng.h"
#include "../fastbp.h"
#include "activations.h"
#include "vmath.h"

/* A read-only matrix. */
typedef struct {
    const void *at;
    long rows, cols, ld;
} fbp_mat_t;

enum { FBP_MAX_WARM = 3 };

/* What a product does to its result before it is stored for good. */
typedef enum {
    FBP_EPI_NONE,     /* C = AB + bias */
    FBP_EPI_FORWARD,  /* C = σ(AB + bias), and z = AB + bias where z is asked for */
    FBP_EPI_BACKWARD, /* C = (AB) ⊙ σ', which is made from aux: the activation's a, or its z */
} fbp_epi_t;

/* One product. A is always given by row pointers, so that a shuffled batch needs no gather copy:
 *   gemm_nn  C[m,n] = epi(A[m,k] · B[k,n] + bias)   a: m pointers to rows of k elements
 *   gemm_tn  C[m,n] = A[k,m]ᵀ · B[k,n]              a: k pointers to rows, columns a_offset … + m
 *   gemm_nt  C[m,n] = epi(A[m,k] · B[n,k]ᵀ)         as nn; B dense, epi NONE or BACKWARD
 * B is dense (b_panel = 0) or in panels of the table's panel_cols columns, row k of panel p at
 * b + p·b_panel + k·panel_cols, the last panel padded with zeros. Sums run over k in order,
 * but those of nt and of nn's last few columns, which run in the lanes of a vector first. */
typedef struct {
    void *c;
    long ldc;
    const void *const *a;
    long a_offset; /* elements added to every row pointer */
    const void *b;
    long ldb;
    long b_panel;
    long m, n, k;
    const void *bias; /* n elements or NULL (taken as 0); nn only */
    fbp_epi_t epi;    /* tn: FBP_EPI_NONE */
    int act;          /* FASTBP_ACT_*, not softmax, for the two other epilogues */
    double alpha;
    void *z; /* FORWARD: where to keep AB + bias, or NULL */
    long ldz;
    const void *aux; /* BACKWARD: a[m,n] of the layer whose δ is being made; z if fbp_act_by_z */
    long ldaux;
    void *pack; /* nn: scratch of pack_elems elements, or NULL: B is then read where it lies */
    /* tn: up to three more m × n matrices, ldwarm apart by row, that the caller touches next; they
     * are asked into L2 while the product is made. NULL ends the list. */
    const void *warm[FBP_MAX_WARM];
    long ldwarm;
} fbp_gemm_t;

/* n = (z − mean) · r · gain + shift by rows, r = 1/√(var + eps); RMS: mean = 0, no shift. */
typedef struct {
    int kind; /* FASTBP_NORM_*, not NONE */
    double eps;
    const void *gain, *shift; /* cols elements each; shift NULL for RMS */
} fbp_norm_t;

/* A mask of rows row0 … of a batch, cols units wide: unit j of row i is dropped where its word of
 * philox(seed, stream, step, ·) is below drop_below, else multiplied by scale. Words 0 and 1 of
 * index (i << 32) + 8 g + c, c < 8, belong to units 32 g + 2 c and the next, words 2 and 3 to
 * those 16 further: vectors of up to 8 counters store whole vectors of units. */
typedef struct {
    uint64_t seed;
    uint32_t stream, step;
    long row0, rows, cols;
    uint32_t drop_below; /* p · 2^32 */
    double scale;        /* 1/(1 − p) */
} fbp_dropout_t;

/* One block of output rows. delta receives ∂J_i/∂a, or for a fused pair ∂J_i/∂z, times scale[i]
 * where scale is given. row_loss[i] receives J_i. Labels or dense targets, never both. */
typedef struct {
    int loss;   /* FASTBP_LOSS_* */
    bool fused; /* the output activation and the loss are a pair: use z */
    long rows, cols;
    const void *z, *a;
    long ldz, lda;
    const int32_t *labels;      /* rows class indices, or NULL */
    const void *const *targets; /* rows pointers to n_targets elements, or NULL */
    long n_targets;             /* cols but for quantile and gaussian_nll */
    const void *params;         /* n_params elements, as fastbp_spec_t tells */
    long n_params;
    const void *scale; /* rows factors, or NULL */
    void *delta;       /* NULL: only the loss is wanted */
    long ldd;
    double *row_loss;
} fbp_loss_t;

/* What moves δ besides R{∂J_i/∂a}: the bend of the activation. rz = R{z}, ra = R{a}, g = ∂J_i/∂a.
 */
typedef struct {
    int act;
    double alpha;
    long rows, cols;
    const void *z, *a, *rz, *ra, *g;
    long ldz, lda, ldrz, ldra, ldg;
    void *delta;
    long ldd;
} fbp_curve_t;

/* What moves a norm: z, stats = (mean, r) by rows and gain as norm_forward had them, the direction
 * of gain and shift, and R{z}, which norm_push turns into R{x̂} for norm_curve. */
typedef struct {
    int kind;                                    /* FASTBP_NORM_*, not NONE */
    const void *gain, *moved_gain, *moved_shift; /* cols elements each; the latter NULL for 0 */
    long rows, cols;
    const void *z, *stats;
    long ldz;
    void *moved, *moved_r; /* R{z}, then R{x̂}; R{r}, an element a row */
    long ldm;
    const void *g; /* ∂J/∂n; norm_curve only */
    long ldg;
} fbp_norm_curve_t;

/* The rules that `update` and `update_outer` have a path of their own for, without options. */
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

/* The constants of a step that rules.inc takes as they are, X(name), beside the hyper-parameters:
 *   sign, decay     g ← clamp(g, ±clip)·sign + decay·θ
 *   keep            then θ ← keep·θ
 *   gain            momentum: factor of g
 *   ahead           NAdam: factor of m where g has 1
 *   step_size       Adam: lr / (1 − β1^t)
 *   average_weight  average ← average + average_weight (θ − average) */
#define FBP_STEP_CONSTANTS(X)                                                                      \
    X(sign) X(decay) X(keep) X(gain) X(ahead) X(step_size) X(average_weight)

/* From raw sums G = aᵀδ to parameters: g = G·grad_scale + l2·θ + l1·sign(θ), then the rule. */
typedef struct {
    int rule; /* FASTBP_RULE_* that has a kernel */
    double grad_scale, l1, l2;
    const void *weights; /* write_gradient only: θ for the penalties, same shape, ld = ldw */
    long ldw;
    bool options;           /* update and update_outer cannot do it: update_rule is needed */
    double clip;            /* update_rule only */
    double root_correction; /* Adam: 1 / sqrt(1 − β2^t) */
#define FBP_FIELD(name) double name;
    FASTBP_HYPERS(FBP_FIELD)
    FBP_STEP_CONSTANTS(FBP_FIELD)
#undef FBP_FIELD
} fbp_update_t;

/* θ, its moments, NULL where the rule has none, and its average or NULL, all at the same place. */
typedef struct {
    void *theta, *moment[FASTBP_MOMENTS], *average;
    long ld;
} fbp_twins_t;

enum { FBP_OUTER_MAX = 8 };

/* The sum over a batch of few rows, not yet made: Σ_k a[k][unit0 … + units]ᵀ δ_k. */
typedef struct {
    const void *const *a; /* delta.rows pointers to rows of units */
    long unit0, units;
    fbp_mat_t delta; /* at most FBP_OUTER_MAX rows */
} fbp_outer_t;

/* A row of X compressed: x[index[k]] = value[k], k = 0 … count − 1, index ascending; else 0. */
typedef struct {
    const void *value;
    const int32_t *index;
    long count;
} fbp_sparse_row_t;

enum { FBP_SPARSE_VECTORS = 4 }; /* of z in registers at a time */

/* The remaining slots:
 * pack_transposed  rows row0 … of W (the tile w) go, transposed, into panels of panel_cols input
 *                  units: unit i, output j at panels[(i/P)·panel_stride + j·P + i%P]; row0 is a
 *                  multiple of the lanes. Lanes past the tile's last row are written as zeros up to
 *                  the next multiple of the lanes.
 * pack_panels      rows row0 … of W go into panels of panel_cols outputs: row i, output j at
 *                  panels[(j/P)·panel_stride + i·P + j%P], zeros past the last output.
 * transpose        out[j,i] = x[i,j]; for small matrices.
 * column_sums      sums[j] = Σ_i x[i,j], i ascending.
 * scale_rows       out[i,j] = x[i,j] · factors[i].
 * convert          out[i] = x[i], x being n elements of a FASTBP_X_*, not OWN; rounded once.
 * sparse_forward   z[i] = x_i W + bias (or NULL) for `rows` compressed rows x_i; W is dense.
 * sparse_sums      sums[u − unit0,:] = Σ_i x_iu δ_i, units unit0 … unit1 − 1, i ascending; delta
 *                  has a row for each of x.
 * multiply_rows    out[i,j] ⊙= x[i][j], x being pointers to rows.
 * add_rows         out[i,j] = x[i,j] + y[i][j], y being pointers to rows; out may be x.
 * limit_columns    columns of W of norm above `most` times most/(norm + 1e-7), as torch.renorm.
 * norm_forward     out = n, and stats[i] = (mean, r) of row i unless stats is NULL; out may be z.
 * norm_backward    delta = ∂J/∂n → ∂J/∂z; kept receives ∂J/∂n.
 * norm_gradient    gain[j] = Σ_i f_i g[i,j] x̂[i,j], shift[j] = Σ_i f_i g[i,j], i ascending,
 *                  x̂ = (z − mean) r; f = 1 where factors is NULL.
 * norm_push        out = R{n}; moved = R{z} → R{x̂}, and moved_r = R{r}.
 * norm_curve       delta = R{∂J/∂n} → R{∂J/∂z}; kept receives R{∂J/∂n}.
 * dropout          out[i,j] = from[i][j] · (dropped ? 0 : scale); out may hold the rows of from.
 * act_forward      a = σ(z); softmax by rows; a may be z.
 * act_backward     delta ⊙= σ', made from aux = a, or z if fbp_act_by_z; softmax, with p = aux:
 *                  delta = p ⊙ (delta − Σ_j delta_j p_j).
 * act_curve        delta += g ⊙ σ''(z) ⊙ rz; softmax: the change of its Jacobian product, by ra.
 * loss_curve       loss->delta = R{∂J_i/∂a} from rz = R{z}, ra = R{a}; of a pair R{δ}; row_loss and
 *                  scale are not used.
 * write_gradient   grad = final gradient of the tile of raw sums.
 * update           applies the rule to the tile of θ and of its moments (ldt for all three).
 * update_outer     the same from the factors of the raw sums, to the same bits.
 * update_rule      every rule with every option: rules.inc. Without options to the bits of update,
 *                  but for Adam, whose constants have the gradient's scale in them there.
 * penalty          l1·Σ|w| + (l2/2)·Σw²; sums of rows, in the dtype, added in order in double.
 * vmath            out[i] = f(x[i]), f by FBP_VMATH_*; the errors are stated in vmath.inc. */
typedef struct {
#define FBP_KERNEL(type, name, params) type(*name) params;
#include "kernels.def"
#undef FBP_KERNEL
    const char *isa;
    size_t elem_size;
    int lanes;       /* elements of a vector */
    int tile_rows;   /* rows of gemm_nn's register tile */
    int panel_cols;  /* columns of a panel, a multiple of the lanes */
    long pack_elems; /* elements of scratch that fbp_gemm_t.pack points to */
} fbp_kernels_t;

#endif
