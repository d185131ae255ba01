/* A guest that is reached by its console, through the C API: console DIR. */
#include "check.h"

static zb_sandbox *sandbox;

static void ask(const char *line, const char *answer) {
    zb_run_options run;
    zb_result *result;
    size_t len;

    ZB_INIT(run);
    run.flags = ZB_RUN_CONSOLE;
    run.code = line;
    run.code_len = strlen(line);
    run.until = "DONE\n";
    run.until_len = 5;
    run.timeout_ms = 120000;
    CHECK_OK(zb_run(sandbox, &run, &result, err));
    CHECK(zb_result_outcome(result) == ZB_OUTCOME_EXITED);
    CHECK(zb_result_exit_code(result) == 0);
    CHECK(strstr(zb_result_stdout(result, &len), answer) != NULL);
    CHECK(len >= strlen(answer));
    zb_result_free(result);
}

int main(int argc, char **argv) {
    zb_load_options load;
    zb_snapshot *snapshot;
    zb_run_options run;
    zb_result *result;

    CHECK(argc == 2);
    ZB_INIT(load);
    load.flags = ZB_LOAD_ANY_CLOCK;
    CHECK_OK(zb_snapshot_load(argv[1], &load, &snapshot, err));
    CHECK(strcmp(zb_snapshot_runtime(snapshot), "console") == 0);
    CHECK(zb_snapshot_memory_bytes(snapshot) == (uint64_t)128 << 20);
    CHECK_OK(zb_fork(snapshot, NULL, &sandbox, err));
    zb_snapshot_free(snapshot);
    ask("count\n", "count=2\nDONE\n");
    ask("rev c\n", "c\nDONE\n");

    ZB_INIT(run);
    run.code = "count\n";
    run.code_len = 6;
    CHECK_FAILS(zb_run(sandbox, &run, &result, err), ZB_ERR_UNSUPPORTED, "reached by its console");
    run.until = "DONE";
    run.until_len = 4;
    CHECK_FAILS(zb_run(sandbox, &run, &result, err), ZB_ERR_INVALID_ARGUMENT, "for ZB_RUN_CONSOLE");
    run.flags = ZB_RUN_CONSOLE | 1 << 9;
    CHECK_FAILS(zb_run(sandbox, &run, &result, err), ZB_ERR_UNSUPPORTED, "flags 0x200");
    run.flags = ZB_RUN_CONSOLE;
    run.until = NULL;
    CHECK_FAILS(zb_run(sandbox, &run, &result, err), ZB_ERR_INVALID_ARGUMENT, "until is NULL");
    ask("count\n", "count=3\nDONE\n");
    zb_free(sandbox);
    return 0;
}
