/* stages.c: see stages.h. */
#include "stages.h"

#include "../threads/pool.h"
#include "batch_norm.h"
#include "options.h"

bool fbp_next_block(const fbp_batch_t *batch, fbp_team_t *team, fbp_block_t *block) {
    const ptrdiff_t blocks = fbp_plan_blocks(batch->plan, batch->rows, fbp_team_size(team));
    const ptrdiff_t t = fbp_team_next(team);
    if (t >= blocks) return false;
    *block = fbp_block_at(batch, t, blocks);
    return true;
}

void fbp_forward_block(const fbp_batch_t *batch, const fbp_scratch_t *scratch,
                       const fbp_source_rows_t *source, int from, const fbp_block_t *block) {
    if (source != NULL && from == 0)
        fbp_batch_load(batch, source->data, source->order, source->first, block->row0, block->rows);
    fbp_lap(scratch->profile, 0, FASTBP_PHASE_OTHER);
    fbp_forward_rows(batch, scratch, from, block->row0, block->rows);
}

int fbp_forward_stages(const fbp_batch_t *batch, const fbp_scratch_t *scratch,
                       const fbp_source_rows_t *source, fbp_team_t *team) {
    const int top = batch->plan->net->n_layers;
    int from = 0;
    for (int next; (next = fbp_next_by_batch(batch->plan, from)) <= top; from = next) {
        for (fbp_block_t block; fbp_next_block(batch, team, &block);)
            fbp_forward_block(batch, scratch, source, from, &block);
        fbp_sum_moments(batch, next, team, scratch->profile);
    }
    return from;
}

void fbp_backward_stages(const fbp_batch_t *batch, const fbp_scratch_t *scratch, int top,
                         int bottom, fbp_team_t *team) {
    const fbp_plan_t *plan = batch->plan;
    for (int from = top; (from = fbp_last_by_batch(plan, from)) >= bottom && from > 0;) {
        const fbp_rows_t *delta = &plan->delta[from];
        fbp_sum_slopes(batch, from, team, scratch->profile);
        for (fbp_block_t block; fbp_next_block(batch, team, &block);) {
            void *at = fbp_row_at(plan, delta, block.row0);
            fbp_norm_pull_back(batch, from, block.row0, block.rows, at, delta->ld, at, delta->ld);
            fbp_recursion_rows(batch, scratch, from, bottom, block.row0, block.rows);
        }
    }
}
