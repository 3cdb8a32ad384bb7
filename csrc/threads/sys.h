/* sys.h: the system calls that the pool needs, under the same names on POSIX and Windows. */
#ifndef FASTBP_THREADS_SYS_H
#define FASTBP_THREADS_SYS_H

#include "../base/common.h"

#if defined(_WIN32)
#include <windows.h>

typedef SRWLOCK fbp_mutex_t;
typedef CONDITION_VARIABLE fbp_cond_t;
typedef HANDLE fbp_thread_t;
#define FBP_MUTEX_INIT SRWLOCK_INIT
#define FBP_COND_INIT CONDITION_VARIABLE_INIT
#define FBP_THREAD_ENTRY(name, arg) static DWORD WINAPI name(LPVOID arg)
#define FBP_THREAD_RETURN return 0

FBP_INLINE void fbp_lock(fbp_mutex_t *m) { AcquireSRWLockExclusive(m); }
FBP_INLINE void fbp_unlock(fbp_mutex_t *m) { ReleaseSRWLockExclusive(m); }
FBP_INLINE void fbp_wait(fbp_cond_t *c, fbp_mutex_t *m) {
    SleepConditionVariableSRW(c, m, INFINITE, 0);
}
FBP_INLINE void fbp_wake_all(fbp_cond_t *c) { WakeAllConditionVariable(c); }
FBP_INLINE bool fbp_spawn(fbp_thread_t *thread, LPTHREAD_START_ROUTINE entry, void *arg) {
    *thread = CreateThread(NULL, 0, entry, arg, 0, NULL);
    return *thread != NULL;
}
FBP_INLINE void fbp_join(fbp_thread_t thread) {
    WaitForSingleObject(thread, INFINITE);
    CloseHandle(thread);
}
#else
#include <pthread.h>
#include <signal.h>

typedef pthread_mutex_t fbp_mutex_t;
typedef pthread_cond_t fbp_cond_t;
typedef pthread_t fbp_thread_t;
#define FBP_MUTEX_INIT PTHREAD_MUTEX_INITIALIZER
#define FBP_COND_INIT PTHREAD_COND_INITIALIZER
#define FBP_THREAD_ENTRY(name, arg) static void *name(void *arg)
#define FBP_THREAD_RETURN return NULL

FBP_INLINE void fbp_lock(fbp_mutex_t *m) { pthread_mutex_lock(m); }
FBP_INLINE void fbp_unlock(fbp_mutex_t *m) { pthread_mutex_unlock(m); }
FBP_INLINE void fbp_wait(fbp_cond_t *c, fbp_mutex_t *m) { pthread_cond_wait(c, m); }
FBP_INLINE void fbp_wake_all(fbp_cond_t *c) { pthread_cond_broadcast(c); }

/* The least stack of a thread. The engine itself needs some tens of KiB, but fastbp_predict calls
 * the caller's loss on threads of the pool, and threads of musl have 128 KiB unless they are given
 * more, those of macOS 512. The pages are used only when they are touched. */
#define FBP_STACK_BYTES ((size_t)2 << 20)

/* Sets the attributes of a thread with that much stack; false if it must do with the default. */
FBP_INLINE bool fbp_stack_attributes(pthread_attr_t *attributes) {
    size_t bytes;
    if (pthread_attr_init(attributes) != 0) return false;
    if (pthread_attr_getstacksize(attributes, &bytes) == 0 &&
        (bytes >= FBP_STACK_BYTES || pthread_attr_setstacksize(attributes, FBP_STACK_BYTES) == 0))
        return true;
    pthread_attr_destroy(attributes);
    return false;
}

FBP_INLINE bool fbp_spawn(fbp_thread_t *thread, void *(*entry)(void *), void *arg) {
    pthread_attr_t attributes;
    sigset_t all, before; /* signals must not interrupt threads of the pool */
    const bool chosen = fbp_stack_attributes(&attributes);
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    const bool started = pthread_create(thread, chosen ? &attributes : NULL, entry, arg) == 0;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (chosen) pthread_attr_destroy(&attributes);
    return started;
}
FBP_INLINE void fbp_join(fbp_thread_t thread) { pthread_join(thread, NULL); }
#endif

/* Tells the processor that this is a spin loop. */
FBP_INLINE void fbp_pause(void) {
#if defined(_MSC_VER)
    YieldProcessor();
#elif defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

#endif
