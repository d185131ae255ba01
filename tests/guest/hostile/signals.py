mask = set(range(1, 64)) - {signal.SIGKILL, signal.SIGSTOP}
signal.pthread_sigmask(signal.SIG_BLOCK, mask)
for signum in (signal.SIGUSR1, signal.SIGUSR2, signal.SIGTERM, 34, 40, 40, 40):
    os.kill(os.getpid(), signum)
stack = bytearray(65536)
KEPT.append(stack)
syscall(131, address(bytearray(struct.pack("<QiiQ", address(stack), 0, 0, len(stack)))), 0)
