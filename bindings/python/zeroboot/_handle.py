"""A pointer of the library's that several threads use and one of them frees."""

from __future__ import annotations

import os
import warnings
import weakref
from threading import get_ident, Lock
from typing import Any, Callable, List

from . import errors


class Handle:
    """Frees a pointer once: when it is closed and nobody uses it any more.

        with handle as pointer: ...

    Nothing here takes a lock, since closing may come in a signal handler or in a finalizer, in
    the middle of another method on the same thread, and since a lock would stay taken in a child
    of os.fork. Single operations on lists are atomic. Who enters adds himself before he looks
    whether it is closed; who closes says so before he looks whether somebody is inside; so they
    cannot miss each other.
    """

    __slots__ = ("_pointer", "_free", "_what", "_users", "_closed", "_freed", "_process", "_backstop")

    def __init__(self, owner: object, what: str, pointer: Any, free: Callable[[Any], None]) -> None:
        self._pointer: List[Any] = [pointer]
        self._free = free
        self._what = what
        self._users: List[int] = []
        self._closed = False
        self._freed = Lock()
        self._freed.acquire()
        self._process = os.getpid()
        backstop: Any = weakref.finalize(owner, self._forgotten)
        # When the process ends, the kernel takes everything back.
        backstop.atexit = False
        self._backstop = backstop

    @property
    def closed(self) -> bool:
        return self._closed

    def __enter__(self) -> Any:
        self._users.append(get_ident())
        if self._closed:
            self.__exit__()
            raise errors.closed(self._what)
        return self._pointer[0]

    def __exit__(self, *_: object) -> None:
        self._users.remove(get_ident())
        if self._closed and not self._users:
            self._free_once()

    def close(self) -> None:
        """Lets nobody in any more. Whoever leaves last frees the pointer."""
        self._closed = True
        if not self._users:
            self._free_once()

    def join(self) -> None:
        """After close: waits until it is freed, unless it is this thread that is inside."""
        if os.getpid() != self._process:
            # Who was inside at os.fork is so in the parent only, and the library frees nothing.
            self._free_once()
        elif get_ident() not in self._users:
            with self._freed:
                pass

    def _free_once(self) -> None:
        try:
            pointer = self._pointer.pop()
        except IndexError:
            return
        try:
            self._free(pointer)
        finally:
            self._freed.release()
            self._backstop.detach()

    def _forgotten(self) -> None:
        if self._pointer:
            self.close()
            if os.getpid() == self._process:
                message = f"a zeroboot {self._what} was never closed"
                warnings.warn(message, ResourceWarning, stacklevel=2)
