/* categories.h: embeddings of categories: the rows of tables that a batch reads make the last units
 * of a^0, and only those rows have gradients. */
#ifndef FASTBP_NN_CATEGORIES_H
#define FASTBP_NN_CATEGORIES_H

#include "batch.h"

/* The units of a^0 that are vectors of categories, for rows whose x is plan->x_row. */
void fbp_embed_categories(const fbp_batch_t *batch, ptrdiff_t row0, ptrdiff_t rows);

/* The rows of a table that a batch reads, in the order in which it first does, and the sums of
 * their gradients: sums[n, width]. */
typedef struct {
    ptrdiff_t n;
    const int32_t *code;
    void *sums;
} fbp_table_rows_t;

/* … of net->table[table], from plan->delta[0]. The result is in scratch->categories, until the next
 * call. */
fbp_table_rows_t fbp_table_sums(const fbp_batch_t *batch, const fbp_scratch_t *scratch, int table);

#endif
