/*
 * zeroboot: real virtual machines for the price of a function call.
 *
 *     zb_snapshot *snapshot;
 *     zb_sandbox *sandbox;
 *     zb_result *result;
 *     zb_run_options run;
 *     size_t len;
 *
 *     ZB_INIT(run);
 *     run.code = "print(6*7)";
 *     run.code_len = strlen(run.code);
 *     zb_snapshot_load("/path/of/a/template", NULL, &snapshot, NULL);
 *     zb_fork(snapshot, NULL, &sandbox, NULL);
 *     zb_run(sandbox, &run, &result, NULL);
 *     fwrite(zb_result_stdout(result, &len), 1, len, stdout);
 *
 * with every return value checked. What holds for all functions:
 *
 * - Status. A function that can fail returns a zb_status; ZB_OK is 0. It writes its out parameter
 *   on success and sets it to NULL on failure. An out parameter may not be NULL itself.
 * - Errors. The last parameter, err, may be NULL. If it is not, it gets NULL on success and an
 *   error object on failure, which the caller frees with zb_error_free. What *err held before is
 *   overwritten without being looked at. There is no state in a thread.
 * - What a guest does is not an error. A program that fails, hangs, floods its output, or takes
 *   its virtual machine down gives ZB_OK and a zb_result that says so.
 * - Ownership. What a function gives through an out parameter is the caller's, to be freed with
 *   the function that its type names. Freeing NULL does nothing. Handles may be freed in any
 *   order: a sandbox keeps what it needs of its snapshot, a run what it needs of its cancel token,
 *   and results and errors outlive everything. Using a handle after it was freed is undefined.
 * - Pointers that are passed in are borrowed for the call, unless a parameter says otherwise.
 * - Options. An option structure begins with its size; ZB_INIT sets that and clears the rest. NULL
 *   in place of one means its defaults, and so does a field that is 0. Fields are only ever added
 *   at the end, so a program runs with an older and with a newer library than it was compiled
 *   for; an option that the library does not know gives ZB_ERR_UNSUPPORTED.
 * - Threads. Every function may be called from any thread. Snapshots, cancel tokens, results and
 *   errors may be used by several threads at once. A sandbox takes one call at a time; a call that
 *   overlaps another gives ZB_ERR_BUSY. Freeing an object is the last use of it: no other thread
 *   may be using it then, save that zb_free may come while a zb_run is in flight.
 * - Callbacks come on the thread that called the library and must return: no C++ exception and no
 *   longjmp may leave them. During zb_run one real-time signal (SIGRTMIN+13) is blocked in the
 *   calling thread, also in callbacks.
 * - fork(2). Handles belong to the process that made them. In a child of fork(2), a function that
 *   is given a snapshot or a sandbox of the parent gives ZB_ERR_WRONG_PROCESS, and freeing one
 *   does nothing. The parent is not affected, and the child may load snapshots of its own.
 * - Cancellation. pthread_cancel(3) of a thread that is inside of a function, or of a callback, takes
 *   effect when the function has returned. Asynchronous cancelability is not supported.
 * - The library does not exit, abort, print, or change the process's signal handlers.
 */

#ifndef ZEROBOOT_H
#define ZEROBOOT_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

/*
 * Prepares an option structure: ZB_INIT(opts) clears the variable (not pointer) opts and sets its
 * size.
 */
#define ZB_INIT(opts) (memset(&(opts), 0, sizeof(opts)), (void)((opts).size = sizeof(opts)))

#ifdef __cplusplus
extern "C" {
#endif

/* ----------------------------------------------------------------------------------------------
 * Version
 */

/**
 * The version of the binary interface that this header describes: see zb_abi_version.
 */
#define ZB_ABI_VERSION 0

/**
 * In zb_features: zb_load_options.flags takes ZB_LOAD_VERIFY.
 */
#define ZB_FEATURE_LOAD_VERIFY 1

/**
 * In zb_features: zb_load_options.flags takes ZB_LOAD_SEALED_COPY.
 */
#define ZB_FEATURE_LOAD_SEALED_COPY 2

/**
 * In zb_features: zb_fork_options.flags takes ZB_FORK_FRESH.
 */
#define ZB_FEATURE_FORK_FRESH 4

/**
 * In zb_features: zb_fork_options has instance_id.
 */
#define ZB_FEATURE_FORK_INSTANCE_ID 8

/**
 * The library's version.
 *
 * Returns text such as "0.1.0" that ends with a NUL and lives as long as the library is loaded.
 * Threads: any, also several at once. Since 0.1.
 */
const char *zb_version(void);

/**
 * The version of the binary interface that the library has. A program works with every library that
 * has the ZB_ABI_VERSION that it was compiled with; what is added does not change it.
 *
 * Returns the version.
 * Threads: any, also several at once. Since 0.1.
 */
uint32_t zb_abi_version(void);

/**
 * What the library can do beyond what every library of its ZB_ABI_VERSION can.
 *
 * Returns ZB_FEATURE_ bits. Bits that you do not know are of no concern.
 * Threads: any, also several at once. Since 0.1.
 */
uint64_t zb_features(void);

/* ----------------------------------------------------------------------------------------------
 * Status
 *
 * What a function returns. Values are never given another meaning; later versions may add some, so
 * treat one that you do not know as a failure.
 */

/**
 * What a function returns: ZB_OK, or a ZB_ERR_ constant.
 *
 * Since 0.1.
 */
typedef int32_t zb_status;

/**
 * It worked.
 */
#define ZB_OK 0

/**
 * An argument is NULL, or has a value that makes no sense.
 */
#define ZB_ERR_INVALID_ARGUMENT 1

/**
 * An option, a flag or a field that this version of the library does not know.
 */
#define ZB_ERR_UNSUPPORTED 2

/**
 * There is no such file or directory.
 */
#define ZB_ERR_NOT_FOUND 3

/**
 * A file's contents are not what they should be: truncated, changed, or of another kind.
 */
#define ZB_ERR_CORRUPT 4

/**
 * A snapshot in a format of another version; build it again.
 */
#define ZB_ERR_VERSION 5

/**
 * A snapshot that this host cannot run, because its processor or its KVM lacks something.
 */
#define ZB_ERR_HOST 6

/**
 * A snapshot in which clocks would be wrong, because its host's stands before it.
 */
#define ZB_ERR_CLOCK 7

/**
 * KVM is not there, may not be used, lacks something, or refused something.
 */
#define ZB_ERR_KVM 8

/**
 * A limit of the process or of the system was reached: open files, mappings, memory. The message
 * names it.
 */
#define ZB_ERR_LIMIT 9

/**
 * A file cannot be read, or the system refused something else.
 */
#define ZB_ERR_IO 10

/**
 * There is no memory for the object to be returned.
 */
#define ZB_ERR_NO_MEMORY 11

/**
 * The sandbox, or the callback to be replaced, is in use at this moment.
 */
#define ZB_ERR_BUSY 12

/**
 * The sandbox cannot run anything any more: an earlier run was its last.
 */
#define ZB_ERR_DEAD 13

/**
 * The handle was made by another process, of which this one is a child by fork(2).
 */
#define ZB_ERR_WRONG_PROCESS 14

/**
 * A defect of the library. A sandbox that it happened to is dead; all else can be used as before.
 */
#define ZB_ERR_INTERNAL 15

/* ----------------------------------------------------------------------------------------------
 * Errors
 */

/**
 * What went wrong: a status, a message, and the errno where there is one. It never changes.
 *
 * Freed with zb_error_free.
 *
 * Since 0.1.
 */
typedef struct zb_error zb_error;

/**
 * The status that the failed function returned.
 *
 * error: may be NULL.
 *
 * Returns the status; ZB_OK for NULL.
 * Threads: any, also several at once. Since 0.1.
 */
zb_status zb_error_status(const zb_error *error);

/**
 * The errno (of errno.h) that the system gave.
 *
 * error: may be NULL.
 *
 * Returns the errno; 0 if the failure was not the system's, and for NULL.
 * Threads: any, also several at once. Since 0.1.
 */
int32_t zb_error_errno(const zb_error *error);

/**
 * What failed, which one and by how much, in English, for a log or a person.
 *
 * error: may be NULL.
 *
 * Returns UTF-8 text that ends with a NUL and has no line end; it belongs to the error and lives
 * until zb_error_free. "" for NULL.
 * Threads: any, also several at once. Since 0.1.
 */
const char *zb_error_message(const zb_error *error);

/**
 * Frees an error.
 *
 * error: may be NULL; not to be used again, nor its message.
 *
 * Threads: any. Since 0.1.
 */
void zb_error_free(zb_error *error);

/* ----------------------------------------------------------------------------------------------
 * Log
 *
 * The library prints nothing. What it and the guests' kernels have to say goes to a callback.
 */

/**
 * How much a message matters: a ZB_LOG_ constant from ZB_LOG_ERROR to ZB_LOG_TRACE.
 *
 * Since 0.1.
 */
typedef uint32_t zb_log_level;

/**
 * Who a message comes from: ZB_LOG_LIBRARY or ZB_LOG_GUEST.
 *
 * Since 0.1.
 */
typedef uint32_t zb_log_source;

/**
 * Gets a message.
 *
 * user: what was given to zb_log_set_callback.
 * level: ZB_LOG_ERROR to ZB_LOG_TRACE.
 * source: ZB_LOG_LIBRARY or ZB_LOG_GUEST.
 * text: len bytes, without a line end or a NUL at the end; borrowed for the call. From a guest, any
 * bytes.
 *
 * Threads: comes on whatever thread is inside the library, so on several at once. Messages that its
 * own calls to the library give are dropped. Since 0.1.
 */
typedef void (*zb_log_callback)(void *user,
                                zb_log_level level,
                                zb_log_source source,
                                const char *text,
                                size_t len);

/**
 * Something failed.
 */
#define ZB_LOG_ERROR 1

/**
 * Something is not as it should be.
 */
#define ZB_LOG_WARN 2

/**
 * Something worth knowing. Lines of guests' consoles have this level.
 */
#define ZB_LOG_INFO 3

/**
 * For people who look for a fault.
 */
#define ZB_LOG_DEBUG 4

/**
 * For people who look for a fault in the library.
 */
#define ZB_LOG_TRACE 5

/**
 * The library.
 */
#define ZB_LOG_LIBRARY 1

/**
 * A guest's console. The guest decides what is written there, so trust it no more than the guest.
 */
#define ZB_LOG_GUEST 2

/**
 * Sets who gets the log of the whole process, in place of who got it before.
 *
 * When it returns, the callback from before is no longer being called and its user pointer is no
 * longer used. Messages that come at that very moment may be lost.
 *
 * max_level: messages up to this level are passed on: ZB_LOG_ERROR to ZB_LOG_TRACE.
 * callback: called for each message until it is replaced; NULL for none, with any max_level.
 * user: passed to the callback as it is; may be NULL.
 * err: may be NULL; gets NULL or an error; free it with zb_error_free.
 *
 * Returns ZB_OK, or ZB_ERR_INVALID_ARGUMENT (max_level is none), ZB_ERR_BUSY (called from the
 * callback), ZB_ERR_INTERNAL.
 * Threads: any. Since 0.1.
 */
zb_status zb_log_set_callback(zb_log_level max_level,
                              zb_log_callback callback,
                              void *user,
                              zb_error **err);

/* ----------------------------------------------------------------------------------------------
 * Host
 *
 * What this machine's KVM is and can do. Nothing else needs to be called first: loading a snapshot
 * checks by itself whether the host can run it.
 */

/**
 * What a host turned out to be when it was probed. It never changes, and keeps nothing open.
 *
 * Freed with zb_host_free.
 *
 * Since 0.1.
 */
typedef struct zb_host zb_host;

/**
 * The module of the kernel that is behind /dev/kvm: a ZB_KVM_ constant. Later versions may add some.
 *
 * Since 0.1.
 */
typedef uint32_t zb_kvm_kind;

/**
 * Intel VT-x.
 */
#define ZB_KVM_INTEL 1

/**
 * AMD-V.
 */
#define ZB_KVM_AMD 2

/**
 * A KVM that needs no hardware virtualisation.
 */
#define ZB_KVM_SOFTWARE 3

/**
 * None of the others.
 */
#define ZB_KVM_OTHER 4

/**
 * Finds out whether sandboxes can be made on this host, and how well it runs them, by running a tiny
 * virtual machine. That takes some milliseconds the first time in a process, and little later.
 *
 * out: gets what was found; free it with zb_host_free.
 * err: may be NULL; gets NULL or an error; free it with zb_error_free.
 *
 * Returns ZB_OK, which says that sandboxes can be made, or
 * ZB_ERR_INVALID_ARGUMENT (out is NULL),
 * ZB_ERR_KVM (they cannot: /dev/kvm is not there or may not be used, or lacks what the message names),
 * ZB_ERR_LIMIT (no more files, mappings or timers),
 * ZB_ERR_IO, ZB_ERR_NO_MEMORY, ZB_ERR_INTERNAL.
 * Threads: any, also several at once. Since 0.1.
 */
zb_status zb_host_probe(zb_host **out,
                        zb_error **err);

/**
 * Which KVM the host has.
 *
 * host: may be NULL.
 *
 * Returns a ZB_KVM_ constant; 0, which is none of them, for NULL.
 * Threads: any, also several at once. Since 0.1.
 */
zb_kvm_kind zb_host_kvm_kind(const zb_host *host);

/**
 * Whether the processor executes a guest's kernel. Where it does not, KVM's instruction emulator does:
 * a guest's system calls and page faults are slow there, its computing is not. A snapshot is for one
 * or the other; loading it on a host of the other kind gives ZB_ERR_HOST.
 *
 * host: may be NULL.
 *
 * Returns 1 if it does; 0 if not, and for NULL.
 * Threads: any, also several at once. Since 0.1.
 */
int32_t zb_host_is_ring0_native(const zb_host *host);

/**
 * Whether a guest's time stamp counter can be set. Where it cannot, a snapshot is of use until its host
 * boots again or sets its clock; loading it after that gives ZB_ERR_CLOCK.
 *
 * host: may be NULL.
 *
 * Returns 1 if it can; 0 if not, and for NULL.
 * Threads: any, also several at once. Since 0.1.
 */
int32_t zb_host_is_tsc_settable(const zb_host *host);

/**
 * The rate of the host's time stamp counter, in kHz.
 *
 * host: may be NULL.
 *
 * Returns the kHz; 0 for NULL.
 * Threads: any, also several at once. Since 0.1.
 */
uint32_t zb_host_tsc_khz(const zb_host *host);

/**
 * Frees what zb_host_probe gave.
 *
 * host: may be NULL; not to be used again.
 *
 * Threads: any. Since 0.1.
 */
void zb_host_free(zb_host *host);

/* ----------------------------------------------------------------------------------------------
 * Snapshots
 *
 * A template on disk, loaded and ready to be forked.
 */

/**
 * For zb_load_options.flags: read and hash the memory and the root file system's image, and compare
 * with what the snapshot says of itself. Takes as long as reading them does.
 */
#define ZB_LOAD_VERIFY 1

/**
 * For zb_load_options.flags: copy the memory into a sealed memory file first. Without it, somebody
 * who truncates the snapshot's file while it is in use makes this process fault (SIGBUS).
 */
#define ZB_LOAD_SEALED_COPY 2

/**
 * For zb_load_options.flags: take a snapshot by Firecracker even if time would stand still in its
 * sandboxes, on a host whose time stamp counter cannot be set and has not got as far as it was when the
 * snapshot was taken. Without it that is ZB_ERR_CLOCK.
 */
#define ZB_LOAD_ANY_CLOCK 4

/**
 * For options where 0 stands for another default: none.
 */
#define ZB_NONE UINT32_MAX

/**
 * A snapshot that was checked against this host. It takes a few file descriptors and no memory of
 * its own: forks share its pages. It keeps the virtual machines of sandboxes that were freed, and
 * those that were made ahead, for sandboxes to come; see zb_load_options.
 *
 * Freed with zb_snapshot_free.
 *
 * Since 0.1.
 */
typedef struct zb_snapshot zb_snapshot;

/**
 * How to load. Prepare with ZB_INIT.
 *
 * Since 0.1.
 */
typedef struct zb_load_options {
    /**
     * Size of the structure in bytes; ZB_INIT sets it.
     */
    size_t size;
    /**
     * ZB_LOAD_VERIFY, ZB_LOAD_SEALED_COPY and ZB_LOAD_ANY_CLOCK, any of them, or 0.
     */
    uint64_t flags;
    /**
     * Most virtual machines that are kept when their sandboxes are freed. Their memory and processor
     * are put back to the snapshot's state, byte for byte, and a later zb_fork gets one in a fraction
     * of the time that a new one takes. Each holds on to the memory that it wrote to, usually less
     * than a megabyte, and all but one are given up when nobody has forked for ten seconds.
     *
     * 0 for four a processor, but at least eight; or ZB_NONE.
     */
    uint32_t recycle_max;
    /**
     * Most virtual machines that are made ahead, in which no program has run. As long as forks keep
     * coming there are as many; when nobody has forked for ten seconds, one is left.
     *
     * 0 for none.
     */
    uint32_t prewarm;
    /**
     * Most bytes of memory that the snapshot's sandboxes may have together; 0 for no limit. Each
     * counts with its zb_fork_options.memory_max_bytes, or with all of its guest's memory if it has
     * no limit of its own, whatever it uses. A zb_fork beyond that gives ZB_ERR_LIMIT.
     */
    uint64_t memory_max_bytes;
} zb_load_options;

/**
 * Loads a snapshot: opens its files and checks that this host can run it.
 *
 * Takes about a millisecond, whatever the size of its memory (but see the flags).
 *
 * A directory with a snapshot that Firecracker made (1.12 to 1.17) loads as it is: "vmstate", its memory
 * as "memory.img" or "mem", and its disks' images. The guest is reached with ZB_RUN_CONSOLE.
 *
 * dir: path of the snapshot's directory, ending with a NUL; "zeroboot template inspect --path NAME"
 * prints that of a template. Borrowed for the call.
 * opts: may be NULL for defaults. Borrowed for the call.
 * out: gets the snapshot; free it with zb_snapshot_free.
 * err: may be NULL; gets NULL or an error; free it with zb_error_free.
 *
 * Returns ZB_OK, or
 * ZB_ERR_INVALID_ARGUMENT (dir or out is NULL, dir is empty, opts->size is none),
 * ZB_ERR_UNSUPPORTED (an unknown option or flag),
 * ZB_ERR_NOT_FOUND (no snapshot there),
 * ZB_ERR_CORRUPT (truncated, changed, or no snapshot),
 * ZB_ERR_VERSION (of another version of zeroboot),
 * ZB_ERR_HOST (this processor or KVM lacks what it needs),
 * ZB_ERR_CLOCK (its clock would be wrong, because the host's stands before the snapshot's),
 * ZB_ERR_KVM (no usable /dev/kvm),
 * ZB_ERR_LIMIT (no more files or mappings),
 * ZB_ERR_IO, ZB_ERR_NO_MEMORY, ZB_ERR_INTERNAL.
 * Threads: any. Since 0.1.
 */
zb_status zb_snapshot_load(const char *dir,
                           const zb_load_options *opts,
                           zb_snapshot **out,
                           zb_error **err);

/**
 * The name of the runtime that runs the programs: "python", for one.
 *
 * snapshot: may be NULL.
 *
 * Returns text that ends with a NUL; it belongs to the snapshot and lives until zb_snapshot_free.
 * "" for NULL.
 * Threads: any, also several at once. Since 0.1.
 */
const char *zb_snapshot_runtime(const zb_snapshot *snapshot);

/**
 * How much memory a fork's guest has, in bytes. A fork takes only what it writes to.
 *
 * snapshot: may be NULL.
 *
 * Returns the bytes; 0 for NULL.
 * Threads: any, also several at once. Since 0.1.
 */
uint64_t zb_snapshot_memory_bytes(const zb_snapshot *snapshot);

/**
 * How long the image of the root file system is, in bytes. All forks share its pages.
 *
 * snapshot: may be NULL.
 *
 * Returns the bytes; 0 for NULL.
 * Threads: any, also several at once. Since 0.1.
 */
uint64_t zb_snapshot_rootfs_bytes(const zb_snapshot *snapshot);

/**
 * When the snapshot was taken, by the clock of the host that took it: nanoseconds since the beginning
 * of 1970, UTC.
 *
 * snapshot: may be NULL.
 *
 * Returns the nanoseconds; 0 for NULL.
 * Threads: any, also several at once. Since 0.1.
 */
uint64_t zb_snapshot_created_unix_ns(const zb_snapshot *snapshot);

/**
 * The version of the format of the snapshot's directory.
 *
 * snapshot: may be NULL.
 *
 * Returns the version, which begins with 1; 0 for NULL.
 * Threads: any, also several at once. Since 0.1.
 */
uint32_t zb_snapshot_format(const zb_snapshot *snapshot);

/**
 * Frees a snapshot, and the virtual machines that it keeps. Its sandboxes live on; its files are
 * closed when the last of them is freed.
 *
 * snapshot: may be NULL; not to be used again.
 *
 * Threads: any. Since 0.1.
 */
void zb_snapshot_free(zb_snapshot *snapshot);

/* ----------------------------------------------------------------------------------------------
 * Sandboxes
 *
 * A virtual machine of its own, forked from a snapshot.
 */

/**
 * For zb_fork_options.flags: a virtual machine in which no program ever ran. Without it the library
 * may reuse one whose memory and processor were put back to the snapshot's state, byte for byte.
 */
#define ZB_FORK_FRESH 1

/**
 * A virtual machine that stands where its snapshot was taken: in the runtime, waiting for a
 * program. Neither the snapshot nor other sandboxes see what it writes.
 *
 * It takes two file descriptors, two mappings, and the memory that it writes to.
 *
 * Freed with zb_free.
 *
 * Since 0.1.
 */
typedef struct zb_sandbox zb_sandbox;

/**
 * How to fork. Prepare with ZB_INIT.
 *
 * Since 0.1.
 */
typedef struct zb_fork_options {
    /**
     * Size of the structure in bytes; ZB_INIT sets it.
     */
    size_t size;
    /**
     * ZB_FORK_FRESH or 0.
     */
    uint64_t flags;
    /**
     * A name for the sandbox; all zeros for a random one. Its guest finds it in /etc/machine-id, as
     * 32 hexadecimal digits, and in its host name. Nobody minds two sandboxes with one name.
     */
    uint8_t instance_id[16];
    /**
     * Most bytes of memory that the guest may write to, in whole pages of 4096; 0 for as much as it
     * has (zb_snapshot_memory_bytes). A run in which it writes to more ends with
     * ZB_OUTCOME_MEMORY_LIMIT, at the latest a millisecond after it has done so: until then it may go
     * over by what it can write to in that time, a few megabytes at most. A program needs about a
     * megabyte. A virtual machine that is reused holds up to 8 MiB from before, which do not count.
     */
    uint64_t memory_max_bytes;
} zb_fork_options;

/**
 * Makes a sandbox of a snapshot.
 *
 * snapshot: borrowed for the call; it may be freed before the sandbox.
 * opts: may be NULL for defaults. Borrowed for the call.
 * out: gets the sandbox; free it with zb_free.
 * err: may be NULL; gets NULL or an error; free it with zb_error_free.
 *
 * Returns ZB_OK, or
 * ZB_ERR_INVALID_ARGUMENT (snapshot or out is NULL, opts->size is none),
 * ZB_ERR_UNSUPPORTED (an unknown option or flag),
 * ZB_ERR_LIMIT (no more files, mappings or memory for another, or zb_load_options.memory_max_bytes;
 * the message names the limit),
 * ZB_ERR_KVM (KVM refused something, or cannot keep a limit of memory: before Linux 5.2),
 * ZB_ERR_WRONG_PROCESS, ZB_ERR_IO, ZB_ERR_NO_MEMORY, ZB_ERR_INTERNAL.
 * Threads: any, also several at once with one snapshot. Since 0.1.
 */
zb_status zb_fork(const zb_snapshot *snapshot,
                  const zb_fork_options *opts,
                  zb_sandbox **out,
                  zb_error **err);

/**
 * Whether the sandbox can run another program. It cannot after a run with any outcome but
 * ZB_OUTCOME_EXITED.
 *
 * sandbox: may be NULL.
 *
 * Returns 1 if it can; 0 if it cannot, for NULL, and in a child of fork(2).
 * Threads: any, also while a run is in flight. Since 0.1.
 */
int32_t zb_sandbox_is_alive(const zb_sandbox *sandbox);

/**
 * Ends a sandbox and frees it.
 *
 * A run that is in flight in another thread is cancelled (its outcome there is ZB_OUTCOME_CANCELLED)
 * and waited for, callbacks included. Called from a callback, zb_free does not wait: a run that is in
 * flight is cancelled and frees the sandbox as it ends.
 *
 * sandbox: may be NULL; not to be used again, save that runs in flight come to their end.
 *
 * Threads: any. Since 0.1.
 */
void zb_free(zb_sandbox *sandbox);

/* ----------------------------------------------------------------------------------------------
 * Names of sandboxes
 */

/**
 * The sandbox's name: zb_fork_options.instance_id, or the random one that it got instead.
 *
 * sandbox: may be NULL.
 *
 * Returns 16 bytes that belong to the sandbox and live until zb_free; NULL for NULL.
 * Threads: any, also while a run is in flight. Since 0.1.
 */
const uint8_t *zb_sandbox_instance_id(const zb_sandbox *sandbox);

/* ----------------------------------------------------------------------------------------------
 * Cancel tokens
 *
 * A token stops runs from another thread.
 */

/**
 * Stops the runs that were given it in zb_run_options.cancel; one token may go to any number. It is
 * sticky: once it was triggered, a run that begins later stops at once, too.
 *
 * Freed with zb_cancel_free.
 *
 * Since 0.1.
 */
typedef struct zb_cancel zb_cancel;

/**
 * Makes a token that nobody has triggered.
 *
 * out: gets the token; free it with zb_cancel_free.
 * err: may be NULL; gets NULL or an error; free it with zb_error_free.
 *
 * Returns ZB_OK, or ZB_ERR_INVALID_ARGUMENT (out is NULL), ZB_ERR_NO_MEMORY, ZB_ERR_INTERNAL.
 * Threads: any. Since 0.1.
 */
zb_status zb_cancel_new(zb_cancel **out, zb_error **err);

/**
 * Stops all runs that have the token, now and in future; their outcome is ZB_OUTCOME_CANCELLED. Does
 * not wait for them. Does nothing in a child of fork(2), which has none of the runs.
 *
 * cancel: may be NULL.
 *
 * Threads: any, also several at once, also from callbacks; not from a signal handler. Since 0.1.
 */
void zb_cancel_trigger(const zb_cancel *cancel);

/**
 * Frees a token without triggering it. A run that has it goes on, and cannot be cancelled by it.
 *
 * cancel: may be NULL; not to be used again.
 *
 * Threads: any. Since 0.1.
 */
void zb_cancel_free(zb_cancel *cancel);

/* ----------------------------------------------------------------------------------------------
 * Results
 *
 * What a run gave: how it ended, and what it printed.
 */

/**
 * How a run ended and what it printed until then. It never changes.
 *
 * Freed with zb_result_free.
 *
 * Since 0.1.
 */
typedef struct zb_result zb_result;

/**
 * How a run ended: a ZB_OUTCOME_ constant. Later versions may add some.
 *
 * Since 0.1.
 */
typedef uint32_t zb_outcome;

/**
 * The program ended; see zb_result_exit_code. The only outcome after which the sandbox can run
 * another program.
 */
#define ZB_OUTCOME_EXITED 1

/**
 * The program ended its process without the runtime, as by _exit; see zb_result_exit_code.
 */
#define ZB_OUTCOME_PROCESS_EXITED 2

/**
 * A signal ended the program's process; see zb_result_signal.
 */
#define ZB_OUTCOME_SIGNALED 3

/**
 * The guest's memory was used up, and its kernel killed the program.
 */
#define ZB_OUTCOME_OUT_OF_MEMORY 4

/**
 * The run took longer than zb_run_options.timeout_ms.
 */
#define ZB_OUTCOME_TIMED_OUT 5

/**
 * Somebody stopped it: a cancel token, zb_run_options.on_output, or zb_free.
 */
#define ZB_OUTCOME_CANCELLED 6

/**
 * The program printed more than zb_run_options.max_output_bytes. The result has that much of it.
 */
#define ZB_OUTCOME_OUTPUT_LIMIT 7

/**
 * The virtual machine came to an end, by the guest's doing; zb_result_message says how.
 */
#define ZB_OUTCOME_CRASHED 8

/**
 * The guest wrote to more memory than zb_fork_options.memory_max_bytes.
 */
#define ZB_OUTCOME_MEMORY_LIMIT 9

/**
 * How the run ended.
 *
 * result: may be NULL.
 *
 * Returns a ZB_OUTCOME_ constant; 0, which is none of them, for NULL.
 * Threads: any, also several at once. Since 0.1.
 */
zb_outcome zb_result_outcome(const zb_result *result);

/**
 * The program's exit code. 0 is success, as with a process, and only then.
 *
 * result: may be NULL.
 *
 * Returns 0 to 255 for ZB_OUTCOME_EXITED and ZB_OUTCOME_PROCESS_EXITED; -1 for all other outcomes and
 * for NULL.
 * Threads: any, also several at once. Since 0.1.
 */
int32_t zb_result_exit_code(const zb_result *result);

/**
 * The signal that ended the program's process, by its number in Linux on x86-64.
 *
 * result: may be NULL.
 *
 * Returns 1 to 127 for ZB_OUTCOME_SIGNALED; 0 for all other outcomes and for NULL.
 * Threads: any, also several at once. Since 0.1.
 */
int32_t zb_result_signal(const zb_result *result);

/**
 * What was written to the standard output, by the program and by processes that it started.
 *
 * result: may be NULL.
 * len: may be NULL; gets the number of bytes.
 *
 * Returns the bytes, which may be any and do not end with a NUL. They belong to the result and live
 * until zb_result_free. Never NULL; without output, and for NULL, *len is 0.
 * Threads: any, also several at once. Since 0.1.
 */
const char *zb_result_stdout(const zb_result *result, size_t *len);

/**
 * What was written to the standard error. As zb_result_stdout.
 *
 * result: may be NULL.
 * len: may be NULL; gets the number of bytes.
 *
 * Returns the bytes, which may be any and do not end with a NUL. They belong to the result and live
 * until zb_result_free. Never NULL; without output, and for NULL, *len is 0.
 * Threads: any, also several at once. Since 0.1.
 */
const char *zb_result_stderr(const zb_result *result, size_t *len);

/**
 * How long the run took, from handing over the program to its end, in nanoseconds.
 *
 * result: may be NULL.
 *
 * Returns the nanoseconds; 0 for NULL.
 * Threads: any, also several at once. Since 0.1.
 */
uint64_t zb_result_elapsed_ns(const zb_result *result);

/**
 * How the run ended, in English, for a log or a person.
 *
 * result: may be NULL.
 *
 * Returns UTF-8 text that ends with a NUL and has no line end; it belongs to the result and lives
 * until zb_result_free. "" for NULL.
 * Threads: any, also several at once. Since 0.1.
 */
const char *zb_result_message(const zb_result *result);

/**
 * Frees a result.
 *
 * result: may be NULL; not to be used again, nor anything that belongs to it.
 *
 * Threads: any. Since 0.1.
 */
void zb_result_free(zb_result *result);

/* ----------------------------------------------------------------------------------------------
 * Running
 */

/**
 * For zb_run_options.timeout_ms: as long as it takes.
 */
#define ZB_NO_TIMEOUT UINT64_MAX

/**
 * For zb_run_options.max_output_bytes: as much as there is memory for.
 */
#define ZB_NO_LIMIT UINT64_MAX

/**
 * For zb_run_options.flags: write code to the guest's console, as it is, and read what the guest says
 * there until it has said zb_run_options.until: the way to reach the guest of a snapshot that somebody
 * else made.
 *
 * ZB_OUTCOME_EXITED with exit code 0 says that it has; what was said is the result's standard output.
 * After any outcome but ZB_OUTCOME_CRASHED the sandbox can be used again: a guest that was too slow goes
 * on where it was. The guest runs during the call only.
 */
#define ZB_RUN_CONSOLE 1

/**
 * A stream of a program: ZB_STREAM_STDOUT or ZB_STREAM_STDERR.
 *
 * Since 0.1.
 */
typedef uint32_t zb_stream;

/**
 * Gets a piece of a program's output while it runs.
 *
 * user: zb_run_options.on_output_user.
 * stream: ZB_STREAM_STDOUT or ZB_STREAM_STDERR.
 * data: len bytes, at least one, which may be any; borrowed for the call. Where pieces begin and end
 * means nothing.
 *
 * Returns 0 to go on. Anything else ends the run with ZB_OUTCOME_CANCELLED; the result then lacks this
 * piece.
 * Threads: comes on the thread that is inside zb_run. It may use the library, but not the sandbox
 * that it comes from (ZB_ERR_BUSY), save to free it. Since 0.1.
 */
typedef int32_t (*zb_output_callback)(void *user, zb_stream stream, const char *data, size_t len);

/**
 * What to run, and how far. Prepare with ZB_INIT, then set at least code and code_len.
 *
 * Since 0.1.
 */
typedef struct zb_run_options {
    /**
     * Size of the structure in bytes; ZB_INIT sets it.
     */
    size_t size;
    /**
     * The program, in the language of the snapshot's runtime. May not be NULL, but may be empty.
     * Borrowed for the call.
     */
    const char *code;
    /**
     * Length of the program in bytes.
     */
    size_t code_len;
    /**
     * The longest time that it may take, in milliseconds; 0 for 60,000; or ZB_NO_TIMEOUT.
     */
    uint64_t timeout_ms;
    /**
     * The most that it may print, in bytes of both streams; 0 for 67,108,864 (64 MiB); or ZB_NO_LIMIT.
     */
    uint64_t max_output_bytes;
    /**
     * A token that may stop the run, or NULL. The run keeps what it needs: the token may be freed
     * meanwhile.
     */
    const zb_cancel *cancel;
    /**
     * Gets the output as it comes, besides the result; or NULL.
     */
    zb_output_callback on_output;
    /**
     * Passed to on_output as it is.
     */
    void *on_output_user;
    /**
     * ZB_RUN_CONSOLE or 0.
     */
    uint64_t flags;
    /**
     * For ZB_RUN_CONSOLE: what the guest says last. May be NULL if until_len is 0: then it is listened
     * to until the timeout. Borrowed for the call.
     */
    const char *until;
    /**
     * Length of until in bytes.
     */
    size_t until_len;
} zb_run_options;

/**
 * The standard output.
 */
#define ZB_STREAM_STDOUT 1

/**
 * The standard error.
 */
#define ZB_STREAM_STDERR 2

/**
 * Runs a program in a sandbox and waits for its end.
 *
 * The program sees what earlier programs left in the sandbox. However it ends, that is a result and
 * no error: ZB_OK says that it was run, zb_result_outcome how that went. After any outcome but
 * ZB_OUTCOME_EXITED the sandbox is dead (but see ZB_RUN_CONSOLE).
 *
 * sandbox: borrowed for the call.
 * opts: what to run. Borrowed for the call, with all that it points to.
 * out: gets the result; free it with zb_result_free.
 * err: may be NULL; gets NULL or an error; free it with zb_error_free.
 *
 * Returns ZB_OK, or
 * ZB_ERR_INVALID_ARGUMENT (sandbox, out or the program is NULL, opts->size is none, the program is
 * too long; the message says how long it may be),
 * ZB_ERR_UNSUPPORTED (an unknown option or flag; a program for a guest that can only be reached by its
 * console, or the other way round),
 * ZB_ERR_BUSY (another call with this sandbox is under way; it is not disturbed),
 * ZB_ERR_DEAD (an earlier run was the sandbox's last; the message says how it ended),
 * ZB_ERR_LIMIT (no more timers or memory),
 * ZB_ERR_KVM (KVM refused something; the sandbox is dead),
 * ZB_ERR_WRONG_PROCESS, ZB_ERR_IO, ZB_ERR_NO_MEMORY,
 * ZB_ERR_INTERNAL (the sandbox is dead).
 * Threads: any, one at a time for a sandbox. Since 0.1.
 */
zb_status zb_run(zb_sandbox *sandbox,
                 const zb_run_options *opts,
                 zb_result **out,
                 zb_error **err);

#ifdef __cplusplus
}
#endif

#endif /* ZEROBOOT_H */
