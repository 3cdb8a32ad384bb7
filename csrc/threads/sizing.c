/* sizing.c: see sizing.h. It climbs towards the size with the highest rate, work per second. A
 * trial is some windows on another size; the better size stays. Fewer workers are tried only when
 * some steps take much longer than others, because on a quiet machine all steps take the same time;
 * more workers are tried from time to time. After each trial without success the next comes later.
 */
#include "sizing.h"

/* Seconds and steps of a window. Linux gives a thread its processor for 3 ms or so, so a window
 * sees several losses of a processor if there are any. */
#ifndef FBP_SIZING_SECONDS
#define FBP_SIZING_SECONDS 0.02
#endif
#ifndef FBP_SIZING_STEPS
#define FBP_SIZING_STEPS 8
#endif

/* A window has late steps if its rate is below this share of that of its best step; on a quiet
 * machine it is above 0.9. So many such windows more than others lead to a trial of fewer workers.
 */
#ifndef FBP_SIZING_LATE
#define FBP_SIZING_LATE 0.8
#define FBP_SIZING_LATE_WINDOWS 3
#endif

/* Another size is taken if its rate is this many times the present one. */
#ifndef FBP_SIZING_GAIN
#define FBP_SIZING_GAIN 1.05
#endif

/* Windows of a trial. It ends after the first one if that has less than this share of the rate at
 * home; otherwise three windows have to agree, because rates on a busy machine vary by half. */
#ifndef FBP_SIZING_TRIAL
#define FBP_SIZING_TRIAL 3
#define FBP_SIZING_HOPELESS 0.7
#endif

/* Windows between trials: after a success, and at most. So trials take about 2 % of the time in the
 * long run, and the end of other programs is noticed after 0.1 to 1.3 s. */
#ifndef FBP_SIZING_PAUSE
#define FBP_SIZING_PAUSE 4
#define FBP_SIZING_PAUSE_MOST 64
#endif

/* About so many windows make up the rate at home. */
#ifndef FBP_SIZING_MEMORY
#define FBP_SIZING_MEMORY 4
#endif

void fbp_sizing_init(fbp_sizing_t *sizing, int most) {
    *sizing = (fbp_sizing_t){
        .size = most,
        .most = most,
        .home = most,
        .other = most,
        .reach_down = 1,
        .reach_up = 1,
    };
}

static double rate_of(const fbp_rate_t *rate) { return rate->work / rate->seconds; }

/* Adds a window; the older ones fade. */
static void add(fbp_rate_t *rate, const fbp_window_t *window) {
    const double keep = rate->windows < FBP_SIZING_MEMORY ? 1 : 1 - 1.0 / FBP_SIZING_MEMORY;
    if (rate->windows < FBP_SIZING_MEMORY) rate->windows += 1;
    rate->work = keep * rate->work + window->work;
    rate->seconds = keep * rate->seconds + window->seconds;
}

/* Adds a step to the window; true if that ends it. */
static bool measure(fbp_window_t *window, double work, double seconds) {
    window->steps += 1;
    window->work += work;
    window->seconds += seconds;
    if (work > window->best * seconds) window->best = work / seconds;
    return window->steps >= FBP_SIZING_STEPS && window->seconds >= FBP_SIZING_SECONDS;
}

/* The size to try next, or `home` if there is none. Repeated failures in one direction lead farther
 * away, by twice the distance, until the end is reached. */
static int candidate(fbp_sizing_t *sizing) {
    const bool late = sizing->late >= FBP_SIZING_LATE_WINDOWS;
    const bool can_fall = late && sizing->home > 1, can_rise = sizing->home < sizing->most;
    if (!can_fall && !can_rise) return sizing->home;
    sizing->went_down = can_fall && !(can_rise && sizing->went_down);
    if (sizing->went_down)
        return sizing->home > sizing->reach_down ? sizing->home - sizing->reach_down : 1;
    return sizing->most - sizing->home > sizing->reach_up ? sizing->home + sizing->reach_up
                                                          : sizing->most;
}

/* Adds the window to the rate at home, which begins anew with the first late window, and begins a
 * trial if it is time for one. */
static void stay(fbp_sizing_t *sizing) {
    const fbp_window_t *window = &sizing->window;
    const bool late = window->work < FBP_SIZING_LATE * window->best * window->seconds;
    if (late && sizing->late == 0) sizing->at_home = (fbp_rate_t){0};
    add(&sizing->at_home, window);
    if (late) sizing->late += sizing->late < FBP_SIZING_LATE_WINDOWS;
    else sizing->late -= sizing->late > 0;
    if (sizing->idle <= sizing->pause) sizing->idle += 1;
    if (sizing->idle <= sizing->pause) return;
    sizing->other = candidate(sizing);
    sizing->away = (fbp_rate_t){0};
}

/* Adds the window to a trial, and ends the trial if that is enough for a decision. */
static void decide(fbp_sizing_t *sizing) {
    add(&sizing->away, &sizing->window);
    int *const reach = sizing->went_down ? &sizing->reach_down : &sizing->reach_up;
    const bool at_the_end = sizing->other == 1 || sizing->other == sizing->most;
    const double gain = rate_of(&sizing->away) / rate_of(&sizing->at_home);
    if (gain > FBP_SIZING_HOPELESS && sizing->away.windows < FBP_SIZING_TRIAL) return;
    sizing->idle = sizing->late = 0;
    if (gain > FBP_SIZING_GAIN) {
        sizing->home = sizing->other;
        sizing->at_home = sizing->away;
        sizing->pause = FBP_SIZING_PAUSE;
        sizing->reach_down = sizing->reach_up = 1;
        return;
    }
    sizing->other = sizing->home;
    *reach = at_the_end ? 1 : 2 * *reach;
    sizing->pause = sizing->pause < FBP_SIZING_PAUSE            ? FBP_SIZING_PAUSE
                    : sizing->pause < FBP_SIZING_PAUSE_MOST / 2 ? 2 * sizing->pause
                                                                : FBP_SIZING_PAUSE_MOST;
}

bool fbp_sizing_note(fbp_sizing_t *sizing, double work, double seconds) {
    fbp_window_t *window = &sizing->window;
    if (sizing->most == 1 || !measure(window, work, seconds)) return false;
    if (sizing->other == sizing->home) stay(sizing);
    else decide(sizing);
    *window = (fbp_window_t){0};
    if (sizing->size == sizing->other) return false;
    sizing->size = sizing->other;
    sizing->changes += 1;
    return true;
}
