# One that spins, an orphan that sleeps, and a zombie.
if syscall(57) == 0:
    while True:
        pass
if syscall(57) == 0:
    if syscall(57) == 0:
        signal.pause()
    os._exit(3)
