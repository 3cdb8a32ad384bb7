/* loss.h: what a network has to know of its loss: parameters, width of the targets, pairs. */
#ifndef FASTBP_NN_LOSS_H
#define FASTBP_NN_LOSS_H

#include "net.h"

/* Whether parameters and n_targets are those that the loss and the output layer ask for. */
bool fbp_loss_valid(const fastbp_spec_t *spec);

/* Fills the fields of the loss; false when there is no memory. net->dtype is set. */
bool fbp_loss_init(fastbp_net_t *net, const fastbp_spec_t *spec);

/* Whether targets may be class indices. */
bool fbp_loss_takes_labels(fastbp_loss_t loss);

/* Whether S counts a sample of a class with the weight of that class, and that weight. */
bool fbp_loss_weighs_classes(const fastbp_net_t *net);
double fbp_class_weight(const fastbp_net_t *net, long label);

#endif
