/* What the test programs share: checks that say where they failed, and a table of cases. */
#ifndef CHECK_H
#define CHECK_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zeroboot.h>

#define CHECK(condition)                                                                           \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            fprintf(stderr, "%s:%d: not so: %s\n", __FILE__, __LINE__, #condition);                \
            exit(1);                                                                               \
        }                                                                                          \
    } while (0)

#define CHECK_OK(call)                                                                             \
    do {                                                                                           \
        zb_error *check_error_ = NULL;                                                             \
        zb_error **err = &check_error_;                                                            \
        if ((call) != ZB_OK) {                                                                     \
            fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, zb_error_message(check_error_));    \
            exit(1);                                                                               \
        }                                                                                          \
        CHECK(check_error_ == NULL);                                                               \
    } while (0)

/* The call (with `err` for its error) fails with the status, and the message has the text. */
#define CHECK_FAILS(call, expected, text)                                                          \
    do {                                                                                           \
        zb_error *check_error_ = (zb_error *)1;                                                    \
        zb_error **err = &check_error_;                                                            \
        zb_status check_status_ = (call);                                                          \
        CHECK(check_status_ == (expected));                                                        \
        CHECK(zb_error_status(check_error_) == (expected));                                        \
        if (strstr(zb_error_message(check_error_), (text)) == NULL) {                              \
            fprintf(stderr, "%s:%d: no \"%s\" in: %s\n", __FILE__, __LINE__, (text),               \
                    zb_error_message(check_error_));                                               \
            exit(1);                                                                               \
        }                                                                                          \
        zb_error_free(check_error_);                                                               \
        err = NULL;                                                                                \
        CHECK((call) == (expected));                                                               \
    } while (0)

struct test_case {
    const char *name;
    void (*run)(void);
};

#define CASE(name) {#name, name}

static inline int run_case(const struct test_case *cases, size_t count, const char *name) {
    size_t i;
    for (i = 0; i < count; i++) {
        if (strcmp(cases[i].name, name) == 0) {
            cases[i].run();
            return 0;
        }
    }
    fprintf(stderr, "no case named %s\n", name);
    return 2;
}

#endif
