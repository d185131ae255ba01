# as root
time.clock_settime(time.CLOCK_REALTIME, 1_000_000_000)
assert time.time() < 1_000_000_100
