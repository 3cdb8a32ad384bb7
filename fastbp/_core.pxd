"""The public interfaces, csrc/fastbp.h and csrc/text/, as Cython sees them."""

from libc.stddef cimport ptrdiff_t
from libc.stdint cimport int32_t, int64_t, uint16_t, uint64_t


cdef extern from "fastbp.h" nogil:
    ctypedef enum fastbp_status_t:
        FASTBP_OK
        FASTBP_ERR_ARGUMENT
        FASTBP_ERR_MEMORY
        FASTBP_ERR_ISA
        FASTBP_ERR_STATE
        FASTBP_ERR_DIVERGED
        FASTBP_ERR_CALL
        FASTBP_ERR_VARIANCE

    ctypedef enum fastbp_dtype_t:
        FASTBP_F32
        FASTBP_F64

    ctypedef enum fastbp_activation_t:
        FASTBP_ACT_FORMULA

    ctypedef enum fastbp_loss_t:
        FASTBP_LOSS_FORMULA

    ctypedef enum fastbp_rule_t:
        pass

    const char *fastbp_activation_name(int activation)
    const char *fastbp_loss_name(int loss)
    const char *fastbp_element_name(int element)
    const char *fastbp_vmath_name(int op)
    const char *fastbp_operation_name(int operation)
    bint fastbp_slope_from_z(int activation)

    ctypedef enum fastbp_slot_t:
        FASTBP_SLOT_FULL
        FASTBP_SLOT_ROW
        FASTBP_SLOT_ONE

    ctypedef struct fastbp_instruction_t:
        pass

    ctypedef struct fastbp_program_t:
        int n_inputs, n_constants, n_temporaries, n_code, n_outputs
        const unsigned char *kinds
        const double *constants
        const fastbp_instruction_t *code
        const uint16_t *outputs

    ctypedef struct fastbp_formula_t:
        int n_constants
        bint per_unit
        fastbp_program_t value, slope, push, curve

    ctypedef struct fastbp_loss_formula_t:
        fastbp_program_t value, slope, curve

    const char *fastbp_isa_available(int i)
    fastbp_status_t fastbp_isa_select(const char *name)
    const char *fastbp_isa_fastest()
    const char *fastbp_isa()
    const char *fastbp_isa_base(const char *name)

    ctypedef struct fastbp_machine_t:
        const char *cpu, *amx
        size_t l1d, l2, l3

    fastbp_machine_t fastbp_machine()

    const char *fastbp_tune_available(int i)
    fastbp_status_t fastbp_tune_select(const char *name)
    const char *fastbp_tune()

    fastbp_status_t fastbp_set_num_threads(int n)
    int fastbp_get_num_threads()
    fastbp_status_t fastbp_stop_threads()

    ctypedef struct fastbp_net_t:
        pass

    ctypedef enum fastbp_norm_t:
        pass

    ctypedef struct fastbp_layer_options_t:
        bint no_bias
        fastbp_norm_t norm
        double norm_eps
        double norm_momentum
        double dropout
        bint residual
        double max_norm
        bint non_negative
        bint scale
        ptrdiff_t numbers
        int n_frequencies, width
        bint rectified, keeps
        int n_categories
        const ptrdiff_t *levels
        const ptrdiff_t *level_widths

    ctypedef fastbp_status_t (*fastbp_loss_fn)(
        void *context, ptrdiff_t rows, const void *a, ptrdiff_t lda, const void *const *targets,
        double *row_loss, void *slope, ptrdiff_t ld_slope) noexcept

    ctypedef enum fastbp_precision_t:
        FASTBP_HIGHEST

    ctypedef struct fastbp_spec_t:
        int n_layers
        const ptrdiff_t *widths
        const int *activations
        const double *alphas
        fastbp_loss_t loss
        fastbp_dtype_t dtype
        double l1, l2
        const double *loss_params
        int n_loss_params
        ptrdiff_t n_targets
        fastbp_loss_fn loss_fn
        void *loss_context
        const fastbp_layer_options_t *options
        double input_dropout
        fastbp_precision_t precision
        const fastbp_formula_t *const *formulas
        const fastbp_loss_formula_t *loss_formula
        bint ignore_nan

    fastbp_status_t fastbp_net_new(fastbp_net_t **net, const fastbp_spec_t *spec)
    void fastbp_net_free(fastbp_net_t *net)
    size_t fastbp_net_n_params(const fastbp_net_t *net)
    const char *fastbp_products(const fastbp_net_t *net, ptrdiff_t rows)
    ptrdiff_t fastbp_bf16_rows(const char *isa, fastbp_precision_t precision)
    void fastbp_net_set_trainable(fastbp_net_t *net, int layer, bint trainable)

    ctypedef enum fastbp_element_t:
        FASTBP_X_OWN
        FASTBP_X_I32
        FASTBP_X_I64

    ctypedef struct fastbp_data_t:
        ptrdiff_t rows
        fastbp_element_t x_type
        const void *x
        ptrdiff_t ldx
        const int64_t *indptr
        const int32_t *indices
        const int32_t *labels
        const void *targets
        ptrdiff_t ldy
        const void *weights
        const int32_t *chosen
        const ptrdiff_t *part_rows

    ctypedef struct fastbp_pass_t:
        pass

    ctypedef enum fastbp_buffer_t:
        FASTBP_BUFFER_Z
        FASTBP_BUFFER_A
        FASTBP_BUFFER_DELTA

    fastbp_status_t fastbp_pass_new(fastbp_pass_t **p, const fastbp_net_t *net, ptrdiff_t capacity)
    void fastbp_pass_free(fastbp_pass_t *p)
    void *fastbp_pass_buffer(
        const fastbp_pass_t *p, fastbp_buffer_t which, int layer, ptrdiff_t *ld)
    bint fastbp_pass_overlaps(const fastbp_pass_t *p, const void *at, size_t bytes)
    fastbp_status_t fastbp_forward(fastbp_pass_t *p, const void *theta, const fastbp_data_t *data)
    fastbp_status_t fastbp_forward_training(
        fastbp_pass_t *p, const void *theta, const fastbp_data_t *data, uint64_t seed, uint64_t t)
    void fastbp_move_statistics(const fastbp_pass_t *p, void *theta)
    fastbp_status_t fastbp_backward(
        fastbp_pass_t *p, const void *theta, const fastbp_data_t *data, void *grad, double *cost)
    fastbp_status_t fastbp_backward_from(
        fastbp_pass_t *p, const void *theta, const void *delta, ptrdiff_t ldd, const void *weights,
        void *grad)
    fastbp_status_t fastbp_backward_output(
        fastbp_pass_t *p, const void *theta, const fastbp_data_t *data, double *cost)
    fastbp_status_t fastbp_backward_inject(
        fastbp_pass_t *p, const void *delta, ptrdiff_t ldd, const void *weights)
    fastbp_status_t fastbp_backward_layer(fastbp_pass_t *p, const void *theta, int layer)
    fastbp_status_t fastbp_backward_gradient(fastbp_pass_t *p, const void *theta, void *grad)
    fastbp_status_t fastbp_pull_back(fastbp_pass_t *p, int layer, void *g, ptrdiff_t ldg)
    fastbp_status_t fastbp_input_gradient(fastbp_pass_t *p, const void *theta, void *out)

    fastbp_status_t fastbp_vjp(
        fastbp_pass_t *p, const void *theta, const void *v, ptrdiff_t ldv, void *out)
    fastbp_status_t fastbp_jacobian(fastbp_pass_t *p, const void *theta, void *out)
    fastbp_status_t fastbp_sample_gradients(fastbp_pass_t *p, void *out)
    fastbp_status_t fastbp_gradient_norms(fastbp_pass_t *p, double *out)
    fastbp_status_t fastbp_relevance(fastbp_pass_t *p, const void *theta, void **out)
    fastbp_status_t fastbp_jvp(
        fastbp_pass_t *p, const void *theta, const void *dx, ptrdiff_t lddx, const void *dtheta,
        void *out)
    fastbp_status_t fastbp_hvp(fastbp_pass_t *p, const void *theta, const void *v, void *out)

    fastbp_status_t fastbp_predict(
        const fastbp_net_t *net, const void *theta, const fastbp_data_t *data, void *out,
        double *cost)

    int FASTBP_GROUPS

    ctypedef enum fastbp_clip_t:
        FASTBP_CLIP_NONE
        FASTBP_CLIP_VALUE
        FASTBP_CLIP_NORM
        FASTBP_CLIP_GLOBAL_NORM

    ctypedef struct fastbp_optimizer_t:
        fastbp_rule_t rule
        double weight_decay
        bint decoupled
        bint maximize
        fastbp_clip_t clip
        double limit
        const double *lr_factors
        const double *decay_factors
        double average_decay
        uint64_t average_start
        uint64_t t
        size_t state_first
        void *moment[3]
        void *grad
        void *average

    const char *fastbp_rule_name(int rule)
    const char *fastbp_hyper_name(int i)
    double *fastbp_hyper_at(fastbp_optimizer_t *optimizer, int i)

    fastbp_status_t fastbp_step(
        const fastbp_net_t *net, void *theta, const void *grad, fastbp_optimizer_t *optimizer)

    ctypedef struct fastbp_fit_t:
        pass

    ctypedef struct fastbp_population_t:
        pass

    ctypedef enum fastbp_exchange_t:
        pass

    ctypedef fastbp_status_t (*fastbp_exchange_fn)(
        void *context, fastbp_exchange_t what) noexcept

    ctypedef struct fastbp_parts_t:
        ptrdiff_t n
        int rank, n_ranks
        ptrdiff_t sync_every
        fastbp_exchange_fn exchange
        void *context

    ctypedef struct fastbp_share_t:
        size_t n_params
        const size_t *first
        int slots, most_slots
        const int *rank_slots
        double *head
        double *heads
        ptrdiff_t head_size
        void *sums
        void *received
        double *squares
        const ptrdiff_t *piece

    ctypedef struct fastbp_fit_options_t:
        ptrdiff_t batch_size
        bint shuffle
        uint64_t seed
        int n_threads
        ptrdiff_t part_rows
        fastbp_population_t *population
        const fastbp_parts_t *parts

    fastbp_status_t fastbp_fit_new(
        fastbp_fit_t **fit, const fastbp_net_t *net, void *theta, const fastbp_data_t *data,
        fastbp_optimizer_t *optimizer, const fastbp_fit_options_t *options)
    void fastbp_fit_free(fastbp_fit_t *fit)

    ctypedef struct fastbp_place_t:
        ptrdiff_t epoch, step
        ptrdiff_t block, first
        double loss_sum, weight_sum

    ctypedef struct fastbp_progress_t:
        bint epoch_done
        ptrdiff_t epoch, step
        double loss, last_loss
        fastbp_place_t place
        unsigned flags

    fastbp_status_t fastbp_fit_share(const fastbp_fit_t *fit, fastbp_share_t *share)
    fastbp_status_t fastbp_shares(const fastbp_net_t *net, int n_ranks, size_t *first)
    fastbp_status_t fastbp_fit_raise(fastbp_fit_t *fit, unsigned flags)
    fastbp_status_t fastbp_fit_set_rates(
        fastbp_fit_t *fit, const double *rates, const double *momenta, ptrdiff_t n)
    fastbp_status_t fastbp_fit_set_smoothing(
        fastbp_fit_t *fit, const double *smoothing, const double *dropout, ptrdiff_t n)
    fastbp_status_t fastbp_fit_rebind(fastbp_fit_t *fit, const fastbp_data_t *data)
    fastbp_status_t fastbp_fit_seek(fastbp_fit_t *fit, const fastbp_place_t *place)
    fastbp_status_t fastbp_fit_run(fastbp_fit_t *fit, double seconds, fastbp_progress_t *progress)

    ctypedef struct fastbp_layer_report_t:
        double seconds[7]  # FASTBP_PHASE_COUNT
        bint panels, transposed, outer

    ctypedef struct fastbp_fit_runs_t:
        ptrdiff_t steps
        double seconds

    ctypedef struct fastbp_fit_report_t:
        int threads, threads_planned, threads_allowed, threads_now
        ptrdiff_t threads_changes
        double step_work, thread_work
        ptrdiff_t next_rows, copies_above, row_blocks, tiles
        const char *products
        size_t bytes
        fastbp_fit_runs_t clocked, plain

    fastbp_status_t fastbp_fit_set_teams(fastbp_fit_t *fit, const int *sizes, ptrdiff_t n)

    ctypedef struct fastbp_turn_t:
        fastbp_fit_t *fit
        double seconds
        ptrdiff_t epochs
        double *loss
        double *took
        ptrdiff_t ended
        fastbp_progress_t progress
        fastbp_status_t status
        int beside

    ctypedef enum fastbp_interleaving_t:
        FASTBP_INTERLEAVE_AUTO
        FASTBP_INTERLEAVE_ALWAYS
        FASTBP_INTERLEAVE_NEVER

    fastbp_status_t fastbp_population_new(fastbp_population_t **population, int n_threads)
    void fastbp_population_free(fastbp_population_t *population)
    void fastbp_population_interleave(
        fastbp_population_t *population, fastbp_interleaving_t choice)
    fastbp_status_t fastbp_population_run(
        fastbp_population_t *population, fastbp_turn_t *turn, ptrdiff_t n)
    fastbp_status_t fastbp_fit_set_clocks(fastbp_fit_t *fit, bint on)
    void fastbp_fit_report(
        const fastbp_fit_t *fit, fastbp_fit_report_t *report, fastbp_layer_report_t *layer)

    ctypedef enum fastbp_gemm_form_t:
        FASTBP_GEMM_NN
        FASTBP_GEMM_TN
        FASTBP_GEMM_NT

    ctypedef struct fastbp_gemm_call_t:
        fastbp_gemm_form_t form
        fastbp_dtype_t dtype
        ptrdiff_t m, n, k
        const void *a
        const void *b
        const void *bias
        const void *aux
        ptrdiff_t lda, ldb, ldaux
        int activation
        double alpha
        bint panels
        const ptrdiff_t *part_rows
        ptrdiff_t n_parts
        int repeats
        void *c
        void *z
        ptrdiff_t ldc, ldz

    fastbp_status_t fastbp_gemm(const fastbp_gemm_call_t *call)

    ctypedef struct fastbp_bf16_forms_t:
        uint16_t *form[4]

    ctypedef struct fastbp_bf16_call_t:
        ptrdiff_t m, n, k
        int planes
        const float *a
        const float *b
        ptrdiff_t lda, ldb
        const float *bias
        const float *aux
        ptrdiff_t ldaux
        int activation
        double alpha
        float *c
        float *z
        ptrdiff_t ldc, ldz
        fastbp_bf16_forms_t to
        int repeats

    size_t fastbp_bf16_elems(ptrdiff_t rows, ptrdiff_t cols, int planes)
    fastbp_status_t fastbp_bf16_pack(
        const float *x, ptrdiff_t ld, ptrdiff_t rows, ptrdiff_t cols, int planes, bint listed,
        int repeats, const fastbp_bf16_forms_t *forms)
    fastbp_status_t fastbp_bf16_product(const fastbp_bf16_call_t *call)
    fastbp_status_t fastbp_round(
        fastbp_dtype_t dtype, fastbp_precision_t precision, ptrdiff_t rows, ptrdiff_t cols,
        const void *x, ptrdiff_t ldx, void *out, ptrdiff_t ldo)
    fastbp_status_t fastbp_vmath(
        int op, fastbp_dtype_t dtype, ptrdiff_t n, const void *x, void *out)
    ctypedef struct fastbp_program_call_t:
        const fastbp_program_t *program
        fastbp_dtype_t dtype
        ptrdiff_t rows, cols
        bint by_rows
        const void *const *c_in "in"
        const ptrdiff_t *ld_in
        const int32_t *labels
        const void *scale
        void *const *out
        const ptrdiff_t *ld_out
        int repeats

    fastbp_status_t fastbp_run_program(const fastbp_program_call_t *call)
    double fastbp_fma_peak(fastbp_dtype_t dtype, double seconds)
    double fastbp_bf16_peak(int planes, double seconds)
    double fastbp_memory_rate(fastbp_dtype_t dtype, size_t bytes, int n_threads, double seconds)
    double fastbp_pool_latency(int n_threads, ptrdiff_t repeats)


cdef extern from "text/texts.h" nogil:
    ctypedef struct fastbp_texts_t:
        pass

    fastbp_texts_t *fastbp_texts_new(
        ptrdiff_t n_columns, size_t max_bytes, uint64_t key0, uint64_t key1)
    void fastbp_texts_free(fastbp_texts_t *texts)
    void fastbp_texts_close(fastbp_texts_t *texts, ptrdiff_t column)
    int64_t fastbp_texts_count(const fastbp_texts_t *texts, ptrdiff_t column)
    const char *fastbp_texts_at(
        const fastbp_texts_t *texts, ptrdiff_t column, int64_t code, size_t *size)


cdef extern from "text/csv.h" nogil:
    int FASTBP_CELL_EMPTY, FASTBP_CELL_DIGITS, FASTBP_CELL_NUMBER, FASTBP_CELL_CODE
    int FASTBP_CELL_ZEROS, FASTBP_CELL_PADDED, FASTBP_CELL_TEXT, FASTBP_CELL_KINDS
    size_t FASTBP_CSV_MAX_CELL

    ctypedef enum fastbp_csv_status_t:
        FASTBP_CSV_OK
        FASTBP_CSV_RAGGED
        FASTBP_CSV_QUOTE
        FASTBP_CSV_OPEN
        FASTBP_CSV_LONG
        FASTBP_CSV_CLOSED
        FASTBP_CSV_LIMITED

    ctypedef struct fastbp_csv_t:
        char delimiter
        char decimal
        char thousands
        char comment
        ptrdiff_t n_columns
        int64_t line
        int64_t n_rows
        ptrdiff_t n_cells
        int64_t n_marked

    ctypedef struct fastbp_csv_block_t:
        const char *bytes
        size_t size
        bint last

    ctypedef struct fastbp_csv_columns_t:
        int64_t *counts
        int64_t *first
        unsigned char *kinds
        fastbp_texts_t *texts

    ptrdiff_t fastbp_csv_codes(
        int32_t *codes, const double *values, ptrdiff_t n_rows, ptrdiff_t stride, int32_t empty)
    fastbp_csv_status_t fastbp_csv_numbers(
        fastbp_csv_t *csv, const fastbp_csv_block_t *block, ptrdiff_t max_rows,
        const fastbp_csv_columns_t *columns, double *values, int64_t *lines, ptrdiff_t *n_rows,
        size_t *used)
    fastbp_csv_status_t fastbp_csv_texts(
        fastbp_csv_t *csv, const fastbp_csv_block_t *block, ptrdiff_t max_rows,
        const ptrdiff_t *chosen, ptrdiff_t n_chosen, const unsigned char *wanted,
        fastbp_texts_t *texts, int64_t *codes, ptrdiff_t *n_rows, size_t *used)
    fastbp_csv_status_t fastbp_csv_width(
        fastbp_csv_t *csv, const fastbp_csv_block_t *block, ptrdiff_t *n_columns)
