/* What the library says to a program that gets something wrong. Needs no virtual machine. */
#include "check.h"

#include <errno.h>
#include <pthread.h>
#include <stddef.h>
#include <sys/resource.h>

static zb_snapshot *snapshot;

static void a_missing_directory_is_not_found_and_named(void) {
    snapshot = (zb_snapshot *)1;
    CHECK_FAILS(zb_snapshot_load("/nonexistent/template", NULL, &snapshot, err), ZB_ERR_NOT_FOUND,
                "/nonexistent/template");
    CHECK(snapshot == NULL);
}

static void an_error_has_the_errno_of_the_system(void) {
    zb_error *error;
    CHECK(zb_snapshot_load("/nonexistent", NULL, &snapshot, &error) == ZB_ERR_NOT_FOUND);
    CHECK(zb_error_errno(error) == ENOENT);
    zb_error_free(error);
    CHECK(zb_snapshot_load(NULL, NULL, &snapshot, &error) == ZB_ERR_INVALID_ARGUMENT);
    CHECK(zb_error_errno(error) == 0);
    zb_error_free(error);
}

static void null_where_something_must_be_is_an_invalid_argument(void) {
    zb_sandbox *sandbox = (zb_sandbox *)1;
    zb_result *result = (zb_result *)1;
    CHECK_FAILS(zb_snapshot_load(NULL, NULL, &snapshot, err), ZB_ERR_INVALID_ARGUMENT, "dir");
    CHECK_FAILS(zb_snapshot_load("", NULL, &snapshot, err), ZB_ERR_INVALID_ARGUMENT, "dir");
    CHECK_FAILS(zb_snapshot_load("/tmp", NULL, NULL, err), ZB_ERR_INVALID_ARGUMENT, "out");
    CHECK_FAILS(zb_fork(NULL, NULL, &sandbox, err), ZB_ERR_INVALID_ARGUMENT, "snapshot");
    CHECK_FAILS(zb_fork(NULL, NULL, NULL, err), ZB_ERR_INVALID_ARGUMENT, "out");
    CHECK_FAILS(zb_run(NULL, NULL, &result, err), ZB_ERR_INVALID_ARGUMENT, "sandbox");
    CHECK_FAILS(zb_run(NULL, NULL, NULL, err), ZB_ERR_INVALID_ARGUMENT, "out");
    CHECK_FAILS(zb_host_probe(NULL, err), ZB_ERR_INVALID_ARGUMENT, "out");
    CHECK_FAILS(zb_cancel_new(NULL, err), ZB_ERR_INVALID_ARGUMENT, "out");
    CHECK(sandbox == NULL && result == NULL);
}

static void freeing_null_does_nothing(void) {
    zb_host_free(NULL);
    zb_snapshot_free(NULL);
    zb_free(NULL);
    zb_cancel_trigger(NULL);
    zb_cancel_free(NULL);
    zb_result_free(NULL);
    zb_error_free(NULL);
}

static void accessors_take_null(void) {
    size_t len = 7;
    CHECK(zb_error_status(NULL) == ZB_OK);
    CHECK(zb_error_errno(NULL) == 0);
    CHECK(strcmp(zb_error_message(NULL), "") == 0);
    CHECK(strcmp(zb_snapshot_runtime(NULL), "") == 0);
    CHECK(zb_snapshot_memory_bytes(NULL) == 0);
    CHECK(zb_snapshot_rootfs_bytes(NULL) == 0);
    CHECK(zb_snapshot_created_unix_ns(NULL) == 0);
    CHECK(zb_snapshot_format(NULL) == 0);
    CHECK(zb_host_kvm_kind(NULL) == 0);
    CHECK(zb_host_is_ring0_native(NULL) == 0);
    CHECK(zb_host_is_tsc_settable(NULL) == 0);
    CHECK(zb_host_tsc_khz(NULL) == 0);
    CHECK(zb_sandbox_is_alive(NULL) == 0);
    CHECK(zb_result_outcome(NULL) == 0);
    CHECK(zb_result_exit_code(NULL) == -1);
    CHECK(zb_result_signal(NULL) == 0);
    CHECK(zb_result_elapsed_ns(NULL) == 0);
    CHECK(strcmp(zb_result_message(NULL), "") == 0);
    CHECK(zb_result_stdout(NULL, &len) != NULL && len == 0);
    len = 7;
    CHECK(zb_result_stderr(NULL, &len) != NULL && len == 0);
    CHECK(zb_result_stdout(NULL, NULL) != NULL);
}

static zb_status load_with(const void *opts, zb_error **err) {
    return zb_snapshot_load("/nonexistent", (const zb_load_options *)opts, &snapshot, err);
}

static void a_structure_whose_size_nobody_set_is_refused(void) {
    static zb_load_options opts;
    CHECK_FAILS(load_with(&opts, err), ZB_ERR_INVALID_ARGUMENT, "ZB_INIT");
    opts.size = 7;
    CHECK_FAILS(load_with(&opts, err), ZB_ERR_INVALID_ARGUMENT, "7 bytes");
    memset(&opts, 0xee, sizeof opts);
    CHECK_FAILS(load_with(&opts, err), ZB_ERR_INVALID_ARGUMENT, "ZB_INIT");
}

static void a_structure_of_an_older_program_is_taken(void) {
    size_t only_the_size = sizeof(size_t);
    struct {
        size_t size;
        uint64_t flags;
    } without_recycling = {sizeof without_recycling, ZB_LOAD_SEALED_COPY};
    CHECK_FAILS(load_with(&only_the_size, err), ZB_ERR_NOT_FOUND, "/nonexistent");
    CHECK_FAILS(load_with(&without_recycling, err), ZB_ERR_NOT_FOUND, "/nonexistent");
}

struct newer_options {
    zb_load_options known;
    char unknown[24];
};

static void a_structure_of_a_newer_program_is_taken_if_it_asks_for_nothing_new(void) {
    struct newer_options opts;
    memset(&opts, 0, sizeof opts);
    opts.known.size = sizeof opts;
    CHECK_FAILS(load_with(&opts, err), ZB_ERR_NOT_FOUND, "/nonexistent");
    opts.unknown[23] = 1;
    CHECK_FAILS(load_with(&opts, err), ZB_ERR_UNSUPPORTED, "offset 55");
}

static void a_flag_that_the_library_does_not_know_is_unsupported(void) {
    zb_load_options opts;
    ZB_INIT(opts);
    opts.flags = (uint64_t)1 << 63;
    CHECK_FAILS(load_with(&opts, err), ZB_ERR_UNSUPPORTED, "0x8000000000000000");
}

static void a_file_that_is_no_snapshot_is_refused_with_its_name(void) {
    char dir[] = "/tmp/zeroboot-misuse-XXXXXX";
    char path[64];
    FILE *manifest;
    CHECK(mkdtemp(dir) != NULL);
    snprintf(path, sizeof path, "%s/manifest.json", dir);
    manifest = fopen(path, "w");
    CHECK(manifest != NULL);
    fputs("{\"format\": 1", manifest);
    fclose(manifest);
    CHECK_FAILS(zb_snapshot_load(dir, NULL, &snapshot, err), ZB_ERR_CORRUPT, path);
    manifest = fopen(path, "w");
    CHECK(manifest != NULL);
    fputs("{\"format\": 4000000000, \"protocol\": 1}", manifest);
    fclose(manifest);
    CHECK_FAILS(zb_snapshot_load(dir, NULL, &snapshot, err), ZB_ERR_VERSION, "4000000000");
    CHECK(remove(path) == 0 && remove(dir) == 0);
}

static void a_host_that_cannot_be_probed_gives_an_error_that_says_why(void) {
    struct rlimit before, none;
    zb_host *host = (zb_host *)1;
    CHECK(getrlimit(RLIMIT_NOFILE, &before) == 0);
    none = before;
    none.rlim_cur = 0;
    CHECK(setrlimit(RLIMIT_NOFILE, &none) == 0);
    CHECK_FAILS(zb_host_probe(&host, err), ZB_ERR_LIMIT, "/dev/kvm");
    CHECK(host == NULL);
    CHECK(setrlimit(RLIMIT_NOFILE, &before) == 0);
}

static void a_token_can_be_triggered_twice_and_freed(void) {
    zb_cancel *cancel = NULL;
    CHECK_OK(zb_cancel_new(&cancel, err));
    zb_cancel_trigger(cancel);
    zb_cancel_trigger(cancel);
    zb_cancel_free(cancel);
}

static void ignore(void *user, zb_log_level level, zb_log_source source, const char *text,
                   size_t len) {
    (void)user, (void)level, (void)source, (void)text, (void)len;
}

static void a_log_level_that_is_none_is_refused(void) {
    CHECK_FAILS(zb_log_set_callback(0, ignore, NULL, err), ZB_ERR_INVALID_ARGUMENT, "level of 0");
    CHECK_FAILS(zb_log_set_callback(6, ignore, NULL, err), ZB_ERR_INVALID_ARGUMENT, "level of 6");
    CHECK_OK(zb_log_set_callback(ZB_LOG_TRACE, ignore, NULL, err));
    CHECK_OK(zb_log_set_callback(0, NULL, NULL, err));
}

static void the_library_says_which_version_it_is(void) {
    CHECK(strcmp(zb_version(), ZEROBOOT_VERSION) == 0);
    CHECK(zb_abi_version() == ZB_ABI_VERSION);
    CHECK(zb_features() & ZB_FEATURE_LOAD_VERIFY);
}

/* A field moved is a program broken: these are the offsets of 0.1. */
static void the_fields_of_option_structures_stay_where_they_are(void) {
    CHECK(offsetof(zb_load_options, flags) == 8);
    CHECK(offsetof(zb_load_options, recycle_max) == 16);
    CHECK(offsetof(zb_load_options, prewarm) == 20);
    CHECK(offsetof(zb_load_options, memory_max_bytes) == 24);
    CHECK(offsetof(zb_fork_options, flags) == 8);
    CHECK(offsetof(zb_fork_options, instance_id) == 16);
    CHECK(offsetof(zb_fork_options, memory_max_bytes) == 32);
    CHECK(offsetof(zb_run_options, code) == 8);
    CHECK(offsetof(zb_run_options, code_len) == 16);
    CHECK(offsetof(zb_run_options, timeout_ms) == 24);
    CHECK(offsetof(zb_run_options, max_output_bytes) == 32);
    CHECK(offsetof(zb_run_options, cancel) == 40);
    CHECK(offsetof(zb_run_options, on_output) == 48);
    CHECK(offsetof(zb_run_options, on_output_user) == 56);
    CHECK(offsetof(zb_run_options, flags) == 64);
    CHECK(offsetof(zb_run_options, until) == 72);
    CHECK(offsetof(zb_run_options, until_len) == 80);
    CHECK(sizeof(zb_run_options) == 88);
}

static void *fail_often(void *unused) {
    int i;
    for (i = 0; i < 2000; i++) {
        zb_snapshot *own;
        zb_error *error;
        CHECK(zb_snapshot_load("/nonexistent", NULL, &own, &error) == ZB_ERR_NOT_FOUND);
        CHECK(strstr(zb_error_message(error), "/nonexistent") != NULL);
        zb_error_free(error);
    }
    return unused;
}

static void threads_may_fail_at_the_same_time(void) {
    pthread_t threads[4];
    size_t i;
    for (i = 0; i < 4; i++) {
        CHECK(pthread_create(&threads[i], NULL, fail_often, NULL) == 0);
    }
    for (i = 0; i < 4; i++) {
        CHECK(pthread_join(threads[i], NULL) == 0);
    }
}

int main(int argc, char **argv) {
    static const struct test_case cases[] = {
        CASE(a_missing_directory_is_not_found_and_named),
        CASE(an_error_has_the_errno_of_the_system),
        CASE(null_where_something_must_be_is_an_invalid_argument),
        CASE(freeing_null_does_nothing),
        CASE(accessors_take_null),
        CASE(a_structure_whose_size_nobody_set_is_refused),
        CASE(a_structure_of_an_older_program_is_taken),
        CASE(a_structure_of_a_newer_program_is_taken_if_it_asks_for_nothing_new),
        CASE(a_flag_that_the_library_does_not_know_is_unsupported),
        CASE(a_file_that_is_no_snapshot_is_refused_with_its_name),
        CASE(a_host_that_cannot_be_probed_gives_an_error_that_says_why),
        CASE(a_token_can_be_triggered_twice_and_freed),
        CASE(a_log_level_that_is_none_is_refused),
        CASE(the_library_says_which_version_it_is),
        CASE(the_fields_of_option_structures_stay_where_they_are),
        CASE(threads_may_fail_at_the_same_time),
    };
    CHECK(argc == 2);
    return run_case(cases, sizeof cases / sizeof *cases, argv[1]);
}
