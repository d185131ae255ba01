/*
 * The library on a host in trouble: driver CASE TEMPLATE_DIR
 * Each call of the system fails once, at each place, and whatever comes of it is either what it
 * would have been or an error that names the call; nothing is left behind, and the next try works.
 */
#define _GNU_SOURCE
#include "../abi/check.h"
#include "shim.h"

#include <dirent.h>
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static const char *template_dir;

static double now_ms(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec * 1e3 + (double)time.tv_nsec / 1e6;
}

static void wait_ms(long ms) {
    struct timespec time = {ms / 1000, ms % 1000 * 1000000};
    nanosleep(&time, NULL);
}

/* What the process holds. */

struct held {
    int files, mappings, threads, timers;
};

static int entries(const char *path) {
    DIR *dir = opendir(path);
    int count = 0;
    CHECK(dir != NULL);
    while (readdir(dir) != NULL) {
        count++;
    }
    closedir(dir);
    return count;
}

static int lines_with(const char *path, const char *const *words) {
    FILE *file = fopen(path, "re");
    char line[4096];
    int count = 0;
    CHECK(file != NULL);
    while (fgets(line, sizeof line, file) != NULL) {
        const char *const *word = words;
        while (*word != NULL && strstr(line, *word) == NULL) {
            word++;
        }
        count += *word != NULL;
    }
    fclose(file);
    return count;
}

static struct held held(void) {
    static const char *const ours[] = {"kvm", ".img", "zeroboot-", NULL};
    static const char *const timer[] = {"ID:", NULL};
    struct held held;
    held.files = entries("/proc/self/fd");
    held.mappings = lines_with("/proc/self/maps", ours);
    held.threads = entries("/proc/self/task");
    held.timers = access("/proc/self/timers", R_OK) == 0 ? lines_with("/proc/self/timers", timer) : 0;
    return held;
}

static void check_held(struct held before, const char *when, long nth) {
    struct held now = held();
    if (memcmp(&now, &before, sizeof now) != 0) {
        fprintf(stderr,
                "%s, fault %ld: files %d -> %d, mappings %d -> %d, threads %d -> %d, timers %d -> %d\n",
                when, nth, before.files, now.files, before.mappings, now.mappings, before.threads,
                now.threads, before.timers, now.timers);
        exit(1);
    }
}

/* Steps of the library that may meet a fault. */

static const int ERRORS[] = {ENOMEM, EINTR};
#define ERRORS_LEN (sizeof ERRORS / sizeof *ERRORS)

/* An error is one that says which call failed, or which file. */
static void check_error(zb_status status, zb_error *error, long nth) {
    static const char *const words[] = {"KVM_", "mmap", "madvise", "memfd", "memory", "/dev/kvm",
                                        "timer_", "thread", ".json", ".img", ".bin", "sigprocmask"};
    const char *message = zb_error_message(error);
    size_t i;
    CHECK(status != ZB_ERR_INTERNAL && zb_error_status(error) == status);
    for (i = 0; i < sizeof words / sizeof *words; i++) {
        if (strstr(message, words[i]) != NULL) {
            zb_error_free(error);
            return;
        }
    }
    fprintf(stderr, "fault %ld: an error that names nothing: %s\n", nth, message);
    exit(1);
}

static zb_snapshot *load(uint32_t recycle_max, uint32_t prewarm, uint64_t flags, zb_status *status,
                         long nth) {
    zb_load_options opts;
    zb_snapshot *snapshot;
    zb_error *error;
    ZB_INIT(opts);
    opts.recycle_max = recycle_max;
    opts.prewarm = prewarm;
    opts.flags = flags;
    *status = zb_snapshot_load(template_dir, &opts, &snapshot, &error);
    CHECK((*status == ZB_OK) == (snapshot != NULL) && (*status == ZB_OK) == (error == NULL));
    if (*status != ZB_OK) {
        check_error(*status, error, nth);
    }
    return snapshot;
}

static zb_snapshot *load_well(uint32_t recycle_max, uint32_t prewarm) {
    zb_status status;
    zb_snapshot *snapshot = load(recycle_max, prewarm, 0, &status, 0);
    CHECK(snapshot != NULL);
    return snapshot;
}

/* Forks, runs, checks the answer, frees. Says how far it came: 0 for an error, 1 for an answer, 2
 * for a run that ended otherwise, which only a guest that lost a page may do. */
static int fork_and_run(zb_snapshot *snapshot, long nth) {
    zb_sandbox *sandbox;
    zb_result *result;
    zb_error *error;
    zb_run_options opts;
    zb_status status = zb_fork(snapshot, NULL, &sandbox, &error);
    size_t len;
    const char *text;
    int came = 0;
    if (status != ZB_OK) {
        CHECK(sandbox == NULL);
        check_error(status, error, nth);
        return 0;
    }
    ZB_INIT(opts);
    opts.code = "print(6*7)";
    opts.code_len = strlen(opts.code);
    status = zb_run(sandbox, &opts, &result, &error);
    if (status != ZB_OK) {
        CHECK(result == NULL);
        check_error(status, error, nth);
    } else if (zb_result_outcome(result) == ZB_OUTCOME_EXITED) {
        text = zb_result_stdout(result, &len);
        CHECK(zb_result_exit_code(result) == 0 && len == 3 && memcmp(text, "42\n", 3) == 0);
        came = 1;
    } else {
        CHECK(zb_result_outcome(result) == ZB_OUTCOME_CRASHED);
        came = 2;
    }
    zb_result_free(result);
    zb_free(sandbox);
    return came;
}

static void order(enum fault_kind kind, long nth, long count, int error, enum fault_threads threads) {
    struct fault_order order = {kind, nth, count, error, threads};
    fault_order(order);
}

/* Each call fails once. */

/* In a process that has not used the library yet; whether there was such a call. */
static int load_with_fault(long nth, int error) {
    struct held before = held();
    zb_snapshot *snapshot;
    zb_status status;
    long fired;
    order(FAULT_MOST, nth, 1, error, FAULT_ANY_THREAD);
    snapshot = load(ZB_NONE, 0, 0, &status, nth);
    fired = fault_end();
    CHECK(fired || status == ZB_OK);
    zb_snapshot_free(snapshot);
    check_held(before, "load", nth);
    snapshot = load_well(ZB_NONE, 0);
    CHECK(fork_and_run(snapshot, nth) == 1);
    zb_snapshot_free(snapshot);
    check_held(before, "load again", nth);
    return fired > 0;
}

static void each_call_of_a_load_fails_once(void) {
    size_t i;
    for (i = 0; i < ERRORS_LEN; i++) {
        long nth = 0;
        int status = 1 << 8;
        while (WIFEXITED(status) && WEXITSTATUS(status) == 1) {
            pid_t child;
            nth++;
            CHECK(nth < 1000);
            child = fork();
            if (child == 0) {
                _exit(load_with_fault(nth, ERRORS[i]));
            }
            CHECK(waitpid(child, &status, 0) == child);
        }
        CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
        CHECK(nth > 20);
    }
}

static void each_call_of_a_fork_and_a_run_fails_once(void) {
    struct held before = held();
    size_t i;
    for (i = 0; i < ERRORS_LEN; i++) {
        long nth, fired = 1;
        for (nth = 1; fired; nth++) {
            zb_snapshot *snapshot = load_well(ZB_NONE, 0);
            int came;
            order(FAULT_MOST, nth, 1, ERRORS[i], FAULT_THIS_THREAD);
            came = fork_and_run(snapshot, nth);
            fired = fault_end();
            CHECK(came == 1 || fired);
            CHECK(came != 2);
            CHECK(fork_and_run(snapshot, nth) == 1);
            zb_snapshot_free(snapshot);
            check_held(before, "fork and run", nth);
            CHECK(nth < 1000);
        }
        CHECK(nth > 10);
    }
}

/* The machine of an earlier sandbox is put back by the thread that forks: at first with all that
 * this takes to be prepared, in the second round without. */
static void each_call_of_a_reset_fails_once(void) {
    struct held before = held();
    int round;
    fault_threads_fail(1);
    for (round = 0; round < 2; round++) {
        static zb_snapshot *snapshot;
        long nth, fired = 1;
        if (round == 0) {
            snapshot = load_well(2, 0);
            CHECK(fork_and_run(snapshot, 0) == 1);
        }
        for (nth = 1; fired; nth++) {
            int came;
            order(FAULT_MOST, nth, 1, ENOMEM, FAULT_THIS_THREAD);
            came = fork_and_run(snapshot, nth);
            fired = fault_end();
            CHECK(came == 1 || (came == 0 && fired));
            /* The next try in a first round is the next fault's: nothing is prepared in between. */
            CHECK(round == 0 || fork_and_run(snapshot, nth) == 1);
            CHECK(nth < 1000);
        }
        CHECK(nth > 10);
        if (round == 1) {
            zb_snapshot_free(snapshot);
            check_held(before, "reset", nth);
        }
    }
    fault_threads_fail(0);
}

/* Whether no other thread runs, or would if it had a processor. */
static int others_sleep(void) {
    DIR *dir = opendir("/proc/self/task");
    struct dirent *entry;
    int asleep = 1;
    CHECK(dir != NULL);
    while ((entry = readdir(dir)) != NULL) {
        char path[300], line[300] = "", *state;
        FILE *file;
        snprintf(path, sizeof path, "/proc/self/task/%s/stat", entry->d_name);
        if (entry->d_name[0] == '.' || atoi(entry->d_name) == gettid() ||
            (file = fopen(path, "re")) == NULL) {
            continue;
        }
        CHECK(fgets(line, sizeof line, file) != NULL);
        fclose(file);
        state = strrchr(line, ')');
        asleep &= state != NULL && state[2] == 'S';
    }
    closedir(dir);
    return asleep;
}

/* Until the keeper has begun, and has nothing more to do. */
static void wait_for_keeper(void) {
    double since = now_ms(), begun = since;
    long seen = -1;
    while (fault_seen() == 0 && now_ms() - begun < 10000) {
        wait_ms(1);
    }
    while (now_ms() - since < 10) {
        wait_ms(1);
        if (fault_seen() != seen || !others_sleep()) {
            seen = fault_seen();
            since = now_ms();
        }
    }
}

/* Nobody who forks notices what the pool's own thread meets. Returns how many calls it made. */
static long keep_with_faults(zb_snapshot *snapshot) {
    long nth, fired = 1;
    for (nth = 1; fired; nth++) {
        order(FAULT_MOST, nth, 1, ENOMEM, FAULT_OTHER_THREADS);
        CHECK(fork_and_run(snapshot, nth) == 1);
        wait_for_keeper();
        fired = fault_end();
        CHECK(nth < 1000);
    }
    return nth;
}

static void each_call_of_the_keeper_fails_once(void) {
    struct held before = held();
    zb_snapshot *snapshot = load_well(2, 0);
    /* At first with all that putting back takes to be prepared, then without. */
    CHECK(keep_with_faults(snapshot) > 50);
    CHECK(keep_with_faults(snapshot) > 5);
    zb_snapshot_free(snapshot);
    snapshot = load_well(ZB_NONE, 1);
    CHECK(keep_with_faults(snapshot) > 10);
    CHECK(fork_and_run(snapshot, 0) == 1);
    zb_snapshot_free(snapshot);
    check_held(before, "keeper", 0);
}

/* Files used up, memory used up: not once but for good. */
static void a_host_that_is_out_of_everything_says_so_until_it_is_not(void) {
    static const struct {
        enum fault_kind kind;
        int error;
    } faults[] = {{FAULT_IOCTL, EMFILE},  {FAULT_IOCTL, ENOMEM},  {FAULT_MEMORY, ENOMEM},
                  {FAULT_TIMER, EAGAIN},  {FAULT_MOST, ENOMEM},   {FAULT_KVM_RUN, ENOMEM}};
    struct held before = held();
    zb_snapshot *snapshot = load_well(ZB_NONE, 0);
    size_t i;
    int tries;
    for (i = 0; i < sizeof faults / sizeof *faults; i++) {
        order(faults[i].kind, 1, -1, faults[i].error, FAULT_THIS_THREAD);
        for (tries = 0; tries < 20; tries++) {
            CHECK(fork_and_run(snapshot, tries) == 0);
        }
        CHECK(fault_end() >= tries);
        CHECK(fork_and_run(snapshot, 0) == 1);
    }
    zb_snapshot_free(snapshot);
    check_held(before, "out of everything", 0);
}

static void a_device_that_goes_away_is_not_missed_by_who_has_it(void) {
    zb_snapshot *snapshot = load_well(2, 0), *another;
    zb_status status;
    order(FAULT_OPEN, 1, -1, ENOENT, FAULT_ANY_THREAD);
    CHECK(fork_and_run(snapshot, 0) == 1);
    CHECK(fork_and_run(snapshot, 0) == 1);
    another = load(0, 0, 0, &status, 0);
    CHECK(another == NULL && status == ZB_ERR_NOT_FOUND);
    fault_end();
    zb_snapshot_free(snapshot);
}

static void without_threads_a_pool_does_its_work_itself(void) {
    struct held before = held();
    zb_snapshot *snapshot;
    int i;
    fault_threads_fail(1);
    snapshot = load_well(0, 2);
    for (i = 0; i < 20; i++) {
        CHECK(fork_and_run(snapshot, i) == 1);
    }
    fault_threads_fail(0);
    for (i = 0; i < 20; i++) {
        CHECK(fork_and_run(snapshot, i) == 1);
    }
    zb_snapshot_free(snapshot);
    check_held(before, "without threads", 0);
}

/* KVM_RUN, which fails while a guest stands somewhere. */

static zb_status run_with(zb_sandbox *sandbox, const char *code, uint64_t timeout_ms, zb_result **result,
                          zb_error **error) {
    zb_run_options opts;
    ZB_INIT(opts);
    opts.code = code;
    opts.code_len = strlen(code);
    opts.timeout_ms = timeout_ms;
    return zb_run(sandbox, &opts, result, error);
}

static zb_sandbox *fork_one(zb_snapshot *snapshot) {
    zb_sandbox *sandbox;
    CHECK_OK(zb_fork(snapshot, NULL, &sandbox, err));
    return sandbox;
}

static void a_run_that_is_interrupted_goes_on(void) {
    zb_snapshot *snapshot = load_well(ZB_NONE, 0);
    order(FAULT_KVM_RUN, 1, 1000, EINTR, FAULT_THIS_THREAD);
    CHECK(fork_and_run(snapshot, 1) == 1 && fault_end() == 1000);
    order(FAULT_KVM_RUN, 1, 1000, EAGAIN, FAULT_THIS_THREAD);
    CHECK(fork_and_run(snapshot, 1) == 1 && fault_end() == 1000);
    order(FAULT_KVM_RUN, 1, 3, ENOMEM, FAULT_THIS_THREAD);
    CHECK(fork_and_run(snapshot, 1) == 1 && fault_end() == 3);
    zb_snapshot_free(snapshot);
}

static void a_run_that_never_gets_anywhere_ends_at_its_timeout(void) {
    zb_snapshot *snapshot = load_well(ZB_NONE, 0);
    zb_sandbox *sandbox = fork_one(snapshot);
    zb_result *result;
    double start = now_ms();
    order(FAULT_KVM_RUN, 1, -1, EINTR, FAULT_THIS_THREAD);
    CHECK(run_with(sandbox, "print(1)", 200, &result, NULL) == ZB_OK);
    CHECK(fault_end() > 0);
    CHECK(zb_result_outcome(result) == ZB_OUTCOME_TIMED_OUT);
    CHECK(now_ms() - start >= 200);
    zb_result_free(result);
    zb_free(sandbox);
    zb_snapshot_free(snapshot);
}

static void a_run_that_fails_says_so_and_is_the_sandboxs_last(void) {
    zb_snapshot *snapshot = load_well(ZB_NONE, 0);
    zb_sandbox *sandbox = fork_one(snapshot);
    zb_result *result;
    zb_error *error;
    order(FAULT_KVM_RUN, 1, -1, EIO, FAULT_THIS_THREAD);
    CHECK(run_with(sandbox, "print(1)", 0, &result, &error) == ZB_ERR_KVM);
    CHECK(result == NULL && zb_error_errno(error) == EIO);
    check_error(ZB_ERR_KVM, error, 0);
    fault_end();
    CHECK(!zb_sandbox_is_alive(sandbox));
    CHECK_FAILS(run_with(sandbox, "print(1)", 0, &result, err), ZB_ERR_DEAD, "failure of the host");
    zb_free(sandbox);
    sandbox = fork_one(snapshot);
    order(FAULT_KVM_RUN, 1, 1, EFAULT, FAULT_THIS_THREAD);
    CHECK(run_with(sandbox, "print(1)", 0, &result, NULL) == ZB_OK);
    fault_end();
    CHECK(zb_result_outcome(result) == ZB_OUTCOME_CRASHED);
    CHECK(strstr(zb_result_message(result), "memory cannot be had") != NULL);
    zb_result_free(result);
    zb_free(sandbox);
    CHECK(fork_and_run(snapshot, 0) == 1);
    zb_snapshot_free(snapshot);
}

/* Signals of the program's own, without SA_RESTART. */

static atomic_long signals;

static void note_signal(int signal) {
    (void)signal;
    atomic_fetch_add(&signals, 1);
}

static void a_storm_of_signals_disturbs_nothing(void) {
    struct held before = held();
    struct sigaction action;
    struct itimerval storm = {{0, 300}, {0, 300}}, calm = {{0, 0}, {0, 0}};
    zb_snapshot *snapshot;
    int i;
    memset(&action, 0, sizeof action);
    action.sa_handler = note_signal;
    CHECK(sigaction(SIGALRM, &action, NULL) == 0);
    CHECK(setitimer(ITIMER_REAL, &storm, NULL) == 0);
    for (i = 0; i < 20; i++) {
        snapshot = load_well(i % 2 ? 2 : ZB_NONE, 0);
        CHECK(fork_and_run(snapshot, i) == 1);
        CHECK(fork_and_run(snapshot, i) == 1);
        zb_snapshot_free(snapshot);
    }
    CHECK(setitimer(ITIMER_REAL, &calm, NULL) == 0);
    CHECK(atomic_load(&signals) > 100);
    check_held(before, "storm", 0);
}

/* Cancellation of threads. */

static zb_snapshot *shared;
static atomic_int began, outcome_seen;

static int32_t note_output(void *user, zb_stream stream, const char *data, size_t len) {
    (void)user, (void)stream, (void)data, (void)len;
    atomic_store(&began, 1);
    return 0;
}

static void *run_until_cancelled(void *unused) {
    zb_sandbox *sandbox = fork_one(shared);
    zb_run_options opts;
    zb_result *result;
    (void)unused;
    ZB_INIT(opts);
    opts.code = "print(1, flush=True)\nwhile True: pass";
    opts.code_len = strlen(opts.code);
    opts.timeout_ms = 400;
    opts.on_output = note_output;
    CHECK_OK(zb_run(sandbox, &opts, &result, err));
    atomic_store(&outcome_seen, (int)zb_result_outcome(result));
    zb_result_free(result);
    zb_free(sandbox);
    pthread_testcancel();
    return NULL;
}

static void a_thread_that_is_cancelled_ends_behind_the_call(void) {
    struct held before = held();
    pthread_t thread;
    void *ended;
    shared = load_well(ZB_NONE, 0);
    CHECK(pthread_create(&thread, NULL, run_until_cancelled, NULL) == 0);
    while (!atomic_load(&began)) {
        wait_ms(1);
    }
    CHECK(pthread_cancel(thread) == 0);
    CHECK(pthread_join(thread, &ended) == 0);
    CHECK(ended == PTHREAD_CANCELED);
    CHECK(atomic_load(&outcome_seen) == ZB_OUTCOME_TIMED_OUT);
    CHECK(fork_and_run(shared, 0) == 1);
    zb_snapshot_free(shared);
    check_held(before, "cancellation", 0);
}

static void *fork_and_run_until_cancelled(void *unused) {
    (void)unused;
    for (;;) {
        int came = fork_and_run(shared, 0);
        CHECK(came == 1);
        pthread_testcancel();
    }
    return NULL;
}

static void threads_may_be_cancelled_at_any_time(void) {
    struct held before = held();
    unsigned seed = 7;
    int i;
    shared = load_well(2, 0);
    for (i = 0; i < 60; i++) {
        struct timespec delay = {0, (rand_r(&seed) % 6000) * 1000L};
        pthread_t thread;
        void *ended;
        CHECK(pthread_create(&thread, NULL, fork_and_run_until_cancelled, NULL) == 0);
        nanosleep(&delay, NULL);
        CHECK(pthread_cancel(thread) == 0);
        CHECK(pthread_join(thread, &ended) == 0 && ended == PTHREAD_CANCELED);
    }
    zb_snapshot_free(shared);
    check_held(before, "cancellations", 0);
}

/* The clock. */

static void a_step_of_the_clock_disturbs_no_sandbox(void) {
    static const long steps[] = {3600, -7200, 3600 * 24 * 365, -3600 * 24 * 365 * 2L, 3600 * 24 * 365 + 3600};
    zb_snapshot *snapshot = load_well(2, 0);
    zb_sandbox *before = fork_one(snapshot);
    zb_result *result;
    size_t i;
    for (i = 0; i < sizeof steps / sizeof *steps; i++) {
        zb_sandbox *sandbox = fork_one(snapshot);
        zb_snapshot *another;
        zb_error *error;
        zb_status status;
        double start;
        fault_step_clock(steps[i]);
        start = now_ms();
        CHECK(run_with(sandbox, "while True: pass", 200, &result, NULL) == ZB_OK);
        CHECK(zb_result_outcome(result) == ZB_OUTCOME_TIMED_OUT);
        CHECK(now_ms() - start >= 200 && now_ms() - start < 30000);
        zb_result_free(result);
        zb_free(sandbox);
        CHECK(fork_and_run(snapshot, (long)i) == 1);
        /* One that is loaded now may be refused: where the guest's counter cannot be set, its clock
         * would be wrong. */
        status = zb_snapshot_load(template_dir, NULL, &another, &error);
        CHECK(status == ZB_OK || status == ZB_ERR_CLOCK);
        CHECK(status == ZB_OK || strstr(zb_error_message(error), "clock") != NULL);
        zb_error_free(error);
        zb_snapshot_free(another);
    }
    CHECK(run_with(before, "print(6*7)", 0, &result, NULL) == ZB_OK);
    CHECK(zb_result_outcome(result) == ZB_OUTCOME_EXITED);
    zb_result_free(result);
    zb_free(before);
    zb_snapshot_free(snapshot);
    /* The steps come to nothing together. */
    zb_snapshot_free(load_well(0, 0));
}

/* The snapshot's files. TEMPLATE_DIR is a copy. */

static void file_of_template(char *path, size_t size, const char *name) {
    snprintf(path, size, "%s/%s", template_dir, name);
}

static void a_snapshot_that_is_deleted_serves_on(void) {
    static const char *const files[] = {"manifest.json", "state.bin", "memory.img", "rootfs.img"};
    struct held before = held();
    zb_snapshot *snapshot = load_well(2, 0);
    zb_sandbox *sandbox = fork_one(snapshot);
    zb_result *result;
    char path[4096];
    size_t i;
    int again;
    CHECK(fork_and_run(snapshot, 0) == 1);
    for (i = 0; i < 4; i++) {
        file_of_template(path, sizeof path, files[i]);
        CHECK(unlink(path) == 0);
    }
    CHECK(rmdir(template_dir) == 0);
    CHECK(run_with(sandbox, "import calendar; print(6*7)", 0, &result, NULL) == ZB_OK);
    CHECK(zb_result_outcome(result) == ZB_OUTCOME_EXITED && zb_result_exit_code(result) == 0);
    zb_result_free(result);
    zb_free(sandbox);
    for (again = 0; again < 5; again++) {
        CHECK(fork_and_run(snapshot, again) == 1);
    }
    zb_snapshot_free(snapshot);
    check_held(before, "deleted", 0);
}

static void truncate_file(const char *name) {
    char path[4096];
    file_of_template(path, sizeof path, name);
    CHECK(truncate(path, 4096) == 0);
}

static void a_sealed_copy_does_not_mind_truncation(void) {
    zb_status status;
    zb_snapshot *snapshot = load(2, 0, ZB_LOAD_SEALED_COPY, &status, 0);
    int again;
    CHECK(snapshot != NULL);
    CHECK(fork_and_run(snapshot, 0) == 1);
    truncate_file("memory.img");
    for (again = 0; again < 5; again++) {
        CHECK(fork_and_run(snapshot, again) == 1);
    }
    zb_snapshot_free(snapshot);
}

/* As the header says: an error, a crash of the guest, or SIGBUS. Never another answer. */
static void a_truncated_memory_file_gives_no_wrong_answer(void) {
    zb_snapshot *snapshot = load_well(2, 0);
    int again;
    CHECK(fork_and_run(snapshot, 0) == 1);
    truncate_file("memory.img");
    for (again = 0; again < 5; again++) {
        fork_and_run(snapshot, again);
    }
    zb_snapshot_free(snapshot);
}

/* The host maps the image and never reads it, so that is the guest's business alone. */
static void a_truncated_image_ends_the_guests_that_read_it(void) {
    struct held before = held();
    zb_snapshot *snapshot = load_well(2, 0);
    zb_result *result;
    zb_error *error;
    zb_sandbox *sandbox;
    CHECK(fork_and_run(snapshot, 0) == 1);
    truncate_file("rootfs.img");
    sandbox = fork_one(snapshot);
    if (run_with(sandbox, "import calendar, smtplib, xmlrpc.client; print(1)", 20000, &result, &error) == ZB_OK) {
        CHECK(!(zb_result_outcome(result) == ZB_OUTCOME_EXITED && zb_result_exit_code(result) == 0));
    } else {
        check_error(zb_error_status(error), error, 0);
    }
    zb_result_free(result);
    zb_free(sandbox);
    zb_snapshot_free(snapshot);
    check_held(before, "truncated image", 0);
}

int main(int argc, char **argv) {
    static const struct test_case cases[] = {
        CASE(each_call_of_a_load_fails_once),
        CASE(each_call_of_a_fork_and_a_run_fails_once),
        CASE(each_call_of_a_reset_fails_once),
        CASE(each_call_of_the_keeper_fails_once),
        CASE(a_host_that_is_out_of_everything_says_so_until_it_is_not),
        CASE(a_device_that_goes_away_is_not_missed_by_who_has_it),
        CASE(without_threads_a_pool_does_its_work_itself),
        CASE(a_run_that_is_interrupted_goes_on),
        CASE(a_run_that_never_gets_anywhere_ends_at_its_timeout),
        CASE(a_run_that_fails_says_so_and_is_the_sandboxs_last),
        CASE(a_storm_of_signals_disturbs_nothing),
        CASE(a_thread_that_is_cancelled_ends_behind_the_call),
        CASE(threads_may_be_cancelled_at_any_time),
        CASE(a_step_of_the_clock_disturbs_no_sandbox),
        CASE(a_snapshot_that_is_deleted_serves_on),
        CASE(a_sealed_copy_does_not_mind_truncation),
        CASE(a_truncated_memory_file_gives_no_wrong_answer),
        CASE(a_truncated_image_ends_the_guests_that_read_it),
    };
    CHECK(argc == 3);
    template_dir = argv[2];
    return run_case(cases, sizeof cases / sizeof *cases, argv[1]);
}
