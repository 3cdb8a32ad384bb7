/* rooms.h: the memory in which the sessions of a population take turns: a room for each worker. */
#ifndef FASTBP_NN_ROOMS_H
#define FASTBP_NN_ROOMS_H

#include "step.h"

/* The memory of a worker, and the session whose buffers lie in it. The first worker of a team gives
 * the memory for rows; each gives its own scratch. */
typedef struct {
    fbp_arena_t rows, scratch, group; /* group: for sessions side by side */
    const fastbp_fit_t *occupant;
    int team_size;    /* of the occupant */
    fbp_team_t *team; /* of this turn, in memory of the population */
    /* The first worker of a team writes these, and the others read them after a barrier. */
    fbp_slice_t slice;
    double begun; /* when the epoch began, or this part of it */
    bool again;   /* the turn goes on with another epoch */
} fbp_room_t;

/* What a worker or a team runs at a time: one turn, or several side by side. */
typedef struct {
    fastbp_turn_t *const *turn;
    int n;
    double work;
} fbp_task_t;

struct fastbp_population {
    int n_rooms;
    size_t rows_bytes, scratch_bytes; /* what the largest session needs */
    fbp_arena_t arena;                /* of the rooms and their teams */
    fbp_room_t *room;
    fbp_arena_t list_arena;
    fastbp_turn_t **order; /* the turns of a run, those of one shape side by side */
    fbp_task_t *task;      /* … and its tasks, those with the most work first */
    fastbp_interleaving_t interleaving;
};

/* Notes how much memory a session needs; and that it ends. */
void fbp_rooms_note(fastbp_population_t *population, const fastbp_fit_t *fit);
void fbp_rooms_forget(fastbp_population_t *population, const fastbp_fit_t *fit);

/* Gets all memory that a run of n turns needs, unless it is there; false if there is none. The
 * second function does so for groups of up to `bytes`. */
bool fbp_rooms_furnish(fastbp_population_t *population, ptrdiff_t n);
bool fbp_rooms_furnish_groups(fastbp_population_t *population, size_t bytes);

/* Puts a session into the rooms of its team, from `room` on, unless it is there. */
void fbp_room_enter(fbp_room_t *room, fastbp_fit_t *fit, int team_size);

#endif
