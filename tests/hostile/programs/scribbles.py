import ctypes
import mmap
import os
import random

SIZE = 0x100000
device = os.open("/dev/zeroboot", os.O_RDWR)
box = mmap.mmap(device, SIZE, offset=mmap.PAGESIZE)
words = (ctypes.c_uint32 * (SIZE // 4)).from_buffer(box)
while True:
    words[random.randrange(4, 12)] = random.choice((0, 8, 64, 0x8000, 0xFFFFFFFF, random.getrandbits(32)))
    words[random.randrange(0x40, 0x400)] = random.getrandbits(32)
    words[0x30000 + random.randrange(0x400)] = random.getrandbits(32)
