# Before each program of this directory: reads and writes that say whether they faulted.

FAULTED = 0x1000
PLACES = [0x200000000000 + (i << shift) for shift in (12, 21, 30, 39) for i in range(1, 4)]
PLACES += [0x7E0000000000 + i * 0x1000 for i in range(3)]


class Action(ctypes.Structure):
    _fields_ = [
        ("handler", ctypes.c_void_p),
        ("mask", ctypes.c_uint8 * 128),
        ("flags", ctypes.c_int),
        ("restorer", ctypes.c_void_p),
    ]


CODE = mmap.mmap(-1, 4096, prot=7, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
# The handler: rip += 3; rax = FAULTED; ret. At 64: movzx eax, byte [rdi]; ret. At 128: xor eax, eax;
# mov [rdi], sil; ret.
CODE[0:20] = bytes.fromhex("488382a800000003" "48c7829000000000100000" "c3")
CODE[64:68] = bytes.fromhex("0fb607c3")
CODE[128:134] = bytes.fromhex("31c0408837c3")
HANDLE = Action(address(CODE), flags=4 | 0x40000000)
for signum in (signal.SIGSEGV, signal.SIGBUS):
    assert libc.sigaction(signum, ctypes.byref(HANDLE), None) == 0
read = ctypes.CFUNCTYPE(ctypes.c_uint64, ctypes.c_uint64)(address(CODE) + 64)
write = ctypes.CFUNCTYPE(ctypes.c_uint64, ctypes.c_uint64, ctypes.c_uint64)(address(CODE) + 128)


def map_at(place, prot):
    # MAP_PRIVATE, MAP_ANONYMOUS, MAP_FIXED
    assert syscall(9, place, 4096, prot, 0x32, -1, 0) == place
