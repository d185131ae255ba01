/* A counted reference to a library object. */
#ifndef ZEROBOOT_NODE_SHARED_H
#define ZEROBOOT_NODE_SHARED_H

#include <stdatomic.h>

/* JavaScript's handle holds one reference and each job that uses the object another, so the garbage
 * collector may drop the handle at any time. */
typedef struct shared {
    atomic_uint refs;
    void *object;
    void (*destroy)(void *object);
} shared;

/* NULL without memory; the object is then the caller's still. */
shared *shared_new(void *object, void (*destroy)(void *object));
shared *shared_ref(shared *s);
/* The last one destroys the object in the calling thread. NULL is allowed. */
void shared_unref(shared *s);

#endif
