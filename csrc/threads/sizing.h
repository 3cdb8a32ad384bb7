/* sizing.h: how many workers a session uses, found by measuring. Where other programs run, a worker
 * that has lost its processor lets the others wait at a barrier, so that fewer workers can be
 * faster than all. This part reads no clock and starts no thread: the session tells it how long its
 * steps take. Results must not depend on the number of workers. */
#ifndef FASTBP_THREADS_SIZING_H
#define FASTBP_THREADS_SIZING_H

#include "../base/common.h"

/* Steps that are measured together, all on the same number of workers. */
typedef struct {
    ptrdiff_t steps;
    double work, seconds;
    double best; /* the highest work per second of a step */
} fbp_window_t;

/* Work and seconds of several windows. */
typedef struct {
    int windows;
    double work, seconds;
} fbp_rate_t;

typedef struct {
    int size; /* the workers to use now, 1 … most; the caller reads it, nobody else writes it */
    int most;
    int home, other; /* the best size so far, and the one of a trial; the same without a trial */
    fbp_window_t window;
    fbp_rate_t at_home, away; /* recent windows on `home`; those of this trial on `other` */
    int idle, pause;          /* windows since the last trial, and how many to wait for the next */
    int reach_down, reach_up; /* how far the next trial goes */
    int late;                 /* grows with each window that has late steps, falls with others */
    bool went_down;           /* the last trial was of fewer workers */
    ptrdiff_t changes;        /* of `size` */
} fbp_sizing_t;

/* Begins with all workers; most >= 1. */
void fbp_sizing_init(fbp_sizing_t *sizing, int most);

/* Notes a step: `work` in any unit that is proportional to its operations, and the seconds that it
 * took on sizing->size workers, both > 0. Returns true if size has changed. */
bool fbp_sizing_note(fbp_sizing_t *sizing, double work, double seconds);

#endif
