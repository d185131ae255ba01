#include "shared.h"

#include <stdlib.h>

shared *shared_new(void *object, void (*destroy)(void *object)) {
    shared *s = malloc(sizeof *s);
    if (s == NULL) return NULL;
    atomic_init(&s->refs, 1);
    s->object = object;
    s->destroy = destroy;
    return s;
}

shared *shared_ref(shared *s) {
    atomic_fetch_add_explicit(&s->refs, 1, memory_order_relaxed);
    return s;
}

void shared_unref(shared *s) {
    if (s == NULL || atomic_fetch_sub_explicit(&s->refs, 1, memory_order_acq_rel) != 1) return;
    s->destroy(s->object);
    free(s);
}
