/* specs.c: see specs.h. */
#include "specs.h"

#include "programs.h"

#include <math.h>
#include <string.h>

enum { MOST_WIDTH = 40, MOST_PARAMS = 20000, MOST_LOSS_PARAMS = 2 * MOST_WIDTH };

/* ---- specifications ---- */

/* The caller's own loss: ½ Σ (a − y)² if there are as many targets; it fails on request. */
static fastbp_status_t own_loss(void *context, ptrdiff_t rows, const void *a, ptrdiff_t lda,
                                const void *const *targets, double *row_loss, void *slope,
                                ptrdiff_t ld_slope) {
    const made_t *made = context;
    const fastbp_dtype_t dtype = made->spec.dtype;
    const ptrdiff_t n = width_of(made, made->spec.n_layers), n_targets = made->spec.n_targets;
    for (ptrdiff_t i = 0; i < rows; ++i) {
        row_loss[i] = 0;
        for (ptrdiff_t k = 0; k < n; ++k) {
            const double y = get(dtype, targets[i], (size_t)(k % n_targets));
            const double e = get(dtype, a, (size_t)(i * lda + k)) - y;
            row_loss[i] += e * e / 2;
            if (slope != NULL) put(dtype, slope, (size_t)(i * ld_slope + k), e);
        }
    }
    return isnan(row_loss[0]) ? FASTBP_ERR_CALL : FASTBP_OK;
}

static void take_layer(input_t *in, made_t *made, int i, int *activations, double *alphas) {
    const bool last = i == made->spec.n_layers - 1;
    int act = take_code(in, last ? FASTBP_ACT_COUNT : FASTBP_ACT_SOFTMAX);
    if (!last && act == FASTBP_ACT_SIN && take_flag(in)) act = FASTBP_ACT_FORMULA;
    activations[i] = act;
    alphas[i] = take_rarely(in) ? take_number(in) : 0.25;
}

static void take_options(input_t *in, made_t *made) {
    fastbp_spec_t *spec = &made->spec;
    fastbp_layer_options_t *options = exact((size_t)spec->n_layers, sizeof *options);
    for (int i = 0; i < spec->n_layers; ++i) {
        const bool last = i == spec->n_layers - 1 && !take_rarely(in);
        const unsigned byte = take_byte(in);
        fastbp_layer_options_t *has = &options[i];
        has->no_bias = byte & 1;
        has->max_norm = byte & 2 ? take_in(in, 0, 8) / 2.0 : 0;
        has->non_negative = byte & 4;
        has->residual = byte & 8 && !last && spec->widths[i] == spec->widths[i + 1];
        if (byte & 16 && !last) has->dropout = take_fraction(in);
        if (byte & 32 && !last) has->norm = (fastbp_norm_t)take_code(in, FASTBP_NORM_COUNT);
        has->norm_eps = 1e-5;
        has->norm_momentum = 0.1;
        if (byte >= 240) {
            has->norm_eps = take_number(in);
            has->norm_momentum = take_number(in);
            has->max_norm = take_number(in);
            has->residual = take_flag(in);
        }
    }
    spec->options = options;
}

static int losses_params(input_t *in, fastbp_loss_t loss, ptrdiff_t n_out) {
    const int n = n_out > 0 && n_out <= MOST_WIDTH ? (int)n_out : 0;
    switch (loss) {
    case FASTBP_LOSS_BINARY_CROSS_ENTROPY: return take_flag(in) ? n : 0;
    case FASTBP_LOSS_CROSS_ENTROPY: return take_flag(in) ? n + 1 : 0;
    case FASTBP_LOSS_FOCAL: return n + 1;
    case FASTBP_LOSS_BINARY_FOCAL: return 3;
    case FASTBP_LOSS_HUBER:
    case FASTBP_LOSS_POISSON:
    case FASTBP_LOSS_MULTI_MARGIN:
    case FASTBP_LOSS_MARGIN_RANKING: return 1;
    case FASTBP_LOSS_QUANTILE: return take_in(in, 1, 3);
    default: return 0;
    }
}

static ptrdiff_t targets_of(input_t *in, const fastbp_spec_t *spec) {
    const ptrdiff_t n_out = spec->widths[spec->n_layers];
    if (take_rarely(in)) return take_size(in, 0, MOST_WIDTH);
    switch (spec->loss) {
    case FASTBP_LOSS_QUANTILE: return spec->n_loss_params > 0 ? n_out / spec->n_loss_params : 0;
    case FASTBP_LOSS_GAUSSIAN_NLL: return n_out / 2;
    case FASTBP_LOSS_MARGIN_RANKING: return 0;
    case FASTBP_LOSS_CUSTOM: return take_in(in, 1, 6);
    default: return n_out;
    }
}

static void take_loss(input_t *in, made_t *made) {
    fastbp_spec_t *spec = &made->spec;
    spec->loss = (fastbp_loss_t)take_code(in, FASTBP_LOSS_COUNT);
    const ptrdiff_t n_out = spec->widths[spec->n_layers];
    int n = losses_params(in, spec->loss, n_out);
    if (take_rarely(in)) n = take_in(in, 0, MOST_LOSS_PARAMS) - 2;
    double *params = exact(n > 0 ? (size_t)n : 0, sizeof *params);
    for (int i = 0; i < n; ++i)
        params[i] = made->tame ? (1 + take_byte(in)) / 256.0 : take_number(in);
    spec->loss_params = n > 0 ? params : NULL;
    spec->n_loss_params = n;
    spec->n_targets = targets_of(in, spec);
    const bool own = spec->loss == FASTBP_LOSS_CUSTOM;
    if (own && !take_rarely(in)) spec->loss_fn = own_loss;
    spec->loss_context = made;
    if ((spec->loss == FASTBP_LOSS_FORMULA) != take_rarely(in))
        spec->loss_formula = take_loss_formula(in);
}

made_t *take_spec(input_t *in) {
    made_t *made = exact(1, sizeof *made);
    fastbp_spec_t *spec = &made->spec;
    const unsigned flags = take_byte(in);
    made->tame = !(flags & 1);
    spec->n_layers = take_in(in, 1, MOST_LAYERS);
    const size_t n = (size_t)spec->n_layers;
    ptrdiff_t *widths = exact(n + 1, sizeof *widths);
    for (size_t i = 0; i <= n; ++i) {
        widths[i] = take_size(in, 1, MOST_WIDTH);
        if (i > 0 && flags & 2) widths[i] = widths[i - 1]; /* room for residual layers */
    }
    int *activations = exact(n, sizeof *activations);
    double *alphas = exact(n, sizeof *alphas);
    spec->widths = widths;
    spec->activations = activations;
    spec->alphas = alphas;
    for (int i = 0; i < spec->n_layers; ++i) take_layer(in, made, i, activations, alphas);
    spec->dtype = flags & 4 ? FASTBP_F64 : FASTBP_F32;
    if (flags & 8) take_options(in, made);
    take_loss(in, made);
    const fastbp_formula_t **formulas = exact(n, sizeof *formulas);
    for (size_t i = 0; i < n; ++i)
        if ((activations[i] == FASTBP_ACT_FORMULA) != take_rarely(in))
            formulas[i] = take_formula(in);
    spec->formulas = formulas;
    if (flags & 16) spec->input_dropout = take_fraction(in);
    if (flags & 32 && spec->dtype == FASTBP_F32)
        spec->precision = (fastbp_precision_t)take_code(in, FASTBP_PRECISION_COUNT);
    if (flags & 64) spec->l1 = take_byte(in) / 256.0, spec->l2 = take_byte(in) / 256.0;
    if (flags & 128) {
        spec->l1 = take_number(in);
        spec->dtype = (fastbp_dtype_t)take_code(in, 2);
        if (take_rarely(in)) spec->n_layers = -(int)take_below(in, 3);
        if (take_rarely(in)) spec->n_layers = (int)INT32_MIN;
    }
    return made;
}

ptrdiff_t width_of(const made_t *made, int layer) { return made->spec.widths[layer]; }

fastbp_net_t *take_network(input_t *in, made_t **made) {
    fastbp_net_t *net;
    *made = take_spec(in);
    const bool accepted = succeeded(fastbp_net_new(&net, &(*made)->spec));
    REQUIRE(accepted == (net != NULL), "a network without success, or the reverse");
    if (!accepted) return NULL;
    ptrdiff_t widest = 0;
    for (int l = 0; l <= (*made)->spec.n_layers; ++l)
        if (width_of(*made, l) > widest) widest = width_of(*made, l);
    const bool small = widest <= 2 * MOST_WIDTH && (*made)->spec.n_targets <= 2 * MOST_WIDTH;
    if (small && fastbp_net_n_params(net) <= MOST_PARAMS) return net;
    fastbp_pass_t *pass; /* too large to run, but buffers must be refused or right */
    if (succeeded(fastbp_pass_new(&pass, net, take_size(in, 1, 8)))) fastbp_pass_free(pass);
    fastbp_net_free(net);
    return NULL;
}

/* ---- data ---- */

static void take_dense(input_t *in, const made_t *made, fastbp_data_t *data) {
    static const size_t sizes[FASTBP_X_COUNT] = {
#define SIZE(CODE, name, ctype, value) [FASTBP_X_##CODE] = sizeof(ctype),
        FASTBP_ELEMENTS(SIZE)
#undef SIZE
    };
    const fastbp_dtype_t dtype = made->spec.dtype;
    const ptrdiff_t n = width_of(made, 0), rows = data->rows;
    const int type = take_flag(in) ? FASTBP_X_OWN : take_code(in, FASTBP_X_COUNT);
    const bool known = type > FASTBP_X_OWN && type < FASTBP_X_COUNT;
    const size_t size = known ? sizes[type] : size_of(dtype);
    const unsigned byte = take_byte(in);
    ptrdiff_t apart = n + (ptrdiff_t)(byte % 4);
    if (byte >= 240) apart = 0;
    const size_t elems = (size_t)((rows - 1) * apart + n);
    char *x = exact(elems, size);
    data->x_type = (fastbp_element_t)type;
    if (!known && made->tame) fill_tame(in, dtype, x, elems);
    else if (!known) fill_any(in, dtype, x, elems);
    else
        for (size_t i = 0; i < elems * size; ++i) x[i] = (char)take_byte(in);
    data->ldx = byte & 64 ? -apart : apart; /* backwards from the last row */
    data->x = byte & 64 ? x + (size_t)((rows - 1) * apart) * size : x;
}

static void take_sparse(input_t *in, const made_t *made, fastbp_data_t *data) {
    const ptrdiff_t n = width_of(made, 0), rows = data->rows;
    int64_t *indptr = exact((size_t)rows + 1, sizeof *indptr);
    int32_t *indices = exact((size_t)(rows * n), sizeof *indices);
    int64_t at = 0;
    for (ptrdiff_t i = 0; i < rows; ++i) {
        uint64_t random = 1 + take_byte(in) * UINT64_C(0x9e3779b97f4a7c15);
        for (ptrdiff_t j = 0; j < n; ++j)
            if (next_random(&random) >> 62 == 0) indices[at++] = (int32_t)j;
        indptr[i + 1] = at;
    }
    int32_t *own = exact((size_t)at, sizeof *own); /* ends with the last row */
    memcpy(own, indices, (size_t)at * sizeof *own);
    drop(indices);
    void *x = exact((size_t)at, size_of(made->spec.dtype));
    if (made->tame) fill_tame(in, made->spec.dtype, x, (size_t)at);
    else fill_any(in, made->spec.dtype, x, (size_t)at);
    data->x = x;
    data->indptr = indptr;
    data->indices = take_rarely(in) ? NULL : own;
    if (take_rarely(in)) data->x_type = (fastbp_element_t)take_code(in, FASTBP_X_COUNT);
}

static bool takes_labels(input_t *in, fastbp_loss_t loss) {
    switch (loss) {
    case FASTBP_LOSS_MULTI_MARGIN: return !take_rarely(in);
    case FASTBP_LOSS_CROSS_ENTROPY:
    case FASTBP_LOSS_FOCAL:
    case FASTBP_LOSS_FORMULA: return take_flag(in);
    default: return take_rarely(in);
    }
}

static void take_targets(input_t *in, const made_t *made, fastbp_data_t *data) {
    const fastbp_dtype_t dtype = made->spec.dtype;
    const ptrdiff_t n = made->spec.n_targets, rows = data->rows;
    if (takes_labels(in, made->spec.loss)) {
        int32_t *labels = exact((size_t)rows, sizeof *labels);
        const int classes = (int)width_of(made, made->spec.n_layers);
        for (ptrdiff_t i = 0; i < rows; ++i) labels[i] = (int32_t)take_size(in, 0, classes - 1);
        data->labels = labels;
    }
    if (data->labels != NULL && !take_rarely(in)) return;
    if ((n == 0) != take_rarely(in)) return;
    data->ldy = n + take_below(in, 3);
    const size_t elems = (size_t)((rows - 1) * data->ldy + n);
    void *targets = exact(elems, size_of(dtype));
    if (made->tame)
        for (size_t i = 0; i < elems; ++i) put(dtype, targets, i, take_byte(in) / 255.0);
    else fill_any(in, dtype, targets, elems);
    data->targets = targets;
}

fastbp_data_t take_data(input_t *in, const made_t *made, ptrdiff_t rows) {
    fastbp_data_t data = {.rows = rows};
    if (take_byte(in) % 4 == 3) take_sparse(in, made, &data);
    else take_dense(in, made, &data);
    take_targets(in, made, &data);
    if (take_flag(in)) {
        void *weights = exact((size_t)rows, size_of(made->spec.dtype));
        if (made->tame)
            for (ptrdiff_t i = 0; i < rows; ++i)
                put(made->spec.dtype, weights, (size_t)i, take_byte(in) / 64.0);
        else fill_any(in, made->spec.dtype, weights, (size_t)rows);
        data.weights = weights;
    }
    if (take_rarely(in)) data.x = NULL;
    return data;
}
