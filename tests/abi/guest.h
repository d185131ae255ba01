/* What the programs that run virtual machines share: a snapshot, and short ways to use it. */
#ifndef GUEST_H
#define GUEST_H

#include "check.h"

#include <fcntl.h>
#include <time.h>
#include <unistd.h>

static const char *template_dir;
static zb_snapshot *snapshot;

static inline void wait_ms(long ms) {
    struct timespec time = {ms / 1000, ms % 1000 * 1000000};
    nanosleep(&time, NULL);
}

static inline double now_ms(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec * 1e3 + (double)time.tv_nsec / 1e6;
}

static inline zb_sandbox *fork_one(void) {
    zb_sandbox *sandbox = NULL;
    CHECK_OK(zb_fork(snapshot, NULL, &sandbox, err));
    return sandbox;
}

static inline zb_run_options program(const char *code) {
    zb_run_options opts;
    ZB_INIT(opts);
    opts.code = code;
    opts.code_len = strlen(code);
    return opts;
}

static inline zb_result *run_with(zb_sandbox *sandbox, const zb_run_options *opts) {
    zb_result *result = NULL;
    CHECK_OK(zb_run(sandbox, opts, &result, err));
    return result;
}

static inline zb_result *run(zb_sandbox *sandbox, const char *code) {
    zb_run_options opts = program(code);
    return run_with(sandbox, &opts);
}

static inline int prints(zb_result *result, const char *text) {
    size_t len;
    const char *bytes = zb_result_stdout(result, &len);
    return len == strlen(text) && memcmp(bytes, text, len) == 0;
}

/* The process's open files, and how many of them an exec would inherit. */
struct files {
    int open, inherited;
};

static inline struct files files(void) {
    struct files files = {0, 0};
    int fd;
    for (fd = 0; fd < 4096; fd++) {
        int flags = fcntl(fd, F_GETFD);
        files.open += flags >= 0;
        files.inherited += flags >= 0 && !(flags & FD_CLOEXEC);
    }
    return files;
}

#endif
