/* Runs a program in a virtual machine: hello TEMPLATE_DIR [PROGRAM] */
#include <stdio.h>
#include <stdlib.h>
#include <zeroboot.h>

static void check(zb_status status, zb_error **error) {
    if (status != ZB_OK) {
        fprintf(stderr, "hello: %s\n", zb_error_message(*error));
        exit(2); /* which frees all */
    }
}

int main(int argc, char **argv) {
    zb_snapshot *snapshot;
    zb_sandbox *sandbox;
    zb_result *result;
    zb_error *error;
    zb_run_options run;
    size_t len;
    const char *text;
    int exit_code;

    ZB_INIT(run);
    run.code = argc > 2 ? argv[2] : "print('hello from a virtual machine')";
    run.code_len = strlen(run.code);
    check(zb_snapshot_load(argc > 1 ? argv[1] : ".", NULL, &snapshot, &error), &error);
    check(zb_fork(snapshot, NULL, &sandbox, &error), &error);
    check(zb_run(sandbox, &run, &result, &error), &error);

    text = zb_result_stdout(result, &len);
    fwrite(text, 1, len, stdout);
    text = zb_result_stderr(result, &len);
    fwrite(text, 1, len, stderr);
    exit_code = zb_result_exit_code(result);
    fprintf(stderr, "[%s, in %.3f ms]\n", zb_result_message(result), zb_result_elapsed_ns(result) / 1e6);
    zb_result_free(result);
    zb_free(sandbox);
    zb_snapshot_free(snapshot);
    return exit_code < 0 ? 1 : exit_code;
}
