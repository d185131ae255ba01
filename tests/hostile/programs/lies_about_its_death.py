import ctypes
import mmap
import os

device = os.open("/dev/zeroboot", os.O_RDWR)
bell = mmap.mmap(device, mmap.PAGESIZE)
box = mmap.mmap(device, mmap.PAGESIZE, offset=mmap.PAGESIZE)
box[36:44] = b"\x63\0\0\0\xff\xff\xff\xff"
ctypes.c_uint32.from_buffer(bell).value = 5
