# What the template has mapped and this program does not need.
for line in open("/proc/self/maps"):
    if "_decimal" in line:
        start, end = (int(x, 16) for x in line.split()[0].split("-"))
        syscall(11, start, end - start)
        assert read(start) == FAULTED
        KEPT.append(start)
assert KEPT
