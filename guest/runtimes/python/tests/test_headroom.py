import subprocess
import sys
import unittest
from pathlib import Path

PACKAGE = str(Path(__file__).parents[1])

# In a process of its own, since what is taken stays taken.
LAYOUT = f"""
import sys
sys.path.insert(0, {PACKAGE!r})
from zeroboot_guest import headroom
scattered = [bytes(100) for _ in range(50_000)]
del scattered[::3]
kept = headroom.make()
"""


def after_make(program):
    run = subprocess.run([sys.executable, "-c", LAYOUT + program], capture_output=True, text=True, check=True)
    return run.stdout.split()


class Headroom(unittest.TestCase):
    def test_new_objects_of_all_sizes_lie_side_by_side(self):
        program = """
new = [headroom.block(size) for size in range(16, 512, 16) for _ in range(3)]
pools = {headroom.pool_of(o) // headroom.POOL for o in new}
print(len(pools), max(pools) - min(pools))
"""
        pools, _span = map(int, after_make(program))
        # One pool for each of 31 sizes, and a few that the list itself and small numbers begin.
        self.assertLessEqual(pools, 34)

    def test_objects_of_one_size_follow_each_other(self):
        program = """
new = [bytes(100) for _ in range(20)]
print(sum(b - a == 144 for a, b in zip(map(id, new), map(id, new[1:]))))
"""
        self.assertGreaterEqual(int(after_make(program)[0]), 18)

    def test_filling_ends_with_the_gaps(self):
        program = """
filling, room = kept
sizes = {}
for taken in filling:
    sizes[sys.getsizeof(taken) + 15 & ~15] = sizes.get(sys.getsizeof(taken) + 15 & ~15, 0) + 1
print(max(sizes.values()))
"""
        # 16,667 objects of 144 bytes were deleted; arenas of this small process have no larger gaps.
        self.assertLess(int(after_make(program)[0]), 20_000)

    def test_the_room_is_there_without_a_system_call(self):
        program = """
def mapped():
    with open("/proc/self/statm") as statm:
        return int(statm.read().split()[0])
before = mapped()
new = [bytes(400) for _ in range(headroom.ROOM // 450)]
print(mapped() - before)
"""
        # The list itself may be new memory; objects are not.
        self.assertLess(int(after_make(program)[0]) * 4096, 1 << 20)


if __name__ == "__main__":
    unittest.main()
