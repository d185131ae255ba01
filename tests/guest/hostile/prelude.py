# Before each program of this directory that does not begin with "alone". Those that begin with "as
# root" run with root's credentials, as after an exploit of the guest's kernel.
import ctypes
import mmap
import os
import signal
import socket
import struct
import subprocess
import sys
import threading
import time

libc = ctypes.CDLL(None, use_errno=True)
libc.syscall.restype = ctypes.c_long


def syscall(number, *arguments):
    result = libc.syscall(ctypes.c_long(number), *(ctypes.c_long(a) for a in arguments))
    if result == -1:
        error = ctypes.get_errno()
        raise OSError(error, f"system call {number}: {os.strerror(error)}")
    return result


def address(buffer):
    return ctypes.addressof(ctypes.c_char.from_buffer(buffer))


def execute(code, *arguments):
    page = mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
    page.write(bytes.fromhex(code))
    function = ctypes.CFUNCTYPE(ctypes.c_uint64, *[ctypes.c_uint64] * len(arguments))
    return function(address(page))(*arguments)


KEPT = sys.__dict__.setdefault("kept", [])
