/*
 * Runs programs one after the other in one sandbox: conformance TEMPLATE_DIR
 *
 * Standard input, once for each program: "TIMEOUT_MS MAX_OUTPUT_BYTES CODE_LEN\n", then the code.
 * Standard output, once for each: "error STATUS\n", or
 * "ran OUTCOME EXIT_CODE SIGNAL ALIVE STDOUT_LEN STDERR_LEN\n", then both streams.
 */
#include "check.h"

#include <inttypes.h>

static void print_result(const zb_result *result, const zb_sandbox *sandbox) {
    size_t out_len, err_len;
    const char *out = zb_result_stdout(result, &out_len);
    const char *err = zb_result_stderr(result, &err_len);
    printf("ran %" PRIu32 " %" PRId32 " %" PRId32 " %" PRId32 " %zu %zu\n", zb_result_outcome(result),
           zb_result_exit_code(result), zb_result_signal(result), zb_sandbox_is_alive(sandbox), out_len,
           err_len);
    CHECK(fwrite(out, 1, out_len, stdout) == out_len);
    CHECK(fwrite(err, 1, err_len, stdout) == err_len);
}

/* Runs the next program; 0 if there is none. */
static int run_next(zb_sandbox *sandbox) {
    zb_run_options opts;
    zb_result *result;
    zb_status status;
    char *code;
    ZB_INIT(opts);
    if (scanf("%" SCNu64 " %" SCNu64 " %zu", &opts.timeout_ms, &opts.max_output_bytes,
              &opts.code_len) != 3) {
        return 0;
    }
    CHECK(getchar() == '\n');
    code = malloc(opts.code_len + 1);
    CHECK(code != NULL && fread(code, 1, opts.code_len, stdin) == opts.code_len);
    opts.code = code;
    status = zb_run(sandbox, &opts, &result, NULL);
    if (status == ZB_OK) {
        print_result(result, sandbox);
    } else {
        printf("error %" PRId32 "\n", status);
    }
    zb_result_free(result);
    free(code);
    return 1;
}

int main(int argc, char **argv) {
    zb_snapshot *snapshot;
    zb_sandbox *sandbox;
    CHECK(argc == 2);
    CHECK_OK(zb_snapshot_load(argv[1], NULL, &snapshot, err));
    CHECK_OK(zb_fork(snapshot, NULL, &sandbox, err));
    while (run_next(sandbox)) {
    }
    zb_free(sandbox);
    zb_snapshot_free(snapshot);
    CHECK(fflush(stdout) == 0);
    return 0;
}
