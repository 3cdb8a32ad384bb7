/* batch.c: see batch.h. */
#include "batch.h"

#include <math.h>
#include <string.h>

void fbp_batch_describe(fbp_batch_t *batch, const fastbp_data_t *data) {
    batch->rows = data->rows;
    batch->sparse = data->indptr != NULL;
    batch->labels = data->labels != NULL;
    batch->weighted = data->weights != NULL;
}

fastbp_status_t fbp_batch_accept(fbp_plan_t *plan, const fastbp_data_t *data) {
    if (data->x == NULL || (unsigned)data->x_type >= FASTBP_X_COUNT) return FASTBP_ERR_ARGUMENT;
    if (data->indptr != NULL) {
        const bool whole_rows = plan->net->input_dropout > 0 || plan->net->layer[0].has.residual ||
                                plan->net->has_embedding;
        if (data->x_type != FASTBP_X_OWN || data->indices == NULL || whole_rows)
            return FASTBP_ERR_ARGUMENT;
        return fbp_plan_add_sparse(plan);
    }
    const fastbp_status_t status = fbp_plan_add_factors(plan);
    if (status != FASTBP_OK || data->x_type == FASTBP_X_OWN) return status;
    return fbp_plan_add_input(plan);
}

static size_t x_size(const fastbp_net_t *net, const fastbp_data_t *data) {
    static const size_t size[FASTBP_X_COUNT] = {
#define SIZE(CODE, name, ctype, value) [FASTBP_X_##CODE] = sizeof(ctype),
        FASTBP_ELEMENTS(SIZE)
#undef SIZE
    };
    return data->x_type == FASTBP_X_OWN ? net->kernels->elem_size : size[data->x_type];
}

bool fbp_targets_fit(const fastbp_net_t *net, const fastbp_data_t *data) {
    const fbp_permission_t labels = fbp_loss_facts(net->loss.code)->labels;
    if (data->labels != NULL) return labels != FBP_NEVER && data->targets == NULL;
    if (net->loss.group > 1) return data->targets == NULL && data->rows % net->loss.group == 0;
    return data->targets != NULL && labels != FBP_MUST;
}

/* Converts a sample of x that has another type; the address of the converted row. */
static const void *input_row(const fbp_plan_t *plan, const fastbp_data_t *data, const void *x,
                             ptrdiff_t i) {
    const fastbp_net_t *net = plan->net;
    void *row = fbp_at(net, plan->input.at, (size_t)i * (size_t)plan->input.ld);
    net->kernels->convert((int)data->x_type, net->n_x, x, row);
    return row;
}

static fbp_sparse_row_t sparse_row(const fastbp_data_t *data, size_t elem_size, ptrdiff_t at) {
    const int64_t begin = data->indptr[at];
    return (fbp_sparse_row_t){(const unsigned char *)data->x + (size_t)begin * elem_size,
                              data->indices + begin, (ptrdiff_t)(data->indptr[at + 1] - begin)};
}

/* The label of a sample, or 0 if it is out of range. It is read only once: another thread may write
 * to the caller's array after the check, which must not lead outside a row of outputs. */
static int32_t label_of(const fbp_batch_t *batch, const fastbp_data_t *data, ptrdiff_t at) {
    const fastbp_net_t *net = batch->plan->net;
    const int32_t label = *(const volatile int32_t *)&data->labels[at];
    return label >= 0 && label < net->layer[net->n_layers - 1].n_out ? label : 0;
}

/* The share of a row's targets that are not NaN. */
static double known_share(const fastbp_net_t *net, const void *targets) {
    const ptrdiff_t n = net->loss.n_targets;
    ptrdiff_t known = 0;
    if (net->dtype == FASTBP_F32)
        for (ptrdiff_t k = 0; k < n; ++k) known += !isnan(((const float *)targets)[k]);
    else
        for (ptrdiff_t k = 0; k < n; ++k) known += !isnan(((const double *)targets)[k]);
    return (double)known / (double)n;
}

void fbp_batch_load(const fbp_batch_t *batch, const fastbp_data_t *data, const uint32_t *order,
                    ptrdiff_t first, ptrdiff_t row0, ptrdiff_t rows) {
    fbp_plan_t *plan = batch->plan;
    const size_t elem_size = plan->net->kernels->elem_size;
    const ptrdiff_t x_stride = (ptrdiff_t)data->ldx * (ptrdiff_t)x_size(plan->net, data);
    const ptrdiff_t y_stride = (ptrdiff_t)data->ldy * (ptrdiff_t)elem_size;
    const unsigned char *x = data->x, *y = data->targets, *weights = data->weights;
    unsigned char *weight = plan->weight;
    const void **x_row = plan->x_row != NULL ? plan->x_row : plan->a[0].row;
    for (ptrdiff_t i = row0; i < row0 + rows; ++i) {
        const ptrdiff_t at = order != NULL ? (ptrdiff_t)order[i] : (ptrdiff_t)(first + i);
        if (data->indptr != NULL) plan->sparse[i] = sparse_row(data, elem_size, at);
        else if (x != NULL && data->x_type == FASTBP_X_OWN) x_row[i] = x + at * x_stride;
        else if (x != NULL) x_row[i] = input_row(plan, data, x + at * x_stride, i);
        if (y != NULL) plan->target[i] = y + at * y_stride;
        if (y != NULL && plan->known != NULL)
            plan->known[i] = known_share(plan->net, plan->target[i]);
        if (data->labels != NULL) plan->label[i] = label_of(batch, data, at);
        if (weights != NULL) {
            const size_t of = (size_t)(at - at % plan->net->loss.group); /* a sample's first row */
            memcpy(weight + (size_t)i * elem_size, weights + of * elem_size, elem_size);
        }
    }
}

/* Prefetches a row to the end of its last whole vector: a masked load waits for all of it. */
static void prefetch_row(const unsigned char *row, size_t bytes) {
    for (size_t at = 0; at < bytes; at += FBP_CACHE_LINE) FBP_PREFETCH_L2(row + at);
    FBP_PREFETCH_L2(row + (size_t)fbp_round_up((ptrdiff_t)bytes, FBP_CACHE_LINE) - 1);
}

void fbp_batch_prefetch(const fastbp_net_t *net, const fastbp_data_t *data, const uint32_t *order,
                        ptrdiff_t first, ptrdiff_t row0, ptrdiff_t rows) {
    const size_t size = net->kernels->elem_size, of_x = x_size(net, data);
    const ptrdiff_t x_stride = (ptrdiff_t)data->ldx * (ptrdiff_t)of_x;
    const ptrdiff_t y_stride = (ptrdiff_t)data->ldy * (ptrdiff_t)size;
    const size_t x_bytes = (size_t)net->n_x * of_x;
    const size_t y_bytes = (size_t)net->loss.n_targets * size;
    const unsigned char *x = data->x, *y = data->targets;
    for (ptrdiff_t i = row0; i < row0 + rows; ++i) {
        const ptrdiff_t at = order != NULL ? (ptrdiff_t)order[i] : (ptrdiff_t)(first + i);
        if (data->indptr == NULL) prefetch_row(x + at * x_stride, x_bytes);
        if (y != NULL) prefetch_row(y + at * y_stride, y_bytes);
    }
}

static double weight_of(const fbp_batch_t *batch, ptrdiff_t i) {
    const void *weight = batch->plan->weight;
    if (!batch->weighted) return 1;
    return batch->plan->net->dtype == FASTBP_F32 ? (double)((const float *)weight)[i]
                                                 : ((const double *)weight)[i];
}

/* Σ s_i with the weights of the samples' classes. */
static double class_weight_sum(const fbp_batch_t *batch) {
    const fastbp_net_t *net = batch->plan->net;
    double sum = 0;
    for (ptrdiff_t i = batch->from; i < batch->from + batch->rows; ++i)
        sum +=
            weight_of(batch, i) * fbp_class_weight(&net->loss, net->dtype, batch->plan->label[i]);
    return sum;
}

/* Σ s_i with the shares of the targets that are known. */
static double known_weight_sum(const fbp_batch_t *batch) {
    double sum = 0;
    for (ptrdiff_t i = batch->from; i < batch->from + batch->rows; ++i)
        sum += weight_of(batch, i) * batch->plan->known[i];
    return sum;
}

/* Both rows of a pair have the weight of the pair. */
double fbp_weight_sum(const fbp_batch_t *batch) {
    const fbp_net_loss_t *loss = &batch->plan->net->loss;
    const double group = (double)loss->group;
    if (batch->labels && fbp_loss_weighs_classes(loss)) return class_weight_sum(batch);
    if (loss->masked) return known_weight_sum(batch);
    if (!batch->weighted) return (double)batch->rows / group;
    double sum = 0;
    for (ptrdiff_t i = 0; i < batch->rows; ++i) sum += weight_of(batch, batch->from + i);
    return sum / group;
}

/* Four partial sums, because one chain of additions would take four cycles per row. */
double fbp_loss_sum(const fbp_batch_t *batch) {
    double part[4] = {0, 0, 0, 0};
    const double *loss = batch->plan->row_loss + batch->from;
    for (ptrdiff_t i = 0; i < batch->rows; ++i)
        part[i % 4] += weight_of(batch, batch->from + i) * loss[i];
    return (part[0] + part[1]) + (part[2] + part[3]);
}

void fbp_shuffle(const fastbp_net_t *net, uint32_t *order, ptrdiff_t rows, uint64_t seed,
                 ptrdiff_t epoch, ptrdiff_t block) {
    const ptrdiff_t group = net->loss.group, n = rows / group;
    const fbp_stream_t stream = {seed, FBP_STREAM_SHUFFLE, (uint32_t)epoch};
    for (ptrdiff_t i = 0; i < n; ++i) order[i] = (uint32_t)i;
    net->kernels->shuffle(&stream, block, n, order);
    if (group == 1) return;
    for (ptrdiff_t i = rows - 1; i >= 0; --i) /* from the back: order[i / group] is still unread */
        order[i] = order[i / group] * (uint32_t)group + (uint32_t)(i % group);
}
