/* driver.h: what the files of the driver share. The driver calls every function of fastbp.h and
 * csv.h without Python and checks what they do, so that sanitizers and machines without Python can
 * run the engine. driver_calls.h is made from the headers: it notes which functions were called. */
#ifndef DRIVER_H
#define DRIVER_H

#include "driver_calls.h"

/* A check: a failure is printed with its place and with what was tested, and counts as a fault. */
#define CHECK(holds, ...) driver_check((holds), __FILE__, __LINE__, #holds, __VA_ARGS__)
#define CHECK_STATUS(call, expected)                                                               \
    driver_check_status((call), (expected), __FILE__, __LINE__, #call)

bool driver_check(bool holds, const char *file, int line, const char *text, const char *format, ...)
    __attribute__((format(printf, 5, 6)));
bool driver_check_status(fastbp_status_t got, fastbp_status_t expected, const char *file, int line,
                         const char *text);

/* Whether to do a small share of the work, for machines that are emulated. */
extern bool driver_small;

/* Memory or the end of the program. Blocks have exactly the size that was asked for, so that
 * AddressSanitizer sees an access beyond them. */
void *driver_new(size_t count, size_t size);

/* ---- numbers ---- */

/* Elements of a dtype, each as a double. */
double get(fastbp_dtype_t dtype, const void *array, size_t i);
void put(fastbp_dtype_t dtype, void *array, size_t i, double value);
size_t size_of(fastbp_dtype_t dtype);

/* Random numbers in [0, 1) and with mean 0 and variance 1, by splitmix64. */
double uniform(uint64_t *state);
double normal(uint64_t *state);

double norm_of(fastbp_dtype_t dtype, const void *x, size_t n);
double dot_of(fastbp_dtype_t dtype, const void *x, const void *y, size_t n);
/* ‖x − y‖ */
double distance(fastbp_dtype_t dtype, const void *x, const void *y, size_t n);
bool all_finite(fastbp_dtype_t dtype, const void *x, size_t n);

/* ---- networks ---- */

enum { MAX_LAYERS = 5, MAX_PARAMS = 12 };

typedef enum {
    NUMBERS,
    FRACTIONS,
    SIGNS,
    COUNTS,
    CLASSES, /* rows that add up to 1 */
    LABELS,
    NO_TARGETS,
} targets_t;

/* What a network computes, with its data. Widths end with 0. */
typedef struct {
    const char *name;
    ptrdiff_t widths[MAX_LAYERS + 2];
    int activations[MAX_LAYERS];
    fastbp_loss_t loss;
    double params[MAX_PARAMS];
    int n_params;
    ptrdiff_t n_targets;
    targets_t targets;
    fastbp_layer_options_t options[MAX_LAYERS];
    double input_dropout, l1, l2;
    bool weighted, sparse, per_unit;
    bool kinks; /* J has no second derivative everywhere */
    fastbp_element_t x_type;
    fastbp_precision_t precision;
} case_t;

/* A network with parameters and data. */
typedef struct {
    const case_t *of;
    fastbp_dtype_t dtype;
    fastbp_net_t *net;
    size_t n_params;
    ptrdiff_t n_in, n_out, rows;
    int n_layers;
    void *theta;
    fastbp_data_t data;
    void *x, *targets, *weights;
    int64_t *indptr;
    int32_t *indices, *labels;
} setup_t;

fastbp_spec_t spec_of(const case_t *of, fastbp_dtype_t dtype);
void set_up(setup_t *s, const case_t *of, fastbp_dtype_t dtype, ptrdiff_t rows);
void tear_down(setup_t *s);
/* A copy of theta, or of another vector with its layout; zeros if `from` is NULL. */
void *vector_of(const setup_t *s, const void *from);
/* J by fastbp_predict. */
double cost_at(const setup_t *s, const void *theta);

/* Calls `body` with one network for each activation, loss and option. */
void for_each_case(void (*body)(const case_t *of));
/* A network that has work for four threads. */
extern const case_t wide_case;

/* Programs: a = c z² with a trained constant c, and J_i = ½ Σ (a − y)². */
extern const fastbp_formula_t square_formula, square_formula_per_unit;
extern const fastbp_loss_formula_t squared_error_formula;

/* The caller's own loss, J_i = ½ Σ (a − y)², for networks of this dtype in *context. */
fastbp_status_t own_loss(void *context, ptrdiff_t rows, const void *a, ptrdiff_t lda,
                         const void *const *targets, double *row_loss, void *slope,
                         ptrdiff_t ld_slope);

/* ---- optimisers ---- */

typedef struct {
    fastbp_optimizer_t o;
    void *vectors[FASTBP_MOMENTS + 2];
    double factors[MAX_LAYERS * FASTBP_GROUPS];
} optimizer_t;

/* A rule with hyper-parameters that train the networks of the driver, and its state of zeros. */
void new_optimizer(optimizer_t *made, const setup_t *s, fastbp_rule_t rule);
void free_optimizer(optimizer_t *made);

/* ---- the subjects ---- */

void check_names(void);
void check_machine(void);
void check_passes(void);
void check_derivatives(void);
void check_training(void);
void check_rules(void);
void check_sessions(void);
void check_threads(void);
void check_populations(void);
void check_ranks_of_parts(void);
void check_programs(void);
void check_products(void);
void check_bad_arguments(void);
void check_csv(void);

#endif
