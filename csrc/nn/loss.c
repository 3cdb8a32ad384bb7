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

bool fbp_loss_init(fbp_net_loss_t *loss, const fastbp_spec_t *spec) {
    const int n = spec->n_loss_params;
    *loss = (fbp_net_loss_t){
        .code = spec->loss,
        .fused = is_pair(spec->activations[spec->n_layers - 1], spec->loss),
        .n_params = n,
        .n_targets = spec->n_targets,
        .group = spec->loss == FASTBP_LOSS_MARGIN_RANKING ? 2 : 1,
        .fn = spec->loss == FASTBP_LOSS_CUSTOM ? spec->loss_fn : NULL,
        .context = spec->loss_context,
    };
    if (n == 0) return true;
    loss->params = calloc((size_t)n, sizeof(double));
    if (loss->params == NULL) return false;
    for (int i = 0; i < n; ++i)
        if (spec->dtype == FASTBP_F32) ((float *)loss->params)[i] = (float)spec->loss_params[i];
        else ((double *)loss->params)[i] = spec->loss_params[i];
    return true;
}

void fbp_loss_free(fbp_net_loss_t *loss) {
    free(loss->params);
    *loss = (fbp_net_loss_t){0};
}

bool fbp_loss_takes_labels(fastbp_loss_t code) {
    return code == FASTBP_LOSS_CROSS_ENTROPY || code == FASTBP_LOSS_FOCAL ||
           code == FASTBP_LOSS_MULTI_MARGIN;
}

bool fbp_loss_weighs_classes(const fbp_net_loss_t *loss) {
    return loss->code == FASTBP_LOSS_CROSS_ENTROPY && loss->n_params > 0;
}

double fbp_class_weight(const fbp_net_loss_t *loss, fastbp_dtype_t dtype, long label) {
    return dtype == FASTBP_F32 ? (double)((const float *)loss->params)[1 + label]
                               : ((const double *)loss->params)[1 + label];
}
