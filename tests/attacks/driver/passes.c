/* passes.c: forward and backward passes. The gradient is compared with central differences of J,
 * which fastbp_predict computes; float32 with float64; and the parts of a pass with the whole. */
#include "driver.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { ROWS = 22 };

/* ---- J and its gradient ---- */

/* The least of |(J(θ + hv) − J(θ − hv))/2h − slope| over some h. A kink between the two points
 * disturbs one h, not all of them; an error of the gradient disturbs all. */
static double difference_from(const setup_t *s, const double *v, double slope) {
    double least = INFINITY;
    double *moved = vector_of(s, NULL);
    for (double h = 1e-4; h > 1e-7; h /= 8) {
        double cost[2];
        for (int side = 0; side < 2; ++side) {
            const double step = side == 0 ? h : -h;
            for (size_t i = 0; i < s->n_params; ++i)
                moved[i] = ((const double *)s->theta)[i] + step * v[i];
            cost[side] = cost_at(s, moved);
        }
        least = fmin(least, fabs((cost[0] - cost[1]) / (2 * h) - slope));
    }
    free(moved);
    return least;
}

/* Along the gradient itself and along a random direction, in float64. */
static void check_gradient(const setup_t *s, const double *grad, double cost) {
    const double length = norm_of(FASTBP_F64, grad, s->n_params);
    uint64_t random = 99;
    double *v = vector_of(s, NULL);
    CHECK(length > 1e-3, "%s: ‖∇J‖ = %g", s->of->name, length);
    CHECK(fabs(cost_at(s, s->theta) - cost) <= 1e-12 * (1 + fabs(cost)), "%s", s->of->name);
    for (int way = 0; way < 2; ++way) {
        for (size_t i = 0; i < s->n_params; ++i) v[i] = way == 0 ? grad[i] : normal(&random);
        const double size = norm_of(FASTBP_F64, v, s->n_params);
        for (size_t i = 0; i < s->n_params; ++i) v[i] /= size;
        const double slope = dot_of(FASTBP_F64, grad, v, s->n_params);
        const double error = difference_from(s, v, slope);
        CHECK(error <= 1e-6 * length, "%s, way %d: %g of %g", s->of->name, way, error, length);
    }
    free(v);
}

/* J and its gradient by a pass of `capacity` rows. */
static double gradient_of(const setup_t *s, void *grad) {
    fastbp_pass_t *pass;
    double cost = NAN;
    if (!CHECK_STATUS(fastbp_pass_new(&pass, s->net, s->rows + 3), FASTBP_OK)) abort();
    CHECK_STATUS(fastbp_forward(pass, s->theta, &s->data), FASTBP_OK);
    CHECK_STATUS(fastbp_backward(pass, s->theta, &s->data, grad, &cost), FASTBP_OK);
    fastbp_pass_free(pass);
    return cost;
}

static void check_case(const case_t *of) {
    setup_t narrow, wide;
    set_up(&narrow, of, FASTBP_F32, ROWS);
    void *grad = vector_of(&narrow, NULL);
    double *exact = driver_new(narrow.n_params, sizeof *exact);
    const double cost = gradient_of(&narrow, grad);
    if (of->precision == FASTBP_HIGHEST) {
        set_up(&wide, of, FASTBP_F64, ROWS);
        const double exact_cost = gradient_of(&wide, exact);
        check_gradient(&wide, exact, exact_cost);
        CHECK(fabs(cost - exact_cost) <= 1e-4 * (1 + fabs(exact_cost)), "%s: J = %g, %g", of->name,
              cost, exact_cost);
        tear_down(&wide);
    } else { /* rounded factors: against the network without rounding */
        case_t highest = *of;
        highest.precision = FASTBP_HIGHEST;
        set_up(&wide, &highest, FASTBP_F64, ROWS);
        gradient_of(&wide, exact);
        tear_down(&wide);
    }
    const double tolerance[] = {1e-4, 1e-3, 0.1};
    double error = 0, length = norm_of(FASTBP_F64, exact, narrow.n_params);
    for (size_t i = 0; i < narrow.n_params; ++i)
        error += pow(get(FASTBP_F32, grad, i) - exact[i], 2);
    CHECK(sqrt(error) <= tolerance[of->precision] * length, "%s: %g of %g", of->name, sqrt(error),
          length);
    free(exact);
    free(grad);
    tear_down(&narrow);
}

/* ---- the parts of a pass ---- */

/* Whether two vectors have the same bits. */
static bool same(const setup_t *s, const void *x, const void *y) {
    return memcmp(x, y, s->n_params * size_of(s->dtype)) == 0;
}

static void backward_in_parts(fastbp_pass_t *pass, const setup_t *s, const void *grad) {
    double cost;
    void *parts = vector_of(s, NULL);
    CHECK_STATUS(fastbp_backward_layer(pass, s->theta, s->n_layers), FASTBP_ERR_ARGUMENT);
    CHECK_STATUS(fastbp_forward(pass, s->theta, &s->data), FASTBP_OK);
    CHECK_STATUS(fastbp_backward_gradient(pass, s->theta, parts), FASTBP_ERR_STATE);
    CHECK_STATUS(fastbp_backward_output(pass, s->theta, &s->data, &cost), FASTBP_OK);
    for (int l = s->n_layers - 1; l >= 1; --l) {
        if (l > 1) CHECK_STATUS(fastbp_backward_layer(pass, s->theta, l - 1), FASTBP_ERR_STATE);
        CHECK_STATUS(fastbp_backward_layer(pass, s->theta, l), FASTBP_OK);
    }
    CHECK_STATUS(fastbp_backward_gradient(pass, s->theta, parts), FASTBP_OK);
    CHECK(same(s, parts, grad), "%s: backward in parts", s->of->name);
    free(parts);
}

/* The recursion from δ^L as it is now, which must lead to the same gradient. */
static void backward_from_delta(fastbp_pass_t *pass, const setup_t *s, const void *grad) {
    ptrdiff_t ld;
    const size_t elem = size_of(s->dtype);
    const void *delta = fastbp_pass_buffer(pass, FASTBP_BUFFER_DELTA, s->n_layers, &ld);
    const size_t n = (size_t)((s->rows - 1) * ld + s->n_out);
    void *copy = driver_new(n, elem), *again = vector_of(s, NULL);
    memcpy(copy, delta, n * elem);
    CHECK_STATUS(fastbp_backward_from(pass, s->theta, copy, ld, s->data.weights, again), FASTBP_OK);
    CHECK(same(s, again, grad), "%s: backward_from", s->of->name);
    CHECK_STATUS(fastbp_backward_inject(pass, copy, ld, s->data.weights), FASTBP_OK);
    for (int l = s->n_layers - 1; l >= 1; --l)
        CHECK_STATUS(fastbp_backward_layer(pass, s->theta, l), FASTBP_OK);
    CHECK_STATUS(fastbp_backward_gradient(pass, s->theta, again), FASTBP_OK);
    CHECK(same(s, again, grad), "%s: backward_inject", s->of->name);
    free(copy);
    free(again);
}

/* Outputs of a prediction, which need not have the bits of a pass. */
static void check_outputs(const fastbp_pass_t *pass, const setup_t *s) {
    ptrdiff_t ld;
    const size_t elem = size_of(s->dtype);
    const char *a = fastbp_pass_buffer(pass, FASTBP_BUFFER_A, s->n_layers, &ld);
    char *out = driver_new((size_t)(s->rows * s->n_out), elem);
    double error = 0;
    CHECK_STATUS(fastbp_predict(s->net, s->theta, &s->data, out, NULL), FASTBP_OK);
    CHECK(all_finite(s->dtype, out, (size_t)(s->rows * s->n_out)), "%s", s->of->name);
    for (ptrdiff_t i = 0; i < s->rows; ++i)
        error += distance(s->dtype, a + (size_t)(i * ld) * elem,
                          out + (size_t)(i * s->n_out) * elem, (size_t)s->n_out);
    const double eps = s->of->precision != FASTBP_HIGHEST ? 0.02
                       : s->dtype == FASTBP_F32           ? 1e-5
                                                          : 1e-13;
    CHECK(error <= eps * (1 + norm_of(s->dtype, out, (size_t)(s->rows * s->n_out))), "%s: %g",
          s->of->name, error);
    free(out);
}

static void check_buffers(const fastbp_pass_t *pass, const setup_t *s) {
    ptrdiff_t ld = 0;
    for (int l = 1; l <= s->n_layers; ++l)
        for (int which = FASTBP_BUFFER_Z; which <= FASTBP_BUFFER_DELTA; ++which) {
            char *at = fastbp_pass_buffer(pass, (fastbp_buffer_t)which, l, &ld);
            if (!CHECK(at != NULL && ld >= s->of->widths[l], "layer %d", l)) continue;
            CHECK(fastbp_pass_overlaps(pass, at, 1), "layer %d", l);
            CHECK((uintptr_t)at % 64 == 0, "layer %d", l);
        }
    CHECK(fastbp_pass_buffer(pass, FASTBP_BUFFER_Z, 0, &ld) == NULL, "layer 0");
    CHECK(fastbp_pass_buffer(pass, FASTBP_BUFFER_Z, s->n_layers + 1, &ld) == NULL, "layer L + 1");
    CHECK(!fastbp_pass_overlaps(pass, s->theta, s->n_params), "theta");
}

static bool has_dropout(const case_t *of) {
    for (int i = 0; i < MAX_LAYERS; ++i)
        if (of->options[i].dropout > 0) return true;
    return of->input_dropout > 0;
}

/* Masks depend on the seed and the step, and only if there is dropout. */
static void check_masks(fastbp_pass_t *pass, const setup_t *s) {
    double cost[3];
    for (int i = 0; i < 3; ++i) {
        CHECK_STATUS(fastbp_forward_training(pass, s->theta, &s->data, 7, i == 1 ? 4 : 3),
                     FASTBP_OK);
        CHECK_STATUS(fastbp_backward(pass, s->theta, &s->data, NULL, &cost[i]), FASTBP_OK);
    }
    CHECK(cost[0] == cost[2], "%s: the masks of a step", s->of->name);
    CHECK((cost[0] == cost[1]) == !has_dropout(s->of), "%s: the masks of two steps", s->of->name);
}

/* Whether δ^L determines the gradient: the weights of classes come from the targets. */
static bool follows_from_delta(const case_t *of) {
    return of->loss != FASTBP_LOSS_CROSS_ENTROPY || of->n_params == 0;
}

static void check_parts(const case_t *of) {
    for (fastbp_dtype_t dtype = FASTBP_F32; dtype <= FASTBP_F64; ++dtype) {
        if (dtype == FASTBP_F64 && of->precision != FASTBP_HIGHEST) continue;
        setup_t s;
        fastbp_pass_t *pass;
        double cost;
        set_up(&s, of, dtype, ROWS);
        void *grad = vector_of(&s, NULL);
        if (!CHECK_STATUS(fastbp_pass_new(&pass, s.net, ROWS), FASTBP_OK)) abort();
        CHECK_STATUS(fastbp_backward(pass, s.theta, &s.data, grad, &cost), FASTBP_ERR_STATE);
        check_masks(pass, &s);
        CHECK_STATUS(fastbp_forward(pass, s.theta, &s.data), FASTBP_OK);
        CHECK_STATUS(fastbp_backward(pass, s.theta, &s.data, grad, &cost), FASTBP_OK);
        check_outputs(pass, &s);
        check_buffers(pass, &s);
        if (follows_from_delta(of)) backward_from_delta(pass, &s, grad);
        backward_in_parts(pass, &s, grad);
        fastbp_pass_free(pass);
        free(grad);
        tear_down(&s);
    }
}

/* ---- rows in other forms ---- */

/* Sparse rows and the same rows with their zeros. */
static void check_sparse_as_dense(void) {
    const case_t of = {"sparse",        {30, 7, 4},     {FASTBP_ACT_TANH},
                       FASTBP_LOSS_MSE, .n_targets = 4, .sparse = true};
    setup_t s;
    set_up(&s, &of, FASTBP_F64, ROWS);
    fastbp_data_t dense = s.data;
    double *x = driver_new((size_t)(ROWS * s.n_in), sizeof *x);
    for (ptrdiff_t i = 0; i < ROWS; ++i)
        for (int64_t k = s.indptr[i]; k < s.indptr[i + 1]; ++k)
            x[i * s.n_in + s.indices[k]] = ((const double *)s.x)[k];
    dense.x = x;
    dense.ldx = s.n_in;
    dense.indptr = NULL;
    dense.indices = NULL;
    double cost;
    CHECK_STATUS(fastbp_predict(s.net, s.theta, &dense, NULL, &cost), FASTBP_OK);
    CHECK(fabs(cost - cost_at(&s, s.theta)) <= 1e-13, "J = %g", cost);
    free(x);
    tear_down(&s);
}

/* Rows from the last to the first, and one row many times. */
static void check_strides(void) {
    setup_t s;
    set_up(&s, &wide_case, FASTBP_F32, ROWS);
    const size_t n = (size_t)(ROWS * s.n_out);
    float *out = driver_new(n, sizeof *out), *back = driver_new(n, sizeof *back);
    CHECK_STATUS(fastbp_predict(s.net, s.theta, &s.data, out, NULL), FASTBP_OK);
    fastbp_data_t data = s.data;
    data.x = (const float *)s.x + (ROWS - 1) * s.data.ldx;
    data.ldx = -s.data.ldx;
    CHECK_STATUS(fastbp_predict(s.net, s.theta, &data, back, NULL), FASTBP_OK);
    for (ptrdiff_t i = 0; i < ROWS; ++i)
        CHECK(distance(FASTBP_F32, out + i * s.n_out, back + (ROWS - 1 - i) * s.n_out,
                       (size_t)s.n_out) <= 1e-5,
              "row %d", (int)i);
    data.ldx = 0;
    CHECK_STATUS(fastbp_predict(s.net, s.theta, &data, back, NULL), FASTBP_OK);
    for (ptrdiff_t i = 1; i < ROWS; ++i)
        CHECK(distance(FASTBP_F32, back, back + i * s.n_out, (size_t)s.n_out) <= 1e-5, "row %d",
              (int)i);
    free(out);
    free(back);
    tear_down(&s);
}

void check_passes(void) {
    for_each_case(check_case);
    for_each_case(check_parts);
    check_sparse_as_dense();
    check_strides();
}
