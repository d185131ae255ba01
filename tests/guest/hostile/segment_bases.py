ARCH_SET_GS = 0x1001
syscall(158, ARCH_SET_GS, 0x123456789000)
# mov ds and es, 0x2b
execute("b82b0000008ed88ec0c3")
