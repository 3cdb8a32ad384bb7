/* loss.h: what the engine knows about the loss of a network: its parameters, its targets, and
 * whether it forms a pair with the output activation. */
#ifndef FASTBP_NN_LOSS_H
#define FASTBP_NN_LOSS_H

#include "formula.h"

typedef enum { FBP_NEVER, FBP_MAY, FBP_MUST } fbp_permission_t;

enum { FBP_SEVERAL = -1 };

/* The facts in the row of a loss in lists.h. */
typedef struct {
    int outputs; /* outputs per column of the targets; FBP_SEVERAL: the number of parameters; 0: the
                    loss has no targets */
    int group;   /* rows that form one sample; 0 means 1 */
    fbp_permission_t fused; /* whether δ^L is computed from z^L, with `pair` on the output */
    fastbp_activation_t pair;
    fbp_permission_t labels; /* whether targets are class indices */
    int params;              /* number of parameters; FBP_SEVERAL: one or more */
    int params_each;         /* number of further parameters per output */
    bool params_optional;    /* there may also be no parameters */
    bool positive;           /* the first parameter must be > 0 */
    bool masks;              /* it is a sum over targets, so NaN may stand for one */
    bool weighs_classes;     /* parameters 1 … n_L are the weights of the classes in S */
} fbp_loss_facts_t;

const fbp_loss_facts_t *fbp_loss_facts(fastbp_loss_t loss);

typedef struct {
    fastbp_loss_t code;
    bool fused;   /* a pair with the output activation: δ^L is computed from z^L directly */
    void *params; /* n_params elements of the network's dtype, or NULL */
    int n_params;
    ptrdiff_t n_targets; /* elements in a row of dense targets */
    ptrdiff_t group;     /* rows that form one sample and stay together: 2 for pairs, otherwise 1 */
    bool masked;         /* NaN in dense targets stands for a target that is not known */
    fastbp_loss_fn fn;   /* the caller's own loss, or NULL */
    void *context;
    fbp_loss_formula_t *formula; /* the loss as programs, or NULL */
} fbp_net_loss_t;

/* Whether the parameters and n_targets of the spec are what its loss and output layer require. */
bool fbp_loss_valid(const fastbp_spec_t *spec);

/* Fills *loss from a valid spec. FASTBP_ERR_ARGUMENT if a program is not valid, FASTBP_ERR_MEMORY
 * if there is no memory; fbp_loss_free frees what was made. */
fastbp_status_t fbp_loss_init(fbp_net_loss_t *loss, const fastbp_spec_t *spec);
void fbp_loss_free(fbp_net_loss_t *loss);

/* Whether a sample counts in S with the weight of its class, and that weight. */
bool fbp_loss_weighs_classes(const fbp_net_loss_t *loss);
double fbp_class_weight(const fbp_net_loss_t *loss, fastbp_dtype_t dtype, ptrdiff_t label);

#endif
