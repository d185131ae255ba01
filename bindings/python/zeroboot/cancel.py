"""Cancel tokens."""

from __future__ import annotations

import weakref
from contextlib import contextmanager
from ctypes import byref
from typing import Any, Iterator, Set

from . import _ffi, errors
from ._ffi import lib


class Cancel:
    """Stops the runs that were given it, from any thread.

    It is sticky: once it was triggered, a run that begins later stops at once, too. One token may
    go to any number of runs.
    """

    # Nothing here takes a lock: trigger() may come in a signal handler or in a finalizer, in the
    # middle of another method on the same thread. Single operations on sets are atomic.
    __slots__ = ("_handle", "_triggered", "_linked", "__weakref__")

    def __init__(self) -> None:
        self._triggered = False
        self._linked: Set[Cancel] = set()
        self._handle = _ffi.cancel_p()
        errors.call(lib.zb_cancel_new, byref(self._handle))
        # It is nothing but a little memory, so it needs no close() and no warning.
        backstop: Any = weakref.finalize(self, lib.zb_cancel_free, self._handle)
        backstop.atexit = False

    def trigger(self) -> None:
        """Stops all runs that have the token, now and in future. Does not wait for them."""
        self._triggered = True
        lib.zb_cancel_trigger(self._handle)
        for linked in list(self._linked):
            linked.trigger()

    @property
    def triggered(self) -> bool:
        """Whether somebody has triggered it."""
        return self._triggered

    @contextmanager
    def _also(self, other: Cancel) -> Iterator[None]:
        """Meanwhile, triggering this one triggers the other, too."""
        # In this order: trigger() sets the flag before it looks at the set.
        self._linked.add(other)
        try:
            if self._triggered:
                other.trigger()
            yield
        finally:
            self._linked.discard(other)

    def __repr__(self) -> str:
        return f"<zeroboot.Cancel{' triggered' if self._triggered else ''}>"
