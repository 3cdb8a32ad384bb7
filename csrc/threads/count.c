/* count.c: see count.h. Affinity and, on Linux, the quota of the control groups: cpu.max of version
 * 2, in every group up to the root that this process sees, or cfs_quota_us of version 1. A fraction
 * of a CPU is rounded down, because a thread beyond the quota would be stopped for the rest of each
 * period. */
#if defined(__linux__)
#define _GNU_SOURCE
#include <sched.h>
#include <unistd.h>
#endif
#include "count.h"

#include "../base/common.h"

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#if defined(_WIN32)
#include <windows.h>
#elif !defined(__linux__)
#include <unistd.h>
#endif

int fbp_usable_cpus(void) {
#if defined(__linux__)
    cpu_set_t set;
    if (sched_getaffinity(0, sizeof set, &set) == 0 && CPU_COUNT(&set) > 0) return CPU_COUNT(&set);
#endif
#if defined(_WIN32)
    const DWORD n = GetActiveProcessorCount(ALL_PROCESSOR_GROUPS);
#else
    const ptrdiff_t n = sysconf(_SC_NPROCESSORS_ONLN);
#endif
    return n > 0 ? (int)n : 1;
}

#if defined(__linux__)
enum { PATH_CAP = 4096, LINE_CAP = 4096 };

/* Reads the first line of a file; false if it cannot be read. */
static bool read_line(const char *path, char *line) {
    FILE *file = fopen(path, "re");
    if (file == NULL) return false;
    const bool got = fgets(line, LINE_CAP, file) != NULL;
    fclose(file);
    return got;
}

/* The whole CPUs that the quota allows per period, at most limit; limit if there is no quota. */
static int cpus_of(double quota, double period, int limit) {
    if (!(quota > 0) || !(period > 0)) return limit;
    const int whole = (int)(quota / period);
    return whole < 1 ? 1 : whole < limit ? whole : limit;
}

static int quota_v1(int limit) {
    char quota[LINE_CAP], period[LINE_CAP];
    if (!read_line("/sys/fs/cgroup/cpu/cpu.cfs_quota_us", quota)) return limit;
    if (!read_line("/sys/fs/cgroup/cpu/cpu.cfs_period_us", period)) return limit;
    return cpus_of(strtod(quota, NULL), strtod(period, NULL), limit);
}

/* group: the path of this process below the mount, as in /proc/self/cgroup after "0::". */
static int quota_v2(char *group, int limit) {
    char path[PATH_CAP + LINE_CAP], line[LINE_CAP];
    group[strcspn(group, "\n")] = '\0';
    for (;;) {
        snprintf(path, sizeof path, "/sys/fs/cgroup%s/cpu.max", group);
        char *end;
        if (read_line(path, line)) {
            const double quota = strtod(line, &end); /* "max" is read as 0: no quota */
            limit = cpus_of(quota, strtod(end, NULL), limit);
        }
        char *slash = strrchr(group, '/');
        if (slash == NULL) return limit;
        *slash = '\0';
    }
}

static int quota(int limit) {
    char line[LINE_CAP];
    FILE *file = fopen("/proc/self/cgroup", "re");
    if (file == NULL) return limit;
    limit = quota_v1(limit);
    while (fgets(line, sizeof line, file) != NULL)
        if (strncmp(line, "0::", 3) == 0) limit = quota_v2(line + 3, limit);
    fclose(file);
    return limit;
}
#else
static int quota(int limit) { return limit; }
#endif

int fbp_default_threads(void) { return quota(fbp_usable_cpus()); }

static atomic_int limit_set;     /* 0: no limit was set */
static atomic_int limit_default; /* 0: not determined yet */

void fbp_set_thread_limit(int n) { atomic_store(&limit_set, n); }

int fbp_thread_limit(void) {
    const int set = atomic_load(&limit_set);
    if (set > 0) return set;
    if (atomic_load(&limit_default) == 0) atomic_store(&limit_default, fbp_default_threads());
    return atomic_load(&limit_default);
}
