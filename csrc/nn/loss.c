/* loss.c: see loss.h. */
#include "loss.h"

#include <stdlib.h>

static bool is_pair(int act, fastbp_loss_t loss) {
    switch (loss) {
    case FASTBP_LOSS_CROSS_ENTROPY:
    case FASTBP_LOSS_KL_DIVERGENCE:
    case FASTBP_LOSS_FOCAL: return act == FASTBP_ACT_SOFTMAX;
    case FASTBP_LOSS_BINARY_CROSS_ENTROPY:
    case FASTBP_LOSS_BINARY_FOCAL: return act == FASTBP_ACT_SIGMOID;
    default: return false;
    }
}

bool fbp_loss_valid(const fastbp_spec_t *spec) {
    const long n_out = spec->widths[spec->n_layers], targets = spec->n_targets;
    const int n = spec->n_loss_params;
    const bool as_wide = targets == n_out;
    const bool pair = is_pair(spec->activations[spec->n_layers - 1], spec->loss);
    switch (spec->loss) {
    case FASTBP_LOSS_CROSS_ENTROPY: return as_wide && (n == 0 || n == 1 + n_out);
    case FASTBP_LOSS_BINARY_CROSS_ENTROPY: return as_wide && (n == 0 || n == n_out);
    case FASTBP_LOSS_HUBER: return as_wide && n == 1 && spec->loss_params[0] > 0;
    case FASTBP_LOSS_POISSON:
    case FASTBP_LOSS_MULTI_MARGIN: return as_wide && n == 1;
    case FASTBP_LOSS_FOCAL: return as_wide && pair && n == 1 + n_out;
    case FASTBP_LOSS_BINARY_FOCAL: return as_wide && pair && n == 3;
    case FASTBP_LOSS_QUANTILE: return n >= 1 && n_out % n == 0 && targets == n_out / n;
    case FASTBP_LOSS_GAUSSIAN_NLL: return n == 0 && n_out % 2 == 0 && targets == n_out / 2;
    case FASTBP_LOSS_MARGIN_RANKING: return n == 1 && targets == 0;
    case FASTBP_LOSS_CUSTOM: return n == 0 && targets >= 1 && spec->loss_fn != NULL;
    default: return as_wide && n == 0;
    }
}

bool fbp_loss_init(fastbp_net_t *net, const fastbp_spec_t *spec) {
    const int n = spec->n_loss_params;
    net->loss = spec->loss;
    net->fused = is_pair(spec->activations[spec->n_layers - 1], spec->loss);
    net->n_targets = spec->n_targets;
    net->n_loss_params = n;
    net->group = spec->loss == FASTBP_LOSS_MARGIN_RANKING ? 2 : 1;
    net->loss_fn = spec->loss == FASTBP_LOSS_CUSTOM ? spec->loss_fn : NULL;
    net->loss_context = spec->loss_context;
    if (n == 0) return true;
    net->loss_params = calloc((size_t)n, sizeof(double));
    if (net->loss_params == NULL) return false;
    for (int i = 0; i < n; ++i)
        if (net->dtype == FASTBP_F32) ((float *)net->loss_params)[i] = (float)spec->loss_params[i];
        else ((double *)net->loss_params)[i] = spec->loss_params[i];
    return true;
}

bool fbp_loss_takes_labels(fastbp_loss_t loss) {
    return loss == FASTBP_LOSS_CROSS_ENTROPY || loss == FASTBP_LOSS_FOCAL ||
           loss == FASTBP_LOSS_MULTI_MARGIN;
}

bool fbp_loss_weighs_classes(const fastbp_net_t *net) {
    return net->loss == FASTBP_LOSS_CROSS_ENTROPY && net->n_loss_params > 0;
}

double fbp_class_weight(const fastbp_net_t *net, long label) {
    return net->dtype == FASTBP_F32 ? (double)((const float *)net->loss_params)[1 + label]
                                    : ((const double *)net->loss_params)[1 + label];
}
