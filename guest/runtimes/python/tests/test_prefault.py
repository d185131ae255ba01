import unittest

from zeroboot_guest.prefault import MADV_POPULATE_READ, MADV_POPULATE_WRITE, fault_in_libraries, wanted

MAPS = """\
00400000-00940000 r-xp 00000000 00:0f 1 /usr/bin/python3.11
00941000-00a7f000 rw-p 00540000 00:0f 1 /usr/bin/python3.11
01000000-02000000 rw-p 00000000 00:00 0 [heap]
7f0000000000-7f0000001000 ---p 00000000 00:0f 2 /usr/lib/libc.so.6
7f0000001000-7f0000003000 r--p 00000000 00:0f 2 /usr/lib/libc.so.6
7f0000010000-7f0000a00000 r--s 00000000 00:0f 3 /usr/lib/python311.zip
7f0001000000-7f0001001000 rw-p 00000000 00:00 0
"""


class Prefault(unittest.TestCase):
    def test_libraries_and_the_interpreter_are_mapped_and_nothing_else(self):
        self.assertEqual(
            list(wanted(MAPS.splitlines())),
            [
                (0x400000, 0x940000, MADV_POPULATE_READ),
                (0x941000, 0xA7F000, MADV_POPULATE_WRITE),
                (0x7F0000001000, 0x7F0000003000, MADV_POPULATE_READ),
            ],
        )

    def test_afterwards_all_of_the_interpreters_text_is_resident(self):
        fault_in_libraries()
        resident = size = None
        with open("/proc/self/smaps") as smaps:
            for line in smaps:
                if "-" in line.split()[0]:
                    libc = "libc.so" in line and " r-xp " in line
                elif libc and line.startswith("Size:"):
                    size = int(line.split()[1])
                elif libc and line.startswith("Rss:"):
                    resident = int(line.split()[1])
        self.assertIsNotNone(size)
        self.assertEqual(resident, size)
