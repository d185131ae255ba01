# Page tables of every level: a page each at addresses that are far apart.
MAP_FIXED_NOREPLACE = 0x100000
for i in range(40):
    at = 0x100000000000 + i * (0x40000000 if i % 2 else 0x8000000000)
    got = syscall(9, at, 4096, 3, 0x22 | MAP_FIXED_NOREPLACE, -1, 0)
    assert got == at
    ctypes.memset(at, 0xA5, 4096)
    if i % 3 == 0:
        syscall(11, at, 4096)
