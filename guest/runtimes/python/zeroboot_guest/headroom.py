"""Memory that a program finds ready, all in one place.

CPython takes memory for small objects in arenas of 1 MiB, divides them into pools of 16 KiB, each for
objects of one size, and hands out what has been free for the shortest time. After a warm-up that is
a block here and there, and a fork that touches them gets a copy of a page for each. So the gaps are
filled for good, and what programs allocate begins in new pools that lie side by side.

An arena goes back to the kernel with its last object; each program that needs one then pays for a
system call and for page faults. One object in it keeps it.
"""

import ctypes
import os

ROOM = 8 << 20
# A small guest keeps its memory for programs.
FREE_WANTED = 4 * ROOM
ARENA = 1 << 20
POOL = 16 << 10
STEP = 16
LARGEST = 512
BYTES_HEAD = 33
# So many pools in a row are free in a new arena only: half of it.
FOLLOWING = ARENA // POOL // 2
# At least two in each arena.
PIN_EVERY = 1000
# A pool is new when no more of it was ever used. (What the filling itself needs for a moment may have
# been in it before the object that is looked at.)
NEW = 2048
# More objects than there are gaps of one size: this is not the allocator that it is taken for.
TOO_MANY = 1 << 17


class PoolHeader(ctypes.Structure):
    """What CPython 3.10 to 3.12 keeps in front of a pool's blocks (Objects/obmalloc.c)."""

    _fields_ = [
        ("in_use", ctypes.c_uint),
        ("first_free", ctypes.c_void_p),
        ("next", ctypes.c_void_p),
        ("previous", ctypes.c_void_p),
        ("arena", ctypes.c_uint),
        ("size_class", ctypes.c_uint),
        # Behind the last block that was ever used, and the one after it.
        ("next_offset", ctypes.c_uint),
        ("last_offset", ctypes.c_uint),
    ]


def make():
    """Fills the gaps and takes arenas, which it leaves nearly empty; the result keeps all as it is."""
    if os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") < FREE_WANTED:
        return None
    filling = fill()
    room = [block(LARGEST) for _ in range(ROOM // LARGEST)]
    return filling, room[::PIN_EVERY]


def fill():
    """Takes what is free in the arenas in use; the result keeps it."""
    filling = list(fill_arenas())
    for size in range(STEP, LARGEST, STEP):
        filling.extend(fill_pools(size))
    return filling


def fill_arenas():
    """Takes free pools until they follow each other: then it is a new arena that gives them."""
    last = following = 0
    for _ in range(TOO_MANY):
        taken = block(LARGEST)
        yield taken
        at = pool_of(taken)
        if at != last:
            following = following + 1 if at - last == POOL else 0
            last = at
        if following == FOLLOWING:
            return


def fill_pools(size):
    """Takes the free blocks of all pools of a size, and one more or a few, with which a new pool begins."""
    for _ in range(TOO_MANY):
        taken = block(size)
        yield taken
        if PoolHeader.from_address(pool_of(taken)).next_offset <= NEW:
            return


def block(size):
    """An object that takes this much: what else takes less than the smallest ``bytes``?"""
    if size == 16:
        return object()
    if size == 32:
        return float()
    return bytes(size - BYTES_HEAD)


def pool_of(taken):
    return id(taken) & -POOL
