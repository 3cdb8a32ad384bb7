/* specs.h: networks and their data decoded from bytes. */
#ifndef SPECS_H
#define SPECS_H

#include "fuzz.h"

enum { MOST_LAYERS = 5 };

/* A specification with the arrays that it points to. It may be invalid in any number. */
typedef struct {
    fastbp_spec_t spec;
    bool tame; /* no number is forged, and none is special */
} made_t;

made_t *take_spec(input_t *in);

/* A network that is small enough to be run, or NULL. The caller frees it. */
fastbp_net_t *take_network(input_t *in, made_t **made);

/* x, targets or labels, and weights for some rows, in blocks of exact size. Some fields are forged
 * where fastbp.h says that the engine checks them. */
fastbp_data_t take_data(input_t *in, const made_t *made, ptrdiff_t rows);

/* Whether `data` has what fastbp.h requires of targets for this loss. */
ptrdiff_t width_of(const made_t *made, int layer);

#endif
