/* muon.c: see muon.h. */
#include "muon.h"

#include <math.h>

/* Rows of X, of G and of W that one task computes: four register tiles of 14 rows on AVX-512. */
enum { STRIP_ROWS = 56 };

/* The least norm by which a direction is divided, as in torch.optim.Muon. */
#define LEAST_NORM 1e-7

/* Phases before the iterations, of one iteration, and after them. */
enum { SQUARES, SCALE, FIRST };
enum { GRAM, POLYNOMIAL, PRODUCT, EACH };

static void list_rows(const fastbp_net_t *net, const void *at, ptrdiff_t rows, ptrdiff_t cols,
                      const void **list) {
    for (ptrdiff_t i = 0; i < rows; ++i) list[i] = fbp_at(net, at, (size_t)(i * cols));
}

static const void **take_list(fbp_arena_t *arena, ptrdiff_t rows) {
    return fbp_arena_take(arena, (size_t)rows, sizeof(const void *));
}

void fbp_muon_carve(fbp_muon_t *muon, const fastbp_net_t *net, fbp_arena_t *arena) {
    const size_t elem = net->kernels->elem_size;
    muon->net = net;
    muon->matrix = fbp_arena_take(arena, (size_t)net->n_layers, sizeof *muon->matrix);
    muon->direction = fbp_arena_take(arena, net->n_params, elem);
    muon->other = fbp_arena_take(arena, net->n_params, elem);
    for (int i = 0; i < net->n_layers; ++i) {
        const fbp_layer_t *layer = &net->layer[i];
        fbp_matrix_t m = {.rows = fbp_max(layer->n_in, layer->n_out),
                          .cols = fbp_min(layer->n_in, layer->n_out),
                          .turned = layer->n_in < layer->n_out};
        const size_t square = (size_t)m.cols * (size_t)m.cols;
        m.gram = fbp_arena_take(arena, square, elem);
        m.poly = fbp_arena_take(arena, square, elem);
        m.row[0] = take_list(arena, m.rows);
        m.row[1] = take_list(arena, m.rows);
        m.of_gram = take_list(arena, m.cols);
        m.square =
            fbp_arena_take(arena, (size_t)fbp_ceil_div(layer->n_in, STRIP_ROWS), sizeof *m.square);
        if (muon->matrix == NULL || m.square == NULL) continue; /* it only counts */
        m.x[0] = fbp_at(net, muon->other, layer->w);
        m.x[1] = fbp_at(net, muon->direction, layer->w);
        list_rows(net, m.x[0], m.rows, m.cols, m.row[0]);
        list_rows(net, m.x[1], m.rows, m.cols, m.row[1]);
        list_rows(net, m.gram, m.cols, m.cols, m.of_gram);
        muon->matrix[i] = m;
    }
}

/* ---- tasks ---- */

/* Of what the tasks of a phase are strips: the rows of W, of G, or of X. */
static ptrdiff_t rows_of(const fbp_muon_t *muon, int phase, int iterations, int layer) {
    const fbp_matrix_t *m = &muon->matrix[layer];
    if (muon->net->layer[layer].frozen) return 0;
    if (phase < FIRST || phase == FIRST + EACH * iterations) return muon->net->layer[layer].n_in;
    return (phase - FIRST) % EACH == PRODUCT ? m->rows : m->cols;
}

int fbp_muon_phases(int iterations) { return FIRST + EACH * iterations + 1; }

ptrdiff_t fbp_muon_tasks(const fbp_muon_t *muon, int phase, int iterations) {
    ptrdiff_t tasks = 0;
    for (int i = 0; i < muon->net->n_layers; ++i)
        tasks += fbp_ceil_div(rows_of(muon, phase, iterations, i), STRIP_ROWS);
    return tasks;
}

/* ---- phases ---- */

/* One strip of a layer: rows row0 … row0 + rows − 1 of W, of G or of X. */
typedef struct {
    const fastbp_net_t *net;
    const fbp_layer_t *layer;
    const fbp_matrix_t *m;
    ptrdiff_t row0, rows;
    int x; /* which of m->x has X */
    void *pack;
} strip_t;

static void *row_at(const strip_t *s, void *matrix, ptrdiff_t row, ptrdiff_t cols) {
    return fbp_at(s->net, matrix, (size_t)(row * cols));
}

static void sum_squares(const strip_t *s) {
    const ptrdiff_t n = s->layer->n_out;
    const fbp_mat_t w = {row_at(s, s->m->x[1], s->row0, n), s->rows, n, n};
    s->m->square[s->row0 / STRIP_ROWS] = s->net->kernels->penalty(&w, 0, 2);
}

/* x[0] = X/‖X‖. */
static void scale(const strip_t *s) {
    const ptrdiff_t n = s->layer->n_out, n_in = s->layer->n_in;
    double square = 0;
    for (ptrdiff_t i = 0; i < fbp_ceil_div(n_in, STRIP_ROWS); ++i) square += s->m->square[i];
    void *at = row_at(s, s->m->x[1], s->row0, n);
    const fbp_mat_t w = {at, s->rows, n, n};
    const fbp_update_t by = {.grad_scale = 1 / fmax(sqrt(square), LEAST_NORM)};
    if (!s->m->turned) {
        s->net->kernels->write_gradient(&by, &w, row_at(s, s->m->x[0], s->row0, n), n);
        return;
    }
    s->net->kernels->write_gradient(&by, &w, at, n);
    s->net->kernels->transpose(&w, fbp_at(s->net, s->m->x[0], (size_t)s->row0), n_in);
}

/* C[rows, cols] of a product by the rows of A, or by its columns from row0 on if it is by_columns.
 */
static void multiply(const strip_t *s, const void *const *a, bool by_columns, const void *b,
                     ptrdiff_t k, void *c) {
    const ptrdiff_t cols = s->m->cols;
    const fbp_gemm_t product = {
        .c = row_at(s, c, s->row0, cols),
        .ldc = cols,
        .a = by_columns ? a : a + s->row0,
        .a_offset = by_columns ? s->row0 : 0,
        .b = b,
        .ldb = cols,
        .m = s->rows,
        .n = cols,
        .k = k,
        .epi = FBP_EPI_NONE,
        .blocking = s->net->blocking,
        .pack = s->pack,
    };
    if (by_columns) s->net->kernels->gemm_tn(&product);
    else s->net->kernels->gemm_nn(&product);
}

/* to[rows, cols] = p·to + q·from, for this strip. */
static void combine(const strip_t *s, double p, void *to, double q, const void *from) {
    const ptrdiff_t cols = s->m->cols;
    void *at = row_at(s, to, s->row0, cols);
    const fbp_mat_t sums = {at, s->rows, cols, cols};
    const fbp_update_t by = {.grad_scale = p,
                             .l2 = q,
                             .weights = fbp_at(s->net, from, (size_t)(s->row0 * cols)),
                             .ldw = cols};
    s->net->kernels->write_gradient(&by, &sums, at, cols);
}

/* The strip of W of the result: its columns of X, if X is transposed, into the other buffer. */
static void turn_back(const strip_t *s) {
    const fbp_matrix_t *m = s->m;
    if (!m->turned) return;
    const fbp_mat_t columns = {fbp_at(s->net, m->x[s->x], (size_t)s->row0), m->rows, s->rows,
                               m->cols};
    s->net->kernels->transpose(&columns, row_at(s, m->x[!s->x], s->row0, m->rows), m->rows);
}

static void run_phase(const strip_t *s, int phase, const fastbp_optimizer_t *o) {
    const fbp_matrix_t *m = s->m;
    void *x = m->x[s->x], *next = m->x[!s->x];
    switch (phase) {
    case GRAM: multiply(s, m->row[s->x], true, x, m->rows, m->gram); break;
    case POLYNOMIAL:
        multiply(s, m->of_gram, false, m->gram, m->cols, m->poly);
        combine(s, o->quintic, m->poly, o->cubic, m->gram);
        break;
    case PRODUCT:
        multiply(s, m->row[s->x], false, m->poly, m->cols, next);
        combine(s, 1, next, o->linear, x);
        break;
    default: break;
    }
}

void fbp_muon_task(const fbp_muon_t *muon, int phase, ptrdiff_t task, const fastbp_optimizer_t *o,
                   void *pack) {
    const int iterations = (int)o->iterations;
    strip_t s = {.net = muon->net, .pack = pack};
    for (int i = 0; i < muon->net->n_layers; ++i) {
        const ptrdiff_t rows = rows_of(muon, phase, iterations, i);
        const ptrdiff_t strips = fbp_ceil_div(rows, STRIP_ROWS);
        if (task >= strips) {
            task -= strips;
            continue;
        }
        s.layer = &muon->net->layer[i];
        s.m = &muon->matrix[i];
        s.row0 = task * STRIP_ROWS;
        s.rows = fbp_min(STRIP_ROWS, rows - s.row0);
        break;
    }
    if (phase == SQUARES) sum_squares(&s);
    else if (phase == SCALE) scale(&s);
    else {
        s.x = (phase - FIRST) / EACH % 2;
        if (phase == FIRST + EACH * iterations) turn_back(&s);
        else run_phase(&s, (phase - FIRST) % EACH, o);
    }
}

const void *fbp_muon_result(const fbp_muon_t *muon, int i, int iterations) {
    const bool second = (iterations % 2 != 0) != muon->matrix[i].turned;
    return second ? muon->direction : muon->other;
}
