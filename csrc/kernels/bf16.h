/* bf16.h: matrix products with factors in bfloat16 and sums in f32, for ISAs that have them.
 *
 * A factor is a matrix in tiles of 1 KiB, 16 rows of 32 elements of 16 bits:
 *   left  [m × k]  tile (i, p): rows 16i … 16i + 15, k = 32p … 32p + 31; row after row
 *   right [k × n]  tile (j, p): columns 16j … 16j + 15, k = 32p … 32p + 31; row q of the tile has
 *                  the elements k = 32p + 2q and 32p + 2q + 1 of each column side by side
 * m, n and k are padded with zeros to multiples of 32. A factor has one or two planes:
 *   1  hi = x rounded to bfloat16
 *   2  hi, then lo = x − hi rounded to bfloat16, or 0 if hi is not finite: 16 bits of x
 * Rounding is to nearest, ties to even. Subnormals become zeros, and a NaN stays one. Infinity is
 * (inf, 0), so a product with two planes may be NaN where the exact one is infinite: inf · lo is
 * NaN if lo is 0. */
#ifndef FASTBP_BF16_H
#define FASTBP_BF16_H

#include "kernels.h"

enum {
    FBP_BF16_BLOCK = 32, /* m, n and k are padded to multiples of it */
    FBP_BF16_TILE = 512, /* elements of one plane of a tile */
};

/* Tile (i, p) is at + (i·ld + p)·planes·FBP_BF16_TILE: the hi plane, then the lo plane. Tiles must
 * be on cache lines. */
typedef struct {
    uint16_t *at;
    ptrdiff_t ld; /* tiles from (i, p) to (i + 1, p) */
} fbp_bf16_factor_t;

/* The four forms in which a matrix x[rows, cols] can be a factor. `at` is NULL for those that are
 * not wanted. */
typedef struct {
    fbp_bf16_factor_t left;    /* x  as left factor:  m = rows, k = cols */
    fbp_bf16_factor_t left_t;  /* xᵀ as left factor:  m = cols, k = rows */
    fbp_bf16_factor_t right;   /* x  as right factor: k = rows, n = cols */
    fbp_bf16_factor_t right_t; /* xᵀ as right factor: k = cols, n = rows */
} fbp_bf16_forms_t;

/* A factor of m or n = `size` and k = `depth`, whose ld is fbp_bf16_tiles(depth), takes *tiles
 * tiles of fbp_bf16_tile_bytes bytes; false, without writing *tiles, if their number does not fit.
 */
FBP_INLINE ptrdiff_t fbp_bf16_tiles(ptrdiff_t depth) {
    return depth / FBP_BF16_BLOCK + (depth % FBP_BF16_BLOCK != 0);
}
FBP_INLINE bool fbp_bf16_count(ptrdiff_t size, ptrdiff_t depth, size_t *tiles) {
    return fbp_size_mul(2 * (size_t)fbp_bf16_tiles(size), (size_t)fbp_bf16_tiles(depth), tiles);
}
FBP_INLINE size_t fbp_bf16_tile_bytes(int planes) {
    return (size_t)planes * FBP_BF16_TILE * sizeof(uint16_t);
}

/* The factor that begins at row or column 32·block and k = 32·p of f. Writers of several blocks of
 * one matrix use it, and products of a part of it. NULL stays NULL. */
FBP_INLINE fbp_bf16_factor_t fbp_bf16_part(fbp_bf16_factor_t f, ptrdiff_t block, ptrdiff_t p,
                                           int planes) {
    if (f.at != NULL) f.at += (2 * block * f.ld + p) * planes * FBP_BF16_TILE;
    return f;
}

/* x[rows, cols] in f32 → the forms that `to` wants. Row i of x begins at `list[i]`, or at `at +
 * i·ld` if list is NULL. Whole blocks of 32 × 32 are written. */
typedef struct {
    const float *at;
    ptrdiff_t ld;
    const float *const *list;
    ptrdiff_t rows, cols;
    int planes;
    fbp_bf16_forms_t to;
} fbp_bf16_pack_t;

/* C[m,n] = epi(A[m,k] · B[k,n]): the fields that fbp_gemm_t has too mean the same. With two planes,
 * AB = hi·hi + hi·lo + lo·hi. Padding of k must be 0 in both factors; that of m and n may be
 * anything. `to` receives C as factors, as `pack` would write them, with as many planes. */
typedef struct {
    float *c; /* NULL: C is wanted in `to` only */
    ptrdiff_t ldc;
    fbp_bf16_factor_t a, b; /* left, right */
    int planes;
    ptrdiff_t m, n, k;
    const float *bias; /* n elements, or NULL for 0; not with BACKWARD */
    fbp_epi_t epi;
    int act; /* FORWARD and BACKWARD: FASTBP_ACT_*, not softmax */
    double alpha;
    float *z; /* FORWARD: receives AB + bias; or NULL */
    ptrdiff_t ldz;
    const float *aux; /* BACKWARD */
    ptrdiff_t ldaux;
    fbp_bf16_forms_t to;
} fbp_bf16_product_t;

/* The kernels of one ISA. Each element of C is summed over k in one order that depends on neither m
 * nor n nor where the element is, so the division of m and n does not change bits. Results of
 * different ISAs differ in rounding. Between `begin` and `end`, which each thread calls, products
 * may be computed; no code of the caller may run there, since it may use tiles of AMX itself.
 * `pack` may be called at any time. Kernels neither allocate nor start threads. */
typedef struct {
    const char *name;
    int most_planes; /* with more planes, products in f32 are faster */
    void (*pack)(const fbp_bf16_pack_t *pack);
    void (*product)(const fbp_bf16_product_t *product);
    void (*begin)(void); /* AMX: configures the tiles of this thread */
    void (*end)(void);   /* AMX: releases them */
    /* `rounds` rounds of independent dot operations of a tile with itself, on sums in registers,
     * between `begin` and `end`: the operations of product, without its loads. Returns a sum of
     * them, so that the compiler cannot drop them. */
    double (*dot_chains)(ptrdiff_t rounds, const void *tile);
    ptrdiff_t chain_flops; /* operations of a round, 2 per multiply-add */
} fbp_bf16_t;

#endif
