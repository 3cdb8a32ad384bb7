/* count.h: how many threads this process should use. */
#ifndef FASTBP_THREADS_COUNT_H
#define FASTBP_THREADS_COUNT_H

/* The processors in the affinity mask, or all processors; at least 1. */
int fbp_usable_cpus(void);

/* The lower of fbp_usable_cpus and the CPU quota of the control group; at least 1. */
int fbp_default_threads(void);

/* The limit on threads of one call: n >= 1, or 0 to restore the default. */
void fbp_set_thread_limit(int n);
int fbp_thread_limit(void);

#endif
