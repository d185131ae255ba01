/*
 * Faults on order: system calls fail as they would on a host in trouble.
 *
 * A program that links the shim orders them with fault_order; one that gets it by LD_PRELOAD, with
 * the environment:
 *   ZB_FAULT=KIND:NTH:ACTION   the NTH call of the kind fails, counted from 1; "NTH+" for it and all
 *                              that follow. ACTION is a number (an errno), or KILL (SIGKILL).
 *   ZB_FAULT_REPORT=FILE       gets "fired" when it has happened
 * The kinds are the names in fault_kinds.
 */
#ifndef SHIM_H
#define SHIM_H

enum fault_kind {
    FAULT_NONE,
    FAULT_IOCTL,   /* any of KVM's */
    FAULT_KVM_RUN, /* that one */
    FAULT_MEMORY,  /* mmap, madvise, memfd_create, ftruncate of one */
    FAULT_OPEN,    /* open, openat */
    FAULT_TIMER,   /* timer_create, timer_settime */
    FAULT_THREAD,  /* pthread_create */
    FAULT_READ,    /* pread */
    FAULT_FILES,   /* all that changes files: open to write, write, pwrite, ftruncate, fsync, link,
                      rename, mkdir, unlink, rmdir */
    FAULT_MOST,    /* IOCTL, MEMORY, OPEN, TIMER, THREAD and READ together */
};

#define FAULT_KINDS "none", "ioctl", "kvm_run", "memory", "open", "timer", "thread", "read", "files", "most"

enum fault_threads { FAULT_ANY_THREAD, FAULT_THIS_THREAD, FAULT_OTHER_THREADS };

struct fault_order {
    enum fault_kind kind;
    long nth;   /* counted from 1 */
    long count; /* how many in a row; -1 for all */
    int error;
    enum fault_threads threads;
};

/* Counts from now on, and forgets what was ordered before. */
void fault_order(struct fault_order order);

/* Orders nothing more. How many calls failed since the order. */
long fault_end(void);

/* How many calls of the kind there were since the order. */
long fault_seen(void);

/* From now on no thread can be started, or as before. */
void fault_threads_fail(int fail);

/* Steps CLOCK_REALTIME. */
void fault_step_clock(long seconds);

#endif
