/*
 * Programs in virtual machines, through the header alone: guest CASE TEMPLATE_DIR
 * ZB_TEST_THREADS_SECONDS in the environment is how long the threads of the last case go on.
 */
#define _DEFAULT_SOURCE
#include "guest.h"

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/wait.h>

static const char *LOOP = "while True: pass";

static void a_host_says_what_it_is_and_keeps_nothing_open(void) {
    zb_host *host = NULL;
    int fd = dup(0), same;
    zb_kvm_kind kind;
    close(fd);
    CHECK_OK(zb_host_probe(&host, err));
    kind = zb_host_kvm_kind(host);
    CHECK(kind >= ZB_KVM_INTEL && kind <= ZB_KVM_OTHER);
    CHECK(kind != ZB_KVM_SOFTWARE || !zb_host_is_ring0_native(host));
    CHECK(zb_host_is_tsc_settable(host) == 0 || zb_host_is_tsc_settable(host) == 1);
    CHECK(zb_host_tsc_khz(host) > 100000 && zb_host_tsc_khz(host) < 20000000);
    same = dup(0);
    CHECK(same == fd);
    close(same);
    zb_host_free(host);
}

static void a_snapshot_says_what_it_is(void) {
    const uint64_t second = 1000000000;
    CHECK(strcmp(zb_snapshot_runtime(snapshot), "python") == 0);
    CHECK(zb_snapshot_format(snapshot) >= 1);
    CHECK(zb_snapshot_memory_bytes(snapshot) >= 32 << 20);
    CHECK(zb_snapshot_rootfs_bytes(snapshot) >= 1 << 20);
    CHECK(zb_snapshot_created_unix_ns(snapshot) / second > 1700000000);
    CHECK(zb_snapshot_created_unix_ns(snapshot) / second <= (uint64_t)time(NULL));
}

static void a_program_prints_and_exits(void) {
    zb_sandbox *sandbox = fork_one();
    zb_result *result = run(sandbox, "import sys\n"
                                     "print(6*7)\n"
                                     "print('oops', file=sys.stderr)\n"
                                     "sys.exit(3)");
    size_t len;
    CHECK(zb_result_outcome(result) == ZB_OUTCOME_EXITED);
    CHECK(zb_result_exit_code(result) == 3 && zb_result_signal(result) == 0);
    CHECK(prints(result, "42\n"));
    CHECK(memcmp(zb_result_stderr(result, &len), "oops\n", 5) == 0 && len == 5);
    CHECK(zb_result_elapsed_ns(result) > 0);
    CHECK(strstr(zb_result_message(result), "code 3") != NULL);
    CHECK(zb_sandbox_is_alive(sandbox));
    zb_result_free(result);
    zb_free(sandbox);
}

static void a_program_may_be_empty_but_not_missing(void) {
    zb_sandbox *sandbox = fork_one();
    zb_result *result = run(sandbox, "");
    zb_run_options opts;
    CHECK(zb_result_exit_code(result) == 0 && prints(result, ""));
    zb_result_free(result);
    CHECK_FAILS(zb_run(sandbox, NULL, &result, err), ZB_ERR_INVALID_ARGUMENT, "code is NULL");
    ZB_INIT(opts);
    opts.code_len = 5;
    CHECK_FAILS(zb_run(sandbox, &opts, &result, err), ZB_ERR_INVALID_ARGUMENT, "code is NULL");
    opts = program("x");
    opts.code_len = (size_t)-1;
    CHECK_FAILS(zb_run(sandbox, &opts, &result, err), ZB_ERR_INVALID_ARGUMENT, "code_len");
    CHECK(result == NULL && zb_sandbox_is_alive(sandbox));
    zb_free(sandbox);
}

static void a_program_that_is_too_long_is_refused_and_does_no_harm(void) {
    zb_sandbox *sandbox = fork_one();
    size_t len = 64 << 20;
    char *code = malloc(len);
    zb_run_options opts = program("");
    zb_result *result = NULL;
    CHECK(code != NULL);
    memset(code, ' ', len);
    opts.code = code;
    opts.code_len = len;
    CHECK_FAILS(zb_run(sandbox, &opts, &result, err), ZB_ERR_INVALID_ARGUMENT, "67108864");
    free(code);
    result = run(sandbox, "print('still here')");
    CHECK(prints(result, "still here\n"));
    zb_result_free(result);
    zb_free(sandbox);
}

static void handles_may_be_freed_in_any_order(void) {
    zb_sandbox *sandbox = fork_one();
    zb_result *result;
    CHECK(strcmp(zb_snapshot_runtime(snapshot), "python") == 0);
    CHECK(zb_snapshot_memory_bytes(snapshot) >= 32 << 20);
    zb_snapshot_free(snapshot);
    snapshot = NULL;
    result = run(sandbox, "print('here')");
    zb_free(sandbox);
    CHECK(prints(result, "here\n"));
    zb_result_free(result);
}

static void a_sandbox_has_the_name_that_it_was_given_or_a_random_one(void) {
    static const char *told = "print(open('/etc/machine-id').read(), end='')";
    static const uint8_t zeros[16];
    uint8_t name[16] = {0xab, 0xcd, [15] = 0x01};
    zb_fork_options opts;
    zb_sandbox *named = NULL, *other;
    zb_result *result;

    ZB_INIT(opts);
    memcpy(opts.instance_id, name, sizeof name);
    CHECK_OK(zb_fork(snapshot, &opts, &named, err));
    CHECK(memcmp(zb_sandbox_instance_id(named), name, sizeof name) == 0);
    result = run(named, told);
    CHECK(prints(result, "abcd0000000000000000000000000001\n"));
    zb_result_free(result);
    zb_free(named);

    other = fork_one();
    CHECK(memcmp(zb_sandbox_instance_id(other), name, sizeof name) != 0);
    CHECK(memcmp(zb_sandbox_instance_id(other), zeros, sizeof zeros) != 0);
    zb_free(other);

    /* A program compiled before there were names. */
    opts.size = offsetof(zb_fork_options, instance_id);
    CHECK_OK(zb_fork(snapshot, &opts, &other, err));
    CHECK(memcmp(zb_sandbox_instance_id(other), name, sizeof name) != 0);
    zb_free(other);
    CHECK(zb_sandbox_instance_id(NULL) == NULL);
}

static void a_sandbox_is_dead_after_a_timeout_and_says_so(void) {
    zb_sandbox *sandbox = fork_one();
    zb_run_options opts = program(LOOP);
    zb_result *result;
    double start = now_ms();
    opts.timeout_ms = 100;
    result = run_with(sandbox, &opts);
    CHECK(now_ms() - start >= 100);
    CHECK(zb_result_outcome(result) == ZB_OUTCOME_TIMED_OUT);
    CHECK(zb_result_exit_code(result) == -1);
    zb_result_free(result);
    CHECK(!zb_sandbox_is_alive(sandbox));
    CHECK_FAILS(zb_run(sandbox, &opts, &result, err), ZB_ERR_DEAD, "timeout");
    CHECK(result == NULL);
    zb_free(sandbox);
}

struct run_in_thread {
    zb_sandbox *sandbox;
    zb_run_options opts;
    zb_status status;
    uint32_t outcome;
    double ended_ms;
    atomic_int started;
    pthread_t thread;
};

/* More output than waits for the end of a run, then a loop. */
static const char *SAY_AND_LOOP = "for i in range(300): print('x' * 9999)\n"
                                  "while True: pass";

static int32_t note_start(void *user, zb_stream stream, const char *data, size_t len) {
    struct run_in_thread *run = user;
    (void)stream, (void)data, (void)len;
    atomic_store(&run->started, 1);
    return 0;
}

static void *run_thread(void *user) {
    struct run_in_thread *run = user;
    zb_result *result;
    run->status = zb_run(run->sandbox, &run->opts, &result, NULL);
    run->ended_ms = now_ms();
    run->outcome = zb_result_outcome(result);
    zb_result_free(result);
    return NULL;
}

static void start(struct run_in_thread *run, zb_cancel *cancel) {
    run->opts = program(SAY_AND_LOOP);
    run->opts.cancel = cancel;
    run->opts.on_output = note_start;
    run->opts.on_output_user = run;
    atomic_init(&run->started, 0);
    CHECK(pthread_create(&run->thread, NULL, run_thread, run) == 0);
    while (!atomic_load(&run->started)) {
        wait_ms(1);
    }
    wait_ms(20);
}

static void a_token_cancels_from_another_thread_and_stays_triggered(void) {
    struct run_in_thread in_flight;
    zb_cancel *cancel = NULL;
    zb_sandbox *other = fork_one();
    zb_run_options opts = program("print(1)");
    zb_result *result;
    double triggered;
    CHECK_OK(zb_cancel_new(&cancel, err));
    in_flight.sandbox = fork_one();
    start(&in_flight, cancel);
    triggered = now_ms();
    zb_cancel_trigger(cancel);
    CHECK(pthread_join(in_flight.thread, NULL) == 0);
    CHECK(in_flight.status == ZB_OK && in_flight.outcome == ZB_OUTCOME_CANCELLED);
    CHECK(in_flight.ended_ms - triggered < 50);
    zb_free(in_flight.sandbox);

    opts.cancel = cancel;
    result = run_with(other, &opts);
    CHECK(zb_result_outcome(result) == ZB_OUTCOME_CANCELLED);
    zb_result_free(result);
    zb_cancel_free(cancel);
    zb_free(other);
}

static void a_token_may_be_freed_while_a_run_has_it(void) {
    zb_cancel *cancel = NULL;
    struct run_in_thread in_flight;
    CHECK_OK(zb_cancel_new(&cancel, err));
    in_flight.sandbox = fork_one();
    start(&in_flight, cancel);
    zb_cancel_free(cancel);
    zb_free(in_flight.sandbox);
    CHECK(pthread_join(in_flight.thread, NULL) == 0);
    CHECK(in_flight.outcome == ZB_OUTCOME_CANCELLED);
}

static void a_call_that_overlaps_another_is_refused_and_does_not_disturb_it(void) {
    struct run_in_thread in_flight;
    zb_run_options opts = program("print(1)");
    zb_result *result = (zb_result *)1;
    zb_cancel *cancel = NULL;
    CHECK_OK(zb_cancel_new(&cancel, err));
    in_flight.sandbox = fork_one();
    start(&in_flight, cancel);
    CHECK_FAILS(zb_run(in_flight.sandbox, &opts, &result, err), ZB_ERR_BUSY, "busy");
    CHECK(result == NULL);
    CHECK(zb_sandbox_is_alive(in_flight.sandbox));
    zb_cancel_trigger(cancel);
    CHECK(pthread_join(in_flight.thread, NULL) == 0);
    CHECK(in_flight.outcome == ZB_OUTCOME_CANCELLED);
    zb_cancel_free(cancel);
    zb_free(in_flight.sandbox);
}

static void a_free_during_a_run_cancels_it_and_waits(void) {
    struct run_in_thread in_flight;
    double freed;
    in_flight.sandbox = fork_one();
    start(&in_flight, NULL);
    freed = now_ms();
    zb_free(in_flight.sandbox);
    CHECK(now_ms() - freed < 500);
    CHECK(pthread_join(in_flight.thread, NULL) == 0);
    CHECK(in_flight.status == ZB_OK && in_flight.outcome == ZB_OUTCOME_CANCELLED);
}

struct callback {
    zb_sandbox *sandbox;
    zb_status status;
    size_t bytes[3];
    int32_t answer;
};

static int32_t count(void *user, zb_stream stream, const char *data, size_t len) {
    struct callback *seen = user;
    CHECK(stream == ZB_STREAM_STDOUT || stream == ZB_STREAM_STDERR);
    CHECK(data != NULL && len > 0);
    seen->bytes[stream] += len;
    return seen->answer;
}

static void output_comes_in_pieces_and_in_the_result(void) {
    struct callback seen = {0};
    zb_run_options opts = program("import sys\n"
                                  "for i in range(300): print('x' * 9999)\n"
                                  "print('e' * 99, file=sys.stderr)");
    zb_result *result;
    size_t len;
    seen.sandbox = fork_one();
    opts.on_output = count;
    opts.on_output_user = &seen;
    result = run_with(seen.sandbox, &opts);
    CHECK(zb_result_exit_code(result) == 0);
    zb_result_stdout(result, &len);
    CHECK(len == 3000000 && seen.bytes[ZB_STREAM_STDOUT] == len);
    zb_result_stderr(result, &len);
    CHECK(len == 100 && seen.bytes[ZB_STREAM_STDERR] == len);
    zb_result_free(result);
    zb_free(seen.sandbox);
}

static void a_callback_that_wants_no_more_cancels_the_run(void) {
    struct callback seen = {0};
    zb_run_options opts = program(SAY_AND_LOOP);
    zb_result *result;
    seen.sandbox = fork_one();
    seen.answer = 1;
    opts.on_output = count;
    opts.on_output_user = &seen;
    result = run_with(seen.sandbox, &opts);
    CHECK(zb_result_outcome(result) == ZB_OUTCOME_CANCELLED);
    CHECK(!zb_sandbox_is_alive(seen.sandbox));
    zb_result_free(result);
    zb_free(seen.sandbox);
}

static int32_t run_inside(void *user, zb_stream stream, const char *data, size_t len) {
    struct callback *seen = user;
    zb_run_options opts = program("print(1)");
    zb_sandbox *other = fork_one();
    zb_result *result;
    (void)stream, (void)data, (void)len;
    seen->status = zb_run(seen->sandbox, &opts, &result, NULL);
    result = run(other, "print(2)");
    CHECK(prints(result, "2\n"));
    zb_result_free(result);
    zb_free(other);
    return 0;
}

static void a_callback_may_use_other_sandboxes_but_not_its_own(void) {
    struct callback seen = {0};
    zb_run_options opts = program("print('callback')");
    zb_result *result;
    seen.sandbox = fork_one();
    opts.on_output = run_inside;
    opts.on_output_user = &seen;
    result = run_with(seen.sandbox, &opts);
    CHECK(zb_result_exit_code(result) == 0 && prints(result, "callback\n"));
    CHECK(seen.status == ZB_ERR_BUSY);
    zb_result_free(result);
    zb_free(seen.sandbox);
}

static int32_t free_inside(void *user, zb_stream stream, const char *data, size_t len) {
    struct callback *seen = user;
    (void)stream, (void)data, (void)len;
    zb_free(seen->sandbox);
    seen->sandbox = NULL;
    return 0;
}

static void a_callback_may_free_its_own_sandbox(void) {
    struct callback seen = {0};
    zb_run_options opts = program(SAY_AND_LOOP);
    zb_result *result;
    seen.sandbox = fork_one();
    opts.on_output = free_inside;
    opts.on_output_user = &seen;
    result = run_with(seen.sandbox, &opts);
    CHECK(seen.sandbox == NULL);
    CHECK(zb_result_outcome(result) == ZB_OUTCOME_CANCELLED);
    zb_result_free(result);
}

static void output_beyond_its_limit_ends_the_run_and_the_rest_is_kept(void) {
    zb_sandbox *sandbox = fork_one();
    zb_run_options opts = program("while True: print('x' * 1000)");
    zb_result *result;
    size_t len;
    opts.max_output_bytes = 100000;
    result = run_with(sandbox, &opts);
    zb_result_stdout(result, &len);
    CHECK(zb_result_outcome(result) == ZB_OUTCOME_OUTPUT_LIMIT && len == 100000);
    zb_result_free(result);
    zb_free(sandbox);
}

static void memory_beyond_a_limit_ends_the_run_or_is_not_given_at_all(void) {
    const uint64_t limit = 2 << 20;
    zb_load_options load;
    zb_fork_options opts;
    zb_snapshot *limited;
    zb_sandbox *sandbox, *another;
    zb_result *result;
    ZB_INIT(load);
    load.memory_max_bytes = 3 * limit;
    CHECK_OK(zb_snapshot_load(template_dir, &load, &limited, err));
    CHECK_FAILS(zb_fork(limited, NULL, &sandbox, err), ZB_ERR_LIMIT, "memory_max");
    ZB_INIT(opts);
    opts.memory_max_bytes = limit;
    CHECK_OK(zb_fork(limited, &opts, &sandbox, err));
    result = run(sandbox, "kept = [bytes(1000) for i in range(90000)]");
    CHECK(zb_result_outcome(result) == ZB_OUTCOME_MEMORY_LIMIT);
    CHECK(strstr(zb_result_message(result), "memory") != NULL);
    CHECK(zb_result_exit_code(result) == -1 && !zb_sandbox_is_alive(sandbox));
    zb_result_free(result);
    opts.memory_max_bytes = 2 * limit;
    CHECK_OK(zb_fork(limited, &opts, &another, err));
    result = run(another, "print('fits')");
    CHECK(prints(result, "fits\n"));
    zb_result_free(result);
    zb_free(another);
    zb_free(sandbox);
    zb_snapshot_free(limited);
}

static void a_process_that_exits_or_dies_has_an_outcome_of_its_own(void) {
    zb_sandbox *exits = fork_one(), *dies = fork_one();
    zb_result *result = run(exits, "import os; os._exit(5)");
    CHECK(zb_result_outcome(result) == ZB_OUTCOME_PROCESS_EXITED);
    CHECK(zb_result_exit_code(result) == 5);
    zb_result_free(result);
    result = run(dies, "import os; os.kill(os.getpid(), 9)");
    CHECK(zb_result_outcome(result) == ZB_OUTCOME_SIGNALED);
    CHECK(zb_result_signal(result) == 9 && zb_result_exit_code(result) == -1);
    zb_result_free(result);
    CHECK(!zb_sandbox_is_alive(exits) && !zb_sandbox_is_alive(dies));
    zb_free(exits);
    zb_free(dies);
}

static void a_child_of_fork_2_gets_an_error_and_the_parent_goes_on(void) {
    zb_sandbox *sandbox = fork_one();
    zb_run_options opts = program("print('parent')");
    zb_result *result;
    int status;
    pid_t child = fork();
    if (child == 0) {
        zb_sandbox *other;
        CHECK_FAILS(zb_run(sandbox, &opts, &result, err), ZB_ERR_WRONG_PROCESS, "fork(2)");
        CHECK_FAILS(zb_fork(snapshot, NULL, &other, err), ZB_ERR_WRONG_PROCESS, "fork(2)");
        CHECK(!zb_sandbox_is_alive(sandbox));
        zb_free(sandbox);
        zb_snapshot_free(snapshot);
        CHECK_OK(zb_snapshot_load(template_dir, NULL, &snapshot, err));
        sandbox = fork_one();
        result = run(sandbox, "print('child')");
        CHECK(prints(result, "child\n"));
        _exit(0);
    }
    CHECK(waitpid(child, &status, 0) == child);
    CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    result = run_with(sandbox, &opts);
    CHECK(prints(result, "parent\n"));
    zb_result_free(result);
    zb_free(sandbox);
}

static void signals_masks_and_handlers_are_as_they_were(void) {
    zb_sandbox *sandbox = fork_one();
    zb_run_options opts = program(LOOP);
    sigset_t before, after;
    struct sigaction old, new;
    int signal;
    CHECK(sigaction(SIGRTMIN + 13, NULL, &old) == 0);
    CHECK(pthread_sigmask(SIG_BLOCK, NULL, &before) == 0);
    opts.timeout_ms = 30;
    zb_result_free(run_with(sandbox, &opts));
    zb_free(sandbox);
    CHECK(pthread_sigmask(SIG_BLOCK, NULL, &after) == 0);
    for (signal = 1; signal <= SIGRTMAX; signal++) {
        CHECK(sigismember(&before, signal) == sigismember(&after, signal));
    }
    CHECK(sigaction(SIGRTMIN + 13, NULL, &new) == 0);
    CHECK(old.sa_handler == new.sa_handler);
}

static void nothing_is_left_open_and_nothing_is_inherited_by_exec(void) {
    struct files loaded, before, during;
    zb_sandbox *sandbox;
    zb_load_options opts;
    zb_snapshot_free(snapshot);
    before = files();
    ZB_INIT(opts);
    opts.recycle_max = ZB_NONE;
    CHECK_OK(zb_snapshot_load(template_dir, &opts, &snapshot, err));
    loaded = files();
    sandbox = fork_one();
    zb_result_free(run(sandbox, "print(1)"));
    during = files();
    CHECK(loaded.open > before.open && during.open == loaded.open + 2);
    CHECK(during.inherited == before.inherited);
    zb_free(sandbox);
    CHECK(files().open == loaded.open);
    zb_snapshot_free(snapshot);
    snapshot = NULL;
    CHECK(files().open == before.open);
}

/* Sandboxes that all threads run programs in; the lock is for replacing one, which is its free. */
static struct shared {
    pthread_rwlock_t lock;
    zb_sandbox *sandbox;
    zb_cancel *cancel;
} shared[3];

static void replace(struct shared *one) {
    pthread_rwlock_wrlock(&one->lock);
    zb_free(one->sandbox);
    zb_cancel_free(one->cancel);
    one->sandbox = fork_one();
    CHECK_OK(zb_cancel_new(&one->cancel, err));
    pthread_rwlock_unlock(&one->lock);
}

static void run_in_shared(struct shared *one, const char *code) {
    zb_run_options opts = program(code);
    zb_result *result;
    zb_status status;
    opts.timeout_ms = 20;
    pthread_rwlock_rdlock(&one->lock);
    opts.cancel = one->cancel;
    status = zb_run(one->sandbox, &opts, &result, NULL);
    CHECK(status == ZB_OK || status == ZB_ERR_BUSY || status == ZB_ERR_DEAD);
    CHECK((status == ZB_OK) == (result != NULL));
    zb_sandbox_is_alive(one->sandbox);
    pthread_rwlock_unlock(&one->lock);
    zb_result_free(result);
}

static double threads_end_ms;

static void *do_anything(void *seed) {
    unsigned state = *(unsigned *)seed;
    while (now_ms() < threads_end_ms) {
        struct shared *one = &shared[rand_r(&state) % 3];
        switch (rand_r(&state) % 8) {
        case 0:
            replace(one);
            break;
        case 1:
            pthread_rwlock_rdlock(&one->lock);
            zb_cancel_trigger(one->cancel);
            pthread_rwlock_unlock(&one->lock);
            break;
        case 2:
            run_in_shared(one, LOOP);
            break;
        case 3:
            zb_free(fork_one());
            break;
        default:
            run_in_shared(one, "print(1)");
        }
    }
    return NULL;
}

static void threads_fork_run_cancel_and_free_at_the_same_time(void) {
    static unsigned seeds[8] = {1, 2, 3, 4, 5, 6, 7, 8};
    const char *seconds = getenv("ZB_TEST_THREADS_SECONDS");
    pthread_t threads[8];
    size_t i;
    threads_end_ms = now_ms() + 1000 * (seconds == NULL ? 3 : atof(seconds));
    for (i = 0; i < 3; i++) {
        pthread_rwlock_init(&shared[i].lock, NULL);
        replace(&shared[i]);
    }
    for (i = 0; i < 8; i++) {
        CHECK(pthread_create(&threads[i], NULL, do_anything, &seeds[i]) == 0);
    }
    for (i = 0; i < 8; i++) {
        CHECK(pthread_join(threads[i], NULL) == 0);
    }
    for (i = 0; i < 3; i++) {
        zb_free(shared[i].sandbox);
        zb_cancel_free(shared[i].cancel);
    }
}

int main(int argc, char **argv) {
    static const struct test_case cases[] = {
        CASE(a_host_says_what_it_is_and_keeps_nothing_open),
        CASE(a_snapshot_says_what_it_is),
        CASE(a_program_prints_and_exits),
        CASE(a_program_may_be_empty_but_not_missing),
        CASE(a_program_that_is_too_long_is_refused_and_does_no_harm),
        CASE(handles_may_be_freed_in_any_order),
        CASE(a_sandbox_has_the_name_that_it_was_given_or_a_random_one),
        CASE(a_sandbox_is_dead_after_a_timeout_and_says_so),
        CASE(a_token_cancels_from_another_thread_and_stays_triggered),
        CASE(a_token_may_be_freed_while_a_run_has_it),
        CASE(a_call_that_overlaps_another_is_refused_and_does_not_disturb_it),
        CASE(a_free_during_a_run_cancels_it_and_waits),
        CASE(output_comes_in_pieces_and_in_the_result),
        CASE(a_callback_that_wants_no_more_cancels_the_run),
        CASE(a_callback_may_use_other_sandboxes_but_not_its_own),
        CASE(a_callback_may_free_its_own_sandbox),
        CASE(output_beyond_its_limit_ends_the_run_and_the_rest_is_kept),
        CASE(memory_beyond_a_limit_ends_the_run_or_is_not_given_at_all),
        CASE(a_process_that_exits_or_dies_has_an_outcome_of_its_own),
        CASE(a_child_of_fork_2_gets_an_error_and_the_parent_goes_on),
        CASE(signals_masks_and_handlers_are_as_they_were),
        CASE(nothing_is_left_open_and_nothing_is_inherited_by_exec),
        CASE(threads_fork_run_cancel_and_free_at_the_same_time),
    };
    int status;
    CHECK(argc == 3);
    template_dir = argv[2];
    CHECK_OK(zb_snapshot_load(template_dir, NULL, &snapshot, err));
    status = run_case(cases, sizeof cases / sizeof *cases, argv[1]);
    zb_snapshot_free(snapshot);
    return status;
}
