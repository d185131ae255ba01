# Read-only, writable, gone: what was mapped and is not any more must not be remembered.
for round in range(6):
    area = mmap.mmap(-1, 1 << 20)
    for at in range(0, 1 << 20, 65536):
        area[at] = round + 1
    libc.mprotect(ctypes.c_void_p(address(area)), ctypes.c_size_t(1 << 20), [0, 1, 3][round % 3])
    if round % 2:
        libc.munmap(ctypes.c_void_p(address(area)), ctypes.c_size_t(1 << 20))
    KEPT.append(area)
