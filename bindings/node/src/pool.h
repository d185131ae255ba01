/*
 * Worker threads of an environment (the main thread's, or that of a worker_thread).
 *
 * libuv's pool has four threads, which the file system and DNS need, and a run may take minutes; so
 * jobs have threads of their own: made when none is idle, at most POOL_MAX_RUNS + POOL_QUICK_THREADS,
 * ended after POOL_IDLE_SECONDS without a job, and joined when the environment ends. The thread that
 * was idle for the shortest time gets the next job: its caches are warm, and the others can end.
 */
#ifndef ZEROBOOT_NODE_POOL_H
#define ZEROBOOT_NODE_POOL_H

#include <node_api.h>
#include <stdbool.h>

enum {
    POOL_MAX_RUNS = 128,
    /* Threads beyond, which take no runs: loading, forking and freeing never wait for a run's end. */
    POOL_QUICK_THREADS = 4,
    POOL_IDLE_SECONDS = 5,
};

typedef struct pool pool;

/* What a worker has for the JavaScript thread. */
typedef struct message {
    /* env is NULL when the environment is gone: then only free what the message owns. */
    void (*deliver)(napi_env env, struct message *m);
} message;

/* Embedded as the first member of what a job is about. */
typedef struct job {
    message done;               /* delivered when work has returned; owns the job */
    void (*work)(struct job *); /* in a worker */
    void (*stop)(struct job *); /* makes work return soon, from any thread; NULL if it does anyway */
    struct job *next;
    bool is_run;
} job;

/* One for the environment, which ends it. NULL with an exception pending. */
pool *pool_of(napi_env env);
/* Makes it; to be called once. */
napi_status pool_init(napi_env env);

/* For objects that may outlive the environment. */
pool *pool_ref(pool *p);
void pool_unref(pool *p);

/* JavaScript thread only. False if the environment ends, or no thread could be made; the job is then
 * the caller's still. The event loop lives until pool_delivered, which the job's deliver calls, if it
 * has an environment. */
bool pool_submit(napi_env env, pool *p, job *j);
void pool_delivered(napi_env env, pool *p);
/* The same, without pool_delivered, for what nobody waits for. */
bool pool_submit_background(pool *p, job *j);
/* Stops a job; one that waits for its turn gets it at once. It must not have been delivered. */
void pool_stop(pool *p, job *j);
/* From a worker, within work: sends a message ahead of the job's end. False when the environment
 * ends. */
bool pool_send(pool *p, message *m);
#endif
