/* failing_calls.c: lets the k-th allocation or the k-th system call of a process fail, or kills the
 * process there. Built as a library for LD_PRELOAD; failing_calls.py builds it and calls its
 * functions. It needs glibc: allocations go on to __libc_malloc and its like, all other calls to
 * the next library that defines them. lseek is left out: it cannot fail on a file.
 *
 * Calls are counted between failing_calls_arm and failing_calls_disarm, in all threads. If a module
 * is watched, only calls whose return address is in that module count, such as those of the engine.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <execinfo.h>
#include <fcntl.h>
#include <link.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

void *__libc_malloc(size_t size);
void *__libc_calloc(size_t count, size_t size);
void *__libc_realloc(void *old, size_t size);
void *__libc_memalign(size_t align, size_t size);
void __libc_free(void *old);

enum { ALLOCATION = 1, SYSTEM_CALL = 2 }; /* kinds of calls */
enum { FAIL = 0, SHORT = 1, SIGNAL = 2 }; /* effects */
typedef struct {
    long first, many;
    int kinds, effect, value;
} order_t;

static order_t order;
static atomic_bool armed;
static atomic_long counted, struck;
static uintptr_t low, high; /* the watched module; high is 0 if every caller counts */
static const char *_Atomic last_name = "";

#define CALLER ((uintptr_t)__builtin_return_address(0))
#define NEXT(name)                                                                                 \
    ({                                                                                             \
        static __typeof__(&name) next;                                                             \
        if (next == NULL) next = (__typeof__(&name))dlsym(RTLD_NEXT, #name);                       \
        next;                                                                                      \
    })

/* ---- the interface ---- */

static int find_module(struct dl_phdr_info *info, size_t size, void *address) {
    (void)size;
    uintptr_t begin = UINTPTR_MAX, end = 0;
    for (int i = 0; i < info->dlpi_phnum; ++i) {
        if (info->dlpi_phdr[i].p_type != PT_LOAD) continue;
        const uintptr_t at = info->dlpi_addr + info->dlpi_phdr[i].p_vaddr;
        if (at < begin) begin = at;
        if (at + info->dlpi_phdr[i].p_memsz > end) end = at + info->dlpi_phdr[i].p_memsz;
    }
    if ((uintptr_t)address < begin || (uintptr_t)address >= end) return 0;
    low = begin;
    high = end;
    return 1;
}

/* Counts the calls of the module that contains this address, or of all if it is NULL; false if
 * there is no such module. */
bool failing_calls_watch(void *address) {
    low = high = 0;
    return address == NULL || dl_iterate_phdr(find_module, address) == 1;
}

/* From now on, the calls of these kinds with the numbers first ... first + many - 1 fail. effect
 * FAIL: with errno `value`; SHORT: reads and writes transfer half; SIGNAL: the process gets the
 * signal `value` and the call is made. */
void failing_calls_arm(int kinds, long first, long many, int effect, int value) {
    order = (order_t){first, many, kinds, effect, value};
    atomic_store(&counted, 0);
    atomic_store(&struck, 0);
    atomic_store(&last_name, "");
    atomic_store(&armed, true);
}

/* Ends counting; returns the number of calls since arming. */
long failing_calls_disarm(void) {
    atomic_store(&armed, false);
    return atomic_load(&counted);
}

/* How many calls had the effect, and the name of the last one. */
long failing_calls_struck(void) { return atomic_load(&struck); }
const char *failing_calls_name(void) { return atomic_load(&last_name); }

static void print_stack(int number) {
    void *frames[64];
    backtrace_symbols_fd(frames, backtrace(frames, 64), STDERR_FILENO);
    signal(number, SIG_DFL);
    raise(number);
}

/* Prints the stack in C when the process crashes, so that one sees whose code it was. */
void failing_calls_report_crashes(void) {
    void *frame;
    (void)backtrace(&frame, 1); /* it allocates at the first call */
    signal(SIGSEGV, print_stack);
    signal(SIGBUS, print_stack);
    signal(SIGABRT, print_stack);
}

static bool is_watched(uintptr_t caller) { return high == 0 || (caller >= low && caller < high); }

/* Counts a call; true if it is to have the effect. */
static bool strikes(int kind, const char *name, uintptr_t caller) {
    if (!atomic_load(&armed) || !(order.kinds & kind) || !is_watched(caller)) return false;
    const long number = atomic_fetch_add(&counted, 1) + 1;
    if (number < order.first || number - order.first >= order.many) return false;
    atomic_fetch_add(&struck, 1);
    atomic_store(&last_name, name);
    return true;
}

/* Has the effect on a call whose turn it is; true if the call fails. */
static bool take_effect(int kind) {
    if (order.effect == SIGNAL) kill(getpid(), order.value);
    if (order.effect != FAIL) return false;
    errno = kind == ALLOCATION ? ENOMEM : order.value;
    return true;
}

static bool fails(int kind, const char *name, uintptr_t caller) {
    return strikes(kind, name, caller) && take_effect(kind);
}

/* The same for a transfer of *size bytes, which may become shorter. */
static bool transfer_fails(const char *name, uintptr_t caller, size_t *size) {
    if (!strikes(SYSTEM_CALL, name, caller)) return false;
    if (order.effect == SHORT && *size > 1) *size /= 2;
    return take_effect(SYSTEM_CALL);
}

/* ---- allocations ---- */

/* What the watched module has allocated and not freed: a table of addresses by open addressing.
 * Counting frees would not do, because Python's jump from the module into `free`, too. */
enum { ROOM = 1 << 12 };
static void *_Atomic owned[ROOM];
#define REMOVED ((void *)owned)

static void own(void *made, uintptr_t caller) {
    if (made == NULL || high == 0 || !is_watched(caller)) return;
    for (uintptr_t i = 0; i < ROOM; ++i) {
        void *_Atomic *place = &owned[(((uintptr_t)made >> 4) + i) % ROOM];
        void *free_place = atomic_load(place);
        if (free_place != NULL && free_place != REMOVED) continue;
        if (atomic_compare_exchange_strong(place, &free_place, made)) return;
    }
    abort(); /* more allocations at a time than any test makes */
}

static void disown(void *old, uintptr_t caller) {
    if (old == NULL || high == 0 || !is_watched(caller)) return;
    for (uintptr_t i = 0; i < ROOM; ++i) {
        void *_Atomic *place = &owned[(((uintptr_t)old >> 4) + i) % ROOM];
        void *there = atomic_load(place);
        if (there == NULL) return;
        if (there == old && atomic_compare_exchange_strong(place, &there, REMOVED)) return;
    }
}

/* How many allocations the watched module has not freed. */
long failing_calls_live(void) {
    long n = 0;
    for (int i = 0; i < ROOM; ++i) {
        void *there = atomic_load(&owned[i]);
        n += there != NULL && there != REMOVED;
    }
    return n;
}

static void *note(void *made, uintptr_t caller) {
    own(made, caller);
    return made;
}

void *malloc(size_t size) {
    return fails(ALLOCATION, "malloc", CALLER) ? NULL : note(__libc_malloc(size), CALLER);
}

void *calloc(size_t count, size_t size) {
    return fails(ALLOCATION, "calloc", CALLER) ? NULL : note(__libc_calloc(count, size), CALLER);
}

void *realloc(void *old, size_t size) {
    if (fails(ALLOCATION, "realloc", CALLER)) return NULL;
    void *made = __libc_realloc(old, size);
    if (made != NULL) disown(old, CALLER);
    return note(made, CALLER);
}

void *aligned_alloc(size_t align, size_t size) {
    if (fails(ALLOCATION, "aligned_alloc", CALLER)) return NULL;
    return note(__libc_memalign(align, size), CALLER);
}

int posix_memalign(void **made, size_t align, size_t size) {
    if (fails(ALLOCATION, "posix_memalign", CALLER)) return ENOMEM;
    *made = note(__libc_memalign(align, size), CALLER);
    return *made == NULL ? ENOMEM : 0;
}

void free(void *old) {
    disown(old, CALLER);
    __libc_free(old);
}

void *mmap(void *at, size_t size, int access, int flags, int fd, off_t offset) {
    const int kind = fd < 0 ? ALLOCATION : SYSTEM_CALL;
    if (fails(kind, "mmap", CALLER)) return MAP_FAILED;
    return NEXT(mmap)(at, size, access, flags, fd, offset);
}

void *mmap64(void *at, size_t size, int access, int flags, int fd, off64_t offset) {
    const int kind = fd < 0 ? ALLOCATION : SYSTEM_CALL;
    if (fails(kind, "mmap", CALLER)) return MAP_FAILED;
    return NEXT(mmap64)(at, size, access, flags, fd, offset);
}

/* ---- files: open and close ---- */

/* The argument after `flags`, which is there if a file may be created. */
static mode_t mode_for(int flags, va_list more) {
    return flags & (O_CREAT | __O_TMPFILE) ? va_arg(more, mode_t) : 0;
}

int open(const char *path, int flags, ...) {
    va_list more;
    va_start(more, flags);
    const mode_t mode = mode_for(flags, more);
    va_end(more);
    return fails(SYSTEM_CALL, "open", CALLER) ? -1 : NEXT(open)(path, flags, mode);
}

int open64(const char *path, int flags, ...) {
    va_list more;
    va_start(more, flags);
    const mode_t mode = mode_for(flags, more);
    va_end(more);
    return fails(SYSTEM_CALL, "open", CALLER) ? -1 : NEXT(open64)(path, flags, mode);
}

int openat(int folder, const char *path, int flags, ...) {
    va_list more;
    va_start(more, flags);
    const mode_t mode = mode_for(flags, more);
    va_end(more);
    return fails(SYSTEM_CALL, "openat", CALLER) ? -1 : NEXT(openat)(folder, path, flags, mode);
}

int openat64(int folder, const char *path, int flags, ...) {
    va_list more;
    va_start(more, flags);
    const mode_t mode = mode_for(flags, more);
    va_end(more);
    return fails(SYSTEM_CALL, "openat", CALLER) ? -1 : NEXT(openat64)(folder, path, flags, mode);
}

FILE *fopen(const char *path, const char *mode) {
    return fails(SYSTEM_CALL, "fopen", CALLER) ? NULL : NEXT(fopen)(path, mode);
}

FILE *fopen64(const char *path, const char *mode) {
    return fails(SYSTEM_CALL, "fopen", CALLER) ? NULL : NEXT(fopen64)(path, mode);
}

DIR *opendir(const char *path) {
    return fails(SYSTEM_CALL, "opendir", CALLER) ? NULL : NEXT(opendir)(path);
}

struct dirent64 *readdir64(DIR *folder) {
    return fails(SYSTEM_CALL, "readdir", CALLER) ? NULL : NEXT(readdir64)(folder);
}

/* A close that fails has closed the descriptor, as on Linux. */
int close(int fd) {
    const bool failed = fails(SYSTEM_CALL, "close", CALLER);
    const int error = errno, result = NEXT(close)(fd);
    if (failed) errno = error;
    return failed ? -1 : result;
}

int dup(int fd) { return fails(SYSTEM_CALL, "dup", CALLER) ? -1 : NEXT(dup)(fd); }

int fcntl64(int fd, int command, ...) {
    va_list more;
    va_start(more, command);
    void *argument = va_arg(more, void *); /* an int or a pointer; both are passed in a register */
    va_end(more);
    return fails(SYSTEM_CALL, "fcntl", CALLER) ? -1 : NEXT(fcntl64)(fd, command, argument);
}

/* ---- files: content ---- */

ssize_t read(int fd, void *to, size_t size) {
    return transfer_fails("read", CALLER, &size) ? -1 : NEXT(read)(fd, to, size);
}

ssize_t pread64(int fd, void *to, size_t size, off64_t at) {
    return transfer_fails("pread", CALLER, &size) ? -1 : NEXT(pread64)(fd, to, size, at);
}

ssize_t write(int fd, const void *from, size_t size) {
    return transfer_fails("write", CALLER, &size) ? -1 : NEXT(write)(fd, from, size);
}

ssize_t pwrite64(int fd, const void *from, size_t size, off64_t at) {
    return transfer_fails("pwrite", CALLER, &size) ? -1 : NEXT(pwrite64)(fd, from, size, at);
}

ssize_t writev(int fd, const struct iovec *parts, int count) {
    return fails(SYSTEM_CALL, "writev", CALLER) ? -1 : NEXT(writev)(fd, parts, count);
}

int ftruncate64(int fd, off64_t size) {
    return fails(SYSTEM_CALL, "ftruncate", CALLER) ? -1 : NEXT(ftruncate64)(fd, size);
}

int fsync(int fd) { return fails(SYSTEM_CALL, "fsync", CALLER) ? -1 : NEXT(fsync)(fd); }

int fdatasync(int fd) { return fails(SYSTEM_CALL, "fdatasync", CALLER) ? -1 : NEXT(fdatasync)(fd); }

int flock(int fd, int kind) {
    return fails(SYSTEM_CALL, "flock", CALLER) ? -1 : NEXT(flock)(fd, kind);
}

/* ---- files: names and attributes ---- */

int rename(const char *from, const char *to) {
    return fails(SYSTEM_CALL, "rename", CALLER) ? -1 : NEXT(rename)(from, to);
}

int renameat(int of, const char *from, int in, const char *to) {
    return fails(SYSTEM_CALL, "renameat", CALLER) ? -1 : NEXT(renameat)(of, from, in, to);
}

int unlink(const char *path) {
    return fails(SYSTEM_CALL, "unlink", CALLER) ? -1 : NEXT(unlink)(path);
}

int unlinkat(int folder, const char *path, int flags) {
    return fails(SYSTEM_CALL, "unlinkat", CALLER) ? -1 : NEXT(unlinkat)(folder, path, flags);
}

int mkdir(const char *path, mode_t mode) {
    return fails(SYSTEM_CALL, "mkdir", CALLER) ? -1 : NEXT(mkdir)(path, mode);
}

int chmod(const char *path, mode_t mode) {
    return fails(SYSTEM_CALL, "chmod", CALLER) ? -1 : NEXT(chmod)(path, mode);
}

int fchmod(int fd, mode_t mode) {
    return fails(SYSTEM_CALL, "fchmod", CALLER) ? -1 : NEXT(fchmod)(fd, mode);
}

int access(const char *path, int mode) {
    return fails(SYSTEM_CALL, "access", CALLER) ? -1 : NEXT(access)(path, mode);
}

int stat64(const char *path, struct stat64 *found) {
    return fails(SYSTEM_CALL, "stat", CALLER) ? -1 : NEXT(stat64)(path, found);
}

int lstat64(const char *path, struct stat64 *found) {
    return fails(SYSTEM_CALL, "lstat", CALLER) ? -1 : NEXT(lstat64)(path, found);
}

int fstat64(int fd, struct stat64 *found) {
    return fails(SYSTEM_CALL, "fstat", CALLER) ? -1 : NEXT(fstat64)(fd, found);
}

int fstatat64(int folder, const char *path, struct stat64 *found, int flags) {
    return fails(SYSTEM_CALL, "fstatat", CALLER) ? -1 : NEXT(fstatat64)(folder, path, found, flags);
}

ssize_t readlink(const char *path, char *to, size_t size) {
    return fails(SYSTEM_CALL, "readlink", CALLER) ? -1 : NEXT(readlink)(path, to, size);
}

char *getcwd(char *to, size_t size) {
    return fails(SYSTEM_CALL, "getcwd", CALLER) ? NULL : NEXT(getcwd)(to, size);
}

int ioctl(int fd, unsigned long request, ...) {
    va_list more;
    va_start(more, request);
    void *argument = va_arg(more, void *);
    va_end(more);
    return fails(SYSTEM_CALL, "ioctl", CALLER) ? -1 : NEXT(ioctl)(fd, request, argument);
}

/* ---- the system: threads, processors, memory, random numbers ---- */

int pthread_create(pthread_t *thread, const pthread_attr_t *how, void *(*entry)(void *),
                   void *arg) {
    if (fails(SYSTEM_CALL, "pthread_create", CALLER)) return EAGAIN;
    return NEXT(pthread_create)(thread, how, entry, arg);
}

int sched_getaffinity(pid_t process, size_t size, cpu_set_t *found) {
    if (fails(SYSTEM_CALL, "sched_getaffinity", CALLER)) return -1;
    return NEXT(sched_getaffinity)(process, size, found);
}

long sysconf(int name) { return fails(SYSTEM_CALL, "sysconf", CALLER) ? -1 : NEXT(sysconf)(name); }

int madvise(void *at, size_t size, int advice) {
    return fails(SYSTEM_CALL, "madvise", CALLER) ? -1 : NEXT(madvise)(at, size, advice);
}

ssize_t getrandom(void *to, size_t size, unsigned flags) {
    return transfer_fails("getrandom", CALLER, &size) ? -1 : NEXT(getrandom)(to, size, flags);
}
