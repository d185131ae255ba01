/* What loading, forking, running and freeing have in common: a job with a promise. */
#ifndef ZEROBOOT_NODE_TASK_H
#define ZEROBOOT_NODE_TASK_H

#include <node_api.h>
#include <stdbool.h>
#include <zeroboot.h>

#include "pool.h"
#include "shared.h"

/*
 * The first member of each. work sets status and error; then, in the JavaScript thread, value makes
 * what the promise resolves to, or the promise is rejected with [status, errno, message]; then destroy
 * frees the task, which happens also without an environment.
 */
typedef struct task {
    job job;
    pool *pool;
    napi_deferred deferred;
    zb_status status;
    zb_error *error;
    const char *text; /* in place of the error's, or NULL */
    bool anywhere;    /* without a thread to work in, work in the JavaScript thread */
    napi_value (*value)(napi_env env, struct task *t);
    void (*destroy)(napi_env env, struct task *t);
} task;

void task_init(task *t, pool *p, void (*work)(job *), napi_value (*value)(napi_env, task *),
               void (*destroy)(napi_env, task *));
/* Its promise; NULL with an exception pending if there can be none. Owns the task. */
napi_value task_submit(napi_env env, task *t);

/* JavaScript's handle: an External that points here. */
typedef struct handle {
    pool *pool;
    shared *target;     /* NULL after release */
    struct run *run;    /* the sandbox's last run, or NULL */
} handle;

/* What the garbage collector, which sees neither mappings nor descriptors, is told that a handle takes. */
enum { HANDLE_COST_BYTES = 1 << 20 };

/* Takes the reference, also on failure, which is NULL with an exception pending. */
napi_value handle_new(napi_env env, pool *p, shared *target);
/* NULL with an exception pending if the value is none. */
handle *handle_of(napi_env env, napi_value value);

/* Functions of the addon. */
napi_value run_start(napi_env env, napi_callback_info info);
napi_value run_cancel(napi_env env, napi_callback_info info);
napi_value run_take_output(napi_env env, napi_callback_info info);
void run_unref(napi_env env, struct run *r);

#define TRY(call)                                                                                              \
    do {                                                                                                       \
        if ((call) != napi_ok) return throw_last(env);                                                         \
    } while (0)

/* Returns NULL, with an exception pending. */
napi_value throw_last(napi_env env);
napi_value throw_no_memory(napi_env env);

#endif
