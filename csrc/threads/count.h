/* count.h: how many threads this process may keep busy. */
#ifndef FASTBP_THREADS_COUNT_H
#define FASTBP_THREADS_COUNT_H

/* Processors in the affinity mask, or all that there are; at least 1. */
int fbp_usable_cpus(void);

/* min(fbp_usable_cpus, CPU quota of the control group), at least 1. */
int fbp_default_threads(void);

/* The most threads that work is to be spread over: n >= 1, or 0 for the default again. */
void fbp_set_thread_limit(int n);
int fbp_thread_limit(void);

#endif
