"""Memory that a program finds ready.

CPython takes memory for small objects in arenas of 1 MiB and gives an arena back when its last
object goes; each program that needs one then pays for a system call and for a page fault a page. An
arena with one object left in it stays.
"""

ROOM = 4 << 20
OBJECT = 400
BYTES_HEAD = 33
# At least two in each arena.
PIN_EVERY = 1000


def make():
    """Takes arenas and leaves them nearly empty; the result keeps them."""
    objects = [bytes(OBJECT - BYTES_HEAD) for _ in range(ROOM // OBJECT)]
    return objects[::PIN_EVERY]
