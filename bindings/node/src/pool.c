#include "pool.h"

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { MAX_THREADS = POOL_MAX_RUNS + POOL_QUICK_THREADS, STACK_BYTES = 1 << 20 };

typedef struct queue {
    job *first;
    job *last;
    unsigned length;
} queue;

typedef struct worker {
    pool *pool;
    pthread_t thread;
    pthread_cond_t wake;
    enum { UNUSED, LIVE, ENDED } state; /* ENDED is to be joined */
    bool woken;
    struct worker *below; /* in the stack of idle workers */
    job *working;
} worker;

struct pool {
    atomic_uint refs;
    napi_threadsafe_function to_js;
    size_t pending; /* jobs that keep the event loop alive; JavaScript thread only */
    pthread_mutex_t lock; /* for all below */
    bool closed;
    queue quick;
    queue runs;
    unsigned live;      /* workers */
    unsigned running;   /* runs */
    unsigned returning; /* workers that have done their job and look for the next */
    worker *idle;
    worker workers[MAX_THREADS];
};

/* ---- queues; with the lock held ---- */

static void queue_push(queue *q, job *j) {
    j->next = NULL;
    if (q->last == NULL) q->first = j;
    else q->last->next = j;
    q->last = j;
    q->length++;
}

static job *queue_pop(queue *q) {
    job *j = q->first;
    if (j == NULL) return NULL;
    q->first = j->next;
    if (q->first == NULL) q->last = NULL;
    q->length--;
    return j;
}

static bool queue_remove(queue *q, const job *j) {
    job *before = NULL;
    for (job *i = q->first; i != NULL; before = i, i = i->next) {
        if (i != j) continue;
        if (before == NULL) q->first = i->next;
        else before->next = i->next;
        if (q->last == i) q->last = before;
        q->length--;
        return true;
    }
    return false;
}

/* ---- workers ---- */

static job *take(pool *p) {
    job *j = queue_pop(&p->quick);
    if (j == NULL && p->running < POOL_MAX_RUNS) j = queue_pop(&p->runs);
    if (j != NULL && j->is_run) p->running++;
    return j;
}

static void forget_idle(pool *p, const worker *w) {
    worker **at = &p->idle;
    while (*at != NULL && *at != w) at = &(*at)->below;
    if (*at == w) *at = w->below;
}

/* Waits for a job. False after POOL_IDLE_SECONDS without one. */
static bool wait_idle(pool *p, worker *w) {
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += POOL_IDLE_SECONDS;
    w->woken = false;
    w->below = p->idle;
    p->idle = w;
    while (!w->woken) {
        if (pthread_cond_timedwait(&w->wake, &p->lock, &until) != 0 && !w->woken) {
            forget_idle(p, w);
            return false;
        }
    }
    return true;
}

static void finish(pool *p, job *j) {
    if (!pool_send(p, &j->done)) j->done.deliver(NULL, &j->done);
}

static void *worker_main(void *arg) {
    worker *w = arg;
    pool *p = w->pool;
    pthread_mutex_lock(&p->lock);
    for (;;) {
        job *j = p->closed ? NULL : take(p);
        if (j != NULL) {
            bool is_run = j->is_run;
            w->working = j;
            pthread_mutex_unlock(&p->lock);
            j->work(j);
            pthread_mutex_lock(&p->lock);
            w->working = NULL;
            if (is_run) p->running--;
            p->returning++;
            pthread_mutex_unlock(&p->lock);
            finish(p, j);
            pthread_mutex_lock(&p->lock);
            p->returning--;
        } else if (p->closed || !wait_idle(p, w)) {
            break;
        }
    }
    w->state = ENDED;
    p->live--;
    pthread_mutex_unlock(&p->lock);
    return NULL;
}

/* Signals of the process are for threads that expect them. */
static int start_thread(worker *w) {
    pthread_attr_t attr;
    sigset_t all, before;
    int failed = pthread_attr_init(&attr);
    if (failed) return failed;
    pthread_attr_setstacksize(&attr, STACK_BYTES);
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    failed = pthread_create(&w->thread, &attr, worker_main, w);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    pthread_attr_destroy(&attr);
    return failed;
}

/* With the lock held. A worker that is not in a run comes back to the queue soon, and takes what is
 * quick first; so a few of those do for any number of quick jobs. */
static void add_worker(pool *p, const job *j) {
    worker *w = p->workers;
    if (p->live == MAX_THREADS || (!j->is_run && p->live - p->running >= POOL_QUICK_THREADS)) return;
    while (w->state == LIVE) w++;
    if (w->state == ENDED) pthread_join(w->thread, NULL); /* it gave up the lock for good */
    w->state = start_thread(w) == 0 ? LIVE : UNUSED;
    if (w->state == LIVE) p->live++;
}

static void wake(worker *w) {
    w->pool->idle = w->below;
    w->woken = true;
    pthread_cond_signal(&w->wake);
}

/* With the lock held: sees to it that somebody comes for the job, which is queued. False if there is
 * nobody. JavaScript may have a result, and its next job, before the worker is back from it. */
static bool call_worker(pool *p, const job *j) {
    if (p->idle != NULL) wake(p->idle);
    else if (p->quick.length + p->runs.length > p->returning) add_worker(p, j);
    return p->live > 0;
}

/* ---- the JavaScript thread's side ---- */

static bool enqueue(pool *p, job *j) {
    queue *q = j->is_run ? &p->runs : &p->quick;
    pthread_mutex_lock(&p->lock);
    bool ok = !p->closed;
    if (ok) {
        queue_push(q, j);
        ok = call_worker(p, j);
        if (!ok) queue_remove(q, j);
    }
    pthread_mutex_unlock(&p->lock);
    return ok;
}

bool pool_submit(napi_env env, pool *p, job *j) {
    if (!enqueue(p, j)) return false;
    if (p->pending++ == 0) napi_ref_threadsafe_function(env, p->to_js);
    return true;
}

bool pool_submit_background(pool *p, job *j) {
    return enqueue(p, j);
}

void pool_delivered(napi_env env, pool *p) {
    if (--p->pending == 0) napi_unref_threadsafe_function(env, p->to_js);
}

void pool_stop(pool *p, job *j) {
    j->stop(j);
    pthread_mutex_lock(&p->lock);
    if (queue_remove(&p->runs, j)) {
        queue_push(&p->quick, j);
        call_worker(p, j);
    }
    pthread_mutex_unlock(&p->lock);
}

bool pool_send(pool *p, message *m) {
    pthread_mutex_lock(&p->lock);
    bool closed = p->closed;
    pthread_mutex_unlock(&p->lock);
    /* to_js is there still: pool_close, which joins this thread, comes before its end. */
    return !closed && napi_call_threadsafe_function(p->to_js, m, napi_tsfn_nonblocking) == napi_ok;
}

static void deliver(napi_env env, napi_value unused, void *context, void *data) {
    message *m = data;
    (void)unused;
    (void)context;
    m->deliver(env, m);
}

/* ---- the life of a pool ---- */

pool *pool_ref(pool *p) {
    atomic_fetch_add_explicit(&p->refs, 1, memory_order_relaxed);
    return p;
}

void pool_unref(pool *p) {
    if (atomic_fetch_sub_explicit(&p->refs, 1, memory_order_acq_rel) != 1) return;
    for (int i = 0; i < MAX_THREADS; i++) pthread_cond_destroy(&p->workers[i].wake);
    pthread_mutex_destroy(&p->lock);
    free(p);
}

/* The environment ends: stops what runs, and waits for it. */
static void pool_close(void *arg) {
    pool *p = arg;
    job *j;
    pthread_mutex_lock(&p->lock);
    p->closed = true;
    for (int i = 0; i < MAX_THREADS; i++) {
        worker *w = &p->workers[i];
        if (w->working != NULL && w->working->stop != NULL) w->working->stop(w->working);
    }
    while (p->idle != NULL) wake(p->idle);
    pthread_mutex_unlock(&p->lock);
    for (int i = 0; i < MAX_THREADS; i++) {
        if (p->workers[i].state != UNUSED) pthread_join(p->workers[i].thread, NULL);
        p->workers[i].state = UNUSED;
    }
    while ((j = queue_pop(&p->quick)) != NULL) j->done.deliver(NULL, &j->done);
    while ((j = queue_pop(&p->runs)) != NULL) j->done.deliver(NULL, &j->done);
}

static void release_instance(napi_env env, void *data, void *hint) {
    (void)env;
    (void)hint;
    pool_unref(data);
}

static pool *pool_new(void) {
    pthread_condattr_t monotonic;
    pool *p = calloc(1, sizeof *p);
    if (p == NULL) return NULL;
    atomic_init(&p->refs, 1);
    pthread_mutex_init(&p->lock, NULL);
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    for (int i = 0; i < MAX_THREADS; i++) {
        p->workers[i].pool = p;
        pthread_cond_init(&p->workers[i].wake, &monotonic);
    }
    pthread_condattr_destroy(&monotonic);
    return p;
}

napi_status pool_init(napi_env env) {
    napi_value name;
    napi_status status = napi_create_string_utf8(env, "zeroboot", NAPI_AUTO_LENGTH, &name);
    if (status != napi_ok) return status;
    pool *p = pool_new();
    if (p == NULL) return napi_generic_failure;
    status = napi_create_threadsafe_function(env, NULL, NULL, name, 0, 1, NULL, NULL, NULL, deliver, &p->to_js);
    if (status == napi_ok) status = napi_unref_threadsafe_function(env, p->to_js);
    if (status == napi_ok) status = napi_set_instance_data(env, p, release_instance, NULL);
    if (status != napi_ok) {
        pool_unref(p);
        return status;
    }
    /* Hooks run last in, first out, so this one comes before that of to_js. */
    return napi_add_env_cleanup_hook(env, pool_close, p);
}

pool *pool_of(napi_env env) {
    void *p = NULL;
    if (napi_get_instance_data(env, &p) == napi_ok && p != NULL) return p;
    napi_throw_error(env, NULL, "zeroboot: the environment is ending");
    return NULL;
}
