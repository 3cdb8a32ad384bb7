/* predict.h: buffers that a network keeps for predicting a few rows without an allocation. */
#ifndef FASTBP_NN_PREDICT_H
#define FASTBP_NN_PREDICT_H

#include "rows.h"

/* NULL when memory is short: predicting then allocates. */
struct fbp_infer_cache *fbp_infer_cache_new(void);
void fbp_infer_cache_free(struct fbp_infer_cache *cache);

#endif
