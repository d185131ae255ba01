import resource

resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
os.nice(19)
os.chdir("/")
os.umask(0o777)
libc.prctl(38, 1, 0, 0, 0)  # PR_SET_NO_NEW_PRIVS
# SECCOMP_MODE_FILTER, a filter that allows everything.
program = bytearray(struct.pack("<HBBI", 6, 0, 0, 0x7FFF0000))
filter = bytearray(struct.pack("<HxxxxxxQ", 1, address(program)))
syscall(317, 1, 0, address(filter))
syscall(135, 0x0040000)  # personality: ADDR_NO_RANDOMIZE
