/* alike.c: see alike.h. */
#include "alike.h"

#include "update.h"

#include <math.h>
#include <string.h>

static bool plain_layers(const fastbp_net_t *net) {
    for (int i = 0; i < net->n_layers; ++i) {
        const fbp_layer_t *layer = &net->layer[i];
        const bool hidden_rows = i < net->n_layers - 1 && layer->act == FASTBP_ACT_SOFTMAX;
        if (!layer->plain || layer->frozen || layer->has.non_negative || hidden_rows) return false;
    }
    return !net->has_max_norm && !net->has_scale && !net->has_embedding && net->input_dropout == 0;
}

bool fbp_can_interleave(const fastbp_fit_t *fit) {
    const fastbp_net_t *net = fit->plan.net;
    const fastbp_optimizer_t *o = fit->optimizer;
    const int lanes = net->kernels->lanes;
    return lanes > 1 && lanes <= FBP_MOST_LANES && plain_layers(net) && net->loss.fn == NULL &&
           fit->plan.factors.kind == FBP_FACTORS_OWN && !fit->batch.sparse && !fit->in_parts &&
           !fbp_needs_gradient(o) && o->lr_factors == NULL && fit->teams == NULL;
}

static int order_of(ptrdiff_t a, ptrdiff_t b) { return (a > b) - (a < b); }

/* Everything that must be equal, as numbers; `layer` counts from 0, and −1 stands for the rest. */
enum { SHAPE_NUMBERS = 12 };

static void shape_of(const fastbp_fit_t *fit, int layer, ptrdiff_t out[SHAPE_NUMBERS]) {
    const fastbp_net_t *net = fit->plan.net;
    const fastbp_optimizer_t *o = fit->optimizer;
    memset(out, 0, SHAPE_NUMBERS * sizeof *out);
    if (layer >= 0) {
        const fbp_layer_t *at = &net->layer[layer];
        const bool hidden = layer < net->n_layers - 1;
        out[0] = at->n_in;
        out[1] = at->n_out;
        out[2] = at->has.no_bias;
        out[3] = hidden ? at->act : 0;
        memcpy(&out[4], &at->alpha, hidden ? sizeof at->alpha : 0);
        return;
    }
    out[0] = net->n_layers;
    out[1] = (ptrdiff_t)net->dtype;
    out[2] = fit->data.rows;
    out[3] = fit->options.batch_size;
    out[4] = fit->place.first;
    out[5] = (ptrdiff_t)o->rule;
    out[6] = o->weight_decay != 0;
    out[7] = o->maximize;
    out[8] = (ptrdiff_t)o->clip;
    out[9] = o->dampening != 0;
    out[10] = o->average != NULL;
    out[11] = net->l1 != 0 || net->l2 != 0;
}

int fbp_compare_shapes(const fastbp_fit_t *a, const fastbp_fit_t *b) {
    for (int layer = -1; layer < a->plan.net->n_layers; ++layer) {
        ptrdiff_t of_a[SHAPE_NUMBERS], of_b[SHAPE_NUMBERS];
        shape_of(a, layer, of_a);
        shape_of(b, layer, of_b);
        for (int i = 0; i < SHAPE_NUMBERS; ++i)
            if (of_a[i] != of_b[i]) return order_of(of_a[i], of_b[i]);
    }
    return order_of((ptrdiff_t)a->plan.net->kernels, (ptrdiff_t)b->plan.net->kernels);
}

static bool has_terms(const fastbp_fit_t *fit) {
    const fbp_net_loss_t *loss = &fit->plan.net->loss;
    const int act = fit->plan.net->layer[fit->plan.net->n_layers - 1].act;
    if (fit->batch.labels || loss->masked || loss->formula != NULL || act == FASTBP_ACT_SOFTMAX)
        return false;
    switch (loss->code) {
#define TERM(CODE)                                                                                 \
    case FASTBP_LOSS_##CODE: return true;
#define ROWS(CODE)
#define BOTH ROWS
#define CASE(CODE, name, value, ...) value(CODE)
        FASTBP_LOSSES(CASE)
#undef CASE
#undef BOTH
#undef ROWS
#undef TERM
    case FASTBP_LOSS_BINARY_CROSS_ENTROPY: return loss->n_params == 0;
    default: return false;
    }
}

bool fbp_same_terms(const fastbp_fit_t *a, const fastbp_fit_t *b) {
    const fbp_net_loss_t *x = &a->plan.net->loss, *y = &b->plan.net->loss;
    const fbp_layer_t *last = &a->plan.net->layer[a->plan.net->n_layers - 1];
    const fbp_layer_t *other = &b->plan.net->layer[b->plan.net->n_layers - 1];
    const size_t bytes = (size_t)x->n_params * a->plan.net->kernels->elem_size;
    return has_terms(b) && x->code == y->code && x->fused == y->fused &&
           x->n_params == y->n_params && (bytes == 0 || memcmp(x->params, y->params, bytes) == 0) &&
           last->act == other->act && last->alpha == other->alpha;
}

/* ---- how long a step takes ---- */

/* What a step consists of, in vectors: multiply-adds, evaluations of σ and σ', parameters. lanes =
 * 1 counts a group, in which every element is a vector. */
typedef struct {
    double products, slopes, params;
} step_counts_t;

static step_counts_t count_step(const fastbp_net_t *net, ptrdiff_t batch, ptrdiff_t lanes) {
    enum { DEAR = 9 }; /* an exponential, relative to a comparison */
    const double rows = (double)batch;
    step_counts_t counts = {.params = (double)net->n_params / (double)lanes};
    for (int i = 0; i < net->n_layers; ++i) {
        const fbp_layer_t *layer = &net->layer[i];
        const bool cheap = fbp_act_is_straight(layer->act), hidden = i < net->n_layers - 1;
        const double ins = (double)layer->n_in, outs = (double)layer->n_out;
        const double vectors = (double)fbp_ceil_div(layer->n_out, lanes);
        const double below = (double)fbp_ceil_div(layer->n_in, lanes);
        counts.products += rows * (2 * ins * vectors + (i > 0 ? outs * below : 0));
        counts.slopes += hidden ? rows * vectors * (cheap ? 1 : DEAR) : 0;
    }
    return counts;
}

/* Nanoseconds on Zen 5, fitted to 20 shapes, each on AVX2 and AVX-512; the ratio of the two is
 * within 10 % of the measured one for most of them, and other processors change both alike. A
 * session alone pays for calls, by layer and row; a group for loading each row, and for parameters
 * that do not fit L2. */
double fbp_alone_seconds(const fastbp_fit_t *fit) {
    const fastbp_net_t *net = fit->plan.net;
    const ptrdiff_t rows = fbp_min(fit->options.batch_size, fit->data.rows);
    const step_counts_t n = count_step(net, rows, net->kernels->lanes);
    const double calls = 230.0 * net->n_layers + (double)rows * (11 + 1.3 * net->n_layers);
    return 1e-9 * (0.125 * n.products + 0.29 * n.slopes + 3.2 * n.params + calls);
}

double fbp_group_seconds(const fastbp_fit_t *fit, ptrdiff_t members) {
    const fastbp_net_t *net = fit->plan.net;
    const ptrdiff_t rows = fbp_min(fit->options.batch_size, fit->data.rows);
    const step_counts_t n = count_step(net, rows, 1);
    const double vector = (double)net->kernels->lanes * (double)net->kernels->elem_size;
    double units = 0;
    for (int l = 0; l <= net->n_layers; ++l) units += 2 * (double)fbp_width(net, l);
    const double bytes = vector * (3 * n.params + (double)rows * units);
    const double over = fmax(0, bytes - 0.75 * (double)net->machine->l2) / FBP_CACHE_LINE;
    const double calls = (double)members * (13.0 * net->n_layers + 8.6 * (double)rows);
    return 1e-9 * (0.14 * n.products + 0.3 * n.slopes + 4 * n.params + 0.72 * over + calls);
}
