/* clock.c: see clock.h. The monotonic clock of POSIX, the performance counter of Windows. */
#if !defined(_WIN32)
#define _POSIX_C_SOURCE 200112L
#endif
#include "clock.h"

#if defined(_WIN32)
#include <windows.h>

double fbp_seconds(void) {
    LARGE_INTEGER count, rate;
    QueryPerformanceCounter(&count);
    QueryPerformanceFrequency(&rate);
    return (double)count.QuadPart / (double)rate.QuadPart;
}
#else
#include <time.h>

double fbp_seconds(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}
#endif
