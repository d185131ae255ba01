/* Runs: zb_run in a worker, its output and its end in JavaScript. */
#include <pthread.h>
#include <stdlib.h>

#include "task.h"

enum {
    /* The worker, and with it the guest, waits while JavaScript has this much output to take. */
    OUTPUT_HIGH_WATER_BYTES = 1 << 20,
    OUTPUT_CHUNK_BYTES = 16 << 10,
    /* Longer output becomes a Buffer without being copied in the JavaScript thread. */
    COPY_MAX_BYTES = 16 << 10,
};

typedef struct chunk {
    struct chunk *next;
    zb_stream stream;
    size_t len;
    size_t room;
    char data[];
} chunk;

typedef struct bytes {
    char *data; /* NULL if len is 0 */
    size_t len;
} bytes;

typedef struct run {
    task task;
    message has_output;
    atomic_uint refs; /* of the pool, of a message under way, of the sandbox's handle */
    shared *sandbox;
    zb_cancel *cancel;
    zb_run_options options;
    char *code;
    bool delivered;      /* JavaScript thread only */
    napi_ref on_output;  /* JavaScript's function, or NULL */

    pthread_mutex_t lock; /* for the next five; never held while the pool's is taken */
    pthread_cond_t go_on;
    bool stopped;
    bool announced; /* has_output is under way */
    chunk *first, *last;
    size_t waiting_bytes;

    zb_outcome outcome;
    int32_t exit_code, signal;
    uint64_t elapsed_ns;
    bytes out, err, text;
} run;

static void free_chunks(chunk *c) {
    while (c != NULL) {
        chunk *next = c->next;
        free(c);
        c = next;
    }
}

void run_unref(napi_env env, run *r) {
    if (r == NULL || atomic_fetch_sub_explicit(&r->refs, 1, memory_order_acq_rel) != 1) return;
    if (env != NULL && r->on_output != NULL) napi_delete_reference(env, r->on_output);
    shared_unref(r->sandbox);
    zb_cancel_free(r->cancel);
    free_chunks(r->first);
    pthread_cond_destroy(&r->go_on);
    pthread_mutex_destroy(&r->lock);
    free(r->code);
    free(r->out.data);
    free(r->err.data);
    free(r->text.data);
    free(r);
}

/* ---- in the worker ---- */

static void stop(job *j) {
    run *r = (run *)j;
    zb_cancel_trigger(r->cancel);
    pthread_mutex_lock(&r->lock);
    r->stopped = true;
    pthread_cond_broadcast(&r->go_on);
    pthread_mutex_unlock(&r->lock);
}

/* With the lock held. Where pieces begin and end means nothing, so small ones are put together. */
static bool append(run *r, zb_stream stream, const char *data, size_t len) {
    chunk *c = r->last;
    if (c == NULL || c->stream != stream || c->room - c->len < len) {
        size_t room = len > OUTPUT_CHUNK_BYTES ? len : OUTPUT_CHUNK_BYTES;
        c = malloc(sizeof *c + room);
        if (c == NULL) return false;
        *c = (chunk){.stream = stream, .room = room};
        if (r->last == NULL) r->first = c;
        else r->last->next = c;
        r->last = c;
    }
    memcpy(c->data + c->len, data, len);
    c->len += len;
    r->waiting_bytes += len;
    return true;
}

static int32_t on_output(void *user, zb_stream stream, const char *data, size_t len) {
    run *r = user;
    bool announce = false;
    pthread_mutex_lock(&r->lock);
    while (r->waiting_bytes >= OUTPUT_HIGH_WATER_BYTES && !r->stopped) pthread_cond_wait(&r->go_on, &r->lock);
    bool go_on = !r->stopped;
    if (go_on && !append(r, stream, data, len)) {
        r->task.status = ZB_ERR_NO_MEMORY;
        go_on = false;
    }
    if (go_on && !r->announced) announce = r->announced = true;
    pthread_mutex_unlock(&r->lock);
    if (announce) {
        atomic_fetch_add_explicit(&r->refs, 1, memory_order_relaxed);
        if (!pool_send(r->task.pool, &r->has_output)) run_unref(NULL, r);
    }
    return go_on ? 0 : 1;
}

/* Copies, here and not in the JavaScript thread, which the result's size shall not hold up. */
static bool keep(bytes *to, const char *data, size_t len) {
    if (len == 0) return true;
    to->data = malloc(len);
    if (to->data == NULL) return false;
    memcpy(to->data, data, len);
    to->len = len;
    return true;
}

static zb_status keep_result(run *r, const zb_result *result) {
    size_t len;
    const char *data;
    r->outcome = zb_result_outcome(result);
    r->exit_code = zb_result_exit_code(result);
    r->signal = zb_result_signal(result);
    r->elapsed_ns = zb_result_elapsed_ns(result);
    data = zb_result_stdout(result, &len);
    if (!keep(&r->out, data, len)) return ZB_ERR_NO_MEMORY;
    data = zb_result_stderr(result, &len);
    if (!keep(&r->err, data, len)) return ZB_ERR_NO_MEMORY;
    data = zb_result_message(result);
    return keep(&r->text, data, strlen(data)) ? ZB_OK : ZB_ERR_NO_MEMORY;
}

static void work(job *j) {
    run *r = (run *)j;
    zb_result *result;
    zb_status status = zb_run(r->sandbox->object, &r->options, &result, &r->task.error);
    if (status == ZB_OK) status = keep_result(r, result);
    if (r->task.status == ZB_OK) r->task.status = status; /* on_output may have set it */
    zb_result_free(result);
    free(r->code);
    r->code = NULL;
    shared_unref(r->sandbox);
    r->sandbox = NULL;
}

/* ---- in the JavaScript thread ---- */

static void free_buffer(napi_env env, void *data, void *hint) {
    (void)env;
    (void)hint;
    free(data);
}

/* A Buffer, in place 'at' of a list. */
static bool set_bytes(napi_env env, napi_value list, uint32_t at, bytes *b) {
    napi_value buffer;
    napi_status status = napi_no_external_buffers_allowed;
    if (b->len > COPY_MAX_BYTES) {
        status = napi_create_external_buffer(env, b->len, b->data, free_buffer, NULL, &buffer);
        if (status == napi_ok) b->data = NULL;
    }
    if (status == napi_no_external_buffers_allowed) {
        status = napi_create_buffer_copy(env, b->len, b->data, NULL, &buffer);
    }
    return status == napi_ok && napi_set_element(env, list, at, buffer) == napi_ok;
}

/* [outcome, exit code, signal, milliseconds, stdout, stderr, message] */
static napi_value value(napi_env env, task *t) {
    run *r = (run *)t;
    napi_value list, field;
    TRY(napi_create_array_with_length(env, 7, &list));
    TRY(napi_create_uint32(env, r->outcome, &field));
    TRY(napi_set_element(env, list, 0, field));
    TRY(napi_create_int32(env, r->exit_code, &field));
    TRY(napi_set_element(env, list, 1, field));
    TRY(napi_create_int32(env, r->signal, &field));
    TRY(napi_set_element(env, list, 2, field));
    TRY(napi_create_double(env, (double)r->elapsed_ns / 1e6, &field));
    TRY(napi_set_element(env, list, 3, field));
    if (!set_bytes(env, list, 4, &r->out) || !set_bytes(env, list, 5, &r->err)) return throw_last(env);
    TRY(napi_create_string_utf8(env, r->text.len ? r->text.data : "", r->text.len, &field));
    TRY(napi_set_element(env, list, 6, field));
    return list;
}

static void destroy(napi_env env, task *t) {
    run *r = (run *)t;
    r->delivered = true;
    if (env != NULL && r->on_output != NULL) {
        napi_delete_reference(env, r->on_output);
        r->on_output = NULL;
    }
    run_unref(env, r);
}

static void deliver_output(napi_env env, message *m) {
    run *r = (run *)((char *)m - offsetof(run, has_output));
    napi_value function, receiver;
    pthread_mutex_lock(&r->lock);
    r->announced = false;
    pthread_mutex_unlock(&r->lock);
    if (env != NULL && r->on_output != NULL && napi_get_undefined(env, &receiver) == napi_ok &&
        napi_get_reference_value(env, r->on_output, &function) == napi_ok) {
        napi_call_function(env, receiver, function, 0, NULL, NULL);
    }
    run_unref(env, r);
}

/* A copy of a string's or Uint8Array's bytes; never NULL but without memory. */
static char *copy_code(napi_env env, napi_value code, size_t *len) {
    bool is_bytes = false;
    napi_typedarray_type type;
    void *data = NULL;
    char *copy;
    if (napi_is_typedarray(env, code, &is_bytes) == napi_ok && is_bytes) {
        if (napi_get_typedarray_info(env, code, &type, len, &data, NULL, NULL) != napi_ok) return NULL;
        copy = malloc(*len + 1);
        if (copy != NULL && *len > 0) memcpy(copy, data, *len);
        return copy;
    }
    if (napi_get_value_string_utf8(env, code, NULL, 0, len) != napi_ok) return NULL;
    copy = malloc(*len + 1);
    if (copy != NULL && napi_get_value_string_utf8(env, code, copy, *len + 1, len) != napi_ok) {
        free(copy);
        return NULL;
    }
    return copy;
}

/* NULL without memory. */
static run *run_new(pool *p, const handle *h) {
    run *r = calloc(1, sizeof *r);
    if (r == NULL) return NULL;
    task_init(&r->task, p, work, value, destroy);
    r->task.job.stop = stop;
    r->task.job.is_run = true;
    r->has_output.deliver = deliver_output;
    atomic_init(&r->refs, 1);
    r->sandbox = shared_ref(h->target);
    pthread_mutex_init(&r->lock, NULL);
    pthread_cond_init(&r->go_on, NULL);
    ZB_INIT(r->options);
    if (zb_cancel_new(&r->cancel, NULL) == ZB_OK) return r;
    run_unref(NULL, r);
    return NULL;
}

/* A number of milliseconds or bytes: Infinity is UINT64_MAX, which the library takes for "no limit". */
static bool get_limit(napi_env env, napi_value from, uint64_t *to) {
    double number;
    if (napi_get_value_double(env, from, &number) != napi_ok) return false;
    *to = number < 18446744073709549568.0 ? (uint64_t)number : UINT64_MAX;
    return true;
}

/* (sandbox, code, timeoutMs, maxOutputBytes, function that is called when there is output) -> promise */
napi_value run_start(napi_env env, napi_callback_info info) {
    napi_value args[5];
    napi_valuetype type;
    size_t count = 5;
    pool *p = pool_of(env);
    TRY(napi_get_cb_info(env, info, &count, args, NULL, NULL));
    handle *h = p != NULL ? handle_of(env, args[0]) : NULL;
    if (h == NULL) return NULL;
    run *r = run_new(p, h);
    if (r == NULL) return throw_no_memory(env);
    r->code = copy_code(env, args[1], &r->options.code_len);
    if (r->code == NULL || !get_limit(env, args[2], &r->options.timeout_ms) ||
        !get_limit(env, args[3], &r->options.max_output_bytes) || napi_typeof(env, args[4], &type) != napi_ok ||
        (type == napi_function && napi_create_reference(env, args[4], 1, &r->on_output) != napi_ok)) {
        run_unref(env, r);
        return throw_last(env);
    }
    r->options.code = r->code;
    r->options.cancel = r->cancel;
    if (r->on_output != NULL) {
        r->options.on_output = on_output;
        r->options.on_output_user = r;
    }
    run_unref(env, h->run);
    atomic_fetch_add_explicit(&r->refs, 1, memory_order_relaxed);
    h->run = r;
    return task_submit(env, &r->task);
}

/* (sandbox): stops its run, if there is one. */
napi_value run_cancel(napi_env env, napi_callback_info info) {
    napi_value arg;
    size_t count = 1;
    pool *p = pool_of(env);
    TRY(napi_get_cb_info(env, info, &count, &arg, NULL, NULL));
    handle *h = p != NULL ? handle_of(env, arg) : NULL;
    if (h != NULL && h->run != NULL && !h->run->delivered) pool_stop(p, &h->run->task.job);
    return NULL;
}

/* (sandbox) -> [stream, Buffer, stream, Buffer, ...], or undefined if there is no output */
napi_value run_take_output(napi_env env, napi_callback_info info) {
    napi_value arg, list, field;
    size_t count = 1;
    uint32_t at = 0;
    TRY(napi_get_cb_info(env, info, &count, &arg, NULL, NULL));
    handle *h = handle_of(env, arg);
    if (h == NULL || h->run == NULL) return NULL;
    run *r = h->run;
    pthread_mutex_lock(&r->lock);
    chunk *all = r->first;
    r->first = r->last = NULL;
    r->waiting_bytes = 0;
    pthread_cond_signal(&r->go_on);
    pthread_mutex_unlock(&r->lock);
    if (all == NULL) return NULL;
    bool ok = napi_create_array(env, &list) == napi_ok;
    for (chunk *c = all; ok && c != NULL; c = c->next) {
        ok = napi_create_uint32(env, c->stream, &field) == napi_ok &&
             napi_set_element(env, list, at++, field) == napi_ok &&
             napi_create_buffer_copy(env, c->len, c->data, NULL, &field) == napi_ok &&
             napi_set_element(env, list, at++, field) == napi_ok;
    }
    free_chunks(all);
    return ok ? list : throw_last(env);
}
