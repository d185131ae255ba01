/* See shim.h. */
#define _GNU_SOURCE
#include "shim.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <time.h>
#include <unistd.h>

#define KVM_RUN 0xae80
#define KVM_TYPE 0xae
#define KILL (-1)

static struct fault_order ordered;
static pid_t orderer;
static atomic_long seen, fired;
static atomic_int in_force, threads_fail;
static atomic_long clock_offset_s;

void fault_order(struct fault_order order) {
    atomic_store(&in_force, 0);
    ordered = order;
    orderer = (pid_t)syscall(SYS_gettid);
    atomic_store(&seen, 0);
    atomic_store(&fired, 0);
    atomic_store(&in_force, 1);
}

long fault_end(void) {
    atomic_store(&in_force, 0);
    return atomic_load(&fired);
}

long fault_seen(void) {
    return atomic_load(&seen);
}

void fault_threads_fail(int fail) {
    atomic_store(&threads_fail, fail);
}

void fault_step_clock(long seconds) {
    atomic_fetch_add(&clock_offset_s, seconds);
}

static void report(void) {
    const char *path = getenv("ZB_FAULT_REPORT");
    if (path != NULL) {
        int fd = (int)syscall(SYS_openat, AT_FDCWD, path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
        syscall(SYS_write, fd, "fired", 5);
        syscall(SYS_close, fd);
    }
}

static int is_ordered(enum fault_kind kind) {
    int here = (pid_t)syscall(SYS_gettid) == orderer;
    if ((ordered.threads == FAULT_THIS_THREAD && !here) ||
        (ordered.threads == FAULT_OTHER_THREADS && here)) {
        return 0;
    }
    return kind == ordered.kind || (kind == FAULT_KVM_RUN && ordered.kind == FAULT_IOCTL) ||
           (ordered.kind == FAULT_MOST && kind != FAULT_FILES);
}

/* Whether this call has to fail; errno says how then. */
static int fails(enum fault_kind kind) {
    long nth;
    if (!atomic_load(&in_force) || !is_ordered(kind)) {
        return 0;
    }
    nth = atomic_fetch_add(&seen, 1) + 1;
    if (nth < ordered.nth || (ordered.count >= 0 && nth >= ordered.nth + ordered.count)) {
        return 0;
    }
    if (atomic_fetch_add(&fired, 1) == 0) {
        report();
    }
    if (ordered.error == KILL) {
        kill(getpid(), SIGKILL);
    }
    errno = ordered.error;
    return 1;
}

/* The functions that stand in for libc's. */

int ioctl(int fd, unsigned long request, ...) {
    va_list arguments;
    void *argument;
    va_start(arguments, request);
    argument = va_arg(arguments, void *);
    va_end(arguments);
    if ((request >> 8 & 0xff) == KVM_TYPE && fails(request == KVM_RUN ? FAULT_KVM_RUN : FAULT_IOCTL)) {
        return -1;
    }
    return (int)syscall(SYS_ioctl, fd, request, argument);
}

void *mmap(void *at, size_t len, int prot, int flags, int fd, off_t offset) {
    /* What maps no file is somebody's heap. */
    if (fd >= 0 && fails(FAULT_MEMORY)) {
        return (void *)-1;
    }
    return (void *)syscall(SYS_mmap, at, len, prot, flags, fd, offset);
}

void *mmap64(void *at, size_t len, int prot, int flags, int fd, off64_t offset) {
    return mmap(at, len, prot, flags, fd, offset);
}

int madvise(void *at, size_t len, int advice) {
    return fails(FAULT_MEMORY) ? -1 : (int)syscall(SYS_madvise, at, len, advice);
}

int memfd_create(const char *name, unsigned flags) {
    return fails(FAULT_MEMORY) ? -1 : (int)syscall(SYS_memfd_create, name, flags);
}

int ftruncate64(int fd, off64_t len) {
    return fails(FAULT_MEMORY) || fails(FAULT_FILES) ? -1 : (int)syscall(SYS_ftruncate, fd, len);
}

int ftruncate(int fd, off_t len) {
    return ftruncate64(fd, len);
}

static int open_at(int dir, const char *path, int flags, mode_t mode) {
    if (fails(FAULT_OPEN) || (flags & (O_WRONLY | O_RDWR | O_CREAT) && fails(FAULT_FILES))) {
        return -1;
    }
    return (int)syscall(SYS_openat, dir, path, flags, mode);
}

#define OPEN(name, before, dir)                                                                    \
    int name(before const char *path, int flags, ...) {                                            \
        va_list arguments;                                                                         \
        mode_t mode;                                                                               \
        va_start(arguments, flags);                                                                \
        mode = va_arg(arguments, mode_t);                                                          \
        va_end(arguments);                                                                         \
        return open_at(dir, path, flags, mode);                                                    \
    }
#define NOTHING
#define DIR_ARGUMENT int dir,

OPEN(open, NOTHING, AT_FDCWD)
OPEN(open64, NOTHING, AT_FDCWD)
OPEN(openat, DIR_ARGUMENT, dir)
OPEN(openat64, DIR_ARGUMENT, dir)

ssize_t write(int fd, const void *bytes, size_t len) {
    /* Standard output and standard error are no files of a snapshot. */
    return fd > 2 && fails(FAULT_FILES) ? -1 : syscall(SYS_write, fd, bytes, len);
}

ssize_t pwrite64(int fd, const void *bytes, size_t len, off64_t at) {
    return fails(FAULT_FILES) ? -1 : syscall(SYS_pwrite64, fd, bytes, len, at);
}

ssize_t pread64(int fd, void *bytes, size_t len, off64_t at) {
    return fails(FAULT_READ) ? -1 : syscall(SYS_pread64, fd, bytes, len, at);
}

int fsync(int fd) {
    return fails(FAULT_FILES) ? -1 : (int)syscall(SYS_fsync, fd);
}

int linkat(int from_dir, const char *from, int to_dir, const char *to, int flags) {
    return fails(FAULT_FILES) ? -1 : (int)syscall(SYS_linkat, from_dir, from, to_dir, to, flags);
}

int link(const char *from, const char *to) {
    return linkat(AT_FDCWD, from, AT_FDCWD, to, 0);
}

int rename(const char *from, const char *to) {
    return fails(FAULT_FILES) ? -1 : (int)syscall(SYS_rename, from, to);
}

int renameat2(int from_dir, const char *from, int to_dir, const char *to, unsigned flags) {
    return fails(FAULT_FILES) ? -1 : (int)syscall(SYS_renameat2, from_dir, from, to_dir, to, flags);
}

int mkdir(const char *path, mode_t mode) {
    return fails(FAULT_FILES) ? -1 : (int)syscall(SYS_mkdir, path, mode);
}

int unlinkat(int dir, const char *path, int flags) {
    return fails(FAULT_FILES) ? -1 : (int)syscall(SYS_unlinkat, dir, path, flags);
}

int rmdir(const char *path) {
    return fails(FAULT_FILES) ? -1 : (int)syscall(SYS_rmdir, path);
}

/* What is more than a system call goes on to libc. */
/* POSIX converts what ISO C does not; __extension__ says that it is meant. */
#define NEXT(name) (__extension__(__typeof__(&name)) dlsym(RTLD_NEXT, #name))

int timer_create(clockid_t clock, struct sigevent *restrict event, timer_t *restrict timer) {
    return fails(FAULT_TIMER) ? -1 : NEXT(timer_create)(clock, event, timer);
}

int timer_settime(timer_t timer, int flags, const struct itimerspec *restrict new,
                  struct itimerspec *restrict old) {
    return fails(FAULT_TIMER) ? -1 : NEXT(timer_settime)(timer, flags, new, old);
}

int pthread_create(pthread_t *restrict thread, const pthread_attr_t *restrict attributes,
                   void *(*body)(void *), void *restrict argument) {
    if (atomic_load(&threads_fail)) {
        return EAGAIN;
    }
    return fails(FAULT_THREAD) ? errno : NEXT(pthread_create)(thread, attributes, body, argument);
}

int clock_gettime(clockid_t clock, struct timespec *time) {
    int done = (int)syscall(SYS_clock_gettime, clock, time);
    if (done == 0 && clock == CLOCK_REALTIME) {
        time->tv_sec += atomic_load(&clock_offset_s);
    }
    return done;
}

__attribute__((constructor)) static void take_orders(void) {
    static const char *const kinds[] = {FAULT_KINDS};
    const char *order = getenv("ZB_FAULT");
    char kind[16], action[16], plus[2] = "";
    long nth;
    size_t i;
    if (order == NULL) {
        return;
    }
    if (sscanf(order, "%15[a-z_]:%ld%1[+]:%15s", kind, &nth, plus, action) != 4) {
        plus[0] = 0;
        if (sscanf(order, "%15[a-z_]:%ld:%15s", kind, &nth, action) != 3) {
            fprintf(stderr, "shim: no order: %s\n", order);
            abort();
        }
    }
    for (i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        if (strcmp(kinds[i], kind) == 0) {
            struct fault_order made = {(enum fault_kind)i, nth, plus[0] ? -1 : 1,
                                       strcmp(action, "KILL") == 0 ? KILL : atoi(action),
                                       FAULT_ANY_THREAD};
            fault_order(made);
        }
    }
}
