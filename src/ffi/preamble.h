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
