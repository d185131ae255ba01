#include "task.h"

#include <stdlib.h>

napi_value throw_last(napi_env env) {
    const napi_extended_error_info *info = NULL;
    bool pending = false;
    napi_get_last_error_info(env, &info);
    const char *text = info != NULL && info->error_message != NULL ? info->error_message : "unknown error";
    if (napi_is_exception_pending(env, &pending) == napi_ok && !pending) napi_throw_type_error(env, NULL, text);
    return NULL;
}

napi_value throw_no_memory(napi_env env) {
    napi_throw_error(env, "ZB_ERR_NO_MEMORY", "out of memory");
    return NULL;
}

static napi_value failure(napi_env env, const task *t) {
    napi_value list, status, number, message;
    TRY(napi_create_array_with_length(env, 3, &list));
    TRY(napi_create_int32(env, t->status, &status));
    TRY(napi_create_int32(env, zb_error_errno(t->error), &number));
    TRY(napi_create_string_utf8(env, t->text != NULL ? t->text : zb_error_message(t->error), NAPI_AUTO_LENGTH,
                                &message));
    TRY(napi_set_element(env, list, 0, status));
    TRY(napi_set_element(env, list, 1, number));
    TRY(napi_set_element(env, list, 2, message));
    return list;
}

static void settle(napi_env env, task *t) {
    napi_value value = t->status == ZB_OK ? t->value(env, t) : NULL;
    if (value != NULL) {
        napi_resolve_deferred(env, t->deferred, value);
        return;
    }
    if (t->status == ZB_OK) {
        /* No memory for the value, or the environment is being stopped and takes no values. */
        if (napi_get_and_clear_last_exception(env, &value) != napi_ok) return;
    } else {
        value = failure(env, t);
    }
    if (value != NULL) napi_reject_deferred(env, t->deferred, value);
}

static void finish(napi_env env, task *t) {
    if (env != NULL) settle(env, t);
    zb_error_free(t->error);
    t->error = NULL;
    t->destroy(env, t);
}

static void task_deliver(napi_env env, message *m) {
    task *t = (task *)m;
    if (env != NULL) pool_delivered(env, t->pool);
    finish(env, t);
}

void task_init(task *t, pool *p, void (*work)(job *), napi_value (*value)(napi_env, task *),
               void (*destroy)(napi_env, task *)) {
    t->job.done.deliver = task_deliver;
    t->job.work = work;
    t->pool = p;
    t->value = value;
    t->destroy = destroy;
}

napi_value task_submit(napi_env env, task *t) {
    napi_value promise;
    if (napi_create_promise(env, &t->deferred, &promise) != napi_ok) {
        t->destroy(env, t);
        return throw_last(env);
    }
    if (!pool_submit(env, t->pool, &t->job)) {
        if (t->anywhere) {
            t->job.work(&t->job);
        } else {
            t->status = ZB_ERR_LIMIT;
            t->text = "the system gives no thread to work in";
        }
        finish(env, t);
    }
    return promise;
}

/* ---- handles ---- */

typedef struct release_job {
    job job;
    shared *target;
} release_job;

static void release_work(job *j) {
    release_job *r = (release_job *)j;
    shared_unref(r->target);
    r->target = NULL;
}

static void release_deliver(napi_env env, message *m) {
    (void)env;
    release_work((job *)m); /* if it did not run */
    free(m);
}

/* The garbage collector found the handle unused. Freeing may take milliseconds: a worker does it. */
static void handle_finalize(napi_env env, void *data, void *hint) {
    handle *h = data;
    int64_t unused;
    (void)hint;
    run_unref(env, h->run);
    if (h->target != NULL) {
        release_job *r = calloc(1, sizeof *r);
        napi_adjust_external_memory(env, -HANDLE_COST_BYTES, &unused);
        if (r != NULL) {
            r->job.done.deliver = release_deliver;
            r->job.work = release_work;
            r->target = h->target;
        }
        if (r == NULL || !pool_submit_background(h->pool, &r->job)) {
            shared_unref(h->target);
            free(r);
        }
    }
    pool_unref(h->pool);
    free(h);
}

napi_value handle_new(napi_env env, pool *p, shared *target) {
    napi_value value;
    int64_t unused;
    handle *h = calloc(1, sizeof *h);
    if (h == NULL) {
        shared_unref(target);
        return throw_no_memory(env);
    }
    h->pool = pool_ref(p);
    h->target = target;
    if (napi_create_external(env, h, handle_finalize, NULL, &value) != napi_ok) {
        shared_unref(target);
        pool_unref(p);
        free(h);
        return throw_last(env);
    }
    napi_adjust_external_memory(env, HANDLE_COST_BYTES, &unused);
    return value;
}

handle *handle_of(napi_env env, napi_value value) {
    void *h = NULL;
    if (napi_get_value_external(env, value, &h) == napi_ok) return h;
    throw_last(env);
    return NULL;
}
