signal.signal(signal.SIGALRM, lambda *_: None)
for signum in (signal.SIGVTALRM, signal.SIGPROF, signal.SIGUSR1):
    signal.signal(signum, signal.SIG_IGN)
signal.setitimer(signal.ITIMER_REAL, 3600, 0.01)
signal.setitimer(signal.ITIMER_VIRTUAL, 0.05, 0.05)
signal.setitimer(signal.ITIMER_PROF, 0.05, 0.05)
timer = syscall(283, 1, 0)
syscall(286, timer, 0, address(bytearray(struct.pack("<qqqq", 0, 1000000, 0, 1000000))), 0)
SIGEV_SIGNAL_USR1 = bytearray(struct.pack("<QiiQ", 0, signal.SIGUSR1, 0, 0) + bytes(48))
id = bytearray(8)
syscall(222, 1, address(SIGEV_SIGNAL_USR1), address(id))
syscall(223, id[0], 0, address(bytearray(struct.pack("<qqqq", 0, 2000000, 0, 2000000))), 0)
while time.process_time() < 0.1:
    pass
