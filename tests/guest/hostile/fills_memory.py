# 24 MiB in huge pages, all of them written.
area = mmap.mmap(-1, 26 << 20, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
area.madvise(14)
for at in range(0, 24 << 20, 2 << 20):
    ctypes.memset(address(area) + at, 0xEE, 2 << 20)
KEPT.append(area)
