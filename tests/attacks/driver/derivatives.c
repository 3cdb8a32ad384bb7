/* derivatives.c: the derivatives that a pass offers, in float64, against each other, differences
 * and loops. */
#include "driver.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { ROWS = 6 };

/* A pass of a network that went forward and backward, and room for results. */
typedef struct {
    setup_t s;
    fastbp_pass_t *pass;
    double *grad;
    size_t n_x, n_a; /* elements of x and of the outputs of the batch */
} work_t;

static void begin(work_t *w, const case_t *of) {
    double cost;
    set_up(&w->s, of, FASTBP_F64, ROWS);
    w->grad = vector_of(&w->s, NULL);
    w->n_x = (size_t)(ROWS * w->s.n_in);
    w->n_a = (size_t)(ROWS * w->s.n_out);
    if (!CHECK_STATUS(fastbp_pass_new(&w->pass, w->s.net, ROWS), FASTBP_OK)) abort();
    CHECK_STATUS(fastbp_forward(w->pass, w->s.theta, &w->s.data), FASTBP_OK);
    CHECK_STATUS(fastbp_backward(w->pass, w->s.theta, &w->s.data, w->grad, &cost), FASTBP_OK);
}

static void end(work_t *w) {
    fastbp_pass_free(w->pass);
    free(w->grad);
    tear_down(&w->s);
}

static double *random_vector(size_t n, uint64_t seed) {
    double *v = driver_new(n, sizeof *v);
    for (size_t i = 0; i < n; ++i) v[i] = normal(&seed);
    return v;
}

static bool near(const double *x, const double *y, size_t n, double tolerance) {
    return distance(FASTBP_F64, x, y, n) <= tolerance * (1 + norm_of(FASTBP_F64, y, n));
}

/* ---- the Jacobian of the outputs ---- */

/* vjp and jvp are products with the matrix that jacobian writes. */
static void check_jacobian(work_t *w) {
    const setup_t *s = &w->s;
    const size_t n_in = (size_t)s->n_in, n_out = (size_t)s->n_out;
    double *jacobian = driver_new(ROWS * n_out * n_in, sizeof *jacobian);
    double *v = random_vector(w->n_a, 1), *dx = random_vector(w->n_x, 2);
    double *pulled = driver_new(w->n_x, sizeof *pulled),
           *pushed = driver_new(w->n_a, sizeof *pushed);
    double *vj = driver_new(w->n_x, sizeof *vj), *jd = driver_new(w->n_a, sizeof *jd);
    CHECK_STATUS(fastbp_jacobian(w->pass, s->theta, jacobian), FASTBP_OK);
    CHECK_STATUS(fastbp_vjp(w->pass, s->theta, v, s->n_out, pulled), FASTBP_OK);
    for (size_t i = 0; i < ROWS; ++i)
        for (size_t k = 0; k < n_out; ++k)
            for (size_t j = 0; j < n_in; ++j) {
                const double slope = jacobian[(i * n_out + k) * n_in + j];
                vj[i * n_in + j] += v[i * n_out + k] * slope;
                jd[i * n_out + k] += dx[i * n_in + j] * slope;
            }
    CHECK(near(pulled, vj, w->n_x, 1e-12), "%s: vjp", s->of->name);
    if (!s->of->sparse) {
        CHECK_STATUS(fastbp_jvp(w->pass, s->theta, dx, s->n_in, NULL, pushed), FASTBP_OK);
        CHECK(near(pushed, jd, w->n_a, 1e-12), "%s: jvp", s->of->name);
    }
    CHECK_STATUS(fastbp_input_gradient(w->pass, s->theta, pulled), FASTBP_ERR_STATE);
    free(jacobian);
    free(v);
    free(dx);
    free(pulled);
    free(pushed);
    free(vj);
    free(jd);
}

/* ---- differences along a direction of theta ---- */

/* Outputs (gradient = false) or the gradient at theta + h v. */
static void evaluate(const work_t *w, const double *v, double h, bool gradient, double *out) {
    const setup_t *s = &w->s;
    double *moved = vector_of(s, s->theta), cost;
    for (size_t i = 0; i < s->n_params; ++i) moved[i] += h * v[i];
    if (gradient) {
        fastbp_pass_t *pass;
        if (!CHECK_STATUS(fastbp_pass_new(&pass, s->net, ROWS), FASTBP_OK)) abort();
        CHECK_STATUS(fastbp_forward(pass, moved, &s->data), FASTBP_OK);
        CHECK_STATUS(fastbp_backward(pass, moved, &s->data, out, &cost), FASTBP_OK);
        fastbp_pass_free(pass);
    } else {
        CHECK_STATUS(fastbp_predict(s->net, moved, &s->data, out, NULL), FASTBP_OK);
    }
    free(moved);
}

/* The least relative distance between a derivative and central differences, over some h. */
static double difference_from(const work_t *w, const double *v, bool gradient, const double *found,
                              size_t n) {
    double least = INFINITY;
    double *up = driver_new(n, sizeof *up), *down = driver_new(n, sizeof *down);
    for (double h = 1e-4; h > 1e-7; h /= 8) {
        evaluate(w, v, h, gradient, up);
        evaluate(w, v, -h, gradient, down);
        for (size_t i = 0; i < n; ++i) up[i] = (up[i] - down[i]) / (2 * h);
        least = fmin(least, distance(FASTBP_F64, up, found, n));
    }
    free(up);
    free(down);
    return least / (1 + norm_of(FASTBP_F64, found, n));
}

static void check_along_theta(work_t *w) {
    const setup_t *s = &w->s;
    double *v = random_vector(s->n_params, 3), *moved = driver_new(w->n_a, sizeof *moved);
    double *product = vector_of(s, NULL);
    const double size = norm_of(FASTBP_F64, v, s->n_params);
    for (size_t i = 0; i < s->n_params; ++i) v[i] /= size;
    CHECK_STATUS(fastbp_jvp(w->pass, s->theta, NULL, 0, v, moved), FASTBP_OK);
    const double error = difference_from(w, v, false, moved, w->n_a);
    CHECK(error <= 1e-6, "%s: jvp: %g", s->of->name, error);
    if (s->of->loss == FASTBP_LOSS_CUSTOM) {
        CHECK_STATUS(fastbp_hvp(w->pass, s->theta, v, product), FASTBP_ERR_ARGUMENT);
    } else {
        CHECK_STATUS(fastbp_hvp(w->pass, s->theta, v, product), FASTBP_OK);
        const double off = s->of->kinks ? 0 : difference_from(w, v, true, product, s->n_params);
        CHECK(off <= 1e-5, "%s: hvp: %g", s->of->name, off);
        CHECK(all_finite(FASTBP_F64, product, s->n_params), "%s: hvp", s->of->name);
    }
    free(v);
    free(moved);
    free(product);
}

/* ---- one sample at a time ---- */

static double weight_of(const setup_t *s, size_t i) {
    return s->weights != NULL ? ((const double *)s->weights)[i] : 1;
}

static bool weighs_classes(const setup_t *s) {
    return s->of->loss == FASTBP_LOSS_CROSS_ENTROPY && s->of->n_params > 0;
}

/* The gradients of the samples add up to that of J, whose penalties are none; their norms are those
 * of the layers. */
static void check_samples(work_t *w) {
    const setup_t *s = &w->s;
    const size_t n = s->n_params, layers = (size_t)s->n_layers;
    double *each = driver_new(ROWS * n, sizeof *each), *sum = vector_of(s, NULL);
    double *norms = driver_new(ROWS * layers, sizeof *norms), weights = 0;
    CHECK_STATUS(fastbp_sample_gradients(w->pass, each), FASTBP_OK);
    CHECK_STATUS(fastbp_gradient_norms(w->pass, norms), FASTBP_OK);
    for (size_t i = 0; i < ROWS; ++i) {
        double squares = 0;
        for (size_t l = 0; l < layers; ++l) squares += pow(norms[i * layers + l], 2);
        const double length = norm_of(FASTBP_F64, each + i * n, n);
        CHECK(fabs(sqrt(squares) - length) <= 1e-12 * (1 + length), "%s: norms", s->of->name);
        for (size_t p = 0; p < n; ++p) sum[p] += weight_of(s, i) * each[i * n + p];
        weights += weight_of(s, i);
    }
    const bool pairs = s->of->loss == FASTBP_LOSS_MARGIN_RANKING;
    for (size_t p = 0; p < n; ++p) sum[p] /= pairs ? weights / 2 : weights;
    if (s->of->l1 == 0 && s->of->l2 == 0 && !weighs_classes(s) && !pairs)
        CHECK(near(sum, w->grad, n, 1e-12), "%s: the sum of the samples' gradients", s->of->name);
    free(each);
    free(sum);
    free(norms);
}

/* out[0] = x ⊙ ∂J_i/∂x */
static void check_relevance(work_t *w) {
    const setup_t *s = &w->s;
    void *out[MAX_LAYERS + 1] = {NULL};
    double *slope = driver_new(w->n_x, sizeof *slope);
    for (int l = 0; l <= s->n_layers; ++l)
        out[l] = driver_new((size_t)(ROWS * s->of->widths[l]), sizeof(double));
    CHECK_STATUS(fastbp_relevance(w->pass, s->theta, out), FASTBP_OK);
    CHECK_STATUS(fastbp_input_gradient(w->pass, s->theta, slope), FASTBP_OK);
    if (s->of->x_type == FASTBP_X_OWN) {
        const double *x = s->x;
        for (size_t i = 0; i < w->n_x; ++i)
            slope[i] *= x[i / (size_t)s->n_in * (size_t)s->data.ldx + i % (size_t)s->n_in];
        CHECK(near(out[0], slope, w->n_x, 1e-11), "%s: relevance", s->of->name);
    }
    for (int l = 0; l <= s->n_layers; ++l) {
        CHECK(all_finite(FASTBP_F64, out[l], (size_t)(ROWS * s->of->widths[l])), "layer %d", l);
        free(out[l]);
    }
    free(slope);
}

/* Back through the output layer, in which σ is linear or the loss is not fused with it: twice the
 * slope gives twice the result, and zeros give zeros. */
static void check_pull_back(work_t *w) {
    const setup_t *s = &w->s;
    for (int l = 1; l <= s->n_layers; ++l) {
        const size_t n = (size_t)(ROWS * s->of->widths[l]);
        double *g = random_vector(n, 5), *twice = driver_new(n, sizeof *twice);
        for (size_t i = 0; i < n; ++i) twice[i] = 2 * g[i];
        CHECK_STATUS(fastbp_pull_back(w->pass, l, g, s->of->widths[l]), FASTBP_OK);
        CHECK_STATUS(fastbp_pull_back(w->pass, l, twice, s->of->widths[l]), FASTBP_OK);
        for (size_t i = 0; i < n; ++i) g[i] *= 2;
        CHECK(near(twice, g, n, 1e-12), "%s: pull_back", s->of->name);
        free(g);
        free(twice);
    }
    CHECK_STATUS(fastbp_pull_back(w->pass, 0, NULL, 0), FASTBP_ERR_ARGUMENT);
}

static void check_case(const case_t *of) {
    work_t w;
    if (of->precision != FASTBP_HIGHEST) return;
    begin(&w, of);
    if (!of->sparse) {
        check_samples(&w);
        check_relevance(&w);
        check_along_theta(&w);
    } else {
        CHECK_STATUS(fastbp_sample_gradients(w.pass, w.grad), FASTBP_ERR_ARGUMENT);
        CHECK_STATUS(fastbp_hvp(w.pass, w.s.theta, w.grad, w.grad), FASTBP_ERR_ARGUMENT);
    }
    check_pull_back(&w);
    check_jacobian(&w);
    end(&w);
}

void check_derivatives(void) { for_each_case(check_case); }
