# A breakpoint on this process's own data stays set.
attributes = bytearray(128)
target = ctypes.c_uint64(1)
# type PERF_TYPE_BREAKPOINT, size, bp_type RW, bp_addr, bp_len 8, exclude_kernel
struct.pack_into("<IIQQQQQ", attributes, 0, 5, 128, 0, 1, 0, 0, 1 << 5 | 1 << 6)
struct.pack_into("<IQQ", attributes, 52, 3, ctypes.addressof(target), 8)
KEPT.append(target)
print(syscall(298, address(attributes), 0, -1, -1, 0))
target.value = 2
