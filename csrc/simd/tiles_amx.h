/* tiles_amx.h: tile operations by AMX-TILE and AMX-BF16 (Intel SDM vol. 1, ch. 18). The processor
 * has eight tiles of 16 rows of 64 bytes, numbered 0 … 7; the numbers are constants.
 *
 *   t_configure()       makes all tiles 16 × 64 bytes, on this thread, until t_release()
 *   t_begin(t), t_end() surround a sequence of the other operations. gcc 12 does not know that
 *                       t_load reads memory, so t_begin has everything stored before
 *   t_zero(t, c)        tile c = 0
 *   t_load(t, c, p, s)  row r of tile c = 64 bytes at p + r·s bytes; t_store writes them
 *   t_dot(t, c, a, b)   c[i][j] += Σ_q a[i][2q] b[q][2j] + a[i][2q + 1] b[q][2j + 1], in f32, where
 *                       a and b are bfloat16 */
#ifndef FBP_SIMD_TILES
#define FBP_SIMD_TILES "amx"

#include <immintrin.h>
#include <stdint.h>

#include "../base/common.h"

typedef struct {
    char none; /* the tiles are registers */
} tiles_t;

/* The 64 bytes that LDTILECFG reads. */
typedef struct {
    uint8_t palette, start_row, reserved[14];
    uint16_t row_bytes[16];
    uint8_t rows[16];
} tile_config_t;

FBP_INLINE void t_barrier(void) { __asm__ volatile("" ::: "memory"); }

FBP_INLINE void t_configure(void) {
    tile_config_t config = {.palette = 1};
    for (int i = 0; i < 8; ++i) {
        config.row_bytes[i] = 64;
        config.rows[i] = 16;
    }
    __asm__ volatile("" ::"r"(&config) : "memory"); /* config is stored before it is loaded */
    _tile_loadconfig(&config);
}
FBP_INLINE void t_release(void) { _tile_release(); }
FBP_INLINE void t_begin(tiles_t *t) {
    (void)t;
    t_barrier();
}
FBP_INLINE void t_end(void) { t_barrier(); }

/* Macros, because the numbers of tiles are part of the instructions. */
/* clang-format off */
#define t_zero(t, c) do { (void)(t); _tile_zero(c); } while (0)
#define t_load(t, c, p, s) do { (void)(t); _tile_loadd(c, p, s); } while (0)
#define t_store(t, c, p, s) do { (void)(t); _tile_stored(c, p, s); } while (0)
#define t_dot(t, c, a, b) do { (void)(t); _tile_dpbf16ps(c, a, b); } while (0)
/* clang-format on */

#endif
