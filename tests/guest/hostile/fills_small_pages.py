area = mmap.mmap(-1, 4 << 20, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
area.madvise(15)
for at in range(0, len(area), 4096):
    area[at] = 0xEE
KEPT.append(area)
