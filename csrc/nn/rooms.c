/* rooms.c: see rooms.h. */
#include "rooms.h"

#include "../threads/count.h"

#include <stdlib.h>

static void carve_rooms(fastbp_population_t *population) {
    const size_t n = (size_t)population->n_rooms;
    fbp_arena_t *arena = &population->arena;
    population->room = fbp_arena_take(arena, n, sizeof *population->room);
    for (size_t w = 0; w < n; ++w) {
        fbp_team_t *team = fbp_arena_take(arena, 1, fbp_team_bytes());
        if (population->room != NULL) population->room[w].team = team;
    }
}

fastbp_status_t fastbp_population_new(fastbp_population_t **out, int n_threads) {
    *out = NULL;
    if (n_threads < 0) return FASTBP_ERR_ARGUMENT;
    fastbp_population_t *population = calloc(1, sizeof *population);
    if (population == NULL) return FASTBP_ERR_MEMORY;
    population->n_rooms = n_threads > 0 ? n_threads : fbp_thread_limit();
    carve_rooms(population);
    if (!fbp_arena_commit(&population->arena)) {
        free(population);
        return FASTBP_ERR_MEMORY;
    }
    carve_rooms(population);
    fbp_pool_open_session();
    *out = population;
    return FASTBP_OK;
}

static void empty_rooms(fastbp_population_t *population) {
    for (int w = 0; w < population->n_rooms; ++w) {
        fbp_arena_free(&population->room[w].rows);
        fbp_arena_free(&population->room[w].scratch);
        fbp_arena_free(&population->room[w].group);
        population->room[w].occupant = NULL;
    }
}

void fastbp_population_interleave(fastbp_population_t *population, fastbp_interleaving_t choice) {
    population->interleaving = choice;
}

void fastbp_population_free(fastbp_population_t *population) {
    if (population == NULL) return;
    fbp_pool_close_session();
    empty_rooms(population);
    fbp_arena_free(&population->list_arena);
    fbp_arena_free(&population->arena);
    free(population);
}

void fbp_rooms_note(fastbp_population_t *population, const fastbp_fit_t *fit) {
    const size_t rows = fbp_session_bytes(fit), scratch = fbp_scratch_bytes(&fit->plan);
    if (rows > population->rows_bytes) population->rows_bytes = rows;
    if (scratch > population->scratch_bytes) population->scratch_bytes = scratch;
    fbp_rooms_forget(population, fit); /* its buffers may have other places now */
}

void fbp_rooms_forget(fastbp_population_t *population, const fastbp_fit_t *fit) {
    for (int w = 0; w < population->n_rooms; ++w)
        if (population->room[w].occupant == fit) population->room[w].occupant = NULL;
}

static bool has_bytes(fbp_arena_t *arena, size_t bytes) {
    if (arena->size >= bytes) return true;
    fbp_arena_free(arena);
    (void)fbp_arena_take(arena, bytes, 1);
    return fbp_arena_commit(arena);
}

static bool has_lists(fastbp_population_t *population, ptrdiff_t n) {
    const size_t pointers = (size_t)n * sizeof *population->order;
    const size_t tasks = (size_t)n * sizeof *population->task;
    if (!has_bytes(&population->list_arena, pointers + tasks)) return false;
    population->task = (fbp_task_t *)population->list_arena.base;
    population->order = (fastbp_turn_t **)(population->task + n);
    return true;
}

bool fbp_rooms_furnish_groups(fastbp_population_t *population, size_t bytes) {
    for (int w = 0; w < population->n_rooms; ++w)
        if (!has_bytes(&population->room[w].group, bytes)) return false;
    return true;
}

bool fbp_rooms_furnish(fastbp_population_t *population, ptrdiff_t n) {
    if (!has_lists(population, n)) return false;
    for (int w = 0; w < population->n_rooms; ++w) {
        fbp_room_t *room = &population->room[w];
        const size_t before = room->rows.size + room->scratch.size;
        if (!has_bytes(&room->rows, population->rows_bytes) ||
            !has_bytes(&room->scratch, population->scratch_bytes)) {
            empty_rooms(population);
            return false;
        }
        if (room->rows.size + room->scratch.size != before) room->occupant = NULL;
    }
    return true;
}

/* Whether the buffers of a session are here, and untouched since its last turn. */
static bool lives_in(const fbp_room_t *room, const fastbp_fit_t *fit, int team_size) {
    const bool here = fit->plan.arena.base == room->rows.base; /* it may have moved since */
    return here && room->occupant == fit && room->team_size == team_size;
}

void fbp_room_enter(fbp_room_t *room, fastbp_fit_t *fit, int team_size) {
    if (lives_in(room, fit, team_size)) return;
    fbp_session_lend(fit, room->rows.base);
    for (int w = 0; w < team_size; ++w) fbp_plan_lend_scratch(&fit->plan, w, room[w].scratch.base);
    room->occupant = fit;
    room->team_size = team_size;
}
