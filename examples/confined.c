/* Runs programs in virtual machines from a process that can do nothing else:
 *
 *     confined TEMPLATE_DIR [PROGRAM]
 *
 * A guest that broke out of its machine into this process would find no network, no other process, no
 * file to open and no program to start: the process has given up all that before it runs the first line
 * that it does not trust. What is left to it is the interface of KVM and the memory it has. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>
#include <zeroboot.h>

static void check(zb_status status, zb_error **error) {
    if (status != ZB_OK) {
        fprintf(stderr, "confined: %s\n", zb_error_message(*error));
        exit(2);
    }
}

static void must(int result, const char *what) {
    if (result != 0) {
        fprintf(stderr, "confined: %s: %s\n", what, strerror(errno));
        exit(2);
    }
}

/* Forks, runs, prints what the program printed, and frees. */
static int run(const zb_snapshot *snapshot, const char *code) {
    zb_sandbox *sandbox;
    zb_result *result;
    zb_error *error;
    zb_run_options options;
    size_t len;
    const char *text;
    int exit_code;

    ZB_INIT(options);
    options.code = code;
    options.code_len = strlen(code);
    options.timeout_ms = 30000;
    check(zb_fork(snapshot, NULL, &sandbox, &error), &error);
    check(zb_run(sandbox, &options, &result, &error), &error);
    text = zb_result_stdout(result, &len);
    fwrite(text, 1, len, stdout);
    fflush(stdout);
    exit_code = zb_result_exit_code(result);
    zb_result_free(result);
    zb_free(sandbox);
    return exit_code;
}

/* Namespaces of its own: nothing that it could reach by a name or an address is left. A process that
 * is not root makes a user namespace first. */
static void leave_the_world(void) {
    int flags = CLONE_NEWNS | CLONE_NEWNET | CLONE_NEWIPC | CLONE_NEWUTS | CLONE_NEWCGROUP;
    if (geteuid() != 0)
        flags |= CLONE_NEWUSER;
    must(unshare(flags), "unshare");
}

/* A guest that takes all it can get takes it from this process: so that is bounded. Where there is a
 * cgroup for it, memory.max, cpu.max and pids.max bound kernel memory and time as well. */
static void bound_resources(void) {
    struct rlimit files = { 256, 256 }, core = { 0, 0 };
    must(setrlimit(RLIMIT_NOFILE, &files), "RLIMIT_NOFILE");
    must(setrlimit(RLIMIT_CORE, &core), "RLIMIT_CORE");
}

#define ALLOW(name) BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_##name, 0, 1), BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)

/* What zb_fork, zb_run, zb_result_free and zb_free call once a snapshot is loaded, and what malloc,
 * threads and stdout need. Of ioctl, only KVM's: type 0xae, in the second byte of the request. */
static void filter_system_calls(void) {
    struct sock_filter filter[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, arch)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, AUDIT_ARCH_X86_64, 1, 0),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS),
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_ioctl, 0, 4),
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args[1])),
        BPF_STMT(BPF_ALU | BPF_AND | BPF_K, 0xff00),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 0xae00, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        ALLOW(mmap), ALLOW(munmap), ALLOW(madvise), ALLOW(mprotect), ALLOW(brk), ALLOW(mremap),
        ALLOW(read), ALLOW(pread64), ALLOW(write), ALLOW(close), ALLOW(fcntl),
        ALLOW(futex), ALLOW(getpid), ALLOW(gettid), ALLOW(tgkill), ALLOW(sched_yield),
        ALLOW(rt_sigprocmask), ALLOW(rt_sigtimedwait), ALLOW(rt_sigreturn), ALLOW(sigaltstack),
        ALLOW(timer_create), ALLOW(timer_settime), ALLOW(timer_delete),
        ALLOW(clock_gettime), ALLOW(clock_nanosleep), ALLOW(restart_syscall), ALLOW(getrandom),
        ALLOW(exit), ALLOW(exit_group),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS),
    };
    struct sock_fprog program = { sizeof filter / sizeof *filter, filter };

    must(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), "no_new_privs");
    /* For all threads: the library's own is there by now. */
    must((int)syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_TSYNC, &program), "seccomp");
}

int main(int argc, char **argv) {
    static char buffer[BUFSIZ];
    zb_snapshot *snapshot;
    zb_error *error;
    int i;

    /* With a buffer of its own stdout needs no more than write. */
    setvbuf(stdout, buffer, _IOFBF, sizeof buffer);
    must(argc < 2 || argc > 3, "usage: confined TEMPLATE_DIR [PROGRAM]");
    check(zb_snapshot_load(argv[1], NULL, &snapshot, &error), &error);
    /* Twice, with programs of our own: what is made at the first fork and what is made when the first
     * machine is used again, the library's thread among it, is made by now. */
    for (i = 0; i < 2; i++)
        run(snapshot, "");
    leave_the_world();
    bound_resources();
    filter_system_calls();

    /* From here on everything is what it will be for as long as the process lives. */
    for (i = 0; i < 3; i++)
        if (run(snapshot, argc > 2 ? argv[2] : "print('confined')") != 0)
            return 1;
    /* What an attacker in this process would try first. With this argument the example tries it. */
    if (argc > 2 && strcmp(argv[2], "#escape") == 0)
        syscall(SYS_openat, AT_FDCWD, "/etc/passwd", O_RDONLY);
    zb_snapshot_free(snapshot);
    puts("done");
    return 0;
}
