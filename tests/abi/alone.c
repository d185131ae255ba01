/* The header is all that it needs, in every C and C++, however often it is included. */
#include <zeroboot.h>
#include <zeroboot.h>

int main(void) {
    zb_load_options load;
    zb_fork_options fork;
    zb_run_options run;
    ZB_INIT(load);
    ZB_INIT(fork);
    ZB_INIT(run);
    run.timeout_ms = ZB_NO_TIMEOUT;
    run.max_output_bytes = ZB_NO_LIMIT;
    load.flags = ZB_LOAD_VERIFY | ZB_LOAD_SEALED_COPY;
    load.recycle_max = ZB_NONE;
    fork.flags = ZB_FORK_FRESH;
    return load.size == sizeof load && run.code == NULL && zb_abi_version() == ZB_ABI_VERSION
               ? ZB_OK
               : ZB_ERR_INTERNAL;
}
