/* The addon's functions. They trust their arguments' types: lib/ checks what users pass. */
#include <stdlib.h>
#include <string.h>

#include "task.h"

/* ---- load and fork ---- */

typedef struct make {
    task task;
    char *dir;        /* of the snapshot to load, or NULL */
    shared *snapshot; /* to fork, or NULL */
    uint64_t flags;
    uint32_t recycle_max, prewarm; /* of load */
    uint8_t instance_id[16];
    shared *made;
} make;

static void destroy_snapshot(void *snapshot) {
    zb_snapshot_free(snapshot);
}

static void destroy_sandbox(void *sandbox) {
    zb_free(sandbox);
}

static zb_status keep(make *m, zb_status status, void *object, void (*destroy)(void *)) {
    if (status != ZB_OK) return status;
    m->made = shared_new(object, destroy);
    if (m->made != NULL) return ZB_OK;
    destroy(object);
    return ZB_ERR_NO_MEMORY;
}

static void load_work(job *j) {
    make *m = (make *)j;
    zb_load_options options;
    zb_snapshot *snapshot;
    ZB_INIT(options);
    options.flags = m->flags;
    options.recycle_max = m->recycle_max;
    options.prewarm = m->prewarm;
    m->task.status = zb_snapshot_load(m->dir, &options, &snapshot, &m->task.error);
    m->task.status = keep(m, m->task.status, snapshot, destroy_snapshot);
}

static void fork_work(job *j) {
    make *m = (make *)j;
    zb_fork_options options;
    zb_sandbox *sandbox;
    ZB_INIT(options);
    options.flags = m->flags;
    memcpy(options.instance_id, m->instance_id, sizeof m->instance_id);
    m->task.status = zb_fork(m->snapshot->object, &options, &sandbox, &m->task.error);
    m->task.status = keep(m, m->task.status, sandbox, destroy_sandbox);
}

static napi_value take_made(napi_env env, make *m) {
    shared *made = m->made;
    m->made = NULL;
    return handle_new(env, m->task.pool, made);
}

/* [handle, runtime, bytes of memory] */
static napi_value load_value(napi_env env, task *t) {
    make *m = (make *)t;
    const zb_snapshot *snapshot = m->made->object;
    napi_value list, field;
    TRY(napi_create_array_with_length(env, 3, &list));
    TRY(napi_create_string_utf8(env, zb_snapshot_runtime(snapshot), NAPI_AUTO_LENGTH, &field));
    TRY(napi_set_element(env, list, 1, field));
    TRY(napi_create_double(env, (double)zb_snapshot_memory_bytes(snapshot), &field));
    TRY(napi_set_element(env, list, 2, field));
    field = take_made(env, m);
    if (field == NULL) return NULL;
    TRY(napi_set_element(env, list, 0, field));
    return list;
}

static napi_value fork_value(napi_env env, task *t) {
    return take_made(env, (make *)t);
}

static void make_destroy(napi_env env, task *t) {
    make *m = (make *)t;
    (void)env;
    shared_unref(m->made);
    shared_unref(m->snapshot);
    free(m->dir);
    free(m);
}

static bool get_flags(napi_env env, napi_value value, uint64_t *flags) {
    uint32_t number = 0;
    bool ok = napi_get_value_uint32(env, value, &number) == napi_ok;
    *flags = number;
    return ok;
}

/* (dir, flags, recycleMax, prewarm) -> promise of [handle, runtime, bytes of memory] */
static napi_value load(napi_env env, napi_callback_info info) {
    napi_value args[4];
    size_t count = 4, len;
    pool *p = pool_of(env);
    TRY(napi_get_cb_info(env, info, &count, args, NULL, NULL));
    TRY(napi_get_value_string_utf8(env, args[0], NULL, 0, &len));
    make *m = p != NULL ? calloc(1, sizeof *m) : NULL;
    if (m == NULL) return p != NULL ? throw_no_memory(env) : NULL;
    task_init(&m->task, p, load_work, load_value, make_destroy);
    m->dir = malloc(len + 1);
    if (m->dir == NULL || napi_get_value_string_utf8(env, args[0], m->dir, len + 1, &len) != napi_ok ||
        !get_flags(env, args[1], &m->flags) || napi_get_value_uint32(env, args[2], &m->recycle_max) != napi_ok ||
        napi_get_value_uint32(env, args[3], &m->prewarm) != napi_ok) {
        make_destroy(env, &m->task);
        return throw_last(env);
    }
    return task_submit(env, &m->task);
}

/* (snapshot, flags, undefined or a buffer of 16 bytes) -> promise of a handle */
static napi_value fork_snapshot(napi_env env, napi_callback_info info) {
    napi_value args[3];
    uint64_t flags;
    size_t count = 3, len = 0;
    bool named;
    void *name = NULL;
    pool *p = pool_of(env);
    TRY(napi_get_cb_info(env, info, &count, args, NULL, NULL));
    handle *h = p != NULL ? handle_of(env, args[0]) : NULL;
    if (h == NULL) return NULL;
    if (!get_flags(env, args[1], &flags)) return throw_last(env);
    TRY(napi_is_buffer(env, args[2], &named));
    if (named) TRY(napi_get_buffer_info(env, args[2], &name, &len));
    make *m = calloc(1, sizeof *m);
    if (m == NULL) return throw_no_memory(env);
    if (len == sizeof m->instance_id) memcpy(m->instance_id, name, len);
    task_init(&m->task, p, fork_work, fork_value, make_destroy);
    m->snapshot = shared_ref(h->target);
    m->flags = flags;
    return task_submit(env, &m->task);
}

/* ---- release ---- */

typedef struct release {
    task task;
    shared *target;
} release;

static void release_work(job *j) {
    release *r = (release *)j;
    shared_unref(r->target);
    r->target = NULL;
}

static napi_value release_value(napi_env env, task *t) {
    napi_value undefined;
    (void)t;
    TRY(napi_get_undefined(env, &undefined));
    return undefined;
}

static void release_destroy(napi_env env, task *t) {
    (void)env;
    release_work(&t->job); /* if it did not run */
    free(t);
}

/* (handle) -> promise that is resolved when JavaScript's reference is gone; once a handle */
static napi_value release_handle(napi_env env, napi_callback_info info) {
    napi_value arg;
    int64_t unused;
    size_t count = 1;
    pool *p = pool_of(env);
    TRY(napi_get_cb_info(env, info, &count, &arg, NULL, NULL));
    handle *h = p != NULL ? handle_of(env, arg) : NULL;
    if (h == NULL) return NULL;
    release *r = calloc(1, sizeof *r);
    if (r == NULL) return throw_no_memory(env);
    task_init(&r->task, p, release_work, release_value, release_destroy);
    r->task.anywhere = true;
    r->target = h->target;
    h->target = NULL;
    napi_adjust_external_memory(env, -HANDLE_COST_BYTES, &unused);
    return task_submit(env, &r->task);
}

/* (sandbox) -> whether it can run another program */
static napi_value is_alive(napi_env env, napi_callback_info info) {
    napi_value arg, value;
    size_t count = 1;
    TRY(napi_get_cb_info(env, info, &count, &arg, NULL, NULL));
    handle *h = handle_of(env, arg);
    if (h == NULL) return NULL;
    TRY(napi_get_boolean(env, h->target != NULL && zb_sandbox_is_alive(h->target->object) != 0, &value));
    return value;
}

/* (sandbox) -> its name, a buffer of 16 bytes */
static napi_value instance_id(napi_env env, napi_callback_info info) {
    napi_value arg, value;
    size_t count = 1;
    TRY(napi_get_cb_info(env, info, &count, &arg, NULL, NULL));
    handle *h = handle_of(env, arg);
    if (h == NULL || h->target == NULL) return NULL;
    TRY(napi_create_buffer_copy(env, 16, zb_sandbox_instance_id(h->target->object), NULL, &value));
    return value;
}

/* ---- the module ---- */

static bool set_function(napi_env env, napi_value exports, const char *name, napi_callback function) {
    napi_value value;
    return napi_create_function(env, name, NAPI_AUTO_LENGTH, function, NULL, &value) == napi_ok &&
           napi_set_named_property(env, exports, name, value) == napi_ok;
}

static bool set_facts(napi_env env, napi_value exports) {
    napi_value version, runs;
    return napi_create_string_utf8(env, zb_version(), NAPI_AUTO_LENGTH, &version) == napi_ok &&
           napi_set_named_property(env, exports, "version", version) == napi_ok &&
           napi_create_uint32(env, POOL_MAX_RUNS, &runs) == napi_ok &&
           napi_set_named_property(env, exports, "maxRuns", runs) == napi_ok;
}

NAPI_MODULE_INIT() {
    if (zb_abi_version() != ZB_ABI_VERSION) {
        napi_throw_error(env, "ZB_ERR_VERSION", "libzeroboot.so has another binary interface than this addon");
        return NULL;
    }
    if (pool_init(env) != napi_ok || !set_facts(env, exports) || !set_function(env, exports, "load", load) ||
        !set_function(env, exports, "fork", fork_snapshot) || !set_function(env, exports, "run", run_start) ||
        !set_function(env, exports, "cancel", run_cancel) ||
        !set_function(env, exports, "takeOutput", run_take_output) ||
        !set_function(env, exports, "isAlive", is_alive) ||
        !set_function(env, exports, "instanceId", instance_id) || !set_function(env, exports, "release", release_handle)) {
        return throw_last(env);
    }
    return exports;
}
