/* loss.c: see loss.h. */
#include "loss.h"

#include "../base/common.h"

#include <stdlib.h>

const fbp_loss_facts_t *fbp_loss_facts(fastbp_loss_t loss) {
    static const fbp_loss_facts_t facts[FASTBP_LOSS_COUNT] = {
#define FACTS(CODE, name, value, curve, ...) [FASTBP_LOSS_##CODE] = {__VA_ARGS__},
        FASTBP_LOSSES(FACTS)
#undef FACTS
            [FASTBP_LOSS_FORMULA] = {.outputs = 1, .labels = FBP_MAY},
    };
    return &facts[loss];
}

static bool is_fused(const fastbp_spec_t *spec) {
    const fbp_loss_facts_t *facts = fbp_loss_facts(spec->loss);
    return facts->fused != FBP_NEVER && spec->activations[spec->n_layers - 1] == (int)facts->pair;
}

static bool params_fit(const fastbp_spec_t *spec, const fbp_loss_facts_t *facts) {
    const ptrdiff_t n = spec->n_loss_params, n_out = spec->widths[spec->n_layers];
    if (facts->positive && !(n >= 1 && spec->loss_params[0] > 0)) return false;
    if (facts->params == FBP_SEVERAL) return n >= 1;
    if (facts->params_optional && n == 0) return true;
    const ptrdiff_t each = facts->params_each, rest = n - facts->params;
    return each == 0 ? rest == 0
                     : rest % each == 0 && rest / each == n_out; /* n_out is of any size */
}

bool fbp_loss_valid(const fastbp_spec_t *spec) {
    const fbp_loss_facts_t *facts = fbp_loss_facts(spec->loss);
    const ptrdiff_t n_out = spec->widths[spec->n_layers], targets = spec->n_targets;
    if (!params_fit(spec, facts) || (spec->ignore_nan && !facts->masks)) return false;
    if ((spec->loss_formula != NULL) != (spec->loss == FASTBP_LOSS_FORMULA)) return false;
    if (spec->loss == FASTBP_LOSS_CUSTOM) return targets >= 1 && spec->loss_fn != NULL;
    if (facts->fused == FBP_MUST && !is_fused(spec)) return false;
    if (facts->outputs == 0) return targets == 0;
    const ptrdiff_t each = facts->outputs == FBP_SEVERAL ? spec->n_loss_params : facts->outputs;
    return n_out % each == 0 && targets == n_out / each;
}

fastbp_status_t fbp_loss_init(fbp_net_loss_t *loss, const fastbp_spec_t *spec) {
    const int n = spec->n_loss_params;
    *loss = (fbp_net_loss_t){
        .code = spec->loss,
        .fused = is_fused(spec),
        .n_params = n,
        .n_targets = spec->n_targets,
        .masked = spec->ignore_nan,
        .group = fbp_max(1, fbp_loss_facts(spec->loss)->group),
        .fn = spec->loss == FASTBP_LOSS_CUSTOM ? spec->loss_fn : NULL,
        .context = spec->loss_context,
    };
    if (spec->loss_formula != NULL)
        return fbp_loss_formula_new(&loss->formula, spec->loss_formula, spec->dtype);
    if (n == 0) return FASTBP_OK;
    loss->params = calloc((size_t)n, sizeof(double));
    if (loss->params == NULL) return FASTBP_ERR_MEMORY;
    for (int i = 0; i < n; ++i)
        if (spec->dtype == FASTBP_F32) ((float *)loss->params)[i] = (float)spec->loss_params[i];
        else ((double *)loss->params)[i] = spec->loss_params[i];
    return FASTBP_OK;
}

void fbp_loss_free(fbp_net_loss_t *loss) {
    free(loss->params);
    fbp_loss_formula_free(loss->formula);
    *loss = (fbp_net_loss_t){0};
}

bool fbp_loss_weighs_classes(const fbp_net_loss_t *loss) {
    return fbp_loss_facts(loss->code)->weighs_classes && loss->n_params > 0;
}

double fbp_class_weight(const fbp_net_loss_t *loss, fastbp_dtype_t dtype, ptrdiff_t label) {
    return dtype == FASTBP_F32 ? (double)((const float *)loss->params)[1 + label]
                               : ((const double *)loss->params)[1 + label];
}
