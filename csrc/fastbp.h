/* fastbp.h: the public interface of the engine. Plain C11; no Python, no global state but the
 * choice of ISA, the pool of threads and their limit.
 *
 * Layer l = 1 … L maps a^{l-1} (n_{l-1} units) to a^l (n_l units):
 *   z^l = a^{l-1} W^l + b^l      a^l = σ_l(z^l)      δ^l = ∂J_i/∂z^l, one row per sample
 * Parameters are one flat vector theta: W^1 (row-major n_0 × n_1), b^1, W^2, b^2, …; gradients and
 * optimiser moments are twins of it. All of them belong to the caller. Buffers of `double` or
 * `float` are passed as void and have the network's dtype unless said otherwise. Nothing here
 * prints, exits or keeps a pointer of the caller's beyond what a contract says. Subnormals are
 * zeros here, on x86-64 and AArch64; on return the calling thread has its own modes again. */
#ifndef FASTBP_H
#define FASTBP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef enum {
    FASTBP_OK = 0,
    FASTBP_ERR_ARGUMENT = 1, /* a value outside its range or an unknown code */
    FASTBP_ERR_MEMORY = 2,   /* no memory, or a size beyond size_t */
    FASTBP_ERR_ISA = 3,      /* unknown, not built, or not supported by this machine */
    FASTBP_ERR_STATE = 4,    /* called out of order, such as backward before forward */
    FASTBP_ERR_DIVERGED = 5, /* a loss stopped being finite; parameters as before that step */
    FASTBP_ERR_CALL = 6, /* a function of the caller's gave up; parameters as before that step */
} fastbp_status_t;

typedef enum { FASTBP_F32 = 0, FASTBP_F64 = 1 } fastbp_dtype_t;

typedef enum {
    FASTBP_ACT_IDENTITY = 0,
    FASTBP_ACT_SIGMOID = 1,
    FASTBP_ACT_TANH = 2,
    FASTBP_ACT_RELU = 3,
    FASTBP_ACT_LEAKY_RELU = 4, /* alpha >= 0: slope at and below 0 */
    FASTBP_ACT_ELU = 5,        /* alpha > 0 */
    FASTBP_ACT_SOFTPLUS = 6,
    FASTBP_ACT_SELU = 7,
    FASTBP_ACT_RELU6 = 8,
    FASTBP_ACT_HARD_TANH = 9,
    FASTBP_ACT_HARD_SIGMOID = 10,
    FASTBP_ACT_SOFTSIGN = 11,
    FASTBP_ACT_EXP = 12,
    FASTBP_ACT_SILU = 13,
    FASTBP_ACT_GELU = 14,      /* z Φ(z), by erf */
    FASTBP_ACT_GELU_TANH = 15, /* its approximation by tanh */
    FASTBP_ACT_MISH = 16,
    FASTBP_ACT_SIN = 17,
    FASTBP_ACT_SOFTMAX = 18, /* output layer only */
    FASTBP_ACT_COUNT
} fastbp_activation_t;

typedef enum {
    FASTBP_LOSS_SQUARED_ERROR = 0,        /* ½ Σ_k (a_k − y_k)² */
    FASTBP_LOSS_MSE = 1,                  /* mean over k of (a_k − y_k)² */
    FASTBP_LOSS_BINARY_CROSS_ENTROPY = 2, /* −Σ_k y_k log a_k + (1 − y_k) log(1 − a_k) */
    FASTBP_LOSS_CROSS_ENTROPY = 3,        /* −Σ_k y_k log a_k */
    /* e = a_k − y_k, and the mean over k, up to squared_hinge */
    FASTBP_LOSS_MAE = 4,             /* |e| */
    FASTBP_LOSS_HUBER = 5,           /* ½ e² to |e| = δ, then δ (|e| − ½ δ) */
    FASTBP_LOSS_LOG_COSH = 6,        /* log cosh e */
    FASTBP_LOSS_POISSON = 7,         /* e^{a_k} − y_k a_k, or a_k − y_k log(a_k + 1e-8) */
    FASTBP_LOSS_HINGE = 8,           /* max(0, 1 − y_k a_k) */
    FASTBP_LOSS_SQUARED_HINGE = 9,   /* max(0, 1 − y_k a_k)² */
    FASTBP_LOSS_KL_DIVERGENCE = 10,  /* Σ_k y_k (log y_k − log a_k) */
    FASTBP_LOSS_FOCAL = 11,          /* −Σ_k α_k y_k (1 − a_k)^γ log a_k; softmax only */
    FASTBP_LOSS_BINARY_FOCAL = 12,   /* mean over k of that of {a_k, 1 − a_k}; sigmoid only */
    FASTBP_LOSS_MULTI_MARGIN = 13,   /* mean over k of max(0, margin − a_label + a_k), k ≠ label */
    FASTBP_LOSS_QUANTILE = 14,       /* mean of max(τ (y − a), (τ − 1)(y − a)); y-major outputs */
    FASTBP_LOSS_GAUSSIAN_NLL = 15,   /* mean of ½ (s + (y − m)² e^{−s}); outputs m…, then s… */
    FASTBP_LOSS_MARGIN_RANKING = 16, /* mean of max(0, Δ + a'_k − a_k); rows 2i and 2i + 1, a and
                                        a', are a pair and count as one sample */
    FASTBP_LOSS_CUSTOM = 17,         /* a function of the caller's */
    FASTBP_LOSS_COUNT
} fastbp_loss_t;

typedef enum {
    FASTBP_RULE_SGD = 0,
    FASTBP_RULE_MOMENTUM = 1,
    FASTBP_RULE_NESTEROV = 2,
    FASTBP_RULE_ADAM = 3,
    FASTBP_RULE_AMSGRAD = 4,
    FASTBP_RULE_RADAM = 5,
    FASTBP_RULE_NADAM = 6,
    FASTBP_RULE_ADAMAX = 7,
    FASTBP_RULE_ADAGRAD = 8,
    FASTBP_RULE_ADADELTA = 9,
    FASTBP_RULE_RMSPROP = 10,
    FASTBP_RULE_RMSPROP_MOMENTUM = 11,
    FASTBP_RULE_RMSPROP_CENTERED = 12,
    FASTBP_RULE_RMSPROP_CENTERED_MOMENTUM = 13,
    FASTBP_RULE_LION = 14,
    FASTBP_RULE_RPROP = 15,
    FASTBP_RULE_COUNT
} fastbp_rule_t;

/* ---- ISA ---- */

/* Name of the i-th ISA that was built and that this machine supports, slowest first; NULL past the
 * end. There is always "scalar". */
const char *fastbp_isa_available(int i);

/* Chooses the ISA of everything created from now on; NULL for the fastest. To be called before the
 * first network is made: objects of different ISAs do not mix. FASTBP_ERR_ISA leaves the choice. */
fastbp_status_t fastbp_isa_select(const char *name);

/* The chosen ISA; the fastest if nothing was chosen. */
const char *fastbp_isa(void);

typedef struct {
    const char *cpu; /* brand string, "" when unknown */
    size_t l1d, l2, l3;
} fastbp_machine_t;

fastbp_machine_t fastbp_machine(void);

/* ---- Threads ---- */

/* The most threads that a call uses from now on, the caller's own among them; 0 goes back to the
 * default, which is the processors this process may run on, or the quota of its control group if
 * that is less. Small work runs on fewer. Results do not depend on it. */
fastbp_status_t fastbp_set_num_threads(int n);
int fastbp_get_num_threads(void);

/* ---- Network: an architecture, immutable ---- */

typedef struct fastbp_net fastbp_net_t;

/* What a layer has besides σ(uW + b), u being the output of the layer below; all zero for nothing.
 * Parameters of layer l in theta: W, b unless no_bias, then gain and shift of its norm. A layer
 * with dropout, norm or residual is not the last, and its a^l is out:
 *   z = uW + b      n = norm(z)      a = σ(n)      out = a ⊙ m/(1 − p) + u
 * with the mask m in training sessions alone. docs/layers.md has the formulas. */
typedef enum {
    FASTBP_NORM_NONE = 0,
    FASTBP_NORM_LAYER = 1, /* (z − mean)/√(var + eps) · gain + shift, by rows; gain[n], shift[n] */
    FASTBP_NORM_RMS = 2,   /* z/√(mean z² + eps) · gain; gain[n] */
    FASTBP_NORM_COUNT
} fastbp_norm_t;

typedef struct {
    bool no_bias;
    fastbp_norm_t norm;
    double norm_eps;   /* > 0 where there is a norm */
    double dropout;    /* p, 0 <= p < 1 */
    bool residual;     /* n_in = n_out */
    double max_norm;   /* > 0: after an update, ‖W[:,k]‖ is at most that; 0: any */
    bool non_negative; /* after an update, W >= 0 */
} fastbp_layer_options_t;

/* A loss of the caller's: J_i of `rows` outputs a (n_L columns, lda apart), whose targets are rows
 * of n_targets elements, into row_loss and, unless slope is NULL, ∂J_i/∂a into slope. Anything but
 * FASTBP_OK gives up. It treats every sample by itself, in the caller's modes: training and
 * backward call it once a batch, on the caller's thread, costs by blocks of rows, on several. */
typedef fastbp_status_t (*fastbp_loss_fn)(void *context, long rows, const void *a, long lda,
                                          const void *const *targets, double *row_loss, void *slope,
                                          long ld_slope);

typedef struct {
    int n_layers;           /* L >= 1 */
    const long *widths;     /* L + 1 counts of units, each >= 1 */
    const int *activations; /* L of fastbp_activation_t */
    const double *alphas;   /* L parameters of the activations */
    fastbp_loss_t loss;
    fastbp_dtype_t dtype;
    double l1, l2; /* >= 0 */
    /* cross_entropy: none, or label smoothing and n_L class weights; binary_cross_entropy: none, or
     * n_L weights of y = 1; huber: δ; poisson: whether a is the log of the rate; focal: γ and n_L
     * α; binary_focal: γ, α of y = 0, α of y = 1; multi_margin, margin_ranking: the margin;
     * quantile: every τ */
    const double *loss_params;
    int n_loss_params;
    /* columns of dense targets: n_L / number of τ, n_L / 2 for gaussian_nll, 0 for margin_ranking,
     * any number for custom, n_L for the rest */
    long n_targets;
    fastbp_loss_fn loss_fn; /* of custom, and what it is called with; else NULL */
    void *loss_context;
    const fastbp_layer_options_t *options; /* L of them, or NULL: plain layers */
    double input_dropout;                  /* p of the inputs, 0 <= p < 1 */
} fastbp_spec_t;

/* Copies the spec. FASTBP_ERR_ARGUMENT for a value out of range, FASTBP_ERR_MEMORY for sizes that
 * overflow; *net is then NULL. */
fastbp_status_t fastbp_net_new(fastbp_net_t **net, const fastbp_spec_t *spec);
void fastbp_net_free(fastbp_net_t *net);

size_t fastbp_net_n_params(const fastbp_net_t *net);

/* Whether updates change the parameters of layer l = 1 … L; at first they do. The one thing about a
 * network that may change: not while a call that trains it is running. */
void fastbp_net_set_trainable(fastbp_net_t *net, int layer, bool trainable);

/* ---- Data: a batch or a data set ---- */

/* What x holds. Rows of the network's own dtype are read where they lie; rows of any other type are
 * converted when they are needed, each element as it is, rounded once where it has to be. */
typedef enum {
    FASTBP_X_OWN = 0,
    FASTBP_X_I8 = 1,
    FASTBP_X_U8 = 2,
    FASTBP_X_I16 = 3,
    FASTBP_X_U16 = 4,
    FASTBP_X_I32 = 5,
    FASTBP_X_U32 = 6,
    FASTBP_X_I64 = 7,
    FASTBP_X_U64 = 8,
    FASTBP_X_F16 = 9, /* IEEE 754 binary16 */
    FASTBP_X_F32 = 10,
    FASTBP_X_F64 = 11,
    FASTBP_X_COUNT
} fastbp_element_t;

typedef struct {
    long rows;
    fastbp_element_t x_type;
    const void *x; /* rows of n_0 elements */
    long ldx;      /* distance between rows of x, in elements; any sign */
    /* Compressed rows (CSR), or NULL for dense ones: row i is x[indptr[i]] … x[indptr[i + 1] − 1],
     * of the network's dtype, in the columns `indices`, ascending in a row, below n_0 and not
     * written to meanwhile. Not where the input has dropout or the first layer is residual. */
    const int64_t *indptr;
    const int32_t *indices;
    /* targets: labels, or rows of n_targets elements; both NULL where none are needed */
    const int32_t *labels; /* class indices in 0 … n_L − 1; any other is taken for 0 */
    const void *targets;
    long ldy;
    const void *weights; /* rows sample weights >= 0 with a positive sum, or NULL for ones */
} fastbp_data_t;

/* ---- Passes: forward and backward in the open ---- */

/* The buffers z, a, δ of every layer for one batch at a time, in one block of memory. */
typedef struct fastbp_pass fastbp_pass_t;

/* net must outlive the pass. Allocates for batches of up to `capacity` rows. */
fastbp_status_t fastbp_pass_new(fastbp_pass_t **pass, const fastbp_net_t *net, long capacity);
void fastbp_pass_free(fastbp_pass_t *pass);

typedef enum { FASTBP_BUFFER_Z, FASTBP_BUFFER_A, FASTBP_BUFFER_DELTA } fastbp_buffer_t;

/* The matrix (capacity, n_l) of layer l = 1 … L and its leading dimension; NULL if out of range. */
void *fastbp_pass_buffer(const fastbp_pass_t *pass, fastbp_buffer_t which, int layer, long *ld);

/* Whether [at, at + bytes) touches the memory of the pass: inputs that do must be copied first. */
bool fastbp_pass_overlaps(const fastbp_pass_t *pass, const void *at, size_t bytes);

/* Fills z and a; nothing is dropped. Keeps data->x for the backward pass: the rows must stay as
 * they are until then. */
fastbp_status_t fastbp_forward(fastbp_pass_t *pass, const void *theta, const fastbp_data_t *data);

/* Fills every δ and grad (n_params elements, penalties included; NULL: only δ), and *cost with
 * J = (1/S) Σ s_i J_i + l1 ‖W‖₁ + (l2/2) ‖W‖². data: rows, targets and weights; x is not read.
 * theta as given to fastbp_forward. */
fastbp_status_t fastbp_backward(fastbp_pass_t *pass, const void *theta, const fastbp_data_t *data,
                                void *grad, double *cost);

/* The same recursion from an injected δ^L = delta (rows of n_L elements, ldd apart). */
fastbp_status_t fastbp_backward_from(fastbp_pass_t *pass, const void *theta, const void *delta,
                                     long ldd, const void *weights, void *grad);

/* The same in pieces, so that a caller may read, change or replace a δ between them by
 * fastbp_pass_buffer. First δ^L, from targets, with J, or injected; then for l = L − 1 … 1
 * fastbp_backward_layer: δ^l from δ^{l+1} as that now is; last the gradient of the δ in place. */
fastbp_status_t fastbp_backward_output(fastbp_pass_t *pass, const void *theta,
                                       const fastbp_data_t *data, double *cost);
fastbp_status_t fastbp_backward_inject(fastbp_pass_t *pass, const void *delta, long ldd,
                                       const void *weights);
fastbp_status_t fastbp_backward_layer(fastbp_pass_t *pass, const void *theta, int layer);
fastbp_status_t fastbp_backward_gradient(fastbp_pass_t *pass, const void *theta, void *grad);

/* g[rows, n_l] from ∂J_i/∂a^l to ∂J_i/∂z^l, in place, by the last forward pass: g ⊙ σ'(z^l). */
fastbp_status_t fastbp_pull_back(fastbp_pass_t *pass, int layer, void *g, long ldg);

/* out[rows, n_0] = δ^1 W^{1ᵀ} of the last backward pass, and a residual's share; dense. */
fastbp_status_t fastbp_input_gradient(fastbp_pass_t *pass, const void *theta, void *out);

/* ---- Derivatives; theta as given to fastbp_forward ---- */

/* out[rows, n_0] = Σ_k v_k ∂a_k^L/∂x from v[rows, n_L], whose rows are ldv apart; and all of
 * out[rows, n_L, n_0] = ∂a^L/∂x, by n_L recursions. After a forward pass, whose z and a stay; δ is
 * overwritten, as if there had been no backward pass. */
fastbp_status_t fastbp_vjp(fastbp_pass_t *pass, const void *theta, const void *v, long ldv,
                           void *out);
fastbp_status_t fastbp_jacobian(fastbp_pass_t *pass, const void *theta, void *out);

/* After a backward pass over dense rows, of each sample alone, without sample weights and
 * penalties: out[rows, n_params] = ∂J_i/∂theta; out[rows, L] = its norm over the parameters of each
 * layer, from a and δ alone. */
fastbp_status_t fastbp_sample_gradients(fastbp_pass_t *pass, void *out);
fastbp_status_t fastbp_gradient_norms(fastbp_pass_t *pass, double *out);

/* out[l] = a^l ⊙ ∂J_i/∂a^l, [rows, n_l], for l = 0 … L, a^0 being x, after fastbp_backward over
 * dense rows, whose targets must be as they were. */
fastbp_status_t fastbp_relevance(fastbp_pass_t *pass, const void *theta, void *const *out);

/* out[rows, n_L] = R{a^L}: how the outputs change, to first order, as the inputs move along
 * dx[rows, n_0], whose rows are lddx apart, and theta along dtheta; either may be NULL. After a
 * forward pass over dense rows, of which nothing changes. */
fastbp_status_t fastbp_jvp(fastbp_pass_t *pass, const void *theta, const void *dx, long lddx,
                           const void *dtheta, void *out);

/* out = ∇²J · v, both like theta, exactly: after fastbp_backward over dense rows; x and targets
 * must be as they were. Every activation, norm and loss but the caller's own; at a kink the second
 * derivative is 0. Like fastbp_jvp it allocates as much again as the pass when first called. */
fastbp_status_t fastbp_hvp(fastbp_pass_t *pass, const void *theta, const void *v, void *out);

/* ---- Inference ---- */

/* a^L of data->rows rows into out (dense), and/or *cost = J, penalties included; out or cost may
 * be NULL. Works by row blocks and keeps nothing. */
fastbp_status_t fastbp_predict(const fastbp_net_t *net, const void *theta,
                               const fastbp_data_t *data, void *out, double *cost);

/* ---- Updates and training ---- */

enum { FASTBP_MOMENTS = 3 };

/* What limits the gradient: the size of every element, or the norm of each W and each b, or that of
 * all together, by a factor limit/(norm + 1e-6) where that is below 1. */
typedef enum {
    FASTBP_CLIP_NONE = 0,
    FASTBP_CLIP_VALUE = 1,
    FASTBP_CLIP_NORM = 2,
    FASTBP_CLIP_GLOBAL_NORM = 3,
} fastbp_clip_t;

/* A rule with its hyper-parameters and its state. The formulas stand in kernels/optimizer.inc and
 * kernels/rules.inc; zeros leave every option off. */
typedef struct {
    fastbp_rule_t rule;
    double lr, momentum, beta1, beta2, eps;     /* beta2: also ρ of Adadelta and α of RMSprop */
    double dampening, lr_decay, momentum_decay; /* of momentum, Adagrad, NAdam */
    double shrink, grow, least, most;           /* of Rprop: factors and limits of a step */
    double weight_decay;
    bool decoupled; /* θ ← (1 − lr·weight_decay) θ rather than g ← g + weight_decay·θ */
    bool maximize;
    fastbp_clip_t clip;
    double limit;
    const double *lr_factors; /* n_layers, each > 0, or NULL */
    double average_decay;
    uint64_t average_start;       /* t when the average began: it takes θ over at the next step */
    uint64_t t;                   /* steps taken; advanced by the engine */
    void *moment[FASTBP_MOMENTS]; /* twins of theta, as many as the rule uses, else NULL */
    void *grad;                   /* a twin of theta to work in, for clipping by norms, else NULL */
    void *average; /* a twin of theta: its running mean with average_decay, or NULL */
} fastbp_optimizer_t;

/* One update of theta by a gradient: trainable layers only, and their constraints after it. */
fastbp_status_t fastbp_step(const fastbp_net_t *net, void *theta, const void *grad,
                            fastbp_optimizer_t *optimizer);

/* A training session over one data set. Keeps pointers to theta, data's arrays and the optimizer
 * until it is freed. The caller may write to theta between epochs and before a run of one step, not
 * within an epoch otherwise: copies of W are made then. */
typedef struct fastbp_fit fastbp_fit_t;

typedef struct {
    long batch_size; /* >= 1; the last batch of an epoch may be smaller */
    bool shuffle;
    uint64_t seed; /* of the permutations, and of dropout's masks with optimizer->t for the step */
    int n_threads; /* at most; 0 for fastbp_get_num_threads */
    /* Rows of a batch that go through the network at once, a smaller batch each, whose gradients
     * are added up to that of the whole; 0 for all. Buffers are of that many rows. */
    long part_rows;
} fastbp_fit_options_t;

fastbp_status_t fastbp_fit_new(fastbp_fit_t **fit, const fastbp_net_t *net, void *theta,
                               const fastbp_data_t *data, fastbp_optimizer_t *optimizer,
                               const fastbp_fit_options_t *options);
void fastbp_fit_free(fastbp_fit_t *fit);

/* Where a session stands. An epoch may be made of several blocks of samples, bound one after
 * another; a data set that is all there is block 0. */
typedef struct {
    long epoch, step;            /* of the next step; 0-based, of all blocks of the epoch */
    long block, first;           /* the next sample, counted in the order of the block */
    double loss_sum, weight_sum; /* Σ S·J and Σ S over the steps of the epoch */
} fastbp_place_t;

typedef struct {
    bool epoch_done;  /* or the block, where epochs are made of several */
    long epoch, step; /* of the next step; 0-based. After FASTBP_ERR_DIVERGED: of the bad one */
    double loss;      /* mean of J over the epoch so far, batches weighted by their S */
    double last_loss; /* J of the last step */
    fastbp_place_t place;
} fastbp_progress_t;

/* Runs whole steps until the epoch ends or `seconds` have passed, whichever comes first; at least
 * one step, and one only where seconds is 0. Allocates nothing. On FASTBP_ERR_DIVERGED theta is as
 * before the step that failed. */
fastbp_status_t fastbp_fit_run(fastbp_fit_t *fit, double seconds, fastbp_progress_t *progress);

/* Learning rates, and momenta or β1 (NULL: as they are), of the steps of an epoch, by their number
 * within it, to be used instead of the optimiser's until others are given; rates NULL ends it.
 * Both hold n elements, of which the last is for all further steps, rates >= 0 and momenta in
 * [0, 1), and stay with the caller as long as they are in use. */
fastbp_status_t fastbp_fit_set_rates(fastbp_fit_t *fit, const double *rates, const double *momenta,
                                     long n);

/* Gives a session other data, for an epoch of its own or, by fastbp_fit_seek, as the next block of
 * one: whose batches and, where it shuffles, rows are no more than those it was made for;
 * FASTBP_ERR_ARGUMENT if it has no room. Allocates only when x is the first that has to be
 * converted. */
fastbp_status_t fastbp_fit_rebind(fastbp_fit_t *fit, const fastbp_data_t *data);

/* Puts a session at a place: the data bound being block place->block, the next run goes on with its
 * sample place->first; if there is no such sample, it makes no step and ends the epoch. The order
 * of the samples is a function of seed, epoch and block, so that what was at a place once can go on
 * from there. */
fastbp_status_t fastbp_fit_seek(fastbp_fit_t *fit, const fastbp_place_t *place);

/* ---- Where the time of a session goes ---- */

typedef enum {
    FASTBP_PHASE_FORWARD = 0,  /* σ(a^{l−1} W^l + b^l) */
    FASTBP_PHASE_LOSS = 1,     /* J_i and δ^L, of layer L; l1 and l2 of any layer */
    FASTBP_PHASE_DELTA = 2,    /* (δ^l W^lᵀ) ⊙ σ'_{l−1}; layers 2 … L */
    FASTBP_PHASE_GRADIENT = 3, /* a^{l−1ᵀ} δ^l and Σ_i δ_i^l */
    FASTBP_PHASE_UPDATE = 4,   /* the optimiser, and the copies of W^l */
    FASTBP_PHASE_WAITING = 5,  /* at barriers; of no layer, like the next */
    FASTBP_PHASE_OTHER = 6,    /* shuffling, finding and converting rows, keeping books */
    FASTBP_PHASE_COUNT
} fastbp_phase_t;

/* Starts or stops the clocks of the runs to come. The first start allocates and may end in
 * FASTBP_ERR_MEMORY; a session that never starts them pays a branch a layer. Neither theta nor any
 * result depends on it. */
fastbp_status_t fastbp_fit_set_clocks(fastbp_fit_t *fit, bool on);

/* Steps made and the time they took, shuffling included. */
typedef struct {
    long steps;
    double seconds;
} fastbp_fit_runs_t;

typedef struct {
    double seconds[FASTBP_PHASE_COUNT]; /* summed over the threads; 0 without clocks */
    bool panels;                        /* forward reads a copy of W in panels */
    bool transposed; /* δ comes from a transposed copy of W, by gemm_nn; else from W, by gemm_nt */
    bool outer;      /* the update makes the gradient as it goes; else gemm_tn does */
} fastbp_layer_report_t;

typedef struct {
    int threads;         /* the most that a run has used; 0 before the first */
    int threads_planned; /* what the work is worth: more than used where the pool had no more */
    int threads_allowed; /* as asked for, or fastbp_get_num_threads */
    double step_work;    /* floating-point operations that a full batch is worth, update included */
    double thread_work;  /* what each thread has to get of them for another to be used */
    long next_rows;      /* rows of a batch that would use one more */
    long copies_above;   /* batches of more rows than this use copies of W */
    long row_blocks, tiles; /* tasks of a full batch: of the row sweep, and of the weight sweep */
    size_t bytes;           /* of the session's own memory */
    fastbp_fit_runs_t clocked, plain; /* with clocks and, since their first start, without */
} fastbp_fit_report_t;

/* What the session uses and what its clocks say. layer[L + 1]: layer[l] of layer l = 1 … L, and
 * layer[0] of none, with the last two phases. The seconds of a thread add up to its runs. */
void fastbp_fit_report(const fastbp_fit_t *fit, fastbp_fit_report_t *report,
                       fastbp_layer_report_t *layer);

/* ---- Kernels in the open: for tests and benchmarks ---- */

typedef enum { FASTBP_GEMM_NN, FASTBP_GEMM_TN, FASTBP_GEMM_NT } fastbp_gemm_form_t;

typedef struct {
    fastbp_gemm_form_t form;
    fastbp_dtype_t dtype;
    long m, n, k;
    /* bias and aux may be NULL; aux, the z or the a that σ' is made from, selects σ' over σ. nt
     * takes σ' only, tn no epilogue at all. */
    const void *a, *b, *bias, *aux;
    long lda, ldb, ldaux;
    int activation;
    double alpha;
    bool panels; /* nn: B is copied into panels before the product, as the engine does with Wᵀ */
    int repeats; /* the product is computed this often; the copy once */
    void *c, *z; /* z may be NULL */
    long ldc, ldz;
} fastbp_gemm_call_t;

fastbp_status_t fastbp_gemm(const fastbp_gemm_call_t *call);

/* out[i] = f(x[i]) with f by the FBP_VMATH_* code of kernels/vmath.h. */
fastbp_status_t fastbp_vmath(int op, fastbp_dtype_t dtype, long n, const void *x, void *out);

/* GFLOP/s of independent fused multiply-adds held in registers, in `seconds` of running: the peak
 * that products are measured against. */
double fastbp_fma_peak(fastbp_dtype_t dtype, double seconds);

/* GB/s, read and written, of a += s·b over `bytes` of memory shared out among up to n_threads
 * threads (0 for fastbp_get_num_threads), in `seconds` of running: what passes over memory of that
 * size are measured against. 0 when there is no such memory. */
double fastbp_memory_rate(fastbp_dtype_t dtype, size_t bytes, int n_threads, double seconds);

/* Seconds that a region on n_threads threads with two barriers and nothing to do takes, on average
 * over `repeats` of them in an open session: what a step pays for its threads. 0 threads, or no
 * repeats, take no time. */
double fastbp_pool_latency(int n_threads, long repeats);

#endif
