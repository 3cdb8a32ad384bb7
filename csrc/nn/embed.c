/* embed.c: see embed.h. */
#include "embed.h"

#include "categories.h"

#include <string.h>

/* The numbers first … first + numbers − 1 of the batch's rows from row0 on, as the kernels take
 * them. */
static fbp_periodic_t numbers_of(const fbp_batch_t *batch, ptrdiff_t row0, ptrdiff_t rows,
                                 ptrdiff_t first, ptrdiff_t numbers) {
    const fastbp_net_t *net = batch->plan->net;
    const fbp_layer_t *layer = &net->layer[0];
    const void *at[4];
    size_t each[4];
    fbp_embedding_sizes(&layer->has, each);
    for (int i = 0; i < 4; ++i)
        at[i] = fbp_at(net, batch->theta, layer->embedding[i] + (size_t)first * each[i]);
    return (fbp_periodic_t){
        .frequencies = layer->has.n_frequencies,
        .outputs = fbp_embedding_outputs(&layer->has),
        .rectified = layer->has.rectified,
        .keeps = layer->has.keeps,
        .frequency = at[0],
        .phase = at[1],
        .weight = at[2],
        .bias = at[3],
        .x = batch->plan->x_row + row0,
        .rows = rows,
        .first = first,
        .numbers = numbers,
    };
}

void fbp_embed_rows(const fbp_batch_t *batch, ptrdiff_t row0, ptrdiff_t rows) {
    const fbp_plan_t *plan = batch->plan;
    const fastbp_net_t *net = plan->net;
    const fastbp_layer_options_t *has = &net->layer[0].has;
    const fbp_rows_t *out = &plan->a[0];
    const size_t to = (size_t)(has->numbers * has->width), from = (size_t)has->numbers;
    const size_t bytes =
        (size_t)(net->n_x - has->numbers - net->n_tables) * net->kernels->elem_size;
    if (has->numbers > 0) {
        const fbp_periodic_t p = numbers_of(batch, row0, rows, 0, has->numbers);
        net->kernels->periodic_forward(&p, fbp_row_at(plan, out, row0), out->ld);
    }
    fbp_embed_categories(batch, row0, rows);
    for (ptrdiff_t i = row0; i < row0 + rows; ++i)
        memcpy(fbp_at(net, fbp_row_at(plan, out, i), to), fbp_at(net, plan->x_row[i], from), bytes);
}

ptrdiff_t fbp_embedding_sums(const fbp_batch_t *batch, const fbp_scratch_t *scratch,
                             const fbp_tile_t *tile, void *sums[4]) {
    const fbp_plan_t *plan = batch->plan;
    const fastbp_net_t *net = plan->net;
    const fbp_kernels_t *kernels = net->kernels;
    const bool unfolded = batch->weighted && !batch->fold_weights;
    ptrdiff_t first = 0;
    const ptrdiff_t count = fbp_tile_numbers(net, tile, &first);
    if (count == 0) return 0;
    const fbp_periodic_t p = numbers_of(batch, batch->from, batch->rows, first, count);
    size_t each[4], at = fbp_periodic_elems(kernels, p.frequencies, p.outputs);
    fbp_embedding_sizes(&net->layer[0].has, each);
    for (int i = 0; i < 4; at += (size_t)count * each[i++])
        sums[i] = fbp_at(net, scratch->embedding, at);
    kernels->periodic_sums(&p, plan->delta[0].row + batch->from,
                           unfolded ? fbp_at(net, plan->weight, (size_t)batch->from) : NULL,
                           scratch->embedding, sums);
    return count;
}
