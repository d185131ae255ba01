"""Maps what programs may need of the libraries that are loaded already.

The first use of a page of a library is a page fault, which the guest's kernel answers by changing
its page tables. Done here, it happens once, before the snapshot, and in no fork. The first write to
a library's data is another, and copies the page.
"""

import ctypes
import os
import sys

# Linux, <asm-generic/mman-common.h>.
MADV_POPULATE_READ = 22
MADV_POPULATE_WRITE = 23


def fault_in_libraries():
    """Makes the kernel map all of the interpreter and of the libraries."""
    madvise = ctypes.CDLL(None, use_errno=True).madvise
    madvise.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
    with open("/proc/self/maps") as maps:
        ranges = list(wanted(maps))
    for start, end, advice in ranges:
        if madvise(start, end - start, advice):
            reason = os.strerror(ctypes.get_errno())
            print(f"zeroboot: not mapped ahead: {start:#x}: {reason}", file=sys.stderr)


def wanted(maps):
    """The ranges of a /proc/PID/maps that are parts of programs, and what to do with each."""
    for line in maps:
        addresses, access, _, _, _, *path = line.split()
        name = os.path.basename(path[0]) if path else ""
        if access[0] == "r" and access[3] == "p" and (".so" in name or name.startswith("python")):
            start, end = (int(address, 16) for address in addresses.split("-"))
            yield start, end, MADV_POPULATE_WRITE if access[1] == "w" else MADV_POPULATE_READ
