/* factors.c: see factors.h. */
#include "factors.h"

/* The least number of rows for products in bfloat16; 0 if there are none for `planes`. */
static ptrdiff_t tile_rows(const fbp_bf16_t *bf16, int planes) {
    const bool made = bf16 != NULL && 0 < planes && planes <= bf16->most_planes;
    return made ? FBP_ROUNDED_MAX_ROWS + 1 : 0;
}

fbp_factors_t fbp_factors_of(const fastbp_net_t *net, ptrdiff_t rows, fbp_factors_use_t use) {
    fbp_factors_t factors = {.use = use, .planes = fbp_planes(net->precision)};
    const ptrdiff_t least = tile_rows(net->bf16, factors.planes);
    if (factors.planes == 0) factors.kind = FBP_FACTORS_OWN;
    else if (least == 0 || rows < least) factors.kind = FBP_FACTORS_ROUNDED;
    else factors.kind = FBP_FACTORS_TILES;
    return factors;
}

ptrdiff_t fastbp_bf16_rows(const char *isa, fastbp_precision_t precision) {
    return tile_rows(fbp_bf16_of(isa), fbp_planes(precision));
}

const char *fbp_factors_name(const fbp_factors_t *factors, const fastbp_net_t *net) {
    if (factors->kind == FBP_FACTORS_TILES) return net->bf16->name;
    if (factors->kind == FBP_FACTORS_ROUNDED) return "f32 of rounded factors";
    return net->dtype == FASTBP_F32 ? "f32" : "f64";
}

const char *fastbp_products(const fastbp_net_t *net, ptrdiff_t rows) {
    const fbp_factors_t factors = fbp_factors_of(net, rows, FBP_FOR_TRAINING);
    return fbp_factors_name(&factors, net);
}

/* Room for one form of a matrix: a factor with m or n = `size` and k = `depth`. */
static void take_form(const fbp_factors_t *factors, fbp_arena_t *arena, fbp_bf16_factor_t *form,
                      ptrdiff_t size, ptrdiff_t depth) {
    size_t tiles;
    form->ld = fbp_bf16_tiles(depth);
    if (!fbp_bf16_count(size, depth, &tiles)) arena->overflow = true;
    else form->at = fbp_arena_take(arena, tiles, fbp_bf16_tile_bytes(factors->planes));
}

/* Whether δ^1 is taken through W^1: by passes, and in training for an embedding of the inputs. */
static bool takes_first_delta(const fbp_factors_t *factors, const fastbp_net_t *net) {
    return factors->use == FBP_FOR_PASSES ||
           (factors->use == FBP_FOR_TRAINING && net->has_embedding);
}

/* Left factors that only the next product reads: the layers use two buffers in turn, which stay in
 * L2. With one per layer, 256×9-10 at batch 256 takes 4 % more time (Zen 4). */
static void carve_turns(fbp_factors_t *factors, const fastbp_net_t *net, fbp_arena_t *arena,
                        ptrdiff_t capacity) {
    const int first = factors->use == FBP_FOR_PREDICTION ? 0 : 1;
    fbp_bf16_factor_t turn[2] = {{0}, {0}};
    ptrdiff_t width = 0;
    for (int l = first; l <= net->n_layers; ++l) width = fbp_max(width, fbp_width(net, l));
    for (int t = 0; t < 2; ++t) take_form(factors, arena, &turn[t], capacity, width);
    for (int l = first; l < net->n_layers; ++l) factors->a_tiles[l].left = turn[l % 2];
    for (int l = takes_first_delta(factors, net) ? 1 : 2; l <= net->n_layers; ++l)
        factors->delta_tiles[l].left = turn[l % 2];
}

/* a^l for the gradient of W^{l+1}, a left factor as its transpose; x also as itself. */
static void take_a(fbp_factors_t *factors, const fastbp_net_t *net, fbp_arena_t *arena, int l,
                   ptrdiff_t capacity) {
    const ptrdiff_t width = fbp_width(net, l);
    if (factors->kind == FBP_FACTORS_ROUNDED) {
        fbp_take_rows(net, arena, &factors->a[l], capacity, width);
    } else if (factors->kind == FBP_FACTORS_TILES) {
        if (l == 0) take_form(factors, arena, &factors->a_tiles[l].left, capacity, width);
        take_form(factors, arena, &factors->a_tiles[l].left_t, width, capacity);
    }
}

/* δ^l for the gradient of W^l, a right factor. */
static void take_delta(fbp_factors_t *factors, const fastbp_net_t *net, fbp_arena_t *arena, int l,
                       ptrdiff_t capacity) {
    const ptrdiff_t width = fbp_width(net, l);
    if (factors->kind == FBP_FACTORS_ROUNDED)
        fbp_take_rows(net, arena, &factors->delta[l], capacity, width);
    else if (factors->kind == FBP_FACTORS_TILES)
        take_form(factors, arena, &factors->delta_tiles[l].right, width, capacity);
}

void fbp_factors_carve_rows(fbp_factors_t *factors, const fastbp_net_t *net, fbp_arena_t *arena,
                            ptrdiff_t capacity) {
    fbp_rows_t shared = {0};
    if (factors->kind == FBP_FACTORS_TILES) carve_turns(factors, net, arena, capacity);
    if (factors->use != FBP_FOR_PREDICTION) {
        for (int l = 1; l < net->n_layers; ++l) take_a(factors, net, arena, l, capacity);
        for (int l = 1; l <= net->n_layers; ++l) take_delta(factors, net, arena, l, capacity);
    } else if (factors->kind == FBP_FACTORS_ROUNDED) {
        fbp_take_rows(net, arena, &shared, capacity, net->max_width);
        for (int l = 0; l < net->n_layers; ++l) factors->a[l] = shared;
    }
}

void fbp_factors_carve_input(fbp_factors_t *factors, const fastbp_net_t *net, fbp_arena_t *arena,
                             ptrdiff_t capacity) {
    if (factors->use != FBP_FOR_PREDICTION) take_a(factors, net, arena, 0, capacity);
}

/* W is a right factor forward, and its transpose one in the recursion. */
void fbp_factors_carve_weights(fbp_factors_t *factors, const fastbp_net_t *net,
                               fbp_arena_t *arena) {
    for (int i = 0; i < net->n_layers && factors->kind == FBP_FACTORS_TILES; ++i) {
        const ptrdiff_t n_in = net->layer[i].n_in, n_out = net->layer[i].n_out;
        const bool recursion =
            i > 0 ? factors->use != FBP_FOR_PREDICTION : takes_first_delta(factors, net);
        take_form(factors, arena, &factors->w_tiles[i].right, n_out, n_in);
        if (recursion) take_form(factors, arena, &factors->w_tiles[i].right_t, n_in, n_out);
    }
}

fbp_bf16_forms_t fbp_forms_from(const fbp_bf16_forms_t *forms, ptrdiff_t row, int planes) {
    const ptrdiff_t block = row / FBP_BF16_BLOCK;
    return (fbp_bf16_forms_t){
        .left = fbp_bf16_part(forms->left, block, 0, planes),
        .left_t = fbp_bf16_part(forms->left_t, 0, block, planes),
        .right = fbp_bf16_part(forms->right, 0, block, planes),
        .right_t = fbp_bf16_part(forms->right_t, block, 0, planes),
    };
}
