/* stages.h: how the workers of a team share the blocks of rows of a batch, and the stages into
 * which layers that are normed by the batch divide a row sweep. */
#ifndef FASTBP_NN_STAGES_H
#define FASTBP_NN_STAGES_H

#include "../threads/team.h"
#include "rows.h"

/* A task: a block of the batch's rows. */
typedef struct {
    ptrdiff_t row0, rows;
} fbp_block_t;

/* Block `t` of fbp_plan_blocks. */
FBP_INLINE fbp_block_t fbp_block_at(const fbp_batch_t *batch, ptrdiff_t t, ptrdiff_t blocks) {
    const ptrdiff_t row0 = fbp_block_row(batch->plan, batch->rows, t, blocks);
    return (fbp_block_t){row0, fbp_block_row(batch->plan, batch->rows, t + 1, blocks) - row0};
}

/* Takes the next block of the batch that no worker has taken since the last barrier; false if there
 * is none. */
bool fbp_next_block(const fbp_batch_t *batch, fbp_team_t *team, fbp_block_t *block);

/* Where the rows of a batch come from, if they have not been loaded. */
typedef struct {
    const fastbp_data_t *data;
    const uint32_t *order; /* see fbp_batch_load */
    ptrdiff_t first;
} fbp_source_rows_t;

/* fbp_forward_rows of a block, from layer `from` on. Loads the rows first if they begin here;
 * source: or NULL. */
void fbp_forward_block(const fbp_batch_t *batch, const fbp_scratch_t *scratch,
                       const fbp_source_rows_t *source, int from, const fbp_block_t *block);

/* Takes all blocks forward to the highest layer that is normed by the batch, and returns its
 * number, from which every block can go on; 0 if there is none. */
int fbp_forward_stages(const fbp_batch_t *batch, const fbp_scratch_t *scratch,
                       const fbp_source_rows_t *source, fbp_team_t *team);

/* Takes all blocks from ∂J/∂n of the highest such layer below `top` down to δ^bottom. If there is
 * none from `bottom` on, it does nothing. */
void fbp_backward_stages(const fbp_batch_t *batch, const fbp_scratch_t *scratch, int top,
                         int bottom, fbp_team_t *team);

#endif
