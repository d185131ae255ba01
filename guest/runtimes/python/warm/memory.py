# Takes memory as programs do, so that forks find it there: small objects, large ones, text.
numbers = [i * 1000003 for i in range(60_000)]
table = {i: str(i) for i in range(15_000)}
text = "x" * 1_000_000
matrix = [[i * j for j in range(100)] for i in range(100)]
print(len(numbers), len(table), len(text), sum(map(sum, matrix)))
# Large objects lie in the C library's heap, which keeps what it once has. Zeros take no room in a
# snapshot. A small guest has less to keep.
import os

free = os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
room = b"\0" * min(16 << 20, free // 4)
print(len(room))
