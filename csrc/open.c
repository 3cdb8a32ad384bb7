/* open.c: the parts of the public interface that need no network: the limit on threads, the names
 * of rules and hyper-parameters, and single kernels for tests and benchmarks. */
#include "base/arena.h"
#include "base/clock.h"
#include "base/cpu.h"
#include "base/machine.h"
#include "base/tree.h"
#include "dispatch.h"
#include "threads/count.h"
#include "threads/pool.h"

#include <stdlib.h>
#include <string.h>

fastbp_status_t fastbp_set_num_threads(int n) {
    if (n < 0) return FASTBP_ERR_ARGUMENT;
    fbp_set_thread_limit(n);
    return FASTBP_OK;
}

int fastbp_get_num_threads(void) { return fbp_thread_limit(); }

fastbp_status_t fastbp_stop_threads(void) {
    return fbp_pool_close() ? FASTBP_OK : FASTBP_ERR_STATE;
}

/* ---- the machine ---- */

static const char *state_of_tiles(void) {
    switch (fbp_tiles()) {
    case FBP_TILES_UNREQUESTED: return "not requested";
    case FBP_TILES_PERMITTED: return "permitted";
    case FBP_TILES_REFUSED: return "refused by the system";
    default: return "none";
    }
}

fastbp_machine_t fastbp_machine(void) {
    const fbp_cpu_t *cpu = fbp_cpu();
    const fbp_machine_t *found = fbp_machine_found();
    return (fastbp_machine_t){cpu->name, state_of_tiles(), found->l1d, found->l2, cpu->l3};
}

const char *fastbp_tune_available(int i) { return fbp_machine_name(i); }

fastbp_status_t fastbp_tune_select(const char *name) {
    return fbp_machine_select(name) ? FASTBP_OK : FASTBP_ERR_ARGUMENT;
}

const char *fastbp_tune(void) { return fbp_machine()->name; }

/* ---- names of codes ---- */

const char *fastbp_activation_name(int activation) {
    switch (activation) {
#define NAME(CODE, name, ...)                                                                      \
    case FASTBP_ACT_##CODE: return #name;
        FASTBP_ACTIVATIONS(NAME)
#undef NAME
    case FASTBP_ACT_SOFTMAX: return "softmax";
    default: return NULL;
    }
}

const char *fastbp_loss_name(int loss) {
    switch (loss) {
#define NAME(CODE, name, ...)                                                                      \
    case FASTBP_LOSS_##CODE: return #name;
        FASTBP_LOSSES(NAME)
#undef NAME
    case FASTBP_LOSS_CUSTOM: return "custom";
    default: return NULL;
    }
}

const char *fastbp_rule_name(int rule) {
    switch (rule) {
#define NAME(CODE, name, ...)                                                                      \
    case FASTBP_RULE_##CODE: return #name;
        FASTBP_RULES(NAME)
#undef NAME
    default: return NULL;
    }
}

const char *fastbp_element_name(int element) {
    switch (element) {
#define NAME(CODE, name, ...)                                                                      \
    case FASTBP_X_##CODE: return #name;
        FASTBP_ELEMENTS(NAME)
#undef NAME
    default: return NULL;
    }
}

const char *fastbp_vmath_name(int op) {
    switch (op) {
#define NAME(CODE, name)                                                                           \
    case FBP_VMATH_##CODE: return #name;
        FBP_VMATH(NAME)
#undef NAME
    default: return NULL;
    }
}

const char *fastbp_operation_name(int operation) {
    switch (operation) {
#define NAME(CODE, name, ...)                                                                      \
    case FASTBP_OP_##CODE: return #name;
        FASTBP_OPERATIONS(NAME)
#undef NAME
    default: return NULL;
    }
}

bool fastbp_slope_from_z(int activation) { return fbp_act_by_z(activation); }

/* ---- hyper-parameters by name ---- */

static const struct {
    const char *name;
    size_t offset;
} hypers[] = {
#define HYPER(name) {#name, offsetof(fastbp_optimizer_t, name)},
    FASTBP_HYPERS(HYPER)
#undef HYPER
};

enum { N_HYPERS = sizeof hypers / sizeof hypers[0] };

const char *fastbp_hyper_name(int i) { return i >= 0 && i < N_HYPERS ? hypers[i].name : NULL; }

double *fastbp_hyper_at(fastbp_optimizer_t *optimizer, int i) {
    if (fastbp_hyper_name(i) == NULL) return NULL;
    return (double *)((char *)optimizer + hypers[i].offset);
}

/* ---- one product ---- */

typedef struct {
    const void **rows;
    void *panels, *pack, *stack;
    const fbp_blocking_t *blocking;
    ptrdiff_t part_rows[FBP_TREE_PARTS];
    int pops[FBP_TREE_PARTS];
    fbp_gemm_parts_t parts;
} gemm_buffers_t;

/* The bytes of the pointers to n_rows rows, and of B in panels; false if one does not fit. */
static bool gemm_bytes(const fbp_kernels_t *kernels, const fastbp_gemm_call_t *call,
                       ptrdiff_t n_rows, size_t *rows, size_t *panels) {
    *panels = 0;
    if (!fbp_size_mul((size_t)n_rows, sizeof(void *), rows)) return false;
    if (!call->panels) return true;
    if (call->n > PTRDIFF_MAX - kernels->panel_cols) return false;
    const size_t cols = (size_t)fbp_round_up(call->n, kernels->panel_cols);
    return fbp_size_mul(cols, (size_t)call->k, panels) &&
           fbp_size_mul(*panels, kernels->elem_size, panels) && *panels <= PTRDIFF_MAX;
}

/* Copies B[k,n] into panels, by the transposing kernel from a transposed copy of B. */
static bool fill_panels(const fbp_kernels_t *kernels, const fastbp_gemm_call_t *call,
                        void *panels) {
    const size_t elem = kernels->elem_size;
    unsigned char *flipped = malloc((size_t)(call->n * call->k) * elem);
    if (flipped == NULL) return false;
    for (ptrdiff_t i = 0; i < call->k; ++i)
        for (ptrdiff_t j = 0; j < call->n; ++j)
            memcpy(flipped + (size_t)(j * call->k + i) * elem,
                   (const unsigned char *)call->b + (size_t)(i * call->ldb + j) * elem, elem);
    const fbp_mat_t w = {flipped, call->n, call->k, call->k};
    kernels->pack_transposed(0, &w, 0, call->k * kernels->panel_cols, panels);
    free(flipped);
    return true;
}

/* Lists the parts that have rows. False if they are not the rows of k, or there is no memory. */
static bool list_parts(const fbp_kernels_t *kernels, const fastbp_gemm_call_t *call,
                       gemm_buffers_t *buffers) {
    const ptrdiff_t sums = call->m * fbp_round_up(call->n, kernels->lanes);
    const size_t tile = (size_t)(sums + kernels->tile_elems);
    fbp_tree_t tree = {.depth = 0};
    ptrdiff_t n = 0;
    for (ptrdiff_t i = 0, next; i < call->n_parts; i = next) {
        for (next = i + 1; next < call->n_parts && call->part_rows[next] == 0;) ++next;
        if (call->part_rows[i] == 0) continue;
        buffers->part_rows[n] = call->part_rows[i];
        buffers->pops[n++] = fbp_tree_add(&tree, i, next, 0);
    }
    buffers->stack = malloc(FBP_TREE_DEPTH * tile * kernels->elem_size);
    buffers->parts = (fbp_gemm_parts_t){n, buffers->part_rows, buffers->pops, buffers->stack};
    return buffers->stack != NULL;
}

static fbp_gemm_t describe(const fastbp_gemm_call_t *call, const fbp_kernels_t *kernels,
                           const gemm_buffers_t *buffers) {
    const fbp_epi_t epi = call->aux != NULL ? FBP_EPI_BACKWARD
                          : call->activation == FASTBP_ACT_IDENTITY && call->z == NULL
                              ? FBP_EPI_NONE
                              : FBP_EPI_FORWARD;
    return (fbp_gemm_t){
        .c = call->c,
        .ldc = call->ldc,
        .a = buffers->rows,
        .b = call->panels ? buffers->panels : call->b,
        .ldb = call->panels ? kernels->panel_cols : call->ldb,
        .b_panel = call->panels ? call->k * kernels->panel_cols : 0,
        .m = call->m,
        .n = call->n,
        .k = call->k,
        .bias = call->bias,
        .epi = epi,
        .act = call->activation,
        .alpha = call->alpha,
        .z = call->z,
        .ldz = call->ldz,
        .aux = call->aux,
        .ldaux = call->ldaux,
        .blocking = buffers->blocking,
        .pack = call->form != FASTBP_GEMM_NT ? buffers->pack : NULL,
        .parts = call->part_rows != NULL ? &buffers->parts : NULL,
    };
}

/* Whether the parts are those of all rows of k. */
static bool whole_parts(const fastbp_gemm_call_t *call) {
    ptrdiff_t rows = 0;
    if (call->part_rows == NULL) return true;
    const ptrdiff_t n = call->n_parts;
    if (call->form != FASTBP_GEMM_TN || n < 1 || n > FBP_TREE_PARTS || (n & (n - 1)) != 0)
        return false;
    for (ptrdiff_t i = 0; i < call->n_parts; ++i) {
        if (call->part_rows[i] < 0 || call->part_rows[i] > call->k - rows) return false;
        rows += call->part_rows[i];
    }
    return rows == call->k;
}

/* Whether the form offers what the call asks for: nn offers all, tn the bare product only. */
static bool offered(const fastbp_gemm_call_t *call) {
    if (call->form == FASTBP_GEMM_NN) return true;
    const bool forward = call->bias != NULL || call->z != NULL ||
                         (call->aux == NULL && call->activation != FASTBP_ACT_IDENTITY);
    return !forward && !call->panels && (call->form == FASTBP_GEMM_NT || call->aux == NULL);
}

fastbp_status_t fastbp_gemm(const fastbp_gemm_call_t *call) {
    if (call->m < 1 || call->n < 1 || call->k < 1 || call->repeats < 1 ||
        (unsigned)call->dtype > FASTBP_F64 || (unsigned)call->form > FASTBP_GEMM_NT ||
        call->activation < 0 || call->activation >= FASTBP_ACT_SOFTMAX || !offered(call) ||
        !whole_parts(call))
        return FASTBP_ERR_ARGUMENT;
    const fbp_kernels_t *kernels = fbp_kernels(call->dtype);
    const fbp_blocking_t *blocking = fbp_blocking(kernels, fbp_machine());
    const ptrdiff_t n_rows = call->form == FASTBP_GEMM_TN ? call->k : call->m;
    size_t row_bytes, panel_bytes;
    if (!gemm_bytes(kernels, call, n_rows, &row_bytes, &panel_bytes)) return FASTBP_ERR_MEMORY;
    gemm_buffers_t buffers = {
        .rows = malloc(row_bytes),
        .panels = call->panels ? malloc(panel_bytes) : NULL,
        .pack = malloc((size_t)fbp_pack_elems(kernels, blocking) * kernels->elem_size),
        .blocking = blocking,
    };
    bool ready = buffers.rows != NULL && buffers.pack != NULL;
    if (ready && call->panels)
        ready = buffers.panels != NULL && fill_panels(kernels, call, buffers.panels);
    if (ready && call->part_rows != NULL) ready = list_parts(kernels, call, &buffers);
    if (ready) {
        const ptrdiff_t apart = call->lda * (ptrdiff_t)kernels->elem_size;
        for (ptrdiff_t i = 0; i < n_rows; ++i)
            buffers.rows[i] = (const unsigned char *)call->a + i * apart;
        const fbp_gemm_t product = describe(call, kernels, &buffers);
        void (*const form[])(const fbp_gemm_t *) = {kernels->gemm_nn, kernels->gemm_tn,
                                                    kernels->gemm_nt};
        const fbp_fpmode_t callers_mode = fbp_flush_subnormals();
        for (int i = 0; i < call->repeats; ++i) form[call->form](&product);
        fbp_set_fpmode(callers_mode);
    }
    free(buffers.rows);
    free(buffers.panels);
    free(buffers.pack);
    free(buffers.stack);
    return ready ? FASTBP_OK : FASTBP_ERR_MEMORY;
}

/* ---- one product in bfloat16 ---- */

static fbp_bf16_forms_t dense_forms(const fastbp_bf16_forms_t *forms, ptrdiff_t rows,
                                    ptrdiff_t cols) {
    const ptrdiff_t by_cols = fbp_bf16_tiles(cols), by_rows = fbp_bf16_tiles(rows);
    return (fbp_bf16_forms_t){
        .left = {forms->form[0], by_cols},
        .left_t = {forms->form[1], by_rows},
        .right = {forms->form[2], by_rows},
        .right_t = {forms->form[3], by_cols},
    };
}

size_t fastbp_bf16_elems(ptrdiff_t rows, ptrdiff_t cols, int planes) {
    size_t tiles, elems;
    if (rows < 0 || cols < 0 || planes < 1 || planes > 2 || !fbp_bf16_count(rows, cols, &tiles) ||
        !fbp_size_mul(tiles, (size_t)planes * FBP_BF16_TILE, &elems))
        return 0;
    return elems;
}

fastbp_status_t fastbp_bf16_pack(const float *x, ptrdiff_t ld, ptrdiff_t rows, ptrdiff_t cols,
                                 int planes, bool listed, int repeats,
                                 const fastbp_bf16_forms_t *forms) {
    const fbp_bf16_t *kernels = fbp_bf16_kernels();
    if (kernels == NULL) return FASTBP_ERR_ISA;
    if (rows < 1 || cols < 1 || planes < 1 || planes > 2) return FASTBP_ERR_ARGUMENT;
    size_t bytes;
    if (!fbp_size_mul((size_t)rows, sizeof(const float *), &bytes)) return FASTBP_ERR_MEMORY;
    const float **list = malloc(bytes);
    if (list == NULL) return FASTBP_ERR_MEMORY;
    for (ptrdiff_t i = 0; i < rows; ++i) list[i] = x + i * ld;
    const fbp_bf16_pack_t pack = {
        .at = x,
        .ld = ld,
        .list = listed ? list : NULL,
        .rows = rows,
        .cols = cols,
        .planes = planes,
        .to = dense_forms(forms, rows, cols),
    };
    const fbp_fpmode_t callers_mode = fbp_flush_subnormals();
    for (int i = 0; i < repeats; ++i) kernels->pack(&pack);
    fbp_set_fpmode(callers_mode);
    free(list);
    return FASTBP_OK;
}

/* Packs the factors into a and b, and computes the product on them. */
static void run_bf16(const fbp_bf16_t *kernels, const fastbp_bf16_call_t *call, uint16_t *a,
                     uint16_t *b) {
    const ptrdiff_t depth = fbp_bf16_tiles(call->k);
    const fbp_bf16_pack_t left = {.at = call->a,
                                  .ld = call->lda,
                                  .rows = call->m,
                                  .cols = call->k,
                                  .planes = call->planes,
                                  .to.left = {a, depth}};
    const fbp_bf16_pack_t right = {.at = call->b,
                                   .ld = call->ldb,
                                   .rows = call->k,
                                   .cols = call->n,
                                   .planes = call->planes,
                                   .to.right = {b, depth}};
    const bool plain = call->activation == FASTBP_ACT_IDENTITY && call->z == NULL;
    const fbp_bf16_product_t product = {
        .c = call->c,
        .ldc = call->ldc,
        .a = {a, depth},
        .b = {b, depth},
        .planes = call->planes,
        .m = call->m,
        .n = call->n,
        .k = call->k,
        .bias = call->bias,
        .epi = call->aux != NULL ? FBP_EPI_BACKWARD
               : plain           ? FBP_EPI_NONE
                                 : FBP_EPI_FORWARD,
        .act = call->activation,
        .alpha = call->alpha,
        .z = call->z,
        .ldz = call->ldz,
        .aux = call->aux,
        .ldaux = call->ldaux,
        .to = dense_forms(&call->to, call->m, call->n),
    };
    const fbp_fpmode_t callers_mode = fbp_flush_subnormals();
    kernels->pack(&left);
    kernels->pack(&right);
    kernels->begin();
    for (int i = 0; i < call->repeats; ++i) kernels->product(&product);
    kernels->end();
    fbp_set_fpmode(callers_mode);
}

fastbp_status_t fastbp_bf16_product(const fastbp_bf16_call_t *call) {
    const fbp_bf16_t *kernels = fbp_bf16_kernels();
    if (kernels == NULL) return FASTBP_ERR_ISA;
    if (call->m < 1 || call->n < 1 || call->k < 1 || call->planes < 1 || call->planes > 2 ||
        call->activation < 0 || call->activation >= FASTBP_ACT_SOFTMAX)
        return FASTBP_ERR_ARGUMENT;
    const size_t tile = fbp_bf16_tile_bytes(call->planes);
    size_t a_tiles, b_tiles;
    if (!fbp_bf16_count(call->m, call->k, &a_tiles) || !fbp_bf16_count(call->n, call->k, &b_tiles))
        return FASTBP_ERR_MEMORY;
    fbp_arena_t arena = {0};
    (void)fbp_arena_take(&arena, a_tiles, tile);
    (void)fbp_arena_take(&arena, b_tiles, tile);
    if (!fbp_arena_commit(&arena)) return FASTBP_ERR_MEMORY;
    uint16_t *a = fbp_arena_take(&arena, a_tiles, tile);
    uint16_t *b = fbp_arena_take(&arena, b_tiles, tile);
    run_bf16(kernels, call, a, b);
    fbp_arena_free(&arena);
    return FASTBP_OK;
}

/* ---- measurements ---- */

fastbp_status_t fastbp_vmath(int op, fastbp_dtype_t dtype, ptrdiff_t n, const void *x, void *out) {
    if (op < 0 || op >= FBP_VMATH_COUNT || (unsigned)dtype > FASTBP_F64 || n < 0)
        return FASTBP_ERR_ARGUMENT;
    const fbp_fpmode_t callers_mode = fbp_flush_subnormals();
    fbp_kernels(dtype)->vmath(op, n, x, out);
    fbp_set_fpmode(callers_mode);
    return FASTBP_OK;
}

fastbp_status_t fastbp_round(fastbp_dtype_t dtype, fastbp_precision_t precision, ptrdiff_t rows,
                             ptrdiff_t cols, const void *x, ptrdiff_t ldx, void *out,
                             ptrdiff_t ldo) {
    if ((unsigned)dtype > FASTBP_F64 || rows < 0 || cols < 0 ||
        (precision != FASTBP_HIGH && precision != FASTBP_MEDIUM))
        return FASTBP_ERR_ARGUMENT;
    const fbp_kernels_t *kernels = fbp_kernels(dtype);
    const ptrdiff_t elem = (ptrdiff_t)kernels->elem_size;
    const fbp_fpmode_t callers_mode = fbp_flush_subnormals();
    for (ptrdiff_t i = 0; i < rows; ++i) {
        const void *row = (const unsigned char *)x + i * ldx * elem;
        kernels->round_rows(fbp_planes(precision), &row, 1, cols,
                            (unsigned char *)out + i * ldo * elem, ldo);
    }
    fbp_set_fpmode(callers_mode);
    return FASTBP_OK;
}

/* The best rate of calls of chains(rounds, factors), in GFLOP/s, `flops` being those of a round. */
static double best_rate(double (*chains)(ptrdiff_t rounds, const void *factors),
                        const void *factors, ptrdiff_t rounds, double flops, double seconds) {
    const double begin = fbp_seconds();
    double best = 0, now = begin;
    do {
        const double start = now;
        (void)chains(rounds, factors);
        now = fbp_seconds();
        const double rate = flops * (double)rounds / (now - start) * 1e-9;
        best = rate > best ? rate : best;
    } while (now - begin < seconds);
    return best;
}

double fastbp_fma_peak(fastbp_dtype_t dtype, double seconds) {
    enum { ROUNDS = 200000, CHAINS = 12 };
    const fbp_kernels_t *kernels = fbp_kernels(dtype);
    const float xy32[2] = {0.5f, 0.25f};
    const double xy64[2] = {0.5, 0.25};
    const void *xy = dtype == FASTBP_F32 ? (const void *)xy32 : (const void *)xy64;
    return best_rate(kernels->fma_chains, xy, ROUNDS, 2.0 * CHAINS * kernels->lanes, seconds);
}

double fastbp_bf16_peak(int planes, double seconds) {
    enum { FLOPS = 1 << 28, HALF = 0x3f00 }; /* FLOPS: 1 ms of vdpbf16ps; HALF: 0.5 in bfloat16 */
    const fbp_bf16_t *kernels = fbp_bf16_kernels();
    if (kernels == NULL || planes < 1 || planes > 2) return 0;
    _Alignas(FBP_CACHE_LINE) uint16_t tile[FBP_BF16_TILE];
    for (int i = 0; i < FBP_BF16_TILE; ++i) tile[i] = HALF;
    const double flops = (double)kernels->chain_flops;
    kernels->begin();
    const double rate =
        best_rate(kernels->dot_chains, tile, FLOPS / kernels->chain_flops, flops, seconds);
    kernels->end();
    return planes == 1 ? rate : rate / 3; /* hi·hi + hi·lo + lo·hi */
}

/* ---- a += s·b ---- */

typedef struct {
    const fbp_kernels_t *kernels;
    void *a, *b;
    double *rate; /* one per worker, of the last window */
    ptrdiff_t n;
    double deadline, best;
    bool stop; /* written by worker 0, read by all after a barrier */
} stream_t;

/* Bytes per second of one worker, which goes over its share again and again for a millisecond. */
static double stream_window(const stream_t *stream, ptrdiff_t first, ptrdiff_t n) {
    enum { MIN_BYTES = 1 << 17 }; /* between two readings of the clock */
    const size_t elem = stream->kernels->elem_size, at = (size_t)first * elem;
    const fbp_update_t update = {.rule = FASTBP_RULE_SGD, .grad_scale = 1, .lr = 0.5};
    const fbp_mat_t b = {(const unsigned char *)stream->b + at, 1, n, n};
    const double bytes = 3.0 * (double)n * (double)elem;
    const ptrdiff_t repeats = 1 + (ptrdiff_t)(MIN_BYTES / (bytes + 1));
    const double begin = fbp_seconds();
    double moved = 0, now;
    do {
        for (ptrdiff_t i = 0; i < repeats; ++i)
            stream->kernels->update(&update, &b, (unsigned char *)stream->a + at, NULL, NULL, n);
        moved += bytes * (double)repeats;
        now = fbp_seconds();
    } while (now - begin < 1e-3);
    return moved / (now - begin);
}

static void run_stream(void *context, fbp_team_t *team, int worker) {
    stream_t *stream = context;
    const ptrdiff_t size = fbp_team_size(team);
    const ptrdiff_t first = stream->n * worker / size, end = stream->n * (worker + 1) / size;
    do {
        fbp_team_barrier(team);
        stream->rate[worker] = stream_window(stream, first, end - first);
        fbp_team_barrier(team);
        if (worker == 0) {
            double sum = 0;
            for (ptrdiff_t w = 0; w < size; ++w) sum += stream->rate[w];
            stream->best = sum > stream->best ? sum : stream->best;
            stream->stop = fbp_seconds() >= stream->deadline;
        }
        fbp_team_barrier(team);
    } while (!stream->stop);
}

static void carve_stream(stream_t *stream, fbp_arena_t *arena, int n_threads) {
    stream->a = fbp_arena_take(arena, (size_t)stream->n, stream->kernels->elem_size);
    stream->b = fbp_arena_take(arena, (size_t)stream->n, stream->kernels->elem_size);
    stream->rate = fbp_arena_take(arena, (size_t)n_threads, sizeof *stream->rate);
}

double fastbp_memory_rate(fastbp_dtype_t dtype, size_t bytes, int n_threads, double seconds) {
    const fbp_kernels_t *kernels = fbp_kernels(dtype);
    const size_t n = bytes / 2 / kernels->elem_size;
    if (n < 1 || n > PTRDIFF_MAX / 1024 || n_threads < 0) return 0;
    if (n_threads == 0) n_threads = fbp_thread_limit();
    stream_t stream = {.kernels = kernels, .n = (ptrdiff_t)n};
    fbp_arena_t arena = {0};
    carve_stream(&stream, &arena, n_threads);
    if (!fbp_arena_commit(&arena)) return 0;
    carve_stream(&stream, &arena, n_threads);
    stream.deadline = fbp_seconds() + seconds;
    fbp_pool_run(n_threads, run_stream, &stream);
    fbp_arena_free(&arena);
    return stream.best * 1e-9;
}

static void run_nothing(void *context, fbp_team_t *team, int worker) {
    (void)context, (void)worker;
    fbp_team_barrier(team);
    fbp_team_barrier(team);
}

double fastbp_pool_latency(int n_threads, ptrdiff_t repeats) {
    if (n_threads < 1 || repeats < 1) return 0;
    fbp_pool_open_session();
    fbp_pool_run(n_threads, run_nothing, NULL); /* starts the threads */
    const double begin = fbp_seconds();
    for (ptrdiff_t i = 0; i < repeats; ++i) fbp_pool_run(n_threads, run_nothing, NULL);
    const double each = (fbp_seconds() - begin) / (double)repeats;
    fbp_pool_close_session();
    return each;
}
