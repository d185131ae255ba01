# Nothing is where no run of this machine has put it, and all of the template's is.
import random
import zlib

# Each fork has random state of its own, on this heap.
random.seed(1)
before = [read(place) == FAULTED for place in PLACES]
for place in PLACES:
    map_at(place, 3)
zero = [read(place) == 0 and write(place, 7) == 0 and read(place) == 7 for place in PLACES]
end = syscall(12, 0) & ~0xFFF
heap = [write(end - 0x1000 * i, 0) for i in (1, 2)]
start = end
lengths = 0
while read(start - 0x1000) != FAULTED:
    start -= 0x1000
    lengths += 1
sums = [zlib.crc32(ctypes.string_at(start, end - start))]
for line in open("/proc/self/maps"):
    if "_decimal" in line:
        start, end = (int(x, 16) for x in line.split()[0].split("-"))
        sums.append(zlib.crc32(ctypes.string_at(start, end - start)))
assert len(sums) > 2
print(before, zero, heap, lengths, sums)
