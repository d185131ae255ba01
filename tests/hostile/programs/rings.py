import ctypes
import mmap
import os

device = os.open("/dev/zeroboot", os.O_RDWR)
bell = mmap.mmap(device, mmap.PAGESIZE)
word = ctypes.c_uint32.from_buffer(bell)
for value in (0x206, 0x306, 4, 3, 0x106, 0x0DEAD006):
    word.value = value
