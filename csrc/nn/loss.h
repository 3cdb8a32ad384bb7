/* loss.h: what the engine knows about the loss of a network: its parameters, its targets, and
 * whether it forms a pair with the output activation. */
#ifndef FASTBP_NN_LOSS_H
#define FASTBP_NN_LOSS_H

#include "../fastbp.h"

typedef struct {
    fastbp_loss_t code;
    bool fused;   /* a pair with the output activation: δ^L is computed from z^L directly */
    void *params; /* n_params elements of the network's dtype, or NULL */
    int n_params;
    long n_targets;    /* elements in a row of dense targets */
    long group;        /* rows that form one sample and stay together: 2 for pairs, otherwise 1 */
    fastbp_loss_fn fn; /* the caller's own loss, or NULL */
    void *context;
} fbp_net_loss_t;

/* Whether the parameters and n_targets of the spec are what its loss and output layer require. */
bool fbp_loss_valid(const fastbp_spec_t *spec);

/* Fills *loss from a valid spec; false if there is no memory. */
bool fbp_loss_init(fbp_net_loss_t *loss, const fastbp_spec_t *spec);
void fbp_loss_free(fbp_net_loss_t *loss);

/* Whether the targets may be class indices. */
bool fbp_loss_takes_labels(fastbp_loss_t code);

/* Whether a sample counts in S with the weight of its class, and that weight. */
bool fbp_loss_weighs_classes(const fbp_net_loss_t *loss);
double fbp_class_weight(const fbp_net_loss_t *loss, fastbp_dtype_t dtype, long label);

#endif
