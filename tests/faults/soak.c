/*
 * All that a program can do with the library, in 16 threads and for as long as it is told:
 * soak TEMPLATE_DIR SECONDS
 *
 * Every answer is checked. The time is cut into rounds; each ends with everything freed, and then
 * the process must hold what it held after the earlier rounds: files, mappings, threads, memory.
 */
#define _GNU_SOURCE
#include "../abi/check.h"

#include <dirent.h>
#include <malloc.h>
#include <pthread.h>
#include <stdatomic.h>
#include <time.h>
#include <unistd.h>

#define THREADS 16
#define SNAPSHOTS 3
#define KEPT 3
#define ROUNDS 6

static const char *template_dir;

static double now_s(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

/* What the process holds. */

struct held {
    long files, mappings, threads;
    long allocated_kib; /* of the heap */
    long resident_kib;  /* anonymous */
};

static long entries(const char *path) {
    DIR *dir = opendir(path);
    long count = 0;
    CHECK(dir != NULL);
    while (readdir(dir) != NULL) {
        count++;
    }
    closedir(dir);
    return count;
}

static struct held held(void) {
    struct held held = {0, 0, 0, 0, 0};
    char line[4096];
    FILE *maps, *status;
    struct mallinfo2 heap;
    malloc_trim(0);
    heap = mallinfo2();
    held.allocated_kib = (long)((heap.uordblks + heap.hblkhd) >> 10);
    maps = fopen("/proc/self/maps", "re");
    status = fopen("/proc/self/status", "re");
    CHECK(maps != NULL && status != NULL);
    while (fgets(line, sizeof line, maps) != NULL) {
        held.mappings++;
    }
    while (fgets(line, sizeof line, status) != NULL) {
        sscanf(line, "RssAnon: %ld", &held.resident_kib);
    }
    fclose(maps);
    fclose(status);
    held.files = entries("/proc/self/fd");
    held.threads = entries("/proc/self/task");
    return held;
}

/* Snapshots that all threads fork, and that are loaded anew now and then. */

static struct shared {
    pthread_rwlock_t lock;
    zb_snapshot *snapshot;
} shared[SNAPSHOTS];

static void load(struct shared *one, unsigned number) {
    static const uint32_t recycle[] = {0, 2, ZB_NONE};
    zb_load_options opts;
    ZB_INIT(opts);
    opts.recycle_max = recycle[number % 3];
    opts.prewarm = number / 3 % 3;
    opts.memory_max_bytes = (uint64_t)64 << 30;
    CHECK_OK(zb_snapshot_load(template_dir, &opts, &one->snapshot, err));
}

static zb_sandbox *fork_of(struct shared *one, uint64_t flags, uint64_t memory_max_bytes) {
    zb_fork_options opts;
    zb_sandbox *sandbox;
    ZB_INIT(opts);
    opts.flags = flags;
    opts.memory_max_bytes = memory_max_bytes;
    pthread_rwlock_rdlock(&one->lock);
    CHECK_OK(zb_fork(one->snapshot, &opts, &sandbox, err));
    pthread_rwlock_unlock(&one->lock);
    return sandbox;
}

/* A run whose outcome is certain. */
struct wanted {
    const char *code;
    uint32_t outcome;
    int32_t exit_code, signal;
    uint64_t timeout_ms, max_output_bytes;
    const zb_cancel *cancel;
    const char *prints; /* or NULL for anything */
};

static atomic_long runs, forks;

static void run(zb_sandbox *sandbox, struct wanted wanted) {
    zb_run_options opts;
    zb_result *result;
    const char *text;
    size_t len;
    ZB_INIT(opts);
    opts.code = wanted.code;
    opts.code_len = strlen(wanted.code);
    opts.timeout_ms = wanted.timeout_ms == 0 ? 600000 : wanted.timeout_ms;
    opts.max_output_bytes = wanted.max_output_bytes;
    opts.cancel = wanted.cancel;
    CHECK_OK(zb_run(sandbox, &opts, &result, err));
    text = zb_result_stdout(result, &len);
    if (zb_result_outcome(result) != wanted.outcome ||
        zb_result_exit_code(result) != wanted.exit_code || zb_result_signal(result) != wanted.signal ||
        (wanted.prints != NULL &&
         (len != strlen(wanted.prints) || memcmp(text, wanted.prints, len) != 0))) {
        fprintf(stderr, "wrong: %s, signal %d, printed \"%.*s\"; the program was:\n%s\n",
                zb_result_message(result), zb_result_signal(result), (int)len, text, wanted.code);
        exit(1);
    }
    CHECK(zb_sandbox_is_alive(sandbox) == (wanted.outcome == ZB_OUTCOME_EXITED));
    zb_result_free(result);
    atomic_fetch_add(&runs, 1);
}

/* The first run of a sandbox: it finds nothing of an earlier one's, and computes. */
static void run_first(zb_sandbox *sandbox, unsigned number) {
    char code[256], prints[64];
    snprintf(code, sizeof code,
             "import json, os\n"
             "print(hasattr(json, 'mark'), os.path.exists('/tmp/mark'), %u * 3 + 1)\n"
             "json.mark = 1; open('/tmp/mark', 'w').close()",
             number % 100000);
    snprintf(prints, sizeof prints, "False False %u\n", number % 100000 * 3 + 1);
    run(sandbox, (struct wanted){.code = code, .outcome = ZB_OUTCOME_EXITED, .prints = prints});
}

static void *trigger_soon(void *cancel) {
    struct timespec delay = {0, 5000000};
    nanosleep(&delay, NULL);
    zb_cancel_trigger(cancel);
    return NULL;
}

static void run_and_cancel(zb_sandbox *sandbox, int before) {
    struct wanted wanted = {
        .code = "while True: pass", .outcome = ZB_OUTCOME_CANCELLED, .exit_code = -1};
    zb_cancel *cancel;
    pthread_t thread;
    CHECK_OK(zb_cancel_new(&cancel, err));
    wanted.cancel = cancel;
    if (before) {
        zb_cancel_trigger(cancel);
    } else {
        CHECK(pthread_create(&thread, NULL, trigger_soon, cancel) == 0);
    }
    run(sandbox, wanted);
    if (!before) {
        CHECK(pthread_join(thread, NULL) == 0);
    }
    zb_cancel_free(cancel);
}

/* A store to the doorbell that means nothing ends the machine. */
static const char *const CRASH =
    "import ctypes\n"
    "for line in open('/proc/self/maps'):\n"
    "    if '/dev/zeroboot' in line:\n"
    "        begin, end = (int(x, 16) for x in line.split()[0].split('-'))\n"
    "        if end - begin == 4096: ctypes.c_uint32.from_address(begin).value = 0x12345678\n";

/* The last run of a sandbox, or one that fails. The end of a process takes a guest seconds where its
 * ring 0 is emulated, so that there are few of those. */
static void end_somehow(struct shared *one, unsigned number) {
    static const char ways[] = "ttttttttttttttttttccccccccccccccccCCCCCCCCeeeeeeeexxxxxxxxnnnnnnooooolllllmmmbb";
    const char rare = number % 200 == 0 ? 'p' : number % 200 == 1 ? 's' : 0;
    const char way = rare ? rare : ways[number % (sizeof ways - 1)];
    const uint64_t limit = way == 'm' ? 1 << 20 : 0;
    zb_sandbox *sandbox = fork_of(one, number / 128 % 2 ? ZB_FORK_FRESH : 0, limit);
    atomic_fetch_add(&forks, 1);
    switch (way) {
    case 't':
        run(sandbox, (struct wanted){"while True: pass", ZB_OUTCOME_TIMED_OUT, -1, 0, 15, 0, NULL, NULL});
        break;
    case 'c':
        run_and_cancel(sandbox, 0);
        break;
    case 'C':
        run_and_cancel(sandbox, 1);
        break;
    case 'p':
        run(sandbox, (struct wanted){"import os; os._exit(7)", ZB_OUTCOME_PROCESS_EXITED, 7, 0, 0, 0, NULL, ""});
        break;
    case 's':
        run(sandbox, (struct wanted){"import os; os.kill(os.getpid(), 11)", ZB_OUTCOME_SIGNALED, -1, 11, 0, 0, NULL, ""});
        break;
    case 'o':
        run(sandbox, (struct wanted){"while True: print('x' * 999)", ZB_OUTCOME_OUTPUT_LIMIT, -1, 0, 0, 20000, NULL, NULL});
        break;
    case 'b':
        run(sandbox, (struct wanted){CRASH, ZB_OUTCOME_CRASHED, -1, 0, 0, 0, NULL, ""});
        break;
    case 'e':
        run(sandbox, (struct wanted){"1/0", ZB_OUTCOME_EXITED, 1, 0, 0, 0, NULL, ""});
        break;
    case 'x':
        run(sandbox, (struct wanted){"import sys; sys.exit(99)", ZB_OUTCOME_EXITED, 99, 0, 0, 0, NULL, ""});
        break;
    case 'l':
        run(sandbox, (struct wanted){"print('y' * 300000)", ZB_OUTCOME_EXITED, 0, 0, 0, 0, NULL, NULL});
        break;
    case 'n': /* no run at all */
        break;
    default:
        run(sandbox, (struct wanted){"kept = [bytes(1000) for i in range(90000)]", ZB_OUTCOME_MEMORY_LIMIT, -1, 0, 0, 0, NULL, ""});
    }
    zb_free(sandbox);
}

static double round_ends_s;

static void *do_everything(void *seed) {
    unsigned *state = seed;
    zb_sandbox *kept[KEPT] = {NULL, NULL, NULL};
    size_t i;
    while (now_s() < round_ends_s) {
        unsigned number = (unsigned)rand_r(state), what = (unsigned)rand_r(state) % 32;
        struct shared *one = &shared[number % SNAPSHOTS];
        zb_sandbox **place = &kept[number / 8 % KEPT];
        if (what == 0) {
            pthread_rwlock_wrlock(&one->lock);
            zb_snapshot_free(one->snapshot);
            load(one, number / 64);
            pthread_rwlock_unlock(&one->lock);
        } else if (what < 8) {
            end_somehow(one, number / 64);
        } else if (what < 16 && *place != NULL) {
            run(*place, (struct wanted){"print(6*7)", ZB_OUTCOME_EXITED, 0, 0, 0, 0, NULL, "42\n"});
        } else {
            zb_free(*place);
            *place = fork_of(one, number / 64 % 3 ? 0 : ZB_FORK_FRESH, number / 64 % 5 ? 0 : 32 << 20);
            atomic_fetch_add(&forks, 1);
            run_first(*place, number);
        }
    }
    for (i = 0; i < KEPT; i++) {
        zb_free(kept[i]);
    }
    return NULL;
}

static struct held round_of(double seconds, unsigned *seeds) {
    pthread_t threads[THREADS];
    size_t i;
    for (i = 0; i < SNAPSHOTS; i++) {
        load(&shared[i], (unsigned)i);
    }
    round_ends_s = now_s() + seconds;
    for (i = 0; i < THREADS; i++) {
        CHECK(pthread_create(&threads[i], NULL, do_everything, &seeds[i]) == 0);
    }
    for (i = 0; i < THREADS; i++) {
        CHECK(pthread_join(threads[i], NULL) == 0);
    }
    for (i = 0; i < SNAPSHOTS; i++) {
        zb_snapshot_free(shared[i].snapshot);
    }
    return held();
}

int main(int argc, char **argv) {
    unsigned seeds[THREADS], i;
    struct held most = {0, 0, 0, 0, 0}, now;
    CHECK(argc == 3);
    template_dir = argv[1];
    for (i = 0; i < SNAPSHOTS; i++) {
        CHECK(pthread_rwlock_init(&shared[i].lock, NULL) == 0);
    }
    for (i = 0; i < THREADS; i++) {
        seeds[i] = (unsigned)time(NULL) * 31 + i;
    }
    printf("seed %u\n", seeds[0]);
    for (i = 0; i < ROUNDS; i++) {
        now = round_of(atof(argv[2]) / ROUNDS, seeds);
        printf("round %u: %ld forks, %ld runs; %ld files, %ld mappings, %ld threads, %ld KiB allocated, "
               "%ld KiB resident\n", i + 1,
               atomic_load(&forks), atomic_load(&runs), now.files, now.mappings, now.threads,
               now.allocated_kib, now.resident_kib);
        fflush(stdout);
        if (i < ROUNDS / 2) {
#define MAX(field) most.field = now.field > most.field ? now.field : most.field
            MAX(files), MAX(mappings), MAX(threads), MAX(allocated_kib), MAX(resident_kib);
        }
    }
    CHECK(now.files == most.files && now.threads == most.threads);
    /* malloc's arenas, one a thread, come and go as they like. */
    CHECK(now.mappings <= most.mappings + 8);
    /* malloc counts what its own lists and arenas keep, some 30 bytes a fork, among it. */
    CHECK(now.allocated_kib <= most.allocated_kib + 1024);
    /* What the heap keeps of what was freed varies by some megabytes. */
    CHECK(now.resident_kib <= most.resident_kib + 16384);
    return 0;
}
