/*
 * Virtual machines that are used again, through the header alone: recycle CASE TEMPLATE_DIR
 *
 * A machine takes two files, so counting files tells whether one was kept, reused, or made.
 */
#define _DEFAULT_SOURCE
#include "guest.h"

#include <dirent.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/wait.h>

enum { FILES_OF_A_MACHINE = 2 };

static zb_snapshot *load(uint32_t recycle_max, uint32_t prewarm) {
    zb_snapshot *loaded = NULL;
    zb_load_options opts;
    ZB_INIT(opts);
    opts.recycle_max = recycle_max;
    opts.prewarm = prewarm;
    CHECK_OK(zb_snapshot_load(template_dir, &opts, &loaded, err));
    return loaded;
}

static zb_sandbox *fork_fresh(void) {
    zb_sandbox *sandbox = NULL;
    zb_fork_options opts;
    ZB_INIT(opts);
    opts.flags = ZB_FORK_FRESH;
    CHECK_OK(zb_fork(snapshot, &opts, &sandbox, err));
    return sandbox;
}

static void expect_output(zb_sandbox *sandbox, const char *code, const char *expected) {
    zb_result *result = run(sandbox, code);
    CHECK(prints(result, expected));
    zb_result_free(result);
}

static int open_files(void) {
    return files().open;
}

/* The library's own; KVM has threads in the process, too, one for each machine that has run. */
static int threads(void) {
    DIR *tasks = opendir("/proc/self/task");
    struct dirent *entry;
    int count = 0;
    CHECK(tasks != NULL);
    while ((entry = readdir(tasks)) != NULL) {
        char path[300], name[32] = "";
        FILE *file;
        snprintf(path, sizeof path, "/proc/self/task/%s/comm", entry->d_name);
        file = fopen(path, "r");
        if (file != NULL) {
            count += fgets(name, sizeof name, file) != NULL && strncmp(name, "zeroboot", 8) == 0;
            fclose(file);
        }
    }
    closedir(tasks);
    return count;
}

/* What the library's thread does, or the kernel for a thread that has ended, comes a little later. */
static int becomes(int (*count)(void), int expected) {
    double end = now_ms() + 30000;
    while (count() != expected && now_ms() < end) {
        wait_ms(1);
    }
    return count() == expected;
}

/* Says whether an earlier program left something, and leaves something everywhere it can. */
static const char *LEAVE_MARKS =
    "import builtins, decimal, os\n"
    "marks = [hasattr(builtins, 'mark'), hasattr(decimal, 'mark'), 'MARK' in os.environ,\n"
    "         os.path.exists('/tmp/mark'), os.path.exists(os.path.expanduser('~/mark')),\n"
    "         os.getcwd() == '/tmp', 'mark' in globals()]\n"
    "print(any(marks))\n"
    "builtins.mark = decimal.mark = mark = bytearray(b'mark' * 10000)\n"
    "os.environ['MARK'] = '1'\n"
    "for path in '/tmp/mark', os.path.expanduser('~/mark'): open(path, 'w').write('mark')\n"
    "os.chdir('/tmp')\n";

static void a_program_finds_nothing_of_those_before_it_in_a_recycled_machine(void) {
    int kept, reused = 0, tries;
    zb_sandbox *sandbox;
    snapshot = load(1, 0);
    kept = open_files() + FILES_OF_A_MACHINE;
    for (tries = 0; tries < 1000 && reused < 20; tries++) {
        sandbox = fork_one();
        /* A new one, if the other is being put back at this moment. */
        reused += tries > 0 && open_files() == kept;
        expect_output(sandbox, LEAVE_MARKS, "False\n");
        zb_free(sandbox);
        CHECK(becomes(open_files, kept));
    }
    CHECK(reused == 20);
}

/* The guest's kernel counts what goes there, from the snapshot on; so does the library. */
static void what_a_program_wrote_to_its_files_does_not_count_for_the_next(void) {
    int kept, reused = 0, tries;
    snapshot = load(1, 0);
    kept = open_files() + FILES_OF_A_MACHINE;
    for (tries = 0; tries < 1000 && reused < 20; tries++) {
        zb_sandbox *sandbox = fork_one();
        reused += tries > 0 && open_files() == kept;
        expect_output(sandbox, tries % 2 ? "print(1)" : "import os; os.write(1, b'x' * 100)",
                      tries % 2 ? "1\n"
                                : "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"
                                  "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx");
        zb_free(sandbox);
        CHECK(becomes(open_files, kept));
    }
    CHECK(reused == 20);
}

static void a_fresh_fork_gets_a_machine_in_which_no_program_ran(void) {
    int kept, i;
    zb_sandbox *sandbox;
    snapshot = load(1, 0);
    kept = open_files() + FILES_OF_A_MACHINE;
    zb_free(fork_one());
    for (i = 0; i < 5; i++) {
        CHECK(open_files() == kept);
        sandbox = fork_fresh();
        CHECK(open_files() == kept + FILES_OF_A_MACHINE);
        expect_output(sandbox, LEAVE_MARKS, "False\n");
        zb_free(sandbox);
        CHECK(becomes(open_files, kept));
    }
}

static void no_more_machines_are_kept_than_was_asked_for(void) {
    zb_sandbox *sandboxes[6];
    int loaded, kept, round;
    size_t i;
    snapshot = load(2, 0);
    loaded = open_files();
    kept = loaded + 2 * FILES_OF_A_MACHINE;
    for (round = 0; round < 10; round++) {
        for (i = 0; i < 6; i++) {
            sandboxes[i] = fork_one();
        }
        CHECK(open_files() >= loaded + 6 * FILES_OF_A_MACHINE);
        expect_output(sandboxes[round % 6], LEAVE_MARKS, "False\n");
        for (i = 0; i < 6; i++) {
            zb_free(sandboxes[i]);
        }
        CHECK(becomes(open_files, kept));
    }
    /* The first two to be freed were kept, and put back before any of the others was ended. */
    sandboxes[0] = fork_one();
    sandboxes[1] = fork_one();
    CHECK(open_files() == kept);
    sandboxes[2] = fork_one();
    CHECK(open_files() == kept + FILES_OF_A_MACHINE);
    for (i = 0; i < 3; i++) {
        expect_output(sandboxes[i], LEAVE_MARKS, "False\n");
        zb_free(sandboxes[i]);
    }
}

static void kept_machines_are_not_inherited_by_exec_and_go_with_the_snapshot(void) {
    struct files before = files();
    zb_sandbox *sandboxes[4];
    size_t i;
    snapshot = load(0, 2);
    for (i = 0; i < 4; i++) {
        sandboxes[i] = fork_one();
        expect_output(sandboxes[i], "print(1)", "1\n");
    }
    for (i = 0; i < 4; i++) {
        zb_free(sandboxes[i]);
    }
    CHECK(files().open >= before.open + 4 * FILES_OF_A_MACHINE);
    CHECK(files().inherited == before.inherited);
    zb_snapshot_free(snapshot);
    snapshot = NULL;
    CHECK(files().open == before.open);
}

static void a_dead_sandbox_is_not_recycled(void) {
    zb_run_options opts = program("while True: pass");
    int loaded, i;
    snapshot = load(4, 0);
    loaded = open_files();
    opts.timeout_ms = 20;
    for (i = 0; i < 5; i++) {
        zb_sandbox *sandbox = fork_one();
        zb_result *result = run_with(sandbox, &opts);
        CHECK(zb_result_outcome(result) == ZB_OUTCOME_TIMED_OUT);
        zb_result_free(result);
        zb_free(sandbox);
        CHECK(becomes(open_files, loaded));
    }
}

static void machines_are_made_ahead(void) {
    int before = open_files(), loaded;
    zb_sandbox *sandbox, *fresh;
    snapshot = load(ZB_NONE, ZB_NONE);
    loaded = open_files();
    zb_snapshot_free(snapshot);
    snapshot = load(ZB_NONE, 3);
    CHECK(becomes(open_files, loaded + 3 * FILES_OF_A_MACHINE));
    sandbox = fork_one();
    fresh = fork_fresh();
    /* What was taken is made again. */
    CHECK(becomes(open_files, loaded + 5 * FILES_OF_A_MACHINE));
    expect_output(sandbox, LEAVE_MARKS, "False\n");
    expect_output(fresh, LEAVE_MARKS, "False\n");
    zb_free(sandbox);
    CHECK(becomes(open_files, loaded + 4 * FILES_OF_A_MACHINE));
    zb_snapshot_free(snapshot);
    snapshot = NULL;
    expect_output(fresh, "print(1)", "1\n");
    zb_free(fresh);
    CHECK(open_files() == before);
}

/* The structure as it was before it had recycle_max and prewarm, and what happens to lie behind it. */
static void a_program_from_before_recycling_gets_it_too(void) {
    struct {
        size_t size;
        uint64_t flags;
        uint32_t not_part_of_it[2];
    } opts = {16, 0, {ZB_NONE, 1000000}};
    int loaded;
    CHECK_OK(zb_snapshot_load(template_dir, (const zb_load_options *)&opts, &snapshot, err));
    loaded = open_files();
    zb_free(fork_one());
    CHECK(open_files() == loaded + FILES_OF_A_MACHINE);
}

static void a_sandbox_may_be_freed_after_its_snapshot(void) {
    int before = open_files();
    zb_sandbox *recycled, *unused;
    snapshot = load(4, 0);
    zb_free(fork_one());
    recycled = fork_one();
    unused = fork_one();
    zb_snapshot_free(snapshot);
    snapshot = NULL;
    CHECK(becomes(threads, 0));
    expect_output(recycled, LEAVE_MARKS, "False\n");
    expect_output(recycled, LEAVE_MARKS, "True\n");
    zb_free(recycled);
    zb_free(unused);
    CHECK(open_files() == before && threads() == 0);
}

static atomic_int stop_forking;

static void *fork_and_free(void *unused) {
    while (!atomic_load(&stop_forking)) {
        zb_sandbox *sandbox = fork_one(), *other = fork_one();
        zb_free(sandbox);
        zb_free(other);
    }
    return unused;
}

static void be_a_child(zb_sandbox *sandbox) {
    zb_sandbox *other;
    alarm(60); /* the end of a child that waits for the parent's threads */
    CHECK_FAILS(zb_fork(snapshot, NULL, &other, err), ZB_ERR_WRONG_PROCESS, "fork(2)");
    CHECK(!zb_sandbox_is_alive(sandbox));
    zb_free(sandbox);
    zb_snapshot_free(snapshot);
#ifdef __SANITIZE_ADDRESS__
    _exit(0); /* what only the parent's threads refer to is no leak of the child's */
#else
    exit(0);
#endif
}

static void a_child_of_fork_2_may_free_and_exit_while_machines_are_recycled(void) {
    zb_sandbox *sandbox;
    pthread_t thread;
    int i, status;
    snapshot = load(1, 1);
    sandbox = fork_one();
    CHECK(pthread_create(&thread, NULL, fork_and_free, NULL) == 0);
    for (i = 0; i < 20; i++) {
        pid_t child;
        zb_free(fork_one());
        child = fork();
        if (child == 0) {
            be_a_child(sandbox);
        }
        CHECK(waitpid(child, &status, 0) == child);
        CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    }
    atomic_store(&stop_forking, 1);
    CHECK(pthread_join(thread, NULL) == 0);
    expect_output(sandbox, LEAVE_MARKS, "False\n");
    zb_free(sandbox);
    sandbox = fork_one();
    expect_output(sandbox, LEAVE_MARKS, "False\n");
    zb_free(sandbox);
}

static void the_librarys_thread_ends_with_the_snapshot(void) {
    snapshot = load(ZB_NONE, 0);
    zb_free(fork_one());
    CHECK(threads() == 0);
    zb_snapshot_free(snapshot);

    snapshot = load(0, 0);
    CHECK(threads() == 0);
    zb_free(fork_one());
    zb_free(fork_one());
    CHECK(becomes(threads, 1));
    zb_snapshot_free(snapshot);
    CHECK(becomes(threads, 0));

    snapshot = load(0, 1);
    CHECK(becomes(threads, 1));
    zb_snapshot_free(snapshot);
    snapshot = NULL;
    CHECK(becomes(threads, 0));
}

static void *use_many(void *unused) {
    zb_sandbox *sandboxes[5];
    size_t round, i;
    for (round = 0; round < 8; round++) {
        for (i = 0; i < 5; i++) {
            sandboxes[i] = i == round % 5 ? fork_fresh() : fork_one();
        }
        expect_output(sandboxes[round % 4], LEAVE_MARKS, "False\n");
        for (i = 0; i < 5; i++) {
            zb_free(sandboxes[i]);
        }
    }
    return unused;
}

static void threads_fork_and_free_more_than_is_kept(void) {
    int before = open_files(), loaded;
    pthread_t users[4];
    size_t i;
    snapshot = load(3, 0);
    loaded = open_files();
    for (i = 0; i < 4; i++) {
        CHECK(pthread_create(&users[i], NULL, use_many, NULL) == 0);
    }
    for (i = 0; i < 4; i++) {
        CHECK(pthread_join(users[i], NULL) == 0);
    }
    CHECK(becomes(open_files, loaded + 3 * FILES_OF_A_MACHINE));
    zb_snapshot_free(snapshot);
    snapshot = NULL;
    CHECK(open_files() == before);
}

int main(int argc, char **argv) {
    static const struct test_case cases[] = {
        CASE(a_program_finds_nothing_of_those_before_it_in_a_recycled_machine),
        CASE(what_a_program_wrote_to_its_files_does_not_count_for_the_next),
        CASE(a_fresh_fork_gets_a_machine_in_which_no_program_ran),
        CASE(no_more_machines_are_kept_than_was_asked_for),
        CASE(kept_machines_are_not_inherited_by_exec_and_go_with_the_snapshot),
        CASE(a_dead_sandbox_is_not_recycled),
        CASE(machines_are_made_ahead),
        CASE(a_program_from_before_recycling_gets_it_too),
        CASE(a_sandbox_may_be_freed_after_its_snapshot),
        CASE(a_child_of_fork_2_may_free_and_exit_while_machines_are_recycled),
        CASE(the_librarys_thread_ends_with_the_snapshot),
        CASE(threads_fork_and_free_more_than_is_kept),
    };
    int status;
    CHECK(argc == 3);
    template_dir = argv[2];
    status = run_case(cases, sizeof cases / sizeof *cases, argv[1]);
    zb_snapshot_free(snapshot);
    return status;
}
