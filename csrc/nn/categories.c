/* categories.c: see categories.h. */
#include "categories.h"

#include <string.h>

static fbp_category_t category_of(const fbp_batch_t *batch, ptrdiff_t row0, ptrdiff_t rows,
                                  int table) {
    const fastbp_net_t *net = batch->plan->net;
    const fbp_table_t *of = &net->table[table];
    return (fbp_category_t){
        .x = batch->plan->x_row + row0,
        .rows = rows,
        .column = net->n_x - net->n_tables + table,
        .table = fbp_at(net, batch->theta, of->at),
        .levels = of->levels,
        .width = of->width,
    };
}

void fbp_embed_categories(const fbp_batch_t *batch, ptrdiff_t row0, ptrdiff_t rows) {
    const fbp_plan_t *plan = batch->plan;
    const fastbp_net_t *net = plan->net;
    const fbp_rows_t *out = &plan->a[0];
    for (int c = 0; c < net->n_tables; ++c) {
        const fbp_category_t category = category_of(batch, row0, rows, c);
        void *to = fbp_at(net, fbp_row_at(plan, out, row0), (size_t)net->table[c].unit);
        net->kernels->category_forward(&category, to, out->ld);
    }
}

/* Replaces the code of each row by the number of its group, in the order of the first row of each,
 * and lists the codes of the groups; returns how many there are. A hash table finds them: a slot
 * holds the number of a group plus 1, and Fibonacci hashing (Knuth, TAOCP 3, 6.4) chooses it. */
static ptrdiff_t group_rows(const fbp_category_scratch_t *scratch, ptrdiff_t rows, int bits) {
    const size_t slots = (size_t)1 << bits, mask = slots - 1;
    int32_t *group = scratch->group, n = 0;
    memset(scratch->slot, 0, slots * sizeof *scratch->slot);
    for (ptrdiff_t i = 0; i < rows; ++i) {
        const int32_t code = group[i];
        if (code < 0) continue;
        size_t at = (size_t)((uint64_t)code * UINT64_C(0x9E3779B97F4A7C15) >> (64 - bits));
        while (scratch->slot[at] != 0 && scratch->code[scratch->slot[at] - 1] != code)
            at = (at + 1) & mask;
        if (scratch->slot[at] == 0) {
            scratch->code[n] = code;
            scratch->slot[at] = ++n;
        }
        group[i] = scratch->slot[at] - 1;
    }
    return n;
}

fbp_table_rows_t fbp_table_sums(const fbp_batch_t *batch, const fbp_scratch_t *scratch, int table) {
    const fbp_plan_t *plan = batch->plan;
    const fastbp_net_t *net = plan->net;
    const fbp_table_t *of = &net->table[table];
    const fbp_category_scratch_t *own = &scratch->categories;
    const bool unfolded = batch->weighted && !batch->fold_weights;
    const fbp_category_t category = category_of(batch, batch->from, batch->rows, table);
    net->kernels->category_codes(&category, own->group);
    const ptrdiff_t n = group_rows(own, batch->rows, fbp_slot_bits(of, batch->rows));
    memset(own->sums, 0, (size_t)(n * of->width) * net->kernels->elem_size);
    net->kernels->category_sums(
        own->group, batch->rows, plan->delta[0].row + batch->from, of->unit, of->width,
        unfolded ? fbp_at(net, plan->weight, (size_t)batch->from) : NULL, own->sums);
    return (fbp_table_rows_t){n, own->code, own->sums};
}
